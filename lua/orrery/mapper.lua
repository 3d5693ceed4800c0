--- mapper: what Orrery knows of one mapped class: its table, its attributes and relationships in order, and how all of
-- that becomes the core's class when it is first needed. How a class is declared is declarative.lua's.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local event = import "event"
local expression = import "expression"
local hierarchy = import "hierarchy"
local entity = import "entity"
local registry = import "registry"
local statement = import "statement"
local relationship = import "relationship"
local overlap = reading.later "overlap"

local mapper = {}

---@class orrery.Mapper
---@field name string
---@field class userdata
---@field table table
---@field registry orrery.Registry
---@field attributes table<string, table> class-level column expressions by key
---@field column_keys string[]
---@field relationships orrery.Relationship[]
---@field relationships_by_key table<string, orrery.Relationship>
---@field methods table<string, any>
---@field inherits? orrery.Mapper
---@field concrete boolean its rows are no rows of the class that it inherits from
---@field children orrery.Mapper[]
---@field own_keys string[] columns that it does not inherit
local Mapper = {}
local metatable = { __index = Mapper }

local MAX_KEY = 32 -- as ORR_MAX_KEY

--- The mapper of a class, or an error that names what was given instead.
---@param class any
---@param call? string
---@return orrery.Mapper
function mapper.of(class, call)
  local mark = getmetatable(class)
  local found = type(mark) == "table" and mark.__mapper
  if not found then
    errors.raise("UnmappedClassError", "%s: a mapped class expected, got %s", call or "orrery",
      core.class_of(class) and "an object of one" or errors.show(class))
  end
  return found
end
relationship.mapper_of = mapper.of

--- The mapper of an object's class, or nil.
---@param object any
---@return orrery.Mapper?
function mapper.of_object(object)
  local class = core.class_of(object)
  return class and getmetatable(class).__mapper
end

--- A mapper for a new class; `instance_meta` is the metatable of its objects.
---@param fields table name, class, registry, table, methods, instance_meta
function mapper.new(fields)
  local self = setmetatable(fields, metatable)
  self.attributes, self.column_keys, self.key_by_column = {}, {}, {}
  self.mixins = {}
  self.arguments, self.attribute_dispatch, self.validators = {}, {}, {}
  self.relationships, self.relationships_by_key, self.configured = {}, {}, false
  self.own_keys, self.own_relationships, self.children = self.column_keys, self.relationships, {}
  return self
end

