/* instancelib: one mapped object: making it, reading and assigning its attributes, its old values and its
   key. What its relationships hold is linklib's matter; loading and saving batches is loadlib's and
   flushlib's. */
#include <stdint.h>
#include <string.h>

#include "collection.h"

enum { SHORT_TEXT = 40 }; /* Lua interns strings up to here: pushing such a text again costs one hash */

/* ---- making ---- */

static size_t base_size(const orr_class *class) {
  return sizeof(orr_instance) + (size_t) class->column_count * (sizeof(orr_cell) + 1);
}

static orr_instance *new_instance(lua_State *L, orr_class *class, size_t text_size, int meta, int slots) {
  size_t base = base_size(class);
  if (text_size > UINT32_MAX)
    luaL_error(L, "row too large");
  orr_instance *object = orr_newuserdata_slots(L, base + text_size, slots);
  *object = (orr_instance){.class = class, .flags = slots ? ORR_SLOTTED : 0};
  memset(orr_tags(object), ORR_NULL | ORR_UNLOADED, (size_t) class->column_count);
  lua_pushvalue(L, meta);
  lua_setmetatable(L, -2);
  return object;
}

orr_instance *orr_instance_new(lua_State *L, orr_class *class, size_t text_size, int meta) {
  return new_instance(L, class, text_size, meta, 0);
}

static int slot_count(const orr_class *class) {
  return class->relation_count < ORR_SLOTTED_RELATIONS ? class->relation_count : ORR_SLOTTED_RELATIONS;
}

orr_instance *orr_instance_new_slotted(lua_State *L, orr_class *class, size_t text_size, int meta) {
  return new_instance(L, class, text_size, meta, slot_count(class));
}

/* ---- the user value ---- */

void orr_instance_user(lua_State *L, orr_instance *object, int index) {
  if (object->flags & ORR_HAS_USER) {
    orr_getuservalue(L, index);
    return;
  }
  index = orr_absindex(L, index);
  int relations = object->flags & ORR_SLOTTED ? 0 : object->class->relation_count;
  lua_createtable(L, 0, relations ? relations : 1); /* mostly what it comes to hold */
  lua_pushvalue(L, -1);
  orr_setuservalue(L, index);
  object->flags |= ORR_HAS_USER;
}

void orr_instance_getuser(lua_State *L, const orr_instance *object, int index, int key) {
  if (!(object->flags & ORR_HAS_USER)) {
    lua_pushnil(L);
    return;
  }
  orr_getuservalue(L, index);
  lua_rawgeti(L, -1, key);
  lua_remove(L, -2);
}

void orr_instance_setuser(lua_State *L, orr_instance *object, int index, int key) {
  index = orr_absindex(L, index);
  orr_instance_user(L, object, index);
  lua_insert(L, -2);
  lua_rawseti(L, -2, key);
  lua_pop(L, 1);
}

/* ---- what relations hold ---- */

static bool is_slotted(const orr_instance *object, int relation) {
  return ORR_SLOTS && object->flags & ORR_SLOTTED && relation < ORR_SLOTTED_RELATIONS;
}

void orr_instance_held(lua_State *L, const orr_instance *object, int index, int relation) {
  if (is_slotted(object, relation))
    orr_getslot(L, index, relation + 1);
  else
    orr_instance_getuser(L, object, index, orr_user_relation(object->class, relation));
}

void orr_instance_hold(lua_State *L, orr_instance *object, int index, int relation) {
  if (!is_slotted(object, relation)) {
    orr_instance_setuser(L, object, index, orr_user_relation(object->class, relation));
    return;
  }
  orr_setslot(L, index, relation + 1);
  object->flags |= ORR_LINKED;
}

/* ---- cells ---- */

void orr_instance_value(lua_State *L, orr_instance *object, int index, int column, orr_value *out) {
  unsigned tag = orr_tags(object)[column];
  const orr_cell *cell = &orr_cells(object)[column];
  out->tag = (orr_tag)(tag & ORR_TAG);
  out->len = 0;
  out->as.i = cell->i;
  if (out->tag < ORR_TEXT)
    return;
  if (tag & ORR_OUTSIDE) {
    orr_instance_getuser(L, object, index, column + 1);
    out->as.s = lua_tolstring(L, -1, &out->len);
    lua_pop(L, 1); /* anchored by the user value */
  } else {
    out->as.s = orr_text(object) + cell->text.at;
    out->len = cell->text.len;
  }
}

/* Stores a value whose text, if it is one, goes to place `at` of the object's own text; returns where that
   ends. */
static uint32_t pack_value(orr_instance *object, int column, const orr_value *value, uint32_t at) {
  orr_cell *cell = &orr_cells(object)[column];
  orr_tags(object)[column] = (unsigned char)value->tag;
  if (value->tag < ORR_TEXT) {
    cell->i = value->as.i;
    return at;
  }
  cell->text.at = at;
  cell->text.len = (uint32_t)value->len;
  if (value->len)
    memcpy(orr_text(object) + at, value->as.s, value->len);
  return at + (uint32_t)value->len;
}

void orr_instance_pack(orr_instance *object, const int *map, const orr_value *values, int count) {
  uint32_t end = 0;
  for (int i = 0; i < count; i++)
    if (map[i] >= 0)
      end = pack_value(object, map[i], &values[i], end);
}

void orr_instance_put(lua_State *L, orr_instance *object, int index, int column, const orr_value *value) {
  if (value->len == 0) { /* a number, or text without bytes */
    pack_value(object, column, value, 0);
    return;
  }
  index = orr_absindex(L, index);
  lua_pushlstring(L, value->as.s, value->len);
  orr_instance_setuser(L, object, index, column + 1);
  orr_tags(object)[column] = (unsigned char)(value->tag | ORR_OUTSIDE);
}

/* ---- state ---- */

orr_session *orr_instance_session(const orr_instance *object) {
  const orr_world *world = object->class->world;
  if (!object->session || !world ||
      !world->sessions) /* a class that lua_close has ended already has no world */
    return NULL;
  orr_session *session = world->sessions[object->session & (world->session_room - 1)];
  return session && session->number == object->session ? session : NULL;
}

orr_state orr_instance_state(const orr_instance *object) {
  orr_state state = (orr_state)object->state;
  if (orr_instance_session(object))
    return state;
  return state == ORR_PERSISTENT || state == ORR_DELETED || state == ORR_DETACHED ? ORR_DETACHED
                                                                                  : ORR_TRANSIENT;
}

/* A key that was changed and not flushed is the stored one again. */
static void forget_key(lua_State *L, orr_instance *object, int index, int column) {
  orr_value value;
  if (orr_tags(object)[column] & ORR_CHANGED && orr_instance_old(L, object, index, column, &value))
    orr_instance_put(L, object, index, column, &value);
}

/* The tag of a column that counts as unloaded from now on. A key is not forgotten; what the class defers
   stays deferred until it was loaded once. */
