--- dialect: what databases say differently, as data. The compiler asks for words and templates here and never for a
-- database's name; a new database is one more table, in a file of its own.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"

-- `named` has them by name.
local dialect = { named = {} }
local kinds = core.kinds

-- ---- identifiers ----

--- The words in a text, as keys.
---@param text string
---@return table<string, true>
function dialect.words(text)
  local set = {}
  for word in text:gmatch("%S+") do
    set[word] = true
  end
  return set
end

-- Every word that SQLite's parser knows; quoting one that need not be does no harm.
local SQLITE_RESERVED = dialect.words [[
  abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade case
  cast check collate column commit conflict constraint create cross current current_date current_time
  current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end escape
  except exclude exclusive exists explain fail false filter first following for foreign from full generated glob group
  groups having if ignore immediate in index indexed initially inner insert instead intersect into is isnull join key
  last left like limit match materialized natural no not nothing notnull null nulls of offset on or order others outer
  over partition plan pragma preceding primary query raise range recursive references regexp reindex release rename
  replace restrict returning right rollback row rows savepoint select set table temp temporary then ties to transaction
  trigger true unbounded union unique update using vacuum values view virtual when where window with without
]]

local LONGEST = 4096 -- bytes

local function is_name(text)
  return type(text) == "string" and text ~= "" and #text <= LONGEST and not text:find("\0", 1, true)
    and (not text:find("[\128-\255]") or core.is_utf8(text))
end

local function refuse_identifier(identifier)
  errors.raise("CompileError", "%s cannot be the name of a table, column or label: a name is a string in UTF-8 of 1 to %d "
    .. "bytes without NUL", errors.show(identifier), LONGEST)
end

-- Names that a database takes as they are; the same for all so far, except for the reserved words.
local function make_quote(reserved)
  return function(identifier)
    if not is_name(identifier) then
      refuse_identifier(identifier)
    elseif identifier:find("^[a-z_][a-z0-9_]*$") and not reserved[identifier] then
      return identifier
    end
    return '"' .. identifier:gsub('"', '""') .. '"'
  end
end

-- ---- what dialects have ----

---@class orrery.Dialect
---@field name string
---@field quote fun(identifier: string): string the one place where identifiers become SQL
---@field marker string "?", or a format of the number, "$%d", or of a name, "%%(%s)s"
---@field max_binds integer markers that a statement may have
---@field constants table<string, string> true and false
---@field operators table<string, string> templates of two operands by the operator's name; with $1 and $2 they
--- may stand in it more than once
---@field functions table<string, string> whole text of functions that are called without arguments
---@field collations table<string, boolean> names that are not quoted
---@field extract table<string, string> templates of an operand by the field, with "$" for it
---@field array_in? string a template that reads a bound JSON array as rows
---@field array_rows? string the same for an array of arrays, with a list of array_item for their columns
---@field array_item? string a template of a column's position from 0
---@field hex_of? string a template of an expression: its bytes as hexadecimal digits
---@field tuple_rows string what stands before the rows that a tuple is looked up in
---@field bytes_literal string a template of hexadecimal digits
---@field literals table<string, function> what writes a stored value as SQL, by the type's name
---@field moment_difference? string a template of two dates with times ($1 - $2) in microseconds
---@field moment_arithmetic boolean dates can be added and subtracted
---@field distinct_on boolean DISTINCT ON exists
---@field compound_member string a template of a select in a union that is sorted, cut or itself a union
---@field compound_all boolean INTERSECT ALL and EXCEPT ALL exist
---@field conflict_constraint boolean ON CONFLICT names constraints
---@field change_prefix boolean INSERT and UPDATE take OR REPLACE, OR IGNORE and the like
---@field lateral boolean LATERAL exists
---@field delete_using boolean DELETE ... USING exists
---@field changes_in_with boolean WITH takes insert, update and delete
---@field serial? table<string, string> types of keys that the database gives, by the type's name
---@field json_path string a template of document and path, for the value there
---@field json_part string the same for the JSON there
---@field function_value string a template of a name in FROM: the value of a function with one column
---@field values_table string a template of $values, their $name in FROM and the $columns, in parentheses
---@field offset_limit? string what LIMIT must say where only an offset is asked for
---@field row_locks boolean FOR UPDATE exists
---@field update_from boolean UPDATE ... FROM exists
---@field exact_collation? string compares text as the exact decimals that it holds, where the database has none
---@field exact_operators table<string, string> templates for them by the operator's name
---@field exact_functions table<string, string> functions in place of others for them
---@field types? table<string, string> names of types where they differ
---@field casts table<string, string> templates of what makes a value of a type, where CAST does not
---@field table_names string a template, of "schema." or "", of a query for the names of tables and views, in lower case
---@field strict_types? table<integer, string> types of columns by kind, in tables that check them
---@field reserved_prefix? string with which no name of a table may begin
---@field identity? boolean whether Identity() may stand at any column
---@field computed_stored? boolean what Computed() must say where the script does not
---@field defer_foreign_keys? string lets rows refer to nothing until the transaction ends (to drop circles)
---@field check_foreign_keys? string ends that
---@field explain? string a template of a statement, whose rows are id, parent, -, text of the steps of its plan
local STANDARD = {
  marker = "?",
  max_binds = 32766,
  constants = { ["true"] = "TRUE", ["false"] = "FALSE" },
  operators = {},
  functions = { now = "CURRENT_TIMESTAMP", current_timestamp = "CURRENT_TIMESTAMP", current_date = "CURRENT_DATE",
    current_time = "CURRENT_TIME" },
  collations = {},
  extract = {},
  json_path = "json_extract(%s, %s)",
  json_part = "%s -> %s",
  tuple_rows = "VALUES ",
  function_value = "%s",
  values_table = "($values) AS $name $columns",
  bytes_literal = "X'%s'",
  literals = {},
  exact_operators = {},
  exact_functions = {},
  casts = {},
  moment_arithmetic = true,
  distinct_on = false,
  compound_member = "(%s)",
  compound_all = false,
  conflict_constraint = false,
  change_prefix = false,
  lateral = false,
  row_locks = true,
  update_from = true,
  delete_using = false,
  changes_in_with = false,
}

