/* typelib: Lua values to database values and back, column type by column type. Decides nothing about
   tables or statements; what a type means in SQL text is lua/orrery/types.lua's.

   Assigning is strict: a value that would be changed on its way is refused. Loading is faithful: what does
   not fit is pushed as it is stored. Dates are stored as SQLite's own date functions write them
   ('YYYY-MM-DD HH:MM:SS[.ffffff]') and read as ISO-8601 ('T' between date and time). Infinities are stored
   exactly by a FLOAT and refused by a NUMERIC; the sign of -0.0 is the database's affair. */
#include "typelib.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/decimal.h"
#include "../core/moment.h"
#include "../core/utf8.h"
#include "libs.h"

static const orr_box_kind TYPE = {"type", NULL};

/* ---- values in messages ---- */

enum { SHOWN = 60, DESCRIPTION = SHOWN * 4 + 16 };

/* The shortest text that reads back as the same double. */
static void print_double(double number, char *out, size_t room) {
  snprintf(out, room, "%.15g", number);
  if (strtod(out, NULL) != number)
    snprintf(out, room, "%.17g", number);
}

/* One byte as a message shows it; high bytes are shown as they are only in UTF-8. */
static size_t escape(unsigned char byte, bool utf8, char *out) {
  if (byte == '\'' || byte == '\\')
    return (size_t)sprintf(out, "\\%c", byte);
  if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8))
    return (size_t)sprintf(out, "\\%03d", byte);
  *out = (char)byte;
  return 1;
}

/* The text in quotes with control bytes escaped, cut when long but not within a character. */
static void describe_text(const char *text, size_t len, char out[DESCRIPTION]) {
  size_t shown = len <= SHOWN ? len : SHOWN, ignored;
  while (shown < len && shown > SHOWN - 4 && ((unsigned char)text[shown] & 0xC0) == 0x80)
    shown--;
  bool utf8 = orr_utf8_count(text, shown, &ignored);
  *out++ = '\'';
  for (size_t i = 0; i < shown; i++)
    out += escape((unsigned char)text[i], utf8, out);
  strcpy(out, shown < len ? "...'" : "'");
}

static void describe(lua_State *L, int index, char out[DESCRIPTION]) {
  size_t len;
  const char *text;
  switch (lua_type(L, index)) {
  case LUA_TSTRING:
    text = lua_tolstring(L, index, &len);
    describe_text(text, len, out);
    break;
  case LUA_TNUMBER:
#if ORR_INT64
    if (lua_isinteger(L, index)) {
      snprintf(out, DESCRIPTION, "%lld", (long long)lua_tointeger(L, index));
      break;
    }
#endif
    print_double(lua_tonumber(L, index), out, DESCRIPTION);
    break;
  case LUA_TBOOLEAN:
    strcpy(out, lua_toboolean(L, index) ? "true" : "false");
    break;
  default:
    snprintf(out, DESCRIPTION, "a %s", luaL_typename(L, index));
  }
}

/* "<what> expected, got <value>" */
static int refuse(lua_State *L, int index, const char *what, orr_error *error) {
  char value[DESCRIPTION];
  describe(L, index, value);
  return orr_error_set(error, "ArgumentError", "%s expected, got %s", what, value);
}

/* ---- take: one function a kind ---- */

typedef struct taking {
  lua_State *L;
  int index;
  const orr_type *type;
  orr_value *out;
  char *scratch;
  orr_error *error;
} taking;

typedef int (*taker)(const taking *t);

static int fail(const taking *t, const char *what) { return refuse(t->L, t->index, what, t->error); }

static int give_int(const taking *t, int64_t value) {
  t->out->tag = ORR_INT;
  t->out->as.i = value;
  return 0;
}

static int give_real(const taking *t, double value) {
  t->out->tag = ORR_REAL;
  t->out->as.r = value;
  return 0;
}

static int give_bytes(const taking *t, orr_tag tag, const char *bytes, size_t len) {
  t->out->tag = tag;
  t->out->as.s = bytes;
  t->out->len = len;
  return 0;
}

