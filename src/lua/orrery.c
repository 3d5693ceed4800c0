/* orrery: opens the library in a state. The C parts go into one private table, "core"; the Lua parts stand in
   this library, as source and as bytecode, and are read when an earlier read or a script first needs them. They
   have a total order, in which each names only earlier ones. Needs base, string, table, math and coroutine; no
   file, no package library. */
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
  orr_sketch_open(L);
  orr_sandbox_open(L);
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

/* What makes the table that a script gets, and reads the files that every script needs. */
static const char FIRST[] = "sql";

static const char LOADED = 0; /* registry key: the table of loaded files, by name: the value that each returned */

/* In that table, too: what every file gets, its globals and import(). */
enum { GLOBALS = 1, IMPORT };

/* (loaded, number of the file) -> what the file returns. */
static int run_chunk(lua_State *L) {
  size_t i = (size_t)lua_tointeger(L, 2);
  push_chunk(L, i, reads_code(L));
  lua_rawgeti(L, 1, GLOBALS);
#if LUA_VERSION_NUM >= 502
  lua_setupvalue(L, -2, 1);
#else
  lua_setfenv(L, -2);
#endif
  lua_rawgeti(L, 1, IMPORT);
  lua_call(L, 1, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, 1, CHUNKS[i].name);
  return 1;
}

/* Nothing that is loaded here becomes garbage: the collector would only walk over it again and again. */
static void call_uncollected(lua_State *L, int arguments) {
  int held = orr_gc_pause(L);
  if (held < 0) {
    lua_call(L, arguments, 1);
    return;
  }
  int status = lua_pcall(L, arguments, 1, 0);
  orr_gc_resume(L, held);
  if (status != 0)
    lua_error(L);
}

static size_t chunk_of(lua_State *L, const char *name) {
  for (size_t i = 0; i < sizeof CHUNKS / sizeof *CHUNKS; i++)
    if (strcmp(CHUNKS[i].name, name) == 0)
      return i;
  return (size_t)luaL_error(L, "orrery: there is no file '%s'", name);
}

/* import(name): the value that a file returned, which is read and run if it was not yet. Upvalue: the table of
   loaded files. */
static int import(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1))
    return 1;
  lua_pushcfunction(L, run_chunk);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushinteger(L, (lua_Integer)chunk_of(L, name));
  call_uncollected(L, 2);
  return 1;
}

/* A host may have opened none of Lua's libraries, or only some. */
static void check_libraries(lua_State *L) {
  static const char *const NEEDED[] = {"pcall", "string", "table", "math", "coroutine"};
  for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED; i++) {
    lua_getglobal(L, NEEDED[i]);
    if (lua_isnil(L, -1))
      luaL_error(L,
                 "orrery: Lua's library '%s' is not open in this state; orrery needs base, string, table, math and "
                 "coroutine: luaL_openlibs(L), or luaL_requiref() of these five, before luaopen_orrery",
                 i == 0 ? "base" : NEEDED[i]);
    lua_pop(L, 1);
  }
}

/* Leaves the table of loaded files on the stack. */
static int load_first(lua_State *L) {
  check_libraries(L);
  lua_newtable(L);
  open_core(L);
  lua_setfield(L, 1, "core");
  push_globals(L);
  lua_rawseti(L, 1, GLOBALS);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, import, 1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, 1, IMPORT);
  lua_getfield(L, 1, "core");
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "read");
  lua_pop(L, 1);
  lua_pushstring(L, FIRST);
  lua_call(L, 1, 0);
  lua_pushvalue(L, 1);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &LOADED);
  return 1;
}

/* Once per state: a second load would make handles of the first one strangers to it. */
static void push_loaded(lua_State *L) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &LOADED);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushcfunction(L, load_first);
    call_uncollected(L, 0);
  }
}

void orr_read_all(lua_State *L) {
  push_loaded(L);
  for (size_t i = 0; i < sizeof CHUNKS / sizeof *CHUNKS; i++) {
    lua_rawgeti(L, -1, IMPORT);
    lua_pushstring(L, CHUNKS[i].name);
    lua_call(L, 1, 0);
  }
  lua_pop(L, 1);
}

int luaopen_orrery(lua_State *L) {
  push_loaded(L);
  lua_getfield(L, -1, FIRST);
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
