--- shaping: which of a class's columns a query loads: what the class defers by itself, and what the options load_only,
-- defer, undefer and with_expression say. Gives entity nodes that have these columns; what becomes of the rest is
-- noted in them for the load plan (loading.lua), which marks it in each object.
local import = ...
local reading = import "reading"
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"
local adapting = reading.later "adapting"

local shaping = {}

-- ---- rules ----

---@class orrery.ColumnRule what one option says about the columns of one class
---@field kind string "defer", "undefer", "load_only", "group" or "expression"
---@field mapper? table nil: of any class
---@field table? table the table or alias whose columns are meant
---@field keys? string[] nil: all
---@field raise? boolean what is left out must not be loaded later
local OPTIONS = { raiseload = true }
local GIVES_RAISE = { defer = true, load_only = true }

local function attribute_of(value, call, position)
  local mark = getmetatable(value)
  local class = type(value) == "table" and expression.is_element(value) and rawget(value, "class")
  if not class then
    local is_relationship = type(mark) == "table" and mark.__relationship
    errors.raise("ArgumentError", "%s: argument %d must be a column attribute such as User.name, got %s", call, position,
      is_relationship and "a relationship; write orm.lazyload(...) or orm.selectinload(...) for those" or errors.show(value))
  end
  return value, mapper_module.of(class)
end

-- load_only(User.a, User.b, { raiseload = true })
local function split(kind, call, ...)
  local count, arguments = select("#", ...), { ... }
  local last, options = arguments[count], {}
  if type(last) == "table" and getmetatable(last) == nil and GIVES_RAISE[kind] then
    options, arguments[count], count = errors.check_options(last, OPTIONS, call), nil, count - 1
  end
  return arguments, count, options
end

local function check_group(name, call)
  if type(name) ~= "string" then
    errors.raise("ArgumentError", "%s: the name of a group expected, got %s", call, errors.show(name))
  end
  return name
end

local function read_attributes(rule, arguments, count, call)
  rule.keys = {}
  for position = 1, count do
    local attribute, mapper = attribute_of(arguments[position], call, position)
    if rule.mapper and (rule.mapper ~= mapper or rule.table ~= attribute.table) then
      errors.raise("ArgumentError", "%s: all attributes must be of one class, got '%s' and '%s'; write an option for each",
        call, rule.mapper.name, mapper.name)
    end
    rule.mapper, rule.table, rule.keys[position] = mapper, attribute.table, attribute.key
  end
  if count == 0 then
    errors.raise("ArgumentError", "%s needs an attribute such as User.name", call)
  end
  return rule
end

-- with_expression(User.score, expression)
local function expression_rule(call, attribute, ...)
  local rule = { kind = "expression", raise = false }
  read_attributes(rule, { attribute }, 1, call)
  local origin = rule.mapper.attributes[attribute.key].origin
  if not origin.by_query then
    errors.raise("ArgumentError", "%s: %s.%s is no query_expression()", call, rule.mapper.name, attribute.key)
  end
  rule.expression = expression.expect_operand((...), call, 2)
  return rule
end

--- What an option about columns says.
---@param kind string
---@param ... any its arguments
---@return orrery.ColumnRule
function shaping.rule(kind, ...)
  local call = (kind == "group" and "undefer_group" or kind) .. "()"
  if kind == "group" then
    return { kind = kind, group = check_group((...), call) }
  end
  if kind == "expression" then
    return expression_rule("with_expression()", ...)
  end
  local arguments, count, options = split(kind, call, ...)
  local rule = { kind = kind, raise = options.raiseload or false }
  if arguments[1] == "*" and count == 1 and kind ~= "load_only" then
    return rule
  end
  return read_attributes(rule, arguments, count, call)
end

-- ---- what follows from them ----

local LEFT, RAISE = true, "raise"

-- What the class says of a column where no option does: nil, LEFT or RAISE.
local function by_default(mapper, number)
  local column = mapper.attributes[mapper.column_keys[number]].origin
  return column.deferred and (column.deferred_raiseload and RAISE or LEFT) or nil
end

