--- session: makes sessions: the unit of work as a script sees it. What a session can do is in session_objects,
-- session_transaction and session_query.
local import = ...
local errors = import "errors"
local session_class = import "session_class"
import "session_objects"
import "session_transaction"
local session_query = import "session_query"

local session = {}

local OPTIONS = { autoflush = true, expire_on_commit = true, join_transaction_mode = true }
local JOIN_MODES = { conditional_savepoint = true, create_savepoint = true, rollback_only = true, control_fully = true }

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
    conn = false, flushing = false, quiet = 0 }
  -- A field of its own: found without __index, since identity map hits are what sessions are asked for most.
  self.get = session_query.getter
  return session_class.new(self)
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

session.objects_or_rows = session_query.objects_or_rows
session.methods = session_class.Session

return session
