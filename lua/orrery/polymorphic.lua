--- polymorphic: the columns that subclasses have in tables of their own, loaded for all objects of a query at once. Which
-- subclasses that are is said by options and classes (loader_option.lua).
local import = ...
local core = import "core"
local compiler = import "compiler"
local statement = import "statement"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"
local shaping = import "shaping"
local loading = import "loading"
local criteria = import "criteria"
local related = import "related"

local polymorphic = {}
local unpack = table.unpack or unpack

-- The attribute numbers of the columns that a class has outside the topmost table, without those that it defers.
local function added_numbers(mapper)
  local numbers, shared = {}, hierarchy.base(mapper).table
  for number, key in ipairs(mapper.column_keys) do
    local origin = mapper.attributes[key].origin
    local added = not origin.read_only and not origin.deferred and origin.table ~= shared
    numbers[#numbers + 1] = added and number or nil
  end
  return numbers
end

local function key_of(object, numbers)
  local key = {}
  for position, number in ipairs(numbers) do
    key[position] = core.stored(object, number)
  end
  return #key == 1 and key[1] or key
end

local function lacks(object, numbers)
  for _, number in ipairs(numbers) do
    if core.is_missing(object, number) then
      return true
    end
  end
  return false
end

-- The keys of the objects that are of a class and lack what it adds.
local function lacking(mapper, objects, numbers)
  local keys, key_numbers = {}, mapper:key_numbers()
  for _, object in ipairs(objects) do
    if mapper_module.of_object(object):is_a(mapper) and lacks(object, numbers) then
      keys[#keys + 1] = key_of(object, key_numbers)
    end
  end
  return keys
end

local function key_columns(mapper)
  local columns = {}
  for position, number in ipairs(mapper:key_numbers()) do
    columns[position] = mapper:attribute(mapper.column_keys[number])
  end
  return columns
end

--- Loads what a subclass adds, for those among the objects that are of it and lack it.
---@param work orrery.LoadWork
---@param mapper orrery.Mapper of the subclass
---@param objects userdata[]
---@param holding? orrery.Criterion[] what holds for classes in the query
function polymorphic.load(work, mapper, objects, holding)
  local numbers, session = added_numbers(mapper), work.session
  local keys = numbers[1] and lacking(mapper, objects, numbers) or {}
  for first = 1, #keys, related.KEYS do
    local some = { unpack(keys, first, math.min(first + related.KEYS - 1, #keys)) }
    local select = statement.select(shaping.only(mapper, numbers)):where(loading.in_keys(key_columns(mapper), some))
    local compiled, values = compiler.cached(criteria.on(select, holding), session.engine.dialect, session.engine.cache)
    loading.run(session, compiled, values, { populated = work.populated, kilobytes = work.kilobytes })
  end
end

return polymorphic
