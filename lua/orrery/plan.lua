--- plan: connection:explain(statement), the way in which the database means to find the rows, as a tree that is printed.
local import = ...
local errors = import "errors"
local connection = import "connection"

---@class orrery.Plan: { depth: integer, detail: string }[] the steps from top to bottom
---@field sql string
local metatable = { __name = "orrery.Plan" }

-- Whether the step at `position` is the last one below its parent.
local function is_last(self, position)
  for later = position + 1, #self do
    if self[later].depth <= self[position].depth then
      return self[later].depth < self[position].depth
    end
  end
  return true
end

-- The tree as SQLite's own shell draws it.
function metatable.__tostring(self)
  local lines, bars = { self.sql }, {}
  for position, step in ipairs(self) do
    local last = is_last(self, position)
    local stems = table.concat(bars, "", 1, step.depth - 1)
    lines[#lines + 1] = stems .. (last and "`--" or "|--") .. step.detail
    bars[step.depth] = last and "   " or "|  "
  end
  return table.concat(lines, "\n")
end

-- Rows come from top to bottom, each below the one that it names.
local function tree_of(sql, rows)
  local self, depths = setmetatable({ sql = sql }, metatable), { [0] = 0 }
  for position, row in ipairs(rows) do
    local depth = (depths[row[2]] or 0) + 1
    depths[row[1]] = depth
    self[position] = { depth = depth, detail = row[4] }
  end
  return self
end

--- How the database means to run a statement, which does not run: print(conn:explain(stmt)). An array of steps with
--- `depth` and `detail`.
---@param statement table
---@param params? table values by name
---@return orrery.Plan
function connection.methods:explain(statement, params)
  local compiled, values = self:compile(statement, params)
  local explain = self.dialect.explain
  if not explain then
    errors.raise("NotSupportedError", "connection:explain(): %s is not asked for its plans here", self.dialect.name)
  end
  local asked = { sql = explain:format(compiled.sql), binds = compiled.binds, kind = "select", readonly = true, columns = {} }
  return tree_of(compiled.sql, self:run(asked, values):all())
end

return metatable
