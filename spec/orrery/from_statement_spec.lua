local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local select, text = orm.select, orm.text

describe("from_statement", function()
  it("makes objects of the rows of text, whatever the order of its columns", function()
    local lib = library.open()
    local books = lib.session:scalars(select(lib.Book):from_statement(
      text("SELECT title, id FROM book WHERE id < :top ORDER BY id DESC")), { top = 3 }):all()
    assert.same({ "b2", 2, "b1", 1 }, { books[1].title, books[1].id, books[2].title, books[2].id })
    assert.same({ "author_id", "year", "author", "tags" }, orm.inspect(books[1]).unloaded)
    assert.equal(2000, books[1].year)
    assert.equal(books[1], lib.session:get(lib.Book, 2))
  end)

  it("gives rows of several things, and takes options that load behind", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local rows = lib.session:execute(select(Book, Author.name):from_statement(
      text("SELECT b.*, a.name FROM book b JOIN author a ON a.id = b.author_id ORDER BY b.id"))):all()
    assert.same({ 4, "b1", "a1", "a2" }, { #rows, rows[1][1].title, rows[1].name, rows[4].name })
    local author = lib.session:scalars(select(Author):options(orm.selectinload(Author.books))
      :from_statement(text("SELECT * FROM author WHERE id = 2"))):one()
    lib.record:take()
    assert.equal("b3", author.books[1].title)
    assert.same({}, lib.record:take())
  end)

  it("takes other statements, too, and one shape again with other names", function()
    local lib = library.open()
    local Book = lib.Book
    local query = select(Book):from_statement(select(Book):where(Book.id:eq(1)):union(select(Book):where(Book.id:eq(3))))
    assert.equal(2, #lib.session:scalars(query):all())
    assert.equal("b3", lib.session:query(Book):from_statement(text("SELECT id FROM book WHERE id = 3")):one().title)
    assert.equal("b3", lib.session:query(Book):from_statement(text("SELECT * FROM book WHERE id = 3")):one().title)
  end)

  it("needs the key, and the columns that are asked for", function()
    local lib = library.open()
    raises("InvalidRequestError", "has no column 'id'", function()
      lib.session:scalars(select(lib.Book):from_statement(text("SELECT title FROM book"))):all()
    end)
    raises("InvalidRequestError", "has no column 'year'; did you mean 'yeer'?", function()
      lib.session:execute(select(lib.Book.year):from_statement(text("SELECT year AS yeer FROM book"))):all()
    end)
    raises("ArgumentError", "text or a statement", function() select(lib.Book):from_statement(lib.Book) end)
  end)
end)
