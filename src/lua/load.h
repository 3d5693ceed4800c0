/* load: what the files of a load share: planlib.c (what the rows of a statement become), loadlib.c (the loop
   over them), relatedlib.c (objects that go into relations of others) and targetlib.c (what many-to-one lead
   to). */
#ifndef ORR_LOAD_H
#define ORR_LOAD_H

#include "connlib.h"
#include "mapped.h"

/* ---- plans ---- */

/* One class that the rows of an item may belong to. */
typedef struct orr_variant {
  orr_class *class;
  int *map;           /* as of the item; -1 for columns of other classes */
  orr_value identity; /* what the discriminator column holds; text is anchored by the plan */
} orr_variant;

/* What one position of a result row becomes. */
typedef struct orr_item {
  orr_class *class; /* an object of this class, or NULL: the value of one column */
  int first;        /* result column, from 0 */
  int count;        /* columns of the object */
  int lead;         /* how many of them come up to the end of the key: read first, and mostly enough */
  int *map;         /* attribute column (from 0) of each of them */
  int *keys;        /* result column of each part of the primary key */
  int key_count;
  int *left; /* attribute columns that the query leaves out, */
  int left_count;
  int *refused; /* and those among them that must not be loaded later */
  int refused_count;
  int discriminator;  /* result column that tells the class of a row; -1: all rows are of the item's class */
  orr_variant *kinds; /* the item's class and those that inherit from it */
  int kind_count;
  int last_kind; /* of the row before */
  bool concrete; /* each kind has rows, and keys, of its own */
  orr_type type; /* of a single value */
  bool converts; /* a single value that a Lua result function finishes (see loading.lua) */
} orr_item;

typedef struct orr_plan {
  orr_alloc alloc;
  orr_item *items;
  orr_variant *kinds; /* of all items */
  int *numbers;       /* every map and keys array */
  size_t item_count, number_count, kind_count;
  int *order;  /* which of the statement's columns each of the plan's is; NULL: they are the same */
  int source;  /* how many columns the statement must have then */
  int columns; /* of the statement */
} orr_plan;

extern const orr_box_kind orr_plan_kind;

/* ---- rows that bring related objects along, and collections of many parents ---- */

/* What the lists of a relation had in a load. */
typedef struct orr_tally {
  orr_relationship *relation;
  uint64_t items;
  uint32_t lists;
} orr_tally;

/* One item of the plan whose objects belong to a relation of another item's objects. */
typedef struct orr_join_link {
  int parent;   /* item, from 0 */
  int relation; /* of the parent's class */
  bool list;
  const orr_instance *last; /* parent of the row before: its collection is at hand still */
  orr_tally tally;          /* of the lists that rows have turned away from */
} orr_join_link;

typedef struct orr_joins {
  orr_join_link *links; /* of the items behind the visible ones */
  int count;
  int fills;  /* index of the first table: parent to collection, true, or false for "leave alone" */
  int held;   /* index of the first collection at hand */
  int tables; /* of the first place for its table */
  int lists;
  bool once; /* lists multiply the rows of one class: the caller gets its objects once each */
  bool met;  /* the row's first object has come for the first time */
} orr_joins;

/* Collections that wait to be filled, by the key that their rows are found by; one alone may do without. Its
   user value holds them by slot. Their owners get them when all rows have come. */
typedef struct orr_gather {
  orr_identity slots;
  bool open;
  int key_count;
} orr_gather;

/* The collections that a statement fills. */
typedef struct orr_filling {
  const orr_gather *gather;
  int collections; /* index of the gather's user value */
  int keys[ORR_MAX_KEY];
  orr_collection *list; /* of the row before: at hand still, */
  uint32_t slot;        /* which one it is, 0: none, */
  int64_t number;       /* its key, */
  bool numbered;        /* where that is one integer, */
  int held, table;      /* where it stands on the stack, and the place for its table */
} orr_filling;

/* ---- one load ---- */

