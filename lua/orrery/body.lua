--- body: class bodies as a script writes them: what a class gets from its own body, from mixins and from abstract bases, and
-- which of them has the last word. Sorts all of it into columns and relationships, special names, and the rest; what these
-- mean to a class is declarative.lua's.
local import = ...
local errors = import "errors"
local constraint = import "constraint"
local schema = import "schema"
local types = import "types"
local relationship = import "relationship"
local column_property = import "column_property"

local body = {}

-- ---- names ----

local SPECIAL = {
  __tablename__ = true, __table__ = true, __table_args__ = true, __abstract__ = true, __mixins__ = true, __init__ = true,
  __mapper_args__ = true, __inherits__ = true,
}
-- What a script may say of how objects behave; the others are how they work.
local SETTABLE = {
  __tostring = true, __call = true, __concat = true, __lt = true, __le = true, __add = true, __sub = true, __mul = true,
  __div = true, __mod = true, __pow = true, __unm = true, __idiv = true, __len = true, __band = true, __bor = true,
  __bxor = true, __shl = true, __shr = true, __bnot = true,
}
local OWNED = { __index = true, __newindex = true, __gc = true, __metatable = true, __eq = true, __pairs = true, __mode = true,
  __close = true, __name = true }
body.SETTABLE = SETTABLE

