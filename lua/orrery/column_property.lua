--- column_property: attributes that are SQL expressions, loaded with the row and never written: column_property(expression),
-- and query_expression(), whose expression comes with each query. To the mapper they are columns without a place in a
-- table.
local import = ...
local errors = import "errors"
local expression = import "expression"
local types = import "types"
local column_module = import "column"

local column_property = {}

---@class orrery.ColumnProperty
---@field order integer
---@field source any an expression, or a function of the class that makes one; nil: each query brings its own
local MARK = { __name = "orrery.column_property" }

local OPTIONS = { deferred = true, group = true, raiseload = true, expire_on_flush = true, doc = true, info = true }

--- Whether a value was made by column_property() or query_expression().
---@param value any
---@return boolean
function column_property.is_property(value)
  return getmetatable(value) == MARK
end

-- The expression is read when it is first needed: until then the classes that it names may not be there.
local function expression_of(self)
  local source = self.source
  if type(source) == "function" then
    source = source(self.class)
  end
  return source ~= nil and expression.expect_operand(source, ("%s.%s: column_property()"):format(self.owner, self.key), 1) or nil
end

local LATE = {
  expression = expression_of,
  type = function(self) return self.expression and self.expression.type or types.NullType end,
}

local metatable = { __metatable = MARK, __index = function(self, field)
  local read = LATE[field]
  if read then
    local value = read(self)
    rawset(self, field, value)
    return value
  end
end }

local function new(source, fields)
  fields.source, fields.order, fields.read_only = source, column_module.next_order(), true
  fields.foreign_keys, fields.keys, fields.primary_key, fields.nullable, fields.info = {}, {}, false, true, fields.info or {}
  return setmetatable(fields, metatable)
end

--- An attribute that is an SQL expression: a label of columns of the class, or a scalar subquery. Loaded with the class,
--- and read again after a flush that has written the object.
---@param source any an expression, a function of the class that returns one, or a column
---@param options? { deferred: boolean, group: string, raiseload: boolean, expire_on_flush: boolean }
---@return orrery.ColumnProperty|orrery.Column
function column_property.column_property(source, options)
  options = errors.check_options(options, OPTIONS, "column_property()")
  local deferred = options.deferred or options.group ~= nil or options.raiseload or nil
  local fields = { deferred = deferred, deferred_group = options.group, deferred_raiseload = options.raiseload,
    info = options.info }
  if column_module.is_column(source) then
    for name, value in pairs(fields) do
      source[name] = value
    end
    return source
  elseif type(source) ~= "function" and not expression.clause(source) then
    errors.raise("ArgumentError", "column_property(): an expression, or a function of the class that returns one, expected, "
      .. "got %s", errors.show(source))
  end
  fields.computed = options.expire_on_flush ~= false or nil
  return new(source, fields)
end

--- An attribute whose expression each query gives, by :options(orm.with_expression(User.score, ...)); nil without it.
---@param default? any an expression for queries that give none
---@return orrery.ColumnProperty
function column_property.query_expression(default)
  if default ~= nil and type(default) ~= "function" and not expression.clause(default) then
    errors.raise("ArgumentError", "query_expression(): an expression expected, got %s", errors.show(default))
  end
  return new(default, { deferred = default == nil or nil, by_query = true })
end

--- The same for another class, from a mixin.
function column_property.copy(self)
  local copy = {}
  for _, name in ipairs({ "deferred", "deferred_group", "deferred_raiseload", "computed", "by_query", "info" }) do
    copy[name] = rawget(self, name)
  end
  copy = new(rawget(self, "source"), copy)
  copy.order = self.order
  return copy
end

--- Gives a property its place: the class and the name there.
function column_property.attach(self, mapper, key)
  if rawget(self, "key") then
    errors.raise("ArgumentError", "%s.%s: this column_property() belongs to %s.%s already; make another one", mapper.name, key,
      self.owner, self.key)
  end
  self.key, self.name, self.owner, self.class = key, key, mapper.name, mapper.class
end

return column_property
