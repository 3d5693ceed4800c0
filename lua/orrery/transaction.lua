--- transaction: when a connection's transaction begins and ends, and its savepoints. Runs BEGIN, COMMIT, ROLLBACK and
-- SAVEPOINT and nothing else.
--
-- A transaction belongs to a slot of the pool, and connections are its members. With a file every connection has a
-- slot of its own. All connections to a memory database share one, so that their work ends together: a member that has
-- only read leaves without ending it, one that has written ends it for all. Whoever has written in a transaction
-- that was rolled back under it is told at its next step, and must roll back itself before it goes on.
local import = ...
local errors = import "errors"
local event = import "event"

local transaction = {}

local WEAK_KEYS = { __mode = "k" }

-- ---- what listeners and echo see ----

local function announce(self, name, sql, ...)
  local engine = self.engine
  if engine.echo then
    engine:log(sql)
  end
  if engine.dispatch[name] then
    event.fire(engine.dispatch, name, self, ...)
  end
end

-- ---- members ----

local function is_alone(self, current)
  for member in pairs(current.members) do
    if member ~= self then
      return false
    end
  end
  return true
end

local function join(self, current)
  current.members[self] = true
  self.transaction = current
end

-- Afterwards the connection is in no transaction, and its savepoints mean nothing. Takes no memory, as all that runs after
-- COMMIT or ROLLBACK: what the database has done cannot be answered with an error any more.
local function leave(self)
  if self.transaction then
    self.transaction.members[self] = nil
  end
  self.transaction, self.wrote, self.doomed = false, false, false
  for position = #self.savepoints, 1, -1 do
    self.savepoints[position].is_active = false
    self.savepoints[position] = nil
  end
  if self.explicit then
    self.explicit.is_active = false
    self.explicit = false
  end
end

-- Ends the cursors of this connection, or of all that share its slot.
local function end_cursors(self, all)
  self.epoch = self.epoch + 1
  if all then
    self.slot.epoch = self.slot.epoch + 1
    self.dbc:reset_all()
  end
  for cursor in pairs(self.cursors) do
    self.cursors[cursor] = nil
    if not all then
      cursor:reset()
    end
  end
end

local function close_current(self, outcome)
  local current = self.slot.transaction
  if current then
    current.is_open, current.outcome = false, outcome
    self.slot.transaction = false
  end
end

--- Notices a transaction that the database has ended itself, as it does after some errors.
---@param self table connection
function transaction.resync(self)
  if self.slot.transaction and self.dbc:is_open() and not self.dbc:in_transaction() then
    close_current(self, "rollback")
  end
end

local function raise_lost(self, call)
  if self.doomed then
    errors.raise("PendingRollbackError", "%s: a flush has failed, and what it had written could not be taken back alone; call "
      .. "rollback() first", call)
  end
  errors.raise("PendingRollbackError", "%s: the transaction with this connection's changes was rolled back already, by "
    .. "the database after an error, by another connection to the same memory database, or by invalidate(); call rollback() "
    .. "first", call)
end

--- Whether this connection's changes were rolled back under it, so that it must roll back before it goes on.
---@param self table connection
---@return boolean
function transaction.is_lost(self)
  transaction.resync(self)
  local current = self.transaction
  return self.doomed or current and not current.is_open and self.wrote and current.outcome == "rollback"
end

--- Whether what was written in this transaction is not to be kept, so that rollback() must come next.
---@param self table connection
---@param doomed boolean
function transaction.doom(self, doomed)
  self.doomed = doomed
end

local function check_lost(self, call)
  if transaction.is_lost(self) then
    raise_lost(self, call)
  end
end

-- Runs transaction control; a fault is told to listeners, as those of other statements are.
local function control(self, sql)
  local ok, err = pcall(self.dbc.exec, self.dbc, sql)
  if not ok then
    self:failed(err)
  end
end

-- ---- begin ----

-- Nothing can fail between BEGIN and the moment when it is known here: a transaction that nobody knows is one that nobody
-- ends.
local function begin(self, write)
  local sql = write and not self.engine.readonly and "BEGIN IMMEDIATE" or "BEGIN DEFERRED"
  local current = { is_open = true, outcome = false, members = setmetatable({ [self] = true }, WEAK_KEYS), savepoints = 0 }
  control(self, sql)
  self.slot.transaction, self.transaction = current, current
  announce(self, "begin", sql)
end

--- Makes sure that a transaction is open: IMMEDIATE where the first statement writes, so that two writers wait for
-- each other at its beginning instead of failing in its middle. With AUTOCOMMIT there is none.
---@param self table connection
---@param write boolean
function transaction.ensure_begun(self, write)
  if write and self.readonly then
    errors.raise("InvalidRequestError", "this connection only reads (execution_options{ readonly = true }), and this "
      .. "statement writes")
  end
  local current = self.transaction
  if not current or not current.is_open or self.doomed then
    if self.autocommit then
      return
    end
    check_lost(self, "execute()")
    if self.slot.transaction then
      join(self, self.slot.transaction)
    else
      begin(self, write)
    end
  end
  if write then
    self.wrote = true
  end
end

-- ---- commit and rollback ----

