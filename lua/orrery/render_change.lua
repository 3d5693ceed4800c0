--- render_change: insert, update and delete as SQL, with the defaults of columns that a statement leaves out.
local import = ...
local errors = import "errors"
local expression = import "expression"
local joining = import "joining"
local linking = import "linking"
local statement = import "statement"
local rendering = import "render"
local selects = import "render_select"

local VISIT = rendering.VISIT
local render, render_list, marker = rendering.render, rendering.list, rendering.marker
local quote, table_name = rendering.quote, rendering.table_name
local add_clause, condition_text = selects.add_clause, selects.condition_text
local concat = table.concat

-- ---- insert ----

-- What a column gets that the statement gives no value for: its `default` in inserts, its `onupdate` in updates.
local function default_text(column, default, state)
  local text
  state.own = true
  if type(default) == "function" then
    text = marker(state, { callable = default, type = column.type, key = column.key or column.name })
  elseif expression.clause(default) then
    text = render(expression.clause(default), state)
  else
    local node = { visit = "bind", value = default, type = column.type, key = column.key or column.name }
    text = render(node, state)
  end
  state.own = nil
  return text
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

local function row_text(row, columns, defaults, state)
  local parts = {}
  for position, value in ipairs(row.values) do
    state.beside = columns[position]
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

local function defaults_text(defaults, state)
  return render_list(defaults, state, ", ", function(column)
    return default_text(column, column.default, state)
  end)
end

-- A select has the defaults of further columns behind its own; anything else is read as a table.
local function with_defaults(source, defaults, state)
  if source.visit == "select" then
    state.appended = function()
      return defaults_text(defaults, state)
    end
    return render(source, state)
  end
  local text = defaults_text(defaults, state)
  return ("SELECT *, %s FROM (%s) AS %s"):format(text, render(source, state),
    table_name({ visit = "subquery", statement = source }, state))
end

local function from_select(node, state)
  local defaults, source = defaulted(node, "default"), node.source
  return name_list(node.columns, defaults, state) .. " "
    .. (#defaults > 0 and with_defaults(source, defaults, state) or render(source, state))
end

local function insert_source(node, state)
  if node.source then
    return from_select(node, state)
  end
  local defaults, rows = defaulted(node, "default"), node.rows or { { values = {} } }
  if #defaults + #(node.columns or {}) == 0 then
    return "DEFAULT VALUES"
  end
  return name_list(node.columns, defaults, state) .. " VALUES " .. render_list(rows, state, ", ", function(row)
    return row_text(row, node.columns or {}, defaults, state)
  end)
end

local function assignments(columns, values, state)
  local parts = {}
  for position, column in ipairs(columns) do
    state.beside = column
    parts[position] = quote(state, column.name) .. " = " .. render(values[position], state)
  end
  return parts
end

local function conflict_text(node, state)
  local parts = { "ON CONFLICT" }
  parts[2] = #node.elements > 0 and name_list(node.elements, {}, state) or nil
  if node.constraint then
    selects.require_feature("conflict_constraint", "takes the columns of a key, index_elements, and no constraint's name",
      state)
    parts[#parts + 1] = "ON CONSTRAINT " .. quote(state, node.constraint)
  end
  state.bare = true
  add_clause(parts, "WHERE", node.index_wheres, state, condition_text)
  state.bare = nil
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
    parts[#parts + 1] = "RETURNING " .. selects.entries_text(statement.entries(node.items), state)
  end
end

-- "INSERT " or "INSERT OR REPLACE ".
local function first_words(word, node, state)
  if node.prefix then
    selects.require_feature("change_prefix", "has no " .. word .. " " .. node.prefix .. "; use on_conflict_do_update() or "
      .. "on_conflict_do_nothing()", state)
  end
  return word .. " " .. (node.prefix and node.prefix .. " " or "")
end

function VISIT.insert(node, state)
  selects.add_heads(node, state)
  local parts = { first_words("INSERT", node, state) .. "INTO " .. table_name(node.target, state), insert_source(node, state) }
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
local function other_chains(node, state)
  local read = {}
  for _, list in ipairs({ node.values_ or {}, node.wheres or {} }) do
    for _, one in ipairs(list) do
      read[#read + 1] = one
    end
  end
  local chains, others = joining.check(joining.chains{ roots = { node.target }, items = {}, wheres = read }), {}
  for _, chain in ipairs(chains) do
    others[#others + 1] = chain.root ~= node.target and chain or nil
  end
  if state.linking then
    linking.check(node.visit:upper(), chains, node.wheres, state.enclosing)
  end
  return others
end

local function enclose(node, others, state)
  state.enclosing = selects.tables_in(others)
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

-- The script's conditions, and the one that picks a class's rows.
local function conditions_of(node)
  if not node.picked then
    return node.wheres
  end
  local list = { node.picked[1] }
  for _, where in ipairs(node.wheres or {}) do
    list[#list + 1] = where
  end
  return list
end

function VISIT.update(node, state)
  selects.add_heads(node, state)
  require_condition(node)
  local others = other_chains(node, state)
  enclose(node, others, state)
  local parts = { first_words("UPDATE", node, state) .. table_name(node.target, state) .. " SET " .. set_list(node, state) }
  add_clause(parts, "FROM", others, state, selects.from_list)
  add_clause(parts, "WHERE", conditions_of(node), state, condition_text)
  add_returning(parts, node, state)
  return concat(parts, " ")
end

VISIT["delete"] = function(node, state)
  selects.add_heads(node, state)
  require_condition(node)
  local others = other_chains(node, state)
  if #others > 0 and not state.dialect.delete_using then
    errors.raise("CompileError", "delete from '%s' reads '%s' too; use in_(select(...)) or exists()", node.target.name,
      joining.describe(others[1].root))
  end
  enclose(node, others, state)
  local parts = { "DELETE FROM " .. table_name(node.target, state) }
  add_clause(parts, "USING", others, state, selects.from_list)
  add_clause(parts, "WHERE", conditions_of(node), state, condition_text)
  add_returning(parts, node, state)
  return concat(parts, " ")
end

return true
