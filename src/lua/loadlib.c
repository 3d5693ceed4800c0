/* loadlib: the loop from rows to objects. A plan, made once per compiled statement, says which result columns
   make which objects; the loop steps the statement, finds or makes each object, puts it where it belongs (the
   array of the caller, a relation of another object of its row, the collection that its row's key names) and
   never enters Lua. */
#include <string.h>

#include "connlib.h"
#include "mapped.h"

/* One class that the rows of an item may belong to. */
typedef struct orr_variant {
  orr_class *class;
  int *map;           /* as of the item; -1 for columns of other classes */
  orr_value identity; /* what the discriminator column holds; text is anchored by the plan */
} orr_variant;

/* What one position of a result row becomes. */
typedef struct orr_item {
  orr_class *class; /* an object of this class, or NULL: the value of one column */
  int first;        /* result column, from 0 */
  int count;        /* columns of the object */
  int *map;         /* attribute column (from 0) of each of them */
  int *keys;        /* result column of each part of the primary key */
  int key_count;
  int *left; /* attribute columns that the query leaves out, */
  int left_count;
  int *refused; /* and those among them that must not be loaded later */
  int refused_count;
  int discriminator;  /* result column that tells the class of a row; -1: all rows are of the item's class */
  orr_variant *kinds; /* the item's class and those that inherit from it */
  int kind_count;
  int last_kind; /* of the row before */
  orr_type type; /* of a single value */
  bool converts; /* a single value that a Lua result function finishes (see loading.lua) */
} orr_item;

typedef struct orr_plan {
  orr_alloc alloc;
  orr_item *items;
  orr_variant *kinds; /* of all items */
  int *numbers;       /* every map and keys array */
  size_t item_count, number_count, kind_count;
  int columns; /* of the statement */
} orr_plan;

static void close_plan(void *block) {
  orr_plan *plan = block;
  orr_alloc_free(&plan->alloc, plan->items, plan->item_count, sizeof *plan->items);
  orr_alloc_free(&plan->alloc, plan->numbers, plan->number_count, sizeof *plan->numbers);
  orr_alloc_free(&plan->alloc, plan->kinds, plan->kind_count, sizeof *plan->kinds);
  plan->items = NULL;
  plan->numbers = NULL;
  plan->kinds = NULL;
  plan->item_count = plan->number_count = plan->kind_count = 0;
}

static const orr_box_kind plan_kind = {"load plan", close_plan};

/* ---- making a plan ---- */

static size_t length_of(lua_State *L, const char *field) {
  lua_getfield(L, -1, field);
  size_t length = lua_istable(L, -1) ? orr_rawlen(L, -1) : 0;
  lua_pop(L, 1);
  return length;
}

static int *read_numbers(lua_State *L, const char *field, int *at, int *count) {
  lua_getfield(L, -1, field);
  *count = lua_istable(L, -1) ? (int)orr_rawlen(L, -1) : 0;
  for (int i = 0; i < *count; i++) {
    lua_rawgeti(L, -1, i + 1);
    at[i] = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return at;
}

static orr_class *class_field(lua_State *L) {
  lua_getfield(L, -1, "class");
  orr_class *class = orr_class_test(L, -1);
  lua_pop(L, 1);
  return class;
}

static int number_field(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  int number = (int)lua_tointeger(L, -1) - 1;
  lua_pop(L, 1);
  return number;
}

static void read_identity(lua_State *L, orr_variant *kind) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  char scratch[ORR_TYPE_SCRATCH];
  orr_error error;
  lua_getfield(L, -1, "identity");
  if (lua_isnil(L, -1) || orr_type_take(L, -1, &any, &kind->identity, scratch, &error) != 0)
    kind->identity.tag = ORR_NULL;
  lua_pop(L, 1);
}

/* The classes that the rows of the item on top may belong to, into `kinds`. */
static int *read_kinds(lua_State *L, orr_item *item, orr_variant *kinds, int *numbers) {
  item->discriminator = number_field(L, "discriminator");
  item->kinds = kinds;
  item->kind_count = (int)length_of(L, "kinds");
  lua_getfield(L, -1, "kinds");
  for (int i = 0, count; i < item->kind_count; i++) {
    lua_rawgeti(L, -1, i + 1);
    kinds[i].class = class_field(L);
    kinds[i].map = read_numbers(L, "map", numbers, &count);
    numbers += count;
    read_identity(L, &kinds[i]);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return numbers;
}

static int *read_item(lua_State *L, orr_item *item, orr_variant *kinds, int *numbers) {
  item->class = class_field(L);
  item->first = number_field(L, "first");
  if (!item->class) {
    lua_getfield(L, -1, "handle");
    if (!lua_isnil(L, -1))
      item->type = *orr_type_check(L, -1);
    lua_pop(L, 1);
    return numbers;
  }
  item->map = read_numbers(L, "map", numbers, &item->count);
  item->keys = read_numbers(L, "keys", numbers + item->count, &item->key_count);
  item->left = read_numbers(L, "left", item->keys + item->key_count, &item->left_count);
  item->refused = read_numbers(L, "refused", item->left + item->left_count, &item->refused_count);
  return read_kinds(L, item, kinds, item->refused + item->refused_count);
}

/* Adds what the items, or kinds, of the table on top need. */
static void count_room(lua_State *L, size_t *numbers, size_t *kinds) {
  size_t count = lua_istable(L, -1) ? orr_rawlen(L, -1) : 0;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, (int)i);
    *numbers += length_of(L, "map") + length_of(L, "keys") + length_of(L, "left") + length_of(L, "refused");
    *kinds += length_of(L, "kinds");
    lua_getfield(L, -1, "kinds");
    count_room(L, numbers, kinds);
    lua_pop(L, 2);
  }
}

