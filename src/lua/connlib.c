/* connlib: connections and statements as handles. Owns every driver object; knows no SQL beyond the markers
   of text(), and nothing of pools or of when a transaction begins.

   A connection lists all its statements, so that closing it finishes them; each statement anchors its
   connection through the connection's own table (see `anchor`). The list runs from the statement used last to
   the one used longest ago: its tail is what a full cache gives up. */
#include "connlib.h"

#include <string.h>

#include "../core/markers.h"
#include "../core/system.h"
#include "../orrery.h"
#include "libs.h"

enum { CACHE_SIZE = 128 };

/* What lies behind an orr_statement. */
typedef struct statement {
  orr_statement base; /* first, so that the two pointers are one */
  struct statement *newer, *older;
  bool standing; /* on a row that step() has reached and no fetch has read */
  size_t len;
  char sql[]; /* len bytes and a NUL */
} statement;

struct orr_connection {
  const orr_driver *driver;
  void *db;             /* NULL: closed, or never opened */
  orr_origin origin;    /* the process that opened it, the only one that may use it */
  bool borrowed;        /* the host's handle: it stays open */
  bool expired;         /* the last statement was stopped by its timeout */
  double timeout;       /* seconds that a statement may run, 0: for ever */
  double deadline;      /* of the statement that runs now, 0: none */
  int stepping;         /* calls into the driver that may call back right now */
  int cached, capacity; /* statements in the cache, and how many may be */
  statement *newest, *oldest;
  orr_loan *loan; /* NULL: the handle is not of another state */
};

/* ---- the list of statements ---- */

static void unlink_statement(orr_connection *connection, statement *s) {
  *(s->newer ? &s->newer->older : &connection->newest) = s->older;
  *(s->older ? &s->older->newer : &connection->oldest) = s->newer;
  s->newer = s->older = NULL;
}

static void link_statement(orr_connection *connection, statement *s) {
  s->older = connection->newest;
  *(s->older ? &s->older->newer : &connection->oldest) = s;
  connection->newest = s;
}

static void touch(orr_connection *connection, statement *s) {
  if (connection->newest != s) {
    unlink_statement(connection, s);
    link_statement(connection, s);
  }
}

/* ---- ending ---- */

/* In a forked child the driver is not called any more: what it undid there would be undone in the parent's
 * file. */
static bool is_usable(const orr_connection *connection) {
  return !orr_origin_is_elsewhere(&connection->origin);
}

static void reset(statement *s) {
  if (s->base.handle && is_usable(s->base.connection))
    s->base.driver->reset(s->base.handle);
  s->base.taken = s->base.active = s->standing = false;
}

static void close_statement(void *block) {
  statement *s = block;
  orr_connection *connection = s->base.connection;
  if (!connection)
    return;
  if (s->base.handle && is_usable(connection))
    s->base.driver->finalize(s->base.handle);
  connection->cached -= s->base.cached;
  unlink_statement(connection, s);
  s->base.handle = NULL;
  s->base.connection = NULL;
  s->base.active = s->base.cached = false;
}

/* A borrowed handle stays open, without what was set up here. */
static void close_handle(orr_connection *connection) {
  if (connection->timeout > 0 || connection->loan)
    connection->driver->watch(connection->db, NULL, NULL);
  if (!connection->borrowed)
    connection->driver->close(connection->db);
}

/* While it steps, a connection cannot be closed: whoever is stepping still holds it. */
static void close_connection(void *block) {
  orr_connection *connection = block;
  if (connection->stepping > 0)
    return;
  while (connection->newest)
    close_statement(connection->newest);
  if (connection->db && is_usable(connection))
    close_handle(connection);
  connection->db = NULL;
  orr_origin_clear(&connection->origin);
}

static const orr_box_kind CONNECTION = {"connection", close_connection};
static const orr_box_kind STATEMENT = {"statement", close_statement};

/* ---- connections ---- */

ORR_API int luaopen_orrery_core(lua_State *L); /* orrery.c */

static void raise_elsewhere(lua_State *L, const orr_connection *connection) {
  orr_raisef(L, "InvalidRequestError",
             "this connection was opened by process %d and does not survive the fork into process %d; call "
             "engine:dispose() in the child and connect again",
             (int)connection->origin.process, (int)orr_process());
}

orr_connection *orr_connection_check(lua_State *L, int index) {
  orr_connection *connection = orr_box_check(L, index, &CONNECTION);
  if (!connection->db)
    orr_raisef(L, "ResourceClosedError", "this connection is closed");
  if (orr_origin_is_elsewhere(&connection->origin))
    raise_elsewhere(L, connection);
  return connection;
}

const orr_driver *orr_connection_driver(const orr_connection *connection) { return connection->driver; }

