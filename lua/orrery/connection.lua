--- connection: runs statements on a slot of the pool and hands out results. When a transaction begins and ends is
-- transaction.lua's; what a statement means is the compiler's.
local import = ...
local reading = import "reading"
local errors = import "errors"
local event = import "event"
local result = import "result"
local execution = import "execution"
local compiler = import "compiler"
local transaction = import "transaction"
local core = import "core"
local diagnosis = reading.later "diagnosis"
local settings = import "settings"
local effect = import "effect"
local result_of, compiled_of = import("outcome").of, compiler.cached

local WEAK_KEYS, NONE = { __mode = "k" }, {}

local connection = {}

---@class orrery.Connection
---@field engine table
---@field dialect table
---@field dbc userdata the database connection of the core
---@field closed boolean
local Connection = {}

local metatable = { __index = errors.guard(Connection, "a connection"), __name = "orrery.Connection" }

--- Methods of connections, for files that add some.
connection.methods = Connection

local function settle(self)
  settings.apply(self)
  event.fire(self.engine.dispatch, "checkout", self.dbc, self)
end

-- A slot of the pool, or none where its settings or a listener fail.
local function take_slot(self)
  self.slot = self.pool:checkout(self)
  self.dbc = self.slot.dbc
  local ok, err = pcall(settle, self)
  if not ok then
    self.closed = true
    self.pool:checkin(self, self.slot, false)
    error(err, 0)
  end
end

--- A connection of `engine`, which holds a slot of its pool until close().
---@param engine table
---@return orrery.Connection
function connection.new(engine)
  local self = setmetatable({
    engine = engine,
    dialect = engine.dialect,
    pool = engine.pool,
    closed = false,
    transaction = false,
    explicit = false,
    ending = false,
    block = false,
    running = false,
    doomed = false,
    wrote = false,
    epoch = 0,
    savepoints = {},
    cursors = setmetatable({}, WEAK_KEYS),
    options = engine.execution,
    autocommit = false,
    readonly = false,
  }, metatable)
  take_slot(self)
  return self
end

local function check(self, call)
  if type(self) ~= "table" or getmetatable(self) ~= metatable then
    errors.check_self(self, false, "connection:" .. call)
  end
  if self.closed then
    errors.raise("ResourceClosedError", "connection:%s(): this connection is closed", call)
  end
end

-- ---- options of the execution ----

--- Sets options of this connection until it is closed, and returns it. The isolation level cannot change inside a
--- transaction.
---@param options { isolation_level: string, readonly: boolean, timeout: number, yield_per: integer }
---@return orrery.Connection
function Connection:execution_options(options)
  local call = "connection:execution_options()"
  check(self, "execution_options")
  local merged = settings.merge(self.engine, self.options, options, call)
  if options and (options.isolation_level or options.readonly ~= nil) and self:in_transaction() then
    errors.raise("InvalidRequestError", "%s: a transaction is open already; set isolation_level and readonly before the "
      .. "first statement, or after commit or rollback", call)
  end
  self.options = merged
  settings.apply(self)
  return self
end

--- The options that are set.
---@return table
function Connection:get_execution_options()
  check(self, "get_execution_options")
  return settings.merge(self.engine, self.options, {}, "connection:get_execution_options()")
end

--- "SERIALIZABLE", "READ UNCOMMITTED" or "AUTOCOMMIT".
---@return string
function Connection:get_isolation_level()
  check(self, "get_isolation_level")
  return self.autocommit and "AUTOCOMMIT" or self.slot.isolation_level or self.engine.driver.default_isolation
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
  return function(phase, sql, params, many, rowcount)
    if phase == "before" then
      if engine.echo and not engine:times_echo() then
        engine:log(sql, params, many)
      end
      event.fire(dispatch, "before_cursor_execute", self, sql, params, many or false)
      self.began = core.clock()
    else
      if engine.echo and engine:times_echo() then
        engine:log(sql, params, many, { seconds = core.clock() - (self.began or core.clock()), rowcount = rowcount })
      end
      self.began = nil
      event.fire(dispatch, "after_cursor_execute", self, sql, params, many or false)
    end
  end
end

-- Faults that listeners have heard of already.
local told = setmetatable({}, WEAK_KEYS)

local function tell(self, err, sql, values)
  if type(err) == "table" and not told[err] then
    told[err] = true
    event.fire(self.engine.dispatch, "handle_error", {
      connection = self, engine = self.engine, original_exception = err, statement = sql, parameters = values,
    })
  end
