/* fuzz: libFuzzer around the targets of targets.lua; FUZZ_TARGET names one. C code is guided by the compiler's counters,
   Lua code by a hook that counts lines. A target may raise errors of Orrery's only; anything else, as a crash, ends the
   run. The state is renewed now and then, and each is closed. */
#include <lauxlib.h>
#include <lualib.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/orrery.h"

enum { LINES = 16384, RUNS = 500 };

__attribute__((section("__libfuzzer_extra_counters"))) static unsigned char lines[LINES];

static lua_State *L;
static int runs;

static void count_line(lua_State *state, lua_Debug *frame) {
  lua_getinfo(state, "S", frame);
  if (strncmp(frame->source, "=orrery/", 8) != 0)
    return;
  const char *name = frame->source + strlen("=orrery/");
  unsigned hash = (unsigned)frame->currentline * 31 + (unsigned char)name[0] * 977 + (unsigned char)name[2] * 7919;
  unsigned char *counter = &lines[(hash + (unsigned)strlen(name) * 4057) % LINES];
  *counter += *counter < 255;
}

/* Files are nobody's business here, and no statement runs for long. */
static int forbid_files(void *ud, int action, const char *a, const char *b, const char *c, const char *d) {
  (void)ud, (void)a, (void)b, (void)c, (void)d;
  return action == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

static int out_of_steps(void *ud) { return --*(int *)ud < 0; }

static int steps;

static void read_image(sqlite3 *db, const char *bytes, size_t len) {
  unsigned char *copy = sqlite3_malloc64(len);
  memcpy(copy, bytes, len);
  sqlite3_deserialize(db, "main", copy, (sqlite3_int64)len, (sqlite3_int64)len,
                      SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
}

/* database(bytes) -> an engine over what these bytes are: an image of a database file, or SQL that makes one */
static int database(lua_State *state) {
  size_t len;
  const char *bytes = luaL_checklstring(state, 1, &len);
  sqlite3 *db;
  sqlite3_open(":memory:", &db);
  sqlite3_set_authorizer(db, forbid_files, NULL);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 100000);
  steps = 100;
  sqlite3_progress_handler(db, 1000, out_of_steps, &steps);
  if (len > 15 && memcmp(bytes, "SQLite format 3", 15) == 0)
    read_image(db, bytes, len);
  else
    sqlite3_exec(db, bytes, NULL, NULL, NULL);
  orr_push_engine(state, db, ORR_OWN);
  return 1;
}

static int open_state(lua_State *state) {
  luaL_openlibs(state);
  luaL_requiref(state, "orrery", luaopen_orrery, 0);
  lua_register(state, "database", database);
  if (luaL_dofile(state, "spec/fuzz/targets.lua") != 0)
    return lua_error(state);
  lua_getfield(state, -1, getenv("FUZZ_TARGET"));
  luaL_checktype(state, -1, LUA_TFUNCTION);
  lua_setglobal(state, "target");
  return 0;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, lua_tostring(L, -1));
  abort();
}

static void renew(void) {
  if (L)
    lua_close(L);
  L = luaL_newstate();
  lua_pushcfunction(L, open_state);
  if (lua_pcall(L, 0, 0, 0) != 0)
    fail("the targets do not load");
  lua_sethook(L, count_line, LUA_MASKLINE, 0);
  runs = 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len) {
  if (!L || ++runs > RUNS)
    renew();
  lua_getglobal(L, "target");
  lua_pushlstring(L, (const char *)bytes, len);
  if (lua_pcall(L, 1, 1, 0) != 0 || lua_type(L, -1) == LUA_TSTRING)
    fail("wrong");
  lua_settop(L, 0);
  return 0;
}
