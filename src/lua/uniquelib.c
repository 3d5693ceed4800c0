/* uniquelib: collections that hold an object once: sets, and keyed ones, which have one object under each key
   that the relationship's function gives. Their items stand in an array in the order in which they came, as
   those of lists do, so that flushes and loaders need not know the difference; tables beside it tell what is
   in. */
#include "collection.h"

static const orr_instance *owner_of(lua_State *L, int index) {
  const orr_instance *owner = orr_collection_owner(L, index);
  lua_pop(L, 1);
  return owner;
}

/* ---- keys ---- */

/* Pushes the key of the item at `item`, which is never nil. */
static void push_key(lua_State *L, const orr_instance *owner, int relation, int item) {
  item = orr_absindex(L, item);
  orr_push_hook(L, "collection_key");
  lua_pushvalue(L, item);
  orr_class_push(L, owner->class);
  lua_pushinteger(L, owner->class->column_count + relation + 1);
  lua_call(L, 3, 1);
}

void orr_unique_check(lua_State *L, const orr_instance *owner, int relation, int item) {
  if (!(owner->class->relations[relation].flags & ORR_RELATION_KEYED))
    return;
  push_key(L, owner, relation, item);
  lua_pop(L, 1);
}

/* Raises: the item at `item` was given under the key at `given`, and its own is at `own`. */
static void refuse_key(lua_State *L, const orr_instance *owner, int relation, int given, int own) {
  given = orr_absindex(L, given);
  own = orr_absindex(L, own);
  orr_push_hook(L, "wrong_key");
  orr_class_push(L, owner->class);
  lua_pushinteger(L, owner->class->column_count + relation + 1);
  lua_pushvalue(L, given);
  lua_pushvalue(L, own);
  lua_call(L, 4, 0);
}

/* Pushes table[value at `key`] of a field of the collection. */
static void look_up(lua_State *L, int index, int field, int key) {
  key = orr_absindex(L, key);
  orr_collection_field(L, index, field);
  lua_pushvalue(L, key);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* Sets table[value at `key`] to the value on top, which is popped. */
static void note(lua_State *L, int index, int field, int key) {
  key = orr_absindex(L, key);
  orr_collection_field(L, index, field);
  lua_pushvalue(L, key);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

/* ---- what is in ---- */

void orr_unique_open(lua_State *L, orr_collection *list, int index) {
  index = orr_absindex(L, index);
  lua_newtable(L);
  orr_collection_setfield(L, index, ORR_COLLECTION_NAMES);
  if (list->form == ORR_FORM_KEYED) {
    lua_newtable(L);
    orr_collection_setfield(L, index, ORR_COLLECTION_KEYS);
  }
}

bool orr_unique_has(lua_State *L, int index, int item) {
  look_up(L, index, ORR_COLLECTION_NAMES, item);
  bool has = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return has;
}

/* The item at `item` is in from now on, under the name on top, which is popped. */
static void enter(lua_State *L, orr_collection *list, int index, int item) {
  int name = lua_gettop(L);
  if (list->form == ORR_FORM_KEYED) {
    lua_pushvalue(L, item);
    note(L, index, ORR_COLLECTION_KEYS, name);
  }
  note(L, index, ORR_COLLECTION_NAMES, item);
}

void orr_unique_forget(lua_State *L, orr_collection *list, int index, int item) {
  index = orr_absindex(L, index);
  item = orr_absindex(L, item);
  if (list->form == ORR_FORM_KEYED) {
    look_up(L, index, ORR_COLLECTION_NAMES, item);
    lua_pushnil(L);
    note(L, index, ORR_COLLECTION_KEYS, -2);
    lua_pop(L, 1);
    lua_pushnil(L);
    orr_collection_setfield(L, index, ORR_COLLECTION_PLACES);
  }
  lua_pushnil(L);
  note(L, index, ORR_COLLECTION_NAMES, item);
}

/* Takes out, without events, what stands under the key on top, and the item itself where it has another key.
 */
static void give_way(lua_State *L, orr_collection *list, int index, int item) {
  look_up(L, index, ORR_COLLECTION_KEYS, -1);
  if (!lua_isnil(L, -1))
    orr_collection_take_item(L, list, index, lua_gettop(L));
  lua_pop(L, 1);
  orr_collection_take_item(L, list, index, item);
}

void orr_unique_push(lua_State *L, orr_collection *list, int index, int item) {
  index = orr_absindex(L, index);
  item = orr_absindex(L, item);
  if (list->form == ORR_FORM_SET) {
    if (orr_unique_has(L, index, item))
      return;
    lua_pushboolean(L, 1);
  } else {
    push_key(L, owner_of(L, index), list->relation, item);
    give_way(L, list, index, item);
  }
  orr_collection_put_last(L, list, index, item);
  enter(L, list, index, item);
}

void orr_unique_rebuild(lua_State *L, orr_collection *list, int index) {
  index = orr_absindex(L, index);
  const orr_instance *owner = owner_of(L, index);
  orr_unique_open(L, list, index);
  lua_pushnil(L);
  orr_collection_setfield(L, index, ORR_COLLECTION_PLACES);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, index, i);
    if (list->form == ORR_FORM_KEYED)
      push_key(L, owner, list->relation, -1);
    else
      lua_pushboolean(L, 1);
    enter(L, list, index, lua_gettop(L) - 1);
    lua_pop(L, 1);
  }
}

