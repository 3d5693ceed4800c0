--- compiler: statements become SQL with a marker for every value. One function per kind of node; what databases say
-- differently comes from the dialect. A cache keyed by the statement's shape (fingerprint.lua) spares the work for
-- statements that were built afresh. Executes nothing.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local functions = import "functions"
local joining = import "joining"
local statement = import "statement"
local change = import "change"
local dialects = import "dialect"
local fingerprint = import "fingerprint"

local compiler = { dialects = { sqlite = dialects.sqlite } }
local OPERATORS = expression.OPERATORS
local concat = table.concat
local kinds = core.kinds

-- What is known while one statement is compiled:
--   dialect; markers: what the markers stand for, in the order of the text; numbered: how many there are so far
--   names: of aliases and subqueries without one, by object; stems: how many names were made
--   enclosing: tables of the statements around the one in progress; labels: those that the select in progress shows
--   ctes: by their first version; heads: the parts of WITH that are done
local function new_state(dialect)
  return { dialect = dialect, markers = {}, numbered = 0, names = {}, stems = {}, ctes = {}, heads = {}, labels = {} }
end

local VISIT = {}

local function render(node, state)
  local visit = VISIT[node.visit]
  if not visit then
    errors.raise("CompileError", "%s cannot stand in an expression", tostring(node.visit))
  end
  return visit(node, state)
end

local function render_list(nodes, state, separator, fn)
  local parts = {}
  for position, node in ipairs(nodes) do
    parts[position] = (fn or render)(node, state)
  end
  return concat(parts, separator or ", ")
end

-- ---- markers ----

