--- merging: session:merge: the state of objects from elsewhere is copied onto the session's own objects of the same
-- keys, along the relationships whose cascade has "merge".
local import = ...
local errors = import "errors"
local core = import "core"
local collection = import "collection"
local mapper_module = import "mapper"
local loading = import "loading"

local merging = {}
local unpack = table.unpack or unpack

local function check_clean(mapper, object)
  local state, _, dirty = core.state(object)
  if state == "transient" or state == "pending" then
    errors.raise("InvalidRequestError", "session:merge(): with load = false the object must have come from a session; this one "
      .. "of class '%s' was never stored", mapper.name)
  elseif dirty then
    errors.raise("InvalidRequestError", "session:merge(): with load = false the object must be unchanged; flush it first, or "
      .. "merge without load = false")
  end
end

-- The session's object for one from elsewhere that counts as read from the database just now.
local function adopt(session, mapper, given, key)
  check_clean(mapper, given)
  local present = core.find(session[1], mapper.class, unpack(loading.stored_key(mapper, key)))
  if present then
    return present, false
  end
  local copy, keys = core.new(mapper.class), {}
  for _, number in ipairs(mapper:key_numbers()) do
    keys[number] = true -- which an expired object still knows
  end
  for number in ipairs(mapper.column_keys) do
    if keys[number] or core.is_given(given, number) then
      core.set_stored(copy, given, number)
    end
  end
  core.attach(session[1], copy)
  return copy, true
end

local function find(work, mapper, key)
  return key and work.session:get(mapper.class, key[2] == nil and key[1] or key, work.options and { options = work.options })
end

local function check_version(mapper, given, own)
  local number = mapper:version_number()
  if not number or not core.is_given(given, number) or not core.is_given(own, number) then
    return
  end
  local mine, rows = core.stored(given, number), core.stored(own, number)
  if mine ~= rows then
    errors.raise("StaleDataError", "session:merge(): the version of this object of class '%s' is %s, the row's is %s; the row "
      .. "was changed since the object was loaded", mapper.name, tostring(mine), tostring(rows))
  end
end

local function copy_columns(mapper, given, own)
  check_version(mapper, given, own)
  for number, key in ipairs(mapper.column_keys) do
    if core.is_given(given, number) and not mapper.attributes[key].origin.read_only then
      own[key] = core.peek(given, number)
    end
  end
end

-- The session's object for `given`; a new pair is queued, so that its relationships follow.
local function counterpart(work, given)
  local known = work.own[given]
  if known then
    return known
  elseif core.session_of(given) == work.session then
    work.own[given] = given
    return given
  end
  local mapper = mapper_module.of_object(given)
  local key = loading.key_of(mapper, given)
  local own
  if work.load then
    own = find(work, mapper, key)
    if not own then
      own = core.new(mapper.class)
      work.session:add(own)
    end
    work.own[given] = own
    copy_columns(mapper, given, own)
  else
    own = adopt(work.session, mapper, given, key or {})
    work.own[given] = own
  end
  work.queue[#work.queue + 1] = given
  return own
end

-- The counterpart of what a relationship leads to.
local function reached(work, property, given)
  work.reached[given] = work.reached[given] or {}
  work.reached[given][property] = true
  return counterpart(work, given)
end

local function merged_items(work, property, value)
  if not property.uselist then
    return value ~= nil and reached(work, property, value) or nil
  end
  local items, seen = {}, {}
  for _, item in value do
    local own = reached(work, property, item)
    if not seen[own] then
      seen[own] = true
      items[#items + 1] = own
    end
  end
  return items
end

-- What an object holds only as the other side of the relationship by which it was reached is not all that it has: the author
-- of one book has others.
local function is_way_back(work, property, given)
  local ways = work.load and property.reverse and work.reached[given]
  return ways and ways[property.reverse] or false
end

local NOT_READ = { write_only = true, noload = true, raise = true, raise_on_sql = true }

-- What the session's object has is asked for at once, before its items are looked up one by one.
local function load_before(work, property, own, number)
  if work.load and property.uselist and not NOT_READ[property.lazy] and core.state(own) == "persistent"
    and not core.is_given(own, number) then
    local _ = #own[property.key]
  end
end

local function merge_relationships(work, given)
  local mapper, own = mapper_module.of_object(given), work.own[given]
  for position, property in ipairs(mapper.relationships) do
    local number = #mapper.column_keys + position
    if property.cascade.merge and core.is_given(given, number) and not is_way_back(work, property, given) then
      load_before(work, property, own, number)
      local items = merged_items(work, property, core.peek(given, number))
      if property.lazy == "write_only" then
        own[property.key]:add_all(items)
      elseif work.load then
        own[property.key] = property.uselist and collection.arranged(property, items) or items
      elseif not core.is_given(own, number) then
        core.set_loaded(own, number, items)
      end
    end
  end
end

local function merge_all(work, given)
  local own, position = counterpart(work, given), 1
  while work.queue[position] do
    merge_relationships(work, work.queue[position])
    position = position + 1
  end
  return own
end

local OPTIONS = { load = true, options = true }

--- The session's object that has what `given` has; `given` itself stays outside.
---@param session orrery.Session
---@param given userdata
---@param options? { load: boolean, options: table[] } load = false: take the given state as what the database holds, without
--- asking it; options: loader options for what is looked up
---@return userdata
function merging.merge(session, given, options)
  options = errors.check_options(options, OPTIONS, "session:merge()")
  local work = { session = session, load = options.load ~= false, options = options.options, own = {}, reached = {},
    queue = {} }
  if work.load then
    session:autoflush_now()
  end
  return session:no_autoflush(function() return merge_all(work, given) end)
end

return merging
