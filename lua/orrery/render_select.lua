--- render_select: selects and unions as SQL, and what stands in their FROM. Which tables that are is joining.lua's to
-- say.
local import = ...
local reading = import "reading"
local errors = import "errors"
local expression = import "expression"
local adapting = reading.later "adapting"
local joining = import "joining"
local linking = import "linking"
local statement = import "statement"
local rendering = import "render"

local selects = {}
local VISIT, NAMES = rendering.VISIT, rendering.NAMES
local render, render_list, quote = rendering.render, rendering.list, rendering.quote
local operand, order_term, table_name = rendering.operand, rendering.order_term, rendering.table_name
local AND = expression.OPERATORS.and_
local concat = table.concat

-- ---- what is selected ----

local function json_text(node, state)
  local element = render(node.element, state)
  return state.dialect.json_part:format(element, render(node.steps, state))
end

local function entry_text(entry, state)
  local node = entry.node
  local element = node.visit == "label" and node.element or node
  local text = element.visit == "json_path" and json_text(element, state) or render(element, state)
  return entry.said and text .. " AS " .. quote(state, entry.name) or text
end

--- The columns that a select or RETURNING lists.
function selects.entries_text(entries, state)
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

--- Refuses what a dialect has not: "sqlite has no LATERAL ...".
function selects.require_feature(name, lack, state)
  if not state.dialect[name] then
    errors.raise("CompileError", "%s %s", state.dialect.name, lack)
  end
end

function FROM.subquery(selectable, state)
  if selectable.lateral then
    selects.require_feature("lateral", "has no LATERAL: a subquery in FROM does not see the tables before it; use "
      .. "scalar_subquery(), or a window function in an inner select", state)
  end
  local text = with_enclosing(selectable.lateral and state.enclosing or nil, state, render, selectable.statement)
  return ("%s(%s) AS %s"):format(selectable.lateral and "LATERAL " or "", text, table_name(selectable, state))
end

local CHANGES = { insert = true, update = true, delete = true }

function FROM.table_function(selectable, state)
  return render(selectable.element, state) .. " AS " .. table_name(selectable, state)
end

local function column_list(inner, state)
  return "(" .. render_list(inner:exported(), state, ", ", function(entry)
    return quote(state, entry.name)
  end) .. ")"
end

-- Compiled once, when first met; its markers come before all others, since WITH does.
local function add_head(cte, state)
  local inner = cte.statement
  if CHANGES[inner.visit] then
    selects.require_feature("changes_in_with", "takes only selects in WITH; execute the " .. inner.visit
      .. " by itself, with returning(), and use its rows", state)
    state.writes = true
  end
  local markers = state.markers
  state.markers = {}
  local text = with_enclosing(nil, state, render, inner)
  local columns = (cte.recursive or inner.visit == "values") and column_list(inner, state) or ""
  state.heads[#state.heads + 1] = { text = table_name(cte, state) .. columns .. " AS (" .. text .. ")",
    markers = state.markers, recursive = cte.recursive }
  state.markers = markers
end

function FROM.cte(cte, state)
  local first = rendering.first_version(cte)
  local known = state.ctes[first]
  if not known then
    state.ctes[first] = cte
    add_head(cte, state)
  elseif cte.restates and known ~= cte then
    errors.raise("CompileError", "two versions of the cte '%s' in one statement", cte.name or "?")
  end
  return table_name(cte, state)
end

function VISIT.values(node, state)
  if #node.rows == 0 then
    errors.raise("CompileError", "values(...) has no rows; write values(...):data{ { ... } }")
  end
  state.beside = nil
  return "VALUES " .. render_list(node.rows, state)
end

function FROM.values(node, state)
  local parts = { values = with_enclosing(nil, state, render, node), name = table_name(node, state),
    columns = column_list(node, state) }
  return (state.dialect.values_table:gsub("%$(%l+)", parts))
end

--- The parts of WITH that a statement has beside those that it reads.
function selects.add_heads(node, state)
  for _, cte in ipairs(node.heads or {}) do
    FROM.cte(cte, state)
  end
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

