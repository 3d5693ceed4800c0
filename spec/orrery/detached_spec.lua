-- Loading for an object that is in no session: the error says how it came to that, and what to write.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local function refuses(object, attribute, words)
  raises("DetachedInstanceError", words, function() return object[attribute] end)
end

describe("a detached object", function()
  it("names class, attribute, how it was detached, and the option to write", function()
    local lib = library.open()
    local author, other = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    lib.session:expunge(author)
    refuses(author, "books", { "Author.books", "expunged", ":options(orm.selectinload(Author.books))" })
    lib.session:close()
    refuses(other, "books", { "Author.books", "session was closed" })
  end)

  it("tells a deleted row, and a session that was collected", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    lib.session:delete(book)
    lib.session:commit()
    refuses(book, "author", { "Book.author", "deleted", "committed" })
    local author = (function()
      return orm.Session(lib.engine):get(lib.Author, 1)
    end)()
    collectgarbage()
    collectgarbage()
    refuses(author, "books", { "Author.books", "collected" })
  end)

  it("tells one that was never in a session", function()
    local lib = library.open()
    local author = lib.Author { id = 1 }
    orm.make_transient_to_detached(author)
    refuses(author, "name", { "Author.name", "never" })
  end)

  it("says so of a deferred column, too", function()
    local lib = library.open()
    local book = lib.session:scalars(orm.select(lib.Book):options(orm.defer(lib.Book.title))):first()
    lib.session:close()
    refuses(book, "title", { "Book.title", "session was closed" })
  end)
end)