/* Whether the value is an integer for Lua; where Lua has only doubles, whether it is a whole one. */
static bool is_integer(lua_State *L, int index) {
#if ORR_INT64
  return lua_isinteger(L, index);
#else
  int64_t ignored;
  return orr_toint64(L, index, &ignored);
#endif
}

/* Where numbers are doubles, 2^53 is what 2^53 + 1 became when it was read: which one was meant is unknown.
 */
static bool exact_integer(lua_State *L, int index, int64_t *out) {
  return orr_toint64(L, index, out) && (ORR_INT64 || (*out<ORR_MAX_SAFE && * out> - ORR_MAX_SAFE));
}

/* Whether a number that is not an exact integer may still have been written as one. */
static bool was_integer(double number) {
  return !ORR_INT64 && fabs(number) >= (double)ORR_MAX_SAFE && fabs(number) <= 9223372036854775808.0;
}

static const char INEXACT[] = "a number that this Lua holds exactly (below 2^53; as = \"string\" takes more)";

/* A canonical decimal integer within int64: what as = "string" gives out again unchanged. */
static bool read_integer(const char *text, size_t len, int64_t *out) {
  bool negative = len > 0 && *text == '-';
  size_t i = negative;
  uint64_t magnitude = 0, limit = (uint64_t)INT64_MAX + negative;
  if (i == len || (text[i] == '0' && len > 1))
    return false;
  for (; i < len; i++) {
    unsigned digit = (unsigned char)text[i] - (unsigned)'0';
    if (digit > 9 || magnitude > (limit - digit) / 10)
      return false;
    magnitude = magnitude * 10 + digit;
  }
  *out = negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude;
  return true;
}

static int take_integer(const taking *t) {
  int64_t value;
  if (exact_integer(t->L, t->index, &value))
    return give_int(t, value);
  if (t->type->as == ORR_AS_STRING && lua_type(t->L, t->index) == LUA_TSTRING) {
    size_t len;
    const char *text = lua_tolstring(t->L, t->index, &len);
    return read_integer(text, len, &value) ? give_int(t, value)
                                           : fail(t, "an integer in decimal digits within 64 bits");
  }
  if (lua_type(t->L, t->index) != LUA_TNUMBER)
    return fail(t, "an integer");
  double number = lua_tonumber(t->L, t->index);
  if (was_integer(number))
    return fail(t, INEXACT);
  return fail(t, number == floor(number) ? "an integer within 64 bits" : "an integer");
}

static int take_float(const taking *t) {
  if (lua_type(t->L, t->index) != LUA_TNUMBER)
    return fail(t, "a number");
  double number = lua_tonumber(t->L, t->index);
  int64_t whole;
  if (is_integer(t->L, t->index) && orr_toint64(t->L, t->index, &whole) &&
      (number >= 9223372036854775808.0 || (int64_t)number != whole))
    return fail(t, "a number that a double holds exactly");
  return isnan(number) ? fail(t, "a number (not NaN)") : give_real(t, number);
}

static orr_decimal_shape shape_of(const orr_type *type) {
  orr_decimal_shape shape = {type->precision, type->scale};
  return shape;
}

static int misfit(const taking *t) {
  char what[96];
  if (t->type->precision)
    snprintf(what, sizeof what, "a number of at most %d digits, %d of them decimals,", t->type->precision,
             t->type->scale);
  else
    snprintf(what, sizeof what, "a number with at most %d decimals", t->type->scale);
  return fail(t, what);
}

static int take_decimal_text(const taking *t, const char *text, size_t len) {
  size_t written;
  switch (orr_decimal_rewrite(text, len, shape_of(t->type), t->scratch, ORR_TYPE_SCRATCH, &written)) {
  case ORR_DECIMAL_OK:
    return give_bytes(t, ORR_TEXT, t->scratch, written);
  case ORR_DECIMAL_SHAPE:
    return t->type->precision || t->type->scale ? misfit(t) : fail(t, "a decimal of at most 45 digits");
  default:
    return fail(t, "a decimal like '-12.50'");
  }
}

