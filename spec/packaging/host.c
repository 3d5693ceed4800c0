/* host: what a C program may do with orrery.h, as a program that prints what happened. Run by host_spec.lua. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "orrery.h"

static sqlite3 *open_database(void) {
  sqlite3 *db = NULL;
  sqlite3_open(":memory:", &db);
  sqlite3_exec(db, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2)", NULL, NULL, NULL);
  sqlite3_busy_timeout(db, 1234);
  return db;
}

static long count(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &statement, NULL);
  long rows = sqlite3_step(statement) == SQLITE_ROW ? (long)sqlite3_column_int64(statement, 0) : -1;
  sqlite3_finalize(statement);
  return rows;
}

static void run(lua_State *L, const char *script) {
  if (luaL_dostring(L, script))
    printf("error: %s\n", luaL_tolstring(L, -1, NULL));
  lua_settop(L, 0);
}

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "orrery", luaopen_orrery, 1);
  lua_setglobal(L, "orm");
  return L;
}

static void borrow(void) {
  sqlite3 *db = open_database();
  lua_State *L = new_state();
  orr_push_engine(L, db, ORR_BORROW);
  lua_setglobal(L, "engine");
  run(L, "engine:begin(function(conn)\n"
         "  conn:execute(orm.text('INSERT INTO t VALUES (:a)'), { a = 3 })\n"
         "  print('rows', conn:scalar(orm.text('SELECT count(*) FROM t')))\n"
         "  print('busy timeout', conn:scalar(orm.text('PRAGMA busy_timeout')))\n"
         "end)\n"
         "local session = orm.Session(engine)\n"
         "print('session', session:scalar(orm.text('SELECT max(a) FROM t')))\n"
         "session:close()\n"
         "engine:dispose()\n"
         "print(select(2, pcall(engine.connect, engine)).kind)");
  lua_close(L);
  printf("the host still counts %ld\n", count(db));
  printf("closed: %s\n", sqlite3_close(db) == SQLITE_OK ? "yes" : "no");
}

static void own(void) {
  lua_State *L = new_state();
  orr_push_engine(L, open_database(), ORR_OWN);
  lua_setglobal(L, "engine");
  run(L, "local conn = engine:connect()\n"
         "print('own', conn:scalar(orm.text('SELECT count(*) FROM t')))");
  lua_close(L);
}

static int push_foreign(lua_State *L) {
  orr_push_engine_of(L, lua_touserdata(L, 1), ORR_BORROW, "3.0.0");
  return 1;
}

static void refuse_other_copies(void) {
  sqlite3 *db = open_database();
  lua_State *L = new_state();
  lua_pushcfunction(L, push_foreign);
  lua_pushlightuserdata(L, db);
  if (lua_pcall(L, 1, 1, 0) != 0)
    printf("%s\n", strstr(luaL_tolstring(L, -1, NULL), "another copy of SQLite") ? "another copy is refused" : "?");
  lua_close(L);
  sqlite3_close(db);
}

static void *interrupt_soon(void *connection) {
  usleep(50000);
  orr_interrupt(connection);
  return NULL;
}

static void interrupt(void) {
  pthread_t thread;
  lua_State *L = new_state();
  run(L, "engine = orm.create_engine('sqlite://'); conn = engine:connect()");
  lua_getglobal(L, "conn");
  struct orr_connection *connection = orr_to_connection(L, -1);
  lua_pushinteger(L, 5);
  printf("no connection: %s\n", orr_to_connection(L, -1) ? "found" : "none");
  pthread_create(&thread, NULL, interrupt_soon, connection);
  run(L, "local ok, err = pcall(conn.execute, conn, orm.text('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 '\n"
         "  .. 'FROM n) SELECT count(*) FROM n'))\n"
         "print(err.kind, err.message)");
  pthread_join(thread, NULL);
  orr_interrupt(NULL);
  lua_close(L);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  borrow();
  own();
  refuse_other_copies();
  interrupt();
  return 0;
}
