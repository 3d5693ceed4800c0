/* relation: what a relationship between two tables is, decided from the schema's foreign keys: its direction,
   whether it holds a list, and which columns join. Also whether two relationships are each other's other
   side. Every way in which this can fail has its own message with the way out. Knows tables; of classes only
   the names that messages need. */
#ifndef ORR_RELATION_H
#define ORR_RELATION_H

#include "schema.h"

typedef enum orr_direction { ORR_ONE_TO_MANY, ORR_MANY_TO_ONE, ORR_MANY_TO_MANY } orr_direction;

typedef enum orr_wish { ORR_WISH_NONE, ORR_WISH_TRUE, ORR_WISH_FALSE } orr_wish;

typedef struct orr_column_at {
  uint32_t table, column;
} orr_column_at;

typedef struct orr_column_list {
  const orr_column_at *at; /* borrowed */
  size_t count;            /* 0: not given */
} orr_column_list;

/* left.at[i] equals right.at[i]; both borrowed, from the schema or the caller. */
typedef struct orr_join {
  orr_columns left, right;
} orr_join;

typedef struct orr_relation {
  /* what is asked */
  uint32_t parent;              /* the table of the class that has the relationship */
  uint32_t target;              /* the table of the class that it leads to */
  uint32_t secondary;           /* the link table, or ORR_SCHEMA_NONE */
  orr_column_list foreign_keys; /* the columns of the foreign key to use. On a link table whose two foreign
                                   keys go to one table, the key that holds the first is the parent's */
  orr_column_list remote_side;  /* columns on the far side; tells the two ends of a self-reference apart */
  orr_wish wants_list;
  const char *class_name, *attribute, *target_class; /* for messages; borrowed */
  /* what is found */
  orr_direction direction;
  bool uselist;
  orr_join join;        /* parent and target; in a many-to-many parent and secondary */
  orr_join target_join; /* only in a many-to-many: target and secondary */
} orr_relation;

/* Fills the second half from the first. Looks up the foreign keys of the tables concerned.
   A self-reference is one-to-many unless remote_side names the columns that are referred to. */
int orr_relation_find(orr_schema *schema, orr_relation *relation, orr_error *error);

/* Whether `a` and `b`, which name each other as back_populates, are two sides of one thing. */
int orr_relation_pair(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                      orr_error *error);

#endif
