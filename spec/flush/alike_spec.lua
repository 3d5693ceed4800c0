-- Rows that get the same values: one statement for many of them, found by their keys.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"
local rows, run = database.rows, database.run

-- Authors 3 to 42, without books, and books 10 to 49 of author 1.
local function open(options)
  local lib = library.open(options)
  local authors, books = {}, {}
  for number = 0, 39 do
    authors[number + 1] = ("(%d, 'a')"):format(number + 3)
    books[number + 1] = ("(%d, 1, 'b%d', %d)"):format(number + 10, number + 10, 2000 + number)
  end
  run(lib.engine, "INSERT INTO author (id, name) VALUES " .. table.concat(authors, ", "))
  run(lib.engine, "INSERT INTO book (id, author_id, title, year) VALUES " .. table.concat(books, ", "))
  lib.books = lib.session:scalars(orm.select(lib.Book):where(lib.Book.id:ge(10)):order_by("id")):all()
  lib.record:take()
  return lib
end

local function counts(record)
  local list = {}
  for _, one in ipairs(record:take()) do
    local _, markers = one:gsub("%?", "")
    list[#list + 1] = one:match("^%u+ %w+") .. " " .. markers
  end
  return list
end

describe("rows that get the same values", function()
  it("are updated 32 in a statement, and the few that are left one by one, in one run", function()
    local lib = open()
    for _, book in ipairs(lib.books) do
      book.year, book.title = 1999, "same"
    end
    lib.books[40].year = 5
    lib.session:flush()
    assert.same({ "UPDATE book 34", "UPDATE book 3" }, counts(lib.record))
    assert.same({ "39|1999|same" }, rows(lib.session, "SELECT count(*), year, title FROM book WHERE title = 'same' AND year > 5"))
    assert.same({ "49" }, rows(lib.session, "SELECT id FROM book WHERE year = 5"))
  end)

  it("are told to listeners by one statement, with the values first", function()
    local lib = open()
    for position = 1, 9 do
      lib.books[position].year = nil
    end
    lib.session:flush()
    assert.same({ "UPDATE book SET year = ? WHERE id IN (?, ?, ?, ?, ?, ?, ?, ?, ?) "
      .. "[NULL, 10, 11, 12, 13, 14, 15, 16, 17, 18]" }, lib.record:take())
  end)

  it("stand between others, each of which is written once", function()
    local lib = open()
    for position, book in ipairs(lib.books) do
      book.year = (position < 5 or position > 25) and 3000 + position or 1
    end
    lib.session:commit()
    assert.same({ "21" }, rows(lib.engine, "SELECT count(*) FROM book WHERE year = 1"))
    assert.same({ "19" }, rows(lib.engine, "SELECT count(*) FROM book WHERE year = 3000 + id - 9"))
  end)

  it("lose the key of a parent that is deleted together", function()
    local lib = open()
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.record:take()
    lib.session:flush()
    local sent = counts(lib.record)
    assert.same({ "UPDATE book 33", "UPDATE book 11", "DELETE FROM 1" }, { sent[#sent - 2], sent[#sent - 1], sent[#sent] })
    assert.same({ "42" }, rows(lib.session, "SELECT count(*) FROM book WHERE author_id IS NULL"))
  end)

  it("name the one that is gone, and nothing is written", function()
    local lib = open()
    lib.session:execute(orm.text("DELETE FROM book WHERE id = 20"))
    for _, book in ipairs(lib.books) do
      book.year = 7
    end
    raises("StaleDataError", { "Book with the key 20", "found 0" }, lib.session.flush, lib.session)
    lib.session:rollback()
    assert.same({ "0" }, rows(lib.engine, "SELECT count(*) FROM book WHERE year = 7"))
  end)

  it("are written one by one where a version counts, or the key has several parts", function()
    for _, case in ipairs { { version = true }, { pair = true } } do
      local base = orm.declarative_base()
      local fields = { __tablename__ = "thing", id = orm.mapped_column(orm.Integer, { primary_key = true }),
        part = orm.mapped_column(orm.Integer, { primary_key = case.pair or false, nullable = false, default = 1 }),
        version = orm.mapped_column(orm.Integer), name = orm.mapped_column(orm.String) }
      fields.__mapper_args__ = case.version and { version_id_col = "version" } or nil
      local Thing = base:model("Thing", fields)
      local engine = database.create(base)
      local session, list = orm.Session(engine), {}
      for number = 1, 20 do
        list[number] = Thing { id = number, part = 1, name = "x" }
      end
      session:add_all(list)
      session:commit()
      for _, thing in ipairs(list) do
        thing.name = "y"
      end
      session:commit()
      assert.same({ "20" }, rows(engine, "SELECT count(*) FROM thing WHERE name = 'y'"))
      assert.equal(case.version and 2 or nil, list[20].version)
    end
  end)

  it("are updated together where these are real numbers, too", function()
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      size = orm.mapped_column(orm.Float) })
    local engine = database.create(base)
    local session, record = orm.Session(engine), statements.record(engine)
    for number = 1, 20 do
      session:add(Thing { id = number, size = number })
    end
    session:commit()
    local things = session:scalars(orm.select(Thing):order_by(Thing.id)):all()
    record:take()
    for number, thing in ipairs(things) do
      thing.size = number <= 10 and 0.25 or -0.25
    end
    session:commit()
    assert.same({ "UPDATE thing 11", "UPDATE thing 11" }, counts(record))
    assert.same({ "10|-0.25", "10|0.25" }, rows(session, "SELECT count(*), size FROM thing GROUP BY size ORDER BY size"))
  end)

  it("are told from their negatives where they are zero", function()
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      size = orm.mapped_column(orm.Float) })
    local engine = database.create(base)
    run(engine, "DROP TABLE thing") -- a REAL column has no negative zero
    run(engine, "CREATE TABLE thing (id INTEGER PRIMARY KEY, size)")
    local session = orm.Session(engine)
    for number = 1, 20 do
      session:add(Thing { id = number, size = 1.0 })
    end
    session:commit()
    for _, thing in ipairs(session:scalars(orm.select(Thing):order_by(Thing.id)):all()) do
      thing.size = thing.id % 2 == 0 and 0.0 or -1 / math.huge
    end
    session:commit()
    assert.same({ "20" }, rows(session, "SELECT count(*) FROM thing WHERE size = 0"))
    for _, thing in ipairs(session:scalars(orm.select(Thing)):all()) do
      assert.equal(thing.id % 2 == 0 and math.huge or -math.huge, 1 / thing.size)
    end
  end)
end)

