-- Relationships that a hook, a default function or the handler of a warning changed on an object that the running flush was
-- to write counted as written with it: their foreign keys and link rows were lost.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows = database.rows
local listen = orm.event.listen

local function contains(list, object)
  for _, item in ipairs(list) do
    if item == object then
      return true
    end
  end
  return false
end

local function once(class, name, fn)
  listen(class, name, function(_, _, object) fn(object) end, { once = true })
end

describe("a relationship changed by a hook, on an object that the flush writes,", function()
  for _, name in ipairs { "before_insert", "after_insert" } do
    it("is written with the next flush after " .. name, function()
      local lib = library.open()
      local author, tag = lib.session:get(lib.Author, 2), lib.session:get(lib.Tag, 1)
      local book = lib.Book { title = "new", author = lib.session:get(lib.Author, 1), tags = { lib.session:get(lib.Tag, 2) } }
      once(lib.Book, name, function(object)
        object.author = author
        object.tags = { tag }
      end)
      lib.session:add(book)
      lib.session:flush()
      assert.same({ "1" }, rows(lib.session, "SELECT author_id FROM book WHERE id = 5"))
      assert.same({ "2" }, rows(lib.session, "SELECT tag_id FROM book_tag WHERE book_id = 5"))
      assert.equal(author, book.author)
      assert.is_true(contains(lib.session.dirty, book))
      local history = orm.inspect(book).attrs.tags.history
      assert.same({ { tag }, { lib.session:get(lib.Tag, 2) } }, { history.added, history.deleted })
      lib.session:commit()
      assert.same({ "2" }, rows(lib.session, "SELECT author_id FROM book WHERE id = 5"))
      assert.same({ "1" }, rows(lib.session, "SELECT tag_id FROM book_tag WHERE book_id = 5"))
      assert.is_true(author.books:contains(book))
    end)
  end

  for _, name in ipairs { "before_update", "after_update" } do
    it("is written with the next flush after " .. name, function()
      local lib = library.open()
      local book, author, tag = lib.session:get(lib.Book, 1), lib.session:get(lib.Author, 2), lib.session:get(lib.Tag, 1)
      local _, _ = book.tags, book.author
      once(lib.Book, name, function(object)
        object.author = author
        object.tags:remove(tag)
      end)
      book.title = "changed"
      book.tags:remove(lib.session:get(lib.Tag, 2))
      lib.session:flush()
      assert.same({ "1|changed" }, rows(lib.session, "SELECT author_id, title FROM book WHERE id = 1"))
      assert.same({ "1" }, rows(lib.session, "SELECT tag_id FROM book_tag WHERE book_id = 1"))
      lib.session:commit()
      assert.same({ "2" }, rows(lib.session, "SELECT author_id FROM book WHERE id = 1"))
      assert.same({}, rows(lib.session, "SELECT tag_id FROM book_tag WHERE book_id = 1"))
      lib.session:flush()
      assert.equal(0, #lib.session.dirty)
    end)
  end

  it("is written with the next flush after after_flush, and after a default function", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Tag, 1), lib.session:get(lib.Tag, 2)
    local base = orm.declarative_base { metadata = lib.metadata }
    local Note = base:model("Note", {
      __tablename__ = "note",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      tag_id = orm.mapped_column(orm.Integer, orm.ForeignKey("tag.id")),
      text = orm.mapped_column(orm.String, { default = function(note)
        note.tag = first
        return "made"
      end }),
      tag = orm.relationship(lib.Tag),
    })
    lib.metadata:create_all(lib.engine)
    local note = Note {}
    lib.session:add(note)
    lib.session:flush()
    assert.same({ "NULL" }, rows(lib.session, "SELECT tag_id FROM note"))
    lib.session:flush()
    assert.same({ "1" }, rows(lib.session, "SELECT tag_id FROM note"))
    listen(lib.session, "after_flush", function() note.tag = second end, { once = true })
    note.text = "changed"
    lib.session:commit()
    assert.same({ "2" }, rows(lib.session, "SELECT tag_id FROM note"))
  end)

  it("of a list without another side is written with the next flush", function()
    local base = orm.declarative_base()
    local Item = base:model("Item", {
      __tablename__ = "item",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      box_id = orm.mapped_column(orm.Integer, orm.ForeignKey("box.id")),
    })
    local Box = base:model("Box", {
      __tablename__ = "box",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      items = orm.relationship(Item, { order_by = "Item.id" }),
    })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local first, second = Item {}, Item {}
    once(Box, "after_insert", function(box)
      box.items:remove(first)
      box.items:append(second)
    end)
    session:add(Box { items = { first } })
    session:flush()
    assert.same({ "1|1" }, rows(session, "SELECT id, box_id FROM item"))
    session:commit()
    assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, box_id FROM item ORDER BY id"))
  end)

  it("deletes orphans with the next flush", function()
    local lib = library.open { books = { cascade = "all, delete-orphan" } }
    local new, kept = lib.Book { title = "new" }, lib.Book { title = "kept" }
    local author = lib.Author { books = { new, kept } }
    once(lib.Author, "before_insert", function(object)
      object.books:remove(new)
    end)
    lib.session:add(author)
    lib.session:flush()
    assert.same({ "kept", "new" }, rows(lib.session, "SELECT title FROM book WHERE author_id = 3 ORDER BY title"))
    lib.session:commit()
    assert.same({ "kept" }, rows(lib.session, "SELECT title FROM book WHERE author_id = 3"))
    assert.is_true(orm.inspect(new).detached)
  end)

  it("is written once the flush succeeds that failed then", function()
    local lib = library.open()
    local author, tag = lib.session:get(lib.Author, 2), lib.session:get(lib.Tag, 2)
    local new, old = lib.Book { title = "new", tags = { lib.session:get(lib.Tag, 1) } }, lib.session:get(lib.Book, 2)
    local other = lib.session:get(lib.Book, 4)
    for _, name in ipairs { "after_insert", "after_update" } do
      listen(lib.Book, name, function(_, _, book)
        book.author = author
        book.tags:append(tag)
        error("no", 0)
      end, { once = true })
    end
    old.title, other.title = "changed", "changed"
    lib.session:add(new)
    assert.is_false((pcall(lib.session.flush, lib.session)))
    assert.is_false((pcall(lib.session.flush, lib.session)))
    assert.same({ new }, lib.session.new)
    lib.session:commit()
    assert.same({ "2|2|changed", "4|2|changed", "5|2|new" },
      rows(lib.engine, "SELECT id, author_id, title FROM book WHERE id IN (2, 4, 5) ORDER BY id"))
    assert.same({ "2|1", "2|2", "5|1", "5|2" },
      rows(lib.engine, "SELECT book_id, tag_id FROM book_tag WHERE book_id > 1 ORDER BY book_id, tag_id"))
  end)

  it("is written with the next flush when the handler of a warning made it", function()
    local lib = library.open { tags = { cascade = "merge" } }
    local book, other, tag = lib.session:get(lib.Book, 4), lib.session:get(lib.Book, 1), lib.session:get(lib.Tag, 1)
    other.tags:remove(tag)
    book.tags:append(lib.Tag {})
    local previous = orm.on_warning(function()
      book.tags:append(tag)
      other.tags = { tag }
    end)
    lib.session:commit()
    orm.on_warning(previous)
    assert.same({ "1|1", "4|1" }, rows(lib.engine, "SELECT book_id, tag_id FROM book_tag WHERE book_id IN (1, 4) ORDER BY 1"))
  end)

  it("gives way to an expiry", function()
    local lib = library.open()
    local book, author = lib.session:get(lib.Book, 1), lib.session:get(lib.Author, 2)
    once(lib.Book, "after_update", function(object)
      object.author = author
      lib.session:expire(object)
    end)
    book.title = "changed"
    lib.session:flush()
    assert.is_false(contains(lib.session.dirty, book))
    assert.equal(1, book.author.id)
    book.author = author
    lib.session:commit()
    assert.same({ "2|changed" }, rows(lib.engine, "SELECT author_id, title FROM book WHERE id = 1"))
  end)
end)

