/* sandboxlib: runs scripts that are not trusted, each sandbox in a Lua state of its own: it shares no object
   with the host's state, so that no metatable, table or function of the host can be reached, and the state's
   allocator is the exact bound of its memory. The database's handle is lent to it for a run, under a guard.
   What the script finds in its globals is confine.c's.

   Values cross as parcels. No error crosses: while one state runs protected, the other is not called, except
   by the functions that the host offers, which are protected in both. */
#include "sandbox.h"

#include <ctype.h>
#include <string.h>

#include "../core/system.h"
#include "../orrery.h"
#include "libs.h"

typedef struct table_right {
  char *name;
  size_t len;
  unsigned rights;
} table_right;

typedef struct sandbox {
  orr_alloc alloc; /* the host's */
  lua_State *L;    /* NULL: closed */
  lua_State *host; /* the host's state while a script runs, else NULL */
  size_t used, most, collect_at;
  double instructions, left, seconds;
  const char *stopped; /* the bound that the script has met: "instructions" or "time" */
  const char *outcome; /* of the last run: NULL or "error", "memory" */
  table_right *tables;
  size_t table_count;
  orr_loan loan;
  orr_connection *lender, *borrower;
  orr_parcel in, out;
  const char *text, *name;
  size_t len;
} sandbox;

/* ---- bounds ---- */

static void *allocate(void *ud, void *block, size_t old_size, size_t new_size) {
  sandbox *s = ud;
  if (!block)
    old_size = 0; /* Lua says there what it is for */
  if (new_size > old_size && new_size - old_size > s->most - s->used)
    return NULL;
  void *moved = s->alloc.resize(s->alloc.ud, block, old_size, new_size);
  if (moved || new_size == 0)
    s->used = s->used - old_size + new_size;
  return moved;
}

static sandbox *sandbox_of(lua_State *L) {
  void *ud;
  lua_getallocf(L, &ud);
  return ud;
}

static void tick(lua_State *L, lua_Debug *frame);

static int stop(lua_State *L, sandbox *s) {
  lua_sethook(L, tick, LUA_MASKCOUNT, 1);
  return luaL_error(L, "the sandbox's limit of %s is reached", s->stopped);
}

/* 5.1 and LuaJIT do not collect garbage when memory runs out: it is done before, once for each sixteenth of
 * it. */
static void make_room(lua_State *L, sandbox *s) {
#if LUA_VERSION_NUM < 502
  if (s->used < s->most - s->most / 4 || s->used < s->collect_at)
    return;
  lua_gc(L, LUA_GCCOLLECT, 0);
  s->collect_at = s->used + s->most / 16;
#else
  (void)L;
  (void)s;
#endif
}

void orr_sandbox_charge(lua_State *L, double steps) {
  sandbox *s = sandbox_of(L);
  s->left -= steps;
  if (!s->stopped && s->left < 0)
    s->stopped = "instructions";
  if (!s->stopped && s->loan.deadline > 0 && orr_clock() > s->loan.deadline)
    s->stopped = "time";
  if (s->stopped)
    stop(L, s);
}

/* No more than some seconds' worth at once. */
double orr_sandbox_left(lua_State *L) {
  double left = 4 * sandbox_of(L)->left + 4;
  return left < 4 ? 4 : left > 1e9 ? 1e9 : left;
}

static void tick(lua_State *L, lua_Debug *frame) {
  (void)frame;
  orr_sandbox_charge(L, ORR_SANDBOX_STEP);
  make_room(L, sandbox_of(L));
}

/* ---- rights ---- */

/* As SQL compares names. */
static bool is_named(const table_right *entry, const char *table) {
  size_t i = 0;
  for (; i < entry->len && table[i]; i++)
    if (tolower((unsigned char)entry->name[i]) != tolower((unsigned char)table[i]))
      return false;
  return i == entry->len && !table[i];
}

/* Of one table; NULL: of all together. */
static unsigned rights(void *ud, const char *table) {
  const sandbox *s = ud;
  unsigned all = 0;
  for (size_t i = 0; i < s->table_count; i++)
    if (!table || is_named(&s->tables[i], table))
      all |= s->tables[i].rights;
  return all;
}

/* ---- closing ---- */

static void close_state(sandbox *s) {
  lua_State *L = s->L;
  s->L = NULL;
  if (L)
    lua_close(L);
}

static void close_sandbox(void *block) {
  sandbox *s = block;
  if (s->host)
    return; /* its script runs: whoever runs it holds it */
  close_state(s);
  for (size_t i = 0; i < s->table_count; i++)
    orr_alloc_free(&s->alloc, s->tables[i].name, s->tables[i].len + 1, 1);
  if (s->tables)
    orr_alloc_free(&s->alloc, s->tables, s->table_count, sizeof *s->tables);
  s->tables = NULL;
  s->table_count = 0;
  orr_parcel_clear(&s->in);
  orr_parcel_clear(&s->out);
}

