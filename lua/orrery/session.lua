--- session: the unit of work as a script sees it: which objects it holds, when they are written, and how objects and
-- transaction stay in step. Objects and identities are the core's (sessionlib.c), writing is flushlib.c's; this file
-- decides when.
local import = ...
local errors = import "errors"
local core = import "core"
local change = import "change"
local event = import "event"
local result = import "result"
local transaction = import "transaction"
local mapper_module = import "mapper"
local loading = import "loading"
local eager = import "eager"
local writing = import "writing"
local merging = import "merging"

local session = {}

---@class orrery.Session
---@field engine orrery.Engine
---@field new userdata[] objects that wait for their INSERT
---@field dirty userdata[] objects with changes
---@field deleted userdata[] objects that wait for their DELETE
---@field is_active boolean false where its changes were rolled back under it and rollback() must come first
local Session = {}

local MAX_ROUNDS = 100
local EVENTS = { "before_flush", "after_flush", "before_commit", "after_commit", "after_rollback", "transient_to_pending",
  "pending_to_transient", "pending_to_persistent", "persistent_to_transient", "persistent_to_deleted", "deleted_to_persistent",
  "deleted_to_detached", "persistent_to_detached", "detached_to_persistent" }
local new_dispatch = event.define("session", EVENTS)

local PROPERTIES = {
  new = function(self) return core.list(self[1], "new") end,
  dirty = function(self) return core.list(self[1], "dirty") end,
  deleted = function(self) return core.list(self[1], "deleted") end,
  is_active = function(self)
    local conn = rawget(self, "conn")
    return not (conn and transaction.is_lost(conn))
  end,
}

