/* planlib: load plans: which result columns of a compiled statement make which objects. Made once, and used
   by the loop of loadlib.c. */
#include "load.h"

static void close_plan(void *block) {
  orr_plan *plan = block;
  orr_alloc_free(&plan->alloc, plan->items, plan->item_count, sizeof *plan->items);
  orr_alloc_free(&plan->alloc, plan->numbers, plan->number_count, sizeof *plan->numbers);
  orr_alloc_free(&plan->alloc, plan->kinds, plan->kind_count, sizeof *plan->kinds);
  plan->items = NULL;
  plan->numbers = NULL;
  plan->kinds = NULL;
  plan->item_count = plan->number_count = plan->kind_count = 0;
}

const orr_box_kind orr_plan_kind = {"load plan", close_plan};

/* ---- making a plan ---- */

static size_t length_of(lua_State *L, const char *field) {
  lua_getfield(L, -1, field);
  size_t length = lua_istable(L, -1) ? orr_rawlen(L, -1) : 0;
  lua_pop(L, 1);
  return length;
}

static int *read_numbers(lua_State *L, const char *field, int *at, int *count) {
  lua_getfield(L, -1, field);
  *count = lua_istable(L, -1) ? (int)orr_rawlen(L, -1) : 0;
  for (int i = 0; i < *count; i++) {
    lua_rawgeti(L, -1, i + 1);
    at[i] = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return at;
}

/* NULL where there is none; one that is there is configured, or its objects had no room for what is loaded.
 */
static orr_class *class_field(lua_State *L) {
  lua_getfield(L, -1, "class");
  orr_class *class = lua_isnil(L, -1) ? NULL : orr_class_check(L, -1);
  lua_pop(L, 1);
  return class;
}

static int number_field(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  int number = (int)lua_tointeger(L, -1) - 1;
  lua_pop(L, 1);
  return number;
}

static void read_identity(lua_State *L, orr_variant *kind) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  char scratch[ORR_TYPE_SCRATCH];
  orr_error error;
  lua_getfield(L, -1, "identity");
  if (orr_type_take(L, -1, &any, &kind->identity, scratch, &error) != 0)
    kind->identity.tag = ORR_NULL;
  lua_pop(L, 1);
}

static void check_map(lua_State *L, const orr_class *class, const int *map, int count) {
  for (int i = 0; i < count; i++)
    luaL_argcheck(L, map[i] < class->column_count, 1, "columns of the class expected");
}

/* The classes that the rows of the item on top may belong to, into `kinds`. */
static int *read_kinds(lua_State *L, orr_item *item, orr_variant *kinds, int *numbers) {
  item->discriminator = number_field(L, "discriminator");
  lua_getfield(L, -1, "concrete");
  item->concrete = lua_toboolean(L, -1);
  lua_pop(L, 1);
  item->kinds = kinds;
  item->kind_count = (int)length_of(L, "kinds");
  lua_getfield(L, -1, "kinds");
  for (int i = 0, count; i < item->kind_count; i++) {
    lua_rawgeti(L, -1, i + 1);
    kinds[i].class = class_field(L);
    kinds[i].map = read_numbers(L, "map", numbers, &count);
    luaL_argcheck(L, kinds[i].class && count >= item->count, 1, "kinds with as many columns as their item expected");
    check_map(L, kinds[i].class, kinds[i].map, count);
    numbers += count;
    read_identity(L, &kinds[i]);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return numbers;
}

static int lead_of(const orr_item *item) {
  int lead = item->concrete ? item->count : 0;
  for (int k = 0; k < item->key_count; k++)
    lead = item->keys[k] - item->first >= lead ? item->keys[k] - item->first + 1 : lead;
  return lead;
}

static int *read_item(lua_State *L, orr_item *item, orr_variant *kinds, int *numbers) {
  item->class = class_field(L);
  item->first = number_field(L, "first");
  if (!item->class) {
    lua_getfield(L, -1, "handle");
    if (!lua_isnil(L, -1))
      item->type = *orr_type_check(L, -1);
    lua_pop(L, 1);
    return numbers;
  }
  item->map = read_numbers(L, "map", numbers, &item->count);
  check_map(L, item->class, item->map, item->count);
  item->keys = read_numbers(L, "keys", numbers + item->count, &item->key_count);
  item->left = read_numbers(L, "left", item->keys + item->key_count, &item->left_count);
  item->refused = read_numbers(L, "refused", item->left + item->left_count, &item->refused_count);
  numbers = read_kinds(L, item, kinds, item->refused + item->refused_count);
  item->lead = lead_of(item);
  luaL_argcheck(L, item->lead <= item->count, 1, "keys among the columns of their objects expected");
  return numbers;
}

static bool all_below(const int *numbers, int count, int limit) {
  for (int i = 0; i < count; i++)
    if (numbers[i] < 0 || numbers[i] >= limit)
      return false;
  return true;
}

/* That nothing lies beyond the row or the object, whatever a script has made of the tables that say it. */
static void check_item(lua_State *L, const orr_item *item, int columns) {
  luaL_argcheck(L, item->first >= 0 && item->first < columns, 1, "columns of the row expected");
  if (!item->class)
    return;
  bool within = item->count <= columns - item->first && item->key_count >= 1 &&
                item->key_count <= ORR_MAX_KEY && all_below(item->keys, item->key_count, columns);
  luaL_argcheck(L, within && item->discriminator < columns, 1, "columns of the row expected");
  luaL_argcheck(L, item->discriminator >= 0 ? item->kind_count > 0 : !item->kind_count && !item->concrete, 1,
                "kinds with a discriminator expected");
  luaL_argcheck(L,
                all_below(item->left, item->left_count, item->class->column_count) &&
                    all_below(item->refused, item->refused_count, item->class->column_count),
                1, "columns of the class expected");
}

/* Adds what the items, or kinds, of the table on top need. */
static void count_room(lua_State *L, size_t *numbers, size_t *kinds) {
  size_t count = lua_istable(L, -1) ? orr_rawlen(L, -1) : 0;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, (int)i);
    *numbers += length_of(L, "map") + length_of(L, "keys") + length_of(L, "left") + length_of(L, "refused");
    *kinds += length_of(L, "kinds");
    lua_getfield(L, -1, "kinds");
    count_room(L, numbers, kinds);
    lua_pop(L, 2);
  }
}

