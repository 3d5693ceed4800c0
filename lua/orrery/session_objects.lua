--- session_objects: what a session holds: adding, deleting, letting go, merging, expiring and reading again, with the
-- cascades of each. Objects and identities are the core's (sessionlib.c).
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local mapper_module = import "mapper"
local hierarchy = import "hierarchy"
local statement = import "statement"
local loading = import "loading"
local loader_option = import "loader_option"
local writing = reading.later "writing"
local merging = reading.later "merging"
local session_class = import "session_class"

local session_objects = {}

---@class orrery.Session
local Session = session_class.Session
local check = session_class.check
local check_object = session_class.check_object
local in_session = session_class.in_session
local tell_expired = session_class.tell_expired
local telling = session_class.telling
local hears_states = session_class.hears_states
local leave_flush = session_class.leave_flush

-- ---- what it holds ----

-- A second object would be left out unseen.
local function check_single(call, more)
  if core.class_of(more) then
    errors.raise("ArgumentError", "%s takes one object, got several%s", call,
      call == "session:add()" and "; session:add_all{ ... } takes a list" or "; call it once for each")
  end
end

--- Puts an object, and what its relationships cascade to, into the session. It is written at the next flush.
---@param object userdata
function Session:add(object, more)
  check(self, "add")
  check_object(object, "session:add()")
  check_single("session:add()", more)
  core.add(self[1], object)
end
Session.add = core.adder(Session.add)

--- Adds every object of an array.
---@param objects userdata[]
function Session:add_all(objects)
  check(self, "add_all")
  if type(objects) ~= "table" and not core.is_collection(objects) then
    errors.raise("ArgumentError", "session:add_all() takes an array of objects, got %s", errors.show(objects))
  end
  local add, handle = core.add, self[1]
  for position = 1, #objects do
    local object = objects[position]
    if not add(handle, object) then
      check_object(object, ("session:add_all(), item %d"):format(position))
    end
  end
end

--- Whether the object is in this session.
---@param object userdata
function Session:contains(object)
  check(self, "contains")
  check_object(object, "session:contains()")
  local state = core.state(object)
  return core.session_of(object) == self and (state == "pending" or state == "persistent")
end

