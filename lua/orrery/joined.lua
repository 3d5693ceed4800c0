--- joined: selects that bring related objects along in their own rows, by joins. Rewrites the select; the objects are put in
-- their places by the core's loop (loadlib.c).
local import = ...
local reading = import "reading"
local errors = import "errors"
local expression = import "expression"
local selectable = import "selectable"
local statement = import "statement"
local aliased = reading.later "aliased"
local shaping = import "shaping"
local loader_option = import "loader_option"

local joined = {}
local unpack = table.unpack or unpack

-- ---- what is joined ----

-- Whether a collection is among what a tree joins: it multiplies the rows. And whether one is that the select does not
-- join by itself.
local function joins_lists(tree)
  local any, added = false, false
  for _, node in ipairs(tree:with("joins")) do
    local below, added_below = joins_lists(loader_option.below(node))
    any, added = any or node.property.uselist or below, added or added_below
      or (node.property.uselist and not node.strategy.contains)
  end
  return any, added
end

-- A row without the object at the near end has none at the far end either: an inner join behind an outer one would lose it.
local function is_inner(node, outer)
  local innerjoin = node.arguments.innerjoin
  if innerjoin == nil then
    innerjoin = node.property.options.innerjoin
  end
  return innerjoin and not outer or false
end

local function add_item(state, node, parent_item, entity)
  local below, parent = loader_option.below(node), node.tree.mapper
  state.select = state.select:add_columns(shaping.shaped(entity, below.rules))
  state.links[#state.links + 1] = { parent_item, #parent.column_keys + parent:relationship_number(node.property) }
  state.trees[#state.trees + 1] = below
  return #state.trees, below
end

-- The select with conditions on a table that it reads: where that is joined, or else among its own.
local function with_conditions(select, source, condition)
  local copy, joins = statement.copy_of(select), {}
  for position, step in ipairs(select.joins or {}) do
    local on = condition and step.target == source and expression.and_(step.on, condition)
    joins[position] = on and { visit = step.visit, kind = step.kind, target = step.target, on = on } or step
    condition = not on and condition or nil
  end
  copy.joins = select.joins and joins
  return condition and copy:where(condition) or copy
end

-- contains_eager: the rows have the objects already.
local function take_one(state, node, parent_item)
  local property, entity = node.property, node.target or node.property:target_entity()
  local condition = property:with_criteria(node.criteria, entity.table)
  if condition then
    state.select = with_conditions(state.select, entity.table, condition)
  end
  local item, below = add_item(state, node, parent_item, entity)
  return item, entity.table, below, true
end

local function join_one(state, node, parent_item, parent_table, outer)
  local property = node.property
  local entity = aliased.fresh(property:target_entity())
  local target = entity.table
  target.eager = true -- what holds for the class holds here
  local secondary = property.secondary and selectable.alias(property.secondary)
  local inner, steps = is_inner(node, outer), property:join_steps(entity, parent_table, secondary)
  local last = steps[#steps]
  last.on = property:with_criteria(node.criteria, target, last.on)
  for _, step in ipairs(steps) do
    state.select = state.select[inner and "join" or "outerjoin"](state.select, step.table, step.on)
  end
  local item, below = add_item(state, node, parent_item, entity)
  for _, order in ipairs(property:order_elements(target)) do
    state.select = state.select:order_by(order)
  end
  return item, target, below, not inner
end

local function join_tree(state, tree, item, source, outer)
  for _, node in ipairs(tree:with("joins")) do
    local add = node.strategy.contains and take_one or join_one
    local next_item, target, below, next_outer = add(state, node, item, source, outer)
    join_tree(state, below, next_item, target, next_outer)
  end
end

-- ---- under a limit ----

-- Whether joining would multiply the rows that a limit, or a grouping, counts.
local function must_wrap(select)
  return select.limited or select.skipped or select.is_distinct or select.groups
end

-- What stands in an outer select for an item of the inner one.
local function shown_item(item, source, shown)
  if item.visit ~= "entity" then
    local column = source.columns[shown.count + 1]
    shown[item], shown.count = column, shown.count + 1
    return column
  end
  local entity = aliased.on(item, source)
  for position, column in ipairs(item.columns) do
    shown[column] = entity.columns[position]
  end
  shown.count = shown.count + #item.columns
  return entity
end

local function ordered_by(element)
  return element.visit == "ordering" and element.element or element
end

-- The items of the select with, behind them, what it is ordered by and does not select.
local function with_orders(select, shown)
  local items = { unpack(select.items) }
  for _, element in ipairs(select.orders or {}) do
    local column = ordered_by(element)
    if not shown[column] and (select.is_distinct or select.groups) then
      errors.raise("InvalidRequestError", "joinedload() of a collection with distinct() or group_by() needs an order by what is "
        .. "selected, not by %s; use selectinload()", tostring(column))
    elseif not shown[column] then
      items[#items + 1], shown[column] = column, true
    end
  end
  return items
end

-- The same order on the subquery's columns.
local function outer_orders(select, shown)
  local list = {}
  for position, element in ipairs(select.orders or {}) do
    local column = shown[ordered_by(element)]
    if element.visit == "ordering" then
      column = element.direction == "DESC" and column:desc() or column:asc()
    end
    list[position] = column
  end
  return list
end

-- The columns of entities, and the other items themselves.
local function selected(items)
  local set = {}
  for _, item in ipairs(items) do
    set[item] = item.visit ~= "entity" or nil
    for _, column in ipairs(item.visit == "entity" and item.columns or {}) do
      set[column] = true
    end
  end
  return set
end

-- The select as a subquery, of which an outer one shows the same items.
local function wrap(select)
  local inner, items, shown = statement.copy_of(select), {}, { count = 0 }
  inner.items = with_orders(select, selected(select.items))
  local source = inner:subquery()
  for position, item in ipairs(inner.items) do
    items[position] = shown_item(item, source, shown)
  end
  local orders = outer_orders(select, shown)
  local outer = statement.select(unpack(items, 1, #select.items))
  return #orders > 0 and outer:order_by(unpack(orders)) or outer
end

-- ---- the whole ----

-- Whether a table stands in a select twice: around the select as a subquery, its columns could not be told apart.
local function has_twins(select)
  local seen = {}
  for _, item in ipairs(select.items) do
    if item.visit == "entity" and seen[item.mapper] then
      return true
    end
    seen[item.mapper or item] = true
  end
  return false
end

local function check_contains(trees)
  for _, tree in ipairs(trees) do
    for _, node in ipairs(tree and tree:with("joins") or {}) do
      if node.strategy.contains then
        errors.raise("InvalidRequestError", "contains_eager(%s) goes with a select that joins, not with a union, nor with "
          .. "joinedload() of a collection under limit() or distinct(); use selectinload()", node.property:describe())
      end
    end
  end
end

---@class orrery.JoinPlan
---@field any boolean whether anything can be joined; a union, say, has no place for joins
---@field lists boolean whether collections are
---@field wrap boolean whether the rows are counted before they are multiplied

local function find_joins(select, trees)
  local found, added = { any = false, lists = false, wrap = false }, false
  for _, tree in ipairs(trees) do
    if tree and #tree:with("joins") > 0 then
      local lists, more = joins_lists(tree)
      found.any, found.lists, added = true, found.lists or lists, added or more
    end
  end
  found.wrap = added and must_wrap(select) and true or false
  if found.any and (select.visit ~= "select" or found.wrap) then
    check_contains(trees)
    found.any = select.visit == "select" and not has_twins(select)
  end
  found.lists, found.wrap = found.any and found.lists, found.any and found.wrap
  return found
end

-- Classes with the columns that options, and they themselves, want loaded.
local function with_shapes(select, trees)
  local items
  for position, item in ipairs(select.visit == "select" and select.items or {}) do
    local tree = trees[position]
    local shaped = tree and shaping.shaped(item, tree.rules) or item
    if shaped ~= item then
      items = items or { unpack(select.items) }
      items[position] = shaped
    end
  end
  if not items then
    return select
  end
  local copy = statement.copy_of(select)
  copy.items = items
  return copy
end

---@class orrery.Expanded a select that brings along what trees want joined
---@field select table
---@field trees (orrery.LoadTree|false)[] of its items, the joined ones behind the others
---@field links? table[] for core.load; nil where nothing is joined
---@field lists? boolean whether collections are joined
---@field plan_for? fun(stmt: userdata): table the plan, where it depends on the columns that the statement turns out to have

--- Rewrites a select whose options, or whose classes' defaults, want some columns only, or joins.
---@param select table
---@param trees (orrery.LoadTree|false)[] of its items
---@param shaped? boolean its classes have the columns that are wanted already
---@return orrery.Expanded
function joined.expand(select, trees, shaped)
  local found = find_joins(select, trees)
  if found.wrap then
    select = wrap(select)
  end
  if not shaped then
    select = with_shapes(select, trees)
  end
  if not found.any then
    return { select = select, trees = trees }
  end
  local state = { select = select, links = {}, trees = {} }
  local items = state.select.items
  for position = 1, #items do
    state.trees[position] = trees[position] or false
  end
  for position, tree in ipairs(trees) do
    if tree then
      join_tree(state, tree, position, items[position].table, false)
    end
  end
  state.lists = found.lists
  return state
end

return joined
