#include "decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SCALE = 1000, LARGEST_DOUBLE = 310 };

static bool any(orr_decimal_shape shape) { return shape.precision == 0 && shape.scale == 0; }

/* A decimal cut into its parts; the digits are borrowed, without zeros that mean nothing. */
typedef struct parts {
  bool negative;
  const char *whole, *fraction;
  size_t wholes, fractions;
} parts;

static size_t count_digits(const char *text, const char *end) {
  const char *at = text;
  while (at < end && *at >= '0' && *at <= '9')
    at++;
  return (size_t)(at - text);
}

static bool cut(const char *text, size_t len, parts *out) {
  const char *end = text + len;
  out->negative = len > 0 && *text == '-';
  out->whole = text + out->negative;
  out->wholes = count_digits(out->whole, end);
  out->fraction = out->whole + out->wholes;
  out->fractions = 0;
  if (out->fraction < end && *out->fraction == '.') {
    out->fraction++;
    out->fractions = count_digits(out->fraction, end);
    if (out->fractions == 0)
      return false;
  }
  return out->wholes > 0 && out->fraction + out->fractions == end;
}

static void trim(parts *number) {
  for (; number->wholes > 0 && *number->whole == '0'; number->wholes--)
    number->whole++;
  while (number->fractions > 0 && number->fraction[number->fractions - 1] == '0')
    number->fractions--;
  if (number->wholes == 0 && number->fractions == 0)
    number->negative = false;
}

static bool fits(const parts *number, orr_decimal_shape shape) {
  if (any(shape))
    return true;
  bool whole = shape.precision == 0 || number->wholes <= (size_t)(shape.precision - shape.scale);
  return whole && number->fractions <= (size_t)shape.scale;
}

orr_decimal_result orr_decimal_rewrite(const char *text, size_t len, orr_decimal_shape shape, char *out,
                                       size_t room, size_t *written) {
  parts number;
  if (!cut(text, len, &number))
    return ORR_DECIMAL_SYNTAX;
  trim(&number);
  size_t decimals = any(shape) ? number.fractions : (size_t)shape.scale;
  if (!fits(&number, shape) || number.wholes + decimals + 3 > room)
    return ORR_DECIMAL_SHAPE;
  char *at = out;
  if (number.negative)
    *at++ = '-';
  if (number.wholes == 0)
    *at++ = '0';
  memcpy(at, number.whole, number.wholes);
  at += number.wholes;
  if (decimals > 0) {
    *at++ = '.';
    memset(at, '0', decimals);
    memcpy(at, number.fraction, number.fractions);
    at += decimals;
  }
  *written = (size_t)(at - out);
  return ORR_DECIMAL_OK;
}

/* The definition, for numbers where `holds` cannot be decided in doubles. */
static bool holds_printed(double number, orr_decimal_shape shape) {
  char text[LARGEST_DOUBLE + MAX_SCALE + 4];
  if (shape.scale > MAX_SCALE)
    return false;
  snprintf(text, sizeof text, "%.*f", shape.scale, fabs(number));
  if (strtod(text, NULL) != fabs(number))
    return false;
  size_t wholes = text[0] == '0' ? 0 : strspn(text, "0123456789");
  return shape.precision == 0 || wholes <= (size_t)(shape.precision - shape.scale);
}