/* core.plan(items, columns) -> plan. items: { class=, first=, map={attribute number of each column},
   keys={result column of each key part}, left={attribute numbers left out}, refused={those of them that must
   not be loaded later} } for an object, { first=, handle= } for a value. An item whose rows may belong to
   subclasses has discriminator= (result column) and kinds= { { class=, map= (0: not of this class),
   identity= (database value) }, ... }. Whoever keeps the plan keeps the classes. */
static int new_plan(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int columns = (int)luaL_checkinteger(L, 2);
  size_t count = orr_rawlen(L, 1), number_count = 0, kind_count = 0;
  lua_settop(L, 1);
  count_room(L, &number_count, &kind_count);
  orr_plan *plan = orr_box_new(L, &plan_kind, sizeof *plan);
  lua_pushvalue(L, 1);
  orr_setuservalue(L, 2); /* identities that are text */
  plan->alloc = orr_allocator(L);
  plan->columns = columns;
  plan->items = orr_alloc_array(&plan->alloc, count, sizeof *plan->items);
  plan->item_count = plan->items ? count : 0;
  plan->numbers = orr_alloc_array(&plan->alloc, number_count, sizeof *plan->numbers);
  plan->number_count = plan->numbers ? number_count : 0;
  plan->kinds = kind_count ? orr_alloc_array(&plan->alloc, kind_count, sizeof *plan->kinds) : NULL;
  plan->kind_count = plan->kinds ? kind_count : 0;
  if (!plan->items || (number_count && !plan->numbers) || (kind_count && !plan->kinds))
    return luaL_error(L, "not enough memory");
  int *numbers = plan->numbers;
  orr_variant *kinds = plan->kinds;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 1, (int)i + 1);
    numbers = read_item(L, &plan->items[i], kinds, numbers);
    kinds += plan->items[i].kind_count;
    lua_pop(L, 1);
  }
  return 1;
}

/* ---- one object ---- */

/* What core.load is given, by place on the stack. */
enum {
  SESSION = 1,
  STATEMENT,
  PLAN,
  OUT,
  ROW_META,
  POPULATED,
  MOST,
  COHORTS,
  LINKS,
  GATHER,
  KEYS,
  ARGUMENTS = KEYS
};

typedef struct load {
  orr_session *session;
  orr_statement *statement;
  const orr_plan *plan;
  orr_value *row;
  orr_cohort_number *cohorts; /* of each item's objects */
  int objects;                /* index of the weak table of objects */
  int metas;                  /* index of the first item's instance metatable */
  int kinds;                  /* the same of the plan's first kind */
  bool populate; /* overwrite what objects hold already, each once: POPULATED is the set of those that were */
  char *key;     /* room for the bytes of a key */
  size_t key_room;
  int key_box;
  int items;   /* index of the row's first item */
  int visible; /* items that the caller gets; those behind them belong to relations of others */
  lua_Integer rows, count;
  struct joins *joins; /* NULL where no item belongs to another's relation */
  struct filling *filling;
} load;

static char *key_bytes(lua_State *L, load *to, size_t size) {
  if (size > to->key_room) {
    to->key = lua_newuserdata(L, size * 2);
    to->key_room = size * 2;
    lua_replace(L, to->key_box);
  }
  return to->key;
}

/* The identity key of the row; false where a part is NULL: no object there (outer joins). */
static bool row_key(lua_State *L, load *to, const orr_item *item, orr_key *key) {
  const orr_value *first = &to->row[item->keys[0]];
  if (item->key_count == 1 && first->tag == ORR_INT) {
    orr_key_integer(key, item->class->id, first->as.i);
    return true;
  }
  orr_value values[ORR_MAX_KEY];
  for (int k = 0; k < item->key_count; k++) {
    values[k] = to->row[item->keys[k]];
    if (values[k].tag == ORR_NULL)
      return false;
  }
  size_t size = orr_key_size(values, item->key_count);
  orr_key_make(key, item->class->id, values, item->key_count, size ? key_bytes(L, to, size) : NULL);
  return true;
}

