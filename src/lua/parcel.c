#include "parcel.h"

#include <string.h>

enum { DEEPEST = 100 }; /* tables in tables; also what ends a cycle */

enum {
  NIL = '0',
  NO = 'f',
  YES = 't',
  INTEGER = 'i',
  NUMBER = 'n',
  STRING = 's',
  MISSING = 'u',
  TABLE = '{',
  END = '}'
};

void orr_parcel_clear(orr_parcel *parcel) {
  orr_alloc_free(&parcel->alloc, parcel->bytes, parcel->room, 1);
  parcel->bytes = NULL;
  parcel->len = parcel->room = 0;
}

static const char *const TOO_LARGE = "it is too large";

static const char *put_bytes(orr_parcel *parcel, const void *bytes, size_t len) {
  if (len > parcel->most - parcel->len)
    return TOO_LARGE;
  char *grown = orr_alloc_grow(&parcel->alloc, parcel->bytes, &parcel->room, parcel->len + len, 1);
  if (!grown)
    return TOO_LARGE;
  parcel->bytes = grown;
  if (len)
    memcpy(grown + parcel->len, bytes, len);
  parcel->len += len;
  return NULL;
}

static const char *put_tag(orr_parcel *parcel, char tag) { return put_bytes(parcel, &tag, 1); }

static const char *put_tagged(orr_parcel *parcel, char tag, const void *bytes, size_t len) {
  const char *why = put_tag(parcel, tag);
  return why ? why : put_bytes(parcel, bytes, len);
}

static const char *put_number(lua_State *L, int index, orr_parcel *parcel) {
#if ORR_INT64
  if (lua_isinteger(L, index)) {
    lua_Integer integer = lua_tointeger(L, index);
    return put_tagged(parcel, INTEGER, &integer, sizeof integer);
  }
#endif
  lua_Number number = lua_tonumber(L, index);
  return put_tagged(parcel, NUMBER, &number, sizeof number);
}

static const char *put_string(lua_State *L, int index, orr_parcel *parcel) {
  size_t len;
  const char *text = lua_tolstring(L, index, &len);
  const char *why = put_tagged(parcel, STRING, &len, sizeof len);
  return why ? why : put_bytes(parcel, text, len);
}

static const char *put(lua_State *L, int index, orr_parcel *parcel, int depth);

static const char *put_entries(lua_State *L, int index, orr_parcel *parcel, int depth) {
  const char *why = put_tag(parcel, TABLE);
  for (lua_pushnil(L); !why && lua_next(L, index);) {
    int value = lua_gettop(L);
    why = put(L, value - 1, parcel, depth + 1);
    if (!why)
      why = put(L, value, parcel, depth + 1);
    lua_settop(L, value - 1);
  }
  return why ? why : put_tag(parcel, END);
}

static const char *put_table(lua_State *L, int index, orr_parcel *parcel, int depth) {
  if (depth >= DEEPEST)
    return "tables are nested more than 100 deep in it, or in circles";
  if (lua_getmetatable(L, index))
    return "it is, or holds, a table with a metatable; only plain tables travel";
  luaL_checkstack(L, 8, "nested tables");
  return put_entries(L, index, parcel, depth);
}

static const char *put(lua_State *L, int index, orr_parcel *parcel, int depth) {
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    return put_tag(parcel, NIL);
  case LUA_TBOOLEAN:
    return put_tag(parcel, lua_toboolean(L, index) ? YES : NO);
  case LUA_TNUMBER:
    return put_number(L, index, parcel);
  case LUA_TSTRING:
    return put_string(L, index, parcel);
  case LUA_TTABLE:
    return put_table(L, index, parcel, depth);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, index))
      return put_tag(parcel, MISSING);
    return "it is, or holds, a light userdata";
  case LUA_TUSERDATA:
    return "it is, or holds, an object; give the values of its attributes, as orm.to_table() makes them";
  default:
    return "it is, or holds, a function or a coroutine";
  }
}

const char *orr_parcel_put(lua_State *L, int index, orr_parcel *parcel) {
  int top = lua_gettop(L);
  const char *why = put(L, orr_absindex(L, index), parcel, 0);
  lua_settop(L, top);
  return why;
}

const char *orr_parcel_put_all(lua_State *L, int first, int count, orr_parcel *parcel) {
  const char *why = NULL;
  for (int i = 0; i < count && !why; i++)
    why = orr_parcel_put(L, first + i, parcel);
  return why;
}

/* ---- unpacking ---- */

static const char *take(lua_State *L, const char *from);

static const char *take_table(lua_State *L, const char *from) {
  luaL_checkstack(L, 8, "nested tables");
  lua_newtable(L);
  while (*from != END) {
    from = take(L, from);
    from = take(L, from);
    lua_rawset(L, -3);
  }
  return from + 1;
}

static const char *take_string(lua_State *L, const char *from) {
  size_t len;
  memcpy(&len, from, sizeof len);
  lua_pushlstring(L, from + sizeof len, len);
  return from + sizeof len + len;
}

static const char *take_integer(lua_State *L, const char *from) {
  lua_Integer integer;
  memcpy(&integer, from, sizeof integer);
  lua_pushinteger(L, integer);
  return from + sizeof integer;
}

static const char *take_number(lua_State *L, const char *from) {
  lua_Number number;
  memcpy(&number, from, sizeof number);
  lua_pushnumber(L, number);
  return from + sizeof number;
}

static const char *take(lua_State *L, const char *from) {
  char tag = *from++;
  switch (tag) {
  case YES:
  case NO:
    lua_pushboolean(L, tag == YES);
    return from;
  case INTEGER:
    return take_integer(L, from);
  case NUMBER:
    return take_number(L, from);
  case STRING:
    return take_string(L, from);
  case TABLE:
    return take_table(L, from);
  case MISSING:
    lua_pushlightuserdata(L, NULL);
    return from;
  default:
    lua_pushnil(L);
    return from;
  }
}

int orr_parcel_take_all(lua_State *L, const orr_parcel *parcel) {
  int count = 0;
  if (parcel->len == 0)
    return 0;
  for (const char *from = parcel->bytes, *end = from + parcel->len; from < end; count++) {
    luaL_checkstack(L, 4, "too many values");
    from = take(L, from);
  }
  return count;
}
