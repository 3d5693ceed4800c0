#include "pattern.h"

#include <ctype.h>
#include <string.h>

enum { DEEPEST = 200, CAPTURES = 32 }; /* as in Lua, which raises an error beyond them */

typedef struct matching {
  const char *subject, *end, *stop; /* stop: of the pattern */
  bool graph;
  double left;
  int depth, level;
  struct {
    const char *start;
    size_t len;
    bool open;
  } captures[CAPTURES];
} matching;

/* ---- one character ---- */

static bool is_class(const matching *m, unsigned char c, int letter) {
  bool found;
  switch (tolower(letter)) {
  case 'a':
    found = isalpha(c);
    break;
  case 'c':
    found = iscntrl(c);
    break;
  case 'd':
    found = isdigit(c);
    break;
  case 'g':
    if (!m->graph)
      return letter == c;
    found = isgraph(c);
    break;
  case 'l':
    found = islower(c);
    break;
  case 'p':
    found = ispunct(c);
    break;
  case 's':
    found = isspace(c);
    break;
  case 'u':
    found = isupper(c);
    break;
  case 'w':
    found = isalnum(c);
    break;
  case 'x':
    found = isxdigit(c);
    break;
  case 'z': /* no manual has it any more, but every Lua */
    found = c == 0;
    break;
  default:
    return letter == c;
  }
  return isupper(letter) ? !found : found;
}

/* Behind the item at `p`, which is one character, a class or a set; NULL where it does not end. */
static const char *item_end(const matching *m, const char *p) {
  if (*p == '%')
    return p + 1 < m->stop ? p + 2 : NULL;
  if (*p++ != '[')
    return p;
  if (p < m->stop && *p == '^')
    p++;
  for (bool first = true; p < m->stop; first = false) {
    if (*p == ']' && !first)
      return p + 1;
    p += *p == '%' && p + 1 < m->stop ? 2 : 1;
  }
  return NULL;
}

/* Whether `c` is in the set at `p`, whose "]" is at `last`. */
static bool is_in_set(const matching *m, unsigned char c, const char *p, const char *last) {
  bool found = false, negated = p[1] == '^';
  for (p += negated ? 2 : 1; p < last; p++) {
    if (*p == '%' && p + 1 < last)
      found |= is_class(m, c, (unsigned char)*++p);
    else if (p + 2 < last && p[1] == '-') {
      found |= (unsigned char)p[0] <= c && c <= (unsigned char)p[2];
      p += 2;
    } else
      found |= (unsigned char)*p == c;
  }
  return found != negated;
}

static bool is_single(const matching *m, const char *s, const char *p, const char *end) {
  if (s >= m->end)
    return false;
  unsigned char c = (unsigned char)*s;
  switch (*p) {
  case '.':
    return true;
  case '%':
    return is_class(m, c, (unsigned char)p[1]);
  case '[':
    return is_in_set(m, c, p, end - 1);
  default:
    return (unsigned char)*p == c;
  }
}

/* ---- a pattern ---- */

static const char *match(matching *m, const char *s, const char *p);

/* As many as there are, then fewer and fewer. */
static const char *match_most(matching *m, const char *s, const char *p, const char *end) {
  size_t count = 0;
  while (is_single(m, s + count, p, end))
    count++;
  m->left -= (double)count / 8;
  for (;; count--) {
    const char *found = match(m, s + count, end + 1);
    if (found || count == 0 || m->left < 0)
      return found;
  }
}

/* As few as will do. */
static const char *match_least(matching *m, const char *s, const char *p, const char *end) {
  for (;; s++) {
    const char *found = match(m, s, end + 1);
    if (found || m->left < 0 || !is_single(m, s, p, end))
      return found;
  }
}

static const char *match_balanced(matching *m, const char *s, const char *p) {
  if (s >= m->end || *s != p[2])
    return NULL;
  int depth = 1;
  const char *start = s;
  while (++s < m->end) {
    if (*s == p[3]) {
      if (--depth == 0)
        break;
    } else if (*s == p[2])
      depth++;
  }
  m->left -= (double)(s - start);
  return s < m->end ? s + 1 : NULL;
}

static bool is_frontier(const matching *m, const char *s, const char *set, const char *end) {
  unsigned char before = s == m->subject ? 0 : (unsigned char)s[-1],
                here = s < m->end ? (unsigned char)*s : 0;
  return !is_in_set(m, before, set, end - 1) && is_in_set(m, here, set, end - 1);
}

