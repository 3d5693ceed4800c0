--- write_only: what a relationship with lazy = "write_only" reads as: a collection that takes objects in and lets them go,
-- and gives the statements by which its rows are found, added, changed and deleted. It is never loaded: it may have millions
-- of them. What is added or removed is held by the core until the flush (collectionlib.c).
local import = ...
local errors = import "errors"
local core = import "core"
local change = import "change"
local expression = import "expression"
local functions = import "functions"
local statement = import "statement"
local joincondition = import "joincondition"
local mapper_module = import "mapper"
local loading = import "loading"

local write_only = {}
local unpack = table.unpack or unpack

---@class orrery.WriteOnlyCollection
---@field object userdata the owner
---@field property orrery.Relationship
---@field number integer of the attribute
local WriteOnly = {}
local MARK = { __name = "orrery.WriteOnlyCollection" }
local metatable = { __metatable = MARK, __name = "orrery.WriteOnlyCollection" }

local function check(self, call)
  errors.check_self(self, getmetatable(self) == MARK, "collection:" .. call)
end

local function refuse(self)
  local property = self.property
  errors.raise("InvalidRequestError", "%s is write-only: it is never loaded; read it with session:scalars(object.%s:select())",
    property:describe(), property.key)
end

function metatable.__index(self, key)
  local method = WriteOnly[key]
  if method then
    return method
  elseif type(key) == "number" then
    refuse(self)
  end
  errors.raise("ArgumentError", "%s, a write-only collection, has no '%s'%s", rawget(self, "property"):describe(), tostring(key),
    errors.hint(tostring(key), errors.sorted_keys(WriteOnly)))
end

function metatable.__newindex(self)
  refuse(self)
end

metatable.__len, metatable.__call, metatable.__pairs, metatable.__ipairs = refuse, refuse, refuse, refuse

function metatable.__eq(one, other)
  return rawequal(one.object, other.object) and one.property == other.property
end

function metatable.__tostring(self)
  return "write-only " .. self.property:describe()
end

core.hook("write_only", function(object, number)
  local mapper = mapper_module.of_object(object)
  return setmetatable({ object = object, property = mapper.relationships[number - #mapper.column_keys], number = number },
    metatable)
end)

-- ---- changing ----

--- Adds an object; its row is written with the next flush.
---@param item userdata
function WriteOnly:add(item)
  check(self, "add")
  core.related(self.object, self.number):append(item)
end

--- Adds every object of an array.
---@param items userdata[]
function WriteOnly:add_all(items)
  check(self, "add_all")
  if type(items) ~= "table" then
    errors.raise("ArgumentError", "collection:add_all() takes an array of objects, got %s", errors.show(items))
  end
  core.related(self.object, self.number):extend(items)
end

--- Takes an object out: its row no longer refers to the owner after the next flush.
---@param item userdata
function WriteOnly:remove(item)
  check(self, "remove")
  core.drop(self.object, self.number, item)
end

-- ---- statements ----

-- The value that the owner's row has in a column.
local function value_of(self, column)
  local mapper = mapper_module.of_object(self.object)
  local number = mapper:number_of_column(column)
  local session = core.session_of(self.object)
  if session then
    loading.ensure_columns(session, mapper, self.object, { number })
  end
  local value = core.stored(self.object, number)
  if value == nil then
    errors.raise("InvalidRequestError", "%s: its owner has no %s yet; flush the session before", self.property:describe(),
      expression.describe(column))
  end
  return value
end

local function conditions_of(self)
  local property = self.property
  local sources = { target = property:source(), secondary = property.secondary }
  return joincondition.of_object(property.condition, sources, function(column)
    return expression.literal(column.type:from_db(value_of(self, column)), column.type)
  end)
end

--- A select of the objects, in the relationship's order; more conditions, options and a limit can be added.
---@return orrery.Select
function WriteOnly:select()
  check(self, "select")
  local select = statement.select(self.property:target_entity()):where(unpack(conditions_of(self)))
  for _, element in ipairs(self.property:order_elements()) do
    select = select:order_by(element)
  end
  return select
end

local function check_direct(self, call)
  if self.property.secondary then
    errors.raise("InvalidRequestError", "%s:%s(): its rows are linked by the table '%s', which such a statement would not write; "
      .. "add objects, or insert into that table", self.property:describe(), call, self.property.secondary.name)
  end
end

--- An insert of rows that belong to the owner; execute it with the rows' values.
---@return table
function WriteOnly:insert()
  check(self, "insert")
  check_direct(self, "insert")
  local values = {}
  for _, pair in ipairs(self.property.condition.pairs) do
    local target = joincondition.base(pair[2])
    values[self.property.mapper.key_by_column[target]] = pair[1].type:from_db(value_of(self, pair[1]))
  end
  return change.insert(self.property.mapper.class):values(values)
end

-- The rows of the target that belong to the owner, for a statement that reads no other table.
local function own_rows(self)
  local property, conditions = self.property, conditions_of(self)
  if not property.secondary then
    return conditions
  end
  local inner = statement.select(functions.literal_column("1")):where(unpack(conditions))
  return { functions.exists(inner:correlate(property:source())) }
end

--- An update of the rows that belong to the owner.
---@return table
function WriteOnly:update()
  check(self, "update")
  return change.update(self.property.mapper.class):where(unpack(own_rows(self)))
end

--- A delete of the rows that belong to the owner.
---@return table
function WriteOnly:delete()
  check(self, "delete")
  return change.delete(self.property.mapper.class):where(unpack(own_rows(self)))
end

return write_only
