--- synchronizing: what the objects of a session show after an update or delete statement of their class. Which of them the
-- statement concerns is worked out in Lua from its condition ("evaluate") or asked of the database by their keys
-- ("fetch"); "auto" takes the first where it can.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local statement = import "statement"
local mapper_module = import "mapper"
local loading = import "loading"
local evaluating = import "evaluating"

local synchronizing = {}
local unpack = table.unpack or unpack

local MODES = { auto = true, evaluate = true, fetch = true }

--- Checks what was said to do.
---@param mode any
---@return string|false
function synchronizing.mode(mode)
  if mode == nil then
    return "auto"
  elseif mode ~= false and not MODES[mode] then
    errors.raise("ArgumentError", "synchronize_session is \"auto\", \"evaluate\", \"fetch\" or false, got %s", errors.show(mode))
  end
  return mode
end

-- ---- which objects ----

local function is_of(object, mapper)
  local own = mapper_module.of_object(object)
  while own do
    if own == mapper then
      return true
    end
    own = own.inherits
  end
  return false
end

-- The objects for which the condition holds, and those of which that is not known.
local function evaluated(session, mapper, test)
  local matched, unknown = {}, {}
  for _, object in ipairs(core.objects(session[1])) do
    if is_of(object, mapper) then
      local holds = test(object)
      if holds == evaluating.UNKNOWN then
        unknown[#unknown + 1] = object
      elseif holds == true or holds == 1 then
        matched[#matched + 1] = object
      end
    end
  end
  return matched, unknown
end

local function condition_of(stmt)
  local wheres = stmt.wheres or {}
  return #wheres > 0 and expression.and_(unpack(wheres)) or expression.all
end

-- The keys of the rows that the statement is about to change tell which objects it concerns.
local function fetched(session, mapper, stmt, params)
  local columns, matched = {}, {}
  for position, number in ipairs(mapper:key_numbers()) do
    columns[position] = loading.as_stored(mapper:attribute(mapper.column_keys[number]))
  end
  local select = statement.select(unpack(columns)):select_from(mapper.class)
  for _, condition in ipairs(stmt.wheres or {}) do
    select = select:where(condition)
  end
  for row in session:connection(mapper):execute(select, params) do
    matched[#matched + 1] = core.find(session[1], mapper.class, row())
  end
  return matched, {}
end

local function find_objects(session, mapper, stmt, mode, params)
  local test, reason
  if mode ~= "fetch" and params == nil then
    test, reason = evaluating.evaluator(condition_of(stmt), mapper)
  end
  if test then
    return evaluated(session, mapper, test)
  elseif mode == "evaluate" then
    errors.raise("InvalidRequestError", "synchronize_session = \"evaluate\": this %s cannot be evaluated in Lua (%s); use "
      .. "\"fetch\" or \"auto\"", stmt.visit, reason or "it has parameters")
  end
  return fetched(session, mapper, stmt, params)
end

-- ---- what happens to them ----

-- A value as the database would have it, for an expression that Lua can work out.
local function setters_of(mapper, stmt)
  local setters = {}
  for position, column in ipairs(stmt.columns or {}) do
    local origin = column.origin or column
    setters[position] = { origin = origin, evaluate = evaluating.evaluator(stmt.values_[position], mapper) }
  end
  return setters
end

-- Changes that wait stay; what is not loaded is read when it is asked for.
local function may_change(object, number)
  return number and core.old(object, number) == nil and core.is_given(object, number)
end

local function forget_followers(object, own)
  for number, key in ipairs(own.column_keys) do
    local column = own.attributes[key].origin
    if (column.onupdate ~= nil or column.computed ~= nil) and may_change(object, number) then
      core.unload(object, number)
    end
  end
end

-- All new values are of what was before.
local function values_for(object, setters)
  local values = {}
  for position, setter in ipairs(setters) do
    local value = evaluating.UNKNOWN
    if setter.evaluate then
      value = setter.evaluate(object)
    end
    values[position] = value == nil and core.null or value
  end
  return values
end

local function show_update(object, setters)
  local own, values = mapper_module.of_object(object), values_for(object, setters)
  forget_followers(object, own)
  for position, setter in ipairs(setters) do
    local number = own:number_of_column(setter.origin)
    if may_change(object, number) and values[position] == evaluating.UNKNOWN then
      core.unload(object, number)
    elseif may_change(object, number) then
      core.set_raw(object, number, values[position])
    end
  end
end

local function forget_set(object, setters)
  local own = mapper_module.of_object(object)
  for _, setter in ipairs(setters) do
    local number = own:number_of_column(setter.origin)
    if may_change(object, number) then
      core.unload(object, number)
    end
  end
  forget_followers(object, own)
end

local FINISH = {
  update = function(_, mapper, stmt, matched, unknown)
    local setters = setters_of(mapper, stmt)
    for _, object in ipairs(matched) do
      show_update(object, setters)
    end
    for _, object in ipairs(unknown) do
      forget_set(object, setters)
    end
  end,
  ["delete"] = function(session, _, _, matched, unknown)
    for _, object in ipairs(matched) do
      core.mark_deleted(session[1], object)
    end
    for _, object in ipairs(unknown) do
      core.forget(object)
    end
  end,
}

--- Finds the objects that a statement concerns, before it runs; gives what is to be called when it has run.
---@param session table
---@param stmt table update or delete of a class
---@param mode string|false
---@param params? table
---@return function
function synchronizing.begin(session, stmt, mode, params)
  if mode == false then
    return function() end
  end
  local mapper = stmt.of.mapper
  local matched, unknown = find_objects(session, mapper, stmt, mode, params)
  return function(changed)
    FINISH[stmt.visit](session, mapper, changed or stmt, matched, unknown)
  end
end

return synchronizing
