-- @bare  What a fork does to engines, connections and sessions (skipped where no C compiler is).
local orm = require "orrery"
local database = require "spec.support.database"
local in_child = require "spec.support.fork"
local text = orm.text

local COUNT = text("SELECT count(*) FROM t")

if not in_child then
  return
end

local removers = {}
teardown(function()
  for _, remove in ipairs(removers) do
    remove()
  end
end)

-- An engine on a file with the table t, nothing opened yet.
local function file_engine()
  local path, remove = database.file()
  removers[#removers + 1] = remove
  local maker = orm.create_engine("sqlite:///" .. path)
  database.run(maker, "CREATE TABLE t (a INTEGER)")
  maker:dispose()
  return orm.create_engine("sqlite:///" .. path)
end

describe("in a forked child", function()
  it("an engine says that its connections are the parent's", function()
    local engine = file_engine()
    engine:connect():close()
    local answer = in_child(function() return engine:connect() end)
    assert.truthy(answer:find("^InvalidRequestError: "))
    assert.truthy(answer:find("engine:dispose()", 1, true))
    assert.equal(0, engine:begin(function(conn) return conn:scalar(COUNT) end))
    engine:dispose()
  end)

  it("a connection in use refuses to work, even inside its transaction", function()
    local engine = file_engine()
    local conn = engine:connect()
    conn:execute(text("INSERT INTO t VALUES (1)"))
    for _, use in ipairs{
      function() return conn:scalar(COUNT) end,
      function() return conn:execute(text("INSERT INTO t VALUES (2)")) end,
      function() return conn:commit() end,
    } do
      local answer = in_child(use)
      assert.truthy(answer:find("does not survive the fork", 1, true), answer)
    end
    conn:commit()
    assert.equal(1, conn:scalar(COUNT))
    conn:close()
    engine:dispose()
  end)

  it("what the child closes and collects leaves the parent's transaction alone", function()
    local engine = file_engine()
    local holder = { conn = engine:connect() }
    holder.conn:execute(text("INSERT INTO t VALUES (1)"))
    holder.conn:execute(text("INSERT INTO t SELECT a FROM t"))
    assert.equal("closed", in_child(function()
      pcall(holder.conn.close, holder.conn)
      engine:dispose()
      holder, engine = nil, nil
      collectgarbage()
      collectgarbage()
      return "closed"
    end))
    holder.conn:commit()
    assert.equal(2, holder.conn:scalar(COUNT))
    assert.equal("ok", holder.conn:scalar(text("PRAGMA integrity_check")))
    holder.conn:close()
    engine:dispose()
  end)

  it("dispose lets the engine open connections of the child's own", function()
    local engine = file_engine()
    local conn = engine:connect()
    assert.equal("1", in_child(function()
      engine:dispose()
      engine:begin(function(own) own:execute(text("INSERT INTO t VALUES (1)")) end)
      return engine:begin(function(own) return own:scalar(COUNT) end)
    end))
    assert.equal(1, conn:scalar(COUNT))
    conn:close()
    engine:dispose()
  end)

  it("sessions are refused, too", function()
    local engine = file_engine()
    local session = orm.Session(engine)
    session:execute(COUNT):scalar()
    assert.truthy(in_child(function() return session:execute(COUNT):scalar() end):find("fork", 1, true))
    session:close()
    engine:dispose()
  end)
end)
