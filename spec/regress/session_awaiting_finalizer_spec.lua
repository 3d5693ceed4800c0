-- Between the collector's notice that nobody holds a session and the session's finalizer, its objects still took it for open.
local orm = require "orrery"
local library = require "spec.support.library"

-- In steps so small that a script runs between the two, while the collector sweeps what is dead.
local function in_small_steps(fn)
  if _VERSION ~= "Lua 5.4" then
    return fn()
  end
  local mode = collectgarbage("incremental", 200, 40, 4)
  local ok, err = pcall(fn)
  collectgarbage("incremental", 200, 100, 13)
  collectgarbage(mode)
  assert(ok, err)
end

local function load_and_drop(lib, count)
  local session, objects = orm.Session(lib.engine), {}
  for i = 1, count do
    objects[i] = lib.Book{ id = 1000 + i, author_id = 1 }
    session:add(objects[i])
  end
  session:commit()
  return session:scalars(orm.select(lib.Book):where(lib.Book.id:gt(1000))):all()
end

describe("an object whose session nobody holds", function()
  it("can be changed at every moment", function()
    local count = 20000
    in_small_steps(function()
      local objects = load_and_drop(library.open(), count)
      for i = 1, count do
        collectgarbage("step", 0)
        objects[i].year = i
        objects[i].author = nil
      end
      assert.equal(count, objects[count].year)
    end)
  end)
end)
