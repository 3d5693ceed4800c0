--- ddl: the SQL that makes and drops tables and indexes, and metadata:create_all() and drop_all(). One function for
-- each kind of constraint; names are quoted by the dialect alone. What the tables are is schema.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local functions = import "functions"
local schema = import "schema"
local compiler = import "compiler"

local ddl = {}
local PARTS = expression.PARTS
local concat = table.concat
local null, kinds = core.null, core.kinds

-- ---- values and expressions, where nothing can be bound ----

local function number_text(value)
  if value % 1 == 0 and value > -2 ^ 63 and value < 2 ^ 63 then
    return ("%d"):format(value)
  end
  return (("%.17g"):format(value):gsub(",", "."))
end

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02X"):format(byte:byte()) end))
end

--- A value as SQL text.
---@param value any
---@param kind orrery.Type
---@param dialect orrery.Dialect
---@return string
function ddl.literal(value, kind, dialect)
  local stored = kind:to_db(value)
  if stored == null then
    return "NULL"
  elseif type(stored) == "boolean" then
    return dialect.constants[tostring(stored)]
  elseif type(stored) == "number" then
    return kind.kind == kinds.BOOLEAN and dialect.constants[tostring(stored ~= 0)] or number_text(stored)
  elseif kind.kind == kinds.BLOB then
    return "X'" .. hex(stored) .. "'"
  elseif stored:find("\0", 1, true) then
    errors.raise("CompileError", "%s has a NUL byte, which SQL text cannot hold", errors.show(stored))
  end
  return "'" .. stored:gsub("'", "''") .. "'"
end

local inline

local function inline_list(list, dialect)
  local copies = {}
  for position, node in ipairs(list) do
    copies[position] = inline(node, dialect)
  end
  return copies
end

local function constant(text)
  return expression.new{ visit = "constant", text = text, type = types.NullType }
end

local INLINE = {
  bind = function(node, dialect)
    if node.value == nil then
      errors.raise("CompileError", "the parameter '%s' stands in DDL and has no value", tostring(node.key))
    end
    return constant(ddl.literal(node.value, node.type, dialect))
  end,
  list = function(node, dialect)
    local elements = {}
    for position, value in ipairs(node.values) do
      elements[position] = constant(ddl.literal(value, node.type, dialect))
    end
    return expression.new{ visit = "members", elements = elements, type = types.NullType }
  end,
  column = function(node)
    return expression.new{ visit = "column", name = node.name, type = node.type }
  end,
}

-- A copy of an expression without tables in front of columns, and with values written out.
function inline(node, dialect)
  local special, parts = INLINE[node.visit], PARTS[node.visit]
  if special then
    return special(node, dialect)
  end
  local copy = {}
  for name, value in next, node do
    copy[name] = value
  end
  for _, field in ipairs(parts and parts.nodes or {}) do
    copy[field] = node[field] and inline(node[field], dialect)
  end
  for _, field in ipairs(parts and parts.lists or {}) do
    copy[field] = node[field] and inline_list(node[field], dialect)
  end
  return expression.new(copy)
end

-- Constants are written as they are: that is how literals pass through the compiler.
local function for_literals(dialect)
  local constants = setmetatable({}, { __index = function(_, text) return dialect.constants[text] or text end })
  return setmetatable({ constants = constants }, { __index = dialect })
end

local function expression_text(node, dialect)
  return compiler.expression_sql(inline(node, dialect), for_literals(dialect))
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
    return type(value) == "string" and ddl.literal(value, types.Text, dialect)
      or ddl.literal(value, type(value) == "boolean" and types.Boolean or kind, dialect)
  elseif node.visit == "text" or node.visit == "literal_column" then
    return compiler.expression_sql(node, dialect)
  end
  return "(" .. expression_text(node, dialect) .. ")"
end

local function is_rowid(column)
  local tbl = column.table
  return tbl.options.sqlite_autoincrement and #tbl.primary_key == 1 and tbl.primary_key[1] == column
end

