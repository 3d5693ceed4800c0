/* collectionlib: the collection that a to-many relationship reads as. Every change fires linklib's events, so
   that the other side follows; items of lists count by occurrence, so that moving them about within the list
   changes nothing. What sets and keyed collections have of their own is uniquelib's. */
#include "collection.h"

const orr_box_kind orr_collection_kind = {"collection", NULL};

/* Where Lua allows it, owner and first items are user values of the collection, as many as `near` says, so
   that one that is no longer has no table. What comes behind these stands in its table; elsewhere all does,
   the owner first. */
enum {
  OWNER = 1,
  BEFORE_ITEMS = ORR_SLOTS ? 0 : OWNER,
  LEAST_NEAR = 3,
  MOST_NEAR = 32,
  FIRST_ROOM = 8,
  MOST_ROOM = 100
};

static uint8_t form_of(const orr_relationship *relation) {
  return relation->flags & ORR_RELATION_SET     ? ORR_FORM_SET
         : relation->flags & ORR_RELATION_KEYED ? ORR_FORM_KEYED
                                                : ORR_FORM_LIST;
}

static void set_owner(lua_State *L, int owner) {
  lua_pushvalue(L, owner);
  if (ORR_SLOTS)
    orr_setslot(L, -2, OWNER);
  else
    orr_collection_setfield(L, -2, OWNER);
}

static int near_room(int room) { return !ORR_SLOTS ? 0 : room > MOST_NEAR ? LEAST_NEAR : room; }

/* `room`: for so many items, so that the table is not made anew for each of the first ones. */
static orr_collection *new_collection(lua_State *L, int owner, int relation, int room) {
  owner = orr_absindex(L, owner);
  const orr_instance *object = lua_touserdata(L, owner);
  int near = near_room(room);
  orr_collection *list = orr_box_new_slots(L, &orr_collection_kind, sizeof *list, OWNER + near);
  list->relation = relation;
  list->form = form_of(&object->class->relations[relation]);
  list->passing = object->class->relations[relation].flags & ORR_RELATION_WRITE_ONLY;
  list->near = (uint8_t)near;
  list->spread = room > near;
  if (list->spread) {
    lua_createtable(L, BEFORE_ITEMS + room - near, 0);
    orr_setuservalue(L, -2);
  }
  set_owner(L, owner);
  if (list->form != ORR_FORM_LIST)
    orr_unique_open(L, list, -1);
  return list;
}

orr_collection *orr_collection_new(lua_State *L, int owner, int relation) {
  return new_collection(L, owner, relation, LEAST_NEAR);
}

orr_collection *orr_collection_new_usual(lua_State *L, int owner, int relation) {
  const orr_instance *object = lua_touserdata(L, owner);
  uint32_t usual = object->class->relations[relation].usual;
  return new_collection(L, owner, relation,
                        usual > MOST_ROOM    ? MOST_ROOM
                        : usual < LEAST_NEAR ? LEAST_NEAR
                                             : (int)usual);
}

orr_instance *orr_collection_owner(lua_State *L, int index) {
  if (ORR_SLOTS)
    orr_getslot(L, index, OWNER);
  else
    orr_collection_field(L, index, OWNER);
  return lua_touserdata(L, -1);
}

void orr_collection_field(lua_State *L, int index, int key) {
  if (!orr_getuservalue(L, index)) {
    lua_pushnil(L);
    return;
  }
  lua_rawgeti(L, -1, key);
  lua_remove(L, -2);
}

/* Pushes the table of the collection at `index`, made when it is not there. */
static void push_table(lua_State *L, int index, int room) {
  if (orr_getuservalue(L, index))
    return;
  index = orr_absindex(L, index);
  lua_createtable(L, room, 0);
  lua_pushvalue(L, -1);
  orr_setuservalue(L, index);
}

void orr_collection_setfield(lua_State *L, int index, int key) {
  push_table(L, index, 0);
  lua_insert(L, -2);
  lua_rawseti(L, -2, key);
  lua_pop(L, 1);
}

/* ---- places of items ---- */

static int field_of(const orr_collection *list, uint32_t at) { return (int)(at - list->near) + BEFORE_ITEMS; }

void orr_collection_item(lua_State *L, const orr_collection *list, int index, uint32_t at) {
  if (at > list->near)
    orr_collection_field(L, index, field_of(list, at));
  else
    orr_getslot(L, index, OWNER + (int)at);
}

/* Pushes the table for the items behind the near ones. */
static void push_rest(lua_State *L, orr_collection *list, int index) {
  push_table(L, index, FIRST_ROOM);
  list->spread = true;
}

/* Stores the value on top (popped) as the item at a position, which is not yet counted where it is new. */
static void set_item(lua_State *L, orr_collection *list, int index, uint32_t at) {
  if (at <= list->near) {
    orr_setslot(L, index, OWNER + (int)at);
    return;
  }
  push_rest(L, list, index);
  lua_insert(L, -2);
  lua_rawseti(L, -2, field_of(list, at));
  lua_pop(L, 1);
}

