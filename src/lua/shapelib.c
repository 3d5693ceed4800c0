/* shapelib: the walk over a statement's nodes that fingerprint.lua asks for: a text that is equal for two
   statements exactly when their SQL is, and the bound values found on the way. What may stand in a statement
   twice is written out once and named by its number after that. Reads the fields that expression.lua's PARTS
   names, and never calls a script's code. */
#include <string.h>

#include "nodes.h"
#include "shape.h"

static const char *const FIXED[] = {"visit",   "type", "key",      "value", "bind_key", "operator",
                                    "token",   "name", "escape",   "left",  "right",    "table",
                                    "columns", "from", "array_in", "text",  "at_once",  "inert"};

enum { MOST_LEVELS = 1000 };

/* ---- a walk ---- */

static void make_room(orr_walk *w, size_t more) {
  size_t room = (w->len + more) * 2;
  char *grown = lua_newuserdata(w->L, room);
  memcpy(grown, w->text, w->len);
  lua_replace(w->L, w->box);
  w->text = grown;
  w->room = room;
}

static void emit(orr_walk *w, const char *text, size_t len) {
  if (w->len + len + 1 > w->room)
    make_room(w, len + 1);
  memcpy(w->text + w->len, text, len);
  w->text[w->len + len] = ';';
  w->len += len + 1;
}

/* A mark and a number: "L12". */
static void emit_number(orr_walk *w, const char *mark, unsigned long long number) {
  if (number < 10 && w->len + 3 <= w->room && *mark && !mark[1]) { /* mostly */
    w->text[w->len++] = *mark;
    w->text[w->len++] = (char)('0' + number);
    w->text[w->len++] = ';';
    return;
  }
  char text[32];
  size_t at = sizeof text, marks = strlen(mark);
  do
    text[--at] = (char)('0' + number % 10);
  while (number /= 10);
  at -= marks;
  memcpy(text + at, mark, marks);
  emit(w, text + at, sizeof text - at);
}

/* The text on top, popped. */
static void emit_top(orr_walk *w) {
  size_t len;
  const char *text = lua_tolstring(w->L, -1, &len);
  if (!text)
    luaL_error(w->L, "orrery: part of a statement has no text for the cache's key");
  emit(w, text, len);
  lua_pop(w->L, 1);
}

/* The same for a field that a kind of nodes has. `rest`: of a statement that lacks all that has no place, 0.
 */
static int push_part(orr_walk *w, int node, const orr_node_kind *kind, int rest, int name) {
  if (kind->special != ORR_NODE_STATEMENT)
    return orr_walk_field(w, node, name);
  int place = w->shaper->places[name];
  if (!place)
    return orr_walk_own(w, rest, name);
  if (w->nodes)
    return orr_walk_field(w, node, name); /* which makes the node of a number */
  lua_rawgeti(w->L, node, place);
  return lua_type(w->L, -1);
}

/* Whether a node cannot have a field: what a statement has in its rest, where there is none. */
static bool lacks(const orr_walk *w, const orr_node_kind *kind, int rest, int name) {
  return kind->special == ORR_NODE_STATEMENT && !rest && !w->shaper->places[name];
}

/* A script may put anything anywhere in its nodes, and nothing but tables has fields of its own. */
static void check_table(orr_walk *w, int index) {
  if (!lua_istable(w->L, index))
    orr_raisef(w->L, "CompileError", "a %s cannot be part of a statement", luaL_typename(w->L, index));
}

/* Emits the field `name` of the table on top, popped. */
static void emit_field_of_top(orr_walk *w, int name) {
  check_table(w, -1);
  lua_rawgeti(w->L, w->names, name);
  lua_rawget(w->L, -2);
  emit_top(w);
  lua_pop(w->L, 1);
}

/* Emits the value on top, popped: a text with its length before it; a table has a token. */
static void emit_atom(orr_walk *w) {
  size_t len;
  const char *text;
  switch (lua_type(w->L, -1)) {
  case LUA_TTABLE:
    orr_walk_field(w, lua_gettop(w->L), ORR_NAME_TOKEN);
    emit_top(w);
    lua_pop(w->L, 1);
    return;
  case LUA_TSTRING:
    text = lua_tolstring(w->L, -1, &len);
    emit_number(w, "", len);
    emit(w, text, len);
    break;
  case LUA_TBOOLEAN:
    emit(w, lua_toboolean(w->L, -1) ? "true" : "false", lua_toboolean(w->L, -1) ? 4 : 5);
    break;
  default: /* a number: tostring() of a copy */
    lua_pushvalue(w->L, -1);
    emit_top(w);
  }
  lua_pop(w->L, 1);
}

