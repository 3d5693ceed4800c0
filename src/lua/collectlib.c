/* collectlib: what a flush has to write. New, changed and deleted objects become actions, their relationships
   become foreign keys from parents, links between actions, and link rows; core/unit orders them. Nothing is
   written here. */
#include <stdlib.h>
#include <string.h>

#include "flush.h"

/* ---- link rows ---- */

static size_t hash_link(const orr_flush_record *r) {
  uint64_t h = (uint64_t)r->object * UINT64_C(0x9E3779B97F4A7C15) ^ ((uint64_t)r->other << 20) ^
               (uint64_t)(unsigned)orr_flush_relation(r)->id ^ (uint64_t)r->kind << 60;
  return (size_t)((h * UINT64_C(0xD6E8FEB86659FD93)) >> 32);
}

static bool same_link(const orr_flush_record *a, const orr_flush_record *b) {
  return a->object == b->object && a->other == b->other &&
         orr_flush_relation(a)->id == orr_flush_relation(b)->id && a->kind == b->kind;
}

static void place_link(orr_flush *f, uint32_t number) {
  size_t mask = f->link_room - 1, i = hash_link(&f->records[number - 1]) & mask;
  while (f->links[i])
    i = (i + 1) & mask;
  f->links[i] = number;
}

static void grow_links(lua_State *L, orr_flush *f) {
  size_t room = f->link_room ? f->link_room * 2 : 64;
  uint32_t *links = orr_alloc_array(&f->alloc, room, sizeof *links);
  if (!links)
    luaL_error(L, "not enough memory");
  orr_alloc_free(&f->alloc, f->links, f->link_room, sizeof *f->links);
  f->links = links;
  f->link_room = room;
  for (size_t n = 1; n <= f->record_count; n++)
    if (f->records[n - 1].relation >= 0 && !f->records[n - 1].wipes)
      place_link(f, (uint32_t)n);
}

static bool known_link(const orr_flush *f, const orr_flush_record *r) {
  size_t mask = f->link_room - 1;
  for (size_t i = hash_link(r) & mask; f->links[i]; i = (i + 1) & mask)
    if (same_link(&f->records[f->links[i] - 1], r))
      return true;
  return false;
}

orr_flush_record *orr_flush_add_record(lua_State *L, orr_flush *f, orr_unit_kind kind, orr_class *class,
                                       uint32_t object) {
  f->records = orr_flush_grow(L, f, f->records, &f->record_room, f->record_count + 1, sizeof *f->records);
  orr_flush_record *r = &f->records[f->record_count];
  memset(r, 0, sizeof *r);
  r->kind = (unsigned)kind & 15u;
  r->class = class;
  r->object = object;
  r->relation = -1;
  return r;
}

/* Takes in the record after the last one, of a link row, unless the other side has reported it. */
static void enter_link(lua_State *L, orr_flush *f) {
  if (f->link_count * 2 >= f->link_room)
    grow_links(L, f);
  if (known_link(f, &f->records[f->record_count]))
    return;
  f->link_count++;
  place_link(f, (uint32_t)++f->record_count);
}

/* A link row between two objects. Both sides of a relationship may report it: it is written once, and always
   as a row of the side that was declared first. */
static void add_link(lua_State *L, orr_flush *f, int near, int far, int number, orr_unit_kind kind) {
  orr_class *class = ((orr_instance *)lua_touserdata(L, near))->class;
  const orr_relationship *relation = &class->relations[number];
  if (relation->second) {
    int other = near;
    near = far;
    far = other;
    class = relation->target;
    number = relation->reverse;
    relation = &class->relations[number];
  }
  uint32_t first = orr_flush_number(L, f, near), second = orr_flush_number(L, f, far);
  orr_flush_record *r = orr_flush_add_record(L, f, kind, class, first);
  r->other = second;
  r->relation = number;
  if (relation->reverse < 0)
    f->record_count++;
  else
    enter_link(L, f);
}

/* ---- what changed in a relation ---- */

static orr_flush_items one_item(lua_State *L, int index) {
  return (orr_flush_items){index, lua_isuserdata(L, index), NULL};
}

static void push_scalar_history(lua_State *L, const orr_instance *object, int index, int number,
                                orr_flush_past *h) {
  orr_instance_held(L, object, index, number);
  int now = lua_gettop(L);
  orr_instance_getuser(L, object, index, -orr_user_relation(object->class, number));
  bool has_old = !lua_isnil(L, -1);
  if (!has_old && object->state == ORR_PERSISTENT) {
    lua_pushvalue(L, now);
    lua_replace(L, now + 1);
  }
  h->now = one_item(L, now);
  h->before = one_item(L, now + 1);
  h->scalar = true;
  h->changed = has_old || (object->state == ORR_PENDING && h->now.count);
}

static void push_list_history(lua_State *L, const orr_instance *object, int list_index, orr_flush_past *h) {
  const orr_collection *list = lua_touserdata(L, list_index);
  h->now = h->before = (orr_flush_items){list_index, list->count, list};
  h->stray = list->stray;
  if (list->kept) {
    orr_collection_field(L, list_index, ORR_COLLECTION_OLD);
    h->before = (orr_flush_items){list_index + 1, (uint32_t)orr_rawlen(L, -1), NULL};
    h->changed = true;
  } else if (object->state == ORR_PENDING) {
    h->before.count = 0;
    h->changed = list->count;
  }
}

bool orr_flush_history(lua_State *L, orr_instance *object, int index, int number, orr_flush_past *h) {
  const orr_relationship *relation = &object->class->relations[number];
  memset(h, 0, sizeof *h);
  if (!orr_instance_is_linked(object))
    return false;
  if (!(relation->flags & ORR_RELATION_LIST)) {
    push_scalar_history(L, object, index, number, h);
    return h->changed || h->now.count;
  }
  orr_instance_held(L, object, index, number);
  if (!lua_isuserdata(L, -1))
    return false;
  push_list_history(L, object, lua_gettop(L), h);
  return true;
}

void orr_flush_item(lua_State *L, const orr_flush_items *items, uint32_t at) {
  if (items->list)
    orr_collection_item(L, items->list, items->index, at);
  else if (lua_istable(L, items->index))
    lua_rawgeti(L, items->index, (int)at);
  else
    lua_pushvalue(L, items->index);
}

typedef void (*visit)(lua_State *L, orr_flush *f, int object, int item, int number);