/* Reads the order of the columns at 2 into `order`. */
static void read_order(lua_State *L, orr_plan *plan, int *order) {
  plan->order = order;
  for (int i = 0; i < plan->columns; i++) {
    lua_rawgeti(L, 2, i + 1);
    order[i] = (int)lua_tointeger(L, -1) - 1;
    luaL_argcheck(L, order[i] >= 0, 3, "result columns expected");
    plan->source = order[i] >= plan->source ? order[i] + 1 : plan->source;
    lua_pop(L, 1);
  }
}

/* Adds the metatable of a class's instances to the table on top; false where there is no class. */
static void keep_meta(lua_State *L, const orr_class *class, int place) {
  if (class) {
    orr_class_push(L, class);
    orr_class_field(L, -1, ORR_CLASS_META);
    lua_remove(L, -2);
  } else
    lua_pushboolean(L, 0);
  lua_rawseti(L, -2, place);
}

/* Completes the plan's user value: the metatables of its items, then of its kinds, from 1 on. */
static void keep_metas(lua_State *L, const orr_plan *plan) {
  orr_getuservalue(L, -1);
  int place = 0;
  for (size_t i = 0; i < plan->item_count; i++)
    keep_meta(L, plan->items[i].class, ++place);
  for (size_t i = 0; i < plan->kind_count; i++)
    keep_meta(L, plan->kinds[i].class, ++place);
  lua_pop(L, 1);
}

/* core.plan(items, columns [, order]) -> plan. `order`: which result column each of the plan's is, where a
   statement does not have them as the plan does. items: { class=, first=, map={attribute number of each
   column}, keys={result column of each key part}, left={attribute numbers left out}, refused={those of them
   that must not be loaded later} } for an object, { first=, handle= } for a value. An item whose rows may
   belong to subclasses has discriminator= (result column) and kinds= { { class=, map= (0: not of this class),
   identity= (database value) }, ... }; concrete= says that each of these has keys of its own. Whoever keeps
   the plan keeps the classes. */
static int new_plan(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int columns = (int)luaL_checkinteger(L, 2);
  size_t count = orr_rawlen(L, 1), number_count = 0, kind_count = 0;
  lua_settop(L, 3);
  lua_remove(L, 2);
  bool ordered = lua_istable(L, 2);
  lua_pushvalue(L, 1);
  count_room(L, &number_count, &kind_count);
  lua_settop(L, 2);
  number_count += ordered ? (size_t)columns : 0;
  orr_plan *plan = orr_box_new(L, &orr_plan_kind, sizeof *plan);
  lua_createtable(L, (int)(count + kind_count), 1);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 0); /* identities that are text */
  orr_setuservalue(L, 3);
  plan->alloc = orr_allocator(L);
  plan->columns = columns;
  plan->items = orr_alloc_array(&plan->alloc, count, sizeof *plan->items);
  plan->item_count = plan->items ? count : 0;
  plan->numbers = orr_alloc_array(&plan->alloc, number_count, sizeof *plan->numbers);
  plan->number_count = plan->numbers ? number_count : 0;
  plan->kinds = kind_count ? orr_alloc_array(&plan->alloc, kind_count, sizeof *plan->kinds) : NULL;
  plan->kind_count = plan->kinds ? kind_count : 0;
  if (!plan->items || (number_count && !plan->numbers) || (kind_count && !plan->kinds))
    return luaL_error(L, "not enough memory");
  int *numbers = plan->numbers;
  orr_variant *kinds = plan->kinds;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 1, (int)i + 1);
    numbers = read_item(L, &plan->items[i], kinds, numbers);
    check_item(L, &plan->items[i], columns);
    if (kinds) /* NULL where no item has any */
      kinds += plan->items[i].kind_count;
    lua_pop(L, 1);
  }
  if (ordered)
    read_order(L, plan, numbers);
  keep_metas(L, plan);
  return 1;
}

void orr_plan_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"plan", new_plan}, {NULL, NULL}};
  orr_box_define(L, &orr_plan_kind, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
