-- Rows in FROM that no table holds: functions that give rows, and VALUES; columns and tables by their names alone.
local orm = require "orrery"
local raises = require "spec.support.raises"
local count_of = select
local func, null, select = orm.func, orm.null, orm.select

local Base = orm.declarative_base()
local Item = Base:model("Item", {
  __tablename__ = "item",
  id = orm.Mapped(orm.Integer, { primary_key = true }),
  name = orm.Mapped(orm.String),
  doc = orm.Mapped(orm.Optional(orm.JSON)),
  parent_id = orm.Mapped(orm.Optional(orm.Integer), orm.ForeignKey("item.id")),
  parts = orm.relationship("Item", { order_by = "Item.id" }),
})

local function tags_of(document)
  return func.json_each(document, "$.tags"):table_valued("key", orm.column("value", orm.String))
end
local tags = tags_of(Item.doc)
Item.tag_count = orm.column_property(select(func.count()):select_from(tags):scalar_subquery())
Item.last_tag = orm.column_property(select(func.max(tags.c.value)):scalar_subquery())
local Tag = Base:model("Tag", {
  __tablename__ = "tag",
  id = orm.Mapped(orm.Integer, { primary_key = true }),
  name = orm.Mapped(orm.String),
})

local function open()
  local engine = orm.create_engine("sqlite://")
  Base.metadata:create_all(engine)
  local session = orm.Session(engine)
  session:add_all{
    Item{ id = 1, name = "box", doc = { tags = { "red", "big" } } },
    Item{ id = 2, name = "lid", doc = { tags = { "red" } }, parent_id = 1 },
    Item{ id = 3, name = "nail", doc = { tags = orm.array{} }, parent_id = 1 },
    Tag{ id = 1, name = "big" }, Tag{ id = 2, name = "red" },
  }
  session:commit()
  return session
end

