/* handoverlib: unique values that go from one row of a flush to another: exchanged, passed on along a chain,
   or taken over from a row that is deleted. The row that gives a value up must be written before the one that
   takes it. Where no order does that, or the row has to stay for now, its value is set aside: NULL, or one
   that no row has, stands in its place until the row itself is written. Only objects whose unique columns
   change are looked at; what the rows are ordered by otherwise is collectlib's. */
#include <stdio.h>
#include <string.h>

#include "../core/graph.h"
#include "flush.h"

/* ---- values of a set of columns ---- */

typedef enum known { UNKNOWN, NOTHING, KNOWN } known; /* NOTHING: a part is NULL, which is never in the way */

static known value_now(lua_State *L, orr_instance *object, int index, int column, orr_value *out) {
  if (orr_tags(object)[column] & ORR_UNLOADED)
    return object->state == ORR_PENDING ? NOTHING : UNKNOWN;
  orr_instance_value(L, object, index, column, out);
  return out->tag == ORR_NULL ? NOTHING : KNOWN;
}

static known value_before(lua_State *L, orr_instance *object, int index, int column, orr_value *out) {
  if (!(orr_tags(object)[column] & ORR_CHANGED))
    return value_now(L, object, index, column, out);
  if (!orr_instance_old(L, object, index, column, out))
    return UNKNOWN;
  return out->tag == ORR_NULL ? NOTHING : KNOWN;
}

static known values_of(lua_State *L, orr_flush *f, uint32_t n, const orr_unique *unique, bool before,
                       orr_value *out) {
  known all = KNOWN;
  orr_instance *object = orr_flush_object(L, f, n);
  for (int c = 0; c < unique->count && all == KNOWN; c++)
    all = (before ? value_before : value_now)(L, object, lua_gettop(L), unique->columns[c], &out[c]);
  lua_pop(L, 1);
  return all;
}

/* ---- who gives values up ---- */

/* The objects that give values up, by these values. */
typedef struct orr_givers {
  orr_identity values;
  bool open;
  uint32_t *objects; /* by slot; a block of Lua's */
} orr_givers;

static void close_givers(void *block) {
  orr_givers *givers = block;
  if (givers->open)
    orr_identity_clear(&givers->values);
  givers->open = false;
}

static const orr_box_kind givers_kind = {"givers", close_givers};

static bool always_alive(void *ud, uint32_t slot) {
  (void)ud;
  (void)slot;
  return true;
}

enum { MAX_COLUMNS = ORR_MAX_KEY };

/* Pushes one value: what anchors the key's bytes. */
static void make_key(lua_State *L, orr_key *key, const orr_unique *unique, const orr_value *values) {
  size_t size = orr_key_size(values, unique->count);
  char *bytes = size ? lua_newuserdata(L, size) : (lua_pushnil(L), NULL);
  orr_key_make(key, unique->id, values, unique->count, bytes);
}

static void enter_giver(lua_State *L, orr_givers *givers, const orr_unique *unique, const orr_value *values,
                        uint32_t n) {
  orr_key key;
  bool found;
  make_key(L, &key, unique, values);
  uint32_t slot = orr_identity_claim(&givers->values, &key, always_alive, NULL, &found);
  if (!slot)
    luaL_error(L, "not enough memory");
  givers->objects[slot] = n;
  lua_pop(L, 1);
}

static uint32_t find_giver(lua_State *L, const orr_givers *givers, const orr_unique *unique,
                           const orr_value *values) {
  orr_key key;
  make_key(L, &key, unique, values);
  uint32_t slot = orr_identity_find(&givers->values, &key);
  lua_pop(L, 1);
  return slot ? givers->objects[slot] : 0;
}

/* ---- which objects are concerned ---- */

static bool changes(const orr_instance *object, const orr_unique *unique) {
  for (int c = 0; c < unique->count; c++)
    if (orr_tags((orr_instance *)object)[unique->columns[c]] & ORR_CHANGED)
      return true;
  return false;
}

static bool is_given(const orr_instance *object, const orr_unique *unique) {
  for (int c = 0; c < unique->count; c++)
    if (orr_tags((orr_instance *)object)[unique->columns[c]] & ORR_UNLOADED)
      return false;
  return true;
}

