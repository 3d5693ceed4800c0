#include "alloc.h"

#include <stdint.h>
#include <string.h>

void *orr_alloc_array(const orr_alloc *alloc, size_t count, size_t size) {
  if (count == 0 || size > SIZE_MAX / count) /* out of reach: the second */
    return NULL;
  void *block = alloc->resize(alloc->ud, NULL, 0, count * size);
  if (block)
    memset(block, 0, count * size);
  return block;
}

void *orr_alloc_grow(const orr_alloc *alloc, void *block, size_t *capacity, size_t need, size_t size) {
  if (need <= *capacity)
    return block;
  size_t wanted = *capacity ? *capacity : 8;
  while (wanted < need) {
    if (wanted > SIZE_MAX / 2) /* out of reach: more than there is memory */
      return NULL;
    wanted *= 2;
  }
  if (wanted > SIZE_MAX / size) /* out of reach: as above */
    return NULL;
  void *grown = alloc->resize(alloc->ud, block, *capacity * size, wanted * size);
  if (grown)
    *capacity = wanted;
  return grown;
}

void orr_alloc_free(const orr_alloc *alloc, void *block, size_t count, size_t size) {
  if (block)
    alloc->resize(alloc->ud, block, count * size, 0);
}

char *orr_alloc_text(const orr_alloc *alloc, const char *text, size_t len) {
  char *copy = alloc->resize(alloc->ud, NULL, 0, len + 1); /* no text has SIZE_MAX bytes */
  if (copy) {
    memcpy(copy, text, len);
    copy[len] = '\0';
  }
  return copy;
}
