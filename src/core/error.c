#include "error.h"

#include <stdio.h>
#include <string.h>

void orr_error_clear(orr_error *error) { memset(error, 0, sizeof *error); }

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
