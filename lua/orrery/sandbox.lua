--- sandbox: scripts that are not trusted, run on a database of the host with a list of what they may do there. What
-- holds them is src/lua/sandboxlib.c, a Lua state of their own; here a host says it.
local import = ...
local core = import "core"
local errors = import "errors"
local engine_module = import "engine"

local sandbox = {}

---@class orrery.Sandbox
local Sandbox = {}
local metatable = { __index = errors.guard(Sandbox, "a sandbox"), __name = "orrery.Sandbox" }

local MEGABYTE = 1048576

-- What may be set, what it is by default, and the least that makes sense: the library itself takes about 2 MB.
local LIMITS = {
  { "memory", 64 * MEGABYTE, 4 * MEGABYTE, "bytes" },
  { "instructions", 100000000, 1, "instructions" },
  { "statement_timeout", 5, 0.001, "seconds" },
  { "seconds", 10, 0.001, "seconds" },
  { "max_value", MEGABYTE, 1, "bytes" },
}

local OPTIONS = { engine = true, tables = true, functions = true }
for _, limit in ipairs(LIMITS) do
  OPTIONS[limit[1]] = true
end

local BITS = { select = 1, insert = 2, update = 4, delete = 8, create = 16 }

local function read_limits(options)
  local limits = {}
  for _, limit in ipairs(LIMITS) do
    local name, least = limit[1], limit[3]
    local value = options[name] == nil and limit[2] or options[name]
    if type(value) ~= "number" or not (value >= least and value <= 2 ^ 53) then
      errors.raise("ArgumentError", "sandbox(): %s is a number of %s from %s, got %s", name, limit[4],
        ("%.14g"):format(least), errors.show(value))
    end
    limits[name] = value
  end
  limits.max_value = math.min(limits.max_value, limits.memory, 2 ^ 30)
  return limits
end

local function bits_of(name, actions)
  if type(actions) ~= "table" then
    errors.raise("ArgumentError", "sandbox(): tables.%s is a list of actions, such as { \"select\" }, got %s", name,
      errors.show(actions))
  end
  local seen, bits = {}, 0
  for _, action in ipairs(actions) do
    if type(action) ~= "string" or not BITS[action] then
      errors.raise("ArgumentError", "sandbox(): tables.%s: unknown action %s%s", name, errors.show(action),
        errors.hint(tostring(action), errors.sorted_keys(BITS)))
    end
    bits, seen[action] = bits + (seen[action] and 0 or BITS[action]), true
  end
  return bits
end

-- { name, bits, name, bits, ... }
local function read_tables(tables)
  local list = {}
  if type(tables) ~= "table" then
    errors.raise("ArgumentError", "sandbox(): tables says what a script may do with which table, as in { note = "
      .. "{ \"select\", \"insert\" } }; got %s", errors.show(tables))
  end
  for _, name in ipairs(errors.sorted_keys(tables)) do
    if type(tables[name]) ~= "table" or type(name) ~= "string" then
      bits_of(name, tables[name])
    end
    list[#list + 1] = name
    list[#list + 1] = bits_of(name, tables[name])
  end
  return list
end

local function read_functions(functions)
  local names, list = {}, {}
  if functions == nil then
    return names, list
  elseif type(functions) ~= "table" then
    errors.raise("ArgumentError", "sandbox(): functions is a table of functions by name, got %s", errors.show(functions))
  end
  for position, name in ipairs(errors.sorted_keys(functions)) do
    if type(functions[name]) ~= "function" then
      errors.raise("ArgumentError", "sandbox(): functions.%s must be a function, got %s", name,
        errors.show(functions[name]))
    end
    names[position], list[position] = name, functions[name]
  end
  return names, list
end

---@class orrery.SandboxOptions
---@field engine orrery.Engine the database; a script finds an engine over it as the global `engine`
---@field tables table<string, string[]> what may be done with which table: "select", "insert", "update", "delete", "create"
---@field memory? integer bytes that the script's Lua state may hold, the library's 2 MB included; 64 MB
---@field instructions? integer of Lua's virtual machine, for each run; 100 million
---@field statement_timeout? number seconds that one statement may run; 5
---@field seconds? number seconds that one run may take; 10
---@field max_value? integer bytes of one value in the database; 1 MB
---@field functions? table<string, function> what the script may call of the host, as globals: they get and give plain values

--- A place to run scripts that are not trusted: a Lua state of its own, which shares nothing with this one but the
--- database, and there only what `tables` allows.
---@param options orrery.SandboxOptions
---@return orrery.Sandbox
function sandbox.sandbox(options)
  options = errors.check_options(options, OPTIONS, "sandbox()")
  if not engine_module.is_engine(options.engine) then
    errors.raise("ArgumentError", "sandbox(): engine = orm.create_engine(...) is needed, got %s",
      errors.show(options.engine))
  end
  local names, functions = read_functions(options.functions)
  local limits, tables = read_limits(options), read_tables(options.tables)
  return setmetatable({ engine = options.engine, limits = limits,
    core = core.sandbox(limits, tables, names, functions) }, metatable)
end

local function check(self, call)
  errors.check_self(self, type(self) == "table" and getmetatable(self) == metatable, "sandbox:" .. call)
end

local MET = {
  memory = "the script needs more memory than the sandbox has (%.0f bytes)",
  instructions = "the script was stopped: it ran more than %.0f instructions",
  time = "the script was stopped: it ran longer than %g s",
}
local LIMIT_OF = { memory = "memory", instructions = "instructions", time = "seconds" }

-- What the core says of a run: false and its results, or the reason why it failed.
local function conclude(self, reason, ...)
  if not reason then
    return ...
  end
  local message, kind = ...
  local text = MET[reason] and MET[reason]:format(self.limits[LIMIT_OF[reason]]) or tostring(message)
  error(errors.new("SandboxError", text, { reason = reason, script_kind = kind }), 0)
end

local function run(self, conn, source, ...)
  return conclude(self, self.core:run(conn.dbc, source, "=sandbox", ...))
end

--- Runs a script. It gets the arguments as `...`; what it returns is returned. Both are plain values: nil, booleans,
--- numbers, strings, `orm.null` and tables of these. What it has not committed is rolled back. The next run finds the
--- script's globals, unless a limit has ended the sandbox.
--- Raises a SandboxError whose `reason` is "error" (the script's own, `script_kind` the kind of an Orrery error),
--- "memory", "instructions" or "time".
---@param source string the script's text
---@return any ...
function Sandbox:run(source, ...)
  check(self, "run")
  if type(source) ~= "string" then
    errors.raise("ArgumentError", "sandbox:run(): the text of a script expected, got %s%s", type(source),
      type(source) == "function" and "; a function belongs to the state that made it" or "")
  end
  local arguments, count = { ... }, select("#", ...)
  return engine_module.with(self.engine:connect(), function(conn)
    return run(self, conn, source, (table.unpack or unpack)(arguments, 1, count))
  end)
end

--- Bytes that the script's Lua state holds.
---@return integer
function Sandbox:memory()
  check(self, "memory")
  return self.core:memory()
end

--- Ends the sandbox and frees its state.
function Sandbox:close()
  check(self, "close")
  self.core:close()
end

metatable.__close = Sandbox.close

return sandbox
