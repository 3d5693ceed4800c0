/* writelib: writes the batches of a flush in their order. Neighbours of one shape share a statement; SQL text
   comes from the provider, a Lua function that is called once per shape, never per row. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flush.h"

/* ---- statements ---- */

/* An integer that this Lua cannot hold, as type as = "string" gives it. */
static void push_digits(lua_State *L, int64_t value) {
  char digits[24];
  lua_pushlstring(L, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

static bool serves_again(const orr_flush *f, const char *kind, const orr_flush_record *r, size_t shape,
                         size_t rows) {
  const orr_flush_call *last = &f->last;
  return orr_statement_is_idle(last->statement) && last->kind == kind && last->class == r->class &&
         last->relation == r->relation && last->rows == rows && memcmp(last->shape, f->shape, shape) == 0;
}

/* The statement that the provider has for a shape: provider(kind, class, relation number, shape, rows).
   `kind` is a literal. */
static orr_statement *statement_for(lua_State *L, orr_flush *f, const char *kind, const orr_flush_record *r,
                                    size_t shape, size_t rows) {
  size_t len;
  if (serves_again(f, kind, r, shape, rows)) {
    orr_statement_restart(f->last.statement);
    return f->last.statement;
  }
  f->last.statement = NULL;
  lua_pushvalue(L, f->provider);
  lua_pushstring(L, kind);
  orr_class_push(L, r->class);
  lua_pushinteger(L, r->relation < 0 ? 0 : r->class->column_count + r->relation + 1);
  lua_pushlstring(L, (const char *)f->shape, shape);
  lua_pushinteger(L, (lua_Integer)rows);
  lua_call(L, 5, 1);
  const char *sql = lua_tolstring(L, -1, &len);
  orr_statement *statement = orr_statement_push(L, f->connection, sql, len);
  lua_replace(L, f->last.index);
  lua_pop(L, 1);
  memcpy(f->last.shape, f->shape, shape);
  f->last =
      (orr_flush_call){f->last.index, statement, kind, r->class, r->relation, rows, shape, f->last.shape};
  return statement;
}

void orr_flush_push_value(lua_State *L, const orr_value *value) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  if (value->tag == ORR_NULL)
    lua_pushlightuserdata(L, NULL);
  else if (value->tag != ORR_INT)
    orr_type_push(L, &any, value);
  else if (!orr_pushint64(L, value->as.i))
    push_digits(L, value->as.i);
}

static orr_flush_record *record_at(const orr_flush *f, const orr_unit_batch *batch, uint32_t i) {
  return &f->records[f->unit.order[batch->first + i]];
}

/* One execution of a statement: `fill` binds the values of rows first .. first + count - 1 of a batch. */
typedef struct binder binder;
struct binder {
  orr_flush *f;
  orr_statement *statement;
  void (*fill)(lua_State *L, binder *b);
  const orr_unit_batch *batch;
  uint32_t first, count;
  int next;   /* parameter */
  int params; /* index of a table that gets the values too, 0: nobody looks */
};

static void bind_next(lua_State *L, binder *b, const orr_value *value, bool copy) {
  orr_error error;
  orr_error_clear(&error);
  if (b->statement->driver->bind(b->statement->handle, b->next, value, copy, &error) != 0) {
    orr_statement_error(L, b->statement, &error);
    lua_error(L);
  }
  if (b->params) {
    orr_flush_push_value(L, value);
    lua_rawseti(L, b->params, b->next);
  }
  b->next++;
}

static void bind(lua_State *L, binder *b, const orr_value *value) { bind_next(L, b, value, false); }

/* The value of a column of object `n`, which need not stand on the stack but for a string of Lua's. */
static void value_of(lua_State *L, const orr_flush *f, uint32_t n, int column, orr_value *out) {
  orr_instance *object = f->entries[n - 1].object;
  bool outside = orr_tags(object)[column] & ORR_OUTSIDE;
  if (outside)
    lua_rawgeti(L, f->objects, (int)n);
  orr_instance_value(L, object, -1, column, out);
  if (outside)
    lua_pop(L, 1);
}

static void bind_column(lua_State *L, binder *b, uint32_t n, int column) {
  orr_value value;
  value_of(L, b->f, n, column, &value);
  bind(L, b, &value);
}

static void bind_placeholder(lua_State *L, binder *b, const orr_unique *unique, uint32_t n) {
  char scratch[ORR_TYPE_SCRATCH];
  orr_value value = orr_flush_placeholder(unique, n, scratch);
  bind_next(L, b, &value, true);
}

/* Binds what stands in the place of a part of the key, where that was set aside. */
static bool bind_stand_in(lua_State *L, binder *b, uint32_t n, int column) {
  uint32_t i = b->f->entries[n - 1].first_aside;
  while (i && !(b->f->records[i - 1].writes && orr_flush_unique(&b->f->records[i - 1])->aside == column))
    i = b->f->records[i - 1].next;
  if (i)
    bind_placeholder(L, b, orr_flush_unique(&b->f->records[i - 1]), n);
  return i != 0;
}

/* The key by which a row is found: what it was, unless the database has carried a changed one to it already.
 */
static void bind_key(lua_State *L, binder *b, uint32_t n, bool carried) {
  orr_value values[ORR_MAX_KEY];
  orr_instance *object = orr_flush_look(b->f, n);
  if (!b->f->asides && orr_flush_plain_key(object, values)) {
    bind(L, b, values);
    return;
  }
  orr_flush_object(L, b->f, n);
  if (!orr_instance_key(L, object, lua_gettop(L), !carried, values))
    orr_attribute_error(L, object->class, object->class->keys[0], "FlushError",
                        "this object has no primary key to find its row by");
  lua_pop(L, 1);
  for (int k = 0; k < object->class->key_count; k++)
    if (!b->f->asides || !bind_stand_in(L, b, n, object->class->keys[k]))
      bind(L, b, &values[k]);
}

static void fill(lua_State *L, binder *b) {
  b->next = 1;
  b->fill(L, b);
}

/* Fills once more into a fresh table, left on the stack. */
static void push_params(lua_State *L, binder *b) {
  lua_newtable(L);
  b->params = lua_gettop(L);
  fill(L, b);
  b->params = 0;
}

static void finish(binder *b) { b->statement->driver->reset(b->statement->handle); }

/* Raises what made the statement fail, with its parameters. */
static int fail(lua_State *L, binder *b, const orr_error *error) {
  b->statement->driver->reset(b->statement->handle);
  b->f->culprit = record_at(b->f, b->batch, b->first)->object;
  b->f->culprits = b->count;
  orr_statement_error(L, b->statement, error);
  push_params(L, b);
  b->statement->driver->reset(b->statement->handle);
  lua_setfield(L, -2, "params");
  return lua_error(L);
}

/* Steps once: true where a row comes back. */
static bool step(lua_State *L, binder *b) {
  orr_error error;
  orr_error_clear(&error);
  int code = b->statement->driver->step(b->statement->handle, &error);
  if (code < 0)
    fail(L, b, &error);
  return code == ORR_STEP_ROW;
}

/* Runs a statement about several rows: false where a constraint refuses one of them, so that each by itself
   would tell which. */
static bool run_together(lua_State *L, binder *b) {
  orr_error error;
  orr_error_clear(&error);
  int code = b->statement->driver->step(b->statement->handle, &error);
  if (code < 0 && (strcmp(error.kind, "IntegrityError") != 0 || !b->f->driver->in_transaction(b->f->db)))
    fail(L, b, &error);
  finish(b);
  return code >= 0;
}

/* Ends one of several executions. */
static void rewind_statement(binder *b) { b->statement->driver->rewind(b->statement->handle); }

static int64_t changes(const orr_flush *f) { return f->driver->changes(f->db); }

/* What follows would stand outside the transaction where a listener has ended that. */
static void check_transaction(lua_State *L, orr_flush *f) {
  orr_connection *connection = orr_connection_check(L, f->connection);
  f->driver = orr_connection_driver(connection);
  f->db = orr_connection_db(connection);
  if (!f->driver->in_transaction(f->db))
    orr_raisef(L, "InvalidRequestError",
               "session:flush(): its transaction was ended by a function that listens to it");
}

/* What listens may have run so many statements that this one was closed. */
static void renew(lua_State *L, binder *b) {
  const orr_flush_call *last = &b->f->last;
  if (!orr_statement_is_idle(b->statement))
    b->statement =
        statement_for(L, b->f, last->kind, record_at(b->f, b->batch, b->first), last->columns, last->rows);
}

/* trace(phase, sql, params, many, rows), where somebody listens; the params are on top and stay. */
static void call_trace(lua_State *L, binder *b, const char *phase, bool many, size_t rows) {
  int params = lua_gettop(L);
  lua_pushvalue(L, b->f->trace);
  lua_pushstring(L, phase);
  orr_statement_sql(L, b->statement);
  lua_pushvalue(L, params);
  lua_pushboolean(L, many);
  lua_pushinteger(L, (lua_Integer)rows);
  lua_call(L, 5, 0);
  check_transaction(L, b->f);
  renew(L, b);
}

/* Tells who listens of one execution. */
static void announce(lua_State *L, binder *b, const char *phase) {
  if (lua_isnil(L, b->f->trace))
    return;
  push_params(L, b);
  call_trace(L, b, phase, false, b->count);
  lua_pop(L, 1);
}

/* Tells who listens of `rows` executions of one statement, the sets of whose values `each` goes through. */
static void announce_run(lua_State *L, binder *b, const char *phase, bool (*takes)(const binder *, uint32_t),
                         uint32_t rows) {
  if (lua_isnil(L, b->f->trace))
    return;
  int sets = 0;
  lua_newtable(L);
  for (uint32_t i = 0; i < rows; i++) {
    b->first += i;
    if (takes(b, b->first)) {
      push_params(L, b);
      lua_rawseti(L, -2, ++sets);
    }
    b->first -= i;
  }
  if (sets == 1)
    lua_rawgeti(L, -1, 1);
  call_trace(L, b, phase, sets > 1, (size_t)sets);
  lua_pop(L, sets == 1 ? 2 : 1);
}

/* ---- inserts ---- */

/* Foreign keys of parents that have got their keys by now. */
static void apply_syncs(lua_State *L, orr_flush *f, uint32_t n, int index) {
  for (uint32_t s = f->entries[n - 1].first_sync; s; s = f->syncs[s - 1].next) {
    const orr_flush_sync *sync = &f->syncs[s - 1];
    orr_flush_object(L, f, sync->from);
    orr_flush_copy_key(L, f, lua_gettop(L), index, sync->relation, sync->from_far);
    lua_pop(L, 1);
  }
}

/* Whether a parent waits for its key still: then the row cannot go into the same statement. */
static bool must_wait(const orr_flush *f, uint32_t n) {
  for (uint32_t s = f->entries[n - 1].first_sync; s; s = f->syncs[s - 1].next) {
    const orr_flush_entry *parent = &f->entries[f->syncs[s - 1].from - 1];
    if (parent->kind == ORR_UNIT_INSERT && !parent->written)
      return true;
  }
  return false;
}

/* Whether a parent gets its key from a statement that is yet to run: the object cannot be part of that one.
 */
static bool waits_for_key(lua_State *L, orr_flush *f, uint32_t n) {
  bool waits = false;
  for (uint32_t s = f->entries[n - 1].first_sync; s && !waits; s = f->syncs[s - 1].next) {
    const orr_flush_sync *sync = &f->syncs[s - 1];
    orr_instance *parent = orr_flush_object(L, f, sync->from);
    for (int p = 0; p < sync->relation->pair_count && !waits; p++) {
      const orr_pair *pair = &sync->relation->pairs[p];
      waits = (orr_tags(parent)[sync->from_far ? pair->far : pair->near] & ORR_TAG) == ORR_NULL;
    }
    lua_pop(L, 1);
  }
  return waits;
}

enum { LEFT_OUT = '0', WRITTEN = '1', RETURNED = '2', NO_COLUMN = '3' };

static unsigned char insert_shape_of(lua_State *L, const orr_class *row, const orr_instance *object,
                                     int column) {
  unsigned flags = row->columns[column].flags;
  unsigned tag = orr_tags((orr_instance *)object)[column];
  bool given = !(tag & ORR_UNLOADED), null = (tag & ORR_TAG) == ORR_NULL;
  if (flags & (ORR_COLUMN_READ_ONLY | ORR_COLUMN_ABOVE))
    return NO_COLUMN;
  if (flags & ORR_COLUMN_AUTOKEY)
    return given && !null ? WRITTEN : LEFT_OUT;
  if (flags & ORR_COLUMN_SERVER_DEFAULT && !given)
    return RETURNED;
  if (flags & ORR_COLUMN_KEY && null)
    orr_attribute_error(L, object->class, column, "FlushError",
                        "the primary key has no value, and the database does not make one for this column: give it "
                        "one, or a default");
  return WRITTEN;
}

/* What is written of an object into the table of `row`, its class or one above. */
static void insert_shape(lua_State *L, const orr_class *row, const orr_instance *object,
                         unsigned char *shape) {
  for (int c = 0; c < row->column_count; c++)
    shape[c] = insert_shape_of(L, row, object, c);
}

/* The column whose value the database makes on insert, or -1. */
static int made_key(const orr_class *class, const unsigned char *shape) {
  for (int k = 0; k < class->key_count; k++)
    if (shape[class->keys[k]] == LEFT_OUT)
      return class->keys[k];
  return -1;
}

static void store_made_keys(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                            uint32_t count, int column) {
  int64_t last = f->driver->last_insert_id(f->db);
  for (uint32_t i = 0; i < count; i++) {
    orr_instance *object = orr_flush_object(L, f, record_at(f, batch, first + i)->object);
    orr_value value = {ORR_INT, 0, {last - (int64_t)(count - 1 - i)}};
    orr_flush_note(L, f, object, lua_gettop(L), column);
    orr_instance_put(L, object, lua_gettop(L), column, &value);
    lua_pop(L, 1);
  }
}

static void store_returned(lua_State *L, binder *b, const orr_flush_record *r) {
  int at = 0;
  orr_flush *f = b->f;
  orr_instance *object = orr_flush_object(L, f, r->object);
  b->statement->driver->row(b->statement->handle, 0, f->values, b->statement->columns);
  for (int c = 0; c < r->class->column_count; c++)
    if (f->shape[c] == RETURNED) {
      orr_flush_note(L, f, object, lua_gettop(L), c);
      orr_instance_put(L, object, lua_gettop(L), c, &f->values[at++]);
    }
  lua_pop(L, 1);
}

static void check_inserted(lua_State *L, orr_flush *f, const orr_class *class, uint32_t count) {
  int64_t got = changes(f);
  if (got == (int64_t)count)
    return;
  orr_class_pushname(L, class);
  orr_raisef(L, "FlushError", "%s: %d row(s) were to be inserted, the database reports %d",
             lua_tostring(L, -1), (int)count, (int)got);
}

static void fill_insert(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    const orr_flush_record *r = record_at(b->f, b->batch, b->first + i);
    orr_flush_look(b->f, r->object);
    for (int c = 0; c < r->class->column_count; c++)
      if (b->f->shape[c] == WRITTEN)
        bind_column(L, b, r->object, c);
  }
}

