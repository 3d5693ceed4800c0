/* sessionlib: what a session knows: its objects by identity, and the lists of new, changed and deleted ones.
   When to flush, what a transaction does and what to load are decided in lua/orrery/session.lua. */
#include <stdint.h>
#include <string.h>

#include "libs.h"
#include "mapped.h"

/* ---- numbers ---- */

static void leave_world(orr_session *session) {
  orr_world *world = session->world;
  if (session->number && world && world->sessions) {
    world->sessions[session->number & (world->session_room - 1)] = NULL;
    world->session_count--;
  }
  session->number = 0;
}

static void close_session(void *block) {
  orr_session *session = block;
  leave_world(session);
  if (!session->world)
    return;
  orr_identity_clear(&session->map);
  orr_history_clear(&session->history);
  orr_cohorts_clear(&session->cohorts);
}

const orr_box_kind orr_session_kind = {"session", close_session};

/* Doubles the table of sessions; numbers that differ by the small mask differ by the large one too. */
static bool grow_world(orr_world *world) {
  uint32_t room = world->session_room ? world->session_room * 2 : 8;
  orr_session **grown = orr_alloc_array(&world->alloc, room, sizeof *grown);
  if (!grown)
    return false;
  for (uint32_t i = 0; i < world->session_room; i++)
    if (world->sessions[i])
      grown[world->sessions[i]->number & (room - 1)] = world->sessions[i];
  orr_alloc_free(&world->alloc, world->sessions, world->session_room, sizeof *grown);
  world->sessions = grown;
  world->session_room = room;
  return true;
}

static void enter_world(lua_State *L, orr_session *session, int index) {
  orr_world *world = session->world;
  if (world->session_count >= world->session_room / 2 && !grow_world(world))
    luaL_error(L, "not enough memory");
  do
    world->last_session++;
  while (world->last_session == 0 || world->sessions[world->last_session & (world->session_room - 1)]);
  index = orr_absindex(L, index);
  lua_rawgeti(L, LUA_REGISTRYINDEX, world->users);
  orr_getuservalue(L, index);
  lua_rawseti(L, -2, (int)world->last_session);
  lua_pop(L, 1);
  session->number = world->last_session;
  world->sessions[session->number & (world->session_room - 1)] = session;
  world->session_count++;
}

static void fresh_table(lua_State *L, int user, int field, const char *mode) {
  lua_newtable(L);
  if (mode) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_rawseti(L, user, field);
}

/* Where a userdata may have further user values, the first of the handle's at `index` is its objects, too. */
static void fresh_objects(lua_State *L, int index, int user) {
  fresh_table(L, user, ORR_SESSION_OBJECTS, "v");
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  orr_setslot(L, index, 1);
}

/* Pushes the objects of the handle at `index`, and returns where they are. */
static int push_objects(lua_State *L, int index) {
  if (ORR_SLOTS) {
    orr_getslot(L, index, 1);
    return index + 1;
  }
  orr_getuservalue(L, index);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  return index + 2;
}

/* The counts go first: entries beyond them do not count, so that the lists are empty even where there is no
   memory for fresh ones. */
static void fresh_work(lua_State *L, orr_session *session, int user) {
  session->new_count = session->dirty_count = session->deleted_count = session->watched_count = 0;
  session->moved = false;
  fresh_table(L, user, ORR_SESSION_NEW, NULL);
  fresh_table(L, user, ORR_SESSION_DIRTY, NULL);
  fresh_table(L, user, ORR_SESSION_DELETED, NULL);
  fresh_table(L, user, ORR_SESSION_WATCHED, NULL);
}

/* What a transaction has done to objects. */
static void fresh_deeds(lua_State *L, orr_session *session, int user) {
  session->inserted_count = session->removed_count = session->rekeyed_count = 0;
  fresh_table(L, user, ORR_SESSION_INSERTED, "v");
  fresh_table(L, user, ORR_SESSION_REMOVED, NULL);
  fresh_table(L, user, ORR_SESSION_REKEYED, NULL);
}

static void fresh_lists(lua_State *L, orr_session *session, int user) {
  fresh_work(L, session, user);
  fresh_deeds(L, session, user);
}

/* Pushes the user value of the session at `index`. */
static int user_at(lua_State *L, int index) {
  orr_getuservalue(L, index);
  return lua_gettop(L);
}

/* Pushes the table of user values, and of an open session its own, or nil; see orr_session_user(). */
static bool push_user(lua_State *L, orr_session *session) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, session->world->users);
  lua_rawgeti(L, -1, (int)session->number);
  if (lua_istable(L, -1))
    return true;
  leave_world(session);
  return false;
}

bool orr_session_user(lua_State *L, orr_session *session) {
  bool open = push_user(L, session);
  if (open)
    lua_replace(L, -2);
  else
    lua_pop(L, 2);
  return open;
}

static orr_session *check(lua_State *L, int index) { return orr_box_check(L, index, &orr_session_kind); }

orr_session *orr_session_check(lua_State *L, int index) {
  orr_session *session = check(L, index);
  if (!session->number)
    enter_world(L, session, index);
  return session;
}

