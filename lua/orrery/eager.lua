--- eager: what a query loads behind its own rows, level by level, as its trees say; and the table of loading strategies. A
-- strategy is one entry of that table: its word for `lazy`, its option, and what it does.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local engine = import "engine"
local relationship = import "relationship"
local mapper_module = import "mapper"
local loading = import "loading"
local loader_option = import "loader_option"
local related = reading.later "related"
local polymorphic = reading.later "polymorphic"

local eager = {}

-- ---- level by level ----

-- Whether anything below is loaded by statements of its own. `came`: what is joined came along already.
local function is_busy(tree, came)
  if tree:behind_subclasses()[1] then
    return true
  end
  for _, node in ipairs(tree:with("behind")) do
    if not (came and node.strategy.joins) or is_busy(loader_option.below(node), came) then
      return true
    end
  end
  return false
end

-- What is loaded already still leads on to what follows behind it; each object once.
local function present(objects, property)
  local out, seen = {}, {}
  local function add(item)
    if item and not seen[item] then
      seen[item], out[#out + 1] = true, item
    end
  end
  for _, object in ipairs(objects) do
    local value = core.peek(object, mapper_module.relation_number(object, property))
    if property.uselist and value then
      value:each(add)
    else
      add(value)
    end
  end
  return out
end

-- Of the objects that a recursive node comes to, those that it has not come by before: rows may go round in a circle.
local function unvisited(work, node, objects)
  if not node.arguments.recursion_depth then
    return objects
  end
  local seen, list = work.visited[node.property] or {}, {}
  work.visited[node.property] = seen
  for _, object in ipairs(objects) do
    if not seen[object] then
      seen[object], list[#list + 1] = true, object
    end
  end
  return list
end

-- The objects that have a relationship: not all of them, where a subclass adds it.
local function having(node, objects)
  local parent, list = node.property.parent, {}
  if node.tree.mapper:is_a(parent) then
    return objects
  end
  for _, object in ipairs(objects) do
    if mapper_module.of_object(object):is_a(parent) then
      list[#list + 1] = object
    end
  end
  return list
end

-- Whether conditions hold for the related objects, of which the identity map knows nothing.
local function is_narrowed(node)
  return node.criteria ~= nil or node.tree.criteria ~= nil
end

local load_tree

local function load_node(work, node, objects, came)
  local property, below = node.property, loader_option.below(node)
  local joined_now = came and node.strategy.joins
  objects = unvisited(work, node, having(node, objects))
  local missing = #objects > 0 and not joined_now
    and core.lacking(objects, mapper_module.relation_number(objects[1], property), is_narrowed(node)) or {}
  local loaded = #missing > 0 and node.strategy.behind(work, node, missing, is_busy(below, false)) or {}
  local all_new = #missing > 0 and #missing == #objects
  if is_busy(below, all_new or joined_now) then
    load_tree(work, below, all_new and loaded or present(objects, property), all_new or joined_now)
  end
end

--- Loads what a tree wants loaded behind objects of its class.
---@param work orrery.LoadWork
---@param tree orrery.LoadTree
---@param objects userdata[]
---@param came boolean whether what is joined came along with them
function load_tree(work, tree, objects, came)
  for _, mapper in ipairs(#objects > 0 and tree:behind_subclasses() or {}) do
    polymorphic.load(work, mapper, objects, tree.criteria)
  end
  for _, node in ipairs(#objects > 0 and tree:with("behind") or {}) do
    load_node(work, node, objects, came)
  end
end

-- The objects at one position of rows, each once; without `rows` the array is of objects.
local function objects_at(work, out, position, rows)
  return core.distinct(work.session[1], out, rows and position or 0)
end

--- Whether there is anything to load behind the rows of a select.
---@param trees (orrery.LoadTree|false)[]
---@param visible integer how many of the trees are of items of the rows
---@param came boolean whether what is joined came along
---@return boolean
function eager.is_busy(trees, visible, came)
  for position = 1, visible do
    if trees[position] and is_busy(trees[position], came) then
      return true
    end
  end
  return false
end

--- Loads what the trees of a select want behind its rows.
---@param work orrery.LoadWork
---@param trees (orrery.LoadTree|false)[]
---@param out table rows, or objects
---@param rows boolean
---@param visible integer how many of the trees are of items of the rows
---@param came boolean whether what is joined came along
function eager.load_behind(work, trees, out, rows, visible, came)
  for position = 1, visible do
    local tree = trees[position]
    if tree and is_busy(tree, came) then
      load_tree(work, tree, objects_at(work, out, position, rows), came)
    end
  end
end

--- Loads what each of several concrete classes wants behind its objects.
---@param work orrery.LoadWork
---@param out table rows, or objects
---@param position integer where the objects stand in the rows
---@param rows boolean
function eager.load_concrete(work, out, position, rows)
  local by_mapper, mappers = {}, {}
  for _, object in ipairs(objects_at(work, out, position, rows)) do
    local mapper = mapper_module.of_object(object)
    if not by_mapper[mapper] then
      by_mapper[mapper], mappers[#mappers + 1] = {}, mapper
    end
    table.insert(by_mapper[mapper], object)
  end
  for _, mapper in ipairs(mappers) do
    load_tree(work, loader_option.default_tree(mapper), by_mapper[mapper], false)
  end
end

local function new_work(session, populated)
  return { session = session, populated = populated, visited = {} }
end
eager.new_work = new_work

--- Loads a relationship for those of the objects that lack it, all at once, whatever strategy it has.
---@param session table
---@param objects userdata[] of one class
---@param property orrery.Relationship
---@return boolean whether all of them have it now: one alone, and one that was changed from its other side, load by themselves
function eager.ensure(session, objects, property)
  local missing = core.lacking(objects, mapper_module.relation_number(objects[1], property))
  if #missing > 1 then
    local tree = loader_option.default_tree(mapper_module.of_object(objects[1]))
    related.load_many(new_work(session), tree:node(property), missing, false)
  end
  return #missing > 1 and #missing == #objects
end

-- ---- when an attribute is read ----

-- Whether something is loaded behind what a node loads, found out once: lazy loads come one by one.
local function leads_on(node)
  if node.leads_on == nil then
    node.leads_on = is_busy(loader_option.below(node), true)
  end
  return node.leads_on
end

-- The flush may have loaded it, or the identity map have it, which knows of no conditions.
local function is_known(object, number, node)
  if is_narrowed(node) and not node.property.uselist then
    return core.lacking({ object }, number, true)[1] == nil
  end
  local _, known = core.peek(object, number)
  return known
end

-- Whether the session has the object that a many-to-one leads to, and reads it again, with others of its class that have
-- expired. One whose row is gone is looked for as any other.
local function refreshes_target(session, object, number, node)
  local target = node.property.direction == "manytoone" and not is_narrowed(node) and not session.dispatch.do_orm_execute
    and core.expired_target(object, number)
  if not target then
    return false
  end
  local ok, err = pcall(loading.refresh_expired, session, mapper_module.of_object(target), target)
  if not ok and not errors.is_error(err, "ObjectDeletedError") then
    error(err, 0)
  end
  return ok and is_known(object, number, node)
end

local function load_one(session, object, number, node)
  if not leads_on(node) and refreshes_target(session, object, number, node) then
    return
  end
  local items = related.load_one(session, object, number, node)
  if leads_on(node) then
    load_tree(new_work(session), loader_option.below(node), items, true)
  end
end

-- With those that came with the same result, and lack it, too.
local function load_siblings(session, object, number, node)
  local objects = not core.backlog(object, number) and core.siblings(object, number, related.KEYS) or {}
  if #objects < 2 then
    return load_one(session, object, number, node)
  end
  local work = new_work(session)
  local loaded = related.load_many(work, node, objects, leads_on(node))
  if leads_on(node) then
    load_tree(work, loader_option.below(node), loaded, true)
  end
end

local function refuse(_, _, _, node)
  local what = node.property:describe()
  errors.raise("InvalidRequestError", "%s is not loaded, and lazy = \"raise\", or raiseload(), forbids to load it now; ask for "
    .. "it with the query, :options(orm.selectinload(%s))", what, what)
end

local function leave_empty(_, object, number, node)
  related.set_loaded(node.property, object, number, {})
end

-- ---- the strategies ----

local function load_many(work, node, objects, wanted)
  return related.load_many(work, node, objects, wanted)
end

local function load_by_subquery(work, node, objects, wanted)
  return related.load_by_subquery(work, node, objects, wanted)
end

local function load_each(work, node, objects, wanted)
  return related.load_each(work, node, objects, wanted)
end

--- Every strategy: `word` of lazy = "...", `option`, what arguments that takes, and one or more of
---   joins    it comes along in the rows of the query, where these can be joined
---   behind   function(work, node, objects, wanted) -> objects that came, where they are wanted: loads it for the objects of
---            a query
---   read     function(session, object, number, node): loads it when it is read; those that have none read as "select"
---   asks     a read may not be answered from the identity map
---   siblings reads want to know what came with the object
---   contains the rows of the query have it already: its own joins bring it
---   fixed    no option changes it
---   keeps    the option leaves the relationship as it is loaded anyway; it is for what stands behind it
---   choose   function(arguments) -> word of another strategy that the option means with them
local STRATEGIES = {
  { word = "select", option = "lazyload", read = load_one },
  { word = "joined", option = "joinedload", arguments = { innerjoin = true }, joins = true, behind = load_many },
  { option = "contains_eager", arguments = { alias = true }, joins = true, contains = true, behind = load_many },
  { word = "selectin", option = "selectinload", arguments = { recursion_depth = true }, behind = load_many },
  { word = "subquery", option = "subqueryload", behind = load_by_subquery },
  { word = "immediate", option = "immediateload", arguments = { recursion_depth = true }, behind = load_each },
  { word = "batch", option = "batchload", read = load_siblings, siblings = true },
  { word = "raise", option = "raiseload", arguments = { sql_only = true }, read = refuse, asks = true,
    choose = function(arguments) return arguments.sql_only and "raise_on_sql" end },
  { word = "raise_on_sql", read = refuse },
  { word = "write_only", read = leave_empty, fixed = true },
  { word = "noload", option = "noload", read = leave_empty, asks = true },
  { option = "defaultload", keeps = true },
}

for _, strategy in ipairs(STRATEGIES) do
  if strategy.word then
    relationship.strategies[strategy.word] = strategy
  end
  if strategy.option then
    eager[strategy.option] = loader_option.define(strategy)
  end
end

eager.selectin_polymorphic = loader_option.selectin_polymorphic

eager.Load = loader_option.Load
eager.with_loader_criteria = loader_option.with_loader_criteria

for name, kind in pairs({ load_only = "load_only", defer = "defer", undefer = "undefer", undefer_group = "group",
  with_expression = "expression" }) do
  eager[name] = loader_option.define_rule(name, kind)
end

local LATE = { select = true, batch = true, raise = true, raise_on_sql = true }

--- The strategy by which a session, or an engine, has those relationships loaded that say nothing themselves; false for nil.
---@param word any
---@param call string
---@return table|false
function eager.late_strategy(word, call)
  if word == nil then
    return false
  end
  local strategy, words = relationship.strategies[word], {}
  for _, one in ipairs(STRATEGIES) do
    words[#words + 1] = one.read and LATE[one.word] and one.word or nil
  end
  if not strategy or not LATE[word] then
    errors.raise("ArgumentError", "%s: lazy = %s is not possible for all relationships; there are %s", call, errors.show(word),
      table.concat(words, ", "))
  end
  return strategy
end
engine.late_strategy = eager.late_strategy

local function raise_detached(mapper, object, property)
  loading.detached_error(mapper, object, property.key, ("load it with the query, :options(orm.selectinload(%s)), read it "
    .. "while the session is open, or add the object to a session again"):format(property:describe()))
end

local SELECT = relationship.strategies.select

-- What a read follows. What the library itself needs, outside a script's read or in a flush, is loaded in any case.
local function strategy_for(session, node, script)
  local strategy = node.late
  if node.undecided and session and session.lazy then
    strategy = session.lazy
  end
  if strategy ~= SELECT and not (script and not (session and session.flushing)) then
    strategy = SELECT
  end
  return strategy
end

local function load_when_read(session, object, number, node, strategy)
  if session.watching then
    session.watching:during({ property = node.property }, strategy.read, session, object, number, node)
  else
    strategy.read(session, object, number, node)
  end
end

-- Whether it loads by itself when it is read, with nothing behind it: that needs little, see related.load_alone().
local function is_alone(node)
  node.alone = node.late == SELECT and not leads_on(node)
  return node.alone
end

core.hook("load_relation", function(object, number, script, tree, class, session)
  local mapper = getmetatable(class).__mapper
  local property = mapper.relationships[number - #mapper.column_keys]
  local node = (tree or mapper.default_tree or loader_option.default_tree(mapper)):node(property)
  local alone = node.alone
  if alone == nil then
    alone = is_alone(node)
  end
  if alone and session and related.load_alone(session, object, number, node) then
    return
  end
  local strategy = strategy_for(session, node, script)
  if strategy.asks then
    return strategy.read(session, object, number, node)
  elseif not session then
    raise_detached(mapper, object, property)
  elseif script and not core.is_clean(session[1]) then
    loading.ensure_columns(session, mapper, object, related.near_numbers(node)) -- a flush may delete this very object
    session:autoflush_now()
  end
  loading.ensure_columns(session, mapper, object, related.near_numbers(node))
  if not is_known(object, number, node) then
    load_when_read(session, object, number, node, strategy)
  end
end)

return eager
