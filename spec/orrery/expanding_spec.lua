-- Parameters that take a whole list when the statement is executed: in_(bindparam("ids")), and IN in text().
local orm = require "orrery"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"
local select, bindparam, null = orm.select, orm.bindparam, orm.null

local metadata = orm.MetaData()
local item = orm.Table("item", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("name", orm.String(20)),
  orm.Column("day", orm.Date))
local i = item.c

local engine, conn

before_each(function()
  engine = orm.create_engine("sqlite://")
  metadata:create_all(engine)
  conn = engine:connect()
  conn:execute(orm.insert(item), {
    { id = 1, name = "a", day = "2024-01-01" }, { id = 2, name = "it's \"b\"", day = "2024-01-02" },
    { id = 3, name = "c", day = "2024-01-03" }, { id = 4, name = null, day = null },
  })
end)

after_each(function()
  conn:close()
  engine:dispose()
end)

local function ids(statement, params)
  return conn:execute(statement, params):scalars():all()
end

describe("a parameter that takes a list", function()
  local base = select(i.id):order_by(i.id)

  it("finds what is in it, however long it is", function()
    local statement = base:where(i.id:in_(bindparam("ids", { expanding = true })))
    assert.same({ 1, 3 }, ids(statement, { ids = { 1, 3, 9 } }))
    assert.same({ 2 }, ids(statement, { ids = { 2 } }))
    assert.same({}, ids(statement, { ids = {} }))
    local many = {}
    for number = 1, 40000 do
      many[number] = number + 2
    end
    assert.same({ 3, 4 }, ids(statement, { ids = many }))
  end)

  it("is one statement for every length", function()
    local record = statements.record(engine)
    local statement = base:where(i.name:in_(bindparam("names")))
    ids(statement, { names = { "a", "it's \"b\"" } })
    ids(statement, { names = { "c" } })
    local sql = "SELECT item.id FROM item WHERE item.name IN (SELECT value FROM json_each(?)) ORDER BY item.id "
    assert.same({ sql .. '[["a","it\'s \\"b\\""]]', sql .. '[["c"]]' }, record:take())
  end)

  it("is negated, with every row outside of an empty list", function()
    local statement = base:where(i.name:not_in(bindparam("names")))
    assert.same({ 1, 2, 3, 4 }, ids(statement, { names = {} }))
    assert.same({ 2, 3 }, ids(statement, { names = { "a" } }))
    assert.same({ 1, 2, 3 }, ids(statement, { names = { ("longer than the column"):rep(3) } }))
  end)

  it("converts and checks each value as the column does", function()
    local statement = base:where(i.day:in_(bindparam("days")))
    assert.same({ 2 }, ids(statement, { days = { { year = 2024, month = 1, day = 2 } } }))
    raises("ArgumentError", "a date like", ids, statement, { days = { "soon" } })
    raises("ArgumentError", "an integer expected, got 'x'", ids, base:where(i.id:in_(bindparam("ids"))),
      { ids = { 1, "x" } })
  end)

  it("may have a list of its own", function()
    local statement = base:where(i.id:in_(bindparam("ids", { value = { 1, 2 } })))
    assert.same({ 1, 2 }, ids(statement))
    assert.same({ 3 }, ids(statement, { ids = { 3 } }))
  end)

  it("takes rows for a tuple", function()
    local statement = base:where(orm.tuple_(i.id, i.name):in_(bindparam("pairs")))
    assert.same({ 1, 3 }, ids(statement, { pairs = { { 1, "a" }, { 3, "c" }, { 2, "a" } } }))
    assert.same({}, ids(statement, { pairs = {} }))
    raises("ArgumentError", "rows of 2 values; row 2 is none", ids, statement, { pairs = { { 1, "a" }, { 3 } } })
  end)

  it("stands in text, where it must be said", function()
    local text = orm.text("SELECT id FROM item WHERE id IN :ids AND id > :least ORDER BY id")
      :bindparams(bindparam("ids", { expanding = true }), bindparam("least", { value = 1 }))
    assert.same({ 2, 3 }, ids(text, { ids = { 1, 2, 3 } }))
    assert.same({ 3 }, ids(text, { ids = { 1, 2, 3 }, least = 2 }))
  end)

  it("is refused where it is no list", function()
    local statement = base:where(i.id:in_(bindparam("ids")))
    raises("ArgumentError", "takes a list of values, got 5", ids, statement, { ids = 5 })
    raises("ArgumentError", "takes a list of values, got orm.null", ids, statement, { ids = null })
    raises("ArgumentError", "a table with names or holes", ids, statement, { ids = { 1, nil, 3 } })
    raises("ArgumentError", "a table with names or holes", ids, statement, { ids = { a = 1 } })
    raises("ArgumentError", "a value is missing for the parameter 'ids'", ids, statement)
    raises("ArgumentError", "holds no NUL bytes", ids, base:where(i.name:in_(bindparam("names"))),
      { names = { "a\0" } })
  end)

  it("is one thing in the statement's key, and a plain parameter another", function()
    local same = base:where(i.id:eq(bindparam("ids")))
    assert.same({ 1 }, ids(same, { ids = 1 }))
    assert.same({ 1 }, ids(base:where(i.id:in_(bindparam("ids"))), { ids = { 1 } }))
    assert.same({ 1 }, ids(same, { ids = 1 }))
  end)
end)
