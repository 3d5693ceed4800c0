/* shape: what the walk over a statement's nodes (shapelib.c) and the search in what is known of statements
   (sketchlib.c) share. */
#ifndef ORR_SHAPE_H
#define ORR_SHAPE_H

#include "libs.h"

/* ---- kinds of nodes ---- */

typedef enum orr_node_sort {
  ORR_NODE_GENERIC,
  ORR_NODE_STATEMENT, /* an array: the places of its fields stand in its parts */
  ORR_NODE_COLUMN,
  ORR_NODE_ENTITY,
  ORR_NODE_BIND,
  ORR_NODE_LIST,
  ORR_NODE_BINARY,
  ORR_NODE_SHARED,
  ORR_NODE_TABLE,
  ORR_NODE_JOIN
} orr_node_sort;

enum { ORR_MOST_PLACED = 8 };

/* The fields of a kind stand in the shaper's table of names from `first`: atoms, lists, nodes. Nodes are
   visited before lists, but in a select or union after them: as in SQL, so that values mostly come in the
   order of its markers. */
typedef struct orr_node_kind {
  orr_node_sort special;
  int first, atoms, lists, nodes;
  int rest;                          /* the place of the table of what has none, in a statement; */
  int placed, lists_placed;          /* how many fields have a place there, and how many of them are lists, */
  unsigned char at[ORR_MOST_PLACED]; /* which these are: lists, then nodes */
  const void *meta;                  /* the metatable that only nodes of this kind have, if any */
} orr_node_kind;

enum {
  ORR_MOST_KINDS = 96,
  ORR_MOST_NAMES = 320,
  ORR_MOST_OWN = 8
}; /* more than expression.lua, statement.lua and their like define */

typedef struct orr_shaper {
  orr_node_kind kinds[ORR_MOST_KINDS];
  int count, names;
  int own[ORR_MOST_OWN], owns;          /* the kinds that have a metatable of their own */
  unsigned char places[ORR_MOST_NAMES]; /* of the fields that a statement has in its array; 0: in the rest */
} orr_shaper;

/* Upvalues of a function that walks: what core.shaper was given, and what it has made of that. The table of
 * numbers keeps the metatables of kinds, too. */
enum {
  ORR_SHAPE_SHAPER = 1,
  ORR_SHAPE_NAMES,
  ORR_SHAPE_NUMBERS,
  ORR_SHAPE_TOKENS,
  ORR_SHAPE_HELPERS,
  ORR_SHAPE_PARTS,
  ORR_SHAPE_COUNT
};
/* Names that every walk needs stand first in the table of names. */
enum {
  ORR_NAME_VISIT = 1,
  ORR_NAME_TYPE,
  ORR_NAME_KEY,
  ORR_NAME_VALUE,
  ORR_NAME_BIND_KEY,
  ORR_NAME_OPERATOR,
  ORR_NAME_TOKEN,
  ORR_NAME_NAME,
  ORR_NAME_ESCAPE,
  ORR_NAME_LEFT,
  ORR_NAME_RIGHT,
  ORR_NAME_TABLE_OF,
  ORR_NAME_COLUMNS,
  ORR_NAME_FROM,
  ORR_NAME_ARRAY_IN,
  ORR_NAME_TEXT,
  ORR_NAME_AT_ONCE,
  ORR_NAME_INERT,
  ORR_FIXED_NAMES
};
/* ---- a walk ---- */

enum { ORR_WALK_ROOM = 1024, ORR_WALK_FEW = 16 };

/* One walk. The statement is the first argument of the function that walks, its dialect the second; what the
   walk leaves on the stack begins at ORR_WALK_FREE. */
enum { ORR_WALK_STATEMENT = 1, ORR_WALK_DIALECT, ORR_WALK_FREE = 5 };

typedef struct orr_walk {
  lua_State *L;
  orr_shaper *shaper;
  char *text; /* `first`, or a userdata at `box` once that is full */
  size_t len, room;
  int names, numbers, tokens, helpers, parts, counts; /* indexes of upvalues, */
  int box, values, nodes,
      seen; /* and of the stack; `nodes` 0: not wanted; `seen` nil until something is shared */
  int shared, count, depth;
  bool expands;                  /* whether lists are written as single markers always */
  const void *few[ORR_WALK_FEW]; /* the first bound values met; */
  int places;                    /* all of them by address, once there are more */
  char first[ORR_WALK_ROOM];
} orr_walk;

/* Pushes a field of the table at `index`, which may have it from its metatable. */
static inline int orr_walk_field(orr_walk *w, int index, int name) {
  lua_rawgeti(w->L, w->names, name);
  lua_gettable(w->L, index);
  return lua_type(w->L, -1);
}

/* The same for a field that the table has itself. */
static inline int orr_walk_own(orr_walk *w, int index, int name) {
  lua_rawgeti(w->L, w->names, name);
  lua_rawget(w->L, index);
  return lua_type(w->L, -1);
}

/* Learns the walk's upvalues, those of the function that walks. */
void orr_walk_init(lua_State *L, orr_walk *w);
/* The kind of the node at `node` by its metatable, where no other kind has that. */
const orr_node_kind *orr_walk_kind(orr_walk *w, int node);
/* Whether what is on top is the node of a value, without a name, of the type at `type`, and of no other. */
bool orr_walk_is_value(orr_walk *w, int type);
/* The same of the type that the form at `form` says. */
bool orr_walk_is_value_of(orr_walk *w, int form);
/* Whether what stands on top, in the place of a list, is its only node. */
bool orr_walk_is_single(orr_walk *w);
/* Writes the text of the statement; its values are at w->values then, their nodes at w->nodes where they are
 * wanted. */
void orr_walk_write(orr_walk *w, bool wants_nodes);

/* Pushes the upvalues of functions that walk: of the arguments of core.shaper. */
void orr_shape_push_upvalues(lua_State *L);

#endif