void *orr_connection_db(const orr_connection *connection) { return connection->db; }

static const orr_driver *find_driver(lua_State *L, int index) {
  static const orr_driver *const drivers[] = {&orr_driver_sqlite};
  const char *name = luaL_checkstring(L, index);
  for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
    if (strcmp(drivers[i]->name, name) == 0)
      return drivers[i];
  orr_raisef(L, "ArgumentError", "there is no driver '%s'", name);
  return NULL;
}

static bool flag(lua_State *L, int options, const char *name, bool fallback) {
  lua_getfield(L, options, name);
  bool value = lua_isnil(L, -1) ? fallback : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static orr_open_options read_options(lua_State *L, int index) {
  orr_open_options options;
  options.readonly = flag(L, index, "readonly", false);
  options.create = flag(L, index, "create", true);
  options.uri = flag(L, index, "uri", false);
  lua_getfield(L, index, "busy_timeout");
  options.busy_timeout = luaL_optnumber(L, -1, 5);
  lua_pop(L, 1);
  if (!(options.busy_timeout >= 0))
    orr_raisef(L, "ArgumentError", "busy_timeout is a number of seconds from 0");
  return options;
}

/* Makes the connection's own table: [1] the connection, [2] its cache, SQL text to statement. The statements
   have the same table as their user value, and anchor their connection by it. */
static void anchor(lua_State *L, int index) {
  index = orr_absindex(L, index);
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, 1);
  lua_newtable(L);
  lua_rawseti(L, -2, 2);
  orr_setuservalue(L, index);
}

/* ---- for a host program ---- */

orr_connection *orr_to_connection(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_checkstack(L, 3))
    return orr_box_test(L, index, &CONNECTION);
  index = orr_absindex(L, index);
  lua_pushliteral(L, "dbc");
  lua_rawget(L, index);
  orr_connection *connection = orr_box_test(L, -1, &CONNECTION);
  lua_pop(L, 1);
  return connection;
}

void orr_interrupt(orr_connection *connection) {
  void *db = connection ? connection->db : NULL;
  if (db)
    connection->driver->interrupt(db);
}

/* ---- timeouts ---- */

/* The driver asks this while a statement runs. */
static int is_late(void *ud) {
  orr_connection *connection = ud;
  const orr_loan *loan = connection->loan;
  double now = orr_clock();
  bool over = loan && loan->deadline > 0 && now >= loan->deadline;
  if (!over && (connection->deadline == 0 || now < connection->deadline))
    return 0;
  connection->expired = true;
  return 1;
}

/* The shorter of what a script has set and what the loan allows; 0: none. */
static double timeout_of(const orr_connection *connection) {
  double own = connection->timeout, lent = connection->loan ? connection->loan->timeout : 0;
  return own == 0 || (lent > 0 && lent < own) ? lent : own;
}

/* From here on the timeout counts, if there is one; what a fault of before has left is forgotten. */
static void start_clock(orr_connection *connection) {
  double timeout = timeout_of(connection);
  connection->expired = false;
  connection->deadline = timeout > 0 ? orr_clock() + timeout : 0;
}

static void watch(orr_connection *connection) {
  bool needed = connection->timeout > 0 || connection->loan;
  connection->driver->watch(connection->db, needed ? is_late : NULL, connection);
}

/* What an error says, where the reason lies here. */
static orr_error explained(const orr_connection *connection, const orr_error *error) {
  orr_error told = *error;
  if (connection->expired)
    orr_error_set(&told, "OperationalError",
                  "the statement was stopped: it ran longer than its timeout of %g s",
                  timeout_of(connection));
  else if (connection->loan && connection->loan->guard.denied[0]) {
    orr_error_set(&told, "ProgrammingError", "%s: the host has not allowed it",
                  connection->loan->guard.denied);
    connection->loan->guard.denied[0] = '\0';
  }
  return told;
}

/* ---- opening ---- */

static orr_connection *new_connection(lua_State *L, const orr_driver *driver) {
  orr_connection *connection = orr_box_new(L, &CONNECTION, sizeof *connection);
  anchor(L, -1);
  connection->driver = driver;
  connection->capacity = CACHE_SIZE;
  orr_origin_init(&connection->origin);
  return connection;
}

static const char CONFINED = 0; /* registry key */

void orr_connection_confine(lua_State *L) {
  lua_pushboolean(L, 1);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &CONFINED);
}

static void check_confinement(lua_State *L) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &CONFINED);
  if (lua_toboolean(L, -1))
    orr_raisef(L, "InvalidRequestError",
               "a script in a sandbox opens no database; the one that the host has given it is 'engine'");
  lua_pop(L, 1);
}