/* core.session(lua_session) -> handle. The Lua object is what hooks are given. */
static int new_session(lua_State *L) {
  lua_settop(L, 1);
  orr_session *session = orr_box_new_slots(L, &orr_session_kind, sizeof *session, 1);
  orr_identity_init(&session->map, orr_allocator(L));
  orr_history_init(&session->history, orr_allocator(L));
  orr_cohorts_init(&session->cohorts, orr_allocator(L));
  session->world = orr_world_get(L);
  session->heap = lua_gc(L, LUA_GCCOUNT, 0);
  lua_newtable(L);
  fresh_objects(L, 2, 3);
  fresh_table(L, 3, ORR_SESSION_COHORTS, NULL);
  fresh_lists(L, session, 3);
  lua_pushvalue(L, 1);
  lua_setfield(L, 3, "owner");
  orr_setuservalue(L, 2);
  enter_world(L, session, 2);
  return 1;
}

/* core.session_of(object) -> the Lua session that it is in, or nil */
static int session_of(lua_State *L) {
  orr_session *session = orr_instance_session(orr_instance_check(L, 1));
  if (!session || !orr_session_user(L, session))
    return 0;
  lua_getfield(L, -1, "owner");
  return 1;
}

/* ---- the identity map ---- */

typedef struct liveness {
  lua_State *L;
  int objects;
} liveness;

static bool is_alive(void *ud, uint32_t slot) {
  const liveness *where = ud;
  lua_rawgeti(where->L, where->objects, (int)slot);
  bool alive = lua_isuserdata(where->L, -1);
  lua_pop(where->L, 1);
  return alive;
}

orr_instance *orr_session_find(lua_State *L, orr_session *session, const orr_key *key, int objects) {
  uint32_t slot = orr_identity_find(&session->map, key);
  if (!slot)
    return NULL;
  lua_rawgeti(L, objects, (int)slot);
  orr_instance *object = lua_touserdata(L, -1);
  if (!object)
    lua_pop(L, 1);
  return object;
}

uint32_t orr_session_claim(lua_State *L, orr_session *session, const orr_key *key, int objects, bool *found) {
  liveness where = {L, objects};
  uint32_t slot = orr_identity_claim(&session->map, key, is_alive, &where, found);
  if (!slot)
    luaL_error(L, "not enough memory");
  return slot;
}

/* A place that holds false takes no memory when an object is put there. */
static void reserve_place(lua_State *L, uint32_t slot, int objects) {
  lua_rawgeti(L, objects, (int)slot);
  if (!lua_isuserdata(L, -1)) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, objects, (int)slot);
  }
  lua_pop(L, 1);
}

void orr_session_reserve(lua_State *L, orr_session *session, uint32_t count, int objects) {
  liveness where = {L, objects};
  orr_identity *map = &session->map;
  if (!orr_identity_reserve(map, count, is_alive, &where))
    luaL_error(L, "not enough memory");
  uint32_t slot = map->free;
  for (uint32_t i = 0; i < count; i++) {
    reserve_place(L, slot ? slot : map->used + 1 + i, objects);
    slot = slot ? map->slots[slot].as.next_free : 0;
  }
}

void orr_session_seat(lua_State *L, orr_session *session, orr_instance *object, int index, uint32_t slot,
                      int objects) {
  lua_pushvalue(L, index);
  lua_rawseti(L, objects, (int)slot);
  session->map.stamp++;
  object->session = session->number;
  object->state = ORR_PERSISTENT;
  object->slot = slot;
}

void orr_session_enter(lua_State *L, orr_session *session, orr_instance *object, int index,
                       const orr_key *key, int objects) {
  bool found;
  luaL_checkstack(L, 4, "identity map");
  orr_session_seat(L, session, object, index, orr_session_claim(L, session, key, objects, &found), objects);
}

void orr_session_leave(lua_State *L, orr_session *session, const orr_instance *object, int objects) {
  lua_rawgeti(L, objects, (int)object->slot);
  bool mine = lua_touserdata(L, -1) == object;
  lua_pop(L, 1);
  if (!mine)
    return;
  orr_identity_remove(&session->map, object->slot);
  lua_pushnil(L);
  lua_rawseti(L, objects, (int)object->slot);
}

/* Makes the key of the object at `index`; its bytes are anchored by what is pushed (always one value). */
static bool make_key(lua_State *L, orr_instance *object, int index, bool stored, orr_key *key) {
  orr_value values[ORR_MAX_KEY];
  const orr_class *class = object->class;
  if (!orr_instance_key(L, object, index, stored, values)) {
    lua_pushnil(L);
    return false;
  }
  size_t size = orr_key_size(values, class->key_count);
  char *bytes = size ? lua_newuserdata(L, size) : (lua_pushnil(L), NULL);
  orr_key_make(key, class->id, values, class->key_count, bytes);
  return true;
}

/* core.find(session, class, key value, ...) -> the object that the session holds under that key, whether it
 * is expired */
static int find(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  orr_class *class = orr_class_check(L, 2);
  orr_value values[ORR_MAX_KEY];
  char scratch[ORR_MAX_KEY][ORR_TYPE_SCRATCH];
  orr_error error;
  for (int k = 0; k < class->key_count; k++)
    if (orr_type_take(L, 3 + k, &class->columns[class->keys[k]].type, &values[k], scratch[k], &error) != 0)
      return orr_attribute_error(L, class, class->keys[k], error.kind, error.message);
  size_t size = orr_key_size(values, class->key_count);
  orr_key key;
  orr_key_make(&key, class->id, values, class->key_count, size ? lua_newuserdata(L, size) : NULL);
  int user = user_at(L, 1);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  orr_instance *object = orr_session_find(L, session, &key, lua_gettop(L));
  if (!object)
    return 0;
  lua_pushboolean(L, object->epoch != session->epoch);
  return 2;
}

/* ---- methods whose usual case is decided here, everything else in the Lua function that is upvalue 1 ----
 */

