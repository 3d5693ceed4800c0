/* parcel: plain values on their way from one Lua state to another, as bytes that belong to neither. A state's
   error cannot reach the other: one packs, and only then the other unpacks. Carries nil, booleans, numbers,
   strings, NULL and plain tables of these; nothing that could be called or has a metatable. */
#ifndef ORR_PARCEL_H
#define ORR_PARCEL_H

#include "box.h"

typedef struct orr_parcel {
  orr_alloc alloc;
  char *bytes;
  size_t len, room;
  size_t most; /* bytes that it may grow to */
} orr_parcel;

void orr_parcel_clear(orr_parcel *parcel);
/* Appends the value at `index`. Returns NULL, or why it cannot travel. May raise an error of `L`. */
const char *orr_parcel_put(lua_State *L, int index, orr_parcel *parcel);
/* Appends `count` values, those from `first` on. */
const char *orr_parcel_put_all(lua_State *L, int first, int count, orr_parcel *parcel);
/* Pushes all values and returns their number. May raise an error of `L`. */
int orr_parcel_take_all(lua_State *L, const orr_parcel *parcel);

#endif
