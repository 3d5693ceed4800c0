/* classlib: mapped classes as C sees them, and the per-state world that they live in. A class is born
   unconfigured (so that scripts can name it in relationships) and gets its columns and relations once, by
   core.configure. */
#include <stdint.h>
#include <string.h>

#include "libs.h"
#include "mapped.h"

static const char WORLD = 0, CLASSES = 0, HOOKS = 0, CLASS_OF = 0; /* addresses are registry keys */

/* ---- the world ---- */

static void close_world(void *block) {
  orr_world *world = block;
  orr_alloc_free(&world->alloc, world->sessions, world->session_room, sizeof *world->sessions);
  orr_alloc_free(&world->alloc, world->ranks, world->rank_room, sizeof *world->ranks);
  orr_alloc_free(&world->alloc, world->cyclic, world->cyclic_room, sizeof *world->cyclic);
  world->sessions = NULL;
  world->ranks = NULL;
  world->cyclic = NULL;
  world->rank_room = world->cyclic_room = 0;
  world->session_room = world->session_count = 0;
}

static const orr_box_kind world_kind = {"orrery.world", close_world};

orr_world *orr_world_get(lua_State *L) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &WORLD);
  orr_world *world = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return world;
}

void orr_push_hook(lua_State *L, const char *name) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
  if (lua_isnil(L, -1))
    luaL_error(L, "orrery: hook '%s' is missing", name);
}

/* core.hook(name [, fn]): the few Lua functions that C calls back. Returns what is there. */
static int hook(lua_State *L) {
  lua_settop(L, 2);
  orr_rawgetp(L, LUA_REGISTRYINDEX, &HOOKS);
  if (!lua_isnil(L, 2)) {
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawset(L, 3);
  }
  lua_pushvalue(L, 1);
  lua_rawget(L, 3);
  return 1;
}

/* ---- life of a class ---- */

static void clear_class(orr_class *class) {
  orr_alloc alloc = class->alloc;
  orr_alloc_free(&class->alloc, class->columns, (size_t) class->column_count, sizeof *class->columns);
  orr_alloc_free(&class->alloc, class->relations, (size_t) class->relation_count, sizeof *class->relations);
  orr_alloc_free(&class->alloc, class->pairs, class->pair_count, sizeof *class->pairs);
  orr_alloc_free(&class->alloc, class->keys, (size_t) class->key_count, sizeof *class->keys);
  orr_alloc_free(&class->alloc, class->names, class->name_room, sizeof *class->names);
  if (class->uniques)
    orr_alloc_free(&class->alloc, class->uniques, (size_t) class->unique_count, sizeof *class->uniques);
  orr_alloc_free(&class->alloc, class->unique_columns, class->unique_room, sizeof *class->unique_columns);
  memset(class, 0, sizeof *class);
  class->alloc = alloc;
}

static void close_class(void *block) { clear_class(block); }

/* Not made by orr_box_define: every class has a metatable of its own. */
static const orr_box_kind class_kind = {"class", close_class};

static int collect_class(lua_State *L) {
  orr_class *class = orr_class_test(L, 1);
  if (class)
    close_class(class);
  return 0;
}

orr_class *orr_class_test(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return NULL;
  orr_rawgetp(L, -1, &class_kind);
  bool is_class = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return is_class ? lua_touserdata(L, index) : NULL;
}

orr_class *orr_class_check(lua_State *L, int index) {
  orr_class *class = orr_class_test(L, index);
  if (!class)
    orr_raisef(L, "ArgumentError", "mapped class expected as argument %d, got %s", index,
               luaL_typename(L, index));
  if (!class->world) {
    index = orr_absindex(L, index);
    orr_push_hook(L, "configure");
    lua_pushvalue(L, index);
    lua_call(L, 1, 0);
  }
  return class;
}

