/* loadlib: the loop from rows to objects: steps the statement, finds or makes each object as the plan says,
   puts it where it belongs and never enters Lua. */
#include <stddef.h>
#include <string.h>

#include "load.h"

/* ---- the row ---- */

static int fail(lua_State *L, orr_statement *statement, const orr_error *error) {
  orr_statement_error(L, statement, error);
  return lua_error(L);
}

static int read_in_order(const orr_load *to, int first, int count) {
  int status = 0;
  for (int i = first; i < first + count; i++)
    status |= to->statement->driver->row(to->statement->handle, to->plan->order[i], to->row + i, 1);
  return status;
}

void orr_load_read(lua_State *L, orr_load *to, int first, int count) {
  const orr_driver *driver = to->statement->driver;
  int status = to->plan->order ? read_in_order(to, first, count)
                               : driver->row(to->statement->handle, first, to->row + first, count);
  if (status == 0)
    return;
  orr_error error;
  orr_error_clear(&error);
  orr_error_set(&error, "OperationalError", "out of memory");
  fail(L, to->statement, &error);
}

/* Reads what comes behind the key of an object that is new, or lacks something. */
static void read_rest(lua_State *L, orr_load *to, const orr_item *item) {
  orr_load_read(L, to, item->first + item->lead, item->count - item->lead);
  to->whole = item;
}

/* ---- one object ---- */

static char *key_bytes(lua_State *L, orr_load *to, size_t size) {
  if (size > to->key_room) {
    to->key = lua_newuserdata(L, size * 2);
    to->key_room = size * 2;
    lua_replace(L, to->key_box);
  }
  return to->key;
}

/* The identity key of the row; false where a part is NULL: no object there (outer joins). */
static bool row_key(lua_State *L, orr_load *to, const orr_item *item, orr_key *key) {
  const orr_value *first = &to->row[item->keys[0]];
  orr_load_read(L, to, item->first, item->lead);
  if (item->key_count == 1 && first->tag == ORR_INT) {
    orr_key_integer(key, item->class->id, first->as.i);
    return true;
  }
  orr_value values[ORR_MAX_KEY];
  for (int k = 0; k < item->key_count; k++) {
    values[k] = to->row[item->keys[k]];
    if (values[k].tag == ORR_NULL)
      return false;
  }
  size_t size = orr_key_size(values, item->key_count);
  orr_key_make(key, item->class->id, values, item->key_count, size ? key_bytes(L, to, size) : NULL);
  return true;
}

static size_t text_size(const orr_load *to, const orr_item *item) {
  size_t size = 0;
  for (int i = 0; i < item->count; i++)
    size += to->row[item->first + i].len;
  return size;
}

/* Notes in an object that was made or emptied just now what its query leaves out. */
static void mark_left_out(orr_instance *object, const orr_item *item) {
  unsigned char *tags = orr_tags(object);
  for (int i = 0; i < item->left_count; i++)
    tags[item->left[i]] = ORR_NULL | ORR_UNLOADED | ORR_DEFERRED;
  for (int i = 0; i < item->refused_count; i++)
    tags[item->refused[i]] |= ORR_REFUSED;
}

/* Pushes an object with room for the row's text, and, where it is to hold others, for these. */
static orr_instance *new_object(lua_State *L, const orr_load *to, const orr_item *item, orr_class *class,
                                int meta) {
  size_t size = text_size(to, item);
  return to->holder ? orr_instance_new_slotted(L, class, size, meta) : orr_instance_new(L, class, size, meta);
}

static orr_instance *make_object(lua_State *L, orr_load *to, const orr_item *item, int meta) {
  orr_instance *object = new_object(L, to, item, item->class, meta);
  orr_instance_pack(object, item->map, &to->row[item->first], item->count);
  if (item->left_count)
    mark_left_out(object, item);
  object->epoch = to->session->epoch;
  return object;
}

/* ---- rows of several classes ---- */

static void raise_kind(lua_State *L, const char *hook, const orr_item *item, const orr_class *other,
                       const orr_value *value) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  orr_push_hook(L, hook);
  orr_class_push(L, item->class);
  if (other)
    orr_class_push(L, other);
  else
    lua_pushnil(L);
  orr_type_push(L, &any, value);
  lua_call(L, 3, 0);
}

