--- relation_comparison: relationships compared with objects in queries: Book.author:eq(author), Author.books:contains(book).
-- any() and has(), which ask by a condition, are relationship.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local hierarchy = import "hierarchy"
local joincondition = import "joincondition"
local mapper_module = import "mapper"
local relationship = import "relationship"

local Attribute = relationship.Attribute
local unpack = table.unpack or unpack

-- The value of a column of an object, as a script sees it; keys never have to be loaded for it.
local function stored_value(object, column)
  local mapper = mapper_module.of_object(object)
  local number = mapper:number_of_column(column)
  if not column.primary_key then
    return object[mapper.column_keys[number]]
  end
  local value = core.stored(object, number)
  return value ~= nil and column.type:from_db(value) or value
end

local function value_of(property, object, column, call)
  local value = stored_value(object, column)
  if value == nil then
    errors.raise("InvalidRequestError", "%s:%s(): this object of class '%s' has no '%s' yet; flush it first", property:describe(),
      call, mapper_module.of_object(object).name, column.name)
  end
  return value
end

local function show_given(value)
  local mapper = mapper_module.of_object(value)
  return value == nil and "nil" or mapper and ("an object of class '%s'"):format(mapper.name) or errors.show(value)
end

local function check_object(property, value, call)
  local mapper = mapper_module.of_object(value)
  if mapper and hierarchy.is_a(mapper, property.mapper) then
    return
  end
  errors.raise("ArgumentError", "%s:%s() takes an object of class '%s'%s, got %s%s", property:describe(), call,
    property.mapper.name, call == "contains" and "" or " or orm.null", show_given(value),
    expression.is_element(value) and ("; for a condition use %s()"):format(property.uselist and "any" or "has") or "")
end

-- The condition that the related object is this one, by its primary key.
local function is_object(property, object, call)
  local conditions = {}
  for position, column in ipairs(property.mapper.table.primary_key) do
    local key = property.mapper.column_keys[property.mapper:number_of_column(column)]
    conditions[position] = property.mapper:attribute(key):eq(value_of(property, object, column, call))
  end
  return expression.and_(unpack(conditions))
end

local function near_columns(attribute)
  local property, columns = attribute.property, {}
  for position, pair in ipairs(property.condition.pairs) do
    columns[position] = joincondition.on(attribute.source or property.near, pair[1])
  end
  return columns
end

-- Whether the foreign key on this side says all: then no other table has to be asked.
local function by_own_key(property)
  return property.direction == "manytoone" and not property.condition.rest and not property.entity
end

local function is_null(attribute)
  if not by_own_key(attribute.property) then
    return expression.not_(attribute:has())
  end
  local conditions = {}
  for position, column in ipairs(near_columns(attribute)) do
    conditions[position] = column:is_(core.null)
  end
  return expression.and_(unpack(conditions))
end

local function is_one(attribute, object, call)
  local property = attribute.property
  if not by_own_key(property) then
    return attribute:has(is_object(property, object, call))
  end
  local conditions = {}
  for position, column in ipairs(near_columns(attribute)) do
    conditions[position] = column:eq(value_of(property, object, joincondition.base(property.condition.pairs[position][2]), call))
  end
  return expression.and_(unpack(conditions))
end

local function check_scalar(property, call)
  if property.uselist then
    errors.raise("InvalidRequestError", "%s:%s() is for single objects; this side is a collection, use contains(object) or "
      .. "any()", property:describe(), call)
  end
end

local function equal(self, value, call)
  check_scalar(self.property, call)
  if value == core.null then
    return is_null(self)
  end
  check_object(self.property, value, call)
  return is_one(self, value, call)
end

-- What refers to nothing differs from every object.
local function different(self, value, call)
  local condition = equal(self, value, call)
  if value == core.null or not by_own_key(self.property) then
    return expression.not_(condition)
  end
  return expression.or_(expression.not_(condition), is_null(self))
end

--- Whether the related object is this one; orm.null: whether there is none.
---@param value any
function Attribute:eq(value)
  return equal(self, value, "eq")
end

--- Whether the related object is another one, or there is none; orm.null: whether there is one.
---@param value any
function Attribute:ne(value)
  return different(self, value, "ne")
end

--- The same as eq().
function Attribute:is_(value)
  return equal(self, value, "is_")
end

--- The same as ne().
function Attribute:is_not(value)
  return different(self, value, "is_not")
end

--- Whether the collection has this object.
---@param object userdata
function Attribute:contains(object)
  local property = self.property
  if not property.uselist then
    errors.raise("InvalidRequestError", "%s:contains() is for collections; this side holds one object, use eq(object)",
      property:describe())
  end
  check_object(property, object, "contains")
  return self:any(is_object(property, object, "contains"))
end

--- Refused: a list of objects is compared by their keys.
function Attribute:in_()
  local property = self.property
  errors.raise("InvalidRequestError", "%s:in_(): relationships are compared with single objects; compare the foreign key with "
    .. "the keys, or use %s()", property:describe(), property.uselist and "any" or "has")
end

--- The condition that something belongs to an object: with_parent(author, Author.books), for selects of books. Nothing belongs
--- to an object that has no row.
---@param object userdata
---@param attribute table a relationship of its class
function relationship.with_parent(object, attribute)
  local mark, mapper = getmetatable(attribute), mapper_module.of_object(object)
  if type(mark) ~= "table" or not mark.__relationship or not mapper then
    errors.raise("ArgumentError", "with_parent(): an object and a relationship of its class expected, got %s and %s",
      show_given(object), errors.show(attribute))
  elseif not hierarchy.is_a(mapper, attribute.property.parent) then
    errors.raise("ArgumentError", "with_parent(): %s is no relationship of '%s'", attribute.property:describe(), mapper.name)
  end
  local property, nothing = attribute.property, false
  local sources = { target = property:source(), secondary = property.secondary }
  local conditions = joincondition.of_object(property.condition, sources, function(column)
    local value = stored_value(object, column)
    nothing = nothing or value == nil
    return value == nil and expression.FALSE or expression.literal(value, column.type)
  end)
  return nothing and expression.FALSE or expression.and_(unpack(conditions))
end

return relationship
