#include "relation.h"

#include <stdio.h>
#include <string.h>

enum { NAME_TEXT = 200, LIST_TEXT = 400 };

/* A foreign key read in one of its two directions. */
typedef struct candidate {
  const orr_foreign_key *key;
  orr_direction direction;
} candidate;

static const char *table_name(const orr_schema *schema, uint32_t table) { return schema->tables[table].name; }

static uint32_t near_table(const candidate *c) {
  return c->direction == ORR_MANY_TO_ONE ? c->key->table : c->key->target;
}

static uint32_t far_table(const candidate *c) {
  return c->direction == ORR_MANY_TO_ONE ? c->key->target : c->key->table;
}

static const orr_columns *far_columns(const candidate *c) {
  return c->direction == ORR_MANY_TO_ONE ? &c->key->remote : &c->key->columns;
}

static bool lists(const orr_column_list *list, uint32_t table, uint32_t column) {
  for (size_t i = 0; i < list->count; i++)
    if (list->at[i].table == table && list->at[i].column == column)
      return true;
  return false;
}

static bool lists_all(const orr_column_list *list, uint32_t table, const orr_columns *columns) {
  for (size_t i = 0; i < columns->count; i++)
    if (!lists(list, table, columns->at[i]))
      return false;
  return true;
}

static bool lists_only(const orr_column_list *list, uint32_t table, const orr_columns *columns) {
  for (size_t i = 0; i < list->count; i++) {
    bool found = false;
    for (size_t j = 0; j < columns->count; j++)
      found = found || columns->at[j] == list->at[i].column;
    if (list->at[i].table != table || !found)
      return false;
  }
  return true;
}

/* ---- messages ---- */

/* "book.author_id -> author.id" */
static const char *show_key(const orr_schema *schema, const orr_foreign_key *key, char *text, size_t size) {
  char from[NAME_TEXT], to[NAME_TEXT];
  snprintf(text, size, "%s -> %s", orr_schema_show(schema, key->table, &key->columns, from, sizeof from),
           orr_schema_show(schema, key->target, &key->remote, to, sizeof to));
  return text;
}

/* Adds "a" or ", a" to a list that starts as "". */
static void add_to_list(char *list, size_t size, const char *text) {
  size_t used = strlen(list);
  snprintf(list + used, size - used, "%s%s", used ? ", " : "", text);
}

/* "book.author_id, book.editor_id" */
static const char *show_column_list(const orr_schema *schema, const orr_column_list *columns, char *list,
                                    size_t size) {
  list[0] = '\0';
  for (size_t i = 0; i < columns->count; i++) {
    char name[NAME_TEXT];
    uint32_t column = columns->at[i].column;
    const orr_columns one = {&column, 1};
    add_to_list(list, size, orr_schema_show(schema, columns->at[i].table, &one, name, sizeof name));
  }
  return list;
}

/* "ForeignKey('author.id')": what a column that refers to the table has to say; with the first column of its
   primary key. */
static const char *show_needed_key(const orr_schema *schema, uint32_t target, char *text, size_t size) {
  const orr_table *table = &schema->tables[target];
  const char *column = table->primary_key.count ? table->columns[table->primary_key.at[0]].name : "id";
  snprintf(text, size, "ForeignKey('%s.%s')", table->name, column);
  return text;
}

/* "'Book.author_id'" or "{ 'Line.shop', 'Line.no' }": columns as an option may name them. */
static const char *show_option(const orr_schema *schema, const char *owner, uint32_t table,
                               const orr_columns *columns, char *text, size_t size) {
  char list[LIST_TEXT] = "", name[NAME_TEXT];
  for (size_t i = 0; i < columns->count; i++) {
    snprintf(name, sizeof name, "'%s.%s'", owner, schema->tables[table].columns[columns->at[i]].name);
    add_to_list(list, sizeof list, name);
  }
  snprintf(text, size, columns->count > 1 ? "{ %s }" : "%s", list);
  return text;
}