/* as = "string": text that the database keeps digit by digit. */
static int take_decimal(const taking *t) {
  int64_t whole;
  char digits[24];
  size_t len;
  const char *text;
  if (exact_integer(t->L, t->index, &whole))
    return take_decimal_text(t, digits, (size_t)sprintf(digits, "%lld", (long long)whole));
  if (lua_type(t->L, t->index) != LUA_TSTRING)
    return fail(t, "a decimal as a string, or an integer,");
  text = lua_tolstring(t->L, t->index, &len);
  return take_decimal_text(t, text, len);
}

static int take_numeric(const taking *t) {
  int64_t whole;
  if (t->type->as == ORR_AS_STRING)
    return take_decimal(t);
  if (lua_type(t->L, t->index) != LUA_TNUMBER)
    return fail(t, "a number");
  if (exact_integer(t->L, t->index, &whole)) {
    uint64_t magnitude = whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole;
    return orr_decimal_holds_integer(magnitude, shape_of(t->type)) ? give_int(t, whole) : misfit(t);
  }
  double number = lua_tonumber(t->L, t->index);
  if (!isfinite(number))
    return fail(t, "a finite number");
  if (was_integer(number))
    return fail(t, INEXACT);
  return orr_decimal_holds(number, shape_of(t->type)) ? give_real(t, number) : misfit(t);
}

static int take_text(const taking *t) {
  size_t len, characters;
  if (lua_type(t->L, t->index) != LUA_TSTRING)
    return fail(t, "a string");
  const char *text = lua_tolstring(t->L, t->index, &len);
  if (!orr_utf8_count(text, len, &characters))
    return fail(t, "a string in UTF-8 (LargeBinary keeps any bytes)");
  if (t->type->length > 0 && characters > (size_t)t->type->length) {
    char what[64];
    snprintf(what, sizeof what, "a string of at most %d characters", t->type->length);
    return fail(t, what);
  }
  return give_bytes(t, ORR_TEXT, text, len);
}

static int take_boolean(const taking *t) {
  if (lua_type(t->L, t->index) != LUA_TBOOLEAN)
    return fail(t, "true or false");
  return give_int(t, lua_toboolean(t->L, t->index));
}

static int take_blob(const taking *t) {
  size_t len;
  if (lua_type(t->L, t->index) != LUA_TSTRING)
    return fail(t, "a string");
  const char *bytes = lua_tolstring(t->L, t->index, &len);
  return give_bytes(t, ORR_BLOB, bytes, len);
}

/* An untyped value: what its Lua type says. A whole number is an integer where Lua has only doubles. */
static int take_any_number(const taking *t) {
  int64_t whole;
  if (is_integer(t->L, t->index) && exact_integer(t->L, t->index, &whole))
    return give_int(t, whole);
  return was_integer(lua_tonumber(t->L, t->index)) ? fail(t, INEXACT) : take_float(t);
}

static int take_any(const taking *t) {
  switch (lua_type(t->L, t->index)) {
  case LUA_TNUMBER:
    return take_any_number(t);
  case LUA_TSTRING:
    return take_text(t);
  case LUA_TBOOLEAN:
    return take_boolean(t);
  default:
    return fail(t, "a number, string, boolean or null");
  }
}

/* ---- dates ---- */

/* A field of an os.date("*t") table; an absent one counts as `fallback` unless that is negative: a time alone
   names its hour, or any table would be midnight. */
static bool read_field(const taking *t, const char *name, int fallback, int *out) {
  int64_t value;
  lua_pushstring(t->L, name);
  lua_rawget(t->L, t->index);
  bool absent = lua_isnil(t->L, -1);
  bool integer = orr_toint64(t->L, -1, &value);
  lua_pop(t->L, 1);
  *out = absent ? fallback : (int)value;
  return absent ? fallback >= 0 : integer && value >= 0 && value <= 999999;
}