/* connect(driver, target, options) */
static int connect(lua_State *L) {
  size_t len;
  orr_error error;
  check_confinement(L);
  const orr_driver *driver = find_driver(L, 1);
  const char *target = luaL_checklstring(L, 2, &len);
  luaL_checktype(L, 3, LUA_TTABLE);
  if (strlen(target) != len)
    return orr_raisef(L, "ArgumentError", "a database's name cannot hold a NUL byte");
  orr_open_options options = read_options(L, 3);
  orr_connection *connection = new_connection(L, driver);
  lua_getfield(L, 3, "cache_size");
  connection->capacity = (int)luaL_optinteger(L, -1, CACHE_SIZE);
  lua_pop(L, 1);
  orr_error_clear(&error);
  if (driver->open(target, &options, &connection->db, &error) != 0)
    return orr_raise(L, &error);
  return 1;
}

/* The engine over a handle of the host is made in Lua: core.engine_of(connection). */
void orr_push_engine_of(lua_State *L, void *db, int how, const char *version) {
  orr_error error;
  luaL_checkstack(L, 12, "engine");
  luaopen_orrery_core(L);
  lua_getfield(L, -1, "engine_of");
  lua_replace(L, -2);
  orr_connection *connection = new_connection(L, &orr_driver_sqlite);
  connection->borrowed = true;
  orr_error_clear(&error);
  if (connection->driver->adopt(db, version, &connection->db, &error) != 0)
    orr_raise(L, &error);
  lua_pushvalue(L, -1);
  lua_insert(L, -3);
  lua_call(L, 1, 1);
  lua_replace(L, -2);
  connection->borrowed = (how & ORR_OWN) == 0;
}

/* ---- lending ---- */

orr_connection *orr_connection_borrow(lua_State *L, orr_connection *lender, orr_loan *loan) {
  orr_connection *connection = new_connection(L, lender->driver);
  connection->borrowed = true;
  connection->loan = loan;
  connection->db = lender->db;
  watch(connection);
  return connection;
}

void orr_connection_keep(orr_connection *lender, bool kept) { lender->stepping += kept ? 1 : -1; }

/* Nothing of the borrower's state runs any more, so that no call can be on its way into the driver. */
void orr_connection_return(orr_connection *borrower) {
  borrower->stepping = 0;
  close_connection(borrower);
  borrower->loan = NULL;
}

/* What the borrower has not committed is undone. */
void orr_connection_recover(orr_connection *lender) {
  orr_error ignored;
  orr_error_clear(&ignored);
  if (lender->driver->in_transaction(lender->db))
    lender->driver->exec(lender->db, "ROLLBACK", &ignored);
  if (lender->timeout > 0)
    watch(lender);
}

bool orr_connection_in_transaction(const orr_connection *connection) {
  return connection->driver->in_transaction(connection->db);
}

bool orr_connection_is_open(const orr_connection *connection) { return connection->db != NULL; }

int orr_connection_guard(orr_connection *lender, orr_loan *loan, orr_error *error) {
  return lender->driver->guard(lender->db, &loan->guard, error);
}

void orr_connection_unguard(orr_connection *lender, orr_loan *loan) {
  lender->driver->unguard(lender->db, &loan->guard);
}

static int connection_close(lua_State *L) {
  orr_connection *connection = orr_box_check(L, 1, &CONNECTION);
  if (connection->stepping > 0)
    return orr_raisef(L, "InvalidRequestError", "a connection cannot be closed while it runs a statement");
  close_connection(connection);
  return 0;
}

static int connection_is_open(lua_State *L) {
  orr_connection *connection = orr_box_check(L, 1, &CONNECTION);
  lua_pushboolean(L, connection->db != NULL);
  return 1;
}

/* Adds the SQL text to the error object on top. */
static void add_statement(lua_State *L, const char *sql, size_t len) {
  lua_pushlstring(L, sql, len);
  lua_setfield(L, -2, "statement");
}

void orr_connection_run(lua_State *L, orr_connection *connection, const char *sql, size_t len) {
  orr_error error;
  orr_error_clear(&error);
  start_clock(connection);
  if (!connection->loan)
    connection->deadline = 0; /* a commit takes the time that it takes */
  connection->stepping++;
  int code = connection->driver->exec(connection->db, sql, &error);
  connection->stepping--;
  if (code == 0)
    return;
  error = explained(connection, &error);
  orr_error_push(L, &error);
  add_statement(L, sql, len);
  lua_error(L);
}

static int connection_exec(lua_State *L) {
  size_t len;
  orr_connection *connection = orr_connection_check(L, 1);
  const char *sql = luaL_checklstring(L, 2, &len);
  orr_connection_run(L, connection, sql, len);
  return 0;
}

static int connection_in_transaction(lua_State *L) {
  orr_connection *connection = orr_connection_check(L, 1);
  lua_pushboolean(L, connection->driver->in_transaction(connection->db));
  return 1;
}

