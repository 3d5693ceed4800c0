/* system: see system.h. The one file of the core that is written for an operating system. */
#if !defined(_WIN32)
#define _DEFAULT_SOURCE /* for clock_gettime and madvise */
#define _DARWIN_C_SOURCE
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "system.h"

#include <stddef.h>
#include <time.h>

#if defined(_WIN32)

double orr_clock(void) { return (double)clock() / CLOCKS_PER_SEC; }

long orr_process(void) { return 0; }

bool orr_stderr_is_terminal(void) { return false; }

#else

double orr_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

long orr_process(void) { return (long)getpid(); }

bool orr_stderr_is_terminal(void) { return isatty(STDERR_FILENO) == 1; }

#endif

/* ---- forks ---- */

#if defined(MADV_WIPEONFORK) && defined(MAP_ANONYMOUS)

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static unsigned char *new_page(void) {
  void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return NULL;
  if (madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
    munmap(page, page_size());
    return NULL;
  }
  *(unsigned char *)page = 1;
  return page;
}

static void free_page(unsigned char *page) {
  if (page)
    munmap(page, page_size());
}

#else

static unsigned char *new_page(void) { return NULL; }

static void free_page(unsigned char *page) { (void)page; }

#endif

void orr_origin_init(orr_origin *origin) {
  origin->process = orr_process();
  origin->page = new_page();
}

void orr_origin_clear(orr_origin *origin) {
  free_page(origin->page);
  origin->page = NULL;
}
