--- proxy: association_proxy("tags", "name"): an attribute of the related objects, shown as if it were the object's own: a
-- list of their values where the relationship is a collection, the one value where it holds one object.
local import = ...
local errors = import "errors"
local core = import "core"
local mapper_module = import "mapper"

local proxy = {}

---@class orrery.AssociationProxy
local Proxy = {}
local metatable = { __index = Proxy, __metatable = { __name = "orrery.association_proxy", __descriptor = true } }

local OPTIONS = { creator = true }

--- A view of `attribute` of the objects of `relationship`.
---@param relationship string its name on the same class
---@param attribute string
---@param options? { creator: fun(value: any): userdata } makes the object for a value that comes in
---@return orrery.AssociationProxy
function proxy.association_proxy(relationship, attribute, options)
  if type(relationship) ~= "string" or type(attribute) ~= "string" then
    errors.raise("ArgumentError", "association_proxy(): the names of a relationship and of an attribute of its objects expected, "
      .. "got %s and %s", errors.show(relationship), errors.show(attribute))
  end
  options = errors.check_options(options, OPTIONS, "association_proxy()")
  return setmetatable({ relationship = relationship, attribute = attribute, creator = options.creator }, metatable)
end

local function property_of(self, object, key)
  local mapper = mapper_module.of_object(object)
  local property = mapper.relationships_by_key[self.relationship]
  if not property then
    errors.raise("ArgumentError", "%s.%s: association_proxy names '%s', which is no relationship of it", mapper.name, key,
      self.relationship)
  end
  return property
end

local function create(self, property, value)
  if self.creator then
    return self.creator(value)
  end
  return property.mapper.class({ [self.attribute] = value })
end

-- ---- lists of values ----

local List = {}
local list_metatable = { __metatable = { __name = "orrery.association_list" } }

function list_metatable.__index(list, key)
  if type(key) == "number" then
    local item = list.items[key]
    return item and item[list.proxy.attribute]
  elseif List[key] then
    return List[key]
  end
  errors.raise("ArgumentError", "a list of an association proxy has no '%s'%s", tostring(key),
    errors.hint(tostring(key), errors.sorted_keys(List)))
end

function list_metatable.__newindex(list, key, value)
  if key == #list.items + 1 then
    return list:append(value)
  end
  errors.raise("ArgumentError", "a value of an association proxy is replaced by :remove(value) and :append(value)")
end

function list_metatable.__len(list)
  return #list.items
end

-- A list is its own iterator: for position, value in user.tag_names do
function list_metatable.__call(list, _, position)
  position = (position or 0) + 1
  local item = list.items[position]
  if item then
    return position, item[list.proxy.attribute]
  end
end

function list_metatable.__tostring(list)
  return "[" .. table.concat(list:to_table(), ", ") .. "]"
end

--- Adds an object made for the value.
function List:append(value)
  self.items:append(create(self.proxy, self.property, value))
end

function List:extend(values)
  for position = 1, #values do
    self:append(values[position])
  end
end

local function find(self, value)
  for position, item in self.items do
    if item[self.proxy.attribute] == value then
      return item, position
    end
  end
end

--- Removes the first object with the value.
function List:remove(value)
  local item = find(self, value)
  if not item then
    errors.raise("ArgumentError", "%s: no object has '%s' = %s", self.property:describe(), self.proxy.attribute,
      errors.show(value))
  end
  self.items:remove(item)
end

function List:contains(value)
  return find(self, value) ~= nil
end

function List:clear()
  self.items:clear()
end

--- How many values there are; what # gives from Lua 5.2 on.
function List:count()
  return #self.items
end

--- A plain array of the values.
function List:to_table()
  local values = {}
  for position, item in self.items do
    values[position] = item[self.proxy.attribute]
  end
  return values
end

-- ---- the attribute ----

function Proxy:read(object, key)
  local property = property_of(self, object, key)
  local value = object[self.relationship]
  if not property.uselist then
    return value and value[self.attribute]
  end
  return setmetatable({ items = value, proxy = self, property = property }, list_metatable)
end

-- Objects whose value stays are kept.
local function replace_list(self, property, object, values)
  local items, kept = {}, {}
  local former = object[self.relationship]
  for position = 1, #values do
    local found
    for _, item in former do
      if not found and not kept[item] and item[self.attribute] == values[position] then
        found = item
      end
    end
    found = found or create(self, property, values[position])
    kept[found] = true
    items[position] = found
  end
  object[self.relationship] = items
end

function Proxy:write(object, key, value)
  local property = property_of(self, object, key)
  if property.uselist then
    if type(value) ~= "table" then
      errors.raise("ArgumentError", "%s takes an array of values, got %s", key, errors.show(value))
    end
    return replace_list(self, property, object, getmetatable(value) == list_metatable.__metatable and value:to_table() or value)
  end
  local present = object[self.relationship]
  if value == nil or value == core.null then
    object[self.relationship] = nil
  elseif present then
    present[self.attribute] = value
  else
    object[self.relationship] = create(self, property, value)
  end
end

function Proxy:of_class(mapper, key)
  errors.raise("ArgumentError", "%s.%s: an association proxy is for objects; in a query use %s.%s:any(...) or a join",
    mapper.name, key, mapper.name, self.relationship)
end

return proxy
