-- A connection that was closed, and is still known to the script, held the database connection that somebody else was given
-- and dropped: its transaction stayed open, and the file locked.
local orm = require "orrery"
local database = require "spec.support.database"

describe("a connection that was closed", function()
  it("does not keep the database connection that it had given back", function()
    local path, remove = database.file()
    local engine = orm.create_engine("sqlite:///" .. path)
    local other = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    local closed = engine:connect()
    closed:execute(orm.text("CREATE TABLE t (a INTEGER)"))
    closed:commit()
    closed:close()
    engine:connect():execute(orm.text("INSERT INTO t VALUES (1)"))
    collectgarbage()
    collectgarbage()
    database.run(other, "INSERT INTO t VALUES (2)")
    assert.same({ "2" }, database.rows(other, "SELECT a FROM t"))
    assert.is_true(closed.closed)
    remove()
  end)
end)