static void clear_item(lua_State *L, orr_collection *list, int index, uint32_t at) {
  lua_pushnil(L);
  set_item(L, list, index, at);
}

static void clear_field(lua_State *L, int index, int key) {
  lua_pushnil(L);
  orr_collection_setfield(L, index, key);
}

static void forget_counts(lua_State *L, orr_collection *list, int index) {
  if (list->counted)
    clear_field(L, index, ORR_COLLECTION_COUNTS);
  list->counted = false;
}

/* ---- items without events ---- */

void orr_collection_put_last(lua_State *L, orr_collection *list, int index, int item) {
  index = orr_absindex(L, index);
  lua_pushvalue(L, item);
  set_item(L, list, index, list->count + 1);
  list->count++;
  forget_counts(L, list, index);
}

void orr_collection_turn(lua_State *L, const orr_collection *list, int index, int table) {
  if (list->form == ORR_FORM_LIST && list->spread) {
    orr_getuservalue(L, index);
    lua_replace(L, table);
  }
}

void orr_collection_load(lua_State *L, orr_collection *list, int index, int table, int item) {
  if (list->form != ORR_FORM_LIST) {
    orr_unique_push(L, list, index, item);
    return;
  }
  uint32_t at = list->count + 1;
  if (at > list->near && !list->spread) {
    push_rest(L, list, index);
    lua_replace(L, table);
  }
  lua_pushvalue(L, item);
  if (at > list->near)
    lua_rawseti(L, table, field_of(list, at));
  else
    orr_setslot(L, index, OWNER + (int)at);
  list->count = at;
}

void orr_collection_push_item(lua_State *L, orr_collection *list, int index, int item) {
  if (list->form == ORR_FORM_LIST)
    orr_collection_put_last(L, list, index, item);
  else
    orr_unique_push(L, list, index, item);
}

uint32_t orr_collection_position(lua_State *L, orr_collection *list, int index, int item) {
  uint32_t found = 0;
  index = orr_absindex(L, index);
  item = orr_absindex(L, item);
  if (list->form != ORR_FORM_LIST && !orr_unique_has(L, index, item))
    return 0;
  for (uint32_t i = 1; i <= list->count && !found; i++) {
    orr_collection_item(L, list, index, i);
    if (lua_rawequal(L, -1, item))
      found = i;
    lua_pop(L, 1);
  }
  return found;
}

bool orr_collection_has(lua_State *L, orr_collection *list, int index, int item) {
  return orr_collection_position(L, list, index, item) != 0;
}

/* Moves the items from `at` on by one place, up (+1, opening a hole) or down (-1, closing one). */
static void shift(lua_State *L, orr_collection *list, int index, uint32_t at, int by) {
  if (by > 0)
    for (uint32_t i = list->count; i >= at; i--) {
      orr_collection_item(L, list, index, i);
      set_item(L, list, index, i + 1);
    }
  else
    for (uint32_t i = at; i <= list->count; i++) {
      i < list->count ? orr_collection_item(L, list, index, i + 1) : lua_pushnil(L);
      set_item(L, list, index, i);
    }
  forget_counts(L, list, index);
}

static void take_at(lua_State *L, orr_collection *list, int index, uint32_t at) {
  if (list->form != ORR_FORM_LIST) {
    orr_collection_item(L, list, index, at);
    orr_unique_forget(L, list, index, -1);
    lua_pop(L, 1);
  }
  shift(L, list, index, at, -1);
  list->count--;
}

bool orr_collection_take_item(lua_State *L, orr_collection *list, int index, int item) {
  uint32_t at = orr_collection_position(L, list, index, item);
  if (at)
    take_at(L, list, orr_absindex(L, index), at);
  return at != 0;
}

void orr_collection_note_gone(lua_State *L, int index, int item) {
  item = orr_absindex(L, item);
  orr_collection_field(L, index, ORR_COLLECTION_OLD);
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, item);
    lua_rawseti(L, -2, (int)orr_rawlen(L, -2) + 1);
  }
  lua_pop(L, 1);
}

/* Pushes a plain array of the items. */
static void push_copy(lua_State *L, const orr_collection *list, int index) {
  index = orr_absindex(L, index);
  lua_createtable(L, (int)list->count, 0);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, index, i);
    lua_rawseti(L, -2, (int)i);
  }
}

/* The same while a flush writes the owner. What comes to a write-only collection from the other side is
   written by that one. */
static void keep_late(lua_State *L, orr_collection *list, int index, orr_instance *owner) {
  orr_collection_owner(L, index);
  int owner_index = lua_gettop(L);
  if (!list->passing && !(list->kept && orr_instance_kept_late(L, owner, owner_index, list->relation))) {
    push_copy(L, list, index);
    if (list->kept)
      orr_collection_field(L, index, ORR_COLLECTION_OLD);
    else
      lua_pushboolean(L, 1);
    orr_instance_keep_late(L, owner, owner_index, list->relation);
    orr_collection_restore(L, list, index);
  }
  lua_settop(L, owner_index - 1);
}

