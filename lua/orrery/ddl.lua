--- ddl: the SQL that makes and drops tables and indexes. One function for each kind of constraint; names are quoted by
-- the dialect alone. What the tables are is schema.lua's; running it is creation.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local functions = import "functions"
local naming = import "naming"
local schema = import "schema"
local literal = import "literal"
local compiler = import "compiler"

local ddl = {}
local unpack = rawget(table, "unpack") or unpack
local concat = table.concat
local kinds = core.kinds

-- ---- values and expressions, where nothing can be bound ----

local function expression_text(node, dialect)
  return compiler.expression_sql(node, dialect)
end

-- ---- names ----

local function names_of(columns, dialect)
  local names = {}
  for position, column in ipairs(columns) do
    names[position] = dialect.quote(column.name)
  end
  return concat(names, ", ")
end

local function table_name(tbl, dialect)
  return compiler.table_name(tbl, dialect)
end

-- ---- columns ----

-- Only expressions need parentheses; text() is taken as it stands.
local function default_text(value, kind, dialect)
  local node = expression.clause(value)
  if not node then
    return type(value) == "string" and literal.text(value, types.Text, dialect)
      or literal.text(value, type(value) == "boolean" and types.Boolean or kind, dialect)
  elseif node.visit == "text" or node.visit == "literal_column" then
    return compiler.expression_sql(node, dialect)
  end
  return "(" .. expression_text(node, dialect) .. ")"
end

-- Whether the key's constraint stands at the column, which is where SQLite wants AUTOINCREMENT.
local function is_counted(column, dialect)
  local tbl = column.table
  return dialect.name == "sqlite" and tbl.options.sqlite_autoincrement and #tbl.primary_key == 1
    and tbl.primary_key[1] == column
end

-- Whether the database makes the key's numbers.
local function is_given(column)
  local key = column.table.primary_key
  return #key == 1 and key[1] == column and column.autoincrement ~= false and #column.foreign_keys == 0
    and column.server_default == nil
end

-- A type as a database was found to have it, word for word where words are all that it is.
local function verbatim_type(text, dialect)
  local words, arguments = text:match("^([%a_][%w_ ]*)(%(?[%d%s,+%-%.]*%)?)$")
  for word in (words or ""):gmatch("%S+") do
    words = words and dialect.quote(word:lower()) == word:lower() and words or nil
  end
  return words and words .. arguments or dialect.quote(text)
end

local function type_text(column, dialect)
  local declared = column.declared_type and column.declared_type[dialect.name]
  if declared then
    return declared ~= "" and verbatim_type(declared, dialect) or nil
  end
  local kind = column.type
  if column.table.options.sqlite_strict and dialect.strict_types then
    return kind.as == "string" and kind.kind == kinds.NUMERIC and "TEXT" or dialect.strict_types[kind.kind]
  end
  return is_given(column) and not column.identity and dialect.serial and dialect.serial[kind.name] or kind:ddl(dialect)
end

local function computed_text(computed, dialect)
  local text = "GENERATED ALWAYS AS (" .. expression_text(computed.sqltext, dialect) .. ")"
  local stored = computed.persisted
  if stored == nil then
    stored = dialect.computed_stored
  end
  return stored ~= nil and text .. (stored and " STORED" or " VIRTUAL") or text
end

local IDENTITY_WORDS = { { "start", "START WITH %d" }, { "increment", "INCREMENT BY %d" }, { "minvalue", "MINVALUE %d" },
  { "maxvalue", "MAXVALUE %d" }, { "nominvalue", "NO MINVALUE" }, { "nomaxvalue", "NO MAXVALUE" }, { "cache", "CACHE %d" },
  { "cycle", "CYCLE" } }

