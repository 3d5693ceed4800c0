-- Objects that expired together, with a commit or a rollback, are read again together.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

-- A session that holds `count` authors, each with a book, all expired.
local function expired(count, options)
  local lib = library.empty(options)
  lib.authors, lib.books = {}, {}
  for number = 1, count do
    lib.authors[number] = lib.Author { name = "a" .. number }
    lib.books[number] = lib.Book { title = "b" .. number, author = lib.authors[number] }
  end
  lib.session:add_all(lib.authors)
  lib.session:commit()
  lib.record:take()
  return lib
end

local function keys(sql)
  local _, count = sql:match("%[.-%]$"):gsub("%d+", "")
  return count
end

describe("expired objects", function()
  it("are read one by one where one is looked at, and more and more together where all are", function()
    local lib = expired(1000)
    assert.equal("a7", lib.authors[7].name)
    local sent = lib.record:take()
    assert.equal(1, #sent)
    assert.equal(1, keys(sent[1]))
    for number, author in ipairs(lib.authors) do
      assert.equal("a" .. number, author.name)
    end
    sent = lib.record:take()
    assert.is_true(#sent <= 12)
    for _, sql in ipairs(sent) do
      assert.is_true(keys(sql) <= 500)
    end
  end)

  it("begin anew with the next commit", function()
    local lib = expired(100)
    for _, author in ipairs(lib.authors) do
      assert.is_string(author.name)
    end
    lib.session:commit()
    lib.record:take()
    assert.equal("a50", lib.authors[50].name)
    assert.equal("[50]", lib.record:take()[1]:match("%[.-%]$"))
  end)

  it("are read again together where only a many-to-one leads to them", function()
    local lib = expired(200)
    for number, book in ipairs(lib.books) do
      assert.equal(lib.authors[number], book.author)
    end
    assert.is_true(#lib.record:take() <= 20)
    for number, book in ipairs(lib.books) do
      assert.equal("a" .. number, book.author.name)
    end
    assert.same({}, lib.record:take())
  end)

  it("are nil for a many-to-one where their row is gone, and the others are there", function()
    local lib = expired(20)
    database.run(lib.session, "PRAGMA defer_foreign_keys = ON", "DELETE FROM author WHERE id = 7")
    for number, book in ipairs(lib.books) do
      assert.equal(number ~= 7 and lib.authors[number] or nil, book.author)
    end
  end)

  it("are found by key where bytes are the key", function()
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing",
      part = orm.mapped_column(orm.LargeBinary, { primary_key = true }),
      name = orm.mapped_column(orm.String) })
    local session, things = orm.Session(database.create(base)), {}
    for number = 1, 50 do
      things[number] = Thing { part = "\0" .. number, name = "t" .. number }
    end
    session:add_all(things)
    session:commit()
    for number, thing in ipairs(things) do
      assert.equal("t" .. number, thing.name)
    end
  end)

  it("give their foreign keys to lazy loads together, too", function()
    local lib = expired(200)
    for number, author in ipairs(lib.authors) do
      assert.equal("a" .. number, author.name)
    end
    lib.record:take()
    for number, book in ipairs(lib.books) do
      assert.equal(lib.authors[number], book.author)
    end
    assert.is_true(#lib.record:take() <= 9)
  end)

  it("that were changed, or whose row is gone, are left to themselves", function()
    local lib = expired(8)
    lib.session:commit()
    database.run(lib.engine, "DELETE FROM book WHERE id IN (3, 5)")
    lib.session:no_autoflush(function()
      lib.books[4].title = "mine"
      assert.equal("b1", lib.books[1].title)
      assert.equal("b2", lib.books[2].title)
      assert.equal("b6", lib.books[6].title)
      assert.equal("b7", lib.books[7].title)
      assert.equal("mine", lib.books[4].title)
    end)
    for _, gone in ipairs { 3, 5 } do
      raises("ObjectDeletedError", "Book", function() return lib.books[gone].title end)
    end
    assert.equal("b8", lib.books[8].title)
  end)

  it("of other classes, and single ones that a script expires, are not read along", function()
    local lib = expired(10)
    for _, author in ipairs(lib.authors) do
      assert.is_string(author.name)
    end
    for _, sql in ipairs(lib.record:take()) do
      assert.is_truthy(sql:find("FROM author", 1, true))
    end
    lib.session:expire(lib.authors[1])
    lib.session:expire(lib.authors[2])
    assert.equal("a1", lib.authors[1].name)
    assert.equal(1, #lib.record:take())
    assert.equal("a2", lib.authors[2].name)
    assert.equal(1, #lib.record:take())
  end)

  it("come together for session:get(), and for composite keys", function()
    local base = orm.declarative_base()
    local Part = base:model("Part", {
      __tablename__ = "part",
      a = orm.mapped_column(orm.Integer, { primary_key = true }),
      b = orm.mapped_column(orm.String(5), { primary_key = true }),
      name = orm.mapped_column(orm.String(5)),
    })
    local engine = database.create(base)
    local session, parts = orm.Session(engine), {}
    for number = 1, 64 do
      parts[number] = Part { a = number, b = "x", name = "n" .. number }
    end
    session:add_all(parts)
    session:commit()
    local sent = 0
    orm.event.listen(engine, "before_cursor_execute", function() sent = sent + 1 end)
    for number = 1, 64 do
      assert.equal("n" .. number, session:get(Part, { number, "x" }).name)
    end
    assert.is_true(sent <= 8)
  end)
end)

describe("refresh", function()
  it("drops the object's changes, and flushes those of others", function()
    local lib = library.open()
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
    author.name, book.title = "lost", "kept"
    lib.record:take()
    lib.session:refresh(author)
    assert.same({ "UPDATE book SET title", "SELECT author" }, lib.record:headlines())
    author.name, book.title = "lost", "lost"
    lib.session:refresh(author, { "name" })
    assert.equal("a1", author.name)
    lib.session:commit()
    assert.same({ "a1" }, database.rows(lib.engine, "SELECT name FROM author WHERE id = 1"))
  end)

  for lazy, sent in pairs { selectin = { "SELECT author", "SELECT book" }, joined = { "SELECT author" },
    immediate = { "SELECT author", "SELECT book" } } do
    it("loads along what the class wants loaded along: " .. lazy, function()
      local lib = library.open { books = { lazy = lazy } }
      local author = lib.session:get(lib.Author, 1)
      database.run(lib.session, "UPDATE author SET name = 'x' WHERE id = 1", "UPDATE book SET author_id = 1 WHERE id = 3")
      lib.record:take()
      lib.session:refresh(author)
      assert.same(sent, lib.record:headlines())
      assert.same({ "x", 3 }, { author.name, #author.books })
      assert.same({}, lib.record:take())
      database.run(lib.session, "PRAGMA defer_foreign_keys = ON", "DELETE FROM author WHERE id = 1")
      raises("InvalidRequestError", "gone", lib.session.refresh, lib.session, author)
    end)
  end
end)

it("an object whose key was changed and then expired has the stored one", function()
  local lib = library.open()
  local author = lib.session:get(lib.Author, 1)
  lib.session:expire(author, { "id" })
  assert.equal(1, author.id)
  author.id = 77
  lib.session:expire(author, { "id", "books" })
  assert.equal(1, author.id)
  assert.equal(2, #author.books)
  lib.session:commit()
  assert.same({ "1", "2" }, database.rows(lib.engine, "SELECT id FROM author ORDER BY id"))
end)

it("objects that change their keys are read again together by those of their rows, after a rollback", function()
  local lib = expired(40)
  for number, author in ipairs(lib.authors) do
    assert.equal("a" .. number, author.name)
  end
  for number, author in ipairs(lib.authors) do
    author.id = 1000 + number
  end
  lib.session:rollback()
  lib.record:take()
  for number, author in ipairs(lib.authors) do
    assert.same({ "a" .. number, number, "b" .. number }, { author.name, author.id, author.books[1].title })
  end
  assert.is_true(#lib.record:headlines() < 90)
end)
