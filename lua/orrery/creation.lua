--- creation: runs DDL: metadata:create_all() and drop_all(), table:create(), index:create() and their drops, looking
-- first what is there, with the events around them. The SQL is ddl.lua's.
local import = ...
local errors = import "errors"
local expression = import "expression"
local schema = import "schema"
local event = import "event"
local ddl = import "ddl"
import "sqlite_catalog"

local creation = {}
local write = ddl.write

-- ---- events ----

local new_dispatch = event.define("object with DDL (a Table or MetaData)", { "before_create", "after_create", "before_drop",
  "after_drop", "column_reflect" })

--- The listeners of a Table or MetaData.
---@param target orrery.Table|orrery.MetaData
---@return table
function creation.dispatch(target)
  if not rawget(target, "dispatch") then
    rawset(target, "dispatch", new_dispatch())
  end
  return target.dispatch
end

--- Tells the listeners of a Table or MetaData.
---@param target orrery.Table|orrery.MetaData
---@param name string
function creation.fire(target, name, ...)
  local dispatch = rawget(target, "dispatch")
  if dispatch and dispatch[name] then
    event.fire(dispatch, name, ...)
  end
end

local function fire(target, name, conn, details)
  creation.fire(target, name, target, conn, details)
end

-- ---- where it runs ----

--- "engine" or "connection", or nil for anything else.
---@param bind any
---@return string?
function creation.kind_of(bind)
  local mark = getmetatable(bind)
  local name = type(bind) == "table" and type(mark) == "table" and mark.__name
  return name == "orrery.Engine" and "engine" or name == "orrery.Connection" and "connection" or nil
end

--- Runs fn on a connection: the one given, which its owner commits, or one of an engine's in a transaction of its own.
---@param bind orrery.Engine|orrery.Connection
---@param call string
---@param fn fun(conn: orrery.Connection): any
---@param options? table of engine:begin()
function creation.on_connection(bind, call, fn, options)
  local kind = creation.kind_of(bind)
  if kind == "engine" then
    return bind:begin(fn, options or {})
  elseif kind == "connection" then
    return fn(bind)
  end
  local is_session = type(bind) == "table" and rawget(bind, "seats") ~= nil
  errors.raise("ArgumentError", "%s: an engine or a connection expected, got %s%s", call, errors.show(bind),
    is_session and " (its connection is session:connection())" or "")
end
local on_connection = creation.on_connection

-- ---- what is there ----

--- Raises where the database has no such schema.
---@param conn orrery.Connection
---@param namespace? string
function creation.check_schema(conn, namespace)
  local known = namespace and namespace ~= "temp" and conn.dialect.catalog.schema_names(conn) or {}
  for _, name in ipairs(known) do
    if conn.dialect.catalog.folded(name) == conn.dialect.catalog.folded(namespace) then
      return
    end
  end
  if #known > 0 then
    errors.raise("InvalidRequestError", "the database has no schema %s%s (ATTACH makes one)", errors.show(namespace),
      errors.hint(namespace, known))
  end
end

-- Names of what the database has in a schema, as it compares names.
local function existing_names(conn, namespace, cache)
  local known = cache[namespace or ""]
  if not known then
    known = {}
    creation.check_schema(conn, namespace)
    local prefix = namespace and conn.dialect.quote(namespace) .. "." or ""
    for _, name in ipairs(conn:exec_driver_sql(conn.dialect.table_names:format(prefix)):scalars():all()) do
      known[name] = true
    end
    cache[namespace or ""] = known
  end
  return known
end

local function exists(conn, tbl, cache, temporary)
  local namespace = tbl.schema or (temporary or tbl:is_temporary()) and "temp" or nil
  return existing_names(conn, namespace, cache)[conn.dialect.catalog.folded(tbl.name)] ~= nil
end

-- ---- single tables ----

local function create_table(conn, tbl, details)
  fire(tbl, "before_create", conn, details)
  conn:exec_driver_sql(write("CreateTable", tbl, conn.dialect))
  for _, index in ipairs(tbl.indexes) do
    conn:exec_driver_sql(write("CreateIndex", index, conn.dialect))
  end
  fire(tbl, "after_create", conn, details)
end

local function drop_table(conn, tbl, details)
  fire(tbl, "before_drop", conn, details)
  conn:exec_driver_sql(write("DropTable", tbl, conn.dialect))
  fire(tbl, "after_drop", conn, details)
end

local ONE_OPTIONS = { checkfirst = 1 }

--- Creates this table and its indexes.
---@param bind orrery.Engine|orrery.Connection
---@param options? { checkfirst?: boolean } false by default
function schema.table_methods:create(bind, options)
  errors.check_self(self, schema.is_table(self), "table:create")
  options = errors.check_options(options, ONE_OPTIONS, "table:create()")
  on_connection(bind, "table:create()", function(conn)
    if not (options.checkfirst and exists(conn, self, {})) then
      create_table(conn, self, { checkfirst = options.checkfirst or false, tables = { self } })
    end
  end)
end

--- Drops this table.
---@param bind orrery.Engine|orrery.Connection
---@param options? { checkfirst?: boolean } false by default
function schema.table_methods:drop(bind, options)
  errors.check_self(self, schema.is_table(self), "table:drop")
  options = errors.check_options(options, ONE_OPTIONS, "table:drop()")
  on_connection(bind, "table:drop()", function(conn)
    if not options.checkfirst or exists(conn, self, {}) then
      drop_table(conn, self, { checkfirst = options.checkfirst or false, tables = { self } })
    end
  end)
