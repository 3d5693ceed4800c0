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
local body_module = import "body"
local hierarchy = import "hierarchy"
local mapper_module = import "mapper"

local declarative = { declared_attr = body_module.declared_attr }
local unpack = table.unpack or unpack
local SETTABLE, refuse_name = body_module.SETTABLE, body_module.refuse_name

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

local DEFERRING = { "deferred", "deferred_group", "deferred_raiseload", "use_existing_column" }

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
  column.use_existing, column.use_existing_column = taken.use_existing_column, nil
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
  local implied = options.nullable == nil and not options.primary_key
  if implied then
    options.nullable = optional
  end
  local taken = take_deferring(options)
  arguments[count + 1] = options
  if optional then
    kind = kind.type
  elseif kind == nil then
    errors.raise("ArgumentError", "Mapped(): a type such as orm.Integer expected, got nil (is the type's name misspelt?)")
  end
  local column = put_deferring(schema.Column(kind, unpack(arguments, 1, count + 1)), taken)
  column.nullable_by_type = implied
  return column
end

-- ---- the class object ----

-- Members that compute what they read as: hybrids, composites, proxies. Each has :read(object, key),
-- :write(object, key, value) and :of_class(mapper, key).
local function is_descriptor(value)
  local mark = getmetatable(value)
  return type(value) == "table" and type(mark) == "table" and mark.__descriptor == true
end

-- Gives a class, and those that inherit from it and have none of their own, a member.
local function put_member(self, key, value)
  self.methods[key] = value
  rawset(self.visible, key, not is_descriptor(value) and value or nil)
  for _, child in ipairs(self.children) do
    if not child.own_members[key] then
      put_member(child, key, value)
    end
  end
end

local function add_method(self, key, value)
  if self.attributes[key] or self.relationships_by_key[key] then
    errors.raise("ArgumentError", "%s.%s is a mapped attribute; a method cannot take its name", self.name, key)
  end
  self.own_members[key] = true
  put_member(self, key, value)
end

local function put_metamethod(self, key, value)
  self.instance_meta[key] = value
  for _, child in ipairs(self.children) do
    if not child.own_members[key] then
      put_metamethod(child, key, value)
    end
  end
end

local function refuse_abstract(self)
  errors.raise("InvalidRequestError", "%s is polymorphic_abstract: objects are made of the classes that inherit from it",
    self.name)
end

local function put_init(self, fn)
  local new = core.constructor(self.class, self.instance_meta)
  self.init = fn
  for _, child in ipairs(self.children) do
    if not child.own_members.__init__ then
      put_init(child, fn)
    end
  end
  if self.arguments.polymorphic_abstract then
    self.class_meta.__call = function() refuse_abstract(self) end
    return
  end
  if self.hears_init then
    return
  end
  self.class_meta.__call = fn == nil and new or function(class, fields, ...)
    local object = new(class)
    fn(object, fields == nil and {} or fields, ...)
    return object
  end
end

local add_column

local function set_init(self, fn)
  self.own_members.__init__ = true
  put_init(self, fn)
end

-- A class that shares its parent's table adds to it; rows of the other classes have nothing there, so that NULL must do
-- unless the script says otherwise.
local function owner_of(self, column)
  for _, one in ipairs(hierarchy.family(hierarchy.base(self))) do
    if one ~= self and one.key_by_column[column] then
      return (" (%s.%s)"):format(one.name, one.key_by_column[column])
    end
  end
  return ""
end

local function add_to_shared(self, key, column)
  local tbl, name = self.table, column.name or key
  local present = rawget(tbl.c, name)
  if present and column.use_existing then
    return present
  elseif present then
    errors.raise("ArgumentError", "%s: the table '%s' has a column '%s' already%s; give this one another name, or say "
      .. "{ use_existing_column = true } to share it", self.name, tbl.name, name, owner_of(self, present))
  elseif column.primary_key then
    errors.raise("ArgumentError", "%s: '%s' cannot be a primary key: the class shares the table '%s' and its key with '%s'; give "
      .. "the class a __tablename__ to have a table of its own", self.name, key, tbl.name, self.inherits.name)
  elseif rawget(tbl, "frozen") then
    errors.raise("InvalidRequestError", "%s: the column '%s' comes too late, its table '%s' is in use already; declare the class "
      .. "before the first object or query", self.name, key, tbl.name)
  end
  column.nullable = column.nullable_by_type or column.nullable
  column:_attach(tbl, name)
  return column
end

