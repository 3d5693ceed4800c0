-- Attributes as a script meets them: names of any length, fields of its own, what is assigned before it was read, what they
-- held before, in every state of the object.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, Text, Mapped, Optional = orm.Integer, orm.Text, orm.Mapped, orm.Optional

local LONG = ("column"):rep(12)

local function note_class(options)
  local base = orm.declarative_base()
  local body = { __tablename__ = "note", id = Mapped(Integer, { primary_key = true }), text = Mapped(Optional(Text)),
    body = Mapped(Optional(Text), { deferred = true }), size = Mapped(Optional(Integer)), price = Mapped(Optional(orm.Float)),
    tags = Mapped(Optional(orm.JSON)), [LONG] = Mapped(Optional(Text)) }
  for name, value in pairs(options or {}) do
    body[name] = value
  end
  local Note = base:model("Note", body)
  local engine = database.create(base)
  database.run(engine,
    ("INSERT INTO note (id, text, body, size, price, tags, %s) VALUES (1, 'one', 'long one', 1, 1.5, '[1]', 'x'), "
    .. "(2, NULL, NULL, NULL, NULL, NULL, NULL)"):format(LONG))
  return Note, orm.Session(engine), engine
end

local function deleted(object, name)
  return orm.inspect(object).attrs[name].history.deleted[1]
end

describe("a name", function()
  it("may be longer than Lua keeps once for all", function()
    local Note, session, engine = note_class()
    local name = table.concat { ("column"):rep(6), ("column"):rep(6) }
    local note = session:get(Note, 1)
    assert.equal("x", note[name])
    note[name] = "y"
    session:commit()
    assert.equal("y", note[("column"):rep(12)])
    assert.same({ "y" }, rows(engine, ("SELECT %s FROM note WHERE id = 1"):format(LONG)))
    raises("ArgumentError", "columm", function() return note[("columm"):rep(12)] end)
    raises("ArgumentError", "columm", function() note[("columm"):rep(12)] = 1 end)
    assert.equal("z", Note { [("column"):rep(12)] = "z" }[LONG])
  end)

  it("that begins with an underscore is a field of the script's own", function()
    local Note, session, engine = note_class()
    local note = session:get(Note, 1)
    assert.is_nil(note._draft)
    note._draft = { 1 }
    assert.same({ 1 }, note._draft)
    session:commit()
    assert.same({ 1 }, note._draft)
    note._draft = nil
    assert.is_nil(note._draft)
    assert.equal(7, Note { _own = 7 }._own)
    assert.same({ "2" }, rows(engine, "SELECT count(*) FROM note"))
  end)

  it("is a string", function()
    local Note, session = note_class()
    local note = session:get(Note, 1)
    for _, key in ipairs { 1, 1.5, true, {}, print } do
      assert.is_false((pcall(function() return note[key] end)))
      assert.is_false((pcall(function() note[key] = 1 end)))
      assert.is_false((pcall(Note, { [key] = 1 })))
    end
    raises("ArgumentError", "one table of fields", Note, "text")
  end)
end)

