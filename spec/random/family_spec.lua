-- @slow
-- Families of classes under random changes: what a session writes and loads agrees with a plain model of the objects.
local orm = require "orrery"
local staff = require "spec.support.staff"
local database = require "spec.support.database"

local OWN = { Manager = { "budget" }, Engineer = { "language" }, Senior = { "language", "stars" }, Employee = {} }
local CLASSES = { "Employee", "Manager", "Engineer", "Senior" }
local ROUNDS, STEPS = 12, 80

-- A generator of its own, so that every Lua has the same sequence.
local function generator(seed)
  return function(most)
    seed = (seed * 16807) % 2147483647
    return seed % most + 1
  end
end

local function value_of(random, column)
  local number = random(50)
  return column == "language" and "l" .. number or number
end

local function shown(kind, id, fields)
  local parts = { kind, tostring(id), fields.name }
  for _, column in ipairs(OWN[kind]) do
    parts[#parts + 1] = tostring(fields[column])
  end
  return table.concat(parts, "|")
end

local steps = {}

function steps.add(state, random)
  local kind = CLASSES[random(#CLASSES)]
  local fields = { name = "n" .. random(99) }
  for _, column in ipairs(OWN[kind]) do
    fields[column] = value_of(random, column)
  end
  local object = state.lib[kind](fields)
  state.session:add(object)
  state.session:flush()
  state.model[object.id] = { kind = kind, fields = fields }
  state.ids[#state.ids + 1] = object.id
end

function steps.change(state, random)
  local id = state.ids[random(#state.ids)]
  local entry = id and state.model[id]
  if entry then
    local object = state.session:get(state.lib[random(2) == 1 and "Employee" or entry.kind], id)
    local column = OWN[entry.kind][random(3)] or "name"
    local value = column == "name" and "m" .. random(99) or value_of(random, column)
    object[column], entry.fields[column] = value, value
  end
end

function steps.remove(state, random)
  local id = state.ids[random(#state.ids)]
  if id and state.model[id] then
    state.session:delete(state.session:get(state.lib.Employee, id))
    state.model[id] = nil
  end
end

function steps.commit(state)
  state.session:commit()
end

function steps.close(state)
  state.session:commit()
  state.session:close()
end

local function compare(state, objects)
  local found = {}
  for _, object in ipairs(objects) do
    local entry = state.model[object.id]
    assert.is_not_nil(entry)
    assert.is_true(orm.isinstance(object, state.lib[entry.kind]))
    assert.equal(shown(entry.kind, object.id, entry.fields), shown(entry.kind, object.id, object))
    found[object.id] = true
  end
  return found
end

function steps.load(state, random)
  local lib, select = state.lib, orm.select
  local ways = {
    function() return select(lib.Employee) end,
    function() return select(orm.with_polymorphic(lib.Employee, "*")) end,
    function() return select(lib.Employee):options(orm.selectin_polymorphic(lib.Employee, { lib.Manager, lib.Senior })) end,
  }
  local found = compare(state, state.session:scalars(ways[random(#ways)]()):all())
  for id in pairs(state.model) do
    assert.is_true(found[id])
  end
  compare(state, state.session:scalars(select(lib[CLASSES[random(#CLASSES)]])):all())
end

local NAMES = { "add", "add", "change", "change", "change", "remove", "commit", "close", "load" }

local function run(seed, joined)
  local lib, random = staff.empty { joined = joined }, generator(seed)
  local state = { lib = lib, session = lib.session, model = {}, ids = {} }
  steps.add(state, random)
  for _ = 1, STEPS do
    steps[NAMES[random(#NAMES)]](state, random)
  end
  state.session:commit()
  state.session:close()
  steps.load(state, random)
  local count = 0
  for _ in pairs(state.model) do
    count = count + 1
  end
  assert.same({ tostring(count) }, database.rows(lib.engine, "SELECT count(*) FROM employee"))
  if joined then
    assert.same({ "0" }, database.rows(lib.engine, "SELECT count(*) FROM manager WHERE id NOT IN (SELECT id FROM employee)"))
  end
end

describe("a family of classes under random changes", function()
  for _, joined in ipairs { false, true } do
    for round = 1, ROUNDS do
      it(("agrees with a model (%s, seed %d)"):format(joined and "joined" or "single", round), function()
        run(round * 7919, joined)
      end)
    end
  end
end)
