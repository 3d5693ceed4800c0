/* markers: finds the ":name" markers of text() SQL. Reads SQL just so far as to know what is a literal, a
   quoted name or a comment: markers count in none of them. */
#ifndef ORR_MARKERS_H
#define ORR_MARKERS_H

#include <stddef.h>

typedef enum orr_marker {
  ORR_MARKER_NONE,   /* all is read */
  ORR_MARKER_NAME,   /* ":name" */
  ORR_MARKER_FOREIGN /* a database's own: "?", "?1", "$name", "@name" */
} orr_marker;

typedef struct orr_markers {
  const char *begin, *at, *end; /* the text, and what is still to be read of it */
  char *out;                    /* where its copy goes: room for as many bytes as the text has */
} orr_markers;

/* Copies up to the next marker and passes over it; its name is in `name`, `len` (that of a foreign one with
   its sign). In the copy "\:" is a plain colon. "::" and a colon right behind a word are no markers. Linear
   in the whole text. */
orr_marker orr_markers_next(orr_markers *markers, const char **name, size_t *len);

#endif
