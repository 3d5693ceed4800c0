#include "identity.h"

#include <math.h>
#include <string.h>

enum { FIRST_INDEX = 16, SAMPLES = 32 };

void orr_identity_init(orr_identity *map, orr_alloc alloc) {
  memset(map, 0, sizeof *map);
  map->alloc = alloc;
}

static void free_bytes(orr_identity *map, orr_slot *slot) {
  if (slot->class_id && slot->len)
    orr_alloc_free(&map->alloc, slot->as.bytes, slot->len, 1);
}

void orr_identity_clear(orr_identity *map) {
  uint32_t stamp = map->stamp; /* goes on, so that whoever waits for a slot sees that it is gone */
  for (uint32_t i = 1; i <= map->used; i++)
    free_bytes(map, &map->slots[i]);
  orr_alloc_free(&map->alloc, map->slots, map->capacity, sizeof *map->slots);
  orr_alloc_free(&map->alloc, map->index, map->index_size, sizeof *map->index);
  orr_identity_init(map, map->alloc);
  map->stamp = stamp + 1;
}

/* ---- keys ---- */

static uint32_t mix(uint64_t x) {
  x *= UINT64_C(0x9E3779B97F4A7C15);
  return (uint32_t)(x >> 32);
}

/* FNV-1a over the bytes, spread once more at the end. */
static uint32_t hash_bytes(uint32_t class_id, const char *bytes, uint32_t len) {
  uint64_t hash = UINT64_C(14695981039346656037) ^ class_id;
  for (uint32_t i = 0; i < len; i++)
    hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(1099511628211);
  return mix(hash);
}

/* Sixteen neighbours share a cache line of the index: keys mostly come in order. */
static uint32_t hash_number(uint32_t class_id, int64_t number) {
  return mix(((uint64_t)number >> 4) + ((uint64_t)class_id << 48)) << 4 | ((uint32_t)number & 15);
}

static bool is_integer(const orr_value *value, int64_t *out) {
  if (value->tag == ORR_INT) {
    *out = value->as.i;
    return true;
  }
  if (value->tag != ORR_REAL || value->as.r != floor(value->as.r) ||
      !(fabs(value->as.r) < 9223372036854775808.0))
    return false;
  *out = (int64_t)value->as.r;
  return true;
}

size_t orr_key_size(const orr_value *values, int count) {
  int64_t number;
  if (count == 1 && is_integer(values, &number))
    return 0;
  size_t size = 0;
  for (int i = 0; i < count; i++)
    size += 1 + sizeof(int64_t) + values[i].len;
  return size;
}

/* One value: a tag, then eight bytes (number, or length of what follows), then text or blob. */
static char *put(char *at, const orr_value *value) {
  int64_t number = 0;
  char tag = (char)value->tag;
  if (is_integer(value, &number))
    tag = (char)ORR_INT;
  else if (value->tag == ORR_REAL)
    memcpy(&number, &value->as.r, sizeof number);
  else
    number = (int64_t)value->len;
  *at++ = tag;
  memcpy(at, &number, sizeof number);
  at += sizeof number;
  if (value->len)
    memcpy(at, value->as.s, value->len);
  return at + value->len;
}

void orr_key_integer(orr_key *key, uint32_t class_id, int64_t number) {
  key->class_id = class_id;
  key->number = number;
  key->bytes = NULL;
  key->len = 0;
  key->given = false;
  key->hash = hash_number(class_id, number);
}

void orr_key_make(orr_key *key, uint32_t class_id, const orr_value *values, int count, char *bytes) {
  int64_t number;
  if (count == 1 && is_integer(values, &number)) {
    orr_key_integer(key, class_id, number);
    return;
  }
  char *end = bytes;
  for (int i = 0; i < count; i++)
    end = put(end, &values[i]);
  key->class_id = class_id;
  key->number = 0;
  key->given = false;
  key->bytes = bytes;
  key->len = (uint32_t)(end - bytes);
  key->hash = hash_bytes(class_id, bytes, key->len);
}