void orr_collection_keep(lua_State *L, orr_collection *list, int index, orr_instance *owner) {
  if (orr_instance_is_late(owner)) {
    keep_late(L, list, orr_absindex(L, index), owner);
    return;
  }
  if (list->kept || owner->state != ORR_PERSISTENT)
    return;
  index = orr_absindex(L, index);
  push_copy(L, list, index);
  orr_collection_setfield(L, index, ORR_COLLECTION_OLD);
  orr_instance_move(owner);
  list->kept = true;
}

static void drop_items(lua_State *L, orr_collection *list, int index) {
  for (; list->count; list->count--)
    clear_item(L, list, index, list->count);
  list->given = list->stray = false;
}

void orr_collection_settle(lua_State *L, orr_collection *list, int index) {
  if (list->passing)
    drop_items(L, list, index);
  if (list->kept)
    clear_field(L, index, ORR_COLLECTION_OLD);
  list->kept = false;
}

void orr_collection_restore(lua_State *L, orr_collection *list, int index) {
  orr_collection_setfield(L, index, ORR_COLLECTION_OLD);
  list->kept = true;
}

/* ---- changes by a script: the collection is at 1, its owner is pushed on entry ---- */

static void refuse_state(lua_State *L, const orr_collection *list, const orr_instance *owner,
                         const char *message) {
  orr_attribute_error(L, owner->class, owner->class->column_count + list->relation, "InvalidRequestError",
                      message);
}

/* Raises where the collection is no longer what its owner shows. */
static void check_current(lua_State *L, const orr_collection *list, const orr_instance *owner,
                          int owner_index) {
  orr_session *session = owner->state == ORR_PERSISTENT ? orr_instance_session(owner) : NULL;
  orr_instance_held(L, owner, owner_index, list->relation);
  bool current = lua_touserdata(L, -1) == list && !(session && owner->epoch != session->epoch);
  lua_pop(L, 1);
  if (!current)
    refuse_state(L, list, owner, "this collection was expired or replaced; read it from its object again");
}

orr_instance *orr_collection_begin(lua_State *L, orr_collection *list) {
  orr_instance *owner = orr_collection_owner(L, 1);
  check_current(L, list, owner, lua_gettop(L));
  if (list->passing)
    orr_relationship_check_idle(L, owner, list->relation);
  orr_collection_keep(L, list, 1, owner);
  return owner;
}

static void added(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index, int item) {
  orr_relationship_added(L, owner, owner_index, list->relation, item);
}

static void removed(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index, int item) {
  orr_relationship_removed(L, owner, owner_index, list->relation, item);
}

static bool is_heard(const orr_instance *owner, const orr_collection *list) {
  return owner->class->relations[list->relation].flags & ORR_RELATION_EVENTS;
}

/* Runs the listeners of a change before it is made. They may put another object in the place of the one at
   `item`, and change anything else, this collection too. */
static void announce(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index, int item,
                     const char *event) {
  if (!owner->class->world->hears_links)
    return;
  if (is_heard(owner, list)) {
    orr_attribute_event(L, owner_index, owner->class->column_count + list->relation, item, event, false);
    orr_relationship_accept(L, owner, list->relation, item);
  }
  orr_relationship_tell_far(L, owner, owner_index, list->relation, item, *event == 'a');
  check_current(L, list, owner, owner_index);
}

void orr_collection_accept(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index,
                           int item) {
  orr_relationship_accept(L, owner, list->relation, item);
  announce(L, list, owner, owner_index, item, "append");
  orr_relationship_claim(L, owner, owner_index, list->relation, item);
}

static void refuse_moved(lua_State *L, const orr_collection *list, const orr_instance *owner) {
  refuse_state(L, list, owner,
               "a listener has moved this collection's items while it was told of a change; it may append, "
               "other changes must wait until that one is made");
}

/* Raises unless the item at `item` stands at a position still, whatever listeners did. */
static void check_place(lua_State *L, const orr_collection *list, const orr_instance *owner, uint32_t at,
                        int item) {
  orr_collection_item(L, list, 1, at);
  bool same = at >= 1 && at <= list->count && lua_rawequal(L, -1, item);
  lua_pop(L, 1);
  if (!same)
    refuse_moved(L, list, owner);
}

/* Whether it is a collection, whose metatable it leaves on top: upvalue 1 is that one's address, which is all
   that has to be compared. */
static bool is_collection_at_1(lua_State *L) {
  return lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1) &&
         lua_topointer(L, -1) == lua_touserdata(L, lua_upvalueindex(1));
}

/* The collection that a script has called a method of. */
static orr_collection *check(lua_State *L) {
  if (is_collection_at_1(L)) {
    lua_pop(L, 1);
    return lua_touserdata(L, 1);
  }
  return orr_box_check(L, 1, &orr_collection_kind);
}

