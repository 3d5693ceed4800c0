--- linking: finds tables of one FROM that nothing links, so that every row of one stands beside every row of the other.
-- Asked when a statement's shape is compiled for the first time, never for statements from the cache.
local import = ...
local errors = import "errors"
local expression = import "expression"
local joining = import "joining"

local linking = {}
local PARTS = expression.PARTS

-- Chains of joins as sets that grow together: `of` has the set of each table, `parent` what a set has become part of.
-- Tables of the statements around are one set, 0.
local function new_groups(chains, enclosing)
  local of, parent = {}, { [0] = 0 }
  for selectable in pairs(enclosing or {}) do
    of[selectable] = 0
  end
  for number, chain in ipairs(chains) do
    parent[number] = number
    for selectable in pairs(chain.holds) do
      of[selectable] = number
    end
  end
  return { of = of, parent = parent }
end

local function root_of(groups, number)
  while groups.parent[number] ~= number do
    number = groups.parent[number]
  end
  return number
end

local collect

-- A function's rows belong to those of the tables in its arguments.
local function collect_table(selectable, groups, found)
  if not selectable then
    return
  end
  found[#found + 1] = groups.of[selectable]
  if selectable.visit == "table_function" then
    collect(selectable.element, groups, found)
  end
end

local function collect_parts(node, parts, groups, found)
  for _, field in ipairs(parts.nodes or {}) do
    collect(node[field], groups, found)
  end
  for _, field in ipairs(parts.lists or {}) do
    for _, child in ipairs(node[field] or {}) do
      collect(child, groups, found)
    end
  end
end

-- The sets whose tables a node names, in selects within it, too; SQL of the script's own may name any.
function collect(node, groups, found)
  if not node then
    return
  elseif node.visit == "column" or node.visit == "entity" then
    collect_table(node.table, groups, found)
  elseif node.visit == "function_value" then
    collect_table(node.source, groups, found)
  elseif node.visit == "text" or node.visit == "literal_column" then
    found.any = true
  elseif PARTS[node.visit] and not (node.visit == "alias" or node.visit == "cte") then
    collect_parts(node, PARTS[node.visit], groups, found)
  end
end

local function link(groups, found)
  for position = 2, #found do
    groups.parent[root_of(groups, found[position])] = root_of(groups, found[1])
  end
  return found.any
end

-- Each comparison links what stands in it. Returns whether one may link anything.
local function link_condition(node, groups)
  if node.visit == "junction" then
    local any = false
    for _, clause in ipairs(node.clauses) do
      any = link_condition(clause, groups) or any
    end
    return any
  end
  local found = {}
  collect(node, groups, found)
  return link(groups, found)
end

-- What sees the tables beside it is linked with those that it names.
local function link_lateral(chain, number, groups)
  local found = { number }
  if chain.root.lateral then
    collect(chain.root.statement, groups, found)
  end
  for selectable in pairs(chain.holds) do
    if selectable.visit == "table_function" then
      collect(selectable.element, groups, found)
    end
  end
  return link(groups, found)
end

local function link_all(chains, conditions, groups)
  local any = false
  for number, chain in ipairs(chains) do
    any = link_lateral(chain, number, groups) or any
  end
  for _, condition in ipairs(conditions or {}) do
    any = link_condition(condition, groups) or any
  end
  return any
end

-- Without functions that stand beside other tables on purpose.
local function without_implicit(chains)
  local kept = {}
  for _, chain in ipairs(chains) do
    kept[#kept + 1] = not (chain.root.joins_implicitly and #chain.steps == 0) and chain or nil
  end
  return kept
end

--- Warns, once for each line of the script, where nothing links a table with the others.
---@param words string "SELECT"
---@param chains table[] of joining.chains()
---@param conditions? table[]
---@param enclosing? table<table, true>
function linking.check(words, chains, conditions, enclosing)
  if #chains < 2 then
    return
  end
  chains = without_implicit(chains)
  local groups = new_groups(chains, enclosing)
  if link_all(chains, conditions, groups) then
    return
  end
  for number = 2, #chains do
    if root_of(groups, number) ~= root_of(groups, 1) then
      errors.warn("%s reads '%s' and '%s', and nothing links them: each row of one comes with every row of the other (a "
        .. "cartesian product); join them, or join on orm.true_() if that is meant", words,
        joining.describe(chains[1].root), joining.describe(chains[number].root))
      return
    end
  end
end

return linking