/* ---- the map ---- */

static bool same(const orr_slot *slot, const orr_key *key) {
  if (slot->class_id != key->class_id || slot->len != key->len)
    return false;
  return key->bytes ? memcmp(slot->as.bytes, key->bytes, key->len) == 0 : slot->as.number == key->number;
}

static uint32_t hash_slot(const orr_slot *slot) {
  return slot->len ? hash_bytes(slot->class_id, slot->as.bytes, slot->len)
                   : hash_number(slot->class_id, slot->as.number);
}

/* What is not at its own place is STRIDE places on, or twice as far, and so on, so that neighbours that find
   a line taken go on side by side. The stride is odd, so that it leads everywhere; PACES * STRIDE is 1, so
   that PACES * distance says how many strides a distance is. */
#define STRIDE UINT32_C(17)
#define PACES UINT32_C(0xF0F0F0F1)

/* Where the key is in the index, or the empty place where it would be. */
static uint32_t probe(const orr_identity *map, const orr_key *key) {
  uint32_t mask = map->index_size - 1, i = key->hash & mask;
  while (map->index[i] && !same(&map->slots[map->index[i]], key))
    i = (i + STRIDE) & mask;
  return i;
}

uint32_t orr_identity_find(const orr_identity *map, const orr_key *key) {
  return map->index_size ? map->index[probe(map, key)] : 0;
}

static void place(orr_identity *map, uint32_t slot, uint32_t hash) {
  uint32_t mask = map->index_size - 1, i = hash & mask;
  while (map->index[i])
    i = (i + STRIDE) & mask;
  map->index[i] = slot;
}

static void rebuild(orr_identity *map) {
  memset(map->index, 0, map->index_size * sizeof *map->index);
  for (uint32_t slot = 1; slot <= map->used; slot++)
    if (map->slots[slot].class_id)
      place(map, slot, hash_slot(&map->slots[slot]));
}

static void release(orr_identity *map, uint32_t slot) {
  free_bytes(map, &map->slots[slot]);
  map->slots[slot].class_id = 0;
  map->slots[slot].as.next_free = map->free;
  map->free = slot;
  map->live--;
  map->stamp++;
}

static void sweep(orr_identity *map, orr_slot_alive alive, void *ud) {
  for (uint32_t slot = 1; slot <= map->used; slot++)
    if (map->slots[slot].class_id && !alive(ud, slot))
      release(map, slot);
}

/* Whether there are dead slots among some that are spread over all. */
static bool has_dead(const orr_identity *map, orr_slot_alive alive, void *ud) {
  uint32_t step = map->used / SAMPLES + 1;
  for (uint32_t slot = 1; slot <= map->used; slot += step)
    if (map->slots[slot].class_id && !alive(ud, slot))
      return true;
  return false;
}

/* The size of an index that has room for `count` more keys, 0 where there is none so big. */
static uint32_t size_for(const orr_identity *map, uint32_t count) {
  uint32_t size = map->index_size ? map->index_size : FIRST_INDEX;
  while ((uint64_t)map->live + count > size / 8 * 7) {
    if (size > UINT32_MAX / 2) /* out of reach: 16 GB for an index */
      return 0;
    size *= 2;
  }
  return size;
}

static bool set_index(orr_identity *map, uint32_t size) {
  uint32_t *index = orr_alloc_array(&map->alloc, size, sizeof *index); /* none of size 0 */
  if (!index)
    return false;
  orr_alloc_free(&map->alloc, map->index, map->index_size, sizeof *map->index);
  map->index = index;
  map->index_size = size;
  return true;
}

/* Keeps the index at most seven eighths full: keys that come in order, as most do, fill whole lines of it, so
   that they are found as fast as in an emptier one. Sweeping comes first, so that it grows with living
   objects only. A sweep takes longer than a fresh index, so it is left out where it would find little. Where
   few were dead the index grows at once, since the next sweep would come soon. */