/* core.class(metatable) -> class: a new unconfigured class that owns the given metatable. */
static int new_class(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  orr_class *class = orr_newuserdata(L, sizeof *class);
  memset(class, 0, sizeof *class);
  class->alloc = orr_allocator(L);
  lua_pushboolean(L, 1);
  orr_rawsetp(L, 1, &class_kind);
  lua_pushcfunction(L, collect_class);
  lua_setfield(L, 1, "__gc");
  lua_pushvalue(L, 1);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  orr_setuservalue(L, -2);
  orr_rawgetp(L, LUA_REGISTRYINDEX, &CLASSES);
  lua_pushvalue(L, -2);
  orr_rawsetp(L, -2, class);
  lua_pop(L, 1);
  return 1;
}

void orr_class_push(lua_State *L, const orr_class *class) {
  orr_rawgetp(L, LUA_REGISTRYINDEX, &CLASSES);
  orr_rawgetp(L, -1, class);
  lua_remove(L, -2);
}

void orr_class_field(lua_State *L, int index, int field) {
  orr_getuservalue(L, index);
  lua_rawgeti(L, -1, field);
  lua_remove(L, -2);
}

void orr_class_pushname(lua_State *L, const orr_class *class) {
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_NAME);
  lua_remove(L, -2);
}

int orr_attribute_error(lua_State *L, const orr_class *class, int attribute, const char *kind,
                        const char *message) {
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_NAME);
  orr_class_field(L, -2, ORR_CLASS_NAMES);
  lua_rawgeti(L, -1, attribute + 1);
  return orr_raisef(L, kind, "%s.%s: %s", lua_tostring(L, -3), lua_tostring(L, -1), message);
}

/* ---- names ---- */

