/* threads: several states in threads of one process, each with its own engine on one file, under ThreadSanitizer: what it
   finds is shared that should not be. usage: threads FILE SCRIPT */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>

#include "../../src/orrery.h"

enum { THREADS = 4 };

typedef struct job {
  const char *file, *script;
  int number, failed;
} job;

static int run(lua_State *L) {
  const job *job = lua_touserdata(L, 1);
  luaL_openlibs(L);
  luaL_requiref(L, "orrery", luaopen_orrery, 0);
  if (luaL_loadfile(L, job->script) != 0)
    return lua_error(L);
  lua_pushstring(L, job->file);
  lua_pushinteger(L, job->number);
  lua_call(L, 2, 0);
  return 0;
}

static void *thread(void *ud) {
  job *job = ud;
  for (int round = 0; round < 3; round++) {
    lua_State *L = luaL_newstate();
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, job);
    if (lua_pcall(L, 1, 0, 0) != 0) {
      fprintf(stderr, "thread %d: %s\n", job->number, luaL_tolstring(L, -1, NULL));
      job->failed = 1;
    }
    lua_close(L);
  }
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[THREADS];
  job jobs[THREADS];
  int failed = 0;
  if (count != 3)
    return 1;
  for (int i = 0; i < THREADS; i++) {
    jobs[i] = (job){arguments[1], arguments[2], i, 0};
    if (pthread_create(&threads[i], NULL, thread, &jobs[i]) != 0)
      return 1;
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    failed |= jobs[i].failed;
  }
  return failed;
}