static void visit(orr_walk *w);

/* Calls a helper of fingerprint.lua with the node at `index`; its text is on top, or nil. */
static bool push_help(orr_walk *w, const char *name, int index) {
  lua_getfield(w->L, w->helpers, name);
  lua_pushvalue(w->L, index);
  lua_call(w->L, 1, 1);
  return !lua_isnil(w->L, -1);
}

static void emit_help(orr_walk *w, const char *name, int index) {
  push_help(w, name, index);
  emit_top(w);
}

/* ---- what is written in a way of its own ---- */

/* Tables, and columns of them, have short texts; a column of anything else is named after that. A column may
   bring along what it is selected from. */
static void visit_column(orr_walk *w, int node) {
  lua_rawgeti(w->L, w->names, ORR_NAME_FROM);
  lua_rawget(w->L, node);
  if (lua_isfunction(w->L, -1)) {
    lua_call(w->L, 0, 1);
    emit(w, "F", 1);
    visit(w);
  } else {
    lua_pop(w->L, 1);
  }
  if (!push_help(w, "column", node)) {
    lua_pop(w->L, 1);
    emit(w, "C", 1);
    orr_walk_field(w, node, ORR_NAME_TABLE_OF);
    visit(w);
    push_help(w, "column_text", node);
  }
  emit_top(w);
}

/* Emits the short text of a column, or of a table or class while it has as many columns as when it got that;
   whether there is one. */
static bool emit_token(orr_walk *w, int node) {
  lua_pushvalue(w->L, node);
  lua_rawget(w->L, w->tokens);
  int type = lua_type(w->L, -1);
  if (type == LUA_TSTRING) {
    emit_top(w);
    return true;
  }
  if (type == LUA_TTABLE) {
    int token = lua_gettop(w->L);
    lua_rawgeti(w->L, token, 2);
    orr_walk_field(w, node, ORR_NAME_COLUMNS);
    if (lua_tointeger(w->L, -2) == (lua_Integer)orr_rawlen(w->L, -1)) {
      lua_rawgeti(w->L, token, 1);
      emit_top(w);
      lua_settop(w->L, token - 1);
      return true;
    }
    lua_settop(w->L, token);
  }
  lua_pop(w->L, 1);
  return false;
}

static void visit_entity(orr_walk *w, int node) {
  if (push_help(w, "entity", node)) {
    emit_top(w);
    return;
  }
  lua_pop(w->L, 1);
  emit_help(w, "alias", node);
  orr_walk_field(w, node, ORR_NAME_TABLE_OF);
  visit(w);
  orr_walk_field(w, node, ORR_NAME_COLUMNS);
  check_table(w, -1);
  int columns = lua_gettop(w->L), count = (int)orr_rawlen(w->L, columns);
  emit_number(w, "", count);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(w->L, columns, i);
    orr_walk_field(w, columns + 1, ORR_NAME_VISIT);
    lua_pushliteral(w->L, "column");
    bool is_column = lua_rawequal(w->L, -1, -2);
    lua_pop(w->L, 2);
    if (is_column)
      emit_help(w, "column_text", columns + 1);
    else {
      lua_pushvalue(w->L, columns + 1);
      visit(w);
    }
    lua_settop(w->L, columns);
  }
  lua_pop(w->L, 1);
}

/* The place of a bound node in the order of the walk, counted from 1; 0 where it is met for the first time.
 */
static int place_of(orr_walk *w, const void *node) {
  if (w->count <= ORR_WALK_FEW) {
    for (int i = 0; i < w->count; i++)
      if (w->few[i] == node)
        return i + 1;
    return 0;
  }
  orr_rawgetp(w->L, w->places, node);
  int place = (int)lua_tointeger(w->L, -1);
  lua_pop(w->L, 1);
  return place;
}

static void note_place(orr_walk *w, const void *node, int place) {
  lua_pushinteger(w->L, place);
  orr_rawsetp(w->L, w->places, node);
}

