--- from_statement: objects and columns from the rows of a statement that the script has written, found there by name.
local import = ...
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local shaping = import "shaping"
local loading = import "loading"

local from_statement = {}

-- Result columns by name; of a name that stands there twice, the first.
local function places_of(names)
  local places = {}
  for position, name in ipairs(names) do
    places[name] = places[name] or position
  end
  return places
end

local function check_key(entity, left)
  for _, column in ipairs(hierarchy.base(entity.mapper).table.primary_key) do
    if left[entity.mapper:number_of_column(column)] then
      errors.raise("InvalidRequestError", "from_statement(): the statement has no column '%s', by which objects of '%s' are "
        .. "found", column.name, entity.mapper.name)
    end
  end
end

-- The entity with those of its columns that the statement has; what it lacks is loaded when it is read.
local function shown_entity(entity, places)
  local left = {}
  for position, column in ipairs(entity.columns) do
    local number = entity.numbers and entity.numbers[position] or position
    left[number] = not places[column.name] and true or nil
  end
  check_key(entity, left)
  return shaping.narrowed(entity, left)
end

local function place_of(column, places)
  local place = places[column.name]
  if not place then
    errors.raise("InvalidRequestError", "from_statement(): the statement has no column '%s'%s", column.name,
      errors.hint(column.name, errors.sorted_keys(places)))
  end
  return place
end

-- What the plan reads, as if it had been compiled: columns and items, and where the columns stand in the rows.
local function matched(compiled, places)
  local shown, order = { columns = {}, raw = {} }, {}
  local function add(column)
    shown.columns[#shown.columns + 1], order[#order + 1] = column, place_of(column, places)
  end
  for position, item in ipairs(compiled.raw) do
    local first = #order + 1
    if item.entity then
      local entity = shown_entity(item.entity, places)
      for _, column in ipairs(entity.columns) do
        add(column)
      end
      shown.raw[position] = { entity = entity, first = first, count = #order - first + 1 }
    else
      add(compiled.columns[item.column])
      shown.raw[position] = { column = first, name = item.name, type = item.type }
    end
  end
  return shown, order
end

--- The plan by which the rows of a statement become what a select wants; kept by the names that the statement has.
---@param compiled table
---@param names string[] of the result's columns
---@return table plan
function from_statement.plan(compiled, names)
  local key = table.concat(names, "\0")
  compiled.plans_by_names = compiled.plans_by_names or {}
  local plan = compiled.plans_by_names[key]
  if not plan then
    local shown, order = matched(compiled, places_of(names))
    plan = loading.new_plan(shown, #shown.raw, order)
    compiled.plans_by_names[key] = plan
  end
  return plan
end

--- Whether a statement is one of these.
---@param stmt any
---@return boolean
function from_statement.is(stmt)
  return type(stmt) == "table" and expression.clause(stmt) ~= nil and stmt.visit == "from_statement"
end

return from_statement
