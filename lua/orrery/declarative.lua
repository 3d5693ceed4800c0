--- declarative: classes as a script writes them. Base:model("User", {...}) sorts a class body into table, columns,
-- relationships and methods, and makes the class object; what these mean to the engine is mapper.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local schema = import "schema"
local registry_module = import "registry"
local collection = import "collection"
local relationship = import "relationship"
local column_property = import "column_property"
local mapper_module = import "mapper"

local declarative = {}
local unpack = table.unpack or unpack

-- ---- columns in a class body ----

-- Splits a trailing options table off the arguments.
local function split(...)
  local count, arguments = select("#", ...), { ... }
  local last = arguments[count]
  local options = {}
  if type(last) == "table" and getmetatable(last) == nil then
    arguments[count], count = nil, count - 1
    for name, value in pairs(last) do
      options[name] = value
    end
  end
  return arguments, count, options
end

local DEFERRING = { "deferred", "deferred_group", "deferred_raiseload" }

-- What a column's options say of its loading is the mapping's affair, not the table's.
local function take_deferring(options)
  local taken = {}
  for _, name in ipairs(DEFERRING) do
    taken[name], options[name] = options[name], nil
  end
  local group = taken.deferred_group
  if group ~= nil and type(group) ~= "string" then
    errors.raise("ArgumentError", "mapped_column(): deferred_group is a name, got %s", errors.show(group))
  elseif taken.deferred == nil and (group or taken.deferred_raiseload) then
    taken.deferred = true
  end
  return taken
end

local function put_deferring(column, taken)
  for _, name in ipairs(DEFERRING) do
    column[name] = taken[name]
  end
  return column
end

--- A column of a class: mapped_column(Type, ForeignKey(...), { options }); a string first is the column's own name.
--- Beside the options of a Column, `deferred = true` leaves it out of queries until it is read, `deferred_group` names
--- those that are then loaded together, and `deferred_raiseload` makes reading it an error unless a query undefers it.
---@param ... any
---@return orrery.Column
function declarative.mapped_column(...)
  local arguments, count, options = split(...)
  local taken = take_deferring(options)
  arguments[count + 1] = options
  return put_deferring(schema.Column(unpack(arguments, 1, count + 1)), taken)
end

local DEFERRED_OPTIONS = { group = true, raiseload = true }

--- A column that queries leave out until it is read: deferred(mapped_column(Text), { group = "long" }).
---@param column orrery.Column
---@param options? { group: string, raiseload: boolean }
---@return orrery.Column
function declarative.deferred(column, options)
  if not schema.is_column(column) then
    errors.raise("ArgumentError", "deferred(): a column such as mapped_column(Text) expected, got %s", errors.show(column))
  end
  options = errors.check_options(options, DEFERRED_OPTIONS, "deferred()")
  return put_deferring(column, { deferred = true, deferred_group = options.group, deferred_raiseload = options.raiseload })
end

--- Mapped(Type, ...) is NOT NULL unless the type is Optional(Type) or the options say nullable.
function declarative.Mapped(kind, ...)
  local arguments, count, options = split(...)
  local optional = type(kind) == "table" and rawget(kind, "optional") == true
  if options.nullable == nil and not options.primary_key then
    options.nullable = optional
  end
  local taken = take_deferring(options)
  arguments[count + 1] = options
  if optional then
    kind = kind.type
  elseif kind == nil then
    errors.raise("ArgumentError", "Mapped(): a type such as orm.Integer expected, got nil (is the type's name misspelt?)")
  end
  return put_deferring(schema.Column(kind, unpack(arguments, 1, count + 1)), taken)
end

-- ---- names ----

local SPECIAL = {
  __tablename__ = true, __table__ = true, __table_args__ = true, __abstract__ = true, __mixins__ = true, __init__ = true,
  __mapper_args__ = true,
}
-- What a script may say of how objects behave; the others are how they work.
local SETTABLE = {
  __tostring = true, __call = true, __concat = true, __lt = true, __le = true, __add = true, __sub = true, __mul = true,
  __div = true, __mod = true, __pow = true, __unm = true, __idiv = true, __len = true, __band = true, __bor = true,
  __bxor = true, __shl = true, __shr = true, __bnot = true,
}
local OWNED = { __index = true, __newindex = true, __gc = true, __metatable = true, __eq = true, __pairs = true, __mode = true,
  __close = true, __name = true }

