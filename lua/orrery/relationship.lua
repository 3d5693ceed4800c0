--- relationship: what a script says of the link between two classes, and what follows from it: target, direction,
-- joined columns, the other side. The decision itself is the core's (relation.c); this file translates names into
-- columns and back, and pairs the sides. What a relationship holds is the instance's matter (linklib.c).
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local functions = import "functions"
local selectable = import "selectable"
local schema = import "schema"
local statement = import "statement"

local relationship = {}
local unpack = table.unpack or unpack

local DIRECTIONS = { onetomany = 0, manytoone = 1, manytomany = 2 }
local OPTIONS = {
  uselist = true, secondary = true, back_populates = true, backref = true, cascade = true, order_by = true, lazy = true,
  foreign_keys = true, remote_side = true, viewonly = true, passive_deletes = true, passive_updates = true, single_parent = true,
  doc = true,
  info = true,
}
local CASCADES = {
  ["save-update"] = true, merge = true, expunge = true, ["refresh-expire"] = true, delete = true, ["delete-orphan"] = true,
}
local ALL = { "save-update", "merge", "refresh-expire", "expunge", "delete" }
local LAZY = { select = true, raise = true, noload = true, immediate = true, selectin = true,
  joined = true }

---@class orrery.Relationship
---@field key string
---@field target any class, class name or function, as declared
---@field options table
local Relationship = {}
local metatable = { __index = Relationship, __metatable = { __name = "orrery.relationship" } }

local order = 0

--- Whether `value` was made by relationship().
---@param value any
---@return boolean
function relationship.is_relationship(value)
  return getmetatable(value) == metatable.__metatable
end

local function check_target(target, call)
  local kind = type(target)
  if kind ~= "string" and kind ~= "function" and not core.is_class(target) then
    errors.raise("ArgumentError", "%s: the target must be a class, its name or a function that returns it, got %s", call,
      target == nil and "nil" or kind)
  end
end

--- Declares a link to another class; see the manual's chapter on relationships.
---@param target any class, class name, or function returning the class
---@param options? table the names in OPTIONS above; docs/relationships.md says what each does
---@return orrery.Relationship
function relationship.relationship(target, options)
  check_target(target, "relationship()")
  options = errors.check_options(options, OPTIONS, "relationship()")
  if options.back_populates and options.backref then
    errors.raise("ArgumentError", "relationship(): give back_populates or backref, not both")
  end
  order = schema.next_order()
  return setmetatable({ target = target, options = options, order = order }, metatable)
end

local BACKREF = "orrery.backref"

--- The name and options of the other side, for relationship{ backref = backref("name", {...}) }.
---@param name string
---@param options? table
function relationship.backref(name, options)
  if type(name) ~= "string" then
    errors.raise("ArgumentError", "backref(): a name expected, got %s", errors.show(name))
  end
  return { kind = BACKREF, name = name, options = errors.check_options(options, OPTIONS, "backref()") }
end

--- "Portfolio.investments"
function Relationship:describe()
  return self.parent.name .. "." .. self.key
end

-- ---- options read once the classes are known ----

local function read_cascade(self)
  local set, text = {}, self.options.cascade or "save-update, merge"
  for word in text:gmatch("[^,%s]+") do
    if word == "all" then
      for _, one in ipairs(ALL) do
        set[one] = true
      end
    elseif word == "none" then
      set = {}
    elseif CASCADES[word] then
      set[word] = true
    else
      errors.raise("ArgumentError", "%s: unknown cascade '%s'%s", self:describe(), word,
        errors.hint(word, errors.sorted_keys(CASCADES)))
    end
  end
  if self.options.viewonly then
    set = {}
  end
  return set
end

local function resolve_target(self)
  local target = self.target
  if type(target) == "function" then
    target = target()
    check_target(target, self:describe())
  end
  if type(target) == "string" then
    return self.parent.registry:find(target, self:describe())
  end
  return relationship.mapper_of(target)
end

local function resolve_secondary(self)
  local secondary = self.options.secondary
  if type(secondary) == "function" then
    secondary = secondary()
  end
  if type(secondary) == "string" then
    local tables = self.parent.registry.metadata.tables
    local found = rawget(tables, secondary)
    if not found then
      errors.raise("InvalidRequestError", "%s: secondary names the table '%s', which is not declared%s", self:describe(),
        secondary, errors.hint(secondary, errors.sorted_keys(tables)))
    end
    return found
  elseif secondary ~= nil and not schema.is_table(secondary) then
    local mark = getmetatable(secondary)
    local mapper = type(mark) == "table" and mark.__mapper
    if not mapper then
      errors.raise("ArgumentError", "%s: secondary must be a table or its name, got %s", self:describe(), type(secondary))
    end
    return mapper.table
  end
  return secondary
