-- What the library's own Lua files never ask of the C side: refused all the same, since somebody with the debug library can.
local orm = require "orrery"
local core = require "spec.support.core"
local database = require "spec.support.database"
local Integer, String, Mapped, relationship = orm.Integer, orm.String, orm.Mapped, orm.relationship
local unpack = table.unpack or unpack

local base = orm.declarative_base()
local Parent = base:model("Parent", {
  __tablename__ = "parent",
  id = Mapped(Integer, { primary_key = true }),
  name = Mapped(String),
  children = relationship("Child", { back_populates = "parent", foreign_keys = "Child.parent_id" }),
  written = relationship("Child", { lazy = "write_only", foreign_keys = "Child.writer_id" }),
})
local Child = base:model("Child", {
  __tablename__ = "child",
  id = Mapped(Integer, { primary_key = true }),
  parent_id = Mapped(orm.Optional(Integer), orm.ForeignKey("parent.id")),
  writer_id = Mapped(orm.Optional(Integer), orm.ForeignKey("parent.id")),
  parent = relationship("Parent", { back_populates = "children", foreign_keys = "parent_id" }),
})

describe("the C side refuses", function()
  local session, parent, child

  before_each(function()
    local engine = database.create(base)
    session = orm.Session(engine)
    parent, child = Parent { name = "x" }, Child {}
    parent.children:append(child)
    session:add(parent)
    session:commit()
  end)

  local function refuses(name, ...)
    local ok, err = pcall(core[name], ...)
    assert.is_false(ok, name)
    assert.truthy(tostring(type(err) == "table" and err.message or err):find("expected", 1, true), tostring(err))
  end

  local FAR = { 0, -1, 99, -2 ^ 31 }

  it("numbers that no attribute has", function()
    for _, number in ipairs(FAR) do
      for _, name in ipairs { "stored", "related", "set_raw", "expired_target" } do
        refuses(name, parent, number, 1)
      end
      refuses("siblings", parent, number, 10)
      refuses("siblings", parent, 1, 10)
      refuses("drop", parent, number, child)
      refuses("lacking", { parent }, number)
      refuses("gather", { parent }, number, { 1 })
      refuses("keys", { parent }, { number })
      refuses("target_keys", { child }, number, { 2 })
      refuses("target_keys", { child }, 4, { number })
      refuses("hold_targets", { child }, number)
      assert.is_nil((core.gather({ parent }, 3, { number })))
      assert.same({ parent }, core.keyless({ parent }, { number }))
      refuses("set_stored", parent, parent, number)
      refuses("listen", core.class_of(parent), number)
    end
    refuses("drop", parent, 3, child)
  end)

  it("objects of other classes, and none", function()
    refuses("set_stored", parent, child, 1)
    for _, value in ipairs { false, 1, "x", {}, print, coroutine.create(function() end), io.stdout, core.class_of(parent) } do
      for _, name in ipairs { "stored", "related", "siblings", "old", "forget", "unload", "touch", "state", "extra", "backlog",
        "deferred",
        "was_deleted", "make_transient", "make_detached", "is_given", "session_of", "left" } do
        assert.is_false((pcall(core[name], value, 1, 1)) and name ~= "session_of" and name ~= "state", name)
      end
      for _, name in ipairs { "list", "classes", "objects", "add", "expunge", "close", "committed", "rolled_back", "deeds",
        "expire_all",
        "find", "is_clean" } do
        assert.is_false((pcall(core[name], value, "new")), name)
      end
    end
  end)

  it("keys of no or too many columns, and gathers nothing by what was not loaded", function()
    refuses("keyless", { parent }, {})
    local many = {}
    for i = 1, 33 do
      many[i] = 1
    end
    refuses("keyless", { parent }, many)
    refuses("gather", { parent }, 3, {})
    assert.is_false((pcall(core.gather, { parent }, 3)))
    session:expire(parent)
    assert.is_nil((core.gather({ parent }, 3, { 2 })))
  end)

  it("objects of other sessions, and says nothing of what they hold", function()
    local alien, loose = Parent { name = "y" }, Parent { name = "z" }
    local other = orm.Session(session:get_bind())
    other:add(alien)
    other:commit()
    for _, object in ipairs { alien, loose } do
      core.mark_deleted(session[1], object)
      assert.is_false((pcall(core.expunge, session[1], object)))
      core.touch(object)
      core.forget(object)
      assert.is_nil((core.extra(object, 1)))
    end
    core.set_extra(loose, "mine", 5)
    assert.is_nil((core.extra(loose, 1)))
    assert.equal(5, core.extra(loose, "mine"))
    assert.equal("persistent", orm.inspect(alien).state)
    core.touch(loose)
    assert.equal("transient", orm.inspect(loose).state)
    for _, value in ipairs { {}, print, io.stdout } do
      assert.is_false((pcall(core.replace_raw, loose, 2, value)))
    end
    for _, value in ipairs { {}, print } do
      pcall(core.set_old, loose, 2, value)
      pcall(core.set_raw, alien, 2, value)
    end
    assert.is_nil(loose.name)
    assert.equal("y", alien.name)
    assert.is_true(core.replace_raw(loose, 2, "w"))
    assert.equal("w", loose.name)
  end)

  it("methods of lists and sessions for anything else", function()
    local list = parent.children
    for _, method in ipairs { "append", "remove", "extend", "pop", "clear", "insert", "contains", "to_table" } do
      for _, value in ipairs { io.stdout, child, orm.null, 1, {}, session[1] } do
        local called = list[method]
        assert.is_false((pcall(called, value, child)), method)
      end
    end
    for _, value in ipairs { 1, "x", io.stdout, { session }, { session:connection().dbc } } do
      assert.is_false((pcall(session.get, value, Parent, 1)))
      assert.is_false((pcall(session.add, value, parent)))
    end
  end)

  it("lists that no session has", function()
    refuses("list", session[1], "old")
    refuses("classes", session[1], "")
  end)

  it("classes that are configured, or not yet", function()
    refuses("configure", core.class_of(parent), {})
    refuses("configure", false, {})
    refuses("set_uniques", core.class_of(parent), {}, {})
  end)

  it("columns that no result has", function()
    refuses("plan", { { first = 1 } }, 1, { 0 })
    refuses("plan", { { first = 1 } }, 1, { "x" })
    assert.is_false((pcall(core.plan, {}, "x")))
    assert.is_false((pcall(core.plan, 1, 1)))
  end)

  it("plans, links and collections that do not go with the statement", function()
    local class = core.class_of(parent)
    local stmt = session:connection().dbc:prepare("SELECT 1, 'x'")
    local item = { class = class, first = 1, map = { 1, 2 }, keys = { 1 } }
    refuses("plan", { { class = class, first = 1, map = { 1 }, keys = { 3 } } }, 3)
    refuses("plan", { { class = class, first = 1, map = { 1, 99 }, keys = { 1 } } }, 2)
    refuses("plan", { { class = parent, first = 1, map = { 1 }, keys = { 1 } } }, 2)
    refuses("plan", { { class = class, first = 2, map = { 1, 2 }, keys = { 2 } } }, 2)
    refuses("plan", { { class = class, map = { 1 }, keys = { 1 } } }, 2)
    refuses("plan", { { class = class, first = 1, map = { 1 }, keys = {} } }, 2)
    refuses("plan", { { class = class, first = 1, map = { 1, 2 }, keys = { 1 }, left = { 99 } } }, 2)
    refuses("plan", { { class = class, first = 1, map = { 1, 2 }, keys = { 1 }, discriminator = 2 } }, 2)
    refuses("plan", { { first = 3 } }, 2)
    refuses("load_by_key", session[1], class, session:connection().dbc, 1, 99)
    refuses("load_by_key", session[1], parent, session:connection().dbc, {}, 99)
    local plan, wide = core.plan({ item }, 2), core.plan({ item }, 9)
    local gather = core.gather({ parent }, 3, { 1 })
    refuses("load", session[1], stmt, wide, {})
    refuses("load", session[1], stmt, plan, {}, nil, nil, nil, nil, { { 1, 3 }, { 1, 3 } })
    for _, parent_item in ipairs { 0, 5 } do
      local both = core.plan({ item, { first = 1 } }, 2)
      refuses("load", session[1], stmt, both, {}, nil, nil, nil, nil, { { parent_item, 3 } })
      refuses("load", session[1], stmt, core.plan({ { first = 1 }, item }, 2), {}, nil, nil, nil, nil, { { 1, 3 } })
    end
    for _, columns in ipairs { {}, { 1, 1 }, { 0 }, { 3 } } do
      refuses("load", session[1], stmt, plan, {}, nil, nil, nil, nil, nil, gather, columns)
    end
    local connection = session:connection().dbc
    for _, number in ipairs(FAR) do
      refuses("load_alone", session[1], parent, number, connection, { "SELECT 1", plan, false, 1 })
    end
    refuses("load_alone", session[1], parent, 1, connection, { "SELECT 1", plan, false, 1 })
    assert.equal("x", parent.name)
    for _, list in ipairs { { "SELECT ?" }, { "SELECT ?", plan, false, 0 }, { "SELECT ?", plan, false, 9 },
      { 1, plan, false, 1 }, { "SELECT ?, 1", 5, false, 1 }, { "SELECT ?", wide, false, 1 } } do
      refuses("load_alone", session[1], parent, 3, connection, list)
    end
    refuses("load_alone", session[1], parent, 3, session, { "SELECT ?, 1", plan, false, 1 })
  end)

  it("plans that say more of a row, an object or its kinds than there is", function()
    local class, kinds = core.class_of(parent), nil
    local function refused(words, changes)
      local item = { class = class, first = 1, map = { 1, 2 }, keys = { 1 }, discriminator = 2, kinds = kinds }
      for name, value in pairs(changes) do
        item[name] = value
      end
      local ok, err = pcall(core.plan, { item }, 2)
      assert.is_false(ok, words)
      assert.truthy(tostring(err):find(words .. " expected", 1, true), tostring(err))
    end
    kinds = { { class = class, map = { 1, 2 }, identity = "x" } }
    local whole = { class = class, first = 1, map = { 1, 2 }, keys = { 1 }, discriminator = 2, kinds = kinds }
    assert.is_userdata(core.plan({ whole }, 2))
    local SHORT, many = "kinds with as many columns as their item", {}
    refused(SHORT, { kinds = { { map = { 1, 2 } } } })
    refused(SHORT, { kinds = { kinds[1], { class = class, map = { 1 } } } })
    refused("columns of the class", { kinds = { { class = class, map = { 1, 99 } } } })
    refused("columns of the class", { refused = { 99 } })
    refused("columns of the class", { refused = { 0 } })
    refused("columns of the row", { discriminator = 3 })
    refused("columns of the row", { first = 0 })
    refused("columns of the row", { keys = { 0 } })
    for i = 1, 33 do
      many[i] = 1
    end
    refused("columns of the row", { keys = many })
    refused("kinds with a discriminator", { discriminator = 0 })
    refused("kinds with a discriminator", { discriminator = 0, kinds = {}, concrete = true })
  end)

  it("to take a kind whose identity no database can store for that of a row", function()
    local class, dbc = core.class_of(parent), session:connection().dbc
    local plan = core.plan({ { class = class, first = 1, map = { 1, 2 }, keys = { 1 }, discriminator = 2,
      kinds = { { class = class, map = { 1, 2 }, identity = {} }, { class = class, map = { 1, 2 }, identity = print } } } }, 2)
    local out = {}
    assert.equal(1, (core.load(session[1], dbc:prepare("SELECT 91, NULL"), plan, out)))
    assert.same({ 91, 91 }, { out[1].id, orm.inspect(out[1]).identity[1] })
    assert.is_false((pcall(core.load, session[1], dbc:prepare("SELECT 92, 'x'"), plan, out)))
    assert.equal(1, #out)
  end)

  it("orders of more parameters than a statement can have, and binds as many as it was made for", function()
    refuses("order", "SELECT 1", 65536)
    local dbc = session:connection().dbc
    assert.same({ { "only" } }, (dbc:open(core.order("SELECT ?", 1), { "only" }):fetch(nil, nil, 9)))
    local ok, err = pcall(dbc.open, dbc, core.order("SELECT ?", 0), {})
    assert.is_false(ok)
    assert.equal("the statement has 1 parameter, but 0 were given", err.message)
  end)

  it("to find a family by a number that none has, and loads all the same", function()
    local second = Parent { name = "y" }
    session:add(second)
    session:commit()
    local fresh = orm.Session(session:get_bind())
    local plan = core.plan({ { class = core.class_of(parent), first = 1, map = { 1, 2 }, keys = { 1 } } }, 2)
    local statement, out = fresh:connection().dbc:prepare("SELECT id, name FROM parent ORDER BY id"), {}
    assert.equal(2, (core.load(fresh[1], statement, plan, out, nil, nil, nil, { 1000000 })))
    assert.same({ "x", "y" }, { out[1].name, out[2].name })
    assert.same({ out[1] }, core.siblings(out[1], 4, 10))
    assert.same({ 1, 0 }, { #out[1].children, #out[2].children })
    fresh:close()
  end)

  it("SQL with a NUL byte where markers are looked for", function()
    local ok, err = pcall(core.split, "SELECT :a\0b")
    assert.is_false(ok)
    assert.same({ "ArgumentError", "text(): SQL cannot hold a NUL byte (values may: bind them)" }, { err.kind, err.message })
    local pieces, names = core.split "SELECT :a"
    assert.same({ { "SELECT ", "" }, { "a" } }, { pieces, names })
  end)

  it("to look for siblings of what has no session, and for expired ones", function()
    local loose = Parent { name = "z" }
    session:expunge(parent)
    for _, object in ipairs { loose, parent } do
      assert.same({ object }, core.siblings(object, 3, 10))
      assert.same({ object }, core.expired(object))
    end
  end)

  it("sandboxes for which there is no memory", function()
    local function open(memory, seconds)
      return core.sandbox({ memory = memory, instructions = 1e6, seconds = seconds or 1, statement_timeout = 0, max_value = 1e6 },
        { "t", 1 }, {}, {})
    end
    for memory, words in pairs { [0] = "there is no memory", [100] = "there is no memory",
      [300000] = "the sandbox cannot be opened: not enough memory" } do
      local ok, err = pcall(open, memory)
      assert.is_false(ok)
      assert.equal("OperationalError", err.kind)
      assert.truthy(err.message:find(words, 1, true), err.message)
    end
    local dbc = orm.create_engine("sqlite://"):connect().dbc
    local endless = open(1e7, 0)
    local failed, count = endless:run(dbc, [[
      return engine:connect():scalar(require("orrery").text("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t "
        .. "WHERE n < 30000) SELECT count(*) FROM t"))
    ]], "=script")
    assert.same({ false, 30000 }, { failed, count })
    assert.same({ "instructions" }, { (endless:run(dbc, "while true do end", "=script")) })
    endless:close()
  end)

  it("to walk over what is no statement, and more kinds of nodes and names than it has room for", function()
    local DIALECT, many, wide = { name = "d" }, {}, { atoms = {} }
    local function fails(words, node, parts)
      local find = core.shaper(parts or {}, {}, { places = {} })
      local ok, err = pcall(find, node, DIALECT, {})
      assert.is_false(ok, words)
      assert.truthy(tostring(type(err) == "table" and err.message or err):find(words, 1, true), tostring(err))
    end
    for _, visit in ipairs { "x", "select", "label" } do
      fails(visit .. " cannot be part of a statement", { visit = visit })
    end
    fails("a number cannot be part of a statement", 5)
    fails("5 cannot be part of a statement", { visit = 5 })
    fails("nil cannot be part of a statement", {})
    fails("nil cannot be part of a statement", setmetatable({}, { __index = function() end }))
    for i = 1, 320 do
      wide.atoms[i] = "a" .. i
    end
    fails("more names", { visit = "wide" }, { wide = wide })
    local top = { visit = "k0", inner = {} }
    for i = 0, 96 do
      many["k" .. i] = { lists = { "inner" } }
      top.inner[i] = { visit = "k" .. i }
    end
    fails("more kinds of nodes", top, many)
    local deep = { visit = "deep" }
    for _ = 1, 1000 do
      deep = { visit = "deep", inner = deep }
    end
    fails("nested deeper than 1000 levels", deep, { deep = { nodes = { "inner" } } })
  end)

  it("to take what is known of another statement for this one's", function()
    local find = core.shaper({ leaf = { atoms = { "name" } } }, {}, { places = {} })
    local function ask(known)
      return find({ visit = "leaf", name = "n" }, { name = "d" }, known)
    end
    local none, values, hash, text = ask {}
    assert.same({ nil, {} }, { none, values })
    for _, other in ipairs { {}, { text = 5 }, { text = text .. "x" }, { text = ("x"):rep(#text) }, setmetatable({}, {
      __index = { text = text } }), "known", true } do
      assert.is_nil((ask { [hash] = other }))
    end
    local known = { text = text }
    assert.equal(known, (ask { [hash] = known }))
  end)

  it("to mix up nodes of many kinds, whatever their metatables are, or operators that have no name", function()
    local parts = { leaf = { atoms = { "name" } }, pair = { nodes = { "one", "other" } } }
    for i = 1, 12 do
      parts["kind" .. i] = { atoms = { "name" } }
    end
    local find = core.shaper(parts, {}, { places = {} })
    local function text_of(node)
      return (select(4, find(node, { name = "d" }, {})))
    end
    local function inheriting(visit, name)
      return setmetatable({ name = name }, { __index = { visit = visit } })
    end
    local seen = {}
    for i = 1, 12 do
      local text = text_of(inheriting("kind" .. i, "n"))
      assert.is_nil(seen[text])
      seen[text] = true
      for _ = 1, 2 do
        assert.equal(text, text_of(inheriting("kind" .. i, "n")))
        assert.equal(text, text_of { visit = "kind" .. i, name = "n" })
      end
      assert.are_not.equal(text, text_of(inheriting("kind" .. i, "m")))
    end
    local leaf = { visit = "leaf", name = "n" }
    local function binary(token, right)
      return text_of { visit = "binary", operator = { token = token }, left = leaf, right = right or leaf }
    end
    assert.equal(binary "+", binary "+")
    assert.are_not.equal(binary "+", binary "-")
    assert.are_not.equal(binary "+", binary("+", { visit = "leaf", name = "m" }))
  end)

  it("to copy what is no table, and copies one with or without a metatable", function()
    refuses("copy", 5)
    local meta, plain = {}, { 1, x = "y" }
    assert.same(plain, core.copy(plain))
    assert.is_nil(getmetatable(core.copy(plain)))
    assert.equal(meta, getmetatable(core.copy(setmetatable({}, meta))))
  end)

  it("userdata without a metatable, and addresses that are no null", function()
    local bare = core.type(core.kinds.TEXT)
    debug.setmetatable(bare, nil)
    local values = { bare, debug.upvalueid and debug.upvalueid(function() return parent end, 1) or nil }
    for _, value in ipairs(values) do
      for _, call in ipairs { function() return Parent { name = value } end, function() parent.name = value end,
        function() parent.children = value end, function() child.parent = value end, function() parent.children:append(value) end,
        function() return parent.children.append(value, child) end, function() session:add(value) end,
        function() return core.forget(value) end, function() return core.siblings(value, 1, 1) end,
        function() return core.configure(value, {}) end, function() return session:get(value, 1) end,
        function() return session:get(Parent, value) end, function() return orm.select(value) end,
        function() return session:execute(orm.select(Parent):where(Parent.name:eq(value))) end } do
        assert.is_false((pcall(call)))
      end
    end
    assert.same({ "x", parent }, { parent.name, child.parent })
    assert.equal(1, #parent.children)
  end)

  it("links to relations, columns and rows that there are not", function()
    local class = core.class_of(parent)
    local stmt = session:connection().dbc:prepare("SELECT 1, 'x'")
    local plan = core.plan({ { class = class, first = 1, map = { 1, 2 }, keys = { 1 } } }, 2)
    for _, number in ipairs { 0, 1, 2, 5, 99 } do
      refuses("load", session[1], stmt, plan, {}, nil, nil, nil, nil, { { 1, number } })
    end
    local joined = core.plan({ { class = class, first = 1, map = { 1, 2 }, keys = { 1 } },
      { class = core.class_of(child), first = 3, map = { 1, 2 }, keys = { 1 } } }, 4)
    local wider = session:connection().dbc:prepare("SELECT 1, 'x', 1, 1")
    for _, number in ipairs { 0, 1, 2, 5, 99 } do
      refuses("load", session[1], wider, joined, {}, nil, nil, nil, nil, { { 1, number } })
    end
    refuses("hold_targets", { parent, child }, 4)
    assert.same({}, core.lacking({ Parent {} }, 3))
    assert.same({ parent }, core.keyless({ parent }, { 2 ^ 40 }))
    assert.same({}, core.keyless({ Parent { id = 5 } }, { 1 }))
    local wide = { "SELECT ?, 1", plan, false }
    for _ = 1, 33 do
      wide[#wide + 1] = 1
    end
    refuses("load_alone", session[1], parent, 3, session:connection().dbc, wide)
    refuses("lacking", { parent, child }, 4)
    refuses("hold_targets", { child, io.stdout }, 4)
    assert.same({ parent, child }, core.distinct(session[1], { { parent }, parent, { child }, { 1 }, false, { parent } }, 1))
    assert.equal("x", parent.name)
  end)

  it("rows whose objects are not the session's", function()
    local alien = Parent { name = "y" }
    local other = orm.Session(session:get_bind())
    other:add(alien)
    other:commit()
    local same, waiting = child.parent, Parent { name = "z" }
    session:add(waiting)
    assert.same({ parent }, core.distinct(session[1], { alien, parent, waiting, Parent {}, 1, parent, same }, 0))
  end)

  it("gathers that are closed, which can be closed twice", function()
    local plan = core.plan({ { class = core.class_of(child), first = 1, map = { 1, 2 }, keys = { 1 } } }, 2)
    local stmt = session:connection().dbc:prepare("SELECT 1, 1")
    local gather = core.gather({ parent }, 3, { 1 })
    debug.getmetatable(gather).__gc(gather)
    debug.getmetatable(gather).__gc(gather)
    refuses("load", session[1], stmt, plan, {}, nil, nil, nil, nil, nil, gather, { 2 })
    assert.same({ child }, { parent.children[1] })
  end)

  it("flushes that are over", function()
    local flush = core.flush(session[1])
    debug.getmetatable(flush).__gc(flush)
    debug.getmetatable(flush).__gc(flush)
    refuses("collect", flush)
    refuses("run", flush, session:connection().dbc)
    parent.name = "after"
    session:commit()
    assert.equal("after", session:scalars(orm.select(Parent.name)):one())
  end)

  it("to load into a list what has left it", function()
    local kept = Child {}
    parent.children:append(kept)
    session:flush()
    session:no_autoflush(function()
      child.parent = nil
      core.unload(parent, 3)
      core.set_loaded(parent, 3, { child, kept })
      assert.same({ kept }, parent.children:to_table())
    end)
    session:commit()
    assert.is_nil(child.parent_id)
    assert.same({ kept }, parent.children:to_table())
  end)

  it("to delete by statement what has no row yet, or to write it for a touch", function()
    local waiting = Parent { name = "w" }
    session:add(waiting)
    core.touch(waiting)
    core.mark_deleted(session[1], waiting)
    assert.equal("pending", orm.inspect(waiting).state)
    session:commit()
    assert.equal("w", session:scalars(orm.select(Parent.name):where(Parent.id:eq(waiting.id))):one())
  end)

  it("a detached object without a key", function()
    local lost = Parent { name = "lost" }
    assert.is_false(core.make_detached(lost))
    local ok, err = pcall(core.attach, session[1], lost)
    assert.is_false(ok)
    assert.equal("InvalidRequestError", err.kind)
    assert.truthy(err.message:find("Parent: a detached object without a key cannot be added", 1, true), err.message)
    assert.equal("transient", orm.inspect(lost).state)
    assert.equal(1, #session:scalars(orm.select(Parent)):all())
  end)

  it("metamethods of collections for anything else", function()
    local meta = debug.getmetatable(parent.children)
    for _, value in ipairs { 1, "x", io.stdout, session[1], child, core.type(core.kinds.TEXT), core.class_of(parent) } do
      for _, name in ipairs { "__index", "__len", "__call", "__tostring", "__newindex" } do
        assert.is_false((pcall(meta[name], value, 1, child)), name)
      end
      assert.is_false((pcall(meta.__index, value, false)))
      assert.is_false((pcall(meta.__index, value, "to_table") and pcall(meta.__index(value, "to_table"), value)))
    end
    assert.is_nil(meta.__index(parent.children, false))
    assert.same({ child }, parent.children:to_table())
  end)

  it("keys of classes that have several columns, and no keys, to load by", function()
    local class, dbc = core.class_of(parent), session:connection().dbc
    local plan = core.plan({ { class = class, first = 1, map = { 1, 2 }, keys = { 1 } } }, 2)
    local known = { "SELECT id, name FROM parent WHERE id = ?", plan }
    assert.is_nil((core.load_by_key(session[1], class, dbc, known, orm.null)))
    assert.is_nil((core.load_by_key(session[1], class, dbc, known, {})))
    local two = orm.declarative_base():model("Two", { __tablename__ = "two",
      a = Mapped(Integer, { primary_key = true }), b = Mapped(Integer, { primary_key = true }) })
    assert.is_nil((core.load_by_key(session[1], core.class_of(two { a = 1, b = 1 }), dbc, known, 1)))
    assert.equal("x", parent.name)
  end)

  it("to make objects of another class by a class's constructor, but as that class does", function()
    local class, other = core.class_of(parent), core.class_of(child)
    local new = core.constructor(class, debug.getmetatable(parent))
    assert.equal(class, core.class_of(new(class, { name = "n" })))
    assert.equal(other, core.class_of(new(other, { parent_id = 5 })))
    assert.is_false((pcall(new, parent, {})))
    local made = Parent { name = "m" }
    core.assign(made, { name = "k", children = { Child { writer_id = 9 } } })
    assert.same({ "k", 9, made }, { made.name, made.children[1].writer_id, made.children[1].parent })
  end)

  it("to forget what a relation of a new object holds that holds nothing", function()
    local fresh = Child {}
    core.unload(fresh, 4)
    assert.is_nil(fresh.parent)
    session:add(fresh)
    fresh.parent = parent
    session:commit()
    assert.equal(2, #session:scalars(orm.select(Child):where(Child.parent_id:eq(parent.id))):all())
  end)

  it("types that there are not", function()
    local kinds = core.kinds
    for _, arguments in ipairs { { -1 }, { 99 }, { 1.5 }, { "x" }, { kinds.TEXT, -1 }, { kinds.TEXT, "x" }, { kinds.TEXT,
      2 ^ 31 },
      { kinds.NUMERIC, nil, 2, 3 }, { kinds.TEXT, nil, nil, nil, "string" }, { kinds.NUMERIC, nil, nil, nil, "text" },
      { kinds.INTEGER, nil, nil, nil, {} } } do
      local ok, err = pcall(core.type, unpack(arguments, 1, 5))
      assert.is_false(ok)
      assert.equal("ArgumentError", err.kind)
      assert.is_nil(err.code)
    end
    local big = core.type(kinds.INTEGER, nil, nil, nil, "string")
    assert.equal(7, core.take(big, "7"))
    assert.equal(orm.null, core.take(big, nil))
    assert.equal("7", core.show(big, 7))
    assert.equal(1.5, core.show(core.type(kinds.FLOAT), 1.5))
    assert.is_nil(core.show(big, {}))
  end)

  it("drivers, times and databases that nobody can open", function()
    for _, arguments in ipairs { { "nosql", "x", {} }, { "sqlite", "a\0b", {} }, { "sqlite", "x" },
      { "sqlite", ":memory:", { busy_timeout = -1 } }, { "sqlite", ":memory:", { busy_timeout = 0 / 0 } } } do
      assert.is_false((pcall(core.connect, unpack(arguments, 1, 3))))
    end
  end)

  it("to finalize what is not of that kind, and finalizes twice in peace", function()
    local getmetatable = debug.getmetatable
    local handle, dbc = session[1], session:connection().dbc
    for _, value in ipairs { false, 1, {}, io.stdout, dbc, orm.null } do
      getmetatable(handle).__gc(value)
    end
    assert.is_true(dbc:is_open())
    session:close()
    getmetatable(dbc).__gc(dbc)
    getmetatable(dbc).__gc(dbc)
    assert.is_false(dbc:is_open())
    for _, value in ipairs { orm.null, newproxy and newproxy() or io.stdout } do -- luacheck: ignore
      assert.is_false((pcall(dbc.is_open, value)))
    end
  end)
end)