int orr_collection_refuse(lua_State *L, orr_collection *list, const char *message) {
  orr_instance *owner = orr_collection_owner(L, 1);
  return orr_attribute_error(L, owner->class, owner->class->column_count + list->relation, "ArgumentError",
                             message);
}

void orr_collection_admit(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index,
                          int item) {
  if (list->form != ORR_FORM_LIST && !orr_unique_make_room(L, list, item))
    return;
  orr_collection_push_item(L, list, 1, item);
  added(L, list, owner, owner_index, item);
}

static void append_value(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index, int item) {
  orr_collection_accept(L, list, owner, owner_index, item);
  orr_collection_admit(L, list, owner, owner_index, item);
}

/* Raises unless one object was given: what is more would be left out unseen. */
static void check_single(lua_State *L, orr_collection *list) {
  if (lua_gettop(L) < 2)
    orr_collection_refuse(L, list, "an object is missing: append(object), remove(object)");
  if (orr_instance_test(L, 3))
    orr_collection_refuse(L, list,
                          "append and remove take one object, got several; extend{ ... } takes a list");
}

/* list:append(object) */
static int append(lua_State *L) {
  orr_collection *list = check(L);
  if (lua_gettop(L) != 2)
    check_single(L, list);
  orr_instance *owner = orr_collection_begin(L, list);
  append_value(L, list, owner, lua_gettop(L), 2);
  return 0;
}

/* list:extend{ objects } also takes another collection. */
static int extend(lua_State *L) {
  orr_collection *list = check(L);
  orr_collection *other = orr_box_test(L, 2, &orr_collection_kind);
  if (!other && lua_type(L, 2) != LUA_TTABLE)
    return orr_collection_refuse(L, list, "extend takes an array of objects");
  lua_settop(L, 2);
  int count = other ? (int)other->count : (int)orr_rawlen(L, 2);
  if (other)
    push_copy(L, other, 2); /* which may lose its items as they come in here */
  else
    lua_pushvalue(L, 2);
  orr_instance *owner = orr_collection_begin(L, list);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 3, i);
    append_value(L, list, owner, 4, 5);
    lua_settop(L, 4);
  }
  return 0;
}

/* Removes the item at a position and tells the other side, unless the item stands elsewhere in the list too.
 */
void orr_collection_remove_at(lua_State *L, orr_collection *list, uint32_t at) {
  orr_instance *owner = orr_collection_begin(L, list);
  int owner_index = lua_gettop(L);
  orr_collection_item(L, list, 1, at);
  announce(L, list, owner, owner_index, owner_index + 1, "remove");
  check_place(L, list, owner, at, owner_index + 1);
  take_at(L, list, 1, at);
  if (!orr_collection_position(L, list, 1, owner_index + 1))
    removed(L, list, owner, owner_index, owner_index + 1);
}

/* list:remove(object) */
static int remove_item(lua_State *L) {
  orr_collection *list = check(L);
  check_single(L, list);
  uint32_t at = orr_collection_position(L, list, 1, 2);
  if (!at)
    return orr_collection_refuse(
        L, list,
        lua_type(L, 2) == LUA_TNUMBER && list->form == ORR_FORM_LIST
            ? "remove takes an object; pop(position) removes what stands at a position"
        : list->form == ORR_FORM_KEYED && !orr_instance_test(L, 2)
            ? "remove takes an object; pop(key) removes what stands under a key"
            : "remove: the object is not in this collection");
  orr_collection_remove_at(L, list, at);
  return 0;
}

/* list:pop([position]) -> the removed object; the last one by default. nil where the list is empty. */
static int pop(lua_State *L) {
  orr_collection *list = check(L);
  if (list->count == 0 && lua_isnoneornil(L, 2))
    return 0;
  int64_t at = list->count;
  if (!lua_isnoneornil(L, 2) && (!orr_toint64(L, 2, &at) || at < 1 || at > (int64_t)list->count))
    return orr_collection_refuse(L, list, "pop: no such position");
  orr_collection_item(L, list, 1, (uint32_t)at);
  lua_insert(L, 2);
  orr_collection_remove_at(L, list, (uint32_t)at);
  lua_settop(L, 2);
  return 1;
}

/* list:insert(position, object) */
static int insert(lua_State *L) {
  orr_collection *list = check(L);
  int64_t at;
  if (!orr_toint64(L, 2, &at) || at < 1 || at > (int64_t)list->count + 1)
    return orr_collection_refuse(
        L, list, "insert(position, object): the position must be an integer from 1 to one beyond the last");
  orr_instance *owner = orr_collection_begin(L, list);
  int owner_index = lua_gettop(L);
  orr_collection_accept(L, list, owner, owner_index, 3);
  if (at > (int64_t)list->count + 1)
    refuse_moved(L, list, owner);
  shift(L, list, 1, (uint32_t)at, 1);
  lua_pushvalue(L, 3);
  set_item(L, list, 1, (uint32_t)at);
  list->count++;
  added(L, list, owner, owner_index, 3);
  return 0;
}

