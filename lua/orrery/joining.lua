--- joining: which tables a statement reads, and how two of them are joined where the script does not say. Knows the
-- fields of nodes, of tables and of foreign keys; makes no SQL.
local import = ...
local errors = import "errors"
local expression = import "expression"

local joining = {}
local PARTS = expression.PARTS

-- ---- what a table is called in messages ----

--- A table, alias or subquery as an error names it.
---@param selectable table
---@return string
function joining.describe(selectable)
  if selectable.name then
    return selectable.name
  elseif selectable.visit == "values" then
    return "VALUES"
  elseif selectable.visit == "table_function" then
    return selectable.element.name .. "(...)"
  elseif selectable.visit == "join" then
    return joining.describe(selectable.left) .. " JOIN " .. joining.describe(selectable.right)
  end
  return selectable.element and "alias of " .. joining.describe(selectable.element) or "a " .. selectable.visit
end

-- ---- the tables of an expression ----

local OPAQUE = { select = true, compound = true, insert = true, update = true, delete = true }
local SELECTABLE = { table = true, alias = true, subquery = true, cte = true, join = true, excluded = true,
  table_function = true, values = true }

local add_tables

-- Notes which table's column it was that asks for a join of several.
local function add_source(column, set)
  local source = column.from()
  set.asked = set.asked or {}
  set.asked[source] = set.asked[source] or {}
  set.asked[source][column.table] = true
  return source
end

