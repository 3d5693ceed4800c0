--- connection: runs statements on a slot of the pool and hands out results. When a transaction begins and ends is
-- transaction.lua's; what a statement means is the compiler's.
local import = ...
local errors = import "errors"
local event = import "event"
local result = import "result"
local execution = import "execution"
local compiler = import "compiler"
local transaction = import "transaction"

local null = import("core").null
local WEAK_KEYS = { __mode = "k" }

local connection = {}

---@class orrery.Connection
---@field engine table
---@field dialect table
---@field dbc userdata the database connection of the core
---@field closed boolean
local Connection = {}

local metatable = { __index = Connection, __name = "orrery.Connection" }

--- A connection of `engine`, which holds a slot of its pool until close().
---@param engine table
---@return orrery.Connection
function connection.new(engine)
  local self = setmetatable({
    engine = engine,
    dialect = engine.dialect,
    pool = engine.pool,
    closed = false,
    wrote = false,
    epoch = 0,
    savepoints = {},
    cursors = setmetatable({}, WEAK_KEYS),
  }, metatable)
  self.slot = self.pool:checkout(self)
  self.dbc = self.slot.dbc
  event.fire(engine.dispatch, "checkout", self.dbc, self)
  return self
end

local function check(self, call)
  local is_connection = type(self) == "table" and getmetatable(self) == metatable
  errors.check_self(self, is_connection, "connection:" .. call)
  if self.closed then
    errors.raise("ResourceClosedError", "connection:%s(): this connection is closed", call)
  end
end

-- ---- listeners, echo, faults ----

--- A function (phase, sql, params, many, rowcount) for a loop that runs statements itself and calls it "before" and
-- "after" each; nil where neither echo nor a listener wants it.
---@return function?
function Connection:trace()
  local engine = self.engine
  local dispatch = engine.dispatch
  if not (engine.echo or dispatch.before_cursor_execute or dispatch.after_cursor_execute) then
    return nil
  end
  return function(phase, sql, params, many)
    if phase == "before" then
      if engine.echo then
        engine:log(sql, params, many)
      end
      event.fire(dispatch, "before_cursor_execute", self, sql, params, many or false)
    else
      event.fire(dispatch, "after_cursor_execute", self, sql, params, many or false)
    end
  end
end

--- Raises a fault of running a statement again, with what is known here: its SQL and parameters.
---@param err any
---@param compiled? table
---@param values? table
function Connection:failed(err, compiled, values)
  local engine = self.engine
  if errors.is_error(err) and compiled then
    err.statement = rawget(err, "statement") or compiled.sql
    if not engine.hide_parameters then
      err.params = rawget(err, "params") or values
    end
  end
  transaction.resync(self)
  event.fire(engine.dispatch, "handle_error", {
    connection = self, engine = engine, original_exception = err,
    statement = compiled and compiled.sql, parameters = values,
  })
  error(err, 0)
end

-- ---- running ----

-- Settings have no effect inside a transaction, or cannot run there: they begin none.
local SETTINGS = { PRAGMA = true, VACUUM = true, ATTACH = true, DETACH = true }

local function first_word(sql)
  local from = 1
  while from do
    local word, comment = sql:match("^%s*(%a*)()", from)
    from = sql:match("^%-%-[^\n]*()", comment) or sql:match("^/%*.-%*/()", comment)
    if word ~= "" or not from then
      return word:upper()
    end
  end
end

local function check_setting(self, sql)
  if sql:match("^%s*[Pp][Rr][Aa][Gg][Mm][Aa]%s+foreign_keys%s*[=(]") and self.dbc:in_transaction() then
    errors.raise("InvalidRequestError",
      "PRAGMA foreign_keys does nothing inside a transaction; commit or roll back first")
  end
end

-- text() says nothing about itself: the database knows whether it writes. Found out once.
local function effect_of(self, facts, sql)
  if not facts.effect then
    local writes = not self.dbc:prepare(sql):readonly()
    facts.effect = SETTINGS[first_word(sql)] and "setting" or writes and "write" or "read"
  end
  return facts.effect
end

local function begin_for(self, compiled, facts)
  if compiled.kind ~= "text" then
    transaction.ensure_begun(self, not compiled.readonly)
    return
  end
  local effect = effect_of(self, facts, compiled.sql)
  if effect == "setting" then
    check_setting(self, compiled.sql)
  else
    transaction.ensure_begun(self, effect == "write")
  end
end

local function bind_values(self, compiled, values, facts)
  return self.dbc:prepare(compiled.sql):bind(values, facts.count, facts.bind_handles, facts.bind_names)
end

local function open_statement(self, compiled, values)
  local facts = execution.facts(compiled)
  values = execution.convert(facts, values)
  begin_for(self, compiled, facts)
  local trace = self:trace()
  if trace then
    trace("before", compiled.sql, values, false)
  end
  return bind_values(self, compiled, values, facts), values