static size_t text_size(const load *to, const orr_item *item) {
  size_t size = 0;
  for (int i = 0; i < item->count; i++)
    size += to->row[item->first + i].len;
  return size;
}

/* Notes in an object that was made or emptied just now what its query leaves out. */
static void mark_left_out(orr_instance *object, const orr_item *item) {
  unsigned char *tags = orr_tags(object);
  for (int i = 0; i < item->left_count; i++)
    tags[item->left[i]] = ORR_NULL | ORR_UNLOADED | ORR_DEFERRED;
  for (int i = 0; i < item->refused_count; i++)
    tags[item->refused[i]] |= ORR_REFUSED;
}

static orr_instance *make_object(lua_State *L, load *to, const orr_item *item, int meta) {
  orr_instance *object = orr_instance_new(L, item->class, text_size(to, item), meta);
  for (int i = 0; i < item->count; i++)
    orr_instance_store(object, item->map[i], &to->row[item->first + i]);
  if (item->left_count)
    mark_left_out(object, item);
  object->epoch = to->session->epoch;
  return object;
}

/* ---- rows of several classes ---- */

static void raise_kind(lua_State *L, const char *hook, const orr_item *item, const orr_class *other,
                       const orr_value *value) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  orr_push_hook(L, hook);
  orr_class_push(L, item->class);
  if (other)
    orr_class_push(L, other);
  else
    lua_pushnil(L);
  orr_type_push(L, &any, value);
  lua_call(L, 3, 0);
}

/* The class of a row, by its discriminator. Without one it is the class that was asked for. */
static const orr_variant *kind_of_row(lua_State *L, const load *to, orr_item *item) {
  const orr_value *value = &to->row[item->discriminator];
  if (value->tag == ORR_NULL)
    return &item->kinds[0];
  if (orr_value_same(&item->kinds[item->last_kind].identity, value))
    return &item->kinds[item->last_kind];
  for (int i = 0; i < item->kind_count; i++)
    if (orr_value_same(&item->kinds[i].identity, value)) {
      item->last_kind = i;
      return &item->kinds[i];
    }
  raise_kind(L, "unknown_identity", item, NULL, value);
  return NULL;
}

static const orr_variant *kind_of_class(const orr_item *item, const orr_class *class) {
  for (int i = 0; i < item->kind_count; i++)
    if (item->kinds[i].class == class)
      return &item->kinds[i];
  return &item->kinds[0];
}

static orr_instance *make_kind(lua_State *L, load *to, orr_item *item) {
  const orr_variant *kind = kind_of_row(L, to, item);
  int meta = to->kinds + (int)(kind - to->plan->kinds);
  orr_instance *object = orr_instance_new(L, kind->class, text_size(to, item), meta);
  for (int i = 0; i < item->count; i++)
    if (kind->map[i] >= 0)
      orr_instance_store(object, kind->map[i], &to->row[item->first + i]);
  if (item->left_count)
    mark_left_out(object, item);
  object->epoch = to->session->epoch;
  return object;
}

/* Whether the object on top is to be overwritten; once. */
static bool must_populate(lua_State *L, const load *to) {
  if (!to->populate)
    return false;
  lua_pushvalue(L, -1);
  lua_rawget(L, POPULATED);
  bool done = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (!done) {
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, POPULATED);
  }
  return !done;
}

/* Notes what has become of the object on top: its listeners are told when the rows are read. */
static void note_for_listeners(lua_State *L, const orr_session *session, const char *what) {
  int object = lua_gettop(L);
  orr_session_user(L, session);
  lua_rawgeti(L, -1, ORR_SESSION_LOADED);
  if (lua_isnil(L, -1)) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, object + 1, ORR_SESSION_LOADED);
    lua_replace(L, object + 2);
  }
  int count = (int)orr_rawlen(L, object + 2);
  lua_pushvalue(L, object);
  lua_rawseti(L, object + 2, count + 1);
  lua_pushstring(L, what);
  lua_rawseti(L, object + 2, count + 2);
  lua_settop(L, object);
}

/* An object that is there keeps what it has; what it lacks (everything, when expired) is filled in. */
static void fill_object(lua_State *L, load *to, const orr_item *item, orr_instance *object) {
  int index = lua_gettop(L);
  bool filled = false;
  const int *map = item->map;
  if (object->class != item->class) {
    if (!orr_class_is(object->class, item->class))
      raise_kind(L, "other_class", item, object->class, &to->row[item->keys[0]]);
    map = item->kind_count ? kind_of_class(item, object->class)->map : map;
  }
  orr_instance_freshen(L, object, index, to->session);
  if (must_populate(L, to)) {
    orr_instance_forget(L, object, index, to->session->epoch);
    mark_left_out(object, item);
  }
  unsigned char *tags = orr_tags(object);
  for (int i = 0; i < item->count; i++) {
    int column = map[i];
    if (column >= 0 && (tags[column] & (ORR_UNLOADED | ORR_CHANGED)) == ORR_UNLOADED) {
      orr_instance_put(L, object, index, column, &to->row[item->first + i]);
      filled = true;
    }
  }
  if (filled && object->class->hears & ORR_HEARS_REFRESH)
    note_for_listeners(L, to->session, "refresh");
}

