#include "cohort.h"

#include <string.h>

enum { FIRST_LIMIT = 256 };

void orr_cohorts_init(orr_cohorts *cohorts, orr_alloc alloc) {
  memset(cohorts, 0, sizeof *cohorts);
  cohorts->alloc = alloc;
  cohorts->limit = FIRST_LIMIT;
}

/* Numbers go on: objects of a former time must not be taken for members of a new cohort. */
void orr_cohorts_clear(orr_cohorts *cohorts) {
  orr_cohort_number last = cohorts->last;
  orr_alloc_free(&cohorts->alloc, cohorts->list, cohorts->room, sizeof *cohorts->list);
  orr_alloc_free(&cohorts->alloc, cohorts->log, cohorts->log_room, sizeof *cohorts->log);
  orr_cohorts_init(cohorts, cohorts->alloc);
  cohorts->last = last;
}

orr_cohort_number orr_cohort_new(orr_cohorts *cohorts, unsigned bits) {
  orr_cohort *grown =
      orr_alloc_grow(&cohorts->alloc, cohorts->list, &cohorts->room, cohorts->count + 1, sizeof *grown);
  if (!grown)
    return 0;
  cohorts->list = grown;
  cohorts->last = (cohorts->last & ~(orr_cohort_number)(ORR_COHORT_STEP - 1)) + ORR_COHORT_STEP + bits;
  orr_cohort *made = &grown[cohorts->count++];
  made->number = cohorts->last;
  made->first = made->end = made->last_place = cohorts->length;
  return made->number;
}

orr_cohort *orr_cohort_find(const orr_cohorts *cohorts, orr_cohort_number number) {
  size_t low = 0, high = cohorts->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (cohorts->list[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return low < cohorts->count && cohorts->list[low].number == number ? &cohorts->list[low] : NULL;
}

static size_t search(const orr_cohorts *cohorts, size_t from, size_t end, uint32_t slot) {
  while (from < end && cohorts->log[from] != slot)
    from++;
  return from;
}

size_t orr_cohort_place(const orr_cohorts *cohorts, orr_cohort *cohort, uint32_t slot) {
  size_t near = cohort->last_place;
  if (near < cohort->first || near >= cohort->end)
    near = cohort->first;
  size_t place = search(cohorts, near, cohort->end, slot);
  if (place == cohort->end)
    place = search(cohorts, cohort->first, near, slot);
  cohort->last_place = place;
  return place;
}

bool orr_cohort_join(orr_cohorts *cohorts, orr_cohort_number number, uint32_t slot) {
  orr_cohort *cohort = orr_cohort_find(cohorts, number);
  if (!cohort)
    return true;
  uint32_t *grown =
      orr_alloc_grow(&cohorts->alloc, cohorts->log, &cohorts->log_room, cohorts->length + 1, sizeof *grown);
  if (!grown)
    return false;
  cohorts->log = grown;
  if (cohort->first == cohort->end)
    cohort->first = cohorts->length;
  grown[cohorts->length++] = slot;
  cohort->end = cohorts->length;
  return true;
}

bool orr_cohorts_full(const orr_cohorts *cohorts) {
  return cohorts->length + cohorts->count >= cohorts->limit;
}

/* Moves the entries that still stand for a member to the front. While entries move, `former` says where a
   cohort's part was, and an object that has joined another cohort since counts there only. */
static void keep_entries(orr_cohorts *cohorts, const orr_cohort *former, orr_cohort_of of, void *ud) {
  size_t kept = 0;
  for (size_t i = 0; i < cohorts->length; i++) {
    uint32_t slot = cohorts->log[i];
    orr_cohort *cohort = orr_cohort_find(cohorts, of(ud, slot));
    const orr_cohort *was = cohort ? &former[cohort - cohorts->list] : NULL;
    if (!was || i < was->first || i >= was->end)
      continue;
    if (cohort->first == cohort->end)
      cohort->first = kept;
    cohorts->log[kept++] = slot;
    cohort->end = kept;
  }
  cohorts->length = kept;
}

static void drop_empty(orr_cohorts *cohorts, orr_cohort_gone gone, void *ud) {
  size_t kept = 0;
  for (size_t i = 0; i < cohorts->count; i++) {
    if (cohorts->list[i].first < cohorts->list[i].end)
      cohorts->list[kept++] = cohorts->list[i];
    else
      gone(ud, cohorts->list[i].number);
  }
  cohorts->count = kept;
}

void orr_cohorts_sweep(orr_cohorts *cohorts, orr_cohort_of of, orr_cohort_gone gone, void *ud) {
  size_t count = cohorts->count; /* some: the log is full of what they hold */
  orr_cohort *former = orr_alloc_array(&cohorts->alloc, count, sizeof *former);
  if (!former) { /* the log may grow on for now */
    cohorts->limit *= 2;
    return;
  }
  memcpy(former, cohorts->list, count * sizeof *former);
  for (size_t i = 0; i < count; i++)
    cohorts->list[i].first = cohorts->list[i].end = 0;
  keep_entries(cohorts, former, of, ud);
  drop_empty(cohorts, gone, ud);
  orr_alloc_free(&cohorts->alloc, former, count, sizeof *former);
  size_t live = cohorts->length + cohorts->count;
  cohorts->limit = live * 2 > FIRST_LIMIT ? live * 2 : FIRST_LIMIT;
}
