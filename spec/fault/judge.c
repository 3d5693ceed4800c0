/* judge: what a database holds, and whether anything is wrong with it, asked by plain SQLite and nothing of
   the library. Its own work neither fails nor counts. */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
  uint64_t hash;
  char *out;
  size_t room;
} reading;

static void take(reading *r, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    r->hash = (r->hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
  if (r->out && length < r->room) {
    memcpy(r->out, text, length);
    r->out += length;
    r->room -= length;
    *r->out = '\0';
  }
}

static void take_row(reading *r, sqlite3_stmt *statement) {
  for (int i = 0; i < sqlite3_column_count(statement); i++) {
    int type = sqlite3_column_type(statement, i);
    const char *text = (const char *)sqlite3_column_blob(statement, i);
    char tag[4] = {' ', "-IFTBN"[type], ':', 0};
    take(r, tag, 3);
    if (text)
      take(r, text, (size_t)sqlite3_column_bytes(statement, i));
  }
  take(r, "\n", 1);
}

static bool take_query(reading *r, sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (code == SQLITE_OK)
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
      take_row(r, statement);
  sqlite3_finalize(statement);
  return code == SQLITE_DONE;
}

/* Each table by its own query, which the first one writes. */
static bool take_tables(reading *r, sqlite3 *db) {
  sqlite3_stmt *names = NULL;
  bool fine =
      sqlite3_prepare_v2(db,
                         "SELECT printf('SELECT ''%w'', * FROM \"%w\" ORDER BY 1, 2, 3', name, name), "
                         "printf('SELECT ''%w'', * FROM \"%w\" ORDER BY 2', name, name) "
                         "FROM sqlite_schema WHERE type = 'table' ORDER BY name",
                         -1, &names, NULL) == SQLITE_OK;
  int code = SQLITE_ERROR;
  while (fine && (code = sqlite3_step(names)) == SQLITE_ROW)
    fine = take_query(r, db, (const char *)sqlite3_column_text(names, 0)) ||
           take_query(r, db, (const char *)sqlite3_column_text(names, 1));
  sqlite3_finalize(names);
  return fine && code == SQLITE_DONE;
}

static sqlite3 *open_plain(const char *path) {
  sqlite3 *db = NULL;
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK)
    return db;
  sqlite3_close(db);
  return NULL;
}

uint64_t judge_fingerprint(const char *path, char *out, size_t room) {
  reading r = {UINT64_C(14695981039346656037), out, room};
  sqlite3 *db = open_plain(path);
  bool fine = db && take_query(&r, db, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name") &&
              take_tables(&r, db);
  if (!fine && out)
    snprintf(out, room, "unreadable: %s", db ? sqlite3_errmsg(db) : "cannot be opened");
  sqlite3_close(db);
  return fine ? r.hash : 0;
}

static const char *first_text(sqlite3 *db, const char *sql, char *out, size_t room) {
  sqlite3_stmt *statement = NULL;
  const char *text = NULL;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
    text = sqlite3_errmsg(db);
  else if (sqlite3_step(statement) == SQLITE_ROW)
    text = (const char *)sqlite3_column_text(statement, 0);
  if (text)
    snprintf(out, room, "%s", text);
  sqlite3_finalize(statement);
  return text ? out : NULL;
}

const char *judge_integrity(const char *path) {
  static char text[300];
  sqlite3 *db = open_plain(path);
  if (!db)
    return "cannot be opened";
  const char *fault = first_text(db, "PRAGMA integrity_check", text, sizeof text);
  if (fault && strcmp(fault, "ok") == 0)
    fault = first_text(db, "PRAGMA foreign_key_check", text, sizeof text);
  sqlite3_close(db);
  return fault;
}

void judge_sql(const char *path, const char *sql) {
  char *message = NULL;
  sqlite3 *db = open_plain(path);
  if (!db || sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
    fprintf(stderr, "%s: %s\n", path, message ? message : "cannot be opened");
    exit(2);
  }
  sqlite3_close(db);
}

/* ---- what goes on ---- */

static const char *going_on;
static char going_on_text[300];

static void look(sqlite3 *db) {
  if (!sqlite3_get_autocommit(db))
    going_on = "a transaction is still open";
  for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s))
    if (sqlite3_stmt_busy(s)) {
      snprintf(going_on_text, sizeof going_on_text, "a statement is still busy: %s", sqlite3_sql(s));
      going_on = going_on_text;
    }
}

const char *judge_idle(void) {
  going_on = NULL;
  disk_each(look);
  return going_on;
}

/* ---- putting back ---- */

bool judge_restore(const char *from, const char *to) {
  sqlite3 *source = open_plain(from), *target = open_plain(to);
  bool fine = false;
  sqlite3_backup *backup = source && target ? sqlite3_backup_init(target, "main", source, "main") : NULL;
  if (backup) {
    fine = sqlite3_backup_step(backup, -1) == SQLITE_DONE;
    fine = sqlite3_backup_finish(backup) == SQLITE_OK && fine;
  }
  sqlite3_close(source);
  sqlite3_close(target);
  return fine;
}
