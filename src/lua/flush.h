/* flush: what the three files of a flush share: collectlib.c (what is to be written), writelib.c (writing it)
   and flushlib.c (the handle, and the objects afterwards). */
#ifndef ORR_FLUSH_H
#define ORR_FLUSH_H

#include "../core/unit.h"
#include "connlib.h"
#include "mapped.h"

enum { ORR_BATCH_ROWS = 32 }; /* rows in one statement: more gain nothing */

/* One row of an object, or one link row, that takes part. Numbers of objects count from 1 (see
   orr_instance.action). */
typedef struct orr_flush_record {
  orr_class *class; /* whose own table the row is in: the object's, or one above it */
  uint32_t object;
  uint32_t other;      /* link rows: the other end; post updates: the post, + 1; what is set aside: which of the
                          class's unique sets */
  uint32_t next;       /* + 1: what else of the object is set aside */
  int relation : 24;   /* link rows: its number in the class, else -1 */
  unsigned kind : 4;   /* orr_unit_kind */
  unsigned writes : 1; /* an update that has something to write; a value that is set aside by now */
  unsigned wipes : 1;  /* all link rows of a deleted object: at least `other`, and `next` at most */
} orr_flush_record;

/* A foreign key that is copied just before its row is written, since the key is made in this flush. */
typedef struct orr_flush_sync {
  uint32_t from, to; /* objects */
  const orr_relationship *relation;
  bool from_far; /* the key columns are the pairs' far side (many-to-one) */
  uint32_t next; /* next one of the same `to`, + 1 */
} orr_flush_sync;

typedef struct orr_flush_undo {
  orr_cell cell;
  uint32_t object;
  int text; /* where the string of an ORR_OUTSIDE tag is kept, 0: nowhere */
  int column : 24;
  unsigned tag : 8;
} orr_flush_undo;

typedef struct orr_flush_entry {
  orr_instance *object;  /* stays where it is: the flush's user value holds it */
  orr_class *class;      /* the object's: here no memory is waited for */
  uint32_t former;       /* of a new object that takes over a row: the deleted one */
  uint32_t first_aside;  /* + 1: record of a value that is set aside */
  uint32_t first_sync;   /* + 1 */
  unsigned kind : 4;     /* orr_unit_kind */
  unsigned writes : 1;   /* an update that has something to write in one of its rows */
  unsigned written : 1;  /* an insert that has its key */
  unsigned switched : 1; /* a new object that takes over the row of a deleted one, and that deleted one */
  unsigned counted : 1;  /* an update that has its new version */
  unsigned moves : 1;    /* an update of the primary key */
  unsigned early : 1;    /* a delete before the saves of its table */
  unsigned linked : 1;   /* its relations hold something */
} orr_flush_entry;

/* A unique value that goes from one object's row to another's. */
typedef struct orr_flush_handover {
  uint32_t from, to; /* objects */
  const orr_class *row;
  const orr_unique *unique;
} orr_flush_handover;

/* The bytes of a key that is no integer, until the identity map takes them. */
typedef struct orr_flush_key {
  char *bytes;
  size_t size;
} orr_flush_key;

/* The statement that ran last, anchored at a stack index, and what it was asked for with. */
typedef struct orr_flush_call {
  int index;
  orr_statement *statement;
  const char *kind;
  const orr_class *class;
  int relation;
  size_t rows, columns; /* of the shape */
  unsigned char *shape;
} orr_flush_call;

typedef struct orr_flush {
  orr_alloc alloc;
  orr_session *session;
  orr_unit unit;
  orr_flush_entry *entries; /* of object number i at i - 1 */
  size_t count, entry_room;
  int rows;    /* the most that an object has */
  int columns; /* the most that a class has */
  size_t updates;
  bool unordered;      /* the updates were not entered in the order of their rows, or have more than one */
  uint32_t last_group; /* of the last update that was entered, and its key */
  int64_t last_number;
  bool takes; /* some unique value may be taken */
  bool heard; /* a function of the script's has run since */
  orr_flush_record *records;
  size_t record_count, record_room;
  orr_flush_sync *syncs;
  size_t sync_count, sync_room;
  orr_flush_sync *posts; /* foreign keys that are written when all rows are there; `from` 0: set to NULL */
  size_t post_count, post_room;
  orr_flush_sync *orphans; /* of `from`, whose key is part of theirs: they need another parent's */
  size_t orphan_count, orphan_room;
  orr_flush_undo *undos;
  size_t undo_count, undo_room;
  orr_flush_handover *handovers; /* between rows that are updated */
  size_t handover_count, handover_room;
  bool asides;     /* some values are set aside */
  bool defers;     /* foreign keys can only be checked when everything is written */
  int blind;       /* objects whose unique values are not known, though they might matter */
  uint32_t *links; /* hash of link records, + 1 */
  size_t link_room, link_count;
  int texts;                                    /* strings kept for undo */
  int connection, provider, trace, objects, me; /* stack indexes while it runs */
  const orr_driver *driver;                     /* of the connection, which is open: see check_transaction */
  void *db;
  int link_values;                   /* stack index of what link rows get by default, 0: nothing */
  unsigned char *shape, *next_shape; /* what is written of each column, and of the next row's */
  orr_value *values;
  orr_flush_call last;
  uint32_t new_seen, dirty_seen, deleted_seen; /* lengths of the session's lists when they were read */
  orr_flush_key *keys;                         /* by object number - 1; NULL: nobody needs any */
  size_t key_count;
  uint32_t culprit, culprits; /* the first object of the statement that failed, and how many it was about */
} orr_flush;

