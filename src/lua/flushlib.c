/* flushlib: the unit of work. collect() turns new, changed and deleted objects into actions and links (foreign keys
   from parents, link rows), core/unit orders them, run() writes batch by batch, and end() or undo() makes the objects
   agree with what is in the database. SQL text comes from the provider, a Lua function that is called once per shape
   of statement, never per row. */
#include <stdlib.h>
#include <string.h>

#include "../core/unit.h"
#include "connlib.h"
#include "mapped.h"

enum { BATCH_ROWS = 32, NONE = 0 };

/* One object, or one link row, that takes part. Numbers of objects count from 1 (see orr_instance.action). */
typedef struct record {
  orr_unit_kind kind;
  orr_class *class;
  uint32_t object, other;        /* link rows: both ends */
  const orr_relationship *relation;  /* link rows only */
  int relation_number;
} record;

/* A foreign key that is copied just before its row is written, since the key is made in this flush. */
typedef struct pending_sync {
  uint32_t from, to; /* objects */
  const orr_relationship *relation;
  bool from_far;     /* the key columns are the pairs' far side (many-to-one) */
  uint32_t next;     /* next one of the same `to`, + 1 */
} pending_sync;

typedef struct undo_entry {
  uint32_t object;
  int column;
  unsigned char tag;
  orr_cell cell;
  int text; /* where the string of an ORR_OWN tag is kept, 0: nowhere */
} undo_entry;

typedef struct entry {
  orr_unit_kind kind;
  bool writes;         /* an update that has something to write */
  bool written;        /* an insert that has its key */
  bool switched;       /* a new object that takes over the row of a deleted one, and that deleted one */
  bool counted;        /* an update that has its new version */
  uint32_t first_sync; /* + 1 */
} entry;

typedef struct flush {
  orr_alloc alloc;
  orr_session *session;
  orr_unit unit;
  entry *entries; /* of object number i at i - 1 */
  size_t count, entry_room;
  record *records;
  size_t record_count, record_room;
  pending_sync *syncs;
  size_t sync_count, sync_room;
  undo_entry *undos;
  size_t undo_count, undo_room;
  uint32_t *links; /* hash of link records, + 1 */
  size_t link_room, link_count;
  int texts; /* strings kept for undo */
  int connection, provider, trace, objects, me; /* stack indexes while it runs */
  unsigned char *shape;
  orr_value *values;
  uint32_t new_seen, dirty_seen, deleted_seen; /* lengths of the session's lists once everything was collected */
  uint32_t culprit, culprits; /* the first object of the statement that failed, and how many it was about */
} flush;

/* User value of a flush: objects from 1; strings for undo in "texts"; "session" anchors the session. */

static void close_flush(void *block) {
  flush *f = block;
  if (!f->session)
    return;
  orr_unit_clear(&f->unit);
  orr_alloc_free(&f->alloc, f->entries, f->entry_room, sizeof *f->entries);
  orr_alloc_free(&f->alloc, f->records, f->record_room, sizeof *f->records);
  orr_alloc_free(&f->alloc, f->syncs, f->sync_room, sizeof *f->syncs);
  orr_alloc_free(&f->alloc, f->undos, f->undo_room, sizeof *f->undos);
  orr_alloc_free(&f->alloc, f->links, f->link_room, sizeof *f->links);
  memset(f, 0, sizeof *f);
}

static const orr_box_kind flush_kind = {"flush", close_flush};

static void *grow(lua_State *L, flush *f, void *block, size_t *room, size_t need, size_t size) {
  void *grown = orr_alloc_grow(&f->alloc, block, room, need, size);
  if (!grown)
    luaL_error(L, "not enough memory");
  return grown;
}

static int raise_error(lua_State *L, const orr_error *error) { return orr_raise(L, error); }

/* core.flush(session) -> handle */
static int new_flush(lua_State *L) {
  orr_session *session = orr_box_check(L, 1, &orr_session_kind);
  flush *f = orr_box_new(L, &flush_kind, sizeof *f);
  lua_newtable(L);
  lua_newtable(L);
  lua_setfield(L, -2, "texts");
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "session");
  orr_setuservalue(L, -2);
  f->alloc = orr_allocator(L);
  orr_unit_init(&f->unit, f->alloc);
  f->session = session;
  return 1;
}

/* ---- objects ---- */

/* Pushes object number `n`. */
static orr_instance *push_object(lua_State *L, flush *f, uint32_t n) {
  lua_rawgeti(L, f->objects, (int)n);
  return lua_touserdata(L, -1);
}

/* Enters the object at `index` and returns its number. */
static uint32_t enter(lua_State *L, flush *f, int index, orr_unit_kind kind) {
  orr_instance *object = lua_touserdata(L, index);
  f->entries = grow(L, f, f->entries, &f->entry_room, f->count + 1, sizeof *f->entries);
  lua_pushvalue(L, index);
  lua_rawseti(L, f->objects, (int)f->count + 1);
  entry fresh = {kind, false, false, false, false, 0};
  f->entries[f->count++] = fresh;
  object->action = (uint32_t)f->count;
  return object->action;
}

/* The number of an object that is about to be written, entering it as an update where it was not changed before. */
static uint32_t number_of(lua_State *L, flush *f, int index) {
  orr_instance *object = lua_touserdata(L, index);
  if (!object->action) {
    orr_session_dirty(L, f->session, object, index);
    enter(L, f, index, ORR_UNIT_UPDATE);
  }
  return object->action;
}

static bool is_deleting(const orr_instance *object) { return object->flags & ORR_DELETING; }

/* A deleted object and a new one share a row, which is updated: nothing of it is inserted or deleted. */
static bool is_switched(const flush *f, uint32_t n) { return f->entries[n - 1].switched; }

static bool is_mine(const flush *f, const orr_instance *object) {
  return object->session == f->session->number && object->state != ORR_DELETED;
}

/* ---- changing columns, with a way back ---- */

static int keep_text(lua_State *L, flush *f, orr_instance *object, int index, int column) {
  lua_getfield(L, f->me, "texts");
  orr_instance_getuser(L, object, index, column + 1);
  lua_rawseti(L, -2, ++f->texts);
  lua_pop(L, 1);
  return f->texts;
}

static void note(lua_State *L, flush *f, orr_instance *object, int index, int column) {
  f->undos = grow(L, f, f->undos, &f->undo_room, f->undo_count + 1, sizeof *f->undos);
  undo_entry *undo = &f->undos[f->undo_count];
  undo->object = object->action;
  undo->column = column;
  undo->tag = orr_tags(object)[column];
  undo->cell = orr_cells(object)[column];
  undo->text = undo->tag & ORR_OWN ? keep_text(L, f, object, index, column) : 0;
  f->undo_count++;
}

/* Sets a column of the object at `index`, which has a number, unless it has that value. */
static void set_column(lua_State *L, flush *f, int index, int column, const orr_value *value) {
  orr_instance *object = lua_touserdata(L, index);
  orr_value present;
  if (object->state == ORR_PERSISTENT)
    orr_instance_freshen(L, object, index, f->session);
  orr_instance_value(L, object, index, column, &present);
  unsigned tag = orr_tags(object)[column];
  if (!(tag & ORR_UNLOADED) && orr_value_same(&present, value))
    return;
  note(L, f, object, index, column);
  orr_instance_keep_old(L, object, index, column);
  unsigned changed = orr_tags(object)[column] & ORR_CHANGED;
  orr_instance_put(L, object, index, column, value);
  orr_tags(object)[column] |= (unsigned char)changed;
}

static void refuse_blank_key(lua_State *L, const orr_class *class, int column) {
  if (class->columns[column].flags & ORR_COLUMN_KEY)
    orr_attribute_error(L, class, column, "FlushError",
                        "this foreign key is part of the primary key and cannot be set to NULL; delete the object, or "
                        "give it another parent");
}

/* Copies the key of the object at `from` into the foreign key of the object at `to`, along the relation's pairs. */
static void copy_key(lua_State *L, flush *f, int from, int to, const orr_relationship *relation, bool from_far) {
  orr_instance *source = lua_touserdata(L, from);
  for (int p = 0; p < relation->pair_count; p++) {
    const orr_pair *pair = &relation->pairs[p];
    orr_value value;
    orr_instance_value(L, source, from, from_far ? pair->far : pair->near, &value);
    set_column(L, f, to, from_far ? pair->near : pair->far, &value);
  }
}

static void blank_key(lua_State *L, flush *f, int to, const orr_relationship *relation, bool from_far) {
  static const orr_value null = {ORR_NULL, 0, {0}};
  const orr_instance *object = lua_touserdata(L, to);
  for (int p = 0; p < relation->pair_count; p++) {
    int column = from_far ? relation->pairs[p].near : relation->pairs[p].far;
    refuse_blank_key(L, object->class, column);
    set_column(L, f, to, column, &null);
  }
}

