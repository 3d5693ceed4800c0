-- @lua 5.4 @bare  scripts/annotate: what editors are told of the library is what the library has.
local orm = require "orrery"

local pipe = assert(io.popen("lua5.4 scripts/annotate lua/orrery"))
local text = pipe:read("a")
pipe:close()

local function methods_of(class)
  local names = {}
  for name in text:gmatch("\nfunction " .. class .. ":([%w_]+)") do
    names[#names + 1] = name
  end
  return names
end

describe("the annotations", function()
  it("are Lua, and begin as a file of annotations", function()
    assert.truthy(load(text))
    assert.truthy(text:find("^%-%-%-@meta orrery\n"))
  end)

  it("have every name of the library", function()
    local _ = orm.Session -- the rest is read by now
    for name in pairs(orm) do
      local known = name:find("^_") or text:find("orm." .. name .. " ", 1, true) or text:find("orm." .. name .. "(", 1, true)
        or text:find("orm = { " .. name, 1, true) or text:find("@field " .. name .. " ", 1, true)
      assert.truthy(known, name)
    end
  end)

  it("have methods that are there", function()
    local engine = orm.create_engine("sqlite://")
    local session = orm.Session(engine)
    local query = orm.select(orm.literal(1))
    local class = orm.declarative_base():model("A", { __tablename__ = "a", id = orm.Mapped(orm.Integer, { primary_key = true }) })
    local objects = {
      Session = session, Engine = engine, Connection = session:connection(), Select = query, Statement = query,
      Element = orm.literal(1), Result = session:execute(query), MetaData = orm.MetaData(), Table = class.__table__,
      Query = session:query(class), Inspector = orm.inspect(engine), Update = orm.update(class), Text = orm.text("SELECT 1"),
      SessionMaker = orm.sessionmaker(engine), LoaderOption = orm.load_only(class.id), Insert = orm.insert(class),
    }
    for name, object in pairs(objects) do
      local methods = methods_of(name)
      assert.truthy(methods[1], name)
      for _, method in ipairs(methods) do
        assert.truthy(object[method], name .. ":" .. method)
      end
    end
    session:close()
  end)

  it("name the parameters that the functions have", function()
    local parameters = {}
    for line in text:gmatch("[^\n]+") do
      local own = line:match("^function [%w_.:]+(%b())")
      if own then
        for _, name in ipairs(parameters) do
          local pattern = "[(, ]" .. (name == "..." and "%.%.%." or name) .. "[,)]"
          assert.truthy(own:find(pattern) or own == "(...)", line .. ": " .. name)
        end
        parameters = {}
      end
      parameters[#parameters + 1] = line:match("^%-%-%-@param ([%w_.]+)")
    end
  end)
end)
