--- schema: MetaData and Table, the description of a database. Each MetaData has a handle of the core, which knows
-- tables by number and answers how they depend on one another; what a script sees of them are the objects made here.
-- The SQL that creates them is ddl.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local selectable = import "selectable"
local constraint = import "constraint"
local column = import "column"
local generated = import "generated"
local naming = import "naming"

local schema = {
  Column = column.Column, is_column = column.is_column, next_order = column.next_order,
  ForeignKey = constraint.ForeignKey, ForeignKeyConstraint = constraint.ForeignKeyConstraint,
  PrimaryKeyConstraint = constraint.PrimaryKeyConstraint, UniqueConstraint = constraint.UniqueConstraint,
  CheckConstraint = constraint.CheckConstraint, Index = constraint.Index, is_constraint = constraint.is_constraint,
  constraint_methods = constraint.methods, Computed = generated.Computed, Identity = generated.Identity, conv = naming.conv,
}

-- ---- MetaData ----

---@class orrery.MetaData
---@field tables table<string, orrery.Table> by "table" or "schema.table"
---@field views table[] what CreateView() made for it, in order
---@field sorted_tables orrery.Table[] those that others refer to first
---@field schema? string of tables that say none
local MetaData = {}
local METADATA_MARK = { __name = "orrery.MetaData" }
local metadata_metatable = { __metatable = METADATA_MARK }
local METADATA_OPTIONS = { schema = 1, info = 1, naming_convention = 1 }
local METADATA_FIELDS = { schema = 1, metadata = 1 } -- the second asks whether it is a base

--- Methods of MetaData, for files that add some.
schema.metadata_methods = MetaData

--- Whether `value` is what MetaData() makes.
---@param value any
---@return boolean
function schema.is_metadata(value)
  return type(value) == "table" and getmetatable(value) == METADATA_MARK
end

--- A collection of tables. A naming convention gives names to constraints: { uq = "uq_%(table_name)s_%(column_0_name)s" }.
---@param options? { schema?: string, info?: table, naming_convention?: table<string, string|function> }
---@return orrery.MetaData
function schema.MetaData(options)
  options = errors.check_options(options, METADATA_OPTIONS, "MetaData()")
  return setmetatable({ tables = {}, views = {}, schema = options.schema, info = options.info or {}, handle = core.schema(),
    naming_convention = naming.check(options.naming_convention), _by_id = {}, _foreign_keys = {} }, metadata_metatable)
end

errors.guard(MetaData, "a MetaData", METADATA_FIELDS, nil, 2)

function metadata_metatable.__index(self, key)
  if key == "sorted_tables" then
    return (self:_sorted())
  end
  return MetaData[key]
end

function metadata_metatable.__tostring()
  return "MetaData()"
end

--- The tables in order of dependency, and the foreign keys at which circles among them are broken.
---@return orrery.Table[]
---@return orrery.Constraint[]
function MetaData:_sorted()
  local ids, left_out = self.handle:sorted()
  for position, id in ipairs(ids) do
    ids[position] = self._by_id[id]
  end
  for position, id in ipairs(left_out) do
    left_out[position] = self._foreign_keys[id]
  end
  return ids, left_out
end

local function forget(self, tbl)
  self.handle:remove_table(tbl.id)
  self._by_id[tbl.id] = nil
end

--- Forgets a table; nothing happens to the database's.
---@param tbl orrery.Table
function MetaData:remove(tbl)
  errors.check_self(self, getmetatable(self) == METADATA_MARK, "metadata:remove")
  if not schema.is_table(tbl) or self.tables[tbl.fullname] ~= tbl then
    errors.raise("ArgumentError", "metadata:remove(): a table of this MetaData expected, got %s", errors.show(tbl))
  end
  forget(self, tbl)
  self.tables[tbl.fullname] = nil
  for position = #self.views, 1, -1 do
    if self.views[position].table == tbl then
      table.remove(self.views, position)
    end
  end
end

