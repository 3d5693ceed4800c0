--- automap: models made of an existing database: one for each table with a primary key, with relationships and back
-- references for its foreign keys, also through link tables. Decides names; tables come from reflection.lua, classes
-- from declarative.lua.
local import = ...
local errors = import "errors"
local schema = import "schema"
local constraint = import "constraint"
local relationship = import "relationship"
local declarative = import "declarative"
import "reflection"

local automap = {}

-- ---- names ----

-- Letters and digits, with bytes of other alphabets among the letters.
local WORD = "[%w\128-\255]+"

--- The class name of a table: "user_account" gives "UserAccount".
---@param table_name string
---@return string
function automap.class_name(table_name)
  local parts = {}
  for word in table_name:gmatch(WORD) do
    parts[#parts + 1] = word:gsub("^%l", string.upper)
  end
  local name = table.concat(parts)
  if name == "" or name:find("^%d") then
    name = "Table" .. name
  end
  return name
end

-- "Order Line" gives "order_line".
local function attribute_name(text)
  local parts = {}
  for word in text:gmatch("[%w_\128-\255]+") do
    parts[#parts + 1] = word:gsub("%u", string.lower)
  end
  local name = table.concat(parts, "_")
  return (name == "" or name:find("^%d") or name:sub(1, 2) == "__") and "table_" .. name or name
end

-- The first name that is free; numbered from the last one where none is.
local function free_name(taken, names, separator)
  for _, name in ipairs(names) do
    if not taken[name] then
      return name
    end
  end
  local number = 2
  while taken[names[#names] .. separator .. number] do
    number = number + 1
  end
  return names[#names] .. separator .. number
end

local function check_name(name, what, default)
  if name ~= nil and (type(name) ~= "string" or name == "") then
    errors.raise("ArgumentError", "automap(): %s must give a name, got %s", what, errors.show(name))
  end
  return name or default
end

-- ---- tables ----

local function by_fullname(a, b)
  return a.fullname < b.fullname
end

local function sorted_tables(metadata)
  local list = {}
  for position, name in ipairs(errors.sorted_keys(metadata.tables)) do
    list[position] = metadata.tables[name]
  end
  table.sort(list, by_fullname)
  return list
end

-- A link table consists of two foreign keys and is referred to by none.
local function is_link(tbl, referred)
  local keys = tbl.foreign_key_constraints
  if #keys ~= 2 or referred[tbl] then
    return false
  end
  for _, column in ipairs(tbl.columns) do
    if #column.foreign_keys == 0 then
      return false
    end
  end
  return true
end

local function referred_tables(tables)
  local referred = {}
  for _, tbl in ipairs(tables) do
    for _, key in ipairs(tbl.foreign_key_constraints) do
      referred[(key:target())] = true
    end
  end
  return referred
end

-- The mappers of classes that a script has declared on the base, by table.
local function declared_classes(base)
  local found = {}
  for _, name in ipairs(base.registry.names) do
    local mapper = base.registry.classes[name]
    found[mapper.table] = found[mapper.table] or mapper
  end
  return found
end

local function wanted_name(tbl, options, default)
  return options.rename and check_name(options.rename(tbl.name, tbl, default), "rename")
    or default == tbl.name and default
end

-- Class names: declared and wanted ones come first, and tables that are called like their class; then the others in
-- order of name.
local function name_classes(tables, options, declared)
  local names, taken, later = {}, { Base = true }, {}
  local function take(tbl, name)
    names[tbl] = free_name(taken, { name }, "")
    taken[names[tbl]] = true
  end
  for _, tbl in ipairs(tables) do
    if declared[tbl] then
      take(tbl, declared[tbl].name)
    end
  end
  for _, tbl in ipairs(tables) do
    local name = not names[tbl] and wanted_name(tbl, options, automap.class_name(tbl.name))
    if name then
      take(tbl, name)
    elseif not names[tbl] then
      later[#later + 1] = tbl
    end
  end
  for _, tbl in ipairs(later) do
    take(tbl, automap.class_name(tbl.name))
  end
  return names
end

-- ---- relationships ----

-- How many foreign keys lead from one table to another: names need more than the table where there are several.
local function count_links(models)
  local counts = {}
  local function count(a, b)
    counts[a] = counts[a] or {}
    counts[a][b] = (counts[a][b] or 0) + 1
  end
  for _, key in ipairs(models.keys) do
    count(key.table, (key:target()))
  end
  return counts
end

-- The words with which all names begin: "source_crs" of "source_crs_auth_name" and "source_crs_code".
local function common_words(names)
  local common = names[1]
  for position = 2, #names do
    while common ~= "" and names[position]:sub(1, #common + 1) ~= common .. "_" and names[position] ~= common do
      common = common:match("^(.*)_[^_]*$") or ""
    end
  end
  return common ~= "" and common or nil
end

-- "billing_address_id" says "billing_address".
local function by_columns(key, target)
  local names = {}
  for position, column in ipairs(key.columns) do
    names[position] = column.name
  end
  local stem = #names > 1 and common_words(names) or names[1]:match("^(.-)_[iI][dD]$") or names[1]:match("^(.*%l)I[dD]$")
  if stem and stem ~= "" then
    return attribute_name(stem)
  end
  return attribute_name(table.concat(names, "_")) .. "_" .. attribute_name(target.name)
end

local function positions_in(key)
  return constraint.positions_of(key.columns)
end

local function targets_of(key)
  local columns = {}
  for position, reference in ipairs(key.elements) do
    columns[position] = reference.column
  end
  return columns
end

local function is_nullable(key)
  for _, column in ipairs(key.columns) do
    if not column.nullable then
      return false
    end
  end
  return true
end

-- What becomes of the objects on the other side when one is deleted: what the database would do with the rows.
local function cascade_of(key)
  if is_nullable(key) then
    return nil, key.ondelete == "SET NULL" or nil
  end
  return "all, delete-orphan", key.ondelete == "CASCADE" or nil
end

local function take_name(models, tbl, names)
  local taken = models.taken[tbl]
  local name = free_name(taken, names, "_")
  taken[name] = true
  return name
end


local function add(models, tbl, name, target, options)
  local body = models.bodies[tbl]
  body[name] = relationship.relationship(models.names[target], options)
end

local function names_of_key(models, key, target)
  local tbl, options = key.table, models.options
  local source, plain = attribute_name(tbl.name), attribute_name(target.name)
  local single = models.counts[tbl][target] == 1
  local specific = by_columns(key, target)
  local scalar = single and { plain, specific } or { specific }
  local unique = tbl.metadata.handle:is_unique(tbl.id, positions_in(key))
  local ending = unique and "" or "_collection"
  local many = single and { source .. ending, source .. "_" .. specific .. ending }
    or { source .. "_" .. specific .. ending }
  local own = options.name_for_scalar_relationship
    and options.name_for_scalar_relationship(models.names[tbl], models.names[target], key, scalar[1])
  local hook = unique and options.name_for_scalar_relationship or options.name_for_collection_relationship
  local other = hook and hook(models.names[target], models.names[tbl], key, many[1])
  return check_name(own, "name_for_scalar_relationship") and { own } or scalar,
    check_name(other, "name_for_collection_relationship") and { other } or many
end

-- A foreign key is an object on its own side and a collection on the other.
local function add_key(models, key)
  local tbl, target = key.table, (key:target())
  local scalar, many = names_of_key(models, key, target)
  scalar, many = take_name(models, tbl, scalar), take_name(models, target, many)
  local cascade, passive = cascade_of(key)
  add(models, tbl, scalar, target, { back_populates = many, foreign_keys = key.columns,
    remote_side = tbl == target and targets_of(key) or nil })
  add(models, target, many, tbl, { back_populates = scalar, foreign_keys = key.columns, cascade = cascade,
    passive_deletes = passive })
end

local function add_link_side(models, link, near, far, name, back)
  add(models, (near:target()), name, (far:target()), { secondary = link, back_populates = back,
    foreign_keys = near.columns })
end

local function names_of_side(models, link, near, far)
  local target, hook = (far:target()), models.options.name_for_collection_relationship
  local plain = attribute_name(target.name) .. "_collection"
  local specific = attribute_name(link.name) .. "_" .. by_columns(far, target) .. "_collection"
  local names = near:target() == target and { specific } or { plain, specific }
  local own = hook and hook(models.names[(near:target())], models.names[target], far, names[1])
  return check_name(own, "name_for_collection_relationship") and { own } or names
end

-- A link table is a collection on both sides.
local function add_link(models, link)
  local first, second = link.foreign_key_constraints[1], link.foreign_key_constraints[2]
  local one, two = (first:target()), (second:target())
  if not models.bodies[one] or not models.bodies[two] then
    return
  end
  local ahead = take_name(models, one, names_of_side(models, link, first, second))
  local back = take_name(models, two, names_of_side(models, link, second, first))
  add_link_side(models, link, first, second, ahead, back)
  add_link_side(models, link, second, first, back, ahead)
end

-- ---- all of it ----

-- Attribute names that a class has already.
local function taken_names(tbl, mapper)
  local taken = {}
  for _, column in ipairs(tbl.columns) do
    taken[column.key] = true
  end
  for _, name in ipairs(mapper and mapper:known_names() or {}) do
    taken[name] = true
  end
  return taken
end

local function new_models(tables, options, base)
  local models = { options = options, mapped = {}, links = {}, keys = {}, bodies = {}, taken = {},
    declared = declared_classes(base) }
  local referred = referred_tables(tables)
  for _, tbl in ipairs(tables) do
    local link = is_link(tbl, referred) and not models.declared[tbl]
    local list = link and models.links or #tbl.primary_key > 0 and models.mapped or {}
    list[#list + 1] = tbl
  end
  models.names = name_classes(models.mapped, options, models.declared)
  for _, tbl in ipairs(models.mapped) do
    models.bodies[tbl], models.taken[tbl] = {}, taken_names(tbl, models.declared[tbl])
  end
  return models
end

local function add_relationships(models)
  for _, tbl in ipairs(models.mapped) do
    for _, key in ipairs(tbl.foreign_key_constraints) do
      models.keys[#models.keys + 1] = models.bodies[(key:target())] and key or nil
    end
  end
  models.counts = count_links(models)
  for _, key in ipairs(models.keys) do
    add_key(models, key)
  end
  for _, link in ipairs(models.links) do
    add_link(models, link)
  end
end

-- A class that is there gets the relationships only.
local function make_class(models, base, tbl)
  local body, mapper = models.bodies[tbl], models.declared[tbl]
  if not mapper then
    body.__table__ = tbl
    return base:model(models.names[tbl], body)
  end
  for _, name in ipairs(errors.sorted_keys(body)) do
    mapper.class[name] = body[name]
  end
  return mapper.class
end

local MODELS = { __name = "orrery.models" }

-- Why a table has no class, or no class of that name; nil where there is no such table.
local function why_none(models, base, name)
  for _, tbl in ipairs(sorted_tables(base.metadata)) do
    if tbl.name == name or automap.class_name(tbl.name) == name then
      return models.names[tbl] and ("; table '%s' is models.%s"):format(tbl.name, models.names[tbl])
        or #tbl.primary_key == 0 and ("; table '%s' has no primary key: declare a class with this __table__ and say which "
          .. "columns are its key"):format(tbl.name)
        or ("; table '%s' is a link between two others, whose objects have each other in collections"):format(tbl.name)
    end
  end
end

local function result_of(models, base)
  local found = { Base = base }
  for _, tbl in ipairs(models.mapped) do
    found[models.names[tbl]] = make_class(models, base, tbl)
  end
  return setmetatable(found, { __metatable = MODELS, __index = function(_, name)
    errors.raise("ArgumentError", "the database gives no model %s%s", errors.show(name), why_none(models, base, name)
      or errors.hint(tostring(name), errors.sorted_keys(found)))
  end })
end

local OPTIONS = { only = 1, schema = 1, rename = 1, base = 1, name_for_scalar_relationship = 1,
  name_for_collection_relationship = 1 }

-- rename = { user_account = "User" } or a function.
local function read_rename(rename)
  if type(rename) ~= "table" then
    return rename
  end
  return function(table_name)
    return rename[table_name]
  end
end

local function check_options(options)
  options = errors.check_options(options, OPTIONS, "automap()")
  for _, name in ipairs{ "name_for_scalar_relationship", "name_for_collection_relationship" } do
    if options[name] ~= nil and type(options[name]) ~= "function" then
      errors.raise("ArgumentError", "automap(): %s must be a function, got %s", name, errors.show(options[name]))
    end
  end
  local mark = getmetatable(options.base)
  if options.base ~= nil and not (type(mark) == "table" and mark.__name == "orrery.base") then
    errors.raise("ArgumentError", "automap(): base must be a declarative_base, got %s", errors.show(options.base))
  end
  local kind = type(options.rename)
  if kind ~= "nil" and kind ~= "function" and kind ~= "table" then
    errors.raise("ArgumentError", "automap(): rename must be a table of names or a function, got %s",
      errors.show(options.rename))
  end
  local copy = {}
  for name, value in pairs(options) do
    copy[name] = value
  end
  copy.rename = read_rename(options.rename)
  return copy
end

local function check_renamed(options, given, metadata)
  if type(given) ~= "table" or type(given.rename) ~= "table" then
    return
  end
  for _, name in ipairs(errors.sorted_keys(given.rename)) do
    local fullname = options.schema and options.schema .. "." .. name or name
    if not metadata.tables[fullname] then
      errors.raise("ArgumentError", "automap(): rename names the table %s, which is not among those read%s",
        errors.show(name), errors.hint(name, errors.sorted_keys(metadata.tables)))
    end
  end
end

--- Models of an existing database, by class name: local models = orm.automap(engine); models.Album. Tables without a
--- primary key get none; models.Base is the base of all. Options: only (names of tables, or a function that says true
--- for a name), schema, rename ({ table = "Class" } or a function of table name, Table and the default name), base (whose
--- classes are taken for their tables, and get relationships),
--- name_for_scalar_relationship and name_for_collection_relationship (functions of the class's name, the other
--- class's, the foreign key and the default name).
---@param bind orrery.Engine|orrery.Connection
---@param options? table
---@return table<string, any>
function automap.automap(bind, options)
  local given = options
  options = check_options(options)
  local base = options.base or declarative.declarative_base{ metadata = schema.MetaData{ schema = options.schema } }
  base.metadata:reflect(bind, { only = options.only, schema = options.schema })
  check_renamed(options, given, base.metadata)
  local models = new_models(sorted_tables(base.metadata), options, base)
  add_relationships(models)
  return result_of(models, base)
end

return automap