static void add_sync(lua_State *L, flush *f, uint32_t from, uint32_t to, const orr_relationship *relation, bool from_far) {
  f->syncs = grow(L, f, f->syncs, &f->sync_room, f->sync_count + 1, sizeof *f->syncs);
  pending_sync sync = {from, to, relation, from_far, f->entries[to - 1].first_sync};
  f->syncs[f->sync_count++] = sync;
  f->entries[to - 1].first_sync = (uint32_t)f->sync_count;
}

/* The object at `child` refers to the one at `parent`: at once where the parent has its key, later where it is new. */
static void sync(lua_State *L, flush *f, int parent, int child, const orr_relationship *relation, bool from_far) {
  const orr_instance *source = lua_touserdata(L, parent);
  const orr_instance *target = lua_touserdata(L, child);
  if (is_deleting(target))
    return;
  uint32_t to = number_of(L, f, child);
  if (source->state == ORR_PENDING)
    add_sync(L, f, source->action, to, relation, from_far);
  else
    copy_key(L, f, parent, child, relation, from_far);
}

/* ---- link rows ---- */

static size_t hash_link(const record *r) {
  uint64_t h = (uint64_t)r->object * UINT64_C(0x9E3779B97F4A7C15) ^ ((uint64_t)r->other << 20) ^
               (uint64_t)(unsigned)r->relation->id ^ (uint64_t)r->kind << 60;
  return (size_t)((h * UINT64_C(0xD6E8FEB86659FD93)) >> 32);
}

static bool same_link(const record *a, const record *b) {
  return a->object == b->object && a->other == b->other && a->relation->id == b->relation->id && a->kind == b->kind;
}

static void place_link(flush *f, uint32_t number) {
  size_t mask = f->link_room - 1, i = hash_link(&f->records[number - 1]) & mask;
  while (f->links[i])
    i = (i + 1) & mask;
  f->links[i] = number;
}

static void grow_links(lua_State *L, flush *f) {
  size_t room = f->link_room ? f->link_room * 2 : 64;
  uint32_t *links = orr_alloc_array(&f->alloc, room, sizeof *links);
  if (!links)
    luaL_error(L, "not enough memory");
  orr_alloc_free(&f->alloc, f->links, f->link_room, sizeof *f->links);
  f->links = links;
  f->link_room = room;
  for (size_t n = 1; n <= f->record_count; n++)
    if (f->records[n - 1].relation)
      place_link(f, (uint32_t)n);
}

static bool known_link(const flush *f, const record *r) {
  size_t mask = f->link_room - 1;
  for (size_t i = hash_link(r) & mask; f->links[i]; i = (i + 1) & mask)
    if (same_link(&f->records[f->links[i] - 1], r))
      return true;
  return false;
}

static record *add_record(lua_State *L, flush *f, orr_unit_kind kind, orr_class *class, uint32_t object) {
  f->records = grow(L, f, f->records, &f->record_room, f->record_count + 1, sizeof *f->records);
  record *r = &f->records[f->record_count];
  memset(r, 0, sizeof *r);
  r->kind = kind;
  r->class = class;
  r->object = object;
  return r;
}

/* A link row between two objects. Both sides of a relationship may report it: it is written once, and always as a
   row of the side that was declared first. */
static void add_link(lua_State *L, flush *f, int near, int far, int number, orr_unit_kind kind) {
  orr_class *class = ((orr_instance *)lua_touserdata(L, near))->class;
  const orr_relationship *relation = &class->relations[number];
  if (relation->second) {
    int other = near;
    near = far;
    far = other;
    class = relation->target;
    number = relation->reverse;
    relation = &class->relations[number];
  }
  if (f->link_count * 2 >= f->link_room)
    grow_links(L, f);
  uint32_t first = number_of(L, f, near), second = number_of(L, f, far);
  record *r = add_record(L, f, kind, class, first);
  r->other = second;
  r->relation = relation;
  r->relation_number = number;
  if (known_link(f, r))
    return;
  f->record_count++;
  f->link_count++;
  place_link(f, (uint32_t)f->record_count);
}

/* ---- what changed in a relation ---- */

/* Items of a relation now and before: on the stack, the one value of a scalar relation, or a table of the items. */
typedef struct history {
  int now, before; /* stack indexes */
  bool scalar;
  uint32_t now_count, before_count;
  bool changed;
  bool stray; /* it may hold objects that are not in the session */
} history;

static void push_scalar_history(lua_State *L, orr_instance *object, int index, int key, history *h) {
  orr_instance_getuser(L, object, index, key);
  h->now = lua_gettop(L);
  h->now_count = lua_isuserdata(L, -1);
  orr_instance_getuser(L, object, index, -key);
  h->before = lua_gettop(L);
  bool has_old = !lua_isnil(L, -1);
  h->scalar = true;
  h->changed = has_old || (object->state == ORR_PENDING && h->now_count);
  if (!has_old && object->state == ORR_PERSISTENT) {
    lua_pushvalue(L, h->now);
    lua_replace(L, h->before);
  }
  h->before_count = lua_isuserdata(L, h->before);
}

static void push_list_history(lua_State *L, const orr_instance *object, int list_index, history *h) {
  const orr_collection *list = lua_touserdata(L, list_index);
  orr_getuservalue(L, list_index);
  h->now = lua_gettop(L);
  h->now_count = list->count;
  h->stray = list->stray;
  lua_rawgeti(L, h->now, ORR_COLLECTION_OLD);
  if (lua_istable(L, -1)) {
    h->before_count = (uint32_t)orr_rawlen(L, -1);
    h->changed = true;
  } else {
    lua_pop(L, 1);
    lua_pushvalue(L, h->now);
    h->before_count = object->state == ORR_PENDING ? 0 : list->count;
    h->changed = object->state == ORR_PENDING && list->count;
  }
  h->before = lua_gettop(L);
}

/* Pushes at most three values; false where the relation is not loaded. */
static bool push_history(lua_State *L, orr_instance *object, int index, int number, history *h) {
  const orr_relationship *relation = &object->class->relations[number];
  int key = orr_user_relation(object->class, number);
  memset(h, 0, sizeof *h);
  if (!(object->flags & ORR_HAS_USER))
    return false;
  if (!(relation->flags & ORR_RELATION_LIST)) {
    push_scalar_history(L, object, index, key, h);
    return h->changed || h->now_count;
  }
  orr_instance_getuser(L, object, index, key);
  if (!orr_box_test(L, -1, &orr_collection_kind))
    return false;
  push_list_history(L, object, lua_gettop(L), h);
  return true;
}

typedef void (*visit)(lua_State *L, flush *f, int object, int item, int number);

/* Pushes the set of items 1..count of the table at `items`. */
static int push_set(lua_State *L, int items, uint32_t count) {
  lua_createtable(L, 0, (int)count);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, items, (int)i);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
  }
  return lua_gettop(L);
}

/* Visits each item of 1..count that is not in 1..without of the other table; once each. */
static void visit_list(lua_State *L, flush *f, int object, int number, int items, uint32_t count, int others,
                       uint32_t without, visit what) {
  int top = lua_gettop(L);
  int set = without || count > 1 ? push_set(L, others, without) : 0;
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, items, (int)i);
    int item = lua_gettop(L);
    bool seen = false;
    if (set) {
      lua_pushvalue(L, item);
      lua_rawget(L, set);
      seen = lua_toboolean(L, -1);
      lua_pop(L, 1);
    }
    if (!seen) {
      if (set) {
        lua_pushvalue(L, item);
        lua_pushboolean(L, 1);
        lua_rawset(L, set);
      }
      what(L, f, object, item, number);
    }
    lua_settop(L, set ? set : top);
  }
  lua_settop(L, top);
}

/* The same for what a relation holds now without what it held before, or (`gone`) the other way round. `without` is how
   much of the other one counts. */
static void visit_difference(lua_State *L, flush *f, int object, int number, const history *h, bool gone, uint32_t without,
                             visit what) {
  int items = gone ? h->before : h->now, others = gone ? h->now : h->before;
  uint32_t count = gone ? h->before_count : h->now_count;
  if (!h->scalar)
    visit_list(L, f, object, number, items, count, others, without, what);
  else if (count && !(without && lua_rawequal(L, items, others)))
    what(L, f, object, items, number);
}

/* ---- collecting ---- */

static void warn_not_in_session(lua_State *L, const orr_instance *object, int number, int item) {
  orr_push_hook(L, "not_in_session");
  orr_class_push(L, object->class);
  lua_pushinteger(L, object->class->column_count + number + 1);
  lua_pushvalue(L, item);
  lua_call(L, 3, 0);
}

static bool takes_part(lua_State *L, flush *f, int object, int item, int number) {
  const orr_instance *other = lua_touserdata(L, item);
  if (is_mine(f, other))
    return true;
  warn_not_in_session(L, lua_touserdata(L, object), number, item);
  return false;
}

static const orr_relationship *relation_at(lua_State *L, int object, int number) {
  return &((orr_instance *)lua_touserdata(L, object))->class->relations[number];
}

