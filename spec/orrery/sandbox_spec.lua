-- Scripts that are not trusted: what they can do, what they cannot, and what the host is left with.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"
local unpack = table.unpack or unpack

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

    it("nothing for a script without text", function()
      assert.equal(0, select("#", run("")))
      assert.equal(0, select("#", run("-- nothing")))
    end)

    it("a connection once more after it has closed those that it had", function()
      assert.same({ 1, "first", 7 }, { run([[
        local orm = require "orrery"
        local conn = engine:connect()
        local first = conn:scalar(orm.text("SELECT id FROM note"))
        conn:close()
        engine:dispose()
        local again = engine:connect()
        return first, again:scalar(orm.text("SELECT text FROM note")), again:scalar(orm.text("SELECT 7"))
      ]]) })
    end)

    it("its errors' texts, whatever they are", function()
      assert.same({ "(the error is a table)", "(the error is a boolean)", "no text" }, { run([[
        local function text_of(fn) return (select(2, pcall(fn))) end
        return text_of(none), text_of(truth), text_of(plain)
      ]], { functions = { none = function() error({}) end, truth = function() error(true) end,
        plain = function() error({ message = "no text" }) end } }) })
      fails("error", "(the error is a nil)", "error()")
      fails("error", "words", "error({ message = 'words', kind = {} })")
    end)

    it("an engine that gives the same connection until it is closed", function()
      assert.same({ true, true }, { run([[
        local one, two = engine:connect(), engine:connect()
        local same = one.dbc == two.dbc
        one.dbc:close()
        engine:dispose()
        return same, engine:connect().dbc:is_open()
      ]]) })
    end)

    it("plain values, and takes plain values from it", function()
      local inner = { 1, 2.5, "a\0b", true, { deep = { false } }, orm.null }
      local back, none, last = run("return ...", nil, inner, nil, "end")
      assert.same(inner, back)
      assert.is_nil(none)
      assert.equal("end", last)
    end)

    it("Lua's own tables, numbers and garbage, counted", function()
      assert.same({ "b,c", "", "a,b,c,d" }, { run([[
        local t = { "a", "b", "c" }
        table.insert(t, "d")
        local move = table.move or function(from, first, last, to)
          for i = last, first, -1 do from[to + i - first] = from[i] end
          return from
        end
        move(t, 1, 4, 2)
        table.remove(t, 1)
        return table.concat(t, ",", 2, 3), table.concat(t, ",", 3, 2), table.concat(t, ",")
      ]]) })
      local count, done, step, wrong, locked = run([[
        setmetatable({}, nil)
        local count = collectgarbage("count")
        return count, collectgarbage(), collectgarbage("step"), pcall(collectgarbage, "stop"), pcall(setmetatable, {}, 1)
      ]])
      assert.is_true(count > 100 and count < 65536)
      assert.same({ 0, 0, false, false }, { done, step, wrong, locked })
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
        return n, list[1], pcall(fail, "not this", 1)
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

    it("chunks that are no text, or pieces that are none", function()
      local why = select(2, run("return pcall(load, function() return {} end)"))
      assert.truthy(why:find("must return a string", 1, true))
      assert.equal(5, run("local parts = { 'return', ' 5', '' } return load(function() return table.remove(parts, 1) end)()"))
      assert.is_true(run("return (load(function() end)) ~= nil"))
      assert.truthy(select(2, run("return load('return +')")):find("near", 1, true))
      assert.is_false(run("return (pcall(load))"))
      assert.is_false(run("return (pcall(load, {}))"))
      assert.is_true(run("local ok, f = pcall(load, 'return print == nil', 'c', 't', {}) return f()"))
    end)

    it("functions, coroutines, objects or metatables that could cross", function()
      for _, value in ipairs { "function() end", "coroutine.create(function() end)", "engine", "setmetatable({}, {})" } do
        fails("error", "cannot leave the sandbox", "return " .. value)
        fails("error", "cannot leave the sandbox", "tell(" .. value .. ")", { functions = { tell = function() end } })
      end
      fails("error", "in circles", "local t = {} t.t = t return t")
      fails("error", "in circles", "local t = {} t[t] = 1 return t")
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
    local few = { instructions = 2000000, seconds = 600 } -- under a sanitizer they take long
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

    -- Each item stands before a search that takes long: it is stopped exactly where Lua would come to that.
    it("patterns by what Lua would do with them, item by item", function()
      local ITEMS = {
        { "x", "%a", "%A", "%c", "%d", "%l", "%L", "%p", "%s", "%S", "%u", "%w", "%W", "%x", "%X", "%.", ".", "x", "y" },
        { "1", "%a", "%A", "%d", "%D", "%l", "%p", "%P", "%w", "%W", "%x", "%s" },
        { "X", "%a", "%l", "%u", "%U", "%x", "%c" }, { "F", "%x", "%u" }, { "\1", "%c", "%C", "%g", "%s" }, { "!", "%p", "%g",
          "%w" },
        { " ", "%s", "%S", "%c", "%p" }, { ".", "%.", "%,", "%p" }, { "%", "%%", "%p" }, { "\195", ".", "[\192-\200]", "\195",
          "%a" },
        { "x", "[xyz]", "[^xyz]", "[abc]", "[^abc]", "[w-y]", "[x-x]", "[^w-y]", "[a-c]", "[%a]", "[^%a]", "[%d%l]", "[%]x]",
          "[w-]" },
        { "]", "[]]", "[^]]", "[%]]", "[a]" }, { "-", "[a-]", "[-a]", "[a%-z]", "[+--]" }, { "^", "[x^]", "[^^]", "^", "[%^]" },
        { "%", "[%%]", "[%]]" }, { "z", "[a%]", "[z%" },
        { "xxx", "x*", "x+", "x-x", "x?xx", "xxx", "xxxx?", "x+x", "x*x", "y*xxx", "y+", "y-xxx", "y?x+", "x*y", "x-y", ".-x" },
        { "", "y*", "y+", "y?", "y-", "()", "(y*)", "$", "%f[a]", "%f[x]", "%f[^a]" },
        { "(x(y)z)", "%b()", "%b((", "%bx)", "%b)(", "%b" }, { "((x", "%b()", "%bxy" }, { "x()", "%b()", "x%b()" }, { "[x]x",
          "%b[]x" },
        { "xyxy", "(xy)%1", "(x)(y)%1%2", "(x)(y)%2%1", "(x)%1", "(xy)%2", "(xy%1)", "()xyxy", "(x(y))xy", "(xy)%0" },
        { "xy", "%f[x]xy", "%f[y]xy", "x%f[y]y", "x%f[%w]y", "%f[%w]xy%f[%w]", "%fxy", "x%f[^x]y", "(x)y", "(x", "x)y",
          "(xy)%1" },
        { "$x", "$x", "%$x", "$" }, { "\0x", "%zx", "\0x", "[%z]x", ".x", "%Zx" }, { "g", "%g", "%G", "[%g]" }, { "G", "%g",
          "%G", "[%G]" }, { "a^", "a^", "%a%^" },
      }
      local tail, search, fewer = ("a"):rep(40), ("a*"):rep(6) .. "b", { instructions = 100000 }
      local box = open(fewer)
      for _, case in ipairs(ITEMS) do
        for position = 2, #case do
          local subject, item = case[1] .. tail, "^" .. case[position]
          local fine, reaches = pcall(string.find, subject, item .. tail .. "$")
          local shown = ("%q in %q"):format(item, subject)
          if fine and reaches then
            local ok, err = pcall(box.run, box, "return (...):find(select(2, ...))", subject, item .. search)
            assert.is_true(not ok and err.reason == "instructions", shown)
            box = open(fewer)
          else
            local script = "return pcall(string.find, ...)"
            assert.same({ pcall(string.find, subject, item .. search) }, { box:run(script, subject, item .. search) }, shown)
          end
        end
      end
    end)

    it("patterns that end too early, or want more than there is, as Lua does", function()
      local box = open()
      for _, pattern in ipairs { "[", "[^", "(", "x(", "[a%]", "x[^%]", "%bxx", "%bxy", "(x*)%1%1y", "(x+)%1",
        "x%", "%f", "%f[", "x-" } do
        for _, subject in ipairs { "", "x", "xx", "xy", "[" } do
          assert.same({ pcall(string.find, subject, pattern) },
            { box:run("return pcall(string.find, ...)", subject, pattern) }, pattern .. " in " .. subject)
        end
      end
    end)

    it("no patterns that take a step for each character", function()
      local box = open(few)
      local long = ("word, "):rep(2000)
      assert.equal(2000, box:run([[
        local text, count = ("x"):rep(100000), 0
        for _ = 1, 2000 do
          count = count + (text:find("^x-") and text:match("x-") == "" and 1 or 0)
        end
        return count
      ]]))
      for _, arguments in ipairs {
        { "find", long, "%d" }, { "find", long, "word, $" }, { "find", long, ", %f[%z]" }, { "match", long, "^.*$" }, { "gsub",
          long, "%w+", "x" },
        { "gsub", long, "", "-" }, { "gsub", long, "^word", "" }, { "find", "(" .. long .. ")", "%b()" }, { "find", long, "x",
          1, true },
        { "find", 12345, 3 }, { "find", 12345, 3, 1, true }, { "find", "x", ("a?"):rep(250) }, { "find", "x", ("()"):rep(33) },
        { "match", "", "" }, { "match", "", "^" }, { "find", "x" }, { "find", "x", nil, 1, true }, { "find", nil, nil, 1, true },
        { "find", {}, "x" }, { "rep", "ab", 3 }, { "rep", 12, 2 }, { "rep", "x", -1 }, { "rep", {}, 2 }, { "rep" }, { "gmatch" },
      } do
        local script = "local name = ... return pcall(string[name], select(2, ...))"
        local wanted = { pcall(string[arguments[1]], unpack(arguments, 2, 5)) }
        local got = { box:run(script, unpack(arguments, 1, 5)) }
        assert.equal(wanted[1], got[1])
        assert.same(wanted[1] and wanted or {}, wanted[1] and got or {})
      end
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
      local box = open { memory = 8388608, instructions = 1e9, seconds = 600 }
      box:run("for i = 1, 300 do local s = ('x'):rep(1e5) .. i end")
      assert.is_true(box:memory() < 8388608)
    end)

    it("values that would not fit into it, on their way in and out", function()
      local many, flags, deep = {}, {}, { { { {} } } }
      for i = 1, 500000 do
        many[i] = i
      end
      for i = 1, 1000 do
        flags[i] = true
      end
      local options = { memory = 8388608, functions = { many = function() return many end,
        long = function() return ("x"):rep(9e6) end } }
      local box = open(options)
      raises("ArgumentError", "too large", box.run, box, "", many)
      raises("ArgumentError", "too large", box.run, box, "", ("x"):rep(9e6))
      raises("ArgumentError", "too large", box.run, box, "", ("x"):rep(8388608 - 9), true, 1)
      raises("ArgumentError", "too large", box.run, box, "", ("x"):rep(8388608 - 11), {}, {})
      raises("SandboxError", "too large", box.run, box, "many()")
      raises("SandboxError", "too large", box.run, box, "long()")
      assert.same({ flags, deep }, { box:run("return ...", flags, deep) })
    end)

    it("for good: what a limit has ended cannot go on", function()
      local box = open(few)
      raises("SandboxError", "stopped", box.run, box, "while true do end")
      raises("ResourceClosedError", "make another", box.run, box, "return 1")
      box = open { memory = 8388608 }
      raises("SandboxError", "memory", box.run, box, "return #('x'):rep(3e7)")
      raises("ResourceClosedError", "make another", box.run, box, "return 1")
      assert.equal(6, open { instructions = 1e15 }:run("return (('a'):rep(5) .. 'b'):find('a-b') + 5"))
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
      local err = raises("SandboxError", { "sandbox:1: ", words, "the host has not allowed it" }, box.run, box,
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

    it("is refused that reads what the script may, or changes what lasts as long as its transaction", function()
      local own = { tables = { fresh = { "create", "insert", "select" }, note = { "select" }, notes = { "update" } } }
      local function allows(sql)
        run(("engine:connect().dbc:prepare(%q):fetch()"):format(sql), own)
      end
      allows("SELECT value FROM json_each('[1]')")
      allows("PRAGMA defer_foreign_keys = ON")
      allows("PRAGMA data_version")
      allows("PRAGMA table_info(note)")
      allows("PRAGMA foreign_key_list(NOTE)")
      allows("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n")
      allows("SAVEPOINT s")
      run([[
        local dbc = engine:connect().dbc
        dbc:exec("CREATE TABLE fresh (id INTEGER)")
        dbc:exec("CREATE INDEX fresh_id ON fresh (id)")
        dbc:exec("REINDEX fresh_id")
      ]], own)
      refuses("may not create an index on 'note'", "CREATE INDEX i ON note (text)", own)
      refuses("may not use PRAGMA 'table_info'", "PRAGMA table_info", own)
      refuses("may not use PRAGMA 'table_info'", "PRAGMA table_info(secret)", own)
      refuses("may not use PRAGMA 'table_info'", "PRAGMA table_info(notes)", own)
      refuses("may not use PRAGMA 'encoding'", "PRAGMA encoding = 'UTF-16'", own)
      refuses("may not attach ''", "ATTACH 'a' || 'b' AS c", own)
      for _, name in ipairs { "not", "note_", "nota", "otes" } do
        refuses("may not select from 'note'", "SELECT * FROM note", { tables = { [name] = { "select" } } })
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
      local conn = engine:connect()
      assert.equal(0, conn:execute(orm.text("SELECT 'x' LIKE '" .. ("y"):rep(2000) .. "'")):scalar())
      conn:execute(orm.text("ATTACH ':memory:' AS beside"))
      conn:execute(orm.text("DETACH beside"))
      conn:execute(orm.text("SELECT 1 /* " .. ("z"):rep(1000001) .. " */"))
      conn:close()
      database.run(engine, "INSERT INTO secret VALUES (2, 'mine')", "DELETE FROM secret WHERE id = 2", "CREATE TABLE more (id)")
      assert.equal(1, scalar("SELECT count(*) FROM note"))
    end)

    it("after the shorter of two timeouts", function()
      local endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
      local function stopped(options, words, seconds)
        fails("error", words, ("local dbc = engine:connect().dbc dbc:set_timeout(%g) dbc:prepare(%q):step()"):format(seconds,
          endless),
          options)
      end
      stopped({ statement_timeout = 0.1 }, "timeout of 0.05 s", 0.05)
      stopped({ statement_timeout = 0.05 }, "timeout of 0.05 s", 100)
      stopped({ statement_timeout = 0.05 }, "timeout of 0.05 s", 0)
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
        finalize = function() debug.getmetatable(box.core).__gc(box.core) end,
      } }
      local closed, again = box:run([[
        local _, closed = pcall(close)
        local _, again = pcall(again)
        pcall(dispose)
        finalize()
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
