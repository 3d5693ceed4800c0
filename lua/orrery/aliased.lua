--- aliased: a mapped class under another name in a statement, so that it can stand there twice; its columns and
-- relationships are those of the class, read from the alias.
local import = ...
local errors = import "errors"
local expression = import "expression"
local selectable = import "selectable"
local mapper_module = import "mapper"

local aliased = {}

--- The columns of a class as another selectable shows them, in the order of its attributes.
---@param mapper table
---@param source table alias or subquery
---@param column_of fun(position: integer, column: table): table
local function columns_on(mapper, source, column_of)
  local columns, by_key = {}, {}
  for position, key in ipairs(mapper.column_keys) do
    local origin = mapper.attributes[key].origin
    local shown = column_of(position, origin)
    local node = expression.new{ visit = "column", name = shown.name, key = key, type = origin.type, table = source,
      origin = origin, owner = mapper.name, class = mapper.class }
    columns[position], by_key[key] = node, node
  end
  return columns, by_key
end

--- An entity node for a class over an alias, or over a subquery that has its columns first and in order.
---@param mapper table
---@param source table
---@return table entity
---@return table<string, table> columns by attribute
function aliased.entity(mapper, source)
  local columns, by_key = columns_on(mapper, source, function(position, origin)
    return source.visit == "subquery" and source.columns[position] or source.c[origin.key]
  end)
  return expression.new{ visit = "entity", class = mapper.class, table = source, columns = columns, mapper = mapper,
    name = source.name or mapper.name }, by_key
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
    errors.raise("ArgumentError", "%s (aliased) has no attribute '%s'%s", mapper.name, tostring(key),
      errors.hint(tostring(key), mapper:attribute_names()))
  end
end

--- The class under another name: local Manager = orm.aliased(Employee).
---@param class userdata
---@param name? string made by the compiler when absent
function aliased.aliased(class, name)
  local mapper = mapper_module.of(class, "aliased()")
  mapper:configure()
  local source = selectable.alias(mapper.table, name)
  local entity, by_key = aliased.entity(mapper, source)
  return setmetatable({}, {
    __index = index_of(mapper, by_key, source),
    __newindex = function() errors.raise("ArgumentError", "an aliased class cannot be changed; change '%s'", mapper.name) end,
    __tostring = function() return "aliased " .. mapper.name end,
    __metatable = { __name = "orrery.aliased", __clause = function() return entity end },
  })
end

return aliased
