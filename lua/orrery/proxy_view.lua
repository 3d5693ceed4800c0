--- proxy_view: what an association proxy over a collection reads as: the values of the collection's objects as a list, a
-- set, or by key, as the collection itself is. Nothing is kept here: every call goes to the collection.
local import = ...
local errors = import "errors"
local core = import "core"
local collection = import "collection"

local proxy_view = {}

-- [view] = { object, proxy, property }. A view is a userdata where only those know # (Lua 5.1), else a table.
local STATE = setmetatable({}, { __mode = "k" })
local newproxy = newproxy -- luacheck: ignore

local function state_of(view, call)
  local state = STATE[view]
  if not state then
    errors.raise("ArgumentError", "%s: call it with ':' on what an association proxy reads as", call)
  end
  return state
end

local function items_of(state)
  return state.object[state.proxy.relationship]
end

local function value_of(state, item)
  return item[state.proxy.attribute]
end

local function describe(state)
  return ("%s of %s"):format(state.proxy.attribute, state.property:describe())
end

local function check_array(state, values, call)
  if STATE[values] then
    return values:to_table()
  elseif core.is_collection(values) then
    return core.collection_items(values)
  elseif type(values) ~= "table" then
    errors.raise("ArgumentError", "%s:%s() takes an array of values, got %s", describe(state), call, errors.show(values))
  end
  return values
end

-- What a plain table keeps of a value: nil would leave a hole in it.
local function kept(value)
  return value == nil and core.null or value
end

-- The first object with a value, and its position.
local function find(state, value)
  for position, item in ipairs(core.collection_items(items_of(state))) do
    if kept(value_of(state, item)) == kept(value) then
      return item, position
    end
  end
end

local function find_or_refuse(state, value, call)
  local item = find(state, value)
  if not item then
    errors.raise("ArgumentError", "%s:%s(): no object has '%s' = %s", describe(state), call, state.proxy.attribute,
      errors.show(value))
  end
  return item
end

-- ---- methods of every form ----

local Common = {}

--- Whether an object has the value.
function Common:contains(value)
  return find(state_of(self, "contains"), value) ~= nil
end

--- Takes out the first object with the value.
function Common:remove(value)
  local state = state_of(self, "remove")
  items_of(state):remove(find_or_refuse(state, value, "remove"))
end

--- Takes out all objects.
function Common:clear()
  items_of(state_of(self, "clear")):clear()
end

--- How many values there are; what # gives.
function Common:count()
  return #items_of(state_of(self, "count"))
end

--- Calls fn(value, position or key) for each value.
---@param fn fun(value: any, at: any)
function Common:each(fn)
  local state = state_of(self, "each")
  items_of(state):each(function(item, at) fn(value_of(state, item), at) end)
end

local function array_of(state)
  local values = {}
  for position, item in ipairs(core.collection_items(items_of(state))) do
    values[position] = kept(value_of(state, item))
  end
  return values
end

-- ---- lists and sets ----

local Array = {}

--- A plain array of the values, orm.null for nil.
function Array:to_table()
  return array_of(state_of(self, "to_table"))
end

--- Adds an object made for the value.
function Array:append(value)
  local state = state_of(self, "append")
  items_of(state):append(state.proxy:create(state.property, value))
end

function Array:extend(values)
  local state = state_of(self, "extend")
  for _, value in ipairs(check_array(state, values, "extend")) do
    self:append(value)
  end
end