/* The world, upvalue 2 of such a method. */
static const orr_world *world_of_method(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(2)); }

/* Classes and sessions both begin with the world's address: their sizes tell them apart. */
typedef char orr_sizes_differ[sizeof(orr_class) != sizeof(orr_session) ? 1 : -1];

/* Pushes the handle of the script's session at 1, and returns it where it is open. A block of that size
   beginning with the world's address is a session of this world. (A light userdata has no size.) */
static orr_session *session_of_method(lua_State *L) {
  lua_rawgeti(L, 1, 1);
  orr_session *session = lua_touserdata(L, -1);
  return session && orr_rawlen(L, -1) == sizeof *session && session->world == world_of_method(L) &&
                 session->number
             ? session
             : NULL;
}

/* Calls the Lua function with the arguments. */
static int decide_in_lua(lua_State *L, int results) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, results);
  return results;
}

/* session:get(class, key): one integer, object there and fresh. */
static int get(lua_State *L) {
  const orr_class *class = lua_touserdata(L, 2);
  if (class && lua_gettop(L) == 3 && lua_istable(L, 1)) {
    int64_t number;
    orr_session *session = session_of_method(L);
    if (session && orr_rawlen(L, 2) == sizeof *class && class->world == session->world && class->simple_key &&
        orr_toint64(L, 3, &number)) {
      orr_key key;
      orr_key_integer(&key, class->id, number);
      orr_instance *object = orr_session_find(L, session, &key, push_objects(L, 4));
      if (object && object->epoch == session->epoch && orr_class_is(object->class, class) &&
          !(object->flags & ORR_DELETING))
        return 1;
    }
    lua_settop(L, 3);
  }
  return decide_in_lua(L, 1);
}

/* session:add(object): a mapped object. */
static int add_object(lua_State *L) {
  if (lua_gettop(L) == 2 && lua_istable(L, 1)) {
    orr_session *session = session_of_method(L);
    if (session && orr_instance_test(L, 2)) {
      orr_session_add(L, session, 2);
      return 0;
    }
    lua_settop(L, 2);
  }
  return decide_in_lua(L, 0);
}

static int new_method(lua_State *L, lua_CFunction method) {
  lua_settop(L, 1);
  lua_pushlightuserdata(L, orr_world_get(L));
  lua_pushcclosure(L, method, 2);
  return 1;
}

/* core.getter(fn), core.adder(fn) -> session:get, session:add with fn for the unusual cases */
static int getter(lua_State *L) { return new_method(L, get); }
static int adder(lua_State *L) { return new_method(L, add_object); }

/* ---- lists ---- */

/* Appends the object at `index` to the list on top. */
static void list_append(lua_State *L, int index, uint32_t *count) {
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (int)*count + 1);
  ++*count;
}

/* The same for a list of the session whose user value is at `user`. */
static void list_add(lua_State *L, int user, int index, int list, uint32_t *count) {
  lua_rawgeti(L, user, list);
  list_append(L, index, count);
  lua_pop(L, 1);
}

/* The same for an open session; false where nobody holds that any more. */
static bool list_push(lua_State *L, orr_session *session, int index, int list, uint32_t *count) {
  int top = lua_gettop(L);
  bool open = push_user(L, session);
  if (open) {
    lua_rawgeti(L, -1, list);
    list_append(L, index < 0 ? top + index + 1 : index, count);
  }
  lua_settop(L, top);
  return open;
}

void orr_session_dirty(lua_State *L, orr_session *session, orr_instance *object, int index) {
  if (object->flags & ORR_DIRTY)
    return;
  if (object->flags & ORR_LISTED || list_push(L, session, index, ORR_SESSION_DIRTY, &session->dirty_count))
    object->flags |= ORR_DIRTY | ORR_LISTED;
}

void orr_session_watch(lua_State *L, orr_session *session, orr_instance *object, int index) {
  if (object->flags & ORR_WATCHED)
    return;
  if (list_push(L, session, index, ORR_SESSION_WATCHED, &session->watched_count))
    object->flags |= ORR_WATCHED;
}

typedef struct list_of {
  const char *name;
  int field;
  size_t count; /* offset of the counter */
} list_of;

static const list_of LISTS[] = {{"new", ORR_SESSION_NEW, offsetof(orr_session, new_count)},
                                {"dirty", ORR_SESSION_DIRTY, offsetof(orr_session, dirty_count)},
                                {"deleted", ORR_SESSION_DELETED, offsetof(orr_session, deleted_count)},
                                {"watched", ORR_SESSION_WATCHED, offsetof(orr_session, watched_count)},
                                {"inserted", ORR_SESSION_INSERTED, offsetof(orr_session, inserted_count)},
                                {"removed", ORR_SESSION_REMOVED, offsetof(orr_session, removed_count)},
                                {NULL, 0, 0}};

/* Pushes the list named by the argument at 2 of the session at 1, sets its field, and returns its length. */
static uint32_t push_list(lua_State *L, int *field) {
  orr_session *session = check(L, 1);
  const char *name = luaL_checkstring(L, 2);
  const list_of *which = LISTS;
  while (which->name && strcmp(which->name, name) != 0)
    which++;
  luaL_argcheck(L, which->name, 2, "list name expected");
  uint32_t count;
  memcpy(&count, (char *)session + which->count, sizeof count);
  lua_rawgeti(L, user_at(L, 1), which->field);
  *field = which->field;
  return count;
}

