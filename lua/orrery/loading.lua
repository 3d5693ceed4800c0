--- loading: from statements to objects: the plan by which the core makes objects of rows, what an attribute does that is
-- read before it is loaded, and the refresh of expired objects.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local functions = import "functions"
local compiler = import "compiler"
local execution = import "execution"
local result = import "result"
local statement = import "statement"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"
local shaping = import "shaping"

local loading = {}

-- ---- plans ----

local unpack = table.unpack or unpack

-- The attribute numbers that a class of the family has for the columns of an entity; 0 for those of other classes.
local function kind_of(mapper, columns)
  local map = {}
  for offset, column in ipairs(columns) do
    map[offset] = column.origin and mapper:number_of_column(column.origin) or 0
  end
  return { class = mapper.class, map = map, identity = hierarchy.identity(mapper) }
end

-- An entity whose rows may be of several classes.
local function polymorphic_item(item, map, keys, position_of)
  local entity, kinds = item.entity, {}
  for position, mapper in ipairs(entity.kinds) do
    kinds[position] = kind_of(mapper, entity.columns)
  end
  local discriminator = hierarchy.discriminator(entity.mapper)
  return { class = entity.class, first = item.first, map = map, keys = keys, left = entity.left, refused = entity.refused,
    kinds = kinds, discriminator = discriminator.column and position_of[discriminator.column] or item.first + item.count - 1 }
end

-- Result columns of the key's parts, and the attribute number of each column, for one entity.
local function entity_item(item)
  local entity, mapper = item.entity, item.entity.mapper
  local map, keys, position_of = {}, {}, {}
  for offset = 1, item.count do
    local number = entity.numbers and entity.numbers[offset] or offset
    map[offset] = number
    position_of[number > 0 and mapper.attributes[mapper.column_keys[number]].origin or false] = item.first + offset - 1
  end
  for number, column in ipairs(hierarchy.base(mapper).table.primary_key) do
    keys[number] = position_of[column]
  end
  if entity.kinds then
    return polymorphic_item(item, map, keys, position_of)
  elseif entity.concrete then
    return { class = mapper.class, first = item.first, map = map, keys = keys, kinds = entity.concrete, concrete = true,
      discriminator = item.first + item.count - 1 }
  end
  return { class = mapper.class, first = item.first, map = map, keys = keys, left = entity.left, refused = entity.refused }
end

local function value_item(item)
  return { first = item.column, handle = item.type and item.type.handle }
end