/* The items that were met: a short list is searched, a long one has a table of them. */
enum { SHORT_LIST = 16 };
typedef struct item_set {
  const void *few[SHORT_LIST];
  uint32_t count;
  int table; /* 0: there is none */
} item_set;

/* Enters the item on top; false where it was met before. */
static bool meet(lua_State *L, item_set *set) {
  const void *item = lua_touserdata(L, -1);
  if (!set->table) {
    for (uint32_t i = 0; i < set->count; i++)
      if (set->few[i] == item)
        return false;
    set->few[set->count++] = item;
    return true;
  }
  lua_pushvalue(L, -1);
  lua_rawget(L, set->table);
  bool known = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (known)
    return false;
  lua_pushvalue(L, -1);
  lua_pushboolean(L, 1);
  lua_rawset(L, set->table);
  return true;
}

/* Visits each item that is not among the first `without` of the others; once each. */
static void visit_list(lua_State *L, orr_flush *f, int object, int number, const orr_flush_items *items,
                       const orr_flush_items *others, uint32_t without, visit what) {
  int top = lua_gettop(L);
  item_set met;
  met.count = 0;
  met.table = 0;
  if (items->count > SHORT_LIST || without > SHORT_LIST - items->count) {
    lua_createtable(L, 0, (int)items->count);
    met.table = lua_gettop(L);
  }
  int base = lua_gettop(L);
  for (uint32_t i = 1; i <= without; i++) {
    orr_flush_item(L, others, i);
    meet(L, &met);
    lua_settop(L, base);
  }
  for (uint32_t i = 1; i <= items->count; i++) {
    orr_flush_item(L, items, i);
    if (meet(L, &met))
      what(L, f, object, base + 1, number);
    lua_settop(L, base);
  }
  lua_settop(L, top);
}

/* The same for what a relation holds now without what it held before, or (`gone`) the other way round.
   `without` is how much of the other one counts. */
static void visit_difference(lua_State *L, orr_flush *f, int object, int number, const orr_flush_past *h,
                             bool gone, uint32_t without, visit what) {
  const orr_flush_items *items = gone ? &h->before : &h->now, *others = gone ? &h->now : &h->before;
  if (!h->scalar)
    visit_list(L, f, object, number, items, others, without, what);
  else if (items->count && !(without && lua_rawequal(L, items->index, others->index)))
    what(L, f, object, items->index, number);
}

/* ---- collecting ---- */

/* Pushes a function of Lua's that may end in one of the script's. */
static void push_script(lua_State *L, orr_flush *f, const char *name) {
  f->heard = true;
  orr_push_hook(L, name);
}

/* Notes that what stands at `item` is not saved along, for warn_of_strays(). */
static void note_stray(lua_State *L, const orr_flush *f, const orr_instance *object, int number, int item) {
  lua_getfield(L, f->me, "strays");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, f->me, "strays");
  }
  int strays = lua_gettop(L), count = (int)orr_rawlen(L, strays);
  orr_class_push(L, object->class);
  lua_rawseti(L, strays, count + 1);
  lua_pushinteger(L, object->class->column_count + number + 1);
  lua_rawseti(L, strays, count + 2);
  lua_pushvalue(L, item);
  lua_rawseti(L, strays, count + 3);
  lua_pop(L, 1);
}

/* After the passes: whoever is warned may change the relations that they go through. */
static void warn_of_strays(lua_State *L, orr_flush *f) {
  int top = lua_gettop(L);
  lua_getfield(L, f->me, "strays");
  int count = lua_isnil(L, -1) ? 0 : (int)orr_rawlen(L, -1);
  for (int i = 1; i <= count; i += 3) {
    push_script(L, f, "not_in_session");
    for (int part = 0; part < 3; part++)
      lua_rawgeti(L, top + 1, i + part);
    lua_call(L, 3, 0);
  }
  lua_settop(L, top);
}

static bool takes_part(lua_State *L, orr_flush *f, int object, int item, int number) {
  const orr_instance *other = lua_touserdata(L, item);
  if (orr_flush_holds(f, other))
    return true;
  note_stray(L, f, lua_touserdata(L, object), number, item);
  return false;
}

static const orr_relationship *relation_at(lua_State *L, int object, int number) {
  return &((orr_instance *)lua_touserdata(L, object))->class->relations[number];
}

/* The list of a parent that is not in the session has a child that counts as written from now on. */
static void note_parting(lua_State *L, int parent, const orr_relationship *relation) {
  orr_instance *object = lua_touserdata(L, parent);
  if (relation->reverse < 0 || !(object->class->relations[relation->reverse].flags & ORR_RELATION_LIST))
    return;
  orr_instance_held(L, object, parent, relation->reverse);
  orr_collection *list = lua_touserdata(L, -1);
  if (list)
    list->stray = true;
  lua_pop(L, 1);
}

/* What is deleted in this very flush is no longer there to refer to. */
static void refer_to(lua_State *L, orr_flush *f, int object, int item, int number) {
  if (!takes_part(L, f, object, item, number)) {
    note_parting(L, item, relation_at(L, object, number));
    return;
  }
  if (orr_flush_deleting(lua_touserdata(L, item)))
    orr_flush_blank_key(L, f, object, relation_at(L, object, number), true);
  else
    orr_flush_refer(L, f, item, object, relation_at(L, object, number), true);
}

static void adopt(lua_State *L, orr_flush *f, int object, int item, int number) {
  if (takes_part(L, f, object, item, number))
    orr_flush_refer(L, f, object, item, relation_at(L, object, number), false);
}

static void add_link_row(lua_State *L, orr_flush *f, int object, int item, int number) {
  if (takes_part(L, f, object, item, number) && !orr_flush_deleting(lua_touserdata(L, item)))
    add_link(L, f, object, item, number, ORR_UNIT_LINK_INSERT);
}

/* Whether all link rows of the object at `index` in a relation go with it, by its key: what they lead to need
   not be known. Where it is not, the script may have left it to the database. */
static bool goes_by_key(lua_State *L, const orr_flush *f, int index, int number) {
  orr_instance *object = lua_touserdata(L, index);
  orr_flush_past h;
  int top = lua_gettop(L);
  if (number < 0 || !object->action || f->entries[object->action - 1].kind != ORR_UNIT_DELETE)
    return false;
  unsigned about = object->class->relations[number].flags;
  bool goes = about & ORR_RELATION_WIPES && !(about & ORR_RELATION_VIEWONLY) &&
              (!(about & ORR_RELATION_PASSIVE) || orr_flush_history(L, object, index, number, &h));
  lua_settop(L, top);
  return goes;
}

