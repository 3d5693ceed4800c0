--- constraint: primary keys, unique keys, foreign keys, checks and indexes as a script declares them, which wait as
-- objects until their table takes them in. What foreign keys mean together is decided by the core (schema.c); the
-- text of all of them is ddl.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local functions = import "functions"
local joining = import "joining"
local naming = import "naming"

local constraint = {}

-- ---- arguments ----

local function is_options(value)
  return type(value) == "table" and getmetatable(value) == nil and rawget(value, "optional") ~= true
end

--- The positional arguments of a call, how many they are, and its checked options table. nil is refused.
---@param call string
---@param allowed table<string, any>
---@return any[] arguments
---@return integer count
---@return table options
function constraint.arguments(call, allowed, ...)
  local arguments, count = { ... }, select("#", ...)
  local options
  if count > 0 and is_options(arguments[count]) then
    options, arguments[count], count = arguments[count], nil, count - 1
  end
  for position = 1, count do
    if arguments[position] == nil then
      errors.raise("ArgumentError", "%s: argument %d is nil (is a name misspelt?)", call, position)
    end
  end
  return arguments, count, errors.check_options(options, allowed, call)
end

local LONGEST = 4096 -- bytes of a name; statements with longer ones are of no use to anybody

--- A name of a table, column or constraint; raises for what is none.
---@param name any
---@param where string
---@return string
function constraint.check_name(name, where)
  if type(name) ~= "string" or name == "" or name:find("\0", 1, true) then
    errors.raise("ArgumentError", "%s: a name is a string that is not empty and has no NUL byte, got %s", where,
      errors.show(name))
  elseif not core.is_utf8(name) then
    errors.raise("ArgumentError", "%s: a name is text in UTF-8, got %s", where, errors.show(name))
  elseif #name > LONGEST then
    errors.raise("ArgumentError", "%s: a name has at most %d bytes, got %d: %s", where, LONGEST, #name, errors.show(name))
  end
  return name
end

local function check_flag(options, name, call)
  if options[name] ~= nil and type(options[name]) ~= "boolean" then
    errors.raise("ArgumentError", "%s: %s must be true or false, got %s", call, name, errors.show(options[name]))
  end
end
constraint.check_flag = check_flag

-- Words that reach SQL as they are.
local ACTIONS = { "CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION" }
local CONFLICTS = { "ROLLBACK", "ABORT", "FAIL", "IGNORE", "REPLACE" }
local WORDS = { ondelete = ACTIONS, onupdate = ACTIONS, initially = { "DEFERRED", "IMMEDIATE" },
  sqlite_on_conflict = CONFLICTS, sqlite_on_conflict_not_null = CONFLICTS, sqlite_on_conflict_unique = CONFLICTS,
  sqlite_on_conflict_primary_key = CONFLICTS }

local function check_word(options, name, call)
  local value = options[name]
  for _, word in ipairs(WORDS[name]) do
    if type(value) == "string" and value:upper() == word then
      return word
    end
  end
  if value ~= nil then
    errors.raise("ArgumentError", "%s: %s = %s is not known%s", call, name, errors.show(value),
      errors.hint(type(value) == "string" and value:upper() or "", WORDS[name]))
  end
end

constraint.check_word = check_word

-- ---- what all of them are ----

---@class orrery.Constraint
---@field kind string "primary_key", "unique", "foreign_key", "check" or "index"
---@field name? string
---@field table? orrery.Table
---@field columns orrery.Column[] once the table has it
local Constraint = {}
local MARK = { __name = "orrery.constraint" }
local metatable = { __index = Constraint, __metatable = MARK }
local ATTACH = {}

--- Methods of constraints and indexes, for files that add some.
constraint.methods = Constraint

--- Whether `value` is a constraint or an index.
---@param value any
---@return boolean
function constraint.is_constraint(value)
  return type(value) == "table" and getmetatable(value) == MARK
end

function metatable.__tostring(self)
  return self.call .. (self.name and " '" .. self.name .. "'" or "")
end

local function new(kind, call, options, fields)
  local name, final = naming.unwrap(options.name)
  fields.kind, fields.call = kind, call
  fields.name = name and constraint.check_name(name, call) or nil
  fields.given_name, fields.final = fields.name, final
  check_flag(options, "deferrable", call)
  fields.deferrable, fields.initially = options.deferrable, check_word(options, "initially", call)
  fields.on_conflict = check_word(options, "sqlite_on_conflict", call)
  fields.comment, fields.info = options.comment, options.info or {}
  return setmetatable(fields, metatable)
end

local function check_column(value, call, position)
  local node = type(value) ~= "string" and expression.clause(value)
  if type(value) ~= "string" and not (node and node.visit == "column") then
    errors.raise("ArgumentError", "%s: argument %d must be a column or its name, got %s", call, position,
      errors.show(value))
  end
end

local function columns_of(self, tbl, given)
  local columns = {}
  for position, one in ipairs(given) do
    columns[position] = tbl:_find(one, tostring(self))
  end
  return columns
end

local function positions_of(columns)
  local positions = {}
  for index, column in ipairs(columns) do
    positions[index] = column.position
  end
  return positions
end
constraint.positions_of = positions_of

local function take_name(self)
  self.name = naming.name_of(self, self.table.metadata.naming_convention)
end

--- Gives the constraint its table: finds its columns there and tells the core what it says about them.
---@param tbl orrery.Table
function Constraint:_attach(tbl)
  self.table = tbl
  self.columns = columns_of(self, tbl, self.given)
  ATTACH[self.kind](self, tbl)
  if self.kind ~= "foreign_key" then -- which has its name when it knows what it refers to
    take_name(self)
  end
  return self
end

--- The constraint keeps the name that it has, or stays without one, whatever the convention says.
function Constraint:_keep_name()
  self.final = true
  return self
end

-- ---- keys ----

local KEY_OPTIONS = { name = 1, sqlite_on_conflict = 1, deferrable = 1, initially = 1, comment = 1, info = 1 }

local function key_of_columns(kind, call, ...)
  local given, count, options = constraint.arguments(call, KEY_OPTIONS, ...)
  for position = 1, count do
    check_column(given[position], call, position)
  end
  if count == 0 then
    errors.raise("ArgumentError", "%s needs at least one column", call)
  end
  return new(kind, call, options, { given = given })
end

--- The primary key of a table, for keys of several columns or with a name.
---@param ... string|orrery.Column columns, then options: name
---@return orrery.Constraint
function constraint.PrimaryKeyConstraint(...)
  return key_of_columns("primary_key", "PrimaryKeyConstraint()", ...)
end

function ATTACH.primary_key(self, tbl)
  for _, column in ipairs(self.columns) do
    column:_join_primary_key()
  end
  tbl:_set_primary_key(self)
end

--- Columns whose values no two rows share.
---@param ... string|orrery.Column columns, then options: name, deferrable, initially, sqlite_on_conflict
---@return orrery.Constraint
function constraint.UniqueConstraint(...)
  return key_of_columns("unique", "UniqueConstraint()", ...)
end

function ATTACH.unique(self, tbl)
  tbl.metadata.handle:add_unique(tbl.id, positions_of(self.columns))
end

-- ---- checks ----

local CHECK_OPTIONS = { name = 1, sqlite_on_conflict = 1, comment = 1, info = 1 }

--- A condition that every row meets.
---@param condition string|orrery.Element SQL (taken as it stands: never what a user wrote) or an expression
---@param options? { name?: string }
---@return orrery.Constraint
function constraint.CheckConstraint(condition, options)
  local call = "CheckConstraint()"
  options = errors.check_options(options, CHECK_OPTIONS, call)
  if type(condition) == "string" then
    condition = functions.literal_column(condition)
  end
  return new("check", call, options, { given = {}, condition = expression.expect_operand(condition, call, 1) })
end

function ATTACH.check() end

-- ---- foreign keys ----

local FOREIGN_OPTIONS = { name = 1, ondelete = 1, onupdate = 1, deferrable = 1, initially = 1, use_alter = 1,
  link_to_name = 1, comment = 1, info = 1 }

---@class orrery.ForeignKey
---@field target string|orrery.Column "table.column" or the column
---@field parent? orrery.Column the column that refers
---@field column orrery.Column the column that is referred to, looked up when read
---@field constraint? orrery.Constraint
local ForeignKey = {}
local FOREIGN_MARK = { __name = "orrery.ForeignKey" }
local foreign_metatable = { __metatable = FOREIGN_MARK }

--- Whether `value` is what ForeignKey() makes.
---@param value any
---@return boolean
function constraint.is_foreign_key(value)
  return type(value) == "table" and getmetatable(value) == FOREIGN_MARK
end

-- A place in the database, which needs no dots to be taken apart: for names that have some.
local PLACE = { __name = "orrery.place" }

--- Where a foreign key of ForeignKeyConstraint() leads, by names exactly as the database has them.
---@param fullname string "table" or "schema.table"
---@param table_name string
---@param column_name string
function constraint.place(fullname, table_name, column_name)
  return setmetatable({ table_name = fullname, plain_name = table_name, column_name = column_name, by_name = true },
    { __metatable = PLACE })
end

local function check_target(target, call)
  if type(target) == "table" and getmetatable(target) == PLACE then
    return { table_name = target.table_name, plain_name = target.plain_name, column_name = target.column_name,
      by_name = true }
  elseif type(target) == "string" then
    local table_name, column_name = target:match("^(.+)%.([^%.]+)$")
    if not table_name then
      errors.raise("ArgumentError", "%s: a foreign key refers to \"table.column\" or a column, got %s", call,
        errors.show(target))
    end
    return { table_name = table_name, column_name = column_name }
  end
  local node = expression.clause(target)
  if not node or node.visit ~= "column" then
    errors.raise("ArgumentError", "%s: a foreign key refers to \"table.column\" or a column, got %s%s", call,
      errors.show(target), target == nil and " (is a name misspelt?)" or "")
  end
  return { target_column = node.origin or node }
end

local function new_reference(target, call)
  local self = check_target(target, call)
  self.target = target
  return setmetatable(self, foreign_metatable)
end

--- What a column refers to, as an argument of its Column(): ForeignKey("author.id", { ondelete = "CASCADE" }). The
--- column is named by its key; by its name where there is no such key, or with link_to_name.
--- Options: name, ondelete, onupdate, deferrable, initially, use_alter, link_to_name.
---@param target string|orrery.Column "table.column", "schema.table.column" or the column itself
---@param options? table
---@return orrery.ForeignKey
function constraint.ForeignKey(target, options)
  local self = new_reference(target, "ForeignKey()")
  self.options = errors.check_options(options, FOREIGN_OPTIONS, "ForeignKey()")
  check_word(self.options, "ondelete", "ForeignKey()")
  check_word(self.options, "onupdate", "ForeignKey()")
  check_flag(self.options, "link_to_name", "ForeignKey()")
  return self
end

--- The same foreign key for another column.
function ForeignKey:copy()
  return constraint.ForeignKey(self.target, self.options)
end

local function resolve(self)
  if self.target_column then
    return self.target_column
  end
  local owner = self.constraint
  if not owner then
    errors.raise("InvalidRequestError", "ForeignKey(%s) belongs to no table yet", errors.show(self.target))
  end
  local referred, positions = owner:target()
  return referred.columns[positions[self.position]]
end

function foreign_metatable.__index(self, key)
  if key == "column" then
    return resolve(self)
  end
  return ForeignKey[key]
end

function foreign_metatable.__tostring(self)
  return "ForeignKey(" .. errors.show(type(self.target) == "string" and self.target
    or expression.describe(self.target_column)) .. ")"
end

local function new_foreign_key(options, fields)
  local call = "ForeignKeyConstraint()"
  check_flag(options, "use_alter", call)
  check_flag(options, "link_to_name", call)
  fields.use_alter, fields.link_to_name = options.use_alter, options.link_to_name
  fields.ondelete, fields.onupdate = check_word(options, "ondelete", call), check_word(options, "onupdate", call)
  return new("foreign_key", call, options, fields)
end

--- The constraint of a ForeignKey() that stands in a column.
---@param reference orrery.ForeignKey
---@param column orrery.Column
---@return orrery.Constraint
function constraint.of_column(reference, column)
  return new_foreign_key(reference.options, { given = { column }, elements = { reference } })
end

--- A foreign key of several columns: ForeignKeyConstraint({ "shop", "no" }, { "orders.shop", "orders.no" }).
---@param columns (string|orrery.Column)[]
---@param targets (string|orrery.Column)[] as many
---@param options? table as ForeignKey() takes them
---@return orrery.Constraint
function constraint.ForeignKeyConstraint(columns, targets, options)
  local call = "ForeignKeyConstraint()"
  if type(columns) ~= "table" or type(targets) ~= "table" then
    errors.raise("ArgumentError", "%s: two lists expected, { columns }, { \"table.column\", ... }", call)
  elseif #columns ~= #targets or #columns == 0 then
    errors.raise("ArgumentError", "%s: %d columns cannot refer to %d", call, #columns, #targets)
  end
  local elements, given = {}, {}
  for position, column in ipairs(columns) do
    check_column(column, call, position)
    given[position], elements[position] = column, new_reference(targets[position], call)
  end
  return new_foreign_key(errors.check_options(options, FOREIGN_OPTIONS, call), { given = given, elements = elements })
end

-- "author" or "schema.author", and "id".
local function target_names(self, reference)
  local column = reference.target_column
  if reference.by_name then
    return reference.table_name, reference.column_name
  elseif not column then
    local default = self.table.metadata.schema
    local plain = not reference.table_name:find(".", 1, true)
    return plain and default and default .. "." .. reference.table_name or reference.table_name, reference.column_name
  elseif column.table.metadata ~= self.table.metadata then
    errors.raise("ArgumentError", "foreign key '%s': '%s' belongs to another MetaData",
      expression.describe(reference.parent), expression.describe(column))
  end
  return column.table.fullname, column.name
end

-- Tells the core. A column object that has no table yet does it when it gets one.
local function register(self)
  local names, table_name, by_name = {}, nil, self.link_to_name
  for position, reference in ipairs(self.elements) do
    local column = reference.target_column
    if column and not column.table then
      return column:_when_attached(function() register(self) end)
    end
    by_name = by_name or column ~= nil or reference.by_name
    local referred
    referred, names[position] = target_names(self, reference)
    table_name = table_name or referred
    if referred ~= table_name then
      errors.raise("ArgumentError", "%s on '%s': all columns must refer to one table, got '%s' and '%s'", self.call,
        self.table.name, table_name, referred)
    end
  end
  self.id = self.table.metadata.handle:add_foreign_key(self.table.id, positions_of(self.columns), table_name, names,
    self.use_alter, by_name)
  self.table.metadata._foreign_keys[self.id] = self
  take_name(self)
end

function ATTACH.foreign_key(self)
  for position, reference in ipairs(self.elements) do
    local column = self.columns[position]
    reference.parent, reference.position, reference.constraint = column, position, self
    column.foreign_keys[#column.foreign_keys + 1] = reference
  end
  self.id = nil
  register(self)
end

--- The table that a foreign key refers to and the positions of the columns there; raises where there is none.
---@return orrery.Table
---@return integer[]
function Constraint:target()
  if not self.id then
    errors.raise("InvalidRequestError", "foreign key '%s' refers to a column that belongs to no table",
      expression.describe(self.columns[1]))
  end
  local metadata = self.table.metadata
  local id, positions = metadata.handle:foreign_key_target(self.id)
  return metadata._by_id[id], positions
end

-- ---- indexes ----

local INDEX_OPTIONS = { unique = 1, where = 1, sqlite_where = 1, info = 1, comment = 1 }

-- Names stay names until the table is known.
local function check_index_part(value, position)
  if type(value) == "string" then
    return value
  end
  return expression.expect_operand(value, "Index()", position)
end

local function index_table(parts)
  for _, part in ipairs(parts) do
    local found = type(part) ~= "string" and joining.tables_of(part)[1]
    if found then
      return found
    end
  end
end

local function new_index(call, parts, options)
  check_flag(options, "unique", call)
  local where = options.where
  if where == nil then
    where = options.sqlite_where
  end
  return new("index", "Index()", options, { given = {}, parts = parts, unique = options.unique or false,
    where = where ~= nil and expression.expect_operand(where, call .. " where", 1) or nil })
end

--- The index of a column that says index = true; its name is the convention's.
---@param column orrery.Column
---@param unique boolean
function constraint.index_of_column(column, unique)
  return new_index("Index()", { column }, { unique = unique })
end

--- An index of parts that belong to a table which takes it in later; no convention changes its name, if it has one.
---@param name? string
---@param parts (string|orrery.Element)[]
---@param options { unique?: boolean, where?: orrery.Element }
function constraint.index_of_parts(name, parts, options)
  local self = new_index("Index()", parts, options)
  self.name, self.given_name, self.final = name, name, name ~= nil
  return self
end

-- orm.null in place of a name leaves it to the convention of the MetaData; nil may be a misspelt variable.
local function read_index_name(given)
  if given == core.null then
    return nil, false
  end
  local name, final = naming.unwrap(given)
  if name == nil then
    errors.raise("ArgumentError", "Index(): argument 1 is nil (is a name misspelt?); orm.null leaves the name to the naming "
      .. "convention")
  end
  return constraint.check_name(name, "Index()"), final
end

--- An index on columns or expressions: Index("ix_user_name", "name", { unique = true }). Given columns of a table, it
--- is the table's at once; otherwise it goes among the table's arguments. orm.null as the name has it follow from the
--- naming convention.
---@param name string
---@param ... string|orrery.Element then options: unique, where (a condition: the index is partial)
---@return orrery.Constraint
function constraint.Index(name, ...)
  local final
  name, final = read_index_name(name)
  local call = name and ("Index('%s')"):format(name) or "Index()"
  local parts, count, options = constraint.arguments(call, INDEX_OPTIONS, ...)
  for position = 1, count do
    parts[position] = check_index_part(parts[position], position + 1)
  end
  if count == 0 then
    errors.raise("ArgumentError", "%s needs at least one column", call)
  end
  local self = new_index(call, parts, options)
  self.name, self.given_name, self.final = name, name, final
  local tbl = index_table(parts)
  if tbl and tbl.append_constraint then
    tbl:append_constraint(self)
  end
  return self
end

local index_column

-- A direction does not change which column it is.
function index_column(self, part, tbl)
  if type(part) ~= "string" and part.visit == "ordering" and part.element.visit == "column" then
    return index_column(self, part.element, tbl)
  elseif type(part) == "string" or part.visit == "column" then
    return tbl:_find(part, tostring(self))
  end
end

function ATTACH.index(self, tbl)
  local plain = true
  self.expressions = {}
  for position, part in ipairs(self.parts) do
    local column = index_column(self, part, tbl)
    self.expressions[position] = type(part) ~= "string" and part.visit == "ordering" and part or column or part
    self.columns[#self.columns + 1] = column
    plain = plain and column ~= nil
  end
  if self.unique and plain and not self.where then
    tbl.metadata.handle:add_unique(tbl.id, positions_of(self.columns))
  end
end

return constraint
