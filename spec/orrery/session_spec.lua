-- What a session holds, when it writes, and what it finds.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local states = require "spec.support.states"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local BOOKS = "SELECT id, author_id, title, year FROM book ORDER BY id"

local function titles(books)
  local list = {}
  for position, book in ipairs(books) do
    list[position] = book.title
  end
  return table.concat(list, " ")
end

describe("adding", function()
  it("makes an object new, flushing makes it stored", function()
    local lib = library.empty()
    local author = lib.Author { name = "ann" }
    assert.equal("outside", states.of(lib.session, author))
    lib.session:add(author)
    assert.equal("new", states.of(lib.session, author))
    assert.is_nil(author.id)
    assert.same({}, lib.record:take())
    lib.session:flush()
    assert.equal("clean", states.of(lib.session, author))
    assert.equal(1, author.id)
    assert.same({ "1|ann" }, rows(lib.session, "SELECT * FROM author"))
  end)

  it("takes several objects in their order", function()
    local lib = library.empty()
    local authors = { lib.Author { name = "a" }, lib.Author { name = "b" }, lib.Author { name = "c" } }
    lib.session:add_all(authors)
    assert.same(authors, lib.session.new)
    lib.session:commit()
    assert.same({ "1|a", "2|b", "3|c" }, rows(lib.engine, "SELECT * FROM author ORDER BY id"))
  end)

  it("takes a collection as a list of objects", function()
    local lib = library.empty()
    local author = lib.Author { books = { lib.Book { title = "x" }, lib.Book { title = "y" } } }
    lib.session:add_all(author.books)
    assert.equal("new new new", states.list(lib.session, author, author.books[1], author.books[2]))
  end)

  it("cascades to everything that relationships reach, at once", function()
    local lib = library.empty()
    local tag = lib.Tag { name = "t" }
    local first, second = lib.Book { title = "x", tags = { tag } }, lib.Book { title = "y" }
    local author = lib.Author { name = "ann", books = { first, second } }
    lib.session:add(author)
    assert.equal("new new new new", states.list(lib.session, author, first, second, tag))
    assert.same({}, lib.record:take())
  end)

  it("cascades from the many side to the one", function()
    local lib = library.empty()
    local author, book = lib.Author { name = "ann" }, lib.Book { title = "x" }
    book.author = author
    lib.session:add(book)
    lib.session:flush()
    assert.same({ "INSERT author", "INSERT book" }, lib.record:headlines())
    assert.equal(author.id, book.author_id)
    assert.same({ "1|1|x|NULL" }, rows(lib.session, BOOKS))
  end)

  it("cascades to what is appended later", function()
    local lib = library.empty()
    local author, book, tag = lib.Author {}, lib.Book {}, lib.Tag {}
    lib.session:add(author)
    author.books:append(book)
    assert.equal("new", states.of(lib.session, book))
    book.tags = { tag }
    assert.equal("new", states.of(lib.session, tag))
    lib.session:flush()
    local another = lib.Book {}
    author.books:append(another)
    assert.equal("new", states.of(lib.session, another))
  end)

  for _, loaded in ipairs { true, false } do
    it("does not cascade along the other side: a new book whose author is stored stays outside, with a warning, "
      .. (loaded and "the collection loaded" or "the collection not loaded"), function()
      local lib = library.open()
      local warnings, author = {}, lib.session:get(lib.Author, 1)
      local former = orm.on_warning(function(message)
        warnings[#warnings + 1] = message
      end)
      local _ = loaded and #author.books
      local book = lib.Book { title = "new" }
      book.author = author
      assert.is_true(author.books:contains(book))
      assert.equal("outside", states.of(lib.session, book))
      lib.session:flush()
      orm.on_warning(former)
      assert.equal(1, #warnings)
      assert.truthy(warnings[1]:find("Author.books", 1, true))
      assert.is_true(author.books:contains(book))
      assert.same({ "4" }, rows(lib.session, "SELECT count(*) FROM book"))
    end)
  end

  it("twice, or of a stored object, changes nothing", function()
    local lib = library.open()
    local new, stored = lib.Author {}, lib.session:get(lib.Author, 1)
    lib.session:add(new)
    lib.session:add(new)
    lib.session:add(stored)
    assert.same({ new }, lib.session.new)
    assert.same({}, lib.session.dirty)
    lib.session:flush()
    assert.same({ "3" }, rows(lib.session, "SELECT count(*) FROM author"))
  end)

  it("takes a deleted mark back", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    assert.equal("deleted", states.of(lib.session, tag))
    lib.session:add(tag)
    assert.equal("clean", states.of(lib.session, tag))
    lib.session:commit()
    assert.same({ "1", "2" }, rows(lib.engine, "SELECT id FROM tag"))
  end)

  it("brings a detached object back, with what was changed meanwhile", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:close()
    author.name = "changed"
    local session = orm.Session(lib.engine)
    session:add(author)
    assert.equal("dirty", states.of(session, author))
    assert.equal(author, session:get(lib.Author, 1))
    session:commit()
    assert.same({ "changed" }, rows(lib.engine, "SELECT name FROM author WHERE id = 1"))
  end)

  it("refuses a second object for a row that the session holds", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:expunge(author)
    local other = lib.session:get(lib.Author, 1)
    assert.are_not.equal(author, other)
    raises("InvalidRequestError", { "Author", "merge" }, lib.session.add, lib.session, author)
  end)

  it("refuses an object of another session", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local other = orm.Session(lib.engine)
    raises("InvalidRequestError", "another session", other.add, other, author)
    other:close()
  end)

  it("refuses what is no mapped object", function()
    local lib = library.empty()
    for _, value in ipairs { 1, "author", {}, true, lib.Author, lib.session } do
      raises("UnmappedInstanceError", "mapped object expected", lib.session.add, lib.session, value)
    end
    raises("UnmappedInstanceError", "mapped object expected", lib.session.add, lib.session, nil)
    raises("UnmappedInstanceError", "item 2", lib.session.add_all, lib.session, { lib.Author {}, "x" })
    raises("ArgumentError", "array of objects", lib.session.add_all, lib.session, 3)
  end)
end)

describe("the lists of a session", function()
  it("name what waits to be inserted, updated and deleted", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    local new = lib.Book {}
    lib.session:add(new)
    first.title = "changed"
    lib.session:delete(second)
    assert.same({ { new }, { first }, { second } }, { lib.session.new, lib.session.dirty, lib.session.deleted })
    lib.session:flush()
    assert.same({ {}, {}, {} }, { lib.session.new, lib.session.dirty, lib.session.deleted })
  end)

  it("are plain arrays that the script may change", function()
    local lib = library.empty()
    lib.session:add(lib.Author {})
    lib.session.new[1] = nil
    assert.equal(1, #lib.session.new)
  end)

  it("cannot be assigned", function()
    local session = library.empty().session
    raises("ArgumentError", "session.new", function()
      session.new = {}
    end)
  end)

  it("know objects only by what they are asked for", function()
    local session = library.empty().session
    raises("ArgumentError", { "ad", "add" }, function()
      return session.ad
    end)
    assert.is_true(session.is_active)
  end)
end)

describe("a changed object", function()
  it("is written with the columns that differ, and only once", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.record:take()
    book.title = "new"
    lib.session:flush()
    lib.session:flush()
    assert.same({ "UPDATE book SET title" }, lib.record:headlines())
    assert.same("1|1|new|2000", rows(lib.session, BOOKS)[1])
  end)

  it("tells whether it is modified", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.is_false(lib.session:is_modified(book))
    book.title = "new"
    assert.is_true(lib.session:is_modified(book))
    book.title = "b1"
    assert.is_false(lib.session:is_modified(book))
    lib.session:get(lib.Author, 1).books:append(lib.session:get(lib.Book, 3))
    assert.is_true(lib.session:is_modified(lib.session:get(lib.Author, 1)))
  end)
end)

describe("deleting", function()
  it("removes the row at the flush", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
    lib.session:flush()
    assert.same({ "1" }, rows(lib.session, "SELECT count(*) FROM tag"))
    assert.equal("outside", states.of(lib.session, tag))
    assert.is_nil(lib.session:get(lib.Tag, 2))
  end)

  it("hides the object from get before the flush", function()
    local lib = library.open()
    lib.session:no_autoflush(function()
      lib.session:delete(lib.session:get(lib.Tag, 2))
      assert.is_nil(lib.session:get(lib.Tag, 2))
    end)
  end)

  it("works for a detached object", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:close()
    lib.session:delete(tag)
    lib.session:commit()
    assert.same({ "1" }, rows(lib.engine, "SELECT id FROM tag"))
  end)

  it("detaches the object when it is committed; its values stay", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    lib.session:commit()
    assert.is_false(lib.session:contains(tag))
    assert.equal("t2", tag.name)
    raises("InvalidRequestError", "deleted", lib.session.add, lib.session, tag)
  end)

  it("refuses objects without a row", function()
    local lib = library.open()
    local new = lib.Tag {}
    raises("InvalidRequestError", "Tag", lib.session.delete, lib.session, new)
    lib.session:add(new)
    raises("InvalidRequestError", "expunge", lib.session.delete, lib.session, new)
    raises("UnmappedInstanceError", "mapped object", lib.session.delete, lib.session, nil)
  end)

  it("twice deletes once", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    lib.session:delete(tag)
    assert.same({ tag }, lib.session.deleted)
    lib.session:commit()
    assert.same({ "1" }, rows(lib.engine, "SELECT id FROM tag"))
  end)
end)

describe("a commit", function()
  it("flushes and makes rows visible to every connection", function()
    local path, remove = database.file()
    local lib = library.declare()
    local engine, reader = orm.create_engine("sqlite:///" .. path), orm.create_engine("sqlite:///" .. path)
    lib.metadata:create_all(engine)
    local session = orm.Session(engine)
    session:add(lib.Author { name = "ann" })
    session:flush()
    assert.same({}, rows(reader, "SELECT name FROM author"))
    session:commit()
    assert.same({ "ann" }, rows(reader, "SELECT name FROM author"))
    session:close()
    engine:dispose()
    reader:dispose()
    remove()
  end)

  it("expires objects: one statement reads a changed row again", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.equal("b1", book.title)
    lib.session:commit()
    run(lib.engine, "UPDATE book SET title = 'theirs' WHERE id = 1")
    lib.record:take()
    assert.equal("theirs 2000", book.title .. " " .. book.year)
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("keeps what objects know with expire_on_commit = false", function()
    local lib = library.open(nil, { expire_on_commit = false })
    local book = lib.session:get(lib.Book, 1)
    book.title = "ours"
    lib.session:commit()
    lib.record:take()
    assert.equal("ours 2000", book.title .. " " .. book.year)
    assert.same({}, lib.record:take())
  end)

  it("with nothing to write sends nothing", function()
    local lib = library.open()
    lib.session:commit()
    lib.session:flush()
    assert.same({}, lib.record:take())
  end)

  it("ends the transaction; the next statement begins another", function()
    local lib = library.open()
    assert.is_false(lib.session:in_transaction())
    lib.session:get(lib.Author, 1)
    assert.is_true(lib.session:in_transaction())
    lib.session:commit()
    assert.is_false(lib.session:in_transaction())
    lib.session:get(lib.Author, 2)
    assert.is_true(lib.session:in_transaction())
    lib.session:rollback()
    assert.is_false(lib.session:in_transaction())
  end)
end)

describe("closing", function()
  it("rolls back and detaches; loaded columns stay readable", function()
    local lib = library.open()
    local author, new = lib.session:get(lib.Author, 1), lib.Author { name = "new" }
    lib.session:add(new)
    lib.session:flush()
    lib.session:close()
    assert.equal("a1", author.name)
    assert.is_false(lib.session:contains(author))
    assert.same({ "2" }, rows(lib.engine, "SELECT count(*) FROM author"))
  end)

  it("leaves a session that can be used again, with new objects", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:close()
    lib.session:close()
    assert.are_not.equal(author, lib.session:get(lib.Author, 1))
    lib.session:add(lib.Author { name = "later" })
    lib.session:commit()
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM author"))
  end)

  it("happens at the end of orm.with, error or not", function()
    local lib = library.open()
    local author
    local ok, err = pcall(orm.with, lib.session, function(session)
      author = session:get(lib.Author, 1)
      session:add(lib.Author {})
      session:flush()
      error("stop", 0)
    end)
    assert.same({ false, "stop" }, { ok, err })
    assert.is_false(lib.session:contains(author))
    assert.same({ "2" }, rows(lib.engine, "SELECT count(*) FROM author"))
    assert.equal(7, orm.with(orm.Session(lib.engine), function()
      return 7
    end))
  end)

  if _VERSION == "Lua 5.4" then
    it("happens at the end of a <close> variable", function()
      local lib = library.open()
      local chunk = assert(load [[
        local orm, lib = ...
        local session <close> = orm.Session(lib.engine)
        session:add(lib.Author {})
        session:flush()
        return session:get(lib.Author, 1)
      ]])
      local author = chunk(orm, lib)
      assert.equal("a1", author.name)
      raises("DetachedInstanceError", { "Author", "books" }, function()
        return author.books
      end)
      assert.same({ "2" }, rows(lib.engine, "SELECT count(*) FROM author"))
    end)
  end
end)

describe("a detached object", function()
  local function detached(expired)
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    if expired then
      lib.session:commit()
    end
    lib.session:close()
    return author, lib
  end

  it("shows what was loaded and refuses to load more, naming class and attribute", function()
    local author = detached()
    assert.equal("a1", author.name)
    raises("DetachedInstanceError", { "Author.books", "session" }, function()
      return author.books
    end)
  end)

  it("that was expired knows nothing", function()
    local author = detached(true)
    raises("DetachedInstanceError", { "Author.name", "expire_on_commit" }, function()
      return author.name
    end)
  end)

  it("can be changed", function()
    local author = detached()
    author.name = "x"
    assert.equal("x", author.name)
  end)

  it("keeps its loaded relationships in step", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    lib.session:close()
    author.books:remove(book)
    assert.is_nil(book.author)
    assert.equal("b2", titles(author.books:to_table()))
  end)
end)

describe("get", function()
  it("finds an object by primary key, once from the database", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    assert.equal("b3", book.title)
    assert.equal(book, lib.session:get(lib.Book, 3))
    assert.equal(book, lib.session:get(lib.Book, { 3 }))
    assert.equal(book, lib.session:get(lib.Book, { id = 3 }))
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("gives nil where there is no row, get_one an error", function()
    local lib = library.open()
    assert.is_nil(lib.session:get(lib.Book, 99))
    assert.equal("b1", lib.session:get_one(lib.Book, 1).title)
    raises("NoResultFound", { "Book", "99" }, lib.session.get_one, lib.session, lib.Book, 99)
  end)

  it("does not find what waits to be inserted", function()
    local lib = library.open(nil, { autoflush = false })
    lib.session:add(lib.Book { id = 50 })
    assert.is_nil(lib.session:get(lib.Book, 50))
  end)

  it("sees an expired row that is gone as absent", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    lib.session:commit()
    run(lib.engine, "DELETE FROM book WHERE id = 4")
    assert.is_nil(lib.session:get(lib.Book, 4))
    assert.is_not_nil(book)
  end)

  it("overwrites what the object holds with populate_existing", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    run(lib.session, "UPDATE book SET title = 'theirs' WHERE id = 1")
    assert.equal("b1", lib.session:get(lib.Book, 1).title)
    assert.equal(book, lib.session:get(lib.Book, 1, { populate_existing = true }))
    assert.equal("theirs", book.title)
  end)

  it("refuses keys that cannot be", function()
    local lib = library.open()
    local get, session = lib.session.get, lib.session
    raises("ArgumentError", { "Book", "nil" }, get, session, lib.Book, nil)
    raises("ArgumentError", "Book", get, session, lib.Book, orm.null)
    raises("ArgumentError", { "Book", "1 column", "2 value" }, get, session, lib.Book, { 1, 2 })
    raises("ArgumentError", "'id'", get, session, lib.Book, {})
    raises("ArgumentError", { "Book.id", "abc" }, get, session, lib.Book, "abc")
    raises("ArgumentError", "Book.id", get, session, lib.Book, 1.5)
    raises("UnmappedClassError", "mapped class expected", get, session, "Book", 1)
    raises("UnmappedClassError", "mapped class expected", get, session, nil, 1)
    raises("ArgumentError", { "populate", "populate_existing" }, get, session, lib.Book, 1, { populate = true })
  end)
end)

describe("queries of a session", function()
  local select = orm.select

  it("give objects by scalars, rows by execute", function()
    local lib = library.open()
    local books = lib.session:scalars(select(lib.Book):order_by(lib.Book.id)):all()
    assert.equal("b1 b2 b3 b4", titles(books))
    local found = lib.session:execute(select(lib.Book, lib.Author.name):join(lib.Book.author):order_by(lib.Book.id)):all()
    assert.equal(4, #found)
    assert.equal(books[1], found[1].Book)
    assert.equal(books[1], found[1][1])
    assert.equal("a1", found[1].name)
    assert.equal("a2", found[4][2])
  end)

  it("give plain values", function()
    local lib = library.open()
    assert.same({ "b1", "b2" }, lib.session:scalars(select(lib.Book.title):where(lib.Book.id:le(2))
      :order_by(lib.Book.id)):all())
    assert.equal(4, lib.session:scalar(select(orm.func.count(lib.Book.id))))
    assert.is_nil(lib.session:scalar(select(lib.Book.id):where(lib.Book.id:eq(99))))
  end)

  it("take text() with parameters", function()
    local lib = library.open()
    local found = lib.session:execute(orm.text("SELECT title FROM book WHERE id > :least ORDER BY id"), { least = 2 }):all()
    assert.equal("b3", found[1].title)
    assert.equal(2, #found)
  end)

  it("iterate", function()
    local lib = library.open()
    local seen = {}
    for book in lib.session:scalars(select(lib.Book):order_by(lib.Book.id:desc())) do
      seen[#seen + 1] = book.title
    end
    assert.same({ "b4", "b3", "b2", "b1" }, seen)
  end)

  it("tell one from none and several", function()
    local lib = library.open()
    local function find(id)
      return lib.session:scalars(select(lib.Book):where(lib.Book.id:le(id)))
    end
    assert.equal("b1", find(1):one().title)
    assert.is_nil(find(0):one_or_none())
    assert.is_nil(find(0):first())
    local none, several = find(0), find(2)
    raises("NoResultFound", "", none.one, none)
    raises("MultipleResultsFound", "", several.one, several)
    several = find(2)
    raises("MultipleResultsFound", "", several.one_or_none, several)
  end)

  it("in the legacy style", function()
    local lib = library.open()
    local Book, Author, session = lib.Book, lib.Author, lib.session
    assert.equal("b3 b4", titles(session:query(Book):join(Author):filter(Author.name:eq("a2")):order_by(Book.id):all()))
    assert.equal(4, #session:query(Book):outerjoin(Author):all())
    assert.equal("b2", session:query(Book):filter(Book.id:eq(2)):one().title)
    assert.equal("b1", session:query(Book):order_by(Book.id):first().title)
    assert.equal(4, session:query(Book):count())
  end)

  it("leave unflushed changes of an object alone", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    book.title = "local"
    local again = lib.session:scalars(select(lib.Book):where(lib.Book.id:eq(1))):one()
    assert.equal(book, again)
    assert.equal("local", book.title)
  end)

  it("are read to the end: breaking off leaves no lock", function()
    local path, remove = database.file()
    local lib = library.declare()
    local engine = orm.create_engine("sqlite:///" .. path)
    lib.metadata:create_all(engine)
    orm.with(orm.Session(engine), function(session)
      for _ = 1, 3 do
        session:add(lib.Author {})
      end
      session:commit()
      for _ in session:scalars(select(lib.Author)) do
        break
      end
      session:commit()
    end)
    orm.with(orm.create_engine("sqlite:///" .. path, { timeout = 0 }):connect(), function(conn)
      conn:execute(orm.text("DROP TABLE book_tag"))
      conn:commit()
    end)
    engine:dispose()
    remove()
  end)
end)

describe("autoflush", function()
  it("writes before a query", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "new" })
    assert.equal("new", lib.session:scalars(orm.select(lib.Author):where(lib.Author.name:eq("new"))):one().name)
    assert.same({ "INSERT author", "SELECT author" }, lib.record:headlines())
  end)

  it("writes before a lazy load", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local book = lib.session:get(lib.Book, 3)
    book.author_id = 1
    assert.equal("b1 b2 b3", titles(author.books:to_table()))
  end)

  it("writes before text() too", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "new" })
    assert.equal(3, lib.session:scalar(orm.text("SELECT count(*) FROM author")))
  end)

  it("is off for a session that is made so", function()
    local lib = library.open(nil, { autoflush = false })
    lib.session:add(lib.Author { name = "new" })
    assert.equal(2, #lib.session:scalars(orm.select(lib.Author)):all())
    lib.session:flush()
    assert.equal(3, #lib.session:scalars(orm.select(lib.Author)):all())
  end)

  it("is off inside no_autoflush, error or not, and nested", function()
    local lib = library.open()
    local session = lib.session
    session:add(lib.Author { name = "new" })
    local count = session:no_autoflush(function()
      session:no_autoflush(function() end)
      return #session:scalars(orm.select(lib.Author)):all()
    end)
    assert.equal(2, count)
    assert.is_false(pcall(session.no_autoflush, session, error))
    assert.equal(3, #session:scalars(orm.select(lib.Author)):all())
  end)

  it("is not caused by get: an object is found by key without a flush", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "new" })
    lib.session:get(lib.Author, 1)
    assert.same({ "SELECT author" }, lib.record:headlines())
  end)
end)

describe("expiring", function()
  it("drops an object's values and its unflushed changes", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    book.title = "ours"
    lib.session:expire(book)
    run(lib.session, "UPDATE book SET title = 'theirs' WHERE id = 1")
    assert.equal("theirs", book.title)
    lib.record:take()
    lib.session:flush()
    assert.same({}, lib.record:take())
  end)

  it("of one attribute leaves the others", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    run(lib.session, "UPDATE book SET title = 'theirs', year = 1 WHERE id = 1")
    lib.session:expire(book, { "title" })
    assert.equal("theirs", book.title)
    assert.equal(2000, book.year)
    raises("ArgumentError", { "Book", "titel", "title" }, lib.session.expire, lib.session, book, { "titel" })
  end)

  it("of a relationship reads it again", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    assert.equal(2, #author.books)
    run(lib.session, "DELETE FROM book_tag", "DELETE FROM book WHERE id = 1")
    lib.session:expire(author, { "books" })
    assert.equal(1, #author.books)
  end)

  it("of all reads each object again when it is needed", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    run(lib.session, "UPDATE book SET year = 1")
    lib.session:expire_all()
    lib.record:take()
    assert.equal(1, first.year)
    assert.equal(1, second.year)
    local count = #lib.record:take()
    assert.is_true(count == 1 or count == 2, count .. " statements")
  end)

  it("of an object whose row is gone raises ObjectDeletedError, refreshing it InvalidRequestError", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    run(lib.session, "DELETE FROM book WHERE id = 4")
    raises("InvalidRequestError", "Book", lib.session.refresh, lib.session, book)
    lib.session:expire(book)
    raises("ObjectDeletedError", "Book", function()
      return book.title
    end)
  end)
end)

describe("refreshing", function()
  it("overwrites unflushed changes, so that nothing is written", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    run(lib.session, "UPDATE book SET title = 'theirs' WHERE id = 1")
    book.title = "ours"
    lib.record:take()
    lib.session:refresh(book)
    assert.equal("theirs", book.title)
    lib.session:flush()
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("refuses objects without a row", function()
    local lib = library.open()
    local new = lib.Book {}
    raises("InvalidRequestError", "Book", lib.session.refresh, lib.session, new)
    lib.session:add(new)
    raises("InvalidRequestError", "Book", lib.session.refresh, lib.session, new)
  end)
end)

describe("expunging", function()
  it("forgets a new object", function()
    local lib = library.open()
    local new = lib.Author { name = "kept" }
    lib.session:add(new)
    lib.session:expunge(new)
    assert.equal("outside", states.of(lib.session, new))
    lib.session:flush()
    assert.same({}, lib.record:take())
    assert.equal("kept", new.name)
  end)

  it("detaches a stored one with its changes", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.title = "ours"
    lib.session:expunge(book)
    lib.session:commit()
    assert.equal("ours", book.title)
    assert.same({ "b1" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)

  it("of everything empties the session", function()
    local lib = library.open()
    local book, new = lib.session:get(lib.Book, 1), lib.Book {}
    lib.session:add(new)
    lib.session:expunge_all()
    assert.equal("outside outside", states.list(lib.session, book, new))
    assert.same({}, lib.session.new)
  end)

  it("refuses objects of no session", function()
    local lib = library.open()
    raises("InvalidRequestError", "Book", lib.session.expunge, lib.session, lib.Book {})
  end)
end)

describe("begin", function()
  it("with a function commits and returns what it returns", function()
    local lib = library.open()
    local author, extra = lib.session:begin(function(session)
      assert.equal(lib.session, session)
      local author = lib.Author { name = "new" }
      session:add(author)
      return author, 2
    end)
    assert.equal("new", author.name)
    assert.equal(2, extra)
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM author"))
  end)

  it("with a function that fails rolls back and raises the same error", function()
    local lib = library.open()
    local fault = {}
    local ok, err = pcall(lib.session.begin, lib.session, function(session)
      session:add(lib.Author {})
      session:flush()
      error(fault)
    end)
    assert.is_false(ok)
    assert.equal(fault, err)
    assert.same({ "2" }, rows(lib.engine, "SELECT count(*) FROM author"))
  end)

  it("opens a transaction that commit ends", function()
    local lib = library.open()
    lib.session:begin()
    assert.is_true(lib.session:in_transaction())
    raises("InvalidRequestError", "open already", lib.session.begin, lib.session)
    raises("InvalidRequestError", "open already", lib.session.begin, lib.session, function() end)
    lib.session:add(lib.Author {})
    lib.session:commit()
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM author"))
  end)

  it("refuses nil where a function may stand", function()
    local session = library.open().session
    raises("ArgumentError", "nil", session.begin, session, nil)
    raises("ArgumentError", "", session.begin, session, 3)
  end)
end)

describe("a session", function()
  it("comes from a maker with options", function()
    local lib = library.open()
    local make = orm.sessionmaker(lib.engine, { expire_on_commit = false })
    local session = make()
    local book = session:get(lib.Book, 1)
    session:commit()
    lib.record:take()
    assert.equal("b1", book.title)
    assert.same({}, lib.record:take())
    session:close()
    local other = make { autoflush = false }
    other:add(lib.Author {})
    assert.equal(2, #other:scalars(orm.select(lib.Author)):all())
    other:close()
  end)

  it("explains wrong options and engines", function()
    local engine = library.open().engine
    raises("ArgumentError", { "auto_flush", "autoflush" }, orm.Session, engine, { auto_flush = true })
    raises("ArgumentError", { "expire", "expire_on_commit" }, orm.sessionmaker, engine, { expire_oncommit = true })
    raises("ArgumentError", "engine", orm.Session, nil)
    raises("ArgumentError", "engine", orm.Session, "sqlite://")
  end)

  it("whose method is called with a dot says so", function()
    local lib = library.open()
    for _, call in ipairs { "add", "add_all", "delete", "flush", "commit", "rollback", "close", "get", "execute", "scalars",
      "refresh", "expire", "contains" } do
      raises("ArgumentError", "':'", lib.session[call], lib.Author {})
    end
  end)

  it("runs on file databases side by side with others", function()
    local path, remove = database.file()
    local lib = library.declare()
    local engine = orm.create_engine("sqlite:///" .. path)
    lib.metadata:create_all(engine)
    local first, second = orm.Session(engine), orm.Session(engine)
    first:add(lib.Author { name = "one" })
    first:commit()
    local theirs = second:get(lib.Author, 1)
    local mine = first:get(lib.Author, 1)
    assert.are_not.equal(mine, theirs)
    second:rollback()
    mine.name = "changed"
    first:commit()
    assert.equal("changed", second:get(lib.Author, 1).name)
    first:close()
    second:close()
    engine:dispose()
    remove()
  end)

  it("can be open together with others on one memory database", function()
    local lib = library.open()
    local other = orm.Session(lib.engine)
    lib.session:get(lib.Author, 1).name = "x"
    assert.equal("a1", other:get(lib.Author, 1).name)
    other:close()
    lib.session:commit()
    assert.same({ "x" }, rows(lib.engine, "SELECT name FROM author WHERE id = 1"))
  end)

  it("that is dropped is collected, and its objects are detached", function()
    local lib = library.open()
    local weak = setmetatable({ orm.Session(lib.engine) }, { __mode = "v" })
    local author = weak[1]:get(lib.Author, 1)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.equal("a1", author.name)
    raises("DetachedInstanceError", "Author.books", function()
      return author.books
    end)
  end)

  it("records statements of every kind for those who listen", function()
    local lib = library.open()
    local record = statements.record(lib.engine)
    local book = lib.session:get(lib.Book, 1)
    book.title = "x"
    lib.session:delete(lib.session:get(lib.Tag, 2))
    lib.session:commit()
    local seen = table.concat(record:headlines(), "; ")
    assert.truthy(seen:find("SELECT book; SELECT tag; ", 1, true))
    assert.truthy(seen:find("UPDATE book SET title", 1, true))
    assert.truthy(seen:find("DELETE tag", 1, true))
  end)
end)
