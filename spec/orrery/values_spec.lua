-- What goes into attributes, what is stored, and what comes out: nil and NULL, defaults, types, documents.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run
local Integer, String = orm.Integer, orm.String

local HAS_INTEGERS = math.type ~= nil

local function open(columns)
  local base = orm.declarative_base()
  local body = { __tablename__ = "thing", id = orm.mapped_column(Integer, { primary_key = true }) }
  for name, column in pairs(columns) do
    body[name] = column
  end
  local Thing = base:model("Thing", body)
  local engine = database.create(base)
  return Thing, orm.Session(engine), engine
end

-- Saves one object and gives what plain SQL says of a column, and the object as another session reads it.
local function through(kind, value)
  local Thing, session, engine = open { v = orm.mapped_column(kind) }
  session:add(Thing { v = value })
  session:commit()
  local other = orm.Session(engine)
  return rows(engine, "SELECT typeof(v), CAST(v AS TEXT) FROM thing")[1], other:get(Thing, 1).v, session
end

describe("nil and NULL:", function()
  it("nil reads NULL, and assigned, writes NULL", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.title = nil
    assert.is_nil(book.title)
    lib.session:commit()
    assert.is_nil(book.title)
    assert.same({ "1|1|NULL|2000" }, rows(lib.engine, "SELECT * FROM book WHERE id = 1"))
  end)

  it("orm.null assigned is nil", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.title = orm.null
    assert.is_nil(book.title)
    lib.session:commit()
    assert.same({ "NULL" }, rows(lib.engine, "SELECT title FROM book WHERE id = 1"))
  end)

  it("nil in a constructor is not given: the default applies; orm.null is NULL", function()
    local Thing, session, engine = open { size = orm.mapped_column(Integer, { default = 5 }) }
    session:add_all { Thing { size = nil }, Thing {}, Thing { size = orm.null }, Thing { size = 7 } }
    session:commit()
    assert.same({ "5", "5", "NULL", "7" }, rows(engine, "SELECT size FROM thing ORDER BY id"))
  end)

  it("nil assigned to a new object is NULL, not the default", function()
    local Thing, session, engine = open { size = orm.mapped_column(Integer, { default = 5 }) }
    local thing = Thing {}
    thing.size = nil
    session:add(thing)
    session:commit()
    assert.same({ "NULL" }, rows(engine, "SELECT size FROM thing"))
  end)

  it("orm.null stands for NULL in lists of scalars", function()
    local lib = library.open()
    run(lib.engine, "UPDATE book SET title = NULL WHERE id = 2")
    local found = lib.session:scalars(orm.select(lib.Book.title):order_by(lib.Book.id)):all()
    assert.same({ "b1", orm.null, "b3", "b4" }, found)
  end)

  it("unset attributes of a new object are nil", function()
    local Thing = open { size = orm.mapped_column(Integer, { default = 5 }) }
    local thing = Thing {}
    assert.is_nil(thing.size)
    assert.is_nil(thing.id)
  end)
end)