/* Whether one of the columns gets the key of an object that is inserted in this flush. */
static bool awaits_key(const orr_flush *f, const orr_flush_entry *entry, const orr_unique *unique) {
  for (uint32_t s = entry->first_sync; s; s = f->syncs[s - 1].next) {
    const orr_flush_sync *sync = &f->syncs[s - 1];
    for (int p = 0; p < sync->relation->pair_count; p++)
      for (int c = 0; c < unique->count; c++)
        if (unique->columns[c] ==
            (sync->from_far ? sync->relation->pairs[p].near : sync->relation->pairs[p].far))
          return true;
  }
  return false;
}

static bool takes(const orr_flush *f, const orr_flush_entry *entry, const orr_unique *unique) {
  (void)f;
  if (entry->kind == ORR_UNIT_UPDATE)
    return changes(entry->object, unique);
  return entry->kind == ORR_UNIT_INSERT &&
         !unique->key; /* a key that is taken is known as such: see switch_row */
}

static bool gives(const orr_flush *f, const orr_flush_entry *entry, const orr_unique *unique) {
  if (entry->kind == ORR_UNIT_UPDATE)
    return changes(entry->object, unique) || awaits_key(f, entry, unique);
  if (entry->kind == ORR_UNIT_DELETE)
    return !entry->switched;
  return entry->switched && !unique->key && is_given(entry->object, unique);
}

typedef bool (*question)(const orr_flush *f, const orr_flush_entry *entry, const orr_unique *unique);
typedef void (*visit)(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row, const orr_unique *unique,
                      void *ud);

/* Visits the unique sets of every object's rows of which the question is true. */
static void each_set(lua_State *L, orr_flush *f, question asked, visit what, void *ud) {
  for (uint32_t n = 1; n <= f->count; n++)
    for (const orr_class *row = f->entries[n - 1].class; row; row = row->above)
      for (int u = 0; u < row->unique_count; u++)
        if (row->uniques[u].count <= MAX_COLUMNS && asked(f, &f->entries[n - 1], &row->uniques[u]))
          what(L, f, n, row, &row->uniques[u], ud);
}

/* ---- handovers ---- */

typedef struct search {
  orr_givers *givers;
  bool *wanted; /* by group: values of this table are taken */
  size_t sets;
} search;

static void note_taker(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row, const orr_unique *unique,
                       void *ud) {
  (void)L;
  (void)f;
  (void)n;
  (void)unique;
  ((search *)ud)->wanted[row->group] = true;
}

static void count_set(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row, const orr_unique *unique,
                      void *ud) {
  (void)L;
  (void)f;
  (void)n;
  (void)unique;
  search *s = ud;
  s->sets += s->wanted[row->group];
}

/* A row that is taken over gives up what the deleted object had. */
static void note_giver(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row, const orr_unique *unique,
                       void *ud) {
  const search *s = ud;
  orr_value values[MAX_COLUMNS];
  uint32_t former = f->entries[n - 1].former;
  if (!s->wanted[row->group])
    return;
  known found = values_of(L, f, former ? former : n, unique, true, values);
  if (found == UNKNOWN)
    f->blind++;
  else if (found == KNOWN)
    enter_giver(L, s->givers, unique, values, n);
}

/* Sets the object's value aside, at the beginning of its table's statements. */
static void set_aside(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row,
                      const orr_unique *unique) {
  orr_flush_record *r = orr_flush_add_record(L, f, ORR_UNIT_SET_ASIDE, (orr_class *)row, n);
  r->other = (uint32_t)(unique - row->uniques);
  r->next = f->entries[n - 1].first_aside;
  f->entries[n - 1].first_aside = (uint32_t)++f->record_count;
  f->asides = true;
  f->defers = f->defers || unique->defers;
}

/* A row that nothing refers to is deleted at once; others stay until what refers to them is written. */
static void make_room(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row,
                      const orr_unique *unique) {
  if (f->entries[n - 1].early)
    return;
  if (row->referred_to && unique->aside >= 0) {
    set_aside(L, f, n, row, unique);
    return;
  }
  f->entries[n - 1].early = true;
  f->defers = true;
}

