/* power: what a database is after the power went, several times for each moment, and whether all that was
   promised is still there. */
#include "fault.h"

#include <unistd.h>

static void check(int image) {
  const char *fault = judge_integrity(DATABASE);
  uint64_t print = judge_fingerprint(DATABASE, NULL, 0);
  int stage = trial_stage();
  if (fault)
    wrong("image %d: the database is damaged: %s", image, fault);
  else if (print == shared->at[stage] || (stage < shared->stages && print == shared->at[stage + 1]))
    return;
  else
    wrong("image %d: after %d acknowledged commits the database holds something else%s", image, stage,
          stage > 0 && print == shared->at[stage - 1] ? ": the last one is lost" : "");
}

void power_cut(void) {
  points_arm(false);
  for (int image = 1; image <= plan.images; image++) {
    disk_cut((uint64_t)points_number() * 1000 + (uint64_t)image);
    check(image);
    disk_uncut();
    __sync_fetch_and_add(&shared->points, 1);
  }
  _exit(points_verdict());
}
