/* fault: makes everything fail that can, at every point where it can, and judges what is left. One process
   runs a scenario (scenarios.lua); at a point it forks, and in the child that point fails. So a scenario runs
   once, every point costs the rest of one run, and a crash is one child's own.

   Nothing of the product is replaced but what stands outside it: Lua's allocator, SQLite's allocator, and the
   files. The library decides nothing here and knows nothing of it. */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>
#include <sqlite3.h>

#define DATABASE "fault.db"  /* the file that scenarios work on */
#define SNAPSHOT "before.db" /* what it was before the run */

/* ---- what a run is told ---- */

typedef enum fault_kind {
  FAULT_MEMORY, /* allocations: Lua's, SQLite's, the library's */
  FAULT_DISK,   /* calls of the virtual file system */
  FAULT_POWER,  /* writes that a power cut may undo */
  FAULT_KINDS
} fault_kind;

/* How a point fails. */
typedef enum fault_mode {
  MODE_ONCE,    /* this call */
  MODE_TWICE,   /* and the next: Lua tries again after a collection */
  MODE_FROM_ON, /* and all that follow */
  MODE_FULL,    /* this write finds the disk full */
  MODE_FULL_FROM_ON,
  MODE_BUSY, /* this lock is somebody else's */
  MODE_BUSY_FROM_ON,
  MODE_DONE, /* this call does its work, and says that it failed */
  MODE_CUT,  /* the power goes */
  MODES
} fault_mode;

extern const char *const fault_mode_names[MODES];

enum { STAGES = 32, RESULT = 2000, SUMS = 8 };

/* What a run without faults leaves, and the sums of all runs; in memory that the children share. */
typedef struct fault_shared {
  bool known;                   /* the dry run came to its end */
  int stages;                   /* acknowledged commits */
  uint64_t at[STAGES + 1];      /* the database after each, 0: before the run */
  char result[RESULT];          /* what the run returned */
  long offered;                 /* points of this scenario */
  volatile long points, failed; /* judged, and found wrong */
} fault_shared;

typedef struct fault_plan {
  fault_kind kind;
  long stride, offset;  /* every stride-th point */
  long only;            /* 0, or the one point to visit */
  int jobs;             /* children at one time */
  int images;           /* power cuts a point */
  bool verbose, host;   /* host: without a protected call around the run */
  bool jit;             /* leaves LuaJIT's compiler on, which does not survive failing allocations itself */
  const char *scenario; /* the one that runs */
  const char *settings; /* SQL that the database file is made with */
} fault_plan;

extern fault_plan plan;
extern fault_shared *shared;

/* ---- points (points.c) ---- */

/* Points count from here on, or not. Nests. */
void points_arm(bool armed);
bool points_armed(void);
/* In the child where a point has failed: no point fails any more. */
void points_heal(void);
bool points_in_child(void);
fault_mode points_mode(void);
long points_number(void); /* of the point that fails in this child, or the last one passed */
/* Whether this call of `kind` has to fail; `modes` is the set (1 << mode) that can happen to it. */
bool point(fault_kind kind, unsigned modes);
/* Waits for all children. */
void points_finish(void);
/* Prints what is wrong after this child's fault, and remembers it. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
int points_verdict(void); /* the exit status of this process */

/* ---- memory (memory.c) ---- */

typedef struct memory_use {
  long blocks;
  size_t bytes;
} memory_use;

void memory_install(void); /* before SQLite is used */
void *memory_lua(void *ud, void *block, size_t old_size, size_t new_size);
memory_use memory_of_lua(void);
memory_use memory_of_sqlite(void);
memory_use memory_of_pages(void); /* mapped ones */
/* Overwritten bounds and wrong sizes seen so far. */
long memory_damage(void);

/* ---- the disk (disk.c) ---- */

void disk_install(bool as_default);
int disk_handles(void); /* open files */
/* Calls fn for each database connection that has a file open. */
void disk_each(void (*fn)(sqlite3 *db));
void disk_copy(const char *from, const char *to);
/* All that was written until now is safe. */
void disk_settle(void);
/* Power off and on: the files are what had been synced, and some of what had not. Everything open is dead. */
void disk_cut(uint64_t seed);
/* Puts back what cut() has replaced. */
void disk_uncut(void);

/* ---- judging (judge.c) ---- */

/* A number for all that a database holds; 0 where it cannot be read. The text goes to `out` where it is not
 * NULL. */
uint64_t judge_fingerprint(const char *path, char *out, size_t room);
/* The first thing that is wrong with a file as such, or NULL. */
const char *judge_integrity(const char *path);
/* What is still going on on any connection, or NULL. */
const char *judge_idle(void);
/* Runs SQL on a database, for setting it up. */
void judge_sql(const char *path, const char *sql);
/* Makes `to` hold what `from` holds, through SQLite. */
bool judge_restore(const char *from, const char *to);

/* ---- trials (trial.c), hosts (host.c), power cuts (power.c), kills (kill.c) ---- */

int trial_run(void);
void trial_list(void (*fn)(const char *name));
void trial_marked(void); /* a commit was acknowledged */
int trial_stage(void);
lua_State *trial_state(void);
void power_cut(void); /* in the child */
bool host_call(lua_State *L, int env, int scenarios);
int kill_run(const char *folder, long kills);

#endif
