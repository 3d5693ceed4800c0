--- packing: a list of values as one JSON array, for databases that read such an array as rows. One bound value then
-- stands for a list of any length: markers are limited (SQLite: 32766), and a statement of its own for every length
-- would be prepared anew each time. Knows types by their to_db only.
local import = ...
local errors = import "errors"
local core = import "core"

local packing = {}
local null = core.null
local concat = table.concat

--- Whether JSON has a place for a value: not for NUL, nor for numbers that are none.
---@param value any
---@return boolean
function packing.fits(value)
  local kind = type(value)
  if kind == "string" then
    return not value:find("\0", 1, true)
  end
  return value == null or kind == "boolean" or (kind == "number" and value - value == 0)
end

--- Values as a JSON array; with more types than one, values of rows one behind the other, as an array of arrays.
---@param values any[]
---@param types orrery.Type[]
---@return string
function packing.array(values, types)
  local width, stored = #types, {}
  for position = 1, #values do
    stored[position] = types[(position - 1) % width + 1]:to_db(values[position])
  end
  local text, refused = core.pack(stored, width)
  if not text then
    errors.raise("ArgumentError", "a list that is one parameter holds no NUL bytes, got %s; in_{ ... } takes any value",
      errors.show(stored[refused]))
  end
  return text
end

--- The same in hexadecimal digits, for bytes.
---@param values any[]
---@param value_type orrery.Type
---@return string
function packing.hex_array(values, value_type)
  local parts = {}
  for position = 1, #values do
    local stored = value_type:to_db(values[position])
    parts[position] = stored == null and "null"
      or '"' .. stored:gsub(".", function(byte) return ("%02X"):format(byte:byte()) end) .. '"'
  end
  return "[" .. concat(parts, ",") .. "]"
end

local function refuse(value, wanted)
  errors.raise("ArgumentError", "a parameter of in_() takes a list of %s, got %s", wanted,
    value == null and "orm.null" or type(value) == "table" and "a table with names or holes" or errors.show(value))
end

local function check_list(list, wanted)
  if type(list) ~= "table" or getmetatable(list) then
    refuse(list, wanted)
  end
  local length, count = #list, 0
  for key in next, list do
    count = count + 1
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > length then
      refuse(list, wanted)
    end
  end
  return count == length and length or refuse(list, wanted)
end

local function is_row(row, width)
  if type(row) ~= "table" then
    return false
  end
  for column = 1, width do
    if row[column] == nil then
      return false
    end
  end
  return row[width + 1] == nil
end

local function flatten(rows, width)
  local values = {}
  for position = 1, check_list(rows, "rows") do
    local row = rows[position]
    if not is_row(row, width) then
      errors.raise("ArgumentError", "a parameter of tuple_():in_() takes rows of %d values; row %d is none", width,
        position)
    end
    for column = 1, width do
      values[#values + 1] = row[column]
    end
  end
  return values
end

--- A list that a script gave for a parameter, checked: its values, those of rows one behind the other.
---@param list any
---@param width integer values in a row, 1 for a list of values
---@return any[]
function packing.values(list, width)
  if width > 1 then
    return flatten(list, width)
  end
  check_list(list, "values")
  return list
end

return packing
