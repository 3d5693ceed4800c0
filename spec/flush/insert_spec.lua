-- The statements by which new objects are inserted: parents first, in the order of adding, many rows in one.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

describe("inserting", function()
  it("sends one statement a table, parents first, rows in the order of adding", function()
    local lib = library.empty()
    lib.session:add(lib.Book { title = "b1", author = lib.Author { name = "a1" } })
    lib.session:add(lib.Author { name = "a2", books = { lib.Book { title = "b2" }, lib.Book { title = "b3" } } })
    lib.session:flush()
    assert.same({
      "INSERT INTO author (name) VALUES (?), (?) [a1, a2]",
      "INSERT INTO book (author_id, title, year) VALUES (?, ?, ?), (?, ?, ?), (?, ?, ?) "
        .. "[1, b1, NULL, 2, b2, NULL, 2, b3, NULL]",
    }, lib.record:take())
  end)

  it("sends the same statements every time", function()
    local seen
    for _ = 1, 5 do
      local lib = library.empty()
      local book = lib.Book { title = "x", year = 1, tags = { lib.Tag { name = "t" } } }
      lib.session:add(lib.Author { name = "a", books = { book } })
      lib.session:commit()
      local now = lib.record:take()
      assert.same(seen or now, now)
      seen = now
    end
  end)

  it("leaves out a key that the database makes, and writes one that is given", function()
    local lib = library.empty()
    lib.session:add_all { lib.Tag { name = "a" }, lib.Tag { id = 10, name = "b" }, lib.Tag { name = "c" } }
    lib.session:flush()
    assert.same({ "INSERT INTO tag (name) VALUES (?) [a]", "INSERT INTO tag (id, name) VALUES (?, ?) [10, b]",
      "INSERT INTO tag (name) VALUES (?) [c]" }, lib.record:take())
    assert.same({ "1|a", "10|b", "11|c" }, rows(lib.session, "SELECT * FROM tag ORDER BY id"))
  end)

  it("of rows without any value works", function()
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
    local engine = database.create(base)
    local session, first, second = orm.Session(engine), Thing {}, Thing {}
    session:add_all { first, second }
    session:commit()
    assert.same({ 1, 2 }, { first.id, second.id })
    assert.same({ "1", "2" }, rows(engine, "SELECT id FROM thing"))
  end)

  it("gives each of many rows its own key", function()
    local lib = library.empty()
    local tags = {}
    for number = 1, 500 do
      tags[number] = lib.Tag { name = "t" .. number }
    end
    lib.session:add_all(tags)
    lib.session:flush()
    assert.is_true(#lib.record:take() < 50)
    for number, tag in ipairs(tags) do
      assert.equal(number, tag.id)
    end
    assert.same({ "500" }, rows(lib.session, "SELECT count(*) FROM tag WHERE name = 't' || id"))
  end)

  it("gives the right keys beyond gaps, negative and given keys", function()
    local lib = library.empty()
    run(lib.engine, "INSERT INTO tag VALUES (-5, 'x'), (7, 'y')")
    local tags = {}
    for number = 1, 70 do
      tags[number] = lib.Tag { name = "t" .. number, id = number == 35 and 1000 or nil }
    end
    lib.session:add_all(tags)
    lib.session:commit()
    for number, tag in ipairs(tags) do
      assert.same({ "t" .. number }, rows(lib.engine, "SELECT name FROM tag WHERE id = " .. tag.id))
    end
  end)

  it("gives the right keys where a trigger inserts too", function()
    local lib = library.empty()
    run(lib.engine, "CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT)", "INSERT INTO log VALUES (1000, 'x')",
      "CREATE TRIGGER log_tags AFTER INSERT ON tag BEGIN INSERT INTO log (what) VALUES (new.name); END")
    local tags = {}
    for number = 1, 40 do
      tags[number] = lib.Tag { name = "t" .. number }
    end
    lib.session:add_all(tags)
    lib.session:commit()
    for number, tag in ipairs(tags) do
      assert.same({ "t" .. number }, rows(lib.engine, "SELECT name FROM tag WHERE id = " .. tag.id))
    end
    assert.same({ "41" }, rows(lib.engine, "SELECT count(*) FROM log"))
  end)

  it("refuses a key that nothing makes", function()
    local base = orm.declarative_base()
    local Code = base:model("Code", { __tablename__ = "code", code = orm.mapped_column(orm.String, { primary_key = true }) })
    local Pair = base:model("Pair", { __tablename__ = "pair", a = orm.mapped_column(orm.Integer, { primary_key = true }),
      b = orm.mapped_column(orm.Integer, { primary_key = true }) })
    local session = orm.Session(database.create(base))
    for _, object in ipairs { Code {}, Pair { a = 1 }, Pair {} } do
      session:add(object)
      raises("FlushError", { "primary key" }, session.flush, session)
      session:expunge(object)
    end
    session:add(Pair { a = 1, b = 0 })
    session:commit()
  end)

  it("keeps the order of adding within a table across classes' references", function()
    local lib = library.empty()
    local second, first = lib.Author { name = "second" }, lib.Author { name = "first" }
    local book = lib.Book { title = "x", author = second }
    lib.session:add(first)
    lib.session:add(book)
    lib.session:flush()
    assert.same({ "1|first", "2|second" }, rows(lib.session, "SELECT * FROM author ORDER BY id"))
    assert.equal(2, book.author_id)
  end)

  it("orders a chain of tables by their foreign keys", function()
    local base = orm.declarative_base()
    local classes, names = {}, { "D", "B", "C", "A" }
    for _, name in ipairs(names) do
      local parent = name ~= "A" and string.char(name:byte() - 1) or nil
      classes[name] = base:model(name, { __tablename__ = name, id = orm.mapped_column(orm.Integer, { primary_key = true }),
        parent_id = parent and orm.mapped_column(orm.Integer, orm.ForeignKey(parent .. ".id")),
        parent = parent and orm.relationship(parent) })
    end
    local engine = database.create(base)
    local session, record = orm.Session(engine), statements.record(engine)
    session:add(classes.D { parent = classes.C { parent = classes.B { parent = classes.A {} } } })
    session:flush()
    assert.same({ "INSERT A", "INSERT B", "INSERT C", "INSERT D" }, record:headlines())
    assert.same({ "1|1" }, rows(session, "SELECT id, parent_id FROM D"))
  end)

  it("writes wide rows in as many statements as the database's parameters ask for", function()
    local base, body = orm.declarative_base(), { __tablename__ = "wide" }
    body.id = orm.mapped_column(orm.Integer, { primary_key = true })
    for number = 1, 300 do
      body["c" .. number] = orm.mapped_column(orm.Integer)
    end
    local Wide = base:model("Wide", body)
    local engine = database.create(base)
    local session = orm.Session(engine)
    for number = 1, 200 do
      session:add(Wide { c1 = number, c300 = -number })
    end
    session:commit()
    assert.same({ "200|20100|-20100" }, rows(engine, "SELECT count(*), sum(c1), sum(c300) FROM wide"))
    assert.same({ "200" }, rows(engine, "SELECT count(*) FROM wide WHERE id = c1"))
  end)
end)

describe("a new parent", function()
  it("gives its key to children from both sides and none", function()
    local lib = library.empty()
    local author = lib.Author {}
    local appended, assigned, stranger = lib.Book { title = "appended" }, lib.Book { title = "assigned" }, lib.Book {}
    author.books:append(appended)
    assigned.author = author
    lib.session:add_all { appended, assigned, stranger }
    lib.session:flush()
    assert.same({ 1, 1 }, { appended.author_id, assigned.author_id })
    assert.is_nil(stranger.author_id)
    assert.same({ "INSERT author", "INSERT book" }, lib.record:headlines())
  end)

  it("wins over a foreign key that was given", function()
    local lib = library.open()
    local book = lib.Book { author_id = 1, author = lib.Author { name = "new" } }
    lib.session:add(book)
    lib.session:commit()
    assert.equal(3, book.author_id)
  end)

  it("may come by a key of text, composite, or of a default", function()
    local base, n = orm.declarative_base(), 0
    local Box = base:model("Box", { __tablename__ = "box",
      site = orm.mapped_column(orm.String, { primary_key = true }),
      code = orm.mapped_column(orm.String, { primary_key = true, default = function() n = n + 1 return "c" .. n end }),
      items = orm.relationship("Item", { back_populates = "box" }) })
    local Item = base:model("Item", { __tablename__ = "item", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      site = orm.mapped_column(orm.String), code = orm.mapped_column(orm.String),
      box = orm.relationship("Box", { back_populates = "items" }),
      __table_args__ = { orm.ForeignKeyConstraint({ "site", "code" }, { "box.site", "box.code" }) } })
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Box { site = "s", items = { Item {}, Item {} } })
    session:add(Item { box = Box { site = "t" } })
    session:commit()
    assert.same({ "1|s|c1", "2|s|c1", "3|t|c2" }, rows(engine, "SELECT * FROM item ORDER BY id"))
  end)

  it("gives its key along a composite key of which it is a part", function()
    local base = orm.declarative_base()
    local Order = base:model("Order", { __tablename__ = "orders", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      lines = orm.relationship("Line", { back_populates = "order", order_by = "Line.position" }) })
    local Line = base:model("Line", { __tablename__ = "line",
      order_id = orm.mapped_column(orm.Integer, orm.ForeignKey("orders.id"), { primary_key = true }),
      position = orm.mapped_column(orm.Integer, { primary_key = true }),
      order = orm.relationship("Order", { back_populates = "lines" }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Order { lines = { Line { position = 1 }, Line { position = 2 } } })
    session:add(Order { lines = { Line { position = 1 } } })
    session:commit()
    assert.same({ "1|1", "1|2", "2|1" }, rows(engine, "SELECT * FROM line ORDER BY 1, 2"))
    assert.equal(2, session:get(Line, { 1, 2 }).position)
    assert.equal(session:get(Line, { 2, 1 }), session:get(Order, 2).lines[1])
  end)
end)

it("rows that a trigger leaves out are missed", function()
  local lib = library.open()
  run(lib.engine, "CREATE TRIGGER t BEFORE INSERT ON tag WHEN NEW.name = 'no' BEGIN SELECT RAISE(IGNORE); END")
  local no, yes = lib.Tag { id = 10, name = "no" }, lib.Tag { id = 11, name = "yes" }
  lib.session:add_all { no, yes }
  raises("FlushError", { "Tag", "2 row(s) were to be inserted, the database reports 1" }, lib.session.flush, lib.session)
  lib.session:rollback()
  assert.same({ "1", "2" }, rows(lib.session, "SELECT id FROM tag ORDER BY id"))
  assert.same({ "transient", "transient" }, { orm.inspect(no).state, orm.inspect(yes).state })
end)
