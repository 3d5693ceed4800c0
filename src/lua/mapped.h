/* mapped: what the files about mapped objects share: classes, packed instances, collections, sessions.

   An instance is one userdata without __gc: header, one 8-byte cell per column, one tag byte per column, then
   the row's text. What does not fit there stands in its user value, a table made when first needed:
   - [i]: column i (from 1): its text where the tag says ORR_OUTSIDE, or the value a type made of it
   - [columns + i]: what a type's result function made of column i
   - [2*columns + r]: relationship r (from 1): an object, a collection, or false for "loaded, nothing there";
     where the instance is ORR_SLOTTED, the first ones stand in user values of their own
   - [-i], [-(2*columns + r)]: the value before the first change since the last flush, where it is not in the
     session's history (see orr_instance_keep_old)
   - [-(2*columns + relations + r)]: what stood there before the first change in a flush that runs (see
     orr_instance_keep_late)
   - ["name"]: names that begin with '_', the script's own

   An instance knows its session by number only: sessions and objects never keep each other alive by it. */
#ifndef ORR_MAPPED_H
#define ORR_MAPPED_H

#include "../core/cohort.h"
#include "../core/history.h"
#include "../core/identity.h"
#include "../core/relation.h"
#include "box.h"
#include "typelib.h"

typedef struct orr_class orr_class;
typedef struct orr_session orr_session;

/* ---- one per lua_State ---- */

typedef struct orr_world {
  orr_alloc alloc;
  orr_session **sessions; /* open sessions by number & (session_room - 1) */
  uint32_t session_room, session_count, last_session;
  int users; /* registry reference: weak table of sessions' user values by number */
  uint32_t last_class;
  uint32_t *ranks; /* of every table that a flush may write, by group number: see unit.h */
  bool *cyclic;
  size_t rank_room, cyclic_room;
  uint32_t group_count;
  bool posts_updates;   /* some relation has post_update */
  bool hears_links;     /* somebody listens, or has listened, to a relationship */
  bool hears_attaching; /* somebody listens, or has listened, to a session */
} orr_world;

orr_world *orr_world_get(lua_State *L);
/* Pushes a function that Lua registered by name with core.hook(name, fn). */
void orr_push_hook(lua_State *L, const char *name);

/* ---- classes ---- */

enum {
  ORR_COLUMN_KEY = 1,            /* part of the primary key */
  ORR_COLUMN_AUTOKEY = 2,        /* the database makes it when it is not given */
  ORR_COLUMN_DEFAULT = 4,        /* has a default on the Lua side */
  ORR_COLUMN_SERVER_DEFAULT = 8, /* the database has a default or computes it */
  ORR_COLUMN_BIND = 16,          /* its type has a bind function */
  ORR_COLUMN_RESULT = 32,        /* its type has a result function */
  ORR_COLUMN_MUTABLE = 64,       /* what it reads as can change in place (JSON) */
  ORR_COLUMN_ONUPDATE = 128,
  ORR_COLUMN_EVENTS = 256,     /* somebody listens to changes: see orr_attribute_event() */
  ORR_COLUMN_COMPUTED = 512,   /* the database computes it anew with every update */
  ORR_COLUMN_READ_ONLY = 1024, /* an SQL expression: loaded, never written */
  ORR_COLUMN_DEFERRED = 2048,  /* left out of queries that do not ask for it */
  ORR_COLUMN_ABOVE = 4096      /* stands in the table of a class above: see orr_class */
};

typedef struct orr_attribute {
  orr_type type;
  unsigned flags;
} orr_attribute;

