#include "schema.h"

#include <stdio.h>
#include <string.h>

#include "graph.h"
#include "nearest.h"

enum { NAME_TEXT = 200 }; /* room for a name as a message shows it */

static int no_memory(orr_error *error) { return orr_error_set(error, "InternalError", "out of memory"); }

void orr_schema_init(orr_schema *schema, orr_alloc alloc) {
  memset(schema, 0, sizeof *schema);
  schema->alloc = alloc;
}

/* ---- freeing ---- */

static void free_text(const orr_alloc *alloc, char *text) {
  if (text)
    orr_alloc_free(alloc, text, strlen(text) + 1, 1);
}

static void free_columns(const orr_alloc *alloc, orr_columns *columns) {
  orr_alloc_free(alloc, columns->at, columns->count, sizeof *columns->at);
  columns->at = NULL;
  columns->count = 0;
}

static void clear_column(const orr_alloc *alloc, orr_column *column) {
  free_text(alloc, column->name);
  free_text(alloc, column->key);
}

static void clear_table(const orr_alloc *alloc, orr_table *table) {
  free_text(alloc, table->name);
  for (size_t i = 0; i < table->column_count; i++)
    clear_column(alloc, &table->columns[i]);
  for (size_t i = 0; i < table->unique_count; i++)
    free_columns(alloc, &table->uniques[i]);
  free_columns(alloc, &table->primary_key);
  orr_alloc_free(alloc, table->columns, table->column_capacity, sizeof *table->columns);
  orr_alloc_free(alloc, table->uniques, table->unique_capacity, sizeof *table->uniques);
  orr_alloc_free(alloc, table->foreign_keys, table->foreign_key_capacity, sizeof *table->foreign_keys);
}

static void clear_foreign_key(const orr_alloc *alloc, orr_foreign_key *key) {
  free_text(alloc, key->target_name);
  for (size_t i = 0; key->target_columns && i < key->columns.count; i++)
    free_text(alloc, key->target_columns[i]);
  orr_alloc_free(alloc, key->target_columns, key->columns.count, sizeof *key->target_columns);
  free_columns(alloc, &key->remote);
  free_columns(alloc, &key->columns);
}

void orr_schema_clear(orr_schema *schema) {
  const orr_alloc alloc = schema->alloc;
  for (size_t i = 0; i < schema->table_count; i++)
    clear_table(&alloc, &schema->tables[i]);
  for (size_t i = 0; i < schema->foreign_key_count; i++)
    clear_foreign_key(&alloc, &schema->foreign_keys[i]);
  orr_alloc_free(&alloc, schema->tables, schema->table_capacity, sizeof *schema->tables);
  orr_alloc_free(&alloc, schema->foreign_keys, schema->foreign_key_capacity, sizeof *schema->foreign_keys);
  orr_alloc_free(&alloc, schema->hash, schema->hash_size, sizeof *schema->hash);
  orr_schema_init(schema, alloc);
}

/* ---- tables by name ---- */

static uint32_t *slot_of(const orr_schema *schema, const char *name) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * 16777619u;
  return &schema->hash[hash & (schema->hash_size - 1)];
}

static void enter_hash(orr_schema *schema, uint32_t table) {
  uint32_t *slot = slot_of(schema, schema->tables[table].name);
  schema->tables[table].next_in_hash = *slot;
  *slot = table;
}

static void leave_hash(orr_schema *schema, uint32_t table) {
  uint32_t *link = slot_of(schema, schema->tables[table].name);
  while (*link != table)
    link = &schema->tables[*link].next_in_hash;
  *link = schema->tables[table].next_in_hash;
}

static int grow_hash(orr_schema *schema) {
  size_t size = schema->hash_size ? schema->hash_size * 2 : 16;
  uint32_t *hash = orr_alloc_array(&schema->alloc, size, sizeof *hash);
  if (!hash)
    return -1;
  memset(hash, 0xff, size * sizeof *hash); /* ORR_SCHEMA_NONE everywhere */
  orr_alloc_free(&schema->alloc, schema->hash, schema->hash_size, sizeof *hash);
  schema->hash = hash;
  schema->hash_size = size;
  for (uint32_t i = 0; i < schema->table_count; i++)
    if (!schema->tables[i].removed)
      enter_hash(schema, i);
  return 0;
}