static unsigned char unloaded_tag(unsigned tag, unsigned flags) {
  if (flags & ORR_COLUMN_KEY)
    return (unsigned char)((tag & (ORR_TAG | ORR_OUTSIDE)) | ORR_UNLOADED);
  if (flags & ORR_COLUMN_DEFERRED && tag & ORR_DEFERRED)
    return (unsigned char)tag;
  return ORR_NULL | ORR_UNLOADED;
}

/* Drops what types made of columns, what relations hold, and what was noted of unloaded ones. */
static void drop_held(lua_State *L, orr_instance *object, int index) {
  const orr_class *class = object->class;
  for (int r = 0; object->flags & ORR_LINKED && r < slot_count(class); r++) {
    lua_pushnil(L);
    orr_setslot(L, index, r + 1);
  }
  if (object->flags & ORR_HAS_USER) {
    orr_getuservalue(L, index);
    int first = class->column_count + 1, last = 2 * class->column_count + 2 * class->relation_count;
    for (int i = first; i <= last; i++) {
      lua_pushnil(L);
      lua_rawseti(L, -2, i);
    }
    lua_pop(L, 1);
  }
  object->flags &= (uint16_t)~ORR_LINKED;
}

void orr_instance_forget(lua_State *L, orr_instance *object, int index, uint32_t epoch) {
  const orr_class *class = object->class;
  unsigned char *tags = orr_tags(object);
  for (int i = 0; i < class->column_count; i++) {
    if (class->columns[i].flags & ORR_COLUMN_KEY)
      forget_key(L, object, index, i);
    tags[i] = unloaded_tag(tags[i], class->columns[i].flags);
  }
  if (orr_instance_is_linked(object)) {
    index = orr_absindex(L, index);
    drop_held(L, object, index);
    orr_instance_settle(L, object, index);
  }
  object->epoch = epoch;
}

void orr_instance_freshen(lua_State *L, orr_instance *object, int index, orr_session *session) {
  if (object->state == ORR_PERSISTENT && object->epoch != session->epoch)
    orr_instance_forget(L, object, index, session->epoch);
}

void orr_instance_move(orr_instance *object) {
  orr_session *session = orr_instance_session(object);
  object->flags |= ORR_HAS_OLD | ORR_MOVED;
  if (session)
    session->moved = true;
}

/* ---- old values ---- */

/* Pushes the value of a column, or false where it is unknown: then it is written whatever it was. */
static void push_known(lua_State *L, orr_instance *object, int index, int column) {
  orr_value value;
  if (orr_tags(object)[column] & ORR_UNLOADED && !(object->class->columns[column].flags & ORR_COLUMN_KEY)) {
    lua_pushboolean(L, 0);
    return;
  }
  orr_instance_value(L, object, index, column, &value);
  orr_type_push_raw(L, &value);
}

/* The object's own text is never written over, so a cell that points to it stays good. */
static bool keeps_in_history(const orr_instance *object, const orr_session *session, int column,
                             unsigned tag) {
  return session && !(tag & ORR_OUTSIDE) && !(object->class->columns[column].flags & ORR_COLUMN_KEY) &&
         column <= ORR_HISTORY_COLUMNS;
}

void orr_instance_keep_old(lua_State *L, orr_instance *object, int index, int column) {
  unsigned char *tag = &orr_tags(object)[column];
  if (*tag & ORR_CHANGED || object->state != ORR_PERSISTENT)
    return;
  orr_session *session = orr_instance_session(object);
  if (keeps_in_history(object, session, column, *tag)) {
    uint64_t bits;
    memcpy(&bits, &orr_cells(object)[column], sizeof bits);
    uint32_t first = orr_history_add(&session->history, object->old, column, *tag, bits);
    if (!first)
      luaL_error(L, "not enough memory");
    object->old = first;
  } else {
    index = orr_absindex(L, index);
    push_known(L, object, index, column);
    orr_instance_setuser(L, object, index, -(column + 1));
  }
  *tag |= ORR_CHANGED;
  object->flags |= ORR_HAS_OLD;
}

static const orr_past *past_of(const orr_instance *object, int column) {
  const orr_session *session = object->old ? orr_instance_session(object) : NULL;
  return session ? orr_history_find(&session->history, object->old, column) : NULL;
}

static bool read_past(orr_instance *object, const orr_past *past, orr_value *out) {
  orr_cell cell;
  memcpy(&cell, &past->bits, sizeof cell);
  out->tag = (orr_tag)(past->tag & ORR_TAG);
  out->len = out->tag < ORR_TEXT ? 0 : cell.text.len;
  if (out->tag < ORR_TEXT)
    out->as.i = cell.i;
  else
    out->as.s = orr_text(object) + cell.text.at;
  return !(past->tag & ORR_UNLOADED);
}

bool orr_instance_old(lua_State *L, orr_instance *object, int index, int column, orr_value *out) {
  const orr_past *past = past_of(object, column);
  if (past)
    return read_past(object, past, out);
  orr_instance_getuser(L, object, index, -(column + 1));
  char scratch[ORR_TYPE_SCRATCH];
  const orr_type *type = &object->class->columns[column].type;
  bool known = !lua_isnil(L, -1) && !lua_isboolean(L, -1) && orr_type_take_raw(L, -1, type, out, scratch);
  lua_pop(L, 1);
  return known;
}

/* Pushes the old value of a column as core.old gives it. */
static void push_old(lua_State *L, orr_instance *object, int index, int column) {
  orr_value value;
  const orr_past *past = past_of(object, column);
  if (!past)
    orr_instance_getuser(L, object, index, -(column + 1));
  else if (read_past(object, past, &value))
    orr_type_push_raw(L, &value);
  else
    lua_pushboolean(L, 0);
}

void orr_instance_drop_old(lua_State *L, orr_instance *object, int index, int column) {
  orr_session *session = orr_instance_session(object);
  if (session && object->old)
    object->old = orr_history_drop(&session->history, object->old, column);
  if (object->flags & ORR_HAS_USER) {
    lua_pushnil(L);
    orr_instance_setuser(L, object, index, -(column + 1));
  }
}

static void release_olds(orr_instance *object) {
  orr_session *session = orr_instance_session(object);
  if (session)
    orr_history_release(&session->history, object->old);
  object->old = 0;
}

void orr_instance_take_olds(lua_State *L, orr_instance *object, int index) {
  if (!object->old)
    return;
  index = orr_absindex(L, index);
  for (int c = 0; c < object->class->column_count; c++)
    if (past_of(object, c)) {
      push_old(L, object, index, c);
      orr_instance_setuser(L, object, index, -(c + 1));
    }
  release_olds(object);
}

/* Of the changes noted for an unloaded collection, keeps those whose item is not in the session `number`:
   they are not in the database either. The table of notes is on top; pushes it again, or nil where none is
   left. Takes no memory. */
