#include "markers.h"

#include <stdbool.h>
#include <string.h>

static size_t left(const orr_markers *m) { return (size_t)(m->end - m->at); }

static bool looking_at(const orr_markers *m, const char *text) {
  size_t len = strlen(text);
  return left(m) >= len && memcmp(m->at, text, len) == 0;
}

static void copy(orr_markers *m, size_t len) {
  memcpy(m->out, m->at, len);
  m->out += len;
  m->at += len;
}

/* Copies the opening, and on to behind `closing` or to the end. */
static void copy_span(orr_markers *m, const char *opening, const char *closing) {
  copy(m, strlen(opening));
  while (left(m) > 0 && !looking_at(m, closing))
    copy(m, 1);
  copy(m, left(m) > 0 ? strlen(closing) : 0);
}

static bool is_word(char c) {
  unsigned char byte = (unsigned char)c;
  unsigned char lower = byte | 0x20;
  return byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z');
}

static size_t word_length(const char *at, const char *end) {
  const char *from = at;
  while (at < end && is_word(*at))
    at++;
  return (size_t)(at - from);
}

/* "[name]" is a quoted name; right behind a word or a bracket it is a subscript, in which markers count. */
static bool is_subscript(const orr_markers *m) {
  return *m->at == '[' && m->at > m->begin && (is_word(m->at[-1]) || m->at[-1] == ')' || m->at[-1] == ']');
}

/* A literal, a quoted name or a comment is copied whole. A doubled quote ends one and begins the next, which
   comes to the same. */
static bool copy_opaque(orr_markers *m) {
  static const char *const spans[][2] = {{"'", "'"}, {"\"", "\""}, {"`", "`"},
                                         {"[", "]"}, {"--", "\n"}, {"/*", "*/"}};
  for (size_t i = 0; i < sizeof spans / sizeof *spans && !is_subscript(m); i++)
    if (looking_at(m, spans[i][0])) {
      copy_span(m, spans[i][0], spans[i][1]);
      return true;
    }
  return false;
}

/* A word, in which '$' is no marker, and a single colon right behind it. */
static void copy_word(orr_markers *m) {
  while (left(m) > 0 && (is_word(*m->at) || *m->at == '$'))
    copy(m, 1);
  if (looking_at(m, ":") && !looking_at(m, "::"))
    copy(m, 1);
}

static void copy_plain(orr_markers *m) {
  if (copy_opaque(m))
    return;
  if (looking_at(m, "::")) {
    copy(m, 2);
  } else if (looking_at(m, "\\:")) {
    m->at++;
    copy(m, 1);
  } else if (is_word(*m->at)) {
    copy_word(m);
  } else {
    copy(m, 1);
  }
}

orr_marker orr_markers_next(orr_markers *m, const char **name, size_t *len) {
  for (; left(m) > 0; copy_plain(m)) {
    size_t word = word_length(m->at + 1, m->end);
    bool foreign = *m->at == '?' || ((*m->at == '$' || *m->at == '@') && word > 0);
    if (foreign || (*m->at == ':' && word > 0)) {
      *name = m->at + !foreign;
      *len = word + foreign;
      m->at += word + 1;
      return foreign ? ORR_MARKER_FOREIGN : ORR_MARKER_NAME;
    }
  }
  return ORR_MARKER_NONE;
}
