#include "graph.h"

/* Successors of every node, packed: those of v are after[start[v]] to after[start[v + 1] - 1]. */
typedef struct fan {
  size_t nodes, edges;
  uint32_t *start; /* nodes + 2 words; the last one only helps filling */
  uint32_t *after;
} fan;

static void fan_clear(fan *f, const orr_alloc *alloc) {
  orr_alloc_free(alloc, f->start, f->nodes + 2, sizeof *f->start);
  orr_alloc_free(alloc, f->after, f->edges + 1, sizeof *f->after);
}

/* Counts are kept one place ahead, so that placing an edge turns start[v + 1] from v's first place into its
 * end. */
static void fan_fill(fan *f, const orr_graph *graph) {
  for (size_t i = 0; i < graph->edge_count; i++)
    f->start[graph->edges[i].before + 2]++;
  for (size_t v = 2; v < graph->nodes + 2; v++)
    f->start[v] += f->start[v - 1];
  for (size_t i = 0; i < graph->edge_count; i++)
    f->after[f->start[graph->edges[i].before + 1]++] = graph->edges[i].after;
}

static int fan_init(fan *f, const orr_graph *graph, const orr_alloc *alloc) {
  f->nodes = graph->nodes;
  f->edges = graph->edge_count;
  f->start = f->after = NULL;
  if (graph->nodes > ORR_GRAPH_MAX || graph->edge_count > ORR_GRAPH_MAX) /* out of reach: 2^31 of them */
    return -1;
  f->start = orr_alloc_array(alloc, f->nodes + 2, sizeof *f->start);
  f->after = orr_alloc_array(alloc, f->edges + 1, sizeof *f->after);
  if (!f->start || !f->after) {
    fan_clear(f, alloc);
    return -1;
  }
  fan_fill(f, graph);
  return 0;
}

/* ---- strongly connected components: Tarjan's walk, its recursion kept in `path` ---- */

typedef struct walk {
  const fan *f;
  uint32_t *seen;   /* when a node was entered, from 1; 0: not yet */
  uint32_t *low;    /* earliest node that can be reached from it and still is open */
  uint32_t *cursor; /* the next successor to follow */
  uint32_t *path;   /* nodes entered and not left */
  uint32_t *open;   /* nodes entered that belong to no finished component */
  size_t depth, open_count;
  uint32_t clock, components;
  uint32_t *component;
} walk;

enum { WALK_ARRAYS = 5 };

static void enter(walk *w, uint32_t v) {
  w->seen[v] = w->low[v] = ++w->clock;
  w->cursor[v] = w->f->start[v];
  w->component[v] = ORR_GRAPH_NONE;
  w->path[w->depth++] = v;
  w->open[w->open_count++] = v;
}

static void close_component(walk *w, uint32_t root) {
  uint32_t v;
  do {
    v = w->open[--w->open_count];
    w->component[v] = w->components;
  } while (v != root);
  w->components++;
}

static void lower(walk *w, uint32_t v, uint32_t to) {
  if (to < w->low[v])
    w->low[v] = to;
}

static void leave(walk *w, uint32_t v) {
  if (w->low[v] == w->seen[v])
    close_component(w, v);
  w->depth--;
  if (w->depth > 0)
    lower(w, w->path[w->depth - 1], w->low[v]);
}

static void walk_from(walk *w, uint32_t root) {
  enter(w, root);
  while (w->depth > 0) {
    uint32_t v = w->path[w->depth - 1];
    if (w->cursor[v] == w->f->start[v + 1]) {
      leave(w, v);
      continue;
    }
    uint32_t next = w->f->after[w->cursor[v]++];
    if (w->seen[next] == 0)
      enter(w, next);
    else if (w->component[next] == ORR_GRAPH_NONE)
      lower(w, v, w->seen[next]);
  }
}

/* Numbers the components so that edges between them go from higher to lower numbers; returns how many there
   are, or -1 when memory is out. */
