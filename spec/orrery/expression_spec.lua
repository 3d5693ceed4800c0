-- Expressions: what each operator and function becomes in SQL, which values it binds, and what is refused.
local orm = require "orrery"
local raises = require "spec.support.raises"
local func, and_, or_, not_ = orm.func, orm.and_, orm.or_, orm.not_
local null = orm.null

local metadata = orm.MetaData()
local user = orm.Table("user_account", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("name", orm.String(30)),
  orm.Column("age", orm.Integer),
  orm.Column("height", orm.Float),
  orm.Column("balance", orm.Numeric(5, 2)),
  orm.Column("active", orm.Boolean),
  orm.Column("born", orm.Date),
  orm.Column("doc", orm.JSON),
  orm.Column("photo", orm.LargeBinary)).c

-- { what is meant, expression, SQL (u. for user_account.), values }
local CASES = {
  -- comparisons
  { "eq", user.name:eq("x"), "u.name = ?", { "x" } },
  { "ne", user.name:ne("x"), "u.name != ?", { "x" } },
  { "lt", user.age:lt(5), "u.age < ?", { 5 } },
  { "le", user.age:le(5), "u.age <= ?", { 5 } },
  { "gt", user.age:gt(5), "u.age > ?", { 5 } },
  { "ge", user.age:ge(5), "u.age >= ?", { 5 } },
  { "a column on both sides", user.age:gt(user.id), "u.age > u.id", {} },
  { "eq with NULL", user.name:eq(null), "u.name IS NULL", {} },
  { "ne with NULL", user.name:ne(null), "u.name IS NOT NULL", {} },
  { "is_", user.name:is_(null), "u.name IS NULL", {} },
  { "is_not", user.name:is_not(null), "u.name IS NOT NULL", {} },
  { "is_ with a value", user.active:is_(true), "u.active IS ?", { true } },
  { "is_distinct_from", user.age:is_distinct_from(5), "u.age IS NOT ?", { 5 } },
  { "is_not_distinct_from", user.age:is_not_distinct_from(null), "u.age IS NULL", {} },
  { "between", user.age:between(1, 5), "u.age BETWEEN ? AND ?", { 1, 5 } },
  { "not_between", user.age:not_between(1, 5), "u.age NOT BETWEEN ? AND ?", { 1, 5 } },
  { "a fraction against an integer", user.age:gt(1.5), "u.age > ?", { 1.5 } },
  { "a number that the column would not hold", user.balance:gt(1234.5678), "u.balance > ?", { 1234.5678 } },
  { "a date as a table", user.born:eq{ year = 2024, month = 1, day = 2 }, "u.born = ?",
    { { year = 2024, month = 1, day = 2 } } },
  -- text
  { "like", user.name:like("a%"), "u.name LIKE ?", { "a%" } },
  { "not_like", user.name:not_like("a%"), "u.name NOT LIKE ?", { "a%" } },
  { "like with an escape", user.name:like("a!%", { escape = "!" }), "u.name LIKE ? ESCAPE '!'", { "a!%" } },
  { "like with a quote as escape", user.name:like("a", { escape = "'" }), "u.name LIKE ? ESCAPE ''''", { "a" } },
  { "ilike", user.name:ilike("A%"), "lower(u.name) LIKE lower(?)", { "A%" } },
  { "like on a date", user.born:like("2024-%"), "u.born LIKE ?", { "2024-%" } },
  { "startswith", user.name:startswith("50%_/"), "u.name LIKE ? ESCAPE '/'", { "50/%/_//%" } },
  { "endswith", user.name:endswith("x"), "u.name LIKE ? ESCAPE '/'", { "%x" } },
  { "contains", user.name:contains("x"), "u.name LIKE ? ESCAPE '/'", { "%x%" } },
  { "endswith of a column", user.name:endswith(user.photo),
    "u.name LIKE (? || replace(replace(replace(u.photo, ?, ?), ?, ?), ?, ?)) ESCAPE '/'",
    { "%", "/", "//", "%", "/%", "_", "/_" } },
  { "concatenation", user.name .. "!", "u.name || ?", { "!" } },
  { "concatenation from the left", "a" .. user.name .. "b", "? || u.name || ?", { "a", "b" } },
  { "collate", user.name:collate("NOCASE"):eq("x"), "u.name COLLATE NOCASE = ?", { "x" } },
  { "a collation of one's own", user.name:collate("my-order"):asc(), 'u.name COLLATE "my-order" ASC', {} },
  -- lists
  { "in_", user.id:in_{ 1, 2, 3 }, "u.id IN (?, ?, ?)", { 1, 2, 3 } },
  { "not_in", user.id:not_in{ 1 }, "u.id NOT IN (?)", { 1 } },
  { "in_ of nothing", user.id:in_{}, "0", {} },
  { "not_in of nothing", user.id:not_in{}, "1", {} },
  { "in_ with NULL", user.id:in_{ 1, null }, "u.id IN (?, ?)", { 1, null } },
  { "in_ with columns", user.id:in_{ user.age, 5 }, "u.id IN (u.age, ?)", { 5 } },
  { "in_ of strings with different lengths", user.name:in_{ "a", ("x"):rep(40) }, "u.name IN (?, ?)",
    { "a", ("x"):rep(40) } },
  { "a tuple", orm.tuple_(user.id, user.age):in_{ { 1, 2 }, { 3, 4 } },
    "(u.id, u.age) IN (VALUES (?, ?), (?, ?))", { 1, 2, 3, 4 } },
  -- arithmetic
  { "addition", user.age + 1, "u.age + ?", { 1 } },
  { "addition from the left", 1 + user.age, "? + u.age", { 1 } },
  { "subtraction", user.age - user.id - 1, "u.age - u.id - ?", { 1 } },
  { "subtraction of a difference", user.age - (user.id - 1), "u.age - (u.id - ?)", { 1 } },
  { "a product of sums", (user.age + 1) * (user.id + 2), "(u.age + ?) * (u.id + ?)", { 1, 2 } },
  { "a sum of products", user.age * 2 + user.id * 3, "u.age * ? + u.id * ?", { 2, 3 } },
  { "division", user.age / 2, "u.age / (? + 0.0)", { 2 } },
  { "division of fractions", user.height / 2, "u.height / ?", { 2 } },
  { "a quotient divided", user.height / user.height / 2, "u.height / u.height / ?", { 2 } },
  { "modulo", user.age % 2, "u.age % ?", { 2 } },
  { "minus", -user.age, "-u.age", {} },
  { "minus minus, which would begin a comment", -(-user.age), "-(-u.age)", {} },
  { "minus a sum", -(user.age + 1), "-(u.age + ?)", { 1 } },
  { "concatenation beside arithmetic", user.name .. (user.age + 1), "u.name || (u.age + ?)", { 1 } },
  { "arithmetic on text", (user.name .. "1") + 1, "(u.name || ?) + ?", { "1", 1 } },
  { "comparison of a sum", (user.age + 1):gt(5), "u.age + ? > ?", { 1, 5 } },
  { "comparison of a comparison", user.age:gt(1):eq(true), "(u.age > ?) = ?", { 1, true } },
  -- logic
  { "and_", and_(user.id:eq(1), user.age:eq(2)), "u.id = ? AND u.age = ?", { 1, 2 } },
  { "and_ of one", and_(user.id:eq(1)), "u.id = ?", { 1 } },
  { "and_ in and_", and_(user.id:eq(1), and_(user.id:eq(2), user.id:eq(3))), "u.id = ? AND u.id = ? AND u.id = ?",
    { 1, 2, 3 } },
  { "or_ in and_", and_(user.id:eq(1), or_(user.id:eq(2), user.id:eq(3))), "u.id = ? AND (u.id = ? OR u.id = ?)",
    { 1, 2, 3 } },
  { "and_ in or_", or_(user.id:eq(1), and_(user.id:eq(2), user.id:eq(3))), "u.id = ? OR u.id = ? AND u.id = ?",
    { 1, 2, 3 } },
  { "not_ of a comparison", not_(user.id:eq(1)), "u.id != ?", { 1 } },
  { "not_ of an order", not_(user.id:lt(1)), "u.id >= ?", { 1 } },
  { "not_ of in_", not_(user.id:in_{ 1 }), "u.id NOT IN (?)", { 1 } },
  { "not_ of nothing", not_(user.id:in_{}), "1", {} },
  { "not_ of between", not_(user.id:between(1, 2)), "u.id NOT BETWEEN ? AND ?", { 1, 2 } },
  { "not_ of contains", not_(user.name:contains("x")), "u.name NOT LIKE ? ESCAPE '/'", { "%x%" } },
  { "not_ of and_", not_(and_(user.id:eq(1), user.age:eq(2))), "NOT (u.id = ? AND u.age = ?)", { 1, 2 } },
  { "not_ of not_", not_(not_(and_(user.id:eq(1), user.age:eq(2)))), "u.id = ? AND u.age = ?", { 1, 2 } },
  { "not_ of a column", not_(user.active), "NOT u.active", {} },
  { "SQL of one's own in and_", and_(orm.text("a OR b"), user.id:eq(1)), "(a OR b) AND u.id = ?", { 1 } },
  -- shaping
  { "asc", user.id:asc(), "u.id ASC", {} },
  { "desc nulls last", user.id:desc():nulls_last(), "u.id DESC NULLS LAST", {} },
  { "nulls first", user.id:nulls_first(), "u.id NULLS FIRST", {} },
  { "the last direction counts", user.id:asc():desc(), "u.id DESC", {} },
  { "cast", user.id:cast(orm.String(5)), "CAST(u.id AS VARCHAR(5))", {} },
  { "cast of a value", orm.cast("5", orm.Integer), "CAST(? AS INTEGER)", { "5" } },
  { "tuple with values", orm.tuple_(user.id, 5):eq(orm.tuple_(1, user.age)), "(u.id, ?) = (?, u.age)", { 5, 1 } },
  { "a parameter with a value", user.id:eq(orm.bindparam("n", 5)), "u.id = ?", { 5 } },
  { "type_coerce", orm.type_coerce(user.id, orm.Text) .. "x", "u.id || ?", { "x" } },
  { "an operator of the database", user.age:op("&")(4), "u.age & ?", { 4 } },
  { "an operator in words", user.name:op("GLOB", { is_comparison = true })("a*"), "u.name GLOB ?", { "a*" } },
  { "an operator of the database beside others", user.age:op("&")(4):eq(1) , "(u.age & ?) = ?", { 4, 1 } },
  { "a part of a document", user.doc:path("a", 2, "b c"):eq("x"), "json_extract(u.doc, ?) = ?",
    { '$."a"[1]."b c"', "x" } },
  -- functions
  { "a function", func.lower(user.name), "lower(u.name)", {} },
  { "a function of values", func.substr(user.name, 1, 2), "substr(u.name, ?, ?)", { 1, 2 } },
  { "a function of NULL", func.coalesce(user.name, null), "coalesce(u.name, NULL)", {} },
  { "count of rows", func.count(), "count(*)", {} },
  { "count of different values", func.count(user.name:distinct()), "count(DISTINCT u.name)", {} },
  { "now", func.now(), "CURRENT_TIMESTAMP", {} },
  { "a function without arguments", func.random(), "random()", {} },
  { "filter", func.count(user.id):filter(user.age:gt(5)), "count(u.id) FILTER (WHERE u.age > ?)", { 5 } },
  { "over", func.sum(user.age):over{ partition_by = user.name, order_by = { user.id:desc(), user.age } },
    "sum(u.age) OVER (PARTITION BY u.name ORDER BY u.id DESC, u.age)", {} },
  { "over a frame", func.sum(user.age):over{ order_by = user.id, rows = { -2, 0 } },
    "sum(u.age) OVER (ORDER BY u.id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)", {} },
  { "over an open frame", func.sum(user.age):over{ order_by = user.id, range = { "unbounded", 1 } },
    "sum(u.age) OVER (ORDER BY u.id RANGE BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)", {} },
  { "over everything", func.row_number():over(), "row_number() OVER ()", {} },
  { "case_", orm.case_():when(user.age:lt(18), "minor"):when(user.age:lt(60), "adult"):else_("old"),
    "CASE WHEN u.age < ? THEN ? WHEN u.age < ? THEN ? ELSE ? END", { 18, "minor", 60, "adult", "old" } },
  { "case_ of a value", orm.case_(user.name):when("a", 1):when("b", 2),
    "CASE u.name WHEN ? THEN ? WHEN ? THEN ? END", { "a", 1, "b", 2 } },
  { "extract", orm.extract("year", user.born), "CAST(strftime('%Y', substr(u.born, 1, 19)) AS INTEGER)", {} },
  { "literal", orm.literal(5) + user.age, "? + u.age", { 5 } },
  { "literal_column", orm.literal_column("1 + 1"):eq(2), "(1 + 1) = ?", { 2 } },
  { "text with values", orm.text("u.a > :x OR u.b = :y"):bindparams{ x = 1, y = false }, "u.a > ? OR u.b = ?",
    { 1, false } },
}

