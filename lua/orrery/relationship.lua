--- relationship: what a script says of the link between two classes, and what follows from it: target, direction, the
-- other side, and what it is in queries. By which columns it joins is found by relation_columns.lua; what it holds is the
-- instance's matter (linklib.c).
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local functions = import "functions"
local hierarchy = import "hierarchy"
local schema = import "schema"
local statement = import "statement"
local joincondition = import "joincondition"
local adapting = reading.later "adapting"
local collection = import "collection"
local late = reading.later "late"
local relationship_options = reading.later "relationship_options"
local relation_columns = reading.later "relation_columns"

local relationship = {}
local unpack = table.unpack or unpack
local base_column = joincondition.base

local DIRECTIONS = { onetomany = 0, manytoone = 1, manytomany = 2 }

--- The loading strategies by the words of `lazy`; eager.lua fills them in.
relationship.strategies = {}

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

-- The entity that orm.aliased(Class) stands for, or nil.
local function aliased_entity(target)
  local mark = getmetatable(target)
  local node = type(mark) == "table" and mark.__name == "orrery.aliased" and mark.__clause(target)
  return node or nil
end

local function check_target(target, call)
  local kind = type(target)
  if kind ~= "string" and kind ~= "function" and not core.is_class(target) and not aliased_entity(target) then
    errors.raise("ArgumentError", "%s: the target must be a class, its name or a function that returns it, got %s", call,
      target == nil and "nil (a class that is declared further down is given by its name, as a string)" or kind)
  end
end

--- Declares a link to another class; see the manual's chapter on relationships.
---@param target any class, class name, or function returning the class
---@param options? table the names in OPTIONS above; docs/relationships.md says what each does
---@return orrery.Relationship
function relationship.relationship(target, options)
  check_target(target, "relationship()")
  options = relationship_options.check(options, "relationship()")
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
  return { kind = BACKREF, name = name, options = relationship_options.check(options, "backref()") }
end

--- "Portfolio.investments"
function Relationship:describe()
  return self.parent.name .. "." .. self.key
end

-- ---- options read once the classes are known ----

-- The mapper that it leads to, and the entity where that is read from something else than its table (orm.aliased).
local function resolve_target(self)
  local target = self.target
  if type(target) == "function" then
    target = target()
    check_target(target, self:describe())
  end
  if type(target) == "string" then
    return self.parent.registry:find(target, self:describe())
  end
  local entity = aliased_entity(target)
  self.aliased = entity and target
  return entity and entity.mapper or relationship.mapper_of(target), entity
end

--- What the target's columns are read from: its table, or the join of those that it spreads over, or what stands for it
--- (orm.aliased).
function Relationship:source()
  return self.entity and self.entity.table or hierarchy.selectable(self.mapper)
end

--- The entity whose rows its objects are made of.
function Relationship:target_entity()
  return self.entity or self.mapper:entity()
end

--- Finds target, direction and columns. `answer` is what the core's relate() gives, `condition` a joincondition.
function Relationship:resolve()
  if self.answer then
    return
  end
  self.mapper, self.entity = resolve_target(self)
  self.cascade = relationship_options.cascade(self)
  self.secondary = relation_columns.secondary(self)
  if self.mapper.registry.metadata ~= self.parent.registry.metadata then
    errors.raise("ArgumentError", "%s: '%s' belongs to another declarative base, with other tables", self:describe(),
      self.mapper.name)
  end
  self.near, self.far = self.parent.table, self.mapper.table
  local answer, condition = relation_columns.find(self)
  self.condition = condition
  self.direction, self.uselist = answer.direction, answer.uselist
  self:check()
  self.collection = collection.of(self)
  self.answer = answer
end