end

--- Makes a statement ready to be stepped: begins the transaction where none is open, converts and binds the values.
-- The caller steps it and calls finish(), or failed() with the error.
---@param compiled table
---@param values table in the order of the markers; orm.null for NULL
---@return userdata stmt
---@return table values as they were bound
function Connection:start(compiled, values)
  if self.closed then
    check(self, "execute")
  end
  local ok, stmt, bound = pcall(open_statement, self, compiled, values)
  if not ok then
    self:failed(stmt, compiled, values)
  end
  return stmt, bound
end

--- Ends what start() began.
---@param _ userdata the statement
---@param compiled table
---@param values table as start() gave them
---@param rowcount? integer
function Connection:finish(_, compiled, values, rowcount)
  if compiled.kind == "text" then
    transaction.resync(self)
  end
  local trace = self:trace()
  if trace then
    trace("after", compiled.sql, values, false, rowcount)
  end
end

-- ---- results ----

local CHUNK = 100

-- What a result reads on from.
local Cursor = {}
local cursor_metatable = { __index = Cursor }

function Cursor:fetch(max)
  local ok, rows, done = pcall(execution.fetch, self.stmt, self.facts, max)
  if not ok then
    self.stmt:reset()
    self.connection:failed(rows, self.compiled, self.values)
  end
  return rows, done
end

function Cursor:close()
  self.stmt:reset()
end

function Cursor:is_current()
  local conn = self.connection
  return conn.epoch == self.epoch and conn.slot.epoch == self.slot_epoch
end

-- The first rows are fetched at once, so that a short result leaves no cursor open.
local function cursor_result(self, compiled, values, stmt, has_row, chunk)
  local facts, rows, done = compiled.facts, {}, true
  if has_row then
    rows, done = execution.fetch(stmt, facts, chunk)
    self.cursors[stmt] = not done or nil
  end
  local cursor = setmetatable({ connection = self, epoch = self.epoch, slot_epoch = self.slot.epoch, stmt = stmt,
    facts = facts, compiled = compiled, values = values }, cursor_metatable)
  return result.from_cursor(cursor, facts.row_metatable, rows, done, chunk)
end

-- The value that was bound for a column; nil where the database made it.
local function bound_value(compiled, values, column)
  local key = column.key or column.name
  for position, bind in ipairs(compiled.binds) do
    if bind.key == key and values[position] ~= null then
      return values[position]
    end
  end
end

-- The key of the one row that was inserted.
local function inserted_key(compiled, values, id)
  local key = {}
  for position, column in ipairs(compiled.table and compiled.table.primary_key or {}) do
    local value = bound_value(compiled, values, column)
    key[position] = value == nil and id or value
  end
  return key
end

local CHANGES = { INSERT = true, UPDATE = true, DELETE = true, REPLACE = true, WITH = true }

-- What a statement without rows has changed; -1 where it is no statement that changes rows.
local function count_changes(self, compiled)
  if compiled.kind == "text" and not CHANGES[first_word(compiled.sql)] then
    return -1
  end
  return self.dbc:changes()
end

local function changes_result(self, compiled, values)
  local rowcount = count_changes(self, compiled)
  local fields = { rowcount = rowcount }
  if compiled.kind == "insert" or (compiled.kind == "text" and rowcount == 1) then
    fields.lastrowid = self.dbc:last_insert_id()
  end
  if compiled.kind == "insert" and rowcount == 1 then
    fields.inserted_primary_key = inserted_key(compiled, values, fields.lastrowid)
  end
  return result.without_rows(fields)
end

-- Steps once and makes the result of what came.
local function run(self, compiled, values, stmt, options)
  local facts = execution.facts(compiled)
  local has_row = stmt:step()
  execution.describe(facts, compiled, stmt)
  if #facts.names == 0 then
    return changes_result(self, compiled, values)
  end
  return cursor_result(self, compiled, values, stmt, has_row, options.yield_per or CHUNK)
end

local function open_and_run(self, compiled, values, options)
  local stmt, bound = open_statement(self, compiled, values)
  self.running = stmt
  return run(self, compiled, bound, stmt, options), bound
end

local function execute_once(self, compiled, values, options)
  self.running = nil
  local ok, outcome, bound = pcall(open_and_run, self, compiled, values, options)
  if not ok then
    if self.running then
      self.running:reset()
    end
    self:failed(outcome, compiled, values)
  end
  self:finish(nil, compiled, bound, rawget(outcome, "rowcount"))
  return outcome
end

-- ---- what a script calls ----

local EXECUTE_OPTIONS = { yield_per = true }

