/* relatedlib: where the objects of a load go when they belong to relations of others: objects that a row
   brings along by joins, and the collections of many parents that one statement fills by their keys. */
#include <string.h>

#include <limits.h>

#include "collection.h"
#include "load.h"

/* ---- rows that bring related objects along ---- */

static void read_link(lua_State *L, const orr_plan *plan, orr_join_link *link) {
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  link->parent = (int)lua_tointeger(L, -2) - 1;
  luaL_argcheck(L,
                link->parent >= 0 && link->parent < (int)plan->item_count && plan->items[link->parent].class,
                ORR_LOAD_LINKS, "links to objects expected");
  const orr_class *class = plan->items[link->parent].class;
  link->relation = (int)lua_tointeger(L, -1) - 1 - class->column_count;
  luaL_argcheck(L, link->relation >= 0 && link->relation < class->relation_count, ORR_LOAD_LINKS,
                "links to relations expected");
  link->list = class->relations[link->relation].flags & ORR_RELATION_LIST;
  link->last = NULL;
  link->tally = (orr_tally){NULL, 0, 0};
  lua_pop(L, 2);
}

/* Whether nothing is known of a relation of the object at `index`: it is not loaded, nor changed from its
   other side, which lazy loading merges. */
static bool is_unknown(lua_State *L, const orr_instance *object, int index, int relation) {
  if (!orr_instance_is_linked(object))
    return true;
  orr_instance_held(L, object, index, relation);
  orr_instance_getuser(L, object, index, orr_user_backlog(object->class, relation));
  bool unknown = lua_isnil(L, -1) && lua_isnil(L, -2);
  lua_pop(L, 2);
  return unknown;
}

static void count_list(orr_tally *sum, const orr_instance *owner, const orr_collection *list) {
  sum->relation = &owner->class->relations[list->relation];
  sum->items += list->count;
  sum->lists++;
}

static void note_usual(const orr_tally *sum) {
  if (sum->lists)
    sum->relation->usual = (uint32_t)((sum->items + sum->lists - 1) / sum->lists);
}

/* Pushes what a parent that is met for the first time is to hold: a fresh collection, true for a single
   object, or false where the relation is to be left alone. */
static void push_fill(lua_State *L, const orr_join_link *link, int parent) {
  const orr_instance *object = lua_touserdata(L, parent);
  if (!is_unknown(L, object, parent, link->relation)) {
    lua_pushboolean(L, 0);
  } else if (link->list) {
    orr_collection_new_usual(L, parent, link->relation);
  } else {
    lua_pushboolean(L, 1);
  }
}

/* Puts what the parent at `parent` holds at `held`. The list that was there is mostly complete, and tells how
   much room the next one needs. */
static void hold_fill(lua_State *L, orr_joins *joins, int number, int parent) {
  orr_join_link *link = &joins->links[number];
  const orr_collection *former = link->list ? lua_touserdata(L, joins->held + number) : NULL;
  if (former) {
    count_list(&link->tally, link->last, former);
    note_usual(&link->tally);
  }
  lua_pushvalue(L, parent);
  lua_rawget(L, joins->fills + number);
  if (lua_isnil(L, -1)) {
    joins->met = joins->met || link->parent == 0;
    lua_pop(L, 1);
    push_fill(L, link, parent);
    lua_pushvalue(L, parent);
    lua_pushvalue(L, -2);
    lua_rawset(L, joins->fills + number);
  }
  const orr_collection *list = lua_touserdata(L, -1);
  lua_replace(L, joins->held + number);
  if (list)
    orr_collection_turn(L, list, joins->held + number, joins->tables + number);
  link->last = lua_touserdata(L, parent);
}

/* Whether rows may bring the same parent and child again: by another list, or by what stands beside the first
   item, as the key of each parent of a many-to-many does. */
static bool rows_repeat(const orr_load *to) { return to->joins->lists > 1 || to->visible > 1; }

