--- hybrid: computed attributes and methods that work on objects, where they give a value, and on the class, where the same
-- function gives an expression; and synonyms, other names of attributes.
local import = ...
local errors = import "errors"
local expression = import "expression"

local hybrid = {}

local function check_function(value, call, what)
  if type(value) ~= "function" then
    errors.raise("ArgumentError", "%s: %s must be a function, got %s", call, what, errors.show(value))
  end
end

local function check_functions(options, names, call)
  for _, name in ipairs(names) do
    if options[name] ~= nil then
      check_function(options[name], call, name)
    end
  end
end

-- ---- attributes ----

---@class orrery.Hybrid
local Hybrid = {}
local metatable = { __index = Hybrid, __metatable = { __name = "orrery.hybrid_property", __descriptor = true } }

local OPTIONS = { setter = true, expression = true, comparator = true, update_expression = true }

--- A computed attribute: User.fullname = orm.hybrid_property(function(self) return self.first .. " " .. self.last end).
---   setter             function(object, value): assigns it on objects
---   expression         function(class): what it is in queries, where the getter does not say it
---   comparator         a table of methods (eq, lt, ...) called with the expression and a value, in the place of the common ones
---   update_expression  function(class, value): a table of the columns that an update statement sets for it
---@param getter fun(self: any): any called with an object, or with the class
---@param options? { setter: function, expression: function, comparator: table<string, function>, update_expression: function }
---@return orrery.Hybrid
function hybrid.hybrid_property(getter, options)
  local call = "hybrid_property()"
  check_function(getter, call, "the getter")
  options = errors.check_options(options, OPTIONS, call)
  check_functions(options, { "setter", "expression", "update_expression" }, call)
  if options.comparator ~= nil and type(options.comparator) ~= "table" then
    errors.raise("ArgumentError", "%s: comparator is a table of functions, { eq = function(expression, value) ... end }, got %s",
      call, errors.show(options.comparator))
  end
  return setmetatable({ getter = getter, setter = options.setter, expression = options.expression,
    update_expression = options.update_expression, comparator = options.comparator }, metatable)
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

-- Of labels whose own comparisons come before the common ones; they are given the expression without them.
local function comparing(comparator)
  local own = {}
  for name, fn in pairs(comparator) do
    own[name] = function(node, ...) return fn(node.element, ...) end
  end
  return expression.metatable(own)
end

local function compared(self, label)
  if not self.comparator then
    return label
  end
  self.comparing = self.comparing or comparing(self.comparator)
  return setmetatable({ visit = "label", name = label.name, element = label.element, type = label.type }, self.comparing)
end

--- The expression, under the attribute's name where it is more than a column.
function Hybrid:of_class(mapper, key, owner)
  local made = (self.expression or self.getter)(owner or mapper.class)
  local node = expression.is_element(made) and made
  if not node or (node.visit == "column" and not self.comparator) or node.visit == "ordering" then
    return made
  end
  return compared(self, node:label(key))
end

--- The columns that update():values{ key = value } sets.
function Hybrid:assignments(mapper, key, value)
  if self.update_expression then
    return self.update_expression(mapper.class, value)
  end
  local made = (self.expression or self.getter)(mapper.class)
  if expression.is_element(made) and made.visit == "column" then
    return { [made.key] = value }
  end
  errors.raise("ArgumentError", "values(): '%s.%s' is computed; give hybrid_property(getter, { update_expression = "
    .. "function(class, value) return { column = ... } end })", mapper.name, key)
end

-- ---- methods ----

---@class orrery.HybridMethod
local Method = {}
local method_metatable = { __index = Method, __metatable = { __name = "orrery.hybrid_method", __descriptor = true } }

local METHOD_OPTIONS = { expression = true }

--- A method that gives a value on objects, user:older_than(30), and an expression on the class, User:older_than(30).
---@param fn fun(self: any, ...: any): any
---@param options? { expression: fun(class: any, ...: any): any } what it is on the class, where fn does not say it
---@return orrery.HybridMethod
function hybrid.hybrid_method(fn, options)
  local call = "hybrid_method()"
  check_function(fn, call, "the method")
  options = errors.check_options(options, METHOD_OPTIONS, call)
  check_functions(options, { "expression" }, call)
  return setmetatable({ fn = fn, expression = options.expression or fn }, method_metatable)
end

function Method:read()
  return self.fn
end

function Method:write(_, key)
  errors.raise("ArgumentError", "'%s' is a method; it cannot be assigned on an object", key)
end

function Method:of_class(mapper, _, owner)
  return function(_, ...)
    return self.expression(owner or mapper.class, ...)
  end
end

-- ---- synonyms ----

---@class orrery.Synonym
local Synonym = {}
local synonym_metatable = { __index = Synonym, __metatable = { __name = "orrery.synonym", __descriptor = true } }

--- Another name of an attribute, on objects, in constructors and in queries: orm.synonym("name").
---@param name string
---@return orrery.Synonym
function hybrid.synonym(name)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "synonym(): the name of an attribute expected, got %s", errors.show(name))
  end
  return setmetatable({ name = name }, synonym_metatable)
end

function Synonym:read(object)
  return object[self.name]
end

function Synonym:write(object, _, value)
  object[self.name] = value
end

function Synonym:of_class(mapper, _, owner)
  return (owner or mapper.class)[self.name]
end

function Synonym:assignments(_, _, value)
  return { [self.name] = value }
end

return hybrid