static uint32_t hash_address(const char *text) {
  return (uint32_t)(((uint64_t)(uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
}

enum { ALWAYS_INTERNED = 16 };

int orr_class_attribute(const orr_class *class, lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TSTRING)
    return -1;
  const char *text = lua_tostring(L, index);
  uint32_t mask = class->name_room - 1;
  for (uint32_t i = hash_address(text) & mask; class->names[i].text; i = (i + 1) & mask)
    if (class->names[i].text == text)
      return class->names[i].attribute;
  /* A long string may stand at another address than its equal; every Lua keeps short ones once. */
  if (orr_rawlen(L, index) < ALWAYS_INTERNED)
    return -1;
  orr_class_push(L, class);
  orr_class_field(L, -1, ORR_CLASS_NAMES);
  lua_pushvalue(L, index > 0 ? index : index - 2);
  lua_rawget(L, -2);
  int attribute = (int)lua_tointeger(L, -1) - 1;
  lua_pop(L, 3);
  return attribute;
}

static void place_name(orr_class *class, const char *text, int attribute) {
  uint32_t mask = class->name_room - 1, i = hash_address(text) & mask;
  while (class->names[i].text)
    i = (i + 1) & mask;
  class->names[i].text = text;
  class->names[i].attribute = attribute;
}

/* ---- configuration ---- */

static void *need(lua_State *L, orr_class *class, size_t count, size_t size) {
  if (count == 0)
    return NULL;
  void *block = orr_alloc_array(&class->alloc, count, size);
  if (!block)
    luaL_error(L, "not enough memory");
  return block;
}

static bool flag(lua_State *L, const char *field) {
  lua_getfield(L, -1, field);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

static int integer(lua_State *L, const char *field, int otherwise) {
  lua_getfield(L, -1, field);
  int value = lua_isnil(L, -1) ? otherwise : (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

static unsigned flags(lua_State *L, const char *const *names, const unsigned *bits) {
  unsigned set = 0;
  for (int i = 0; names[i]; i++)
    set |= flag(L, names[i]) ? bits[i] : 0;
  return set;
}

static void read_column(lua_State *L, orr_attribute *column) {
  static const char *const names[] = {
      "key",      "autokey", "default",  "server_default", "bind",     "result", "mutable",
      "onupdate", "events",  "computed", "read_only",      "deferred", "above",  NULL};
  static const unsigned bits[] = {
      ORR_COLUMN_KEY,    ORR_COLUMN_AUTOKEY,  ORR_COLUMN_DEFAULT,   ORR_COLUMN_SERVER_DEFAULT,
      ORR_COLUMN_BIND,   ORR_COLUMN_RESULT,   ORR_COLUMN_MUTABLE,   ORR_COLUMN_ONUPDATE,
      ORR_COLUMN_EVENTS, ORR_COLUMN_COMPUTED, ORR_COLUMN_READ_ONLY, ORR_COLUMN_DEFERRED,
      ORR_COLUMN_ABOVE};
  column->flags = flags(L, names, bits);
  lua_getfield(L, -1, "handle");
  column->type = *orr_type_check(L, -1);
  lua_pop(L, 1);
}

static void read_columns(lua_State *L, orr_class *class) {
  lua_getfield(L, 2, "columns");
  int count = (int)orr_rawlen(L, -1);
  class->columns = need(L, class, (size_t)count, sizeof *class->columns);
  class->column_count = count;
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    read_column(L, &class->columns[i]);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void read_keys(lua_State *L, orr_class *class) {
  lua_getfield(L, 2, "keys");
  int count = (int)orr_rawlen(L, -1);
  class->keys = need(L, class, (size_t)count, sizeof *class->keys);
  class->key_count = count;
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    class->keys[i] = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
  }
  const orr_attribute *first = &class->columns[class->keys[0]];
  class->simple_key = count == 1 && first->type.kind == ORR_KIND_INTEGER && !(first->flags & ORR_COLUMN_BIND);
  lua_pop(L, 1);
}

/* core.group(rank, cyclic) -> number of a new group of rows (a table) in the order of flushes */
static int group(lua_State *L) {
  orr_world *world = orr_world_get(L);
  size_t need_room = (size_t)world->group_count + 1;
  uint32_t *ranks = orr_alloc_grow(&world->alloc, world->ranks, &world->rank_room, need_room, sizeof *ranks);
  if (ranks)
    world->ranks = ranks;
  bool *cyclic =
      ranks ? orr_alloc_grow(&world->alloc, world->cyclic, &world->cyclic_room, need_room, sizeof *cyclic)
            : NULL;
  if (!cyclic)
    return luaL_error(L, "not enough memory");
  world->cyclic = cyclic;
  ranks[world->group_count] = (uint32_t)luaL_checkinteger(L, 1);
  cyclic[world->group_count] = lua_toboolean(L, 2);
  lua_pushinteger(L, world->group_count++);
  return 1;
}

static int count_pairs(lua_State *L) {
  lua_getfield(L, -1, "pairs");
  int count = (int)orr_rawlen(L, -1);
  lua_pop(L, 1);
  return count;
}

static void read_pairs(lua_State *L, orr_relationship *relation, orr_pair *pairs) {
  lua_getfield(L, -1, "pairs");
  relation->pairs = pairs;
  relation->pair_count = (int)orr_rawlen(L, -1);
  for (int i = 0; i < relation->pair_count; i++) {
    lua_rawgeti(L, -1, i + 1);
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    pairs[i].near = (int)lua_tointeger(L, -2) - 1;
    pairs[i].far = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 3);
  }
  lua_pop(L, 1);
}

static void read_relation(lua_State *L, orr_relationship *relation, orr_pair *pairs) {
  static const char *const names[] = {"list",          "save_update", "viewonly", "load_old",    "sync_keys",
                                      "events",        "orphans",     "criteria", "asks",        "set",
                                      "keyed",         "leaves",      "defaults", "post_update", "write_only",
                                      "single_parent", "wipes",       "deletes",  "passive",     NULL};
  static const unsigned bits[] = {
      ORR_RELATION_LIST,      ORR_RELATION_SAVE_UPDATE, ORR_RELATION_VIEWONLY,   ORR_RELATION_LOAD_OLD,
      ORR_RELATION_SYNC_KEYS, ORR_RELATION_EVENTS,      ORR_RELATION_ORPHANS,    ORR_RELATION_CRITERIA,
      ORR_RELATION_ASKS,      ORR_RELATION_SET,         ORR_RELATION_KEYED,      ORR_RELATION_LEAVES,
      ORR_RELATION_DEFAULTS,  ORR_RELATION_POST_UPDATE, ORR_RELATION_WRITE_ONLY, ORR_RELATION_SOLE,
      ORR_RELATION_WIPES,     ORR_RELATION_DELETES,     ORR_RELATION_PASSIVE};
  relation->flags = flags(L, names, bits);
  if (relation->flags & ORR_RELATION_POST_UPDATE)
    orr_world_get(L)->posts_updates = true;
  if (relation->flags & ORR_RELATION_EVENTS)
    orr_world_get(L)->hears_links = true;
  relation->direction = (orr_direction)integer(L, "direction", 0);
  relation->reverse = integer(L, "reverse", 0) - 1;
  relation->id = integer(L, "id", 0);
  relation->second = flag(L, "second");
  relation->group = (uint32_t)integer(L, "group", 0);
  relation->near_group = (uint32_t)integer(L, "near_group", 0);
  relation->far_group = (uint32_t)integer(L, "far_group", 0);
  lua_getfield(L, -1, "target");
  relation->target = orr_class_test(L, -1);
  lua_pop(L, 1);
  read_pairs(L, relation, pairs);
  relation->target_count = relation->pair_count - integer(L, "own", relation->pair_count);
  relation->pair_count -= relation->target_count;
}

static void read_relations(lua_State *L, orr_class *class) {
  lua_getfield(L, 2, "relations");
  int count = (int)orr_rawlen(L, -1);
  size_t pairs = 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    pairs += (size_t)count_pairs(L);
    lua_pop(L, 1);
  }
  class->relations = need(L, class, (size_t)count, sizeof *class->relations);
  class->relation_count = count;
  class->pairs = need(L, class, pairs, sizeof *class->pairs);
  class->pair_count = pairs;
  orr_pair *at = class->pairs;
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    read_relation(L, &class->relations[i], at);
    at += class->relations[i].pair_count + class->relations[i].target_count;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Further names of columns, by which the key of a joined class is called too: { name = number }. */
static uint32_t count_aliases(lua_State *L) {
  uint32_t count = 0;
  lua_getfield(L, 2, "aliases");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
    count++;
  lua_pop(L, 1);
  return count;
}

/* Adds them to the names table on top. */
static void place_aliases(lua_State *L, orr_class *class) {
  int names = lua_gettop(L);
  lua_getfield(L, 2, "aliases");
  for (lua_pushnil(L); lua_next(L, -2); lua_settop(L, names + 2)) {
    place_name(class, lua_tostring(L, -2), (int)lua_tointeger(L, -1) - 1);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, names);
  }
  lua_settop(L, names);
}

/* The names table, given as an array, also gets [name] = number. */
static void read_names(lua_State *L, orr_class *class) {
  int count = class->column_count + class->relation_count;
  uint32_t room = 8, wanted = (uint32_t)count + count_aliases(L);
  while (room < wanted * 2)
    room *= 2;
  class->names = need(L, class, room, sizeof *class->names);
  class->name_room = room;
  lua_getfield(L, 2, "names");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    place_name(class, lua_tostring(L, -1), i);
    lua_pushinteger(L, i + 1);
    lua_rawset(L, -3);
  }
  place_aliases(L, class);
  lua_pop(L, 1);
}

static size_t count_unique_columns(lua_State *L, int count) {
  size_t columns = 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    lua_getfield(L, -1, "columns");
    columns += orr_rawlen(L, -1);
    lua_pop(L, 2);
  }
  return columns;
}

/* Reads the unique set on top; its columns go to `at`. */
static void read_unique(lua_State *L, orr_unique *unique, int *at) {
  lua_getfield(L, -1, "columns");
  unique->columns = at;
  unique->count = (int)orr_rawlen(L, -1);
  for (int i = 0; i < unique->count; i++) {
    lua_rawgeti(L, -1, i + 1);
    at[i] = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  unique->id = (uint32_t)integer(L, "id", 0);
  unique->key = flag(L, "key");
  unique->aside = integer(L, "aside", 0) - 1;
  unique->placeholder = (orr_tag)integer(L, "placeholder", 0);
  unique->defers = flag(L, "defers");
}

/* core.set_uniques(class, { { columns=, id=, key=, aside=, placeholder=, defers= }, ... }, referred to),
   once: which columns of the class's own table are unique, the primary key first, and whether foreign keys
   refer to it. Indexes may be declared after the class is configured: a flush asks when it first writes such
   rows. */
static int set_uniques(lua_State *L) {
  orr_class *class = orr_class_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, class->unique_count < 0, 1, "class without uniques expected");
  class->referred_to = lua_toboolean(L, 3);
  lua_settop(L, 2);
  int count = (int)orr_rawlen(L, 2);
  size_t room = count_unique_columns(L, count);
  orr_alloc_free(&class->alloc, class->unique_columns, class->unique_room, sizeof *class->unique_columns);
  class->unique_columns = need(L, class, room, sizeof *class->unique_columns);
  class->unique_room = room;
  class->uniques = need(L, class, (size_t)count, sizeof *class->uniques);
  class->unique_count = count;
  int *at = class->unique_columns;
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 2, i + 1);
    read_unique(L, &class->uniques[i], at);
    at += class->uniques[i].count;
    lua_pop(L, 1);
  }
  return 0;
}

