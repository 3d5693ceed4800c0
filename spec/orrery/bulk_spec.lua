-- Statements that change many rows through a session, and what its objects show afterwards.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows

describe("an insert of plain tables", function()
  it("that returns the class gives objects, with one statement", function()
    local lib = library.empty()
    local authors = lib.session:scalars(orm.insert(lib.Author):returning(lib.Author), { { name = "a" }, { name = "b" } }):all()
    assert.equal(1, #lib.record:take())
    assert.same({ 1, "a", 2, "b" }, { authors[1].id, authors[1].name, authors[2].id, authors[2].name })
    assert.equal(authors[2], lib.session:get(lib.Author, 2))
    assert.same({}, lib.record:take())
    assert.equal("persistent", orm.inspect(authors[1]).state)
  end)

  it("gives rows of objects and columns by execute", function()
    local lib = library.empty()
    local row = lib.session:execute(orm.insert(lib.Author):values { name = "a" }:returning(lib.Author, lib.Author.name)):one()
    assert.equal("a", row[1].name)
    assert.equal("a", row[2])
  end)
end)

describe("an update or delete of a class", function()
  it("shows in the session's objects", function()
    local lib = library.open()
    local book, other = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 3)
    lib.session:execute(orm.update(lib.Book):where(lib.Book.id:eq(1)):values { title = "bulk" })
    assert.equal("bulk", book.title)
    lib.session:execute(orm.delete(lib.Book):where(lib.Book.id:eq(3)))
    assert.is_nil(lib.session:get(lib.Book, 3))
    assert.equal("deleted", orm.inspect(other).state)
    lib.session:rollback()
    assert.equal("persistent", orm.inspect(other).state)
    assert.equal("b3", other.title)
  end)

  it("leaves changes that wait alone where autoflush is off", function()
    local lib = library.open(nil, { autoflush = false })
    local changed, other = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    changed.title = "mine"
    lib.session:execute(orm.update(lib.Book):where(orm.all):values { year = 7 })
    assert.same({ "mine", 7 }, { changed.title, other.year })
    lib.session:commit()
    assert.same({ "1|mine|7" }, rows(lib.engine, "SELECT id, title, year FROM book WHERE id = 1"))
  end)

  it("that returns the class brings its objects up to date", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local found = lib.session:scalars(orm.update(lib.Book):where(lib.Book.author_id:eq(1)):values { year = 9 }
      :returning(lib.Book)):all()
    assert.equal(2, #found)
    lib.record:take()
    assert.equal(9, book.year)
    assert.same({}, lib.record:take())
  end)

  it("in the legacy style tells how many", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.equal(2, lib.session:query(lib.Book):filter(lib.Book.author_id:eq(1)):update { year = 3 })
    assert.equal(3, book.year)
    assert.equal(1, lib.session:query(lib.Tag):filter_by { name = "t3" }:delete() + 1)
    lib.session:execute(orm.delete(lib.Book.tags.property.secondary):where(orm.all))
    assert.equal(2, lib.session:query(lib.Tag):delete())
    raises("InvalidRequestError", "conditions only", function() lib.session:query(lib.Book):limit(1):delete() end)
    raises("InvalidRequestError", "one class", function() lib.session:query(lib.Book.id):delete() end)
  end)
end)

describe("upsert", function()
  it("inserts what is new and updates what is there, and gives the objects", function()
    local lib = library.open()
    local known = lib.session:get(lib.Tag, 1)
    local tags = lib.session:upsert(lib.Tag, { { id = 1, name = "one" }, { id = 9, name = "nine" } })
    assert.same({ 1, "one", 9, "nine" }, { tags[1].id, tags[1].name, tags[2].id, tags[2].name })
    assert.equal(known, tags[1])
    assert.equal("one", known.name)
    lib.session:commit()
    assert.same({ "1|one", "2|t2", "9|nine" }, rows(lib.engine, "SELECT * FROM tag ORDER BY id"))
  end)

  it("updates the columns that it is told to", function()
    local lib = library.open()
    lib.session:upsert(lib.Book, { { id = 1, title = "t", year = 1 } }, { index_elements = { "id" }, update = { "year" } })
    assert.same({ "1|b1|1" }, rows(lib.session, "SELECT id, title, year FROM book WHERE id = 1"))
  end)

  it("takes many rows in several statements, and none in none", function()
    local lib = library.empty()
    local given = {}
    for number = 1, 250 do
      given[number] = { id = number, name = "n" .. number }
    end
    assert.equal(250, #lib.session:upsert(lib.Author, given))
    assert.equal(3, #lib.record:take())
    assert.same({}, lib.session:upsert(lib.Author, {}))
    raises("ArgumentError", "array of rows", lib.session.upsert, lib.session, lib.Author, { name = "x" })
    raises("ArgumentError", "nothing to update", lib.session.upsert, lib.session, lib.Author, { { id = 1 } })
  end)
end)