-- The object and what its loaded relationships with a cascade reach within the session, each once.
local function reached_by(object, cascade, self)
  local list, seen, position = { object }, { [object] = true }, 1
  local function reach(item)
    if not seen[item] and core.session_of(item) == self then
      seen[item] = true
      list[#list + 1] = item
    end
  end
  while list[position] do
    local mapper = mapper_module.of_object(list[position])
    for number, property in ipairs(mapper.relationships) do
      local value = property.cascade[cascade] and core.peek(list[position], #mapper.column_keys + number)
      if value and property.uselist then
        value:each(reach)
      elseif value then
        reach(value)
      end
    end
    position = position + 1
  end
  return list
end

--- Takes an object, and what its cascade "expunge" reaches, out of the session, without a word to the database.
---@param object userdata
function Session:expunge(object, more)
  check(self, "expunge")
  check_object(object, "session:expunge()")
  check_single("session:expunge()", more)
  in_session(self, object, "session:expunge()")
  for _, one in ipairs(reached_by(object, "expunge", self)) do
    telling(self, { one }, core.expunge, self[1], one)
  end
end

--- Takes everything out of the session.
function Session:expunge_all()
  check(self, "expunge_all")
  leave_flush(self, "expunge_all")
  telling(self, hears_states(self.dispatch) and core.objects(self[1]) or nil, core.close, self[1])
end

--- Marks an object for deletion at the next flush, with what the delete cascade reaches: at once where that is loaded, else
--- when the flush, or a look at session.deleted, loads it for all deleted objects together.
---@param object userdata
function Session:delete(object, more)
  check(self, "delete")
  check_object(object, "session:delete()")
  check_single("session:delete()", more)
  local state = core.state(object)
  if state == "transient" or state == "pending" then
    errors.raise("InvalidRequestError", "session:delete(): this object of class '%s' has no row yet%s",
      mapper_module.of_object(object).name, state == "pending" and (self.flushing and "; delete it when this flush is over"
      or "; use session:expunge() to forget it") or "")
  elseif state == "detached" then
    core.add(self[1], object)
  end
  in_session(self, object, "session:delete()")
  core.delete(self[1], object)
end

--- Whether flushing would write something for the object.
---@param object userdata
function Session:is_modified(object)
  check(self, "is_modified")
  check_object(object, "session:is_modified()")
  return writing.is_modified(object)
end

-- ---- expiring and refreshing ----

local function check_attribute(mapper, name, call)
  if not mapper:number_of(name) then
    errors.raise("ArgumentError", "%s: %s has no attribute '%s'%s", call, mapper.name, tostring(name),
      errors.hint(tostring(name), mapper:attribute_names()))
  end
end

local function unload(object, names, call)
  local mapper = mapper_module.of_object(object)
  if type(names) ~= "table" or names[1] == nil then
    errors.raise("ArgumentError", "%s: the attributes are an array of names, got %s", call, errors.show(names))
  end
  for _, name in ipairs(names) do
    check_attribute(mapper, name, call)
  end
  for _, name in ipairs(names) do
    core.unload(object, mapper:number_of(name))
  end
  tell_expired(nil, object, names)
end

-- An object and what its cascade "refresh-expire" reaches; what has no row yet has nothing to be read again.
local function expire_reached(self, object)
  for _, one in ipairs(reached_by(object, "refresh-expire", self)) do
    if core.state(one) == "persistent" then
      core.forget(one)
      self:forget_expressions(one)
      tell_expired(nil, one)
    end
  end
end

--- Makes attributes (by default all) of an object count as unloaded; unflushed changes to them are dropped.
---@param object userdata
---@param names? string[]
function Session:expire(object, names)
  check(self, "expire")
  check_object(object, "session:expire()")
  in_session(self, object, "session:expire()")
  if core.state(object) ~= "persistent" then
    errors.raise("InvalidRequestError", "session:expire(): this object of class '%s' has no row to read again",
      mapper_module.of_object(object).name)
  elseif names ~= nil then
    return unload(object, names, "session:expire()")
  end
  expire_reached(self, object)
end

--- Makes every object count as unloaded; unflushed changes to them are dropped.
function Session:expire_all()
  check(self, "expire_all")
  for _, object in ipairs(core.list(self[1], "dirty")) do
    core.forget(object)
  end
  self:forget_expressions()
  core.expire_all(self[1])
  tell_expired(self)
end

-- Reads what is unloaded among the attributes; relationships by their own statements.
local function load_named(self, mapper, object, names)
  local numbers = {}
  for _, name in ipairs(names) do
    numbers[#numbers + 1] = mapper.attributes[name] and mapper:number_of(name)
  end
  if numbers[1] then
    loading.columns(self, mapper, object, numbers)
  end
  for _, name in ipairs(names) do
    local _ = object[name]
  end
end

local function raise_gone(mapper)
  errors.raise("ObjectDeletedError", "%s: the row of this object is gone from the database; it was deleted elsewhere",
    mapper.name)
end

-- The whole row, locked until the transaction ends where the database can do so.
local function load_locked(self, mapper, object, lock)
  if self:get(mapper.class, loading.key_of(mapper, object), { with_for_update = lock }) ~= object then
    raise_gone(mapper)
  end
end

-- The whole row, with what the class wants loaded along.
local function load_whole(self, mapper, object)
  if not loader_option.default_tree(mapper):is_eager() then
    return loading.refresh(self, mapper, object)
  end
  local stmt, key = statement.select(mapper.class), loading.key_of(mapper, object)
  for position, column in ipairs(hierarchy.base(mapper).table.primary_key) do
    stmt = stmt:where(loading.attribute_of_column(mapper, column):eq(key[position]))
  end
  if self:scalars(stmt, nil, { autoflush = false }):unique():first() ~= object then
    raise_gone(mapper)
  end
end

local REFRESH_OPTIONS = { with_for_update = true }

--- Reads an object's row again, or only the named attributes; unflushed changes to them are lost.
---@param object userdata
---@param names? string[] attributes, relationships among them
---@param options? { with_for_update: boolean|table } lock the row, and read all of it
function Session:refresh(object, names, options)
  check(self, "refresh")
  options = errors.check_options(options, REFRESH_OPTIONS, "session:refresh()")
  check_object(object, "session:refresh()")
  in_session(self, object, "session:refresh()")
  local mapper = mapper_module.of_object(object)
  if core.state(object) ~= "persistent" then
    errors.raise("InvalidRequestError", "session:refresh(): this object of class '%s' has no row %s", mapper.name,
      core.state(object) == "deleted" and "any more: it was deleted in this transaction" or "yet")
  end
  if names == nil then
    expire_reached(self, object)
  else
    unload(object, names, "session:refresh()")
  end
  self:autoflush_now()
  local ok, err
  if options.with_for_update then
    ok, err = pcall(load_locked, self, mapper, object, options.with_for_update)
  else
    ok, err = pcall(names and load_named or load_whole, self, mapper, object, names)
  end
  if not ok then
    if errors.is_error(err, "ObjectDeletedError") then
      errors.raise("InvalidRequestError", "session:refresh(): %s", err.message)
    end
    error(err, 0)
  end
end

--- Loads an attribute now, where it is not loaded yet, and returns it.
---@param object userdata
---@param name string
function Session:load(object, name)
  check(self, "load")
  check_object(object, "session:load()")
  in_session(self, object, "session:load()")
  check_attribute(mapper_module.of_object(object), name, "session:load()")
  return object[name]
end

--- The session's own object for the row of one from elsewhere, with that one's state; related objects follow where the
--- cascade has "merge". The object given stays as it is.
---@param object userdata
---@param options? { load: boolean, options: table[] } load = false: the state is taken as read from the database, nothing is
--- asked; options: loader options for what is looked up
---@return userdata
function Session:merge(object, options)
  check(self, "merge")
  check_object(object, "session:merge()")
  return merging.merge(self, object, options)
end

-- ---- moves that go past rows ----

--- Makes an object transient that has, or had, a row: it leaves its session, keeps what it has loaded, and is inserted when
--- it is added again. Set its key to nil where it is to be a copy.
---@param object userdata
function session_objects.make_transient(object)
  check_object(object, "make_transient()")
  local self = core.session_of(object)
  if self then
    telling(self, { object }, core.expunge, self[1], object)
  end
  core.make_transient(object)
end

--- Makes a transient object detached: it counts as having the row of its key, and what it was given as loaded from there.
--- Add it to a session to have the rest loaded.
---@param object userdata
function session_objects.make_transient_to_detached(object)
  check_object(object, "make_transient_to_detached()")
  local mapper = mapper_module.of_object(object)
  if core.state(object) ~= "transient" then
    errors.raise("InvalidRequestError", "make_transient_to_detached(): this object of class '%s' is %s, not transient",
      mapper.name, (core.state(object)))
  elseif not core.make_detached(object) then
    errors.raise("InvalidRequestError", "make_transient_to_detached(): this object of class '%s' has no primary key; without it "
      .. "there is no row that it could have", mapper.name)
  end
end

return session_objects
