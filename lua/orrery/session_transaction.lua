--- session_transaction: when a session writes, and what its transaction and its objects agree on: flush, commit, rollback,
-- savepoints. Writing itself is in writing.lua and flushlib.c.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local event = import "event"
local transaction = import "transaction"
local writing = reading.later "writing"
local binding = import "binding"
local session_class = import "session_class"

---@class orrery.Session
local Session = session_class.Session
local check = session_class.check
local telling = session_class.telling
local hears_states = session_class.hears_states
local leave_flush = session_class.leave_flush
local tell_expired = session_class.tell_expired

local MAX_ROUNDS = 100

-- ---- the connection ----

-- Joins the transaction that the script has open on the session's connection: `joined` is what the session may end by
-- itself then, a savepoint; without one a commit leaves the transaction to the script.
local function join(seat, mode)
  local conn = seat.bound
  if not conn:in_transaction() or mode == "control_fully" then
    return conn
  end
  if mode == "create_savepoint" or (mode == "conditional_savepoint" and conn:in_nested_transaction()) then
    seat.joined = conn:begin_nested()
  else
    seat.joined = { is_active = false }
  end
  return conn
end

-- Savepoints end with the transaction around them.
local function end_nested(self)
  for position = #self.nested, 1, -1 do
    self.nested[position].is_active = false
    self.nested[position] = nil
  end
end

local function settle_objects(self)
  core.committed(self[1], self.expire_on_commit)
  rawset(self, "unsettled", false)
end

-- What a commit means for the objects. Where memory runs out in it, whatever comes next begins with it: the rows are
-- there to stay.
local function settle(self)
  if self.unsettled then
    end_nested(self)
    telling(self, nil, settle_objects, self)
  end
end

local function connect(self, seat)
  local conn = seat.bound and join(seat, self.join_mode) or seat.engine:connect()
  seat.conn = conn
  event.fire(self.dispatch, "after_begin", self, conn)
  return conn
end

local function connection_of(self, seat)
  local conn = seat.conn
  if not conn or conn.closed then
    return connect(self, seat)
  end
  return conn
end

--- The connection that this session's transaction runs on; taken from the engine when first needed. In a session with
--- `binds` the one for a class, a table or a statement.
---@param subject? any
---@return orrery.Connection
function Session:connection(subject)
  check(self, "connection")
  settle(self)
  return connection_of(self, self.by_key and binding.of(self, subject) or self.seat)
end

--- What the session works on: the connection that the script has given it, or its engine; with `binds`, for a class, a table
--- or a statement.
---@param subject? any
---@return orrery.Engine|orrery.Connection
function Session:get_bind(subject)
  check(self, "get_bind")
  local seat = self.by_key and binding.of(self, subject) or self.seat
  return seat.bound or seat.engine
end

local function leave_seat(seat)
  local conn, joined = seat.conn, seat.joined
  seat.conn, seat.joined = false, false
  if conn and not seat.bound and not conn.closed then
    conn:close()
  elseif joined and joined.is_active then
    joined:rollback()
  end
end

-- Calls fn(seat, ...) for every seat, whatever happens at one of them; then raises the first error.
local function each_seat(self, fn, ...)
  local failed, first = false, nil
  for _, seat in ipairs(self.seats) do
    local ok, err = pcall(fn, seat, ...)
    if not ok and not failed then
      failed, first = true, err
    end
  end
  if failed then
    error(first, 0)
  end
end

local function release(self)
  each_seat(self, leave_seat)
end

--- Whether a transaction is open.
function Session:in_transaction()
  check(self, "in_transaction")
  for _, seat in ipairs(self.seats) do
    if seat.conn and seat.conn:in_transaction() then
      return true
    end
  end
  return false
end

-- ---- flush ----

local function flush_once(self)
  event.fire(self.dispatch, "before_flush", self)
  local cascaded = writing.cascade_deletes(self, self[1])
  local written
  telling(self, nil, function() written = writing.write(self, self[1], cascaded) end)
  return written
end

-- The mark is set inside of the protected call, so that it is removed whatever happens.
local function flush_marked(self)
  session_class.enter_flush(self)
  return flush_once(self)
end

