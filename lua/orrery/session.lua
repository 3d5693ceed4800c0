--- session: makes sessions: the unit of work as a script sees it. What a session can do is in session_objects,
-- session_transaction and session_query.
local import = ...
local errors = import "errors"
local core = import "core"
local event = import "event"
local mapper_module = import "mapper"
local eager = import "eager"
local session_class = import "session_class"
local session_objects = import "session_objects"
import "session_transaction"
local session_query = import "session_query"
local binding = import "binding"

local session = {}

local OPTIONS = { autoflush = true, expire_on_commit = true, join_transaction_mode = true, bind = true,
  binds = true, info = true, lazy = true }
local JOIN_MODES = { conditional_savepoint = true, create_savepoint = true, rollback_only = true, control_fully = true }

local function is_engine(target)
  return type(target) == "table" and type(target.connect) == "function"
end

local function is_connection(target)
  return type(target) == "table" and type(target.begin_nested) == "function" and rawget(target, "engine")
end

-- A session on a connection works inside what is open there; on an engine it takes connections as it needs them.
local function split_target(target, call)
  if is_engine(target) then
    return target, false
  elseif is_connection(target) then
    return target.engine, target
  end
  errors.raise("ArgumentError", "%s: an engine (or a connection) expected, got %s", call, errors.show(target))
end

-- The options may stand alone, with the engine among them.
local function split_arguments(target, options, call)
  if options == nil and type(target) == "table" and not is_engine(target) and not is_connection(target) then
    target, options = nil, target
  end
  options = errors.check_options(options, OPTIONS, call)
  if target ~= nil and options.bind ~= nil then
    errors.raise("ArgumentError", "%s: the engine is given twice, as argument and as bind", call)
  end
  return target or options.bind, options
end

local function copy(...)
  local merged = {}
  for position = 1, select("#", ...) do
    for key, value in pairs((select(position, ...)) or {}) do
      merged[key] = value
    end
  end
  return merged
end

local SWITCHES = { "autoflush", "expire_on_commit" }

local function check_switches(options, call)
  for _, name in ipairs(SWITCHES) do
    if options[name] ~= nil and type(options[name]) ~= "boolean" then
      errors.raise("ArgumentError", "%s: %s is true or false, got %s", call, name, errors.show(options[name]))
    end
  end
  if options.info ~= nil and type(options.info) ~= "table" then
    errors.raise("ArgumentError", "%s: info is a table, got %s", call, errors.show(options.info))
  end
end

local function check_mode(mode, call)
  if not JOIN_MODES[mode] then
    errors.raise("ArgumentError", "%s: join_transaction_mode = %s is not known%s", call, errors.show(mode),
      errors.hint(tostring(mode), errors.sorted_keys(JOIN_MODES)))
  end
  return mode
end

-- What the session works on, and with `binds` which of it is meant by which class.
local function find_seats(target, binds)
  local default = (target ~= nil or binds == nil) and binding.seat(split_target(target, "Session()"))
  if binds == nil then
    return { default }, false
  end
  local seats, by_key = binding.read(binds, default, split_target)
  if not seats[1] then
    errors.raise("ArgumentError", "Session(): binds is empty, and there is no engine")
  end
  return seats, by_key
end

local function new_session(target, options, common)
  check_switches(options, "Session()")
  local seats, by_key = find_seats(target, options.binds)
  local engine = seats[1].engine
  local self = { false, engine = engine, seats = seats, seat = (target ~= nil) and seats[1], by_key = by_key, nested = {},
    expressions = {},
    join_mode = check_mode(options.join_transaction_mode or "conditional_savepoint", "Session()"),
    autoflush = options.autoflush ~= false, expire_on_commit = options.expire_on_commit ~= false,
    lazy = eager.late_strategy(options.lazy, "Session()") or engine.lazy,
    info = copy(options.info), dispatch = session_class.new_dispatch(common), flushing = false,
    block = false, unsettled = false, quiet = 0, watching = false }
  -- Fields of their own: found without __index, since this is what sessions are asked for most.
  local Session = session_class.Session
  self.get, self.connection, self.autoflush_now = session_query.getter, Session.connection, Session.autoflush_now
  return session_class.new(self)
end

--- A session on an engine, or on a connection that the script has. Begins its transaction with the first statement.
---@param target? orrery.Engine|orrery.Connection may also stand among the options, as `bind`
---@param options? { autoflush: boolean, expire_on_commit: boolean, join_transaction_mode: string, info: table,
--- lazy: string, binds: table } true, true, "conditional_savepoint", an empty table, and what the engine says by default; binds:
--- which engine classes, bases and tables have, { [User] = engine }
---@return orrery.Session
function session.Session(target, options)
  target, options = split_arguments(target, options, "Session()")
  return new_session(target, options)
end

-- ---- factories ----

---@class orrery.SessionMaker
---@field options table
local Maker = {}
local maker_metatable = { __index = errors.guard(Maker, "a sessionmaker"), __metatable = { __name = "orrery.SessionMaker" } }

local function check_maker(self, call)
  errors.check_self(self, getmetatable(self) == maker_metatable.__metatable, "sessionmaker:" .. call)
end

