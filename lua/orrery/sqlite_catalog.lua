--- sqlite_catalog: the facts that SQLite keeps of its tables, read through PRAGMA table functions with bound names, and
-- from its texts (sqlite_text.lua) where it keeps them nowhere else. Gives plain tables as inspector.lua promises
-- them; makes no Table.
local import = ...
local types = import "types"
local dialects = import "dialect"
local sqlite_text = import "sqlite_text"

local catalog = { default_schema_name = "main" }

-- A name as SQLite compares it: A to Z are folded, whatever the locale says of other letters.
local function folded(name)
  return (name:gsub("[A-Z]", string.lower))
end
catalog.folded = folded

local function rows(conn, sql, ...)
  return conn:exec_driver_sql(sql, { ... }):all()
end

local function pragma(conn, name, argument, namespace)
  return rows(conn, ("SELECT * FROM pragma_%s(?, ?)"):format(name), argument, namespace)
end

local function master(conn, namespace, sql, ...)
  local prefix = namespace and conn.dialect.quote(namespace) .. "." or ""
  return rows(conn, sql:format(prefix), ...)
end

-- ---- names ----

local function names(conn, namespace, kind)
  local list = {}
  for position, row in ipairs(master(conn, namespace, "SELECT name FROM %ssqlite_master WHERE type = ? AND "
    .. "name NOT LIKE 'sqlite~_%%' ESCAPE '~' ORDER BY name", kind)) do
    list[position] = row.name
  end
  return list
end

-- Tables that a virtual table keeps its data in, and that nobody else may write; known since SQLite 3.37.
local function shadows(conn, namespace)
  local found = {}
  local major, minor = rows(conn, "SELECT sqlite_version()")[1][1]:match("^(%d+)%.(%d+)")
  if tonumber(major) * 1000 + tonumber(minor) < 3037 then
    return found
  end
  for _, row in ipairs(rows(conn, "SELECT name FROM pragma_table_list WHERE type = 'shadow' AND schema = ?",
    namespace or "main")) do
    found[row.name] = true
  end
  return found
end