--- Forgets all tables.
function MetaData:clear()
  for _, name in ipairs(errors.sorted_keys(self.tables)) do
    self:remove(self.tables[name])
  end
end

-- ---- what looks doubtful about foreign keys ----

local kinds = core.kinds
local FAMILY = { [kinds.INTEGER] = "number", [kinds.FLOAT] = "number", [kinds.NUMERIC] = "number",
  [kinds.BOOLEAN] = "number" }

local function differ(a, b)
  return a.kind ~= kinds.ANY and b.kind ~= kinds.ANY and (FAMILY[a.kind] or a.kind) ~= (FAMILY[b.kind] or b.kind)
end

local function warn_of_types(key)
  for _, reference in ipairs(key.elements) do
    local from, to = reference.parent, reference.column
    if differ(from.type, to.type) then
      errors.warn("foreign key '%s' is %s, but '%s', to which it refers, is %s", expression.describe(from),
        tostring(from.type), expression.describe(to), tostring(to.type))
    end
  end
end

local function warn_of_target(key)
  local referred, positions = key:target()
  if not referred.metadata.handle:is_unique(referred.id, positions) then
    errors.warn("foreign key '%s' refers to '%s', which is neither a primary key nor unique; databases refuse that "
      .. "when rows are written", expression.describe(key.columns[1]), expression.describe(key.elements[1].column))
  end
end

--- Looks up every foreign key, raising for one that refers to nothing, and warns of those that will not work.
function MetaData:_check()
  for _, tbl in ipairs((self:_sorted())) do
    for _, key in ipairs(tbl.foreign_key_constraints) do
      warn_of_types(key)
      warn_of_target(key)
    end
  end
end

-- ---- Table ----

---@class orrery.Table
---@field name string
---@field schema? string
---@field fullname string "table" or "schema.table"
---@field metadata orrery.MetaData
---@field c table<string, orrery.Column> columns by key; an unknown name raises
---@field columns orrery.Column[]
---@field primary_key orrery.Column[]
---@field foreign_keys orrery.ForeignKey[]
---@field constraints orrery.Constraint[] without indexes
---@field indexes orrery.Constraint[]
---@field id integer its number in the core
local Table = {}
local TABLE_MARK = { __name = "orrery.Table" }
-- What a table may lack, or has once it is asked for.
local TABLE_FIELDS = { schema = 1, comment = 1, key_constraint = 1 }
errors.guard(Table, "a Table", TABLE_FIELDS, "columns are under .c, as in table.c.%s")
local table_metatable = { __index = Table, __metatable = TABLE_MARK }

--- Methods of tables, for files that add some.
schema.table_methods = Table

function TABLE_MARK.__clause(self)
  return self
end

function table_metatable.__newindex(self, key)
  errors.raise("ArgumentError", "Table '%s': '%s' cannot be assigned; columns and constraints are arguments of "
    .. "Table(), or are added with append_column() and append_constraint()", self.fullname, tostring(key))
end

function table_metatable.__tostring(self)
  return "Table '" .. self.fullname .. "'"
end

--- Whether `value` is what Table() makes.
---@param value any
---@return boolean
function schema.is_table(value)
  return type(value) == "table" and getmetatable(value) == TABLE_MARK
end

local function unknown_column(self, key, where)
  local names = {}
  for position, one in ipairs(self.columns) do
    names[position] = one.key
  end
  errors.raise("NoSuchColumnError", "%stable '%s' has no column %s%s", where and where .. ": " or "", self.fullname,
    errors.show(key), errors.hint(key, names))
end

local function new_columns(self)
  return setmetatable({}, {
    __index = function(_, key) unknown_column(self, key) end,
    __newindex = function(_, key)
      errors.raise("ArgumentError", "table '%s': column '%s' cannot be assigned; use append_column()", self.fullname,
        tostring(key))
    end,
    __metatable = false,
  })
end

-- ---- what a table is made of ----

