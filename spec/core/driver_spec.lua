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

describe("the statements that a connection keeps", function()
  it("are as many as are read at the same time, and come within the bound again after that", function()
    local conn = memory()
    local COUNT, ROWS, open = 200, 3000, {}
    local function begin(from)
      return run(conn, ("WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT %d")
        :format(from, ROWS))
    end
    for i = 1, COUNT do
      open[i] = begin(i)
      assert.equal(i, open[i]:fetchone()[1])
    end
    for i = 1, COUNT do
      local sum, row = i, open[i]:fetchone()
      while row do
        sum, row = sum + row[1], open[i]:fetchone()
      end
      assert.equal(ROWS * i + ROWS * (ROWS - 1) / 2, sum)
    end
    for i = 1, COUNT do
      assert.equal(i, begin(i):scalar())
    end
    conn:close()
  end)
end)

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

  it("names what it can where names are long, or hold commas", function()
    local long = ("t"):rep(200)
    run(conn, ("CREATE TABLE %s (id INTEGER PRIMARY KEY, c UNIQUE)"):format(long))
    run(conn, ("INSERT INTO %s VALUES (1, 1)"):format(long))
    violated(("INSERT INTO %s VALUES (2, 1)"):format(long), "unique")
    local names = {}
    for i = 1, 9 do
      names[i] = ("c"):rep(60) .. i
    end
    run(conn, ("CREATE TABLE wide (%s, UNIQUE (%s))"):format(table.concat(names, ", "), table.concat(names, ", ")))
    run(conn, "INSERT INTO wide VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1)")
    local err = failure(run, conn, "INSERT INTO wide VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1)")
    assert.equal("wide", err.table)
    assert.equal(names[1], err.columns[1])
    assert.is_true(#err.columns < 9)
    run(conn, 'CREATE TABLE co ("a, co" UNIQUE, "b, x" UNIQUE)')
    run(conn, "INSERT INTO co VALUES (1, 1)")
    assert.equal("unique", failure(run, conn, "INSERT INTO co VALUES (1, 2)").constraint)
    assert.equal("unique", failure(run, conn, "INSERT INTO co VALUES (2, 1)").constraint)
  end)

  it("that a trigger or a strict type makes up has no columns", function()
    run(conn, [[CREATE TRIGGER told BEFORE DELETE ON child BEGIN
      SELECT RAISE(ABORT, 'UNIQUE constraint failed: child.a'); END]])
    local err = failure(run, conn, "DELETE FROM child")
    assert.same({ "IntegrityError" }, { err.kind, err.constraint, err.table })
    err = failure(run, conn, "INSERT INTO child (id) VALUES ('x')")
    assert.equal("IntegrityError", err.kind)
    run(conn, "CREATE TABLE without (a PRIMARY KEY) WITHOUT ROWID")
    run(conn, "INSERT INTO without VALUES (1)")
    violated("INSERT INTO without VALUES (1)", "primary key", "without", { "a" })
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

  it("of a place with a very long name are cut", function()
    local engine = orm.create_engine("sqlite:////" .. ("x"):rep(5000))
    assert.equal("OperationalError", failure(engine.connect, engine).kind)
  end)

  it("of SQL are told apart", function()
    local conn = memory()
    local cases = { { "SELECT zeroblob(2000000000)", "DataError" }, { "SELECT 1 FROM", "OperationalError" },
      { "INSERT INTO sqlite_schema VALUES (1)", "OperationalError" } }
    for _, case in ipairs(cases) do
      assert.equal(case[2], failure(run, conn, case[1]).kind, case[1])
    end
    run(conn, "CREATE TABLE t (a)")
    run(conn, "INSERT INTO t VALUES (1), (2)")
    conn.dbc:prepare("SELECT a FROM t"):step()
    assert.is_true(failure(run, conn, "DROP TABLE t").retryable)
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

-- What engines are made of; a script in a sandbox can call it as it likes.
describe("a connection at its lowest", function()
  local dbc

  before_each(function() dbc = memory().dbc end)

  it("prepares, binds and fetches", function()
    local stmt = dbc:prepare("SELECT ?, ? AS b")
    assert.equal("SELECT ?, ? AS b", stmt:sql())
    assert.is_true(stmt:readonly())
    assert.same({ "?", "b" }, stmt:columns())
    local known = stmt:columns()
    assert.equal(known, stmt:columns(known))
    for _, other in ipairs { { "?" }, { "?", "c" }, { "?", false }, {}, "?" } do
      assert.same({ "?", "b" }, stmt:columns(other))
      assert.not_equal(other, stmt:columns(other))
    end
    local rows, done = stmt:bind({ 1, "x" }, 2):fetch()
    assert.same({ { { 1, "x" } }, true }, { rows, done })
    assert.equal(dbc:prepare("SELECT ?, ? AS b"), stmt)
  end)

  it("says which value cannot be bound, by its name or number", function()
    local core = require "orrery".Integer.handle
    local stmt = dbc:prepare("SELECT ?, ?")
    local err = failure(stmt.bind, stmt, { 1, {} }, 2)
    assert.truthy(err.message:find("parameter 2: a number, string", 1, true))
    err = failure(stmt.bind, stmt, { 1, "x" }, 2, { false, core }, { "one", "two" })
    assert.truthy(err.message:find("parameter 'two': an integer expected", 1, true))
    err = failure(stmt.bind, stmt, { 1, "x" }, 2, { false, core }, {})
    assert.truthy(err.message:find("parameter 2: an integer expected", 1, true))
    assert.equal("SELECT ?, ?", err.statement)
    assert.truthy(failure(stmt.bind, stmt, {}, 0).message:find("2 parameters, but 0 were given", 1, true))
    stmt = dbc:prepare("SELECT ?")
    assert.truthy(failure(stmt.bind, stmt, { 1, 2 }, 2).message:find("1 parameter, but 2 were given", 1, true))
  end)

  it("reads as many rows as are wanted, from the one that it stands on", function()
    local stmt = dbc:prepare("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT NULL UNION ALL SELECT 4")
    assert.same({ {}, true }, { stmt:fetch(nil, nil, 0) })
    assert.is_true(stmt:step())
    assert.same({ { { 1 } }, false }, { stmt:fetch(nil, nil, 1) })
    assert.same({ { 2, orm.null }, false }, { stmt:fetch_column(1, nil, 2) })
    assert.same({ { 4 }, true }, { stmt:fetch_column(1, false) })
    assert.same({ {}, true }, { stmt:fetch_column(1, nil, 0) })
    assert.same({ { 1 }, false }, { stmt:fetch_column(1, nil, 1) })
    stmt:reset()
    for _, column in ipairs { 0, 2, -1 } do
      assert.equal("ArgumentError", failure(stmt.fetch_column, stmt, column).kind)
    end
    local metatable = { __index = { name = "row" } }
    assert.equal("row", stmt:fetch(nil, metatable)[1].name)
  end)

  it("runs what has no rows", function()
    dbc:exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    local stmt = dbc:prepare("INSERT INTO t (a) VALUES (?)")
    assert.is_false(stmt:readonly())
    assert.same({ {}, true }, { stmt:bind({ 5 }, 1):fetch() })
    assert.equal(1, dbc:changes())
    assert.equal(1, dbc:last_insert_id())
    assert.is_false(stmt:bind({ 6 }, 1):step())
    assert.is_false(dbc:in_transaction())
    dbc:exec("BEGIN")
    assert.is_true(dbc:in_transaction())
    assert.equal("OperationalError", failure(dbc.exec, dbc, "BEGIN").kind)
    assert.equal("BEGIN", failure(dbc.exec, dbc, "BEGIN").statement)
  end)

  it("ends every cursor at once", function()
    local one, two = dbc:prepare("SELECT 1 UNION ALL SELECT 2"), dbc:prepare("SELECT 3")
    one:step()
    dbc:reset_all()
    assert.same({ { 1 }, { 2 } }, (one:fetch()))
    assert.same({ { 3 } }, (two:fetch()))
  end)

  it("runs one text twice at once, and keeps statements that are in use", function()
    local sql = "SELECT 1 UNION ALL SELECT 2"
    local one = dbc:prepare(sql)
    one:step()
    local two = dbc:prepare(sql)
    assert.not_equal(one, two)
    two:step()
    for i = 1, 300 do
      dbc:prepare("SELECT " .. i):fetch()
    end
    assert.same({ 1, 2 }, (one:fetch_column(1)))
    assert.same({ 1, 2 }, (two:fetch_column(1)))
  end)

  it("has a timeout that is no less than nothing", function()
    assert.is_false(pcall(dbc.set_timeout, dbc, -1))
    assert.is_false(pcall(dbc.set_timeout, dbc, "soon"))
    dbc:set_timeout(0.05)
    local endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    local stmt = dbc:prepare(endless)
    assert.truthy(failure(stmt.step, stmt).message:find("timeout of 0.05 s", 1, true))
    assert.same({ { 1 } }, (dbc:prepare("SELECT 1"):fetch()))
    dbc:set_timeout(0)
    assert.same({ { 1 } }, (dbc:prepare("SELECT 1"):fetch()))
  end)

  it("is closed once, with its statements", function()
    local stmt = dbc:prepare("SELECT 1")
    assert.is_true(dbc:is_open())
    dbc:close()
    dbc:close()
    assert.is_false(dbc:is_open())
    stmt:reset()
    assert.equal("SELECT 1", stmt:sql())
    assert.equal("ResourceClosedError", failure(stmt.step, stmt).kind)
    assert.equal("ResourceClosedError", failure(dbc.prepare, dbc, "SELECT 1").kind)
    for _, name in ipairs { "exec", "in_transaction", "changes", "last_insert_id", "interrupt", "set_timeout", "reset_all" } do
      assert.equal("ResourceClosedError", failure(dbc[name], dbc, 1).kind)
    end
  end)
end)

describe("an engine", function()
  it("waits for locks as long as a number can say", function()
    local engine = orm.create_engine("sqlite://", { timeout = 1e9 })
    assert.equal(2147483647, run(engine:connect(), "PRAGMA busy_timeout"):scalar())
    assert.equal(250, run(orm.create_engine("sqlite://", { timeout = 0.25 }):connect(), "PRAGMA busy_timeout"):scalar())
    assert.equal("ArgumentError", failure(function()
      return orm.create_engine("sqlite://", { timeout = -1 }):connect()
    end).kind)
  end)
end)

describe("text()", function()
  local conn = memory()

  it("holds no NUL", function()
    assert.truthy(failure(text, "SELECT ':a\0'").message:find("NUL byte", 1, true))
  end)

  it("knows letters, digits and brackets around markers", function()
    local row = conn:execute(text([[SELECT :Az_9 AS v, 1 AS [a:b], ':c', 2 AS "x"]]), { Az_9 = 3 }):one()
    assert.same({ 3, 1, ":c", 2 }, { row() })
    for _, sql in ipairs { "SELECT ?", "SELECT $x", "SELECT @x", "SELECT a[?]", "SELECT f()[$x]", "SELECT a[1][@x]" } do
      assert.truthy(failure(text, sql).message:find("is written :name here", 1, true), sql)
    end
    local NAMES = { ["SELECT 1 AS a$b"] = "", ["SELECT $"] = "", ["SELECT @"] = "", ["SELECT :"] = "", ["SELECT '"] = "",
      ["SELECT /* "] = "", ["SELECT 1::int"] = "", ["SELECT {:x}"] = "x", ["SELECT a[:x]"] = "x", ["SELECT [:x"] = "",
      ["SELECT \195\164:x"] = "", ["SELECT (:x)[:y]"] = "x", ["SELECT `:x"] = "", ["SELECT -:x"] = "x", ["SELECT @:x"] = "x",
      ["SELECT a:x"] = "", ["SELECT a::x:y"] = "", ["SELECT \\:x"] = "", ["SELECT a[1][:x]"] = "x", ["[:x]"] = "", [":x"] = "x",
      ["SELECT '':x''"] = "x", ["SELECT --\n:x"] = "x", ["SELECT /**/:x"] = "x", ["SELECT a$:x"] = "", ["SELECT Z[:x]"] = "x" }
    for sql, names in pairs(NAMES) do
      local err = failure(conn.execute, conn, text(sql), { z = 1 })
      assert.equal(names ~= "", err.message:find("no parameter 'z'; there", 1, true) ~= nil, sql .. ": " .. err.message)
    end
  end)

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