enum {
  ORR_RELATION_LIST = 1,        /* its value is a collection */
  ORR_RELATION_SAVE_UPDATE = 2, /* cascades into the session */
  ORR_RELATION_VIEWONLY = 4,
  ORR_RELATION_LOAD_OLD = 8,       /* the replaced value must be known: load it before a change */
  ORR_RELATION_SYNC_KEYS = 16,     /* a changed key is written to the children's foreign keys here, not by the
                                      database */
  ORR_RELATION_EVENTS = 32,        /* somebody listens to changes: see orr_attribute_event() */
  ORR_RELATION_ORPHANS = 64,       /* delete-orphan: what it lets go of is deleted, or not saved */
  ORR_RELATION_CRITERIA = 128,     /* which objects belong to it is not decided by its pairs alone */
  ORR_RELATION_ASKS = 256,         /* its loading strategy may refuse what the identity map has */
  ORR_RELATION_KEYED = 512,        /* its collection holds one object under each key */
  ORR_RELATION_SET = 1024,         /* its collection holds each object once */
  ORR_RELATION_SOLE = 2048,        /* what it holds may have no second parent */
  ORR_RELATION_LEAVES = 4096,      /* what a deleted object held is the database's matter altogether */
  ORR_RELATION_POST_UPDATE = 8192, /* its foreign key may be written after all rows are there */
  ORR_RELATION_DEFAULTS = 16384,   /* its link rows have further columns that get a value here */
  ORR_RELATION_WRITE_ONLY =
      32768, /* its collection holds what is added until it is written, and is never loaded */
  ORR_RELATION_WIPES = 65536, /* no two rows of its link table are alike, and it has all of an object's: they
                                 go at once with a deleted object */
  ORR_RELATION_DELETES = 131072, /* deleting cascades along it */
  ORR_RELATION_PASSIVE =
      262144 /* what a deleted object held is the database's matter where it is not loaded */
};

enum { ORR_MAX_KEY = 32 }; /* columns of a primary key; the mapper refuses more */

/* A pair of columns by position in the two classes (from 0). Many-to-many: `far` is the position within the
 * link row. */
typedef struct orr_pair {
  int near, far;
} orr_pair;

typedef struct orr_relationship {
  orr_class *target; /* anchored by the class's "targets" */
  int reverse;       /* relation of the target that back-populates this one, -1 where there is none */
  orr_direction direction;
  unsigned flags;
  int id;          /* of the pair: the same for both sides of one back_populates */
  bool second;     /* the other side of the pair comes first in link rows */
  orr_pair *pairs; /* this class's columns to the target's; many-to-many: to the link row's columns */
  int pair_count;
  int target_count; /* many-to-many: as many more pairs behind them, the target's columns to the link row's */
  uint32_t group;   /* many-to-many: of the link table, see orr_world */
  uint32_t near_group, far_group; /* of the tables that the two columns of each pair stand in */
  uint32_t usual; /* how many items a list had in the last load of some, so that the next one makes room */
} orr_relationship;

/* Columns whose values no two rows of the class's own table share. */
typedef struct orr_unique {
  const int *columns;
  int count;
  uint32_t id; /* of table and set */
  bool key;    /* the primary key */
  int aside;   /* the column whose value may be set aside, -1: none */
  orr_tag placeholder;
  bool defers; /* the placeholder may break foreign keys */
} orr_unique;

typedef struct orr_name {
  const char *text; /* address of the interned name; anchored by the class's user value */
  int attribute;    /* column i: i; relation r: column_count + r (both from 0) */
} orr_name;

/* A class that inherits begins with the columns and the relations of its parent, so that their numbers mean
   the same for the objects of both. An object has one row in the class's own table, and, where its hierarchy
   spreads over several (joined inheritance), one in the table of each class above, found by the same key. */
struct orr_class {
  orr_world *world; /* NULL until configured */
  orr_alloc alloc;
  const void *meta;  /* address of the metatable of its own instances, which its user value anchors */
  uint32_t id;       /* of the identity keys: a subclass shares its base's */
  orr_class *parent; /* anchored by the class's "targets" */
  orr_class *above;  /* the class whose own table holds the row before this one's; NULL: there is one row */
  int level;         /* how many classes are above */
  bool rows_cascade; /* the database deletes this row with the one above */
  int discriminator; /* the column that says which class a row belongs to, -1 where there is none */
  int column_count, relation_count, key_count;
  orr_attribute *columns;
  orr_relationship *relations;
  orr_pair *pairs;
  size_t pair_count;
  int *keys;           /* columns of the primary key */
  orr_name *names;     /* hash by address */
  uint32_t name_room;  /* a power of two */
  bool simple_key;     /* one column of an integer kind, stored as the script has it */
  orr_unique *uniques; /* the primary key, where the class has its own table, comes first */
  int unique_count;    /* -1: not asked yet, see handoverlib.c */
  int *unique_columns; /* of all of them */
  size_t unique_room;
  unsigned hears; /* ORR_HEARS_LOAD, ORR_HEARS_REFRESH: what becomes of its objects is noted for listeners */
  bool referred_to;  /* foreign keys refer to its table */
  int version;       /* the column that counts changes of a row, -1 where there is none */
  bool version_hook; /* the script makes the versions */
  bool has_defaults; /* a new object is given values at the flush: a version, or columns' defaults */
  uint32_t group;    /* of its table, see orr_world */
};