it("an object that a hook expires is read again, and not written as NULL", function()
  local lib = library.open()
  local book = lib.session:get(lib.Book, 1)
  once(lib.Book, "after_update", function(object) lib.session:expire(object) end)
  book.title = "changed"
  lib.session:commit()
  assert.same({ "1|1|changed|2000" }, rows(lib.engine, "SELECT * FROM book WHERE id = 1"))
  assert.equal(2000, book.year)
end)

describe("what a flush is about to do to an object, a hook cannot take back:", function()
  it("a write-only collection of it is refused", function()
    local lib = library.open { books = { lazy = "write_only", passive_deletes = true } }
    for _, change in ipairs { function(author) author.books:add(lib.Book {}) end,
      function(author) author.books:remove(lib.session:get(lib.Book, 1)) end } do
      local author = lib.session:get(lib.Author, 1)
      once(lib.Author, "after_update", change)
      author.name = "changed"
      raises("InvalidRequestError", { "Author.books", "after_flush_postexec" }, lib.session.flush, lib.session)
      lib.session:rollback()
    end
  end)

  it("its delete", function()
    local lib = library.open()
    local book, author = lib.session:get(lib.Book, 1), lib.session:get(lib.Author, 2)
    for _, change in ipairs { function(object) lib.session:add(object) end, function(object) object.author = author end } do
      once(lib.Book, "before_delete", change)
      lib.session:delete(book)
      raises("InvalidRequestError", { "Book", "is being deleted" }, lib.session.flush, lib.session)
      lib.session:rollback()
    end
    assert.same({ "1" }, rows(lib.session, "SELECT count(*) FROM book WHERE id = 1"))
  end)

  it("its insert or update, by expunging or deleting it", function()
    local lib = library.open()
    for _, call in ipairs { "expunge", "delete" } do
      once(lib.Book, "after_insert", function(object) lib.session[call](lib.session, object) end)
      lib.session:add(lib.Book { title = "new" })
      raises("InvalidRequestError", { "Book", "flush" }, lib.session.flush, lib.session)
      lib.session:rollback()
    end
    local book = lib.session:get(lib.Book, 1)
    once(lib.Book, "after_update", function(object) lib.session:expunge(object) end)
    book.title = "changed"
    raises("InvalidRequestError", { "Book", "flush" }, lib.session.flush, lib.session)
  end)
end)