static void keep_unsaved(lua_State *L, uint32_t number) {
  int notes = lua_gettop(L), count = (int)orr_rawlen(L, notes), kept = 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, notes, i);
    lua_rawgeti(L, -1, 1);
    const orr_instance *item = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (item->session != number)
      lua_rawseti(L, notes, ++kept);
    lua_settop(L, notes);
  }
  for (int i = kept + 1; i <= count; i++) {
    lua_pushnil(L);
    lua_rawseti(L, notes, i);
  }
  kept ? lua_pushvalue(L, notes) : lua_pushnil(L);
}

/* Takes no memory, as a flush that is written wants it: most Luas make room for a key that is set to nil. */
static void clear_note(lua_State *L, int user, int key) {
  lua_rawgeti(L, user, key);
  bool there = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (there) {
    lua_pushnil(L);
    lua_rawseti(L, user, key);
  }
}

/* Drops what the user value at `user` remembers of relation r. */
static void settle_notes(lua_State *L, const orr_instance *object, int user, int r) {
  const orr_class *class = object->class;
  clear_note(L, user, -orr_user_relation(class, r));
  lua_rawgeti(L, user, orr_user_backlog(class, r));
  if (lua_istable(L, -1)) {
    keep_unsaved(L, object->session);
    lua_rawseti(L, user, orr_user_backlog(class, r));
  }
  lua_pop(L, 1);
}

/* Drops what the collection of relation r remembers. */
static void settle_collection(lua_State *L, const orr_instance *object, int index, int r) {
  if (!(object->class->relations[r].flags & ORR_RELATION_LIST))
    return;
  orr_instance_held(L, object, index, r);
  orr_collection *list = lua_touserdata(L, -1);
  if (list)
    orr_collection_settle(L, list, lua_gettop(L));
  lua_pop(L, 1);
}

/* Whether relation r was changed while a flush wrote the object; forgets what it held before. */
static bool end_late(lua_State *L, const orr_instance *object, int user, int r) {
  int key = -orr_user_backlog(object->class, r);
  lua_rawgeti(L, user, key);
  bool late = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (late)
    clear_note(L, user, key);
  return late;
}

static void settle(lua_State *L, orr_instance *object, int index, bool written) {
  const orr_class *class = object->class;
  unsigned char *tags = orr_tags(object);
  bool has_user = object->flags & ORR_HAS_USER, moved = object->flags & ORR_MOVED;
  index = orr_absindex(L, index);
  if (object->old)
    release_olds(object);
  if (has_user)
    orr_getuservalue(L, index);
  int user = lua_gettop(L);
  for (int i = 0; i < class->column_count; i++)
    if (tags[i] & ORR_CHANGED) {
      tags[i] &= (unsigned char)~ORR_CHANGED;
      if (has_user)
        clear_note(L, user, -(i + 1));
    }
  unsigned late = object->flags & ORR_LATE, kept = 0;
  object->flags &= (uint16_t) ~(ORR_HAS_OLD | ORR_MOVED | ORR_LATE);
  for (int r = 0; orr_instance_is_linked(object) && r < class->relation_count; r++) {
    if (late && end_late(L, object, user, r) && written) {
      kept = ORR_HAS_OLD | ORR_MOVED;
      continue;
    }
    if (has_user)
      settle_notes(L, object, user, r);
    if (moved || class->relations[r].flags & ORR_RELATION_WRITE_ONLY)
      settle_collection(L, object, index, r);
  }
  object->flags |= (uint16_t)kept;
  if (has_user)
    lua_pop(L, 1);
}

void orr_instance_settle(lua_State *L, orr_instance *object, int index) { settle(L, object, index, false); }

void orr_instance_written(lua_State *L, orr_instance *object, int index) { settle(L, object, index, true); }

/* ---- relations that change while a flush writes the object ---- */

bool orr_instance_kept_late(lua_State *L, const orr_instance *object, int index, int relation) {
  if (!(object->flags & ORR_LATE))
    return false;
  orr_instance_getuser(L, object, index, -orr_user_backlog(object->class, relation));
  bool late = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return late;
}

void orr_instance_keep_late(lua_State *L, orr_instance *object, int index, int relation) {
  orr_instance_setuser(L, object, index, -orr_user_backlog(object->class, relation));
  object->flags |= ORR_LATE;
  orr_instance_session(object)->late = true;
  orr_instance_move(object);
}

/* Relation r held, before it was changed, what is on top (popped): an old value, true where it was unchanged.
   That is what a stored object has in the database. */
static void restore_late(lua_State *L, orr_instance *object, int index, int r) {
  bool unchanged = lua_isboolean(L, -1) && lua_toboolean(L, -1);
  if (unchanged && object->state == ORR_PERSISTENT) {
    lua_pop(L, 1);
  } else if (!(object->class->relations[r].flags & ORR_RELATION_LIST)) {
    if (unchanged) {
      lua_pop(L, 1);
      lua_pushnil(L);
    }
    orr_instance_setuser(L, object, index, -orr_user_relation(object->class, r));
  } else {
    orr_instance_held(L, object, index, r);
    lua_insert(L, -2);
    orr_collection *list = lua_touserdata(L, -2);
    if (unchanged) {
      lua_pop(L, 1);
      orr_collection_settle(L, list, lua_gettop(L));
    } else {
      orr_collection_restore(L, list, lua_gettop(L) - 1);
    }
    lua_pop(L, 1);
  }
}

void orr_instance_undo_late(lua_State *L, orr_instance *object, int index) {
  if (!(object->flags & ORR_LATE))
    return;
  index = orr_absindex(L, index);
  for (int r = 0; r < object->class->relation_count; r++) {
    int key = -orr_user_backlog(object->class, r);
    orr_instance_getuser(L, object, index, key);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      continue;
    }
    restore_late(L, object, index, r);
    lua_pushnil(L);
    orr_instance_setuser(L, object, index, key);
  }
  object->flags &= (uint16_t)~ORR_LATE;
}

bool orr_instance_key(lua_State *L, orr_instance *object, int index, bool stored, orr_value *out) {
  const orr_class *class = object->class;
  for (int k = 0; k < class->key_count; k++) {
    int column = class->keys[k];
    unsigned tag = orr_tags(object)[column];
    if (!stored || !(tag & ORR_CHANGED) || !orr_instance_old(L, object, index, column, &out[k]))
      orr_instance_value(L, object, index, column, &out[k]);
    if (out[k].tag == ORR_NULL)
      return false;
  }
  return true;
}

/* ---- reading ---- */

/* Runs hook(object, attribute number) so that a column's value is there afterwards. */
static void load_column(lua_State *L, int index, const char *name, int column) {
  orr_push_hook(L, name);
  lua_pushvalue(L, index);
  lua_pushinteger(L, column + 1);
  lua_call(L, 2, 0);
}

static bool is_expired(const orr_instance *object) {
  const orr_session *session = orr_instance_session(object);
  return session && object->state == ORR_PERSISTENT && object->epoch != session->epoch;
}