describe("a value", function()
  it("that is null reads as nil, whatever way it was said", function()
    local Note, session, engine = note_class()
    local note = session:get(Note, 1)
    note.text, note.size, note.price, note.tags = nil, orm.null, nil, orm.null
    assert.same({}, { note.text, note.size, note.price, note.tags })
    session:commit()
    assert.same({ "NULL|NULL|NULL" }, rows(engine, "SELECT text, size, price FROM note WHERE id = 1"))
    assert.same({}, { note.text, note.size, note.price })
  end)

  it("may be assigned before it was read: deferred, expired, of no row yet", function()
    local Note, session, engine = note_class()
    local note = session:get(Note, 1)
    note.body = "new"
    assert.equal("new", note.body)
    session:expire(note, { "size" })
    note.size = 5
    session:flush()
    session:expire(note)
    note.price = 2.5
    assert.is_nil(deleted(note, "body"))
    session:commit()
    assert.same({ "new|5|2.5" }, rows(engine, "SELECT body, size, price FROM note WHERE id = 1"))
    local fresh = Note { id = 3 }
    fresh.text = "a"
    fresh.text = "b"
    session:add(fresh)
    fresh.text = "c"
    session:commit()
    assert.same({ "c" }, rows(engine, "SELECT text FROM note WHERE id = 3"))
  end)

  it("that was changed and comes back is written no more, null too", function()
    local Note, session = note_class()
    local one, two = session:get(Note, 1), session:get(Note, 2)
    one.text, one.size, one.price = "other", 2, 2.5
    two.text, two.size, two.price = "other", 2, 2.5
    assert.same({ "one", 1, 1.5 }, { deleted(one, "text"), deleted(one, "size"), deleted(one, "price") })
    one.text, one.size, one.price = "one", 1, 1.5
    two.text, two.size, two.price = nil, nil, nil
    local count = 0
    orm.event.listen(session.engine or session:get_bind(), "before_cursor_execute", function() count = count + 1 end)
    session:flush()
    assert.equal(0, count)
    assert.is_nil(deleted(one, "text"))
  end)

  it("remembers what it was where its object changes sessions", function()
    for _, way in ipairs { "expunge", "close" } do
      local Note, session, engine = note_class()
      local one, two = session:get(Note, 1), session:get(Note, 2)
      one.text, one.size, one.price, one[LONG], one.tags = "a", 2, nil, nil, { 2 }
      two.text, two.size, two.price, two[LONG], two.tags = "b", 3, 4.5, "long", { 3 }
      one.body = "unseen before"
      if way == "expunge" then
        session:expunge(one)
        session:expunge(two)
      end
      session:close()
      assert.same({ "one", 1, 1.5, "x" }, { deleted(one, "text"), deleted(one, "size"), deleted(one, "price"), deleted(one,
        LONG) })
      assert.equal(orm.null, deleted(two, "text"))
      local other = orm.Session(engine)
      other:add_all { one, two }
      one.size, two.size = 1, nil
      other:commit()
      assert.same({ "a|1|NULL|NULL|unseen before", "b|NULL|4.5|long|NULL" },
        rows(engine, ("SELECT text, size, price, %s, body FROM note ORDER BY id"):format(LONG)))
      assert.same({ { 2 }, { 3 } }, { one.tags, two.tags })
    end
  end)

  it("outlives the session that was dropped, with its change", function()
    local Note, session, engine = note_class()
    local one = session:get(Note, 1)
    one.text, one.size = "a", nil
    session = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same({ "a" }, { one.text, one.size })
    one.text = "b"
    local other = orm.Session(engine)
    other:add(one)
    other:commit()
    assert.same({ "b" }, rows(engine, "SELECT text FROM note WHERE id = 1"))
  end)

  it("of a key is known even when it was changed and expired", function()
    local Note, session, engine = note_class()
    local one = session:get(Note, 1)
    one.id = 9
    session:expire(one)
    assert.equal(1, one.id)
    one.id = 8
    session:rollback()
    assert.equal(1, one.id)
    one.id = 7
    session:expunge(one)
    local other = orm.Session(engine)
    other:add(one)
    other:commit()
    assert.same({ "2", "7" }, rows(engine, "SELECT id FROM note ORDER BY id"))
  end)

  it("of the largest size and the smallest comes back", function()
    local Note, session, engine = note_class()
    local long = ("x"):rep(100000)
    local one = session:get(Note, 1)
    one.text, one.body = long, ""
    session:commit()
    session:expunge_all()
    one = session:get(Note, 1)
    assert.equal(long, one.text)
    assert.equal(long, one.text)
    assert.equal("", one.body)
    one.text = ("y"):rep(41)
    assert.equal(long, deleted(one, "text"))
    session:commit()
    assert.same({ "41" }, rows(engine, "SELECT length(text) FROM note WHERE id = 1"))
  end)

  it("may be an SQL expression until the flush", function()
    local Note, session, engine = note_class()
    local one = session:get(Note, 1)
    one.size = Note.size + 4
    session:flush()
    assert.equal(5, one.size)
    one.size = orm.func.abs(-3)
    session:commit()
    assert.same({ "3" }, rows(engine, "SELECT size FROM note WHERE id = 1"))
    one.size = Note.size + 1
    assert.equal(4, one.size) -- read before the flush, which comes first then
    one.size = Note.size + 1
    assert.same({ 3, 5 }, { session:no_autoflush(function() return one.size - 1 end), 5 })
    session:commit()
    assert.same({ "5" }, rows(engine, "SELECT size FROM note WHERE id = 1"))
    assert.is_false((pcall(function() one.size = setmetatable({}, {}) end)))
    assert.is_false((pcall(function() one.size = {} end)))
  end)

  it("may be an SQL expression, or a select, of a new object, too", function()
    local Note, session, engine = note_class()
    local one = Note { size = orm.func.abs(-3), text = orm.literal("a") .. orm.literal("b"), price = 2 }
    assert.is_nil(one.size)
    session:add(one)
    session:flush()
    assert.same({ 3, "ab" }, { one.size, one.text })
    local two = Note { size = 1 }
    two.size = orm.select(orm.func.max(Note.size))
    two.text = orm.func.upper("x")
    two.text = "plain"
    session:add(two)
    session:commit()
    assert.same({ "3|ab|2", "3|plain|NULL" }, rows(engine, "SELECT size, text, price FROM note WHERE id > 2 ORDER BY id"))
  end)

  it("of a new object that the database cannot work out takes the flush back", function()
    local Note, session, engine = note_class()
    local one = Note { size = orm.func.no_such_function() }
    session:add(one)
    raises("OperationalError", "no such function", session.flush, session)
    assert.equal("pending", orm.inspect(one).state)
    one.size = 7
    session:commit()
    assert.same({ "7" }, rows(engine, "SELECT size FROM note WHERE id = 3"))
    raises("ArgumentError", { "Note.size", "has no row yet", "subquery" }, function() return Note { size = Note.size + 1 } end)
    raises("ArgumentError", { "Note.size", "detached" }, function()
      session:expunge(one)
      one.size = orm.func.abs(1)
    end)
  end)
end)