static int64_t find_components(const fan *f, const orr_alloc *alloc, uint32_t *component) {
  size_t n = f->nodes;
  uint32_t *room = orr_alloc_array(alloc, n, WALK_ARRAYS * sizeof *room);
  if (!room)
    return -1;
  walk w = {.f = f, .seen = room, .low = room + n, .cursor = room + 2 * n, .component = component};
  w.path = room + 3 * n;
  w.open = room + 4 * n;
  for (uint32_t v = 0; v < n; v++)
    if (w.seen[v] == 0)
      walk_from(&w, v);
  orr_alloc_free(alloc, room, n, WALK_ARRAYS * sizeof *room);
  return w.components;
}

/* ---- a heap that gives the smallest number first ---- */

typedef struct heap {
  uint32_t *item;
  size_t count;
} heap;

static void heap_push(heap *h, uint32_t value) {
  size_t at = h->count++;
  for (; at > 0 && h->item[(at - 1) / 2] > value; at = (at - 1) / 2)
    h->item[at] = h->item[(at - 1) / 2];
  h->item[at] = value;
}

static uint32_t heap_pop(heap *h) {
  uint32_t top = h->item[0], last = h->item[--h->count];
  size_t at = 0;
  for (size_t child = 1; child < h->count; child = 2 * at + 1) {
    if (child + 1 < h->count && h->item[child + 1] < h->item[child])
      child++;
    if (h->item[child] >= last)
      break;
    h->item[at] = h->item[child];
    at = child;
  }
  h->item[at] = last;
  return top;
}

/* ---- components in stable dependency order, and the nodes inside each ---- */

typedef struct sorter {
  const fan *f;
  uint32_t *component; /* Tarjan's number of each node, the final one once it is placed */
  uint32_t *order;     /* the result, */
  size_t placed;       /* filled so far */
  uint32_t *member;    /* nodes by component, rising inside each */
  uint32_t *first;     /* first[c] to first[c + 1] - 1: the members of component c; two words to spare */
  uint32_t *outer;     /* by component: edges that still come in from other components */
  uint32_t *inner;     /* by node: edges that still come in from its own component; NONE: placed */
  heap ready;          /* smallest members of components whose turn may come */
  heap ready_inside;   /* nodes of the current component likewise */
} sorter;

enum { SORTER_ARRAYS = 6 };

static void collect_members(sorter *s) {
  size_t n = s->f->nodes;
  for (size_t v = 0; v < n; v++)
    s->first[s->component[v] + 2]++;
  for (size_t c = 2; c < n + 2; c++)
    s->first[c] += s->first[c - 1];
  for (uint32_t v = 0; v < n; v++)
    s->member[s->first[s->component[v] + 1]++] = v;
}

static void count_incoming(sorter *s) {
  for (uint32_t v = 0; v < s->f->nodes; v++)
    for (uint32_t i = s->f->start[v]; i < s->f->start[v + 1]; i++) {
      uint32_t next = s->f->after[i];
      if (s->component[v] != s->component[next])
        s->outer[s->component[next]]++;
      else if (v != next)
        s->inner[next]++;
    }
}

static void place(sorter *s, uint32_t v) {
  s->order[s->placed++] = v;
  s->inner[v] = ORR_GRAPH_NONE;
  for (uint32_t i = s->f->start[v]; i < s->f->start[v + 1]; i++) {
    uint32_t next = s->f->after[i];
    if (s->component[next] == s->component[v] && s->inner[next] != ORR_GRAPH_NONE && --s->inner[next] == 0)
      heap_push(&s->ready_inside, next);
  }
}

/* Where every node of a circle waits for another one, the smallest goes without waiting. */
static void place_component(sorter *s, uint32_t c) {
  for (uint32_t i = s->first[c]; i < s->first[c + 1]; i++) {
    if (s->inner[s->member[i]] != ORR_GRAPH_NONE)
      place(s, s->member[i]);
    while (s->ready_inside.count > 0)
      place(s, heap_pop(&s->ready_inside));
  }
}

static void release_successors(sorter *s, uint32_t c) {
  for (uint32_t m = s->first[c]; m < s->first[c + 1]; m++) {
    uint32_t v = s->member[m];
    for (uint32_t i = s->f->start[v]; i < s->f->start[v + 1]; i++) {
      uint32_t other = s->component[s->f->after[i]];
      if (other != c && --s->outer[other] == 0)
        heap_push(&s->ready, s->member[s->first[other]]);
    }
  }
}