/* What is deleted in this very flush is no longer there to refer to. */
static void refer_to(lua_State *L, flush *f, int object, int item, int number) {
  if (!takes_part(L, f, object, item, number))
    return;
  if (is_deleting(lua_touserdata(L, item)))
    blank_key(L, f, object, relation_at(L, object, number), true);
  else
    sync(L, f, item, object, relation_at(L, object, number), true);
}

static void adopt(lua_State *L, flush *f, int object, int item, int number) {
  if (takes_part(L, f, object, item, number))
    sync(L, f, object, item, relation_at(L, object, number), false);
}

static void add_link_row(lua_State *L, flush *f, int object, int item, int number) {
  if (takes_part(L, f, object, item, number) && !is_deleting(lua_touserdata(L, item)))
    add_link(L, f, object, item, number, ORR_UNIT_LINK_INSERT);
}

static void drop_link_row(lua_State *L, flush *f, int object, int item, int number) {
  orr_instance *other = lua_touserdata(L, item);
  if (is_mine(f, other) && other->state == ORR_PERSISTENT)
    add_link(L, f, object, item, number, ORR_UNIT_LINK_DELETE);
}

/* Whether the foreign key of the object at `item` still is the key of the object at `owner`. */
static bool still_refers(lua_State *L, int owner, int item, const orr_relationship *relation) {
  orr_instance *parent = lua_touserdata(L, owner), *child = lua_touserdata(L, item);
  for (int p = 0; p < relation->pair_count; p++) {
    orr_value key, foreign;
    int column = relation->pairs[p].far;
    orr_instance_value(L, parent, owner, relation->pairs[p].near, &key);
    orr_instance_value(L, child, item, column, &foreign);
    if (!(orr_tags(child)[column] & ORR_UNLOADED) && !orr_value_same(&key, &foreign))
      return false;
  }
  return true;
}

static void release(lua_State *L, flush *f, int object, int item, int number) {
  const orr_relationship *relation = relation_at(L, object, number);
  orr_instance *child = lua_touserdata(L, item);
  if (!is_mine(f, child) || is_deleting(child) || child->state != ORR_PERSISTENT)
    return;
  if (!still_refers(L, object, item, relation))
    return;
  number_of(L, f, item);
  blank_key(L, f, item, relation, false);
}

/* Whether the other side of the pair writes the foreign key. */
static bool mirrored(const orr_relationship *relation) {
  return relation->reverse >= 0 && !(relation->target->relations[relation->reverse].flags & ORR_RELATION_VIEWONLY);
}

/* First pass: foreign keys to NULL, link rows away; so that the second pass has the last word. */
static void loosen(lua_State *L, flush *f, int object, int number, const history *h) {
  const orr_relationship *relation = relation_at(L, object, number);
  bool deleting = is_deleting(lua_touserdata(L, object));
  uint32_t keep = deleting ? 0 : h->now_count;
  if (relation->direction == ORR_MANY_TO_ONE) {
    if (!deleting && h->changed && h->now_count == 0)
      blank_key(L, f, object, relation, true);
  } else if (relation->direction == ORR_MANY_TO_MANY) {
    if (deleting || h->changed)
      visit_difference(L, f, object, number, h, true, keep, drop_link_row);
  } else if (deleting || (h->changed && !mirrored(relation))) {
    visit_difference(L, f, object, number, h, true, keep, release);
  }
}

static void look_for_stray(lua_State *L, flush *f, int object, int item, int number) {
  takes_part(L, f, object, item, number);
}

/* Whether a stored object's columns that its children refer to are to change. */
static bool key_moved(orr_instance *object, const orr_relationship *relation) {
  if (object->state != ORR_PERSISTENT || relation->direction != ORR_ONE_TO_MANY)
    return false;
  for (int p = 0; p < relation->pair_count; p++)
    if (orr_tags(object)[relation->pairs[p].near] & ORR_CHANGED)
      return true;
  return false;
}

/* Second pass: foreign keys from parents, new link rows. */
static void fasten(lua_State *L, flush *f, int object, int number, const history *h) {
  const orr_relationship *relation = relation_at(L, object, number);
  uint32_t known = ((orr_instance *)lua_touserdata(L, object))->state == ORR_PENDING ? 0 : h->before_count;
  if (is_deleting(lua_touserdata(L, object)))
    return;
  if (relation->flags & ORR_RELATION_SYNC_KEYS && key_moved(lua_touserdata(L, object), relation))
    visit_difference(L, f, object, number, h, false, 0, adopt);
  if (!h->changed)
    return;
  if (relation->direction == ORR_MANY_TO_ONE) {
    if (h->now_count)
      refer_to(L, f, object, h->now, number);
  } else if (relation->direction == ORR_MANY_TO_MANY) {
    visit_difference(L, f, object, number, h, false, known, add_link_row);
  } else if (!mirrored(relation)) {
    visit_difference(L, f, object, number, h, false, known, adopt);
  } else if (h->stray) {
    visit_difference(L, f, object, number, h, false, known, look_for_stray);
  }
}

typedef void (*pass)(lua_State *L, flush *f, int object, int number, const history *h);

/* Whether note number `i` of `count` is the last one about its item. */
static bool last_note(lua_State *L, int notes, int item, int i, int count) {
  bool last = true;
  for (int later = i + 1; later <= count && last; later++) {
    lua_rawgeti(L, notes, later);
    lua_rawgeti(L, -1, 1);
    last = !lua_rawequal(L, -1, item);
    lua_pop(L, 2);
  }
  return last;
}

/* Items that the other side has put into an unloaded collection, and that are not saved along. */
static void warn_of_noted(lua_State *L, flush *f, int object, int number) {
  orr_instance *owner = lua_touserdata(L, object);
  orr_instance_getuser(L, owner, object, orr_user_backlog(owner->class, number));
  int notes = lua_gettop(L), count = lua_istable(L, notes) ? (int)orr_rawlen(L, notes) : 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, notes, i);
    lua_rawgeti(L, notes + 1, 2);
    lua_rawgeti(L, notes + 1, 1);
    if (lua_toboolean(L, notes + 2) && !is_mine(f, lua_touserdata(L, notes + 3)) &&
        last_note(L, notes, notes + 3, i, count))
      warn_not_in_session(L, owner, number, notes + 3);
    lua_settop(L, notes);
  }
}

/* Runs a pass over every relation of every object; objects that it brings in are passed as well. */
static void run_pass(lua_State *L, flush *f, pass what) {
  int top = lua_gettop(L);
  for (uint32_t n = 1; n <= f->count; n++) {
    orr_instance *object = push_object(L, f, n);
    const orr_class *class = object->class;
    bool nothing = what == loosen && object->state == ORR_PENDING; /* what has no row holds on to nothing */
    for (int r = 0; !nothing && r < class->relation_count; r++) {
      history h;
      if (class->relations[r].flags & ORR_RELATION_VIEWONLY)
        continue;
      if (push_history(L, object, top + 1, r, &h))
        what(L, f, top + 1, r, &h);
      else if (what == fasten && class->relations[r].flags & ORR_RELATION_LIST && object->flags & ORR_HAS_USER)
        warn_of_noted(L, f, top + 1, r);
      lua_settop(L, top + 1);
    }
    lua_settop(L, top);
  }
}

/* The list of changed objects may still hold some that were expired, or have left the session, since. */
static bool is_due(const flush *f, const orr_instance *object, orr_unit_kind kind) {
  if (!object || object->action)
    return false;
  if (kind != ORR_UNIT_UPDATE)
    return true;
  return is_mine(f, object) && object->state == ORR_PERSISTENT && object->flags & ORR_DIRTY;
}

static void enter_list(lua_State *L, flush *f, int list, uint32_t count, orr_unit_kind kind) {
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, list);
  int table = lua_gettop(L);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, table, (int)i);
    const orr_instance *object = lua_touserdata(L, -1);
    if (is_due(f, object, kind))
      enter(L, f, table + 1, kind);
    lua_settop(L, table);
  }
  lua_pop(L, 2);
}

/* Asks the script's generator, where the class has one; else counts on from the version at `value`. */
static void next_version(lua_State *L, const orr_class *class, orr_value *value, char *scratch) {
  orr_error error;
  if (!class->version_hook) {
    value->as.i = value->tag == ORR_INT ? value->as.i + 1 : 1;
    value->tag = ORR_INT;
    value->len = 0;
    return;
  }
  orr_push_hook(L, "version");
  orr_class_push(L, class);
  if (value->tag == ORR_NULL)
    lua_pushnil(L);
  else
    orr_type_push(L, &class->columns[class->version].type, value);
  lua_call(L, 2, 1);
  orr_error_clear(&error);
  if (orr_type_take(L, -1, &class->columns[class->version].type, value, scratch, &error) != 0)
    orr_attribute_error(L, class, class->version, error.kind, error.message);
}

