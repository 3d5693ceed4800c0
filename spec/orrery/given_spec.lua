-- What an object says of its attributes in each of its states: which of them were given or loaded, which merge therefore takes,
-- and which inspect() shows as changed.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local rows = database.rows

local function sorted(list)
  table.sort(list)
  return table.concat(list, " ")
end

local function unloaded(object)
  return sorted(orm.inspect(object).unloaded)
end

local function history(object, name)
  local h = orm.inspect(object).attrs[name].history
  return { #h.added, #h.unchanged, #h.deleted }
end

describe("an object", function()
  it("that is new knows what it was given", function()
    local lib = library.open()
    local author = lib.Author {}
    assert.equal("books id name", unloaded(author))
    author.name = "x"
    assert.equal(0, #author.books)
    assert.equal("books id", unloaded(author))
    author.books = {}
    assert.equal("id", unloaded(author))
    author.books:append(lib.Book {})
    assert.same({ 1, 0, 0 }, history(author, "books"))
    local book = lib.Book { author = author }
    assert.same({ 1, 0, 0 }, history(book, "author"))
    assert.same({ 1, 0, 0 }, history(author, "name"))
    assert.same({ 0, 0, 0 }, history(author, "id"))
    lib.session:add(author)
    assert.same({ 2, 0, 0 }, history(author, "books"))
    assert.equal("id", unloaded(author))
    local empty = lib.Author { books = {} }
    lib.session:add(empty)
    assert.equal("id name", unloaded(empty))
  end)

  it("that is stored knows what was loaded, an empty list too", function()
    local lib = library.open()
    database.run(lib.engine, "INSERT INTO author VALUES (3, 'a3')")
    local author, lonely = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 3)
    assert.equal("books", unloaded(author))
    assert.same({ 2, 0 }, { #author.books, #lonely.books })
    assert.same({ "", "" }, { unloaded(author), unloaded(lonely) })
    assert.same({ 0, 2, 0 }, history(author, "books"))
    author.books:remove(author.books[1])
    author.books:append(lib.Book { title = "new" })
    assert.same({ 1, 1, 1 }, history(author, "books"))
    author.name = "x"
    assert.same({ 1, 0, 1 }, history(author, "name"))
    author.name = "a1"
    assert.same({ 0, 1, 0 }, history(author, "name"))
    local book = lib.session:get(lib.Book, 3)
    assert.equal("author tags", unloaded(book))
    book.author = nil
    assert.same({ 1, 0, 0 }, history(book, "author"))
    local other = lib.session:get(lib.Book, 4)
    assert.equal(2, other.author.id)
    other.author = nil
    assert.same({ 1, 0, 1 }, history(other, "author"))
    lib.session:flush()
    assert.same({ 0, 1, 0 }, history(book, "author"))
    lib.session:expire(author)
    assert.equal("books id name", unloaded(author))
    assert.same({ 0, 0, 0 }, history(author, "name"))
    lib.session:expire(lonely, { "books" })
    assert.equal("books", unloaded(lonely))
    lib.session:rollback()
    assert.equal("books id name", unloaded(lonely))
  end)

  it("that is detached or deleted knows what it knew", function()
    local lib = library.open()
    database.run(lib.engine, "INSERT INTO author VALUES (3, 'a3')")
    local author, lonely = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 3)
    assert.same({ 2, 0 }, { #author.books, #lonely.books })
    lib.session:expunge(author)
    assert.equal("", unloaded(author))
    lib.session:delete(lonely)
    lib.session:flush()
    assert.equal("", unloaded(lonely))
    lib.session:commit()
    assert.equal("", unloaded(lonely))
    lib.session:close()
    author.books = {}
    assert.same({ 0, 0, 2 }, history(author, "books"))
  end)
end)

describe("merge takes", function()
  local function books_of(lib, id)
    return rows(lib.session, ("SELECT id FROM book WHERE author_id = %d ORDER BY id"):format(id))
  end

  it("a list that was given, and leaves alone one that was only looked at", function()
    local lib = library.open()
    lib.session:merge(lib.Author { id = 1 })
    local looked = lib.Author { id = 1 }
    assert.equal(0, #looked.books)
    lib.session:merge(looked)
    lib.session:flush()
    assert.same({ "1", "2" }, books_of(lib, 1))
    lib.session:merge(lib.Author { id = 1, books = { lib.Book { id = 2 } } })
    lib.session:flush()
    assert.same({ "2" }, books_of(lib, 1))
    lib.session:merge(lib.Author { id = 1, books = {} })
    lib.session:flush()
    assert.same({}, books_of(lib, 1))
  end)

  it("what another session has loaded, an empty list too", function()
    local lib = library.open()
    database.run(lib.engine, "INSERT INTO author VALUES (3, 'a3')")
    local other = orm.Session(lib.engine)
    local full, lonely, unread = other:get(lib.Author, 1), other:get(lib.Author, 3), other:get(lib.Author, 2)
    assert.same({ 2, 0 }, { #full.books, #lonely.books })
    full.books:remove(full.books[1])
    other:expunge_all()
    other:close()
    database.run(lib.engine, "UPDATE book SET author_id = 3 WHERE id = 4")
    for _, author in ipairs { full, lonely, unread } do
      lib.session:merge(author)
    end
    lib.session:commit()
    assert.same({ "1|NULL", "2|1", "3|2", "4|NULL" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
  end)

  it("one that waits in another session", function()
    local lib = library.open()
    local other = orm.Session(lib.engine)
    local waiting, empty = lib.Author { name = "w", books = { lib.Book { title = "x" } } }, lib.Author { name = "e" }
    other:add_all { waiting, empty }
    assert.equal(0, #empty.books)
    local copy = lib.session:merge(waiting)
    assert.not_equal(waiting, copy)
    assert.equal("x", copy.books[1].title)
    assert.equal(0, #lib.session:merge(empty).books)
    lib.session:commit()
    other:rollback()
    other:close()
    assert.same({ "3" }, rows(lib.engine, "SELECT id FROM author WHERE name = 'w'"))
  end)
end)

describe("an object of a session that ended", function()
  it("by close, rollback or the collector can be added and changed again", function()
    for _, way in ipairs { "close", "drop", "rollback" } do
      local lib = library.open()
      local session = orm.Session(lib.engine)
      local author, new = session:get(lib.Author, 1), lib.Author { id = 7, name = "new" }
      local books = #author.books
      session:add(new)
      author.name = "changed"
      author.books[1].title = "title"
      if way == "drop" then
        session = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
      else
        session[way](session)
      end
      local other = orm.Session(lib.engine)
      if way == "rollback" then
        session:close()
      end
      assert.equal(2, books)
      other:add_all { author, new }
      author.name = "again"
      author.books:remove(author.books[2])
      other:commit()
      assert.same({ "1|again", "7|new" }, rows(lib.engine, "SELECT * FROM author WHERE id IN (1, 7) ORDER BY id"))
      assert.same({ "1|1|" .. (way == "rollback" and "b1" or "title"), "2|NULL|b2" },
        rows(lib.engine, "SELECT id, author_id, title FROM book WHERE id < 3 ORDER BY id"))
    end
  end)
end)

describe("many sessions at once", function()
  it("keep their objects apart", function()
    local lib = library.open()
    local sessions, authors = {}, {}
    for i = 1, 60 do
      sessions[i] = orm.Session(lib.engine)
      authors[i] = sessions[i]:get(lib.Author, 1)
      authors[i].name = "n" .. i
      sessions[i]:expunge(authors[i])
      if i % 3 == 0 then
        sessions[i]:close()
      elseif i % 3 == 1 then
        sessions[i - (i > 3 and 3 or 0)] = false
        collectgarbage()
      end
    end
    for i = 1, 60 do
      assert.equal("n" .. i, authors[i].name)
      assert.equal("detached", orm.inspect(authors[i]).state)
    end
    for i = 2, 60, 3 do
      assert.not_equal(authors[i], sessions[i]:get(lib.Author, 1))
      sessions[i]:close()
    end
  end)
end)
