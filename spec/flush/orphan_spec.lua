-- delete-orphan: what becomes of objects that their parent lets go of, from whichever side, loaded or not.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows

local OWNED = { books = { cascade = "all, delete-orphan" } }

describe("a child that lets go of its parent itself", function()
  it("is deleted, whether the parent's list is loaded or not", function()
    for _, loaded in ipairs { false, true } do
      local lib = library.open(OWNED)
      local book = lib.session:get(lib.Book, 3)
      if loaded then
        assert.equal(2, #book.author.books)
      end
      book.author = nil
      lib.session:commit()
      assert.same({ "1", "2", "4" }, rows(lib.engine, "SELECT id FROM book ORDER BY id"))
    end
  end)

  it("and takes another one stays", function()
    local lib = library.open(OWNED)
    local book = lib.session:get(lib.Book, 3)
    book.author = nil
    book.author = lib.session:get(lib.Author, 1)
    lib.session:commit()
    assert.same({ "3|1" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id = 3"))
  end)

  it("stays where it never had one", function()
    local lib = library.open(OWNED)
    local book = lib.Book { title = "alone" }
    lib.session:add(book)
    lib.session:commit()
    book.author = nil
    book.title = "still alone"
    lib.session:commit()
    assert.same({ "5|still alone" }, rows(lib.engine, "SELECT id, title FROM book WHERE id = 5"))
  end)
end)

describe("a one-to-one child", function()
  local function open()
    local lib = library.open({ books = { cascade = "all, delete-orphan", uselist = false, order_by = nil } })
    database.run(lib.session, "DELETE FROM book_tag", "DELETE FROM book WHERE id IN (2, 4)")
    lib.session:commit()
    lib.record:take()
    return lib
  end

  it("that is replaced is deleted, before the new one comes", function()
    local lib = open()
    local author = lib.session:get(lib.Author, 1)
    author.books = lib.Book { title = "new" }
    lib.record:take()
    lib.session:flush()
    assert.same({ "INSERT book", "DELETE book_tag", "DELETE book" }, lib.record:headlines())
    assert.same({ "3|2", "4|1" }, rows(lib.session, "SELECT id, author_id FROM book ORDER BY id"))
  end)

  it("that is taken away is deleted", function()
    local lib = open()
    lib.session:get(lib.Author, 1).books = nil
    lib.session:commit()
    assert.same({ "3|2" }, rows(lib.engine, "SELECT id, author_id FROM book"))
  end)

  it("that moves to another parent replaces the one there", function()
    local lib = open()
    lib.session:get(lib.Author, 2).books = lib.session:get(lib.Author, 1).books
    lib.session:commit()
    assert.same({ "1|2" }, rows(lib.engine, "SELECT id, author_id FROM book"))
  end)
end)

-- Person.passport many-to-one, owned: the person is the only one who has it.
local function people(back)
  local base = orm.declarative_base()
  local place = {}
  place.Person = base:model("Person", { __tablename__ = "person", id = orm.Column(orm.Integer, { primary_key = true }),
    pass_id = orm.Column(orm.ForeignKey("pass.id")),
    pass = orm.relationship("Pass", { cascade = "all, delete-orphan", single_parent = true,
      back_populates = back and "holders" or nil }) })
  place.Pass = base:model("Pass", { __tablename__ = "pass", id = orm.Column(orm.Integer, { primary_key = true }),
    code = orm.Column(orm.Text), holders = back and orm.relationship("Person", { back_populates = "pass" }) or nil })
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  database.run(place.engine, "INSERT INTO pass VALUES (1, 'a'), (2, 'b')", "INSERT INTO person VALUES (1, 1), (2, 2)")
  place.record = statements.record(place.engine)
  return place
end

for _, back in ipairs { false, true } do
  describe("a single parent on the many-to-one side" .. (back and ", with the other side declared," or ""), function()
    it("deletes what it replaces, though it was never loaded", function()
      local place = people(back)
      place.session:get(place.Person, 1).pass = place.Pass { code = "new" }
      place.session:flush()
      assert.same({ "2|b", "3|new" }, rows(place.session, "SELECT * FROM pass ORDER BY id"))
      assert.same({ "1|3", "2|2" }, rows(place.session, "SELECT * FROM person ORDER BY id"))
    end)

    it("deletes what it lets go of, after its own row", function()
      local place = people(back)
      local person = place.session:get(place.Person, 1)
      place.record:take()
      person.pass = nil
      assert.equal("SELECT pass", place.record:headlines()[1])
      place.session:flush()
      local lines = place.record:headlines()
      assert.same({ "UPDATE person SET pass_id", "DELETE pass" }, { lines[#lines - 1], lines[#lines] })
      assert.same({ "2|b" }, rows(place.session, "SELECT * FROM pass"))
    end)

    it("forgets a new one that never came to be stored", function()
      local place = people(back)
      local person, first = place.session:get(place.Person, 1), place.Pass { code = "first" }
      person.pass = first
      assert.equal("pending", orm.inspect(first).state)
      person.pass = place.Pass { code = "second" }
      assert.equal("transient", orm.inspect(first).state)
      place.session:commit()
      assert.same({ "b", "second" }, rows(place.engine, "SELECT code FROM pass ORDER BY id"))
    end)

    it("refuses a second parent, and takes one that was let go", function()
      local place = people(back)
      local pass = place.Pass { code = "c" }
      local first = place.Person { id = 7, pass = pass }
      local err = raises("InvalidRequestError", nil, place.Person, { id = 8, pass = pass })
      assert.equal("Person.pass: Pass(code='c') already belongs to Person(id=7), and single_parent = true allows one parent "
        .. "only; take it away there first", err.message)
      local second = place.Person { id = 9 }
      assert.has_error(function() second.pass = pass end)
      assert.is_nil(second.pass)
      first.pass = pass
      first.pass = nil
      second.pass = pass
      place.session:add_all { first, second }
      place.session:commit()
      assert.same({ "7|NULL", "9|3" }, rows(place.engine, "SELECT id, pass_id FROM person WHERE id > 2 ORDER BY id"))
    end)

    it("is no longer there once it is to be deleted", function()
      local place = people(back)
      local first, second = place.session:get(place.Person, 1), place.session:get(place.Person, 2)
      first.pass = place.Pass { code = "c" }
      place.session:flush()
      local pass = first.pass
      place.session:delete(first)
      second.pass = pass
      assert.equal(pass, second.pass)
    end)

    it("takes it along when it is deleted itself", function()
      local place = people(back)
      place.session:delete(place.session:get(place.Person, 2))
      place.session:commit()
      assert.same({ "1|a" }, rows(place.engine, "SELECT * FROM pass"))
    end)
  end)
end

it("an orphan that another list still holds stays, on the many-to-many side too", function()
  local lib = library.open { tags = { cascade = "all, delete-orphan", single_parent = true } }
  local one, two = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
  local first, second = one.tags[1], one.tags[2]
  assert.same({ "t1", "t2" }, { first.name, second.name })
  one.tags:clear()
  lib.session:commit()
  assert.same({ "1|t1" }, rows(lib.engine, "SELECT * FROM tag"))
  assert.equal(1, #two.tags)
end)

it("single_parent on lists refuses what another list holds, and what the other side moves it takes", function()
  local lib = library.open { books = { single_parent = true }, tags = { single_parent = true } }
  local one, two = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
  local book = one.books[1]
  raises("InvalidRequestError", { "Author.books", "Book", "Author(id=1" }, two.books.append, two.books, book)
  assert.has_error(function() two.books = { book } end)
  assert.equal(one, book.author)
  book.author = two
  assert.is_true(two.books:contains(book))
  local tag = lib.Tag { name = "new" }
  lib.session:get(lib.Book, 1).tags:append(tag)
  raises("InvalidRequestError", { "Book.tags", "Tag" }, function() lib.session:get(lib.Book, 2).tags:append(tag) end)
end)

it("an expired orphan that is read is flushed away first, with its links", function()
  local lib = library.open(OWNED)
  local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
  assert.equal(2, #author.books)
  lib.session:expire(book)
  author.books:remove(book)
  assert.is_nil(book.author)
  assert.equal(0, #book.tags)
  assert.equal("deleted", orm.inspect(book).state)
end)

it("a new child whose session is gone is let go of in peace, and can be saved by another one", function()
  local lib = library.open(OWNED)
  local book = lib.Book { title = "new" }
  local author = lib.Author { name = "a3", books = { book } }
  local session = orm.Session(lib.engine)
  session:add(author)
  assert.equal("pending", orm.inspect(book).state)
  session = nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  author.books:remove(book)
  assert.same({ 0, "transient" }, { #author.books, orm.inspect(book).state })
  assert.is_nil(book.author)
  lib.session:get(lib.Author, 1).books:append(book)
  lib.session:commit()
  assert.same({ "5|1|new" }, rows(lib.engine, "SELECT id, author_id, title FROM book WHERE id > 4"))
end)
