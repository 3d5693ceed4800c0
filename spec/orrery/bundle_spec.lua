local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

describe("Bundle", function()
  it("is one value of the row, with its columns by name and by position", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local place = orm.Bundle("work", Book.title, Book.year, orm.func.upper(Author.name):label("by"))
    local rows = lib.session:execute(orm.select(place, Author, Book.id):join(Book.author):where(place.c.title:gt("b1"))
      :order_by(place.c.title:desc())):all()
    assert.equal(3, #rows)
    assert.same({ "b4", 2000, "A2" }, { rows[1].work.title, rows[1].work[2], rows[1].work.by })
    assert.same({ "a2", 4 }, { rows[1][2].name, rows[1].id })
    local title, year = rows[3].work()
    assert.same({ "b2", 2000 }, { title, year })
  end)

  it("comes from scalars and from the legacy query, and keeps columns of one name apart", function()
    local lib = library.open()
    local one, other = orm.Bundle("book", lib.Book.id), orm.Bundle("author", lib.Author.id)
    local query = orm.select(one, other):join(lib.Book.author):order_by(lib.Book.id:desc())
    local row = lib.session:execute(query):first()
    assert.same({ 4, 2 }, { row.book.id, row.author.id })
    assert.equal(4, lib.session:scalars(query):first().id)
    assert.equal(4, lib.session:query(one):count())
  end)

  it("says what is wrong with it", function()
    local lib = library.open()
    local Book = lib.Book
    raises("ArgumentError", "needs columns", function() orm.Bundle("x") end)
    raises("ArgumentError", "its name", function() orm.Bundle(Book.id) end)
    raises("ArgumentError", "two columns are named 'id'", function() orm.Bundle("x", Book.id, lib.Author.id) end)
    raises("ArgumentError", "has no column 'titel'; did you mean 'title'?", function()
      return orm.Bundle("x", Book.title).c.titel
    end)
  end)
end)
