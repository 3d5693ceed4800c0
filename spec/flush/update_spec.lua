-- The statements by which changes are written: only what differs, in primary key order, neighbours of one shape together.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local function books(lib)
  local list = lib.session:scalars(orm.select(lib.Book):order_by(lib.Book.id)):all()
  lib.record:take()
  return list
end

describe("updating", function()
  it("writes the columns that differ, by primary key", function()
    local lib = library.open()
    local list = books(lib)
    list[2].year, list[2].title = 1999, "x"
    lib.session:flush()
    assert.same({ "UPDATE book SET title = ?, year = ? WHERE id = ? [x, 1999, 2]" }, lib.record:take())
  end)

  it("goes in primary key order; neighbours that set the same columns are one run", function()
    local lib = library.open()
    local list = books(lib)
    list[4].year, list[3].title, list[2].year, list[1].year = 7, "x", 7, 7
    lib.session:flush()
    assert.same({
      "UPDATE book SET year = ? WHERE id = ? [[7, 1], [7, 2]]",
      "UPDATE book SET title = ? WHERE id = ? [x, 3]",
      "UPDATE book SET year = ? WHERE id = ? [7, 4]",
    }, lib.record:take())
    assert.same({ "b1|7", "b2|7", "x|2000", "b4|7" }, rows(lib.session, "SELECT title, year FROM book ORDER BY id"))
  end)

  it("writes nothing where nothing differs in the end", function()
    local lib = library.open()
    local list = books(lib)
    list[1].title = "b1"
    list[2].title = "x"
    list[2].title = "b2"
    list[3].year = nil
    list[3].year = 2000
    list[4].author = lib.session:get(lib.Author, 1)
    list[4].author = lib.session:get(lib.Author, 2)
    lib.record:take()
    lib.session:flush()
    assert.same({}, lib.record:take())
    assert.same({}, lib.session.dirty)
  end)

  it("writes what changes after a flush that found former changes dropped", function()
    for _, drop in ipairs { "expire", "refresh" } do
      local lib = library.open()
      local list = books(lib)
      list[1].title = "lost"
      lib.session[drop](lib.session, list[1])
      lib.session:flush()
      list[1].year = 1
      assert.same({ list[1] }, lib.session.dirty)
      lib.session:flush()
      assert.same({ "b1|1" }, rows(lib.session, "SELECT title, year FROM book WHERE id = 1"))
    end
  end)

  it("writes what changes in an object that was changed while it was deleted, and is back", function()
    local lib = library.open()
    local book = books(lib)[1]
    local savepoint = lib.session:begin_nested()
    lib.session:delete(book)
    lib.session:flush()
    book.title = "lost"
    lib.session:flush()
    savepoint:rollback()
    book.year = 1
    lib.session:flush()
    assert.same({ "b1|1" }, rows(lib.session, "SELECT title, year FROM book WHERE id = 1"))
  end)

  it("tells NULL, empty text and zero apart", function()
    local lib = library.open()
    run(lib.engine, "UPDATE book SET title = NULL, year = NULL WHERE id = 1", "UPDATE book SET title = '', year = 0 WHERE id = 2")
    local list = books(lib)
    list[1].title, list[1].year, list[2].title, list[2].year = "", 0, nil, nil
    lib.session:flush()
    assert.same({ "UPDATE book SET title = ?, year = ? WHERE id = ? [[, 0, 1], [NULL, NULL, 2]]" }, lib.record:take())
  end)

  it("of an object with only assigned attributes needs no SELECT", function()
    local lib = library.open()
    local list = books(lib)
    lib.session:commit()
    list[1].title = "x"
    lib.session:commit()
    assert.same({ "UPDATE book SET title = ? WHERE id = ? [x, 1]" }, lib.record:take())
  end)

  it("sets the foreign key when a child moves, and only that", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    second.books:append(first.books[1])
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id = ? WHERE id = ? [2, 1]" }, lib.record:take())
  end)

  it("sets it to NULL when a child leaves", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    author.books:clear()
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id = ? WHERE id = ? [[NULL, 1], [NULL, 2]]" }, lib.record:take())
  end)

  it("goes before inserts of the same table, and parents before children", function()
    local lib = library.open()
    local list = books(lib)
    lib.session:get(lib.Author, 1).name = "x"
    list[1].title = "y"
    lib.session:add(lib.Book { title = "new", author = lib.Author { name = "new" } })
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE author SET name", "INSERT author", "UPDATE book SET title", "INSERT book" }, lib.record:headlines())
  end)

  it("of a key tells the one object that is loaded beside it", function()
    local base = orm.declarative_base()
    local T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Text, { primary_key = true }),
      kid = orm.relationship("K", { back_populates = "t", uselist = false }) })
    base:model("K", { __tablename__ = "k", id = orm.Column(orm.Integer, { primary_key = true }),
      t_id = orm.Column(orm.ForeignKey("t.id", { onupdate = "CASCADE" })),
      t = orm.relationship("T", { back_populates = "kid" }) })
    local engine = database.create(base)
    run(engine, "INSERT INTO t VALUES ('a')", "INSERT INTO k VALUES (1, 'a')")
    local session = orm.Session(engine)
    local one = session:get(T, "a")
    local kid = one.kid
    one.id = "c"
    session:flush()
    assert.equal("c", kid.t_id)
    assert.same({ "1|c" }, rows(session, "SELECT * FROM k"))
    session:close()
  end)

  it("gives a stored child the key of a new parent", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.author = lib.Author { name = "new" }
    lib.record:take()
    lib.session:flush()
    assert.same({ "INSERT INTO author (name) VALUES (?) [new]", "UPDATE book SET author_id = ? WHERE id = ? [3, 1]" },
      lib.record:take())
    assert.equal(3, book.author_id)
  end)

  it("of a row that is gone is a StaleDataError naming the table", function()
    local lib = library.open()
    local list = books(lib)
    run(lib.session, "DELETE FROM book WHERE id = 4")
    list[4].title = "x"
    raises("StaleDataError", { "UPDATE", "book" }, lib.session.flush, lib.session)
  end)

  it("changes a primary key by its old value", function()
    local lib = library.open()
    local list = books(lib)
    list[4].id, list[4].title = 50, "x"
    lib.session:flush()
    assert.same({ "UPDATE book SET id = ?, title = ? WHERE id = ? [50, x, 4]" }, lib.record:take())
    list[4].title = "y"
    lib.session:flush()
    assert.same({ "UPDATE book SET title = ? WHERE id = ? [y, 50]" }, lib.record:take())
  end)

  it("swaps children between parents in one flush", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    first.books, second.books = second.books:to_table(), first.books:to_table()
    lib.session:commit()
    assert.same({ "1|2", "2|2", "3|1", "4|1" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
    assert.equal(2, #first.books)
    assert.equal(first, lib.session:get(lib.Book, 3).author)
  end)

  it("leaves bytes alone that are the same, whether the row has them as text or as a blob", function()
    local base = orm.declarative_base()
    local Photo = base:model("Photo", { __tablename__ = "photo", id = orm.Mapped(orm.Integer, { primary_key = true }),
      data = orm.mapped_column(orm.LargeBinary) })
    local engine = database.create(base)
    run(engine, "INSERT INTO photo VALUES (1, 'abc'), (2, x'616263')")
    local session = orm.Session(engine)
    local record = require("spec.support.statements").record(engine)
    local text, blob = session:get(Photo, 1), session:get(Photo, 2)
    record:take()
    text.data, blob.data = "abc", "abc"
    session:flush()
    assert.same({}, record:take())
    text.data, blob.data = "abd", "abd"
    session:flush()
    assert.same({ "UPDATE photo SET data = ? WHERE id = ? [[abd, 1], [abd, 2]]" }, record:take())
    assert.same({ "blob", "blob" }, rows(session, "SELECT typeof(data) FROM photo"))
  end)
end)
