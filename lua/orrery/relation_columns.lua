--- relation_columns: by which columns a relationship joins. Asks the core, which goes by the foreign keys (relation.c), or
-- reads the script's own conditions (joincondition.lua); both give the same two things, an answer in positions and a
-- condition in columns.
local import = ...
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local schema = import "schema"
local statement = import "statement"
local joincondition = import "joincondition"
local late = import "late"

local relation_columns = {}
local unpack = table.unpack or unpack
local base_column = joincondition.base

-- ---- the link table ----

-- A join as the way to the target is read as a subquery, so that its tables and the target's do not mix.
local function link_subquery(join)
  local columns = {}
  for position, column in ipairs(join.columns) do
    columns[position] = column:label(("%s_%s"):format(column.table.name or "t" .. position, column.name))
  end
  return statement.select(unpack(columns)):select_from(join):subquery()
end

local function check_link(property, node)
  if not property.options.viewonly then
    errors.raise("ArgumentError", "%s: its secondary is a %s, whose rows cannot be written; set viewonly = true",
      property:describe(), node.visit)
  end
  property.link_join = node.visit == "join" and node or nil
  return node.visit == "join" and link_subquery(node) or node
end

--- The link table of a relationship, or what stands for it; nil where it has none.
---@param property orrery.Relationship
function relation_columns.secondary(property)
  local secondary = property.options.secondary
  if type(secondary) == "function" then
    secondary = secondary(property.parent.class, property.aliased or property.mapper.class)
  end
  if type(secondary) == "string" then
    local tables = property.parent.registry.metadata.tables
    local found = rawget(tables, secondary)
    if not found then
      errors.raise("InvalidRequestError", "%s: secondary names the table '%s', which is not declared%s", property:describe(),
        secondary, errors.hint(secondary, errors.sorted_keys(tables)))
    end
    return found
  elseif secondary ~= nil and not schema.is_table(secondary) then
    local mark, node = getmetatable(secondary), expression.clause(secondary)
    local mapper = type(mark) == "table" and mark.__mapper
    if node and (node.visit == "join" or node.visit == "subquery" or node.visit == "alias" or node.visit == "cte") then
      return check_link(property, node)
    elseif not mapper then
      errors.raise("ArgumentError", "%s: secondary must be a table or its name, got %s", property:describe(), type(secondary))
    end
    return mapper.table
  end
  return secondary
end

-- ---- what the foreign keys say ----

local function question(property)
  return {
    parent = property.near.id, target = property.far.id,
    secondary = schema.is_table(property.secondary) and property.secondary.id or nil, uselist = property.options.uselist,
    class = property.parent.name, attribute = property.key, target_class = property.mapper.name,
  }
end

-- What follows from the tables' foreign keys alone.
local function ask_core(property, foreign_keys)
  local asked = question(property)
  asked.foreign_keys = foreign_keys or late.places(property, "foreign_keys")
  asked.remote_side = late.places(property, "remote_side")
  return property.near.metadata.handle:relate(asked)
end

