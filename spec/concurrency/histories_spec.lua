-- @bare @slow  Random histories of two or three sessions on one file against a serial model: each session reads, changes and ends
-- its transaction at random, in turns; what it reads within a transaction is what was committed when that began, its own
-- changes on top, and what is committed at the end is what the model says, whoever was refused.
local orm = require "orrery"
local database = require "spec.support.database"

local HISTORIES, STEPS, ROWS = tonumber(os.getenv("HISTORIES") or 100), 25, 3

local base = orm.declarative_base()
local Cell = base:model("Cell", {
  __tablename__ = "cell",
  id = orm.mapped_column(orm.Integer, { primary_key = true }),
  value = orm.mapped_column(orm.Integer),
  version = orm.mapped_column(orm.Integer),
  __mapper_args__ = { version_id_col = "version" },
})

local function copy(values)
  return { (table.unpack or unpack)(values, 1, ROWS) }
end

local function generator(seed)
  local state = seed * 7919 + 13
  return function(n)
    state = (state * 16807) % 2147483647
    return math.floor(state / 64) % n + 1
  end
end

-- What a session may answer where another one is in its way.
local function is_refusal(err)
  return orm.is_error(err, "StaleDataError") or (orm.is_error(err, "OperationalError") and err.retryable)
end

-- A session beside what it must show: `seen` the values of its transaction, nil outside one.
local function new_party(engine)
  return { session = orm.Session(engine), seen = nil, changed = {} }
end

local function leave(party)
  party.seen, party.changed = nil, {}
end

local function roll_back(party)
  party.session:rollback()
  leave(party)
end

local function try(party, fn)
  local ok, err = pcall(fn)
  if ok then
    return true
  end
  assert(is_refusal(err), tostring(err))
  roll_back(party)
  return false
end

local ACTIONS = {}

function ACTIONS.read(party, rand, committed)
  local id = rand(ROWS)
  try(party, function()
    local value = party.session:get(Cell, id).value
    party.seen = party.seen or copy(committed)
    assert(value == party.seen[id], ("row %d reads %s, the model says %s"):format(id, tostring(value), tostring(party.seen[id])))
  end)
end

function ACTIONS.change(party, rand, committed)
  local id = rand(ROWS)
  try(party, function()
    local cell = party.session:get(Cell, id)
    party.seen = party.seen or copy(committed)
    cell.value = cell.value + rand(9)
    party.seen[id] = cell.value
    party.changed[id] = true
    party.session:flush()
  end)
end

function ACTIONS.commit(party, _, committed)
  local changed, seen = party.changed, party.seen
  if try(party, function() party.session:commit() end) then
    for id in pairs(changed) do
      committed[id] = seen[id]
    end
  end
  leave(party)
end

ACTIONS.rollback = roll_back

local ORDER = { "read", "read", "change", "change", "commit", "rollback" }

local function reset(engine)
  database.run(engine, "DELETE FROM cell", "INSERT INTO cell VALUES (1, 0, 1), (2, 0, 1), (3, 0, 1)")
end

local function play(engine, seed)
  local rand, committed, parties = generator(seed), { 0, 0, 0 }, {}
  reset(engine)
  for number = 1, 1 + rand(2) do
    parties[number] = new_party(engine)
  end
  for _ = 1, STEPS do
    ACTIONS[ORDER[rand(#ORDER)]](parties[rand(#parties)], rand, committed)
  end
  for _, party in ipairs(parties) do
    party.session:close()
  end
  local rows = database.rows(engine, "SELECT value FROM cell ORDER BY id")
  for id = 1, ROWS do
    assert(tonumber(rows[id]) == committed[id], ("row %d holds %s, the model says %s"):format(id, tostring(rows[id]),
      tostring(committed[id])))
  end
end

describe("sessions beside each other", function()
  for _, journal in ipairs { "DELETE", "WAL" } do
    it("agree with a serial model, journal " .. journal, function()
      local path, remove = database.file()
      local engine = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
      orm.event.listen(engine, "connect", function(dbc) dbc:exec("PRAGMA synchronous = OFF") end)
      base.metadata:create_all(engine)
      local conn = engine:connect()
      conn.dbc:prepare("PRAGMA journal_mode = " .. journal):fetch({})
      conn:close()
      for seed = 1, HISTORIES / 2 do
        local ok, err = pcall(play, engine, seed)
        assert(ok, ("history %d: %s"):format(seed, tostring(err)))
      end
      engine:dispose()
      remove()
    end)
  end
end)