/* Inserts `count` neighbours of one shape with one statement. */
static void insert_rows(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                        uint32_t count) {
  const orr_flush_record *r = record_at(f, batch, first);
  int top = lua_gettop(L), key = made_key(r->class, f->shape);
  orr_statement *statement = statement_for(L, f, "insert", r, (size_t)r->class->column_count, count);
  binder b = {f, statement, fill_insert, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  if (step(L, &b)) {
    store_returned(L, &b, r);
    while (step(L, &b))
      ;
  }
  finish(&b);
  check_inserted(L, f, r->class, count);
  if (key >= 0)
    store_made_keys(L, f, batch, first, count, key);
  for (uint32_t i = 0; i < count; i++)
    f->entries[record_at(f, batch, first + i)->object - 1].written = true;
  announce(L, &b, "after");
  lua_settop(L, top);
}

/* How many rows one statement may take: provider("batch", class, 0, shape) -> rows. */
static uint32_t batch_limit(lua_State *L, orr_flush *f, const orr_flush_record *r) {
  lua_pushvalue(L, f->provider);
  lua_pushliteral(L, "batch");
  orr_class_push(L, r->class);
  lua_pushinteger(L, 0);
  lua_pushlstring(L, (const char *)f->shape, (size_t)r->class->column_count);
  lua_pushinteger(L, ORR_BATCH_ROWS);
  lua_call(L, 5, 1);
  uint32_t limit = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return limit ? limit : 1;
}

static void write_inserts(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  uint32_t i = 0;
  while (i < batch->count) {
    const orr_flush_record *r = record_at(f, batch, i);
    size_t columns = (size_t)r->class->column_count;
    int top = lua_gettop(L);
    uint32_t run = 0, limit = 0;
    for (; i + run < batch->count && (run == 0 || run < limit); run++) {
      const orr_flush_record *other = record_at(f, batch, i + run);
      if (other->class != r->class || (run && must_wait(f, other->object)))
        break;
      orr_instance *object = orr_flush_object(L, f, other->object);
      apply_syncs(L, f, other->object, lua_gettop(L));
      insert_shape(L, r->class, object, run ? f->next_shape : f->shape);
      lua_settop(L, top);
      if (run && memcmp(f->shape, f->next_shape, columns) != 0)
        break;
      if (!run)
        limit = i + 1 < batch->count ? batch_limit(L, f, r) : 1;
    }
    insert_rows(L, f, batch, i, run);
    i += run;
  }
}

/* ---- updates ---- */

/* The row of a deleted object becomes that of a new one, which writes what it was given. */
static bool switched_shape(const orr_class *row, orr_instance *object, unsigned char *shape) {
  bool writes = false;
  for (int c = 0; c < row->column_count; c++) {
    bool fixed = row->columns[c].flags & (ORR_COLUMN_KEY | ORR_COLUMN_READ_ONLY | ORR_COLUMN_ABOVE);
    shape[c] = fixed || orr_tags(object)[c] & ORR_UNLOADED ? LEFT_OUT : WRITTEN;
    writes = writes || shape[c] == WRITTEN;
  }
  return writes;
}

/* Whether the value of a changed column is another than the one in the database. */
static bool differs(lua_State *L, orr_instance *object, int index, int column) {
  orr_value now, before;
  orr_instance_value(L, object, index, column, &now);
  bool known = orr_instance_old(L, object, index, column, &before);
  bool text = known && before.tag == ORR_TEXT && now.tag == ORR_BLOB;
  if (text)
    before.tag = ORR_BLOB;
  return !known || !orr_value_same(&now, &before);
}

/* The database carries a changed key to the rows below the first. */
static bool is_written_elsewhere(const orr_class *row, int column) {
  return row->columns[column].flags & (row->above ? ORR_COLUMN_ABOVE | ORR_COLUMN_KEY : ORR_COLUMN_ABOVE);
}

/* The columns of the table of `row` whose value is another than the one in the database. */
static bool update_shape(lua_State *L, const orr_class *row, orr_instance *object, int index,
                         unsigned char *shape) {
  bool writes = false;
  for (int c = 0; c < row->column_count; c++) {
    bool written =
        orr_tags(object)[c] & ORR_CHANGED && !is_written_elsewhere(row, c) && differs(L, object, index, c);
    shape[c] = written ? WRITTEN : LEFT_OUT;
    writes = writes || written;
  }
  return writes;
}

/* What was set aside is written again, though it may not differ. */
static bool restore_asides(const orr_flush *f, const orr_flush_record *r, unsigned char *shape) {
  uint32_t i = f->entries[r->object - 1].first_aside;
  bool any = i != 0;
  for (; i; i = f->records[i - 1].next)
    if (f->records[i - 1].class == r->class)
      shape[orr_flush_unique(&f->records[i - 1])->aside] = WRITTEN;
  return any;
}

/* Whether another row of the object has something to write: its version counts for all of them. */
static bool changes_elsewhere(lua_State *L, const orr_class *row, orr_instance *object, int index) {
  bool found = false;
  for (int c = 0; row != object->class && c < object->class->column_count && !found; c++)
    found = orr_tags(object)[c] & ORR_CHANGED && differs(L, object, index, c);
  return found;
}

static void stale(lua_State *L, orr_flush *f, const char *kind, const orr_flush_record *r, int64_t matched) {
  f->culprit = r->object;
  f->culprits = 1;
  orr_push_hook(L, "stale");
  lua_pushstring(L, kind);
  orr_class_push(L, r->class);
  orr_flush_object(L, f, r->object);
  lua_pushinteger(L, (lua_Integer)matched);
  lua_call(L, 4, 0);
}

/* The object whose version the row of object `n` has now, pushed. */
static orr_instance *push_version_holder(lua_State *L, orr_flush *f, uint32_t n) {
  uint32_t former = f->entries[n - 1].former;
  return orr_flush_object(L, f, former ? former : n);
}

static void count_version(lua_State *L, orr_flush *f, uint32_t n, int index) {
  if (f->entries[n - 1].counted)
    return;
  push_version_holder(L, f, n);
  orr_flush_count_version(L, f, index, lua_gettop(L));
  lua_pop(L, 1);
  f->entries[n - 1].counted = true;
}

static bool key_changed(orr_instance *object) {
  const orr_class *class = object->class;
  for (int k = 0; k < class->key_count; k++)
    if (orr_tags(object)[class->keys[k]] & ORR_CHANGED)
      return true;
  return false;
}

/* What is to be written into the row of record `r` of the object at `index`; a versioned one that changes
   gets its next version. */
static bool plan_update(lua_State *L, orr_flush *f, const orr_flush_record *r, int index,
                        unsigned char *shape) {
  orr_instance *object = orr_flush_look(f, r->object);
  orr_flush_entry *entry = &f->entries[r->object - 1];
  entry->moves |= entry->kind == ORR_UNIT_UPDATE && key_changed(object);
  bool switched = entry->switched;
  bool writes =
      switched ? switched_shape(r->class, object, shape) : update_shape(L, r->class, object, index, shape);
  if (f->asides && restore_asides(f, r, shape))
    writes = true;
  int version = orr_class_row_version(r->class);
  if (version < 0 || r->class->columns[version].flags & ORR_COLUMN_COMPUTED)
    return writes;
  writes = writes || changes_elsewhere(L, r->class, object, index);
  if (writes)
    count_version(L, f, r->object, index);
  shape[version] = writes ? WRITTEN : LEFT_OUT;
  return writes;
}

/* The version that the row must still have. */
static void bind_version(lua_State *L, binder *b, uint32_t n) {
  orr_instance *holder = push_version_holder(L, b->f, n);
  orr_value value = orr_flush_version(L, holder, lua_gettop(L));
  bind(L, b, &value);
  lua_pop(L, 1);
}

static void fill_update(lua_State *L, binder *b) {
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  for (int c = 0; c < r->class->column_count; c++)
    if (b->f->shape[c] == WRITTEN)
      bind_column(L, b, r->object, c);
  bind_key(L, b, r->object, r->class->above != NULL);
  if (orr_class_row_version(r->class) >= 0)
    bind_version(L, b, r->object);
}

static bool has_update(const binder *b, uint32_t i) { return record_at(b->f, b->batch, i)->writes; }

static void update_one_by_one(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                              uint32_t count) {
  if (!count)
    return;
  const orr_flush_record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "update", r, (size_t)r->class->column_count, 1);
  binder b = {f, statement, fill_update, batch, first, 1, 1, 0};
  announce_run(L, &b, "before", has_update, count);
  for (; b.first < first + count; b.first++) {
    if (!has_update(&b, b.first))
      continue;
    orr_statement_restart(b.statement);
    fill(L, &b);
    step(L, &b);
    rewind_statement(&b);
    int64_t matched = changes(f);
    if (matched != 1)
      stale(L, f, "UPDATE", record_at(f, batch, b.first), matched);
  }
  finish(&b);
  b.first = first;
  announce_run(L, &b, "after", has_update, count);
  lua_settop(L, top);
}