local function check_statement(statement)
  if type(statement) == "string" then
    errors.raise("ArgumentError", "execute(): SQL is written text(%s), not as a bare string", errors.show(statement))
  elseif type(statement) ~= "table" then
    errors.raise("ArgumentError", "execute(): a statement expected, got %s", errors.show(statement))
  end
end

-- Runs every set on one prepared statement; listeners hear of it once.
local function run_many(self, compiled, value_sets, state)
  local facts, total = execution.facts(compiled), 0
  begin_for(self, compiled, facts)
  local trace = self:trace()
  if trace then
    trace("before", compiled.sql, value_sets, true)
  end
  for index = 1, #value_sets do
    state.current = value_sets[index]
    local stmt = bind_values(self, compiled, value_sets[index], facts)
    if stmt:step() or #stmt:columns() > 0 then
      stmt:reset()
      errors.raise("InvalidRequestError",
        "execute(): a statement that returns rows takes one set of parameters, not a list")
    end
    total = total + self.dbc:changes()
  end
  if trace then
    trace("after", compiled.sql, value_sets, true, total)
  end
  return result.without_rows({ rowcount = total })
end

local function execute_many(self, compiled, value_sets)
  local state = {}
  local ok, outcome = pcall(run_many, self, compiled, value_sets, state)
  if not ok then
    self:failed(outcome, compiled, state.current)
  end
  return outcome
end

local function compile(self, statement, set)
  check_statement(statement)
  local engine = self.engine
  return compiler.cached(statement, engine.dialect, engine.cache, set)
end

--- What start() takes: the compiled form of a statement, and the values of its markers.
---@param statement table
---@param params? table values by name
---@return table compiled
---@return table values
function Connection:compile(statement, params)
  check(self, "compile")
  local set = execution.read_params(params)
  local compiled, own = compile(self, statement, set)
  return compiled, execution.fill(compiled, own, set)
end

--- Runs a statement.
---@param statement table text(), select(), insert(), ...
---@param params? table values by name, or a list of such tables: once for each
---@param options? { yield_per: integer }
---@return table result
function Connection:execute(statement, params, options)
  check(self, "execute")
  options = errors.check_options(options, EXECUTE_OPTIONS, "execute()")
  local set, sets = execution.read_params(params)
  local dispatch = self.engine.dispatch
  if dispatch.before_execute then
    event.fire(dispatch, "before_execute", self, statement, params, options)
  end
  local compiled, own = compile(self, statement, set)
  local outcome
  if sets then
    outcome = execute_many(self, compiled, execution.fill_sets(compiled, own, sets))
  else
    outcome = execute_once(self, compiled, execution.fill(compiled, own, set), options)
  end
  if dispatch.after_execute then
    event.fire(dispatch, "after_execute", self, statement, params, options, outcome)
  end
  return outcome
end

--- The first column of the first row, or nil.
---@param statement table
---@param params? table
---@param options? table
function Connection:scalar(statement, params, options)
  check(self, "scalar")
  return self:execute(statement, params, options):scalar()
end

--- The values of the first column.
---@param statement table
---@param params? table
---@param options? table
---@return table result
function Connection:scalars(statement, params, options)
  check(self, "scalars")
  return self:execute(statement, params, options):scalars()
end

local function positional(sql, count)
  local binds = {}
  for position = 1, count do
    binds[position] = {}
  end
  return { sql = sql, binds = binds, kind = "text" }
end

