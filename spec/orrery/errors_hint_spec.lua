-- What an error of the database says beside the database's own words: the name that was meant, and what to do.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"
local text = orm.text

local engine = orm.create_engine("sqlite://")
database.run(engine, "CREATE TABLE team (id INTEGER PRIMARY KEY, code TEXT UNIQUE, \"full name\" TEXT NOT NULL)",
  "CREATE TABLE player (id INTEGER PRIMARY KEY, team_id INTEGER REFERENCES team (id), age INTEGER CHECK (age > 0))",
  "CREATE VIEW old_players AS SELECT * FROM player WHERE age > 40",
  "INSERT INTO team VALUES (1, 'a', 'A')")

local function fault(kind, words, sql)
  local conn = engine:connect()
  local err = raises(kind, words, conn.execute, conn, text(sql))
  conn:close()
  return err
end

describe("a name that the database does not know", function()
  it("of a table or view is answered with the nearest", function()
    fault("OperationalError", { "no such table: plaier", "did you mean 'player'?" }, "SELECT * FROM plaier")
    fault("OperationalError", "did you mean 'old_players'?", "SELECT * FROM old_plyers")
    fault("OperationalError", "did you mean 'team'?", "INSERT INTO main.teem VALUES (1)")
  end)

  it("of a column is answered from the tables of the statement", function()
    fault("OperationalError", { "no such column: aeg", "did you mean 'age'?" }, "SELECT aeg FROM player")
    fault("OperationalError", "did you mean 'code'?", "SELECT x.cdoe FROM player JOIN team AS x")
    fault("OperationalError", "did you mean 'age'?", "UPDATE player SET agee = 1")
    fault("OperationalError", "did you mean 'team_id'?", "INSERT INTO player (team_di) VALUES (1)")
    fault("OperationalError", "did you mean 'full name'?", 'SELECT "ful name" FROM team')
  end)

  it("of a column of a table that is not read says so", function()
    fault("OperationalError", { "no such column: team.code", "'team' has it", "join it" },
      "SELECT id FROM player ORDER BY team.code")
  end)

  it("of a function, too", function()
    fault("OperationalError", "did you mean 'upper'?", "SELECT uper(code) FROM team")
  end)

  it("without a near one has a hint of what there is", function()
    local err = fault("OperationalError", "no such table", "SELECT * FROM completely_different")
    assert.equal("no such table: completely_different", err.message)
    assert.equal("there is old_players, player, team", err.hint)
    assert.truthy(tostring(err):find("[hint: there is old_players, player, team]", 1, true))
  end)

  it("in a database without tables says how to make them", function()
    local conn = orm.create_engine("sqlite://"):connect()
    raises("OperationalError", "create_all", conn.execute, conn, text("SELECT * FROM team"))
    raises("OperationalError", "no such column", conn.execute, conn, text("SELECT x"))
  end)

  it("that is SQL itself does no harm", function()
    fault("OperationalError", "no such table", [[SELECT * FROM "'); DROP TABLE team; --"]])
    fault("OperationalError", "no such column", [[SELECT "%s %d team" FROM team]])
    assert.equal(1, engine:begin(function(conn) return conn:scalar(text("SELECT count(*) FROM team")) end))
  end)

  it("does not end the transaction", function()
    local conn = engine:connect()
    conn:execute(text("INSERT INTO team VALUES (50, 'z', 'Z')"))
    raises("OperationalError", "did you mean", conn.execute, conn, text("SELECT * FROM teamm"))
    assert.equal(2, conn:scalar(text("SELECT count(*) FROM team")))
    conn:close()
  end)
end)

describe("a constraint that is violated", function()
  local cases = {
    { "unique", "INSERT INTO team VALUES (2, 'a', 'B')", "team (code)", "on_conflict_do_update" },
    { "primary key", "INSERT INTO team VALUES (1, 'b', 'B')", "team (id)", "primary key" },
    { "not null", "INSERT INTO team (code) VALUES ('c')", "team (full name)", "default" },
    { "foreign key", "INSERT INTO player VALUES (1, 99, 20)", "refers", "exist" },
    { "check", "INSERT INTO player VALUES (1, 1, -5)", "CHECK", "values" },
  }
  for _, case in ipairs(cases) do
    it(("(%s) comes with a hint, also in its text"):format(case[1]), function()
      local err = fault("IntegrityError", "constraint failed", case[2])
      assert.equal(case[1], err.constraint)
      assert.truthy(err.hint:find(case[3], 1, true), err.hint)
      assert.truthy(err.hint:find(case[4], 1, true), err.hint)
      assert.truthy(tostring(err):find("[hint: " .. err.hint .. "]", 1, true))
      assert.equal(case[2], err.statement)
      assert.equal("number", type(err.code))
    end)
  end
end)

