/* sqlite: the driver contract on SQLite 3. Decides nothing about pools,
   transactions or types. A connection is used by one thread at a time, so it is opened without a mutex. */
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"
#include "sqlite_decimal.h"

/* ---- errors ---- */

static const char *constraint_of(int code) {
  switch (code) {
  case SQLITE_CONSTRAINT_UNIQUE:
    return "unique";
  case SQLITE_CONSTRAINT_PRIMARYKEY:
  case SQLITE_CONSTRAINT_ROWID:
    return "primary key";
  case SQLITE_CONSTRAINT_NOTNULL:
    return "not null";
  case SQLITE_CONSTRAINT_FOREIGNKEY:
    return "foreign key";
  case SQLITE_CONSTRAINT_CHECK:
    return "check";
  default:
    return NULL;
  }
}

static const char *kind_of(int code) {
  switch (code & 0xFF) {
  case SQLITE_CONSTRAINT:
  case SQLITE_MISMATCH:
    return "IntegrityError";
  case SQLITE_TOOBIG:
    return "DataError";
  case SQLITE_MISUSE:
  case SQLITE_RANGE:
  case SQLITE_AUTH:
    return "ProgrammingError";
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_INTERNAL:
  case SQLITE_FORMAT:
    return "DatabaseError";
  default:
    return "OperationalError";
  }
}

static void append(char *to, size_t room, const char *text, size_t len) {
  size_t used = strlen(to);
  if (used + len < room) {
    memcpy(to + used, text, len);
    to[used + len] = '\0';
  }
}

/* Where the table's name ends in "table.column": at the point that leaves names which exist, since both may
   hold points themselves; else at the first. */
