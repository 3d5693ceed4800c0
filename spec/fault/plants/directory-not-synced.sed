# SQLite's default of synchronous
# in src/driver/sqlite.c
# caught by power graph
s/PRAGMA synchronous = EXTRA/PRAGMA synchronous = FULL/
