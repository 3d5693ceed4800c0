/* linklib: what relationships hold in memory. Both sides of a back_populates pair agree at once: every change
   enters here, is made on the near side, mirrored on the far side without firing again, and cascaded into the
   session. Nothing here talks to a database; loading is the hook's work. */
#include "collection.h"

typedef struct orr_end {
  orr_instance *object;
  int index;    /* absolute */
  int relation; /* of object->class */
} orr_end;

static const orr_relationship *about(const orr_end *end) {
  return &end->object->class->relations[end->relation];
}

static bool is_list(const orr_end *end) { return about(end)->flags & ORR_RELATION_LIST; }

static orr_end end_at(lua_State *L, int index, int relation) {
  orr_end end = {lua_touserdata(L, index), orr_absindex(L, index), relation};
  return end;
}

/* Stores the value on top (popped) as what the end holds. */
static void hold(lua_State *L, const orr_end *end) {
  orr_instance_hold(L, end->object, end->index, end->relation);
}

/* ---- many-to-one from the identity map ---- */

static int target_key(lua_State *L, const orr_end *end, orr_value *out) {
  const orr_relationship *relation = about(end);
  const orr_class *target = relation->target;
  if (relation->direction != ORR_MANY_TO_ONE || relation->flags & ORR_RELATION_CRITERIA || !target->world ||
      relation->pair_count != target->key_count)
    return 0;
  for (int k = 0; k < target->key_count; k++) {
    int p = 0;
    while (p < relation->pair_count && relation->pairs[p].far != target->keys[k])
      p++;
    if (p == relation->pair_count)
      return 0;
    int column = relation->pairs[p].near;
    if (orr_tags(end->object)[column] & ORR_UNLOADED)
      return 0;
    orr_instance_value(L, end->object, end->index, column, &out[k]);
    if (out[k].tag == ORR_NULL)
      return -1;
  }
  return 1;
}

/* Pushes the object with that key when the session holds it, else nil. */
static orr_instance *find_by_key(lua_State *L, orr_session *session, const orr_class *target,
                                 orr_value *values) {
  orr_key key;
  int base = lua_gettop(L);
  size_t size = orr_key_size(values, target->key_count);
  char *bytes = size ? lua_newuserdata(L, size) : NULL;
  orr_key_make(&key, target->id, values, target->key_count, bytes);
  orr_instance *found = NULL;
  if (orr_session_user(L, session)) {
    lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
    found = orr_session_find(L, session, &key, lua_gettop(L));
  }
  if (!found)
    lua_pushnil(L);
  lua_insert(L, base + 1);
  lua_settop(L, base + 1);
  return found;
}

/* Pushes the value of an unloaded many-to-one where that takes no statement, and keeps it; false: pushes
 * nothing. */
static bool from_map(lua_State *L, const orr_end *end) {
  orr_value values[ORR_MAX_KEY];
  orr_session *session = orr_instance_session(end->object);
  if (!session || about(end)->pair_count > ORR_MAX_KEY)
    return false;
  int known = target_key(L, end, values);
  if (known == 0)
    return false;
  if (known < 0) {
    lua_pushboolean(L, 0);
  } else {
    orr_instance *found = find_by_key(L, session, about(end)->target, values);
    if (!found || found->epoch != session->epoch || !orr_class_is(found->class, about(end)->target)) {
      lua_pop(L, 1);
      return false;
    }
  }
  lua_pushvalue(L, -1);
  hold(L, end);
  return true;
}

/* ---- reading ---- */

/* Pushes the kept value: object, collection, false for "nothing there", nil for unloaded. */
static void push_kept(lua_State *L, const orr_end *end) {
  orr_instance_held(L, end->object, end->index, end->relation);
}

static bool has_row(const orr_instance *object) {
  orr_state state = orr_instance_state(object);
  return state == ORR_PERSISTENT || state == ORR_DETACHED;
}

