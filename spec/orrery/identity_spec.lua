-- Within a session one row is one object: found again by key, held weakly while clean and strongly while not.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local select = orm.select

local function collect()
  collectgarbage()
  collectgarbage()
end

-- How many of the objects in a weak table are alive.
local function count(weak)
  local n = 0
  for _ in pairs(weak) do
    n = n + 1
  end
  return n
end

local function weak_list()
  return setmetatable({}, { __mode = "v" })
end

describe("one row is one object", function()
  it("however it is found", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.equal(book, lib.session:scalars(select(lib.Book):where(lib.Book.id:eq(1))):one())
    assert.equal(book, lib.session:get(lib.Author, 1).books[1])
    assert.equal(book, lib.session:get(lib.Tag, 2).books[1])
    assert.equal(book, lib.session:execute(select(lib.Book, lib.Author):join(lib.Book.author):order_by(lib.Book.id))
      :first().Book)
    assert.equal(book, lib.session:query(lib.Book):filter_by { title = "b1" }:one())
  end)

  it("and once it was inserted, the object that was added", function()
    local lib = library.empty()
    local author = lib.Author { name = "ann" }
    lib.session:add(author)
    lib.session:flush()
    lib.record:take()
    assert.equal(author, lib.session:get(lib.Author, 1))
    assert.same({}, lib.record:take())
    assert.equal(author, lib.session:scalars(select(lib.Author)):one())
  end)

  it("but two in two sessions", function()
    local lib = library.open()
    local other = orm.Session(lib.engine)
    assert.are_not.equal(lib.session:get(lib.Book, 1), other:get(lib.Book, 1))
    other:close()
  end)

  it("even when a query gives it several times", function()
    local lib = library.open()
    local authors = lib.session:scalars(select(lib.Author):join(lib.Author.books):order_by(lib.Author.id)):all()
    assert.equal(4, #authors)
    assert.equal(authors[1], authors[2])
    assert.equal(2, #lib.session:scalars(select(lib.Author):join(lib.Author.books)):unique():all())
  end)

  it("in every class: equal keys of two classes do not meet", function()
    local lib = library.open()
    assert.equal("a1 b1 t1", table.concat({ lib.session:get(lib.Author, 1).name, lib.session:get(lib.Book, 1).title,
      lib.session:get(lib.Tag, 1).name }, " "))
  end)
end)

describe("keys", function()
  local function open(kind, ...)
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing", key = orm.mapped_column(kind, { primary_key = true }),
      note = orm.mapped_column(orm.Integer) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    for position, key in ipairs { ... } do
      session:add(Thing { key = key, note = position })
    end
    session:commit()
    return Thing, session, engine
  end

  it("that are text are told apart byte for byte", function()
    local keys = { "", "a", "A", "a ", "a\0", "a\0b", "\0", "ä", ("x"):rep(5000), ("x"):rep(4999) .. "y", "1" }
    local Thing, session, engine = open(orm.Text, (table.unpack or unpack)(keys))
    assert.equal(#keys, #database.rows(engine, "SELECT note FROM thing"))
    local objects = session:scalars(select(Thing):order_by(Thing.note)):all()
    for position, key in ipairs(keys) do
      local object = session:get(Thing, key)
      assert.equal(objects[position], object)
      assert.equal(key, object.key)
      assert.equal(position, object.note)
    end
    session:close()
    for position, key in ipairs(keys) do
      assert.equal(position, session:get(Thing, key).note)
    end
  end)

  it("that are floats do not meet integers of another class", function()
    local base = orm.declarative_base()
    local F = base:model("F", { __tablename__ = "f", id = orm.mapped_column(orm.Float, { primary_key = true }) })
    local I = base:model("I", { __tablename__ = "i", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
    local session = orm.Session(database.create(base))
    local whole, half, integer = F { id = 1.0 }, F { id = 0.5 }, I { id = 1 }
    session:add_all { whole, half, integer }
    session:commit()
    assert.equal(whole, session:get(F, 1.0))
    assert.equal(whole, session:get(F, 1))
    assert.equal(half, session:get(F, 0.5))
    assert.equal(integer, session:get(I, 1))
  end)

  it("that are integers may be negative, zero and large", function()
    local numbers = { -1, 0, 1, 2 ^ 31, -2 ^ 31, 2 ^ 53 - 1, -2 ^ 53 + 1 }
    local Thing, session = open(orm.BigInteger, (table.unpack or unpack)(numbers))
    session:close()
    for position, number in ipairs(numbers) do
      assert.equal(position, session:get(Thing, number).note)
    end
  end)

  it("that are composite tell their parts apart", function()
    local base = orm.declarative_base()
    local Pair = base:model("Pair", { __tablename__ = "pair", a = orm.mapped_column(orm.Text, { primary_key = true }),
      b = orm.mapped_column(orm.Text, { primary_key = true }) })
    local session, keys, objects = orm.Session(database.create(base)), { { "ab", "c" }, { "a", "bc" }, { "", "abc" },
      { "abc", "" }, { "a\0", "b" }, { "a", "\0b" } }, {}
    for tag = 1, 4 do -- as one text would look behind another one in memory, were it not for their lengths
      local joint = string.char(tag) .. ("\0"):rep(8)
      keys[#keys + 1], keys[#keys + 2] = { "a" .. joint .. "b", "c" }, { "a", "b" .. joint .. "c" }
    end
    for position, key in ipairs(keys) do
      objects[position] = Pair { a = key[1], b = key[2] }
    end
    session:add_all(objects)
    session:commit()
    for position, key in ipairs(keys) do
      assert.equal(objects[position], session:get(Pair, key))
      assert.equal(objects[position], session:get(Pair, { b = key[2], a = key[1] }))
    end
  end)

  it("that are booleans, dates and blobs work too", function()
    for kind, values in pairs { [orm.Boolean] = { true, false }, [orm.Date] = { "2024-02-29", "2024-03-01" },
      [orm.LargeBinary] = { "\0\255", "\255\0" } } do
      local Thing, session = open(kind, values[1], values[2])
      session:close()
      assert.equal(1, session:get(Thing, values[1]).note)
      assert.equal(2, session:get(Thing, values[2]).note)
    end
  end)

  it("that are given twice in one session are refused at the flush", function()
    local Thing, session = open(orm.Integer, 1)
    session:add(Thing { key = 1 })
    local ok, err = pcall(session.flush, session)
    assert.is_false(ok)
    assert.truthy(orm.is_error(err, "IntegrityError") or orm.is_error(err, "FlushError"))
  end)

  it("may change: the object is found under the new one", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    lib.record:take()
    book.id = 50
    lib.session:flush()
    assert.same({ "UPDATE book SET id" }, lib.record:headlines())
    assert.equal(book, lib.session:get(lib.Book, 50))
    assert.same({}, lib.record:take())
    assert.is_nil(lib.session:get(lib.Book, 4))
    lib.session:commit()
    assert.equal("b4", book.title)
    assert.same({ "1", "2", "3", "50" }, database.rows(lib.engine, "SELECT id FROM book ORDER BY id"))
  end)
end)

describe("the identity map", function()
  it("lets go of clean objects that nobody holds", function()
    local lib = library.open()
    local weak = weak_list()
    for position = 1, 4 do
      weak[position] = lib.session:get(lib.Book, position)
    end
    local kept = weak[2]
    collect()
    assert.equal(1, count(weak))
    assert.equal(kept, lib.session:get(lib.Book, 2))
    lib.record:take()
    assert.equal("b1", lib.session:get(lib.Book, 1).title)
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("lets go of a whole loaded graph", function()
    local lib = library.open()
    local weak = weak_list()
    weak[1] = lib.session:get(lib.Author, 1)
    weak[2] = weak[1].books[1]
    weak[3] = weak[2].tags[1]
    weak[4] = weak[3].books
    assert.equal(weak[1], weak[2].author)
    collect()
    assert.equal(0, count(weak))
  end)

  it("holds what was changed until it is written", function()
    local lib = library.open()
    local weak = weak_list()
    weak[1] = lib.session:get(lib.Author, 2)
    weak[1].books:append(lib.Book { title = "new" })
    weak[2] = lib.session:get(lib.Book, 1)
    weak[2].title = "kept"
    weak[3] = lib.session:get(lib.Book, 2)
    weak[3].author = nil
    collect()
    assert.equal(3, count(weak))
    lib.session:commit()
    assert.same({ "1|1|kept", "2|NULL|b2", "3|2|b3", "4|2|b4", "5|2|new" },
      database.rows(lib.engine, "SELECT id, author_id, title FROM book ORDER BY id"))
    collect()
    assert.equal(0, count(weak))
  end)

  it("holds what is new and what is to be deleted", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "new", books = { lib.Book { title = "new" } } })
    lib.session:delete(lib.session:get(lib.Tag, 2))
    collect()
    lib.session:commit()
    assert.same({ "new" }, database.rows(lib.engine, "SELECT title FROM book WHERE author_id = 3"))
    assert.same({ "1" }, database.rows(lib.engine, "SELECT id FROM tag"))
  end)

  it("keeps a child's parent alive, and a parent's loaded children", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local author = setmetatable({ book.author }, { __mode = "v" })
    collect()
    assert.equal("a1", book.author.name)
    assert.equal(author[1], book.author)
  end)

  it("stays right while many objects come and go", function()
    local lib = library.empty()
    local kept = {}
    for round = 1, 20 do
      for number = 1, 50 do
        local author = lib.Author { name = round .. "." .. number }
        lib.session:add(author)
        if number % 10 == 0 then
          kept[#kept + 1] = author
        end
      end
      lib.session:flush()
      collectgarbage()
    end
    for position, author in ipairs(kept) do
      assert.equal(position * 10, author.id)
      assert.equal(author, lib.session:get(lib.Author, author.id))
    end
    lib.session:commit()
    for number = 1, 1000, 37 do
      assert.equal(number, lib.session:get(lib.Author, number).id)
    end
  end)

  it("gives a new object for a row that was deleted and inserted again", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    lib.session:delete(tag)
    lib.session:flush()
    local again = lib.Tag { id = 2, name = "again" }
    lib.session:add(again)
    lib.session:flush()
    assert.equal(again, lib.session:get(lib.Tag, 2))
    lib.session:commit()
    assert.equal("again", again.name)
    assert.equal("t2", tag.name)
  end)

  it("loads a row again after an expunge", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.session:expunge(book)
    local again = lib.session:get(lib.Book, 1)
    assert.are_not.equal(book, again)
    assert.equal(again, lib.session:get(lib.Author, 1).books[1])
  end)

  it("by a key that is a fraction, or beyond integers, as well", function()
    local base = orm.declarative_base()
    local Point = base:model("Point", { __tablename__ = "point", id = orm.Mapped(orm.Float, { primary_key = true }) })
    local session = orm.Session(database.create(base))
    local keys = { 1.5, 1e300, -2 ^ 70, 3 }
    for _, key in ipairs(keys) do
      session:add(Point { id = key })
    end
    session:commit()
    for _, key in ipairs(keys) do
      local point = session:get(Point, key)
      assert.equal(key, point.id)
      assert.equal(point, session:get(Point, key))
    end
    assert.is_nil(session:get(Point, 2 ^ 63))
  end)
end)
