--- sql: the table that require "orrery" returns, as far as it knows no mapped classes: types, tables, statements, engines.
-- It only re-exports. The files behind this one are read when a script asks for a name that is not here; they belong to
-- the same table (init.lua).
local import = ...
local core = import "core"
local errors = import "errors"
local types = import "types"
local json = import "json"
local expression = import "expression"
local functions = import "functions"
local schema = import "schema"
local selectable = import "selectable"
local tabular = import "tabular"
local statement = import "statement"
local change = import "change"
local compiler = import "compiler"
local ddl = import "ddl"
local inspector = import "inspector"
local event = import "event"
local url = import "url"
local engine = import "engine"
import "plan"

local sql, orm = {}, { _VERSION = "Orrery 0.1.0" }
sql.orm = orm

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

orm.null = core.null
orm.array = json.array
orm.json = json
orm.event = { listen = event.listen, remove = event.remove, contains = event.contains }
orm.func = functions.func
orm.all = expression.all

export(errors, "try", "is_error", "on_warning")
export(types, "Integer", "SmallInteger", "BigInteger", "Float", "Double", "Numeric", "String", "Text", "Boolean", "Date",
  "Time", "DateTime", "Interval", "LargeBinary", "JSON", "Enum", "Uuid", "NullType", "Optional", "TypeDecorator")
export(expression, "and_", "or_", "not_", "literal")
export(functions, "text", "bindparam", "case_", "cast", "tuple_", "extract", "literal_column", "type_coerce",
  "true_", "false_", "asc", "desc", "nulls_first", "nulls_last", "distinct", "between", "collate")
export(schema, "MetaData", "Table", "Column", "ForeignKey", "ForeignKeyConstraint", "PrimaryKeyConstraint", "UniqueConstraint",
  "CheckConstraint", "Index", "table")
export(statement, "select", "exists", "union", "union_all", "intersect", "intersect_all", "except_", "except_all")
export(tabular, "column", "values")
export(change, "insert", "update", "delete")
export(schema, "Computed", "Identity", "conv")
export(ddl, "CreateTable", "DropTable", "CreateIndex", "DropIndex", "CreateView", "DropView", "DDL")
export(inspector, "inspector")
export(engine, "create_engine", "with")

orm.make_url, orm.URL = url.parse, { create = url.create }
orm.dialects = compiler.dialects
orm.alias, orm.join = selectable.alias, selectable.join

setmetatable(orm, {
  __index = function(_, name)
    core.read_all()
    local found = rawget(orm, name)
    if found == nil then
      errors.raise("ArgumentError", "orrery has no '%s'%s", tostring(name), errors.hint(tostring(name), errors.sorted_keys(orm)))
    end
    return found
  end,
  __pairs = function()
    core.read_all()
    return next, orm
  end,
})

return sql
