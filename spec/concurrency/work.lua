-- work: what one process or thread does. usage: lua work.lua FILE NUMBER ROLE UNITS, or called with these by a host.
local orm = require "orrery"
local file, number, role, units = ...
role, units = role or "writer", tonumber(units or 25)

local base = orm.declarative_base()
local Counter = base:model("Counter", {
  __tablename__ = "counter",
  id = orm.mapped_column(orm.Integer, { primary_key = true }),
  value = orm.mapped_column(orm.Integer),
  version = orm.mapped_column(orm.Integer),
  __mapper_args__ = { version_id_col = "version" },
})
local engine = orm.create_engine("sqlite:///" .. file, { timeout = 60 })
local ROWS = 4
local roles = {}

function roles.create()
  base.metadata:create_all(engine)
  local session = orm.Session(engine)
  for id = 1, ROWS do
    session:add(Counter { id = id, value = 0 })
  end
  session:commit()
end

-- Reads a row, adds one, commits; what another has changed meanwhile is read again. Says what was acknowledged.
function roles.writer()
  local acknowledged = { 0, 0, 0, 0 }
  local state = tonumber(number) * 7919 + 13
  for _ = 1, units do
    state = (state * 16807) % 2147483647
    local id, done = state % ROWS + 1, false
    while not done do -- a block takes the writer's lock at its beginning
      local session = orm.Session(engine)
      local ok, err = pcall(function()
        session:begin(function()
          local counter = session:get(Counter, id)
          counter.value = counter.value + 1
        end)
      end)
      session:close()
      if not ok and not orm.is_error(err, "StaleDataError") then
        error(err, 0)
      end
      done = ok
    end
    acknowledged[id] = acknowledged[id] + 1
  end
  print(table.concat(acknowledged, " "))
end

-- Reads all rows in one transaction again and again: within it nothing changes.
function roles.reader()
  for _ = 1, units do
    local session = orm.Session(engine)
    local seen
    for _ = 1, 20 do
      local sum = session:execute(orm.select(orm.func.sum(Counter.value))):scalar()
      assert(seen == nil or seen == sum, "a row changed within a transaction")
      seen = sum
    end
    session:rollback()
    session:close()
  end
end

-- Makes and drops tables beside them.
function roles.migrator()
  for round = 1, units do
    local metadata = orm.MetaData()
    orm.Table("extra", metadata, orm.Column("id", orm.Integer, { primary_key = true }))
    metadata:create_all(engine)
    engine:begin(function(conn) conn:execute(orm.text("INSERT INTO extra VALUES (" .. round .. ")")) end)
    metadata:drop_all(engine)
  end
end

-- "sum of each row, and its version"
function roles.total()
  local session = orm.Session(engine)
  local values = {}
  for _, counter in ipairs(session:query(Counter):order_by(Counter.id):all()) do
    values[#values + 1] = counter.value
    assert(counter.version == counter.value + 1, "a version without a change")
  end
  print(table.concat(values, " "))
end

roles[role]()
engine:dispose()
