--- selectable: what stands in FROM besides tables: aliases, subqueries, common table expressions and explicit joins.
-- Their columns are made when first asked for. Statements make subqueries (statement.lua); SQL is the compiler's.
local import = ...
local errors = import "errors"
local expression = import "expression"
local joining = import "joining"

local selectable = {}
local PARTS, new = expression.PARTS, expression.new

PARTS.alias = { atoms = { "name", "eager" }, nodes = { "element" } }
PARTS.subquery = { atoms = { "name", "lateral" }, nodes = { "statement" } }
PARTS.cte = { atoms = { "name", "recursive" }, nodes = { "statement", "restates" } }
PARTS.join = { atoms = { "kind" }, nodes = { "left", "right", "on" } }

local methods = {}

-- ---- columns ----

local function unknown_column(self, name)
  local names = {}
  for position, column in ipairs(self.columns) do
    names[position] = column.key
  end
  errors.raise("NoSuchColumnError", "'%s' has no column '%s'%s", joining.describe(self), tostring(name),
    errors.hint(name, names))
end

-- Columns by name; an unknown name raises.
local function by_name(self, columns)
  local set = {}
  for _, column in ipairs(columns) do
    set[column.key] = set[column.key] or column
  end
  return setmetatable(set, { __index = function(_, name) unknown_column(self, name) end })
end

local function proxy(self, name, key, origin)
  return new{ visit = "column", name = name, key = key, type = origin.type, table = self, origin = origin }
end

-- What a selectable's columns stand for: { name, key, origin }.
local SOURCES = {
  alias = function(self)
    local sources = {}
    for position, column in ipairs(self.element.columns) do
      sources[position] = { column.name, column.key or column.name, column }
    end
    return sources
  end,
  subquery = function(self)
    local sources = {}
    for position, entry in ipairs(self.statement:exported()) do
      sources[position] = { entry.name, entry.key, entry.node }
    end
    return sources
  end,
}
SOURCES.cte = SOURCES.subquery
selectable.SOURCES = SOURCES

