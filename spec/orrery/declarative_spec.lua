-- Classes as a script declares them: what a body may hold, what its objects answer to, which names are free.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local Integer, String, Mapped, Optional, ForeignKey = orm.Integer, orm.String, orm.Mapped, orm.Optional, orm.ForeignKey
local rows = database.rows

local HAS_METAPAIRS = _VERSION ~= "Lua 5.1" -- 5.2 and later

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function model(body, name)
  local base = orm.declarative_base()
  body.__tablename__ = body.__tablename__ or "thing"
  body.id = body.id or id()
  return base:model(name or "Thing", body), base
end

local function columns_of(engine, tbl)
  return rows(engine, "SELECT name, type, \"notnull\", pk FROM pragma_table_info('" .. tbl .. "') ORDER BY cid")
end

describe("a class body", function()
  it("declares a table, columns in textual order", function()
    local base = orm.declarative_base()
    local Portfolio = base:model("Portfolio", {
      __tablename__ = "portfolio",
      id = Mapped(Integer, { primary_key = true }),
      name = Mapped(String(256)),
      description = Mapped(Optional(orm.Text)),
      worth = orm.mapped_column(orm.Numeric(5, 2)),
      owner = orm.Column("owner_name", String, { nullable = false }),
    })
    local engine = database.create(base)
    assert.same({ "id|INTEGER|1|1", "name|VARCHAR(256)|1|0", "description|TEXT|0|0", "worth|NUMERIC(5, 2)|0|0",
      "owner_name|VARCHAR|1|0" }, columns_of(engine, "portfolio"))
    local session = orm.Session(engine)
    session:add(Portfolio { name = "a", owner = "b" })
    session:commit()
    assert.same({ "1|a|NULL|NULL|b" }, rows(engine, "SELECT * FROM portfolio"))
    assert.equal("b", session:get(Portfolio, 1).owner)
  end)

  it("makes objects of any number of fields at once", function()
    local base = orm.declarative_base()
    local body, fields = { __tablename__ = "t", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      day = orm.mapped_column(orm.Date) }, { day = "2024-02-29" }
    for i = 1, 40 do
      body["c" .. i], fields["c" .. i] = orm.mapped_column(orm.Text), ("x"):rep(i * 7)
    end
    local T = base:model("T", body)
    local engine = database.create(base)
    local session, object = orm.Session(engine), T(fields)
    session:add(object)
    session:commit()
    for name, value in pairs(fields) do
      assert.equal(value, object[name])
    end
    session:close()
  end)

  it("keeps textual order for many columns", function()
    local names, parts = {}, {}
    for number = 1, 200 do
      names[number] = ("c%d"):format((number * 7919) % 1000)
      parts[number] = ("%s = orm.mapped_column(orm.Integer%s),"):format(names[number],
        number == 1 and ", { primary_key = true }" or "")
    end
    local chunk = assert((loadstring or load)("local orm, base = ... return base:model('Wide', { __tablename__ = 'wide', "
      .. table.concat(parts) .. "})"))
    local base = orm.declarative_base()
    chunk(orm, base)
    assert.same(names, rows(database.create(base), "SELECT name FROM pragma_table_info('wide') ORDER BY cid"))
  end)

  it("takes a type from the foreign key's target", function()
    local base = orm.declarative_base()
    base:model("Team", { __tablename__ = "team", code = orm.mapped_column(String(3), { primary_key = true }) })
    base:model("Player", { __tablename__ = "player", id = id(), team_code = orm.mapped_column(ForeignKey("team.code")) })
    assert.equal("team_code|VARCHAR(3)|0|0", columns_of(database.create(base), "player")[2])
  end)

  it("takes constraints and indexes", function()
    local Thing, base = model {
      a = orm.mapped_column(Integer), b = orm.mapped_column(Integer, { unique = true }),
      c = orm.mapped_column(String, { index = true }),
      __table_args__ = { orm.UniqueConstraint("a", "b"), orm.Index("thing_ab", "a", "b") },
    }
    local engine = database.create(base)
    assert.equal("1", rows(engine, "SELECT count(*) FROM sqlite_master WHERE name = 'thing_ab'")[1])
    assert.is_true(#rows(engine, "SELECT * FROM pragma_index_list('thing')") >= 4)
    local session = orm.Session(engine)
    session:add_all { Thing { a = 1, b = 1 }, Thing { a = 1, b = 1 } }
    raises("IntegrityError", "", session.flush, session)
  end)

  it("may be given a table that exists", function()
    local base = orm.declarative_base()
    local tbl = orm.Table("thing", base.metadata, orm.Column("id", Integer, { primary_key = true }),
      orm.Column("name", String))
    local Thing = base:model("Thing", { __table__ = tbl })
    assert.equal(tbl, Thing.__table__)
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Thing { name = "x" })
    session:commit()
    assert.same({ "1|x" }, rows(engine, "SELECT * FROM thing"))
  end)

  it("may be added to until the class is used", function()
    local Thing, base = model {}
    Thing.late = orm.mapped_column(String)
    local engine = database.create(base)
    assert.equal("late|VARCHAR|0|0", columns_of(engine, "thing")[2])
    assert.equal("x", Thing { late = "x" }.late)
    raises("InvalidRequestError", { "Thing", "later", "too late" }, function()
      Thing.later = orm.mapped_column(String)
    end)
  end)

  it("takes columns and methods from mixins and abstract classes", function()
    local Base = orm.declarative_base()
    local Named = { name = orm.mapped_column(String), greet = function(self) return "I am " .. self.name end }
    local Row = Base:model("Row", { __abstract__ = true, id = id(), note = orm.mapped_column(String) })
    local Cat = Row:model("Cat", { __tablename__ = "cat", __mixins__ = { Named }, lives = orm.mapped_column(Integer) })
    local Dog = Row:model("Dog", { __tablename__ = "dog", __mixins__ = { Named } })
    local engine = database.create(Base)
    local session = orm.Session(engine)
    session:add_all { Cat { name = "tom", lives = 9, note = "n" }, Dog { name = "rex" } }
    session:commit()
    assert.equal("I am tom I am rex", session:get(Cat, 1):greet() .. " " .. session:get(Dog, 1):greet())
    assert.same({ "tom|9|n" }, rows(engine, "SELECT name, lives, note FROM cat"))
    assert.is_nil(rows(engine, "SELECT name FROM sqlite_master WHERE name = 'row'")[1])
  end)

  it("of two bases may use the same names", function()
    local one, other = model { a = orm.mapped_column(Integer) }, model { b = orm.mapped_column(Integer) }
    assert.equal(1, one { a = 1 }.a)
    assert.equal(2, other { b = 2 }.b)
  end)
end)