/* So many rows take as long together as one by one: SQLite makes a table of their keys, and looks through
   different values one after the other. */
enum { FEW_ALIKE = 8, FEW_APART = 16 };

static bool same_change(lua_State *L, const orr_flush *f, const orr_flush_record *a,
                        const orr_flush_record *b) {
  for (int c = 0; c < a->class->column_count; c++) {
    orr_value first, second;
    if (f->shape[c] != WRITTEN)
      continue;
    value_of(L, f, a->object, c, &first);
    value_of(L, f, b->object, c, &second);
    if (!orr_value_same(&first, &second) ||
        (first.tag == ORR_REAL && signbit(first.as.r) != signbit(second.as.r))) /* 0.0 and -0.0 */
      return false;
  }
  return true;
}

/* How many rows from `first` on, before `end`, get the same values, as far as one statement goes. */
static uint32_t alike_from(lua_State *L, const orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                           uint32_t end) {
  const orr_flush_record *r = record_at(f, batch, first);
  uint32_t count = 1;
  while (r->writes && count < ORR_BATCH_ROWS && first + count < end &&
         record_at(f, batch, first + count)->writes &&
         same_change(L, f, r, record_at(f, batch, first + count)))
    count++;
  return count;
}

static bool is_unique(const orr_class *row, int column) {
  for (int u = 0; u < row->unique_count; u++)
    for (int c = 0; c < row->uniques[u].count; c++)
      if (row->uniques[u].columns[c] == column)
        return true;
  return row->unique_count < 0;
}

