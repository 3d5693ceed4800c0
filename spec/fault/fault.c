/* fault: the program. `fault memory`, `disk`, `power`, `host` or `kill`, with options, and names of scenarios
   (none: all). Prints what is wrong and, last, the sum; fails where anything is wrong, or where it has
   visited fewer points than it was told to. */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

fault_plan plan;
fault_shared *shared;

/* mmap itself is wrapped for the library's sake. */
void *__real_mmap(void *at, size_t size, int access, int flags, int file, off_t offset);

enum { SCENARIOS_AT_MOST = 64 };

static char *scenarios[SCENARIOS_AT_MOST];
static int scenario_count;
static long at_least;
static char settings[80];

static void add_scenario(const char *name) {
  if (scenario_count < SCENARIOS_AT_MOST)
    scenarios[scenario_count++] = strdup(name);
}

static void usage(void) {
  fputs("usage: fault memory|disk|power|host [--stride N] [--offset N] [--point N] [--images N] [--jobs N] "
        "[--at-least N]\n"
        "             [--journal MODE] [--verbose] [SCENARIO...]\n"
        "       fault list\n"
        "       fault kill FOLDER N\n",
        stderr);
  exit(2);
}

static void read_kind(const char *word) {
  static const char *const words[FAULT_KINDS] = {"memory", "disk", "power"};
  plan.host = strcmp(word, "host") == 0;
  for (int kind = 0; kind < FAULT_KINDS; kind++)
    if (strcmp(word, words[kind]) == 0) {
      plan.kind = (fault_kind)kind;
      return;
    }
  if (!plan.host)
    usage();
}

static bool read_option(char **arg) {
  const struct {
    const char *name;
    long *value;
  } numbers[] = {{"--stride", &plan.stride},
                 {"--offset", &plan.offset},
                 {"--point", &plan.only},
                 {"--at-least", &at_least}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (strcmp(arg[0], numbers[i].name) == 0 && arg[1]) {
      *numbers[i].value = atol(arg[1]);
      return true;
    }
  if (strcmp(arg[0], "--jobs") == 0 && arg[1])
    plan.jobs = atoi(arg[1]);
  else if (strcmp(arg[0], "--images") == 0 && arg[1])
    plan.images = atoi(arg[1]);
  else if (strcmp(arg[0], "--journal") == 0 && arg[1]) {
    snprintf(settings, sizeof settings, "PRAGMA journal_mode = %s", arg[1]);
    plan.settings = settings;
  } else
    return false;
  return true;
}

static void read_arguments(int count, char **arg) {
  plan.stride = 1;
  plan.jobs = 1;
  plan.images = 10;
  read_kind(arg[1]);
  for (int i = 2; i < count; i++) {
    if (strcmp(arg[i], "--verbose") == 0)
      plan.verbose = true;
    else if (strcmp(arg[i], "--jit") == 0)
      plan.jit = true;
    else if (arg[i][0] != '-')
      add_scenario(arg[i]);
    else if (read_option(&arg[i]))
      i++;
    else
      usage();
  }
}

/* Whatever happens to a scenario, the others go on. */
static bool run_scenario(const char *name) {
  int status;
  plan.scenario = name;
  fflush(stdout);
  pid_t process = fork();
  if (process == 0)
    exit(trial_run());
  if (process < 0 || waitpid(process, &status, 0) < 0)
    return false;
  if (status != 0)
    printf("WRONG %s: the run itself ended with status %d\n", name, status);
  return status == 0;
}

static void print_name(const char *name) { puts(name); }

static int list_names(void) {
  trial_list(print_name);
  return 0;
}

int main(int count, char **arg) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (count == 4 && strcmp(arg[1], "kill") == 0)
    return kill_run(arg[2], atol(arg[3]));
  if (count < 2)
    usage();
  if (strcmp(arg[1], "list") == 0)
    return list_names();
  memory_install();
  disk_install(true);
  shared = __real_mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  read_arguments(count, arg);
  if (scenario_count == 0)
    trial_list(add_scenario);
  int bad = 0;
  for (int i = 0; i < scenario_count; i++) {
    long points = shared->points, failed = shared->failed;
    bool fine = run_scenario(scenarios[i]);
    bad += !fine;
    printf("%-14s %6ld points, %ld wrong (%ld possible)\n", scenarios[i], shared->points - points,
           shared->failed - failed, shared->offered);
  }
  printf("%s: %d scenarios, %ld points, %ld wrong\n", arg[1], scenario_count, shared->points, shared->failed);
  if (shared->points < at_least)
    printf("WRONG: only %ld points of at least %ld were visited\n", shared->points, at_least);
  return bad > 0 || shared->failed > 0 || shared->points < at_least;
}