void orr_instance_stored(lua_State *L, orr_instance *object, int index, int column, orr_value *out) {
  if (is_expired(object) && object->class->columns[column].flags & ORR_COLUMN_KEY)
    forget_key(L, object, index, column);
  orr_instance_value(L, object, index, column, out);
}

/* Whether a read must go to the database first. Objects without a stored row have nothing to load. */
static void ensure_column(lua_State *L, orr_instance *object, int index, int column) {
  if (object->session && is_expired(object))
    load_column(L, index, "refresh", column);
  if (orr_tags(object)[column] & ORR_UNLOADED) {
    orr_state state = orr_instance_state(object);
    if (state == ORR_PERSISTENT || state == ORR_DETACHED)
      load_column(L, index, "load_column", column);
  }
}

static void push_raw(lua_State *L, orr_instance *object, int index, int column) {
  orr_value value;
  orr_instance_value(L, object, index, column, &value);
  orr_type_push(L, &object->class->columns[column].type, &value);
}

/* What the type's result function makes of the stored value, kept for the next read. */
static void push_result(lua_State *L, orr_instance *object, int index, int column) {
  const orr_class *class = object->class;
  if (orr_tags(object)[column] & ORR_CACHED) {
    orr_instance_getuser(L, object, index, orr_user_cached(class, column));
    return;
  }
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_TYPES);
  lua_rawgeti(L, -1, column + 1);
  lua_getfield(L, -1, "result");
  lua_pushvalue(L, -2);
  push_raw(L, object, index, column);
  if (lua_isnil(L, -1)) {
    lua_insert(L, -6);
    lua_pop(L, 5);
    return;
  }
  lua_call(L, 2, 1);
  lua_insert(L, -4);
  lua_pop(L, 3);
  lua_pushvalue(L, -1);
  orr_instance_setuser(L, object, index, orr_user_cached(class, column));
  orr_tags(object)[column] |= ORR_CACHED;
  orr_session *session = orr_instance_session(object);
  if (session && class->columns[column].flags & ORR_COLUMN_MUTABLE)
    orr_session_watch(L, session, object, index);
}

/* A long text becomes a Lua string once; the next read finds that. */
static void push_long_text(lua_State *L, orr_instance *object, int index, int column) {
  push_raw(L, object, index, column);
  if (lua_type(L, -1) != LUA_TSTRING)
    return;
  lua_pushvalue(L, -1);
  orr_instance_setuser(L, object, index, column + 1);
  orr_tags(object)[column] |= ORR_OUTSIDE;
}

static void push_column(lua_State *L, orr_instance *object, int index, int column) {
  if (object->session || orr_tags(object)[column] & ORR_UNLOADED)
    ensure_column(L, object, index, column);
  const orr_attribute *about = &object->class->columns[column];
  unsigned tag = orr_tags(object)[column];
  const orr_cell *cell = &orr_cells(object)[column];
  if (tag & ORR_UNLOADED)
    lua_pushnil(L);
  else if (about->flags & ORR_COLUMN_RESULT)
    push_result(L, object, index, column);
  else if ((tag & ORR_TAG) == ORR_REAL)
    lua_pushnumber(L, cell->r);
  else if (about->type.kind != ORR_KIND_TEXT || (tag & ORR_TAG) != ORR_TEXT)
    push_raw(L, object, index, column);
  else if (tag & ORR_OUTSIDE)
    orr_instance_getuser(L, object, index, column + 1);
  else if (cell->text.len <= SHORT_TEXT)
    lua_pushlstring(L, orr_text(object) + cell->text.at, cell->text.len);
  else
    push_long_text(L, object, index, column);
}

static bool is_private(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TSTRING && *lua_tostring(L, index) == '_';
}

/* A name that is no attribute: a method, the script's own field, or the hook's matter (hybrids, errors). */
static int read_other(lua_State *L, orr_instance *object) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(3));
  if (lua_isfunction(L, -1))
    return 1;
  if (lua_isnil(L, -1) && is_private(L, 2)) {
    if (!(object->flags & ORR_HAS_USER))
      return 0;
    orr_getuservalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
  }
  orr_push_hook(L, "read_other");
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -4);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 4, 1);
  return 1;
}

/* The instance that an accessor of this class was called with. (A light userdata has no length.) */
static orr_instance *receiver(lua_State *L, const orr_class *class) {
  orr_instance *object = lua_touserdata(L, 1);
  if (!object || orr_rawlen(L, 1) < sizeof *object || object->class != class)
    orr_raisef(L, "ArgumentError", "attribute access on something that is not the mapped object");
  if (!class->world)
    orr_raisef(L, "InvalidRequestError", "this object's class is closed: the state is closing");
  return object;
}

/* Pushes what a script sees of a write-only collection of the object at 1. */
static void push_write_only(lua_State *L, int attribute) {
  orr_push_hook(L, "write_only");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, attribute + 1);
  lua_call(L, 2, 1);
}

int orr_instance_read(lua_State *L) {
  const orr_class *class = lua_touserdata(L, lua_upvalueindex(1));
  orr_instance *object = receiver(L, class);
  int attribute = orr_class_attribute(class, L, 2);
  if (attribute < 0)
    return read_other(L, object);
  if (attribute < class->column_count)
    push_column(L, object, 1, attribute);
  else if (class->relations[attribute - class->column_count].flags & ORR_RELATION_WRITE_ONLY)
    push_write_only(L, attribute);
  else
    orr_relationship_get(L, object, 1, attribute - class->column_count, true);
  return 1;
}

/* ---- assigning ---- */

/* Replaces the value at `value` by what the type's bind function makes of it. */
static void bind_value(lua_State *L, const orr_class *class, int column, int value) {
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_TYPES);
  lua_rawgeti(L, -1, column + 1);
  lua_getfield(L, -1, "bind");
  lua_pushvalue(L, -2);
  lua_pushvalue(L, value);
  if (lua_pcall(L, 2, 1, 0) != 0) {
    orr_push_hook(L, "bind_failed");
    lua_insert(L, -2);
    lua_pushinteger(L, column + 1);
    orr_class_push(L, class);
    lua_call(L, 3, 0);
  }
  lua_replace(L, value);
  lua_pop(L, 3);
}

static bool is_null(lua_State *L, int index) {
  return lua_isnil(L, index) || (lua_islightuserdata(L, index) && !lua_touserdata(L, index));
}

/* Reads the value at `value` for a column: checked, in the form in which it is stored. */
static void take(lua_State *L, const orr_class *class, int column, int value, orr_value *out, char *scratch) {
  orr_error error;
  const orr_attribute *about = &class->columns[column];
  if (about->flags & ORR_COLUMN_READ_ONLY)
    orr_attribute_error(L, class, column, "ArgumentError",
                        "it is an SQL expression, which is loaded and cannot be assigned");
  if (about->flags & ORR_COLUMN_BIND && !is_null(L, value))
    bind_value(L, class, column, value);
  orr_error_clear(&error);
  if (orr_type_take(L, value, &about->type, out, scratch, &error) != 0)
    orr_attribute_error(L, class, column, error.kind, error.message);
}

