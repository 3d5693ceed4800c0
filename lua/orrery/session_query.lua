--- session_query: what a session reads: statements that give objects or rows, objects by primary key, and upsert.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local change = reading.later "change"
local result = import "result"
local joining = import "joining"
local statement = import "statement"
local compiler = import "compiler"
local fingerprint = import "fingerprint"
local mapper_module = import "mapper"
local loading = import "loading"
local criteria = import "criteria"
local loader_option = import "loader_option"
local joined = reading.later "joined"
local orm_execute = import "orm_execute"
local eager = import "eager"
local from_statement = reading.later "from_statement"
local bundle = reading.later "bundle"
local streaming = reading.later "streaming"
local writing = reading.later "writing"
local session_change = reading.later "session_change"
local session_class = import "session_class"
local settings = import "settings"

local session_query = {}
local unpack = table.unpack or unpack

---@class orrery.Session
local Session = session_class.Session
local check = session_class.check

-- ---- statements ----

local function is_select(stmt)
  return type(stmt) == "table" and (stmt.visit == "select" or stmt.visit == "compound")
end

local function has_entity(items)
  for _, item in ipairs(items) do
    if item.visit == "entity" then
      return true
    end
  end
  return false
end

local function is_table(item)
  return item.visit ~= "entity" and joining.has_columns(item)
end