/* Powers of ten that doubles hold exactly. */
static const double POWER[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { POWERS = sizeof POWER / sizeof *POWER };

/* Both an integer below 2^53 and a power of ten up to 10^22 are exact, so that their quotient is the double
   nearest to the decimal: the one that reading its text would give. */
bool orr_decimal_holds(double number, orr_decimal_shape shape) {
  if (any(shape))
    return true;
  if (shape.scale >= POWERS)
    return holds_printed(number, shape);
  double units = nearbyint(number * POWER[shape.scale]);
  if (!(fabs(units) < 9007199254740992.0))
    return holds_printed(number, shape);
  bool room = shape.precision == 0 || shape.precision >= 16 || fabs(units) < POWER[shape.precision];
  return room && units / POWER[shape.scale] == number;
}

bool orr_decimal_holds_integer(unsigned long long magnitude, orr_decimal_shape shape) {
  if (shape.precision == 0)
    return true;
  int digits = 0;
  for (; magnitude > 0; magnitude /= 10)
    digits++;
  return digits <= shape.precision - shape.scale;
}

/* ---- comparing ---- */

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len) {
  size_t shorter = a_len < b_len ? a_len : b_len;
  int order = shorter ? memcmp(a, b, shorter) : 0;
  return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_magnitudes(const parts *a, const parts *b) {
  if (a->wholes != b->wholes)
    return a->wholes < b->wholes ? -1 : 1;
  int order = compare_bytes(a->whole, a->wholes, b->whole, b->wholes);
  return order ? order : compare_bytes(a->fraction, a->fractions, b->fraction, b->fractions);
}

int orr_decimal_compare(const char *a, size_t a_len, const char *b, size_t b_len) {
  parts left, right;
  bool left_is = cut(a, a_len, &left), right_is = cut(b, b_len, &right);
  if (!left_is || !right_is)
    return left_is != right_is ? (left_is ? -1 : 1) : compare_bytes(a, a_len, b, b_len);
  trim(&left);
  trim(&right);
  if (left.negative != right.negative)
    return left.negative ? -1 : 1;
  int order = compare_magnitudes(&left, &right);
  return left.negative ? -order : order;
}

/* ---- computing ---- */

/* Digits from the last decimal upwards; `scale` of them stand behind the point. */
typedef struct digits {
  bool negative;
  size_t count, scale;
  unsigned char at[ORR_DECIMAL_DIGITS];
} digits;

static bool put_reversed(digits *out, const char *text, size_t len) {
  if (len > ORR_DECIMAL_DIGITS - out->count)
    return false;
  while (len > 0)
    out->at[out->count++] = (unsigned char)(text[--len] - '0');
  return true;
}

/* With at least `scale` decimals, so that two numbers stand under each other. */
static bool spread(const parts *number, size_t scale, digits *out) {
  out->negative = number->negative;
  out->count = 0;
  out->scale = scale > number->fractions ? scale : number->fractions;
  if (out->scale > ORR_DECIMAL_DIGITS)
    return false;
  while (out->count < out->scale - number->fractions)
    out->at[out->count++] = 0;
  return put_reversed(out, number->fraction, number->fractions) &&
         put_reversed(out, number->whole, number->wholes);
}

static unsigned digit_at(const digits *number, size_t place) {
  return place < number->count ? number->at[place] : 0;
}

/* |a| + |b|, or |a| - |b| where the first is not smaller. */
static bool combine(const digits *a, const digits *b, bool subtract, digits *out) {
  size_t places = a->count > b->count ? a->count : b->count;
  int carry = 0;
  out->scale = a->scale;
  for (out->count = 0; out->count < places || carry; out->count++) {
    if (out->count == ORR_DECIMAL_DIGITS)
      return false;
    int other = (int)digit_at(b, out->count);
    int sum = (int)digit_at(a, out->count) + carry + (subtract ? -other : other);
    carry = sum < 0 ? -1 : sum / 10;
    out->at[out->count] = (unsigned char)(sum - 10 * carry);
  }
  return true;
}

static bool add(const parts *left, const parts *right, digits *out) {
  size_t scale = left->fractions > right->fractions ? left->fractions : right->fractions;
  digits a, b;
  if (!spread(left, scale, &a) || !spread(right, scale, &b))
    return false;
  if (a.negative == b.negative) {
    out->negative = a.negative;
    return combine(&a, &b, false, out);
  }
  bool larger = compare_magnitudes(left, right) >= 0;
  out->negative = larger ? a.negative : b.negative;
  return larger ? combine(&a, &b, true, out) : combine(&b, &a, true, out);
}

static bool multiply(const parts *left, const parts *right, digits *out) {
  digits a, b;
  if (!spread(left, 0, &a) || !spread(right, 0, &b) || a.count + b.count > ORR_DECIMAL_DIGITS)
    return false;
  out->negative = a.negative != b.negative;
  out->count = a.count + b.count;
  out->scale = a.scale + b.scale;
  memset(out->at, 0, out->count);
  for (size_t i = 0; i < a.count; i++) {
    unsigned carry = 0;
    for (size_t j = 0; j < b.count || carry; j++) {
      unsigned sum = out->at[i + j] + carry + a.at[i] * digit_at(&b, j);
      out->at[i + j] = (unsigned char)(sum % 10);
      carry = sum / 10;
    }
  }
  return true;
}

static orr_decimal_result write_digits(const digits *number, char *out, size_t *written) {
  static const orr_decimal_shape ANY = {0, 0};
  char text[ORR_DECIMAL_TEXT], *at = text;
  if (number->negative)
    *at++ = '-';
  if (number->count <= number->scale)
    *at++ = '0';
  size_t places = number->count > number->scale ? number->count : number->scale;
  for (size_t place = places; place > 0; place--) {
    if (place == number->scale)
      *at++ = '.';
    *at++ = (char)('0' + digit_at(number, place - 1));
  }
  return orr_decimal_rewrite(text, (size_t)(at - text), ANY, out, ORR_DECIMAL_TEXT, written);
}

orr_decimal_result orr_decimal_compute(orr_decimal_operation operation, const char *a, size_t a_len,
                                       const char *b, size_t b_len, char *out, size_t *written) {
  parts left, right;
  digits result;
  if (!cut(a, a_len, &left) || !cut(b, b_len, &right))
    return ORR_DECIMAL_SYNTAX;
  trim(&left);
  trim(&right);
  if (operation == ORR_DECIMAL_SUBTRACT)
    right.negative = !right.negative;
  bool done =
      operation == ORR_DECIMAL_MULTIPLY ? multiply(&left, &right, &result) : add(&left, &right, &result);
  return done ? write_digits(&result, out, written) : ORR_DECIMAL_SHAPE;
}