describe("methods", function()
  it("are functions of the class", function()
    local Investment = model { amount = orm.mapped_column(Integer), double = function(self) return self.amount * 2 end }
    function Investment:worth(rate)
      return self.amount * rate
    end
    local investment = Investment { amount = 4 }
    assert.equal(12, investment:worth(3))
    assert.equal(8, investment:double())
    assert.equal(12, Investment.worth(investment, 3))
  end)

  it("may be constants and may be replaced", function()
    local Thing = model {}
    Thing.kind = "thing"
    assert.equal("thing", Thing {}.kind)
    Thing.kind = "other"
    assert.equal("other", Thing {}.kind)
  end)

  it("may not take the name of an attribute, nor be assigned on objects", function()
    local Thing = model { name = orm.mapped_column(String), others = orm.relationship("Thing"),
      thing_id = orm.mapped_column(Integer, ForeignKey("thing.id")) }
    for _, name in ipairs { "name", "others" } do
      raises("ArgumentError", { "Thing." .. name, "method" }, function()
        Thing[name] = function() end
      end)
    end
    function Thing:greet() return "hi" end
    raises("ArgumentError", { "Thing.greet", "method" }, function()
      Thing {}.greet = 1
    end)
    raises("ArgumentError", { "greet", "method" }, Thing, { greet = 1 })
  end)

  it("that are metamethods work: __tostring, __call, __concat, __lt, __le and arithmetic", function()
    local Coin = model { value = orm.mapped_column(Integer) }
    function Coin:__tostring() return "coin " .. self.value end
    function Coin:__call(times) return self.value * times end
    function Coin.__concat(left, right) return tostring(left) .. tostring(right) end
    function Coin.__lt(left, right) return left.value < right.value end
    function Coin.__le(left, right) return left.value <= right.value end
    function Coin.__add(left, right) return left.value + right.value end
    function Coin.__unm(coin) return -coin.value end
    local one, two = Coin { value = 1 }, Coin { value = 2 }
    assert.equal("coin 1", tostring(one))
    assert.equal(10, two(5))
    assert.equal("coin 1!", one .. "!")
    assert.same({ true, true, false }, { one < two, one <= two, two < one })
    assert.equal(3, one + two)
    assert.equal(-2, -two)
  end)

  it("that are the engine's own metamethods are refused", function()
    for _, name in ipairs { "__index", "__newindex", "__gc", "__metatable", "__eq", "__pairs", "__mode", "__close" } do
      raises("ArgumentError", { "Thing", name, "engine" }, model, { [name] = function() end })
      local Thing = model {}
      raises("ArgumentError", { "Thing", name }, function()
        Thing[name] = function() end
      end)
    end
  end)
end)

