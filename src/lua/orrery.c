/* orrery: opens the library in a state. The C parts go into one private table, "core"; the Lua parts are
   compiled into this library (build/embedded.h) and run in their total order, each seeing only earlier ones.
   Needs base, string, table, math and coroutine; no file, no package library. */
#include "../orrery.h"

#include <string.h>

#include "box.h"
#include "libs.h"

typedef struct orr_chunk {
  const char *name; /* "errors" */
  const char *source;
  size_t size;
} orr_chunk;

#include "embedded.h" /* static const orr_chunk CHUNKS[] in the order of lua/orrery/ORDER, made by scripts/embed */

/* import(name): the value that an earlier file returned. Upvalue: the table of loaded files. */
static int import(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_rawget(L, lua_upvalueindex(1));
  if (lua_isnil(L, -1))
    return luaL_error(L, "orrery: '%s' is not loaded before this file", luaL_checkstring(L, 1));
  return 1;
}

static void open_core(lua_State *L) {
  lua_newtable(L);
  orr_box_open(L);
  orr_type_open(L);
  orr_schema_open(L);
  orr_conn_open(L);
  orr_class_open(L);
  orr_session_open(L);
}

static void run_chunk(lua_State *L, const orr_chunk *chunk, int loaded) {
  lua_pushfstring(L, "=orrery/%s.lua", chunk->name);
  if (luaL_loadbuffer(L, chunk->source, chunk->size, lua_tostring(L, -1)) != 0)
    lua_error(L);
  lua_pushvalue(L, loaded);
  lua_pushcclosure(L, import, 1);
  lua_call(L, 1, 1);
  lua_setfield(L, loaded, chunk->name);
  lua_pop(L, 1);
}

static const char LOADED = 0; /* registry key: the table of loaded files */

static void load_all(lua_State *L) {
  lua_newtable(L);
  int loaded = lua_gettop(L);
  open_core(L);
  lua_setfield(L, loaded, "core");
  for (size_t i = 0; i < sizeof CHUNKS / sizeof *CHUNKS; i++)
    run_chunk(L, &CHUNKS[i], loaded);
  lua_pushvalue(L, loaded);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &LOADED);
}

/* Once per state: a second load would make handles of the first one strangers to it. */
static int open_part(lua_State *L, const char *part) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &LOADED);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    load_all(L);
  }
  lua_getfield(L, -1, part);
  return 1;
}

int luaopen_orrery(lua_State *L) { return open_part(L, "init"); }

/* The private table, for the specs of the C parts; not for programs. */
ORR_API int luaopen_orrery_core(lua_State *L);
int luaopen_orrery_core(lua_State *L) { return open_part(L, "core"); }