uint32_t orr_schema_find_table(const orr_schema *schema, const char *name) {
  uint32_t table = schema->hash_size ? *slot_of(schema, name) : ORR_SCHEMA_NONE;
  while (table != ORR_SCHEMA_NONE && strcmp(schema->tables[table].name, name) != 0)
    table = schema->tables[table].next_in_hash;
  return table;
}

/* ---- declaring ---- */

int64_t orr_schema_add_table(orr_schema *schema, const char *name, orr_error *error) {
  size_t count = schema->table_count;
  if (orr_schema_find_table(schema, name) != ORR_SCHEMA_NONE)
    return orr_error_set(error, "InvalidRequestError", "table '%s' is declared already", name);
  orr_table *tables =
      orr_alloc_grow(&schema->alloc, schema->tables, &schema->table_capacity, count + 1, sizeof *tables);
  if (!tables)
    return no_memory(error);
  schema->tables = tables;
  if (count >= schema->hash_size && grow_hash(schema) != 0)
    return no_memory(error);
  memset(&tables[count], 0, sizeof *tables);
  tables[count].name = orr_alloc_text(&schema->alloc, name, strlen(name));
  if (!tables[count].name)
    return no_memory(error);
  schema->table_count++;
  enter_hash(schema, (uint32_t)count);
  return (int64_t)count;
}

static orr_table *open_table(orr_schema *schema, uint32_t number, orr_error *error) {
  orr_table *table = &schema->tables[number];
  if (!table->frozen)
    return table;
  orr_error_set(error, "InvalidRequestError",
                "table '%s' is in use already: columns and keys are added before the first use", table->name);
  return NULL;
}

/* Fills a new column; nothing stays allocated after a failure. */
static int name_column(const orr_alloc *alloc, orr_column *column, const char *name, const char *key) {
  column->name = orr_alloc_text(alloc, name, strlen(name));
  column->key = key && strcmp(key, name) != 0 ? orr_alloc_text(alloc, key, strlen(key)) : NULL;
  if (column->name && (column->key || !key || strcmp(key, name) == 0))
    return 0;
  clear_column(alloc, column);
  return -1;
}

int64_t orr_schema_add_column(orr_schema *schema, uint32_t number, const char *name, const char *key,
                              bool nullable, orr_error *error) {
  orr_table *table = open_table(schema, number, error);
  if (!table)
    return -1;
  if (orr_schema_find_column(schema, number, name) != ORR_SCHEMA_NONE)
    return orr_error_set(error, "ArgumentError", "table '%s' has a column '%s' already", table->name, name);
  size_t count = table->column_count;
  orr_column *columns =
      orr_alloc_grow(&schema->alloc, table->columns, &table->column_capacity, count + 1, sizeof *columns);
  if (!columns)
    return no_memory(error);
  table->columns = columns;
  columns[count].nullable = nullable;
  if (name_column(&schema->alloc, &columns[count], name, key) != 0)
    return no_memory(error);
  return (int64_t)table->column_count++;
}

/* Checks and copies; `out` is empty after a failure. */
static int copy_columns(orr_schema *schema, const orr_table *table, const uint32_t *columns, size_t count,
                        orr_columns *out, orr_error *error) {
  out->at = NULL;
  out->count = 0;
  for (size_t i = 0; i < count; i++)
    if (columns[i] >= table->column_count)
      return orr_error_set(error, "ArgumentError", "table '%s' has no column at position %zu", table->name,
                           (size_t)columns[i] + 1);
  if (count == 0)
    return 0;
  out->at = orr_alloc_array(&schema->alloc, count, sizeof *columns);
  if (!out->at)
    return no_memory(error);
  memcpy(out->at, columns, count * sizeof *columns);
  out->count = count;
  return 0;
}