/* Stores what the Lua value at `given` was taken as; text is kept as the Lua string that it is. */
static void put_assigned(lua_State *L, orr_instance *object, int index, int column, const orr_value *value,
                         int given) {
  unsigned changed = orr_tags(object)[column] & ORR_CHANGED;
  if (value->tag >= ORR_TEXT) {
    if (lua_type(L, given) == LUA_TSTRING && lua_tostring(L, given) == value->as.s)
      lua_pushvalue(L, given);
    else
      lua_pushlstring(L, value->as.s, value->len);
    orr_instance_setuser(L, object, index, column + 1);
    orr_tags(object)[column] = (unsigned char)(value->tag | ORR_OUTSIDE | changed);
    return;
  }
  pack_value(object, column, value, 0);
  orr_tags(object)[column] |= (unsigned char)changed;
}

void orr_instance_assign(lua_State *L, orr_instance *object, int index, int column, int value) {
  orr_value incoming, present;
  char scratch[ORR_TYPE_SCRATCH];
  take(L, object->class, column, value, &incoming, scratch);
  orr_session *session = orr_instance_session(object);
  if (session && object->state == ORR_PERSISTENT) {
    orr_instance_freshen(L, object, index, session);
    orr_instance_value(L, object, index, column, &present);
    if (!(orr_tags(object)[column] & ORR_UNLOADED) && orr_value_same(&incoming, &present))
      return;
    orr_session_dirty(L, session, object, index);
  }
  orr_instance_keep_old(L, object, index, column);
  put_assigned(L, object, index, column, &incoming, value);
}

static int write_other(lua_State *L, orr_instance *object) {
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(3));
  if (lua_isnil(L, -1) && is_private(L, 2)) {
    orr_instance_user(L, object, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    return 0;
  }
  orr_push_hook(L, "write_other");
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, -5);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 5, 0);
  return 0;
}

void orr_attribute_event(lua_State *L, int index, int attribute, int value, const char *event,
                         bool mirrored) {
  index = orr_absindex(L, index);
  value = orr_absindex(L, value);
  orr_push_hook(L, "attribute_event");
  lua_pushvalue(L, index);
  lua_pushinteger(L, attribute + 1);
  lua_pushvalue(L, value);
  lua_pushstring(L, event);
  lua_pushboolean(L, mirrored);
  lua_call(L, 5, 1);
  lua_replace(L, value);
}

/* Whether assigning the attribute is reported here. */
static bool is_heard(const orr_class *class, int attribute) {
  if (attribute < class->column_count)
    return class->columns[attribute].flags & ORR_COLUMN_EVENTS;
  return class->relations[attribute - class->column_count].flags & ORR_RELATION_EVENTS;
}

/* A collection tells of its items one by one, and before of all that it is to hold. */
static const char *set_event(const orr_class *class, int attribute) {
  int relation = attribute - class->column_count;
  return relation >= 0 && class->relations[relation].flags & ORR_RELATION_LIST ? "bulk_replace" : "set";
}

/* Whether the value at 3 is an SQL expression, which waits for the flush. */
static bool take_expression(lua_State *L, int object, int column, int value) {
  if (lua_type(L, value) != LUA_TTABLE || !lua_getmetatable(L, value))
    return false;
  orr_push_hook(L, "assign_expression");
  lua_pushvalue(L, object);
  lua_pushinteger(L, column + 1);
  lua_pushvalue(L, value);
  lua_call(L, 3, 1);
  bool taken = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return taken;
}

static void assign_attribute(lua_State *L, orr_instance *object, int attribute) {
  const orr_class *class = object->class;
  if (is_heard(class, attribute))
    orr_attribute_event(L, 1, attribute, 3, set_event(class, attribute), false);
  if (attribute < class->column_count && take_expression(L, 1, attribute, 3))
    return;
  if (attribute < class->column_count)
    orr_instance_assign(L, object, 1, attribute, 3);
  else
    orr_relationship_set(L, object, 1, attribute - class->column_count, 3);
}

int orr_instance_write(lua_State *L) {
  const orr_class *class = lua_touserdata(L, lua_upvalueindex(1));
  orr_instance *object = receiver(L, class);
  lua_settop(L, 3);
  int attribute = orr_class_attribute(class, L, 2);
  if (attribute < 0)
    return write_other(L, object);
  assign_attribute(L, object, attribute);
  return 0;
}

/* ---- core.new ---- */

enum { MOST_GIVEN = 24, FREE_TEXTS = 5 };

/* What a constructor is given, read before the object is made, so that it is allocated once. Text borrows
   from strings that are kept on the stack: a finalizer may change the fields while the object is made. */
typedef struct givens {
  int count, texts;
  size_t text;    /* bytes of it */
  bool relations; /* relationships are given too */
  bool others;    /* and what is not stored as it is: somebody has to be asked, or there is no room here */
  struct {
    int column;
    orr_value value;
  } fields[MOST_GIVEN];
} givens;

static bool is_plain(const orr_class *class, int attribute) {
  return attribute >= 0 && attribute < class->column_count &&
         !(class->columns[attribute].flags & (ORR_COLUMN_BIND | ORR_COLUMN_EVENTS));
}

static bool is_among(const givens *all, int column) {
  for (int i = 0; i < all->count; i++)
    if (all->fields[i].column == column)
      return true;
  return false;
}

/* Reads the value at `value` for a plain column; true where it is text that must stay on the stack. */
static bool read_plain(lua_State *L, const orr_class *class, int column, int value, givens *all) {
  orr_value taken;
  char scratch[ORR_TYPE_SCRATCH];
  take(L, class, column, value, &taken, scratch);
  bool text = taken.tag >= ORR_TEXT;
  all->text += taken.len;
  if (all->count == MOST_GIVEN || (text && taken.as.s == scratch)) {
    all->others = true;
    return false;
  }
  all->fields[all->count].column = column;
  all->fields[all->count++].value = taken;
  all->texts += text;
  return text;
}

/* Reads the field whose name and value are on top; true where its value must stay on the stack. */
static bool read_field(lua_State *L, const orr_class *class, int name, givens *all) {
  int attribute = orr_class_attribute(class, L, name);
  if (is_plain(class, attribute) && !lua_istable(L, name + 1))
    return read_plain(L, class, attribute, name + 1, all);
  if (attribute >= class->column_count)
    all->relations = true;
  else
    all->others = true;
  return false;
}

