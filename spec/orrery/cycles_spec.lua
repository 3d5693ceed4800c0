-- Objects that hold each other in a circle are collected when nothing else holds them, however they were loaded.
local orm = require "orrery"
local core = require "spec.support.core"
local library = require "spec.support.library"

local function collected(lib)
  for _ = 1, 3 do
    collectgarbage()
  end
  return #core.objects(lib.session[1]) == 0
end

-- Touches authors, their books, the way back, and tags with theirs: circles of two and three.
local function walk(authors)
  for _, author in ipairs(authors) do
    for _, book in author.books do
      assert.equal(author, book.author)
      for _, tag in book.tags do
        assert.is_true(#tag.books > 0)
      end
    end
  end
end

describe("a circle of objects is collected", function()
  for _, name in ipairs { "lazyload", "batchload", "selectinload", "joinedload", "subqueryload", "immediateload" } do
    it("when it came by " .. name, function()
      local lib = library.open()
      local path = orm[name](lib.Author.books)
      walk(lib.session:scalars(orm.select(lib.Author):options(path[name](path, lib.Book.tags))):unique():all())
      assert.is_true(collected(lib))
    end)
  end

  it("when it came in parts", function()
    local lib = library.open()
    local query = orm.select(lib.Author):options(orm.selectinload(lib.Author.books):joinedload(lib.Book.tags))
    for author in lib.session:scalars(query, nil, { yield_per = 1 }) do
      walk { author }
    end
    assert.is_true(collected(lib))
  end)

  it("when it was read again after a commit", function()
    local lib = library.open()
    local authors = lib.session:scalars(orm.select(lib.Author)):all()
    walk(authors)
    lib.session:commit()
    walk(authors)
    authors = nil -- luacheck: ignore
    assert.is_true(collected(lib))
  end)

  it("when it was added to a write-only collection and written", function()
    local lib = library.open { books = { lazy = "write_only", passive_deletes = true } }
    local function work()
      local author = lib.session:get(lib.Author, 1)
      local book = lib.Book { title = "new" }
      author.books:add(book)
      assert.equal(author, book.author)
      lib.session:flush()
    end
    work()
    assert.is_true(collected(lib))
  end)

  it("when it is detached", function()
    local lib = library.open()
    local seen = setmetatable({}, { __mode = "k" })
    for _, author in ipairs(lib.session:scalars(orm.select(lib.Author):options(orm.selectinload(lib.Author.books))):all()) do
      seen[author], seen[author.books[1]] = true, true
    end
    lib.session:close()
    for _ = 1, 3 do
      collectgarbage()
    end
    assert.is_nil(next(seen))
  end)
end)