/* What core.load is given, by place on the stack. */
enum {
  ORR_LOAD_SESSION = 1,
  ORR_LOAD_STATEMENT,
  ORR_LOAD_PLAN,
  ORR_LOAD_OUT,
  ORR_LOAD_ROW_META,
  ORR_LOAD_POPULATED,
  ORR_LOAD_MOST,
  ORR_LOAD_COHORTS,
  ORR_LOAD_LINKS,
  ORR_LOAD_GATHER,
  ORR_LOAD_KEYS,
  ORR_LOAD_HOLDERS,
  ORR_LOAD_KILOBYTES,
  ORR_LOAD_ARGUMENTS = ORR_LOAD_KILOBYTES,
  ORR_LOAD_HEAP /* what orr_load_run adds */
};

enum { ORR_FEW_COLUMNS = 16 };

typedef struct orr_load {
  orr_session *session;
  orr_statement *statement;
  const orr_plan *plan;
  orr_value *row;
  const orr_item *whole;      /* the item whose columns were all read last, of this row */
  orr_cohort_number *cohorts; /* of each item's objects, or NULL */
  bool *holders; /* of each item: whether its objects are to hold related ones; NULL: of none it is known */
  bool holder;   /* of the item at hand */
  int objects;   /* index of the weak table of objects */
  int metas;     /* index of the first item's instance metatable */
  int kinds;     /* the same of the plan's first kind */
  bool populate; /* overwrite what objects hold already, each once: ORR_LOAD_POPULATED is the set of those
                    that were */
  char *key;     /* room for the bytes of a key */
  size_t key_room;
  int key_box;
  bool wanted;               /* the caller gets what the rows become: it has given ORR_LOAD_OUT */
  bool as_rows;              /* that is rows, with the metatable ORR_LOAD_ROW_META */
  int items;                 /* index of the row's first item, */
  const orr_instance *first; /* and that, where it is an object */
  int visible;               /* items that the caller gets; those behind them belong to relations of others */
  lua_Integer rows, count;
  struct orr_heap *heap;
  const orr_item *repeating; /* the first item, where rows repeat it, */
  orr_instance *repeated;    /* its object in the row before, where it has the key of one integer, */
  int64_t repeated_number;
  int repeated_at;         /* and where that stands on the stack */
  struct orr_joins *joins; /* NULL where no item belongs to another's relation */
  struct orr_filling *filling;
  orr_value few[ORR_FEW_COLUMNS]; /* the row, where it is no longer */
} orr_load;

/* Runs the load whose arguments are on top, all of them: count and done take their place. The statement,
   which somebody anchors, is held meanwhile, and reset when it is done, or fails. */
void orr_load_run(lua_State *L, orr_statement *statement);
/* Reads columns of the plan from the statement's row into that of the load. */
void orr_load_read(lua_State *L, orr_load *to, int first, int count);
/* Pushes a table for each link, then a place for what is held, and reads the links, whose parents are
   holders; `joins->count` is set. */
void orr_joins_read(lua_State *L, orr_load *to, orr_joins *joins);
/* Takes the row's objects behind the visible ones into the relations that they belong to. */
void orr_joins_take(lua_State *L, const orr_load *to);
/* All rows have come: the parents get their collections. */
void orr_joins_end(lua_State *L, const orr_load *to);
void orr_filling_read(lua_State *L, const orr_load *to, orr_filling *filling);
/* Puts the row's first object into the collection that its key names. */
void orr_filling_take(lua_State *L, orr_load *to);
void orr_filling_end(lua_State *L, const orr_load *to);

/* What is known of a select that can be run at once, by place: what core.order and core.plan have made of it,
   whether that still holds, the names of its columns, and the metatable of its rows. */
enum { ORR_KNOWN_ORDER = 1, ORR_KNOWN_PLAN, ORR_KNOWN_TREE, ORR_KNOWN_NAMES, ORR_KNOWN_ROW_META };
/* Runs what the array at `known` says, with `count` values on the stack from `first` on, and pushes the array
   of what comes. */
void orr_load_known(lua_State *L, int session, int connection, int known, int first, int count, bool rows);

/* Reads the attribute numbers of the array at `index` as columns; -1 where one is none. */
int orr_read_columns(lua_State *L, int index, int *columns);
/* Appends the parts of a key to the array at `keys`, which has `used` of them; how many it has then. */
int orr_add_key(lua_State *L, int keys, int used, const orr_value *values, int count);

void orr_plan_open(lua_State *L);
void orr_related_open(lua_State *L);
void orr_target_open(lua_State *L);

#endif
