--- functions: what a script calls to make expressions: func.*, case_, cast, exists, text and the like, and windows over
-- functions. Only text() and literal_column() carry SQL of the script's own. Operators are in expression.lua.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local settings = import "settings"

local functions = {}
local methods, new = expression.methods, expression.new
local unpack = rawget(table, "unpack") or unpack
local value_or_node = expression.value_or_node
local Boolean, Integer, Float, Text, NullType = types.Boolean, types.Integer, types.Float, types.Text, types.NullType

-- ---- func ----

local function of_first(arguments)
  local first = arguments[1]
  return first and first.type or NullType
end

-- The average of lengths of time is one.
local function average(arguments)
  local first = arguments[1]
  return first and first.type.definition == types.Interval.definition and first.type or Float
end

-- What functions give back; those not listed give what the database says.
local RESULTS = { avg = average, coalesce = of_first, ifnull = of_first, nullif = of_first, max = of_first, min = of_first,
  abs = of_first, sum = of_first, round = of_first, lag = of_first, lead = of_first, first_value = of_first,
  last_value = of_first, nth_value = of_first, any_value = of_first }
local BY_TYPE = {
  [Integer] = "count length char_length octet_length instr row_number rank dense_rank ntile random unicode sign",
  [Float] = "total percent_rank cume_dist sqrt power exp ln log sin cos tan pi",
  [Text] = "lower upper trim ltrim rtrim substr substring replace concat group_concat string_agg hex quote char "
    .. "printf format typeof strftime",
  [types.DateTime] = "now current_timestamp localtimestamp",
  [types.Date] = "current_date",
  [types.Time] = "current_time",
}
for result, names in pairs(BY_TYPE) do
  for name in names:gmatch("%S+") do
    RESULTS[name] = result
  end
end

-- These compare their arguments with the first, so values have its type.
local ALIKE = { coalesce = true, ifnull = true, nullif = true, max = true, min = true }

-- A trailing { type_ = T } is no argument.
local function take_type(count, ...)
  local last = count > 0 and (select(count, ...)) or nil
  if type(last) == "table" and not getmetatable(last) and last.type_ ~= nil and next(last, next(last)) == nil then
    return types.coerce(last.type_, "func: type_"), count - 1
  end
  return nil, count
end

local function read_arguments(name, count, ...)
  local arguments = {}
  for position = 1, count do
    local value = (select(position, ...))
    local first = arguments[1]
    if ALIKE[name] and first and expression.clause((...)) and value ~= nil then
      arguments[position] = expression.operand(value, first, name)
    else
      arguments[position] = value_or_node(value, "func." .. name .. "()", position)
    end
  end
  return arguments
end

local function call(name, ...)
  local result, count = take_type(select("#", ...), ...)
  local arguments = read_arguments(name, count, ...)
  result = result or RESULTS[name] or NullType
  if type(result) == "function" then
    result = result(arguments)
  end
  return new{ visit = "function", name = name, arguments = arguments, type = result }
end

--- func.name(...) calls a function of the database.
functions.func = setmetatable({}, {
  __metatable = { __name = "orrery.func" },
  __newindex = function()
    errors.raise("ArgumentError", "func: its functions are the database's and cannot be set")
  end,
  __index = function(_, name)
    if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
      errors.raise("ArgumentError", "func: %s is no function's name", errors.show(name))
    end
    return function(...)
      return call(name, ...)
    end
  end,
})

-- ---- aggregates and windows ----

--- FILTER (WHERE condition) of an aggregate.
function methods:filter(...)
  local condition = expression.and_(...)
  return new{ visit = "filter", element = self, condition = condition, type = self.type }
end

local function bound(value, default, call_name)
  if value == nil or value == "unbounded" then
    return "UNBOUNDED " .. default
  elseif type(value) ~= "number" or value % 1 ~= 0 then
    errors.raise("ArgumentError", "over(): %s is { from, to } in whole numbers or \"unbounded\", got %s", call_name,
      errors.show(value))
  elseif value == 0 then
    return "CURRENT ROW"
  end
  return ("%d %s"):format(math.abs(value), value < 0 and "PRECEDING" or "FOLLOWING")
end

local FRAMES = { "rows", "range", "groups" }

local function check_frame(frame, name)
  if type(frame) ~= "table" or #frame > 2 then
    errors.raise("ArgumentError", "over(): %s is { from, to } in whole numbers or \"unbounded\", got %s", name,
      errors.show(frame))
  elseif type(frame[1]) == "number" and type(frame[2]) == "number" and frame[1] > frame[2] then
    errors.raise("ArgumentError", "over(): %s ends before it begins: { %s, %s }", name, frame[1], frame[2])
  end
