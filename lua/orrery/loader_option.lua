--- loader_option: what a script says about loading: options such as selectinload(User.posts) and load_only(User.name), each
-- a path of steps, and the trees that the options of a statement make, one for each class that it selects. What a step
-- means is its strategy's matter (strategies.lua), or for columns shaping.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"
local expression = import "expression"
local relationship = import "relationship"
local shaping = import "shaping"
local criteria = import "criteria"

local loader_option = {}

-- ---- options ----

---@class orrery.LoaderOption
---@field paths table[] arrays of steps { name =, property =, strategy =, arguments = }, where the property "*" stands for all
--- that have none, or { name =, rule = }, about columns of the class to which the steps before it lead; the first may be
--- { anchor =, mapper =, source = }, which says of which class the rest speaks
---@field steps table[] the path that the next method goes on from
local Option = {}
local MARK = { __name = "orrery.loader_option" }
local metatable = { __index = errors.guard(Option, "a loader option"), __metatable = MARK }

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
  if relationship.strategies[attribute.property.lazy].fixed then
    errors.raise("ArgumentError", "%s(): %s is lazy = \"%s\", and no option loads it; read it with session:scalars(object.%s"
      .. ":select())", name, attribute.property:describe(), attribute.property.lazy, attribute.property.key)
  end
  return attribute.property
end

-- Whether a path that leads to one class may go on from a relationship of the other.
local related = hierarchy.related

-- The class that a step is about; nil for "*".
local function class_of(step)
  if step.rule then
    return step.rule.mapper
  elseif step.subclasses or step.anchor then
    return step.mapper
  end
  return step.property ~= "*" and step.property.parent or nil
end

-- The class in whose place the step behind another one stands, and what leads there.
local function place_behind(last)
  if last.anchor then
    return last.mapper, "Load(" .. last.mapper.name .. ")"
  end
  return last.property.mapper, last.property:describe()
end

local function check_step(last, step)
  if not last then
    return
  elseif last.property == "*" then
    errors.raise("ArgumentError", "%s(): \"*\" ends a path; name the relationship that the path goes through", step.name)
  end
  if step.strategy and step.strategy.contains and not last.anchor and not last.strategy.contains then
    errors.raise("ArgumentError", "%s(%s) is about rows of the statement itself and cannot stand behind %s(); begin the path "
      .. "with it", step.name, step.property:describe(), last.name)
  end
  local mapper, target, leader = class_of(step), place_behind(last)
  if mapper and not related(target, mapper) then
    errors.raise("ArgumentError", "%s(): %s is not the class where %s leads; that is '%s'", step.name,
      not step.property and "'" .. mapper.name .. "'" or ("'%s', of %s,"):format(mapper.name, step.property:describe()),
      leader, target.name)
  end
end

-- What the rows of the statement have of the target where that is not the class itself.
local function target_of(property, alias, name)
  local entity = alias ~= nil and expression.clause(alias)
  if alias == nil then
    return nil
  elseif not entity or entity.visit ~= "entity" or entity.mapper ~= property.mapper then
    errors.raise("ArgumentError", "%s(): alias must be an alias of '%s', orm.aliased(%s), got %s", name, property.mapper.name,
      property.mapper.name, errors.show(alias))
  end
  return entity
end

local function step_of(attribute, strategy, arguments)
  local name = strategy.option
  local property = attribute == "*" and not strategy.keeps and "*" or property_of(attribute, name)
  arguments = errors.check_options(arguments, strategy.arguments or {}, name .. "()")
  local chosen = strategy.choose and strategy.choose(arguments)
  local step = { name = name, property = property, strategy = chosen and relationship.strategies[chosen] or strategy,
    arguments = arguments }
  if property ~= "*" then
    local target = attribute.target
    step.source, step.criteria = attribute.source, attribute.criteria
    step.of_type = target and target.mapper ~= property.mapper and { target.mapper } or target and target.with or nil
    step.target = strategy.contains and (target_of(property, arguments.alias, name) or target) or nil
  end
  return step
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

