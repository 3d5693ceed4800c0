/* utf8: whether bytes are well-formed UTF-8, and how many characters they are. Nothing else about text. */
#ifndef ORR_UTF8_H
#define ORR_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Counts the characters of `text`; false where it is not UTF-8 as Unicode defines it (surrogates and
   overlong forms are not). */
bool orr_utf8_count(const char *text, size_t len, size_t *characters);

#endif
