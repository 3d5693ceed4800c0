-- Statements as SQL: every case of sql_cases renders as it says there, and runs on SQLite. Then long lists, names,
-- dialects, parentheses, and what is refused.
local orm = require "orrery"
local raises = require "spec.support.raises"
local sql_cases = require "spec.support.sql_cases"
local func, null, select = orm.func, orm.null, orm.select
local users, posts = sql_cases.users, sql_cases.posts
local u, p = users.c, posts.c

describe("the compiler", function()
  sql_cases.each(function(name, statement, sql, values)
    it("renders " .. name, function()
      local compiled = statement:compile()
      assert.equal(sql, compiled.sql)
      assert.same(values, compiled.params)
      assert.equal(sql, tostring(statement))
    end)
  end)

  it("makes only SQL that SQLite runs", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      for _, sql in ipairs(sql_cases.schema) do
        conn:execute(orm.text(sql))
      end
      conn:execute(orm.insert(users), { { id = 1, name = "n\"3", age = 70 }, { id = 2, name = "b", age = 20 } })
      sql_cases.each(function(name, statement)
        local ok, err = pcall(function() return conn:execute(statement):close() end)
        assert(ok, name .. ": " .. tostring(err))
      end)
    end)
    engine:dispose()
  end)

  it("says what a statement gives", function()
    local compiled = select(users, p.title:label("t"), func.count()):join(posts):compile()
    local names, kinds = {}, {}
    for position, column in ipairs(compiled.columns) do
      names[position], kinds[position] = column.name, column.type.name
    end
    assert.same({ "id", "name", "age", "t", "count_1" }, names)
    assert.same({ "Integer", "String", "Integer", "Text", "Integer" }, kinds)
    assert.equal("select", compiled.kind)
    assert.is_true(compiled.readonly)
    assert.is_false(orm.delete(users):where(u.id:eq(1)):compile().readonly)
  end)
end)

describe("a part of a document", function()
  it("reads as JSON does, and compares as a value", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      conn:execute(orm.text(sql_cases.schema[3]))
      conn:execute(orm.insert(posts), {
        { id = 1, doc = { tags = { "a", "b" }, size = 2, flag = true, none = null, name = "x" } },
        { id = 2, doc = { size = 10 } },
      })
      local row = conn:execute(select(p.doc:path("tags"), p.doc:path("tags", 2), p.doc:path("size"), p.doc:path("flag"),
        p.doc:path("none"), p.doc:path("missing"), p.doc:path("name"):label("name")):where(p.id:eq(1))):one()
      assert.same({ "a", "b" }, row[1])
      assert.equal("b", row[2])
      assert.equal(2, row[3])
      assert.is_true(row[4])
      assert.equal(orm.JSON.NULL, row[5])
      assert.is_nil(row[6])
      assert.equal("x", row.name)
      local function ids(...)
        return conn:execute(select(p.id):where(...):order_by(p.doc:path("size"):desc())):scalars():all()
      end
      assert.same({ 2, 1 }, ids(p.doc:path("size"):gt(1)))
      assert.same({ 1 }, ids(p.doc:path("tags", 1):eq("a")))
      assert.same({ 1 }, ids(p.doc:path("flag"):eq(true)))
      assert.same({ 2 }, ids(p.doc:path("name"):eq(null)))
    end)
  end)
end)