describe("what is not allowed where it stands", function()
  local cases = {
    { "SELECT id FROM team WHERE count(*) > 1", "misuse of aggregate", "having()" },
    { "SELECT id FROM team WHERE row_number() OVER () > 1", "misuse of window function", "in a subquery" },
    { "SELECT id FROM team, player", "ambiguous column name", "name the table" },
    { "CREATE TABLE team (id INTEGER)", "already exists", "checkfirst = true" },
  }
  for _, case in ipairs(cases) do
    it(("(%s) comes with what to do"):format(case[2]), function()
      local err = fault("OperationalError", case[2], case[1])
      assert.truthy(err.hint:find(case[3], 1, true), err.hint)
    end)
  end

  it("is writing where a database is only read", function()
    local path, remove = database.file()
    orm.create_engine("sqlite:////" .. path:sub(2)):begin(function(conn) conn:execute(text("CREATE TABLE t (id)")) end)
    local conn = orm.create_engine("sqlite:////" .. path:sub(2), { readonly = true }):connect()
    local err = raises("OperationalError", "readonly database", conn.execute, conn, text("INSERT INTO t VALUES (1)"))
    conn:close()
    remove()
    assert.truthy(err.hint:find("is readonly", 1, true))
  end)
end)

describe("a lock", function()
  local path, remove
  before_each(function() path, remove = database.file() end)
  after_each(function() remove() end)

  local function hint_of(fn, ...)
    return raises("OperationalError", "locked", fn, ...).hint
  end

  it("that another connection holds is told with what to do", function()
    local file = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    database.run(file, "CREATE TABLE t (a INTEGER)")
    local one, two = file:connect(), file:connect()
    one:execute(text("INSERT INTO t VALUES (1)"))
    local hint = hint_of(two.execute, two, text("INSERT INTO t VALUES (2)"))
    assert.truthy(hint:find("did not end within 0 s", 1, true))
    assert.truthy(hint:find("retry = n", 1, true))
    one:close()
    two:close()
    file:dispose()
  end)

  it("that comes of reading first says to begin with begin()", function()
    local file = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    local auto = file:connect():execution_options{ isolation_level = "AUTOCOMMIT" }
    auto:exec_driver_sql("PRAGMA journal_mode = WAL")
    auto:exec_driver_sql("CREATE TABLE t (a INTEGER)")
    local conn = file:connect()
    conn:scalar(text("SELECT count(*) FROM t"))
    auto:exec_driver_sql("INSERT INTO t VALUES (1)")
    local hint = hint_of(conn.execute, conn, text("INSERT INTO t VALUES (2)"))
    assert.truthy(hint:find("this transaction began by reading", 1, true))
    conn:close()
    auto:close()
    file:dispose()
  end)

  it("that another holds while this one has read says so, too, since nothing waits then", function()
    local file = orm.create_engine("sqlite:///" .. path, { timeout = 5 })
    database.run(file, "CREATE TABLE t (a INTEGER)")
    local reader, writer = file:connect(), file:connect()
    reader:scalar(text("SELECT count(*) FROM t"))
    writer:execute(text("INSERT INTO t VALUES (1)"))
    local begun = os.time()
    local hint = hint_of(reader.execute, reader, text("INSERT INTO t VALUES (2)"))
    assert.truthy(hint:find("this transaction began by reading, and another connection is writing", 1, true))
    assert.is_true(os.time() - begun < 4)
    reader:close()
    writer:close()
    file:dispose()
  end)

  it("that an open result of one's own holds says to close it", function()
    local memory = orm.create_engine("sqlite://")
    local conn = memory:connect()
    conn:exec_driver_sql("CREATE TABLE t (a INTEGER)")
    conn:exec_driver_sql("INSERT INTO t VALUES (1), (2), (3)")
    local result = conn:execute(text("SELECT a FROM t"), nil, { yield_per = 1 })
    assert.truthy(hint_of(conn.execute, conn, text("DROP TABLE t")):find("close() it first", 1, true))
    result:close()
    conn:execute(text("DROP TABLE t"))
    conn:close()
  end)
end)

describe("a file that cannot be opened", function()
  it("is told with what must be there", function()
    local function hint_of(url)
      local file = orm.create_engine(url)
      return raises("OperationalError", "unable to open", file.connect, file).hint
    end
    assert.truthy(hint_of("sqlite:///no/such/folder/x.db"):find("its folder must exist", 1, true))
    assert.truthy(hint_of("sqlite:///nofile.db?mode=rw"):find("mode=rw the file must exist", 1, true))
    assert.truthy(hint_of("sqlite:///nofile.db?mode=ro"):find("the file must exist", 1, true))
  end)
end)