static bool read_table(const taking *t, orr_moment *m, bool date, bool time) {
  memset(m, 0, sizeof *m);
  m->has_date = date;
  m->has_time = time;
  bool dated = !date || (read_field(t, "year", -1, &m->year) && read_field(t, "month", -1, &m->month) &&
                         read_field(t, "day", -1, &m->day));
  bool timed =
      !time || (read_field(t, "hour", date ? 0 : -1, &m->hour) && read_field(t, "min", 0, &m->minute) &&
                read_field(t, "sec", 0, &m->second) && read_field(t, "usec", 0, &m->micro));
  return dated && timed && orr_moment_valid(m);
}

static bool read_moment(const taking *t, orr_moment *m, bool date, bool time) {
  size_t len;
  if (lua_type(t->L, t->index) == LUA_TTABLE)
    return read_table(t, m, date, time);
  if (lua_type(t->L, t->index) != LUA_TSTRING)
    return false;
  const char *text = lua_tolstring(t->L, t->index, &len);
  return orr_moment_parse(m, text, len);
}

static int give_moment(const taking *t, const orr_moment *m) {
  return give_bytes(t, ORR_TEXT, t->scratch, orr_moment_print(m, ' ', t->scratch));
}

static int take_date(const taking *t) {
  orr_moment m;
  if (!read_moment(t, &m, true, false) || !m.has_date || m.has_time)
    return fail(t, "a date like '2024-02-29'");
  return give_moment(t, &m);
}

static int take_time(const taking *t) {
  orr_moment m;
  if (!read_moment(t, &m, false, true) || m.has_date || m.has_zone)
    return fail(t, "a time like '12:30:00' without a zone");
  return give_moment(t, &m);
}

static int take_datetime(const taking *t) {
  orr_moment m;
  if (!read_moment(t, &m, true, true) || !m.has_date)
    return fail(t, "a date and time like '2024-02-29T12:30:00'");
  if (m.has_zone)
    return fail(t, "a date and time without a zone (this column keeps none; convert it first)");
  m.has_time = true;
  return give_moment(t, &m);
}

static const taker TAKERS[] = {take_any,     take_integer, take_float, take_numeric, take_text,
                               take_boolean, take_blob,    take_date,  take_time,    take_datetime};

int orr_type_take(lua_State *L, int index, const orr_type *type, orr_value *out,
                  char scratch[ORR_TYPE_SCRATCH], orr_error *error) {
  taking t = {L, index, type, out, scratch, error};
  out->tag = ORR_NULL;
  out->len = 0;
  if (lua_isnoneornil(L, index) || (lua_islightuserdata(L, index) && !lua_touserdata(L, index)))
    return 0;
  if (index < 0 && lua_type(L, index) == LUA_TTABLE)
    t.index = orr_absindex(L, index);
  return TAKERS[type->kind](&t);
}

/* ---- push ---- */

static void push_integer(lua_State *L, int64_t value) {
  if (!orr_pushint64(L, value)) {
    char text[24];
    sprintf(text, "%lld", (long long)value);
    orr_raisef(L, "DataError",
               "this Lua cannot hold the stored integer %s exactly; a type with as = \"string\" reads it",
               text);
  }
}

static void push_stored(lua_State *L, const orr_value *value) {
  switch (value->tag) {
  case ORR_NULL:
    lua_pushnil(L);
    break;
  case ORR_INT:
    push_integer(L, value->as.i);
    break;
  case ORR_REAL:
    lua_pushnumber(L, value->as.r);
    break;
  default:
    lua_pushlstring(L, value->as.s, value->len);
  }
}

static void push_decimal(lua_State *L, const char *text, size_t len, const orr_type *type) {
  char out[ORR_TYPE_SCRATCH];
  size_t written;
  if (orr_decimal_rewrite(text, len, shape_of(type), out, sizeof out, &written) == ORR_DECIMAL_OK)
    lua_pushlstring(L, out, written);
  else
    lua_pushlstring(L, text, len);
}

static void push_digits(lua_State *L, int64_t value) {
  char text[24];
  lua_pushlstring(L, text, (size_t)sprintf(text, "%lld", (long long)value));
}

