#include "nearest.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST = 60 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static int same(const char *a, size_t i, const char *b, size_t j) { return lower(a[i]) == lower(b[j]); }

/* Edit distance with swaps of neighbours; three rows of the table are enough. */
static size_t distance(const char *a, const char *b) {
  size_t rows[3][LONGEST + 1];
  size_t *older = rows[0], *old = rows[1], *row = rows[2], columns = strlen(b);
  for (size_t j = 0; j <= columns; j++)
    old[j] = j;
  for (size_t i = 1; i <= strlen(a); i++) {
    row[0] = i;
    for (size_t j = 1; j <= columns; j++) {
      row[j] = least(least(old[j], row[j - 1]) + 1, old[j - 1] + !same(a, i - 1, b, j - 1));
      if (i > 1 && j > 1 && same(a, i - 1, b, j - 2) && same(a, i - 2, b, j - 1))
        row[j] = least(row[j], older[j - 2] + 1);
    }
    size_t *free_row = older;
    older = old;
    old = row;
    row = free_row;
  }
  return old[columns];
}

/* One slip, or, in longer names, several that leave most of it as it was: 'find' is not 'id'. */
static int is_near(size_t slips, size_t length) { return slips < length && (slips == 1 || 2 * slips < length); }

void orr_nearest_init(orr_nearest *search, const char *name) {
  search->name = name;
  search->best = NULL;
  search->distance = most(2, strlen(name) / 3) + 1;
}

void orr_nearest_offer(orr_nearest *search, const char *candidate) {
  size_t length = strlen(search->name), other = strlen(candidate);
  if (length > LONGEST || other > LONGEST)
    return;
  size_t found = distance(search->name, candidate);
  if (found < search->distance && is_near(found, most(length, other))) {
    search->best = candidate;
    search->distance = found;
  }
}

const char *orr_nearest_hint(const orr_nearest *search, char *hint, size_t size) {
  hint[0] = '\0';
  if (search->best)
    snprintf(hint, size, "; did you mean '%s'?", search->best);
  return hint;
}