/* The class of a row, by its discriminator. Without one it is the class that was asked for. */
static const orr_variant *kind_of_row(lua_State *L, const orr_load *to, orr_item *item) {
  const orr_value *value = &to->row[item->discriminator];
  if (value->tag == ORR_NULL)
    return &item->kinds[0];
  if (orr_value_same(&item->kinds[item->last_kind].identity, value))
    return &item->kinds[item->last_kind];
  for (int i = 0; i < item->kind_count; i++)
    if (orr_value_same(&item->kinds[i].identity, value)) {
      item->last_kind = i;
      return &item->kinds[i];
    }
  raise_kind(L, "unknown_identity", item, NULL, value);
  return NULL;
}

static const orr_variant *kind_of_class(const orr_item *item, const orr_class *class) {
  for (int i = 0; i < item->kind_count; i++)
    if (item->kinds[i].class == class)
      return &item->kinds[i];
  return &item->kinds[0];
}

static orr_instance *make_kind(lua_State *L, orr_load *to, orr_item *item) {
  const orr_variant *kind = kind_of_row(L, to, item);
  int meta = to->kinds + (int)(kind - to->plan->kinds);
  orr_instance *object = new_object(L, to, item, kind->class, meta);
  orr_instance_pack(object, kind->map, &to->row[item->first], item->count);
  if (item->left_count)
    mark_left_out(object, item);
  object->epoch = to->session->epoch;
  return object;
}

/* Whether the object on top is to be overwritten; once. */
static bool must_populate(lua_State *L, const orr_load *to) {
  if (!to->populate)
    return false;
  lua_pushvalue(L, -1);
  lua_rawget(L, ORR_LOAD_POPULATED);
  bool done = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (!done) {
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, ORR_LOAD_POPULATED);
  }
  return !done;
}

/* Notes what has become of the object on top: its listeners are told when the rows are read. */
static void note_for_listeners(lua_State *L, orr_session *session, const char *what) {
  int object = lua_gettop(L);
  orr_session_user(L, session);
  lua_rawgeti(L, -1, ORR_SESSION_LOADED);
  if (lua_isnil(L, -1)) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, object + 1, ORR_SESSION_LOADED);
    lua_replace(L, object + 2);
  }
  int count = (int)orr_rawlen(L, object + 2);
  lua_pushvalue(L, object);
  lua_rawseti(L, object + 2, count + 1);
  lua_pushstring(L, what);
  lua_rawseti(L, object + 2, count + 2);
  lua_settop(L, object);
}

static bool is_lacking(unsigned tag) { return (tag & (ORR_UNLOADED | ORR_CHANGED)) == ORR_UNLOADED; }

static bool lacks_some(orr_instance *object, const int *map, int count) {
  const unsigned char *tags = orr_tags(object);
  for (int i = 0; i < count; i++)
    if (map[i] >= 0 && is_lacking(tags[map[i]]))
      return true;
  return false;
}

/* An object that is there keeps what it has; what it lacks (everything, when expired) is filled in. */
static void fill_object(lua_State *L, orr_load *to, const orr_item *item, orr_instance *object) {
  int index = lua_gettop(L);
  const int *map = item->map;
  if (object->class != item->class) {
    if (!orr_class_is(object->class, item->class))
      raise_kind(L, "other_class", item, object->class, &to->row[item->keys[0]]);
    map = item->kind_count ? kind_of_class(item, object->class)->map : map;
  }
  orr_instance_freshen(L, object, index, to->session);
  if (must_populate(L, to)) {
    orr_instance_forget(L, object, index, to->session->epoch);
    mark_left_out(object, item);
  }
  if (!lacks_some(object, map, item->count))
    return;
  read_rest(L, to, item);
  for (int i = 0; i < item->count; i++)
    if (map[i] >= 0 && is_lacking(orr_tags(object)[map[i]]))
      orr_instance_put(L, object, index, map[i], &to->row[item->first + i]);
  if (object->class->hears & ORR_HEARS_REFRESH)
    note_for_listeners(L, to->session, "refresh");
}

/* Pushes the object of a slot, or returns NULL: it is dead. */
static orr_instance *push_seated(lua_State *L, int objects, uint32_t slot) {
  lua_rawgeti(L, objects, (int)slot);
  orr_instance *object = lua_touserdata(L, -1);
  if (!object)
    lua_pop(L, 1);
  return object;
}