describe("a document", function()
  it("that changes before its first flush is written once", function()
    local Note, session, engine = note_class()
    local note = Note { id = 3, tags = { 1 } }
    session:add(note)
    note.tags[2] = 2
    assert.same({ {}, { note } }, { session.dirty, session.new })
    local count = 0
    orm.event.listen(engine, "before_cursor_execute", function() count = count + 1 end)
    session:flush()
    assert.equal(1, count)
    assert.same({}, session.dirty)
    note.tags[3] = 3
    session:flush()
    assert.equal(2, count)
    assert.same({ "[1,2,3]" }, rows(session, "SELECT tags FROM note WHERE id = 3"))
  end)
end)

describe("what a query leaves out", function()
  it("is left out of an object that it reads again, and refused where it says so, until it is read", function()
    local Note, session = note_class()
    local note = session:get(Note, 1)
    assert.equal("one", note.text)
    local function again(...)
      return session:scalars(orm.select(Note):where(Note.id:eq(1)):options(...)
        :execution_options { populate_existing = true }):one()
    end
    assert.equal(note, again(orm.defer(Note.text, { raiseload = true })))
    raises("InvalidRequestError", "text", function() return note.text end)
    assert.equal(note, again())
    assert.equal("one", note.text)
  end)
end)

describe("the first attribute of a class", function()
  it("may say which class a row is of, or be unique among rows that others refer to", function()
    local base = orm.declarative_base()
    local Animal = base:model("Animal", { kind = Mapped(Text), __tablename__ = "animal", id = Mapped(Integer,
      { primary_key = true }),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" } })
    local Dog = base:model("Dog", { __inherits__ = Animal, tricks = Mapped(Optional(Integer)),
      __mapper_args__ = { polymorphic_identity = "dog" } })
    local Place = base:model("Place", { code = Mapped(Optional(Text), { unique = true }), __tablename__ = "place",
      id = Mapped(Integer, { primary_key = true }), visits = orm.relationship("Visit", { back_populates = "place" }) })
    base:model("Visit", { __tablename__ = "visit", id = Mapped(Integer, { primary_key = true }),
      place_code = Mapped(Optional(Text), orm.ForeignKey("place.code")),
      place = orm.relationship("Place", { back_populates = "visits" }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local one, two = Place { code = "a" }, Place { code = "b" }
    session:add_all { Dog { tricks = 1 }, Dog {}, Animal {}, one, two }
    session:commit()
    assert.same({ "dog|1", "dog|NULL", "animal|NULL" }, rows(engine, "SELECT kind, tricks FROM animal ORDER BY id"))
    one.code, two.code = "b", "a"
    session:commit()
    assert.same({ "b", "a" }, rows(engine, "SELECT code FROM place ORDER BY id"))
    session:delete(one)
    session:add(Place { code = "b" })
    session:commit()
    assert.same({ "a", "b" }, rows(engine, "SELECT code FROM place ORDER BY id"))
  end)
end)

describe("listeners of an attribute", function()
  it("come and go, of columns and of relationships", function()
    local lib = library.open()
    local heard = {}
    local function listener(_, value)
      heard[#heard + 1] = type(value) == "userdata" and "object" or value
    end
    local author, other = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book = lib.session:get(lib.Book, 1)
    orm.event.listen(lib.Author.name, "set", listener)
    orm.event.listen(lib.Book.author, "set", listener)
    author.name = "n1"
    book.author = other
    assert.same({ "n1", "object" }, heard)
    orm.event.remove(lib.Author.name, "set", listener)
    orm.event.remove(lib.Book.author, "set", listener)
    author.name = "n2"
    book.author = author
    assert.equal(2, #heard)
  end)
end)

describe("an accessor", function()
  it("takes objects of its class only", function()
    local lib = library.open()
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
    local meta = debug.getmetatable(author)
    for _, other in ipairs { book, 1, "x", {}, orm.null, io.stdout, lib.Author } do
      assert.is_false((pcall(meta.__index, other, "name")))
      assert.is_false((pcall(meta.__newindex, other, "name", "x")))
    end
    assert.equal("a1", meta.__index(author, "name"))
  end)
end)

it("populate_existing overwrites an object once, however many rows bring it", function()
  local lib = library.open()
  local book = lib.session:get(lib.Book, 1)
  local seen = 0
  orm.event.listen(lib.Book, "refresh", function() seen = seen + 1 end)
  lib.session:no_autoflush(function()
    book.title = "changed"
    local found = lib.session:scalars(orm.select(lib.Book):join(lib.Book.tags):where(lib.Book.id:eq(1))
      :execution_options { populate_existing = true }):all()
    assert.same({ book, book }, found)
  end)
  assert.same({ "b1", 1 }, { book.title, seen })
  lib.session:commit()
  assert.equal("b1", book.title)
end)

it("a value that is assigned after one was read is watched as that was", function()
  local base = orm.declarative_base()
  local Note = base:model("Note", { __tablename__ = "note", id = orm.Mapped(orm.Integer, { primary_key = true }),
    data = orm.Mapped(orm.JSON) })
  local engine = database.create(base)
  local session = orm.Session(engine)
  local note = Note { data = { a = 1 } }
  session:add(note)
  session:commit()
  assert.equal(1, note.data.a)
  note.data = { a = 2 }
  assert.equal(2, note.data.a)
  note.data.a = 3
  session:flush()
  note.data.a = 4
  session:refresh(note, { "data" })
  assert.equal(3, note.data.a)
  note.data.b = 5
  session:commit()
  assert.same({ "3|5" }, rows(engine, "SELECT json_extract(data, '$.a'), json_extract(data, '$.b') FROM note"))
end)