/* The one column that is written, or -1 where there are several, or its values must change hands in order. */
static int written_column(const orr_flush *f, const orr_class *row) {
  int found = -1;
  for (int c = 0; c < row->column_count; c++) {
    if (f->shape[c] != WRITTEN)
      continue;
    if (found >= 0 || is_unique(row, c))
      return -1;
    found = c;
  }
  return found;
}

static void fill_alike(lua_State *L, binder *b) {
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  for (int c = 0; c < r->class->column_count; c++)
    if (b->f->shape[c] == WRITTEN)
      bind_column(L, b, r->object, c);
  for (uint32_t i = 0; i < b->count; i++)
    bind_key(L, b, record_at(b->f, b->batch, b->first + i)->object, r->class->above != NULL);
}

/* Key and value of each row, and the keys once more. */
static void fill_apart(lua_State *L, binder *b) {
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  int column = written_column(b->f, r->class);
  for (uint32_t i = 0; i < b->count; i++) {
    uint32_t n = record_at(b->f, b->batch, b->first + i)->object;
    bind_key(L, b, n, r->class->above != NULL);
    bind_column(L, b, n, column);
  }
  for (uint32_t i = 0; i < b->count; i++)
    bind_key(L, b, record_at(b->f, b->batch, b->first + i)->object, r->class->above != NULL);
}