--- Takes out an object, the last one by default, and gives its value.
---@param position? integer
function Array:pop(position)
  local state = state_of(self, "pop")
  local items = items_of(state)
  local value = self[position or #items]
  items:pop(position)
  return value
end

local List = {}

--- Adds an object made for the value at a position.
function List:insert(position, value)
  local state = state_of(self, "insert")
  items_of(state):insert(position, state.proxy:create(state.property, value))
end

--- The position of the first object with the value, or nil.
function List:index(value)
  local _, position = find(state_of(self, "index"), value)
  return position
end

local Set = {}

--- Adds an object made for the value, where no object has it.
function Set:add(value)
  if not self:contains(value) then
    Array.append(self, value)
  end
end
Set.append = Set.add

--- Takes the value out if it is there, and tells whether it was.
function Set:discard(value)
  local state = state_of(self, "discard")
  local item = find(state, value)
  return item ~= nil and items_of(state):discard(item)
end

-- ---- by key ----

local Keyed = {}

--- The value of the object under a key, or nil.
function Keyed:get(key)
  local state = state_of(self, "get")
  local item = items_of(state):get(key)
  return item and value_of(state, item)
end

--- Gives the object under a key another value, or makes one; nil takes it out.
function Keyed:set(key, value)
  local state = state_of(self, "set")
  local items = items_of(state)
  local item = items:get(key)
  if value == nil then
    items:pop(key)
  elseif item then
    item[state.proxy.attribute] = value
  else
    items:set(key, state.proxy:create(state.property, value, key))
  end
end

--- Takes out the object under a key and gives its value.
function Keyed:pop(key)
  local value = self:get(key)
  items_of(state_of(self, "pop")):pop(key)
  return value
end

function Keyed:keys()
  return items_of(state_of(self, "keys")):keys()
end

--- A plain array of the values, orm.null for nil.
function Keyed:values()
  return array_of(state_of(self, "values"))
end

--- A plain table of the values by key, orm.null for nil.
function Keyed:to_table()
  local state, values = state_of(self, "to_table"), {}
  for key, item in items_of(state) do
    values[key] = kept(value_of(state, item))
  end
  return values
end

-- ---- the three forms ----

local function methods_of(...)
  local methods = {}
  for position = 1, select("#", ...) do
    for name, method in pairs((select(position, ...))) do
      methods[name] = method
    end
  end
  return methods
end

local function no_method(state, key, methods)
  errors.raise("ArgumentError", "%s has no '%s'%s", describe(state), tostring(key),
    errors.hint(tostring(key), errors.sorted_keys(methods)))
end

local function read_array(methods)
  return function(view, key)
    local state = STATE[view]
    if type(key) == "number" then
      local item = items_of(state)[key]
      return item and value_of(state, item)
    end
    return methods[key] or no_method(state, key, methods)
  end
end

local function write_list(view, position, value)
  local state = STATE[view]
  local items = items_of(state)
  local item = items[position]
  if item and value ~= nil then
    item[state.proxy.attribute] = value
  else
    items[position] = value ~= nil and state.proxy:create(state.property, value) or nil
  end
end

local function write_set(view)
  errors.raise("ArgumentError", "%s is a set; use :add(value) and :remove(value)", describe(STATE[view]))
end

local function read_keyed(methods)
  return function(view, key)
    return methods[key] or Keyed.get(view, key)
  end
end

local function write_keyed(methods)
  return function(view, key, value)
    if methods[key] then
      errors.raise("ArgumentError", "%s: a method is called '%s'; use :set(key, value) and :get(key)", describe(STATE[view]), key)
    end
    Keyed.set(view, key, value)
  end
end

-- A view is its own iterator: for position (or key), value in user.tag_names do
local function iterate(view, _, at)
  local state = STATE[view]
  local next_at, item = items_of(state)(nil, at)
  if next_at ~= nil then
    return next_at, value_of(state, item)
  end
end

local function show(view)
  local parts = {}
  for position, value in ipairs(array_of(STATE[view])) do
    parts[position] = value == core.null and "nil" or tostring(value)
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function fill(metatable, read, write)
  metatable.__index, metatable.__newindex, metatable.__call, metatable.__tostring = read, write, iterate, show
  metatable.__len = function(view) return #items_of(STATE[view]) end
  metatable.__pairs = function(view) return view end
  metatable.__metatable = { __name = "orrery.association_view" }
end

-- A function that makes views of one form.
local function maker(read, write)
  if newproxy then
    local prototype = newproxy(true)
    fill(getmetatable(prototype), read, write)
    return function() return newproxy(prototype) end
  end
  local metatable = {}
  fill(metatable, read, write)
  return function() return setmetatable({}, metatable) end
end

local LIST, SET = methods_of(Common, Array, List), methods_of(Common, Array, Set)
local KEYED = methods_of(Common, Keyed)
local MAKE = {
  list = maker(read_array(LIST), write_list),
  set = maker(read_array(SET), write_set),
  keyed = maker(read_keyed(KEYED), write_keyed(KEYED)),
}

local function form_of(property)
  return property.collection and property.collection.form or "list"
end

--- What a proxy over a collection of an object reads as.
---@param object userdata
---@param proxy orrery.AssociationProxy
---@param property orrery.Relationship
function proxy_view.new(object, proxy, property)
  local view = MAKE[form_of(property)]()
  STATE[view] = { object = object, proxy = proxy, property = property }
  return view
end

-- ---- assigning the whole ----

-- The first object with the value that was not kept already; a value that comes again keeps another one.
local function take_former(state, former, taken, value)
  for _, item in ipairs(former) do
    if not taken[item] and kept(value_of(state, item)) == value then
      taken[item] = true
      return item
    end
  end
end

-- Objects whose value stays are kept.
local function replace_array(state, values)
  local items, taken, former, seen = {}, {}, core.collection_items(items_of(state)), {}
  for _, value in ipairs(values) do
    if form_of(state.property) == "list" or not seen[value] then
      seen[value] = true
      items[#items + 1] = take_former(state, former, taken, value) or state.proxy:create(state.property, value)
    end
  end
  state.object[state.proxy.relationship] = items
end

local function replace_keyed(state, values)
  local items, former = {}, items_of(state)
  local keys, list = collection.sorted(values)
  for position, key in ipairs(keys) do
    local item = former:get(key)
    if item then
      item[state.proxy.attribute] = list[position]
    end
    items[key] = item or state.proxy:create(state.property, list[position], key)
  end
  state.object[state.proxy.relationship] = items
end

--- Assigns all values of a proxy over a collection at once: an array, or a table by key.
---@param object userdata
---@param proxy orrery.AssociationProxy
---@param property orrery.Relationship
---@param values any
function proxy_view.assign(object, proxy, property, values)
  local state = { object = object, proxy = proxy, property = property }
  if STATE[values] then
    values = values:to_table()
  elseif type(values) ~= "table" or getmetatable(values) ~= nil then
    errors.raise("ArgumentError", "%s takes %s, got %s", describe(state), form_of(property) == "keyed"
      and "a table of values by key" or "an array of values", errors.show(values))
  end
  return (form_of(property) == "keyed" and replace_keyed or replace_array)(state, values)
end

return proxy_view
