/* error: the one error record. It is filled where a fault is found and only carried afterwards;
   the Lua binding turns it into a raised error object (box.h: orr_raise).
   Knows neither Lua nor a database. */
#ifndef ORR_ERROR_H
#define ORR_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#if defined(__GNUC__)
#define ORR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ORR_PRINTF(f, a)
#endif

typedef struct orr_error {
  const char *kind;       /* SQLAlchemy's class name, a string literal; NULL: no error */
  int code;               /* the driver's own (extended) code, 0 where there is none */
  bool retryable;         /* the same work may succeed when it is tried again */
  const char *constraint; /* "unique" "not null" "foreign key" "check" "primary key" or NULL; a literal */
  char table[128];        /* table of a violated constraint, "" where unknown */
  char columns[256];      /* its columns separated by ',', "" where unknown */
  char message[1024];
} orr_error;

/* Empties `error`: afterwards it says "no fault". */
void orr_error_clear(orr_error *error);

/* Records a fault of `kind` (a string literal) with a formatted message and returns -1, so that a function
   can end in `return orr_error_set(...)`. Keeps the other fields as they are. */
int orr_error_set(orr_error *error, const char *kind, const char *format, ...) ORR_PRINTF(3, 4);
int orr_error_setv(orr_error *error, const char *kind, const char *format, va_list args);

#endif
