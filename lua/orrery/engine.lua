--- engine: what a script makes from a URL: the dialect, the pool and the options that its connections share.
local import = ...
local core = import "core"
local errors = import "errors"
local event = import "event"
local compiler = import "compiler"
local url_module = import "url"
local pool_module = import "pool"
local connection = import "connection"
local transaction = import "transaction"

local engine = {}

---@class orrery.Engine
---@field url orrery.URL
---@field name string the dialect's name
---@field dialect table
---@field pool table
---@field echo boolean|function
local Engine = {}

local metatable = { __index = Engine, __name = "orrery.Engine" }

local new_dispatch = event.define("engine", {
  "connect", "checkout", "checkin", "begin", "commit", "rollback", "savepoint", "release_savepoint",
  "rollback_savepoint", "before_execute", "after_execute", "before_cursor_execute", "after_cursor_execute",
  "handle_error",
})

event.find_by(function(target)
  return type(target) == "table" and getmetatable(target) == metatable and target.dispatch or nil
end)

--- Whether a value is an engine.
---@param value any
---@return boolean
function engine.is_engine(value)
  return type(value) == "table" and getmetatable(value) == metatable
end

local function check(self, call)
  errors.check_self(self, engine.is_engine(self), "engine:" .. call)
end

-- ---- what a URL says ----

local OPTIONS = {
  echo = true, hide_parameters = true, readonly = true, timeout = true,
  pool_size = true, max_overflow = true, query_cache_size = true,
}

local MODES = {
  ro = { readonly = true },
  rw = { create = false },
  rwc = { create = true },
  memory = { memory = true },
}

-- What may stand behind the "?" of a SQLite URL: each reads its value, and says what it wants where that is wrong.
local SQLITE_QUERY = {
  mode = function(target, value)
    for name, setting in pairs(MODES[value] or {}) do
      target[name] = setting
    end
    return not MODES[value] and "ro, rw, rwc or memory" or nil
  end,
  timeout = function(target, value)
    target.busy_timeout = tonumber(value)
    return not target.busy_timeout and "a number of seconds" or nil
  end,
  uri = function(target, value)
    target.uri = value == "true"
    return value ~= "true" and value ~= "false" and "true or false" or nil
  end,
}

