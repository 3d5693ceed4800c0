-- What require "orrery" reads at once, and what a script's first question for it.
local function printed_by(script)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write('local orm = require "orrery"\n', script)
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA_PROGRAM") or "lua5.4", path)))
  local printed = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return printed
end

describe("a script", function()
  it("that knows no classes reads nothing of them", function()
    assert.equal("1\tnil\n", printed_by[[
      local conn = orm.create_engine("sqlite://"):connect()
      print(conn:scalar(orm.text("SELECT 1")), rawget(orm, "Session"))
    ]])
  end)

  it("reads them with the first name of theirs, in a coroutine and without Lua's globals as well", function()
    assert.equal("true\ttrue\tfunction\n", printed_by[[
      local print, rawget, type = print, rawget, type
      local resume = coroutine.wrap(function()
        setmetatable, pairs, ipairs, error = nil, nil, nil, nil
        return orm.relationship ~= nil, rawget(orm, "Session") == orm.Session
      end)
      local first, second = resume()
      print(first, second, type(orm.relationship))
    ]])
  end)

  it("is told which name it means, of those that are not read yet as well", function()
    assert.truthy(printed_by[[print(orm.try(function() return orm.declarative_bas end))]]:find(
      "orrery has no 'declarative_bas'; did you mean 'declarative_base'?", 1, true))
  end)

  it("finds all names once it has asked for one of them", function()
    assert.equal("nil\tfunction\n", printed_by[[
      local before = rawget(orm, "selectinload")
      local _ = orm.Session
      print(before, type(rawget(orm, "selectinload")))
    ]])
  end)

  it("finds all names where it walks over them, from Lua 5.2 on", function()
    local _, missing = printed_by[[
      local found = {}
      for name in pairs(orm) do found[name] = true end
      print(found.create_engine, found.Session)
    ]]:gsub("nil", "")
    assert.equal(_VERSION == "Lua 5.1" and 1 or 0, missing)
  end)
end)