/* Takes the object at `child` into the relation of its parent that link number `number` names. */
static void join_object(lua_State *L, const orr_load *to, int number, int child) {
  orr_joins *joins = to->joins;
  orr_join_link *link = &joins->links[number];
  int parent = to->items + link->parent, held = joins->held + number;
  if (lua_isnil(L, parent))
    return;
  if (link->last != lua_touserdata(L, parent))
    hold_fill(L, joins, number, parent);
  if (link->list) {
    orr_collection *list = lua_touserdata(L, held);
    if (list && !lua_isnil(L, child) && (!rows_repeat(to) || !orr_collection_has(L, list, held, child)))
      orr_collection_load(L, list, held, joins->tables + number, child);
  } else if (lua_toboolean(L, held)) {
    orr_instance *object = lua_touserdata(L, parent);
    if (lua_isnil(L, child))
      lua_pushboolean(L, 0);
    else
      lua_pushvalue(L, child);
    orr_instance_hold(L, object, parent, link->relation);
  }
}

void orr_joins_take(lua_State *L, const orr_load *to) {
  to->joins->met = false;
  for (int i = 0; i < to->joins->count; i++)
    join_object(L, to, i, to->items + to->visible + i);
}

/* ---- the end of a load ---- */

/* Gives the collection on top to its owner, unless a collector's finalizer has loaded it meanwhile. Until
   then a load that fails leaves the relation as it was. */
static void hand_over(lua_State *L, orr_tally *sum) {
  int index = lua_gettop(L);
  const orr_collection *list = lua_touserdata(L, index);
  orr_instance *owner = orr_collection_owner(L, index);
  if (is_unknown(L, owner, index + 1, list->relation)) {
    lua_pushvalue(L, index);
    orr_instance_hold(L, owner, index + 1, list->relation);
  }
  lua_pop(L, 1);
  count_list(sum, owner, list);
}

static void end_link(lua_State *L, int fills) {
  orr_tally sum = {NULL, 0, 0};
  for (lua_pushnil(L); lua_next(L, fills); lua_pop(L, 1))
    if (lua_isuserdata(L, -1))
      hand_over(L, &sum);
  note_usual(&sum);
}

void orr_joins_end(lua_State *L, const orr_load *to) {
  for (int i = 0; i < to->joins->count; i++)
    if (to->joins->links[i].list)
      end_link(L, to->joins->fills + i);
}

/* A gather has a finalizer, for which the collector would keep what it holds for one more cycle. */
static void let_go(lua_State *L, int gather) {
  lua_newtable(L);
  orr_setuservalue(L, gather);
}

void orr_filling_end(lua_State *L, const orr_load *to) {
  const orr_filling *filling = to->filling;
  orr_tally sum = {NULL, 0, 0};
  uint32_t count = filling->gather ? filling->gather->slots.used : 0;
  if (!filling->gather) {
    lua_pushvalue(L, filling->held);
    hand_over(L, &sum);
    lua_pop(L, 1);
  }
  for (uint32_t slot = 1; slot <= count; slot++) {
    lua_rawgeti(L, filling->collections, (int)slot);
    hand_over(L, &sum);
    lua_pop(L, 1);
  }
  if (filling->gather)
    let_go(L, ORR_LOAD_GATHER);
  note_usual(&sum);
}

/* ---- reading what a load was told ---- */

void orr_joins_read(lua_State *L, orr_load *to, orr_joins *joins) {
  int count = joins->count;
  luaL_checkstack(L, 4 * count + 30, "joined load");
  joins->links = lua_newuserdata(L, (size_t)count * sizeof *joins->links);
  joins->fills = lua_gettop(L) + 1;
  for (int i = 0; i < count; i++)
    lua_newtable(L);
  joins->held = lua_gettop(L) + 1;
  joins->tables = joins->held + count;
  for (int i = 0; i < 2 * count; i++)
    lua_pushnil(L);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, ORR_LOAD_LINKS, i + 1);
    read_link(L, to->plan, &joins->links[i]);
    joins->lists += joins->links[i].list;
    to->holders[joins->links[i].parent] = true;
    lua_pop(L, 1);
  }
  joins->once = joins->lists && lua_isnil(L, ORR_LOAD_ROW_META);
}