/* list:clear() */
static int clear(lua_State *L) {
  orr_collection *list = check(L);
  lua_settop(L, 1);
  lua_newtable(L);
  orr_collection_replace(L, list, 1, 2);
  return 0;
}

/* list:contains(object) -> boolean */
static int contains(lua_State *L) {
  orr_collection *list = check(L);
  luaL_checkany(L, 2);
  lua_pushboolean(L, orr_collection_position(L, list, 1, 2) != 0);
  return 1;
}

/* list:index(object) -> its first position, or nil */
static int find_index(lua_State *L) {
  orr_collection *list = check(L);
  luaL_checkany(L, 2);
  uint32_t at = orr_collection_position(L, list, 1, 2);
  if (!at)
    return 0;
  lua_pushinteger(L, (lua_Integer)at);
  return 1;
}

/* list:to_table() -> plain array of the objects */
static int to_table(lua_State *L) {
  push_copy(L, check(L), 1);
  return 1;
}

/* Pushes what the item on top, at position `i`, is called by: its key, or the position. */
static void push_label(lua_State *L, const orr_collection *list, uint32_t i) {
  if (list->form != ORR_FORM_KEYED) {
    lua_pushinteger(L, (lua_Integer)i);
    return;
  }
  orr_collection_field(L, 1, ORR_COLLECTION_NAMES);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* list:each(fn) calls fn(object, position, or key) for each; list:each() gives the iterator of `for i, object
 * in
 * ...`. */
static int each(lua_State *L) {
  orr_collection *list = check(L);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    return 1;
  }
  for (uint32_t i = 1; i <= list->count; i++) {
    lua_pushvalue(L, 2);
    orr_collection_item(L, list, 1, i);
    push_label(L, list, i);
    lua_call(L, 2, 0);
  }
  return 0;
}

/* ---- whole-list assignment ---- */

/* Pushes a set of the items 1..count of the table at `items`. */
static void push_set(lua_State *L, int items, uint32_t count) {
  items = orr_absindex(L, items);
  lua_newtable(L);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, items, (int)i);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
  }
}

static bool in_set(lua_State *L, int set, int item) {
  item = orr_absindex(L, item);
  lua_pushvalue(L, item);
  lua_rawget(L, set);
  bool found = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return found;
}

static bool is_array(lua_State *L, int index, size_t count) {
  size_t fields = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
    fields++;
  return fields == count;
}

static void check_assigned(lua_State *L, orr_instance *owner, const orr_collection *list, int value) {
  int attribute = owner->class->column_count + list->relation;
  if (orr_instance_test(L, value))
    orr_attribute_error(L, owner->class, attribute, "ArgumentError",
                        list->form == ORR_FORM_KEYED
                            ? "this side holds several objects, and one is given; write { [key] = object }"
                            : "this side holds several objects, and one is given; write { object }");
  if (lua_type(L, value) != LUA_TTABLE || lua_getmetatable(L, value))
    orr_attribute_error(
        L, owner->class, attribute, "ArgumentError",
        list->form == ORR_FORM_KEYED
            ? "a plain table of objects by key expected ({} or :clear() empties the collection)"
            : "a plain array of objects expected ({} or :clear() empties the collection)");
  if (list->form != ORR_FORM_KEYED && !is_array(L, value, orr_rawlen(L, value)))
    orr_attribute_error(L, owner->class, attribute, "ArgumentError",
                        "an array without holes or names expected");
}

/* Pushes the items that a script assigns, as an array, and returns their number; for a keyed collection the
   array of their keys is pushed below it. The value may be another collection. */
static uint32_t push_given(lua_State *L, orr_instance *owner, const orr_collection *list, int value) {
  const orr_collection *other = orr_box_test(L, value, &orr_collection_kind);
  if (other) {
    lua_pushnil(L);
    push_copy(L, other, value);
    return other->count;
  }
  check_assigned(L, owner, list, value);
  if (list->form == ORR_FORM_KEYED) {
    orr_push_hook(L, "items_by_key");
    lua_pushvalue(L, value);
    lua_call(L, 1, 2);
  } else {
    lua_pushnil(L);
    lua_pushvalue(L, value);
  }
  return (uint32_t)orr_rawlen(L, -1);
}

/* Pushes a fresh array of what is assigned and returns its length; everything in it was accepted. */
static uint32_t push_incoming(lua_State *L, orr_instance *owner, int owner_index, orr_collection *list,
                              int value) {
  uint32_t count = push_given(L, owner, list, value);
  int keys = lua_gettop(L) - 1;
  lua_createtable(L, (int)count, 0);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, keys + 1, (int)i);
    orr_collection_accept(L, list, owner, owner_index, lua_gettop(L));
    lua_rawseti(L, keys + 2, (int)i);
  }
  if (list->form != ORR_FORM_LIST)
    count = orr_unique_arrange(L, list, owner, keys + 2, lua_isnil(L, keys) ? 0 : keys, count);
  lua_replace(L, keys);
  lua_settop(L, keys);
  return count;
}

