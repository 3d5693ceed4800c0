--- writing: the Lua side of a flush: what must be known before the core collects (documents changed in place, orphans,
-- collections of deleted objects), the SQL of each shape of statement, and what a failed flush takes back. The order of
-- statements and the loop over rows are the core's (unit.c, flushlib.c).
local import = ...
local errors = import "errors"
local core = import "core"
local compiler = import "compiler"
local change = import "change"
local event = import "event"
local hierarchy = import "hierarchy"
local expression = import "expression"
local functions = import "functions"
local joining = import "joining"
local loading = import "loading"
local statement = import "statement"
local transaction = import "transaction"
local eager = import "eager"
local uniqueness = import "uniqueness"
local registry = import "registry"
local mapper_module = import "mapper"

local writing = {}

local ROWS = 32 -- as BATCH_ROWS: more rows in one INSERT gain nothing
local SAVEPOINT, RELEASE = "SAVEPOINT orrery_flush", "RELEASE SAVEPOINT orrery_flush"
local UNDO = "ROLLBACK TO SAVEPOINT orrery_flush"

--- The attribute names of a class's primary key, in the order of its columns.
---@param mapper table
---@return string[]
function writing.key_names(mapper)
  local names = {}
  for position, number in ipairs(mapper:key_numbers()) do
    names[position] = mapper.column_keys[number]
  end
  return names
end

-- ---- before collecting ----

local NOTHING = {}

-- The objects of a list of the session, where `concerns` is true for the mapper of one of them.
local function concerned(handle, name, concerns)
  for _, class in ipairs(core.classes(handle, name)) do
    if concerns(mapper_module.of(class)) then
      return core.list(handle, name)
    end
  end
  return NOTHING
end

-- A document that was handed out may have changed in place: what it would be stored as now tells.
local function find_changed_documents(handle)
  for _, object in ipairs(core.list(handle, "watched")) do
    local mapper = mapper_module.of_object(object)
    for number, key in ipairs(mapper.column_keys) do
      local kind = mapper.attributes[key].origin.type
      if kind.mutable then
        local value, loaded = core.peek(object, number)
        if loaded and value ~= nil then
          core.replace_raw(object, number, kind:to_db(value))
        end
      end
    end
  end
end

local function has_cascade(mapper, name)
  for _, property in ipairs(mapper.relationships) do
    if property.cascade[name] then
      return true
    end
  end
  return false
end

local function set_of(items)
  local set = {}
  for _, item in ipairs(items) do
    set[item] = true
  end
  return set
end

