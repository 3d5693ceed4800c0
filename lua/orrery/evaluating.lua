--- evaluating: conditions and values of statements, worked out in Lua for objects that are loaded: what an update or delete
-- statement means for the objects of a session, without asking the database. Knows only what every database does alike;
-- the rest it declines.
local import = ...
local core = import "core"
local expression = import "expression"
local mapper_module = import "mapper"

local evaluating = {}
local kinds = core.kinds

--- Stands for a value that an object has not loaded.
evaluating.UNKNOWN = {}
local UNKNOWN = evaluating.UNKNOWN

local function decline(what)
  error({ declined = what }, 0)
end

-- Values of these kinds are equal in Lua exactly when they are in the database; only numbers sort alike, too.
local EQUAL = { [kinds.INTEGER] = true, [kinds.FLOAT] = true, [kinds.TEXT] = true, [kinds.BOOLEAN] = true, [kinds.DATE] = true,
  [kinds.TIME] = true, [kinds.DATETIME] = true }
local NUMBERS = { [kinds.INTEGER] = true, [kinds.FLOAT] = true, [kinds.BOOLEAN] = true }

local MAKERS = {}

local function make(node, context)
  local maker = MAKERS[node.visit]
  if not maker then
    decline(node.visit)
  end
  return maker(node, context)
end

function MAKERS.column(node, context)
  local origin = node.origin or node
  if node.table ~= context.table or not context.mapper:number_of_column(origin) then
    decline("a column of another table")
  elseif not EQUAL[origin.type.kind] or origin.collation then
    decline("a column of this type")
  end
  return function(object)
    local number = mapper_module.of_object(object):number_of_column(origin)
    if core.is_given(object, number) or origin.primary_key then
      return core.stored(object, number)
    end
    return UNKNOWN
  end
end

-- A plain value beside a column has no type of its own.
local function kind_of(node)
  local kind = node.type.kind
  if kind ~= kinds.ANY or node.visit ~= "bind" then
    return kind
  end
  return type(node.value) == "number" and kinds.FLOAT or type(node.value) == "string" and kinds.TEXT
    or type(node.value) == "boolean" and kinds.BOOLEAN or kind
end

function MAKERS.bind(node)
  if node.value == nil then
    decline("a value that comes later")
  elseif not EQUAL[kind_of(node)] then
    decline("a value of this type")
  end
  local value = node.type:to_db(node.value)
  if value == core.null then
    value = nil
  end
  return function() return value end
end

MAKERS["null"] = function()
  return function() return nil end
end

function MAKERS.all()
  return function() return true end
end

function MAKERS.constant(node)
  local value = node.text == "true"
  return function() return value end
end

function MAKERS.label(node, context)
  return make(node.element, context)
end

-- What is NULL on a side makes NULL.
local function strict(fn)
  return function(left, right)
    if left == UNKNOWN or right == UNKNOWN then
      return UNKNOWN
    elseif left == nil or right == nil then
      return nil
    end
    return fn(left, right)
  end
end

-- Values that may hold NULL on a side.
local function plain(fn)
  return function(left, right)
    if left == UNKNOWN or right == UNKNOWN then
      return UNKNOWN
    end
    return fn(left, right)
  end
end

local SAME = {
  eq = strict(function(left, right) return left == right end),
  ne = strict(function(left, right) return left ~= right end),
  is_ = plain(function(left, right) return left == right end),
  is_not = plain(function(left, right) return left ~= right end),
  concat = strict(function(left, right) return left .. right end),
}
local NUMERIC = {
  lt = strict(function(left, right) return left < right end),
  le = strict(function(left, right) return left <= right end),
  gt = strict(function(left, right) return left > right end),
  ge = strict(function(left, right) return left >= right end),
  add = strict(function(left, right) return left + right end),
  sub = strict(function(left, right) return left - right end),
  mul = strict(function(left, right) return left * right end),
}

-- Text beside a number is converted by rules of the database's own.
local function check_kinds(node, name)
  local left, right = kind_of(node.left), kind_of(node.right)
  local numbers = NUMBERS[left] and NUMBERS[right]
  local alike = left == right or numbers or node.right.visit == "null" or node.left.visit == "null"
  if not alike or (NUMERIC[name] and not numbers) or (name == "concat" and left ~= kinds.TEXT) then
    decline("a comparison of these types")
  end
end

function MAKERS.binary(node, context)
  local name = node.operator.name
  local fn = SAME[name] or NUMERIC[name]
  if not fn or node.escape then
    decline("the operator " .. name)
  end
  check_kinds(node, name)
  local left, right = make(node.left, context), make(node.right, context)
  return function(object) return fn(left(object), right(object)) end
end

local CONDITIONS = { binary = true, junction = true, unary = true, membership = true, constant = true, all = true }

-- A column of truth values has numbers in the database.
local function make_condition(node, context)
  if not CONDITIONS[node.visit] then
    decline("a value in place of a condition")
  end
  return make(node, context)
end

-- AND is false where one part is, OR true; otherwise what is not known of one part is not known of all.
local function junction(decides)
  return function(parts, object)
    local unknown, null = false, false
    for _, part in ipairs(parts) do
      local value = part(object)
      if value == decides then
        return decides
      end
      unknown, null = unknown or value == UNKNOWN, null or value == nil
    end
    if unknown then
      return UNKNOWN
    elseif null then
      return nil
    end
    return not decides
  end
end
local JUNCTIONS = { and_ = junction(false), or_ = junction(true) }

function MAKERS.junction(node, context)
  local parts, fn = {}, JUNCTIONS[node.operator.name]
  for position, clause in ipairs(node.clauses) do
    parts[position] = make_condition(clause, context)
  end
  return function(object) return fn(parts, object) end
end

function MAKERS.unary(node, context)
  if node.operator ~= expression.OPERATORS.not_ then
    decline("the operator " .. node.operator.name)
  end
  local element = make_condition(node.element, context)
  return function(object)
    local value = element(object)
    if value == nil or value == UNKNOWN then
      return value
    end
    return not value
  end
end

local function is_member(values, value)
  local null = false
  for _, one in ipairs(values) do
    if one == value then
      return true
    end
    null = null or one == core.null
  end
  if null then
    return nil
  end
  return false
end

function MAKERS.membership(node, context)
  local list = node.members
  local kind = list.visit == "list" and list.type.kind
  if not EQUAL[kind] and kind ~= kinds.ANY then
    decline("in_() of this")
  end
  local element, values = make(node.element, context), {}
  for position, value in ipairs(list.values) do
    values[position] = value == core.null and core.null or list.type:to_db(value)
  end
  return function(object)
    local value = element(object)
    if value == nil or value == UNKNOWN then
      return value
    end
    local found = is_member(values, value)
    if found ~= nil and node.negated then
      return not found
    end
    return found
  end
end

--- A function of an object that gives an expression's value as the database has it (nil: NULL; UNKNOWN), or nil and the
--- reason where Lua cannot tell.
---@param node table
---@param mapper orrery.Mapper whose objects they are
---@return function?
---@return string? reason
function evaluating.evaluator(node, mapper)
  local ok, made = pcall(make, node, { mapper = mapper, table = mapper.table })
  if ok then
    return made
  elseif type(made) == "table" and made.declined then
    return nil, made.declined
  end
  error(made, 0)
end

return evaluating