/* A decimal that the column's affinity has made a double: up to 15 digits come back exactly. */
static bool print_decimal(double value, const orr_type *type, char *out, size_t room, size_t *len) {
  bool any = type->precision == 0 && type->scale == 0;
  *len =
      (size_t)(any ? snprintf(out, room, "%.15g", value) : snprintf(out, room, "%.*f", type->scale, value));
  if (*len >= room || !isfinite(value) || strtod(out, NULL) != value || strchr(out, 'e'))
    return false;
  char *comma = strchr(out, ','); /* some locales' point */
  if (comma)
    *comma = '.';
  return true;
}

static void push_decimal_string(lua_State *L, const orr_type *type, const orr_value *value) {
  char text[64];
  size_t len = 0;
  if (value->tag == ORR_INT)
    push_decimal(L, text, (size_t)sprintf(text, "%lld", (long long)value->as.i), type);
  else if (value->tag == ORR_REAL && print_decimal(value->as.r, type, text, sizeof text, &len))
    push_decimal(L, text, len, type);
  else
    push_stored(L, value);
}

static void push_integer_string(lua_State *L, const orr_value *value) {
  if (value->tag == ORR_INT)
    push_digits(L, value->as.i);
  else
    push_stored(L, value);
}

static void push_float(lua_State *L, const orr_value *value) {
  if (value->tag == ORR_INT && value->as.i <= ORR_MAX_SAFE && value->as.i >= -ORR_MAX_SAFE)
    lua_pushnumber(L, (lua_Number)value->as.i);
  else
    push_stored(L, value);
}

static void push_boolean(lua_State *L, const orr_value *value) {
  if (value->tag == ORR_INT && (value->as.i == 0 || value->as.i == 1))
    lua_pushboolean(L, (int)value->as.i);
  else
    push_stored(L, value);
}

static void push_moment(lua_State *L, const orr_type *type, const orr_value *value) {
  orr_moment m;
  char text[ORR_MOMENT_TEXT];
  bool date = type->kind != ORR_KIND_TIME, time = type->kind != ORR_KIND_DATE;
  if (value->tag != ORR_TEXT || !orr_moment_parse(&m, value->as.s, value->len) || m.has_date != date ||
      (m.has_time && !time) || m.has_zone) {
    push_stored(L, value);
    return;
  }
  m.has_time = time;
  lua_pushlstring(L, text, orr_moment_print(&m, 'T', text));
}

void orr_type_push(lua_State *L, const orr_type *type, const orr_value *value) {
  switch ((orr_kind)type->kind) {
  case ORR_KIND_INTEGER:
    type->as == ORR_AS_STRING ? push_integer_string(L, value) : push_stored(L, value);
    break;
  case ORR_KIND_NUMERIC:
    type->as == ORR_AS_STRING ? push_decimal_string(L, type, value) : push_stored(L, value);
    break;
  case ORR_KIND_FLOAT:
    push_float(L, value);
    break;
  case ORR_KIND_BOOLEAN:
    push_boolean(L, value);
    break;
  case ORR_KIND_DATE:
  case ORR_KIND_TIME:
  case ORR_KIND_DATETIME:
    push_moment(L, type, value);
    break;
  default:
    push_stored(L, value);
  }
}

void orr_type_push_raw(lua_State *L, const orr_value *value) {
  if (value->tag == ORR_NULL)
    lua_pushlightuserdata(L, NULL);
  else if (value->tag != ORR_INT)
    push_stored(L, value);
  else if (!orr_pushint64(L, value->as.i))
    push_digits(L, value->as.i);
}

bool orr_type_take_raw(lua_State *L, int index, const orr_type *type, orr_value *out,
                       char scratch[ORR_TYPE_SCRATCH]) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  orr_error error;
  if (type->as == ORR_AS_STRING && type->kind == ORR_KIND_INTEGER && lua_type(L, index) == LUA_TSTRING &&
      orr_type_take(L, index, type, out, scratch, &error) == 0)
    return true;
  return orr_type_take(L, index, &any, out, scratch, &error) == 0;
}

/* ---- what Lua sees ---- */

const orr_type *orr_type_check(lua_State *L, int index) { return orr_box_check(L, index, &TYPE); }