/* ---- collections of many parents at once ---- */

static void close_gather(void *block) {
  orr_gather *gather = block;
  if (gather->open)
    orr_identity_clear(&gather->slots);
  gather->open = false;
}

static const orr_box_kind gather_kind = {"gather", close_gather};

static bool always_alive(void *ud, uint32_t slot) {
  (void)ud;
  (void)slot;
  return true;
}

/* The slot of a parent's key; 0 where another parent has that key: where it is not unique, only the first one
   is filled here, and the others load by themselves when they are read. */
static uint32_t claim_slot(lua_State *L, orr_gather *gather, const orr_value *values) {
  orr_key key;
  bool found;
  int top = lua_gettop(L);
  size_t size = orr_key_size(values, gather->key_count);
  orr_key_make(&key, 1, values, gather->key_count, size ? lua_newuserdata(L, size) : NULL);
  uint32_t slot = orr_identity_claim(&gather->slots, &key, always_alive, NULL, &found);
  if (!slot)
    luaL_error(L, "not enough memory");
  lua_settop(L, top);
  return found ? 0 : slot;
}

/* The key of a parent's rows, by these columns of it; false where a part of it is NULL: there are none. */
static bool parent_key(lua_State *L, orr_instance *object, int index, const int *columns, int count,
                       orr_value *out) {
  for (int k = 0; k < count; k++) {
    orr_instance_value(L, object, index, columns[k], &out[k]);
    if (out[k].tag == ORR_NULL)
      return false;
  }
  return true;
}

int orr_add_key(lua_State *L, int keys, int used, const orr_value *values, int count) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  for (int k = 0; k < count; k++) {
    orr_type_push(L, &any, &values[k]);
    lua_rawseti(L, keys, ++used);
  }
  return used;
}

/* What an object had before it expired is not known any more. */
static orr_instance *check_fresh(lua_State *L, int index) {
  orr_instance *object = orr_instance_check(L, index);
  orr_session *session = orr_instance_session(object);
  if (session)
    orr_instance_freshen(L, object, index, session);
  return object;
}

static bool has_columns(orr_instance *object, const int *columns, int count) {
  for (int k = 0; k < count; k++)
    if (columns[k] < 0 || columns[k] >= object->class->column_count ||
        (orr_tags(object)[columns[k]] & ORR_UNLOADED &&
         !(object->class->columns[columns[k]].flags & ORR_COLUMN_KEY)))
      return false;
  return true;
}

/* Makes for each parent of the array at 1 a fresh collection for the relation at 2, an attribute number of
   the first one's class: those of subclasses have the same relation behind more columns. `columns` are its
   key; the array at `keys` gets the keys. False where a parent lacks a column of it. */
static bool open_collections(lua_State *L, orr_gather *gather, int user, int keys, const int *columns) {
  int count = (int)orr_rawlen(L, 1), number = orr_check_place(L, 2), top = lua_gettop(L), used = 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    orr_instance *object = check_fresh(L, top + 1);
    if (i == 1)
      number -= object->class->column_count;
    luaL_argcheck(L, number >= 0 && number < object->class->relation_count, 2, "relationship expected");
    if (!has_columns(object, columns, gather->key_count))
      return false;
    orr_value values[ORR_MAX_KEY];
    bool keyed = parent_key(L, object, top + 1, columns, gather->key_count, values);
    uint32_t slot = keyed ? claim_slot(L, gather, values) : 0;
    if (slot || !keyed)
      orr_collection_new_usual(L, top + 1, number);
    if (slot) {
      lua_rawseti(L, user, (int)slot);
      used = orr_add_key(L, keys, used, values, gather->key_count);
    } else if (!keyed) {
      orr_instance_hold(L, object, top + 1, number);
    }
    lua_settop(L, top);
  }
  return true;
}