end

local function log_fault(self, err, compiled, values)
  local engine = self.engine
  if engine.echo and engine:times_echo() then
    local now = core.clock()
    engine:log(compiled.sql, values, false, { seconds = now - (self.began or now), fault = err })
  end
  self.began = nil
end

-- What is known here of a fault of the database: its SQL, its parameters, and what may be meant.
local function complete(self, err, compiled, values)
  local refused = compiled and execution.refused(execution.facts(compiled))
  if compiled and errors.is_error(err) then
    err.message = (refused or "") .. err.message
    err.statement = rawget(err, "statement") or compiled.sql
    err.params = rawget(err, "params") or values
  end
  if errors.is_error(err, "DBAPIError") then
    diagnosis.explain(err, self)
  end
  if self.engine.hide_parameters and errors.is_error(err) then
    diagnosis.hide_values(err)
  end
end

--- Raises a fault of running a statement again, with what is known here: its SQL and parameters.
---@param err any
---@param compiled? table
---@param values? table
function Connection:failed(err, compiled, values)
  transaction.resync(self)
  complete(self, err, compiled, values)
  if compiled then
    log_fault(self, err, compiled, values)
  end
  tell(self, err, compiled and compiled.sql or (errors.is_error(err) and rawget(err, "statement") or nil), values)
  error(err, 0)
end

--- Makes the statement that runs on this connection, or whose rows are being read, fail soon with an OperationalError:
--- for hooks, other coroutines, and callbacks of a host.
function Connection:interrupt()
  check(self, "interrupt")
  self.dbc:interrupt()
end

-- ---- running ----

-- Whether somebody listens is asked in place, here and in finish(): every statement comes by. The last value that is
-- returned says whether finish() has anything to do.
local function open_statement(self, compiled, values)
  local facts = compiled.facts or execution.facts(compiled)
  if facts.bind_functions then
    values = execution.convert(facts, values)
  end
  local current = self.transaction
  if compiled.kind == "text" or self.doomed or not (compiled.readonly and current and current.is_open) then
    effect.begin_for(self, compiled, facts)
  end
  local engine = self.engine
  local dispatch = engine.dispatch
  local heard = engine.echo or dispatch.before_cursor_execute or dispatch.after_cursor_execute
  if heard then
    self:trace()("before", compiled.sql, values, false)
  end
  return self.dbc:open(facts.order, values), values, heard or compiled.kind == "text"
end

--- Makes a statement ready to be stepped: begins the transaction where none is open, converts and binds the values.
-- The caller steps it and calls finish(), or failed() with the error.
---@param compiled table
---@param values table in the order of the markers; orm.null for NULL
---@return userdata stmt
---@return table values as they were bound
---@return boolean? whether finish() has to be called
function Connection:start(compiled, values)
  if self.closed then
    check(self, "execute")
  end
  local ok, stmt, bound, unfinished = pcall(open_statement, self, compiled, values)
  if not ok then
    self:failed(stmt, compiled, values)
  end
  return stmt, bound, unfinished
end

--- Ends what start() began.
---@param _ userdata the statement
---@param compiled table
---@param values table as start() gave them
---@param outcome? integer|table how many rows there were, or the result
function Connection:finish(_, compiled, values, outcome)
  if compiled.kind == "text" then
    transaction.resync(self)
  end
  local engine = self.engine
  if engine.echo or engine.dispatch.before_cursor_execute or engine.dispatch.after_cursor_execute then
    local count = type(outcome) == "table" and result.count(outcome) or outcome
    self:trace()("after", compiled.sql, values, false, count)
  end
end

--- The core's connection, where a SELECT takes nothing but to be run on it: a transaction is open, and nobody wants to hear
--- of statements. start() and finish() do what is to be done elsewhere.
---@return userdata|false
function Connection:at_rest()
  local current, engine = self.transaction, self.engine
  local dispatch = engine.dispatch
  return not self.closed and not self.doomed and current and current.is_open and not engine.echo
    and not dispatch.before_cursor_execute and not dispatch.after_cursor_execute and self.dbc
end

local function open_and_run(self, compiled, values, chunk)
  local stmt, bound = open_statement(self, compiled, values)
  self.running = stmt
  return result_of(self, compiled, bound, stmt, chunk), bound
end