local function columns_of(self)
  if self.visit == "join" then
    local columns = {}
    for _, side in ipairs({ self.left, self.right }) do
      for _, column in ipairs(side.columns) do
        columns[#columns + 1] = column
      end
    end
    return columns
  end
  local columns = {}
  for position, source in ipairs(SOURCES[self.visit](self)) do
    columns[position] = proxy(self, source[1], source[2], source[3])
  end
  return columns
end

local metatable = { __metatable = { __name = "orrery.selectable", __clause = function(self) return self end } }

errors.guard(methods, "a table in FROM", { name = 1 }, "columns are under .c, as in alias.c.%s", 2)

function metatable.__index(self, key)
  if key == "columns" then
    local columns = columns_of(self)
    rawset(self, "columns", columns)
    return columns
  elseif key == "c" then
    local set = by_name(self, self.columns)
    rawset(self, "c", set)
    return set
  end
  return methods[key]
end

function metatable.__tostring(self)
  if self.statement then
    return tostring(self.statement)
  end
  return "orrery." .. self.visit .. (self.name and " '" .. self.name .. "'" or "")
end

-- ---- making them ----

local function check_name(name, call)
  if name ~= nil and (type(name) ~= "string" or name == "") then
    errors.raise("ArgumentError", "%s: a name expected, got %s", call, errors.show(name))
  end
  return name
end

--- The table, alias or subquery that `value` is or, as a mapped class, has; raises for anything else.
---@param value any
---@param call string
---@param position integer
---@return table
function selectable.expect(value, call, position)
  local node = expression.expect(value, call, position)
  if node.visit == "entity" then
    return node.table
  elseif node.is_statement then
    errors.raise("ArgumentError", "%s: argument %d is a select; write select(...):subquery()", call, position)
  elseif not joining.has_columns(node) then
    errors.raise("ArgumentError", "%s: argument %d is a %s; a class, table or subquery expected", call, position,
      node.visit)
  end
  return node
end

-- What is not put under another name, but made once more with it.
selectable.RENAMED = {
  subquery = function(self, name)
    return selectable.subquery(self.statement, name, self.lateral)
  end,
}

--- A node that stands in FROM; for the files that add kinds of them.
---@param node table with visit, and mostly a name
---@param call string
---@return table
function selectable.new(node, call)
  check_name(node.name, call)
  return setmetatable(node, metatable)
end

--- Another name for a table, so that it can stand in a statement twice.
---@param element table
---@param name? string made by the compiler when absent
function selectable.alias(element, name)
  element = selectable.expect(element, "alias()", 1)
  if selectable.RENAMED[element.visit] then
    return selectable.RENAMED[element.visit](element, check_name(name, "alias()"))
  elseif element.visit == "alias" then
    element = element.element
  end
  return setmetatable({ visit = "alias", element = element, name = check_name(name, "alias()") }, metatable)
end

--- A select as a table in FROM.
---@param statement table
---@param name? string
---@param lateral? boolean
function selectable.subquery(statement, name, lateral)
  return setmetatable({ visit = "subquery", statement = statement, name = check_name(name, "subquery()"),
    lateral = lateral }, metatable)
end

--- A select under a name in WITH.
---@param statement table
---@param name? string
---@param recursive? boolean
function selectable.cte(statement, name, recursive)
  return setmetatable({ visit = "cte", statement = statement, name = check_name(name, "cte()"),
    recursive = recursive or false }, metatable)
end

local JOIN_OPTIONS = { isouter = true, full = true }

--- The join's words from its options.
---@param options? { isouter?: boolean, full?: boolean }
---@param call string
function selectable.join_kind(options, call)
  options = errors.check_options(options, JOIN_OPTIONS, call)
  return options.full and "FULL OUTER JOIN" or options.isouter and "LEFT OUTER JOIN" or "JOIN"
end

-- The joins that a relationship leads by, through its link table where it has one.
local function along(steps, left, kind)
  for _, step in ipairs(steps) do
    left = setmetatable({ visit = "join", kind = kind, left = left, right = step.table, on = step.on }, metatable)
  end
  return left
end

--- left JOIN right ON condition, along a relationship (User.posts, of an alias as well), or by the foreign key between them
--- where no condition is given.
---@param left table
---@param right table
---@param condition? table
---@param options? { isouter?: boolean, full?: boolean }
function selectable.join(left, right, condition, options)
  left, right = selectable.expect(left, "join()", 1), selectable.expect(right, "join()", 2)
  local mark = getmetatable(condition)
  if type(mark) == "table" and mark.__relationship then
    return along(mark.__join(condition, right), left, selectable.join_kind(options, "join()"))
  end
  local on = condition == nil and joining.condition(left, right) or expression.expect_operand(condition, "join()", 3)
  return setmetatable({ visit = "join", kind = selectable.join_kind(options, "join()"), left = left, right = right,
    on = on }, metatable)
end

-- ---- methods ----

--- This table joined with another.
function methods:join(right, condition, options)
  return selectable.join(self, right, condition, options)
end

function methods:outerjoin(right, condition)
  return selectable.join(self, right, condition, { isouter = true })
end

function methods:alias(name)
  if self.visit == "join" then
    errors.raise("ArgumentError", "alias(): a join has no alias; write select(...):subquery()")
  end
  return selectable.alias(self, name)
end

-- A recursive member names the CTE before it; the whole stands under the same name.
local function restate(self, operator, other)
  if self.visit ~= "cte" or not self.statement[operator] then
    errors.raise("ArgumentError", "%s(): only a cte of a select can be extended; join selects before making a subquery", operator)
  end
  local cte = selectable.cte(self.statement[operator](self.statement, other), self.name, self.recursive)
  cte.restates = self
  return cte
end

function methods:union(other)
  return restate(self, "union", other)
end

function methods:union_all(other)
  return restate(self, "union_all", other)
end

selectable.methods = methods

return selectable
