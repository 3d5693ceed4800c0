--- naming: names that constraints and indexes get by a convention of their MetaData, such as
-- { uq = "uq_%(table_name)s_%(column_0_name)s" }. Only makes names; who needs one, and when, is constraint.lua's.
local import = ...
local errors = import "errors"

local naming = {}

-- What a convention may name, by the kinds of constraints.
local PREFIX = { primary_key = "pk", unique = "uq", foreign_key = "fk", check = "ck", index = "ix" }
local DEFAULT = { ix = "ix_%(column_0_label)s" }

-- ---- names that are final ----

local CONV = { __name = "orrery.conv" }
local conv_metatable = { __metatable = CONV, __tostring = function(self) return self.text end }

--- A name that no convention changes: { name = orm.conv("ck_old") }.
---@param name string
function naming.conv(name)
  if type(name) ~= "string" then
    errors.raise("ArgumentError", "conv(): a name expected, got %s", errors.show(name))
  end
  return setmetatable({ text = name }, conv_metatable)
end

--- The name in `given`, and whether it is final.
---@param given string|table|nil
---@return string?
---@return boolean
function naming.unwrap(given)
  if type(given) == "table" and getmetatable(given) == CONV then
    return given.text, true
  end
  return given, false
end

-- ---- tokens ----

local FIELDS = {
  name = function(column) return column.name end,
  key = function(column) return column.key end,
  label = function(column)
    return (column.table.fullname:gsub("%.", "_")) .. "_" .. column.name
  end,
}

-- What a foreign key refers to, which need not be declared yet.
local function referred_table(reference)
  local column = reference.target_column
  return column and column.table.name or reference.plain_name or reference.table_name:match("([^%.]+)$")
end

local function referred_columns(part)
  local columns = {}
  for position, reference in ipairs(part.elements or {}) do
    local column = reference.target_column
    local name = column and column.name or reference.column_name
    columns[position] = { name = name, key = column and column.key or name,
      table = { fullname = referred_table(reference) } }
  end
  return columns
end

local function no_column(part, token)
  errors.raise("InvalidRequestError", "naming_convention: %s on table '%s' has no column for %%(%s)s; give it a name",
    tostring(part), part.table.fullname, token)
end

local function all_of(columns, field, separator)
  local names = {}
  for position, column in ipairs(columns) do
    names[position] = field(column)
  end
  return table.concat(names, separator)
end

-- column_0_name, column_1_key; column_0N_name for all of them, column_0_N_name with "_" between.
local function column_token(part, token)
  local referred, number, every, field = token:match("^(r?e?f?e?r?r?e?d?_?)column_(%d+)(_?N?)_(%l+)$")
  if not number or (referred ~= "" and referred ~= "referred_") or not FIELDS[field] then
    return nil
  end
  local columns = referred ~= "" and referred_columns(part) or part.columns
  if #columns == 0 then
    no_column(part, token)
  elseif every:find("N", 1, true) then
    return number == "0" and all_of(columns, FIELDS[field], every == "_N" and "_" or "") or nil
  end
  local column = columns[tonumber(number) + 1]
  return column and FIELDS[field](column) or ""
end

local TOKENS = {
  table_name = function(part) return part.table.name end,
  referred_table_name = function(part) return part.elements and referred_table(part.elements[1]) end,
  constraint_name = function(part)
    if not part.given_name then
      errors.raise("InvalidRequestError", "naming_convention: %%(constraint_name)s needs a name, and a %s of table "
        .. "'%s' has none", part.call or "constraint", part.table.fullname)
    end
    return part.given_name
  end,
}

local function value_of(convention, part, token)
  local own = convention[token]
  local value
  if type(own) == "function" then
    value = own(part, part.table)
  elseif TOKENS[token] then
    value = TOKENS[token](part)
  else
    value = column_token(part, token)
  end
  if type(value) ~= "string" then
    errors.raise("ArgumentError", "naming_convention: %%(%s)s says nothing for a %s", token, part.call or "constraint")
  end
  return value
end

-- ---- conventions ----

--- Checks a convention and returns it; nil gives the default one, which names indexes only.
---@param convention? table<string, string|function>
---@return table
function naming.check(convention)
  if convention == nil then
    return DEFAULT
  elseif type(convention) ~= "table" then
    errors.raise("ArgumentError", "MetaData(): naming_convention must be a table such as { uq = "
      .. "\"uq_%%(table_name)s_%%(column_0_name)s\" }, got %s", errors.show(convention))
  end
  for _, key in ipairs(errors.sorted_keys(convention)) do
    local value = convention[key]
    local known = key == "pk" or key == "uq" or key == "fk" or key == "ck" or key == "ix"
    if type(value) ~= "function" and not (known and type(value) == "string") then
      errors.raise("ArgumentError", "MetaData(): naming_convention.%s must be %s, got %s", key,
        known and "a string" or "a function (a token), or the key one of ck, fk, ix, pk, uq", errors.show(value))
    end
  end
  local copy = { ix = DEFAULT.ix }
  for key, value in pairs(convention) do
    copy[key] = value
  end
  return copy
end

--- The name that a convention gives to a constraint which has its table and columns; its own where the convention
--- says nothing of its kind, or does not build on names that are given.
---@param part table kind, table, columns, elements, given_name, final
---@param convention table of check()
---@return string?
function naming.name_of(part, convention)
  local template = convention[PREFIX[part.kind]]
  if not template or part.final then
    return part.given_name
  end
  local takes_name = template:find("%(constraint_name)s", 1, true)
  if part.given_name and not takes_name then
    return part.given_name
  end
  return (template:gsub("%%(%(?)([%w_]*)(%)?)(s?)", function(open, token, close, s)
    if open == "(" and close == ")" and s == "s" then
      return value_of(convention, part, token)
    end
  end):gsub("%%%%", "%%"))
end

return naming
