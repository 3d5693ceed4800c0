/* The floor: the work of workloads.lua as a C program would do it with SQLite alone: statements prepared
   once, one transaction, no objects. What Orrery takes is measured as a ratio to this. usage: floor DATABASE
   WORKLOAD; prints the same JSON line as workloads.lua. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AUTHORS = 10000, BOOKS = 100000, TAGS = 200, KEYS_AT_ONCE = 500 };

static sqlite3 *db;
static double sum;
static int64_t sink; /* what is read and not summed, so that no read is left out */

static void fail(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, sqlite3_errmsg(db));
  exit(1);
}

static void exec(const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
    fail(sql);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
    fail(sql);
  return statement;
}

static int next(sqlite3_stmt *statement) {
  int code = sqlite3_step(statement);
  if (code == SQLITE_ROW)
    return 1;
  if (code != SQLITE_DONE)
    fail(sqlite3_sql(statement));
  sqlite3_reset(statement);
  return 0;
}

static void run(sqlite3_stmt *statement) {
  while (next(statement))
    ;
}

static double cpu(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double started;
static void start(void) { started = cpu(); }

static int64_t resident(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%*s %ld", &pages) != 1)
    pages = 0;
  if (file)
    fclose(file);
  return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* ---- reading rows ---- */

static void read_text(sqlite3_stmt *s, int column) {
  const unsigned char *text = sqlite3_column_text(s, column);
  sink += sqlite3_column_bytes(s, column) + text[0];
}

static void read_author(sqlite3_stmt *s) {
  sink += sqlite3_column_int64(s, 0) + sqlite3_column_int(s, 3) + (int64_t)sqlite3_column_double(s, 4);
  read_text(s, 1);
  read_text(s, 2);
}

static void read_book(sqlite3_stmt *s, int first) {
  sink +=
      sqlite3_column_int64(s, first) + sqlite3_column_int64(s, first + 1) + sqlite3_column_int(s, first + 3);
  read_text(s, first + 2);
  sum += sqlite3_column_double(s, first + 4);
}

/* "... IN (?,?,...)" for KEYS_AT_ONCE keys. */
static sqlite3_stmt *prepare_in(const char *head) {
  char *sql = malloc(strlen(head) + 2 * KEYS_AT_ONCE + 2), *at = sql + sprintf(sql, "%s", head);
  for (int i = 0; i < KEYS_AT_ONCE; i++)
    at += sprintf(at, i ? ",?" : "(?");
  strcpy(at, ")");
  sqlite3_stmt *statement = prepare(sql);
  free(sql);
  return statement;
}

static void bind_keys(sqlite3_stmt *s, const int64_t *keys) {
  for (int i = 0; i < KEYS_AT_ONCE; i++)
    sqlite3_bind_int64(s, i + 1, keys[i]);
}

/* ---- the works ---- */

static void insert_all(void) {
  char name[32], email[48];
  exec(
      "CREATE TABLE author(id INTEGER NOT NULL PRIMARY KEY, name TEXT, email TEXT, born INTEGER, rating "
      "REAL);"
      "CREATE TABLE book(id INTEGER NOT NULL PRIMARY KEY, author_id INTEGER REFERENCES author(id), title "
      "TEXT,"
      " year INTEGER, price REAL);"
      "CREATE TABLE tag(id INTEGER NOT NULL PRIMARY KEY, name TEXT);"
      "CREATE TABLE book_tag(book_id INTEGER NOT NULL REFERENCES book(id), tag_id INTEGER NOT NULL REFERENCES"
      " tag(id), PRIMARY KEY(book_id, tag_id));"
      "CREATE INDEX ix_book_author_id ON book(author_id)");
  start();
  exec("BEGIN");
  sqlite3_stmt *tag = prepare("INSERT INTO tag(name) VALUES (?)");
  for (int i = 1; i <= TAGS; i++) {
    sqlite3_bind_text(tag, 1, name, sprintf(name, "tag%d", i), SQLITE_STATIC);
    run(tag);
  }
  sqlite3_stmt *author = prepare("INSERT INTO author(name, email, born, rating) VALUES (?, ?, ?, ?)");
  for (int i = 1; i <= AUTHORS; i++) {
    sqlite3_bind_text(author, 1, name, sprintf(name, "Author %d", i), SQLITE_STATIC);
    sqlite3_bind_text(author, 2, email, sprintf(email, "author%d@example.com", i), SQLITE_STATIC);
    sqlite3_bind_int(author, 3, 1900 + i % 100);
    sqlite3_bind_double(author, 4, (i % 50) / 10.0);
    run(author);
  }
  sqlite3_stmt *book = prepare("INSERT INTO book(author_id, title, year, price) VALUES (?, ?, ?, ?)");
  for (int i = 1; i <= BOOKS; i++) {
    sqlite3_bind_int64(book, 1, (i - 1) / 10 + 1);
    sqlite3_bind_text(book, 2, name, sprintf(name, "Book %d", i), SQLITE_STATIC);
    sqlite3_bind_int(book, 3, 1950 + i % 70);
    sqlite3_bind_double(book, 4, (i % 1000) / 10.0 + .5);
    run(book);
    sum += (double)sqlite3_last_insert_rowid(db);
  }
  sqlite3_stmt *link = prepare("INSERT INTO book_tag(book_id, tag_id) VALUES (?, ?)");
  for (int i = 1; i <= BOOKS; i++)
    for (int second = 0; second <= 3; second += 3) {
      sqlite3_bind_int(link, 1, i);
      sqlite3_bind_int(link, 2, (i * 7 + second) % TAGS + 1);
      run(link);
    }
  exec("COMMIT");
}

static void load_books(void) {
  start();
  sqlite3_stmt *s = prepare("SELECT id, author_id, title, year, price FROM book");
  while (next(s))
    read_book(s, 0);
}

static int load_authors(int64_t *ids, int most) {
  sqlite3_stmt *s = prepare("SELECT id, name, email, born, rating FROM author WHERE id <= ?");
  int count = 0;
  sqlite3_bind_int(s, 1, most);
  while (next(s)) {
    read_author(s);
    ids[count++] = sqlite3_column_int64(s, 0);
  }
  return count;
}

static void load_by_keys(void) {
  static int64_t ids[AUTHORS];
  start();
  int count = load_authors(ids, AUTHORS);
  sqlite3_stmt *s =
      prepare_in("SELECT author_id, id, author_id, title, year, price FROM book WHERE author_id IN ");
  for (int first = 0; first < count; first += KEYS_AT_ONCE)
    for (bind_keys(s, ids + first); next(s);)
      read_book(s, 1);
}

static void load_joined(void) {
  start();
  sqlite3_stmt *s =
      prepare("SELECT a.id, a.name, a.email, a.born, a.rating, b.id, b.author_id, b.title, b.year, b.price"
              " FROM author a LEFT JOIN book b ON a.id = b.author_id");
  while (next(s)) {
    read_author(s);
    read_book(s, 5);
  }
}

static void load_one_by_one(void) {
  static int64_t ids[AUTHORS];
  start();
  exec("BEGIN");
  int count = load_authors(ids, 2000);
  sqlite3_stmt *s = prepare("SELECT id, author_id, title, year, price FROM book WHERE author_id = ?");
  for (int i = 0; i < count; i++)
    for (sqlite3_bind_int64(s, 1, ids[i]); next(s);)
      read_book(s, 0);
}

/* A hash table of structures, which is what an identity map is to a C program. */
static void find_by_key(void) {
  enum { ROOM = 1 << 18 };
  typedef struct book {
    int64_t id;
    double price;
  } book;
  static book books[BOOKS], *table[ROOM];
  int count = 0;
  sqlite3_stmt *s = prepare("SELECT id, price FROM book");
  while (next(s)) {
    book *b = &books[count++];
    b->id = sqlite3_column_int64(s, 0);
    b->price = sqlite3_column_double(s, 1);
    uint32_t at = (uint32_t)(b->id * 2654435761u) >> 14;
    while (table[at % ROOM])
      at++;
    table[at % ROOM] = b;
  }
  start();
  for (int64_t id = 1; id <= BOOKS; id++) {
    uint32_t at = (uint32_t)(id * 2654435761u) >> 14;
    while (table[at % ROOM]->id != id)
      at++;
    sum += table[at % ROOM]->price;
  }
}

static void update_all(void) {
  start();
  exec("BEGIN");
  sqlite3_stmt *s = prepare("UPDATE book SET price = ? WHERE id = ?");
  for (int i = 1; i <= BOOKS; i++) {
    sqlite3_bind_double(s, 1, (i % 1000) / 10.0 + 1.5);
    sqlite3_bind_int64(s, 2, i);
    run(s);
    sum += sqlite3_changes(db);
  }
  exec("COMMIT");
}

static void delete_row(sqlite3_stmt *s, int64_t first, int64_t second) {
  sqlite3_bind_int64(s, 1, first);
  if (second)
    sqlite3_bind_int64(s, 2, second);
  run(s);
  sum += sqlite3_changes(db);
}

static void delete_loaded(void) {
  start();
  exec("BEGIN");
  sqlite3_stmt *link = prepare("DELETE FROM book_tag WHERE book_id = ? AND tag_id = ?"),
               *book = prepare("DELETE FROM book WHERE id = ?"),
               *author = prepare("DELETE FROM author WHERE id = ?");
  for (int i = 1; i <= BOOKS; i++)
    for (int second = 0; second <= 3; second += 3)
      delete_row(link, i, (i * 7 + second) % TAGS + 1);
  for (int i = 1; i <= BOOKS; i++)
    delete_row(book, i, 0);
  for (int i = 1; i <= AUTHORS; i++)
    delete_row(author, i, 0);
  exec("COMMIT");
}

static void delete_unloaded(void) {
  static int64_t authors[AUTHORS], books[BOOKS], tags[2 * BOOKS];
  int book_count = 0, tag_count = 0;
  start();
  exec("BEGIN");
  int author_count = load_authors(authors, 1000);
  sqlite3_stmt *s = prepare("SELECT id, author_id, title, year, price FROM book WHERE author_id = ?");
  double before = sum;
  for (int i = 0; i < author_count; i++)
    for (sqlite3_bind_int64(s, 1, authors[i]); next(s);) {
      read_book(s, 0);
      books[book_count++] = sqlite3_column_int64(s, 0);
    }
  sum = before;
  s = prepare(
      "SELECT tag.id, tag.name FROM tag, book_tag WHERE book_tag.book_id = ? AND book_tag.tag_id = tag.id");
  for (int i = 0; i < book_count; i++)
    for (sqlite3_bind_int64(s, 1, books[i]); next(s);) {
      read_text(s, 1);
      tags[tag_count++] = sqlite3_column_int64(s, 0);
    }
  s = prepare("DELETE FROM book_tag WHERE book_id = ? AND tag_id = ?");
  for (int i = 0; i < tag_count; i++)
    delete_row(s, books[i / 2], tags[i]);
  s = prepare("DELETE FROM book WHERE id = ?");
  for (int i = 0; i < book_count; i++)
    delete_row(s, books[i], 0);
  s = prepare("DELETE FROM author WHERE id = ?");
  for (int i = 0; i < author_count; i++)
    delete_row(s, authors[i], 0);
  exec("COMMIT");
}

static void select_often(int prepares_each) {
  const char *sql =
      "SELECT book.id, book.author_id, book.title, book.year, book.price FROM book"
      " WHERE book.id >= ? AND book.year > ? ORDER BY book.id LIMIT ? OFFSET ?"; /* as Orrery writes it */
  start();
  exec("BEGIN");
  sqlite3_stmt *s = prepare(sql);
  for (int i = 1; i <= 20000; i++) {
    if (prepares_each) {
      sqlite3_finalize(s);
      s = prepare(sql);
    }
    sqlite3_bind_int(s, 1, i * 4);
    sqlite3_bind_int(s, 2, 1949);
    sqlite3_bind_int(s, 3, 1);
    sqlite3_bind_int(s, 4, 0);
    if (next(s))
      read_book(s, 0);
    sqlite3_reset(s);
  }
  exec("COMMIT");
}

static void select_prepared(void) { select_often(0); }
static void select_unprepared(void) { select_often(1); }

static void load_many_to_many(void) {
  static int64_t ids[BOOKS];
  int count = 0;
  start();
  sqlite3_stmt *s = prepare("SELECT id, author_id, title, year, price FROM book WHERE id <= 20000");
  while (next(s)) {
    read_book(s, 0);
    ids[count++] = sqlite3_column_int64(s, 0);
  }
  sum = 0;
  s = prepare_in(
      "SELECT book_tag.book_id, tag.id, tag.name FROM book_tag JOIN tag ON tag.id = book_tag.tag_id WHERE"
      " book_tag.book_id IN ");
  for (int first = 0; first < count; first += KEYS_AT_ONCE)
    for (bind_keys(s, ids + first); next(s);) {
      sink += sqlite3_column_int64(s, 0);
      sum += (double)sqlite3_column_int64(s, 1);
      read_text(s, 2);
    }
}

static int64_t before, after;

static void hold_books(void) {
  typedef struct book {
    int64_t id, author;
    char *title;
    int year;
    double price;
  } book;
  sqlite3_stmt *s = prepare("SELECT id, author_id, title, year, price FROM book");
  book **all = malloc(BOOKS * sizeof *all);
  int count = 0;
  before = resident();
  start();
  while (next(s)) {
    book *b = all[count++] = malloc(sizeof *b);
    b->id = sqlite3_column_int64(s, 0);
    b->author = sqlite3_column_int64(s, 1);
    b->title = strdup((const char *)sqlite3_column_text(s, 2));
    b->year = sqlite3_column_int(s, 3);
    sum += b->price = sqlite3_column_double(s, 4);
  }
  after = resident();
}

static const struct {
  const char *name;
  void (*work)(void);
} WORKS[] = {{"W1", insert_all},         {"W2", load_books},      {"W3", load_by_keys},
             {"W4", load_joined},        {"W5", load_one_by_one}, {"W5b", load_one_by_one},
             {"W6", find_by_key},        {"W7", update_all},      {"W8", delete_loaded},
             {"W8n", delete_unloaded},   {"W9", select_prepared}, {"W9p", select_unprepared},
             {"W10", load_many_to_many}, {"W11", hold_books}};

int main(int count, char **arguments) {
  if (count != 3)
    return fprintf(stderr, "usage: floor DATABASE WORKLOAD\n"), 2;
  if (strcmp(arguments[2], "W1") == 0)
    unlink(arguments[1]);
  if (sqlite3_open(arguments[1], &db) != SQLITE_OK)
    fail(arguments[1]);
  exec("PRAGMA foreign_keys = ON");
  for (size_t i = 0; i < sizeof WORKS / sizeof *WORKS; i++)
    if (strcmp(WORKS[i].name, arguments[2]) == 0) {
      WORKS[i].work();
      printf(
          "{\"w\":\"%s\",\"cpu\":%.6f,\"check\":%.2f,\"rss_before\":%lld,\"rss_after\":%lld,\"sink\":%lld}\n",
          WORKS[i].name, cpu() - started, sum, (long long)before, (long long)after, (long long)sink);
      return 0;
    }
  return fprintf(stderr, "floor: no workload %s\n", arguments[2]), 2;
}
