/* disk: a file system in memory for SQLite. Every call can fail; what is written is kept apart from what was
   synced, so that the power can go. As on a disk: a file's content and length are safe after its sync, a name
   that was made or removed is safe after the next sync of a journal or of the directory (SQLite's Unix files
   sync the directory with the first sync of a journal). Locks and the shared memory of WAL work between the
   connections of one process. */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, FILES = 16, NAME = 40, SHM_LOCKS = SQLITE_SHM_NLOCK };

typedef struct bytes {
  unsigned char *at;
  size_t size, room;
} bytes;

/* A write, or (length 0) a truncation, that was not synced. */
typedef struct change {
  sqlite3_int64 offset;
  size_t length;
  unsigned char *data;
} change;

typedef struct node {
  char name[NAME]; /* "" for a temporary file */
  bool linked, safely_linked;
  int opened;
  bytes now, safe;
  change *changes;
  size_t change_count, change_room;
  int readers; /* handles that hold SHARED or more */
  struct file *reserved, *exclusive;
  bytes *regions;
  int region_count;
  int shm_shared[SHM_LOCKS];
  struct file *shm_exclusive[SHM_LOCKS];
  struct node *next;
} node;

typedef struct file {
  sqlite3_file base;
  node *of;
  int lock, flags;
  bool synced, remove;
  unsigned shm_held; /* shared locks of the shared memory, a bit each */
  sqlite3 *db;
  struct file *next;
} file;

static node *nodes;
static file *files;
static int open_files;
static bool counting_cuts = true;

/* ---- points ---- */

enum {
  IO = 1u << MODE_ONCE | 1u << MODE_FROM_ON,
  SPACE = 1u << MODE_FULL | 1u << MODE_FULL_FROM_ON,
  BUSY = 1u << MODE_BUSY | 1u << MODE_BUSY_FROM_ON,
  DONE = 1u << MODE_DONE
};

/* SQLITE_OK, or what this call fails with. */
static int fails(unsigned modes, int code) {
  if (!point(FAULT_DISK, modes))
    return SQLITE_OK;
  switch (points_mode()) {
  case MODE_FULL:
  case MODE_FULL_FROM_ON:
    return SQLITE_FULL;
  case MODE_BUSY:
  case MODE_BUSY_FROM_ON:
    return SQLITE_BUSY;
  default:
    return code;
  }
}

static bool is_done(void) { return points_mode() == MODE_DONE; }

/* Something that a power cut may undo comes next. */
static void risk(void) {
  if (counting_cuts && point(FAULT_POWER, 1u << MODE_CUT))
    power_cut();
}

/* ---- content ---- */

static void reserve(bytes *b, size_t size) {
  if (size > b->room) {
    size_t room = b->room ? b->room : 8192;
    while (room < size)
      room *= 2;
    b->at = realloc(b->at, room);
    if (!b->at)
      abort();
    memset(b->at + b->room, 0, room - b->room);
    b->room = room;
  }
}

static void put(bytes *b, sqlite3_int64 offset, const void *data, size_t length) {
  size_t end = (size_t)offset + length;
  reserve(b, end);
  memcpy(b->at + offset, data, length);
  if (end > b->size)
    b->size = end;
}

static void cut_short(bytes *b, size_t size) {
  reserve(b, size);
  if (size < b->size)
    memset(b->at + size, 0, b->size - size);
  b->size = size;
}

static void copy(bytes *to, const bytes *from) {
  cut_short(to, 0);
  if (from->size)
    put(to, 0, from->at, from->size);
}

static void remember(node *n, sqlite3_int64 offset, const void *data, size_t length) {
  if (n->change_count == n->change_room) {
    n->change_room = n->change_room ? 2 * n->change_room : 32;
    n->changes = realloc(n->changes, n->change_room * sizeof *n->changes);
    if (!n->changes)
      abort();
  }
  change *c = &n->changes[n->change_count++];
  *c = (change){offset, length, length ? malloc(length) : NULL};
  if (length)
    memcpy(c->data, data, length);
}

static void forget_changes(node *n) {
  for (size_t i = 0; i < n->change_count; i++)
    free(n->changes[i].data);
  n->change_count = 0;
}

static void make_safe(node *n) {
  copy(&n->safe, &n->now);
  forget_changes(n);
}

/* ---- names ---- */

static node *find(const char *name) {
  for (node *n = nodes; n; n = n->next)
    if (n->linked && strcmp(n->name, name) == 0)
      return n;
  return NULL;
}

static node *new_node(const char *name) {
  node *n = calloc(1, sizeof *n);
  if (!n || strlen(name) >= NAME)
    abort();
  strcpy(n->name, name);
  n->linked = *name != '\0';
  n->next = nodes;
  return nodes = n;
}