-- Random expressions, computed by Lua and by SQLite: a parenthesis too few would show.
describe("parentheses", function()
  local seed = 1
  local function random(count)
    seed = (seed * 16807) % 2147483647
    return seed % count + 1
  end

  local number, condition
  local function truth(value)
    return value and 1 or 0
  end

  local NUMBERS = {
    function(d) local a, x = number(d) local b, y = number(d) return a + b, x + y end,
    function(d) local a, x = number(d) local b, y = number(d) return a - b, x - y end,
    function(d) local a, x = number(d) local b, y = number(d) return a * b, x * y end,
    function(d) local a, x = number(d) return -a, -x end,
    function(d)
      local c, z = condition(d)
      local a, x = number(d)
      local b, y = number(d)
      return orm.case_():when(c, a):else_(b), z and x or not z and y
    end,
    function(d) local a, x = number(d) return a:op("&")(255):op("|")(1):type_coerce(orm.Integer),
      (function() local low = x % 256 return low % 2 == 0 and low + 1 or low end)() end,
  }
  local CONDITIONS = {
    function(d) local a, x = number(d) local b, y = number(d) return a:lt(b), x < y end,
    function(d) local a, x = number(d) local b, y = number(d) return a:eq(b), x == y end,
    function(d) local a, x = condition(d) local b, y = condition(d) return orm.and_(a, b), x and y end,
    function(d) local a, x = condition(d) local b, y = condition(d) return orm.or_(a, b), x or y end,
    function(d) local a, x = condition(d) return orm.not_(a), not x end,
    function(d) local a, x = condition(d) local b, y = condition(d) return a:eq(b), x == y end,
    function(d) local a, x = number(d) return a:between(-3, 3), x >= -3 and x <= 3 end,
    function(d) local a, x = number(d) return a:in_{ 0, 1, 2 }, x == 0 or x == 1 or x == 2 end,
  }

  function number(depth)
    if depth == 0 or random(5) == 1 then
      local value = random(7) - 4
      return orm.literal(value), value
    end
    return NUMBERS[random(#NUMBERS)](depth - 1)
  end
  function condition(depth)
    if depth == 0 then
      local value = random(2) == 1
      return value and orm.literal(1):eq(1) or orm.literal(1):eq(2), value
    end
    return CONDITIONS[random(#CONDITIONS)](depth - 1)
  end

  it("keep the meaning of what was written", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      for _ = 1, 300 do
        local expression, value = number(4)
        local test, holds = condition(4)
        local row = conn:execute(select(expression, orm.case_():when(test, 1):else_(0))):one()
        assert.equal(value, row[1], tostring(expression))
        assert.equal(truth(holds), row[2], tostring(test))
      end
    end)
  end)
end)

describe("a dialect with numbered markers", function()
  local numbered = {}
  for name, value in pairs(orm.dialects.sqlite) do
    numbered[name] = value
  end
  numbered.name, numbered.marker, numbered.array_in, numbered.row_locks = "numbered", "$%d", false, true

  it("needs no other code", function()
    local old = select(u.id):where(u.age:gt(60)):cte("old")
    local compiled = select(orm.literal("x"):label("x")):where(old.c.id:eq(5)):with_for_update():compile(numbered)
    assert.equal("WITH old AS (SELECT users.id FROM users WHERE users.age > $2) SELECT $1 AS x FROM old WHERE "
      .. "old.id = $3 FOR UPDATE", compiled.sql)
    assert.same({ "x", 60, 5 }, compiled.params)
  end)

  it("gets lists item by item where it reads no arrays", function()
    local list = {}
    for number = 1, 100 do
      list[number] = number
    end
    assert.equal(100, #select(u.id):where(u.id:in_(list)):compile(numbered).params)
  end)
end)

describe("a list of 40,000 items", function()
  local function rows(column, list)
    local engine = orm.create_engine("sqlite://")
    return engine:begin(function(conn)
      conn:execute(orm.text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"))
      conn:execute(orm.insert(users), { { id = 1, name = "a'\"\\\n1" }, { id = 39999, name = "b" }, { id = 50000,
        name = "1" } })
      return conn:execute(select(u.id):where(column:in_(list)):order_by(u.id)):scalars():all()
    end)
  end

  it("is found in", function()
    local numbers, words = {}, {}
    for number = 1, 40000 do
      numbers[number], words[number] = number, "a'\"\\\n" .. number
    end
    assert.same({ 1, 39999 }, rows(u.id, numbers))
    assert.same({ 1 }, rows(u.name, words))
  end)

  it("is found in, with bytes that JSON has no place for", function()
    local bytes = {}
    for number = 1, 40000 do
      bytes[number] = "\0" .. number
    end
    bytes[40001], bytes[40002] = "b", null
    assert.same({ 39999 }, rows(u.name, bytes))
  end)

  it("is found in, as rows of a tuple", function()
    local numbers, words = {}, {}
    for number = 1, 40000 do
      numbers[number], words[number] = { number, "a'\"\\\n" .. number }, { number, orm.literal("b") }
    end
    assert.same({ 1 }, rows(orm.tuple_(u.id, u.name), numbers))
    raises("CompileError", { "80000 values", "sqlite takes 32766" }, function()
      select(u.id):where(orm.tuple_(u.id, u.name):in_(words)):compile()
    end)
  end)

  it("is checked item by item", function()
    local list = {}
    for number = 1, 100 do
      list[number] = number == 77 and "x" or number
    end
    raises("ArgumentError", "an integer expected, got 'x'", function()
      select(u.id):where(u.id:in_(list)):compile()
    end)
  end)
end)

describe("names in SQL", function()
  local quote = orm.dialects.sqlite.quote

  it("are quoted where they must be", function()
    assert.equal("portfolio", quote("portfolio"))
    assert.equal("_a1", quote("_a1"))
    assert.equal('"Portfolio"', quote("Portfolio"))
    assert.equal('"order"', quote("order"))
    assert.equal('"1a"', quote("1a"))
    assert.equal('"a b"', quote("a b"))
    assert.equal('"a""b"', quote('a"b'))
    assert.equal('"a; DROP TABLE x"', quote("a; DROP TABLE x"))
    assert.equal('"\195\164"', quote("\195\164"))
  end)

  it("have no NUL byte and are not empty", function()
    raises("CompileError", "without NUL", quote, "a\0b")
    raises("CompileError", "1 to 4096 bytes", quote, "")
    raises("CompileError", "1 to 4096 bytes", quote, ("a"):rep(4097))
    raises("CompileError", "in UTF-8", quote, "a\255")
    raises("CompileError", "cannot be the name", quote, 5)
  end)
end)

describe("what changes every row", function()
  it("must be asked for", function()
    raises("InvalidRequestError", { "update of 'users'", ":where(orm.all)" }, function()
      orm.update(users):values{ age = 1 }:compile()
    end)
    raises("InvalidRequestError", "delete of 'users'", function() orm.delete(users):compile() end)
  end)

  it("is not what a list without items says", function()
    assert.equal("DELETE FROM users WHERE 0", orm.delete(users):where(u.id:in_{}):compile().sql)
  end)
end)
