--- column: what Column(...) makes: an expression that stands for a column, and all that was said about it. It may be
-- made first and get its name and table later, as in a class body.
local import = ...
local errors = import "errors"
local expression = import "expression"
local types = import "types"
local constraint = import "constraint"
local generated = import "generated"

local column = {}

---@class orrery.Column: orrery.Element
---@field name string
---@field key string its name under table.c
---@field table orrery.Table
---@field type orrery.Type
---@field position integer its place in the table, from 1
---@field order integer when it was made, among all columns and relationships
---@field nullable boolean
---@field primary_key boolean
---@field foreign_keys orrery.ForeignKey[]
---@field unique boolean
---@field index boolean
---@field default any a value, a function, or an SQL expression
---@field onupdate any likewise
---@field server_default any
---@field computed? table what Computed() makes
---@field identity? table what Identity() makes
---@field collation? string
---@field autoincrement boolean|"auto"
---@field deferred? boolean mapped so that queries leave it out; with deferred_group and deferred_raiseload
local Column = {}

-- ---- order of creation ----

local last_order = 0

--- The next number of the counter by which columns and relationships keep the order of the script's text.
---@return integer
function column.next_order()
  last_order = last_order + 1
  return last_order
end

-- ---- reading the arguments ----

local OPTIONS = { name = 1, key = 1, primary_key = 1, nullable = 1, unique = 1, index = 1, default = 1, onupdate = 1,
  server_default = 1, autoincrement = 1, info = 1, comment = 1,
  collation = 1, sqlite_on_conflict_not_null = 1, sqlite_on_conflict_unique = 1, sqlite_on_conflict_primary_key = 1 }
local FLAGS = { "primary_key", "nullable", "unique", "index" }

local function call_of(name)
  return type(name) == "string" and ("Column '%s'"):format(name) or "Column()"
end