static void free_node(node *n) {
  node **at = &nodes;
  while (*at != n)
    at = &(*at)->next;
  *at = n->next;
  forget_changes(n);
  free(n->changes);
  free(n->now.at);
  free(n->safe.at);
  for (int i = 0; i < n->region_count; i++)
    free(n->regions[i].at);
  free(n->regions);
  free(n);
}

static void free_if_unused(node *n) {
  if (!n->linked && !n->safely_linked && n->opened == 0)
    free_node(n);
}

/* The directory is synced: names are what they are now. */
static void make_names_safe(void) {
  for (node *n = nodes, *next; n; n = next) {
    next = n->next;
    n->safely_linked = n->linked;
    free_if_unused(n);
  }
}

static void unlink_node(node *n) {
  n->linked = false;
  free_if_unused(n);
}

/* ---- locks ---- */

static int lock(sqlite3_file *base, int level) {
  file *f = (file *)base;
  node *n = f->of;
  int code = fails(IO | BUSY, SQLITE_IOERR_LOCK);
  if (code)
    return code;
  if (level <= f->lock)
    return SQLITE_OK;
  if (n->exclusive && n->exclusive != f)
    return SQLITE_BUSY;
  if (level >= SQLITE_LOCK_RESERVED && n->reserved && n->reserved != f)
    return SQLITE_BUSY;
  if (f->lock == SQLITE_LOCK_NONE)
    n->readers++;
  f->lock = f->lock > SQLITE_LOCK_SHARED ? f->lock : SQLITE_LOCK_SHARED;
  if (level >= SQLITE_LOCK_RESERVED)
    n->reserved = f;
  if (level == SQLITE_LOCK_EXCLUSIVE) {
    n->exclusive = f; /* pending: nobody new reads */
    f->lock = SQLITE_LOCK_PENDING;
    if (n->readers > 1)
      return SQLITE_BUSY;
  }
  f->lock = level;
  return SQLITE_OK;
}

static void let_go(file *f, int level) {
  node *n = f->of;
  if (level < SQLITE_LOCK_RESERVED && n->reserved == f)
    n->reserved = NULL;
  if (level < SQLITE_LOCK_RESERVED && n->exclusive == f)
    n->exclusive = NULL;
  if (level == SQLITE_LOCK_NONE && f->lock > SQLITE_LOCK_NONE)
    n->readers--;
  if (level < f->lock)
    f->lock = level;
}

static int unlock(sqlite3_file *base, int level) {
  let_go((file *)base, level);
  return SQLITE_OK;
}

static int check_reserved(sqlite3_file *base, int *out) {
  int code = fails(IO, SQLITE_IOERR_CHECKRESERVEDLOCK);
  *out = ((file *)base)->of->reserved != NULL;
  return code;
}

/* ---- shared memory ---- */

enum { REGION_MODES = IO };

static int shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out) {
  node *n = ((file *)base)->of;
  int code = fails(IO, SQLITE_IOERR_SHMMAP);
  *out = NULL;
  if (code || (region >= n->region_count && !extend))
    return code;
  if (region >= n->region_count) {
    n->regions = realloc(n->regions, (size_t)(region + 1) * sizeof *n->regions);
    for (; n->region_count <= region; n->region_count++) {
      n->regions[n->region_count] = (bytes){NULL, 0, 0};
      reserve(&n->regions[n->region_count], (size_t)size);
    }
  }
  *out = n->regions[region].at;
  return SQLITE_OK;
}

static void shm_drop(file *f, int i) {
  if (f->of->shm_exclusive[i] == f)
    f->of->shm_exclusive[i] = NULL;
  if (f->shm_held & 1u << i)
    f->of->shm_shared[i]--;
  f->shm_held &= ~(1u << i);
}

static bool shm_blocked(const file *f, int i, bool exclusive) {
  const node *n = f->of;
  int others = n->shm_shared[i] - (f->shm_held >> i & 1);
  return (n->shm_exclusive[i] && n->shm_exclusive[i] != f) || (exclusive && others > 0);
}

static int shm_lock(sqlite3_file *base, int offset, int count, int flags) {
  file *f = (file *)base;
  bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;
  if (flags & SQLITE_SHM_UNLOCK) {
    for (int i = offset; i < offset + count; i++)
      shm_drop(f, i);
    return SQLITE_OK;
  }
  int code = fails(IO | BUSY, SQLITE_IOERR_SHMLOCK);
  for (int i = offset; !code && i < offset + count; i++)
    code = shm_blocked(f, i, exclusive) ? SQLITE_BUSY : SQLITE_OK;
  for (int i = offset; !code && i < offset + count; i++) {
    if (exclusive) {
      f->of->shm_exclusive[i] = f;
    } else if (!(f->shm_held & 1u << i)) {
      f->of->shm_shared[i]++;
      f->shm_held |= 1u << i;
    }
  }
  return code;
}

