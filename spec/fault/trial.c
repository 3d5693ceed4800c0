/* trial: one scenario in one Lua state: made ready, run once to learn what is right, run again with points
   armed; and in each child, judged after its fault. */
#include "fault.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orrery.h"

enum { ENV = 1, SCENARIOS = 2 }; /* where they are on the stack, while a scenario runs */

static lua_State *L;
static int stage;

int trial_stage(void) { return stage; }
lua_State *trial_state(void) { return L; }

/* ---- what scenarios call ---- */

/* mark(): what was done is promised to last. */
void trial_marked(void) {
  stage++;
  if (!points_in_child() && point(FAULT_POWER, 1u << MODE_CUT))
    power_cut();
  if (shared->known || stage > STAGES)
    return;
  points_arm(false);
  shared->stages = stage;
  shared->at[stage] = judge_fingerprint(DATABASE, NULL, 0);
  points_arm(true);
}

static int mark(lua_State *state) {
  (void)state;
  trial_marked();
  return 0;
}

static int pause_points(lua_State *state) {
  (void)state;
  points_arm(false);
  return 0;
}

static int resume_points(lua_State *state) {
  (void)state;
  points_arm(true);
  return 0;
}

static int say_wrong(lua_State *state) {
  wrong("%s", luaL_checkstring(state, 1));
  return 0;
}

static int run_sql(lua_State *state) {
  judge_sql(DATABASE, luaL_optstring(state, 1, ""));
  return 0;
}

/* Whether a fault lasts, so that nothing can be tried again before it is over. */
static int lasts(lua_State *state) {
  fault_mode mode = points_mode();
  lua_pushboolean(state, points_in_child() && (mode == MODE_FROM_ON || mode == MODE_FULL_FROM_ON ||
                                               mode == MODE_BUSY_FROM_ON));
  return 1;
}

static const luaL_Reg FUNCTIONS[] = {{"mark", mark},       {"pause", pause_points}, {"resume", resume_points},
                                     {"wrong", say_wrong}, {"lasts", lasts},        {"sql", run_sql},
                                     {NULL, NULL}};

/* ---- calling them ---- */

static const char *text_on_top(void) {
  static char text[1000];
  const char *s = lua_tostring(L, -1);
  int error = lua_gettop(L);
  if (!s && luaL_getmetafield(L, error, "__tostring")) {
    lua_pushvalue(L, error);
    if (lua_pcall(L, 1, 1, 0) == 0)
      s = lua_tostring(L, -1);
  }
  snprintf(text, sizeof text, "%s", s ? s : luaL_typename(L, error));
  lua_settop(L, SCENARIOS);
  return text;
}

static bool call(const char *name, int results) {
  lua_getfield(L, SCENARIOS, name);
  lua_pushvalue(L, ENV);
  return lua_pcall(L, 1, results, 0) == 0;
}

static void must(bool fine, const char *what) {
  if (!fine) {
    printf("WRONG %s: %s: %s\n", plan.scenario ? plan.scenario : "", what, text_on_top());
    exit(3);
  }
}

