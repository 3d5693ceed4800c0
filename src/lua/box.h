/* box: the ground that every binding file stands on: Lua's versions made alike, typed handles that are born
   closed, one raise function, per-state data. The only other users of lua.h are the files beside it.

   Ownership law: whatever must be freed is reached from a userdata that has its metatable before the thing
   is acquired; `close`, `__gc` and `__close` are one idempotent function that accepts every half-built
   stage, never raises and calls no Lua. */
#ifndef ORR_BOX_H
#define ORR_BOX_H

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>

#include "../core/alloc.h"
#include "../core/error.h"
#include "../core/value.h"

/* ---- Lua 5.1, 5.2, 5.3, 5.4 and LuaJIT made alike ---- */

#if LUA_VERSION_NUM >= 502
#define orr_rawlen(L, i) lua_rawlen(L, i)
#define orr_absindex(L, i) lua_absindex(L, i)
#else
#define orr_rawlen(L, i) lua_objlen(L, i)
static inline int orr_absindex(lua_State *L, int index) {
  return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}
#endif

#if LUA_VERSION_NUM >= 503
#define ORR_INT64 1 /* Lua's own integers hold every int64 */
#else
#define ORR_INT64 0
#define LUA_OK 0
#endif

/* Largest integer that a Lua without 64-bit integers holds exactly, and still tells from its neighbours. */
#define ORR_MAX_SAFE INT64_C(9007199254740992)

void orr_rawgetp(lua_State *L, int index, const void *key);
void orr_rawsetp(lua_State *L, int index, const void *key);

/* The argument, a number from 1, counted from 0: -1 or less where it is no place, whatever its size. */
static inline int orr_check_place(lua_State *L, int argument) {
  lua_Integer number = luaL_checkinteger(L, argument);
  return number > 0 && number <= INT_MAX ? (int)number - 1 : -1;
}

/* Where a userdata may have further user values, ORR_SLOTS is 1, and they are numbered from 1; elsewhere
   there are none. */
#define ORR_SLOTS (LUA_VERSION_NUM >= 504)

/* A full userdata with room for one user value, and no metatable yet. */
void *orr_newuserdata(lua_State *L, size_t size);
/* The same with further user values. */
void *orr_newuserdata_slots(lua_State *L, size_t size, int slots);
/* Pushes a further user value of the userdata at `index`, which starts as nil. */
static inline void orr_getslot(lua_State *L, int index, int slot) {
#if ORR_SLOTS
  lua_getiuservalue(L, index, 1 + slot);
#else
  (void)index, (void)slot;
  lua_pushnil(L);
#endif
}
/* Pops a value and stores it there. */
static inline void orr_setslot(lua_State *L, int index, int slot) {
#if ORR_SLOTS
  lua_setiuservalue(L, index, 1 + slot);
#else
  (void)index, (void)slot;
  lua_pop(L, 1);
#endif
}
/* Pushes the user value of the userdata at `index` when it is a table and returns true; pushes nothing and
   returns false when it was never set. On 5.1 and LuaJIT every userdata starts with a shared environment
   table: callers there must know from their own header whether they have set one. */
bool orr_getuservalue(lua_State *L, int index);
/* Pops a table and makes it the user value of the userdata at `index`. */
void orr_setuservalue(lua_State *L, int index);

/* Of a walk over the array at `from`, whose item i is on top, popped: it is one that stays, or not. The first
   `*kept` items are those that have stayed so far; the place `to`, which holds the array itself at first, has
   a copy from the first one on that does not. */
void orr_sift(lua_State *L, int from, int to, int i, int *kept, bool stays);

/* The value at `index` as an int64 when it is a number that is exactly one. Strings are not numbers here. */
bool orr_toint64(lua_State *L, int index, int64_t *out);
/* Pushes an int64, or returns false (and pushes nothing) where this Lua cannot hold it exactly. */
bool orr_pushint64(lua_State *L, int64_t value);

/* Lets the collector wait: returns the kilobytes that Lua holds, which resuming it takes, or -1 where it does
   not run, or this Lua does not say whether it does. What comes in until then does not bring its next step
   nearer. */
int orr_gc_pause(lua_State *L);
void orr_gc_resume(lua_State *L, int held);
/* Starts a stopped collector, not to begin at once where Lua lets one say so. */
void orr_gc_resume_later(lua_State *L);
/* So many kilobytes of what was allocated do not bring the collector's next step nearer; less than nothing:
   they do again. */
void orr_gc_spare(lua_State *L, int kilobytes);

void orr_setfuncs(lua_State *L, const luaL_Reg *functions); /* into the table on top, no upvalues */
void orr_traceback(lua_State *L, int level); /* pushes a traceback text, "" where there is none */

/* ---- handles ---- */

/* One static const orr_type_tag per kind of handle; its address is its registry key. */
typedef struct orr_box_kind {
  const char *name;           /* as an error names it: "connection" */
  void (*close)(void *block); /* idempotent, for every stage; NULL where nothing is owned */
} orr_box_kind;

/* Makes the metatable of `kind` in this state, with `methods` (may be NULL) reachable through __index, __gc
   and
   __close, and __metatable locked. Leaves it on the stack. */
void orr_box_define(lua_State *L, const orr_box_kind *kind, const luaL_Reg *methods);
/* Pushes a zeroed block of `size` bytes that already has its metatable. */
void *orr_box_new(lua_State *L, const orr_box_kind *kind, size_t size);
/* The same with further user values. */
void *orr_box_new_slots(lua_State *L, const orr_box_kind *kind, size_t size, int slots);
/* The block at `index`, or NULL where it is not of this kind. Never raises. */
void *orr_box_test(lua_State *L, int index, const orr_box_kind *kind);
/* The same, raising an ArgumentError that names what was expected. */
void *orr_box_check(lua_State *L, int index, const orr_box_kind *kind);
/* Pushes the metatable of `kind`. */
void orr_box_metatable(lua_State *L, const orr_box_kind *kind);

/* ---- errors ---- */

/* Pushes the error object for `error` (see lua/orrery/errors.lua) without raising it; the caller may add
   fields to the table on top. */
void orr_error_push(lua_State *L, const orr_error *error);
/* Raises the error object for `error`. */
int orr_raise(lua_State *L, const orr_error *error);
/* Raises an error of `kind` with a message formatted as by lua_pushfstring. */
int orr_raisef(lua_State *L, const char *kind, const char *format, ...);
/* Pushes "file:line: " of the nearest caller that is not the library itself, or "". */
void orr_where(lua_State *L);

/* ---- per state ---- */

/* The allocator of this state. */
orr_alloc orr_allocator(lua_State *L);

/* Adds the functions of this file to the private module table on top: where(), traceback(level),
   error_metatable (a table that errors.lua fills), null, int64. */
void orr_box_open(lua_State *L);

#endif