local function execute_once(self, compiled, values, chunk)
  self.running = false
  local ok, made, bound = pcall(open_and_run, self, compiled, values, chunk)
  local running = self.running
  self.running = false
  if not ok then
    if running then
      running:reset()
    end
    self:failed(made, compiled, values)
  end
  self:finish(nil, compiled, bound, made)
  return made
end

-- ---- what a script calls ----

-- What the call says, else the statement, else the connection.
local function chosen(self, name, options, statement)
  if options[name] ~= nil then
    return options[name]
  end
  local own = statement.execution
  if own and own[name] ~= nil then
    return own[name]
  end
  return self.options[name]
end

local function check_statement(statement)
  if type(statement) == "table" then
    return
  elseif type(statement) == "string" then
    errors.raise("ArgumentError", "execute(): SQL is written text(%s), not as a bare string", errors.show(statement))
  end
  errors.raise("ArgumentError", "execute(): a statement expected, got %s%s", errors.show(statement),
    core.is_class(statement) and "; write select(...) of it" or "")
end

-- Runs one of several sets; rows that come back join `rows`.
local function run_set(self, compiled, values, facts, rows)
  local stmt = self.dbc:open(facts.order, values)
  self.running = stmt
  local has_row = stmt:step()
  execution.describe(facts, compiled, stmt)
  if #facts.names == 0 then
    return self.dbc:changes()
  elseif compiled.readonly or compiled.kind == "select" or compiled.kind == "text" then
    stmt:reset()
    errors.raise("InvalidRequestError",
      "execute(): a statement that returns rows takes one set of parameters, not a list")
  end
  for _, row in ipairs(has_row and execution.fetch(stmt, facts) or NONE) do
    rows[#rows + 1] = row
  end
  return self.dbc:changes()
end

local function convert_sets(facts, value_sets, state)
  local converted = {}
  for index = 1, #value_sets do
    state.current = value_sets[index]
    converted[index] = execution.convert(facts, value_sets[index])
  end
  return converted
end

-- Runs every set on one prepared statement; listeners hear of it once.
local function run_many(self, compiled, value_sets, state)
  local facts, total, rows = execution.facts(compiled), 0, {}
  value_sets = facts.bind_functions and convert_sets(facts, value_sets, state) or value_sets
  effect.begin_for(self, compiled, facts)
  local trace = self:trace()
  if trace then
    trace("before", compiled.sql, value_sets, true)
  end
  for index = 1, #value_sets do
    state.current = value_sets[index]
    total = total + run_set(self, compiled, value_sets[index], facts, rows)
  end
  if trace then
    trace("after", compiled.sql, value_sets, true, total)
  end
  if facts.names and #facts.names > 0 then
    local made = result.from_array(rows, facts.row_metatable)
    made.rowcount = total
    return made
  end
  return result.without_rows({ rowcount = total })
end

local function execute_many(self, compiled, value_sets)
  local state = {}
  self.running = false
  local ok, outcome = pcall(run_many, self, compiled, value_sets, state)
  local running = self.running
  self.running = false
  if not ok then
    if running then
      running:reset()
    end
    self:failed(outcome, compiled, state.current)
  end
  return outcome
end


--- What start() takes: the compiled form of a statement, and the values of its markers.
---@param statement table
---@param params? table values by name
---@return table compiled
---@return table values
function Connection:compile(statement, params)
  if self.closed then
    check(self, "compile")
  end
  local set, engine = params ~= nil and execution.read_params(params) or nil, self.engine
  if type(statement) ~= "table" then
    check_statement(statement)
  end
  local compiled, own = compiled_of(statement, engine.dialect, engine.cache, set)
  if set or compiled.named then
    own = execution.fill(compiled, own, set)
  end
  return compiled, own
end

--- Runs what compile() gave.
---@param compiled table
---@param values table
---@return table result
function Connection:run(compiled, values)
  check(self, "run")
  return execute_once(self, compiled, values)
end

local function run_compiled(self, compiled, own, set, sets, chunk)
  if sets then
    return execute_many(self, compiled, execution.fill_sets(compiled, own, sets))
  end
  return execute_once(self, compiled, execution.fill(compiled, own, set), chunk)
end

--- Calls fn(...) and returns what it returns; meanwhile statements of this connection may run that long.
---@param seconds number
---@param fn function
function Connection:within(seconds, fn, ...)
  local before = self.slot.timeout
  local function finish(ok, ...)
    if not self.closed and self.dbc:is_open() then
      settings.set_timeout(self, before)
    end
    if not ok then
      error((...), 0)
    end
    return ...
  end
  settings.set_timeout(self, seconds)
  return finish(pcall(fn, ...))
end

local function execute(self, statement, params, options)
  local set, sets = execution.read_params(params, statement)
  local compiled, own = compiled_of(statement, self.engine.dialect, self.engine.cache, set)
  local chunk = chosen(self, "yield_per", options, statement)
  local seconds = chosen(self, "timeout", options, statement)
  if seconds ~= self.slot.timeout then
    return self:within(seconds, run_compiled, self, compiled, own, set, sets, chunk)
  end
  return run_compiled(self, compiled, own, set, sets, chunk)
end

--- Runs a statement.
---@param statement table text(), select(), insert(), ...
---@param params? table values by name, or a list of such tables: once for each
---@param options? { yield_per: integer, timeout: number }
---@return table result
function Connection:execute(statement, params, options)
  check(self, "execute")
  check_statement(statement)
  options = options == nil and NONE or settings.of_call(options)
  local dispatch = self.engine.dispatch
  if dispatch.before_execute then
    event.fire(dispatch, "before_execute", self, statement, params, options)
  end
  local outcome = execute(self, statement, params, options)
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
  return execute_once(self, positional(sql, #params), params)
end

-- ---- transactions ----

---@class orrery.Transaction
---@field is_active boolean
local Transaction = {}
local transaction_metatable = { __index = errors.guard(Transaction, "a transaction"), __name = "orrery.Transaction" }

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

local function run_marked(self, fn)
  self.block = true
  return fn(self)
end

local function begin_block(self, fn, options)
  return transaction.retrying(options.retry or 0, function()
    transaction.ensure_begun(self, options.mode ~= "read" and not self.readonly)
    local function keep()
      if self.closed then
        errors.raise("InvalidRequestError", "connection:begin(): the connection was closed inside begin(fn), which took back "
          .. "what the block had done; leave the closing to who opened it")
      end
      self.block = false
      transaction.commit(self)
    end
    local function take_back()
      self.block = false
      transaction.rollback(self)
    end
    return transaction.run(keep, take_back, run_marked, self, fn)
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
  if self.autocommit then
    errors.raise("InvalidRequestError", "connection:begin_nested(): with AUTOCOMMIT there is no transaction to nest in")
  end
  transaction.ensure_begun(self, not self.readonly)
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
  return self.explicit ~= false or (self.transaction and self.transaction.is_open)
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

-- ---- leaving the pool ----

local function check_own_slot(self, call)
  if self.pool.shared then
    errors.raise("InvalidRequestError", "connection:%s(): this database lives in the one connection that everybody shares, "
      .. "in memory or given by the host; engine:dispose() ends it", call)
  end
end

--- Closes the database connection, for which another takes its place here: for one that is broken. What was not
--- committed is lost: where something was written, rollback() comes next.
function Connection:invalidate()
  check(self, "invalidate")
  check_own_slot(self, "invalidate")
  self.dbc:close()
  transaction.lose(self)
  self.pool:checkin(self, self.slot, false)
  local ok, err = pcall(take_slot, self)
  if not ok then
    self.closed = true
    error(err, 0)
  end
end

--- Takes the database connection out of the pool for good, so that settings of its own meet nobody else: close() closes
--- it, and its place in the pool is free at once.
function Connection:detach()
  check(self, "detach")
  check_own_slot(self, "detach")
  self.pool:detach(self, self.slot)
end

-- ---- the end ----

local NO_SLOT = { transaction = false, epoch = 0 }

--- Rolls back what is not committed and gives the connection back to its pool. Fine to call twice.
function Connection:close()
  errors.check_self(self, type(self) == "table" and getmetatable(self) == metatable, "connection:close")
  if self.closed then
    return
  end
  self.closed, self.block = true, false
  local ok, err = true, nil
  if self.dbc:is_open() then
    ok, err = pcall(transaction.rollback, self)
  end
  local told_ok, told_err = pcall(event.fire, self.engine.dispatch, "checkin", self.dbc, self)
  self.pool:checkin(self, self.slot, ok)
  self.slot, self.dbc = NO_SLOT, false -- others use them now, and must be collectable when they are dropped
  if not (ok and told_ok) then
    error(err or told_err, 0)
  end
end

metatable.__close = Connection.close

function metatable.__tostring(self)
  return ("connection to %s%s"):format(tostring(self.engine.url), self.closed and " (closed)" or "")
end

return connection
