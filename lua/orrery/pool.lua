--- pool: keeps database connections for reuse. Decides how many there are, who holds which, and which are still good;
-- begins and ends no transaction, and knows no SQL.
--
-- A slot is one database connection: { dbc, born, generation, transaction }. `transaction` belongs to whoever uses the slot
-- (transaction.lua). Two policies: a queue (each holder has a slot of its own) and a shared slot (a memory database, which
-- is one connection). A slot in use is known by its holder weakly, so that a holder which is dropped without close()
-- gives its place back when it is collected.
local import = ...
local core = import "core"
local errors = import "errors"

local pool = {}

local Pool = {}
local metatable = { __index = errors.guard(Pool, "a pool"), __name = "orrery.pool" }

local DEFAULTS = { size = 5, overflow = 10, timeout = 30 }

---@class orrery.PoolOptions
---@field shared? boolean one slot for everybody
---@field size? integer connections that are kept
---@field overflow? integer connections beyond these; -1: without bound
---@field timeout? number seconds to wait for one, where `wait` can
---@field wait? fun(seconds: number) lets others run meanwhile
---@field recycle? number seconds after which a connection is not used again
---@field ping? fun(dbc) raises where a connection is dead; asked at every checkout

--- A pool that opens connections by `open()`.
---@param open function () -> dbc
---@param options orrery.PoolOptions
---@return table
function pool.new(open, options)
  local size, overflow = options.size or DEFAULTS.size, options.overflow or DEFAULTS.overflow
  return setmetatable({
    open = open,
    shared = options.shared or false,
    kept = size,
    limit = (overflow < 0 or size == 0) and math.huge or size + overflow,
    timeout = options.timeout or DEFAULTS.timeout,
    wait = options.wait or false,
    recycle = options.recycle or false,
    ping = options.ping or false,
    idle = {},
    generation = 1, -- of slots; those of an earlier one close when they come back
    process = false, -- the one that the slots were opened in
    holders = setmetatable({}, { __mode = "k" }), -- holder to where it took its slot
  }, metatable)
end

--- How many slots are in use.
---@return integer
function Pool:checkedout()
  local count = 0
  for _ in pairs(self.holders) do
    count = count + 1
  end
  return count
end

--- How many connections are kept at most; 0: without bound.
---@return integer
function Pool:size()
  return self.kept
end

--- How many idle connections are kept.
---@return integer
function Pool:checkedin()
  return #self.idle
end

-- ---- room ----

-- "3 at app.lua:12, 1 at job.lua:40", the most frequent places first.
local function describe_holders(self)
  local counts = {}
  for _, place in pairs(self.holders) do
    counts[place] = (counts[place] or 0) + 1
  end
  local places = errors.sorted_keys(counts)
  table.sort(places, function(a, b)
    return counts[a] > counts[b] or (counts[a] == counts[b] and a < b)
  end)
  local parts = {}
  for position = 1, math.min(#places, 5) do
    parts[position] = ("%d at %s"):format(counts[places[position]], places[position])
  end
  return table.concat(parts, ", ")
end

local function is_full(self)
  return self:checkedout() >= self.limit
end

-- In one thread nobody can give a connection back while this call waits, unless `wait` lets other coroutines run.
local function wait_for_room(self)
  local now = core.clock()
  local deadline = now + self.timeout
  while is_full(self) and now < deadline do
    self.wait(deadline - now)
    now = core.clock()
  end
end

local function check_room(self)
  if not is_full(self) then
    return
  end
  collectgarbage()
  collectgarbage() -- what held a connection and was dropped makes room
  if self.wait then
    wait_for_room(self)
  end
  if is_full(self) then
    errors.raise("TimeoutError", "all %d connections of the pool are in use (%s)%s; close them, or raise pool_size or "
      .. "max_overflow", self.limit, describe_holders(self),
      self.wait and (", and none came back in %g s"):format(self.timeout) or "")
  end
end

-- ---- slots ----

local function new_slot(self)
  self.process = core.process()
  return { dbc = self.open(), born = core.clock(), generation = self.generation, transaction = false, epoch = 0 }
end

local function is_good(self, slot)
  if not slot.dbc:is_open() or (self.recycle and core.clock() - slot.born > self.recycle) then
    return false
  end
  return not self.ping or (pcall(self.ping, slot.dbc))
end

-- The idle slot that was used last, or nil; those that are not good any more are closed.
local function take_idle(self)
  local slot = table.remove(self.idle)
  while slot and not is_good(self, slot) do
    slot.dbc:close()
    slot = table.remove(self.idle)
  end
  return slot
end

local function take_slot(self)
  if self.shared then
    if not self.slot or not self.slot.dbc:is_open() then
      self.slot = new_slot(self)
    end
    return self.slot
  end
  check_room(self)
  return take_idle(self) or new_slot(self)
end

local function check_process(self)
  if self.process and self.process ~= core.process() then
    errors.raise("InvalidRequestError", "this engine has connections of process %d, and process %d was forked from it; "
      .. "connections do not survive a fork: call engine:dispose() in the child first, or make a new engine there",
      self.process, core.process())
  end
end

local function place()
  local where = core.where()
  return where == "" and "the host program" or where:gsub(": $", "")
end

--- Gives `holder` a slot.
---@param holder table
---@return table slot
function Pool:checkout(holder)
  check_process(self)
  local slot = take_slot(self)
  self.holders[holder] = place()
  return slot
end

--- Takes back a slot without a transaction: keeps its connection, or closes it where enough are idle or it is not
-- usable any more.
---@param holder table
---@param slot table
---@param usable boolean
function Pool:checkin(holder, slot, usable)
  self.holders[holder] = nil
  if self.shared and slot == self.slot then
    return
  elseif slot.detached then
    slot.dbc:close()
  elseif slot.generation ~= self.generation or not usable or #self.idle >= self.kept then
    slot.dbc:close()
  else
    self.idle[#self.idle + 1] = slot
  end
end

--- Forgets a slot, whose connection is its holder's alone from here on and closes with it. Its place is free.
---@param holder table
---@param slot table
function Pool:detach(holder, slot)
  self.holders[holder] = nil
  slot.detached = true
end

--- Closes what is idle; what is in use closes when it comes back. New checkouts open new connections.
function Pool:dispose()
  for _, slot in ipairs(self.idle) do
    slot.dbc:close()
  end
  if self.slot then
    self.slot.dbc:close()
  end
  self.idle, self.slot, self.process = {}, nil, false
  self.generation = self.generation + 1
  self.holders = setmetatable({}, { __mode = "k" })
end

--- "5 of at most 15 in use, 2 idle"
---@return string
function Pool:status()
  return ("%d of at most %s in use, %d idle"):format(self:checkedout(), tostring(self.limit), #self.idle)
end

return pool