-- Tables as their columns; joins, which columns do not bring along, are added to the roots.
local function spelled_out(items, roots)
  local columns = {}
  for _, item in ipairs(items) do
    for _, column in ipairs(is_table(item) and item.columns or { item }) do
      columns[#columns + 1] = column
    end
    roots[#roots + 1] = item.visit == "join" and item or nil
  end
  return columns
end

-- The statement with columns in place of whole tables: beside objects, a row has values.
local function with_columns(stmt)
  local copy = statement.copy_of(stmt)
  if stmt.visit == "compound" then
    copy.members = {}
    for position, member in ipairs(stmt.members) do
      copy.members[position] = with_columns(member)
    end
    return copy
  end
  local roots = {}
  for position, root in ipairs(stmt.roots or {}) do
    roots[position] = root
  end
  copy.items = spelled_out(stmt.items, roots)
  copy.roots = roots
  return copy
end

local function without_tables(stmt)
  for _, item in ipairs(stmt:result_items()) do
    if is_table(item) then
      return with_columns(stmt)
    end
  end
  return stmt
end

-- The query behind each tree, for what is loaded by a subquery of it.
local function roots_of(stmt, items, trees)
  local roots = {}
  for position, item in ipairs(stmt.visit == "select" and items or {}) do
    if trees[position] then
      roots[trees[position]] = { select = stmt, item = item }
    end
  end
  return roots
end

-- What each part of a result, or the whole, is loaded with.
local function new_part(self, expanded, execution, rows, width)
  local work = eager.new_work(self, execution.populate_existing and {} or nil)
  local holders = eager.is_busy(expanded.trees, width, expanded.links ~= nil)
  work.kilobytes = holders and core.kilobytes() or nil
  local order = { rows = rows, populated = work.populated, links = expanded.links,
    cohorts = loader_option.cohorts(self, expanded.trees), holders = holders, kilobytes = work.kilobytes }
  return { work = work, order = order, load_behind = function(out)
    eager.load_behind(work, expanded.trees, out, rows, width, expanded.links ~= nil)
    for position, item in ipairs(expanded.select and expanded.select.items or {}) do
      if item.concrete and position <= width then
        eager.load_concrete(work, out, position, rows)
      end
    end
  end }
end

local ROWS, OBJECTS = { rows = true }, {}

local SELECT, ITEMS, REST = statement.SELECT, statement.ITEMS, statement.REST
local compiled_of, run_known, handle_of = compiler.cached, fingerprint.run, core.handle
local from_array = result.from_array

-- Whether a statement selects one class, and nothing is to come with its objects: most do.
local function is_plain(self, stmt, execution)
  if getmetatable(stmt) ~= SELECT or execution.yield_per or execution.populate_existing then
    return false
  end
  local items, rest = stmt[ITEMS], stmt[REST]
  local item = items[1]
  return item.visit == "entity" and not item.concrete and not items[2] and not (rest and rest.loader_options)
    and loader_option.default_tree(item.mapper):is_inert(self)
end

local KNOWN_TREE = 3

-- What the core has to know of a select that it can run at once; false where there is more to it.
local function known_of(compiled, plan, tree)
  return compiled.direct and not compiled.named and compiled.readonly and not compiled.facts.bind_functions
    and not plan.finishers and tree.inert and { compiled.facts.order, plan.core, tree, plan.names, plan.row_metatable }
end

local function run_plain_select(self, stmt, params, scalars)
  local connection = not self.by_key and not self.unsettled and self.seat.conn
  if not connection or connection.closed then
    connection = self:connection(stmt)
  end
  local compiled, values
  if params == nil then
    compiled, values = compiled_of(stmt, connection.dialect, connection.engine.cache)
  end
  if not compiled or compiled.named then
    compiled, values = connection:compile(stmt, params)
  end
  local plan, out = loading.plan_of(compiled), {}
  loading.run_plan(self, connection, compiled, values, plan, scalars and OBJECTS or ROWS, out)
  local known = compiled.at_once
  if not known or not known[KNOWN_TREE].inert then -- where a class was declared since, there are other trees
    compiled.at_once = known_of(compiled, plan, stmt[ITEMS][1].mapper.default_tree)
  end
  return from_array(out, scalars and plan.names or plan.row_metatable)
end

-- The result of a plain select that was run before and is told nothing, in a session in which nothing waits to be flushed and
-- nobody listens: most are run so. Nil where there is more to it.
local function run_at_once(self, stmt, scalars)
  local handle = handle_of(self)
  local connection = handle and not self.by_key and not self.unsettled and self.seat.conn
  local dbc = connection and connection:at_rest()
  if not dbc or self.lazy or self.dispatch.do_orm_execute or mapper_module.hears_loads then
    return nil
  end
  local dialect, cache = connection.dialect, connection.engine.cache
  local ok, out, columns = pcall(run_known, stmt, dialect, cache.young, handle, dbc, scalars)
  if not ok then
    connection:failed(out, compiled_of(stmt, dialect, cache))
  end
  return out and from_array(out, columns)
end

-- The same from the rows of another statement, in which the columns are found by name. Nothing can be joined to them.
local function run_from_statement(self, stmt, params, execution, scalars)
  local items = stmt:result_items()
  local compiled, values = self:connection(stmt):compile(stmt, params)
  local plan
  local rows = not (scalars and #items == 1 and items[1].visit == "entity")
  local expanded = { trees = loader_option.trees(items, stmt.loader_options), plan_for = function(handle)
    plan = from_statement.plan(compiled, handle:columns())
    return plan
  end }
  if execution.yield_per then
    return streaming.result(self, expanded, compiled, values, execution.yield_per, function()
      return new_part(self, expanded, execution, rows, #items)
    end)
  end
  local part = new_part(self, expanded, execution, rows, #items)
  part.order.plan_for = expanded.plan_for
  local out = loading.run(self, compiled, values, part.order)
  part.load_behind(out)
  return result.from_array(out, rows and plan.row_metatable or plan.names)
end

-- Rows, or objects where `scalars` and the statement selects one class.
local function run_select(self, stmt, params, execution, scalars)
  local items = stmt:result_items()
  local expanded = joined.expand(stmt, loader_option.trees(items, stmt.loader_options))
  expanded.select = criteria.on(expanded.select, loader_option.criteria(stmt.loader_options))
  local compiled, values = self:connection(stmt):compile(expanded.select, params)
  local plan = loading.plan_of(compiled, expanded.links and #expanded.links)
  local rows = not (scalars and plan.single)
  if execution.yield_per then
    return streaming.result(self, expanded, compiled, values, execution.yield_per, function()
      return new_part(self, expanded, execution, rows, #items)
    end)
  end
  local part = new_part(self, expanded, execution, rows, #items)
  part.work.roots, part.work.params = roots_of(stmt, items, expanded.trees), params
  local out = loading.run(self, compiled, values, part.order)
  part.load_behind(out)
  local made = result.from_array(out, rows and plan.row_metatable or plan.names)
  return expanded.lists and result.must_be_unique(made, not rows) or made
end

-- A select, or union, of columns only.
local function run_columns(self, stmt, params, options)
  if stmt.loader_options then
    stmt = criteria.on(stmt, loader_option.criteria(stmt.loader_options))
  end
  return self:connection(stmt):execute(stmt, params, options)
end

local function run_plain(self, stmt, params, execution, options, scalars)
  if execution.autoflush ~= false and not core.is_clean(self[1]) then
    self:autoflush_now(stmt)
  end
  if is_plain(self, stmt, execution) then
    return run_plain_select(self, stmt, params, scalars)
  elseif is_select(stmt) then
    if bundle.is_in(stmt) then
      return bundle.result(stmt, run_plain(self, bundle.flat(stmt), params, execution, options, false))
    elseif has_entity(stmt:result_items()) then
      return run_select(self, without_tables(stmt), params, execution, scalars)
    end
    return run_columns(self, stmt, params, options)
  elseif from_statement.is(stmt) then
    return run_from_statement(self, without_tables(stmt), params, execution, scalars)
  end
  return session_change.execute(self, stmt, params, execution, options, scalars)
end

-- With the listeners to do_orm_execute, which may change the statement, or run it themselves.
local function run_heard(self, stmt, params, execution, options, scalars)
  local function invoke(own_stmt, own_params, own_execution)
    return run_plain(self, own_stmt, own_params, settings.over(own_stmt, own_execution), options, scalars)
  end
  local state, answer = orm_execute.tell(self, { statement = stmt, parameters = params, execution_options = execution,
    invoke = invoke })
  return answer or invoke(state.statement, state.parameters, state.execution_options)
end

local function run(self, stmt, params, execution, options, scalars)
  if self.dispatch.do_orm_execute and type(stmt) == "table" then
    return run_heard(self, stmt, params, execution, options, scalars)
  end
  return run_plain(self, stmt, params, execution, options, scalars)
end

-- With the timeout that the call or the statement has of its own, which also holds for what is loaded along.
local function execute(self, stmt, params, options, scalars)
  local execution, of_connection = settings.of_session(options, stmt)
  if execution.timeout == nil then
    return run(self, stmt, params, execution, of_connection, scalars)
  end
  return self:connection(stmt):within(execution.timeout, run, self, stmt, params, execution, of_connection, scalars)
end

---@class orrery.ExecutionOptions
---@field timeout? number seconds
---@field yield_per? integer rows to read at a time
---@field populate_existing? boolean overwrites what objects hold already
---@field autoflush? boolean false: nothing is flushed before
---@field execution_options? table as a statement has them: the same, and synchronize_session

--- Runs a statement, flushing first. Selects of classes give rows of objects.
---@param stmt table select, insert, update, delete or text
---@param params? table values of named parameters, or an array of such sets
---@param options? orrery.ExecutionOptions
---@return table result
function Session:execute(stmt, params, options)
  local made = options == nil and params == nil and run_at_once(self, stmt, false)
  if made then
    return made
  end
  check(self, "execute")
  return execute(self, stmt, params, options, false)
end

--- The first item of each row: the objects of select(Class). NULL is orm.null.
---@param stmt table
---@param params? table
---@param options? orrery.ExecutionOptions
---@return orrery.Result
function Session:scalars(stmt, params, options)
  local made = options == nil and params == nil and run_at_once(self, stmt, true)
  if made then
    return made
  end
  check(self, "scalars")
  return execute(self, stmt, params, options, true):scalars()
end

--- What a legacy query gives: objects where the statement selects one class (then also true), rows otherwise.
---@param self table session
---@param stmt table
function session_query.objects_or_rows(self, stmt)
  local made = run_at_once(self, stmt, true)
  if made then
    return made, true
  end
  local items = stmt:result_items()
  return execute(self, stmt, nil, nil, true), #items == 1 and items[1].visit == "entity"
end

--- How the database means to run a statement, with the joins that its loader options bring: print(session:explain(stmt)).
---@param stmt table
---@param params? table
---@return orrery.Plan
function Session:explain(stmt, params)
  check(self, "explain")
  if is_select(stmt) then
    stmt = joined.expand(stmt, loader_option.trees(stmt:result_items(), stmt.loader_options)).select
  end
  return self:connection(stmt):explain(stmt, params)
end

local UPSERT_OPTIONS = { index_elements = true, update = true }

-- What a conflicting row is changed to: the named columns, or all that are given and not searched by, as they come in.
local function excluded_set(insert, rows, options)
  local names, searched, set = options.update, {}, {}
  for _, name in ipairs(options.index_elements) do
    searched[name] = true
  end
  if names == nil then
    names = {}
    for _, name in ipairs(errors.sorted_keys(rows[1])) do
      if not searched[name] then
        names[#names + 1] = name
      end
    end
  end
  for _, name in ipairs(names) do
    set[name] = insert.excluded[name]
  end
  return set
end

local UPSERT_ROWS = 100

local function upsert_some(self, class, rows, options)
  local insert = change.insert(class):values(rows)
  local set = excluded_set(insert, rows, options)
  if next(set) == nil then
    errors.raise("ArgumentError", "session:upsert(): there is nothing to update: the rows have no column besides index_elements")
  end
  return self:scalars(insert:on_conflict_do_update({ index_elements = options.index_elements, set = set }):returning(class)):all()
end

--- Inserts rows, or updates those that are there already; the objects of all of them.
---@param class userdata
---@param rows table<string, any>[] plain tables of one shape
---@param options? { index_elements: string[], update: string[] } columns that tell whether a row is there (default: the
--- primary key), and columns to update then (default: all that are given)
---@return userdata[]
function Session:upsert(class, rows, options)
  check(self, "upsert")
  local mapper = mapper_module.of(class, "session:upsert()")
  mapper:configure()
  options = errors.check_options(options, UPSERT_OPTIONS, "session:upsert()")
  if type(rows) ~= "table" or (rows[1] == nil and next(rows) ~= nil) then
    errors.raise("ArgumentError", "session:upsert(): an array of rows expected, { { name = \"x\" }, ... }")
  end
  change.check_elements(options.index_elements, "session:upsert()")
  if options.update ~= nil and type(options.update) ~= "table" then
    errors.raise("ArgumentError", "session:upsert(): update is a list of names, { \"name\" }, got %s",
      errors.show(options.update))
  end
  options = { index_elements = options.index_elements or writing.key_names(mapper), update = options.update }
  local objects = {}
  for first = 1, #rows, UPSERT_ROWS do
    local some = {}
    for position = first, math.min(first + UPSERT_ROWS - 1, #rows) do
      some[#some + 1] = rows[position]
    end
    for _, object in ipairs(upsert_some(self, class, some, options)) do
      objects[#objects + 1] = object
    end
  end
  return objects
end

--- The first item of the first row, or nil.
---@param stmt table
---@param params? table
---@param options? { timeout: number }
---@return any
function Session:scalar(stmt, params, options)
  check(self, "scalar")
  return self:scalars(stmt, params, options):first()
end

-- ---- by primary key ----

local function key_value(mapper, key, column, position)
  local value = key[position]
  if value == nil then
    value = key[mapper.key_names[position]]
  end
  if value == nil or value == core.null then
    errors.raise("ArgumentError", "session:get(%s): the key lacks '%s'", mapper.name, column.name)
  end
  return value
end

-- The key as an array in the order of the primary key's columns.
local function key_array(mapper, key)
  local columns = mapper.table.primary_key
  if key == nil or key == core.null then
    errors.raise("ArgumentError", "session:get(%s): the key is nil; a row's key is never NULL", mapper.name)
  elseif type(key) ~= "table" then
    key = { key }
  end
  if #key > #columns or (#key > 0 and #key < #columns) then
    errors.raise("ArgumentError", "session:get(%s): the primary key has %d column(s), got %d value(s)", mapper.name, #columns,
      #key)
  end
  mapper.key_names = mapper.key_names or writing.key_names(mapper)
  local values = {}
  for position, column in ipairs(columns) do
    values[position] = key_value(mapper, key, column, position)
  end
  return values
end

local GET_OPTIONS = { populate_existing = true, options = true, with_for_update = true, execution_options = true }

local function find(self, mapper, values)
  local object, expired = core.find(self[1], mapper.class, unpack(values))
  if not object then
    return nil
  elseif core.is_deleting(object) or not mapper_module.of_object(object):is_a(mapper) then
    return nil, true
  elseif expired then
    local ok, err = pcall(loading.refresh_expired, self, mapper, object)
    if not ok then
      if errors.is_error(err, "ObjectDeletedError") then
        return nil, true
      end
      error(err, 0)
    end
  end
  return object
end

-- With what its class, or an option, wants loaded along.
local function find_by_query(self, mapper, values, options)
  local stmt = statement.select(mapper.class):options(unpack(options.options or {}))
  for position, column in ipairs(mapper.table.primary_key) do
    stmt = stmt:where(loading.attribute_of_column(mapper, column):eq(values[position]))
  end
  if options.with_for_update then
    stmt = stmt:with_for_update(options.with_for_update ~= true and options.with_for_update or nil)
  end
  local populate = options.populate_existing or (options.with_for_update and true) or nil -- what is locked is read now
  local execution = settings.of_statement(options.execution_options, { populate_existing = populate })
  return run(self, stmt, nil, settings.over(nil, execution, { autoflush = false }), nil, true):unique():first()
end

local function find_row(self, mapper, values, stored, options)
  local tree = loader_option.default_tree(mapper)
  if next(options) or self.lazy or self.dispatch.do_orm_execute or tree:is_eager() then
    return find_by_query(self, mapper, values, options)
  end
  return loading.by_key(self, mapper, stored)
end

local function get_slow(self, class, key, options)
  check(self, "get")
  local mapper = mapper_module.of(class, "session:get()")
  mapper:configure()
  if options == nil and key ~= nil and type(key) ~= "table" then
    local object = loading.get_alone(self, mapper, mapper.default_tree or loader_option.default_tree(mapper), key)
    if object ~= nil then
      return object or nil
    end
  end
  options = errors.check_options(options, GET_OPTIONS, "session:get()")
  local values = key_array(mapper, key)
  local stored = loading.stored_key(mapper, values)
  if not options.populate_existing and not options.with_for_update then
    local object, gone = find(self, mapper, stored)
    if object or gone then
      return object
    end
  end
  return find_row(self, mapper, values, stored, options)
end
session_query.getter = core.getter(get_slow)

--- The object with a primary key, from the session or the database; nil where there is none.
---@param class userdata
---@param key any the value, or an array (or table by name) for a composite key
---@param options? { populate_existing: boolean, options: orrery.LoaderOption[], with_for_update: boolean|table,
--- execution_options: table }
---@return any
function Session.get(self, class, key, options)
  return session_query.getter(self, class, key, options)
end

--- The same; NoResultFound where there is none.
---@param class userdata
---@param key any
---@param options? table
---@return any
function Session:get_one(class, key, options)
  local object = session_query.getter(self, class, key, options)
  if object == nil then
    errors.raise("NoResultFound", "session:get_one(%s): no row has the key %s", mapper_module.of(class).name,
      type(key) == "table" and "given" or errors.show(key))
  end
  return object
end

return session_query