/* Gives the object at `index` its next version; leaves the stack as it was. */
static void count_version(lua_State *L, flush *f, int index) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  orr_instance *object = lua_touserdata(L, index);
  int column = object->class->version, top = lua_gettop(L);
  orr_value value;
  orr_error error;
  char scratch[ORR_TYPE_SCRATCH];
  orr_instance_value(L, object, index, column, &value);
  note(L, f, object, index, column);
  if (orr_tags(object)[column] & ORR_CHANGED) {
    orr_instance_getuser(L, object, index, -(column + 1));
    if (orr_type_take(L, -1, &any, &value, scratch, &error) != 0)
      value.tag = ORR_NULL;
  }
  orr_instance_keep_old(L, object, index, column);
  unsigned changed = orr_tags(object)[column] & ORR_CHANGED;
  next_version(L, object->class, &value, scratch);
  orr_instance_put(L, object, index, column, &value);
  orr_tags(object)[column] |= (unsigned char)changed;
  lua_settop(L, top);
}

/* Gives new objects what they were not given: constants and functions of the script's. */
static void apply_defaults(lua_State *L, flush *f, uint32_t n) {
  orr_instance *object = push_object(L, f, n);
  int index = lua_gettop(L);
  for (int c = 0; c < object->class->column_count; c++) {
    if (!(object->class->columns[c].flags & ORR_COLUMN_DEFAULT) || !(orr_tags(object)[c] & ORR_UNLOADED))
      continue;
    orr_push_hook(L, "default");
    orr_class_push(L, object->class);
    lua_pushinteger(L, c + 1);
    lua_pushvalue(L, index);
    lua_call(L, 3, 1);
    note(L, f, object, index, c);
    orr_instance_assign(L, object, index, c, lua_gettop(L));
    lua_settop(L, index);
  }
  if (object->class->version >= 0 && orr_tags(object)[object->class->version] & ORR_UNLOADED)
    count_version(L, f, index);
  lua_pop(L, 1);
}

/* A new object whose key is that of a deleted one updates its row. Rows with a version are left to the database: it is
   the deleted object's version that would have to be checked. */
static void switch_row(lua_State *L, flush *f, uint32_t n, int weak) {
  int top = lua_gettop(L);
  orr_instance *object = push_object(L, f, n);
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  if (object->class->version < 0 && orr_instance_key(L, object, top + 1, false, values)) {
    size_t size = orr_key_size(values, object->class->key_count);
    char *bytes = size ? lua_newuserdata(L, size) : NULL;
    orr_key_make(&key, object->class->id, values, object->class->key_count, bytes);
    const orr_instance *former = orr_session_find(L, f->session, &key, weak);
    if (former && former->class == object->class && former->action &&
        f->entries[former->action - 1].kind == ORR_UNIT_DELETE) {
      f->entries[n - 1].switched = f->entries[n - 1].written = true;
      f->entries[former->action - 1].switched = true;
    }
  }
  lua_settop(L, top);
}

static void switch_rows(lua_State *L, flush *f) {
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == ORR_UNIT_INSERT)
      switch_row(L, f, n, lua_gettop(L));
  lua_pop(L, 2);
}

/* Order of updates: by class, then by primary key. */
typedef struct update_key {
  uint32_t object, group, sequence;
  int64_t number;
} update_key;

static int by_key(const void *left, const void *right) {
  const update_key *a = left, *b = right;
  if (a->group != b->group)
    return a->group < b->group ? -1 : 1;
  if (a->number != b->number)
    return a->number < b->number ? -1 : 1;
  return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

static void add_update_records(lua_State *L, flush *f) {
  size_t count = 0;
  update_key *keys = lua_newuserdata(L, (f->count + 1) * sizeof *keys);
  for (uint32_t n = 1; n <= f->count; n++) {
    orr_unit_kind kind = f->entries[n - 1].kind;
    if (kind != ORR_UNIT_UPDATE && !(kind == ORR_UNIT_INSERT && is_switched(f, n)))
      continue;
    orr_instance *object = push_object(L, f, n);
    orr_value values[ORR_MAX_KEY];
    bool keyed = object->class->key_count > 0 && orr_instance_key(L, object, lua_gettop(L), true, values);
    update_key key = {n, object->class->group, n, keyed && values[0].tag == ORR_INT ? values[0].as.i : 0};
    keys[count++] = key;
    lua_pop(L, 1);
  }
  qsort(keys, count, sizeof *keys, by_key);
  for (size_t i = 0; i < count; i++) {
    orr_instance *object = push_object(L, f, keys[i].object);
    add_record(L, f, ORR_UNIT_UPDATE, object->class, keys[i].object);
    f->record_count++;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void add_records(lua_State *L, flush *f, orr_unit_kind kind) {
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == kind && !is_switched(f, n)) {
      orr_instance *object = push_object(L, f, n);
      add_record(L, f, kind, object->class, n);
      f->record_count++;
      lua_pop(L, 1);
    }
}

static void plan_action(lua_State *L, flush *f, const record *r) {
  orr_error error;
  orr_error_clear(&error);
  uint32_t group = r->relation ? r->relation->group : r->class->group;
  if (orr_unit_add(&f->unit, group, r->kind, &error) < 0)
    raise_error(L, &error);
}

static void plan_link(lua_State *L, flush *f, uint32_t before, uint32_t after) {
  orr_error error;
  orr_error_clear(&error);
  if (orr_unit_link(&f->unit, before, after, &error) < 0)
    raise_error(L, &error);
}

/* Deleted objects of a cyclic group order by the foreign keys they have: through what their relations hold. */
static void plan_delete_links(lua_State *L, flush *f, uint32_t n, const uint32_t *actions) {
  int top = lua_gettop(L);
  orr_instance *object = push_object(L, f, n);
  const orr_class *class = object->class;
  for (int r = 0; class->world->cyclic[class->group] && r < class->relation_count; r++) {
    history h;
    const orr_relationship *relation = &class->relations[r];
    if (relation->direction != ORR_MANY_TO_MANY && push_history(L, object, top + 1, r, &h))
      for (uint32_t i = 1; i <= h.before_count; i++) {
        if (h.scalar)
          lua_pushvalue(L, h.before);
        else
          lua_rawgeti(L, h.before, (int)i);
        const orr_instance *other = lua_touserdata(L, -1);
        uint32_t m = other->action;
        lua_pop(L, 1);
        if (m && f->entries[m - 1].kind == ORR_UNIT_DELETE && !is_switched(f, m))
          plan_link(L, f, actions[relation->direction == ORR_MANY_TO_ONE ? m : n],
                    actions[relation->direction == ORR_MANY_TO_ONE ? n : m]);
      }
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}

static void plan(lua_State *L, flush *f) {
  orr_error error;
  const orr_world *world = f->session->world;
  uint32_t *actions = lua_newuserdata(L, (f->count + 1) * sizeof *actions);
  for (size_t i = 0; i < f->record_count; i++) {
    plan_action(L, f, &f->records[i]);
    if (!f->records[i].relation)
      actions[f->records[i].object] = (uint32_t)i;
  }
  for (size_t i = 0; i < f->sync_count; i++)
    plan_link(L, f, actions[f->syncs[i].from], actions[f->syncs[i].to]);
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == ORR_UNIT_DELETE && !is_switched(f, n))
      plan_delete_links(L, f, n, actions);
  orr_error_clear(&error);
  if (orr_unit_plan(&f->unit, world->ranks, world->cyclic, &error) != 0)
    raise_error(L, &error);
  lua_pop(L, 1);
}

/* Checks the handles and sets the stack indexes; the flush is at 1, its session at 2 afterwards. */
static flush *begin(lua_State *L, int arguments) {
  flush *f = orr_box_check(L, 1, &flush_kind);
  luaL_argcheck(L, f->session, 1, "open flush expected");
  lua_settop(L, arguments);
  orr_getuservalue(L, 1);
  f->me = f->objects = lua_gettop(L);
  luaL_checkstack(L, 60, "flush");
  return f;
}

/* core.collect(flush): what is to be written, and in which order. May call the script's default functions. */
static int collect(lua_State *L) {
  flush *f = begin(L, 1);
  lua_getfield(L, f->me, "session");
  lua_insert(L, 2);
  f->me = f->objects = 3;
  orr_session *session = f->session;
  enter_list(L, f, ORR_SESSION_DELETED, session->deleted_count, ORR_UNIT_DELETE);
  enter_list(L, f, ORR_SESSION_NEW, session->new_count, ORR_UNIT_INSERT);
  enter_list(L, f, ORR_SESSION_DIRTY, session->dirty_count, ORR_UNIT_UPDATE);
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == ORR_UNIT_INSERT)
      apply_defaults(L, f, n);
  if (session->deleted_count)
    switch_rows(L, f);
  run_pass(L, f, loosen);
  run_pass(L, f, fasten);
  add_update_records(L, f);
  add_records(L, f, ORR_UNIT_INSERT);
  add_records(L, f, ORR_UNIT_DELETE);
  plan(L, f);
  f->new_seen = session->new_count;
  f->dirty_seen = session->dirty_count;
  f->deleted_seen = session->deleted_count;
  return 0;
}

/* ---- writing ---- */

/* Pushes the statement that the provider has for a shape: provider(kind, class, relation number, shape, rows). */
static orr_statement *statement_for(lua_State *L, flush *f, const char *kind, const record *r, size_t shape,
                                    size_t rows) {
  size_t len;
  lua_pushvalue(L, f->provider);
  lua_pushstring(L, kind);
  orr_class_push(L, r->class);
  lua_pushinteger(L, r->relation ? r->class->column_count + r->relation_number + 1 : 0);
  lua_pushlstring(L, (const char *)f->shape, shape);
  lua_pushinteger(L, (lua_Integer)rows);
  lua_call(L, 5, 1);
  const char *sql = lua_tolstring(L, -1, &len);
  orr_statement *statement = orr_statement_push(L, f->connection, sql, len);
  lua_remove(L, -2);
  return statement;
}

static void push_value(lua_State *L, const orr_value *value) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  if (value->tag == ORR_NULL)
    lua_pushlightuserdata(L, NULL);
  else
    orr_type_push(L, &any, value);
}

