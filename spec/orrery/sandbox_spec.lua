-- Scripts that are not trusted: what they can do, what they cannot, and what the host is left with.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"

local MODEL = [[
  local orm = require "orrery"
  local Base = orm.declarative_base()
  local Note = Base:model("Note", {
    __tablename__ = "note",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    text = orm.mapped_column(orm.String(100)),
  })
]]

local engine, boxes

local function fresh()
  engine = orm.create_engine("sqlite://")
  database.run(engine, "CREATE TABLE note (id INTEGER PRIMARY KEY, text VARCHAR(100))",
    "CREATE TABLE secret (id INTEGER PRIMARY KEY, word TEXT)", "INSERT INTO secret VALUES (1, 'canary')",
    "INSERT INTO note VALUES (1, 'first')", "CREATE VIEW leak AS SELECT word FROM secret")
end

local function open(options)
  local given = { engine = engine, tables = { note = { "select", "insert", "update", "delete" } } }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local box = orm.sandbox(given)
  boxes[#boxes + 1] = box
  return box
end

local function run(script, options, ...)
  return open(options):run(script, ...)
end

local function fails(reason, words, script, options)
  local err = raises("SandboxError", words, run, script, options)
  assert.equal(reason, err.reason)
  return err
end

local function scalar(sql)
  local conn = engine:connect()
  local value = conn:execute(orm.text(sql)):scalar()
  conn:close()
  return value
end

describe("a sandbox", function()
  before_each(function()
    boxes = {}
    fresh()
  end)
  after_each(function()
    for _, box in ipairs(boxes) do
      box:close()
    end
    assert.equal("canary", scalar("SELECT word FROM secret WHERE id = 1"))
    assert.equal(1, scalar("SELECT count(*) FROM secret"))
    engine:dispose()
  end)

  describe("gives a script", function()
    it("models and sessions on the host's database", function()
      local text, count = run(MODEL .. [[
        local session = orm.Session(engine)
        session:add(Note{ text = ... })
        session:commit()
        local last = session:scalars(orm.select(Note):order_by(Note.id:desc())):first()
        return last.text, session:query(Note):count()
      ]], nil, "second")
      assert.same({ "second", 2 }, { text, count })
      assert.equal("second", scalar("SELECT text FROM note WHERE id = 2"))
    end)

    it("plain values, and takes plain values from it", function()
      local inner = { 1, 2.5, "a\0b", true, { deep = { false } }, orm.null }
      local back, none, last = run("return ...", nil, inner, nil, "end")
      assert.same(inner, back)
      assert.is_nil(none)
      assert.equal("end", last)
    end)

    it("what the runs before have left in its globals", function()
      local box = open()
      box:run("kept = { 1 }")
      assert.equal(1, box:run("return kept[1]"))
    end)

    it("the host's functions that were offered, and their errors", function()
      local heard = {}
      local functions = {
        print = function(...) heard[#heard + 1] = table.concat({ ... }, " ") end,
        fail = function() error("told so", 0) end,
        twice = function(list) return #list, { list[1] * 2 } end,
      }
      local n, list, ok, why = run([[
        print("hello", 1)
        local n, list = twice{ 4, 5 }
        return n, list[1], pcall(fail)
      ]], { functions = functions })
      assert.same({ "hello 1" }, heard)
      assert.same({ 2, 8, false, "told so" }, { n, list, ok, why })
    end)

    it("the catalog of the tables that it may make", function()
      run(MODEL:gsub('"note"', '"fresh"') .. [[
        Base.metadata:create_all(engine)
        local session = orm.Session(engine)
        session:add(Note{ text = "x" })
        session:commit()
      ]], { tables = { fresh = { "create", "insert", "select" } } })
      assert.equal("x", scalar("SELECT text FROM fresh"))
    end)

    it("errors that say what went wrong in it", function()
      local err = fails("error", { "sandbox:2:", "oops" }, "\nerror('oops')")
      assert.is_nil(err.script_kind)
      err = fails("error", "UNIQUE", MODEL .. [[
        local session = orm.Session(engine)
        session:add(Note{ id = 1 })
        session:flush()
      ]])
      assert.equal("IntegrityError", err.script_kind)
      fails("error", "table", "error({})")
      fails("error", "near", "return return")
    end)
  end)

  describe("rolls back", function()
    it("what a script has not committed", function()
      run(MODEL .. [[
        kept = orm.Session(engine)
        kept:add(Note{ text = "lost" })
        kept:flush()
      ]])
      assert.equal(1, scalar("SELECT count(*) FROM note"))
      assert.equal("first", scalar("SELECT text FROM note"))
    end)

    it("what a script did before it failed or was stopped, with its cursors half read", function()
      for _, ending in ipairs { "error('x')", "while true do end" } do
        assert.is_false(pcall(run, MODEL .. [[
          local conn = engine:connect()
          conn:execute(orm.text("DELETE FROM note"))
          half = conn:execute(orm.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"))
          half:fetchone()
        ]] .. ending, { instructions = 3000000 }))
        assert.equal(1, scalar("SELECT count(*) FROM note"))
      end
    end)
  end)

  describe("has no", function()
    local ABSENT = {
      "io", "os", "debug", "package", "ffi", "jit", "dofile", "loadfile", "newproxy", "getfenv", "setfenv", "module",
      "string.dump", "warn",
    }
    for _, name in ipairs(ABSENT) do
      it(name, function()
        assert.equal("nil", run("return type(" .. name .. ")"))
      end)
    end

    it("other modules", function()
      for _, name in ipairs { "ffi", "io", "debug", "package", "orrery.core", "dkjson" } do
        fails("error", "a sandbox has only 'orrery'", ("require %q"):format(name))
      end
    end)

    it("other databases", function()
      local path = os.tmpname()
      local file = io.open(path, "w")
      file:write("canary")
      file:close()
      for _, script in ipairs {
        ("orm.create_engine('sqlite:///%s'):connect()"):format(path),
        ("orm.database('sqlite:///%s'):create_all()"):format(path),
        "orm.create_engine('sqlite://'):connect()",
        ("engine.pool.open = orm.create_engine('sqlite:///%s').pool.open; engine.pool:dispose(); engine:connect()"):format(path),
      } do
        fails("error", "opens no database", "local orm = require 'orrery' " .. script)
      end
      file = io.open(path)
      assert.equal("canary", file:read("*a"))
      file:close()
      os.remove(path)
    end)

    it("bytecode", function()
      local code = string.dump(function() return 1 end)
      local ok, why = run("local f, why = load(...) return f == nil, why", nil, code)
      assert.is_true(ok)
      assert.truthy(why:find("binary chunk", 1, true))
      assert.is_true(run([[
        local code, done = ..., false
        return load(function() if not done then done = true return code end end) == nil
      ]], nil, code))
      assert.is_true(run("return load(..., 'x', 'b') == nil", nil, "return 1"))
      fails("error", "binary chunk", code)
      assert.equal(3, run("local env = { x = 3 } return load('return x', 'c', 't', env)()"))
      assert.equal(4, run("local parts = { 'return', ' 4' } return load(function() return table.remove(parts, 1) end)()"))
    end)

    it("functions, coroutines, objects or metatables that could cross", function()
      for _, value in ipairs { "function() end", "coroutine.create(function() end)", "engine", "setmetatable({}, {})" } do
        fails("error", "cannot leave the sandbox", "return " .. value)
        fails("error", "cannot leave the sandbox", "tell(" .. value .. ")", { functions = { tell = function() end } })
      end
      fails("error", "in circles", "local t = {} t.t = t return t")
      fails("error", "attributes", MODEL .. "return Note{ text = 'x' }")
      raises("ArgumentError", "cannot go into a sandbox", run, "", nil, print)
      raises("ArgumentError", "cannot go into a sandbox", run, "", nil, { setmetatable({}, {}) })
      fails("error", "cannot go into a sandbox", "bad()", { functions = { bad = function() return print end } })
    end)
  end)

  describe("leaves the host's state alone when a script", function()
    it("changes the library, the string functions and what strings share", function()
      run([[
        local orm = require "orrery"
        string.rep = function() return "broken" end
        string.format, table.concat, tostring = nil, nil, nil
        for name in pairs(orm.dialects.sqlite) do orm.dialects.sqlite[name] = nil end
        for name in pairs(orm) do rawset(orm, name, nil) end
      ]])
      assert.equal("aa", ("a"):rep(2))
      assert.is_function(orm.select)
      assert.equal("canary", scalar("SELECT word FROM secret"))
    end)

    it("looks for metatables", function()
      assert.is_false(run("return getmetatable('')"))
      assert.is_false(run("return getmetatable(engine:connect().dbc)"))
      fails("error", "protected metatable", "setmetatable(setmetatable({}, { __metatable = 1 }), {})")
      for _, part in ipairs { "__gc", "__close" } do
        run("local m = getmetatable(engine) local f = m and m['" .. part .. "'] if f then pcall(f, engine) pcall(f, engine) end")
      end
      assert.equal("first", scalar("SELECT text FROM note"))
    end)

    it("closes, resets and binds the connection in ways that nobody would", function()
      run([[
        local orm = require "orrery"
        local conn = engine:connect()
        local dbc = conn.dbc
        local stmt = dbc:prepare("SELECT id, text FROM note")
        for _, arguments in ipairs{ {}, { 1 }, { {}, {}, -1 }, { nil, {}, 1e300 }, { { 1, 2 } }, { {}, 0 / 0 } } do
          pcall(stmt.fetch, stmt, arguments[1], arguments[2], arguments[3])
          pcall(stmt.bind, stmt, arguments[1] or {}, arguments[3] or 5, arguments[2])
          pcall(stmt.fetch_column, stmt, arguments[3] or 1, arguments[1])
          pcall(stmt.fetch, dbc)
          pcall(dbc.prepare, stmt, "x")
        end
        dbc:set_timeout(0)
        stmt:step()
        dbc:close()
        pcall(stmt.step, stmt)
        pcall(dbc.exec, dbc, "SELECT 1")
        engine:dispose()
        assert(engine:connect():execute(orm.text("SELECT count(*) FROM note")):scalar() == 1)
      ]])
      assert.equal("first", scalar("SELECT text FROM note"))
    end)
  end)

  describe("stops", function()
    local few = { instructions = 2000000 }
    local short = { seconds = 0.3, statement_timeout = 0.2 }

    it("endless loops, also in coroutines, behind pcall, xpcall and in error handlers", function()
      for _, script in ipairs {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "local function again() return xpcall(again, again) end while true do again() end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
        "while true do coroutine.wrap(function() end)() end",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) "
          .. "while true do pcall(function() return t[1] end) end",
        "repeat until load('x = 1') == nil",
        "while true do table.sort({ 3, 2, 1 }, function() while true do end end) end",
        "while true do pcall(string.gsub, 'x', '.', function() while true do end end) end",
      } do
        fails("instructions", "2000000 instructions", script, few)
      end
    end)

    it("long work in one call of a library function", function()
      for _, script in ipairs {
        "return (''):rep(1e12)", "return #('x'):rep(1e12)", "return table.concat({}, '', 1, 1e12)",
        "return table.move and table.move({}, 1, 1e12, 2) or (''):rep(1e12)",
        "while true do collectgarbage() end",
      } do
        fails("instructions", "instructions", script, few)
      end
    end)

    it("patterns that would take exponentially long", function()
      for _, call in ipairs {
        "find(s, p)", "match(s, p)", "gsub(s, p, '')", "gmatch(s, p)()", "find(s, '(' .. p .. ')%1')",
        "find(s, ('[ab]*'):rep(20) .. 'c')", "find(s, ('a?'):rep(180) .. ('a'):rep(180) .. 'c')",
      } do
        fails("instructions", "instructions", "local s, p = ('a'):rep(200), ('.-'):rep(20) .. 'b' string." .. call, few)
      end
      local box = open(few)
      assert.equal(3, box:run("return (('a,b,c'):gsub('(%w)(,?)', '%1')):len()"))
      assert.same({ "b", "[x]" }, { box:run("return ('a=b'):match('^%w=(.*)$'), ('f[x]'):match('%b[]')") })
      assert.equal(2, box:run("return ('THE (quick) fox'):find('%f[%a]%a+%f[%A]', 2) - 4"))
      assert.equal("aa", box:run("return ('xaax'):match('(a)%1') .. 'a'"))
      for _, malformed in ipairs { "%", "[a", "(a", "a)", "%b", "%f", "%1", "[%", "(()" } do
        assert.equal((pcall(string.find, "aaa", malformed)), (box:run("return pcall(string.find, 'aaa', ...)", malformed)))
      end
      assert.equal(20000, box:run("return #(('word '):rep(4000)):gsub('%s+$', ' ')"))
    end)

    it("metatables with finalizers or made-up lengths, which nothing could stop", function()
      fails("error", "finalizer", "setmetatable({}, { __gc = function() while true do end end })")
      fails("error", "finalizer", "setmetatable({}, { __gc = true })")
      fails("error", "__gc", [[
        local dbc = engine:connect().dbc
        dbc:prepare("SELECT 1"):fetch({}, { __gc = function() while true do end end })
      ]])
      for _, call in ipairs { "insert(t, 1, 1)", "remove(t, 1)", "sort(t)", "concat(t)" } do
        fails("error", "without __len", "local t = setmetatable({}, { __len = function() return 2 ^ 53 end }) table." .. call)
      end
    end)

    it("statements that run for ever, whatever timeout the script sets", function()
      local sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
      for _, script in ipairs {
        ("engine:connect():execute(orm.text(%q))"):format(sql),
        ("engine:connect():execution_options{ timeout = 1000 }:execute(orm.text(%q))"):format(sql),
        ("local dbc = engine:connect().dbc dbc:set_timeout(0) dbc:exec(%q)"):format(sql),
      } do
        local err = fails("error", "stopped", "local orm = require 'orrery' " .. script, { statement_timeout = 0.1 })
        assert.equal("OperationalError", err.script_kind)
      end
      fails("time", "longer than 0.3 s", ("local orm = require 'orrery' while true do pcall(function() "
        .. "engine:connect():execute(orm.text(%q)) end) end"):format(sql), short)
    end)

    it("a script after its seconds", function()
      fails("time", "0.3 s", "while true do end", { seconds = 0.3, instructions = 1e15 })
    end)

    it("a script that wants too much memory", function()
      for _, script in ipairs {
        "return #('x'):rep(3e7)", "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local s = 'x' while true do s = s .. s end", "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end",
      } do
        fails("memory", "8388608 bytes", script, { memory = 8388608 })
      end
    end)

    it("nothing that stays within its memory: garbage does not count", function()
      local box = open { memory = 8388608, instructions = 1e9 }
      box:run("for i = 1, 300 do local s = ('x'):rep(1e5) .. i end")
      assert.is_true(box:memory() < 8388608)
    end)

    it("for good: what a limit has ended cannot go on", function()
      local box = open(few)
      raises("SandboxError", "stopped", box.run, box, "while true do end")
      raises("ResourceClosedError", "make another", box.run, box, "return 1")
      box = open()
      raises("SandboxError", "oops", box.run, box, "error('oops')")
      assert.equal(1, box:run("return 1"))
    end)

    it("recursion without end, as any Lua does", function()
      assert.is_false(pcall(run, "local function f() return 1 + f() end f()"))
    end)
  end)

  describe("asks SQLite's authorizer, so that no statement", function()
    local box, box_options

    local function refuses(words, sql, options)
      if not box or box.engine ~= engine or box_options ~= options then
        box, box_options = open(options), options
      end
      local err = raises("SandboxError", { words, "the host has not allowed it" }, box.run, box,
        ("local orm = require 'orrery' local c = engine:connect() c:execute(orm.text(%q)) c:commit()"):format(sql))
      assert.equal("ProgrammingError", err.script_kind)
      raises("SandboxError", words, box.run, box, ("engine:connect().dbc:exec(%q)"):format(sql))
    end

    it("touches a table that is not in the list", function()
      refuses("may not select from 'secret'", "SELECT word FROM secret")
      refuses("may not select from 'secret'", "SELECT count(*) FROM secret")
      refuses("may not select from 'secret'", "WITH note AS (SELECT word AS text FROM secret) SELECT text FROM note")
      refuses("may not select from 'secret'", "UPDATE note SET text = (SELECT word FROM secret)")
      refuses("may not select from 'secret'", "SELECT * FROM leak")
      refuses("may not select from 'secret'", "SELECT * FROM leak", { tables = { leak = { "select" } } })
      refuses("may not insert into 'secret'", "INSERT INTO secret VALUES (2, 'x')")
      refuses("may not insert into 'secret'", "INSERT OR REPLACE INTO secret VALUES (1, 'x')")
      refuses("may not update 'secret'", "UPDATE secret SET word = 'x'")
      refuses("may not delete from 'secret'", "DELETE FROM secret")
      refuses("may not select from 'sqlite_master'", "SELECT sql FROM sqlite_master")
    end)

    it("does with a table what is not in the list", function()
      local reader = { tables = { Note = { "select" } } }
      refuses("may not insert into 'note'", "INSERT INTO note VALUES (2, 'x')", reader)
      refuses("may not update 'note'", "UPDATE note SET text = 'x'", reader)
      refuses("may not delete from 'note'", "DELETE FROM note", reader)
      assert.equal(1, run("return engine:connect():execute(require('orrery').text('SELECT count(*) FROM note')):scalar()",
        reader))
    end)

    it("changes the schema or the settings", function()
      for _, sql in ipairs {
        "DROP TABLE note", "DROP TABLE secret", "ALTER TABLE note ADD COLUMN x", "CREATE VIEW v AS SELECT 1",
        "CREATE TEMP VIEW v AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON note BEGIN SELECT 1; END",
        "CREATE TEMP TRIGGER t AFTER INSERT ON note BEGIN DELETE FROM note; END", "CREATE TABLE fresh (id INTEGER)",
        "CREATE TEMP TABLE fresh (id INTEGER)", "CREATE INDEX i ON note (text)", "DROP VIEW leak",
        "PRAGMA writable_schema = ON", "PRAGMA foreign_keys = OFF", "PRAGMA trusted_schema = ON",
        "PRAGMA journal_mode = WAL", "PRAGMA max_page_count = 1", "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA table_info(secret)", "PRAGMA database_list", "PRAGMA user_version = 7", "ANALYZE",
        "SELECT load_extension('x')", "CREATE VIRTUAL TABLE v USING fts5(x)",
      } do
        refuses("may not", sql)
      end
    end)

    it("reaches a file", function()
      local path = os.tmpname()
      os.remove(path)
      refuses("may not attach", ("ATTACH '%s' AS other"):format(path))
      local dbc = [[engine:connect().dbc:exec("VACUUM INTO ']] .. path .. [['")]]
      fails("error", "not", dbc)
      assert.is_nil(io.open(path))
    end)

    it("makes values larger than was said", function()
      fails("error", "too big", "engine:connect().dbc:exec('SELECT zeroblob(100000000)')")
      fails("error", "too big", "engine:connect().dbc:exec('SELECT zeroblob(2000)')", { max_value = 1000 })
      assert.equal(5000000, scalar("SELECT length(zeroblob(5000000))"))
    end)
  end)

  describe("gives back the host's connection", function()
    it("without guard, limits and transaction", function()
      run(MODEL .. "kept = engine:connect() kept:execute(orm.text('INSERT INTO note VALUES (9, 9)'))")
      database.run(engine, "INSERT INTO secret VALUES (2, 'mine')", "DELETE FROM secret WHERE id = 2", "CREATE TABLE more (id)")
      assert.equal(1, scalar("SELECT count(*) FROM note"))
    end)

    it("with the host's own timeout", function()
      local own = orm.create_engine("sqlite://", { statement_timeout = 0.1 })
      local box = orm.sandbox { engine = own, tables = {} }
      box:run("engine:connect()")
      local conn = own:connect()
      raises("OperationalError", "timeout of 0.1 s", conn.execute, conn, orm.text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"))
      conn:close()
      box:close()
      own:dispose()
    end)

    it("but takes it only where no transaction of the host is open on it", function()
      local conn = engine:connect()
      conn:begin()
      conn:execute(orm.text("INSERT INTO note VALUES (5, 'host')"))
      raises("InvalidRequestError", "is in a transaction", run, "return 1")
      conn:commit()
      conn:close()
      assert.equal(1, run("return 1"))
      assert.equal("host", scalar("SELECT text FROM note WHERE id = 5"))
    end)

    it("also where a function of the host closes things meanwhile", function()
      local box
      box = open { functions = {
        dispose = function() pcall(engine.dispose, engine) end,
        close = function() box:close() end,
        again = function() box:run("return 1") end,
      } }
      local closed, again = box:run([[
        local _, closed = pcall(close)
        local _, again = pcall(again)
        pcall(dispose)
        return closed, again
      ]])
      assert.truthy(closed:find("while its script runs", 1, true))
      assert.truthy(again:find("runs a script already", 1, true))
    end)
  end)

  describe("checks what the host says", function()
    it("options", function()
      raises("ArgumentError", "engine = orm.create_engine", orm.sandbox, { tables = {} })
      raises("ArgumentError", "tables says", orm.sandbox, { engine = engine })
      raises("ArgumentError", "did you mean 'select'", orm.sandbox, { engine = engine, tables = { note = { "selct" } } })
      raises("ArgumentError", "list of actions", orm.sandbox, { engine = engine, tables = { "note" } })
      raises("ArgumentError", "did you mean 'memory'", orm.sandbox, { engine = engine, tables = {}, memroy = 1 })
      raises("ArgumentError", "memory is a number of bytes from 4194304", orm.sandbox,
        { engine = engine, tables = {}, memory = 10 })
      raises("ArgumentError", "functions.x", orm.sandbox, { engine = engine, tables = {}, functions = { x = 1 } })
    end)

    it("scripts", function()
      local box = open()
      raises("ArgumentError", "a function belongs to the state", box.run, box, function() end)
      box:close()
      box:close()
      raises("ResourceClosedError", "closed", box.run, box, "return 1")
    end)
  end)
end)
