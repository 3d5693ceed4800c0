--- copying: table:to_metadata(), the same table in another MetaData. What a table is made of is schema.lua's.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local constraint = import "constraint"
local schema = import "schema"

local unpack = rawget(table, "unpack") or unpack
local PARTS = expression.PARTS

-- ---- expressions ----

local rebind

local function rebind_list(list, from, to)
  local copies = {}
  for position, node in ipairs(list) do
    copies[position] = rebind(node, from, to)
  end
  return copies
end

-- A copy of an expression in which the columns of one table are those of another.
function rebind(node, from, to)
  if node.visit == "column" then
    return node.table == from and to.c[node.key] or node
  end
  local copy, parts = expression.copy_of(node), PARTS[node.visit] or {}
  for _, field in ipairs(parts.nodes or {}) do
    copy[field] = node[field] and rebind(node[field], from, to)
  end
  for _, field in ipairs(parts.lists or {}) do
    copy[field] = node[field] and rebind_list(node[field], from, to)
  end
  return copy
end

-- ---- foreign keys ----

-- Where a foreign key of the copy leads: to the copy itself, into its schema, or where it led before.
local function place_of(reference, from, target)
  local column = reference.target_column
  if not column and reference.constraint.id and pcall(reference.constraint.target, reference.constraint) then
    column = reference.column
  elseif not column then
    return reference.target -- not declared yet: the text is all that is known
  end
  local referred = column.table
  local name, namespace = referred.name, referred.schema
  if referred == from then
    name, namespace = target.name, target.schema
  elseif namespace == from.schema then
    namespace = target.schema
  end
  return constraint.place(namespace and namespace .. "." .. name or name, name, column.name)
end

local function copy_column(column, from, target)
  local copy = column:copy()
  for position, reference in ipairs(column.keys) do
    copy.keys[position] = constraint.ForeignKey(place_of(reference, from, target), reference.options)
  end
  return copy
end

-- ---- constraints ----

local function keys_of(columns)
  local keys = {}
  for position, column in ipairs(columns) do
    keys[position] = column.key
  end
  return keys
end

local function options_of(part)
  return { name = part.given_name, deferrable = part.deferrable, initially = part.initially, comment = part.comment,
    info = part.info }
end

local function copy_key(make)
  return function(part)
    local options = options_of(part)
    options.sqlite_on_conflict = part.on_conflict
    local arguments = keys_of(part.columns)
    arguments[#arguments + 1] = options
    return make(unpack(arguments))
  end
end

local COPY = { primary_key = copy_key(constraint.PrimaryKeyConstraint), unique = copy_key(constraint.UniqueConstraint) }

function COPY.check(part, from, made)
  return constraint.CheckConstraint(rebind(part.condition, from, made), { name = part.given_name,
    sqlite_on_conflict = part.on_conflict, comment = part.comment, info = part.info })
end

function COPY.foreign_key(part, from, _, target)
  local targets, options = {}, options_of(part)
  for position, reference in ipairs(part.elements) do
    targets[position] = place_of(reference, from, target)
  end
  options.ondelete, options.onupdate = part.ondelete, part.onupdate
  options.use_alter, options.link_to_name = part.use_alter, part.link_to_name
  return constraint.ForeignKeyConstraint(keys_of(part.columns), targets, options)
end

function COPY.index(part, from, made)
  return constraint.index_of_parts(part.given_name, rebind_list(part.expressions, from, made),
    { unique = part.unique, where = part.where and rebind(part.where, from, made) or nil })
end

-- A name that a convention made is made again by the other MetaData's.
local function copy_constraint(part, from, made, target)
  local copy = COPY[part.kind](part, from, made, target)
  copy.final = part.final
  return copy
end

-- ---- tables ----

local OPTIONS = { schema = 1, name = 1 }
local KEPT = { "comment", "info", "prefixes", "sqlite_autoincrement", "sqlite_strict", "sqlite_with_rowid" }

local function kept_options(from, target)
  local options = { schema = target.schema }
  for _, name in ipairs(KEPT) do
    options[name] = from.options[name]
  end
  return options
end

local function check_arguments(self, metadata, options)
  local call = "table:to_metadata()"
  errors.check_self(self, schema.is_table(self), "table:to_metadata")
  if not schema.is_metadata(metadata) then
    errors.raise("ArgumentError", "%s: a MetaData expected, got %s", call, errors.show(metadata))
  end
  options = errors.check_options(options, OPTIONS, call)
  for _, name in ipairs{ "name", "schema" } do
    if options[name] ~= nil and not (name == "schema" and options[name] == core.null) then
      constraint.check_name(options[name], call .. ": " .. name)
    end
  end
  return options
end

-- The name and schema of the copy; orm.null says that it has none of its own.
local function target_of(self, metadata, options)
  local namespace = self.schema
  if options.schema == core.null then
    namespace = nil
  elseif options.schema ~= nil then
    namespace = options.schema
  end
  return { name = options.name or self.name, schema = namespace or metadata.schema }
end

-- Columns first: what the other parts say is said of them.
local function build(self, metadata, target)
  local columns, others = {}, {}
  for _, part in ipairs(self.parts) do
    local list = schema.is_column(part) and columns or others
    list[#list + 1] = part
  end
  for position, column in ipairs(columns) do
    columns[position] = copy_column(column, self, target)
  end
  local made = schema.build(nil, target.name, metadata, kept_options(self, target), columns)
  for _, part in ipairs(others) do
    made:append_constraint(copy_constraint(part, self, made, target))
  end
  rawset(made, "is_view", self.is_view)
  return made
end

--- The same table in another MetaData, with its constraints and indexes; foreign keys lead to the tables of the same names
--- there. Where a table of that name is there already, that one. Options: name, schema (orm.null: none).
---@param metadata orrery.MetaData
---@param options? { name?: string, schema?: string }
---@return orrery.Table
function schema.table_methods:to_metadata(metadata, options)
  options = check_arguments(self, metadata, options)
  local target = target_of(self, metadata, options)
  local found = metadata.tables[target.schema and target.schema .. "." .. target.name or target.name]
  if found then
    errors.warn("table '%s' is in that MetaData already, and is not copied", found.fullname)
    return found
  end
  return build(self, metadata, target)
end

return schema