/* Reads the fields at 2; texts are left on the stack, with their names. */
static void read_fields(lua_State *L, const orr_class *class, givens *all) {
  int name = 3;
  for (lua_pushnil(L); lua_next(L, 2);) {
    if (!read_field(L, class, name, all)) {
      lua_pop(L, 1);
      continue;
    }
    if (all->texts == FREE_TEXTS)
      luaL_checkstack(L, 3 * MOST_GIVEN, "fields");
    lua_pushvalue(L, name);
    name += 2;
  }
}

/* An object says in its row which class it belongs to, unless its script does. */
static void read_identity(lua_State *L, const orr_class *class, givens *all) {
  if (!is_plain(class, class->discriminator) || is_among(all, class->discriminator))
    return;
  orr_class_field(L, 1, ORR_CLASS_IDENTITY);
  if (!lua_isnil(L, -1))
    read_plain(L, class, class->discriminator, lua_gettop(L), all);
  lua_pop(L, 1); /* the class holds it */
}

/* Gives the new object at 3 the field whose name and value are on top, unless it has it, or that is a
   relationship. */
static void give(lua_State *L, orr_class *class, orr_instance *object, const givens *all) {
  int value = lua_gettop(L), attribute = orr_class_attribute(class, L, value - 1);
  orr_value taken;
  char scratch[ORR_TYPE_SCRATCH];
  if (attribute >= class->column_count || is_among(all, attribute))
    return;
  if (attribute >= 0 && is_heard(class, attribute))
    orr_attribute_event(L, 3, attribute, value, set_event(class, attribute), false);
  if (attribute < 0) {
    orr_push_hook(L, "unknown_field");
    lua_pushvalue(L, 3);
    lua_pushvalue(L, value - 1);
    lua_pushvalue(L, value);
    lua_pushvalue(L, 1);
    lua_call(L, 4, 0);
  } else if (!take_expression(L, 3, attribute, value)) {
    take(L, class, attribute, value, &taken, scratch);
    orr_instance_put(L, object, 3, attribute, &taken);
  }
}

/* Pushes name and value of relationship r in the fields at 2; false where it was not given: pushes nothing.
   `names` is the class's table of names. */
static bool push_relation_field(lua_State *L, const orr_class *class, int names, int r) {
  lua_rawgeti(L, names, class->column_count + r + 1);
  lua_pushvalue(L, -1);
  lua_rawget(L, 2);
  if (!lua_isnil(L, -1))
    return true;
  lua_pop(L, 2);
  return false;
}

/* Relationships come after all columns, and in their order: what is wrong with a column is known by then, and
   no other object has heard of this one. */
static void give_relations(lua_State *L, orr_class *class, orr_instance *object) {
  orr_class_field(L, 1, ORR_CLASS_NAMES);
  for (int r = 0; r < class->relation_count; r++)
    if (push_relation_field(L, class, 4, r)) {
      int attribute = class->column_count + r;
      if (is_heard(class, attribute))
        orr_attribute_event(L, 3, attribute, 6, set_event(class, attribute), false);
      orr_relationship_set(L, object, 3, r, 6);
      lua_settop(L, 4);
    }
}

/* The same where that could not be read before. */
static void give_identity(lua_State *L, const orr_class *class, orr_instance *object) {
  orr_value value;
  char scratch[ORR_TYPE_SCRATCH];
  orr_class_field(L, 1, ORR_CLASS_IDENTITY);
  if (!lua_isnil(L, -1)) {
    take(L, class, class->discriminator, lua_gettop(L), &value, scratch);
    orr_instance_put(L, object, 3, class->discriminator, &value);
  }
  lua_pop(L, 1);
}

static void refuse_fields(lua_State *L) {
  orr_class_field(L, 1, ORR_CLASS_NAME);
  orr_raisef(L, "ArgumentError", "%s{...} takes one table of fields, got %s", lua_tostring(L, -1),
             luaL_typename(L, 2));
}

/* Gives the new object at 3 what could not be read before. */
static void give_rest(lua_State *L, orr_class *class, orr_instance *object, const givens *all) {
  if (class->discriminator >= 0 && orr_tags(object)[class->discriminator] & ORR_UNLOADED)
    give_identity(L, class, object);
  if (all->others)
    for (lua_pushnil(L); lua_next(L, 2); lua_settop(L, 4))
      give(L, class, object, all);
  if (all->relations)
    give_relations(L, class, object);
}

/* Pushes an object of the class at 1 with the fields at 2, or without any where that is nil; `meta` is the
   index of the metatable, or 0. */
static int make_object(lua_State *L, orr_class *class, int meta) {
  givens all;
  all.count = all.texts = 0;
  all.text = 0;
  all.relations = all.others = false;
  if (lua_istable(L, 2))
    read_fields(L, class, &all);
  else if (!lua_isnil(L, 2))
    refuse_fields(L);
  if (class->discriminator >= 0 && !all.others)
    read_identity(L, class, &all);
  if (!meta)
    orr_class_field(L, 1, ORR_CLASS_META);
  orr_instance *object = orr_instance_new_slotted(L, class, all.text, meta ? meta : lua_gettop(L));
  uint32_t end = 0;
  for (int i = 0; i < all.count; i++)
    end = pack_value(object, all.fields[i].column, &all.fields[i].value, end);
  lua_insert(L, 3);
  lua_settop(L, 3);
  give_rest(L, class, object, &all);
  lua_settop(L, 3);
  return 1;
}

/* core.new(class [, fields]) -> object, transient. Values are checked as in assignments. */
static int new_object(lua_State *L) {
  lua_settop(L, 2);
  return make_object(L, orr_class_check(L, 1), 0);
}

/* A class's constructor: upvalues are the class and its instances' metatable. */
static int construct(lua_State *L) {
  orr_class *class = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 2);
  if (lua_touserdata(L, 1) != class)
    return make_object(L, orr_class_check(L, 1), 0);
  if (!class->world)
    orr_class_check(L, 1);
  return make_object(L, class, lua_upvalueindex(2));
}

/* core.constructor(class, metatable of its instances) -> core.new for that class */
static int new_constructor(lua_State *L) {
  lua_settop(L, 2);
  lua_pushcclosure(L, construct, 2);
  return 1;
}

/* core.assign(object, fields): as the constructor does, onto an object that is there. */
static int assign_fields(lua_State *L) {
  const orr_class *class = orr_instance_check(L, 1)->class;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  orr_class_push(L, class);
  orr_class_field(L, 3, ORR_CLASS_NAMES);
  for (lua_pushnil(L); lua_next(L, 2); lua_settop(L, 5)) {
    if (orr_class_attribute(class, L, 5) >= class->column_count)
      continue;
    lua_pushvalue(L, 5);
    lua_insert(L, 6);
    lua_settable(L, 1);
  }
  for (int r = 0; r < class->relation_count; r++)
    if (push_relation_field(L, class, 4, r))
      lua_settable(L, 1);
  return 0;
}

/* ---- what the Lua side asks ---- */

const char *orr_state_name(orr_state state) {
  static const char *const names[] = {"transient", "pending", "persistent", "deleted", "detached"};
  return names[state];
}

