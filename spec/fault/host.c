/* host: a C program that calls the library without a protected call around it, as a careless host does. An
   error then goes to the panic function, which gets out with longjmp; the state is good for lua_close only.
   What must hold: no crash, no leak, and a database as before or after the unit of work. */
#include "fault.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <string.h>

#include "orrery.h"

static jmp_buf out;

static int panic(lua_State *L) {
  (void)L;
  longjmp(out, 1);
}

bool host_call(lua_State *L, int env, int scenarios) {
  lua_atpanic(L, panic);
  if (setjmp(out) != 0)
    return false;
  lua_getfield(L, scenarios, "run");
  lua_pushvalue(L, env);
  lua_call(L, 1, 1);
  return true;
}