static const record *record_at(const flush *f, const orr_unit_batch *batch, uint32_t i) {
  return &f->records[f->unit.order[batch->first + i]];
}

/* One execution of a statement: `fill` binds the values of rows first .. first + count - 1 of a batch. */
typedef struct binder binder;
struct binder {
  flush *f;
  orr_statement *statement;
  void (*fill)(lua_State *L, binder *b);
  const orr_unit_batch *batch;
  uint32_t first, count;
  int next;   /* parameter */
  int params; /* index of a table that gets the values too, 0: nobody looks */
};

static void bind(lua_State *L, binder *b, const orr_value *value) {
  orr_error error;
  orr_error_clear(&error);
  if (b->statement->driver->bind(b->statement->handle, b->next, value, false, &error) != 0) {
    orr_statement_error(L, b->statement, &error);
    lua_error(L);
  }
  if (b->params) {
    push_value(L, value);
    lua_rawseti(L, b->params, b->next);
  }
  b->next++;
}

static void bind_column(lua_State *L, binder *b, orr_instance *object, int index, int column) {
  orr_value value;
  orr_instance_value(L, object, index, column, &value);
  bind(L, b, &value);
}

static void bind_key(lua_State *L, binder *b, orr_instance *object, int index) {
  orr_value values[ORR_MAX_KEY];
  if (!orr_instance_key(L, object, index, true, values))
    orr_attribute_error(L, object->class, object->class->keys[0], "FlushError",
                        "this object has no primary key to find its row by");
  for (int k = 0; k < object->class->key_count; k++)
    bind(L, b, &values[k]);
}

static void fill(lua_State *L, binder *b) {
  b->next = 1;
  b->fill(L, b);
}

/* Fills once more into a fresh table, left on the stack. */
static void push_params(lua_State *L, binder *b) {
  lua_newtable(L);
  b->params = lua_gettop(L);
  fill(L, b);
  b->params = 0;
}

/* Steps once: true where a row comes back. A failing statement is raised with its parameters. */
static bool step(lua_State *L, binder *b) {
  orr_error error;
  orr_error_clear(&error);
  int code = b->statement->driver->step(b->statement->handle, &error);
  if (code >= 0)
    return code == ORR_STEP_ROW;
  b->statement->driver->reset(b->statement->handle);
  b->f->culprit = record_at(b->f, b->batch, b->first)->object;
  b->f->culprits = b->count;
  orr_statement_error(L, b->statement, &error);
  push_params(L, b);
  b->statement->driver->reset(b->statement->handle);
  lua_setfield(L, -2, "params");
  return lua_error(L);
}

static void finish(binder *b) { b->statement->driver->reset(b->statement->handle); }

static int64_t changes(lua_State *L, flush *f) {
  orr_connection *connection = orr_connection_check(L, f->connection);
  return orr_connection_driver(connection)->changes(orr_connection_db(connection));
}

/* What follows would stand outside the transaction where a listener has ended that. */
static void check_transaction(lua_State *L, flush *f) {
  orr_connection *connection = orr_connection_check(L, f->connection);
  if (!orr_connection_driver(connection)->in_transaction(orr_connection_db(connection)))
    orr_raisef(L, "InvalidRequestError",
               "session:flush(): its transaction was ended by a function that listens to it");
}

/* trace(phase, sql, params, many, rows), where somebody listens; the params are on top and stay. */
static void call_trace(lua_State *L, const binder *b, const char *phase, bool many, size_t rows) {
  int params = lua_gettop(L);
  lua_pushvalue(L, b->f->trace);
  lua_pushstring(L, phase);
  orr_statement_sql(L, b->statement);
  lua_pushvalue(L, params);
  lua_pushboolean(L, many);
  lua_pushinteger(L, (lua_Integer)rows);
  lua_call(L, 5, 0);
  check_transaction(L, b->f);
}

/* Tells who listens of one execution. */
static void announce(lua_State *L, binder *b, const char *phase) {
  if (lua_isnil(L, b->f->trace))
    return;
  push_params(L, b);
  call_trace(L, b, phase, false, b->count);
  lua_pop(L, 1);
}

/* Tells who listens of `rows` executions of one statement, the sets of whose values `each` goes through. */
static void announce_run(lua_State *L, binder *b, const char *phase, bool (*takes)(const binder *, uint32_t),
                         uint32_t rows) {
  if (lua_isnil(L, b->f->trace))
    return;
  int sets = 0;
  lua_newtable(L);
  for (uint32_t i = 0; i < rows; i++) {
    b->first += i;
    if (takes(b, b->first)) {
      push_params(L, b);
      lua_rawseti(L, -2, ++sets);
    }
    b->first -= i;
  }
  if (sets == 1)
    lua_rawgeti(L, -1, 1);
  call_trace(L, b, phase, sets > 1, (size_t)sets);
  lua_pop(L, sets == 1 ? 2 : 1);
}

/* ---- inserts ---- */

/* Foreign keys of parents that have got their keys by now. */
static void apply_syncs(lua_State *L, flush *f, uint32_t n, int index) {
  for (uint32_t s = f->entries[n - 1].first_sync; s; s = f->syncs[s - 1].next) {
    const pending_sync *sync = &f->syncs[s - 1];
    push_object(L, f, sync->from);
    copy_key(L, f, lua_gettop(L), index, sync->relation, sync->from_far);
    lua_pop(L, 1);
  }
}

/* Whether a parent waits for its key still: then the row cannot go into the same statement. */
static bool must_wait(const flush *f, uint32_t n) {
  for (uint32_t s = f->entries[n - 1].first_sync; s; s = f->syncs[s - 1].next) {
    const entry *parent = &f->entries[f->syncs[s - 1].from - 1];
    if (parent->kind == ORR_UNIT_INSERT && !parent->written)
      return true;
  }
  return false;
}

/* Whether a parent gets its key from a statement that is yet to run: the object cannot be part of that one. */
static bool waits_for_key(lua_State *L, flush *f, uint32_t n) {
  bool waits = false;
  for (uint32_t s = f->entries[n - 1].first_sync; s && !waits; s = f->syncs[s - 1].next) {
    const pending_sync *sync = &f->syncs[s - 1];
    orr_instance *parent = push_object(L, f, sync->from);
    for (int p = 0; p < sync->relation->pair_count && !waits; p++) {
      const orr_pair *pair = &sync->relation->pairs[p];
      waits = (orr_tags(parent)[sync->from_far ? pair->far : pair->near] & ORR_TAG) == ORR_NULL;
    }
    lua_pop(L, 1);
  }
  return waits;
}

enum { LEFT_OUT = '0', WRITTEN = '1', RETURNED = '2' };

static unsigned char insert_shape_of(lua_State *L, const orr_instance *object, int column) {
  unsigned flags = object->class->columns[column].flags;
  unsigned tag = orr_tags((orr_instance *)object)[column];
  bool given = !(tag & ORR_UNLOADED), null = (tag & ORR_TAG) == ORR_NULL;
  if (flags & ORR_COLUMN_AUTOKEY)
    return given && !null ? WRITTEN : LEFT_OUT;
  if (flags & ORR_COLUMN_SERVER_DEFAULT && !given)
    return RETURNED;
  if (flags & ORR_COLUMN_KEY && null)
    orr_attribute_error(L, object->class, column, "FlushError",
                        "the primary key has no value, and the database does not make one for this column");
  return WRITTEN;
}

static void insert_shape(lua_State *L, const orr_instance *object, unsigned char *shape) {
  for (int c = 0; c < object->class->column_count; c++)
    shape[c] = insert_shape_of(L, object, c);
}