static void shm_barrier(sqlite3_file *base) { (void)base; }

static int shm_unmap(sqlite3_file *base, int remove) {
  file *f = (file *)base;
  node *n = f->of;
  for (int i = 0; i < SHM_LOCKS; i++)
    shm_drop(f, i);
  for (int i = 0; remove && i < n->region_count; i++)
    memset(n->regions[i].at, 0, n->regions[i].room);
  return SQLITE_OK;
}

/* ---- files ---- */

static int read_file(sqlite3_file *base, void *to, int length, sqlite3_int64 offset) {
  const bytes *b = &((file *)base)->of->now;
  int code = fails(IO, SQLITE_IOERR_READ);
  if (code)
    return code;
  size_t there = (size_t)offset < b->size ? b->size - (size_t)offset : 0;
  size_t some = there < (size_t)length ? there : (size_t)length;
  if (some)
    memcpy(to, b->at + offset, some);
  if (some == (size_t)length)
    return SQLITE_OK;
  memset((char *)to + some, 0, (size_t)length - some);
  return SQLITE_IOERR_SHORT_READ;
}

/* A write that fails has written its first half. */
static int write_file(sqlite3_file *base, const void *data, int length, sqlite3_int64 offset) {
  node *n = ((file *)base)->of;
  risk();
  int code = fails(IO | SPACE | DONE, SQLITE_IOERR_WRITE);
  size_t some = code && !is_done() ? (size_t)length / 2 : (size_t)length;
  put(&n->now, offset, data, some);
  remember(n, offset, data, some);
  return code;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size) {
  node *n = ((file *)base)->of;
  risk();
  int code = fails(IO | DONE, SQLITE_IOERR_TRUNCATE);
  if (code && !is_done())
    return code;
  cut_short(&n->now, (size_t)size);
  remember(n, size, NULL, 0);
  return code;
}

enum { JOURNALS = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL };

static int sync_file(sqlite3_file *base, int flags) {
  file *f = (file *)base;
  (void)flags;
  risk();
  int code = fails(IO | DONE, SQLITE_IOERR_FSYNC);
  if (code && !is_done())
    return code;
  make_safe(f->of);
  if (f->flags & JOURNALS && !f->synced)
    make_names_safe();
  f->synced = true;
  return code;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
  *size = (sqlite3_int64)((file *)base)->of->now.size;
  return fails(IO, SQLITE_IOERR_FSTAT);
}

static int control(sqlite3_file *base, int operation, void *argument) {
  if (operation == SQLITE_FCNTL_PDB)
    ((file *)base)->db = *(sqlite3 **)argument;
  return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base) { return (void)base, SECTOR; }

/* As SQLite assumes of Unix files. */
static int characteristics(sqlite3_file *base) { return (void)base, SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

static int close_file(sqlite3_file *base) {
  file *f = (file *)base, **at = &files;
  shm_unmap(base, 0);
  let_go(f, SQLITE_LOCK_NONE);
  while (*at != f)
    at = &(*at)->next;
  *at = f->next;
  open_files--;
  f->of->opened--;
  if (f->remove)
    f->of->linked = f->of->safely_linked = false;
  free_if_unused(f->of);
  return SQLITE_OK;
}

/* ---- the file system ---- */

static const sqlite3_io_methods METHODS = {
    2,        close_file,  read_file,      write_file, truncate_file, sync_file,       file_size,
    lock,     unlock,      check_reserved, control,    sector_size,   characteristics, shm_map,
    shm_lock, shm_barrier, shm_unmap,      NULL,       NULL};

/* fault.db and /fault.db are one file. */
static const char *plain(const char *name) { return name && *name == '/' ? name + 1 : name; }

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags) {
  file *f = (file *)base;
  (void)vfs;
  memset(f, 0, sizeof *f);
  name = plain(name);
  node *n = name ? find(name) : NULL;
  int code = fails(IO, SQLITE_CANTOPEN);
  if (code || (!n && !(flags & SQLITE_OPEN_CREATE)))
    return code ? code : SQLITE_CANTOPEN;
  if (!n) {
    risk();
    n = new_node(name ? name : "");
  }
  f->base.pMethods = &METHODS;
  f->of = n;
  f->flags = flags;
  f->remove = flags & SQLITE_OPEN_DELETEONCLOSE;
  f->next = files;
  files = f;
  n->opened++;
  open_files++;
  if (out_flags)
    *out_flags = flags;
  return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int sync) {
  (void)vfs;
  risk();
  int code = fails(IO | (sync ? (unsigned)DONE : 0), SQLITE_IOERR_DELETE);
  node *n = find(plain(name));
  if (code && !is_done())
    return code;
  if (!n)
    return SQLITE_IOERR_DELETE_NOENT;
  unlink_node(n);
  if (sync && !code)
    make_names_safe();
  return code ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
  (void)vfs, (void)flags;
  const node *n = find(plain(name));
  *out = n && (flags != SQLITE_ACCESS_EXISTS || n->now.size > 0);
  return fails(IO, SQLITE_IOERR_ACCESS);
}