/* Changes `count` rows in one statement. Where some are not found or refused, each by itself tells which. */
static void update_together(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                            uint32_t count, bool alike) {
  const orr_flush_record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement =
      statement_for(L, f, alike ? "update" : "update_apart", r, (size_t)r->class->column_count, count);
  binder b = {f, statement, alike ? fill_alike : fill_apart, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  bool taken = run_together(L, &b);
  bool all = taken && changes(f) == (int64_t)count;
  if (taken)
    announce(L, &b, "after");
  lua_settop(L, top);
  if (!all)
    update_one_by_one(L, f, batch, first, count);
}

/* How many rows from `first` on, before `end`, go together, though each gets a value of its own. */
static uint32_t apart_from(const orr_flush *f, const orr_unit_batch *batch, uint32_t first, uint32_t end) {
  uint32_t count = 0;
  while (count < ORR_BATCH_ROWS && first + count < end && record_at(f, batch, first + count)->writes)
    count++;
  return count >= FEW_APART ? count : 0;
}

static void write_update_run(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                             uint32_t count) {
  const orr_class *class = record_at(f, batch, first)->class;
  uint32_t end = first + count, at = first;
  bool plain = class->key_count == 1 && orr_class_row_version(class) < 0;
  bool apart = plain && written_column(f, class) >= 0;
  while (plain && at < end) {
    uint32_t alike = alike_from(L, f, batch, at, end);
    uint32_t together = alike >= FEW_ALIKE ? alike : apart ? apart_from(f, batch, at, end) : 0;
    if (together) {
      update_one_by_one(L, f, batch, first, at - first);
      update_together(L, f, batch, at, together, together == alike);
      first = at + together;
    }
    at += together ? together : alike;
  }
  update_one_by_one(L, f, batch, first, end - first);
}

static void write_updates(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  uint32_t i = 0;
  while (i < batch->count) {
    const orr_flush_record *r = record_at(f, batch, i);
    size_t columns = (size_t)r->class->column_count;
    int top = lua_gettop(L);
    uint32_t run = 0;
    bool any = false;
    for (; i + run < batch->count; run++) {
      orr_flush_record *other = record_at(f, batch, i + run);
      if (other->class != r->class || (run && waits_for_key(L, f, other->object)))
        break;
      if (!orr_flush_is_bare(&f->entries[other->object - 1]))
        lua_rawgeti(L, f->objects, (int)other->object);
      apply_syncs(L, f, other->object, top + 1);
      bool writes = plan_update(L, f, other, top + 1, any ? f->next_shape : f->shape);
      lua_settop(L, top);
      if (writes && any && memcmp(f->shape, f->next_shape, columns) != 0)
        break;
      other->writes = writes;
      f->entries[other->object - 1].writes |= writes;
      any = any || writes;
    }
    if (any)
      write_update_run(L, f, batch, i, run);
    i += run;
  }
}

/* Updates one row by itself; `fill` binds the columns of the shape, and by what the row is found. */
static void write_row(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t i,
                      void (*fill_row)(lua_State *L, binder *b)) {
  const orr_flush_record *r = record_at(f, batch, i);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "update", r, (size_t)r->class->column_count, 1);
  binder b = {f, statement, fill_row, batch, i, 1, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  int64_t matched = changes(f);
  announce(L, &b, "after");
  if (matched != 1)
    stale(L, f, "UPDATE", r, matched);
  lua_settop(L, top);
}

/* ---- values that are set aside ---- */

static void fill_set_aside(lua_State *L, binder *b) {
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  bind_placeholder(L, b, orr_flush_unique(r), r->object);
  bind_key(L, b, r->object, false);
  if (orr_class_row_version(r->class) >= 0)
    bind_version(L, b, r->object);
}

static void write_set_aside(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t i) {
  orr_flush_record *r = record_at(f, batch, i);
  memset(f->shape, LEFT_OUT, (size_t)r->class->column_count);
  f->shape[orr_flush_unique(r)->aside] = WRITTEN;
  write_row(L, f, batch, i, fill_set_aside);
  r->writes = true;
}

static void write_set_asides(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  for (uint32_t i = 0; i < batch->count; i++)
    write_set_aside(L, f, batch, i);
}

/* ---- foreign keys that had to wait ---- */

static void fill_post(lua_State *L, binder *b) {
  static const orr_value null = {ORR_NULL, 0, {0}};
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  int version = orr_class_row_version(r->class);
  bool deleted = b->f->entries[r->object - 1].kind == ORR_UNIT_DELETE;
  for (int c = 0; c < r->class->column_count; c++)
    if (b->f->shape[c] == WRITTEN && b->f->posts[r->other - 1].from)
      bind_column(L, b, r->object, c);
    else if (b->f->shape[c] == WRITTEN)
      bind(L, b, &null);
  bind_key(L, b, r->object, !deleted);
  if (version >= 0 && deleted)
    bind_version(L, b, r->object);
  else if (version >= 0)
    bind_column(L, b, r->object, version);
}

/* Copies the key that is there by now, and says which columns are written. */
static void take_key(lua_State *L, orr_flush *f, const orr_flush_record *r) {
  const orr_flush_sync *post = &f->posts[r->other - 1];
  int top = lua_gettop(L);
  if (post->from) {
    orr_flush_object(L, f, post->from);
    orr_flush_object(L, f, post->to);
    orr_flush_copy_key(L, f, top + 1, top + 2, post->relation, post->from_far);
    lua_settop(L, top);
  }
  memset(f->shape, LEFT_OUT, (size_t)r->class->column_count);
  for (int p = 0; p < post->relation->pair_count; p++) {
    const orr_pair *pair = &post->relation->pairs[p];
    f->shape[post->from_far ? pair->near : pair->far] = WRITTEN;
  }
}

static void write_posts(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  for (uint32_t i = 0; i < batch->count; i++) {
    take_key(L, f, record_at(f, batch, i));
    write_row(L, f, batch, i, fill_post);
  }
}

/* ---- deletes ---- */

static void fill_delete(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    const orr_flush_record *r = record_at(b->f, b->batch, b->first + i);
    bind_key(L, b, r->object, false);
    if (orr_class_row_version(r->class) >= 0)
      bind_version(L, b, r->object);
  }
}