end

-- A late argument names columns: "Book.author_id", "author_id" (of the class that has the relationship), a column, an
-- array, or a function that returns these.
local function late_columns(self, argument, option, list)
  if type(argument) == "function" then
    return late_columns(self, argument(), option, list)
  elseif type(argument) == "string" then
    list[#list + 1] = relationship.find_column(self, argument, option)
  elseif expression.is_element(argument) then
    list[#list + 1] = argument
  elseif type(argument) == "table" then
    for _, one in ipairs(argument) do
      late_columns(self, one, option, list)
    end
  else
    errors.raise("ArgumentError", "%s: %s must be columns or their names, got %s", self:describe(), option, type(argument))
  end
  return list
end

--- The column that a name in a late argument stands for.
function relationship.find_column(self, name, option)
  local class_name, key = name:match("^([%w_]+)%.([%w_]+)$")
  local mapper = class_name and (self.parent.registry.classes[class_name]) or self.parent
  if class_name and mapper == self.parent and class_name ~= self.parent.name then
    local tbl = rawget(self.parent.registry.metadata.tables, class_name)
    if tbl then
      return tbl.c[key]
    end
    self.parent.registry:find(class_name, self:describe() .. ": " .. option)
  end
  local attribute = mapper.attributes[key or name]
  if not attribute then
    errors.raise("ArgumentError", "%s: %s names '%s', which '%s' does not have%s", self:describe(), option, name, mapper.name,
      errors.hint(key or name, mapper.column_keys))
  end
  return attribute
end

local function base_column(node)
  return node.origin or node
end

local function places(self, option)
  local argument = self.options[option]
  if argument == nil then
    return nil
  end
  local list = {}
  for position, node in ipairs(late_columns(self, argument, option, {})) do
    local column = base_column(node)
    list[position] = { column.table.id, column.position }
  end
  return list
end

-- ---- the question to the core ----

local function list_wish(self)
  return self.options.uselist
end

--- Finds target, direction and columns; `answer` is what the core's relate() gives.
function Relationship:resolve()
  if self.answer then
    return
  end
  self.mapper = resolve_target(self)
  self.cascade = read_cascade(self)
  self.secondary = resolve_secondary(self)
  if self.mapper.registry.metadata ~= self.parent.registry.metadata then
    errors.raise("ArgumentError", "%s: '%s' belongs to another declarative base, with other tables", self:describe(),
      self.mapper.name)
  end
  self.near, self.far = self.parent.table, self.mapper.table
  local answer = self.near.metadata.handle:relate{
    parent = self.near.id,
    target = self.far.id,
    secondary = self.secondary and self.secondary.id,
    foreign_keys = places(self, "foreign_keys"),
    remote_side = places(self, "remote_side"),
    uselist = list_wish(self),
    class = self.parent.name, attribute = self.key, target_class = self.mapper.name,
  }
  self.direction, self.uselist = answer.direction, answer.uselist
  self:check()
  self.answer = answer
end

--- Checks options that depend on the direction.
function Relationship:check()
  local lazy = self.options.lazy or "select"
  if not LAZY[lazy] then
    errors.raise("ArgumentError", "%s: lazy = %s is not known%s", self:describe(), errors.show(lazy),
      errors.hint(lazy, errors.sorted_keys(LAZY)))
  end
  self.lazy = lazy
  if self.cascade["delete-orphan"] and self.direction ~= "onetomany" and not self.options.single_parent then
    errors.raise("ArgumentError", "%s: cascade 'delete-orphan' belongs on the one-to-many side: the foreign key stands in "
      .. "'%s', so '%s' is the side with many parents; put it on the other side, or set single_parent = true",
      self:describe(), self.direction == "manytoone" and self.parent.table.name or self.secondary.name, self.parent.name)
  end
end

-- ---- the two sides ----

local function backref_of(self)
  local backref = self.options.backref
  if type(backref) == "string" then
    return backref, {}
  elseif type(backref) == "table" and backref.kind == BACKREF then
    return backref.name, backref.options
  end
  errors.raise("ArgumentError", "%s: backref must be a name or backref(\"name\", {...})", self:describe())
end

--- Declares the other side that a backref asks for; the mapper that gets it, or nil.
function Relationship:add_backref()
  if not self.options.backref or self.back_populates then
    return
  end
  local name, given = backref_of(self)
  local target = resolve_target(self)
  if target.configured then
    errors.raise("InvalidRequestError", "%s: backref '%s' comes too late, '%s' is in use already; declare this class before the "
      .. "first object or query, or use back_populates on both sides", self:describe(), name, target.name)
  end
  local options = { back_populates = self.key, secondary = self.options.secondary,
    foreign_keys = self.options.foreign_keys, viewonly = self.options.viewonly }
  for key, value in pairs(given) do
    options[key] = value
  end
  if target == self.parent and not self.options.secondary and options.remote_side == nil then
    options.remote_side = self:opposite_side()
  end
  if target.attributes[name] or target.relationships_by_key[name] then
    errors.raise("ArgumentError", "%s: backref '%s' would replace '%s.%s'; choose another name, or declare both sides with "
      .. "back_populates", self:describe(), name, target.name, name)
  end
  local other = relationship.relationship(self.parent.class, options)
  self.back_populates = name
  target:add_relationship(name, other)
  other.back_populates = self.key
end

--- For a self-reference: the columns that the other end has on its far side.
function Relationship:opposite_side()
  self:resolve()
  local columns = {}
  for position, pair in ipairs(self.answer.pairs) do
    columns[position] = self.near.columns[pair[1]]
  end
  return columns
end

--- Finds the relationship that back_populates names, and has the core check that both are one thing.
function Relationship:pair()
  local name = self.options.back_populates or self.back_populates
  if not name then
    return
  end
  local other = self.mapper.relationships_by_key[name]
  if not other then
    local names = {}
    for _, one in ipairs(self.mapper.relationships) do
      names[#names + 1] = one.key
    end
    errors.raise("InvalidRequestError", "%s: back_populates names '%s.%s', and '%s' has no such relationship%s",
      self:describe(), self.mapper.name, name, self.mapper.name,
      #names > 0 and errors.hint(name, names) or "; declare it there, or use backref")
  end
  local back = other.options.back_populates or other.back_populates
  if back ~= self.key then
    errors.raise("InvalidRequestError", "%s: back_populates names '%s', which %s; write { back_populates = \"%s\" } there",
      self:describe(), other:describe(), back and ("points back to '" .. back .. "'") or "does not point back", self.key)
  end
  other:resolve()
  if other.mapper ~= self.parent then
    errors.raise("InvalidRequestError", "%s: back_populates names '%s', which leads to '%s', not back to '%s'",
      self:describe(), other:describe(), other.mapper.name, self.parent.name)
  end
  self.parent.table.metadata.handle:pair(self.answer, other.answer)
  self.reverse = other
end

-- ---- order_by ----

local function late_elements(self, argument, list)
  if type(argument) == "function" then
    return late_elements(self, argument(), list)
  elseif type(argument) == "string" then
    local name = argument:find(".", 1, true) and argument or self.mapper.name .. "." .. argument
    local class_name, key = name:match("^([%w_]+)%.([%w_]+)$")
    local mapper = class_name and self.parent.registry:find(class_name, self:describe() .. ": order_by")
    if not mapper or not mapper.attributes[key] then
      errors.raise("ArgumentError", "%s: order_by names '%s', which '%s' does not have%s", self:describe(), argument,
        self.mapper.name, errors.hint(key or argument, self.mapper.column_keys))
    end
    list[#list + 1] = mapper:attribute(key)
  elseif expression.is_element(argument) then
    list[#list + 1] = argument
  elseif type(argument) == "table" then
    for _, one in ipairs(argument) do
      late_elements(self, one, list)
    end
  else
    errors.raise("ArgumentError", "%s: order_by must be columns or their names, got %s", self:describe(), type(argument))
  end
  return list
end

--- The expressions by which a collection is ordered.
function Relationship:order_elements()
  return self.options.order_by == nil and {} or late_elements(self, self.options.order_by, {})
end

-- ---- in queries ----

local attribute_metatable = { __metatable = { __name = "orrery.relationship_attribute", __relationship = true } }
local Attribute = {}
attribute_metatable.__index = Attribute

--- The class-level attribute Portfolio.investments: for joins, loader options, and conditions with any() and has().
---@param source? table where the class is read from an alias
function Relationship:attribute(source)
  if source then
    return setmetatable({ property = self, key = self.key, class = self.parent.class, source = source }, attribute_metatable)
  end
  if not self.attribute_object then
    self.attribute_object = setmetatable({ property = self, key = self.key, class = self.parent.class }, attribute_metatable)
  end
  return self.attribute_object
end

function attribute_metatable.__tostring(attribute)
  return attribute.property:describe()
end

local function all_of(conditions)
  return expression.and_(unpack(conditions))
end

-- left = right for each pair of positions; each side is a table, or an alias of it.
local function equalities(pairs_list, left, right)
  local conditions = {}
  for _, pair in ipairs(pairs_list) do
    conditions[#conditions + 1] = left.columns[pair[1]]:eq(right.columns[pair[2]])
  end
  return conditions
end

--- The joins that lead from the class to the target.
---@param target? table an alias (or entity) in the target's place
---@param parent? table an alias in the place of the class's own table
---@param secondary? table an alias in the link table's place
---@return table[] steps { table =, on =, entity = }
function Relationship:join_steps(target, parent, secondary)
  local entity = target and target.visit == "entity" and target or nil
  target = entity and entity.table or target or self.far
  parent, secondary = parent or self.near, secondary or self.secondary
  local answer = self.answer
  if self.direction ~= "manytomany" then
    return { { table = target, on = all_of(equalities(answer.pairs, parent, target)), entity = entity or self.mapper:entity() } }
  end
  return {
    { table = secondary, on = all_of(equalities(answer.secondary_pairs, parent, secondary)) },
    { table = target, on = all_of(equalities(answer.target_pairs, target, secondary)), entity = entity or self.mapper:entity() },
  }
end

attribute_metatable.__metatable.__join = function(attribute, target)
  return attribute.property:join_steps(target, attribute.source)
end

-- EXISTS (SELECT 1 FROM target WHERE it belongs to the object AND criterion). A class that is related to itself needs
-- the inner one under another name, which the criterion cannot know: there only the bare question can be asked.
local function exists(attribute, criterion, call)
  local property = attribute.property
  local target = property.far
  if target == (attribute.source or property.near) then
    target = selectable.alias(target)
    if criterion ~= nil then
      errors.raise("ArgumentError", "%s:%s(): a criterion on a class that is related to itself is ambiguous; join "
        .. "orm.aliased(%s) instead", property:describe(), call, property.mapper.name)
    end
  end
  local conditions = {}
  for _, step in ipairs(property:join_steps(target, attribute.source)) do
    conditions[#conditions + 1] = step.on
  end
  if criterion ~= nil then
    conditions[#conditions + 1] = expression.expect(criterion, property:describe() .. ":" .. call .. "()", 1)
  end
  local inner = statement.select(functions.literal_column("1")):where(unpack(conditions))
  return functions.exists(inner:correlate(attribute.source or property.near))
end

--- Whether the collection has an object (that fits a criterion): User.posts:any(Post.title:eq("x")).
---@param criterion? table
function Attribute:any(criterion)
  if not self.property.uselist then
    errors.raise("InvalidRequestError", "%s:any() is for collections; this side holds one object, use has()",
      self.property:describe())
  end
  return exists(self, criterion, "any")
end

--- Whether there is an object (that fits a criterion): Post.author:has(User.name:eq("x")).
---@param criterion? table
function Attribute:has(criterion)
  if self.property.uselist then
    errors.raise("InvalidRequestError", "%s:has() is for single objects; this side is a collection, use any()",
      self.property:describe())
  end
  return exists(self, criterion, "has")
end

-- ---- for the core ----

local function column_pairs(list, result, mapper, near)
  for _, pair in ipairs(list) do
    result[#result + 1] = { mapper:number_of_column(near.columns[pair[1]]), pair[2] }
  end
  return result
end

--- What core.configure wants to know of this relationship.
function Relationship:spec()
  local answer = self.answer
  local spec = {
    target = self.mapper.class,
    direction = DIRECTIONS[self.direction],
    list = self.uselist,
    save_update = self.cascade["save-update"],
    viewonly = self.options.viewonly,
    load_old = self.direction == "onetomany",
    orphans = self.cascade["delete-orphan"],
    sync_keys = self.direction == "onetomany" and self.options.passive_updates == false,
    events = self.parent:is_heard(self.key),
    reverse = self.reverse and self.mapper:relationship_number(self.reverse),
    id = self.id,
    second = self.second,
    group = self.secondary and relationship.group_of(self.secondary),
  }
  if self.direction == "manytomany" then
    spec.pairs = column_pairs(answer.secondary_pairs, {}, self.parent, self.near)
    spec.own = #spec.pairs
    column_pairs(answer.target_pairs, spec.pairs, self.mapper, self.far)
  else
    spec.pairs = {}
    for position, pair in ipairs(answer.pairs) do
      spec.pairs[position] = { self.parent:number_of_column(self.near.columns[pair[1]]),
        self.mapper:number_of_column(self.far.columns[pair[2]]) }
    end
  end
  return spec
end

--- Numbers a pair of sides, so that both report one link row: the side that was declared first comes first in it.
function Relationship:number(next_id)
  if self.id then
    return false
  end
  self.id, self.second = next_id, false
  if self.reverse and self.reverse ~= self then
    self.reverse.id, self.reverse.second = next_id, true
  end
  return true
end

return relationship
