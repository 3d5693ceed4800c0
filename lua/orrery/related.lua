--- related: the objects of a relationship, by statements of their own: for one object when it is read, for many by their
-- keys. When which of them runs is decided in strategies.lua.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local types = import "types"
local functions = import "functions"
local statement = import "statement"
local joincondition = import "joincondition"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"
local aliased = reading.later "aliased"
local shaping = import "shaping"
local execution = import "execution"
local loading = import "loading"
local criteria = import "criteria"
local orm_execute = import "orm_execute"
local loader_option = import "loader_option"
local joined = reading.later "joined"

local related = {}
local unpack = table.unpack or unpack

local KEYS = 500 -- in one statement: more only make it longer
related.KEYS = KEYS

---@class orrery.LoadWork what loads that belong together share
---@field session orrery.Session
---@field populated? table the set of objects that were overwritten
---@field visited table<orrery.Relationship, table<userdata, boolean>> objects that recursive loading has come by
---@field roots? table<orrery.LoadTree, { select: table, item: table }> the query that gave the objects of a tree
---@field params? table its parameters
---@field kilobytes? integer what Lua held before the first of them

-- ---- what was loaded goes where it belongs ----

-- What the other side did to this collection before it was loaded.
local function merge_backlog(items, backlog)
  if not backlog then
    return items
  end
  local last, merged, there = {}, {}, {}
  for _, change in ipairs(backlog) do
    last[change[1]] = change[2]
  end
  for _, item in ipairs(items) do
    if last[item] ~= false then
      merged[#merged + 1], there[item] = item, true
    end
  end
  for _, change in ipairs(backlog) do
    if last[change[1]] and not there[change[1]] then
      merged[#merged + 1], there[change[1]] = change[1], true
    end
  end
  return merged
end

--- Gives an object what a relationship of it has, as loaded.
---@param property orrery.Relationship
---@param object userdata
---@param number integer of the attribute
---@param items userdata[]
function related.set_loaded(property, object, number, items)
  if property.uselist then
    local backlog = core.backlog(object, number)
    core.set_loaded(object, number, merge_backlog(items, backlog), backlog and items)
    return
  end
  if #items > 1 then
    errors.warn("%s holds one object, and %d rows refer to this one; the first is taken", property:describe(), #items)
  end
  core.set_loaded(object, number, items[1])
end

-- Rows as the database has them, without those whose own side was changed meanwhile and not flushed.
local function still_there(session, property, object, items)
  local reverse = property.reverse
  if not reverse or property.direction ~= "onetomany" or core.is_settled(session[1]) then
    return items
  end
  local list = {}
  for _, item in ipairs(items) do
    local number = mapper_module.relation_number(item, reverse)
    if core.old(item, number) == nil or core.peek(item, number) == object then
      list[#list + 1] = item
    end
  end
  return list
end

-- ---- for one object ----

local function order_by(property, select)
  for _, element in ipairs(property:order_elements()) do
    select = select:order_by(element)
  end
  return select
end

-- The conditions by which one object's related objects are found, with a bind for each column of the object that they ask
-- for, and the attribute numbers of these.
local function conditions_of(property)
  local numbers, near = {}, {}
  local sources = { target = property:source(), secondary = property.secondary }
  local conditions = joincondition.of_object(property.condition, sources, function(column)
    near[#near + 1] = property.parent:number_of_column(column)
    numbers["key_" .. #near] = near[#near]
    return functions.bindparam("key_" .. #near, { type_ = column.type:as_stored() })
  end)
  return conditions, numbers, near
end

local function new_select(property, below, narrowing)
  local conditions, numbers, near = conditions_of(property)
  conditions[#conditions + 1] = property:with_criteria(narrowing, property:source())
  local select = statement.select(property:target_entity()):where(unpack(conditions))
  local expanded = joined.expand(order_by(property, select), { below })
  return { statement = loading.prepared(criteria.on(expanded.select, below.criteria), numbers), links = expanded.links,
    trees = expanded.trees, near = near,
    with_null = joincondition.asks_parent(property.condition), plain = not expanded.links and not below:is_remembered() }
end

-- The select for one object, with what is to come along; kept with the node.
local function select_of(node)
  node.lazy_select = node.lazy_select or new_select(node.property, loader_option.below(node), node.criteria)
  return node.lazy_select
end

--- The attribute numbers of an object's columns that lead to the related ones.
---@param node table
---@return integer[]
function related.near_numbers(node)
  return select_of(node).near
end

-- The select as listeners to do_orm_execute want it.
local function heard(session, select)
  if not session.dispatch.do_orm_execute then
    return select
  end
  local state = orm_execute.tell(session, { statement = select, execution_options = select.execution or {},
    is_relationship_load = true })
  return criteria.on(state.statement, loader_option.criteria(state.statement.loader_options))
end

-- The statement for one object; another one where a listener has changed it.
local function heard_statement(session, made)
  local select = heard(session, made.statement.select)
  return select == made.statement.select and made.statement or loading.prepared(select, made.statement.numbers)
end

--- Loads a relationship of one object; the objects that it has now.
---@param session table
---@param object userdata
---@param number integer of the attribute
---@param node table
---@return userdata[]
function related.load_one(session, object, number, node)
  local property, made = node.property, select_of(node)
  local compiled = loading.compiled_for(heard_statement(session, made), session.engine.dialect)
  local values = loading.values_of(compiled, object, made.with_null)
  local items
  if not values then
    items = {}
  elseif made.plain and not session.lazy then
    items = loading.run(session, compiled, values)
  else
    items = loading.run(session, compiled, values, { links = made.links, cohorts = loader_option.cohorts(session, made.trees) })
  end
  if property.uselist or core.old(object, number) == nil then -- somebody who listens may have assigned it meanwhile
    related.set_loaded(property, object, number, still_there(session, property, object, items))
  end
  return items
end

-- What core.load_alone takes of a statement; false where it asks for more than columns of the object, as they are stored.
local function new_way(made, dialect)
  local compiled = loading.compiled_for(made.statement, dialect)
  if not made.plain or compiled.constants or not compiled.readonly or execution.facts(compiled).bind_functions then
    return false
  end
  local plan = loading.plan_of(compiled)
  return not plan.finishers and { compiled.sql, plan.core, made.with_null or false, unpack(compiled.order) }
end

local function way_of(node, dialect)
  local made = select_of(node)
  made.ways = made.ways or {}
  if made.ways[dialect] == nil then
    made.ways[dialect] = new_way(made, dialect)
  end
  return made.ways[dialect]
end

local function load_failed(session, object, node, fault)
  local made, connection = select_of(node), session.seat.conn
  local compiled = loading.compiled_for(made.statement, connection.dialect)
  connection:failed(fault, compiled, loading.values_of(compiled, object, made.with_null))
end

--- Loads a relationship of one object where that takes nothing but its statement: nothing waits to be flushed, nobody listens,
--- and nothing is to come along; whether it did. Whoever goes through objects one by one comes by here for each.
---@param session table
---@param object userdata
---@param number integer of the attribute
---@param node table
---@return boolean
function related.load_alone(session, object, number, node)
  local connection = not session.by_key and not session.unsettled and session.seat.conn
  local dbc = connection and connection:at_rest()
  if not dbc or session.lazy or session.watching or session.dispatch.do_orm_execute or mapper_module.hears_loads then
    return false
  end
  local dialect = connection.dialect
  local ways = node.lazy_select and node.lazy_select.ways
  local way = ways and ways[dialect] or way_of(node, dialect)
  if not way then
    return false
  end
  local ok, done = pcall(core.load_alone, session[1], object, number, dbc, way)
  if not ok then
    load_failed(session, object, node, done)
  elseif done and done ~= true then
    related.set_loaded(node.property, object, number, done)
  end
  return done
end

-- ---- for many objects ----

-- Where a condition asks more of the parent than its keys, the parent is read along, under another name.
local function parent_keys(property)
  local columns, parent = {}, aliased.source(property.parent)
  for position, column in ipairs(hierarchy.base(property.parent).table.primary_key) do
    columns[position] = joincondition.on(parent, column)
  end
  return columns, property.parent:key_numbers(), parent
end

-- The columns on the far side that hold a parent's key, the attribute numbers of that key in the parent, and the alias of the
-- parent where it is read along.
local function find_keys(property)
  if not property.condition.keyed then
    return parent_keys(property)
  end
  local columns, numbers = {}, {}
  for position, pair in ipairs(property.condition.pairs) do
    numbers[position] = property.parent:number_of_column(pair[1])
    columns[position] = property.secondary and pair[2] or joincondition.on(property:source(), pair[2])
  end
  return columns, numbers
end

-- The far side's entity as the rules behind the path say, with the columns that hold the key in any case.
local function far_entity(property, columns, rules)
  local mapper = property.mapper
  local left = (rules or shaping.defers(mapper)) and shaping.left_out(mapper, rules or {}) or {}
  for _, column in ipairs(columns) do
    local number = mapper:number_of_column(joincondition.base(column))
    if number then
      left[number] = nil
    end
  end
  return shaping.narrowed(property:target_entity(), left)
end

local function position_in(entity, column)
  for position, one in ipairs(entity.columns) do
    if joincondition.base(one) == joincondition.base(column) then
      return position
    end
  end
end

local function conditions_for_many(property, parent)
  local sources = { parent = parent, target = property:source(), secondary = property.secondary }
  if not parent then
    return joincondition.beside_keys(property.condition, sources)
  end
  local conditions, more = joincondition.between(property.condition, sources)
  for _, condition in ipairs(more) do
    conditions[#conditions + 1] = condition
  end
  return conditions
end

-- Where Lua sorts single objects by the key beside them, it reads it as it is stored.
local function as_stored(property, columns)
  if property.uselist then
    return columns
  end
  local list = {}
  for position, column in ipairs(columns) do
    list[position] = functions.type_coerce(column, types.NullType)
  end
  return list
end

-- `columns` hold the keys of the objects, whose attribute numbers are `numbers`; in the result they stand at `key_columns`.
-- Those of a link table, or of the parent itself, are selected for that.
local function new_select_for_many(property, below, narrowing)
  local columns, numbers, parent = find_keys(property)
  local entity, beside, positions = far_entity(property, columns, below.rules), property.secondary or parent, {}
  local select = statement.select(entity)
  for _, condition in ipairs(conditions_for_many(property, parent)) do
    select = select:where(condition)
  end
  local criterion = property:with_criteria(narrowing, property:source())
  select = criterion and select:where(criterion) or select
  for position, column in ipairs(columns) do
    positions[position] = beside and #entity.columns + position or position_in(entity, column)
  end
  select = order_by(property, beside and select:add_columns(unpack(as_stored(property, columns))) or select)
  local expanded = joined.expand(select, { below }, true)
  expanded.select = criteria.on(expanded.select, below.criteria)
  expanded.columns, expanded.numbers, expanded.key_columns, expanded.beside = columns, numbers, positions, beside ~= nil
  expanded.packs = loading.are_packed(columns)
  return expanded
end

-- The select for many objects, without their keys; kept with the node.
local function select_for_many(node)
  node.many_select = node.many_select or new_select_for_many(node.property, loader_option.below(node), node.criteria)
  return node.many_select
end

local function select_by_keys(work, expanded, keys)
  if keys == work.keys then
    return expanded.select:where(loading.in_keys(expanded.columns, keys)), work.params
  end
  return loading.select_by_list(work.session, expanded, keys)
end

-- Runs the select for keys, part by part, or for a select that gives them. Without a gather `out` gets objects, or, where their
-- keys stand beside them, rows.
local function run_for_keys(work, expanded, keys, gather, out)
  local session = work.session
  local select, params = select_by_keys(work, expanded, keys)
  select = heard(session, select)
  local compiled, values = session:connection(select):compile(select, params)
  loading.run(session, compiled, values, { populated = work.populated, links = expanded.links, cohorts = expanded.cohorts,
    rows = expanded.beside and not gather, gather = gather, key_columns = gather and expanded.key_columns,
    holders = gather and out and true, kilobytes = work.kilobytes }, out)
end

-- What is read along of objects that lack a column of their key: it was deferred, or unloaded by itself.
local function ensure_keys(work, objects, numbers)
  for _, object in ipairs(core.keyless(objects, numbers)) do
    loading.ensure_columns(work.session, mapper_module.of_object(object), object, numbers)
  end
end

local function chunks(list, fn)
  for first = 1, #list, KEYS do
    fn({ unpack(list, first, math.min(first + KEYS - 1, #list)) })
  end
end

local function gather_for(work, node, objects, numbers)
  local number = mapper_module.relation_number(objects[1], node.property)
  local gather, parts = core.gather(objects, number, numbers)
  if not gather then
    ensure_keys(work, objects, numbers)
    gather, parts = assert(core.gather(objects, number, numbers))
  end
  return gather, parts
end

-- Every object gets a collection, which its rows fill. `select` gives their keys, where it is known.
local function load_collections(work, node, objects, expanded, wanted, select)
  local out = wanted and {}
  if select then
    run_for_keys(work, expanded, select, (gather_for(work, node, objects, expanded.numbers)), out)
    return out
  end
  chunks(objects, function(chunk)
    local gather, parts = gather_for(work, node, chunk, expanded.numbers)
    if #parts > 0 then
      run_for_keys(work, expanded, parts, gather, out)
    end
  end)
  return out
end

local function stored_key(object, numbers)
  local key = {}
  for position, number in ipairs(numbers) do
    key[position] = core.stored(object, number)
    if key[position] == nil then
      return nil
    end
  end
  return key, table.concat(key, "\0")
end

-- The parts of keys, one behind the other.
local function parts_of(keys)
  local parts = {}
  for _, key in ipairs(keys) do
    for _, part in ipairs(key) do
      parts[#parts + 1] = part
    end
  end
  return parts
end

local function numbers_on_target(property)
  local numbers = {}
  for position, pair in ipairs(property.condition.pairs) do
    numbers[position] = property.mapper:number_of_column(joincondition.base(pair[2]))
  end
  return numbers
end

-- The keys of objects, each once, and the objects of each; those without a key at false.
local function sorted_by_key(objects, numbers)
  local keys, sharing = {}, {}
  for _, object in ipairs(objects) do
    local key, mark = stored_key(object, numbers)
    mark = mark or false
    if not sharing[mark] then
      sharing[mark], keys[#keys + 1] = {}, key
    end
    table.insert(sharing[mark], object)
  end
  return keys, sharing
end

-- The object that came at a position, and the mark of the key that it was found by.
local function found_at(expanded, numbers, item)
  if expanded.beside then
    return rawget(item, 1), table.concat({ unpack(item, 2, 1 + #expanded.columns) }, "\0")
  end
  return item, select(2, stored_key(item, numbers))
end

local function add_once(list, seen, item)
  if not seen[item] then
    seen[item], list[#list + 1] = true, item
  end
end

-- The objects that came, each once, and by the marks of keys: rows repeat them where several keys lead to one, or lists are
-- joined to them.
local function sort_found(property, expanded, out)
  local objects, seen, by_mark = {}, {}, {}
  local numbers = not expanded.beside and numbers_on_target(property)
  for _, item in ipairs(out) do
    local object, mark = found_at(expanded, numbers, item)
    by_mark[mark] = by_mark[mark] or { list = {}, seen = {} }
    add_once(by_mark[mark].list, by_mark[mark].seen, object)
    add_once(objects, seen, object)
  end
  return objects, by_mark
end

-- Runs the select that gives the keys, or one for each part of them; what came.
local function run_for_parts(work, expanded, parts, keys_select)
  local out, width = {}, #expanded.columns
  if keys_select then
    run_for_keys(work, expanded, keys_select, nil, out)
    return out
  end
  for first = 1, #parts, KEYS * width do
    run_for_keys(work, expanded, { unpack(parts, first, math.min(first + KEYS * width - 1, #parts)) }, nil, out)
  end
  return out
end

-- Where each object leads to one by the primary key of that, and nothing but the key decides: the identity map knows then who
-- gets what. What came, and the objects that have found none; nil where it is not so.
local function load_targets(work, node, objects, expanded, keys_select)
  if node.property.direction ~= "manytoone" or node.criteria or node.tree.criteria or work.session.dispatch.do_orm_execute then
    return nil
  end
  local number = mapper_module.relation_number(objects[1], node.property)
  local parts = core.target_keys(objects, number, expanded.numbers)
  if not parts then
    return nil
  end
  local out = run_for_parts(work, expanded, parts, keys_select)
  return out, core.hold_targets(objects, number)
end

-- Where each object has one related object at most: by the key that both hold, or that stands beside the related one.
local function load_by_marks(work, node, objects, expanded, keys_select)
  local property = node.property
  local keys, sharing = sorted_by_key(objects, expanded.numbers)
  local out = run_for_parts(work, expanded, parts_of(keys), keys_select)
  local loaded, found = sort_found(property, expanded, out)
  for mark, list in pairs(sharing) do
    for _, object in ipairs(list) do
      related.set_loaded(property, object, mapper_module.relation_number(object, property),
        still_there(work.session, property, object, found[mark] and found[mark].list or {}))
    end
  end
  return loaded
end

local function load_single(work, node, objects, expanded, _, keys_select)
  ensure_keys(work, objects, expanded.numbers)
  local loaded, others = load_targets(work, node, objects, expanded, keys_select)
  if not loaded then
    return load_by_marks(work, node, objects, expanded, keys_select)
  end
  for _, item in ipairs(others[1] and load_by_marks(work, node, others, expanded, nil) or {}) do
    loaded[#loaded + 1] = item
  end
  return loaded
end

local function load_each(work, node, objects)
  local out = {}
  for _, object in ipairs(objects) do
    local number = mapper_module.relation_number(object, node.property)
    for _, one in ipairs(related.load_one(work.session, object, number, node)) do
      out[#out + 1] = one
    end
  end
  return out
end
related.load_each = load_each

-- Loads a relationship of many objects: by a select of their keys, where there is one, else by the keys themselves.
local function load_many(work, node, objects, wanted, select)
  local expanded = select_for_many(node)
  expanded.cohorts = loader_option.cohorts(work.session, expanded.trees)
  return (node.property.uselist and load_collections or load_single)(work, node, objects, expanded, wanted, select)
end

--- Loads a relationship of many objects, by their keys: the objects that came, where they are wanted.
---@param work orrery.LoadWork
---@param node table
---@param objects userdata[] which all lack it
---@param wanted boolean
---@return userdata[]|false
function related.load_many(work, node, objects, wanted)
  return load_many(work, node, objects, wanted)
end

-- ---- by the query that gave the objects ----

local key_select

-- The query itself with other columns; its order matters where it is limited only.
local function root_keys(root, columns)
  local select = statement.copy_of(root.select)
  select.items, select.loader_options = columns(root.item.table), nil
  if root.item.table.members then -- its columns alone would be read from one of its tables
    select = select:select_from(root.item.table)
  end
  if not (select.limited or select.skipped) then
    select.orders = nil
  end
  return select
end

-- What a relationship leads to from the objects that the level above has.
local function lower_keys(work, tree, columns)
  local property = tree.through.property
  local far, numbers, parent = find_keys(property)
  local above = key_select(work, tree.above, numbers)
  if not above then
    return nil
  end
  local select = statement.select(unpack(columns(property:source())))
  if property:source().members then
    select = select:select_from(property:source())
  end
  local conditions = conditions_for_many(property, parent)
  conditions[#conditions + 1] = property:with_criteria(tree.through.criteria, property:source())
  for _, condition in ipairs(conditions) do
    select = select:where(condition)
  end
  return select:where(loading.in_keys(far, above))
end

-- Whether all objects at a place of the query have the columns; else they are those of a subclass.
local function has_columns(mapper, numbers)
  for _, number in ipairs(numbers) do
    if not mapper.column_keys[number] then
      return false
    end
  end
  return true
end

-- A select of some columns of the objects that stand at a place of the query; nil where the query is not known: it was a
-- union, is read in parts, or the objects were loaded otherwise. It may read the very table that it stands beside, and
-- means its own.
function key_select(work, tree, numbers)
  local root = work.roots and work.roots[tree]
  local function columns(source)
    local list = {}
    for position, number in ipairs(numbers) do
      list[position] = joincondition.on(source, tree.mapper.attributes[tree.mapper.column_keys[number]].origin)
    end
    return list
  end
  if not has_columns(tree.mapper, numbers) then
    return nil
  elseif root then
    return root_keys(root, columns):correlate()
  end
  local lower = tree.through and lower_keys(work, tree, columns)
  return lower and lower:correlate() or nil
end

--- The same by the query that gave the objects, as a subquery: the database finds their keys once more.
---@param work orrery.LoadWork
---@param node table
---@param objects userdata[] which all lack it
---@param wanted boolean
---@return userdata[]|false
function related.load_by_subquery(work, node, objects, wanted)
  work.keys = key_select(work, node.tree, select_for_many(node).numbers)
  return load_many(work, node, objects, wanted, work.keys)
end

return related
