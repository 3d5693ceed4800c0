/* typelib: column types as C sees them. A type's Lua side (lua/orrery/types.lua) holds a handle of this;
   types with Lua functions (bind, result) run those around take and push, which see only what the database
   sees. */
#ifndef ORR_TYPELIB_H
#define ORR_TYPELIB_H

#include "box.h"

typedef enum orr_kind {
  ORR_KIND_ANY, /* integer, float, boolean, string or null, as Lua has it */
  ORR_KIND_INTEGER,
  ORR_KIND_FLOAT,
  ORR_KIND_NUMERIC, /* a number with at most `scale` decimals and `precision` digits */
  ORR_KIND_TEXT,    /* valid UTF-8 of at most `length` characters */
  ORR_KIND_BOOLEAN,
  ORR_KIND_BLOB,
  ORR_KIND_DATE, /* ISO-8601 text; stored as SQLite's date functions write it, see typelib.c */
  ORR_KIND_TIME,
  ORR_KIND_DATETIME
} orr_kind;

typedef enum orr_as { ORR_AS_DEFAULT, ORR_AS_STRING } orr_as;

typedef struct orr_type {
  unsigned char kind; /* orr_kind */
  unsigned char as;   /* orr_as */
  int length;         /* characters, 0: no limit */
  int precision;      /* digits, 0: no limit */
  int scale;          /* decimals */
} orr_type;

enum { ORR_TYPE_SCRATCH = 48 };

/* Reads the Lua value at `index` as a value of `type`. nil and core.null give ORR_NULL. Text and blobs borrow
   the Lua string, or `scratch` where the value is rewritten (dates). Returns 0, or -1 with `error` filled:
   kind ArgumentError and a message that begins with what was expected ("an integer expected, got 'x'"), to
   which the caller adds where. Never raises. */
int orr_type_take(lua_State *L, int index, const orr_type *type, orr_value *out,
                  char scratch[ORR_TYPE_SCRATCH], orr_error *error);

/* Pushes a stored value as `type` shows it. Loading is faithful: a value that does not fit the type is pushed
   as it is stored. Raises a DataError only where this Lua cannot hold an integer exactly. */
void orr_type_push(lua_State *L, const orr_type *type, const orr_value *value);

/* Pushes a value as the database has it: NULL as the light userdata NULL, an integer beyond what this Lua
   holds (as = "string" only) as its digits. */
void orr_type_push_raw(lua_State *L, const orr_value *value);

/* Reads such a value of a column of `type` again; false where the one at `index` is none. */
bool orr_type_take_raw(lua_State *L, int index, const orr_type *type, orr_value *out,
                       char scratch[ORR_TYPE_SCRATCH]);

/* The type whose handle is at `index`; raises where it is none. */
const orr_type *orr_type_check(lua_State *L, int index);

#endif
