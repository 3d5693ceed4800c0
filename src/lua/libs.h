/* libs: what each binding file adds to the private module table "core", which is on top of the stack. */
#ifndef ORR_LIBS_H
#define ORR_LIBS_H

#include "box.h"

void orr_type_open(lua_State *L);    /* typelib.c: type handles, take and push by type */
void orr_pack_open(lua_State *L);    /* packlib.c: lists of values as JSON arrays */
void orr_schema_open(lua_State *L);  /* schemalib.c: schema handle, relation resolution, graph */
void orr_conn_open(lua_State *L);    /* connlib.c: connections and statements */
void orr_class_open(lua_State *L);   /* instancelib.c: mapped classes, packed instances, collections */
void orr_session_open(lua_State *L); /* sessionlib.c: identity map, dirty set, load and flush loops */
void orr_sketch_open(
    lua_State *L);                /* sketchlib.c: the search for a statement in the cache of compiled ones */
void orr_node_open(lua_State *L); /* nodelib.c: the nodes that most queries are written with */
void orr_sandbox_open(lua_State *L); /* sandboxlib.c: states with limits for scripts that are not trusted */

void orr_read_all(lua_State *L); /* orrery.c: loads what a script has not asked for yet */

#endif