enum { ORR_HEARS_LOAD = 1, ORR_HEARS_REFRESH = 2 };

/* User value of a class: */
#define ORR_CLASS_META 1     /* metatable of its instances */
#define ORR_CLASS_NAMES 2    /* [name] = attribute number from 1, [number] = name */
#define ORR_CLASS_TYPES 3    /* [column] = Lua type object */
#define ORR_CLASS_DEFAULTS 4 /* [column] = constant or function */
#define ORR_CLASS_TARGETS 5
#define ORR_CLASS_MEMBERS 6 /* methods and other members by name */
#define ORR_CLASS_NAME 7
#define ORR_CLASS_INIT 8     /* the script's __init__, if any */
#define ORR_CLASS_IDENTITY 9 /* what its rows have in the discriminator column */

/* The class at `index`, or NULL. */
orr_class *orr_class_test(lua_State *L, int index);
/* The configured class at `index` (configures it when needed); raises otherwise. */
orr_class *orr_class_check(lua_State *L, int index);
/* Pushes a field of the user value of the class at `index`. */
void orr_class_field(lua_State *L, int index, int field);
/* Attribute number (from 0) of the name at `index`, or -1. `uv` is the index of the class's names table or 0.
 */
int orr_class_attribute(const orr_class *class, lua_State *L, int index);
/* Whether `class` is `other` or inherits from it. */
static inline bool orr_class_is(const orr_class *class, const orr_class *other) {
  while (class && class != other)
    class = class->parent;
  return class != NULL;
}
/* The column that counts changes where the class's own table has it, else -1. */
static inline int orr_class_row_version(const orr_class *class) {
  return class->version >= 0 && !(class->columns[class->version].flags & ORR_COLUMN_ABOVE) ? class->version
                                                                                           : -1;
}
/* Pushes the class name. */
void orr_class_pushname(lua_State *L, const orr_class *class);
/* Pushes the class userdata itself. */
void orr_class_push(lua_State *L, const orr_class *class);

/* ---- instances ---- */

enum { ORR_SLOTTED_RELATIONS = ORR_SLOTS ? 4 : 0 };

enum {
  ORR_TAG = 7,
  ORR_OUTSIDE = 8,
  ORR_UNLOADED = 16,
  ORR_CHANGED = 32,
  ORR_CACHED = 64,
  ORR_DEFERRED = 128,      /* with ORR_UNLOADED: its query left it out; it is loaded by itself */
  ORR_REFUSED = ORR_CACHED /* with ORR_DEFERRED: its query forbade to load it later */
};

typedef enum orr_left { ORR_LEFT_NEVER, ORR_LEFT_EXPUNGED, ORR_LEFT_CLOSED, ORR_LEFT_DELETED } orr_left;

typedef enum orr_state { ORR_TRANSIENT, ORR_PENDING, ORR_PERSISTENT, ORR_DELETED, ORR_DETACHED } orr_state;

enum {
  ORR_HAS_USER = 1, /* has a user value */
  ORR_DIRTY = 2,    /* changed since the last flush */
  ORR_WATCHED = 4,  /* in its session's list of objects with mutable values read */
  ORR_DELETING = 8, /* in its session's deleted list, not flushed yet */
  ORR_HAS_OLD = 16, /* some column or relation has an old value */
  ORR_MOVED = 64,   /* some relation holds, or may hold, something else than it did at the last flush */
  ORR_LISTED = 32,  /* in its session's list of changed objects, even when its changes were dropped since */
  ORR_SLOTTED =
      128, /* what its first relations hold stands in user values of their own: ORR_SLOTTED_RELATIONS */
  ORR_LINKED = 256, /* something was put there */
  ORR_LATE = 512,   /* a relation was changed while a flush writes the object */
  ORR_GOING = 1024  /* a flush that runs deletes its row */
};

typedef union orr_cell {
  int64_t i;
  double r;
  struct {
    uint32_t at, len;
  } text; /* of the instance's own text */
} orr_cell;