/* Pushes the object of a key, which the row fills. */
static orr_instance *push_keyed(lua_State *L, orr_load *to, orr_item *item, int meta, const orr_key *key) {
  orr_identity *map = &to->session->map;
  bool found;
  uint32_t slot = orr_session_claim(L, to->session, key, to->objects, &found);
  orr_instance *object = found ? push_seated(L, to->objects, slot) : NULL;
  if (object) {
    fill_object(L, to, item, object);
    return object;
  }
  read_rest(L, to, item);
  uint32_t stamp = map->stamp;
  object = item->kind_count ? make_kind(L, to, item) : make_object(L, to, item, meta);
  if (map->stamp != stamp) { /* a collector's finalizer has used the session meanwhile */
    lua_pop(L, 1);
    return push_keyed(L, to, item, meta, key);
  }
  orr_session_seat(L, to->session, object, -1, slot, to->objects);
  if (object->class->hears & ORR_HEARS_LOAD)
    note_for_listeners(L, to->session, "load");
  return object;
}

/* Pushes the object of the row, or nil and returns NULL: there is none. Where lists are joined to the first
   item, its object is mostly that of the row before. */
static orr_instance *push_object(lua_State *L, orr_load *to, orr_item *item, int meta) {
  orr_key key;
  if (!row_key(L, to, item, &key)) {
    lua_pushnil(L);
    return NULL;
  }
  if (item != to->repeating || key.bytes)
    return push_keyed(L, to, item, meta, &key);
  if (to->repeated && to->repeated_number == key.number) {
    lua_pushvalue(L, to->repeated_at);
    return to->repeated;
  }
  to->repeated = push_keyed(L, to, item, meta, &key);
  to->repeated_number = key.number;
  lua_pushvalue(L, -1);
  lua_replace(L, to->repeated_at);
  return to->repeated;
}

/* The row is one of a class that shares no keys with the item's: it is read as if the query were of that
 * class. */
static orr_instance *push_concrete(lua_State *L, orr_load *to, orr_item *item) {
  orr_item own = *item;
  orr_load_read(L, to, item->first, item->lead);
  const orr_variant *kind = kind_of_row(L, to, item);
  own.class = kind->class;
  own.kinds = &item->kinds[kind - item->kinds];
  own.map = own.kinds->map;
  own.kind_count = 1;
  own.last_kind = 0;
  return push_object(L, to, &own, 0);
}

/* Pushes what item number i of the plan makes of the row, and returns it where that is an object. */
static const orr_instance *push_item(lua_State *L, orr_load *to, int i) {
  orr_item *item = &to->plan->items[i];
  if (!item->class) {
    orr_load_read(L, to, item->first, 1);
    orr_type_push(L, &item->type, &to->row[item->first]);
    return NULL;
  }
  to->holder = to->holders && to->holders[i];
  orr_instance *object =
      item->concrete ? push_concrete(L, to, item) : push_object(L, to, item, to->metas + i);
  if (object && to->cohorts && to->cohorts[i])
    orr_cohort_enter(L, to->session, object, to->cohorts[i]);
  return object;
}

/* ---- what a load has at hand ---- */

/* Pushes the metatable of each item's instances (false for values), then of each kind's. */
static void push_metas(lua_State *L, orr_load *to) {
  const orr_plan *plan = to->plan;
  int count = (int)(plan->item_count + plan->kind_count);
  luaL_checkstack(L, (int)plan->item_count + count + 30, "columns");
  orr_getuservalue(L, ORR_LOAD_PLAN);
  int metas = lua_gettop(L);
  to->metas = metas + 1;
  to->kinds = to->metas + (int)plan->item_count;
  for (int i = 1; i <= count; i++)
    lua_rawgeti(L, metas, i);
}

/* Steps once; false at the end. */
static bool next_row(lua_State *L, orr_load *to) {
  orr_error error;
  orr_error_clear(&error);
  int code = to->statement->driver->step(to->statement->handle, &error);
  if (code < 0)
    fail(L, to->statement, &error);
  to->rows += code == ORR_STEP_ROW;
  to->whole = NULL;
  return code == ORR_STEP_ROW;
}

/* ---- the collector ---- */

/* What a load does to Lua's memory, in kilobytes: held at the beginning, which for several that belong
   together is that of the first, and when it was last looked at. */
typedef struct orr_heap {
  int before, seen;
  bool paused;
} orr_heap;

enum { ROWS_BETWEEN_LOOKS = 1024, MUCH = 2 };