/* The object on top where an entry of a list stands for one: one whose changes were dropped stays in the list
   of changed ones until the flush. */
static const orr_instance *listed(lua_State *L, int field) {
  const orr_instance *object = lua_touserdata(L, -1);
  return object && (field != ORR_SESSION_DIRTY || object->flags & ORR_DIRTY) ? object : NULL;
}

/* core.list(session, "new" | "dirty" | "deleted" | "watched" | "inserted" | "removed" [, moved]) -> fresh
   array; `moved`: only of objects with changed relations */
static int list(lua_State *L) {
  int field;
  bool moved = lua_toboolean(L, 3);
  uint32_t count = push_list(L, &field), n = 0;
  int from = lua_gettop(L);
  if (moved && !check(L, 1)->moved)
    count = 0;
  lua_newtable(L);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, from, (int)i);
    const orr_instance *object = listed(L, field);
    if (object && (!moved || object->flags & ORR_MOVED))
      lua_rawseti(L, from + 1, (int)++n);
    lua_settop(L, from + 1);
  }
  return 1;
}

/* core.classes(session, list name) -> array of the classes of a list's objects, in the order in which they
   first occur */
static int classes(lua_State *L) {
  int field;
  uint32_t count = push_list(L, &field), n = 0;
  int from = lua_gettop(L);
  const orr_class *last = NULL;
  lua_newtable(L);
  lua_newtable(L);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, from, (int)i);
    const orr_instance *object = listed(L, field);
    if (object && object->class != last) {
      last = object->class;
      orr_rawgetp(L, from + 2, last);
      if (lua_isnil(L, -1)) {
        orr_class_push(L, last);
        lua_pushvalue(L, -1);
        orr_rawsetp(L, from + 2, last);
        lua_rawseti(L, from + 1, (int)++n);
      }
    }
    lua_settop(L, from + 2);
  }
  lua_pop(L, 1);
  return 1;
}

/* core.is_clean(session): nothing to flush. O(1). */
static int is_clean(lua_State *L) {
  lua_pushboolean(L, orr_session_is_clean(check(L, 1)));
  return 1;
}

/* core.handle(session's object) -> session, which is its first field; nothing for anything else */
static int handle_of(lua_State *L) {
  if (!lua_istable(L, 1))
    return 0;
  lua_rawgeti(L, 1, 1);
  return orr_box_test(L, -1, &orr_session_kind) ? 1 : 0;
}

/* core.is_settled(session): the same, documents that may have changed in place left aside. */
static int is_settled(lua_State *L) {
  orr_session *session = check(L, 1);
  lua_pushboolean(L, !session->new_count && !session->dirty_count && !session->deleted_count);
  return 1;
}

/* core.take_loaded(session) -> { object, "load" or "refresh", ... } or nil: what listeners were not told of
 * yet */
static int take_loaded(lua_State *L) {
  check(L, 1);
  int user = user_at(L, 1);
  lua_rawgeti(L, user, ORR_SESSION_LOADED);
  lua_pushnil(L);
  lua_rawseti(L, user, ORR_SESSION_LOADED);
  return 1;
}

/* core.is_deleting(object): it waits for its DELETE. */
static int is_deleting(lua_State *L) {
  lua_pushboolean(L, orr_instance_check(L, 1)->flags & ORR_DELETING);
  return 1;
}

/* core.objects(session) -> array of all persistent objects, in slot order */
static int objects(lua_State *L) {
  orr_session *session = check(L, 1);
  lua_rawgeti(L, user_at(L, 1), ORR_SESSION_OBJECTS);
  lua_newtable(L);
  for (uint32_t slot = 1, n = 0; slot <= session->map.used; slot++) {
    lua_rawgeti(L, -2, (int)slot);
    if (!lua_isuserdata(L, -1))
      lua_pop(L, 1);
    else
      lua_rawseti(L, -2, (int)++n);
  }
  return 1;
}

/* ---- attaching ---- */

enum { IN_LISTS = ORR_DIRTY | ORR_LISTED | ORR_WATCHED | ORR_DELETING };

/* The bytes of the userdata at `index` with `slots` user values of its own. */
static size_t bytes_of(lua_State *L, int index, size_t slots) {
  enum { HEADER = 40, SLOT = 16 };
  return orr_rawlen(L, index) + HEADER + (ORR_SLOTS ? SLOT * slots : 0);
}

/* The bytes of the object at `index`, and of what its relations hold in collections. */
static size_t bytes_with_collections(lua_State *L, const orr_instance *object, int index) {
  const orr_class *class = object->class;
  size_t bytes = bytes_of(L, index, 1);
  for (int r = 0; r < class->relation_count && orr_instance_is_linked(object); r++) {
    if (!(class->relations[r].flags & ORR_RELATION_LIST))
      continue;
    orr_instance_held(L, object, index, r);
    const orr_collection *list = lua_touserdata(L, -1);
    if (list)
      bytes += bytes_of(L, -1, 2 + (size_t)list->near);
    lua_pop(L, 1);
  }
  return bytes;
}

/* What waits to be inserted lives on, as what is loaded does, so that half of it does not count as a reason to
   collect: of what Lua has grown by meanwhile, but for more than the objects take. Not all of it: a session that
   is dropped with what it was given is garbage, too. */
static void spare_collector(lua_State *L, orr_session *session, const orr_instance *object, int index) {
  enum { BYTES_BETWEEN = 256 * 1024 };
  session->unspared += bytes_with_collections(L, object, index);
  if (session->unspared < BYTES_BETWEEN)
    return;
  int kilobytes = (int)(session->unspared / 1024), now = lua_gc(L, LUA_GCCOUNT, 0), grown = now - session->heap;
  session->unspared = 0;
  session->heap = now;
  orr_gc_spare(L, (grown < kilobytes ? grown : kilobytes) / 2);
}