local function refuse_inherited(self, key)
  local parent = hierarchy.parent(self)
  if parent and (parent.attributes[key] or parent.relationships_by_key[key]) then
    errors.raise("ArgumentError", "%s: '%s' is an attribute of '%s' already, from which this class inherits it; give this one "
      .. "another name", self.name, key, parent.name)
  end
end

function add_column(self, key, column)
  local parent = hierarchy.parent(self)
  local joins = parent and column.primary_key and not hierarchy.is_single(self)
  if not joins then
    refuse_inherited(self, key)
  end
  if hierarchy.is_single(self) then
    column = column.table == nil and add_to_shared(self, key, column) or column
  elseif column.table == nil then
    column:_attach(self.table, column.name or key)
  end
  if joins then
    return self:add_key_column(key, column)
  end
  self:add_column(key, column)
end

local function add_expression(self, key, property)
  refuse_inherited(self, key)
  column_property.attach(property, self, key)
  self:add_column(key, property)
end

local function add_late(self, key, value)
  if self.configured then
    errors.raise("InvalidRequestError", "%s: '%s' comes too late, the class is in use already; declare columns and "
      .. "relationships before the first object or query", self.name, key)
  elseif schema.is_column(value) then
    add_column(self, key, value)
  elseif column_property.is_property(value) then
    add_expression(self, key, value)
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
    self.own_members[key] = true
    put_metamethod(self, key, value)
  elseif key:sub(1, 2) == "__" then
    refuse_name(self.name, key)
  elseif schema.is_column(value) or relationship.is_relationship(value) or column_property.is_property(value) then
    add_late(self, key, value)
  else
    add_method(self, key, value)
  end
end

-- What newcomers ask of a class, or of an object, that another object does; names of these libraries that a class may
-- have itself do not come here.
local QUERY = "; queries are made by a session: session:query(@), or session:scalars(select(@))"
local HINTS = {
  query = QUERY, all = QUERY, where = QUERY, filter = QUERY, filter_by = QUERY, select = QUERY, first = QUERY, objects = QUERY,
  find_by = QUERY, count = QUERY,
  get = "; objects are found by a session: session:get(@, key)", find = "; objects are found by a session: session:get(@, key)",
  create = "; an object is made by @{ name = value } and stored by session:add(object) and session:commit()",
  new = "; an object is made by @{ name = value }",
  insert = "; write session:add(@{ ... }), or the statement orm.insert(@)",
  c = "; columns are attributes of the class, @.name; a table has .c: @.__table__.c",
  metadata = "; it is that of the base: Base.metadata",
  model = "; a subclass is declared by base:model(name, { __inherits__ = @, ... })",
}
local SAVE = "; session:add(object) and session:commit() store it"
local OBJECT_HINTS = {
  save = SAVE, insert = SAVE, create = SAVE, store = SAVE,
  update = "; assign its attributes, object.name = value, and session:commit()",
  delete = "; session:delete(object) deletes it", destroy = "; session:delete(object) deletes it",
  remove = "; session:delete(object) deletes it",
  refresh = "; session:refresh(object) reads it again", reload = "; session:refresh(object) reads it again",
  get = "; attributes are read by their names: object.name",
  set = "; attributes are assigned by their names: object.name = value",
  to_dict = "; orm.to_table(object) makes a plain table", to_table = "; orm.to_table(object) makes a plain table",
  to_json = "; orm.to_table(object) makes a plain table, for a JSON library",
  session = "; orm.object_session(object) is the session it is in",
}

-- User.key for what is not a method: class attributes, made when first read.
local function resolve(self, key)
  local found = self:attribute(key)
  if found then
    self.visible[key] = found
    return found
  elseif key == "__name__" then
    return self.name
  elseif self.pending then
    local given = body_module.pending(self, key)
    return given == nil and self.inherits and self.inherits:attribute(key) or given
  end
  if not self.configured and not (key == "model" and not pcall(self.configure, self)) then
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
  local hint = HINTS[key] and HINTS[key]:gsub("@", self.name) or errors.hint(tostring(key), self:known_names())
  errors.raise("ArgumentError", "%s has no attribute '%s'%s", self.name, tostring(key), hint)
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
      local shown = value == nil and "nil" or errors.show(value)
      parts[#parts + 1] = key .. "=" .. (shown == "a plain table" and "{...}" or shown)
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
  if type(include) ~= "table" then
    errors.raise("ArgumentError", "to_table(): include is a list of relationships, { \"books\" }, got %s", errors.show(include))
  end
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

-- An object that does not even have its key is expired: its row is read again, as for whoever reads an attribute.
local function read_expired(self, object)
  local state, number = core.state(object), self:key_numbers()[1]
  if state ~= "persistent" and state ~= "detached" then
    return
  end
  local _, loaded = core.peek(object, number)
  if not loaded then
    _ = object[self.column_keys[number]]
  end
end

--- A plain table of an object's columns, for JSON and templates; NULL leaves no field, nor do columns that wait until they
--- are read. `include` names relationships to take along, which are loaded when they are not.
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
  read_expired(self, object)
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
    class_meta = meta, instance_meta = instance_meta, own_members = {} }
  setmetatable(visible, { __index = function(_, key) return resolve(self, key) end })
  meta.__index = visible
  meta.__newindex = function(_, key, value) assign(self, key, value) end
  meta.__tostring = function() return "class " .. name end
  meta.__metatable = { __name = "orrery.class", __mapper = self, __clause = function() return self:entity() end }
  return self