describe("defaults", function()
  it("are constants or functions, which get the object, in the order of the columns", function()
    local calls = {}
    local Thing, session, engine = open {
      name = orm.mapped_column(String, { default = "x" }),
      size = orm.mapped_column(Integer, { default = function() calls[#calls + 1] = "size" return #calls end }),
      ok = orm.mapped_column(orm.Boolean, { default = false }),
      label = orm.mapped_column(String, { default = function(thing) return thing.name .. "!" end }),
    }
    local first, second = Thing {}, Thing { name = "y", size = 9, ok = true }
    session:add_all { first, second }
    session:commit()
    assert.same({ "1|x|1|0", "2|y|9|1" }, rows(engine, "SELECT id, name, size, ok FROM thing ORDER BY id"))
    assert.same({ "size" }, calls)
    assert.equal(false, first.ok)
  end)

  it("of primary keys are used", function()
    local base, n = orm.declarative_base(), 0
    local Thing = base:model("Thing", { __tablename__ = "thing", code = orm.mapped_column(String, { primary_key = true,
      default = function() n = n + 1 return "k" .. n end }) })
    local session = orm.Session(database.create(base))
    local thing = Thing {}
    session:add_all { thing, Thing {} }
    session:commit()
    assert.equal("k1", thing.code)
    assert.equal(thing, session:get(Thing, "k1"))
    assert.equal(2, n)
  end)

  it("that fail or do not fit stop the flush, which leaves nothing", function()
    for _, default in ipairs { function() error("stop", 0) end, function() return "text" end } do
      local Thing, session, engine = open { size = orm.mapped_column(Integer, { default = default }) }
      local thing = Thing {}
      session:add(thing)
      assert.is_false(pcall(session.flush, session))
      assert.is_nil(thing.size)
      thing.size = 1
      session:commit()
      assert.same({ "1|1" }, rows(engine, "SELECT id, size FROM thing"))
    end
  end)

  it("of the database come back with the INSERT", function()
    local Thing, session, engine = open { x = orm.mapped_column(Integer),
      status = orm.mapped_column(String, { server_default = "new" }) }
    local record = statements.record(engine)
    local thing = Thing { x = 1 }
    session:add(thing)
    session:flush()
    assert.equal("new", thing.status)
    assert.equal(1, thing.id)
    assert.same({ "INSERT thing" }, record:headlines())
    session:add_all { Thing { x = 2 }, Thing { x = 3, status = "given" }, Thing { status = orm.null } }
    session:commit()
    assert.same({ "1|1|new", "2|2|new", "3|3|given", "4|NULL|NULL" }, rows(engine, "SELECT id, x, status FROM thing ORDER BY id"))
  end)

  it("for updates apply when something else is written", function()
    local n = 0
    local Thing, session, engine = open { x = orm.mapped_column(Integer),
      touched = orm.mapped_column(Integer, { onupdate = function() n = n + 1 return n end }),
      kind = orm.mapped_column(String, { onupdate = "updated" }) }
    local thing = Thing { x = 1 }
    session:add(thing)
    session:commit()
    assert.same({ "NULL|NULL" }, rows(engine, "SELECT touched, kind FROM thing"))
    thing.x = 2
    session:commit()
    assert.same({ "2|1|updated" }, rows(engine, "SELECT x, touched, kind FROM thing"))
    assert.equal(2, thing.x)
    thing.x = 2
    session:commit()
    thing.kind = "own"
    session:commit()
    assert.same({ "2|2|own" }, rows(engine, "SELECT x, touched, kind FROM thing"))
    assert.equal(2, thing.touched)
  end)
end)

describe("each type stores and reads", function()
  -- type, value given, what plain SQL says, value read (default: the given one)
  local cases = {
    { "Integer", Integer, 42, "integer|42" },
    { "negative Integer", Integer, -7, "integer|-7" },
    { "an integral float as Integer", Integer, 3.0, "integer|3", 3 },
    { "BigInteger", orm.BigInteger, 2 ^ 53 - 1, nil },
    { "Float", orm.Float, 0.1, "real|0.1" },
    { "an integer as Float", orm.Float, 2, "real|2.0", 2 },
    { "Numeric", orm.Numeric(5, 2), 12.25, "real|12.25" },
    { "String", String(10), "grün", "text|grün" },
    { "empty String", String, "", "text|" },
    { "Text with NUL and quotes", orm.Text, "a\0b'c\"d", nil },
    { "Boolean true", orm.Boolean, true, "integer|1" },
    { "Boolean false", orm.Boolean, false, "integer|0" },
    { "Date", orm.Date, "2024-02-29", "text|2024-02-29" },
    { "LargeBinary", orm.LargeBinary, "\0\1\255", nil },
    { "JSON", orm.JSON, { 1, { a = "b" } }, 'text|[1,{"a":"b"}]' },
  }
  local function expected(case)
    if case[5] == nil then
      return case[3]
    end
    return case[5]
  end

  for _, case in ipairs(cases) do
    it(case[1], function()
      local stored, read = through(case[2], case[3])
      if case[4] then
        assert.equal(case[4], (stored:gsub("%s", "")))
      end
      assert.same(expected(case), read)
    end)
  end

  it("DateTime as text in one form", function()
    local _, read = through(orm.DateTime, "2024-02-29T12:30:05")
    assert.truthy(read:find("2024-02-29", 1, true) and read:find("12:30:05", 1, true))
    local _, taken = through(orm.DateTime, { year = 2024, month = 2, day = 29, hour = 12, min = 30, sec = 5 })
    assert.equal(read, taken)
  end)

  if HAS_INTEGERS then
    it("BigInteger to the last bit", function()
      local large = math.tointeger(2 ^ 53)
      for _, number in ipairs { math.maxinteger, math.mininteger, large, large + 1 } do
        local _, read = through(orm.BigInteger, number)
        assert.equal(number, read)
        assert.equal("integer", math.type(read))
      end
    end)
  else
    it("BigInteger beyond 2^53 as strings, or not at all", function()
      raises("ArgumentError", "Thing.v", through, orm.BigInteger, 2 ^ 60)
      local stored, read = through(orm.BigInteger { as = "string" }, "9223372036854775807")
      assert.equal("9223372036854775807", read)
      assert.truthy(stored:find("integer", 1, true))
    end)
  end

  it("everything through attributes of a loaded object as through the constructor", function()
    for _, case in ipairs(cases) do
      local Thing, session = open { v = orm.mapped_column(case[2]) }
      session:add(Thing {})
      session:commit()
      local thing = session:get(Thing, 1)
      thing.v = case[3]
      assert.same(expected(case), thing.v, case[1])
      session:commit()
      assert.same(expected(case), thing.v, case[1])
    end
  end)
end)

describe("a value of the wrong type is refused when it is assigned:", function()
  -- type, wrong values, words
  local cases = {
    { "Integer", Integer, { "x", 1.5, true, {}, 0 / 0, 1 / 0, 2 ^ 70 } },
    { "Float", orm.Float, { "x", true, {}, 0 / 0 } },
    { "Numeric", orm.Numeric(5, 2), { "x", true, 12345.5, 0.123 } },
    { "String", String(3), { 5, true, {}, "four", "\255" } },
    { "Text", orm.Text, { 5, true, "a\192b" } },
    { "Boolean", orm.Boolean, { 0, 1, "true", {} } },
    { "Date", orm.Date, { "2024-02-30", "29.2.2024", 5, true } },
    { "DateTime", orm.DateTime, { "2024-02-29 25:00:00", "soon", 5 } },
    { "LargeBinary", orm.LargeBinary, { 5, true, {} } },
    { "JSON", orm.JSON, { function() end, io.stdout, { print } } },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local Thing, session = open { v = orm.mapped_column(case[2]) }
      session:add(Thing {})
      session:commit()
      local thing, new = session:get(Thing, 1), Thing {}
      for _, value in ipairs(case[3]) do
        raises("ArgumentError", "Thing.v", Thing, { v = value })
        raises("ArgumentError", "Thing.v", function() new.v = value end)
        raises("ArgumentError", "Thing.v", function() thing.v = value end)
      end
      assert.is_nil(thing.v)
      assert.same({}, session.dirty)
    end)
  end

  it("and the object keeps the value that it had", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    raises("ArgumentError", { "Book.year", "integer" }, function() book.year = "1999" end)
    assert.equal(2000, book.year)
    raises("ArgumentError", { "Book.title", "50" }, function() book.title = ("x"):rep(51) end)
    assert.equal("b1", book.title)
  end)

  it("a constructor that fails leaves no trace on other objects", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    raises("ArgumentError", "Book.year", lib.Book, { author = author, year = "x", title = "y" })
    raises("ArgumentError", "Book", lib.Book, { author = author, yaer = 5 })
    assert.equal(2, #author.books)
    assert.same({}, lib.session.new)
  end)
end)

describe("loading is faithful:", function()
  it("what does not fit its column reads as it is stored, and is not rewritten", function()
    local lib = library.open()
    run(lib.engine, "UPDATE book SET year = 'unknown', title = 7 WHERE id = 1",
      "UPDATE book SET title = '" .. ("x"):rep(80) .. "' WHERE id = 2", "UPDATE book SET year = 1.5 WHERE id = 3",
      "UPDATE book SET title = CAST(x'ff00' AS TEXT) WHERE id = 4")
    local book = lib.session:get(lib.Book, 1)
    assert.equal("unknown", book.year)
    assert.equal("7", tostring(book.title))
    assert.equal(80, #lib.session:get(lib.Book, 2).title)
    assert.equal(1.5, lib.session:get(lib.Book, 3).year)
    assert.equal("\255\0", lib.session:get(lib.Book, 4).title)
    lib.record:take()
    book.author = nil
    lib.session:commit()
    assert.same({ "UPDATE book SET author_id" }, lib.record:headlines())
    assert.same({ "1|NULL|7|unknown" }, rows(lib.engine, "SELECT * FROM book WHERE id = 1"))
  end)
end)

describe("a JSON document", function()
  local function document()
    local Thing, session, engine = open { doc = orm.mapped_column(orm.JSON), note = orm.mapped_column(String) }
    session:add(Thing { doc = { list = { 1, 2 }, name = "x" } })
    session:commit()
    return session:get(Thing, 1), session, engine, Thing
  end

  it("that is changed in place is written", function()
    local thing, session, engine = document()
    local record = statements.record(engine)
    thing.doc.list[3] = 3
    assert.equal(3, #thing.doc.list)
    session:flush()
    assert.same({ "UPDATE thing SET doc" }, record:headlines())
    session:commit()
    assert.equal(3, thing.doc.list[3])
  end)

  it("that is only read is not written", function()
    local thing, session, engine = document()
    local _ = thing.doc.list[1]
    local record = statements.record(engine)
    session:commit()
    assert.same({}, record:headlines())
  end)

  it("that is replaced is written once", function()
    local thing, session, engine = document()
    thing.doc = { other = true }
    assert.is_true(thing.doc.other)
    session:commit()
    assert.same({ '{"other":true}' }, rows(engine, "SELECT doc FROM thing"))
    thing.doc = nil
    session:commit()
    assert.is_nil(thing.doc)
  end)

  it("knows null and arrays", function()
    local thing, session, engine = document()
    thing.doc = { empty = orm.array {}, nothing = orm.null }
    session:commit()
    assert.truthy(rows(engine, "SELECT doc FROM thing")[1]:find('"empty":[]', 1, true))
    assert.equal(orm.null, thing.doc.nothing)
    assert.equal(0, #thing.doc.empty)
  end)

  it("that is held strongly while it is only read survives a collection", function()
    local thing, session, engine = document()
    thing.doc.name = "changed"
    thing = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    session:commit()
    assert.truthy(rows(engine, "SELECT doc FROM thing")[1]:find("changed", 1, true))
  end)
end)

describe("long values", function()
  it("of texts and blobs come back byte for byte, grown and shrunk", function()
    local Thing, session = open { t = orm.mapped_column(orm.Text), b = orm.mapped_column(orm.LargeBinary) }
    local thing = Thing { t = "", b = "" }
    session:add(thing)
    session:commit()
    for _, size in ipairs { 1, 39, 40, 41, 1000, 100000, 3, 0, 70 } do
      local text, blob = ("é"):rep(size), ("\0\255"):rep(size)
      thing.t, thing.b = text, blob
      assert.equal(text, thing.t)
      session:commit()
      assert.is_true(text == thing.t and blob == thing.b)
      session:expunge_all()
      thing = session:get(Thing, 1)
      assert.is_true(text == thing.t and blob == thing.b)
    end
  end)
end)

describe("a computed column", function()
  it("is read again after an update of its row", function()
    local base = orm.declarative_base()
    local Box = base:model("Box", { __tablename__ = "box", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      side = orm.mapped_column(orm.Integer), area = orm.mapped_column(orm.Integer, orm.Computed(orm.text("side * side"))) })
    local engine = orm.create_engine("sqlite://")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    local box = Box { side = 2 }
    session:add(box)
    session:flush()
    assert.equal(4, box.area)
    box.side = 3
    session:flush()
    assert.equal(9, box.area)
    session:close()
  end)
end)

describe("a class over a reflected table", function()
  it("has the columns that its body does not name", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      conn:execute(orm.text("CREATE TABLE pet (id INTEGER PRIMARY KEY, name VARCHAR(20), born INTEGER)"))
    end)
    local base = orm.declarative_base()
    local Pet = base:model("Pet", { __tablename__ = "pet", __table_args__ = { autoload_with = engine } })
    local session = orm.Session(engine)
    session:add(Pet { name = "Rex", born = 2020 })
    session:commit()
    assert.equal("Rex", session:scalars(orm.select(Pet):where(Pet.born:eq(2020))):one().name)
    session:close()
  end)
end)
