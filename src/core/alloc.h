/* alloc: every byte that the core keeps comes through one of these, with its sizes, so that a host's
   allocator sees them and a test can make each of them fail.
   Knows neither Lua nor a database; its function has the shape of a lua_Alloc on purpose. */
#ifndef ORR_ALLOC_H
#define ORR_ALLOC_H

#include <stddef.h>

typedef struct orr_alloc {
  /* Grows, shrinks or (new_size 0) frees a block; NULL when memory is out, the block then unchanged. */
  void *(*resize)(void *ud, void *block, size_t old_size, size_t new_size);
  void *ud;
} orr_alloc;

/* A zeroed array of `count` elements of `size` bytes, or NULL (also when the product overflows). */
void *orr_alloc_array(const orr_alloc *alloc, size_t count, size_t size);

/* Grows an array so that it holds at least `need` elements: doubles `*capacity`, returns the block (maybe
   moved) or NULL with the old block still valid. New elements are not initialised. */
void *orr_alloc_grow(const orr_alloc *alloc, void *block, size_t *capacity, size_t need, size_t size);

/* Frees an array made of `count` elements of `size` bytes; a NULL block is fine. */
void orr_alloc_free(const orr_alloc *alloc, void *block, size_t count, size_t size);

/* A copy of `len` bytes with a NUL behind them, or NULL; freed by orr_alloc_free(alloc, text, len + 1, 1). */
char *orr_alloc_text(const orr_alloc *alloc, const char *text, size_t len);

#endif