static int check_limit(lua_State *L, int index, const char *what) {
  int64_t value = 0;
  if (!lua_isnoneornil(L, index) && (!orr_toint64(L, index, &value) || value < 0 || value > INT32_MAX))
    orr_raisef(L, "ArgumentError", "a type's %s is a whole number from 0", what);
  return (int)value;
}

static orr_as check_as(lua_State *L, int index, int kind) {
  if (lua_isnoneornil(L, index))
    return ORR_AS_DEFAULT;
  const char *as = lua_tostring(L, index);
  if (!as || strcmp(as, "string") != 0 || (kind != ORR_KIND_INTEGER && kind != ORR_KIND_NUMERIC))
    orr_raisef(L, "ArgumentError", "as = '%s' is not an option of this type",
               as ? as : luaL_typename(L, index));
  return ORR_AS_STRING;
}

/* type(kind, length, precision, scale, as) */
static int new_type(lua_State *L) {
  orr_type type = {0, 0, 0, 0, 0};
  int kind = check_limit(L, 1, "kind");
  if (kind > ORR_KIND_DATETIME)
    return orr_raisef(L, "ArgumentError", "there is no kind %d of types", kind);
  type.kind = (unsigned char)kind;
  type.length = check_limit(L, 2, "length");
  type.precision = check_limit(L, 3, "precision");
  type.scale = check_limit(L, 4, "scale");
  if (type.precision > 0 && type.scale > type.precision)
    return orr_raisef(L, "ArgumentError", "a type of %d digits cannot have %d decimals", type.precision,
                      type.scale);
  type.as = (unsigned char)check_as(L, 5, kind);
  *(orr_type *)orr_box_new(L, &TYPE, sizeof type) = type;
  return 1;
}

/* take(handle, value): as the database stores it; null is the light userdata. An integer beyond what this Lua
   holds (as = "string" only) comes as its digits. */
static int take(lua_State *L) {
  orr_value value;
  orr_error error;
  char scratch[ORR_TYPE_SCRATCH];
  const orr_type *type = orr_type_check(L, 1);
  orr_error_clear(&error);
  if (orr_type_take(L, 2, type, &value, scratch, &error) != 0)
    return orr_raise(L, &error);
  orr_type_push_raw(L, &value);
  return 1;
}

/* The value at `index` as a database would hold it, unchecked. */
static orr_value stored_value(lua_State *L, int index) {
  orr_value value = {ORR_NULL, 0, {0}};
  if (lua_type(L, index) == LUA_TSTRING) {
    value.tag = ORR_TEXT;
    value.as.s = lua_tolstring(L, index, &value.len);
  } else if (is_integer(L, index)) {
    value.tag = ORR_INT;
    orr_toint64(L, index, &value.as.i);
  } else if (lua_type(L, index) == LUA_TNUMBER) {
    value.tag = ORR_REAL;
    value.as.r = lua_tonumber(L, index);
  }
  return value;
}

/* is_utf8(text) */
static int is_utf8(lua_State *L) {
  size_t len, characters;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_pushboolean(L, orr_utf8_count(text, len, &characters));
  return 1;
}

/* show(handle, stored): how a stored value reads. */
static int show(lua_State *L) {
  const orr_type *type = orr_type_check(L, 1);
  orr_value value = stored_value(L, 2);
  orr_type_push(L, type, &value);
  return 1;
}

static void push_kinds(lua_State *L) {
  static const char *const names[] = {"ANY",     "INTEGER", "FLOAT", "NUMERIC", "TEXT",
                                      "BOOLEAN", "BLOB",    "DATE",  "TIME",    "DATETIME"};
  lua_newtable(L);
  for (int kind = 0; kind <= ORR_KIND_DATETIME; kind++) {
    lua_pushinteger(L, kind);
    lua_setfield(L, -2, names[kind]);
  }
}

void orr_type_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"type", new_type}, {"take", take}, {"show", show}, {"is_utf8", is_utf8}, {NULL, NULL}};
  orr_box_define(L, &TYPE, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
  push_kinds(L);
  lua_setfield(L, -2, "kinds");
}