static bool make_room(orr_identity *map, uint32_t count, orr_slot_alive alive, void *ud) {
  if ((uint64_t)map->live + count <= map->index_size / 8 * 7)
    return true;
  uint32_t before = map->live;
  if (has_dead(map, alive, ud))
    sweep(map, alive, ud);
  uint32_t size = size_for(map, count);
  if (size == map->index_size && map->live > before / 2 && size <= UINT32_MAX / 2)
    size *= 2;
  bool fits = size == map->index_size || set_index(map, size);
  if (map->index)
    rebuild(map);
  return fits;
}

static bool grow_slots(orr_identity *map, uint32_t count) {
  if (map->used >= UINT32_MAX - 1 - count) /* out of reach: as above */
    return false;
  if ((size_t)map->used + 1 + count <= map->capacity)
    return true;
  orr_slot *slots =
      orr_alloc_grow(&map->alloc, map->slots, &map->capacity, (size_t)map->used + 1 + count, sizeof *slots);
  if (!slots)
    return false;
  map->slots = slots;
  return true;
}

bool orr_identity_reserve(orr_identity *map, uint32_t count, orr_slot_alive alive, void *ud) {
  return count == 0 || (make_room(map, count, alive, ud) && grow_slots(map, count));
}

static uint32_t take_slot(orr_identity *map) {
  uint32_t slot = map->free;
  if (slot) {
    map->free = map->slots[slot].as.next_free;
    return slot;
  }
  return grow_slots(map, 1) ? ++map->used : 0;
}

/* The bytes of a key as the map keeps them; false without memory. */
static bool keep_bytes(orr_identity *map, const orr_key *key, char **bytes) {
  *bytes = (char *)key->bytes;
  if (!key->bytes || key->given)
    return true;
  *bytes = map->alloc.resize(map->alloc.ud, NULL, 0, key->len);
  if (*bytes)
    memcpy(*bytes, key->bytes, key->len);
  return *bytes != NULL;
}

/* Makes a slot for a key, or returns 0. */
static uint32_t fill_slot(orr_identity *map, const orr_key *key) {
  char *bytes;
  if (!keep_bytes(map, key, &bytes))
    return 0;
  uint32_t number = take_slot(map);
  if (!number) {
    if (!key->given)
      orr_alloc_free(&map->alloc, bytes, key->len, 1);
    return 0;
  }
  orr_slot *slot = &map->slots[number];
  slot->class_id = key->class_id;
  slot->len = key->len;
  if (bytes)
    slot->as.bytes = bytes;
  else
    slot->as.number = key->number;
  map->live++;
  return number;
}

uint32_t orr_identity_claim(orr_identity *map, const orr_key *key, orr_slot_alive alive, void *ud,
                            bool *found) {
  *found = false;
  if (map->live >= map->index_size / 8 * 7 && !make_room(map, 1, alive, ud))
    return 0;
  uint32_t *place = &map->index[probe(map, key)];
  *found = *place != 0;
  return *found ? *place : (*place = fill_slot(map, key));
}

/* Closes the gap that a removed entry leaves in its probe sequence (Knuth 6.4, algorithm R). */
static void close_gap(orr_identity *map, uint32_t gap) {
  uint32_t mask = map->index_size - 1;
  for (uint32_t i = (gap + STRIDE) & mask; map->index[i]; i = (i + STRIDE) & mask) {
    uint32_t home = hash_slot(&map->slots[map->index[i]]) & mask;
    if ((PACES * (i - home) & mask) >= (PACES * (i - gap) & mask)) {
      map->index[gap] = map->index[i];
      gap = i;
    }
  }
  map->index[gap] = 0;
}

void orr_identity_remove(orr_identity *map, uint32_t slot) {
  uint32_t mask = map->index_size - 1, i = hash_slot(&map->slots[slot]) & mask;
  while (map->index[i] != slot)
    i = (i + STRIDE) & mask;
  close_gap(map, i);
  release(map, slot);
}