--- Checks options that depend on the direction.
function Relationship:check()
  local lazy = self.options.lazy or "select"
  if not relationship.strategies[lazy] then
    errors.raise("ArgumentError", "%s: lazy = %s is not known%s", self:describe(), errors.show(lazy), lazy == "dynamic"
      and "; collections that are asked by statements are lazy = \"write_only\"" or
      errors.hint(tostring(lazy), errors.sorted_keys(relationship.strategies)))
  end
  self.lazy = lazy
  if lazy == "write_only" and not self.uselist then
    errors.raise("ArgumentError", "%s: lazy = \"write_only\" is for collections, and this side holds one object",
      self:describe())
  end
  if self.cascade["delete-orphan"] and self.direction ~= "onetomany" and not self.options.single_parent then
    errors.raise("ArgumentError", "%s: cascade 'delete-orphan' belongs on the one-to-many side: the foreign key stands in "
      .. "'%s', so '%s' is the side with many parents; put it on the other side, or set single_parent = true",
      self:describe(), self.direction == "manytoone" and self.parent.table.name or self.secondary.name, self.parent.name)
  elseif self.direction == "manytomany" and self.options.sync_backref == false then
    errors.raise("ArgumentError", "%s: sync_backref = false on a many-to-many: both sides write the rows of '%s'; set viewonly = "
      .. "true on one of them", self:describe(), self.secondary.name)
  elseif self.options.passive_deletes == "all" and (self.cascade.delete or self.cascade["delete-orphan"]) then
    errors.raise("ArgumentError", "%s: passive_deletes = \"all\" leaves the deleted object's %s to the database altogether, and "
      .. "cascade = %s deletes them; passive_deletes = true does both", self:describe(), self.key,
      errors.show(self.options.cascade))
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

-- For a self-reference: the columns that the other end has on its far side.
local function opposite_side(self)
  self:resolve()
  local columns = {}
  for position, pair in ipairs(self.condition.pairs) do
    columns[position] = pair[1]
  end
  return columns
end