/* Of rows in several tables, deleted early, the one above goes first and may take those below along. */
static bool may_be_gone(const orr_unit_batch *batch, const orr_class *row) {
  return batch->kind == ORR_UNIT_EARLY_DELETE && row->above;
}

static void delete_rows(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                        uint32_t count) {
  const orr_flush_record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "delete", r, 0, count);
  binder b = {f, statement, fill_delete, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  int64_t matched = changes(f);
  announce(L, &b, "after");
  if (matched != (int64_t)count && orr_class_row_version(r->class) >= 0)
    stale(L, f, "DELETE", r, matched);
  if (matched != (int64_t)count && !may_be_gone(batch, r->class)) {
    orr_push_hook(L, "delete_missed");
    orr_class_push(L, r->class);
    lua_pushinteger(L, (lua_Integer)count);
    lua_pushinteger(L, (lua_Integer)matched);
    lua_call(L, 3, 0);
  }
  lua_settop(L, top);
}

static void write_deletes(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  uint32_t i = 0;
  while (i < batch->count) {
    const orr_flush_record *r = record_at(f, batch, i);
    bool plain = r->class->key_count == 1 && orr_class_row_version(r->class) < 0;
    uint32_t most = plain ? ORR_BATCH_ROWS : 1, run = 1;
    while (run < most && i + run < batch->count && record_at(f, batch, i + run)->class == r->class)
      run++;
    delete_rows(L, f, batch, i, run);
    i += run;
  }
}