-- Empty, with a number of its own: also where a table is built anew, since the core's tables only grow.
local function reset(self)
  rawset(self, "id", self.metadata.handle:add_table(self.name, self.schema))
  self.metadata._by_id[self.id] = self
  rawset(self, "c", new_columns(self))
  rawset(self, "key_constraint", nil)
  for _, field in ipairs({ "columns", "primary_key", "foreign_keys", "foreign_key_constraints", "constraints",
    "indexes", "parts" }) do
    rawset(self, field, {})
  end
end

--- Makes a column the next one; Column:_attach does the rest.
function Table:_add_column(one)
  if rawget(self.c, one.key) then
    errors.raise("ArgumentError", "Column '%s' is declared twice on table '%s'", one.key, self.fullname)
  end
  one.position = self.metadata.handle:add_column(self.id, one.name, one.nullable, one.key)
  one.table = self
  self.columns[one.position] = one
  self.parts[#self.parts + 1] = one
  rawset(self.c, one.key, one)
  if one.primary_key then
    self.primary_key[#self.primary_key + 1] = one
    self.metadata.handle:set_primary_key(self.id, constraint.positions_of(self.primary_key))
  end
end

--- A PrimaryKeyConstraint says the key's columns and their order.
function Table:_set_primary_key(key)
  local named = {}
  for _, one in ipairs(key.columns) do
    named[one] = true
  end
  for _, one in ipairs(self.primary_key) do
    if not named[one] then
      errors.raise("ArgumentError", "table '%s': column '%s' says primary_key = true, but the PrimaryKeyConstraint "
        .. "leaves it out", self.fullname, one.name)
    end
  end
  rawset(self, "primary_key", key.columns)
  rawset(self, "key_constraint", key)
  self.metadata.handle:set_primary_key(self.id, constraint.positions_of(key.columns))
end

--- The column of this table that a name, a column or a class attribute stands for.
---@param given string|orrery.Column
---@param where string
---@return orrery.Column
function Table:_find(given, where)
  if type(given) == "string" then
    local found = rawget(self.c, given)
    for position = 1, found and 0 or #self.columns do
      found = self.columns[position].name == given and self.columns[position] or found
    end
    return found or unknown_column(self, given, where)
  end
  local one = expression.clause(given)
  one = one.origin or one
  if one.table ~= self then
    errors.raise("ArgumentError", "%s: '%s' is no column of table '%s'", where, expression.describe(one), self.fullname)
  end
  return self.c[one.key]
end

local LISTS = { primary_key = "constraints", unique = "constraints", check = "constraints", foreign_key = "constraints",
  index = "indexes" }

--- Takes a constraint or an index in.
function Table:_append(part)
  if part.table then
    errors.raise("ArgumentError", "%s belongs to table '%s' already", tostring(part), part.table.fullname)
  end
  part:_attach(self)
  local list = self[LISTS[part.kind]]
  list[#list + 1] = part
  if part.kind == "foreign_key" then
    self.foreign_key_constraints[#self.foreign_key_constraints + 1] = part
    for _, reference in ipairs(part.elements) do
      self.foreign_keys[#self.foreign_keys + 1] = reference
    end
  end
  return part
end

--- Adds a column; possible until the table is first used.
---@param one orrery.Column
function Table:append_column(one)
  if not column.is_column(one) then
    errors.raise("ArgumentError", "table:append_column(): a Column expected, got %s", errors.show(one))
  end
  one:_attach(self)
  one:_check_type()
end

--- Adds a constraint or an index.
---@param part orrery.Constraint
function Table:append_constraint(part)
  if not constraint.is_constraint(part) then
    errors.raise("ArgumentError", "table:append_constraint(): a constraint expected, got %s", errors.show(part))
  end
  self:_append(part)
  self.parts[#self.parts + 1] = part
end

--- From now on the table gets no more columns and constraints.
function Table:_freeze()
  self.metadata.handle:freeze(self.id)
  rawset(self, "frozen", true)
end

-- ---- making a table ----

local TABLE_OPTIONS = { schema = 1, extend_existing = 1, keep_existing = 1, comment = 1, info = 1,
  autoload_with = 1, resolve_fks = 1, prefixes = 1, sqlite_autoincrement = 1, sqlite_strict = 1, sqlite_with_rowid = 1 }

-- What stands among the arguments by mistake most often.
local function refuse_argument(value, call, position)
  errors.raise("ArgumentError", "%s: argument %d must be a Column, a constraint or an Index, got %s%s", call, position,
    errors.show(value), constraint.is_foreign_key(value) and "; a ForeignKey stands in its Column" or "")
end

local function check_arguments(arguments, count, call)
  for position = 1, count do
    local value = arguments[position]
    if not column.is_column(value) and not constraint.is_constraint(value) then
      refuse_argument(value, call, position + 2)
    elseif column.is_column(value) and value.name == nil then
      errors.raise("ArgumentError", "%s: argument %d is a column without a name", call, position + 2)
    end
  end
end

-- Columns first, since constraints name them; both in the order of the text.
local function fill(self, parts, count)
  for position = 1, count do
    if column.is_column(parts[position]) then
      parts[position]:_attach(self)
    end
  end
  for position = 1, count do
    if not column.is_column(parts[position]) then
      self:append_constraint(parts[position])
    end
  end
  for _, one in ipairs(self.columns) do
    one:_check_type()
  end
end

local function check_metadata(metadata, call)
  if getmetatable(metadata) ~= METADATA_MARK then
    errors.raise("ArgumentError", "%s: argument 2 must be a MetaData, got %s%s", call, errors.show(metadata),
      type(metadata) == "table" and getmetatable(rawget(metadata, "metadata")) == METADATA_MARK
        and "; pass its .metadata" or "")
  end
end

-- Words between CREATE and TABLE, which reach SQL as they are.
local PREFIXES = { TEMPORARY = true, TEMP = true }

local function check_prefixes(prefixes, call)
  if prefixes ~= nil and (type(prefixes) ~= "table" or getmetatable(prefixes)) then
    errors.raise("ArgumentError", "%s: prefixes must be a list of words such as { \"TEMPORARY\" }, got %s", call,
      errors.show(prefixes))
  end
  for _, word in ipairs(prefixes or {}) do
    if type(word) ~= "string" or not PREFIXES[word:upper()] then
      errors.raise("ArgumentError", "%s: prefixes = { %s } is not known%s", call, errors.show(word),
        errors.hint(type(word) == "string" and word:upper() or "", errors.sorted_keys(PREFIXES)))
    end
  end
end

local function check_flags(options, call)
  check_prefixes(options.prefixes, call)
  for _, name in ipairs({ "extend_existing", "keep_existing", "resolve_fks", "sqlite_autoincrement", "sqlite_strict",
    "sqlite_with_rowid" }) do
    constraint.check_flag(options, name, call)
  end
  if options.schema ~= nil then
    constraint.check_name(options.schema, call .. ": schema")
  end
end

-- A column that is given again takes the place of the one before it.
local function merge(old, arguments, count)
  local parts, place = {}, {}
  for position, part in ipairs(old) do
    local copy = part
    if column.is_column(part) then
      copy = part:copy()
      place[part.name] = position
    else
      part.table = nil
    end
    parts[position] = copy
  end
  for position = 1, count do
    local part = arguments[position]
    parts[column.is_column(part) and place[part.name] or #parts + 1] = part
  end
  return parts
end

local function check_not_frozen(self)
  if rawget(self, "frozen") then
    errors.raise("InvalidRequestError", "table '%s' is in use already: columns and keys are added before the first use",
      self.fullname)
  end
end

local function extend(self, arguments, count)
  check_not_frozen(self)
  local parts = merge(self.parts, arguments, count)
  forget(self.metadata, self)
  reset(self)
  fill(self, parts, #parts)
  return self
end

local function make(name, metadata, options, arguments, count)
  local namespace = options.schema or metadata.schema
  local fullname = namespace and namespace .. "." .. name or name
  local self = setmetatable({ visit = "table", name = name, schema = namespace, fullname = fullname,
    metadata = metadata, comment = options.comment, info = options.info or {}, options = options }, table_metatable)
  reset(self)
  local ok, err = pcall(fill, self, arguments, count)
  if not ok then
    forget(metadata, self)
    error(err, 0)
  end
  metadata.tables[fullname] = self
  return self
end

local function existing(found, options, arguments, count, call)
  if options.keep_existing or count == 0 then
    return found
  elseif options.extend_existing then
    return extend(found, arguments, count)
  end
  errors.raise("InvalidRequestError", "%s is declared in this MetaData already; { extend_existing = true } adds to it, "
    .. "another name makes another table", call)
end

local reflect

--- Sets how a table with autoload_with gets what the database says of it (reflection.lua does).
---@param fn fun(found: orrery.Table?, name: string, metadata: orrery.MetaData, options: table, given: any[]): orrery.Table
function schema.set_reflect(fn)
  reflect = fn
end

--- Makes a table, or makes `found` anew, of columns and constraints that are complete.
---@param found? orrery.Table
---@param name string
---@param metadata orrery.MetaData
---@param options table
---@param parts any[]
---@return orrery.Table
function schema.build(found, name, metadata, options, parts)
  if not found then
    return make(name, metadata, options, parts, #parts)
  end
  check_not_frozen(found)
  forget(metadata, found)
  rawset(found, "options", options)
  reset(found)
  fill(found, parts, #parts)
  return found
end

--- A table: Table("book", metadata, Column(...), ..., { options }). The name alone gives a table that is declared.
--- Options: schema, extend_existing, keep_existing, comment, info, autoload_with (an engine or connection whose table
--- of that name is read; the columns given win), resolve_fks (false: not the tables that it refers to),
--- prefixes ({ "TEMPORARY" }: the table belongs to one connection), sqlite_autoincrement, sqlite_strict, sqlite_with_rowid.
---@param name string
---@param metadata orrery.MetaData
---@param ... orrery.Column|orrery.Constraint
---@return orrery.Table
function schema.Table(name, metadata, ...)
  constraint.check_name(name, "Table()")
  local call = ("Table '%s'"):format(name)
  check_metadata(metadata, call)
  local arguments, count, options = constraint.arguments(call, TABLE_OPTIONS, ...)
  check_arguments(arguments, count, call)
  check_flags(options, call)
  local namespace = options.schema or metadata.schema
  local found = metadata.tables[namespace and namespace .. "." .. name or name]
  if options.autoload_with ~= nil and (not found or options.extend_existing) then
    return reflect(found, name, metadata, options, arguments)
  elseif found then
    return existing(found, options, arguments, count, call)
  end
  return make(name, metadata, options, arguments, count)
end

local NAMED_OPTIONS = { schema = 1 }

--- A table by its name alone, for statements: table("book", column("id", Integer), column("title", String)).
---@param name string
---@param ... orrery.Element columns, then { schema = "..." }
---@return orrery.Table
function schema.table(name, ...)
  constraint.check_name(name, "table()")
  local parts, count, options = constraint.arguments("table()", NAMED_OPTIONS, ...)
  for position = 1, count do
    local node = expression.expect(parts[position], "table()", position)
    if node.visit ~= "column" then
      errors.raise("ArgumentError", "table(): argument %d must be orm.column(name, Type), got a %s", position, node.visit)
    end
    parts[position] = column.Column(node.name, node.type)
  end
  return make(name, schema.MetaData(), options, parts, count)
end

--- Whether the table belongs to the connection that makes it, and ends with it.
---@return boolean
function Table:is_temporary()
  return #(self.options.prefixes or {}) > 0
end

-- ---- tables in statements ----

--- This table joined with another, by the foreign key between them where no condition is given.
Table.join = selectable.methods.join
--- The same as LEFT OUTER JOIN.
Table.outerjoin = selectable.methods.outerjoin

--- The table under another name.
---@param name? string
function Table:alias(name)
  return selectable.alias(self, name)
end

return schema
