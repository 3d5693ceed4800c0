-- Schemas made by chance: what create_all has made is read back and made again elsewhere, and the two databases have the
-- same statements; a copy into another MetaData has them, too. A seed names each schema, so that a failure can be repeated.
local orm = require "orrery"
local database = require "spec.support.database"
local Integer, Text, Column = orm.Integer, orm.Text, orm.Column
local unpack = rawget(table, "unpack") or unpack

local SCHEMAS = tonumber(os.getenv("ORRERY_SCHEMAS") or "") or 60

-- The same numbers on every Lua.
local Chance = {}
Chance.__index = Chance

function Chance:number(limit)
  self.state = (self.state * 16807) % 2147483647
  return self.state % limit + 1
end

function Chance:once(times)
  return self:number(times) == 1
end

function Chance:one(list)
  return list[self:number(#list)]
end

local STEMS = { "a", "name", "Order", "select", "x y", 'q"t', "it's", "ä", "_id", "group", "a.b", "100%", "c)", "d,e", "--f" }
local KINDS = { Integer, orm.BigInteger, Text, orm.String(20), orm.Float, orm.Numeric(8, 2), orm.Boolean, orm.Date, orm.DateTime,
  orm.LargeBinary, orm.JSON, orm.Numeric(12, 4, { as = "string" }) }
local STRICT = { Integer, Text, orm.Float, orm.LargeBinary }
local NUMBERS = { 5, -1.5, 0, 1e100 }
local DEFAULTS = { "text", "it's", true, orm.text("CURRENT_TIMESTAMP"), orm.text("(1 + 2)"), orm.func.lower("X"), "" }
local ACTIONS = { "CASCADE", "SET NULL", "RESTRICT", "SET DEFAULT" }

local function new_names(chance)
  local used = {}
  return function()
    local stem = chance:one(STEMS)
    used[stem] = (used[stem] or 0) + 1
    return used[stem] == 1 and stem or stem .. used[stem]
  end
end

local function new_column(chance, name, strict)
  local options = { nullable = not chance:once(3), unique = chance:once(8), index = chance:once(6) }
  local kind = chance:one(strict and STRICT or KINDS)
  options.server_default = not strict and chance:once(4) and chance:one(kind == orm.Float and NUMBERS or DEFAULTS) or nil
  options.collation = kind == Text and chance:once(3) and "NOCASE" or nil
  return Column(name, kind, options)
end

local function add_key(chance, parts, next_name, options)
  local count = options.sqlite_with_rowid == false and chance:number(2) or chance:one{ 1, 1, 1, 2 }
  local names = {}
  for position = 1, count do
    names[position] = next_name()
    parts[#parts + 1] = Column(names[position], Integer, { primary_key = true })
  end
  if chance:once(3) and not options.sqlite_autoincrement then
    names[#names + 1] = { name = "pk " .. next_name() }
    parts[#parts + 1] = orm.PrimaryKeyConstraint(unpack(names))
  end
  return count
end

local function add_constraints(chance, parts, plain, mark)
  if #plain > 1 and chance:once(2) then
    parts[#parts + 1] = orm.UniqueConstraint(plain[1], plain[2], { name = chance:once(2) and "uq " .. mark or nil,
      sqlite_on_conflict = chance:once(3) and "IGNORE" or nil })
  end
  if chance:once(2) then
    parts[#parts + 1] = orm.CheckConstraint(chance:one{ "1 < 2", "'a)' <> '(b'", "length('--') /* c) */ > 1" },
      { name = chance:once(2) and "ck " .. mark or nil })
  end
  if chance:once(2) then
    parts[#parts + 1] = orm.Index("ix " .. mark, plain[1], { unique = chance:once(2) })
  end
end

-- A key that refers to a whole primary key.
local function add_reference(chance, parts, next_name, target)
  local own, referred = {}, {}
  for position, column in ipairs(target.primary_key) do
    own[position], referred[position] = next_name(), column
    parts[#parts + 1] = Column(own[position], Integer)
  end
  parts[#parts + 1] = orm.ForeignKeyConstraint(own, referred, { name = chance:once(2) and "fk " .. next_name() or nil,
    ondelete = chance:once(2) and chance:one(ACTIONS) or nil, onupdate = chance:once(3) and chance:one(ACTIONS) or nil,
    deferrable = chance:once(3) or nil, initially = chance:once(4) and "DEFERRED" or nil })
end

local function add_generated(chance, parts, plain, next_name, options)
  if chance:once(4) and not options.sqlite_strict then
    parts[#parts + 1] = Column(next_name(), Text, orm.Computed("'x' || '(' || 1", { persisted = chance:one{ true, false } }))
  end
  return plain
end

local function add_indexes(chance, tbl, plain, mark)
  if chance:once(3) then
    orm.Index("ex " .. mark, orm.func.lower(tbl.c[plain[1]]), tbl.c[plain[#plain]]:desc())
  end
  if chance:once(3) then
    orm.Index("pa " .. mark, tbl.c[plain[1]], { where = tbl.c[plain[1]]:is_not(orm.null) })
  end
end

local function new_table(chance, metadata, tables, next_table)
  local parts, plain, next_name, name = {}, {}, new_names(chance), next_table()
  local options = { sqlite_strict = chance:once(5) or nil }
  if chance:once(5) then
    options.sqlite_with_rowid = false
  elseif chance:once(5) then
    options.sqlite_autoincrement = true
  end
  local keys = add_key(chance, parts, next_name, options)
  if keys ~= 1 then
    options.sqlite_autoincrement = nil
  end
  for position = 1, chance:number(5) do
    plain[position] = next_name()
    parts[#parts + 1] = new_column(chance, plain[position], options.sqlite_strict)
  end
  if #tables > 0 and chance:once(2) then
    add_reference(chance, parts, next_name, chance:one(tables))
  end
  add_constraints(chance, parts, plain, name)
  add_generated(chance, parts, plain, next_name, options)
  parts[#parts + 1] = options
  local tbl = orm.Table(name, metadata, unpack(parts))
  add_indexes(chance, tbl, plain, name)
  tables[#tables + 1] = tbl
end

local function new_schema(seed)
  local chance, metadata, tables = setmetatable({ state = seed * 7919 + 1 }, Chance), orm.MetaData(), {}
  local next_table = new_names(chance)
  for _ = 1, chance:number(4) do
    new_table(chance, metadata, tables, next_table)
  end
  return metadata
end

local function statements_of(engine)
  return database.rows(engine, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
end

local function made_of(metadata)
  local engine = orm.create_engine("sqlite://")
  metadata:create_all(engine)
  return engine
end

local function reflected(engine)
  local metadata = orm.MetaData()
  metadata:reflect(engine)
  return metadata
end

local function copied(metadata)
  local copy = orm.MetaData()
  for _, tbl in ipairs(metadata.sorted_tables) do
    tbl:to_metadata(copy)
  end
  return copy
end

describe("a schema made by chance", function()
  it("is the same when it was read, copied and made again", function()
    for seed = 1, SCHEMAS do
      local where = "seed " .. seed
      local metadata = new_schema(seed)
      local ok, engine = pcall(made_of, metadata)
      assert(ok, where .. ": " .. tostring(engine))
      local expected = statements_of(engine)
      assert.is_true(#expected > 0)
      assert.same(expected, statements_of(made_of(copied(metadata))), where)
      local found = reflected(engine)
      assert.same(expected, statements_of(made_of(found)), where)
      assert.same(expected, statements_of(made_of(copied(found))), where)
      metadata:drop_all(engine)
      assert.same({}, database.rows(engine, "SELECT name FROM sqlite_master WHERE name <> 'sqlite_sequence'"), where)
    end
  end)
end)
