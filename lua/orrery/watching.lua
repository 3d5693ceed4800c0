--- watching: session:watch(fn): which statements a session sends while a function runs, from which lines of the script, and
-- what would have spared those that repeat: the report on N+1 loads.
local import = ...
local errors = import "errors"
local core = import "core"
local event = import "event"
local session_class = import "session_class"

local watching = {}

---@class orrery.Session
local Session = session_class.Session
local check = session_class.check

---@class orrery.WatchedStatements statements of one kind from one line
---@field where string "script.lua:12", or "" where no script's line is known
---@field count integer
---@field sql string of the first of them
---@field what? string the attribute that they loaded: "Author.books"
---@field advice? string what would have spared all but one of them

---@class orrery.WatchReport
---@field statements integer all of them
---@field entries orrery.WatchedStatements[] by line and cause, in the order in which they came
---@field repeated orrery.WatchedStatements[] those that came more than once, the most frequent first
local Report = {}
local metatable = { __index = errors.guard(Report, "a report"), __name = "orrery.WatchReport" }

local SHOWN_SQL = 100

local function shortened(sql)
  return #sql > SHOWN_SQL and sql:sub(1, SHOWN_SQL - 3) .. "..." or sql
end

-- What a query could have said so that an attribute does not load by itself.
local function advice_for(cause)
  if not cause then
    return "one statement for all of them, with in_{...} say, would do"
  elseif cause.property then
    local option = cause.property.uselist and "selectinload" or "joinedload"
    local name = cause.property:describe()
    return ("load it with the query, :options(orm.%s(%s)), or say orm.batchload(%s)"):format(option, name, name)
  end
  return ("load it with the query, :options(orm.undefer(%s))"):format(cause.name)
end

local function describe_cause(cause)
  return cause and (cause.property and cause.property:describe() or cause.name) or nil
end

-- Statements count as the same where they come from one line for one attribute, or are the same SQL.
local function note(self, sql)
  local where, what = core.where():gsub(": $", ""), describe_cause(self.cause)
  local key = where .. "\0" .. (what or sql)
  local entry = self.by_key[key]
  if not entry then
    entry = { where = where, count = 0, sql = sql, what = what, advice = advice_for(self.cause) }
    self.by_key[key], self.entries[#self.entries + 1] = entry, entry
  end
  entry.count = entry.count + 1
  self.statements = self.statements + 1
end

--- Runs fn(...), whose statements load an attribute: { property = } a relationship, or { name = "Author.bio" } a column.
---@param cause table
---@param fn function
function Report:during(cause, fn, ...)
  local before = self.cause
  self.cause = cause
  local function finish(ok, ...)
    self.cause = before
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(fn, ...))
end

local function find_repeated(self)
  local list = {}
  for position, entry in ipairs(self.entries) do
    if entry.count > 1 then
      list[#list + 1] = entry
      entry.position = position
    end
  end
  table.sort(list, function(a, b) return a.count > b.count or a.count == b.count and a.position < b.position end)
  return list
end

local function line_of(entry)
  local what = entry.what and ("%s was loaded by itself"):format(entry.what) or shortened(entry.sql)
  return ("%s%d x %s\n    %s"):format(entry.where ~= "" and entry.where .. ": " or "", entry.count, what, entry.advice)
end

function metatable.__tostring(self)
  local lines = { ("%d statement%s"):format(self.statements, self.statements == 1 and "" or "s") }
  for _, entry in ipairs(self.repeated) do
    lines[#lines + 1] = "  " .. line_of(entry)
  end
  if #self.repeated == 0 then
    lines[1] = lines[1] .. ", none of them repeated"
  end
  return table.concat(lines, "\n")
end

-- Only statements of this session's own connections count.
local function listener_for(self, report)
  return function(connection, sql)
    for _, seat in ipairs(self.seats) do
      if connection == seat.conn then
        note(report, sql)
      end
    end
  end
end

local function each_engine(self, fn, listener)
  local done = {}
  for _, seat in ipairs(self.seats) do
    if not done[seat.engine] then
      done[seat.engine] = true
      fn(seat.engine, "before_cursor_execute", listener)
    end
  end
end

local function finish(self, report, listener, before, ok, ...)
  each_engine(self, event.remove, listener)
  rawset(self, "watching", before)
  report.repeated = find_repeated(report)
  if not ok then
    error((...), 0)
  end
  return setmetatable(report, metatable), ...
end

--- Runs fn(session) and returns a report on the statements that the session sent meanwhile, then what fn returned.
--- print(report) shows how many they were, and for those that repeat the line of the script and what would have spared them.
---@param fn function
---@return orrery.WatchReport report
---@return any ... what fn returned
function Session:watch(fn)
  check(self, "watch")
  if type(fn) ~= "function" then
    errors.raise("ArgumentError", "session:watch() takes a function, got %s", errors.show(fn))
  end
  local report = setmetatable({ statements = 0, entries = {}, by_key = {}, cause = nil }, metatable)
  local listener, before = listener_for(self, report), self.watching
  each_engine(self, event.listen, listener)
  rawset(self, "watching", report)
  return finish(self, report, listener, before, pcall(fn, self))
end

return watching