-- The paths with a longer one in the place of that which it goes on from.
local function with_path(self, longer)
  local paths, replaced = {}, false
  for position, path in ipairs(self.paths) do
    paths[position] = path == self.steps and longer or path
    replaced = replaced or path == self.steps
  end
  if not replaced then
    paths[#paths + 1] = longer
  end
  return paths
end

-- The option goes on by a step: its path becomes longer.
local function extended(self, step)
  check_step(self.steps[#self.steps], step)
  local longer = appended(self.steps, step)
  return new_option(with_path(self, longer), longer)
end

-- A rule about columns stands at the end of the path, which can go on without it.
local function ruled(self, step)
  check_step(self.steps[#self.steps], step)
  return new_option(appended(self.paths, appended(self.steps, step)), self.steps)
end

local NOWHERE = { paths = {}, steps = {} }

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
    return extended(NOWHERE, step_of(attribute, strategy, arguments))
  end
end

--- Makes the function and the method of an option about columns: load_only(User.name, ...), by itself about the class that
--- is queried, behind a path about the class to which it leads.
---@param name string
---@param kind string of shaping.rule()
---@return fun(...: any): orrery.LoaderOption
function loader_option.define_rule(name, kind)
  Option[name] = function(self, ...)
    errors.check_self(self, loader_option.is_option(self), "option:" .. name)
    return ruled(self, { name = name, rule = shaping.rule(kind, ...) })
  end
  return function(...)
    return ruled(NOWHERE, { name = name, rule = shaping.rule(kind, ...) })
  end
end

--- Options that speak of one class of the statement, or of an alias: Load(Book):raiseload("*"), Load(Book):joinedload(Book.tags).
---@param class any a class, or an alias of one
---@return orrery.LoaderOption
function loader_option.Load(class)
  local entity = expression.clause(class)
  if not entity or entity.visit ~= "entity" then
    errors.raise("ArgumentError", "Load() takes a class or an alias of one, got %s", errors.show(class))
  end
  local source = entity ~= entity.mapper:entity() and entity.table or nil
  return new_option({}, { { name = "Load", anchor = true, mapper = entity.mapper, source = source } })
end

-- The subclasses of a class in the arguments of selectin_polymorphic().
local function subclasses_of(mapper, classes)
  if type(classes) ~= "table" or classes[1] == nil then
    errors.raise("ArgumentError", "selectin_polymorphic() takes an array of subclasses, got %s", errors.show(classes))
  end
  local list = {}
  for position, class in ipairs(classes) do
    list[position] = mapper_module.of(class, "selectin_polymorphic()")
    if mapper and not list[position]:is_a(mapper) then
      errors.raise("ArgumentError", "selectin_polymorphic(): '%s' does not inherit from '%s'", list[position].name, mapper.name)
    end
  end
  return list
end

--- Loads the columns that subclasses have in tables of their own, for all objects of a query at once:
--- selectin_polymorphic(Employee, { Manager, Engineer }), or behind a path :selectin_polymorphic{ Manager }.
---@param class userdata the class that is queried
---@param classes userdata[]
---@return orrery.LoaderOption
function loader_option.selectin_polymorphic(class, classes)
  local mapper = mapper_module.of(class, "selectin_polymorphic()")
  mapper:configure()
  return ruled(NOWHERE, { name = "selectin_polymorphic", mapper = mapper, subclasses = subclasses_of(mapper, classes) })
end

---@param classes userdata[]
---@return orrery.LoaderOption
function Option:selectin_polymorphic(classes)
  errors.check_self(self, loader_option.is_option(self), "option:selectin_polymorphic")
  local last = self.steps[#self.steps]
  local mapper = last and last.property ~= "*" and place_behind(last) or nil
  return ruled(self, { name = "selectin_polymorphic", mapper = mapper, subclasses = subclasses_of(mapper, classes) })
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
        check_step(longer[#longer], step)
        longer = appended(longer, step)
      end
      paths[#paths + 1] = longer
    end
  end
  return new_option(paths, self.steps)
end

local function show_step(step)
  if step.subclasses or step.anchor then
    return ("%s(%s)"):format(step.name, step.mapper and step.mapper.name or "")
  elseif step.rule then
    local about = step.rule.mapper
    return ("%s(%s)"):format(step.name, about and about.name .. "." .. table.concat(step.rule.keys or {}, ", ") or "")
  end
  return ("%s(%s)"):format(step.name, step.property == "*" and "\"*\"" or step.property:describe())
end

local function show_path(path)
  local parts = {}
  for position, step in ipairs(path) do
    parts[position] = show_step(step)
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
---@field rules? orrery.ColumnRule[] about its columns
---@field through? table the node that leads here
---@field criteria? orrery.Criterion[] what holds for classes here and behind
local Tree = {}
Tree.__index = Tree

local function new_tree(mapper, above, everywhere)
  return setmetatable({ mapper = mapper, above = above, depth = above and above.depth + 1 or 0, nodes = {}, defaults = {},
    everywhere = everywhere, level = nil, criteria = above and above.criteria }, Tree)
end

--- The tree of a class of which no option says anything.
---@param mapper orrery.Mapper
function loader_option.default_tree(mapper)
  if not mapper.default_tree then
    mapper.default_tree = new_tree(mapper)
    hierarchy.has_tree(mapper)
  end
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

-- A relationship that only a subclass has cannot be joined to the rows of the class above.
local function possible(tree, property, strategy)
  if strategy.joins and not tree.mapper:is_a(property.parent) then
    return relationship.strategies.selectin
  end
  return strategy
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
  return { tree = tree, property = property, strategy = possible(tree, property, strategy), arguments = {},
    undecided = not said and property.options.lazy == nil }
end

--- What holds for a relationship here: { property, strategy, arguments, late = what a read of it follows, undecided = whether
--- neither the relationship nor an option has said anything }.
---@param property orrery.Relationship
---@return table node
function Tree:node(property)
  local node = self.nodes[property] or self.defaults[property]
  if not node then
    node = default_node(self, property)
    self.defaults[property] = node
  end
  if not node.late then
    node.late = node.strategy.read and node.strategy or relationship.strategies.select
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
  node.children.through = node
  if not node.complete then
    node.complete = true
    add_recursion(node.children, node)
  end
  return node.children
end

-- Adds a step about a relationship; returns the tree behind it.
local function add_relationship(tree, step)
  local property = step.property
  local node = tree.nodes[property] or { tree = tree, property = property }
  tree.nodes[property] = node
  if step.strategy.keeps then
    node.strategy = node.strategy or default_node(tree, property).strategy
    node.arguments = node.arguments or step.arguments
  else
    node.strategy, node.arguments, node.late = possible(tree, property, step.strategy), step.arguments, nil
    node.target = step.target
  end
  node.criteria = step.criteria or step.strategy.keeps and node.criteria or nil
  node.children = node.children or new_tree(property.mapper, tree, tree.everywhere)
  local below = node.children
  below.subclasses = step.of_type and appended(below.subclasses or {}, step.of_type) or below.subclasses
  return below
end

local function add_path(tree, path)
  for _, step in ipairs(path) do
    if step.rule then
      tree.rules = tree.rules or {}
      table.insert(tree.rules, step.rule)
    elseif step.subclasses then
      tree.subclasses = appended(tree.subclasses or {}, step.subclasses)
    elseif step.property == "*" then
      tree.level = step.strategy
    elseif not step.anchor then
      tree = add_relationship(tree, step)
    end
  end
end

--- The relationships for which `wanted(strategy)` holds, as nodes, in the order of the class; found once.
---@param self orrery.LoadTree
---@param kind string the field of the strategy: "behind", "joins"
function Tree:with(kind)
  local list = rawget(self, kind)
  if not list then
    list = {}
    for _, property in ipairs(hierarchy.relationships(self.mapper)) do
      local node = self:node(property)
      if node.strategy[kind] then
        list[#list + 1] = node
      end
    end
    self[kind] = list
  end
  return list
end

-- Adds a subclass that has columns of its own to load.
local function add_subclass(list, mapper)
  if not list[mapper] and mapper.own_keys[1] then
    list[mapper], list[#list + 1] = true, mapper
  end
end

--- The subclasses whose columns are loaded behind a query, by options or by polymorphic_load = "selectin".
---@return orrery.Mapper[]
function Tree:behind_subclasses()
  if not self.later then
    local list = {}
    for _, one in ipairs(hierarchy.family(self.mapper)) do
      if one ~= self.mapper and one.arguments.polymorphic_load == "selectin" then
        add_subclass(list, one)
      end
    end
    for _, some in ipairs(self.subclasses or {}) do
      for _, one in ipairs(some) do
        add_subclass(list, one)
      end
    end
    self.later = list
  end
  return self.later
end

--- Whether queries bring something along, or remember the objects for later loads.
function Tree:is_eager()
  return #self:behind_subclasses() > 0 or #self:with("joins") > 0 or #self:with("behind") > 0 or #self:with("siblings") > 0
end

-- What has to be remembered with the objects of a place, so that later loads follow it.
local function find_habits(tree)
  local habits = { options = next(tree.nodes) ~= nil or tree.level ~= nil or tree.everywhere ~= nil
    or tree.criteria ~= nil, asks = tree.criteria ~= nil }
  for _, property in ipairs(hierarchy.relationships(tree.mapper)) do
    local node = tree:node(property)
    habits.asks = habits.asks or node.strategy.asks or node.criteria ~= nil
    habits.siblings = habits.siblings or node.strategy.siblings
    habits.undecided = habits.undecided or node.undecided
  end
  return habits
end

--- Whether the objects of this place are remembered whatever their session says.
function Tree:is_remembered()
  self.habits = self.habits or find_habits(self)
  return self.habits.options or self.habits.siblings or false
end

--- Whether nothing but its columns, all of them, is wanted of a class, and nothing remembered of where it came from.
---@param session table
---@return boolean
function Tree:is_inert(session)
  if self.inert == nil then
    self.inert = not self:is_remembered() and not self:behind_subclasses()[1] and not shaping.defers(self.mapper)
      and #self:with("joins") == 0 and #self:with("behind") == 0
  end
  return self.inert and not (session.lazy and self.habits.undecided)
end

--- A number under which the session remembers the objects of this place, where that matters for what they load later;
--- else nil.
---@param session table
---@return integer?
function Tree:cohort(session)
  local remembered, habits = self:is_remembered(), self.habits
  local default = habits.undecided and session.lazy
  if not (remembered or default) then
    return nil
  end
  return core.cohort(session[1], habits.options and self or nil, habits.options,
    habits.asks or (default and default.asks) or false)
end

-- ---- the trees of a statement ----

local function rule_fits(rule, entity)
  return rule.mapper == nil or hierarchy.reads(entity.table, rule.table)
end

local UNDER_ANOTHER_NAME = { alias = true, subquery = true }

local function step_fits(step, entity)
  if step.rule then
    return rule_fits(step.rule, entity)
  elseif step.source then
    return entity.table == step.source
  end
  return not UNDER_ANOTHER_NAME[entity.table.visit] and not entity.table.renamed and related(entity.mapper, class_of(step))
end

local function raise_misfit(path, items)
  local names = {}
  for _, item in ipairs(items) do
    names[#names + 1] = item.visit == "entity" and ("'%s'"):format(item.mapper.name) or nil
  end
  errors.raise("ArgumentError", "options(): %s begins at '%s', and this statement selects %s; begin at a class that it "
    .. "selects (of an alias: at the alias), and put what lies behind it on the path", show_path(path),
    class_of(path[1]) and class_of(path[1]).name or "a class", #names > 0 and table.concat(names, ", ") or "no class")
end

local function apply_path(trees, items, path)
  local found = false
  for position, item in ipairs(items) do
    if trees[position] and step_fits(path[1], item) then
      add_path(trees[position], path)
      found = true
    end
  end
  if not found then
    raise_misfit(path, items)
  end
end

-- The paths of options, and apart from them what "*" at the beginning says: it is for all classes of the statement, on
-- every level.
local function paths_of(options)
  local paths, everywhere = {}, nil
  for position, option in ipairs(options) do
    check_option(option, ("options(), argument %d"):format(position))
    for _, path in ipairs(option.paths) do
      if path[1].property == "*" then
        everywhere = path[1].strategy
      elseif not path[1].criterion then
        paths[#paths + 1] = path
      end
    end
  end
  return paths, everywhere
end

--- What with_loader_criteria() says among the options of a statement; nil for nothing.
---@param options? orrery.LoaderOption[]
---@return orrery.Criterion[]?
function loader_option.criteria(options)
  if not options then
    return nil
  elseif options.criteria == nil then
    local list = {}
    for _, option in ipairs(options) do
      for _, path in ipairs(loader_option.is_option(option) and option.paths or {}) do
        list[#list + 1] = path[1].criterion
      end
    end
    options.criteria = list[1] and list or false
  end
  return options.criteria or nil
end

--- with_loader_criteria(User, User.deleted:is_(orm.null)): a condition that holds wherever a statement reads a class; its
--- objects follow it in what they load later.
---@param subject any a class, or the body of a mixin
---@param condition any an expression, or a function of the class that returns one
---@param options? { include_aliases: boolean, propagate_to_loaders: boolean } false and true by default
---@return orrery.LoaderOption
function loader_option.with_loader_criteria(subject, condition, options)
  return new_option({ { { name = "with_loader_criteria", criterion = criteria.new(subject, condition, options) } } }, {})
end

local function has_tree(item)
  return item.visit == "entity" and not item.concrete
end

local function optional_trees(items, options)
  local paths, everywhere = paths_of(options)
  local trees, lasting = {}, criteria.lasting(loader_option.criteria(options))
  for position, item in ipairs(items) do
    local tree = has_tree(item) and new_tree(item.mapper, nil, everywhere) or false
    trees[position] = tree
    if tree then
      tree.criteria = lasting
    end
  end
  for _, path in ipairs(paths) do
    apply_path(trees, items, path)
  end
  return trees
end

local WEAK_KEYS = { __mode = "k" }

--- The trees of what a statement selects, by position; false for what is no class, and for concrete classes that are read
--- together: what comes with their objects is each class's own matter.
---@param items table[]
---@param options? orrery.LoaderOption[]
---@return (orrery.LoadTree|false)[]
function loader_option.trees(items, options)
  if not options or #options == 0 then
    local trees = {}
    for position, item in ipairs(items) do
      trees[position] = has_tree(item) and loader_option.default_tree(item.mapper) or false
    end
    return trees
  end
  options.trees = options.trees or setmetatable({}, WEAK_KEYS)
  options.trees[items] = options.trees[items] or optional_trees(items, options)
  return options.trees[items]
end

--- The cohorts that the items of an expanded select come into, for core.load; nil where nothing is to be remembered.
---@param session table
---@param trees (orrery.LoadTree|false)[]
---@return integer[]?
function loader_option.cohorts(session, trees)
  local numbers
  for position, tree in ipairs(trees) do
    local number = tree and tree:cohort(session)
    if number then
      numbers = numbers or {}
      numbers[position] = number
    end
  end
  for position = 1, numbers and #trees or 0 do
    numbers[position] = numbers[position] or 0
  end
  return numbers
end

return loader_option
