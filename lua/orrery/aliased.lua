--- aliased: a mapped class under another name in a statement, so that it can stand there twice; its columns and
-- relationships are those of the class, read from the alias.
local import = ...
local errors = import "errors"
local expression = import "expression"
local selectable = import "selectable"
local joincondition = import "joincondition"
local mapper_module = import "mapper"

local aliased = {}

--- The columns of a class as another selectable shows them, in the order of its attributes.
---@param mapper table
---@param source table alias or subquery
local function columns_on(mapper, source)
  local columns, by_key = {}, {}
  for position, key in ipairs(mapper.column_keys) do
    local origin = mapper.attributes[key].origin
    local shown = joincondition.on(source, origin)
    local node = expression.new{ visit = "column", name = shown.name, key = key, type = origin.type, table = source,
      origin = origin, owner = mapper.name, class = mapper.class }
    columns[position], by_key[key] = node, node
  end
  return columns, by_key
end

--- An entity node for a class over an alias, or over a subquery that has its columns.
---@param mapper table
---@param source table
---@return table entity
---@return table<string, table> columns by attribute
function aliased.entity(mapper, source)
  local columns, by_key = columns_on(mapper, source)
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