static bool has_link_row(const orr_flush *f, const orr_instance *other) {
  return orr_flush_holds(f, other) && other->state == ORR_PERSISTENT;
}

static void drop_link_row(lua_State *L, orr_flush *f, int object, int item, int number) {
  if (has_link_row(f, lua_touserdata(L, item)) &&
      !goes_by_key(L, f, item, relation_at(L, object, number)->reverse))
    add_link(L, f, object, item, number, ORR_UNIT_LINK_DELETE);
}

/* Counts into the record after the last one. A row between two deleted objects may have gone with the other
   one. */
static void count_link_row(lua_State *L, orr_flush *f, int object, int item, int number) {
  const orr_instance *other = lua_touserdata(L, item);
  orr_flush_record *r = &f->records[f->record_count];
  (void)object, (void)number;
  if (!has_link_row(f, other))
    return;
  r->next++;
  r->other += !orr_flush_deleting(other);
}

static orr_flush_record *new_wipe(lua_State *L, orr_flush *f, int object, int number) {
  const orr_instance *owner = lua_touserdata(L, object);
  orr_flush_record *r = orr_flush_add_record(L, f, ORR_UNIT_LINK_DELETE, owner->class, owner->action);
  r->relation = number;
  r->wipes = true;
  return r;
}

/* All link rows of a deleted object go at once. */
static void wipe_link_rows(lua_State *L, orr_flush *f, int object, int number, const orr_flush_past *h) {
  new_wipe(L, f, object, number);
  visit_difference(L, f, object, number, h, true, 0, count_link_row);
  f->record_count += f->records[f->record_count].next > 0;
}

/* The same, however many there are. */
static void wipe_unknown(lua_State *L, orr_flush *f, int object, int number) {
  new_wipe(L, f, object, number)->next = UINT32_MAX;
  f->record_count++;
}

/* Whether the foreign key of the object at `item` still is the key of the object at `owner`. */
static bool still_refers(lua_State *L, int owner, int item, const orr_relationship *relation) {
  orr_instance *parent = lua_touserdata(L, owner), *child = lua_touserdata(L, item);
  for (int p = 0; p < relation->pair_count; p++) {
    orr_value key, foreign;
    int column = relation->pairs[p].far;
    orr_instance_value(L, parent, owner, relation->pairs[p].near, &key);
    orr_instance_value(L, child, item, column, &foreign);
    if (!(orr_tags(child)[column] & ORR_UNLOADED) && !orr_value_same(&key, &foreign))
      return false;
  }
  return true;
}

static bool is_in_key(const orr_class *class, const orr_relationship *relation) {
  bool in_key = false;
  for (int p = 0; p < relation->pair_count; p++)
    in_key |= (class->columns[relation->pairs[p].far].flags & ORR_COLUMN_KEY) != 0;
  return in_key;
}

static void add_orphan(lua_State *L, orr_flush *f, uint32_t from, uint32_t to,
                       const orr_relationship *relation) {
  f->orphans = orr_flush_grow(L, f, f->orphans, &f->orphan_room, f->orphan_count + 1, sizeof *f->orphans);
  f->orphans[f->orphan_count++] = (orr_flush_sync){from, to, relation, false, 0};
}

/* Whether an object that is new in this flush gives the foreign key of `relation` its value. */
static bool is_awaited(const orr_flush *f, uint32_t to, const orr_relationship *relation) {
  bool awaited = false;
  for (uint32_t at = f->entries[to - 1].first_sync; at && !awaited; at = f->syncs[at - 1].next) {
    const orr_flush_sync *sync = &f->syncs[at - 1];
    const orr_pair *pair = &sync->relation->pairs[0];
    for (int p = 0; p < relation->pair_count; p++)
      awaited |= relation->pairs[p].far == (sync->from_far ? pair->near : pair->far);
  }
  return awaited;
}

/* After the second pass: who has got no other parent cannot stay. */
static void check_orphans(lua_State *L, orr_flush *f) {
  int top = lua_gettop(L);
  for (size_t i = 0; i < f->orphan_count; i++) {
    const orr_flush_sync *orphan = &f->orphans[i];
    lua_rawgeti(L, f->objects, (int)orphan->from);
    lua_rawgeti(L, f->objects, (int)orphan->to);
    if (still_refers(L, top + 1, top + 2, orphan->relation) && !is_awaited(f, orphan->to, orphan->relation))
      orr_flush_blank_key(L, f, top + 2, orphan->relation, false);
    lua_settop(L, top);
  }
}

static void release(lua_State *L, orr_flush *f, int object, int item, int number) {
  const orr_relationship *relation = relation_at(L, object, number);
  orr_instance *child = lua_touserdata(L, item);
  if (!orr_flush_holds(f, child) || orr_flush_deleting(child) || child->state != ORR_PERSISTENT)
    return;
  if (!still_refers(L, object, item, relation))
    return;
  uint32_t to = orr_flush_number(L, f, item);
  if (is_in_key(child->class, relation))
    add_orphan(L, f, ((orr_instance *)lua_touserdata(L, object))->action, to, relation);
  else
    orr_flush_blank_key(L, f, item, relation, false);
}

/* Whether the other side of the pair writes the foreign key. */
static bool mirrored(const orr_relationship *relation) {
  return relation->reverse >= 0 &&
         !(relation->target->relations[relation->reverse].flags & ORR_RELATION_VIEWONLY);
}

/* First pass: foreign keys to NULL, link rows away; so that the second pass has the last word. */
static void loosen(lua_State *L, orr_flush *f, int object, int number, const orr_flush_past *h) {
  const orr_relationship *relation = relation_at(L, object, number);
  bool deleting = orr_flush_deleting(lua_touserdata(L, object));
  uint32_t keep = deleting ? 0 : h->now.count;
  if (relation->direction == ORR_MANY_TO_ONE) {
    if (!deleting && h->changed && h->now.count == 0)
      orr_flush_blank_key(L, f, object, relation, true);
  } else if (relation->direction == ORR_MANY_TO_MANY) {
    if (deleting && relation->flags & ORR_RELATION_WIPES)
      wipe_link_rows(L, f, object, number, h);
    else if (deleting || h->changed)
      visit_difference(L, f, object, number, h, true, keep, drop_link_row);
  } else if (deleting ? !(relation->flags & ORR_RELATION_LEAVES) : h->changed && !mirrored(relation)) {
    visit_difference(L, f, object, number, h, true, keep, release);
  }
}

