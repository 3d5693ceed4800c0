#include "history.h"

#include <string.h>

void orr_history_init(orr_history *history, orr_alloc alloc) {
  memset(history, 0, sizeof *history);
  history->alloc = alloc;
}

void orr_history_clear(orr_history *history) {
  orr_alloc_free(&history->alloc, history->entries, history->room, sizeof *history->entries);
  orr_history_init(history, history->alloc);
}

static uint32_t take(orr_history *history) {
  uint32_t number = history->free;
  if (number) {
    history->free = history->entries[number - 1].next;
    return number;
  }
  if (history->used == UINT32_MAX) /* out of reach: 64 GB of them */
    return 0;
  orr_past *entries = orr_alloc_grow(&history->alloc, history->entries, &history->room,
                                     (size_t)history->used + 1, sizeof *entries);
  if (!entries)
    return 0;
  history->entries = entries;
  return ++history->used;
}

uint32_t orr_history_add(orr_history *history, uint32_t first, int column, uint8_t tag, uint64_t bits) {
  uint32_t number = take(history);
  if (number) {
    orr_past entry = {bits, first, (uint16_t)column, tag};
    history->entries[number - 1] = entry;
  }
  return number;
}

const orr_past *orr_history_find(const orr_history *history, uint32_t first, int column) {
  for (uint32_t n = first; n; n = history->entries[n - 1].next)
    if (history->entries[n - 1].column == column)
      return &history->entries[n - 1];
  return NULL;
}

static void give_back(orr_history *history, uint32_t number) {
  history->entries[number - 1].next = history->free;
  history->free = number;
}

uint32_t orr_history_drop(orr_history *history, uint32_t first, int column) {
  for (uint32_t *link = &first; *link; link = &history->entries[*link - 1].next)
    if (history->entries[*link - 1].column == column) {
      uint32_t number = *link;
      *link = history->entries[number - 1].next;
      give_back(history, number);
      break;
    }
  return first;
}

void orr_history_release(orr_history *history, uint32_t first) {
  while (first) {
    uint32_t next = history->entries[first - 1].next;
    give_back(history, first);
    first = next;
  }
}