/* Pushes the Lua session of an object, or nil. */
static void push_owner(lua_State *L, const orr_instance *object) {
  orr_session *session = orr_instance_session(object);
  if (!session || !orr_session_user(L, session)) {
    lua_pushnil(L);
    return;
  }
  lua_getfield(L, -1, "owner");
  lua_remove(L, -2);
}

/* Has the hook load the value and pushes it. `script`: a script reads it, so that waiting changes are flushed
   first and the strategy that holds for the relation is followed. */
static void load(lua_State *L, const orr_end *end, bool script) {
  orr_push_hook(L, "load_relation");
  lua_pushvalue(L, end->index);
  lua_pushinteger(L, end->object->class->column_count + end->relation + 1);
  lua_pushboolean(L, script);
  orr_cohort_push_tree(L, end->object);
  orr_class_push(L, end->object->class);
  push_owner(L, end->object);
  lua_call(L, 6, 0);
  push_kept(L, end);
}

/* Whether not even the identity map may answer a script before the hook was asked. */
static bool asks(const orr_end *end) {
  return has_row(end->object) && !is_list(end) &&
         (about(end)->flags & ORR_RELATION_ASKS || end->object->cohort & ORR_COHORT_ASKS);
}

/* Of an end that keeps nothing, puts what is known without asking the database in the place of the nil on
   top. Objects without a row know all their relations: what was not given is empty. So is a write-only
   collection.
 */
