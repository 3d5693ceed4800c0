/* host: what a C program reads of mapped objects without calling Lua: orr_attr and orr_get of orrery.h. Loads
   nothing, changes nothing, raises nothing. */
#include <string.h>

#include "../orrery.h"
#include "mapped.h"

/* The configured class of the object, or the one, at `index`; NULL for anything else. */
static const orr_class *class_at(lua_State *L, int index) {
  const orr_instance *object = orr_instance_test(L, index);
  const orr_class *class = object ? object->class : orr_class_test(L, index);
  return class && class->world ? class : NULL;
}

/* By content: to look a name up by its address it would have to be interned, which may raise. */
int orr_attr(lua_State *L, int index, const char *name) {
  const orr_class *class = class_at(L, index);
  for (uint32_t i = 0; class && i < class->name_room; i++)
    if (class->names[i].text && strcmp(class->names[i].text, name) == 0)
      return class->names[i].attribute < class->column_count ? class->names[i].attribute : -1;
  return -1;
}

/* Whether Lua would have to ask the database first. */
static bool is_unloaded(orr_instance *object, int column) {
  const orr_session *session = orr_instance_session(object);
  orr_state state = orr_instance_state(object);
  bool expired = session && state == ORR_PERSISTENT && object->epoch != session->epoch;
  bool stored = state == ORR_PERSISTENT || state == ORR_DETACHED;
  return expired || (stored && orr_tags(object)[column] & ORR_UNLOADED);
}

static void read_value(const orr_value *value, orr_field *out) {
  static const int kinds[] = {ORR_GOT_NULL, ORR_GOT_INTEGER, ORR_GOT_NUMBER, ORR_GOT_TEXT, ORR_GOT_BYTES};
  out->kind = kinds[value->tag];
  if (value->tag == ORR_INT)
    out->integer = value->as.i;
  else if (value->tag == ORR_REAL)
    out->number = value->as.r;
  else if (value->tag != ORR_NULL) {
    out->bytes = value->len ? value->as.s : "";
    out->len = value->len;
  }
}

int orr_get(lua_State *L, int index, int attribute, orr_field *out) {
  orr_value value;
  orr_instance *object = orr_instance_test(L, index);
  memset(out, 0, sizeof *out);
  if (!object || attribute < 0 || attribute >= object->class->column_count || !lua_checkstack(L, 4))
    return out->kind = ORR_GOT_NOTHING;
  if (is_unloaded(object, attribute))
    return out->kind = ORR_GOT_UNLOADED;
  orr_instance_value(L, object, index, attribute, &value);
  read_value(&value, out);
  return out->kind;
}