-- With uri=true, the file's name is a URI of SQLite's own, and options that are not ours are its.
local function pass_on(target, names, query)
  local parts = {}
  for _, name in ipairs(names) do
    parts[#parts + 1] = name .. "=" .. query[name]
  end
  if parts[1] then
    target.database = target.database .. "?" .. table.concat(parts, "&")
  end
end

local function read_query(url, target)
  local others = {}
  for _, name in ipairs(errors.sorted_keys(url.query)) do
    local read, value = SQLITE_QUERY[name], url.query[name]
    local wanted = read and read(target, value)
    if wanted then
      errors.raise("ArgumentError", "create_engine(): %s in the URL must be %s, got %s", name, wanted,
        errors.show(value))
    elseif not read and url.query.uri == "true" then
      others[#others + 1] = name
    elseif not read then
      errors.raise("ArgumentError", "create_engine(): unknown option '%s' in the URL '%s'%s", name, tostring(url),
        errors.hint(name, errors.sorted_keys(SQLITE_QUERY)))
    end
  end
  pass_on(target, others, url.query)
end

-- What to open: core.connect's target and options, and whether it lives in memory.
local function sqlite_target(url, options)
  if url.host or url.port or url.username then
    errors.raise("ArgumentError", "create_engine(): '%s' names a host; a SQLite file is 'sqlite:///relative/path.db' "
      .. "or 'sqlite:////absolute/path.db'", tostring(url))
  end
  local target = { busy_timeout = options.timeout, readonly = options.readonly, database = url.database or ":memory:" }
  target.memory = target.database == ":memory:" or target.database == "file::memory:"
  read_query(url, target)
  if target.memory then
    target.database, target.uri = ":memory:", false
  end
  return target
end

local DRIVERS = { sqlite = sqlite_target }

local function read_target(url, options)
  local name = url:get_backend_name()
  local read = DRIVERS[name]
  if not read then
    errors.raise("ArgumentError", "create_engine(): there is no dialect '%s'%s", name,
      errors.hint(name, errors.sorted_keys(DRIVERS)))
  end
  return name, read(url, options)
end

-- ---- options ----

---@class orrery.EngineOptions
---@field echo? boolean|function shows statements: on stderr, or to the function
---@field hide_parameters? boolean keeps values out of echo and errors
---@field readonly? boolean
---@field timeout? number seconds to wait for a lock; 5
---@field pool_size? integer connections that are kept; 5, 0: without bound
---@field max_overflow? integer connections beyond these; 10, -1: without bound
---@field query_cache_size? integer statements that are kept compiled

local function check_number(options, name, least)
  local value = options[name]
  if value ~= nil and (type(value) ~= "number" or value ~= value or value < least) then
    errors.raise("ArgumentError", "create_engine(): %s is a number from %d, got %s", name, least, errors.show(value))
  end
end

local function check_values(options)
  check_number(options, "timeout", 0)
  check_number(options, "pool_size", 0)
  check_number(options, "max_overflow", -1)
  check_number(options, "query_cache_size", 0)
  local echo = options.echo
  if echo ~= nil and type(echo) ~= "boolean" and type(echo) ~= "function" then
    errors.raise("ArgumentError", "create_engine(): echo is true, false or a function, got %s", errors.show(echo))
  end
end

-- ---- engines ----

local function new_pool(self)
  local target = self.target
  return pool_module.new(function()
    local dbc = core.connect(self.name, target.database, target)
    event.fire(self.dispatch, "connect", dbc)
    return dbc
  end, { shared = target.memory, size = self.options.pool_size, overflow = self.options.max_overflow })
end

--- An engine for the database at `url`. Opens nothing yet.
---@param url string|orrery.URL "sqlite://", "sqlite:///file.db", "sqlite:////absolute/file.db?mode=ro"
---@param options? orrery.EngineOptions
---@return orrery.Engine
function engine.create_engine(url, options)
  url = url_module.parse(url)
  options = errors.check_options(options, OPTIONS, "create_engine()")
  check_values(options)
  local name, target = read_target(url, options)
  local self = setmetatable({
    url = url,
    name = name,
    dialect = compiler.dialects[name],
    options = options,
    target = target,
    readonly = target.readonly or false,
    echo = options.echo or false,
    hide_parameters = options.hide_parameters or false,
    dispatch = new_dispatch(),
    cache = compiler.new_cache(options.query_cache_size),
  }, metatable)
  self.pool = new_pool(self)
  return self
end

--- A connection: it begins a transaction with its first statement, and rolls back at close() what was not committed.
---@return orrery.Connection
function Engine:connect()
  check(self, "connect")
  return connection.new(self)
end

--- Calls fn(x), closes x whatever happens, and returns what fn returns or raises its error again.
---@param closable table|userdata anything with close()
---@param fn function
function engine.with(closable, fn)
  if closable == nil or type(fn) ~= "function" then
    errors.raise("ArgumentError", "with() takes something with close() and a function, got %s and %s",
      errors.show(closable), errors.show(fn))
  end
  local function close()
    closable:close()
  end
  return transaction.run(close, close, fn, closable)
end

--- Runs fn(connection) in a transaction of its own: commits at its end, rolls back and raises again when it raises.
---@param ... any fn, { mode = "read" | "write", retry = n }
function Engine:begin(...)
  check(self, "begin")
  local fn, options = transaction.block_arguments("engine:begin()", ...)
  if not fn then
    errors.raise("ArgumentError", "engine:begin() takes a function; connect() gives a connection to begin by hand")
  end
  return engine.with(connection.new(self), function(conn)
    return conn:begin(fn, options)
  end)
end

--- Closes the pool's connections; those in use close when they come back. The engine opens new ones when it is used
-- again. A memory database ends with its connection.
function Engine:dispose()
  check(self, "dispose")
  self.pool:dispose()
  self.pool = new_pool(self)
end

Engine.close = Engine.dispose
metatable.__close = Engine.dispose

function metatable.__tostring(self)
  return ("Engine(%s)"):format(tostring(self.url))
end

-- ---- echo ----

local function show_set(values)
  local parts = {}
  for position = 1, math.min(#values, 20) do
    parts[position] = errors.show(values[position])
  end
  if #values > 20 then
    parts[21] = ("... %d more"):format(#values - 20)
  end
  return "(" .. table.concat(parts, ", ") .. ")"
end

local function show_params(params, many)
  if not many then
    return show_set(params)
  end
  local parts = {}
  for position = 1, math.min(#params, 5) do
    parts[position] = show_set(params[position])
  end
  if #params > 5 then
    parts[6] = ("... %d more sets"):format(#params - 5)
  end
  return table.concat(parts, ", ")
end

--- Writes a statement to where echo goes: the function given, or stderr.
---@param sql string
---@param params? table
---@param many? boolean whether `params` is a list of sets
function Engine:log(sql, params, many)
  local text = sql
  if params and #params > 0 then
    text = text .. "\n  " .. (self.hide_parameters and "(parameters hidden)" or show_params(params, many))
  end
  if type(self.echo) == "function" then
    self.echo(text)
  elseif io and io.stderr then
    io.stderr:write(text, "\n")
  end
end

return engine