/* So that nothing has to grow while items are exchanged. */
static void make_room(lua_State *L, orr_collection *list, int index, int incoming, uint32_t count) {
  for (uint32_t i = list->count + 1; i <= count; i++) {
    lua_pushboolean(L, 0);
    set_item(L, list, index, i);
  }
  for (uint32_t i = count + 1; i <= list->count; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, incoming, (int)i);
  }
}

/* Puts the incoming array in the place of the items and leaves a plain array of the former ones in its place.
 */
static uint32_t swap_items(lua_State *L, orr_collection *list, int index, int incoming, uint32_t count) {
  uint32_t before = list->count, most = before > count ? before : count;
  make_room(L, list, index, incoming, count);
  for (uint32_t i = 1; i <= most; i++) {
    lua_rawgeti(L, incoming, (int)i);
    orr_collection_item(L, list, index, i);
    lua_rawseti(L, incoming, (int)i);
    set_item(L, list, index, i);
  }
  list->count = count;
  for (uint32_t i = count + 1; i <= before; i++)
    clear_item(L, list, index, i);
  forget_counts(L, list, index);
  if (list->form != ORR_FORM_LIST)
    orr_unique_rebuild(L, list, index);
  return before;
}

typedef void (*item_event)(lua_State *L, orr_instance *owner, int owner_index, int relation, int item);

/* Fires for each item 1..count of the array that the set lacks. */
static void fire(lua_State *L, orr_collection *list, int owner, int items, uint32_t count, int set,
                 item_event event) {
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, items, (int)i);
    if (!lua_isnil(L, -1) && !in_set(L, set, -1))
      event(L, lua_touserdata(L, owner), owner, list->relation, lua_gettop(L));
    lua_pop(L, 1);
  }
}

/* Before the list at `index` gets its new items: those that the set lacks are about to leave. */
static void announce_removals(lua_State *L, orr_collection *list, int owner, int index, int set) {
  if (!is_heard(lua_touserdata(L, owner), list))
    return;
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, index, i);
    if (!in_set(L, set, -1))
      announce(L, list, lua_touserdata(L, owner), owner, lua_gettop(L), "remove");
    lua_pop(L, 1);
  }
}

void orr_collection_replace(lua_State *L, orr_collection *list, int index, int value) {
  value = orr_absindex(L, value);
  if (lua_rawequal(L, index, value))
    return;
  lua_pushvalue(L, value);
  lua_pushvalue(L, index);
  int base = lua_gettop(L) - 2; /* value at base + 1, collection at base + 2 */
  luaL_checkstack(L, 40, "collection");
  orr_instance *owner = orr_collection_owner(L, base + 2);
  uint32_t count = push_incoming(L, owner, base + 3, list, base + 1);
  push_set(L, base + 4, count);
  announce_removals(L, list, base + 3, base + 2, base + 5);
  list->given = true;
  orr_collection_keep(L, list, base + 2, owner);
  uint32_t before = swap_items(L, list, base + 2, base + 4, count);
  push_set(L, base + 4, before);
  push_copy(L, list, base + 2);
  fire(L, list, base + 3, base + 4, before, base + 5, orr_relationship_removed);
  fire(L, list, base + 3, base + 7, count, base + 6, orr_relationship_added);
  lua_settop(L, base);
}

/* ---- index assignment ---- */

/* Pushes the table of occurrences by item, counted when it is not there. */
static void push_counts(lua_State *L, orr_collection *list) {
  orr_collection_field(L, 1, ORR_COLLECTION_COUNTS);
  if (!lua_isnil(L, -1))
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, 1, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    lua_Integer seen = lua_tointeger(L, -1) + 1;
    lua_pop(L, 1);
    lua_pushinteger(L, seen);
    lua_rawset(L, -3);
  }
  lua_pushvalue(L, -1);
  orr_collection_setfield(L, 1, ORR_COLLECTION_COUNTS);
  list->counted = true;
}

/* Changes the number of occurrences of the item at `item` and returns the new one. */
static lua_Integer recount(lua_State *L, int counts, int item, int by) {
  lua_pushvalue(L, item);
  lua_rawget(L, counts);
  lua_Integer now = lua_tointeger(L, -1) + by;
  lua_pop(L, 1);
  lua_pushvalue(L, item);
  if (now)
    lua_pushinteger(L, now);
  else
    lua_pushnil(L);
  lua_rawset(L, counts);
  return now;
}

/* list[at] = object, for a position that is there: only what comes in or leaves altogether is an event. */
static void replace_at(lua_State *L, orr_collection *list, uint32_t at) {
  orr_instance *owner = orr_collection_begin(L, list); /* at 4 */
  orr_collection_item(L, list, 1, at);                 /* the former item at 5 */
  orr_collection_accept(L, list, owner, 4, 3);
  announce(L, list, owner, 4, 5, "remove");
  check_place(L, list, owner, at, 5);
  push_counts(L, list); /* at 6 */
  bool gone = recount(L, 6, 5, -1) == 0;
  bool came = recount(L, 6, 3, 1) == 1;
  lua_pushvalue(L, 3);
  set_item(L, list, 1, at);
  if (gone && !lua_rawequal(L, 3, 5))
    removed(L, list, owner, 4, 5);
  if (came && !lua_rawequal(L, 3, 5))
    added(L, list, owner, 4, 3);
}