static int connection_changes(lua_State *L) {
  orr_connection *connection = orr_connection_check(L, 1);
  lua_pushinteger(L, (lua_Integer)connection->driver->changes(connection->db));
  return 1;
}

static int connection_last_insert_id(lua_State *L) {
  static const orr_type integer = {ORR_KIND_INTEGER, ORR_AS_DEFAULT, 0, 0, 0};
  orr_connection *connection = orr_connection_check(L, 1);
  orr_value value = {ORR_INT, 0, {connection->driver->last_insert_id(connection->db)}};
  orr_type_push(L, &integer, &value);
  return 1;
}

static int connection_interrupt(lua_State *L) {
  orr_connection *connection = orr_connection_check(L, 1);
  connection->driver->interrupt(connection->db);
  return 0;
}

/* set_timeout(seconds): how long a statement may run in one go, 0: for ever */
static int connection_set_timeout(lua_State *L) {
  orr_connection *connection = orr_connection_check(L, 1);
  double seconds = luaL_checknumber(L, 2);
  luaL_argcheck(L, seconds >= 0, 2, "seconds from 0 expected");
  connection->timeout = seconds;
  watch(connection);
  return 0;
}

/* reset_all(): ends every cursor that is still open. */
static int connection_reset_all(lua_State *L) {
  orr_connection *connection = orr_connection_check(L, 1);
  for (statement *s = connection->newest; s; s = s->older)
    if (s->base.active)
      reset(s);
  return 0;
}

/* ---- preparing ---- */

void orr_statement_error(lua_State *L, orr_statement *base, const orr_error *error) {
  statement *s = (statement *)base;
  orr_error told = explained(base->connection, error);
  orr_error_push(L, &told);
  add_statement(L, s->sql, s->len);
}

void orr_statement_hold(orr_statement *base, bool held) {
  if (held)
    start_clock(base->connection);
  base->connection->stepping += held ? 1 : -1;
  base->active = base->active || held;
}

void orr_statement_restart(orr_statement *base) { start_clock(base->connection); }

void orr_statement_sql(lua_State *L, const orr_statement *base) {
  const statement *s = (const statement *)base;
  lua_pushlstring(L, s->sql, s->len);
}

void orr_statement_reset(orr_statement *base) { reset((statement *)base); }

static int raise(lua_State *L, statement *s, const orr_error *error) {
  orr_statement_error(L, &s->base, error);
  return lua_error(L);
}

/* Whether nothing but blanks and comments follows the first statement. */
static bool is_single(const statement *s, size_t used) {
  orr_error ignored;
  const orr_connection *connection = s->base.connection;
  while (used < s->len) {
    void *next = NULL;
    size_t more = 0;
    orr_error_clear(&ignored);
    if (connection->driver->prepare(connection->db, s->sql + used, s->len - used, &next, &more, &ignored) !=
        0)
      return false;
    if (next) {
      connection->driver->finalize(next);
      return false;
    }
    used += more;
  }
  return true;
}

/* A boxed statement, linked to its connection but not prepared; its table is on top of the stack before, its
   box afterwards. */
static statement *new_statement(lua_State *L, orr_connection *connection, const char *sql, size_t len) {
  statement *s = orr_box_new(L, &STATEMENT, sizeof *s + len + 1);
  lua_pushvalue(L, -2);
  orr_setuservalue(L, -2);
  memcpy(s->sql, sql, len);
  s->len = len;
  s->base.driver = connection->driver;
  s->base.connection = connection;
  link_statement(connection, s);
  return s;
}

static void prepare(lua_State *L, statement *s) {
  orr_error error;
  size_t used = 0;
  orr_connection *connection = s->base.connection;
  orr_error_clear(&error);
  if (memchr(s->sql, '\0', s->len))
    orr_error_set(&error, "ProgrammingError", "a statement cannot hold a NUL byte (values may: bind them)");
  else if (connection->driver->prepare(connection->db, s->sql, s->len, &s->base.handle, &used, &error) == 0) {
    if (!s->base.handle)
      orr_error_set(&error, "ProgrammingError", "there is no statement in this text");
    else if (!is_single(s, used))
      orr_error_set(&error, "ProgrammingError",
                    "one statement at a time: this text holds more than one; run them one after the other");
  }
  if (error.kind)
    raise(L, s, &error);
  s->base.columns = connection->driver->column_count(s->base.handle);
}

/* Takes `s` out of the cache table at `cache` and finishes it. */
static void evict(lua_State *L, int cache, statement *s) {
  lua_pushlstring(L, s->sql, s->len);
  lua_pushnil(L);
  lua_rawset(L, cache);
  close_statement(s);
}

