/* nodelib: makes the nodes that most queries are written with, each in one call: comparisons with a value,
   selects of classes and columns, and changed copies of selects. What is not as simple as that goes to the
   Lua function behind, in expression.lua or statement.lua, which is also where it is said what the nodes are.
 */
#include "libs.h"
#include "nodes.h"

/* Metatables say at 1 what they are of: true for plain nodes, for statements how many places their array has.
 */
enum { WHAT = 1, MOST_PLACES = 32 };

/* The number of places in the array of the statement at 1, with its metatable on top; 0, and nothing on top,
   where it is none. (A script's own table may say anything there.) */
static int push_statement_meta(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE || !lua_getmetatable(L, 1))
    return 0;
  lua_rawgeti(L, -1, WHAT);
  lua_Integer places = lua_tointeger(L, -1);
  bool known = places >= 1 && places <= MOST_PLACES;
  lua_pop(L, known ? 1 : 2);
  return known ? (int)places : 0;
}

static bool is_node(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
    return false;
  lua_rawgeti(L, -1, WHAT);
  bool node = lua_type(L, -1) == LUA_TBOOLEAN;
  lua_pop(L, 2);
  return node;
}

/* Pushes a copy of the statement at 1, whose metatable is on top, in the place of that. */
static void push_copy(lua_State *L, int places) {
  lua_createtable(L, places, 0);
  for (int i = 1; i <= places; i++) {
    lua_rawgeti(L, 1, i);
    lua_rawseti(L, -2, i);
  }
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
}

/* Every function here has the Lua function behind it as its first upvalue. */
static int call_behind(lua_State *L, int arguments) {
  lua_settop(L, arguments);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, arguments, 1);
  return 1;
}

/* ---- comparisons ---- */

enum { RECORD = 2, COMPARED, TYPE, COMPARES, VISIT_NAME, COLUMN_NAME, FIRST_KIND };

/* Pushes the type that the value at 2 is bound with beside the node at 1; false where that is not known yet.
   `lasting`: the node is a column, whose type is its own, so that the same will be asked again. */
static bool push_value_type(lua_State *L, int kind, bool *lasting) {
  lua_pushvalue(L, lua_upvalueindex(TYPE));
  lua_rawget(L, 1);
  *lasting = lua_istable(L, -1);
  if (!*lasting) {
    lua_pushvalue(L, lua_upvalueindex(TYPE));
    lua_gettable(L, 1);
  }
  if (!lua_istable(L, -1))
    return false;
  lua_pushvalue(L, lua_upvalueindex(COMPARES));
  lua_rawget(L, -2);
  if (!lua_istable(L, -1))
    return false;
  lua_pushvalue(L, lua_upvalueindex(FIRST_KIND + kind));
  lua_rawget(L, -2);
  if (!lua_istable(L, -1))
    return false;
  if (*lasting) {
    lua_pushvalue(L, lua_upvalueindex(VISIT_NAME));
    lua_rawget(L, 1);
    *lasting = lua_rawequal(L, -1, lua_upvalueindex(COLUMN_NAME));
    lua_pop(L, 1);
  }
  return true;
}

/* Pushes the form that the node at 1 has kept at `key`; not one that came with what it was copied from. */
static bool push_known_form(lua_State *L, const void *key) {
  orr_rawgetp(L, 1, key);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return false;
  }
  lua_rawgeti(L, -1, ORR_FORM_LEFT);
  bool own = lua_rawequal(L, -1, 1);
  lua_pop(L, own ? 1 : 2);
  return own;
}

/* The same for one that is made now, if it can be. */
static bool push_form(lua_State *L, int kind, const void *key) {
  bool lasting;
  if (!is_node(L, 1) || !push_value_type(L, kind, &lasting))
    return false;
  lua_createtable(L, lasting ? ORR_FORM_TEXT : ORR_FORM_TYPE, 0);
  lua_pushvalue(L, lua_upvalueindex(RECORD));
  lua_rawseti(L, -2, ORR_FORM_OPERATOR);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, ORR_FORM_LEFT);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, ORR_FORM_TYPE);
  if (lasting) {
    lua_pushvalue(L, -1);
    orr_rawsetp(L, 1, key);
  }
  return true;
}

/* node:ge(value) */
static int compare(lua_State *L) {
  static const signed char KINDS[] = {[LUA_TNUMBER] = 1, [LUA_TSTRING] = 2, [LUA_TBOOLEAN] = 3};
  int arguments = lua_gettop(L), type = lua_type(L, 2);
  int kind = type > 0 && type < (int)sizeof KINDS ? KINDS[type] : 0;
  if (arguments != 2 || !kind || lua_type(L, 1) != LUA_TTABLE)
    return call_behind(L, arguments);
  const char *record =
      lua_topointer(L, lua_upvalueindex(RECORD)); /* forms of an operator stand at its places */
  if (!push_known_form(L, record + kind) && !push_form(L, kind - 1, record + kind))
    return call_behind(L, arguments);
  lua_createtable(L, ORR_COMPARED_VALUE, 0);
  lua_insert(L, -2);
  lua_rawseti(L, -2, ORR_COMPARED_FORM);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, ORR_COMPARED_VALUE);
  lua_pushvalue(L, lua_upvalueindex(COMPARED));
  lua_setmetatable(L, -2);
  return 1;
}