static void append_counted(lua_State *L, orr_collection *list) {
  orr_instance *owner = orr_collection_begin(L, list); /* at 4 */
  orr_collection_accept(L, list, owner, 4, 3);
  push_counts(L, list); /* at 5 */
  bool came = recount(L, 5, 3, 1) == 1;
  lua_pushvalue(L, 3);
  set_item(L, list, 1, list->count + 1);
  list->count++;
  if (came)
    added(L, list, owner, 4, 3);
}

static void drop_last(lua_State *L, orr_collection *list) {
  orr_instance *owner = orr_collection_begin(L, list); /* at 4 */
  orr_collection_item(L, list, 1, list->count);        /* at 5 */
  announce(L, list, owner, 4, 5, "remove");
  check_place(L, list, owner, list->count, 5);
  push_counts(L, list); /* at 6 */
  bool gone = recount(L, 6, 5, -1) == 0;
  clear_item(L, list, 1, list->count--);
  if (gone)
    removed(L, list, owner, 4, 5);
}

/* Pushes the method that is called by the name at 2, or nil; the upvalues from 2 are the methods of each
 * form. */
static void push_method(lua_State *L, const orr_collection *list) {
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex((int)list->form + 2));
}

static int write_keyed(lua_State *L, orr_collection *list) {
  push_method(L, list);
  if (!lua_isnil(L, -1))
    return orr_collection_refuse(L, list, "a method has this name; use :set(key, object) and :get(key)");
  lua_pop(L, 1);
  return orr_keyed_set(L);
}

static int write(lua_State *L) {
  orr_collection *list = check(L);
  int64_t at;
  lua_settop(L, 3);
  if (list->form == ORR_FORM_KEYED)
    return write_keyed(L, list);
  if (list->form == ORR_FORM_SET)
    return orr_collection_refuse(L, list,
                                 "a set has no positions to assign; use :add(object) and :remove(object)");
  if (!orr_toint64(L, 2, &at) || at < 1)
    return orr_collection_refuse(L, list, "a collection has integer positions from 1");
  if (at > (int64_t)list->count + 1)
    return orr_collection_refuse(L, list, "this position would leave a gap; the next one is #collection + 1");
  bool last = at == (int64_t)list->count;
  if (!lua_isnil(L, 3)) {
    if (at == (int64_t)list->count + 1)
      append_counted(L, list);
    else
      replace_at(L, list, (uint32_t)at);
  } else if (last) {
    drop_last(L, list);
  } else if (at <= (int64_t)list->count) {
    return orr_collection_refuse(L, list,
                                 "nil in the middle of a collection; use :remove(object) or :pop(position)");
  }
  return 0;
}

/* ---- reading ---- */

/* "append, remove, ..." of a form, on top. */
static const char *const METHOD_NAMES[3] = {
    "append, remove, insert, extend, clear, contains, index, pop, to_table, each",
    "add, append, remove, discard, extend, clear, contains, pop, to_table, each",
    "get, set, append, remove, extend, clear, contains, pop, keys, values, to_table, each"};

static int no_method(lua_State *L, orr_collection *list) {
  lua_pushfstring(L, "a collection has no '%s'; it has %s", lua_tostring(L, 2), METHOD_NAMES[list->form]);
  return orr_collection_refuse(L, list, lua_tostring(L, -1));
}

/* Pushes the method that is called by the string at 2 where the value at 1 looks like a collection. Each
   method checks what it is called with: a wrong guess does no harm. */
static bool push_likely_method(lua_State *L) {
  const orr_collection *list = lua_touserdata(L, 1);
  if (lua_type(L, 2) != LUA_TSTRING || !list || orr_rawlen(L, 1) < sizeof *list ||
      list->form > ORR_FORM_KEYED)
    return false;
  push_method(L, list);
  return !lua_isnil(L, -1);
}

static int read(lua_State *L) {
  if (push_likely_method(L))
    return 1;
  lua_settop(L, 2);
  orr_collection *list = check(L);
  if (lua_type(L, 2) == LUA_TNUMBER && list->form != ORR_FORM_KEYED) {
    int64_t at;
    if (!orr_toint64(L, 2, &at) || at < 1 || at > (int64_t)list->count)
      return 0;
    orr_collection_item(L, list, 1, (uint32_t)at);
    return 1;
  }
  if (list->form == ORR_FORM_KEYED)
    return orr_keyed_get(L);
  return lua_type(L, 2) == LUA_TSTRING ? no_method(L, list) : 0;
}

static int length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check(L)->count);
  return 1;
}

