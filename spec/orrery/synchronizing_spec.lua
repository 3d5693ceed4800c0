local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

-- A session that has loaded all books, with nothing recorded so far.
local function open()
  local lib = library.open()
  lib.books = lib.session:scalars(orm.select(lib.Book):order_by(lib.Book.id)):all()
  lib.record:take()
  return lib
end

local function sync(stmt, mode)
  return stmt:execution_options { synchronize_session = mode }
end

local function years(lib)
  local list = {}
  for position, book in ipairs(lib.books) do
    list[position] = book.year
  end
  return list
end

describe("synchronize_session", function()
  it("\"evaluate\" shows what the statement did without asking the database", function()
    local lib = open()
    local Book = lib.Book
    local update = orm.update(Book):where(Book.author_id:eq(1), orm.or_(Book.id:in_ { 1, 9 }, Book.title:eq("none")))
    local result = lib.session:execute(sync(update:values { year = Book.year + 5 }, "evaluate"))
    assert.equal(1, result.rowcount)
    assert.same({ 2005, 2000, 2000, 2000 }, years(lib))
    assert.equal(1, #lib.record:take())
    assert.same({ "2005", "2000", "2000", "2000" }, database.rows(lib.session, "SELECT year FROM book ORDER BY id"))
  end)

  it("\"auto\" asks for the keys where Lua cannot tell", function()
    local lib = open()
    local Book, Author = lib.Book, lib.Author
    local update = orm.update(Book):where(Book.author:has(Author.name:eq("a1"))):values { year = 1 }
    raises("InvalidRequestError", "cannot be evaluated in Lua", function() lib.session:execute(sync(update, "evaluate")) end)
    lib.session:execute(update)
    assert.same({ "SELECT book", "UPDATE book SET year" }, lib.record:headlines())
    assert.same({ 1, 1, 2000, 2000 }, years(lib))
    assert.same({}, lib.record:take())
  end)

  it("reads a value that Lua cannot work out when it is asked for", function()
    local lib = open()
    lib.session:execute(orm.update(lib.Book):where(lib.Book.id:eq(2)):values { title = orm.func.upper(lib.Book.title) })
    lib.record:take()
    assert.equal("B2", lib.books[2].title)
    assert.equal(1, #lib.record:take())
  end)

  it("false leaves the objects as they are", function()
    local lib = open()
    lib.session:execute(orm.update(lib.Book):where(orm.all):values { year = 1 }, nil,
      { execution_options = { synchronize_session = false } })
    assert.same({ 2000, 2000, 2000, 2000 }, years(lib))
    lib.session:expire_all()
    assert.same({ 1, 1, 1, 1 }, years(lib))
    raises("ArgumentError", "synchronize_session is", function()
      lib.session:execute(sync(orm.delete(lib.Book):where(orm.all), "no"))
    end)
  end)

  it("takes deleted objects out of the session until a rollback", function()
    for _, mode in ipairs { "evaluate", "fetch" } do
      local lib = open()
      local book = lib.books[4]
      lib.session:execute(sync(orm.delete(lib.Book):where(lib.Book.id:gt(3)), mode))
      assert.equal("deleted", orm.inspect(book).state)
      assert.is_false(lib.session:contains(book))
      lib.session:rollback()
      assert.is_true(lib.session:contains(book))
      assert.equal("b4", book.title)
      lib.session:execute(sync(orm.delete(lib.Book):where(lib.Book.id:gt(3)), mode))
      lib.session:commit()
      assert.equal("detached", orm.inspect(book).state)
    end
  end)

  it("keeps changes that wait, and what is NULL is equal to nothing", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    book.year = 7
    lib.session:execute(orm.update(lib.Book):where(lib.Book.id:eq(1)):values { year = 8, title = "t" })
    assert.same({ 7, "t" }, { book.year, book.title })
    book.year = nil
    lib.session:flush()
    lib.session:execute(orm.update(lib.Book):where(lib.Book.year:ne(5)):values { title = "other" })
    assert.equal("t", book.title)
    lib.session:execute(orm.update(lib.Book):where(lib.Book.year:is_(orm.null)):values { title = "null" })
    assert.equal("null", book.title)
  end)

  it("treats expired objects as concerned, and reads them again", function()
    local lib = open()
    lib.session:expire(lib.books[1])
    lib.session:execute(orm.update(lib.Book):where(lib.Book.title:eq("b1")):values { year = 3 })
    assert.same({ 3, 2000, 2000, 2000 }, years(lib))
  end)

  it("expires everything after an update of a table", function()
    local lib = open()
    lib.session:execute(orm.update(lib.Book.__table__):where(orm.all):values { year = 4 })
    assert.same({ 4, 4, 4, 4 }, years(lib))
  end)
end)

describe("an update with a list of rows", function()
  it("changes each by its primary key, and the objects with them", function()
    local lib = open()
    local result = lib.session:execute(orm.update(lib.Book), { { id = 1, title = "x" }, { id = 3, title = "y", year = 1 } })
    assert.equal(2, result.rowcount)
    assert.same({ "UPDATE book SET title = ? WHERE book.id = ? [x, 1]",
      "UPDATE book SET title = ?, year = ? WHERE book.id = ? [y, 1, 3]" }, lib.record:take())
    assert.same({ "x", "b2", "y" }, { lib.books[1].title, lib.books[2].title, lib.books[3].title })
    assert.same({}, lib.record:take())
  end)

  it("needs the keys, and rows that are there", function()
    local lib = open()
    raises("InvalidRequestError", "row 2 has no 'id'", function()
      lib.session:execute(orm.update(lib.Book), { { id = 1, title = "x" }, { title = "y" } })
    end)
    raises("StaleDataError", "row 1", function() lib.session:execute(orm.update(lib.Book), { { id = 99, title = "x" } }) end)
    raises("InvalidRequestError", "takes no where()", function()
      lib.session:execute(orm.update(lib.Book):where(lib.Book.id:eq(1)), { { id = 1, title = "x" } })
    end)
  end)
end)

describe("returning objects", function()
  it("of an insert with more rows than a statement has markers for", function()
    local lib = library.empty()
    local rows = {}
    for number = 1, 2500 do
      rows[number] = { name = "a" .. number }
    end
    local authors = lib.session:scalars(orm.insert(lib.Author):returning(lib.Author), rows):all()
    assert.same({ 2500, "a1", "a2500" }, { #authors, authors[1].name, authors[2500].name })
    assert.equal(3, #lib.record:take())
  end)

  it("of a delete, which are deleted", function()
    local lib = open()
    lib.session:execute(orm.delete(lib.Book.tags.property.secondary):where(orm.all))
    local gone = lib.session:scalars(orm.delete(lib.Book):where(lib.Book.id:le(2)):returning(lib.Book)):all()
    assert.equal(lib.books[1], gone[1])
    assert.equal("deleted", orm.inspect(gone[2]).state)
    lib.session:rollback()
    assert.equal("b1", lib.books[1].title)
  end)
end)
