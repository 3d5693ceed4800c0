-- Engines, pools, connections, transactions and engine events.
local orm = require "orrery"
local text = orm.text
local unpack = table.unpack or unpack

local paths = {}
local function new_path()
  paths[#paths + 1] = os.tmpname()
  return paths[#paths]
end

teardown(function()
  for _, path in ipairs(paths) do
    for _, ending in ipairs{ "", "-wal", "-shm", "-journal" } do
      os.remove(path .. ending)
    end
  end
end)

local function raises(kind, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(kind, type(err) == "table" and err.kind or err)
  return err
end

-- An engine whose statements, transaction control and all, are written to a list.
local function watched(url, options)
  options = options or {}
  local log = {}
  options.echo = function(sql)
    log[#log + 1] = sql
  end
  local engine = orm.create_engine(url or "sqlite://", options)
  engine:begin(function(conn)
    conn:execute(text("CREATE TABLE t (a INTEGER)"))
  end)
  while log[1] do
    table.remove(log)
  end
  return engine, log
end

local INSERT, COUNT = text("INSERT INTO t VALUES (:a)"), text("SELECT count(*) FROM t")

describe("a URL", function()
  it("is made of its parts", function()
    local url = orm.URL.create{ drivername = "sqlite", database = "my shop.db", query = { mode = "ro" } }
    assert.equal("sqlite:///my shop.db?mode=ro", tostring(url))
    assert.is_true(url == orm.make_url("sqlite:///my shop.db?mode=ro"))
    assert.equal("my shop.db", orm.create_engine(url).url.database)
    assert.truthy(raises("ArgumentError", orm.URL.create, { database = "x" }):find("drivername must be a name", 1, true))
    assert.truthy(raises("ArgumentError", orm.URL.create, { drivernam = "x" }):find("did you mean 'drivername'", 1, true))
  end)

  it("names a memory database or a file", function()
    for _, url in ipairs{ "sqlite://", "sqlite:///:memory:", "sqlite:///relative.db", "sqlite:////place/a.db" } do
      assert.equal(url, tostring(orm.create_engine(url).url))
    end
    assert.is_nil(orm.create_engine("sqlite://").url.database)
    assert.equal("relative.db", orm.create_engine("sqlite:///relative.db").url.database)
    assert.equal("/absolute/place.db", orm.create_engine("sqlite:////absolute/place.db").url.database)
  end)

  it("hides its password", function()
    local url = orm.make_url("postgresql+pg://ann:p%40ss@host:5432/shop?b=2&a=1")
    assert.equal("p@ss", url.password)
    assert.equal(5432, url.port)
    assert.equal("postgresql+pg://ann:***@host:5432/shop?a=1&b=2", tostring(url))
    assert.equal("postgresql+pg://ann:p%40ss@host:5432/shop?a=1&b=2", url:render_as_string{ hide_password = false })
  end)

  it("can be copied with other parts, and compared", function()
    local url = orm.make_url("postgresql://ann:secret@host/shop")
    local other = url:set{ database = "test", query = { sslmode = "off" } }
    assert.equal("postgresql://ann:secret@host/test?sslmode=off", other:render_as_string{ hide_password = false })
    assert.equal("shop", url.database)
    assert.is_true(url == orm.make_url("postgresql://ann:secret@host/shop"))
    assert.is_false(url == orm.make_url("postgresql://ann:other@host/shop"))
    assert.falsy(raises("ArgumentError", orm.make_url, "ann:secret@host"):find("secret", 1, true))
    raises("ArgumentError", url.set, url, { databse = "x" })
  end)

  it("that is wrong is explained", function()
    local wrong = {
      ["nonsense"] = "is not a database URL",
      ["sqlit:///x.db"] = "did you mean 'sqlite'",
      ["sqlite://x.db"] = "names a host",
      ["sqlite:///x.db?mde=ro"] = "did you mean 'mode'",
      ["sqlite:///x.db?mode=readonly"] = "ro, rw, rwc or memory",
    }
    for url, words in pairs(wrong) do
      assert.truthy(raises("ArgumentError", orm.create_engine, url).message:find(words, 1, true))
    end
  end)

  it("can ask for reading only", function()
    local path = new_path()
    watched("sqlite:///" .. path):dispose()
    for _, engine in ipairs{ orm.create_engine("sqlite:///" .. path .. "?mode=ro"),
      orm.create_engine("sqlite:///" .. path, { readonly = true }) } do
      local conn = engine:connect()
      assert.equal(0, conn:scalar(COUNT))
      local err = raises("OperationalError", conn.execute, conn, INSERT, { a = 1 })
      assert.truthy(err.message:find("readonly", 1, true))
      conn:close()
    end
  end)

  it("with mode=rw makes no file", function()
    local engine = orm.create_engine("sqlite:///" .. new_path() .. ".absent?mode=rw")
    raises("OperationalError", engine.connect, engine)
  end)

  it("is not a URI for SQLite unless asked", function()
    local path = new_path()
    local engine = orm.create_engine("sqlite:///file:" .. path:gsub("^/", "") .. "?mode=ro")
    raises("OperationalError", engine.connect, engine)
    local uri = orm.create_engine("sqlite:///file:" .. path .. "?uri=true&immutable=1"):connect()
    uri:exec_driver_sql("SELECT 1")
    uri:close()
    assert.equal(0, orm.create_engine("sqlite:///file::memory:?uri=true"):connect():scalar(text("SELECT 0")))
  end)

  it("with a NUL byte is refused", function()
    local engine = orm.create_engine("sqlite:///a\0b")
    raises("ArgumentError", engine.connect, engine)
  end)
end)

describe("create_engine", function()
  it("refuses unknown options and wrong values", function()
    local err = raises("ArgumentError", orm.create_engine, "sqlite://", { ehco = true })
    assert.truthy(err.message:find("'echo'", 1, true))
    raises("ArgumentError", orm.create_engine, "sqlite://", { echo = 1 })
    raises("ArgumentError", orm.create_engine, "sqlite://", { pool_size = "many" })
    raises("ArgumentError", orm.create_engine, nil)
  end)
end)

describe("engine:begin", function()
  it("commits at the end and returns what the function returns", function()
    local engine, log = watched()
    assert.same({ 1, nil, 3, n = 3 }, (function(...) return { n = select("#", ...), ... } end)(
      engine:begin(function(conn)
        conn:execute(INSERT, { a = 1 })
        return 1, nil, 3
      end)))
    assert.same({ "BEGIN IMMEDIATE", "INSERT INTO t VALUES (?)\n  (1)", "COMMIT" }, log)
  end)

  it("rolls back and raises again", function()
    local engine, log = watched()
    local err = {}
    local ok, raised = pcall(engine.begin, engine, function(conn)
      conn:execute(INSERT, { a = 1 })
      error(err)
    end)
    assert.is_false(ok)
    assert.equal(err, raised)
    assert.equal("ROLLBACK", log[#log])
    assert.equal(0, engine:connect():scalar(COUNT))
  end)

  it("reads on request", function()
    local engine, log = watched()
    engine:begin(function(conn)
      return conn:scalar(COUNT)
    end, { mode = "read" })
    assert.equal("BEGIN DEFERRED", log[1])
  end)

  it("runs again what lost a race", function()
    local engine, runs = watched(), 0
    local result = engine:begin(function()
      runs = runs + 1
      if runs < 3 then
        error(setmetatable({ kind = "OperationalError", message = "locked", retryable = true },
          debug.getmetatable(select(2, pcall(orm.create_engine, nil)))))
      end
      return "done"
    end, { retry = 5 })
    assert.equal("done", result)
    assert.equal(3, runs)
  end)

  it("needs a function, and takes no nil", function()
    local engine = watched()
    raises("ArgumentError", engine.begin, engine)
    raises("ArgumentError", engine.begin, engine, nil)
    raises("ArgumentError", engine.begin, engine, print, { mdoe = "read" })
  end)

  it("says when commit is called inside", function()
    local engine = watched()
    raises("InvalidRequestError", engine.begin, engine, function(conn) conn:commit() end)
  end)
end)

describe("a connection", function()
  it("begins by itself: DEFERRED to read, IMMEDIATE to write", function()
    local engine, log = watched()
    local conn = engine:connect()
    assert.is_false(conn:in_transaction())
    conn:scalar(COUNT)
    assert.is_true(conn:in_transaction())
    conn:commit()
    conn:execute(INSERT, { a = 1 })
    conn:rollback()
    conn:close()
    assert.same({ "BEGIN DEFERRED", "SELECT count(*) FROM t", "COMMIT", "BEGIN IMMEDIATE",
      "INSERT INTO t VALUES (?)\n  (1)", "ROLLBACK" }, log)
  end)

  it("rolls back at close what was not committed", function()
    local engine = watched()
    local conn = engine:connect()
    conn:execute(INSERT, { a = 1 })
    conn:commit()
    conn:execute(INSERT, { a = 2 })
    conn:close()
    conn:close()
    assert.equal(1, engine:connect():scalar(COUNT))
    raises("ResourceClosedError", conn.execute, conn, COUNT)
  end)

  it("is closed by with(), error or not", function()
    local engine = watched()
    local kept
    assert.equal(0, orm.with(engine:connect(), function(conn)
      kept = conn
      return conn:scalar(COUNT)
    end))
    assert.is_true(kept.closed)
    pcall(orm.with, engine:connect(), function(conn)
      kept = conn
      error("x")
    end)
    assert.is_true(kept.closed)
    for _, value in ipairs{ {}, "x", 3, print } do
      local err = raises("ArgumentError", orm.with, value, print)
      assert.truthy(err.message:find("with() takes something with close() and a function", 1, true))
    end
    raises("ArgumentError", orm.with, nil, print)
    raises("ArgumentError", orm.with, engine:connect(), nil)
  end)

  it("is closed by <close> where Lua has it", function()
    if _VERSION ~= "Lua 5.4" then
      return
    end
    local engine = watched()
    local kept = assert(load([[
      local engine, INSERT = ...
      local conn <close> = engine:connect()
      local transaction <close> = conn:begin()
      local result <close> = conn:execute(INSERT, { a = 1 })
      return conn
    ]]))(engine, INSERT)
    assert.is_true(kept.closed)
    assert.equal(0, engine:connect():scalar(COUNT))
  end)

  it("has one transaction at a time", function()
    local conn = watched():connect()
    local transaction = conn:begin()
    assert.is_true(conn:in_transaction())
    raises("InvalidRequestError", conn.begin, conn)
    conn:execute(INSERT, { a = 1 })
    transaction:commit()
    assert.is_false(transaction.is_active)
    raises("InvalidRequestError", transaction.commit, transaction)
    conn:scalar(COUNT)
    raises("InvalidRequestError", conn.begin, conn)
    conn:rollback()
    conn:begin(function()
      conn:execute(INSERT, { a = 2 })
    end)
    assert.equal(2, conn:scalar(COUNT))
  end)

  it("does not begin for a PRAGMA, and says when one would do nothing", function()
    local conn = watched():connect()
    conn:execute(text("PRAGMA foreign_keys = OFF"))
    assert.is_false(conn:in_transaction())
    assert.equal(0, conn:scalar(text("PRAGMA foreign_keys")))
    conn:scalar(COUNT)
    raises("InvalidRequestError", conn.execute, conn, text("PRAGMA foreign_keys = ON"))
  end)

  it("ends its results at commit, rollback and close", function()
    local conn = watched():connect()
    for _, ending in ipairs{ "commit", "rollback", "close" } do
      local result = conn:execute(COUNT)
      conn[ending](conn)
      raises("ResourceClosedError", result.all, result)
    end
  end)

  it("explains what is no statement and what are no parameters", function()
    local conn = watched():connect()
    assert.truthy(raises("ArgumentError", conn.execute, conn, "SELECT 1").message:find("text('SELECT 1')", 1, true))
    raises("ArgumentError", conn.execute, conn, nil)
    raises("ArgumentError", conn.execute, conn, INSERT, 1)
    raises("ArgumentError", conn.execute, conn, INSERT, { 1 })
    assert.truthy(raises("ArgumentError", function() conn.execute(COUNT) end).message:find("use ':'", 1, true))
  end)

  it("refuses missing, unknown and uneven parameters", function()
    local conn = watched():connect()
    assert.truthy(raises("ArgumentError", conn.execute, conn, INSERT).message:find("'a'", 1, true))
    assert.truthy(raises("ArgumentError", conn.execute, conn, INSERT, { a = 1, b = 2 }).message:find("'b'", 1, true))
    raises("ArgumentError", conn.execute, conn, INSERT, { { a = 1 }, { b = 2 } })
    raises("ArgumentError", conn.execute, conn, INSERT, { { a = 1 }, { a = 2, b = 2 } })
    raises("ArgumentError", conn.execute, conn, INSERT, { { a = 1 }, {} })
    assert.equal(0, conn:scalar(COUNT))
  end)

  it("runs a statement for every set of parameters", function()
    local conn = watched():connect()
    assert.equal(3, conn:execute(INSERT, { { a = 1 }, { a = 2 }, { a = orm.null } }).rowcount)
    assert.same({ 1, 2, orm.null }, conn:scalars(text("SELECT a FROM t")):all())
    raises("InvalidRequestError", conn.execute, conn, text("SELECT :a"), { { a = 1 }, { a = 2 } })
  end)

  it("names the failing set in the error", function()
    local conn = watched():connect()
    conn:execute(text("CREATE UNIQUE INDEX u ON t (a)"))
    local err = raises("IntegrityError", conn.execute, conn, INSERT, { { a = 1 }, { a = 2 }, { a = 1 } })
    assert.same({ 1 }, err.params)
  end)

  it("keeps parameters out of errors and echo on request", function()
    local engine, log = watched("sqlite://", { hide_parameters = true })
    local conn = engine:connect()
    conn:execute(INSERT, { a = 12345 })
    assert.is_nil(table.concat(log):find("12345", 1, true))
    local err = raises("OperationalError", conn.execute, conn, text("INSERT INTO nix VALUES (:a)"), { a = 12345 })
    assert.is_nil(tostring(err):find("12345", 1, true))
  end)
end)

describe("a savepoint", function()
  it("is released or rolled back alone", function()
    local engine, log = watched()
    local conn = engine:connect()
    conn:execute(INSERT, { a = 1 })
    local savepoint = conn:begin_nested()
    conn:execute(INSERT, { a = 2 })
    assert.is_true(conn:in_nested_transaction())
    savepoint:rollback()
    assert.is_false(conn:in_nested_transaction())
    conn:begin_nested():commit()
    conn:commit()
    assert.equal(1, conn:scalar(COUNT))
    assert.same({ "BEGIN IMMEDIATE", "INSERT INTO t VALUES (?)\n  (1)", "SAVEPOINT orrery_1",
      "INSERT INTO t VALUES (?)\n  (2)", "ROLLBACK TO SAVEPOINT orrery_1", "RELEASE SAVEPOINT orrery_1",
      "SAVEPOINT orrery_2", "RELEASE SAVEPOINT orrery_2", "COMMIT" }, { unpack(log, 1, 9) })
  end)

  it("takes a function", function()
    local conn = watched():connect()
    conn:begin_nested(function() conn:execute(INSERT, { a = 1 }) end)
    assert.is_false((pcall(conn.begin_nested, conn, function()
      conn:execute(INSERT, { a = 2 })
      error("x")
    end)))
    assert.equal(1, conn:scalar(COUNT))
    raises("ArgumentError", conn.begin_nested, conn, nil)
  end)

  it("ends with the one around it", function()
    local conn = watched():connect()
    local outer = conn:begin_nested()
    local inner = conn:begin_nested()
    outer:rollback()
    assert.is_false(inner.is_active)
    raises("InvalidRequestError", inner.commit, inner)
    inner:rollback()
    conn:commit()
  end)
end)

describe("connections to one memory database", function()
  it("see one database", function()
    local engine = watched()
    local one, two = engine:connect(), engine:connect()
    one:execute(INSERT, { a = 1 })
    one:commit()
    assert.equal(1, two:scalar(COUNT))
  end)

  it("leave others' work alone when they have only read", function()
    local engine = watched()
    local one, two = engine:connect(), engine:connect()
    one:execute(INSERT, { a = 1 })
    two:scalar(COUNT)
    two:rollback()
    two:scalar(COUNT)
    two:close()
    assert.is_true(one:in_transaction())
    one:commit()
    assert.equal(1, engine:connect():scalar(COUNT))
  end)

  it("are told when their work was rolled back under them", function()
    local engine = watched()
    local one, two = engine:connect(), engine:connect()
    one:execute(INSERT, { a = 1 })
    two:execute(INSERT, { a = 2 })
    two:rollback()
    raises("PendingRollbackError", one.commit, one)
    raises("PendingRollbackError", one.execute, one, COUNT)
    one:rollback()
    assert.equal(0, one:scalar(COUNT))
  end)
end)

describe("a transaction that the database has ended", function()
  it("must be rolled back before work goes on", function()
    local conn = watched():connect()
    conn:execute(INSERT, { a = 1 })
    conn:execute(text("CREATE UNIQUE INDEX u ON t (a)"))
    raises("IntegrityError", conn.execute, conn, text("INSERT OR ROLLBACK INTO t VALUES (1)"))
    raises("PendingRollbackError", conn.execute, conn, INSERT, { a = 5 })
    raises("PendingRollbackError", conn.commit, conn)
    conn:rollback()
    assert.equal(0, conn:scalar(COUNT))
  end)
end)

describe("the pool of a file", function()
  it("gives every connection its own, and uses them again", function()
    local engine = watched("sqlite:///" .. new_path())
    local opened = 0
    orm.event.listen(engine, "connect", function() opened = opened + 1 end)
    local one, two = engine:connect(), engine:connect()
    assert.are_not.equal(one.dbc, two.dbc)
    one:close()
    two:close()
    engine:connect():close()
    assert.equal(1, opened)
    assert.equal(2, engine.pool:checkedin())
    engine:dispose()
  end)

  it("says who holds connections when there are no more", function()
    local engine = watched("sqlite:///" .. new_path(), { pool_size = 1, max_overflow = 1 })
    local held = { engine:connect(), engine:connect() }
    local err = raises("TimeoutError", engine.connect, engine)
    assert.truthy(err.message:find("engine_spec.lua:", 1, true))
    held[1]:close()
    held[2]:close()
    engine:connect():close()
    engine:dispose()
  end)

  it("gets back the connections that were dropped", function()
    local engine = watched("sqlite:///" .. new_path(), { pool_size = 2, max_overflow = 0 })
    for _ = 1, 20 do
      engine:connect():scalar(COUNT)
    end
    engine:dispose()
  end)

  it("is closed by dispose, and made anew", function()
    local engine = watched("sqlite:///" .. new_path())
    local conn = engine:connect()
    local dbc = conn.dbc
    engine:dispose()
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    assert.is_false(dbc:is_open())
    assert.equal(0, engine:connect():scalar(COUNT))
    engine:dispose()
  end)

  it("lets a reader read while another has begun to write", function()
    local engine = watched("sqlite:///" .. new_path(), { timeout = 0 })
    local writer, reader = engine:connect(), engine:connect()
    writer:execute(INSERT, { a = 1 })
    assert.equal(0, reader:scalar(COUNT))
    assert.is_true(raises("OperationalError", reader.execute, engine:connect(), INSERT, { a = 2 }).retryable)
    reader:close()
    writer:commit()
    writer:close()
    engine:dispose()
  end)
end)

describe("engine events", function()
  it("tell of statements and transactions in their order", function()
    local engine = watched()
    local log = {}
    for _, name in ipairs{ "checkout", "checkin", "begin", "commit", "rollback", "savepoint", "release_savepoint",
      "rollback_savepoint" } do
      orm.event.listen(engine, name, function() log[#log + 1] = name end)
    end
    orm.event.listen(engine, "before_cursor_execute", function(_, sql, params, many)
      log[#log + 1] = ("before %s %d %s"):format(sql:match("%a+"), #params, tostring(many))
    end)
    orm.event.listen(engine, "after_cursor_execute", function(_, sql) log[#log + 1] = "after " .. sql:match("%a+") end)
    engine:begin(function(conn)
      conn:execute(INSERT, { a = 1 })
      conn:execute(INSERT, { { a = 1 }, { a = 2 }, { a = 3 } })
      conn:begin_nested():rollback()
    end)
    assert.same({ "checkout", "begin", "before INSERT 1 false", "after INSERT", "before INSERT 3 true", "after INSERT",
      "savepoint", "rollback_savepoint", "release_savepoint", "commit", "checkin" }, log)
  end)

  it("tell of execute() with its statement and result", function()
    local engine, seen = watched(), {}
    orm.event.listen(engine, "before_execute", function(_, statement, params) seen[1] = { statement, params } end)
    orm.event.listen(engine, "after_execute", function(_, _, _, _, result) seen[2] = result end)
    local params = { a = 1 }
    local result = engine:connect():execute(INSERT, params)
    assert.equal(INSERT, seen[1][1])
    assert.equal(params, seen[1][2])
    assert.equal(result, seen[2])
  end)

  it("tell of errors", function()
    local engine, seen = watched(), nil
    orm.event.listen(engine, "handle_error", function(context) seen = context end)
    local conn = engine:connect()
    local err = raises("OperationalError", conn.execute, conn, text("SELECT * FROM nix"))
    assert.equal(err, seen.original_exception)
    assert.equal("SELECT * FROM nix", seen.statement)
  end)

  it("can configure each new connection", function()
    local engine = orm.create_engine("sqlite://")
    orm.event.listen(engine, "connect", function(dbc) dbc:exec("PRAGMA cache_size = 77") end)
    assert.equal(77, engine:connect():scalar(text("PRAGMA cache_size")))
  end)

  it("may run statements themselves", function()
    local engine = watched()
    local busy
    orm.event.listen(engine, "before_cursor_execute", function(conn)
      if not busy then
        busy = true
        conn:scalar(COUNT)
        busy = false
      end
    end)
    assert.equal(0, engine:connect():scalar(COUNT))
  end)
end)

describe("echo", function()
  local function lines_of(options, fn)
    local lines = {}
    options.echo = function(line) lines[#lines + 1] = line end
    local engine = orm.create_engine("sqlite://", options)
    fn(engine)
    return lines, table.concat(lines, "\n")
  end

  it("with echo_time says how long a statement took, and how many rows it had", function()
    local lines = lines_of({ echo_time = true }, function(engine)
      local conn = engine:connect()
      conn:execute(text("CREATE TABLE t (a)"))
      conn:execute(INSERT, { { a = 1 }, { a = 2 } })
      conn:execute(text("SELECT a FROM t WHERE a > :low"), { low = 1 })
      conn:execute(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n"))
      pcall(conn.execute, conn, text("INSERT INTO t SELECT abs(-9223372036854775807 - 1)"))
    end)
    assert.equal("BEGIN IMMEDIATE", lines[1])
    assert.matches("^CREATE TABLE t %(a%)\n  %-%- %d+%.%d%d ms$", lines[2])
    assert.matches("^INSERT INTO t VALUES %(%?%)\n  %(1%), %(2%)\n  %-%- 2 rows, %d+%.%d%d ms$", lines[3])
    assert.matches("^SELECT a FROM t WHERE a > %?\n  %(1%)\n  %-%- 1 row, %d+%.%d%d ms$", lines[4])
    assert.matches("%-%- 100%+ rows, ", lines[5])
    assert.matches("%-%- failed after %d+%.%d%d ms: integer overflow$", lines[6])
    assert.is_nil(lines[7])
  end)

  it("has no colours in what a function gets", function()
    local _, all = lines_of({ echo_time = true }, function(engine) engine:connect():scalar(text("SELECT 1")) end)
    assert.is_nil(all:find("\27", 1, true))
  end)

  it("goes to stderr with true, and takes a function or nothing later", function()
    local engine = orm.create_engine("sqlite://")
    local conn, seen = engine:connect(), {}
    conn:scalar(text("SELECT 1"))
    engine.echo = function(sql) seen[#seen + 1] = sql end
    conn:scalar(text("SELECT 2"))
    engine.echo = false
    conn:scalar(text("SELECT 3"))
    assert.same({ "SELECT 2" }, seen)
  end)

  it("cuts long values and long lists", function()
    local _, all = lines_of({}, function(engine)
      local conn = engine:connect()
      conn:execute(text("CREATE TABLE t (a)"))
      local sets = {}
      for i = 1, 50 do
        sets[i] = { a = ("x"):rep(500) }
      end
      conn:execute(INSERT, sets)
    end)
    assert.is_true(#all < 800)
    assert.truthy(all:find("45 more sets", 1, true))
  end)

  it("hides values, and so do errors, with hide_parameters", function()
    local _, all = lines_of({ hide_parameters = true, echo_time = true }, function(engine)
      local conn = engine:connect()
      conn:execute(text("CREATE TABLE t (a INTEGER UNIQUE)"))
      conn:execute(INSERT, { a = 4711 })
      for _, params in ipairs{ { a = 4711 }, { { a = 1 }, { a = 4711 } } } do
        local err = raises("IntegrityError", conn.execute, conn, INSERT, params)
        assert.is_nil(tostring(err):find("4711", 1, true))
        assert.is_nil(rawget(err, "params"))
      end
      local t = orm.Table("t", orm.MetaData(), orm.Column("a", orm.Integer), orm.Column("e", orm.Enum("x", "y")))
      for _, condition in ipairs{ t.c.a:eq("secret 4711"), t.c.e:eq("4711") } do
        local err = raises("ArgumentError", conn.execute, conn, orm.select(t.c.a):where(condition))
        assert.is_nil(tostring(err):find("4711", 1, true))
      end
    end)
    assert.is_nil(all:find("4711", 1, true))
    assert.truthy(all:find("(parameters hidden)", 1, true))
  end)
end)

describe("a value that a type refuses", function()
  it("is named with its parameter and statement, in one set of values or in many", function()
    local engine = watched()
    local t = orm.Table("task", orm.MetaData(), orm.Column("id", orm.Integer, { primary_key = true }),
      orm.Column("state", orm.Enum("new", "old")))
    t:create(engine)
    local conn = engine:connect()
    for _, params in ipairs{ { state = "lost" }, { { state = "new" }, { state = "lost" } } } do
      local err = raises("ArgumentError", conn.execute, conn, orm.insert(t), params)
      assert.equal("parameter 'state': one of new, old expected, got 'lost'", err.message)
      assert.equal("INSERT INTO task (state) VALUES (?)", err.statement)
      assert.same({ "lost" }, err.params)
    end
    conn:execute(orm.insert(t), { state = "new" })
    local err = raises("IntegrityError", conn.execute, conn, orm.insert(t), { id = 1, state = "new" })
    assert.equal("UNIQUE constraint failed: task.id", err.message)
    err = raises("ArgumentError", t.c.id.in_, t.c.id, { 1, "x" })
    assert.equal("task.id:in_(): item 2: an integer expected, got 'x'", err.message)
    conn:close()
  end)
end)

describe("execution_options of an engine", function()
  it("make a copy that shares pool and events, and the first stays as it was", function()
    local engine = watched()
    local heard = 0
    orm.event.listen(engine, "begin", function() heard = heard + 1 end)
    local reading = engine:execution_options{ readonly = true, yield_per = 7 }
    assert.same({ readonly = true, yield_per = 7 }, reading:get_execution_options())
    assert.same({}, engine:get_execution_options())
    assert.equal(0, reading:begin(function(conn)
      assert.same({ readonly = true, yield_per = 7 }, conn:get_execution_options())
      return conn:scalar(COUNT)
    end))
    assert.equal(1, heard)
    engine:begin(function(conn) conn:execute(INSERT, { a = 1 }) end)
    raises("InvalidRequestError", reading.begin, reading, function(conn) conn:execute(INSERT, { a = 1 }) end)
  end)

  it("are checked", function()
    local engine = watched()
    raises("ArgumentError", engine.execution_options, engine, { readnoly = true })
    raises("ArgumentError", engine.execution_options, engine, { yield_per = 0 })
    raises("ArgumentError", orm.create_engine, "sqlite://", { isolation_level = "SNAPSHOT" })
    raises("ArgumentError", orm.create_engine, "sqlite://", { execution_options = { nonsense = 1 } })
    assert.same({ timeout = 3, yield_per = 5 }, orm.create_engine("sqlite://", { statement_timeout = 3,
      execution_options = { yield_per = 5 } }):get_execution_options())
  end)
end)

describe("event.listen", function()
  local engine = watched()

  it("names the nearest event for one that is not there", function()
    local err = raises("ArgumentError", orm.event.listen, engine, "bgin", print)
    assert.truthy(err.message:find("did you mean 'begin'", 1, true))
  end)

  it("wants a target with events, and a function", function()
    raises("ArgumentError", orm.event.listen, {}, "begin", print)
    raises("ArgumentError", orm.event.listen, nil, "begin", print)
    raises("ArgumentError", orm.event.listen, engine, "begin", nil)
    raises("ArgumentError", orm.event.listen, engine, "begin", print, { onec = true })
  end)

  it("calls listeners in their order, once each", function()
    local log = {}
    local function listener(word)
      return function() log[#log + 1] = word end
    end
    local two = listener("two")
    orm.event.listen(engine, "begin", two)
    orm.event.listen(engine, "begin", two)
    orm.event.listen(engine, "begin", listener("three"))
    orm.event.listen(engine, "begin", listener("one"), { insert = true })
    orm.event.listen(engine, "begin", listener("once"), { once = true })
    engine:begin(function() end)
    assert.same({ "one", "two", "three", "once" }, log)
    engine:begin(function() end)
    assert.equal(7, #log)
    assert.is_true(orm.event.contains(engine, "begin", two))
    orm.event.remove(engine, "begin", two)
    assert.is_false(orm.event.contains(engine, "begin", two))
    raises("InvalidRequestError", orm.event.remove, engine, "begin", two)
  end)
end)
