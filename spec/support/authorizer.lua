-- authorizer: builds authorizer.c for the Lua that runs, and loads it.
local lua = rawget(_G, "jit") and "luajit-2.1" or "lua" .. _VERSION:match("%d%.%d")
local file = os.tmpname()
local built = os.execute(("env -u LD_PRELOAD cc -shared -fPIC -I/usr/include/%s -I/usr/local/include/%s -o %s "
  .. "spec/support/authorizer.c -lsqlite3"):format(lua, lua, file))
assert(built == true or built == 0, "authorizer.c could not be built")
local open = assert(package.loadlib(file, "luaopen_authorizer"))
os.remove(file)
return open()
