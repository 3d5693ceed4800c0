--- adapting: expressions that were written for one table, moved to another that has its columns: an alias, or a subquery.
-- What is correlated within a subquery moves along.
local import = ...
local expression = import "expression"
local tabular = import "tabular"

local adapting = {}
local PARTS = expression.PARTS

local adapted

-- The copy of a node with other fields, of its own kind.
local function copy_with(node, changes)
  local copy = expression.copy_of(node)
  for field, value in pairs(changes) do
    copy[field] = value
  end
  return copy
end

-- A function in FROM whose arguments move is another one, the same for all of its columns.
local function moved_function(source, move)
  local element = adapted(source.element, move)
  if element == source.element then
    return source
  end
  move.functions[source] = move.functions[source] or tabular.of_function(source, element)
  return move.functions[source]
end

local function moved_column(column, move)
  local source = column.table
  if source and source.visit == "table_function" then
    return moved_function(source, move).c[column.key]
  end
  return move.column(column) or column
end

local function adapt_list(list, move)
  local result, changed = {}, false
  for position, child in ipairs(list) do
    result[position] = adapted(child, move)
    changed = changed or result[position] ~= child
  end
  return changed and result or list
end

-- What a select reads by itself stays.
local function adapt_roots(list, move)
  local result, changed = {}, false
  for position, root in ipairs(list) do
    result[position] = root.visit == "table_function" and moved_function(root, move) or root
    changed = changed or result[position] ~= root
  end
  return changed and result or list
end

local function changes_of(node, parts, move)
  local changes
  for _, field in ipairs(parts.nodes or {}) do
    local child = node[field] and adapted(node[field], move)
    if child ~= node[field] then
      changes = changes or {}
      changes[field] = child
    end
  end
  for _, field in ipairs(parts.lists or {}) do
    local list = node[field] and (field == "roots" and adapt_roots or adapt_list)(node[field], move)
    if list and list ~= node[field] then
      changes = changes or {}
      changes[field] = list
    end
  end
  return changes
end

-- Tables in FROM stay; one that a subquery names as correlated moves.
local STAY = { entity = true, subquery = true, cte = true, join = true, alias = true, table = true, values = true }

function adapted(node, move)
  if node.visit == "column" then
    return moved_column(node, move)
  elseif node.visit == "table_function" then
    return moved_function(node, move)
  elseif STAY[node.visit] then
    return node == move.from and move.to or node
  elseif not PARTS[node.visit] then
    return node
  end
  local changes = changes_of(node, PARTS[node.visit], move)
  return changes and copy_with(node, changes) or node
end

--- An expression with the columns of `from` replaced by those of `to`.
---@param node table
---@param from table
---@param to table
---@param column_of? fun(column: table): table? which column stands for one of `from`; by default the one of the same key
---@return table
function adapting.moved(node, from, to, column_of)
  if from == to then
    return node
  end
  column_of = column_of or function(column) return to.c[(column.origin or column).key or column.name] end
  return adapted(node, { from = from, to = to, functions = {}, column = function(column)
    return column.table == from and column_of(column) or nil
  end })
end

return adapting
