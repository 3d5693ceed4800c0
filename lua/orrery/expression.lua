--- expression: the nodes that SQL expressions are made of, and their operators. Nodes are immutable tables with a
-- `visit` name; methods (:eq, :like, :label ...), and what all nodes of a kind have, come from shared metatables, so that
-- a node costs one small table. Makes no SQL: that is the compiler's. What takes names or text of SQL (func, text,
-- case_) is in functions.lua.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local json = reading.later "json"
local types = import "types"
local packing = reading.later "packing"

---@class orrery.Element
---@field visit string which kind of node
---@field type orrery.Type
local methods = { is_statement = false }

local expression = { methods = methods }
local null = core.null
local Boolean, Integer, Float, Text, NullType = types.Boolean, types.Integer, types.Float, types.Text, types.NullType
local kinds = core.kinds
local compared = types.compared
local getmetatable, setmetatable, type, select = getmetatable, setmetatable, type, select

-- ---- what nodes are made of ----

-- The fields of each kind of node that its SQL depends on: `atoms` are plain values, `nodes` are single nodes that may
-- be absent, `lists` are arrays of nodes. Everything that walks nodes (the cache's key, the search for tables) reads
-- this, so a renderer must not look at any other field.
local PARTS = {
  bind = { atoms = { "key", "expanding" } },
  written = { atoms = { "value" } },
  null = {},
  constant = { atoms = { "text" } },
  all = {},
  literal_column = { atoms = { "text" } },
  text = { atoms = { "text", "columns_key" }, lists = { "binds" } },
  binary = { atoms = { "operator", "escape", "moments" }, nodes = { "left", "right" } },
  between = { atoms = { "negated" }, nodes = { "element", "low", "high" } },
  membership = { atoms = { "negated" }, nodes = { "element", "members" } },
  list = { atoms = { "count", "packed", "types" } },
  tuple = { lists = { "elements" } },
  members = { atoms = { "rows" }, lists = { "elements" } },
  unary = { atoms = { "operator" }, nodes = { "element" } },
  junction = { atoms = { "operator" }, lists = { "clauses" } },
  ordering = { atoms = { "direction", "nulls" }, nodes = { "element" } },
  bundle = { atoms = { "name" }, lists = { "elements" } },
  clause_list = { lists = { "elements" } },
  label = { atoms = { "name" }, nodes = { "element" } },
  name = { atoms = { "name" } },
  cast = { nodes = { "element" } },
  coerced = { nodes = { "element" } },
  collation = { atoms = { "name" }, nodes = { "element" } },
  json_path = { nodes = { "element", "steps" } },
  ["function"] = { atoms = { "name" }, lists = { "arguments" } },
  filter = { nodes = { "element", "condition" } },
  over = { atoms = { "frame" }, nodes = { "element" }, lists = { "partitions", "orders" } },
  case = { nodes = { "subject", "otherwise" }, lists = { "conditions", "results" } },
  extract = { atoms = { "field" }, nodes = { "element" } },
  exists = { nodes = { "statement" } },
  scalar = { nodes = { "statement" } },
}
expression.PARTS = PARTS

--- Where statements that are arrays have some of these fields: by the kind's name, the places by the fields' names.
expression.PLACES = {}

-- What only some nodes have, and only some columns.
local FIELDS = { table = 1, origin = 1, key = 1, default = 1, server_default = 1, onupdate = 1, comment = 1, collation = 1,
  computed = 1, identity = 1, nullable = 1, primary_key = 1, unique = 1, index = 1, foreign_keys = 1, info = 1 }
for _, parts in pairs(PARTS) do
  for _, names in pairs(parts) do
    for _, name in ipairs(names) do
      FIELDS[name] = 1
    end
  end
end

-- What getmetatable gives for a node: scripts reach the shared metatables no other way.
local MARK = { __name = "orrery.element", __element = true }
local arithmetic = {}

-- Names that conditions have elsewhere, and what they are here.
local HABITS = {
  is_null = "NULL is asked for by is_(orm.null)", isnull = "NULL is asked for by is_(orm.null)",
  is_not_null = "write is_not(orm.null)", isnotnull = "write is_not(orm.null)", notnull = "write is_not(orm.null)",
  equals = "write eq(value)", equal = "write eq(value)", neq = "write ne(value)", not_eq = "write ne(value)",
  gte = "write ge(value)", lte = "write le(value)",
  ["in"] = "write in_{ ... }", notin = "write not_in{ ... }", notin_ = "write not_in{ ... }", any_of = "write in_{ ... }",
  count = "write orm.func.count(expression)", sum = "write orm.func.sum(expression)", max = "write orm.func.max(expression)",
  min = "write orm.func.min(expression)", avg = "write orm.func.avg(expression)",
  lower = "write orm.func.lower(expression)", upper = "write orm.func.upper(expression)",
  length = "write orm.func.length(expression)", len = "write orm.func.length(expression)",
  as = "write label(name)", alias = "write label(name)",
}

--- The methods of a kind of nodes with all of the common ones.
---@param own table<string, function>
---@param depth? integer as of errors.guard()
---@return table own
function expression.complete(own, depth)
  for name, method in pairs(methods) do
    own[name] = own[name] or method
  end
  return errors.guard(own, "an expression", FIELDS, HABITS, depth)
end

--- A metatable for nodes: all operators, and `own` methods before the common ones. `extra` holds further fields of
--- it, of which those that other files look for (__clause, __relationship) are visible to getmetatable.
---@param own? table<string, function>
---@param extra? table
---@return table
function expression.metatable(own, extra)
  local index, mark = methods, MARK
  if own then
    index = expression.complete(own)
  end
  local metatable = {}
  for event, handler in pairs(arithmetic) do
    metatable[event] = handler
  end
  for name, value in pairs(extra or {}) do
    if name == "__clause" or name == "__relationship" or name == "__operand" then
      mark = mark == MARK and { __name = MARK.__name, __element = true } or mark
      mark[name] = value
    end
    metatable[name] = value
  end
  metatable.__index, metatable.__metatable = metatable.__index or index, mark
  metatable[1] = mark == MARK or nil -- which tells the core that these are plain nodes
  return metatable
end

-- Of plain nodes and of bound values, made when all operators are known; of comparisons with a value.
local metatable, bind_metatable
local comparison_metatable = {}
local renderer

--- A copy of a node, to be changed before anyone sees it.
---@type fun(node: table): table
local copy_of = core.copy
expression.copy_of = copy_of

--- The SQL of a node or statement.
function expression.tostring(node)
  return renderer and renderer(node) or "orrery." .. node.visit
end
arithmetic.__tostring = expression.tostring

-- ---- what a caller may pass ----

--- Whether `value` is a node (a column, a condition, a function call ...).
---@param value any
---@return boolean
local function is_element(value)
  local mark = getmetatable(value)
  return mark == MARK or (type(mark) == "table" and mark.__element == true)
end
expression.is_element = is_element

--- The node, statement or selectable that `value` is or stands for (a mapped class gives its entity), or nil.
---@param value any
---@return table?
local function clause(value)
  local mark = getmetatable(value)
  if mark == MARK then
    return value
  elseif type(mark) ~= "table" then
    return nil
  elseif mark.__clause then
    return mark.__clause(value)
  end
  return mark.__element and value or nil
end
expression.clause = clause

--- A column or expression as an error message names it: "User.age".
---@param node table
---@return string
local function describe(node)
  if node.visit ~= "column" then
    return node.visit == "label" and node.name or "expression"
  end
  local owner = node.owner or node.table and (node.table.name or node.table.visit)
  local name = node.key or node.name
  return owner and owner .. "." .. name or name
end
expression.describe = describe

--- Takes "name desc" apart, which is SQL and no name: the name and "desc" or "asc"; nil where it is not of this form.
---@param text string
---@return string? name
---@return string? direction
function expression.split_direction(text)
  local name, direction = text:match("^([%w_.]+)[ .:]+(%a+)[()]*$")
  direction = direction and direction:lower()
  if direction == "desc" or direction == "asc" then
    return name, direction
  end
  name = text:match("^%-([%w_.]+)$")
  return name, name and "desc"
end

local EXPLAINED = {
  table = " (are you passing a list? unpack it)",
  number = " (a value is written literal(...))",
  ["function"] = " (is a method not called? User.name:desc() has parentheses and a colon)",
}

-- Lua's == gives true or false, and a misspelt name gives nil: both would vanish from a condition unseen.
local function explain(value)
  if value == nil then
    return "is nil (is a name misspelt? NULL is orm.null)"
  elseif type(value) == "boolean" then
    return ("is %s ('User.id == 5' compares in Lua; write User.id:eq(5))"):format(tostring(value))
  elseif type(value) == "string" then
    return ("is the string %s (SQL is written text(...), a value literal(...))"):format(errors.show(value))
  end
  local class = core.class_of(value)
  if class then
    return ("is an object of %s (a class, a column or a condition belongs here)"):format(tostring(class))
  end
  local mark = getmetatable(value)
  if type(mark) == "table" and mark.__relationship then
    local name = ("%s.%s"):format(tostring(value.class):gsub("^class ", ""), value.key)
    return ("is the relationship %s (it goes into join() and loader options, and conditions on it are %s:any(...), :has(...), "
      .. ":contains(object) and :eq(object))"):format(name, name)
  elseif type(value) == "table" and mark == nil and value[1] == nil and next(value) ~= nil then
    return "is a table of names (equal attributes are asked for by filter_by{ name = value })"
  end
  return "is a " .. type(value) .. (EXPLAINED[type(value)] or "")
end

--- The node for argument `position` of `call`; raises for what is not SQL, above all nil, true and false.
---@param value any
---@param call string "where()"
---@param position integer
---@return table
local function expect(value, call, position)
  local node = clause(value)
  if not node then
    errors.raise("ArgumentError", "%s: argument %d %s", call, position, explain(value))
  end
  return node
end
expression.expect = expect

--- The nodes of all arguments of `call`.
---@param call string
---@return table[]
function expression.expect_all(call, ...)
  local list = {}
  for position = 1, select("#", ...) do
    list[position] = expect((select(position, ...)), call, position)
  end
  return list
end

-- A statement, an entity or a table where a value belongs: a statement is a scalar subquery.
local function as_operand(node, call)
  local mark = getmetatable(node)
  if type(mark) == "table" and mark.__operand then
    return mark.__operand(node)
  elseif not node.type then
    local name = node.table and node.table.name or node.name
    errors.raise("ArgumentError", "%s: a column or value expected, got a whole %s%s; name one of its columns", call,
      node.visit == "entity" and "class" or node.visit, name and " '" .. name .. "'" or "")
  end
  return node
end

--- An expression for argument `position` of `call`: as expect, but not a whole table or class.
local function expect_operand(value, call, position)
  if getmetatable(value) == MARK then
    return value
  end
  return as_operand(expect(value, call, position), call)
end
expression.expect_operand = expect_operand

-- ---- values ----

local NULL

--- A bound value of a type, by default what Lua says that it is.
---@param value any
---@param value_type? orrery.Type
---@return orrery.Element
function expression.literal(value, value_type)
  if value == nil then
    errors.raise("ArgumentError", "literal(nil): NULL is orm.null")
  end
  value_type = value_type and types.coerce(value_type, "literal()") or types.of_value(value)
  return setmetatable({ value = value, type = value_type }, bind_metatable)
end

-- A value that only some types take: tables for dates and documents.
local function check_value(value, other, method)
  local kind = type(value)
  local wanted = other.type
  if kind == "table" and (wanted.bind or wanted.kind == kinds.DATE or wanted.kind == kinds.TIME
    or wanted.kind == kinds.DATETIME) then
    return
  end
  errors.raise("ArgumentError", "%s:%s(): a %s is no value for a column of type %s%s", describe(other), method, kind,
    tostring(wanted), kind == "table" and "; in_{...} takes lists" or "")
end

local function convert(value, other, method)
  if value == nil then
    errors.raise("ArgumentError", "%s:%s(nil): nil is no value; use is_(orm.null) for NULL, and check the variable's "
      .. "name", describe(other), method)
  elseif value == null then
    return NULL
  end
  local node = clause(value)
  if node and node.visit == "bind" and node.type == NullType and node.value == nil then
    return setmetatable({ key = node.key, type = other.type }, bind_metatable)
  elseif node then
    return as_operand(node, describe(other) .. ":" .. method .. "()")
  end
  check_value(value, other, method)
  return setmetatable({ value = value, type = other.type }, bind_metatable)
end

local row_like

local PLAIN = { number = true, string = true, boolean = true }

-- The right side of `method` on `other`: values are bound with the type of the other side.
local function operand(value, other, method)
  local kind = type(value)
  if PLAIN[kind] then
    return setmetatable({ value = value, type = compared(other.type, kind) }, bind_metatable)
  elseif kind == "table" and other.visit == "tuple" and not getmetatable(value) then
    return row_like(other, value, method, 1)
  end
  return convert(value, other, method)
end
expression.operand = operand

-- A node or a plain value that nothing else gives a type to.
local function value_or_node(value, call, position)
  if PLAIN[type(value)] then
    return expression.literal(value)
  elseif value == null then
    return NULL
  end
  return expect_operand(value, call, position)
end
expression.value_or_node = value_or_node

local function check_self(self, method)
  if type(self) ~= "table" then
    errors.raise("ArgumentError", "%s was called with '.'; use ':' as in column:%s(...)", method, method)
  end
end

-- ---- operators ----

-- Higher binds tighter. `loose` operators have no place that databases agree on: with others around, they get
-- parentheses. `token` stands for the operator in a cache key.
local OPERATORS = {}
expression.OPERATORS = OPERATORS

local function operator(name, text, precedence, fields)
  local record = fields or {}
  record.name, record.text, record.precedence, record.token = name, text, precedence, name
  OPERATORS[name] = record
  return record
end

local function opposites(a, b)
  OPERATORS[a].negated, OPERATORS[b].negated = OPERATORS[b], OPERATORS[a]
end

operator("eq", "=", 5)
operator("ne", "!=", 5)
operator("lt", "<", 5)
operator("le", "<=", 5)
operator("gt", ">", 5)
operator("ge", ">=", 5)
operator("is_", "IS", 5)
operator("is_not", "IS NOT", 5)
operator("like", "LIKE", 5)
operator("not_like", "NOT LIKE", 5)
operator("ilike", "ILIKE", 5)
operator("not_ilike", "NOT ILIKE", 5)
operator("match", "MATCH", 5)
operator("regexp_match", "REGEXP", 5)
operator("not_regexp_match", "NOT REGEXP", 5)
operator("is_distinct_from", "IS DISTINCT FROM", 5)
operator("is_not_distinct_from", "IS NOT DISTINCT FROM", 5)
operator("add", "+", 7, { associative = true })
operator("sub", "-", 7)
operator("mul", "*", 8, { associative = true })
operator("div", "/", 8)
operator("floordiv", "/", 8)
operator("mod", "%", 8)
operator("concat", "||", 6, { loose = true, associative = true })
operator("bitwise_and", "&", 6, { loose = true })
operator("bitwise_or", "|", 6, { loose = true })
operator("bitwise_xor", "^", 6, { loose = true })
operator("bitwise_lshift", "<<", 6, { loose = true })
operator("bitwise_rshift", ">>", 6, { loose = true })
operator("bitwise_not", "~", 9)
operator("and_", "AND", 3, { associative = true })
operator("or_", "OR", 2, { associative = true })
operator("not_", "NOT", 4)
operator("neg", "-", 9)
operator("distinct", "DISTINCT", 1)
for a, b in pairs({ eq = "ne", lt = "ge", le = "gt", is_ = "is_not", like = "not_like", ilike = "not_ilike",
  regexp_match = "not_regexp_match", is_distinct_from = "is_not_distinct_from" }) do
  opposites(a, b)
end

local function binary(record, left, right, result, escape, moments)
  return setmetatable({ visit = "binary", operator = record, left = left, right = right, type = result,
    escape = escape, moments = moments }, metatable)
end

-- ---- comparisons ----

-- A comparison with a value is an array, since many are made: its form, and the value. The form has what all comparisons
-- of one column with such values have in common, which the column keeps: the operator, the left side, and the type of the
-- value. The node of the value is made when somebody asks for the right side, and comes third. Mostly the core makes
-- these (nodelib.c).
local FORM, VALUE, RIGHT = 1, 2, 3
local OF_FORM = { operator = 1, left = 2, type = 3 }
local compared_fields = { visit = "binary", type = Boolean }

local function comparison(record, left, value, kind)
  return setmetatable({ { record, left, compared(left.type, kind) }, value }, comparison_metatable)
end

local function compared_field(node, name)
  if name == "operator" or name == "left" then
    return rawget(node, FORM)[OF_FORM[name]]
  elseif name ~= "right" then
    return compared_fields[name]
  elseif not rawget(node, RIGHT) then
    rawset(node, RIGHT, setmetatable({ value = node[VALUE], type = node[FORM][OF_FORM.type] }, bind_metatable))
  end
  return rawget(node, RIGHT)
end

local function set_compared_field(node, name, value)
  if name == "operator" or name == "left" then
    local form = rawget(node, FORM)
    local own = { form[1], form[2], form[3] }
    own[OF_FORM[name]] = value
    value, name = own, FORM
  end
  rawset(node, name == "right" and RIGHT or name, value)
end

local function ordering_comparison(name)
  local record = OPERATORS[name]
  methods[name] = core.comparer(function(self, value)
    check_self(self, name)
    local kind = type(value)
    if PLAIN[kind] then
      return comparison(record, self, value, kind)
    end
    local right = operand(value, self, name)
    if right == NULL then
      errors.raise("ArgumentError", "%s:%s(orm.null): NULL is neither more nor less than anything; use is_(orm.null)",
        describe(self), name)
    end
    return binary(record, self, right, Boolean)
  end, record, comparison_metatable)
end
for _, name in ipairs({ "lt", "le", "gt", "ge" }) do
  ordering_comparison(name)
end

-- With NULL these are the only tests that can be true.
local function equality(name, of_null)
  local record, null_record = OPERATORS[name], OPERATORS[of_null]
  methods[name] = core.comparer(function(self, value)
    check_self(self, name)
    local kind = type(value)
    if PLAIN[kind] then
      return comparison(record, self, value, kind)
    end
    local right = operand(value, self, name)
    return binary(right == NULL and null_record or record, self, right, Boolean)
  end, record, comparison_metatable)
end
equality("eq", "is_")
equality("ne", "is_not")
equality("is_", "is_")
equality("is_not", "is_not")
equality("is_distinct_from", "is_distinct_from")
equality("is_not_distinct_from", "is_not_distinct_from")

--- low <= self and self <= high.
function methods:between(low, high)
  check_self(self, "between")
  return setmetatable({ visit = "between", element = self, low = operand(low, self, "between"),
    high = operand(high, self, "between"), negated = false, type = Boolean }, metatable)
end

function methods:not_between(low, high)
  return expression.not_(methods.between(self, low, high))
end

-- ---- like ----

local LIKE_OPTIONS = { escape = true }

-- Databases read a pattern up to a NUL byte, and would find rows that were not asked for.
local function pattern_of(value, self, name)
  if type(value) == "string" and value:find("\0", 1, true) then
    errors.raise("ArgumentError", "%s:%s(): a pattern cannot hold a NUL byte, got %s", describe(self), name,
      errors.show(value))
  elseif type(value) == "string" then
    return setmetatable({ value = value, type = Text }, bind_metatable)
  elseif type(value) == "number" or type(value) == "boolean" then
    errors.raise("ArgumentError", "%s:%s(): a pattern is a string, got %s", describe(self), name, tostring(value))
  end
  local right = convert(value, self, name)
  if right == NULL then
    errors.raise("ArgumentError", "%s:%s(orm.null) is never true; use is_(orm.null)", describe(self), name)
  end
  return right
end

local function check_escape(options, name)
  local escape = errors.check_options(options, LIKE_OPTIONS, name .. "()").escape
  if escape ~= nil and not (type(escape) == "string" and #escape == 1) then
    errors.raise("ArgumentError", "%s(): escape must be one character, got %s", name, errors.show(escape))
  end
  return escape
end

for _, name in ipairs({ "like", "not_like", "ilike", "not_ilike" }) do
  local record = OPERATORS[name]
  methods[name] = function(self, pattern, options)
    check_self(self, name)
    return binary(record, self, pattern_of(pattern, self, name), Boolean, check_escape(options, name))
  end
end

local ESCAPE = "/"

local function call_replace(element, what)
  local arguments = { element, expression.literal(what), expression.literal(ESCAPE .. what) }
  return setmetatable({ visit = "function", name = "replace", arguments = arguments, type = Text }, metatable)
end

-- The pattern that matches `value` itself between `before` and `after`: wildcards in it are escaped, by the database
-- where the value is one of its own expressions.
local function escaped(value, self, name, before, after)
  local right = pattern_of(value, self, name)
  if type(value) == "string" then
    local text = value:gsub("[%%_/]", ESCAPE .. "%0")
    return setmetatable({ value = before .. text .. after, type = Text }, bind_metatable)
  end
  right = call_replace(call_replace(call_replace(right, ESCAPE), "%"), "_")
  right = before ~= "" and binary(OPERATORS.concat, expression.literal(before), right, Text) or right
  return after ~= "" and binary(OPERATORS.concat, right, expression.literal(after), Text) or right
end

local AROUND = { startswith = { "", "%" }, endswith = { "%", "" }, contains = { "%", "%" } }

local function matching(name, record, around)
  methods[name] = function(self, value)
    check_self(self, name)
    return binary(record, self, escaped(value, self, name, around[1], around[2]), Boolean, ESCAPE)
  end
end
for name, around in pairs(AROUND) do
  matching(name, OPERATORS.like, around)
  matching("i" .. name, OPERATORS.ilike, around)
end

--- The database's search for words, or for a regular expression, where it has one.
for _, name in ipairs({ "match", "regexp_match" }) do
  local record = OPERATORS[name]
  methods[name] = function(self, pattern)
    check_self(self, name)
    return binary(record, self, pattern_of(pattern, self, name), Boolean)
  end
end

-- ---- in ----

-- How many items stand as single markers. Longer lists are one bound JSON array where the database can read one:
-- databases limit the number of markers (SQLite: 32766), and a statement of its own for every length would be
-- prepared anew each time, which costs more than reading the array.
local MAX_MARKERS = 32
expression.MAX_MARKERS = MAX_MARKERS
local MANY_MARKERS = 30000

local function check_list(list, self, name)
  local length, count = #list, 0
  for key in next, list do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > length then
      errors.raise("ArgumentError", "%s:%s(): the list has a hole or a name (at %s); NULL is orm.null", describe(self),
        name, errors.show(key))
    end
    count = count + 1
  end
  if count ~= length then
    errors.raise("ArgumentError", "%s:%s(): the list has a hole; NULL is orm.null", describe(self), name)
  end
  return length
end

-- One type binds all items. What does not have it must fit the column's own, as in any comparison.
local function check_item(value, item_type, self, name, position)
  local kind = type(value)
  if value == null then
    return
  elseif kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
    check_value(value, self, name)
  elseif compared(self.type, kind) ~= item_type then
    local ok, err = pcall(self.type.to_db, self.type, value)
    if not ok then
      errors.raise("ArgumentError", "%s:%s(): item %d: %s", describe(self), name, position, errors.message(err))
    end
  end
end

-- What a list must be bound as: marker by marker, as an array, or, where an array cannot hold its items and it is too
-- long for markers, as an array of their digits.
local function packed_as(fits, bytes, count)
  if fits then
    return count > MAX_MARKERS
  end
  return bytes and count > MANY_MARKERS and "hex" or false
end

local function value_list(list, length, self, name)
  local values, fits, bytes = {}, self.type.kind ~= kinds.BLOB, true
  local item_type = compared(self.type, type(list[1]))
  for position = 1, length do
    local value = list[position]
    check_item(value, item_type, self, name, position)
    fits = fits and packing.fits(value)
    bytes = bytes and (type(value) == "string" or value == null)
    values[position] = value
  end
  return setmetatable({ visit = "list", values = values, count = length, packed = packed_as(fits, bytes, length),
    type = item_type }, metatable)
end

local function check_row(tuple, row, position)
  local width = #tuple.elements
  if type(row) ~= "table" or #row ~= width then
    errors.raise("ArgumentError", "tuple_():in_(): item %d must be a list of %d values", position, width)
  end
end

-- A row of values and expressions beside a tuple.
function row_like(tuple, row, method, position)
  check_row(tuple, row, position)
  local elements = {}
  for column = 1, #tuple.elements do
    elements[column] = operand(row[column], tuple.elements[column], method)
  end
  return setmetatable({ visit = "tuple", elements = elements, type = NullType }, metatable)
end

-- Rows of values that a tuple is looked up in: the values of all rows, one behind the other.
local function row_list(list, length, self, name)
  local elements, values, item_types, fits = self.elements, {}, {}, true
  local width = #elements
  for column = 1, width do
    item_types[column] = compared(elements[column].type, type(list[1][column]))
    fits = fits and elements[column].type.kind ~= kinds.BLOB
  end
  for position = 1, length do
    for column = 1, width do
      local value = list[position][column]
      check_item(value, item_types[column], elements[column], name)
      fits = fits and packing.fits(value)
      values[#values + 1] = value
    end
  end
  return setmetatable({ visit = "list", values = values, count = #values, packed = packed_as(fits, false, #values),
    types = item_types, type = NullType }, metatable)
end

-- A list with expressions: every item is a node of its own.
local function node_list(list, length, self, name)
  local elements = {}
  for position = 1, length do
    elements[position] = self.visit == "tuple" and row_like(self, list[position], name, position)
      or operand(list[position], self, name)
  end
  return setmetatable({ visit = "members", elements = elements, rows = self.visit == "tuple", type = NullType },
    metatable)
end

local function is_plain(value)
  return value ~= nil and not clause(value)
end

local function members_of(list, self, name)
  local length = check_list(list, self, name)
  if length == 0 then
    return nil
  end
  local plain, width = true, self.visit == "tuple" and #self.elements
  for position = 1, length do
    local item = list[position]
    if width then
      check_row(self, item, position)
      for column = 1, width do
        plain = plain and is_plain(item[column])
      end
    else
      plain = plain and not clause(item)
    end
  end
  return (not plain and node_list or width and row_list or value_list)(list, length, self, name)
end

-- Texts of a list may be longer than the column's: no row has them.
local function element_type(node_type)
  return node_type.kind == kinds.TEXT and compared(node_type, "string") or node_type
end

-- A parameter in place of a list takes a whole list when the statement is executed.
local function expanding(node, self)
  local elements = {}
  for position, element in ipairs(self.visit == "tuple" and self.elements or { self }) do
    elements[position] = element_type(element.type)
  end
  return setmetatable({ key = node.key, value = node.value, expanding = true,
    type = node.packed and types.packed_of(elements) or types.list_of(elements) }, bind_metatable)
end

local function members_node(node, self, name)
  if node.visit == "bind" and node.key then
    return expanding(node, self)
  elseif not node.is_statement then
    errors.raise("ArgumentError", "%s:%s(): a list or a select expected, got %s", describe(self), name,
      node.visit == "entity" and "a class" or node.visit == "column" and "the column " .. describe(node)
        or "an expression (" .. node.visit .. ")")
  end
  return node
end

-- No row is in an empty list and every row is out of it, those with NULL included.
local function membership(self, list, name, negated)
  check_self(self, name)
  local members = clause(list)
  if members then
    members = members_node(members, self, name)
  elseif type(list) ~= "table" then
    errors.raise("ArgumentError", "%s:%s(): a list or a select expected, got %s%s", describe(self), name,
      list == nil and "nil" or errors.show(list), list ~= nil and ("; write %s{ ... }"):format(name) or "")
  end
  members = members or members_of(list, self, name)
  if not members then
    return negated and expression.TRUE or expression.FALSE
  end
  return setmetatable({ visit = "membership", element = self, members = members, negated = negated, type = Boolean },
    metatable)
end

--- Whether the value is one of a list's or of a select's; an empty list has none.
function methods:in_(list)
  return membership(self, list, "in_", false)
end

function methods:not_in(list)
  return membership(self, list, "not_in", true)
end

-- ---- arithmetic ----

-- Exact decimals stay so beside others and beside integers.
local function exact_type(left, right)
  local a, b = types.is_exact(left), types.is_exact(right)
  if a and (b or right.kind == kinds.INTEGER) or b and left.kind == kinds.INTEGER then
    return types.Exact
  end
end

local function number_type(left, right)
  if left == Float or right == Float then
    return Float
  end
  local a, b = left.kind, right.kind
  if a == kinds.FLOAT or b == kinds.FLOAT then
    return Float
  elseif a == kinds.NUMERIC or b == kinds.NUMERIC then
    return exact_type(left, right) or types.Numeric
  end
  return (a == kinds.INTEGER or a == kinds.ANY) and b == kinds.INTEGER and Integer or left
end

local MOMENTS = { [kinds.DATE] = true, [kinds.TIME] = true, [kinds.DATETIME] = true }

local function is_span(node_type)
  return node_type.definition == types.Interval.definition
end

-- A number that is added to a date or a length of time is one of seconds.
local SPANS = { add = true, sub = true, mod = true }

-- What stands beside `other` at one of Lua's operators.
local function named_operand(value, other, text)
  if value == nil then
    errors.raise("ArgumentError", "%s %s nil: nil is no value; NULL is orm.null, and check the variable's name",
      describe(other), text)
  end
  return operand(value, other, text)
end

-- A value beside `other`, typed so that the result's type is known.
local function beside(value, other, name)
  if type(value) == "number" then
    local span = SPANS[name] and (MOMENTS[other.type.kind] or is_span(other.type))
    return expression.literal(value, span and types.Interval or nil)
  end
  return named_operand(value, other, OPERATORS[name].text)
end

-- The type of arithmetic with dates and lengths of time; nil where neither stands in it.
local function time_type(name, left, right)
  local a, b = MOMENTS[left.kind], MOMENTS[right.kind]
  if a or b then
    return name == "sub" and a and b and types.Interval or (a and left or right)
  elseif name == "div" and is_span(left) and is_span(right) then
    return Float
  end
  return (is_span(left) or is_span(right)) and types.Interval or nil
end

-- Python joins texts by "+"; a database would make numbers of them.
local function refuse_text(value, record)
  if is_element(value) and value.visit == "column" and value.type.kind == kinds.TEXT then
    errors.raise("ArgumentError", "'%s' is for numbers, and %s is text; texts are joined by '..', and :cast(orm.Integer) "
      .. "makes a number of one", record.text, describe(value))
  end
end

local function arithmetic_operator(event, name, result_of)
  local record = OPERATORS[name]
  arithmetic[event] = function(left, right)
    refuse_text(left, record)
    refuse_text(right, record)
    local a = is_element(left) and left or beside(left, right, name)
    local b = is_element(right) and right or beside(right, left, name)
    local moments = (MOMENTS[a.type.kind] or MOMENTS[b.type.kind]) and true or nil
    return binary(record, a, b, time_type(name, a.type, b.type) or result_of(a.type, b.type), nil, moments)
  end
end
arithmetic_operator("__add", "add", number_type)
arithmetic_operator("__sub", "sub", number_type)
arithmetic_operator("__mul", "mul", number_type)
arithmetic_operator("__mod", "mod", number_type)
arithmetic_operator("__idiv", "floordiv", number_type)
arithmetic_operator("__div", "div", function(left, right)
  local result = number_type(left, right)
  return result.kind == kinds.NUMERIC and (types.is_exact(result) and types.Numeric or result) or Float
end)

local function text_beside(value, other)
  if type(value) == "string" or type(value) == "number" then
    return expression.literal(tostring(value))
  end
  return named_operand(value, other, "..")
end

function arithmetic.__concat(left, right)
  local a = is_element(left) and left or text_beside(left, right)
  local b = is_element(right) and right or text_beside(right, left)
  return binary(OPERATORS.concat, a, b, Text)
end

--- The same as "..".
function methods:concat(value)
  check_self(self, "concat")
  return arithmetic.__concat(self, value)
end

function arithmetic.__unm(element)
  return setmetatable({ visit = "unary", operator = OPERATORS.neg, element = element, type = element.type }, metatable)
end

for _, name in ipairs({ "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_lshift", "bitwise_rshift" }) do
  local record = OPERATORS[name]
  methods[name] = function(self, value)
    check_self(self, name)
    return binary(record, self, operand(value, self, name), self.type)
  end
end

function methods:bitwise_not()
  check_self(self, "bitwise_not")
  return setmetatable({ visit = "unary", operator = OPERATORS.bitwise_not, element = self, type = self.type }, metatable)
end

-- Lua makes a boolean of what these return, so they could only mislead.
local function no_comparison(method, mirrored)
  return function(left, right)
    local column, value, name = left, right, method
    if not is_element(left) then
      column, value, name = right, left, mirrored
    end
    errors.raise("ArgumentError", "Lua cannot compare columns with '<' and '>'; use %s:%s(%s)", describe(column), name,
      is_element(value) and describe(value) or errors.show(value))
  end
end
arithmetic.__lt = no_comparison("lt", "gt")
arithmetic.__le = no_comparison("le", "ge")

-- ---- logic ----

expression.TRUE = { visit = "constant", text = "true", type = Boolean }
expression.FALSE = { visit = "constant", text = "false", type = Boolean }
NULL = { visit = "null", type = NullType }
expression.NULL = NULL

--- Stands for "every row" in update(...):where(orm.all) and delete(...):where(orm.all).
expression.all = { visit = "all", type = Boolean }

local function junction(name)
  local record = OPERATORS[name]
  return function(...)
    local clauses = {}
    for position = 1, select("#", ...) do
      local node = expect_operand((select(position, ...)), name .. "()", position)
      if node.visit == "junction" and node.operator == record then
        for _, inner in ipairs(node.clauses) do
          clauses[#clauses + 1] = inner
        end
      else
        clauses[#clauses + 1] = node
      end
    end
    if #clauses == 0 then
      errors.raise("ArgumentError", "%s() needs at least one condition", name)
    end
    return #clauses == 1 and clauses[1]
      or setmetatable({ visit = "junction", operator = record, clauses = clauses, type = Boolean }, metatable)
  end
end

--- All of the conditions.
---@return orrery.Element
expression.and_ = junction("and_")
--- Any of the conditions.
---@return orrery.Element
expression.or_ = junction("or_")

local function copy_with(node, field, value)
  local copy = copy_of(node)
  copy[field] = value
  return copy
end

--- The opposite of a condition.
---@param condition orrery.Element
---@return orrery.Element
function expression.not_(condition)
  local node = expect_operand(condition, "not_()", 1)
  if node == expression.TRUE or node == expression.FALSE then
    return node == expression.TRUE and expression.FALSE or expression.TRUE
  elseif node.visit == "binary" and node.operator.negated then
    return copy_with(node, "operator", node.operator.negated)
  elseif node.visit == "between" or node.visit == "membership" then
    return copy_with(node, "negated", not node.negated)
  elseif node.visit == "unary" and node.operator == OPERATORS.not_ then
    return node.element
  end
  return setmetatable({ visit = "unary", operator = OPERATORS.not_, element = node, type = Boolean }, metatable)
end

-- Lua 5.3 and later write & | ~ for conditions; on numbers they would mean something else.
local function logical(event, combine)
  arithmetic[event] = function(left, right)
    for _, side in ipairs({ left, right }) do
      if is_element(side) and side.type.kind ~= kinds.BOOLEAN then
        errors.raise("ArgumentError", "& | ~ combine conditions, and %s is a value; bits are compared with "
          .. ":bitwise_and(...)", describe(side))
      end
    end
    return combine(left, right)
  end
end
logical("__band", expression.and_)
logical("__bor", expression.or_)
logical("__bnot", function(element)
  return expression.not_(element)
end)

-- ---- shaping ----

local function ordering(direction)
  return function(self)
    check_self(self, direction:lower())
    local element = self.visit == "ordering" and self.element or self
    return setmetatable({ visit = "ordering", element = element, direction = direction,
      nulls = self.visit == "ordering" and self.nulls or nil, type = self.type }, metatable)
  end
end
methods.asc, methods.desc = ordering("ASC"), ordering("DESC")

local function nulls(where)
  return function(self)
    local ordered = self.visit == "ordering"
    return setmetatable({ visit = "ordering", element = ordered and self.element or self,
      direction = ordered and self.direction or nil, nulls = where, type = self.type }, metatable)
  end
end
methods.nulls_first, methods.nulls_last = nulls("FIRST"), nulls("LAST")

--- The expression under a name: row.name, and order_by("name").
function methods:label(name)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "%s:label(): a name expected, got %s", describe(self), errors.show(name))
  end
  local element = self.visit == "label" and self.element or self
  return setmetatable({ visit = "label", name = name, element = element, type = element.type }, metatable)
end

--- CAST(self AS target).
function methods:cast(target)
  target = types.coerce(target, describe(self) .. ":cast()")
  return setmetatable({ visit = "cast", element = self, type = target }, metatable)
end

--- The same SQL, read as another type.
function methods:type_coerce(target)
  target = types.coerce(target, describe(self) .. ":type_coerce()")
  return setmetatable({ visit = "coerced", element = self, type = target }, metatable)
end

function methods:collate(name)
  if type(name) ~= "string" or not name:find("^[%a_][%w_%-%.]*$") then
    errors.raise("ArgumentError", "%s:collate(): %s is no collation's name", describe(self), errors.show(name))
  end
  return setmetatable({ visit = "collation", element = self, name = name, type = self.type }, metatable)
end

--- DISTINCT self, as in func.count(User.name:distinct()).
function methods:distinct()
  return setmetatable({ visit = "unary", operator = OPERATORS.distinct, element = self, type = self.type }, metatable)
end

-- ---- operators that a database has besides ----

local OP_OPTIONS = { return_type = true, is_comparison = true }

local function check_operator(text)
  local symbols = type(text) == "string" and text:find("^[%+%-%*/<>=~!@#%%%^&|]+$") and not text:find("%-%-")
    and not text:find("/*", 1, true) and not text:find("*/", 1, true)
  local words = type(text) == "string" and text:find("^%a[%a_ ]*%a$")
  if not symbols and not words then
    errors.raise("ArgumentError", "op(): %s is no operator", errors.show(text))
  end
end

--- Any other operator of the database: User.flags:op("&")(4).
---@param text string
---@param options? { return_type?: orrery.Type, is_comparison?: boolean }
---@return fun(value: any): orrery.Element
function methods:op(text, options)
  check_operator(text)
  options = errors.check_options(options, OP_OPTIONS, "op()")
  local result = options.return_type and types.coerce(options.return_type, "op()")
    or options.is_comparison and Boolean or self.type
  local record = { name = "op", text = text, precedence = options.is_comparison and 5 or 6, loose = true,
    token = "op:" .. text }
  return function(value)
    return binary(record, self, operand(value, self, "op"), result)
  end
end

--- The same for an operator whose result is a condition.
---@param text string
---@return fun(value: any): orrery.Element
function methods:bool_op(text)
  return methods.op(self, text, { is_comparison = true })
end

-- A name as documents have it, where some characters are escaped: some versions of SQLite compare their text.
local function name_in_json(step)
  return step:find("^[%w_ %-%.]*$") and step or json.encode(step):sub(2, -2)
end

-- SQLite's paths put names in quotes and know no way to escape one.
local function path_step(step, column)
  if type(step) == "string" and not step:find('"', 1, true) and not step:find("\0", 1, true) then
    return '."' .. name_in_json(step) .. '"'
  elseif type(step) == "number" and step % 1 == 0 and step >= 1 then
    return ("[%d]"):format(step - 1)
  end
  errors.raise("ArgumentError", "%s:path(): a step is a name or a position from 1, got %s", describe(column),
    errors.show(step))
end

--- The part of a JSON document at names and positions: Item.doc:path("tags", 1). Compared and sorted as the database
--- value that it is; selected, it reads as JSON does.
function methods:path(...)
  if self.type.name ~= "JSON" then
    errors.raise("ArgumentError", "%s:path(): only JSON has paths, and this is %s", describe(self), tostring(self.type))
  end
  local steps = { "$" }
  for position = 1, select("#", ...) do
    steps[position + 1] = path_step((select(position, ...)), self)
  end
  local path = expression.literal(table.concat(steps), Text)
  return setmetatable({ visit = "json_path", element = self, steps = path, type = NullType }, metatable)
end

--- The SQL of an expression by itself: { sql, params }; as a string, the SQL.
---@param options? { dialect?: string|orrery.Dialect, literal_binds?: boolean }
function methods:compile(options)
  return expression.compile(self, options)
end

errors.guard(methods, "an expression", FIELDS, HABITS)
metatable = expression.metatable()
bind_metatable = expression.metatable({ visit = "bind" })
for name, value in pairs(expression.metatable(nil, { __index = compared_field, __newindex = set_compared_field })) do
  comparison_metatable[name] = value
end
expression.complete(compared_fields, 2)
for _, constant in ipairs({ expression.TRUE, expression.FALSE, NULL, expression.all }) do
  setmetatable(constant, metatable)
end

local written_list

--- A copy of a condition whose values are part of the SQL and not bound: what a partial index's condition is compared
--- with.
---@param node table
---@return table
function expression.written(node)
  if node.visit == "bind" then
    if node.value == nil or type(node.value) == "table" then
      errors.raise("ArgumentError", "a condition that is written into the SQL has plain values, got %s",
        node.value == nil and "a parameter" or "a table")
    end
    return setmetatable({ visit = "written", value = node.value, type = node.type }, metatable)
  elseif node.visit == "column" or not PARTS[node.visit] or node.is_statement then
    return node
  end
  local copy = copy_of(node)
  for _, field in ipairs(PARTS[node.visit].nodes or {}) do
    copy[field] = node[field] and expression.written(node[field])
  end
  for _, field in ipairs(PARTS[node.visit].lists or {}) do
    copy[field] = node[field] and written_list(node[field])
  end
  return copy
end

function written_list(nodes)
  local copies = {}
  for position, node in ipairs(nodes) do
    copies[position] = expression.written(node)
  end
  return copies
end

--- Makes a node; for the files that add kinds of nodes.
---@param node table with visit and type
---@return orrery.Element
function expression.new(node)
  return setmetatable(node, metatable)
end

--- Calls fn for every bound value in an expression, those of statements within it included.
---@param node table
---@param fn fun(bind: table)
function expression.each_bind(node, fn)
  local parts = PARTS[node.visit]
  if node.visit == "bind" then
    return fn(node)
  elseif not parts then
    return
  end
  for _, field in ipairs(parts.nodes or {}) do
    if node[field] then
      expression.each_bind(node[field], fn)
    end
  end
  for _, field in ipairs(parts.lists or {}) do
    for _, child in ipairs(node[field] or {}) do
      expression.each_bind(child, fn)
    end
  end
end

--- How a node prints: the compiler puts its function here.
---@param fn fun(node: table): string
function expression.set_renderer(fn)
  renderer = fn
end

return expression
