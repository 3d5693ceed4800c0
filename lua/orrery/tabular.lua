--- tabular: rows in FROM that no table holds: functions that give rows, and VALUES. Also column(), a name without a
-- table. How they stand in FROM is selectable.lua's, their SQL the compiler's.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local selectable = import "selectable"

local tabular = {}
local methods, new, PARTS = expression.methods, expression.new, expression.PARTS
local NullType = types.NullType

PARTS.table_function = { atoms = { "name" }, nodes = { "element" }, lists = { "declared" } }
PARTS.function_value = { nodes = { "source" } }
PARTS.values = { atoms = { "name" }, lists = { "declared", "rows" } }

-- ---- columns ----

local function check_name(name, call)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "%s: a name expected, got %s", call, errors.show(name))
  end
end

--- A column by its name alone: of text(), of what a function or VALUES gives, of a table() without MetaData.
---@param name string
---@param column_type? orrery.Type
---@return orrery.Element
function tabular.column(name, column_type)
  check_name(name, "column()")
  column_type = column_type and types.coerce(column_type, "column()") or NullType
  return new{ visit = "column", name = name, key = name, type = column_type }
end

local function declared_column(value, call, position)
  if type(value) == "string" then
    return tabular.column(value)
  end
  local node = expression.clause(value)
  if not node or node.visit ~= "column" then
    errors.raise("ArgumentError", "%s: argument %d must be a column's name or orm.column(name, Type), got %s", call,
      position, node and "a " .. node.visit or errors.show(value))
  end
  return node
end

local function is_plain(value)
  return type(value) == "table" and not getmetatable(value)
end

local function refuse_twice(columns, call)
  local seen = {}
  for _, column in ipairs(columns) do
    local name = column.name:lower()
    if seen[name] then
      errors.raise("ArgumentError", "%s: there are two columns '%s'", call, column.name)
    end
    seen[name] = true
  end
end

-- The columns among the arguments of `call`, and the options behind them.
local function read_columns(call, allowed, ...)
  local count, columns = select("#", ...), {}
  local last = count > 0 and (select(count, ...)) or nil
  local options = is_plain(last) and errors.check_options(last, allowed, call) or {}
  for position = 1, is_plain(last) and count - 1 or count do
    columns[position] = declared_column((select(position, ...)), call, position)
  end
  if #columns == 0 then
    errors.raise("ArgumentError", "%s needs the names of its columns", call)
  end
  refuse_twice(columns, call)
  return columns, options
end

local function sources_of(self)
  local sources = {}
  for position, column in ipairs(self.declared) do
    sources[position] = { column.name, column.key or column.name, column }
  end
  return sources
end
selectable.SOURCES.table_function, selectable.SOURCES.values = sources_of, sources_of

-- ---- functions ----

local function check_function(self, call)
  if type(self) ~= "table" or self.visit ~= "function" then
    errors.raise("ArgumentError", "%s: a function gives rows, func.name(...):%s", call, call)
  end
end

local function table_function(element, declared, name, implicit)
  return selectable.new({ visit = "table_function", element = element, declared = declared, name = name,
    joins_implicitly = implicit }, "table_valued()")
end

function selectable.RENAMED.table_function(self, name)
  return table_function(self.element, self.declared, name, self.joins_implicitly)
end

--- The same function of other arguments, under the same name.
---@param self table
---@param element table
---@return table
function tabular.of_function(self, element)
  return table_function(element, self.declared, self.name, self.joins_implicitly)
end

local FUNCTION_OPTIONS = { name = 1, joins_implicitly = 1 }

--- A function as a table in FROM, with the columns that it gives: func.json_each(Item.doc):table_valued("key", "value").
--- It sees the other tables of its FROM.
---@param ... string|orrery.Element|{ name?: string, joins_implicitly?: boolean } columns, then options; joins_implicitly:
--- nothing need link it with the other tables
---@return table
function methods:table_valued(...)
  check_function(self, "table_valued()")
  local declared, options = read_columns("table_valued()", FUNCTION_OPTIONS, ...)
  return table_function(self, declared, options.name, options.joins_implicitly)
end

local VALUE_OPTIONS = { joins_implicitly = 1 }

--- The values of a function that gives one in each row, as a column: func.json_each(Item.doc):column_valued("tag").
---@param name? string
---@param options? { joins_implicitly?: boolean }
---@return orrery.Element
function methods:column_valued(name, options)
  check_function(self, "column_valued()")
  options = errors.check_options(options, VALUE_OPTIONS, "column_valued()")
  local source = table_function(self, {}, name, options.joins_implicitly)
  local node = new{ visit = "function_value", source = source, type = self.type }
  return name and node:label(name) or node
end

-- ---- VALUES ----

local function make_values(declared, name, rows)
  return selectable.new({ visit = "values", declared = declared, name = name, rows = rows }, "values()")
end

function selectable.RENAMED.values(self, name)
  return make_values(self.declared, name, self.rows)
end

local VALUES_OPTIONS = { name = 1 }

--- VALUES, rows that the statement brings along: values(column("id", Integer), column("name", String), { name = "v" }).
---@param ... string|orrery.Element|{ name?: string }
---@return table
function tabular.values(...)
  local declared, options = read_columns("values()", VALUES_OPTIONS, ...)
  return make_values(declared, options.name, {})
end

local function value_node(value, column, row)
  if value == nil then
    errors.raise("ArgumentError", "values():data(): row %d has no value for '%s'; NULL is orm.null", row, column.name)
  elseif value == core.null then
    return expression.NULL
  elseif expression.clause(value) then
    return expression.expect_operand(value, "values():data()", row)
  end
  return expression.literal(value, column.type ~= NullType and column.type or nil)
end

-- Whether a list has nothing but places up to `count`.
local function is_list(list, count)
  for key in next, list do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > count then
      return false
    end
  end
  return true
end

local function read_row(values, declared, row)
  if not is_plain(values) or not is_list(values, #declared) then
    errors.raise("ArgumentError", "values():data(): row %d must be a list of %d values", row, #declared)
  end
  local elements = {}
  for position, column in ipairs(declared) do
    elements[position] = value_node(values[position], column, row)
  end
  return new{ visit = "tuple", elements = elements, type = NullType }
end

local function check_values(self, call)
  if self.visit ~= "values" then
    errors.raise("ArgumentError", "%s(): only values(...) has that; a select has cte()", call)
  end
end

--- The same VALUES with more rows: data{ { 1, "a" }, { 2, "b" } }.
---@param list any[][]
---@return table
function selectable.methods:data(list)
  check_values(self, "data")
  if not is_plain(list) or next(list) == nil or not is_list(list, #list) then
    errors.raise("ArgumentError", "values():data(): a list of rows without a hole expected, got %s", errors.show(list))
  end
  local rows, count = {}, #self.rows
  for position = 1, count do
    rows[position] = self.rows[position]
  end
  for position = 1, #list do
    rows[count + position] = read_row(list[position], self.declared, position)
  end
  return make_values(self.declared, self.name, rows)
end

--- As a named part in WITH.
---@param name? string
---@return table
function selectable.methods:cte(name)
  check_values(self, "cte")
  return selectable.cte(self, name or self.name)
end

--- The columns, as a statement in WITH says them.
---@return table[] entries as of statement.entries
function selectable.methods:exported()
  check_values(self, "exported")
  local entries = {}
  for position, column in ipairs(self.declared) do
    entries[position] = { node = column, type = column.type, name = column.name, key = column.key or column.name }
  end
  return entries
end

return tabular