/* Whether the object at `item` holds the one at `owner` since it was last written. */
static bool held_it_then(lua_State *L, int owner, int item, int relation) {
  orr_instance *object = lua_touserdata(L, item);
  orr_instance_held(L, object, item, relation);
  orr_instance_getuser(L, object, item, -orr_user_relation(object->class, relation));
  bool held = lua_rawequal(L, -2, owner) && lua_isnil(L, -1);
  lua_pop(L, 2);
  return held;
}

/* The child writes its foreign key itself, unless it was written when its parent was not in the session. */
static void adopt_stray(lua_State *L, orr_flush *f, int object, int item, int number) {
  const orr_relationship *relation = relation_at(L, object, number);
  const orr_instance *child = lua_touserdata(L, item);
  if (takes_part(L, f, object, item, number) && child->state == ORR_PERSISTENT &&
      held_it_then(L, object, item, relation->reverse))
    orr_flush_refer(L, f, object, item, relation, false);
}

bool orr_flush_key_moved(orr_instance *object, const orr_relationship *relation) {
  if (object->state != ORR_PERSISTENT || relation->direction != ORR_ONE_TO_MANY)
    return false;
  for (int p = 0; p < relation->pair_count; p++)
    if (orr_tags(object)[relation->pairs[p].near] & ORR_CHANGED)
      return true;
  return false;
}

/* Second pass: foreign keys from parents, new link rows. */
static void fasten(lua_State *L, orr_flush *f, int object, int number, const orr_flush_past *h) {
  const orr_relationship *relation = relation_at(L, object, number);
  uint32_t known = ((orr_instance *)lua_touserdata(L, object))->state == ORR_PENDING ? 0 : h->before.count;
  if (relation->flags & ORR_RELATION_SYNC_KEYS && orr_flush_key_moved(lua_touserdata(L, object), relation))
    visit_difference(L, f, object, number, h, false, 0, adopt);
  if (!h->changed)
    return;
  if (relation->direction == ORR_MANY_TO_ONE) {
    if (h->now.count)
      refer_to(L, f, object, h->now.index, number);
  } else if (relation->direction == ORR_MANY_TO_MANY) {
    visit_difference(L, f, object, number, h, false, known, add_link_row);
  } else if (!mirrored(relation)) {
    visit_difference(L, f, object, number, h, false, known, adopt);
  } else if (h->stray || h->scalar || !(relation->flags & ORR_RELATION_SAVE_UPDATE)) {
    visit_difference(L, f, object, number, h, false, known, adopt_stray);
  }
}

typedef void (*pass)(lua_State *L, orr_flush *f, int object, int number, const orr_flush_past *h);

/* Whether note number `i` is the last one about its item. */
static bool last_note(lua_State *L, int notes, int item, int i) {
  bool last = true;
  for (int later = i + 1; later <= (int)orr_rawlen(L, notes) && last; later++) {
    lua_rawgeti(L, notes, later);
    lua_rawgeti(L, -1, 1);
    last = !lua_rawequal(L, -1, item);
    lua_pop(L, 2);
  }
  return last;
}

/* Items that the other side has put into an unloaded collection, and that are not saved along. */
static void find_noted(lua_State *L, orr_flush *f, int object, int number) {
  orr_instance *owner = lua_touserdata(L, object);
  orr_instance_getuser(L, owner, object, orr_user_backlog(owner->class, number));
  int notes = lua_gettop(L);
  for (int i = 1; i <= (int)orr_rawlen(L, notes); i++) {
    lua_rawgeti(L, notes, i);
    lua_rawgeti(L, notes + 1, 2);
    lua_rawgeti(L, notes + 1, 1);
    if (lua_toboolean(L, notes + 2) && !orr_flush_holds(f, lua_touserdata(L, notes + 3)) &&
        last_note(L, notes, notes + 3, i))
      note_stray(L, f, owner, number, notes + 3);
    lua_settop(L, notes);
  }
}

static bool has_wipes(const orr_class *class) {
  for (int r = 0; r < class->relation_count; r++)
    if (class->relations[r].flags & ORR_RELATION_WIPES)
      return true;
  return false;
}

/* Whether a pass has anything to do with an object: what has no row holds on to nothing, nor does what holds
   the same as before; and what is deleted takes nothing in. */
static bool may_hold(const orr_flush *f, uint32_t n, pass what) {
  const orr_flush_entry *entry = &f->entries[n - 1];
  if (what == loosen
          ? entry->kind == ORR_UNIT_INSERT || (entry->kind == ORR_UNIT_UPDATE && !f->session->moved)
          : entry->kind == ORR_UNIT_DELETE)
    return false;
  return entry->linked || (entry->kind == ORR_UNIT_DELETE && has_wipes(entry->class));
}

/* Whether a pass must know what a relation of the object holds. */
static bool concerns(const orr_flush_entry *entry, const orr_relationship *relation, pass what) {
  if (relation->flags & ORR_RELATION_VIEWONLY)
    return false;
  if (entry->kind == ORR_UNIT_DELETE)
    return relation->direction != ORR_MANY_TO_ONE;
  if (entry->kind == ORR_UNIT_INSERT || entry->object->flags & ORR_MOVED)
    return true;
  return what == fasten && relation->flags & ORR_RELATION_SYNC_KEYS &&
         orr_flush_key_moved(entry->object, relation);
}

/* Whether a relation of the object that a pass comes to is what the object was loaded with. */
static bool is_fresh(const orr_flush *f, const orr_flush_entry *entry) {
  return entry->kind != ORR_UNIT_DELETE || entry->object->epoch == f->session->epoch;
}

