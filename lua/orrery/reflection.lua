--- reflection: Tables made of what a database has: Table(name, metadata, { autoload_with = engine }) and
-- metadata:reflect(engine). Turns the catalog's facts into columns and constraints, word for word where words are all
-- that a database keeps. Finds no facts itself: the dialect's catalog does.
local import = ...
local errors = import "errors"
local types = import "types"
local functions = import "functions"
local constraint = import "constraint"
local schema = import "schema"
local creation = import "creation"
local inspector = import "inspector"
local sqlite_text = import "sqlite_text"

local reflection = {}
local unpack = rawget(table, "unpack") or unpack
local literal = functions.literal_column

local function fullname_of(state, name)
  return state.namespace and state.namespace .. "." .. name or name
end

-- ---- columns ----

local LITERAL_WORDS = { NULL = true, TRUE = true, FALSE = true, CURRENT_TIME = true, CURRENT_DATE = true,
  CURRENT_TIMESTAMP = true }

-- As it stands behind DEFAULT: anything but a constant needs parentheses.
local function default_text(column)
  if column.default_text then
    return column.default_text
  end
  local tokens = sqlite_text.tokens(column.default)
  local last = tokens[#tokens] or {}
  local signed = #tokens == 2 and (tokens[1].kind == "-" or tokens[1].kind == "+")
  if (#tokens == 1 or signed) and (last.kind == "number" or last.kind == "string" or LITERAL_WORDS[last.word]) then
    return column.default
  end
  return "(" .. column.default .. ")"
end

local function options_of(column)
  local options = { key = column.key, autoincrement = column.autoincrement, collation = column.collation,
    comment = column.comment, info = column.info,
    sqlite_on_conflict_not_null = column.on_conflict_not_null }
  if column.primary_key == 0 then
    options.nullable = column.nullable
  end
  if column.default and not column.computed then
    options.server_default = literal(default_text(column))
  end
  return options
end

local function make_column(column, dialect)
  local arguments = { column.name, column.type }
  if column.computed and column.computed.sqltext ~= "" then
    local persisted
    if column.computed.says_how then
      persisted = column.computed.persisted
    end
    arguments[3] = schema.Computed(literal(column.computed.sqltext), { persisted = persisted })
  end
  arguments[#arguments + 1] = options_of(column)
  local made = schema.Column(unpack(arguments))
  made.declared_type = column.declared_type and { [dialect.name] = column.declared_type }
  return made
end

-- What listeners of column_reflect make of a column: they may change its type, default, nullable and comment, and give it
-- a key. Its name stays the database's.
local function announce(state, facts, column)
  local target = { name = facts.name, schema = state.namespace, fullname = fullname_of(state, facts.name),
    metadata = state.metadata }
  local found, name = column.type, column.name
  for _, listened in ipairs(state.listened) do
    creation.fire(listened, "column_reflect", state.inspector, target, column)
  end
  column.name = name
  if column.type ~= found then
    column.type, column.declared_type = types.coerce(column.type, "column_reflect: type"), nil
  end
end

-- SQLite takes a column whose name is empty; no statement of ours can say it.
local function with_names(facts)
  local columns = {}
  for position, column in ipairs(facts.columns) do
    if column.name == "" then
      errors.warn("table '%s': its column %d is left out: its name is empty", facts.name, position)
    else
      columns[#columns + 1] = column
    end
  end
  return columns
end

-- A column that was given without a type takes the one that was found.
local function merged_columns(state, facts, given, dialect)
  local columns, by_name = {}, {}
  for position, column in ipairs(with_names(facts)) do
    announce(state, facts, column)
    local made = make_column(column, dialect)
    local own = given[column.name]
    if own and not rawget(own, "type") and #own.keys == 0 then
      own.type, own.declared_type = made.type, made.declared_type
    end
    columns[position] = own or made
    by_name[column.name] = columns[position]
  end
  return columns, by_name
end

-- ---- constraints ----

local MAKE = {}

function MAKE.unique(_, one)
  local arguments = { unpack(one.column_names) }
  arguments[#arguments + 1] = { name = one.name, sqlite_on_conflict = one.on_conflict }
  return schema.UniqueConstraint(unpack(arguments)):_keep_name()
end

function MAKE.check(_, one)
  return schema.CheckConstraint(literal(one.sqltext), { name = one.name, sqlite_on_conflict = one.on_conflict }):_keep_name()
end

local function spelling_of(state, name)
  local known = state.spellings[name]
  if known == nil then
    local spelled, columns = state.catalog.spelling(state.conn, name, state.namespace)
    known = spelled and { name = spelled, columns = columns } or false
    state.spellings[name] = known
  end
  return known
end

-- SQLite takes foreign keys to nothing, and finds out when rows are written.
local function leave_out(state, facts, one, reason)
  errors.warn("table '%s': its foreign key on %s is left out: %s", facts.name,
    table.concat(one.constrained_columns, ", "), reason)
  state.left_out = true
end

local function targets_of(state, facts, one)
  local target = spelling_of(state, one.referred_table)
  if not target then
    return leave_out(state, facts, one, ("the database has no table '%s'"):format(one.referred_table))
  elseif #one.referred_columns ~= #one.constrained_columns then
    return leave_out(state, facts, one, ("the primary key of '%s' has %d columns"):format(target.name,
      #one.referred_columns))
  end
  local fullname = state.namespace and state.namespace .. "." .. target.name or target.name
  local targets = {}
  for position, name in ipairs(one.referred_columns) do
    local spelled = target.columns[state.catalog.folded(name)]
    if not spelled then
      return leave_out(state, facts, one, ("table '%s' has no column '%s'"):format(target.name, name))
    end
    targets[position] = constraint.place(fullname, target.name, spelled)
  end
  return targets, target.name
end

function MAKE.foreign_key(state, one, facts)
  local targets, target = targets_of(state, facts, one)
  if not targets then
    return nil
  end
  state.referred[#state.referred + 1] = target
  local options = { name = one.name }
  for name, value in pairs(one.options) do
    options[name] = value
  end
  return schema.ForeignKeyConstraint(one.constrained_columns, targets, options):_keep_name()
end

-- Facts of constraints in the order of the text, where there is one.
local LISTS = { unique = "unique_constraints", check = "check_constraints", foreign_key = "foreign_keys" }

local function ordered_constraints(facts)
  local list, taken = {}, { unique = 0, check = 0, foreign_key = 0 }
  local function take(kind)
    taken[kind] = taken[kind] + 1
    list[#list + 1] = { kind = kind, facts = facts[LISTS[kind]][taken[kind]] }
  end
  for _, one in ipairs(facts.constraints or {}) do
    if facts[LISTS[one.kind]][taken[one.kind] + 1] then
      take(one.kind)
    end
  end
  for _, kind in ipairs{ "unique", "check", "foreign_key" } do
    while facts[LISTS[kind]][taken[kind] + 1] do
      take(kind)
    end
  end
  return list
end

-- A column that was given with a foreign key of its own says what it refers to.
local function is_overridden(one, by_name)
  local column = #one.facts.constrained_columns == 1 and by_name[one.facts.constrained_columns[1]]
  return column and #column.keys > 0
end

local function add_constraints(state, facts, parts, by_name)
  for _, one in ipairs(ordered_constraints(facts)) do
    if one.kind ~= "foreign_key" or not is_overridden(one, by_name) then
      parts[#parts + 1] = MAKE[one.kind](state, one.facts, facts)
    end
  end
end

-- Whether what was given says the primary key itself.
local function key_is_given(facts, given)
  local names = {}
  for _, name in ipairs(facts.primary_key.constrained_columns) do
    names[name] = true
  end
  for _, part in ipairs(given.parts) do
    if schema.is_column(part) and part.primary_key and not names[part.name] then
      return true
    elseif schema.is_constraint(part) and part.kind == "primary_key" then
      return true
    end
  end
  return false
end

local function add_primary_key(facts, given, parts, by_name)
  local arguments = {}
  for position, name in ipairs(facts.primary_key.constrained_columns) do
    arguments[position] = by_name[name]
  end
  if #arguments > 0 and not key_is_given(facts, given) then
    arguments[#arguments + 1] = { name = facts.primary_key.name, sqlite_on_conflict = facts.primary_key.on_conflict }
    parts[#parts + 1] = schema.PrimaryKeyConstraint(unpack(arguments)):_keep_name()
  end
end

local function index_part(part, by_name)
  local element = part.text and literal(part.text) or by_name[part.name]
  return part.descending and element:desc() or element
end

local function has_index(given, name)
  for _, part in ipairs(given.parts) do
    if schema.is_constraint(part) and part.kind == "index" and part.name == name then
      return true
    end
  end
  return false
end

local function add_indexes(facts, given, parts, by_name)
  for _, index in ipairs(facts.indexes) do
    local elements = {}
    for position, part in ipairs(index.parts) do
      elements[position] = (part.text or by_name[part.name]) and index_part(part, by_name)
    end
    if #elements == #index.parts and not has_index(given, index.name) then
      parts[#parts + 1] = constraint.index_of_parts(index.name, elements,
        { unique = index.unique, where = index.where and literal(index.where) or nil })
    end
  end
end

-- ---- tables ----

-- Everything that the table is made of; what was given stands behind what was found.
local function parts_of(state, facts, given, dialect)
  local parts, by_name = merged_columns(state, facts, given.columns, dialect)
  add_primary_key(facts, given, parts, by_name)
  add_constraints(state, facts, parts, by_name)
  add_indexes(facts, given, parts, by_name)
  for _, part in ipairs(given.parts) do
    if not (schema.is_column(part) and by_name[part.name]) then
      parts[#parts + 1] = part
    end
  end
  return parts
end

local OPTIONS = { "prefixes", "sqlite_strict", "sqlite_with_rowid", "sqlite_autoincrement" }

local function table_options(facts, options, namespace)
  local all = { schema = namespace, comment = options.comment, info = options.info }
  for _, name in ipairs(OPTIONS) do
    all[name] = options[name]
    if all[name] == nil then
      all[name] = facts.options[name]
    end
  end
  return all
end

-- Columns that a table declared and the database does not have stay.
local function given_parts(found, facts, arguments)
  local there, given = {}, { columns = {}, parts = {} }
  for _, column in ipairs(facts.columns) do
    there[column.name] = true
  end
  for _, column in ipairs(found and found.columns or {}) do
    given.parts[#given.parts + 1] = not there[column.name] and column:copy() or nil
  end
  for _, part in ipairs(arguments) do
    given.parts[#given.parts + 1] = part
  end
  for _, part in ipairs(given.parts) do
    if schema.is_column(part) then
      given.columns[part.name] = part
    end
  end
  return given
end

local function new_state(conn, namespace, metadata)
  creation.check_schema(conn, namespace)
  return { conn = conn, inspector = inspector.inspector(conn), namespace = namespace, metadata = metadata,
    catalog = conn.dialect.catalog, spellings = {},
    referred = {}, listened = { metadata } }
end

local function reflect_one(state, metadata, name, found, options, arguments)
  local facts = state.catalog.describe(state.conn, name, state.namespace)
    or inspector.no_such_table(state.conn, name, state.namespace)
  local given = given_parts(found, facts, arguments)
  state.listened[2] = found
  local parts = parts_of(state, facts, given, state.conn.dialect)
  local made = schema.build(found, found and found.name or name, metadata, table_options(facts, options,
    state.namespace), parts)
  rawset(made, "is_view", facts.is_view)
  return made
end

-- The tables that were referred to meanwhile, and those to which they refer.
local function reflect_referred(state, metadata)
  local position = 1
  while state.referred[position] do
    local name = state.referred[position]
    if not metadata.tables[fullname_of(state, name)] then
      reflect_one(state, metadata, name, nil, {}, {})
    end
    position = position + 1
  end
end

--- Makes a table, or makes `found` anew, of what the database behind `autoload_with` says.
function reflection.table(found, name, metadata, options, arguments)
  local call = ("Table '%s': autoload_with"):format(name)
  return creation.on_connection(options.autoload_with, call, function(conn)
    local state = new_state(conn, options.schema or metadata.schema, metadata)
    local made = reflect_one(state, metadata, name, found, options, arguments)
    if options.resolve_fks ~= false then
      reflect_referred(state, metadata)
    end
    return made
  end, { mode = "read" })
end

-- ---- whole databases ----

local REFLECT_OPTIONS = { only = 1, views = 1, schema = 1, extend_existing = 1, resolve_fks = 1 }

local function check_only(only, known, call)
  local kind = type(only)
  if only ~= nil and kind ~= "function" and (kind ~= "table" or getmetatable(only)) then
    errors.raise("ArgumentError", "%s: only must be a list of names or a function of a name, got %s", call,
      errors.show(only))
  end
  local there = {}
  for _, name in ipairs(known) do
    there[name] = true
  end
  for _, name in ipairs(kind == "table" and only or {}) do
    if not there[name] then
      errors.raise("InvalidRequestError", "%s: only names %s, which the database does not have%s", call,
        errors.show(name), errors.hint(name, known))
    end
  end
end

local function chosen_names(only, known, metadata)
  local names, wanted = {}, {}
  for _, name in ipairs(type(only) == "table" and only or {}) do
    wanted[name] = true
  end
  for _, name in ipairs(known) do
    if only == nil or wanted[name] or (type(only) == "function" and only(name, metadata)) then
      names[#names + 1] = name
    end
  end
  return names
end

local function known_names(state, views)
  local known = state.catalog.table_names(state.conn, state.namespace)
  for _, name in ipairs(views and state.catalog.view_names(state.conn, state.namespace) or {}) do
    known[#known + 1] = name
  end
  return known
end

local function reflect_all(conn, metadata, options, call)
  local state = new_state(conn, options.schema or metadata.schema, metadata)
  local known = known_names(state, options.views)
  check_only(options.only, known, call)
  for _, name in ipairs(chosen_names(options.only, known, metadata)) do
    local found = metadata.tables[fullname_of(state, name)]
    if not found or options.extend_existing then
      reflect_one(state, metadata, name, found, {}, {})
    end
  end
  if options.resolve_fks ~= false then
    reflect_referred(state, metadata)
  end
end

--- Makes tables of what the database has, those left out that are declared already. Foreign keys bring the tables that
--- they refer to.
---@param bind orrery.Engine|orrery.Connection
---@param options? table only (names, or a function that says true for one), views, schema, extend_existing, resolve_fks
function schema.metadata_methods:reflect(bind, options)
  local call = "metadata:reflect()"
  errors.check_self(self, schema.is_metadata(self), "metadata:reflect")
  options = errors.check_options(options, REFLECT_OPTIONS, call)
  for _, name in ipairs{ "views", "extend_existing", "resolve_fks" } do
    constraint.check_flag(options, name, call)
  end
  if options.schema ~= nil then
    constraint.check_name(options.schema, call .. ": schema")
  end
  creation.on_connection(bind, call, function(conn)
    reflect_all(conn, self, options, call)
  end, { mode = "read" })
end

return reflection