static void find_known(lua_State *L, const orr_end *end) {
  if (has_row(end->object) && !(about(end)->flags & ORR_RELATION_WRITE_ONLY)) {
    if (!is_list(end) && from_map(L, end))
      lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  if (is_list(end)) {
    orr_collection_new(L, end->index, end->relation);
    lua_pushvalue(L, -1);
    hold(L, end);
  } else {
    lua_pushboolean(L, 0);
  }
}

/* Pushes the value of an end without asking the database; nil where it is not known. */
static void push_known(lua_State *L, const orr_end *end) {
  push_kept(L, end);
  if (lua_isnil(L, -1))
    find_known(L, end);
}

static void freshen(lua_State *L, const orr_end *end) {
  orr_session *session = end->object->state == ORR_PERSISTENT ? orr_instance_session(end->object) : NULL;
  if (session)
    orr_instance_freshen(L, end->object, end->index, session);
}

static bool get(lua_State *L, orr_instance *object, int index, int relation, bool with_load, bool script) {
  orr_end end = {object, orr_absindex(L, index), relation};
  if (with_load)
    freshen(L, &end);
  push_kept(L, &end);
  if (lua_isnil(L, -1) && !(with_load && script && asks(&end)))
    find_known(L, &end);
  if (lua_isuserdata(L, -1))
    return true;
  if (lua_isnil(L, -1) && with_load) {
    lua_pop(L, 1);
    load(L, &end, script);
  }
  bool loaded = !lua_isnil(L, -1);
  if (lua_isboolean(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  return loaded;
}

bool orr_relationship_get(lua_State *L, orr_instance *object, int index, int relation, bool with_load) {
  return get(L, object, index, relation, with_load, true);
}

/* What is there before a change, loaded when asked for. No flush comes in between: it would write half of the
 * change. */
static bool get_former(lua_State *L, const orr_end *end, bool with_load) {
  return get(L, end->object, end->index, end->relation, with_load, false);
}

bool orr_relationship_has_left(lua_State *L, const orr_relationship *relation, int owner, int item) {
  orr_instance *object = lua_touserdata(L, item);
  if (relation->direction != ORR_ONE_TO_MANY || relation->reverse < 0 || !(object->flags & ORR_HAS_OLD))
    return false;
  orr_instance_getuser(L, object, item, -orr_user_relation(object->class, relation->reverse));
  bool changed = !lua_isnil(L, -1);
  orr_instance_held(L, object, item, relation->reverse);
  bool left = changed && !lua_rawequal(L, -1, owner);
  lua_pop(L, 2);
  return left;
}

static orr_end end_of_argument(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int relation = orr_check_place(L, 2) - object->class->column_count;
  luaL_argcheck(L, relation >= 0 && relation < object->class->relation_count, 2,
                "number of a relation expected");
  return end_at(L, 1, relation);
}

/* core.related(object, attribute number) -> the value of a relation, loaded where it must be: for the library
   itself, whatever loading strategy a script has chosen, and without a flush before */
static int related(lua_State *L) {
  orr_end end = end_of_argument(L);
  get(L, end.object, end.index, end.relation, true, false);
  return 1;
}

/* Pushes the object that a many-to-one leads to by its key, where the session holds one, fresh or not; else
   pushes nothing and returns NULL. */
static const orr_instance *push_target(lua_State *L, const orr_end *end) {
  orr_value values[ORR_MAX_KEY];
  orr_session *session = orr_instance_session(end->object);
  if (!session || about(end)->pair_count > ORR_MAX_KEY || target_key(L, end, values) != 1)
    return NULL;
  const orr_instance *found = find_by_key(L, session, about(end)->target, values);
  if (!found)
    lua_pop(L, 1);
  return found;
}

/* core.expired_target(object, attribute number) -> the object that a many-to-one leads to, where the session
   holds it, and it has expired */
static int expired_target(lua_State *L) {
  orr_end end = end_of_argument(L);
  const orr_instance *found = push_target(L, &end);
  return found && found->epoch != orr_instance_session(found)->epoch &&
         orr_class_is(found->class, about(&end)->target);
}

int orr_relationship_target_key(lua_State *L, orr_instance *object, int index, int relation, orr_value *out) {
  orr_end end = {object, orr_absindex(L, index), relation};
  return about(&end)->pair_count > ORR_MAX_KEY ? 0 : target_key(L, &end, out);
}

bool orr_relationship_in_map(lua_State *L, orr_instance *object, int index, int relation) {
  orr_end end = {object, orr_absindex(L, index), relation};
  bool found = push_target(L, &end) != NULL;
  if (found)
    lua_pop(L, 1);
  return found;
}

/* ---- changing one end, without events ---- */

static void mark(lua_State *L, const orr_end *end) {
  orr_session *session = end->object->state == ORR_PERSISTENT ? orr_instance_session(end->object) : NULL;
  if (session)
    orr_session_dirty(L, session, end->object, end->index);
}

/* What a scalar end holds is what it held before the next change. */
static void keep_present(lua_State *L, const orr_end *end) {
  push_kept(L, end);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 0);
  }
  orr_instance_setuser(L, end->object, end->index, -orr_user_relation(end->object->class, end->relation));
  orr_instance_move(end->object);
}

/* Remembers what a scalar end holds, once, before a first change that a flush will have to compare. */
static void keep_scalar(lua_State *L, const orr_end *end) {
  orr_instance_getuser(L, end->object, end->index, -orr_user_relation(end->object->class, end->relation));
  if (lua_isnil(L, -1))
    keep_present(L, end);
  lua_pop(L, 1);
}

/* The same while a flush writes the object. */
static void keep_scalar_late(lua_State *L, const orr_end *end) {
  if (orr_instance_kept_late(L, end->object, end->index, end->relation))
    return;
  orr_instance_getuser(L, end->object, end->index, -orr_user_relation(end->object->class, end->relation));
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  orr_instance_keep_late(L, end->object, end->index, end->relation);
  keep_present(L, end);
}

/* Sets a scalar end to the object at `value` (or nil). */
static void set_scalar(lua_State *L, const orr_end *end, int value) {
  value = orr_absindex(L, value);
  if (orr_instance_is_late(end->object))
    keep_scalar_late(L, end);
  else if (end->object->state == ORR_PERSISTENT)
    keep_scalar(L, end);
  if (lua_isnil(L, value))
    lua_pushboolean(L, 0);
  else
    lua_pushvalue(L, value);
  hold(L, end);
  mark(L, end);
}

/* Notes for an unloaded collection what it will have to show once it is loaded. */
static void add_backlog(lua_State *L, const orr_end *end, int item, bool added) {
  int key = orr_user_backlog(end->object->class, end->relation);
  orr_instance_getuser(L, end->object, end->index, key);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    orr_instance_setuser(L, end->object, end->index, key);
  }
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, item);
  lua_rawseti(L, -2, 1);
  lua_pushboolean(L, added);
  lua_rawseti(L, -2, 2);
  lua_rawseti(L, -2, (int)orr_rawlen(L, -2) + 1);
  lua_pop(L, 1);
  mark(L, end);
}

