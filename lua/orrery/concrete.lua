--- concrete: classes with a table each, read together: the union of their tables, in which a column tells the tables apart,
-- and the entity by which its rows become objects of the class whose table they come from.
local import = ...
local errors = import "errors"
local expression = import "expression"
local functions = import "functions"
local selectable = import "selectable"
local statement = import "statement"

local concrete = {}
local unpack = table.unpack or unpack

-- ---- the union ----

-- The columns of all tables by name, in the order in which they first come.
local function all_columns(members)
  local list, seen = {}, {}
  for _, member in ipairs(members) do
    for _, column in ipairs(member.table.columns) do
      local name = column.key or column.name
      if not seen[name] then
        seen[name] = true
        list[#list + 1] = { name = name, type = column.type }
      end
    end
  end
  return list
end

local function select_of(member, columns, type_name)
  local own, items = {}, {}
  for _, column in ipairs(member.table.columns) do
    own[column.key or column.name] = column
  end
  for position, column in ipairs(columns) do
    items[position] = own[column.name] or functions.cast(expression.NULL, column.type):label(column.name)
  end
  if type_name then
    items[#items + 1] = expression.literal(member.identity):label(type_name)
  end
  return statement.select(unpack(items)):select_from(member.table)
end

local function union_of(members, type_name, name)
  local columns, selects = all_columns(members), {}
  for position, member in ipairs(members) do
    selects[position] = select_of(member, columns, type_name)
  end
  local whole = selects[2] and statement.union_all(unpack(selects)) or selects[1]
  local union = whole:subquery(name or "p_union")
  union.by_name = true
  return union
end

local function sorted_identities(tables)
  local list = {}
  for identity in pairs(tables) do
    list[#list + 1] = identity
  end
  table.sort(list, function(one, other) return tostring(one) < tostring(other) end)
  return list
end

--- The rows of several tables as those of one, a UNION ALL: each column of any of them, NULL where a table lacks it, and a
--- column that tells the tables apart by their names here.
---@param tables table<any, any> tables, or classes, by what the type column has for them
---@param type_name? string the name of that column; nil: none
---@param name? string of the subquery, "p_union" by default
---@return table
function concrete.polymorphic_union(tables, type_name, name)
  local members = {}
  if type(tables) ~= "table" or getmetatable(tables) or next(tables) == nil then
    errors.raise("ArgumentError", "polymorphic_union(): tables by name expected, { manager = manager_table, ... }, got %s",
      errors.show(tables))
  end
  for position, identity in ipairs(sorted_identities(tables)) do
    members[position] = { identity = identity, table = selectable.expect(tables[identity], "polymorphic_union()", 1) }
  end
  return union_of(members, type_name, name)
end

-- ---- objects ----

local function shown(union, name)
  for _, column in ipairs(union.columns) do
    if (column.key or column.name) == name then
      return column
    end
  end
end

-- The attribute numbers that a class has for the columns of the union; 0 for those that are not its own.
local function numbers_of(mapper, union)
  local numbers = {}
  for position, column in ipairs(union.columns) do
    numbers[position] = 0
    for _, own in ipairs(mapper.table.columns) do
      if (own.key or own.name) == (column.key or column.name) then
        numbers[position] = mapper:number_of_column(own) or 0
      end
    end
  end
  return numbers
end

local function attribute(mapper, union, number, column)
  local whole = mapper:attribute(mapper.column_keys[number])
  return expression.new{ visit = "column", name = column.name, key = whole.key, type = whole.type, table = union,
    origin = whole.origin, owner = mapper.name, class = mapper.class }
end

--- The attributes of a class as the union shows them, by name.
---@param mapper orrery.Mapper
---@param union table
---@return table<string, table>
function concrete.attributes(mapper, union)
  local by_key = {}
  for position, number in ipairs(numbers_of(mapper, union)) do
    if number > 0 then
      by_key[mapper.column_keys[number]] = attribute(mapper, union, number, union.columns[position])
    end
  end
  return by_key
end

-- Columns of the class under their numbers, the others as they are, and last what tells the tables apart.
local function columns_of(mapper, union, discriminator)
  local columns, numbers, order = {}, {}, {}
  for position, number in ipairs(numbers_of(mapper, union)) do
    local column = union.columns[position]
    if column ~= discriminator then
      columns[#columns + 1] = number > 0 and attribute(mapper, union, number, column) or column
      numbers[#numbers + 1], order[#order + 1] = number, position
    end
  end
  columns[#columns + 1], numbers[#numbers + 1] = discriminator, 0
  return columns, numbers, order
end

local function kinds_of(members, union, order)
  local kinds = {}
  for position, member in ipairs(members) do
    local all, map = numbers_of(member.mapper, union), {}
    for offset, column in ipairs(order) do
      map[offset] = all[column]
    end
    map[#map + 1] = 0
    kinds[position] = { class = member.mapper.class, map = map, identity = member.identity }
  end
  return kinds
end

-- What tells the rows of a class apart: its polymorphic_identity, or its name.
local function member_of(mapper)
  local identity = mapper.arguments.polymorphic_identity
  return { mapper = mapper, table = mapper.table, identity = identity == nil and mapper.name or identity }
end

local TYPE = "polymorphic_type"

local function find_discriminator(union, wanted)
  local node = type(wanted) == "string" and shown(union, wanted) or expression.clause(wanted)
  if not node or node.table ~= union then
    errors.raise("ArgumentError", "with_polymorphic(): polymorphic_on is a column of the selectable, or its name, got %s",
      errors.show(wanted))
  end
  return node
end

--- The entity of a class together with concrete classes below it.
---@param mapper orrery.Mapper
---@param others orrery.Mapper[]
---@param options { selectable?: table, polymorphic_on?: string|table, name?: string }
---@return table
function concrete.entity(mapper, others, options)
  local members = { member_of(mapper) }
  for _, other in ipairs(others) do
    members[#members + 1] = member_of(other)
  end
  local union = options.selectable and selectable.expect(options.selectable, "with_polymorphic()", 3)
    or union_of(members, TYPE, options.name)
  local discriminator = find_discriminator(union, options.selectable and options.polymorphic_on or TYPE)
  local columns, numbers, order = columns_of(mapper, union, discriminator)
  return expression.new{ visit = "entity", class = mapper.class, table = union, columns = columns, mapper = mapper,
    name = mapper.name, numbers = numbers, concrete = kinds_of(members, union, order) }
end

-- ---- who is concrete ----

--- The concrete classes below a class, each before those below it.
---@param mapper orrery.Mapper
---@param list? orrery.Mapper[]
---@return orrery.Mapper[]
function concrete.below(mapper, list)
  list = list or {}
  for _, child in ipairs(mapper.children) do
    if child.concrete then
      list[#list + 1] = child
      concrete.below(child, list)
    end
  end
  return list
end

return concrete