end

local function frame_of(options)
  local found
  for _, name in ipairs(FRAMES) do
    local frame = options[name]
    if frame ~= nil then
      if found then
        errors.raise("ArgumentError", "over(): a window has one frame: rows, range or groups")
      end
      check_frame(frame, name)
      found = ("%s BETWEEN %s AND %s"):format(name:upper(), bound(frame[1], "PRECEDING", name),
        bound(frame[2], "FOLLOWING", name))
    end
  end
  return found
end

local function list_of(value, call_name)
  if value == nil then
    return {}
  elseif expression.clause(value) or type(value) ~= "table" then
    return expression.expect_all(call_name, value)
  end
  return expression.expect_all(call_name, unpack(value))
end

local OVER_OPTIONS = { partition_by = 1, order_by = 1, rows = 1, range = 1, groups = 1 }

--- The function over a window: { partition_by =, order_by =, rows = { -1, 0 } }.
function methods:over(options)
  options = errors.check_options(options, OVER_OPTIONS, "over()")
  return new{
    visit = "over",
    element = self,
    partitions = list_of(options.partition_by, "over(): partition_by"),
    orders = list_of(options.order_by, "over(): order_by"),
    frame = frame_of(options),
    type = self.type,
  }
end

-- ---- case ----

local case_methods = {}
local case_metatable

