--- collection: what a relationship's collection_class may be: a list, a set, or objects by key. The collections
-- themselves are the core's (collectionlib.c, uniquelib.c); here is what decides the keys.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"

local collection = {}

---@class orrery.CollectionClass
---@field form string "list", "set" or "keyed"
---@field key? fun(object: userdata): any
---@field attribute? string the attribute that is the key
local metatable = { __metatable = { __name = "orrery.collection_class" } }

local function new(fields)
  return setmetatable(fields, metatable)
end

--- The default: objects in an order, any of them more than once.
collection.list = new{ form = "list" }

--- Each object once; walked in the order in which they came.
collection.set = new{ form = "set" }

--- Objects by an attribute of theirs: user.notes["name"].
---@param name string an attribute of the related class
---@return orrery.CollectionClass
function collection.attribute_keyed_dict(name)
  if type(name) ~= "string" then
    errors.raise("ArgumentError", "attribute_keyed_dict(): the name of an attribute expected, got %s", errors.show(name))
  end
  return new{ form = "keyed", attribute = name, key = function(object) return object[name] end }
end

--- Objects by a column of theirs, given as the column or the class's attribute.
---@param column table
---@return orrery.CollectionClass
function collection.column_keyed_dict(column)
  local node = expression.is_element(column) and column.visit == "column" and column
  if not node then
    errors.raise("ArgumentError", "column_keyed_dict(): a column such as Note.name expected, got %s; for several columns use "
      .. "keyfunc_mapping(function(object) return ... end)", errors.show(column))
  end
  while node.origin do
    node = node.origin
  end
  return new{ form = "keyed", column = node }
end

--- Objects by what a function gives for each.
---@param fn fun(object: userdata): any
---@return orrery.CollectionClass
function collection.keyfunc_mapping(fn)
  if type(fn) ~= "function" then
    errors.raise("ArgumentError", "keyfunc_mapping(): a function that gives an object's key expected, got %s", errors.show(fn))
  end
  return new{ form = "keyed", key = fn }
end

-- The key function of a collection by column needs to know how the class calls the column.
local function by_column(given, property)
  local name = property.mapper.key_by_column[given.column]
  if not name then
    errors.raise("ArgumentError", "%s: column_keyed_dict names '%s', which '%s' does not have", property:describe(),
      expression.describe(given.column), property.mapper.name)
  end
  return collection.attribute_keyed_dict(name)
end

--- What a relationship's collection_class is, its names checked against the related class.
---@param property orrery.Relationship
---@return orrery.CollectionClass?
function collection.of(property)
  local given = property.options.collection_class
  if given == nil then
    return nil
  elseif getmetatable(given) ~= metatable.__metatable then
    errors.raise("ArgumentError", "%s: collection_class must be orm.list, orm.set or one of orm.attribute_keyed_dict(name), "
      .. "orm.column_keyed_dict(column), orm.keyfunc_mapping(fn); got %s", property:describe(), errors.show(given))
  elseif not property.uselist then
    errors.raise("ArgumentError", "%s: collection_class on a relationship that holds one object", property:describe())
  end
  local target = property.mapper
  if given.attribute and not target.attributes[given.attribute] and target.methods[given.attribute] == nil then
    errors.raise("ArgumentError", "%s: attribute_keyed_dict names '%s', which '%s' does not have%s", property:describe(),
      given.attribute, target.name, errors.hint(given.attribute, target:attribute_names()))
  end
  return given.column and by_column(given, property) or given
end

--- The key of an object in a relationship's collection; never nil.
---@param property orrery.Relationship
---@param object userdata
---@return any
function collection.key_of(property, object)
  local class = property.collection
  local key = class.key(object)
  if key == nil or key ~= key then
    errors.raise("InvalidRequestError", "%s holds its objects by key, and %s has none%s", property:describe(), tostring(object),
      class.attribute and (": its '%s' is nil; set it before the object comes in"):format(class.attribute) or "")
  end
  return key
end

--- Raised where an object is put under another key than its own.
---@param property orrery.Relationship
---@param given any
---@param own any
function collection.wrong_key(property, given, own)
  local attribute = property.collection.attribute
  errors.raise("ArgumentError", "%s: an object was given under the key %s, and its own is %s%s", property:describe(),
    errors.show(given), errors.show(own), type(given) == "number" and "; objects without keys go in by :append(object) or "
    .. ":extend{ ... }" or attribute and (" (its '%s')"):format(attribute) or "")
end

local RANK = { number = 1, string = 2 }

local function before(a, b)
  local rank_a, rank_b = RANK[type(a)] or 3, RANK[type(b)] or 3
  if rank_a ~= rank_b then
    return rank_a < rank_b
  elseif rank_a == 3 then
    return tostring(a) < tostring(b)
  end
  return a < b
end

--- A table by key as two arrays, keys and values, in an order that does not change from run to run.
---@param given table
---@return any[] keys
---@return any[] values
function collection.sorted(given)
  local keys, items = {}, {}
  for key in pairs(given) do
    keys[#keys + 1] = key
  end
  table.sort(keys, before)
  for position, key in ipairs(keys) do
    items[position] = given[key]
  end
  return keys, items
end
core.hook("items_by_key", collection.sorted)

--- Objects as an assignment to the relationship takes them: an array, or a table by key.
---@param property orrery.Relationship
---@param items userdata[]
---@return table
function collection.arranged(property, items)
  if not property.collection or property.collection.form ~= "keyed" then
    return items
  end
  local by_key = {}
  for _, item in ipairs(items) do
    by_key[collection.key_of(property, item)] = item
  end
  return by_key
end

return collection
