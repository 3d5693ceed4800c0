-- The collector closes the statements of a connection that nobody holds any more before a script's older finalizer runs,
-- which may use the session once more. The core took such a statement from the cache, and crashed.
local orm = require "orrery"
local library = require "spec.support.library"

local function with_finalizer(fn)
  if _VERSION == "Lua 5.1" then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = fn
    return proxy
  end
  return setmetatable({}, { __gc = fn })
end

describe("a finalizer that uses a session whose statements are closed already", function()
  it("finds what is there still, or is told what is not", function()
    local names = {}
    local function leave_garbage()
      local lib, held = library.open(), {}
      held.session, held.Author = orm.Session(orm.create_engine("sqlite://")), lib.Author
      lib.base.metadata:create_all(held.session:connection()) -- the connection is older than the guard, the statements are not
      held.guard = with_finalizer(function()
        local session, Author = held.session, held.Author
        for _, way in ipairs {
          function() return session:get(Author, 1).name end,
          function() return session:scalars(orm.select(Author):where(Author.id:eq(1))):first().name end,
          function() return #session:get(Author, 1).books end,
          function()
            session:get(Author, 1).name = "changed"
            session:flush()
            return session:get(Author, 1).name
          end } do
          session:expunge_all()
          local ok, name = pcall(way)
          names[#names + 1] = ok and name or tostring(name)
        end
      end)
      held.session:add(lib.Author { id = 1, name = "a" })
      held.session:commit()
      held.session:connection():ensure_begun()
      for _ = 1, 2 do
        held.session:expunge_all()
        local author = held.session:get(lib.Author, 1)
        assert.equal(0, #author.books)
        held.session:scalars(orm.select(lib.Author):where(lib.Author.id:eq(1))):first()
        author.name = author.name .. "a"
        held.session:flush()
      end
    end
    leave_garbage()
    for _ = 1, 4 do
      collectgarbage()
    end
    assert.equal(4, #names) -- or errors, where what they need besides is gone, too
  end)
end)