local function with_branch(case, condition, result)
  local copy = { visit = "case", subject = case.subject, otherwise = case.otherwise, conditions = {}, results = {},
    type = case.type == NullType and result.type or case.type }
  for position, old in ipairs(case.conditions) do
    copy.conditions[position], copy.results[position] = old, case.results[position]
  end
  copy.conditions[#copy.conditions + 1], copy.results[#copy.results + 1] = condition, result
  return setmetatable(copy, case_metatable)
end

--- One more branch of case_(): when(condition, value), or when(value, result) of case_(subject).
function case_methods:when(condition, result)
  if self.subject then
    condition = expression.operand(condition, self.subject, "when")
  else
    condition = expression.expect_operand(condition, "when()", 1)
  end
  return with_branch(self, condition, value_or_node(result, "when()", 2))
end

--- What case_() gives where no branch does; NULL without it.
function case_methods:else_(result)
  local node = value_or_node(result, "else_()", 1)
  return setmetatable({ visit = "case", subject = self.subject, conditions = self.conditions, results = self.results,
    otherwise = node, type = self.type }, case_metatable)
end

case_metatable = expression.metatable(case_methods)

--- CASE: case_():when(condition, value):else_(value), or case_(subject):when(value, result).
---@param subject? orrery.Element
function functions.case_(...)
  if type((...)) == "table" and not expression.clause((...)) then
    errors.raise("ArgumentError", "case_(): branches are written case_():when(condition, value):else_(value)")
  end
  local subject = select("#", ...) > 0 and expression.expect_operand((...), "case_()", 1) or nil
  return setmetatable({ visit = "case", subject = subject, conditions = {}, results = {}, type = NullType },
    case_metatable)
end

-- ---- single expressions ----

--- CAST(value AS target).
---@param value any
---@param target orrery.Type
function functions.cast(value, target)
  return methods.cast(value_or_node(value, "cast()", 1), target)
end

--- The value, read as another type; the SQL does not change.
function functions.type_coerce(value, target)
  return methods.type_coerce(value_or_node(value, "type_coerce()", 1), target)
end

local exists_methods, scalar_methods = {}, {}

-- What an exists() or a select as a value asks can be narrowed as the select can.
for _, name in ipairs({ "where", "select_from", "correlate", "correlate_except" }) do
  exists_methods[name] = function(self, ...)
    return functions.exists(self.statement[name](self.statement, ...))
  end
  scalar_methods[name] = function(self, ...)
    return functions.scalar(self.statement[name](self.statement, ...), self.type)
  end
end

local scalar_metatable = expression.metatable(scalar_methods)

--- A select of one column as a value.
---@param statement table
---@param value_type orrery.Type
function functions.scalar(statement, value_type)
  return setmetatable({ visit = "scalar", statement = statement, type = value_type }, scalar_metatable)
end

local exists_metatable = expression.metatable(exists_methods)

--- Whether a select has a row.
---@param statement table
function functions.exists(statement)
  local node = expression.expect(statement, "exists()", 1)
  if not node.is_statement then
    errors.raise("ArgumentError", "exists(): a select expected, got a %s; write select(...):exists()", node.visit)
  end
  return setmetatable({ visit = "exists", statement = node, type = Boolean }, exists_metatable)
end

--- Several columns or values that are compared at once: tuple_(A.x, A.y):in_{ { 1, 2 }, { 3, 4 } }.
function functions.tuple_(...)
  local elements = {}
  for position = 1, select("#", ...) do
    elements[position] = value_or_node((select(position, ...)), "tuple_()", position)
  end
  if #elements == 0 then
    errors.raise("ArgumentError", "tuple_() needs its columns")
  end
  return new{ visit = "tuple", elements = elements, type = NullType }
end

local FIELDS = { year = 1, month = 1, day = 1, hour = 1, minute = 1, second = 1, doy = 1, dow = 1, epoch = 1, week = 1,
  quarter = 1, milliseconds = 1, microseconds = 1 }

--- A part of a date: extract("year", User.born).
---@param field "year"|"quarter"|"month"|"week"|"day"|"hour"|"minute"|"second"|"milliseconds"|"microseconds"|"doy"|"dow"|"epoch"
function functions.extract(field, element)
  if not FIELDS[field] then
    errors.raise("ArgumentError", "extract(): %s is no part of a date%s", errors.show(field),
      errors.hint(field, errors.sorted_keys(FIELDS)))
  end
  return new{ visit = "extract", field = field, element = value_or_node(element, "extract()", 2), type = Integer }
end

functions.literal = expression.literal

local BIND_OPTIONS = { type_ = 1, value = 1, expanding = 1 }

local function element_type(options)
  local first = type(options.value) == "table" and options.value[1]
  return options.type_ and types.coerce(options.type_, "bindparam()")
    or (first ~= nil and first ~= false) and types.of_value(first) or NullType
end

-- bindparam(key, options), bindparam(key, value), bindparam(key, value, options)
local function bind_options(value, options)
  if options == nil and type(value) == "table" then
    return errors.check_options(value, BIND_OPTIONS, "bindparam()")
  end
  options = errors.check_options(options, BIND_OPTIONS, "bindparam()")
  if value == nil then
    return options
  elseif options.value ~= nil then
    errors.raise("ArgumentError", "bindparam(): the value is given twice")
  end
  return { value = value, type_ = options.type_, expanding = options.expanding }
end

--- A value that is given by name when the statement is executed; with expanding, a list of values, for in_() and for
--- IN in text().
---@param key string
---@param value? any what it is where none is given; a table stands in the options
---@param options? { type_?: orrery.Type, value?: any, expanding?: boolean }
function functions.bindparam(key, value, options)
  if type(key) ~= "string" or not key:find("^[%a_][%w_]*$") then
    errors.raise("ArgumentError", "bindparam(): %s is no name", errors.show(key))
  end
  options = bind_options(value, options)
  if options.expanding then
    return new{ visit = "bind", key = key, value = options.value, expanding = true,
      type = types.list_of{ element_type(options) } }
  end
  local value_type = options.type_ and types.coerce(options.type_, "bindparam()")
    or options.value ~= nil and types.of_value(options.value) or NullType
  return new{ visit = "bind", key = key, value = options.value, type = value_type }
end

local function check_sql(sql, name)
  if type(sql) ~= "string" then
    errors.raise("ArgumentError", "%s(): SQL as a string expected, got %s", name, type(sql))
  elseif sql:find("\0", 1, true) then
    errors.raise("ArgumentError", "%s(): SQL cannot hold a NUL byte", name)
  end
end

--- SQL for one expression, taken as it stands: never pass anything that a user wrote.
---@param sql string
---@param result? orrery.Type
function functions.literal_column(sql, result)
  check_sql(sql, "literal_column")
  result = result and types.coerce(result, "literal_column()") or NullType
  return new{ visit = "literal_column", text = sql, type = result }
end

-- ---- text ----

local text_methods = { is_text = true }
local text_metatable

local function make_text(sql, names, by_name, columns, columns_key, execution)
  local binds = {}
  for position, name in ipairs(names) do
    by_name[name] = by_name[name] or new{ visit = "bind", key = name, type = NullType }
    binds[position] = by_name[name]
  end
  return setmetatable({ visit = "text", text = sql, names = names, binds = binds, by_name = by_name,
    column_types = columns, columns_key = columns_key, execution = execution, type = NullType }, text_metatable)
end

local function bind_value(value, name)
  local node = expression.clause(value)
  if node and node.visit ~= "bind" then
    errors.raise("ArgumentError", "text():bindparams(): '%s' must be a value, got a %s", name, node.visit)
  end
  if node then
    return new{ visit = "bind", key = name, value = node.value, type = node.type, expanding = node.expanding }
  end
  return new{ visit = "bind", key = name, value = value, type = types.of_value(value) }
end

local function check_name(given, names, call_name)
  for _, name in ipairs(names) do
    if name == given then
      return
    end
  end
  errors.raise("ArgumentError", "%s: there is no marker :%s in the text%s", call_name, tostring(given),
    errors.hint(given, names))
end

-- bindparams{ name = value }, or bindparams(bindparam("name", options), ...).
local function named_values(...)
  local first, values = ..., {}
  if not expression.clause(first) then
    if type(first) ~= "table" or next(first) == nil or select("#", ...) > 1 then
      errors.raise("ArgumentError", "text():bindparams{ name = value } needs a table of values, or bindparam(...)")
    end
    return first
  end
  for position, node in ipairs(expression.expect_all("text():bindparams()", ...)) do
    if node.visit ~= "bind" or not node.key then
      errors.raise("ArgumentError", "text():bindparams(): argument %d must be a bindparam(...), got a %s", position,
        node.visit)
    end
    values[node.key] = node
  end
  return values
end

--- The text with values for some of its markers: text("... :y"):bindparams{ y = 1 }, or with parameters in their place.
---@param ... table<string, any>|orrery.Element
function text_methods:bindparams(...)
  local values = named_values(...)
  local by_name = {}
  for name, node in pairs(self.by_name) do
    by_name[name] = node
  end
  for name, value in pairs(values) do
    check_name(name, self.names, "text():bindparams()")
    by_name[name] = bind_value(value, name)
  end
  return make_text(self.text, self.names, by_name, self.column_types, self.columns_key, self.execution)
end

--- Options of the execution, as of every statement.
---@param options { timeout: number, yield_per: integer }
function text_methods:execution_options(options)
  return make_text(self.text, self.names, self.by_name, self.column_types, self.columns_key,
    settings.of_statement(self.execution, options))
end

-- Columns that stand for themselves, and a table of types by name.
local function types_of(columns, ...)
  for position = 1, select("#", ...) do
    local value = (select(position, ...))
    local node = expression.clause(value)
    if node and node.visit == "column" then
      columns[node.key or node.name] = node.type
    elseif not node and type(value) == "table" then
      for _, name in ipairs(errors.sorted_keys(value)) do
        columns[name] = types.coerce(value[name], "text():columns(): " .. name)
      end
    else
      errors.raise("ArgumentError", "text():columns(): { name = Type } or columns expected, got %s",
        node and "a " .. node.visit or errors.show(value))
    end
  end
  return columns
end

--- Types for the text's columns: by name, or those of columns with the same names.
---@param ... table<string, orrery.Type>|orrery.Element
function text_methods:columns(...)
  local columns, key = types_of({}, ...), {}
  for position, name in ipairs(errors.sorted_keys(columns)) do
    key[position] = ("%d:%s=%s"):format(#name, name, columns[name].key)
  end
  return make_text(self.text, self.names, self.by_name, columns, table.concat(key, ";"), self.execution)
end
functions.text_methods = text_methods

text_metatable = expression.metatable(text_methods)

--- SQL of the script's own, with values as :name. A statement by itself, or an expression in one.
---@param sql string
function functions.text(sql)
  check_sql(sql, "text")
  local _, names = core.split(sql)
  return make_text(sql, names, {})
end

--- The methods of one column as functions: desc(User.name).
for _, name in ipairs({ "distinct", "between", "collate" }) do
  functions[name] = function(element, ...)
    return methods[name](expression.expect_operand(element, name .. "()", 1), ...)
  end
end

--- The same for those that order; order_by() also takes a name of its statement here: desc("total").
for _, name in ipairs({ "asc", "desc", "nulls_first", "nulls_last" }) do
  functions[name] = function(element)
    if type(element) == "string" then
      return methods[name](new{ visit = "name", name = element, type = NullType })
    end
    return methods[name](expression.expect_operand(element, name .. "()", 1))
  end
end

--- The constants of SQL.
functions.true_ = function() return expression.TRUE end
functions.false_ = function() return expression.FALSE end

return functions
