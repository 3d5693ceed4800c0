-- Who was warned, in the middle of a flush, of an object that is not saved along, and changed the collection then, had the
-- flush go on with what stood there no more; of an object appended to a collection without a cascade nobody was warned.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"

local NO_CASCADE = { cascade = "merge" }

-- What a flush warns of; `answer` is called at the first warning.
local function warnings(session, answer)
  local seen = {}
  local previous = orm.on_warning(function(message)
    seen[#seen + 1] = message
    if #seen == 1 and answer then
      answer()
    end
  end)
  session:flush()
  orm.on_warning(previous)
  return seen
end

describe("a warning of objects that are not saved along", function()
  it("comes for what was appended to a collection that does not cascade", function()
    local lib = library.open { books = NO_CASCADE, author = NO_CASCADE }
    local author = lib.session:get(lib.Author, 1)
    author.books:append(lib.Book { title = "lost" })
    local seen = warnings(lib.session)
    assert.equal(1, #seen)
    assert.truthy(seen[1]:find("Author.books holds an object of class 'Book' that is not in the session", 1, true))
    assert.same({}, database.rows(lib.session, "SELECT title FROM book WHERE title = 'lost'"))
  end)

  it("may be answered by taking them all out", function()
    local lib = library.open { tags = NO_CASCADE }
    local book = lib.session:get(lib.Book, 3)
    for _ = 1, 3 do
      book.tags:append(lib.Tag {})
    end
    assert.equal(1, #warnings(lib.session, function() book.tags:clear() end))
    assert.equal(0, #book.tags)
    assert.same({}, database.rows(lib.session, "SELECT tag_id FROM book_tag WHERE book_id = 3"))
  end)

  it("may be answered by adding them", function()
    local lib = library.open { books = NO_CASCADE, author = NO_CASCADE }
    local author, books = lib.session:get(lib.Author, 1), {}
    for number = 1, 3 do
      books[number] = lib.Book { title = "late" }
      books[number].author = author
    end
    warnings(lib.session, function() lib.session:add_all(books) end)
    lib.session:commit()
    assert.same({ "1", "1", "1" }, database.rows(lib.session, "SELECT author_id FROM book WHERE title = 'late'"))
  end)
end)
