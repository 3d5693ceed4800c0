/* orrery.h: what a host program in C includes. */
#ifndef ORRERY_H
#define ORRERY_H

#include <lua.h>

#if defined(__GNUC__)
#define ORR_API __attribute__((visibility("default")))
#else
#define ORR_API
#endif

/* Opens Orrery in a state and leaves its module table on the stack (returns 1), as every lua_CFunction of a
   module does: luaL_requiref(L, "orrery", luaopen_orrery, 0), or require "orrery" from a script. Reads no file;
   needs the base, string, table, math and coroutine libraries at load. */
ORR_API int luaopen_orrery(lua_State *L);

#endif
