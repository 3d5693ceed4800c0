-- Objects that leave a session, change keys or are deleted, in every order with flush, rollback and commit; and what get() makes
-- of everything that is no key.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, Text, Mapped, Optional = orm.Integer, orm.Text, orm.Mapped, orm.Optional

local function state(object)
  return orm.inspect(object).state
end

describe("session:get", function()
  it("takes a class and its key, and says what else is wrong", function()
    local lib = library.open()
    local session = lib.session
    local author = session:get(lib.Author, 1)
    assert.equal(author, session:get(lib.Author, 1))
    assert.equal(author, session:get(lib.Author, { 1 }))
    assert.equal(author, session:get(lib.Author, 1, { populate_existing = true }))
    assert.is_nil(session:get(lib.Author, 99))
    for _, call in ipairs { function() return session.get() end, function() return session.get(session) end,
      function() return session:get(lib.Author) end, function() return session.get({}, lib.Author, 1) end,
      function() return session.get({ 1 }, lib.Author, 1) end, function() return session.get({ author }, lib.Author, 1) end,
      function() return session.get({ io.stdout }, lib.Author, 1) end, function() return session:get(author, 1) end,
      function() return session:get(io.stdout, 1) end, function() return session:get("Author", 1) end,
      function() return session:get(lib.Author, "x") end, function() return session:get(lib.Author, 1.5) end,
      function() return session:get(lib.Author, {}) end, function() return session:get(lib.Author, { 1, 2 }) end } do
      assert.is_false((pcall(call)))
    end
    session:close()
    assert.not_equal(author, session:get(lib.Author, 1))
    session:delete(session:get(lib.Author, 2))
    assert.is_nil(session:get(lib.Author, 2))
  end)

  it("finds objects by keys of digits, text and several columns", function()
    local base = orm.declarative_base()
    local Big = base:model("Big", { __tablename__ = "big", id = Mapped(orm.BigInteger{ as = "string" }, { primary_key = true }),
      note = Mapped(Optional(Text)) })
    local Pair = base:model("Pair", { __tablename__ = "pair", a = Mapped(Text, { primary_key = true }),
      b = Mapped(Integer, { primary_key = true }) })
    local session = orm.Session(database.create(base))
    local big, pair = Big { id = "9007199254740993" }, Pair { a = "x", b = 2 }
    session:add_all { big, pair }
    session:commit()
    assert.equal(big, session:get(Big, "9007199254740993"))
    assert.equal(pair, session:get(Pair, { "x", 2 }))
    big.id, pair.b = "9007199254740995", 3
    session:flush()
    assert.equal(big, session:get(Big, "9007199254740995"))
    assert.equal(pair, session:get(Pair, { "x", 3 }))
    session:rollback()
    assert.same({ "9007199254740993", 2 }, { big.id, pair.b })
    assert.equal(big, session:get(Big, "9007199254740993"))
    assert.equal(pair, session:get(Pair, { "x", 2 }))
  end)
end)

describe("a rollback", function()
  it("leaves alone what has left the session since, but for objects that have no row any more", function()
    local lib = library.open()
    local session = lib.session
    database.run(lib.engine, "INSERT INTO author VALUES (3, 'a3')")
    local new, moved, gone = lib.Author { id = 5, name = "new" }, session:get(lib.Author, 3), session:get(lib.Book, 4)
    session:add(new)
    moved.id = 6
    session:delete(gone)
    session:flush()
    for _, object in ipairs { new, moved, gone } do
      session:expunge(object)
    end
    session:rollback()
    assert.same({ "transient", "detached", "detached" }, { state(new), state(moved), state(gone) })
    assert.same({ "1", "2", "3" }, rows(lib.engine, "SELECT id FROM author ORDER BY id"))
    assert.equal("a3", session:get(lib.Author, 3).name)
    assert.equal("b4", session:get(lib.Book, 4).title)
  end)

  it("forgets objects that nobody holds, and keys that were changed twice", function()
    local lib = library.open()
    local session = lib.session
    session:add(lib.Author { id = 5 })
    session:delete(session:get(lib.Book, 4))
    session:flush()
    collectgarbage()
    collectgarbage()
    local tag = session:get(lib.Tag, 1)
    tag.name = "x"
    session:flush()
    tag = nil -- luacheck: ignore
    collectgarbage()
    session:rollback()
    assert.is_nil(session:get(lib.Author, 5))
    assert.equal("b4", session:get(lib.Book, 4).title)
    assert.equal("t1", session:get(lib.Tag, 1).name)
  end)

  it("to a savepoint takes back what came since, and what was deleted and added with it", function()
    local lib = library.open()
    local session = lib.session
    local first = lib.Author { id = 5 }
    session:add(first)
    local book = session:get(lib.Book, 4)
    session:flush()
    local nested = session:begin_nested()
    local second = lib.Author { id = 6 }
    session:add(second)
    session:delete(book)
    first.id = 7
    session:flush()
    session:delete(second)
    session:flush()
    nested:rollback()
    assert.same({ "persistent", "transient", "persistent", 5 }, { state(first), state(second), state(book), first.id })
    session:delete(first)
    session:flush()
    assert.equal("deleted", state(first))
    session:rollback()
    assert.equal("transient", state(first))
    assert.equal("persistent", state(book))
  end)
end)

