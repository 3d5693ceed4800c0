/* cohortlib: objects that came with one result, as Lua sees them: what the script's options say about the
   rest of their relationships, and which of them lack a relation that one of them is asked for. What is
   loaded then is decided in lua/orrery/strategies.lua. */
#include "libs.h"
#include "mapped.h"

/* ---- making and forgetting ---- */

typedef struct members {
  lua_State *L;
  int objects; /* index of the session's weak table of objects */
  int trees;   /* index of its table of trees by cohort */
} members;

static orr_cohort_number cohort_of(void *ud, uint32_t slot) {
  const members *who = ud;
  lua_rawgeti(who->L, who->objects, (int)slot);
  const orr_instance *object = lua_touserdata(who->L, -1);
  lua_pop(who->L, 1);
  return object ? object->cohort : 0;
}

static void set_tree(lua_State *L, int trees, orr_cohort_number number, int tree) {
  lua_pushinteger(L, (lua_Integer)number);
  lua_pushvalue(L, tree);
  lua_rawset(L, trees);
}

static void forget_tree(void *ud, orr_cohort_number number) {
  const members *who = ud;
  lua_pushnil(who->L);
  set_tree(who->L, who->trees, number, lua_gettop(who->L));
  lua_pop(who->L, 1);
}

/* The session's tables on the stack. */
static members members_of(lua_State *L, orr_session *session) {
  members who = {L, 0, 0};
  orr_session_user(L, session);
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  who.objects = lua_gettop(L);
  lua_rawgeti(L, -2, ORR_SESSION_COHORTS);
  who.trees = lua_gettop(L);
  return who;
}

/* core.cohort(session, tree or nil, has options, asks) -> number, for core.load. The tree is what Lua gets
   back from the load_relation hook; `asks`: no relation may be answered from the identity map before Lua was
   asked.
 */
static int new_cohort(lua_State *L) {
  lua_settop(L, 4);
  orr_session *session = orr_session_check(L, 1);
  members who = members_of(L, session);
  if (orr_cohorts_full(&session->cohorts))
    orr_cohorts_sweep(&session->cohorts, cohort_of, forget_tree, &who);
  unsigned bits =
      (lua_toboolean(L, 3) ? ORR_COHORT_OPTIONS : 0) | (lua_toboolean(L, 4) ? ORR_COHORT_ASKS : 0);
  orr_cohort_number number = orr_cohort_new(&session->cohorts, bits);
  if (!number)
    return luaL_error(L, "not enough memory");
  if (!lua_isnil(L, 2))
    set_tree(L, who.trees, number, 2);
  lua_pushinteger(L, (lua_Integer)number);
  return 1;
}

void orr_cohort_enter(lua_State *L, orr_session *session, orr_instance *object, orr_cohort_number number) {
  bool stays = object->cohort & ORR_COHORT_OPTIONS && !(number & ORR_COHORT_OPTIONS);
  if (object->cohort == number || stays)
    return;
  if (!orr_cohort_join(&session->cohorts, number, object->slot))
    luaL_error(L, "not enough memory");
  object->cohort = number;
}