--- A dialect: the fields given, and the standard's words for the rest. From then on it is known by its name.
---@param fields table with name, and reserved: the set of words that must be quoted
---@return orrery.Dialect
function dialect.define(fields)
  for name, value in pairs(STANDARD) do
    if fields[name] == nil then
      fields[name] = value
    end
  end
  fields.quote = fields.quote or make_quote(fields.reserved or SQLITE_RESERVED)
  dialect.named[fields.name], types.dialects[fields.name] = fields, true
  return fields
end

--- The dialect that `value` is or names; SQLite's for nil.
---@param value orrery.Dialect|string|nil
---@param call string
---@return orrery.Dialect
function dialect.of(value, call)
  if value == nil then
    return dialect.named.sqlite
  elseif type(value) == "table" and value.quote then
    return value
  end
  return dialect.named[value] or errors.raise("ArgumentError", "%s: there is no dialect %s%s", call, errors.show(value),
    errors.hint(value, errors.sorted_keys(dialect.named)))
end

-- ---- SQLite ----

-- strftime rounds to thousandths, and 59.9999 seconds to the next minute: fractions are left out before.
local function strftime(format, operand)
  return "CAST(strftime('" .. format .. "', substr(" .. (operand or "$") .. ", 1, 19)) AS INTEGER)"
end

-- The digits behind the point.
local function micro(operand)
  return ("CAST(substr(substr(%s, instr(%s || '.', '.') + 1) || '000000', 1, 6) AS INTEGER)"):format(operand, operand)
end

dialect.sqlite = dialect.define{
  name = "sqlite",
  reserved = SQLITE_RESERVED,
  constants = { ["true"] = "1", ["false"] = "0" },
  operators = {
    ilike = "lower(%s) LIKE lower(%s)",
    not_ilike = "lower(%s) NOT LIKE lower(%s)",
    is_distinct_from = "%s IS NOT %s",
    is_not_distinct_from = "%s IS %s",
    bitwise_xor = "(($1 | $2) - ($1 & $2))",
    div = "%s / (%s + 0.0)", -- its own "/" drops the fraction of integers
  },
  collations = { BINARY = true, NOCASE = true, RTRIM = true },
  extract = {
    year = strftime("%Y"), month = strftime("%m"), day = strftime("%d"), hour = strftime("%H"),
    minute = strftime("%M"), second = strftime("%S"), doy = strftime("%j"), dow = strftime("%w"),
    week = strftime("%W"), epoch = strftime("%s"),
    quarter = "((" .. strftime("%m") .. " + 2) / 3)",
    milliseconds = "(" .. strftime("%S") .. " * 1000 + " .. micro("$") .. " / 1000)",
    microseconds = "(" .. strftime("%S") .. " * 1000000 + " .. micro("$") .. ")",
  },
  function_value = "%s.value", -- as its functions call it
  -- it names columns nowhere else
  values_table = "(WITH $name$columns AS ($values) SELECT * FROM $name) AS $name",
  array_in = "SELECT value FROM json_each(%s)",
  array_rows = "SELECT %s FROM json_each(%s)",
  array_item = "json_extract(value, '$[%d]')",
  hex_of = "hex(%s)",
  moment_arithmetic = false,
  moment_difference = "((" .. strftime("%s", "$1") .. " - " .. strftime("%s", "$2") .. ") * 1000000 + " .. micro("$1")
    .. " - " .. micro("$2") .. ")",
  compound_member = "SELECT * FROM (%s)",
  exact_collation = "orrery_decimal", -- of the driver, as the functions are
  exact_operators = { add = "orrery_add(%s, %s)", sub = "orrery_sub(%s, %s)", mul = "orrery_mul(%s, %s)",
    neg = "orrery_sub(0, %s)" },
  exact_functions = { sum = "orrery_sum" },
  -- CAST would make numbers of texts that begin with digits.
  casts = { Date = "substr(%s, 1, 10)", Time = "CAST(%s AS TEXT)", DateTime = "CAST(%s AS TEXT)", JSON = "CAST(%s AS TEXT)" },
  offset_limit = "-1",
  row_locks = false,
  change_prefix = true,
  table_names = "SELECT lower(name) FROM %ssqlite_master WHERE type IN ('table', 'view')",
  strict_types = { [kinds.ANY] = "ANY", [kinds.INTEGER] = "INTEGER", [kinds.FLOAT] = "REAL", [kinds.NUMERIC] = "REAL",
    [kinds.TEXT] = "TEXT", [kinds.BOOLEAN] = "INTEGER", [kinds.BLOB] = "BLOB", [kinds.DATE] = "TEXT",
    [kinds.TIME] = "TEXT", [kinds.DATETIME] = "TEXT" },
  reserved_prefix = "sqlite_",
  defer_foreign_keys = "PRAGMA defer_foreign_keys = ON",
  check_foreign_keys = "PRAGMA defer_foreign_keys = OFF",
  explain = "EXPLAIN QUERY PLAN %s",
}

return dialect
