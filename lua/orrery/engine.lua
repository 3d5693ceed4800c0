--- engine: what a script makes from a URL: the dialect, the pool and the options that its connections share; and echo.
local import = ...
local reading = import "reading"
local core = import "core"
local errors = import "errors"
local event = import "event"
local compiler = import "compiler"
local url_module = import "url"
local pool_module = import "pool"
local settings = import "settings"
local diagnosis = reading.later "diagnosis"
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

local FIELDS = { engine = 1 } -- asks whether it is a connection or a session
errors.guard(Engine, "an engine", FIELDS,
  "statements run on a connection: engine:begin(function(conn) ... end), or engine:connect()")
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
  echo = true, echo_time = true, hide_parameters = true, readonly = true, timeout = true, statement_timeout = true,
  isolation_level = true, execution_options = true, pool_size = true, max_overflow = true, pool_timeout = true,
  pool_recycle = true, pool_pre_ping = true, pool_wait = true, query_cache_size = true,
  enable_from_linting = true, lazy = true,
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

-- What connections and the pool have to know of a database: how to read its URL, the statements that set isolation levels
-- (false: none is needed), one that fails on a dead connection, and where its names are.
local DRIVERS = {
  sqlite = {
    target = sqlite_target,
    default_isolation = "SERIALIZABLE",
    isolation = {
      SERIALIZABLE = "PRAGMA read_uncommitted = 0",
      ["READ UNCOMMITTED"] = "PRAGMA read_uncommitted = 1",
      AUTOCOMMIT = false,
    },
    ping = "PRAGMA schema_version",
    table_names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    column_names = "SELECT name FROM pragma_table_info(?) ORDER BY cid",
    references = "SELECT group_concat(\"from\", ', ') || ' -> ' || \"table\" FROM pragma_foreign_key_list(?) "
      .. "GROUP BY id, \"table\" ORDER BY id DESC",
    referrers = "SELECT tables.name || ' (' || group_concat(keys.\"from\", ', ') || ')' FROM sqlite_master AS tables "
      .. "JOIN pragma_foreign_key_list(tables.name) AS keys WHERE tables.type = 'table' AND lower(keys.\"table\") = lower(?) "
      .. "GROUP BY tables.name, keys.id ORDER BY tables.name",
    function_names = "SELECT DISTINCT name FROM pragma_function_list ORDER BY name",
  },
}

local function driver_of(name)
  local driver = DRIVERS[name]
  if not driver and compiler.dialects[name] then
    errors.raise("ArgumentError", "create_engine(): there is no driver for '%s', whose SQL can be printed only: "
      .. "statement:compile{ dialect = \"%s\" }", name, name)
  elseif not driver then
    errors.raise("ArgumentError", "create_engine(): there is no dialect '%s'%s", name,
      errors.hint(name, errors.sorted_keys(DRIVERS)))
  end
  return driver
end

-- ---- options ----

---@class orrery.EngineOptions
---@field echo? boolean|function shows statements: on stderr, or to the function
---@field echo_time? boolean echo says how long a statement took and how many rows it had; true with echo = true
---@field hide_parameters? boolean keeps values out of echo and errors
---@field readonly? boolean
---@field timeout? number seconds to wait for a lock; 5
---@field statement_timeout? number seconds that a statement may run
---@field isolation_level? string "SERIALIZABLE", "READ UNCOMMITTED" or "AUTOCOMMIT"
---@field execution_options? table what connection:execution_options() takes
---@field lazy? string how relationships load that say nothing: "select", "batch", "raise" or "raise_on_sql"
---@field pool_size? integer connections that are kept; 5, 0: without bound
---@field max_overflow? integer connections beyond these; 10, -1: without bound
---@field pool_timeout? number seconds to wait for a connection, where pool_wait can; 30
---@field pool_wait? fun(seconds: number) lets other coroutines run while a connection is waited for
---@field pool_recycle? number seconds after which a connection is replaced; -1: never
---@field pool_pre_ping? boolean tries each connection before it is handed out
---@field query_cache_size? integer statements that are kept compiled
---@field enable_from_linting? boolean warn of tables in a FROM that nothing links; true by default

local function check_number(options, name, least)
  local value = options[name]
  if value ~= nil and (type(value) ~= "number" or value ~= value or value < least) then
    errors.raise("ArgumentError", "create_engine(): %s is a number from %d, got %s", name, least, errors.show(value))
  end