/* ---- link rows ---- */

static void bind_link_end(lua_State *L, binder *b, uint32_t n, const orr_pair *pairs, int count) {
  for (int p = 0; p < count; p++)
    bind_column(L, b, n, pairs[p].near);
}

/* What the columns of one link row get that are no foreign keys. */
static void bind_link_values(lua_State *L, binder *b, uint32_t row) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  lua_rawgeti(L, b->f->link_values, (int)row + 1);
  int values = lua_gettop(L), count = (int)orr_rawlen(L, values);
  for (int i = 1; i <= count; i++) {
    orr_value value;
    orr_error error;
    char scratch[ORR_TYPE_SCRATCH];
    orr_error_clear(&error);
    lua_rawgeti(L, values, i);
    if (orr_type_take(L, -1, &any, &value, scratch, &error) != 0)
      orr_raise(L, &error);
    bind_next(L, b, &value, true);
    lua_settop(L, values);
  }
  lua_pop(L, 1);
}

/* Leaves a table of the defaults of each row on the stack, for as long as the rows are bound. */
static void push_link_values(lua_State *L, orr_flush *f, const orr_flush_record *r, uint32_t count) {
  lua_createtable(L, (int)count, 0);
  f->link_values = lua_gettop(L);
  for (uint32_t i = 1; i <= count; i++) {
    orr_push_hook(L, "link_defaults");
    orr_class_push(L, r->class);
    lua_pushinteger(L, r->class->column_count + r->relation + 1);
    lua_call(L, 2, 1);
    lua_rawseti(L, f->link_values, (int)i);
  }
}

/* The columns of each link row: the class's, then the target's, then those with defaults. */
static void fill_link(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    const orr_flush_record *r = record_at(b->f, b->batch, b->first + i);
    const orr_relationship *relation = orr_flush_relation(r);
    orr_flush_look(b->f, r->object);
    bind_link_end(L, b, r->object, relation->pairs, relation->pair_count);
    bind_link_end(L, b, r->other, relation->pairs + relation->pair_count, relation->target_count);
    if (b->f->link_values)
      bind_link_values(L, b, i);
  }
}

static void insert_links(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                         uint32_t count) {
  int top = lua_gettop(L);
  const orr_flush_record *r = record_at(f, batch, first);
  f->link_values = 0;
  if (orr_flush_relation(r)->flags & ORR_RELATION_DEFAULTS)
    push_link_values(L, f, r, count);
  orr_statement *statement = statement_for(L, f, "link", r, 0, count);
  binder b = {f, statement, fill_link, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  announce(L, &b, "after");
  f->link_values = 0;
  lua_settop(L, top);
}

static bool is_alike(const orr_flush_record *a, const orr_flush_record *b) {
  return a->class == b->class && a->relation == b->relation && a->wipes == b->wipes;
}

static uint32_t link_run(const orr_flush *f, const orr_unit_batch *batch, uint32_t i, uint32_t most) {
  const orr_flush_record *r = record_at(f, batch, i);
  uint32_t run = 1;
  while (run < most && i + run < batch->count && is_alike(r, record_at(f, batch, i + run)))
    run++;
  return run;
}

static void write_link_inserts(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  for (uint32_t i = 0; i < batch->count;) {
    uint32_t run = link_run(f, batch, i, ORR_BATCH_ROWS);
    insert_links(L, f, batch, i, run);
    i += run;
  }
}

static bool has_link(const binder *b, uint32_t i) {
  (void)b;
  (void)i;
  return true;
}

static void stale_link(lua_State *L, const orr_flush_record *r, int64_t matched) {
  orr_push_hook(L, "stale_link");
  orr_class_push(L, r->class);
  lua_pushinteger(L, r->class->column_count + r->relation + 1);
  lua_pushinteger(L, (lua_Integer)matched);
  lua_call(L, 3, 0);
}

/* Each row by itself: a link that is gone, or stands there twice, must not go unnoticed. */
static void delete_links(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                         uint32_t count) {
  const orr_flush_record *r = record_at(f, batch, first);
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "unlink", r, 0, 1);
  binder b = {f, statement, fill_link, batch, first, 1, 1, 0};
  announce_run(L, &b, "before", has_link, count);
  for (; b.first < first + count; b.first++) {
    orr_statement_restart(b.statement);
    fill(L, &b);
    step(L, &b);
    rewind_statement(&b);
    int64_t matched = changes(f);
    if (matched != 1)
      stale_link(L, r, matched);
  }
  finish(&b);
  b.first = first;
  announce_run(L, &b, "after", has_link, count);
  lua_settop(L, top);
}