static void attach_new(lua_State *L, orr_session *session, int user, orr_instance *object, int index) {
  list_add(L, user, index, ORR_SESSION_NEW, &session->new_count);
  object->slot = session->new_count;
  object->session = session->number;
  object->cohort = 0;
  object->state = ORR_PENDING;
  spare_collector(L, session, object, index);
}

static int class_error(lua_State *L, orr_instance *object, const char *kind, const char *message) {
  orr_class_pushname(L, object->class);
  return orr_raisef(L, kind, message, lua_tostring(L, -1));
}

static void attach_stored(lua_State *L, orr_session *session, int user, orr_instance *object, int index) {
  orr_key key;
  bool complete = make_key(L, object, index, true, &key);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int objects_index = lua_gettop(L);
  orr_instance *present = complete ? orr_session_find(L, session, &key, objects_index) : NULL;
  if (!complete || (present && present != object))
    class_error(L, object, "InvalidRequestError",
                complete
                    ? "%s: another object with the same key is in this session already; use session:merge"
                    : "%s: a detached object without a key cannot be added");
  lua_settop(L, objects_index);
  object->flags &= (uint16_t)~IN_LISTS;
  object->old = 0; /* of a session that is gone */
  object->cohort = 0;
  orr_session_enter(L, session, object, index, &key, objects_index);
  object->epoch = session->epoch;
  session->moved = session->moved || object->flags & ORR_MOVED;
  if (object->flags & ORR_HAS_OLD)
    orr_session_dirty(L, session, object, index);
  lua_pop(L, 2);
}

