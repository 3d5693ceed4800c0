/* confine: what a script in a sandbox finds instead of Lua's libraries. A function of Lua's own that could
   run for long inside one call, where no bound is looked at, is wrapped by one that first counts the work;
   one that reaches files, bytecode or the interpreter's inside is not there. Runs in the sandbox's state
   only; bounds and host are sandboxlib.c's. */
#include <string.h>

#include "../core/pattern.h"
#include "sandbox.h"

/* Calls the function that the running one has taken the place of. */
static int forward(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* ---- finalizers ---- */

/* Lua runs a finalizer without hooks, so that nothing could stop it. */
static int set_metatable(lua_State *L) {
  if (lua_istable(L, 2)) {
    lua_pushliteral(L, "__gc");
    lua_rawget(L, 2);
    if (!lua_isnil(L, -1))
      return luaL_error(L, "a metatable in a sandbox cannot have a finalizer, __gc");
    lua_pop(L, 1);
  }
  return forward(L);
}

/* ---- loops inside of C functions ---- */

/* A length that a metamethod makes up can be anything. */
static void check_list(lua_State *L, const char *function) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (luaL_getmetafield(L, 1, "__len"))
    luaL_error(L, "%s() in a sandbox takes tables without __len", function);
  orr_sandbox_charge(L, 1 + (double)orr_rawlen(L, 1) / 16);
}

static int insert(lua_State *L) {
  check_list(L, "table.insert");
  return forward(L);
}

static int take_out(lua_State *L) {
  check_list(L, "table.remove");
  return forward(L);
}

static int sort(lua_State *L) {
  check_list(L, "table.sort");
  orr_sandbox_charge(L, 4 * (double)orr_rawlen(L, 1));
  return forward(L);
}

/* The numbers from..to at these arguments, as steps. */
static void charge_range(lua_State *L, int from, int to) {
  double steps = lua_tonumber(L, to) - lua_tonumber(L, from);
  orr_sandbox_charge(L, steps > 0 ? steps : 1);
}

static int concat(lua_State *L) {
  check_list(L, "table.concat");
  if (!lua_isnoneornil(L, 4))
    charge_range(L, 3, 4);
  return forward(L);
}

static int move(lua_State *L) {
  charge_range(L, 2, 3);
  return forward(L);
}

/* A million repetitions of nothing are a million steps. */
static int repeat(lua_State *L) {
  double count = lua_tonumber(L, 2), len = lua_type(L, 1) == LUA_TSTRING ? (double)orr_rawlen(L, 1) : 1;
  orr_sandbox_charge(L, count > 0 ? count * (1 + len / 64) : 1);
  return forward(L);
}

#if LUA_VERSION_NUM < 502 && !defined(LUA_JITLIBNAME)
enum { KNOWS_GRAPH = false };
#else
enum { KNOWS_GRAPH = true };
#endif

/* Matching is tried with a bound first; what Lua then does takes as long. */
static void charge_pattern(lua_State *L, bool all) {
  size_t len, pattern_len;
  if (!lua_isstring(L, 1) || !lua_isstring(L, 2))
    return;
  const char *subject = lua_tolstring(L, 1, &len), *pattern = lua_tolstring(L, 2, &pattern_len);
  double most = orr_sandbox_left(L);
  double cost = orr_pattern_cost(subject, len, pattern, pattern_len, all, KNOWS_GRAPH, most);
  orr_sandbox_charge(L, cost > most ? 1e300 : cost / 4); /* beyond the bound nobody knows how much it is */
}

static int find(lua_State *L) {
  if (!lua_toboolean(L, 4))
    charge_pattern(L, false);
  else if (lua_isstring(L, 1) && lua_isstring(L, 2))
    orr_sandbox_charge(L, (double)orr_rawlen(L, 1) * (1 + (double)orr_rawlen(L, 2) / 64) / 64);
  return forward(L);
}

static int find_match(lua_State *L) {
  charge_pattern(L, false);
  return forward(L);
}

static int find_all(lua_State *L) {
  charge_pattern(L, true);
  return forward(L);
}

/* Each coroutine counts its instructions anew, and may end before it is asked. */
static int make_coroutine(lua_State *L) {
  orr_sandbox_charge(L, ORR_SANDBOX_STEP);
  return forward(L);
}

static int collect_garbage(lua_State *L) {
  static const char *const options[] = {"collect", "count", "step", NULL};
  int option = luaL_checkoption(L, 1, "collect", options);
  int kilobytes = lua_gc(L, LUA_GCCOUNT, 0), rest = lua_gc(L, LUA_GCCOUNTB, 0);
  if (option == 1) {
    lua_pushnumber(L, kilobytes + rest / 1024.0);
    return 1;
  }
  orr_sandbox_charge(L, kilobytes * 10.0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_pushinteger(L, 0);
  return 1;
}

/* ---- chunks ---- */

/* The pieces that a function gives, up to nil or "", as one string in its place at 1. */
static void gather(lua_State *L) {
  luaL_Buffer pieces;
  luaL_buffinit(L, &pieces);
  for (;;) {
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1) || (lua_isstring(L, -1) && orr_rawlen(L, -1) == 0))
      break;
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "reader function must return a string");
    luaL_addvalue(&pieces);
  }
  lua_pop(L, 1);
  luaL_pushresult(&pieces);
  lua_replace(L, 1);
}