typedef struct orr_instance {
  orr_class *class;
  orr_cohort_number cohort; /* of its session: the result that it came with, 0: nothing is remembered of it */
  uint32_t session;         /* number, 0: none */
  uint32_t slot;            /* persistent: identity slot; pending: place in the list of new objects */
  uint32_t epoch;           /* of the session when it was loaded: less than the session's own means expired */
  uint32_t action;          /* its number within a running flush + 1, else 0 */
  uint16_t flags;
  uint8_t state; /* as it was last set: orr_instance_state() tells what it is now */
  uint8_t left;  /* how it left its session last, an orr_left */
  uint32_t old;  /* its first entry in the session's history, 0: none */
} orr_instance;

static inline orr_cell *orr_cells(orr_instance *object) { return (orr_cell *)(object + 1); }
static inline unsigned char *orr_tags(orr_instance *object) {
  return (unsigned char *)(orr_cells(object) + object->class->column_count);
}
static inline char *orr_text(orr_instance *object) {
  return (char *)(orr_tags(object) + object->class->column_count);
}

/* The instance at `index`, or NULL where it is none. Never raises, cannot be fooled by metatables. */
orr_instance *orr_instance_test(lua_State *L, int index);
orr_instance *orr_instance_check(lua_State *L, int index);
/* The open session of an object, or NULL. */
orr_session *orr_instance_session(const orr_instance *object);
orr_state orr_instance_state(const orr_instance *object);
const char *orr_state_name(orr_state state);
/* Pushes a new instance with every column unloaded and room for `text_size` bytes; `meta` is the absolute
   index of the instances' metatable. Raises only for memory. */
orr_instance *orr_instance_new(lua_State *L, orr_class *class, size_t text_size, int meta);
/* The same, for an object whose relations are likely to be used. */
orr_instance *orr_instance_new_slotted(lua_State *L, orr_class *class, size_t text_size, int meta);
/* Pushes the user value of the object at `index`, making one first. */
void orr_instance_user(lua_State *L, orr_instance *object, int index);
/* Pushes what a relation of the object at `index` holds: an object, a collection, false for "nothing there",
   nil for "not loaded". */
void orr_instance_held(lua_State *L, const orr_instance *object, int index, int relation);
/* Stores the value on top (popped) there. */
void orr_instance_hold(lua_State *L, orr_instance *object, int index, int relation);
/* Whether its relations may hold anything. */
static inline bool orr_instance_is_linked(const orr_instance *object) {
  return object->flags & (ORR_HAS_USER | ORR_LINKED);
}
/* Pushes user value field `key` of the object at `index`, or nil. */
void orr_instance_getuser(lua_State *L, const orr_instance *object, int index, int key);
/* The same, storing the value on top (popped). */
void orr_instance_setuser(lua_State *L, orr_instance *object, int index, int key);
/* The stored value of a column. Text borrows from the object or from the string that the user value anchors.
 */
void orr_instance_value(lua_State *L, orr_instance *object, int index, int column, orr_value *out);
/* The same for a key that may have been changed before the object expired: then it is that of the row. May raise for
   memory. */
void orr_instance_stored(lua_State *L, orr_instance *object, int index, int column, orr_value *out);
/* Packs a row into a new object that has room for its text: map[i] is the column that value i is of, or -1.
 */
void orr_instance_pack(orr_instance *object, const int *map, const orr_value *values, int count);
/* Stores a value without any event, keeping text as a Lua string in the user value; marks nothing. */
void orr_instance_put(lua_State *L, orr_instance *object, int index, int column, const orr_value *value);
/* Makes an expired object's attributes unloaded, once; after that single attributes may be assigned or
 * loaded. */
void orr_instance_freshen(lua_State *L, orr_instance *object, int index, orr_session *session);
/* Makes all its columns and relations unloaded and forgets what was changed. */
void orr_instance_forget(lua_State *L, orr_instance *object, int index, uint32_t epoch);
/* Assigns column `column` the value at `value` as a script's assignment does. */
void orr_instance_assign(lua_State *L, orr_instance *object, int index, int column, int value);
/* A relation of it holds, or may hold, something else than at the last flush. */
void orr_instance_move(orr_instance *object);
/* Remembers the present value of a column as the old one, once, and marks the object as changed. Old values
   stand in the session's history, or, where they hold on to a Lua string or must outlive the session (keys),
   in the user value. */
