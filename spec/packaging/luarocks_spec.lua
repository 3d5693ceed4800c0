-- @lua 5.4 @bare  `luarocks make` into a tree of its own, offline, and a script that finds Orrery only there.

local SCRIPT = [[
local orm = require "orrery"
local Base = orm.declarative_base()
local Star = Base:model("Star", {
  __tablename__ = "stars",
  id = orm.Mapped(orm.Integer, { primary_key = true }),
  name = orm.Mapped(orm.String(30)),
})
local engine = orm.create_engine("sqlite:///:memory:")
Base.metadata:create_all(engine)
local session = orm.Session(engine)
session:add(Star{ name = "Vega" })
session:commit()
local star = session:scalars(orm.select(Star)):one()
print(_VERSION, package.searchpath and package.searchpath("orrery", package.cpath) or "", star.id, star.name)
session:close()
]]

-- What a command printed, both streams, and whether it succeeded.
local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read("a")
  return text, (pipe:close())
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("luarocks make", function()
  local folder

  setup(function()
    folder = assert(output("mktemp -d")):gsub("%s+$", "")
    write(folder .. "/script.lua", SCRIPT)
  end)

  teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

  -- The proxy leads nowhere: an attempt to reach the network fails.
  local function install(version)
    local command = "env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 "
      .. "luarocks --lua-version %s make --tree '%s/tree' orrery-scm-1.rockspec"
    local text, fine = output(command:format(version, folder))
    assert.is_true(fine, text)
  end

  -- From another folder, so that the checkout's own module is not found.
  local function run(interpreter, version)
    local command = "cd '%s' && env LUA_CPATH='%s/tree/lib/lua/%s/?.so' %s script.lua"
    local text, fine = output(command:format(folder, folder, version, interpreter))
    assert.is_true(fine, text)
    return text
  end

  it("installs for Lua 5.4", function()
    install("5.4")
    assert.matches("^Lua 5.4%s+" .. folder:gsub("%p", "%%%0") .. "/tree/lib/lua/5.4/orrery.so%s+1%s+Vega\n$",
      run("lua5.4", "5.4"))
  end)

  it("installs for Lua 5.1, and LuaJIT uses the same tree", function()
    install("5.1")
    assert.matches("^Lua 5.1%s+1%s+Vega\n$", run("lua5.1", "5.1"))
    assert.matches("^Lua 5.1%s+%S+orrery.so%s+1%s+Vega\n$", run("luajit", "5.1"))
  end)

  it("leaves nothing behind but the module", function()
    local find = "find lib/lua share/lua bin -type f 2>/dev/null | LC_ALL=C sort"
    local listing = output("cd '" .. folder .. "/tree' && " .. find)
    assert.equal("lib/lua/5.1/orrery.so\nlib/lua/5.4/orrery.so\n", listing)
  end)
end)
