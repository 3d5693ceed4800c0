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

  it("never loads columns, and leaves NULL out", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.year = nil
    lib.session:flush()
    assert.same({ id = 1, author_id = 1, title = "b1" }, orm.to_table(book))
    lib.session:commit()
    lib.record:take()
    assert.same({}, orm.to_table(book))
    assert.equal("Book(id=1)", tostring(book))
    assert.equal(0, #lib.record:take())
  end)

  it("refuses names that are no relationship", function()
    local lib = library.open()
    raises("ArgumentError", { "boks", "books" }, orm.to_table, lib.session:get(lib.Author, 1), { include = { "boks" } })
    raises("ArgumentError", "mapped object", orm.to_table, {})
  end)
end)