local function refuse_name(name, key)
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

-- ---- the class object ----

-- Members that compute what they read as: hybrids, composites, proxies. Each has :read(object, key),
-- :write(object, key, value) and :of_class(mapper, key).
local function is_descriptor(value)
  local mark = getmetatable(value)
  return type(value) == "table" and type(mark) == "table" and mark.__descriptor == true
end

local function add_method(self, key, value)
  if self.attributes[key] or self.relationships_by_key[key] then
    errors.raise("ArgumentError", "%s.%s is a mapped attribute; a method cannot take its name", self.name, key)
  end
  self.methods[key] = value
  if not is_descriptor(value) then
    self.visible[key] = value
  end
end

local function set_init(self, fn)
  local new = core.new
  self.class_meta.__call = fn == nil and new or function(class, fields, ...)
    local object = new(class)
    fn(object, fields == nil and {} or fields, ...)
    return object
  end
end

local function add_late(self, key, value)
  if self.configured then
    errors.raise("InvalidRequestError", "%s: '%s' comes too late, the class is in use already; declare columns and "
      .. "relationships before the first object or query", self.name, key)
  elseif schema.is_column(value) then
    if value.table == nil then
      value:_attach(self.table, value.name or key)
    end
    self:add_column(key, value)
  elseif column_property.is_property(value) then
    column_property.attach(value, self, key)
    self:add_column(key, value)
  else
    self:add_relationship(key, value)
  end
end

-- User.key = value, for methods, metamethods, constants, late columns and relationships.
local function assign(self, key, value)
  if type(key) ~= "string" then
    errors.raise("ArgumentError", "%s: names are strings, got %s", self.name, errors.show(key))
  elseif key == "__init__" then
    set_init(self, value)
  elseif SETTABLE[key] then
    self.instance_meta[key] = value
  elseif key:sub(1, 2) == "__" then
    refuse_name(self.name, key)
  elseif schema.is_column(value) or relationship.is_relationship(value) or column_property.is_property(value) then
    add_late(self, key, value)
  else
    add_method(self, key, value)
  end
end

-- User.key for what is not a method: class attributes, made when first read.
local function resolve(self, key)
  local found = self:attribute(key)
  if found then
    self.visible[key] = found
    return found
  end
  if not self.configured then
    self:configure()
  end
  local property = self.relationships_by_key[key]
  if property then
    return property:attribute()
  elseif is_descriptor(self.methods[key]) then
    return self.methods[key]:of_class(self, key)
  elseif key == "__table__" then
    return self.table
  elseif key == "__tablename__" then
    return self.table.name
  end
  errors.raise("ArgumentError", "%s has no attribute '%s'%s", self.name, tostring(key),
    errors.hint(tostring(key), self:known_names()))
end

