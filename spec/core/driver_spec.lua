-- The SQLite driver and its statements, seen through connections.
local orm = require "orrery"
local text = orm.text

local function memory()
  local engine = orm.create_engine("sqlite://")
  return engine:connect(), engine
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function run(conn, sql, ...)
  return conn:exec_driver_sql(sql, ...)
end

describe("the defaults of a connection", function()
  local conn = memory()

  it("enforce foreign keys", function()
    assert.equal(1, run(conn, "PRAGMA foreign_keys"):scalar())
  end)

  it("do not read a misspelt name in double quotes as a string", function()
    assert.equal("OperationalError", failure(run, conn, 'SELECT "misspelt"').kind)
    assert.equal("OperationalError", failure(run, conn, 'CREATE TABLE q (a CHECK (a <> "x"))').kind)
  end)

  it("do not trust the schema of a file, nor let SQL break it", function()
    assert.equal(0, run(conn, "PRAGMA trusted_schema"):scalar())
    run(conn, "PRAGMA writable_schema = ON")
    assert.equal("OperationalError", failure(run, conn, "DELETE FROM sqlite_schema").kind)
  end)

  it("do not load extensions", function()
    assert.equal("OperationalError", failure(run, conn, "SELECT load_extension('x')").kind)
  end)

  it("wait five seconds for a lock", function()
    assert.equal(5000, run(conn, "PRAGMA busy_timeout"):scalar())
  end)

  it("sync the directory after a commit too, so that a power cut takes none back", function()
    local EXTRA = 3
    assert.equal(EXTRA, run(conn, "PRAGMA synchronous"):scalar())
  end)
end)

describe("values", function()
  local conn = memory()

  it("come back as they went", function()
    local long = ("x"):rep(1000000)
    for _, value in ipairs{ 0, -1, 1.5, "", "a\0b", "\0", long, "'); DROP TABLE t; --", 9007199254740991, 1 / 0,
      -1 / 0 } do
      assert.equal(value, run(conn, "SELECT ?", { value }):scalar())
    end
    assert.is_nil(run(conn, "SELECT ?", { orm.null }):scalar())
  end)

  it("have the storage class of their type", function()
    local row = conn:execute(text("SELECT typeof(:i), typeof(:r), typeof(:t), typeof(:n), typeof(:b), typeof(:bool)")
      :bindparams{ b = orm.literal("\255\0", orm.LargeBinary) },
      { i = 1, r = 1.5, t = "x", n = orm.null, bool = true }):one()
    assert.same({ "integer", "real", "text", "null", "blob", "integer" }, { row() })
  end)

  it("keep an empty string apart from NULL, and an empty blob too", function()
    assert.equal("text", run(conn, "SELECT typeof(?)", { "" }):scalar())
    assert.equal("blob", conn:scalar(text("SELECT typeof(:b)"):bindparams{ b = orm.literal("", orm.LargeBinary) }))
    assert.equal("", run(conn, "SELECT x''"):scalar())
  end)

  it("beyond 2^53 are exact, or an error where numbers are doubles", function()
    local ok, value = pcall(function()
      return run(conn, "SELECT 9223372036854775807"):scalar()
    end)
    if math.type then
      assert.equal(math.maxinteger, value)
    else
      assert.is_false(ok)
      assert.equal("DataError", value.kind)
    end
  end)

  it("are counted", function()
    local err = failure(run, conn, "SELECT ?, ?", { 1 })
    assert.equal("ProgrammingError", err.kind)
    assert.truthy(err.message:find("2 parameters, but 1 was given", 1, true))
  end)
end)

