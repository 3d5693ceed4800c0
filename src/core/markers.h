/* markers: finds the ":name" markers of text() SQL and translates them to positional ones. Reads SQL just so
   far as to know what is a literal, a quoted name or a comment. */
#ifndef ORR_MARKERS_H
#define ORR_MARKERS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct orr_markers {
  const char *at, *end; /* what is still to be read */
  char *out;            /* where its translation goes: room for as many bytes as there are to read */
} orr_markers;

/* Translates up to and with the next marker (":name" becomes "?") and gives its name, or all that is left and
   returns false. "\:" is a plain colon; "::" and a colon right behind a word are kept. Linear in the whole
   text. */
bool orr_markers_next(orr_markers *markers, const char **name, size_t *len);

#endif