/* What a pass has to do with one relation of the object at `index`. */
static void pass_relation(lua_State *L, orr_flush *f, uint32_t n, int index, int r, pass what) {
  const orr_flush_entry *entry = &f->entries[n - 1];
  const orr_relationship *relation = &entry->class->relations[r];
  orr_flush_past h;
  if (concerns(entry, relation, what) && is_fresh(f, entry) &&
      orr_flush_history(L, entry->object, index, r, &h))
    what(L, f, index, r, &h);
  else if (entry->kind == ORR_UNIT_DELETE && goes_by_key(L, f, index, r))
    wipe_unknown(L, f, index, r);
  else if (what == fasten && entry->object->flags & ORR_HAS_USER &&
           (relation->flags & (ORR_RELATION_LIST | ORR_RELATION_VIEWONLY)) == ORR_RELATION_LIST)
    find_noted(L, f, index, r);
}

/* Runs a pass over every relation of every object; objects that it brings in are passed as well. */
static void run_pass(lua_State *L, orr_flush *f, pass what) {
  int top = lua_gettop(L);
  for (uint32_t n = 1; n <= f->count; n++) {
    if (!may_hold(f, n, what))
      continue;
    orr_flush_object(L, f, n);
    for (int r = 0; r < f->entries[n - 1].class->relation_count; r++) {
      pass_relation(L, f, n, top + 1, r, what);
      lua_settop(L, top + 1);
    }
    lua_settop(L, top);
  }
}

/* The list of changed objects may still hold some that were expired, or have left the session, since. */
static bool is_due(const orr_flush *f, const orr_instance *object, orr_unit_kind kind) {
  if (!object || object->action)
    return false;
  if (kind != ORR_UNIT_UPDATE)
    return true;
  return orr_flush_holds(f, object) && object->state == ORR_PERSISTENT && object->flags & ORR_DIRTY;
}

/* Pushes some of the objects in the list at `table`, from number `first` on, and has them fetched. */
static void push_some(lua_State *L, int table, uint32_t first, uint32_t count, orr_instance **objects) {
  for (uint32_t i = 0; i < count; i++) {
    lua_rawgeti(L, table, (int)(first + i));
    objects[i] = lua_touserdata(L, -1);
    if (objects[i])
      orr_flush_fetch(objects[i]);
  }
}

enum { SOME = 16 };

/* Returns whether there are some that are not due. */
static bool enter_list(lua_State *L, orr_flush *f, int list, uint32_t count, orr_unit_kind kind) {
  bool idle = false;
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, list);
  int table = lua_gettop(L);
  for (uint32_t done = 0; done < count; done += SOME) {
    orr_instance *objects[SOME];
    uint32_t some = count - done < SOME ? count - done : SOME;
    push_some(L, table, done + 1, some, objects);
    for (uint32_t i = 0; i < some; i++)
      if (is_due(f, objects[i], kind))
        orr_flush_enter(L, f, table + 1 + (int)i, kind);
      else
        idle = true;
    lua_settop(L, table);
  }
  lua_pop(L, 2);
  return idle;
}

/* Whoever has nothing to write leaves the list of changed objects, and knows it: the next change enters them
   again. */
static void drop_idle(lua_State *L, orr_flush *f) {
  orr_session *session = f->session;
  uint32_t kept = 0;
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, ORR_SESSION_DIRTY);
  for (uint32_t i = 1; i <= session->dirty_count; i++) {
    lua_rawgeti(L, -1, (int)i);
    orr_instance *object = lua_touserdata(L, -1);
    bool ours = object && object->session == session->number;
    if (ours && !object->action)
      object->flags &= (uint16_t) ~(ORR_DIRTY | ORR_LISTED);
    if (ours && object->action)
      lua_rawseti(L, -2, (int)++kept);
    else
      lua_pop(L, 1);
  }
  for (uint32_t i = kept + 1; i <= session->dirty_count; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (int)i);
  }
  session->dirty_count = kept;
  lua_pop(L, 2);
}

/* Asks the script's generator, where the class has one; else counts on from the version at `value`. */
static void next_version(lua_State *L, orr_flush *f, const orr_class *class, orr_value *value,
                         char *scratch) {
  orr_error error;
  if (!class->version_hook) {
    if (value->tag == ORR_INT && value->as.i == INT64_MAX)
      orr_attribute_error(L, class, class->version, "FlushError", "no integer comes after this version");
    value->as.i = value->tag == ORR_INT ? value->as.i + 1 : 1;
    value->tag = ORR_INT;
    value->len = 0;
    return;
  }
  push_script(L, f, "version");
  orr_class_push(L, class);
  if (value->tag == ORR_NULL)
    lua_pushnil(L);
  else
    orr_type_push(L, &class->columns[class->version].type, value);
  lua_call(L, 2, 1);
  orr_error_clear(&error);
  if (orr_type_take(L, -1, &class->columns[class->version].type, value, scratch, &error) != 0)
    orr_attribute_error(L, class, class->version, error.kind, error.message);
}

orr_value orr_flush_version(lua_State *L, orr_instance *object, int index) {
  int column = object->class->version;
  orr_value value;
  orr_instance_value(L, object, index, column, &value);
  if (orr_tags(object)[column] & ORR_CHANGED && !orr_instance_old(L, object, index, column, &value))
    value.tag = ORR_NULL;
  return value;
}

void orr_flush_count_version(lua_State *L, orr_flush *f, int index, int former) {
  orr_instance *object = lua_touserdata(L, index);
  int column = object->class->version, top = lua_gettop(L);
  orr_value value = orr_flush_version(L, lua_touserdata(L, former), former);
  char scratch[ORR_TYPE_SCRATCH];
  orr_flush_note(L, f, object, index, column);
  orr_instance_keep_old(L, object, index, column);
  unsigned changed = orr_tags(object)[column] & ORR_CHANGED;
  next_version(L, f, object->class, &value, scratch);
  orr_instance_put(L, object, index, column, &value);
  orr_tags(object)[column] |= (unsigned char)changed;
  lua_settop(L, top);
}

/* Whether versions are made here, not by the database. */
static bool counts_versions(const orr_class *class) {
  return class->version >= 0 && !(class->columns[class->version].flags & ORR_COLUMN_COMPUTED);
}

/* Gives new objects what they were not given, in the columns with some of the flags `what`: constants and
   functions of the script's. */
