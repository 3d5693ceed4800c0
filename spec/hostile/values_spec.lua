-- Every awkward value through every type that may take it: exactly what was given comes back, or a clear error comes
-- before any SQL. Attributes, Core, text() and plain binds.
local orm = require "orrery"
local strings = require "spec.hostile.strings"
local shared = require "spec.hostile.shared"

local HAS_INT64 = math.type ~= nil
local NAN = 0 / 0

local TYPES = {
  integer = orm.Integer, big = orm.BigInteger, bigtext = orm.BigInteger{ as = "string" }, float = orm.Float,
  numeric = orm.Numeric(10, 2), exact = orm.Numeric(30, 10, { as = "string" }), text = orm.Text, short = orm.String(5),
  bool = orm.Boolean, date = orm.Date, time = orm.Time, moment = orm.DateTime, bytes = orm.LargeBinary, json = orm.JSON,
  enum = orm.Enum("a", "'; DROP TABLE canary; --"), uuid = orm.Uuid,
}
local NAMES = {}
for name in pairs(TYPES) do
  NAMES[#NAMES + 1] = name
end
table.sort(NAMES)

local Base, Thing, engine, session

setup(function()
  Base = orm.declarative_base()
  local body = { __tablename__ = "thing", id = orm.Mapped(orm.Integer, { primary_key = true }) }
  for _, name in ipairs(NAMES) do
    body[name] = orm.mapped_column(TYPES[name])
  end
  Thing = Base:model("Thing", body)
  engine = orm.create_engine("sqlite://")
  Base.metadata:create_all(engine)
  engine:begin(function(conn)
    conn:exec_driver_sql("CREATE TABLE canary (v TEXT)")
    conn:exec_driver_sql("INSERT INTO canary VALUES ('alive')")
  end)
  session = orm.Session(engine)
end)

teardown(function()
  assert.equal("alive", session:scalar(orm.text("SELECT v FROM canary")))
  session:close()
  engine:dispose()
end)

local NUMBERS = { 0, 1, -1, 127, 128, 255, 32767, 32768, 65535, 2147483647, 2147483648, -2147483648, -2147483649, 4294967295,
  4294967296, 2 ^ 53 - 1, -(2 ^ 53 - 1), 2 ^ 53, -2 ^ 53, 2 ^ 53 + 2, 2 ^ 62, 2 ^ 63, -2 ^ 63, 2 ^ 64, 1e15 + 0.5, 0.5, 1.5, -1.5,
  0.1, 0.01, 0.005, 1e-7, 12345678.91, 99999999.99, 100000000, -0.0, 1.7976931348623157e308, -1.7976931348623157e308,
  2.2250738585072014e-308, 5e-324, 1 / 0, -1 / 0, NAN, -NAN }
if HAS_INT64 then
  for _, digits in ipairs{ "9007199254740993", "-9007199254740993", "9223372036854775807", "9223372036854775806",
    "-9223372036854775807" } do
    NUMBERS[#NUMBERS + 1] = tonumber(digits)
  end
  NUMBERS[#NUMBERS + 1] = math.mininteger
end

-- What types other than texts get of the hostile strings, which they refuse all alike.
local SOME = { "", "\0", "'", "'; DROP TABLE canary; --", "\255", ("a"):rep(255), "?", "NULL", "TRUE",
  "CURRENT_TIMESTAMP", "1", "a" }

local TEXTS = { "'; DROP TABLE canary; --", "0x10", "007", "7", "1e9", "1e400", "nan", "inf", "0.1", "-0",
  "+1", " 1", "1 ", "1.10", ".5", "5.", "true", "t",
  "2024-02-29", "2023-02-29", "2024-02-30", "2024-13-01", "0000-01-01", "0000-00-00", "10000-01-01", "24-02-29", "2024-2-9",
  "2024-02-29T12:00:00", "2024-02-29 12:00:00", "2024-02-29 24:00:00", "2024-02-29 12:60:00", "2024-02-29 12:00:60",
  "2024-02-29 12:00:00.123456", "2024-06-01T12:00:00+05:30", "2024-06-01T12:00:00Z", "2024-06-01 12:00", "12:30:00", "12:30",
  "24:00:00", "12:30:00.5", "now", "2024-02-29x", "2024-02-29\0", "9223372036854775807", "9223372036854775808",
  "f47ac10b-58cc-4372-a567-0e02b2c3d479", "F47AC10B58CC4372A5670E02B2C3D479", "f47ac10b", "12345", "123456", "äöüäö" }

local TAKES_TEXT = { text = true, short = true, bytes = true, json = true }

local function values(name)
  local list = { true, false, {}, { 1, 2 }, { a = { b = "\0\"\\" } }, print }
  for _, source in ipairs{ NUMBERS, TEXTS, TAKES_TEXT[name] and strings.all() or SOME } do
    for _, value in ipairs(source) do
      list[#list + 1] = value
    end
  end
  for _, entry in ipairs(shared.list("numbers", "numbers")) do
    list[#list + 1] = entry.kind ~= "string" and tonumber(entry.literal) or nil
  end
  for _, entry in ipairs(shared.list("datetimes")) do
    list[#list + 1] = entry.literal
  end
  return list
end

local function show(value)
  return type(value) == "string" and strings.show(value) or tostring(value)
end

-- ---- when what comes back is what went in ----

local function same_table(a, b)
  for key, value in pairs(a) do
    if type(value) == "table" and not (type(b[key]) == "table" and same_table(value, b[key]))
      or type(value) ~= "table" and value ~= b[key] then
      return false
    end
  end
  return true
end

local function same(given, back)
  if type(given) == "table" then
    return type(back) == "table" and same_table(given, back) and same_table(back, given)
  end
  return given == back and type(given) == type(back)
end

-- Other ways to write the same value, which a type makes alike: dates with "T", all seconds and six digits behind them,
-- decimals with the digits of the column.
local ALIKE = {}

local function full_time(text)
  text = text:find("^%d%d:%d%d$") and text .. ":00" or text
  local fraction = text:match("%.(%d+)$")
  return fraction and text .. ("0"):rep(6 - #fraction) or text
end

function ALIKE.moment(given, back)
  local day, clock = tostring(given):match("^(%d%d%d%d%-%d%d%-%d%d)[T ]?(.*)$")
  return day and back == day .. "T" .. (clock == "" and "00:00:00" or full_time(clock))
end

function ALIKE.time(given, back)
  return type(given) == "string" and back == full_time(given)
end

function ALIKE.uuid(given, back)
  return type(given) == "string" and given:lower():gsub("%-", "") == back:gsub("%-", "")
end

local function digits_of(value)
  local text = type(value) == "number" and ("%.0f"):format(value) or value
  if math.type and math.type(value) == "integer" then
    text = ("%d"):format(value)
  end
  local sign, whole, fraction = text:match("^(%-?)0*(%d+)%.?(%d-)0*$")
  return whole and (whole .. fraction ~= "0" and sign or "") .. whole .. "." .. fraction
end

function ALIKE.exact(given, back)
  return digits_of(given) ~= nil and digits_of(given) == digits_of(back)
end

function ALIKE.bigtext(given, back)
  return type(given) == "number" and digits_of(given) == digits_of(back)
end

local function is_kept(name, given, back)
  return same(given, back) or (ALIKE[name] ~= nil and ALIKE[name](given, back) and true)
end

-- ---- the ways through ----

local function assign(name, value)
  local thing = Thing()
  thing[name] = value
  session:add(thing)
  session:flush()
  session:expire(thing)
  return thing[name]
end

local function insert(name, value)
  local conn, thing = session:connection(), Thing.__table__
  local key = conn:execute(orm.insert(thing):values{ [name] = value }).inserted_primary_key[1]
  return conn:execute(orm.select(thing.c[name]):where(thing.c.id:eq(key))):scalar()
end

local function insert_many(name, value)
  local conn, thing = session:connection(), Thing.__table__
  conn:execute(orm.insert(thing), { { [name] = value }, { [name] = value } })
  return conn:execute(orm.select(thing.c[name]):order_by(thing.c.id:desc()):limit(1)):scalar()
end

local function echo(name, value)
  return session:connection():scalar(orm.select(orm.literal(value, TYPES[name])))
end

local function update(name, value)
  local thing = Thing()
  session:add(thing)
  session:flush()
  session:execute(orm.update(Thing):where(Thing.id:eq(thing.id)):values{ [name] = value })
  return thing[name]
end

local WAYS = { assign = assign, insert = insert, insert_many = insert_many, echo = echo, update = update }

-- The longer ways are taken by every fourth value.
local OTHERS, SHORTEST = { "insert", "insert_many", "update", "echo" }, { "echo" }

local KINDS = { ArgumentError = true, StatementError = true }

-- A document that is a number alone becomes one in the column, for which SQLite needs its long doubles; valgrind has none.
local READS_EXACTLY = orm.create_engine("sqlite://"):connect():scalar(orm.text("SELECT '1.7976931348623157e308' + 0.0"))
  == 1.7976931348623157e308

local function check(way, name, value, faults)
  local ok, back = pcall(WAYS[way], name, value)
  local where = ("%s, %s: %s"):format(way, name, show(value))
  if not ok then
    if type(back) ~= "table" or not KINDS[back.kind] or back.message == "" then
      faults[#faults + 1] = where .. " raises " .. tostring(back)
    end
  elseif not is_kept(name, value, back) and (READS_EXACTLY or name ~= "json" or type(value) ~= "number") then
    faults[#faults + 1] = where .. " comes back as " .. show(back)
  end
  return ok
end

for _, name in ipairs(NAMES) do
  describe("a value for " .. name, function()
    it("comes back as it was given, or is refused before any SQL, on every way alike", function()
      local faults, taken = {}, 0
      for position, value in ipairs(values(name)) do
        local verdict = check("assign", name, value, faults)
        taken = taken + (verdict and 1 or 0)
        for _, way in ipairs(position % 4 == 1 and OTHERS or SHORTEST) do
          if type(value) ~= "function" and check(way, name, value, faults) ~= verdict then
            faults[#faults + 1] = ("%s and assign do not agree on %s: %s"):format(way, name, show(value))
          end
        end
        session:rollback()
      end
      assert.same({}, faults)
      assert.is_true(taken > 0)
    end)
  end)
end
