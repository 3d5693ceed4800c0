#include "moment.h"

#include <string.h>

/* A reader over [at, end). */
typedef struct cursor {
  const char *at, *end;
} cursor;

static bool digits(cursor *in, int count, int *out) {
  int number = 0;
  if (in->end - in->at < count)
    return false;
  for (int i = 0; i < count; i++) {
    unsigned digit = (unsigned char)in->at[i] - (unsigned)'0';
    if (digit > 9)
      return false;
    number = number * 10 + (int)digit;
  }
  in->at += count;
  *out = number;
  return true;
}

static bool skip(cursor *in, char wanted) {
  if (in->at == in->end || *in->at != wanted)
    return false;
  in->at++;
  return true;
}

static bool read_date(cursor *in, orr_moment *m) {
  return digits(in, 4, &m->year) && skip(in, '-') && digits(in, 2, &m->month) && skip(in, '-') &&
         digits(in, 2, &m->day);
}

static bool read_fraction(cursor *in, int *micro) {
  int count = 0, digit;
  for (*micro = 0; count < 6 && digits(in, 1, &digit); count++)
    *micro = *micro * 10 + digit;
  if (count == 0)
    return false;
  for (; count < 6; count++)
    *micro *= 10;
  return true;
}

static bool read_time(cursor *in, orr_moment *m) {
  if (!digits(in, 2, &m->hour) || !skip(in, ':') || !digits(in, 2, &m->minute))
    return false;
  if (!skip(in, ':'))
    return true;
  return digits(in, 2, &m->second) && (!skip(in, '.') || read_fraction(in, &m->micro));
}

static bool read_zone(cursor *in, orr_moment *m) {
  int hours = 0, minutes = 0;
  m->has_zone = in->at != in->end;
  if (!m->has_zone || skip(in, 'Z') || skip(in, 'z'))
    return in->at == in->end;
  bool west = skip(in, '-');
  if ((!west && !skip(in, '+')) || !digits(in, 2, &hours))
    return false;
  if (in->at != in->end && (skip(in, ':'), !digits(in, 2, &minutes)))
    return false;
  m->offset = (west ? -1 : 1) * (hours * 60 + minutes);
  return in->at == in->end && hours < 24 && minutes < 60;
}

bool orr_moment_parse(orr_moment *moment, const char *text, size_t len) {
  cursor in = {text, text + len};
  memset(moment, 0, sizeof *moment);
  moment->has_date = len > 4 && text[4] == '-';
  if (moment->has_date && !read_date(&in, moment))
    return false;
  moment->has_time = !moment->has_date || in.at != in.end;
  if (moment->has_date && moment->has_time && !skip(&in, 'T') && !skip(&in, ' '))
    return false;
  if (moment->has_time && !(read_time(&in, moment) && read_zone(&in, moment)))
    return false;
  return orr_moment_valid(moment);
}

static int days_of(int year, int month) {
  static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

static bool within(int number, int low, int high) { return number >= low && number <= high; }

bool orr_moment_valid(const orr_moment *m) {
  bool date = !m->has_date || (within(m->year, 1, 9999) && within(m->month, 1, 12) &&
                               within(m->day, 1, days_of(m->year, m->month)));
  bool time = !m->has_time || (within(m->hour, 0, 23) && within(m->minute, 0, 59) &&
                               within(m->second, 0, 59) && within(m->micro, 0, 999999));
  return date && time;
}

/* Writes `number` with `count` digits and then `mark`, unless that is NUL. */
static char *put(char *out, int number, int count, char mark) {
  for (int i = count - 1; i >= 0; i--, number /= 10)
    out[i] = (char)('0' + number % 10);
  out += count;
  if (mark)
    *out++ = mark;
  return out;
}

size_t orr_moment_print(const orr_moment *m, char joint, char text[ORR_MOMENT_TEXT]) {
  char *out = text;
  if (m->has_date) {
    out = put(out, m->year, 4, '-');
    out = put(out, m->month, 2, '-');
    out = put(out, m->day, 2, m->has_time ? joint : '\0');
  }
  if (m->has_time) {
    out = put(out, m->hour, 2, ':');
    out = put(out, m->minute, 2, ':');
    out = put(out, m->second, 2, m->micro ? '.' : '\0');
  }
  if (m->has_time && m->micro)
    out = put(out, m->micro, 6, '\0');
  *out = '\0';
  return (size_t)(out - text);
}
