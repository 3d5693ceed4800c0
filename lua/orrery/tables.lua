--- tables: MetaData and Table as a script gets them: schema.lua's, with methods and events of files that are read when
-- they are first used.
local import = ...
local reading = import "reading"
local schema = import "schema"
local event = import "event"
local creation = reading.later "creation"
local reflection = reading.later "reflection"

reading.methods(schema.table_methods, "copying", "to_metadata")
reading.methods(schema.table_methods, "change", "insert", "select", "update", "delete")
reading.methods(schema.table_methods, "creation", "create", "drop")
reading.methods(schema.constraint_methods, "creation", "create", "drop")
reading.methods(schema.metadata_methods, "creation", "create_all", "drop_all")
reading.methods(schema.metadata_methods, "reflection", "reflect")

schema.set_reflect(function(...) return reflection.table(...) end)

event.find_by(function(target)
  if schema.is_table(target) or schema.is_metadata(target) then
    return creation.dispatch(target)
  end
end)

return schema
