--- loader_option: what a script says about loading relationships: options such as selectinload(User.posts), each a path of
-- steps, and the trees that the options of a statement make, one for each class that it selects. What a step means is its
-- strategy's matter (strategies.lua); how joins and statements follow from a tree is joined.lua's and related.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local relationship = import "relationship"

local loader_option = {}

-- ---- options ----

---@class orrery.LoaderOption
---@field paths table[] arrays of steps { property =, strategy =, arguments = }; property "*" stands for all that have none
---@field steps table[] the path that the next method goes on from
local Option = {}
local MARK = { __name = "orrery.loader_option" }
local metatable = { __index = Option, __metatable = MARK }

--- Whether a value is a loader option.
---@param value any
---@return boolean
function loader_option.is_option(value)
  return getmetatable(value) == MARK
end

local function check_option(value, call)
  if not loader_option.is_option(value) then
    errors.raise("ArgumentError", "%s: a loader option such as orm.selectinload(User.posts) expected, got %s", call,
      errors.show(value))
  end
end

local function property_of(attribute, name)
  local mark = getmetatable(attribute)
  if type(mark) ~= "table" or not mark.__relationship then
    errors.raise("ArgumentError", "%s() takes a relationship such as User.posts, or \"*\"; got %s", name,
      errors.show(attribute))
  end
  return attribute.property
end

-- Whether a path that leads to one class may go on from a relationship of the other.
local function related(mapper, other)
  return mapper == other
end

local function check_step(last, step, name)
  if not last then
    return
  elseif last.property == "*" then
    errors.raise("ArgumentError", "%s(): \"*\" ends a path; name the relationship that the path goes through", name)
  elseif step.property ~= "*" and not related(last.property.mapper, step.property.parent) then
    errors.raise("ArgumentError", "%s(): %s does not belong to '%s', where %s leads", name, step.property:describe(),
      last.property.mapper.name, last.property:describe())
  end
end

local function step_of(attribute, strategy, arguments)
  local name = strategy.option
  local property = attribute == "*" and "*" or property_of(attribute, name)
  arguments = errors.check_options(arguments, strategy.arguments or {}, name .. "()")
  return { property = property, source = property ~= "*" and attribute.source or nil, strategy = strategy,
    arguments = arguments }
end

