-- A pool under many borrowers of which some throw: nothing leaks, nobody waits for ever.
local orm = require "orrery"

local BORROWERS, CONNECTIONS, SECONDS = 50, 5, tonumber(os.getenv("POOL_SECONDS") or 1)

describe("a pool of 5 connections with 50 borrowers, of which every fifth throws", function()
  it("has all of them back at the end, and nobody has waited in vain", function()
    local path = os.tmpname()
    local done, thrown, routines = 0, 0, {}
    local engine = orm.create_engine("sqlite:///" .. path, { pool_size = CONNECTIONS, max_overflow = 0, pool_timeout = 60,
      pool_wait = function() coroutine.yield() end })
    local over = os.clock() + SECONDS
    for number = 1, BORROWERS do
      routines[number] = coroutine.create(function()
        while os.clock() < over do
          local ok, err = pcall(orm.with, engine:connect(), function(conn)
            conn:execute(orm.text("SELECT 1")):all()
            if number % 5 == 0 then
              error("thrown", 0)
            end
          end)
          assert(ok or err == "thrown", tostring(err))
          done, thrown = done + 1, thrown + (ok and 0 or 1)
          coroutine.yield()
        end
      end)
    end
    while #routines > 0 do
      for position = #routines, 1, -1 do
        assert(coroutine.resume(routines[position]))
        if coroutine.status(routines[position]) == "dead" then
          table.remove(routines, position)
        end
      end
    end
    assert.is_true(done > 1000 and thrown >= done / 10)
    assert.equal(0, engine.pool:checkedout())
    assert.is_true(engine.pool:checkedin() <= CONNECTIONS)
    engine:dispose()
    os.remove(path)
  end)
end)