--- Runs SQL in the database's own form, with "?" and values by position.
---@param sql string
---@param params? table values, or a list of lists
---@return table result
function Connection:exec_driver_sql(sql, params)
  check(self, "exec_driver_sql")
  if type(sql) ~= "string" then
    errors.raise("ArgumentError", "exec_driver_sql(): SQL text expected, got %s", errors.show(sql))
  end
  params = params or {}
  if type(params[1]) == "table" then
    return execute_many(self, positional(sql, #params[1]), params)
  end
  return execute_once(self, positional(sql, #params), params, {})
end

-- ---- transactions ----

---@class orrery.Transaction
---@field is_active boolean
local Transaction = {}
local transaction_metatable = { __index = Transaction, __name = "orrery.Transaction" }

local function check_active(self, call)
  if not self.is_active then
    errors.raise("InvalidRequestError", "transaction:%s(): this transaction has ended already", call)
  end
end

--- Commits; a savepoint is kept with the transaction around it.
function Transaction:commit()
  check_active(self, "commit")
  self.end_by_commit()
  self.is_active = false
end

--- Rolls back; fine to call when it has ended.
function Transaction:rollback()
  if self.is_active then
    self.is_active = false
    self.end_by_rollback()
  end
end

Transaction.close = Transaction.rollback
transaction_metatable.__close = Transaction.rollback

local function new_transaction(commit, rollback)
  return setmetatable({ is_active = true, end_by_commit = commit, end_by_rollback = rollback }, transaction_metatable)
end

local function check_not_begun(self)
  if self.explicit or (self.transaction and self.transaction.is_open) then
    errors.raise("InvalidRequestError", "connection:begin(): a transaction is open already, by begin() or by the first "
      .. "statement; commit or roll back first")
  end
end

local function begin_block(self, fn, options)
  return transaction.retrying(options.retry or 0, function()
    transaction.ensure_begun(self, options.mode ~= "read")
    self.block = true
    local function leave(finish)
      return function()
        self.block = nil
        finish(self)
      end
    end
    return transaction.run(leave(transaction.commit), leave(transaction.rollback), fn, self)
  end)
end

--- Opens a transaction and returns it; given a function, runs fn(connection) in one, which is committed at its end and
-- rolled back when it raises.
---@param ... any fn, { mode = "read" | "write", retry = n }
function Connection:begin(...)
  check(self, "begin")
  local fn, options = transaction.block_arguments("connection:begin()", ...)
  check_not_begun(self)
  if fn then
    return begin_block(self, fn, options)
  end
  self.explicit = new_transaction(function()
    transaction.commit(self)
  end, function()
    transaction.rollback(self)
  end)
  return self.explicit
end

-- Ends the savepoints that were set inside this one.
local function end_inner(self, own)
  local list = self.savepoints
  for position = #list, 1, -1 do
    local inner = table.remove(list, position)
    if inner == own then
      return
    end
    inner.is_active = false
  end
end

local function new_savepoint(self)
  transaction.ensure_begun(self, true)
  local current = self.transaction
  current.savepoints = current.savepoints + 1
  local name, own = "orrery_" .. current.savepoints, nil
  transaction.savepoint(self, name)
  own = new_transaction(function()
    transaction.release(self, name)
    end_inner(self, own)
  end, function()
    end_inner(self, own)
    transaction.rollback_to(self, name)
    transaction.release(self, name)
  end)
  self.savepoints[#self.savepoints + 1] = own
  return own
end

--- Sets a savepoint and returns it, with :commit() and :rollback(); given a function, runs fn(connection) in it.
---@param ... any fn
function Connection:begin_nested(...)
  check(self, "begin_nested")
  local fn = transaction.block_arguments("connection:begin_nested()", ...)
  local own = new_savepoint(self)
  if not fn then
    return own
  end
  return transaction.run(function()
    own:commit()
  end, function()
    own:rollback()
  end, fn, self)
end

local function check_no_block(self, call)
  if self.block then
    errors.raise("InvalidRequestError",
      "connection:%s() inside begin(fn): the block commits at its end; raise an error to roll it back", call)
  end
end

--- Commits; what runs next begins a new transaction.
function Connection:commit()
  check(self, "commit")
  check_no_block(self, "commit")
  transaction.commit(self)
end

--- Takes back what was done since the last commit.
function Connection:rollback()
  check(self, "rollback")
  check_no_block(self, "rollback")
  transaction.rollback(self)
end

--- Whether a transaction is open, begun by begin() or by a statement.
---@return boolean
function Connection:in_transaction()
  check(self, "in_transaction")
  return self.explicit ~= nil or (self.transaction ~= nil and self.transaction.is_open)
end

--- Whether a savepoint is open.
---@return boolean
function Connection:in_nested_transaction()
  check(self, "in_nested_transaction")
  return #self.savepoints > 0
end

--- Begins the transaction where none is open.
---@param write boolean whether the first statement writes
function Connection:ensure_begun(write)
  check(self, "ensure_begun")
  transaction.ensure_begun(self, write)
end

--- Sets a savepoint by name.
---@param name string
function Connection:savepoint(name)
  check(self, "savepoint")
  transaction.savepoint(self, name)
end

--- Keeps what was done since the savepoint.
---@param name string
function Connection:release(name)
  check(self, "release")
  transaction.release(self, name)
end

--- Takes back what was done since the savepoint.
---@param name string
function Connection:rollback_to(name)
  check(self, "rollback_to")
  transaction.rollback_to(self, name)
end

-- ---- the end ----

--- Rolls back what is not committed and gives the connection back to its pool. Fine to call twice.
function Connection:close()
  errors.check_self(self, type(self) == "table" and getmetatable(self) == metatable, "connection:close")
  if self.closed then
    return
  end
  self.closed, self.block = true, nil
  local ok, err = true, nil
  if self.dbc:is_open() then
    ok, err = pcall(transaction.rollback, self)
  end
  event.fire(self.engine.dispatch, "checkin", self.dbc, self)
  self.pool:checkin(self, self.slot, ok)
  if not ok then
    error(err, 0)
  end
end

metatable.__close = Connection.close

function metatable.__tostring(self)
  return ("connection to %s%s"):format(tostring(self.engine.url), self.closed and " (closed)" or "")
end

return connection
