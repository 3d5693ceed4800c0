/* memory: the allocators that Lua (and with it the library) and SQLite are given. Every block is counted, its
   size is known, its bounds are watched, and what is freed is overwritten first, so that using it shows. */
#include "fault.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD = 16, TAIL = 8, FRESH = 0xA5, DEAD = 0xDB };
static const uint64_t LIVE = 0x6f7272657279a1b2u, GONE = 0xdeadbeefdeadbeefu;

typedef struct head {
  uint64_t mark;
  size_t size;
} head;

static memory_use lua_use, sqlite_use, page_use;
static long damage;

memory_use memory_of_lua(void) { return lua_use; }
memory_use memory_of_sqlite(void) { return sqlite_use; }
memory_use memory_of_pages(void) { return page_use; }
long memory_damage(void) { return damage; }

static head *head_of(void *block) { return (head *)((char *)block - HEAD); }

static void hurt(const char *what) {
  damage++;
  wrong("%s", what);
}

static void check(void *block) {
  head *h = head_of(block);
  if (h->mark != LIVE) {
    wrong("%s", h->mark == GONE ? "a block is used that was freed" : "a block's beginning was overwritten");
    abort();
  }
  if (memcmp((char *)block + h->size, &LIVE, TAIL) != 0)
    hurt("a block's end was overwritten");
}

static void *make(memory_use *use, size_t size) {
  char *raw = malloc(HEAD + size + TAIL);
  if (!raw)
    abort();
  head *h = (head *)raw;
  h->mark = LIVE;
  h->size = size;
  memset(raw + HEAD, FRESH, size);
  memcpy(raw + HEAD + size, &LIVE, TAIL);
  use->blocks++;
  use->bytes += size;
  return raw + HEAD;
}

static void drop(memory_use *use, void *block) {
  check(block);
  head *h = head_of(block);
  use->blocks--;
  use->bytes -= h->size;
  memset(block, DEAD, h->size);
  h->mark = GONE;
  free(h);
}

static void *change(memory_use *use, void *block, size_t size) {
  check(block);
  size_t old_size = head_of(block)->size;
  void *moved = make(use, size);
  memcpy(moved, block, old_size < size ? old_size : size);
  drop(use, block);
  return moved;
}

/* LuaJIT frees a closure that it could not finish by the size of one without upvalues. */
#ifdef LUA_JITLIBNAME
enum { KNOWS_SIZES = false };
#else
enum { KNOWS_SIZES = true };
#endif

/* Making a block smaller never fails: Lua counts on that. */
void *memory_lua(void *ud, void *block, size_t old_size, size_t new_size) {
  (void)ud;
  if (block && KNOWS_SIZES && head_of(block)->size != old_size)
    hurt("a block is given back with another size than it was asked for");
  if (new_size == 0) {
    if (block)
      drop(&lua_use, block);
    return NULL;
  }
  if ((!block || new_size > head_of(block)->size) &&
      point(FAULT_MEMORY, 1u << MODE_ONCE | 1u << MODE_TWICE | 1u << MODE_FROM_ON))
    return NULL;
  return block ? change(&lua_use, block, new_size) : make(&lua_use, new_size);
}

/* ---- SQLite's ---- */

static bool out_of_memory(void) {
  return point(FAULT_MEMORY, 1u << MODE_ONCE | 1u << MODE_TWICE | 1u << MODE_FROM_ON);
}

static void *sqlite_malloc(int size) { return out_of_memory() ? NULL : make(&sqlite_use, (size_t)size); }
static void sqlite_free(void *block) { drop(&sqlite_use, block); }
static int sqlite_size(void *block) { return block ? (int)head_of(block)->size : 0; }
static int sqlite_roundup(int size) { return (size + 7) & ~7; }
static int sqlite_init(void *data) { return (void)data, SQLITE_OK; }
static void sqlite_shutdown(void *data) { (void)data; }

static void *sqlite_realloc(void *block, int size) {
  bool grows = (size_t)size > head_of(block)->size;
  return grows && out_of_memory() ? NULL : change(&sqlite_use, block, (size_t)size);
}

void memory_install(void) {
  static sqlite3_mem_methods methods = {sqlite_malloc,  sqlite_free, sqlite_realloc,  sqlite_size,
                                        sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};
  sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
  sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

/* ---- what the library asks of the system (linked with --wrap) ---- */

/* The library refuses connections that were opened before a fork. Here forks are steps of the test, and the
   files are ours: it is told that it is always the same process. */
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void) { return 4711; }

int __wrap_madvise(void *page, size_t size, int advice);
int __wrap_madvise(void *page, size_t size, int advice) { return (void)page, (void)size, (void)advice, -1; }

void *__real_mmap(void *at, size_t size, int access, int flags, int file, off_t offset);
void *__wrap_mmap(void *at, size_t size, int access, int flags, int file, off_t offset);
void *__wrap_mmap(void *at, size_t size, int access, int flags, int file, off_t offset) {
  if (point(FAULT_MEMORY, 1u << MODE_ONCE))
    return MAP_FAILED;
  page_use.blocks++;
  return __real_mmap(at, size, access, flags, file, offset);
}

int __real_munmap(void *page, size_t size);
int __wrap_munmap(void *page, size_t size);
int __wrap_munmap(void *page, size_t size) {
  page_use.blocks--;
  return __real_munmap(page, size);
}