/* core.comparer(behind, operator, metatable) -> a method that makes comparisons */
static int comparer(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  lua_pushliteral(L, "type");
  lua_pushliteral(L, "compares");
  lua_pushliteral(L, "visit");
  lua_pushliteral(L, "column");
  lua_pushliteral(L, "number");
  lua_pushliteral(L, "string");
  lua_pushliteral(L, "boolean");
  lua_pushcclosure(L, compare, 10);
  return 1;
}

/* ---- changed copies of selects ---- */

enum { PLACE = 2, ALL, VISIT, ORDERING };

static bool is_plain_node(lua_State *L, int index) {
  if (!is_node(L, index) || lua_rawequal(L, index, lua_upvalueindex(ALL)))
    return false;
  lua_pushvalue(L, lua_upvalueindex(VISIT));
  lua_rawget(L, index);
  bool plain = !lua_rawequal(L, -1, lua_upvalueindex(ORDERING));
  lua_pop(L, 1);
  return plain;
}

/* Whether what stands in the place of a list is its only node. */
static bool is_single(lua_State *L, int index) {
  bool single = lua_istable(L, index) && lua_getmetatable(L, index);
  lua_settop(L, lua_gettop(L) - single);
  return single;
}

/* Pushes the list in a place of the statement at 1, if any, with the arguments behind: a single node stands
   for itself. */
static void push_extended(lua_State *L, int place, int arguments) {
  lua_rawgeti(L, 1, place);
  int old = lua_gettop(L), count = 1;
  if (!lua_istable(L, old) && arguments == 2) {
    lua_pop(L, 1);
    lua_pushvalue(L, 2);
    return;
  }
  bool single = is_single(L, old);
  if (!single)
    count = lua_istable(L, old) ? (int)orr_rawlen(L, old) : 0;
  lua_createtable(L, count + arguments - 1, 0);
  for (int i = 1; i <= count; i++) {
    if (single)
      lua_pushvalue(L, old);
    else
      lua_rawgeti(L, old, i);
    lua_rawseti(L, -2, i);
  }
  for (int i = 2; i <= arguments; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, ++count);
  }
  lua_remove(L, old);
}

/* select:where(node, ...) */
static int add_nodes(lua_State *L) {
  int arguments = lua_gettop(L), place = (int)lua_tointeger(L, lua_upvalueindex(PLACE));
  if (arguments < 2)
    return call_behind(L, arguments);
  for (int i = 2; i <= arguments; i++)
    if (!is_plain_node(L, i))
      return call_behind(L, arguments);
  luaL_checkstack(L, 10, "statement");
  int places = push_statement_meta(L);
  if (!places)
    return call_behind(L, arguments);
  push_copy(L, places);
  push_extended(L, place, arguments);
  lua_rawseti(L, -2, place);
  return 1;
}

/* core.node_adder(behind, place, all) -> a method that adds nodes to the list in a place of a select; not
   `all`, and none with a direction, which may stand for a name. */
static int node_adder(lua_State *L) {
  lua_settop(L, 3);
  lua_pushliteral(L, "visit");
  lua_pushliteral(L, "ordering");
  lua_pushcclosure(L, add_nodes, 5);
  return 1;
}

/* Whether the value at `index` is a whole number from 0, as this Lua has them. */
static bool is_count(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TNUMBER)
    return false;
#if LUA_VERSION_NUM >= 503
  return lua_isinteger(L, index) && lua_tointeger(L, index) >= 0 &&
         lua_tointeger(L, index) < (lua_Integer)1 << 53;
#else
  lua_Number number = lua_tonumber(L, index);
  return number >= 0 && number < 9007199254740992.0 && number == (lua_Number)(long long)number;
#endif
}

/* select:limit(count) */
static int set_count(lua_State *L) {
  int arguments = lua_gettop(L), places = 0;
  if (arguments == 2 && is_count(L, 2))
    places = push_statement_meta(L);
  if (!places)
    return call_behind(L, arguments);
  push_copy(L, places);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, (int)lua_tointeger(L, lua_upvalueindex(PLACE)));
  return 1;
}

/* core.count_setter(behind, place) -> a method that puts a number into a place of a select */
static int count_setter(lua_State *L) {
  lua_settop(L, 2);
  lua_pushcclosure(L, set_count, 2);
  return 1;
}

/* ---- fields ---- */

enum { METHODS = 1, PLACES, REST, BEHIND, LAST_LIST };

/* What stands in a place of the statement at 1, which is on top: false is for what is not there. */
static int read_place(lua_State *L, int place) {
  if (!lua_toboolean(L, -1))
    return 0;
  if (lua_type(L, -1) == LUA_TNUMBER) {
    lua_pushvalue(L, lua_upvalueindex(BEHIND));
    lua_insert(L, -2);
    lua_call(L, 1, 1);
  } else if (place <= (int)lua_tointeger(L, lua_upvalueindex(LAST_LIST)) && is_single(L, -1)) {
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  } else
    return 1;
  lua_pushvalue(L, -1);
  lua_rawseti(L, 1, place);
  return 1;
}