-- Values that a type's Lua function finishes, by position in the row.
local function finishers_of(raw)
  local list
  for position, item in ipairs(raw) do
    if not item.entity and item.type and item.type.result then
      list = list or {}
      list[#list + 1] = { position = position, type = item.type }
    end
  end
  return list
end

local function shown_identities(mapper)
  local shown = {}
  for position, one in ipairs(hierarchy.family(mapper)) do
    local identity = one.arguments.polymorphic_identity
    shown[position] = (identity == nil and "none" or errors.show(identity)) .. " for " .. one.name
  end
  return table.concat(shown, ", ")
end

local function place_of(mapper)
  local discriminator, base = hierarchy.discriminator(mapper), hierarchy.base(mapper)
  return ("'%s.%s'"):format(base.table.name, discriminator.column and discriminator.column.name or "polymorphic_on")
end

core.hook("unknown_identity", function(class, _, value)
  local mapper = mapper_module.of(class)
  for _, one in ipairs(hierarchy.family(hierarchy.base(mapper))) do
    if hierarchy.identity(one) == value then
      errors.raise("InvalidRequestError", "a row of a query of %s has %s = %s, which makes it a %s, and that does not inherit "
        .. "from %s", mapper.name, place_of(mapper), errors.show(value), one.name, mapper.name)
    end
  end
  errors.raise("InvalidRequestError", "a row has %s = %s, and no class has that polymorphic_identity (%s); declare the class "
    .. "before the query, or correct the row", place_of(mapper), errors.show(value), shown_identities(hierarchy.base(mapper)))
end)

core.hook("other_class", function(class, other, key)
  local mapper, known = mapper_module.of(class), mapper_module.of(other)
  errors.raise("InvalidRequestError", "the session has the row of key %s as a %s already, and this query is about a %s; "
    .. "%s", errors.show(key), known.name, mapper.name, hierarchy.discriminator(mapper)
    and "its discriminator was changed elsewhere: expunge the object first"
    or "give the topmost class a polymorphic_on, so that each row is loaded as what it is")
end)

-- `order`: which result column stands for each of those that are compiled, where the script has written the statement.
local function new_plan(compiled, visible, order)
  local items, names, nodes = {}, {}, {}
  for position, item in ipairs(compiled.raw) do
    items[position] = item.entity and entity_item(item) or value_item(item)
    if position <= visible then
      names[position] = item.entity and item.entity.name or item.name
      nodes[position] = item.entity and (item.entity.origin or item.entity) or compiled.columns[item.column].node or false
    end
  end
  return { core = core.plan(items, #compiled.columns, order), names = names, finishers = finishers_of(compiled.raw),
    single = visible == 1 and compiled.raw[1].entity ~= nil, row_metatable = result.row_metatable(names, nodes) }
end

loading.new_plan = new_plan

--- How the rows of a compiled statement become objects; kept with it.
---@param compiled table
---@param joined? integer how many of its last items belong to relationships of the others
---@return table plan { core, single, names, row_metatable, finishers }
function loading.plan_of(compiled, joined)
  joined = joined or 0
  local plans = compiled.load_plans
  if not plans then
    plans = {}
    compiled.load_plans = plans
  end
  local plan = plans[joined]
  if not plan then
    plan = new_plan(compiled, #compiled.raw - joined)
    plans[joined] = plan
  end
  return plan
end

--- Whether a compiled select makes objects.
---@param compiled table
function loading.has_entities(compiled)
  for _, item in ipairs(compiled.raw or {}) do
    if item.entity then
      return true
    end
  end
  return false
end

local function finish_rows(rows, finishers)
  for _, row in ipairs(rows) do
    for _, finisher in ipairs(finishers) do
      local stored = rawget(row, finisher.position)
      if stored ~= nil then
        rawset(row, finisher.position, finisher.type:result(stored))
      end
    end
  end
end

--- What a load may be told beside its statement.
---@class orrery.LoadOrder
---@field rows? boolean rows, not the objects of the first item
---@field populated? table the set of objects that the load has overwritten already: others are
---@field cohorts? integer[] numbers by item, of orrery.LoadTree:cohort()
---@field links? table[] { item, attribute number }: where the objects of each of the last items belong
---@field gather? userdata of core.gather: the collections that the objects come into
---@field holders? boolean the objects are to hold related ones, which are loaded behind them
---@field kilobytes? integer what Lua held before the first of several loads that belong together
---@field key_columns? integer[] result columns that hold the keys of these collections

local NOTHING = {}

local function tell_of_loads(session)
  local loaded = core.take_loaded(session[1]) or {}
  for position = 1, #loaded, 2 do
    mapper_module.fire(mapper_module.of_object(loaded[position]), loaded[position + 1], loaded[position], session)
  end
end

--- What Lua has to do to rows that the core's loop has made.
---@param plan table
---@param order orrery.LoadOrder
---@param out table
---@param session orrery.Session
function loading.finish(plan, order, out, session)
  if mapper_module.hears_loads then
    tell_of_loads(session)
  end
  if plan.finishers and order.rows then
    finish_rows(out, plan.finishers)
  end
end

-- A statement that is not run after all is given back.
local function plan_for(order, stmt)
  local ok, plan = pcall(order.plan_for, stmt)
  if not ok then
    stmt:reset()
    error(plan, 0)
  end
  return plan
end

--- The same as run(), on a connection, with a plan.
---@param session table
---@param connection orrery.Connection
---@param compiled table
---@param values table
---@param plan table
---@param order orrery.LoadOrder
---@param out table|false
---@return table|false array
---@return integer count
function loading.run_plan(session, connection, compiled, values, plan, order, out)
  local facts = compiled.facts or execution.facts(compiled)
  local binds, unfinished = facts.order, nil
  local source = plan and compiled.readonly and not facts.bind_functions and connection:at_rest()
  if not source then
    source, values, unfinished = connection:start(compiled, values)
    plan, binds = plan or plan_for(order, source), nil
  end
  local ok, count = pcall(core.load, session[1], source, plan.core, out or nil, order.rows and plan.row_metatable or nil,
    order.populated, nil, order.cohorts, order.links, order.gather, order.key_columns, order.holders, order.kilobytes,
    binds, values)
  if not ok then
    connection:failed(count, compiled, values)
  end
  if unfinished then
    connection:finish(source, compiled, values, count)
  end
  if mapper_module.hears_loads or plan.finishers then
    loading.finish(plan, order, out, session)
  end
  return out, count
end

--- Runs a compiled select and returns its rows, or its first items' objects, as an array, read to the end.
---@param session table
---@param compiled table
---@param values table bind values in marker order
---@param order? orrery.LoadOrder
---@param out? table|false the array to append to; false: nobody wants them
---@return table|false array
---@return integer count
function loading.run(session, compiled, values, order, out)
  order = order or NOTHING
  if out == nil then
    out = {}
  end
  local plan = not order.plan_for and loading.plan_of(compiled, order.links and #order.links)
  return loading.run_plan(session, session:connection(compiled), compiled, values, plan, order, out)
end

-- ---- statements that are made once per class or relationship ----

-- A select whose named binds are filled from attribute numbers; compiled once per dialect.
local function prepared(select, numbers)
  return { select = select, numbers = numbers, by_dialect = {} }
end

-- `order` has the attribute number for each marker, `constants` the values of those that a mapped expression has.
local function add_orders(made, numbers)
  made.order = {}
  for position, bind in ipairs(made.binds) do
    made.order[position] = numbers[bind.key] or false
    if not made.order[position] then
      made.constants = made.constants or {}
      made.constants[position] = bind.value == nil and core.null or bind.value
    end
  end
  return made
end

local function compiled_for(one, dialect)
  local made = one.by_dialect[dialect]
  if not made then
    made = add_orders(compiler.compile(one.select, dialect), one.numbers)
    one.by_dialect[dialect] = made
  end
  return made
end

-- The bind values from an object; nil when one of them is NULL and nothing can be equal to it.
local function values_of(compiled, object, with_null)
  local values = {}
  for position, number in ipairs(compiled.order) do
    local value = compiled.constants and compiled.constants[position]
    if number then
      value = core.stored(object, number)
    end
    if value == nil and not with_null then
      return nil
    end
    values[position] = value == nil and core.null or value
  end
  return values
end

local function attribute_of_column(mapper, column)
  return mapper:attribute(mapper.column_keys[mapper:number_of_column(column)])
end

local function add_condition(conditions, numbers, element, number)
  local name = "key_" .. (#conditions + 1)
  conditions[#conditions + 1] = element:eq(functions.bindparam(name, { type_ = element.type:as_stored() }))
  numbers[name] = number
end

-- ---- by primary key ----

local function key_select(mapper, entity)
  mapper.key_selects = mapper.key_selects or {}
  if not mapper.key_selects[entity] then
    local conditions, numbers = {}, {}
    for _, column in ipairs(hierarchy.base(mapper).table.primary_key) do
      local number = mapper:number_of_column(column)
      add_condition(conditions, numbers, attribute_of_column(mapper, column), number)
    end
    mapper.key_selects[entity] = prepared(statement.select(entity):where(expression.and_(unpack(conditions))), numbers)
  end
  return mapper.key_selects[entity]
end

--- The values of a key, which a script has written, as the database has them.
---@param mapper table
---@param key any[] in the order of the primary key's columns
---@return any[]
function loading.stored_key(mapper, key)
  local parts = {}
  for position, column in ipairs(hierarchy.base(mapper).table.primary_key) do
    parts[position] = column.type.bind and column.type:to_db(key[position]) or key[position]
  end
  return parts
end

--- The primary key of an object, as its row has it, and as a script writes it; nil where a part is missing.
---@param mapper table
---@param object userdata
---@return any[]?
function loading.key_of(mapper, object)
  local key = {}
  for position, number in ipairs(mapper:key_numbers()) do
    local value = core.old(object, number) or core.stored(object, number)
    if value == nil then
      return nil
    end
    key[position] = mapper.attributes[mapper.column_keys[number]].origin.type:from_db(value)
  end
  return key
end

-- The key's values where the statement has their markers.
local function key_values(mapper, compiled, key)
  if not compiled.constants then
    return key
  end
  local values, numbers = {}, mapper:key_numbers()
  for position, number in ipairs(compiled.order) do
    for part = 1, #numbers do
      values[position] = numbers[part] == number and key[part] or values[position]
    end
    if not number then
      values[position] = compiled.constants[position]
    end
  end
  return values
end

--- Loads the object with a key, as the database has it, in the order of the primary key's columns; nil where there is no row.
---@param session table
---@param mapper table
---@param key any[]
function loading.by_key(session, mapper, key)
  local compiled = compiled_for(key_select(mapper, shaping.shaped(mapper:entity())), session.engine.dialect)
  return loading.run(session, compiled, key_values(mapper, compiled, key))[1]
end

-- What core.load_by_key takes of the select by which a class's objects come one by one; `usable`: they come alone, and their
-- key is one value, which is stored as it is.
local function new_way(mapper, entity, tree, dialect)
  local compiled = compiled_for(key_select(mapper, shaping.shaped(entity)), dialect)
  local columns, facts, plan = hierarchy.base(mapper).table.primary_key, execution.facts(compiled), loading.plan_of(compiled)
  return { facts.order, plan.core, compiled = compiled, entity = entity, tree = tree, dialect = dialect,
    usable = not (columns[2] or columns[1].type.bind or compiled.constants or facts.bind_functions or plan.finishers
      or tree:is_eager()) and compiled.readonly }
end

--- The object with a key that is one value, where getting it takes nothing but its statement; false where there is no row, nil
--- where there is more to do.
---@param session table
---@param mapper table
---@param tree orrery.LoadTree what holds for the class without options
---@param key any
---@return userdata|false|nil
function loading.get_alone(session, mapper, tree, key)
  local connection = not session.by_key and not session.unsettled and session.seat.conn
  local dbc = connection and connection:at_rest()
  if not dbc or session.lazy or session.dispatch.do_orm_execute or mapper_module.hears_loads then
    return nil
  end
  local way, entity, dialect = mapper.key_way, mapper:entity(), connection.dialect
  if not way or way.entity ~= entity or way.tree ~= tree or way.dialect ~= dialect then
    way = new_way(mapper, entity, tree, dialect)
    mapper.key_way = way
  end
  if not way.usable then
    return nil
  end
  local ok, object = pcall(core.load_by_key, session[1], mapper.class, dbc, way, key)
  if not ok then
    connection:failed(object, way.compiled, { key })
  end
  return object
end

local LEFT = {
  expunged = "it was expunged from its session",
  closed = "its session was closed, or emptied by expunge_all()",
  deleted = "its row was deleted, and that was committed",
  dropped = "its session was never closed, but dropped and collected",
}

local function detached_error(mapper, object, what, advice)
  errors.raise("DetachedInstanceError", "%s.%s cannot be loaded: this object is in no session (%s); %s", mapper.name, what,
    LEFT[core.left(object)] or "it has never been in one", advice)
end

local function session_of(mapper, object, what, advice)
  local session = core.session_of(object)
  if not session then
    detached_error(mapper, object, what, advice)
  end
  return session
end

local function raise_gone(mapper)
  errors.raise("ObjectDeletedError", "%s: the row of this object is gone from the database; it was deleted elsewhere",
    mapper.name)
end

local function read_again(session, mapper, object, entity, populate)
  local compiled = compiled_for(key_select(mapper, entity), session.engine.dialect)
  local array = loading.run(session, compiled, values_of(compiled, object) or {}, { populated = populate and {} or nil })
  if array[1] ~= object then
    raise_gone(mapper)
  end
end

local function key_columns(mapper)
  local columns = {}
  for position, column in ipairs(hierarchy.base(mapper).table.primary_key) do
    columns[position] = attribute_of_column(mapper, column)
  end
  return columns
end

--- A column whose values are written and read as the database has them.
---@param column table
---@return table
function loading.as_stored(column)
  return column.type.bind and functions.type_coerce(column, column.type:as_stored()) or column
end

--- columns IN (keys), which are as the database has them; a key of several columns is an array.
---@param columns table[]
---@param keys any[]
---@return table
function loading.in_keys(columns, keys)
  local coerced = {}
  for position, column in ipairs(columns) do
    coerced[position] = loading.as_stored(column)
  end
  columns = coerced
  if #columns == 1 then
    return columns[1]:in_(keys)
  end
  return functions.tuple_(unpack(columns)):in_(keys)
end

--- Whether values of columns may stand in a JSON array: bytes may not.
---@param columns table[]
---@return boolean
function loading.are_packed(columns)
  for _, column in ipairs(columns) do
    if column.type.kind == core.kinds.BLOB then
      return false
    end
  end
  return true
end

-- Keys of several parts, which stand one behind the other.
local function in_groups(parts, width)
  if width == 1 then
    return parts
  end
  local keys = {}
  for first = 1, #parts, width do
    keys[#keys + 1] = { unpack(parts, first, first + width - 1) }
  end
  return keys
end

local LIST = "orrery_keys"

--- The select of rows by a list of keys. A long list is a parameter of one select, where JSON has a place for them; else the
--- values of a select of its own.
---@param session table
---@param keyed { select: table, columns: table[], packs: boolean, by_list?: table }
---@param keys any[] their parts one behind the other, as the database has them
---@return table select
---@return table? params
function loading.select_by_list(session, keyed, keys)
  local width = #keyed.columns
  local list = #keys > expression.MAX_MARKERS and keyed.packs and session.engine.dialect.array_in and core.pack(keys, width)
  if not list then
    return keyed.select:where(loading.in_keys(keyed.columns, in_groups(keys, width))), nil
  end
  keyed.by_list = keyed.by_list or keyed.select:where(loading.in_keys(keyed.columns,
    expression.new{ visit = "bind", key = LIST, packed = true, type = types.NullType }))
  return keyed.by_list, { [LIST] = list }
end

local function key_list_select(mapper)
  local entity, keyed = mapper:entity(), mapper.key_list_select
  if not keyed or keyed.entity ~= entity then
    local columns = key_columns(mapper)
    keyed = { entity = entity, select = statement.select(entity), columns = columns, packs = loading.are_packed(columns) }
    mapper.key_list_select = keyed
  end
  return keyed
end

local function contains(list, item)
  for position = 1, #list do
    if list[position] == item then
      return true
    end
  end
  return false
end

-- Reads the rows of several objects of one class again; the first one's must be there.
local function read_together(session, mapper, objects)
  local keys = core.keys(objects, mapper:key_numbers())
  local select, params = loading.select_by_list(session, key_list_select(mapper), keys)
  local compiled, values = session:connection(select):compile(select, params)
  if not contains(loading.run(session, compiled, values), objects[1]) then
    raise_gone(mapper)
  end
end

-- What is read along with a deferred column is left out no longer.
local function without_companions(mapper, left, number)
  for _, one in ipairs(shaping.companions(mapper, number, left)) do
    left[one] = nil
  end
  return left
end

--- Reads the row of an object again into what it has not loaded, without what its query deferred;
--- ObjectDeletedError where the row is gone.
---@param session table
---@param mapper table
---@param object userdata
---@param populate? boolean
---@param number? integer of a deferred column that is wanted, too
function loading.refresh(session, mapper, object, populate, number)
  local entity, left = mapper:entity(), core.deferred(object)
  if left then
    entity = shaping.narrowed(entity, number and without_companions(mapper, left, number) or left)
  end
  read_again(session, mapper, object, entity, populate)
end

--- The same for an object that expired with its session: other expired ones of its class are read in the same statement, as
--- many as were read again already, up to 500. Whoever goes through all of them sends few statements so, and whoever looks
--- at one reads one.
---@param session table
---@param mapper table
---@param object userdata
---@param number? integer of a deferred column that is wanted, too
function loading.refresh_expired(session, mapper, object, number)
  if number or shaping.defers(mapper) or mapper:entity().has_expressions then
    return loading.refresh(session, mapper, object, nil, number)
  end
  local objects = core.expired(object)
  if #objects == 1 then
    return loading.refresh(session, mapper, object)
  end
  read_together(session, mapper, objects)
end

--- Reads single columns of an object; those that it has loaded stay.
---@param session table
---@param mapper table
---@param object userdata
---@param numbers integer[]
function loading.columns(session, mapper, object, numbers)
  read_again(session, mapper, object, shaping.only(mapper, numbers))
end

-- What waits as an SQL expression has its value after a flush only.
local function session_for_column(mapper, object, key)
  local session = session_of(mapper, object, key, "add it to a session, or load it before the session is closed "
    .. "(sessions with expire_on_commit = false keep what is loaded after a commit)")
  if session.expressions[1] then
    session:autoflush_now()
  end
  return session
end

local function refuse_if_raising(mapper, key, left)
  if left == "raise" then
    errors.raise("InvalidRequestError", "%s.%s is not loaded, and raiseload forbids to load it now; ask for it with the query, "
      .. ":options(orm.undefer(%s.%s))", mapper.name, key, mapper.name, key)
  end
end

local function is_by_query(mapper, number)
  local origin = mapper.attributes[mapper.column_keys[number]].origin
  return origin.read_only and not origin.expression
end

-- Of a class with SQL expressions only what is missing is read: the expressions may cost more than the row.
local function load_missing(session, mapper, object, left)
  local missing = {}
  for number in ipairs(mapper:entity().has_expressions and mapper.column_keys or {}) do
    if core.is_missing(object, number) and not (left and left[number]) then
      missing[#missing + 1] = number
    end
  end
  if missing[1] then
    return loading.columns(session, mapper, object, missing)
  end
  loading.refresh(session, mapper, object)
end

core.hook("refresh", function(object, number)
  local mapper = mapper_module.of_object(object)
  if is_by_query(mapper, number) then
    return core.forget(object)
  end
  local key, left = mapper.column_keys[number], core.deferred(object)
  refuse_if_raising(mapper, key, left and left[number])
  loading.refresh_expired(session_for_column(mapper, object, key), mapper, object, left and left[number] and number)
end)

core.hook("load_column", function(object, number)
  local mapper = mapper_module.of_object(object)
  if is_by_query(mapper, number) then
    return
  end
  local key, left = mapper.column_keys[number], core.deferred(object)
  refuse_if_raising(mapper, key, left and left[number])
  local session = session_for_column(mapper, object, key)
  if not (left and left[number]) then
    return load_missing(session, mapper, object, left)
  end
  local numbers = shaping.companions(mapper, number, left)
  if session.watching then
    return session.watching:during({ name = mapper.name .. "." .. key }, loading.columns, session, mapper, object, numbers)
  end
  loading.columns(session, mapper, object, numbers)
end)

-- ---- what other files load with ----

--- An expired object does not know its foreign keys; its primary key it never forgets.
---@param session table
---@param mapper table
---@param object userdata
---@param numbers integer[] of columns that are wanted
function loading.ensure_columns(session, mapper, object, numbers)
  local missing, left
  for _, number in ipairs(numbers) do
    if number and core.is_missing(object, number) then
      left, missing = left or core.deferred(object) or {}, missing or {}
      if not left[number] then
        return loading.refresh_expired(session, mapper, object)
      end
      missing[#missing + 1] = number
    end
  end
  if missing then
    loading.columns(session, mapper, object, missing)
  end
end

loading.detached_error, loading.attribute_of_column = detached_error, attribute_of_column
loading.prepared, loading.compiled_for = prepared, compiled_for
loading.values_of, loading.add_condition = values_of, add_condition

return loading