bool orr_unique_rival(lua_State *L, orr_collection *list, int index, int item) {
  if (list->form != ORR_FORM_KEYED)
    return false;
  item = orr_absindex(L, item);
  push_key(L, owner_of(L, index), list->relation, item);
  look_up(L, index, ORR_COLLECTION_KEYS, -1);
  lua_remove(L, -2);
  if (!lua_isnil(L, -1) && !lua_rawequal(L, -1, item))
    return true;
  lua_pop(L, 1);
  return false;
}

bool orr_unique_make_room(lua_State *L, orr_collection *list, int item) {
  int top = lua_gettop(L);
  if (list->form == ORR_FORM_SET)
    return !orr_unique_has(L, 1, item);
  if (orr_unique_rival(L, list, 1, item)) {
    orr_collection_remove_at(L, list, orr_collection_position(L, list, 1, top + 1));
    lua_settop(L, top);
    return true;
  }
  push_key(L, owner_of(L, 1), list->relation, item);
  look_up(L, 1, ORR_COLLECTION_KEYS, -1);
  bool new = lua_isnil(L, -1);
  lua_settop(L, top);
  return new;
}

uint32_t orr_unique_arrange(lua_State *L, orr_collection *list, orr_instance *owner, int array, int keys,
                            uint32_t count) {
  uint32_t kept = 0;
  lua_newtable(L);
  int seen = lua_gettop(L); /* [key, or item] = its place */
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, array, (int)i);
    if (list->form == ORR_FORM_KEYED)
      push_key(L, owner, list->relation, -1);
    else
      lua_pushvalue(L, -1);
    if (keys) {
      lua_rawgeti(L, keys, (int)i);
      if (!lua_rawequal(L, -1, -2))
        refuse_key(L, owner, list->relation, -1, -2);
      lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_rawget(L, seen);
    uint32_t place = lua_isnil(L, -1) ? ++kept : (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)place);
    lua_rawset(L, seen);
    lua_rawseti(L, array, (int)place);
  }
  for (uint32_t i = kept + 1; i <= count; i++) {
    lua_pushnil(L);
    lua_rawseti(L, array, (int)i);
  }
  lua_pop(L, 1);
  return kept;
}

/* ---- what a script calls ---- */

/* set:discard(object) -> whether it was in */
int orr_set_discard(lua_State *L) {
  orr_collection *list = orr_box_check(L, 1, &orr_collection_kind);
  luaL_checkany(L, 2);
  uint32_t at = orr_collection_position(L, list, 1, 2);
  if (at)
    orr_collection_remove_at(L, list, at);
  lua_pushboolean(L, at != 0);
  return 1;
}

