/* nodes: the places of what the core makes as arrays, as expression.lua says it: nodelib.c makes them,
   shapelib.c and sketchlib.c read them. */
#ifndef ORR_NODES_H
#define ORR_NODES_H

/* A comparison with a value: its form, the value, and the node of the value where somebody has asked for
 * that. */
enum { ORR_COMPARED_FORM = 1, ORR_COMPARED_VALUE, ORR_COMPARED_RIGHT };

/* The form of a comparison: what all of a column with a kind of values have in common, which the column
   keeps. The text is its part of the cache's key, once that is known. */
enum { ORR_FORM_OPERATOR = 1, ORR_FORM_LEFT, ORR_FORM_TYPE, ORR_FORM_TEXT };

#endif
