--- session_class: the class of sessions: what their methods have in common, which properties and events they have, and how
-- changes of their objects' states are told. The methods are in session_objects, session_transaction and session_query.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local event = import "event"
local transaction = import "transaction"
local mapper_module = import "mapper"
local writing = reading.later "writing"

local session_class = {}

---@class orrery.Session
---@field engine orrery.Engine
---@field new userdata[] objects that wait for their INSERT
---@field dirty userdata[] objects with changes
---@field deleted userdata[] objects that wait for their DELETE
---@field info table the script's own
---@field is_active boolean false where its changes were rolled back under it and rollback() must come first
local Session = {}

-- Changes of objects' states, by the states' names.
local STATE_EVENTS = { "transient_to_pending", "pending_to_transient", "pending_to_persistent", "persistent_to_transient",
  "persistent_to_deleted", "deleted_to_persistent", "deleted_to_detached", "persistent_to_detached",
  "detached_to_persistent" }
local EVENTS = { "before_flush", "after_flush", "after_flush_postexec", "before_commit", "after_commit", "after_rollback",
  "after_soft_rollback", "after_begin", "before_attach", "after_attach", "do_orm_execute",
  (table.unpack or unpack)(STATE_EVENTS) }
local new_dispatch = event.define("session", EVENTS)

local PROPERTIES = {
  new = function(self) return core.list(self[1], "new") end,
  dirty = function(self) return core.list(self[1], "dirty") end,
  deleted = function(self)
    writing.cascade_deletes(self, self[1])
    return core.list(self[1], "deleted")
  end,
  is_active = function(self)
    for _, seat in ipairs(self.seats) do
      if seat.conn and transaction.is_lost(seat.conn) then
        return false
      end
    end
    return true
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

function metatable.__close(self)
  self:close()
end

--- The listeners of a session, or of a factory of sessions.
---@param common? table those of the factory, which hear of each session that it makes
---@return table
function session_class.new_dispatch(common)
  local dispatch = new_dispatch()
  return common and setmetatable(dispatch, { __index = common }) or dispatch
end

--- A session of these fields, whose first place is for the handle: what is there already is found fastest.
---@param self table
---@return orrery.Session
function session_class.new(self)
  self[1] = core.session(self)
  return setmetatable(self, metatable)
end

local function check(self, call)
  if getmetatable(self) ~= MARK then
    errors.check_self(self, false, "session:" .. call)
  end
end

-- The main thread, which has no coroutine on Lua 5.1.
local MAIN = {}

local function enter_flush(self)
  rawset(self, "flushing", coroutine.running() or MAIN)
end

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

local function is_list(value)
  return type(value) == "table" and getmetatable(value) == nil and core.class_of(value[1]) ~= nil
end

local function check_object(object, call)
  if not core.class_of(object) then
    errors.raise("UnmappedInstanceError", "%s: a mapped object expected, got %s%s", call, errors.show(object),
      core.is_class(object) and " (a class; make an object of it with {...})" or is_list(object)
      and " (an array; session:add_all() takes those)" or "")
  end
end

event.find_by(function(target)
  if getmetatable(target) == MARK then
    core.hear_attaching()
    return rawget(target, "dispatch")
  end
end)

--- Raises unless the object is in the session.
---@param self orrery.Session
---@param object userdata
---@param call string
local function in_session(self, object, call)
  if core.session_of(object) ~= self then
    errors.raise("InvalidRequestError", "%s: this object of class '%s' is not in this session", call,
      mapper_module.of_object(object).name)
  end
end

-- ---- changes of state ----

local function hears_states(dispatch)
  for _, name in ipairs(STATE_EVENTS) do
    if dispatch[name] then
      return true
    end
  end
  return false
end

-- The objects whose state a step can change, with the state that they have.
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

local function tell_state(self, object, before, after)
  local name = before .. "_to_" .. after
  if before ~= after and self.dispatch[name] then
    event.fire(self.dispatch, name, self, object)
  end
end

-- Runs a step of the session and tells those who listen which objects have changed their state by it. What comes in is
-- told as it comes, by the hook below.
local function telling(self, objects, step, ...)
  if not hears_states(self.dispatch) then
    return step(...)
  end
  local states = states_before(self, objects)
  step(...)
  for _, object in ipairs(states) do
    tell_state(self, object, states[object], (core.state(object)))
  end
end

core.hook("attaching", function(self, object)
  event.fire(self.dispatch, "before_attach", self, object)
end)

core.hook("attached", function(self, object, before)
  event.fire(self.dispatch, "after_attach", self, object)
  tell_state(self, object, before, (core.state(object)))
end)

-- Tells those who listen of an object that counts as unloaded from now on, or some of its attributes; or of all objects.
local function tell_expired(self, object, names)
  if not mapper_module.hears_expiry then
    return
  end
  for _, one in ipairs(object and { object } or core.objects(self[1])) do
    mapper_module.fire(mapper_module.of_object(one), "expire", one, names)
  end
end

session_class.Session = Session
session_class.tell_expired = tell_expired
session_class.check = check
session_class.check_object = check_object
session_class.in_session = in_session
session_class.enter_flush = enter_flush
--- Forgets the expressions that wait for an object, or all of them.
---@param object? userdata
function Session:forget_expressions(object)
  local list = self.expressions
  for position = #list, 1, -1 do
    if object == nil or list[position].object == object then
      table.remove(list, position)
    end
  end
end

session_class.leave_flush = leave_flush
session_class.hears_states = hears_states
session_class.telling = telling

return session_class
