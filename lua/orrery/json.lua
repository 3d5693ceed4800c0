--- json: Lua tables to JSON text and back, for columns of the type JSON. Decides what of Lua is a JSON document and
-- says where one is not; writing and reading the text is a library's: dkjson where `require` finds it, or the pair
-- of functions given to use_json. Text of equal documents is equal, so that changes in place can be found.
local import = ...
local errors = import "errors"
local core = import "core"

local json = {}

local MAX_DEPTH = 200
local null = core.null
local math_type = rawget(math, "type") -- absent where Lua has only doubles

-- ---- arrays ----

local ARRAY = { __jsontype = "array", __name = "orrery.array" }

--- Marks a list as a JSON array, which an empty table could not show. Decoded arrays have the mark.
---@param list? any[] a new list when absent
---@return any[]
function json.array(list)
  if list ~= nil and type(list) ~= "table" then
    errors.raise("ArgumentError", "array{...}: a list expected, got %s", type(list))
  end
  return setmetatable(list or {}, ARRAY)
end

--- Whether `value` was marked by array{} or decoded from a JSON array.
---@param value any
---@return boolean
function json.is_array(value)
  return type(value) == "table" and getmetatable(value) == ARRAY
end

-- ---- what a document may hold ----

local function refuse(path, what)
  errors.raise("ArgumentError", "JSON: %s at %s", what, path)
end

-- Numbers that "%.14g" (tostring on 5.1 and LuaJIT, and dkjson's choice) would round are written in full.
local EXACT = {}
EXACT.__index = EXACT
function EXACT.__tojson(number)
  return number.text
end

local function exact_text(number)
  for digits = 15, 17 do
    local text = ("%%.%dg"):format(digits):format(number):gsub(",", ".")
    if tonumber(text) == number then
      return text
    end
  end
end

local function take_number(number, path)
  if number ~= number or number == math.huge or number == -math.huge then
    refuse(path, "there is no number " .. tostring(number))
  elseif math_type and math_type(number) == "integer" then
    return number
  end
  local text = exact_text(number)
  if math_type and not text:find("[.e]") then
    text = text .. ".0"
  end
  return setmetatable({ text = text }, EXACT)
end

local take

local function take_array(list, length, path, inside)
  local copy = {}
  for position = 1, length do
    copy[position] = take(list[position], ("%s[%d]"):format(path, position), inside)
  end
  return setmetatable(copy, ARRAY)
end

local function take_object(object, names, path, inside)
  local copy = {}
  table.sort(names)
  for _, name in ipairs(names) do
    copy[name] = take(object[name], path .. "." .. name, inside)
  end
  return setmetatable(copy, { __jsontype = "object", __jsonorder = names })
end

-- The string keys of a table, and how many other keys; those must be 1..count.
local function survey(value, path)
  local names, count, highest = {}, 0, 0
  for key in next, value do
    if type(key) == "string" then
      names[#names + 1] = key
    elseif type(key) == "number" and key >= 1 and key % 1 == 0 then
      count, highest = count + 1, math.max(highest, key)
    else
      refuse(path, ("a key must be a string or a position, not %s,"):format(tostring(key)))
    end
  end
  if highest ~= count then
    refuse(path, "a list with a hole (write orm.null for null)")
  elseif count > 0 and #names > 0 then
    refuse(path, ("a table with both positions and names (such as '%s')"):format(names[1]))
  end
  return names, count
end

local function take_table(value, path, inside)
  if inside[value] then
    refuse(path, "a table that contains itself")
  elseif inside.depth == MAX_DEPTH then
    refuse(path:sub(1, 60) .. "...", ("nested deeper than %d"):format(MAX_DEPTH))
  end
  inside[value], inside.depth = true, inside.depth + 1
  local names, count = survey(value, path)
  if json.is_array(value) and #names > 0 then
    refuse(path, ("an array with a name ('%s')"):format(names[1]))
  end
  local list = count > 0 or json.is_array(value)
  local copy = list and take_array(value, count, path, inside) or take_object(value, names, path, inside)
  inside[value], inside.depth = nil, inside.depth - 1
  return copy
end

-- A copy of `value` in the form that the writer needs.
function take(value, path, inside)
  local kind = type(value)
  if kind == "table" then
    return take_table(value, path, inside)
  elseif kind == "number" then
    return take_number(value, path)
  elseif kind == "string" or kind == "boolean" or value == null then
    return value
  end
  return refuse(path, kind == "nil" and "nil (write orm.null for null)" or "a " .. kind .. " is no JSON")
end

-- ---- the library that reads and writes ----

local chosen

local function dkjson_codec(dkjson)
  local with_null = setmetatable({}, { __tojson = function() return "null" end })
  local function exception(_, value)
    return value == null and "null" or nil
  end
  return {
    encode = function(value)
      return dkjson.encode(value == null and with_null or value, { exception = exception })
    end,
    decode = function(text)
      local value, stop, problem = dkjson.decode(text, 1, null, nil, ARRAY)
      if problem == nil and text:find("%S", stop) then
        problem = ("text after the end, at byte %d"):format(stop)
      end
      return value, problem
    end,
  }
end

-- nil where it is not installed; a library that is there and fails says so itself.
local function find_dkjson()
  local require = rawget(_G, "require")
  if not require then
    return nil
  end
  local found, dkjson = pcall(require, "dkjson")
  if not found and not tostring(dkjson):find("'dkjson' not found", 1, true) then
    error(dkjson, 0)
  end
  return found and dkjson or nil
end

local function codec()
  if not chosen then
    local dkjson = find_dkjson()
    if not dkjson then
      errors.raise("InvalidRequestError", "a JSON column needs a JSON library: install dkjson (luarocks install "
        .. "dkjson), or give one with orm.json.use_json{ encode = fn, decode = fn }")
    end
    chosen = dkjson_codec(dkjson)
  end
  return chosen
end

--- Sets the functions that write and read JSON; nil goes back to dkjson. `encode` gets a checked copy of a value:
--- null is the light userdata NULL (cjson's null too) and a number that must not be rounded is a table whose
--- metatable has __tojson.
---@param functions? { encode: (fun(value: any): string), decode: (fun(text: string): any) }
function json.use_json(functions)
  functions = functions ~= nil and errors.check_options(functions, { encode = 1, decode = 1 }, "use_json()") or nil
  if functions and not (type(functions.encode) == "function" and type(functions.decode) == "function") then
    errors.raise("ArgumentError", "use_json{ encode = fn, decode = fn } needs both functions")
  end
  chosen = functions
end

--- The JSON text of a value. Raises an error that names the path of what JSON cannot hold.
---@param value any
---@return string
function json.encode(value)
  local writer = codec()
  return writer.encode(take(value, "$", { depth = 0 }))
end

--- The value of a JSON text; null becomes orm.null, and arrays keep their mark.
---@param text string
---@return any
function json.decode(text)
  local reader = codec()
  local ok, value, problem = pcall(reader.decode, text)
  if not ok or problem then
    errors.raise("DataError", "the stored text %s is not JSON: %s", errors.show(text),
      tostring(ok and problem or value))
  end
  return value
end

return json