static void apply_defaults(lua_State *L, orr_flush *f, uint32_t n, unsigned what) {
  orr_instance *object = orr_flush_object(L, f, n);
  int index = lua_gettop(L);
  for (int c = 0; c < object->class->column_count; c++) {
    unsigned flags = object->class->columns[c].flags;
    if (!(flags & ORR_COLUMN_DEFAULT) || !(flags & what) || !(orr_tags(object)[c] & ORR_UNLOADED))
      continue;
    push_script(L, f, "default");
    orr_class_push(L, object->class);
    lua_pushinteger(L, c + 1);
    lua_pushvalue(L, index);
    lua_call(L, 3, 1);
    orr_flush_note(L, f, object, index, c);
    orr_instance_assign(L, object, index, c, lua_gettop(L));
    lua_settop(L, index);
  }
  lua_pop(L, 1);
}

static void start_version(lua_State *L, orr_flush *f, uint32_t n) {
  orr_instance *object = orr_flush_object(L, f, n);
  int index = lua_gettop(L);
  if (counts_versions(object->class) && orr_tags(object)[object->class->version] & ORR_UNLOADED)
    orr_flush_count_version(L, f, index, index);
  lua_pop(L, 1);
}

static bool has_defaults(const orr_flush *f, uint32_t n) {
  return f->entries[n - 1].kind == ORR_UNIT_INSERT && f->entries[n - 1].class->has_defaults;
}

/* A new object whose key is that of a deleted one updates its row. Where the two are of different classes of
   a hierarchy their rows are not alike: the former ones go first, and what refers to them waits for the new
   ones. */
static void take_over(orr_flush *f, uint32_t n, const orr_instance *former) {
  orr_flush_entry *entry = &f->entries[n - 1], *deleted = &f->entries[former->action - 1];
  if (former->class != entry->class) {
    deleted->early = f->defers = true;
    return;
  }
  entry->switched = entry->written = deleted->switched = f->unordered = true;
  entry->former = former->action;
}

static bool has_key(orr_instance *parent, const orr_flush_sync *sync) {
  for (int p = 0; p < sync->relation->pair_count; p++) {
    const orr_pair *pair = &sync->relation->pairs[p];
    if ((orr_tags(parent)[sync->from_far ? pair->far : pair->near] & ORR_TAG) == ORR_NULL)
      return false;
  }
  return true;
}

/* Foreign keys of new parents that were given their keys: they may be part of the key of the object at
   `index`. */
static void take_given_keys(lua_State *L, orr_flush *f, uint32_t n, int index) {
  for (uint32_t s = f->entries[n - 1].first_sync; s; s = f->syncs[s - 1].next) {
    orr_instance *parent = orr_flush_object(L, f, f->syncs[s - 1].from);
    if (has_key(parent, &f->syncs[s - 1]))
      orr_flush_copy_key(L, f, lua_gettop(L), index, f->syncs[s - 1].relation, f->syncs[s - 1].from_far);
    lua_pop(L, 1);
  }
}

static void switch_row(lua_State *L, orr_flush *f, uint32_t n, int weak) {
  int top = lua_gettop(L);
  orr_instance *object = orr_flush_object(L, f, n);
  take_given_keys(L, f, n, top + 1);
  orr_value values[ORR_MAX_KEY];
  orr_key key;
  if (orr_instance_key(L, object, top + 1, false, values)) {
    size_t size = orr_key_size(values, object->class->key_count);
    char *bytes = size ? lua_newuserdata(L, size) : NULL;
    orr_key_make(&key, object->class->id, values, object->class->key_count, bytes);
    const orr_instance *former = orr_session_find(L, f->session, &key, weak);
    if (former && former->action && f->entries[former->action - 1].kind == ORR_UNIT_DELETE)
      take_over(f, n, former);
  }
  lua_settop(L, top);
}

static uint32_t count_switched(const orr_flush *f) {
  uint32_t count = 0;
  for (uint32_t n = 1; n <= f->count; n++)
    count += f->entries[n - 1].switched;
  return count;
}

/* Until no more is found: the key of one new object may be part of the next one's. */
static void switch_rows(lua_State *L, orr_flush *f) {
  uint32_t before;
  orr_getuservalue(L, 2);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  do {
    before = count_switched(f);
    for (uint32_t n = 1; n <= f->count; n++)
      if (f->entries[n - 1].kind == ORR_UNIT_INSERT && !f->entries[n - 1].switched)
        switch_row(L, f, n, lua_gettop(L));
  } while (count_switched(f) > before);
  lua_pop(L, 2);
}

/* A row that is taken over has its defaults from before. Whether one is, the key says, which the parents are
   part of. */
static void prepare_inserts(lua_State *L, orr_flush *f) {
  for (uint32_t n = 1; n <= f->count && f->session->deleted_count; n++)
    if (has_defaults(f, n))
      apply_defaults(L, f, n, ORR_COLUMN_KEY);
  if (f->session->deleted_count)
    switch_rows(L, f);
  for (uint32_t n = 1; n <= f->count; n++)
    if (has_defaults(f, n) && !orr_flush_switched(f, n)) {
      apply_defaults(L, f, n, ORR_COLUMN_DEFAULT);
      start_version(L, f, n);
    }
}

/* Order of updates: by table, then by primary key. */
typedef struct update_key {
  uint32_t object, group, sequence;
  int64_t number;
  orr_class *row;
} update_key;

