/* sketchlib: the search in what is known of statements, by the text that shapelib.c writes of one, or by a
   sketch, which most have; and the run of a select of which all is known. */
#include <string.h>

#include "load.h"
#include "nodes.h"
#include "shape.h"

/* Places of further arguments behind the statement and its dialect. */
enum { KNOWN_AT = ORR_WALK_DIALECT + 1, NODES_AT };

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
static bool push_known(orr_walk *w, key k) {
  size_t len;
  lua_pushnumber(w->L, hash_of(k));
  lua_rawget(w->L, KNOWN_AT);
  if (!lua_istable(w->L, -1))
    return false;
  orr_walk_own(w, lua_gettop(w->L), ORR_NAME_TEXT);
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
static bool add_value(orr_walk *w, sketch *s, const void *node) {
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
static void keep_thing(orr_walk *w, const sketch *s) {
  if (!s->things)
    return;
  lua_pushvalue(w->L, -1);
  lua_rawseti(w->L, s->things, (int)orr_rawlen(w->L, s->things) + 1);
}

/* Whether the node on top lasts, as far as is known. What is to be kept has a token. */
static bool lasts(orr_walk *w, const sketch *s) {
  if (!s->things)
    return true;
  lua_pushvalue(w->L, -1);
  lua_rawget(w->L, w->tokens);
  bool known = !lua_isnil(w->L, -1);
  lua_pop(w->L, 1);
  return known;
}

/* Adds the form of a comparison, on top, and its value. A form that has a text lasts. */
static bool sketch_compared(orr_walk *w, sketch *s) {
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
  if (!orr_walk_is_value_of(w, form))
    return false;
  address = lua_topointer(w->L, -1);
  orr_walk_own(w, lua_gettop(w->L), ORR_NAME_VALUE);
  return add_value(w, s, address);
}

/* Adds a node, on top; what has columns may get more of them. */
static bool sketch_node(orr_walk *w, sketch *s, bool has_columns) {
  int node = lua_gettop(w->L);
  if (!lua_istable(w->L, node))
    return false;
  const orr_node_kind *kind = orr_walk_kind(w, node);
  if (kind)
    return kind->special == ORR_NODE_BINARY && sketch_compared(w, s);
  if (!add_part(s, (uintptr_t)lua_topointer(w->L, node)) || !lasts(w, s))
    return false;
  keep_thing(w, s);
  if (!has_columns)
    return true;
  orr_walk_own(w, node, ORR_NAME_COLUMNS);
  return add_part(s, lua_istable(w->L, -1) ? orr_rawlen(w->L, -1) : 0);
}

/* Adds the list on top. */
static bool sketch_list(orr_walk *w, sketch *s, bool has_columns) {
  int list = lua_gettop(w->L);
  if (!lua_toboolean(w->L, list))
    return add_part(s, 0);
  if (orr_walk_is_single(w))
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
static bool sketch_count(orr_walk *w, sketch *s) {
  int limit = lua_gettop(w->L);
  if (!lua_toboolean(w->L, limit))
    return add_part(s, 0);
  const void *address = &s->parts[s->count]; /* of a number: no other has it */
  if (lua_type(w->L, limit) != LUA_TNUMBER) {
    if (!orr_walk_is_value(w, w->counts))
      return false;
    address = lua_topointer(w->L, limit);
    orr_walk_own(w, limit, ORR_NAME_VALUE);
  }
  return add_part(s, 1) && add_value(w, s, address);
}

/* Draws the statement; the values come into the array at `list`, or take the places from there on. */
static bool draw_fields(orr_walk *w, sketch *s, const orr_node_kind *kind) {
  int top = lua_gettop(w->L);
  if (s->things) {
    lua_pushvalue(w->L, ORR_WALK_DIALECT);
    lua_rawseti(w->L, s->things, 1);
  }
  bool drawn = add_part(s, (uintptr_t)lua_topointer(w->L, ORR_WALK_DIALECT));
  for (int i = 0; drawn && i < kind->placed; i++) {
    lua_rawgeti(w->L, ORR_WALK_STATEMENT, kind->at[i]);
    drawn = i < kind->lists_placed ? sketch_list(w, s, i == 0) : sketch_count(w, s);
    lua_settop(w->L, top);
  }
  return drawn;
}

/* The kind of the statement, where it can have a sketch. */
static const orr_node_kind *drawable(orr_walk *w) {
  const orr_node_kind *kind =
      lua_istable(w->L, ORR_WALK_STATEMENT) ? orr_walk_kind(w, ORR_WALK_STATEMENT) : NULL;
  if (!kind || kind->special != ORR_NODE_STATEMENT)
    return NULL;
  lua_rawgeti(w->L, ORR_WALK_STATEMENT, kind->rest);
  bool has_more = lua_toboolean(w->L, -1);
  lua_pop(w->L, 1);
  return has_more ? NULL : kind;
}

/* Makes the sketch of the statement and the array of its values, on top; false where there is none. */
static bool draw(orr_walk *w, sketch *s, int things) {
  const orr_node_kind *kind = drawable(w);
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
static bool draw_stacked(orr_walk *w, sketch *s) {
  const orr_node_kind *kind = drawable(w);
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

/* What has been found is on top, and goes with this statement's values. */
static int with_values(const orr_walk *w) {
  lua_pushvalue(w->L, w->values);
  return 2;
}

/* Makes the sketch by which the statement is to be known from now on, and what has to be kept with it, on
   top; false, and nil on top, where it has none. */
static bool draw_lasting(orr_walk *w, sketch *s) {
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
  orr_walk w;
  sketch s;
  luaL_checktype(L, ORR_WALK_DIALECT, LUA_TTABLE);
  luaL_checktype(L, KNOWN_AT, LUA_TTABLE);
  lua_settop(L, NODES_AT);
  orr_walk_init(L, &w);
  bool wants_nodes = lua_toboolean(L, NODES_AT);
  if (!wants_nodes && draw(&w, &s, 0)) {
    w.values = lua_gettop(L);
    if (push_known(&w, key_of(&s)))
      return with_values(&w);
  }
  orr_walk_write(&w, wants_nodes);
  key k = {w.text, w.len};
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
  enum { SESSION_AT = KNOWN_AT + 1, CONNECTION_AT, AS_OBJECTS };
  orr_walk w;
  sketch s;
  luaL_checktype(L, KNOWN_AT, LUA_TTABLE);
  lua_settop(L, AS_OBJECTS);
  orr_session *session = orr_session_check(L, SESSION_AT);
  orr_walk_init(L, &w);
  if (!orr_session_is_clean(session) || !draw_stacked(&w, &s) || !push_known(&w, key_of(&s)) ||
      orr_walk_own(&w, lua_gettop(L), ORR_NAME_AT_ONCE) != LUA_TTABLE)
    return 0;
  int known = lua_gettop(L);
  bool objects = lua_toboolean(L, AS_OBJECTS);
  lua_rawgeti(L, known, ORR_KNOWN_TREE);
  orr_walk_own(&w, known + 1, ORR_NAME_INERT);
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
  orr_shape_push_upvalues(L);
  for (int i = ORR_SHAPE_SHAPER; i <= ORR_SHAPE_COUNT; i++)
    lua_pushvalue(L, 3 + i);
  lua_pushcclosure(L, find, ORR_SHAPE_COUNT);
  lua_insert(L, 4);
  lua_pushcclosure(L, run, ORR_SHAPE_COUNT);
  return 2;
}

void orr_sketch_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"shaper", new_shaper}, {NULL, NULL}};
  orr_setfuncs(L, functions);
}
