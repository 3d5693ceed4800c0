/* sandbox: what the two files of sandboxes share: a state of its own for a script that is not trusted, with
   bounds on its memory, its steps and its time. sandboxlib.c is the host's side, confine.c what the script
   finds instead of Lua's libraries. */
#ifndef ORR_SANDBOX_H
#define ORR_SANDBOX_H

#include "connlib.h"
#include "parcel.h"

enum { ORR_SANDBOX_STEP = 100 }; /* instructions between two looks at the bounds */

/* Counts work that the script has had done, in instructions, and raises where it has had its share: from then
   on with every instruction, so that no pcall keeps the script alive. Only in the state of a sandbox. */
void orr_sandbox_charge(lua_State *L, double steps);

/* The steps that are still to be had, four for each instruction: what a bounded search may take. */
double orr_sandbox_left(lua_State *L);

/* Before the library is loaded: libraries, and functions that cannot escape the bounds in the place of some.
 */
void orr_confine_libraries(lua_State *L);
/* After it, with the library on top: takes away what no script may have, and `require` gives the library. */
void orr_confine_globals(lua_State *L);

#endif