local function index(self, key)
  local method = Session[key]
  if method ~= nil then
    return method
  end
  local property = PROPERTIES[key]
  if property then
    return property(self)
  end
  local names = errors.sorted_keys(Session)
  for name in pairs(PROPERTIES) do
    names[#names + 1] = name
  end
  local near = errors.nearest(tostring(key), names)
  errors.raise("ArgumentError", "a session has no '%s'%s", tostring(key), near and ("; did you mean '%s'?"):format(near) or "")
end

local MARK = { __name = "orrery.Session" }
local metatable = { __index = index, __metatable = MARK, __name = "orrery.Session" }

function metatable.__newindex(_, key)
  errors.raise("ArgumentError", "session.%s cannot be assigned", tostring(key))
end

function metatable.__tostring()
  return "session"
end

local function check(self, call)
  errors.check_self(self, getmetatable(self) == MARK, "session:" .. call)
end

-- The main thread, which has no coroutine on Lua 5.1.
local MAIN = {}

-- What would end a flush from inside is refused. One whose coroutine stopped in a hook, for good as it seems, is over.
local function leave_flush(self, call)
  local flusher = self.flushing
  if not flusher then
    return
  elseif flusher == MAIN or flusher == coroutine.running() or coroutine.status(flusher) == "normal" then
    errors.raise("InvalidRequestError", "session:%s(): this session is flushing; a hook of the flush cannot end it, but it "
      .. "may raise an error, which undoes the flush", call)
  end
  rawset(self, "flushing", false)
end

local function check_object(object, call)
  if not core.class_of(object) then
    errors.raise("UnmappedInstanceError", "%s: a mapped object expected, got %s%s", call, errors.show(object),
      core.is_class(object) and " (a class; make an object of it with {...})" or "")
  end
end

event.find_by(function(target)
  return getmetatable(target) == MARK and rawget(target, "dispatch") or nil
end)

-- ---- making one ----

local OPTIONS = { autoflush = true, expire_on_commit = true, join_transaction_mode = true }
local JOIN_MODES = { conditional_savepoint = true, create_savepoint = true, rollback_only = true, control_fully = true }
local get_slow

-- A session on a connection works inside what is open there; on an engine it takes connections as it needs them.
local function split_target(target)
  if type(target) == "table" and type(target.connect) == "function" then
    return target, false
  elseif type(target) == "table" and type(target.begin_nested) == "function" and rawget(target, "engine") then
    return target.engine, target
  end
  errors.raise("ArgumentError", "Session(): an engine (or a connection) expected, got %s", errors.show(target))
end

--- A session on an engine, or on a connection that the script has. Begins its transaction with the first statement.
---@param target orrery.Engine|orrery.Connection
---@param options? { autoflush: boolean, expire_on_commit: boolean, join_transaction_mode: string } true, true by default
---@return orrery.Session
function session.Session(target, options)
  local engine, bound = split_target(target)
  options = errors.check_options(options, OPTIONS, "Session()")
  local mode = options.join_transaction_mode or "conditional_savepoint"
  if not JOIN_MODES[mode] then
    errors.raise("ArgumentError", "Session(): join_transaction_mode = %s is not known%s", errors.show(mode),
      errors.hint(tostring(mode), errors.sorted_keys(JOIN_MODES)))
  end
  local self = { engine = engine, bound = bound, join_mode = mode, joined = false, nested = {}, expressions = {},
    autoflush = options.autoflush ~= false, expire_on_commit = options.expire_on_commit ~= false,
    dispatch = new_dispatch(), conn = false, flushing = false, quiet = 0 }
  self[1] = core.session(self)
  -- A field of its own: found without __index, since identity map hits are what sessions are asked for most.
  self.get = session.getter
  return setmetatable(self, metatable)
end

--- A function that makes sessions with the same options.
---@param engine orrery.Engine
---@param options? table
function session.sessionmaker(engine, options)
  errors.check_options(options, OPTIONS, "sessionmaker()")
  return function(own)
    local merged = {}
    for _, set in ipairs({ options or {}, own or {} }) do
      for key, value in pairs(set) do
        merged[key] = value
      end
    end
    return session.Session(engine, merged)
  end
end

-- ---- changes of state ----

local function hears_states(dispatch)
  for position = 6, #EVENTS do
    if dispatch[EVENTS[position]] then
      return true
    end
  end
  return false
end

-- The objects whose state a step can change, with the state that they have; what came in by a cascade was transient.
local function states_before(self, objects)
  local states = {}
  local function note(list)
    for _, object in ipairs(list) do
      if not states[object] then
        states[object] = core.state(object)
        states[#states + 1] = object
      end
    end
  end
  for _, name in ipairs({ "new", "deleted", "inserted", "removed" }) do
    note(core.list(self[1], name))
  end
  note(objects or {})
  return states
end

-- Objects that a step has brought in are those that are new afterwards and were not before.
local function tell_states(self, states)
  for _, object in ipairs(core.list(self[1], "new")) do
    if not states[object] then
      states[object] = "transient"
      states[#states + 1] = object
    end
  end
  for _, object in ipairs(states) do
    local before, after = states[object], core.state(object)
    local name = before .. "_to_" .. after
    if before ~= after and self.dispatch[name] then
      event.fire(self.dispatch, name, self, object)
    end
  end
end

-- Runs a step of the session and tells those who listen which objects have changed their state by it.
local function telling(self, objects, step, ...)
  if not hears_states(self.dispatch) then
    return step(...)
  end
  local states = states_before(self, objects)
  step(...)
  tell_states(self, states)
end

-- ---- the connection ----

-- Joins the transaction that the script has open on the session's connection: `joined` is what the session may end by
-- itself then, a savepoint; without one a commit leaves the transaction to the script.
local function join(self)
  local conn, mode = self.bound, self.join_mode
  if not conn:in_transaction() or mode == "control_fully" then
    return conn
  end
  if mode == "create_savepoint" or (mode == "conditional_savepoint" and conn:in_nested_transaction()) then
    rawset(self, "joined", conn:begin_nested())
  else
    rawset(self, "joined", { is_active = false })
  end
  return conn
end

--- The connection that this session's transaction runs on; taken from the engine when first needed.
function Session:connection()
  check(self, "connection")
  local conn = rawget(self, "conn")
  if not conn or conn.closed then
    conn = self.bound and join(self) or self.engine:connect()
    rawset(self, "conn", conn)
  end
  return conn
end

local function release(self)
  local conn = rawget(self, "conn")
  rawset(self, "conn", false)
  if conn and not self.bound and not conn.closed then
    conn:close()
  elseif self.joined and self.joined.is_active then
    self.joined:rollback()
  end
  rawset(self, "joined", false)
end

--- Whether a transaction is open.
function Session:in_transaction()
  check(self, "in_transaction")
  local conn = rawget(self, "conn")
  return conn and conn:in_transaction() or false
end

-- ---- what it holds ----

--- Puts an object, and what its relationships cascade to, into the session. It is written at the next flush.
---@param object userdata
function Session:add(object)
  check(self, "add")
  check_object(object, "session:add()")
  telling(self, { object }, core.add, self[1], object)
end

--- Adds every object of an array.
---@param objects userdata[]
function Session:add_all(objects)
  check(self, "add_all")
  if type(objects) ~= "table" and not core.is_collection(objects) then
    errors.raise("ArgumentError", "session:add_all() takes an array of objects, got %s", errors.show(objects))
  end
  for position = 1, #objects do
    check_object(objects[position], ("session:add_all(), item %d"):format(position))
    telling(self, { objects[position] }, core.add, self[1], objects[position])
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

local function in_session(self, object, call)
  if core.session_of(object) ~= self then
    errors.raise("InvalidRequestError", "%s: this object of class '%s' is not in this session", call,
      mapper_module.of_object(object).name)
  end
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
function Session:expunge(object)
  check(self, "expunge")
  check_object(object, "session:expunge()")
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

local function is_loaded(object, mapper, property)
  return core.is_given(object, mapper:number_of(property.key))
end

-- What a delete cascades to: the related objects of relationships with that cascade, loaded when needed.
local function enlist_cascade(list, object)
  local mapper = mapper_module.of_object(object)
  for _, property in ipairs(mapper.relationships) do
    if property.cascade.delete and (not property.options.passive_deletes or is_loaded(object, mapper, property)) then
      local value = object[property.key]
      if property.uselist then
        for _, item in value do
          list[#list + 1] = item
        end
      elseif value then
        list[#list + 1] = value
      end
    end
  end
end

local function mark_deleted(self, object)
  local state = core.state(object)
  if state == "persistent" then
    return core.delete(self[1], object)
  elseif state == "pending" then
    core.expunge(self[1], object)
  end
  return false
end

-- Loads on the way must not flush: half of the cascade would be written.
local function mark_cascade(self, object)
  local list, position = { object }, 1
  while list[position] do
    if mark_deleted(self, list[position]) then
      enlist_cascade(list, list[position])
    end
    position = position + 1
  end
end

--- Marks an object for deletion at the next flush, with what the delete cascade reaches.
---@param object userdata
function Session:delete(object)
  check(self, "delete")
  check_object(object, "session:delete()")
  local state = core.state(object)
  if state == "transient" or state == "pending" then
    errors.raise("InvalidRequestError", "session:delete(): this object of class '%s' has no row yet%s",
      mapper_module.of_object(object).name, state == "pending" and "; use session:expunge() to forget it" or "")
  elseif state == "detached" then
    core.add(self[1], object)
  end
  in_session(self, object, "session:delete()")
  self:no_autoflush(function() mark_cascade(self, object) end)
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
end

-- An object and what its cascade "refresh-expire" reaches; what has no row yet has nothing to be read again.
local function expire_reached(self, object)
  for _, one in ipairs(reached_by(object, "refresh-expire", self)) do
    if core.state(one) == "persistent" then
      core.forget(one)
      writing.forget_expressions(self, one)
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

--- Makes every object count as unloaded.
function Session:expire_all()
  check(self, "expire_all")
  core.expire_all(self[1])
end

-- Reads what is unloaded among the attributes; relationships by their own statements.
local function load_named(self, mapper, object, names)
  local columns
  for _, name in ipairs(names) do
    columns = columns or mapper.attributes[name] ~= nil
  end
  if columns then
    loading.refresh(self, mapper, object)
  end
  for _, name in ipairs(names) do
    local _ = object[name]
  end
end

--- Reads an object's row again, or only the named attributes; unflushed changes to them are lost.
---@param object userdata
---@param names? string[] attributes, relationships among them
function Session:refresh(object, names)
  check(self, "refresh")
  check_object(object, "session:refresh()")
  in_session(self, object, "session:refresh()")
  local mapper = mapper_module.of_object(object)
  if core.state(object) ~= "persistent" then
    errors.raise("InvalidRequestError", "session:refresh(): this object of class '%s' has no row yet", mapper.name)
  end
  self:autoflush_now()
  if names == nil then
    expire_reached(self, object)
  else
    unload(object, names, "session:refresh()")
  end
  local ok, err = pcall(names and load_named or loading.refresh, self, mapper, object, names)
  if not ok then
    if errors.is_error(err, "ObjectDeletedError") then
      errors.raise("InvalidRequestError", "session:refresh(): %s", err.message)
    end
    error(err, 0)
  end
end

-- ---- flush ----

local function flush_once(self)
  event.fire(self.dispatch, "before_flush", self)
  local written
  telling(self, nil, function() written = writing.write(self, self[1]) end)
  if written then
    event.fire(self.dispatch, "after_flush", self)
  end
end

--- Writes what is new, changed and deleted. All of it, or, when something fails, nothing: rows and objects are then as
--- they were, and the transaction goes on.
function Session:flush()
  check(self, "flush")
  if self.flushing then
    errors.raise("InvalidRequestError", "session:flush(): this session is flushing already (called from one of its hooks?)")
  elseif core.is_clean(self[1]) then
    return
  end
  rawset(self, "flushing", coroutine.running() or MAIN)
  local ok, err = pcall(flush_once, self)
  rawset(self, "flushing", false)
  if not ok then
    error(err, 0)
  end
end

-- An error of a flush that nobody asked for says where it comes from.
local function explained(err, cause)
  if not errors.is_error(err) or rawget(err, "autoflush") then
    return err
  end
  local what = cause ~= nil and ("before the query \"%s\""):format(tostring(cause):sub(1, 200)) or "before a load"
  local object = rawget(err, "object")
  err.autoflush = true
  err.message = ("%s (raised by an autoflush %s%s; if it comes too early, run the query in session:no_autoflush(fn))"):format(
    err.message, what, object and ", which was to write " .. tostring(object) or "")
  return err
end

--- Flushes where autoflush is on: what a query, or a lazy load, does first.
---@param cause? any the statement that is about to run
function Session:autoflush_now(cause)
  if self.autoflush and self.quiet == 0 and not self.flushing and not core.is_clean(self[1]) then
    local ok, err = pcall(self.flush, self)
    if not ok then
      error(explained(err, cause), 0)
    end
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
---@param options? { load: boolean } load = false: the state is taken as read from the database, nothing is asked
---@return userdata
function Session:merge(object, options)
  check(self, "merge")
  check_object(object, "session:merge()")
  return self:no_autoflush(function() return merging.merge(self, object, options) end)
end

--- Runs fn() with autoflush off and returns what it returns.
---@param fn function
function Session:no_autoflush(fn)
  check(self, "no_autoflush")
  rawset(self, "quiet", self.quiet + 1)
  local function finish(ok, ...)
    rawset(self, "quiet", self.quiet - 1)
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(fn, self))
end

-- ---- transactions ----

local function flush_all(self)
  for _ = 1, MAX_ROUNDS do
    self:flush()
    if core.is_settled(self[1]) then
      return
    end
  end
  errors.raise("FlushError", "session:commit(): hooks have made new work in %d flushes; one of them changes objects every time",
    MAX_ROUNDS)
end

local function end_transaction(self, method)
  local conn, joined = rawget(self, "conn"), self.joined
  if not conn or conn.closed then
    return
  elseif joined and joined.is_active then
    joined[method](joined)
  elseif not joined or method == "rollback" then
    conn[method](conn)
  end
end

-- Savepoints end with the transaction around them.
local function end_nested(self)
  for position = #self.nested, 1, -1 do
    self.nested[position].is_active = false
    self.nested[position] = nil
  end
end

--- Flushes and commits. Objects are expired afterwards unless the session was made with expire_on_commit = false.
function Session:commit()
  check(self, "commit")
  leave_flush(self, "commit")
  event.fire(self.dispatch, "before_commit", self)
  flush_all(self)
  local ok, err = pcall(end_transaction, self, "commit")
  if not ok then
    pcall(self.rollback, self)
    error(err, 0)
  end
  end_nested(self)
  telling(self, nil, core.committed, self[1], self.expire_on_commit)
  release(self)
  event.fire(self.dispatch, "after_commit", self)
end

--- Rolls back. New objects are transient again, deleted ones back, and every other one reads what the database holds.
function Session:rollback()
  check(self, "rollback")
  leave_flush(self, "rollback")
  local ok, err = pcall(end_transaction, self, "rollback")
  end_nested(self)
  writing.forget_expressions(self)
  telling(self, nil, core.rolled_back, self[1])
  release(self)
  event.fire(self.dispatch, "after_rollback", self)
  if not ok then
    error(err, 0)
  end
end

--- Rolls back what is not committed and lets go of all objects. The session can be used again.
function Session:close()
  errors.check_self(self, getmetatable(self) == MARK, "session:close")
  leave_flush(self, "close")
  end_nested(self)
  writing.forget_expressions(self)
  local ok, err = pcall(release, self)
  telling(self, hears_states(self.dispatch) and core.objects(self[1]) or nil, core.close, self[1])
  if not ok then
    error(err, 0)
  end
end
metatable.__close = Session.close

---@class orrery.Nested
---@field is_active boolean
local Nested = {}
local nested_metatable = { __index = Nested, __name = "orrery.Nested" }

-- Ends this savepoint in the session's list, with those that were set inside it.
local function leave_nested(self)
  local list = self.session.nested
  for position = #list, 1, -1 do
    local one = list[position]
    list[position], one.is_active = nil, false
    if one == self then
      return
    end
  end
end

local function check_active(self, call)
  errors.check_self(self, getmetatable(self) == nested_metatable, "nested:" .. call)
  if not self.is_active then
    errors.raise("InvalidRequestError", "nested:%s(): this savepoint has ended already", call)
  end
end

--- Flushes and keeps what was done since the savepoint, with the transaction around it.
function Nested:commit()
  check_active(self, "commit")
  self.session:flush()
  self.savepoint:commit()
  leave_nested(self)
end

--- Takes back what was done since the savepoint, rows and objects. Fine to call when it has ended.
function Nested:rollback()
  errors.check_self(self, getmetatable(self) == nested_metatable, "nested:rollback")
  if not self.is_active then
    return
  end
  leave_nested(self)
  local ok, err = pcall(self.savepoint.rollback, self.savepoint)
  telling(self.session, nil, core.rolled_back, self.session[1], self.deeds[1], self.deeds[2], self.deeds[3])
  if not ok then
    error(err, 0)
  end
end

Nested.close = Nested.rollback
nested_metatable.__close = Nested.rollback

local function new_nested(self)
  self:flush()
  local savepoint = self:connection():begin_nested()
  local nested = setmetatable({ session = self, savepoint = savepoint, deeds = { core.deeds(self[1]) }, is_active = true },
    nested_metatable)
  self.nested[#self.nested + 1] = nested
  return nested
end

--- Flushes, sets a savepoint and returns it, with :commit() and :rollback(); given a function, runs fn(session) in it,
--- keeps what that did and returns what it returns, or takes it back and raises its error again.
---@param ... any fn
---@return orrery.Nested
function Session:begin_nested(...)
  check(self, "begin_nested")
  local fn = transaction.block_arguments("session:begin_nested()", ...)
  local nested = new_nested(self)
  if not fn then
    return nested
  end
  return transaction.run(function() nested:commit() end, function() nested:rollback() end, fn, self)
end

local function run_block(self, fn, options)
  if self:in_transaction() then
    errors.raise("InvalidRequestError", "session:begin(): a transaction is open already; commit or roll back first")
  end
  self:connection():ensure_begun(options.mode ~= "read")
  return transaction.run(function() self:commit() end, function() self:rollback() end, fn, self)
end

--- begin() opens a transaction; begin(fn [, options]) runs fn(session) in one, commits, and returns what fn returns, or
--- rolls back and raises fn's error again.
---@param ... any fn, { mode = "read" | "write", retry = n }
function Session:begin(...)
  check(self, "begin")
  local fn, options = transaction.block_arguments("session:begin()", ...)
  if not fn then
    if self:in_transaction() then
      errors.raise("InvalidRequestError", "session:begin(): a transaction is open already; commit or roll back first")
    end
    self:connection():ensure_begun(false)
    return nil
  end
  return transaction.retrying(options.retry or 0, function() return run_block(self, fn, options) end)
end

-- ---- queries ----

-- Changes that wait (autoflush is off) outlive the statement: only the other objects are read again.
local function expire_unchanged(self)
  local changed = {}
  for _, name in ipairs({ "dirty", "deleted" }) do
    for _, object in ipairs(core.list(self[1], name)) do
      changed[object] = true
    end
  end
  for _, object in ipairs(core.objects(self[1])) do
    if not changed[object] then
      core.forget(object)
    end
  end
end

-- Objects that are not expired would hide what an UPDATE or DELETE statement has done.
local function after_statement(self, compiled)
  local stale = compiled.kind == "update" or compiled.kind == "delete" or (compiled.kind == "text" and not compiled.readonly)
  if stale and core.is_settled(self[1]) then
    core.expire_all(self[1])
  elseif stale then
    expire_unchanged(self)
  end
end

local function is_select(stmt)
  return type(stmt) == "table" and (stmt.visit == "select" or stmt.visit == "compound")
end

-- Rows, or objects where `scalars` and the statement selects one class.
-- Rows, or objects, of a select that brings relationships along by joins.
local function run_joined(self, select, links, lists, stmt, params, scalars)
  local compiled, values = self:connection():compile(select, params)
  local out = loading.run_joined(self, compiled, values, links, (stmt.execution or {}).populate_existing)
  local mapper = stmt.items[1].mapper
  eager.load_behind(self, mapper, out, stmt.loader_options)
  local names = { mapper.name }
  local row_metatable = not scalars and result.row_metatable(names)
  for position, object in ipairs(row_metatable and out or {}) do
    out[position] = setmetatable({ object }, row_metatable)
  end
  local made = result.from_array(out, row_metatable or names, scalars)
  return lists and result.must_be_unique(made) or made
end

local function run_select(self, stmt, params, scalars)
  local joined, links, lists = eager.join(stmt)
  if links then
    return run_joined(self, joined, links, lists, stmt, params, scalars)
  end
  local connection = self:connection()
  local compiled, values = connection:compile(stmt, params)
  if not loading.has_entities(compiled) then
    return nil
  end
  local plan = loading.plan_of(compiled)
  local options = stmt.execution or {}
  local out = loading.run(self, compiled, values, scalars, options.populate_existing)
  eager.load(self, compiled, out, scalars and plan.single, stmt.loader_options)
  if scalars and plan.single then
    return result.from_array(out, plan.names, true)
  end
  return result.from_array(out, plan.row_metatable)
end

--- What a legacy query gives: objects where the statement selects one class (then also true), rows otherwise.
---@param self table session
---@param stmt table
function session.objects_or_rows(self, stmt)
  self:autoflush_now(stmt)
  local found = run_select(self, stmt, nil, true)
  return found or self:connection():execute(stmt), found ~= nil and #found:keys() == 1
end

-- An insert or update whose returning() names a class: its objects hold what the statement has made of their rows.
local function run_returning(self, stmt, params, scalars)
  if stmt.visit ~= "insert" and stmt.visit ~= "update" then
    return nil
  elseif params ~= nil and params[1] ~= nil and stmt.visit == "insert" then
    stmt, params = stmt:values(params), nil
  end
  local connection = self:connection()
  local compiled, values = connection:compile(stmt, params)
  if not loading.has_entities(compiled) then
    return nil
  end
  local plan = loading.plan_of(compiled)
  local out = loading.run(self, compiled, values, scalars, true)
  return result.from_array(out, scalars and plan.single and plan.names or plan.row_metatable, scalars and plan.single)
end

local function returns_rows(stmt)
  return type(stmt) == "table" and rawget(stmt, "items") ~= nil
end

--- Runs a statement, flushing first. Selects of classes give rows of objects.
---@param stmt table select, insert, update, delete or text
---@param params? table values of named parameters, or an array of such sets
---@param options? table
---@return table result
function Session:execute(stmt, params, options)
  check(self, "execute")
  self:autoflush_now(stmt)
  local found = is_select(stmt) and run_select(self, stmt, params, false)
    or returns_rows(stmt) and run_returning(self, stmt, params, false)
  if found then
    return found
  end
  local connection = self:connection()
  local outcome = connection:execute(stmt, params, options)
  if type(stmt) == "table" and stmt.visit ~= "select" then
    after_statement(self, { kind = stmt.visit, readonly = outcome.returns_rows })
  end
  return outcome
end

--- The first item of each row: the objects of select(Class). NULL is orm.null.
---@param stmt table
---@param params? table
function Session:scalars(stmt, params)
  check(self, "scalars")
  self:autoflush_now(stmt)
  local found = is_select(stmt) and run_select(self, stmt, params, true)
    or returns_rows(stmt) and run_returning(self, stmt, params, true)
  if found then
    return found:scalars()
  end
  return self:execute(stmt, params):scalars()
end

local UPSERT_OPTIONS = { index_elements = true, update = true }

-- What a conflicting row is changed to: the named columns, or all that are given and not searched by, as they come in.
local function excluded_set(insert, rows, options)
  local names, searched, set = options.update, {}, {}
  for _, name in ipairs(options.index_elements) do
    searched[name] = true
  end
  if names == nil then
    names = {}
    for _, name in ipairs(errors.sorted_keys(rows[1])) do
      if not searched[name] then
        names[#names + 1] = name
      end
    end
  end
  for _, name in ipairs(names) do
    set[name] = insert.excluded[name]
  end
  return set
end

local UPSERT_ROWS = 100

local function upsert_some(self, class, rows, options)
  local insert = change.insert(class):values(rows)
  local set = excluded_set(insert, rows, options)
  if next(set) == nil then
    errors.raise("ArgumentError", "session:upsert(): there is nothing to update: the rows have no column besides index_elements")
  end
  return self:scalars(insert:on_conflict_do_update({ index_elements = options.index_elements, set = set }):returning(class)):all()
end

--- Inserts rows, or updates those that are there already; the objects of all of them.
---@param class userdata
---@param rows table<string, any>[] plain tables of one shape
---@param options? { index_elements: string[], update: string[] } columns that tell whether a row is there (default: the
--- primary key), and columns to update then (default: all that are given)
---@return userdata[]
function Session:upsert(class, rows, options)
  check(self, "upsert")
  local mapper = mapper_module.of(class, "session:upsert()")
  mapper:configure()
  options = errors.check_options(options, UPSERT_OPTIONS, "session:upsert()")
  if type(rows) ~= "table" or (rows[1] == nil and next(rows) ~= nil) then
    errors.raise("ArgumentError", "session:upsert(): an array of rows expected, { { name = \"x\" }, ... }")
  end
  options = { index_elements = options.index_elements or writing.key_names(mapper), update = options.update }
  local objects = {}
  for first = 1, #rows, UPSERT_ROWS do
    local some = {}
    for position = first, math.min(first + UPSERT_ROWS - 1, #rows) do
      some[#some + 1] = rows[position]
    end
    for _, object in ipairs(upsert_some(self, class, some, options)) do
      objects[#objects + 1] = object
    end
  end
  return objects
end

--- The first item of the first row, or nil.
---@param stmt table
---@param params? table
function Session:scalar(stmt, params)
  check(self, "scalar")
  return self:scalars(stmt, params):first()
end

-- ---- by primary key ----

local function key_value(mapper, key, column, position)
  local value = key[position]
  if value == nil then
    value = key[mapper.key_names[position]]
  end
  if value == nil or value == core.null then
    errors.raise("ArgumentError", "session:get(%s): the key lacks '%s'", mapper.name, column.name)
  end
  return value
end

-- The key as an array in the order of the primary key's columns.
local function key_array(mapper, key)
  local columns = mapper.table.primary_key
  if key == nil or key == core.null then
    errors.raise("ArgumentError", "session:get(%s): the key is nil; a row's key is never NULL", mapper.name)
  elseif type(key) ~= "table" then
    key = { key }
  end
  if #key > #columns or (#key > 0 and #key < #columns) then
    errors.raise("ArgumentError", "session:get(%s): the primary key has %d column(s), got %d value(s)", mapper.name, #columns,
      #key)
  end
  mapper.key_names = mapper.key_names or writing.key_names(mapper)
  local values = {}
  for position, column in ipairs(columns) do
    values[position] = key_value(mapper, key, column, position)
  end
  return values
end

local GET_OPTIONS = { populate_existing = true }

local function find(self, mapper, values)
  local object, expired = core.find(self[1], mapper.class, (table.unpack or unpack)(values))
  if not object then
    return nil
  elseif core.is_deleting(object) then
    return nil, true
  elseif expired then
    local ok, err = pcall(loading.refresh, self, mapper, object)
    if not ok then
      if errors.is_error(err, "ObjectDeletedError") then
        return nil, true
      end
      error(err, 0)
    end
  end
  return object
end

function get_slow(self, class, key, options)
  check(self, "get")
  local mapper = mapper_module.of(class, "session:get()")
  mapper:configure()
  options = errors.check_options(options, GET_OPTIONS, "session:get()")
  local values = key_array(mapper, key)
  if not options.populate_existing then
    local object, gone = find(self, mapper, values)
    if object or gone then
      return object
    end
  end
  return loading.by_key(self, mapper, values, options.populate_existing)
end
session.getter = core.getter(get_slow)

--- The object with a primary key, from the session or the database; nil where there is none.
---@param class userdata
---@param key any the value, or an array (or table by name) for a composite key
---@param options? { populate_existing: boolean }
function Session.get(self, class, key, options)
  return session.getter(self, class, key, options)
end

--- The same; NoResultFound where there is none.
---@param class userdata
---@param key any
---@param options? table
function Session:get_one(class, key, options)
  local object = session.getter(self, class, key, options)
  if object == nil then
    errors.raise("NoResultFound", "session:get_one(%s): no row has the key %s", mapper_module.of(class).name,
      type(key) == "table" and "given" or errors.show(key))
  end
  return object
end

session.methods = Session

return session