static const char *show_choice(const orr_schema *schema, const orr_relation *r, const orr_foreign_key *key,
                               char *text, size_t size) {
  const char *owner = key->table == r->target   ? r->target_class
                      : key->table == r->parent ? r->class_name
                                                : table_name(schema, key->table);
  return show_option(schema, owner, key->table, &key->columns, text, size);
}

static bool refers_to(const orr_schema *schema, uint32_t table, uint32_t target) {
  const orr_table *t = &schema->tables[table];
  for (size_t i = 0; i < t->foreign_key_count; i++) {
    const orr_foreign_key *key = &schema->foreign_keys[t->foreign_keys[i]];
    if (strcmp(key->target_name, table_name(schema, target)) == 0)
      return true;
  }
  return false;
}

/* A table that could be the secondary, or ORR_SCHEMA_NONE. */
static uint32_t find_link_table(const orr_schema *schema, const orr_relation *r) {
  for (uint32_t i = 0; i < schema->table_count; i++)
    if (!schema->tables[i].removed && i != r->parent && i != r->target && refers_to(schema, i, r->parent) &&
        refers_to(schema, i, r->target))
      return i;
  return ORR_SCHEMA_NONE;
}

static int no_foreign_key(const orr_schema *schema, const orr_relation *r, orr_error *error) {
  char to_parent[NAME_TEXT], to_target[NAME_TEXT];
  const char *parent = table_name(schema, r->parent), *target = table_name(schema, r->target);
  uint32_t link = find_link_table(schema, r);
  if (link != ORR_SCHEMA_NONE)
    return orr_error_set(error, "NoForeignKeysError",
                         "%s.%s: no foreign key links '%s' and '%s' directly, but '%s' refers to both; for a "
                         "many-to-many give secondary = '%s'",
                         r->class_name, r->attribute, parent, target, table_name(schema, link),
                         table_name(schema, link));
  show_needed_key(schema, r->parent, to_parent, sizeof to_parent);
  show_needed_key(schema, r->target, to_target, sizeof to_target);
  if (r->parent == r->target)
    return orr_error_set(error, "NoForeignKeysError",
                         "%s.%s: no foreign key of '%s' refers to '%s' itself; give it a column with %s",
                         r->class_name, r->attribute, parent, parent, to_parent);
  return orr_error_set(error, "NoForeignKeysError",
                       "%s.%s: no foreign key links '%s' and '%s'; if one %s has many %s, give '%s' a column "
                       "with %s; if many %s share one %s, give '%s' a column with %s; for a many-to-many "
                       "declare a link table with both and give it as secondary",
                       r->class_name, r->attribute, parent, target, r->class_name, r->target_class, target,
                       to_parent, r->class_name, r->target_class, parent, to_target);
}

/* ---- one foreign key between the two tables ---- */

static bool is_self_reference(const candidate *c) { return c->key->table == c->key->target; }

/* Does the caller's choice, and the default for self-references, leave this one? */
static bool is_wanted(const orr_relation *r, const candidate *c) {
  if (r->foreign_keys.count && !(lists_all(&r->foreign_keys, c->key->table, &c->key->columns) &&
                                 lists_only(&r->foreign_keys, c->key->table, &c->key->columns)))
    return false;
  if (r->remote_side.count)
    return lists_only(&r->remote_side, far_table(c), far_columns(c));
  return !is_self_reference(c) || c->direction == ORR_ONE_TO_MANY;
}

static bool is_between(const orr_relation *r, const candidate *c) {
  return near_table(c) == r->parent && far_table(c) == r->target;
}

/* The same columns declared to refer to the same columns twice are one foreign key. */
static bool is_same(const candidate *a, const candidate *b) {
  size_t size = a->key->columns.count * sizeof *a->key->columns.at;
  return a->direction == b->direction && a->key->columns.count == b->key->columns.count &&
         memcmp(a->key->columns.at, b->key->columns.at, size) == 0 &&
         memcmp(a->key->remote.at, b->key->remote.at, size) == 0;
}

