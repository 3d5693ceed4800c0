# a statement that is closed stays with SQLite
# in src/lua/connlib.c
# caught by memory --point 1 graph
/^static void close_statement/,/^}/s/s->base.driver->finalize(s->base.handle);/(void)0;/