end

local LEAST = {
  { "timeout", 0 }, { "statement_timeout", 0 }, { "pool_size", 0 }, { "max_overflow", -1 }, { "pool_timeout", 0 },
  { "pool_recycle", -1 }, { "query_cache_size", 0 },
}

local function check_values(options)
  for _, entry in ipairs(LEAST) do
    check_number(options, entry[1], entry[2])
  end
  local echo, wait, linting = options.echo, options.pool_wait, options.enable_from_linting
  if echo ~= nil and type(echo) ~= "boolean" and type(echo) ~= "function" then
    errors.raise("ArgumentError", "create_engine(): echo is true, false or a function, got %s", errors.show(echo))
  elseif wait ~= nil and type(wait) ~= "function" then
    errors.raise("ArgumentError", "create_engine(): pool_wait is a function (seconds), got %s", errors.show(wait))
  elseif linting ~= nil and type(linting) ~= "boolean" then
    errors.raise("ArgumentError", "create_engine(): enable_from_linting is true or false, got %s", errors.show(linting))
  end
end

-- ---- engines ----

local function pool_options(self, options)
  local ping = self.driver.ping
  return {
    shared = self.target.memory,
    size = options.pool_size, overflow = options.max_overflow, timeout = options.pool_timeout, wait = options.pool_wait,
    recycle = options.pool_recycle ~= -1 and options.pool_recycle or nil,
    ping = options.pool_pre_ping and function(dbc) dbc:exec(ping) end or nil,
  }
end

local CANNOT_OPEN = 14 -- of SQLite

local function raise_unopened(self, err)
  if errors.is_error(err, "OperationalError") and rawget(err, "code") == CANNOT_OPEN then
    err.hint = self.readonly and "with mode=ro or readonly the file must exist"
      or self.target.create == false and "with mode=rw the file must exist"
      or "its folder must exist and be writable; a relative path counts from the current folder, an absolute one has four "
        .. "slashes: sqlite:////folder/file.db"
  elseif errors.is_error(err, "DatabaseError") then
    err.hint = diagnosis.advice_on(err)
  end
  error(err, 0)
end

local function open_connection(self)
  local ok, dbc = pcall(core.connect, self.name, self.target.database, self.target)
  if not ok then
    raise_unopened(self, dbc)
  end
  event.fire(self.dispatch, "connect", dbc)
  return dbc
end

local function execution_of(self, options)
  local given = settings.merge(self, {}, options.execution_options, "create_engine(), execution_options")
  return settings.merge(self, given, { isolation_level = options.isolation_level,
    timeout = options.statement_timeout }, "create_engine()")
end

-- What sessions of the engine load late, and how, is known to eager.lua, which is read for it where it is not yet.
local function late_strategy(options)
  if options.lazy == nil then
    return false
  end
  core.read "init"
  return engine.late_strategy(options.lazy, "create_engine()")
end

-- An engine over a target of core.connect(); `open(engine)` makes its database connections.
local function new_engine(name, url, target, options, open)
  local self = setmetatable({
    url = url,
    name = name,
    driver = DRIVERS[name],
    dialect = compiler.dialects[name],
    target = target,
    readonly = target.readonly or false,
    echo = options.echo or false,
    hide_parameters = options.hide_parameters or false,
    lazy = late_strategy(options),
    dispatch = new_dispatch(),
    cache = compiler.new_cache(options.query_cache_size, options.enable_from_linting ~= false),
  }, metatable)
  self.echo_time = options.echo_time
  self.execution = execution_of(self, options)
  self.pool = pool_module.new(function() return open(self) end, pool_options(self, options))
  return self
end

--- An engine for the database at `url`. Opens nothing yet.
---@param url string|orrery.URL "sqlite://", "sqlite:///file.db", "sqlite:////absolute/file.db?mode=ro"
---@param options? orrery.EngineOptions
---@return orrery.Engine
function engine.create_engine(url, options)
  url = url_module.parse(url)
  options = errors.check_options(options, OPTIONS, "create_engine()")
  check_values(options)
  local name = url:get_backend_name()
  return new_engine(name, url, driver_of(name).target(url, options), options, open_connection)
end

--- An engine over one handle that open() gives, and gives again after it was closed; all connections share it.
---@param open fun(): userdata
---@return orrery.Engine
function core.engine_over(open)
  return new_engine("sqlite", url_module.parse("sqlite://"), { memory = true }, {}, open)
