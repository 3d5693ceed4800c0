--- aliased: a mapped class under another name in a statement, so that it can stand there twice, or together with its
-- subclasses; its columns and relationships are those of the class, read from what stands in its place.
local import = ...
local reading = import "reading"
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local entity_module = import "entity"
local concrete = reading.later "concrete"
local joincondition = import "joincondition"
local selectable = import "selectable"
local mapper_module = import "mapper"
local adapting = reading.later "adapting"

local aliased = {}

local function stands_for(source, origin)
  for _, column in ipairs(source.columns) do
    if joincondition.base(column) == joincondition.base(origin) then
      return column
    end
  end
end

-- A column as another selectable shows it: an alias of its table, a join of such, or a subquery.
local function column_on(mapper, source, whole, shown)
  return expression.new{ visit = "column", name = shown.name, key = whole.key, type = whole.type, table = shown.table,
    origin = whole.origin or whole, owner = mapper.name, class = whole.class, criterion = source.criterion,
    from = source.members and function() return source end or nil }
end

-- An expression of the class moves to the tables that stand for the class's.
local function expression_on(mapper, source, whole)
  local element, line = whole.element, mapper
  while line do
    local member = hierarchy.member(source, line.table)
    element = adapting.moved(element, line.table, member, function(column) return joincondition.on(member, column) end)
    line = hierarchy.above(line)
  end
  return expression.new{ visit = "label", name = whole.name, key = whole.key, element = element, type = whole.type,
    origin = whole.origin, owner = mapper.name, class = whole.class, table = source }
end

-- An attribute as another selectable shows it; nil for a column of a subclass that is not there.
local function node_on(mapper, source, whole, optional)
  local origin = whole.origin or whole
  local shown
  if whole.visit == "column" and not optional then
    shown = joincondition.on(hierarchy.member(source, origin.table), origin)
  else
    shown = stands_for(source, origin)
  end
  if shown then
    return column_on(mapper, source, whole, shown)
  end
  return whole.visit == "label" and expression_on(mapper, source, whole) or nil
end