local function add_one(node, set)
  if node and not set[node] then
    set[node], set[#set + 1] = true, node
  end
end

local function add_children(node, parts, set)
  for _, field in ipairs(parts.nodes or {}) do
    add_tables(node[field], set)
  end
  for _, field in ipairs(parts.lists or {}) do
    for _, child in ipairs(node[field] or {}) do
      add_tables(child, set)
    end
  end
end

--- Whether a node is a table or a class, or anything else that has columns.
---@param node table
---@return boolean
function joining.has_columns(node)
  return SELECTABLE[node.visit] or node.visit == "entity"
end

-- A select inside has its own tables.
function add_tables(node, set)
  if not node then
    return
  elseif node.visit == "column" or node.visit == "entity" then
    add_one(node.from and add_source(node, set) or node.table, set)
  elseif SELECTABLE[node.visit] then
    add_one(node, set)
  elseif not OPAQUE[node.visit] then
    add_one(node.visit == "label" and node.table, set) -- an attribute that is an expression belongs to its class
    add_children(node, PARTS[node.visit], set)
  end
end

--- The tables that an expression reads, each once, in order; also as keys.
---@param node table
---@param set? table more are added to this one
---@return table
function joining.tables_of(node, set)
  set = set or {}
  add_tables(node, set)
  return set
end

-- ---- the FROM clause of a select ----

-- Tables inside an explicit join stand in it already.
local function hide_joined(selectable, hidden)
  if selectable.visit == "join" then
    for _, side in ipairs({ selectable.left, selectable.right }) do
      hidden[side] = true
      hide_joined(side, hidden)
    end
  end
end

local function targets_of(select)
  local targets = {}
  for _, step in ipairs(select.joins or {}) do
    targets[step.target] = true
    hide_joined(step.target, targets)
  end
  return targets
end

-- What the selected classes and joins read.
local function held_by(select, roots)
  local held = targets_of(select)
  for _, root in ipairs(roots) do
    held[root] = true
    hide_joined(root, held)
  end
  return held
end

-- Whether one of the tables that a class's rows spread over is read already.
local function is_held(join, held)
  for _, member in pairs(join.members) do
    if held[member] then
      return true
    end
  end
  return false
end

-- Of a class whose rows spread over several tables, one that is read already is not read a second time for a condition;
-- the others then have to be there, too.
local function check_asked(join, asked, held)
  for tbl in pairs(asked) do
    if not held[tbl] then
      errors.raise("InvalidRequestError", "a condition reads '%s', the table of a class, where only tables of other classes of "
        .. "its family are read; select that class, or orm.with_polymorphic(Base, { Subclass }) and use its columns; in update() "
        .. "and delete() write Class.id:in_(select(...))", joining.describe(tbl))
    end
  end
  return join
end

local function add_condition_tables(node, set, held)
  local tables = joining.tables_of(node)
  for _, root in ipairs(tables) do
    if root.members and not held[root] and is_held(root, held) then
      check_asked(root, tables.asked and tables.asked[root] or {}, held)
    else
      add_one(root, set)
    end
  end
end

local function wanted_roots(select)
  local set = {}
  for _, root in ipairs(select.roots or {}) do
    add_one(root, set)
  end
  for _, node in ipairs(select.items or {}) do
    add_tables(node, set)
  end
  if not select.wheres then
    return set
  end
  local held = held_by(select, set)
  for _, node in ipairs(select.wheres) do
    add_condition_tables(node, set, held)
  end
  return set
end

local function add_chain(chains, root)
  local chain = { root = root, steps = {}, holds = { [root] = true } }
  hide_joined(root, chain.holds)
  chains[#chains + 1] = chain
  return chain
end

-- The last chain that holds one of `tables`.
local function find_chain(chains, tables, target)
  for position = #chains, 1, -1 do
    for _, selectable in ipairs(tables) do
      local holds = chains[position].holds
      if selectable ~= target and (holds[selectable] or selectable.members and is_held(selectable, holds)) then
        return chains[position]
      end
    end
  end
end

local function first_other(tables, target)
  for _, selectable in ipairs(tables) do
    if selectable ~= target then
      return selectable
    end
  end
end

-- The tables that functions in FROM name in their arguments.
local function add_arguments(selectable, set)
  if selectable.visit == "join" then
    add_arguments(selectable.left, set)
    add_arguments(selectable.right, set)
  elseif selectable.visit == "table_function" then
    add_tables(selectable.element, set)
  end
  return set
end

-- A join's left side is what its condition compares with, or what a function is called with; a table that only the
-- condition named becomes a root.
local function add_step(chains, step)
  local tables = joining.tables_of(step.on)
  local chain = find_chain(chains, tables, step.target) or find_chain(chains, add_arguments(step.target, {}), step.target)
  if not chain then
    local other = first_other(tables, step.target)
    chain = other and add_chain(chains, other) or chains[#chains]
  end
  if not chain then
    errors.raise("InvalidRequestError", "join to '%s': there is nothing on its left side; a table joined with itself "
      .. "needs an alias (orm.aliased)", joining.describe(step.target))
  end
  chain.steps[#chain.steps + 1], chain.holds[step.target] = step, true
  hide_joined(step.target, chain.holds)
end

local function arguments_of(chain)
  local set = add_arguments(chain.root, {})
  for _, step in ipairs(chain.steps) do
    add_arguments(step.target, set)
  end
  return set
end

local function place_chain(chain, chains, ordered)
  if ordered[chain] then
    return
  end
  ordered[chain] = true
  for _, read in ipairs(arguments_of(chain)) do
    local before = find_chain(chains, { read }, nil)
    if before then
      place_chain(before, chains, ordered)
    end
  end
  ordered[#ordered + 1] = chain
end

local function has_function(selectable)
  return selectable.visit == "table_function"
    or selectable.visit == "join" and (has_function(selectable.left) or has_function(selectable.right))
end

local function have_functions(chains)
  for _, chain in ipairs(chains) do
    if has_function(chain.root) then
      return true
    end
    for _, step in ipairs(chain.steps) do
      if has_function(step.target) then
        return true
      end
    end
  end
  return false
end

-- A function sees the tables before it.
local function before_functions(chains)
  local ordered = {}
  for _, chain in ipairs(chains) do
    place_chain(chain, chains, ordered)
  end
  return ordered
end

-- Raises where `whole` has a table, as it stands or in its joins, that `seen` has been read as part of.
local function enter_once(selectable, whole, seen)
  if selectable.visit == "join" then
    enter_once(selectable.left, whole, seen)
    enter_once(selectable.right, whole, seen)
  elseif seen[selectable] then
    local places = seen[selectable] ~= whole and (", in '%s' and in '%s'"):format(joining.describe(seen[selectable]),
      joining.describe(whole)) or ""
    errors.raise("InvalidRequestError", "FROM reads '%s' twice%s, so that nobody can tell which of them a column means; give one "
      .. "of the two a name of its own, local Other = orm.aliased(Class), and write Other for it, "
      .. "join(Class.relationship:of_type(Other)) or join(Other, condition)", joining.describe(selectable), places)
  else
    seen[selectable] = whole
  end
end

-- Raises where a function in FROM is given a column of a table that nothing reads.
local function check_arguments(selectable, chains, enclosing)
  if selectable.visit == "join" then
    check_arguments(selectable.left, chains, enclosing)
    check_arguments(selectable.right, chains, enclosing)
  elseif selectable.visit == "table_function" then
    for _, read in ipairs(joining.tables_of(selectable.element)) do
      if not find_chain(chains, { read }, nil) and not enclosing[read] and not (read.members and is_held(read, enclosing)) then
        errors.raise("InvalidRequestError", "%s(...) in FROM is given a column of '%s', which the statement does not read; "
          .. "select that, too, or write select_from(Class):join(the function, orm.true_())",
          selectable.element.name, joining.describe(read))
      end
    end
  end
end

--- Raises where chains read a table twice under one name, as two classes of a family do whose rows begin in one table, and
--- where a function in FROM is given columns of a table that neither they nor the statements around read.
---@param chains table[] of joining.chains()
---@param enclosing? table<table, true>
---@return table[] chains
function joining.check(chains, enclosing)
  local seen = {}
  for _, chain in ipairs(chains) do
    if chains[2] or chain.steps[1] then
      enter_once(chain.root, chain.root, seen)
    end
    check_arguments(chain.root, chains, enclosing or {})
    for _, step in ipairs(chain.steps) do
      enter_once(step.target, step.target, seen)
      check_arguments(step.target, chains, enclosing or {})
    end
  end
  return chains
end

--- What a select reads: chains { root =, steps = { joins }, holds = { [table] = true } } in the order of FROM.
---@param select table
---@return table[]
function joining.chains(select)
  local chains, hidden = {}, targets_of(select)
  local roots = wanted_roots(select)
  for _, root in ipairs(roots) do
    hide_joined(root, hidden)
  end
  for _, root in ipairs(roots) do
    if not hidden[root] then
      add_chain(chains, root)
    end
  end
  for _, step in ipairs(select.joins or {}) do
    add_step(chains, step)
  end
  return #chains > 1 and have_functions(chains) and before_functions(chains) or chains
end

-- ---- conditions from foreign keys ----

-- The column of a table that a column of an alias or subquery stands for.
local function base(column)
  while column.origin do
    column = column.origin
  end
  return column
end

local function add_link(links, key, left, right, fk)
  local id = fk.constraint or fk
  local link = links[id]
  if not link then
    link = { fk = fk, key_side = key.table }
    links[id], links[#links + 1] = link, link
  end
  local condition = left:eq(right)
  link.on = link.on and expression.and_(link.on, condition) or condition
end

-- Adds the foreign keys from columns of `from` to columns of `to`; `left` is the side that is written first.
local function add_links(links, from, to, left)
  for _, column in ipairs(from.columns) do
    for _, fk in ipairs(base(column).foreign_keys or {}) do
      for _, target in ipairs(to.columns) do
        if base(target) == fk.column then
          add_link(links, column, left == from and column or target, left == from and target or column, fk)
        end
      end
    end
  end
end

local function links_between(left, right)
  local links = {}
  add_links(links, left, right, left)
  if left ~= right then
    add_links(links, right, left, left)
  end
  return links
end

local function show_links(links)
  local shown = {}
  for position, link in ipairs(links) do
    shown[position] = expression.describe(link.fk.parent)
  end
  return table.concat(shown, ", ")
end

local function no_link(lefts, right)
  local names = {}
  for position, left in ipairs(lefts) do
    names[position] = "'" .. joining.describe(left) .. "'"
  end
  errors.raise("NoForeignKeysError", "no foreign key links %s and '%s'; give the condition as second argument of "
    .. "join()", table.concat(names, ", "), joining.describe(right))
end

local function ambiguous(left, right, links)
  errors.raise("AmbiguousForeignKeysError", "several foreign keys link '%s' and '%s' (%s); give the condition as "
    .. "second argument of join()", joining.describe(left), joining.describe(right), show_links(links))
end

--- The condition that joins `right` to `left` by the only foreign key between them; of an explicit join, the side
--- that was joined last comes first.
---@param left table
---@param right table
---@return table condition
function joining.condition(left, right)
  local links = links_between(left, right)
  if #links == 0 then
    no_link({ left }, right)
  elseif #links > 1 and left.visit == "join" then
    return joining.condition(left.right, right)
  elseif #links > 1 then
    ambiguous(left, right, links)
  end
  return links[1].on
end

local function candidates_of(chains)
  local lefts = {}
  for _, chain in ipairs(chains) do
    lefts[#lefts + 1] = chain.root
    for _, step in ipairs(chain.steps) do
      lefts[#lefts + 1] = step.target
    end
  end
  return lefts
end

--- The condition that joins `right` to what a select reads already: to the one table with a foreign key to or from
--- it. Of several, the one that was joined last.
---@param select table
---@param right table
---@return table condition
function joining.infer(select, right)
  local lefts = candidates_of(joining.chains(select))
  local found, joined = {}, select.joins and select.joins[#select.joins].target
  for _, left in ipairs(lefts) do
    local links = left.columns and links_between(left, right) or {}
    if #links > 1 then
      ambiguous(left, right, links)
    elseif #links == 1 then
      found[#found + 1] = { left = left, link = links[1] }
    end
  end
  if #found == 0 then
    no_link(lefts, right)
  elseif #found > 1 and found[#found].left ~= joined then
    errors.raise("AmbiguousForeignKeysError", "both '%s' and '%s' can be joined to '%s'; write "
      .. "join_from(left, right) or give the condition", joining.describe(found[1].left),
      joining.describe(found[2].left), joining.describe(right))
  end
  return found[#found].link.on
end

return joining
