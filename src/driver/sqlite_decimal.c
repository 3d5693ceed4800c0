#include "sqlite_decimal.h"

#include <sqlite3.h>
#include <string.h>

#include "../core/decimal.h"

static int compare(void *unused, int a_len, const void *a, int b_len, const void *b) {
  (void)unused;
  return orr_decimal_compare(a, (size_t)a_len, b, (size_t)b_len);
}

typedef struct text {
  const char *at;
  size_t len;
} text;

/* Integers come as their digits. */
static text text_of(sqlite3_value *value) {
  text result = {(const char *)sqlite3_value_text(value), 0};
  result.len = result.at ? (size_t)sqlite3_value_bytes(value) : 0;
  return result;
}

static bool refuse(sqlite3_context *context, orr_decimal_result result) {
  if (result == ORR_DECIMAL_OK)
    return false;
  sqlite3_result_error(context,
                       result == ORR_DECIMAL_SYNTAX ? "a value that is no exact decimal"
                                                    : "an exact decimal with too many digits",
                       -1);
  return true;
}

static void compute(sqlite3_context *context, orr_decimal_operation operation, sqlite3_value **arguments) {
  char out[ORR_DECIMAL_TEXT];
  size_t written;
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL)
    return;
  text a = text_of(arguments[0]), b = text_of(arguments[1]);
  if (!a.at || !b.at)
    sqlite3_result_error_nomem(context);
  else if (!refuse(context, orr_decimal_compute(operation, a.at, a.len, b.at, b.len, out, &written)))
    sqlite3_result_text(context, out, (int)written, SQLITE_TRANSIENT);
}

static void add(sqlite3_context *context, int count, sqlite3_value **arguments) {
  (void)count;
  compute(context, ORR_DECIMAL_ADD, arguments);
}

static void subtract(sqlite3_context *context, int count, sqlite3_value **arguments) {
  (void)count;
  compute(context, ORR_DECIMAL_SUBTRACT, arguments);
}

static void multiply(sqlite3_context *context, int count, sqlite3_value **arguments) {
  (void)count;
  compute(context, ORR_DECIMAL_MULTIPLY, arguments);
}

/* ---- sum, also over a window ---- */

/* Zeroed by SQLite when it is made; without a value there is no sum. */
typedef struct sum {
  sqlite3_int64 values;
  size_t len;
  char digits[ORR_DECIMAL_TEXT];
} sum;

static void change(sqlite3_context *context, sqlite3_value *value, orr_decimal_operation operation,
                   int values) {
  char out[ORR_DECIMAL_TEXT];
  size_t written;
  if (sqlite3_value_type(value) == SQLITE_NULL)
    return;
  sum *total = sqlite3_aggregate_context(context, sizeof *total);
  text added = text_of(value);
  if (!total || !added.at) {
    sqlite3_result_error_nomem(context);
    return;
  }
  const char *before = total->len ? total->digits : "0";
  size_t before_len = total->len ? total->len : 1;
  if (refuse(context, orr_decimal_compute(operation, before, before_len, added.at, added.len, out, &written)))
    return;
  memcpy(total->digits, out, written);
  total->len = written;
  total->values += values;
}

static void sum_step(sqlite3_context *context, int count, sqlite3_value **arguments) {
  (void)count;
  change(context, arguments[0], ORR_DECIMAL_ADD, 1);
}

static void sum_inverse(sqlite3_context *context, int count, sqlite3_value **arguments) {
  (void)count;
  change(context, arguments[0], ORR_DECIMAL_SUBTRACT, -1);
}

static void sum_value(sqlite3_context *context) {
  sum *total = sqlite3_aggregate_context(context, 0);
  if (total && total->values > 0)
    sqlite3_result_text(context, total->digits, (int)total->len, SQLITE_TRANSIENT);
}

int orr_sqlite_decimal(sqlite3 *db) {
  static const struct {
    const char *name;
    void (*call)(sqlite3_context *, int, sqlite3_value **);
  } functions[] = {{"orrery_add", add}, {"orrery_sub", subtract}, {"orrery_mul", multiply}};
  int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
#ifdef SQLITE_INNOCUOUS
  flags |= SQLITE_INNOCUOUS;
#endif
  int code = sqlite3_create_collation_v2(db, "orrery_decimal", SQLITE_UTF8, NULL, compare, NULL);
  for (size_t i = 0; code == SQLITE_OK && i < sizeof functions / sizeof *functions; i++)
    code = sqlite3_create_function_v2(db, functions[i].name, 2, flags, NULL, functions[i].call, NULL, NULL,
                                      NULL);
  if (code == SQLITE_OK)
    code = sqlite3_create_window_function(db, "orrery_sum", 1, flags, NULL, sum_step, sum_value, sum_value,
                                          sum_inverse, NULL);
  return code;
}
