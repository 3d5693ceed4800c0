/* orrery.h: what a host program in C includes. */
#ifndef ORRERY_H
#define ORRERY_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#if defined(__GNUC__)
#define ORR_API __attribute__((visibility("default")))
#else
#define ORR_API
#endif

/* Opens Orrery in a state and leaves its module table on the stack (returns 1), as every lua_CFunction of a
   module does: luaL_requiref(L, "orrery", luaopen_orrery, 0), or require "orrery" from a script. Reads no
   file; needs the base, string, table, math and coroutine libraries at load. */
ORR_API int luaopen_orrery(lua_State *L);

/* ---- a database that the host has open already ---- */

enum {
  ORR_BORROW =
      0, /* the handle stays the host's, who closes it after the engine was disposed or the state closed */
  ORR_OWN = 1 /* the handle is closed with the engine; the host's again where the call raises */
};

/* Pushes an engine over an open `sqlite3 *`, which all its connections share. The handle's settings are kept.
   Raises an error object (call it protected) where the handle is of another copy of SQLite than Orrery's.
   Needs sqlite3.h. */
#define orr_push_engine(L, db, how) orr_push_engine_of(L, db, how, sqlite3_libversion())

/* The same; `version` is what sqlite3_libversion() returns in the library that opened the handle. */
ORR_API void orr_push_engine_of(lua_State *L, void *db, int how, const char *version);

/* ---- reading objects ---- */

/* The number of a column's attribute of the mapped object (or class in use) at `index`, or -1 where there is
   no such object or attribute. The same for all objects of one class, so it may be kept. Never raises. */
ORR_API int orr_attr(lua_State *L, int index, const char *name);

enum {
  ORR_GOT_NOTHING,  /* no mapped object, or no such attribute */
  ORR_GOT_UNLOADED, /* Lua would ask the database: the attribute is expired or deferred */
  ORR_GOT_NULL,
  ORR_GOT_INTEGER, /* also booleans, as 0 and 1 */
  ORR_GOT_NUMBER,
  ORR_GOT_TEXT, /* also dates, exact numbers and JSON, as they are stored */
  ORR_GOT_BYTES
};

typedef struct orr_field {
  int kind; /* one of those above */
  int64_t integer;
  double number;
  const char *bytes; /* of text and bytes; not NUL-terminated. They live until the attribute changes or the
                        object is collected */
  size_t len;
} orr_field;

/* Reads an attribute of the mapped object at `index` by its number, without calling Lua or the database.
   Fills `out` and returns its kind. Never raises. */
ORR_API int orr_get(lua_State *L, int index, int attribute, orr_field *out);

/* ---- stopping a statement ---- */

struct orr_connection;

/* The connection at `index` (engine:connect(), session:connection()), or NULL where there is none. Never
   raises. It lives until it is closed. */
ORR_API struct orr_connection *orr_to_connection(lua_State *L, int index);

/* Makes the statement that runs on a connection fail soon, with an OperationalError; nothing happens where
   none runs. From any thread, while the connection stays open. */
ORR_API void orr_interrupt(struct orr_connection *connection);

#endif
