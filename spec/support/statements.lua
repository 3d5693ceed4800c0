-- statements: a record of the SQL that an engine is given, transaction control left out.
local orm = require "orrery"

local statements = {}

local function show(values)
  local parts = {}
  for position = 1, #values do
    local value = values[position]
    if type(value) == "table" then
      parts[position] = show(value)
    elseif value == orm.null then
      parts[position] = "NULL"
    elseif type(value) == "number" then
      parts[position] = ("%.14g"):format(value)
    else
      parts[position] = tostring(value)
    end
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local Record = {}
Record.__index = Record

--- Records from now on. `record:take()` gives the statements since the last take.
function statements.record(engine)
  local record = setmetatable({ entries = {} }, Record)
  orm.event.listen(engine, "before_cursor_execute", function(_, sql, params)
    record.entries[#record.entries + 1] = { sql = sql:gsub('"', ""):gsub("%s+", " "), params = params }
  end)
  return record
end

local function written(entry)
  if not entry.params or #entry.params == 0 then
    return entry.sql
  end
  return entry.sql .. " " .. show(entry.params)
end

-- "INSERT book", "UPDATE book SET year", "SELECT book", "DELETE book"
local function headline(entry)
  local sql = entry.sql
  local verb = sql:match("^(%u+)")
  local tbl = verb == "UPDATE" and sql:match("^UPDATE (%S+)") or verb == "INSERT" and sql:match("^INSERT INTO (%S+)")
    or sql:match(" FROM ([%w_]+)")
  local set = {}
  for name in (verb == "UPDATE" and sql:match("SET (.-) WHERE") or ""):gmatch("([%w_]+) ?=") do
    set[#set + 1] = name
  end
  return verb .. " " .. tostring(tbl) .. (set[1] and " SET " .. table.concat(set, ", ") or "")
end

local function take(record, fn)
  local list = {}
  for position, entry in ipairs(record.entries) do
    list[position] = fn(entry)
  end
  record.entries = {}
  return list
end

--- The statements with their parameters: { "UPDATE book SET year=? WHERE book.id = ? [7, 1]" }.
function Record:take()
  return take(self, written)
end

--- The statements in short: { "UPDATE book SET year" }.
function Record:headlines()
  return take(self, headline)
end

return statements
