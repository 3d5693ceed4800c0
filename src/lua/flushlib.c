/* flushlib: one flush as a handle: the objects that take part and how their columns change with a way back;
   and, once all is written or nothing is, how objects and session agree with the database again. */
#include <string.h>

#include "flush.h"

static void free_keys(orr_flush *f) {
  for (size_t i = 0; i < f->key_count; i++)
    orr_alloc_free(&f->alloc, f->keys[i].bytes, f->keys[i].size, 1);
  orr_alloc_free(&f->alloc, f->keys, f->key_count, sizeof *f->keys);
  f->keys = NULL;
  f->key_count = 0;
}

static void close_flush(void *block) {
  orr_flush *f = block;
  if (!f->session)
    return;
  orr_unit_clear(&f->unit);
  orr_alloc_free(&f->alloc, f->entries, f->entry_room, sizeof *f->entries);
  orr_alloc_free(&f->alloc, f->records, f->record_room, sizeof *f->records);
  orr_alloc_free(&f->alloc, f->syncs, f->sync_room, sizeof *f->syncs);
  orr_alloc_free(&f->alloc, f->undos, f->undo_room, sizeof *f->undos);
  orr_alloc_free(&f->alloc, f->links, f->link_room, sizeof *f->links);
  orr_alloc_free(&f->alloc, f->posts, f->post_room, sizeof *f->posts);
  orr_alloc_free(&f->alloc, f->orphans, f->orphan_room, sizeof *f->orphans);
  free_keys(f);
  orr_alloc_free(&f->alloc, f->handovers, f->handover_room, sizeof *f->handovers);
  memset(f, 0, sizeof *f);
}

static const orr_box_kind flush_kind = {"flush", close_flush};

void *orr_flush_grow(lua_State *L, orr_flush *f, void *block, size_t *room, size_t need, size_t size) {
  void *grown = orr_alloc_grow(&f->alloc, block, room, need, size);
  if (!grown)
    luaL_error(L, "not enough memory");
  return grown;
}