/* The column whose value the database makes on insert, or -1. */
static int made_key(const orr_class *class, const unsigned char *shape) {
  for (int k = 0; k < class->key_count; k++)
    if (shape[class->keys[k]] == LEFT_OUT)
      return class->keys[k];
  return -1;
}

static void store_made_keys(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count,
                            int column) {
  orr_connection *connection = orr_connection_check(L, f->connection);
  const orr_driver *driver = orr_connection_driver(connection);
  int64_t last = driver->last_insert_id(orr_connection_db(connection));
  for (uint32_t i = 0; i < count; i++) {
    orr_instance *object = push_object(L, f, record_at(f, batch, first + i)->object);
    orr_value value = {ORR_INT, 0, {last - (int64_t)(count - 1 - i)}};
    note(L, f, object, lua_gettop(L), column);
    orr_instance_put(L, object, lua_gettop(L), column, &value);
    lua_pop(L, 1);
  }
}

static void store_returned(lua_State *L, binder *b, uint32_t n) {
  int at = 0;
  flush *f = b->f;
  orr_instance *object = push_object(L, f, n);
  b->statement->driver->row(b->statement->handle, f->values, b->statement->columns);
  for (int c = 0; c < object->class->column_count; c++)
    if (f->shape[c] == RETURNED) {
      note(L, f, object, lua_gettop(L), c);
      orr_instance_put(L, object, lua_gettop(L), c, &f->values[at++]);
    }
  lua_pop(L, 1);
}

static void check_inserted(lua_State *L, flush *f, const orr_class *class, uint32_t count) {
  int64_t got = changes(L, f);
  if (got == (int64_t)count)
    return;
  orr_class_pushname(L, class);
  orr_raisef(L, "FlushError", "%s: %d row(s) were to be inserted, the database reports %d", lua_tostring(L, -1),
             (int)count, (int)got);
}

static void fill_insert(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    orr_instance *object = push_object(L, b->f, record_at(b->f, b->batch, b->first + i)->object);
    for (int c = 0; c < object->class->column_count; c++)
      if (b->f->shape[c] == WRITTEN)
        bind_column(L, b, object, lua_gettop(L), c);
    lua_pop(L, 1);
  }
}

/* Inserts `count` neighbours of one shape with one statement. */
static void insert_rows(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count) {
  const record *r = record_at(f, batch, first);
  int top = lua_gettop(L), key = made_key(r->class, f->shape);
  orr_statement *statement = statement_for(L, f, "insert", r, (size_t)r->class->column_count, count);
  binder b = {f, statement, fill_insert, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  if (step(L, &b)) {
    store_returned(L, &b, r->object);
    while (step(L, &b))
      ;
  }
  finish(&b);
  check_inserted(L, f, r->class, count);
  if (key >= 0)
    store_made_keys(L, f, batch, first, count, key);
  for (uint32_t i = 0; i < count; i++)
    f->entries[record_at(f, batch, first + i)->object - 1].written = true;
  announce(L, &b, "after");
  lua_settop(L, top);
}

/* How many rows one statement may take: provider("batch", class, 0, shape) -> rows. */
static uint32_t batch_limit(lua_State *L, flush *f, const record *r) {
  lua_pushvalue(L, f->provider);
  lua_pushliteral(L, "batch");
  orr_class_push(L, r->class);
  lua_pushinteger(L, 0);
  lua_pushlstring(L, (const char *)f->shape, (size_t)r->class->column_count);
  lua_pushinteger(L, BATCH_ROWS);
  lua_call(L, 5, 1);
  uint32_t limit = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return limit ? limit : 1;
}

static void write_inserts(lua_State *L, flush *f, const orr_unit_batch *batch) {
  uint32_t i = 0;
  while (i < batch->count) {
    const record *r = record_at(f, batch, i);
    size_t columns = (size_t)r->class->column_count;
    int top = lua_gettop(L);
    unsigned char *shape = lua_newuserdata(L, 2 * columns + 1), *next = shape + columns;
    f->values = lua_newuserdata(L, (columns + 1) * sizeof *f->values);
    uint32_t run = 0, limit = 0;
    for (; i + run < batch->count && (run == 0 || run < limit); run++) {
      const record *other = record_at(f, batch, i + run);
      if (other->class != r->class || (run && must_wait(f, other->object)))
        break;
      orr_instance *object = push_object(L, f, other->object);
      apply_syncs(L, f, other->object, lua_gettop(L));
      insert_shape(L, object, run ? next : shape);
      lua_settop(L, top + 2);
      if (run && memcmp(shape, next, columns) != 0)
        break;
      f->shape = shape;
      if (!run)
        limit = i + 1 < batch->count ? batch_limit(L, f, r) : 1;
    }
    insert_rows(L, f, batch, i, run);
    lua_settop(L, top);
    i += run;
  }
}

/* ---- updates ---- */

/* The row of a deleted object becomes that of a new one: every column is written. */
static bool switched_shape(orr_instance *object, unsigned char *shape) {
  bool writes = false;
  for (int c = 0; c < object->class->column_count; c++) {
    unsigned flags = object->class->columns[c].flags;
    bool made = flags & ORR_COLUMN_SERVER_DEFAULT && orr_tags(object)[c] & ORR_UNLOADED;
    shape[c] = flags & ORR_COLUMN_KEY || made ? LEFT_OUT : WRITTEN;
    writes = writes || shape[c] == WRITTEN;
  }
  return writes;
}

/* Columns whose value is another than the one in the database. */
static bool update_shape(lua_State *L, orr_instance *object, int index, unsigned char *shape) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  bool writes = false;
  for (int c = 0; c < object->class->column_count; c++) {
    shape[c] = LEFT_OUT;
    if (!(orr_tags(object)[c] & ORR_CHANGED))
      continue;
    orr_value now, before;
    orr_error error;
    char scratch[ORR_TYPE_SCRATCH];
    orr_instance_value(L, object, index, c, &now);
    orr_instance_getuser(L, object, index, -(c + 1));
    bool known = !lua_isboolean(L, -1) && orr_type_take(L, -1, &any, &before, scratch, &error) == 0;
    bool text = known && before.tag == ORR_TEXT && now.tag == ORR_BLOB;
    if (text)
      before.tag = ORR_BLOB;
    if (!known || !orr_value_same(&now, &before))
      shape[c] = WRITTEN, writes = true;
    lua_pop(L, 1);
  }
  return writes;
}

static void stale(lua_State *L, const char *kind, const orr_class *class, int64_t matched) {
  orr_push_hook(L, "stale");
  lua_pushstring(L, kind);
  orr_class_push(L, class);
  lua_pushinteger(L, 1);
  lua_pushinteger(L, (lua_Integer)matched);
  lua_call(L, 4, 0);
}

/* What is to be written of object `n`, which is at `index`; a versioned row that changes gets its next version. */
static bool plan_update(lua_State *L, flush *f, uint32_t n, int index, unsigned char *shape) {
  orr_instance *object = lua_touserdata(L, index);
  if (is_switched(f, n))
    return switched_shape(object, shape);
  bool writes = update_shape(L, object, index, shape);
  int version = object->class->version;
  if (version < 0)
    return writes;
  if (writes && !f->entries[n - 1].counted) {
    count_version(L, f, index);
    f->entries[n - 1].counted = true;
  }
  shape[version] = writes ? WRITTEN : LEFT_OUT;
  return writes;
}

/* The version that the row must still have. */
static void bind_version(lua_State *L, binder *b, orr_instance *object, int index) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  int version = object->class->version;
  orr_value value;
  orr_error error;
  char scratch[ORR_TYPE_SCRATCH];
  orr_instance_value(L, object, index, version, &value);
  if (orr_tags(object)[version] & ORR_CHANGED) {
    orr_instance_getuser(L, object, index, -(version + 1));
    if (orr_type_take(L, -1, &any, &value, scratch, &error) != 0)
      value.tag = ORR_NULL;
    bind(L, b, &value);
    lua_pop(L, 1);
  } else {
    bind(L, b, &value);
  }
}

static void fill_update(lua_State *L, binder *b) {
  orr_instance *object = push_object(L, b->f, record_at(b->f, b->batch, b->first)->object);
  for (int c = 0; c < object->class->column_count; c++)
    if (b->f->shape[c] == WRITTEN)
      bind_column(L, b, object, lua_gettop(L), c);
  bind_key(L, b, object, lua_gettop(L));
  if (object->class->version >= 0)
    bind_version(L, b, object, lua_gettop(L));
  lua_pop(L, 1);
}

static bool has_update(const binder *b, uint32_t i) {
  return b->f->entries[record_at(b->f, b->batch, i)->object - 1].writes;
}

static void write_update_run(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count) {
  const record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "update", r, (size_t)r->class->column_count, 1);
  binder b = {f, statement, fill_update, batch, first, 1, 1, 0};
  announce_run(L, &b, "before", has_update, count);
  for (; b.first < first + count; b.first++) {
    if (!has_update(&b, b.first))
      continue;
    fill(L, &b);
    step(L, &b);
    finish(&b);
    int64_t matched = changes(L, f);
    if (matched != 1)
      stale(L, "UPDATE", r->class, matched);
  }
  b.first = first;
  announce_run(L, &b, "after", has_update, count);
  lua_settop(L, top);
}

