/* driver: the contract between the engine and a database. One const orr_driver per database; nothing above
   it includes a database's header. Every function that can fail returns 0 or a positive result, or -1 with
   `error` filled, message and all. Handles are opaque and belong to the caller, who closes them. */
#ifndef ORR_DRIVER_H
#define ORR_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/error.h"
#include "../core/value.h"

enum { ORR_STEP_DONE = 0, ORR_STEP_ROW = 1 };

typedef struct orr_open_options {
  bool readonly;
  bool create;         /* make the database where there is none */
  bool uri;            /* the target is the database's own URI form */
  double busy_timeout; /* seconds to wait for a lock */
} orr_open_options;

/* What a guarded connection may do to a table, as bits. */
enum { ORR_MAY_SELECT = 1, ORR_MAY_INSERT = 2, ORR_MAY_UPDATE = 4, ORR_MAY_DELETE = 8, ORR_MAY_CREATE = 16 };

/* What a guard allows. The driver asks rights(ud, table) while it prepares a statement and writes into
   `denied` what it refused, for the error's message; `saved` is the driver's own. */
typedef struct orr_guard {
  unsigned (*rights)(void *ud, const char *table);
  void *ud;
  int max_bytes; /* of one value */
  char denied[256];
  int saved[8];
} orr_guard;

typedef struct orr_driver {
  const char *name; /* the dialect's name: "sqlite" */

  int (*open)(const char *target, const orr_open_options *options, void **db, orr_error *error);
  void (*close)(void *db); /* never fails; statements still open are finished with it */

  /* Prepares the first statement of `sql`; `*used` is the number of bytes it took, `*stmt` NULL where these
     held only blanks and comments. */
  int (*prepare)(void *db, const char *sql, size_t len, void **stmt, size_t *used, orr_error *error);
  void (*finalize)(void *stmt);

  /* Binds parameter `index` (from 1). The bytes of text and blobs must live until reset or the next bind of
     that index, unless `copy` is set. */
  int (*bind)(void *stmt, int index, const orr_value *value, bool copy, orr_error *error);
  int (*step)(void *stmt, orr_error *error); /* ORR_STEP_ROW, ORR_STEP_DONE or -1 */
  /* `count` columns of the current row, from column `first` (from 0) on; their bytes live until the next step
     or reset. -1 where there was no memory to read them. */
  int (*row)(void *stmt, int first, orr_value *out, int count);
  void (*reset)(void *stmt);  /* ends execution and forgets the bindings */
  void (*rewind)(void *stmt); /* ends execution; every parameter is bound anew before the next */

  int (*column_count)(void *stmt);
  const char *(*column_name)(void *stmt, int column); /* from 0; lives as long as the statement */
  int (*parameter_count)(void *stmt);
  bool (*readonly)(void *stmt); /* true where running it cannot change the database */

  /* Runs statements without parameters or rows: transaction control and settings. */
  int (*exec)(void *db, const char *sql, orr_error *error);
  bool (*in_transaction)(void *db);
  int64_t (*changes)(void *db);        /* rows changed by the last INSERT, UPDATE or DELETE itself */
  int64_t (*last_insert_id)(void *db); /* key made by the last single-row INSERT */
  void (*interrupt)(void *db);         /* from any thread: the running statement fails soon */

  /* From now on asks stop(ud) every now and then while a statement runs; an answer other than 0 ends it as
     interrupt does. NULL: asks nobody. */
  void (*watch)(void *db, int (*stop)(void *ud), void *ud);

  /* Takes over a handle that the host program has opened with the library of `version`, an address that only
     this copy of the library has. Leaves its settings alone. */
  int (*adopt)(void *handle, const void *version, void **db, orr_error *error);

  /* From now on only what the guard allows can be prepared: its tables, transactions, and reading about these
     tables; no settings, no other files, no triggers or views. Statements prepared before ask again. */
  int (*guard)(void *db, orr_guard *guard, orr_error *error);
  void (*unguard)(void *db, const orr_guard *guard);
} orr_driver;

extern const orr_driver orr_driver_sqlite;

#endif