static void pause_collector(lua_State *L, orr_heap *heap) {
#ifdef LUA_GCISRUNNING
  if (lua_gc(L, LUA_GCISRUNNING, 0)) {
    lua_gc(L, LUA_GCSTOP, 0);
    heap->paused = true;
  }
#else
  (void)L;
  (void)heap;
#endif
}

/* Almost all that a load brings in lives on, so that only half of it counts as a reason to collect. */
static void spare_collector(lua_State *L, orr_heap *heap) {
  int now = lua_gc(L, LUA_GCCOUNT, 0);
  orr_gc_spare(L, (now - heap->seen) / 2);
  heap->seen = now;
}

/* Once Lua holds twice what it did, the collector waits for the end: it would walk over all that has
   come in again at each further doubling. */
static void look_at_memory(lua_State *L, orr_heap *heap) {
  if (heap->paused)
    return;
  spare_collector(L, heap);
  if (heap->seen / MUCH >= heap->before)
    pause_collector(L, heap);
}

/* `before`: the index of what Lua held at the beginning, or of nil. */
static orr_heap begin_heap(lua_State *L, int before) {
  int now = lua_gc(L, LUA_GCCOUNT, 0);
  orr_heap heap = {now, now, false};
  if (!lua_isnil(L, before)) {
    heap.before = (int)lua_tointeger(L, before);
    look_at_memory(L, &heap);
  }
  return heap;
}

static void resume_collector(lua_State *L, orr_heap *heap) {
  if (heap->paused) {
    orr_gc_resume_later(L);
    heap->seen = heap->before;
  }
  spare_collector(L, heap);
}

/* ---- the loop ---- */