/* Gives up idle statements, longest unused first, until the cache is within its bound. */
static void shrink(lua_State *L, int cache, orr_connection *connection) {
  statement *s = connection->oldest;
  while (s && connection->cached > connection->capacity) {
    statement *newer = s->newer;
    if (s->base.cached && orr_statement_is_idle(&s->base) && s != connection->newest)
      evict(L, cache, s);
    s = newer;
  }
}

/* Puts the statement on top of the stack into the cache table. */
static void remember(lua_State *L, int cache, int sql, statement *s) {
  lua_pushvalue(L, sql);
  lua_pushvalue(L, -2);
  lua_rawset(L, cache);
  s->base.cached = true;
  s->base.connection->cached++;
  shrink(L, cache, s->base.connection);
}

/* Expects the SQL text at `sql`, leaves the statement on top. */
static statement *statement_for(lua_State *L, int connection_index, int sql) {
  size_t len;
  orr_connection *connection = orr_connection_check(L, connection_index);
  const char *text = lua_tolstring(L, sql, &len);
  start_clock(connection);
  orr_getuservalue(L, connection_index);
  lua_rawgeti(L, -1, 2);
  int cache = lua_gettop(L);
  lua_pushvalue(L, sql);
  lua_rawget(L, cache);
  statement *s = lua_touserdata(L, -1);
  bool known = s && s->base.handle;
  if (s && orr_statement_is_idle(&s->base)) {
    touch(connection, s);
    return s;
  }
  lua_pushvalue(L, cache - 1);
  s = new_statement(L, connection, text, len);
  prepare(L, s);
  if (!known)
    remember(L, cache, sql, s);
  return s;
}

orr_statement *orr_statement_push(lua_State *L, int connection_index, const char *sql, size_t len) {
  luaL_checkstack(L, 16, "statement");
  connection_index = orr_absindex(L, connection_index);
  int top = lua_gettop(L);
  lua_pushlstring(L, sql, len);
  statement *s = statement_for(L, connection_index, top + 1);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return &s->base;
}

orr_statement *orr_statement_check(lua_State *L, int index) {
  orr_statement *base = orr_box_check(L, index, &STATEMENT);
  if (!base->handle)
    orr_raisef(L, "ResourceClosedError", "this statement is closed");
  return base;
}

static int connection_prepare(lua_State *L) {
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  statement_for(L, 1, 2);
  return 1;
}

/* ---- running ---- */

/* Runs to the next row; a statement that fails is reset. The first step may find that the tables have changed
   since it was prepared, and with them the columns of a "SELECT *". */
static bool step(lua_State *L, statement *s) {
  orr_error error;
  bool first = !s->base.active;
  orr_error_clear(&error);
  s->base.active = true;
  s->standing = false;
  s->base.connection->stepping++;
  int code = s->base.driver->step(s->base.handle, &error);
  s->base.connection->stepping--;
  if (first)
    s->base.columns = s->base.driver->column_count(s->base.handle);
  if (code != ORR_STEP_ROW)
    reset(s);
  if (code < 0)
    raise(L, s, &error);
  return s->base.active;
}

/* Whether there is a row to read: the one that the statement stands on, or the next. */
static bool advance(lua_State *L, statement *s) {
  bool ready = s->standing || step(L, s);
  s->standing = false;
  return ready;
}

static void read_row(lua_State *L, statement *s, orr_value *values, int count) {
  orr_error error;
  if (s->base.driver->row(s->base.handle, 0, values, count) == 0)
    return;
  reset(s);
  orr_error_clear(&error);
  orr_error_set(&error, "OperationalError", "out of memory");
  raise(L, s, &error);
}

static const orr_type ANY = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};

/* The type handle of `list[position]`; ANY where there is no list or no handle. */
static const orr_type *type_at(lua_State *L, int list, int position) {
  if (!lua_istable(L, list))
    return &ANY;
  lua_rawgeti(L, list, position);
  const orr_type *type = lua_toboolean(L, -1) ? orr_type_check(L, -1) : &ANY;
  lua_pop(L, 1);
  return type;
}

/* "parameter 'name': ..." where the list of names at `names` says one, else by its number. */
static int raise_parameter(lua_State *L, statement *s, int position, int names, orr_error *error) {
  orr_error named = *error;
  const char *name = NULL;
  if (lua_istable(L, names)) {
    lua_rawgeti(L, names, position);
    name = lua_tostring(L, -1);
  }
  if (name)
    orr_error_set(&named, error->kind, "parameter '%.200s': %.800s", name, error->message);
  else
    orr_error_set(&named, error->kind, "parameter %d: %.800s", position, error->message);
  return raise(L, s, &named);
}

