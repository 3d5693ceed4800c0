-- Objects follow the database: what a rollback, and a flush that fails, takes back from both.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local states = require "spec.support.states"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local BOOKS = "SELECT id, author_id, title, year FROM book ORDER BY id"
local STORED = { "1|1|b1|2000", "2|1|b2|2000", "3|2|b3|2000", "4|2|b4|2000" }

local function titles(books)
  local list = {}
  for position, book in books do
    list[position] = book.title
  end
  return table.concat(list, " ")
end

describe("a rollback", function()
  it("makes new objects transient, with their values, and they can be added again", function()
    local lib = library.empty()
    local book = lib.Book { title = "new" }
    lib.session:add(book)
    lib.session:flush()
    lib.session:rollback()
    assert.equal("outside", states.of(lib.session, book))
    assert.equal("new", book.title)
    assert.equal(1, book.id)
    assert.same({}, rows(lib.engine, BOOKS))
    lib.session:add(book)
    lib.session:commit()
    assert.same({ "1|NULL|new|NULL" }, rows(lib.engine, BOOKS))
    assert.equal(book, lib.session:get(lib.Book, 1))
  end)

  it("makes those transient, too, that were expunged after their row was made", function()
    local lib = library.empty()
    local book = lib.Book { title = "new" }
    lib.session:add(book)
    lib.session:flush()
    lib.session:expunge(book)
    assert.equal("detached", orm.inspect(book).state)
    lib.session:rollback()
    assert.equal("transient", orm.inspect(book).state)
    lib.session:add(book)
    lib.session:commit()
    assert.same({ "1|NULL|new|NULL" }, rows(lib.engine, BOOKS))
  end)

  it("forgets new objects that were never flushed", function()
    local lib = library.open()
    local book = lib.Book { title = "new" }
    lib.session:add(book)
    lib.session:rollback()
    assert.equal("outside", states.of(lib.session, book))
    lib.session:commit()
    assert.same(STORED, rows(lib.engine, BOOKS))
  end)

  it("reads changed objects again, flushed or not", function()
    local lib = library.open()
    local flushed, unflushed = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    flushed.title = "x"
    lib.session:flush()
    unflushed.title = "y"
    lib.session:rollback()
    assert.same({}, lib.session.dirty)
    lib.record:take()
    assert.equal("b1", flushed.title)
    assert.same({ "SELECT book" }, lib.record:headlines())
    assert.equal("b2", unflushed.title)
  end)

  it("brings deleted objects back", function()
    local lib = library.open()
    local tag, marked = lib.session:get(lib.Tag, 1), lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    lib.session:flush()
    lib.session:delete(marked)
    lib.session:rollback()
    assert.equal("clean clean", states.list(lib.session, tag, marked))
    assert.equal("t1", tag.name)
    assert.equal(tag, lib.session:get(lib.Tag, 1))
    assert.equal(marked, lib.session:get(lib.Tag, 2))
    lib.session:commit()
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM book_tag"))
  end)

  it("restores both sides of relationships", function()
    local lib = library.open()
    local author, other = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local moved, tag = author.books[1], lib.session:get(lib.Tag, 1)
    other.books:append(moved)
    author.books[1].tags:clear()
    moved.tags = { tag }
    local new = lib.Book { title = "new" }
    author.books:append(new)
    lib.session:flush()
    assert.equal("b3 b4 b1", titles(other.books))
    lib.session:rollback()
    assert.equal("b1 b2", titles(author.books))
    assert.equal("b3 b4", titles(other.books))
    assert.equal(author, moved.author)
    assert.equal(2, #moved.tags)
    assert.equal(2, #tag.books)
    assert.equal("outside", states.of(lib.session, new))
    lib.session:commit()
    assert.same(STORED, rows(lib.engine, BOOKS))
  end)

  it("restores a changed primary key", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    book.id = 50
    lib.session:flush()
    assert.equal(book, lib.session:get(lib.Book, 50))
    lib.session:rollback()
    assert.equal("b4", book.title)
    assert.equal(4, book.id)
    assert.equal(book, lib.session:get(lib.Book, 4))
    assert.is_nil(lib.session:get(lib.Book, 50))
  end)

  it("restores a changed primary key that was not flushed", function()
    local lib = library.open()
    local book, tag = lib.session:get(lib.Book, 4), lib.session:get(lib.Tag, 2)
    book.id = 50
    lib.session:rollback()
    assert.equal("4 b4", book.id .. " " .. book.title)
    tag.id = 70
    lib.session:expire(tag)
    assert.equal("2 t2", tag.id .. " " .. tag.name)
    assert.same({}, lib.session.dirty)
  end)

  it("restores keys that were changed several times, and exchanged", function()
    local lib = library.open()
    run(lib.engine, "DELETE FROM book_tag")
    local one, two = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    for _, step in ipairs { { one, 50 }, { two, 1 }, { one, 2 }, { two, 60 }, { one, 1 } } do
      step[1].id = step[2]
      lib.session:flush()
    end
    lib.session:rollback()
    assert.equal("b1 b2", one.title .. " " .. two.title)
    assert.equal(one, lib.session:get(lib.Book, 1))
    assert.equal(two, lib.session:get(lib.Book, 2))
    assert.is_nil(lib.session:get(lib.Book, 60))
  end)

  it("of an insert and a delete of the same row leaves nothing behind", function()
    local lib = library.open()
    local new = lib.Tag { name = "new" }
    lib.session:add(new)
    lib.session:flush()
    lib.session:delete(new)
    lib.session:flush()
    lib.session:rollback()
    assert.equal("outside", states.of(lib.session, new))
    lib.session:add(new)
    lib.session:commit()
    assert.same({ "1|t1", "2|t2", "3|new" }, rows(lib.engine, "SELECT * FROM tag ORDER BY id"))
  end)

  it("of a delete and an insert under the same key gives the former object back", function()
    local lib = library.open()
    local old = lib.session:get(lib.Tag, 2)
    lib.session:delete(old)
    lib.session:flush()
    local new = lib.Tag { id = 2, name = "new" }
    lib.session:add(new)
    lib.session:flush()
    assert.equal(new, lib.session:get(lib.Tag, 2))
    lib.session:rollback()
    assert.equal(old, lib.session:get(lib.Tag, 2))
    assert.equal("t2", old.name)
    assert.equal("outside", states.of(lib.session, new))
  end)

  it("with nothing to take back is fine", function()
    local lib = library.open()
    lib.session:rollback()
    local book = lib.session:get(lib.Book, 1)
    lib.session:rollback()
    lib.session:rollback()
    assert.equal("b1", book.title)
  end)

  it("keeps objects attached whose row came before", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.session:rollback()
    assert.equal(book, lib.session:get(lib.Book, 1))
    book.title = "after"
    lib.session:commit()
    assert.same({ "after" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)

  it("lets a whole new graph be added again", function()
    local lib = library.empty()
    local author = lib.Author { name = "ann", books = { lib.Book { title = "a", tags = { lib.Tag { name = "t" } } },
      lib.Book { title = "b" } } }
    lib.session:add(author)
    lib.session:flush()
    lib.session:rollback()
    assert.equal("a b", titles(author.books))
    assert.same({}, rows(lib.engine, "SELECT * FROM author"))
    lib.session:add(author)
    lib.session:commit()
    assert.same({ "1|ann" }, rows(lib.engine, "SELECT * FROM author"))
    assert.same({ "1|1|a|NULL", "2|1|b|NULL" }, rows(lib.engine, BOOKS))
    assert.same({ "1|1" }, rows(lib.engine, "SELECT * FROM book_tag"))
  end)
end)

describe("a flush that fails", function()
  -- A library whose tags may not be called 'bad'.
  local function strict(options)
    local lib = library.open(nil, options)
    for _, trigger in ipairs { "INSERT ON tag WHEN new.name = 'bad' BEGIN SELECT raise(ABORT, 'bad')",
      "UPDATE ON tag WHEN new.name = 'bad' BEGIN SELECT raise(ABORT, 'bad')",
      "DELETE ON tag WHEN old.name = 't2' BEGIN SELECT raise(ABORT, 'kept')" } do
      run(lib.engine, "CREATE TRIGGER no_" .. trigger:match("%a+") .. " BEFORE " .. trigger .. "; END")
    end
    return lib
  end

  it("leaves rows and new objects as they were before, and the transaction usable", function()
    local lib = strict()
    local author, book, bad = lib.Author { name = "new" }, lib.Book { title = "new" }, lib.Tag { name = "bad" }
    author.books:append(book)
    book.tags:append(bad)
    lib.session:add(author)
    raises("IntegrityError", "bad", lib.session.flush, lib.session)
    assert.equal("new new new", states.list(lib.session, author, book, bad))
    assert.same({ "nil", "nil", "nil", "nil" }, { tostring(author.id), tostring(book.id), tostring(book.author_id),
      tostring(bad.id) })
    assert.same({ author, book, bad }, lib.session.new)
    assert.equal(author, book.author)
    assert.same(STORED, rows(lib.session, BOOKS))
    assert.is_true(lib.session:in_transaction())
    bad.name = "good"
    lib.session:commit()
    assert.same({ "3|new" }, rows(lib.engine, "SELECT * FROM author WHERE id > 2"))
    assert.same({ "5|3|new|NULL" }, rows(lib.engine, BOOKS .. " LIMIT -1 OFFSET 4"))
    assert.same({ "5|3" }, rows(lib.engine, "SELECT * FROM book_tag WHERE book_id = 5"))
  end)

  it("keeps what the transaction has done before", function()
    local lib = strict()
    lib.session:add(lib.Author { name = "before" })
    lib.session:flush()
    local bad = lib.Tag { name = "bad" }
    lib.session:add(bad)
    raises("IntegrityError", "bad", lib.session.flush, lib.session)
    lib.session:expunge(bad)
    lib.session:commit()
    assert.same({ "a1", "a2", "before" }, rows(lib.engine, "SELECT name FROM author ORDER BY id"))
  end)

  it("leaves changed objects changed, and their old values known", function()
    local lib = strict()
    local book, tag = lib.session:get(lib.Book, 1), lib.session:get(lib.Tag, 1)
    local author = lib.session:get(lib.Author, 2)
    book.title, book.author, tag.name = "x", author, "bad"
    raises("IntegrityError", "bad", lib.session.flush, lib.session)
    assert.equal("dirty dirty", states.list(lib.session, book, tag))
    assert.equal(1, book.author_id)
    assert.equal(author, book.author)
    assert.equal("x bad", book.title .. " " .. tag.name)
    book.title, tag.name = "b1", "t1"
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id" }, lib.record:headlines())
    lib.session:commit()
    assert.same({ "1|2|b1|2000" }, rows(lib.engine, BOOKS .. " LIMIT 1"))
  end)

  it("leaves deleted objects marked, and their children with their parent", function()
    local lib = strict()
    local author, tag = lib.session:get(lib.Author, 1), lib.session:get(lib.Tag, 2)
    local book = author.books[1]
    lib.session:delete(author)
    lib.session:delete(tag)
    raises("IntegrityError", "kept", lib.session.flush, lib.session)
    assert.equal("deleted deleted", states.list(lib.session, author, tag))
    assert.equal(1, book.author_id)
    assert.same(STORED, rows(lib.session, BOOKS))
    assert.same({ "3" }, rows(lib.session, "SELECT count(*) FROM book_tag"))
    lib.session:add(tag)
    lib.session:commit()
    assert.same({ "1|NULL|b1|2000", "2|NULL|b2|2000" }, rows(lib.engine, BOOKS .. " LIMIT 2"))
    assert.is_nil(book.author)
  end)

  it("leaves a changed primary key found under the old one", function()
    local lib = strict()
    local book, tag = lib.session:get(lib.Book, 4), lib.session:get(lib.Tag, 1)
    book.id, tag.name = 50, "bad"
    raises("IntegrityError", "bad", lib.session.flush, lib.session)
    lib.session:no_autoflush(function()
      assert.equal(book, lib.session:get(lib.Book, 4))
    end)
    tag.name = "good"
    lib.session:commit()
    assert.equal(book, lib.session:get(lib.Book, 50))
  end)

  it("may fail again and again", function()
    local lib = strict()
    local bad = lib.Tag { name = "bad" }
    lib.session:add(bad)
    for _ = 1, 5 do
      raises("IntegrityError", "bad", lib.session.flush, lib.session)
    end
    assert.same({ bad }, lib.session.new)
    lib.session:rollback()
    assert.same({}, lib.session.new)
  end)

  it("in the middle of many rows takes all of them back", function()
    local lib = strict()
    local tags = {}
    for number = 1, 100 do
      tags[number] = lib.Tag { name = number == 77 and "bad" or "n" .. number }
    end
    lib.session:add_all(tags)
    raises("IntegrityError", "bad", lib.session.flush, lib.session)
    for _, tag in ipairs(tags) do
      assert.is_nil(tag.id)
    end
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
    tags[77].name = "good"
    lib.session:commit()
    assert.equal(79, tags[77].id)
    assert.same({ "102" }, rows(lib.engine, "SELECT count(*) FROM tag"))
  end)

  it("because of autoflush says so where it happens", function()
    local lib = strict()
    lib.session:add(lib.Tag { name = "bad" })
    raises("IntegrityError", "bad", lib.session.scalars, lib.session, orm.select(lib.Book))
    local author = lib.session:no_autoflush(function() return lib.session:get(lib.Author, 1) end)
    raises("IntegrityError", "bad", function() return author.books end)
    lib.session:expunge_all()
    assert.equal(4, #lib.session:scalars(orm.select(lib.Book)):all())
  end)

  it("at commit leaves the transaction open, to be repaired or rolled back", function()
    local lib = strict()
    local bad = lib.Tag { name = "bad" }
    lib.session:add_all { lib.Author { name = "new" }, bad }
    raises("IntegrityError", "bad", lib.session.commit, lib.session)
    bad.name = "good"
    lib.session:commit()
    assert.same({ "new" }, rows(lib.engine, "SELECT name FROM author WHERE id = 3"))
  end)

  it("because a row is gone is a StaleDataError, and takes everything back", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 3)
    run(lib.session, "DELETE FROM book WHERE id = 3")
    first.title, second.title = "x", "y"
    local err = raises("StaleDataError", { "book" }, lib.session.flush, lib.session)
    assert.is_true(orm.is_error(err, "StaleDataError"))
    assert.equal("dirty dirty", states.list(lib.session, first, second))
    assert.same({ "b1" }, rows(lib.session, "SELECT title FROM book WHERE id = 1"))
    lib.session:expunge(second)
    lib.session:commit()
    assert.same({ "x" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)

  it("in a NOT NULL foreign key when the parent is deleted keeps parent and children", function()
    local lib = library.open { author_id = { nullable = false } }
    local author = lib.session:get(lib.Author, 1)
    lib.session:delete(author)
    local err = raises("IntegrityError", "NOT NULL", lib.session.flush, lib.session)
    assert.equal("book", err.table)
    lib.session:rollback()
    assert.equal("clean", states.of(lib.session, author))
    assert.equal(2, #author.books)
    assert.same(STORED, rows(lib.engine, BOOKS))
  end)

  it("in a hook leaves everything as it was", function()
    local lib = library.open()
    orm.event.listen(lib.session, "before_flush", function() error("stop", 0) end, { once = true })
    local book = lib.Book { title = "new" }
    lib.session:add(book)
    assert.same({ false, "stop" }, { pcall(lib.session.flush, lib.session) })
    assert.equal("new", states.of(lib.session, book))
    lib.session:flush()
    assert.equal(5, book.id)
  end)

  it("in a statement's listener leaves everything as it was", function()
    local lib = library.open()
    local calls = 0
    local function stop()
      calls = calls + 1
      if calls == 2 then
        error("stop", 0)
      end
    end
    orm.event.listen(lib.engine, "after_cursor_execute", stop)
    local author = lib.Author { name = "new", books = { lib.Book {} } }
    lib.session:add(author)
    local ok = pcall(lib.session.flush, lib.session)
    assert.is_false(ok)
    assert.is_nil(author.id)
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM author"))
    lib.session:commit()
    assert.equal(3, author.id)
    assert.same({ "3" }, rows(lib.engine, "SELECT author_id FROM book WHERE id = 5"))
  end)
end)

describe("what a hook may not do to a flush:", function()
  local ENDS = {
    ["session:rollback()"] = function(session) session:rollback() end,
    ["session:commit()"] = function(session) session:commit() end,
    ["session:close()"] = function(session) session:close() end,
    ["session:expunge_all()"] = function(session) session:expunge_all() end,
    ["a rollback on its connection"] = function(session) session:connection():rollback() end,
    ["a commit on its connection"] = function(session) session:connection():commit() end,
  }
  for _, what in ipairs { "session:rollback()", "session:commit()", "session:close()", "session:expunge_all()",
    "a rollback on its connection", "a commit on its connection" } do
    for _, event in ipairs { "before_cursor_execute", "after_cursor_execute" } do
      it("end it by " .. what .. " " .. event, function()
        local lib = library.open()
        local author = lib.Author { name = "new", books = { lib.Book { title = "new" } } }
        local calls = 0
        orm.event.listen(lib.engine, event, function()
          calls = calls + 1
          if calls == 2 then
            ENDS[what](lib.session)
          end
        end)
        lib.session:add(author)
        raises("InvalidRequestError", "", lib.session.flush, lib.session)
        assert.is_nil(author.id)
        lib.session:rollback()
        local committed = what == "a commit on its connection"
        assert.equal(committed and 1 or 0, #rows(lib.engine, "SELECT * FROM author WHERE id > 2"))
        assert.is_true(committed or #rows(lib.engine, "SELECT * FROM book WHERE id > 4") == 0)
        lib.session:add(lib.Author { name = "after" })
        lib.session:commit()
        assert.same({ "after" }, rows(lib.engine, "SELECT name FROM author WHERE name = 'after'"))
      end)
    end
  end

  if _VERSION ~= "Lua 5.1" then
    it("stop it for ever by a yield that nobody resumes", function()
      local lib = library.open()
      local book = lib.Book { title = "new" }
      orm.event.listen(lib.session, "before_flush", function() coroutine.yield() end, { once = true })
      local flush = coroutine.wrap(function()
        lib.session:add(book)
        lib.session:flush()
      end)
      flush()
      raises("InvalidRequestError", "flushing already", lib.session.flush, lib.session)
      lib.session:rollback()
      lib.session:add(book)
      lib.session:commit()
      assert.equal(5, book.id)
    end)
  end
end)

describe("a flush inside a flush", function()
  it("is refused, and the outer one goes on", function()
    local lib = library.open()
    local kind
    orm.event.listen(lib.session, "before_flush", function(session)
      local _, err = pcall(session.flush, session)
      kind = err.kind
    end)
    lib.session:add(lib.Author { name = "new" })
    lib.session:flush()
    assert.equal("InvalidRequestError", kind)
    assert.same({ "3" }, rows(lib.session, "SELECT count(*) FROM author"))
  end)
end)

it("a rollback leaves an object that was expunged and made transient as it is", function()
  local lib = library.empty()
  local book = lib.Book { title = "mine" }
  lib.session:add(book)
  lib.session:flush()
  lib.session:expunge(book)
  orm.make_transient(book)
  book.title = "still mine"
  lib.session:rollback()
  assert.same({ "transient", "still mine" }, { orm.inspect(book).state, book.title })
  book.id = nil
  lib.session:add(book)
  lib.session:commit()
  assert.same({ "still mine" }, rows(lib.session, "SELECT title FROM book"))
end)
