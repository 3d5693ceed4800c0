-- Results and rows.
local orm = require "orrery"
local text = orm.text

local conn = orm.create_engine("sqlite://"):connect()
conn:execute(text("CREATE TABLE t (x INTEGER, y INTEGER, z TEXT)"))
conn:execute(text("INSERT INTO t VALUES (:x, :y, :z)"), {
  { x = 1, y = 1, z = "a" }, { x = 2, y = 4, z = "b" }, { x = 3, y = orm.null, z = "a" },
})

local function select(columns, rest)
  return conn:execute(text("SELECT " .. columns .. " FROM t " .. (rest or "ORDER BY x")))
end

local function raises(kind, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(kind, err.kind)
  return err
end

local NUMBERS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :to) SELECT i FROM n")

describe("a row", function()
  it("reads by name and by position", function()
    local row = select("x, y"):first()
    assert.equal(1, row.x)
    assert.equal(1, row[1])
    assert.equal(1, row.y)
    assert.is_nil(row[3])
  end)

  it("has nil for NULL, and gives exactly its values when called", function()
    local row = select("x, y, z, y", "WHERE x = 3"):one()
    assert.is_nil(row[2])
    assert.equal(4, (_G.select("#", row())))
    local x, y, z = row()
    assert.same({ 3, "a" }, { x, z })
    assert.is_nil(y)
  end)

  it("names the nearest column for one that is not there", function()
    local row = select("x AS amount, y"):first()
    local err = raises("NoSuchColumnError", function() return row.amuont end)
    assert.truthy(err.message:find("did you mean 'amount'", 1, true))
  end)

  it("raises for a name that several columns have, and keeps both by position", function()
    local row = select("x, y AS x", "WHERE x = 2"):first()
    raises("AmbiguousColumnError", function() return row.x end)
    assert.equal(2, row[1])
    assert.equal(4, row[2])
  end)

  it("cannot be written", function()
    local row = select("x, y", "WHERE x = 3"):first()
    raises("InvalidRequestError", function() row.other = 1 end)
    raises("InvalidRequestError", function() row.y = 1 end)
  end)

  it("is equal to a row with the same values", function()
    local one, two, three = select("x, y"):first(), select("x, y"):first(), select("x, y"):all()[2]
    assert.is_true(one == two)
    assert.is_false(one == three)
    assert.is_false(one == select("x, y, z"):first())
  end)

  it("prints its values", function()
    assert.equal("(3, NULL, 'a')", tostring(select("x, y, z", "WHERE x = 3"):first()))
  end)

  it("hides its metatable, which other rows share", function()
    local row = select("x"):first()
    assert.is_nil(getmetatable(row).__index)
    assert.is_false((pcall(setmetatable, row, {})))
  end)

  it("can have columns called like methods", function()
    local row = select("x AS first, y AS keys"):first()
    assert.equal(1, row.first)
    assert.equal(1, row.keys)
  end)
end)

