-- The statements by which objects are deleted: children first, foreign keys of those that stay set to NULL.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local states = require "spec.support.states"
local rows, run = database.rows, database.run

local function quietly(fn)
  local messages = {}
  local former = orm.on_warning(function(message)
    messages[#messages + 1] = message
  end)
  fn()
  orm.on_warning(former)
  return messages
end

describe("deleting", function()
  it("sets the foreign keys of children that were never loaded to NULL first", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.record:take()
    lib.session:flush()
    local seen = lib.record:take()
    assert.equal(3, #seen)
    assert.truthy(seen[1]:find("^SELECT"))
    assert.same({ "UPDATE book SET author_id = ? WHERE id = ? [[NULL, 1], [NULL, 2]]", "DELETE FROM author WHERE id = ? [1]" },
      { seen[2], seen[3] })
    assert.same({ "1|NULL", "2|NULL", "3|2", "4|2" }, rows(lib.session, "SELECT id, author_id FROM book ORDER BY id"))
  end)

  it("children with their parent deletes children first, whatever the order of asking, without an UPDATE", function()
    local lib = library.open()
    run(lib.engine, "DELETE FROM book_tag")
    local author = lib.session:get(lib.Author, 1)
    local first, second = author.books[1], author.books[2]
    lib.record:take()
    lib.session:delete(author)
    lib.session:delete(first)
    lib.session:delete(second)
    lib.session:flush()
    local seen = {}
    for _, one in ipairs(lib.record:take()) do
      if not one:find("^SELECT") then
        seen[#seen + 1] = one
      end
    end
    assert.same({ "DELETE FROM book_tag WHERE book_id IN (?, ?) [1, 2]", "DELETE FROM book WHERE id IN (?, ?) [1, 2]",
      "DELETE FROM author WHERE id = ? [1]" }, seen)
    assert.equal("outside outside outside", states.list(lib.session, author, first, second))
  end)

  it("children goes after every insert and update", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Author, 2))
    lib.session:get(lib.Author, 1).name = "x"
    lib.session:add(lib.Author { name = "new" })
    lib.session:flush()
    local seen = lib.record:headlines()
    assert.equal("DELETE author", seen[#seen])
  end)

  it("moves a child to another parent first where the script has", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book = first.books[1]
    book.author = second
    lib.session:delete(first)
    lib.session:commit()
    assert.same({ "1|2", "2|NULL" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id < 3 ORDER BY id"))
  end)

  it("leaves out what was linked to the object just before", function()
    local lib = library.open()
    local author, tag = lib.session:get(lib.Author, 2), lib.session:get(lib.Tag, 2)
    local stored, new = lib.session:get(lib.Book, 1), lib.Book { title = "new" }
    author.books:extend { stored, new }
    lib.session:get(lib.Book, 4).tags:append(tag)
    new.tags:append(tag)
    lib.session:delete(author)
    lib.session:delete(tag)
    lib.session:commit()
    assert.same({ "1|NULL", "2|1", "3|NULL", "4|NULL", "5|NULL" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
    assert.same({ "1|1", "2|1" }, rows(lib.engine, "SELECT * FROM book_tag ORDER BY 1"))
    assert.is_nil(new.author)
    assert.equal(0, #new.tags)
  end)

  it("many rows takes few statements", function()
    local lib = library.open()
    for number = 1, 200 do
      lib.session:add(lib.Tag { name = "n" .. number })
    end
    lib.session:commit()
    for _, tag in ipairs(lib.session:scalars(orm.select(lib.Tag):where(lib.Tag.id:gt(2))):all()) do
      lib.session:delete(tag)
    end
    lib.session:flush()
    local count = 0
    for _, one in ipairs(lib.record:headlines()) do
      count = count + (one == "DELETE tag" and 1 or 0)
    end
    assert.is_true(count >= 1 and count <= 20, count .. " statements")
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
  end)

  it("a row that is gone already only warns", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    run(lib.session, "DELETE FROM book_tag", "DELETE FROM tag WHERE id = 2")
    lib.session:delete(tag)
    local messages = quietly(function()
      lib.session:commit()
    end)
    assert.equal(1, #messages)
    assert.truthy(messages[1]:find("tag", 1, true))
  end)

  it("by a composite key", function()
    local base = orm.declarative_base()
    local Pair = base:model("Pair", { __tablename__ = "pair", a = orm.mapped_column(orm.Integer, { primary_key = true }),
      b = orm.mapped_column(orm.String, { primary_key = true }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add_all { Pair { a = 1, b = "x" }, Pair { a = 1, b = "y" }, Pair { a = 2, b = "x" }, Pair { a = 2, b = "y" } }
    session:commit()
    session:delete(session:get(Pair, { 1, "x" }))
    session:delete(session:get(Pair, { 2, "y" }))
    session:commit()
    assert.same({ "1|y", "2|x" }, rows(engine, "SELECT * FROM pair ORDER BY 1, 2"))
  end)

  it("an object that was changed writes no UPDATE of it", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 1)
    tag.name = "x"
    lib.session:delete(tag)
    lib.session:flush()
    for _, one in ipairs(lib.record:headlines()) do
      assert.is_nil(one:find("UPDATE", 1, true))
    end
  end)

  it("an expired object needs no more than its key", function()
    local lib = library.open()
    run(lib.engine, "DELETE FROM book_tag")
    local book = lib.session:get(lib.Book, 1)
    lib.session:commit()
    lib.session:delete(book)
    lib.session:commit()
    assert.same({ "2", "3", "4" }, rows(lib.engine, "SELECT id FROM book ORDER BY id"))
  end)

  it("both ends of a circle works", function()
    local base = orm.declarative_base()
    local Node = base:model("Node", { __tablename__ = "node", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      next_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
      next = orm.relationship("Node", { remote_side = "id" }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local a, b = Node {}, Node {}
    session:add_all { a, b }
    session:flush()
    a.next, b.next = b, a
    session:commit()
    assert.same({ "1|2", "2|1" }, rows(engine, "SELECT id, next_id FROM node ORDER BY id"))
    session:delete(a)
    session:delete(b)
    local ok, err = pcall(session.commit, session)
    if ok then
      assert.same({}, rows(engine, "SELECT * FROM node"))
    else
      assert.equal("CircularDependencyError", err.kind)
    end
  end)
end)

describe("a cascade of deletes", function()
  local ALL = { books = { cascade = "all, delete-orphan" }, tags = { cascade = "all" } }

  it("deletes children that were never loaded", function()
    local lib = library.open { books = { cascade = "all, delete-orphan" } }
    run(lib.engine, "DELETE FROM book_tag")
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.session:flush()
    assert.same({ "3", "4" }, rows(lib.session, "SELECT id FROM book ORDER BY id"))
    for _, one in ipairs(lib.record:headlines()) do
      assert.is_nil(one:find("UPDATE", 1, true))
    end
  end)

  it("goes on from children to their links and targets", function()
    local lib = library.open(ALL)
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.session:commit()
    assert.same({ "3", "4" }, rows(lib.engine, "SELECT id FROM book ORDER BY id"))
    assert.same({}, rows(lib.engine, "SELECT * FROM book_tag"))
    assert.same({}, rows(lib.engine, "SELECT * FROM tag"))
  end)

  it("deletes a child that is removed from its parent, without an UPDATE", function()
    local lib = library.open { books = { cascade = "all, delete-orphan" } }
    run(lib.engine, "DELETE FROM book_tag")
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    lib.record:take()
    author.books:remove(book)
    lib.session:flush()
    local seen = {}
    for _, one in ipairs(lib.record:headlines()) do
      if not one:find("SELECT") then
        seen[#seen + 1] = one
      end
    end
    assert.same({ "DELETE book_tag", "DELETE book" }, seen)
    assert.equal("outside", states.of(lib.session, book))
  end)

  it("does not delete a child that moves to another parent", function()
    local lib = library.open { books = { cascade = "all, delete-orphan" } }
    local first, second = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book, others = first.books[1], second.books
    first.books:remove(book)
    others:append(book)
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id" }, lib.record:headlines())
  end)

  it("leaves new orphans out", function()
    local lib = library.open { books = { cascade = "all, delete-orphan" } }
    local author, book = lib.session:get(lib.Author, 1), lib.Book { title = "new" }
    author.books:append(book)
    author.books:remove(book)
    lib.session:commit()
    assert.same({ "4" }, rows(lib.engine, "SELECT count(*) FROM book"))
  end)
end)

it("what expired objects held before is no matter for their deletion, several at once", function()
  local lib = library.open()
  local session = lib.session
  local one, other, tag = session:get(lib.Book, 3), session:get(lib.Book, 4), session:get(lib.Tag, 1)
  one.tags:append(tag)
  session:flush()
  session:rollback()
  session:delete(one)
  session:delete(other)
  session:commit()
  assert.same({ "1|1", "1|2", "2|1" }, database.rows(lib.engine, "SELECT * FROM book_tag ORDER BY 1, 2"))
  local first, second = session:get(lib.Author, 1), session:get(lib.Author, 2)
  assert.same({ 2, 0 }, { #first.books, #second.books })
  session:commit()
  database.run(lib.engine, "UPDATE book SET author_id = 2 WHERE id = 1")
  session:delete(first)
  session:delete(second)
  session:commit()
  assert.same({ "1|NULL", "2|NULL" }, database.rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
end)

describe("a deleted child", function()
  it("that is put with a parent that is deleted, too, goes all the same", function()
    for _, flushed in ipairs { false, true } do
      for _, side in ipairs { "list", "child" } do
        local lib = library.open()
        local session = lib.session
        local parent, child = session:get(lib.Author, 2), session:get(lib.Book, 1)
        assert.same({ 2, "a1" }, { #parent.books, child.author.name })
        session:delete(parent)
        if flushed then
          session:flush()
        end
        session:delete(child)
        if side == "list" then
          parent.books:append(child)
        else
          child.author = parent
        end
        session:commit()
        assert.equal("detached", orm.inspect(child).state)
        assert.same({ "2|1", "3|NULL", "4|NULL" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
        assert.same({ "1" }, rows(lib.engine, "SELECT id FROM author"))
      end
    end
  end)

  it("that is put with a parent that stays, stays as well", function()
    local lib = library.open()
    local parent, child = lib.session:get(lib.Author, 2), lib.session:get(lib.Book, 1)
    assert.equal(2, #parent.books)
    lib.session:delete(child)
    parent.books:append(child)
    lib.session:commit()
    assert.same({ "1|2" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id = 1"))
  end)
end)

it("a deleted child goes when it is put with a parent of another session, where nothing cascades", function()
  for _, side in ipairs { "list", "child" } do
    local lib = library.open { books = { cascade = "merge" }, author = { cascade = "merge" } }
    local session, other = lib.session, orm.Session(lib.engine)
    local child, parent = session:get(lib.Book, 1), lib.Author { id = 9, name = "a9" }
    assert.equal("a1", child.author.name)
    session:commit()
    other:add(parent)
    session:delete(child)
    quietly(function()
      if side == "list" then
        parent.books:append(child)
      else
        child.author = parent
      end
      session:commit()
      other:commit()
    end)
    assert.equal("detached", orm.inspect(child).state)
    assert.same({ "2", "3", "4" }, rows(lib.engine, "SELECT id FROM book ORDER BY id"))
    assert.same({ "9|a9" }, rows(lib.engine, "SELECT id, name FROM author WHERE id = 9"))
  end
end)