/* keyed:get(key) -> object or nil; for keys that a method has the name of, too */
int orr_keyed_get(lua_State *L) {
  orr_box_check(L, 1, &orr_collection_kind);
  luaL_checkany(L, 2);
  look_up(L, 1, ORR_COLLECTION_KEYS, 2);
  return 1;
}

/* keyed:pop(key) -> the removed object, or nil */
int orr_keyed_pop(lua_State *L) {
  orr_collection *list = orr_box_check(L, 1, &orr_collection_kind);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  look_up(L, 1, ORR_COLLECTION_KEYS, 2);
  if (!lua_isnil(L, 3))
    orr_collection_remove_at(L, list, orr_collection_position(L, list, 1, 3));
  lua_settop(L, 3);
  return 1;
}

/* keyed:set(key, object), keyed[key] = object; nil takes it out */
int orr_keyed_set(lua_State *L) {
  orr_collection *list = orr_box_check(L, 1, &orr_collection_kind);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_pop(L, 1);
    orr_keyed_pop(L);
    return 0;
  }
  orr_instance *owner = orr_collection_begin(L, list); /* at 4 */
  orr_collection_accept(L, list, owner, 4, 3);
  push_key(L, owner, list->relation, 3);
  if (!lua_rawequal(L, 5, 2))
    refuse_key(L, owner, list->relation, 2, 5);
  lua_settop(L, 4);
  orr_collection_admit(L, list, owner, 4, 3);
  return 0;
}

/* keyed:keys() -> plain array of the keys */
int orr_keyed_keys(lua_State *L) {
  const orr_collection *list = orr_box_check(L, 1, &orr_collection_kind);
  lua_settop(L, 1);
  lua_createtable(L, (int)list->count, 0);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, 1, i);
    look_up(L, 1, ORR_COLLECTION_NAMES, -1);
    lua_rawseti(L, 2, (int)i);
    lua_settop(L, 2);
  }
  return 1;
}

/* keyed:to_table() -> plain table of the objects by key */
int orr_keyed_to_table(lua_State *L) {
  const orr_collection *list = orr_box_check(L, 1, &orr_collection_kind);
  lua_settop(L, 1);
  lua_createtable(L, 0, (int)list->count);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, 1, i);
    look_up(L, 1, ORR_COLLECTION_NAMES, 3);
    lua_insert(L, 3);
    lua_rawset(L, 2);
  }
  return 1;
}

/* Pushes the table of positions by item, made when it is not there. */
static void push_places(lua_State *L, const orr_collection *list) {
  orr_collection_field(L, 1, ORR_COLLECTION_PLACES);
  if (!lua_isnil(L, -1))
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  for (uint32_t i = 1; i <= list->count; i++) {
    orr_collection_item(L, list, 1, i);
    lua_pushinteger(L, (lua_Integer)i);
    lua_rawset(L, -3);
  }
  lua_pushvalue(L, -1);
  orr_collection_setfield(L, 1, ORR_COLLECTION_PLACES);
}

/* Position of the item under the key at `key`; one that came in while the collection is walked has none yet.
 */
static uint32_t place_of(lua_State *L, orr_collection *list, int key) {
  look_up(L, 1, ORR_COLLECTION_KEYS, key);
  if (lua_isnil(L, -1))
    orr_collection_refuse(L, list,
                          "the object was taken out while the collection was walked; walk over :to_table()");
  int item = lua_gettop(L);
  push_places(L, list);
  lua_pushvalue(L, item);
  lua_rawget(L, -2);
  uint32_t place = (uint32_t)lua_tointeger(L, -1);
  return place ? place : orr_collection_position(L, list, 1, item);
}

/* for key, object in keyed do */
int orr_keyed_next(lua_State *L, orr_collection *list) {
  lua_settop(L, 3);
  uint32_t at = lua_isnil(L, 3) ? 1 : place_of(L, list, 3) + 1;
  if (at > list->count)
    return 0;
  lua_settop(L, 3);
  orr_collection_item(L, list, 1, at);
  look_up(L, 1, ORR_COLLECTION_NAMES, 4);
  lua_insert(L, 4);
  return 2;
}
