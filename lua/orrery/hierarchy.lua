--- hierarchy: what inheritance makes of mapped classes: the columns that a class has from its parent, the tables that its
-- rows stand in, what tells the rows of several classes apart, and what a query of a class reads because of all that.
-- Reads and completes mappers; which class inherits from which is declarative.lua's to say.
local import = ...
local errors = import "errors"
local expression = import "expression"
local selectable = import "selectable"

local hierarchy = {}

-- ---- who inherits from whom ----

--- The mapper whose columns and rows a class shares; a concrete class has only methods from what it inherits from.
---@param self orrery.Mapper
---@return orrery.Mapper?
function hierarchy.parent(self)
  return not self.concrete and self.inherits or nil
end

local parent_of = hierarchy.parent

--- The topmost class: its table has the key of all, and the column that tells them apart.
---@param self orrery.Mapper
---@return orrery.Mapper
function hierarchy.base(self)
  while parent_of(self) do
    self = parent_of(self)
  end
  return self
end

--- Whether objects of a class are objects of another one.
---@param self orrery.Mapper
---@param other orrery.Mapper
---@return boolean
function hierarchy.is_a(self, other)
  while self and self ~= other do
    self = parent_of(self)
  end
  return self ~= nil
end

--- A class and all that inherit from it, each before those that inherit from it.
---@param self orrery.Mapper
---@param list? orrery.Mapper[]
---@return orrery.Mapper[]
function hierarchy.family(self, list)
  list = list or {}
  list[#list + 1] = self
  for _, child in ipairs(self.children) do
    if not child.concrete then
      hierarchy.family(child, list)
    end
  end
  return list
end

-- From the topmost class down to this one.
local function line_of(self)
  local line = {}
  while self do
    table.insert(line, 1, self)
    self = parent_of(self)
  end
  return line
end

--- The relationships that objects found by a query of a class may have: its own and inherited ones, then those that
--- subclasses add.
---@param self orrery.Mapper
---@return orrery.Relationship[]
function hierarchy.relationships(self)
  if not self.children[1] then
    return self.relationships
  end
  local list = {}
  for position, one in ipairs(hierarchy.family(self)) do
    for _, property in ipairs(position == 1 and one.relationships or one.own_relationships) do
      list[#list + 1] = property
    end
  end
  return list
end

--- Whether one of two classes inherits from the other, or they are one.
---@param self orrery.Mapper
---@param other orrery.Mapper
---@return boolean
function hierarchy.related(self, other)
  return hierarchy.is_a(self, other) or hierarchy.is_a(other, self)
end

--- The class whose own table holds the row before this one's: nil where an object has one row.
---@param self orrery.Mapper
---@return orrery.Mapper?
function hierarchy.above(self)
  local up = parent_of(self)
  while up and up.table == self.table do
    up = parent_of(up)
  end
  return up
end

--- Whether a class shares its parent's table.
---@param self orrery.Mapper
---@return boolean
function hierarchy.is_single(self)
  return parent_of(self) ~= nil and parent_of(self).table == self.table
end

-- ---- columns ----

local function concat(first, second)
  local list = {}
  for _, one in ipairs(first) do
    list[#list + 1] = one
  end
  for _, one in ipairs(second) do
    list[#list + 1] = one
  end
  return list
end

--- Puts what a class inherits before what it declares, for itself and for those below: attribute numbers of a parent
--- hold for its subclasses.
---@param self orrery.Mapper
function hierarchy.lay_out(self)
  local parent = parent_of(self)
  self.numbers = nil
  if parent then
    self.column_keys = concat(parent.column_keys, self.own_keys)
    self.relationships = concat(parent.relationships, self.own_relationships)
    for _, key in ipairs(parent.column_keys) do
      self.attributes[key] = self.attributes[key] or { origin = parent.attributes[key].origin }
    end
    for key, property in pairs(parent.relationships_by_key) do
      self.relationships_by_key[key] = property
    end
    for key, column in pairs(parent.aliases or {}) do
      self.aliases = self.aliases or {}
      self.aliases[key], self.attributes[key] = self.aliases[key] or column, self.attributes[key] or { origin = column }
    end
  end
  for _, child in ipairs(self.children) do
    hierarchy.lay_out(child)
  end
end

-- The column of the parent's key that a column of a joined table's key refers to.
local function referred(self, column)
  local parent = parent_of(self)
  for _, reference in ipairs(column.foreign_keys) do
    local target = reference.column
    local number = parent:number_of_column(target)
    if number and target.primary_key then
      return target, number
    end
  end
  local base = hierarchy.base(self)
  errors.raise("ArgumentError", "%s: the key column '%s' must be a foreign key to the key of '%s', whose row comes first; "
    .. "write mapped_column(ForeignKey(\"%s.%s\"), { primary_key = true })", self.name, expression.describe(column),
    parent.name, base.table.name, base.table.primary_key[1] and base.table.primary_key[1].name or "id")
end

-- A joined table's key is the same attribute as the parent's: one value, a column in each table.
local function add_keys(self, numbers)
  local parent = parent_of(self)
  for column, number in pairs(parent.numbers) do
    numbers[column] = numbers[column] or number
  end
  self.row_columns = hierarchy.is_single(self) and parent.row_columns or {}
  if hierarchy.is_single(self) then
    return
  end
  for _, column in ipairs(self.table.primary_key) do
    local _, number = referred(self, column)
    numbers[column], self.row_columns[number] = number, column
  end
end

--- Attribute numbers by column; of a joined class, the columns of the key in every table are the key.
---@param self orrery.Mapper
---@return table<orrery.Column, integer>
function hierarchy.numbers(self)
  local numbers, parent = {}, parent_of(self)
  for number, key in ipairs(self.column_keys) do
    numbers[self.attributes[key].origin] = number
  end
  if parent then
    parent:number_of_column(false)
    add_keys(self, numbers)
  end
  return numbers
end

--- The column of the class's own table that holds an attribute.
---@param self orrery.Mapper
---@param number integer
---@return orrery.Column
function hierarchy.row_column(self, number)
  if self.inherits and not self.numbers then
    self:number_of_column(false)
  end
  return self.row_columns and self.row_columns[number] or self.attributes[self.column_keys[number]].origin
end

-- ---- tables ----

local function same(tbl)
  return tbl
end

-- employee.id = manager.id
local function link(self, place)
  local conditions = {}
  for position, column in ipairs(self.table.primary_key) do
    local target = referred(self, column)
    conditions[position] = place(target.table).columns[target.position]:eq(place(self.table).columns[column.position])
  end
  return conditions[2] and expression.and_((table.unpack or unpack)(conditions)) or conditions[1]
end

local function add_table(source, self, place, outer)
  if source.members[self.table] then
    return source
  end
  local right = place(self.table)
  local join = selectable.join(source.element, right, link(self, place), { isouter = outer })
  source.members[self.table], source.element = right, join
  return source
end

--- What a query of a class reads: its table; or, where its rows spread over several, a join of them, with those of other
--- classes of the family that are wanted along with it.
---@param self orrery.Mapper
---@param others? orrery.Mapper[]
---@param place? fun(tbl: orrery.Table): table an alias in the table's place
---@param inner? boolean only rows that are in the others' tables, too
---@return table
function hierarchy.source(self, others, place, inner)
  place = place or same
  local base = hierarchy.base(self)
  local root = place(base.table)
  local source = { element = root, members = { [base.table] = root } }
  for _, one in ipairs(line_of(self)) do
    add_table(source, one, place, false)
  end
  for _, other in ipairs(others or {}) do
    for _, one in ipairs(line_of(other)) do
      add_table(source, one, place, not inner)
    end
  end
  if source.element ~= root then
    source.element.members, source.element.renamed = source.members, place ~= same
  end
  return source.element
end

--- What stands for a table in a source: itself, or its alias.
---@param source table
---@param tbl table
---@return table
function hierarchy.member(source, tbl)
  return source.members and source.members[tbl] or source
end

--- Whether a source is, or joins, a table or alias.
---@param source table
---@param tbl table
---@return boolean
function hierarchy.reads(source, tbl)
  if source == tbl then
    return true
  end
  for _, member in pairs(source.members or {}) do
    if member == tbl then
      return true
    end
  end
  return false
end

-- One join that statements share need not be looked through each time.
function hierarchy.lasting(source)
  if source.members then
    source.lasting = true
  end
  return source
end

--- The join that a class's rows are read from where they spread over several tables, always the same one.
---@param self orrery.Mapper
---@return table
function hierarchy.selectable(self)
  if not self.joined_tables then
    self.joined_tables = hierarchy.lasting(hierarchy.source(self))
  end
  return self.joined_tables
end

-- ---- telling rows apart ----

local function column_named(base, name)
  local attribute = base.attributes[name]
  if attribute then
    return attribute.origin
  end
  for _, key in ipairs(base.column_keys) do
    if base.attributes[key].origin.name == name then
      return base.attributes[key].origin
    end
  end
  errors.raise("ArgumentError", "%s: polymorphic_on names '%s', which is no column of it%s", base.name, tostring(name),
    errors.hint(tostring(name), base.column_keys))
end

local function find_discriminator(base)
  local wanted = base.arguments.polymorphic_on
  if type(wanted) == "string" then
    wanted = column_named(base, wanted)
  end
  local node = expression.clause(wanted)
  if not node then
    errors.raise("ArgumentError", "%s: polymorphic_on is the name of a column, a column or an expression, got %s", base.name,
      errors.show(wanted))
  end
  local column = node.visit == "column" and (node.origin or node)
  local number = column and base:number_of_column(column)
  if column and not number then
    errors.raise("ArgumentError", "%s: polymorphic_on is '%s', which is no column of it", base.name, expression.describe(column))
  elseif column then
    return { node = column, column = column, number = number }
  end
  return { node = node, label = node.visit == "label" and node or node:label("_polymorphic_on") }
end

--- What tells the classes of a family's rows apart: { node, column, number }, or { node, label } for an expression; nil
--- where nothing does.
---@param self orrery.Mapper
---@return table?
function hierarchy.discriminator(self)
  local base = hierarchy.base(self)
  if base.arguments.polymorphic_on == nil then
    return nil
  end
  base.discriminator = base.discriminator or find_discriminator(base)
  return base.discriminator
end

--- Whether a class's column tells the rows of its family apart; queries always load that one.
---@param self orrery.Mapper
---@param number integer
---@return boolean
function hierarchy.is_discriminator(self, number)
  local discriminator = hierarchy.discriminator(self)
  return discriminator ~= nil and discriminator.number == number
end

--- A class's polymorphic_identity as the database has it, or nil.
---@param self orrery.Mapper
---@return any
function hierarchy.identity(self)
  local identity, discriminator = self.arguments.polymorphic_identity, hierarchy.discriminator(self)
  if identity == nil or not discriminator then
    return nil
  end
  return discriminator.node.type and discriminator.node.type:to_db(identity) or identity
end

local function identities_of(self)
  local list = {}
  for _, one in ipairs(hierarchy.family(self)) do
    if one.arguments.polymorphic_identity ~= nil then
      list[#list + 1] = one.arguments.polymorphic_identity
    end
  end
  return list
end

--- The condition that picks a class's rows, with those of its subclasses, out of a table that it shares with its parent;
--- nil where every row counts.
---@param self orrery.Mapper
---@param place? fun(tbl: orrery.Table): table
---@return table?
function hierarchy.criterion(self, place)
  if not hierarchy.is_single(self) then
    return nil
  end
  local discriminator, identities = hierarchy.discriminator(self), identities_of(self)
  local node = discriminator.node
  if discriminator.column then
    node = (place or same)(discriminator.column.table).columns[discriminator.column.position]
  end
  if #identities == 1 then
    return node:eq(identities[1])
  end
  return node:in_(identities)
end

-- ---- checks ----

local function check_identities(self)
  if not hierarchy.discriminator(self) then
    return
  end
  local ok, value = pcall(hierarchy.identity, self)
  if not ok then
    errors.raise("ArgumentError", "%s: polymorphic_identity: %s", self.name, errors.is_error(value) and value.message or value)
  elseif value == nil then
    return
  end
  for _, other in ipairs(hierarchy.family(hierarchy.base(self))) do
    if other == self then
      return
    elseif hierarchy.identity(other) == value then
      errors.raise("ArgumentError", "%s: polymorphic_identity = %s is that of '%s' already; a row can be of one class only",
        self.name, errors.show(self.arguments.polymorphic_identity), other.name)
    end
  end
end

local function check_single(self)
  if hierarchy.is_single(self) and not hierarchy.discriminator(self) then
    errors.raise("ArgumentError", "%s shares the table '%s' with '%s', and nothing tells their rows apart; give the latter "
      .. "__mapper_args__ = { polymorphic_on = \"type\", polymorphic_identity = ... } and a column for it, or give '%s' a "
      .. "__tablename__", self.name, self.table.name, self.inherits.name, self.name)
  end
end

-- Whether a class is read together with others by a union of their tables, where an identity says which is which.
local function is_concrete(self)
  local found = self.concrete
  for _, child in ipairs(self.children) do
    found = found or child.concrete
  end
  return found
end

local function check_place(self)
  local parent = parent_of(self)
  if parent and self.arguments.polymorphic_on ~= nil then
    errors.raise("ArgumentError", "%s: polymorphic_on belongs on '%s', the topmost class", self.name, hierarchy.base(self).name)
  elseif self.arguments.polymorphic_identity ~= nil and not hierarchy.discriminator(self) and not is_concrete(self) then
    errors.raise("ArgumentError", "%s: polymorphic_identity needs a polymorphic_on on '%s', the column that holds it", self.name,
      hierarchy.base(self).name)
  elseif self.arguments.polymorphic_abstract and self.arguments.polymorphic_identity ~= nil then
    errors.raise("ArgumentError", "%s: a polymorphic_abstract class has no rows of its own, and no polymorphic_identity",
      self.name)
  end
end

local function check_rows(self)
  if self.arguments.passive_deletes and not hierarchy.above(self) then
    errors.raise("ArgumentError", "%s: passive_deletes is for a class whose rows are deleted with those of its parent's table; "
      .. "this one has no table below another (relationships have an option of that name)", self.name)
  elseif self.arguments.concrete and not self.inherits then
    errors.raise("ArgumentError", "%s: concrete is for a class that inherits; write __inherits__ = ...", self.name)
  end
end

--- Raises what is wrong with a class's place in its family, and warns of a class whose rows cannot be told.
---@param self orrery.Mapper
function hierarchy.check(self)
  check_place(self)
  check_rows(self)
  check_single(self)
  check_identities(self)
  local known = self.arguments.polymorphic_identity ~= nil or self.arguments.polymorphic_abstract
  if parent_of(self) and hierarchy.discriminator(self) and not known then
    errors.warn("%s has no polymorphic_identity: its rows cannot be told from those of '%s'; give it one, or "
      .. "polymorphic_abstract = true", self.name, parent_of(self).name)
  end
end

-- ---- growing ----

-- Mappers that have a default tree, which keeps statements about the classes that it leads to.
local with_trees = setmetatable({}, { __mode = "k" })

--- Notes that a mapper has a tree, for grow().
---@param self orrery.Mapper
function hierarchy.has_tree(self)
  with_trees[self] = true
end

local function forget_trees()
  for mapper in pairs(with_trees) do
    mapper.default_tree.inert = false -- for statements that were made before
    mapper.default_tree = nil
  end
  with_trees = setmetatable({}, { __mode = "k" })
end

--- Forgets what queries have made of the families that a class belongs to so far.
---@param self orrery.Mapper
function hierarchy.grow(self)
  local up = parent_of(self)
  if up then
    forget_trees()
  end
  while up do
    up.entity_node, up.key_selects, up.shapes, up.defers, up.criterion_made = nil, nil, nil, nil, nil
    up = parent_of(up)
  end
end

return hierarchy
