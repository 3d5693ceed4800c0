#include "utf8.h"

#include <stdint.h>
#include <string.h>

/* The bytes of the well-formed multi-byte character at `s`, or 0. The second byte's range depends on the
   first: that is where overlong forms, surrogates and what lies above U+10FFFF are left out. */
static size_t character(const unsigned char *s, size_t left) {
  if (s[0] < 0xC2 || s[0] > 0xF4)
    return 0;
  size_t need = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
  unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
  unsigned high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
  if (left < need || s[1] < low || s[1] > high)
    return 0;
  for (size_t i = 2; i < need; i++)
    if ((s[i] & 0xC0) != 0x80)
      return 0;
  return need;
}

/* The number of ASCII bytes that `s` begins with, as far as whole words of eight show it. */
static size_t ascii_words(const unsigned char *s, size_t len) {
  size_t i = 0;
  for (uint64_t word; len - i >= sizeof word; i += sizeof word) {
    memcpy(&word, s + i, sizeof word);
    if (word & UINT64_C(0x8080808080808080))
      break;
  }
  return i;
}

bool orr_utf8_count(const char *text, size_t len, size_t *characters) {
  const unsigned char *s = (const unsigned char *)text;
  size_t i = ascii_words(s, len), count = i;
  for (; i < len; count++) {
    size_t bytes = s[i] < 0x80 ? 1 : character(s + i, len - i);
    if (bytes == 0)
      return false;
    i += bytes;
  }
  *characters = count;
  return true;
}