/* core.state(object) -> state name, session number or nil, whether it has changes */
static int state(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  lua_pushstring(L, orr_state_name(orr_instance_state(object)));
  if (orr_instance_session(object))
    lua_pushinteger(L, object->session);
  else
    lua_pushnil(L);
  lua_pushboolean(L, (object->flags & ORR_DIRTY) != 0);
  return 3;
}

/* core.left(object) -> how a detached object left its session: "expunged", "closed", "deleted" or "dropped";
   nil where it was in none */
static int left(lua_State *L) {
  static const char *const words[] = {NULL, "expunged", "closed", "deleted"};
  const orr_instance *object = orr_instance_check(L, 1);
  lua_pushstring(L, object->session ? "dropped" : words[object->left]);
  return 1;
}

/* core.peek(object, attribute number) -> value, loaded. Never loads. */
static int peek(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int attribute = orr_check_place(L, 2), columns = object->class->column_count;
  if (is_expired(object)) {
    lua_pushnil(L);
    lua_pushboolean(L, 0);
  } else if (attribute >= columns) {
    bool loaded = orr_relationship_get(L, object, 1, attribute - columns, false);
    lua_pushboolean(L, loaded);
  } else if (orr_tags(object)[attribute] & ORR_UNLOADED) {
    lua_pushnil(L);
    lua_pushboolean(L, 0);
  } else {
    push_column(L, object, 1, attribute);
    lua_pushboolean(L, 1);
  }
  return 2;
}

/* core.stored(object, column number) -> the database value as it is kept, even when expired; nil for NULL */
static int stored(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int column = orr_check_place(L, 2);
  luaL_argcheck(L, column >= 0 && column < object->class->column_count, 2, "column number expected");
  orr_value value;
  orr_instance_stored(L, object, 1, column, &value);
  if (value.tag == ORR_NULL)
    lua_pushnil(L);
  else
    orr_type_push_raw(L, &value);
  return 1;
}

/* core.is_missing(object, column number): its stored value is not there. A key column's is, even when
 * expired. */
static int is_missing(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int column = orr_check_place(L, 2);
  bool is_key = object->class->columns[column].flags & ORR_COLUMN_KEY;
  lua_pushboolean(L, !is_key && orr_tags(object)[column] & ORR_UNLOADED);
  return 1;
}

/* core.deferred(object) -> nil, or what its query left out by number: true, or "raise" where it forbade to
   load it later. Of an expired object only what the class defers: the rest is read again. */
static int deferred(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  unsigned char *tags = orr_tags(object);
  bool expired = is_expired(object);
  lua_settop(L, 1);
  for (int c = 0; c < object->class->column_count; c++) {
    if (!(tags[c] & ORR_DEFERRED) || (expired && !(object->class->columns[c].flags & ORR_COLUMN_DEFERRED)))
      continue;
    if (lua_gettop(L) == 1)
      lua_newtable(L);
    if (tags[c] & ORR_REFUSED)
      lua_pushliteral(L, "raise");
    else
      lua_pushboolean(L, 1);
    lua_rawseti(L, 2, c + 1);
  }
  return lua_gettop(L) - 1;
}

/* core.old(object, attribute number) -> old value (false: not known), or nil where nothing was changed */
static int old(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int attribute = orr_check_place(L, 2), columns = object->class->column_count;
  if (attribute < columns && !(orr_tags(object)[attribute] & ORR_CHANGED))
    lua_pushnil(L);
  else if (attribute < columns)
    push_old(L, object, 1, attribute);
  else
    orr_instance_getuser(L, object, 1, -orr_user_relation(object->class, attribute - columns));
  return 1;
}

/* core.set_old(object, column number, db value): what the database holds of a column, learned later. */
static int set_old(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int column = orr_check_place(L, 2);
  orr_value value;
  orr_error error;
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  char scratch[ORR_TYPE_SCRATCH];
  lua_settop(L, 3);
  if (orr_tags(object)[column] & ORR_CHANGED) {
    orr_instance_drop_old(L, object, 1, column);
    orr_instance_setuser(L, object, 1, -(column + 1));
  } else if (orr_tags(object)[column] & ORR_UNLOADED) {
    if (orr_type_take(L, 3, &any, &value, scratch, &error) == 0)
      orr_instance_put(L, object, 1, column, &value);
  }
  return 0;
}

/* core.replace_raw(object, column number, db value): what a mutable value has become, found at flush. True
   where it differs from what is stored. */
static int replace_raw(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int column = orr_check_place(L, 2);
  orr_value incoming, present;
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  char scratch[ORR_TYPE_SCRATCH];
  orr_error error;
  if (orr_type_take(L, 3, &any, &incoming, scratch, &error) != 0)
    return orr_attribute_error(L, object->class, column, error.kind, error.message);
  orr_instance_value(L, object, 1, column, &present);
  bool differs = !orr_value_same(&incoming, &present);
  if (differs) {
    unsigned cached = orr_tags(object)[column] & ORR_CACHED;
    orr_session *session = orr_instance_session(object);
    if (session && object->state == ORR_PERSISTENT)
      orr_session_dirty(L, session, object, 1);
    orr_instance_keep_old(L, object, 1, column);
    put_assigned(L, object, 1, column, &incoming, 3);
    orr_tags(object)[column] |= (unsigned char)cached;
  }
  lua_pushboolean(L, differs);
  return 1;
}

static void unload_column(lua_State *L, orr_instance *object, int column);

/* core.set_raw(object, column number, db value): what the database has come to hold, as if it had been
   loaded. A number that may have been another one before this Lua held it is read again when it is asked for.
 */
static int set_raw(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int column = orr_check_place(L, 2);
  luaL_argcheck(L, column >= 0 && column < object->class->column_count, 2, "column number expected");
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  orr_value value;
  char scratch[ORR_TYPE_SCRATCH];
  orr_error error;
  if (orr_type_take(L, 3, &any, &value, scratch, &error) == 0)
    put_assigned(L, object, 1, column, &value, 3);
  else
    unload_column(L, object, column);
  return 0;
}

/* What was noted while the collection on top was not loaded is part of it now; `stored` is an array of what
   the database has, so that the difference is known at the next flush. */
static void take_notes_in(lua_State *L, orr_instance *owner, int index, orr_collection *list, int stored) {
  lua_pushvalue(L, stored);
  orr_collection_setfield(L, -2, ORR_COLLECTION_OLD);
  list->kept = true;
  orr_instance_move(owner);
  lua_pushnil(L);
  orr_instance_setuser(L, owner, index, orr_user_backlog(owner->class, list->relation));
}

/* core.set_loaded(object, attribute number, value [, stored]): a relation's value as loaded: object, array of
   objects, or nil. `stored` is the array as the database has it, where notes were merged into the other. */
