--- inspection: what is known of an object (its state, what it has loaded, what was changed) and of a class (its columns
-- and relationships). Only looks: it neither loads nor changes anything.
local import = ...
local errors = import "errors"
local core = import "core"
local creation = import "creation"
local inspector = import "inspector"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"

local inspection = {}

-- ---- history ----

---@class orrery.History
---@field added any[]
---@field unchanged any[]
---@field deleted any[]

local function history(added, unchanged, deleted)
  return { added = added, unchanged = unchanged, deleted = deleted }
end

local function one(value)
  if value == nil then
    return { core.null }
  end
  return { value }
end

local function column_history(object, mapper, key, number)
  if not core.is_given(object, number) then
    return history({}, {}, {})
  end
  local value, old = core.peek(object, number), core.old(object, number)
  local state = core.state(object)
  if state == "transient" or state == "pending" then
    return history(one(value), {}, {})
  elseif old == nil then
    return history({}, one(value), {})
  elseif old == false then
    return history(one(value), {}, {})
  end
  local stored = core.stored(object, number)
  if old == stored or (old == core.null and stored == nil) then
    return history({}, one(value), {})
  elseif old ~= core.null then
    old = mapper.attributes[key].origin.type:from_db(old)
  end
  return history(one(value), {}, one(old))
end

local function set_of(items)
  local set = {}
  for _, item in ipairs(items) do
    set[item] = true
  end
  return set
end