static void push_object(lua_State *L, load *to, orr_item *item, int meta) {
  orr_key key;
  if (!row_key(L, to, item, &key)) {
    lua_pushnil(L);
    return;
  }
  orr_identity *map = &to->session->map;
  uint32_t slot = orr_session_claim(L, to->session, &key, to->objects);
  lua_rawgeti(L, to->objects, (int)slot);
  orr_instance *object = lua_touserdata(L, -1);
  if (object) {
    fill_object(L, to, item, object);
    return;
  }
  lua_pop(L, 1);
  uint32_t stamp = map->stamp;
  object = item->kind_count ? make_kind(L, to, item) : make_object(L, to, item, meta);
  if (map->stamp != stamp) { /* a collector's finalizer has used the session meanwhile */
    lua_pop(L, 1);
    push_object(L, to, item, meta);
    return;
  }
  orr_session_seat(L, to->session, object, lua_gettop(L), slot, to->objects);
  if (object->class->hears & ORR_HEARS_LOAD)
    note_for_listeners(L, to->session, "load");
}

/* Pushes what item number i of the plan makes of the row. */
static void push_item(lua_State *L, load *to, int i) {
  orr_item *item = &to->plan->items[i];
  if (!item->class) {
    orr_type_push(L, &item->type, &to->row[item->first]);
    return;
  }
  push_object(L, to, item, to->metas + i);
  orr_instance *object = lua_touserdata(L, -1);
  if (object && to->cohorts[i])
    orr_cohort_enter(L, to->session, object, to->cohorts[i]);
}

/* ---- rows that bring related objects along ---- */

/* One item of the plan whose objects belong to a relation of another item's objects. */
typedef struct join_link {
  int parent;   /* item, from 0 */
  int relation; /* of the parent's class */
  bool list;
  const orr_instance *last; /* parent of the row before: its collection is at hand still */
} join_link;

typedef struct joins {
  join_link *links; /* of the items behind the visible ones */
  int count;
  int fills; /* index of the first table: parent to collection, true, or false for "leave alone" */
  int held;  /* index of the first collection at hand */
  int lists;
  int seen; /* index of the set of objects that were met, where lists multiply the rows of one class; else 0
             */
  const void *last; /* first object of the row before */
} joins;

static void read_link(lua_State *L, const orr_plan *plan, join_link *link) {
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  link->parent = (int)lua_tointeger(L, -2) - 1;
  luaL_argcheck(L,
                link->parent >= 0 && link->parent < (int)plan->item_count && plan->items[link->parent].class,
                LINKS, "links to objects expected");
  const orr_class *class = plan->items[link->parent].class;
  link->relation = (int)lua_tointeger(L, -1) - 1 - class->column_count;
  link->list = class->relations[link->relation].flags & ORR_RELATION_LIST;
  link->last = NULL;
  lua_pop(L, 2);
}

/* Pushes what a parent that is met for the first time holds from now on: a fresh collection, true for a
   single object, or false where the relation is loaded already. */
static void push_fill(lua_State *L, const join_link *link, int parent) {
  orr_instance *object = lua_touserdata(L, parent);
  int key = orr_user_relation(object->class, link->relation);
  orr_instance_getuser(L, object, parent, key);
  orr_instance_getuser(L, object, parent, orr_user_backlog(object->class, link->relation));
  bool leave = !lua_isnil(L, -1) ||
               !lua_isnil(L, -2); /* loaded, or changed from the other side: lazy loading merges */
  lua_pop(L, 2);
  if (leave) {
    lua_pushboolean(L, 0);
  } else if (link->list) {
    orr_collection_new(L, parent, link->relation);
    lua_pushvalue(L, -1);
    orr_instance_setuser(L, object, parent, key);
  } else {
    lua_pushboolean(L, 1);
  }
}

/* Puts what the parent at `parent` holds at `held`. */
static void hold_fill(lua_State *L, joins *joins, int number, int parent) {
  join_link *link = &joins->links[number];
  lua_pushvalue(L, parent);
  lua_rawget(L, joins->fills + number);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    push_fill(L, link, parent);
    lua_pushvalue(L, parent);
    lua_pushvalue(L, -2);
    lua_rawset(L, joins->fills + number);
  }
  lua_replace(L, joins->held + number);
  link->last = lua_touserdata(L, parent);
}

