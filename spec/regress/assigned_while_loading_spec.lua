-- A function that listens, or a finalizer, assigns a many-to-one while that is being loaded: what it assigned was lost without
-- a word, overwritten by what the database has.
local orm = require "orrery"
local library = require "spec.support.library"

local function with_finalizer(fn)
  if _VERSION == "Lua 5.1" then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = fn
    return proxy
  end
  return setmetatable({}, { __gc = fn })
end

describe("a many-to-one that is assigned while it is loaded", function()
  local lib, book, second
  before_each(function()
    lib = library.open()
    second = lib.session:get(lib.Author, 2)
    book = lib.session:scalars(orm.select(lib.Book):where(lib.Book.author_id:eq(1))):first()
  end)

  local function check()
    assert.equal(second, book.author)
    lib.session:commit()
    assert.equal(2, book.author_id)
  end

  it("by a listener, keeps what was assigned", function()
    local busy = false
    orm.event.listen(lib.engine, "after_cursor_execute", function()
      if not busy then
        busy = true
        book.author = second
      end
    end)
    local _ = book.author
    check()
  end)

  it("by a finalizer, keeps what was assigned", function()
    local lost = 0
    local session = orm.Session(orm.create_engine("sqlite://"))
    lib.base.metadata:create_all(session:connection())
    session:add(lib.Author { id = 1, name = "a", books = { lib.Book { id = 1, title = "t" } } })
    session:add(lib.Author { id = 2, name = "b" })
    session:commit()
    session:connection():ensure_begun()
    for round = 1, 1000 do
      session:expunge_all()
      local one, other = session:get(lib.Book, 1), session:get(lib.Author, 2)
      local assigned = false
      with_finalizer(function()
        one.author, assigned = other, true
      end)
      local waste
      for i = 1, round do
        waste = { i, waste and 1 }
      end
      local _ = one.author
      lost = lost + (assigned and one.author ~= other and 1 or 0)
      session:rollback()
      session:connection():ensure_begun()
    end
    assert.equal(0, lost)
  end)
end)
