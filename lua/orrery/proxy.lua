--- proxy: association_proxy("tags", "name"): an attribute of the related objects, shown as if it were the object's own: their
-- values where the relationship is a collection (proxy_view.lua), the one value where it holds one object; on the class, a
-- condition about them.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local mapper_module = import "mapper"
local proxy_view = import "proxy_view"

local proxy = {}

---@class orrery.AssociationProxy
local Proxy = {}
local metatable = { __index = Proxy, __metatable = { __name = "orrery.association_proxy", __descriptor = true } }

local OPTIONS = { creator = true, info = true }

--- A view of `attribute` of the objects of `relationship`. `creator` makes the object for a value that comes in: it is called
--- with the value, over a collection by key with the key and the value.
---@param relationship string its name on the same class
---@param attribute string a column, relationship or other attribute of the related class, another proxy among them
---@param options? { creator: fun(...): userdata }
---@return orrery.AssociationProxy
function proxy.association_proxy(relationship, attribute, options)
  if type(relationship) ~= "string" or type(attribute) ~= "string" then
    errors.raise("ArgumentError", "association_proxy(): the names of a relationship and of an attribute of its objects expected, "
      .. "got %s and %s", errors.show(relationship), errors.show(attribute))
  end
  options = errors.check_options(options, OPTIONS, "association_proxy()")
  if options.creator ~= nil and type(options.creator) ~= "function" then
    errors.raise("ArgumentError", "association_proxy(): creator is a function that makes an object of a value, got %s",
      errors.show(options.creator))
  end
  return setmetatable({ relationship = relationship, attribute = attribute, creator = options.creator }, metatable)
end

-- What stands under a name on a class: a column, a relationship, or something computed.
local function member_of(mapper, name)
  return mapper.attributes[name] or mapper.relationships_by_key[name] or mapper.methods[name]
end

local function property_of(self, mapper, key)
  local property = mapper.relationships_by_key[self.relationship]
  if not property then
    errors.raise("ArgumentError", "%s.%s: association_proxy names '%s', which is no relationship of it%s", mapper.name, key,
      self.relationship, errors.hint(self.relationship, errors.sorted_keys(mapper.relationships_by_key)))
  elseif member_of(property.mapper, self.attribute) == nil then
    errors.raise("ArgumentError", "%s.%s: association_proxy names '%s', which '%s' does not have%s", mapper.name, key,
      self.attribute, property.mapper.name, errors.hint(self.attribute, property.mapper:attribute_names()))
  end
  return property
end

--- The object for a value that comes in, under a key where the collection has them.
---@param property orrery.Relationship
---@param value any
---@param key? any
function Proxy:create(property, value, key)
  if self.creator and key ~= nil then
    return self.creator(key, value)
  elseif self.creator then
    return self.creator(value)
  end
  local fields, named = { [self.attribute] = value }, property.collection and property.collection.attribute
  if key ~= nil and not named then
    errors.raise("ArgumentError", "%s: an object cannot be made for the key %s, since its key comes from a function; give the "
      .. "proxy a creator(key, value)", property:describe(), errors.show(key))
  elseif key ~= nil then
    fields[named] = key
  end
  return property.mapper.class(fields)
end

-- ---- on an object ----

function Proxy:read(object, key)
  local property = property_of(self, mapper_module.of_object(object), key)
  if property.uselist then
    return proxy_view.new(object, self, property)
  end
  local related = object[self.relationship]
  return related and related[self.attribute]
end

function Proxy:write(object, key, value)
  local property = property_of(self, mapper_module.of_object(object), key)
  if property.uselist then
    return proxy_view.assign(object, self, property, value)
  end
  local present = object[self.relationship]
  if value == nil or value == core.null then
    object[self.relationship] = nil
  elseif present then
    present[self.attribute] = value
  else
    object[self.relationship] = self:create(property, value)
  end
end

-- ---- on the class ----

