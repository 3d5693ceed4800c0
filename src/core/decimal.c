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
  if (!isfinite(number))
    return false;
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
