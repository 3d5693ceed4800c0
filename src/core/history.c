#include "history.h"

#include <string.h>

/* Entries stay where they are while there come to be more: nothing is copied. A power of two. */
enum { BLOCK = 64 };

void orr_history_init(orr_history *history, orr_alloc alloc) {
  memset(history, 0, sizeof *history);
  history->alloc = alloc;
}

void orr_history_clear(orr_history *history) {
  for (size_t i = 0; i < history->block_count; i++)
    orr_alloc_free(&history->alloc, history->blocks[i], BLOCK, sizeof **history->blocks);
  orr_alloc_free(&history->alloc, history->blocks, history->block_room, sizeof *history->blocks);
  orr_history_init(history, history->alloc);
}

static orr_past *entry_of(const orr_history *history, uint32_t number) {
  return &history->blocks[(number - 1) / BLOCK][(number - 1) % BLOCK];
}

static bool add_block(orr_history *history) {
  orr_past **blocks = orr_alloc_grow(&history->alloc, history->blocks, &history->block_room,
                                     history->block_count + 1, sizeof *blocks);
  if (!blocks)
    return false;
  history->blocks = blocks;
  size_t none = 0;
  orr_past *block = orr_alloc_grow(&history->alloc, NULL, &none, BLOCK, sizeof *block);
  if (block)
    blocks[history->block_count++] = block;
  return block;
}

static uint32_t take(orr_history *history) {
  uint32_t number = history->free;
  if (number) {
    history->free = entry_of(history, number)->next;
    return number;
  }
  if (history->used == UINT32_MAX) /* out of reach: 64 GB of them */
    return 0;
  if (history->used == history->block_count * BLOCK && !add_block(history))
    return 0;
  return ++history->used;
}

uint32_t orr_history_add(orr_history *history, uint32_t first, int column, uint8_t tag, uint64_t bits) {
  uint32_t number = take(history);
  if (number) {
    orr_past entry = {bits, first, (uint16_t)column, tag};
    *entry_of(history, number) = entry;
  }
  return number;
}

const orr_past *orr_history_find(const orr_history *history, uint32_t first, int column) {
  for (uint32_t n = first; n; n = entry_of(history, n)->next)
    if (entry_of(history, n)->column == column)
      return entry_of(history, n);
  return NULL;
}

static void give_back(orr_history *history, uint32_t number) {
  entry_of(history, number)->next = history->free;
  history->free = number;
}

uint32_t orr_history_drop(orr_history *history, uint32_t first, int column) {
  for (uint32_t *link = &first; *link; link = &entry_of(history, *link)->next)
    if (entry_of(history, *link)->column == column) {
      uint32_t number = *link;
      *link = entry_of(history, number)->next;
      give_back(history, number);
      break;
    }
  return first;
}

void orr_history_release(orr_history *history, uint32_t first) {
  while (first) {
    uint32_t next = entry_of(history, first)->next;
    give_back(history, first);
    first = next;
  }
}