end

-- ---- class bodies ----

local function attach_columns(self, entries)
  for _, entry in ipairs(entries.declared) do
    if schema.is_column(entry.value) then
      add_column(self, entry.key, entry.value)
    elseif column_property.is_property(entry.value) then
      add_expression(self, entry.key, entry.value)
    else
      refuse_inherited(self, entry.key)
      self:add_relationship(entry.key, entry.value)
    end
  end
end

-- __table_args__ = { UniqueConstraint(...), Index(...), { schema = "..." } }; the options may also stand beside the others.
local function table_arguments(name, given)
  if given ~= nil and (type(given) ~= "table" or getmetatable(given)) then
    errors.raise("ArgumentError", "%s: __table_args__ is a table of constraints and options, { UniqueConstraint(...), "
      .. "{ schema = ... } }, got %s", name, errors.show(given))
  end
  local arguments, _, options = split(unpack(given or {}))
  for key, value in pairs(given or {}) do
    if type(key) == "string" then
      options[key] = value
    end
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
      add_column(self, column.key or column.name, column)
    end
  end
end

local MAPPER_ARGUMENTS = { version_id_col = true, version_id_generator = true, polymorphic_on = true,
  polymorphic_identity = true, polymorphic_abstract = true, polymorphic_load = true, with_polymorphic = true, concrete = true,
  passive_deletes = true }
local LOADS = { inline = true, selectin = true }

local function check_polymorphic(name, arguments)
  local load, with = arguments.polymorphic_load, arguments.with_polymorphic
  if load ~= nil and not LOADS[load] then
    errors.raise("ArgumentError", "%s: polymorphic_load is \"inline\" or \"selectin\", got %s", name, errors.show(load))
  elseif with ~= nil and with ~= "*" and type(with) ~= "table" then
    errors.raise("ArgumentError", "%s: with_polymorphic is \"*\" or an array of subclasses or their names, got %s", name,
      errors.show(with))
  end
end

local function mapper_arguments(name, given)
  local arguments = errors.check_options(given, MAPPER_ARGUMENTS, name .. ": __mapper_args__")
  local generator = arguments.version_id_generator
  if generator ~= nil and generator ~= false and type(generator) ~= "function" then
    errors.raise("ArgumentError", "%s: version_id_generator is a function that makes the next version of one, or false where "
      .. "the database (or the script) makes them, got %s", name, errors.show(generator))
  end
  check_polymorphic(name, arguments)
  return arguments
end

-- ---- inheritance ----

local base_mark = { __name = "orrery.base" }

-- The base (for an abstract class) and the mapper that `__inherits__` names.
local function read_inherits(base, name, given)
  if given == nil then
    return base, base.inherits
  elseif getmetatable(given) == base_mark then
    return given, given.inherits
  end
  local parent = type(given) == "string" and base.registry.classes[given]
  if type(given) == "string" and not parent then
    errors.raise("ArgumentError", "%s: __inherits__ names '%s', which is not declared yet%s", name, given,
      errors.hint(given, base.registry.names))
  end
  parent = parent or mapper_module.of(given, name .. ": __inherits__")
  if parent.registry ~= base.registry then
    errors.raise("ArgumentError", "%s: '%s', from which it is to inherit, belongs to another declarative base", name, parent.name)
  end
  return base, parent
end

-- A subclass starts with all that its parent can do.
local function take_members(self, parent)
  for key, value in pairs(parent.methods) do
    put_member(self, key, value)
  end
  for key in pairs(SETTABLE) do
    if parent.instance_meta[key] ~= nil then
      self.instance_meta[key] = parent.instance_meta[key]
    end
  end
end

local INHERITED = { "version_id_col", "version_id_generator" }