local function short(sql)
  return (sql:gsub("user_account%.", "u."))
end

describe("an expression", function()
  for _, case in ipairs(CASES) do
    it("renders " .. case[1], function()
      assert.equal(case[3], short(tostring(case[2])))
      assert.same(case[4], orm.select(case[2]):compile().params)
    end)
  end
end)

if math.type then -- Lua 5.3 and later
  describe("& | ~", function()
    local function run(source)
      return load("local u = ... return " .. source)(user)
    end

    it("combine conditions", function()
      assert.equal("u.id = ? AND (u.age > ? OR u.age < ?)",
        short(tostring(run("u.id:eq(1) & (u.age:gt(2) | u.age:lt(3))"))))
      assert.equal("u.id != ?", short(tostring(run("~u.id:eq(1)"))))
    end)

    it("are no arithmetic", function()
      raises("ArgumentError", "combine conditions, and user_account.age is a value", run, "u.age & 1")
    end)
  end)
end

describe("a value", function()
  local function type_of(node)
    return orm.select(node):compile().columns[1].type.name
  end

  it("is bound with the type of the other side", function()
    local statement = orm.select(user.id):where(user.doc:eq{ a = 1 }, user.born:eq("2024-01-01"), user.photo:eq("\0"))
    local binds = statement:compile().binds
    assert.equal("JSON", binds[1].type.name)
    assert.equal("Date", binds[2].type.name)
    assert.equal("LargeBinary", binds[3].type.name)
  end)

  it("has the type of what it comes from", function()
    assert.equal("Integer", type_of(func.count()))
    assert.equal("Integer", type_of(func.sum(user.age)))
    assert.equal("Numeric", type_of(func.sum(user.balance)))
    assert.equal("String", type_of(func.max(user.name)))
    assert.equal("Float", type_of(func.avg(user.age)))
    assert.equal("Float", type_of(user.age + 1.5))
    assert.equal("Integer", type_of(user.age * 2))
    assert.equal("Float", type_of(user.age / 2))
    assert.equal("Text", type_of(user.name .. "x"))
    assert.equal("Boolean", type_of(user.age:gt(5)))
    assert.equal("DateTime", type_of(func.now()))
    assert.equal("Date", type_of(func.unknown(user.age, { type_ = orm.Date })))
    assert.equal("Text", type_of(orm.case_():when(user.age:gt(5), "x"):else_("y")))
  end)

  it("must be one", function()
    raises("ArgumentError", { "user_account.age:eq(nil)", "use is_(orm.null)" }, user.age.eq, user.age, nil)
    raises("ArgumentError", "in_{...} takes lists", user.age.eq, user.age, { 1, 2 })
    raises("ArgumentError", "a function is no value", user.age.eq, user.age, print)
    raises("ArgumentError", "NULL is neither more nor less", user.age.lt, user.age, null)
    raises("ArgumentError", "got a whole table 'user_account'", user.age.eq, user.age, metadata.tables.user_account)
  end)
end)