describe("rows that get the same values, where a trigger fails", function()
  local function change(body, kind, words)
    local lib = open()
    run(lib.engine, "CREATE TABLE log (id INTEGER)", "CREATE TRIGGER t BEFORE UPDATE ON book WHEN OLD.id = 20 BEGIN "
      .. body .. "; END")
    if body:find("log", 1, true) then
      run(lib.engine, "DROP TABLE log")
    end
    for _, book in ipairs(lib.books) do
      book.year = 1999
    end
    raises(kind, words, lib.session.flush, lib.session)
    lib.session:rollback()
    assert.same({ "0" }, rows(lib.session, "SELECT count(*) FROM book WHERE year = 1999"))
    assert.equal(2010, lib.books[11].year)
    run(lib.session, "DROP TRIGGER t")
    lib.books[11].year = 1999
    lib.session:commit()
    assert.same({ "20" }, rows(lib.session, "SELECT id FROM book WHERE year = 1999"))
  end

  it("by a mistake in it, or by a constraint, are not written, and can be after a rollback", function()
    change("INSERT INTO log VALUES (1)", "OperationalError", "log")
    change("SELECT RAISE(ABORT, 'not this one')", "IntegrityError", "not this one")
    change("SELECT abs(-9223372036854775788 - OLD.id)", "OperationalError", "integer overflow")
  end)

  it("and takes the whole transaction back", function()
    change("SELECT RAISE(ROLLBACK, 'nothing at all')", "IntegrityError", "nothing at all")
  end)
end)
