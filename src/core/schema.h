/* schema: tables, their columns and keys, and what foreign keys say about the tables together: which column a
   foreign key refers to, in which order tables depend on one another. Types, defaults and the text of
   constraints stay in Lua; so does everything that a database is told.

   Tables and foreign keys have numbers that stay valid until the schema is cleared; positions of columns
   count from 0. A foreign key names its target, which may be declared later: it is looked up when first
   needed. */
#ifndef ORR_SCHEMA_H
#define ORR_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "error.h"

/* Columns of one table, by position. */
typedef struct orr_columns {
  uint32_t *at;
  size_t count;
} orr_columns;

typedef struct orr_column {
  char *name;
  char *key; /* how a program calls it, where that differs from the name; else NULL */
  bool nullable;
} orr_column;

typedef struct orr_foreign_key {
  uint32_t table;        /* the table that it stands on */
  orr_columns columns;   /* its columns there */
  char *target_name;     /* "table" or "schema.table" */
  char **target_columns; /* as many names as columns */
  bool by_alter;         /* comes after all tables are there (use_alter): creating them may ignore it */
  bool by_name;          /* target_columns are names only, not keys */
  bool resolved;
  uint32_t target;    /* what the names stand for, once resolved */
  orr_columns remote; /* likewise */
} orr_foreign_key;

typedef struct orr_table {
  char *name; /* as foreign keys name it: "table" or "schema.table" */
  bool removed;
  bool frozen;           /* in use: gets no more columns and keys */
  uint32_t next_in_hash; /* a table with the same hash, ORR_SCHEMA_NONE at the end */
  orr_column *columns;
  size_t column_count, column_capacity;
  orr_columns primary_key;
  orr_columns *uniques;
  size_t unique_count, unique_capacity;
  uint32_t *foreign_keys;
  size_t foreign_key_count, foreign_key_capacity;
} orr_table;

typedef struct orr_schema {
  orr_alloc alloc;
  orr_table *tables;
  size_t table_count, table_capacity;
  orr_foreign_key *foreign_keys;
  size_t foreign_key_count, foreign_key_capacity;
  uint32_t *hash; /* table number by hash of name; a power of two of slots */
  size_t hash_size;
} orr_schema;

#define ORR_SCHEMA_NONE UINT32_MAX

void orr_schema_init(orr_schema *schema, orr_alloc alloc);
/* Frees everything; the schema is then as after init. Fine on a zeroed schema too. */
void orr_schema_clear(orr_schema *schema);

/* ---- declaring; each copies what it is given; -1 with `error` filled on a mistake ---- */

/* The functions that make something return its number or position. */
int64_t orr_schema_add_table(orr_schema *schema, const char *name, orr_error *error);
/* `key` may be NULL: the same as the name. */
int64_t orr_schema_add_column(orr_schema *schema, uint32_t table, const char *name, const char *key,
                              bool nullable, orr_error *error);
int orr_schema_set_primary_key(orr_schema *schema, uint32_t table, const uint32_t *columns, size_t count,
                               orr_error *error);
int orr_schema_add_unique(orr_schema *schema, uint32_t table, const uint32_t *columns, size_t count,
                          orr_error *error);
int64_t orr_schema_add_foreign_key(orr_schema *schema, uint32_t table, const uint32_t *columns, size_t count,
                                   const char *target_name, const char *const *target_columns, bool by_alter,
                                   bool by_name, orr_error *error);
/* From now on the table gets no more columns and keys. */
void orr_schema_freeze(orr_schema *schema, uint32_t table);
/* Its name is free again afterwards; foreign keys to it have to be looked up anew. */
void orr_schema_remove_table(orr_schema *schema, uint32_t table);

/* ---- asking ---- */

/* ORR_SCHEMA_NONE where there is none. */
uint32_t orr_schema_find_table(const orr_schema *schema, const char *name);
uint32_t orr_schema_find_column(const orr_schema *schema, uint32_t table, const char *name);
/* By key, and where no column has that key by name. */
uint32_t orr_schema_find_key(const orr_schema *schema, uint32_t table, const char *key);

/* Looks up what a foreign key, or every foreign key, refers to: NoReferencedTableError or
   NoReferencedColumnError name both ends. */
int orr_schema_resolve(orr_schema *schema, uint32_t foreign_key, orr_error *error);
int orr_schema_resolve_all(orr_schema *schema, orr_error *error);

/* Whether at most one row of the table can have given values in these columns: a unique or primary key lies
   in them. */
bool orr_schema_is_unique(const orr_schema *schema, uint32_t table, const orr_columns *columns);

/* How tables depend on one another. All arrays have `count` elements and are indexed by table, except
   `order`, which holds tables: those that are referred to come first, in order of declaration where foreign
   keys leave it open. Tables of equal rank refer to each other in a circle; `cyclic` also is a table that
   refers to itself. Removed tables stand among the others as if nothing referred to them. */
typedef struct orr_table_order {
  size_t count;
  uint32_t *order;
  uint32_t *place; /* order[place[t]] == t */
  uint32_t *rank;
  bool *cyclic;
} orr_table_order;

/* Resolves every foreign key first. With `creating`, those that come by ALTER do not count. */
int orr_schema_order(orr_schema *schema, bool creating, orr_table_order *result, orr_error *error);
void orr_schema_order_clear(const orr_alloc *alloc, orr_table_order *result);
/* Whether the order breaks a circle at this foreign key: its table comes before the one that it refers to. */
bool orr_schema_is_left_out(const orr_schema *schema, const orr_table_order *order, uint32_t foreign_key);

/* "book.author_id" or "line(order_id, shop_id)", cut to `size`: columns as messages name them. Returns
 * `text`. */
const char *orr_schema_show(const orr_schema *schema, uint32_t table, const orr_columns *columns, char *text,
                            size_t size);

#endif