local function column_text(column, dialect)
  local parts = { dialect.quote(column.name), column.type:ddl(dialect) }
  if column.server_default ~= nil then
    parts[#parts + 1] = "DEFAULT " .. default_text(column.server_default, column.type, dialect)
  end
  parts[#parts + 1] = not column.nullable and "NOT NULL" or nil
  if is_rowid(column) and dialect.name == "sqlite" then
    parts[#parts + 1] = "PRIMARY KEY AUTOINCREMENT"
  end
  return concat(parts, " ")
end

-- ---- constraints ----

local function with_name(name, text, dialect)
  return name and "CONSTRAINT " .. dialect.quote(name) .. " " .. text or text
end

local function deferral(part)
  local text = ""
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
  return "UNIQUE (" .. names_of(part.columns, dialect) .. ")" .. deferral(part)
end

function CONSTRAINT.check(part, dialect)
  return "CHECK (" .. expression_text(part.condition, dialect) .. ")"
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
  if #key == 0 or (is_rowid(key[1]) and dialect.name == "sqlite") then
    return nil
  end
  local declared = rawget(tbl, "key_constraint")
  return with_name(declared and declared.name, "PRIMARY KEY (" .. names_of(key, dialect) .. ")", dialect)
end

-- Enum(..., { create_constraint = true }) has its values checked by the database.
local function enum_text(column, dialect)
  local kind = column.type
  if not kind.create_constraint then
    return nil
  end
  local values = {}
  for position, value in ipairs(kind.values) do
    values[position] = ddl.literal(value, types.Text, dialect)
  end
  return with_name(kind.enum_name, ("CHECK (%s IN (%s))"):format(dialect.quote(column.name), concat(values, ", ")),
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

function WRITE.CreateTable(tbl, dialect)
  if #tbl.columns == 0 then
    errors.raise("CompileError", "table '%s' has no columns", tbl.fullname)
  end
  return ("CREATE TABLE %s (\n\t%s\n)%s"):format(table_name(tbl, dialect), concat(table_lines(tbl, dialect), ",\n\t"),
    table_options(tbl, dialect))
end

function WRITE.DropTable(tbl, dialect)
  return "DROP TABLE " .. table_name(tbl, dialect)
end

-- An index of another schema has its name there, and its table is looked up there.
local function index_name(index, dialect)
  local namespace, name = index.table.schema, dialect.quote(index.name)
  return namespace and dialect.quote(namespace) .. "." .. name or name
end

function WRITE.CreateIndex(index, dialect)
  local elements = {}
  for position, element in ipairs(index.expressions) do
    elements[position] = expression_text(element, dialect)
  end
  return ("CREATE %sINDEX %s ON %s (%s)%s"):format(index.unique and "UNIQUE " or "", index_name(index, dialect),
    dialect.quote(index.table.name), concat(elements, ", "),
    index.where and " WHERE " .. expression_text(index.where, dialect) or "")
end

function WRITE.DropIndex(index, dialect)
  return "DROP INDEX " .. index_name(index, dialect)
end

-- ---- as objects ----

local Statement = {}
local mark = { __name = "orrery.DDL" }
local metatable = { __index = Statement, __metatable = mark }

--- The SQL for a dialect.
---@param dialect? orrery.Dialect SQLite's by default
---@return string
function Statement:compile(dialect)
  return WRITE[self.kind](self.element, dialect or compiler.dialects.sqlite)
end

metatable.__tostring = Statement.compile

-- As a statement for connection:execute().
function mark.__clause(self)
  return functions.text(self:compile())
end

local function define(kind, accepts, wanted)
  ddl[kind] = function(element)
    if not accepts(element) then
      errors.raise("ArgumentError", "%s(): %s expected, got %s", kind, wanted, errors.show(element))
    end
    return setmetatable({ kind = kind, element = element }, metatable)
  end
end

local function is_index(value)
  return schema.is_constraint(value) and value.kind == "index" and value.table ~= nil
end

define("CreateTable", schema.is_table, "a Table")
define("DropTable", schema.is_table, "a Table")
define("CreateIndex", is_index, "an Index of a table")
define("DropIndex", is_index, "an Index of a table")

-- ---- creating and dropping ----

-- Runs fn on a connection: the one given, which its owner commits, or one of an engine's in a transaction of its own.
local function on_connection(bind, call, fn)
  local mark_of = getmetatable(bind)
  local kind = type(bind) == "table" and type(mark_of) == "table" and mark_of.__name
  if kind == "orrery.Engine" then
    return bind:begin(fn)
  elseif kind == "orrery.Connection" then
    return fn(bind)
  end
  errors.raise("ArgumentError", "%s: an engine or a connection expected, got %s", call, errors.show(bind))
end

-- Names of the tables and views that the database has in a schema, as it compares names.
local function existing_names(conn, namespace, dialect, cache)
  local known = cache[namespace or ""]
  if not known then
    known = {}
    local prefix = namespace and dialect.quote(namespace) .. "." or ""
    for _, name in ipairs(conn:exec_driver_sql(dialect.table_names:format(prefix)):scalars():all()) do
      known[name] = true
    end
    cache[namespace or ""] = known
  end
  return known
end

local function exists(conn, tbl, dialect, cache)
  return existing_names(conn, tbl.schema, dialect, cache)[tbl.name:lower()] ~= nil
end

local function create_table(conn, tbl, dialect)
  conn:exec_driver_sql(WRITE.CreateTable(tbl, dialect))
  for _, index in ipairs(tbl.indexes) do
    conn:exec_driver_sql(WRITE.CreateIndex(index, dialect))
  end
end

local OPTIONS = { checkfirst = 1, tables = 1 }

local function wanted_tables(metadata, options, call)
  local wanted
  if options.tables ~= nil then
    wanted = {}
    for position, value in ipairs(options.tables) do
      local tbl = expression.clause(value)
      tbl = tbl and tbl.visit == "entity" and tbl.table or tbl
      if not schema.is_table(tbl) or tbl.metadata ~= metadata then
        errors.raise("ArgumentError", "%s: tables: item %d is no table of this MetaData", call, position)
      end
      wanted[tbl] = true
    end
  end
  return wanted
end

-- Tables that are wanted and there (or not there), in order of dependency.
local function select_tables(conn, metadata, options, there, call)
  local wanted, checks = wanted_tables(metadata, options, call), options.checkfirst ~= false
  local sorted, left_out = metadata:_sorted()
  local list, cache, dialect = {}, {}, conn.dialect
  for _, tbl in ipairs(sorted) do
    if (not wanted or wanted[tbl]) and (not checks or exists(conn, tbl, dialect, cache) == there) then
      list[#list + 1] = tbl
    end
  end
  return list, left_out
end

local function check_metadata(self, call)
  errors.check_self(self, type(self) == "table" and rawget(self, "handle") ~= nil, call)
end

--- Creates the tables that the database does not have, with their indexes; those that others refer to first.
---@param bind orrery.Engine|orrery.Connection an engine commits; a connection's owner does
---@param options? { tables?: orrery.Table[], checkfirst?: boolean }
function schema.metadata_methods:create_all(bind, options)
  check_metadata(self, "metadata:create_all")
  options = errors.check_options(options, OPTIONS, "metadata:create_all()")
  self:_check()
  on_connection(bind, "metadata:create_all()", function(conn)
    for _, tbl in ipairs(select_tables(conn, self, options, false, "metadata:create_all()")) do
      create_table(conn, tbl, conn.dialect)
    end
  end)
end

--- Drops the tables that the database has, those that refer to others first.
---@param bind orrery.Engine|orrery.Connection
---@param options? { tables?: orrery.Table[], checkfirst?: boolean }
function schema.metadata_methods:drop_all(bind, options)
  check_metadata(self, "metadata:drop_all")
  options = errors.check_options(options, OPTIONS, "metadata:drop_all()")
  on_connection(bind, "metadata:drop_all()", function(conn)
    local list, left_out = select_tables(conn, self, options, true, "metadata:drop_all()")
    if #left_out > 0 and #list > 0 and conn.dialect.defer_foreign_keys then
      conn:exec_driver_sql(conn.dialect.defer_foreign_keys)
    end
    for position = #list, 1, -1 do
      conn:exec_driver_sql(WRITE.DropTable(list[position], conn.dialect))
    end
  end)
end

local ONE_OPTIONS = { checkfirst = 1 }

--- Creates this table and its indexes.
---@param bind orrery.Engine|orrery.Connection
---@param options? { checkfirst?: boolean } false by default
function schema.table_methods:create(bind, options)
  options = errors.check_options(options, ONE_OPTIONS, "table:create()")
  on_connection(bind, "table:create()", function(conn)
    if not (options.checkfirst and exists(conn, self, conn.dialect, {})) then
      create_table(conn, self, conn.dialect)
    end
  end)
end

--- Drops this table.
---@param bind orrery.Engine|orrery.Connection
---@param options? { checkfirst?: boolean } false by default
function schema.table_methods:drop(bind, options)
  options = errors.check_options(options, ONE_OPTIONS, "table:drop()")
  on_connection(bind, "table:drop()", function(conn)
    if not options.checkfirst or exists(conn, self, conn.dialect, {}) then
      conn:exec_driver_sql(WRITE.DropTable(self, conn.dialect))
    end
  end)
end

return ddl