describe("a result", function()
  it("iterates, once", function()
    local seen = {}
    local result = select("x")
    for row in result do
      seen[#seen + 1] = row.x
    end
    assert.same({ 1, 2, 3 }, seen)
    assert.same({}, result:all())
    assert.is_nil(result:fetchone())
  end)

  it("gives all that is left", function()
    local result = select("x")
    result:fetchone()
    assert.equal(2, #result:all())
  end)

  it("gives the first and ends", function()
    local result = select("x")
    assert.equal(1, result:first().x)
    raises("ResourceClosedError", result.all, result)
    assert.is_nil(select("x", "WHERE 0"):first())
  end)

  it("gives the only one, and says when it is not", function()
    assert.equal(1, select("x", "WHERE x = 1"):one().x)
    raises("NoResultFound", function() select("x", "WHERE 0"):one() end)
    raises("MultipleResultsFound", function() select("x"):one() end)
    assert.is_nil(select("x", "WHERE 0"):one_or_none())
    raises("MultipleResultsFound", function() select("x"):one_or_none() end)
  end)

  it("gives scalars", function()
    assert.equal(1, select("x"):scalar())
    assert.is_nil(select("x", "WHERE 0"):scalar())
    assert.is_nil(select("y", "WHERE x = 3"):scalar())
    assert.equal(4, select("y", "WHERE x = 2"):scalar_one())
    assert.is_nil(select("y", "WHERE x = 3"):scalar_one())
    raises("NoResultFound", function() select("y", "WHERE 0"):scalar_one() end)
    assert.is_nil(select("y", "WHERE 0"):scalar_one_or_none())
  end)

  it("has null among scalars, so that they neither end nor shorten", function()
    assert.same({ 1, 4, orm.null }, select("y"):scalars():all())
    local count = 0
    for _ in select("y"):scalars() do
      count = count + 1
    end
    assert.equal(3, count)
    assert.is_nil(select("y", "WHERE x = 3"):scalars():first())
  end)

  it("gives the scalars of any column", function()
    assert.same({ 1, 4, orm.null }, select("x, y"):scalars(2):all())
    assert.same({ 1, 4, orm.null }, select("x, y"):scalars("y"):all())
    raises("NoSuchColumnError", function() select("x"):scalars("q") end)
  end)

  it("gives plain tables as mappings", function()
    assert.same({ { x = 1, y = 1 }, { x = 2, y = 4 }, { x = 3 } }, select("x, y"):mappings():all())
    raises("AmbiguousColumnError", function() select("x, y AS x"):mappings() end)
  end)

  it("gives some of its columns", function()
    local result = select("x, y, z"):columns("z", 1)
    assert.same({ "z", "x" }, result:keys())
    local row = result:first()
    assert.equal("a", row.z)
    assert.equal(1, row[2])
  end)

  it("leaves out what it gave before", function()
    assert.equal(2, #select("z"):unique():all())
    assert.same({ "a", "b" }, select("z"):scalars():unique():all())
    assert.same({ "a", "b" }, select("z"):unique():scalars():all())
    assert.equal(3, #select("z, x"):unique():all())
    assert.equal(2, #select("x, z"):unique(function(row) return row.z end):all())
    assert.equal(2, #select("y IS NULL, NULL"):unique():all())
  end)

  it("gives parts", function()
    local sizes = {}
    for part in select("x"):partitions(2) do
      sizes[#sizes + 1] = #part
    end
    assert.same({ 2, 1 }, sizes)
    local result = select("x")
    assert.equal(2, #result:fetchmany(2))
    assert.equal(1, #result:fetchmany(2))
    assert.same({}, result:fetchmany(2))
    raises("ArgumentError", function() result:fetchmany(0) end)
  end)

  it("knows its column names", function()
    assert.same({ "x", "y", "x" }, select("x, y, x"):keys())
  end)

  it("streams what is long, in order and complete", function()
    local result, sum = conn:execute(NUMBERS, { to = 1050 }, { yield_per = 10 }), 0
    for row in result do
      sum = sum + row.i
    end
    assert.equal(1050 * 1051 / 2, sum)
  end)

  it("can be closed at any moment, and twice", function()
    local result = conn:execute(NUMBERS, { to = 1000 })
    result:fetchone()
    assert.is_false(result.closed)
    result:close()
    result:close()
    assert.is_true(result.closed)
    raises("ResourceClosedError", result.fetchone, result)
  end)

  it("reads its columns by the types given", function()
    local row = conn:execute(text("SELECT '{\"a\":[1]}' AS doc, '2024-01-01' AS at, 1 AS flag, NULL AS none")
      :columns{ doc = orm.JSON, at = orm.DateTime, flag = orm.Boolean, none = orm.JSON }):one()
    assert.equal(1, row.doc.a[1])
    assert.equal("2024-01-01T00:00:00", row.at)
    assert.is_true(row.flag)
    assert.is_nil(row.none)
  end)

  it("of a statement without rows says so", function()
    local result = conn:execute(text("UPDATE t SET z = z WHERE x > 1"))
    assert.equal(2, result.rowcount)
    assert.is_false(result.returns_rows)
    assert.same({}, result:keys())
    raises("ResourceClosedError", result.all, result)
  end)

  it("of an insert has the key that the database made", function()
    conn:execute(text("CREATE TABLE IF NOT EXISTS keyed (id INTEGER PRIMARY KEY, a)"))
    assert.equal(1, conn:execute(text("INSERT INTO keyed (a) VALUES (1)")).lastrowid)
    assert.equal(2, conn:execute(text("INSERT INTO keyed (a) VALUES (1)")).lastrowid)
  end)

  it("answers a misspelt name with the nearest", function()
    local err = raises("ArgumentError", function() return select("x"):frist() end)
    assert.truthy(err.message:find("did you mean 'first'", 1, true))
  end)

  it("says when a method was called with a dot", function()
    local result = select("x")
    assert.truthy(raises("ArgumentError", function() result.all() end).message:find("use ':'", 1, true))
  end)
end)