static int set_loaded(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int relation = orr_check_place(L, 2) - object->class->column_count;
  lua_settop(L, 4);
  if (object->class->relations[relation].flags & ORR_RELATION_LIST) {
    orr_collection *list = orr_collection_new(L, 1, relation);
    int count = (int)orr_rawlen(L, 3);
    for (int i = 1; i <= count; i++) {
      lua_rawgeti(L, 3, i);
      if (!orr_relationship_has_left(L, &object->class->relations[relation], 1, 6))
        orr_collection_push_item(L, list, 5, 6);
      lua_settop(L, 5);
    }
    if (lua_istable(L, 4))
      take_notes_in(L, object, 1, list, 4);
  } else if (lua_isnil(L, 3) || orr_relationship_has_left(L, &object->class->relations[relation], 1, 3)) {
    lua_pushboolean(L, 0);
  } else {
    lua_pushvalue(L, 3);
  }
  orr_instance_hold(L, object, 1, relation);
  return 0;
}

/* core.backlog(object, attribute number) -> { {item, added}, ... } or nil: what the other side did to an
 * unloaded collection */
static int backlog(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int relation = orr_check_place(L, 2) - object->class->column_count;
  orr_instance_getuser(L, object, 1, orr_user_backlog(object->class, relation));
  return 1;
}

/* core.extra(object, name) and core.set_extra(object, name, value): the script's own fields. */
static int extra(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  if (!(object->flags & ORR_HAS_USER) || lua_type(L, 2) != LUA_TSTRING)
    return 0;
  orr_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static int set_extra(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 3);
  orr_instance_user(L, object, 1);
  lua_insert(L, 2);
  lua_rawset(L, 2);
  return 0;
}

/* core.forget(object): its attributes count as unloaded, changes are dropped. */
static int forget(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  orr_session *session = orr_instance_session(object);
  orr_instance_forget(L, object, 1, session ? session->epoch : object->epoch);
  object->flags &= (uint16_t)~ORR_DIRTY;
  return 0;
}

static void clear_user(lua_State *L, orr_instance *object, int key) {
  if (!(object->flags & ORR_HAS_USER))
    return;
  lua_pushnil(L);
  orr_instance_setuser(L, object, 1, key);
}

static void unload_column(lua_State *L, orr_instance *object, int column) {
  const orr_class *class = object->class;
  unsigned char *tag = &orr_tags(object)[column];
  if (class->columns[column].flags & ORR_COLUMN_KEY)
    forget_key(L, object, 1, column);
  *tag = unloaded_tag(*tag & ~(unsigned)ORR_DEFERRED, class->columns[column].flags);
  orr_instance_drop_old(L, object, 1, column);
  clear_user(L, object, orr_user_cached(class, column));
}

/* core.unload(object, attribute number): that attribute counts as unloaded, a change of it is dropped. */
static int unload(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int attribute = orr_check_place(L, 2), columns = object->class->column_count;
  if (attribute < columns) {
    unload_column(L, object, attribute);
    return 0;
  }
  int relation = attribute - columns;
  if (orr_instance_is_linked(object)) {
    lua_pushnil(L);
    orr_instance_hold(L, object, 1, relation);
  }
  clear_user(L, object, -orr_user_relation(object->class, relation));
  clear_user(L, object, orr_user_backlog(object->class, relation));
  clear_user(L, object, -orr_user_backlog(object->class, relation));
  return 0;
}

/* core.touch(object): it has something to write that its attributes do not show. */
static int touch(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  orr_session *session = orr_instance_session(object);
  if (session && object->state == ORR_PERSISTENT)
    orr_session_dirty(L, session, object, 1);
  return 0;
}

/* core.is_given(object, attribute number): it was loaded, or a script has assigned it; an empty list that was
   only read is not. */
static int is_given(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int attribute = orr_check_place(L, 2), columns = object->class->column_count;
  bool given = !is_expired(object);
  if (given && attribute < columns) {
    given = !(orr_tags(object)[attribute] & ORR_UNLOADED);
  } else if (given) {
    orr_instance_held(L, object, 1, attribute - columns);
    const orr_collection *list = orr_box_test(L, -1, &orr_collection_kind);
    bool stored = orr_instance_state(object) >= ORR_PERSISTENT;
    given = !lua_isnil(L, -1) && (!list || list->count || list->given || stored);
  }
  lua_pushboolean(L, given);
  return 1;
}

/* core.set_stored(object, source, column number): gives an object a stored value of another one of its class,
   as if it had been loaded. */
static int set_stored(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1), *source = orr_instance_check(L, 2);
  int column = orr_check_place(L, 3);
  luaL_argcheck(L, object->class == source->class, 2, "object of the same class expected");
  luaL_argcheck(L, column >= 0 && column < object->class->column_count, 3, "column number expected");
  orr_value value;
  orr_instance_value(L, source, 2, column, &value);
  orr_instance_put(L, object, 1, column, &value);
  return 0;
}

/* core.was_deleted(object): a flush has deleted its row. */
static int was_deleted(lua_State *L) {
  lua_pushboolean(L, orr_instance_check(L, 1)->state == ORR_DELETED);
  return 1;
}

/* core.make_transient(object): one that is in no session forgets that it had a row; its values stay. */
static int make_transient(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  const orr_class *class = object->class;
  orr_instance_settle(L, object, 1);
  for (int k = 0; k < class->key_count; k++)
    if ((orr_tags(object)[class->keys[k]] & ORR_TAG) != ORR_NULL)
      orr_tags(object)[class->keys[k]] &= (unsigned char)~ORR_UNLOADED;
  object->state = ORR_TRANSIENT;
  return 0;
}

/* core.make_detached(object) -> false where its key is not complete: a transient one counts as having a row,
   from which what it lacks is loaded. */
static int make_detached(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  orr_value values[ORR_MAX_KEY];
  bool keyed = orr_instance_key(L, object, 1, false, values);
  if (keyed)
    object->state = ORR_PERSISTENT;
  lua_pushboolean(L, keyed);
  return 1;
}

void orr_instance_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", new_object},
                                       {"constructor", new_constructor},
                                       {"assign", assign_fields},
                                       {"state", state},
                                       {"left", left},
                                       {"peek", peek},
                                       {"stored", stored},
                                       {"old", old},
                                       {"set_old", set_old},
                                       {"replace_raw", replace_raw},
                                       {"set_loaded", set_loaded},
                                       {"backlog", backlog},
                                       {"deferred", deferred},
                                       {"forget", forget},
                                       {"unload", unload},
                                       {"touch", touch},
                                       {"is_given", is_given},
                                       {"set_stored", set_stored},
                                       {"set_raw", set_raw},
                                       {"is_missing", is_missing},
                                       {"was_deleted", was_deleted},
                                       {"make_transient", make_transient},
                                       {"make_detached", make_detached},
                                       {"extra", extra},
                                       {"set_extra", set_extra},
                                       {NULL, NULL}};
  orr_setfuncs(L, functions);
}