static const orr_box_kind SANDBOX = {"sandbox", close_sandbox};

/* ---- inside ---- */

/* Calls fn(L) with `s` as light userdata at index 1; nothing escapes. */
static int protect(lua_State *L, lua_CFunction fn, sandbox *s) {
#if LUA_VERSION_NUM >= 502
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, s);
  return lua_pcall(L, 1, 0, 0);
#else
  return lua_cpcall(L, fn, s);
#endif
}

static const char BORROWER = 0; /* registry key */

/* What the script's engine connects with. */
static int lend(lua_State *L) {
  sandbox *s = sandbox_of(L);
  if (s->borrower && orr_connection_is_open(s->borrower)) {
    orr_rawgetp(L, LUA_REGISTRYINDEX, &BORROWER);
    return 1;
  }
  orr_connection *borrower = orr_connection_borrow(L, s->lender, &s->loan);
  lua_pushvalue(L, -1);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &BORROWER);
  s->borrower = borrower;
  return 1;
}

ORR_API int luaopen_orrery_core(lua_State *L); /* orrery.c */

static void open_engine(lua_State *L) {
  int top = lua_gettop(L);
  luaopen_orrery_core(L);
  lua_getfield(L, -1, "engine_over");
  lua_pushcfunction(L, lend);
  lua_call(L, 1, 1);
  lua_setglobal(L, "engine");
  lua_settop(L, top);
}

static int open_state(lua_State *L) {
  orr_connection_confine(L);
  orr_confine_libraries(L);
  luaopen_orrery(L);
  orr_read_all(L);
  open_engine(L);
  orr_confine_globals(L);
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

/* ---- functions of the host ---- */

/* Pushes a field of the error object at an absolute index, if it is a string. */
static bool push_field(lua_State *L, int error, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, error);
  if (lua_type(L, -1) == LUA_TSTRING)
    return true;
  lua_pop(L, 1);
  return false;
}

/* Message and kind of an error object, without calling anything. The script's line stands in front where that is to be
   told, as it does in Lua's own errors. */
static void put_object(lua_State *L, orr_parcel *out, bool with_line) {
  int error = lua_gettop(L);
  bool placed = with_line && push_field(L, error, "where");
  if (push_field(L, error, "message")) {
    if (placed)
      lua_concat(L, 2);
    orr_parcel_put(L, -1, out);
  }
  lua_settop(L, error);
  if (push_field(L, error, "kind"))
    orr_parcel_put(L, -1, out);
  lua_settop(L, error);
}

static void put_error(lua_State *L, orr_parcel *out, bool with_line) {
  if (lua_type(L, -1) == LUA_TSTRING) {
    orr_parcel_put(L, -1, out);
    return;
  }
  if (lua_istable(L, -1))
    put_object(L, out, with_line);
  if (out->len == 0) {
    lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, -1));
    orr_parcel_put(L, -1, out);
    lua_pop(L, 1);
  }
}

/* In the host's state: (sandbox, box, number of the function). */
static int answer(lua_State *L) {
  sandbox *s = lua_touserdata(L, 1);
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, (int)lua_tointeger(L, 3));
  int function = lua_gettop(L), count = orr_parcel_take_all(L, &s->in);
  s->out.len = 0;
  s->outcome = NULL;
  if (lua_pcall(L, count, LUA_MULTRET, 0) != 0) {
    s->outcome = "error";
    put_error(L, &s->out, false);
    return 0;
  }
  const char *why = orr_parcel_put_all(L, function, lua_gettop(L) - function + 1, &s->out);
  if (why) {
    s->outcome = "error";
    s->out.len = 0;
    lua_pushfstring(L, "the result cannot go into a sandbox: %s", why);
    put_error(L, &s->out, false);
  }
  return 0;
}

/* The host's stack is as run() left it: the box at 1, `answer` at 2. None of these calls raises. */
static int call_host(sandbox *s, int number) {
  lua_State *host = s->host;
  int top = lua_gettop(host);
  lua_pushvalue(host, 2);
  lua_pushlightuserdata(host, s);
  lua_pushvalue(host, 1);
  lua_pushinteger(host, number);
  int status = lua_pcall(host, 3, 0, 0);
  lua_settop(host, top);
  return status;
}

