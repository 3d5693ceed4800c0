#include "box.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void orr_rawgetp(lua_State *L, int index, const void *key) {
#if LUA_VERSION_NUM >= 502
  lua_rawgetp(L, index, key);
#else
  index = orr_absindex(L, index);
  lua_pushlightuserdata(L, (void *)key);
  lua_rawget(L, index);
#endif
}

void orr_rawsetp(lua_State *L, int index, const void *key) {
#if LUA_VERSION_NUM >= 502
  lua_rawsetp(L, index, key);
#else
  index = orr_absindex(L, index);
  lua_pushlightuserdata(L, (void *)key);
  lua_insert(L, -2);
  lua_rawset(L, index);
#endif
}

void *orr_newuserdata_slots(lua_State *L, size_t size, int slots) {
#if ORR_SLOTS
  return lua_newuserdatauv(L, size, 1 + slots);
#else
  (void)slots;
  return lua_newuserdata(L, size);
#endif
}

void *orr_newuserdata(lua_State *L, size_t size) { return orr_newuserdata_slots(L, size, 0); }

bool orr_getuservalue(lua_State *L, int index) {
#if LUA_VERSION_NUM >= 504
  if (lua_getiuservalue(L, index, 1) == LUA_TTABLE)
    return true;
#else
#if LUA_VERSION_NUM >= 502
  lua_getuservalue(L, index);
#else
  lua_getfenv(L, index);
#endif
  if (lua_istable(L, -1))
    return true;
#endif
  lua_pop(L, 1);
  return false;
}

void orr_setuservalue(lua_State *L, int index) {
#if LUA_VERSION_NUM >= 504
  lua_setiuservalue(L, index, 1);
#elif LUA_VERSION_NUM >= 502
  lua_setuservalue(L, index);
#else
  lua_setfenv(L, index);
#endif
}

void orr_sift(lua_State *L, int from, int to, int i, int *kept, bool stays) {
  if (!stays && *kept == i - 1) {
    lua_createtable(L, *kept, 0);
    for (int k = 1; k <= *kept; k++) {
      lua_rawgeti(L, from, k);
      lua_rawseti(L, -2, k);
    }
    lua_replace(L, to);
  }
  *kept += stays;
  if (stays && *kept < i)
    lua_rawseti(L, to, *kept);
  else
    lua_pop(L, 1);
}

bool orr_toint64(lua_State *L, int index, int64_t *out) {
#if ORR_INT64
  if (lua_isinteger(L, index)) {
    *out = lua_tointeger(L, index);
    return true;
  }
  int exact;
  *out = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &exact) : (exact = 0);
  return exact;
#else
  if (lua_type(L, index) != LUA_TNUMBER)
    return false;
  /* Beyond 2^53 a double stands for several integers: which one was meant is unknown. */
  double number = lua_tonumber(L, index);
  if (!(number > -(double)ORR_MAX_SAFE && number < (double)ORR_MAX_SAFE))
    return false;
  *out = (int64_t)number;
  return (double)*out == number;
#endif
}

bool orr_pushint64(lua_State *L, int64_t value) {
#if ORR_INT64
  lua_pushinteger(L, value);
#else
  if (value > ORR_MAX_SAFE || value < -ORR_MAX_SAFE)
    return false;
  lua_pushnumber(L, (lua_Number)value);
#endif
  return true;
}

#ifdef LUA_GCISRUNNING

static bool runs(lua_State *L) { return lua_gc(L, LUA_GCISRUNNING, 0); }

#else

static bool runs(lua_State *L) {
  (void)L;
  return false;
}

#endif

#ifdef LUA_JITLIBNAME

int orr_gc_pause(lua_State *L) {
  if (!runs(L))
    return -1;
  lua_gc(L, LUA_GCSTOP, 0);
  return lua_gc(L, LUA_GCCOUNT, 0);
}

void orr_gc_resume(lua_State *L, int held) {
  if (held >= 0)
    orr_gc_resume_later(L);
}

/* LuaJIT takes -1 for "when the heap has grown by its pause"; a step of less than nothing it does not know.
 */
void orr_gc_resume_later(lua_State *L) { lua_gc(L, LUA_GCRESTART, -1); }

