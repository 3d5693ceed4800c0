-- Statements of SQLAlchemy's tutorials as they are written here: parameters inside values, selects as values, names in
-- orders.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local select, func, bindparam = orm.select, orm.func, orm.bindparam

describe("bindparam() within values", function()
  local lib, book, author
  before_each(function()
    lib = library.open()
    book, author = lib.Book.__table__, lib.Author.__table__
  end)

  local function ids(title)
    return rows(lib.engine, "SELECT author_id FROM book WHERE title = '" .. title .. "'")
  end

  it("is a parameter of an insert, in a subquery too, and no column", function()
    local by_name = select(author.c.id):where(author.c.name:eq(bindparam("writer"))):scalar_subquery()
    lib.engine:begin(function(conn)
      conn:execute(orm.insert(book):values{ author_id = by_name },
        { { writer = "a1", title = "x" }, { writer = "a2", title = "y" } })
    end)
    assert.same({ "1" }, ids("x"))
    assert.same({ "2" }, ids("y"))
  end)

  it("is a parameter of an update, beside those of its conditions", function()
    local rename = orm.update(book):where(book.c.title:eq(bindparam("before"))):values{ title = bindparam("after") }
    lib.engine:begin(function(conn)
      conn:execute(rename, { { before = "b1", after = "x" }, { before = "b2", after = "y" } })
    end)
    assert.same({ "x", "y" }, rows(lib.engine, "SELECT title FROM book WHERE id < 3 ORDER BY id"))
  end)

  it("may have the name of another column", function()
    lib.engine:begin(function(conn)
      conn:execute(orm.update(book):where(book.c.id:eq(1)):values{ title = bindparam("year") }, { year = "MM" })
    end)
    assert.same({ "MM|2000" }, rows(lib.engine, "SELECT title, year FROM book WHERE id = 1"))
  end)

  it("is one of an upsert's", function()
    local insert = orm.insert(book)
    lib.engine:begin(function(conn)
      conn:execute(insert:on_conflict_do_update{ index_elements = { "id" }, set = { title = bindparam("other") } },
        { id = 1, other = "z" })
    end)
    assert.same({ "z" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)

  it("leaves plain values to parameters by the column's name", function()
    lib.engine:begin(function(conn)
      conn:execute(orm.update(book):where(book.c.id:eq(1)):values{ title = "own", year = 1 }, { title = "given" })
    end)
    assert.same({ "given|1" }, rows(lib.engine, "SELECT title, year FROM book WHERE id = 1"))
  end)
end)

describe("a select as a value", function()
  it("says itself which tables it refers to", function()
    local lib = library.open()
    local count = select(func.count(lib.Book.id)):where(lib.Book.author_id:eq(lib.Author.id)):scalar_subquery()
    local with_titles = select(lib.Book.title, count:correlate(lib.Author):label("n")):join_from(lib.Author, lib.Book)
      :order_by(lib.Book.id)
    local row = lib.session:execute(with_titles):first()
    assert.same({ "b1", 2 }, { row() })
    local recent = count:where(lib.Book.id:gt(3))
    assert.same({ 0, 1 }, lib.session:scalars(select(recent):select_from(lib.Author):order_by(lib.Author.id)):all())
  end)

  it("prints as the select, as a table in FROM and in WITH", function()
    local lib = library.declare()
    local inner = select(lib.Author.name)
    assert.equal(tostring(inner), tostring(inner:subquery("s")))
    assert.equal(tostring(inner), tostring(inner:cte("s")))
  end)
end)

describe("desc() and its like", function()
  it("take names of the statement in order_by()", function()
    local lib = library.open()
    local counted = select(lib.Book.year, func.max(lib.Book.id):label("top"), lib.Book.author_id):group_by("author_id")
    assert.same({ 4, 2 }, lib.session:scalars(counted:order_by(orm.desc("top"))
      :with_only_columns(func.max(lib.Book.id):label("top"))):all())
    assert.truthy(tostring(counted:order_by(orm.nulls_last("top"))):find("ORDER BY top NULLS LAST", 1, true))
    assert.truthy(tostring(counted:order_by(orm.desc("author_id"):nulls_first()))
      :find("ORDER BY book.author_id DESC NULLS FIRST", 1, true))
    raises("ArgumentError", "'lost' is no column or label", function() counted:order_by(orm.desc("lost")) end)
  end)

  it("need the column itself elsewhere", function()
    local lib = library.declare()
    local ranked = select(func.rank():over{ order_by = orm.desc("id") }:label("r"), lib.Book.id)
    raises("CompileError", "'id' stands for a column in order_by() of a select only", ranked.compile, ranked)
  end)
end)

describe("the key of an inserted row", function()
  it("is a row: it has names, and prints", function()
    local lib = library.open()
    lib.engine:begin(function(conn)
      local key = conn:execute(orm.insert(lib.Tag):values{ name = "t3" }).inserted_primary_key
      assert.same({ 3, 3, "(3)" }, { key[1], key.id, tostring(key) })
      local pair = conn:execute(orm.insert(lib.metadata.tables.book_tag):values{ book_id = 4, tag_id = 3 })
      assert.equal("(4, 3)", tostring(pair.inserted_primary_key))
    end)
  end)
end)