static int offered(lua_State *L) {
  sandbox *s = sandbox_of(L);
  orr_sandbox_charge(L, 1);
  s->in.len = 0;
  const char *why = orr_parcel_put_all(L, 1, lua_gettop(L), &s->in);
  if (why)
    return luaL_error(L, "an argument cannot leave the sandbox: %s", why);
  lua_settop(L, 0);
  if (call_host(s, (int)lua_tointeger(L, lua_upvalueindex(1))) != 0)
    return luaL_error(L, "the host is out of memory");
  int count = orr_parcel_take_all(L, &s->out);
  if (!s->outcome)
    return count;
  lua_settop(L, 1);
  return lua_error(L);
}

/* (sandbox): makes a global of each name in the parcel. */
static int offer(lua_State *L) {
  sandbox *s = lua_touserdata(L, 1);
  int count = orr_parcel_take_all(L, &s->in);
  for (int i = 1; i <= count; i++) {
    lua_pushinteger(L, i);
    lua_pushcclosure(L, offered, 1);
    lua_setglobal(L, lua_tostring(L, i + 1));
  }
  return 0;
}

/* ---- running ---- */

static int load_text(lua_State *L, const sandbox *s) {
#if LUA_VERSION_NUM >= 502
  return luaL_loadbufferx(L, s->text, s->len, s->name, "t");
#else
  if (s->len > 0 && s->text[0] == LUA_SIGNATURE[0]) {
    lua_pushliteral(L, "attempt to load a binary chunk: a sandbox runs text only");
    return LUA_ERRSYNTAX;
  }
  return luaL_loadbuffer(L, s->text, s->len, s->name);
#endif
}

static int execute(lua_State *L) {
  sandbox *s = lua_touserdata(L, 1);
  int status = load_text(L, s);
  if (status == 0)
    status = lua_pcall(L, orr_parcel_take_all(L, &s->in), LUA_MULTRET, 0);
  s->out.len = 0;
  s->outcome = status == 0 ? NULL : status == LUA_ERRMEM ? "memory" : "error";
  if (status != 0) {
    put_error(L, &s->out, true);
    return 0;
  }
  const char *why = orr_parcel_put_all(L, 2, lua_gettop(L) - 1, &s->out);
  if (why) {
    s->outcome = "error";
    s->out.len = 0;
    lua_pushfstring(L, "what the script returns cannot leave the sandbox: %s", why);
    put_error(L, &s->out, false);
  }
  return 0;
}

/* The handle is guarded, lent, taken back and free again, whatever happens in between. */
static void run_guarded(sandbox *s, orr_connection *lender) {
  s->lender = lender;
  s->left = s->instructions;
  s->loan.deadline = s->seconds > 0 ? orr_clock() + s->seconds : 0;
  lua_sethook(s->L, tick, LUA_MASKCOUNT, ORR_SANDBOX_STEP);
  if (protect(s->L, execute, s) != 0) {
    s->outcome = "memory";
    s->out.len = 0;
  }
  lua_sethook(s->L, NULL, 0, 0);
  lua_settop(s->L, 0);
  if (s->borrower)
    orr_connection_return(s->borrower);
  s->borrower = NULL;
  s->lender = NULL;
  s->loan.deadline = 0;
}

static sandbox *check_idle(lua_State *L) {
  sandbox *s = orr_box_check(L, 1, &SANDBOX);
  if (s->host)
    orr_raisef(L, "InvalidRequestError", "this sandbox runs a script already, which has called the host");
  if (!s->L)
    orr_raisef(L, "ResourceClosedError",
               s->stopped || s->outcome ? "this sandbox ended when its script met a limit; "
                                          "make another one"
                                        : "this sandbox is closed");
  return s;
}

static void pack_arguments(lua_State *L, sandbox *s, int first) {
  s->in.len = 0;
  const char *why = orr_parcel_put_all(L, first, lua_gettop(L) - first + 1, &s->in);
  if (why)
    orr_raisef(L, "ArgumentError", "sandbox:run(): an argument cannot go into a sandbox: %s", why);
}

/* run(sandbox, dbc, text, name, ...) -> reason or false, what the script returned or the error's message and
 * kind
 */