void orr_cohort_push_tree(lua_State *L, const orr_instance *object) {
  orr_session *session = orr_instance_session(object);
  if (!session || !object->cohort || !orr_session_user(L, session)) {
    lua_pushnil(L);
    return;
  }
  lua_rawgeti(L, -1, ORR_SESSION_COHORTS);
  lua_pushinteger(L, (lua_Integer)object->cohort);
  lua_rawget(L, -2);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* ---- siblings ---- */

static bool has_near_columns(orr_instance *object, const orr_relationship *relation) {
  for (int p = 0; p < relation->pair_count; p++)
    if (orr_tags(object)[relation->pairs[p].near] & ORR_UNLOADED)
      return false;
  return true;
}

/* Whether nothing is known yet of a relation of the object on top, which a statement for many may then fill
   in. One that was changed, or is expired, loads by itself. */
static bool lacks(lua_State *L, orr_instance *object, const orr_session *session, int number) {
  const orr_class *class = object->class;
  if (object->state != ORR_PERSISTENT || object->epoch != session->epoch ||
      object->flags & (ORR_DIRTY | ORR_DELETING) || !has_near_columns(object, &class->relations[number]))
    return false;
  int index = lua_gettop(L);
  orr_instance_held(L, object, index, number);
  orr_instance_getuser(L, object, index, orr_user_backlog(class, number));
  bool nothing = lua_isnil(L, -1) && lua_isnil(L, -2);
  lua_pop(L, 2);
  return nothing;
}

typedef struct family {
  const orr_session *session;
  const orr_instance *asked;
  int number;  /* the relation, of its class */
  int objects; /* index of the weak table */
  int out;
  int count, most;
} family;

/* Whether a class has the same relation as another one: it is a subclass, or the other is its. */
static bool has_relation(const orr_class *class, const orr_class *other, int number) {
  return class == other || (class->id == other->id && number < class->relation_count &&
                            class->relations[number].id == other->relations[number].id);
}

/* Takes the siblings of a part of the log that come with the slots from..end-1. */
static void take_siblings(lua_State *L, family *f, size_t from, size_t end) {
  const uint32_t *log = f->session->cohorts.log;
  for (size_t i = from; i < end && f->count < f->most; i++) {
    lua_rawgeti(L, f->objects, (int)log[i]);
    orr_instance *object = lua_touserdata(L, -1);
    if (object && object != f->asked && object->cohort == f->asked->cohort &&
        has_relation(object->class, f->asked->class, f->number) && lacks(L, object, f->session, f->number))
      lua_rawseti(L, f->out, ++f->count);
    else
      lua_pop(L, 1);
  }
}

/* core.siblings(object, attribute number, most) -> array: the object, then at most as many in all of its
   cohort that lack that relation as it does: those behind it first, then those before it. */
static int siblings(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  int number = orr_check_place(L, 2) - object->class->column_count;
  int most = (int)luaL_checkinteger(L, 3);
  luaL_argcheck(L, number >= 0 && number < object->class->relation_count, 2, "number of a relation expected");
  lua_settop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, 1);
  orr_session *session = orr_instance_session(object);
  orr_cohort *cohort = session ? orr_cohort_find(&session->cohorts, object->cohort) : NULL;
  if (!cohort || !orr_session_user(L, session))
    return 1;
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  family f = {session, object, number, lua_gettop(L), 2, 1, most};
  size_t place = orr_cohort_place(&session->cohorts, cohort, object->slot), first = cohort->first;
  take_siblings(L, &f, place + 1, cohort->end);
  take_siblings(L, &f, first, place);
  lua_settop(L, 2);
  return 1;
}

/* ---- expired objects ---- */

enum {
  MOST_REFRESHED = 500,                /* in one statement */
  SLOTS_LOOKED_AT = 4 * MOST_REFRESHED /* for them */
};

static bool is_stale(const orr_instance *object, const orr_class *class, const orr_session *session) {
  return object && object->class == class && object->state == ORR_PERSISTENT &&
         object->epoch != session->epoch && !(object->flags & (ORR_DIRTY | ORR_DELETING));
}

/* How many may be read along: as many as were read again already since the session was expired. So whoever
   touches a few objects reads few, and whoever touches all of them needs few statements. */
static uint32_t room_for_stale(orr_session *session) {
  if (session->refresh_epoch != session->epoch) {
    session->refresh_epoch = session->epoch;
    session->refreshed = 0;
  }
  return session->refreshed < MOST_REFRESHED - 1 ? session->refreshed : MOST_REFRESHED - 1;
}

/* core.expired(object) -> array: the object, and behind it other expired ones of its class that are read
   again with it. */
static int expired(lua_State *L) {
  orr_instance *object = orr_instance_check(L, 1);
  orr_session *session = orr_instance_session(object);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, 1);
  if (!session || !orr_session_user(L, session))
    return 1;
  uint32_t most = room_for_stale(session), used = session->map.used, found = 0, slot = object->slot;
  lua_rawgeti(L, -1, ORR_SESSION_OBJECTS);
  for (uint32_t i = 1; found < most && i < used && i < SLOTS_LOOKED_AT; i++) {
    slot = slot < used ? slot + 1 : 1;
    lua_rawgeti(L, 4, (int)slot);
    if (is_stale(lua_touserdata(L, 5), object->class, session))
      lua_rawseti(L, 2, (int)++found + 1);
    lua_settop(L, 4);
  }
  session->refreshed += found + 1;
  lua_settop(L, 2);
  return 1;
}

void orr_cohort_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"cohort", new_cohort}, {"siblings", siblings}, {"expired", expired}, {NULL, NULL}};
  orr_setfuncs(L, functions);
}