static void keep_fields(lua_State *L) {
  static const struct {
    const char *name;
    int field;
  } fields[] = {
      {"meta", ORR_CLASS_META},         {"names", ORR_CLASS_NAMES},     {"types", ORR_CLASS_TYPES},
      {"defaults", ORR_CLASS_DEFAULTS}, {"targets", ORR_CLASS_TARGETS}, {"members", ORR_CLASS_MEMBERS},
      {"name", ORR_CLASS_NAME},         {"init", ORR_CLASS_INIT},       {"identity", ORR_CLASS_IDENTITY}};
  orr_getuservalue(L, 1);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    lua_getfield(L, 2, fields[i].name);
    lua_rawseti(L, -2, fields[i].field);
  }
  lua_pop(L, 1);
}

int orr_instance_read(lua_State *L);
int orr_instance_write(lua_State *L);

/* __index and __newindex of instances: upvalues are the class, its names and its members. */
static void add_accessor(lua_State *L, const char *event, lua_CFunction function) {
  lua_pushvalue(L, 1);
  lua_getfield(L, 2, "names");
  lua_getfield(L, 2, "members");
  lua_pushcclosure(L, function, 3);
  lua_setfield(L, -2, event);
}

static void complete_meta(lua_State *L, orr_class *class) {
  lua_getfield(L, 2, "meta");
  class->meta = lua_topointer(L, -1);
  lua_pushlightuserdata(L, (void *)&CLASS_OF);
  lua_rawseti(L, -2, 1); /* what orr_instance_test looks at */
  add_accessor(L, "__index", orr_instance_read);
  add_accessor(L, "__newindex", orr_instance_write);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

/* Keeps the class in field `name` of the spec alive with the class at 1. */
static orr_class *kin(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  orr_class *found = orr_class_test(L, -1);
  if (found) {
    lua_getfield(L, 2, "targets");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

static void read_hierarchy(lua_State *L, orr_class *class) {
  class->parent = kin(L, "parent");
  class->above = kin(L, "above");
  class->level = class->above ? class->above->level + 1 : 0;
  class->discriminator = integer(L, "discriminator", 0) - 1;
  class->rows_cascade = flag(L, "rows_cascade");
}

/* core.configure(class, spec): prepares the class for core.ready; again where an attempt has failed. spec:
   name, names (columns, then relations), aliases, columns, keys, relations, types, defaults, targets,
   members, meta, init, parent, above, discriminator, identity. A parent is configured before. */
static int configure(lua_State *L) {
  orr_class *class = orr_class_test(L, 1);
  luaL_argcheck(L, class && !class->world, 1, "unconfigured class expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  clear_class(class); /* what an attempt that ran out of memory has left */
  read_columns(L, class);
  read_keys(L, class);
  read_relations(L, class);
  read_names(L, class);
  keep_fields(L);
  complete_meta(L, class);
  lua_settop(L, 2);
  class->version = integer(L, "version", 0) - 1;
  class->version_hook = flag(L, "version_hook");
  class->has_defaults = class->version >= 0;
  for (int c = 0; c < class->column_count; c++)
    class->has_defaults = class->has_defaults || class->columns[c].flags & ORR_COLUMN_DEFAULT;
  class->unique_count = -1;
  orr_world *world = orr_world_get(L);
  read_hierarchy(L, class);
  class->id = class->parent ? class->parent->id : ++world->last_class;
  lua_getfield(L, 2, "group");
  class->group = (uint32_t)lua_tointeger(L, -1);
  return 0;
}

/* core.ready(classes): what core.configure has prepared is used from now on. All classes that refer to each
   other at once; nothing here can fail. */
static int ready(lua_State *L) {
  orr_world *world = orr_world_get(L);
  int count = (int)orr_rawlen(L, 1);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    ((orr_class *)lua_touserdata(L, -1))->world = world;
    lua_pop(L, 1);
  }
  return 0;
}

/* core.hear(class, load, refresh): whether what is loaded of the class is noted for its listeners. */
static int hear(lua_State *L) {
  orr_class *class = orr_class_check(L, 1);
  class->hears = (lua_toboolean(L, 2) ? ORR_HEARS_LOAD : 0u) | (lua_toboolean(L, 3) ? ORR_HEARS_REFRESH : 0u);
  return 0;
}

/* core.listen(class, attribute number): changes of an attribute are reported from now on. */
static int listen(lua_State *L) {
  orr_class *class = orr_class_check(L, 1);
  int attribute = orr_check_place(L, 2), relation = attribute - class->column_count;
  luaL_argcheck(L, attribute >= 0 && relation < class->relation_count, 2, "attribute number expected");
  unsigned *set = relation < 0 ? &class->columns[attribute].flags : &class->relations[relation].flags;
  unsigned bit = relation < 0 ? (unsigned)ORR_COLUMN_EVENTS : (unsigned)ORR_RELATION_EVENTS;
  *set |= bit;
  class->world->hears_links = class->world->hears_links || relation >= 0;
  return 0;
}

/* ---- instances by class ---- */

orr_instance *orr_instance_test(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return NULL;
  lua_rawgeti(L, -1, 1);
  bool is_instance = lua_touserdata(L, -1) == (const void *)&CLASS_OF;
  lua_pop(L, 2);
  orr_instance *object = is_instance ? lua_touserdata(L, index) : NULL;
  return object && object->class->world ? object
                                        : NULL; /* lua_close ends classes before finalizers that come late */
}

orr_instance *orr_instance_check(lua_State *L, int index) {
  orr_instance *object = orr_instance_test(L, index);
  if (!object)
    orr_raisef(L, "UnmappedInstanceError", "a mapped object expected, got %s", luaL_typename(L, index));
  return object;
}

/* core.class_of(object) -> class or nil */
static int class_of(lua_State *L) {
  orr_instance *object = orr_instance_test(L, 1);
  if (!object)
    return 0;
  orr_class_push(L, object->class);
  return 1;
}

/* core.is_class(value) */
static int is_class(lua_State *L) {
  lua_pushboolean(L, orr_class_test(L, 1) != NULL);
  return 1;
}

static void weak_table(lua_State *L, const char *mode, const void *key) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  orr_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void orr_class_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"class", new_class},
                                       {"configure", configure},
                                       {"class_of", class_of},
                                       {"is_class", is_class},
                                       {"hook", hook},
                                       {"group", group},
                                       {"listen", listen},
                                       {"hear", hear},
                                       {"set_uniques", set_uniques},
                                       {"ready", ready},
                                       {NULL, NULL}};
  orr_setfuncs(L, functions);
  orr_box_define(L, &world_kind, NULL);
  lua_pop(L, 1);
  orr_world *world = orr_box_new(L, &world_kind, sizeof *world);
  world->alloc = orr_allocator(L);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &WORLD);
  weak_table(L, "v", &CLASSES);
  lua_newtable(L);
  orr_rawsetp(L, LUA_REGISTRYINDEX, &HOOKS);
  orr_instance_open(L);
  orr_collection_open(L);
}
