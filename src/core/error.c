#include "error.h"

#include <stdio.h>

/* Runs before every step of a statement: the long texts are ended, not wiped. */
void orr_error_clear(orr_error *error) {
  error->kind = error->constraint = NULL;
  error->code = 0;
  error->retryable = false;
  error->table[0] = error->columns[0] = error->message[0] = '\0';
}

int orr_error_setv(orr_error *error, const char *kind, const char *format, va_list args) {
  error->kind = kind;
  vsnprintf(error->message, sizeof error->message, format, args);
  return -1;
}

int orr_error_set(orr_error *error, const char *kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  orr_error_setv(error, kind, format, args);
  va_end(args);
  return -1;
}
