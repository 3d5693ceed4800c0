--- registry: the classes of one declarative base by name, and the mappers that wait to be configured. Knows nothing
-- of tables or relationships; a mapper does its own configuring.
local import = ...
local errors = import "errors"

local registry = {}

local Registry = {}
local metatable = { __index = Registry, __metatable = false }
local all = setmetatable({}, { __mode = "k" })
local made = 0

--- A registry without classes.
---@param metadata table the MetaData that its tables go to
---@return orrery.Registry
function registry.new(metadata)
  made = made + 1
  local self = setmetatable({ metadata = metadata, classes = {}, names = {}, waiting = {}, number = made }, metatable)
  all[self] = true
  return self
end

--- Enters a class that was declared; its mapper configures when first needed.
---@param name string
---@param mapper table
function Registry:add(name, mapper)
  if self.classes[name] then
    errors.raise("ArgumentError", "class '%s' is declared twice on this base; give one of them another name", name)
  end
  self.classes[name] = mapper
  self.names[#self.names + 1] = name
  self.waiting[#self.waiting + 1] = mapper
end

--- The mapper of a class name; the error names what asked for it.
---@param name string
---@param where string "Portfolio.investments"
---@return table mapper
function Registry:find(name, where)
  local found = self.classes[name]
  if not found then
    errors.raise("InvalidRequestError", "%s: there is no class '%s' on this base%s (it must be declared before the first "
      .. "object or query)", where, tostring(name), errors.hint(name, self.names))
  end
  return found
end

-- Marks are set inside of the protected call that removes them: where there is no memory for the call, none is left.
local function configure_marked(self)
  self.configuring = true
  self.configure_all(self.waiting)
end

--- Configures every class that waits. Nothing is configured when one of them cannot be.
function Registry:configure()
  if #self.waiting == 0 or self.configuring then
    return
  end
  local ok, err = pcall(configure_marked, self)
  self.configuring = false
  if not ok then
    error(err, 0)
  end
  self.waiting = {}
end

-- On Lua 5.1 a registry that nobody holds any more can still be met for a while, its tables closed already.
local function is_alive(self)
  local first = self.waiting[1]
  return first == nil or first.table.metadata.handle:find_table(first.table.fullname or first.table.name) ~= nil
end

local function registries()
  local list = {}
  for one in pairs(all) do
    if is_alive(one) then
      list[#list + 1] = one
    end
  end
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

--- Configures the classes of every registry.
function registry.configure_all()
  for _, one in ipairs(registries()) do
    one:configure()
  end
end

--- The mappers of every registry, in the order in which they were declared.
---@return table[]
function registry.mappers()
  local list = {}
  for _, one in ipairs(registries()) do
    for _, name in ipairs(one.names) do
      list[#list + 1] = one.classes[name]
    end
  end
  return list
end

--- Sets how a list of waiting mappers is configured (mapper.lua does).
---@param fn fun(mappers: table[])
function registry.set_configure(fn)
  Registry.configure_all = fn
end

return registry