void orr_gc_spare(lua_State *L, int kilobytes) {
  (void)L;
  (void)kilobytes;
}

#else

enum { PLENTY = 1 << 16 };

/* To stop it and start it again would make it begin at once. */
int orr_gc_pause(lua_State *L) {
  if (!runs(L))
    return -1;
  orr_gc_spare(L, PLENTY);
  return lua_gc(L, LUA_GCCOUNT, 0);
}

void orr_gc_resume(lua_State *L, int held) {
  int more = lua_gc(L, LUA_GCCOUNT, 0) - held;
  if (held >= 0 && more < PLENTY)
    orr_gc_spare(L, more - PLENTY);
}

void orr_gc_resume_later(lua_State *L) { lua_gc(L, LUA_GCRESTART, 0); }

/* A step stands for an allocation of so many kilobytes, and one of less than nothing for their return. */
void orr_gc_spare(lua_State *L, int kilobytes) {
  enum { WORTH_A_CALL = 64 };
  if ((kilobytes >= WORTH_A_CALL || kilobytes < 0) && runs(L))
    lua_gc(L, LUA_GCSTEP, -kilobytes);
}

#endif

void orr_setfuncs(lua_State *L, const luaL_Reg *functions) {
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

/* ---- handles ---- */

static int collect(lua_State *L) {
  const orr_box_kind *kind = lua_touserdata(L, lua_upvalueindex(1));
  void *block = orr_box_test(L, 1, kind);
  if (block)
    kind->close(block);
  return 0;
}

static void set_closer(lua_State *L, const orr_box_kind *kind, const char *event) {
  lua_pushlightuserdata(L, (void *)kind);
  lua_pushcclosure(L, collect, 1);
  lua_setfield(L, -2, event);
}

void orr_box_define(lua_State *L, const orr_box_kind *kind, const luaL_Reg *methods) {
  lua_newtable(L);
  if (methods) {
    lua_newtable(L);
    orr_setfuncs(L, methods);
    lua_setfield(L, -2, "__index");
  }
  if (kind->close) {
    set_closer(L, kind, "__gc");
    set_closer(L, kind, "__close");
  }
  lua_pushlightuserdata(L, (void *)kind);
  lua_rawseti(L, -2, 1); /* what orr_box_test looks at */
  lua_pushstring(L, kind->name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  orr_rawsetp(L, LUA_REGISTRYINDEX, kind);
}

void orr_box_metatable(lua_State *L, const orr_box_kind *kind) { orr_rawgetp(L, LUA_REGISTRYINDEX, kind); }

void *orr_box_new_slots(lua_State *L, const orr_box_kind *kind, size_t size, int slots) {
  void *block = orr_newuserdata_slots(L, size, slots);
  memset(block, 0, size);
  orr_box_metatable(L, kind);
  lua_setmetatable(L, -2);
  return block;
}

void *orr_box_new(lua_State *L, const orr_box_kind *kind, size_t size) {
  return orr_box_new_slots(L, kind, size, 0);
}

void *orr_box_test(lua_State *L, int index, const orr_box_kind *kind) {
  void *block = lua_touserdata(L, index);
  if (!block || lua_islightuserdata(L, index) || !lua_getmetatable(L, index))
    return NULL;
  lua_rawgeti(L, -1, 1);
  bool same = lua_touserdata(L, -1) == (const void *)kind;
  lua_pop(L, 2);
  return same ? block : NULL;
}

void *orr_box_check(lua_State *L, int index, const orr_box_kind *kind) {
  void *block = orr_box_test(L, index, kind);
  if (!block)
    orr_raisef(L, "ArgumentError", "%s expected as argument %d, got %s%s", kind->name, index,
               luaL_typename(L, index), index == 1 ? " (a method is called with ':')" : "");
  return block;
}

/* ---- errors ---- */

static const char ERROR_METATABLE = 0; /* its address is the registry key */

/* The names of the library's chunks begin so; a Lua function of anyone else is a script's. */
static const char LIBRARY[] = "=orrery/";

static bool is_script(const lua_Debug *frame) {
  return frame->currentline > 0 && strncmp(frame->source, LIBRARY, sizeof LIBRARY - 1) != 0;
}

void orr_where(lua_State *L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (is_script(&frame)) {
      lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
      return;
    }
  }
  lua_pushliteral(L, "");
}

void orr_traceback(lua_State *L, int level) {
#if LUA_VERSION_NUM >= 502 || defined(LUA_JITLIBNAME)
  luaL_traceback(L, L, NULL, level);
#else
  lua_Debug frame;
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  luaL_addstring(&buffer, "stack traceback:");
  for (; lua_getstack(L, level, &frame); level++) {
    char line[LUA_IDSIZE + 128];
    lua_getinfo(L, "Snl", &frame);
    snprintf(line, sizeof line, "\n\t%s:%d: in %s", frame.short_src, frame.currentline,
             frame.name ? frame.name : frame.what);
    luaL_addstring(&buffer, line);
  }
  luaL_pushresult(&buffer);
#endif
}

static void set_text(lua_State *L, const char *field, const char *text) {
  if (text && *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
  }
}

/* "a,b" becomes { "a", "b" }. */
static void set_columns(lua_State *L, const char *columns) {
  lua_newtable(L);
  for (int i = 1; *columns; i++) {
    size_t len = strcspn(columns, ",");
    lua_pushlstring(L, columns, len);
    lua_rawseti(L, -2, i);
    columns += len + (columns[len] == ',');
  }
  lua_setfield(L, -2, "columns");
}

/* Expects the message on top and leaves the error object there instead. */
static void push_object(lua_State *L, const char *kind) {
  lua_newtable(L);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  set_text(L, "kind", kind);
  orr_where(L);
  lua_setfield(L, -2, "where");
  orr_traceback(L, 1);
  lua_setfield(L, -2, "traceback");
  orr_rawgetp(L, LUA_REGISTRYINDEX, &ERROR_METATABLE);
  lua_setmetatable(L, -2);
}

void orr_error_push(lua_State *L, const orr_error *error) {
  luaL_checkstack(L, 8, "error object");
  lua_pushstring(L, error->message);
  push_object(L, error->kind);
  if (error->code) {
    lua_pushinteger(L, error->code);
    lua_setfield(L, -2, "code");
  }
  lua_pushboolean(L, error->retryable);
  lua_setfield(L, -2, "retryable");
  set_text(L, "constraint", error->constraint);
  set_text(L, "table", error->table);
  if (error->columns[0])
    set_columns(L, error->columns);
}

int orr_raise(lua_State *L, const orr_error *error) {
  orr_error_push(L, error);
  return lua_error(L);
}

int orr_raisef(lua_State *L, const char *kind, const char *format, ...) {
  va_list args;
  luaL_checkstack(L, 8, "error object");
  va_start(args, format);
  lua_pushvfstring(L, format, args);
  va_end(args);
  push_object(L, kind);
  return lua_error(L);
}

/* ---- per state ---- */

orr_alloc orr_allocator(lua_State *L) {
  orr_alloc alloc;
  alloc.resize = lua_getallocf(L, &alloc.ud);
  return alloc;
}

static int where(lua_State *L) {
  orr_where(L);
  return 1;
}

/* Whether the line that reads a field is a script's; `depth` counts the functions from the one that asks to
 * it. */
static int asked_by_script(lua_State *L) {
  lua_Debug frame;
  bool asked = lua_getstack(L, 1 + (int)luaL_checkinteger(L, 1), &frame) && lua_getinfo(L, "S", &frame) &&
               *frame.what != 'C' && strncmp(frame.source, LIBRARY, sizeof LIBRARY - 1) != 0;
  lua_pushboolean(L, asked);
  return 1;
}

static int traceback(lua_State *L) {
  orr_traceback(L, (int)luaL_optinteger(L, 1, 1));
  return 1;
}

void orr_box_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"where", where}, {"asked_by_script", asked_by_script}, {"traceback", traceback}, {NULL, NULL}};
  orr_setfuncs(L, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushboolean(L, ORR_INT64);
  lua_setfield(L, -2, "int64");
  lua_newtable(L);
  lua_pushvalue(L, -1);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &ERROR_METATABLE);
  lua_setfield(L, -2, "error_metatable");
}