/* Takes the object at `child` into the relation of its parent that link number `number` names. */
static void join_object(lua_State *L, const load *to, int number, int child) {
  joins *joins = to->joins;
  join_link *link = &joins->links[number];
  int parent = to->items + link->parent, held = joins->held + number;
  if (lua_isnil(L, parent))
    return;
  if (link->last != lua_touserdata(L, parent))
    hold_fill(L, joins, number, parent);
  if (link->list) {
    orr_collection *list = lua_touserdata(L, held);
    if (list && !lua_isnil(L, child) && (joins->lists < 2 || !orr_collection_has(L, list, held, child)))
      orr_collection_push_item(L, list, held, child);
  } else if (lua_toboolean(L, held)) {
    orr_instance *object = lua_touserdata(L, parent);
    if (lua_isnil(L, child))
      lua_pushboolean(L, 0);
    else
      lua_pushvalue(L, child);
    orr_instance_setuser(L, object, parent, orr_user_relation(object->class, link->relation));
  }
}

static void join_row(lua_State *L, const load *to) {
  for (int i = 0; i < to->joins->count; i++)
    join_object(L, to, i, to->items + to->visible + i);
}

/* Pushes a table for each link, then a place for what is held, and reads the links. */
static void read_joins(lua_State *L, const load *to, joins *joins) {
  int count = joins->count;
  luaL_checkstack(L, 3 * count + 30, "joined load");
  joins->links = lua_newuserdata(L, (size_t)count * sizeof *joins->links);
  joins->fills = lua_gettop(L) + 1;
  for (int i = 0; i < count; i++)
    lua_newtable(L);
  joins->held = lua_gettop(L) + 1;
  for (int i = 0; i < count; i++)
    lua_pushnil(L);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, LINKS, i + 1);
    read_link(L, to->plan, &joins->links[i]);
    joins->lists += joins->links[i].list;
    lua_pop(L, 1);
  }
  if (joins->lists && lua_isnil(L, ROW_META)) {
    lua_newtable(L);
    joins->seen = lua_gettop(L);
  }
}

/* Whether the row's first object is met for the first time. */
static bool is_first_meeting(lua_State *L, const load *to) {
  joins *joins = to->joins;
  const void *root = lua_touserdata(L, to->items);
  if (!root || root == joins->last)
    return false;
  joins->last = root;
  lua_pushvalue(L, to->items);
  lua_rawget(L, joins->seen);
  bool met = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (met)
    return false;
  lua_pushvalue(L, to->items);
  lua_pushboolean(L, 1);
  lua_rawset(L, joins->seen);
  return true;
}

/* ---- collections of many parents at once ---- */

/* The parents whose collection is being filled, by the key that their rows are found by. Its user value holds
   the collections by slot, and the session's weak table keeps nothing alive here: callers hold the parents.
 */
typedef struct orr_gather {
  orr_identity slots;
  bool open;
  int key_count;
} orr_gather;

static void close_gather(void *block) {
  orr_gather *gather = block;
  if (gather->open)
    orr_identity_clear(&gather->slots);
  gather->open = false;
}

static const orr_box_kind gather_kind = {"gather", close_gather};

static bool always_alive(void *ud, uint32_t slot) {
  (void)ud;
  (void)slot;
  return true;
}

/* Enters the collection on top under the key of its owner and pops it. */
static void enter_parent(lua_State *L, orr_gather *gather, int user, const orr_value *values) {
  orr_key key;
  size_t size = orr_key_size(values, gather->key_count);
  orr_key_make(&key, 1, values, gather->key_count, size ? lua_newuserdata(L, size) : NULL);
  uint32_t slot = orr_identity_find(&gather->slots, &key);
  if (!slot)
    slot = orr_identity_insert(&gather->slots, &key, always_alive, NULL);
  if (!slot)
    luaL_error(L, "not enough memory");
  if (size)
    lua_pop(L, 1);
  lua_rawseti(L, user, (int)slot);
}

/* The key of a parent's rows, by these columns of it; false where a part of it is NULL: there are none. */
static bool parent_key(lua_State *L, orr_instance *object, int index, const int *columns, int count,
                       orr_value *out) {
  for (int k = 0; k < count; k++) {
    orr_instance_value(L, object, index, columns[k], &out[k]);
    if (out[k].tag == ORR_NULL)
      return false;
  }
  return true;
}

/* Appends the parts of a key to the array at `keys`. */
static int add_key(lua_State *L, int keys, int used, const orr_value *values, int count) {
  static const orr_type any = {ORR_KIND_ANY, ORR_AS_DEFAULT, 0, 0, 0};
  for (int k = 0; k < count; k++) {
    orr_type_push(L, &any, &values[k]);
    lua_rawseti(L, keys, ++used);
  }
  return used;
}

