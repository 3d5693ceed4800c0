/* nearest: the name that a misspelt name was most likely meant to be, for error messages made in C.
   Follows the rules of `nearest` in lua/orrery/errors.lua. */
#ifndef ORR_NEAREST_H
#define ORR_NEAREST_H

#include <stddef.h>

/* Candidates come one by one: start with a zeroed search, offer each, read `best` (NULL: none is near).
   Names are borrowed. */
typedef struct orr_nearest {
  const char *name;
  const char *best;
  size_t distance; /* of the best one */
} orr_nearest;

void orr_nearest_init(orr_nearest *search, const char *name);
void orr_nearest_offer(orr_nearest *search, const char *candidate);

/* Writes "; did you mean 'x'?" or "" into `hint` and returns it. */
const char *orr_nearest_hint(const orr_nearest *search, char *hint, size_t size);

#endif
