-- What sessions, classes and attributes tell those who listen, and validators.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local listen = orm.event.listen

describe("a session tells", function()
  it("of flush, commit and rollback", function()
    local lib, seen = library.empty(), {}
    for _, name in ipairs { "before_flush", "after_flush", "before_commit", "after_commit", "after_rollback" } do
      listen(lib.session, name, function(session)
        assert.equal(lib.session, session)
        seen[#seen + 1] = name
      end)
    end
    lib.session:add(lib.Author {})
    lib.session:commit()
    lib.session:rollback()
    assert.same({ "before_commit", "before_flush", "after_flush", "after_commit", "after_rollback" }, seen)
  end)

  it("before a flush, so that more can come along", function()
    local lib = library.empty()
    listen(lib.session, "before_flush", function(session)
      for _, object in ipairs(session.new) do
        object.name = object.name .. "!"
      end
      session:add(lib.Tag { name = "t" })
    end, { once = true })
    lib.session:add(lib.Author { name = "x" })
    lib.session:commit()
    assert.same({ "1|x!" }, rows(lib.engine, "SELECT * FROM author"))
    assert.same({ "1|t" }, rows(lib.engine, "SELECT * FROM tag"))
  end)

  it("and stops those who never come to an end", function()
    local lib = library.empty()
    listen(lib.session, "after_flush", function(session) session:add(lib.Author {}) end)
    lib.session:add(lib.Author {})
    raises("FlushError", "100", lib.session.commit, lib.session)
  end)

  it("and keeps what listeners assign after the rows were written for the next flush", function()
    local lib = library.empty()
    local new, old, related = lib.Author { name = "new" }, lib.Author { name = "old" }, lib.Author { name = "related" }
    lib.session:add_all { old, related }
    lib.session:commit()
    listen(lib.session, "after_flush", function()
      new.name, old.name, related.name = "new, late", "old", "related, late"
    end, { once = true })
    local books = related.books
    lib.session:add(new)
    old.name = "changed"
    books:append(lib.Book { title = "b" })
    lib.session:flush()
    local written = rows(lib.engine, "SELECT name FROM author ORDER BY id")
    assert.same({ "changed", "related", "new" }, written)
    assert.same({ "new, late", "old", "related, late" }, { new.name, old.name, related.name })
    assert.same({ "new" }, orm.inspect(new).attrs.name.history.deleted)
    lib.session:commit()
    assert.same({ "1|old", "2|related, late", "3|new, late" }, rows(lib.engine, "SELECT id, name FROM author"))
  end)

  it("and loses what they assign after the rows were written where the flush fails", function()
    local lib = library.empty()
    local author = lib.Author { name = "before" }
    lib.session:add(author)
    lib.session:commit()
    listen(lib.session, "after_flush", function()
      author.name = "late"
      error("no", 0)
    end, { once = true })
    author.name = "changed"
    assert.is_false((pcall(lib.session.flush, lib.session)))
    lib.session:rollback()
    assert.equal("before", author.name)
  end)

  it("and goes on when a listener fails: nothing was written", function()
    local lib = library.empty()
    local author = lib.Author {}
    local listener = listen(lib.session, "before_flush", function() error("no") end)
    lib.session:add(author)
    assert.is_false((pcall(lib.session.flush, lib.session)))
    assert.equal("pending", orm.inspect(author).state)
    orm.event.remove(lib.session, "before_flush", listener)
    lib.session:commit()
    assert.same({ "1|NULL" }, rows(lib.engine, "SELECT * FROM author"))
  end)
end)

describe("a class tells", function()
  local NAMES = { "before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete" }

  it("of its rows in the order in which they are written", function()
    local lib, seen = library.open(), {}
    for _, class in ipairs { lib.Author, lib.Book } do
      for _, name in ipairs(NAMES) do
        listen(class, name, function(mapper, connection, target)
          assert.equal(class, mapper.class)
          assert.equal(lib.session:connection(), connection)
          seen[#seen + 1] = ("%s %s %s"):format(name, mapper.name, tostring(target.id))
        end)
      end
    end
    local author = lib.Author { name = "new", books = { lib.Book { title = "n" } } }
    lib.session:add(author)
    lib.session:get(lib.Book, 1).title = "x"
    lib.session:delete(lib.session:get(lib.Book, 3))
    lib.session:flush()
    assert.same({ "before_insert Author nil", "before_update Book 1", "before_insert Book nil", "before_delete Book 3",
      "after_insert Author 3", "after_update Book 1", "after_insert Book 5", "after_delete Book 3" }, seen)
  end)

  it("before the row is written, so that its columns can be set", function()
    local lib = library.open()
    listen(lib.Book, "before_insert", function(_, _, book) book.year = 1999 end)
    listen(lib.Book, "before_update", function(_, _, book) book.year = 2001 end)
    lib.session:add(lib.Book { title = "n" })
    lib.session:get(lib.Book, 1).title = "x"
    lib.session:commit()
    assert.same({ "1|2001", "5|1999" }, rows(lib.engine, "SELECT id, year FROM book WHERE id IN (1, 5) ORDER BY id"))
  end)

  it("and a connection to write more with", function()
    local lib = library.empty()
    listen(lib.Author, "after_insert", function(_, connection, author)
      connection:execute(orm.insert(lib.Tag.__table__):values { name = "log " .. author.id })
    end)
    lib.session:add_all { lib.Author {}, lib.Author {} }
    lib.session:commit()
    assert.same({ "log 1", "log 2" }, rows(lib.engine, "SELECT name FROM tag ORDER BY id"))
  end)

  it("and takes the flush back when a listener fails, before or after the row", function()
    for _, name in ipairs { "before_insert", "after_insert" } do
      local lib = library.empty()
      local author, tag = lib.Author { name = "x" }, lib.Tag { name = "t" }
      local listener = listen(lib.Author, name, function() error("no") end)
      lib.session:add_all { tag, author }
      assert.is_false((pcall(lib.session.flush, lib.session)))
      assert.same({ "pending", "pending" }, { orm.inspect(author).state, orm.inspect(tag).state })
      assert.is_nil(author.id)
      orm.event.remove(lib.Author, name, listener)
      lib.session:commit()
      assert.same({ "1|x" }, rows(lib.engine, "SELECT * FROM author"))
    end
  end)

  it("what is added meanwhile waits for the next flush", function()
    local lib = library.empty()
    listen(lib.Author, "after_insert", function(_, _, author) author.books:append(lib.Book { title = "extra" }) end)
    lib.session:add(lib.Author {})
    lib.session:flush()
    assert.equal(1, #lib.session.new)
    lib.session:commit()
    assert.same({ "1|1|extra|NULL" }, rows(lib.engine, "SELECT * FROM book"))
  end)

  it("only of events that there are", function()
    local lib = library.declare()
    raises("ArgumentError", "'before_insert'", listen, lib.Author, "before_insret", print)
  end)
end)

describe("an attribute tells", function()
  it("of every value that a script sets, with the former one", function()
    local lib, seen = library.open(), {}
    listen(lib.Book.title, "set", function(book, value, old)
      seen[#seen + 1] = ("%d %s %s"):format(book.id, value, tostring(old))
    end)
    local book = lib.session:get(lib.Book, 1)
    book.title = "x"
    book.title = "y"
    book.year = 1
    lib.session:rollback()
    local _ = book.title
    assert.same({ "1 x b1", "1 y x" }, seen)
  end)

  it("of what comes into a list and leaves it", function()
    local lib, seen = library.open(), {}
    local author = lib.session:get(lib.Author, 1)
    local one, two, new = author.books[1], author.books[2], lib.Book { title = "new" }
    for _, name in ipairs { "append", "remove" } do
      listen(lib.Author.books, name, function(owner, book)
        assert.equal(author, owner)
        seen[#seen + 1] = name .. " " .. book.title
      end)
    end
    author.books:append(new)
    author.books:remove(one)
    author.books[#author.books + 1] = one
    author.books = { two }
    assert.same({ "append new", "remove b1", "append b1", "append b2", "remove new", "remove b1" }, seen)
  end)

  it("of an object on the scalar side", function()
    local lib, seen = library.open(), {}
    local book, two = lib.session:get(lib.Book, 1), lib.session:get(lib.Author, 2)
    local _ = book.author
    listen(lib.Book.author, "set", function(_, value, old) seen[#seen + 1] = { value and value.id, old and old.id } end)
    book.author = two
    book.author = nil
    assert.same({ { 2, 1 }, { nil, 2 } }, seen)
  end)
end)

describe("validates", function()
  it("sees values on their way in, and says what is stored", function()
    local lib = library.open()
    orm.validates(lib.Book, "title", function(book, key, value)
      assert.equal(lib.Book, orm.inspect(book).class)
      assert.equal("title", key)
      return value and value:upper()
    end)
    assert.equal("NEW", lib.Book { title = "new" }.title)
    local book = lib.session:get(lib.Book, 1)
    assert.equal("b1", book.title)
    book.title = "set"
    assert.equal("SET", book.title)
    book.title = nil
    assert.is_nil(book.title)
  end)

  it("refuses by an error: the old value stays", function()
    local lib = library.open()
    orm.validates(lib.Book, "year", "title", function(_, key, value)
      assert(key ~= "year" or value > 0, "not that early")
      return value
    end)
    local book = lib.session:get(lib.Book, 1)
    assert.is_false((pcall(function() book.year = -5 end)))
    assert.equal(2000, book.year)
    assert.same({}, lib.session.dirty)
    assert.is_false((pcall(lib.Book, { year = -5 })))
  end)

  it("sees each object that comes into a list", function()
    local lib = library.open()
    orm.validates(lib.Author, "books", function(_, _, book)
      assert(book.title ~= "bad", "no such book")
      return book
    end)
    local author = lib.session:get(lib.Author, 1)
    for _, change in ipairs { function() author.books:append(lib.Book { title = "bad" }) end,
      function() author.books:insert(1, lib.Book { title = "bad" }) end,
      function() author.books[1] = lib.Book { title = "bad" } end,
      function() author.books[3] = lib.Book { title = "bad" } end,
      function() author.books = { lib.Book { title = "bad" } } end } do
      assert.is_false((pcall(change)))
      assert.equal(2, #author.books)
    end
    assert.is_false((pcall(lib.Author, { books = { lib.Book { title = "bad" } } })))
    author.books:append(lib.Book { title = "good" })
    assert.equal(3, #author.books)
  end)

  it("must return what to store", function()
    local lib = library.declare()
    orm.validates(lib.Book, "title", function() end)
    raises("ArgumentError", { "Book.title", "return" }, lib.Book, { title = "x" })
    raises("ArgumentError", "did you mean 'title'", orm.validates, lib.Book, "titel", print)
    raises("ArgumentError", "the function", orm.validates, lib.Book, "title")
  end)
end)

it("a session tells of every change of state", function()
  local lib, seen = library.open(), {}
  for _, name in ipairs { "transient_to_pending", "pending_to_transient", "pending_to_persistent", "persistent_to_transient",
    "persistent_to_deleted", "deleted_to_persistent", "deleted_to_detached", "persistent_to_detached",
    "detached_to_persistent" } do
    listen(lib.session, name, function(session, object)
      assert.equal(lib.session, session)
      seen[#seen + 1] = name .. " " .. object.name
    end)
  end
  local function told(...)
    assert.same({ ... }, seen)
    seen = {}
  end
  local author, tag = lib.Author { name = "a" }, lib.session:get(lib.Tag, 2)
  lib.session:add(author)
  lib.session:expunge(author)
  told("transient_to_pending a", "pending_to_transient a")
  lib.session:add(author)
  lib.session:delete(tag)
  lib.session:execute(orm.text("DELETE FROM book_tag"))
  told("transient_to_pending a", "pending_to_persistent a", "persistent_to_deleted t2")
  lib.session:rollback()
  told("persistent_to_transient a", "deleted_to_persistent t2")
  lib.session:add(author)
  lib.session:commit()
  told("transient_to_pending a", "pending_to_persistent a")
  local _ = author.name
  lib.session:expunge(author)
  lib.session:add(author)
  told("persistent_to_detached a", "detached_to_persistent a")
  lib.session:execute(orm.text("DELETE FROM book_tag"))
  assert.equal("t2", tag.name)
  lib.session:delete(tag)
  lib.session:commit()
  told("persistent_to_deleted t2", "deleted_to_detached t2")
end)

describe("a relationship that a hook changes twice", function()
  local function open()
    local lib = library.open()
    local session = lib.session
    local book, one, two = session:get(lib.Book, 1), session:get(lib.Author, 1), session:get(lib.Author, 2)
    assert.same({ one, 2, 2, 2 }, { book.author, #book.tags, #one.books, #two.books })
    return lib, session, book, one, two
  end

  it("is written as it was left, with the next flush", function()
    local lib, session, book, one, two = open()
    local other = lib.Author { name = "a3" }
    session:add(other)
    session:flush()
    listen(lib.Book, "after_update", function(_, _, object)
      object.author = one
      object.author = other
      object.tags:clear()
      object.tags:append(session:get(lib.Tag, 2))
    end, { once = true })
    book.author, book.title = two, "x"
    book.tags:remove(session:get(lib.Tag, 2))
    session:flush()
    assert.same({ "2|x" }, rows(session, "SELECT author_id, title FROM book WHERE id = 1"))
    assert.same({ "1" }, rows(session, "SELECT tag_id FROM book_tag WHERE book_id = 1"))
    assert.equal(other, book.author)
    session:commit()
    assert.same({ "3|x" }, rows(session, "SELECT author_id, title FROM book WHERE id = 1"))
    assert.same({ "2" }, rows(session, "SELECT tag_id FROM book_tag WHERE book_id = 1"))
    assert.same({ other, 1 }, { book.author, #book.tags })
  end)

  it("is what a failing flush takes back with it, of new and of stored objects", function()
    local lib, session, book, one, two = open()
    local new = lib.Book { title = "new" }
    session:add(new)
    for _, name in ipairs { "after_update", "after_insert" } do
      listen(lib.Book, name, function(_, _, object)
        object.author = one
        object.author = two
        object.tags:append(lib.Tag { name = "t" })
        if object == book then
          error("no more")
        end
      end)
    end
    book.title = "x"
    assert.has_error(function() session:flush() end)
    session:rollback()
    assert.same({ "1|1|b1", "2|1|b2", "3|2|b3", "4|2|b4" }, rows(session, "SELECT id, author_id, title FROM book ORDER BY id"))
    assert.same({ "1|1", "1|2", "2|1" }, rows(session, "SELECT * FROM book_tag ORDER BY 1, 2"))
    assert.same({ one, 2, 2, 2 }, { book.author, #book.tags, #one.books, #two.books })
    assert.equal("transient", orm.inspect(new).state)
  end)
end)