static void unlink_far(lua_State *L, const orr_end *near, int item);
static void let_go(lua_State *L, const orr_end *end, int item);

/* What stands under the key of the item that is about to come in leaves the collection at `at`. */
static void oust_rival(lua_State *L, const orr_end *end, orr_collection *list, int at, int item) {
  if (!orr_unique_rival(L, list, at, item))
    return;
  int rival = lua_gettop(L);
  orr_collection_take_item(L, list, at, rival);
  unlink_far(L, end, rival);
  let_go(L, end, rival);
  lua_pop(L, 1);
}

static void change_list(lua_State *L, const orr_end *end, int item, bool add) {
  push_known(L, end);
  orr_collection *list = lua_touserdata(L, -1);
  if (!list) {
    add_backlog(L, end, item, add);
  } else {
    int at = lua_gettop(L);
    orr_collection_keep(L, list, at, end->object);
    if (add) {
      const orr_instance *object = lua_touserdata(L, item);
      list->stray = list->stray || object->session != end->object->session;
      if (list->form == ORR_FORM_KEYED)
        oust_rival(L, end, list, at, item);
      orr_collection_push_item(L, list, at, item);
    } else if (!orr_collection_take_item(L, list, at, item) && list->passing)
      orr_collection_note_gone(L, at, item);
    mark(L, end);
  }
  lua_pop(L, 1);
}

/* ---- the far side ---- */

static bool far_end(lua_State *L, const orr_end *near, int item, orr_end *out) {
  const orr_relationship *relation = about(near);
  if (relation->reverse < 0 || relation->flags & ORR_RELATION_VIEWONLY)
    return false;
  *out = end_at(L, item, relation->reverse);
  freshen(L, out);
  return true;
}

/* The object at `item` has another one than the near object on its side, as far as that is known: pushes that
   one, or returns false. */
static bool push_former(lua_State *L, const orr_end *far, const orr_end *near) {
  if (is_list(far))
    return false;
  push_known(L, far);
  if (lua_isuserdata(L, -1) && !lua_rawequal(L, -1, near->index))
    return true;
  lua_pop(L, 1);
  return false;
}

static bool is_heard(const orr_end *end) { return about(end)->flags & ORR_RELATION_EVENTS; }

static void tell(lua_State *L, const orr_end *end, const char *event) {
  orr_attribute_event(L, end->index, end->object->class->column_count + end->relation, lua_gettop(L), event,
                      true);
}

void orr_relationship_tell_far(lua_State *L, orr_instance *owner, int owner_index, int relation, int item,
                               bool comes) {
  orr_end near = {owner, orr_absindex(L, owner_index), relation}, far;
  int top = lua_gettop(L);
  if (!far_end(L, &near, orr_absindex(L, item), &far))
    return;
  if (comes && is_heard(&near) && push_former(L, &far, &near)) {
    orr_end former = end_at(L, lua_gettop(L), relation);
    lua_pushvalue(L, far.index);
    if (is_list(&former))
      tell(L, &former, "remove");
  }
  lua_settop(L, top);
  if (is_heard(&far)) {
    if (comes || is_list(&far))
      lua_pushvalue(L, near.index);
    else
      lua_pushnil(L);
    tell(L, &far, !is_list(&far) ? "set" : comes ? "append" : "remove");
  }
  lua_settop(L, top);
}