describe("a mistake in an expression", function()
  it("is found where Lua would compare", function()
    if _VERSION ~= "Lua 5.1" then
      raises("ArgumentError", "use user_account.age:lt(5)", function() return user.age < 5 end)
      raises("ArgumentError", "use user_account.age:gt(5)", function() return user.age > 5 end)
      raises("ArgumentError", "use user_account.age:le('x')", function() return user.age <= "x" end)
      raises("ArgumentError", "use user_account.age:ge(5)", function() return 5 <= user.age end)
    end
    raises("ArgumentError", "use user_account.age:lt(user_account.id)", function() return user.age < user.id end)
  end)

  it("is found where a condition is none", function()
    raises("ArgumentError", { "and_(): argument 2 is nil", "misspelt" }, and_, user.id:eq(1), nil)
    raises("ArgumentError", { "or_(): argument 1 is false", "'User.id == 5' compares in Lua; write User.id:eq(5)" },
      or_,
      user.id == 5)
    raises("ArgumentError", "not_(): argument 1 is the string 'x'", not_, "x")
    raises("ArgumentError", "and_() needs at least one condition", and_)
    raises("ArgumentError", "unpack it", and_, { user.id:eq(1) })
  end)

  it("is found in lists", function()
    raises("ArgumentError", "the list has a hole", user.id.in_, user.id, { 1, nil, 3 })
    raises("ArgumentError", "has a hole or a name", user.id.in_, user.id, { a = 1 })
    raises("ArgumentError", "a list or a select expected, got nil", user.id.in_, user.id, nil)
    raises("ArgumentError", "a list or a select expected, got 1", user.id.in_, user.id, 1)
    raises("ArgumentError", "item 2 must be a list of 2 values", function()
      orm.tuple_(user.id, user.age):in_{ { 1, 2 }, { 3 } }
    end)
  end)

  it("is found in words that become SQL", function()
    raises("ArgumentError", "no function's name", function() return func["lower(x); --"] end)
    raises("ArgumentError", "no operator", user.id.op, user.id, "; DROP TABLE x")
    raises("ArgumentError", "no operator", user.id.op, user.id, "--")
    raises("ArgumentError", "no operator", user.id.op, user.id, "/*")
    raises("ArgumentError", "no collation's name", user.name.collate, user.name, 'x" y')
    raises("ArgumentError", "no part of a date", orm.extract, "yaer", user.born)
    raises("ArgumentError", "escape must be one character", user.name.like, user.name, "a", { escape = "ab" })
    raises("ArgumentError", "unknown option 'escap'", user.name.like, user.name, "a", { escap = "b" })
    raises("ArgumentError", "is no name", orm.bindparam, "a b")
    raises("ArgumentError", "a step is a name or a position", user.doc.path, user.doc, 'a"b')
    raises("ArgumentError", "a step is a name or a position", user.doc.path, user.doc, 0)
    raises("ArgumentError", "only JSON has paths", user.name.path, user.name, "a")
    raises("ArgumentError", "rows is { from, to }", func.sum(user.age).over, func.sum(user.age), { rows = { "1; --",
      0 } })
  end)

  it("is found where a method is called with a dot", function()
    raises("ArgumentError", "eq was called with '.'", user.age.eq, 5)
    raises("ArgumentError", "use ':'", user.age.desc)
  end)

  it("is not made of tables that look like expressions", function()
    raises("ArgumentError", "argument 1", orm.select, { visit = "literal_column", text = "1; DROP TABLE x" })
    raises("ArgumentError", "a table is no value", user.id.eq, user.id, { visit = "text", text = "1 OR 1" })
  end)
end)

