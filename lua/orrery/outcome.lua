--- outcome: from a statement that was bound to the result that a script gets: rows through a cursor, or what was changed.
local import = ...
local core = import "core"
local result = import "result"
local execution = import "execution"
local settings = import "settings"
local effect = import "effect"

local null = core.null

local outcome = {}

local CHUNK = 100

local WRITES = { insert = true, update = true, delete = true }

-- What a result reads on from.
local Cursor = {}
local cursor_metatable = { __index = Cursor }

function Cursor:fetch(max)
  settings.set_timeout(self.connection, self.timeout)
  local ok, rows, done = pcall(execution.fetch, self.stmt, self.facts, max)
  if not ok then
    self.stmt:reset()
    self.connection:failed(rows, self.compiled, self.values)
  end
  return rows, done
end

-- A cursor that was ended has given its statement back: another may run on it.
function Cursor:close()
  if self:is_current() then
    self.stmt:reset()
  end
end

function Cursor:is_current()
  local conn = self.connection
  return conn.epoch == self.epoch and conn.slot.epoch == self.slot_epoch
end

-- The first rows are fetched at once, so that a short result leaves no cursor open.
local function cursor_result(self, compiled, values, stmt, has_row, chunk)
  local facts, rows, done = compiled.facts, {}, true
  if has_row then
    rows, done = execution.fetch(stmt, facts, chunk)
    self.cursors[stmt] = not done or nil
  end
  local cursor = setmetatable({ connection = self, epoch = self.epoch, slot_epoch = self.slot.epoch, stmt = stmt,
    facts = facts, compiled = compiled, values = values, timeout = self.slot.timeout }, cursor_metatable)
  local made = result.from_cursor(cursor, facts.row_metatable, rows, done, chunk)
  if WRITES[compiled.kind] and done then
    made.rowcount = self.dbc:changes() -- of RETURNING; known at its end only
  end
  return made
end

-- The value that was bound for a column; nil where the database made it.
local function bound_value(compiled, values, column)
  local key = column.key or column.name
  for position, bind in ipairs(compiled.binds) do
    if bind.key == key and values[position] ~= null then
      return values[position]
    end
  end
end

-- What a key's row is made with; the same for all runs of a statement.
local function key_metatable(compiled, columns)
  local facts = execution.facts(compiled)
  if not facts.key_metatable then
    local names, nodes = {}, {}
    for position, column in ipairs(columns) do
      names[position], nodes[position] = column.key or column.name, column
    end
    facts.key_metatable = result.row_metatable(names, nodes)
  end
  return facts.key_metatable
end

-- The key of the one row that was inserted, as a row: what was bound, or the integer that the database made; what else it may
-- have made is not known without RETURNING.
local function inserted_key(compiled, values, id)
  local key, columns = {}, compiled.table and compiled.table.primary_key or {}
  for position, column in ipairs(columns) do
    local value = bound_value(compiled, values, column)
    if value == nil and #columns == 1 and column.type and column.type.kind == core.kinds.INTEGER then
      value = id
    end
    key[position] = value
  end
  return setmetatable(key, key_metatable(compiled, columns))
end

local CHANGES = { INSERT = true, UPDATE = true, DELETE = true, REPLACE = true, WITH = true }

-- What a statement without rows has changed; -1 where it is no statement that changes rows.
local function count_changes(self, compiled)
  if compiled.kind == "text" and not CHANGES[effect.first_word(compiled.sql)] then
    return -1
  end
  return self.dbc:changes()
end

local INSERTS = { INSERT = true, REPLACE = true, WITH = true }

-- Whether the key that the database made last is of this statement. An upsert does not tell whether it has changed a row that
-- was there.
local function inserts(compiled, rowcount)
  if compiled.kind == "text" then
    return rowcount == 1 and INSERTS[effect.first_word(compiled.sql)]
  end
  return compiled.kind == "insert" and rowcount > 0 and not compiled.upsert
end

local function changes_result(self, compiled, values)
  local rowcount = count_changes(self, compiled)
  local fields = { rowcount = rowcount }
  if inserts(compiled, rowcount) then
    fields.lastrowid = self.dbc:last_insert_id()
  end
  if fields.lastrowid and compiled.kind == "insert" and rowcount == 1 then
    fields.inserted_primary_key = inserted_key(compiled, values, fields.lastrowid)
  end
  return result.without_rows(fields)
end

--- Steps a bound statement once and makes the result of what comes.
---@param self table connection
---@param compiled table
---@param values table as they were bound
---@param stmt userdata
---@param chunk? integer rows to fetch at a time
---@return table result
function outcome.of(self, compiled, values, stmt, chunk)
  local facts = execution.facts(compiled)
  local has_row = stmt:step()
  execution.describe(facts, compiled, stmt)
  if #facts.names == 0 then
    return changes_result(self, compiled, values)
  end
  return cursor_result(self, compiled, values, stmt, has_row, chunk or CHUNK)
end

return outcome