static int by_key(const void *left, const void *right) {
  const update_key *a = left, *b = right;
  if (a->group != b->group)
    return a->group < b->group ? -1 : 1;
  if (a->number != b->number)
    return a->number < b->number ? -1 : 1;
  return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

/* Pushes the order in which unique values can change hands between the rows. */
static const uint32_t *push_order(lua_State *L, orr_flush *f, const update_key *keys, size_t count) {
  uint32_t *order = lua_newuserdata(L, 2 * count * sizeof *order), *objects = order + count;
  orr_class **rows = lua_newuserdata(L, count * sizeof *rows);
  for (size_t i = 0; i < count; i++) {
    objects[i] = keys[i].object;
    rows[i] = keys[i].row;
  }
  orr_flush_order_updates(L, f, objects, rows, count, order);
  return order;
}

static bool is_updated(const orr_flush *f, uint32_t n) {
  orr_unit_kind kind = f->entries[n - 1].kind;
  return kind == ORR_UNIT_UPDATE || (kind == ORR_UNIT_INSERT && orr_flush_switched(f, n));
}

/* Fills `keys` with the rows that are updated, in order, and returns how many these are. */
static size_t list_updates(lua_State *L, const orr_flush *f, update_key *keys) {
  size_t count = 0;
  for (uint32_t n = 1; n <= f->count; n++) {
    if (!is_updated(f, n))
      continue;
    orr_instance *object = orr_flush_object(L, f, n);
    int64_t number = orr_flush_key_number(L, object, lua_gettop(L));
    lua_pop(L, 1);
    for (orr_class *row = f->entries[n - 1].class; row; row = row->above) {
      update_key key = {n, row->group, n, number, row};
      keys[count++] = key;
    }
  }
  qsort(keys, count, sizeof *keys, by_key);
  return count;
}

static void add_update_record(lua_State *L, orr_flush *f, uint32_t n, orr_class *row) {
  orr_flush_add_record(L, f, ORR_UNIT_UPDATE, row, n);
  f->record_count++;
}

static void sort_update_records(lua_State *L, orr_flush *f, size_t most) {
  int top = lua_gettop(L);
  update_key *keys = lua_newuserdata(L, most * (size_t)f->rows * sizeof *keys);
  size_t count = list_updates(L, f, keys);
  const uint32_t *order = f->handover_count ? push_order(L, f, keys, count) : NULL;
  for (size_t i = 0; i < count; i++) {
    const update_key *key = &keys[order ? order[i] : i];
    add_update_record(L, f, key->object, key->row);
  }
  lua_settop(L, top);
}

static void add_update_records(lua_State *L, orr_flush *f) {
  if (f->handover_count || f->unordered) {
    sort_update_records(L, f, f->updates + count_switched(f));
    return;
  }
  for (uint32_t n = 1; f->updates && n <= f->count; n++)
    if (f->entries[n - 1].kind == ORR_UNIT_UPDATE)
      add_update_record(L, f, n, f->entries[n - 1].class);
}

/* The rows of an object from the topmost table on. */
static void add_rows(lua_State *L, orr_flush *f, orr_unit_kind kind, orr_class *class, uint32_t n) {
  if (class->above)
    add_rows(L, f, kind, class->above, n);
  if ((kind == ORR_UNIT_DELETE || kind == ORR_UNIT_EARLY_DELETE) && class->above && class->rows_cascade)
    return;
  orr_flush_add_record(L, f, kind, class, n);
  f->record_count++;
}

static void add_records(lua_State *L, orr_flush *f, orr_unit_kind kind) {
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == kind && !orr_flush_switched(f, n)) {
      add_rows(L, f, f->entries[n - 1].early ? ORR_UNIT_EARLY_DELETE : kind, f->entries[n - 1].class, n);
    }
}

static uint32_t group_of(const orr_flush_record *r) {
  return r->relation < 0 ? r->class->group : orr_flush_relation(r)->group;
}

/* Tells the unit of every record; returns whether some are of tables that refer to each other in a circle. */
static bool plan_actions(lua_State *L, orr_flush *f) {
  bool circles = false;
  orr_error error;
  orr_error_clear(&error);
  if (orr_unit_reserve(&f->unit, f->record_count, &error) != 0)
    orr_raise(L, &error);
  for (size_t i = 0; i < f->record_count; i++) {
    uint32_t group = group_of(&f->records[i]);
    if (orr_unit_add(&f->unit, group, (orr_unit_kind)f->records[i].kind, &error) < 0)
      orr_raise(L, &error);
    circles |= f->session->world->cyclic[group];
  }
  return circles;
}

static void plan_link(lua_State *L, orr_flush *f, uint32_t before, uint32_t after) {
  orr_error error;
  orr_error_clear(&error);
  if (orr_unit_link(&f->unit, before, after, &error) < 0)
    orr_raise(L, &error);
}

/* Where in the table of actions the row of object n stands that is in the table `group`. */
static size_t row_place(lua_State *L, orr_flush *f, uint32_t n, uint32_t group) {
  if (f->rows == 1)
    return n;
  const orr_class *class = orr_flush_object(L, f, n)->class;
  while (class->above && class->group != group)
    class = class->above;
  lua_pop(L, 1);
  return (size_t)n * (size_t)f->rows + (size_t) class->level;
}

/* `before` refers to `after` or is referred to by it, along a relation: `from_far` where the key that is
   referred to is on the relation's far side. */
static void plan_reference(lua_State *L, orr_flush *f, const uint32_t *actions, uint32_t before,
                           uint32_t after, const orr_relationship *relation, bool from_far) {
  uint32_t key = from_far ? relation->far_group : relation->near_group;
  uint32_t foreign = from_far ? relation->near_group : relation->far_group;
  uint32_t first = actions[row_place(L, f, before, key)], then = actions[row_place(L, f, after, foreign)];
  if (first != UINT32_MAX && then != UINT32_MAX)
    plan_link(L, f, first, then);
}

static bool is_cyclic(const orr_class *class) {
  while (class && !class->world->cyclic[class->group])
    class = class->above;
  return class != NULL;
}

/* The row of object n that is in the table `group`. */
static orr_class *row_of(const orr_flush *f, uint32_t n, uint32_t group) {
  orr_class *row = f->entries[n - 1].class;
  while (row->above && row->group != group)
    row = row->above;
  return row;
}

static bool is_going(const orr_flush *f, uint32_t n) {
  return n && f->entries[n - 1].kind == ORR_UNIT_DELETE && !orr_flush_switched(f, n);
}

/* Of two deleted objects at either end of a relation with post_update, the one with the foreign key lets go
 * first. */
static void let_go(lua_State *L, orr_flush *f, int object, int item, int number) {
  const orr_relationship *relation = relation_at(L, object, number);
  uint32_t n = ((orr_instance *)lua_touserdata(L, object))->action;
  uint32_t m = ((orr_instance *)lua_touserdata(L, item))->action;
  bool mine = relation->direction == ORR_MANY_TO_ONE;
  if (m != n && is_going(f, m) && (mine || !mirrored(relation)))
    orr_flush_add_post(L, f, 0, mine ? n : m, relation, mine);
}