typedef struct choice {
  candidate first;      /* the first one that is wanted */
  size_t wanted;        /* how many different ones are */
  size_t possible;      /* how many foreign keys link the tables at all */
  char keys[LIST_TEXT]; /* the possible ones, for a message */
} choice;

static void consider(const orr_schema *schema, const orr_relation *r, const candidate *c, choice *out) {
  char text[2 * NAME_TEXT + 8];
  if (!is_between(r, c))
    return;
  if (!is_self_reference(c) || c->direction == ORR_ONE_TO_MANY) {
    out->possible++;
    add_to_list(out->keys, sizeof out->keys, show_key(schema, c->key, text, sizeof text));
  }
  if (!is_wanted(r, c) || (out->wanted && is_same(&out->first, c)))
    return;
  if (out->wanted++ == 0)
    out->first = *c;
}

/* Every foreign key that stands on `table`, read in one direction. */
static void consider_table(const orr_schema *schema, const orr_relation *r, uint32_t table,
                           orr_direction direction, choice *out) {
  const orr_table *t = &schema->tables[table];
  for (size_t i = 0; i < t->foreign_key_count; i++) {
    const candidate c = {&schema->foreign_keys[t->foreign_keys[i]], direction};
    consider(schema, r, &c, out);
  }
}

static int resolve_table(orr_schema *schema, uint32_t table, orr_error *error) {
  for (size_t i = 0; i < schema->tables[table].foreign_key_count; i++)
    if (orr_schema_resolve(schema, schema->tables[table].foreign_keys[i], error) != 0)
      return -1;
  return 0;
}

static int none_fits(const orr_schema *schema, const orr_relation *r, const choice *found, orr_error *error) {
  char list[LIST_TEXT];
  bool by_keys = r->foreign_keys.count > 0;
  show_column_list(schema, by_keys ? &r->foreign_keys : &r->remote_side, list, sizeof list);
  if (by_keys && r->remote_side.count == 0)
    return orr_error_set(error, "ArgumentError",
                         "%s.%s: foreign_keys (%s) is not a foreign key between '%s' and '%s'; there is %s",
                         r->class_name, r->attribute, list, table_name(schema, r->parent),
                         table_name(schema, r->target), found->keys);
  return orr_error_set(error, "ArgumentError",
                       "%s.%s: remote_side (%s) is not the far end of a foreign key between '%s' and '%s'; "
                       "there is %s",
                       r->class_name, r->attribute,
                       show_column_list(schema, &r->remote_side, list, sizeof list),
                       table_name(schema, r->parent), table_name(schema, r->target), found->keys);
}

static int ambiguous(const orr_schema *schema, const orr_relation *r, const choice *found, orr_error *error) {
  char example[LIST_TEXT];
  return orr_error_set(
      error, "AmbiguousForeignKeysError",
      "%s.%s: several foreign keys link '%s' and '%s': %s; say which one, for example foreign_keys = %s",
      r->class_name, r->attribute, table_name(schema, r->parent), table_name(schema, r->target), found->keys,
      show_choice(schema, r, found->first.key, example, sizeof example));
}

static int choose_key(orr_schema *schema, const orr_relation *r, choice *found, orr_error *error) {
  if (resolve_table(schema, r->parent, error) != 0 || resolve_table(schema, r->target, error) != 0)
    return -1;
  consider_table(schema, r, r->target, ORR_ONE_TO_MANY, found);
  consider_table(schema, r, r->parent, ORR_MANY_TO_ONE, found);
  if (found->possible == 0)
    return no_foreign_key(schema, r, error);
  if (found->wanted == 0)
    return none_fits(schema, r, found, error);
  return found->wanted > 1 ? ambiguous(schema, r, found, error) : 0;
}