/* User value of a flush: objects from 1; strings for undo in "texts"; "session" anchors the session; "strays"
   are { class, attribute number, object, ... }: what is not saved along. */

/* Items on the stack: a collection, a table of them, or the one object that a scalar relation holds. */
typedef struct orr_flush_items {
  int index;
  uint32_t count;
  const orr_collection *list; /* NULL: no collection */
} orr_flush_items;

/* What a relation holds now and held before. */
typedef struct orr_flush_past {
  orr_flush_items now, before;
  bool scalar;
  bool changed;
  bool stray; /* it may hold objects that are not in the session */
} orr_flush_past;

/* A macro: GCC leaves out calls of functions that do nothing else. */
#if defined(__GNUC__)
#define ORR_PREFETCH(address) __builtin_prefetch(address)
#else
#define ORR_PREFETCH(address) ((void)(address))
#endif

/* Fetches an object into the caches, with what Lua keeps before it. */
static inline void orr_flush_fetch(const orr_instance *object) {
  enum { LINE = 64 };
  uintptr_t at = (uintptr_t)object; /* what is near an object, or there is none, is no object of C's */
  ORR_PREFETCH((const void *)(at - LINE));
  ORR_PREFETCH((const void *)at);
  ORR_PREFETCH((const void *)(at + LINE));
}

/* Object number `n`. Objects are mostly met in the order of their numbers and seldom are in a cache: one that
   comes soon is fetched. */
static inline orr_instance *orr_flush_look(const orr_flush *f, uint32_t n) {
  enum { AHEAD = 4 };
  if (n + AHEAD <= f->count)
    orr_flush_fetch(f->entries[n + AHEAD - 1].object);
  return f->entries[n - 1].object;
}

/* Pushes object number `n`. */
static inline orr_instance *orr_flush_object(lua_State *L, const orr_flush *f, uint32_t n) {
  orr_instance *object = orr_flush_look(f, n);
  lua_rawgeti(L, f->objects, (int)n);
  return object;
}

/* Whether the object's key is one integer that was not changed: it is read where it stands, and takes no
   bytes in the identity map. */
static inline bool orr_flush_plain_key(orr_instance *object, orr_value *out) {
  const orr_class *class = object->class;
  if (!class->simple_key || (orr_tags(object)[class->keys[0]] & (ORR_TAG | ORR_CHANGED)) != ORR_INT)
    return false;
  *out = (orr_value){ORR_INT, 0, {orr_cells(object)[class->keys[0]].i}};
  return true;
}

/* An update of columns alone, of which Lua keeps nothing: the object need not stand on the stack. */
static inline bool orr_flush_is_bare(const orr_flush_entry *entry) {
  return entry->kind == ORR_UNIT_UPDATE && !entry->moves && !entry->first_sync && entry->class->version < 0 &&
         !orr_instance_is_linked(entry->object);
}

static inline bool orr_flush_deleting(const orr_instance *object) { return object->flags & ORR_DELETING; }

/* A deleted object and a new one share a row, which is updated: nothing of it is inserted or deleted. */
static inline bool orr_flush_switched(const orr_flush *f, uint32_t n) { return f->entries[n - 1].switched; }

static inline bool orr_flush_holds(const orr_flush *f, const orr_instance *object) {
  return object->session == f->session->number && object->state != ORR_DELETED;
}

/* Grows one of the flush's arrays, or raises. */
void *orr_flush_grow(lua_State *L, orr_flush *f, void *block, size_t *room, size_t need, size_t size);
/* The number that the row of the object at `index` has in the database, as its key; 0 where that is no
   integer. */
