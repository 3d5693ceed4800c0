-- session:watch(): which statements were sent, from where, and what would have spared them.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local function here()
  return "spec/orrery/watching_spec.lua:" .. debug.getinfo(2, "l").currentline
end

describe("session:watch", function()
  it("counts statements, and says of those that repeat where they come from and which option spares them", function()
    local lib = library.open()
    local line
    local report, found = lib.session:watch(function(session)
      local total = 0
      for _, author in ipairs(session:scalars(orm.select(lib.Author)):all()) do
        total = total + #author.books line = here()
      end
      return total
    end)
    assert.equal(4, found)
    assert.equal(3, report.statements)
    assert.equal(2, #report.entries)
    assert.equal(1, #report.repeated)
    local entry = report.repeated[1]
    assert.same({ line, 2, "Author.books" }, { entry.where, entry.count, entry.what })
    assert.is_truthy(entry.advice:find("selectinload(Author.books)", 1, true))
    assert.equal("3 statements\n  " .. line .. ": 2 x Author.books was loaded by itself\n    load it with the query, "
      .. ":options(orm.selectinload(Author.books)), or say orm.batchload(Author.books)", tostring(report))
  end)

  it("finds nothing to say where the option is there", function()
    local lib = library.open()
    local report = lib.session:watch(function(session)
      for _, author in ipairs(session:scalars(orm.select(lib.Author):options(orm.selectinload(lib.Author.books))):all()) do
        assert.equal(2, #author.books)
      end
    end)
    assert.equal("2 statements, none of them repeated", tostring(report))
  end)

  it("names single objects, deferred columns and the script's own statements", function()
    local lib = library.open()
    local report = lib.session:watch(function(session)
      for _, book in ipairs(session:scalars(orm.select(lib.Book):options(orm.defer(lib.Book.title))):all()) do
        assert.is_string(book.author.name)
        assert.is_string(book.title)
      end
      for _ = 1, 2 do
        session:execute(orm.select(orm.func.count(lib.Tag.id)))
      end
    end)
    local advice = {}
    for position, entry in ipairs(report.repeated) do
      advice[position] = entry.count .. " " .. tostring(entry.what)
    end
    assert.same({ "4 Book.title", "2 Book.author", "2 nil" }, advice)
    assert.is_truthy(tostring(report):find("orm.joinedload(Book.author)", 1, true))
    assert.is_truthy(tostring(report):find("orm.undefer(Book.title)", 1, true))
    assert.is_truthy(tostring(report):find("SELECT count(", 1, true))
  end)

  it("leaves errors as they are, looks at its own session only, and ends with the function", function()
    local lib = library.open()
    local other = orm.Session(lib.engine)
    local report = lib.session:watch(function()
      other:get(lib.Author, 1)
    end)
    assert.equal(0, report.statements)
    local ok, err = pcall(lib.session.watch, lib.session, function() error("mine", 0) end)
    assert.same({ false, "mine" }, { ok, err })
    lib.session:get(lib.Author, 1)
    assert.equal(0, report.statements)
    raises("ArgumentError", "function", lib.session.watch, lib.session, 1)
  end)

  it("can stand within another one", function()
    local lib = library.open()
    local inner
    local outer = lib.session:watch(function(session)
      session:get(lib.Author, 1)
      inner = session:watch(function() return session:get(lib.Author, 2).books end)
    end)
    assert.equal(2, inner.statements)
    assert.equal(3, outer.statements)
  end)
end)
