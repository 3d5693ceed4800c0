/* identity: the map from (class, primary key) to a slot number. It holds keys, never objects: the session
   keeps its objects in a weak array indexed by slot, so a dead object leaves a slot that is reused when its
   key comes back and swept when the map grows. Knows neither Lua nor a database. */
#ifndef ORR_IDENTITY_H
#define ORR_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc.h"
#include "value.h"

/* A key that is asked for. A single integer is the fast form; anything else is its canonical bytes. */
typedef struct orr_key {
  uint32_t class_id;
  uint32_t hash;
  int64_t number;    /* the integer, where bytes is NULL */
  const char *bytes; /* canonical form, see orr_key_size */
  uint32_t len;
  bool given; /* the bytes are of the map's allocator and become its own where it takes the key in */
} orr_key;

typedef struct orr_slot {
  uint32_t class_id; /* 0: the slot is free */
  uint32_t len;      /* 0: the key is `as.number`; else the bytes of `as.bytes` */
  union {
    int64_t number;
    char *bytes;
    uint32_t next_free;
  } as;
} orr_slot;

typedef struct orr_identity {
  orr_alloc alloc;
  uint32_t *index; /* open addressing by hash: slot numbers, 0 = empty */
  uint32_t index_size;
  orr_slot *slots; /* slots[0] is unused: slot numbers begin at 1 */
  size_t capacity;
  uint32_t used;  /* slots handed out so far, free ones among them */
  uint32_t live;  /* keys in the map */
  uint32_t free;  /* first free slot, 0 = none */
  uint32_t stamp; /* grows with every key that is taken out, and with every object that the owner seats */
} orr_identity;

/* Answers whether the object of a slot is still there; asked while the map sweeps. */
typedef bool (*orr_slot_alive)(void *ud, uint32_t slot);

void orr_identity_init(orr_identity *map, orr_alloc alloc);
void orr_identity_clear(orr_identity *map); /* frees everything; the map is empty and usable again */

/* Bytes that the canonical form of these key values takes; 0 where the key is one integer (1.0 counts as 1,
   so that a key is the same whichever number type it was written with). */
size_t orr_key_size(const orr_value *values, int count);
/* Fills `key`; `bytes` has orr_key_size bytes and must live as long as the key. */
void orr_key_make(orr_key *key, uint32_t class_id, const orr_value *values, int count, char *bytes);
/* The fast form. */
void orr_key_integer(orr_key *key, uint32_t class_id, int64_t number);

/* The slot of a key, 0 where it is not in the map. */
uint32_t orr_identity_find(const orr_identity *map, const orr_key *key);
/* Finds a key, or puts it in: the slot, 0 when memory is out; `*found` tells which. A full map first drops the keys
   whose slots are not alive. */
uint32_t orr_identity_claim(orr_identity *map, const orr_key *key, orr_slot_alive alive, void *ud,
                            bool *found);
/* Makes room, so that so many more keys can be put in without memory, where their bytes are given. */
bool orr_identity_reserve(orr_identity *map, uint32_t count, orr_slot_alive alive, void *ud);
/* Takes the key of a slot out; the slot number is free for another key. */
void orr_identity_remove(orr_identity *map, uint32_t slot);

#endif