-- A COMMIT that fails leaves the transaction open where it can be tried again.
local function run_commit(self)
  announce(self, "commit", "COMMIT")
  end_cursors(self, is_alone(self, self.transaction))
  control(self, "COMMIT")
  close_current(self, "commit")
end

-- Whether the coroutine that began to end the transaction is still at it: one that a listener has made yield, and that
-- nobody resumed, ends nothing any more.
local function is_at_it(owner)
  return owner == true or (owner and coroutine.status(owner) ~= "suspended" and coroutine.status(owner) ~= "dead")
end

local function end_marked(self, fn)
  self.ending = coroutine.running() or true
  fn(self)
end

-- A listener of commit or rollback must not end the transaction that is being ended.
local function ending(self, call, fn)
  if is_at_it(self.ending) then
    errors.raise("InvalidRequestError", "%s: this transaction is being ended already; listeners of 'commit' and 'rollback' "
      .. "cannot end it themselves", call)
  end
  local ok, err = pcall(end_marked, self, fn)
  self.ending = false
  if not ok then
    error(err, 0)
  end
end

--- Commits what this connection has done.
---@param self table connection
function transaction.commit(self)
  check_lost(self, "commit()")
  local current = self.transaction
  if current and current.is_open and (self.wrote or is_alone(self, current)) then
    ending(self, "commit()", run_commit)
  else
    end_cursors(self, false)
  end
  leave(self)
end

local function run_rollback(self)
  announce(self, "rollback", "ROLLBACK")
  end_cursors(self, true)
  if self.dbc:in_transaction() then
    control(self, "ROLLBACK")
  end
  close_current(self, "rollback")
end

--- Takes back what this connection has done.
---@param self table connection
function transaction.rollback(self)
  local current = self.transaction
  if current and current.is_open and (self.wrote or is_alone(self, current)) then
    ending(self, "rollback()", run_rollback)
  else
    end_cursors(self, false)
  end
  leave(self)
end

--- The database connection was closed: its transaction and cursors have ended with it.
---@param self table connection
function transaction.lose(self)
  self.epoch = self.epoch + 1
  self.cursors = setmetatable({}, WEAK_KEYS)
  close_current(self, "rollback")
end

-- ---- savepoints ----

local function run_savepoint(self, event_name, sql, name)
  sql = sql .. self.dialect.quote(name)
  announce(self, event_name, sql, name)
  control(self, sql)
end

--- Sets a savepoint.
---@param self table connection
---@param name string
function transaction.savepoint(self, name)
  self.dialect.quote(name) -- which refuses what is no name, before anything begins
  transaction.ensure_begun(self, not self.readonly)
  run_savepoint(self, "savepoint", "SAVEPOINT ", name)
end

--- Keeps what was done since the savepoint, and forgets it.
---@param self table connection
---@param name string
function transaction.release(self, name)
  check_lost(self, "release()")
  run_savepoint(self, "release_savepoint", "RELEASE SAVEPOINT ", name)
end

--- Takes back what was done since the savepoint, which stays.
---@param self table connection
---@param name string
function transaction.rollback_to(self, name)
  check_lost(self, "rollback_to()")
  run_savepoint(self, "rollback_savepoint", "ROLLBACK TO SAVEPOINT ", name)
end

-- ---- blocks ----

--- Runs fn(...) between begin and commit: commits and returns what it returns, or calls rollback and raises again.
---@param commit function
---@param rollback function
---@param fn function
function transaction.run(commit, rollback, fn, ...)
  local function finish(ok, ...)
    if not ok then
      local err = ...
      pcall(rollback)
      error(err, 0)
    end
    local committed, err = pcall(commit)
    if not committed then
      pcall(rollback)
      error(err, 0)
    end
    return ...
  end
  return finish(pcall(fn, ...))
end

--- Runs a block again while it fails by what may succeed another time.
---@param retries integer
---@param attempt function
function transaction.retrying(retries, attempt)
  local function finish(ok, ...)
    if ok then
      return ...
    end
    local err = ...
    if retries > 0 and errors.is_error(err) and err.retryable then
      return transaction.retrying(retries - 1, attempt)
    end
    error(err, 0)
  end
  return finish(pcall(attempt))
end

local BLOCK_OPTIONS = { mode = true, retry = true }

--- Reads the arguments of a begin(fn, options) call: nothing, or a function and options.
---@param call string
---@return function? fn
---@return table options
function transaction.block_arguments(call, ...)
  if select("#", ...) == 0 then
    return nil, {}
  end
  local fn, options = ...
  if type(fn) ~= "function" then
    errors.raise("ArgumentError", "%s takes a function to run, or nothing; got %s", call, errors.show(fn))
  end
  options = errors.check_options(options, BLOCK_OPTIONS, call)
  if options.mode ~= nil and options.mode ~= "read" and options.mode ~= "write" then
    errors.raise("ArgumentError", "%s: mode is \"read\" or \"write\", got %s", call, errors.show(options.mode))
  elseif options.retry ~= nil and (type(options.retry) ~= "number" or options.retry < 0) then
    errors.raise("ArgumentError", "%s: retry is how often to run again, got %s", call, errors.show(options.retry))
  end
  return fn, options
end

return transaction
