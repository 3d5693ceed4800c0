/* points: counts the calls that can fail, forks at those that are chosen, and collects what became of the
   children. Says nothing about how a call fails. */
#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const fault_mode_names[MODES] = {"once",
                                             "twice",
                                             "from then on",
                                             "full",
                                             "full from then on",
                                             "busy",
                                             "busy from then on",
                                             "done but failed",
                                             "cut"};

enum { SECONDS = 30, JOBS = 16 }; /* for one child */

typedef struct child {
  pid_t process;
  long number;
  fault_mode mode;
} child;

static struct {
  int armed;
  long passed;
  bool in_child, healed;
  fault_mode mode;
  int left; /* calls that fail after the point itself */
  int faults;
  child children[JOBS];
  int running;
} state;

void points_arm(bool armed) { state.armed += armed ? 1 : -1; }
bool points_armed(void) { return state.armed > 0; }
void points_heal(void) { state.healed = true; }
bool points_in_child(void) { return state.in_child; }
fault_mode points_mode(void) { return state.mode; }
long points_number(void) { return state.passed; }
int points_verdict(void) { return state.faults > 0; }

static void report(const child *about, const char *what) {
  char line[4000];
  int len = snprintf(line, sizeof line, "WRONG %s, point %ld %s: %s\n", plan.scenario, about->number,
                     fault_mode_names[about->mode], what);
  if (write(STDOUT_FILENO, line, len < (int)sizeof line ? (size_t)len : sizeof line - 1) < 0)
    abort();
}

void wrong(const char *format, ...) {
  char what[3600];
  child self = {0, state.passed, state.mode};
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  report(&self, what);
  state.faults++;
}

/* ---- the parent ---- */

static void judge_child(const child *c, int status) {
  char what[80];
  __sync_fetch_and_add(&shared->points, plan.kind == FAULT_POWER ? 0 : 1);
  if (WIFSIGNALED(status)) {
    int signal = WTERMSIG(status);
    snprintf(what, sizeof what, signal == SIGALRM ? "hangs" : "dies of signal %d (%s)", signal,
             strsignal(signal));
    report(c, what);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    __sync_fetch_and_add(&shared->failed, 1);
}

static void reap(void) {
  int status;
  pid_t process;
  do
    process = wait(&status);
  while (process < 0 && errno == EINTR);
  for (int i = 0; i < state.running; i++)
    if (state.children[i].process == process) {
      judge_child(&state.children[i], status);
      state.children[i] = state.children[--state.running];
      return;
    }
}

void points_finish(void) {
  while (state.running > 0)
    reap();
}

static void become_child(fault_mode mode) {
  state.in_child = true;
  state.mode = mode;
  state.left = mode == MODE_TWICE ? 1 : 0;
  state.running = 0;
  alarm(SECONDS);
}

/* True in the child. */
static bool spawn(fault_mode mode) {
  while (state.running >= plan.jobs)
    reap();
  pid_t process = fork();
  if (process < 0) {
    perror("fork");
    exit(2);
  }
  if (process == 0) {
    become_child(mode);
    return true;
  }
  state.children[state.running++] = (child){process, state.passed, mode};
  return false;
}

static bool chosen(long number) {
  return plan.only ? number == plan.only : plan.stride && number % plan.stride == plan.offset % plan.stride;
}

/* ---- the child ---- */

static bool lasts(fault_mode mode) {
  return mode == MODE_FROM_ON || mode == MODE_FULL_FROM_ON || mode == MODE_BUSY_FROM_ON;
}

static bool fails_again(unsigned modes) {
  if (state.healed || !(modes & 1u << state.mode))
    return false;
  return lasts(state.mode) || (state.left > 0 && state.left--);
}

bool point(fault_kind kind, unsigned modes) {
  if (state.armed <= 0 || kind != plan.kind)
    return false;
  if (state.in_child)
    return fails_again(modes);
  state.passed++;
  if (!chosen(state.passed))
    return false;
  for (int mode = 0; mode < MODES; mode++)
    if (modes & 1u << mode && spawn((fault_mode)mode))
      return true;
  return false;
}
