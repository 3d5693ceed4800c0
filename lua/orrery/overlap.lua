--- overlap: warns where two relationships write the same column and do not know of each other: each would undo, at the
-- next flush, what the other one did.
local import = ...
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local joincondition = import "joincondition"

local overlap = {}

-- The columns that a relationship writes, each with the one whose value it gets.
local function written(property)
  local condition, list = property.condition, {}
  for _, pair in ipairs(condition.pairs) do
    local from, to = joincondition.base(pair[1]), joincondition.base(pair[2])
    if condition.direction == "manytoone" then
      from, to = to, from
    end
    list[#list + 1] = { from = from, to = to }
  end
  for _, pair in ipairs(condition.links or {}) do
    list[#list + 1] = { from = joincondition.base(pair[1]), to = joincondition.base(pair[2]) }
  end
  return list
end

local function names(property, other)
  for name in (property.options.overlaps or ""):gmatch("[^,%s]+") do
    if name == other.key then
      return true
    end
  end
  return false
end

-- Two classes of one family of which neither inherits from the other: no object is of both.
local function are_siblings(one, other)
  return hierarchy.base(one) == hierarchy.base(other) and not hierarchy.is_a(one, other) and not hierarchy.is_a(other, one)
end

local function knows(property, other)
  return property == other or property.reverse == other or other.reverse == property or names(property, other)
    or names(other, property) or (property.key == other.key and hierarchy.base(property.parent) == hierarchy.base(other.parent))
    or are_siblings(property.parent, other.parent) or are_siblings(property.mapper, other.mapper)
    or are_siblings(property.parent, other.mapper) or are_siblings(property.mapper, other.parent)
end

-- One is seen from the one side, the other from the other side, of the same foreign key.
local function are_two_sides(property, other)
  return property.parent == other.mapper and property.mapper == other.parent and (property.direction ~= other.direction
    or property.direction == "manytomany")
end

local function show(column)
  return "'" .. expression.describe(column) .. "'"
end

local function warn(property, other, pair)
  if are_two_sides(property, other) then
    errors.warn("%s and %s write the same column, %s, and do not know of each other; link them with back_populates = \"%s\" and "
      .. "back_populates = \"%s\"", other:describe(), property:describe(), show(pair.to), property.key, other.key)
    return
  end
  errors.warn("%s and %s write the same column: both put a value into %s, so that the one that is flushed last wins; set "
    .. "viewonly = true on the one that is only read, or overlaps = \"%s\" on %s where this is meant", other:describe(),
    property:describe(), show(pair.to), other.key, property:describe())
end

--- Notes what a relationship writes, and warns of those that write the same.
---@param property orrery.Relationship
function overlap.check(property)
  if property.options.viewonly then
    return
  end
  local registry, told = property.parent.registry, {}
  registry.writers = registry.writers or {} -- [column] = the relationships that write it, in the order of configuration
  local writers = registry.writers
  for _, pair in ipairs(written(property)) do
    local list = writers[pair.to] or {}
    for _, other in ipairs(list) do
      if not told[other] and not knows(property, other) then
        told[other] = true
        warn(property, other, pair)
      end
    end
    list[#list + 1], writers[pair.to] = property, list
  end
end

return overlap