static int list_on_wrong_side(const orr_schema *schema, const orr_relation *r, const orr_foreign_key *key,
                              orr_error *error) {
  char columns[NAME_TEXT], needed[NAME_TEXT];
  orr_schema_show(schema, key->table, &key->columns, columns, sizeof columns);
  if (key->table == key->target)
    return orr_error_set(error, "ArgumentError",
                         "%s.%s: uselist = true on a many-to-one: with this remote_side one %s has one %s; "
                         "for the list leave remote_side out",
                         r->class_name, r->attribute, r->class_name, r->target_class);
  return orr_error_set(
      error, "ArgumentError",
      "%s.%s: uselist = true on a many-to-one: the foreign key '%s' stands on '%s', so one %s "
      "has one %s; for a list put the foreign key on '%s' (a column with %s)",
      r->class_name, r->attribute, columns, table_name(schema, key->table), r->class_name, r->target_class,
      table_name(schema, key->target), show_needed_key(schema, key->table, needed, sizeof needed));
}

static int find_direct(orr_schema *schema, orr_relation *r, orr_error *error) {
  choice found = {.wanted = 0};
  if (choose_key(schema, r, &found, error) != 0)
    return -1;
  const orr_foreign_key *key = found.first.key;
  r->direction = found.first.direction;
  if (r->direction == ORR_MANY_TO_ONE) {
    const orr_join join = {key->columns, key->remote};
    r->join = join;
    r->uselist = false;
    return r->wants_list == ORR_WISH_TRUE ? list_on_wrong_side(schema, r, key, error) : 0;
  }
  const orr_join join = {key->remote, key->columns};
  r->join = join;
  r->uselist = r->wants_list == ORR_WISH_NONE ? !orr_schema_is_unique(schema, key->table, &key->columns)
                                              : r->wants_list == ORR_WISH_TRUE;
  return 0;
}

/* ---- through a link table ---- */

/* The foreign keys of the secondary that refer to one side. */
typedef struct link_choice {
  const orr_foreign_key *first; /* the first wanted one, else the first possible one */
  size_t wanted, possible;
  char keys[LIST_TEXT]; /* the possible ones, for a message */
} link_choice;

static void consider_link(const orr_schema *schema, const orr_relation *r, const orr_foreign_key *key,
                          link_choice *out) {
  char text[2 * NAME_TEXT + 8];
  bool wanted = r->foreign_keys.count && lists_all(&r->foreign_keys, key->table, &key->columns);
  add_to_list(out->keys, sizeof out->keys, show_key(schema, key, text, sizeof text));
  out->possible++;
  out->wanted += wanted;
  if (out->possible == 1 || (wanted && out->wanted == 1))
    out->first = key;
}

static int no_link(const orr_schema *schema, const orr_relation *r, uint32_t side,
                   const orr_foreign_key *other, orr_error *error) {
  char needed[NAME_TEXT];
  return orr_error_set(
      error, "NoForeignKeysError",
      "%s.%s: the secondary table '%s' has no %sforeign key to '%s'; give it a column with %s", r->class_name,
      r->attribute, table_name(schema, r->secondary), other ? "second " : "", table_name(schema, side),
      show_needed_key(schema, side, needed, sizeof needed));
}

static int ambiguous_link(const orr_schema *schema, const orr_relation *r, uint32_t side,
                          const link_choice *found, orr_error *error) {
  char example[LIST_TEXT];
  return orr_error_set(
      error, "AmbiguousForeignKeysError",
      "%s.%s: the secondary table '%s' refers to '%s' several times: %s; say which one stands "
      "for this side, for example foreign_keys = %s",
      r->class_name, r->attribute, table_name(schema, r->secondary), table_name(schema, side), found->keys,
      show_choice(schema, r, found->first, example, sizeof example));
}

/* The foreign key of the secondary for one side, or NULL. A given foreign_keys decides where it names one of
   several whole, and says nothing about a side that it leaves out. `other` is taken by the other side. */
