/* system: what only the operating system can say: a clock that never goes back, whether output is a terminal,
   and whether this is still the process that something was made in. Knows neither Lua nor a database. */
#ifndef ORR_SYSTEM_H
#define ORR_SYSTEM_H

#include <stdbool.h>

/* Seconds since some moment in the past. */
double orr_clock(void);

/* The number of this process; 0 where processes are not forked. */
long orr_process(void);

/* Whether standard error is a terminal. */
bool orr_stderr_is_terminal(void);

/* The process that something was made in. Asking is cheap enough for every statement where the system can
   empty a page of memory in forked children; elsewhere it asks for the process number. */
typedef struct orr_origin {
  unsigned char
      *page; /* its first byte is 1 in the process that made it, 0 in its children; NULL: not possible */
  long process;
} orr_origin;

void orr_origin_init(orr_origin *origin);
void orr_origin_clear(orr_origin *origin); /* idempotent; fine for one that is all zero */

/* Whether this process is a child of the one that made it. */
static inline bool orr_origin_is_elsewhere(const orr_origin *origin) {
  return origin->page ? *origin->page == 0 : origin->process != orr_process();
}

#endif
