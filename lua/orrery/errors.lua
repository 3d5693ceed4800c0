--- errors: the error objects that Orrery raises, their hierarchy, and the checks that every public call
-- shares (unknown options, nil arguments, nearest names). First of all files: it may import nothing but the core.
local import = ...
local core = import "core"

local errors = {}

-- Each kind and what it is a case of; the names and the tree are SQLAlchemy 2's.
local PARENT = {
  ArgumentError = "OrreryError",
  AmbiguousForeignKeysError = "ArgumentError",
  NoForeignKeysError = "ArgumentError",
  InvalidRequestError = "OrreryError",
  CompileError = "OrreryError",
  CircularDependencyError = "OrreryError",
  InternalError = "OrreryError",
  SandboxError = "OrreryError",
  TimeoutError = "OrreryError",
  NoResultFound = "InvalidRequestError",
  MultipleResultsFound = "InvalidRequestError",
  PendingRollbackError = "InvalidRequestError",
  ResourceClosedError = "InvalidRequestError",
  NoSuchTableError = "InvalidRequestError",
  NoReferenceError = "InvalidRequestError",
  NoReferencedTableError = "NoReferenceError",
  NoReferencedColumnError = "NoReferenceError",
  NoSuchColumnError = "InvalidRequestError",
  AmbiguousColumnError = "InvalidRequestError",
  UnmappedClassError = "InvalidRequestError",
  UnmappedInstanceError = "InvalidRequestError",
  DetachedInstanceError = "OrreryError",
  ObjectDeletedError = "InvalidRequestError",
  StaleDataError = "OrreryError",
  FlushError = "OrreryError",
  UnboundExecutionError = "InvalidRequestError",
  StatementError = "OrreryError",
  DBAPIError = "StatementError",
  DatabaseError = "DBAPIError",
  IntegrityError = "DatabaseError",
  OperationalError = "DatabaseError",
  ProgrammingError = "DatabaseError",
  DataError = "DatabaseError",
  NotSupportedError = "DatabaseError",
  InterfaceError = "DBAPIError",
}

local metatable = core.error_metatable
metatable.__name = "orrery.error"

-- The beginning of a long text, not cut within a character.
local function cut(text)
  local stop = 77
  while stop > 73 and text:find("^[\128-\191]", stop + 1) do
    stop = stop - 1
  end
  return text:sub(1, stop) .. "..."
end

-- A value as it stands in a message: quoted, control bytes and what is not UTF-8 escaped, cut when long.
local function show(value)
  if value == core.null then
    return "NULL"
  elseif type(value) ~= "string" then
    local text = tostring(value)
    return text:find("^table: ") and "a plain table" or text:find("^function: ") and "a function" or text
  end
  local text = #value > 80 and cut(value) or value
  text = text:gsub(core.is_utf8(text) and "[%c\127\\']" or "[%c\127-\255\\']", function(char)
    return char == "\n" and "\\n" or char == "'" and "\\'" or char == "\\" and "\\\\" or ("\\%d"):format(char:byte())
  end)
  return "'" .. text .. "'"
end
errors.show = show

--- A text for people, with what a script's names may have brought into it: control bytes would reach a terminal.
---@param text string
---@return string
function errors.printable(text)
  local unfit = core.is_utf8(text) and "[%z\1-\8\11-\31\127]" or "[%z\1-\8\11-\31\127-\255]"
  return (text:gsub(unfit, function(char) return ("\\%d"):format(char:byte()) end))
end

local LONGEST = 4000 -- bytes of a message

local function message_of(text)
  if #text > LONGEST then
    text = text:sub(1, LONGEST - 500):gsub("[\128-\255]+$", "") .. "..." .. text:sub(-400):gsub("^[\128-\255]+", "")
  end
  return errors.printable(text)
end

