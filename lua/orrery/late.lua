--- late: arguments of relationships that are read once all classes are known: columns, conditions and orders, given as
-- themselves, by name, or as a function that returns them. Names are looked up; they are never run as SQL.
local import = ...
local errors = import "errors"
local expression = import "expression"
local joincondition = import "joincondition"

local late = {}
local unpack = table.unpack or unpack
local base_column = joincondition.base

-- A function is called with the class, the target and the link table.
local function called(property, fn)
  return fn(property.parent.class, property.aliased or property.mapper.class, property.secondary)
end

--- The column that a name in a late argument stands for.
function late.find_column(property, name, option)
  local class_name, key = name:match("^([%w_]+)%.([%w_]+)$")
  local mapper = class_name and (property.parent.registry.classes[class_name]) or property.parent
  if class_name and mapper == property.parent and class_name ~= property.parent.name then
    local tbl = rawget(property.parent.registry.metadata.tables, class_name)
    if tbl then
      return tbl.c[key]
    end
    property.parent.registry:find(class_name, property:describe() .. ": " .. option)
  end
  local attribute = mapper.attributes[key or name]
  if not attribute then
    errors.raise("ArgumentError", "%s: %s names '%s', which '%s' does not have%s", property:describe(), option, name, mapper.name,
      errors.hint(key or name, mapper.column_keys))
  end
  return attribute
end

--- Adds the columns that an argument names: "Book.author_id", "author_id" (of the class that has the relationship), a
--- column, an array, or a function that returns these.
---@param property orrery.Relationship
---@param argument any
---@param option string
---@param list table[]
---@return table[] list
function late.columns(property, argument, option, list)
  if type(argument) == "function" then
    return late.columns(property, called(property, argument), option, list)
  elseif type(argument) == "string" then
    list[#list + 1] = late.find_column(property, argument, option)
  elseif expression.is_element(argument) then
    list[#list + 1] = argument
  elseif type(argument) == "table" then
    for _, one in ipairs(argument) do
      late.columns(property, one, option, list)
    end
  else
    errors.raise("ArgumentError", "%s: %s must be columns or their names, got %s", property:describe(), option, type(argument))
  end
  return list
end

--- The columns of an option as the core knows them: { number of the table, position }; nil where it is not given.
---@param property orrery.Relationship
---@param option string
function late.places(property, option)
  local argument = property.options[option]
  if argument == nil then
    return nil
  end
  local list = {}
  for position, node in ipairs(late.columns(property, argument, option, {})) do
    local column = base_column(node)
    list[position] = { column.table.id, column.position }
  end
  return list
end

--- The columns of an option as a set; nil where it is not given.
---@param property orrery.Relationship
---@param option string
function late.column_set(property, option)
  local argument = property.options[option]
  if argument == nil then
    return nil
  end
  local set = {}
  for _, node in ipairs(late.columns(property, argument, option, {})) do
    set[base_column(node)] = true
  end
  return set
end

-- "Author.id == Book.author_id and Book.draft == Author.draft": names are looked up, never run as SQL.
local function named_condition(property, text, option)
  local clauses, rest = {}, text .. " and "
  rest = rest:gsub("%s*([%w_]+%.[%w_]+)%s*==?%s*([%w_]+%.[%w_]+)%s+and%s+", function(left, right)
    clauses[#clauses + 1] = base_column(late.find_column(property, left, option))
      :eq(base_column(late.find_column(property, right, option)))
    return ""
  end)
  if rest ~= "" then
    errors.raise("ArgumentError", "%s: %s = %s is not understood; as a string it is \"Class.column == Other.column\", with "
      .. "\"and\" between several; for anything else give a function that returns the condition", property:describe(), option,
      errors.show(text))
  end
  return expression.and_(unpack(clauses))
end

--- The condition of an option; nil where it is not given.
---@param property orrery.Relationship
---@param option string
function late.condition(property, option)
  local argument = property.options[option]
  if type(argument) == "function" then
    argument = called(property, argument)
  end
  if argument == nil then
    return nil
  elseif type(argument) == "string" then
    return named_condition(property, argument, option)
  end
  local node = expression.is_element(argument) and expression.clause(argument)
  if not node then
    errors.raise("ArgumentError", "%s: %s must be a condition such as Author.id:eq(Book.author_id), or a function that returns "
      .. "one, got %s", property:describe(), option, errors.show(argument))
  end
  return node
end

--- Adds the expressions that an order_by names.
---@param property orrery.Relationship
---@param argument any
---@param list table[]
---@return table[] list
function late.elements(property, argument, list)
  if type(argument) == "function" then
    return late.elements(property, called(property, argument), list)
  elseif type(argument) == "string" then
    local name = argument:find(".", 1, true) and argument or property.mapper.name .. "." .. argument
    local class_name, key = name:match("^([%w_]+)%.([%w_]+)$")
    local mapper = class_name and property.parent.registry:find(class_name, property:describe() .. ": order_by")
    if not mapper or not mapper.attributes[key] then
      local column, direction = expression.split_direction(argument)
      errors.raise("ArgumentError", "%s: order_by names '%s', which '%s' does not have%s", property:describe(), argument,
        property.mapper.name, direction and ("; write orm.%s(\"%s\")"):format(direction, column:match("[%w_]+$"))
        or errors.hint(key or argument, property.mapper.column_keys))
    end
    list[#list + 1] = mapper:attribute(key)
  elseif expression.is_element(argument) then
    list[#list + 1] = argument
  elseif type(argument) == "table" then
    for _, one in ipairs(argument) do
      late.elements(property, one, list)
    end
  else
    errors.raise("ArgumentError", "%s: order_by must be columns or their names, got %s", property:describe(), type(argument))
  end
  return list
end

return late
