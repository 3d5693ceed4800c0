--- sql: the table that require "orrery" returns, as far as it knows no mapped classes: types, tables, statements, engines.
-- It only re-exports. A file that not every script needs is read when a script asks for a name of it, or first calls a
-- method that it has; the files behind this one, when a script asks for a name that is not here (init.lua).
local import = ...
local core = import "core"
local reading = import "reading"
local errors = import "errors"
local types = import "types"
local expression = import "expression"
local functions = import "functions"
local selectable = import "selectable"
local statement = import "statement"
local compiler = import "compiler"
local event = import "event"
local url = import "url"
local engine = import "engine"
local connection = import "connection"

local sql, orm = {}, { _VERSION = "Orrery 0.1.0" }
sql.orm = orm

-- Names that wait for a script to ask for them, with the functions that find them.
local waiting = { json = function() return import "json" end }

--- Puts fields of a file's table into the one that a script gets.
---@param source table
---@param ... string
function sql.export(source, ...)
  for position = 1, select("#", ...) do
    local name = (select(position, ...))
    orm[name] = source[name]
  end
end
local export = sql.export

--- Lets a script ask for fields of a file's table, which is read then.
---@param file string
---@param ... string
function sql.promise(file, ...)
  local function find(name)
    return import(file)[name]
  end
  for position = 1, select("#", ...) do
    waiting[(select(position, ...))] = find
  end
end
local promise = sql.promise

orm.null = core.null
orm.event = { listen = event.listen, remove = event.remove, contains = event.contains }
orm.func = functions.func
orm.all = expression.all

export(errors, "try", "is_error", "on_warning")
export(types, "Integer", "SmallInteger", "BigInteger", "Float", "Double", "Numeric", "String", "Text", "Boolean", "Date",
  "Time", "DateTime", "Interval", "LargeBinary", "JSON", "Enum", "Uuid", "NullType", "Optional", "TypeDecorator")
export(expression, "and_", "or_", "not_", "literal")
export(functions, "text", "bindparam", "case_", "cast", "tuple_", "extract", "literal_column", "type_coerce",
  "true_", "false_", "asc", "desc", "nulls_first", "nulls_last", "distinct", "between", "collate")
export(statement, "select", "exists", "union", "union_all", "intersect", "intersect_all", "except_", "except_all")
export(engine, "create_engine", "with")
promise("json", "array")
promise("tables", "MetaData", "Table", "Column", "ForeignKey", "ForeignKeyConstraint", "PrimaryKeyConstraint",
  "UniqueConstraint", "CheckConstraint", "Index", "table", "Computed", "Identity", "conv")
promise("tabular", "column", "values")
promise("change", "insert", "update", "delete")
promise("ddl", "CreateTable", "DropTable", "CreateIndex", "DropIndex", "CreateView", "DropView", "DDL")
promise("inspector", "inspector")

orm.make_url, orm.URL = url.parse, { create = url.create }
orm.dialects = compiler.dialects
orm.alias, orm.join = selectable.alias, selectable.join

reading.methods(expression.methods, "tabular", "table_valued", "column_valued")
reading.methods(selectable.methods, "tabular", "data", "cte", "exported")
reading.methods(connection.methods, "plan", "explain")

--- What a script gets by a name, if all is read that may have it.
---@param name string
---@return any
function sql.find(name)
  local find = waiting[name]
  if find and rawget(orm, name) == nil then
    orm[name] = find(name)
  end
  waiting[name] = nil
  return rawget(orm, name)
end

--- Finds all names.
---@return table orm
function sql.complete()
  core.read "init"
  while next(waiting) do
    sql.find((next(waiting)))
  end
  return orm
end

setmetatable(orm, {
  __index = function(_, name)
    if not waiting[name] then
      core.read "init"
    end
    local found = sql.find(name)
    if found == nil then
      errors.raise("ArgumentError", "orrery has no '%s'%s", tostring(name),
        errors.hint(tostring(name), errors.sorted_keys(sql.complete())))
    end
    return found
  end,
  __pairs = function()
    return next, sql.complete()
  end,
})

return sql
