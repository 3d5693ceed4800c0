/* unit: the ordering part of the unit of work. Actions on groups (tables) and links between actions go in;
   one deterministic order, cut into batches that can share a statement, comes out. Integers only: it knows
   neither rows, nor classes, nor SQL.

   The order: first every save, groups by rising rank, and in a group what makes room for others, updates,
   inserts, link deletes, link inserts; then foreign keys that had to wait; then every delete, groups by
   falling rank; each time in order of adding. Only in a cyclic group do links count: there the order is level
   by level (an action's level is the longest chain of links before it), for deletes from the far end. Link
   rows of a cyclic group come behind all its other saves. */
#ifndef ORR_UNIT_H
#define ORR_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "error.h"
#include "graph.h"

typedef enum orr_unit_kind {
  ORR_UNIT_SET_ASIDE,    /* an update that makes room for a unique value of another row */
  ORR_UNIT_EARLY_DELETE, /* a delete that does */
  ORR_UNIT_UPDATE,
  ORR_UNIT_INSERT,
  ORR_UNIT_LINK_DELETE,
  ORR_UNIT_LINK_INSERT,
  ORR_UNIT_POST_UPDATE, /* a foreign key that waits until every row is there, or goes before any is deleted */
  ORR_UNIT_DELETE
} orr_unit_kind;

enum { ORR_UNIT_GROUP_MAX = (1 << 28) - 1 };

typedef struct orr_unit_action {
  uint32_t group : 28;
  uint32_t kind : 4; /* orr_unit_kind */
} orr_unit_action;

/* order[first] to order[first + count - 1] are actions of one kind on one group. */
typedef struct orr_unit_batch {
  uint32_t group;
  uint32_t kind; /* orr_unit_kind */
  uint32_t first;
  uint32_t count;
} orr_unit_batch;

typedef struct orr_unit {
  orr_alloc alloc;
  orr_unit_action *actions;
  size_t action_count, action_capacity;
  orr_edge *links;
  size_t link_count, link_capacity;
  uint32_t *order; /* action_count action indexes, after a plan */
  size_t order_capacity;
  orr_unit_batch *batches;
  size_t batch_count, batch_capacity;
  uint32_t *cycle; /* the actions that a CircularDependencyError is about, in order of adding */
  size_t cycle_count, cycle_capacity;
} orr_unit;

void orr_unit_init(orr_unit *unit, orr_alloc alloc);
/* Frees everything; the unit is then as after init. Fine on a zeroed unit too. */
void orr_unit_clear(orr_unit *unit);

/* Makes room for so many actions at once; -1 with `error` filled when memory is out. */
int orr_unit_reserve(orr_unit *unit, size_t count, orr_error *error);

/* Returns the action's index (0, 1, ...), or -1 with `error` filled when memory is out. */
int orr_unit_add(orr_unit *unit, uint32_t group, orr_unit_kind kind, orr_error *error);

/* `before`'s row must be there before `after`'s row may be saved; when both are deletes, `after` goes first.
   Links that ranks or kinds decide already cost nothing in the plan and are ignored. */
int orr_unit_link(orr_unit *unit, uint32_t before, uint32_t after, orr_error *error);

/* Fills order and batches. rank[g] and cyclic[g] describe group g; groups of one rank form one cyclic
   component. Links that go in a circle are ignored as far as they start at an update (its row exists
   already); what is then still a circle gives -1 with kind CircularDependencyError and `cycle` filled. */
int orr_unit_plan(orr_unit *unit, const uint32_t *rank, const bool *cyclic, orr_error *error);

#endif