/* The column of the attribute number on top, which is popped; -1 where that is none. */
static int pop_column(lua_State *L) {
  lua_Integer number = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number >= 1 && number <= INT_MAX ? (int)number - 1 : -1;
}

int orr_read_columns(lua_State *L, int index, int *columns) {
  luaL_checktype(L, index, LUA_TTABLE);
  int count = (int)orr_rawlen(L, index);
  luaL_argcheck(L, count >= 1 && count <= ORR_MAX_KEY, index, "1 to 32 columns expected");
  for (int k = 0; k < count; k++) {
    lua_rawgeti(L, index, k + 1);
    columns[k] = pop_column(L);
  }
  return count;
}

/* core.keyless(objects, key columns) -> array of those that lack a column of their key */
static int keyless(lua_State *L) {
  int columns[ORR_MAX_KEY], found = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  int width = orr_read_columns(L, 2, columns), count = (int)orr_rawlen(L, 1);
  lua_newtable(L);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    if (has_columns(check_fresh(L, 4), columns, width))
      lua_pop(L, 1);
    else
      lua_rawseti(L, 3, ++found);
  }
  return 1;
}

static bool test_and_set(unsigned char *byte, unsigned bit) {
  bool was = *byte >> bit & 1;
  *byte = (unsigned char)(*byte | 1u << bit);
  return was;
}

/* Whether something may be loaded behind the object, which is met for the first time: `met` has a bit for
   each of `size * 8` slots of the session, which it may have left again by the hand of a listener. */
static bool is_new(const orr_session *session, const orr_instance *object, unsigned char *met, size_t size) {
  return object->state == ORR_PERSISTENT && orr_instance_session(object) == session &&
         object->slot / 8 < size && !test_and_set(&met[object->slot / 8], object->slot % 8);
}

/* Puts what stands at a position of the row on top in its place. */
static void step_in(lua_State *L, int position) {
  if (!lua_istable(L, -1))
    return;
  lua_rawgeti(L, -1, position);
  lua_replace(L, -2);
}

/* core.distinct(session, rows, position) -> array of the session's objects at a position of rows, each once.
   Position 0: it is an array of objects, which is given back where it is that already. */
static int distinct(lua_State *L) {
  const orr_session *session = orr_session_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int position = (int)luaL_checkinteger(L, 3), count = (int)orr_rawlen(L, 2), kept = 0;
  size_t size = session->map.used / 8 + 1;
  lua_settop(L, 3);
  unsigned char *met = memset(lua_newuserdata(L, size), 0, size);
  position ? lua_newtable(L) : lua_pushvalue(L, 2);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    if (position)
      step_in(L, position);
    const orr_instance *object = orr_instance_test(L, -1);
    bool stays = object && is_new(session, object, met, size);
    if (!position)
      orr_sift(L, 2, 5, i, &kept, stays);
    else if (stays)
      lua_rawseti(L, 5, ++kept);
    else
      lua_pop(L, 1);
  }
  return 1;
}

/* core.keys(objects, columns) -> array of the values of these columns, as the database has them, of one
   object behind the other; the columns are known of all of them */
static int keys_of(lua_State *L) {
  int columns[ORR_MAX_KEY], used = 0;
  orr_value values[ORR_MAX_KEY];
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  int width = orr_read_columns(L, 2, columns), count = (int)orr_rawlen(L, 1);
  lua_createtable(L, count * width, 0);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    orr_instance *object = orr_instance_check(L, 4);
    for (int k = 0; k < width; k++) {
      luaL_argcheck(L, columns[k] >= 0 && columns[k] < object->class->column_count, 2, "columns expected");
      orr_instance_stored(L, object, 4, columns[k], &values[k]);
    }
    used = orr_add_key(L, 3, used, values, width);
    lua_settop(L, 3);
  }
  return 1;
}

