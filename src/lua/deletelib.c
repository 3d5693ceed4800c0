/* deletelib: what a delete takes along. Objects are marked for the next flush, with what the delete cascade
   reaches through relations that are loaded; what is not is named, so that Lua loads it for all of them
   together. Deleting rows is the flush's work. */
#include "libs.h"
#include "mapped.h"

typedef struct going {
  orr_session *session;
  int list; /* stack index of the session's list of deleted objects */
  int out;  /* of what is found, where something is */
  int found;
} going;

static going begin(lua_State *L, int arguments) {
  going g = {orr_session_check(L, 1), 0, 0, 0};
  lua_settop(L, arguments);
  luaL_checkstack(L, 20, "delete");
  orr_getuservalue(L, 1);
  lua_rawgeti(L, -1, ORR_SESSION_DELETED);
  g.list = lua_gettop(L);
  return g;
}

/* ---- marking ---- */

/* What a write-only collection has is not known: what becomes of it is the database's matter, or the
 * script's. */
static void check_deletable(lua_State *L, const orr_class *class) {
  for (int r = 0; r < class->relation_count; r++) {
    unsigned about = class->relations[r].flags;
    if (!(about & ORR_RELATION_WRITE_ONLY) || about & (ORR_RELATION_PASSIVE | ORR_RELATION_VIEWONLY))
      continue;
    orr_push_hook(L, "undeletable");
    orr_class_push(L, class);
    lua_pushinteger(L, class->column_count + r + 1);
    lua_call(L, 2, 0);
  }
}

/* Marks the object at `item`; a new one leaves the session, and one that was expunged comes back into it.
   What a flush is inserting the next one will find, when the cascades are looked at again. */
static void mark(lua_State *L, going *g, int item) {
  orr_instance *object = lua_touserdata(L, item);
  const orr_session *present = orr_instance_session(object);
  if (!present && object->state == ORR_PERSISTENT) {
    orr_session_add(L, g->session, item);
    present = orr_instance_session(object);
  }
  if (object->flags & ORR_DELETING || present != g->session ||
      (object->state == ORR_PENDING && object->action))
    return;
  if (object->state == ORR_PENDING)
    orr_session_drop_new(L, g->session, object);
  if (object->state != ORR_PERSISTENT)
    return;
  check_deletable(L, object->class);
  lua_pushvalue(L, item);
  lua_rawseti(L, g->list, (int)++g->session->deleted_count);
  object->flags |= ORR_DELETING;
}

typedef void (*visit)(lua_State *L, going *g, int item);

static void visit_items(lua_State *L, going *g, int collection, visit what) {
  const orr_collection *items = lua_touserdata(L, collection);
  for (uint32_t i = 1; i <= items->count; i++) {
    orr_collection_item(L, items, collection, i);
    what(L, g, collection + 1);
    lua_pop(L, 1);
  }
}

/* Visits what relation `r` of the object at `index` holds, as far as that is loaded. */
static void visit_related(lua_State *L, going *g, int index, int r, visit what) {
  const orr_instance *object = lua_touserdata(L, index);
  orr_instance_held(L, object, index, r);
  int value = lua_gettop(L);
  if (lua_isuserdata(L, value) && object->class->relations[r].flags & ORR_RELATION_LIST)
    visit_items(L, g, value, what);
  else if (lua_isuserdata(L, value))
    what(L, g, value);
  lua_pop(L, 1);
}

static bool is_expired(const going *g, const orr_instance *object) {
  return object->epoch != g->session->epoch;
}

/* Visits what the delete cascades of the object on top hold; those with `left_out` do not count. */
static void visit_cascades(lua_State *L, going *g, unsigned left_out, visit what) {
  const orr_instance *object = lua_touserdata(L, -1);
  int index = lua_gettop(L);
  if (!object || !orr_instance_is_linked(object) || is_expired(g, object))
    return;
  for (int r = 0; r < object->class->relation_count; r++)
    if ((object->class->relations[r].flags & (ORR_RELATION_DELETES | left_out)) == ORR_RELATION_DELETES)
      visit_related(L, g, index, r, what);
}

/* core.delete(session, object [, alone]): marks an object that has a row, with what its cascades reach. */
static int delete (lua_State *L) {
  orr_instance_check(L, 2);
  going g = begin(L, 3);
  uint32_t at = g.session->deleted_count;
  mark(L, &g, 2);
  while (!lua_toboolean(L, 3) && at < g.session->deleted_count) {
    lua_rawgeti(L, g.list, (int)++at);
    visit_cascades(L, &g, 0, mark);
    lua_settop(L, g.list);
  }
  return 0;
}

