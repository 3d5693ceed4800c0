-- orm.inspect: states, history and identity of objects; columns and relationships of classes.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local NAMES = { "transient", "pending", "persistent", "deleted", "detached" }

-- The names of all states that the object is in.
local function states(object)
  local about, list = orm.inspect(object), {}
  for _, name in ipairs(NAMES) do
    list[#list + 1] = about[name] and name or nil
  end
  return table.concat(list, " ")
end

describe("an inspected object", function()
  it("is in one state after the other", function()
    local lib = library.empty()
    local session, author = lib.session, lib.Author { name = "x" }
    assert.equal("transient", states(author))
    session:add(author)
    assert.equal("pending", states(author))
    session:expunge(author)
    assert.equal("transient", states(author))
    session:add(author)
    session:flush()
    assert.equal("persistent", states(author))
    session:delete(author)
    assert.equal("persistent", states(author))
    session:flush()
    assert.equal("deleted", states(author))
    session:rollback()
    assert.equal("transient", states(author))
    session:add(author)
    session:commit()
    session:expunge(author)
    assert.equal("detached", states(author))
    session:add(author)
    assert.equal("persistent", states(author))
    session:delete(author)
    session:commit()
    assert.equal("detached", states(author))
  end)

  it("tells its session and its key", function()
    local lib = library.open()
    local author = lib.Author {}
    assert.is_nil(orm.inspect(author).session)
    assert.is_nil(orm.inspect(author).identity)
    author = lib.session:get(lib.Author, 1)
    assert.equal(lib.session, orm.inspect(author).session)
    assert.same({ 1 }, orm.inspect(author).identity)
    database.run(lib.session, "DELETE FROM book_tag", "DELETE FROM book")
    author.id = 9
    assert.same({ 1 }, orm.inspect(author).identity) -- until the row has another one
    lib.session:flush()
    assert.same({ 9 }, orm.inspect(author).identity)
    lib.session:close()
    assert.same({ 9 }, orm.inspect(author).identity)
  end)

  it("tells what is not loaded, without loading it", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.record:take()
    assert.same({ "author", "tags" }, orm.inspect(book).unloaded)
    lib.session:expire(book, { "year" })
    assert.same({ "year", "author", "tags" }, orm.inspect(book).unloaded)
    lib.session:expire(book)
    assert.same({ "id", "author_id", "title", "year", "author", "tags" }, orm.inspect(book).unloaded)
    assert.same({}, lib.record:take())
  end)

  it("has a history per column", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.same({ added = {}, unchanged = { "b1" }, deleted = {} }, orm.inspect(book).attrs.title.history)
    assert.is_false(orm.inspect(book).modified)
    book.title = "x"
    assert.same({ added = { "x" }, unchanged = {}, deleted = { "b1" } }, orm.inspect(book).attrs.title.history)
    assert.is_true(orm.inspect(book).modified)
    book.title = nil
    assert.same({ added = { orm.null }, unchanged = {}, deleted = { "b1" } }, orm.inspect(book).attrs.title.history)
    book.title = "b1"
    assert.same({ added = {}, unchanged = { "b1" }, deleted = {} }, orm.inspect(book).attrs.title.history)
    assert.is_false(orm.inspect(book).modified)
    lib.session:expire(book)
    assert.same({ added = {}, unchanged = {}, deleted = {} }, orm.inspect(book).attrs.title.history)
    book.title = "blind"
    assert.same({ added = { "blind" }, unchanged = {}, deleted = {} }, orm.inspect(book).attrs.title.history)
    assert.same({ added = { "n" }, unchanged = {}, deleted = {} }, orm.inspect(lib.Book { title = "n" }).attrs.title.history)
  end)

  it("has orm.null in it for a single object that is none any more", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local author = book.author
    book.author = nil
    local history = orm.inspect(book).attrs.author.history
    assert.same({ 1, true, 0, 1, author }, { #history.added, history.added[1] == orm.null, #history.unchanged, #history.deleted,
      history.deleted[1] })
  end)

  it("has a history per relationship", function()
    local lib = library.open()
    local author, new = lib.session:get(lib.Author, 1), lib.Book {}
    local one, two = author.books[1], author.books[2]
    author.books = { two, new }
    assert.same({ added = { new }, unchanged = { two }, deleted = { one } }, orm.inspect(author).attrs.books.history)
    assert.same({ added = { author }, unchanged = {}, deleted = {} }, orm.inspect(new).attrs.author.history)
    assert.same({ author }, orm.inspect(one).attrs.author.history.deleted)
    assert.is_true(orm.inspect(author).modified)
  end)

  it("shows values", function()
    local lib = library.open()
    local about = orm.inspect(lib.session:get(lib.Book, 1)).attrs
    assert.same({ "title", "b1", true }, { about.title.key, about.title.value, about.title.loaded })
    assert.is_false(about.tags.loaded)
    raises("ArgumentError", "did you mean 'title'", function() return about.titel end)
    raises("ArgumentError", "did you mean 'pending'", function() return orm.inspect(lib.Book {}).pendign end)
    raises("ArgumentError", "a mapped class", orm.inspect, 5)
  end)
end)

it("an inspected class tells its columns and relationships in order", function()
  local lib = library.declare()
  local about = orm.inspect(lib.Book)
  assert.same({ "id", "author_id", "title", "year", "author", "tags" }, about.attributes)
  assert.equal(lib.Book.title, about.columns[3])
  assert.equal(lib.Book.id, about.primary_key[1])
  assert.same({ "author", "manytoone", "books" },
    { about.relationships[1].key, about.relationships[1].direction, about.relationships[1].back_populates })
  assert.equal(lib.Tag, about.relationships[2].target)
  assert.equal(lib.Book.__table__, about.table)
end)

describe("refreshing and expiring", function()
  it("of named attributes leaves the others", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    assert.equal(2, #book.tags)
    book.title, book.year = "mine", 1
    lib.session:connection():execute(orm.text("UPDATE book SET title = 'db', year = 5"))
    lib.session:connection():execute(orm.text("DELETE FROM book_tag WHERE tag_id = 2"))
    lib.session:refresh(book, { "title", "tags" })
    assert.same({ "db", 1, 1 }, { book.title, book.year, #book.tags })
    raises("ArgumentError", "did you mean 'title'", lib.session.refresh, lib.session, book, { "titel" })
    raises("ArgumentError", "an array of names", lib.session.expire, lib.session, book, "title")
  end)

  it("drops an unflushed change of the key", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    book.id = 30
    lib.session:expire(book)
    assert.equal("b3", book.title)
    assert.equal(3, book.id)
  end)

  it("follows the cascade", function()
    local lib = library.open { books = { cascade = "all" } }
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    lib.session:expire(author)
    assert.same({ "id", "author_id", "title", "year", "author", "tags" }, orm.inspect(book).unloaded)
    local _ = author.books[1].title
    lib.session:expunge(author)
    assert.equal("detached", orm.inspect(book).state)
  end)

  it("session:load loads an attribute now", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    assert.equal(2, #lib.session:load(author, "books"))
    assert.equal("a1", lib.session:load(author, "name"))
    raises("ArgumentError", "did you mean 'books'", lib.session.load, lib.session, author, "boks")
  end)
end)

it("an error of an autoflush names the object and the query", function()
  local lib = library.open { author_id = { nullable = false } }
  local book = lib.Book { title = "fatherless" }
  lib.session:add(book)
  local err = raises("IntegrityError", { "autoflush", "fatherless", "SELECT", "no_autoflush" }, function()
    lib.session:scalars(orm.select(lib.Author)):all()
  end)
  assert.equal(book, err.object)
end)

it("an error of an autoflush that wrote several rows by one statement says which may be to blame", function()
  local lib = library.open { author_id = { nullable = false } }
  lib.session:add_all { lib.Book { id = 11, title = "b5", author_id = 9 }, lib.Book { id = 1, title = "b6", author_id = 1 } }
  raises("IntegrityError", { "autoflush", "one of 2 rows of 'Book', the first of which is Book(id=11" }, function()
    lib.session:scalars(orm.select(lib.Author)):all()
  end)
end)

describe("what is known of an object's attributes", function()
  it("can be walked over, and refuses a name that is none", function()
    local Base = orm.declarative_base()
    local Thing = Base:model("Thing", { __tablename__ = "thing", id = orm.Mapped(orm.Integer, { primary_key = true }),
      name = orm.Mapped(orm.String), parts = orm.relationship("Part") })
    Base:model("Part", { __tablename__ = "part", id = orm.Mapped(orm.Integer, { primary_key = true }),
      thing_id = orm.mapped_column(orm.ForeignKey("thing.id")) })
    local thing, seen = Thing{ name = "a" }, {}
    for name, state in pairs(orm.inspect(thing).attrs) do
      assert.equal(name, state.key)
      seen[name] = state.history.added[1] or false
    end
    assert.same({ id = false, name = "a", parts = false }, seen)
    assert.falsy(pcall(function() return orm.inspect(thing).attrs.nmae end))
  end)
end)
