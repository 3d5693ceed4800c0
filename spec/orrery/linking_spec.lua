-- Tables of one FROM that nothing links give a warning: every row of one would stand beside every row of the other.
local orm = require "orrery"
local raises = require "spec.support.raises"
local func, select = orm.func, orm.select

local metadata = orm.MetaData()
local author = orm.Table("author", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("name", orm.String))
local book = orm.Table("book", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("author_id", orm.ForeignKey("author.id")), orm.Column("title", orm.String))
local review = orm.Table("review", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("book_id", orm.ForeignKey("book.id")))
local a, b, r = author.c, book.c, review.c

local function new_engine(options)
  local engine = orm.create_engine("sqlite://", options)
  metadata:create_all(engine)
  return engine
end

-- The warnings of running a statement twice.
local function run(statement, options)
  local engine, heard = new_engine(options), {}
  local former = orm.on_warning(function(message)
    heard[#heard + 1] = message
  end)
  local ok, err = pcall(engine.begin, engine, function(conn)
    conn:execute(statement)
    conn:execute(statement)
  end)
  orm.on_warning(former)
  assert(ok, err)
  return heard
end

describe("tables that nothing links", function()
  local LOOSE = {
    { "two tables", select(a.id, b.id), "SELECT", "author", "book" },
    { "conditions on each alone", select(a.id, b.id):where(a.id:eq(1), b.id:eq(2)), "SELECT", "author", "book" },
    { "a table of a condition", select(a.id):where(b.title:eq("x")), "SELECT", "author", "book" },
    { "a join and a third", select(a.id, r.id):join_from(author, book), "SELECT", "author", "review" },
    { "two selectables of one table", (function()
        local twin = orm.alias(book, "twin")
        return select(b.id, twin.c.id)
      end)(), "SELECT", "book", "twin" },
    { "a subquery in it", select(a.id):where(a.id:in_(select(b.author_id):where(r.id:eq(1)))), "SELECT", "book", "review" },
    { "a function of values", select(a.id, func.json_each("[1]"):column_valued("n")), "SELECT", "author", "n" },
    { "a function of one of them", select(a.id, b.id, func.json_each(b.title):table_valued("value").c.value), "SELECT",
      "author", "book" },
    { "VALUES", select(a.id, orm.values("n", { name = "v" }):data{ { 1 } }.c.n), "SELECT", "author", "v" },
    { "an update", orm.update(book):values{ title = a.name }:where(b.id:eq(1)), "UPDATE", "book", "author" },
  }
  for _, case in ipairs(LOOSE) do
    it("give a warning: " .. case[1], function()
      local heard = run(case[2])
      assert.equal(1, #heard)
      assert.truthy(heard[1]:find("linking_spec.lua:%d+: " .. case[3] .. " reads '" .. case[4] .. "' and '" .. case[5]
        .. "', and nothing links them"), heard[1])
    end)
  end

  local LINKED = {
    { "a comparison", select(a.id, b.id):where(b.author_id:eq(a.id)) },
    { "one among alternatives", select(a.id, b.id):where(orm.or_(b.author_id:eq(a.id), b.id:is_(orm.null))) },
    { "one that is negated", select(a.id, b.id):where(orm.not_(b.author_id:eq(a.id))) },
    { "a comparison that is no equality", select(a.id, b.id):where(a.name:lt(b.title)) },
    { "a function", select(a.id, b.id):where(func.instr(b.title, a.name):gt(0)) },
    { "a join", select(a.id, b.id):join_from(author, book) },
    { "a join on purpose", select(a.id, b.id):join_from(author, book, orm.true_()) },
    { "joins in a chain", select(a.id, r.id):where(b.author_id:eq(a.id), r.book_id:eq(b.id)) },
    { "SQL of the script's own", select(a.id, b.id):where(orm.text("book.author_id = author.id")) },
    { "a select within a condition", select(a.id, b.id):where(select(r.id):where(r.book_id:eq(b.id), r.id:eq(a.id))
      :exists()) },
    { "the table around a subquery", select(a.id):where(select(b.id):where(b.author_id:eq(a.id), r.id:eq(a.id))
      :correlate(author):exists()) },
    { "the table of an update", orm.update(book):values{ title = a.name }:where(b.author_id:eq(a.id)) },
    { "one table alone", select(a.id) },
    { "a function of the other table", select(a.id, func.json_each(a.name):table_valued("value").c.value) },
    { "a function of the other table, and a condition on that", select(a.id, func.json_each(a.name):column_valued("x"), b.id)
      :where(b.author_id:eq(a.id)) },
    { "a function of both tables", select(a.id, b.id, func.json_each(a.name, b.title):column_valued("x")) },
    { "a comparison with what a function gives", (function()
        local each = func.json_each(a.name):table_valued("value")
        return select(a.id, b.id):where(b.id:eq(each.c.value))
      end)() },
    { "one within a select that reads a function of a table", (function()
        local each = func.json_each(a.name):table_valued("value")
        return select(a.id, b.id):where(orm.exists(each):where(each.c.value:eq(b.id)))
      end)() },
    { "a join to a function of the other table", (function()
        local each = func.json_each(a.name):table_valued("value")
        return select(a.id, b.id):select_from(book):join(each, each.c.value:eq(b.id))
      end)() },
    { "a function of SQL of the script's own", select(a.id, func.json_each(orm.text("author.name")):column_valued("x")) },
    { "a function that stands there on purpose", select(a.id, func.json_each("[1]"):column_valued("n",
      { joins_implicitly = true })) },
    { "such a function, put first", select(func.json_each("[1]"):table_valued("value", { joins_implicitly = true }).c.value,
      a.id) },
    { "VALUES that are compared", (function()
        local v = orm.values("n"):data{ { 1 } }
        return select(a.id, v.c.n):where(v.c.n:eq(a.id))
      end)() },
  }
  for _, case in ipairs(LINKED) do
    it("are not those with " .. case[1], function()
      assert.same({}, run(case[2]))
    end)
  end

  it("are not looked for when an engine says so", function()
    assert.same({}, run(select(a.id, b.id), { enable_from_linting = false }))
    raises("ArgumentError", "enable_from_linting is true or false, got 'no'", orm.create_engine, "sqlite://",
      { enable_from_linting = "no" })
  end)

  it("are not looked for in text and in what is only printed", function()
    assert.same({}, run(orm.text("SELECT * FROM author, book")))
    local heard = {}
    local former = orm.on_warning(function(message) heard[#heard + 1] = message end)
    tostring(select(a.id, b.id))
    select(a.id, b.id):compile("postgresql")
    orm.on_warning(former)
    assert.same({}, heard)
  end)

  it("are looked for once for each shape: statements from the cache cost nothing", function()
    local engine = new_engine()
    local heard = {}
    local former = orm.on_warning(function(message) heard[#heard + 1] = message end)
    engine:begin(function(conn)
      for number = 1, 3 do
        conn:execute(select(a.id, b.id):where(a.id:eq(number)))
      end
      conn:execute(select(a.id, b.id):where(a.id:eq(9)))
    end)
    orm.on_warning(former)
    assert.equal(1, #heard)
  end)
end)