--- Refuses a name that begins with "__" and is none that a script may set.
---@param name string of the class
---@param key string
function body.refuse_name(name, key)
  if OWNED[key] then
    errors.raise("ArgumentError", "%s: the metamethod '%s' belongs to the engine and cannot be set", name, key)
  end
  local known = errors.sorted_keys(SPECIAL)
  for _, one in ipairs(errors.sorted_keys(SETTABLE)) do
    known[#known + 1] = one
  end
  local near = errors.nearest(key, known)
  errors.raise("ArgumentError", "%s: unknown name '%s'%s", name, key, near and ("; did you mean '%s'?"):format(near) or "")
end

-- ---- declared_attr ----

local DECLARED = { __name = "orrery.declared_attr" }
local OPTIONS = { cascading = true }

local function new_attr(fn, cascading)
  if type(fn) ~= "function" then
    errors.raise("ArgumentError", "declared_attr(): a function of the class expected, got %s", errors.show(fn))
  end
  return setmetatable({ fn = fn, cascading = cascading, order = schema.next_order() }, { __metatable = DECLARED })
end

--- What a mixin or abstract base gives each class anew: declared_attr(function(cls) return mapped_column(...) end). The
--- function may read cls.__name__, cls.__tablename__ and what the class has been given before. One that is `cascading`
--- runs for every subclass, too.
body.declared_attr = setmetatable({
  cascading = function(fn) return new_attr(fn, true) end,
}, {
  __call = function(_, fn, options)
    return new_attr(fn, errors.check_options(options, OPTIONS, "declared_attr()").cascading or false)
  end,
  __metatable = false,
})

local function is_attr(value)
  return getmetatable(value) == DECLARED
end

-- ---- who says what ----

local function is_declared(value)
  return schema.is_column(value) or relationship.is_relationship(value) or column_property.is_property(value)
end

local function order_of(value)
  return (is_declared(value) or is_attr(value)) and value.order or nil
end

-- A type or a foreign key alone is a column whose Mapped() was forgotten.
local function refuse_bare(name, key, value)
  if types.is_type(value) then
    errors.raise("ArgumentError", "%s.%s: a type alone is no column; write Mapped(%s)", name, key, tostring(value))
  elseif constraint.is_foreign_key(value) then
    errors.raise("ArgumentError", "%s.%s: a foreign key alone is no column; write Mapped(%s)", name, key, tostring(value))
  end
end

local function check_keys(name, given)
  for key, value in pairs(given) do
    if type(key) ~= "string" then
      errors.raise("ArgumentError", "%s: a class body has names only, got [%s]", name, errors.show(key))
    elseif key:sub(1, 2) == "__" and not order_of(value) and not SPECIAL[key] and not SETTABLE[key] then
      body.refuse_name(name, key)
    end
    refuse_bare(name, key, value)
  end
end

-- The mixins of a body in their order, each before those that it names itself.
local function mixins_of(name, given, list)
  local mixins = given.__mixins__ or {}
  if type(mixins) ~= "table" or (next(mixins) ~= nil and mixins[1] == nil) then
    errors.raise("ArgumentError", "%s: __mixins__ is an array of bodies, { Timestamped, ... }, got %s", name, errors.show(mixins))
  end
  for position, mixin in ipairs(mixins) do
    if type(mixin) ~= "table" or getmetatable(mixin) then
      errors.raise("ArgumentError", "%s: __mixins__[%d] is no class body but %s", name, position, errors.show(mixin))
    end
    list[#list + 1] = mixin
    mixins_of(name, mixin, list)
  end
  return list
end

-- What has the last word first: the class's own body, its mixins, the abstract bases from the nearest on.
local function sources_of(name, own, bases)
  local sources = { { given = own, own = true } }
  for _, mixin in ipairs(mixins_of(name, own, {})) do
    sources[#sources + 1] = { given = mixin, mixin = true }
  end
  for position = #bases, 1, -1 do
    sources[#sources + 1] = { given = bases[position] }
    for _, mixin in ipairs(mixins_of(name, bases[position], {})) do
      sources[#sources + 1] = { given = mixin }
    end
  end
  return sources
end

local function refuse_two(name, key)
  errors.raise("ArgumentError", "%s: two of its mixins declare '%s'; declare it in the class, or in one mixin only", name, key)
end

-- Each name with the first value that somebody gives it, in textual order; two mixins must not declare one column.
local function chosen(name, sources)
  local by_key, list = {}, {}
  for _, source in ipairs(sources) do
    check_keys(name, source.given)
    for _, key in ipairs(errors.sorted_keys(source.given)) do
      local before, value = by_key[key], source.given[key]
      if before and source.mixin and before.mixin and order_of(value) and order_of(before.value) and value ~= before.value then
        refuse_two(name, key)
      elseif not before then
        by_key[key] = { key = key, value = value, own = source.own, mixin = source.mixin, order = order_of(value) }
        list[#list + 1] = by_key[key]
      end
    end
  end
  table.sort(list, function(a, b)
    if (a.order or 0) ~= (b.order or 0) then
      return (a.order or 0) < (b.order or 0)
    end
    return a.key < b.key
  end)
  return list, by_key
end

-- ---- what each class gets ----

local KEPT = { "deferred", "deferred_group", "deferred_raiseload", "nullable_by_type", "use_existing" }

local function copy_of(value)
  if relationship.is_relationship(value) then
    return relationship.relationship(value.target, value.options)
  elseif column_property.is_property(value) then
    return column_property.copy(value)
  end
  local copy = value:copy()
  for _, field in ipairs(KEPT) do
    copy[field] = value[field]
  end
  return copy
end

-- Arguments of a table that a mixin names stand in the mixin for many classes: each table gets its own constraints.
local function copied_arguments(given)
  if type(given) ~= "table" then
    return given
  end
  local copy = {}
  for key, value in pairs(given) do
    copy[key] = schema.is_constraint(value) and value.copy and value:copy() or value
  end
  return copy
end

local function value_for(class, entry)
  local value = entry.value
  if is_attr(value) then
    return value.fn(class)
  elseif entry.own then
    return value
  elseif is_declared(value) then
    return copy_of(value)
  end
  return entry.key == "__table_args__" and copied_arguments(value) or value
end

local function place(entries, entry, value)
  if is_declared(value) then
    entries.declared[#entries.declared + 1] = { key = entry.key, value = value, order = entry.order or value.order,
      own = entry.own }
  elseif SPECIAL[entry.key] then
    entries.special[entry.key] = value
  elseif value ~= nil then
    entries.others[#entries.others + 1] = { key = entry.key, value = value }
  end
end

-- What a class hands on to those that inherit from it: they are asked anew for special names, and for what cascades.
local function note_cascading(self, entry)
  if is_attr(entry.value) and (entry.value.cascading or SPECIAL[entry.key]) then
    self.cascading = self.cascading or {}
    self.cascading[entry.key] = entry
  end
end

local function add_cascading(self, list, by_key)
  for _, key in ipairs(errors.sorted_keys(self.inherits and self.inherits.cascading or {})) do
    local entry = self.inherits.cascading[key]
    if not by_key[key] then
      by_key[key] = entry
      list[#list + 1] = entry
    end
  end
end

-- Special names first: functions for the others may ask for the table's name.
local function evaluate(self, list, entries, special)
  for _, entry in ipairs(list) do
    if (SPECIAL[entry.key] or false) == special then
      place(entries, entry, value_for(self.class, entry))
      note_cascading(self, entry)
    end
  end
end

--- What a class declares, all told: `declared` columns and relationships in textual order, `special` names, `others`.
---@param self orrery.Mapper
---@param own table its body
---@param bases table[] bodies of abstract bases, the nearest last
---@return table entries
function body.entries(self, own, bases)
  local sources = sources_of(self.name, own, bases)
  for _, source in ipairs(sources) do
    self.mixins[source.given] = true
  end
  local list, by_key = chosen(self.name, sources)
  local entries = { declared = {}, special = {}, others = {} }
  self.pending = entries
  add_cascading(self, list, by_key)
  evaluate(self, list, entries, true)
  evaluate(self, list, entries, false)
  table.sort(entries.declared, function(a, b) return a.order < b.order end)
  return entries
end

--- What a function of declared_attr reads of the class that is being declared.
---@param self orrery.Mapper
---@param key string
---@return any
function body.pending(self, key)
  local entries = self.pending
  if entries.special[key] ~= nil then
    return entries.special[key]
  end
  for _, list in ipairs({ entries.declared, entries.others }) do
    for _, entry in ipairs(list) do
      if entry.key == key then
        return entry.value
      end
    end
  end
end

--- Checks a body of which no class is made (an abstract one).
---@param name string
---@param given table
function body.check(name, given)
  for _, source in ipairs(sources_of(name, given, {})) do
    check_keys(name, source.given)
  end
end

return body