local function place_below(self, parent, special)
  local concrete = type(special.__mapper_args__) == "table" and special.__mapper_args__.concrete or false
  for _, name in ipairs(concrete and {} or INHERITED) do
    if self.arguments[name] == nil then
      self.arguments[name] = parent.arguments[name]
    end
  end
  self:inherit(parent, concrete)
  take_members(self, parent)
end

-- Columns of mixins that the parent has from them already are the parent's.
local function drop_inherited(entries, parent)
  local kept = {}
  for _, entry in ipairs(entries.declared) do
    local inherited = parent.attributes[entry.key] or parent.relationships_by_key[entry.key]
    local key = schema.is_column(entry.value) and entry.value.primary_key and entries.special.__tablename__
    if entry.own or not inherited or key then
      kept[#kept + 1] = entry
    end
  end
  entries.declared = kept
end

-- The table of a class: its own, or, where it names none, that of the class that it inherits from.
local function table_of(self, entries)
  local special, parent = entries.special, hierarchy.parent(self)
  if special.__table__ then
    return special.__table__, true
  elseif not parent or special.__tablename__ then
    return make_table(self, entries), true
  elseif special.__table_args__ ~= nil then
    errors.raise("ArgumentError", "%s: __table_args__ needs a table of the class's own; put them on '%s', whose table it shares",
      self.name, parent.name)
  end
  return parent.table, false
end

local function check_key(self)
  if hierarchy.parent(self) and not hierarchy.is_single(self) and #self.table.primary_key == 0 then
    local base = hierarchy.base(self).table
    errors.raise("ArgumentError", "%s: its table '%s' needs a primary key that is a foreign key to that of '%s', such as id = "
      .. "mapped_column(ForeignKey(\"%s.%s\"), { primary_key = true }); or leave __tablename__ out to share the table", self.name,
      self.table.name, self.inherits.name, base.name, base.primary_key[1] and base.primary_key[1].name or "id")
  end
end

-- ---- a class from its body ----

local function fill(self, entries)
  local parent = self.inherits
  self.arguments = mapper_arguments(self.name, entries.special.__mapper_args__)
  if parent then
    place_below(self, parent, entries.special)
  end
  if hierarchy.parent(self) then
    drop_inherited(entries, parent)
  end
  local own
  self.table, own = table_of(self, entries)
  self.pending = nil
  if own then
    map_existing(self, entries, self.table)
  end
  attach_columns(self, entries)
  check_key(self)
  for _, entry in ipairs(entries.others) do
    assign(self, entry.key, entry.value)
  end
  if entries.special.__init__ ~= nil then
    set_init(self, entries.special.__init__)
  else
    put_init(self, parent and parent.init)
  end
end

-- What is not made into a class: further bodies for those that are declared on it.
local function abstract(base, parent, name, body)
  body_module.check(name, body)
  local bodies = (not parent or parent == base.inherits) and { unpack(base.bodies) } or {}
  bodies[#bodies + 1] = body
  return declarative.derive(base, bodies, parent)
end

local function leave(parent, self)
  for position, child in ipairs(parent and parent.children or {}) do
    if child == self then
      table.remove(parent.children, position)
    end
  end
end

local function model(base, name, body)
  if type(name) ~= "string" or name == "" then
    errors.raise("ArgumentError", "model(): the first argument is the class name, got %s", errors.show(name))
  elseif type(body) ~= "table" then
    errors.raise("ArgumentError", "model(\"%s\"): the second argument is the class body, got %s", name, type(body))
  end
  local parent
  base, parent = read_inherits(base, name, body.__inherits__)
  if body.__abstract__ then
    return abstract(base, parent, name, body)
  elseif base.registry.classes[name] then
    base.registry:add(name)
  end
  local self = new_class(name, base.registry)
  self.inherits, self.base = parent, base
  local arguments = body.__mapper_args__
  local concrete = type(arguments) == "table" and arguments.concrete
  local shared = parent and parent ~= base.inherits and not concrete
  local ok, err = pcall(function() fill(self, body_module.entries(self, body, shared and {} or base.bodies)) end)
  if not ok then
    leave(parent, self)
    error(err, 0)
  end
  base.registry:add(name, self)
  return self.class
end

-- ---- bases ----

local Base = {}
-- What is on the MetaData of a base.
local BASE_HINTS = { create_all = "Base.metadata:create_all(engine)", drop_all = "Base.metadata:drop_all(engine)",
  tables = "Base.metadata.tables", query = "session:query(Class)", reflect = "Base.metadata:reflect(engine)" }

errors.guard(Base, "a base", { derived_from = true, inherits = true }, function(key)
  return BASE_HINTS[key] and "write " .. BASE_HINTS[key]
end)

local base_metatable = { __index = Base, __call = function(self, name, body) return model(self, name, body) end,
  __metatable = base_mark }

--- Declares a class.
---@param name string
---@param body table columns, relationships, methods, __tablename__ and the other special names
---@return table class
function Base:model(name, body)
  errors.check_self(self, getmetatable(self) == base_metatable.__metatable, "Base:model")
  return model(self, name, body)
end

--- A base with further bodies that every class on it starts from.
---@param base table
---@param bodies table[]
---@param parent? orrery.Mapper what they inherit from
function declarative.derive(base, bodies, parent)
  return setmetatable({ metadata = base.metadata, registry = base.registry, bodies = bodies, inherits = parent,
    derived_from = base }, base_metatable)
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
    OBJECT_HINTS[key] or errors.hint(tostring(key), self:known_names()))
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
  return self.relationships[number - #self.column_keys]
end

-- Why a relationship to which a list was given holds one object.
local function why_single(property)
  return property.direction == "manytoone" and ("the foreign key stands in '%s'"):format(property.near.name)
    or property.options.uselist == false and "uselist = false"
    or ("the foreign key in '%s' is unique"):format(property.far.name)
end

core.hook("accept", function(class, number, value)
  local property = property_of(class, number)
  local other, wanted = mapper_module.of_object(value), property.mapper.name
  local is_fields = type(value) == "table" and getmetatable(value) == nil and value[1] == nil and next(value) ~= nil
  local is_list = not is_fields and type(value) == "table" or core.is_collection(value)
  errors.raise("ArgumentError", "%s takes %s of class '%s', got %s%s", property:describe(),
    property.uselist and "objects" or "an object", wanted,
    other and ("an object of class '%s'"):format(other.name) or is_fields and ("a plain table; write %s{ ... }"):format(wanted)
    or is_list and "a list" or errors.show(value),
    is_list and not property.uselist and (" (this side holds one object: %s)"):format(why_single(property)) or "")
end)

local function holds(object, number, item)
  local value = core.peek(object, number)
  if not core.is_collection(value) then
    return value == item
  end
  for _, one in ipairs(core.collection_items(value)) do
    if one == item then
      return true
    end
  end
  return false
end

-- The objects that the other side knows as an item's parents.
local function mirrored_parents(property, item)
  local value = property.reverse and core.peek(item, mapper_module.relation_number(item, property.reverse))
  return core.is_collection(value) and core.collection_items(value) or { value or nil }
end

-- Without another side, the last parent is remembered; whether it still has the item, only that parent knows.
local function parents_of(property, item)
  local list, last = mirrored_parents(property, item), property.claimed and property.claimed[item]
  list[#list + 1] = last
  return list
end

-- SQLAlchemy's rule: it is the side that has single_parent that refuses; what comes in from the other side may move.
core.hook("claim", function(object, number, item)
  local mapper = mapper_module.of_object(object)
  local property = mapper.relationships[number - #mapper.column_keys]
  for _, parent in ipairs(parents_of(property, item)) do
    if parent ~= object and not core.is_deleting(parent)
      and holds(parent, mapper_module.relation_number(parent, property), item) then
      errors.raise("InvalidRequestError", "%s: %s already belongs to %s, and single_parent = true allows one parent only; take "
        .. "it away there first", property:describe(), tostring(item), tostring(parent))
    end
  end
  property.claimed = property.claimed or setmetatable({}, { __mode = "kv" })
  property.claimed[item] = object
end)

core.hook("collection_key", function(object, class, number)
  return collection.key_of(property_of(class, number), object)
end)

core.hook("wrong_key", function(class, number, given, own)
  collection.wrong_key(property_of(class, number), given, own)
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

--- Whether an object is of a class or of one that inherits from it; false for what is no mapped object.
---@param object any
---@param class userdata
---@return boolean
function declarative.isinstance(object, class)
  local wanted, found = mapper_module.of(class, "isinstance()"), mapper_module.of_object(object)
  while found and found ~= wanted do
    found = found.inherits
  end
  return found ~= nil
end

--- Whether a class, which may be about to be declared, inherits from one with a table: for declared_attr.
---@param class userdata
---@return boolean
function declarative.has_inherited_table(class)
  return mapper_module.of(class, "has_inherited_table()").inherits ~= nil
end

--- Configures all classes now, and raises what is wrong with them.
declarative.configure_mappers = registry_module.configure_all

return declarative