/* Enters a bound node, which `address` tells from others, as the next one. */
static void take_place(orr_walk *w, int node, const void *address) {
  if (w->count == ORR_WALK_FEW) {
    lua_newtable(w->L);
    lua_replace(w->L, w->places);
    for (int i = 0; i < ORR_WALK_FEW; i++)
      note_place(w, w->few[i], i + 1);
  }
  w->count++;
  if (w->count <= ORR_WALK_FEW)
    w->few[w->count - 1] = address;
  else
    note_place(w, address, w->count);
  if (w->nodes) {
    lua_pushvalue(w->L, node);
    lua_rawseti(w->L, w->nodes, w->count);
  }
}

static void visit_bind(orr_walk *w, int node) {
  const void *address = lua_topointer(w->L, node);
  int place = place_of(w, address);
  if (place) {
    emit_number(w, "^", place);
    return;
  }
  take_place(w, node, address);
  orr_walk_own(w, node, ORR_NAME_VALUE);
  lua_rawseti(w->L, w->values, w->count);
  orr_walk_own(w, node, ORR_NAME_TYPE);
  emit_field_of_top(w, ORR_NAME_BIND_KEY);
  if (orr_walk_own(w, node, ORR_NAME_KEY) == LUA_TNIL)
    lua_pop(w->L, 1);
  else
    emit_atom(w);
}

/* The value on top, popped, whose type has been written: of a bound node, at `node`, or one that has no node
 * yet. */
static void take_value(orr_walk *w, int node, const void *address) {
  int place = place_of(w, address);
  if (place) {
    lua_pop(w->L, 1);
    emit_number(w, "^", place);
    return;
  }
  take_place(w, node, address);
  lua_rawseti(w->L, w->values, w->count);
}

static void visit_list(orr_walk *w, int node) {
  lua_getfield(w->L, w->helpers, "list");
  lua_pushvalue(w->L, node);
  lua_pushboolean(w->L, w->expands);
  lua_call(w->L, 2, 1);
  emit_top(w);
  take_place(w, node, lua_topointer(w->L, node));
}

/* Emits what the form of a comparison says; that is the same each time where its left side has a token. */
static void emit_form(orr_walk *w, int form) {
  lua_rawgeti(w->L, form, ORR_FORM_TEXT);
  if (lua_type(w->L, -1) == LUA_TSTRING) {
    emit_top(w);
    return;
  }
  int top = lua_gettop(w->L) - 1;
  size_t start = w->len;
  lua_rawgeti(w->L, form, ORR_FORM_OPERATOR);
  emit_field_of_top(w, ORR_NAME_TOKEN);
  lua_rawgeti(w->L, form, ORR_FORM_LEFT);
  visit(w);
  lua_rawgeti(w->L, form, ORR_FORM_TYPE);
  emit_field_of_top(w, ORR_NAME_BIND_KEY);
  lua_rawgeti(w->L, form, ORR_FORM_LEFT);
  lua_rawget(w->L, w->tokens);
  if (lua_type(w->L, -1) == LUA_TSTRING) {
    lua_pushlstring(w->L, w->text + start, w->len - start - 1);
    lua_rawseti(w->L, form, ORR_FORM_TEXT);
  }
  lua_settop(w->L, top);
}

bool orr_walk_is_value(orr_walk *w, int type) {
  int node = lua_gettop(w->L);
  const orr_node_kind *kind = lua_istable(w->L, node) ? orr_walk_kind(w, node) : NULL;
  if (!kind || kind->special != ORR_NODE_BIND)
    return false;
  orr_walk_own(w, node, ORR_NAME_TYPE);
  orr_walk_own(w, node, ORR_NAME_KEY);
  bool plain = lua_isnil(w->L, -1) && lua_rawequal(w->L, -2, type);
  lua_settop(w->L, node);
  return plain;
}

bool orr_walk_is_value_of(orr_walk *w, int form) {
  lua_rawgeti(w->L, form, ORR_FORM_TYPE);
  lua_insert(w->L, -2);
  bool plain = orr_walk_is_value(w, lua_gettop(w->L) - 1);
  lua_remove(w->L, -2);
  return plain;
}