void orr_instance_keep_old(lua_State *L, orr_instance *object, int index, int column);
/* The value that a changed column of the object at `index` had; false where it is not known. Text borrows as
   in orr_instance_value. */
bool orr_instance_old(lua_State *L, orr_instance *object, int index, int column, orr_value *out);
/* Forgets the old value of one column. */
void orr_instance_drop_old(lua_State *L, orr_instance *object, int index, int column);
/* An object that leaves its session takes its old values along. */
void orr_instance_take_olds(lua_State *L, orr_instance *object, int index);
/* Forgets old values and change marks: what the object holds is what the database holds. */
void orr_instance_settle(lua_State *L, orr_instance *object, int index);
/* The same when a flush has written the object: relations that were changed meanwhile stay changed, for the
   next one. */
void orr_instance_written(lua_State *L, orr_instance *object, int index);
/* Whether a change of a relation comes while a flush is writing the object. What it holds before the first
   such change is what is written: from then on it counts as the former value. */
static inline bool orr_instance_is_late(const orr_instance *object) {
  return object->action && !(object->flags & ORR_GOING);
}
/* Whether that was noted of relation r. */
bool orr_instance_kept_late(lua_State *L, const orr_instance *object, int index, int relation);
/* Notes it, with the former value until now, which is on top (popped), or true where there was none. */
void orr_instance_keep_late(lua_State *L, orr_instance *object, int index, int relation);
/* The flush has failed: puts the former values back. */
void orr_instance_undo_late(lua_State *L, orr_instance *object, int index);
/* The key of an object from its columns (old values first when `stored`), as `count` values; false where a
   part is missing. The values borrow from the object. */
bool orr_instance_key(lua_State *L, orr_instance *object, int index, bool stored, orr_value *out);
/* Lets validators and listeners see a change, before it is made, of the attribute (columns, then relations)
   of the object at `index`: they may replace the value at `value`. `event`: "set", "append", "remove" or
   "bulk_replace"; `mirrored` where the other side of a pair was changed, and decides the value. */
void orr_attribute_event(lua_State *L, int index, int attribute, int value, const char *event, bool mirrored);
/* Raises an ArgumentError "Class.name: ..." for an attribute number. */
int orr_attribute_error(lua_State *L, const orr_class *class, int attribute, const char *kind,
                        const char *message);

static inline int orr_user_cached(const orr_class *class, int column) {
  return class->column_count + column + 1;
}
static inline int orr_user_relation(const orr_class *class, int relation) {
  return 2 * class->column_count + relation + 1;
}
static inline int orr_user_backlog(const orr_class *class, int relation) {
  return 2 * class->column_count + class->relation_count + relation + 1;
}

/* ---- relationships (linklib.c) and collections (collectionlib.c) ---- */

/* Pushes the value of a relation, loading it when `load`: an object, a collection, nil. Without `load` pushes
   nil for an unloaded one and returns false. */
bool orr_relationship_get(lua_State *L, orr_instance *object, int index, int relation, bool load);
/* The target's key as the foreign key columns give it: 1 complete, 0 not known or not its primary key, -1
 * NULL. */
int orr_relationship_target_key(lua_State *L, orr_instance *object, int index, int relation, orr_value *out);
/* Whether the session holds the object that a many-to-one leads to by its key, fresh or not. */
bool orr_relationship_in_map(lua_State *L, orr_instance *object, int index, int relation);
/* A script's assignment of the value at `value`. */
void orr_relationship_set(lua_State *L, orr_instance *object, int index, int relation, int value);
/* Events of a collection: the item at `item` came in (left) relation `relation` of the object at `owner`;
   both are absolute indexes. */
void orr_relationship_added(lua_State *L, orr_instance *owner, int owner_index, int relation, int item);
void orr_relationship_removed(lua_State *L, orr_instance *owner, int owner_index, int relation, int item);
/* Whether the item at `item` was given another object, or none, in place of the one at `owner` since it was
   last flushed: its row still says otherwise. */
bool orr_relationship_has_left(lua_State *L, const orr_relationship *relation, int owner, int item);
/* Lets those who listen to the other side see a change of this one, before it is made: the object at `item`
   comes in (leaves) relation `relation` of the object at `owner`. For worlds that have hears_links. */