/* What the link rows of deleted objects are found by: what the object's row still says. */
static void fill_wipe(lua_State *L, binder *b) {
  for (uint32_t i = 0; i < b->count; i++) {
    const orr_flush_record *r = record_at(b->f, b->batch, b->first + i);
    const orr_relationship *relation = orr_flush_relation(r);
    orr_instance *object = orr_flush_object(L, b->f, r->object);
    for (int p = 0; p < relation->pair_count; p++) {
      orr_value value;
      int column = relation->pairs[p].near, index = lua_gettop(L);
      if (!(orr_tags(object)[column] & ORR_CHANGED) || !orr_instance_old(L, object, index, column, &value))
        orr_instance_value(L, object, index, column, &value);
      bind(L, b, &value);
    }
    lua_pop(L, 1);
  }
}

static void check_wiped(lua_State *L, const binder *b) {
  const orr_flush_record *r = record_at(b->f, b->batch, b->first);
  int64_t least = 0, most = 0, matched = changes(b->f);
  for (uint32_t i = 0; i < b->count; i++) {
    least += record_at(b->f, b->batch, b->first + i)->other;
    most += record_at(b->f, b->batch, b->first + i)->next;
  }
  if (matched >= least && matched <= most)
    return;
  orr_push_hook(L, "stale_links");
  orr_class_push(L, r->class);
  lua_pushinteger(L, r->class->column_count + r->relation + 1);
  lua_pushinteger(L, (lua_Integer)least);
  lua_pushinteger(L, (lua_Integer)most);
  lua_pushinteger(L, (lua_Integer)matched);
  lua_call(L, 5, 0);
}

/* All link rows of `count` deleted objects. */
static void wipe_links(lua_State *L, orr_flush *f, const orr_unit_batch *batch, uint32_t first,
                       uint32_t count) {
  int top = lua_gettop(L);
  orr_statement *statement = statement_for(L, f, "wipe", record_at(f, batch, first), 0, count);
  binder b = {f, statement, fill_wipe, batch, first, count, 1, 0};
  announce(L, &b, "before");
  fill(L, &b);
  step(L, &b);
  finish(&b);
  check_wiped(L, &b);
  announce(L, &b, "after");
  lua_settop(L, top);
}

static void write_link_deletes(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  for (uint32_t i = 0; i < batch->count;) {
    bool wipes = record_at(f, batch, i)->wipes;
    uint32_t run = link_run(f, batch, i, wipes ? ORR_BATCH_ROWS : UINT32_MAX);
    (wipes ? wipe_links : delete_links)(L, f, batch, i, run);
    i += run;
  }
}

static void write_batch(lua_State *L, orr_flush *f, size_t i) {
  static void (*const writers[])(lua_State *, orr_flush *, const orr_unit_batch *) = {
      write_set_asides,   write_deletes,      write_updates, write_inserts,
      write_link_deletes, write_link_inserts, write_posts,   write_deletes};
  writers[f->unit.batches[i].kind](L, f, &f->unit.batches[i]);
}

enum { ROUTE = 5 }; /* argument of core.run */

/* Where a session has several databases: route(class) -> connection, provider, trace or nil. */
static void take_route(lua_State *L, orr_flush *f, const orr_unit_batch *batch) {
  lua_pushvalue(L, ROUTE);
  orr_class_push(L, record_at(f, batch, 0)->class);
  lua_call(L, 1, 3);
  lua_replace(L, f->trace);
  lua_replace(L, f->provider);
  lua_replace(L, f->connection);
  f->last.statement = NULL;
  check_transaction(L, f);
}

/* Pushes what shapes, values and the last statement stand in while a flush runs. */
static void make_room(lua_State *L, orr_flush *f) {
  size_t columns = (size_t)f->columns + 1;
  f->shape = lua_newuserdata(L, 3 * columns);
  f->next_shape = f->shape + columns;
  f->values = lua_newuserdata(L, columns * sizeof *f->values);
  lua_pushnil(L);
  f->last = (orr_flush_call){.index = lua_gettop(L), .shape = f->next_shape + columns};
}

/* core.run(flush, connection, provider, trace or nil [, route]) writes everything, in order. */
int orr_flush_run(lua_State *L) {
  orr_flush *f = orr_flush_begin(L, ROUTE);
  bool routed = !lua_isnil(L, ROUTE);
  f->connection = 2;
  f->provider = 3;
  f->trace = 4;
  check_transaction(L, f);
  make_room(L, f);
  for (size_t i = 0; i < f->unit.batch_count; i++) {
    if (routed && f->unit.batches[i].count > 0)
      take_route(L, f, &f->unit.batches[i]);
    write_batch(L, f, i);
  }
  return 0;
}