/* The text of an earlier capture again. */
static const char *match_again(matching *m, const char *s, int number) {
  if (number < 0 || number >= m->level || m->captures[number].open)
    return NULL;
  size_t len = m->captures[number].len;
  m->left -= (double)len / 8;
  return (size_t)(m->end - s) >= len && memcmp(s, m->captures[number].start, len) == 0 ? s + len : NULL;
}

static const char *open_capture(matching *m, const char *s, const char *p) {
  if (m->level >= CAPTURES)
    return NULL;
  bool position = p + 1 < m->stop && p[1] == ')';
  m->captures[m->level].start = s;
  m->captures[m->level].len = 0;
  m->captures[m->level++].open = !position;
  const char *found = match(m, s, p + (position ? 2 : 1));
  m->level -= found == NULL;
  return found;
}

static const char *close_capture(matching *m, const char *s, const char *p) {
  int number = m->level - 1;
  while (number >= 0 && !m->captures[number].open)
    number--;
  if (number < 0)
    return NULL;
  m->captures[number].open = false;
  m->captures[number].len = (size_t)(s - m->captures[number].start);
  const char *found = match(m, s, p + 1);
  if (!found)
    m->captures[number].open = true;
  return found;
}

/* "%b", "%f" and "%1": where the match goes on and, by `next`, the pattern. NULL in `next`: none of these. */
static const char *match_special(matching *m, const char *s, const char *p, const char **next) {
  *next = NULL;
  if (*p != '%' || p + 1 >= m->stop)
    return NULL;
  if (p[1] == 'b') {
    *next = p + 4;
    return p + 4 <= m->stop ? match_balanced(m, s, p) : NULL;
  }
  if (p[1] == 'f') {
    const char *end = p + 2 < m->stop && p[2] == '[' ? item_end(m, p + 2) : NULL;
    *next = end ? end : m->stop;
    return end && is_frontier(m, s, p + 2, end) ? s : NULL;
  }
  if (!isdigit((unsigned char)p[1]))
    return NULL;
  *next = p + 2;
  return match_again(m, s, p[1] - '1');
}

static const char *match_item(matching *m, const char *s, const char *p) {
  const char *end = item_end(m, p), *found = NULL;
  if (!end)
    return NULL;
  char suffix = '\0';
  if (end < m->stop)
    suffix = *end;
  switch (suffix) {
  case '?':
    if (is_single(m, s, p, end))
      found = match(m, s + 1, end + 1);
    return found || m->left < 0 ? found : match(m, s, end + 1);
  case '+':
    return is_single(m, s, p, end) ? match_most(m, s + 1, p, end) : NULL;
  case '*':
    return match_most(m, s, p, end);
  case '-':
    return match_least(m, s, p, end);
  default:
    return NULL;
  }
}

static bool has_suffix(const matching *m, const char *end) {
  return end < m->stop && memchr("?+*-", *end, 4) != NULL;
}

/* Items without a suffix follow each other in the loop; every other kind is a call. */
static const char *match_from(matching *m, const char *s, const char *p) {
  while (p < m->stop) {
    const char *next, *found;
    if (--m->left < 0)
      return NULL;
    if (*p == '(')
      return open_capture(m, s, p);
    if (*p == ')')
      return close_capture(m, s, p);
    if (*p == '$' && p + 1 == m->stop)
      return s == m->end ? s : NULL;
    found = match_special(m, s, p, &next);
    if (!next) {
      next = item_end(m, p);
      if (!next || has_suffix(m, next))
        return match_item(m, s, p);
      found = is_single(m, s, p, next) ? s + 1 : NULL;
    }
    if (!found)
      return NULL;
    s = found;
    p = next;
  }
  return s;
}

static const char *match(matching *m, const char *s, const char *p) {
  if (--m->left < 0 || m->depth >= DEEPEST)
    return NULL;
  m->depth++;
  const char *found = match_from(m, s, p);
  m->depth--;
  return found;
}

double orr_pattern_cost(const char *subject, size_t len, const char *pattern, size_t pattern_len, bool all,
                        bool graph, double most) {
  matching m = {subject, subject + len, pattern + pattern_len, graph, most, 0, 0, {{NULL, 0, false}}};
  bool anchored = pattern_len > 0 && *pattern == '^';
  for (const char *s = subject; s <= m.end && m.left >= 0;) {
    m.level = 0;
    const char *found = match(&m, s, pattern + anchored);
    if (anchored || (found && !all))
      break;
    s = found > s ? found : s + 1;
  }
  return most - m.left;
}