--- A new session; `own` options go before those of the factory. The table `info` of each session has both.
---@param own? table
---@return orrery.Session
function maker_metatable.__call(self, own)
  own = errors.check_options(own, OPTIONS, "sessionmaker()()")
  local options = copy(self.options, own)
  options.info = copy(self.options.info, own.info)
  return new_session(options.bind, options, self.dispatch)
end

--- Changes the options of sessions that are made from now on; `bind` is the engine.
---@param options table
function Maker:configure(options)
  check_maker(self, "configure")
  options = errors.check_options(options, OPTIONS, "sessionmaker:configure()")
  self.options = copy(self.options, options, { info = copy(self.options.info, options.info) })
end

--- Makes a session, runs fn(session) in a transaction of it, commits and closes it. Returns what fn returns; an error rolls
--- back and is raised again.
---@param fn fun(session: orrery.Session): any
---@param options? { mode: string, retry: integer } as session:begin() takes them
function Maker:begin(fn, options)
  check_maker(self, "begin")
  local made = self()
  local function finish(ok, ...)
    made:close()
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(made.begin, made, fn, options))
end

--- A function that makes sessions with the same options. Who listens to it hears of all of them.
---@param target? orrery.Engine may come later, by configure{ bind = engine }
---@param options? table as Session() takes them
---@return orrery.SessionMaker
function session.sessionmaker(target, options)
  target, options = split_arguments(target, options, "sessionmaker()")
  if target ~= nil then
    split_target(target, "sessionmaker()")
  end
  return setmetatable({ options = copy(options, { bind = target }), dispatch = session_class.new_dispatch() }, maker_metatable)
end

event.find_by(function(target)
  if getmetatable(target) == maker_metatable.__metatable then
    core.hear_attaching()
    return target.dispatch
  end
end)

-- ---- one session for each scope ----

local Scoped = {}

local function whole_program()
  return "the program"
end

local function current(self)
  local key = self.scope()
  if key == nil then
    errors.raise("InvalidRequestError", "scoped_session: the scope function returned nil; there is no session outside a scope")
  end
  local found = self.sessions[key]
  if not found then
    found = self.make()
    self.sessions[key] = found
  end
  return found
end

--- Closes the session of the present scope and forgets it; the next use makes a new one.
function Scoped.remove(scoped)
  local self = getmetatable(scoped).state
  local key = self.scope()
  local found = key ~= nil and self.sessions[key]
  if found then
    self.sessions[key] = nil
    found:close()
  end
end

-- Methods of the session at hand, made once each: they take the scoped session as their first argument.
local function forwarded(state, name)
  return function(scoped, ...)
    errors.check_self(scoped, type(scoped) == "table" and getmetatable(scoped) ~= nil, "session:" .. name)
    local own = current(state)
    return own[name](own, ...)
  end
end

--- Stands for the session of the present scope (a request, a coroutine): methods and properties are that session's, which
--- is made when it is first used. `scoped()` is the session itself, `scoped:remove()` closes it at the end of the scope.
---@param make orrery.SessionMaker|fun(): orrery.Session
---@param scope? fun(): any tells scopes apart; by default the whole program is one
function session.scoped_session(make, scope)
  if type(make) ~= "function" and getmetatable(make) ~= maker_metatable.__metatable then
    errors.raise("ArgumentError", "scoped_session(): a sessionmaker (or a function that makes sessions) expected, got %s",
      errors.show(make))
  end
  local state = { make = make, scope = scope or whole_program, sessions = setmetatable({}, { __mode = "k" }) }
  local methods = {}
  local metatable = { state = state, __name = "orrery.ScopedSession" }
  function metatable.__index(_, key)
    if Scoped[key] or methods[key] then
      return Scoped[key] or methods[key]
    end
    local value = current(state)[key]
    if type(value) ~= "function" then
      return value
    end
    methods[key] = forwarded(state, key)
    return methods[key]
  end
  function metatable.__newindex(_, key, value)
    current(state)[key] = value
  end
  function metatable.__call()
    return current(state)
  end
  return setmetatable({}, metatable)
end

event.find_by(function(target)
  local mark = type(target) == "table" and getmetatable(target)
  if type(mark) ~= "table" or mark.__name ~= "orrery.ScopedSession" then
    return nil
  end
  core.hear_attaching()
  local make = mark.state.make
  return type(make) == "function" and rawget(current(mark.state), "dispatch") or make.dispatch
end)

-- ---- objects and their sessions ----

local function check_object(object, call)
  session_class.check_object(object, call)
  return mapper_module.of_object(object)
end

--- The session that an object is in, or nil.
---@param object userdata
---@return orrery.Session?
function session.object_session(object)
  check_object(object, "object_session()")
  return core.session_of(object)
end

--- Whether the object's row was deleted by a flush, in this transaction or one that is committed.
---@param object userdata
---@return boolean
function session.was_deleted(object)
  check_object(object, "was_deleted()")
  return core.was_deleted(object)
end

session.make_transient = session_objects.make_transient
session.make_transient_to_detached = session_objects.make_transient_to_detached
session.objects_or_rows = session_query.objects_or_rows
session.methods = session_class.Session

return session