int64_t orr_flush_key_number(lua_State *L, orr_instance *object, int index);
/* Enters the object at `index` and returns its number. */
uint32_t orr_flush_enter(lua_State *L, orr_flush *f, int index, orr_unit_kind kind);
/* The number of an object that is about to be written, entering it as an update where it was not changed
 * before. */
uint32_t orr_flush_number(lua_State *L, orr_flush *f, int index);
/* Remembers a column as it is, so that a failed flush can put it back. */
void orr_flush_note(lua_State *L, orr_flush *f, orr_instance *object, int index, int column);
/* Copies the key of the object at `from` into the foreign key of the object at `to`, along the relation's
 * pairs. */
void orr_flush_copy_key(lua_State *L, orr_flush *f, int from, int to, const orr_relationship *relation,
                        bool from_far);
/* Sets the foreign key of the object at `to` to NULL; raises where it is part of the primary key. */
void orr_flush_blank_key(lua_State *L, orr_flush *f, int to, const orr_relationship *relation, bool from_far);
/* The object at `child` refers to the one at `parent`: at once where the parent has its key, later where it
 * is new. */
void orr_flush_refer(lua_State *L, orr_flush *f, int parent, int child, const orr_relationship *relation,
                     bool from_far);
/* The foreign key of `to` is written after everything else, where `from` is 0 as NULL before what is deleted.
 */
void orr_flush_add_post(lua_State *L, orr_flush *f, uint32_t from, uint32_t to,
                        const orr_relationship *relation, bool from_far);
/* Checks the handles and sets the stack indexes; the flush is at 1, its session at 2 afterwards. */
orr_flush *orr_flush_begin(lua_State *L, int arguments);
/* What a relation holds and held: pushes at most three values; false where the relation is not loaded. */
bool orr_flush_history(lua_State *L, orr_instance *object, int index, int number, orr_flush_past *h);
/* Pushes the item at a position. */
void orr_flush_item(lua_State *L, const orr_flush_items *items, uint32_t at);
/* Whether a stored object's columns that its children refer to are to change. */
bool orr_flush_key_moved(orr_instance *object, const orr_relationship *relation);
/* The version that the row of the object at `index` has. */
orr_value orr_flush_version(lua_State *L, orr_instance *object, int index);
/* Gives the object at `index` the version after that of the object at `former` (itself, or the one whose row
   it takes over); leaves the stack as it was. */
void orr_flush_count_version(lua_State *L, orr_flush *f, int index, int former);
/* Pushes a database value as Lua has it, NULL as core.null. */
void orr_flush_push_value(lua_State *L, const orr_value *value);
/* handoverlib.c: finds unique values that change hands, and sets aside or deletes early what must go first.
   Once, when all foreign keys are known that can be. */
void orr_flush_find_handovers(lua_State *L, orr_flush *f);
/* Whether the object of an entry may take a unique value is looked at when it is entered. */
void orr_flush_look_at_uniques(lua_State *L, orr_flush *f, const orr_flush_entry *entry);
/* A column of an object that is updated changes in the flush. */
void orr_flush_look_at_column(orr_flush *f, const orr_class *class, int column);
/* The order in which `count` rows can be updated, given as object numbers and the classes of their tables:
   positions in `order`, of the rows in the order given wherever handovers leave a choice. */
void orr_flush_order_updates(lua_State *L, orr_flush *f, const uint32_t *objects, orr_class *const *rows,
                             size_t count, uint32_t *order);
/* What stands in the place of a value of object `n` that is set aside; `scratch` has ORR_TYPE_SCRATCH bytes.
 */
orr_value orr_flush_placeholder(const orr_unique *unique, uint32_t n, char *scratch);
/* The relation of a link row, NULL of another row. */
static inline const orr_relationship *orr_flush_relation(const orr_flush_record *r) {
  return r->relation < 0 ? NULL : &r->class->relations[r->relation];
}

/* What a record sets aside. */
static inline const orr_unique *orr_flush_unique(const orr_flush_record *r) {
  return &r->class->uniques[r->other];
}

/* The record of a row, as the one after the last. */
orr_flush_record *orr_flush_add_record(lua_State *L, orr_flush *f, orr_unit_kind kind, orr_class *class,
                                       uint32_t object);
void orr_handover_open(lua_State *L);
/* core.collect and core.run. */
int orr_flush_collect(lua_State *L);
int orr_flush_run(lua_State *L);

#endif