static void sort_components(sorter *s, uint32_t components) {
  for (uint32_t c = 0; c < components; c++)
    if (s->outer[c] == 0)
      heap_push(&s->ready, s->member[s->first[c]]);
  while (s->ready.count > 0) {
    uint32_t c = s->component[heap_pop(&s->ready)];
    place_component(s, c);
    release_successors(s, c);
  }
}

/* A component whose last edges are all gone has outer == 0 for good, so `outer` can take its final number. */
static void renumber(sorter *s) {
  uint32_t next = 0;
  for (size_t i = 0; i < s->placed; i++) {
    uint32_t c = s->component[s->order[i]];
    if (i == 0 || c != s->component[s->order[i - 1]])
      s->outer[c] = next++;
  }
  for (size_t v = 0; v < s->f->nodes; v++)
    s->component[v] = s->outer[s->component[v]];
}

static int sort_by_component(const fan *f, const orr_alloc *alloc, uint32_t components, uint32_t *order,
                             uint32_t *component) {
  size_t n = f->nodes;
  uint32_t *room = orr_alloc_array(alloc, n + 1, SORTER_ARRAYS * sizeof *room);
  if (!room)
    return -1;
  sorter s = {.f = f, .component = component, .order = order, .member = room, .outer = room + n};
  s.inner = room + 2 * n;
  s.ready.item = room + 3 * n;
  s.ready_inside.item = room + 4 * n;
  s.first = room + 5 * n;
  collect_members(&s);
  count_incoming(&s);
  sort_components(&s, components);
  renumber(&s);
  orr_alloc_free(alloc, room, n + 1, SORTER_ARRAYS * sizeof *room);
  return 0;
}

static void find_circles(const orr_graph *graph, const uint32_t *order, const uint32_t *component,
                         bool *cyclic) {
  for (size_t i = 0; i < graph->nodes; i++)
    cyclic[order[i]] = (i > 0 && component[order[i - 1]] == component[order[i]]) ||
                       (i + 1 < graph->nodes && component[order[i + 1]] == component[order[i]]);
  for (size_t i = 0; i < graph->edge_count; i++)
    if (graph->edges[i].before == graph->edges[i].after)
      cyclic[graph->edges[i].before] = true;
}

int orr_graph_sort(const orr_graph *graph, const orr_alloc *alloc, uint32_t *order, uint32_t *component,
                   bool *cyclic) {
  if (graph->nodes == 0)
    return 0;
  fan f;
  if (fan_init(&f, graph, alloc) != 0)
    return -1;
  int64_t components = find_components(&f, alloc, component);
  int result = components < 0 ? -1 : sort_by_component(&f, alloc, (uint32_t)components, order, component);
  fan_clear(&f, alloc);
  if (result == 0)
    find_circles(graph, order, component, cyclic);
  return result;
}

/* ---- levels ---- */

/* `queue` is served in order, so levels rise along it and a node's last predecessor is on its highest level.
 */
static size_t spread_levels(const fan *f, uint32_t *waiting, uint32_t *queue, uint32_t *level) {
  size_t queued = 0;
  for (uint32_t v = 0; v < f->nodes; v++) {
    level[v] = waiting[v] ? ORR_GRAPH_NONE : 0;
    if (!waiting[v])
      queue[queued++] = v;
  }
  for (size_t done = 0; done < queued; done++) {
    uint32_t v = queue[done];
    for (uint32_t i = f->start[v]; i < f->start[v + 1]; i++) {
      uint32_t next = f->after[i];
      if (--waiting[next] == 0) {
        level[next] = level[v] + 1;
        queue[queued++] = next;
      }
    }
  }
  return queued;
}

int orr_graph_levels(const orr_graph *graph, const orr_alloc *alloc, uint32_t *level, size_t *resolved) {
  *resolved = 0;
  fan f;
  if (fan_init(&f, graph, alloc) != 0)
    return -1;
  uint32_t *room = orr_alloc_array(alloc, graph->nodes, 2 * sizeof *room);
  if (room) {
    for (size_t i = 0; i < graph->edge_count; i++)
      room[graph->edges[i].after]++;
    *resolved = spread_levels(&f, room, room + graph->nodes, level);
    orr_alloc_free(alloc, room, graph->nodes, 2 * sizeof *room);
  }
  fan_clear(&f, alloc);
  return room ? 0 : -1;
}