/* Reads the cohort numbers of the items; NULL where none are given. */
static orr_cohort_number *read_cohorts(lua_State *L, const orr_plan *plan) {
  if (!lua_istable(L, ORR_LOAD_COHORTS))
    return NULL;
  orr_cohort_number *cohorts = lua_newuserdata(L, plan->item_count * sizeof *cohorts);
  for (size_t i = 0; i < plan->item_count; i++) {
    lua_rawgeti(L, ORR_LOAD_COHORTS, (int)i + 1);
    cohorts[i] = (orr_cohort_number)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  return cohorts;
}

/* Pushes one value. */
static bool *new_holders(lua_State *L, const orr_plan *plan) {
  bool holds = lua_toboolean(L, ORR_LOAD_HOLDERS);
  if (!holds && !lua_istable(L, ORR_LOAD_LINKS)) {
    lua_pushnil(L);
    return NULL;
  }
  bool *holders = lua_newuserdata(L, plan->item_count * sizeof *holders);
  for (size_t i = 0; i < plan->item_count; i++)
    holders[i] = holds;
  return holders;
}

/* What every load needs, on the stack. */
static void begin_load(lua_State *L, orr_load *to) {
  memset(to, 0, offsetof(orr_load, few));
  to->heap = lua_touserdata(L, ORR_LOAD_HEAP);
  to->session = lua_touserdata(L, ORR_LOAD_SESSION);
  to->statement = lua_touserdata(L, ORR_LOAD_STATEMENT);
  to->plan = lua_touserdata(L, ORR_LOAD_PLAN);
  to->populate = lua_istable(L, ORR_LOAD_POPULATED);
  size_t columns = (size_t)to->plan->columns;
  to->row = columns <= ORR_FEW_COLUMNS ? to->few : lua_newuserdata(L, columns * sizeof *to->row);
  to->cohorts = read_cohorts(L, to->plan);
  to->holders = new_holders(L, to->plan);
  lua_pushnil(L);
  to->key_box = lua_gettop(L);
  orr_getuservalue(L, ORR_LOAD_SESSION);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  to->objects = lua_gettop(L);
  push_metas(L, to);
  to->visible = (int)to->plan->item_count;
  to->as_rows = !lua_isnil(L, ORR_LOAD_ROW_META);
  to->wanted = lua_istable(L, ORR_LOAD_OUT);
  to->count = to->wanted ? (lua_Integer)orr_rawlen(L, ORR_LOAD_OUT) : 0;
}

/* Pushes what the caller gets for the row: a table with the row metatable, or the one visible item. */
static void push_row(lua_State *L, const orr_load *to) {
  if (!to->as_rows) {
    if (to->plan->item_count > 1) /* a single one is on top already */
      lua_pushvalue(L, to->items);
    return;
  }
  lua_createtable(L, to->visible, 0);
  for (int i = 0; i < to->visible; i++) {
    lua_pushvalue(L, to->items + i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushvalue(L, ORR_LOAD_ROW_META);
  lua_setmetatable(L, -2);
}

static void hand_out(lua_State *L, orr_load *to) {
  if (to->joins && to->joins->once && !to->joins->met)
    return;
  to->count++;
  if (!to->wanted)
    return;
  push_row(L, to);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlightuserdata(L, NULL);
  }
  lua_rawseti(L, ORR_LOAD_OUT, (int)to->count);
}

/* Reads rows until there is none, or `most` were read; whether there may be more. */
static bool read_rows(lua_State *L, orr_load *to, lua_Integer most) {
  int items = (int)to->plan->item_count;
  bool leaves_nothing =
      items == 1 && !to->as_rows && to->wanted; /* on the stack, so that there is nothing to take down */
  to->items = lua_gettop(L) + 1;
  while (to->rows != most) {
    if (!next_row(L, to))
      return false;
    if (to->rows % ROWS_BETWEEN_LOOKS == 0)
      look_at_memory(L, to->heap);
    to->first = push_item(L, to, 0);
    for (int i = 1; i < items; i++)
      push_item(L, to, i);
    if (to->joins)
      orr_joins_take(L, to);
    if (to->filling)
      orr_filling_take(L, to);
    hand_out(L, to);
    if (!leaves_nothing)
      lua_settop(L, to->items - 1);
  }
  return true;
}

static int run(lua_State *L) {
  orr_load to;
  orr_joins joins;
  orr_filling filling;
  begin_load(L, &to);
  memset(&joins, 0, sizeof joins);
  joins.count = lua_istable(L, ORR_LOAD_LINKS) ? (int)orr_rawlen(L, ORR_LOAD_LINKS) : 0;
  if (joins.count) {
    to.visible -= joins.count;
    to.joins = &joins;
    orr_joins_read(L, &to, &joins);
    to.repeating = joins.lists ? &to.plan->items[0] : NULL;
    lua_pushnil(L);
    to.repeated_at = lua_gettop(L);
  }
  if (!lua_isnil(L, ORR_LOAD_GATHER)) {
    to.filling = &filling;
    orr_filling_read(L, &to, &filling);
  }
  lua_Integer before = to.count;
  bool more = read_rows(L, &to, luaL_optinteger(L, ORR_LOAD_MOST, -1));
  if (to.joins)
    orr_joins_end(L, &to);
  if (to.filling)
    orr_filling_end(L, &to);
  lua_pushinteger(L, to.count - before);
  lua_pushboolean(L, !more);
  return 2;
}

void orr_load_run(lua_State *L, orr_statement *statement) {
  int base = lua_gettop(L) - ORR_LOAD_ARGUMENTS;
  const orr_plan *plan = orr_box_check(L, base + ORR_LOAD_PLAN, &orr_plan_kind);
  size_t links = lua_istable(L, base + ORR_LOAD_LINKS) ? orr_rawlen(L, base + ORR_LOAD_LINKS) : 0;
  luaL_argcheck(L, plan->items && (plan->order ? plan->source : plan->columns) <= statement->columns,
                ORR_LOAD_PLAN, "plan of this statement expected");
  luaL_argcheck(L, !links || links < plan->item_count, ORR_LOAD_LINKS, "fewer links than items expected");
  orr_heap heap = begin_heap(L, base + ORR_LOAD_KILOBYTES);
  lua_pushlightuserdata(L, &heap);
  lua_pushcfunction(L, run);
  lua_insert(L, base + 1);
  orr_statement_hold(statement, true);
  int status = lua_pcall(L, ORR_LOAD_HEAP, 2, 0);
  orr_statement_hold(statement, false);
  if (status != 0 || lua_toboolean(L, -1))
    orr_statement_reset(statement);
  resume_collector(L, &heap);
  if (status != 0)
    lua_error(L);
}

/* Opens the statement of an order, in place of the connection that was given. */
static orr_statement *open_statement(lua_State *L, int order) {
  orr_statement *statement = orr_statement_open(L, ORR_LOAD_STATEMENT, order, order + 1);
  lua_replace(L, ORR_LOAD_STATEMENT);
  return statement;
}

/* core.load(session, statement, plan, out or nil [, row metatable, populated, most, cohorts, links, gather,
   key columns, holders, kilobytes])
   core.load(session, connection, plan, ..., kilobytes, order, values): by a statement that is opened for it
   -> count, done: appends to `out`. Without a row metatable each row becomes its one visible item; NULL
   becomes core.null. `populated`: a set of objects; those outside it are overwritten and come in. At most
   `most` rows are read; a statement that is done, or failed, is reset. cohorts[i] is that of item i's
   objects. links[i] = { item, attribute number }: the last items of the plan, from the i-th of them on,
   belong to that relation of that item's objects; where collections are among them, one visible object comes
   into `out` once. With a gather, the first item's objects join the collection that the row's key columns
   name; with a collection, that. `holders`: the objects are to hold related ones. `kilobytes`: what
   core.kilobytes() was before the first of several loads that belong together. */
static int load_rows(lua_State *L) {
  int order = ORR_LOAD_ARGUMENTS + 1;
  lua_settop(L, order + 1);
  orr_session_check(L, ORR_LOAD_SESSION);
  orr_statement *statement =
      lua_isnil(L, order) ? orr_statement_check(L, ORR_LOAD_STATEMENT) : open_statement(L, order);
  lua_settop(L, ORR_LOAD_ARGUMENTS);
  orr_load_run(L, statement);
  return 2;
}

/* core.kilobytes() -> how many Lua holds */
static int kilobytes(lua_State *L) {
  lua_pushinteger(L, lua_gc(L, LUA_GCCOUNT, 0));
  return 1;
}

void orr_load_known(lua_State *L, int session, int connection, int known, int first, int count, bool rows) {
  luaL_checkstack(L, ORR_LOAD_ARGUMENTS + 10, "load");
  lua_createtable(L, 4, 0); /* most that are fresh have few rows */
  int out = lua_gettop(L), base = out;
  lua_rawgeti(L, known, ORR_KNOWN_ORDER);
  orr_statement *statement = orr_statement_open_with(L, connection, base + 1, first, count);
  lua_replace(L, base + 1);
  lua_pushvalue(L, session);
  lua_insert(L, base + 1);
  lua_rawgeti(L, known, ORR_KNOWN_PLAN);
  lua_pushvalue(L, out);
  if (rows)
    lua_rawgeti(L, known, ORR_KNOWN_ROW_META);
  lua_settop(L, base + ORR_LOAD_ARGUMENTS);
  orr_load_run(L, statement);
  lua_settop(L, out);
}

/* Whether the session at 1 holds an object, alive, of the class under the key at `index`, or the key is no
   value of the class's one column. */
static bool is_held(lua_State *L, orr_session *session, const orr_class *class, int index) {
  orr_value value;
  orr_error error;
  orr_key key;
  char scratch[ORR_TYPE_SCRATCH];
  int top = lua_gettop(L);
  orr_error_clear(&error);
  if (class->key_count != 1 ||
      orr_type_take(L, index, &class->columns[class->keys[0]].type, &value, scratch, &error) != 0 ||
      value.tag == ORR_NULL)
    return true;
  size_t size = orr_key_size(&value, 1);
  orr_key_make(&key, class->id, &value, 1, size ? lua_newuserdata(L, size) : NULL);
  orr_getuservalue(L, 1);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  bool held = orr_session_find(L, session, &key, lua_gettop(L)) != NULL;
  lua_settop(L, top);
  return held;
}

/* core.load_by_key(session, class, connection, known, key) -> object that a select of the class's objects by
   their one key gives (see orr_load_known), false where no row has that key. nil where the session holds such
   an object already, or the key is none. */
static int load_by_key(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  const orr_class *class = orr_class_check(L, 2);
  luaL_checktype(L, 4, LUA_TTABLE);
  lua_settop(L, 5);
  if (is_held(L, session, class, 5))
    return 0;
  orr_load_known(L, 1, 3, 4, 5, 1, false);
  lua_rawgeti(L, -1, 1);
  if (lua_isnil(L, -1))
    lua_pushboolean(L, 0);
  return 1;
}

void orr_load_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"load", load_rows}, {"load_by_key", load_by_key}, {"kilobytes", kilobytes}, {NULL, NULL}};
  orr_plan_open(L);
  orr_related_open(L);
  orr_target_open(L);
  orr_setfuncs(L, functions);
}