static const orr_foreign_key *find_link(const orr_schema *schema, const orr_relation *r, uint32_t side,
                                        const orr_foreign_key *other, orr_error *error) {
  const orr_table *link = &schema->tables[r->secondary];
  link_choice found = {.first = NULL};
  for (size_t i = 0; i < link->foreign_key_count; i++) {
    const orr_foreign_key *key = &schema->foreign_keys[link->foreign_keys[i]];
    if (key->target == side && key != other)
      consider_link(schema, r, key, &found);
  }
  if (found.wanted == 1 || found.possible == 1)
    return found.first;
  if (found.possible == 0)
    no_link(schema, r, side, other, error);
  else
    ambiguous_link(schema, r, side, &found, error);
  return NULL;
}

/* Where the link table refers twice to the one table, foreign_keys begins with the parent's. */
static const orr_foreign_key *find_first_named(const orr_schema *schema, const orr_relation *r) {
  const orr_table *link = &schema->tables[r->secondary];
  const orr_column_list first = {r->foreign_keys.at, 1};
  for (size_t i = 0; r->foreign_keys.count && i < link->foreign_key_count; i++) {
    const orr_foreign_key *key = &schema->foreign_keys[link->foreign_keys[i]];
    if (key->target == r->parent && lists_only(&first, key->table, &key->columns))
      return key;
  }
  return NULL;
}

static int find_through(orr_schema *schema, orr_relation *r, orr_error *error) {
  if (resolve_table(schema, r->secondary, error) != 0)
    return -1;
  bool own = r->parent == r->target;
  const orr_foreign_key *near = own ? find_first_named(schema, r) : NULL;
  if (!near)
    near = find_link(schema, r, r->parent, NULL, error);
  const orr_foreign_key *far = near ? find_link(schema, r, r->target, own ? near : NULL, error) : NULL;
  if (!far)
    return -1;
  const orr_join join = {near->remote, near->columns}, target_join = {far->remote, far->columns};
  r->join = join;
  r->target_join = target_join;
  r->direction = ORR_MANY_TO_MANY;
  r->uselist = r->wants_list != ORR_WISH_FALSE;
  return 0;
}

int orr_relation_find(orr_schema *schema, orr_relation *relation, orr_error *error) {
  memset(&relation->join, 0, sizeof relation->join);
  memset(&relation->target_join, 0, sizeof relation->target_join);
  return relation->secondary == ORR_SCHEMA_NONE ? find_direct(schema, relation, error)
                                                : find_through(schema, relation, error);
}

/* ---- two sides of one thing ---- */

/* Whether both joins hold the same pairs, in any order, the second one turned round where `turned`. */
static bool joins_equal(const orr_join *a, const orr_join *b, bool turned) {
  const orr_columns *left = turned ? &b->right : &b->left, *right = turned ? &b->left : &b->right;
  size_t found = 0;
  if (a->left.count != left->count)
    return false;
  for (size_t i = 0; i < left->count; i++)
    for (size_t j = 0; j < left->count; j++)
      if (a->left.at[i] == left->at[j] && a->right.at[i] == right->at[j]) {
        found++;
        break;
      }
  return found == left->count;
}

static int wrong_target(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                        orr_error *error) {
  return orr_error_set(error, "ArgumentError",
                       "%s.%s has back_populates = '%s', but %s.%s leads to '%s', not back to '%s'",
                       a->class_name, a->attribute, b->attribute, b->class_name, b->attribute,
                       table_name(schema, b->target), table_name(schema, a->parent));
}

static const char *direction_name(orr_direction direction) {
  static const char *const NAMES[] = {"one-to-many", "many-to-one", "many-to-many"};
  return NAMES[direction];
}

/* "book.author_id": where the foreign key of a direct relationship stands. */
static const char *show_own_key(const orr_schema *schema, const orr_relation *r, char *text, size_t size) {
  return r->direction == ORR_MANY_TO_ONE ? orr_schema_show(schema, r->parent, &r->join.left, text, size)
                                         : orr_schema_show(schema, r->target, &r->join.right, text, size);
}

