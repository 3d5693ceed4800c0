-- `luarocks make` in a checkout: needs a C compiler, make, Lua's and SQLite's headers, and no network.
package = "orrery"
version = "scm-1"
source = {
  url = "git+file://.", -- `luarocks make` takes the folder it runs in
}
description = {
  summary = "An ORM for Lua with a C core, in the manner of SQLAlchemy",
  license = "MIT",
}
dependencies = { "lua >= 5.1" }
external_dependencies = {
  SQLITE = { header = "sqlite3.h", library = "sqlite3" },
}
build = {
  type = "make",
  build_target = "library",
  install_target = "install-rock",
  -- The same for both passes, since another command makes the Makefile build anew; a folder for each Lua.
  variables = {
    OUT = "build/rock$(LUA_INCDIR)",
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUA_PROGRAM = "$(LUA)",
    SQLITE_INCDIR = "$(SQLITE_INCDIR)",
    SQLITE_LIBDIR = "$(SQLITE_LIBDIR)",
    INST_LIBDIR = "$(LIBDIR)",
  },
}