-- The columns of a late argument, for the other side: names in it are of this class.
local function mirrored_columns(self, option)
  return self.options[option] ~= nil and function()
    self:resolve()
    local columns, mirrored = late.columns(self, self.options[option], option, {}), {}
    for position, column in ipairs(columns) do
      mirrored[self.options.secondary and #columns + 1 - position or position] = base_column(column)
    end
    return mirrored
  end or nil
end

-- The condition seen from the other side: what is remote here is near there.
local function mirrored_join(self, option)
  return self.options[option] ~= nil and function()
    self:resolve()
    local node = late.condition(self, option)
    return self.options.secondary and node or joincondition.reversed(node)
  end or nil
end

-- What a backref takes over from the side that declares it.
local function mirrored_options(self, target, given)
  local through = self.options.secondary ~= nil
  local options = { back_populates = self.key, secondary = self.options.secondary, viewonly = self.options.viewonly,
    foreign_keys = mirrored_columns(self, "foreign_keys"),
    primaryjoin = mirrored_join(self, through and "secondaryjoin" or "primaryjoin"),
    secondaryjoin = mirrored_join(self, through and "primaryjoin" or "secondaryjoin") }
  for key, value in pairs(given) do
    options[key] = value
  end
  if hierarchy.base(target) == hierarchy.base(self.parent) and not through and options.remote_side == nil then
    options.remote_side = function() return opposite_side(self) end
  end
  return options
end

--- Declares the other side that a backref asks for; the mapper that gets it, or nil.
function Relationship:add_backref()
  if not self.options.backref or self.back_populates then
    return
  end
  local name, given = backref_of(self)
  local target = (resolve_target(self))
  if target.configured then
    errors.raise("InvalidRequestError", "%s: backref '%s' comes too late, '%s' is in use already; declare this class before the "
      .. "first object or query, or use back_populates on both sides", self:describe(), name, target.name)
  end
  local options = mirrored_options(self, target, given)
  if target.attributes[name] or target.relationships_by_key[name] then
    errors.raise("ArgumentError", "%s: backref '%s' would replace '%s.%s'; choose another name, or declare both sides with "
      .. "back_populates", self:describe(), name, target.name, name)
  end
  local other = relationship.relationship(self.parent.class, options)
  self.back_populates = name
  target:add_relationship(name, other)
  other.back_populates = self.key
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

-- ---- the order of a collection ----

--- The expressions by which a collection is ordered.
---@param source? table an alias in the target's place
function Relationship:order_elements(source)
  local elements = self.options.order_by == nil and {} or late.elements(self, self.options.order_by, {})
  source = source or self:source()
  if source ~= hierarchy.selectable(self.mapper) then
    for position, element in ipairs(elements) do
      elements[position] = self:placed(element, source)
    end
  end
  return elements
end

--- An expression about the target, read from an alias in its place.
---@param element table
---@param source table
function Relationship:placed(element, source)
  return joincondition.map(element, function(column)
    local base = joincondition.base(column)
    local own = column.table == self:source() or column.table == base.table and self.mapper:number_of_column(base)
    return own and joincondition.on(source, base) or nil
  end)
end

-- ---- in queries ----

local attribute_metatable = { __metatable = { __name = "orrery.relationship_attribute", __relationship = true } }
local Attribute = {}
attribute_metatable.__index = errors.guard(Attribute, "a relationship", nil, function(key)
  return not errors.nearest(key, errors.sorted_keys(Attribute)) and "what its objects have is asked by a condition, "
    .. "User.posts:any(Post.title:eq(...)) or Post.author:has(User.name:eq(...)), or after :join(User.posts)" or nil
end)
relationship.Attribute = Attribute

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

-- A subquery shows attributes: one column for a key that each table of a family has.
local function shown_column(mapper, source, column)
  local attribute = mapper.attributes[mapper.column_keys[mapper:number_of_column(column)]]
  return attribute and not pcall(joincondition.on, source, column) and attribute.origin or column
end

--- The joins that lead from the class to the target.
---@param target? table an alias (or entity) in the target's place
---@param parent? table what the class is read from, where it is not its own table
---@param secondary? table an alias in the link table's place
---@return table[] steps { table =, on =, entity = }
function Relationship:join_steps(target, parent, secondary)
  local entity = target and target.visit == "entity" and target or target == nil and self:target_entity() or nil
  target = entity and entity.table or target
  parent, secondary = parent or hierarchy.selectable(self.parent), secondary or self.secondary
  local first, second = joincondition.between(self.condition, { parent = parent, target = target, secondary = secondary,
    own = parent.visit == "subquery" and function(column) return shown_column(self.parent, parent, column) end or nil })
  local reached = self.secondary and second or first
  reached[#reached + 1] = entity and entity.criterion and entity.criterion()
  local last = { table = target, on = all_of(self.secondary and second or first), entity = entity or self.mapper:entity() }
  return self.secondary and { { table = secondary, on = all_of(first) }, last } or { last }
end

--- The conditions of and_() on what the target is read from, with others in front.
---@param criteria? table[]
---@param source table
---@param first? table
---@return table? condition nil where there is none
function Relationship:with_criteria(criteria, source, first)
  local list = { first }
  for _, element in ipairs(criteria or {}) do
    list[#list + 1] = adapting.moved(element, self:source(), source, function(column)
      return joincondition.on(source, column)
    end)
  end
  return list[1] and all_of(list)
end

attribute_metatable.__metatable.__join = function(attribute, target)
  local steps = attribute.property:join_steps(target or attribute.target, attribute.source)
  local last = steps[#steps]
  last.on = attribute.property:with_criteria(attribute.criteria, last.table, last.on)
  return steps
end

-- EXISTS (SELECT 1 FROM target WHERE it belongs to the object AND criterion). Of a class that is related to itself the
-- inner one stands under another name, and the criterion is about that one.
local function exists(attribute, criterion, call)
  local property = attribute.property
  local outer, target = attribute.source or property.near, attribute.target or property:target_entity()
  local names = type(criterion) == "table" and not getmetatable(criterion) and criterion
  if names then
    criterion = nil
  elseif criterion ~= nil then
    criterion = expression.expect(criterion, property:describe() .. ":" .. call .. "()", 1)
  end
  if hierarchy.reads(target.table, outer) or hierarchy.reads(target.table, property.near) then
    target = relationship.alias_entity(target)
    criterion = criterion and property:placed(criterion, target.table)
  end
  criterion = names and all_of(statement.equalities(target, names)) or criterion
  local conditions = {}
  for _, step in ipairs(property:join_steps(target, attribute.source)) do
    conditions[#conditions + 1] = step.on
  end
  conditions[#conditions + 1] = property:with_criteria(attribute.criteria, target.table, criterion)
  local inner = statement.select(functions.literal_column("1"))
  inner = (target.table.members and inner:select_from(target.table) or inner):where(unpack(conditions))
  return functions.exists(inner:correlate(hierarchy.member(outer, property.near)))
end

--- The relationship as it leads to a subclass only, Company.employees:of_type(Manager): for join(), any(), has() and loader
--- options.
---@param class any the subclass, or what aliased() or with_polymorphic() made of one
function Attribute:of_type(class)
  local entity, property = expression.clause(class), self.property
  if not entity or entity.visit ~= "entity" or not hierarchy.is_a(entity.mapper, property.mapper) then
    errors.raise("ArgumentError", "%s:of_type() takes '%s' or a class that inherits from it, got %s", property:describe(),
      property.mapper.name, entity and entity.name or errors.show(class))
  end
  return setmetatable({ property = property, key = self.key, class = self.class, source = self.source, target = entity,
    criteria = self.criteria }, attribute_metatable)
end

--- The relationship to those objects only that fit conditions, too, User.posts:and_(Post.title:like("a%")): for join(), any(),
--- has() and loader options.
---@param ... table conditions on the target
function Attribute:and_(...)
  local criteria, call = { unpack(self.criteria or {}) }, self.property:describe() .. ":and_()"
  if select("#", ...) == 0 then
    errors.raise("ArgumentError", "%s needs a condition", call)
  end
  for position = 1, select("#", ...) do
    criteria[#criteria + 1] = expression.expect_operand((select(position, ...)), call, position)
  end
  return setmetatable({ property = self.property, key = self.key, class = self.class, source = self.source,
    target = self.target, criteria = criteria }, attribute_metatable)
end

--- Whether the collection has an object (that fits a criterion): User.posts:any(Post.title:eq("x")), :any{ title = "x" }.
---@param criterion? table
function Attribute:any(criterion)
  if not self.property.uselist then
    errors.raise("InvalidRequestError", "%s:any() is for collections; this side holds one object, use has()",
      self.property:describe())
  end
  return exists(self, criterion, "any")
end

--- Whether there is an object (that fits a criterion): Post.author:has(User.name:eq("x")), :has{ name = "x" }.
---@param criterion? table
function Attribute:has(criterion)
  if self.property.uselist then
    errors.raise("InvalidRequestError", "%s:has() is for single objects; this side is a collection, use any()",
      self.property:describe())
  end
  return exists(self, criterion, "has")
end

-- ---- for the core ----

local function attribute_number(self, mapper, column)
  local number = mapper:number_of_column(joincondition.base(column))
  if not number then
    errors.raise("ArgumentError", "%s joins by the column '%s', which '%s' does not map", self:describe(),
      expression.describe(joincondition.base(column)), mapper.name)
  end
  return number
end

-- This class's columns and the target's; many-to-many: both classes' columns and the link row's.
local function core_pairs(self, spec)
  local condition, list = self.condition, {}
  for position, pair in ipairs(condition.pairs) do
    list[position] = { attribute_number(self, self.parent, pair[1]),
      condition.links and joincondition.base(pair[2]).position or attribute_number(self, self.mapper, pair[2]) }
  end
  spec.own = #list
  for _, pair in ipairs(condition.links or {}) do
    list[#list + 1] = { attribute_number(self, self.mapper, pair[1]), joincondition.base(pair[2]).position }
  end
  return list
end

--- Whether the foreign key may be written by a statement of its own, after all rows are there: either side may say so.
---@return boolean
function Relationship:posts_update()
  return (self.options.post_update or (self.reverse and self.reverse.options.post_update)) == true
end

-- The columns of the link table that are foreign keys of either side, as a set.
local function link_keys(self)
  local keys = {}
  for _, pairs_list in ipairs({ self.condition.pairs, self.condition.links }) do
    for _, pair in ipairs(pairs_list) do
      keys[base_column(pair[2])] = true
    end
  end
  return keys
end

-- Whether a link stands once in its table, by the primary key of that, and the relationship has every link of an object.
local function knows_all_links(self)
  if not schema.is_table(self.secondary) or self.condition.rest ~= nil or self.entity or self.mapper.inherits
    or self.lazy == "write_only" or self.reverse == self then
    return false
  end
  local keys = link_keys(self)
  for _, column in ipairs(self.secondary.primary_key) do
    if not keys[column] then
      return false
    end
  end
  return self.secondary.primary_key[1] ~= nil
end

--- The columns of a link table that get a value of their own in each row.
---@return orrery.Column[]
function Relationship:link_defaults()
  local list = {}
  if not schema.is_table(self.secondary) or self.options.viewonly then
    return list
  end
  local keys = link_keys(self)
  for _, column in ipairs(self.secondary.columns) do
    if column.default ~= nil and not keys[column] then
      if expression.is_element(column.default) then
        errors.raise("ArgumentError", "%s: the default of the link table's column '%s' is an SQL expression; give it as "
          .. "server_default", self:describe(), expression.describe(column))
      end
      list[#list + 1] = column
    end
  end
  return list
end

-- Whether the object that gives way to another has to be loaded first: its row changes, too, or its link has to go.
local function must_know_former(self)
  return self.direction == "onetomany" or (self.direction == "manytomany" and not self.uselist) or self.options.active_history
    or self.cascade["delete-orphan"]
end

--- What core.configure wants to know of this relationship.
---@param mapper orrery.Mapper the class, or one that inherits from it
function Relationship:spec(mapper)
  local condition, options = self.condition, self.options
  local synced = self.reverse and options.sync_backref ~= false and not options.viewonly and not self.reverse.options.viewonly
    and self.reverse
  local spec = {
    target = self.mapper.class,
    direction = DIRECTIONS[self.direction],
    list = self.uselist,
    save_update = self.cascade["save-update"],
    viewonly = options.viewonly,
    load_old = must_know_former(self),
    orphans = self.cascade["delete-orphan"],
    single_parent = options.single_parent,
    post_update = self:posts_update(),
    sync_keys = self.direction == "onetomany" and options.passive_updates == false,
    leaves = options.passive_deletes == "all",
    wipes = knows_all_links(self),
    deletes = self.cascade.delete,
    passive = options.passive_deletes,
    defaults = #self:link_defaults() > 0,
    criteria = condition.rest ~= nil or self.entity ~= nil,
    set = self.collection and self.collection.form == "set",
    keyed = self.collection and self.collection.form == "keyed",
    events = mapper:is_heard(self.key),
    asks = relationship.strategies[self.lazy].asks,
    write_only = self.lazy == "write_only",
    reverse = synced and self.mapper:relationship_number(synced) or nil,
    id = self.id,
    second = synced and self.second,
    group = schema.is_table(self.secondary) and relationship.group_of(self.secondary) or nil,
    near_group = relationship.group_of(self.near), far_group = relationship.group_of(self.far),
  }
  spec.pairs = core_pairs(self, spec)
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