/* Copies the value on top in, popped; false with the fault. */
static bool bind_top(lua_State *L, statement *s, int position, const orr_type *type, orr_error *error) {
  orr_value value;
  char scratch[ORR_TYPE_SCRATCH];
  bool bound = orr_type_take(L, -1, type, &value, scratch, error) == 0 &&
               s->base.driver->bind(s->base.handle, position, &value, true, error) == 0;
  lua_pop(L, 1);
  return bound;
}

static void check_count(lua_State *L, statement *s, int count) {
  orr_error error;
  int wanted = s->base.driver->parameter_count(s->base.handle);
  if (wanted == count)
    return;
  orr_error_clear(&error);
  orr_error_set(&error, "ProgrammingError", "the statement has %d parameter%s, but %d %s given", wanted,
                wanted == 1 ? "" : "s", count, count == 1 ? "was" : "were");
  raise(L, s, &error);
}

orr_statement *orr_statement_push_for(lua_State *L, int connection_index, int sql) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 16, "statement");
  statement *s = statement_for(L, connection_index, sql);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return &s->base;
}

void orr_statement_give(lua_State *L, orr_statement *base, const orr_value *values, int count) {
  orr_error error;
  statement *s = (statement *)base;
  check_count(L, s, count);
  orr_error_clear(&error);
  for (int i = 0; i < count; i++)
    if (base->driver->bind(base->handle, i + 1, &values[i], true, &error) < 0)
      raise(L, s, &error);
  base->taken = true;
}

/* stmt:bind(values, n, handles, names): copies n values in. */
static int statement_bind(lua_State *L) {
  orr_error error;
  statement *s = (statement *)orr_statement_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)luaL_checkinteger(L, 3);
  lua_settop(L, 5);
  reset(s);
  check_count(L, s, count);
  orr_error_clear(&error);
  for (int position = 1; position <= count; position++) {
    const orr_type *type = type_at(L, 4, position);
    lua_rawgeti(L, 2, position);
    if (!bind_top(L, s, position, type, &error))
      raise_parameter(L, s, position, 5, &error);
  }
  lua_settop(L, 1);
  return 1;
}

/* ---- statements with the types of their values ---- */

/* What is the same each time that a statement is opened. Its user value has the SQL, the types' handles and
   the names of parameters. */
typedef struct order {
  int count;
  const orr_type *types[];
} order;

enum { ORDER_SQL = 1, ORDER_HANDLES, ORDER_NAMES };

static const orr_box_kind ORDER = {"order", NULL};

/* core.order(sql, n, handles, names) -> what open() takes */
static int new_order(lua_State *L) {
  luaL_checkstring(L, 1);
  int count = orr_check_place(L, 2) + 1;
  luaL_argcheck(L, count >= 0 && count <= UINT16_MAX, 2, "number of parameters expected");
  lua_settop(L, 4);
  order *o = orr_box_new(L, &ORDER, sizeof *o + (size_t)count * sizeof(orr_type *));
  lua_createtable(L, ORDER_NAMES, 0);
  for (int place = ORDER_SQL; place <= ORDER_NAMES; place++) {
    lua_pushvalue(L, place == ORDER_SQL ? 1 : place + 1);
    lua_rawseti(L, -2, place);
  }
  orr_setuservalue(L, -2);
  o->count = count;
  for (int i = 0; i < count; i++)
    o->types[i] = type_at(L, 3, i + 1);
  return 1;
}

/* Where the values of an order are: in a list, or on the stack from `at` on. */
typedef struct source {
  int at;
  bool listed;
} source;

static void bind_values(lua_State *L, statement *s, const order *o, source values, int order_table) {
  orr_error error;
  orr_error_clear(&error);
  for (int i = 0; i < o->count; i++) {
    if (values.listed)
      lua_rawgeti(L, values.at, i + 1);
    else
      lua_pushvalue(L, values.at + i);
    if (!bind_top(L, s, i + 1, o->types[i], &error)) {
      lua_rawgeti(L, order_table, ORDER_NAMES);
      raise_parameter(L, s, i + 1, lua_gettop(L), &error);
    }
  }
}

static orr_statement *open_order(lua_State *L, int connection_index, int order_index, source values) {
  int table = lua_gettop(L) + 1;
  const order *o = lua_touserdata(L, order_index);
  luaL_checkstack(L, 16, "statement");
  orr_getuservalue(L, order_index);
  lua_rawgeti(L, table, ORDER_SQL);
  statement *s = statement_for(L, connection_index, table + 1);
  lua_replace(L, table + 1);
  lua_settop(L, table + 1);
  check_count(L, s, o->count);
  bind_values(L, s, o, values, table);
  s->base.taken = true;
  lua_remove(L, table);
  return &s->base;
}

