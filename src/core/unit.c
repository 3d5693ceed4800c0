#include "unit.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(orr_error *error) { return orr_error_set(error, "InternalError", "out of memory"); }

void orr_unit_init(orr_unit *unit, orr_alloc alloc) {
  memset(unit, 0, sizeof *unit);
  unit->alloc = alloc;
}

void orr_unit_clear(orr_unit *unit) {
  const orr_alloc alloc = unit->alloc;
  orr_alloc_free(&alloc, unit->actions, unit->action_capacity, sizeof *unit->actions);
  orr_alloc_free(&alloc, unit->links, unit->link_capacity, sizeof *unit->links);
  orr_alloc_free(&alloc, unit->order, unit->order_capacity, sizeof *unit->order);
  orr_alloc_free(&alloc, unit->batches, unit->batch_capacity, sizeof *unit->batches);
  orr_alloc_free(&alloc, unit->cycle, unit->cycle_capacity, sizeof *unit->cycle);
  orr_unit_init(unit, alloc);
}

int orr_unit_reserve(orr_unit *unit, size_t count, orr_error *error) {
  orr_unit_action *actions =
      orr_alloc_grow(&unit->alloc, unit->actions, &unit->action_capacity, count, sizeof *actions);
  if (!actions && count)
    return no_memory(error);
  unit->actions = actions;
  return 0;
}

int orr_unit_add(orr_unit *unit, uint32_t group, orr_unit_kind kind, orr_error *error) {
  size_t count = unit->action_count;
  orr_unit_action *actions =
      orr_alloc_grow(&unit->alloc, unit->actions, &unit->action_capacity, count + 1, sizeof *actions);
  if (!actions || count >= ORR_GRAPH_MAX) /* out of reach: the second */
    return no_memory(error);
  unit->actions = actions;
  actions[count].group = group & ORR_UNIT_GROUP_MAX;
  actions[count].kind = (unsigned)kind & 15u;
  return (int)unit->action_count++;
}

int orr_unit_link(orr_unit *unit, uint32_t before, uint32_t after, orr_error *error) {
  size_t count = unit->link_count;
  orr_edge *links = orr_alloc_grow(&unit->alloc, unit->links, &unit->link_capacity, count + 1, sizeof *links);
  if (!links)
    return no_memory(error);
  unit->links = links;
  links[count].before = before;
  links[count].after = after;
  unit->link_count++;
  return 0;
}

/* ---- levels inside cyclic components ---- */

/* What a plan needs while it is made; where a group is cyclic, arrays of action_count words, and one of
   link_count edges. */
typedef struct plan {
  orr_unit *unit;
  const uint32_t *rank;
  const bool *cyclic;
  uint32_t highest_rank, highest_group;
  bool any_cyclic;
  uint32_t *level;
  uint32_t *scratch;
  orr_edge *edges;
  size_t edge_count;
} plan;

static bool is_delete(const plan *p, uint32_t action) {
  return p->unit->actions[action].kind == ORR_UNIT_DELETE;
}

/* Whether a link has a say: its ends share a cyclic component and are both saves or both deletes. A row may
   refer to itself, unless it is being inserted. */
static bool counts(const plan *p, orr_edge link) {
  const orr_unit_action *before = &p->unit->actions[link.before], *after = &p->unit->actions[link.after];
  if (link.before == link.after && before->kind != ORR_UNIT_INSERT)
    return false;
  return p->cyclic[before->group] && p->rank[before->group] == p->rank[after->group] &&
         is_delete(p, link.before) == is_delete(p, link.after);
}

static void collect_edges(plan *p, bool updates_count) {
  p->edge_count = 0;
  for (size_t i = 0; i < p->unit->link_count; i++) {
    orr_edge link = p->unit->links[i];
    if (!counts(p, link) || (!updates_count && p->unit->actions[link.before].kind == ORR_UNIT_UPDATE))
      continue;
    orr_edge turned = {link.after, link.before};
    p->edges[p->edge_count++] = is_delete(p, link.before) ? turned : link;
  }
}

