--- init: completes the table that require "orrery" returns with what is about mapped classes. It only re-exports.
local import = ...
local sql = import "sql"
import "tables"
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
import "relation_comparison"
import "write_only"
local database = import "database"
local automap = import "automap"
local diagram = import "diagram"
local sandbox = import "sandbox"

local export = sql.export

export(relationship, "relationship", "backref", "with_parent")
export(joincondition, "foreign", "remote")
export(collection, "list", "set", "attribute_keyed_dict", "column_keyed_dict", "keyfunc_mapping")
export(declarative, "declarative_base", "Mapped", "mapped_column", "deferred", "assign", "pairs", "to_table",
  "isinstance", "declared_attr", "has_inherited_table", "configure_mappers")
export(aliased, "aliased", "with_polymorphic")
export(eager, "selectinload", "joinedload", "immediateload", "lazyload", "subqueryload", "batchload", "raiseload", "noload",
  "defaultload", "contains_eager", "with_loader_criteria", "Load")
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

database.complete(sql.find, sql.complete)

return sql.orm
