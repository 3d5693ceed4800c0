-- What a collection does in a script's hands, and what it makes of it for the other side and for the database.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

local HAS_PAIRS = _VERSION ~= "Lua 5.1" -- __pairs: 5.2 and later
local HAS_INTEGERS = math.type ~= nil -- 5.3 and later: ipairs and the table library respect metamethods

local function titles(books)
  local list = {}
  for position, book in books do
    list[position] = book.title
  end
  return table.concat(list, " ")
end

-- A collection of new books a, b, c; a new one that is loaded from the database; one that is not loaded yet. Each way
-- gives author, books by title, and the library.
local WAYS = {
  new = function()
    local lib = library.empty()
    local books, list = {}, {}
    for position, title in ipairs { "a", "b", "c" } do
      books[title] = lib.Book { title = title }
      list[position] = books[title]
    end
    return lib.Author { books = list }, books, lib
  end,
}

local function stored(loaded)
  local author, books, lib = WAYS.new()
  lib.session:add(author)
  lib.session:commit()
  local _ = loaded and #author.books
  return author, books, lib
end
WAYS["stored and loaded"] = function()
  return stored(true)
end
WAYS["stored and not loaded"] = function()
  return stored(false)
end

local function sorted(words)
  local list = {}
  for word in words:gmatch("%S+") do
    list[#list + 1] = word
  end
  table.sort(list)
  return list
end

-- After the change: what the collection shows, whose author each book has, and, once written, the rows and what is read.
local function check(author, books, lib, expected)
  assert.equal(expected, titles(author.books))
  for title, book in pairs(books) do
    local inside = (" " .. expected .. " "):find(" " .. title .. " ", 1, true) ~= nil
    assert.equal(inside and author or nil, book.author, "author of " .. title)
  end
  lib.session:add(author)
  lib.session:commit()
  assert.same(sorted(expected),
    database.rows(lib.engine, "SELECT title FROM book WHERE author_id = " .. author.id .. " ORDER BY title"))
  assert.same(sorted(expected), sorted(titles(author.books)))
end

-- what it is, the change, the titles afterwards
local CHANGES = {
  { "append", function(author, books, lib)
    books.d = lib.Book { title = "d" }
    author.books:append(books.d)
  end, "a b c d" },
  { "assigning one beyond the last", function(author, books, lib)
    books.d = lib.Book { title = "d" }
    author.books[#author.books + 1] = books.d
  end, "a b c d" },
  { "extend", function(author, books, lib)
    books.d, books.e = lib.Book { title = "d" }, lib.Book { title = "e" }
    author.books:extend { books.d, books.e }
  end, "a b c d e" },
  { "insert at the end", function(author, books, lib)
    books.d = lib.Book { title = "d" }
    author.books:insert(4, books.d)
  end, "a b c d" },
  { "remove", function(author, books)
    author.books:remove(books.b)
  end, "a c" },
  { "pop", function(author, books)
    assert.equal(books.c, author.books:pop())
  end, "a b" },
  { "pop of a position", function(author, books)
    assert.equal(books.a, author.books:pop(1))
  end, "b c" },
  { "clear", function(author)
    author.books:clear()
  end, "" },
  { "nil at the last position", function(author)
    author.books[#author.books] = nil
  end, "a b" },
  { "assigning a position", function(author, books, lib)
    books.x = lib.Book { title = "x" }
    author.books[3] = books.x
  end, "a b x" },
  { "assigning the whole list", function(author, books, lib)
    books.x = lib.Book { title = "x" }
    author.books = { books.b, books.x }
  end, "b x" },
  { "assigning an empty list", function(author)
    author.books = {}
  end, "" },
  { "assigning itself", function(author)
    author.books = author.books
  end, "a b c" },
  { "taking the author from a book", function(_, books)
    books.b.author = nil
  end, "a c" },
  { "taking the author from a book by NULL", function(_, books)
    books.b.author = orm.null
  end, "a c" },
  { "giving a book the author", function(author, books, lib)
    books.d = lib.Book { title = "d" }
    lib.session:add(books.d)
    books.d.author = author
  end, "a b c d" },
  { "giving a book another author", function(_, books, lib)
    local other = lib.Author {}
    books.b.author = other
    assert.equal("b", titles(other.books))
    other.books:clear()
  end, "a c" },
  { "moving a book to another author's list", function(_, books, lib)
    local other = lib.Author {}
    other.books:append(books.a)
    assert.equal(other, books.a.author)
    books.a.author = nil
    assert.equal(0, #other.books)
  end, "b c" },
  { "out and in again", function(author, books)
    author.books:remove(books.c)
    assert.is_nil(books.c.author)
    author.books:append(books.c)
  end, "a b c" },
}

for _, way in ipairs { "new", "stored and loaded", "stored and not loaded" } do
  describe("in a collection that is " .. way .. ",", function()
    for _, change in ipairs(CHANGES) do
      it(change[1] .. " keeps both sides and the rows in step", function()
        local author, books, lib = WAYS[way]()
        change[2](author, books, lib)
        check(author, books, lib, change[3])
      end)
    end
  end)
end

describe("a collection", function()
  it("is its own iterator", function()
    local author, books = WAYS.new()
    local seen = {}
    for position, book in author.books do
      seen[position] = book
    end
    assert.same({ books.a, books.b, books.c }, seen)
    for _ in author.books do
      for position in author.books do
        seen[#seen + 1] = position
      end
    end
    assert.equal(12, #seen)
  end)

  it("has a length, positions, and nil beyond them", function()
    local author, books = WAYS.new()
    assert.equal(3, #author.books)
    assert.equal(books.b, author.books[2])
    assert.same({}, { author.books[0], author.books[4], author.books[1.5], author.books[-1] })
  end)

  it("finds objects", function()
    local author, books, lib = WAYS.new()
    assert.is_true(author.books:contains(books.c))
    assert.is_false(author.books:contains(lib.Book {}))
    assert.equal(3, author.books:index(books.c))
    assert.is_nil(author.books:index(lib.Book {}))
  end)

  it("gives a plain array that is the script's own", function()
    local author, books = WAYS.new()
    local list = author.books:to_table()
    assert.same({ books.a, books.b, books.c }, list)
    list[1] = nil
    assert.equal(3, #author.books)
  end)

  it("calls a function for each object", function()
    local author = WAYS.new()
    local seen = {}
    author.books:each(function(book, position)
      seen[#seen + 1] = book.title .. position
    end)
    assert.same({ "a1", "b2", "c3" }, seen)
    for position, book in author.books:each() do
      seen[#seen + 1] = position .. book.title
    end
    assert.same({ "1a", "2b", "3c" }, { seen[4], seen[5], seen[6] })
  end)

  it("is the same object at every read", function()
    local author = WAYS.new()
    assert.equal(author.books, author.books)
  end)

  it("keeps the order of inserts at any position", function()
    local author, books, lib = WAYS.new()
    books.x = lib.Book { title = "x" }
    author.books:insert(1, books.x)
    books.y = lib.Book { title = "y" }
    author.books:insert(3, books.y)
    assert.equal("x a y b c", titles(author.books))
    assert.equal(author, books.y.author)
  end)

  it("gives nothing for what is no position, and lets nil be put where nothing is", function()
    local author = WAYS.new()
    local list = author.books
    for _, position in ipairs { true, 1.5, -1, {} } do
      assert.is_nil(list[position])
    end
    list[4] = nil
    assert.equal(3, #list)
    assert.is_nil(list(nil, -5))
    assert.is_nil(list(nil, 3))
    list[2] = list[2]
    assert.equal("a b c", titles(list))
    assert.equal(author, list[2].author)
    list:clear()
    assert.is_nil(list:pop())
  end)

  it("shows what it holds as text", function()
    local author, books = WAYS.new()
    assert.equal(("[%s, %s, %s]"):format(tostring(books.a), tostring(books.b), tostring(books.c)), tostring(author.books))
    author.books:clear()
    assert.equal("[]", tostring(author.books))
  end)

  it("can be emptied while it is walked from behind", function()
    local author = WAYS.new()
    for position = #author.books, 1, -1 do
      author.books:pop(position)
    end
    assert.equal(0, #author.books)
    assert.is_nil(author.books:pop())
  end)

  it("takes another collection for extend and assignment", function()
    local author, _, lib = WAYS.new()
    local other = lib.Author {}
    other.books:extend(author.books)
    assert.equal("a b c", titles(other.books))
    assert.equal(0, #author.books)
    author.books = other.books
    assert.equal("a b c", titles(author.books))
    assert.equal(0, #other.books)
  end)

  if HAS_PAIRS then
    it("is walked by pairs", function()
      local author, books = WAYS.new()
      local seen = {}
      for position, book in pairs(author.books) do
        seen[position] = book
      end
      assert.same({ books.a, books.b, books.c }, seen)
    end)
  end

  if HAS_INTEGERS then
    it("is walked by ipairs", function()
      local author, books = WAYS.new()
      local seen = {}
      for position, book in ipairs(author.books) do
        seen[position] = book
      end
      assert.same({ books.a, books.b, books.c }, seen)
    end)

    for _, way in ipairs { "new", "stored and loaded", "stored and not loaded" } do
      it("that is " .. way .. " takes table.insert, table.remove, table.sort and table.unpack", function()
        local author, books, lib = WAYS[way]()
        books.d = lib.Book { title = "d" }
        table.insert(author.books, 1, books.d)
        assert.equal("d a b c", titles(author.books))
        assert.equal(author, books.d.author)
        assert.equal(books.a, table.remove(author.books, 2))
        assert.is_nil(books.a.author)
        table.sort(author.books, function(left, right)
          return left.title > right.title
        end)
        assert.equal("d c b", titles(author.books))
        assert.same({ books.d, books.c, books.b }, { table.unpack(author.books) })
        table.sort(author.books, function(left, right)
          return left.title < right.title
        end)
        check(author, books, lib, "b c d")
      end)
    end
  end

  it("that is only sorted or shifted writes nothing", function()
    local author, books, lib = stored(true)
    lib.record:take()
    local list = author.books
    list[1], list[2], list[3] = list[3], list[1], list[2]
    assert.equal("c a b", titles(list))
    for _, book in pairs(books) do
      assert.equal(author, book.author)
    end
    author.books = { books.b, books.a, books.c }
    lib.session:flush()
    assert.same({}, lib.record:take())
  end)

  it("may hold an object twice, and lets go of it with the last one", function()
    local author, books = WAYS.new()
    author.books:append(books.a)
    assert.equal("a b c a", titles(author.books))
    author.books:remove(books.a)
    assert.equal("b c a", titles(author.books))
    assert.equal(author, books.a.author)
    author.books:remove(books.a)
    assert.is_nil(books.a.author)
  end)

  it("leaves a row alone that was taken out and put back", function()
    local author, books, lib = stored(true)
    lib.record:take()
    author.books:remove(books.b)
    author.books:append(books.b)
    lib.session:flush()
    assert.same({}, lib.record:take())
    assert.equal(author.id, books.b.author_id)
  end)
end)

describe("a collection refuses", function()
  local function refused(words, fn)
    local author, books, lib = WAYS.new()
    raises("ArgumentError", words, fn, author.books, books, lib, author)
    assert.equal("a b c", titles(author.books))
    for _, book in pairs(books) do
      assert.equal(author, book.author)
    end
  end

  it("objects of another class, wherever they come in", function()
    for _, put in ipairs {
      function(list, item) list:append(item) end,
      function(list, item) list:insert(1, item) end,
      function(list, item) list:extend { item } end,
      function(list, item) list[1] = item end,
      function(list, item) list[4] = item end,
      function(_, item, author) author.books = { item } end,
    } do
      for _, what in ipairs { "tag", "text", "table", "number" } do
        refused({ "Author.books", "Book" }, function(list, _, lib, author)
          local values = { tag = lib.Tag {}, text = "Book", table = {}, number = 1 }
          put(list, values[what], author)
        end)
      end
    end
  end)

  it("an object of another class among several without taking the others", function()
    refused({ "Author.books", "Tag" }, function(_, _, lib, author)
      author.books = { lib.Book {}, lib.Tag {} }
    end)
  end)

  it("index 0, gaps, fractions and names", function()
    for _, position in ipairs { 0, -1, 5, 1.5, "first" } do
      refused("Author.books", function(list, _, lib)
        list[position] = lib.Book {}
      end)
    end
    for _, position in ipairs { 0, -1, 5, 1.5 } do
      refused("Author.books", function(list, _, lib)
        list:insert(position, lib.Book {})
      end)
      refused("Author.books", function(list)
        list:pop(position)
      end)
    end
  end)

  it("nil in the middle", function()
    refused({ "Author.books", "nil" }, function(list)
      list[2] = nil
    end)
    refused("Author.books", function(_, books, _, author)
      author.books = { books.a, nil, books.c }
    end)
    refused("Author.books", function(list)
      list:append(nil)
    end)
  end)

  it("more or less than one argument where one is needed, and places of an empty one", function()
    local author = WAYS.new()
    assert.is_false((pcall(author.books.append, author.books)))
    refused({ "Author.books", "extend" }, function(list)
      list:extend(5)
    end)
    refused({ "Author.books", "extend" }, function(list)
      list:extend(nil)
    end)
    author.books:clear()
    assert.is_false((pcall(author.books.pop, author.books, 1)))
  end)

  it("to be replaced by what is no list", function()
    for _, value in ipairs { 1, "x", true } do
      refused({ "Author.books", "array" }, function(_, _, _, author)
        author.books = value
      end)
    end
    refused("Author.books", function(_, _, _, author)
      author.books = nil
    end)
    refused("Author.books", function(_, books, _, author)
      author.books = books.a
    end)
    refused("Author.books", function(_, books, _, author)
      author.books = { first = books.a }
    end)
  end)

  it("removing what it does not hold", function()
    refused({ "Author.books", "not in" }, function(list, _, lib)
      list:remove(lib.Book {})
    end)
  end)

  it("removing by a position", function()
    refused({ "Author.books", "pop(position)" }, function(list)
      list:remove(1)
    end)
  end)

  it("a table that is more than an array", function()
    refused({ "Author.books", "a plain array of objects" }, function(_, books, _, author)
      author.books = setmetatable({ books.a }, { __index = function() return books.b end })
    end)
  end)

  it("to be shown by a tostring that gives no text", function()
    local globals = package.loaded._G
    local former = globals.tostring
    finally(function() globals.tostring = former end)
    refused({ "Author.books", "tostring() gave no string" }, function(list)
      globals.tostring = function() return {} end
      local ok, err = pcall(former, list)
      globals.tostring = former
      error(ok and "shown" or err, 0)
    end)
  end)

  it("methods it does not have", function()
    refused({ "Author.books", "push", "append" }, function(list, _, lib)
      list:push(lib.Book {})
    end)
  end)

  it("to be used after it was expired", function()
    local author, _, lib = stored(true)
    local list = author.books
    lib.session:commit()
    raises("InvalidRequestError", { "Author.books", "again" }, list.append, list, lib.Book {})
    author.books:append(lib.Book { title = "z" })
    assert.equal("a b c z", titles(author.books))
  end)
end)

describe("a collection that is not loaded", function()
  it("takes what the other side reports without a statement, and shows it once it is loaded", function()
    local lib = library.open(nil, { autoflush = false })
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 3)
    local gone = lib.session:get(lib.Book, 1)
    lib.record:take()
    book.author = author
    gone.author = nil
    assert.same({}, lib.record:take())
    assert.equal("b2 b3", titles(author.books))
    assert.same({ "SELECT book" }, lib.record:headlines())
    lib.session:flush()
    assert.same({ "1|NULL", "2|1", "3|1", "4|2" }, database.rows(lib.session, "SELECT id, author_id FROM book ORDER BY id"))
  end)

  it("shows a reported object once, though the flush has written it", function()
    local lib = library.open()
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 3)
    book.author = author
    lib.session:flush()
    assert.equal("b1 b2 b3", titles(author.books))
  end)

  it("merges with autoflush as without", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local new = lib.Book { title = "new" }
    lib.session:add(new)
    new.author = author
    assert.equal("b1 b2 new", titles(author.books))
    assert.equal(author, new.author)
  end)

  it("forgets reports that cancel out", function()
    local lib = library.open(nil, { autoflush = false })
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 3)
    book.author = author
    book.author = nil
    assert.equal("b1 b2", titles(author.books))
    local first = lib.session:get(lib.Book, 1)
    first.author = nil
    first.author = author
    assert.same({ "b1", "b2" }, sorted(titles(author.books)))
  end)

  it("leaves out what was given to another object and is not written yet", function()
    local lib = library.open(nil, { autoflush = false })
    local second, book = lib.session:get(lib.Author, 2), lib.session:get(lib.Book, 1)
    lib.session:expire_all()
    second.books:append(book)
    assert.equal(second, book.author)
    assert.equal("b2", titles(lib.session:get(lib.Author, 1).books))
    lib.session:commit()
    assert.equal("b2", titles(lib.session:get(lib.Author, 1).books))
  end)

  it("loads at the first change through it", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.record:take()
    author.books:append(lib.Book { title = "new" })
    assert.same({ "SELECT book" }, lib.record:headlines())
    assert.equal("b1 b2 new", titles(author.books))
  end)

  it("many-to-many merges reports too", function()
    local lib = library.open(nil, { autoflush = false })
    local book, tag = lib.session:get(lib.Book, 4), lib.session:get(lib.Tag, 2)
    local first = lib.session:get(lib.Book, 1)
    book.tags:append(tag)
    first.tags:remove(tag)
    lib.record:take()
    assert.equal("b4", titles(tag.books))
    assert.same({ "SELECT book" }, lib.record:headlines())
    lib.session:commit()
    assert.same({ "1|1", "2|1", "4|2" }, database.rows(lib.engine, "SELECT * FROM book_tag ORDER BY book_id"))
  end)
end)

it("a collection is shown whole, however long its objects' texts are", function()
  local lib, shown = library.empty(), nil
  function lib.Book.__tostring()
    return shown
  end
  local books = lib.Author { books = { lib.Book {} } }.books
  for _, size in ipairs { 256, 512, 1024, 2048, 4096, 8192 } do
    for length = size - 3, size + 1 do
      shown = ("x"):rep(length)
      assert.equal("[" .. shown .. "]", tostring(books))
    end
  end
end)
