--- event: functions that listen to what happens to a target (an engine, a session, a class, an attribute). Keeps the
-- lists and calls them; what the events are, and when they fire, is each target's own affair.
--
-- A target has a dispatch table: event name to its array of listeners, absent while nobody listens, so that
-- whoever fires pays one field access for silence:
--
--     if dispatch.begin then event.fire(dispatch, "begin", connection) end
local import = ...
local errors = import "errors"
local core = import "core"

local event = {}

local specs, finders = setmetatable({}, { __mode = "k" }), {}

--- Declares the events of one sort of target.
---@param what string as an error names it: "engine"
---@param names string[] its events
---@return function new makes the dispatch table of one target
---@param heard? function(dispatch, name) is called when somebody begins to listen
---@param values? table<string, boolean> events whose listeners may decide a value, by the option retval
function event.define(what, names, heard, values)
  local spec = { what = what, names = names, known = {}, heard = heard, values = values or {} }
  for _, name in ipairs(names) do
    spec.known[name] = true
  end
  return function()
    local dispatch = {}
    specs[dispatch] = spec
    return dispatch
  end
end

--- Teaches listen() to find the dispatch table of further targets.
---@param finder function takes any value, returns its dispatch table or nil
function event.find_by(finder)
  finders[#finders + 1] = finder
end

local function dispatch_of(target, name, call)
  for _, finder in ipairs(finders) do
    local dispatch = finder(target)
    if dispatch then
      local spec = specs[dispatch]
      if not spec.known[name] then
        errors.raise("ArgumentError", "%s: there is no event '%s' of %s %s%s", call, tostring(name),
          spec.what:find("^[aeiou]") and "an" or "a", spec.what, errors.hint(name, spec.names))
      end
      return dispatch
    end
  end
  errors.raise("ArgumentError", "%s: %s has no events; they belong to an engine, a session, a class or an attribute",
    call, core.class_of(target) and "an object (listen to its class)" or errors.show(target))
end

local function check_listener(listener, call)
  if type(listener) ~= "function" then
    errors.raise("ArgumentError", "%s: the third argument is the function to call, got %s", call,
      errors.show(listener))
  end
end

local function position_of(listeners, listener)
  for position, entry in ipairs(listeners or {}) do
    if entry.fn == listener then
      return position
    end
  end
end

-- Lists are replaced, never changed, so that a listener may listen and remove while its event is on its way.
local function copy(listeners)
  local list = {}
  for position, entry in ipairs(listeners or {}) do
    list[position] = entry
  end
  return list
end

local OPTIONS = { once = true, insert = true, retval = true }

--- Calls `listener` whenever the event happens. The same function listens once only.
---@param target any an engine, session, class or attribute
---@param name string the event
---@param listener function
---@param options? { once: boolean, insert: boolean, retval: boolean } for one time only; before those that listen already;
--- what it returns is the value from then on (attribute events)
---@return function listener
function event.listen(target, name, listener, options)
  local dispatch = dispatch_of(target, name, "event.listen()")
  check_listener(listener, "event.listen()")
  options = errors.check_options(options, OPTIONS, "event.listen()")
  local spec = specs[dispatch]
  if options.retval and not spec.values[name] then
    errors.raise("ArgumentError", "event.listen(): retval is for attribute events that bring a value; nobody looks at what a "
      .. "listener of '%s' returns", name)
  end
  if not position_of(dispatch[name], listener) then
    local list = copy(dispatch[name])
    table.insert(list, options.insert and 1 or #list + 1, { fn = listener, once = options.once,
      retval = options.retval })
    dispatch[name] = list
    if spec.heard then
      spec.heard(dispatch, name)
    end
  end
  return listener
end

local function drop(dispatch, name, listener)
  local position = position_of(dispatch[name], listener)
  if position then
    local list = copy(dispatch[name])
    table.remove(list, position)
    -- A list that has become empty stands for itself where those of another target show through.
    dispatch[name] = list[1] and list or getmetatable(dispatch) and list or nil
  end
  return position ~= nil
end

--- Ends what listen() began; an error where the function does not listen.
---@param target any
---@param name string
---@param listener function
function event.remove(target, name, listener)
  local dispatch = dispatch_of(target, name, "event.remove()")
  check_listener(listener, "event.remove()")
  if not drop(dispatch, name, listener) then
    errors.raise("InvalidRequestError", "event.remove(): this function does not listen to '%s'", name)
  end
end

--- Whether the function listens to the event.
---@param target any
---@param name string
---@param listener function
---@return boolean
function event.contains(target, name, listener)
  return position_of(dispatch_of(target, name, "event.contains()")[name], listener) ~= nil
end

--- Calls the listeners of an event in their order.
---@param dispatch table
---@param name string
function event.fire(dispatch, name, ...)
  local listeners = dispatch[name]
  if not listeners then
    return
  end
  for position = 1, #listeners do
    local entry = listeners[position]
    if not entry.once or drop(dispatch, name, entry.fn) then
      entry.fn(...)
    end
  end
end

--- The same where listeners may decide the value: calls fn(object, value, ...) and returns what the value is then.
---@param dispatch table
---@param name string
---@param object any
---@param value any
---@return any
function event.fire_value(dispatch, name, object, value, ...)
  local listeners = dispatch[name]
  for position = 1, listeners and #listeners or 0 do
    local entry = listeners[position]
    if not entry.once or drop(dispatch, name, entry.fn) then
      local returned = entry.fn(object, value, ...)
      if entry.retval then
        value = returned
      end
    end
  end
  return value
end

--- Calls them one after the other until one returns something, and gives that.
---@param dispatch table
---@param name string
---@return any
function event.ask(dispatch, name, ...)
  local listeners = dispatch[name]
  for position = 1, listeners and #listeners or 0 do
    local entry, answer = listeners[position], nil
    if not entry.once or drop(dispatch, name, entry.fn) then
      answer = entry.fn(...)
    end
    if answer ~= nil then
      return answer
    end
  end
end

return event