end

-- What orr_push_engine makes of a handle of the host: when it is disposed there is no other.
function core.engine_of(dbc)
  local handle = dbc
  return core.engine_over(function()
    if not handle then
      errors.raise("ResourceClosedError", "the host's database handle was given back by dispose(); there is no other")
    end
    local given = handle
    handle = nil
    return given
  end)
end

--- An engine with other execution options that shares this one's pool, events and cache.
---@param options { isolation_level: string, readonly: boolean, timeout: number, yield_per: integer }
---@return orrery.Engine
function Engine:execution_options(options)
  check(self, "execution_options")
  local copy = {}
  for name, value in pairs(self) do
    copy[name] = value
  end
  copy.execution = settings.merge(self, self.execution, options, "engine:execution_options()")
  return setmetatable(copy, metatable)
end

--- The execution options that are set.
---@return table
function Engine:get_execution_options()
  check(self, "get_execution_options")
  return settings.merge(self, self.execution, {}, "engine:get_execution_options()")
end

--- A connection: it begins a transaction with its first statement, and rolls back at close() what was not committed.
---@return orrery.Connection
function Engine:connect()
  check(self, "connect")
  return connection.new(self)
end

local function close_of(value)
  return value.close
end

-- An object of a host may raise where it has no such field.
local function can_close(value)
  local ok, close = pcall(close_of, value)
  return ok and close ~= nil
end

--- Calls fn(x), closes x whatever happens, and returns what fn returns or raises its error again.
---@param closable table|userdata anything with close()
---@param fn function
function engine.with(closable, fn)
  if not can_close(closable) or type(fn) ~= "function" then
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
    errors.raise("ArgumentError", "engine:begin() takes a function to run; connect() gives a connection to begin by hand")
  end
  return engine.with(connection.new(self), function(conn)
    return conn:begin(fn, options)
  end)
end

--- Closes the pool's connections; those in use close when they come back. The engine opens new ones when it is used
-- again. A memory database ends with its connection. In a forked child, the parent's connections are let go untouched.
function Engine:dispose()
  check(self, "dispose")
  self.pool:dispose()
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

local COLOURS = { sql = "\27[1m", params = "\27[36m", note = "\27[2m", fault = "\27[31m", off = "\27[0m" }

local function is_coloured()
  return core.stderr_is_terminal() and not (os and os.getenv and os.getenv("NO_COLOR"))
end

local function paint(text, colour, coloured)
  return coloured and COLOURS[colour] .. text .. COLOURS.off or text
end

-- "3 rows, 0.12 ms" or "failed after 0.12 ms: ..."
local function outcome_of(details)
  local time = ("%.2f ms"):format(details.seconds * 1000)
  if details.fault then
    local fault = details.fault
    return ("failed after %s: %s"):format(time, errors.is_error(fault) and fault.message or tostring(fault)), "fault"
  end
  local count = details.rowcount
  if count == nil or count == -1 then
    return time, "note"
  end
  return ("%s row%s, %s"):format(tostring(count), count == 1 and "" or "s", time), "note"
end

local function echo_text(self, sql, params, many, details, coloured)
  local lines = { paint(errors.printable(sql), "sql", coloured) }
  if params and #params > 0 then
    local text = self.hide_parameters and "(parameters hidden)" or show_params(params, many)
    lines[2] = "  " .. paint(text, "params", coloured)
  end
  if details then
    local text, colour = outcome_of(details)
    lines[#lines + 1] = "  " .. paint("-- " .. text, colour, coloured)
  end
  return table.concat(lines, "\n")
end

--- Whether echo waits for the end of a statement, to say how long it took.
---@return boolean
function Engine:times_echo()
  if self.echo_time ~= nil then
    return self.echo_time
  end
  return self.echo == true
end

--- Writes a statement to where echo goes: the function given, or stderr, coloured where that is a terminal.
---@param sql string
---@param params? table
---@param many? boolean whether `params` is a list of sets
---@param details? { seconds: number, rowcount: integer|string, fault: any }
function Engine:log(sql, params, many, details)
  if type(self.echo) == "function" then
    self.echo(echo_text(self, sql, params, many, details, false))
  elseif io and io.stderr then
    io.stderr:write(echo_text(self, sql, params, many, details, is_coloured()), "\n")
  end
end

return engine