describe("text", function()
  local function names(sql)
    local list = {}
    for position, bind in ipairs(orm.text(sql):compile().binds) do
      list[position] = bind.key
    end
    return list
  end

  it("finds its markers, and only those", function()
    assert.same({ "a", "b", "a" }, names("SELECT :a, :b WHERE x = :a"))
    assert.same({ "x" }, names([[SELECT ':a', ":b", `:c`, [:d], 'it''s :e', :x -- :f]] .. "\n/* :g */"))
    assert.same({ "i" }, names("SELECT a::int, '12:30', 12:30, arr[:i]"))
    assert.same({}, names("SELECT '\\:a', \\:b"))
    assert.same({ "z" }, names("SELECT 'unfinished :y' || :z -- and :w"))
  end)

  it("writes them as the database does", function()
    assert.equal("SELECT ?, ':b', :c", orm.text("SELECT :a, ':b', \\:c"):compile().sql)
  end)

  it("refuses the database's own markers", function()
    raises("ArgumentError", "is written :name here", orm.text, "SELECT ?")
    raises("ArgumentError", "is written :name here", orm.text, "SELECT @a")
    raises("ArgumentError", "is written :name here", orm.text, "SELECT $a")
    assert.equal("SELECT '?', a$b", orm.text("SELECT '?', a$b"):compile().sql)
  end)

  it("binds values by name", function()
    assert.same({ 1, 2, 1 }, orm.text(":a :b :a"):bindparams{ a = 1, b = 2 }:compile().params)
    raises("ArgumentError", "there is no marker :c in the text", function() orm.text(":a"):bindparams{ c = 1 } end)
    raises("ArgumentError", "SQL as a string expected", orm.text, 5)
    raises("ArgumentError", "NUL", orm.text, "SELECT \0")
  end)

  it("stays as it was when values are bound", function()
    local text = orm.text("SELECT :a")
    text:bindparams{ a = 1 }
    assert.is_nil(text:compile().params[1])
  end)

  it("keeps the types of its columns", function()
    local columns = orm.text("SELECT a, b"):columns{ a = orm.Date }:compile().columns
    assert.equal("Date", columns[1].type.name)
  end)
end)

