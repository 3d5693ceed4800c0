--- inspector: asks a database what it has: tables, columns, keys, indexes, views, triggers. A public face on the
-- dialect's catalog, which knows where the facts are; keeps nothing, so that it always tells how things are now.
local import = ...
local errors = import "errors"
local schema = import "schema"
local creation = import "creation"

local inspector = {}

---@class orrery.Inspector
---@field bind orrery.Engine|orrery.Connection
local Inspector = {}
local MARK = { __name = "orrery.Inspector" }
local metatable = { __index = errors.guard(Inspector, "an inspector"), __metatable = MARK, __tostring = function(self)
  return "Inspector(" .. tostring(self.bind) .. ")"
end }

--- An inspector of the database behind an engine or a connection.
---@param bind orrery.Engine|orrery.Connection
---@return orrery.Inspector
function inspector.inspector(bind)
  local self = setmetatable({ bind = bind }, metatable)
  creation.on_connection(bind, "inspector()", function(conn)
    self.dialect = conn.dialect
  end, { mode = "read" })
  self.default_schema_name = self.dialect.catalog.default_schema_name
  return self
end

-- ---- arguments ----

local OPTIONS = { schema = 1 }

local function check(self, method)
  errors.check_self(self, getmetatable(self) == MARK, "inspector:" .. method)
end

local function namespace_of(options, method)
  options = errors.check_options(options, OPTIONS, method)
  if options.schema ~= nil and type(options.schema) ~= "string" then
    errors.raise("ArgumentError", "%s: schema must be a name, got %s", method, errors.show(options.schema))
  end
  return options.schema
end

local function with_catalog(self, method, namespace, fn)
  return creation.on_connection(self.bind, "inspector:" .. method .. "()", function(conn)
    creation.check_schema(conn, namespace)
    return fn(conn, conn.dialect.catalog)
  end, { mode = "read" })
end

-- A Table stands for its name.
local function name_of(given, namespace, method)
  if schema.is_table(given) then
    return given.name, namespace or given.schema
  elseif type(given) ~= "string" then
    errors.raise("ArgumentError", "inspector:%s(): the name of a table expected, got %s", method, errors.show(given))
  end
  return given, namespace
end

