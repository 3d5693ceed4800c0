-- A finalizer may run between the moment when a statement from the cache has its values and its first step. Where it loads by
-- the same statement, that had other values then: objects were given what belongs to others.
local orm = require "orrery"
local library = require "spec.support.library"

local function with_finalizer(fn)
  local function quiet()
    pcall(fn)
  end
  if _VERSION == "Lua 5.1" then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = quiet
    return proxy
  end
  return setmetatable({}, { __gc = quiet })
end

describe("a statement that a finalizer wants, too", function()
  local COUNT, lib, session = 40, nil, nil
  before_each(function()
    lib = library.declare()
    session = orm.Session(orm.create_engine("sqlite://"))
    lib.base.metadata:create_all(session:connection())
    for i = 1, COUNT do
      session:add(lib.Author { id = i, name = "a" .. i, books = { lib.Book { id = i, title = "t" .. i } } })
    end
    session:commit()
    session:connection():ensure_begun()
  end)

  -- How often read(i) gives another number than i, while what is collected meanwhile uses the session by meddle().
  local function wrong_of(prepare, read, meddle)
    local wrong = 0
    for _ = 1, 500 do
      session:expunge_all()
      prepare()
      with_finalizer(meddle)
      for i = 1, COUNT - 1 do
        wrong = wrong + (read(i) == i and 0 or 1)
      end
    end
    return wrong
  end

  it("is not that of a lazy list", function()
    local authors = {}
    assert.equal(0, wrong_of(function()
      for i = 1, COUNT do
        authors[i] = session:get(lib.Author, i)
      end
    end, function(i) return authors[i].books[1].id end, function() return #authors[COUNT].books end))
  end)

  it("is not that of a single object", function()
    local books = {}
    assert.equal(0, wrong_of(function()
      for i = 1, COUNT do
        books[i] = session:get(lib.Book, i)
      end
    end, function(i) return books[i].author.id end, function() return books[COUNT].author end))
  end)

  it("is not that of get() or a select", function()
    local function select(i)
      return session:scalars(orm.select(lib.Author):where(lib.Author.id:eq(i))):first()
    end
    assert.equal(0, wrong_of(function() end, function(i)
      local got, selected = session:get(lib.Author, i), select(i)
      return got == selected and selected.id
    end, function()
      session:get(lib.Author, COUNT)
      select(COUNT)
    end))
  end)
end)
