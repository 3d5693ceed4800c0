/* orrery: opens the library in a state. The C parts go into one private table, "core"; the Lua parts stand in
   this library, as source and as bytecode, and run in their total order, each seeing only earlier ones. Needs
   base, string, table, math and coroutine; no file, no package library. */
#include "../orrery.h"

#include <string.h>

#include "box.h"
#include "libs.h"

typedef struct orr_chunk {
  const char *name; /* "errors" */
  const char *text;
  size_t size;
} orr_chunk;

/* Both in the order of lua/orrery/ORDER: */
#include "embedded.h"    /* static const orr_chunk CHUNKS[], the sources, made by scripts/embed */
#include "precompiled.h" /* static const orr_chunk CODE[], bytecode for CODE_OF, made by scripts/precompile */

#ifdef ORR_NO_CODE
static const orr_chunk *const CODE = CHUNKS;
static const char CODE_OF[] = "";
#endif

/* import(name): the value that an earlier file returned. Upvalue: the table of loaded files. */
static int import(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_rawget(L, lua_upvalueindex(1));
  if (lua_isnil(L, -1))
    return luaL_error(L, "orrery: '%s' is not loaded before this file", luaL_checkstring(L, 1));
  return 1;
}

static int read_all(lua_State *L);

static void open_core(lua_State *L) {
  lua_newtable(L);
  orr_box_open(L);
  orr_type_open(L);
  orr_pack_open(L);
  orr_schema_open(L);
  orr_conn_open(L);
  orr_class_open(L);
  orr_session_open(L);
  orr_node_open(L);
  orr_shape_open(L);
  orr_sandbox_open(L);
  lua_pushcfunction(L, read_all);
  lua_setfield(L, -2, "read_all");
}

/* Whether this state reads the bytecode: that of LuaJIT is good for one release of it only, and a state
   without the name of its release may be any. */
static bool reads_code(lua_State *L) {
  lua_getglobal(L, "jit");
  if (lua_istable(L, -1))
    lua_getfield(L, -1, "version");
  else
    lua_getglobal(L, "_VERSION");
  bool same = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), CODE_OF) == 0;
  lua_pop(L, 2);
  return same;
}

/* Pushes the function of a file. A Lua that was built with other sizes of numbers refuses its bytecode. */
static void push_chunk(lua_State *L, size_t i, bool from_code) {
  lua_pushfstring(L, "=orrery/%s.lua", CHUNKS[i].name);
  const char *name = lua_tostring(L, -1);
  if (from_code) {
    int status = luaL_loadbuffer(L, CODE[i].text, CODE[i].size, name);
    if (status == LUA_ERRMEM)
      lua_error(L);
    if (status == 0)
      return;
    lua_pop(L, 1);
  }
  if (luaL_loadbuffer(L, CHUNKS[i].text, CHUNKS[i].size, name) != 0)
    lua_error(L);
}

/* Pushes the library's own globals: those of Lua as they are now, whatever a script makes of `select` or
   `type` later; anything else is looked up when it is needed. */
static void push_globals(lua_State *L) {
  static const char *const names[] = {
      "assert", "collectgarbage", "coroutine", "error",    "getmetatable", "ipairs", "math",   "next",
      "pairs",  "pcall",          "rawequal",  "rawget",   "rawlen",       "rawset", "select", "setmetatable",
      "string", "table",          "tonumber",  "tostring", "type",         "unpack", "xpcall", NULL};
  lua_newtable(L);
  for (int i = 0; names[i]; i++) {
    lua_getglobal(L, names[i]);
    lua_setfield(L, -2, names[i]);
  }
  lua_newtable(L);
#if LUA_VERSION_NUM >= 502
  lua_pushglobaltable(L);
#else
  lua_pushvalue(L, LUA_GLOBALSINDEX);
#endif
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

/* The globals are on the stack behind the table of loaded files. */
static void run_chunk(lua_State *L, size_t i, bool from_code, int loaded) {
  push_chunk(L, i, from_code);
  lua_pushvalue(L, loaded + 1);
#if LUA_VERSION_NUM >= 502
  lua_setupvalue(L, -2, 1);
#else
  lua_setfenv(L, -2);
#endif
  lua_pushvalue(L, loaded);
  lua_pushcclosure(L, import, 1);
  lua_call(L, 1, 1);
  lua_setfield(L, loaded, CHUNKS[i].name);
  lua_pop(L, 1);
}

static const char LOADED = 0; /* registry key: the table of loaded files */

/* The file that ends the first part, which knows no mapped classes and makes the table that a script gets.
   The others are read when a script asks that table for more. */
static const char FIRST_PART[] = "sql";

/* In the table of loaded files: the number of the first that is not loaded yet, and the globals. */
enum { NEXT = 1, GLOBALS };

static size_t next_chunk(lua_State *L, int loaded) {
  lua_rawgeti(L, loaded, NEXT);
  size_t next = (size_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return next;
}

/* Loads the files up to the one of this name into the table at `loaded`. */
static void load_until(lua_State *L, int loaded, const char *last) {
  lua_rawgeti(L, loaded, GLOBALS);
  bool from_code = reads_code(L), done = false;
  for (size_t i = next_chunk(L, loaded); !done && i < sizeof CHUNKS / sizeof *CHUNKS; i++) {
    run_chunk(L, i, from_code, loaded);
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_rawseti(L, loaded, NEXT);
    done = strcmp(CHUNKS[i].name, last) == 0;
  }
  lua_settop(L, loaded);
}

static int load_first(lua_State *L) {
  lua_newtable(L);
  int loaded = lua_gettop(L);
  open_core(L);
  lua_setfield(L, loaded, "core");
  push_globals(L);
  lua_rawseti(L, loaded, GLOBALS);
  load_until(L, loaded, FIRST_PART);
  lua_pushvalue(L, loaded);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &LOADED);
  return 1;
}

static int load_rest(lua_State *L) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &LOADED);
  load_until(L, lua_gettop(L), "init");
  return 1;
}

/* Nothing that is loaded here becomes garbage: the collector would only walk over it again and again. */
static void load_uncollected(lua_State *L, lua_CFunction load) {
  bool runs = orr_gc_pause(L);
  lua_pushcfunction(L, load);
  int status = lua_pcall(L, 0, 1, 0);
  orr_gc_resume(L, runs);
  if (status != 0)
    lua_error(L);
}

/* Once per state: a second load would make handles of the first one strangers to it. */
static void push_loaded(lua_State *L) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &LOADED);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    load_uncollected(L, load_first);
  }
}

void orr_read_all(lua_State *L) {
  push_loaded(L);
  lua_getfield(L, -1, "init");
  bool complete = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (complete)
    return;
  load_uncollected(L, load_rest);
  lua_pop(L, 1);
}

/* core.read_all(): the files that are not loaded yet, if any. */
static int read_all(lua_State *L) {
  orr_read_all(L);
  return 0;
}

int luaopen_orrery(lua_State *L) {
  push_loaded(L);
  lua_getfield(L, -1, FIRST_PART);
  lua_getfield(L, -1, "orm");
  return 1;
}

/* The private table, for the specs of the C parts; not for programs. */
ORR_API int luaopen_orrery_core(lua_State *L);
int luaopen_orrery_core(lua_State *L) {
  push_loaded(L);
  lua_getfield(L, -1, "core");
  return 1;
}
