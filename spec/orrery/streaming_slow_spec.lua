-- @slow: a session that streams a million rows stays as small as it was.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"

local ROWS = 1000000

-- Kilobytes that Lua holds: what the process holds depends on the specs before.
local function used()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

describe("a session that streams a million rows", function()
  for name, option in pairs({ plain = false, selectin = "selectinload", batch = "batchload" }) do
    it("stays flat in memory: " .. name, function()
      local lib = library.empty()
      database.run(lib.engine, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " .. ROWS .. ") "
        .. "INSERT INTO author (id, name) SELECT i, 'author ' || i FROM n")
      local query = orm.select(lib.Author):execution_options { yield_per = 1000 }
      if option then
        query = query:options(orm[option](lib.Author.books))
      end
      local count, sum, early = 0, 0, nil
      for author in lib.session:scalars(query) do
        count, sum = count + 1, sum + author.id + (option and #author.books or 0)
        if count % 1000 == 0 then
          lib.record:take() -- the spec's own record of statements would grow
        end
        if count == ROWS / 10 then
          early = used()
        end
      end
      local late = used()
      assert.equal(ROWS, count)
      assert.equal(ROWS / 2 * (ROWS + 1), sum)
      assert.is_true(late - early < 4096, ("%.0f kB after a tenth, %.0f at the end"):format(early, late))
    end)
  end
end)
