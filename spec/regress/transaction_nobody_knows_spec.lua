-- A fault between BEGIN and the moment when it was noted left a transaction that no rollback ended.
local orm = require "orrery"
local database = require "spec.support.database"

describe("a listener of begin that fails", function()
  local path, remove

  before_each(function()
    path, remove = database.file()
    database.run(orm.create_engine("sqlite:///" .. path), "CREATE TABLE t (a INTEGER)")
  end)
  after_each(function() remove() end)

  it("leaves a transaction that rollback ends, and a connection that works on", function()
    local engine = orm.create_engine("sqlite:///" .. path)
    local other = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    orm.event.listen(engine, "begin", function() error("no", 0) end, { once = true })
    local conn = engine:connect()
    local insert = orm.text("INSERT INTO t VALUES (1)")
    assert.is_false((pcall(conn.execute, conn, insert)))
    conn:rollback()
    database.run(other, "INSERT INTO t VALUES (2)")
    conn:execute(insert)
    conn:commit()
    conn:close()
    assert.same({ "2", "1" }, database.rows(other, "SELECT a FROM t"))
  end)
end)