/* A comparison with a value, whose form is on top. */
static void visit_compared(orr_walk *w, int node) {
  int form = lua_gettop(w->L), right = form + 1;
  check_table(w, form);
  if (w->nodes)
    orr_walk_field(w, node, ORR_NAME_RIGHT); /* which makes the node */
  else
    lua_rawgeti(w->L, node, ORR_COMPARED_RIGHT);
  if (lua_isnil(w->L, right)) {
    emit_form(w, form);
    lua_rawgeti(w->L, node, ORR_COMPARED_VALUE);
    take_value(w, 0, lua_topointer(w->L, node));
  } else if (orr_walk_is_value_of(w, form)) {
    emit_form(w, form);
    orr_walk_own(w, right, ORR_NAME_VALUE);
    take_value(w, right, lua_topointer(w->L, right));
  } else {
    lua_rawgeti(w->L, form, ORR_FORM_OPERATOR);
    emit_field_of_top(w, ORR_NAME_TOKEN);
    lua_rawgeti(w->L, form, ORR_FORM_LEFT);
    visit(w);
    visit(w);
  }
}

/* The type of an operation follows from its parts, except where a script says it. */
static void visit_binary(orr_walk *w, int node) {
  lua_rawgeti(w->L, node, ORR_COMPARED_FORM);
  if (!lua_isnil(w->L, -1)) {
    visit_compared(w, node);
    return;
  }
  orr_walk_field(w, node, ORR_NAME_OPERATOR);
  int operator_index = lua_gettop(w->L);
  orr_walk_field(w, operator_index, ORR_NAME_TOKEN);
  emit_top(w);
  orr_walk_field(w, operator_index, ORR_NAME_NAME);
  const char *name = lua_tostring(w->L, -1);
  if (name && strcmp(name, "op") == 0) {
    orr_walk_field(w, node, ORR_NAME_TYPE);
    emit_field_of_top(w, ORR_NAME_KEY);
  }
  lua_pop(w->L, 2);
  if (orr_walk_own(w, node, ORR_NAME_ESCAPE) == LUA_TNIL) {
    lua_pop(w->L, 1);
  } else {
    emit(w, "\\", 1);
    emit_atom(w);
  }
  orr_walk_field(w, node, ORR_NAME_LEFT);
  visit(w);
  orr_walk_field(w, node, ORR_NAME_RIGHT);
  visit(w);
}

/* ---- everything else ---- */

/* A field that a node has is named by its place among those of its kind; one that it has not leaves no trace.
 */
static void visit_atoms(orr_walk *w, int node, const orr_node_kind *kind, int rest) {
  for (int i = 0; i < kind->atoms; i++) {
    if (push_part(w, node, kind, rest, kind->first + i) == LUA_TNIL) {
      lua_pop(w->L, 1);
      continue;
    }
    emit_number(w, "a", i);
    emit_atom(w);
  }
}

bool orr_walk_is_single(orr_walk *w) {
  bool single = lua_istable(w->L, -1) && lua_getmetatable(w->L, -1);
  lua_settop(w->L, lua_gettop(w->L) - single);
  return single;
}

static void visit_lists(orr_walk *w, int node, const orr_node_kind *kind, int rest) {
  for (int i = 0; i < kind->lists; i++) {
    int name = kind->first + kind->atoms + i;
    if (lacks(w, kind, rest, name))
      continue;
    if (push_part(w, node, kind, rest, name) != LUA_TTABLE) {
      lua_pop(w->L, 1);
      continue;
    }
    bool single = orr_walk_is_single(w);
    int items = lua_gettop(w->L), count = single ? 1 : (int)orr_rawlen(w->L, items);
    emit_number(w, "l", i);
    emit_number(w, "", count);
    if (single) {
      visit(w);
      continue;
    }
    for (int k = 1; k <= count; k++) {
      lua_rawgeti(w->L, items, k);
      visit(w);
    }
    lua_pop(w->L, 1);
  }
}

/* A number in the place of a node: of a limit. No other node can have the address. */
static void visit_count(orr_walk *w, int node, int name) {
  const char *address = lua_topointer(w->L, node);
  lua_pushvalue(w->L, w->counts);
  emit_field_of_top(w, ORR_NAME_BIND_KEY);
  take_value(w, 0, address + w->shaper->places[name]);
}