static int run(lua_State *L) {
  orr_error error;
  sandbox *s = check_idle(L);
  orr_connection *lender = orr_connection_check(L, 2);
  s->text = luaL_checklstring(L, 3, &s->len);
  s->name = luaL_checkstring(L, 4);
  if (orr_connection_in_transaction(lender))
    return orr_raisef(
        L, "InvalidRequestError",
        "sandbox:run(): the engine's one connection is in a transaction; commit it or roll back first");
  pack_arguments(L, s, 5);
  luaL_checkstack(L, 16, "sandbox");
  lua_pushcfunction(L, answer);
  lua_replace(L, 2);
  orr_error_clear(&error);
  if (orr_connection_guard(lender, &s->loan, &error) != 0)
    return orr_raise(L, &error);
  s->host = L;
  orr_connection_keep(lender, true);
  run_guarded(s, lender);
  orr_connection_keep(lender, false);
  s->host = NULL;
  orr_connection_unguard(lender, &s->loan);
  orr_connection_recover(lender);
  const char *reason = s->stopped ? s->stopped : s->outcome;
  if (reason && strcmp(reason, "error") != 0)
    close_state(s);
  lua_settop(L, 1);
  if (reason)
    lua_pushstring(L, reason);
  else
    lua_pushboolean(L, 0);
  return 1 + orr_parcel_take_all(L, &s->out);
}

/* ---- making ---- */

/* tables: { name, bits, name, bits, ... } */
static void read_tables(lua_State *L, int index, sandbox *s) {
  size_t count = orr_rawlen(L, index) / 2;
  if (count == 0)
    return;
  s->tables = orr_alloc_array(&s->alloc, count, sizeof *s->tables);
  if (!s->tables)
    orr_raisef(L, "OperationalError", "out of memory");
  s->table_count = count;
  for (size_t i = 0; i < count; i++) {
    table_right *entry = &s->tables[i];
    lua_rawgeti(L, index, (int)(2 * i + 1));
    lua_rawgeti(L, index, (int)(2 * i + 2));
    const char *name = luaL_checklstring(L, -2, &entry->len);
    entry->rights = (unsigned)luaL_checkinteger(L, -1);
    entry->name = orr_alloc_text(&s->alloc, name, entry->len);
    if (!entry->name)
      orr_raisef(L, "OperationalError", "out of memory");
    lua_pop(L, 2);
  }
}

static double number(lua_State *L, int options, const char *name) {
  lua_getfield(L, options, name);
  double value = luaL_checknumber(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_limits(lua_State *L, int options, sandbox *s) {
  s->most = (size_t)number(L, options, "memory");
  s->left = 1e300; /* until a script runs */
  s->instructions = number(L, options, "instructions");
  s->seconds = number(L, options, "seconds");
  s->loan.timeout = number(L, options, "statement_timeout");
  s->loan.guard.max_bytes = (int)number(L, options, "max_value");
  s->loan.guard.rights = rights;
  s->loan.guard.ud = s;
  s->in.alloc = s->out.alloc = s->alloc;
  s->in.most = s->out.most = s->most;
}

static void open_sandbox(lua_State *L, sandbox *s) {
  s->L = lua_newstate(allocate, s);
  if (!s->L)
    orr_raisef(L, "OperationalError",
               "there is no memory for the state of a sandbox (or this Lua takes no allocator)");
  if (protect(s->L, open_state, s) == 0 && protect(s->L, offer, s) == 0)
    return;
  const char *why = lua_type(s->L, -1) == LUA_TSTRING ? lua_tostring(s->L, -1) : "an error";
  lua_pushfstring(L, "%s", why);
  close_state(s);
  orr_raisef(L, "OperationalError", "the sandbox cannot be opened: %s", lua_tostring(L, -1));
}

/* sandbox(limits, tables, names, functions) -> box */
static int new_sandbox(lua_State *L) {
  for (int i = 1; i <= 4; i++)
    luaL_checktype(L, i, LUA_TTABLE);
  sandbox *s = orr_box_new(L, &SANDBOX, sizeof *s);
  s->alloc = orr_allocator(L);
  lua_pushvalue(L, 4);
  orr_setuservalue(L, -2);
  read_limits(L, 1, s);
  read_tables(L, 2, s);
  for (int i = 1; i <= (int)orr_rawlen(L, 3); i++) {
    lua_rawgeti(L, 3, i);
    orr_parcel_put(L, -1, &s->in);
    lua_pop(L, 1);
  }
  open_sandbox(L, s);
  return 1;
}

/* memory(sandbox) -> bytes in use */
static int memory(lua_State *L) {
  const sandbox *s = orr_box_check(L, 1, &SANDBOX);
  lua_pushnumber(L, (lua_Number)s->used);
  return 1;
}

static int close(lua_State *L) {
  const sandbox *s = orr_box_check(L, 1, &SANDBOX);
  if (s->host)
    return orr_raisef(L, "InvalidRequestError", "a sandbox cannot be closed while its script runs");
  close_sandbox(lua_touserdata(L, 1));
  return 0;
}

void orr_sandbox_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"run", run}, {"memory", memory}, {"close", close}, {NULL, NULL}};
  orr_box_define(L, &SANDBOX, methods);
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {{"sandbox", new_sandbox}, {NULL, NULL}};
  orr_setfuncs(L, functions);
}