static bool has_columns(orr_instance *object, const int *columns, int count) {
  for (int k = 0; k < count; k++)
    if (orr_tags(object)[columns[k]] & ORR_UNLOADED &&
        !(object->class->columns[columns[k]].flags & ORR_COLUMN_KEY))
      return false;
  return true;
}

/* Gives each parent of the array at 1 a fresh collection for the relation at 2, an attribute number of the
   first one's class: those of subclasses have the same relation behind more columns. `columns` are its key;
   the array at `keys` gets the keys. */
static void open_collections(lua_State *L, orr_gather *gather, int user, int keys, const int *columns) {
  int count = (int)orr_rawlen(L, 1), number = (int)luaL_checkinteger(L, 2) - 1, top = lua_gettop(L), used = 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    orr_instance *object = orr_instance_check(L, top + 1);
    if (i == 1)
      number -= object->class->column_count;
    luaL_argcheck(L, number >= 0 && number < object->class->relation_count, 2, "relationship expected");
    luaL_argcheck(L, has_columns(object, columns, gather->key_count), 1, "objects with their keys expected");
    orr_value values[ORR_MAX_KEY];
    orr_collection_new(L, top + 1, number);
    lua_pushvalue(L, -1);
    orr_instance_setuser(L, object, top + 1, orr_user_relation(object->class, number));
    if (parent_key(L, object, top + 1, columns, gather->key_count, values)) {
      used = add_key(L, keys, used, values, gather->key_count);
      enter_parent(L, gather, user, values);
    }
    lua_settop(L, top);
  }
}

/* Reads the attribute numbers of the array at `index`. */
static int read_key_columns(lua_State *L, int index, int *columns) {
  luaL_checktype(L, index, LUA_TTABLE);
  int count = (int)orr_rawlen(L, index);
  luaL_argcheck(L, count >= 1 && count <= ORR_MAX_KEY, index, "1 to 32 columns expected");
  for (int k = 0; k < count; k++) {
    lua_rawgeti(L, index, k + 1);
    columns[k] = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
  }
  return count;
}

/* core.keyless(objects, key columns) -> array of those that lack a column of their key */
static int keyless(lua_State *L) {
  int columns[ORR_MAX_KEY], found = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  int width = read_key_columns(L, 2, columns), count = (int)orr_rawlen(L, 1);
  lua_newtable(L);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    if (has_columns(orr_instance_check(L, 4), columns, width))
      lua_pop(L, 1);
    else
      lua_rawseti(L, 3, ++found);
  }
  return 1;
}

/* core.gather(parents, attribute number, key columns) -> handle, keys: every parent of the array gets an
   empty collection, which core.load then fills. The keys, part by part, are those by which the rows are
   found. */
static int new_gather(lua_State *L) {
  int columns[ORR_MAX_KEY];
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  orr_gather *gather = orr_box_new(L, &gather_kind, sizeof *gather);
  orr_identity_init(&gather->slots, orr_allocator(L));
  gather->open = true;
  gather->key_count = read_key_columns(L, 3, columns);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  orr_setuservalue(L, 4);
  lua_newtable(L);
  open_collections(L, gather, 5, 6, columns);
  lua_remove(L, 5);
  return 2;
}

/* The collections that a statement fills. */
typedef struct filling {
  const orr_gather *gather;
  int collections; /* index of the gather's user value */
  int keys[ORR_MAX_KEY];
} filling;

static void read_filling(lua_State *L, const load *to, filling *filling) {
  filling->gather = orr_box_check(L, GATHER, &gather_kind);
  luaL_checktype(L, KEYS, LUA_TTABLE);
  luaL_argcheck(L, filling->gather->open, GATHER, "open gather expected");
  luaL_argcheck(L, filling->gather->key_count == 0 || (int)orr_rawlen(L, KEYS) == filling->gather->key_count,
                KEYS, "as many key columns as the key has expected");
  for (int k = 0; k < filling->gather->key_count; k++) {
    lua_rawgeti(L, KEYS, k + 1);
    lua_Integer column = lua_tointeger(L, -1);
    luaL_argcheck(L, column >= 1 && column <= to->plan->columns, KEYS, "result columns expected");
    filling->keys[k] = (int)column - 1;
    lua_pop(L, 1);
  }
  orr_getuservalue(L, GATHER);
  filling->collections = lua_gettop(L);
}

/* Pushes the collection that the row belongs to, or returns NULL. */
static orr_collection *collection_of_row(lua_State *L, const load *to) {
  const filling *filling = to->filling;
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  for (int k = 0; k < filling->gather->key_count; k++)
    values[k] = to->row[filling->keys[k]];
  size_t size = orr_key_size(values, filling->gather->key_count);
  orr_key_make(&key, 1, values, filling->gather->key_count, size ? lua_newuserdata(L, size) : NULL);
  uint32_t slot = orr_identity_find(&filling->gather->slots, &key);
  if (size)
    lua_pop(L, 1);
  if (!slot)
    return NULL;
  lua_rawgeti(L, filling->collections, (int)slot);
  return lua_touserdata(L, -1);
}