local function identity_text(options)
  local parts = {}
  for _, entry in ipairs(IDENTITY_WORDS) do
    local value = options[entry[1]]
    parts[#parts + 1] = value and entry[2]:format(value) or nil
  end
  return ("GENERATED %s AS IDENTITY%s"):format(options.always and "ALWAYS" or "BY DEFAULT",
    parts[1] and " (" .. concat(parts, " ") .. ")" or "")
end

local function check_identity(column, dialect)
  local key = column.table.primary_key
  if column.identity and not dialect.identity and (#key ~= 1 or key[1] ~= column
    or column.type:ddl(dialect) ~= "INTEGER") then
    errors.raise("CompileError", "column '%s': %s gives numbers to a single primary key of type Integer only, so "
      .. "Identity() cannot stand here", expression.describe(column), dialect.name)
  end
end

local function key_name(tbl)
  local declared = rawget(tbl, "key_constraint")
  return naming.name_of(declared or { kind = "primary_key", call = "PrimaryKeyConstraint()", table = tbl,
    columns = tbl.primary_key }, tbl.metadata.naming_convention)
end

local function with_name(name, text, dialect)
  return name and "CONSTRAINT " .. dialect.quote(name) .. " " .. text or text
end

local function collation_text(name, dialect)
  return "COLLATE " .. (dialect.collations[name] and name or dialect.quote(name))
end

local function conflict(word, dialect)
  return word and dialect.name == "sqlite" and " ON CONFLICT " .. word or ""
end

-- The key's own constraint may say what happens, or its column.
local function key_conflict(tbl, dialect)
  local declared = rawget(tbl, "key_constraint")
  local column = #tbl.primary_key == 1 and tbl.primary_key[1]
  return conflict(declared and declared.on_conflict or column and column.on_conflict_primary_key, dialect)
end

local function column_text(column, dialect)
  check_identity(column, dialect)
  local parts = { dialect.quote(column.name) }
  parts[#parts + 1] = type_text(column, dialect)
  parts[#parts + 1] = column.identity and dialect.identity and identity_text(column.identity.options) or nil
  parts[#parts + 1] = column.collation and collation_text(column.collation, dialect)
  if column.server_default ~= nil then
    parts[#parts + 1] = "DEFAULT " .. default_text(column.server_default, column.type, dialect)
  end
  parts[#parts + 1] = not column.nullable and "NOT NULL" .. conflict(column.on_conflict_not_null, dialect) or nil
  if is_counted(column, dialect) then
    parts[#parts + 1] = with_name(key_name(column.table), "PRIMARY KEY" .. key_conflict(column.table, dialect)
      .. " AUTOINCREMENT", dialect)
  end
  parts[#parts + 1] = column.computed and computed_text(column.computed, dialect)
  return concat(parts, " ")
end

-- ---- constraints ----

-- INITIALLY alone means DEFERRABLE, which SQLite wants to read.
local function deferral(part)
  local text = part.initially and " DEFERRABLE" or ""
  if part.deferrable ~= nil then
    text = part.deferrable and " DEFERRABLE" or " NOT DEFERRABLE"
  end
  return part.initially and text .. " INITIALLY " .. part.initially or text
end

local CONSTRAINT = {}

-- Written for the table, whose key may have no constraint object.
function CONSTRAINT.primary_key()
  return nil
end

function CONSTRAINT.unique(part, dialect)
  return "UNIQUE (" .. names_of(part.columns, dialect) .. ")" .. conflict(part.on_conflict, dialect)
    .. deferral(part)
end

function CONSTRAINT.check(part, dialect)
  return "CHECK (" .. expression_text(part.condition, dialect) .. ")" .. conflict(part.on_conflict, dialect)
end

function CONSTRAINT.foreign_key(part, dialect)
  local referred, columns = (part:target()), {}
  for position, reference in ipairs(part.elements) do
    columns[position] = reference.column
  end
  return ("FOREIGN KEY(%s) REFERENCES %s (%s)%s%s%s"):format(names_of(part.columns, dialect),
    part.table.schema == referred.schema and dialect.quote(referred.name) or table_name(referred, dialect),
    names_of(columns, dialect), part.ondelete and " ON DELETE " .. part.ondelete or "",
    part.onupdate and " ON UPDATE " .. part.onupdate or "", deferral(part))
end

local function primary_key_text(tbl, dialect)
  local key = tbl.primary_key
  if #key == 0 or is_counted(key[1], dialect) then
    return nil
  end
  return with_name(key_name(tbl), "PRIMARY KEY (" .. names_of(key, dialect) .. ")" .. key_conflict(tbl, dialect),
    dialect)
end

-- The name of an Enum's check; a convention that builds on a name has nothing to say where there is none.
local function enum_name(column)
  local tbl, name = column.table, column.type.enum_name
  local convention = tbl.metadata.naming_convention
  if not name and (convention.ck or ""):find("constraint_name", 1, true) then
    return nil
  end
  return naming.name_of({ kind = "check", call = "Enum()", table = tbl, columns = { column }, given_name = name },
    convention)
end

-- Enum(..., { create_constraint = true }) has its values checked by the database.
local function enum_text(column, dialect)
  local kind = column.type
  if not kind.create_constraint then
    return nil
  end
  local values = {}
  for position, value in ipairs(kind.values) do
    values[position] = literal.text(value, types.Text, dialect)
  end
  return with_name(enum_name(column), ("CHECK (%s IN (%s))"):format(dialect.quote(column.name), concat(values, ", ")),
    dialect)
end

-- ---- whole statements ----

local function table_lines(tbl, dialect)
  local lines = {}
  for _, column in ipairs(tbl.columns) do
    lines[#lines + 1] = column_text(column, dialect)
  end
  lines[#lines + 1] = primary_key_text(tbl, dialect)
  for _, part in ipairs(tbl.constraints) do
    local text = CONSTRAINT[part.kind](part, dialect)
    lines[#lines + 1] = text and with_name(part.name, text, dialect)
  end
  for _, column in ipairs(tbl.columns) do
    lines[#lines + 1] = enum_text(column, dialect)
  end
  return lines
end

local function table_options(tbl, dialect)
  local words = {}
  if dialect.name == "sqlite" then
    words[1] = tbl.options.sqlite_with_rowid == false and "WITHOUT ROWID" or nil
    words[#words + 1] = tbl.options.sqlite_strict and "STRICT" or nil
  end
  return #words > 0 and " " .. concat(words, ", ") or ""
end

local WRITE = {}

local function if_not_exists(options)
  return options and options.if_not_exists and "IF NOT EXISTS " or ""
end

local function if_exists(options)
  return options and options.if_exists and "IF EXISTS " or ""
end

-- Of a fixed set of words (schema.lua).
local function prefixes(tbl)
  local words = {}
  for position, word in ipairs(tbl.options.prefixes or {}) do
    words[position] = word:upper() .. " "
  end
  return concat(words)
end

function WRITE.CreateTable(tbl, dialect, options)
  if #tbl.columns == 0 then
    errors.raise("CompileError", "table '%s' has no columns", tbl.fullname)
  elseif dialect.reserved_prefix and tbl.name:lower():sub(1, #dialect.reserved_prefix) == dialect.reserved_prefix then
    errors.raise("CompileError", "table '%s': names that begin with '%s' belong to the database itself", tbl.fullname,
      dialect.reserved_prefix)
  end
  return ("CREATE %sTABLE %s%s (\n\t%s\n)%s"):format(prefixes(tbl), if_not_exists(options), table_name(tbl, dialect),
    concat(table_lines(tbl, dialect), ",\n\t"), table_options(tbl, dialect))
end

function WRITE.DropTable(tbl, dialect, options)
  return "DROP TABLE " .. if_exists(options) .. table_name(tbl, dialect)
end

-- An index of another schema has its name there, and its table is looked up there.
local function index_name(index, dialect)
  local namespace, name = index.table.schema, dialect.quote(index.name)
  return namespace and dialect.quote(namespace) .. "." .. name or name
end

function WRITE.CreateIndex(index, dialect, options)
  local elements = {}
  for position, element in ipairs(index.expressions) do
    elements[position] = expression_text(element, dialect)
  end
  return ("CREATE %sINDEX %s%s ON %s (%s)%s"):format(index.unique and "UNIQUE " or "", if_not_exists(options),
    index_name(index, dialect), dialect.quote(index.table.name), concat(elements, ", "),
    index.where and " WHERE " .. expression_text(index.where, dialect) or "")
end

function WRITE.DropIndex(index, dialect, options)
  return "DROP INDEX " .. if_exists(options) .. index_name(index, dialect)
end

-- ---- as objects ----

local Statement = {}
local mark = { __name = "orrery.DDL" }
local metatable = { __index = errors.guard(Statement, "DDL"), __metatable = mark }

--- The SQL for a dialect.
---@param dialect? orrery.Dialect SQLite's by default
---@return string
function Statement:compile(dialect)
  return WRITE[self.kind](self.element, (compiler.options(dialect)), self.options)
end

metatable.__tostring = Statement.compile

-- As a statement for connection:execute().
function mark.__clause(self)
  return functions.text(self:compile())
end

--- SQL of the script's own, taken as it stands, for conn:execute(): DDL("CREATE VIEW ...").
---@param sql string
function ddl.DDL(sql)
  if type(sql) ~= "string" or not sql:find("%S") then
    errors.raise("ArgumentError", "DDL(): SQL text expected, got %s", errors.show(sql))
  end
  return setmetatable({ kind = "DDL", element = sql }, metatable)
end

function WRITE.DDL(sql)
  return sql
end

local function define(kind, accepts, wanted, option)
  ddl[kind] = function(element, options)
    if not accepts(element) then
      errors.raise("ArgumentError", "%s(): %s expected, got %s", kind, wanted, errors.show(element))
    end
    options = errors.check_options(options, { [option] = 1 }, kind .. "()")
    return setmetatable({ kind = kind, element = element, options = options }, metatable)
  end
end

local function is_index(value)
  return schema.is_constraint(value) and value.kind == "index" and value.table ~= nil
end

define("CreateTable", schema.is_table, "a Table", "if_not_exists")
define("DropTable", schema.is_table, "a Table", "if_exists")
define("CreateIndex", is_index, "an Index of a table", "if_not_exists")
define("DropIndex", is_index, "an Index of a table", "if_exists")

-- ---- views ----

-- A view has no parameters, so the select's values are written out.
local function select_text(statement, dialect)
  return compiler.compile(statement, { dialect = dialect, literal_binds = true }).sql
end

function WRITE.CreateView(view, dialect)
  return ("CREATE %sVIEW %s%s AS %s"):format(view.temporary and "TEMPORARY " or "", if_not_exists(view),
    table_name(view.table, dialect), select_text(view.statement, dialect))
end

function WRITE.DropView(tbl, dialect, options)
  return "DROP VIEW " .. if_exists(options) .. table_name(tbl, dialect)
end

local function view_columns(statement)
  local columns = {}
  for position, column in ipairs(statement:subquery().columns) do
    columns[position] = schema.Column(column.name, column.type)
  end
  return columns
end

local VIEW_OPTIONS = { metadata = 1, schema = 1, temporary = 1, if_not_exists = 1 }

local function check_view(statement, options)
  local call = "CreateView()"
  statement = expression.clause(statement)
  if not statement or (statement.visit ~= "select" and statement.visit ~= "compound") then
    errors.raise("ArgumentError", "%s: argument 1 must be a select", call)
  end
  options = errors.check_options(options, VIEW_OPTIONS, call)
  if options.metadata ~= nil and not schema.is_metadata(options.metadata) then
    errors.raise("ArgumentError", "%s: metadata must be a MetaData, got %s", call, errors.show(options.metadata))
  end
  return statement, options
end

--- A view of a select: its SQL, and as `.table` a Table to select from. With a `metadata`, create_all and drop_all make
--- and drop it after and before the tables. Options: metadata, schema, temporary, if_not_exists.
---@param statement table a select or union
---@param name string
---@param options? table
function ddl.CreateView(statement, name, options)
  statement, options = check_view(statement, options)
  local metadata = options.metadata or schema.MetaData()
  local arguments = view_columns(statement)
  arguments[#arguments + 1] = { schema = options.schema }
  local tbl = schema.Table(name, metadata, unpack(arguments))
  rawset(tbl, "is_view", true)
  local view = { statement = statement, table = tbl, temporary = options.temporary, if_not_exists = options.if_not_exists }
  local self = setmetatable({ kind = "CreateView", element = view, table = tbl }, metatable)
  if options.metadata then
    metadata.views[#metadata.views + 1] = self
  end
  return self
end

--- Drops a view: what CreateView() made, or a Table that was read from one. Options: if_exists.
---@param view table
---@param options? { if_exists?: boolean }
function ddl.DropView(view, options)
  local tbl = getmetatable(view) == mark and view.table or view
  if not schema.is_table(tbl) or not tbl.is_view then
    errors.raise("ArgumentError", "DropView(): a view expected, got %s", errors.show(view))
  end
  options = errors.check_options(options, { if_exists = 1 }, "DropView()")
  return setmetatable({ kind = "DropView", element = tbl, options = options }, metatable)
end

--- The SQL of one element: write("CreateTable", tbl, dialect).
---@param kind string
---@param element any
---@param dialect orrery.Dialect
---@return string
function ddl.write(kind, element, dialect)
  return WRITE[kind](element, dialect)
end

return ddl