orr_statement *orr_statement_open(lua_State *L, int connection_index, int order_index, int values) {
  orr_box_check(L, order_index, &ORDER);
  luaL_checktype(L, values, LUA_TTABLE);
  return open_order(L, connection_index, order_index, (source){values, true});
}

orr_statement *orr_statement_open_with(lua_State *L, int connection_index, int order_index, int first,
                                       int count) {
  const order *o = orr_box_check(L, order_index, &ORDER);
  luaL_argcheck(L, o->count == count, order_index, "as many values as parameters expected");
  return open_order(L, connection_index, order_index, (source){first, false});
}

/* open(order, values) -> statement: prepared, with copies of the values */
static int connection_open(lua_State *L) {
  lua_settop(L, 3);
  orr_statement_open(L, 1, 2, 3);
  return 1;
}

/* stmt:step() -> whether it stands on a row, which the next fetch then begins with */
static int statement_step(lua_State *L) {
  statement *s = (statement *)orr_statement_check(L, 1);
  start_clock(s->base.connection);
  s->standing = step(L, s);
  lua_pushboolean(L, s->standing);
  return 1;
}

/* What the loops below need for each column; a userdata on the stack owns it. */
typedef struct reader {
  orr_value *values;
  const orr_type **types;
} reader;

static reader new_reader(lua_State *L, int columns) {
  reader r;
  size_t count = columns > 0 ? (size_t)columns : 1;
  r.values = lua_newuserdata(L, count * (sizeof *r.values + sizeof *r.types));
  r.types = (const orr_type **)(r.values + count);
  return r;
}

/* The number of rows to read at most. */
static int row_limit(lua_State *L, int index) {
  lua_Number limit = luaL_optnumber(L, index, INT32_MAX);
  return limit < INT32_MAX ? (int)limit : INT32_MAX;
}

static void push_row(lua_State *L, const reader *r, int columns, int metatable) {
  lua_createtable(L, columns, 0);
  for (int i = 0; i < columns; i++) {
    if (r->values[i].tag == ORR_NULL)
      continue;
    orr_type_push(L, r->types[i], &r->values[i]);
    lua_rawseti(L, -2, i + 1);
  }
  if (metatable) {
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
  }
}

/* A row owns nothing that would have to be given back; a script's finalizer would run where nothing can stop
 * it.
 */
static void check_metatable(lua_State *L, int metatable) {
  if (!metatable)
    return;
  lua_pushliteral(L, "__gc");
  lua_rawget(L, metatable);
  if (!lua_isnil(L, -1))
    orr_raisef(L, "ArgumentError", "the metatable of rows cannot have a finalizer, __gc");
  lua_pop(L, 1);
}

/* stmt:fetch(handles, metatable, max) -> rows, done */
static int statement_fetch(lua_State *L) {
  statement *s = (statement *)orr_statement_check(L, 1);
  int limit = row_limit(L, 4), metatable = lua_istable(L, 3) ? 3 : 0, count = 0;
  lua_settop(L, 4);
  check_metatable(L, metatable);
  start_clock(s->base.connection);
  bool more = limit > 0 && advance(L, s);
  reader r = new_reader(L, s->base.columns);
  for (int i = 0; i < s->base.columns; i++)
    r.types[i] = type_at(L, 2, i + 1);
  lua_newtable(L);
  for (; more; more = count < limit && step(L, s)) {
    read_row(L, s, r.values, s->base.columns);
    push_row(L, &r, s->base.columns, metatable);
    lua_rawseti(L, -2, ++count);
  }
  lua_pushboolean(L, !s->base.active);
  return 2;
}

static void push_element(lua_State *L, const orr_type *type, const orr_value *value) {
  if (value->tag == ORR_NULL)
    lua_pushlightuserdata(L, NULL);
  else
    orr_type_push(L, type, value);
}

/* stmt:fetch_column(column, handle, max) -> values, done */
static int statement_fetch_column(lua_State *L) {
  statement *s = (statement *)orr_statement_check(L, 1);
  int column = (int)luaL_checkinteger(L, 2), limit = row_limit(L, 4), count = 0;
  const orr_type *type = lua_toboolean(L, 3) ? orr_type_check(L, 3) : &ANY;
  start_clock(s->base.connection);
  bool more = limit > 0 && advance(L, s);
  if (column < 1 || column > s->base.columns)
    return orr_raisef(L, "ArgumentError", "the statement has no column %d", column);
  reader r = new_reader(L, column);
  lua_newtable(L);
  for (; more; more = count < limit && step(L, s)) {
    read_row(L, s, r.values, column);
    push_element(L, type, &r.values[column - 1]);
    lua_rawseti(L, -2, ++count);
  }
  lua_pushboolean(L, !s->base.active);
  return 2;
}

static const char *column_name(lua_State *L, const orr_statement *base, int column) {
  const char *name = base->driver->column_name(base->handle, column);
  if (!name)
    orr_raisef(L, "OperationalError", "out of memory");
  return name;
}