/* Whether rows may repeat their objects, by the lists joined to them, and the collection on top has this one.
 */
static bool is_repeated(lua_State *L, const load *to, orr_collection *list, int item) {
  return to->joins && to->joins->lists && orr_collection_has(L, list, lua_gettop(L), item);
}

/* Whether the item at `item` no longer belongs to the owner of the collection on top, though its row says so.
 */
static bool has_left(lua_State *L, int item) {
  int top = lua_gettop(L);
  const orr_collection *list = lua_touserdata(L, top);
  if (!(((orr_instance *)lua_touserdata(L, item))->flags & ORR_HAS_OLD))
    return false;
  orr_getuservalue(L, top);
  lua_rawgeti(L, -1, ORR_COLLECTION_OWNER);
  const orr_instance *owner = lua_touserdata(L, -1);
  bool left = orr_relationship_has_left(L, &owner->class->relations[list->relation], top + 2, item);
  lua_settop(L, top);
  return left;
}

/* Puts the row's first object into the collection that its key names. */
static void fill_collection(lua_State *L, const load *to) {
  int top = lua_gettop(L);
  orr_collection *list = lua_isnil(L, to->items) ? NULL : collection_of_row(L, to);
  if (list && !is_repeated(L, to, list, to->items) && !has_left(L, to->items))
    orr_collection_push_item(L, list, lua_gettop(L), to->items);
  lua_settop(L, top);
}

/* ---- the loop ---- */

static void push_meta(lua_State *L, const orr_class *class) {
  if (!class) {
    lua_pushnil(L);
    return;
  }
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_META);
  lua_remove(L, -2);
}

/* Pushes the metatable of each item's instances (nil for values), then of each kind's. */
static void push_metas(lua_State *L, load *to) {
  const orr_plan *plan = to->plan;
  luaL_checkstack(L, (int)(2 * plan->item_count + plan->kind_count) + 30, "columns");
  to->metas = lua_gettop(L) + 1;
  for (size_t i = 0; i < plan->item_count; i++)
    push_meta(L, plan->items[i].class);
  to->kinds = lua_gettop(L) + 1;
  for (size_t i = 0; i < plan->kind_count; i++)
    push_meta(L, plan->kinds[i].class);
}

static int fail(lua_State *L, orr_statement *statement, const orr_error *error) {
  orr_statement_error(L, statement, error);
  return lua_error(L);
}

/* Steps once and reads the row; false at the end. */
static bool next_row(lua_State *L, load *to) {
  orr_error error;
  orr_error_clear(&error);
  orr_statement *statement = to->statement;
  int code = statement->driver->step(statement->handle, &error);
  if (code == ORR_STEP_ROW && statement->driver->row(statement->handle, to->row, to->plan->columns) != 0)
    code = orr_error_set(&error, "OperationalError", "out of memory");
  if (code < 0)
    fail(L, statement, &error);
  to->rows += code == ORR_STEP_ROW;
  return code == ORR_STEP_ROW;
}

/* A load makes no garbage, only objects: collecting while many of them come in would walk over them again and
 * again. */
enum { ROWS_BEFORE_PAUSE = 512 };

static void pause_collector(lua_State *L, orr_session *session) {
#ifdef LUA_GCISRUNNING
  if (!session->paused && lua_gc(L, LUA_GCISRUNNING, 0)) {
    lua_gc(L, LUA_GCSTOP, 0);
    session->paused = true;
  }
#else
  (void)L;
  (void)session;
#endif
}

/* Calls the loop with the arguments on the stack and the statement held, whatever happens in it. */
static void run_held(lua_State *L, lua_CFunction loop, orr_session *session, orr_statement *statement) {
  lua_pushcfunction(L, loop);
  lua_insert(L, 1);
  orr_statement_hold(statement, true);
  int status = lua_pcall(L, ARGUMENTS, 2, 0);
  orr_statement_hold(statement, false);
  if (session->paused)
    lua_gc(L, LUA_GCRESTART, 0);
  session->paused = false;
  if (status == 0)
    return;
  orr_statement_reset(statement);
  lua_error(L);
}