static void let_go_of_deleted(lua_State *L, orr_flush *f, uint32_t n) {
  int top = lua_gettop(L);
  orr_instance *object = orr_flush_object(L, f, n);
  for (int r = 0; r < object->class->relation_count; r++) {
    orr_flush_past h;
    if (object->class->relations[r].flags & ORR_RELATION_POST_UPDATE &&
        orr_flush_history(L, object, top + 1, r, &h))
      visit_difference(L, f, top + 1, r, &h, true, 0, let_go);
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}

static void add_posts(lua_State *L, orr_flush *f) {
  for (uint32_t n = 1; n <= f->count && f->session->world->posts_updates; n++)
    if (is_going(f, n))
      let_go_of_deleted(L, f, n);
  for (size_t i = 0; i < f->post_count; i++) {
    const orr_flush_sync *post = &f->posts[i];
    uint32_t group = post->from_far ? post->relation->near_group : post->relation->far_group;
    orr_class *row = row_of(f, post->to, group);
    orr_flush_add_record(L, f, ORR_UNIT_POST_UPDATE, row, post->to)->other = (uint32_t)i + 1;
    f->record_count++;
  }
}

/* Deleted objects of a cyclic group order by the foreign keys they have: through what their relations hold.
 */
static void plan_delete_links(lua_State *L, orr_flush *f, uint32_t n, const uint32_t *actions) {
  int top = lua_gettop(L);
  const orr_class *class = f->entries[n - 1].class;
  if (!is_cyclic(class))
    return;
  orr_instance *object = orr_flush_object(L, f, n);
  for (int r = 0; r < class->relation_count; r++) {
    orr_flush_past h;
    const orr_relationship *relation = &class->relations[r];
    bool ordered = relation->direction != ORR_MANY_TO_MANY && !(relation->flags & ORR_RELATION_POST_UPDATE);
    if (ordered && orr_flush_history(L, object, top + 1, r, &h))
      for (uint32_t i = 1; i <= h.before.count; i++) {
        orr_flush_item(L, &h.before, i);
        const orr_instance *other = lua_touserdata(L, -1);
        uint32_t m = other->action;
        lua_pop(L, 1);
        if (m && f->entries[m - 1].kind == ORR_UNIT_DELETE && !orr_flush_switched(f, m))
          plan_reference(L, f, actions, relation->direction == ORR_MANY_TO_ONE ? m : n,
                         relation->direction == ORR_MANY_TO_ONE ? n : m, relation,
                         relation->direction == ORR_MANY_TO_ONE);
      }
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}

/* Pushes the action of each object's rows: of object n at n * f->rows, the topmost first. */
static const uint32_t *push_row_actions(lua_State *L, const orr_flush *f) {
  size_t rows = (size_t)f->rows, size = ((f->count + 1) * rows + 1) * sizeof(uint32_t);
  uint32_t *actions = lua_newuserdata(L, size);
  memset(actions, 0xFF, size);
  for (size_t i = 0; i < f->record_count; i++) {
    const orr_flush_record *r = &f->records[i];
    if (r->relation < 0 && r->kind != ORR_UNIT_SET_ASIDE && r->kind != ORR_UNIT_POST_UPDATE)
      actions[r->object * rows + (size_t)r->class->level] = (uint32_t)i;
  }
  return actions;
}

/* In a circle of tables the order of an object's own rows is not that of the tables. */
static void plan_rows(lua_State *L, orr_flush *f, const uint32_t *actions) {
  for (size_t i = 0; i < f->record_count; i++) {
    const orr_flush_record *r = &f->records[i];
    if (r->relation < 0 && r->kind != ORR_UNIT_SET_ASIDE && r->kind != ORR_UNIT_POST_UPDATE &&
        r->class->above && r->class->world->cyclic[r->class->group])
      plan_link(L, f, actions[r->object * (size_t)f->rows + (size_t)r->class->level - 1], (uint32_t)i);
  }
}

/* Which row must be there before which other one: among tables that refer to each other in a circle the order
   of the tables does not say. */
static void plan_links(lua_State *L, orr_flush *f) {
  const uint32_t *actions = push_row_actions(L, f);
  if (f->rows > 1)
    plan_rows(L, f, actions);
  for (size_t i = 0; i < f->sync_count; i++) {
    const orr_flush_sync *sync = &f->syncs[i];
    if (f->rows == 1)
      plan_link(L, f, actions[sync->from], actions[sync->to]);
    else
      plan_reference(L, f, actions, sync->from, sync->to, sync->relation, sync->from_far);
  }
  for (uint32_t n = 1; n <= f->count; n++)
    if (f->entries[n - 1].kind == ORR_UNIT_DELETE && !orr_flush_switched(f, n))
      plan_delete_links(L, f, n, actions);
  lua_pop(L, 1);
}

static void plan(lua_State *L, orr_flush *f) {
  orr_error error;
  const orr_world *world = f->session->world;
  if (plan_actions(L, f))
    plan_links(L, f);
  orr_error_clear(&error);
  if (orr_unit_plan(&f->unit, world->ranks, world->cyclic, &error) != 0)
    orr_raise(L, &error);
}

static void note_seen(orr_flush *f) {
  const orr_session *session = f->session;
  f->new_seen = session->new_count;
  f->dirty_seen = session->dirty_count;
  f->deleted_seen = session->deleted_count;
}

/* core.collect(flush): what is to be written, and in which order. May call the script's default functions. */
int orr_flush_collect(lua_State *L) {
  orr_flush *f = orr_flush_begin(L, 1);
  lua_getfield(L, f->me, "session");
  lua_insert(L, 2);
  f->me = f->objects = 3;
  orr_session *session = f->session;
  size_t expected = (size_t)session->deleted_count + session->new_count + session->dirty_count;
  f->entries = orr_flush_grow(L, f, f->entries, &f->entry_room, expected + 1, sizeof *f->entries);
  f->records = orr_flush_grow(L, f, f->records, &f->record_room, expected + 1, sizeof *f->records);
  enter_list(L, f, ORR_SESSION_DELETED, session->deleted_count, ORR_UNIT_DELETE);
  enter_list(L, f, ORR_SESSION_NEW, session->new_count, ORR_UNIT_INSERT);
  if (enter_list(L, f, ORR_SESSION_DIRTY, session->dirty_count, ORR_UNIT_UPDATE))
    drop_idle(L, f);
  note_seen(f); /* what functions of the script add from here on is the next flush's */
  run_pass(L, f, loosen);
  run_pass(L, f, fasten);
  check_orphans(L, f);
  warn_of_strays(L, f);
  prepare_inserts(L, f);
  orr_flush_find_handovers(L, f);
  add_update_records(L, f);
  add_records(L, f, ORR_UNIT_INSERT);
  add_records(L, f, ORR_UNIT_DELETE);
  add_posts(L, f);
  plan(L, f);
  return 0;
}
