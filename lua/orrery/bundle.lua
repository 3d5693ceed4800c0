--- bundle: columns that stand in a row as one value of their own: select(Bundle("place", User.city, User.street)), then
-- row.place.city; composite attributes, which are such values, too. What is selected is flat; the rows are put together here.
local import = ...
local errors = import "errors"
local expression = import "expression"
local result = import "result"
local statement = import "statement"

local bundle = {}

local SHAPES = setmetatable({}, { __mode = "k" })

---@class orrery.Bundle
---@field c table<string, table> its columns by name

-- ---- what a script writes ----

local function name_of(element, position)
  return element.visit == "column" and (element.key or element.name) or element.name or ("column_%d"):format(position)
end

local function columns_of(name, ...)
  local columns, by_name = {}, {}
  for position = 1, select("#", ...) do
    local element = expression.expect_operand((select(position, ...)), "Bundle()", position + 1)
    local key = name_of(element, position)
    if by_name[key] then
      errors.raise("ArgumentError", "Bundle('%s'): two columns are named '%s'; label one of them", name, key)
    end
    columns[position], by_name[key] = element, element
  end
  if #columns == 0 then
    errors.raise("ArgumentError", "Bundle('%s') needs columns", name)
  end
  return columns, by_name
end

--- Columns that come in a row as one value: Bundle("place", User.city, User.street). Its columns are read from it, too:
--- bundle.c.city, for conditions and orders.
---@param name string
---@param ... any columns and expressions
---@return orrery.Bundle
function bundle.Bundle(name, ...)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "Bundle(): the first argument is its name, got %s", errors.show(name))
  end
  local columns, by_name = columns_of(name, ...)
  local node = expression.new{ visit = "bundle", name = name, elements = columns }
  local self = { c = setmetatable(by_name, { __index = function(_, key)
    errors.raise("ArgumentError", "Bundle('%s') has no column '%s'%s", name, tostring(key),
      errors.hint(tostring(key), errors.sorted_keys(by_name)))
  end }) }
  return setmetatable(self, { __metatable = { __name = "orrery.bundle", __clause = function() return node end } })
end

-- ---- what becomes of it ----

--- Whether a statement selects bundles.
---@param stmt table
---@return boolean
function bundle.is_in(stmt)
  for _, item in ipairs(stmt.visit == "select" and stmt.items or {}) do
    if item.visit == "bundle" then
      return true
    end
  end
  return false
end

-- Labels keep two columns of one name apart.
local function flat_items(items)
  local flat = {}
  for position, item in ipairs(items) do
    for number, element in ipairs(item.visit == "bundle" and item.elements or { item }) do
      flat[#flat + 1] = item.visit == "bundle" and element:label(("bundle_%d_%d"):format(position, number)) or element
    end
  end
  return flat
end

--- The statement with the columns of its bundles in their place.
---@param stmt table
---@return table
function bundle.flat(stmt)
  local copy = statement.copy_of(stmt)
  copy.items = flat_items(stmt.items)
  return copy
end

local function shape_of(item)
  local shape = SHAPES[item]
  if not shape then
    local names = {}
    for position, element in ipairs(item.elements) do
      names[position] = name_of(element, position)
    end
    shape = result.row_metatable(names)
    SHAPES[item] = shape
  end
  return shape
end

local function item_name(item, position)
  return (item.visit == "entity" or item.visit == "bundle") and item.name or name_of(item, position)
end

local function part_of(item, row, at)
  local part = {}
  for number in ipairs(item.elements) do
    part[number] = rawget(row, at + number)
  end
  if item.make then
    return item.make(part)
  end
  return setmetatable(part, shape_of(item))
end

-- One row of as many values as the select has items.
local function grouped(items, row)
  local values, at = {}, 0
  for position, item in ipairs(items) do
    if item.visit == "bundle" then
      values[position], at = part_of(item, row, at), at + #item.elements
    else
      at = at + 1
      values[position] = rawget(row, at)
    end
  end
  return values
end

--- The result of the flat statement with its rows put together.
---@param stmt table as the script wrote it
---@param flat table result
---@return table result
function bundle.result(stmt, flat)
  local names = {}
  for position, item in ipairs(stmt.items) do
    names[position] = item_name(item, position)
  end
  local metatable = result.row_metatable(names)
  return result.converted(flat, metatable, function(row)
    return setmetatable(grouped(stmt.items, row), metatable)
  end)
end

return bundle
