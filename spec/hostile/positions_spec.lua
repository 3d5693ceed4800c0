-- @slow
-- Every hostile string in every place where a script can put one: as a value it is bound and the SQL stays what it is for
-- a harmless one; as a name it is quoted; anywhere else it is refused before any SQL. SQLite is asked to allow nothing that
-- it is not asked for the harmless one, and the canary table always survives.
local orm = require "orrery"
local strings = require "spec.hostile.strings"
local authorizer = require "spec.support.authorizer"
local Integer, Text, Table, Column = orm.Integer, orm.Text, orm.Table, orm.Column

local BENIGN = "Benign Name"
local TEXTS = strings.all()

-- ---- a database that is watched ----

local Base = orm.declarative_base()
local Item = Base:model("Item", {
  __tablename__ = "item",
  id = orm.Mapped(Integer, { primary_key = true }),
  name = orm.mapped_column(Text),
  doc = orm.mapped_column(orm.JSON),
  state = orm.mapped_column(orm.Enum("a", BENIGN)),
})
local Owner = Base:model("Owner", {
  __tablename__ = "owner",
  name = orm.Mapped(Text, { primary_key = true }),
  pets = orm.relationship("Pet", { back_populates = "owner" }),
})
Base:model("Pet", {
  __tablename__ = "pet",
  id = orm.Mapped(Integer, { primary_key = true }),
  owner_name = orm.Mapped(orm.ForeignKey("owner.name")),
  owner = orm.relationship("Owner", { back_populates = "pets" }),
})
local item = Item.__table__

local engine, log

authorizer.install()
teardown(authorizer.uninstall)