-- `source` says where the value comes from: { node, index in a list, pack }, or { callable }, or { node, own = true }
-- for a value that the statement does not hold itself (a column's default).
local function marker(state, source)
  state.numbered = state.numbered + 1
  source.number = state.numbered
  state.markers[#state.markers + 1] = source
  local text = state.dialect.marker
  return text == "?" and text or text:format(state.numbered)
end

function VISIT.bind(node, state)
  return marker(state, { node = node })
end

-- The text of a list's values as JSON, for the database to read as rows.
local CONTROL = setmetatable({ ['"'] = '\\"', ["\\"] = "\\\\" }, {
  __index = function(_, byte)
    return ("\\u%04x"):format(byte:byte())
  end,
})

local function pack_value(value)
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', CONTROL) .. '"'
  elseif value == core.null then
    return "null"
  elseif value % 1 == 0 and value > -2 ^ 63 and value < 2 ^ 63 and not tostring(value):find("%.") then
    return ("%d"):format(value)
  end
  return (("%.17g"):format(value):gsub(",", "."))
end

local function pack_list(node)
  local parts = {}
  for position, value in ipairs(node.values) do
    parts[position] = pack_value(node.type:to_db(value))
  end
  return "[" .. concat(parts, ",") .. "]"
end

function VISIT.list(node, state)
  local array = node.packed and state.dialect.array_in
  if array then
    return "(" .. array:format(marker(state, { node = node, pack = true })) .. ")"
  end
  local markers = {}
  for position = 1, node.count do
    markers[position] = marker(state, { node = node, index = position })
  end
  return "(" .. concat(markers, ", ") .. ")"
end

-- ---- names ----

local function quote(state, identifier)
  return state.dialect.quote(identifier)
end

-- A name for what the script gave none: anon_1, users_1.
local function made_name(object, stem, state)
  local name = state.names[object]
  if not name then
    state.stems[stem] = (state.stems[stem] or 0) + 1
    name = ("%s_%d"):format(stem, state.stems[stem])
    state.names[object] = name
  end
  return name
end

local function first_version(cte)
  while cte.restates do
    cte = cte.restates
  end
  return cte
end

local NAMES = {}

function NAMES.table(selectable, state)
  local name = quote(state, selectable.name)
  return selectable.schema and quote(state, selectable.schema) .. "." .. name or name
end

function NAMES.alias(selectable, state)
  return quote(state, selectable.name or made_name(selectable, selectable.element.name or "anon", state))
end

function NAMES.subquery(selectable, state)
  return quote(state, selectable.name or made_name(selectable, "anon", state))
end

function NAMES.cte(selectable, state)
  return quote(state, selectable.name or made_name(first_version(selectable), "anon", state))
end

function NAMES.excluded()
  return "excluded"
end

local function table_name(selectable, state)
  return NAMES[selectable.visit](selectable, state)
end
compiler.table_name = function(selectable, dialect)
  return table_name(selectable, new_state(dialect))
end

function VISIT.column(node, state)
  local name = quote(state, node.name)
  return node.table and table_name(node.table, state) .. "." .. name or name
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
  elseif visit == "label" or visit == "coerced" then
    return outer_operator(node.element)
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
    return not (inner.associative or inner == OPERATORS.and_ or inner == OPERATORS.or_) and (right or inner.precedence < 7)
  elseif inner.loose or (outer.loose and inner.precedence > 5) then
    return inner.precedence >= outer.precedence or outer.precedence > 5
  elseif inner.precedence == outer.precedence then
    return right or inner.precedence < 7
  end
  return inner.precedence < outer.precedence
end

local function operand(node, outer, right, state)
  local text = render(node, state)
  return needs_parentheses(outer_operator(node), outer, right) and "(" .. text .. ")" or text
end

-- ---- operators ----

local function is_whole(node_type)
  return node_type.kind ~= kinds.FLOAT
end

local function template_of(node, state)
  local record = node.operator
  local own = state.dialect.operators[record.name]
  if own and record.name == "div" and not (is_whole(node.left.type) and is_whole(node.right.type)) then
    own = nil
  end
  return own
end

local function escape_clause(escape)
  return escape and " ESCAPE '" .. escape:gsub("'", "''") .. "'" or ""
end

function VISIT.binary(node, state)
  local record, own = node.operator, template_of(node, state)
  local left = operand(node.left, record, false, state)
  local right = operand(node.right, record, true, state)
  local text = own and own:format(left, right) or left .. " " .. record.text .. " " .. right
  return text .. escape_clause(node.escape)
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
  if node.operator == UNARY then
    return simple(node.element) and "-" .. text or "-(" .. text .. ")"
  elseif node.operator == NEGATION then
    local bare = outer_operator(node.element) == nil
    return bare and "NOT " .. text or "NOT (" .. text .. ")"
  end
  return node.operator.text .. " " .. text
end

function VISIT.between(node, state)
  local outer = OPERATORS.eq
  local element = operand(node.element, outer, true, state)
  local low = operand(node.low, outer, true, state)
  return ("%s %sBETWEEN %s AND %s"):format(element, node.negated and "NOT " or "", low,
    operand(node.high, outer, true, state))
end

local select_text

function VISIT.membership(node, state)
  local element = operand(node.element, OPERATORS.eq, true, state)
  local members = node.members
  local text = members.is_statement and "(" .. select_text(members, state) .. ")" or render(members, state)
  return element .. (node.negated and " NOT IN " or " IN ") .. text
end

function VISIT.tuple(node, state)
  return "(" .. render_list(node.elements, state) .. ")"
end

function VISIT.members(node, state)
  return (node.rows and "(VALUES " or "(") .. render_list(node.elements, state) .. ")"
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

function VISIT.literal_column(node)
  return node.text
end

function VISIT.text(node, state)
  local pieces = functions.split_text(node.text)
  local parts = { pieces[1] }
  for position, bind in ipairs(node.binds) do
    parts[#parts + 1] = render(bind, state)
    parts[#parts + 1] = pieces[position + 1]
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
  return ("CAST(%s AS %s)"):format(render(node.element, state), node.type:ddl(state.dialect))
end

function VISIT.collation(node, state)
  local element = operand(node.element, UNARY, true, state)
  return element .. " COLLATE " .. (state.dialect.collations[node.name] and node.name or quote(state, node.name))
end

function VISIT.json_path(node, state)
  local element = render(node.element, state)
  return state.dialect.json_path:format(element, render(node.steps, state))
end

VISIT["function"] = function(node, state)
  if #node.arguments == 0 then
    local whole = state.dialect.functions[node.name:lower()]
    return whole or node.name .. (node.name:lower() == "count" and "(*)" or "()")
  end
  return node.name .. "(" .. render_list(node.arguments, state) .. ")"
end

function VISIT.filter(node, state)
  local element = render(node.element, state)
  return ("%s FILTER (WHERE %s)"):format(element, render(node.condition, state))
end

local order_term

function VISIT.over(node, state)
  local element, parts = render(node.element, state), {}
  if #node.partitions > 0 then
    parts[#parts + 1] = "PARTITION BY " .. render_list(node.partitions, state)
  end
  if #node.orders > 0 then
    parts[#parts + 1] = "ORDER BY " .. render_list(node.orders, state)
  end
  parts[#parts + 1] = node.frame
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
  local element, own = render(node.element, state), state.dialect.extract[node.field]
  if own then
    return (own:gsub("%$", function() return element end))
  end
  return ("EXTRACT(%s FROM %s)"):format(node.field, element)
end

function VISIT.exists(node, state)
  return "EXISTS (" .. select_text(node.statement, state) .. ")"
end

function VISIT.scalar(node, state)
  return "(" .. select_text(node.statement, state) .. ")"
end

-- ---- order ----

-- A label is named where the select shows it, and written out elsewhere.
function order_term(node, state)
  if node.visit == "label" and state.labels[node] then
    return quote(state, node.name)
  elseif node.visit ~= "ordering" then
    return render(node, state)
  end
  local text = order_term(node.element, state)
  text = node.direction and text .. " " .. node.direction or text
  return node.nulls and text .. " NULLS " .. node.nulls or text
end
VISIT.ordering = order_term

-- ---- what is selected ----

-- SQL that selects an entry. A part of a document is read as the document that it is.
local function entry_text(entry, state)
  local node = entry.node
  local element = node.visit == "label" and node.element or node
  local text = render(element, state)
  if element.visit == "json_path" then
    text = state.dialect.json_value:format(text)
  end
  return entry.said and text .. " AS " .. quote(state, entry.name) or text
end

local function entries_text(entries, state)
  return render_list(entries, state, ", ", entry_text)
end

-- ---- FROM ----

local FROM = {}

local function from_text(selectable, state)
  return FROM[selectable.visit](selectable, state)
end

FROM.table = NAMES.table

function FROM.alias(selectable, state)
  local element = from_text(selectable.element, state)
  return element .. " AS " .. table_name(selectable, state)
end

-- Tables outside are not seen from a subquery in FROM, unless it is lateral.
local function with_enclosing(enclosing, state, fn, node)
  local outer, labels = state.enclosing, state.labels
  state.enclosing, state.labels = enclosing, {}
  local text = fn(node, state, true)
  state.enclosing, state.labels = outer, labels
  return text
end

function FROM.subquery(selectable, state)
  local text = with_enclosing(selectable.lateral and state.enclosing or nil, state, select_text, selectable.statement)
  return ("%s(%s) AS %s"):format(selectable.lateral and "LATERAL " or "", text, table_name(selectable, state))
end

local function column_list(cte, state)
  local names = {}
  for position, entry in ipairs(cte.statement:exported()) do
    names[position] = quote(state, entry.name)
  end
  return "(" .. concat(names, ", ") .. ")"
end

-- Compiled once, when first met; its markers come before all others, since WITH does.
local function add_head(cte, state)
  local markers = state.markers
  state.markers = {}
  local text = with_enclosing(nil, state, select_text, cte.statement)
  local columns = cte.recursive and column_list(cte, state) or ""
  state.heads[#state.heads + 1] = { text = table_name(cte, state) .. columns .. " AS (" .. text .. ")",
    markers = state.markers, recursive = cte.recursive }
  state.markers = markers
end

function FROM.cte(cte, state)
  local first = first_version(cte)
  local known = state.ctes[first]
  if not known then
    state.ctes[first] = cte
    add_head(cte, state)
  elseif cte.restates and known ~= cte then
    errors.raise("CompileError", "two versions of the cte '%s' in one statement", cte.name or "?")
  end
  return table_name(cte, state)
end

function FROM.join(join, state)
  local left, right = from_text(join.left, state), from_text(join.right, state)
  right = join.right.visit == "join" and "(" .. right .. ")" or right
  return ("%s %s %s ON %s"):format(left, join.kind, right, render(join.on, state))
end

local function chain_text(chain, state)
  local parts = { from_text(chain.root, state) }
  for position, step in ipairs(chain.steps) do
    local target = from_text(step.target, state)
    target = step.target.visit == "join" and "(" .. target .. ")" or target
    parts[position + 1] = ("%s %s ON %s"):format(step.kind, target, render(step.on, state))
  end
  return concat(parts, " ")
end

-- A table that the enclosing statement reads already is meant, where the select reads others of its own.
local function without_enclosing(chains, node, enclosing)
  local kept, correlated = {}, nil
  for _, selectable in ipairs(node.correlated or {}) do
    correlated = correlated or {}
    correlated[selectable] = true
  end
  for _, chain in ipairs(chains) do
    local outer = (correlated or enclosing)[chain.root] and #chain.steps == 0
    kept[#kept + 1] = not outer and chain or nil
  end
  if #kept == 0 then
    errors.raise("InvalidRequestError", "a subquery reads only tables of the statement around it, and none is left for "
      .. "its FROM; use aliased(...), or correlate(...) to say which are meant")
  end
  return kept
end

local function from_chains(node, state)
  local chains = joining.chains(node)
  if (state.enclosing and #chains > 1) or node.correlated then
    return without_enclosing(chains, node, state.enclosing or {})
  end
  return chains
end

local function tables_in(chains, enclosing)
  local set = {}
  for selectable in pairs(enclosing or {}) do
    set[selectable] = true
  end
  for _, chain in ipairs(chains) do
    for selectable in pairs(chain.holds) do
      set[selectable] = true
    end
  end
  return set
end

-- ---- select ----

local function condition_text(conditions, state)
  return render_list(conditions, state, " AND ", function(condition)
    return #conditions == 1 and render(condition, state) or operand(condition, OPERATORS.and_, false, state)
  end)
end

local function add_clause(parts, word, nodes, state, fn)
  if nodes and #nodes > 0 then
    parts[#parts + 1] = word
    parts[#parts + 1] = fn(nodes, state)
  end
end

local function order_list(nodes, state)
  return render_list(nodes, state, ", ", order_term)
end

local function add_limits(parts, node, state)
  if node.limited then
    parts[#parts + 1] = "LIMIT " .. render(node.limited, state)
  elseif node.skipped and state.dialect.offset_limit then
    parts[#parts + 1] = "LIMIT " .. state.dialect.offset_limit
  end
  if node.skipped then
    parts[#parts + 1] = "OFFSET " .. render(node.skipped, state)
  end
end

local function from_list(chains, state)
  return render_list(chains, state, ", ", chain_text)
end

local function labels_of(entries)
  local labels = {}
  for _, entry in ipairs(entries) do
    if entry.node.visit == "label" then
      labels[entry.node] = true
    end
  end
  return labels
end

local function select_parts(node, state, chains, entries)
  local parts = { node.unique and "SELECT DISTINCT" or "SELECT", entries_text(entries, state) }
  add_clause(parts, "FROM", chains, state, from_list)
  add_clause(parts, "WHERE", node.wheres, state, condition_text)
  add_clause(parts, "GROUP BY", node.groups, state, order_list)
  add_clause(parts, "HAVING", node.havings, state, condition_text)
  add_clause(parts, "ORDER BY", node.orders, state, order_list)
  add_limits(parts, node, state)
  parts[#parts + 1] = state.dialect.row_locks and node.lock or nil
  return parts
end

local COMBINED = {}

-- A member that is sorted, cut or itself a union stands as a table, since not every database takes parentheses here.
local function member_text(member, state, named)
  if member.visit == "compound" or member.orders or member.limited or member.skipped then
    return "SELECT * FROM (" .. select_text(member, state, named) .. ")"
  end
  return select_text(member, state, named)
end

-- The result's columns are those of the first member; terms of ORDER BY name them.
local function result_term(columns)
  local function term(node, state)
    if node.visit == "ordering" then
      local text = term(node.element, state)
      text = node.direction and text .. " " .. node.direction or text
      return node.nulls and text .. " NULLS " .. node.nulls or text
    elseif columns[node] then
      return quote(state, columns[node])
    end
    return render(node, state)
  end
  return term
end

function COMBINED.compound(node, state, named)
  local columns = {}
  for _, entry in ipairs(named and node:exported() or statement.entries(node:result_items())) do
    columns[entry.node] = entry.name
  end
  local parts = { render_list(node.members, state, " " .. node.operator .. " ", function(member)
    return member_text(member, state, named)
  end) }
  add_clause(parts, "ORDER BY", node.orders, state, function(orders)
    return render_list(orders, state, ", ", result_term(columns))
  end)
  add_limits(parts, node, state)
  return concat(parts, " ")
end

function COMBINED.select(node, state, named)
  local chains = from_chains(node, state)
  local enclosing, labels = state.enclosing, state.labels
  local entries = named and node:exported() or statement.entries(node.items)
  state.enclosing, state.labels = tables_in(chains, enclosing), labels_of(entries)
  local text = concat(select_parts(node, state, chains, entries), " ")
  state.enclosing, state.labels = enclosing, labels
  return text
end

-- `named`: columns have the names by which a statement around this one knows them.
function select_text(node, state, named)
  local visit = COMBINED[node.visit]
  if not visit then
    errors.raise("CompileError", "a select expected inside a statement, got %s", tostring(node.visit))
  end
  return visit(node, state, named)
end

-- ---- insert ----

local CHANGE = {}

-- What a column gets that the statement gives no value for, or nil: `default` for inserts, `onupdate` for updates.
local function default_text(column, default, state)
  if default == nil then
    return nil
  elseif type(default) == "function" then
    return marker(state, { callable = default, type = column.type, key = column.key or column.name })
  elseif expression.clause(default) then
    return render(expression.clause(default), state)
  end
  local value = { visit = "bind", value = default, type = column.type, key = column.key or column.name }
  return marker(state, { node = value, own = true })
end

-- Columns of the table that have a default of `field` and are not among the statement's.
local function defaulted(node, field)
  local given, list = {}, {}
  for _, column in ipairs(node.columns or {}) do
    given[column.name] = true
  end
  for _, column in ipairs(node.target.columns) do
    if column[field] ~= nil and not given[column.name] then
      list[#list + 1] = column
    end
  end
  return list
end

local function row_text(row, defaults, state)
  local parts = {}
  for position, value in ipairs(row.values) do
    parts[position] = render(value, state)
  end
  for _, column in ipairs(defaults) do
    parts[#parts + 1] = default_text(column, column.default, state)
  end
  return "(" .. concat(parts, ", ") .. ")"
end

local function name_list(columns, more, state)
  local names = {}
  for _, list in ipairs({ columns or {}, more }) do
    for _, column in ipairs(list) do
      names[#names + 1] = quote(state, column.name)
    end
  end
  return "(" .. concat(names, ", ") .. ")"
end

local function insert_source(node, state)
  if node.source then
    return name_list(node.columns, {}, state) .. " " .. select_text(node.source, state)
  end
  local defaults, rows = defaulted(node, "default"), node.rows or { { values = {} } }
  if #defaults + #(node.columns or {}) == 0 then
    return "DEFAULT VALUES"
  end
  return name_list(node.columns, defaults, state) .. " VALUES " .. render_list(rows, state, ", ", function(row)
    return row_text(row, defaults, state)
  end)
end

local function assignments(columns, values, state)
  local parts = {}
  for position, column in ipairs(columns) do
    parts[position] = quote(state, column.name) .. " = " .. render(values[position], state)
  end
  return parts
end

local function conflict_text(node, state)
  local parts = { "ON CONFLICT" }
  parts[2] = #node.elements > 0 and name_list(node.elements, {}, state) or nil
  if not node.columns then
    parts[#parts + 1] = "DO NOTHING"
    return concat(parts, " ")
  end
  parts[#parts + 1] = "DO UPDATE SET " .. concat(assignments(node.columns, node.values, state), ", ")
  add_clause(parts, "WHERE", node.wheres, state, condition_text)
  return concat(parts, " ")
end

local function add_returning(parts, node, state)
  if node.items then
    parts[#parts + 1] = "RETURNING " .. entries_text(statement.entries(node.items), state)
  end
end

function CHANGE.insert(node, state)
  local parts = { "INSERT INTO " .. table_name(node.target, state), insert_source(node, state) }
  if node.conflict then
    -- without a WHERE the parser would take ON for a join's
    parts[2] = node.source and not node.source.wheres and parts[2] .. " WHERE " .. state.dialect.constants["true"]
      or parts[2]
    parts[3] = conflict_text(node.conflict, state)
  end
  add_returning(parts, node, state)
  return concat(parts, " ")
end

-- ---- update and delete ----

local function require_condition(node)
  if not node.everything and not (node.wheres and #node.wheres > 0) then
    errors.raise("InvalidRequestError", "%s of '%s' without a condition would take every row; write "
      .. ":where(orm.all) if that is meant", node.visit, node.target.name)
  end
end

-- The tables besides the target that conditions and values read.
local function other_chains(node)
  local chains, others = joining.chains({ items = node.values_ or {}, wheres = node.wheres }), {}
  for _, chain in ipairs(chains) do
    others[#others + 1] = chain.root ~= node.target and chain or nil
  end
  return others
end

local function enclose(node, others, state)
  state.enclosing = tables_in(others)
  state.enclosing[node.target] = true
end

local function set_list(node, state)
  local parts = assignments(node.columns or {}, node.values_ or {}, state)
  for _, column in ipairs(defaulted(node, "onupdate")) do
    parts[#parts + 1] = quote(state, column.name) .. " = " .. default_text(column, column.onupdate, state)
  end
  if #parts == 0 then
    errors.raise("CompileError", "update of '%s' sets nothing; write :values{ name = value }", node.target.name)
  end
  return concat(parts, ", ")
end

function CHANGE.update(node, state)
  require_condition(node)
  local others = other_chains(node)
  enclose(node, others, state)
  local parts = { "UPDATE " .. table_name(node.target, state) .. " SET " .. set_list(node, state) }
  add_clause(parts, "FROM", others, state, from_list)
  add_clause(parts, "WHERE", node.wheres, state, condition_text)
  add_returning(parts, node, state)
  return concat(parts, " ")
end

CHANGE["delete"] = function(node, state)
  require_condition(node)
  local others = other_chains(node)
  if #others > 0 then
    errors.raise("CompileError", "delete from '%s' reads '%s' too; use in_(select(...)) or exists()", node.target.name,
      joining.describe(others[1].root))
  end
  enclose(node, others, state)
  local parts = { "DELETE FROM " .. table_name(node.target, state) }
  add_clause(parts, "WHERE", node.wheres, state, condition_text)
  add_returning(parts, node, state)
  return concat(parts, " ")
end

-- ---- the whole statement ----

local function with_heads(text, state)
  if #state.heads == 0 then
    return text, state.markers
  end
  local texts, markers, recursive = {}, {}, false
  for position, head in ipairs(state.heads) do
    texts[position], recursive = head.text, recursive or head.recursive
    for _, source in ipairs(head.markers) do
      markers[#markers + 1] = source
    end
  end
  for _, source in ipairs(state.markers) do
    markers[#markers + 1] = source
  end
  return (recursive and "WITH RECURSIVE " or "WITH ") .. concat(texts, ", ") .. " " .. text, markers
end

local function source_type(source)
  return source.pack and expression.literal("").type or source.type or source.node.type
end

local function binds_of(markers)
  local binds = {}
  for position, source in ipairs(markers) do
    local node = source.node or {}
    binds[position] = { key = source.key or node.key, type = source_type(source), callable = source.callable }
  end
  return binds
end

local function text_columns(node)
  local columns = {}
  for position, name in ipairs(errors.sorted_keys(node.column_types or {})) do
    columns[position] = { name = name, type = node.column_types[name] }
  end
  return columns
end

local function result_columns(node)
  local columns, raw = statement.entries(node:result_items())
  for _, entry in ipairs(columns) do
    entry.name = entry.key
  end
  return columns, raw
end

local function statement_text(node, state)
  if CHANGE[node.visit] then
    return CHANGE[node.visit](node, state), node.visit
  elseif node.visit == "text" then
    return VISIT.text(node, state), "text"
  elseif COMBINED[node.visit] then
    return select_text(node, state), "select"
  end
  errors.raise("ArgumentError", "a statement expected (select, insert, update, delete, text), got %s",
    node.visit and "an expression; select(...) it" or "something else")
end

local function check_size(markers, dialect)
  if #markers > dialect.max_binds then
    errors.raise("CompileError", "the statement has %d values, and %s takes %d; split the list, or insert with "
      .. "conn:execute(insert(table), rows)", #markers, dialect.name, dialect.max_binds)
  end
end

-- Markers with numbers may stand anywhere, so their values come in the order of the numbers.
local function order_markers(markers, dialect)
  if dialect.marker ~= "?" then
    table.sort(markers, function(a, b) return a.number < b.number end)
  end
end

local function compile(node, dialect)
  local state = new_state(dialect)
  local text, kind = statement_text(node, state)
  local sql, markers = with_heads(text, state)
  order_markers(markers, dialect)
  check_size(markers, dialect)
  local compiled = { sql = sql, kind = kind, binds = binds_of(markers), readonly = kind == "select",
    table = CHANGE[kind] and node.target or nil }
  if kind == "text" then
    compiled.columns, compiled.raw, compiled.readonly = text_columns(node), {}, nil
  else
    compiled.columns, compiled.raw = result_columns(node)
  end
  return compiled, markers
end

-- ---- values ----

local function value_of(source, node)
  if source.callable then
    local value = source.callable()
    return value == nil and core.null or value
  elseif source.index then
    return node.values[source.index]
  elseif source.pack then
    return pack_list(node)
  end
  return node.value
end

-- For each marker the place of its value's node in the order of the fingerprint: that is how the values of another
-- statement of the same shape are found. `direct` says that all markers are plain values in that order.
local function locate(markers, nodes)
  local places, direct = {}, #markers == #nodes
  for place, node in ipairs(nodes) do
    places[node] = place
  end
  for position, source in ipairs(markers) do
    source.place = not source.own and places[source.node] or nil
    if source.node and not source.own and not source.place then
      errors.raise("InternalError", "a bound value is missing in the statement's fingerprint")
    end
    direct = direct and source.place == position and not source.index and not source.pack
  end
  return direct
end

local function collect(sources, nodes)
  local values = {}
  for position, source in ipairs(sources) do
    values[position] = value_of(source, source.place and nodes[source.place] or source.node)
  end
  return values
end

--- Compiles a statement. The binds have the statement's values (none where execution gives them).
---@param node table
---@param dialect? orrery.Dialect SQLite's by default
---@return table compiled { sql, binds, columns, raw, kind, readonly, table }
function compiler.compile(node, dialect)
  local found = expression.clause(node) or node
  local compiled, markers = compile(found, dialect or dialects.sqlite)
  for position, source in ipairs(markers) do
    if not source.callable then
      compiled.binds[position].value = value_of(source, source.node)
    end
  end
  return compiled
end

-- ---- the cache ----

local DEFAULT_SIZE = 500

--- An empty cache of at most `size` compiled statements.
---@param size? integer 500 by default; 0 keeps none
---@return table
function compiler.new_cache(size)
  return { young = {}, old = {}, count = 0, half = math.ceil((size or DEFAULT_SIZE) / 2) }
end

-- Two generations: when the young one is full it becomes the old one, whose unused entries are dropped with the next
-- turn. An entry that is used moves back to the young one.
local function keep(cache, key, compiled)
  if cache.count >= cache.half then
    cache.young, cache.old, cache.count = {}, cache.young, 0
  end
  if cache.half > 0 then
    cache.young[key], cache.count = compiled, cache.count + 1
  end
  return compiled
end

-- Nothing of a statement's values may stay in what is kept for others.
local function forget_values(markers)
  for position, source in ipairs(markers) do
    markers[position] = { place = source.place, index = source.index, pack = source.pack, callable = source.callable,
      node = source.own and source.node or nil }
  end
  return markers
end

local function compile_shape(node, dialect, nodes)
  local compiled, markers = compile(node, dialect)
  compiled.direct = locate(markers, nodes)
  compiled.sources = not compiled.direct and forget_values(markers) or nil
  return compiled
end

--- The compiled form of a statement, from the cache where one of the same shape is there, and this statement's values
--- in the order of the markers (nil where a parameter has none).
---@param node table
---@param dialect orrery.Dialect
---@param cache table of new_cache()
---@param params? table<string, any> names that become columns of an insert or update
---@return table compiled
---@return table values
function compiler.cached(node, dialect, cache, params)
  node = expression.clause(node) or node
  if params then
    node = change.for_parameters(node, params)
  end
  local key, values = fingerprint.of(node, dialect)
  local compiled = cache.young[key]
  local nodes = fingerprint.finish(not (compiled and compiled.direct))
  if not compiled then
    compiled = cache.old[key] or compile_shape(node, dialect, nodes)
    keep(cache, key, compiled)
  end
  if compiled.direct then
    return compiled, values
  end
  return compiled, collect(compiled.sources, nodes)
end

-- ---- statements of the unit of work ----

local function quoted_names(columns, dialect)
  local names = {}
  for position, column in ipairs(columns) do
    names[position] = dialect.quote(column.name)
  end
  return names
end

local function markers_from(dialect)
  local number = 0
  return function()
    number = number + 1
    return dialect.marker == "?" and "?" or dialect.marker:format(number)
  end
end

local function repeated(count, separator, fn)
  local parts = {}
  for position = 1, count do
    parts[position] = fn(position)
  end
  return concat(parts, separator)
end

--- INSERT of `rows` rows with a value for each column; without columns, one row of defaults.
---@param target table
---@param columns table[]
---@param rows integer
---@param dialect orrery.Dialect
---@return string
function compiler.insert_sql(target, columns, rows, dialect)
  local into = "INSERT INTO " .. compiler.table_name(target, dialect)
  if #columns == 0 then
    return into .. " DEFAULT VALUES"
  end
  local next_marker = markers_from(dialect)
  local groups = repeated(rows, ", ", function()
    return "(" .. repeated(#columns, ", ", next_marker) .. ")"
  end)
  return ("%s (%s) VALUES %s"):format(into, concat(quoted_names(columns, dialect), ", "), groups)
end

local function equalities(columns, separator, dialect, next_marker)
  local names = quoted_names(columns, dialect)
  return repeated(#columns, separator, function(position)
    return names[position] .. " = " .. next_marker()
  end)
end

--- UPDATE of one row: values of the columns to set come first, then those of the key.
---@param target table
---@param set_columns table[]
---@param where_columns table[]
---@param dialect orrery.Dialect
---@return string
function compiler.update_sql(target, set_columns, where_columns, dialect)
  local next_marker = markers_from(dialect)
  local set = equalities(set_columns, ", ", dialect, next_marker)
  return ("UPDATE %s SET %s WHERE %s"):format(compiler.table_name(target, dialect), set,
    equalities(where_columns, " AND ", dialect, next_marker))
end

--- DELETE of `count` rows by key.
---@param target table
---@param where_columns table[]
---@param count integer
---@param dialect orrery.Dialect
---@return string
function compiler.delete_sql(target, where_columns, count, dialect)
  local next_marker, condition = markers_from(dialect)
  if count == 1 then
    condition = equalities(where_columns, " AND ", dialect, next_marker)
  elseif #where_columns == 1 then
    condition = ("%s IN (%s)"):format(dialect.quote(where_columns[1].name), repeated(count, ", ", next_marker))
  else
    condition = repeated(count, " OR ", function()
      return "(" .. equalities(where_columns, " AND ", dialect, next_marker) .. ")"
    end)
  end
  return ("DELETE FROM %s WHERE %s"):format(compiler.table_name(target, dialect), condition)
end

--- The SQL of one expression, for DDL: values are not bound there, so it may have none.
---@param node table
---@param dialect orrery.Dialect
---@return string
function compiler.expression_sql(node, dialect)
  local state = new_state(dialect)
  local text = render(expression.clause(node), state)
  if #state.markers > 0 then
    errors.raise("CompileError", "this expression stands in DDL, where values cannot be bound; write it as text(...)")
  end
  return text
end

-- ---- printing ----

local function print_node(node)
  if node.is_statement or node.visit == "text" then
    return compile(node, dialects.sqlite).sql
  end
  return render(node, new_state(dialects.sqlite))
end

expression.set_renderer(function(node)
  local ok, text = pcall(print_node, node)
  return ok and text or ("orrery.%s (%s)"):format(tostring(node.visit), tostring(text))
end)

return compiler
