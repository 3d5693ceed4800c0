/* history: what changed columns held before their first change, as one pool of small entries per session. An
   object with changes knows the first of its entries; they are given back when the change is written or
   forgotten. Knows neither Lua nor a database, and not what the bits of a value mean. */
#ifndef ORR_HISTORY_H
#define ORR_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc.h"

typedef struct orr_past {
  uint64_t bits;
  uint32_t next; /* of the same object, 0: none */
  uint16_t column;
  uint8_t tag;
} orr_past;

typedef struct orr_history {
  orr_alloc alloc;
  orr_past **blocks; /* of entries, numbered from 1 */
  size_t block_count, block_room;
  uint32_t used; /* entries handed out so far, free ones among them */
  uint32_t free; /* first free entry, 0: none */
} orr_history;

enum { ORR_HISTORY_COLUMNS = UINT16_MAX };

void orr_history_init(orr_history *history, orr_alloc alloc);
void orr_history_clear(orr_history *history); /* frees everything; usable again */

/* Puts an entry before `first` and returns its number, 0 when memory is out. */
uint32_t orr_history_add(orr_history *history, uint32_t first, int column, uint8_t tag, uint64_t bits);
/* The entry of a column in the list that begins at `first`, or NULL. */
const orr_past *orr_history_find(const orr_history *history, uint32_t first, int column);
/* Gives the entry of a column back and returns the list's beginning. */
uint32_t orr_history_drop(orr_history *history, uint32_t first, int column);
/* Gives back the whole list. */
void orr_history_release(orr_history *history, uint32_t first);

#endif
