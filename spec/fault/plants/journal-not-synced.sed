# nothing is synced at all
# in src/driver/sqlite.c
# caught by power graph
s/PRAGMA synchronous = EXTRA/PRAGMA synchronous = OFF/
