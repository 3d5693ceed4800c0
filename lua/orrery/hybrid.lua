--- hybrid: computed attributes that work on objects, where they give a value, and on the class, where the same function
-- gives an expression.
local import = ...
local errors = import "errors"

local hybrid = {}

---@class orrery.Hybrid
local Hybrid = {}
local metatable = { __index = Hybrid, __metatable = { __name = "orrery.hybrid_property", __descriptor = true } }

local OPTIONS = { setter = true, expression = true }

local function check_function(value, what)
  if type(value) ~= "function" then
    errors.raise("ArgumentError", "hybrid_property(): %s must be a function, got %s", what, errors.show(value))
  end
end

--- A computed attribute: User.fullname = orm.hybrid_property(function(self) return self.first .. " " .. self.last end).
---@param getter fun(self: any): any called with an object, or with the class
---@param options? { setter: fun(self: userdata, value: any), expression: fun(class: userdata): table }
---@return orrery.Hybrid
function hybrid.hybrid_property(getter, options)
  check_function(getter, "the getter")
  options = errors.check_options(options, OPTIONS, "hybrid_property()")
  for _, name in ipairs({ "setter", "expression" }) do
    if options[name] ~= nil then
      check_function(options[name], name)
    end
  end
  return setmetatable({ getter = getter, setter = options.setter, expression = options.expression }, metatable)
end

function Hybrid:read(object)
  return self.getter(object)
end

function Hybrid:write(object, key, value)
  if not self.setter then
    errors.raise("ArgumentError", "'%s' is computed and has no setter; give hybrid_property(getter, { setter = function(self, "
      .. "value) ... end })", key)
  end
  self.setter(object, value)
end

function Hybrid:of_class(mapper, _, owner)
  return (self.expression or self.getter)(owner or mapper.class)
end

return hybrid