static void write_updates(lua_State *L, flush *f, const orr_unit_batch *batch) {
  uint32_t i = 0;
  while (i < batch->count) {
    const record *r = record_at(f, batch, i);
    size_t columns = (size_t)r->class->column_count;
    int top = lua_gettop(L);
    unsigned char *shape = lua_newuserdata(L, 2 * columns + 1), *next = shape + columns;
    uint32_t run = 0;
    bool any = false;
    for (; i + run < batch->count; run++) {
      const record *other = record_at(f, batch, i + run);
      if (other->class != r->class || (run && waits_for_key(L, f, other->object)))
        break;
      push_object(L, f, other->object);
      apply_syncs(L, f, other->object, top + 2);
      bool writes = plan_update(L, f, other->object, top + 2, any ? next : shape);
      lua_settop(L, top + 1);
      if (writes && any && memcmp(shape, next, columns) != 0)
        break;
      f->entries[other->object - 1].writes = writes;
      any = any || writes;
    }
    f->shape = shape;
    if (any)
      write_update_run(L, f, batch, i, run);
    lua_settop(L, top);
    i += run;
  }
}

/* ---- deletes ---- */

static void fill_delete(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    orr_instance *object = push_object(L, b->f, record_at(b->f, b->batch, b->first + i)->object);
    bind_key(L, b, object, lua_gettop(L));
    if (object->class->version >= 0)
      bind_version(L, b, object, lua_gettop(L));
    lua_pop(L, 1);
  }
}

static void delete_rows(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count) {
  const record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "delete", r, 0, count);
  binder b = {f, statement, fill_delete, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  int64_t matched = changes(L, f);
  announce(L, &b, "after");
  if (matched != (int64_t)count && r->class->version >= 0)
    stale(L, "DELETE", r->class, matched);
  if (matched != (int64_t)count) {
    orr_push_hook(L, "delete_missed");
    orr_class_push(L, r->class);
    lua_pushinteger(L, (lua_Integer)count);
    lua_pushinteger(L, (lua_Integer)matched);
    lua_call(L, 3, 0);
  }
  lua_settop(L, top);
}

static void write_deletes(lua_State *L, flush *f, const orr_unit_batch *batch) {
  f->shape = (unsigned char *)"";
  uint32_t i = 0;
  while (i < batch->count) {
    const record *r = record_at(f, batch, i);
    uint32_t most = r->class->key_count == 1 && r->class->version < 0 ? BATCH_ROWS : 1, run = 1;
    while (run < most && i + run < batch->count && record_at(f, batch, i + run)->class == r->class)
      run++;
    delete_rows(L, f, batch, i, run);
    i += run;
  }
}

/* ---- link rows ---- */

static void bind_link_end(lua_State *L, binder *b, uint32_t n, const orr_pair *pairs, int count) {
  orr_instance *object = push_object(L, b->f, n);
  for (int p = 0; p < count; p++)
    bind_column(L, b, object, lua_gettop(L), pairs[p].near);
  lua_pop(L, 1);
}

/* The columns of each link row: the class's, then the target's. */
static void fill_link(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    const record *r = record_at(b->f, b->batch, b->first + i);
    const orr_relationship *relation = r->relation;
    bind_link_end(L, b, r->object, relation->pairs, relation->pair_count);
    bind_link_end(L, b, r->other, relation->pairs + relation->pair_count, relation->target_count);
  }
}

static void insert_links(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count) {
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "link", record_at(f, batch, first), 0, count);
  binder b = {f, statement, fill_link, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  announce(L, &b, "after");
  lua_settop(L, top);
}

static uint32_t link_run(const flush *f, const orr_unit_batch *batch, uint32_t i, uint32_t most) {
  const record *r = record_at(f, batch, i);
  uint32_t run = 1;
  while (run < most && i + run < batch->count && record_at(f, batch, i + run)->relation == r->relation)
    run++;
  return run;
}

static void write_link_inserts(lua_State *L, flush *f, const orr_unit_batch *batch) {
  f->shape = (unsigned char *)"";
  for (uint32_t i = 0; i < batch->count;) {
    uint32_t run = link_run(f, batch, i, BATCH_ROWS);
    insert_links(L, f, batch, i, run);
    i += run;
  }
}

static bool has_link(const binder *b, uint32_t i) {
  (void)b;
  (void)i;
  return true;
}

static void stale_link(lua_State *L, const record *r, int64_t matched) {
  orr_push_hook(L, "stale_link");
  orr_class_push(L, r->class);
  lua_pushinteger(L, r->class->column_count + r->relation_number + 1);
  lua_pushinteger(L, (lua_Integer)matched);
  lua_call(L, 3, 0);
}

/* Each row by itself: a link that is gone, or stands there twice, must not go unnoticed. */
static void delete_links(lua_State *L, flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t count) {
  const record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "unlink", r, 0, 1);
  binder b = {f, statement, fill_link, batch, first, 1, 1, 0};
  announce_run(L, &b, "before", has_link, count);
  for (; b.first < first + count; b.first++) {
    fill(L, &b);
    step(L, &b);
    finish(&b);
    int64_t matched = changes(L, f);
    if (matched != 1)
      stale_link(L, r, matched);
  }
  b.first = first;
  announce_run(L, &b, "after", has_link, count);
  lua_settop(L, top);
}

static void write_link_deletes(lua_State *L, flush *f, const orr_unit_batch *batch) {
  f->shape = (unsigned char *)"";
  for (uint32_t i = 0; i < batch->count;) {
    uint32_t run = link_run(f, batch, i, UINT32_MAX);
    delete_links(L, f, batch, i, run);
    i += run;
  }
}

static void write_batch(lua_State *L, flush *f, size_t i) {
  static void (*const writers[])(lua_State *, flush *, const orr_unit_batch *) = {
      write_updates, write_inserts, write_link_deletes, write_link_inserts, write_deletes};
  writers[f->unit.batches[i].kind](L, f, &f->unit.batches[i]);
}

/* Deletes of each table before its inserts. */
static void write_deletes_early(lua_State *L, flush *f) {
  size_t count = f->unit.batch_count;
  bool *done = lua_newuserdata(L, (count + 1) * sizeof *done);
  memset(done, 0, (count + 1) * sizeof *done);
  for (size_t i = 0; i < count; i++) {
    const orr_unit_batch *batch = &f->unit.batches[i];
    for (size_t later = i + 1; batch->kind == ORR_UNIT_INSERT && later < count; later++)
      if (!done[later] && f->unit.batches[later].kind == ORR_UNIT_DELETE && f->unit.batches[later].group == batch->group) {
        done[later] = true;
        write_batch(L, f, later);
      }
    if (!done[i])
      write_batch(L, f, i);
  }
  lua_pop(L, 1);
}

/* core.run(flush, connection, provider, trace or nil [, early]) writes everything, in order; `early`: with the deletes of
   each table before its inserts, which takes foreign keys that are checked later. */
static int run(lua_State *L) {
  bool early = lua_toboolean(L, 5);
  flush *f = begin(L, 4);
  f->connection = 2;
  f->provider = 3;
  f->trace = 4;
  check_transaction(L, f);
  if (early)
    write_deletes_early(L, f);
  else
    for (size_t i = 0; i < f->unit.batch_count; i++)
      write_batch(L, f, i);
  return 0;
}

/* ---- afterwards ---- */

/* Another object under this key can only be one whose row is gone: it leaves the session. */
static void enter_identity(lua_State *L, flush *f, orr_instance *object, int index, int weak) {
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  if (!orr_instance_key(L, object, index, false, values))
    orr_attribute_error(L, object->class, object->class->keys[0], "FlushError", "the primary key has no value after insert");
  size_t size = orr_key_size(values, object->class->key_count);
  char *bytes = size ? lua_newuserdata(L, size) : NULL;
  orr_key_make(&key, object->class->id, values, object->class->key_count, bytes);
  orr_instance *former = orr_session_find(L, f->session, &key, weak);
  if (former && former != object)
    former->session = 0;
  orr_session_enter(L, f->session, object, index, &key, weak);
  lua_settop(L, index);
}

/* What was not given is NULL in the database now, unless the database made something of it. */
static void complete(orr_instance *object) {
  unsigned char *tags = orr_tags(object);
  for (int c = 0; c < object->class->column_count; c++)
    if (tags[c] & ORR_UNLOADED && !(object->class->columns[c].flags & ORR_COLUMN_SERVER_DEFAULT))
      tags[c] = ORR_NULL;
}

static void end_insert(lua_State *L, flush *f, orr_instance *object, int index, int user, int weak) {
  complete(object);
  enter_identity(L, f, object, index, weak);
  object->epoch = f->session->epoch;
  orr_instance_settle(L, object, index);
  lua_rawgeti(L, user, ORR_SESSION_INSERTED);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (int)++f->session->inserted_count);
  lua_pop(L, 1);
}