/* core.gather(parents, attribute number, key columns) -> handle, keys: a collection for every parent of the
   array, which core.load fills and then gives to it. The keys, part by part, are those by which the rows are
   found; without one a parent has an empty collection at once. nil where a parent lacks a column of its key.
   */
static int new_gather(lua_State *L) {
  int columns[ORR_MAX_KEY];
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  orr_gather *gather = orr_box_new(L, &gather_kind, sizeof *gather);
  orr_identity_init(&gather->slots, orr_allocator(L));
  gather->open = true;
  gather->key_count = orr_read_columns(L, 3, columns);
  int count = (int)orr_rawlen(L, 1);
  lua_createtable(L, count, 0);
  lua_pushvalue(L, -1);
  orr_setuservalue(L, 4);
  lua_createtable(L, count, 0);
  if (!open_collections(L, gather, 5, 6, columns))
    return 0;
  lua_remove(L, 5);
  return 2;
}

/* ---- one relation of one object, when it is read ---- */

/* A statement that loads a relation of one object, as core.load_alone takes it: an array. */
enum { ALONE_SQL = 1, ALONE_PLAN, ALONE_WITH_NULL, ALONE_COLUMNS };

/* The stored values of the columns whose numbers end the array at `how`; how many, or -1 where one is not
   known, or is NULL and that is not asked for. They borrow from the object. */
static int stored_values(lua_State *L, orr_instance *object, int index, int how, orr_value *values) {
  int count = (int)orr_rawlen(L, how) - ALONE_COLUMNS + 1;
  luaL_argcheck(L, count >= 0 && count <= ORR_MAX_KEY, how, "0 to 32 columns expected");
  lua_rawgeti(L, how, ALONE_WITH_NULL);
  bool with_null = lua_toboolean(L, -1);
  lua_pop(L, 1);
  for (int k = 0; k < count; k++) {
    lua_rawgeti(L, how, ALONE_COLUMNS + k);
    int column = pop_column(L);
    luaL_argcheck(L, column >= 0 && column < object->class->column_count, how, "columns expected");
    if (!has_columns(object, &column, 1))
      return -1;
    orr_instance_value(L, object, index, column, &values[k]);
    if (values[k].tag == ORR_NULL && !with_null)
      return -1;
  }
  return count;
}

/* Pushes a fresh collection for a list, or an array for the rows of a relation that holds one object, and
   what core.load takes to fill that by the statement on top. */
static void push_arguments(lua_State *L, int relation, bool list) {
  int statement = lua_gettop(L);
  luaL_checkstack(L, ORR_LOAD_ARGUMENTS + 10, "load");
  if (list)
    orr_collection_new_usual(L, 2, relation);
  else
    lua_createtable(L, 1, 0);
  int base = lua_gettop(L);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, statement);
  lua_rawgeti(L, 5, ALONE_PLAN);
  lua_settop(L, base + (list ? ORR_LOAD_GATHER : ORR_LOAD_OUT) - 1);
  lua_pushvalue(L, base);
  lua_settop(L, base + ORR_LOAD_ARGUMENTS);
}

/* Gives the object at `index` what the one row, if there is one, has become, unless a finalizer has assigned it
   meanwhile. */
static void hold_single(lua_State *L, int index, int relation, int rows) {
  if (!is_unknown(L, lua_touserdata(L, index), index, relation))
    return;
  lua_rawgeti(L, rows, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 0);
  }
  orr_instance_hold(L, lua_touserdata(L, index), index, relation);
}

/* Whether it is for a statement to find what a relation of the object at 2 leads to. */
static bool needs_statement(lua_State *L, const orr_session *session, int relation) {
  orr_value values[ORR_MAX_KEY];
  orr_instance *object = lua_touserdata(L, 2);
  return orr_session_is_clean(session) && is_unknown(L, object, 2, relation) &&
         !orr_relationship_in_map(L, object, 2, relation) && stored_values(L, object, 2, 5, values) >= 0;
}