static orr_graph graph_of(const plan *p) {
  orr_graph graph = {p->unit->action_count, p->edges, p->edge_count};
  return graph;
}

static int keep_cycle(orr_unit *unit, const uint32_t *component, uint32_t wanted) {
  unit->cycle_count = 0;
  for (uint32_t i = 0; i < unit->action_count; i++) {
    if (component[i] != wanted)
      continue;
    uint32_t *cycle = orr_alloc_grow(&unit->alloc, unit->cycle, &unit->cycle_capacity, unit->cycle_count + 1,
                                     sizeof *cycle);
    if (!cycle)
      return -1;
    unit->cycle = cycle;
    cycle[unit->cycle_count++] = i;
  }
  return 0;
}

/* The circle that would come first is the one that is reported. */
static int report_cycle(plan *p, bool *in_circle, orr_error *error) {
  const orr_graph graph = graph_of(p);
  uint32_t *order = p->scratch, *component = p->level;
  if (orr_graph_sort(&graph, &p->unit->alloc, order, component, in_circle) != 0)
    return no_memory(error);
  size_t at = 0;
  while (!in_circle[order[at]])
    at++;
  if (keep_cycle(p->unit, component, component[order[at]]) != 0)
    return no_memory(error);
  return orr_error_set(error, "CircularDependencyError", "%zu rows refer to each other in a circle",
                       p->unit->cycle_count);
}

static int fail_on_cycle(plan *p, orr_error *error) {
  bool *in_circle = orr_alloc_array(&p->unit->alloc, p->unit->action_count, sizeof *in_circle);
  if (!in_circle)
    return no_memory(error);
  report_cycle(p, in_circle, error);
  orr_alloc_free(&p->unit->alloc, in_circle, p->unit->action_count, sizeof *in_circle);
  return -1;
}

/* Without links in a say, the levels stay what they are: zero. */
static int find_levels(plan *p, orr_error *error) {
  size_t resolved = 0;
  for (int updates_count = 1; updates_count >= 0; updates_count--) {
    collect_edges(p, updates_count);
    const orr_graph graph = graph_of(p);
    if (updates_count && graph.edge_count == 0)
      return 0;
    if (orr_graph_levels(&graph, &p->unit->alloc, p->level, &resolved) != 0)
      return no_memory(error);
    if (resolved == p->unit->action_count)
      return 0;
  }
  return fail_on_cycle(p, error);
}

/* ---- sorting: by phase, level, group, kind and order of adding; least significant first, each pass stable
 * ---- */

typedef uint32_t (*key_function)(const plan *p, uint32_t action);

static uint32_t key_kind(const plan *p, uint32_t action) { return p->unit->actions[action].kind; }

static uint32_t key_group(const plan *p, uint32_t action) { return p->unit->actions[action].group; }

/* Link rows of a cyclic group wait for every row that they may refer to. */
static uint32_t key_level(const plan *p, uint32_t action) {
  uint32_t kind = p->unit->actions[action].kind;
  bool link_row = kind == ORR_UNIT_LINK_DELETE || kind == ORR_UNIT_LINK_INSERT;
  if (!p->cyclic[p->unit->actions[action].group])
    return 0;
  return link_row ? (uint32_t)p->unit->action_count : p->level[action];
}

static uint32_t key_save_rank(const plan *p, uint32_t action) {
  if (p->unit->actions[action].kind == ORR_UNIT_POST_UPDATE)
    return p->highest_rank + 1;
  return is_delete(p, action) ? 0 : p->rank[p->unit->actions[action].group];
}

static uint32_t key_delete_rank(const plan *p, uint32_t action) {
  return is_delete(p, action) ? p->highest_rank + 1 - p->rank[p->unit->actions[action].group] : 0;
}

enum { DIGIT_BITS = 11, DIGIT = 1 << DIGIT_BITS };

