--- entity: the nodes that mapped classes stand for in statements: which tables a query of a class reads, and which columns of
-- it and of its subclasses come along. How classes are related to one another is hierarchy.lua's.
local import = ...
local expression = import "expression"
local hierarchy = import "hierarchy"

local entity = {}

--- Subclasses whose columns come along with every query of a class: with_polymorphic, and polymorphic_load = "inline".
---@param self orrery.Mapper
---@return orrery.Mapper[]
local function inline_classes(self)
  local list, wanted = {}, self.arguments.with_polymorphic
  local named = {}
  for _, class in ipairs(type(wanted) == "table" and wanted or {}) do
    named[class] = true
  end
  for position, one in ipairs(hierarchy.family(self)) do
    if position > 1 and (wanted == "*" or named[one.class] or named[one.name]
      or one.arguments.polymorphic_load == "inline") then
      list[#list + 1] = one
    end
  end
  return list
end

-- The columns of subclasses that stand in tables which are read anyway.
local function add_extras(self, source, columns, numbers)
  local seen = {}
  for _, column in ipairs(columns) do
    seen[column.origin] = true
  end
  for position, one in ipairs(hierarchy.family(self)) do
    for _, key in ipairs(position > 1 and one.own_keys or {}) do
      local origin = one.attributes[key].origin
      local there = origin.table and (source.members and source.members[origin.table] or source == origin.table)
      if there and not seen[origin] and not origin.deferred then
        seen[origin] = true
        columns[#columns + 1], numbers[#numbers + 1] = one:attribute(key), 0
      end
    end
  end
end

local function kinds_of(self)
  local kinds = { self }
  for position, one in ipairs(hierarchy.family(self)) do
    if position > 1 and one.arguments.polymorphic_identity ~= nil then
      kinds[#kinds + 1] = one
    end
  end
  return #kinds > 1 and hierarchy.discriminator(self) and kinds or nil
end

-- A query_expression() has no column until a query gives it one.
local function own_columns(self)
  local columns, numbers, expressions = {}, {}, false
  for number, key in ipairs(self.column_keys) do
    local origin = self.attributes[key].origin
    if not origin.read_only or origin.expression then
      columns[#columns + 1], numbers[#numbers + 1] = self:attribute(key), number
      expressions = expressions or origin.read_only or false
    end
  end
  return columns, numbers, expressions
end

-- What update() writes of a class whose rows spread over several tables: the columns of its own table.
local function own_writes(self)
  local columns = {}
  for number, key in ipairs(self.column_keys) do
    local column = hierarchy.row_column(self, number)
    if column.table == self.table then
      columns[#columns + 1] = expression.new{ visit = "column", name = column.name, key = key, type = column.type,
        table = column.table, origin = column, owner = self.name, class = self.class }
    end
  end
  -- What is part of the key stands in this table, too.
  local function localize(node)
    return hierarchy.map_columns(node, function(column)
      local number = column.from and self:number_of_column(column.origin or column)
      local own = number and hierarchy.row_column(self, number)
      return own and own.table == self.table and own or nil
    end)
  end
  return { visit = "entity", table = self.table, columns = columns, localize = localize, name = self.name,
    class = self.class, mapper = self, spread = true, base = hierarchy.base(self).table.name }
end

-- What the rows of a class have in the column that tells them apart.
local function identity_of(self)
  local discriminator, value = hierarchy.discriminator(self), self.arguments.polymorphic_identity
  if discriminator and discriminator.number and value ~= nil then
    return { key = self.column_keys[discriminator.number], value = value }
  end
end

-- What is read for a class, alone or with others, and those others.
local function source_of(self, others)
  if others then
    return hierarchy.source(self, others), others
  end
  others = inline_classes(self)
  return #others == 0 and hierarchy.selectable(self) or hierarchy.lasting(hierarchy.source(self, others)), others
end

-- Adds what tells the classes of the rows apart, where that is no column; the classes, and whether it was added.
local function add_kinds(self, columns, numbers)
  local kinds, discriminator = kinds_of(self), hierarchy.discriminator(self)
  local computed = kinds ~= nil and discriminator.label ~= nil
  if computed then
    columns[#columns + 1], numbers[#numbers + 1] = discriminator.label, 0
  end
  return kinds, computed
end

--- The entity node that a class stands for in statements. `kinds` are the classes that its rows may be of; columns that
--- only some of these have are numbered 0.
---@param self orrery.Mapper
---@param wanted? orrery.Mapper[] classes whose tables are joined, the mapper's own wishes by default
---@return table
function entity.of(self, wanted)
  local source, others = source_of(self, wanted)
  local columns, numbers, expressions = own_columns(self)
  add_extras(self, source, columns, numbers)
  local kinds, computed = add_kinds(self, columns, numbers)
  return expression.new{ visit = "entity", concrete = false, class = self.class, table = source, columns = columns, mapper = self,
    name = self.name, numbers = #columns ~= #self.column_keys and numbers or nil, kinds = kinds,
    has_expressions = expressions or computed, generation = #hierarchy.family(self), criterion = self.criterion_of,
    with = others, writes = hierarchy.above(self) and own_writes(self) or nil, identity = identity_of(self) }
end

return entity