static int same_direction(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                          orr_error *error) {
  char key_a[NAME_TEXT], key_b[NAME_TEXT], id[LIST_TEXT];
  const orr_columns *referred = a->direction == ORR_ONE_TO_MANY ? &a->join.left : &a->join.right;
  show_own_key(schema, a, key_a, sizeof key_a);
  show_own_key(schema, b, key_b, sizeof key_b);
  if (strcmp(key_a, key_b) == 0)
    return orr_error_set(
        error, "ArgumentError",
        "%s.%s and %s.%s name each other, but both are %s: the foreign key '%s' stands on the "
        "table that it refers to; give the one that holds a single object remote_side = %s",
        a->class_name, a->attribute, b->class_name, b->attribute, direction_name(a->direction), key_a,
        show_option(schema, a->class_name, a->parent, referred, id, sizeof id));
  return orr_error_set(
      error, "ArgumentError",
      "%s.%s and %s.%s name each other, but both are %s: one goes by the foreign key '%s', the "
      "other by '%s'; give both the same one as foreign_keys",
      a->class_name, a->attribute, b->class_name, b->attribute, direction_name(a->direction), key_a, key_b);
}

static int different_keys(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                          orr_error *error) {
  char key_a[NAME_TEXT], key_b[NAME_TEXT];
  return orr_error_set(error, "ArgumentError",
                       "%s.%s and %s.%s name each other, but the first goes by the foreign key '%s' and the "
                       "second by '%s'; give both the same one as foreign_keys",
                       a->class_name, a->attribute, b->class_name, b->attribute,
                       show_own_key(schema, a, key_a, sizeof key_a),
                       show_own_key(schema, b, key_b, sizeof key_b));
}

static int different_links(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                           orr_error *error) {
  const orr_relation *with = a->secondary != ORR_SCHEMA_NONE ? a : b, *other = with == a ? b : a;
  if (other->secondary == ORR_SCHEMA_NONE)
    return orr_error_set(error, "ArgumentError",
                         "%s.%s and %s.%s name each other, but only the first is many-to-many; give both "
                         "secondary = '%s'",
                         with->class_name, with->attribute, other->class_name, other->attribute,
                         table_name(schema, with->secondary));
  return orr_error_set(error, "ArgumentError",
                       "%s.%s and %s.%s name each other, but the first goes through '%s' and the second "
                       "through '%s'; give both the same secondary",
                       a->class_name, a->attribute, b->class_name, b->attribute,
                       table_name(schema, a->secondary), table_name(schema, b->secondary));
}

static int uncrossed_links(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                           orr_error *error) {
  char own[NAME_TEXT], far[NAME_TEXT];
  return orr_error_set(
      error, "ArgumentError",
      "%s.%s and %s.%s name each other, but '%s' stands for this side in the first and '%s' for "
      "the other side in the second; give them foreign_keys in opposite order",
      a->class_name, a->attribute, b->class_name, b->attribute,
      orr_schema_show(schema, a->secondary, &a->join.right, own, sizeof own),
      orr_schema_show(schema, b->secondary, &b->target_join.right, far, sizeof far));
}

static int pair_links(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                      orr_error *error) {
  if (a->secondary != b->secondary)
    return different_links(schema, a, b, error);
  if (!joins_equal(&a->join, &b->target_join, false) || !joins_equal(&a->target_join, &b->join, false))
    return uncrossed_links(schema, a, b, error);
  return 0;
}

int orr_relation_pair(const orr_schema *schema, const orr_relation *a, const orr_relation *b,
                      orr_error *error) {
  if (b->target != a->parent)
    return wrong_target(schema, a, b, error);
  if (a->target != b->parent)
    return wrong_target(schema, b, a, error);
  if (a->direction == ORR_MANY_TO_MANY || b->direction == ORR_MANY_TO_MANY)
    return pair_links(schema, a, b, error);
  if (a->direction == b->direction)
    return same_direction(schema, a, b, error);
  return joins_equal(&a->join, &b->join, true) ? 0 : different_keys(schema, a, b, error);
}
