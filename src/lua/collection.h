/* collection: what the two files about collections share: collectionlib.c (lists, and what is alike in all
   collections) and uniquelib.c (sets and keyed collections, which hold an object once). Where a function is
   said to be called by a script, the collection is at stack index 1. */
#ifndef ORR_COLLECTION_H
#define ORR_COLLECTION_H

#include "mapped.h"

/* ---- collectionlib.c ---- */

/* First position of the item from 1, or 0. */
uint32_t orr_collection_position(lua_State *L, orr_collection *list, int index, int item);
/* Adds at the end, whatever the form. */
void orr_collection_put_last(lua_State *L, orr_collection *list, int index, int item);
/* For loaders, which put item after item into fresh collections: `table` is a stack place for the table of
   the collection at `index`. orr_collection_turn() comes first, and again after others had that place. */
void orr_collection_turn(lua_State *L, const orr_collection *list, int index, int table);
void orr_collection_load(lua_State *L, orr_collection *list, int index, int table, int item);
/* Called by a script: pushes the owner, and raises where the collection is no longer what the owner shows. */
orr_instance *orr_collection_begin(lua_State *L, orr_collection *list);
/* The same: raises unless the value at `item` may come in; validators may replace it. */
void orr_collection_accept(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index,
                           int item);
/* The same: puts in an item that was accepted, with events. */
void orr_collection_admit(lua_State *L, orr_collection *list, orr_instance *owner, int owner_index, int item);
/* The same: takes out the item at a position, with events. */
void orr_collection_remove_at(lua_State *L, orr_collection *list, uint32_t at);
/* The same: raises an ArgumentError that names the owner's class and attribute. */
int orr_collection_refuse(lua_State *L, orr_collection *list, const char *message);

/* ---- uniquelib.c ---- */

/* Makes the tables that a set or keyed collection, at `index`, knows its items by. */
void orr_unique_open(lua_State *L, orr_collection *list, int index);
bool orr_unique_has(lua_State *L, int index, int item);
/* Adds an item without events; one that is there stays, and what stands under its key gives way. */
void orr_unique_push(lua_State *L, orr_collection *list, int index, int item);
/* The item was taken out of the array. */
void orr_unique_forget(lua_State *L, orr_collection *list, int index, int item);
/* All items were exchanged. */
void orr_unique_rebuild(lua_State *L, orr_collection *list, int index);
/* Raises where the item has no key for a keyed relation of `owner`. */
void orr_unique_check(lua_State *L, const orr_instance *owner, int relation, int item);
/* Pushes what stands under the key that the item at `item` has, where that is another item; else pushes
   nothing and returns false. */
bool orr_unique_rival(lua_State *L, orr_collection *list, int index, int item);
/* Called by a script, before an item comes in: false where it is in already. What stands under its key
 * leaves.
 */
bool orr_unique_make_room(lua_State *L, orr_collection *list, int item);
/* Leaves one of each item, or the last one of each key, in the array of `count` items, and returns how many.
   `keys` is an array of the keys under which a script gave them, or 0. */
uint32_t orr_unique_arrange(lua_State *L, orr_collection *list, orr_instance *owner, int array, int keys,
                            uint32_t count);
/* What a script calls. */
int orr_set_discard(lua_State *L);
int orr_keyed_get(lua_State *L);
int orr_keyed_set(lua_State *L);
int orr_keyed_pop(lua_State *L);
int orr_keyed_keys(lua_State *L);
int orr_keyed_to_table(lua_State *L);
int orr_keyed_next(lua_State *L, orr_collection *list);

#endif
