-- Transactions in depth: isolation levels, connections that only read, savepoints in savepoints, commits that fail,
-- timeouts and interruption.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"
local text = orm.text

local INSERT, COUNT = text("INSERT INTO t VALUES (:a)"), text("SELECT count(*) FROM t")
local ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
local NUMBERS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i FROM n")

local removers = {}
teardown(function()
  for _, remove in ipairs(removers) do
    remove()
  end
end)

local function prepared(engine)
  local log = {}
  database.run(engine, "CREATE TABLE IF NOT EXISTS t (a INTEGER)")
  for _, name in ipairs{ "begin", "commit", "rollback", "savepoint", "release_savepoint", "rollback_savepoint" } do
    orm.event.listen(engine, name, function() log[#log + 1] = name end)
  end
  return engine, log
end

local function memory(options)
  return prepared(orm.create_engine("sqlite://", options))
end

local function on_file(options)
  local path, remove = database.file()
  removers[#removers + 1] = remove
  return prepared(orm.create_engine("sqlite:///" .. path, options))
end

local function count_in(engine)
  return engine:begin(function(conn) return conn:scalar(COUNT) end, { mode = "read" })
end

describe("AUTOCOMMIT", function()
  it("begins nothing, and keeps every statement at once", function()
    local engine, log = on_file()
    local conn = engine:connect():execution_options{ isolation_level = "AUTOCOMMIT" }
    assert.equal("AUTOCOMMIT", conn:get_isolation_level())
    conn:execute(INSERT, { a = 1 })
    assert.is_false(conn:in_transaction())
    assert.equal(1, count_in(engine))
    conn:rollback()
    assert.equal(1, conn:scalar(COUNT))
    conn:close()
    assert.same({ "begin", "commit" }, log)
    engine:dispose()
  end)

  it("ends with the connection", function()
    local engine = memory()
    engine:connect():execution_options{ isolation_level = "AUTOCOMMIT" }:close()
    local conn = engine:connect()
    conn:execute(INSERT, { a = 1 })
    conn:close()
    assert.equal(0, count_in(engine))
  end)

  it("of an engine, or of a copy of it with other options", function()
    local engine = on_file()
    local auto = engine:execution_options{ isolation_level = "AUTOCOMMIT" }
    assert.equal(engine.pool, auto.pool)
    orm.with(auto:connect(), function(conn) conn:execute(INSERT, { a = 1 }) end)
    orm.with(engine:connect(), function(conn) conn:execute(INSERT, { a = 2 }) end)
    assert.equal(1, count_in(engine))
    engine:dispose()
    local own = orm.create_engine("sqlite://", { isolation_level = "AUTOCOMMIT" })
    assert.equal("AUTOCOMMIT", own:connect():get_isolation_level())
  end)

  it("leaves BEGIN and COMMIT to the script, which other connections may not write", function()
    local engine = on_file()
    local conn = engine:connect():execution_options{ isolation_level = "AUTOCOMMIT" }
    conn:execute(text("BEGIN"))
    conn:execute(INSERT, { a = 1 })
    conn:execute(text("ROLLBACK"))
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    conn = engine:connect()
    for _, sql in ipairs{ "COMMIT", " begin immediate", "/* done */ END", "ROLLBACK" } do
      raises("InvalidRequestError", "connection:", conn.execute, conn, text(sql))
    end
    conn:execute(text("SAVEPOINT mine"))
    conn:execute(INSERT, { a = 1 })
    conn:execute(text("ROLLBACK TO mine"))
    conn:execute(text("RELEASE mine"))
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    engine:dispose()
  end)

  it("has no savepoints", function()
    local conn = memory():connect():execution_options{ isolation_level = "AUTOCOMMIT" }
    raises("InvalidRequestError", "AUTOCOMMIT", conn.begin_nested, conn)
  end)

  it("cannot be set inside a transaction, nor misspelt", function()
    local conn = memory():connect()
    conn:scalar(COUNT)
    raises("InvalidRequestError", "open already", conn.execution_options, conn, { isolation_level = "AUTOCOMMIT" })
    conn:rollback()
    raises("ArgumentError", "'AUTOCOMMIT'", conn.execution_options, conn, { isolation_level = "AUTOCOMIT" })
    raises("ArgumentError", "'isolation_level'", conn.execution_options, conn, { isolation_levle = "AUTOCOMMIT" })
  end)
end)

describe("a connection that only reads", function()
  it("refuses to write before the database is asked", function()
    local engine = on_file()
    local conn = engine:connect():execution_options{ readonly = true }
    assert.equal(0, conn:scalar(COUNT))
    for _, write in ipairs{
      function() conn:execute(INSERT, { a = 1 }) end,
      function() conn:execute(INSERT, { { a = 1 }, { a = 2 } }) end,
      function() conn:exec_driver_sql("DROP TABLE t") end,
    } do
      raises("InvalidRequestError", "only reads", write)
    end
    conn:close()
    engine:dispose()
  end)

  it("works beside a writer, in blocks and savepoints too", function()
    local engine = on_file{ timeout = 0 }
    local writer = engine:connect()
    writer:execute(INSERT, { a = 1 })
    local reading = engine:execution_options{ readonly = true }
    assert.equal(0, reading:begin(function(conn)
      return conn:begin_nested(function() return conn:scalar(COUNT) end)
    end))
    local session = orm.Session(reading)
    assert.equal(0, session:scalar(COUNT))
    session:close()
    writer:commit()
    assert.equal(1, reading:begin(function(conn) return conn:scalar(COUNT) end))
    writer:close()
    engine:dispose()
  end)
end)

describe("savepoints in savepoints", function()
  it("keep and undo exactly what was done in each", function()
    local engine, log = memory()
    local conn = engine:connect()
    conn:execute(INSERT, { a = 1 })
    local outer = conn:begin_nested()
    conn:execute(INSERT, { a = 2 })
    local inner = conn:begin_nested()
    conn:execute(INSERT, { a = 3 })
    inner:rollback()
    local second = conn:begin_nested()
    conn:execute(INSERT, { a = 4 })
    second:commit()
    outer:commit()
    conn:commit()
    assert.same({ 1, 2, 4 }, conn:scalars(text("SELECT a FROM t ORDER BY a")):all())
    assert.same({ "begin", "savepoint", "savepoint", "rollback_savepoint", "release_savepoint", "savepoint",
      "release_savepoint", "release_savepoint", "commit", "begin" }, log)
  end)

  it("work as deep as functions go", function()
    local conn = memory():connect()
    local function descend(depth)
      return conn:begin_nested(function()
        conn:execute(INSERT, { a = depth })
        if depth == 30 then
          error("the bottom", 0)
        end
        pcall(descend, depth + 1)
        return depth
      end)
    end
    assert.equal(1, descend(1))
    assert.equal(29, conn:scalar(COUNT))
    conn:commit()
    assert.equal(29, conn:scalar(COUNT))
  end)

  it("survive a statement that fails inside", function()
    local conn = memory():connect()
    conn:execute(text("CREATE UNIQUE INDEX u ON t (a)"))
    conn:execute(INSERT, { a = 1 })
    local err = raises("IntegrityError", "UNIQUE", conn.begin_nested, conn, function()
      conn:execute(INSERT, { a = 2 })
      conn:execute(INSERT, { a = 1 })
    end)
    assert.equal("unique", err.constraint)
    assert.is_true(conn:in_transaction())
    conn:commit()
    assert.equal(1, conn:scalar(COUNT))
  end)

  it("are gone when the transaction has ended", function()
    local conn = memory():connect()
    local savepoint = conn:begin_nested()
    conn:commit()
    assert.is_false(savepoint.is_active)
    raises("InvalidRequestError", "ended", savepoint.commit, savepoint)
    savepoint:rollback()
    assert.is_false(conn:in_nested_transaction())
  end)

  it("are only what the database undoes; the error stays the script's", function()
    local conn = memory():connect()
    conn:execute(text("CREATE UNIQUE INDEX u ON t (a)"))
    conn:execute(INSERT, { a = 1 })
    local err = raises("IntegrityError", "UNIQUE", conn.begin_nested, conn, function()
      conn:execute(text("INSERT OR ROLLBACK INTO t VALUES (1)"))
    end)
    assert.truthy(err.statement:find("OR ROLLBACK", 1, true))
    raises("PendingRollbackError", "rollback()", conn.execute, conn, COUNT)
    conn:rollback()
    assert.equal(0, conn:scalar(COUNT))
  end)
end)

describe("a commit that fails", function()
  local function deferred()
    local engine = memory()
    database.run(engine, "CREATE TABLE p (id INTEGER PRIMARY KEY)",
      "CREATE TABLE c (p INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    return engine
  end

  it("can be mended and tried again", function()
    local conn = deferred():connect()
    conn:execute(text("INSERT INTO c VALUES (7)"))
    local err = raises("IntegrityError", "FOREIGN KEY", conn.commit, conn)
    assert.equal("foreign key", err.constraint)
    assert.truthy(err.hint)
    assert.is_true(conn:in_transaction())
    conn:execute(text("INSERT INTO p VALUES (7)"))
    conn:commit()
    assert.equal(1, conn:scalar(text("SELECT count(*) FROM c")))
  end)

  it("rolls a block back, and listeners hear of it once", function()
    local engine, heard = deferred(), {}
    orm.event.listen(engine, "handle_error", function(context) heard[#heard + 1] = context end)
    raises("IntegrityError", "FOREIGN KEY", engine.begin, engine, function(conn)
      conn:execute(text("INSERT INTO c VALUES (7)"))
    end)
    assert.equal(1, #heard)
    assert.equal("COMMIT", heard[1].statement)
    assert.equal(0, engine:begin(function(conn) return conn:scalar(text("SELECT count(*) FROM c")) end))
  end)
end)

describe("a lock that another holds", function()
  it("is a retryable error that listeners hear of once", function()
    local engine, heard = on_file{ timeout = 0 }, 0
    local writer = engine:connect()
    writer:execute(INSERT, { a = 1 })
    orm.event.listen(engine, "handle_error", function() heard = heard + 1 end)
    local other = engine:connect()
    local err = raises("OperationalError", "locked", other.execute, other, INSERT, { a = 2 })
    assert.is_true(err.retryable)
    assert.equal(1, heard)
    writer:commit()
    other:execute(INSERT, { a = 2 })
    other:commit()
    writer:close()
    other:close()
    assert.equal(2, count_in(engine))
    engine:dispose()
  end)

  it("is waited for as long as the engine's timeout", function()
    local engine = on_file{ timeout = 0.1 }
    local writer, other = engine:connect(), engine:connect()
    writer:execute(INSERT, { a = 1 })
    raises("OperationalError", "locked", other.execute, other, INSERT, { a = 2 })
    assert.equal(100, other:scalar(text("PRAGMA busy_timeout")))
    writer:close()
    other:close()
    engine:dispose()
  end)
end)

describe("a statement that runs too long", function()
  it("is stopped by the timeout of its execution, its connection or its engine", function()
    local engine = memory()
    local conn = engine:connect()
    local err = raises("OperationalError", { "timeout", "0.02 s" }, conn.execute, conn, ENDLESS, nil, { timeout = 0.02 })
    assert.equal(ENDLESS.text, err.statement)
    assert.equal(9, err.code)
    conn:execution_options{ timeout = 0.03 }
    raises("OperationalError", "0.03 s", conn.execute, conn, ENDLESS)
    raises("OperationalError", "0.01 s", conn.scalar, conn, ENDLESS, nil, { timeout = 0.01 })
    raises("OperationalError", "0.03 s", conn.execute, conn, ENDLESS)
    conn:close()
    local own = memory{ statement_timeout = 0.02 }
    raises("OperationalError", "0.02 s", own.begin, own, function(inner) inner:execute(ENDLESS) end)
  end)

  it("leaves the transaction and its other work", function()
    local conn = memory():connect()
    conn:execute(INSERT, { a = 1 })
    raises("OperationalError", "timeout", conn.execute, conn, ENDLESS, nil, { timeout = 0.01 })
    conn:commit()
    assert.equal(1, conn:scalar(COUNT))
  end)

  it("that has written is undone", function()
    local engine = on_file()
    local conn = engine:connect()
    raises("OperationalError", "timeout", conn.execute, conn, text("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION "
      .. "ALL SELECT i + 1 FROM n) SELECT i FROM n"), nil, { timeout = 0.02 })
    conn:rollback()
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    engine:dispose()
  end)

  it("is not one that is read slowly", function()
    local conn = memory():connect()
    local result, count = conn:execute(NUMBERS, nil, { timeout = 0.4, yield_per = 1000 }), 0
    local clock = os.clock()
    for _ in result do
      count = count + 1
      if count % 2000 == 0 then
        while os.clock() - clock < 0.1 * count / 2000 do end -- the script's own time
      end
    end
    assert.equal(10000, count)
  end)

  it("does not stop what comes after", function()
    local conn = memory():connect():execution_options{ timeout = 0.01 }
    raises("OperationalError", "timeout", conn.execute, conn, ENDLESS)
    for i = 1, 50 do
      conn:execute(INSERT, { a = i })
    end
    conn:commit()
    assert.equal(50, conn:scalar(COUNT))
  end)

  it("refuses a timeout that is none", function()
    local conn = memory():connect()
    raises("ArgumentError", "timeout", conn.execute, conn, COUNT, nil, { timeout = "1" })
    raises("ArgumentError", "timeout", conn.execution_options, conn, { timeout = -1 })
  end)
end)

describe("interrupt()", function()
  it("ends a result that is being read, and nothing else", function()
    local conn = memory():connect()
    local result = conn:execute(NUMBERS)
    result:fetchone()
    conn:interrupt()
    raises("OperationalError", "interrupted", result.all, result)
    assert.equal(0, conn:scalar(COUNT))
  end)

  it("does nothing where nothing runs", function()
    local conn = memory():connect()
    conn:interrupt()
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    raises("ResourceClosedError", "closed", conn.interrupt, conn)
  end)
end)

describe("a listener of commit or rollback", function()
  it("is refused to end the transaction that is being ended", function()
    for _, name in ipairs { "commit", "rollback" } do
      local engine = orm.create_engine("sqlite://")
      local conn = engine:connect()
      local caught
      orm.event.listen(engine, name, function(connection)
        local _, err = orm.try(connection.rollback, connection)
        caught = caught or err
      end)
      conn:execute(orm.text("CREATE TABLE t (x INTEGER)"))
      conn[name](conn)
      assert.truthy(orm.is_error(caught, "InvalidRequestError"))
      assert.is_false(conn:in_transaction())
      conn:close()
    end
  end)
end)
