-- session:merge: the state of objects from elsewhere on the session's own ones.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows

describe("merge", function()
  it("makes a new object where no row has the key, or there is none", function()
    local lib = library.open()
    local keyed = lib.session:merge(lib.Author { id = 9, name = "nine" })
    local keyless = lib.session:merge(lib.Author { name = "new" })
    lib.session:commit()
    assert.same({ "9|nine", "10|new" }, rows(lib.engine, "SELECT * FROM author WHERE id > 2 ORDER BY id"))
    assert.same({ 9, 10 }, { keyed.id, keyless.id })
  end)

  it("gives an object of the session back as it is", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.title = "x"
    assert.equal(book, lib.session:merge(book))
    assert.equal("x", book.title)
  end)

  it("writes NULL where the object says so, and leaves alone what it does not mention", function()
    local lib = library.open()
    local merged = lib.session:merge(lib.Book { id = 1, year = orm.null })
    assert.is_nil(merged.year)
    assert.equal("b1", merged.title)
  end)

  it("finds the row of an object whose key was changed by the key that the row has", function()
    local lib = library.open()
    database.run(lib.engine, "DELETE FROM book_tag")
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:close()
    tag.id, tag.name = 9, "nine"
    local merged = lib.session:merge(tag)
    assert.same({ 2 }, orm.inspect(merged).identity)
    lib.session:commit()
    assert.same({ "1|t1", "9|nine" }, rows(lib.engine, "SELECT * FROM tag ORDER BY id"))
  end)

  it("follows a graph, with each object once", function()
    local lib = library.open()
    local tag = lib.Tag { id = 1, name = "T" }
    local author = lib.Author { id = 1, name = "A",
      books = { lib.Book { id = 1, title = "B", tags = { tag } }, lib.Book { title = "new", tags = { tag } } } }
    local merged = lib.session:merge(author)
    lib.session:commit()
    assert.equal(lib.session:get(lib.Author, 1), merged)
    assert.equal(merged.books[1].tags[1], merged.books[2].tags[1])
    assert.same({ "1|1|B|2000", "2|NULL|b2|2000", "5|1|new|NULL" },
      rows(lib.engine, "SELECT * FROM book WHERE id IN (1, 2, 5) ORDER BY id"))
    assert.equal("transient", orm.inspect(author).state)
    assert.equal("transient", orm.inspect(tag).state)
  end)

  it("takes the scalar side, and nil for one that was assigned", function()
    local lib = library.open()
    local merged = lib.session:merge(lib.Book { id = 1, author = lib.Author { id = 2, name = "two" } })
    lib.session:flush()
    assert.equal(2, merged.author_id)
    assert.equal("two", lib.session:get(lib.Author, 2).name)
    local given = lib.Book { id = 1 }
    given.author = nil
    assert.is_nil(lib.session:merge(given).author)
  end)

  it("does not take the way back for all that the other side has", function()
    local lib = library.open()
    lib.session:merge(lib.Book { id = 1, author = lib.Author { id = 2 } })
    lib.session:commit()
    assert.same({ "1|2", "2|1", "3|2", "4|2" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
  end)

  it("flushes first, so that it finds what waits; not where autoflush is off", function()
    local lib = library.open()
    local waiting = lib.Author { id = 9, name = "nine" }
    lib.session:add(waiting)
    assert.equal(waiting, lib.session:merge(lib.Author { id = 9, name = "IX" }))
    lib.session:commit()
    assert.same({ "9|IX" }, rows(lib.engine, "SELECT * FROM author WHERE id = 9"))
    lib.session:add(lib.Author { id = 10 })
    lib.session:no_autoflush(function() lib.session:merge(lib.Author { id = 1, name = "I" }) end)
    assert.equal(1, #lib.session.new)
  end)

  it("asks for a collection at once, not for its items one by one", function()
    local lib = library.open()
    lib.session:merge(lib.Author { id = 1, books = { lib.Book { id = 1, title = "x" }, lib.Book { id = 2, title = "y" } } })
    assert.same({ "SELECT author", "SELECT book" }, lib.record:headlines())
  end)

  it("takes loader options for what it looks up", function()
    local lib = library.open()
    lib.session:merge(lib.Author { id = 1, name = "I" }, { options = { orm.selectinload(lib.Author.books) } })
    assert.same({ "SELECT author", "SELECT book" }, lib.record:headlines())
  end)

  it("does not follow a relationship without the cascade", function()
    local lib = library.open { author = { cascade = "save-update" } }
    local merged = lib.session:merge(lib.Book { id = 1, author = lib.Author { id = 2 } })
    assert.equal(1, merged.author.id)
  end)

  it("moves objects between sessions: a cache in one session fills another", function()
    local lib = library.open(nil, { expire_on_commit = false })
    local author = lib.session:get(lib.Author, 1)
    assert.equal(2, #author.books)
    lib.session:close()
    local other = orm.Session(lib.engine)
    lib.record:take()
    local copy = other:merge(author, { load = false })
    assert.same({ "a1", "b1", "b2" }, { copy.name, copy.books[1].title, copy.books[2].title })
    assert.equal(copy.books[1], other:get(lib.Book, 1))
    assert.same({}, lib.record:take())
    assert.same({}, other.dirty)
    copy.name = "changed"
    other:commit()
    assert.same({ "changed" }, rows(lib.engine, "SELECT name FROM author WHERE id = 1"))
  end)

  it("takes an expired object with load = false by its key, and reads the rest when asked", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.session:expire(book)
    local other = orm.Session(lib.engine)
    local copy = other:merge(book, { load = false })
    assert.equal(1, copy.id)
    assert.equal("b1", copy.title)
    assert.equal(copy, other:get(lib.Book, 1))
  end)

  it("refuses a changed object with load = false, and what is no object", function()
    local lib = library.open()
    local other = orm.Session(lib.engine)
    local book = other:get(lib.Book, 1)
    book.title = "x"
    raises("InvalidRequestError", "unchanged", lib.session.merge, lib.session, book, { load = false })
    raises("UnmappedInstanceError", "merge", lib.session.merge, lib.session, {})
    raises("ArgumentError", "'load'", lib.session.merge, lib.session, lib.Book {}, { laod = false })
  end)
end)
