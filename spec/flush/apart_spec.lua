-- Rows that get different values of one column: one statement for many of them, which says the value of each.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local COUNT = 40

-- Books 10 to 49 of author 1.
local function open()
  local lib, books = library.open(), {}
  for number = 1, COUNT do
    books[number] = ("(%d, 1, 'b%d', %d)"):format(number + 9, number + 9, 2000 + number)
  end
  run(lib.engine, "INSERT INTO book (id, author_id, title, year) VALUES " .. table.concat(books, ", "))
  lib.books = lib.session:scalars(orm.select(lib.Book):where(lib.Book.id:ge(10)):order_by("id")):all()
  lib.record:take()
  return lib
end

-- A class with COUNT objects, 1 to COUNT, whose `fields` are given by fill(number).
local function things(fields, fill, ...)
  local base = orm.declarative_base()
  fields.__tablename__ = "thing"
  local Thing = base:model("Thing", fields)
  local engine = database.create(base)
  for position = 1, select("#", ...) do
    run(engine, (select(position, ...)))
  end
  local session, list = orm.Session(engine), {}
  for number = 1, COUNT do
    list[number] = Thing(fill(number))
  end
  session:add_all(list)
  session:commit()
  session:scalars(orm.select(Thing)):all()
  return { engine = engine, session = session, list = list }
end

local function counts(record)
  local list = {}
  for _, one in ipairs(record:take()) do
    local _, markers = one:gsub("%?", "")
    list[#list + 1] = one:match("^%u+ %w+") .. " " .. markers
  end
  return list
end

describe("rows that get different values of one column", function()
  it("are updated 32 in a statement, and what is left, where that is not many, one by one", function()
    local lib = open()
    for number, book in ipairs(lib.books) do
      book.title = "new " .. number
    end
    lib.session:flush()
    local sent = counts(lib.record)
    assert.equal("UPDATE book 96", sent[1])
    assert.equal("UPDATE book 2", sent[2])
    assert.same({ "40" }, rows(lib.session, "SELECT count(*) FROM book WHERE title = 'new ' || (id - 9)"))
    assert.same({ "0" }, rows(lib.session, "SELECT count(*) FROM book WHERE id >= 10 AND year <> 1991 + id"))
  end)

  it("are told to listeners by one statement: key and value of each, and the keys", function()
    local lib, given = open(), {}
    for number = 1, 16 do
      lib.books[number].year = number ~= 3 and number or nil
      given[number] = ("%d, %s"):format(number + 9, number ~= 3 and number or "NULL")
    end
    for number = 1, 16 do
      given[16 + number] = ("%d"):format(number + 9)
    end
    lib.session:flush()
    assert.same({ "UPDATE book SET year = CASE id " .. ("WHEN ? THEN ? "):rep(16) .. "END WHERE id IN (" .. ("?, "):rep(15)
      .. "?) [" .. table.concat(given, ", ") .. "]" }, lib.record:take())
    assert.same({ "1" }, rows(lib.session, "SELECT count(*) FROM book WHERE year IS NULL AND id = 12"))
  end)

  it("go one by one where several columns differ", function()
    local lib = open()
    for number, book in ipairs(lib.books) do
      book.title, book.year = "new " .. number, number
    end
    lib.session:flush()
    assert.same("UPDATE book 3", counts(lib.record)[1])
    assert.same({ "40" }, rows(lib.session, "SELECT count(*) FROM book WHERE title = 'new ' || year AND year = id - 9"))
  end)

  it("name the one that is gone, and nothing is written", function()
    local lib = open()
    lib.session:execute(orm.text("DELETE FROM book WHERE id = 20"))
    for number, book in ipairs(lib.books) do
      book.year = number
    end
    local err = raises("StaleDataError", { "Book with the key 20", "found 0" }, lib.session.flush, lib.session)
    assert.equal(lib.books[11], err.object)
    assert.equal(1, lib.books[1].year)
    lib.session:rollback()
    assert.same({ "0" }, rows(lib.engine, "SELECT count(*) FROM book WHERE year < 100"))
  end)

  it("name the one that a constraint refuses, as those do that get the same value", function()
    for _, alike in ipairs { true, false } do
      local all = things({ id = orm.mapped_column(orm.Integer, { primary_key = true }), most = orm.mapped_column(orm.Integer),
        amount = orm.mapped_column(orm.Integer, orm.CheckConstraint("amount <= most")) }, function(number)
          return { id = number, most = number == 25 and 5 or 1000, amount = 0 }
        end)
      for number, thing in ipairs(all.list) do
        thing.amount = alike and 100 or number
      end
      local err = raises("IntegrityError", "CHECK", all.session.flush, all.session)
      assert.equal(all.list[25], err.object)
      assert.is_nil(err.candidates)
      assert.same({ alike and 100 or 25, 25 }, err.params)
      all.session:rollback()
      assert.same({ "40" }, rows(all.engine, "SELECT count(*) FROM thing WHERE amount = 0"))
    end
  end)

  it("hand unique values on in the order that this takes", function()
    local all = things({ id = orm.mapped_column(orm.Integer, { primary_key = true }),
      place = orm.mapped_column(orm.Integer, { unique = true }) }, function(number)
        return { id = number, place = number }
      end)
    for number, thing in ipairs(all.list) do
      thing.place = number % COUNT + 1
    end
    all.session:commit()
    assert.same({ "40" }, rows(all.engine, "SELECT count(*) FROM thing WHERE place = id % 40 + 1"))
  end)

  it("are found by keys of text as well, and run the triggers of each row", function()
    local all = things({ name = orm.mapped_column(orm.String(20), { primary_key = true }), note = orm.mapped_column(orm.Text) },
      function(number)
        return { name = ("key %02d"):format(number), note = "old" }
      end, "CREATE TABLE log (name TEXT, note TEXT)",
      "CREATE TRIGGER noted AFTER UPDATE ON thing BEGIN INSERT INTO log VALUES (new.name, old.note || ' ' || new.note); END")
    for number, thing in ipairs(all.list) do
      thing.note = number % 7 == 0 and "7" or ("%d "):format(number):rep(30)
    end
    all.session:commit()
    assert.same({ "40|40" }, rows(all.engine, "SELECT count(*), count(DISTINCT log.name) FROM log JOIN thing USING (name) "
      .. "WHERE log.note = 'old ' || thing.note"))
    assert.same({ "5" }, rows(all.engine, "SELECT count(*) FROM thing WHERE note = '7'"))
    assert.same({ "1" }, rows(all.engine, "SELECT count(*) FROM thing WHERE name = 'key 40' AND length(note) = 90"))
  end)

  it("are stored as the column has them", function()
    local all = things({ id = orm.mapped_column(orm.Integer, { primary_key = true }), rate = orm.mapped_column(orm.Float),
      sum = orm.mapped_column(orm.Numeric(10, 2)) }, function(number)
        return { id = number }
      end)
    for number, thing in ipairs(all.list) do
      thing.rate = number
    end
    all.session:commit()
    for number, thing in ipairs(all.list) do
      thing.sum = number + 0.5
    end
    all.session:commit()
    assert.same({ "real|40" }, rows(all.engine, "SELECT typeof(rate), count(*) FROM thing WHERE rate = id GROUP BY 1"))
    assert.same({ "40" }, rows(all.engine, "SELECT count(*) FROM thing WHERE sum = id + 0.5"))
  end)
end)
