--- reading: files that are read when a script first needs them, since reading is most of what a start costs. A file that
-- `import` names is read at once, before the one that names it goes on.
local import = ...
local core = import "core"

local reading = {}

--- What stands for a file until something of it is asked for, and then passes all on to it.
---@param file string
---@return table
function reading.later(file)
  local metatable = {}
  function metatable.__index(_, key)
    metatable.__index = import(file)
    return metatable.__index[key]
  end
  return setmetatable({}, metatable)
end

--- Stands in a table for functions that a file puts there: the first call of one reads the file. Those of a file that
--- has been read are there already.
---@param methods table<string, function>
---@param file string
---@param ... string their names
function reading.methods(methods, file, ...)
  for _, name in ipairs({ ... }) do
    methods[name] = rawget(methods, name) or function(...)
      import(file)
      return methods[name](...)
    end
  end
end

--- The same for functions that the core calls back.
---@param file string
---@param ... string their names
function reading.hooks(file, ...)
  for _, name in ipairs({ ... }) do
    if not core.hook(name) then
      core.hook(name, function(...)
        import(file)
        return core.hook(name)(...)
      end)
    end
  end
end

return reading