/* statement.name: a method, what the array has in the place of that name (`behind` makes a node of a number,
   and a list is made for a node that stands in the place of one), or what the table of everything else has.
   Names of fields have a place, 0 for those in that table; what else is not there is a mistake of whoever
   asks, of which the methods' own __index says so. */
static int read_field(lua_State *L) {
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(METHODS));
  if (!lua_isnil(L, -1))
    return 1;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(PLACES));
  bool is_field = !lua_isnil(L, 4);
  int place = (int)lua_tointeger(L, 4);
  if (place) {
    lua_rawgeti(L, 1, place);
    return read_place(L, place);
  }
  lua_rawgeti(L, 1, (int)lua_tointeger(L, lua_upvalueindex(REST)));
  if (lua_istable(L, 5)) {
    lua_pushvalue(L, 2);
    lua_rawget(L, 5);
    if (!lua_isnil(L, 6))
      return 1;
  }
  if (is_field)
    return 0;
  lua_settop(L, 2);
  lua_gettable(L, lua_upvalueindex(METHODS));
  return 1;
}

/* core.field_reader(methods, places, rest, behind, last list) -> __index of statements: the places up to that
   of the last list are lists */
static int field_reader(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 5);
  lua_pushcclosure(L, read_field, 5);
  return 1;
}

/* ---- selects ---- */

enum { SELECT_META = 2, SWITCH, METATABLE, MAPPER, ENTITY, SELECTED };

/* Pushes the node that stands for the class at `index`; false where it is none, or none that was asked
 * before. */
static bool push_entity(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return false;
  for (int step = METATABLE; step <= ENTITY; step++) {
    lua_pushvalue(L, lua_upvalueindex(step));
    lua_rawget(L, -2);
    if (!lua_istable(L, -1))
      return false;
  }
  return true;
}

/* Pushes a select of the items on top, popped. */
static void push_select(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(SELECT_META));
  lua_rawgeti(L, -1, WHAT);
  int places = (int)lua_tointeger(L, -1);
  lua_createtable(L, places, 0);
  lua_pushvalue(L, -4);
  lua_rawseti(L, -2, 1);
  for (int i = 2; i <= places; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, i);
  }
  lua_pushvalue(L, -3);
  lua_setmetatable(L, -2);
}

/* Pushes the select of nothing but the entity on top, which has it once it was asked for: statements never
   change. A copy of the entity may have that of another one. */
static void push_select_of(lua_State *L) {
  int entity = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(SELECTED));
  lua_rawget(L, entity);
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, 1);
    if (lua_istable(L, -1))
      lua_rawgeti(L, -1, 1);
    bool own = lua_rawequal(L, -1, entity);
    lua_settop(L, entity + 1);
    if (own)
      return;
  }
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, entity);
  lua_rawseti(L, -2, 1);
  push_select(L);
  lua_pushvalue(L, lua_upvalueindex(SELECTED));
  lua_pushvalue(L, -2);
  lua_rawset(L, entity);
}

/* select(what, ...) */
static int select_items(lua_State *L) {
  int arguments = lua_gettop(L);
  lua_rawgeti(L, lua_upvalueindex(SWITCH), 1);
  if (!arguments || lua_toboolean(L, -1))
    return call_behind(L, arguments);
  luaL_checkstack(L, 12, "statement");
  if (arguments == 1 && push_entity(L, 1)) {
    push_select_of(L);
    return 1;
  }
  lua_createtable(L, arguments, 0);
  int items = lua_gettop(L);
  for (int i = 1; i <= arguments; i++) {
    if (is_node(L, i))
      lua_pushvalue(L, i);
    else if (!push_entity(L, i))
      return call_behind(L, arguments);
    lua_rawseti(L, items, i);
    lua_settop(L, items);
  }
  push_select(L);
  return 1;
}

/* core.selector(behind, metatable, switch) -> select(). switch[1]: everything goes to the function behind. */
static int selector(lua_State *L) {
  lua_settop(L, 3);
  lua_pushliteral(L, "__metatable");
  lua_pushliteral(L, "__mapper");
  lua_pushliteral(L, "entity_node");
  lua_pushliteral(L, "selected");
  lua_pushcclosure(L, select_items, 7);
  return 1;
}

/* ---- copies ---- */

/* core.copy(table) -> a fresh table with its fields and its metatable */
static int copy(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_createtable(L, (int)orr_rawlen(L, 1), 0);
  for (lua_pushnil(L); lua_next(L, 1);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 2);
  }
  if (lua_getmetatable(L, 1))
    lua_setmetatable(L, 2);
  return 1;
}

void orr_node_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"comparer", comparer},
                                       {"node_adder", node_adder},
                                       {"count_setter", count_setter},
                                       {"selector", selector},
                                       {"field_reader", field_reader},
                                       {"copy", copy},
                                       {NULL, NULL}};
  orr_setfuncs(L, functions);
}