static void visit_nodes(orr_walk *w, int node, const orr_node_kind *kind, int rest) {
  for (int i = 0; i < kind->nodes; i++) {
    int name = kind->first + kind->atoms + kind->lists + i;
    int type = push_part(w, node, kind, rest, name);
    if (!lua_toboolean(w->L, -1)) {
      lua_pop(w->L, 1);
      continue;
    }
    emit_number(w, "n", i);
    if (type == LUA_TNUMBER)
      visit_count(w, node, name);
    else
      visit(w);
  }
}

static void visit_fields(orr_walk *w, int node, const orr_node_kind *kind) {
  orr_walk_field(w, node, ORR_NAME_VISIT);
  emit_top(w);
  if (orr_walk_field(w, node, ORR_NAME_TYPE) == LUA_TTABLE) {
    orr_walk_field(w, lua_gettop(w->L), ORR_NAME_KEY);
    emit_top(w);
  }
  lua_pop(w->L, 1);
  visit_atoms(w, node, kind, 0);
  visit_nodes(w, node, kind, 0);
  visit_lists(w, node, kind, 0);
  emit(w, ")", 1);
}

static void visit_statement(orr_walk *w, int node, const orr_node_kind *kind) {
  emit_number(w, "S", kind - w->shaper->kinds);
  lua_rawgeti(w->L, node, kind->rest);
  int rest = lua_istable(w->L, -1) ? lua_gettop(w->L) : 0;
  if (rest)
    visit_atoms(w, node, kind, rest);
  visit_lists(w, node, kind, rest);
  visit_nodes(w, node, kind, rest);
  emit(w, ")", 1);
}

/* What may stand in several places counts as one. */
static void visit_shared(orr_walk *w, int node, const orr_node_kind *kind) {
  const void *address = lua_topointer(w->L, node);
  if (lua_isnil(w->L, w->seen)) {
    lua_newtable(w->L);
    lua_replace(w->L, w->seen);
  }
  orr_rawgetp(w->L, w->seen, address);
  int number = (int)lua_tointeger(w->L, -1);
  lua_pop(w->L, 1);
  if (number) {
    emit_number(w, "@", number);
    return;
  }
  lua_pushinteger(w->L, ++w->shared);
  orr_rawsetp(w->L, w->seen, address);
  visit_fields(w, node, kind);
}

/* ---- learning kinds ---- */

/* The number that the table at `index`, if it is one, has under the name on top. */
static int number_by_name(lua_State *L, int index) {
  if (!lua_istable(L, index))
    return 0;
  lua_pushvalue(L, -1);
  lua_rawget(L, index);
  int number = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number;
}

/* Adds the names in a field of a kind's parts, if any, and says how many they are. `places`: index of where a
   statement has them. */
static int names_in(lua_State *L, int parts, const char *field, int places, orr_walk *w) {
  if (!lua_istable(L, parts))
    return 0;
  lua_getfield(L, parts, field);
  int count = lua_istable(L, -1) ? (int)orr_rawlen(L, -1) : 0;
  for (int i = 1; i <= count; i++) {
    if (w->shaper->names + 1 == ORR_MOST_NAMES)
      luaL_error(L, "orrery: more names than shapelib.c has room for");
    lua_rawgeti(L, -1, i);
    int place = number_by_name(L, places);
    w->shaper->places[++w->shaper->names] = (unsigned char)place;
    lua_rawseti(L, w->names, w->shaper->names);
  }
  lua_pop(L, 1);
  return count;
}

static orr_node_sort special_of(const char *name) {
  static const struct {
    const char *name;
    orr_node_sort special;
  } specials[] = {{"join", ORR_NODE_JOIN},          {"select", ORR_NODE_STATEMENT},
                  {"compound", ORR_NODE_STATEMENT}, {"column", ORR_NODE_COLUMN},
                  {"entity", ORR_NODE_ENTITY},      {"bind", ORR_NODE_BIND},
                  {"list", ORR_NODE_LIST},          {"binary", ORR_NODE_BINARY},
                  {"alias", ORR_NODE_SHARED},       {"subquery", ORR_NODE_SHARED},
                  {"cte", ORR_NODE_SHARED},         {"label", ORR_NODE_SHARED},
                  {"table", ORR_NODE_TABLE},        {"table_function", ORR_NODE_SHARED},
                  {"values", ORR_NODE_SHARED}};
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
    if (strcmp(specials[i].name, name) == 0)
      return specials[i].special;
  return ORR_NODE_GENERIC;
}

