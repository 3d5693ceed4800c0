-- Selects of classes that are read part by part, and the options of an execution.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local function filled(count)
  local lib = library.empty()
  for number = 1, count do
    lib.session:add(lib.Author { name = "a" .. number, books = { lib.Book { title = "b" .. number } } })
  end
  lib.session:commit()
  lib.session:expunge_all()
  lib.record:take()
  return lib
end

describe("yield_per", function()
  it("makes objects of as many rows at a time, and loads behind each part what belongs to it", function()
    local lib = filled(25)
    local query = orm.select(lib.Author):order_by(lib.Author.id):options(orm.selectinload(lib.Author.books))
    local found = {}
    for author in lib.session:scalars(query, nil, { yield_per = 10 }) do
      found[#found + 1] = author.name .. author.books[1].title
      assert.equal(1 + math.ceil(#found / 10), #lib.record.entries)
    end
    assert.equal("a25b25", found[25])
    assert.equal(25, #found)
    assert.same({ "SELECT author", "SELECT book", "SELECT book", "SELECT book" }, lib.record:headlines())
  end)

  it("stands on the statement, too, and gives partitions", function()
    local lib = filled(25)
    local query = orm.select(lib.Author):order_by(lib.Author.id):execution_options { yield_per = 10 }
    local sizes = {}
    for part in lib.session:scalars(query):partitions() do
      sizes[#sizes + 1] = #part
    end
    assert.same({ 10, 10, 5 }, sizes)
    assert.equal(25, #lib.session:scalars(query):all())
    local rows = lib.session:execute(orm.select(lib.Author, lib.Author.name):execution_options { yield_per = 2 })
    local row = rows:fetchone()
    assert.equal(row[2], row.Author.name)
    rows:close()
  end)

  it("reads the rows of a statement of the script's own part by part", function()
    local lib = filled(5)
    local query = orm.select(lib.Author):options(orm.selectinload(lib.Author.books))
      :from_statement(orm.text("SELECT name, id FROM author ORDER BY id")):execution_options { yield_per = 2 }
    local found = {}
    for author in lib.session:scalars(query) do
      found[#found + 1] = author.name .. author.books[1].title
      assert.equal(1 + math.ceil(#found / 2), #lib.record.entries)
    end
    assert.same({ "a1b1", "a2b2", "a3b3", "a4b4", "a5b5" }, found)
    local sizes = {}
    for part in lib.session:execute(orm.select(lib.Book, lib.Book.title:label("name")):from_statement(
      orm.text("SELECT *, title AS name FROM book")), nil, { yield_per = 3 }):partitions() do
      sizes[#sizes + 1] = #part .. part[1].name
    end
    assert.same({ "3b1", "2b4" }, sizes)
  end)

  it("joins single objects, and refuses joined collections", function()
    local lib = filled(5)
    local query = orm.select(lib.Book):execution_options { yield_per = 2 }
    local count = 0
    for book in lib.session:scalars(query:options(orm.joinedload(lib.Book.author))) do
      count = count + #book.author.name
    end
    assert.equal(10, count)
    assert.equal(1, #lib.record:take())
    raises("InvalidRequestError", { "yield_per", "selectinload()" }, function()
      lib.session:scalars(orm.select(lib.Author):options(orm.joinedload(lib.Author.books)), nil, { yield_per = 2 })
    end)
  end)

  it("makes siblings of each part for batchload", function()
    local lib = filled(6)
    local query = orm.select(lib.Author):options(orm.batchload(lib.Author.books)):execution_options { yield_per = 3 }
    for author in lib.session:scalars(query) do
      assert.equal(1, #author.books)
    end
    assert.same({ "SELECT author", "SELECT book", "SELECT book" }, lib.record:headlines())
  end)

  it("is ended by the transaction, and by close", function()
    local lib = filled(5)
    local found = lib.session:scalars(orm.select(lib.Author), nil, { yield_per = 2 })
    assert.is_truthy(found:fetchone())
    lib.session:commit()
    raises("ResourceClosedError", "commit", found.all, found)
    found = lib.session:scalars(orm.select(lib.Author), nil, { yield_per = 2 })
    assert.is_truthy(found:first())
    lib.session:rollback()
    database.run(lib.engine, "DELETE FROM book")
  end)

  it("keeps no object alive that the script lets go of", function()
    local lib = filled(300)
    local peak = 0
    for author in lib.session:scalars(orm.select(lib.Author), nil, { yield_per = 10 }) do
      assert.is_string(author.name)
      collectgarbage()
      peak = math.max(peak, #require("orrery.core").objects(lib.session[1]))
    end
    assert.is_true(peak <= 21)
  end)
end)

describe("the options of an execution", function()
  it("populate_existing overwrites what objects hold, everything once", function()
    local lib = filled(2)
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    author.name = "mine"
    lib.session:no_autoflush(function(session)
      database.run(session, "UPDATE book SET title = 'theirs'")
      local query = orm.select(lib.Author):options(orm.selectinload(lib.Author.books))
      session:scalars(query, nil, { populate_existing = true }):all()
    end)
    assert.equal("a1", author.name)
    assert.equal(book, author.books[1])
    assert.equal("theirs", book.title)
  end)

  it("autoflush = false leaves changes where they are", function()
    local lib = filled(2)
    lib.session:get(lib.Author, 1).name = "new"
    lib.record:take()
    lib.session:scalars(orm.select(lib.Author), nil, { autoflush = false }):all()
    assert.same({ "SELECT author" }, lib.record:headlines())
    lib.session:execute(orm.select(lib.Author):execution_options { autoflush = false })
    assert.same({ "SELECT author" }, lib.record:headlines())
    lib.session:execute(orm.select(lib.Author))
    assert.same({ "UPDATE author SET name", "SELECT author" }, lib.record:headlines())
  end)

  it("are checked", function()
    local lib = filled(1)
    raises("ArgumentError", { "yield_pre", "yield_per" }, lib.session.scalars, lib.session, orm.select(lib.Author), nil,
      { yield_pre = 1 })
    raises("ArgumentError", { "yield_per", "0" }, lib.session.scalars, lib.session, orm.select(lib.Author), nil,
      { yield_per = 0 })
  end)
end)