-- The columns of an entity as another selectable shows them, in the same order, and by attribute; their numbers.
local function columns_on(entity, source)
  local mapper, columns, by_key, numbers = entity.mapper, {}, {}, {}
  for position, column in ipairs(entity.columns) do
    local number = entity.numbers and entity.numbers[position] or position
    local node = node_on(mapper, source, column, number == 0)
    if node then
      columns[#columns + 1], numbers[#numbers + 1] = node, number
      local key = column.key or column.name
      by_key[key] = by_key[key] or node
    end
  end
  for _, key in ipairs(mapper.column_keys) do
    by_key[key] = by_key[key] or node_on(mapper, source, mapper:attribute(key))
  end
  return columns, by_key, entity.numbers and numbers
end

-- A class that shares its parent's table picks its own rows out of the alias, too.
local function criterion_on(mapper, source)
  if not hierarchy.is_single(mapper) or source.visit == "subquery" then
    return nil
  end
  local made = hierarchy.criterion(mapper, function(tbl) return hierarchy.member(source, tbl) end)
  return function() return made end
end

local function entity_on(entity, source)
  local mapper = entity.mapper
  local columns, by_key, numbers = columns_on(entity, source)
  local criterion = criterion_on(mapper, source)
  for _, column in ipairs(criterion and columns or {}) do
    column.criterion = criterion
  end
  return expression.new{ visit = "entity", class = mapper.class, table = source, columns = columns, mapper = mapper,
    name = source.name or mapper.name, numbers = numbers or nil, kinds = entity.kinds, generation = entity.generation,
    criterion = criterion, has_expressions = entity.has_expressions, concrete = entity.concrete, with = entity.with }, by_key
end

--- An entity as an alias, or a subquery that has its columns, shows it.
---@param entity table
---@param source table
---@return table entity
---@return table<string, table> columns by attribute
aliased.on = entity_on

--- An entity node for a class over an alias, or over a subquery that has its columns.
---@param mapper table
---@param source table
---@return table entity
---@return table<string, table> columns by attribute
function aliased.entity(mapper, source)
  return entity_on(mapper:entity(), source)
end

-- Gives every table an alias of its own, the same one each time; the first bears the name.
local function alias_maker(name)
  local made = {}
  return function(tbl)
    local alias = made[tbl]
    if not alias then
      alias = selectable.alias(tbl, name)
      made[tbl], name = alias, nil
    end
    return alias
  end
end

--- What a class is read from, under other names.
---@param mapper table
---@param name? string
---@return table
function aliased.source(mapper, name)
  return hierarchy.source(mapper, mapper:entity().with, alias_maker(name))
end

--- The entity of a class, or of what stands for it, under other names.
---@param entity table
---@return table entity
---@return table<string, table> columns by attribute
function aliased.fresh(entity)
  local mapper = entity.mapper
  if entity ~= mapper:entity() and not entity.table.members then
    return entity_on(entity, selectable.alias(entity.table))
  end
  return entity_on(entity, aliased.source(mapper))
end

-- ---- as a script sees them ----

local function attribute_on(mapper, by_key, source, key, owner)
  local column = by_key[key]
  if column then
    return column
  end
  local property, member = mapper.relationships_by_key[key], mapper.methods[key]
  if property then
    return property:attribute(source)
  elseif type(member) == "table" and (getmetatable(member) or {}).__descriptor then
    return member:of_class(mapper, key, owner)
  end
end

-- A subquery may have more columns than the class.
local function further_column(source, key)
  for _, other in ipairs(source.visit == "subquery" and source.columns or {}) do
    if other.key == key then
      return other
    end
  end
end

local function unknown(mapper, key)
  errors.raise("ArgumentError", "%s (aliased) has no attribute '%s'%s", mapper.name, tostring(key),
    errors.hint(tostring(key), mapper:attribute_names()))
end

-- Something that reads like a class and stands for an entity.
local function stand_in(entity, index)
  local name = entity.mapper.name
  return setmetatable({}, {
    __index = index,
    __newindex = function() errors.raise("ArgumentError", "an aliased class cannot be changed; change '%s'", name) end,
    __tostring = function() return "aliased " .. name end,
    __metatable = { __name = "orrery.aliased", __clause = function() return entity end },
  })
end

local function new_alias(entity, by_key)
  return stand_in(entity, function(alias, key)
    return attribute_on(entity.mapper, by_key, entity.table, key, alias) or further_column(entity.table, key)
      or unknown(entity.mapper, key)
  end)
end

-- The name is written alone or as { name = "..." }.
local function read_name(name)
  if type(name) == "table" and not getmetatable(name) then
    return errors.check_options(name, { name = 1 }, "aliased()").name
  end
  return name
end

-- aliased(Class, name), aliased(Class, selectable), aliased(Class, selectable, name)
local function read_source(mapper, source, name)
  if type(source) == "string" or (type(source) == "table" and not getmetatable(source)) then
    source, name = nil, source
  end
  name = read_name(name)
  if source == nil then
    return aliased.source(mapper, name)
  end
  source = selectable.expect(source, "aliased()", 2)
  return name and selectable.alias(source, name) or source
end

--- The class under another name: local Boss = orm.aliased(Employee); or read from a subquery that has its columns. A class
--- whose rows spread over several tables has an alias of each of them.
---@param class userdata
---@param source? table|string a subquery or alias; or the name, or { name = string }
---@param name? string|{ name: string } made by the compiler when absent
function aliased.aliased(class, source, name)
  local mapper = mapper_module.of(class, "aliased()")
  mapper:configure()
  return new_alias(aliased.entity(mapper, read_source(mapper, source, name)))
end

-- ---- a class together with subclasses ----

local function is_below(mapper, other)
  while other and other ~= mapper do
    other = other.inherits
  end
  return other ~= nil
end

local function subclass_mapper(mapper, class)
  local other = mapper_module.of(class, "with_polymorphic()")
  if not is_below(mapper, other) then
    errors.raise("ArgumentError", "with_polymorphic(): '%s' does not inherit from '%s'", other.name, mapper.name)
  end
  return other
end

local function subclasses(mapper, classes)
  local list = {}
  if classes == "*" then
    for position, one in ipairs(hierarchy.family(mapper)) do
      list[#list + 1] = position > 1 and one or nil
    end
    return list[1] and list or concrete.below(mapper)
  elseif type(classes) ~= "table" or classes[1] == nil then
    errors.raise("ArgumentError", "with_polymorphic(): the second argument is an array of subclasses, or \"*\", got %s",
      errors.show(classes))
  end
  for position, class in ipairs(classes) do
    list[position] = subclass_mapper(mapper, class)
  end
  return list
end

-- poly.Manager: the columns that the subclass has in the same rows.
local function part_of(entity, mapper, source)
  local by_key = {}
  for _, key in ipairs(mapper.column_keys) do
    local origin = mapper.attributes[key].origin
    for _, column in ipairs(entity.columns) do
      if column.origin == origin then
        by_key[key] = column
      end
    end
  end
  return stand_in(expression.new{ visit = "entity", class = mapper.class, table = source, columns = entity.columns,
    mapper = mapper, name = mapper.name, numbers = entity.numbers },
    function(part, key) return attribute_on(mapper, by_key, source, key, part) or unknown(mapper, key) end)
end

local POLYMORPHIC_OPTIONS = { aliased = true, flat = true, name = true, innerjoin = true, selectable = true,
  polymorphic_on = true }

-- Whether the classes have tables of their own altogether, of which a union is made.
local function are_concrete(mapper, list)
  local count = 0
  for _, one in ipairs(list) do
    count = count + (one:is_a(mapper) and 0 or 1)
  end
  if count > 0 and count < #list then
    errors.raise("ArgumentError", "with_polymorphic(): of the classes below '%s' some are concrete and some are not; write one "
      .. "for each kind", mapper.name)
  end
  return count > 0
end

-- An entity over a union, and the columns of each of its classes there.
local function of_concrete(mapper, list, options)
  local entity, parts = concrete.entity(mapper, list, options), {}
  local union, by_key = entity.table, concrete.attributes(mapper, entity.table)
  for _, one in ipairs(list) do
    local own = concrete.attributes(one, union)
    parts[one.name] = stand_in(entity, function(_, key) return own[key] or unknown(one, key) end)
  end
  return stand_in(entity, function(_, key)
    if mapper.relationships_by_key[key] then
      errors.raise("InvalidRequestError", "%s.%s: what concrete classes have relationships to is each class's own matter, so "
        .. "that the union has none; join by a condition, and have them loaded by their lazy = ... option", mapper.name, key)
    end
    return by_key[key] or parts[key] or further_column(union, key) or unknown(mapper, key)
  end)
end

-- Columns of subclasses read from the join as a whole: a condition on one of them must not bring tables of its own.
local function with_subclasses(mapper, list, options)
  local base = entity_module.of(mapper, list)
  if options.aliased or options.flat or options.name then
    local alias = alias_maker(options.name)
    return entity_on(base, hierarchy.source(mapper, list, alias, options.innerjoin))
  elseif options.innerjoin then
    return entity_on(base, hierarchy.source(mapper, list, nil, true))
  end
  return entity_on(base, base.table)
end

--- A class together with subclasses, whose columns are loaded at once: orm.with_polymorphic(Employee, { Manager }).
--- Conditions on theirs are written with poly.Manager.budget.
---@param class userdata
---@param classes userdata[]|"*"
---@param options? { aliased: boolean, flat: boolean, name: string, innerjoin: boolean, selectable: table,
--- polymorphic_on: string } aliased (or flat): under other names; innerjoin: only rows of the subclasses; for concrete classes,
--- selectable: a polymorphic_union() to read them from, and polymorphic_on: its column that tells them apart
function aliased.with_polymorphic(class, classes, options)
  local mapper = mapper_module.of(class, "with_polymorphic()")
  mapper:configure()
  options = errors.check_options(options, POLYMORPHIC_OPTIONS, "with_polymorphic()")
  local list, parts = subclasses(mapper, classes), {}
  if are_concrete(mapper, list) then
    return of_concrete(mapper, list, options)
  end
  local entity, by_key = with_subclasses(mapper, list, options)
  for _, one in ipairs(list) do
    parts[one.name] = part_of(entity, one, entity.table)
  end
  return stand_in(entity, function(whole, key)
    return attribute_on(mapper, by_key, entity.table, key, whole) or parts[key] or unknown(mapper, key)
  end)
end

return aliased