/* Notes where a statement has the fields of one sort that stand in its array. */
static void note_places(const orr_walk *w, orr_node_kind *kind, int first, int count) {
  for (int i = first; i < first + count; i++)
    if (w->shaper->places[i] && kind->placed < ORR_MOST_PLACED)
      kind->at[kind->placed++] = w->shaper->places[i];
}

/* The kind whose name is on top and is new. */
static const orr_node_kind *learn(orr_walk *w) {
  lua_State *L = w->L;
  int visit_name = lua_gettop(L);
  const char *name = lua_tostring(L, visit_name);
  orr_node_sort special = name ? special_of(name) : ORR_NODE_GENERIC;
  lua_pushvalue(L, visit_name);
  if (name)
    lua_rawget(L, w->parts);
  if (!name || (!lua_istable(L, -1) && (special <= ORR_NODE_STATEMENT || special == ORR_NODE_SHARED)))
    orr_raisef(L, "CompileError", "%s cannot be part of a statement",
               name ? name : luaL_typename(L, visit_name));
  orr_node_kind kind;
  memset(&kind, 0, sizeof kind);
  kind.special = special;
  int places = visit_name + 2;
  lua_getfield(L, w->helpers, "places");
  lua_pushvalue(L, visit_name);
  lua_rawget(L, -2);
  lua_replace(L, places);
  lua_pushliteral(L, "rest");
  kind.rest = number_by_name(L, places);
  do { /* once more where a finalizer has walked over a statement, and learnt, in between */
    kind.first = w->shaper->names + 1;
    kind.atoms = names_in(L, visit_name + 1, "atoms", places, w);
    kind.lists = names_in(L, visit_name + 1, "lists", places, w);
    kind.nodes = names_in(L, visit_name + 1, "nodes", places, w);
  } while (w->shaper->names != kind.first + kind.atoms + kind.lists + kind.nodes - 1);
  if (w->shaper->count == ORR_MOST_KINDS)
    luaL_error(L, "orrery: more kinds of nodes than shapelib.c has room for");
  note_places(w, &kind, kind.first + kind.atoms, kind.lists);
  kind.lists_placed = kind.placed;
  note_places(w, &kind, kind.first + kind.atoms + kind.lists, kind.nodes);
  w->shaper->kinds[w->shaper->count] = kind;
  int number = ++w->shaper->count;
  lua_settop(L, visit_name);
  lua_pushinteger(L, number);
  lua_rawset(L, w->numbers);
  return &w->shaper->kinds[number - 1];
}

const orr_node_kind *orr_walk_kind(orr_walk *w, int node) {
  if (!lua_getmetatable(w->L, node))
    return NULL;
  const void *meta = lua_topointer(w->L, -1);
  lua_pop(w->L, 1);
  for (int i = 0; i < w->shaper->owns; i++) {
    const orr_node_kind *kind = &w->shaper->kinds[w->shaper->own[i]];
    if (kind->meta == meta)
      return kind;
  }
  return NULL;
}

/* A kind whose nodes have their `visit` from their metatable, which is kept for as long as the shaper. */
static void note_meta(orr_walk *w, int node, int number) {
  lua_State *L = w->L;
  if (w->shaper->kinds[number].meta || w->shaper->owns == ORR_MOST_OWN || !lua_getmetatable(L, node))
    return;
  const void *meta = lua_topointer(L, -1);
  lua_pushinteger(L, number + 1);
  lua_rawset(L, w->numbers);
  if (!w->shaper->kinds[number].meta &&
      w->shaper->owns < ORR_MOST_OWN) { /* still, whatever a finalizer did */
    w->shaper->kinds[number].meta = meta;
    w->shaper->own[w->shaper->owns++] = number;
  }
}

static const orr_node_kind *kind_of(orr_walk *w, int node) {
  bool own = orr_walk_own(w, node, ORR_NAME_VISIT) != LUA_TNIL;
  if (!own) {
    lua_pop(w->L, 1);
    orr_walk_field(w, node, ORR_NAME_VISIT);
  }
  lua_pushvalue(w->L, -1);
  lua_rawget(w->L, w->numbers);
  int number = (int)lua_tointeger(w->L, -1);
  lua_pop(w->L, 1);
  const orr_node_kind *kind = number ? &w->shaper->kinds[number - 1] : learn(w);
  if (!own)
    note_meta(w, node, (int)(kind - w->shaper->kinds));
  lua_settop(w->L, node);
  return kind;
}