-- Arguments behind the name: at most one type, foreign keys, checks.
local function take_argument(self, value, call)
  if constraint.is_foreign_key(value) then
    self.keys[#self.keys + 1] = value
  elseif generated.is_generated(value) then
    if self[value.kind] then
      errors.raise("ArgumentError", "%s has %s twice", call, value.call)
    end
    self[value.kind] = value
  elseif constraint.is_constraint(value) and value.kind == "check" then
    self.checks[#self.checks + 1] = value
  elseif constraint.is_constraint(value) then
    errors.raise("ArgumentError", "%s: %s is an argument of Table() (or of __table_args__), not of a column", call,
      value.call)
  elseif rawget(self, "type") then
    errors.raise("ArgumentError", "%s has two types, %s and %s", call, tostring(self.type), errors.show(value))
  elseif type(value) == "table" and rawget(value, "optional") == true then
    self.type = value.type
  else
    self.type = types.coerce(value, call)
  end
end

local function check_options(options, call)
  for _, name in ipairs(FLAGS) do
    constraint.check_flag(options, name, call)
  end
  if options.primary_key and options.nullable then
    errors.raise("ArgumentError", "%s: a primary key column cannot be nullable", call)
  end
  local auto = options.autoincrement
  if auto ~= nil and auto ~= "auto" and type(auto) ~= "boolean" then
    errors.raise("ArgumentError", "%s: autoincrement must be true, false or \"auto\", got %s", call, errors.show(auto))
  end
end

-- What the database makes leaves no room for other defaults.
local function check_generated(self, options, call)
  for _, kind in ipairs{ "computed", "identity" } do
    local one = self[kind]
    for _, name in ipairs(one and { "default", "server_default", "onupdate" } or {}) do
      if options[name] ~= nil and (kind == "computed" or name ~= "onupdate") then
        errors.raise("ArgumentError", "%s: %s leaves no room for %s", call, one.call, name)
      end
    end
  end
  if self.computed and self.identity then
    errors.raise("ArgumentError", "%s: Computed() and Identity() exclude each other", call)
  end
end

local function check_collation(value, call)
  if value ~= nil then
    constraint.check_name(value, call .. ": collation")
  end
end

local function check_server_default(value, call)
  local kind = type(value)
  if value ~= nil and kind ~= "string" and kind ~= "number" and kind ~= "boolean" and not expression.clause(value) then
    errors.raise("ArgumentError", "%s: server_default must be a string, number, boolean or expression such as "
      .. "text(\"CURRENT_TIMESTAMP\"), got %s", call, errors.show(value))
  end
end

local function take_options(self, options, call)
  check_options(options, call)
  check_server_default(options.server_default, call)
  check_generated(self, options, call)
  check_collation(options.collation, call)
  self.primary_key = options.primary_key or false
  self.nullable = options.nullable
  if self.nullable == nil then
    self.nullable = not self.primary_key and self.identity == nil
  end
  self.unique, self.index = options.unique or false, options.index or false
  self.default, self.onupdate, self.server_default = options.default, options.onupdate, options.server_default
  self.autoincrement = options.autoincrement == nil and "auto" or options.autoincrement
  self.collation = options.collation
  for _, name in ipairs{ "not_null", "unique", "primary_key" } do
    self["on_conflict_" .. name] = constraint.check_word(options, "sqlite_on_conflict_" .. name, call)
  end
  self.key, self.comment, self.info = options.key, options.comment, options.info or {}
end

-- ---- types that follow from foreign keys ----

local function no_type(self)
  errors.raise("ArgumentError", "Column '%s' has no type; give it one such as orm.Integer, or a ForeignKey to a column "
    .. "that has one", expression.describe(self))
end

-- The column at the end of the chain of foreign keys; a chain that bites its tail has no type.
local function type_from_target(self)
  local seen, found = {}, self
  while not rawget(found, "type") do
    local reference = found.foreign_keys[1] or found.keys[1]
    if seen[found] or not reference then
      no_type(self)
    end
    seen[found], found = true, reference.column
  end
  return found.type
end

local methods = expression.complete(Column, 2)
local metatable = expression.metatable(nil, {
  __index = function(self, name)
    if name == "type" and rawget(self, "foreign_keys") then
      local found = type_from_target(self)
      rawset(self, "type", found)
      return found
    end
    return methods[name]
  end,
})

--- Whether `value` is what Column() makes (the attribute of a class is not).
---@param value any
---@return boolean
function column.is_column(value)
  return expression.is_element(value) and rawget(value, "order") ~= nil
end

-- ---- making one ----

local function new(fields)
  fields.visit, fields.keys, fields.checks, fields.foreign_keys = "column", {}, {}, {}
  return setmetatable(fields, metatable)
end

-- A default that does not fit its column is found here, not at the first insert.
local function check_default(self, field)
  local value, kind = rawget(self, field), rawget(self, "type")
  if value == nil or not kind or type(value) == "function" or expression.clause(value) then
    return
  end
  local ok, err = pcall(kind.to_db, kind, value)
  if not ok then
    errors.raise("ArgumentError", "%s: %s: %s", call_of(rawget(self, "name")), field, err.message or tostring(err))
  end
end

--- A column: Column("name", String(30), ForeignKey("team.id"), { nullable = false }). The name may be missing where it
--- follows from the place, and the type where it follows from a foreign key.
---@param ... any [name,] type, foreign keys, checks, Computed() or Identity(), options
---@return orrery.Column
function column.Column(...)
  local first = (...)
  local call = call_of(first)
  local arguments, count, options = constraint.arguments(call, OPTIONS, ...)
  local self = new{ order = column.next_order() }
  local named = count > 0 and type(first) == "string"
  self.name = named and first or options.name
  if self.name ~= nil then
    constraint.check_name(self.name, "Column()")
  end
  for position = named and 2 or 1, count do
    take_argument(self, arguments[position], call)
  end
  take_options(self, options, call)
  check_default(self, "default")
  check_default(self, "onupdate")
  if type(self.server_default) == "number" then -- strings are text that the database reads, and true is 1 to all
    check_default(self, "server_default")
  end
  return self
end

-- Copied field by field: what belongs to one table stays behind.
local COPIED = { "name", "type", "order", "nullable", "primary_key", "unique", "index", "default", "onupdate",
  "server_default", "autoincrement", "key", "comment", "info", "computed", "identity", "collation", "declared_type",
  "on_conflict_not_null", "on_conflict_unique", "on_conflict_primary_key", "deferred", "deferred_group",
  "deferred_raiseload" }

--- The same column for another table.
---@return orrery.Column
function Column:copy()
  local copy = new{}
  for _, name in ipairs(COPIED) do
    copy[name] = rawget(self, name)
  end
  for position, reference in ipairs(self.keys) do
    copy.keys[position] = reference:copy()
  end
  for position, check in ipairs(self.checks) do
    copy.checks[position] = constraint.CheckConstraint(check.condition, { name = check.given_name,
      sqlite_on_conflict = check.on_conflict })
    copy.checks[position].final = check.final
  end
  return copy
end

-- ---- joining a table ----

local function add_keys(self, tbl)
  for _, reference in ipairs(self.keys) do
    tbl:_append(constraint.of_column(reference, self))
  end
  for _, check in ipairs(self.checks) do
    tbl:_append(check)
  end
end

-- Unique and index together are one unique index.
local function add_uniqueness(self, tbl)
  if self.index then
    tbl:_append(constraint.index_of_column(self, self.unique))
  elseif self.unique then
    tbl:_append(constraint.UniqueConstraint(self, { sqlite_on_conflict = self.on_conflict_unique }))
  end
end

--- Names a column that was made without a name.
---@param name string
function Column:_name(name)
  if self.table then
    errors.raise("InvalidRequestError", "Column '%s' has its name already", expression.describe(self))
  end
  self.name = constraint.check_name(name, "Column()")
end

--- Makes this the next column of a table.
---@param tbl orrery.Table
---@param name? string where it has none yet
function Column:_attach(tbl, name)
  if self.table then
    errors.raise("ArgumentError", "Column '%s' of table '%s' cannot be in table '%s' too; use column:copy()", self.name,
      self.table.name, tbl.name)
  elseif self.name == nil then
    self:_name(name)
  end
  self.key = self.key or self.name
  tbl:_add_column(self)
  add_keys(self, tbl)
  add_uniqueness(self, tbl)
  for _, fn in ipairs(self.waiting or {}) do
    fn()
  end
  self.waiting = nil
end

--- Raises where nothing says the column's type.
function Column:_check_type()
  if not rawget(self, "type") and #self.foreign_keys == 0 then
    no_type(self)
  end
end

--- Calls fn when the column gets its table: foreign keys to it wait for that.
function Column:_when_attached(fn)
  self.waiting = self.waiting or {}
  self.waiting[#self.waiting + 1] = fn
end

--- What being part of a primary key makes of a column.
function Column:_join_primary_key()
  self.primary_key, self.nullable = true, false
end

--- Whether it refers to that column or table.
---@param other orrery.Column|orrery.Table
---@return boolean
function Column:references(other)
  for _, reference in ipairs(self.foreign_keys) do
    if reference.column == other or reference.column.table == other then
      return true
    end
  end
  return false
end

return column