/* ---- what is left ---- */

static void note(lua_State *L, going *g, int item) {
  const orr_instance *object = lua_touserdata(L, item);
  if (object->flags & ORR_DELETING || orr_instance_session(object) != g->session)
    return;
  lua_pushvalue(L, item);
  lua_rawseti(L, g->out, ++g->found);
}

/* core.reached(session, first) -> array of the objects, not marked themselves, that the cascades of deleted
   ones from position `first` on hold; the position behind the last of these */
static int reached(lua_State *L) {
  uint32_t at = (uint32_t)luaL_checkinteger(L, 2);
  going g = begin(L, 2);
  lua_newtable(L);
  g.out = lua_gettop(L);
  for (; at <= g.session->deleted_count; at++) {
    lua_rawgeti(L, g.list, (int)at);
    visit_cascades(L, &g, ORR_RELATION_PASSIVE, note);
    lua_settop(L, g.out);
  }
  lua_pushinteger(L, (lua_Integer)at);
  return 2;
}

/* Whether the link rows of an object go by columns that it has at hand: what they lead to need not be known.
   A primary key is never forgotten. */
static bool goes_by_key(const going *g, orr_instance *object, const orr_relationship *relation) {
  if (!(relation->flags & ORR_RELATION_WIPES))
    return false;
  for (int p = 0; p < relation->pair_count; p++) {
    int column = relation->pairs[p].near;
    if (!(object->class->columns[column].flags & ORR_COLUMN_KEY) &&
        (is_expired(g, object) || orr_tags(object)[column] & ORR_UNLOADED))
      return false;
  }
  return true;
}

/* Whether a flush must know what the relation of a deleted object holds: it cascades, or, where `all` of them
   count, the rows of what it holds change. */
static bool must_be_known(const going *g, orr_instance *object, const orr_relationship *relation, bool all) {
  unsigned about = relation->flags;
  if (about & ORR_RELATION_PASSIVE)
    return false;
  if (!all)
    return about & ORR_RELATION_DELETES;
  return !(about & ORR_RELATION_VIEWONLY) && !goes_by_key(g, object, relation) &&
         (relation->direction != ORR_MANY_TO_ONE || about & ORR_RELATION_POST_UPDATE);
}

static bool is_known(lua_State *L, const going *g, int index, int r) {
  orr_instance *object = lua_touserdata(L, index);
  bool known = !is_expired(g, object) && orr_relationship_get(L, object, index, r, false);
  lua_settop(L, index);
  return known;
}

/* Enters the object at `index` into the array of those that lack relation `r`; the arrays are at g->out, the
   attribute numbers behind it, and behind them the positions by relation. */
static void note_lack(lua_State *L, going *g, int index, int r) {
  const orr_class *class = ((orr_instance *)lua_touserdata(L, index))->class;
  orr_rawgetp(L, g->out + 2, &class->relations[r]);
  int place = (int)lua_tointeger(L, -1);
  if (!place) {
    place = ++g->found;
    lua_newtable(L);
    lua_rawseti(L, g->out, place);
    lua_pushinteger(L, class->column_count + r + 1);
    lua_rawseti(L, g->out + 1, place);
    lua_pushinteger(L, place);
    orr_rawsetp(L, g->out + 2, &class->relations[r]);
  }
  lua_rawgeti(L, g->out, place);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (int)orr_rawlen(L, -2) + 1);
  lua_settop(L, index);
}

/* core.unknown(session, first, all) -> arrays of the deleted objects from position `first` on that lack a
   relation which must be known, and, by the same positions, the number of that attribute */
static int unknown(lua_State *L) {
  uint32_t first = (uint32_t)luaL_checkinteger(L, 2);
  bool all = lua_toboolean(L, 3);
  going g = begin(L, 3);
  g.out = g.list + 1;
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  for (uint32_t at = first; at <= g.session->deleted_count; at++) {
    lua_rawgeti(L, g.list, (int)at);
    orr_instance *object = lua_touserdata(L, -1);
    int index = lua_gettop(L);
    for (int r = 0; object && r < object->class->relation_count; r++)
      if (must_be_known(&g, object, &object->class->relations[r], all) && !is_known(L, &g, index, r))
        note_lack(L, &g, index, r);
    lua_settop(L, index - 1);
  }
  lua_pop(L, 1);
  return 2;
}

void orr_delete_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"delete", delete}, {"reached", reached}, {"unknown", unknown}, {NULL, NULL}};
  orr_setfuncs(L, functions);
}