int orr_schema_set_primary_key(orr_schema *schema, uint32_t number, const uint32_t *columns, size_t count,
                               orr_error *error) {
  orr_table *table = open_table(schema, number, error);
  orr_columns key;
  if (!table || copy_columns(schema, table, columns, count, &key, error) != 0)
    return -1;
  free_columns(&schema->alloc, &table->primary_key);
  table->primary_key = key;
  return 0;
}

int orr_schema_add_unique(orr_schema *schema, uint32_t number, const uint32_t *columns, size_t count,
                          orr_error *error) {
  orr_table *table = open_table(schema, number, error);
  if (!table)
    return -1;
  orr_columns *uniques = orr_alloc_grow(&schema->alloc, table->uniques, &table->unique_capacity,
                                        table->unique_count + 1, sizeof *uniques);
  if (!uniques)
    return no_memory(error);
  table->uniques = uniques;
  if (copy_columns(schema, table, columns, count, &uniques[table->unique_count], error) != 0)
    return -1;
  table->unique_count++;
  return 0;
}

static int copy_target(orr_schema *schema, orr_foreign_key *key, const char *name,
                       const char *const *columns) {
  key->target_name = orr_alloc_text(&schema->alloc, name, strlen(name));
  key->target_columns = orr_alloc_array(&schema->alloc, key->columns.count, sizeof *key->target_columns);
  if (!key->target_name || !key->target_columns)
    return -1;
  for (size_t i = 0; i < key->columns.count; i++) {
    key->target_columns[i] = orr_alloc_text(&schema->alloc, columns[i], strlen(columns[i]));
    if (!key->target_columns[i])
      return -1;
  }
  return 0;
}

/* Makes room for one more foreign key, in the schema and on its table. */
static int reserve_foreign_key(orr_schema *schema, orr_table *table) {
  orr_foreign_key *keys = orr_alloc_grow(&schema->alloc, schema->foreign_keys, &schema->foreign_key_capacity,
                                         schema->foreign_key_count + 1, sizeof *keys);
  if (!keys)
    return -1;
  schema->foreign_keys = keys;
  uint32_t *numbers = orr_alloc_grow(&schema->alloc, table->foreign_keys, &table->foreign_key_capacity,
                                     table->foreign_key_count + 1, sizeof *numbers);
  if (!numbers)
    return -1;
  table->foreign_keys = numbers;
  return 0;
}

int64_t orr_schema_add_foreign_key(orr_schema *schema, uint32_t number, const uint32_t *columns, size_t count,
                                   const char *target_name, const char *const *target_columns, bool by_alter,
                                   bool by_name, orr_error *error) {
  orr_table *table = open_table(schema, number, error);
  orr_foreign_key key = {.table = number, .by_alter = by_alter, .by_name = by_name};
  if (!table || copy_columns(schema, table, columns, count, &key.columns, error) != 0)
    return -1;
  if (count == 0)
    return orr_error_set(error, "ArgumentError", "a foreign key of table '%s' has no columns", table->name);
  if (reserve_foreign_key(schema, table) != 0 ||
      copy_target(schema, &key, target_name, target_columns) != 0) {
    clear_foreign_key(&schema->alloc, &key);
    return no_memory(error);
  }
  table->foreign_keys[table->foreign_key_count++] = (uint32_t)schema->foreign_key_count;
  schema->foreign_keys[schema->foreign_key_count] = key;
  return (int64_t)schema->foreign_key_count++;
}

void orr_schema_freeze(orr_schema *schema, uint32_t table) { schema->tables[table].frozen = true; }

void orr_schema_remove_table(orr_schema *schema, uint32_t table) {
  if (schema->tables[table].removed)
    return;
  leave_hash(schema, table);
  schema->tables[table].removed = true;
  for (size_t i = 0; i < schema->foreign_key_count; i++)
    if (schema->foreign_keys[i].resolved && schema->foreign_keys[i].target == table)
      schema->foreign_keys[i].resolved = false;
}

