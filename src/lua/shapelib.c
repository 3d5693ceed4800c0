/* shapelib: the walk over a statement's nodes that fingerprint.lua asks for: a text that is equal for two
   statements exactly when their SQL is, and the bound values found on the way. What may stand in a statement
   twice is written out once and named by its number after that. Reads the fields that expression.lua's PARTS
   names, and never calls a script's code. */
#include <string.h>

#include "libs.h"
#include "load.h"
#include "nodes.h"

/* ---- kinds of nodes ---- */

typedef enum orr_special {
  GENERIC,
  STATEMENT, /* an array: the places of its fields stand in its parts */
  COLUMN,
  ENTITY,
  BIND,
  LIST,
  BINARY,
  SHARED,
  TABLE,
  JOIN
} orr_special;

enum { MAX_PLACED = 8 };

/* The fields of a kind stand in the shaper's table of names from `first`: atoms, lists, nodes. Nodes are
   visited before lists, but in a select or union after them: as in SQL, so that values mostly come in the
   order of its markers. */
typedef struct node_kind {
  orr_special special;
  int first, atoms, lists, nodes;
  int rest;                     /* the place of the table of what has none, in a statement; */
  int placed, lists_placed;     /* how many fields have a place there, and how many of them are lists, */
  unsigned char at[MAX_PLACED]; /* which these are: lists, then nodes */
  const void *meta;             /* the metatable that only nodes of this kind have, if any */
} node_kind;

enum {
  KINDS = 96,
  MAX_NAMES = 320,
  OWN = 8
}; /* more than expression.lua, statement.lua and their like define */

typedef struct orr_shaper {
  node_kind kinds[KINDS];
  int count, names;
  int own[OWN], owns;              /* the kinds that have a metatable of their own */
  unsigned char places[MAX_NAMES]; /* of the fields that a statement has in its array; 0: in the rest */
} orr_shaper;

/* Upvalues of a walk. The table of numbers keeps the metatables of kinds, too. */
enum { SHAPER = 1, NAMES, NUMBERS, TOKENS, HELPERS, PARTS, COUNT };
/* Names that every walk needs stand first in the table of names. */
enum {
  VISIT = 1,
  TYPE,
  KEY,
  VALUE,
  BIND_KEY,
  OPERATOR,
  TOKEN,
  NAME,
  ESCAPE,
  LEFT,
  RIGHT,
  TABLE_OF,
  COLUMNS,
  FROM,
  ARRAY_IN,
  TEXT,
  AT_ONCE,
  INERT,
  FIXED_NAMES
};
static const char *const FIXED[] = {"visit",   "type", "key",      "value", "bind_key", "operator",
                                    "token",   "name", "escape",   "left",  "right",    "table",
                                    "columns", "from", "array_in", "text",  "at_once",  "inert"};

/* ---- a walk ---- */

enum { FIRST_ROOM = 1024, FEW = 16, MAX_DEPTH = 1000 };

typedef struct walk {
  lua_State *L;
  orr_shaper *shaper;
  char *text; /* `first`, or a userdata at `box` once that is full */
  size_t len, room;
  int names, numbers, tokens, helpers, parts, counts; /* indexes of upvalues, */
  int box, values, nodes,
      seen; /* and of the stack; `nodes` 0: not wanted; `seen` nil until something is shared */
  int shared, count, depth;
  bool expands;         /* whether lists are written as single markers always */
  const void *few[FEW]; /* the first bound values met; */
  int places;           /* all of them by address, once there are more */
  char first[FIRST_ROOM];
} walk;

static void make_room(walk *w, size_t more) {
  size_t room = (w->len + more) * 2;
  char *grown = lua_newuserdata(w->L, room);
  memcpy(grown, w->text, w->len);
  lua_replace(w->L, w->box);
  w->text = grown;
  w->room = room;
}

static void emit(walk *w, const char *text, size_t len) {
  if (w->len + len + 1 > w->room)
    make_room(w, len + 1);
  memcpy(w->text + w->len, text, len);
  w->text[w->len + len] = ';';
  w->len += len + 1;
}

