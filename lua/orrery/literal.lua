--- literal: values as SQL text, where nothing is bound: in DDL, and in statements that are printed to be read.
local import = ...
local errors = import "errors"
local core = import "core"

local literal = {}
local null, kinds = core.null, core.kinds

-- The shortest digits that read as the same number.
local function digits_of(value)
  for precision = 15, 17 do
    local text = ("%." .. precision .. "g"):format(value):gsub(",", ".")
    if tonumber(text) == value then
      return text
    end
  end
end

local function number_text(value)
  if value % 1 == 0 and value > -2 ^ 63 and value < 2 ^ 63 then
    return ("%d"):format(value)
  elseif value - value ~= 0 then
    return value > 0 and "9e999" or "-9e999"
  end
  return digits_of(value)
end

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02X"):format(byte:byte()) end))
end

--- A string in quotes.
---@param text string
---@return string
function literal.quote(text)
  if text:find("\0", 1, true) then
    errors.raise("CompileError", "%s has a NUL byte, which SQL text cannot hold", errors.show(text))
  end
  return "'" .. text:gsub("'", "''") .. "'"
end

local function scalar_text(stored, kind, dialect)
  if type(stored) == "boolean" then
    return dialect.constants[tostring(stored)]
  elseif type(stored) == "number" then
    return kind.kind == kinds.BOOLEAN and dialect.constants[tostring(stored ~= 0)] or number_text(stored)
  elseif kind.kind == kinds.BLOB then
    return dialect.bytes_literal:format(hex(stored))
  end
  return literal.quote(stored)
end

--- A value as SQL text.
---@param value any
---@param kind orrery.Type
---@param dialect orrery.Dialect
---@return string
function literal.text(value, kind, dialect)
  kind = kind:for_dialect(dialect)
  local stored = kind:to_db(value)
  if stored == null then
    return "NULL"
  end
  local own = dialect.literals[kind.definition.name]
  return own and own(stored) or scalar_text(stored, kind, dialect)
end

return literal