/* Reads the cohort numbers of the items; all 0 where none are given. */
static orr_cohort_number *read_cohorts(lua_State *L, const orr_plan *plan) {
  orr_cohort_number *cohorts = lua_newuserdata(L, plan->item_count * sizeof *cohorts);
  memset(cohorts, 0, plan->item_count * sizeof *cohorts);
  for (size_t i = 0; lua_istable(L, COHORTS) && i < plan->item_count; i++) {
    lua_rawgeti(L, COHORTS, (int)i + 1);
    cohorts[i] = (orr_cohort_number)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  return cohorts;
}

/* What every load needs, on the stack. */
static void begin_load(lua_State *L, load *to) {
  memset(to, 0, sizeof *to);
  to->session = lua_touserdata(L, SESSION);
  to->statement = lua_touserdata(L, STATEMENT);
  to->plan = lua_touserdata(L, PLAN);
  to->populate = lua_istable(L, POPULATED);
  to->row = lua_newuserdata(L, (size_t)to->plan->columns * sizeof *to->row);
  to->cohorts = read_cohorts(L, to->plan);
  lua_pushnil(L);
  to->key_box = lua_gettop(L);
  orr_getuservalue(L, SESSION);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  to->objects = lua_gettop(L);
  push_metas(L, to);
  to->visible = (int)to->plan->item_count;
  to->count = (lua_Integer)orr_rawlen(L, OUT);
}

/* Pushes what the caller gets for the row: a table with the row metatable, or the one visible item. */
static void push_row(lua_State *L, const load *to) {
  if (lua_isnil(L, ROW_META)) {
    if (to->plan->item_count > 1) /* a single one is on top already */
      lua_pushvalue(L, to->items);
    return;
  }
  lua_createtable(L, to->visible, 0);
  for (int i = 0; i < to->visible; i++) {
    lua_pushvalue(L, to->items + i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushvalue(L, ROW_META);
  lua_setmetatable(L, -2);
}

static void hand_out(lua_State *L, load *to) {
  if (to->joins && to->joins->seen && !is_first_meeting(L, to))
    return;
  push_row(L, to);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlightuserdata(L, NULL);
  }
  lua_rawseti(L, OUT, (int)++to->count);
}

/* Reads rows until there is none, or `most` were read; whether there may be more. */
static bool read_rows(lua_State *L, load *to, lua_Integer most) {
  int items = (int)to->plan->item_count;
  to->items = lua_gettop(L) + 1;
  while (to->rows != most) {
    if (!next_row(L, to))
      return false;
    if (to->rows == ROWS_BEFORE_PAUSE)
      pause_collector(L, to->session);
    for (int i = 0; i < items; i++)
      push_item(L, to, i);
    if (to->joins)
      join_row(L, to);
    if (to->filling)
      fill_collection(L, to);
    hand_out(L, to);
    lua_settop(L, to->items - 1);
  }
  return true;
}

static int run(lua_State *L) {
  load to;
  joins joins;
  filling filling;
  begin_load(L, &to);
  memset(&joins, 0, sizeof joins);
  joins.count = lua_istable(L, LINKS) ? (int)orr_rawlen(L, LINKS) : 0;
  if (joins.count) {
    to.visible -= joins.count;
    to.joins = &joins;
    read_joins(L, &to, &joins);
  }
  if (!lua_isnil(L, GATHER)) {
    to.filling = &filling;
    read_filling(L, &to, &filling);
  }
  lua_Integer before = to.count;
  bool more = read_rows(L, &to, luaL_optinteger(L, MOST, -1));
  lua_pushinteger(L, to.count - before);
  lua_pushboolean(L, !more);
  return 2;
}

/* core.load(session, statement, plan, out [, row metatable, populated, most, cohorts, links, gather, key
   columns])
   -> count, done: appends to `out`. Without a row metatable each row becomes its one visible item; NULL
   becomes core.null. `populated`: a set of objects; those outside it are overwritten and come in. At most
   `most` rows are read; a statement that is done, or failed, is reset. cohorts[i] is that of item i's
   objects. links[i] = { item, attribute number }: the last items of the plan, from the i-th of them on,
   belong to that relation of that item's objects; where collections are among them, one visible object comes
   into `out` once. With a gather, the first item's objects join the collection that the row's key columns
   name. */
static int load_rows(lua_State *L) {
  lua_settop(L, ARGUMENTS);
  orr_session *session = orr_session_check(L, SESSION);
  orr_statement *statement = orr_statement_check(L, STATEMENT);
  orr_plan *plan = orr_box_check(L, PLAN, &plan_kind);
  luaL_checktype(L, OUT, LUA_TTABLE);
  luaL_argcheck(L, plan->items && plan->columns <= statement->columns, PLAN,
                "plan of this statement expected");
  luaL_argcheck(L, !lua_istable(L, LINKS) || orr_rawlen(L, LINKS) < plan->item_count, LINKS,
                "fewer links than items expected");
  run_held(L, run, session, statement);
  if (lua_toboolean(L, 2))
    orr_statement_reset(statement);
  return 2;
}

void orr_load_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"plan", new_plan}, {"load", load_rows}, {"gather", new_gather}, {"keyless", keyless}, {NULL, NULL}};
  orr_box_define(L, &plan_kind, NULL, NULL);
  lua_pop(L, 1);
  orr_box_define(L, &gather_kind, NULL, NULL);
  lua_pop(L, 1);
  orr_setfuncs(L, functions);
}