---@return string[]
function catalog.table_names(conn, namespace)
  local list, hidden = {}, shadows(conn, namespace)
  for _, name in ipairs(names(conn, namespace, "table")) do
    list[#list + 1] = not hidden[name] and name or nil
  end
  return list
end

---@return string[]
function catalog.view_names(conn, namespace)
  return names(conn, namespace, "view")
end

function catalog.temp_table_names(conn)
  return names(conn, "temp", "table")
end

function catalog.temp_view_names(conn)
  return names(conn, "temp", "view")
end

--- The databases of the connection: main and those attached.
---@return string[]
function catalog.schema_names(conn)
  local list = {}
  for _, row in ipairs(rows(conn, "SELECT name FROM pragma_database_list ORDER BY seq")) do
    list[#list + 1] = row.name ~= "temp" and row.name or nil
  end
  return list
end

-- SQLite compares names without regard to the case of A to Z.
local FIND = "SELECT type, name, tbl_name, sql FROM %ssqlite_master WHERE type IN ('table', 'view') AND "
  .. "name = ? COLLATE NOCASE"

--- A table or view { type, name, sql, namespace = where it is }, or nil. Without a schema, main comes before temp.
function catalog.find(conn, name, namespace)
  for _, place in ipairs(namespace and { namespace } or { "main", "temp" }) do
    local row = master(conn, place, FIND, name)[1]
    if row then
      return { type = row.type, name = row.name, sql = row.sql, namespace = place }
    end
  end
end

-- ---- types ----

-- Names as SQLAlchemy reads them; anything else goes by SQLite's rules of affinity.
local NAMED = {
  BIGINT = types.BigInteger, BLOB = types.LargeBinary, BOOL = types.Boolean, BOOLEAN = types.Boolean,
  CHAR = types.String, DATE = types.Date, DATETIME = types.DateTime, DATE_CHAR = types.Date,
  DATETIME_CHAR = types.DateTime, DECIMAL = types.Numeric, DOUBLE = types.Double, ["DOUBLE PRECISION"] = types.Double,
  FLOAT = types.Float, INT = types.Integer, INTEGER = types.Integer, INTERVAL = types.Interval,
  JSON = types.JSON, NUMERIC = types.Numeric,
  NCHAR = types.String, NVARCHAR = types.String, REAL = types.Float, SMALLINT = types.SmallInteger, TEXT = types.Text,
  TIME = types.Time, TIME_CHAR = types.Time, TIMESTAMP = types.DateTime, VARCHAR = types.String, ["_TEXT"] = types.Text,
}
local AFFINITY = { { "INT", types.Integer }, { "CHAR", types.Text }, { "CLOB", types.Text }, { "TEXT", types.Text },
  { "BLOB", types.LargeBinary }, { "REAL", types.Float }, { "FLOA", types.Float }, { "DOUB", types.Float } }

-- "INTEGER_OR_TEXT": SQLite keeps either, so neither is refused.
local function is_mixed(name)
  return name:find("INT", 1, true) and (name:find("TEXT", 1, true) or name:find("CHAR", 1, true))
end

local function by_affinity(name)
  if is_mixed(name) then
    return types.NullType
  end
  for _, rule in ipairs(AFFINITY) do
    if name:find(rule[1], 1, true) then
      return rule[2]
    end
  end
  return name == "" and types.NullType or types.Numeric
end

local LARGEST = 2147483647

local function whole(text)
  local number = tonumber(text)
  return number and number % 1 == 0 and number >= 0 and number <= LARGEST and number or nil
end

-- Databases keep any numbers behind a name; those that make no sense are left out.
local function call(base, ...)
  local ok, made = pcall(base, ...)
  return ok and made or base
end

local function with_arguments(base, first, second)
  if not first then
    return base
  elseif base == types.String or base == types.Text then
    return call(base, first)
  elseif base == types.Numeric then
    return second and call(base, first, second) or call(base, first)
  end
  return base
end

--- The type that a declared type name stands for.
---@param declared string
---@return orrery.Type
function catalog.type_of(declared)
  local upper = declared:gsub("%l", string.upper)
  local name, arguments = upper:match("^%s*([^%(]-)%s*%(%s*([%d%s,+-]*)%)%s*$")
  name = name or upper
  local first, second = (arguments or ""):match("^%s*(%d+)%s*,%s*(%d+)%s*$")
  first = whole(first or (arguments or ""):match("^%s*(%d+)%s*$"))
  if name == "DECIMAL_TEXT" then
    local exact = types.Numeric{ as = "string" }
    return first and (second and call(types.Numeric, first, whole(second), { as = "string" })
      or call(types.Numeric, first, { as = "string" })) or exact
  end
  return with_arguments(NAMED[name] or by_affinity(name), first, whole(second))
end

-- ---- a table's text ----

local function text_of(found)
  return found.type == "table" and sqlite_text.read_table(found.sql) or nil
end

-- Facts of columns from the text, by name.
local function said_of_columns(text)
  local by_name = {}
  for _, column in ipairs(text and text.columns or {}) do
    by_name[folded(column.name)] = column
  end
  return by_name
end

local VIRTUAL, STORED, HIDDEN = 2, 3, 1

local function computed_of(hidden, said)
  if hidden ~= VIRTUAL and hidden ~= STORED then
    return nil
  end
  local computed = said.computed or { sqltext = "" }
  local persisted = hidden == STORED
  return { sqltext = computed.sqltext, persisted = persisted, says_how = persisted or computed.says_virtual }
end

-- Where types are checked, ANY keeps what it is given; elsewhere it is a name like others, with the affinity NUMERIC.
local function type_of_column(row, strict)
  return strict and row.type:upper() == "ANY" and types.NullType or catalog.type_of(row.type)
end

local function column_of(row, said, strict)
  return {
    name = row.name, type = type_of_column(row, strict), declared_type = row.type, nullable = row.notnull == 0,
    default = row.dflt_value and sqlite_text.trim(row.dflt_value), primary_key = row.pk,
    computed = computed_of(row.hidden, said), collation = said.collation, default_text = said.default,
    autoincrement = "auto", on_conflict_not_null = said.on_conflict_not_null,
  }
end

-- Only a single INTEGER key without an index of its own is the row's number, which SQLite makes itself.
local function check_autoincrement(columns, has_key_index)
  local key
  for _, column in ipairs(columns) do
    if column.primary_key > 0 then
      column.autoincrement, key = false, key == nil and column or false
    end
  end
  if key and not has_key_index and key.declared_type:upper() == "INTEGER" then
    key.autoincrement = "auto"
  end
end

local function has_key_index(indexes)
  for _, row in ipairs(indexes) do
    if row.origin == "pk" then
      return true
    end
  end
  return false
end

local function read_columns(conn, found, text, indexes)
  local said, columns = said_of_columns(text), {}
  for _, row in ipairs(pragma(conn, "table_xinfo", found.name, found.namespace)) do
    if row.hidden ~= HIDDEN then
      columns[#columns + 1] = column_of(row, said[folded(row.name)] or {}, text and text.strict)
    end
  end
  check_autoincrement(columns, has_key_index(indexes))
  return columns
end

-- ---- constraints ----

-- Names of columns as the table has them, for names as a constraint writes them.
local function spelled(names_list, columns)
  local by_name, list = {}, {}
  for _, column in ipairs(columns) do
    by_name[folded(column.name)] = column.name
  end
  for position, name in ipairs(names_list) do
    list[position] = by_name[folded(name)] or name
  end
  return list
end

local function key_of(columns, text)
  local key = {}
  for _, column in ipairs(columns) do
    if column.primary_key > 0 then
      key[column.primary_key] = column.name
    end
  end
  local said = text and text.primary_key or {}
  return { constrained_columns = key, name = said.name, on_conflict = said.on_conflict }
end

local function of_kind(text, kind)
  local list = {}
  for _, one in ipairs(text and text.constraints or {}) do
    if one.kind == kind then
      list[#list + 1] = one
    end
  end
  return list
end

local function action(word)
  return word ~= "NO ACTION" and word or nil
end

-- Rows of one foreign key follow one another; the last one declared has number 0.
local function grouped_keys(list)
  local keys, by_id = {}, {}
  for _, row in ipairs(list) do
    local key = by_id[row.id]
    if not key then
      key = { id = row.id, referred_table = row.table, constrained_columns = {}, referred_columns = {},
        options = { onupdate = action(row.on_update), ondelete = action(row.on_delete) } }
      by_id[row.id], keys[#keys + 1] = key, key
    end
    key.constrained_columns[row.seq + 1] = row.from
    key.referred_columns[row.seq + 1] = row.to
  end
  table.sort(keys, function(a, b) return a.id > b.id end)
  return keys
end

local function key_columns(conn, name, namespace)
  local key = {}
  for _, row in ipairs(pragma(conn, "table_info", name, namespace)) do
    if row.pk > 0 then
      key[row.pk] = row.name
    end
  end
  return key
end

local function foreign_keys(conn, found, columns, text)
  local keys = grouped_keys(pragma(conn, "foreign_key_list", found.name, found.namespace))
  local said = of_kind(text, "foreign_key")
  for position, key in ipairs(keys) do
    local own = #said == #keys and said[position] or {}
    key.id, key.name = nil, own.name
    key.options.deferrable, key.options.initially = own.deferrable, own.initially
    key.constrained_columns = spelled(key.constrained_columns, columns)
    if #key.referred_columns == 0 then -- REFERENCES t: its primary key
      key.referred_columns = key_columns(conn, key.referred_table, found.namespace)
    end
  end
  return keys
end

local function index_parts(conn, name, namespace)
  local parts = {}
  for _, row in ipairs(pragma(conn, "index_xinfo", name, namespace)) do
    if row.key == 1 then
      parts[#parts + 1] = row
    end
  end
  return parts
end

-- The texts say names and order; without them (virtual tables) the indexes behind the constraints say the columns.
local function unique_constraints(conn, namespace, columns, text, indexes)
  local list = {}
  for position, one in ipairs(of_kind(text, "unique")) do
    list[position] = { name = one.name, column_names = spelled(one.columns, columns), on_conflict = one.on_conflict }
  end
  for position = #indexes, text and #indexes + 1 or 1, -1 do
    if indexes[position].origin == "u" then
      local column_names = {}
      for place, part in ipairs(index_parts(conn, indexes[position].name, namespace)) do
        column_names[place] = part.name
      end
      list[#list + 1] = { column_names = column_names }
    end
  end
  return list
end

local function check_constraints(text)
  local list = {}
  for position, one in ipairs(of_kind(text, "check")) do
    list[position] = { name = one.name, sqltext = one.sqltext, on_conflict = one.on_conflict }
  end
  return list
end

-- ---- indexes ----

local function collations_of(columns)
  local by_name = {}
  for _, column in ipairs(columns) do
    by_name[column.name] = (column.collation or "BINARY"):upper()
  end
  return by_name
end

-- A part that is more than a column's name is kept as its text.
local function index_part(part, item, collations)
  local plain = part.name and part.coll:upper() == collations[part.name]
  return { name = part.name, text = not plain and item and item.text or nil, descending = part.desc == 1 }
end

local function read_index(conn, row, namespace, collations)
  local own = master(conn, namespace, "SELECT sql FROM %ssqlite_master WHERE type = 'index' AND name = ?", row.name)[1]
  local text = own and sqlite_text.read_index(own.sql) or { items = {} }
  local index = { name = row.name, unique = row.unique == 1, column_names = {}, parts = {} }
  index.where = row.partial == 1 and text.where or nil
  for position, part in ipairs(index_parts(conn, row.name, namespace)) do
    index.column_names[position] = part.name or false
    index.parts[position] = index_part(part, text.items[position], collations)
  end
  return index
end

local function indexes_of(conn, namespace, columns, indexes)
  local list, collations = {}, collations_of(columns)
  for _, row in ipairs(indexes) do
    if row.origin == "c" then
      list[#list + 1] = read_index(conn, row, namespace, collations)
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- ---- all of a table ----

--- Everything about a table or view: name, is_view, sql, columns, primary_key, foreign_keys, unique_constraints,
--- check_constraints, indexes, constraints (in the order of the text), options. nil where there is none.
---@param conn orrery.Connection
---@param name string
---@param namespace? string
---@return table?
function catalog.describe(conn, name, namespace)
  local found = catalog.find(conn, name, namespace)
  if not found then
    return nil
  end
  local where, text = found.namespace, text_of(found)
  local indexes = pragma(conn, "index_list", found.name, where)
  local columns = read_columns(conn, found, text, indexes)
  local with_rowid
  if text and text.without_rowid then
    with_rowid = false
  end
  return {
    name = found.name, is_view = found.type == "view", sql = found.sql, columns = columns,
    primary_key = key_of(columns, text),
    foreign_keys = foreign_keys(conn, found, columns, text),
    unique_constraints = unique_constraints(conn, where, columns, text, indexes),
    check_constraints = check_constraints(text),
    indexes = indexes_of(conn, where, columns, indexes),
    constraints = text and text.constraints,
    options = { prefixes = where == "temp" and namespace == nil and { "TEMPORARY" } or nil,
      sqlite_strict = text and text.strict, sqlite_autoincrement = text and text.autoincrement,
      sqlite_with_rowid = with_rowid },
  }
end

--- The name of a table as it stands in the database, and its columns by folded name; nil where there is none.
---@return string?
---@return table<string, string>?
function catalog.spelling(conn, name, namespace)
  local found = catalog.find(conn, name, namespace)
  if not found or found.type == "view" then
    return nil
  end
  local columns = {}
  for _, row in ipairs(pragma(conn, "table_xinfo", found.name, found.namespace)) do
    columns[folded(row.name)] = row.name
  end
  return found.name, columns
end

--- Triggers of a table, or all of them: { name, table, sql }.
function catalog.triggers(conn, name, namespace)
  local list, found = {}, "SELECT name, tbl_name, sql FROM %ssqlite_master WHERE type = 'trigger' "
  found = found .. (name and "AND tbl_name = ? COLLATE NOCASE " or "") .. "ORDER BY name"
  for position, row in ipairs(master(conn, namespace, found, name)) do
    list[position] = { name = row.name, table = row.tbl_name, sql = row.sql }
  end
  return list
end

dialects.sqlite.catalog = catalog

return catalog