/* One stable counting pass over 11 bits of the key. */
static void sort_digit(plan *p, key_function key, int shift) {
  uint32_t place[DIGIT + 1] = {0};
  const uint32_t *order = p->unit->order;
  size_t n = p->unit->action_count;
  for (size_t i = 0; i < n; i++)
    place[(key(p, order[i]) >> shift & (DIGIT - 1)) + 1]++;
  for (size_t digit = 1; digit < DIGIT; digit++)
    place[digit] += place[digit - 1];
  for (size_t i = 0; i < n; i++)
    p->scratch[place[key(p, order[i]) >> shift & (DIGIT - 1)]++] = order[i];
  memcpy(p->unit->order, p->scratch, n * sizeof *order);
}

/* Only digits in which two keys differ need a pass. */
static void sort_by(plan *p, key_function key) {
  uint32_t all = UINT32_MAX, any = 0;
  for (uint32_t i = 0; i < p->unit->action_count; i++) {
    uint32_t value = key(p, i);
    all &= value;
    any |= value;
  }
  for (int shift = 0; shift < 32; shift += DIGIT_BITS)
    if ((all ^ any) >> shift & (DIGIT - 1))
      sort_digit(p, key, shift);
}

static void sort_levels(plan *p) {
  for (uint32_t i = 0; i < p->unit->action_count; i++)
    p->unit->order[i] = i;
  sort_by(p, key_kind);
  sort_by(p, key_group);
  sort_by(p, key_level);
  sort_by(p, key_save_rank);
  sort_by(p, key_delete_rank);
}

/* Where nothing has a level, the actions of one group and kind stand together: they are counted, and the few
   groups and kinds that occur are sorted instead. */
typedef struct heap {
  uint64_t rank;
  uint32_t group, kind;
} heap;

enum { KINDS = ORR_UNIT_DELETE + 1 };

static int by_rank(const void *left, const void *right) {
  const heap *a = left, *b = right;
  if (a->rank != b->rank)
    return a->rank < b->rank ? -1 : 1;
  if (a->group != b->group)
    return a->group < b->group ? -1 : 1;
  return a->kind < b->kind ? -1 : a->kind > b->kind;
}

static size_t heap_of(const orr_unit_action *action) { return (size_t)action->group * KINDS + action->kind; }

/* Counts the actions of each heap, notes each heap that occurs once, and returns how many these are. */
static size_t count_heaps(const plan *p, uint32_t *counts, heap *heaps) {
  size_t found = 0;
  for (uint32_t i = 0; i < p->unit->action_count; i++) {
    const orr_unit_action *action = &p->unit->actions[i];
    if (counts[heap_of(action)]++)
      continue;
    uint64_t last = (uint64_t)key_delete_rank(p, i) << 32;
    heaps[found++] = (heap){last | key_save_rank(p, i), action->group, action->kind};
  }
  return found;
}

static void place_heaps(plan *p, uint32_t *places, const heap *heaps, size_t count) {
  uint32_t first = 0;
  for (size_t h = 0; h < count; h++) {
    uint32_t *place = &places[(size_t)heaps[h].group * KINDS + heaps[h].kind], size = *place;
    *place = first;
    first += size;
  }
  for (uint32_t i = 0; i < p->unit->action_count; i++)
    p->unit->order[places[heap_of(&p->unit->actions[i])]++] = i;
}

static bool sort_heaps(plan *p) {
  const orr_alloc *alloc = &p->unit->alloc;
  size_t size = ((size_t)p->highest_group + 1) * KINDS;
  size_t most = size < p->unit->action_count ? size : p->unit->action_count;
  uint32_t *counts = orr_alloc_array(alloc, size, sizeof *counts);
  heap *heaps = orr_alloc_array(alloc, most, sizeof *heaps);
  if (counts && heaps) {
    size_t count = count_heaps(p, counts, heaps);
    qsort(heaps, count, sizeof *heaps, by_rank);
    place_heaps(p, counts, heaps, count);
  }
  orr_alloc_free(alloc, counts, size, sizeof *counts);
  orr_alloc_free(alloc, heaps, most, sizeof *heaps);
  return counts && heaps;
}

