--- aliased: a mapped class under another name in a statement, so that it can stand there twice; its columns and
-- relationships are those of the class, read from the alias.
local import = ...
local errors = import "errors"
local expression = import "expression"
local selectable = import "selectable"
local joincondition = import "joincondition"
local mapper_module = import "mapper"
local adapting = import "adapting"

local aliased = {}

local function stands_for(source, origin)
  for _, column in ipairs(source.columns) do
    if joincondition.base(column) == origin then
      return column
    end
  end
end

-- An attribute of the class as another selectable shows it. An expression of the class that it does not have moves there.
local function node_on(mapper, source, key)
  local whole = mapper:attribute(key)
  local shown = whole.visit == "column" and joincondition.on(source, whole.origin) or stands_for(source, whole.origin)
  if shown then
    return expression.new{ visit = "column", name = shown.name, key = key, type = whole.type, table = source,
      origin = whole.origin, owner = mapper.name, class = mapper.class }
  end
  local element = adapting.moved(whole.element, mapper.table, source, function(column)
    return joincondition.on(source, column)
  end)
  return expression.new{ visit = "label", name = key, key = key, element = element, type = whole.type, origin = whole.origin,
    owner = mapper.name, class = mapper.class, table = source }
end

--- An entity node for a class over an alias, or over a subquery that has its columns.
---@param mapper table
---@param source table
---@return table entity
---@return table<string, table> columns by attribute
function aliased.entity(mapper, source)
  local whole, columns, by_key = mapper:entity(), {}, {}
  for _, key in ipairs(mapper.column_keys) do
    by_key[key] = node_on(mapper, source, key)
  end
  for position, column in ipairs(whole.columns) do
    columns[position] = by_key[column.key]
  end
  return expression.new{ visit = "entity", class = mapper.class, table = source, columns = columns, mapper = mapper,
    name = source.name or mapper.name, numbers = whole.numbers, has_expressions = whole.has_expressions }, by_key
end

local function index_of(mapper, by_key, source)
  return function(_, key)
    local column = by_key[key]
    if column then
      return column
    end
    local property = mapper.relationships_by_key[key]
    if property then
      return property:attribute(source)
    end
    for _, other in ipairs(source.visit == "subquery" and source.columns or {}) do
      if other.key == key then
        return other
      end
    end
    errors.raise("ArgumentError", "%s (aliased) has no attribute '%s'%s", mapper.name, tostring(key),
      errors.hint(tostring(key), mapper:attribute_names()))
  end
end

-- aliased(Class, name), aliased(Class, selectable), aliased(Class, selectable, name)
local function read_source(mapper, source, name)
  if type(source) == "string" then
    source, name = nil, source
  end
  if source == nil then
    return selectable.alias(mapper.table, name)
  end
  source = selectable.expect(source, "aliased()", 2)
  return name and selectable.alias(source, name) or source
end

--- The class under another name: local Manager = orm.aliased(Employee); or read from a subquery that has its columns.
---@param class userdata
---@param source? table|string a subquery or alias; or the name
---@param name? string made by the compiler when absent
function aliased.aliased(class, source, name)
  local mapper = mapper_module.of(class, "aliased()")
  mapper:configure()
  source = read_source(mapper, source, name)
  local entity, by_key = aliased.entity(mapper, source)
  return setmetatable({}, {
    __index = index_of(mapper, by_key, source),
    __newindex = function() errors.raise("ArgumentError", "an aliased class cannot be changed; change '%s'", mapper.name) end,
    __tostring = function() return "aliased " .. mapper.name end,
    __metatable = { __name = "orrery.aliased", __clause = function() return entity end },
  })
end

return aliased