local function difference(items, set, wanted)
  local list = {}
  for _, item in ipairs(items) do
    if (set[item] or false) == wanted then
      list[#list + 1] = item
    end
  end
  return list
end

local function items_of(object, property, number)
  local value = core.peek(object, number)
  if property.uselist then
    return value and core.collection_items(value) or {}, value and core.collection_old(value)
  end
  local old = core.old(object, number)
  return one(value), old ~= nil and { old or nil } or nil
end

local function relation_history(object, property, number)
  if not core.is_given(object, number) then
    return history({}, {}, {})
  end
  local now, before = items_of(object, property, number)
  local state = core.state(object)
  if state == "transient" or state == "pending" then
    before = {}
  end
  if not before then
    return history({}, now, {})
  end
  local old, new = set_of(before), set_of(now)
  return history(difference(now, old, false), difference(now, old, true), difference(before, new, false))
end

-- ---- an object ----

---@class orrery.AttributeState
---@field key string
---@field value any what is loaded, or nil
---@field loaded boolean
---@field history orrery.History

local function history_of(object, mapper, key)
  local number, property = mapper:number_of(key), mapper.relationships_by_key[key]
  return property and relation_history(object, property, number) or column_history(object, mapper, key, number)
end

-- The history is worked out for those who ask.
local function attribute_state(object, mapper, key)
  local number = mapper:number_of(key)
  if not number then
    errors.raise("ArgumentError", "inspect(): %s has no attribute '%s'%s", mapper.name, tostring(key),
      errors.hint(tostring(key), mapper:attribute_names()))
  end
  return setmetatable({ key = key, value = core.peek(object, number), loaded = core.is_given(object, number) }, {
    __index = function(_, field)
      return field == "history" and history_of(object, mapper, key) or nil
    end,
  })
end

-- What is known of each attribute, by its name, and by other names that it has (the key column of a joined table).
local function attribute_states(object, mapper)
  local states = {}
  for _, key in ipairs(mapper:attribute_names()) do
    states[key] = attribute_state(object, mapper, key)
  end
  return setmetatable(states, { __index = function(_, key) return attribute_state(object, mapper, key) end })
end

local function unloaded(object, mapper)
  local names = {}
  for number, key in ipairs(mapper:attribute_names()) do
    if not core.is_given(object, number) then
      names[#names + 1] = key
    end
  end
  return names
end

-- The key that the object's row has, whatever the object was given since.
local function identity(object, mapper)
  local state, key = core.state(object), {}
  if state == "transient" or state == "pending" then
    return nil
  end
  for position, number in ipairs(mapper:key_numbers()) do
    key[position] = mapper.attributes[mapper.column_keys[number]].origin.type:from_db(core.old(object, number)
      or core.stored(object, number))
  end
  return key
end

local function is_modified(object, mapper)
  local state = core.state(object)
  for _, key in ipairs(mapper:attribute_names()) do
    local about = history_of(object, mapper, key)
    if (about.added[1] ~= nil or about.deleted[1] ~= nil) and (state ~= "transient" or about.added[1] ~= core.null) then
      return true
    end
  end
  return false
end

local STATES = { "transient", "pending", "persistent", "deleted", "detached" }
local READ = {
  state = function(object) return (core.state(object)) end,
  modified = is_modified,
  unloaded = unloaded,
  identity = identity,
  session = function(object) return core.session_of(object) end,
  object = function(object) return object end,
  class = function(_, mapper) return mapper.class end,
  attrs = attribute_states,
}
for _, name in ipairs(STATES) do
  READ[name] = function(object) return core.state(object) == name end
end

local function refuse(what, key, known)
  errors.raise("ArgumentError", "inspect(%s) has no '%s'%s", what, tostring(key),
    errors.hint(tostring(key), errors.sorted_keys(known)))
end

---@class orrery.ObjectState
---@field state string "transient", "pending", "persistent", "deleted" or "detached"
---@field transient boolean
---@field pending boolean
---@field persistent boolean
---@field deleted boolean
---@field detached boolean
---@field modified boolean
---@field unloaded string[]
---@field identity any[]?
---@field session orrery.Session?
---@field attrs table<string, orrery.AttributeState>

local function object_state(object, mapper)
  return setmetatable({}, {
    __index = function(_, key)
      local read = READ[key]
      if not read then
        refuse("object", key, READ)
      end
      return read(object, mapper)
    end,
    __tostring = function() return ("%s object of %s"):format((core.state(object)), mapper.name) end,
  })
end

-- ---- a class ----

local function class_of(mapper)
  return mapper and mapper.class or nil
end

local function classes_of(mappers)
  local list = {}
  for position, mapper in ipairs(mappers) do
    list[position] = mapper.class
  end
  return list
end

local CLASS = {
  inherits = function(mapper) return class_of(mapper.inherits) end,
  base_mapper = function(mapper) return class_of(hierarchy.base(mapper)) end,
  polymorphic_identity = function(mapper) return mapper.arguments.polymorphic_identity end,
  polymorphic_on = function(mapper)
    local discriminator = hierarchy.discriminator(mapper)
    return discriminator and (discriminator.number and mapper:attribute(mapper.column_keys[discriminator.number])
      or discriminator.node)
  end,
  polymorphic_map = function(mapper)
    local map = {}
    for _, member in ipairs(hierarchy.family(hierarchy.base(mapper))) do
      if member.arguments.polymorphic_identity ~= nil then
        map[member.arguments.polymorphic_identity] = member.class
      end
    end
    return map
  end,
  subclasses = function(mapper) return classes_of(hierarchy.family(mapper)) end,
  concrete = function(mapper) return mapper.concrete or false end,
  single = hierarchy.is_single,
  name = function(mapper) return mapper.name end,
  class = function(mapper) return mapper.class end,
  table = function(mapper) return mapper.table end,
  attributes = function(mapper) return mapper:attribute_names() end,
  columns = function(mapper)
    local columns = {}
    for position, key in ipairs(mapper.column_keys) do
      columns[position] = mapper:attribute(key)
    end
    return columns
  end,
  primary_key = function(mapper)
    local columns = {}
    for position, number in ipairs(mapper:key_numbers()) do
      columns[position] = mapper:attribute(mapper.column_keys[number])
    end
    return columns
  end,
  relationships = function(mapper)
    local list = {}
    for position, property in ipairs(mapper.relationships) do
      list[position] = { key = property.key, target = property.mapper.class, direction = property.direction,
        uselist = property.uselist, secondary = property.secondary,
        back_populates = property.reverse and property.reverse.key }
    end
    return list
  end,
}

local function class_state(mapper)
  return setmetatable({}, {
    __index = function(_, key)
      local read = CLASS[key]
      if not read then
        refuse("class", key, CLASS)
      end
      return read(mapper)
    end,
    __tostring = function() return "mapper of " .. mapper.name end,
  })
end

--- What is known of an object, or of a class (which is configured then); the inspector of an engine or a connection.
---@param subject any
---@return orrery.ObjectState|orrery.Inspector
function inspection.inspect(subject)
  local mapper = mapper_module.of_object(subject)
  if mapper then
    return object_state(subject, mapper)
  elseif core.is_class(subject) then
    mapper = mapper_module.of(subject)
    mapper:configure()
    return class_state(mapper)
  elseif creation.kind_of(subject) then
    return inspector.inspector(subject)
  end
  errors.raise("ArgumentError", "inspect(): an object, a mapped class, an engine or a connection expected, got %s",
    errors.show(subject))
end

return inspection
