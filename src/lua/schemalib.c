/* schemalib: the schema handle of a MetaData, and the order of things, as Lua sees them. Tables, foreign keys
   and columns count from 1 here, ranks from 0. Only translates: what is right or wrong is decided in
   src/core. */
#include <string.h>

#include "../core/graph.h"
#include "../core/relation.h"
#include "../core/schema.h"
#include "../core/unit.h"
#include "libs.h"

static void close_schema(void *block) { orr_schema_clear(block); }

static const orr_box_kind SCHEMA = {"schema", close_schema};

/* What order() fills, owned by a userdata while Lua tables are made from it. */
typedef struct boxed_order {
  orr_alloc alloc;
  orr_table_order order;
} boxed_order;

static void close_order(void *block) {
  boxed_order *boxed = block;
  orr_schema_order_clear(&boxed->alloc, &boxed->order);
}

static const orr_box_kind ORDER = {"table order", close_order};

static void close_unit(void *block) { orr_unit_clear(block); }

static const orr_box_kind UNIT = {"unit of work", close_unit};

/* ---- arguments ---- */

static int bad_number(lua_State *L, const char *what, int index, size_t limit) {
  return orr_raisef(L, "ArgumentError", "%s expected, from 1 to %d, got %s", what, (int)limit,
                    lua_isnumber(L, index) ? lua_tostring(L, index) : luaL_typename(L, index));
}

/* The number from 1 to `limit` at `index`, counted from 0. */
static uint32_t check_number(lua_State *L, int index, const char *what, size_t limit) {
  int64_t number;
  if (!orr_toint64(L, index, &number) || number < 1 || (uint64_t)number > limit)
    bad_number(L, what, index, limit);
  return (uint32_t)(number - 1);
}

static orr_schema *check_schema(lua_State *L) { return orr_box_check(L, 1, &SCHEMA); }

static uint32_t check_table(lua_State *L, int index, const orr_schema *schema) {
  return check_number(L, index, "number of a table", schema->table_count);
}

static size_t check_list(lua_State *L, int index) {
  luaL_checktype(L, index, LUA_TTABLE);
  return orr_rawlen(L, index);
}

/* Pushes a userdata for `count` elements, so that Lua frees them; all zero. */
static void *push_room(lua_State *L, size_t count, size_t size) {
  if (count > ORR_GRAPH_MAX) /* out of reach: no table is that long, but a script may name a number */
    orr_raisef(L, "ArgumentError", "a list is too long");
  void *room = lua_newuserdata(L, count * size + 1);
  memset(room, 0, count * size + 1);
  return room;
}

/* list[position][item] counted from 0, where list is at `index`. */
static uint32_t check_item(lua_State *L, int index, size_t position, int item, const char *what,
                           size_t limit) {
  lua_rawgeti(L, index, (int)position);
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_rawgeti(L, -1, item);
  uint32_t number = check_number(L, -1, what, limit);
  lua_pop(L, 2);
  return number;
}

/* A list of columns of one table; leaves the userdata that holds them on the stack. */
static orr_columns push_columns(lua_State *L, int index, size_t limit) {
  orr_columns columns;
  columns.count = check_list(L, index);
  columns.at = push_room(L, columns.count, sizeof *columns.at);
  for (size_t i = 0; i < columns.count; i++) {
    lua_rawgeti(L, index, (int)i + 1);
    columns.at[i] = check_number(L, -1, "position of a column", limit);
    lua_pop(L, 1);
  }
  return columns;
}

static orr_columns push_table_columns(lua_State *L, int index, const orr_schema *schema, uint32_t table) {
  return push_columns(L, index, schema->tables[table].column_count);
}

/* ---- results ---- */

static int push_made(lua_State *L, int64_t number, const orr_error *error) {
  if (number < 0)
    return orr_raise(L, error);
  lua_pushinteger(L, (lua_Integer)number + 1);
  return 1;
}

