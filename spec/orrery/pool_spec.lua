-- The pool: how many connections there are, who holds them, and which are still good.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"
local text = orm.text

local COUNT = text("SELECT count(*) FROM t")

local removers = {}
teardown(function()
  for _, remove in ipairs(removers) do
    remove()
  end
end)

-- An engine on a file with the table t, nothing opened yet.
local function file_engine(options)
  local path, remove = database.file()
  removers[#removers + 1] = remove
  local maker = orm.create_engine("sqlite:///" .. path)
  database.run(maker, "CREATE TABLE t (a INTEGER)")
  maker:dispose()
  return orm.create_engine("sqlite:///" .. path, options), path
end

-- Counts the connections that an engine opens.
local function opened(engine)
  local count = { 0 }
  orm.event.listen(engine, "connect", function() count[1] = count[1] + 1 end)
  return count
end

describe("the pool", function()
  it("opens nothing before it is asked, and keeps what it opened", function()
    local engine = file_engine()
    local count = opened(engine)
    assert.equal(0, count[1])
    for _ = 1, 10 do
      engine:connect():close()
    end
    assert.equal(1, count[1])
    assert.equal(1, engine.pool:checkedin())
    assert.equal("0 of at most 15 in use, 1 idle", engine.pool:status())
    engine:dispose()
  end)

  it("keeps pool_size connections and closes those of the overflow", function()
    local engine = file_engine{ pool_size = 2, max_overflow = 3 }
    local held = {}
    for i = 1, 5 do
      held[i] = engine:connect()
    end
    raises("TimeoutError", { "all 5 connections", "pool_spec.lua", "pool_size" }, engine.connect, engine)
    for i = 1, 5 do
      held[i]:close()
    end
    assert.equal(2, engine.pool:checkedin())
    engine:dispose()
  end)

  it("names the lines that hold its connections, the busiest first", function()
    local engine = file_engine{ pool_size = 3, max_overflow = 0 }
    local held = {}
    for i = 1, 2 do
      held[i] = engine:connect()
    end
    held[3] = engine:connect()
    local err = raises("TimeoutError", "2 at ", engine.connect, engine)
    assert.truthy(err.message:find("2 at [^,]*pool_spec.lua:%d+, 1 at [^,]*pool_spec.lua:%d+"))
    for i = 1, 3 do
      held[i]:close()
    end
    engine:dispose()
  end)

  it("waits for a connection where pool_wait lets others run", function()
    local engine = file_engine{ pool_size = 1, max_overflow = 0, pool_timeout = 5, pool_wait = coroutine.yield }
    local log = {}
    local function borrower(name)
      return coroutine.create(function()
        local conn = engine:connect()
        log[#log + 1] = name .. " has it"
        coroutine.yield()
        conn:close()
        log[#log + 1] = name .. " gave it back"
      end)
    end
    local one, two = borrower("one"), borrower("two")
    for _ = 1, 4 do
      for _, thread in ipairs{ one, two } do
        if coroutine.status(thread) ~= "dead" then
          assert(coroutine.resume(thread))
        end
      end
    end
    assert.same({ "one has it", "one gave it back", "two has it", "two gave it back" }, log)
    engine:dispose()
  end)

  it("stops waiting after pool_timeout", function()
    local waited = 0
    local engine = file_engine{ pool_size = 1, max_overflow = 0, pool_timeout = 0.02, pool_wait = function(seconds)
      assert.is_true(seconds > 0 and seconds < 0.021)
      waited = waited + 1
    end }
    local held = engine:connect()
    raises("TimeoutError", "0.02 s", engine.connect, engine)
    assert.is_true(waited > 0)
    held:close()
    engine:dispose()
  end)

  it("gives back what borrowers that raise have borrowed", function()
    local engine = file_engine{ pool_size = 5, max_overflow = 0 }
    local count, done = opened(engine), 0
    for round = 1, 200 do
      local ok = pcall(engine.begin, engine, function(conn)
        conn:execute(text("INSERT INTO t VALUES (:a)"), { a = round })
        if round % 5 == 0 then
          error("thrown")
        elseif round % 7 == 0 then
          conn:execute(text("SELECT nonsense"))
        end
      end)
      done = done + (ok and 1 or 0)
    end
    assert.equal(0, engine.pool:checkedout())
    assert.equal(1, count[1])
    assert.equal(done, engine:begin(function(conn) return conn:scalar(COUNT) end))
    engine:dispose()
  end)

  it("serves 50 borrowers with 5 connections, though every fifth throws", function()
    local engine = file_engine{ pool_size = 5, max_overflow = 0, pool_wait = coroutine.yield }
    local served, thrown, threads, most = 0, 0, {}, 0
    local function borrow(number)
      for round = 1, 4 do
        local ok = pcall(orm.with, engine:connect(), function(conn)
          most = math.max(most, engine.pool:checkedout())
          conn:scalar(COUNT)
          if _VERSION ~= "Lua 5.1" or rawget(_G, "jit") then -- 5.1 cannot yield across pcall
            coroutine.yield()
          end
          if (number + round) % 5 == 0 then
            error("thrown")
          end
        end)
        served, thrown = served + (ok and 1 or 0), thrown + (ok and 0 or 1)
      end
    end
    for number = 1, 50 do
      threads[number] = coroutine.create(borrow)
    end
    while threads[1] do
      for position = #threads, 1, -1 do
        assert(coroutine.resume(threads[position], 51 - position))
        if coroutine.status(threads[position]) == "dead" then
          table.remove(threads, position)
        end
      end
    end
    assert.equal(160, served)
    assert.equal(40, thrown)
    assert.is_true(most <= 5)
    assert.equal(0, engine.pool:checkedout())
    engine:dispose()
  end)

  it("loses no connection to a listener that raises", function()
    for _, name in ipairs{ "checkout", "checkin" } do
      local engine = file_engine{ pool_size = 1, max_overflow = 0 }
      local function fail() error("a hook fails", 0) end
      orm.event.listen(engine, name, fail)
      for _ = 1, 3 do
        local ok, err = pcall(function() engine:connect():close() end)
        assert.is_false(ok)
        assert.equal("a hook fails", err)
      end
      orm.event.remove(engine, name, fail)
      assert.equal(0, engine.pool:checkedout())
      engine:connect():close()
      engine:dispose()
    end
  end)

  it("takes a connection back clean: no transaction, cursor or setting of the last one", function()
    local engine = file_engine{ pool_size = 1, max_overflow = 0 }
    local conn = engine:connect()
    conn:execution_options{ isolation_level = "READ UNCOMMITTED", timeout = 5, readonly = true }
    conn:execute(text("SELECT 1 UNION SELECT 2"))
    conn:close()
    conn = engine:connect()
    assert.is_false(conn:in_transaction())
    assert.equal("SERIALIZABLE", conn:get_isolation_level())
    assert.equal(0, conn:scalar(text("PRAGMA read_uncommitted")))
    conn:execute(text("INSERT INTO t VALUES (1)"))
    conn:close()
    assert.equal(0, engine:begin(function(own) return own:scalar(COUNT) end))
    engine:dispose()
  end)

  it("opens a connection anew that is older than pool_recycle", function()
    local engine = file_engine{ pool_recycle = 0 }
    local count = opened(engine)
    engine:connect():close()
    engine:connect():close()
    assert.equal(2, count[1])
    engine = file_engine{ pool_recycle = 1000 }
    count = opened(engine)
    engine:connect():close()
    engine:connect():close()
    assert.equal(1, count[1])
  end)

  it("does not hand out a connection that was closed, or that pool_pre_ping finds dead", function()
    local engine, path = file_engine{ pool_pre_ping = true }
    local count = opened(engine)
    orm.event.listen(engine, "checkin", function(dbc) dbc:close() end, { once = true })
    engine:connect():close()
    assert.equal(0, engine:connect():scalar(COUNT))
    assert.equal(2, count[1])
    engine:dispose()

    engine:connect():close()
    local file = assert(io.open(path, "wb"))
    file:write(("no database "):rep(1000))
    file:close()
    assert.equal(3, count[1])
    raises("DatabaseError", "not a database", engine.connect, engine)
    assert.equal(0, engine.pool:checkedin())
    engine:dispose()
  end)

  it("is empty after dispose, and what was in use then closes when it comes back", function()
    local engine = file_engine()
    local count, conn = opened(engine), engine:connect()
    local dbc = conn.dbc
    engine:connect():close()
    engine:dispose()
    assert.equal(0, engine.pool:checkedin())
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    assert.is_false(dbc:is_open())
    assert.equal(0, engine.pool:checkedin())
    engine:connect():close()
    assert.equal(3, count[1])
    engine:dispose()
  end)

  it("refuses options that make no sense", function()
    for name, value in pairs{ pool_size = -1, max_overflow = -2, pool_timeout = -1, pool_recycle = "soon",
      pool_wait = 5, statement_timeout = -1 } do
      raises("ArgumentError", name, orm.create_engine, "sqlite://", { [name] = value })
    end
  end)
end)

describe("connection:invalidate()", function()
  it("closes the database connection and goes on with another", function()
    local engine = file_engine()
    local count, conn = opened(engine), engine:connect()
    local first = conn.dbc
    assert.equal(0, conn:scalar(COUNT))
    local cursor = conn:execute(text("SELECT 1"), nil, { yield_per = 1 })
    conn:invalidate()
    assert.is_false(first:is_open())
    assert.same({ 2, 0, 1 }, { count[1], engine.pool:checkedin(), engine.pool:checkedout() })
    raises("ResourceClosedError", "", function() return cursor:fetchmany(5), cursor:fetchmany(5) end)
    assert.equal(0, conn:scalar(COUNT))
    conn:close()
    assert.equal(1, engine.pool:checkedin())
    engine:dispose()
  end)

  it("loses what was not committed, and says so until rollback()", function()
    local engine = file_engine()
    local conn = engine:connect()
    conn:execute(text("INSERT INTO t VALUES (1)"))
    local savepoint = conn:begin_nested()
    conn:invalidate()
    raises("PendingRollbackError", "by invalidate()", conn.execute, conn, COUNT)
    raises("PendingRollbackError", "rollback() first", conn.commit, conn)
    conn:rollback()
    assert.is_false(savepoint.is_active)
    assert.equal(0, conn:scalar(COUNT))
    conn:execute(text("INSERT INTO t VALUES (2)"))
    conn:commit()
    conn:close()
    assert.same({ "2" }, database.rows(engine, "SELECT a FROM t"))
    engine:dispose()
  end)

  it("keeps the connection's own options", function()
    local engine = file_engine()
    local conn = engine:connect():execution_options{ isolation_level = "READ UNCOMMITTED", readonly = true }
    conn:invalidate()
    assert.equal(1, conn:scalar(text("PRAGMA read_uncommitted")))
    raises("InvalidRequestError", "only reads", conn.execute, conn, text("DELETE FROM t"))
    conn:close()
    engine:dispose()
  end)

  it("is refused where all share one connection", function()
    local conn = orm.create_engine("sqlite://"):connect()
    raises("InvalidRequestError", "lives in the one connection", conn.invalidate, conn)
    raises("InvalidRequestError", "lives in the one connection", conn.detach, conn)
  end)
end)

describe("connection:detach()", function()
  it("takes the connection out of the pool, which has a place more", function()
    local engine = file_engine{ pool_size = 1, max_overflow = 0 }
    local conn = engine:connect()
    conn:detach()
    local other = engine:connect()
    assert.equal(1, engine.pool:checkedout())
    conn:execute(text("INSERT INTO t VALUES (1)"))
    conn:commit()
    local own = conn.dbc
    conn:close()
    assert.is_false(own:is_open())
    assert.equal(1, other:scalar(COUNT))
    other:close()
    assert.equal(1, engine.pool:checkedin())
    engine:dispose()
  end)

  it("rolls back at close what was not committed", function()
    local engine = file_engine()
    local conn = engine:connect()
    conn:detach()
    conn:execute(text("INSERT INTO t VALUES (1)"))
    conn:close()
    assert.same({ "0" }, database.rows(engine, "SELECT count(*) FROM t"))
    engine:dispose()
  end)
end)