/* A mark and a number: "L12". */
static void emit_number(walk *w, const char *mark, unsigned long long number) {
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
static void emit_top(walk *w) {
  size_t len;
  const char *text = lua_tolstring(w->L, -1, &len);
  if (!text)
    luaL_error(w->L, "orrery: part of a statement has no text for the cache's key");
  emit(w, text, len);
  lua_pop(w->L, 1);
}

/* Pushes a field of the table at `index`, which may have it from its metatable. */
static int push_field(walk *w, int index, int name) {
  lua_rawgeti(w->L, w->names, name);
  lua_gettable(w->L, index);
  return lua_type(w->L, -1);
}

/* The same for a field that the table has itself. */
static int push_own(walk *w, int index, int name) {
  lua_rawgeti(w->L, w->names, name);
  lua_rawget(w->L, index);
  return lua_type(w->L, -1);
}

/* The same for a field that a kind of nodes has. `rest`: of a statement that lacks all that has no place, 0.
 */
static int push_part(walk *w, int node, const node_kind *kind, int rest, int name) {
  if (kind->special != STATEMENT)
    return push_field(w, node, name);
  int place = w->shaper->places[name];
  if (!place)
    return push_own(w, rest, name);
  if (w->nodes)
    return push_field(w, node, name); /* which makes the node of a number */
  lua_rawgeti(w->L, node, place);
  return lua_type(w->L, -1);
}

/* Whether a node cannot have a field: what a statement has in its rest, where there is none. */
static bool lacks(const walk *w, const node_kind *kind, int rest, int name) {
  return kind->special == STATEMENT && !rest && !w->shaper->places[name];
}

/* Emits the field `name` of the table on top, popped. */
static void emit_field_of_top(walk *w, int name) {
  lua_rawgeti(w->L, w->names, name);
  lua_rawget(w->L, -2);
  emit_top(w);
  lua_pop(w->L, 1);
}

/* Emits the value on top, popped: a text with its length before it; a table has a token. */
static void emit_atom(walk *w) {
  size_t len;
  const char *text;
  switch (lua_type(w->L, -1)) {
  case LUA_TTABLE:
    push_field(w, lua_gettop(w->L), TOKEN);
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

static void visit(walk *w);
static const node_kind *kind_by_meta(walk *w, int node);

/* Calls a helper of fingerprint.lua with the node at `index`; its text is on top, or nil. */
static bool push_help(walk *w, const char *name, int index) {
  lua_getfield(w->L, w->helpers, name);
  lua_pushvalue(w->L, index);
  lua_call(w->L, 1, 1);
  return !lua_isnil(w->L, -1);
}

static void emit_help(walk *w, const char *name, int index) {
  push_help(w, name, index);
  emit_top(w);
}

/* ---- what is written in a way of its own ---- */

/* Tables, and columns of them, have short texts; a column of anything else is named after that. A column may
   bring along what it is selected from. */
static void visit_column(walk *w, int node) {
  lua_rawgeti(w->L, w->names, FROM);
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
    push_field(w, node, TABLE_OF);
    visit(w);
    push_help(w, "column_text", node);
  }
  emit_top(w);
}

/* Emits the short text of a column, or of a table or class while it has as many columns as when it got that;
   whether there is one. */
static bool emit_token(walk *w, int node) {
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
    push_field(w, node, COLUMNS);
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

static void visit_entity(walk *w, int node) {
  if (push_help(w, "entity", node)) {
    emit_top(w);
    return;
  }
  lua_pop(w->L, 1);
  emit_help(w, "alias", node);
  push_field(w, node, TABLE_OF);
  visit(w);
  push_field(w, node, COLUMNS);
  int columns = lua_gettop(w->L), count = (int)orr_rawlen(w->L, columns);
  emit_number(w, "", count);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(w->L, columns, i);
    push_field(w, columns + 1, VISIT);
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
static int place_of(walk *w, const void *node) {
  if (w->count <= FEW) {
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

static void note_place(walk *w, const void *node, int place) {
  lua_pushinteger(w->L, place);
  orr_rawsetp(w->L, w->places, node);
}

/* Enters a bound node, which `address` tells from others, as the next one. */
static void take_place(walk *w, int node, const void *address) {
  if (w->count == FEW) {
    lua_newtable(w->L);
    lua_replace(w->L, w->places);
    for (int i = 0; i < FEW; i++)
      note_place(w, w->few[i], i + 1);
  }
  w->count++;
  if (w->count <= FEW)
    w->few[w->count - 1] = address;
  else
    note_place(w, address, w->count);
  if (w->nodes) {
    lua_pushvalue(w->L, node);
    lua_rawseti(w->L, w->nodes, w->count);
  }
}

static void visit_bind(walk *w, int node) {
  const void *address = lua_topointer(w->L, node);
  int place = place_of(w, address);
  if (place) {
    emit_number(w, "^", place);
    return;
  }
  take_place(w, node, address);
  push_own(w, node, VALUE);
  lua_rawseti(w->L, w->values, w->count);
  push_own(w, node, TYPE);
  emit_field_of_top(w, BIND_KEY);
  if (push_own(w, node, KEY) == LUA_TNIL)
    lua_pop(w->L, 1);
  else
    emit_atom(w);
}

/* The value on top, popped, whose type has been written: of a bound node, at `node`, or one that has no node
 * yet. */
static void take_value(walk *w, int node, const void *address) {
  int place = place_of(w, address);
  if (place) {
    lua_pop(w->L, 1);
    emit_number(w, "^", place);
    return;
  }
  take_place(w, node, address);
  lua_rawseti(w->L, w->values, w->count);
}

static void visit_list(walk *w, int node) {
  lua_getfield(w->L, w->helpers, "list");
  lua_pushvalue(w->L, node);
  lua_pushboolean(w->L, w->expands);
  lua_call(w->L, 2, 1);
  emit_top(w);
  take_place(w, node, lua_topointer(w->L, node));
}

/* Emits what the form of a comparison says; that is the same each time where its left side has a token. */
static void emit_form(walk *w, int form) {
  lua_rawgeti(w->L, form, ORR_FORM_TEXT);
  if (lua_type(w->L, -1) == LUA_TSTRING) {
    emit_top(w);
    return;
  }
  int top = lua_gettop(w->L) - 1;
  size_t start = w->len;
  lua_rawgeti(w->L, form, ORR_FORM_OPERATOR);
  emit_field_of_top(w, TOKEN);
  lua_rawgeti(w->L, form, ORR_FORM_LEFT);
  visit(w);
  lua_rawgeti(w->L, form, ORR_FORM_TYPE);
  emit_field_of_top(w, BIND_KEY);
  lua_rawgeti(w->L, form, ORR_FORM_LEFT);
  lua_rawget(w->L, w->tokens);
  if (lua_type(w->L, -1) == LUA_TSTRING) {
    lua_pushlstring(w->L, w->text + start, w->len - start - 1);
    lua_rawseti(w->L, form, ORR_FORM_TEXT);
  }
  lua_settop(w->L, top);
}

/* Whether what is on top is the node of a value, without a name, of the type at `type`, and of no other. */
static bool is_value(walk *w, int type) {
  int node = lua_gettop(w->L);
  const node_kind *kind = lua_istable(w->L, node) ? kind_by_meta(w, node) : NULL;
  if (!kind || kind->special != BIND)
    return false;
  push_own(w, node, TYPE);
  push_own(w, node, KEY);
  bool plain = lua_isnil(w->L, -1) && lua_rawequal(w->L, -2, type);
  lua_settop(w->L, node);
  return plain;
}

/* The same of the type that a form says. */
static bool is_value_of(walk *w, int form) {
  lua_rawgeti(w->L, form, ORR_FORM_TYPE);
  lua_insert(w->L, -2);
  bool plain = is_value(w, lua_gettop(w->L) - 1);
  lua_remove(w->L, -2);
  return plain;
}

/* A comparison with a value, whose form is on top. */
static void visit_compared(walk *w, int node) {
  int form = lua_gettop(w->L), right = form + 1;
  if (w->nodes)
    push_field(w, node, RIGHT); /* which makes the node */
  else
    lua_rawgeti(w->L, node, ORR_COMPARED_RIGHT);
  if (lua_isnil(w->L, right)) {
    emit_form(w, form);
    lua_rawgeti(w->L, node, ORR_COMPARED_VALUE);
    take_value(w, 0, lua_topointer(w->L, node));
  } else if (is_value_of(w, form)) {
    emit_form(w, form);
    push_own(w, right, VALUE);
    take_value(w, right, lua_topointer(w->L, right));
  } else {
    lua_rawgeti(w->L, form, ORR_FORM_OPERATOR);
    emit_field_of_top(w, TOKEN);
    lua_rawgeti(w->L, form, ORR_FORM_LEFT);
    visit(w);
    visit(w);
  }
}

/* The type of an operation follows from its parts, except where a script says it. */
static void visit_binary(walk *w, int node) {
  lua_rawgeti(w->L, node, ORR_COMPARED_FORM);
  if (!lua_isnil(w->L, -1)) {
    visit_compared(w, node);
    return;
  }
  push_field(w, node, OPERATOR);
  int operator_index = lua_gettop(w->L);
  push_field(w, operator_index, TOKEN);
  emit_top(w);
  push_field(w, operator_index, NAME);
  const char *name = lua_tostring(w->L, -1);
  if (name && strcmp(name, "op") == 0) {
    push_field(w, node, TYPE);
    emit_field_of_top(w, KEY);
  }
  lua_pop(w->L, 2);
  if (push_own(w, node, ESCAPE) == LUA_TNIL) {
    lua_pop(w->L, 1);
  } else {
    emit(w, "\\", 1);
    emit_atom(w);
  }
  push_field(w, node, LEFT);
  visit(w);
  push_field(w, node, RIGHT);
  visit(w);
}

/* ---- everything else ---- */

/* A field that a node has is named by its place among those of its kind; one that it has not leaves no trace.
 */
static void visit_atoms(walk *w, int node, const node_kind *kind, int rest) {
  for (int i = 0; i < kind->atoms; i++) {
    if (push_part(w, node, kind, rest, kind->first + i) == LUA_TNIL) {
      lua_pop(w->L, 1);
      continue;
    }
    emit_number(w, "a", i);
    emit_atom(w);
  }
}

/* Whether what stands on top, in the place of a list, is its only node. */
static bool is_single(walk *w) {
  bool single = lua_istable(w->L, -1) && lua_getmetatable(w->L, -1);
  lua_settop(w->L, lua_gettop(w->L) - single);
  return single;
}

static void visit_lists(walk *w, int node, const node_kind *kind, int rest) {
  for (int i = 0; i < kind->lists; i++) {
    int name = kind->first + kind->atoms + i;
    if (lacks(w, kind, rest, name))
      continue;
    if (push_part(w, node, kind, rest, name) != LUA_TTABLE) {
      lua_pop(w->L, 1);
      continue;
    }
    bool single = is_single(w);
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
static void visit_count(walk *w, int node, int name) {
  const char *address = lua_topointer(w->L, node);
  lua_pushvalue(w->L, w->counts);
  emit_field_of_top(w, BIND_KEY);
  take_value(w, 0, address + w->shaper->places[name]);
}

static void visit_nodes(walk *w, int node, const node_kind *kind, int rest) {
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

static void visit_fields(walk *w, int node, const node_kind *kind) {
  push_field(w, node, VISIT);
  emit_top(w);
  if (push_field(w, node, TYPE) == LUA_TTABLE) {
    push_field(w, lua_gettop(w->L), KEY);
    emit_top(w);
  }
  lua_pop(w->L, 1);
  visit_atoms(w, node, kind, 0);
  visit_nodes(w, node, kind, 0);
  visit_lists(w, node, kind, 0);
  emit(w, ")", 1);
}

static void visit_statement(walk *w, int node, const node_kind *kind) {
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
static void visit_shared(walk *w, int node, const node_kind *kind) {
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
static int names_in(lua_State *L, int parts, const char *field, int places, walk *w) {
  if (!lua_istable(L, parts))
    return 0;
  lua_getfield(L, parts, field);
  int count = lua_istable(L, -1) ? (int)orr_rawlen(L, -1) : 0;
  for (int i = 1; i <= count; i++) {
    if (w->shaper->names + 1 == MAX_NAMES)
      luaL_error(L, "orrery: more names than shapelib.c has room for");
    lua_rawgeti(L, -1, i);
    int place = number_by_name(L, places);
    w->shaper->places[++w->shaper->names] = (unsigned char)place;
    lua_rawseti(L, w->names, w->shaper->names);
  }
  lua_pop(L, 1);
  return count;
}

static orr_special special_of(const char *name) {
  static const struct {
    const char *name;
    orr_special special;
  } specials[] = {{"join", JOIN},          {"select", STATEMENT},
                  {"compound", STATEMENT}, {"column", COLUMN},
                  {"entity", ENTITY},      {"bind", BIND},
                  {"list", LIST},          {"binary", BINARY},
                  {"alias", SHARED},       {"subquery", SHARED},
                  {"cte", SHARED},         {"label", SHARED},
                  {"table", TABLE},        {"table_function", SHARED},
                  {"values", SHARED}};
  for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
    if (strcmp(specials[i].name, name) == 0)
      return specials[i].special;
  return GENERIC;
}

/* Notes where a statement has the fields of one sort that stand in its array. */
static void note_places(const walk *w, node_kind *kind, int first, int count) {
  for (int i = first; i < first + count; i++)
    if (w->shaper->places[i] && kind->placed < MAX_PLACED)
      kind->at[kind->placed++] = w->shaper->places[i];
}

/* The kind whose name is on top and is new. */
static const node_kind *learn(walk *w) {
  lua_State *L = w->L;
  int visit_name = lua_gettop(L);
  const char *name = lua_tostring(L, visit_name);
  orr_special special = name ? special_of(name) : GENERIC;
  lua_pushvalue(L, visit_name);
  if (name)
    lua_rawget(L, w->parts);
  if (!name || (!lua_istable(L, -1) && (special <= STATEMENT || special == SHARED)))
    orr_raisef(L, "CompileError", "%s cannot be part of a statement",
               name ? name : luaL_typename(L, visit_name));
  node_kind kind;
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
  if (w->shaper->count == KINDS)
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

/* The kind of a node by its metatable, where no other kind has that. */
static const node_kind *kind_by_meta(walk *w, int node) {
  if (!lua_getmetatable(w->L, node))
    return NULL;
  const void *meta = lua_topointer(w->L, -1);
  lua_pop(w->L, 1);
  for (int i = 0; i < w->shaper->owns; i++) {
    const node_kind *kind = &w->shaper->kinds[w->shaper->own[i]];
    if (kind->meta == meta)
      return kind;
  }
  return NULL;
}

/* A kind whose nodes have their `visit` from their metatable, which is kept for as long as the shaper. */
static void note_meta(walk *w, int node, int number) {
  lua_State *L = w->L;
  if (w->shaper->kinds[number].meta || w->shaper->owns == OWN || !lua_getmetatable(L, node))
    return;
  const void *meta = lua_topointer(L, -1);
  lua_pushinteger(L, number + 1);
  lua_rawset(L, w->numbers);
  if (!w->shaper->kinds[number].meta && w->shaper->owns < OWN) { /* still, whatever a finalizer did */
    w->shaper->kinds[number].meta = meta;
    w->shaper->own[w->shaper->owns++] = number;
  }
}

static const node_kind *kind_of(walk *w, int node) {
  bool own = push_own(w, node, VISIT) != LUA_TNIL;
  if (!own) {
    lua_pop(w->L, 1);
    push_field(w, node, VISIT);
  }
  lua_pushvalue(w->L, -1);
  lua_rawget(w->L, w->numbers);
  int number = (int)lua_tointeger(w->L, -1);
  lua_pop(w->L, 1);
  const node_kind *kind = number ? &w->shaper->kinds[number - 1] : learn(w);
  if (!own)
    note_meta(w, node, (int)(kind - w->shaper->kinds));
  lua_settop(w->L, node);
  return kind;
}

static void visit_kind(walk *w, int node, const node_kind *kind) {
  switch (kind->special) {
  case STATEMENT:
    visit_statement(w, node, kind);
    break;
  case COLUMN:
    visit_column(w, node);
    break;
  case ENTITY:
    visit_entity(w, node);
    break;
  case BIND:
    visit_bind(w, node);
    break;
  case LIST:
    visit_list(w, node);
    break;
  case BINARY:
    visit_binary(w, node);
    break;
  case SHARED:
    visit_shared(w, node, kind);
    break;
  case TABLE:
    emit_help(w, "table", node);
    break;
  case JOIN: /* a class's own is the same for every statement */
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
static void visit(walk *w) {
  int node = lua_gettop(w->L);
  if (!lua_istable(w->L, node))
    orr_raisef(w->L, "CompileError", "a %s cannot be part of a statement", luaL_typename(w->L, node));
  if (++w->depth > MAX_DEPTH)
    orr_raisef(
        w->L, "CompileError",
        "an expression is nested deeper than %d levels; and_(...) and or_(...) take any number of conditions",
        MAX_DEPTH);
  luaL_checkstack(w->L, 20, "statement");
  const node_kind *kind = kind_by_meta(w, node);
  if (kind || !emit_token(w, node))
    visit_kind(w, node, kind ? kind : kind_of(w, node));
  lua_settop(w->L, node - 1);
  w->depth--;
}

/* ---- for Lua ---- */

/* Places of the arguments, and of what a walk leaves. */
enum { STATEMENT_AT = 1, DIALECT_AT, KNOWN_AT, NODES_AT, FREE_AT };

static void init_walk(lua_State *L, walk *w) {
  w->L = L;
  w->shaper = lua_touserdata(L, lua_upvalueindex(SHAPER));
  w->names = lua_upvalueindex(NAMES);
  w->numbers = lua_upvalueindex(NUMBERS);
  w->tokens = lua_upvalueindex(TOKENS);
  w->helpers = lua_upvalueindex(HELPERS);
  w->parts = lua_upvalueindex(PARTS);
  w->counts = lua_upvalueindex(COUNT);
}

/* Makes places for what is found. */
static void begin_walk(lua_State *L, walk *w) {
  w->text = w->first;
  w->len = 0;
  w->room = sizeof w->first;
  w->shared = w->count = w->depth = 0;
  luaL_checkstack(L, 30, "statement");
  w->box = FREE_AT;
  w->places = w->box + 1;
  w->seen = w->box + 2;
  w->values = w->box + 3;
  lua_settop(L, w->seen);
  lua_createtable(L, 4, 0);
  w->nodes = 0;
  if (lua_toboolean(L, NODES_AT)) {
    lua_newtable(L);
    w->nodes = lua_gettop(L);
  }
}

/* ---- what is known ---- */

/* A key, as bytes: a text, or a sketch. */
typedef struct key {
  const char *bytes;
  size_t len;
} key;

/* Such that every Lua holds it exactly. */
static lua_Number hash_of(key k) {
  const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
  uint64_t hash = k.len, word;
  size_t at = 0;
  for (; at + sizeof word <= k.len; at += sizeof word) {
    memcpy(&word, k.bytes + at, sizeof word);
    hash = (hash ^ word) * factor;
    hash ^= hash >> 32;
  }
  word = 0;
  memcpy(&word, k.bytes + at, k.len - at);
  return (lua_Number)(((hash ^ word) * factor) >> 12);
}

/* Pushes what is known by a key, if anything is. */
static bool push_known(walk *w, key k) {
  size_t len;
  lua_pushnumber(w->L, hash_of(k));
  lua_rawget(w->L, KNOWN_AT);
  if (!lua_istable(w->L, -1))
    return false;
  push_own(w, lua_gettop(w->L), TEXT);
  const char *text = lua_tolstring(w->L, -1, &len);
  bool same = text && len == k.len && memcmp(text, k.bytes, len) == 0;
  lua_pop(w->L, 1);
  return same;
}

/* ---- sketches ---- */

/* Most statements are made of what lasts: classes, columns, and the forms of their comparisons. The addresses
   of these tell such statements apart as well as their text does, and are found in a fraction of the time.
   Whatever is known by them keeps the things themselves, so that no other can have their address. */
enum { MOST_PARTS = 30 };

typedef struct sketch {
  uintptr_t parts[MOST_PARTS]; /* and between them numbers, which say what they are */
  int count, values;
  int list;                      /* index of the array of values, nil until there is one; */
  bool stacked;                  /* or of the first of them */
  int things;                    /* index of the array of what the addresses are of; 0: not wanted */
  const void *nodes[MOST_PARTS]; /* of these, or what stands for them */
} sketch;

static bool add_part(sketch *s, uintptr_t part) {
  if (s->count == MOST_PARTS)
    return false;
  s->parts[s->count++] = part;
  return true;
}

/* Enters the value on top, popped. One that stands in two places counts as one, which is not for a sketch to
   see. */
static bool add_value(walk *w, sketch *s, const void *node) {
  for (int i = 0; i < s->values; i++)
    if (s->nodes[i] == node)
      return false;
  if (s->values == MOST_PARTS)
    return false;
  s->nodes[s->values++] = node;
  if (s->stacked) {
    lua_replace(w->L, s->list + s->values - 1);
    return true;
  }
  if (s->values == 1) {
    lua_createtable(w->L, 4, 0);
    lua_replace(w->L, s->list);
  }
  lua_rawseti(w->L, s->list, s->values);
  return true;
}

/* Keeps what is on top, of which there is the address, where that is wanted. */
static void keep_thing(walk *w, const sketch *s) {
  if (!s->things)
    return;
  lua_pushvalue(w->L, -1);
  lua_rawseti(w->L, s->things, (int)orr_rawlen(w->L, s->things) + 1);
}

/* Whether the node on top lasts, as far as is known. What is to be kept has a token. */
static bool lasts(walk *w, const sketch *s) {
  if (!s->things)
    return true;
  lua_pushvalue(w->L, -1);
  lua_rawget(w->L, w->tokens);
  bool known = !lua_isnil(w->L, -1);
  lua_pop(w->L, 1);
  return known;
}

/* Adds the form of a comparison, on top, and its value. A form that has a text lasts. */
static bool sketch_compared(walk *w, sketch *s) {
  int node = lua_gettop(w->L), form = node + 1;
  const void *address = lua_topointer(w->L, node);
  lua_rawgeti(w->L, node, ORR_COMPARED_FORM);
  if (!lua_istable(w->L, form))
    return false;
  keep_thing(w, s);
  lua_rawgeti(w->L, form, ORR_FORM_TEXT);
  if (lua_isnil(w->L, -1) || !add_part(s, (uintptr_t)lua_topointer(w->L, form)))
    return false;
  lua_rawgeti(w->L, node, ORR_COMPARED_RIGHT);
  if (lua_isnil(w->L, -1)) {
    lua_rawgeti(w->L, node, ORR_COMPARED_VALUE);
    return add_value(w, s, address);
  }
  if (!is_value_of(w, form))
    return false;
  address = lua_topointer(w->L, -1);
  push_own(w, lua_gettop(w->L), VALUE);
  return add_value(w, s, address);
}

/* Adds a node, on top; what has columns may get more of them. */
static bool sketch_node(walk *w, sketch *s, bool has_columns) {
  int node = lua_gettop(w->L);
  if (!lua_istable(w->L, node))
    return false;
  const node_kind *kind = kind_by_meta(w, node);
  if (kind)
    return kind->special == BINARY && sketch_compared(w, s);
  if (!add_part(s, (uintptr_t)lua_topointer(w->L, node)) || !lasts(w, s))
    return false;
  keep_thing(w, s);
  if (!has_columns)
    return true;
  push_own(w, node, COLUMNS);
  return add_part(s, lua_istable(w->L, -1) ? orr_rawlen(w->L, -1) : 0);
}

/* Adds the list on top. */
static bool sketch_list(walk *w, sketch *s, bool has_columns) {
  int list = lua_gettop(w->L);
  if (!lua_toboolean(w->L, list))
    return add_part(s, 0);
  if (is_single(w))
    return add_part(s, 1) && sketch_node(w, s, has_columns);
  int count = lua_istable(w->L, list) ? (int)orr_rawlen(w->L, list) : 0;
  bool drawn = add_part(s, (uintptr_t)count);
  for (int i = 1; drawn && i <= count; i++) {
    lua_rawgeti(w->L, list, i);
    drawn = sketch_node(w, s, has_columns);
    lua_settop(w->L, list);
  }
  return drawn;
}

/* Adds whether there is a limit, on top, and its value. */
static bool sketch_count(walk *w, sketch *s) {
  int limit = lua_gettop(w->L);
  if (!lua_toboolean(w->L, limit))
    return add_part(s, 0);
  const void *address = &s->parts[s->count]; /* of a number: no other has it */
  if (lua_type(w->L, limit) != LUA_TNUMBER) {
    if (!is_value(w, w->counts))
      return false;
    address = lua_topointer(w->L, limit);
    push_own(w, limit, VALUE);
  }
  return add_part(s, 1) && add_value(w, s, address);
}

/* Draws the statement; the values come into the array at `list`, or take the places from there on. */
static bool draw_fields(walk *w, sketch *s, const node_kind *kind) {
  int top = lua_gettop(w->L);
  if (s->things) {
    lua_pushvalue(w->L, DIALECT_AT);
    lua_rawseti(w->L, s->things, 1);
  }
  bool drawn = add_part(s, (uintptr_t)lua_topointer(w->L, DIALECT_AT));
  for (int i = 0; drawn && i < kind->placed; i++) {
    lua_rawgeti(w->L, STATEMENT_AT, kind->at[i]);
    drawn = i < kind->lists_placed ? sketch_list(w, s, i == 0) : sketch_count(w, s);
    lua_settop(w->L, top);
  }
  return drawn;
}

/* The kind of the statement, where it can have a sketch. */
static const node_kind *drawable(walk *w) {
  const node_kind *kind = lua_istable(w->L, STATEMENT_AT) ? kind_by_meta(w, STATEMENT_AT) : NULL;
  if (!kind || kind->special != STATEMENT)
    return NULL;
  lua_rawgeti(w->L, STATEMENT_AT, kind->rest);
  bool has_more = lua_toboolean(w->L, -1);
  lua_pop(w->L, 1);
  return has_more ? NULL : kind;
}

/* Makes the sketch of the statement and the array of its values, on top; false where there is none. */
static bool draw(walk *w, sketch *s, int things) {
  const node_kind *kind = drawable(w);
  if (!kind)
    return false;
  luaL_checkstack(w->L, 20, "statement");
  s->count = s->values = 0;
  s->things = things;
  s->stacked = false;
  lua_pushnil(w->L);
  s->list = lua_gettop(w->L);
  bool drawn = draw_fields(w, s, kind);
  if (drawn && !s->values)
    lua_newtable(w->L);
  return drawn;
}

/* Makes the sketch with the values in their places on the stack, which has nothing else behind `s->list`. */
static bool draw_stacked(walk *w, sketch *s) {
  const node_kind *kind = drawable(w);
  if (!kind)
    return false;
  luaL_checkstack(w->L, MOST_PARTS + 20, "statement");
  s->count = s->values = s->things = 0;
  s->stacked = true;
  s->list = lua_gettop(w->L) + 1;
  lua_settop(w->L, s->list + MOST_PARTS - 1);
  return draw_fields(w, s, kind);
}

static key key_of(const sketch *s) {
  key k = {(const char *)s->parts, (size_t)s->count * sizeof *s->parts};
  return k;
}

/* Writes the text of the statement. */
static key find_written(lua_State *L, walk *w) {
  begin_walk(L, w);
  push_own(w, DIALECT_AT, ARRAY_IN);
  w->expands = !lua_toboolean(L, -1);
  push_own(w, DIALECT_AT, NAME);
  emit_top(w);
  lua_pushvalue(L, STATEMENT_AT);
  visit(w);
  key k = {w->text, w->len};
  return k;
}

/* What has been found is on top, and goes with this statement's values. */
static int with_values(const walk *w) {
  lua_pushvalue(w->L, w->values);
  return 2;
}

/* Makes the sketch by which the statement is to be known from now on, and what has to be kept with it, on
   top; false, and nil on top, where it has none. */
static bool draw_lasting(walk *w, sketch *s) {
  lua_newtable(w->L);
  int things = lua_gettop(w->L);
  bool drawn = draw(w, s, things);
  lua_settop(w->L, things);
  if (!drawn) {
    lua_pushnil(w->L);
    lua_replace(w->L, things);
  }
  return drawn;
}

/* find(statement, dialect, known [, wants nodes]) -> what `known` has for such statements, values; or nil,
   values, hash, text, and the nodes, or what has to be kept with that text. */
static int find(lua_State *L) {
  walk w;
  sketch s;
  luaL_checktype(L, DIALECT_AT, LUA_TTABLE);
  luaL_checktype(L, KNOWN_AT, LUA_TTABLE);
  lua_settop(L, NODES_AT);
  init_walk(L, &w);
  bool wants_nodes = lua_toboolean(L, NODES_AT);
  if (!wants_nodes && draw(&w, &s, 0)) {
    w.values = lua_gettop(L);
    if (push_known(&w, key_of(&s)))
      return with_values(&w);
  }
  lua_settop(L, NODES_AT);
  key k = find_written(L, &w);
  if (wants_nodes)
    lua_pushvalue(L, w.nodes);
  else if (push_known(&w, k))
    return with_values(&w);
  else if (draw_lasting(&w, &s))
    k = key_of(&s);
  int kept = lua_gettop(L);
  lua_pushnil(L);
  lua_pushvalue(L, w.values);
  lua_pushnumber(L, hash_of(k));
  lua_pushlstring(L, k.bytes, k.len);
  lua_pushvalue(L, kept);
  return 5;
}

/* ---- at once ---- */

/* run(statement, dialect, known, session, connection, as objects) -> array, what its columns are: runs a
   select of which `known` knows that it can be run so, in a session in which nothing waits to be flushed;
   nothing for others. */
static int run(lua_State *L) {
  enum { SESSION_AT = 4, CONNECTION_AT, AS_OBJECTS };
  walk w;
  sketch s;
  luaL_checktype(L, KNOWN_AT, LUA_TTABLE);
  lua_settop(L, AS_OBJECTS);
  orr_session *session = orr_session_check(L, SESSION_AT);
  init_walk(L, &w);
  if (!orr_session_is_clean(session) || !draw_stacked(&w, &s) || !push_known(&w, key_of(&s)) ||
      push_own(&w, lua_gettop(L), AT_ONCE) != LUA_TTABLE)
    return 0;
  int known = lua_gettop(L);
  bool objects = lua_toboolean(L, AS_OBJECTS);
  lua_rawgeti(L, known, ORR_KNOWN_TREE);
  push_own(&w, known + 1, INERT);
  if (!lua_toboolean(L, -1))
    return 0;
  orr_load_known(L, SESSION_AT, CONNECTION_AT, known, s.list, s.values, !objects);
  lua_rawgeti(L, known, objects ? ORR_KNOWN_NAMES : ORR_KNOWN_ROW_META);
  return 2;
}

/* core.shaper(PARTS, tokens, helpers) -> find, run, as above. `tokens`: texts by column; `helpers`: the
   functions of fingerprint.lua that are called for what a walk meets seldom, `places`, and the type of
   `count`s. */
static int new_shaper(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  orr_shaper *shaper = orr_newuserdata(L, sizeof *shaper);
  memset(shaper, 0, sizeof *shaper);
  lua_newtable(L);
  for (; shaper->names < FIXED_NAMES - 1; shaper->names++) {
    lua_pushstring(L, FIXED[shaper->names]);
    lua_rawseti(L, -2, shaper->names + 1);
  }
  lua_newtable(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 1);
  lua_getfield(L, 3, "count");
  for (int i = SHAPER; i <= COUNT; i++)
    lua_pushvalue(L, 3 + i);
  lua_pushcclosure(L, find, COUNT);
  lua_insert(L, 4);
  lua_pushcclosure(L, run, COUNT);
  return 2;
}

void orr_shape_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"shaper", new_shaper}, {NULL, NULL}};
  orr_setfuncs(L, functions);
}