/* core.flush(session) -> handle */
static int new_flush(lua_State *L) {
  orr_session *session = orr_box_check(L, 1, &orr_session_kind);
  orr_flush *f = orr_box_new(L, &flush_kind, sizeof *f);
  lua_createtable(L, (int)(session->new_count + session->dirty_count + session->deleted_count), 2);
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

int64_t orr_flush_key_number(lua_State *L, orr_instance *object, int index) {
  orr_value values[ORR_MAX_KEY];
  if (orr_flush_plain_key(object, values))
    return values[0].as.i;
  bool keyed = object->class->key_count > 0 && orr_instance_key(L, object, index, true, values);
  return keyed && values[0].tag == ORR_INT ? values[0].as.i : 0;
}

/* Whether updates come in order: by table, then by primary key. */
static void note_order(lua_State *L, orr_flush *f, orr_instance *object, int index) {
  uint32_t group = object->class->group;
  int64_t number = f->unordered ? 0 : orr_flush_key_number(L, object, index);
  bool before = group < f->last_group || (group == f->last_group && number < f->last_number);
  f->unordered = f->unordered || object->class->above || (f->updates && before);
  f->last_group = group;
  f->last_number = number;
  f->updates++;
}

uint32_t orr_flush_enter(lua_State *L, orr_flush *f, int index, orr_unit_kind kind) {
  orr_instance *object = lua_touserdata(L, index);
  f->entries = orr_flush_grow(L, f, f->entries, &f->entry_room, f->count + 1, sizeof *f->entries);
  lua_pushvalue(L, index);
  lua_rawseti(L, f->objects, (int)f->count + 1);
  orr_flush_entry entry = {.object = object, .class = object->class, .kind = (unsigned)kind & 15u};
  entry.linked = orr_instance_is_linked(object);
  if (kind == ORR_UNIT_UPDATE)
    note_order(L, f, object, index);
  if (!f->takes)
    orr_flush_look_at_uniques(L, f, &entry);
  f->entries[f->count++] = entry;
  if (object->class->level >= f->rows)
    f->rows = object->class->level + 1;
  if (object->class->column_count > f->columns)
    f->columns = object->class->column_count;
  object->action = (uint32_t)f->count;
  if (kind == ORR_UNIT_DELETE)
    object->flags |= ORR_GOING;
  return object->action;
}

uint32_t orr_flush_number(lua_State *L, orr_flush *f, int index) {
  orr_instance *object = lua_touserdata(L, index);
  if (!object->action) {
    orr_session_dirty(L, f->session, object, index);
    orr_flush_enter(L, f, index, ORR_UNIT_UPDATE);
  }
  return object->action;
}

orr_flush *orr_flush_begin(lua_State *L, int arguments) {
  orr_flush *f = orr_box_check(L, 1, &flush_kind);
  luaL_argcheck(L, f->session, 1, "open flush expected");
  lua_settop(L, arguments);
  orr_getuservalue(L, 1);
  f->me = f->objects = lua_gettop(L);
  luaL_checkstack(L, 60, "flush");
  return f;
}

/* ---- changing columns, with a way back ---- */

static int keep_text(lua_State *L, orr_flush *f, orr_instance *object, int index, int column) {
  lua_getfield(L, f->me, "texts");
  orr_instance_getuser(L, object, index, column + 1);
  lua_rawseti(L, -2, ++f->texts);
  lua_pop(L, 1);
  return f->texts;
}

void orr_flush_note(lua_State *L, orr_flush *f, orr_instance *object, int index, int column) {
  f->undos = orr_flush_grow(L, f, f->undos, &f->undo_room, f->undo_count + 1, sizeof *f->undos);
  orr_flush_undo *undo = &f->undos[f->undo_count];
  undo->object = object->action;
  undo->column = column;
  undo->tag = orr_tags(object)[column];
  undo->cell = orr_cells(object)[column];
  undo->text = undo->tag & ORR_OUTSIDE ? keep_text(L, f, object, index, column) : 0;
  f->undo_count++;
  if (object->state == ORR_PERSISTENT)
    orr_flush_look_at_column(f, object->class, column);
}

/* Sets a column of the object at `index`, which has a number, unless it has that value. */
static void set_column(lua_State *L, orr_flush *f, int index, int column, const orr_value *value) {
  orr_instance *object = lua_touserdata(L, index);
  orr_value present;
  if (object->state == ORR_PERSISTENT)
    orr_instance_freshen(L, object, index, f->session);
  orr_instance_value(L, object, index, column, &present);
  unsigned tag = orr_tags(object)[column];
  if (!(tag & ORR_UNLOADED) && orr_value_same(&present, value))
    return;
  orr_flush_note(L, f, object, index, column);
  orr_instance_keep_old(L, object, index, column);
  unsigned changed = orr_tags(object)[column] & ORR_CHANGED;
  orr_instance_put(L, object, index, column, value);
  orr_tags(object)[column] |= (unsigned char)changed;
}

static void refuse_blank_key(lua_State *L, const orr_class *class, int column) {
  if (class->columns[column].flags & ORR_COLUMN_KEY)
    orr_attribute_error(
        L, class, column, "FlushError",
        "this foreign key is part of the primary key and cannot be set to NULL; delete the object, or "
        "give it another parent");
}

void orr_flush_copy_key(lua_State *L, orr_flush *f, int from, int to, const orr_relationship *relation,
                        bool from_far) {
  orr_instance *source = lua_touserdata(L, from);
  for (int p = 0; p < relation->pair_count; p++) {
    const orr_pair *pair = &relation->pairs[p];
    orr_value value;
    orr_instance_value(L, source, from, from_far ? pair->far : pair->near, &value);
    set_column(L, f, to, from_far ? pair->near : pair->far, &value);
  }
}

void orr_flush_blank_key(lua_State *L, orr_flush *f, int to, const orr_relationship *relation,
                         bool from_far) {
  static const orr_value null = {ORR_NULL, 0, {0}};
  const orr_instance *object = lua_touserdata(L, to);
  for (int p = 0; p < relation->pair_count; p++) {
    int column = from_far ? relation->pairs[p].near : relation->pairs[p].far;
    refuse_blank_key(L, object->class, column);
    set_column(L, f, to, column, &null);
  }
}

static void add_sync(lua_State *L, orr_flush *f, uint32_t from, uint32_t to, const orr_relationship *relation,
                     bool from_far) {
  f->syncs = orr_flush_grow(L, f, f->syncs, &f->sync_room, f->sync_count + 1, sizeof *f->syncs);
  orr_flush_sync sync = {from, to, relation, from_far, f->entries[to - 1].first_sync};
  f->syncs[f->sync_count++] = sync;
  f->entries[to - 1].first_sync = (uint32_t)f->sync_count;
}

void orr_flush_add_post(lua_State *L, orr_flush *f, uint32_t from, uint32_t to,
                        const orr_relationship *relation, bool from_far) {
  f->posts = orr_flush_grow(L, f, f->posts, &f->post_room, f->post_count + 1, sizeof *f->posts);
  orr_flush_sync post = {from, to, relation, from_far, 0};
  f->posts[f->post_count++] = post;
}

void orr_flush_refer(lua_State *L, orr_flush *f, int parent, int child, const orr_relationship *relation,
                     bool from_far) {
  const orr_instance *source = lua_touserdata(L, parent);
  const orr_instance *target = lua_touserdata(L, child);
  if (orr_flush_deleting(target))
    return;
  uint32_t to = orr_flush_number(L, f, child);
  if (source->state == ORR_PENDING && relation->flags & ORR_RELATION_POST_UPDATE)
    orr_flush_add_post(L, f, source->action, to, relation, from_far);
  else if (source->state == ORR_PENDING)
    add_sync(L, f, source->action, to, relation, from_far);
  else
    orr_flush_copy_key(L, f, parent, child, relation, from_far);
}

/* ---- afterwards ----
   What the database has done cannot be answered with an error any more, so from the end of the savepoint on
   nothing takes memory: it is reserved before. (But for keys that loaded children follow, where they are long
   texts.) */

/* Where things are on the stack while a flush ends: the session's lists, its objects, three tables for what
   stays of lists, two lists of what is done, and the object in hand. */
typedef struct ending {
  int user, weak, rests, inserted, removed, index;
} ending;

/* The values of the key that the row has now; returns how many bytes its canonical form takes. */
static size_t read_key(lua_State *L, orr_instance *object, int index, orr_value *values) {
  if (!orr_instance_key(L, object, index, false, values))
    orr_attribute_error(L, object->class, object->class->keys[0], "FlushError",
                        "the primary key has no value after insert");
  return orr_key_size(values, object->class->key_count);
}

/* What was reserved for the key of an object, or NULL. */
static orr_flush_key *reserved_key(const orr_flush *f, const orr_instance *object, size_t size) {
  orr_flush_key *key = object->action && f->keys ? &f->keys[object->action - 1] : NULL;
  return key && key->bytes && key->size == size ? key : NULL;
}

static void reserve_key(lua_State *L, orr_flush *f, orr_instance *object, int index) {
  orr_value values[ORR_MAX_KEY];
  size_t size = read_key(L, object, index, values);
  if (size == 0)
    return;
  if (!f->keys) {
    f->keys = orr_alloc_array(&f->alloc, f->count, sizeof *f->keys);
    f->key_count = f->keys ? f->count : 0;
  }
  char *bytes = f->keys ? orr_alloc_array(&f->alloc, size, 1) : NULL;
  if (!bytes)
    luaL_error(L, "not enough memory");
  f->keys[object->action - 1] = (orr_flush_key){bytes, size};
}

/* Another object under the key of `object` can only be one whose row is gone: it leaves the session. */
static void oust_former(lua_State *L, const orr_instance *object, uint32_t slot, int weak) {
  lua_rawgeti(L, weak, (int)slot);
  orr_instance *former = lua_touserdata(L, -1);
  if (former && former != object) {
    orr_instance_take_olds(L, former, lua_gettop(L));
    former->session = 0;
  }
  lua_pop(L, 1);
}

static void enter_identity(lua_State *L, orr_flush *f, orr_instance *object, int index, int weak) {
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  bool found;
  size_t size = read_key(L, object, index, values);
  orr_flush_key *reserved = size ? reserved_key(f, object, size) : NULL;
  char *bytes = reserved ? reserved->bytes : size ? lua_newuserdata(L, size) : NULL;
  orr_key_make(&key, object->class->id, values, object->class->key_count, bytes);
  key.given = reserved != NULL;
  uint32_t slot = orr_session_claim(L, f->session, &key, weak, &found);
  if (found)
    oust_former(L, object, slot, weak);
  else if (reserved)
    reserved->bytes = NULL;
  orr_session_seat(L, f->session, object, index, slot, weak);
  lua_settop(L, index);
}

/* What was not given is NULL in the database now, unless the database made something of it. */
static void complete(orr_instance *object) {
  unsigned char *tags = orr_tags(object);
  for (int c = 0; c < object->class->column_count; c++) {
    unsigned flags = object->class->columns[c].flags;
    if (!(tags[c] & ORR_UNLOADED) || flags & ORR_COLUMN_SERVER_DEFAULT)
      continue;
    if (!(flags & ORR_COLUMN_READ_ONLY))
      tags[c] = ORR_NULL;
    else if (flags & ORR_COLUMN_DEFERRED)
      tags[c] |= ORR_DEFERRED;
  }
}

/* A row that was taken over keeps what the object was not given: that is there to be loaded. */
static void end_insert(lua_State *L, orr_flush *f, orr_instance *object, const ending *at, bool switched) {
  if (!switched)
    complete(object);
  enter_identity(L, f, object, at->index, at->weak);
  object->epoch = f->session->epoch;
  orr_instance_written(L, object, at->index);
  lua_pushvalue(L, at->index);
  lua_rawseti(L, at->inserted, (int)++f->session->inserted_count);
}

/* Remembers for a rollback the key that the object at `index` had, as entry number `n`; false where it had
 * none. */
static bool note_key(lua_State *L, orr_instance *object, int index, int user, uint32_t n) {
  orr_value values[ORR_MAX_KEY];
  if (!orr_instance_key(L, object, index, true, values))
    return false;
  lua_rawgeti(L, user, ORR_SESSION_REKEYED);
  lua_createtable(L, object->class->key_count + 1, 0);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, 1);
  for (int k = 0; k < object->class->key_count; k++) {
    orr_flush_push_value(L, &values[k]);
    lua_rawseti(L, -2, k + 2);
  }
  lua_rawseti(L, -2, (int)n);
  lua_pop(L, 1);
  return true;
}

