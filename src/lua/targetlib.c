/* targetlib: many-to-one of many objects at once, where these lead to their targets by the primary key: which
   keys are to be loaded, and, from the identity map, who gets what. What the statement is, Lua decides. */
#include "collection.h"
#include "load.h"

/* ---- distinct keys ---- */

typedef struct key_set {
  orr_identity keys;
  bool open;
} key_set;

static void close_set(void *block) {
  key_set *set = block;
  if (set->open)
    orr_identity_clear(&set->keys);
  set->open = false;
}

static const orr_box_kind set_kind = {"key set", close_set};

static bool always_alive(void *ud, uint32_t slot) {
  (void)ud;
  (void)slot;
  return true;
}

/* Enters a key; false where it is there already. */
static bool enter(lua_State *L, key_set *set, const orr_value *values, int count) {
  orr_key key;
  bool found;
  int top = lua_gettop(L);
  size_t size = orr_key_size(values, count);
  orr_key_make(&key, 1, values, count, size ? lua_newuserdata(L, size) : NULL);
  if (!orr_identity_claim(&set->keys, &key, always_alive, NULL, &found))
    luaL_error(L, "not enough memory");
  lua_settop(L, top);
  return !found;
}

static key_set *new_set(lua_State *L) {
  key_set *set = orr_box_new(L, &set_kind, sizeof *set);
  orr_identity_init(&set->keys, orr_allocator(L));
  set->open = true;
  return set;
}

/* ---- what Lua calls ---- */

/* The relation of the objects in the array at 1 whose attribute number, in the first one's class, is at 2. */
static int relation_of(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_rawgeti(L, 1, 1);
  const orr_class *class = orr_instance_check(L, -1)->class;
  int relation = orr_check_place(L, 2) - class->column_count;
  luaL_argcheck(L, relation >= 0 && relation < class->relation_count, 2, "number of a relation expected");
  lua_pop(L, 1);
  return relation;
}

/* Pushes object number i of the array at 1, which has the relation. */
static orr_instance *push_object(lua_State *L, int i, int relation) {
  lua_rawgeti(L, 1, i);
  orr_instance *object = orr_instance_check(L, -1);
  luaL_argcheck(L, relation < object->class->relation_count, 1, "objects with the relation expected");
  return object;
}

/* core.target_keys(objects, attribute number, columns) -> array of the parts of the keys by which a
   many-to-one of the objects leads to its targets, each key once: the values of these columns. nil where it
   does not lead there by the primary key, or a column is not loaded. */
static int target_keys(lua_State *L) {
  int columns[ORR_MAX_KEY], relation = relation_of(L), used = 0;
  lua_settop(L, 3);
  int width = orr_read_columns(L, 3, columns), count = (int)orr_rawlen(L, 1);
  key_set *set = new_set(L);
  lua_newtable(L);
  for (int i = 1; i <= count; i++) {
    orr_value values[ORR_MAX_KEY];
    orr_instance *object = push_object(L, i, relation);
    int known = orr_relationship_target_key(L, object, 6, relation, values);
    if (known == 0)
      return 0;
    for (int k = 0; known > 0 && k < width; k++) {
      luaL_argcheck(L, columns[k] >= 0 && columns[k] < object->class->column_count, 3, "columns expected");
      orr_instance_value(L, object, 6, columns[k], &values[k]);
    }
    if (known > 0 && enter(L, set, values, width))
      used = orr_add_key(L, 5, used, values, width);
    lua_settop(L, 5);
  }
  close_set(set);
  return 1;
}

/* core.hold_targets(objects, attribute number) -> array of the objects whose target the session does not
   hold; the others have theirs. */
static int hold_targets(lua_State *L) {
  int relation = relation_of(L), found = 0;
  lua_settop(L, 2);
  lua_newtable(L);
  int count = (int)orr_rawlen(L, 1);
  for (int i = 1; i <= count; i++) {
    orr_instance *object = push_object(L, i, relation);
    if (orr_relationship_get(L, object, 4, relation, false))
      lua_pop(L, 2);
    else {
      lua_settop(L, 4);
      lua_rawseti(L, 3, ++found);
    }
  }
  return 1;
}

void orr_target_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"target_keys", target_keys}, {"hold_targets", hold_targets}, {NULL, NULL}};
  orr_box_define(L, &set_kind, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