local function tostring_of_object(object)
  local self = mapper_module.of_object(object)
  if not self then
    return "object of a closed class"
  end
  local parts = {}
  for number, key in ipairs(self.column_keys) do
    local value, loaded = core.peek(object, number)
    if not loaded and self.attributes[key].origin.primary_key then
      value = core.stored(object, number) -- an expired object does not forget its key
      loaded = value ~= nil
    end
    if loaded then
      parts[#parts + 1] = key .. "=" .. (value == nil and "nil" or errors.show(value))
    end
  end
  return self.name .. "(" .. table.concat(parts, ", ") .. ")"
end

--- Iterates over the loaded columns of an object, in the order of declaration; never loads.
---@param object userdata
function declarative.pairs(object)
  local self = mapper_module.of_object(object)
  if not self then
    return pairs(object)
  end
  local number = 0
  return function()
    while number < #self.column_keys do
      number = number + 1
      local value, loaded = core.peek(object, number)
      if loaded and value ~= nil then
        return self.column_keys[number], value
      end
    end
  end, object, nil
end

local TABLE_OPTIONS = { include = true }
local to_table

-- include = { "books", author = { include = { ... } } }: names, or names with options of their own.
local function included(self, object, include, result)
  for key, value in pairs(include) do
    local name = type(key) == "number" and value or key
    local property = self.relationships_by_key[name]
    if not property then
      errors.raise("ArgumentError", "to_table(): include names '%s', which is no relationship of '%s'%s", tostring(name),
        self.name, errors.hint(tostring(name), errors.sorted_keys(self.relationships_by_key)))
    end
    local options, held = type(key) ~= "number" and value or nil, object[name]
    if property.uselist then
      result[name] = {}
      for position, item in held do
        result[name][position] = to_table(item, options)
      end
    elseif held then
      result[name] = to_table(held, options)
    end
  end
end

--- A plain table of an object's loaded columns, for JSON and templates; NULL leaves no field. `include` names
-- relationships to take along, which are loaded when they are not.
---@param object userdata
---@param options? { include: table }
---@return table
function to_table(object, options)
  local self = mapper_module.of_object(object)
  if not self then
    errors.raise("ArgumentError", "to_table(): a mapped object expected, got %s", type(object))
  end
  options = errors.check_options(options, TABLE_OPTIONS, "to_table()")
  local result = {}
  for key, value in declarative.pairs(object) do
    result[key] = value
  end
  included(self, object, options.include or {}, result)
  return result
end
declarative.to_table = to_table

local function new_class(name, registry)
  local meta, instance_meta = {}, { __name = name, __tostring = tostring_of_object, __pairs = declarative.pairs }
  local class = core.class(meta)
  local visible = {}
  local self = mapper_module.new{ name = name, class = class, registry = registry, methods = {}, visible = visible,
    class_meta = meta, instance_meta = instance_meta }
  setmetatable(visible, { __index = function(_, key) return resolve(self, key) end })
  meta.__index = visible
  meta.__newindex = function(_, key, value) assign(self, key, value) end
  meta.__call = core.new
  meta.__tostring = function() return "class " .. name end
  meta.__metatable = { __name = "orrery.class", __mapper = self, __clause = function() return self:entity() end }
  return self
end

-- ---- class bodies ----

local function order_of(value)
  return (schema.is_column(value) or relationship.is_relationship(value) or column_property.is_property(value)) and value.order
end

-- Sorts a body's entries: declared ones (columns, relationships) in textual order, everything else by name.
local function read_body(name, body, entries)
  for key, value in pairs(body) do
    if type(key) ~= "string" then
      errors.raise("ArgumentError", "%s: a class body has names only, got [%s]", name, errors.show(key))
    end
    local order = order_of(value)
    if order then
      entries.declared[#entries.declared + 1] = { key = key, value = value, order = order }
    elseif SPECIAL[key] then
      entries.special[key] = value
    else
      entries.others[#entries.others + 1] = { key = key, value = value }
    end
  end
end

local function by_order(a, b)
  return a.order < b.order
end

local function by_key(a, b)
  return a.key < b.key
end

-- Mixins and abstract bases give copies of their columns, before the class's own.
local function read_mixins(name, bodies, entries)
  for _, body in ipairs(bodies) do
    local own = { declared = {}, special = {}, others = {} }
    read_body(name, body, own)
    for _, entry in ipairs(own.declared) do
      local value = schema.is_column(entry.value) and entry.value:copy()
        or column_property.is_property(entry.value) and column_property.copy(entry.value)
        or relationship.relationship(entry.value.target, entry.value.options)
      entries.declared[#entries.declared + 1] = { key = entry.key, value = value, order = entry.order }
    end
    for _, entry in ipairs(own.others) do
      entries.others[#entries.others + 1] = entry
    end
  end
end

local function check_special(name, body)
  for key in pairs(body) do
    if type(key) == "string" and key:sub(1, 2) == "__" and not order_of(body[key]) and not SPECIAL[key]
      and not SETTABLE[key] then
      refuse_name(name, key)
    end
  end
end

local function entries_of(name, base, body)
  check_special(name, body)
  local entries = { declared = {}, special = {}, others = {} }
  read_mixins(name, base.bodies, entries)
  read_mixins(name, body.__mixins__ or {}, entries)
  read_body(name, body, entries)
  table.sort(entries.declared, by_order)
  table.sort(entries.others, by_key)
  return entries
end

local function attach_columns(self, entries, tbl)
  for _, entry in ipairs(entries.declared) do
    if schema.is_column(entry.value) then
      if entry.value.table == nil then
        entry.value:_attach(tbl, entry.value.name or entry.key)
      end
      self:add_column(entry.key, entry.value)
    elseif column_property.is_property(entry.value) then
      column_property.attach(entry.value, self, entry.key)
      self:add_column(entry.key, entry.value)
    else
      self:add_relationship(entry.key, entry.value)
    end
  end
end

-- __table_args__ = { UniqueConstraint(...), Index(...), schema = "..." }
local function table_arguments(name, given)
  local arguments, options = {}, {}
  for key, value in pairs(given or {}) do
    if type(key) == "string" then
      options[key] = value
    end
  end
  for position, value in ipairs(given or {}) do
    arguments[position] = value
  end
  if given ~= nil and type(given) ~= "table" then
    errors.raise("ArgumentError", "%s: __table_args__ must be a table of constraints and options", name)
  end
  return arguments, options
end

local function make_table(self, entries)
  local columns, special = {}, entries.special
  for _, entry in ipairs(entries.declared) do
    if schema.is_column(entry.value) then
      if entry.value.name == nil then
        entry.value:_name(entry.key)
      end
      columns[#columns + 1] = entry.value
    end
  end
  if special.__tablename__ == nil then
    errors.raise("ArgumentError", "%s: a class needs __tablename__ = \"...\" (or __table__ = Table(...))", self.name)
  end
  local arguments, options = table_arguments(self.name, special.__table_args__)
  for _, argument in ipairs(arguments) do
    columns[#columns + 1] = argument
  end
  columns[#columns + 1] = options
  return schema.Table(special.__tablename__, self.registry.metadata, unpack(columns))
end

-- Columns of a table that was made before, or reflected, which the body does not name.
local function map_existing(self, entries, tbl)
  local named = {}
  for _, entry in ipairs(entries.declared) do
    if schema.is_column(entry.value) then
      named[entry.value] = true
    end
  end
  for _, column in ipairs(tbl.columns) do
    if not named[column] then
      self:add_column(column.key or column.name, column)
    end
  end
end

local MAPPER_ARGUMENTS = { version_id_col = true, version_id_generator = true }

local function mapper_arguments(name, given)
  local arguments = errors.check_options(given, MAPPER_ARGUMENTS, name .. ": __mapper_args__")
  if arguments.version_id_generator ~= nil and type(arguments.version_id_generator) ~= "function" then
    errors.raise("ArgumentError", "%s: version_id_generator is a function that makes the next version of one, got %s", name,
      errors.show(arguments.version_id_generator))
  end
  return arguments
end

local function model(base, name, body)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "model(): the first argument is the class name, got %s", errors.show(name))
  elseif type(body) ~= "table" then
    errors.raise("ArgumentError", "model(\"%s\"): the second argument is the class body, got %s", name, type(body))
  end
  local entries = entries_of(name, base, body)
  if entries.special.__abstract__ then
    local bodies = { unpack(base.bodies) }
    bodies[#bodies + 1] = body
    return declarative.derive(base, bodies)
  elseif base.registry.classes[name] then
    base.registry:add(name)
  end
  local self = new_class(name, base.registry)
  self.table = entries.special.__table__ or make_table(self, entries)
  map_existing(self, entries, self.table)
  attach_columns(self, entries, self.table)
  self.arguments = mapper_arguments(name, entries.special.__mapper_args__)
  for _, entry in ipairs(entries.others) do
    assign(self, entry.key, entry.value)
  end
  set_init(self, entries.special.__init__)
  base.registry:add(name, self)
  return self.class
end

-- ---- bases ----

local Base = {}
local base_metatable = { __index = Base, __call = function(self, name, body) return model(self, name, body) end,
  __metatable = { __name = "orrery.base" } }

--- Declares a class.
---@param name string
---@param body table columns, relationships, methods, __tablename__ and the other special names
---@return table class
function Base:model(name, body)
  errors.check_self(self, getmetatable(self) == base_metatable.__metatable, "Base:model")
  return model(self, name, body)
end

--- A base with further bodies that every class on it starts from.
function declarative.derive(base, bodies)
  return setmetatable({ metadata = base.metadata, registry = base.registry, bodies = bodies }, base_metatable)
end

local BASE_OPTIONS = { metadata = true, strict = true }

--- A base for classes, with a MetaData and a registry of names of its own.
---@param options? { metadata: table, strict: boolean } strict = false lets objects take any name, as the script's own
function declarative.declarative_base(options)
  options = errors.check_options(options, BASE_OPTIONS, "declarative_base()")
  local metadata = options.metadata or schema.MetaData()
  local registry = registry_module.new(metadata)
  registry.strict = options.strict ~= false
  return setmetatable({ metadata = metadata, registry = registry, bodies = {} }, base_metatable)
end

-- ---- what the core asks about objects ----

local function private(key)
  return type(key) == "string" and key:sub(1, 1) == "_"
end

local function unknown(self, key)
  errors.raise("ArgumentError", "%s has no attribute '%s'%s", self.name, tostring(key),
    errors.hint(tostring(key), self:known_names()))
end

core.hook("read_other", function(object, key, member, class)
  if is_descriptor(member) then
    return member:read(object, key)
  elseif member ~= nil then
    return member
  end
  local self = mapper_module.of(class)
  if not self.registry.strict then
    return core.extra(object, key)
  end
  unknown(self, key)
end)

core.hook("write_other", function(object, key, value, member, class)
  local self = mapper_module.of(class)
  if is_descriptor(member) then
    return member:write(object, key, value)
  elseif member ~= nil then
    errors.raise("ArgumentError", "%s.%s is a method; it cannot be assigned on an object", self.name, key)
  elseif not self.registry.strict then
    return core.set_extra(object, key, value)
  end
  unknown(self, key)
end)

core.hook("unknown_field", function(object, key, value, class)
  if private(key) then
    object[key] = value
    return
  end
  local self = mapper_module.of(class)
  if is_descriptor(self.methods[key]) then
    return self.methods[key]:write(object, key, value)
  elseif not self.registry.strict and self.methods[key] == nil then
    return core.set_extra(object, key, value)
  elseif type(key) ~= "string" then
    errors.raise("ArgumentError", "%s{...} takes named fields, got [%s]", self.name, errors.show(key))
  elseif self.methods[key] ~= nil then
    errors.raise("ArgumentError", "%s{...}: '%s' is a method, not a field", self.name, key)
  end
  errors.raise("ArgumentError", "%s{...}: unknown field '%s'%s", self.name, key,
    errors.hint(key, self:attribute_names()))
end)

core.hook("bind_failed", function(err, number, class)
  local self = mapper_module.of(class)
  if errors.is_error(err, "ArgumentError") then
    errors.raise("ArgumentError", "%s.%s: %s", self.name, self.column_keys[number], err.message)
  end
  error(err, 0)
end)

core.hook("default", function(class, number, object)
  local self = mapper_module.of(class)
  local default = self.attributes[self.column_keys[number]].origin.default
  if type(default) == "function" then
    return default(object)
  end
  return default
end)

local function property_of(class, number)
  local self = mapper_module.of(class)
  return self.relationships[number - #self.column_keys], self
end

core.hook("accept", function(class, number, value)
  local property, self = property_of(class, number)
  local other = mapper_module.of_object(value)
  errors.raise("ArgumentError", "%s takes %s of class '%s', got %s%s", property:describe(),
    property.uselist and "objects" or "an object", property.mapper.name,
    other and ("an object of class '%s'"):format(other.name) or type(value) == "table" and "a list" or errors.show(value),
    type(value) == "table" and not property.uselist and " (this side holds one object: the foreign key stands in '"
      .. self.table.name .. "')" or "")
end)

core.hook("collection_key", function(object, class, number)
  return collection.key_of((property_of(class, number)), object)
end)

core.hook("wrong_key", function(class, number, given, own)
  collection.wrong_key((property_of(class, number)), given, own)
end)

--- Assigns fields to an object as its constructor would; for __init__.
---@param object userdata
---@param fields table
function declarative.assign(object, fields)
  if not core.class_of(object) then
    errors.raise("ArgumentError", "assign(): a mapped object expected, got %s", type(object))
  end
  core.assign(object, fields)
  return object
end

--- Configures all classes now, and raises what is wrong with them.
declarative.configure_mappers = registry_module.configure_all

return declarative