/* What an object holds lives on with it, so that only half of it counts as a reason to collect: many small
   loads count as one large load does, which sees to that itself. */
static void spare_collector(lua_State *L, orr_session *session, int kilobytes) {
  enum { KILOBYTES_BETWEEN = 128 };
  if (kilobytes <= 0 || kilobytes >= KILOBYTES_BETWEEN)
    return;
  session->loaded += kilobytes;
  if (session->loaded < KILOBYTES_BETWEEN)
    return;
  orr_gc_spare(L, session->loaded / 2);
  session->loaded = 0;
}

/* core.load_alone(session, object, attribute number, connection, { sql, plan, with null, column numbers... })
   -> true: loads a relation of the object by a statement that has the values of these columns of it; an array
   of what it may hold, where it holds one object and there are several. Nothing is done where there is more
   to know: of the relation, or a change of it, of a column that is not loaded, or is NULL, of an object that
   the session holds, or of what waits to be flushed. */
static int load_alone(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  orr_instance *object = orr_instance_check(L, 2);
  int relation = orr_check_place(L, 3) - object->class->column_count;
  luaL_argcheck(L, relation >= 0 && relation < object->class->relation_count, 3, "relationship expected");
  luaL_checktype(L, 5, LUA_TTABLE);
  lua_settop(L, 5);
  bool list = object->class->relations[relation].flags & ORR_RELATION_LIST;
  if (!needs_statement(L, session, relation))
    return 0;
  lua_rawgeti(L, 5, ALONE_SQL);
  luaL_checktype(L, 6, LUA_TSTRING);
  orr_statement *statement = orr_statement_push_for(L, 4, 6);
  orr_value values[ORR_MAX_KEY];
  int count = stored_values(L, object, 2, 5, values); /* which a finalizer may have changed, and freed */
  if (count < 0)
    return 0;
  orr_statement_give(L, statement, values, count);
  int before = lua_gc(L, LUA_GCCOUNT, 0);
  push_arguments(L, relation, list);
  orr_load_run(L, statement);
  spare_collector(L, session, lua_gc(L, LUA_GCCOUNT, 0) - before);
  if (!list && lua_tointeger(L, -2) > 1) {
    lua_settop(L, 8);
    return 1;
  }
  if (!list)
    hold_single(L, 2, relation, 8);
  lua_pushboolean(L, 1);
  return 1;
}

static void read_gather(lua_State *L, const orr_load *to, orr_filling *filling) {
  filling->gather = orr_box_check(L, ORR_LOAD_GATHER, &gather_kind);
  luaL_checktype(L, ORR_LOAD_KEYS, LUA_TTABLE);
  luaL_argcheck(L, filling->gather->open, ORR_LOAD_GATHER, "open gather expected");
  luaL_argcheck(L, (int)orr_rawlen(L, ORR_LOAD_KEYS) == filling->gather->key_count, ORR_LOAD_KEYS,
                "as many key columns as the key has expected");
  for (int k = 0; k < filling->gather->key_count; k++) {
    lua_rawgeti(L, ORR_LOAD_KEYS, k + 1);
    lua_Integer column = lua_tointeger(L, -1);
    luaL_argcheck(L, column >= 1 && column <= to->plan->columns, ORR_LOAD_KEYS, "result columns expected");
    filling->keys[k] = (int)column - 1;
    lua_pop(L, 1);
  }
  orr_getuservalue(L, ORR_LOAD_GATHER);
  filling->collections = lua_gettop(L);
}

void orr_filling_read(lua_State *L, const orr_load *to, orr_filling *filling) {
  filling->gather = NULL;
  filling->slot = 0;
  filling->numbered = false;
  filling->list = orr_box_test(L, ORR_LOAD_GATHER, &orr_collection_kind);
  if (!filling->list)
    read_gather(L, to, filling);
  lua_pushvalue(L, ORR_LOAD_GATHER);
  filling->held = lua_gettop(L);
  lua_pushnil(L);
  filling->table = filling->held + 1;
  if (filling->list)
    orr_collection_turn(L, filling->list, filling->held, filling->table);
}

