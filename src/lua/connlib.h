/* connlib: connections and statements as the other binding files use them. */
#ifndef ORR_CONNLIB_H
#define ORR_CONNLIB_H

#include "../driver/driver.h"
#include "box.h"
#include "typelib.h"

typedef struct orr_connection orr_connection;

/* A prepared statement in its box. The box's user value anchors the connection. */
typedef struct orr_statement {
  const orr_driver *driver;
  void *handle; /* NULL once finalized */
  orr_connection *connection;
  int columns;
  bool cached; /* belongs to the connection's cache: reset, not finalized, after use */
  bool taken;  /* opened with its values, until reset: a finalizer may run before its first step */
  bool active; /* between the first step and reset */
} orr_statement;

/* Whether it is nobody's now. It may have been closed, by a script's function or by the collector, which closes those
   of a connection that nobody holds before an older finalizer of the script's runs. */
static inline bool orr_statement_is_idle(const orr_statement *statement) {
  return statement && statement->handle && !statement->taken && !statement->active;
}

/* The open connection at `index`; raises ResourceClosedError when it was closed. */
orr_connection *orr_connection_check(lua_State *L, int index);
/* Runs transaction control, or raises the database's error. */
void orr_connection_run(lua_State *L, orr_connection *connection, const char *sql, size_t len);
const orr_driver *orr_connection_driver(const orr_connection *connection);
void *orr_connection_db(const orr_connection *connection);

/* Pushes the boxed statement for `sql` of the connection at `index`: from its bounded cache when it is there
   and idle, else newly prepared. Raises the database's error (with the statement) or ProgrammingError
   when `sql` holds no statement or more than one. */
orr_statement *orr_statement_push(lua_State *L, int connection_index, const char *sql, size_t len);
/* The same for the text at `sql`, which becomes the key of the cache. */
orr_statement *orr_statement_push_for(lua_State *L, int connection_index, int sql);
/* Opens it with copies of values for its markers. */
void orr_statement_give(lua_State *L, orr_statement *statement, const orr_value *values, int count);
/* Pushes the statement of an order (core.order) with values of the list at `values`, by the same rules. */
orr_statement *orr_statement_open(lua_State *L, int connection_index, int order_index, int values);
/* The same with `count` values on the stack, from `first` on. */
orr_statement *orr_statement_open_with(lua_State *L, int connection_index, int order_index, int first,
                                       int count);
/* The usable statement at `index`; raises ResourceClosedError when it or its connection was closed. */
orr_statement *orr_statement_check(lua_State *L, int index);

/* While a statement is held, its connection cannot be closed and the statement is given to nobody else: for
   loops that step it themselves, under a protected call, so that each hold is followed by its release. */
void orr_statement_hold(orr_statement *statement, bool held);
/* It runs once more, with all the time that a statement has. */
void orr_statement_restart(orr_statement *statement);
/* Pushes its SQL text. */
void orr_statement_sql(lua_State *L, const orr_statement *statement);
/* Ends execution and forgets the bindings. */
void orr_statement_reset(orr_statement *statement);

/* Pushes the error object for a failed bind or step of `statement`: adds `statement` (its SQL) to the error's
   fields. The caller may add `params` and raises it with lua_error. */
void orr_statement_error(lua_State *L, orr_statement *statement, const orr_error *error);

/* ---- lending a connection's handle to another state ---- */

/* What holds for a lent handle whatever its borrower sets. */
typedef struct orr_loan {
  orr_guard guard;
  double timeout;  /* seconds that a statement may run, 0: for ever */
  double deadline; /* when everything ends, by orr_clock; 0: never */
} orr_loan;

/* Whether this state may open no database by itself. */
void orr_connection_confine(lua_State *L);
/* Pushes a connection over the handle of `lender`, which may be of another state and must stay open and
   unused until orr_connection_return. */
orr_connection *orr_connection_borrow(lua_State *L, orr_connection *lender, orr_loan *loan);
/* While it is kept, a lender cannot be closed. */
void orr_connection_keep(orr_connection *lender, bool kept);
/* Finishes whatever still runs on a borrowed connection; it is closed then. Calls no Lua. */
void orr_connection_return(orr_connection *borrower);
/* The lender's handle is the lender's again: without transaction, with its own timeout. */
void orr_connection_recover(orr_connection *lender);
bool orr_connection_in_transaction(const orr_connection *connection);
bool orr_connection_is_open(const orr_connection *connection);
/* Sets and ends the guard of a loan on the handle that is lent. */
int orr_connection_guard(orr_connection *lender, orr_loan *loan, orr_error *error);
void orr_connection_unguard(orr_connection *lender, orr_loan *loan);

#endif