-- The rows of a statement as texts, after nothing was warned of.
local function rows_of(session, statement)
  local lines, heard = {}, {}
  local former = orm.on_warning(function(message) heard[#heard + 1] = message end)
  for row in session:execute(statement) do
    local parts = {}
    for position = 1, (count_of("#", row())) do
      parts[position] = row[position] == nil and "-" or tostring(row[position])
    end
    lines[#lines + 1] = table.concat(parts, " ")
  end
  orm.on_warning(former)
  assert.same({}, heard)
  return lines
end

describe("a function as a table", function()
  local session = open()
  local function gives(expected, statement)
    assert.same(expected, rows_of(session, statement))
    assert.same(expected, rows_of(session, statement)) -- from the cache
  end

  it("gives rows for each row of the tables in its arguments", function()
    local expected = { "box 0 red", "box 1 big", "lid 0 red" }
    gives(expected, select(Item.name, tags.c.key, tags.c.value):order_by(Item.id, tags.c.key))
    gives(expected, select(Item.name, tags):select_from(tags, Item):order_by(Item.id, tags.c.key))
    gives({ "0 red", "1 big" }, select(tags):where(Item.id:eq(1)):order_by(tags.c.key))
  end)

  it("must not be given columns of a table that the statement does not read", function()
    for _, stmt in ipairs { select(tags.c.value), select(Tag.name):join(tags, orm.true_()),
      select(Tag.name):where(orm.exists(tags)), select(tags.c.value):select_from(select(Item.id):subquery()) } do
      raises("InvalidRequestError", { "json_each(...) in FROM is given a column of 'item'", "select_from" }, function()
        session:execute(stmt)
      end)
    end
  end)

  it("is joined, and keeps rows without any where that is asked for", function()
    gives({ "box", "lid" }, select(Item.name):join(tags, tags.c.value:eq("red")):order_by(Item.id))
    local expected = { "box big", "box red", "lid red", "nail -" }
    gives(expected, select(Item.name, tags.c.value):outerjoin(tags, orm.true_()):order_by(Item.id, tags.c.value))
    gives(expected, select(Item.name, tags.c.value):select_from(orm.join(Item, tags, orm.true_(), { isouter = true }))
      :order_by(Item.id, tags.c.value))
    gives({ "box big", "box red", "lid red" }, select(Item.name, Tag.name):join(tags, orm.true_())
      :join(Tag, Tag.name:eq(tags.c.value)):order_by(Item.id, Tag.id))
  end)

  it("stands in a statement twice under two names", function()
    local other = tags:alias("other")
    gives({ "box big red", "box red big" }, select(Item.name, tags.c.value, other.c.value):where(tags.c.value:ne(other.c.value))
      :order_by(tags.c.value))
    assert.equal("other", orm.alias(tags, "other").name)
  end)

  it("is correlated with the statement around it", function()
    gives({ "nail 0", "lid 1", "box 2" },
      select(Item.name, select(func.count()):select_from(tags):scalar_subquery():label("n")):order_by("n"))
    gives({ "box" }, select(Item.name):where(orm.exists(tags):where(tags.c.value:eq("big"))))
    gives({ "lid", "nail" }, select(Item.name):where(orm.not_(orm.exists(tags):where(tags.c.value:eq("big")))))
    gives({ "box big" }, select(Item.name, tags.c.value):where(orm.exists(Tag):where(Tag.name:eq(tags.c.value), Tag.id:eq(1))))
  end)

  it("stands in subqueries, unions and WITH", function()
    local all = select(Item.id, tags.c.value)
    local sub, cte = all:subquery(), all:cte("all_tags")
    gives({ "big 1", "red 2" }, select(sub.c.value, func.count()):group_by(sub.c.value):order_by(sub.c.value))
    gives({ "red", "red" }, select(cte.c.value):where(cte.c.value:eq("red")))
    gives({ "big", "nail", "red" }, select(tags.c.value):select_from(Item):union(select(Item.name):where(Item.id:eq(3)))
      :order_by("value"))
  end)

  it("goes along with what is moved to an alias", function()
    local Other = orm.aliased(Item)
    gives({ "lid box 1 2", "nail box 0 2" }, select(Other.name, Item.name, Other.tag_count, Item.tag_count)
      :join(Item, Item.id:eq(Other.parent_id)):order_by(Other.id))
    gives({ "nail -", "lid red", "box red" }, select(Other.name, Other.last_tag):order_by(Other.tag_count))
    local own = tags_of(Other.doc)
    gives({ "lid red" }, select(Other.name, own.c.value):where(Other.parent_id:is_not(null)))
    local red = orm.with_loader_criteria(Item, orm.exists(tags):where(tags.c.value:eq("red")), { include_aliases = true })
    gives({ "box", "lid" }, select(Other.name):options(red):order_by(Other.id))
  end)

  it("is read beside objects and what loads with them", function()
    session:expunge_all()
    local query = select(Item):join(tags, orm.true_()):where(tags.c.value:eq("red")):order_by(tags.c.value, Item.id):limit(1)
    for _, option in ipairs{ orm.joinedload(Item.parts), orm.selectinload(Item.parts), orm.subqueryload(Item.parts) } do
      local found = session:scalars(query:options(option)):unique():all()
      local box = found[1]
      assert.same({ 1, "box", 2, 2, 1 }, { #found, box.name, box.tag_count, #box.parts, box.parts[1].tag_count })
      session:expunge_all()
    end
    assert.equal(2, session:query(Item, tags.c.value):filter(tags.c.value:eq("red")):count())
  end)

  it("takes values by name, and types for what it gives", function()
    local each = func.json_each(orm.bindparam("list")):table_valued(orm.column("value", orm.JSON), { name = "each" })
    local documents = session:execute(select(each.c.value), { list = '[{"a": [1]}]' }):scalars():all()
    assert.equal(1, documents[1].a[1])
    assert.equal("SELECT e.value FROM json_each('[1]') AS e", select(func.json_each("[1]")
      :table_valued("value", { name = "e" }).c.value):compile{ literal_binds = true }.sql)
  end)

  it("has what SQLite's own functions give", function()
    local columns = func.pragma_table_info("tag"):table_valued("name", orm.column("type", orm.Text), "pk")
    gives({ "id INTEGER 1", "name VARCHAR 0" }, select(columns))
    local leaves = func.json_tree(Item.doc):table_valued("fullkey", "atom")
    gives({ "$.tags[0]", "$.tags[1]" }, select(leaves.c.fullkey):where(Item.id:eq(1), leaves.c.atom:is_not(null)))
  end)

  it("gives its values as one column", function()
    local number = func.json_each("[3, 1, 2]", { type_ = orm.Integer }):column_valued("number")
    gives({ "3", "2" }, select(number):where(number:gt(1)):order_by(number:desc()))
    gives({ "6" }, select(func.sum(number)))
    gives({ "2 red", "1 big" }, (function()
      local tag = func.json_each(Item.doc:path("tags")):column_valued("tag")
      return select(func.count(), tag):select_from(Item):group_by(tag):order_by(func.count():desc())
    end)())
    assert.equal(3, session:scalars(select(number)):first())
  end)

  it("changes rows from what it gives", function()
    local own = open()
    own:execute(orm.update(Item):values{ name = tags.c.value }:where(tags.c.key:eq(0)))
    own:execute(orm.delete(Item):where(Item.parent_id:is_not(null), orm.exists(tags):where(tags.c.value:eq("red"))))
    local names = {}
    for row in own:execute(orm.text("SELECT name FROM item ORDER BY id")) do
      names[#names + 1] = row.name
    end
    assert.same({ "red", "nail" }, names)
    own:close()
  end)

  it("says what it needs", function()
    local each = func.json_each("[]")
    raises("ArgumentError", "table_valued() needs the names of its columns", each.table_valued, each, { name = "x" })
    raises("ArgumentError", "unknown option 'nmae'; did you mean 'name'?", each.table_valued, each, "value", { nmae = "x" })
    raises("ArgumentError", "argument 2 must be a column's name or orm.column(name, Type), got nil", each.table_valued, each,
      "value", nil)
    raises("ArgumentError", "argument 1 must be a column's name or orm.column(name, Type), got a bind", each.table_valued, each,
      orm.literal(1))
    raises("ArgumentError", "there are two columns 'Value'", each.table_valued, each, "value", "Value")
    raises("ArgumentError", "a name expected, got 5", each.table_valued, each, "value", { name = 5 })
    raises("ArgumentError", "a name expected, got ''", each.column_valued, each, "")
    raises("ArgumentError", "func.name(...):table_valued()", function() Item.name:table_valued("x") end)
    raises("ArgumentError", "func.name(...):column_valued()", function() Item.name:column_valued("x") end)
    raises("NoSuchColumnError", "'json_each(...)' has no column 'vlaue'", function()
      return each:table_valued("value").c.vlaue
    end)
    raises("NoForeignKeysError", "give the condition as second argument", function()
      select(Item):join(each:table_valued("value"))
    end)
  end)
  teardown(function() session:close() end)
end)

describe("VALUES", function()
  local id, name = orm.column("id", orm.Integer), orm.column("name", orm.String)
  local pairs_ = orm.values(id, name, { name = "given" }):data{ { 1, "a" }, { 2, "b" } }:data{ { 3, null } }
  local session = open()
  local function gives(expected, statement)
    assert.same(expected, rows_of(session, statement))
    assert.same(expected, rows_of(session, statement))
  end

  it("is a table of the rows that a statement brings along", function()
    gives({ "1 a", "2 b", "3 -" }, select(pairs_))
    gives({ "b" }, select(pairs_.c.name):where(pairs_.c.id:eq(2)))
    gives({ "box a", "lid b", "nail -" }, select(Item.name, pairs_.c.name):join(pairs_, pairs_.c.id:eq(Item.id))
      :order_by(Item.id))
    gives({ "nail" }, select(Item.name):where(Item.id:in_(select(pairs_.c.id):where(pairs_.c.name:is_(null)))))
  end)

  it("has other names, and stands in WITH", function()
    local other, cte = pairs_:alias("other"), pairs_:cte("named")
    gives({ "1 2", "1 3", "2 3" }, select(pairs_.c.id, other.c.id):where(pairs_.c.id:lt(other.c.id))
      :order_by(pairs_.c.id, other.c.id))
    gives({ "2 b" }, select(cte):where(cte.c.id:eq(2)))
    gives({ "3" }, select(func.count()):select_from(orm.values("x"):data{ { 1 }, { "two" }, { orm.literal(1) + 2 } }))
  end)

  it("hides no table of its name, nor others like it", function()
    local shadow = orm.values(id, { name = "item" }):data{ { 2 }, { 7 } }
    local other = orm.values(id, { name = "item" }):data{ { 3 } }
    gives({ "lid" }, select(Item.name):where(Item.id:in_(select(shadow.c.id))))
    gives({ "2", "3", "7" }, select(shadow.c.id):union(select(other.c.id)):order_by("id"))
  end)

  it("binds values with the columns' types, and writes them out", function()
    local moments = orm.values(orm.column("at", orm.DateTime), orm.column("doc", orm.JSON), { name = "m" })
      :data{ { os.date("*t", 0), { a = 1 } } }
    local row = session:execute(select(moments)):one()
    assert.truthy(row.at:find("^19[67]%d%-%d%d%-%d%dT"))
    assert.equal(1, row.doc.a)
    raises("ArgumentError", "parameter 1: an integer expected, got 'x'", function()
      session:execute(select(orm.values(id):data{ { "x" } })):all()
    end)
    assert.equal("SELECT given.id FROM (WITH given(id, name) AS (VALUES (1, 'a'), (2, 'b'), (3, NULL)) SELECT * FROM given) "
      .. "AS given",
      select(pairs_.c.id):compile{ literal_binds = true }.sql)
  end)

  it("changes rows", function()
    local own = open()
    own:execute(orm.update(Tag):values{ name = pairs_.c.name }:where(Tag.id:eq(pairs_.c.id)))
    own:execute(orm.insert(Tag):from_select({ "id", "name" }, select(pairs_.c.id, func.coalesce(pairs_.c.name, "c"))
      :where(pairs_.c.id:gt(2))))
    local names = {}
    for row in own:execute(orm.text("SELECT name FROM tag ORDER BY id")) do
      names[#names + 1] = row.name
    end
    assert.same({ "a", "b", "c" }, names)
    own:close()
  end)

  it("loses no row and no value", function()
    local empty = orm.values(id, name)
    raises("CompileError", "values(...) has no rows", function() select(empty):compile() end)
    raises("ArgumentError", "a list of rows without a hole expected, got nil", empty.data, empty)
    raises("ArgumentError", "a list of rows without a hole expected", empty.data, empty, {})
    raises("ArgumentError", "a list of rows without a hole expected", empty.data, empty, { { 1, "a" }, x = { 2, "b" } })
    raises("ArgumentError", "row 1 must be a list of 2 values", empty.data, empty, { 1 })
    raises("ArgumentError", "row 2 must be a list of 2 values", empty.data, empty, { { 1, "a" }, { 1, "a", 3 } })
    raises("ArgumentError", "row 1 must be a list of 2 values", empty.data, empty, { { id = 1, name = "a" } })
    raises("ArgumentError", "row 1 has no value for 'name'; NULL is orm.null", empty.data, empty, { { 1 } })
    raises("ArgumentError", "got a whole class", empty.data, empty, { { 1, Item } })
    raises("NoSuchColumnError", "'VALUES' has no column 'idd'; did you mean 'id'?", function() return empty.c.idd end)
    raises("ArgumentError", "values() needs the names of its columns", orm.values)
    raises("ArgumentError", "there are two columns 'id'", orm.values, id, "id")
    raises("ArgumentError", "only values(...) has that", function() tags:data{ { 1 } } end)
    raises("ArgumentError", "only values(...) has that", function() Tag.__table__:alias("t"):cte() end)
    raises("ArgumentError", "only a cte of a select can be extended", function()
      pairs_:cte("x"):union_all(select(orm.literal(1)))
    end)
  end)
  teardown(function() session:close() end)
end)

describe("a table by its name alone", function()
  it("is read and changed", function()
    local session = open()
    local tag = orm.table("tag", orm.column("id", orm.Integer), orm.column("name"))
    session:execute(orm.insert(tag), { { id = 3, name = "new" }, { id = 4, name = "old" } })
    session:execute(orm.update(tag):values{ name = "newer" }:where(tag.c.id:eq(3)))
    session:execute(orm.delete(tag):where(tag.c.name:eq("old")))
    assert.same({ "1 big", "2 red", "3 newer" }, rows_of(session, select(tag):order_by(tag.c.id)))
    assert.same({ "newer" }, rows_of(session, select(orm.column("name")):select_from(tag):where(orm.column("id"):eq(3))))
    assert.equal("SELECT main.tag.id FROM main.tag", tostring(select(orm.table("tag", orm.column("id"), { schema = "main" }))))
    session:close()
  end)

  it("takes columns only", function()
    raises("ArgumentError", "argument 1 is the string 'id'", orm.table, "tag", "id")
    raises("ArgumentError", "argument 1 must be orm.column(name, Type), got a bind", orm.table, "tag", orm.literal(1))
    raises("ArgumentError", "unknown option 'shema'; did you mean 'schema'?", orm.table, "tag", { shema = "main" })
    raises("ArgumentError", "column(): a name expected, got nil", orm.column, nil)
    raises("ArgumentError", "column(): a type such as orm.Integer expected", orm.column, "id", 5)
  end)

  it("says the types of text()", function()
    local session = open()
    local text = orm.text("SELECT id, doc FROM item WHERE id = 2"):columns(orm.column("id", orm.Integer),
      orm.column("doc", orm.JSON))
    assert.equal("red", session:execute(text):one().doc.tags[1])
    session:close()
  end)
end)
