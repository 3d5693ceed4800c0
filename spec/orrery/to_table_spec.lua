local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

describe("to_table", function()
  it("gives loaded columns, and relationships that are named", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    assert.same({ id = 1, name = "a1" }, orm.to_table(author))
    assert.same({ id = 1, name = "a1", books = {
      { id = 1, author_id = 1, title = "b1", year = 2000, tags = { { id = 1, name = "t1" }, { id = 2, name = "t2" } } },
      { id = 2, author_id = 1, title = "b2", year = 2000, tags = { { id = 1, name = "t1" } } },
    } }, orm.to_table(author, { include = { books = { include = { "tags" } } } }))
    assert.same({ id = 1, author_id = 1, title = "b1", year = 2000, author = { id = 1, name = "a1" } },
      orm.to_table(author.books[1], { include = { "author" } }))
  end)

  it("leaves NULL out, and columns that wait until they are read", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.year = nil
    lib.session:flush()
    lib.record:take()
    assert.same({ id = 1, author_id = 1, title = "b1" }, orm.to_table(book))
    local partly = orm.select(lib.Book):where(lib.Book.id:eq(2)):options(orm.load_only(lib.Book.title))
    assert.same({ id = 2, title = "b2" }, orm.to_table(lib.session:scalars(partly):one()))
    assert.equal(1, #lib.record:take())
  end)

  it("reads an object again that a commit has expired, as reading it would", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.session:commit()
    lib.record:take()
    assert.equal("Book(id=1)", tostring(book))
    assert.equal(0, #lib.record:take())
    assert.same({ id = 1, author_id = 1, title = "b1", year = 2000 }, orm.to_table(book))
    assert.same({ "SELECT book" }, lib.record:headlines())
    lib.session:commit()
    lib.session:close()
    raises("DetachedInstanceError", "Book.id", orm.to_table, book)
  end)

  it("refuses names that are no relationship", function()
    local lib = library.open()
    raises("ArgumentError", { "boks", "books" }, orm.to_table, lib.session:get(lib.Author, 1), { include = { "boks" } })
    raises("ArgumentError", "mapped object", orm.to_table, {})
  end)
end)