-- A proxy on the class compares like the attribute that it shows, of any of the related objects.
local Condition = {}
local condition_metatable = { __metatable = { __name = "orrery.association_condition" } }

-- The related class's attribute, a proxy among them, and the question whether an object of the relationship fits a condition.
local function target_of(self)
  return self.property.mapper.class[self.proxy.attribute]
end

local function asked(self, condition)
  local attribute = self.owner[self.proxy.relationship]
  if self.property.uselist then
    return attribute:any(condition)
  end
  return attribute:has(condition)
end

-- Whether the attribute is a relationship or a proxy: then any() and has() lead on to what it holds.
local function leads_on(target)
  local mark = getmetatable(target)
  return type(mark) == "table" and (mark.__relationship or mark.__name == condition_metatable.__metatable.__name)
end

local function holds_list(target)
  if rawget(target, "proxy") then
    return target.is_list
  end
  return target.property.uselist
end

local function question(self, criterion)
  local target = target_of(self)
  if leads_on(target) then
    criterion = holds_list(target) and target:any(criterion) or target:has(criterion)
  end
  return asked(self, criterion)
end

local function check_form(self, wanted, call, other)
  if self.is_list ~= wanted then
    errors.raise("InvalidRequestError", "%s:%s() is for %s; here is %s, use %s", tostring(self), call,
      wanted and "several values" or "a single value", wanted and "a single value" or "several", other)
  end
end

--- Whether one of the related objects fits a condition about it; of what they hold, where the proxy shows objects.
---@param criterion? table
function Condition:any(criterion)
  check_form(self, true, "any", "has()")
  return question(self, criterion)
end

--- The same where the proxy shows a single value.
---@param criterion? table
function Condition:has(criterion)
  check_form(self, false, "has", "any()")
  return question(self, criterion)
end

--- Whether a value, or object, is among those that the proxy shows; of a single text, whether that contains the text.
---@param value any
function Condition:contains(value)
  local target = target_of(self)
  if leads_on(target) and holds_list(target) then
    return asked(self, target:contains(value))
  elseif self.is_list then
    return asked(self, target:eq(value))
  end
  return asked(self, target:contains(value))
end

--- Whether the value, or one of them, is equal; orm.null: also whether there is no related object where it holds one.
---@param value any
function Condition:eq(value)
  local condition = asked(self, target_of(self):eq(value))
  if value == core.null and not self.property.uselist then
    local attribute = self.owner[self.proxy.relationship]
    return expression.or_(condition, expression.not_(attribute:has()))
  end
  return condition
end
Condition.is_ = Condition.eq

-- Every other comparison is the attribute's own.
function condition_metatable.__index(self, name)
  if Condition[name] then
    return Condition[name]
  end
  local target = target_of(self)
  local method = type(name) == "string" and not leads_on(target) and target[name]
  if type(method) ~= "function" then
    errors.raise("ArgumentError", "%s has no '%s'; it has any, has, contains, eq and the comparisons of the attribute that it "
      .. "shows", tostring(self), tostring(name))
  end
  return function(receiver, ...)
    errors.check_self(receiver, receiver == self, tostring(self) .. ":" .. name)
    return asked(self, method(target, ...))
  end
end

function condition_metatable.__tostring(self)
  return rawget(self, "name")
end

--- The proxy as the class has it, for conditions: User.tags:contains("x"), :eq, :any, :has, :like ...
---@param mapper table
---@param key string
---@param owner? table what the class is read from: an aliased class
function Proxy:of_class(mapper, key, owner)
  local property = property_of(self, mapper, key)
  local condition = { proxy = self, property = property, owner = owner or mapper.class, name = mapper.name .. "." .. key }
  setmetatable(condition, condition_metatable)
  local target = target_of(condition)
  condition.is_list = property.uselist or leads_on(target) and holds_list(target) or false
  return condition
end

return proxy