local function in_group(mapper, group)
  local numbers = {}
  for number, key in ipairs(mapper.column_keys) do
    if mapper.attributes[key].origin.deferred_group == group then
      numbers[#numbers + 1] = number
    end
  end
  return numbers
end

local function numbers_of(mapper, rule)
  if rule.kind == "group" then
    return in_group(mapper, rule.group)
  end
  local numbers = {}
  for position, key in ipairs(rule.keys) do
    numbers[position] = mapper:number_of(key)
  end
  return numbers
end

-- One option after the other: `all` holds for every column about which no option speaks by name.
local function apply(rule, mapper, verdict)
  local what = rule.raise and RAISE or LEFT
  if rule.kind == "load_only" then
    verdict.all = what
  elseif not rule.keys and rule.kind ~= "group" then
    verdict.all = rule.kind == "defer" and what
    return
  end
  for _, number in ipairs(numbers_of(mapper, rule)) do
    verdict[number] = rule.kind == "defer" and what
  end
end

local function read_rules(mapper, rules)
  local verdict = {}
  for _, rule in ipairs(rules) do
    if rule.mapper == nil or mapper:is_a(rule.mapper) then
      apply(rule, mapper, verdict)
    end
  end
  return verdict
end

--- The numbers of the columns that a query leaves out: true for each, or "raise" where it forbids to load it later.
---@param mapper table
---@param rules orrery.ColumnRule[]
---@return table<integer, true|string>
function shaping.left_out(mapper, rules)
  local verdict, left = read_rules(mapper, rules), {}
  for number, key in ipairs(mapper.column_keys) do
    local what = verdict[number]
    if what == nil then
      what = verdict.all
    end
    if what == nil then
      what = by_default(mapper, number)
    end
    left[number] = not mapper.attributes[key].origin.primary_key and not hierarchy.is_discriminator(mapper, number) and what
      or nil
  end
  return left
end

-- ---- entities with some of their columns ----

local function lists_of(mapper, left)
  local out, refused, text = {}, {}, {}
  for number = 1, #mapper.column_keys do
    local what = left[number]
    if what then
      out[#out + 1], text[#text + 1] = number, what == RAISE and "!" .. number or number
      refused[#refused + 1] = what == RAISE and number or nil
    end
  end
  return out, refused, table.concat(text, ",")
end

local function without(entity, left, out, refused)
  local mapper, columns, numbers = entity.mapper, {}, {}
  for position, column in ipairs(entity.columns) do
    local number = entity.numbers and entity.numbers[position] or position
    if not left[number] then
      columns[#columns + 1], numbers[#numbers + 1] = column, number
    end
  end
  return expression.new{ visit = "entity", class = mapper.class, table = entity.table, columns = columns, mapper = mapper,
    name = entity.name, numbers = numbers, left = out, refused = refused, kinds = entity.kinds,
    generation = entity.generation, criterion = entity.criterion, with = entity.with,
    has_expressions = entity.has_expressions }
end

--- The entity without some of its columns; the same one each time for a class's own entity.
---@param entity table
---@param left table<integer, true|string> numbers as of left_out()
---@return table entity
function shaping.narrowed(entity, left)
  local mapper = entity.mapper
  local out, refused, key = lists_of(mapper, left)
  if key == "" then
    return entity
  elseif entity ~= mapper.entity_node then
    return without(entity, left, out, refused)
  end
  mapper.shapes = mapper.shapes or {}
  local found = mapper.shapes[key]
  if not found then
    found = without(entity, left, out, refused)
    mapper.shapes[key] = found
  end
  return found
end

--- Whether a class leaves columns out by itself.
---@param mapper table
---@return boolean
function shaping.defers(mapper)
  if mapper.defers == nil then
    mapper.defers = next(shaping.left_out(mapper, {})) ~= nil
  end
  return mapper.defers
end

-- with_expression(User.score, expression): the attribute as this query has it.
local function put_expression(copy, rule)
  local key, mapper = rule.keys[1], copy.mapper
  local number, place = mapper:number_of(key), #copy.columns + 1
  for position, one in ipairs(copy.numbers) do
    place = one == number and position or place
  end
  local from = rule.table or mapper.table
  local element = adapting.moved(rule.expression, from, copy.table)
  copy.columns[place] = expression.new{ visit = "label", name = key, key = key, element = element, type = element.type,
    origin = mapper.attributes[key].origin, class = mapper.class }
  copy.numbers[place], copy.has_expressions = number, true
end

local function copy_of(entity)
  local copy = { columns = {}, numbers = {} }
  for position, column in ipairs(entity.columns) do
    copy.columns[position] = column
    copy.numbers[position] = entity.numbers and entity.numbers[position] or position
  end
  for name, value in next, entity do
    copy[name] = copy[name] or value
  end
  return expression.new(copy)
end

local function with_expressions(entity, rules)
  local copy
  for _, rule in ipairs(rules) do
    if rule.kind == "expression" and rule.mapper == entity.mapper then
      copy = copy or copy_of(entity)
      put_expression(copy, rule)
    end
  end
  return copy or entity
end

--- The entity that a query loads: with the columns that the class does not defer, as the rules change that.
---@param entity table
---@param rules? orrery.ColumnRule[]
---@return table
function shaping.shaped(entity, rules)
  if not rules and not shaping.defers(entity.mapper) then
    return entity
  end
  return with_expressions(shaping.narrowed(entity, shaping.left_out(entity.mapper, rules or {})), rules or {})
end

--- The entity that has just the key and the columns of these numbers.
---@param mapper table
---@param numbers integer[]
---@return table
function shaping.only(mapper, numbers)
  local left, wanted = {}, {}
  for _, number in ipairs(numbers) do
    wanted[number] = true
  end
  for number, key in ipairs(mapper.column_keys) do
    left[number] = not wanted[number] and not mapper.attributes[key].origin.primary_key
      and not hierarchy.is_discriminator(mapper, number) or nil
  end
  return shaping.narrowed(mapper:entity(), left)
end

--- The numbers of what is loaded along with a deferred column: its group, as far as `left` has it, or itself.
---@param mapper table
---@param number integer
---@param left table<integer, any>
---@return integer[]
function shaping.companions(mapper, number, left)
  local group, numbers = mapper.attributes[mapper.column_keys[number]].origin.deferred_group, {}
  for _, one in ipairs(group and in_group(mapper, group) or { number }) do
    if one == number or left[one] == LEFT then
      numbers[#numbers + 1] = one
    end
  end
  return numbers
end

return shaping
