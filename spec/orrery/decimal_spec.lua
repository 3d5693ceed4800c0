-- Numeric(p, s, { as = "string" }): decimals that no double ever touches: stored, compared, sorted, added, multiplied.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local func, select = orm.func, orm.select

local metadata = orm.MetaData()
local account = orm.Table("account", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("money", orm.Numeric(12, 2, { as = "string" })),
  orm.Column("rate", orm.Numeric{ as = "string" }))
local a = account.c

local HUGE = "100000000000000000000000000000.01"

local function engine_with(...)
  local engine = database.create(metadata)
  local rows = {}
  for position, money in ipairs{ ... } do
    rows[position] = { money = money }
  end
  engine:begin(function(conn)
    conn:execute(orm.insert(account), rows)
  end)
  return engine
end

local function column(engine, statement)
  return engine:begin(function(conn)
    return conn:execute(statement):scalars():all()
  end, { mode = "read" })
end

-- A list of values, each through an expression of a bound decimal.
local function compute(expression)
  local engine = orm.create_engine("sqlite://")
  return engine:begin(function(conn)
    return conn:execute(select(expression)):scalar()
  end)
end

local function exact(text)
  return orm.literal(text, orm.Numeric{ as = "string" })
end

describe("exact decimals", function()
  it("are compared as numbers, not as texts", function()
    local engine = engine_with("10.00", "9.50", "-3", "0.10", "-20")
    assert.same({ "10.00" }, column(engine, select(a.money):where(a.money:gt("9.50"))))
    assert.same({ "-3.00", "-20.00" }, column(engine, select(a.money):where(a.money:lt(0))))
    assert.same({ "10.00", "9.50" }, column(engine, select(a.money):where(a.money:between("9", "11"))))
    assert.same({ "9.50" }, column(engine, select(a.money):where(a.money:eq("9.5"))))
    assert.same({ "9.50" }, column(engine, select(a.money):where(a.money:in_{ "9.5", "7" })))
  end)

  it("are found by an index where equal numbers have equal texts", function()
    local other = orm.alias(account, "other")
    assert.equal("account.money = ?", tostring(a.money:eq("1")))
    assert.equal("account.money = other.money", tostring(a.money:eq(other.c.money)))
    assert.equal("account.money COLLATE orrery_decimal = account.rate COLLATE orrery_decimal", tostring(a.money:eq(a.rate)))
    local engine = engine_with("1.50")
    database.run(engine, "UPDATE account SET rate = '1.5'")
    assert.same({ "1.50" }, column(engine, select(a.money):where(a.money:eq(a.rate))))
  end)

  it("are sorted as numbers, in unions and windows, too", function()
    local engine = engine_with("10.00", "9.50", "-3", "-20")
    local sorted = { "-20.00", "-3.00", "9.50", "10.00" }
    assert.same(sorted, column(engine, select(a.money):order_by(a.money)))
    assert.same(sorted, column(engine, select(a.money:label("m")):order_by("m")))
    assert.same(sorted, column(engine, select(a.money):union(select(a.money)):order_by("money")))
    assert.same({ 1, 2, 3, 4 },
      column(engine, select(func.row_number():over{ order_by = a.money }):order_by(a.money)))
  end)

  it("have a largest, a smallest and an exact sum", function()
    local engine = engine_with("10.00", "9.50", "-3", "-20")
    local row = engine:begin(function(conn)
      return conn:execute(select(func.max(a.money), func.min(a.money), func.sum(a.money))):one()
    end)
    assert.same({ "10.00", "-20.00", "-3.5" }, { row() })
    assert.same({ 4 }, column(engine, select(func.count()):select_from(account):having(func.sum(a.money):eq("-3.50"))))
    local cents = engine_with("0.10", "0.20", "9999999999.99", orm.null)
    assert.equal("10000000000.29", column(cents, select(func.sum(a.money)))[1])
    assert.is_nil(database.create(metadata):begin(function(conn)
      return conn:execute(select(func.sum(a.money))):scalar()
    end))
  end)

  it("are summed over a window", function()
    local engine = engine_with("1.01", "2.02", "3.03")
    assert.same({ "1.01", "3.03", "5.05" },
      column(engine, select(func.sum(a.money):over{ order_by = a.id, rows = { -1, 0 } }):order_by(a.id)))
  end)

  it("are computed without a double", function()
    local CASES = {
      { exact("0.1") + "0.2", "0.3" }, { exact(HUGE) + exact("0.02"), "100000000000000000000000000000.03" },
      { exact(HUGE) - HUGE, "0" }, { exact("1") - "0.999", "0.001" }, { exact("-1.5") + "1.25", "-0.25" },
      { exact("0.25") - "1", "-0.75" }, { exact("1.1") * "1.1", "1.21" }, { exact("-0.05") * 20, "-1" },
      { exact("99.99") * "0", "0" }, { -exact(HUGE), "-" .. HUGE }, { exact("999.999") + "0.001", "1000" },
    }
    for _, case in ipairs(CASES) do
      assert.equal(case[2], compute(case[1]), tostring(case[1]))
    end
  end)

  it("agree with integers in every operation", function()
    local seed = 7
    local function random()
      seed = (seed * 16807) % 2147483647
      return seed % 20001 - 10000
    end
    local function text_of(cents, decimals)
      local digits = ("%0" .. decimals + 1 .. "d"):format(math.abs(cents))
      return (cents < 0 and "-" or "") .. digits:sub(1, -decimals - 1) .. "." .. digits:sub(-decimals)
    end
    local function plain(text)
      return (text:gsub("0+$", ""):gsub("%.$", ""):gsub("^%-0$", "0"))
    end
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      for _ = 1, 200 do
        local x, y = random(), random()
        local left, right = exact(text_of(x, 2)), exact(text_of(y, 2))
        local row = conn:execute(select(left + right, left - right, left * right,
          orm.case_():when(left:lt(right), -1):when(left:gt(right), 1):else_(0))):one()
        assert.equal(plain(text_of(x + y, 2)), row[1])
        assert.equal(plain(text_of(x - y, 2)), row[2])
        assert.equal(plain(text_of(x * y, 4)), row[3])
        assert.equal(x < y and -1 or x > y and 1 or 0, row[4])
      end
    end)
  end)

  it("refuse what is none", function()
    local engine = engine_with("1")
    database.run(engine, "UPDATE account SET money = 'much'")
    raises("OperationalError", "no exact decimal", column, engine, select(a.money + "1"))
    raises("ArgumentError", "a decimal as a string, or an integer, expected", function()
      return select(a.id):where(a.money:gt(1.5)):compile{ literal_binds = true }
    end)
  end)

  it("are null where one part is, and a window's sum where it holds no value", function()
    assert.is_nil(compute(exact("1") + orm.literal(orm.null, orm.Numeric{ as = "string" })))
    assert.is_nil(compute(orm.literal(orm.null, orm.Numeric{ as = "string" }) * exact("2")))
    local engine = engine_with("1.01", orm.null, "3.03")
    database.run(engine, "UPDATE account SET rate = money")
    local sums = engine:begin(function(conn)
      return conn:execute(select(func.sum(a.rate):over{ order_by = a.id, rows = { 0, 0 } }):order_by(a.id)):all()
    end)
    assert.same({ "1.01", "3.03" }, { sums[1][1], sums[3][1] })
    assert.is_nil(sums[2][1])
  end)

  it("stand before what is none when they are sorted, which is sorted by its bytes", function()
    local engine = engine_with("10", "9", "2", "1", "0")
    for id, value in ipairs{ "b", "10.5", "a", "", "-3" } do
      database.run(engine, ("UPDATE account SET rate = '%s' WHERE id = %d"):format(value, id))
    end
    local sorted = {}
    for position, value in ipairs(column(engine, select(a.id):order_by(a.rate))) do
      sorted[position] = ({ "b", "10.5", "a", "", "-3" })[value]
    end
    assert.same({ "-3", "10.5", "", "a", "b" }, sorted)
    for id, value in ipairs{ "-1.5", "-1.25", "1.25", "1.5", "-2" } do
      database.run(engine, ("UPDATE account SET rate = '%s' WHERE id = %d"):format(value, id))
    end
    assert.same({ 5, 1, 2, 3, 4 }, column(engine, select(a.id):order_by(a.rate)))
  end)

  it("refuse what is none on either side, and in sums", function()
    local engine = engine_with("1")
    database.run(engine, "UPDATE account SET rate = 'much'")
    for _, expression in ipairs{ a.rate * "2", exact("2") - a.rate, exact("1") + a.rate, func.sum(a.rate) } do
      raises("OperationalError", "no exact decimal", column, engine, select(expression))
    end
  end)

  it("have room for 250 digits while they are computed", function()
    local function stored(text)
      return orm.literal_column("'" .. text .. "'", orm.Numeric{ as = "string" })
    end
    local full, tiny = ("9"):rep(250), "0." .. ("0"):rep(249) .. "1"
    for _, expression in ipairs{ stored(full) + "1", stored(full .. "9") + "0", stored("0") - stored(full .. "9"),
      stored("0." .. full .. "9") + "1", stored(tiny) + "1", stored("1") + stored(tiny), stored(full) * "2", stored(tiny) * "0.1",
      stored(tiny .. "1") * "1", stored("1") * stored(tiny .. "1"), stored("1") - stored(tiny) } do
      raises("OperationalError", "too many digits", compute, expression)
    end
    assert.equal(full, compute(stored(full) + "0"))
    assert.equal("1" .. ("0"):rep(249), compute(stored(("9"):rep(249)) + "1"))
    assert.equal(tiny, compute(stored(tiny) + "0"))
    assert.equal("-" .. full, compute(stored("0") - stored(full)))
    assert.equal(("9"):rep(124) .. "8" .. ("0"):rep(124) .. "1", compute(stored(("9"):rep(125)) * stored(("9"):rep(125))))
  end)

  it("say when there are too many digits", function()
    local engine = orm.create_engine("sqlite://")
    local product = exact(("9"):rep(40))
    for _ = 1, 3 do
      product = product * product
    end
    raises("OperationalError", "too many digits", function()
      engine:begin(function(conn) return conn:execute(select(product)):scalar() end)
    end)
  end)
end)
