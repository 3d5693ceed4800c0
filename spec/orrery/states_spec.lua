-- The states of objects, every move between them, and what is refused.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows

local function state(object)
  return orm.inspect(object).state
end

-- How an object comes into each state; each gives a library and an Author.
local MAKE = {
  transient = function(lib) return lib.Author { name = "x" } end,
  pending = function(lib)
    local author = lib.Author { name = "x" }
    lib.session:add(author)
    return author
  end,
  persistent = function(lib) return lib.session:get(lib.Author, 1) end,
  deleted = function(lib)
    local author = lib.session:get(lib.Author, 1)
    lib.session:delete(author)
    lib.session:flush()
    return author
  end,
  detached = function(lib)
    local author = lib.session:get(lib.Author, 1)
    lib.session:expunge(author)
    return author
  end,
}

local MOVES = {
  add = function(lib, author) lib.session:add(author) end,
  delete = function(lib, author) lib.session:delete(author) end,
  expunge = function(lib, author) lib.session:expunge(author) end,
  expire = function(lib, author) lib.session:expire(author) end,
  refresh = function(lib, author) lib.session:refresh(author) end,
  merge = function(lib, author) assert(lib.session:merge(author)) end,
  flush = function(lib) lib.session:flush() end,
  commit = function(lib) lib.session:commit() end,
  rollback = function(lib) lib.session:rollback() end,
  close = function(lib) lib.session:close() end,
  make_transient = function(_, author) orm.make_transient(author) end,
  make_transient_to_detached = function(_, author) orm.make_transient_to_detached(author) end,
}

-- The state after each move; false where the move is refused and changes nothing.
local AFTER = {
  transient = { add = "pending", delete = false, expunge = false, expire = false, refresh = false, merge = "transient",
    flush = "transient", commit = "transient", rollback = "transient", close = "transient", make_transient = "transient",
    make_transient_to_detached = false },
  pending = { add = "pending", delete = false, expunge = "transient", expire = false, refresh = false, merge = "persistent",
    flush = "persistent", commit = "persistent", rollback = "transient", close = "transient", make_transient = "transient",
    make_transient_to_detached = false },
  persistent = { add = "persistent", delete = "persistent", expunge = "detached", expire = "persistent", refresh = "persistent",
    merge = "persistent", flush = "persistent", commit = "persistent", rollback = "persistent", close = "detached",
    make_transient = "transient", make_transient_to_detached = false },
  deleted = { add = false, delete = "deleted", expunge = "detached", expire = false, refresh = false, flush = "deleted",
    commit = "detached", rollback = "persistent", close = "detached", make_transient = "transient",
    make_transient_to_detached = false },
  detached = { add = "persistent", delete = "persistent", expunge = false, expire = false, refresh = false, merge = "detached",
    flush = "detached", commit = "detached", rollback = "detached", close = "detached", make_transient = "transient",
    make_transient_to_detached = false },
}

for _, from in ipairs { "transient", "pending", "persistent", "deleted", "detached" } do
  describe("from " .. from, function()
    for _, move in ipairs { "add", "delete", "expunge", "expire", "refresh", "merge", "flush", "commit", "rollback", "close",
      "make_transient", "make_transient_to_detached" } do
      local to = AFTER[from][move]
      if to ~= nil then
        it(("%s %s"):format(move, to and "leads to " .. to or "is refused"), function()
          local lib = library.open({ books = { cascade = "all" } })
          local author = MAKE[from](lib)
          assert.equal(from, state(author))
          if to then
            MOVES[move](lib, author)
          else
            local ok, err = pcall(MOVES[move], lib, author)
            assert.is_false(ok)
            assert.equal("InvalidRequestError", err.kind)
            assert.is_truthy(err.message:find("Author", 1, true), err.message)
          end
          assert.equal(to or from, state(author))
        end)
      end
    end
  end)
end

describe("make_transient", function()
  it("lets a row be copied: the object keeps what it has loaded", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    orm.make_transient(book)
    assert.same({ 1, "b1", 2000 }, { book.id, book.title, book.year })
    assert.is_nil(orm.object_session(book))
    book.id = nil
    lib.session:add(book)
    lib.session:commit()
    assert.same({ "1|1|b1|2000", "5|1|b1|2000" }, rows(lib.engine, "SELECT * FROM book WHERE title = 'b1' ORDER BY id"))
  end)

  it("lets a deleted object be inserted again, under its key", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    lib.session:commit()
    assert.is_true(orm.was_deleted(tag))
    orm.make_transient(tag)
    assert.is_false(orm.was_deleted(tag))
    lib.session:add(tag)
    lib.session:commit()
    assert.same({ "1|t1", "2|t2" }, rows(lib.engine, "SELECT * FROM tag"))
  end)

  it("drops changes that waited", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.title = "changed"
    orm.make_transient(book)
    assert.equal("changed", book.title)
    lib.session:commit()
    assert.same({ "b1" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)
end)

describe("make_transient_to_detached", function()
  it("stands for a row that was never loaded", function()
    local lib = library.open()
    local book = lib.Book { id = 3, title = "b3" }
    orm.make_transient_to_detached(book)
    assert.equal("detached", state(book))
    lib.session:add(book)
    lib.record:take()
    assert.equal("b3", book.title)
    assert.same({}, lib.record:take())
    assert.equal(2, book.author_id)
    assert.same({ "SELECT book" }, lib.record:headlines())
    assert.equal(book, lib.session:get(lib.Book, 3))
  end)

  it("needs the key", function()
    local lib = library.open()
    raises("InvalidRequestError", { "Book", "no primary key" }, orm.make_transient_to_detached, lib.Book {})
    raises("UnmappedInstanceError", "make_transient_to_detached()", orm.make_transient_to_detached, 5)
  end)
end)

it("object_session gives the session of an object", function()
  local lib = library.open()
  local author = lib.Author {}
  assert.is_nil(orm.object_session(author))
  lib.session:add(author)
  assert.equal(lib.session, orm.object_session(author))
  lib.session:close()
  assert.is_nil(orm.object_session(author))
  raises("UnmappedInstanceError", "object_session()", orm.object_session, {})
end)

it("was_deleted tells of rows that a flush has deleted, until a rollback", function()
  local lib = library.open()
  local tag = lib.session:get(lib.Tag, 1)
  lib.session:delete(tag)
  assert.is_false(orm.was_deleted(tag))
  lib.session:flush()
  assert.is_true(orm.was_deleted(tag))
  lib.session:rollback()
  assert.is_false(orm.was_deleted(tag))
end)