/* ---- asking ---- */

uint32_t orr_schema_find_column(const orr_schema *schema, uint32_t number, const char *name) {
  const orr_table *table = &schema->tables[number];
  for (uint32_t i = 0; i < table->column_count; i++)
    if (strcmp(table->columns[i].name, name) == 0)
      return i;
  return ORR_SCHEMA_NONE;
}

uint32_t orr_schema_find_key(const orr_schema *schema, uint32_t number, const char *key) {
  const orr_table *table = &schema->tables[number];
  for (uint32_t i = 0; i < table->column_count; i++)
    if (table->columns[i].key && strcmp(table->columns[i].key, key) == 0)
      return i;
  return orr_schema_find_column(schema, number, key);
}

static bool has_column(const orr_columns *columns, uint32_t column) {
  for (size_t i = 0; i < columns->count; i++)
    if (columns->at[i] == column)
      return true;
  return false;
}

static bool lies_in(const orr_columns *part, const orr_columns *whole) {
  for (size_t i = 0; i < part->count; i++)
    if (!has_column(whole, part->at[i]))
      return false;
  return true;
}

bool orr_schema_is_unique(const orr_schema *schema, uint32_t number, const orr_columns *columns) {
  const orr_table *table = &schema->tables[number];
  if (table->primary_key.count > 0 && lies_in(&table->primary_key, columns))
    return true;
  for (size_t i = 0; i < table->unique_count; i++)
    if (table->uniques[i].count > 0 && lies_in(&table->uniques[i], columns))
      return true;
  return false;
}

const char *orr_schema_show(const orr_schema *schema, uint32_t number, const orr_columns *columns, char *text,
                            size_t size) {
  const orr_table *table = &schema->tables[number];
  if (columns->count == 1) {
    snprintf(text, size, "%s.%s", table->name, table->columns[columns->at[0]].name);
    return text;
  }
  size_t used = (size_t)snprintf(text, size, "%s(", table->name);
  for (size_t i = 0; i < columns->count && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                             table->columns[columns->at[i]].name);
  if (used < size)
    snprintf(text + used, size - used, ")");
  return text;
}

/* ---- foreign keys ---- */

static int missing_table(const orr_schema *schema, const orr_foreign_key *key, orr_error *error) {
  char from[NAME_TEXT], hint[NAME_TEXT];
  orr_nearest search;
  orr_nearest_init(&search, key->target_name);
  for (size_t i = 0; i < schema->table_count; i++)
    if (!schema->tables[i].removed)
      orr_nearest_offer(&search, schema->tables[i].name);
  return orr_error_set(error, "NoReferencedTableError",
                       "Foreign key '%s' refers to table '%s', which is not declared%s",
                       orr_schema_show(schema, key->table, &key->columns, from, sizeof from),
                       key->target_name, orr_nearest_hint(&search, hint, sizeof hint));
}

static int missing_column(const orr_schema *schema, const orr_foreign_key *key, uint32_t target,
                          const char *name, orr_error *error) {
  char from[NAME_TEXT], hint[NAME_TEXT];
  const orr_table *table = &schema->tables[target];
  orr_nearest search;
  orr_nearest_init(&search, name);
  for (size_t i = 0; i < table->column_count; i++)
    orr_nearest_offer(&search, table->columns[i].name);
  return orr_error_set(error, "NoReferencedColumnError",
                       "Foreign key '%s' refers to column '%s' of table '%s', which has no such column%s",
                       orr_schema_show(schema, key->table, &key->columns, from, sizeof from), name,
                       table->name, orr_nearest_hint(&search, hint, sizeof hint));
}

static int resolve_columns(const orr_schema *schema, orr_foreign_key *key, uint32_t target,
                           orr_error *error) {
  for (size_t i = 0; i < key->columns.count; i++) {
    const char *name = key->target_columns[i];
    uint32_t column = key->by_name ? orr_schema_find_column(schema, target, name)
                                   : orr_schema_find_key(schema, target, name);
    if (column == ORR_SCHEMA_NONE)
      return missing_column(schema, key, target, name, error);
    key->remote.at[i] = column;
  }
  return 0;
}

