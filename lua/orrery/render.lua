--- render: expressions as SQL, one function per kind of node. Knows parentheses, names and markers; what a dialect says
-- differently comes from its data. Selects and changes are in render_select.lua and render_change.lua, which add
-- their kinds to the same table.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local packing = reading.later "packing"
local literal = reading.later "literal"

local rendering = {}
local OPERATORS = expression.OPERATORS
local concat = table.concat
local kinds = core.kinds

-- What is known while one statement is compiled:
--   dialect; markers: what the markers stand for, in the order of the text; numbered: how many there are so far
--   names: of aliases and subqueries without one, by object; stems: how many names were made
--   given: the names that others have, in small letters; reserved: those of an earlier try
--   enclosing: tables of the statements around the one in progress
--   labels: those that the select in progress shows, each { position, name }
--   own: whether what is rendered belongs to a table (a column's default), not to the statement
--   ctes: by their first version; heads: the parts of WITH that are done; writes: whether one of them changes rows
--   literal: whether values are written out; beside: the column that a value is compared with, for the marker's name
--   bare: whether columns stand without their tables
--   appended: a function for what stands behind the columns of the next select
--   linking: whether tables that nothing links are warned of
--- What is known before anything is compiled.
---@param dialect orrery.Dialect
---@param as_literals? boolean
function rendering.new_state(dialect, as_literals)
  return { dialect = dialect, markers = {}, numbered = 0, names = {}, stems = {}, given = {}, reserved = {}, ctes = {},
    heads = {}, labels = {}, marker_names = {}, literal = as_literals or false }
end

local VISIT = {}
rendering.VISIT = VISIT

-- SQL of a node. `named` asks a select for columns under the names by which a statement around it knows them.
local function render(node, state, named)
  local visit = VISIT[node.visit]
  if not visit then
    errors.raise("CompileError", "%s cannot stand in an expression", tostring(node.visit))
  end
  return visit(node, state, named)
end
rendering.render = render

local function render_list(nodes, state, separator, fn)
  local parts = {}
  for position, node in ipairs(nodes) do
    parts[position] = (fn or render)(node, state)
  end
  return concat(parts, separator or ", ")
end
rendering.list = render_list

-- ---- markers ----

-- A marker's name: the parameter's own, or one made of the column that it is compared with.
local function marker_name(source, state)
  local node = source.node or {}
  local key = source.key or node.key
  if key then
    return key
  end
  local beside = state.beside
  local stem = beside and (beside.key or beside.name) or "param"
  local number = (state.marker_names[stem] or 0) + 1
  state.marker_names[stem] = number
  return stem .. "_" .. number
end

local function marker_text(source, state)
  local format = state.dialect.marker
  if format == "?" then
    return format
  elseif format:find("%d", 1, true) then
    return format:format(state.numbered)
  end
  source.name = marker_name(source, state)
  return format:format(source.name)
end

-- `source` says where the value comes from: { node, index in a list, pack } or { callable }.
local function marker(state, source)
  state.numbered = state.numbered + 1
  source.number, source.own = state.numbered, state.own
  state.markers[#state.markers + 1] = source
  return marker_text(source, state)
end
rendering.marker = marker

-- Where values stand in the text, a "%" means itself; between named markers it must be written twice.
local function own_text(text, state)
  if state.literal or not state.dialect.marker:find("%s", 1, true) then
    return text
  end
  return (text:gsub("%%", "%%%%"))
end
rendering.own_text = own_text

local function literal_text(value, value_type, state)
  if value == nil then
    errors.raise("CompileError", "the parameter '%s' has no value that could be written in the SQL", tostring(state.unnamed))
  end
  return literal.text(value, value_type, state.dialect)
end

local function literal_list(values, item_types, state)
  local parts, width = {}, #item_types
  for position, value in ipairs(values) do
    local column = (position - 1) % width + 1
    local text = literal_text(value, item_types[column], state)
    if width > 1 then
      text = (column == 1 and "(" or "") .. text .. (column == width and ")" or "")
    end
    parts[position] = text
  end
  return "(" .. (width > 1 and state.dialect.tuple_rows or "") .. concat(parts, ", ") .. ")"
end

-- The rows of a bound array, in parentheses.
local function array_text(width, marker_of, state)
  local dialect = state.dialect
  if width == 1 then
    return "(" .. dialect.array_in:format(marker_of) .. ")"
  end
  local items = {}
  for position = 1, width do
    items[position] = dialect.array_item:format(position - 1)
  end
  return "(" .. dialect.array_rows:format(concat(items, ", "), marker_of) .. ")"
end

-- A parameter that takes a list. Databases that read no arrays get a marker for each item when it is executed, which is
-- written as SQLAlchemy writes it.
local function expanding_text(node, state)
  local elements = node.type.elements
  if state.literal and node.value ~= nil then
    return literal_list(packing.values(node.value, #elements), elements, state)
  elseif state.dialect.array_in then
    return array_text(#elements, marker(state, { node = node }), state)
  end
  marker(state, { node = node })
  return "(__[POSTCOMPILE_" .. node.key .. "])"
end

function VISIT.bind(node, state)
  if node.expanding then
    return expanding_text(node, state)
  elseif state.literal then
    state.unnamed = node.key
    return literal_text(node.value, node.type, state)
  end
  local text = marker(state, { node = node })
  state.beside = nil
  return text
end

function VISIT.written(node, state)
  return literal.text(node.value, node.type, state.dialect)
end

--- The one value that a list is bound as where the dialect can read it.
---@param node table
---@return string
function rendering.pack_list(node)
  if node.packed == "hex" then
    return packing.hex_array(node.values, node.type)
  end
  return packing.array(node.values, node.types or { node.type })
end

local function list_item(node, position, item_types, state)
  local width = #item_types
  local column = (position - 1) % width + 1
  local text = marker(state, { node = node, index = position, type = item_types[column] })
  if width == 1 then
    return text
  end
  return (column == 1 and "(" or "") .. text .. (column == width and ")" or "")
end

function VISIT.list(node, state)
  local item_types = node.types or { node.type }
  local width = #item_types
  if state.literal then
    return literal_list(node.values, item_types, state)
  elseif node.packed and state.dialect.array_in then
    return array_text(width, marker(state, { node = node, pack = true }), state)
  end
  local markers = {}
  for position = 1, node.count do
    markers[position] = list_item(node, position, item_types, state)
  end
  return "(" .. (width > 1 and state.dialect.tuple_rows or "") .. concat(markers, ", ") .. ")"
end

-- ---- names ----

local function quote(state, identifier)
  return state.dialect.quote(identifier)
end
rendering.quote = quote

-- A name for what the script gave none: anon_1, users_1.
local function made_name(object, stem, state)
  local name = state.names[object]
  while not name or state.reserved[name:lower()] do
    state.stems[stem] = (state.stems[stem] or 0) + 1
    name = ("%s_%d"):format(stem, state.stems[stem])
  end
  state.names[object] = name
  return name
end

local function given_name(name, state)
  state.given[name:lower()] = true
  return name
end

--- A state to render the same once more, where a name that was made is one that a table or the script has given.
---@param state table
---@return table? state
function rendering.without_clash(state)
  for _, name in pairs(state.names) do
    if state.given[name:lower()] then
      local again = rendering.new_state(state.dialect, state.literal)
      again.reserved, again.linking, again.criteria = state.given, state.linking, state.criteria
      return again
    end
  end
end

--- The cte that a recursive one began as; both have one name.
function rendering.first_version(cte)
  while cte.restates do
    cte = cte.restates
  end
  return cte
end

local NAMES = {}
rendering.NAMES = NAMES

function NAMES.table(selectable, state)
  local name = quote(state, given_name(selectable.name, state))
  return selectable.schema and quote(state, selectable.schema) .. "." .. name or name
end

function NAMES.alias(selectable, state)
  return quote(state, selectable.name and given_name(selectable.name, state)
    or made_name(selectable, selectable.element.name or "anon", state))
end

function NAMES.subquery(selectable, state)
  return quote(state, selectable.name and given_name(selectable.name, state) or made_name(selectable, "anon", state))
end

NAMES.table_function, NAMES.values = NAMES.subquery, NAMES.subquery

function NAMES.cte(selectable, state)
  return quote(state, selectable.name and given_name(selectable.name, state)
    or made_name(rendering.first_version(selectable), "anon", state))
end

function NAMES.excluded()
  return "excluded"
end

local function table_name(selectable, state)
  return NAMES[selectable.visit](selectable, state)
end
rendering.table_name = table_name

function VISIT.column(node, state)
  local name = quote(state, node.name)
  if state.bare then
    return name
  end
  return node.table and table_name(node.table, state) .. "." .. name or name
end

-- What a function gives that has one column; databases call that differently.
function VISIT.function_value(node, state)
  return state.dialect.function_value:format(table_name(node.source, state))
end

-- ---- parentheses ----

local NEGATION, UNARY = OPERATORS.not_, OPERATORS.neg

-- The operator whose strength an expression has from outside; nil for what needs no parentheses anywhere, false for
-- SQL of the script's own, whose strength is unknown.
local function outer_operator(node)
  local visit = node.visit
  if visit == "binary" or visit == "junction" or visit == "unary" then
    return node.operator
  elseif visit == "between" or visit == "membership" then
    return OPERATORS.eq
  elseif visit == "label" or visit == "coerced" or visit == "criterion" then
    return outer_operator(node.element or node.condition)
  elseif (visit == "text" or visit == "literal_column") and not node.text:find("^[%w_%.]+$") then
    return false
  end
  return nil
end

local function needs_parentheses(inner, outer, right)
  if inner == nil then
    return false
  elseif inner == false then
    return true
  elseif inner == outer then
    return not inner.associative and (right or inner.precedence < 7)
  elseif inner.loose or (outer.loose and inner.precedence > 5) then
    return inner.precedence >= outer.precedence or outer.precedence > 5
  elseif inner.precedence == outer.precedence then
    return right or inner.precedence < 7
  end
  return inner.precedence < outer.precedence
end

local function operand(node, outer, right, state, beside)
  state.beside = beside and beside.visit == "column" and beside or nil
  local text = render(node, state)
  return needs_parentheses(outer_operator(node), outer, right) and "(" .. text .. ")" or text
end
rendering.operand = operand

-- ---- operators ----

local function is_whole(node_type)
  return node_type.kind ~= kinds.FLOAT
end

-- Where a database keeps exact decimals as text, they are compared and sorted by a collation.
local function collated(text, node_type, state)
  local collation = state.dialect.exact_collation
  if collation and types.is_exact(node_type) then
    return text .. " COLLATE " .. collation
  end
  return text
end

-- Equal decimals of one column, and of columns with as many decimals, have equal text: they are found by an index.
local COMPARES = { eq = "equal", ne = "equal", lt = "order", le = "order", gt = "order", ge = "order" }

local function is_lookup(one, other)
  return one.visit == "column"
    and (other.visit == "bind" or (other.visit == "column" and one.type.scale == other.type.scale))
end

local function needs_collation(node)
  local how = COMPARES[node.operator.name]
  return how == "order" or (how == "equal" and not is_lookup(node.left, node.right) and not is_lookup(node.right, node.left))
end

local function exact_template(node, state)
  if types.is_exact(node.type) then
    return state.dialect.exact_operators[node.operator.name]
  end
end

local function template_of(node, state)
  local record = node.operator
  local own = exact_template(node, state) or state.dialect.operators[record.name]
  if own and record.name == "div" and not (is_whole(node.left.type) and is_whole(node.right.type)) then
    own = nil
  end
  return own
end

local function escape_clause(escape, state)
  return escape and " ESCAPE " .. own_text(literal.quote(escape), state) or ""
end

local MOMENTS = { [kinds.DATE] = true, [kinds.TIME] = true, [kinds.DATETIME] = true }

-- Dates and times that the database keeps as text: their difference can be computed.
local function moment_template(node, state)
  local left, right, template = node.left.type.kind, node.right.type.kind, state.dialect.moment_difference
  if node.operator.name ~= "sub" or not (template and MOMENTS[left] and MOMENTS[right])
    or left == kinds.TIME or right == kinds.TIME then
    errors.raise("CompileError", "%s cannot compute this with dates: it has the difference of two dates, and functions "
      .. "such as func.datetime(column, \"+90 seconds\")", state.dialect.name)
  end
  return template
end

-- A template that names an operand twice has it written twice, with markers of its own.
local function filled(template, node, state)
  return (template:gsub("%$(%d)", function(side)
    return operand(side == "1" and node.left or node.right, UNARY, true, state)
  end))
end

function VISIT.binary(node, state)
  local record, own = node.operator, template_of(node, state)
  if node.moments and not state.dialect.moment_arithmetic then
    return filled(moment_template(node, state), node, state)
  elseif own and own:find("$1", 1, true) then
    return filled(own, node, state)
  end
  local left = operand(node.left, record, false, state, node.right)
  local right = operand(node.right, record, true, state, node.left)
  if needs_collation(node) then
    left = collated(left, node.left.type, state)
    right = collated(right, node.right.type, state)
  end
  local text = own and own:format(left, right) or left .. " " .. own_text(record.text, state) .. " " .. right
  return text .. escape_clause(node.escape, state)
end

function VISIT.junction(node, state)
  return render_list(node.clauses, state, " " .. node.operator.text .. " ", function(clause)
    return operand(clause, node.operator, false, state)
  end)
end

local function simple(node)
  local visit = node.visit
  return visit == "column" or visit == "bind" or visit == "function" or visit == "cast" or visit == "scalar"
end

-- "--" would begin a comment, so a minus has parentheses behind it wherever that is possible.
function VISIT.unary(node, state)
  local text = render(node.element, state)
  local own = exact_template(node, state)
  if own then
    return own:format(text)
  elseif node.operator == UNARY or node.operator == OPERATORS.bitwise_not then
    local sign = node.operator.text
    local bare = simple(node.element) and text:sub(1, 1) ~= "-" -- two of them would begin a comment
    return bare and sign .. text or sign .. "(" .. text .. ")"
  elseif node.operator == NEGATION then
    local bare = outer_operator(node.element) == nil
    return bare and "NOT " .. text or "NOT (" .. text .. ")"
  end
  return node.operator.text .. " " .. text
end

function VISIT.between(node, state)
  local outer = OPERATORS.eq
  local element = collated(operand(node.element, outer, true, state), node.element.type, state)
  local low = operand(node.low, outer, true, state, node.element)
  return ("%s %sBETWEEN %s AND %s"):format(element, node.negated and "NOT " or "", low,
    operand(node.high, outer, true, state, node.element))
end

function VISIT.membership(node, state)
  local element = operand(node.element, OPERATORS.eq, true, state)
  local members = node.members
  if members.packed == "hex" and state.dialect.hex_of and not state.literal then
    element = state.dialect.hex_of:format(element)
  end
  state.beside = node.element.visit == "column" and node.element or nil
  local text = members.is_statement and "(" .. render(members, state) .. ")" or render(members, state)
  return element .. (node.negated and " NOT IN " or " IN ") .. text
end

function VISIT.tuple(node, state)
  return "(" .. render_list(node.elements, state) .. ")"
end

function VISIT.members(node, state)
  return "(" .. (node.rows and state.dialect.tuple_rows or "") .. render_list(node.elements, state) .. ")"
end

-- ---- single expressions ----

VISIT["null"] = function()
  return "NULL"
end

function VISIT.constant(node, state)
  return state.dialect.constants[node.text]
end

function VISIT.all(_, state)
  return state.dialect.constants["true"]
end

function VISIT.literal_column(node, state)
  return own_text(node.text, state)
end

function VISIT.text(node, state)
  local pieces = core.split(node.text)
  local parts = { own_text(pieces[1], state) }
  for position, bind in ipairs(node.binds) do
    parts[#parts + 1] = render(bind, state)
    parts[#parts + 1] = own_text(pieces[position + 1], state)
  end
  return concat(parts)
end

function VISIT.label(node, state)
  return render(node.element, state)
end

function VISIT.coerced(node, state)
  return render(node.element, state)
end

function VISIT.cast(node, state)
  return node.type:cast(state.dialect, render(node.element, state))
end

function VISIT.collation(node, state)
  local element = operand(node.element, UNARY, true, state)
  return element .. " COLLATE " .. (state.dialect.collations[node.name] and node.name or quote(state, node.name))
end

function VISIT.json_path(node, state)
  local element = render(node.element, state)
  return state.dialect.json_path:format(element, render(node.steps, state))
end

local function function_name(node, state)
  local first = node.arguments[1]
  local own = types.is_exact(first.type) and state.dialect.exact_functions[node.name:lower()]
  return own or node.name
end

local SORTING = { max = true, min = true }

-- The largest of exact decimals is that of the numbers, not of the texts.
local function argument_of(node)
  if not SORTING[node.name:lower()] then
    return render
  end
  return function(argument, state)
    return collated(render(argument, state), argument.type, state)
  end
end

VISIT["function"] = function(node, state)
  if #node.arguments == 0 then
    local whole = state.dialect.functions[node.name:lower()]
    return whole or node.name .. (node.name:lower() == "count" and "(*)" or "()")
  end
  state.beside = node
  return function_name(node, state) .. "(" .. render_list(node.arguments, state, ", ", argument_of(node)) .. ")"
end

function VISIT.filter(node, state)
  local element = render(node.element, state)
  return ("%s FILTER (WHERE %s)"):format(element, render(node.condition, state))
end

local order_term

-- Labels have no names in a window.
function VISIT.over(node, state)
  local element, parts, labels = render(node.element, state), {}, state.labels
  state.labels = {}
  if #node.partitions > 0 then
    parts[#parts + 1] = "PARTITION BY " .. render_list(node.partitions, state)
  end
  if #node.orders > 0 then
    parts[#parts + 1] = "ORDER BY " .. render_list(node.orders, state, ", ", order_term)
  end
  parts[#parts + 1], state.labels = node.frame, labels
  return element .. " OVER (" .. concat(parts, " ") .. ")"
end

function VISIT.case(node, state)
  if #node.conditions == 0 then
    errors.raise("CompileError", "case_() has no branch; write case_():when(condition, value)")
  end
  local parts = { "CASE" }
  parts[2] = node.subject and render(node.subject, state) or nil
  for position, condition in ipairs(node.conditions) do
    parts[#parts + 1] = "WHEN " .. render(condition, state)
    parts[#parts + 1] = "THEN " .. render(node.results[position], state)
  end
  parts[#parts + 1] = node.otherwise and "ELSE " .. render(node.otherwise, state) or nil
  return concat(parts, " ") .. " END"
end

function VISIT.extract(node, state)
  local own = state.dialect.extract[node.field]
  if own then
    return (own:gsub("%$", function() return render(node.element, state) end))
  end
  return ("EXTRACT(%s FROM %s)"):format(node.field, render(node.element, state))
end

function VISIT.exists(node, state)
  return "EXISTS (" .. render(node.statement, state) .. ")"
end

function VISIT.scalar(node, state)
  return "(" .. render(node.statement, state) .. ")"
end

-- ---- order ----

-- An integer that stands alone would be a position: a value that is written out is none.
local function no_position(node, state)
  local text = render(node, state)
  local value = node.visit == "label" and node.element or node
  return state.literal and value.visit ~= "literal_column" and value.visit ~= "text" and text:find("^[%d%s()+-]+$")
    and text .. " + 0" or text
end
rendering.no_position = no_position

-- A label is named where the select shows it, and written out elsewhere.
function order_term(node, state)
  local shown = node.visit == "label" and state.labels[node]
  if shown and shown.name then
    return collated(quote(state, shown.name), node.type, state)
  elseif node.visit ~= "ordering" then
    return collated(no_position(node, state), node.type, state)
  end
  local text = order_term(node.element, state)
  text = node.direction and text .. " " .. node.direction or text
  return node.nulls and text .. " NULLS " .. node.nulls or text
end

-- Columns that stand for one attribute, without parentheses.
function VISIT.clause_list(node, state)
  return render_list(node.elements, state, ", ", order_term)
end

VISIT.ordering, rendering.order_term, rendering.collated = order_term, order_term, collated

function VISIT.name(node)
  errors.raise("CompileError", "the name '%s' stands for a column in order_by() of a select only; give the column itself",
    node.name)
end

return rendering