end

-- ---- single indexes ----

local function check_index(self, call)
  if not schema.is_constraint(self) or self.kind ~= "index" or not self.table then
    errors.raise("InvalidRequestError", "%s: an Index that belongs to a table expected, got %s", call, tostring(self))
  end
end

--- Creates this index on a table that is there already.
---@param bind orrery.Engine|orrery.Connection
function schema.constraint_methods:create(bind)
  check_index(self, "index:create()")
  on_connection(bind, "index:create()", function(conn)
    conn:exec_driver_sql(write("CreateIndex", self, conn.dialect))
  end)
end

--- Drops this index.
---@param bind orrery.Engine|orrery.Connection
function schema.constraint_methods:drop(bind)
  check_index(self, "index:drop()")
  on_connection(bind, "index:drop()", function(conn)
    conn:exec_driver_sql(write("DropIndex", self, conn.dialect))
  end)
end

-- ---- all tables ----

local OPTIONS = { checkfirst = 1, tables = 1 }

local function wanted_tables(metadata, options, call)
  if options.tables == nil then
    return nil
  elseif type(options.tables) ~= "table" or getmetatable(options.tables) then
    errors.raise("ArgumentError", "%s: tables must be a list of tables, got %s", call, errors.show(options.tables))
  end
  local wanted = {}
  for position, value in ipairs(options.tables) do
    local tbl = expression.clause(value)
    tbl = tbl and tbl.visit == "entity" and tbl.table or tbl
    if not schema.is_table(tbl) or tbl.metadata ~= metadata then
      errors.raise("ArgumentError", "%s: tables: item %d is no table of this MetaData", call, position)
    end
    wanted[tbl] = true
  end
  return wanted
end

-- Tables that are wanted and there (or not there), in order of dependency, without views.
local function select_tables(conn, metadata, options, there, call)
  local wanted, checks = wanted_tables(metadata, options, call), options.checkfirst ~= false
  local sorted, left_out = metadata:_sorted()
  local list, cache = {}, {}
  for _, tbl in ipairs(sorted) do
    if (not wanted or wanted[tbl]) and not tbl.is_view and (not checks or exists(conn, tbl, cache) == there) then
      list[#list + 1] = tbl
    end
  end
  return list, left_out
end

-- Views are made in the order of the text: one that reads another comes after it.
local function select_views(conn, metadata, options, there, call)
  local wanted, checks = wanted_tables(metadata, options, call), options.checkfirst ~= false
  local list, cache = {}, {}
  for _, view in ipairs(metadata.views) do
    local is_wanted = not wanted or wanted[view.table]
    if is_wanted and (not checks or exists(conn, view.table, cache, view.element.temporary) == there) then
      list[#list + 1] = view
    end
  end
  return list
end

-- What cannot be written is found before anything is run.
local function check_written(list, dialect)
  for _, tbl in ipairs(list) do
    write("CreateTable", tbl, dialect)
    for _, index in ipairs(tbl.indexes) do
      write("CreateIndex", index, dialect)
    end
  end
end

--- Creates the tables that the database does not have, with their indexes; those that others refer to first.
---@param bind orrery.Engine|orrery.Connection an engine commits; a connection's owner does
---@param options? { tables?: orrery.Table[], checkfirst?: boolean }
function schema.metadata_methods:create_all(bind, options)
  local call = "metadata:create_all()"
  errors.check_self(self, schema.is_metadata(self), "metadata:create_all")
  options = errors.check_options(options, OPTIONS, call)
  self:_check()
  on_connection(bind, call, function(conn)
    local list = select_tables(conn, self, options, false, call)
    local details = { checkfirst = options.checkfirst ~= false, tables = list }
    check_written(list, conn.dialect)
    fire(self, "before_create", conn, details)
    for _, tbl in ipairs(list) do
      create_table(conn, tbl, details)
    end
    for _, view in ipairs(select_views(conn, self, options, false, call)) do
      conn:exec_driver_sql(view:compile(conn.dialect))
    end
    fire(self, "after_create", conn, details)
  end)
end

--- Drops the tables that the database has, those that refer to others first.
---@param bind orrery.Engine|orrery.Connection
---@param options? { tables?: orrery.Table[], checkfirst?: boolean }
function schema.metadata_methods:drop_all(bind, options)
  local call = "metadata:drop_all()"
  errors.check_self(self, schema.is_metadata(self), "metadata:drop_all")
  options = errors.check_options(options, OPTIONS, call)
  on_connection(bind, call, function(conn)
    local list, left_out = select_tables(conn, self, options, true, call)
    local details = { checkfirst = options.checkfirst ~= false, tables = list }
    fire(self, "before_drop", conn, details)
    if #left_out > 0 and #list > 0 and conn.dialect.defer_foreign_keys then
      conn:exec_driver_sql(conn.dialect.defer_foreign_keys)
    end
    local views = select_views(conn, self, options, true, call)
    for position = #views, 1, -1 do
      conn:exec_driver_sql(write("DropView", views[position].table, conn.dialect))
    end
    for position = #list, 1, -1 do
      drop_table(conn, list[position], details)
    end
    fire(self, "after_drop", conn, details)
  end)
end

return creation
