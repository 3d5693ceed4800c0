--- criteria: conditions that hold for a class wherever a statement reads it, with_loader_criteria(User, User.gone:eq(false)):
-- what such an option says, and the statement that has it. Where the conditions go is render_select.lua's.
local import = ...
local errors = import "errors"
local expression = import "expression"
local statement = import "statement"
local registry = import "registry"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"

local criteria = {}

---@class orrery.Criterion
---@field mapper? orrery.Mapper the class; nil where it is a mixin
---@field mixin? table
---@field condition any an expression, or a function of the class that gives one
---@field include_aliases boolean
---@field propagate boolean whether what the objects load later follows it, too
local OPTIONS = { include_aliases = true, propagate_to_loaders = true }

local CALL = "with_loader_criteria()"

local function check_subject(subject)
  local mark = getmetatable(subject)
  if type(mark) == "table" and mark.__mapper then
    local mapper = mapper_module.of(subject, CALL)
    mapper:configure()
    if mapper.inherits and hierarchy.is_single(mapper) then
      errors.raise("ArgumentError", "%s: '%s' shares the table of '%s'; name that class, and let the condition tell the rows "
        .. "apart", CALL, mapper.name, mapper.inherits.name)
    end
    return mapper
  elseif type(subject) ~= "table" or mark ~= nil then
    errors.raise("ArgumentError", "%s: a mapped class, or the body of a mixin, expected, got %s", CALL, errors.show(subject))
  end
end

--- What with_loader_criteria(subject, condition, options) says.
---@param subject any a class, or a mixin's body
---@param condition any
---@param options? { include_aliases: boolean, propagate_to_loaders: boolean }
---@return orrery.Criterion
function criteria.new(subject, condition, options)
  options = errors.check_options(options, OPTIONS, CALL)
  local mapper = check_subject(subject)
  if type(condition) ~= "function" then
    condition = expression.expect_operand(condition, CALL, 2)
    if not mapper then
      errors.raise("ArgumentError", "%s: for a mixin the condition is a function of the class: function(class) return "
        .. "class.deleted:is_(orm.null) end", CALL)
    end
  end
  return { mapper = mapper, mixin = not mapper and subject or nil, condition = condition,
    include_aliases = options.include_aliases or false, propagate = options.propagate_to_loaders ~= false }
end

local function add_node(nodes, one, mapper)
  local condition = one.condition
  if type(condition) == "function" then
    condition = expression.expect_operand(condition(mapper.class), CALL, 2)
  end
  nodes[#nodes + 1] = expression.new{ visit = "criterion", table = mapper.table, condition = condition,
    include_aliases = one.include_aliases }
end

-- The classes that have a mixin, those that inherit them in the same table excepted.
local function add_mixin(nodes, one)
  local count = #nodes
  for _, mapper in ipairs(registry.mappers()) do
    if mapper.mixins[one.mixin] and not (mapper.inherits and hierarchy.is_single(mapper)) then
      add_node(nodes, one, mapper)
    end
  end
  if #nodes == count then
    errors.raise("ArgumentError", "%s: no class has this mixin", CALL)
  end
end

-- The conditions by table; read once for a list.
local function nodes_of(list)
  if not list.nodes then
    local nodes = {}
    for _, one in ipairs(list) do
      if one.mapper then
        add_node(nodes, one, one.mapper)
      else
        add_mixin(nodes, one)
      end
    end
    list.nodes = nodes
  end
  return list.nodes
end

--- A statement in which the criteria hold; the same one where there are none.
---@param stmt table
---@param list? orrery.Criterion[]
---@return table
function criteria.on(stmt, list)
  if not list or not list[1] then
    return stmt
  end
  local copy = statement.copy_of(stmt)
  copy.criteria = nodes_of(list)
  return copy
end

--- The conditions for one table, for an update or delete of it.
---@param list? orrery.Criterion[]
---@param tbl table
---@return table[]
function criteria.of_table(list, tbl)
  local conditions = {}
  for _, node in ipairs(list and list[1] and nodes_of(list) or {}) do
    conditions[#conditions + 1] = node.table == tbl and node.condition or nil
  end
  return conditions
end

--- Those that the objects of a statement follow later.
---@param list? orrery.Criterion[]
---@return orrery.Criterion[]?
function criteria.lasting(list)
  local lasting = {}
  for _, one in ipairs(list or {}) do
    lasting[#lasting + 1] = one.propagate and one or nil
  end
  return lasting[1] and lasting or nil
end

return criteria
