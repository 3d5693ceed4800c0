--- postgresql: what PostgreSQL says differently, as data. Statements are printed for it; there is no driver. Markers are
-- those that SQLAlchemy prints, "%(name_1)s".
local import = ...
local dialect = import "dialect"

-- The words that PostgreSQL's grammar reserves, wholly or for names of functions and types.
local RESERVED = dialect.words [[
  all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
  column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
  current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
  from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
  localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
  returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
  unique user using variadic verbose when where window with
]]

local function timestamp(word)
  return function(kind)
    return word .. (kind.timezone and " WITH TIME ZONE" or " WITHOUT TIME ZONE")
  end
end

local function uuid(stored)
  return "'" .. stored:gsub("^(........)(....)(....)(....)(............)$", "%1-%2-%3-%4-%5") .. "'"
end

local function interval(microseconds)
  return ("make_interval(secs => %s)"):format((("%.6f"):format(microseconds / 1e6):gsub("%.?0+$", "")))
end

dialect.define{
  name = "postgresql",
  reserved = RESERVED,
  marker = "%%(%s)s",
  max_binds = 65535,
  constants = { ["true"] = "true", ["false"] = "false" },
  operators = {
    div = "%s / CAST(%s AS NUMERIC)", -- its own "/" drops the fraction of integers
    match = "%s @@ plainto_tsquery(%s)",
    regexp_match = "%s ~ %s",
    not_regexp_match = "%s !~ %s",
    bitwise_xor = "%s # %s",
  },
  functions = { current_timestamp = "CURRENT_TIMESTAMP", current_date = "CURRENT_DATE", current_time = "CURRENT_TIME",
    localtimestamp = "LOCALTIMESTAMP", localtime = "LOCALTIME", current_user = "CURRENT_USER" },
  tuple_rows = "",
  json_path = "jsonb_path_query_first(CAST(%s AS JSONB), CAST(%s AS JSONPATH)) #>> '{}'",
  json_part = "jsonb_path_query_first(CAST(%s AS JSONB), CAST(%s AS JSONPATH))",
  bytes_literal = "'\\x%s'",
  literals = {
    Interval = interval,
    Uuid = uuid,
  },
  types = { Double = "DOUBLE PRECISION", LargeBinary = "BYTEA", Uuid = "UUID", DateTime = timestamp("TIMESTAMP"),
    Time = timestamp("TIME") },
  serial = { Integer = "SERIAL", SmallInteger = "SMALLSERIAL", BigInteger = "BIGSERIAL" },
  exact_numeric = true,
  moment_arithmetic = true,
  distinct_on = true,
  compound_all = true,
  conflict_constraint = true,
  lateral = true,
  row_locks = true,
  update_from = true,
  delete_using = true,
  changes_in_with = true,
  identity = true,
  computed_stored = true,
}

return true
