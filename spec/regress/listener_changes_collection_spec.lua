-- Listeners that changed the very collection of whose change they were told left it with four billion items, or with holes
-- that the next flush fell into; what they put in the place of an object was taken for one unseen.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local CHANGES = {
  pop = function(books) books:pop() end,
  remove = function(books) books:remove(books[2]) end,
  ["nil at the end"] = function(books) books[#books] = nil end,
  ["another at the end"] = function(books, lib) books[#books] = lib.Book { title = "x" } end,
  ["insert at the end"] = function(books, lib) books:insert(#books + 1, lib.Book { title = "x" }) end,
}

-- The books of an author of two, and a listener that does something once when one of them leaves or comes.
local function listened(what)
  local lib = library.open()
  local author, told = lib.session:get(lib.Author, 1), false
  for _, event in ipairs { "append", "remove" } do
    orm.event.listen(lib.Author.books, event, function()
      if not told then
        told = true
        what(author, lib.session)
      end
    end)
  end
  return lib, author
end

local function titles(books)
  local seen = {}
  for _, book in books do
    seen[#seen + 1] = book.title
  end
  return table.concat(seen, " ")
end

describe("a listener that changes the collection of whose change it is told", function()
  for name, change in pairs(CHANGES) do
    it("has the change refused where nothing is left to make it on: " .. name, function()
      local lib, author = listened(function(owner) owner.books:clear() end)
      raises("InvalidRequestError", "Author.books: a listener has moved", change, author.books, lib)
      assert.equal(0, #author.books)
      assert.equal("", titles(author.books))
      lib.session:flush()
      assert.equal(0, #author.books)
    end)

    it("has the change refused, rather than lost, where it rolls back: " .. name, function()
      local lib, author = listened(function(_, session) session:rollback() end)
      raises("InvalidRequestError", "Author.books: this collection was expired", change, author.books, lib)
      assert.equal("b1 b2", titles(author.books))
      lib.session:flush()
      assert.equal("b1 b2", titles(author.books))
    end)
  end

  it("may append to it", function()
    local lib, author
    lib, author = listened(function(owner) owner.books:append(lib.Book { title = "told" }) end)
    author.books:remove(author.books[1])
    assert.equal("b2 told", titles(author.books))
    author.books:insert(1, lib.Book { title = "first" })
    lib.session:commit()
    assert.equal("b2 told first", titles(author.books))
  end)
end)

describe("what a listener gives in the place of an object that comes into a collection", function()
  for _, given in ipairs { "x", 1, io.stdout, {} } do
    it("must be one, too: a " .. type(given), function()
      local lib = library.open()
      local author = lib.session:get(lib.Author, 1)
      orm.event.listen(lib.Author.books, "append", function() return given end, { retval = true })
      raises("ArgumentError", "takes objects of class 'Book'", author.books.append, author.books, lib.Book {})
      raises("ArgumentError", "takes objects of class 'Book'", function() author.books = { lib.Book {} } end)
      assert.equal("b1 b2", titles(author.books))
    end)
  end
end)

it("a collection that is walked from beyond all integers has nothing there", function()
  local lib = library.open()
  local books = lib.session:get(lib.Author, 1).books
  assert.is_nil((books(nil, math.maxinteger or 2 ^ 53)))
  assert.is_nil((books(nil, -1)))
end)
