-- What a script is told when something is wrong: the error's kind, its words, and what the database said.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local Integer, String = orm.Integer, orm.String

local HAS_COMPARISON = _VERSION ~= "Lua 5.1" -- from 5.2 on __lt is called for a column and a number

describe("an error", function()
  local function fault()
    local _, err = pcall(orm.Session, nil)
    return err
  end

  it("is a table with kind, message and traceback, and text that begins with the script's place", function()
    local err = fault()
    assert.equal("ArgumentError", err.kind)
    assert.truthy(err.message:find("engine", 1, true))
    assert.equal("string", type(err.traceback))
    assert.equal(err.message, tostring(err):sub(-#err.message))
    local ok, raised = pcall(function()
      local session = orm.Session(orm.create_engine("sqlite://"))
      session:add(1)
    end)
    assert.is_false(ok)
    assert.truthy(tostring(raised):find("^[^\n]*errors_spec%.lua:%d+: "))
  end)

  it("can be joined with strings and searched like one", function()
    local err = fault()
    assert.truthy(("x" .. err):find("engine", 1, true))
    assert.truthy((err .. "x"):find("engine", 1, true))
    assert.truthy(err:find("engine", 1, true))
    assert.is_nil(err.statement)
    assert.is_false(err.retryable)
  end)

  it("belongs to a hierarchy", function()
    local err = fault()
    assert.is_true(orm.is_error(err))
    assert.is_true(orm.is_error(err, "ArgumentError"))
    assert.is_false(orm.is_error(err, "IntegrityError"))
    assert.is_false(orm.is_error("text"))
    assert.is_false(orm.is_error({ kind = "ArgumentError" }))
  end)

  it("is returned by orm.try", function()
    local result, err = orm.try(orm.Session, nil)
    assert.is_nil(result)
    assert.equal("ArgumentError", err.kind)
    assert.equal(5, orm.try(function() return 5 end))
  end)
end)

describe("a constraint that is violated names itself:", function()
  local Base = orm.declarative_base()
  local Team = Base:model("Team", { __tablename__ = "team", id = orm.mapped_column(Integer, { primary_key = true }),
    code = orm.mapped_column(String, { unique = true }) })
  local Player = Base:model("Player", { __tablename__ = "player", id = orm.mapped_column(Integer, { primary_key = true }),
    name = orm.mapped_column(String, { nullable = false }),
    age = orm.mapped_column(Integer),
    shirt = orm.mapped_column(Integer),
    team_id = orm.mapped_column(Integer, orm.ForeignKey("team.id")),
    __table_args__ = { orm.CheckConstraint("age > 0", { name = "grown" }),
      orm.UniqueConstraint("team_id", "shirt", { name = "one_shirt" }) } })

  local function violate(...)
    local engine = database.create(Base)
    local session = orm.Session(engine)
    session:add(Team { id = 1, code = "a" })
    session:commit()
    session:add_all { ... }
    local err = raises("IntegrityError", "", session.flush, session)
    assert.is_true(orm.is_error(err, "DatabaseError") and orm.is_error(err, "DBAPIError"))
    assert.is_false(err.retryable)
    return err, session, engine
  end

  it("unique", function()
    local err = violate(Team { code = "a" })
    assert.same({ "unique", "team", { "code" } }, { err.constraint, err.table, err.columns })
    assert.truthy(err.statement:find('^INSERT INTO "?team'))
    assert.same({ "a" }, err.params)
    local text = tostring(err)
    assert.truthy(text:find("^[^\n]*%.lua:%d+: ") and text:find("INSERT INTO", 1, true) and text:find("'a'", 1, true))
  end)

  it("unique over several columns", function()
    local err = violate(Player { name = "x", team_id = 1, shirt = 7 }, Player { name = "y", team_id = 1, shirt = 7 })
    assert.same({ "unique", "player", { "team_id", "shirt" } }, { err.constraint, err.table, err.columns })
  end)

  it("primary key", function()
    local err = violate(Team { id = 1, code = "b" })
    assert.equal("team", err.table)
    assert.same({ "id" }, err.columns)
    assert.truthy(err.constraint == "primary key" or err.constraint == "unique")
  end)

  it("not null", function()
    local err = violate(Player { age = 1 })
    assert.same({ "not null", "player", { "name" } }, { (err.constraint:gsub("_", " ")), err.table, err.columns })
    assert.truthy(err.statement:find("INSERT INTO", 1, true))
  end)

  it("check", function()
    local err = violate(Player { name = "x", age = -1 })
    assert.equal("check", err.constraint)
    assert.truthy(err.message:find("grown", 1, true))
  end)

  it("foreign key", function()
    local err = violate(Player { name = "x", team_id = 99 })
    assert.equal("foreign key", (err.constraint:gsub("_", " ")))
  end)

  it("and in an UPDATE or DELETE", function()
    local engine = database.create(Base)
    local session = orm.Session(engine)
    local team = Team { code = "a", id = 1 }
    session:add_all { team, Team { code = "b" }, Player { name = "x", team_id = 1 } }
    session:commit()
    session:get(Team, 2).code = "a"
    local err = raises("IntegrityError", "", session.flush, session)
    assert.truthy(err.statement:find("^UPDATE"))
    assert.same({ "a", 2 }, err.params)
    session:rollback()
    session:delete(team)
    err = raises("IntegrityError", "", session.flush, session)
    assert.truthy(err.statement:find("^DELETE"))
    session:rollback()
  end)

  it("and hides the values where the engine is told to", function()
    local engine = database.create(Base, { hide_parameters = true })
    local session = orm.Session(engine)
    session:add_all { Team { id = 1, code = "secret" }, Team { id = 2, code = "secret" } }
    local err = raises("IntegrityError", "", session.flush, session)
    assert.is_nil(tostring(err):find("secret", 1, true))
  end)
end)

describe("conditions that Lua cannot mean are caught:", function()
  local lib

  setup(function()
    lib = library.open()
  end)

  if HAS_COMPARISON then
    it("Book.year < 5 says what to write", function()
      raises("ArgumentError", "Book.year:lt(5)", function() return lib.Book.year < 5 end)
      raises("ArgumentError", "Book.year:gt(5)", function() return lib.Book.year > 5 end)
      raises("ArgumentError", "Book.year:le(5)", function() return lib.Book.year <= 5 end)
      raises("ArgumentError", "Book.year:ge(5)", function() return lib.Book.year >= 5 end)
    end)
  else
    it("Book.year < 5 is refused by Lua itself", function()
      assert.is_false(pcall(function() return lib.Book.year < 5 end))
    end)
  end

  it("where(Book.id == 5) is where(false)", function()
    for position, call in ipairs {
      function() return orm.select(lib.Book):where(lib.Book.id == 5) end,
      function() return orm.select(lib.Book):where(lib.Book.title:eq("x"), lib.Book.id == 5) end,
    } do
      raises("ArgumentError", { "where()", "argument " .. position, "false", ":eq(" }, call)
    end
    raises("ArgumentError", { "where()", "true" }, function() return orm.select(lib.Book):where(lib.Book.id ~= 5) end)
  end)

  it("where(Book.nmae) names the nearest attribute", function()
    raises("ArgumentError", { "Book", "titel", "title" }, function() return orm.select(lib.Book):where(lib.Book.titel:eq(1)) end)
  end)

  it("nil, where an expression belongs", function()
    raises("ArgumentError", { "where()", "argument 1", "nil" }, function() return orm.select(lib.Book):where(nil) end)
    raises("ArgumentError", { "select()", "argument 2", "nil" }, function() return orm.select(lib.Book, nil) end)
    raises("ArgumentError", "nil", function() return lib.Book.title:eq(nil) end)
    raises("ArgumentError", "", function() return lib.session:query(lib.Book):filter_by { titel = "x" } end)
    raises("ArgumentError", "", function() return lib.session:query(lib.Book):filter_by {} end)
  end)

  it("statements that are none", function()
    for _, value in ipairs { 1, true, {}, lib.Book } do
      assert.is_false(pcall(lib.session.execute, lib.session, value))
      assert.is_false(pcall(lib.session.scalars, lib.session, value))
    end
    raises("ArgumentError", "text", lib.session.execute, lib.session, "SELECT 1")
  end)
end)

describe("statements that the database refuses", function()
  it("carry SQL and parameters", function()
    local lib = library.open()
    local err = raises("OperationalError", "no such table", lib.session.execute, lib.session,
      orm.text("SELECT * FROM nowhere WHERE x = :x"), { x = 1 })
    assert.truthy(err.statement:find("nowhere", 1, true))
    assert.equal(4, #lib.session:scalars(orm.select(lib.Book)):all())
  end)

  it("because the tables were never created say so", function()
    local lib = library.declare()
    local session = orm.Session(orm.create_engine("sqlite://"))
    session:add(lib.Author {})
    local err = raises("OperationalError", "no such table", session.flush, session)
    assert.truthy(err.statement:find("author", 1, true))
  end)

  it("because the engine only reads say so", function()
    local path, remove = database.file()
    local lib = library.declare()
    local engine = orm.create_engine("sqlite:///" .. path)
    lib.metadata:create_all(engine)
    engine:dispose()
    engine = orm.create_engine("sqlite:///" .. path .. "?mode=ro")
    local session = orm.Session(engine)
    assert.same({}, session:scalars(orm.select(lib.Author)):all())
    session:add(lib.Author {})
    raises("OperationalError", "readonly", session.flush, session)
    session:rollback()
    session:close()
    engine:dispose()
    remove()
  end)
end)

describe("use after the end", function()
  it("of an engine says that it is disposed", function()
    local lib = library.open()
    lib.session:close()
    lib.engine:dispose()
    local ok, err = pcall(lib.session.get, lib.session, lib.Book, 1)
    assert.is_false(ok)
    assert.is_true(orm.is_error(err))
  end)

  it("of a connection says that it is closed", function()
    local lib = library.open()
    local conn = lib.engine:connect()
    conn:close()
    raises("ResourceClosedError", "closed", conn.execute, conn, orm.text("SELECT 1"))
  end)

  it("of a session's connection, taken from it, leaves the session usable", function()
    local lib = library.open()
    lib.session:connection():close()
    assert.equal("b1", lib.session:get(lib.Book, 1).title)
  end)
end)

describe("a name that the library does not have", function()
  it("is named with the nearest one", function()
    raises("ArgumentError", { "relationshp", "relationship" }, function() return orm.relationshp end)
  end)
end)
