-- The Chinook example, on a small music store of the same shape, and on the real file where there is one: named by
-- CHINOOK, or next to the checkout. Facts are asked for by plain SQL.
local orm = require "orrery"
local store = require "spec.examples.small_store"
local support = require "spec.examples.support"
local check_lines, bytes_of = support.check_lines, support.bytes_of

local ANSWERS = {
  "Rows:",
  "  Artist         2",
  "  PlaylistTrack  5",
  "  InvoiceLine    6",
  "Sales by country, the first ten:",
  "  Chile                  4.97 in 2 invoices",
  "  Norway                 1.98 in 1 invoices",
  "  nowhere                0.99 in 1 invoices",
  "The longest playlist:",
  "  Long, with 2 tracks, takes 1 h 2 min",
  "  it begins with \"Two\" by The Clefs, which is Shellac",
  "Whom the last one hired reports to:",
  "  Cid Cone (Clerk) -> Bob Beam (Manager) -> Ann Arch (Boss)",
  "And the whole company:",
  "  Ann Arch (Boss)",
  "    Bob Beam (Manager)",
  "      Cid Cone (Clerk)",
  "      Dot Dome (Clerk)",
  "Customers who bought Jazz:",
  "  Fay Abel, Chile, helped by nobody",
  "  Eve Zorn, Norway, helped by Cid",
  "  2 in all",
  "What plain SQL finds of the new customer:",
  "  Ada Lovelace (helped by Dot): 1 x \"One\" at 0.99, of 8.94 in all",
  "  Ada Lovelace (helped by Dot): 2 x \"Two\" at 0.99, of 8.94 in all",
  "  Ada Lovelace (helped by Dot): 3 x \"Three\" at 1.99, of 8.94 in all",
}

local function exists(path)
  local file = path and io.open(path, "rb")
  return file and file:close() and path or nil
end

-- Runs the example and makes sure that the file given stays what it was.
local function answers(path, ...)
  local before = bytes_of(path)
  local output, status = support.run("examples/chinook.lua", path, ...)
  assert.equal(0, status, output)
  assert.is_true(bytes_of(path) == before, "the example has changed " .. path)
  assert.is_nil(exists(path .. "-journal"))
  return output
end

describe("the Chinook example", function()
  local path

  setup(function()
    path = os.tmpname()
    local engine = orm.create_engine("sqlite:///" .. path)
    engine:begin(function(conn)
      for _, sql in ipairs(store) do
        conn:exec_driver_sql(sql)
      end
    end)
    engine:dispose()
  end)

  teardown(function() os.remove(path) end)

  it("answers for a small store of the same shape", function()
    check_lines(ANSWERS, answers(path))
  end)

  it("takes another genre", function()
    check_lines({ "Customers who bought Polka:", "  Fay Abel, Chile, helped by nobody",
      "  Gus Berg, Chile, helped by Dot", "  2 in all" }, answers(path, "Polka"))
    check_lines({ "Customers who bought Noise:", "  0 in all" }, answers(path, "Noise"))
  end)

  it("says how it is run, and which file it cannot read", function()
    local output, status = support.run("examples/chinook.lua")
    assert.equal(2, status)
    assert.matches("^usage: ", output)
    output, status = support.run("examples/chinook.lua", path .. ".absent")
    assert.equal(1, status)
    assert.matches("absent: No such file", output)
    output, status = support.run("examples/chinook.lua", "README.md")
    assert.equal(1, status)
    assert.matches("file is not a database", output)
  end)
end)

local real = exists(os.getenv("CHINOOK")) or exists("../shared/data/chinook.sqlite")

if real then
  describe("the Chinook example on the real file", function()
    local output, conn

    setup(function()
      output = answers(real)
      conn = orm.create_engine("sqlite:///" .. real .. "?mode=ro"):connect()
    end)

    teardown(function() conn:close() end)

    local function rows(sql)
      return conn:exec_driver_sql(sql):all()
    end

    it("counts the rows of all tables", function()
      local tables = rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
      assert.equal(11, #tables)
      for _, row in ipairs(tables) do
        local count = rows('SELECT count(*) FROM "' .. row.name .. '"')[1][1]
        check_lines({ ("  %-14s %d"):format(row.name, count) }, output)
      end
    end)

    it("finds the sales by country", function()
      local lines = { "Sales by country, the first ten:" }
      for _, row in ipairs(rows("SELECT BillingCountry AS country, sum(Total) AS total, count(*) AS n FROM Invoice "
        .. "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10")) do
        lines[#lines + 1] = ("  %-16s %10.2f in %d invoices"):format(row.country, row.total, row.n)
      end
      assert.equal(11, #lines)
      check_lines(lines, output)
    end)

    it("finds the longest playlist", function()
      local row = rows("SELECT p.Name AS name, count(*) AS n, sum(t.Milliseconds) / 60000 AS minutes FROM Playlist p "
        .. "JOIN PlaylistTrack USING (PlaylistId) JOIN Track t USING (TrackId) GROUP BY p.PlaylistId "
        .. "ORDER BY sum(t.Milliseconds) DESC, p.PlaylistId LIMIT 1")[1]
      check_lines({ "The longest playlist:", ("  %s, with %d tracks, takes %d h %d min"):format(row.name, row.n,
        math.floor(row.minutes / 60), row.minutes % 60) }, output)
    end)

    it("follows an employee's reporting line to the top", function()
      local line = {}
      for position, row in ipairs(rows("WITH RECURSIVE line AS (SELECT *, 0 AS depth FROM (SELECT * FROM Employee "
        .. "ORDER BY HireDate DESC, EmployeeId DESC LIMIT 1) UNION ALL SELECT e.*, depth + 1 FROM Employee e "
        .. "JOIN line l ON e.EmployeeId = l.ReportsTo) SELECT FirstName, LastName, Title FROM line ORDER BY depth")) do
        line[position] = ("%s %s (%s)"):format(row())
      end
      assert.is_true(#line > 1)
      check_lines({ "  " .. table.concat(line, " -> ") }, output)
    end)

    it("finds the customers who bought Jazz", function()
      local found = rows("SELECT DISTINCT c.CustomerId, c.FirstName AS first, c.LastName AS last FROM Customer c "
        .. "JOIN Invoice USING (CustomerId) JOIN InvoiceLine USING (InvoiceId) JOIN Track USING (TrackId) "
        .. "JOIN Genre g USING (GenreId) WHERE g.Name = 'Jazz' ORDER BY last, first")
      local first = ("\nCustomers who bought Jazz:\n  %s %s, "):format(found[1].first, found[1].last)
      assert.truthy(output:find(first, 1, true), output)
      check_lines({ ("  and %d more"):format(#found - 5) }, output)
    end)

    it("proves its own sale", function()
      local track = rows("SELECT Name, UnitPrice FROM Track ORDER BY TrackId LIMIT 1")[1]
      assert.truthy(output:find((": 1 x %q at %.2f, of "):format(track.Name, track.UnitPrice), 1, true), output)
      assert.equal(0, rows("SELECT count(*) FROM Customer WHERE LastName = 'Lovelace'")[1][1])
    end)
  end)
end