--- Makes a mapper inherit from another one; before it gets columns.
---@param parent orrery.Mapper
---@param concrete boolean
function Mapper:inherit(parent, concrete)
  self.inherits, self.concrete = parent, concrete
  parent.children[#parent.children + 1] = self
  if concrete then
    return
  end
  self.own_keys, self.own_relationships = {}, {}
  hierarchy.lay_out(self)
  hierarchy.grow(self)
  self.read_from = function() return hierarchy.selectable(self) end
  self.criterion_of = function()
    self:configure()
    self.criterion_made = self.criterion_made or { hierarchy.criterion(self) }
    return self.criterion_made[1]
  end
end

--- Whether objects of this class are objects of another one.
---@param other orrery.Mapper
---@return boolean
function Mapper:is_a(other)
  return hierarchy.is_a(self, other)
end

-- ---- attributes ----

-- The class attribute User.name: an expression that stands for the column and knows its class.
-- A subquery means the class's table around it, whichever other tables stand there too.
local function correlated(self, element)
  local inner = (element.visit == "scalar" or element.visit == "exists") and element.statement
  if inner and inner.visit == "select" and not inner.correlated and not inner.inner then
    return expression.new{ visit = element.visit, statement = inner:correlate(self.table), type = element.type }
  end
  return element
end

local function attribute_of(self, key, column)
  if column.read_only then
    local element = column.expression and correlated(self, column.expression) or expression.NULL
    return expression.new{ visit = "label", name = key, key = key, element = element,
      type = column.type, origin = column, owner = self.name, class = self.class, table = self.table }
  end
  return expression.new{ visit = "column", name = column.name, key = key, type = column.type, table = column.table,
    origin = column, owner = self.name, class = self.class, from = hierarchy.above(self) and self.read_from or nil,
    criterion = self.criterion_of }
end

function Mapper:add_column(key, column)
  local other = self.key_by_column[column]
  if other then
    errors.raise("ArgumentError", "%s: '%s' and '%s' are the same column '%s'; map it once", self.name, other, key, column.name)
  end
  self.key_by_column[column] = key
  self.attributes[key] = { origin = column }
  self.own_keys[#self.own_keys + 1] = key
  hierarchy.lay_out(self)
end

--- A column of the key of a joined class: it is the attribute that the parent's key is, under this name too.
function Mapper:add_key_column(key, column)
  if not self.attributes[key] then
    self.aliases = self.aliases or {}
    self.aliases[key], self.attributes[key] = column, { origin = column }
  end
end

--- The class-level expression of a column, made when first read: until then its type may follow from a table that is
-- not declared yet.
---@param key string
function Mapper:attribute(key)
  local found = self.attributes[key]
  if found and not found.visit then
    found = attribute_of(self, key, found.origin)
    self.attributes[key] = found
  end
  return found
end

function Mapper:add_relationship(key, property)
  property.key, property.parent = key, self
  self.own_relationships[#self.own_relationships + 1] = property
  self.relationships_by_key[key] = property
  hierarchy.lay_out(self)
end

--- Attribute number of a relationship among the class's relationships, from 1.
function Mapper:relationship_number(property)
  for number, one in ipairs(self.relationships) do
    if one == property then
      return number
    end
  end
end

--- All attribute names in order: columns, then relationships, each in the order of declaration.
---@return string[]
function Mapper:attribute_names()
  local names = {}
  for number, key in ipairs(self.column_keys) do
    names[number] = key
  end
  for _, property in ipairs(self.relationships) do
    names[#names + 1] = property.key
  end
  return names
end

-- The numbers by name. A class that is in use gets no further attributes.
local function numbers_by_name(self)
  local numbers = self.attribute_numbers
  if not numbers then
    numbers = {}
    for number, name in ipairs(self:attribute_names()) do
      numbers[name] = number
    end
    self.attribute_numbers = self.configured and numbers or nil
  end
  return numbers
end

--- The number that the core knows an attribute by, or nil.
---@param key string
---@return integer?
function Mapper:number_of(key)
  local number = numbers_by_name(self)[key]
  if number then
    return number
  end
  local column = self.aliases and self.aliases[key]
  return column and self:number_of_column(column)
end

--- The attribute number of a table's column, or nil.
---@param column orrery.Column
---@return integer?
function Mapper:number_of_column(column)
  self.numbers = self.numbers or hierarchy.numbers(self)
  return self.numbers[column]
end

--- The number that the core knows a relationship of an object by.
---@param object userdata
---@param property orrery.Relationship
---@return integer
function mapper.relation_number(object, property)
  return #mapper.of_object(object).column_keys + property.parent:relationship_number(property)
end

--- Every name that an object of this class answers to.
---@return string[]
function Mapper:known_names()
  local names = self:attribute_names()
  for _, name in ipairs(errors.sorted_keys(self.methods)) do
    names[#names + 1] = name
  end
  return names
end

--- The entity node that the class stands for in statements.
function Mapper:entity()
  if not self.entity_node then
    self.registry:configure() -- classes that were declared on this one since are among those of its rows
    self.entity_node = entity.of(self)
  end
  return self.entity_node
end

-- ---- listeners ----

local ROW_EVENTS = { "before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete" }
local OBJECT_EVENTS = { "init", "load", "refresh", "expire" }
local ATTRIBUTE_EVENTS = { "set", "append", "remove", "bulk_replace" }
local owners = setmetatable({}, { __mode = "k" })

local function names_of(...)
  local names = {}
  for position = 1, select("#", ...) do
    for _, name in ipairs((select(position, ...))) do
      names[#names + 1] = name
    end
  end
  return names
end

-- "before_" or "after_", nil for events of objects
local function phase_of(name)
  return name:match("^before_") or name:match("^after_")
end

local new_dispatch = event.define("class", names_of(ROW_EVENTS, OBJECT_EVENTS), function(dispatch, name)
  local phase = phase_of(name)
  if phase then
    mapper.hears_rows[phase] = true
  else
    owners[dispatch]:hear_objects()
  end
end)
local new_attribute_dispatch = event.define("attribute", ATTRIBUTE_EVENTS, nil,
  { set = true, append = true, bulk_replace = true })

--- Whether anybody has ever listened to rows of a class, or to objects being loaded or expired: until then nobody looks.
mapper.hears_rows, mapper.hears_loads, mapper.hears_expiry = { before_ = false, after_ = false }, false, false

--- The list of listeners to a class.
function Mapper:listeners()
  if not self.dispatch then
    self.dispatch = new_dispatch()
    owners[self.dispatch] = self
  end
  return self.dispatch
end

local function is_listened_to(self, name)
  return self.dispatch ~= nil and self.dispatch[name] ~= nil or self.inherits ~= nil and is_listened_to(self.inherits, name)
end

-- Makes an object as the class does when it is called, with the listeners of "init" in between.
local function construct(self, class, fields, ...)
  local object = core.new(class)
  mapper.fire(self, "init", object, fields)
  if self.init then
    self.init(object, fields == nil and {} or fields, ...)
  elseif fields ~= nil then
    core.assign(object, fields)
  end
  return object
end

--- Has the core note, and the class tell, what becomes of its objects from now on, and of those of the classes below.
function Mapper:hear_objects()
  local load, refresh = is_listened_to(self, "load"), is_listened_to(self, "refresh")
  mapper.hears_loads = mapper.hears_loads or load or refresh
  mapper.hears_expiry = mapper.hears_expiry or is_listened_to(self, "expire")
  if self.configured then
    core.hear(self.class, load, refresh)
  end
  if is_listened_to(self, "init") and not self.arguments.polymorphic_abstract then
    self.hears_init = true
    self.class_meta.__call = function(...) return construct(self, ...) end
  end
  for _, child in ipairs(self.children) do
    child:hear_objects()
  end
end

--- Tells those who listen to a class, those of the class that it inherits from first.
---@param self orrery.Mapper
---@param name string
function mapper.fire(self, name, ...)
  if self.inherits then
    mapper.fire(self.inherits, name, ...)
  end
  if self.dispatch and self.dispatch[name] then
    event.fire(self.dispatch, name, ...)
  end
end

--- Whether changes of an attribute have to be reported.
---@param key string
function Mapper:is_heard(key)
  return self.attribute_dispatch[key] ~= nil or self.validators[key] ~= nil
    or self.inherits ~= nil and self.inherits:is_heard(key)
end

--- Has the core report the changes of an attribute from now on.
---@param key string
function Mapper:hear(key)
  if self.configured then
    core.listen(self.class, self:number_of(key))
  end
  for _, child in ipairs(self.children) do
    if child:number_of(key) then
      child:hear(key)
    end
  end
end

--- The list of listeners to an attribute.
---@param key string
function Mapper:attribute_listeners(key)
  self.attribute_dispatch[key] = self.attribute_dispatch[key] or new_attribute_dispatch()
  self:hear(key)
  return self.attribute_dispatch[key]
end

event.find_by(function(target)
  local mark = getmetatable(target)
  local found = type(mark) == "table" and mark.__mapper
  return found and found:listeners() or nil
end)

event.find_by(function(target)
  local class = type(target) == "table" and rawget(target, "class")
  if class and rawget(target, "key") and core.is_class(class) then
    return mapper.of(class):attribute_listeners(target.key)
  end
end)

local function returned(self, key, ...)
  if select("#", ...) == 0 then
    errors.raise("ArgumentError", "%s.%s: its validator returned nothing; it must return the value to assign", self.name, key)
  end
  return (...)
end

-- Those of the class that a class inherits from come first.
local function validated(self, object, key, value, removed, mirrored)
  if self.inherits then
    value = validated(self.inherits, object, key, value, removed, mirrored)
  end
  local validators = self.validators[key]
  for position = 1, validators and #validators or 0 do
    local one = validators[position]
    if removed and one.include_removes then
      one.validate(object, key, value, true)
    elseif not removed and not (mirrored and one.include_backrefs == false) then
      value = returned(self, key, one.validate(object, key, value, one.include_removes and false or nil))
    end
  end
  return value
end

local function fire_attribute(self, key, name, object, value, ...)
  if self.inherits then
    value = fire_attribute(self.inherits, key, name, object, value, ...)
  end
  local dispatch = self.attribute_dispatch[key]
  if dispatch and dispatch[name] then
    value = event.fire_value(dispatch, name, object, value, ...)
  end
  return value
end

-- The other side has decided already which object it is.
local function refuse_another(self, key, value, decided)
  if decided ~= value then
    errors.raise("InvalidRequestError", "%s.%s: the change comes from the other side of the relationship; a validator or "
      .. "listener here can refuse it by an error, not put another object in its place", self.name, key)
  end
end

-- The items of a collection or an array as an array of its own; anything else as it is, to be refused by its place.
local function array_of(value)
  if core.is_collection(value) then
    return value:to_table()
  elseif type(value) ~= "table" or getmetatable(value) then
    return value
  end
  local items = {}
  for key, item in pairs(value) do
    items[key] = item
  end
  return items
end

core.hook("attribute_event", function(object, number, value, name, mirrored)
  local self = mapper.of_object(object)
  local key, given = self.column_keys[number] or self.relationships[number - #self.column_keys].key, value
  if name == "bulk_replace" then
    return fire_attribute(self, key, name, object, array_of(value))
  end
  value = validated(self, object, key, value, name == "remove", mirrored)
  if name == "set" then
    value = fire_attribute(self, key, name, object, value, (core.peek(object, number)))
  else
    value = fire_attribute(self, key, name, object, value)
  end
  if mirrored then
    refuse_another(self, key, given, value)
  end
  return value
end)

-- ---- versions ----

-- A version is compared in every UPDATE and DELETE of a row, beside the key that finds it.
local function check_version(self, key, column)
  local problem
  if column.primary_key then
    problem = "is part of the primary key, which does not change"
  elseif self.arguments.version_id_generator == nil and column.type.kind ~= core.kinds.INTEGER then
    problem = ("is %s, which does not count; make it an Integer, or give a version_id_generator"):format(tostring(column.type))
  end
  if problem then
    errors.raise("ArgumentError", "%s.%s: the version_id_col %s", self.name, key, problem)
  end
end

--- The number of the column that counts changes of a row (__mapper_args__ = { version_id_col = "v" }), or nil.
function Mapper:version_number()
  local wanted = self.arguments.version_id_col
  if wanted == nil then
    return nil
  end
  for number, key in ipairs(self.column_keys) do
    local column = self.attributes[key].origin
    if wanted == key or wanted == column.name or wanted == column then
      check_version(self, key, column)
      return number
    end
  end
  errors.raise("ArgumentError", "%s: version_id_col names '%s', which is no column of it%s", self.name, tostring(wanted),
    errors.hint(tostring(wanted), self.column_keys))
end

local VALIDATES_OPTIONS = { include_removes = true, include_backrefs = true }

--- Runs `validator(object, key, value)` before a value is assigned to an attribute, or comes into a collection; it returns
--- what to assign. With include_removes it is also called for what leaves a collection, and told so by a fourth argument;
--- with include_backrefs = false not for changes that come from the other side of a relationship.
---@param class userdata
---@param ... any attribute names, the function, and options { include_removes: boolean, include_backrefs: boolean }
function mapper.validates(class, ...)
  local self, arguments = mapper.of(class, "validates()"), { ... }
  local count, options = select("#", ...), nil
  if type(arguments[count]) == "table" and type(arguments[count - 1]) == "function" then
    options, count = errors.check_options(arguments[count], VALIDATES_OPTIONS, "validates()"), count - 1
  end
  options = options or {}
  if type(arguments[count]) ~= "function" then
    errors.raise("ArgumentError", "validates(): the last argument is the function that checks, got %s",
      errors.show(arguments[count]))
  end
  for position = 1, count - 1 do
    local key = arguments[position]
    if not self.attributes[key] and not self.relationships_by_key[key] then
      errors.raise("ArgumentError", "validates(): %s has no attribute '%s'%s", self.name, tostring(key),
        errors.hint(tostring(key), self:attribute_names()))
    end
    self.validators[key] = self.validators[key] or {}
    table.insert(self.validators[key], { validate = arguments[count], include_removes = options.include_removes,
      include_backrefs = options.include_backrefs })
    self:hear(key)
  end
end

core.hook("version", function(class, current)
  return mapper.of(class).arguments.version_id_generator(current)
end)

-- ---- configuration ----

function Mapper:configure()
  if not self.configured then
    self.registry:configure()
  end
end

local groups = setmetatable({}, { __mode = "k" })

-- Groups order flushes: one per table, ranked by foreign keys. See unit.h.
local function group_of(tbl)
  local number = groups[tbl]
  if not number then
    local ranks, cyclic = tbl.metadata.handle:ranks()
    number = core.group(ranks[tbl.id], cyclic[tbl.id])
    groups[tbl] = number
  end
  return number
end
relationship.group_of = group_of

-- A single integer key that is no foreign key is the database's to make, as SQLAlchemy's autoincrement = "auto".
local function is_autokey(self, column)
  local key = self.table.primary_key
  if #key ~= 1 or key[1] ~= column or column.autoincrement == false then
    return false
  end
  return column.type.kind == core.kinds.INTEGER and #column.foreign_keys == 0 and column.default == nil
end

local function column_spec(self, key, column)
  local kind = column.type
  return {
    handle = kind.handle,
    key = column.primary_key,
    above = column.table ~= self.table and not column.primary_key,
    autokey = is_autokey(self, column),
    default = column.default ~= nil,
    onupdate = column.onupdate ~= nil,
    server_default = not column.read_only and (column.server_default ~= nil or column.computed ~= nil),
    computed = column.computed ~= nil,
    bind = kind.bind ~= nil,
    result = kind.result ~= nil,
    mutable = kind.mutable or false,
    deferred = column.deferred or false,
    read_only = column.read_only or false,
    events = self:is_heard(key),
  }
end

--- The attribute numbers of the primary key, in the order of its columns.
---@return integer[]
function Mapper:key_numbers()
  local numbers, tbl = {}, hierarchy.base(self).table
  for _, column in ipairs(tbl.primary_key) do
    numbers[#numbers + 1] = self:number_of_column(column)
  end
  if #numbers == 0 or #numbers > MAX_KEY then
    errors.raise("ArgumentError", "%s: the table '%s' needs a primary key of 1 to %d columns, so that a row can be one "
      .. "object; mark a column { primary_key = true }", self.name, tbl.name, MAX_KEY)
  end
  return numbers
end

local function specs_of(self, method)
  local specs = {}
  for number, property in ipairs(self.relationships) do
    specs[number] = property[method](property, self)
  end
  return specs
end

local function targets_of(self)
  local targets = {}
  for number, property in ipairs(self.relationships) do
    targets[number] = property.mapper.class
  end
  return targets
end

local function class_of(other)
  return other and other.class or nil
end

-- The further names of a joined class's key.
local function alias_numbers(self)
  local numbers = {}
  for key, column in pairs(self.aliases or {}) do
    numbers[key] = self:number_of_column(column)
  end
  return numbers
end

local function core_spec(self)
  local columns, types, defaults = {}, {}, {}
  local discriminator = hierarchy.discriminator(self)
  for number, key in ipairs(self.column_keys) do
    local column = self.attributes[key].origin
    columns[number], types[number] = column_spec(self, key, column), column.type
    defaults[number] = column.default == nil and false or column.default
  end
  if self.arguments.version_id_generator == false then -- what stands there after an update only the database knows
    columns[self:version_number()].computed = true
  end
  return {
    name = self.name, names = self:attribute_names(), columns = columns, keys = self:key_numbers(),
    relations = specs_of(self, "spec"), types = types, defaults = defaults, targets = targets_of(self),
    members = self.methods, meta = self.instance_meta, group = group_of(self.table),
    version = self:version_number(), version_hook = type(self.arguments.version_id_generator) == "function",
    aliases = alias_numbers(self), parent = class_of(hierarchy.parent(self)), above = class_of(hierarchy.above(self)),
    discriminator = discriminator and discriminator.number, identity = self.arguments.polymorphic_identity,
    rows_cascade = self.arguments.passive_deletes,
  }
end

-- What a flush has to know beforehand, noted so that it looks only where some class asks for it.
local function note_habits(self)
  mapper.any_version = mapper.any_version or self.arguments.version_id_col ~= nil
  for _, key in ipairs(self.column_keys) do
    mapper.any_onupdate = mapper.any_onupdate or self.attributes[key].origin.onupdate ~= nil
  end
  self.key_carriers = nil
  for _, property in ipairs(self.relationships) do
    if property.direction == "onetomany" and property.options.passive_updates == false then
      self.key_carriers = self.key_carriers or {}
      table.insert(self.key_carriers, property)
      mapper.any_key_carrier = true
    end
  end
end

local pair_count = 0

-- Each step runs for all classes before the next: backrefs add relationships, pairs need both sides resolved.
local function each_relationship(mappers, method)
  for _, one in ipairs(mappers) do
    local position = 1
    while one.own_relationships[position] do
      local property = one.own_relationships[position]
      property[method](property)
      position = position + 1
    end
  end
end

local function number_pairs(mappers)
  for _, one in ipairs(mappers) do
    for _, property in ipairs(one.own_relationships) do
      if property:number(pair_count + 1) then
        pair_count = pair_count + 1
      end
    end
  end
end

local function resolve_tables(mappers)
  local seen = {}
  for _, one in ipairs(mappers) do
    local handle = one.table.metadata.handle
    if not seen[handle] then
      seen[handle] = true
      handle:resolve()
    end
  end
end

-- Those that no earlier attempt has configured; one that failed after that is made again from here on.
local function unconfigured(mappers)
  local list = {}
  for _, one in ipairs(mappers) do
    list[#list + 1] = not one.configured and one or nil
  end
  return list
end

-- All classes become usable at one moment, since each may lead to any other.
local function make_ready(mappers, classes)
  core.ready(classes)
  for _, one in ipairs(mappers) do
    one.configured = true
    one:hear_objects()
  end
end

registry.set_configure(function(waiting)
  local mappers, classes = unconfigured(waiting), {}
  resolve_tables(mappers)
  for _, one in ipairs(mappers) do
    hierarchy.check(one)
  end
  each_relationship(mappers, "add_backref")
  each_relationship(mappers, "resolve")
  each_relationship(mappers, "pair")
  each_relationship(mappers, "order_elements")
  number_pairs(mappers)
  local specs = {}
  for position, one in ipairs(mappers) do
    specs[position] = core_spec(one)
  end
  for position, one in ipairs(mappers) do
    classes[position] = one.class
    core.configure(one.class, specs[position])
    hierarchy.grow(one)
    if hierarchy.is_single(one) then
      statement.expect_criteria()
    end
    mapper.any_discriminator = mapper.any_discriminator or hierarchy.discriminator(one) ~= nil
    note_habits(one)
    one.table:_freeze()
  end
  make_ready(mappers, classes)
  for _, one in ipairs(mappers) do
    for _, property in ipairs(one.own_relationships) do
      overlap.check(property)
    end
  end
end)

core.hook("configure", function(class)
  mapper.of(class):configure()
end)

return mapper
