/* packlib: a list of stored values as one JSON array, the text that lua/orrery/packing.lua binds in place of
   the list. What has no place in JSON is the caller's matter. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libs.h"

enum { NUMBER_ROOM = 32 };

/* Digits from the end of `room`; an integer comes by for every key of a load. */
static void add_integer(luaL_Buffer *out, int64_t value) {
  char room[NUMBER_ROOM], *at = room + sizeof room;
  uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
  do
    *--at = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0)
    *--at = '-';
  luaL_addlstring(out, at, (size_t)(room + sizeof room - at));
}

/* As many digits as tell it from its neighbours, whatever the locale's decimal point is. */
static void add_real(luaL_Buffer *out, double value) {
  char room[NUMBER_ROOM];
  snprintf(room, sizeof room, "%.17g", value);
  char *comma = strchr(room, ',');
  if (comma)
    *comma = '.';
  luaL_addstring(out, room);
}

static bool add_number(lua_State *L, luaL_Buffer *out, int index) {
  int64_t whole;
  if (orr_toint64(L, index, &whole)) {
    add_integer(out, whole);
    return true;
  }
  double number = lua_tonumber(L, index);
  if (!isfinite(number))
    return false;
  add_real(out, number);
  return true;
}

static void add_byte(luaL_Buffer *out, unsigned char byte) {
  char escaped[8];
  if (byte == '"' || byte == '\\')
    luaL_addchar(out, '\\');
  if (byte >= ' ') {
    luaL_addchar(out, (char)byte);
    return;
  }
  snprintf(escaped, sizeof escaped, "\\u%04x", byte);
  luaL_addstring(out, escaped);
}

static bool add_text(lua_State *L, luaL_Buffer *out, int index) {
  size_t len;
  const char *text = lua_tolstring(L, index, &len);
  if (memchr(text, 0, len))
    return false;
  luaL_addchar(out, '"');
  for (size_t i = 0; i < len; i++)
    add_byte(out, (unsigned char)text[i]);
  luaL_addchar(out, '"');
  return true;
}

/* False where JSON has no place for the value at `index`, which is below what the buffer has on the stack. */
static bool add_value(lua_State *L, luaL_Buffer *out, int index) {
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    return add_number(L, out, index);
  case LUA_TSTRING:
    return add_text(L, out, index);
  case LUA_TLIGHTUSERDATA:
    luaL_addstring(out, "null");
    return true;
  default:
    return false;
  }
}

/* core.pack(values, width) -> text: a JSON array of the values, or, where width is not 1, of rows of so many;
   or nil and the position of a value that JSON has no place for: one with NUL bytes, or no number. */
static int pack(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int count = (int)orr_rawlen(L, 1), width = (int)luaL_checkinteger(L, 2);
  luaL_Buffer out;
  lua_settop(L, 1);
  lua_pushnil(L); /* the value at hand */
  luaL_buffinit(L, &out);
  luaL_addchar(&out, '[');
  for (int i = 1; i <= count; i++) {
    bool opens = width > 1 && (i - 1) % width == 0, closes = width > 1 && i % width == 0;
    lua_rawgeti(L, 1, i);
    lua_replace(L, 2);
    if (i > 1)
      luaL_addchar(&out, ',');
    if (opens)
      luaL_addchar(&out, '[');
    if (!add_value(L, &out, 2)) {
      lua_pushnil(L);
      lua_pushinteger(L, i);
      return 2;
    }
    if (closes)
      luaL_addchar(&out, ']');
  }
  luaL_addchar(&out, ']');
  luaL_pushresult(&out);
  return 1;
}

void orr_pack_open(lua_State *L) {
  lua_pushcfunction(L, pack);
  lua_setfield(L, -2, "pack");
}