-- The tables that a class's rows stand in, its own first.
local function tables_of(mapper)
  local list = {}
  while mapper do
    list[#list + 1] = mapper.table
    mapper = hierarchy.above(mapper)
  end
  return list
end

local function is_key(columns)
  for _, column in ipairs(columns) do
    if not column.primary_key then
      return false
    end
  end
  return true
end

-- The foreign keys between two tables of one family, without those by which a row belongs to the row above it.
local function keys_within(near, far)
  local found = {}
  for _, side in ipairs(near == far and { near } or { near, far }) do
    local other = side == near and far or near
    for _, key in ipairs(side.foreign_key_constraints) do
      if (key:target()) == other and (near == far or not is_key(key.columns)) then
        found[#found + 1] = key
      end
    end
  end
  return found
end

local function places_of(key)
  local list = {}
  for position, column in ipairs(key.columns) do
    list[position] = { column.table.id, column.position }
  end
  return list
end

local function try_tables(property, near, far)
  local family = hierarchy.base(property.parent) == hierarchy.base(property.mapper) and not property.secondary
  local keys = family and property.options.foreign_keys == nil and keys_within(near, far)
  if keys and not keys[1] then
    return false
  end
  property.near, property.far = near, far
  return pcall(ask_core, property, keys and #keys == 1 and places_of(keys[1]) or nil)
end

-- The foreign key may stand in, or refer to, any table of the two families; their own tables come first.
local function ask_of_families(property)
  local nears, fars, first = tables_of(property.parent), tables_of(property.mapper), nil
  for _, near in ipairs(nears) do
    for _, far in ipairs(fars) do
      local ok, answer = try_tables(property, near, far)
      if ok then
        return answer
      elseif errors.is_error(answer, "AmbiguousForeignKeysError") then
        error(answer, 0)
      end
      first = first or answer
    end
  end
  property.near, property.far = nears[1], fars[1]
  if first then
    error(first, 0)
  end
  return ask_core(property)
end

local function ask(property)
  local spread = hierarchy.above(property.parent) or hierarchy.above(property.mapper)
  return spread and ask_of_families(property) or ask_core(property)
end

local function columns_of_pairs(list, left, right)
  local result = {}
  for position, pair in ipairs(list) do
    result[position] = { left.columns[pair[1]], right.columns[pair[2]] }
  end
  return result
end

local function condition_of_answer(property, answer)
  local parent, target, link = property.near, property.far, property.secondary
  if answer.direction ~= "manytomany" then
    return { direction = answer.direction, pairs = columns_of_pairs(answer.pairs, parent, target), sides = {}, keyed = true }
  end
  return { direction = answer.direction, pairs = columns_of_pairs(answer.secondary_pairs, parent, link),
    links = columns_of_pairs(answer.target_pairs, target, link), sides = {}, keyed = true }
end

local function positions_of_pairs(list)
  local result = {}
  for position, pair in ipairs(list) do
    result[position] = { base_column(pair[1]).position, base_column(pair[2]).position }
  end
  return result
end

local function is_list(property, condition)
  local wish = property.options.uselist
  if condition.direction == "manytoone" then
    if wish then
      errors.raise("ArgumentError", "%s: uselist = true on a many-to-one: by its primaryjoin the foreign key stands on '%s', so "
        .. "one %s has one %s", property:describe(), property.parent.table.name, property.parent.name, property.mapper.name)
    end
    return false
  elseif wish ~= nil or condition.direction == "manytomany" or #condition.pairs == 0 then
    return wish ~= false
  end
  local positions = {}
  for position, pair in ipairs(condition.pairs) do
    positions[position] = base_column(pair[2]).position
  end
  return not property.far.metadata.handle:is_unique(property.far.id, positions)
end

-- The near and far tables are those that the pairs' columns stand on.
local function answer_of_condition(property, condition)
  local pair, link = condition.pairs[1], (condition.links or condition.pairs)[1]
  if pair and link then
    property.near, property.far = base_column(pair[1]).table, base_column(link[condition.links and 1 or 2]).table
  end
  local answer = question(property)
  answer.direction, answer.uselist = condition.direction, is_list(property, condition)
  if condition.links then
    answer.secondary_pairs, answer.target_pairs = positions_of_pairs(condition.pairs), positions_of_pairs(condition.links)
  else
    answer.pairs = positions_of_pairs(condition.pairs)
  end
  return answer
end

-- Columns of a join that is the secondary are read from the subquery in its place; the class's own columns are not meant.
local function through_link(property, node, mapper)
  if not node or not property.link_join then
    return node
  end
  local inside = {}
  for _, column in ipairs(property.link_join.columns) do
    inside[base_column(column)] = true
  end
  return joincondition.map(node, function(column)
    local own = base_column(column)
    return inside[own] and own.table ~= mapper.table and joincondition.on(property.secondary, own) or nil
  end)
end

local function read_joins(property)
  local primary, second = late.condition(property, "primaryjoin"), late.condition(property, "secondaryjoin")
  local link = property.secondary
  if second and not link then
    errors.raise("ArgumentError", "%s: secondaryjoin is the condition between the target and the secondary table; give secondary "
      .. "too", property:describe())
  elseif not primary and not second and not property.entity and (not link or schema.is_table(link)) then
    return nil
  elseif not primary and property.entity then
    errors.raise("ArgumentError", "%s: a relationship to an aliased class needs a primaryjoin", property:describe())
  end
  return joincondition.read{
    name = property:describe(), parent = property.parent, target = property.mapper, source = property:source(),
    secondary = link, primaryjoin = through_link(property, primary, property.parent),
    secondaryjoin = through_link(property, second, property.mapper),
    foreign_keys = late.column_set(property, "foreign_keys"), remote_side = late.column_set(property, "remote_side"),
    viewonly = property.options.viewonly,
  }
end

--- What a relationship joins by: what the core's relate() gives, and the condition.
---@param property orrery.Relationship whose near and far tables are its classes' own, and are set to those of the columns
---@return table answer
---@return orrery.JoinCondition condition
function relation_columns.find(property)
  local condition = read_joins(property)
  if condition then
    return answer_of_condition(property, condition), condition
  end
  local answer = ask(property)
  return answer, condition_of_answer(property, answer)
end

return relation_columns