static bool is_read(const orr_load *to, int column) {
  const orr_item *item = to->whole;
  return item && column >= item->first && column < item->first + item->count;
}

/* Reads the columns of the row's key that its objects have not brought along. */
static void read_key(lua_State *L, orr_load *to) {
  const orr_filling *filling = to->filling;
  for (int k = 0; k < filling->gather->key_count; k++)
    if (!is_read(to, filling->keys[k]))
      orr_load_read(L, to, filling->keys[k], 1);
}

/* Which of the collections a row with that key belongs to, where the key is one integer: mostly to that of
   the row before. */
static uint32_t slot_of_number(orr_filling *filling, int64_t number) {
  orr_key key;
  if (filling->numbered && number == filling->number)
    return filling->slot;
  orr_key_integer(&key, 1, number);
  filling->number = number;
  filling->numbered = true;
  return orr_identity_find(&filling->gather->slots, &key);
}

/* Which of the collections the row belongs to; 0: none. */
static uint32_t slot_of_row(lua_State *L, orr_load *to) {
  orr_filling *filling = to->filling;
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  read_key(L, to);
  const orr_value *first = &to->row[filling->keys[0]];
  if (filling->gather->key_count == 1 && first->tag == ORR_INT)
    return slot_of_number(filling, first->as.i);
  filling->numbered = false;
  for (int k = 0; k < filling->gather->key_count; k++)
    values[k] = to->row[filling->keys[k]];
  size_t size = orr_key_size(values, filling->gather->key_count);
  orr_key_make(&key, 1, values, filling->gather->key_count, size ? lua_newuserdata(L, size) : NULL);
  uint32_t slot = orr_identity_find(&filling->gather->slots, &key);
  if (size)
    lua_pop(L, 1);
  return slot;
}

/* Takes the collection of the row in hand; false where there is none. */
static bool turn_to_row(lua_State *L, orr_load *to) {
  orr_filling *filling = to->filling;
  uint32_t slot = filling->gather ? slot_of_row(L, to) : filling->slot;
  if (slot == filling->slot)
    return filling->list != NULL;
  filling->slot = slot;
  lua_rawgeti(L, filling->collections, (int)slot);
  filling->list = lua_touserdata(L, -1);
  lua_replace(L, filling->held);
  if (filling->list)
    orr_collection_turn(L, filling->list, filling->held, filling->table);
  return filling->list != NULL;
}

/* Whether rows may repeat their objects, by the lists joined to them, and the collection has this one. */
static bool is_repeated(lua_State *L, const orr_load *to) {
  const orr_filling *filling = to->filling;
  return to->joins && to->joins->lists && orr_collection_has(L, filling->list, filling->held, to->items);
}

/* Whether the row's object no longer belongs to the owner of the collection, though its row says so. */
static bool has_left(lua_State *L, const orr_load *to) {
  if (!(to->first->flags & ORR_HAS_OLD))
    return false;
  const orr_filling *filling = to->filling;
  const orr_instance *owner = orr_collection_owner(L, filling->held);
  const orr_relationship *relation = &owner->class->relations[filling->list->relation];
  bool left = orr_relationship_has_left(L, relation, lua_gettop(L), to->items);
  lua_pop(L, 1);
  return left;
}

void orr_filling_take(lua_State *L, orr_load *to) {
  const orr_filling *filling = to->filling;
  if (to->first && turn_to_row(L, to) && !is_repeated(L, to) && !has_left(L, to))
    orr_collection_load(L, filling->list, filling->held, filling->table, to->items);
}

void orr_related_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"distinct", distinct}, {"gather", new_gather},     {"keys", keys_of},
                                       {"keyless", keyless},   {"load_alone", load_alone}, {NULL, NULL}};
  orr_box_define(L, &gather_kind, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