void orr_relationship_tell_far(lua_State *L, orr_instance *owner, int owner_index, int relation, int item,
                               bool comes);
/* Raises where a flush is writing the owner of a write-only collection, which holds what that writes. */
void orr_relationship_check_idle(lua_State *L, const orr_instance *owner, int relation);
/* Raises where the relation is the only one that may have the object at `item`, and another object has it. */
void orr_relationship_claim(lua_State *L, const orr_instance *owner, int owner_index, int relation, int item);
/* Raises unless the value at `item` is an object that the relation takes. */
void orr_relationship_accept(lua_State *L, orr_instance *owner, int relation, int item);

typedef enum orr_form { ORR_FORM_LIST, ORR_FORM_SET, ORR_FORM_KEYED } orr_form;

typedef struct orr_collection {
  uint32_t count;
  int relation; /* from 0, of the owner's class */
  uint8_t form; /* orr_form */
  uint8_t near; /* so many items are user values, the others stand in a table, see collectionlib.c; */
  bool spread;  /* it is there */
  bool kept;    /* COLLECTION_OLD holds the items as they were before the first change */
  bool stray;   /* an item came in from its own side, without a cascade into the session */
  bool given;   /* a script has put something in, or assigned it as a whole */
  bool counted; /* COLLECTION_COUNTS is there */
  bool passing; /* write-only: its items leave it when they are written */
} orr_collection;

/* Fields of the user value of a collection, beside its items: */
#define ORR_COLLECTION_OLD (-2)    /* array */
#define ORR_COLLECTION_COUNTS (-3) /* occurrences by item, while index assignments go on */
#define ORR_COLLECTION_NAMES (-4)  /* sets and keyed ones: [item] = true, or its key */
#define ORR_COLLECTION_KEYS (-5)   /* keyed ones: [key] = item */
#define ORR_COLLECTION_PLACES (-6) /* keyed ones: [item] = position, while they are walked */

extern const orr_box_kind orr_collection_kind;

/* Pushes a new empty collection for a relation of the object at `owner`. */
orr_collection *orr_collection_new(lua_State *L, int owner, int relation);
/* The same with room for as many items as are usual: for loaders. */
orr_collection *orr_collection_new_usual(lua_State *L, int owner, int relation);
/* Pushes the object whose relation the collection at `index` is. */
orr_instance *orr_collection_owner(lua_State *L, int index);
/* Pushes the item at a position from 1, nil beyond the last. */
void orr_collection_item(lua_State *L, const orr_collection *list, int index, uint32_t at);
/* Pushes a field of its user value. */
void orr_collection_field(lua_State *L, int index, int key);
/* Stores the value on top (popped) there. */
void orr_collection_setfield(lua_State *L, int index, int key);
/* Adds or removes without events towards the other side; for it and for loaders. The collection is at
 * `index`. */
void orr_collection_push_item(lua_State *L, orr_collection *list, int index, int item);
bool orr_collection_take_item(lua_State *L, orr_collection *list, int index, int item);
/* Of a write-only collection: notes that its rows have had the item, which goes. orr_collection_keep() came
 * before. */
void orr_collection_note_gone(lua_State *L, int index, int item);
bool orr_collection_has(lua_State *L, orr_collection *list, int index, int item);
/* Remembers the items as they are, once, before a first change. */
void orr_collection_keep(lua_State *L, orr_collection *list, int index, orr_instance *owner);
/* Forgets the remembered items. */
void orr_collection_settle(lua_State *L, orr_collection *list, int index);
/* Remembers those of the array on top (popped) instead. */
void orr_collection_restore(lua_State *L, orr_collection *list, int index);
/* Replaces all items by those of the array or collection at `value`, with events. */
void orr_collection_replace(lua_State *L, orr_collection *list, int index, int value);
void orr_collection_open(lua_State *L);

/* ---- sessions ---- */

