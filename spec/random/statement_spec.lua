-- Statements made by chance: labels may be called like columns, tables or each other, values may be bound or written into
-- the SQL, and a select may be run by itself, from a subquery or from WITH: the rows are the same. A seed names each.
local orm = require "orrery"
local database = require "spec.support.database"
local select, func, null = orm.select, orm.func, orm.null
local unpack = rawget(table, "unpack") or unpack

local STATEMENTS = tonumber(os.getenv("ORRERY_STATEMENTS") or "") or 300
local NAMES = { "a", "b", "A", "id", "t", "u", "anon_1", "t_1", "a_1", "count_1", "order", "x y" }
local WORDS = { "a", "b", "c", "id" }

local metadata = orm.MetaData()
local function numbers(name)
  return orm.Table(name, metadata, orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("a", orm.Integer),
    orm.Column("b", orm.Integer), orm.Column("c", orm.Integer))
end
local TABLES = { numbers("t"), numbers("u"), numbers("t_1") }

local engine = database.create(metadata)
engine:begin(function(conn)
  for number, tbl in ipairs(TABLES) do
    for id = 1, 7 do
      local c = (id + number) % 4
      conn:execute(tbl:insert(), { id = id, a = id % 3, b = (id * number) % 5 - 1, c = c == 0 and null or c })
    end
  end
end)

-- ---- making them ----

local Maker = {}
Maker.__index = Maker

-- The same numbers on every Lua.
function Maker:number(limit)
  self.state = (self.state * 16807) % 2147483647
  return self.state % limit + 1
end

function Maker:one(list)
  return list[self:number(#list)]
end

-- A label's name: one that asks for trouble, or one that nothing else has.
function Maker:name()
  local name = self:one(NAMES)
  self.names = self.names + 1
  return self.tame and "label" .. self.names or name
end

function Maker:source(depth)
  local kind = self:number(depth > 0 and 6 or 3)
  if kind > 3 then
    local inner = self:select(depth - 1, self:number(3))
    local found = kind == 4 and inner:cte() or inner:subquery()
    return found, found.columns
  end
  local found, columns = self:one(TABLES):alias(), {}
  for position, word in ipairs(WORDS) do
    columns[position] = found.c[word]
  end
  return found, columns
end

local VALUES = {
  function(self, columns, depth) return self:value(columns, depth) + self:value(columns, depth) end,
  function(self, columns, depth) return self:value(columns, depth) - self:value(columns, depth) end,
  function(self, columns, depth) return -self:value(columns, depth) end,
  function(self, columns, depth) return func.coalesce(self:value(columns, depth), self:value(columns, depth)) end,
  function(self) return orm.literal(self:number(5) - 3) end,
  function(self, columns, depth)
    return orm.case_():when(self:condition(columns, depth), self:value(columns, depth)):else_(self:value(columns, depth))
  end,
}

function Maker:value(columns, depth)
  return depth > 0 and self:number(2) == 1 and self:one(VALUES)(self, columns, depth - 1) or self:one(columns)
end

local CONDITIONS = {
  function(self, columns, depth) return self:value(columns, depth):lt(self:value(columns, depth)) end,
  function(self, columns, depth) return self:value(columns, depth):is_(null) end,
  function(self, columns, depth) return self:value(columns, depth):in_{ 0, self:number(4), -1 } end,
  function(self, columns, depth) return orm.or_(self:condition(columns, depth), self:condition(columns, depth)) end,
  function(self, columns, depth) return orm.not_(self:condition(columns, depth)) end,
  function(self, columns, depth) return self:value(columns, depth):in_(self:select(0, 1)) end,
  function(self, columns, depth)
    local other = TABLES[1]:alias()
    return select(other.c.id):where(other.c.a:eq(self:value(columns, depth))):exists()
  end,
}

function Maker:condition(columns, depth)
  return CONDITIONS[depth > 0 and self:number(#CONDITIONS) or self:number(3)](self, columns, depth - 1)
end

-- FROM with up to three sources, and all their columns.
function Maker:from(depth)
  local from, columns = self:source(depth)
  local all = { unpack(columns) }
  for _ = 1, self:number(3) - 1 do
    local right, more = self:source(depth)
    from = from:join(right, self:one(all):eq(self:one(more)), { isouter = self:number(2) == 1 })
    for _, column in ipairs(more) do
      all[#all + 1] = column
    end
  end
  return from, all
end

function Maker:grouped(from, columns, width)
  local key = self:value(columns, 1):label(self:name())
  local items = { key }
  for position = 2, width do
    local value = self:value(columns, 1)
    items[position] = (self:number(2) == 1 and func.count(value) or func.max(value)):label(self:name())
  end
  return select(unpack(items)):select_from(from):group_by(key), items
end

function Maker:plain(from, columns, width)
  local items = {}
  for position = 1, width do
    local value = self:value(columns, 2)
    items[position] = self:number(3) == 1 and value or value:label(self:name())
  end
  local made = select(unpack(items)):select_from(from)
  return self:number(4) == 1 and made:distinct() or made, items
end

-- Cut only where all columns say the order.
function Maker:cut(made, items)
  for _, item in ipairs(items) do
    made = made:order_by(self:number(2) == 1 and item:desc() or item)
  end
  return self:number(2) == 1 and made:limit(self:number(4)):offset(self:number(3) - 1) or made
end

function Maker:select(depth, width)
  local from, columns = self:from(depth)
  local made, items = self[self:number(3) == 1 and "grouped" or "plain"](self, from, columns, width)
  made = self:number(2) == 1 and made:where(self:condition(columns, 2)) or made
  return self:number(2) == 1 and self:cut(made, items) or made
end

local function statement(seed, tame)
  local self = setmetatable({ state = seed * 7919 + 1, names = 0, tame = tame }, Maker)
  return self:select(2, self:number(4))
end

-- ---- running them ----

local function rows_of(result)
  local lines = {}
  for row in result do
    local count, parts = #result:keys(), {}
    for position = 1, count do
      parts[position] = row[position] == nil and "NULL" or tostring(row[position])
    end
    lines[#lines + 1] = table.concat(parts, "|")
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

describe("a statement made by chance gives the same rows", function()
  local warn

  setup(function() warn = orm.on_warning(function() end) end)
  teardown(function() orm.on_warning(warn) end)

  local WAYS = {
    ["whatever its labels are called"] = function(conn, _, seed) return conn:execute(statement(seed, true)) end,
    ["with its values in the SQL"] = function(conn, made)
      return conn:exec_driver_sql(made:compile{ literal_binds = true }.sql)
    end,
    ["from a subquery"] = function(conn, made) return conn:execute(select(made:subquery())) end,
    ["from WITH"] = function(conn, made) return conn:execute(select(made:cte())) end,
  }
  for way, run in pairs(WAYS) do
    it(way, function()
      orm.with(engine:connect(), function(conn)
        for seed = 1, STATEMENTS do
          local made = statement(seed)
          local expected, found = rows_of(conn:execute(made)), rows_of(run(conn, made, seed))
          assert(expected == found, ("seed %d: %s\n%s\nbut\n%s"):format(seed, tostring(made), expected, found))
        end
      end)
    end)
  end
end)
