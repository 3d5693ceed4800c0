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
  bool active; /* between the first step and reset */
} orr_statement;

/* The open connection at `index`; raises ResourceClosedError when it was closed. */
orr_connection *orr_connection_check(lua_State *L, int index);
/* Runs transaction control, or raises the database's error. */
void orr_connection_run(lua_State *L, orr_connection *connection, const char *sql, size_t len);
const orr_driver *orr_connection_driver(const orr_connection *connection);
void *orr_connection_db(const orr_connection *connection);

/* Pushes the boxed statement for `sql` of the connection at `index`: from its bounded cache when it is there
   and not active, else newly prepared. Raises the database's error (with the statement) or ProgrammingError
   when `sql` holds no statement or more than one. */
orr_statement *orr_statement_push(lua_State *L, int connection_index, const char *sql, size_t len);
/* The usable statement at `index`; raises ResourceClosedError when it or its connection was closed. */
orr_statement *orr_statement_check(lua_State *L, int index);

/* While a statement is held, its connection cannot be closed and the statement is given to nobody else: for
   loops that step it themselves, under a protected call, so that each hold is followed by its release. */
void orr_statement_hold(orr_statement *statement, bool held);
/* Pushes its SQL text. */
void orr_statement_sql(lua_State *L, const orr_statement *statement);
/* Ends execution and forgets the bindings. */
void orr_statement_reset(orr_statement *statement);

/* Pushes the error object for a failed bind or step of `statement`: adds `statement` (its SQL) to the error's
   fields. The caller may add `params` and raises it with lua_error. */
void orr_statement_error(lua_State *L, orr_statement *statement, const orr_error *error);

#endif