static int finish(lua_State *L, int status, const orr_error *error) {
  return status == 0 ? 0 : orr_raise(L, error);
}

static void push_numbers(lua_State *L, const uint32_t *numbers, size_t count, int base) {
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushinteger(L, (lua_Integer)numbers[i] + base);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static void push_flags(lua_State *L, const bool *flags, size_t count) {
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushboolean(L, flags[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* ---- schema: declaring ---- */

/* schema() -> handle */
static int new_schema(lua_State *L) {
  orr_schema *schema = orr_box_new(L, &SCHEMA, sizeof *schema);
  orr_schema_init(schema, orr_allocator(L));
  return 1;
}

/* schema:add_table(name [, schema name]) -> number */
static int add_table(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  const char *name = luaL_checkstring(L, 2);
  if (!lua_isnoneornil(L, 3))
    name = lua_pushfstring(L, "%s.%s", luaL_checkstring(L, 3), name);
  return push_made(L, orr_schema_add_table(schema, name, &error), &error);
}

/* schema:add_column(table, name, nullable [, key]) -> position */
static int add_column(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  uint32_t table = check_table(L, 2, schema);
  const char *name = luaL_checkstring(L, 3);
  const char *key = luaL_optstring(L, 5, NULL);
  return push_made(L, orr_schema_add_column(schema, table, name, key, lua_toboolean(L, 4), &error), &error);
}

/* schema:set_primary_key(table, { positions }) */
static int set_primary_key(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  uint32_t table = check_table(L, 2, schema);
  orr_columns key = push_table_columns(L, 3, schema, table);
  return finish(L, orr_schema_set_primary_key(schema, table, key.at, key.count, &error), &error);
}

/* schema:add_unique(table, { positions }) */
static int add_unique(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  uint32_t table = check_table(L, 2, schema);
  orr_columns key = push_table_columns(L, 3, schema, table);
  return finish(L, orr_schema_add_unique(schema, table, key.at, key.count, &error), &error);
}

/* The strings stay owned by the list at `index`. */
static const char **push_names(lua_State *L, int index, size_t count) {
  if (check_list(L, index) != count)
    orr_raisef(L, "ArgumentError", "a foreign key of %d columns refers to %d", (int)count,
               (int)orr_rawlen(L, index));
  const char **names = push_room(L, count, sizeof *names);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      orr_raisef(L, "ArgumentError", "name of a column expected, got %s", luaL_typename(L, -1));
    names[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return names;
}

/* schema:add_foreign_key(table, { positions }, "table" or "schema.table", { keys or names } [, by alter
   [, names only]]) -> number */
static int add_foreign_key(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  uint32_t table = check_table(L, 2, schema);
  const char *target = luaL_checkstring(L, 4);
  bool by_alter = lua_toboolean(L, 6), by_name = lua_toboolean(L, 7);
  orr_columns columns = push_table_columns(L, 3, schema, table);
  const char **names = push_names(L, 5, columns.count);
  return push_made(L,
                   orr_schema_add_foreign_key(schema, table, columns.at, columns.count, target, names,
                                              by_alter, by_name, &error),
                   &error);
}

/* schema:freeze(table) */
static int freeze(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_schema_freeze(schema, check_table(L, 2, schema));
  return 0;
}

/* schema:remove_table(table) */
static int remove_table(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_schema_remove_table(schema, check_table(L, 2, schema));
  return 0;
}

/* ---- schema: asking ---- */

/* schema:find_table("table" or "schema.table") -> number or nil */
static int find_table(lua_State *L) {
  orr_schema *schema = check_schema(L);
  uint32_t table = orr_schema_find_table(schema, luaL_checkstring(L, 2));
  if (table == ORR_SCHEMA_NONE)
    lua_pushnil(L);
  else
    lua_pushinteger(L, (lua_Integer)table + 1);
  return 1;
}

/* schema:foreign_key_target(foreign key) -> table, { positions } */
static int foreign_key_target(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  uint32_t number = check_number(L, 2, "number of a foreign key", schema->foreign_key_count);
  if (orr_schema_resolve(schema, number, &error) != 0)
    return orr_raise(L, &error);
  const orr_foreign_key *key = &schema->foreign_keys[number];
  lua_pushinteger(L, (lua_Integer)key->target + 1);
  push_numbers(L, key->remote.at, key->remote.count, 1);
  return 2;
}

/* schema:is_unique(table, { positions }) -> whether a key lies in these columns */
static int is_unique(lua_State *L) {
  orr_schema *schema = check_schema(L);
  uint32_t table = check_table(L, 2, schema);
  orr_columns columns = push_table_columns(L, 3, schema, table);
  lua_pushboolean(L, orr_schema_is_unique(schema, table, &columns));
  return 1;
}

/* schema:resolve() looks up every foreign key */
static int resolve(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_error_clear(&error);
  return finish(L, orr_schema_resolve_all(schema, &error), &error);
}

static boxed_order *push_order(lua_State *L, orr_schema *schema, bool creating) {
  orr_error error;
  orr_error_clear(&error);
  boxed_order *boxed = orr_box_new(L, &ORDER, sizeof *boxed);
  boxed->alloc = schema->alloc;
  if (orr_schema_order(schema, creating, &boxed->order, &error) != 0)
    orr_raise(L, &error);
  return boxed;
}

/* Leaves out removed tables. */
static void push_table_list(lua_State *L, const orr_schema *schema, const orr_table_order *order) {
  lua_createtable(L, (int)order->count, 0);
  int length = 0;
  for (size_t i = 0; i < order->count; i++) {
    if (schema->tables[order->order[i]].removed)
      continue;
    lua_pushinteger(L, (lua_Integer)order->order[i] + 1);
    lua_rawseti(L, -2, ++length);
  }
}

static void push_left_out(lua_State *L, const orr_schema *schema, const orr_table_order *order) {
  lua_newtable(L);
  int length = 0;
  for (uint32_t i = 0; i < schema->foreign_key_count; i++) {
    if (!orr_schema_is_left_out(schema, order, i))
      continue;
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_rawseti(L, -2, ++length);
  }
}

/* schema:sorted() -> { tables, those referred to first }, { foreign keys at which circles are broken } */
static int sorted(lua_State *L) {
  orr_schema *schema = check_schema(L);
  boxed_order *boxed = push_order(L, schema, true);
  push_table_list(L, schema, &boxed->order);
  push_left_out(L, schema, &boxed->order);
  close_order(boxed);
  return 2;
}

/* schema:ranks() -> { rank by table }, { whether it is in a circle, by table } */
static int ranks(lua_State *L) {
  orr_schema *schema = check_schema(L);
  boxed_order *boxed = push_order(L, schema, false);
  push_numbers(L, boxed->order.rank, boxed->order.count, 0);
  push_flags(L, boxed->order.cyclic, boxed->order.count);
  close_order(boxed);
  return 2;
}

/* ---- relationships ---- */

static const char *const DIRECTIONS[] = {"onetomany", "manytoone", "manytomany", NULL};

/* The field's string, which the table at `index` keeps alive, or "?". */
static const char *text_field(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
  lua_pop(L, 1);
  return text;
}

static uint32_t table_field(lua_State *L, int index, const char *field, const orr_schema *schema) {
  lua_getfield(L, index, field);
  uint32_t table = check_table(L, lua_gettop(L), schema);
  lua_pop(L, 1);
  return table;
}

static uint32_t optional_table_field(lua_State *L, int index, const char *field, const orr_schema *schema) {
  lua_getfield(L, index, field);
  bool absent = lua_isnil(L, -1);
  lua_pop(L, 1);
  return absent ? ORR_SCHEMA_NONE : table_field(L, index, field, schema);
}

static orr_wish wish_field(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  orr_wish wish = lua_isnil(L, -1) ? ORR_WISH_NONE : lua_toboolean(L, -1) ? ORR_WISH_TRUE : ORR_WISH_FALSE;
  lua_pop(L, 1);
  return wish;
}

/* { { table, position }, ... }; leaves the field and the userdata with the result on the stack. */
static orr_column_list push_column_list(lua_State *L, int index, const char *field,
                                        const orr_schema *schema) {
  orr_column_list list = {NULL, 0};
  lua_getfield(L, index, field);
  if (lua_isnil(L, -1))
    return list;
  int at = lua_gettop(L);
  list.count = check_list(L, at);
  orr_column_at *columns = push_room(L, list.count, sizeof *columns);
  for (size_t i = 0; i < list.count; i++) {
    columns[i].table = check_item(L, at, i + 1, 1, "number of a table", schema->table_count);
    columns[i].column =
        check_item(L, at, i + 1, 2, "position of a column", schema->tables[columns[i].table].column_count);
  }
  list.at = columns;
  return list;
}

static void read_question(lua_State *L, int index, const orr_schema *schema, orr_relation *relation) {
  luaL_checktype(L, index, LUA_TTABLE);
  memset(relation, 0, sizeof *relation);
  relation->parent = table_field(L, index, "parent", schema);
  relation->target = table_field(L, index, "target", schema);
  relation->secondary = optional_table_field(L, index, "secondary", schema);
  relation->wants_list = wish_field(L, index, "uselist");
  relation->class_name = text_field(L, index, "class");
  relation->attribute = text_field(L, index, "attribute");
  relation->target_class = text_field(L, index, "target_class");
}

static void push_pairs(lua_State *L, const orr_join *join) {
  lua_createtable(L, (int)join->left.count, 0);
  for (size_t i = 0; i < join->left.count; i++) {
    const uint32_t pair[2] = {join->left.at[i], join->right.at[i]};
    push_numbers(L, pair, 2, 1);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static void copy_field(lua_State *L, int from, const char *field) {
  lua_getfield(L, from, field);
  lua_setfield(L, -2, field);
}

static void push_answer(lua_State *L, int question, const orr_relation *relation) {
  static const char *const COPIED[] = {"parent", "target", "secondary", "class", "attribute", "target_class"};
  bool through = relation->direction == ORR_MANY_TO_MANY;
  lua_newtable(L);
  for (size_t i = 0; i < sizeof COPIED / sizeof *COPIED; i++)
    copy_field(L, question, COPIED[i]);
  lua_pushstring(L, DIRECTIONS[relation->direction]);
  lua_setfield(L, -2, "direction");
  lua_pushboolean(L, relation->uselist);
  lua_setfield(L, -2, "uselist");
  push_pairs(L, &relation->join);
  lua_setfield(L, -2, through ? "secondary_pairs" : "pairs");
  if (through) {
    push_pairs(L, &relation->target_join);
    lua_setfield(L, -2, "target_pairs");
  }
}

/* schema:relate{ parent, target, [secondary, foreign_keys, remote_side, uselist,] class, attribute,
   target_class }
   -> { the same, direction, uselist, pairs or secondary_pairs and target_pairs } */
static int relate(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_relation relation;
  orr_error_clear(&error);
  read_question(L, 2, schema, &relation);
  relation.foreign_keys = push_column_list(L, 2, "foreign_keys", schema);
  relation.remote_side = push_column_list(L, 2, "remote_side", schema);
  if (orr_relation_find(schema, &relation, &error) != 0)
    return orr_raise(L, &error);
  push_answer(L, 2, &relation);
  return 1;
}

/* { { left, right }, ... }; leaves the field and a userdata with the result on the stack. */
static orr_join push_join(lua_State *L, int index, const char *field, size_t left_limit, size_t right_limit) {
  orr_join join;
  lua_getfield(L, index, field);
  int at = lua_gettop(L);
  size_t count = check_list(L, at);
  join.left.count = join.right.count = count;
  join.left.at = push_room(L, count, 2 * sizeof *join.left.at);
  join.right.at = join.left.at + count;
  for (size_t i = 0; i < count; i++) {
    join.left.at[i] = check_item(L, at, i + 1, 1, "position of a column", left_limit);
    join.right.at[i] = check_item(L, at, i + 1, 2, "position of a column", right_limit);
  }
  return join;
}

static orr_direction direction_field(lua_State *L, int index) {
  const char *text = text_field(L, index, "direction");
  for (int i = 0; DIRECTIONS[i]; i++)
    if (strcmp(DIRECTIONS[i], text) == 0)
      return (orr_direction)i;
  orr_raisef(L, "ArgumentError", "what relate() gave expected, got direction '%s'", text);
  return ORR_ONE_TO_MANY;
}

static void read_answer(lua_State *L, int index, const orr_schema *schema, orr_relation *relation) {
  read_question(L, index, schema, relation);
  relation->direction = direction_field(L, index);
  relation->uselist = relation->wants_list == ORR_WISH_TRUE;
  size_t parent = schema->tables[relation->parent].column_count;
  size_t target = schema->tables[relation->target].column_count;
  if (relation->direction == ORR_MANY_TO_MANY) {
    size_t link = schema->tables[table_field(L, index, "secondary", schema)].column_count;
    relation->join = push_join(L, index, "secondary_pairs", parent, link);
    relation->target_join = push_join(L, index, "target_pairs", target, link);
  } else {
    relation->join = push_join(L, index, "pairs", parent, target);
  }
}

/* schema:pair(a, b): raises unless the two results of relate() are each other's back_populates */
static int pair(lua_State *L) {
  orr_schema *schema = check_schema(L);
  orr_error error;
  orr_relation a, b;
  orr_error_clear(&error);
  read_answer(L, 2, schema, &a);
  read_answer(L, 3, schema, &b);
  return finish(L, orr_relation_pair(schema, &a, &b, &error), &error);
}

/* ---- graph and unit, as specs see them ---- */

/* A list of pairs of numbers from 1 to `limit`; leaves the userdata on the stack. */
static orr_edge *push_edges(lua_State *L, int index, size_t limit, size_t *count) {
  *count = check_list(L, index);
  orr_edge *edges = push_room(L, *count, sizeof *edges);
  for (size_t i = 0; i < *count; i++) {
    edges[i].before = check_item(L, index, i + 1, 1, "number", limit);
    edges[i].after = check_item(L, index, i + 1, 2, "number", limit);
  }
  return edges;
}

/* toposort(n, { { before, after }, ... }) -> order, component by node, cyclic by node */
static int toposort(lua_State *L) {
  orr_graph graph;
  graph.nodes = (size_t)luaL_checkinteger(L, 1);
  graph.edges = push_edges(L, 2, graph.nodes, &graph.edge_count);
  uint32_t *order = push_room(L, graph.nodes, 2 * sizeof *order);
  uint32_t *component = order + graph.nodes;
  bool *cyclic = push_room(L, graph.nodes, sizeof *cyclic);
  orr_alloc alloc = orr_allocator(L);
  if (orr_graph_sort(&graph, &alloc, order, component, cyclic) != 0)
    return orr_raisef(L, "InternalError", "out of memory");
  push_numbers(L, order, graph.nodes, 1);
  push_numbers(L, component, graph.nodes, 1);
  push_flags(L, cyclic, graph.nodes);
  return 3;
}

static const char *const KINDS[] = {"set_aside",   "early_delete", "update", "insert", "link_delete",
                                    "link_insert", "post_update",  "delete", NULL};

static void add_actions(lua_State *L, int index, orr_unit *unit, size_t groups) {
  orr_error error;
  orr_error_clear(&error);
  size_t count = check_list(L, index);
  for (size_t i = 0; i < count; i++) {
    uint32_t group = check_item(L, index, i + 1, 1, "number of a group", groups);
    lua_rawgeti(L, index, (int)i + 1);
    lua_rawgeti(L, -1, 2);
    orr_unit_kind kind = (orr_unit_kind)luaL_checkoption(L, -1, NULL, KINDS);
    lua_pop(L, 2);
    if (orr_unit_add(unit, group, kind, &error) < 0)
      orr_raise(L, &error);
  }
}

static void add_links(lua_State *L, int index, orr_unit *unit) {
  orr_error error;
  size_t count;
  orr_error_clear(&error);
  const orr_edge *links = push_edges(L, index, unit->action_count, &count);
  for (size_t i = 0; i < count; i++)
    if (orr_unit_link(unit, links[i].before, links[i].after, &error) != 0)
      orr_raise(L, &error);
}

static void read_groups(lua_State *L, int index, size_t count, uint32_t *rank, bool *cyclic) {
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (int)i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    rank[i] = (uint32_t)luaL_checkinteger(L, -2);
    cyclic[i] = lua_toboolean(L, -1);
    lua_pop(L, 3);
  }
}

static void push_batches(lua_State *L, const orr_unit *unit) {
  lua_createtable(L, (int)unit->batch_count, 0);
  for (size_t i = 0; i < unit->batch_count; i++) {
    const orr_unit_batch *batch = &unit->batches[i];
    const uint32_t numbers[4] = {batch->group + 1, 0, batch->first + 1, batch->count};
    push_numbers(L, numbers, 4, 0);
    lua_pushstring(L, KINDS[batch->kind]);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int raise_plan_error(lua_State *L, const orr_unit *unit, const orr_error *error) {
  orr_error_push(L, error);
  push_numbers(L, unit->cycle, unit->cycle_count, 1);
  lua_setfield(L, -2, "actions");
  return lua_error(L);
}

/* unit_plan({ { rank, cyclic }, ... }, { { group, kind }, ... }, { { before, after }, ... })
   -> order, { { group, kind, first, count }, ... }; a CircularDependencyError has the actions as err.actions
 */
static int unit_plan(lua_State *L) {
  orr_error error;
  orr_error_clear(&error);
  size_t groups = check_list(L, 1);
  uint32_t *rank = push_room(L, groups, sizeof *rank);
  bool *cyclic = push_room(L, groups, sizeof *cyclic);
  orr_unit *unit = orr_box_new(L, &UNIT, sizeof *unit);
  orr_unit_init(unit, orr_allocator(L));
  read_groups(L, 1, groups, rank, cyclic);
  add_actions(L, 2, unit, groups);
  add_links(L, 3, unit);
  if (orr_unit_plan(unit, rank, cyclic, &error) != 0)
    return raise_plan_error(L, unit, &error);
  push_numbers(L, unit->order, unit->action_count, 1);
  push_batches(L, unit);
  orr_unit_clear(unit);
  return 2;
}

void orr_schema_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"add_table", add_table},
                                     {"add_column", add_column},
                                     {"set_primary_key", set_primary_key},
                                     {"add_unique", add_unique},
                                     {"add_foreign_key", add_foreign_key},
                                     {"freeze", freeze},
                                     {"remove_table", remove_table},
                                     {"find_table", find_table},
                                     {"foreign_key_target", foreign_key_target},
                                     {"is_unique", is_unique},
                                     {"resolve", resolve},
                                     {"sorted", sorted},
                                     {"ranks", ranks},
                                     {"relate", relate},
                                     {"pair", pair},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"schema", new_schema}, {"toposort", toposort}, {"unit_plan", unit_plan}, {NULL, NULL}};
  orr_box_define(L, &SCHEMA, methods);
  orr_box_define(L, &ORDER, NULL);
  orr_box_define(L, &UNIT, NULL);
  lua_pop(L, 3);
  orr_setfuncs(L, functions);
}