describe("statements", function()
  local conn = memory()

  it("are one at a time", function()
    assert.truthy(failure(run, conn, "SELECT 1; SELECT 2").message:find("one statement at a time", 1, true))
    assert.truthy(failure(run, conn, "SELECT 1; nonsense").message:find("one statement at a time", 1, true))
    assert.equal(1, run(conn, "SELECT 1; -- and no more\n ; /* really */ "):scalar())
  end)

  it("are not empty and hold no NUL", function()
    assert.equal("ProgrammingError", failure(run, conn, " -- nothing").kind)
    assert.equal("ProgrammingError", failure(run, conn, "SELECT 1\0, 2").kind)
  end)

  it("may be open twice at once", function()
    local sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT i FROM n"
    local one, two = run(conn, sql), run(conn, sql)
    assert.equal(1, one:fetchone()[1])
    assert.equal(1, two:fetchone()[1])
    assert.equal(299, #one:all())
    assert.equal(299, #two:all())
  end)

  it("outnumber the cache without harm", function()
    for round = 1, 2 do
      for number = 1, 200 do
        assert.equal(number + round, run(conn, "SELECT ? + " .. number, { round }):scalar())
      end
    end
  end)

  it("see a table's new columns", function()
    run(conn, "CREATE TABLE grows (a)")
    run(conn, "INSERT INTO grows VALUES (1)")
    assert.same({ "a" }, run(conn, "SELECT * FROM grows"):keys())
    run(conn, "ALTER TABLE grows ADD COLUMN b DEFAULT 7")
    local row = run(conn, "SELECT * FROM grows"):one()
    assert.equal(7, row.b)
    run(conn, "ALTER TABLE grows RENAME COLUMN b TO c")
    assert.equal(7, run(conn, "SELECT * FROM grows"):one().c)
    run(conn, "ALTER TABLE grows DROP COLUMN a")
    assert.same({ 7 }, { run(conn, "SELECT * FROM grows"):one()() })
  end)
end)

describe("a violated constraint", function()
  local conn = memory()
  run(conn, "CREATE TABLE parent (id INTEGER PRIMARY KEY)")
  run(conn, [[CREATE TABLE child (
    id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER, parent_id REFERENCES parent(id),
    UNIQUE (a, b), CONSTRAINT positive CHECK (b > 0))]])
  run(conn, 'CREATE TABLE "odd.name" ("x.y" UNIQUE)')
  run(conn, "CREATE UNIQUE INDEX by_lower ON parent (id + 1)")
  run(conn, "INSERT INTO parent VALUES (1)")
  run(conn, "INSERT INTO child VALUES (1, 'x', 1, 1)")
  run(conn, 'INSERT INTO "odd.name" VALUES (1)')

  local function violated(sql, constraint, table_name, columns)
    local err = failure(run, conn, sql)
    assert.equal("IntegrityError", err.kind)
    assert.equal(constraint, err.constraint)
    assert.equal(table_name, err.table)
    assert.same(columns, err.columns)
    assert.equal(sql, err.statement)
    assert.is_false(err.retryable)
    assert.is_number(err.code)
  end

  it("says which", function()
    violated("INSERT INTO child VALUES (2, 'x', 1, 1)", "unique", "child", { "a", "b" })
    violated("INSERT INTO child VALUES (1, 'y', 1, 1)", "primary key", "child", { "id" })
    violated("INSERT INTO child VALUES (2, NULL, 1, 1)", "not null", "child", { "a" })
    violated("INSERT INTO child VALUES (2, 'y', 1, 7)", "foreign key")
    violated("INSERT INTO child VALUES (2, 'y', 0, 1)", "check")
  end)

  it("is read right where names have points in them", function()
    violated('INSERT INTO "odd.name" VALUES (1)', "unique", "odd.name", { "x.y" })
  end)

  it("of an expression has no columns", function()
    violated("INSERT INTO parent VALUES (1.0)", "primary key", "parent", { "id" })
    local err = failure(run, conn, "INSERT INTO parent SELECT 1")
    assert.equal("IntegrityError", err.kind)
  end)
end)

describe("other errors", function()
  it("of SQL carry statement, parameters and code", function()
    local conn = memory()
    local err = failure(run, conn, "SELECT * FROM nix WHERE a = ?", { "x" })
    assert.equal("OperationalError", err.kind)
    assert.truthy(err.message:find("^no such table: nix"))
    assert.equal("SELECT * FROM nix WHERE a = ?", err.statement)
    assert.same({ "x" }, err.params)
    assert.equal(1, err.code)
    assert.is_true(orm.is_error(err, "DBAPIError"))
    assert.truthy(tostring(err):find("driver_spec.lua:%d+: no such table"))
  end)

  it("of a place that is not there name it", function()
    local engine = orm.create_engine("sqlite:////nonexistent/place/x.db")
    local err = failure(engine.connect, engine)
    assert.equal("OperationalError", err.kind)
    assert.truthy(err.message:find("/nonexistent/place/x.db", 1, true))
  end)

  it("of a file that is no database say so", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(("no database "):rep(100))
    file:close()
    local engine = orm.create_engine("sqlite:///" .. path)
    assert.equal("DatabaseError", failure(engine.connect, engine).kind)
    os.remove(path)
  end)

  it("of a lock may be tried again", function()
    local path = os.tmpname()
    local engine = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    local one, two = engine:connect(), engine:connect()
    run(one, "CREATE TABLE t (a)")
    local err = failure(run, two, "CREATE TABLE u (a)")
    assert.equal("OperationalError", err.kind)
    assert.is_true(err.retryable)
    one:close()
    two:close()
    engine:dispose()
    os.remove(path)
  end)
end)

describe("text()", function()
  local conn = memory()

  it("finds markers where values can stand, and nowhere else", function()
    local row = conn:execute(text([[SELECT :a AS v, ':b' AS lit, 'it''s :c' AS quoted, 1 AS ":d", 2 AS [:e], 3 AS `:f`,
      4 AS g -- :h
      , 5 /* :i */ AS j, '\:' AS k]]), { a = 7 }):one()
    assert.equal(7, row.v)
    assert.equal(":b", row.lit)
    assert.equal("it's :c", row.quoted)
    assert.equal(1, row[":d"])
    assert.equal(5, row.j)
  end)

  it("takes a name several times", function()
    assert.equal(6, conn:scalar(text("SELECT :a + :a + :b"), { a = 2, b = 2 }))
  end)

  it("reads long text in a straight line", function()
    local sql = "SELECT " .. ("':x' || "):rep(20000) .. ":a"
    local err = failure(conn.execute, conn, text(sql), {})
    assert.truthy(err.message:find("'a'", 1, true))
  end)
end)