static int load_chunk(lua_State *L, const char *name) {
  size_t len;
  const char *text = lua_tolstring(L, 1, &len);
  if (len > 0 && text[0] == LUA_SIGNATURE[0]) {
    lua_pushliteral(L, "attempt to load a binary chunk: a sandbox loads text only");
    return LUA_ERRSYNTAX;
  }
  return luaL_loadbuffer(L, text, len, name);
}

/* Makes the table at `index` the globals of the function on top. */
static void set_globals(lua_State *L, int index) {
  lua_pushvalue(L, index);
#if LUA_VERSION_NUM >= 502
  lua_setupvalue(L, -2, 1); /* a chunk has this one */
#else
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_setfenv(L, -2);
#endif
}

/* load(chunk, name, mode, env), on every Lua as 5.2 has it, for text */
static int load(lua_State *L) {
  bool own_globals = !lua_isnone(L, 4);
  lua_settop(L, 4);
  if (lua_isfunction(L, 1))
    gather(L);
  luaL_checkstring(L, 1);
  const char *mode = luaL_optstring(L, 3, "t"), *name = luaL_optstring(L, 2, "=(load)");
  int status = LUA_ERRSYNTAX;
  if (strchr(mode, 't'))
    status = load_chunk(L, name);
  else
    lua_pushliteral(L, "a sandbox loads text only: the mode must allow 't'");
  if (status != 0) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (own_globals)
    set_globals(L, 4);
  return 1;
}

static int require_library(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strcmp(name, "orrery") != 0)
    return luaL_error(L, "module '%s' not found: a sandbox has only 'orrery'", name);
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

static int absent(lua_State *L) {
  return luaL_error(
      L, "'print' writes where the host says, and it has said nothing: functions = { print = print }");
}

/* ---- the libraries ---- */

static const luaL_Reg LIBRARIES[] = {
#if LUA_VERSION_NUM >= 502
    {"_G", luaopen_base},
    {LUA_COLIBNAME, luaopen_coroutine},
#else
    {"", luaopen_base}, /* with coroutine */
#endif
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
#if LUA_VERSION_NUM >= 503
    {LUA_UTF8LIBNAME, luaopen_utf8},
#endif
    {NULL, NULL}};

static void open_library(lua_State *L, const luaL_Reg *library) {
#if LUA_VERSION_NUM >= 502
  luaL_requiref(L, library->name, library->func, 1);
  lua_pop(L, 1);
#else
  lua_pushcfunction(L, library->func);
  lua_pushstring(L, library->name);
  lua_call(L, 1, 0);
#endif
}

typedef struct wrapped {
  const char *library; /* NULL: a global */
  const char *name;
  lua_CFunction wrapper;
} wrapped;

static const wrapped WRAPPED[] = {{NULL, "setmetatable", set_metatable},
                                  {"table", "insert", insert},
                                  {"table", "remove", take_out},
                                  {"table", "sort", sort},
                                  {"table", "concat", concat},
                                  {"table", "move", move},
                                  {"string", "rep", repeat},
                                  {"string", "find", find},
                                  {"string", "match", find_match},
                                  {"string", "gmatch", find_all},
                                  {"string", "gsub", find_all},
                                  {"coroutine", "create", make_coroutine},
                                  {"coroutine", "wrap", make_coroutine},
                                  {NULL, NULL, NULL}};

static void push_library(lua_State *L, const char *name) {
#if LUA_VERSION_NUM >= 502
  lua_pushglobaltable(L);
#else
  lua_pushvalue(L, LUA_GLOBALSINDEX);
#endif
  if (name) {
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
  }
}

static void wrap(lua_State *L, const wrapped *one) {
  push_library(L, one->library);
  lua_getfield(L, -1, one->name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 2);
    return;
  }
  lua_pushcclosure(L, one->wrapper, 1);
  lua_setfield(L, -2, one->name);
  lua_pop(L, 1);
}

/* The one metatable that all strings share. */
static void lock_strings(lua_State *L) {
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}

void orr_confine_libraries(lua_State *L) {
  static const luaL_Reg own[] = {
      {"load", load}, {"loadstring", load}, {"collectgarbage", collect_garbage}, {NULL, NULL}};
  for (const luaL_Reg *library = LIBRARIES; library->func; library++)
    open_library(L, library);
  for (const wrapped *one = WRAPPED; one->name; one++)
    wrap(L, one);
  push_library(L, NULL);
  orr_setfuncs(L, own);
  lua_pop(L, 1);
  lock_strings(L);
}

void orr_confine_globals(lua_State *L) {
  static const char *const gone[] = {"dofile",  "loadfile", "module", "newproxy", "getfenv",
                                     "setfenv", "gcinfo",   "warn",   "package",  "io",
                                     "os",      "debug",    "ffi",    "jit",      NULL};
  int library = lua_gettop(L);
  push_library(L, NULL);
  for (int i = 0; gone[i]; i++) {
    lua_pushnil(L);
    lua_setfield(L, -2, gone[i]);
  }
  lua_pushvalue(L, library);
  lua_pushcclosure(L, require_library, 1);
  lua_setfield(L, -2, "require");
  lua_pushcfunction(L, absent);
  lua_setfield(L, -2, "print");
  lua_pop(L, 1);
  push_library(L, "string");
  lua_pushnil(L);
  lua_setfield(L, -2, "dump");
  lua_pop(L, 1);
}
