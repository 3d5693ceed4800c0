-- fork: runs a function in a forked child, by a small C module that is compiled when it is first wanted. nil where there
-- is no compiler or no lua.h.
local SOURCE = [[
#include <lauxlib.h>
#include <lua.h>
#include <sys/wait.h>
#include <unistd.h>

static int fork_(lua_State *L) {
  lua_pushinteger(L, fork());
  return 1;
}

static int wait_(lua_State *L) {
  int status = 0;
  waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 1;
}

static int leave(lua_State *L) {
  _exit((int)luaL_checkinteger(L, 1));
  return 0;
}

int luaopen_forking(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, fork_);
  lua_setfield(L, -2, "fork");
  lua_pushcfunction(L, wait_);
  lua_setfield(L, -2, "wait");
  lua_pushcfunction(L, leave);
  lua_setfield(L, -2, "leave");
  return 1;
}
]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function build()
  if not package.loadlib then
    return nil
  end
  local base = os.tmpname()
  local folder = rawget(_G, "jit") and "luajit-2.1" or "lua" .. _VERSION:match("%d+%.%d+")
  write(base .. ".c", SOURCE)
  os.execute(("LD_PRELOAD= cc -shared -fPIC -I/usr/include/%s -o %s.so %s.c 2>/dev/null"):format(folder, base, base))
  local open = package.loadlib(base .. ".so", "luaopen_forking")
  for _, ending in ipairs{ "", ".c", ".so" } do
    os.remove(base .. ending)
  end
  return open and open()
end

local forking = build()

--- Runs fn in a child process and returns what it returned, as text, or the error's kind and message.
return forking and function(fn)
  local path = os.tmpname()
  local child = forking.fork()
  if child == 0 then
    local ok, value = pcall(fn)
    pcall(write, path, ok and tostring(value) or type(value) == "table" and value.kind .. ": " .. value.message
      or tostring(value))
    forking.leave(0)
  end
  forking.wait(child)
  local text = read(path)
  os.remove(path)
  return text
end
