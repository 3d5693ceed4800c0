/* authorizer: what SQLite is asked to allow while it prepares statements, as a Lua module: every connection
 * that is opened after install() reports each action, with the table, column, function or name that it is
 * about. */
#include <lauxlib.h>
#include <sqlite3.h>
#include <string.h>

enum {
  PARTS = 5
}; /* of an action: its number, what two names it is about, the schema, the trigger or view */

static char report[1 << 20]; /* the parts of actions, each with a NUL behind it */
static size_t used;
static int overflown;

static void append(const char *text) {
  size_t size = strlen(text) + 1;
  if (used + size > sizeof report) {
    overflown = 1;
    return;
  }
  memcpy(report + used, text, size);
  used += size;
}

static int record(void *ud, int action, const char *first, const char *second, const char *schema,
                  const char *trigger) {
  char number[12];
  (void)ud;
  sqlite3_snprintf(sizeof number, number, "%d", action);
  append(number);
  append(first ? first : "");
  append(second ? second : "");
  append(schema ? schema : "");
  append(trigger ? trigger : "");
  return SQLITE_OK;
}

static int watch(sqlite3 *db, char **message, const void *api) {
  (void)message, (void)api;
  return sqlite3_set_authorizer(db, record, NULL);
}

static int install(lua_State *L) {
  if (sqlite3_auto_extension((void (*)(void))watch) != SQLITE_OK)
    return luaL_error(L, "SQLite takes no authorizer");
  return 0;
}

static int uninstall(lua_State *L) {
  (void)L;
  sqlite3_cancel_auto_extension((void (*)(void))watch);
  return 0;
}

/* Pushes the action at `start`, an array of its parts; returns where the next one is. */
static size_t push_action(lua_State *L, size_t start) {
  lua_createtable(L, PARTS, 0);
  for (int part = 1; part <= PARTS; part++) {
    lua_pushstring(L, report + start);
    start += strlen(report + start) + 1;
    lua_rawseti(L, -2, part);
  }
  return start;
}

/* An array of the actions since the last call. */
static int take(lua_State *L) {
  if (overflown)
    return luaL_error(L, "more actions than the report has room for");
  lua_newtable(L);
  size_t start = 0;
  for (int i = 1; start < used; i++) {
    start = push_action(L, start);
    lua_rawseti(L, -2, i);
  }
  used = 0;
  return 1;
}

int luaopen_authorizer(lua_State *L);
int luaopen_authorizer(lua_State *L) {
  static const luaL_Reg functions[] = {{"install", install}, {"uninstall", uninstall}, {"take", take}};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushcfunction(L, functions[i].func);
    lua_setfield(L, -2, functions[i].name);
  }
  return 1;
}