--- Writes what is new, changed and deleted. All of it, or, when something fails, nothing: rows and objects are then as
--- they were, and the transaction goes on.
function Session:flush()
  check(self, "flush")
  if self.flushing then
    errors.raise("InvalidRequestError", "session:flush(): this session is flushing already (called from one of its hooks?)")
  elseif core.is_clean(self[1]) then
    return
  end
  local ok, err = pcall(flush_marked, self)
  rawset(self, "flushing", false)
  if not ok then
    error(err, 0)
  elseif err then
    event.fire(self.dispatch, "after_flush_postexec", self)
  end
end

-- An error of a flush that nobody asked for says where it comes from.
local function explained(err, cause)
  if not errors.is_error(err) or rawget(err, "autoflush") then
    return err
  end
  local what = cause ~= nil and ("before the query \"%s\""):format(tostring(cause):sub(1, 200)) or "before a load"
  local written = rawget(err, "object") or rawget(err, "candidates")
  err.autoflush = true
  err.message = ("%s (raised by an autoflush %s%s; if it comes too early, run the query in session:no_autoflush(fn))"):format(
    err.message, what, written and ", which was to write " .. tostring(written) or "")
  return err
end

--- Flushes where autoflush is on: what a query, or a lazy load, does first.
---@param cause? any the statement that is about to run
function Session:autoflush_now(cause)
  if self.autoflush and self.quiet == 0 and not self.flushing and not core.is_clean(self[1]) then
    local ok, err = pcall(self.flush, self)
    if not ok then
      error(explained(err, cause), 0)
    end
  end
end

local function run_quietly(self, fn)
  rawset(self, "quiet", self.quiet + 1)
  return fn(self)
end

--- Runs fn() with autoflush off and returns what it returns.
---@param fn function
function Session:no_autoflush(fn)
  check(self, "no_autoflush")
  if type(fn) ~= "function" then
    errors.raise("ArgumentError", "session:no_autoflush() takes a function to run, got %s", errors.show(fn))
  end
  local before = self.quiet
  local function finish(ok, ...)
    rawset(self, "quiet", before)
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(run_quietly, self, fn))
end

-- ---- transactions ----

local function flush_all(self)
  for _ = 1, MAX_ROUNDS do
    self:flush()
    if core.is_settled(self[1]) then
      return
    end
  end
  errors.raise("FlushError", "session:commit(): hooks have made new work in %d flushes; one of them changes objects every time",
    MAX_ROUNDS)
end

local function end_transaction(seat, method)
  local conn, joined = seat.conn, seat.joined
  if not conn or conn.closed then
    return
  elseif joined and joined.is_active then
    joined[method](joined)
  elseif not joined or method == "rollback" then
    conn[method](conn)
  end
end

-- One database after the other: what is committed in one stays so where the next one fails.
local function commit_seats(self)
  for _, seat in ipairs(self.seats) do
    end_transaction(seat, "commit")
  end
end

--- Flushes and commits. Objects are expired afterwards unless the session was made with expire_on_commit = false.
function Session:commit()
  check(self, "commit")
  leave_flush(self, "commit")
  event.fire(self.dispatch, "before_commit", self)
  flush_all(self)
  local ok, err = pcall(commit_seats, self)
  if not ok then
    pcall(self.rollback, self)
    error(err, 0)
  end
  rawset(self, "unsettled", true)
  settle(self)
  release(self)
  if self.expire_on_commit then
    tell_expired(self)
  end
  event.fire(self.dispatch, "after_commit", self)
end

--- Rolls back. New objects are transient again, deleted ones back, and every other one reads what the database holds.
function Session:rollback()
  check(self, "rollback")
  leave_flush(self, "rollback")
  settle(self)
  local ok, err = pcall(each_seat, self, end_transaction, "rollback")
  end_nested(self)
  self:forget_expressions()
  telling(self, nil, core.rolled_back, self[1])
  release(self)
  tell_expired(self)
  event.fire(self.dispatch, "after_rollback", self)
  event.fire(self.dispatch, "after_soft_rollback", self)
  if not ok then
    error(err, 0)
  end
end

--- Rolls back what is not committed and lets go of all objects. The session can be used again.
function Session:close()
  check(self, "close")
  leave_flush(self, "close")
  rawset(self, "block", false)
  settle(self)
  end_nested(self)
  self:forget_expressions()
  local ok, err = pcall(release, self)
  telling(self, hears_states(self.dispatch) and core.objects(self[1]) or nil, core.close, self[1])
  if not ok then
    error(err, 0)
  end