local function as_set(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

-- A table that the enclosing statement reads already is meant, where the select reads others of its own.
local function without_enclosing(chains, node, enclosing)
  local kept, outside = {}, node.correlated and as_set(node.correlated) or enclosing
  local inside = as_set(node.inner or {})
  for _, chain in ipairs(chains) do
    local outer = outside[chain.root] and not inside[chain.root] and #chain.steps == 0
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
  if (state.enclosing and #chains > 1) or node.correlated or node.inner then
    chains = without_enclosing(chains, node, state.enclosing or {})
  end
  return joining.check(chains, state.enclosing)
end

--- The tables that chains read, and those around them, as keys.
function selects.tables_in(chains, enclosing)
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

-- ---- criteria: conditions that hold for a table wherever it is read ----

local function base(column)
  while column.origin do
    column = column.origin
  end
  return column
end

local function holds(selectable, tbl)
  return selectable == tbl
    or selectable.visit == "join" and (holds(selectable.left, tbl) or holds(selectable.right, tbl))
end

-- The condition on the columns that an alias shows of the table.
local function on_alias(criterion, alias)
  return adapting.moved(criterion.condition, criterion.table, alias, function(column)
    for _, shown in ipairs(alias.columns) do
      if base(shown) == base(column) then
        return shown
      end
    end
  end)
end

-- The condition that a criterion puts on what is read; aliases are meant where it says so, or where an eager load has made
-- them.
local function condition_on(criterion, selectable)
  if holds(selectable, criterion.table) then
    return criterion.condition
  elseif selectable.visit == "alias" and holds(selectable.element, criterion.table)
    and (criterion.include_aliases or selectable.eager) then
    return on_alias(criterion, selectable)
  end
end

-- Within a criterion no criteria hold: it may ask for its own table.
function VISIT.criterion(node, state)
  local outside = state.criteria
  state.criteria = nil
  local text = render(node.condition, state)
  state.criteria = outside
  return text
end

local function conditions_on(selectable, state, list)
  for _, criterion in ipairs(state.criteria) do
    local condition = condition_on(criterion, selectable)
    if condition then
      list[#list + 1] = expression.new{ visit = "criterion", condition = condition, type = condition.type }
    end
  end
  return list
end

-- A join with what its target's criteria say.
local function narrowed_step(step, state)
  local list = conditions_on(step.target, state, { step.on })
  return #list > 1 and { visit = step.visit, kind = step.kind, target = step.target,
    on = expression.new{ visit = "junction", operator = AND, clauses = list, type = step.on.type } } or step
end

-- What a select reads and by which conditions, with those of the criteria.
local function narrowed(chains, wheres, state)
  local result, conditions = {}, {}
  for position, where in ipairs(wheres or {}) do
    conditions[position] = where
  end
  for position, chain in ipairs(chains) do
    local steps = {}
    for number, step in ipairs(chain.steps) do
      steps[number] = narrowed_step(step, state)
    end
    result[position] = { root = chain.root, steps = steps, holds = chain.holds }
    conditions_on(chain.root, state, conditions)
  end
  return result, conditions
end

-- ---- select ----

--- Conditions that must all hold.
function selects.condition_text(conditions, state)
  return render_list(conditions, state, " AND ", function(condition)
    return #conditions == 1 and render(condition, state) or operand(condition, AND, false, state)
  end)
end

--- Adds a clause where it has something to say.
function selects.add_clause(parts, word, nodes, state, fn)
  if nodes and #nodes > 0 then
    parts[#parts + 1] = word
    parts[#parts + 1] = fn(nodes, state)
  end
end

local function order_list(nodes, state)
  return render_list(nodes, state, ", ", order_term)
end

-- A label's name could be that of a column, which GROUP BY would take before it; written out, the values in it could be
-- others.
local function group_term(node, state)
  local shown = node.visit == "label" and node.element.visit ~= "column" and state.labels[node]
  return shown and tostring(shown.position) or rendering.no_position(node, state)
end

local function group_list(nodes, state)
  return render_list(nodes, state, ", ", group_term)
end

local function add_limits(parts, node, state)
  state.beside = nil
  if node.limited then
    parts[#parts + 1] = "LIMIT " .. render(node.limited, state)
  elseif node.skipped and state.dialect.offset_limit then
    parts[#parts + 1] = "LIMIT " .. state.dialect.offset_limit
  end
  if node.skipped then
    parts[#parts + 1] = "OFFSET " .. render(node.skipped, state)
  end
end

--- FROM's tables.
function selects.from_list(chains, state)
  return render_list(chains, state, ", ", chain_text)
end

-- What GROUP BY and ORDER BY may say for a label: its position, and its name where nothing else has that.
local function labels_of(entries)
  local labels, count = {}, {}
  for _, entry in ipairs(entries) do
    local name = entry.name:lower()
    count[name] = (count[name] or 0) + 1
  end
  for position, entry in ipairs(entries) do
    if entry.node.visit == "label" then
      labels[entry.node] = { position = position, name = count[entry.name:lower()] == 1 and entry.name or nil }
    end
  end
  return labels
end

local function first_words(node, state)
  if not node.distinct_on then
    return node.unique and "SELECT DISTINCT" or "SELECT"
  end
  selects.require_feature("distinct_on", "has no DISTINCT ON; number the rows with func.row_number():over{ "
    .. "partition_by = ... } in a subquery and take the first, or group_by() the columns", state)
  return "SELECT DISTINCT ON (" .. group_list(node.distinct_on, state) .. ")"
end

local function lock_text(node, state)
  if not node.lock or not state.dialect.row_locks then
    return nil
  end
  local of = node.lock_of and " OF " .. render_list(node.lock_of, state, ", ", table_name) or ""
  return node.lock .. of .. node.lock_wait
end

local function select_parts(node, state, chains, wheres, entries, appended)
  local parts = { first_words(node, state), selects.entries_text(entries, state) }
  parts[2] = appended and parts[2] .. ", " .. appended() or parts[2]
  selects.add_clause(parts, "FROM", chains, state, selects.from_list)
  selects.add_clause(parts, "WHERE", wheres, state, selects.condition_text)
  selects.add_clause(parts, "GROUP BY", node.groups, state, group_list)
  selects.add_clause(parts, "HAVING", node.havings, state, selects.condition_text)
  selects.add_clause(parts, "ORDER BY", node.orders, state, order_list)
  add_limits(parts, node, state)
  parts[#parts + 1] = lock_text(node, state)
  return parts
end

-- A member that is sorted, cut or itself a union stands as a table where a database takes no parentheses here.
local function member_text(member, state, named)
  if member.visit == "compound" or member.orders or member.limited or member.skipped then
    return state.dialect.compound_member:format(render(member, state, named))
  end
  return render(member, state, named)
end

-- The result's columns are those of the first member; terms of ORDER BY name them.
local function result_term(columns)
  local function term(node, state)
    if node.visit == "ordering" then
      local text = term(node.element, state)
      text = node.direction and text .. " " .. node.direction or text
      return node.nulls and text .. " NULLS " .. node.nulls or text
    end
    return rendering.collated(columns[node] and quote(state, columns[node]) or render(node, state), node.type, state)
  end
  return term
end

local UNCOMMON = { ["INTERSECT ALL"] = true, ["EXCEPT ALL"] = true }

function VISIT.compound(node, state, named)
  selects.add_heads(node, state)
  if UNCOMMON[node.operator] then
    selects.require_feature("compound_all", "has no " .. node.operator .. "; number equal rows with "
      .. "func.row_number():over{ partition_by = ... } to tell them apart", state)
  end
  local columns = {}
  for _, entry in ipairs(named and node:exported() or statement.entries(node:result_items())) do
    columns[entry.node] = entry.name
  end
  local parts = { render_list(node.members, state, " " .. node.operator .. " ", function(member)
    return member_text(member, state, named)
  end) }
  selects.add_clause(parts, "ORDER BY", node.orders, state, function(orders)
    return render_list(orders, state, ", ", result_term(columns))
  end)
  add_limits(parts, node, state)
  return concat(parts, " ")
end

function VISIT.from_statement(node, state)
  return render(node.inner, state)
end

-- Whether neither a select nor what stands in it means tables of the statements around.
local function is_apart(node)
  return node.correlated and #node.correlated == 0
end

function VISIT.select(node, state, named)
  local appended = state.appended
  state.appended = nil
  selects.add_heads(node, state)
  local chains = from_chains(node, state)
  local outer, labels = state.enclosing, state.labels
  local enclosing = not is_apart(node) and outer or nil
  if state.linking then
    linking.check("SELECT", chains, node.wheres, enclosing)
  end
  local entries = named and node:exported() or statement.entries(node.items)
  state.enclosing, state.labels = selects.tables_in(chains, enclosing), labels_of(entries)
  local wheres = node.wheres
  if state.criteria then
    chains, wheres = narrowed(chains, wheres, state)
  end
  local text = concat(select_parts(node, state, chains, wheres, entries, appended), " ")
  state.enclosing, state.labels = outer, labels
  return text
end

return selects