static void add_handover(lua_State *L, orr_flush *f, uint32_t from, uint32_t to, const orr_class *row,
                         const orr_unique *unique) {
  f->handovers =
      orr_flush_grow(L, f, f->handovers, &f->handover_room, f->handover_count + 1, sizeof *f->handovers);
  orr_flush_handover handover = {from, to, row, unique};
  f->handovers[f->handover_count++] = handover;
}

static void find_handover(lua_State *L, orr_flush *f, uint32_t n, const orr_class *row,
                          const orr_unique *unique, void *ud) {
  const search *s = ud;
  orr_value values[MAX_COLUMNS];
  if (values_of(L, f, n, unique, false, values) != KNOWN)
    return;
  uint32_t giver = find_giver(L, s->givers, unique, values);
  if (!giver || giver == n)
    return;
  bool updated = f->entries[n - 1].kind == ORR_UNIT_UPDATE || f->entries[n - 1].switched;
  if (f->entries[giver - 1].kind == ORR_UNIT_DELETE)
    make_room(L, f, giver, row, unique);
  else if (f->session->world->cyclic[row->group]) /* its updates and inserts go level by level */
    unique->aside >= 0 ? set_aside(L, f, giver, row, unique) : (void)0;
  else if (updated) /* updates go before inserts anyway */
    add_handover(L, f, giver, n, row, unique);
}

static orr_givers *new_givers(lua_State *L, size_t most) {
  orr_givers *givers = orr_box_new(L, &givers_kind, sizeof *givers);
  givers->objects = lua_newuserdata(L, (most + 2) * sizeof *givers->objects);
  orr_identity_init(&givers->values, orr_allocator(L));
  givers->open = true;
  return givers;
}

static void learn_uniques(lua_State *L, const orr_class *row) {
  orr_push_hook(L, "uniques");
  orr_class_push(L, row);
  lua_call(L, 1, 0);
}

static bool row_takes(const orr_flush_entry *entry, const orr_class *row) {
  if (entry->kind != ORR_UNIT_UPDATE)
    return entry->kind == ORR_UNIT_INSERT && row->unique_count > 1;
  for (const orr_unique *unique = row->uniques; unique < row->uniques + row->unique_count; unique++)
    if (changes(entry->object, unique))
      return true;
  return false;
}

void orr_flush_look_at_uniques(lua_State *L, orr_flush *f, const orr_flush_entry *entry) {
  for (const orr_class *row = entry->class; row && !f->takes; row = row->above) {
    if (row->unique_count < 0)
      learn_uniques(L, row);
    f->takes = row_takes(entry, row);
  }
}

void orr_flush_look_at_column(orr_flush *f, const orr_class *class, int column) {
  for (const orr_class *row = class; row && !f->takes; row = row->above)
    for (int u = 0; u < row->unique_count; u++)
      for (int c = 0; c < row->uniques[u].count; c++)
        f->takes |= row->uniques[u].columns[c] == column;
}

void orr_flush_find_handovers(lua_State *L, orr_flush *f) {
  int top = lua_gettop(L);
  search s = {NULL, NULL, 0};
  if (!f->takes && !f->heard) /* most flushes end here */
    return;
  for (uint32_t n = 0; n < f->count; n++)
    for (const orr_class *row = f->entries[n].class; row && row->unique_count < 0; row = row->above)
      learn_uniques(L, row);
  size_t groups = f->session->world->group_count;
  s.wanted = lua_newuserdata(L, groups + 1);
  memset(s.wanted, 0, groups + 1);
  each_set(L, f, takes, note_taker, &s);
  each_set(L, f, gives, count_set, &s);
  if (s.sets) {
    s.givers = new_givers(L, s.sets);
    each_set(L, f, gives, note_giver, &s);
    each_set(L, f, takes, find_handover, &s);
    close_givers(s.givers);
  }
  lua_settop(L, top);
}

orr_value orr_flush_placeholder(const orr_unique *unique, uint32_t n, char *scratch) {
  orr_value value = {unique->placeholder, 0, {0}};
  if (value.tag == ORR_INT) {
    value.as.i = (int64_t)n - (INT64_C(1) << 53); /* what every Lua can show */
  } else if (value.tag == ORR_REAL) {
    value.as.r = -1e15 - (double)n;
  } else if (value.tag != ORR_NULL) {
    value.as.s = scratch;
    value.len = (size_t)snprintf(scratch, ORR_TYPE_SCRATCH, "~set aside %lu~", (unsigned long)n);
  }
  return value;
}