static bool has_names(lua_State *L, const orr_statement *base, int list) {
  bool same = lua_istable(L, list) && (int)orr_rawlen(L, list) == base->columns;
  for (int i = 0; same && i < base->columns; i++) {
    lua_rawgeti(L, list, i + 1);
    const char *known = lua_tostring(L, -1);
    same = known && strcmp(known, column_name(L, base, i)) == 0;
    lua_pop(L, 1);
  }
  return same;
}

/* stmt:columns(known) -> names: `known` itself where it holds these names */
static int statement_columns(lua_State *L) {
  orr_statement *base = orr_statement_check(L, 1);
  lua_settop(L, 2);
  if (has_names(L, base, 2))
    return 1;
  lua_createtable(L, base->columns, 0);
  for (int i = 0; i < base->columns; i++) {
    lua_pushstring(L, column_name(L, base, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int statement_readonly(lua_State *L) {
  orr_statement *base = orr_statement_check(L, 1);
  lua_pushboolean(L, base->driver->readonly(base->handle));
  return 1;
}

/* Accepts a closed statement: ending what has ended is no fault. */
static int statement_reset(lua_State *L) {
  reset(orr_box_check(L, 1, &STATEMENT));
  return 0;
}

static int statement_sql(lua_State *L) {
  statement *s = orr_box_check(L, 1, &STATEMENT);
  lua_pushlstring(L, s->sql, s->len);
  return 1;
}

/* ---- the markers of text() ---- */

static void append(lua_State *L, int list, int position, const char *text, size_t len) {
  lua_pushlstring(L, text, len);
  lua_rawseti(L, list, position);
}

static int raise_foreign(lua_State *L, const char *marker, size_t len) {
  lua_pushlstring(L, marker, len);
  return orr_raisef(L, "ArgumentError", "text(): the marker '%s' is written :name here", lua_tostring(L, -1));
}

/* split(sql) -> pieces, names: the text around its markers (one piece more than markers), and their names */
static int split(lua_State *L) {
  size_t len, name_len;
  const char *name, *sql = luaL_checklstring(L, 1, &len);
  if (memchr(sql, '\0', len))
    return orr_raisef(L, "ArgumentError", "text(): SQL cannot hold a NUL byte (values may: bind them)");
  lua_settop(L, 1);
  char *piece = lua_newuserdata(L, len + 1);
  orr_markers markers = {sql, sql, sql + len, piece};
  lua_newtable(L);
  lua_newtable(L);
  int count = 1;
  orr_marker marker;
  while ((marker = orr_markers_next(&markers, &name, &name_len)) != ORR_MARKER_NONE) {
    if (marker == ORR_MARKER_FOREIGN)
      return raise_foreign(L, name, name_len);
    append(L, 3, count, piece, (size_t)(markers.out - piece));
    append(L, 4, count++, name, name_len);
    piece = markers.out;
  }
  append(L, 3, count, piece, (size_t)(markers.out - piece));
  return 2;
}

/* ---- what the system says ---- */

static int clock_now(lua_State *L) {
  lua_pushnumber(L, orr_clock());
  return 1;
}

static int process(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)orr_process());
  return 1;
}

static int stderr_is_terminal(lua_State *L) {
  lua_pushboolean(L, orr_stderr_is_terminal());
  return 1;
}

void orr_conn_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"connect", connect}, {"order", new_order},
                                       {"split", split},     {"clock", clock_now},
                                       {"process", process}, {"stderr_is_terminal", stderr_is_terminal},
                                       {NULL, NULL}};
  static const luaL_Reg connection[] = {
      {"prepare", connection_prepare},     {"open", connection_open},
      {"exec", connection_exec},           {"in_transaction", connection_in_transaction},
      {"changes", connection_changes},     {"last_insert_id", connection_last_insert_id},
      {"interrupt", connection_interrupt}, {"set_timeout", connection_set_timeout},
      {"reset_all", connection_reset_all}, {"is_open", connection_is_open},
      {"close", connection_close},         {NULL, NULL}};
  static const luaL_Reg statement[] = {{"bind", statement_bind},
                                       {"step", statement_step},
                                       {"fetch", statement_fetch},
                                       {"fetch_column", statement_fetch_column},
                                       {"columns", statement_columns},
                                       {"readonly", statement_readonly},
                                       {"reset", statement_reset},
                                       {"sql", statement_sql},
                                       {NULL, NULL}};
  orr_box_define(L, &CONNECTION, connection);
  orr_box_define(L, &STATEMENT, statement);
  orr_box_define(L, &ORDER, NULL);
  lua_pop(L, 3);
  orr_setfuncs(L, functions);
}
