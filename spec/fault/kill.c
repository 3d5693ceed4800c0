/* kill: a process that does nothing but commit is killed at a random moment, again and again, on real files.
   What it had been told was committed must be there, and nothing half. Power is not cut: what was written
   stays written. */
#include "fault.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orrery.h"

enum { LINES = 5, LONGEST = 9000 /* microseconds */ };

static const char *const MODES_OF_JOURNAL[] = {"DELETE", "WAL"};

static int acks; /* the pipe's end in the child */

/* ack(n): unit n was committed. */
static int acknowledge(lua_State *L) {
  int n = (int)luaL_checkinteger(L, 1);
  if (write(acks, &n, sizeof n) != sizeof n)
    _exit(1);
  return 0;
}

static lua_State *new_worker(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_loadfile(L, "spec/fault/killed.lua") == 0) {
    lua_pushcfunction(L, luaopen_orrery);
    lua_pushcfunction(L, acknowledge);
    if (lua_pcall(L, 2, 1, 0) == 0)
      return L;
  }
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  exit(2);
}

static void work(lua_State *L, const char *path, int first) {
  lua_pushstring(L, path);
  lua_pushinteger(L, first);
  lua_pcall(L, 2, 0, 0);
  fprintf(stderr, "the worker came to an end: %s\n", lua_tostring(L, -1));
  _exit(1);
}

/* Starts at unit `first`, is killed; returns the last unit that was acknowledged. */
static int killed_at(lua_State *L, const char *path, int first, useconds_t after) {
  int ends[2], n, last = first - 1, status;
  if (pipe(ends) != 0)
    exit(2);
  pid_t process = fork();
  if (process == 0) {
    acks = ends[1];
    work(L, path, first);
  }
  close(ends[1]);
  if (read(ends[0], &n, sizeof n) == sizeof n)
    last = n;
  usleep(after);
  kill(process, SIGKILL);
  waitpid(process, &status, 0);
  while (read(ends[0], &n, sizeof n) == sizeof n)
    last = n;
  close(ends[0]);
  if (!WIFSIGNALED(status))
    last = -1;
  return last;
}

static int number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  int value = -1;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
    value = sqlite3_column_int(statement, 0);
  sqlite3_finalize(statement);
  return value;
}

/* How many units there are, or -1 where one is half there. */
static int count_units(sqlite3 *db, bool thoroughly) {
  int units = number(db, "SELECT count(*) FROM unit");
  bool whole = number(db, "SELECT coalesce(max(id), 0) FROM unit") == units &&
               number(db, "SELECT total FROM account") == units &&
               number(db, "SELECT count(*) FROM line") == units * LINES;
  if (thoroughly)
    whole =
        whole &&
        number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1 &&
        number(db, "SELECT count(*) FROM (SELECT unit_id FROM line GROUP BY unit_id HAVING count(*) = 5)") ==
            units;
  return whole ? units : -1;
}

static int examine(const char *path, bool thoroughly) {
  sqlite3 *db = NULL;
  int units = sqlite3_open(path, &db) == SQLITE_OK ? count_units(db, thoroughly) : -1;
  sqlite3_close(db);
  return units;
}

static void create(const char *path, const char *journal) {
  char sql[500];
  snprintf(sql, sizeof sql,
           "PRAGMA journal_mode = %s; CREATE TABLE account (id INTEGER NOT NULL PRIMARY KEY, total INTEGER "
           "NOT NULL);"
           "CREATE TABLE unit (id INTEGER NOT NULL PRIMARY KEY); CREATE TABLE line (id INTEGER NOT NULL "
           "PRIMARY KEY, "
           "unit_id INTEGER NOT NULL REFERENCES unit (id)); INSERT INTO account VALUES (1, 0)",
           journal);
  judge_sql(path, sql);
}

static long kill_often(lua_State *L, const char *folder, const char *journal, long kills, long *commits) {
  char path[300];
  long bad = 0;
  int units = 0;
  snprintf(path, sizeof path, "%s/killed-%s.db", folder, journal);
  unlink(path);
  create(path, journal);
  for (long i = 1; i <= kills; i++) {
    int acknowledged = killed_at(L, path, units + 1, (useconds_t)(random() % LONGEST));
    units = examine(path, i % 50 == 0 || i == kills);
    if (acknowledged < 0 || units < acknowledged || units > acknowledged + 1) {
      printf("WRONG kill %ld, %s: %d units were acknowledged, %d are there whole\n", i, journal, acknowledged,
             units);
      bad++;
      break;
    }
  }
  *commits += units;
  return bad;
}

int kill_run(const char *folder, long kills) {
  long bad = 0, commits = 0;
  srandom(1);
  lua_State *L = new_worker();
  for (int mode = 0; mode < 2; mode++)
    bad += kill_often(L, folder, MODES_OF_JOURNAL[mode], (kills + 1) / 2, &commits);
  lua_close(L);
  printf("kill: %ld kills, %ld commits, %ld wrong\n", kills, commits, bad);
  return bad > 0;
}