static int full_name(sqlite3_vfs *vfs, const char *name, int room, char *out) {
  (void)vfs;
  sqlite3_snprintf(room, out, "/%s", plain(name));
  return fails(IO, SQLITE_CANTOPEN);
}

static int randomness(sqlite3_vfs *vfs, int length, char *out) {
  static unsigned state = 1;
  (void)vfs;
  for (int i = 0; i < length; i++)
    out[i] = (char)((state = state * 1103515245u + 12345u) >> 16);
  return length;
}

/* Waiting takes no time here. */
static int nap(sqlite3_vfs *vfs, int microseconds) { return (void)vfs, microseconds; }

static int now64(sqlite3_vfs *vfs, sqlite3_int64 *out) {
  return (void)vfs, *out = INT64_C(212648457600000), SQLITE_OK;
}

static int now(sqlite3_vfs *vfs, double *out) { return (void)vfs, *out = 2461209.0, SQLITE_OK; }

static int last_error(sqlite3_vfs *vfs, int room, char *out) { return (void)vfs, (void)room, (void)out, 0; }

void disk_install(bool as_default) {
  static sqlite3_vfs vfs;
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(file);
  vfs.mxPathname = NAME - 1;
  vfs.zName = "fault";
  vfs.xOpen = open_file;
  vfs.xDelete = delete_file;
  vfs.xAccess = access_file;
  vfs.xFullPathname = full_name;
  vfs.xRandomness = randomness;
  vfs.xSleep = nap;
  vfs.xCurrentTime = now;
  vfs.xCurrentTimeInt64 = now64;
  vfs.xGetLastError = last_error;
  sqlite3_vfs_register(&vfs, as_default);
}

int disk_handles(void) { return open_files; }

void disk_each(void (*fn)(sqlite3 *db)) {
  for (file *f = files; f; f = f->next)
    if (f->db && f->flags & SQLITE_OPEN_MAIN_DB)
      fn(f->db);
}

void disk_copy(const char *from, const char *to) {
  node *source = find(from), *target = find(to);
  if (!source)
    abort();
  target = target ? target : new_node(to);
  copy(&target->now, &source->now);
}

void disk_settle(void) {
  make_names_safe();
  for (node *n = nodes; n; n = n->next)
    make_safe(n);
}

/* ---- power cuts ---- */

static uint64_t dice;

static unsigned roll(unsigned sides) {
  dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
  return (unsigned)((dice >> 11) % sides);
}

/* One sector's part of a write: done, lost, or torn at some byte. */
static void settle_piece(bytes *b, sqlite3_int64 offset, const unsigned char *data, size_t length) {
  size_t tear = roll((unsigned)length + 1);
  switch (roll(4)) {
  case 0:
    return;
  case 1:
    put(b, offset, data, tear);
    return;
  case 2:
    put(b, offset + (sqlite3_int64)tear, data + tear, length - tear);
    return;
  default:
    put(b, offset, data, length);
  }
}

static void settle_change(bytes *b, const change *c) {
  if (c->length == 0 && roll(2))
    cut_short(b, (size_t)c->offset);
  for (size_t done = 0; done < c->length;) {
    size_t room = SECTOR - (size_t)(c->offset + (sqlite3_int64)done) % SECTOR;
    size_t some = c->length - done < room ? c->length - done : room;
    settle_piece(b, c->offset + (sqlite3_int64)done, c->data + done, some);
    done += some;
  }
}

static node *live; /* what cut() has put aside */

/* Of two files that had the name, the one that comes later in `nodes` is older. */
static void settle(const node *n) {
  bool linked = n->linked == n->safely_linked ? n->linked : roll(2);
  if (!linked || !*n->name || find(n->name))
    return;
  node *left = new_node(n->name);
  copy(&left->now, &n->safe);
  for (size_t i = 0; i < n->change_count; i++)
    settle_change(&left->now, &n->changes[i]);
  left->safely_linked = true;
  make_safe(left);
}

void disk_cut(uint64_t seed) {
  dice = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
  counting_cuts = false;
  live = nodes;
  nodes = NULL;
  for (const node *n = live; n; n = n->next)
    settle(n);
}

void disk_uncut(void) {
  while (nodes)
    free_node(nodes);
  nodes = live;
  live = NULL;
}