/* The child at `item` shows the parent's new key, as the database does by ON UPDATE CASCADE. */
static void carry_key(lua_State *L, orr_flush *f, int parent, int item, const orr_relationship *relation,
                      int user, int weak) {
  orr_instance *child = lua_touserdata(L, item), *object = lua_touserdata(L, parent);
  bool keyed = false;
  if (!orr_flush_holds(f, child) || child->state != ORR_PERSISTENT || child->epoch != f->session->epoch)
    return;
  for (int p = 0; p < relation->pair_count; p++)
    keyed = keyed || child->class->columns[relation->pairs[p].far].flags & ORR_COLUMN_KEY;
  if (keyed) {
    f->session->rekeyed_count += note_key(L, child, item, user, f->session->rekeyed_count + 1);
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

static void carry_key_along(lua_State *L, orr_flush *f, orr_instance *object, int index, int number, int user,
                            int weak) {
  orr_flush_past h;
  const orr_relationship *relation = &object->class->relations[number];
  if (orr_flush_history(L, object, index, number, &h))
    for (uint32_t i = 1; i <= h.now.count; i++) {
      int top = lua_gettop(L);
      orr_flush_item(L, &h.now, i);
      carry_key(L, f, index, top + 1, relation, user, weak);
      lua_settop(L, top);
    }
  lua_settop(L, index);
}

/* Tells the loaded children of an object of its changed key. */
static void carry_keys(lua_State *L, orr_flush *f, orr_instance *object, int index, int user, int weak) {
  for (int r = 0; r < object->class->relation_count; r++)
    if (orr_flush_key_moved(object, &object->class->relations[r]))
      carry_key_along(L, f, object, index, r, user, weak);
}

/* What the database has computed anew with an update is read again when it is asked for; SQL expressions are
   already where relationships of the object have changed. */
static void forget_computed(orr_instance *object, bool updated) {
  for (int c = 0; c < object->class->column_count; c++) {
    unsigned flags = object->class->columns[c].flags;
    if (flags & ORR_COLUMN_COMPUTED && (updated || flags & ORR_COLUMN_READ_ONLY) &&
        !(orr_tags(object)[c] & ORR_UNLOADED))
      orr_tags(object)[c] = ORR_NULL | ORR_UNLOADED;
  }
}

static void end_update(lua_State *L, orr_flush *f, orr_instance *object, const ending *at,
                       const orr_flush_entry *entry) {
  if (orr_instance_is_linked(object) && object->flags & ORR_HAS_OLD)
    carry_keys(L, f, object, at->index, at->user, at->weak);
  if (entry->moves)
    enter_identity(L, f, object, at->index, at->weak);
  orr_instance_written(L, object, at->index);
  forget_computed(object, entry->writes);
}

static void end_delete(lua_State *L, orr_flush *f, uint32_t n, const ending *at) {
  orr_instance *object = orr_flush_object(L, f, n);
  orr_session_leave(L, f->session, object, at->weak);
  object->state = ORR_DELETED;
  lua_rawseti(L, at->removed, (int)++f->session->removed_count);
}

/* Whether an entry of a list is a hole, or an object that this flush is done with. An object that it updates,
   and that a hook has deleted, or changed a relation of, meanwhile, has its row to lose or to be changed yet.
 */
static bool is_done(const orr_flush *f, const orr_instance *object, int field) {
  if (!object || !object->action || field == ORR_SESSION_NEW)
    return !object || object->action;
  return field == ORR_SESSION_DIRTY ? !(object->flags & ORR_LATE)
                                    : f->entries[object->action - 1].kind == ORR_UNIT_DELETE;
}

/* Whether object number `n` becomes one of the changed ones when it has its row. */
static bool is_late_insert(const orr_flush *f, uint32_t n) {
  return f->entries[n - 1].kind == ORR_UNIT_INSERT && f->entries[n - 1].object->flags & ORR_LATE;
}

/* Whether something may stay of a list of which this flush has seen so many entries. */
static bool may_stay(const orr_flush *f, int field, uint32_t count, uint32_t seen) {
  return count != seen || (field == ORR_SESSION_DIRTY && f->session->late);
}

/* Pushes a table for what stays of a list when this flush has written the rest: what hooks have added
 * meanwhile. */
static void push_rest(lua_State *L, const orr_flush *f, int user, int field, uint32_t count, uint32_t seen) {
  int kept = 0;
  bool stays = may_stay(f, field, count, seen);
  lua_rawgeti(L, user, field);
  for (uint32_t i = 1; stays && i <= count; i++) {
    lua_rawgeti(L, -1, (int)i);
    kept += !is_done(f, lua_touserdata(L, -1), field);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  for (uint32_t n = 1; stays && field == ORR_SESSION_DIRTY && n <= f->count; n++)
    kept += is_late_insert(f, n);
  lua_createtable(L, kept, 0);
}

/* Puts the table at `rest` in the list's place, filled. */
static void replace_list(lua_State *L, const orr_flush *f, int user, int field, int rest, uint32_t *count,
                         uint32_t seen) {
  uint32_t kept = 0;
  bool stays = may_stay(f, field, *count, seen);
  lua_rawgeti(L, user, field);
  for (uint32_t i = 1; stays && i <= *count; i++) {
    lua_rawgeti(L, -1, (int)i);
    orr_instance *object = lua_touserdata(L, -1);
    if (is_done(f, object, field)) {
      lua_pop(L, 1);
      continue;
    }
    lua_rawseti(L, rest, (int)++kept);
    if (object->state == ORR_PENDING)
      object->slot = kept;
  }
  lua_pop(L, 1);
  for (uint32_t n = 1; stays && field == ORR_SESSION_DIRTY && n <= f->count; n++)
    if (is_late_insert(f, n)) {
      orr_flush_object(L, f, n);
      lua_rawseti(L, rest, (int)++kept);
    }
  lua_pushvalue(L, rest);
  lua_rawseti(L, user, field);
  *count = kept;
}

/* Pushes a list of the session's that takes `more` entries without memory: an empty one is made anew. */
static int push_roomy(lua_State *L, int user, int field, uint32_t count, uint32_t more) {
  lua_rawgeti(L, user, field);
  int list = lua_gettop(L);
  if (count == 0 && more > 0) {
    lua_createtable(L, (int)more, 0);
    if (lua_getmetatable(L, list))
      lua_setmetatable(L, -2);
    lua_replace(L, list);
    lua_pushvalue(L, list);
    lua_rawseti(L, user, field);
  }
  for (uint32_t i = 1; count > 0 && i <= more; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, list, (int)(count + i));
  }
  return list;
}

/* What one object needs; true where its former key was noted as entry number `rekeyed`. */
static bool reserve_object(lua_State *L, orr_flush *f, uint32_t n, const ending *at, uint32_t rekeyed) {
  orr_instance *object = orr_flush_object(L, f, n);
  reserve_key(L, f, object, at->index);
  bool noted = f->entries[n - 1].moves && note_key(L, object, at->index, at->user, rekeyed);
  lua_settop(L, at->index - 1);
  return noted;
}

/* Makes everything that the end of the flush needs; returns how many keys it has noted. */
static uint32_t reserve(lua_State *L, orr_flush *f, ending *at) {
  uint32_t kinds[ORR_UNIT_DELETE + 1] = {0}, rekeyed = 0, first = f->session->rekeyed_count + 1;
  for (uint32_t n = 1; n <= f->count; n++) {
    const orr_flush_entry *entry = &f->entries[n - 1];
    orr_value key;
    kinds[entry->kind]++;
    if (entry->kind == ORR_UNIT_INSERT ? !orr_flush_plain_key(orr_flush_look(f, n), &key) : entry->moves)
      rekeyed += reserve_object(L, f, n, at, first + rekeyed);
  }
  orr_session_reserve(L, f->session, kinds[ORR_UNIT_INSERT] + rekeyed, at->weak);
  at->inserted =
      push_roomy(L, at->user, ORR_SESSION_INSERTED, f->session->inserted_count, kinds[ORR_UNIT_INSERT]);
  at->removed =
      push_roomy(L, at->user, ORR_SESSION_REMOVED, f->session->removed_count, kinds[ORR_UNIT_DELETE]);
  at->index = at->removed + 1;
  return rekeyed;
}

/* All keys that end or change leave the identity map before any comes in. */
static void leave_identity(lua_State *L, orr_flush *f, const ending *at) {
  for (uint32_t n = (uint32_t)f->count; n >= 1; n--) {
    if (f->entries[n - 1].kind == ORR_UNIT_DELETE)
      end_delete(L, f, n, at);
    else if (f->entries[n - 1].moves)
      orr_session_leave(L, f->session, f->entries[n - 1].object, at->weak);
  }
}

static void end_objects(lua_State *L, orr_flush *f, const ending *at) {
  for (uint32_t n = 1; n <= f->count; n++) {
    const orr_flush_entry *entry = &f->entries[n - 1];
    orr_instance *object = orr_flush_look(f, n);
    if (!orr_flush_is_bare(entry))
      lua_rawgeti(L, f->objects, (int)n);
    bool late = object->flags & ORR_LATE && entry->kind != ORR_UNIT_DELETE;
    if (entry->kind == ORR_UNIT_INSERT)
      end_insert(L, f, object, at, entry->switched);
    else if (entry->kind == ORR_UNIT_UPDATE)
      end_update(L, f, object, at, entry);
    object->action = 0;
    object->flags &= (uint16_t) ~(ORR_DIRTY | ORR_LISTED | ORR_GOING |
                                  (entry->kind == ORR_UNIT_DELETE ? ORR_DELETING : 0));
    if (late)
      object->flags |= ORR_DIRTY | ORR_LISTED;
    lua_settop(L, at->index - 1);
  }
  f->session->late = false;
}

static void end_lists(lua_State *L, orr_flush *f, const ending *at) {
  orr_session *s = f->session;
  replace_list(L, f, at->user, ORR_SESSION_NEW, at->rests, &s->new_count, f->new_seen);
  replace_list(L, f, at->user, ORR_SESSION_DIRTY, at->rests + 1, &s->dirty_count, f->dirty_seen);
  replace_list(L, f, at->user, ORR_SESSION_DELETED, at->rests + 2, &s->deleted_count, f->deleted_seen);
  s->moved = s->moved && s->dirty_count > 0;
}

static ending begin_ending(lua_State *L, orr_flush *f) {
  ending at = {0};
  lua_getfield(L, f->me, "session");
  orr_getuservalue(L, -1);
  at.user = lua_gettop(L);
  lua_rawgeti(L, at.user, ORR_SESSION_OBJECTS);
  at.weak = lua_gettop(L);
  push_rest(L, f, at.user, ORR_SESSION_NEW, f->session->new_count, f->new_seen);
  push_rest(L, f, at.user, ORR_SESSION_DIRTY, f->session->dirty_count, f->dirty_seen);
  push_rest(L, f, at.user, ORR_SESSION_DELETED, f->session->deleted_count, f->deleted_seen);
  at.rests = at.weak + 1;
  at.index = at.weak + 4;
  return at;
}

/* core.finish(flush, connection, sql): the rows are written; `sql` ends the savepoint, and the objects become
   what they are. Where it raises nothing has happened yet. */
static int finish(lua_State *L) {
  size_t len;
  orr_connection *connection = orr_connection_check(L, 2);
  const char *sql = luaL_checklstring(L, 3, &len);
  orr_flush *f = orr_flush_begin(L, 3);
  ending at = begin_ending(L, f);
  uint32_t rekeyed = reserve(L, f, &at);
  orr_connection_run(L, connection, sql, len);
  f->session->rekeyed_count += rekeyed;
  end_lists(L, f, &at);
  leave_identity(L, f, &at);
  end_objects(L, f, &at);
  return 0;
}

/* core.done(flush): nobody needs it any more. */
static int done(lua_State *L) {
  close_flush(orr_box_check(L, 1, &flush_kind));
  return 0;
}

static void undo_column(lua_State *L, orr_flush *f, const orr_flush_undo *undo) {
  orr_instance *object = orr_flush_object(L, f, undo->object);
  int index = lua_gettop(L);
  bool was_changed = undo->tag & ORR_CHANGED;
  if (!was_changed && orr_tags(object)[undo->column] & ORR_CHANGED)
    orr_instance_drop_old(L, object, index, undo->column);
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
  orr_flush *f = orr_flush_begin(L, 1);
  while (f->undo_count > 0)
    undo_column(L, f, &f->undos[--f->undo_count]);
  for (uint32_t n = 1; n <= f->count; n++) {
    orr_instance *object = orr_flush_object(L, f, n);
    object->action = 0;
    object->flags &= (uint16_t)~ORR_GOING;
    orr_instance_undo_late(L, object, lua_gettop(L));
    lua_pop(L, 1);
  }
  f->session->late = false;
  close_flush(f);
  return 0;
}

/* core.flush_cycle(flush) -> array of the objects that a CircularDependencyError is about */
static int cycle(lua_State *L) {
  orr_flush *f = orr_flush_begin(L, 1);
  lua_newtable(L);
  for (size_t i = 0; i < f->unit.cycle_count; i++) {
    orr_flush_object(L, f, f->records[f->unit.cycle[i]].object);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* core.planned(flush) -> { object, "insert" | "update" | "delete", ... } in the order in which rows are
 * written */
static int planned(lua_State *L) {
  static const char *const names[] = {NULL, "delete", "update", "insert", NULL, NULL, NULL, "delete"};
  orr_flush *f = orr_flush_begin(L, 1);
  lua_newtable(L);
  for (size_t i = 0, n = 0; i < f->record_count; i++) {
    const orr_flush_record *r = &f->records[f->unit.order[i]];
    if (r->relation >= 0 || r->class->above || !names[r->kind])
      continue;
    orr_flush_object(L, f, r->object);
    lua_rawseti(L, -2, (int)++n);
    lua_pushstring(L, names[r->kind]);
    lua_rawseti(L, -2, (int)++n);
  }
  return 1;
}

/* core.defers(flush) -> whether foreign keys can only be checked when everything is written, whether unique
   values may change hands that are not known */
static int defers(lua_State *L) {
  const orr_flush *f = orr_flush_begin(L, 1);
  lua_pushboolean(L, f->defers);
  lua_pushboolean(L, f->blind > 0);
  return 2;
}

/* core.culprit(flush) -> the first object of the statement that failed and how many it was about, or nothing
 */
static int culprit(lua_State *L) {
  orr_flush *f = orr_flush_begin(L, 1);
  if (!f->culprit)
    return 0;
  orr_flush_object(L, f, f->culprit);
  lua_pushinteger(L, (lua_Integer)f->culprits);
  return 2;
}

void orr_flush_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"flush", new_flush},
                                       {"collect", orr_flush_collect},
                                       {"run", orr_flush_run},
                                       {"finish", finish},
                                       {"done", done},
                                       {"undo", undo},
                                       {"flush_cycle", cycle},
                                       {"planned", planned},
                                       {"culprit", culprit},
                                       {"defers", defers},
                                       {NULL, NULL}};
  orr_box_define(L, &flush_kind, NULL);
  lua_pop(L, 1);
  orr_handover_open(L);
  orr_setfuncs(L, functions);
}