static bool is_level(const plan *p) {
  for (uint32_t i = 0; i < p->unit->action_count; i++)
    if (key_level(p, i))
      return false;
  return true;
}

static bool sort_actions(plan *p) {
  if (is_level(p))
    return sort_heaps(p);
  sort_levels(p);
  return true;
}

/* ---- batches ---- */

static bool joins(const orr_unit_batch *batch, const orr_unit_action *action) {
  return batch->group == action->group && batch->kind == action->kind;
}

static int open_batch(orr_unit *unit, const orr_unit_action *action, uint32_t first) {
  orr_unit_batch *batches = orr_alloc_grow(&unit->alloc, unit->batches, &unit->batch_capacity,
                                           unit->batch_count + 1, sizeof *batches);
  if (!batches)
    return -1;
  unit->batches = batches;
  orr_unit_batch batch = {action->group, action->kind, first, 0};
  batches[unit->batch_count++] = batch;
  return 0;
}

static int cut_batches(orr_unit *unit, orr_error *error) {
  for (uint32_t i = 0; i < unit->action_count; i++) {
    const orr_unit_action *action = &unit->actions[unit->order[i]];
    if (unit->batch_count == 0 || !joins(&unit->batches[unit->batch_count - 1], action))
      if (open_batch(unit, action, i) != 0)
        return no_memory(error);
    unit->batches[unit->batch_count - 1].count++;
  }
  return 0;
}

/* ---- the plan ---- */

static bool make_order(orr_unit *unit) {
  uint32_t *order =
      orr_alloc_grow(&unit->alloc, unit->order, &unit->order_capacity, unit->action_count, sizeof *order);
  if (order)
    unit->order = order;
  return order;
}

static bool plan_init(plan *p) {
  const orr_unit *unit = p->unit;
  p->level = orr_alloc_array(&unit->alloc, unit->action_count, 2 * sizeof *p->level);
  p->scratch = p->level ? p->level + unit->action_count : NULL;
  p->edges = orr_alloc_array(&unit->alloc, unit->link_count + 1, sizeof *p->edges);
  return p->level && p->edges;
}

static void plan_clear(plan *p) {
  orr_alloc_free(&p->unit->alloc, p->level, p->unit->action_count, 2 * sizeof *p->level);
  orr_alloc_free(&p->unit->alloc, p->edges, p->unit->link_count + 1, sizeof *p->edges);
}

static void look_at_groups(plan *p) {
  for (size_t i = 0; i < p->unit->action_count; i++) {
    uint32_t group = p->unit->actions[i].group;
    if (p->rank[group] > p->highest_rank)
      p->highest_rank = p->rank[group];
    if (group > p->highest_group)
      p->highest_group = group;
    p->any_cyclic |= p->cyclic[group];
  }
}

/* Sorts what belongs to cyclic groups among others. */
static int sort_cyclic(plan *p, orr_error *error) {
  if (!plan_init(p))
    return no_memory(error);
  if (find_levels(p, error) != 0)
    return -1;
  return sort_actions(p) ? 0 : no_memory(error);
}

static int make_plan(plan *p, orr_error *error) {
  if (!make_order(p->unit))
    return no_memory(error);
  look_at_groups(p);
  if (p->any_cyclic) {
    int result = sort_cyclic(p, error);
    plan_clear(p);
    if (result != 0)
      return result;
  } else if (!sort_heaps(p)) {
    return no_memory(error);
  }
  return cut_batches(p->unit, error);
}

int orr_unit_plan(orr_unit *unit, const uint32_t *rank, const bool *cyclic, orr_error *error) {
  plan p = {.unit = unit, .rank = rank, .cyclic = cyclic};
  unit->batch_count = unit->cycle_count = 0;
  if (unit->action_count == 0)
    return 0;
  return make_plan(&p, error);
}