static void visit_kind(orr_walk *w, int node, const orr_node_kind *kind) {
  switch (kind->special) {
  case ORR_NODE_STATEMENT:
    visit_statement(w, node, kind);
    break;
  case ORR_NODE_COLUMN:
    visit_column(w, node);
    break;
  case ORR_NODE_ENTITY:
    visit_entity(w, node);
    break;
  case ORR_NODE_BIND:
    visit_bind(w, node);
    break;
  case ORR_NODE_LIST:
    visit_list(w, node);
    break;
  case ORR_NODE_BINARY:
    visit_binary(w, node);
    break;
  case ORR_NODE_SHARED:
    visit_shared(w, node, kind);
    break;
  case ORR_NODE_TABLE:
    emit_help(w, "table", node);
    break;
  case ORR_NODE_JOIN: /* a class's own is the same for every statement */
    if (push_help(w, "lasting", node))
      emit_top(w);
    else
      visit_fields(w, node, kind);
    break;
  default:
    visit_fields(w, node, kind);
  }
}

/* Writes the node on top out and pops it. */
static void visit(orr_walk *w) {
  int node = lua_gettop(w->L);
  check_table(w, node);
  if (++w->depth > MOST_LEVELS)
    orr_raisef(
        w->L, "CompileError",
        "an expression is nested deeper than %d levels; and_(...) and or_(...) take any number of conditions",
        MOST_LEVELS);
  luaL_checkstack(w->L, 20, "statement");
  const orr_node_kind *kind = orr_walk_kind(w, node);
  if (kind || !emit_token(w, node))
    visit_kind(w, node, kind ? kind : kind_of(w, node));
  lua_settop(w->L, node - 1);
  w->depth--;
}

/* ---- a whole statement ---- */

void orr_walk_init(lua_State *L, orr_walk *w) {
  w->L = L;
  w->shaper = lua_touserdata(L, lua_upvalueindex(ORR_SHAPE_SHAPER));
  w->names = lua_upvalueindex(ORR_SHAPE_NAMES);
  w->numbers = lua_upvalueindex(ORR_SHAPE_NUMBERS);
  w->tokens = lua_upvalueindex(ORR_SHAPE_TOKENS);
  w->helpers = lua_upvalueindex(ORR_SHAPE_HELPERS);
  w->parts = lua_upvalueindex(ORR_SHAPE_PARTS);
  w->counts = lua_upvalueindex(ORR_SHAPE_COUNT);
}

/* Makes places for what is found. */
static void begin(orr_walk *w, bool wants_nodes) {
  lua_State *L = w->L;
  w->text = w->first;
  w->len = 0;
  w->room = sizeof w->first;
  w->shared = w->count = w->depth = 0;
  luaL_checkstack(L, 30, "statement");
  w->box = ORR_WALK_FREE;
  w->places = w->box + 1;
  w->seen = w->box + 2;
  w->values = w->box + 3;
  lua_settop(L, ORR_WALK_FREE - 1);
  lua_settop(L, w->seen);
  lua_createtable(L, 4, 0);
  w->nodes = 0;
  if (wants_nodes) {
    lua_newtable(L);
    w->nodes = lua_gettop(L);
  }
}

void orr_walk_write(orr_walk *w, bool wants_nodes) {
  begin(w, wants_nodes);
  orr_walk_own(w, ORR_WALK_DIALECT, ORR_NAME_ARRAY_IN);
  w->expands = !lua_toboolean(w->L, -1);
  orr_walk_own(w, ORR_WALK_DIALECT, ORR_NAME_NAME);
  emit_top(w);
  lua_pushvalue(w->L, ORR_WALK_STATEMENT);
  visit(w);
}

void orr_shape_push_upvalues(lua_State *L) {
  orr_shaper *shaper = orr_newuserdata(L, sizeof *shaper);
  memset(shaper, 0, sizeof *shaper);
  lua_newtable(L);
  for (; shaper->names < ORR_FIXED_NAMES - 1; shaper->names++) {
    lua_pushstring(L, FIXED[shaper->names]);
    lua_rawseti(L, -2, shaper->names + 1);
  }
  lua_newtable(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 1);
  lua_getfield(L, 3, "count");
}