local function appended(list, item)
  local longer = {}
  for position, one in ipairs(list) do
    longer[position] = one
  end
  longer[#longer + 1] = item
  return longer
end

local function new_option(paths, steps)
  return setmetatable({ visit = "loader_option", paths = paths, steps = steps }, metatable)
end

-- The option goes on by a step: its path becomes longer.
local function extended(self, step)
  check_step(self.steps[#self.steps], step, step.strategy.option)
  local steps, paths = appended(self.steps, step), {}
  for position, path in ipairs(self.paths) do
    paths[position] = path == self.steps and steps or path
  end
  return new_option(paths, steps)
end

--- Makes the function and the method of a strategy's option: selectinload(User.posts), and behind it
--- :selectinload(Post.comments).
---@param strategy table
---@return fun(attribute: any, arguments?: table): orrery.LoaderOption
function loader_option.define(strategy)
  local name = strategy.option
  Option[name] = function(self, attribute, arguments)
    errors.check_self(self, loader_option.is_option(self), "option:" .. name)
    return extended(self, step_of(attribute, strategy, arguments))
  end
  return function(attribute, arguments)
    local steps = { step_of(attribute, strategy, arguments) }
    return new_option({ steps }, steps)
  end
end

--- Several options behind this one: joinedload(User.posts):options(selectinload(Post.tags), lazyload(Post.author)).
---@param ... orrery.LoaderOption
---@return orrery.LoaderOption
function Option:options(...)
  errors.check_self(self, loader_option.is_option(self), "option:options")
  local paths = appended(self.paths)
  for position = 1, select("#", ...) do
    local option = (select(position, ...))
    check_option(option, ("option:options(), argument %d"):format(position))
    for _, path in ipairs(option.paths) do
      local longer = self.steps
      for _, step in ipairs(path) do
        check_step(longer[#longer], step, step.strategy.option)
        longer = appended(longer, step)
      end
      paths[#paths + 1] = longer
    end
  end
  return new_option(paths, self.steps)
end

local function show_path(path)
  local parts = {}
  for position, step in ipairs(path) do
    local what = step.property == "*" and "\"*\"" or step.property:describe()
    parts[position] = ("%s(%s)"):format(step.strategy.option, what)
  end
  return table.concat(parts, ":")
end

function metatable.__tostring(self)
  return show_path(self.steps)
end

-- ---- trees ----

--- What is said about the relationships of one class at one place of a statement: by options, and by the classes.
---@class orrery.LoadTree
---@field mapper orrery.Mapper
---@field above? orrery.LoadTree
---@field depth integer relationships that lead here
---@field nodes table<orrery.Relationship, table> what options say
---@field level? table strategy of "*" for this place
---@field everywhere? table strategy of "*" for the whole statement
local Tree = {}
Tree.__index = Tree

local function new_tree(mapper, above, everywhere)
  return setmetatable({ mapper = mapper, above = above, depth = above and above.depth + 1 or 0, nodes = {}, defaults = {},
    everywhere = everywhere, level = nil }, Tree)
end

--- The tree of a class of which no option says anything.
---@param mapper orrery.Mapper
function loader_option.default_tree(mapper)
  mapper.default_tree = mapper.default_tree or new_tree(mapper)
  return mapper.default_tree
end

-- Default eager loading would never end where it comes by a class again: it stops there, or at the join_depth that the
-- relationship has.
local function goes_round(tree, property)
  local depth = property.options.join_depth
  if depth then
    return tree.depth + 1 > depth
  end
  local above = tree
  while above do
    if related(above.mapper, property.mapper) then
      return true
    end
    above = above.above
  end
  return false
end

-- What holds for a relationship that no option names.
local function default_node(tree, property)
  local strategies = relationship.strategies
  local strategy = strategies[property.lazy]
  local said = tree.level or tree.everywhere
  if said and not strategy.fixed then
    strategy = said
  end
  if not strategy.read and goes_round(tree, property) then
    strategy = strategies.select
  end
  return { tree = tree, property = property, strategy = strategy, arguments = {},
    undecided = not said and property.options.lazy == nil }
end

--- What holds for a relationship here: { property, strategy, arguments }.
---@param property orrery.Relationship
---@return table node
function Tree:node(property)
  local node = self.nodes[property] or self.defaults[property]
  if not node then
    node = default_node(self, property)
    self.defaults[property] = node
  end
  return node
end

-- A relationship of a class to itself goes on as many levels as it was told; -1: to the end.
local function add_recursion(below, node)
  local depth = node.arguments.recursion_depth
  if depth and depth ~= 1 and not below.nodes[node.property] then
    below.nodes[node.property] = { tree = below, property = node.property, strategy = node.strategy,
      arguments = { recursion_depth = depth > 1 and depth - 1 or depth, innerjoin = node.arguments.innerjoin } }
  end
end

--- The tree behind a node.
---@param node table
---@return orrery.LoadTree
function loader_option.below(node)
  if not node.children then
    node.children = new_tree(node.property.mapper, node.tree, node.tree.everywhere)
  end
  if not node.complete then
    node.complete = true
    add_recursion(node.children, node)
  end
  return node.children
end

local function add_path(tree, path)
  for _, step in ipairs(path) do
    local property = step.property
    if property == "*" then
      tree.level = step.strategy
      return
    end
    local node = tree.nodes[property] or { tree = tree, property = property }
    tree.nodes[property] = node
    node.strategy, node.arguments = step.strategy, step.arguments
    node.children = node.children or new_tree(property.mapper, tree, tree.everywhere)
    tree = node.children
  end
end

--- The relationships for which `wanted(strategy)` holds, as nodes, in the order of the class; found once.
---@param self orrery.LoadTree
---@param kind string the field of the strategy: "behind", "joins"
function Tree:with(kind)
  local list = rawget(self, kind)
  if not list then
    list = {}
    for _, property in ipairs(self.mapper.relationships) do
      local node = self:node(property)
      if node.strategy[kind] then
        list[#list + 1] = node
      end
    end
    self[kind] = list
  end
  return list
end

-- What has to be remembered with the objects of a place, so that later loads follow it.
local function find_habits(tree)
  local habits = { options = next(tree.nodes) ~= nil or tree.level ~= nil or tree.everywhere ~= nil }
  for _, property in ipairs(tree.mapper.relationships) do
    local node = tree:node(property)
    habits.asks = habits.asks or node.strategy.asks
    habits.siblings = habits.siblings or node.strategy.siblings
    habits.undecided = habits.undecided or node.undecided
  end
  return habits
end

--- A number under which the session remembers the objects of this place, where that matters for what they load later;
--- else nil.
---@param session table
---@return integer?
function Tree:cohort(session)
  self.habits = self.habits or find_habits(self)
  local habits, default = self.habits, self.habits.undecided and session.lazy
  if not (habits.options or habits.siblings or default) then
    return nil
  end
  return core.cohort(session[1], habits.options and self or nil, habits.options,
    habits.asks or (default and default.asks) or false)
end

--- The strategy that a read of an object's relationship follows, and its node.
---@param session table
---@param object userdata
---@param mapper orrery.Mapper of the object
---@param property orrery.Relationship
---@return table strategy
---@return table node
function loader_option.for_read(session, object, mapper, property)
  local tree = core.tree_of(object) or loader_option.default_tree(mapper)
  local node = tree:node(property)
  local strategy = node.undecided and session.lazy or node.strategy
  return strategy.read and strategy or relationship.strategies.select, node
end

-- ---- the trees of a statement ----

local function fits(step, entity)
  if step.source then
    return entity.table == step.source
  end
  return not entity.aliased and related(entity.mapper, step.property.parent)
end

local function raise_misfit(path, items)
  local names = {}
  for _, item in ipairs(items) do
    names[#names + 1] = item.visit == "entity" and ("'%s'"):format(item.mapper.name) or nil
  end
  errors.raise("ArgumentError", "options(): %s begins at '%s', and this statement selects %s; begin at a class that it "
    .. "selects (of an alias: at the alias), and put what lies behind it on the path", show_path(path),
    path[1].property.parent.name, #names > 0 and table.concat(names, ", ") or "no class")
end

-- "*" at the beginning of a path is for all classes of the statement, on every level.
local function set_everywhere(trees, strategy)
  for _, tree in pairs(trees) do
    tree.everywhere = strategy
  end
end

local function apply_path(trees, items, path)
  local found = path[1].property == "*"
  for position, tree in pairs(trees) do
    if path[1].property ~= "*" and fits(path[1], items[position]) then
      add_path(tree, path)
      found = true
    end
  end
  if not found then
    raise_misfit(path, items)
  end
end

local function paths_of(options)
  local paths, everywhere = {}, nil
  for position, option in ipairs(options) do
    check_option(option, ("options(), argument %d"):format(position))
    for _, path in ipairs(option.paths) do
      paths[#paths + 1] = path
      everywhere = path[1].property == "*" and path[1].strategy or everywhere
    end
  end
  return paths, everywhere
end

local function optional_trees(items, options)
  local trees, paths, everywhere = {}, paths_of(options)
  for position, item in ipairs(items) do
    trees[position] = item.visit == "entity" and new_tree(item.mapper) or nil
  end
  if everywhere then
    set_everywhere(trees, everywhere)
  end
  for _, path in ipairs(paths) do
    apply_path(trees, items, path)
  end
  return trees
end

local WEAK_KEYS = { __mode = "k" }

--- The trees of what a statement selects, by position; nil for what is no class.
---@param items table[]
---@param options? orrery.LoaderOption[]
---@return table<integer, orrery.LoadTree>
function loader_option.trees(items, options)
  if not options or #options == 0 then
    local trees = {}
    for position, item in ipairs(items) do
      trees[position] = item.visit == "entity" and loader_option.default_tree(item.mapper) or nil
    end
    return trees
  end
  options.trees = options.trees or setmetatable({}, WEAK_KEYS)
  options.trees[items] = options.trees[items] or optional_trees(items, options)
  return options.trees[items]
end

return loader_option