/* Takes an object off the list of those to delete. */
static void undelete(lua_State *L, orr_session *session, int user, orr_instance *object, int index) {
  lua_rawgeti(L, user, ORR_SESSION_DELETED);
  for (uint32_t i = 1; i <= session->deleted_count; i++) {
    lua_rawgeti(L, -1, (int)i);
    if (lua_rawequal(L, -1, index)) {
      lua_pushboolean(L, 0);
      lua_rawseti(L, -3, (int)i);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  object->flags &= (uint16_t)~ORR_DELETING;
}

/* Runs hook(session, object, former state), where anybody listens to sessions. */
static void tell_attaching(lua_State *L, const orr_session *session, int user, int index, const char *name,
                           orr_state before) {
  if (!session->world->hears_attaching)
    return;
  orr_push_hook(L, name);
  lua_getfield(L, user, "owner");
  lua_pushvalue(L, index);
  lua_pushstring(L, orr_state_name(before));
  lua_call(L, 3, 0);
}

static void attach(lua_State *L, orr_session *session, int user, int index) {
  orr_instance *object = lua_touserdata(L, index);
  orr_session *present = orr_instance_session(object);
  if (present == session) {
    if (object->flags & ORR_GOING)
      class_error(
          L, object, "InvalidRequestError",
          "%s: this object is being deleted by the flush that runs, and a hook cannot take that back; do "
          "it in before_flush, or raise an error, which undoes the flush");
    if (object->flags & ORR_DELETING)
      undelete(L, session, user, object, index);
    if (object->state == ORR_DELETED)
      class_error(L, object, "InvalidRequestError",
                  "%s: the row of this object was deleted; make a new object instead");
    return;
  }
  if (present)
    class_error(L, object, "InvalidRequestError",
                "%s: this object is in another session already; expunge it there first");
  if (object->state == ORR_DELETED)
    class_error(L, object, "InvalidRequestError",
                "%s: the row of this object was deleted; make a new object instead");
  orr_state before = orr_instance_state(object);
  tell_attaching(L, session, user, index, "attaching", before);
  if (orr_instance_session(object) == session)
    return; /* a listener was quicker */
  if (object->state == ORR_PERSISTENT)
    attach_stored(L, session, user, object, index);
  else
    attach_new(L, session, user, object, index);
  tell_attaching(L, session, user, index, "attached", before);
}

/* core.hear_attaching(): from now on, hooks are told of objects that come into a session. */
static int hear_attaching(lua_State *L) {
  orr_world_get(L)->hears_attaching = true;
  return 0;
}

/* core.attach(session, object): a new object that counts as loaded just now. Nothing else may have its key.
 */
static int attach_loaded(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  orr_instance *object = orr_instance_check(L, 2);
  attach_stored(L, session, user_at(L, 1), object, 2);
  return 0;
}

typedef struct worklist {
  orr_session *session;
  int table; /* nil until something is enlisted */
  int count;
} worklist;

/* What was in a session that is gone has another number. */
static bool is_in(const orr_session *session, const orr_instance *object) {
  return object->session == session->number;
}

/* Enlists the object on top, which is not in the session. */
static void enlist(lua_State *L, worklist *work) {
  if (work->count == 0) {
    lua_newtable(L);
    lua_replace(L, work->table);
  }
  lua_pushvalue(L, -1);
  lua_rawseti(L, work->table, ++work->count);
}

/* Enlists the items of the collection on top. */
static void enlist_items(lua_State *L, worklist *work, const orr_collection *items) {
  int collection = lua_gettop(L);
  for (uint32_t i = 1; i <= items->count; i++) {
    orr_collection_item(L, items, collection, i);
    if (!is_in(work->session, lua_touserdata(L, -1)))
      enlist(L, work);
    lua_pop(L, 1);
  }
}

/* Enlists what the save-update cascades of the object at `index` reach in one step; an expired one holds
   nothing any more. */
static void enlist_related(lua_State *L, worklist *work, int index) {
  orr_instance *object = lua_touserdata(L, index);
  const orr_class *class = object->class;
  if (!orr_instance_is_linked(object) ||
      (object->state == ORR_PERSISTENT && object->epoch != work->session->epoch))
    return;
  for (int r = 0; r < class->relation_count; r++) {
    if (!(class->relations[r].flags & ORR_RELATION_SAVE_UPDATE))
      continue;
    orr_instance_held(L, object, index, r);
    const void *value = lua_touserdata(L, -1);
    if (value && class->relations[r].flags & ORR_RELATION_LIST)
      enlist_items(L, work, value);
    else if (value && !is_in(work->session, value))
      enlist(L, work);
    lua_pop(L, 1);
  }
}

/* Breadth first, so that a parent comes before its children and these keep their order. What is in the
   session already was cascaded when it came in. */
void orr_session_add(lua_State *L, orr_session *session, int index) {
  index = orr_absindex(L, index);
  luaL_checkstack(L, 30, "session:add");
  if (!orr_session_user(L, session))
    return;
  int user = lua_gettop(L);
  attach(L, session, user, index);
  lua_pushnil(L);
  worklist work = {session, user + 1, 0};
  enlist_related(L, &work, index);
  for (int i = 1; i <= work.count; i++) {
    lua_rawgeti(L, work.table, i);
    if (!is_in(session, lua_touserdata(L, user + 2))) {
      attach(L, session, user, user + 2);
      enlist_related(L, &work, user + 2);
    }
    lua_settop(L, work.table);
  }
  lua_pop(L, 2);
}

/* core.add(session, value) -> false where the value is no mapped object */
static int add(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  bool mapped = orr_instance_test(L, 2) != NULL;
  if (mapped)
    orr_session_add(L, session, 2);
  lua_pushboolean(L, mapped);
  return 1;
}

/* ---- detaching ---- */

void orr_session_drop_new(lua_State *L, orr_session *session, orr_instance *object) {
  orr_session_user(L, session);
  lua_rawgeti(L, -1, ORR_SESSION_NEW);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, (int)object->slot);
  lua_pop(L, 2);
  object->state = ORR_TRANSIENT;
  object->session = object->slot = 0;
}

static void drop_from(lua_State *L, int user, int field, uint32_t count, int index) {
  lua_rawgeti(L, user, field);
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, (int)i);
    if (lua_rawequal(L, -1, index)) {
      lua_pushboolean(L, 0);
      lua_rawseti(L, -3, (int)i);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Takes the object at 2 out of the lists of what waits to be written. */
static void drop_from_lists(lua_State *L, orr_session *session, orr_instance *object, int user) {
  if (object->flags & ORR_LISTED)
    drop_from(L, user, ORR_SESSION_DIRTY, session->dirty_count, 2);
  if (object->flags & ORR_WATCHED)
    drop_from(L, user, ORR_SESSION_WATCHED, session->watched_count, 2);
  if (object->flags & ORR_DELETING)
    drop_from(L, user, ORR_SESSION_DELETED, session->deleted_count, 2);
  object->flags &= (uint16_t)~IN_LISTS;
}

/* core.mark_deleted(session, object): a statement has deleted its row; a rollback brings it back. */
static int mark_deleted(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  orr_instance *object = orr_instance_check(L, 2);
  if (orr_instance_session(object) != session || object->state != ORR_PERSISTENT)
    return 0;
  int user = user_at(L, 1);
  drop_from_lists(L, session, object, user);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  orr_session_leave(L, session, object, lua_gettop(L));
  object->state = ORR_DELETED;
  lua_rawgeti(L, user, ORR_SESSION_REMOVED);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, (int)++session->removed_count);
  return 0;
}

/* core.expunge(session, object): pending becomes transient, persistent detached. */
static int expunge(lua_State *L) {
  orr_session *session = orr_session_check(L, 1);
  orr_instance *object = orr_instance_check(L, 2);
  if (orr_instance_session(object) != session)
    return class_error(L, object, "InvalidRequestError", "%s: this object is not in this session");
  if (object->action)
    return class_error(
        L, object, "InvalidRequestError",
        "%s: this object is being written by the flush that runs; expunge it before or after that");
  if (object->state == ORR_PENDING) {
    orr_session_drop_new(L, session, object);
    return 0;
  }
  int user = user_at(L, 1);
  if (object->epoch != session->epoch && object->state == ORR_PERSISTENT)
    orr_instance_forget(L, object, 2, session->epoch);
  drop_from_lists(L, session, object, user);
  if (object->state == ORR_PERSISTENT)
    orr_identity_remove(&session->map, object->slot);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  lua_pushnil(L);
  lua_rawseti(L, -2, (int)object->slot);
  orr_instance_take_olds(L, object, 2);
  object->session = object->slot = 0;
  object->left = ORR_LEFT_EXPUNGED;
  return 0;
}

static orr_instance *item_of(lua_State *L, int table, uint32_t i) {
  lua_rawgeti(L, table, (int)i);
  return lua_touserdata(L, -1);
}

static void detach_lists(lua_State *L, orr_session *session, int user) {
  lua_rawgeti(L, user, ORR_SESSION_NEW);
  for (uint32_t i = 1; i <= session->new_count; i++) {
    orr_instance *object = item_of(L, lua_gettop(L), i);
    if (object) {
      object->state = ORR_TRANSIENT;
      object->session = object->slot = 0;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* core.close(session): pending objects become transient, persistent ones detached; expired ones have lost
   what they knew. The handle can be used again. */
static int close(lua_State *L) {
  orr_session *session = check(L, 1);
  int user = user_at(L, 1);
  detach_lists(L, session, user);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int table = lua_gettop(L);
  for (uint32_t slot = 1; slot <= session->map.used; slot++) {
    orr_instance *object = item_of(L, table, slot);
    if (object && object->session == session->number) {
      if (object->epoch != session->epoch && object->state == ORR_PERSISTENT)
        orr_instance_forget(L, object, lua_gettop(L), session->epoch);
      orr_instance_take_olds(L, object, lua_gettop(L));
      object->flags &= (uint16_t)~IN_LISTS;
      object->session = 0;
      object->left = ORR_LEFT_CLOSED;
    }
    lua_pop(L, 1);
  }
  orr_identity_clear(&session->map);
  orr_history_clear(&session->history);
  orr_cohorts_clear(&session->cohorts);
  fresh_objects(L, 1, user);
  fresh_table(L, user, ORR_SESSION_COHORTS, NULL);
  fresh_lists(L, session, user);
  leave_world(session);
  return 0;
}

/* ---- the ends of a transaction ---- */

/* core.expire_all(session): O(1); every object of an earlier epoch counts as expired. */
static int expire_all(lua_State *L) {
  check(L, 1)->epoch++;
  return 0;
}

static void forget_lists(lua_State *L, orr_session *session, int user, int list, uint32_t count,
                         uint16_t flag) {
  lua_rawgeti(L, user, list);
  for (uint32_t i = 1; i <= count; i++) {
    orr_instance *object = item_of(L, lua_gettop(L), i);
    if (object && object->session == session->number)
      object->flags &= (uint16_t)~flag;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* What changed objects held before is of no use any more: they are expired. */
static void forget_changes(lua_State *L, orr_session *session, int user) {
  lua_rawgeti(L, user, ORR_SESSION_DIRTY);
  for (uint32_t i = 1; i <= session->dirty_count; i++) {
    orr_instance *object = item_of(L, lua_gettop(L), i);
    if (object && object->session == session->number) {
      orr_history_release(&session->history, object->old);
      object->old = 0;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  forget_lists(L, session, user, ORR_SESSION_DIRTY, session->dirty_count, ORR_DIRTY | ORR_LISTED);
}

/* core.committed(session, expire): deleted objects are detached, the others stay, expired when asked. */
static int committed(lua_State *L) {
  orr_session *session = check(L, 1);
  int user = user_at(L, 1);
  lua_rawgeti(L, user, ORR_SESSION_REMOVED);
  for (uint32_t i = 1; i <= session->removed_count; i++) {
    orr_instance *object = item_of(L, user + 1, i);
    if (object) {
      orr_instance_take_olds(L, object, user + 2);
      object->session = object->slot = 0;
      object->left = ORR_LEFT_DELETED;
    }
    lua_pop(L, 1);
  }
  bool expires = lua_toboolean(L, 2);
  if (expires) {
    session->epoch++;
    forget_lists(L, session, user, ORR_SESSION_WATCHED, session->watched_count, ORR_WATCHED);
    session->watched_count = 0;
  }
  fresh_deeds(L, session, user);
  if (expires)
    fresh_table(L, user, ORR_SESSION_WATCHED, NULL);
  return 0;
}

/* How much of a transaction's deeds stays when it goes back to a savepoint; all zero: to its beginning. */
typedef struct marks {
  uint32_t inserted, removed, rekeyed;
} marks;

/* Whether an object is the session's own, or was when it was expunged: its row is not there any more. */
static bool belonged_to(const orr_session *session, const orr_instance *object) {
  return object->session == session->number ||
         (!object->session && object->left == ORR_LEFT_EXPUNGED && object->state == ORR_PERSISTENT);
}

/* Objects whose row was made since then are transient again, with their values. */
static void unmake_inserted(lua_State *L, orr_session *session, int user, uint32_t kept) {
  lua_rawgeti(L, user, ORR_SESSION_INSERTED);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int inserted = lua_gettop(L) - 1;
  for (uint32_t i = kept + 1; i <= session->inserted_count; i++) {
    orr_instance *object = item_of(L, inserted, i);
    if (object && belonged_to(session, object)) {
      if (object->session && object->state == ORR_PERSISTENT)
        orr_session_leave(L, session, object, inserted + 1);
      orr_instance_settle(L, object, inserted + 2);
      object->state = ORR_TRANSIENT;
      object->session = object->slot = 0;
      object->flags &= (uint16_t)~IN_LISTS;
    }
    lua_settop(L, inserted + 1);
    lua_pushnil(L);
    lua_rawseti(L, inserted, (int)i);
  }
  session->inserted_count = kept;
  lua_pop(L, 2);
}

/* Puts the key of an entry { object, part, ... } of the list of changed keys into its object; both stay on
 * the stack. */
static void restore_key(lua_State *L, orr_session *session, int entry, int objects) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  lua_rawgeti(L, entry, 1);
  orr_instance *object = lua_touserdata(L, -1);
  int index = lua_gettop(L);
  if (object->session != session->number)
    return;
  if (object->state == ORR_PERSISTENT)
    orr_session_leave(L, session, object, objects);
  for (int k = 0; k < object->class->key_count; k++) {
    orr_value part;
    orr_error error;
    char scratch[ORR_TYPE_SCRATCH];
    int column = object->class->keys[k];
    const orr_type *type = &object->class->columns[column].type;
    lua_rawgeti(L, entry, k + 2);
    bool digits = type->kind == ORR_KIND_INTEGER && lua_type(L, -1) == LUA_TSTRING;
    if (orr_type_take(L, -1, digits ? type : &any, &part, scratch, &error) == 0) {
      orr_instance_drop_old(L, object, index, column);
      orr_tags(object)[column] &= (unsigned char)~ORR_CHANGED;
      orr_instance_put(L, object, index, column, &part);
    }
    lua_pop(L, 1);
  }
}

/* Keys that were changed since then are what they were: first all of them leave, then all stand where they
 * stood. */
static void restore_keys(lua_State *L, orr_session *session, int user, uint32_t kept) {
  lua_rawgeti(L, user, ORR_SESSION_REKEYED);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int list = lua_gettop(L) - 1;
  for (uint32_t i = session->rekeyed_count; i > kept; i--) {
    lua_rawgeti(L, list, (int)i);
    restore_key(L, session, list + 2, list + 1);
    lua_settop(L, list + 1);
  }
  for (uint32_t i = session->rekeyed_count; i > kept; i--) {
    orr_key key;
    session->rekeyed_count = i; /* where this fails it can be called again */
    lua_rawgeti(L, list, (int)i);
    lua_rawgeti(L, -1, 1);
    orr_instance *object = lua_touserdata(L, -1);
    if (object->session == session->number && object->state == ORR_PERSISTENT &&
        make_key(L, object, list + 3, false, &key))
      orr_session_enter(L, session, object, list + 3, &key, list + 1);
    lua_settop(L, list + 1);
    lua_pushnil(L);
    lua_rawseti(L, list, (int)i);
  }
  session->rekeyed_count = kept;
  lua_pop(L, 2);
}

/* Objects whose row was deleted since then are persistent again. */
static void restore_removed(lua_State *L, orr_session *session, int user, uint32_t kept) {
  lua_rawgeti(L, user, ORR_SESSION_REMOVED);
  lua_rawgeti(L, user, ORR_SESSION_OBJECTS);
  int removed = lua_gettop(L) - 1;
  for (uint32_t i = kept + 1; i <= session->removed_count; i++) {
    orr_instance *object = item_of(L, removed, i);
    orr_key key;
    if (object && object->session == session->number && object->state == ORR_DELETED &&
        make_key(L, object, removed + 2, true, &key))
      orr_session_enter(L, session, object, removed + 2, &key, removed + 1);
    lua_settop(L, removed + 1);
    lua_pushnil(L);
    lua_rawseti(L, removed, (int)i);
  }
  session->removed_count = kept;
  lua_pop(L, 2);
}

/* core.deeds(session) -> what rolled_back() takes to come back to this point */
static int deeds(lua_State *L) {
  const orr_session *session = check(L, 1);
  lua_pushinteger(L, (lua_Integer)session->inserted_count);
  lua_pushinteger(L, (lua_Integer)session->removed_count);
  lua_pushinteger(L, (lua_Integer)session->rekeyed_count);
  return 3;
}

static uint32_t optional_count(lua_State *L, int index) { return (uint32_t)luaL_optinteger(L, index, 0); }

/* core.rolled_back(session [, deeds]): objects are as the database is: everything expired, new ones
   transient, deleted ones back, changed keys as they were. */
static int rolled_back(lua_State *L) {
  orr_session *session = check(L, 1);
  marks to = {optional_count(L, 2), optional_count(L, 3), optional_count(L, 4)};
  int user = user_at(L, 1);
  luaL_checkstack(L, 20, "rollback");
  detach_lists(L, session, user);
  unmake_inserted(L, session, user, to.inserted);
  restore_keys(L, session, user, to.rekeyed);
  restore_removed(L, session, user, to.removed);
  forget_changes(L, session, user);
  forget_lists(L, session, user, ORR_SESSION_WATCHED, session->watched_count, ORR_WATCHED);
  forget_lists(L, session, user, ORR_SESSION_DELETED, session->deleted_count, ORR_DELETING);
  session->epoch++;
  fresh_work(L, session, user);
  return 0;
}

void orr_session_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"session", new_session},
                                       {"session_of", session_of},
                                       {"find", find},
                                       {"getter", getter},
                                       {"adder", adder},
                                       {"list", list},
                                       {"classes", classes},
                                       {"is_clean", is_clean},
                                       {"handle", handle_of},
                                       {"objects", objects},
                                       {"add", add},
                                       {"expunge", expunge},
                                       {"mark_deleted", mark_deleted},
                                       {"close", close},
                                       {"expire_all", expire_all},
                                       {"committed", committed},
                                       {"rolled_back", rolled_back},
                                       {"is_settled", is_settled},
                                       {"is_deleting", is_deleting},
                                       {"take_loaded", take_loaded},
                                       {"deeds", deeds},
                                       {"attach", attach_loaded},
                                       {"hear_attaching", hear_attaching},
                                       {NULL, NULL}};
  orr_box_define(L, &orr_session_kind, NULL);
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  orr_world_get(L)->users = luaL_ref(L, LUA_REGISTRYINDEX);
  orr_setfuncs(L, functions);
  orr_load_open(L);
  orr_cohort_open(L);
  orr_link_open(L);
  orr_delete_open(L);
  orr_flush_open(L);
}