describe("a detached object", function()
  it("without a key, or with that of another one, cannot be added", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:expunge(author)
    local again = lib.session:get(lib.Author, 1)
    raises("InvalidRequestError", "use session:merge", lib.session.add, lib.session, author)
    raises("InvalidRequestError", "not in this session", lib.session.expunge, lib.session, author)
    lib.session:expunge(again)
    lib.session:add(author)
    raises("InvalidRequestError", "not in this session", lib.session.expunge, lib.session, again)
    local other = orm.Session(lib.engine)
    raises("InvalidRequestError", "session", other.add, other, author)
    raises("InvalidRequestError", "not in this session", other.expunge, other, author)
  end)

  it("that was expired before it left knows nothing, one that was deleted what it knew", function()
    local lib = library.open()
    local expired, deleted = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 4)
    lib.session:commit()
    lib.session:expunge(expired)
    raises("DetachedInstanceError", "name", function() return expired.name end)
    assert.equal("b4", deleted.title)
    lib.session:delete(deleted)
    lib.session:flush()
    lib.session:expunge(deleted)
    assert.equal("b4", deleted.title)
    lib.session:commit()
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM book"))
  end)

  it("with a value that it watched writes what was changed in it once it is back", function()
    local base = orm.declarative_base()
    local Note = base:model("Note", { __tablename__ = "note", id = Mapped(Integer, { primary_key = true }),
      tags = Mapped(Optional(orm.JSON)) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local note = Note { tags = { "a" } }
    session:add(note)
    session:commit()
    assert.same({ "a" }, note.tags)
    note.tags[2] = "b"
    session:flush()
    assert.same({ '["a","b"]' }, rows(session, "SELECT tags FROM note"))
    session:expunge(note)
    note.tags[3] = "c"
    session:add(note)
    note.tags = { "d" }
    session:commit()
    assert.same({ '["d"]' }, rows(engine, "SELECT tags FROM note"))
    assert.same({ "d" }, note.tags)
    session:delete(note)
    note.tags[1] = "e"
    session:commit()
    assert.same({ "0" }, rows(engine, "SELECT count(*) FROM note"))
  end)
end)

describe("a statement that deletes", function()
  it("takes objects out that are there, and no others", function()
    local lib = library.open()
    local session = lib.session
    local one, two = session:get(lib.Book, 1), session:get(lib.Book, 2)
    one.title = "changed"
    session:delete(two)
    session:no_autoflush(function()
      session:execute(orm.text("DELETE FROM book_tag"))
      session:execute(orm.delete(lib.Tag):where(orm.all))
      session:execute(orm.delete(lib.Book):where(lib.Book.id:le(2)))
    end)
    assert.same({ "deleted", "deleted" }, { state(one), state(two) })
    session:commit()
    assert.same({ "3", "4" }, rows(lib.engine, "SELECT id FROM book ORDER BY id"))
    assert.same({ "detached", "detached" }, { state(one), state(two) })
  end)
end)

describe("no session", function()
  it("is needed to hold on to a value of an object whose session the collector has taken", function()
    local lib = library.open()
    local author, book, lazy
    do
      local session = orm.Session(lib.engine)
      author, book, lazy = session:get(lib.Author, 1), session:get(lib.Book, 1), session:get(lib.Book, 3)
      assert.equal(author, book.author)
      assert.equal(2, #author.books)
      session:rollback()
      assert.equal("a1", author.name)
    end
    collectgarbage()
    collectgarbage()
    assert.equal("a1", author.name)
    raises("DetachedInstanceError", "author", function() return lazy.author end)
    raises("DetachedInstanceError", "books", function() return author.books end)
    local fresh = lib.Book { title = "fresh" }
    author.name = "b1"
    fresh.author = author
    lib.session:add(fresh)
    lib.session:commit()
    assert.same({ "fresh|1" }, rows(lib.engine, "SELECT title, author_id FROM book WHERE title = 'fresh'"))
    assert.same({ "b1" }, rows(lib.engine, "SELECT name FROM author WHERE id = 1"))
  end)

  -- What was made last is finalized first: here, before the session that goes with it.
  local function finalized(finalize)
    if newproxy then -- luacheck: ignore
      local proxy = newproxy(true) -- luacheck: ignore
      getmetatable(proxy).__gc = finalize
      return proxy
    end
    return setmetatable({}, { __gc = finalize })
  end

  it("is where a finalizer finds its objects whose session goes with it", function()
    local lib = library.open()
    local author, book, other, seen
    do
      local session = orm.Session(lib.engine)
      author = session:scalars(orm.select(lib.Author):options(orm.batchload(lib.Author.books))):first()
      book, other = session:get(lib.Book, 1), session:get(lib.Author, 2)
      session:get(lib.Author, 1)
      local held = { session, finalized(function()
        seen = {}
        author.name, other.name = "new", "other"
        for _, read in ipairs { function() return author.books end, function() return book.author end,
          function() return other.books:append(lib.Book { title = "x" }) end } do
          local ok, problem = pcall(read)
          seen[#seen + 1] = ok and "read" or problem.kind
        end
      end) }
      assert.equal(2, #held)
    end
    collectgarbage()
    collectgarbage()
    assert.equal(3, #seen)
    for _, what in ipairs(seen) do -- Lua 5.1 lets a finalizer have the session still
      assert.is_true(what == "read" or what == "DetachedInstanceError", what)
    end
    assert.same({ "new", "other" }, { author.name, other.name })
    lib.session:add_all { author, other }
    lib.session:commit()
    assert.same({ "new", "other" }, rows(lib.engine, "SELECT name FROM author WHERE id <= 2 ORDER BY id"))
  end)
end)