end

---@class orrery.Nested
---@field is_active boolean
local Nested = {}
local nested_metatable = { __index = errors.guard(Nested, "a savepoint"), __name = "orrery.Nested" }

-- Ends this savepoint in the session's list, with those that were set inside it.
local function leave_nested(self)
  local list = self.session.nested
  for position = #list, 1, -1 do
    local one = list[position]
    list[position], one.is_active = nil, false
    if one == self then
      return
    end
  end
end

local function check_active(self, call)
  errors.check_self(self, getmetatable(self) == nested_metatable, "nested:" .. call)
  if not self.is_active then
    errors.raise("InvalidRequestError", "nested:%s(): this savepoint has ended already", call)
  end
end

--- Flushes and keeps what was done since the savepoint, with the transaction around it.
function Nested:commit()
  check_active(self, "commit")
  self.session:flush()
  for _, savepoint in ipairs(self.savepoints) do
    savepoint:commit()
  end
  leave_nested(self)
end

local function roll_back(savepoints)
  for _, savepoint in ipairs(savepoints) do
    savepoint:rollback()
  end
end

--- Takes back what was done since the savepoint, rows and objects. Fine to call when it has ended.
function Nested:rollback()
  errors.check_self(self, getmetatable(self) == nested_metatable, "nested:rollback")
  if not self.is_active then
    return
  end
  leave_nested(self)
  local ok, err = pcall(roll_back, self.savepoints)
  telling(self.session, nil, core.rolled_back, self.session[1], self.deeds[1], self.deeds[2], self.deeds[3])
  event.fire(self.session.dispatch, "after_soft_rollback", self.session, self)
  if not ok then
    error(err, 0)
  end
end

Nested.close = Nested.rollback
nested_metatable.__close = Nested.rollback

local function new_nested(self)
  self:flush()
  local savepoints = {}
  for position, seat in ipairs(self.seats) do
    savepoints[position] = connection_of(self, seat):begin_nested()
  end
  local nested = setmetatable({ session = self, savepoints = savepoints, deeds = { core.deeds(self[1]) }, is_active = true },
    nested_metatable)
  self.nested[#self.nested + 1] = nested
  return nested
end

--- Flushes, sets a savepoint and returns it, with :commit() and :rollback(); given a function, runs fn(session) in it,
--- keeps what that did and returns what it returns, or takes it back and raises its error again.
---@param ... any fn
---@return orrery.Nested
function Session:begin_nested(...)
  check(self, "begin_nested")
  local fn = transaction.block_arguments("session:begin_nested()", ...)
  local nested = new_nested(self)
  if not fn then
    return nested
  end
  return transaction.run(function() nested:commit() end, function() nested:rollback() end, fn, self)
end

local function begin_seats(self, write)
  for _, seat in ipairs(self.seats) do
    connection_of(self, seat):ensure_begun(write)
  end
end

local function check_not_begun(self)
  if self:in_transaction() then
    errors.raise("InvalidRequestError", "session:begin(): a transaction is open already (the first statement begins one, a read, "
      .. "too); commit or roll back first, or write begin_nested(fn) for a part of it")
  end
end

local function run_block(self, fn, options)
  check_not_begun(self)
  begin_seats(self, options.mode ~= "read")
  local block = {}
  rawset(self, "block", block)
  return transaction.run(function()
    if self.block ~= block then
      errors.raise("InvalidRequestError", "session:begin(): the session was closed inside begin(fn), which took back what "
        .. "was not committed; the block commits at its end, close after it")
    end
    self:commit()
  end, function() self:rollback() end, fn, self)
end

--- begin() opens a transaction; begin(fn [, options]) runs fn(session) in one, commits, and returns what fn returns, or
--- rolls back and raises fn's error again.
---@param ... any fn, { mode = "read" | "write", retry = n }
function Session:begin(...)
  check(self, "begin")
  local fn, options = transaction.block_arguments("session:begin()", ...)
  if not fn then
    check_not_begun(self)
    begin_seats(self, false)
    return nil
  end
  return transaction.retrying(options.retry or 0, function() return run_block(self, fn, options) end)
end

return Session
