--- streaming: the results of selects of classes that are read part by part (yield_per): each part is made into objects, and
-- what is loaded behind it is loaded, when a script comes to it.
local import = ...
local errors = import "errors"
local core = import "core"
local result = import "result"
local settings = import "settings"
local loading = import "loading"

local streaming = {}

---@class orrery.Stream what a result reads on from
local Stream = {}
local metatable = { __index = Stream }

-- Reads at most `max` rows into objects, and loads what belongs behind them.
local function read_part(self, max)
  local part = self.new_part()
  local out, order = {}, part.order
  local _, done = core.load(self.session[1], self.stmt, self.plan.core, out, order.rows and self.plan.row_metatable or nil,
    order.populated, max, order.cohorts, order.links, nil, nil, order.holders, order.kilobytes)
  loading.finish(self.plan, order, out, self.session)
  part.load_behind(out)
  return out, done
end

--- The next elements, and whether they were the last.
---@param max integer
---@return table
---@return boolean
function Stream:fetch(max)
  settings.set_timeout(self.connection, self.timeout)
  local ok, out, done = pcall(read_part, self, max)
  if not ok then
    self.stmt:reset()
    self.connection:failed(out, self.compiled, self.values)
  end
  self.connection.cursors[self.stmt] = not done or nil
  return out, done
end

function Stream:close()
  if self:is_current() then
    self.stmt:reset()
  end
end

--- Whether its transaction is still the one in which it began.
function Stream:is_current()
  local connection = self.connection
  return connection.epoch == self.epoch and connection.slot.epoch == self.slot_epoch
end

--- A result that reads `size` rows at a time.
---@param session orrery.Session
---@param expanded orrery.Expanded
---@param compiled table
---@param values table
---@param size integer
---@param new_part fun(): { order: orrery.LoadOrder, load_behind: fun(out: table) } for each part anew
---@return table result
function streaming.result(session, expanded, compiled, values, size, new_part)
  if expanded.lists then
    errors.raise("InvalidRequestError", "yield_per: joined collections cannot be read in parts, since their rows may stand in "
      .. "several; use selectinload()")
  end
  local connection = session:connection(compiled)
  local stmt, bound = connection:start(compiled, values)
  local plan = expanded.plan_for and expanded.plan_for(stmt) or loading.plan_of(compiled, expanded.links and #expanded.links)
  local stream = setmetatable({ session = session, connection = connection, epoch = connection.epoch,
    slot_epoch = connection.slot.epoch, timeout = connection.slot.timeout, stmt = stmt, plan = plan, compiled = compiled,
    values = bound, new_part = new_part }, metatable)
  local first, done = stream:fetch(size)
  connection:finish(stmt, compiled, bound, #first)
  local rows = new_part().order.rows
  return result.from_cursor(stream, rows and plan.row_metatable or plan.names, first, done, size)
end

return streaming