-- Anew for each place, so that its statements are prepared where they are watched.
local function open()
  log = {}
  engine = orm.create_engine("sqlite://", { echo = function(text) log[#log + 1] = text:match("^(.-)\n  %(") or text end,
    echo_time = false })
  Base.metadata:create_all(engine)
  engine:begin(function(conn)
    conn:exec_driver_sql("CREATE TABLE canary (v TEXT)")
    conn:exec_driver_sql("INSERT INTO canary VALUES ('alive')")
  end)
end

local function check_canary(where)
  local found = engine:begin(function(conn)
    return conn:exec_driver_sql("SELECT (SELECT group_concat(v) FROM canary) || '|' || (SELECT group_concat(name) FROM "
      .. "(SELECT name FROM main.sqlite_master WHERE sql IS NOT NULL ORDER BY name))"):scalar()
  end, { mode = "read" })
  assert(found == "alive|canary,item,owner,pet", where .. " changed the database: " .. tostring(found))
end

-- What a place does with a text: the statements that ran, or the error; what ran in any case, and what SQLite was asked to
-- allow. Everything is rolled back.
local function run(place, text)
  local conn = engine:connect()
  log = {}
  authorizer.take()
  local ok, err = pcall(place, text, conn)
  local statements = log
  conn:rollback()
  conn:close()
  return ok, ok and statements or err, statements, authorizer.take()
end

-- One action as a text, with the harmless name in the place of `name`; schemas have names of their own.
local function written(action, name)
  local parts = {}
  for position, part in ipairs(action) do
    parts[position] = position > 1 and position ~= 4 and part == name and BENIGN or part
  end
  return table.concat(parts, " | ")
end

local function add_actions(set, actions)
  for _, action in ipairs(actions) do
    set[written(action)] = true
  end
  return set
end

-- The first action that no run with a harmless text asks for; an empty name is what many actions have.
local function foreign(actions, allowed, name)
  name = name ~= "" and name or nil
  for _, action in ipairs(actions) do
    if not allowed[written(action)] and not allowed[written(action, name)] then
      return written(action, name)
    end
  end
end

local HARMLESS = { ArgumentError = true, CompileError = true, NoSuchColumnError = true, InvalidRequestError = true,
  NoReferencedTableError = true,
  StatementError = true, OperationalError = true }

local function is_clean_error(err)
  if type(err) ~= "table" or not HARMLESS[err.kind] then
    return false
  end
  local message = tostring(err)
  return strings.is_utf8(message) and #message < 5000 and not message:find("[%z\1-\8\11-\31\127]")
end

-- ---- values ----

local function with_session(fn)
  return function(text, conn)
    return orm.with(orm.Session(conn.engine), function(session)
      return fn(text, session)
    end)
  end
end

-- Each takes a text and a connection; what it returns must be true.
local VALUES = {
  ["insert of an object"] = with_session(function(text, session)
    session:add(Item{ name = text })
    session:flush()
    session:expire_all()
    return session:scalars(orm.select(Item.name)):one() == text
  end),
  ["update of an object"] = with_session(function(text, session)
    local one = Item{ name = "x" }
    session:add(one)
    session:flush()
    one.name = text
    session:flush()
    session:refresh(one)
    return one.name == text
  end),
  ["values of an insert and a condition"] = function(text, conn)
    conn:execute(orm.insert(item):values{ name = text })
    conn:execute(orm.insert(item):values{ name = "other" })
    return conn:scalars(orm.select(item.c.name):where(item.c.name:eq(text))):one() == text
  end,
  ["sets of an insert, IN and NOT IN"] = function(text, conn)
    conn:execute(orm.insert(item), { { name = text .. "1" }, { name = text } })
    return conn:scalars(orm.select(item.c.name):where(item.c.name:in_{ text, "other" })):one() == text
      and conn:scalars(orm.select(item.c.name):where(item.c.name:not_in{ text })):one() == text .. "1"
  end,
  ["a long IN"] = function(text, conn)
    local list = {}
    for number = 1, 1500 do
      list[number] = "n" .. number
    end
    list[700] = text
    conn:execute(orm.insert(item):values{ name = text })
    return conn:scalars(orm.select(item.c.name):where(item.c.name:in_(list))):one() == text
  end,
  ["filter_by, and both keys of update and delete"] = with_session(function(text, session)
    session:add(Item{ name = text })
    session:flush()
    local fine = session:query(Item):filter_by{ name = text }:one().name == text
    session:execute(orm.update(Item):where(Item.name:eq(text)):values{ name = text .. "!" })
    fine = fine and session:execute(orm.delete(Item):where(Item.name:eq(text .. "!"))).rowcount == 1
    return fine
  end),
  ["contains, startswith and endswith"] = function(text, conn)
    conn:execute(orm.insert(item), { { name = "<" .. text .. ">" }, { name = text .. ">" }, { name = "<" .. text } })
    local function found(condition)
      local list = conn:scalars(orm.select(item.c.name):where(condition):order_by(item.c.id)):all()
      return #list
    end
    return found(item.c.name:contains("<" .. text .. ">")) == 1 and found(item.c.name:startswith("<" .. text)) == 2
      and found(item.c.name:endswith(text .. ">")) == 2
  end,
  ["parameters of text()"] = function(text, conn)
    return conn:scalar(orm.text("SELECT :v AS v, ':v' AS w"), { v = text }) == text
      and conn:scalar(orm.text("SELECT :v"):bindparams{ v = text }) == text
      and conn:exec_driver_sql("SELECT ?", { text }):scalar() == text
  end,
  ["literals, functions and cases"] = function(text, conn)
    return conn:scalar(orm.select(orm.literal(text))) == text
      and conn:scalar(orm.select(orm.func.coalesce(orm.null, text))) == text
      and conn:scalar(orm.select(orm.case_():when(orm.literal(text):eq(text), text):else_("no"))) == text
      and conn:scalar(orm.select(orm.literal(text) .. "!")) == text .. "!"
  end,
  ["conflict clauses"] = function(text, conn)
    conn:execute(orm.insert(item):values{ id = 1, name = "x" })
    conn:execute(orm.insert(item):values{ id = 1, name = "y" }:on_conflict_do_update{ index_elements = { "id" },
      set = { name = text } })
    return conn:scalar(orm.select(item.c.name)) == text
  end,
  ["a primary key, and relationships by it"] = with_session(function(text, session)
    session:add_all{ Owner{ name = text, pets = { Base.registry.classes.Pet.class{}, Base.registry.classes.Pet.class{} } },
      Owner{ name = text .. "\1" }, Owner{ name = text .. "'" } }
    session:flush()
    session:expire_all()
    local owner = session:get(Owner, text)
    local fine = owner.name == text and #owner.pets == 2 and owner.pets[1].owner == owner
    session:expunge_all()
    owner = session:scalars(orm.select(Owner):where(Owner.name:eq(text)):options(orm.selectinload(Owner.pets))):one()
    fine = fine and #owner.pets == 2
    session:expunge_all()
    owner = session:scalars(orm.select(Owner):where(Owner.name:eq(text)):options(orm.joinedload(Owner.pets))):unique():one()
    fine = fine and #owner.pets == 2
    return fine
  end),
  ["JSON documents"] = with_session(function(text, session)
    session:add(Item{ doc = { value = text, list = { text } } })
    session:flush()
    session:expire_all()
    local one = session:scalars(orm.select(Item)):one()
    return one.doc.value == text and one.doc.list[1] == text
  end),
}

local function names_of(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function same_list(a, b)
  if #a ~= #b then
    return false
  end
  for position = 1, #a do
    if a[position] ~= b[position] then
      return false
    end
  end
  return true
end

local function has_nul(text)
  return text:find("\0", 1, true) ~= nil
end

-- Texts that a place may refuse although they are valid: LIKE has no NUL and takes 50,000 bytes.
local REFUSED = { ["contains, startswith and endswith"] = function(text) return has_nul(text) or #text > 49000 end }
-- Texts for which a place may say the same in other SQL: a NUL byte does not fit into the JSON that a long list is bound as.
local RESHAPED = { ["a long IN"] = has_nul }

local function no() return false end

describe("as a value, in", function()
  before_each(open)
  for _, name in ipairs(names_of(VALUES)) do
    it(name .. ", a text changes no statement and comes back whole", function()
      local place, faults = VALUES[name], {}
      local may_refuse, may_reshape = REFUSED[name] or no, RESHAPED[name] or no
      local function whole(text, conn)
        assert(place(text, conn), "the text did not come back")
      end
      local fine, expected, _, asked = run(whole, BENIGN)
      assert.is_true(fine, tostring(expected))
      local allowed = add_actions({}, asked)
      for _, text in ipairs(TEXTS) do
        local ok, found, ran, actions = run(whole, text)
        local shown, more = strings.show(text), foreign(actions, allowed)
        if more and not may_reshape(text) then
          faults[#faults + 1] = shown .. " makes SQLite do more: " .. more
        elseif ok and not may_reshape(text) and not same_list(expected, found) then
          faults[#faults + 1] = shown .. " changes the statements: " .. table.concat(found, "; "):sub(1, 300)
        elseif not ok and (strings.is_utf8(text) and not may_refuse(text) or not is_clean_error(found) or #ran > #expected) then
          faults[#faults + 1] = shown .. ": " .. tostring(found):sub(1, 300)
        end
      end
      check_canary(name)
      assert.same({}, faults)
    end)
  end
end)

-- ---- names ----

local function quoted(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

local function is_plain(text)
  return text:find("^[%a_][%w_]*$") ~= nil
end

-- Statements in which a name stands, with the harmless name in its place.
local function with_benign(statements, text)
  local list, to = {}, quoted(BENIGN)
  local from = quoted(text):gsub("[%z\1-\8\11-\31\127]", function(char) return "\\" .. char:byte() end) -- as echo shows it
  for position, sql in ipairs(statements) do
    local pieces, start = {}, 1
    while true do
      local first, last = sql:find(from, start, true)
      pieces[#pieces + 1] = sql:sub(start, (first or 0) - 1)
      if not first then
        break
      end
      pieces[#pieces + 1], start = to, last + 1
    end
    list[position] = table.concat(pieces)
  end
  return list
end

local function key()
  return Column("id", Integer, { primary_key = true })
end

-- A table with one part that is named by the text: made, used, read from the database, and dropped.
local function of_table(make)
  return function(text, conn)
    local metadata = orm.MetaData()
    local t = make(text, metadata)
    metadata:create_all(conn)
    conn:execute(orm.insert(t):values{ id = 7 })
    local one = conn:execute(orm.select(t):where(t.c.id:eq(7)):order_by(t.c.id)):one()
    assert(one.id == 7 and one[t.c.id] == 7)
    conn:execute(orm.update(t):where(t.c.id:eq(7)):values{ id = 8 })
    local found = Table(t.name, orm.MetaData(), { autoload_with = conn })
    assert(tostring(orm.CreateTable(found)) == tostring(orm.CreateTable(t)))
    for position, index in ipairs(found.indexes) do
      assert(tostring(orm.CreateIndex(index)) == tostring(orm.CreateIndex(t.indexes[position])))
    end
    conn:execute(orm.delete(t):where(t.c.id:eq(8)))
    metadata:drop_all(conn)
    return true
  end
end

local NAMED = {
  ["a table"] = of_table(function(text, metadata)
    return Table(text, metadata, key(), Column("x", Integer, { index = false }))
  end),
  ["a column"] = function(text, conn)
    local metadata = orm.MetaData()
    local t = Table("t", metadata, Column(text, Integer, { primary_key = true }), Column("other", Text))
    metadata:create_all(conn)
    conn:execute(orm.insert(t):values{ [text] = 7 })
    conn:execute(orm.insert(t), { { [text] = 8, other = "x" }, { [text] = 9, other = "y" } })
    local one = conn:execute(orm.select(t):where(t.c[text]:eq(7)):order_by(t.c[text]:desc())):one()
    conn:execute(orm.update(t):where(t.c[text]:eq(7)):values{ [text] = 70 })
    local first = conn:execute(orm.select(t):order_by(text)):first()
    metadata:drop_all(conn)
    return one[text] == 7 and first[text] == 8
  end,
  ["an index"] = of_table(function(text, metadata)
    return Table("t", metadata, key(), Column("x", Integer), orm.Index(text, "x"))
  end),
  ["a primary key"] = of_table(function(text, metadata)
    return Table("t", metadata, Column("id", Integer), orm.PrimaryKeyConstraint("id", { name = text }))
  end),
  ["a unique constraint"] = of_table(function(text, metadata)
    return Table("t", metadata, key(), orm.UniqueConstraint("id", { name = text }))
  end),
  ["a check"] = of_table(function(text, metadata)
    return Table("t", metadata, key(), orm.CheckConstraint("id > 1", { name = text }))
  end),
  ["a foreign key"] = of_table(function(text, metadata)
    return Table("t", metadata, key(), Column("up", orm.ForeignKey("t.id", { name = text })))
  end),
  ["a label"] = function(text, conn)
    local label = item.c.id:label(text)
    conn:execute(orm.select(label):order_by(label):group_by(label))
    return conn:execute(orm.select(orm.literal(7):label(text))):one()[text] == 7
  end,
  ["an alias"] = function(text, conn)
    local other = item:alias(text)
    conn:execute(orm.select(other.c.id):where(other.c.name:eq("x")):order_by(other.c.id))
    local entity = orm.aliased(Item, text)
    conn:execute(orm.select(entity.id))
    return true
  end,
  ["a subquery and a common table expression"] = function(text, conn)
    local inner = orm.select(item.c.id, item.c.name)
    conn:execute(orm.select(inner:subquery(text).c.id))
    conn:execute(orm.select(inner:cte(text).c.name))
    return true
  end,
  ["a view"] = function(text, conn)
    local view = orm.CreateView(orm.select(orm.literal(7):label("x")), text)
    conn:execute(view)
    assert(conn:scalar(orm.select(view.table.c.x)) == 7)
    conn:execute(orm.DropView(view))
    return true
  end,
  ["a savepoint"] = function(text, conn)
    conn:execute(orm.insert(item):values{ id = 1 })
    conn:savepoint(text)
    conn:execute(orm.insert(item):values{ id = 2 })
    conn:rollback_to(text)
    conn:release(text)
    return conn:scalar(orm.select(orm.func.count()):select_from(item)) == 1
  end,
}

describe("as the name of", function()
  before_each(open)
  for _, name in ipairs(names_of(NAMED)) do
    it(name .. ", a text is quoted, or refused before any SQL", function()
      local place, faults = NAMED[name], {}
      local fine, expected, _, asked = run(place, BENIGN)
      assert.is_true(fine, tostring(expected))
      local may_do = add_actions({}, asked)
      for _, text in ipairs(TEXTS) do
        local ok, found, ran, actions = run(place, text)
        local shown, more = strings.show(text), foreign(actions, may_do, text)
        local reserved = (name == "a table" or name == "a view" or name == "an index") and text:lower():find("^sqlite_")
        local allowed = strings.is_name(text) and not reserved
        if more then
          faults[#faults + 1] = shown .. " makes SQLite do more: " .. more
        elseif ok and not allowed then
          faults[#faults + 1] = shown .. " is taken"
        elseif ok and not is_plain(text) and not same_list(expected, with_benign(found, text)) then
          faults[#faults + 1] = shown .. " changes the statements: " .. table.concat(with_benign(found, text), "; "):sub(1, 600)
        elseif not ok and (allowed or not is_clean_error(found) or #ran > #expected) then
          faults[#faults + 1] = shown .. ": " .. tostring(found):sub(1, 300)
        end
      end
      check_canary(name)
      assert.same({}, faults)
    end)
  end
end)

-- ---- words that are looked up ----

-- A place that takes known words only: whatever it takes of the hostile ones must be one of these.
local LOOKED_UP = {
  ["order_by()"] = { function(text, conn) return conn:execute(orm.select(item):order_by(text)) end, "id", "name" },
  ["group_by()"] = { function(text, conn) return conn:execute(orm.select(item.c.id):group_by(text)) end, "id" },
  ["order_by() of objects"] = { with_session(function(text, session)
    return session:scalars(orm.select(Item):order_by(text))
  end), "id", "name" },
  ["filter_by{}"] = { with_session(function(text, session)
    return session:query(Item):filter_by{ [text] = 1 }:all()
  end), "id" },
  ["a constructor"] = { function(text) return Item{ [text] = "x" } end, "name" },
  ["an attribute of an object"] = { function(text)
    local one = Item{}
    one[text] = "x"
  end, "name" },
  ["an attribute of a class"] = { function(text) return Item[text] end, "id" },
  ["values of an insert"] = { function(text, conn) return conn:execute(orm.insert(item):values{ [text] = "x" }) end, "name" },
  ["sets of an insert"] = { function(text, conn)
    return conn:execute(orm.insert(item), { { [text] = "x" }, { [text] = "y" } })
  end, "name" },
  ["values of an update"] = { function(text, conn)
    return conn:execute(orm.update(item):where(orm.all):values{ [text] = "x" })
  end, "name" },
  ["parameters of text()"] = { function(text, conn)
    return conn:execute(orm.text("SELECT :name"), { [text] = "x" })
  end, "name" },
  ["columns of a table"] = { function(text) return item.c[text] end, "id" },
  ["conflict targets"] = { function(text, conn)
    return conn:execute(orm.insert(item):values{ name = "x" }:on_conflict_do_nothing{ index_elements = { text } })
  end, "id" },
  ["limit()"] = { function(text, conn) return conn:execute(orm.select(item):limit(text)) end },
  ["offset()"] = { function(text, conn) return conn:execute(orm.select(item):offset(text)) end },
  ["collate()"] = { function(text, conn)
    return conn:execute(orm.select(item):order_by(item.c.name:collate(text))):all()
  end, "NOCASE" },
  ["ondelete"] = { function(text) return orm.ForeignKey("owner.name", { ondelete = text }) end, "CASCADE" },
  ["the target of a foreign key"] = { function(text, conn)
    local metadata = orm.MetaData()
    Table("t", metadata, key(), Column("x", Integer, orm.ForeignKey(text)))
    metadata:create_all(conn)
  end },
  ["a type"] = { function(text) return Column("x", text) end },
  ["a cast"] = { function(text, conn) return conn:execute(orm.select(item.c.id:cast(text))) end },
  ["an isolation level"] = { function(text, conn) return conn:execution_options{ isolation_level = text } end, "AUTOCOMMIT" },
  ["an option of an engine"] = { function(text) return orm.create_engine("sqlite://", { [text] = 1 }) end },
  ["an option of a URL"] = { function(text)
    return orm.create_engine(orm.URL.create{ drivername = "sqlite", query = { [text] = "1" } })
  end, "timeout" },
  ["a dialect"] = { function(text) return orm.create_engine(text .. "://") end, "sqlite" },
  ["a loader option"] = { function(text) return orm.selectinload(Owner[text]) end, "pets" },
  ["the order of a relationship"] = { function(text)
    local base = orm.declarative_base()
    base:model("A", { __tablename__ = "a", id = orm.Mapped(Integer, { primary_key = true }),
      bs = orm.relationship("B", { order_by = text }) })
    base:model("B", { __tablename__ = "b", id = orm.Mapped(Integer, { primary_key = true }),
      a_id = orm.Mapped(orm.ForeignKey("a.id")) })
    base.registry:configure()
  end, "B.id", "id" },
  ["an event"] = { function(text) return orm.event.listen(engine, text, print) end },
}

describe("as a word that is looked up, in", function()
  before_each(open)
  for _, name in ipairs(names_of(LOOKED_UP)) do
    it(name .. ", a text is refused before any SQL", function()
      local place, faults, known, harmless = LOOKED_UP[name][1], {}, {}, {}
      for position = 2, #LOOKED_UP[name] do
        known[LOOKED_UP[name][position]] = true
        local ok, err, _, asked = run(place, LOOKED_UP[name][position])
        assert(ok, tostring(err))
        add_actions(harmless, asked)
      end
      for _, text in ipairs(TEXTS) do
        local ok, found, ran, actions = run(place, text)
        local more = foreign(actions, harmless)
        -- Names of the script's own, which are never stored.
        local own = (name == "an attribute of an object" or name == "a constructor") and text:sub(1, 1) == "_"
        if more then
          faults[#faults + 1] = strings.show(text) .. " makes SQLite do more: " .. more
        elseif not known[text] and not own and (ok or not is_clean_error(found) or #ran > 3) then
          faults[#faults + 1] = ("%s: %s"):format(strings.show(text), ok and "taken" or tostring(found):sub(1, 300))
        end
      end
      check_canary(name)
      assert.same({}, faults)
    end)
  end
end)

describe("a text", function()
  setup(open)

  it("as a server default, or a value of an Enum with a check, is a literal", function()
    for _, text in ipairs(TEXTS) do
      local conn, metadata = engine:connect(), orm.MetaData()
      local ok, err = pcall(function()
        local t = Table("t", metadata, key(), Column("d", Text, { server_default = text }),
          Column("e", orm.Enum("x", text .. "?", { create_constraint = true })))
        metadata:create_all(conn)
        conn:execute(orm.insert(t):values{ e = text .. "?" })
        assert(conn:scalar(orm.select(t.c.d)) == text and conn:scalar(orm.select(t.c.e)) == text .. "?")
      end)
      conn:rollback()
      conn:close()
      local fine = ok == (strings.is_utf8(text) and not has_nul(text))
      assert(fine and (ok or is_clean_error(err)), strings.show(text) .. ": " .. tostring(err))
    end
    check_canary("a literal")
  end)

  it("as a name that is asked for is bound", function()
    local inspector = orm.inspect(engine)
    for _, text in ipairs(TEXTS) do
      local shown = strings.show(text)
      local ok, err = pcall(inspector.has_table, inspector, text)
      assert(ok and not err or not ok and is_clean_error(err) and not strings.is_utf8(text), shown .. ": " .. tostring(err))
      ok, err = pcall(inspector.get_columns, inspector, text)
      assert(not ok and (err.kind == "NoSuchTableError" or is_clean_error(err)), shown .. ": " .. tostring(err))
      ok, err = pcall(Table, "x" .. text, orm.MetaData(), { autoload_with = engine })
      assert(not ok and (err.kind == "NoSuchTableError" or is_clean_error(err)), shown .. ": " .. tostring(err))
    end
    check_canary("the inspector")
  end)

  it("as a step into a document finds what has that name, and nothing else", function()
    for _, text in ipairs(TEXTS) do
      local conn = engine:connect()
      local ok, err = pcall(function()
        conn:execute(orm.insert(item):values{ doc = { [text] = "yes", other = "no" } })
        return conn:scalar(orm.select(item.c.doc:path(text)))
      end)
      conn:rollback()
      conn:close()
      assert(ok and (err == "yes" or err == '"yes"') or not ok and is_clean_error(err),
        strings.show(text) .. ": " .. tostring(err))
    end
    check_canary("a document")
  end)

  it("in the name of a file stays a name", function()
    local folder = os.tmpname()
    os.remove(folder)
    for _, text in ipairs(TEXTS) do
      local url = orm.URL.create{ drivername = "sqlite", database = folder .. "/" .. text, query = { mode = "rw" } }
      assert.equal(tostring(url), tostring(orm.make_url(url)))
      local ok, err = pcall(function() return orm.create_engine(url):connect() end)
      assert(not ok and is_clean_error(err), strings.show(text) .. ": " .. tostring(err))
    end
    local plain = orm.create_engine(orm.URL.create{ drivername = "sqlite", database = "file:x?mode=memory",
      query = { mode = "rw" } })
    assert.is_false((pcall(plain.connect, plain)))
  end)

  it("leaves no control bytes in what echo and errors show", function()
    local shown = {}
    local own = orm.create_engine("sqlite://", { echo = function(line) shown[#shown + 1] = line end })
    for _, text in ipairs(TEXTS) do
      local conn = own:connect()
      pcall(function() conn:execute(orm.select(orm.literal(text):label("x" .. text))) end)
      local _, err = pcall(function()
        conn:execute(orm.text('SELECT :v FROM "nowhere' .. text:gsub('"', '') .. '"'), { v = text })
      end)
      shown[#shown + 1] = tostring(err)
      conn:close()
    end
    for _, line in ipairs(shown) do
      assert(not line:find("[%z\1-\8\11-\31\127]"), ("%q"):format(line:sub(1, 200)))
    end
  end)

  it("in the names of somebody's database becomes models, each of its own", function()
    local own, expected, seen = orm.create_engine("sqlite://"), 0, {}
    own:begin(function(conn)
      for _, text in ipairs(TEXTS) do
        local folded = text:gsub("%u", string.lower)
        if strings.is_name(text) and #text < 1000 and folded:sub(1, 7) ~= "sqlite_" and folded ~= "id" and not seen[folded] then
          seen[folded], expected = true, expected + 1
          conn:exec_driver_sql(("CREATE TABLE %s (id INTEGER PRIMARY KEY, %s TEXT)"):format(quoted(text), quoted(text)))
          conn:exec_driver_sql(("INSERT INTO %s VALUES (1, ?)"):format(quoted(text)), { text })
        end
      end
    end)
    local models, session, count = orm.automap(own), orm.Session(own), 0
    for name, class in pairs(models) do
      if name ~= "Base" then
        count = count + 1
        local text = class.__table__.name
        assert.equal(text, session:get(class, 1)[text], name)
      end
    end
    assert.equal(expected, count)
    session:close()
    own:dispose()
  end)
end)