struct orr_session {
  orr_world *world;
  uint32_t number; /* 0: closed */
  uint32_t epoch;
  orr_identity map;
  orr_history history;
  orr_cohorts cohorts;
  uint32_t new_count, dirty_count, deleted_count, watched_count; /* lengths of the lists, holes included */
  uint32_t inserted_count, removed_count, rekeyed_count;         /* this transaction's */
  size_t unspared; /* bytes of new objects that orr_gc_spare() was not told of yet, */
  int heap;        /* and what Lua held, in kilobytes, before they came */
  int loaded;      /* kilobytes of what was loaded into single objects that it was not told of yet */
  uint32_t refresh_epoch, refreshed; /* how many objects were read again since the session was expired */
  bool moved;                        /* some changed object may be ORR_MOVED */
  bool late;                         /* some object of a flush that runs may be ORR_LATE */
};

/* Whether it has nothing to flush. */
static inline bool orr_session_is_clean(const orr_session *session) {
  return !session->new_count && !session->dirty_count && !session->deleted_count && !session->watched_count;
}

/* User value of a session: */
#define ORR_SESSION_OBJECTS 1 /* weak: [slot] = object */
#define ORR_SESSION_NEW 2     /* holes are false */
#define ORR_SESSION_DIRTY 3
#define ORR_SESSION_DELETED 4
#define ORR_SESSION_WATCHED 5
#define ORR_SESSION_INSERTED 6 /* weak: became persistent in this transaction */
#define ORR_SESSION_REMOVED 7  /* deleted rows' objects of this transaction */
#define ORR_SESSION_COHORTS 9  /* [cohort number] = what the script's options say about its objects */
#define ORR_SESSION_LOADED                                                                                   \
  10 /* { object, "load" or "refresh", ... }: what listeners will be told of, or nil */
#define ORR_SESSION_REKEYED                                                                                  \
  8 /* { object, former key part, ... } of each key that was changed in this transaction */

extern const orr_box_kind orr_session_kind;

/* The session at `index`; one that was closed opens again, under a new number. */
orr_session *orr_session_check(lua_State *L, int index);

/* Adds the object at `index` and what its relationships cascade to. */
void orr_session_add(lua_State *L, orr_session *session, int index);
/* Puts a changed persistent object on the dirty list. */
void orr_session_dirty(lua_State *L, orr_session *session, orr_instance *object, int index);
/* A pending object is transient again. */
void orr_session_drop_new(lua_State *L, orr_session *session, orr_instance *object);
void orr_session_watch(lua_State *L, orr_session *session, orr_instance *object, int index);
/* Pushes the user value of an open session, found by its number. False, and nothing is pushed, where nobody
   holds the session any more and only its finalizer is still to come: from then on it counts as closed. */
bool orr_session_user(lua_State *L, orr_session *session);
/* Pushes the object of a key, or returns NULL and pushes nothing. `objects` is the index of the weak table.
 */
orr_instance *orr_session_find(lua_State *L, orr_session *session, const orr_key *key, int objects);
/* The slot of a key: one that was there already (`*found`), whose object may be dead, or a new one without an
   object. Whoever is seated next takes it over. */
uint32_t orr_session_claim(lua_State *L, orr_session *session, const orr_key *key, int objects, bool *found);
/* Makes room for so many more objects, so that seating them takes no memory (where the bytes of keys are
   given). */
void orr_session_reserve(lua_State *L, orr_session *session, uint32_t count, int objects);
/* Makes the object at `index` the persistent one of a slot. */
void orr_session_seat(lua_State *L, orr_session *session, orr_instance *object, int index, uint32_t slot,
                      int objects);
/* Enters the persistent object at `index` under a key. A dead object's slot is taken over. */
void orr_session_enter(lua_State *L, orr_session *session, orr_instance *object, int index,
                       const orr_key *key, int objects);
/* Takes the object out of the identity map, where it is what stands there. */
void orr_session_leave(lua_State *L, orr_session *session, const orr_instance *object, int objects);

/* ---- cohorts (cohortlib.c) ---- */

/* Puts a persistent object into a cohort (0: into none) when a result brings it along. */
void orr_cohort_enter(lua_State *L, orr_session *session, orr_instance *object, orr_cohort_number number);

/* Pushes what the options of its query say about an object's relationships (a tree of loader_option.lua), or
 * nil. */
void orr_cohort_push_tree(lua_State *L, const orr_instance *object);

/* each file's part of "core" */
void orr_cohort_open(lua_State *L);
void orr_link_open(lua_State *L);
void orr_instance_open(lua_State *L);
void orr_load_open(lua_State *L);
void orr_delete_open(lua_State *L);
void orr_flush_open(lua_State *L);

#endif
