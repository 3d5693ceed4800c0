/* decimal: exact decimal numbers as text ("-12.50"): checks, rewrites, compares, adds and multiplies them. */
#ifndef ORR_DECIMAL_H
#define ORR_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>

/* A decimal's shape: at most `precision` digits, `scale` of them behind the point. 0 and 0: any. */
typedef struct orr_decimal_shape {
  int precision, scale;
} orr_decimal_shape;

typedef enum orr_decimal_result {
  ORR_DECIMAL_OK,
  ORR_DECIMAL_SYNTAX, /* not digits with at most one point between them and one '-' before them */
  ORR_DECIMAL_SHAPE,  /* more digits than the shape has, or than `room` */
} orr_decimal_result;

/* Writes `text` so that equal numbers have equal text: no zeros or sign without a meaning, and exactly
   `scale` decimals, or as few as it needs where the shape is any. `out` is not ended by a NUL. */
orr_decimal_result orr_decimal_rewrite(const char *text, size_t len, orr_decimal_shape shape, char *out,
                                       size_t room, size_t *written);

/* Whether a finite double is, to its last bit, a decimal of this shape: what printing it with `scale`
   decimals and reading that back gives again. */
bool orr_decimal_holds(double number, orr_decimal_shape shape);

/* Whether an integer of `magnitude` has room before the point. */
bool orr_decimal_holds_integer(unsigned long long magnitude, orr_decimal_shape shape);

/* Less than 0, 0 or more, as the numbers that two texts are; what is no decimal comes after all that are, by
   its bytes. A total order. */
int orr_decimal_compare(const char *a, size_t a_len, const char *b, size_t b_len);

typedef enum orr_decimal_operation {
  ORR_DECIMAL_ADD,
  ORR_DECIMAL_SUBTRACT,
  ORR_DECIMAL_MULTIPLY,
} orr_decimal_operation;

/* Digits that a number has room for while it is computed, and bytes for its text. */
enum { ORR_DECIMAL_DIGITS = 250, ORR_DECIMAL_TEXT = ORR_DECIMAL_DIGITS + 4 };

/* The exact result of an operation on two texts; ORR_DECIMAL_SHAPE where it has too many digits. `out` has
   ORR_DECIMAL_TEXT bytes and is not ended by a NUL. */
orr_decimal_result orr_decimal_compute(orr_decimal_operation operation, const char *a, size_t a_len,
                                       const char *b, size_t b_len, char *out, size_t *written);

#endif