static bool key_changed(const orr_instance *object) {
  const orr_class *class = object->class;
  for (int k = 0; k < class->key_count; k++)
    if (orr_tags((orr_instance *)object)[class->keys[k]] & ORR_CHANGED)
      return true;
  return false;
}

/* Remembers for a rollback the key that the object at `index` had. */
static void note_key(lua_State *L, flush *f, orr_instance *object, int index, int user) {
  orr_value values[ORR_MAX_KEY];
  if (!orr_instance_key(L, object, index, true, values))
    return;
  lua_rawgeti(L, user, ORR_SESSION_REKEYED);
  lua_createtable(L, object->class->key_count + 1, 0);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, 1);
  for (int k = 0; k < object->class->key_count; k++) {
    push_value(L, &values[k]);
    lua_rawseti(L, -2, k + 2);
  }
  lua_rawseti(L, -2, (int)++f->session->rekeyed_count);
  lua_pop(L, 1);
}

/* The child at `item` shows the parent's new key, as the database does by ON UPDATE CASCADE. */
static void carry_key(lua_State *L, flush *f, int parent, int item, const orr_relationship *relation, int user, int weak) {
  orr_instance *child = lua_touserdata(L, item), *object = lua_touserdata(L, parent);
  bool keyed = false;
  if (!is_mine(f, child) || child->state != ORR_PERSISTENT || child->epoch != f->session->epoch)
    return;
  for (int p = 0; p < relation->pair_count; p++)
    keyed = keyed || child->class->columns[relation->pairs[p].far].flags & ORR_COLUMN_KEY;
  if (keyed) {
    note_key(L, f, child, item, user);
    orr_session_leave(L, f->session, child, weak);
  }
  for (int p = 0; p < relation->pair_count; p++) {
    const orr_pair *pair = &relation->pairs[p];
    orr_value value;
    if (orr_tags(child)[pair->far] & ORR_CHANGED)
      continue;
    orr_instance_value(L, object, parent, pair->near, &value);
    orr_instance_put(L, child, item, pair->far, &value);
  }
  if (keyed)
    enter_identity(L, f, child, item, weak);
}

/* Tells the loaded children of an object of its changed key. */
static void carry_keys(lua_State *L, flush *f, orr_instance *object, int index, int user, int weak) {
  for (int r = 0; r < object->class->relation_count; r++) {
    history h;
    const orr_relationship *relation = &object->class->relations[r];
    if (key_moved(object, relation) && push_history(L, object, index, r, &h))
      for (uint32_t i = 1; i <= h.now_count; i++) {
        int top = lua_gettop(L);
        lua_rawgeti(L, h.now, (int)i);
        carry_key(L, f, index, top + 1, relation, user, weak);
        lua_settop(L, top);
      }
    lua_settop(L, index);
  }
}

static void end_update(lua_State *L, flush *f, orr_instance *object, int index, int user, int weak) {
  if (object->flags & ORR_HAS_OLD)
    carry_keys(L, f, object, index, user, weak);
  if (key_changed(object))
    enter_identity(L, f, object, index, weak);
  orr_instance_settle(L, object, index);
}

static void end_delete(lua_State *L, flush *f, orr_instance *object, int index, int user, int weak) {
  orr_session_leave(L, f->session, object, weak);
  object->state = ORR_DELETED;
  lua_rawgeti(L, user, ORR_SESSION_REMOVED);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (int)++f->session->removed_count);
  lua_pop(L, 1);
}

/* A list without what this flush has written; what hooks have added meanwhile stays for the next one. */
static void fresh_list(lua_State *L, int user, int field, uint32_t *count, uint32_t seen) {
  uint32_t kept = 0, most = *count == seen ? 0 : *count;
  lua_rawgeti(L, user, field);
  lua_newtable(L);
  for (uint32_t i = 1; i <= most; i++) {
    lua_rawgeti(L, -2, (int)i);
    orr_instance *object = lua_touserdata(L, -1);
    if (!object || object->action) {
      lua_pop(L, 1);
      continue;
    }
    lua_rawseti(L, -2, (int)++kept);
    if (object->state == ORR_PENDING)
      object->slot = kept;
  }
  lua_rawseti(L, user, field);
  lua_pop(L, 1);
  *count = kept;
}

/* core.done(flush): the rows are written; the objects become what they are. */
static int done(lua_State *L) {
  flush *f = begin(L, 1);
  lua_getfield(L, f->me, "session");
  orr_getuservalue(L, -1);
  int user = lua_gettop(L);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int weak = user + 1, index = user + 2;
  fresh_list(L, user, ORR_SESSION_NEW, &f->session->new_count, f->new_seen);
  fresh_list(L, user, ORR_SESSION_DIRTY, &f->session->dirty_count, f->dirty_seen);
  fresh_list(L, user, ORR_SESSION_DELETED, &f->session->deleted_count, f->deleted_seen);
  for (uint32_t n = (uint32_t)f->count; n >= 1; n--) {
    orr_instance *object = push_object(L, f, n);
    orr_unit_kind kind = f->entries[n - 1].kind;
    if (kind == ORR_UNIT_DELETE) {
      end_delete(L, f, object, index, user, weak);
    } else if (kind == ORR_UNIT_UPDATE && key_changed(object)) {
      note_key(L, f, object, index, user);
      orr_session_leave(L, f->session, object, weak);
    }
    lua_settop(L, weak);
  }
  for (uint32_t n = 1; n <= f->count; n++) {
    orr_instance *object = push_object(L, f, n);
    orr_unit_kind kind = f->entries[n - 1].kind;
    if (kind == ORR_UNIT_INSERT)
      end_insert(L, f, object, index, user, weak);
    else if (kind == ORR_UNIT_UPDATE)
      end_update(L, f, object, index, user, weak);
    object->action = 0;
    object->flags &= (uint16_t)~(ORR_DIRTY | ORR_DELETING);
    lua_settop(L, weak);
  }
  close_flush(f);
  return 0;
}

static void undo_column(lua_State *L, flush *f, const undo_entry *undo) {
  orr_instance *object = push_object(L, f, undo->object);
  int index = lua_gettop(L);
  bool was_changed = undo->tag & ORR_CHANGED;
  if (!was_changed && orr_tags(object)[undo->column] & ORR_CHANGED) {
    lua_pushnil(L);
    orr_instance_setuser(L, object, index, -(undo->column + 1));
  }
  if (undo->text) {
    lua_getfield(L, f->me, "texts");
    lua_rawgeti(L, -1, undo->text);
    orr_instance_setuser(L, object, index, undo->column + 1);
  }
  orr_tags(object)[undo->column] = undo->tag;
  orr_cells(object)[undo->column] = undo->cell;
  lua_settop(L, index - 1);
}

/* core.undo(flush): nothing was written after all; the objects are as they were before it. */
static int undo(lua_State *L) {
  flush *f = begin(L, 1);
  while (f->undo_count > 0)
    undo_column(L, f, &f->undos[--f->undo_count]);
  for (uint32_t n = 1; n <= f->count; n++) {
    push_object(L, f, n)->action = 0;
    lua_pop(L, 1);
  }
  close_flush(f);
  return 0;
}

/* core.flush_cycle(flush) -> array of the objects that a CircularDependencyError is about */
static int cycle(lua_State *L) {
  flush *f = begin(L, 1);
  lua_newtable(L);
  for (size_t i = 0; i < f->unit.cycle_count; i++) {
    push_object(L, f, f->records[f->unit.cycle[i]].object);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* core.planned(flush) -> { object, "insert" | "update" | "delete", ... } in the order in which rows are written */
static int planned(lua_State *L) {
  static const char *const names[] = {"update", "insert", NULL, NULL, "delete"};
  flush *f = begin(L, 1);
  lua_newtable(L);
  for (size_t i = 0, n = 0; i < f->record_count; i++) {
    const record *r = &f->records[f->unit.order[i]];
    if (r->relation)
      continue;
    push_object(L, f, r->object);
    lua_rawseti(L, -2, (int)++n);
    lua_pushstring(L, names[r->kind]);
    lua_rawseti(L, -2, (int)++n);
  }
  return 1;
}

/* core.culprit(flush) -> the first object of the statement that failed and how many it was about, or nothing */
static int culprit(lua_State *L) {
  flush *f = begin(L, 1);
  if (!f->culprit)
    return 0;
  push_object(L, f, f->culprit);
  lua_pushinteger(L, (lua_Integer)f->culprits);
  return 2;
}

void orr_flush_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"flush", new_flush}, {"collect", collect}, {"run", run},     {"done", done},
                                       {"undo", undo},       {"flush_cycle", cycle},
                                       {"planned", planned}, {"culprit", culprit},   {NULL, NULL}};
  orr_box_define(L, &flush_kind, NULL, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
