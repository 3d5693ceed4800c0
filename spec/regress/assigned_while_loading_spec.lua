-- A function that listens assigns a many-to-one while that is being loaded: what it assigned was lost without a word,
-- overwritten by what the database has.
local orm = require "orrery"
local library = require "spec.support.library"

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
end)
