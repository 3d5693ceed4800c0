-- internals: parts of the library that a script cannot reach, for specs of what no statement shows. Found by their
-- fields among the upvalues of what a script can reach.
local orm = require "orrery"
assert(orm.Session) -- so that all files are read

local function each_upvalue(fn, visit)
  local position = 1
  while true do
    local name, value = debug.getupvalue(fn, position)
    if not name then
      return
    end
    visit(value)
    position = position + 1
  end
end

local function each_part(value, visit)
  if type(value) == "function" then
    each_upvalue(value, visit)
  elseif type(value) == "table" then
    for _, part in next, value do
      visit(part)
    end
    visit(debug.getmetatable(value))
  end
end

--- The first table with a field `name` that holds a value of the type `kind`.
return function(name, kind)
  local seen, queue, first = {}, { orm }, 1
  while queue[first] do
    local value = queue[first]
    first = first + 1
    if type(value) == "table" and type(rawget(value, name)) == kind then
      return value
    end
    each_part(value, function(part)
      if (type(part) == "table" or type(part) == "function") and not seen[part] then
        seen[part] = true
        queue[#queue + 1] = part
      end
    end)
  end
  error("nothing has a field " .. name)
end
