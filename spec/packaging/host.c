/* host: what a C program may do with orrery.h, as a program that prints what happened. Run by host_spec.lua. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
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

static void print_field(const char *name, const orr_field *field) {
  switch (field->kind) {
  case ORR_GOT_INTEGER:
    printf("%s: integer %lld\n", name, (long long)field->integer);
    break;
  case ORR_GOT_NUMBER:
    printf("%s: number %g\n", name, field->number);
    break;
  case ORR_GOT_TEXT:
  case ORR_GOT_BYTES:
    printf("%s: %s of %zu, '", name, field->kind == ORR_GOT_TEXT ? "text" : "bytes", field->len);
    fwrite(field->bytes, 1, field->len, stdout);
    printf("'\n");
    break;
  default:
    printf("%s: %s\n", name,
           field->kind == ORR_GOT_NULL ? "null" : field->kind == ORR_GOT_UNLOADED ? "unloaded" : "nothing");
  }
}

static void print_global(lua_State *L, const char *object, const char *name) {
  orr_field field;
  lua_getglobal(L, object);
  orr_get(L, -1, orr_attr(L, -1, name), &field);
  print_field(name, &field);
  lua_pop(L, 1);
}

static void print_all(lua_State *L, const char *object) {
  static const char *const names[] = {"id", "name", "photo", "size", "paid", "born", "note"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    print_global(L, object, names[i]);
}

/* Reads attributes of new, stored, changed, expired and detached objects, and of what is no object. */
static void read_objects(void) {
  lua_State *L = new_state();
  run(L, "local Base = orm.declarative_base()\n"
         "User = Base:model('User', { __tablename__ = 'u', id = orm.Mapped(orm.Integer, { primary_key = true }),\n"
         "  name = orm.Mapped(orm.Text), photo = orm.Mapped(orm.Optional(orm.LargeBinary)),\n"
         "  size = orm.Mapped(orm.Float), paid = orm.Mapped(orm.Boolean), born = orm.Mapped(orm.Date),\n"
         "  note = orm.Mapped(orm.Optional(orm.Text)), boss_id = orm.Mapped(orm.Optional(orm.Integer), orm.ForeignKey('u.id')),\n"
         "  boss = orm.relationship('User', { remote_side = 'id' }) })\n"
         "engine = orm.create_engine('sqlite://')\n"
         "Base.metadata:create_all(engine)\n"
         "session = orm.Session(engine)\n"
         "user = User{ name = 'ann', photo = 'a\\0b', size = 1.5, paid = true, born = '2024-02-29' }\n");
  print_all(L, "user");
  run(L, "session:add(user); session:flush(); user.name = 'bea'; user.photo = nil");
  print_all(L, "user");
  run(L, "session:commit()");
  print_global(L, "user", "name");
  run(L, "local _ = user.id");
  print_all(L, "user");
  run(L, "session:expunge(user)");
  print_global(L, "user", "name");
  print_global(L, "user", "boss");
  print_global(L, "user", "nmae");
  print_global(L, "User", "name");
  print_global(L, "session", "name");
  print_global(L, "print", "name");
  print_global(L, "nowhere", "name");
  lua_getglobal(L, "User");
  printf("by the class: %s\n", orr_attr(L, -1, "name") == 1 ? "the same number" : "another");
  printf("stack: %d\n", lua_gettop(L));
  lua_close(L);
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

/* A query for objects, on the connection of a session. */
static void interrupt_session(void) {
  pthread_t thread;
  lua_State *L = new_state();
  run(L, "local Base = orm.declarative_base()\n"
         "User = Base:model('User', { __tablename__ = 'u', id = orm.Mapped(orm.Integer, { primary_key = true }) })\n"
         "engine = orm.create_engine('sqlite://')\n"
         "Base.metadata:create_all(engine)\n"
         "session = orm.Session(engine); session:add(User{}); session:commit(); conn = session:connection()");
  lua_getglobal(L, "conn");
  pthread_create(&thread, NULL, interrupt_soon, orr_to_connection(L, -1));
  run(L, "local slow = orm.select(User):where(orm.text('(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 '\n"
         "  .. 'FROM n) SELECT count(*) FROM n) > 0'))\n"
         "local ok, err = pcall(session.scalars, session, slow)\n"
         "print(err.kind, err.message, session:query(User):count())");
  pthread_join(thread, NULL);
  lua_close(L);
}

/* A state without Lua's libraries, with base alone, and with all that are needed. */
static void open_without_libraries(void) {
  static const luaL_Reg libraries[] = {{"_G", luaopen_base},           {LUA_STRLIBNAME, luaopen_string},
                                       {LUA_TABLIBNAME, luaopen_table}, {LUA_MATHLIBNAME, luaopen_math},
                                       {LUA_COLIBNAME, luaopen_coroutine}};
  lua_State *L = luaL_newstate();
  for (size_t i = 0; i <= sizeof libraries / sizeof *libraries; i++) {
    lua_pushcfunction(L, luaopen_orrery);
    bool fine = lua_pcall(L, 0, 1, 0) == 0;
    printf("%d libraries: %.52s\n", (int)i, fine ? "open" : lua_tostring(L, -1));
    lua_settop(L, 0);
    if (i < sizeof libraries / sizeof *libraries)
      luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
  }
  lua_close(L);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  borrow();
  own();
  refuse_other_copies();
  read_objects();
  interrupt();
  interrupt_session();
  open_without_libraries();
  return 0;
}
