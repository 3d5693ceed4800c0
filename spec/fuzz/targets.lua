-- targets: what is fuzzed, each a function of bytes that gives nil, or says what is wrong. An error of Orrery's is an
-- answer; any other error is a finding.
package.path = "./?.lua;" .. package.path
local orm = require "orrery"
local life = require "spec.random.life"

local targets = {}

local function guarded(fn)
  return function(bytes)
    local ok, found = pcall(fn, bytes)
    if not ok and not orm.is_error(found) then
      return tostring(found)
    end
    return ok and found or nil
  end
end

-- A URL that is read can be written and read again, and is the same.
targets.url = guarded(function(bytes)
  local url = orm.make_url(bytes)
  local again = orm.make_url(url:render_as_string { hide_password = false })
  for _, part in ipairs { "drivername", "username", "password", "host", "port", "database" } do
    if url[part] ~= again[part] then
      return ("%s was %s and is %s"):format(part, tostring(url[part]), tostring(again[part]))
    end
  end
end)

local engine = orm.create_engine("sqlite://")
local connection = engine:connect()

-- As many values as there are names; what text() sends is one statement that SQLite can read, or an error of SQLite's.
targets.text = guarded(function(bytes)
  local values = setmetatable({}, { __index = function() return 1 end })
  local names = {}
  for name in bytes:gmatch(":([%a_][%w_]*)") do
    names[name] = values[name]
  end
  connection:execute(orm.text("EXPLAIN SELECT 1 WHERE 0 AND " .. bytes), names):close()
end)

local function looked_at(engine_of)
  local inspector = orm.inspector(engine_of)
  for _, name in ipairs(inspector:get_table_names()) do
    inspector:get_columns(name)
    inspector:get_pk_constraint(name)
    inspector:get_foreign_keys(name)
    inspector:get_indexes(name)
    inspector:get_unique_constraints(name)
    inspector:get_check_constraints(name)
  end
end

-- What a hostile file says of its tables is read, or refused.
function targets.schema(bytes)
  local mine = database(bytes) -- luacheck: ignore
  local wrong = guarded(looked_at)(mine) or guarded(function()
    local metadata = orm.MetaData()
    metadata:reflect(mine)
    orm.diagram(metadata)
  end)(mine) or guarded(function() orm.automap(mine) end)(mine)
  pcall(mine.dispose, mine)
  return wrong
end

-- ---- expressions ----

local base = orm.declarative_base()
local Thing = base:model("Thing", {
  __tablename__ = "thing",
  id = orm.mapped_column(orm.Integer, { primary_key = true }),
  number = orm.mapped_column(orm.Float),
  exact = orm.mapped_column(orm.Numeric(10, 2)),
  text = orm.mapped_column(orm.String(20)),
  yes = orm.mapped_column(orm.Boolean),
  day = orm.mapped_column(orm.Date),
  moment = orm.mapped_column(orm.DateTime),
  time = orm.mapped_column(orm.Time),
  data = orm.mapped_column(orm.LargeBinary),
  span = orm.mapped_column(orm.Interval),
  kind = orm.mapped_column(orm.Enum("a", "b")),
  uuid = orm.mapped_column(orm.Uuid),
})
base.metadata:create_all(engine)

local NAMES = { "id", "number", "exact", "text", "yes", "day", "moment", "time", "data", "span", "kind", "uuid" }
local UNARY = { "is_null", "is_not_null", "desc", "asc", "distinct" }
local BINARY = { "eq", "ne", "lt", "le", "gt", "ge", "like", "ilike", "contains", "startswith", "endswith", "concat", "is_",
  "is_not", "op", "add", "sub", "mul", "div", "mod" }

local function reader(bytes)
  local at = 0
  return function(n)
    at = at + 1
    local value = bytes:byte(at)
    return value and (n and value % n + 1 or value)
  end
end

local function apply(stack, read)
  local what = read(8)
  local top, under = stack[#stack], stack[#stack - 1]
  if what == 1 then
    stack[#stack + 1] = Thing[NAMES[read(#NAMES) or 1]]
  elseif what == 2 then
    stack[#stack + 1] = orm.literal((read() or 0) - 100)
  elseif what == 3 then
    stack[#stack + 1] = string.char(read() or 0):rep(read(9) or 1)
  elseif what == 4 and top ~= nil then
    local method = type(top) ~= "string" and top[UNARY[read(#UNARY) or 1]]
    stack[#stack] = method and method(top) or top
  elseif what == 5 and under ~= nil then
    local method = type(under) ~= "string" and under[BINARY[read(#BINARY) or 1]]
    stack[#stack - 1], stack[#stack] = method and method(under, top) or under, nil
  elseif what == 6 and under ~= nil then
    stack[#stack - 1], stack[#stack] = orm[read(2) == 1 and "and_" or "or_"](under, top), nil
  elseif what == 7 and top ~= nil then
    stack[#stack] = orm.not_(top)
  elseif top ~= nil then
    stack[#stack] = orm.func[({ "lower", "coalesce", "sum", "count" })[read(4) or 1]](top, under)
  end
end

-- A tree that can be built can be compiled, twice to the same text, and run.
targets.expression = guarded(function(bytes)
  local read, stack = reader(bytes), {}
  for _ = 1, math.min(#bytes, 300) do
    guarded(function() apply(stack, read) end)()
  end
  local top = stack[#stack]
  if top == nil or type(top) == "string" then
    return nil
  end
  local statement = orm.select(Thing.id):where(top)
  local first, second = tostring(statement), tostring(orm.select(Thing.id):where(top))
  if first ~= second then
    return "compiled differently: " .. first .. " / " .. second
  end
  connection:execute(statement):all()
end)

-- ---- rows ----

local VALUES = {
  function() return "NULL" end,
  function(read) return tostring((read() or 0) * 2 ^ (read(56) or 0)):gsub("inf", "9e999") end,
  function(read) return ("%d"):format((read() or 0) - 128) end,
  function(read) return ("x'%02x%02x%02x'"):format(read() or 0, read() or 0, read() or 0) end,
  function(read)
    local function part() return read() or 0 end
    return ("'%04d-%02d-%02d %02d:%02d'"):format(part() * 40, part(), part(), part(), part())
  end,
  function(read)
    local chars = {}
    for position = 1, read(12) or 0 do
      chars[position] = ("%02x"):format(read() or 0)
    end
    return "CAST(x'" .. table.concat(chars) .. "' AS TEXT)"
  end,
  function() return "9223372036854775807" end,
  function() return "-9e999" end,
}

-- Whatever a row holds reads as a value, or says which column does not fit.
targets.rows = guarded(function(bytes)
  local read, list = reader(bytes), { "1" }
  for position = 2, #NAMES do
    list[position] = VALUES[read(#VALUES) or 1](read)
  end
  connection:execute(orm.text("DELETE FROM thing"))
  connection:execute(orm.text(("INSERT INTO thing (%s) VALUES (%s)"):format(table.concat(NAMES, ", "), table.concat(list, ", "))))
  local session = orm.Session(connection)
  local wrong
  for _, name in ipairs(NAMES) do
    wrong = wrong or guarded(function() return session:get(Thing, 1)[name] ~= nil and nil end)()
    wrong = wrong or guarded(function() connection:execute(orm.select(Thing[name])):all() end)()
  end
  session:close()
  return wrong
end)

targets.life = function(bytes)
  local read = reader(bytes)
  return life(function() return read() end)
end

return targets
