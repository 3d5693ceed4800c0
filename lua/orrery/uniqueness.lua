--- uniqueness: which columns of a table hold values that no two rows share, and how such a value can be set aside while it
-- goes from one row of a flush to another (handoverlib.c).
local import = ...
local core = import "core"

local uniqueness = {}

-- What stands in the place of a value that is set aside, by the kind of its column: NULL wherever that is allowed.
local ASIDE = { null = 0, integer = 1, real = 2, text = 3, blob = 4 } -- as orr_tag
local KINDS = core.kinds
local BY_KIND = {
  [KINDS.INTEGER] = ASIDE.integer, [KINDS.FLOAT] = ASIDE.real, [KINDS.NUMERIC] = ASIDE.integer, [KINDS.TEXT] = ASIDE.text,
  [KINDS.DATE] = ASIDE.text, [KINDS.TIME] = ASIDE.text, [KINDS.DATETIME] = ASIDE.text, [KINDS.BLOB] = ASIDE.blob,
}

-- An enumeration may have a CHECK that takes only its own words.
local function kind_of_placeholder(column)
  if column.nullable and not column.primary_key then
    return ASIDE.null
  elseif column.type.name ~= "Enum" then
    return BY_KIND[column.type.kind]
  end
end

-- The column of a set that is best set aside: one that takes NULL, else one that nothing refers to.
local function choose(set)
  local best, rank
  for _, column in ipairs(set) do
    local kind = kind_of_placeholder(column)
    local own = kind and (kind == ASIDE.null and 1 or (column.primary_key or column.foreign_keys[1]) and 3 or 2)
    if own and (not rank or own < rank) then
      best, rank = column, own
    end
  end
  return best
end

-- Arrays of columns: the primary key, then unique columns and constraints, then unique indexes
-- that are of columns alone.
local function sets_of(tbl)
  local sets = { tbl.primary_key }
  for _, one in ipairs(tbl.constraints) do
    if one.kind == "unique" then
      sets[#sets + 1] = one.columns
    end
  end
  for _, index in ipairs(tbl.indexes) do
    if index.unique and #index.columns == #index.parts then
      sets[#sets + 1] = index.columns
    end
  end
  return sets
end

local numbers, last = setmetatable({}, { __mode = "k" }), 0

-- One number for each set of each table, whichever class maps it.
local function number_of(tbl, position)
  numbers[tbl] = numbers[tbl] or {}
  if not numbers[tbl][position] then
    last = last + 1
    numbers[tbl][position] = last
  end
  return numbers[tbl][position]
end

--- Whether rows of other tables, or of the same, refer to rows of this one.
---@param tbl orrery.Table
---@return boolean
function uniqueness.is_referred_to(tbl)
  for _, other in ipairs((tbl.metadata:_sorted())) do
    for _, key in ipairs(other.foreign_key_constraints) do
      if key:target() == tbl then
        return true
      end
    end
  end
  return false
end

--- What core.set_uniques wants to know of the unique columns of a class's own table, the primary key first; a set with a
--- column that the class does not map is left out.
---@param self orrery.Mapper
---@return table[]
function uniqueness.specs(self)
  local specs = {}
  for position, set in ipairs(sets_of(self.table)) do
    local spec, aside = { columns = {}, id = number_of(self.table, position), key = position == 1 }, choose(set)
    for _, column in ipairs(set) do
      local number = self:number_of_column(column)
      spec.columns[#spec.columns + 1] = number
      if column == aside then
        spec.aside, spec.placeholder = number, kind_of_placeholder(column)
        spec.defers = spec.placeholder ~= ASIDE.null and (column.primary_key or column.foreign_keys[1] ~= nil)
      end
    end
    if #spec.columns == #set and #set > 0 then
      specs[#specs + 1] = spec
    end
  end
  return specs
end

return uniqueness
