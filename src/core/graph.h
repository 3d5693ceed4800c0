/* graph: order over integers. Nodes are 0 to nodes - 1, an edge says which of two comes first. Everything is
   iterative and stable: the same input gives the same output, and smaller numbers come first wherever the
   edges leave a choice. Knows nothing of what the numbers stand for. */
#ifndef ORR_GRAPH_H
#define ORR_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc.h"

typedef struct orr_edge {
  uint32_t before, after;
} orr_edge;

/* A borrowed view: graph functions keep nothing of it. Edges may repeat. */
typedef struct orr_graph {
  size_t nodes;
  const orr_edge *edges;
  size_t edge_count;
} orr_graph;

enum { ORR_GRAPH_MAX = INT32_MAX }; /* more nodes or edges than this are out of memory */
#define ORR_GRAPH_NONE UINT32_MAX

/* Fills three arrays of `nodes` elements. `order` has every node, with its strongly connected component as
   one stretch, components in dependency order. `component[node]` numbers the components by that order.
   `cyclic[node]` tells whether its component is a circle (an edge from a node to itself is one). Inside a
   circle no order can keep all edges: the smallest node goes first and edges are kept as far as that allows.
   Returns -1 when memory is out. O((nodes + edges) log nodes). */
int orr_graph_sort(const orr_graph *graph, const orr_alloc *alloc, uint32_t *order, uint32_t *component,
                   bool *cyclic);

/* level[node] is the length of the longest chain of edges that leads to it, ORR_GRAPH_NONE for a node in a
   circle or behind one; there is at least one node. `*resolved` counts the nodes that have a level. Returns
   -1 when memory is out. O(nodes + edges). */
int orr_graph_levels(const orr_graph *graph, const orr_alloc *alloc, uint32_t *level, size_t *resolved);

#endif
