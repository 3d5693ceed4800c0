#include "value.h"

#include <string.h>

bool orr_value_same(const orr_value *a, const orr_value *b) {
  if (a->tag != b->tag || a->len != b->len)
    return false;
  if (a->tag == ORR_TEXT || a->tag == ORR_BLOB)
    return memcmp(a->as.s, b->as.s, a->len) == 0;
  return a->tag == ORR_NULL || (a->tag == ORR_REAL ? a->as.r == b->as.r : a->as.i == b->as.i);
}