/* for i, item in collection do: the collection is its own iterator function. What it leaves on the stack
   stays below what is returned. */
static int next(lua_State *L) {
  if (!is_collection_at_1(L))
    return orr_box_check(L, 1, &orr_collection_kind), 0;
  orr_collection *list = lua_touserdata(L, 1);
  if (list->form == ORR_FORM_KEYED)
    return lua_pop(L, 1), orr_keyed_next(L, list);
  lua_Integer at = lua_tointeger(L, 3); /* 0 where the loop begins */
  if (at < 0 || at >= (lua_Integer)list->count)
    return 0;
  at++;
  if (at <= list->near) {
    lua_pushinteger(L, at);
    orr_getslot(L, 1, OWNER + (int)at);
    return 2;
  }
  orr_getuservalue(L, 1);
  lua_pushinteger(L, at);
  lua_rawgeti(L, -2, field_of(list, (uint32_t)at));
  return 2;
}

static int pairs(lua_State *L) {
  check(L);
  lua_settop(L, 1);
  return 1;
}

static int text(lua_State *L) {
  orr_collection *list = check(L);
  luaL_Buffer buffer;
  lua_settop(L, 1);
  lua_getglobal(L, "tostring");
  luaL_buffinit(L, &buffer);
  luaL_addchar(&buffer, '[');
  for (uint32_t i = 1; i <= list->count; i++) {
    if (i > 1)
      luaL_addstring(&buffer, ", ");
    lua_pushvalue(L, 2);
    orr_collection_item(L, list, 1, i);
    lua_call(L, 1, 1);
    if (!lua_isstring(L, -1))
      return orr_collection_refuse(L, list, "tostring() gave no string for an object in it");
    luaL_addvalue(&buffer);
  }
  luaL_addchar(&buffer, ']');
  luaL_pushresult(&buffer);
  return 1;
}

/* core.collection_old(collection) -> array of the items before the first change since the last flush, or nil
 */
static int old_items(lua_State *L) {
  check(L);
  orr_collection_field(L, 1, ORR_COLLECTION_OLD);
  return 1;
}

/* core.is_collection(value) */
static int is_collection(lua_State *L) {
  lua_pushboolean(L, orr_box_test(L, 1, &orr_collection_kind) != NULL);
  return 1;
}

/* Sets functions in the table on top that know collections' metatable by its address. */
static void set_functions(lua_State *L, const luaL_Reg *functions, const void *meta) {
  for (; functions->name; functions++) {
    lua_pushlightuserdata(L, (void *)meta);
    lua_pushcclosure(L, functions->func, 1);
    lua_setfield(L, -2, functions->name);
  }
}

/* Sets a function that has the methods of each form as further upvalues, in the metatable on top. */
static void add_accessor(lua_State *L, const char *event, lua_CFunction function,
                         const luaL_Reg *const *methods) {
  const void *meta = lua_topointer(L, -1);
  lua_pushlightuserdata(L, (void *)meta);
  for (int form = ORR_FORM_LIST; form <= ORR_FORM_KEYED; form++) {
    lua_newtable(L);
    set_functions(L, methods[form], meta);
  }
  lua_pushcclosure(L, function, 4);
  lua_setfield(L, -2, event);
}

void orr_collection_open(lua_State *L) {
  static const luaL_Reg list[] = {
      {"append", append},     {"remove", remove_item}, {"insert", insert},    {"extend", extend},
      {"clear", clear},       {"contains", contains},  {"index", find_index}, {"pop", pop},
      {"to_table", to_table}, {"each", each},          {NULL, NULL}};
  static const luaL_Reg set[] = {{"add", append},
                                 {"append", append},
                                 {"remove", remove_item},
                                 {"discard", orr_set_discard},
                                 {"extend", extend},
                                 {"clear", clear},
                                 {"contains", contains},
                                 {"pop", pop},
                                 {"to_table", to_table},
                                 {"each", each},
                                 {NULL, NULL}};
  static const luaL_Reg keyed[] = {{"get", orr_keyed_get},
                                   {"set", orr_keyed_set},
                                   {"append", append},
                                   {"remove", remove_item},
                                   {"extend", extend},
                                   {"clear", clear},
                                   {"contains", contains},
                                   {"pop", orr_keyed_pop},
                                   {"keys", orr_keyed_keys},
                                   {"values", to_table},
                                   {"to_table", orr_keyed_to_table},
                                   {"each", each},
                                   {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__len", length},   {"__call", next},     {"__pairs", pairs},
                                  {"__ipairs", pairs}, {"__tostring", text}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"collection_old", old_items},
                                       {"collection_items", to_table},
                                       {"is_collection", is_collection},
                                       {NULL, NULL}};
  static const luaL_Reg *const methods[] = {list, set, keyed};
  orr_box_define(L, &orr_collection_kind, NULL);
  set_functions(L, meta, lua_topointer(L, -1));
  add_accessor(L, "__index", read, methods);
  add_accessor(L, "__newindex", write, methods);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