int orr_schema_resolve(orr_schema *schema, uint32_t number, orr_error *error) {
  orr_foreign_key *key = &schema->foreign_keys[number];
  if (key->resolved)
    return 0;
  uint32_t target = orr_schema_find_table(schema, key->target_name);
  if (target == ORR_SCHEMA_NONE)
    return missing_table(schema, key, error);
  if (!key->remote.at)
    key->remote.at = orr_alloc_array(&schema->alloc, key->columns.count, sizeof *key->remote.at);
  if (!key->remote.at)
    return no_memory(error);
  key->remote.count = key->columns.count;
  if (resolve_columns(schema, key, target, error) != 0)
    return -1;
  key->target = target;
  key->resolved = true;
  return 0;
}

static bool is_dead(const orr_schema *schema, uint32_t foreign_key) {
  return schema->tables[schema->foreign_keys[foreign_key].table].removed;
}

int orr_schema_resolve_all(orr_schema *schema, orr_error *error) {
  for (uint32_t i = 0; i < schema->foreign_key_count; i++)
    if (!is_dead(schema, i) && orr_schema_resolve(schema, i, error) != 0)
      return -1;
  return 0;
}

/* ---- dependency order ---- */

void orr_schema_order_clear(const orr_alloc *alloc, orr_table_order *result) {
  orr_alloc_free(alloc, result->order, result->count, 3 * sizeof *result->order);
  orr_alloc_free(alloc, result->cyclic, result->count, sizeof *result->cyclic);
  memset(result, 0, sizeof *result);
}

static bool order_init(const orr_schema *schema, orr_table_order *result) {
  size_t n = schema->table_count;
  memset(result, 0, sizeof *result);
  result->count = n;
  if (n == 0)
    return true;
  result->order = orr_alloc_array(&schema->alloc, n, 3 * sizeof *result->order);
  result->cyclic = orr_alloc_array(&schema->alloc, n, sizeof *result->cyclic);
  if (!result->order || !result->cyclic)
    return false;
  result->place = result->order + n;
  result->rank = result->order + 2 * n;
  return true;
}

static size_t collect_edges(const orr_schema *schema, bool creating, orr_edge *edges) {
  size_t count = 0;
  for (uint32_t i = 0; i < schema->foreign_key_count; i++) {
    const orr_foreign_key *key = &schema->foreign_keys[i];
    if (is_dead(schema, i) || (creating && key->by_alter))
      continue;
    edges[count].before = key->target;
    edges[count++].after = key->table;
  }
  return count;
}

static int sort_tables(const orr_schema *schema, bool creating, orr_table_order *result) {
  size_t room = schema->foreign_key_count + 1;
  orr_edge *edges = orr_alloc_array(&schema->alloc, room, sizeof *edges);
  if (!edges)
    return -1;
  const orr_graph graph = {result->count, edges, collect_edges(schema, creating, edges)};
  int status = orr_graph_sort(&graph, &schema->alloc, result->order, result->rank, result->cyclic);
  orr_alloc_free(&schema->alloc, edges, room, sizeof *edges);
  for (uint32_t i = 0; status == 0 && i < result->count; i++)
    result->place[result->order[i]] = i;
  return status;
}

int orr_schema_order(orr_schema *schema, bool creating, orr_table_order *result, orr_error *error) {
  memset(result, 0, sizeof *result);
  if (orr_schema_resolve_all(schema, error) != 0)
    return -1;
  if (order_init(schema, result) && sort_tables(schema, creating, result) == 0)
    return 0;
  orr_schema_order_clear(&schema->alloc, result);
  return no_memory(error);
}

bool orr_schema_is_left_out(const orr_schema *schema, const orr_table_order *order, uint32_t foreign_key) {
  const orr_foreign_key *key = &schema->foreign_keys[foreign_key];
  return !is_dead(schema, foreign_key) && order->place[key->target] > order->place[key->table];
}
