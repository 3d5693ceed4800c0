-- Collections that are never loaded.
local orm = require "orrery"
local core = require "spec.support.core"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows = database.rows

local WRITE_ONLY = { books = { lazy = "write_only", passive_deletes = true } }
local BOOKS = "SELECT id, author_id, title FROM book ORDER BY id"

describe("a write-only collection", function()
  it("takes objects in and lets them go without loading any", function()
    local lib = library.open(WRITE_ONLY)
    local author, third = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 3)
    local second = lib.session:get(lib.Book, 2)
    lib.record:take()
    local new = lib.Book { title = "new" }
    author.books:add(new)
    author.books:add_all { third, lib.Book { title = "newer" } }
    author.books:remove(second)
    assert.equal(author, new.author)
    assert.equal(author, third.author)
    assert.is_nil(second.author)
    lib.session:commit()
    for _, sql in ipairs(lib.record:headlines()) do
      assert.is_nil(sql:find("SELECT book", 1, true))
    end
    assert.same({ "1|1|b1", "2|NULL|b2", "3|1|b3", "4|2|b4", "5|1|new", "6|1|newer" }, rows(lib.engine, BOOKS))
    lib.session:commit()
    assert.same({}, lib.session.dirty)
  end)

  it("can be given to a new object, but not be replaced, read or counted", function()
    local lib = library.open(WRITE_ONLY)
    local author = lib.Author { name = "a3", books = { lib.Book { title = "b5" } } }
    lib.session:add(author)
    lib.session:commit()
    assert.same({ "5|3|b5" }, rows(lib.engine, "SELECT id, author_id, title FROM book WHERE id > 4"))
    raises("InvalidRequestError", { "Author.books", "write-only" }, function() author.books = {} end)
    raises("InvalidRequestError", { "Author.books", ":select()" }, function() return author.books[1] end)
    raises("InvalidRequestError", "write-only", function() return author.books() end)
    raises("ArgumentError", { "Author.books", "'ad'", "add" }, function()
      return author.books.ad
    end)
    assert.equal("write-only Author.books", tostring(author.books))
  end)

  it("gives the statements that find, add, change and delete its rows", function()
    local lib = library.open(WRITE_ONLY)
    local session, author = lib.session, lib.session:get(lib.Author, 1)
    lib.record:take()
    assert.equal("b2", session:scalars(author.books:select():where(lib.Book.title:ne("b1"))):one().title)
    assert.same({ "SELECT book.id, book.author_id, book.title, book.year FROM book WHERE book.author_id = ? AND book.title != ? "
      .. "ORDER BY book.id [1, b1]" }, lib.record:take())
    session:execute(author.books:insert(), { { title = "n1" }, { title = "n2" } })
    session:execute(author.books:update():where(lib.Book.title:like("n%")):values { year = 1999 })
    assert.same({ "5|1|n1|1999", "6|1|n2|1999" }, rows(session, "SELECT id, author_id, title, year FROM book WHERE id > 4"))
    database.run(session, "DELETE FROM book_tag")
    session:execute(author.books:delete())
    assert.same({ "3|2|b3", "4|2|b4" }, rows(session, BOOKS))
  end)

  it("works over a link table", function()
    local lib = library.open { tags = { lazy = "write_only", passive_deletes = true } }
    local book, tags = lib.session:get(lib.Book, 3), lib.session:scalars(orm.select(lib.Tag):order_by("id")):all()
    book.tags:add(tags[2])
    local first = lib.session:get(lib.Book, 1)
    first.tags:remove(tags[1])
    lib.session:commit()
    assert.same({ "1|2", "2|1", "3|2" }, rows(lib.engine, "SELECT book_id, tag_id FROM book_tag ORDER BY book_id, tag_id"))
    assert.equal("t2", lib.session:scalars(book.tags:select()):one().name)
    lib.session:execute(book.tags:update():values { name = "changed" })
    assert.same({ "t1", "changed" }, rows(lib.session, "SELECT name FROM tag ORDER BY id"))
    raises("InvalidRequestError", { "Book.tags", "book_tag" }, function() return book.tags:insert() end)
  end)

  it("lets go of what was added once that is written", function()
    local lib = library.open(WRITE_ONLY)
    local author = lib.session:get(lib.Author, 1)
    for number = 1, 50 do
      author.books:add(lib.Book { title = "n" .. number })
      lib.session:flush()
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(#core.objects(lib.session[1]) <= 3)
    author.books:add(lib.Book { title = "lost" })
    lib.session:rollback()
    assert.same({}, lib.session.new)
    assert.equal(4, #rows(lib.engine, BOOKS))
  end)

  it("forgets what was added and removed again", function()
    local lib = library.open(WRITE_ONLY)
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
    author.books:remove(book)
    author.books:add(book)
    local new = lib.Book { title = "new" }
    author.books:add(new)
    author.books:remove(new)
    lib.session:commit()
    assert.same({ "1|1|b1", "2|1|b2", "3|2|b3", "4|2|b4", "5|NULL|new" }, rows(lib.engine, BOOKS))
  end)

  it("wants the database to see to its rows when the owner is deleted", function()
    local lib = library.open { books = { lazy = "write_only" } }
    raises("InvalidRequestError", { "Author.books", "passive_deletes" }, lib.session.delete, lib.session,
      lib.session:get(lib.Author, 1))
    lib = library.open { books = { lazy = "write_only", passive_deletes = true, cascade = "all" },
      author_id = { nullable = true } }
    database.run(lib.engine, "DELETE FROM book_tag", "DELETE FROM book")
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.session:commit()
    assert.same({ "2" }, rows(lib.engine, "SELECT id FROM author"))
  end)

  it("is for collections, and no option loads it", function()
    local lib = library.open(WRITE_ONLY)
    raises("ArgumentError", { "Author.books", "write_only" }, orm.selectinload, lib.Author.books)
    assert.equal(2, #lib.session:scalars(orm.select(lib.Author):options(orm.selectinload("*"))):all())
    raises("ArgumentError", { "Book.author", "collections" }, function()
      return library.declare({ author = { lazy = "write_only" } }).Book {}
    end)
  end)

  it("needs the key of its owner for statements", function()
    local lib = library.open(WRITE_ONLY)
    raises("InvalidRequestError", { "Author.books", "flush" }, function() return lib.Author {}.books:select() end)
  end)
end)
