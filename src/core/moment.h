/* moment: dates and times of day as text, read and written digit by digit, with a real calendar.
   Knows no clock, no locale and no table of zones. */
#ifndef ORR_MOMENT_H
#define ORR_MOMENT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct orr_moment {
  int year, month, day;            /* 1..9999, proleptic Gregorian */
  int hour, minute, second, micro; /* no leap seconds, no hour 24 */
  bool has_date, has_time;         /* which of the two lines above count */
  bool has_zone;                   /* a zone was written behind the time */
  int offset;                      /* minutes east of UTC */
} orr_moment;

enum { ORR_MOMENT_TEXT = 27 }; /* bytes of "YYYY-MM-DD HH:MM:SS.ffffff" and a NUL */

/* Reads "YYYY-MM-DD", "HH:MM[:SS[.f]]" (one to six digits) or both joined by 'T' or one blank, the time
   perhaps with a zone ("Z", "+05:30", "+0530", "+05"). False where the text is anything else or not on the
   calendar. */
bool orr_moment_parse(orr_moment *moment, const char *text, size_t len);

/* Whether the parts that count are on the calendar and the clock. */
bool orr_moment_valid(const orr_moment *moment);

/* Writes the parts that count, date and time joined by `joint`, the fraction (six digits) only when it is not
   zero; no zone. Returns the length without the NUL. */
size_t orr_moment_print(const orr_moment *moment, char joint, char text[ORR_MOMENT_TEXT]);

#endif
