-- connection:explain() and session:explain(): plans of statements, which do not run.
local orm = require "orrery"
local library = require "spec.support.library"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local database = require "spec.support.database"

local function details(plan)
  local list = {}
  for position, step in ipairs(plan) do
    list[position] = step.depth .. " " .. step.detail
  end
  return list
end

describe("explain()", function()
  it("gives the steps of a select in their depth, and draws them as a tree", function()
    local lib = library.open()
    local conn = lib.engine:connect()
    local t = lib.Book.__table__
    local plan = conn:explain(orm.union(orm.select(t.c.title), orm.select(t.c.title):where(t.c.id:eq(7))))
    local steps = table.concat(details(plan), "\n")
    assert.truthy(steps:find("^1 COMPOUND QUERY\n2 LEFT%-MOST SUBQUERY\n3 SCAN .*book"), steps)
    local drawn = tostring(plan)
    assert.equal(plan.sql, drawn:match("^[^\n]*"))
    assert.truthy(drawn:find("\n`%-%-COMPOUND QUERY\n   |%-%-LEFT%-MOST SUBQUERY\n   |  `%-%-SCAN [^\n]*book\n"
      .. "   `%-%-UNION"), drawn)
    conn:close()
  end)

  it("takes text and parameters, and runs nothing", function()
    local lib = library.open()
    local conn = lib.engine:connect()
    local plan = conn:explain(orm.text("SELECT title FROM book WHERE id = :id"), { id = 1 })
    assert.truthy(plan[1].detail:find("SEARCH", 1, true))
    conn:explain(orm.delete(lib.Book):where(orm.all))
    conn:commit()
    conn:close()
    assert.same({ "4" }, database.rows(lib.engine, "SELECT count(*) FROM book"))
  end)

  it("shows that an index is used once it is there", function()
    local lib = library.open()
    local stmt = orm.select(lib.Book):where(lib.Book.title:eq("b1"))
    assert.truthy(lib.session:explain(stmt)[1].detail:find("SCAN", 1, true))
    database.run(lib.session, "CREATE INDEX ix_title ON book (title)")
    assert.truthy(lib.session:explain(stmt)[1].detail:find("ix_title", 1, true))
  end)

  it("has the joins of a session's loader options", function()
    local lib = library.open()
    local record = statements.record(lib.engine)
    local plan = lib.session:explain(orm.select(lib.Author):options(orm.joinedload(lib.Author.books)))
    assert.truthy(plan.sql:find("LEFT OUTER JOIN book", 1, true))
    assert.equal(1, #record.entries)
  end)

  it("works on a connection that only reads", function()
    local lib = library.open()
    local conn = lib.engine:connect():execution_options{ readonly = true }
    assert.truthy(conn:explain(orm.update(lib.Book):where(orm.all):values{ title = "x" })[1])
    conn:close()
  end)

  it("says what is wrong with the statement", function()
    local conn = orm.create_engine("sqlite://"):connect()
    raises("OperationalError", "no such table: nowhere", conn.explain, conn, orm.text("SELECT * FROM nowhere"))
    raises("ArgumentError", "SQL is written text(", conn.explain, conn, "SELECT 1")
    conn:close()
  end)
end)