local function show_set(set)
  local parts = {}
  for position = 1, math.min(#set, 10) do
    parts[position] = show(set[position])
  end
  if #set > 10 then
    parts[11] = ("... %d more"):format(#set - 10)
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

function metatable.__tostring(err)
  local lines = { (err.where or "") .. err.message }
  if err.statement then
    lines[#lines + 1] = "[SQL: " .. err.statement .. "]"
  end
  if type(err.params) == "table" and #err.params > 0 then
    lines[#lines + 1] = "[parameters: " .. show_set(err.params) .. "]"
  end
  if type(err.hint) == "string" and not err.message:find(err.hint, 1, true) then
    lines[#lines + 1] = "[hint: " .. err.hint .. "]"
  end
  return message_of(table.concat(lines, "\n"))
end

function metatable.__concat(left, right)
  return tostring(left) .. tostring(right)
end

-- err:find(...), err:match(...) and the other string methods work on the message.
metatable.__index = function(_, key)
  local method = type(key) == "string" and string[key]
  return method and function(err, ...)
    return method(tostring(err), ...)
  end
end

--- An error object that is not raised yet.
---@param kind string one of the kinds above
---@param message string
---@param fields? table further fields of the error
---@return table
function errors.new(kind, message, fields)
  local err = fields or {}
  err.kind, err.message = kind, message_of(message)
  err.where, err.traceback = core.where(), core.traceback(2)
  if err.retryable == nil then
    err.retryable = false
  end
  return setmetatable(err, metatable)
end

--- What an error says, without its place.
---@param err any
---@return string
function errors.message(err)
  return type(err) == "table" and rawget(err, "message") or tostring(err)
end

--- Raises an error of `kind` whose message is `format` filled with the rest.
---@param kind string
---@param format string
function errors.raise(kind, format, ...)
  error(errors.new(kind, select("#", ...) > 0 and format:format(...) or format), 0)
end

--- Whether `err` is an Orrery error of `kind` or of a kind below it.
---@param err any
---@param kind? string any Orrery error when absent
---@return boolean
function errors.is_error(err, kind)
  if type(err) ~= "table" or getmetatable(err) ~= metatable then
    return false
  end
  local current = rawget(err, "kind")
  kind = kind or "OrreryError"
  while current and current ~= kind do
    current = PARENT[current]
  end
  return current == kind
end

--- Calls fn(...); returns its results, or nil and the error.
---@param fn function
function errors.try(fn, ...)
  local function pack(ok, ...)
    if ok then
      return ...
    end
    return nil, (...)
  end
  return pack(pcall(fn, ...))
end

-- ---- nearest names ----

-- Edit distance (with swaps of neighbours) of two short words.
local function distance(a, b)
  local older, old = nil, {}
  for j = 0, #b do
    old[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(old[j] + 1, row[j - 1] + 1, old[j - 1] + (same and 0 or 1))
      if older and i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], older[j - 2] + 1)
      end
    end
    older, old = old, row
  end
  return old[#b]
end

-- One slip, or, in longer names, several that leave most of it as it was: 'find' is not 'id'.
local function is_near(slips, length)
  return slips < length and (slips == 1 or 2 * slips < length)
end

--- The entry of `names` that `name` was most likely meant to be, or nil.
---@param name string
---@param names string[]
---@return string?
function errors.nearest(name, names)
  if type(name) ~= "string" or #name > 60 then
    return nil
  end
  local best, best_distance = nil, math.max(2, math.floor(#name / 3)) + 1
  for _, candidate in ipairs(names) do
    if type(candidate) == "string" and #candidate <= 60 then
      local d = distance(name:lower(), candidate:lower())
      if d < best_distance and is_near(d, math.max(#name, #candidate)) then
        best, best_distance = candidate, d
      end
    end
  end
  return best
end

--- "; did you mean 'x'?" for the nearest of `names`, else a list of them (when short), else "".
---@param name string
---@param names string[]
---@return string
function errors.hint(name, names)
  local near = errors.nearest(name, names)
  if near then
    return ("; did you mean '%s'?"):format(near)
  elseif #names > 0 and #names <= 20 then
    return "; there is " .. table.concat(names, ", ")
  end
  return ""
end

-- ---- checks on a caller ----

--- Sorted string keys of a table: the one way that a set becomes an order.
---@param set table
---@return string[]
function errors.sorted_keys(set)
  local names = {}
  for key in pairs(set) do
    names[#names + 1] = tostring(key)
  end
  table.sort(names)
  return names
end

--- Checks the trailing options table of a call and returns it, or an empty one for nil.
---@param options table?
---@param allowed table<string, any> the option names as keys
---@param call string the call as its error names it: "relationship()"
---@return table
function errors.check_options(options, allowed, call)
  if options == nil then
    return {}
  elseif type(options) ~= "table" or getmetatable(options) then
    errors.raise("ArgumentError", "%s: options must be a plain table, got %s", call, show(options))
  end
  for key in pairs(options) do
    if type(key) ~= "string" then
      errors.raise("ArgumentError", "%s: an options table has string keys only, got [%s]", call, show(key))
    elseif allowed[key] == nil then
      errors.raise("ArgumentError", "%s: unknown option '%s'%s", call, key,
        errors.hint(key, errors.sorted_keys(allowed)))
    end
  end
  return options
end

--- Refuses a method that was called with a dot.
---@param receiver any what came as self
---@param ok boolean whether it is a receiver
---@param call string "session:add"
function errors.check_self(receiver, ok, call)
  if not ok then
    errors.raise("ArgumentError", "%s was called with '.' or on the wrong object (got %s); use ':' as in %s(...)",
      call, type(receiver), call)
  end
end

-- ---- names that an object does not have ----

local function names_of(methods, fields)
  local names = errors.sorted_keys(fields)
  for _, name in ipairs(errors.sorted_keys(methods)) do
    names[#names + 1] = type(methods[name]) == "function" and not name:find("^_") and name or nil
  end
  return names
end

--- Lets a script's call of a method that is not there say so, with the nearest one. The library itself reads absent
--- fields as nil; `fields` are those that a script may read so too, and that the library reads most.
---@param methods table<string, function>
---@param what string "an engine"
---@param fields? table<string, any>
---@param advice? string|table<string, string>|fun(key: string): string? what many look for here, and where it is: for every
--- name, or for those that it knows, before any name that is near
---@param depth? integer 2 where the methods are read by an __index function
---@return table methods
function errors.guard(methods, what, fields, advice, depth)
  fields, depth = fields or {}, depth or 1
  return setmetatable(methods, { __index = function(_, key)
    if fields[key] or type(key) ~= "string" or key:find("^_") or not core.asked_by_script(depth) then
      return nil
    end
    local kind = type(advice)
    local more = kind == "function" and advice(key) or kind == "table" and advice[key]
    local near = not more and errors.nearest(key, names_of(methods, fields))
    more = more or kind == "string" and advice:format(key)
    errors.raise("ArgumentError", "%s has no '%s'%s%s", what, key, near and ("; did you mean '%s'?"):format(near) or "",
      more and (near and " (%s)" or "; %s"):format(more) or "")
  end })
end

-- ---- warnings ----

local handler, seen = nil, {}

--- Sets the function that receives warnings (message); nil restores printing to stderr.
---@param fn function?
---@return function? previous
function errors.on_warning(fn)
  if fn ~= nil and type(fn) ~= "function" then
    errors.raise("ArgumentError", "on_warning(): a function of the message expected, or nil for stderr, got %s", show(fn))
  end
  local previous = handler
  handler, seen = fn, {}
  return previous
end

--- Warns once per line of the script.
---@param format string
function errors.warn(format, ...)
  local message = core.where() .. format:format(...)
  if seen[message] then
    return
  end
  seen[message] = true
  if handler then
    handler(message)
  elseif io and io.stderr then
    io.stderr:write("orrery: warning: ", message, "\n")
  end
end

return errors
