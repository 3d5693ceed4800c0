--- composite: frozen values of several fields, and attributes that read and write them over columns.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local types = import "types"

local composite = {}
local unpack = table.unpack or unpack

-- ---- value classes ----

local VALUES = setmetatable({}, { __mode = "k" }) -- what each value holds, out of its reader's reach
local CLASSES = setmetatable({}, { __mode = "k" })

local function check_fields(name, fields)
  if type(name) ~= "string" or type(fields) ~= "table" or type(fields[1]) ~= "string" then
    errors.raise("ArgumentError", "value_class(): a name and an array of field names expected, got %s and %s", errors.show(name),
      errors.show(fields))
  end
end

local function by_name(about, given)
  local values = {}
  for key, value in pairs(given) do
    local position = about.positions[key]
    if not position then
      errors.raise("ArgumentError", "%s{...}: unknown field '%s'%s", about.name, tostring(key),
        errors.hint(tostring(key), about.fields))
    end
    values[position] = value
  end
  return values
end

-- Values in the order of the fields, from arguments or from one table of names.
local function read_values(about, ...)
  local count, first = select("#", ...), (...)
  if count == 1 and type(first) == "table" and getmetatable(first) == nil then
    return by_name(about, first)
  elseif count > #about.fields then
    errors.raise("ArgumentError", "%s(...) has %d field(s), got %d values", about.name, #about.fields, count)
  end
  return { ... }
end

local function same(left, right)
  local one, other = VALUES[left], VALUES[right]
  if not one or not other or getmetatable(left) ~= getmetatable(right) then
    return false
  end
  for position = 1, #getmetatable(left).fields do
    if one[position] ~= other[position] then
      return false
    end
  end
  return true
end

local function tostring_of(about)
  return function(value)
    local parts = {}
    for position, field in ipairs(about.fields) do
      local part = VALUES[value][position]
      parts[position] = field .. "=" .. (part == nil and "nil" or errors.show(part))
    end
    return about.name .. "(" .. table.concat(parts, ", ") .. ")"
  end
end

local function value_metatable(about, methods)
  local mark = { __name = about.name, name = about.name, fields = about.fields }
  return { __metatable = mark, __name = about.name, __eq = same, __tostring = tostring_of(about),
    __index = function(value, key)
      local position = about.positions[key]
      if position then
        return VALUES[value][position]
      elseif methods[key] ~= nil then
        return methods[key]
      end
      errors.raise("ArgumentError", "%s has no field '%s'%s", about.name, tostring(key), errors.hint(tostring(key), about.fields))
    end,
    __newindex = function(_, key)
      errors.raise("ArgumentError", "%s.%s cannot be assigned: values are frozen; make another one and assign that", about.name,
        tostring(key))
    end }
end

--- A class of frozen values, equal by value: Point = orm.value_class("Point", { "x", "y" }); Point(1, 2), Point{ x = 1 }.
--- Methods can be added to it.
---@param name string
---@param fields string[]
function composite.value_class(name, fields)
  check_fields(name, fields)
  local about = { name = name, fields = fields, positions = {} }
  for position, field in ipairs(fields) do
    about.positions[field] = position
  end
  local class = {}
  local metatable = value_metatable(about, class)
  CLASSES[class] = about
  return setmetatable(class, { __call = function(_, ...)
    local value = setmetatable({}, metatable)
    VALUES[value] = read_values(about, ...)
    return value
  end, __tostring = function() return "value class " .. name end })
end

-- ---- attributes ----

---@class orrery.Composite
local Composite = {}
local metatable = { __index = Composite, __metatable = { __name = "orrery.composite", __descriptor = true } }

--- An attribute that reads as a value of `class`, over the attributes named, in the order of its fields.
---@param class table a value class
---@param ... string names of column attributes
---@return orrery.Composite
function composite.composite(class, ...)
  local about = CLASSES[class]
  if not about then
    errors.raise("ArgumentError", "composite(): a value class expected (orm.value_class), got %s", errors.show(class))
  elseif select("#", ...) ~= #about.fields then
    errors.raise("ArgumentError", "composite(): %s has %d field(s), so that %d attribute name(s) must follow, got %d", about.name,
      #about.fields, #about.fields, select("#", ...))
  end
  return setmetatable({ class = class, about = about, keys = { ... } }, metatable)
end

-- The value of these fields; nil where all of them are.
local function value_of(self, values)
  for position = 1, #self.keys do
    if values[position] ~= nil then
      return self.class(unpack(values, 1, #self.keys))
    end
  end
end

--- The value that an object's columns make; nil where all of them are NULL.
function Composite:read(object)
  local values = {}
  for position, key in ipairs(self.keys) do
    values[position] = object[key]
  end
  return value_of(self, values)
end

local function check_value(self, key, value)
  local mark = value ~= nil and getmetatable(value)
  if value ~= nil and (type(mark) ~= "table" or mark.fields ~= self.about.fields) then
    errors.raise("ArgumentError", "%s takes a %s or nil, got %s", key, self.about.name, errors.show(value))
  end
end

function Composite:write(object, key, value)
  if value == core.null then
    value = nil
  end
  check_value(self, key, value)
  for position, name in ipairs(self.keys) do
    object[name] = value and VALUES[value][position]
  end
end

-- ---- in queries ----

local Comparison = {}
local comparison_metatable = { __index = Comparison, __metatable = { __name = "orrery.composite_attribute" } }

--- `alias` is what the attribute was read from, where that is not the class.
function Composite:of_class(mapper, key, alias)
  return setmetatable({ composite = self, mapper = mapper, key = key, alias = alias }, comparison_metatable)
end

local function column_of(self, name)
  return self.alias and self.alias[name] or self.mapper:attribute(name)
end

local function conditions(self, value)
  check_value(self.composite, self.mapper.name .. "." .. self.key, value)
  local list = {}
  for position, name in ipairs(self.composite.keys) do
    local column = column_of(self, name)
    local part = value and VALUES[value][position]
    list[position] = part == nil and column:is_(core.null) or column:eq(part)
  end
  return expression.and_(unpack(list))
end

--- All columns have the value's fields.
function Comparison:eq(value)
  return conditions(self, value)
end

--- The columns that update():values{ key = value } sets.
function Composite:assignments(mapper, key, value)
  if value == core.null then
    value = nil
  end
  check_value(self, mapper.name .. "." .. key, value)
  local values = {}
  for position, name in ipairs(self.keys) do
    local part = value and VALUES[value][position]
    values[name] = part == nil and core.null or part
  end
  return values
end

local function columns_of(self, method)
  local list = {}
  for position, name in ipairs(self.composite.keys) do
    local column = column_of(self, name)
    list[position] = method and column[method](column) or column
  end
  return expression.new{ visit = "clause_list", elements = list, type = types.NullType }
end

-- In order_by and group_by it is its columns; selected, a value in each row.
comparison_metatable.__metatable.__clause = columns_of
comparison_metatable.__metatable.__selected = function(self)
  return expression.new{ visit = "bundle", name = self.key, elements = columns_of(self).elements,
    make = function(values) return value_of(self.composite, values) end }
end

--- Sorted by all columns, the first one first.
function Comparison:asc()
  return columns_of(self, "asc")
end

function Comparison:desc()
  return columns_of(self, "desc")
end

--- Some column differs.
function Comparison:ne(value)
  return expression.not_(conditions(self, value))
end

return composite