/* ---- the order of updates ---- */

/* Rows of updates as nodes; an edge for each handover between two of them. */
typedef struct ordering {
  size_t count;
  uint32_t *order, *component, *chosen;
  bool *cyclic;
  orr_edge *edges;
  const orr_flush_handover **handovers; /* of the edges */
  size_t edge_count;
} ordering;

static void keep_edge(ordering *o, size_t to, size_t from) {
  o->edges[to] = o->edges[from];
  o->handovers[to] = o->handovers[from];
}

static bool in_circle(const ordering *o, orr_edge edge) {
  return o->component[edge.before] == o->component[edge.after];
}

/* Chooses in each circle the first row whose value can be set aside. */
static void choose_rows(ordering *o) {
  for (size_t i = 0; i < o->count; i++)
    o->chosen[i] = ORR_GRAPH_NONE;
  for (size_t e = 0; e < o->edge_count; e++) {
    uint32_t *chosen = &o->chosen[o->component[o->edges[e].before]];
    if (in_circle(o, o->edges[e]) && o->handovers[e]->unique->aside >= 0 && o->edges[e].before < *chosen)
      *chosen = o->edges[e].before;
  }
}

/* Breaks every circle once; one in which nothing can be set aside is left to the database to refuse. */
static void break_circles(lua_State *L, orr_flush *f, ordering *o) {
  size_t kept = 0;
  choose_rows(o);
  for (size_t e = 0; e < o->edge_count; e++) {
    uint32_t chosen = o->chosen[o->component[o->edges[e].before]];
    const orr_flush_handover *h = o->handovers[e];
    bool breaks = in_circle(o, o->edges[e]) && chosen == o->edges[e].before && h->unique->aside >= 0;
    if (breaks)
      set_aside(L, f, h->from, h->row, h->unique);
    if (!breaks && !(in_circle(o, o->edges[e]) && chosen == ORR_GRAPH_NONE))
      keep_edge(o, kept++, e);
  }
  o->edge_count = kept;
}

static bool sort(lua_State *L, orr_flush *f, ordering *o) {
  const orr_graph graph = {o->count, o->edges, o->edge_count};
  if (orr_graph_sort(&graph, &f->alloc, o->order, o->component, o->cyclic) != 0)
    luaL_error(L, "not enough memory");
  for (size_t i = 0; i < o->count; i++)
    if (o->cyclic[i])
      return false;
  return true;
}

/* Where in the list of rows that of each object stands, by object number and level. */
static uint32_t *push_places(lua_State *L, const orr_flush *f, const uint32_t *objects,
                             orr_class *const *rows, size_t count) {
  size_t size = (f->count + 1) * (size_t)f->rows;
  uint32_t *places = lua_newuserdata(L, size * sizeof *places);
  for (size_t i = 0; i < count; i++)
    places[objects[i] * (size_t)f->rows + (size_t)rows[i]->level] = (uint32_t)i;
  return places;
}

void orr_flush_order_updates(lua_State *L, orr_flush *f, const uint32_t *objects, orr_class *const *rows,
                             size_t count, uint32_t *order) {
  int top = lua_gettop(L);
  ordering o = {count, order, NULL, NULL, NULL, NULL, NULL, f->handover_count};
  const uint32_t *places = push_places(L, f, objects, rows, count);
  o.component = lua_newuserdata(L, 2 * count * sizeof *o.component);
  o.chosen = o.component + count;
  o.cyclic = lua_newuserdata(L, count + 1);
  o.edges = lua_newuserdata(L, o.edge_count * sizeof *o.edges);
  o.handovers = lua_newuserdata(L, o.edge_count * sizeof *o.handovers);
  for (size_t e = 0; e < o.edge_count; e++) {
    const orr_flush_handover *h = &f->handovers[e];
    size_t level = (size_t)h->row->level;
    o.edges[e].before = places[h->from * (size_t)f->rows + level];
    o.edges[e].after = places[h->to * (size_t)f->rows + level];
    o.handovers[e] = h;
  }
  while (!sort(L, f, &o))
    break_circles(L, f, &o);
  lua_settop(L, top);
}

void orr_handover_open(lua_State *L) {
  orr_box_define(L, &givers_kind, NULL);
  lua_pop(L, 1);
}
