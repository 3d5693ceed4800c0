--- init: the table that require "orrery" returns. It only re-exports.
local import = ...
local core = import "core"
local errors = import "errors"
local types = import "types"
local json = import "json"
local expression = import "expression"
local functions = import "functions"
local schema = import "schema"
local selectable = import "selectable"
local statement = import "statement"
local change = import "change"
local compiler = import "compiler"
local ddl = import "ddl"
local inspector = import "inspector"
local event = import "event"
local url = import "url"
local engine = import "engine"
local joincondition = import "joincondition"
local collection = import "collection"
local relationship = import "relationship"
local declarative = import "declarative"
local aliased = import "aliased"
local eager = import "eager"
local mapper = import "mapper"
local inspection = import "inspection"
local hybrid = import "hybrid"
local composite = import "composite"
local concrete = import "concrete"
local column_property = import "column_property"
local bundle = import "bundle"
local proxy = import "proxy"
local session = import "session"
import "query"
local database = import "database"
local automap = import "automap"
local diagram = import "diagram"
local sandbox = import "sandbox"
import "plan"

local orm = { _VERSION = "Orrery 0.1.0" }

local function export(source, ...)
  for position = 1, select("#", ...) do
    local name = (select(position, ...))
    orm[name] = source[name]
  end
end

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
  "CheckConstraint", "Index")
export(statement, "select", "exists", "union", "union_all", "intersect", "intersect_all", "except_", "except_all")
export(change, "insert", "update", "delete")
export(schema, "Computed", "Identity", "conv")
export(ddl, "CreateTable", "DropTable", "CreateIndex", "DropIndex", "CreateView", "DropView", "DDL")
export(inspector, "inspector")
export(engine, "create_engine", "with")
export(relationship, "relationship", "backref", "with_parent")
export(joincondition, "foreign", "remote")
export(collection, "list", "set", "attribute_keyed_dict", "column_keyed_dict", "keyfunc_mapping")
export(declarative, "declarative_base", "Mapped", "mapped_column", "deferred", "assign", "pairs", "to_table",
  "isinstance", "declared_attr", "has_inherited_table", "configure_mappers")
export(aliased, "aliased", "with_polymorphic")
export(eager, "selectinload", "joinedload", "immediateload", "lazyload", "subqueryload", "batchload", "raiseload", "noload",
  "contains_eager", "with_loader_criteria")
export(eager, "load_only", "defer", "undefer", "undefer_group", "with_expression", "selectin_polymorphic")
export(mapper, "validates")
export(inspection, "inspect")
export(column_property, "column_property", "query_expression")
export(bundle, "Bundle")
export(hybrid, "hybrid_property", "hybrid_method", "synonym")
export(composite, "composite", "value_class")
export(concrete, "polymorphic_union")
export(proxy, "association_proxy")
export(session, "Session", "sessionmaker", "scoped_session", "object_session", "was_deleted", "make_transient",
  "make_transient_to_detached")
export(database, "database")
export(automap, "automap")
export(diagram, "diagram")
export(sandbox, "sandbox")

orm.make_url, orm.URL = url.parse, { create = url.create }
orm.dialects = compiler.dialects
orm.alias, orm.join = selectable.alias, selectable.join

database.complete(orm)

return setmetatable(orm, {
  __index = function(_, name)
    errors.raise("ArgumentError", "orrery has no '%s'%s", tostring(name), errors.hint(tostring(name), errors.sorted_keys(orm)))
  end,
})
