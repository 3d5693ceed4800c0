--- eager: loader options, and the relationships that are loaded along with a query: by a join, in a statement of their own
-- for many objects at once (selectin), or one by one (immediate). What one object loads for itself is loading.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local compiler = import "compiler"
local functions = import "functions"
local selectable = import "selectable"
local statement = import "statement"
local joincondition = import "joincondition"
local aliased = import "aliased"
local mapper_module = import "mapper"
local loading = import "loading"
local shaping = import "shaping"

local eager = {}
local unpack = table.unpack or unpack

local KEYS = 500 -- in one statement: more only make it longer

-- ---- options ----

---@class orrery.LoaderOption
local Option = {}
local MARK = { __name = "orrery.loader_option" }
local metatable = { __index = Option, __metatable = MARK }

local STRATEGIES = { selectinload = "selectin", joinedload = "joined", immediateload = "immediate", lazyload = "select" }

local function property_of(attribute, call)
  local mark = getmetatable(attribute)
  if type(mark) ~= "table" or not mark.__relationship then
    errors.raise("ArgumentError", "%s takes a relationship such as User.posts, got %s", call, errors.show(attribute))
  end
  return attribute.property
end

-- A path of steps, each a relationship of the class that the one before leads to.
local function extended(steps, rules, attribute, name)
  local property = property_of(attribute, name .. "()")
  local last = steps[#steps]
  if last and last.property.mapper ~= property.parent then
    errors.raise("ArgumentError", "%s(): %s does not belong to '%s', where %s leads", name, property:describe(),
      last.property.mapper.name, last.property:describe())
  end
  local longer = { unpack(steps) }
  longer[#longer + 1] = { property = property, strategy = STRATEGIES[name] }
  return setmetatable({ visit = "loader_option", steps = longer, rules = rules or {} }, metatable)
end

-- A rule about columns of the class that the path leads to, or where there is no path, of the class that is queried.
local function with_rule(self, rule)
  local rules, last = { unpack(self.rules) }, self.steps[#self.steps]
  if last and rule.mapper and rule.mapper ~= last.property.mapper then
    errors.raise("ArgumentError", "%s(): '%s' is not the class where %s leads; that is '%s'", rule.kind, rule.mapper.name,
      last.property:describe(), last.property.mapper.name)
  end
  rules[#rules + 1] = { depth = #self.steps, rule = rule }
  return setmetatable({ visit = "loader_option", steps = self.steps, rules = rules }, metatable)
end

-- load_only(User.name, ...), defer(User.bio), undefer(User.bio), undefer_group("long"), with_expression(User.score, ...): by
-- themselves about the class that is queried, behind a path about the class where it leads.
for name, kind in pairs({ load_only = "load_only", defer = "defer", undefer = "undefer", undefer_group = "group",
  with_expression = "expression" }) do
  eager[name] = function(...)
    return with_rule({ steps = {}, rules = {} }, shaping.rule(kind, ...))
  end
  Option[name] = function(self, ...)
    errors.check_self(self, getmetatable(self) == MARK, "option:" .. name)
    return with_rule(self, shaping.rule(kind, ...))
  end
end

for name in pairs(STRATEGIES) do
  --- selectinload(User.posts), and behind it :selectinload(Post.comments).
  eager[name] = function(attribute)
    return extended({}, nil, attribute, name)
  end
  Option[name] = function(self, attribute)
    errors.check_self(self, getmetatable(self) == MARK, "option:" .. name)
    return extended(self.steps, self.rules, attribute, name)
  end
end

--- Whether `value` is a loader option.
function eager.is_option(value)
  return getmetatable(value) == MARK
end

-- ---- what is to be loaded ----

local function add_rules(node, rules, depth)
  for _, one in ipairs(rules) do
    if one.depth == depth then
      node.rules = node.rules or {}
      table.insert(node.rules, one.rule)
    end
  end
end

-- The children of a node are a tree, too; its `rules` are about the columns of the class that they belong to.
local function add_path(root, steps, rules)
  local node = root
  add_rules(node, rules, 0)
  for depth, step in ipairs(steps) do
    local next_node = node[step.property]
    if not next_node then
      next_node = { property = step.property, children = {} }
      node[step.property], node[#node + 1] = next_node, next_node
    end
    next_node.strategy = step.strategy
    node = next_node.children
    add_rules(node, rules, depth)
  end
end

-- The tree of a class: what options say, then what relationships have as their default.
local function tree_of(mapper, options)
  local root = {}
  for _, option in ipairs(options or {}) do
    if not eager.is_option(option) then
      errors.raise("ArgumentError", "options(): a loader option such as orm.selectinload(User.posts) expected, got %s",
        errors.show(option))
    elseif not option.steps[1] or option.steps[1].property.parent == mapper then
      add_path(root, option.steps, option.rules)
    end
  end
  return root
end

local function has_default(mapper)
  if mapper.eager_default == nil then
    mapper.eager_default = false
    for _, property in ipairs(mapper.relationships) do
      mapper.eager_default = mapper.eager_default or property.lazy == "selectin" or property.lazy == "immediate"
    end
  end
  return mapper.eager_default
end

-- Each relationship that is to be loaded now, with what follows behind it.
local function wanted(mapper, tree)
  local list = {}
  for _, node in ipairs(tree) do
    if node.strategy ~= "select" then
      list[#list + 1] = node
    end
  end
  if has_default(mapper) then
    for _, property in ipairs(mapper.relationships) do
      if (property.lazy == "selectin" or property.lazy == "immediate") and not tree[property] then
        list[#list + 1] = { property = property, strategy = property.lazy, children = {} }
      end
    end
  end
  return list
end

local function joins_by_default(mapper)
  if mapper.joins_default == nil then
    mapper.joins_default = false
    for _, property in ipairs(mapper.relationships) do
      mapper.joins_default = mapper.joins_default or property.lazy == "joined"
    end
  end
  return mapper.joins_default
end

local function add_default_joins(mapper, tree)
  if joins_by_default(mapper) then
    for _, property in ipairs(mapper.relationships) do
      if property.lazy == "joined" and not tree[property] then
        add_path(tree, { { property = property, strategy = "joined" } }, {})
      end
    end
  end
end

-- ---- selectin ----

-- Where a condition asks more of the parent than its keys, the parent is read along, under another name.
local function parent_keys(property)
  local columns, parent = {}, selectable.alias(property.parent.table)
  for position, column in ipairs(property.parent.table.primary_key) do
    columns[position] = joincondition.on(parent, column)
  end
  return columns, property.parent:key_numbers(), parent
end

-- The columns on the far side that hold a parent's key, the attribute numbers of that key in the parent, and the alias of the
-- parent where it is read along.
local function key_columns(property)
  if not property.condition.keyed then
    return parent_keys(property)
  end
  local columns, numbers = {}, {}
  for position, pair in ipairs(property.condition.pairs) do
    numbers[position] = property.parent:number_of_column(pair[1])
    columns[position] = property.secondary and pair[2] or joincondition.on(property:source(), pair[2])
  end
  return columns, numbers
end

local function in_keys(columns, keys)
  if #columns == 1 then
    return columns[1]:in_(keys)
  end
  return functions.tuple_(unpack(columns)):in_(keys)
end

local function key_of(object, numbers)
  if #numbers == 1 then
    return core.stored(object, numbers[1])
  end
  local key = {}
  for position, number in ipairs(numbers) do
    key[position] = core.stored(object, number)
    if key[position] == nil then
      return nil
    end
  end
  return key
end

-- The far side's entity as the rules behind the path say, with the columns that hold the parent's key in any case.
local function far_entity(property, columns, rules)
  local mapper = property.mapper
  local left = (rules or shaping.defers(mapper)) and shaping.left_out(mapper, rules or {}) or {}
  for _, column in ipairs(columns) do
    local number = mapper:number_of_column(joincondition.base(column))
    if number then
      left[number] = nil
    end
  end
  return shaping.narrowed(property:target_entity(), left)
end

local function base_select(property, columns, parent, entity)
  local select = statement.select(entity)
  local sources = { parent = parent, target = property:source(), secondary = property.secondary }
  local conditions = parent and {} or joincondition.beside_keys(property.condition, sources)
  for _, list in ipairs(parent and { joincondition.between(property.condition, sources) } or {}) do
    for _, condition in ipairs(list) do
      conditions[#conditions + 1] = condition
    end
  end
  for _, condition in ipairs(conditions) do
    select = select:where(condition)
  end
  return (property.secondary or parent) and select:add_columns(unpack(columns)) or select
end

local function ordered(property, select)
  for _, element in ipairs(property:order_elements()) do
    select = select:order_by(element)
  end
  return select
end

local function position_in(entity, column)
  for position, one in ipairs(entity.columns) do
    if joincondition.base(one) == joincondition.base(column) then
      return position
    end
  end
end

-- Result columns, from 1, that hold the parent's key.
local function key_positions(property, columns, parent, entity)
  local positions = {}
  for position, column in ipairs(columns) do
    if property.secondary or parent then
      positions[position] = #entity.columns + position
    else
      positions[position] = position_in(entity, column)
    end
  end
  return positions
end

local function run_related(session, select, gather, positions, out)
  local connection = session:connection()
  local compiled, values = compiler.cached(select, session.engine.dialect, session.engine.cache)
  local plan = loading.plan_of(compiled)
  local stmt, bound = connection:start(compiled, values)
  local found = {}
  local ok, count = pcall(core.load_related, session[1], stmt, plan.core, gather, positions, found)
  if not ok then
    connection:failed(count, compiled, bound)
  end
  connection:finish(stmt, compiled, bound, count)
  for _, object in ipairs(found) do
    out[#out + 1] = object
  end
end

-- Objects whose relation is not loaded yet. One whose other side was changed meanwhile, without a flush, loads by itself
-- when it is read, and takes that change in.
local function lacking(objects, property)
  local list = {}
  for _, object in ipairs(objects) do
    local number = mapper_module.relation_number(object, property)
    local _, loaded = core.peek(object, number)
    if not loaded and not core.backlog(object, number) then
      list[#list + 1] = object
    end
  end
  return list
end

local function chunks(list, fn)
  for first = 1, #list, KEYS do
    local chunk = {}
    for position = first, math.min(first + KEYS - 1, #list) do
      chunk[#chunk + 1] = list[position]
    end
    fn(chunk)
  end
end

local function keys_of(objects, numbers)
  local keys = {}
  for _, object in ipairs(objects) do
    keys[#keys + 1] = key_of(object, numbers)
  end
  return keys
end

-- Fills the collections of many parents and returns the objects that came.
local function load_collections(session, property, objects, rules)
  local columns, numbers, parent = key_columns(property)
  local entity, out = far_entity(property, columns, rules), {}
  local select = ordered(property, base_select(property, columns, parent, entity))
  local positions = key_positions(property, columns, parent, entity)
  chunks(objects, function(chunk)
    local gather = core.gather(chunk, mapper_module.relation_number(chunk[1], property), numbers)
    run_related(session, select:where(in_keys(columns, keys_of(chunk, numbers))), gather, positions, out)
  end)
  return out
end

-- Rules about the columns of a class as an option of a query of that class.
local function option_of(rules)
  local list = {}
  for position, rule in ipairs(rules) do
    list[position] = { depth = 0, rule = rule }
  end
  return setmetatable({ visit = "loader_option", steps = {}, rules = list }, metatable)
end

-- Many-to-one: the targets by their keys, those in the session already left out; each then comes from the identity map.
local function load_targets(session, property, objects, rules)
  local target, columns, numbers = property.mapper, {}, {}
  for position, pair in ipairs(property.condition.pairs) do
    numbers[position] = property.parent:number_of_column(pair[1])
    columns[position] = loading.attribute_of_column(target, pair[2])
  end
  local keys, seen, hold = {}, {}, {}
  for _, object in ipairs(objects) do
    loading.ensure_columns(session, property.parent, object, numbers)
    local key = key_of(object, numbers)
    local mark = type(key) == "table" and table.concat(key, "\0") or key
    if key ~= nil and not seen[mark] then
      seen[mark], keys[#keys + 1] = true, key
    end
  end
  chunks(keys, function(chunk)
    local select = statement.select(target.class):where(in_keys(columns, chunk))
    hold[#hold + 1] = session:scalars(rules and select:options(option_of(rules)) or select):all()
  end)
  local out = {}
  for _, object in ipairs(objects) do
    out[#out + 1] = object[property.key]
  end
  return out
end

local function load_selectin(session, property, objects, rules)
  if property.direction == "manytoone" and not property.condition.rest and not property.entity then
    return load_targets(session, property, objects, rules)
  elseif property.uselist then
    return load_collections(session, property, objects, rules)
  end
  local out = {}
  for _, object in ipairs(objects) do
    out[#out + 1] = object[property.key]
  end
  return out
end

-- What is loaded already still leads on to what follows behind it.
local function add_present(out, objects, property)
  for _, object in ipairs(objects) do
    local value = core.peek(object, mapper_module.relation_number(object, property))
    if property.uselist and value then
      for _, item in value do
        out[#out + 1] = item
      end
    elseif value then
      out[#out + 1] = value
    end
  end
end

local load_tree

local function load_node(session, node, objects)
  local property = node.property
  local missing, out = lacking(objects, property), {}
  if #missing > 0 then
    out = load_selectin(session, property, missing, node.children.rules)
  end
  if #node.children > 0 or has_default(property.mapper) then
    if #missing < #objects then
      out = {}
      add_present(out, objects, property)
    end
    load_tree(session, property.mapper, node.children, out)
  end
end

function load_tree(session, mapper, tree, objects)
  if #objects == 0 then
    return
  end
  for _, node in ipairs(wanted(mapper, tree)) do
    load_node(session, node, objects)
  end
end

-- The objects at one position of rows, each once; rows of scalars are the objects.
local function objects_at(out, position, scalars)
  local list, seen = {}, {}
  for index = 1, #out do
    local object = scalars and out[index] or rawget(out[index], position)
    if object and object ~= core.null and not seen[object] then
      seen[object], list[#list + 1] = true, object
    end
  end
  return list
end

-- ---- joined ----

-- Whether joining would multiply the rows that a limit, or a grouping, counts.
local function must_wrap(select)
  return select.limited or select.skipped or select.is_distinct or select.groups
end

-- The same order on a subquery's columns.
local function outer_orders(select, mapper, by_key)
  local list = {}
  for _, element in ipairs(select.orders or {}) do
    local ordering = element.visit == "ordering" and element or nil
    local column = ordering and ordering.element or element
    local shown = column.origin and column == mapper:attribute(column.key) and by_key[column.key]
    if not shown then
      errors.raise("InvalidRequestError", "joinedload() with limit() needs an order by columns of '%s' itself; use "
        .. "selectinload()", mapper.name)
    end
    if ordering then
      shown = ordering.direction == "DESC" and shown:desc() or shown:asc()
    end
    list[#list + 1] = shown
  end
  return list
end

local with_shapes

local function wrap(select, mapper, rules)
  local entity, by_key = aliased.entity(mapper, select:subquery())
  entity = shaping.shaped(entity, rules)
  local outer = statement.select(entity)
  local orders = outer_orders(select, mapper, by_key)
  return #orders > 0 and outer:order_by(unpack(orders)) or outer, entity.table
end

local function join_one(state, node, parent_item, parent_table)
  local property = node.property
  local target = selectable.alias(property:source())
  local secondary = property.secondary and selectable.alias(property.secondary)
  local entity = shaping.shaped(aliased.entity(property.mapper, target), node.children.rules)
  for _, step in ipairs(property:join_steps(target, parent_table, secondary)) do
    state.select = state.select:outerjoin(step.table, step.on)
  end
  state.select = state.select:add_columns(entity)
  for _, order in ipairs(property:order_elements(target)) do
    state.select = state.select:order_by(order)
  end
  local number = #property.parent.column_keys + property.parent:relationship_number(property)
  state.links[#state.links + 1] = { parent_item, number }
  return #state.links + 1, target
end

local function join_tree(state, tree, parent_item, parent_table)
  for _, node in ipairs(tree) do
    if node.strategy == "joined" then
      local item, target = join_one(state, node, parent_item, parent_table)
      join_tree(state, node.children, item, target)
    end
  end
end

-- Whether anything is joined, and whether a collection is among it, which multiplies the rows.
local joins_of
function joins_of(tree)
  local any, lists = false, false
  for _, node in ipairs(tree) do
    if node.strategy == "joined" then
      local _, below = joins_of(node.children)
      any, lists = true, lists or below or node.property.uselist
    end
  end
  return any, lists
end

-- The rules of a statement's options that are about one of its items.
local function rules_for(item, options)
  local rules
  for _, option in ipairs(options or {}) do
    for _, one in ipairs(option.rules or {}) do
      local rule = one.rule
      if one.depth == 0 and (rule.mapper == nil or rule.table == item.table) then
        rules = rules or {}
        rules[#rules + 1] = rule
      end
    end
  end
  return rules
end

--- A select whose classes have the columns that its options, and they themselves, want loaded.
---@param select table
---@return table
function with_shapes(select)
  local options, items = select.loader_options, nil
  for position, item in ipairs(select.items or {}) do
    if item.visit == "entity" and (options or shaping.defers(item.mapper)) then
      local shaped = shaping.shaped(item, rules_for(item, options))
      if shaped ~= item then
        items = items or { unpack(select.items) }
        items[position] = shaped
      end
    end
  end
  if not items then
    return select
  end
  local copy = statement.copy_of(select)
  copy.items = items
  return copy
end
eager.with_shapes = with_shapes

--- Rewrites a select of one class whose options, or whose relationships' defaults, want joins.
---@param select table
---@return table select
---@return table? links what core.load_joined takes; nil where nothing is joined
---@return boolean? lists whether collections are joined
function eager.join(select)
  local items = select.visit == "select" and select.items or {}
  local mapper = #items == 1 and items[1].visit == "entity" and items[1].mapper
  if not mapper or items[1].table ~= mapper.table or not (select.loader_options or joins_by_default(mapper)) then
    return select.visit == "select" and with_shapes(select) or select
  end
  local tree = tree_of(mapper, select.loader_options)
  add_default_joins(mapper, tree)
  local any, lists = joins_of(tree)
  if not any then
    return with_shapes(select)
  end
  local state, source = { select = select, links = {} }, mapper.table
  if lists and must_wrap(select) then
    state.select, source = wrap(select, mapper, tree.rules)
  else
    state.select = with_shapes(select)
  end
  join_tree(state, tree, 1, source)
  return state.select, state.links, lists
end

--- The same for the objects of a select that was joined.
---@param session table
---@param mapper table
---@param objects userdata[]
---@param options? table[]
function eager.load_behind(session, mapper, objects, options)
  local tree = tree_of(mapper, options)
  add_default_joins(mapper, tree)
  load_tree(session, mapper, tree, objects)
end

--- Loads what a statement's options, and the defaults of relationships, ask for, behind the rows of a query.
---@param session table
---@param compiled table
---@param out table rows, or objects where `scalars`
---@param scalars boolean
---@param options? table[] loader options
function eager.load(session, compiled, out, scalars, options)
  for position, item in ipairs(compiled.raw) do
    local mapper = item.entity and item.entity.mapper
    if mapper and (options or has_default(mapper)) then
      load_tree(session, mapper, tree_of(mapper, options), objects_at(out, position, scalars))
    end
  end
end

return eager