describe("__init__", function()
  it("runs for new objects and never on load", function()
    local calls = 0
    local Thing, base = model { name = orm.mapped_column(String), size = orm.mapped_column(Integer) }
    function Thing:__init__(fields)
      calls = calls + 1
      orm.assign(self, fields)
      self.size = #self.name
    end
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Thing { name = "four" })
    session:commit()
    session:close()
    assert.equal(4, session:get(Thing, 1).size)
    assert.equal(1, calls)
    raises("ArgumentError", { "Thing", "nmae", "name" }, Thing, { nmae = "x" })
  end)

  it("may take other arguments", function()
    local Thing = model { name = orm.mapped_column(String) }
    function Thing:__init__(first, second)
      self.name = first .. second
    end
    assert.equal("ab", Thing("a", "b").name)
  end)
end)

describe("an object", function()
  it("shows class, key and loaded columns as text", function()
    local Thing = model { name = orm.mapped_column(String) }
    local text = tostring(Thing { id = 3, name = "x" })
    assert.truthy(text:find("Thing", 1, true) and text:find("id=3", 1, true) and text:find("name='x'", 1, true))
  end)

  it("shows documents as braces: the same text in every run", function()
    local Thing = model { doc = orm.mapped_column(orm.JSON) }
    assert.equal("Thing(doc={...}, id=3)", tostring(Thing { id = 3, doc = { x = 1 } }))
  end)

  it("shows itself without loading", function()
    local Thing, base = model { name = orm.mapped_column(String) }
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Thing { name = "x" })
    session:commit()
    local thing = session:get(Thing, 1)
    session:commit()
    local log = {}
    orm.event.listen(engine, "before_cursor_execute", function(_, sql) log[#log + 1] = sql end)
    assert.truthy(tostring(thing):find("Thing", 1, true))
    assert.same({}, log)
  end)

  it("is walked in the order of declaration, loaded columns only", function()
    local Thing = model { name = orm.mapped_column(String), size = orm.mapped_column(Integer), note = orm.mapped_column(String) }
    local function walk(iterate)
      local seen = {}
      for name, value in iterate(Thing { size = 2, name = "x" }) do
        seen[#seen + 1] = name .. "=" .. tostring(value)
      end
      return table.concat(seen, " ")
    end
    assert.equal("name=x size=2", walk(orm.pairs))
    if HAS_METAPAIRS then
      assert.equal("name=x size=2", walk(pairs))
    end
  end)

  it("compares by identity", function()
    local Thing = model {}
    local one = Thing { id = 1 }
    assert.equal(one, one)
    assert.are_not.equal(one, Thing { id = 1 })
  end)

  it("refuses unknown names with the nearest one", function()
    local Thing = model { name = orm.mapped_column(String) }
    local thing = Thing {}
    raises("ArgumentError", { "Thing", "nmae", "name" }, function() return thing.nmae end)
    raises("ArgumentError", { "Thing", "nmae", "name" }, function() thing.nmae = 1 end)
    raises("ArgumentError", { "Thing", "nmae", "name" }, Thing, { nmae = 1 })
    raises("ArgumentError", { "Thing", "[1]" }, Thing, { "x" })
    raises("ArgumentError", "Thing", Thing, "x")
  end)

  it("keeps names that begin with '_' for the script", function()
    local Thing, base = model { name = orm.mapped_column(String) }
    local thing = Thing { name = "x", _cache = 1 }
    thing._later = { 2 }
    assert.equal(1, thing._cache)
    assert.equal(2, thing._later[1])
    assert.is_nil(thing._never)
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(thing)
    session:commit()
    assert.equal(1, thing._cache)
    assert.same({ "1|x" }, rows(engine, "SELECT id, name FROM thing"))
  end)

  it("allows any name where the base is not strict", function()
    local base = orm.declarative_base { strict = false }
    local Thing = base:model("Thing", { __tablename__ = "thing", id = id() })
    local thing = Thing { anything = 1 }
    thing.other = 2
    assert.equal(3, thing.anything + thing.other)
    assert.is_nil(thing.nothing)
  end)

  it("hides its metatable", function()
    local Thing = model {}
    assert.are_not.equal("function", type((getmetatable(Thing {}) or {}).__index))
    assert.is_false(pcall(setmetatable, Thing {}, {}))
  end)
end)

describe("names", function()
  local FREE = { "model", "metadata", "query", "count", "end", "select", "save", "delete", "new", "add", "session", "registry",
    "type", "name", "key", "class", "table", "columns", "c", "get", "all", "first", "update", "insert", "order", "group", "from",
    "where", "index", "kind", "self", "nil", "and", "or", "not", "function", "length", "tostring", "pairs", "error", "mapper" }

  it("of the library are free: columns may be called anything", function()
    local base = orm.declarative_base()
    local body = { __tablename__ = "select", id = id() }
    for _, name in ipairs(FREE) do
      body[name] = orm.mapped_column(Integer)
    end
    local Select = base:model("Select", body)
    local engine = database.create(base)
    local session, fields = orm.Session(engine), {}
    for position, name in ipairs(FREE) do
      fields[name] = position
    end
    session:add(Select(fields))
    session:commit()
    local object = session:get(Select, 1)
    for position, name in ipairs(FREE) do
      assert.equal(position, object[name])
      assert.same({ tostring(position) }, rows(session, ('SELECT "%s" FROM "select"'):format(name)))
      assert.equal(object, session:scalars(orm.select(Select):where(Select[name]:eq(position))):one())
      object[name] = position + 100
    end
    session:commit()
    for position, name in ipairs(FREE) do
      assert.equal(position + 100, object[name])
    end
  end)

  it("of columns may be reserved words with another attribute name", function()
    local Event, base = model { begin = orm.mapped_column("begin", Integer), end_ = orm.mapped_column("end", Integer) }
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Event { begin = 1, end_ = 2 })
    session:commit()
    assert.same({ "1|2" }, rows(engine, 'SELECT "begin", "end" FROM thing'))
    assert.equal(1, #session:scalars(orm.select(Event):where(Event.end_:gt(Event.begin))):all())
    local found = session:execute(orm.select(Event.begin, Event.end_)):first()
    assert.equal(2, found[2])
  end)

  it("of the metamethods are data when columns have them, and never reach a metatable", function()
    for _, name in ipairs { "__index", "__newindex", "__gc", "__metatable", "__tostring", "__call", "__close", "__len" } do
      for _, attribute in ipairs { name, "data" } do
        local Thing, base = model { [attribute] = orm.mapped_column(name, String) }
        local engine = database.create(base)
        local session = orm.Session(engine)
        session:add(Thing { [attribute] = "x" })
        session:commit()
        session:close()
        local thing = session:get(Thing, 1)
        assert.equal("x", thing[attribute])
        assert.truthy(tostring(thing):find("Thing", 1, true))
        thing[attribute] = "y"
        session:commit()
        assert.equal("y", session:execute(orm.text("SELECT * FROM thing")):first()[name])
        assert.equal(thing, session:scalars(orm.select(Thing):where(Thing[attribute]:eq("y"))):one())
        collectgarbage()
      end
    end
  end)

  it("of tables and columns may hold any character", function()
    local base = orm.declarative_base()
    local tbl, column = 'a "quoted"; name\nwith; more', "x'y \"z\" -- \n"
    local Thing = base:model("Thing", { __tablename__ = tbl, id = id(), data = orm.mapped_column(column, String) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Thing { data = "x" })
    session:commit()
    session:get(Thing, 1).data = "y"
    session:commit()
    assert.same({ tbl }, rows(engine, "SELECT name FROM sqlite_master WHERE type = 'table'"))
    assert.same({ column }, rows(engine, "SELECT c.name FROM sqlite_master t, pragma_table_info(t.name) c "
      .. "WHERE t.type = 'table' AND c.cid = 1"))
    assert.same({ "1|y" }, rows(engine, 'SELECT * FROM "' .. tbl:gsub('"', '""') .. '"'))
  end)

  it("of relationships may be those of session methods, not those of methods", function()
    local base = orm.declarative_base()
    local Node = base:model("Node", { __tablename__ = "node", id = id(),
      up_id = orm.mapped_column(Integer, ForeignKey("node.id")),
      delete = orm.relationship("Node", { back_populates = "save" }),
      save = orm.relationship("Node", { back_populates = "delete", remote_side = "id" }) })
    local node = Node { delete = { Node {} } }
    assert.equal(node, node.delete[1].save)
  end)
end)

describe("a wide table", function()
  it("of 2,000 columns works; of 2,001 the database's error is clear", function()
    local function wide(count)
      local body = { __tablename__ = "wide", id = id() }
      for number = 2, count do
        body["c" .. number] = orm.mapped_column(Integer)
      end
      local base = orm.declarative_base()
      return base:model("Wide", body), base
    end
    local Wide, base = wide(2000)
    local engine = database.create(base)
    local session = orm.Session(engine)
    session:add(Wide { c2 = 1, c2000 = 2 })
    session:commit()
    local row = session:get(Wide, 1)
    assert.equal(3, row.c2 + row.c2000)
    assert.is_nil(row.c1000)
    row.c1000 = 5
    session:commit()
    assert.same({ "1|5|2" }, rows(engine, "SELECT c2, c1000, c2000 FROM wide"))
    local _, too_wide = wide(2001)
    local err = raises("OperationalError", "too many columns", too_wide.metadata.create_all, too_wide.metadata,
      orm.create_engine("sqlite://"))
    assert.is_not_nil(err.statement)
  end)
end)

describe("reading a class", function()
  it("gives columns as expressions and relationships for joins", function()
    local Thing = model { name = orm.mapped_column(String) }
    assert.truthy(tostring(orm.select(Thing.name)):find("name", 1, true))
    assert.equal("thing", Thing.__tablename__)
    assert.equal("class Thing", tostring(Thing))
  end)

  it("raises for unknown names, with the nearest one", function()
    local Thing = model { name = orm.mapped_column(String) }
    raises("ArgumentError", { "Thing", "nmae", "name" }, function() return Thing.nmae end)
  end)
end)

describe("a mistake in a class is explained:", function()
  local function mistake(words, fn, ...)
    raises("ArgumentError", words, fn, ...)
  end

  it("unknown special names, with the nearest one", function()
    mistake({ "Thing", "__tabelname__", "__tablename__" }, function()
      orm.declarative_base():model("Thing", { __tabelname__ = "thing", id = id() })
    end)
  end)

  it("no table name", function()
    mistake({ "Thing", "__tablename__" }, function()
      orm.declarative_base():model("Thing", { id = id() })
    end)
  end)

  it("no primary key", function()
    local base = orm.declarative_base()
    local Thing = base:model("Thing", { __tablename__ = "thing", name = orm.mapped_column(String) })
    mistake({ "Thing", "primary key", "primary_key = true" }, Thing, {})
  end)

  it("a class declared twice", function()
    local _, base = model {}
    mistake({ "Thing", "twice" }, base.model, base, "Thing", { __tablename__ = "other", id = id() })
  end)

  it("a table declared twice", function()
    local _, base = model {}
    raises("InvalidRequestError", { "thing" }, base.model, base, "Other", { __tablename__ = "thing", id = id() })
  end)

  it("two attributes on one column", function()
    local base = orm.declarative_base()
    local tbl = orm.Table("thing", base.metadata, orm.Column("id", Integer, { primary_key = true }), orm.Column("x", Integer))
    mistake({ "Thing", "'a'", "'b'", "'x'" }, base.model, base, "Thing", { __table__ = tbl, a = tbl.c.x, b = tbl.c.x })
    mistake({ "'x'", "twice" }, model, { a = orm.mapped_column("x", Integer), b = orm.mapped_column("x", Integer) })
  end)

  it("a primary key that may be NULL", function()
    mistake("nullable", orm.mapped_column, Integer, { primary_key = true, nullable = true })
  end)

  it("arguments of model that are no body", function()
    local base = orm.declarative_base()
    mistake("class name", base.model, base, nil, {})
    mistake({ "Thing", "body" }, base.model, base, "Thing")
    mistake("':'", base.model, "Thing", {})
  end)

  it("a type that is misspelt or missing", function()
    mistake({ "Mapped()", "nil" }, Mapped, nil)
    mistake({ "thing.size", "type" }, model, { size = orm.mapped_column() })
    mistake({ "Thing.size", "Mapped(Integer)" }, model, { size = Integer })
    mistake({ "Thing.owner_id", "Mapped(ForeignKey('owner.id'))" }, model, { owner_id = orm.ForeignKey("owner.id") })
    mistake("Mapped(Optional(Integer), ForeignKey('owner.id'))", orm.Optional, orm.ForeignKey("owner.id"))
    mistake({ "Intger", "Integer" }, function() return orm.Intger end)
  end)

  it("options that are unknown", function()
    mistake({ "primarykey", "primary_key" }, orm.mapped_column, Integer, { primarykey = true })
    mistake({ "nulable", "nullable" }, Mapped, Integer, { nulable = true })
    mistake({ "metdata", "metadata" }, orm.declarative_base, { metdata = orm.MetaData() })
  end)

  it("a foreign key to a table or column that does not exist, before anything is sent", function()
    local function link(target)
      local base = orm.declarative_base()
      base:model("Team", { __tablename__ = "team", id = id() })
      local Player = base:model("Player", { __tablename__ = "player", id = id(),
        team_id = orm.mapped_column(Integer, ForeignKey(target)) })
      return base, Player
    end
    local engine = orm.create_engine("sqlite://")
    local base, Player = link("teams.id")
    raises("NoReferencedTableError", { "player", "team_id", "teams" }, base.metadata.create_all, base.metadata, engine)
    raises("NoReferencedTableError", { "player", "team_id", "teams", "'team'" }, Player, {})
    base = link("team.idd")
    raises("NoReferencedColumnError", { "player", "team_id", "idd", "'id'" }, base.metadata.create_all, base.metadata, engine)
    assert.same({}, rows(engine, "SELECT name FROM sqlite_master"))
  end)
end)

describe("the one-object style", function()
  it("has engine, session, types and tables on one table", function()
    local db = orm.database("sqlite://")
    local Store = db.Model("Store", {
      __tablename__ = "stores",
      id = db.Column(db.Integer, { primary_key = true }),
      items = db.relationship("Item", { back_populates = "store" }),
    })
    local Item = db.Model("Item", {
      __tablename__ = "items",
      id = db.Column(db.Integer, { primary_key = true }),
      store_id = db.Column(db.Integer, db.ForeignKey("stores.id")),
      store = db.relationship("Store", { back_populates = "items" }),
    })
    db.Table("extra", db.Column("id", db.Integer, { primary_key = true }))
    db:create_all()
    db.session:add(Store { items = { Item {}, Item {} } })
    db.session:commit()
    assert.same({ "1|1", "2|1" }, rows(db.engine, "SELECT id, store_id FROM items"))
    assert.equal(2, #db.session:get(Store, 1).items)
    assert.same({}, rows(db.engine, "SELECT * FROM extra"))
    raises("ArgumentError", { "Modle", "Model" }, function() return db.Modle end)
    db:drop_all()
    assert.same({}, rows(db.engine, "SELECT * FROM sqlite_master"))
    db:close()
  end)
end)

describe("__table_args__", function()
  it("takes the table's options last, in one table, or beside the constraints", function()
    local base = orm.declarative_base()
    for name, arguments in pairs{
      A = { orm.UniqueConstraint("x", "y"), { sqlite_strict = true, comment = "one" } },
      B = { orm.UniqueConstraint("x", "y"), sqlite_strict = true, comment = "one" },
      C = { { sqlite_strict = true } },
    } do
      local class = base:model(name, { __tablename__ = name, __table_args__ = arguments,
        id = orm.Mapped(orm.Integer, { primary_key = true }), x = orm.Mapped(orm.Integer), y = orm.Mapped(orm.Integer) })
      assert.truthy(tostring(orm.CreateTable(class.__table__)):find("STRICT", 1, true))
      assert.equal(name ~= "C" and "one" or nil, class.__table__.comment)
    end
  end)

  it("that is no table of these is refused", function()
    local base = orm.declarative_base()
    raises("ArgumentError", "__table_args__ is a table of constraints and options", base.model, base, "A",
      { __tablename__ = "a", __table_args__ = orm.UniqueConstraint("x"), id = orm.Mapped(orm.Integer, { primary_key = true }) })
  end)
end)
