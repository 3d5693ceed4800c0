/* cohort: which objects came with one result, by their slots in the identity map. A cohort keeps nothing
   alive: objects die as they like, and the log of slots is swept when it has doubled, so that it never holds
   more than a session does. Knows neither Lua nor a database. */
#ifndef ORR_COHORT_H
#define ORR_COHORT_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc.h"

/* A cohort's number: a counter, and below it two bits that are asked for without looking the cohort up. */
typedef uint64_t orr_cohort_number; /* 0: none */

enum {
  ORR_COHORT_OPTIONS = 1, /* a script's options came with it: they stay until other options come */
  ORR_COHORT_ASKS = 2,    /* some relation may not be answered from the identity map */
  ORR_COHORT_STEP = 4     /* from one number to the next */
};

typedef struct orr_cohort {
  orr_cohort_number number;
  size_t first, end; /* its part of the log; parts of cohorts that grow together overlap */
  size_t last_place; /* where a member was looked for last: the next one is near */
} orr_cohort;

typedef struct orr_cohorts {
  orr_alloc alloc;
  orr_cohort *list; /* by number */
  size_t count, room;
  uint32_t *log; /* slots in the order in which their objects came */
  size_t length, log_room;
  size_t limit; /* of the log, before the next sweep */
  orr_cohort_number last;
} orr_cohorts;

void orr_cohorts_init(orr_cohorts *cohorts, orr_alloc alloc);
void orr_cohorts_clear(orr_cohorts *cohorts); /* frees everything; usable again */

/* A new cohort with the bits given; 0 when memory is out. */
orr_cohort_number orr_cohort_new(orr_cohorts *cohorts, unsigned bits);
/* Notes that the object of a slot belongs to a cohort; false when memory is out. */
bool orr_cohort_join(orr_cohorts *cohorts, orr_cohort_number number, uint32_t slot);
/* NULL where it is forgotten already. */
orr_cohort *orr_cohort_find(const orr_cohorts *cohorts, orr_cohort_number number);
/* Where in the log a member stands; where its slot is not found, the cohort's beginning. */
size_t orr_cohort_place(const orr_cohorts *cohorts, orr_cohort *cohort, uint32_t slot);

/* Whether the log is due for a sweep. */
bool orr_cohorts_full(const orr_cohorts *cohorts);
/* The cohort that the object of a slot is in; 0 where there is no object. */
typedef orr_cohort_number (*orr_cohort_of)(void *ud, uint32_t slot);
/* A cohort is forgotten: nobody is in it any more. */
typedef void (*orr_cohort_gone)(void *ud, orr_cohort_number number);
void orr_cohorts_sweep(orr_cohorts *cohorts, orr_cohort_of of, orr_cohort_gone gone, void *ud);

#endif