local function no_such_table(conn, name, namespace)
  local known = conn.dialect.catalog.table_names(conn, namespace)
  for _, view in ipairs(conn.dialect.catalog.view_names(conn, namespace)) do
    known[#known + 1] = view
  end
  errors.raise("NoSuchTableError", "the database has no table %s%s%s", errors.show(name),
    namespace and " in schema " .. errors.show(namespace) or "", errors.hint(name, known))
end
inspector.no_such_table = no_such_table

local function describe(self, method, given, options)
  check(self, method)
  local name, namespace = name_of(given, namespace_of(options, "inspector:" .. method .. "()"), method)
  return with_catalog(self, method, namespace, function(conn, catalog)
    return catalog.describe(conn, name, namespace) or no_such_table(conn, name, namespace)
  end)
end

local function names(self, method, options)
  check(self, method)
  local namespace = namespace_of(options, "inspector:" .. method .. "()")
  return with_catalog(self, method, namespace, function(conn, catalog)
    return catalog[method:match("^get_(.*)$")](conn, namespace)
  end)
end

-- ---- names ----

--- Names of all tables, in order of name.
---@param options? { schema?: string }
---@return string[]
function Inspector:get_table_names(options)
  return names(self, "get_table_names", options)
end

--- Names of all views.
---@param options? { schema?: string }
---@return string[]
function Inspector:get_view_names(options)
  return names(self, "get_view_names", options)
end

--- Names of the temporary tables of this connection.
---@return string[]
function Inspector:get_temp_table_names()
  return names(self, "get_temp_table_names")
end

--- Names of the temporary views of this connection.
---@return string[]
function Inspector:get_temp_view_names()
  return names(self, "get_temp_view_names")
end

--- Names of the schemas: on SQLite "main" and the attached databases.
---@return string[]
function Inspector:get_schema_names()
  return names(self, "get_schema_names")
end

--- Whether there is a table or view of that name.
---@param name string|orrery.Table
---@param options? { schema?: string }
---@return boolean
function Inspector:has_table(name, options)
  check(self, "has_table")
  local table_name, namespace = name_of(name, namespace_of(options, "inspector:has_table()"), "has_table")
  return with_catalog(self, "has_table", namespace, function(conn, catalog)
    return catalog.find(conn, table_name, namespace) ~= nil
  end)
end

-- ---- parts of tables ----

--- Its columns in order: name, type, nullable, default (SQL text), primary_key (place in the key, or 0), autoincrement,
--- collation, computed { sqltext, persisted }, declared_type.
---@param name string|orrery.Table
---@param options? { schema?: string }
---@return table[]
function Inspector:get_columns(name, options)
  local columns = describe(self, "get_columns", name, options).columns
  for _, column in ipairs(columns) do
    column.default_text = nil
    if column.computed then
      column.computed.says_how = nil
    end
  end
  return columns
end

--- Its primary key: constrained_columns, name, on_conflict.
---@return table
function Inspector:get_pk_constraint(name, options)
  return describe(self, "get_pk_constraint", name, options).primary_key
end

--- Its foreign keys: name, constrained_columns, referred_schema, referred_table, referred_columns, options { ondelete,
--- onupdate, deferrable, initially }.
---@return table[]
function Inspector:get_foreign_keys(name, options)
  local keys = describe(self, "get_foreign_keys", name, options).foreign_keys
  for _, key in ipairs(keys) do
    key.referred_schema = options and options.schema
  end
  return keys
end

--- Its unique constraints: name, column_names, on_conflict.
---@return table[]
function Inspector:get_unique_constraints(name, options)
  return describe(self, "get_unique_constraints", name, options).unique_constraints
end

--- Its checks: name, sqltext, on_conflict.
---@return table[]
function Inspector:get_check_constraints(name, options)
  return describe(self, "get_check_constraints", name, options).check_constraints
end

-- Where a part has no column its name is false: nil would end the list.
local function public_index(index)
  local expressions, sorting
  for position, part in ipairs(index.parts) do
    expressions = expressions or (not part.name or part.text) and {} or nil
    if part.descending and part.name then
      sorting = sorting or {}
      sorting[part.name] = "desc"
    end
    if expressions then
      for place = #expressions + 1, position do
        expressions[place] = index.parts[place].text or index.parts[place].name
      end
    end
  end
  return { name = index.name, unique = index.unique, column_names = index.column_names, expressions = expressions,
    column_sorting = sorting, where = index.where }
end

--- Its indexes that were made by CREATE INDEX: name, unique, column_names (false for an expression), expressions (the
--- texts of all parts, where one is an expression), column_sorting, where.
---@return table[]
function Inspector:get_indexes(name, options)
  local list = {}
  for position, index in ipairs(describe(self, "get_indexes", name, options).indexes) do
    list[position] = public_index(index)
  end
  return list
end

--- Options as Table() takes them: sqlite_strict, sqlite_with_rowid, sqlite_autoincrement.
---@return table
function Inspector:get_table_options(name, options)
  return describe(self, "get_table_options", name, options).options
end

--- Raises: comments exist in no database that this library speaks to.
function Inspector:get_table_comment()
  check(self, "get_table_comment")
  errors.raise("NotSupportedError", "%s stores no comments; those given to Table() and Column() stay in the program",
    self.dialect.name)
end

--- The text that made a view.
---@param name string
---@param options? { schema?: string }
---@return string
function Inspector:get_view_definition(name, options)
  local found = describe(self, "get_view_definition", name, options)
  if not found.is_view then
    errors.raise("NoSuchTableError", "%s is a table, not a view", errors.show(found.name))
  end
  return found.sql
end

--- Triggers of a table, or of all tables where none is named: name, table, sql.
---@param name? string|orrery.Table
---@param options? { schema?: string }
---@return table[]
function Inspector:get_triggers(name, options)
  check(self, "get_triggers")
  local namespace = namespace_of(options, "inspector:get_triggers()")
  if name ~= nil then
    name, namespace = name_of(name, namespace, "get_triggers")
  end
  return with_catalog(self, "get_triggers", namespace, function(conn, catalog)
    if name ~= nil and not catalog.find(conn, name, namespace) then
      no_such_table(conn, name, namespace)
    end
    return catalog.triggers(conn, name, namespace)
  end)
end

return inspector