-- Items that an object held before and holds no longer.
local function removed_items(object, property, number)
  local value = core.peek(object, number)
  if property.uselist then
    local before, removed = value and core.collection_old(value) or {}, {}
    local now = set_of(before[1] and core.collection_items(value) or {})
    for _, item in ipairs(before) do
      if not now[item] then
        removed[#removed + 1] = item
      end
    end
    return removed
  end
  local before = core.old(object, number)
  return before and before ~= value and { before } or {}
end

local function has_parent(property, item)
  local reverse = property.reverse
  if not reverse then
    return false
  elseif reverse.uselist then
    return #item[reverse.key] > 0
  end
  return item[reverse.key] ~= nil
end

core.hook("orphaned", function(item, class, number)
  local mapper = mapper_module.of(class)
  if not has_parent(mapper.relationships[number - #mapper.column_keys], item) then
    core.session_of(item):expunge(item)
  end
end)

local function give_up(session, item)
  local state = core.state(item)
  if core.session_of(item) ~= session then
    return
  elseif state == "pending" then
    session:expunge(item)
  elseif state == "persistent" then
    session:delete(item)
  end
end

local function owned_by_other_side(property)
  return property.direction == "manytoone" and property.reverse ~= nil and property.reverse.cascade["delete-orphan"] == true
end

-- Whether the row refers to a parent. That is all there is to know where the parent was never loaded.
local function had_foreign_key(object, property)
  local mapper = mapper_module.of_object(object)
  for _, pair in ipairs(property.condition.pairs) do
    local number = mapper:number_of_column(pair[1])
    local old, now = core.old(object, number), object[mapper.column_keys[number]]
    if old == core.null or (old == nil and now == nil) then
      return false
    end
  end
  return true
end

-- An object that let go of its parent itself is missed by no list where the parent's is not loaded.
local function has_let_go(object, property, number)
  if not owned_by_other_side(property) or core.peek(object, number) ~= nil then
    return false
  end
  local old = core.old(object, number)
  return old or (old == false and had_foreign_key(object, property))
end

local function delete_orphans_of(session, object)
  local mapper = mapper_module.of_object(object)
  for position, property in ipairs(mapper.relationships) do
    local number = #mapper.column_keys + position
    if property.cascade["delete-orphan"] then
      for _, item in ipairs(removed_items(object, property, number)) do
        if not has_parent(property, item) then
          give_up(session, item)
        end
      end
    end
    if has_let_go(object, property, number) then
      give_up(session, object)
    end
  end
end

-- Whether objects of the class can make orphans, or be ones.
local function may_have_orphans(mapper)
  if mapper.has_orphans == nil then
    mapper.has_orphans = has_cascade(mapper, "delete-orphan")
    for _, property in ipairs(mapper.relationships) do
      mapper.has_orphans = mapper.has_orphans or owned_by_other_side(property)
    end
  end
  return mapper.has_orphans
end

local function delete_orphans(session, handle)
  for _, object in ipairs(core.list(handle, "dirty", true)) do
    if may_have_orphans(mapper_module.of_object(object)) and not core.is_deleting(object) then
      delete_orphans_of(session, object)
    end
  end
end

-- The condition that a column has a value, which is as the database has it.
local function has_stored(mapper, number, value)
  return loading.as_stored(mapper:attribute(mapper.column_keys[number])):eq(value)
end

-- The children stand under the key that the object had.
local function load_by_old_key(session, mapper, object, property)
  local number = #mapper.column_keys + mapper:relationship_number(property)
  if core.is_given(object, number) then
    return
  end
  local conditions = {}
  for position, pair in ipairs(property.condition.pairs) do
    local near, far = mapper:number_of_column(pair[1]), property.mapper:number_of_column(pair[2])
    local old = core.old(object, near)
    conditions[position] = has_stored(property.mapper, far, old or core.stored(object, near))
  end
  local select = statement.select(property.mapper.class):where(expression.and_((table.unpack or unpack)(conditions)))
  local compiled, values = session:connection(property.mapper):compile(select)
  local items = loading.run(session, compiled, values)
  if property.uselist then
    core.set_loaded(object, number, items)
  else
    core.set_loaded(object, number, items[1])
  end
end

-- Where the database does not carry a changed key to the children itself, they must be known.
local function carries_keys(mapper)
  return mapper.key_carriers ~= nil
end

local function load_for_new_keys(session, handle)
  for _, object in ipairs(concerned(handle, "dirty", carries_keys)) do
    local mapper = mapper_module.of_object(object)
    for _, property in ipairs(mapper.key_carriers or {}) do
      for _, pair in ipairs(property.condition.pairs) do
        local number = mapper:number_of_column(pair[1])
        if number and core.old(object, number) ~= nil and not core.is_deleting(object) then
          load_by_old_key(session, mapper, object, property)
        end
      end
    end
  end
end

-- The version that a row must still have is part of the condition by which it is found.
local function is_versioned(mapper)
  return mapper.arguments.version_id_col ~= nil
end

-- What the database holds of some columns of an object, as a row.
local function stored_values(connection, mapper, object, numbers)
  local columns = {}
  for position, number in ipairs(numbers) do
    columns[position] = mapper:attribute(mapper.column_keys[number])
  end
  local select = statement.select((table.unpack or unpack)(columns))
  for _, number in ipairs(mapper:key_numbers()) do
    local old = core.old(object, number)
    select = select:where(has_stored(mapper, number, old or core.stored(object, number)))
  end
  return connection:execute(select):first()
end

-- Tells an object what some of its columns hold in the database, whatever it was given since.
local function learn(connection, mapper, object, numbers)
  local row = stored_values(connection, mapper, object, numbers)
  for position, number in ipairs(row and numbers or {}) do
    local kind = mapper.attributes[mapper.column_keys[number]].origin.type
    core.set_old(object, number, row[position] == nil and core.null or kind:to_db(row[position]))
  end
end

local function load_versions(session, handle, name)
  for _, object in ipairs(concerned(handle, name, is_versioned)) do
    local mapper = mapper_module.of_object(object)
    local number = mapper.arguments.version_id_col and mapper:version_number()
    if number and core.state(object) == "persistent" and not core.is_given(object, number) then
      local _ = object[mapper.column_keys[number]]
    elseif number and core.old(object, number) == false then -- assigned before it was read
      learn(session:connection(mapper), mapper, object, { number })
    end
  end
end

-- ---- what a delete takes along ----

core.hook("undeletable", function(class, number)
  local mapper = mapper_module.of(class)
  errors.raise("InvalidRequestError", "session:delete(): what %s has is not loaded, since it is write-only; set "
    .. "passive_deletes = true on it, with ON DELETE in the database",
    mapper.relationships[number - #mapper.column_keys]:describe())
end)

-- Loads what must be known of the deleted objects from a position on, one statement for a relationship and many objects:
-- what their cascades reach, or (`all`) what has a foreign key or link row that goes.
local function load_below(session, handle, first, all)
  local lists, numbers = core.unknown(handle, first, all)
  for position, objects in ipairs(lists) do
    local mapper, number = mapper_module.of_object(objects[1]), numbers[position]
    if not eager.ensure(session, objects, mapper.relationships[number - #mapper.column_keys]) then
      for _, object in ipairs(objects) do
        core.related(object, number)
      end
    end
  end
end

-- Children that other objects have taken since the last flush: these keep them.
local function taken_children(handle)
  local taken = {}
  for _, name in ipairs({ "new", "dirty" }) do
    for _, object in ipairs(core.list(handle, name, name == "dirty")) do
      local mapper = mapper_module.of_object(object)
      for position, property in ipairs(core.is_deleting(object) and {} or mapper.relationships) do
        local value = property.direction == "onetomany" and core.peek(object, #mapper.column_keys + position)
        if value and property.uselist then
          local before = set_of(core.collection_old(value) or (name == "dirty" and value:to_table()) or {})
          for _, item in value do
            taken[item] = taken[item] or not before[item] or nil
          end
        end
      end
    end
  end
  return taken
end

--- Marks what the deleted objects' cascades reach and was not loaded when they were marked: level by level, so that each
--- relationship of a level takes one statement.
---@param session table
---@param handle userdata
---@param first? integer the position of the first deleted object that counts
---@return integer position behind the last
function writing.cascade_deletes(session, handle, first)
  local reached, taken
  first = first or 1
  repeat
    load_below(session, handle, first, false)
    reached, first = core.reached(handle, first)
    taken = taken or (reached[1] and taken_children(handle))
    for _, object in ipairs(reached) do
      if not taken[object] then
        core.delete(handle, object, true)
      end
    end
  until reached[1] == nil
  return first
end

local function value_of(default, object)
  if type(default) == "function" then
    return default(object)
  end
  return default
end

local function changes_on_update(mapper)
  if mapper.onupdate == nil then
    mapper.onupdate = {}
    for number, key in ipairs(mapper.column_keys) do
      if mapper.attributes[key].origin.onupdate ~= nil then
        mapper.onupdate[#mapper.onupdate + 1] = { key = key, number = number,
          value = mapper.attributes[key].origin.onupdate }
      end
    end
  end
  return mapper.onupdate[1] ~= nil
end

local function apply_onupdate(handle)
  for _, object in ipairs(concerned(handle, "dirty", changes_on_update)) do
    local mapper = mapper_module.of_object(object)
    if changes_on_update(mapper) and writing.is_modified(object) then
      for _, one in ipairs(mapper.onupdate) do
        if core.old(object, one.number) == nil then
          object[one.key] = value_of(one.value, object)
        end
      end
    end
  end
end

-- ---- objects say what they are ----

local function is_told_apart(mapper)
  local discriminator = hierarchy.discriminator(mapper)
  return discriminator ~= nil and discriminator.number ~= nil
end

-- The identities that a class's objects may have: its own, and those of subclasses in the same table.
local function fits(mapper, value)
  for _, one in ipairs(hierarchy.family(mapper)) do
    if one.table == mapper.table and hierarchy.identity(one) == value then
      return true
    end
  end
  return hierarchy.identity(mapper) == nil
end

-- A row that says it is of another class would come back as an object of that one.
local function check_identities(handle)
  for _, name in ipairs({ "new", "dirty" }) do
    for _, object in ipairs(concerned(handle, name, is_told_apart)) do
      local mapper = mapper_module.of_object(object)
      local number = is_told_apart(mapper) and hierarchy.discriminator(mapper).number
      if number and core.is_given(object, number) and not fits(mapper, core.stored(object, number)) then
        errors.warn("%s is written with %s = %s, and the polymorphic_identity of its class is %s: the row will not be loaded as "
          .. "what it is", tostring(object), mapper.column_keys[number], errors.show(core.stored(object, number)),
          errors.show(mapper.arguments.polymorphic_identity))
      end
    end
  end
end

--- Whether an object's columns or relationships differ from what was loaded.
---@param object userdata
---@return boolean
function writing.is_modified(object)
  local mapper = mapper_module.of_object(object)
  for number in ipairs(mapper.column_keys) do
    local old = core.old(object, number)
    if old == core.null then
      if core.stored(object, number) ~= nil then
        return true
      end
    elseif old ~= nil and old ~= core.stored(object, number) then
      return true
    end
  end
  for position, property in ipairs(mapper.relationships) do
    if removed_items(object, property, #mapper.column_keys + position)[1] ~= nil then
      return true
    end
    local value = core.peek(object, #mapper.column_keys + position)
    if property.uselist and value and core.collection_old(value) then
      local before, now = set_of(core.collection_old(value)), core.collection_items(value)
      for _, item in ipairs(now) do
        if not before[item] then
          return true
        end
      end
    elseif not property.uselist and core.old(object, #mapper.column_keys + position) == false and value ~= nil then
      return true
    end
  end
  return false
end

-- ---- SQL expressions as values ----

-- What new objects are to be inserted with, by object and attribute number: values that the database is asked for first.
local awaited, any_awaited = setmetatable({}, { __mode = "k" }), false

local function await(mapper, object, number, value)
  if joining.tables_of(value)[1] then
    errors.raise("ArgumentError", "%s.%s: this SQL expression reads columns, and a new object has no row yet; insert it with a "
      .. "plain value, or write a subquery, select(...):scalar_subquery()", mapper.name, mapper.column_keys[number])
  end
  awaited[object] = awaited[object] or {}
  awaited[object][number], any_awaited = value, true
  core.unload(object, number)
end

local function awaited_numbers(object)
  local numbers = {}
  for number in ipairs(mapper_module.of_object(object).column_keys) do
    if awaited[object][number] and not core.is_given(object, number) then
      numbers[#numbers + 1] = number
    end
  end
  return numbers
end

local function ask_awaited(session, object, numbers)
  local mapper, columns = mapper_module.of_object(object), {}
  for position, number in ipairs(numbers) do
    local kind = mapper.attributes[mapper.column_keys[number]].origin.type
    columns[position] = functions.type_coerce(awaited[object][number], kind):label("value_" .. position)
  end
  local row = session:connection(mapper):execute(statement.select((table.unpack or unpack)(columns))):one()
  for position, number in ipairs(numbers) do
    object[mapper.column_keys[number]] = row[position] == nil and core.null or row[position]
  end
end

-- Gives new objects the values of their expressions.
local function fill_awaited(session, handle)
  for _, object in ipairs(any_awaited and core.list(handle, "new") or {}) do
    local numbers = awaited[object] and awaited_numbers(object) or {}
    if numbers[1] then
      ask_awaited(session, object, numbers)
    end
    awaited[object] = nil
  end
end

-- obj.x = Class.x + 1: the expression stands in the session until the flush, the attribute counts as unloaded.
core.hook("assign_expression", function(object, number, value)
  local node = expression.clause(value)
  local is_statement = node ~= nil and node.is_statement
  if not expression.is_element(value) and not is_statement then
    return false
  end
  value = is_statement and node:scalar_subquery() or value
  local mapper, session, state = mapper_module.of_object(object), core.session_of(object), core.state(object)
  if state == "transient" or state == "pending" then
    await(mapper, object, number, value)
    return true
  elseif not session or state ~= "persistent" then
    errors.raise("ArgumentError", "%s.%s: an SQL expression can be assigned to new objects and to those of a session; this one "
      .. "is %s", mapper.name, mapper.column_keys[number], state)
  end
  core.unload(object, number)
  core.touch(object)
  session.expressions[#session.expressions + 1] = { object = object, number = number, value = value }
  return true
end)

-- Of each object the columns whose last assignment was the expression.
local function write_expressions(session)
  for _, one in ipairs(session.expressions) do
    local mapper = mapper_module.of_object(one.object)
    if core.old(one.object, one.number) == nil and not core.is_deleting(one.object) then
      local update = change.update(mapper.class):values({ [mapper.column_keys[one.number]] = one.value })
      for _, number in ipairs(mapper:key_numbers()) do
        update = update:where(has_stored(mapper, number, core.stored(one.object, number)))
      end
      local matched = session:connection(mapper):execute(update).rowcount
      if matched ~= 1 then
        errors.raise("StaleDataError", "UPDATE on table '%s' was to change 1 row and found %d; the row was deleted, or its key "
          .. "changed, since this session loaded it", mapper.table.name, matched)
      end
    end
  end
end

local function settle_expressions(session)
  for _, one in ipairs(session.expressions) do
    if core.old(one.object, one.number) == nil and core.session_of(one.object) == session then
      core.unload(one.object, one.number)
    end
  end
  session:forget_expressions()
end

-- ---- SQL by shape ----

local LEFT_OUT, WRITTEN, RETURNED = ("0"):byte(), ("1"):byte(), ("2"):byte()

local function columns_of(mapper, shape, mark)
  local columns = {}
  for number, key in ipairs(mapper.column_keys) do
    if shape:byte(number) == mark then
      columns[#columns + 1] = mapper.inherits and hierarchy.row_column(mapper, number) or mapper.attributes[key].origin
    end
  end
  return columns
end

local function link_columns(mapper, number)
  local property, columns = mapper.relationships[number - #mapper.column_keys], {}
  for _, list in ipairs({ property.answer.secondary_pairs, property.answer.target_pairs }) do
    for _, pair in ipairs(list) do
      columns[#columns + 1] = property.secondary.columns[pair[2]]
    end
  end
  return property.secondary, columns
end

-- The columns by which a row is found: its key, and the version that it had.
local function finding_columns(mapper)
  local columns, version = {}, mapper:version_number()
  for position, number in ipairs(mapper:key_numbers()) do
    columns[position] = hierarchy.row_column(mapper, number)
  end
  local counter = version and mapper.attributes[mapper.column_keys[version]].origin
  columns[#columns + 1] = counter and counter.table == mapper.table and counter or nil
  return columns
end

local SQL = {
  insert = function(mapper, _, shape, rows, dialect)
    return compiler.insert_sql(mapper.table, columns_of(mapper, shape, WRITTEN), rows, dialect,
      columns_of(mapper, shape, RETURNED))
  end,
  update = function(mapper, _, shape, rows, dialect)
    return compiler.update_sql(mapper.table, columns_of(mapper, shape, WRITTEN), finding_columns(mapper), rows, dialect)
  end,
  update_apart = function(mapper, _, shape, rows, dialect)
    local column, key = columns_of(mapper, shape, WRITTEN)[1], finding_columns(mapper)[1]
    return compiler.update_apart_sql(mapper.table, column, key, rows, dialect)
  end,
  delete = function(mapper, _, _, rows, dialect)
    return compiler.delete_sql(mapper.table, finding_columns(mapper), rows, dialect)
  end,
  link = function(mapper, number, _, rows, dialect)
    local tbl, columns = link_columns(mapper, number)
    for _, column in ipairs(mapper.relationships[number - #mapper.column_keys]:link_defaults()) do
      columns[#columns + 1] = column
    end
    return compiler.insert_sql(tbl, columns, rows, dialect)
  end,
  unlink = function(mapper, number, _, _, dialect)
    local tbl, columns = link_columns(mapper, number)
    return compiler.delete_sql(tbl, columns, 1, dialect)
  end,
}

SQL.wipe = function(mapper, number, _, rows, dialect)
  local property, columns = mapper.relationships[number - #mapper.column_keys], {}
  for position, pair in ipairs(property.answer.secondary_pairs) do
    columns[position] = property.secondary.columns[pair[2]]
  end
  return compiler.delete_sql(property.secondary, columns, rows, dialect)
end

core.hook("link_defaults", function(class, number)
  local mapper, values = mapper_module.of(class), {}
  for position, column in ipairs(mapper.relationships[number - #mapper.column_keys]:link_defaults()) do
    local default = column.default
    if type(default) == "function" then
      default = default()
    end
    values[position] = default ~= nil and column.type:to_db(default) or core.null
  end
  return values
end)

-- Bounded by the shapes that a script makes: classes times sets of assigned columns times rows.
local function cached_sql(mapper, dialect, kind, number, shape, rows)
  local by_dialect = mapper.sql_cache
  if not by_dialect or by_dialect.dialect ~= dialect then
    by_dialect = { dialect = dialect }
    mapper.sql_cache = by_dialect
  end
  local key = kind .. number .. "/" .. rows .. shape
  local sql = by_dialect[key]
  if not sql then
    sql = SQL[kind](mapper, number, shape, rows, dialect)
    by_dialect[key] = sql
  end
  return sql
end

-- Keys that the database made are told apart by counting back from the last one. That holds for a table whose rows
-- nothing else inserts into meanwhile: no trigger on it, and no view in its place.
local function is_plain_table(connection, tbl)
  return connection.dialect.plain_table == nil or connection.dialect.plain_table(connection, tbl)
end

local function batch_rows(mapper, connection, shape, rows)
  local columns = 0
  for number = 1, #shape do
    local mark = shape:byte(number)
    if mark == RETURNED then
      return 1
    elseif mark == LEFT_OUT and not is_plain_table(connection, mapper.table) then
      return 1
    end
    columns = columns + (mark == WRITTEN and 1 or 0)
  end
  if columns == 0 then
    return 1
  end
  return math.max(1, math.min(rows, math.floor(connection.dialect.max_binds / columns)))
end

local function provider_for(connection)
  local plain = {}
  return function(kind, class, number, shape, rows)
    local mapper = mapper_module.of(class)
    if kind ~= "batch" then
      return cached_sql(mapper, connection.dialect, kind, number, shape, rows)
    end
    local key = plain[mapper] and plain[mapper][shape]
    if not key then
      key = batch_rows(mapper, connection, shape, ROWS)
      plain[mapper] = plain[mapper] or {}
      plain[mapper][shape] = key
    end
    return key
  end
end

-- ---- what the core asks and reports ----

core.hook("uniques", function(class)
  local mapper = mapper_module.of(class)
  core.set_uniques(class, uniqueness.specs(mapper), uniqueness.is_referred_to(mapper.table))
end)

local function quoted_table(mapper)
  return "'" .. mapper.table.name .. "'"
end

core.hook("not_in_session", function(class, number, item)
  local mapper = mapper_module.of(class)
  local property = mapper.relationships[number - #mapper.column_keys]
  errors.warn("%s holds an object of class '%s' that is not in the session; it is not saved along (session:add it)",
    property:describe(), mapper_module.of_object(item).name)
end)

-- "Book with the key 1, 2": by what the row was looked for.
local function describe_row(mapper, object)
  local key = {}
  for position, number in ipairs(mapper:key_numbers()) do
    local old = core.old(object, number)
    key[position] = errors.show(old ~= nil and old or core.stored(object, number))
  end
  return ("%s with the key %s"):format(mapper.name, table.concat(key, ", "))
end

core.hook("stale", function(kind, class, object, matched)
  local mapper = mapper_module.of_object(object)
  errors.raise("StaleDataError", "%s on table %s was to change 1 row, %s, and found %d; it was deleted, or its %s changed, "
    .. "since this session loaded it", kind, quoted_table(mapper_module.of(class)), describe_row(mapper, object), matched,
    mapper.arguments.version_id_col and "version or key" or "key")
end)

core.hook("delete_missed", function(class, expected, matched)
  errors.warn("DELETE on table %s was to delete %d row(s) and found %d; the others were gone already",
    quoted_table(mapper_module.of(class)), expected, matched)
end)

-- Link rows with a key of their own may say the same thing more than once: they go together.
core.hook("stale_link", function(class, number, matched)
  local mapper = mapper_module.of(class)
  local property = mapper.relationships[number - #mapper.column_keys]
  if matched > 1 and property.secondary.primary_key[1] then
    return
  end
  errors.raise("StaleDataError", "%s: DELETE on the link table '%s' was to delete 1 row and found %d; %s", property:describe(),
    property.secondary.name, matched, matched == 0 and "it was deleted since this session loaded it"
    or "the same link stands there more than once, so that one alone cannot be removed")
end)

core.hook("stale_links", function(class, number, least, most, matched)
  local mapper = mapper_module.of(class)
  local property = mapper.relationships[number - #mapper.column_keys]
  errors.raise("StaleDataError", "%s: DELETE on the link table '%s' was to delete %s row(s) of deleted objects and found %d; "
    .. "links were %s since this session loaded them", property:describe(), property.secondary.name,
    least == most and least or least .. " to " .. most, matched, matched < least and "deleted" or "added")
end)

-- ---- the flush ----

local function name_cycle(err, handle)
  if errors.is_error(err, "CircularDependencyError") then
    local names = {}
    for _, object in ipairs(core.flush_cycle(handle)) do
      names[#names + 1] = tostring(object)
    end
    err.message = ("these objects refer to each other in a circle, so that none can be inserted first: %s; save one of them "
      .. "without the reference, flush, and set it then, or give the relationship post_update = true"):format(
      table.concat(names, ", "))
  end
  return err
end

-- Tells those who listen to a class of its rows, in the order in which they are written.
local function announce(planned, phase, session)
  for position = 1, #planned, 2 do
    local mapper = mapper_module.of_object(planned[position])
    mapper_module.fire(mapper, phase .. planned[position + 1], mapper, session:connection(mapper), planned[position])
  end
end

-- Which database the rows of a class go to, where there are several.
local function route_for(session)
  local providers = {}
  return function(class)
    local connection = session:connection(class)
    providers[connection] = providers[connection] or provider_for(connection)
    return connection.dbc, providers[connection], connection:trace()
  end
end

local function run_all(flush, session, connections)
  local connection = connections[1]
  if connections[2] then
    core.run(flush, connection.dbc, nil, nil, route_for(session))
  else
    core.run(flush, connection.dbc, provider_for(connection), connection:trace())
  end
end

local function exec_all(connections, sql, first)
  for position = first or 1, #connections do
    connections[position].dbc:exec(sql)
  end
end

-- ---- what hooks change behind the rows ----

-- { object, { stored value by column number, where it is loaded }, ... } of everything that counts as written when the
-- flush ends.
local function values_written(session)
  local kept = {}
  for _, name in ipairs({ "new", "dirty" }) do
    for _, object in ipairs(core.list(session[1], name)) do
      local values = {}
      for number = 1, #mapper_module.of_object(object).column_keys do
        if core.is_given(object, number) then
          local value = core.stored(object, number)
          values[number] = value == nil and core.null or value
        end
      end
      kept[#kept + 1], kept[#kept + 2] = object, values
    end
  end
  return kept
end

-- What hooks have assigned since then, { object, column number, value, ... } or nil; the objects hold what was written,
-- so that the flush ends with what the database has. What they have expired was not assigned.
local function set_late_values_aside(written)
  local late
  for position = 1, #written, 2 do
    local object, values = written[position], written[position + 1]
    for number = 1, #mapper_module.of_object(object).column_keys do
      local value = core.stored(object, number)
      value = value == nil and core.null or value
      if value ~= values[number] and (values[number] ~= nil or core.old(object, number) ~= nil)
        and core.is_given(object, number) then
        late = late or {}
        late[#late + 1], late[#late + 2], late[#late + 3] = object, number, value
        core.set_raw(object, number, values[number] == nil and core.null or values[number])
      end
    end
  end
  return late
end

-- They are changes for the next flush.
local function put_late_values_back(late)
  for position = 1, #late, 3 do
    core.replace_raw(late[position], late[position + 1], late[position + 2])
  end
end

local function run(flush, connections, session)
  core.collect(flush)
  if core.defers(flush) then
    exec_all(connections, connections[1].dialect.defer_foreign_keys)
  end
  local before, after = mapper_module.hears_rows.before_, mapper_module.hears_rows.after_
  local planned = (before or after) and core.planned(flush)
  if before then
    announce(planned, "before_", session)
  end
  run_all(flush, session, connections)
  if session.expressions[1] then
    write_expressions(session)
  end
  local written = (after or session.dispatch.after_flush) and values_written(session)
  if after then
    announce(planned, "after_", session)
  end
  event.fire(session.dispatch, "after_flush", session)
  local late = written and set_late_values_aside(written)
  exec_all(connections, RELEASE, 2)
  core.finish(flush, connections[1].dbc, RELEASE)
  if late then
    put_late_values_back(late)
  end
end

-- Whether a relationship sets a column NULL in the rows that leave it.
local function unlinks(property, tbl, column)
  if property.direction ~= "onetomany" or property.options.viewonly then
    return false
  end
  for _, pair in ipairs(property.condition.pairs) do
    if pair[2].name == column and pair[2].table == tbl then
      return true
    end
  end
  return false
end

-- A row that was to be unlinked, and whose foreign key takes no NULL: the relationship says what shall become of it.
local function advise_on_unlinking(err, mapper)
  local column = rawget(err, "constraint") == "not null" and err.statement:find("^UPDATE") and err.columns and err.columns[1]
  for _, other in ipairs(column and registry.mappers() or {}) do
    for _, property in ipairs(other.configured and other.relationships or {}) do
      if unlinks(property, mapper.table, column) then
        err.hint = ("%s sets %s.%s NULL in what leaves it, and in all of it when its %s is deleted; cascade = \"all, "
          .. "delete-orphan\" there deletes these objects instead"):format(property:describe(), mapper.table.name, column,
            other.name)
        return
      end
    end
  end
end

-- The object whose row could not be written, where one alone is to blame; else the rows of the statement, in words.
local function blame(err, flush, connection)
  err = name_cycle(err, flush)
  local object, count = core.culprit(flush)
  if object and errors.is_error(err) then
    err.object = count == 1 and object or nil
    advise_on_unlinking(err, mapper_module.of_object(object))
    err.candidates = count > 1 and ("one of %d rows of '%s', the first of which is %s"):format(count,
      mapper_module.of_object(object).name, tostring(object)) or nil
  end
  if connection.engine.hide_parameters and errors.is_error(err) then
    err.params = nil
  end
  return err
end

local function undo_rows(connection)
  if connection.dbc:in_transaction() then
    connection.dbc:exec(UNDO)
    connection.dbc:exec(RELEASE)
  end
end

-- What a failed flush has done to rows and objects. Rows that the database cannot take back alone go with the whole
-- transaction.
local function take_back(flush, connections)
  core.undo(flush)
  for _, connection in ipairs(connections) do
    transaction.doom(connection, not pcall(undo_rows, connection))
  end
end

local function doom_all(connections)
  for _, connection in ipairs(connections) do
    transaction.doom(connection, true)
  end
end

-- One attempt, inside a savepoint: the flush that has written everything, or nil, what was in the way, and whether unique
-- values that are not known may have been.
local function attempt(session, handle, connections)
  local flush = core.flush(handle)
  local begun, fault = pcall(exec_all, connections, SAVEPOINT)
  if not begun then
    return nil, fault
  end
  local ok, err = pcall(run, flush, connections, session)
  local defers, blind = core.defers(flush)
  if not ok then
    doom_all(connections)
    local explained, better = pcall(blame, err, flush, connections[1])
    take_back(flush, connections)
    err = explained and better or err
  end
  for position = 1, defers and #connections or 0 do
    local connection = connections[position]
    if connection.dbc:in_transaction() then
      connection.dbc:exec(connection.dialect.check_foreign_keys)
    end
  end
  return ok and flush or nil, err, blind
end

-- The unique columns, beside the primary key, of a class.
local function unique_numbers(mapper)
  if not mapper.unique_numbers then
    local numbers = {}
    for _, set in ipairs(uniqueness.specs(mapper)) do
      for _, number in ipairs(set.key and {} or set.columns) do
        numbers[#numbers + 1] = number
      end
    end
    mapper.unique_numbers = numbers
  end
  return mapper.unique_numbers
end

-- Objects that are expired may be given values without asking what they had: now that matters.
local function learn_unique_values(session, handle)
  for _, list in ipairs({ "dirty", "deleted" }) do
    for _, object in ipairs(core.list(handle, list)) do
      local mapper = mapper_module.of_object(object)
      local numbers = unique_numbers(mapper)
      if numbers[1] then
        learn(session:connection(mapper), mapper, object, numbers)
      end
    end
  end
end

local function may_be_known_now(err, connection)
  return errors.is_error(err, "IntegrityError") and err.message:find("UNIQUE constraint failed", 1, true) ~= nil
    and connection.dbc:in_transaction()
end

-- The connections that a flush writes on; one, unless the session has binds.
local function connections_for(session, handle)
  if not session.by_key then
    return { session:connection() }
  end
  local connections, seen = {}, {}
  for _, list in ipairs({ "new", "dirty", "deleted" }) do
    for _, object in ipairs(core.list(handle, list)) do
      local connection = session:connection(mapper_module.of_object(object))
      if not seen[connection] then
        seen[connection] = true
        connections[#connections + 1] = connection
      end
    end
  end
  return connections
end

--- Writes what a session holds; false where there was nothing. Rows and objects are unchanged when it raises.
---@param session table
---@param handle userdata
---@param cascaded integer what cascade_deletes() has said
---@return boolean
function writing.write(session, handle, cascaded)
  find_changed_documents(handle)
  delete_orphans(session, handle)
  writing.cascade_deletes(session, handle, cascaded)
  load_below(session, handle, 1, true)
  if mapper_module.any_key_carrier then
    load_for_new_keys(session, handle)
  end
  if mapper_module.any_version then
    load_versions(session, handle, "dirty")
    load_versions(session, handle, "deleted")
  end
  if mapper_module.any_discriminator then
    check_identities(handle)
  end
  if mapper_module.any_onupdate then
    apply_onupdate(handle)
  end
  if core.is_settled(handle) then
    return false
  end
  local connections = connections_for(session, handle)
  for _, connection in ipairs(connections) do
    connection:ensure_begun(true)
  end
  fill_awaited(session, handle)
  local flush, err, blind = attempt(session, handle, connections)
  if not flush and blind and may_be_known_now(err, connections[1]) then
    learn_unique_values(session, handle)
    flush, err = attempt(session, handle, connections)
  end
  if not flush then
    connections[1]:failed(err)
  end
  core.done(flush)
  if session.expressions[1] then
    settle_expressions(session)
  end
  return true
end

return writing