/* A new object that its parent lets go of, where that means delete-orphan, is not saved: the hook sees
   whether it has another parent. One that a flush is writing is left to the next one. */
static void let_go(lua_State *L, const orr_end *end, int item) {
  orr_instance *object = lua_touserdata(L, item);
  if (!(about(end)->flags & ORR_RELATION_ORPHANS) || object->state != ORR_PENDING || object->action ||
      !orr_instance_session(object))
    return;
  orr_push_hook(L, "orphaned");
  lua_pushvalue(L, item);
  orr_class_push(L, end->object->class);
  lua_pushinteger(L, end->object->class->column_count + end->relation + 1);
  lua_call(L, 3, 0);
}

/* The object at `item` no longer has the near object on its side. */
static void unlink_far(lua_State *L, const orr_end *near, int item) {
  orr_end far;
  if (!far_end(L, near, item, &far))
    return;
  if (is_list(&far)) {
    change_list(L, &far, near->index, false);
    let_go(L, &far, near->index);
    return;
  }
  push_known(L, &far);
  bool other = lua_isuserdata(L, -1) && !lua_rawequal(L, -1, near->index);
  if (!other) {
    lua_pushnil(L);
    set_scalar(L, &far, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Takes the object at `item` out of what `end` holds, without events. */
static void drop(lua_State *L, const orr_end *end, int item) {
  if (is_list(end)) {
    change_list(L, end, item, false);
    return;
  }
  push_known(L, end);
  if (lua_rawequal(L, -1, item)) {
    lua_pushnil(L);
    set_scalar(L, end, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The object at `item` gets the near object on its side; whoever was there before loses it. */
static void link_far(lua_State *L, const orr_end *near, int item) {
  orr_end far;
  if (!far_end(L, near, item, &far))
    return;
  if (is_list(&far)) {
    luaL_checkstack(L, 30, "relationship");
    change_list(L, &far, near->index, true);
    return;
  }
  bool ask = about(&far)->flags & ORR_RELATION_LOAD_OLD;
  get_former(L, &far, ask);
  bool same = lua_rawequal(L, -1, near->index);
  if (lua_isuserdata(L, -1) && !same) {
    luaL_checkstack(L, 30, "relationship");
    orr_end former = end_at(L, lua_gettop(L), near->relation);
    drop(L, &former, far.index);
  }
  lua_pop(L, 1);
  if (!same)
    set_scalar(L, &far, near->index);
}

/* An object that is saved takes along what it refers to. */
static void cascade(lua_State *L, const orr_end *near, int item) {
  const orr_instance *object = near->object, *other = lua_touserdata(L, item);
  if (object->session == other->session || !(about(near)->flags & ORR_RELATION_SAVE_UPDATE) ||
      object->state == ORR_DELETED)
    return;
  orr_session *session = orr_instance_session(object);
  if (session)
    orr_session_add(L, session, item);
}

/* A child that is put with a parent that stays is not to be deleted any more, as if it had been added again.
 */
static void keep_child(lua_State *L, const orr_instance *parent, int index) {
  const orr_instance *child = lua_touserdata(L, index);
  if (child->flags & ORR_DELETING && child->session == parent->session && !(parent->flags & ORR_DELETING) &&
      parent->state != ORR_DELETED)
    orr_session_add(L, orr_instance_session(child), index);
}

/* The same for either end of a relation from which `item` was reached. */
static void keep_linked(lua_State *L, const orr_end *near, int item) {
  const orr_relationship *relation = about(near);
  if (relation->flags & ORR_RELATION_VIEWONLY)
    return;
  if (relation->direction == ORR_ONE_TO_MANY)
    keep_child(L, near->object, item);
  else if (relation->direction == ORR_MANY_TO_ONE && relation->reverse >= 0)
    keep_child(L, lua_touserdata(L, item), near->index);
}

/* ---- what a script changes ---- */

static bool is_instance_of(lua_State *L, const orr_class *class, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return false;
  bool exactly = lua_topointer(L, -1) == class->meta;
  lua_pop(L, 1);
  if (exactly)
    return true;
  const orr_instance *object = orr_instance_test(L, index);
  return object && orr_class_is(object->class, class);
}

void orr_relationship_accept(lua_State *L, orr_instance *owner, int relation, int item) {
  const orr_class *target = owner->class->relations[relation].target;
  if (is_instance_of(L, target, item))
    return;
  item = orr_absindex(L, item);
  orr_push_hook(L, "accept");
  orr_class_push(L, owner->class);
  lua_pushinteger(L, owner->class->column_count + relation + 1);
  lua_pushvalue(L, item);
  lua_call(L, 3, 0);
}

void orr_relationship_claim(lua_State *L, const orr_instance *owner, int owner_index, int relation,
                            int item) {
  if (!(owner->class->relations[relation].flags & ORR_RELATION_SOLE))
    return;
  owner_index = orr_absindex(L, owner_index);
  item = orr_absindex(L, item);
  orr_push_hook(L, "claim");
  lua_pushvalue(L, owner_index);
  lua_pushinteger(L, owner->class->column_count + relation + 1);
  lua_pushvalue(L, item);
  lua_call(L, 3, 0);
}

void orr_relationship_check_idle(lua_State *L, const orr_instance *owner, int relation) {
  if (owner->action)
    orr_attribute_error(
        L, owner->class, owner->class->column_count + relation, "InvalidRequestError",
        "a write-only collection cannot be changed while a flush is writing its object; do it "
        "in before_flush or after_flush_postexec");
}

void orr_relationship_added(lua_State *L, orr_instance *owner, int owner_index, int relation, int item) {
  orr_end near = {owner, owner_index, relation};
  mark(L, &near);
  link_far(L, &near, item);
  cascade(L, &near, item);
  keep_linked(L, &near, item);
}

void orr_relationship_removed(lua_State *L, orr_instance *owner, int owner_index, int relation, int item) {
  orr_end near = {owner, owner_index, relation};
  luaL_checkstack(L, 30, "relationship");
  mark(L, &near);
  unlink_far(L, &near, item);
  let_go(L, &near, item);
}

static void replace_list(lua_State *L, const orr_end *end, int value) {
  get_former(L, end, true);
  orr_collection *list = orr_box_check(L, lua_gettop(L), &orr_collection_kind);
  orr_collection_replace(L, list, lua_gettop(L), value);
  lua_pop(L, 1);
}

static void tell_other_sides(lua_State *L, const orr_end *end, int old, int value) {
  if (lua_isuserdata(L, old))
    orr_relationship_tell_far(L, end->object, end->index, end->relation, old, false);
  if (lua_isuserdata(L, value))
    orr_relationship_tell_far(L, end->object, end->index, end->relation, value, true);
}

static void replace_scalar(lua_State *L, const orr_end *end, int value) {
  bool ask = about(end)->flags & ORR_RELATION_LOAD_OLD && has_row(end->object);
  bool loaded = get_former(L, end, ask);
  int old = lua_gettop(L);
  if (loaded && lua_rawequal(L, old, value)) {
    if (!has_row(end->object))
      set_scalar(L, end, value); /* that nothing was given counts, for a merge */
    lua_pop(L, 1);
    return;
  }
  if (about(end)->reverse >= 0 && !lua_isnil(L, value))
    orr_unique_check(L, lua_touserdata(L, value), about(end)->reverse, end->index);
  if (end->object->class->world->hears_links) {
    tell_other_sides(L, end, old, value);
    freshen(L, end); /* where a listener has expired it */
  }
  set_scalar(L, end, value);
  if (lua_isuserdata(L, old)) {
    unlink_far(L, end, old);
    let_go(L, end, old);
  }
  if (!lua_isnil(L, value)) {
    link_far(L, end, value);
    cascade(L, end, value);
    keep_linked(L, end, value);
  }
  lua_pop(L, 1);
}

void orr_relationship_set(lua_State *L, orr_instance *object, int index, int relation, int value) {
  orr_end end = {object, orr_absindex(L, index), relation};
  value = orr_absindex(L, value);
  luaL_checkstack(L, 40, "relationship");
  freshen(L, &end);
  if (is_list(&end)) {
    if (about(&end)->flags & ORR_RELATION_WRITE_ONLY && has_row(object))
      orr_attribute_error(
          L, object->class, object->class->column_count + relation, "InvalidRequestError",
          "a write-only collection cannot be replaced, since its rows are not known; use :add(), "
          ":remove(), or session:execute() with its :delete()");
    replace_list(L, &end, value);
    return;
  }
  if (lua_islightuserdata(L, value) && !lua_touserdata(L, value))
    lua_pushnil(L);
  else
    lua_pushvalue(L, value);
  value = lua_gettop(L);
  if (!lua_isnil(L, value)) {
    orr_relationship_accept(L, object, relation, value);
    orr_relationship_claim(L, object, end.index, relation, value);
  }
  replace_scalar(L, &end, value);
  lua_pop(L, 1);
}

/* Whether it is a list of an object that has come from the database and holds nothing yet. */
static bool is_untouched(const orr_end *end) {
  return !orr_instance_is_linked(end->object) && end->object->state == ORR_PERSISTENT && is_list(end) &&
         !(about(end)->flags & ORR_RELATION_WRITE_ONLY);
}

/* Whether a relation of the object on top is not known: not loaded, expired, not to be had from the identity
   map. One that was changed from its other side, without a flush, loads by itself and takes that change in.
 */
static bool is_lacking(lua_State *L, int relation, bool kept) {
  int top = lua_gettop(L);
  orr_end end = end_at(L, top, relation);
  const orr_session *session = orr_instance_session(end.object);
  if (!session || end.object->epoch != session->epoch)
    return session != NULL;
  if (is_untouched(&end))
    return true;
  if (kept)
    push_kept(L, &end);
  else
    push_known(L, &end);
  orr_instance_getuser(L, end.object, top, orr_user_backlog(end.object->class, relation));
  bool lacks = lua_isnil(L, -1) && lua_isnil(L, -2);
  lua_settop(L, top);
  return lacks;
}

/* core.lacking(objects, attribute number of the first one's class [, kept]) -> array of those that lack that
   relation, the one given where that is so of all; `kept`: what the identity map has does not count. */
static int lacking(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int count = (int)orr_rawlen(L, 1), number = orr_check_place(L, 2), found = 0;
  bool kept = lua_toboolean(L, 3);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    const orr_instance *object = orr_instance_check(L, 3);
    if (i == 1)
      number -= object->class->column_count;
    luaL_argcheck(L, number >= 0 && number < object->class->relation_count, 2,
                  "number of a relation expected");
    orr_sift(L, 1, 2, i, &found, is_lacking(L, number, kept));
  }
  return 1;
}

/* core.drop(object, attribute number, item): takes the item out of a write-only collection, whether that
   holds it still or only its rows do. */
static int drop_written(lua_State *L) {
  orr_end end = end_of_argument(L);
  lua_settop(L, 3);
  luaL_argcheck(L, about(&end)->flags & ORR_RELATION_WRITE_ONLY, 2, "write-only relation expected");
  orr_relationship_accept(L, end.object, end.relation, 3);
  orr_relationship_check_idle(L, end.object, end.relation);
  freshen(L, &end);
  change_list(L, &end, 3, false);
  orr_relationship_removed(L, end.object, 1, end.relation, 3);
  return 0;
}

void orr_link_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"related", related},
                                       {"expired_target", expired_target},
                                       {"lacking", lacking},
                                       {"drop", drop_written},
                                       {NULL, NULL}};
  orr_setfuncs(L, functions);
}
