--- pool: keeps database connections for reuse. Decides how many there are and who holds which; begins and ends no
-- transaction, and knows no SQL.
--
-- A slot is one database connection: { dbc, transaction }. `transaction` belongs to whoever uses the slot (engine.lua).
-- Two policies: a queue (each holder has a slot of its own) and a shared slot (a memory database, which is one
-- connection). A slot in use is known by its holder weakly, so that a holder which is dropped without close()
-- gives its place back when it is collected.
local import = ...
local core = import "core"
local errors = import "errors"

local pool = {}

local Pool = {}
local metatable = { __index = Pool, __name = "orrery.pool" }

local DEFAULTS = { size = 5, overflow = 10 }

--- A pool that opens connections by `open()`.
---@param open function () -> dbc
---@param options { shared?: boolean, size?: integer, overflow?: integer } overflow -1: without bound
---@return table
function pool.new(open, options)
  local size, overflow = options.size or DEFAULTS.size, options.overflow or DEFAULTS.overflow
  return setmetatable({
    open = open,
    shared = options.shared or false,
    size = size,
    limit = (overflow < 0 or size == 0) and math.huge or size + overflow,
    idle = {},
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

--- How many idle connections are kept.
---@return integer
function Pool:checkedin()
  return #self.idle
end

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

-- Nobody can give a connection back while this one thread waits, so there is no waiting: either dropped holders
-- make room, or the error names those who hold.
local function check_room(self)
  if self:checkedout() < self.limit then
    return
  end
  collectgarbage()
  collectgarbage()
  if self:checkedout() >= self.limit then
    errors.raise("TimeoutError", "all %d connections of the pool are in use (%s); close them, or raise pool_size or "
      .. "max_overflow", self.limit, describe_holders(self))
  end
end

local function new_slot(self)
  return { dbc = self.open() }
end

local function take_slot(self)
  if self.shared then
    self.slot = self.slot or new_slot(self)
    return self.slot
  end
  check_room(self)
  return table.remove(self.idle) or new_slot(self)
end

local function place()
  local where = core.where()
  return where == "" and "the host program" or where:gsub(": $", "")
end

--- Gives `holder` a slot.
---@param holder table
---@return table slot
function Pool:checkout(holder)
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
  if self.shared then
    return
  elseif self.disposed or not usable or #self.idle >= self.size then
    slot.dbc:close()
  else
    self.idle[#self.idle + 1] = slot
  end
end

--- Closes what is idle; what is in use closes when it comes back. The pool is not used for new checkouts afterwards.
function Pool:dispose()
  self.disposed = true
  for _, slot in ipairs(self.idle) do
    slot.dbc:close()
  end
  self.idle = {}
  if self.slot then
    self.slot.dbc:close()
  end
end

--- "5 of at most 15 in use, 2 idle"
---@return string
function Pool:status()
  return ("%d of at most %s in use, %d idle"):format(self:checkedout(), tostring(self.limit), #self.idle)
end

return pool
