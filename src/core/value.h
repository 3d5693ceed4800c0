/* value: the tagged values that travel between Lua, the identity map and a driver.
   Text and blobs carry a length always and are never assumed to end in NUL.
   Knows neither Lua nor a database. */
#ifndef ORR_VALUE_H
#define ORR_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum orr_tag { ORR_NULL, ORR_INT, ORR_REAL, ORR_TEXT, ORR_BLOB } orr_tag;

/* A value borrows its bytes: whoever hands one out says how long they live. */
typedef struct orr_value {
  orr_tag tag;
  size_t len; /* bytes of text or blob; otherwise 0 */
  union {
    int64_t i;
    double r;
    const char *s;
  } as;
} orr_value;

/* Whether both are the same value of the same tag; numbers by value, text and blobs byte for byte. */
bool orr_value_same(const orr_value *a, const orr_value *b);

#endif
