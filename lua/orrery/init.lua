--- init: completes the table that require "orrery" returns with what is about mapped classes, and says what of it is read
-- when it is first used.
local import = ...
local reading = import "reading"
local sql = import "sql"
import "tables"
local collection = import "collection"
local joincondition = import "joincondition"
local relationship = import "relationship"
local declarative = import "declarative"
local eager = import "eager"
local mapper = import "mapper"
local column_property = import "column_property"
local session = import "session"
local aliased = reading.later "aliased"

local export, promise = sql.export, sql.promise

export(relationship, "relationship", "backref")
export(joincondition, "foreign", "remote")
export(collection, "list", "set", "attribute_keyed_dict", "column_keyed_dict", "keyfunc_mapping")
export(declarative, "declarative_base", "Mapped", "mapped_column", "deferred", "assign", "pairs", "to_table",
  "isinstance", "declared_attr", "has_inherited_table", "configure_mappers")
export(eager, "selectinload", "joinedload", "immediateload", "lazyload", "subqueryload", "batchload", "raiseload", "noload",
  "defaultload", "contains_eager", "with_loader_criteria", "Load")
export(eager, "load_only", "defer", "undefer", "undefer_group", "with_expression", "selectin_polymorphic")
export(mapper, "validates")
export(column_property, "column_property", "query_expression")
export(session, "Session", "sessionmaker", "scoped_session", "object_session", "was_deleted", "make_transient",
  "make_transient_to_detached")
promise("relation_comparison", "with_parent")
promise("aliased", "aliased", "with_polymorphic")
promise("inspection", "inspect")
promise("bundle", "Bundle")
promise("hybrid", "hybrid_property", "hybrid_method", "synonym")
promise("composite", "composite", "value_class")
promise("concrete", "polymorphic_union")
promise("proxy", "association_proxy")
promise("database", "database")
promise("automap", "automap")
promise("diagram", "diagram")
promise("sandbox", "sandbox")

reading.methods(session.methods, "query", "query")
reading.methods(session.methods, "watching", "watch")
reading.methods(relationship.Attribute, "relation_comparison", "eq", "ne", "is_", "is_not", "contains", "in_")
reading.hooks("write_only", "write_only")
reading.hooks("writing", "orphaned", "undeletable", "assign_expression", "link_defaults", "uniques", "not_in_session", "stale",
  "delete_missed", "stale_link", "stale_links")

function relationship.alias_entity(target)
  return aliased.fresh(target)
end

return sql.orm