describe("a window's frame", function()
  local function over(options)
    return orm.func.sum(user.age):over(options)
  end

  it("is one list of two bounds, the first not behind the second", function()
    raises("ArgumentError", "rows is { from, to } in whole numbers", over, { rows = 3 })
    raises("ArgumentError", "rows is { from, to } in whole numbers or \"unbounded\", got 'start'", over,
      { rows = { "start", 0 } })
    raises("ArgumentError", "rows ends before it begins: { 1, -1 }", over, { rows = { 1, -1 } })
    raises("ArgumentError", "one frame: rows, range or groups", over, { rows = { -1, 0 }, range = { -1, 0 } })
    raises("ArgumentError", "order_by: argument 1 is the string 'age'", over, { order_by = "age" })
  end)
end)

describe("text in arithmetic", function()
  it("is refused, since a database would make a number of it", function()
    raises("ArgumentError", { "'+' is for numbers", "name is text", "joined by '..'" }, function()
      return user.name + " "
    end)
    raises("ArgumentError", "'*' is for numbers", function() return 2 * user.name end)
    assert.equal("CAST(user_account.name AS INTEGER) + ?", tostring(user.name:cast(orm.Integer) + 1))
  end)
end)

describe("a cast", function()
  local engine = orm.create_engine("sqlite://")

  local function cast(value, from, to)
    return engine:begin(function(conn)
      return conn:scalar(orm.select(orm.cast(orm.literal(value, from), to)))
    end)
  end

  it("to a date, a time or a document keeps its text", function()
    assert.equal("2024-02-29", cast("2024-02-29", orm.Text, orm.Date))
    assert.equal("2024-02-29", cast("2024-02-29T12:30:00", orm.DateTime, orm.Date))
    assert.equal("2024-02-29T12:30:00", cast("2024-02-29 12:30:00", orm.Text, orm.DateTime))
    assert.equal("2024-02-29T00:00:00", cast("2024-02-29", orm.Date, orm.DateTime))
    assert.equal("12:30:00", cast("12:30:00", orm.Text, orm.Time))
    assert.same({ a = 1 }, cast('{"a":1}', orm.Text, orm.JSON))
    assert.equal("CAST(user_account.name AS DATE)", user.name:cast(orm.Date):compile{ dialect = "postgresql" }.sql)
  end)

  it("takes the words of a variant and of a decorated type", function()
    local Day = orm.TypeDecorator("Day", { impl = orm.Date })
    assert.equal("2024-02-29", cast("2024-02-29", orm.Text, Day))
    assert.equal("2024-02-29", cast("2024-02-29", orm.Text, orm.Integer:with_variant(orm.Date, "sqlite")))
  end)
end)

describe("a parameter", function()
  it("has its value once", function()
    raises("ArgumentError", "the value is given twice", orm.bindparam, "n", 5, { value = 6 })
    raises("ArgumentError", "unknown option 'tpye'", orm.bindparam, "n", 5, { tpye = orm.Integer })
    assert.equal("VARCHAR", orm.bindparam("n", 5, { type_ = orm.String }).type:ddl())
  end)
end)
