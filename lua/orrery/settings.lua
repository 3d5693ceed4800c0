--- settings: the execution options of engines, connections, statements and single calls: which there are, what they may
-- hold, and how a connection's slot is brought to what they say. Runs nothing but the statements that set an isolation level.
local import = ...
local errors = import "errors"

local settings = {}

local OPTIONS = { isolation_level = true, readonly = true, timeout = true, yield_per = true }

local function check_seconds(value, call)
  if value ~= nil and (type(value) ~= "number" or value < 0 or value ~= value) then
    errors.raise("ArgumentError", "%s: timeout is a number of seconds, 0 for no limit; got %s", call, errors.show(value))
  end
end

local function check_size(value, call)
  if value ~= nil and (type(value) ~= "number" or value < 1 or value ~= value) then
    errors.raise("ArgumentError", "%s: yield_per is a number of rows from 1, got %s", call, errors.show(value))
  end
end

-- Names that begin with "_" are the script's own, for its listeners, as they are on objects.
local OWN = { __index = function(_, name) return name:sub(1, 1) == "_" or nil end }

local OF_STATEMENT = setmetatable({ timeout = true, yield_per = true, populate_existing = true, synchronize_session = true,
  autoflush = true }, OWN)
local OF_CALL = setmetatable({ timeout = true, yield_per = true }, OWN)
local OF_SESSION = setmetatable({ timeout = true, yield_per = true, populate_existing = true, autoflush = true,
  execution_options = true }, OWN)

local function check_values(options, call)
  check_seconds(options.timeout, call)
  check_size(options.yield_per, call)
  return options
end

--- What a statement says of its own execution, with further options.
---@param before? table
---@param options table
---@return table
function settings.of_statement(before, options)
  local call, merged = "execution_options()", {}
  if type(options) ~= "table" then
    errors.raise("ArgumentError", "execution_options{ name = value }: a table expected, got %s", type(options))
  end
  check_values(errors.check_options(options, OF_STATEMENT, call), call)
  for _, source in ipairs{ before or {}, options } do
    for name, value in pairs(source) do
      merged[name] = value
    end
  end
  return merged
end

--- Checks the options of one execute().
---@param options? table
---@return table options
function settings.of_call(options)
  return check_values(errors.check_options(options, OF_CALL, "execute()"), "execute()")
end

local NONE = {}

-- What a statement says of its execution.
local function own_options(stmt)
  local mark = getmetatable(stmt)
  return type(mark) == "table" and mark.__statement and stmt.execution or NONE
end

--- Checks the options of one execute() of a session, which may stand in `execution_options` as on a statement, and puts
--- what the statement says below them.
---@param options? table
---@param stmt any
---@return table execution what holds for this execution
---@return table? of_connection what the connection is told
function settings.of_session(options, stmt)
  local own = own_options(stmt)
  if options == nil then
    return own, nil
  end
  options = check_values(errors.check_options(options, OF_SESSION, "session:execute()"), "session:execute()")
  local merged = settings.of_statement(own, options.execution_options or {})
  for name, value in pairs(options) do
    merged[name] = value
  end
  return merged, { timeout = merged.timeout, yield_per = merged.yield_per }
end

--- What a statement says of its execution, with options over it that are known to be right.
---@param stmt any
---@return table
function settings.over(stmt, ...)
  local merged = {}
  for _, source in ipairs{ own_options(stmt), ... } do
    for name, value in pairs(source) do
      merged[name] = value
    end
  end
  return merged
end

local function check_level(engine, level, call)
  if level ~= nil and engine.driver.isolation[level] == nil then
    errors.raise("ArgumentError", "%s: there is no isolation level %s%s", call, errors.show(level),
      errors.hint(level, errors.sorted_keys(engine.driver.isolation)))
  end
end

--- Options by name over others, both checked.
---@param engine table
---@param base table what holds where they say nothing
---@param options table
---@param call string
---@return table
function settings.merge(engine, base, options, call)
  options = errors.check_options(options, OPTIONS, call)
  check_level(engine, options.isolation_level, call)
  check_values(options, call)
  local merged = {}
  for name in pairs(OPTIONS) do
    merged[name] = options[name]
    if merged[name] == nil then
      merged[name] = base[name]
    end
  end
  return merged
end

--- How long a statement may run on this connection from here on.
---@param self table connection
---@param seconds? number
function settings.set_timeout(self, seconds)
  if self.slot.timeout ~= seconds then
    self.dbc:set_timeout(seconds or 0)
    self.slot.timeout = seconds
  end
end

-- A slot keeps the level that it was left with.
local function set_level(self, level)
  local setting = self.engine.driver.isolation[level]
  if setting and self.slot.isolation_level ~= level then
    self.dbc:exec(setting)
    self.slot.isolation_level = level
  end
end

--- Gives the slot what this connection's options say.
---@param self table connection
function settings.apply(self)
  local options = self.options
  self.readonly = options.readonly or false
  self.autocommit = options.isolation_level == "AUTOCOMMIT"
  set_level(self, options.isolation_level or (self.slot.isolation_level and self.engine.driver.default_isolation))
  settings.set_timeout(self, options.timeout)
end

return settings
