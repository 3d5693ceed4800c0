-- What a script's own functions cost: a type with Lua functions both ways, a validator and listeners, against the same
-- work without them.
-- usage: LUA typed.lua DATABASE WORKLOAD [plain]; T1 makes the database (20,000 objects), T2 loads and reads it, T3 changes
-- every object. Prints one JSON line as workloads.lua does.
local path, workload, plain = arg[1], arg[2], arg[3] == "plain"
local orm = require "orrery"
local Integer, Text, Column = orm.Integer, orm.Text, orm.Column

local COUNT = 20000

if workload == "T1" then
  os.remove(path)
end

-- Points are stored as "x,y".
local Point = orm.TypeDecorator("Point", {
  impl = Text,
  process_bind_param = function(_, value) return value.x .. "," .. value.y end,
  process_result_value = function(_, text)
    local x, y = text:match("^(%d+),(%d+)$")
    return { x = tonumber(x), y = tonumber(y) }
  end,
})

local Base = orm.declarative_base()
local Place = Base:model("Place", {
  __tablename__ = "place",
  id = Column(Integer, { primary_key = true }),
  name = Column(Text),
  at = Column(plain and Text or Point),
  visits = Column(Integer),
})

local heard = 0
if not plain then
  orm.validates(Place, "visits", function(_, _, value)
    assert(value >= 0, "visits cannot be negative")
    return value
  end)
  orm.event.listen(Place, "before_insert", function() heard = heard + 1 end)
  orm.event.listen(Place, "before_update", function() heard = heard + 1 end)
end

local engine = orm.create_engine("sqlite:////" .. path:gsub("^/", ""))
if workload == "T1" then
  Base.metadata:create_all(engine)
end
orm.configure_mappers()
local session = orm.Session(engine)
session:connection():ensure_begun(workload ~= "T2")

local function point(i)
  return plain and i % 100 .. "," .. i % 77 or { x = i % 100, y = i % 77 }
end

local T = {}

function T.T1()
  for i = 1, COUNT do
    session:add(Place{ name = "Place " .. i, at = point(i), visits = i % 10 })
  end
  session:commit()
  return COUNT
end

function T.T2()
  local total = 0
  for _, place in ipairs(session:scalars(orm.select(Place)):all()) do
    local at = place.at
    total = total + (plain and tonumber(at:match("^(%d+),")) or at.x)
  end
  return total
end

function T.T3()
  for i, place in ipairs(session:scalars(orm.select(Place)):all()) do
    place.visits, place.at = place.visits + 1, point(i + 1)
  end
  session:commit()
  return COUNT
end

collectgarbage()
local started = os.clock()
local check = assert(T[workload], "unknown workload")()
local cpu = os.clock() - started
assert(plain or workload == "T2" or heard == COUNT)
io.write(('{"w":"%s","wall":%.6f,"cpu":%.6f,"check":%.2f}\n'):format(workload, cpu, cpu, check))
io.stdout:flush()
os.exit(0)
