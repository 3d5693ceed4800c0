-- Loads, and what is added, let Lua's collector wait, since almost all of it lives on. What a script drops it still gets.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"

local ROWS, TIMES = 5000, 60

describe("what loads bring in", function()
  local lib
  before_each(function()
    lib = library.empty()
    database.run(lib.engine, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " .. ROWS .. ") "
      .. "INSERT INTO author (id, name) SELECT i, 'author ' || i FROM n")
  end)

  local function load_all(option)
    lib.record:take()
    local session = orm.Session(lib.engine)
    local query = orm.select(lib.Author)
    local authors = session:scalars(option and query:options(option) or query):unique():all()
    assert.equal(ROWS, #authors)
    session:close()
    return authors
  end

  for _, strategy in ipairs { "lazyload", "selectinload", "joinedload" } do
    it("is collected when the script drops it, load after load: " .. strategy, function()
      local option = orm[strategy](lib.Author.books)
      load_all(option)
      collectgarbage()
      collectgarbage()
      local before = collectgarbage("count")
      load_all(option)
      local one, highest = collectgarbage("count") - before, 0
      for _ = 1, TIMES do
        load_all(option)
        highest = math.max(highest, collectgarbage("count") - before)
      end
      local bound = 3 * (before + one)
      assert.is_true(highest < bound, ("%.0f kB at most, %.0f expected"):format(highest, bound))
    end)
  end

  it("leaves the collector running when a load fails", function()
    database.run(lib.engine, "CREATE VIEW failing AS SELECT id, CASE WHEN id < 4000 THEN name ELSE abs(-9223372036854775807 - 1) "
      .. "END AS name FROM author")
    collectgarbage()
    local session = orm.Session(lib.engine)
    assert.is_false(pcall(function()
      return session:scalars(orm.select(lib.Author):from_statement(orm.text("SELECT id, name FROM failing"))):all()
    end))
    assert.is_true(not pcall(collectgarbage, "isrunning") or collectgarbage("isrunning"))
  end)

  it("leaves a collector that the script has stopped where it is", function()
    if pcall(collectgarbage, "isrunning") then
      collectgarbage("stop")
      load_all()
      local runs = collectgarbage("isrunning")
      collectgarbage("restart")
      assert.is_false(runs)
    end
  end)
end)

describe("what a session is given to insert", function()
  local lib
  local fields = { name = "an author" }
  before_each(function()
    lib = library.empty()
  end)

  -- Nothing but the objects becomes garbage here, and what they need.
  local function add_all(session)
    for _ = 1, ROWS do
      session:add(lib.Author(fields))
    end
  end

  local function check_bound(times, batch)
    collectgarbage()
    collectgarbage()
    local before, highest = collectgarbage("count"), 0
    local session = orm.Session(lib.engine)
    add_all(session)
    local one = collectgarbage("count") - before
    session:rollback()
    for _ = 1, TIMES do
      batch()
      highest = math.max(highest, collectgarbage("count") - before)
    end
    local bound = times * (before + one)
    assert.is_true(highest < bound, ("%.0f kB at most, %.0f expected"):format(highest, bound))
  end

  it("is collected when a rollback drops it, batch after batch", function()
    local session = orm.Session(lib.engine)
    check_bound(6, function()
      add_all(session)
      session:rollback()
    end)
  end)

  it("is collected when it has its rows, batch after batch", function()
    local session = orm.Session(lib.engine)
    check_bound(6, function()
      add_all(session)
      session:flush()
      session:rollback()
      lib.record:take()
    end)
  end)

  it("is collected with a session that nobody has closed", function()
    check_bound(16, function()
      add_all(orm.Session(lib.engine))
    end)
  end)

  -- Many columns, so that the objects are most of what a session takes.
  local function wide_class()
    local columns = { __tablename__ = "wide", id = orm.mapped_column(orm.Integer, { primary_key = true }) }
    for i = 1, 100 do
      columns["c" .. i] = orm.mapped_column(orm.Integer)
    end
    return orm.declarative_base():model("Wide", columns)
  end

  local function stays_below(kilobytes, times, fn)
    local highest = 0
    for i = 1, times do
      fn(i)
      highest = math.max(highest, collectgarbage("count"))
    end
    assert.is_true(highest < kilobytes, ("%.0f kB at most, %.0f expected"):format(highest, kilobytes))
  end

  it("is collected with a session that is dropped, session after session", function()
    local Wide = wide_class()
    stays_below(110000, 150, function()
      local session = orm.Session(lib.engine)
      for _ = 1, 1000 do
        session:add(Wide { c1 = 1 })
      end
    end)
  end)

  it("leaves the collector to its work where the same object comes and goes", function()
    local session, object = orm.Session(lib.engine), wide_class() { c1 = 1 }
    stays_below(110000, 150000, function()
      session:add(object)
      session:expunge(object)
    end)
  end)
end)