static void open_state(void) {
  L = lua_newstate(memory_lua, NULL);
  luaL_openlibs(L);
  if (!plan.jit && luaL_dostring(L, "if jit then jit.off() end") != 0)
    abort();
  lua_pushnil(L);
  if (luaL_loadfile(L, "spec/fault/scenarios.lua") != 0)
    must(false, "scenarios.lua");
  lua_pushcfunction(L, luaopen_orrery);
  lua_newtable(L);
  for (const luaL_Reg *f = FUNCTIONS; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  must(lua_pcall(L, 2, 1, 0) == 0, "scenarios.lua");
}

void trial_list(void (*fn)(const char *name)) {
  open_state();
  lua_getfield(L, SCENARIOS, "names");
  for (int i = 1;; i++) {
    lua_rawgeti(L, -1, i);
    if (lua_isnil(L, -1))
      break;
    fn(lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  lua_close(L);
}

static void prepare(void) {
  lua_getfield(L, SCENARIOS, "prepare");
  lua_pushstring(L, plan.scenario);
  lua_pushstring(L, plan.settings);
  must(lua_pcall(L, 2, 1, 0) == 0, "cannot be set up");
  lua_replace(L, ENV);
  lua_gc(L, LUA_GCCOLLECT, 0);
  disk_copy(DATABASE, SNAPSHOT);
  disk_settle();
}

/* ---- judging ---- */

static void check_database(bool finished) {
  char now[4000] = "";
  uint64_t print = judge_fingerprint(DATABASE, now, sizeof now);
  const char *fault = judge_integrity(DATABASE);
  if (fault)
    wrong("the database is damaged: %s", fault);
  else if (finished && print != shared->at[shared->stages])
    wrong("the run says it has done its work, but the database is not what it should be:\n%s", now);
  else if (print != shared->at[stage] && (stage >= shared->stages || print != shared->at[stage + 1]))
    wrong("after %d commits of %d the database is neither as before nor as after the next:\n%s", stage,
          shared->stages, now);
}

/* Memory and the disk are the only reasons that an error may have here. A stack that cannot grow has no
 * memory. */
static bool is_expected(const char *text) {
  static const char *const reasons[] = {"memory",
                                        "disk I/O error",
                                        "disk is full",
                                        "database is locked",
                                        "unable to open",
                                        "locking protocol",
                                        "call rollback() first",
                                        "stack overflow (",
                                        NULL};
  for (const char *const *reason = reasons; *reason; reason++)
    if (strstr(text, *reason))
      return true;
  return false;
}

static void check_error(void) {
  points_arm(false);
  const char *text = text_on_top();
  points_arm(true);
  if (plan.verbose)
    printf("point %ld %s: %s\n", points_number(), fault_mode_names[points_mode()], text);
  if (!is_expected(text))
    wrong("an error that does not tell the reason: %s", text);
}

static void check_result(void) {
  const char *text = lua_tostring(L, -1);
  if (!text || strncmp(text, shared->result, RESULT - 1) != 0)
    wrong("the result is '%s', not '%s'", text ? text : "?", shared->result);
  lua_settop(L, SCENARIOS);
}

/* What could not even be closed is gone when it is collected. */
static const char *still_busy(void) {
  const char *busy = judge_idle();
  for (int i = 0; busy && i < 2; i++) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    busy = judge_idle();
  }
  return busy;
}

/* The same work in the same state, now that nothing fails. */
static void check_again(void) {
  const char *busy = still_busy();
  if (busy)
    wrong("after rollback %s", busy);
  if (!call("reset", 0)) {
    wrong("after rollback the session cannot be closed: %s", text_on_top());
    return;
  }
  if (!judge_restore(SNAPSHOT, DATABASE)) {
    wrong("somebody still holds a lock");
    return;
  }
  stage = 0;
  if (!call("run", 1))
    wrong("the state does not run the scenario again: %s", text_on_top());
  else {
    check_result();
    if (judge_fingerprint(DATABASE, NULL, 0) != shared->at[shared->stages])
      wrong("run again, the scenario leaves another database");
  }
}

/* Of a state that is closed. */
static void check_nothing_left(void) {
  memory_use lua = memory_of_lua(), sqlite = memory_of_sqlite(), pages = memory_of_pages();
  if (lua.blocks || pages.blocks)
    wrong("after lua_close %ld blocks (%zu bytes) of the state and %ld pages are left", lua.blocks, lua.bytes,
          pages.blocks);
  if (disk_handles())
    wrong("after lua_close %d files are open", disk_handles());
  sqlite3_shutdown();
  if (sqlite.blocks)
    wrong("after lua_close %ld blocks (%zu bytes) of SQLite are left", sqlite.blocks, sqlite.bytes);
}

/* The same where the error has left the state to lua_close. */
static void judge_panic(void) {
  points_heal();
  lua_close(L);
  check_database(false);
  check_nothing_left();
}

/* In the child, when the run has come back. */
static void judge(bool finished) {
  if (finished)
    check_result();
  else
    check_error();
  if (!finished && !call("give_up", 0))
    lua_settop(L, SCENARIOS); /* what still fails may fail here */
  points_heal();
  if (!call("give_up", 0))
    wrong("rollback fails when nothing fails any more: %s", text_on_top());
  check_database(finished);
  check_again();
  lua_close(L);
  check_nothing_left();
}

/* ---- running ---- */

/* Learns what is right, in a child. */
static void learn(void) {
  shared->known = false;
  shared->stages = 0;
  fflush(stdout);
  if (fork() == 0) {
    long stride = plan.stride, only = plan.only;
    plan.stride = plan.only = 0;
    shared->at[0] = judge_fingerprint(DATABASE, NULL, 0);
    points_arm(true);
    must(call("run", 1), "fails without a fault");
    points_arm(false);
    snprintf(shared->result, RESULT, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "?");
    shared->offered = points_number();
    uint64_t end = judge_fingerprint(DATABASE, NULL, 0);
    if (shared->stages == 0 || end != shared->at[shared->stages])
      shared->at[++shared->stages] = end;
    shared->known = true;
    plan.stride = stride, plan.only = only;
    judge(true);
    exit(points_verdict());
  }
  int status;
  wait(&status);
  if (status != 0) {
    printf("WRONG %s: not even without a fault (status %d)\n", plan.scenario, status);
    exit(3);
  }
}

int trial_run(void) {
  open_state();
  prepare();
  learn();
  points_arm(true);
  bool finished = plan.host ? host_call(L, ENV, SCENARIOS) : call("run", 1);
  if (points_in_child()) {
    if (plan.host && !finished)
      judge_panic();
    else
      judge(finished);
    return points_verdict();
  }
  points_arm(false);
  points_finish();
  return 0;
}