static size_t table_length(sqlite3 *db, const char *item, size_t len) {
  char table[sizeof((orr_error *)0)->table], column[sizeof((orr_error *)0)->columns];
  for (const char *dot = memchr(item, '.', len); dot;
       dot = memchr(dot + 1, '.', len - (size_t)(dot + 1 - item))) {
    snprintf(table, sizeof table, "%.*s", (int)(dot - item), item);
    snprintf(column, sizeof column, "%.*s", (int)(len - (size_t)(dot + 1 - item)), dot + 1);
    if (sqlite3_table_column_metadata(db, NULL, table, column, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK)
      return (size_t)(dot - item);
  }
  return strcspn(item, ".");
}

/* "UNIQUE constraint failed: t.a, t.b" and "NOT NULL constraint failed: t.a" name table and columns. */
static void name_columns(sqlite3 *db, orr_error *error) {
  const char *item = strstr(error->message, " constraint failed: ");
  if (!item || !error->constraint || strcmp(error->constraint, "check") == 0)
    return;
  item += strlen(" constraint failed: ");
  if (strncmp(item, "index '", 7) == 0) /* of expressions, which have no columns */
    return;
  size_t len = strcspn(item, ","), name = table_length(db, item, len);
  if (item[name] != '.' || name >= sizeof error->table)
    return;
  memcpy(error->table, item, name);
  error->table[name] = '\0';
  while (strncmp(item, error->table, name) == 0 && item[name] == '.') {
    len = strcspn(item, ",");
    if (error->columns[0])
      append(error->columns, sizeof error->columns, ",", 1);
    append(error->columns, sizeof error->columns, item + name + 1, len - name - 1);
    item += len + strspn(item + len, ", ");
  }
}

/* Records what `db` reports about its last call; NULL: there was no memory for a handle. */
static int fail(sqlite3 *db, orr_error *error) {
  int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
  int primary = code & 0xFF;
  orr_error_clear(error);
  error->code = code;
  error->retryable = primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_PROTOCOL;
  error->constraint = constraint_of(code);
  orr_error_set(error, kind_of(code), "%s", db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  name_columns(db, error);
  return -1;
}

/* ---- connections ---- */

/* A plain path is never read as a URI, however SQLite was built. */
static char *plain_path(const char *target) {
  return sqlite3_mprintf(strncmp(target, "file:", 5) == 0 ? "./%s" : "%s", target);
}

static int open_flags(const orr_open_options *options) {
  int flags = options->readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options->create && !options->readonly)
    flags |= SQLITE_OPEN_CREATE;
  if (options->uri)
    flags |= SQLITE_OPEN_URI;
  return flags | SQLITE_OPEN_NOMUTEX;
}

static int busy_milliseconds(double seconds) {
  double milliseconds = seconds * 1000;
  return milliseconds < INT_MAX ? (int)milliseconds : INT_MAX;
}

/* The default, FULL, does not sync the directory after a commit has removed its rollback journal: after a
   power cut the journal may be back, and with it the database from before the commit. EXTRA does; in WAL mode
   the two are the same. */
static int make_durable(sqlite3 *db) {
  return sqlite3_exec(db, "PRAGMA synchronous = EXTRA", NULL, NULL, NULL);
}

static int configure(sqlite3 *db, const orr_open_options *options) {
  static const struct {
    int option, on;
  } defaults[] = {{SQLITE_DBCONFIG_ENABLE_FKEY, 1},
                  {SQLITE_DBCONFIG_DQS_DML, 0},
                  {SQLITE_DBCONFIG_DQS_DDL, 0},
                  {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                  {SQLITE_DBCONFIG_DEFENSIVE, 1}};
  for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
    if (sqlite3_db_config(db, defaults[i].option, defaults[i].on, (int *)NULL)) /* out of reach: too old */
      return -1;
  /* Fails where SQLite was built without extensions, which is as good. */
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, (int *)NULL);
  sqlite3_extended_result_codes(db, 1);
  if (orr_sqlite_decimal(db) != SQLITE_OK ||
      sqlite3_busy_timeout(db, busy_milliseconds(options->busy_timeout)) != SQLITE_OK)
    return -1;
  return options->readonly || make_durable(db) == SQLITE_OK ? 0 : -1;
}

static int connection_open(const char *target, const orr_open_options *options, void **out,
                           orr_error *error) {
  sqlite3 *db = NULL;
  char *path = options->uri ? sqlite3_mprintf("%s", target) : plain_path(target);
  int code = path ? sqlite3_open_v2(path, &db, open_flags(options), NULL) : SQLITE_NOMEM;
  sqlite3_free(path);
  if (code == SQLITE_OK && configure(db, options) == 0) {
    *out = db;
    return 0;
  }
  fail(db, error);
  append(error->message, sizeof error->message, ": ", 2);
  append(error->message, sizeof error->message, target, strlen(target));
  sqlite3_close_v2(db);
  return -1;
}

/* Two copies of SQLite in one process drop each other's locks on a file, and have their own idea of a handle.
 */
static int connection_adopt(void *handle, const void *version, void **out, orr_error *error) {
  if (version != sqlite3_libversion())
    return orr_error_set(error, "InterfaceError",
                         "this handle is of another copy of SQLite than the one that Orrery uses (%s)",
                         sqlite3_libversion());
  if (orr_sqlite_decimal(handle) != SQLITE_OK)
    return fail(handle, error);
  *out = handle;
  return 0;
}

static void connection_close(void *db) { sqlite3_close_v2(db); }

static int connection_exec(void *db, const char *sql, orr_error *error) {
  return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(db, error);
}

static bool connection_in_transaction(void *db) { return !sqlite3_get_autocommit(db); }

static int64_t connection_changes(void *db) {
#if SQLITE_VERSION_NUMBER >= 3037000
  return sqlite3_changes64(db);
#else
  return sqlite3_changes(db);
#endif
}

static int64_t connection_last_insert_id(void *db) { return sqlite3_last_insert_rowid(db); }

static void connection_interrupt(void *db) { sqlite3_interrupt(db); }

enum { WATCH_STEPS = 1000 }; /* of its virtual machine, some tens of microseconds */

static void connection_watch(void *db, int (*stop)(void *ud), void *ud) {
  sqlite3_progress_handler(db, stop ? WATCH_STEPS : 0, stop, ud);
}

/* ---- guards ---- */

typedef struct power {
  int action;
  unsigned right;
  const char *verb; /* "insert into" */
} power;

/* The actions whose first argument is the table that they touch. */
static const power POWERS[] = {
    {SQLITE_READ, ORR_MAY_SELECT, "select from"},    {SQLITE_INSERT, ORR_MAY_INSERT, "insert into"},
    {SQLITE_UPDATE, ORR_MAY_UPDATE, "update"},       {SQLITE_DELETE, ORR_MAY_DELETE, "delete from"},
    {SQLITE_CREATE_TABLE, ORR_MAY_CREATE, "create"}, {0, 0, NULL}};

static bool is_one_of(const char *name, const char *const *list) {
  while (*list && sqlite3_stricmp(name, *list) != 0)
    list++;
  return *list != NULL;
}

/* What is no table of anybody's: functions that stand in FROM. */
static bool is_function_table(const char *table) {
  static const char *const names[] = {"json_each", "json_tree", NULL};
  return is_one_of(table, names);
}

/* The catalog changes when a table is made, and no other way: the connection is defensive. */
static unsigned rights_on_catalog(const orr_guard *guard) {
  unsigned all = ORR_MAY_SELECT | ORR_MAY_INSERT | ORR_MAY_UPDATE;
  return guard->rights(guard->ud, NULL) & ORR_MAY_CREATE ? all : 0;
}

static unsigned rights_on(const orr_guard *guard, const char *table) {
  static const char *const catalog[] = {"sqlite_master", "sqlite_schema", NULL};
  if (is_one_of(table, catalog))
    return rights_on_catalog(guard);
  return is_function_table(table) ? ORR_MAY_SELECT : guard->rights(guard->ud, table);
}

static int deny(orr_guard *guard, const char *verb, const char *what) {
  snprintf(guard->denied, sizeof guard->denied, "this script may not %s '%.150s'", verb, what ? what : "");
  return SQLITE_DENY;
}

/* Only what belongs to the database itself: temporary tables and attached databases are nobody's. */
static int judge_table(orr_guard *guard, const power *power, const char *table, const char *schema) {
  bool main = !schema || sqlite3_stricmp(schema, "main") == 0;
  if (main && rights_on(guard, table) & power->right)
    return SQLITE_OK;
  return deny(guard, power->verb, table);
}

/* Settings are the host's. What is left says something about the database or a table that may be read, or
   lets this transaction check its foreign keys later. */
static int judge_pragma(orr_guard *guard, const char *name, const char *argument) {
  static const char *const about_table[] = {"table_info",  "table_xinfo",      "index_list", "index_info",
                                            "index_xinfo", "foreign_key_list", NULL};
  static const char *const about_all[] = {"data_version", "schema_version", "encoding", NULL};
  if (sqlite3_stricmp(name, "defer_foreign_keys") == 0 || (is_one_of(name, about_all) && !argument))
    return SQLITE_OK;
  if (is_one_of(name, about_table) && argument && rights_on(guard, argument) & ORR_MAY_SELECT)
    return SQLITE_OK;
  return deny(guard, "use PRAGMA", name);
}

static int judge_function(orr_guard *guard, const char *name) {
  static const char *const outside[] = {"load_extension", "fts3_tokenizer", "readfile", "writefile",
                                        "edit",           "fsdir",          "lsmode",   NULL};
  return is_one_of(name, outside) ? deny(guard, "call", name) : SQLITE_OK;
}

static int authorize(void *ud, int action, const char *first, const char *second, const char *schema,
                     const char *inside) {
  orr_guard *guard = ud;
  (void)inside;
  for (const power *power = POWERS; power->verb; power++)
    if (power->action == action)
      return judge_table(guard, power, first, schema);
  switch (action) {
  case SQLITE_SELECT:
  case SQLITE_RECURSIVE:
  case SQLITE_TRANSACTION:
  case SQLITE_SAVEPOINT:
    return SQLITE_OK;
  case SQLITE_FUNCTION:
    return judge_function(guard, second);
  case SQLITE_PRAGMA:
    return judge_pragma(guard, first, second);
  case SQLITE_CREATE_INDEX:
  case SQLITE_REINDEX:
    return guard->rights(guard->ud, second ? second : "") & ORR_MAY_CREATE || action == SQLITE_REINDEX
               ? SQLITE_OK
               : deny(guard, "create an index on", second);
  case SQLITE_ATTACH:
    return deny(guard, "attach", first);
  default:
    return deny(guard, "change the schema or the settings of the database, here", first);
  }
}

/* What a guarded script could make one call of SQLite take too long or too much with. */
static const struct {
  int limit, value;
} LIMITS[] = {{SQLITE_LIMIT_LENGTH, 0}, /* the guard's own */
              {SQLITE_LIMIT_SQL_LENGTH, 1000000},
              {SQLITE_LIMIT_ATTACHED, 0},
              {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
              {SQLITE_LIMIT_WORKER_THREADS, 0}};
enum { LIMIT_COUNT = sizeof LIMITS / sizeof *LIMITS };

static int connection_guard(void *db, orr_guard *guard, orr_error *error) {
  guard->denied[0] = '\0';
  if (sqlite3_set_authorizer(db, authorize, guard) != SQLITE_OK) /* out of reach: fails for no handle only */
    return fail(db, error);
  for (size_t i = 0; i < LIMIT_COUNT; i++)
    guard->saved[i] = sqlite3_limit(db, LIMITS[i].limit, i == 0 ? guard->max_bytes : LIMITS[i].value);
  return 0;
}

static void connection_unguard(void *db, const orr_guard *guard) {
  sqlite3_set_authorizer(db, NULL, NULL);
  for (size_t i = 0; i < LIMIT_COUNT; i++)
    sqlite3_limit(db, LIMITS[i].limit, guard->saved[i]);
}

/* ---- statements ---- */

static int statement_prepare(void *db, const char *sql, size_t len, void **out, size_t *used,
                             orr_error *error) {
  const char *tail = NULL;
  sqlite3_stmt *statement = NULL;
  if (len > INT_MAX) /* out of reach: 2 GB of SQL, which LuaJIT does not hold either */
    return orr_error_set(error, "DataError", "a statement of %zu bytes is too long", len);
  if (sqlite3_prepare_v3(db, sql, (int)len, SQLITE_PREPARE_PERSISTENT, &statement, &tail) != SQLITE_OK)
    return fail(db, error);
  *out = statement;
  *used = (size_t)(tail - sql);
  return 0;
}

static void statement_finalize(void *statement) { sqlite3_finalize(statement); }

static int bind_value(sqlite3_stmt *statement, int index, const orr_value *value,
                      sqlite3_destructor_type keep) {
  /* A NULL pointer would bind NULL, not an empty string. */
  const char *bytes = value->len ? value->as.s : "";
  switch (value->tag) {
  case ORR_INT:
    return sqlite3_bind_int64(statement, index, value->as.i);
  case ORR_REAL:
    return sqlite3_bind_double(statement, index, value->as.r);
  case ORR_TEXT:
    return sqlite3_bind_text64(statement, index, bytes, value->len, keep, SQLITE_UTF8);
  case ORR_BLOB:
    return sqlite3_bind_blob64(statement, index, bytes, value->len, keep);
  default:
    return sqlite3_bind_null(statement, index);
  }
}

static int statement_bind(void *statement, int index, const orr_value *value, bool copy, orr_error *error) {
  if (bind_value(statement, index, value, copy ? SQLITE_TRANSIENT : SQLITE_STATIC) == SQLITE_OK)
    return 0;
  return fail(sqlite3_db_handle(statement), error);
}

static int statement_step(void *statement, orr_error *error) {
  switch (sqlite3_step(statement)) {
  case SQLITE_ROW:
    return ORR_STEP_ROW;
  case SQLITE_DONE:
    return ORR_STEP_DONE;
  default:
    return fail(sqlite3_db_handle(statement), error);
  }
}

static int take_bytes(orr_value *out, orr_tag tag, const void *bytes, sqlite3_value *value) {
  out->tag = tag;
  out->len = (size_t)sqlite3_value_bytes(value);
  out->as.s = bytes ? bytes : "";
  /* No bytes are an empty blob, but never an empty text. */
  return bytes || (tag == ORR_BLOB && out->len == 0) ? 0 : -1;
}

static int take_value(sqlite3_value *value, orr_value *out) {
  out->len = 0;
  switch (sqlite3_value_type(value)) {
  case SQLITE_INTEGER:
    out->tag = ORR_INT;
    out->as.i = sqlite3_value_int64(value);
    return 0;
  case SQLITE_FLOAT:
    out->tag = ORR_REAL;
    out->as.r = sqlite3_value_double(value);
    return 0;
  case SQLITE_TEXT:
    return take_bytes(out, ORR_TEXT, sqlite3_value_text(value), value);
  case SQLITE_BLOB:
    return take_bytes(out, ORR_BLOB, sqlite3_value_blob(value), value);
  default:
    out->tag = ORR_NULL;
    return 0;
  }
}

static int statement_row(void *statement, int first, orr_value *out, int count) {
  int result = 0;
  for (int i = 0; i < count; i++)
    result |= take_value(sqlite3_column_value(statement, first + i), &out[i]);
  return result;
}

static void statement_reset(void *statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}

static void statement_rewind(void *statement) { sqlite3_reset(statement); }

static int statement_column_count(void *statement) { return sqlite3_column_count(statement); }

static const char *statement_column_name(void *statement, int column) {
  return sqlite3_column_name(statement, column);
}

static int statement_parameter_count(void *statement) { return sqlite3_bind_parameter_count(statement); }

static bool statement_readonly(void *statement) { return sqlite3_stmt_readonly(statement); }

const orr_driver orr_driver_sqlite = {
    "sqlite",
    connection_open,
    connection_close,
    statement_prepare,
    statement_finalize,
    statement_bind,
    statement_step,
    statement_row,
    statement_reset,
    statement_rewind,
    statement_column_count,
    statement_column_name,
    statement_parameter_count,
    statement_readonly,
    connection_exec,
    connection_in_transaction,
    connection_changes,
    connection_last_insert_id,
    connection_interrupt,
    connection_watch,
    connection_adopt,
    connection_guard,
    connection_unguard,
};
