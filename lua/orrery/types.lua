--- types: column types as a script names them. A type says its DDL name and how Lua values become database values and
-- back; the checks themselves are the core's (typelib.c), and types with Lua functions wrap them. Knows no column.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local json = reading.later "json"
local moment = reading.later "moment"
local packing = reading.later "packing"

---@class orrery.Type
---@field name string "String"
---@field kind integer one of core.kinds
---@field handle userdata the core's type
---@field key string equal for types that behave alike: part of a cached statement's key
---@field bind_key string the key of a value bound with this type
---@field compares? table<string, orrery.Type> what values are bound as that are compared with this type
---@field length? integer
---@field precision? integer
---@field scale? integer
---@field as? string
---@field mutable? boolean whether values can change in place
---@field variants? table<string, orrery.Type> what stands for it in single dialects
---@field base? orrery.Type what it is in the others
---@field bind? fun(self, value): any
---@field result? fun(self, stored): any
local Type = {}

local types = {}
local kinds, null = core.kinds, core.null
local unpack = rawget(table, "unpack") or unpack

-- Also what getmetatable gives for a type: scripts reach no further.
local MARK = { __name = "orrery.type" }
local metatable = { __index = Type, __metatable = MARK }

--- Whether `value` is a type.
---@param value any
---@return boolean
local function is_type(value)
  return type(value) == "table" and getmetatable(value) == MARK
end
types.is_type = is_type

-- ---- making types ----

-- A definition: kind, ddl (name or function), parameters (positional ones, in order), options (further names),
-- setup (finishes a new type's fields), read (takes a call's arguments in place of parameters).

local function key_of(self)
  local parts = { self.name, self.length or "", self.precision or "", self.scale or "", self.as or "",
    self.timezone and "z" or "" }
  return table.concat(parts, ",")
end

-- Short names for long keys. They are never given twice, so dropping them all when there are too many costs no more
-- than a statement compiled anew.
local MAX_SHORT = 10000
local short, shorts, last_short = {}, 0, 0

local function shortened(key)
  if not short[key] then
    if shorts >= MAX_SHORT then
      short, shorts = {}, 0
    end
    shorts, last_short = shorts + 1, last_short + 1
    short[key] = "t" .. last_short
  end
  return short[key]
end

local function set_key(self, key)
  self.key = shortened(key)
  self.bind_key = "?" .. self.key
  self.compares, self.stored = nil, nil -- of the type that this one was copied from
end

local function make(definition, fields)
  local self = fields
  self.name, self.kind, self.definition = definition.name, definition.kind, definition
  self.bind, self.result, self.mutable = definition.bind, definition.result, definition.mutable
  local stored_as = self.as == "string" and "string" or nil
  self.handle = core.type(self.kind, self.length, self.precision, self.scale, stored_as)
  self.key = key_of(self)
  if definition.setup then
    definition.setup(self)
  end
  set_key(self, self.key)
  return setmetatable(self, metatable)
end

local function check_number(value, name, call)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 or value > 2147483647 then
    errors.raise("ArgumentError", "%s: %s must be a whole number from 0, got %s", call, name, errors.show(value))
  end
end

local NUMBERS = { length = true, precision = true, scale = true }
local WORDS = {
  as = function(definition, value)
    return definition.as and definition.as[value], "as must be " .. table.concat(definition.as_names or {}, " or ")
  end,
  timezone = function(_, value)
    return type(value) == "boolean", "timezone must be true or false"
  end,
}

local function check_field(definition, name, value, call)
  if NUMBERS[name] then
    return check_number(value, name, call)
  end
  local ok, wanted = WORDS[name](definition, value)
  if not ok then
    errors.raise("ArgumentError", "%s: %s, got %s", call, wanted, errors.show(value))
  end
end

-- The trailing options table of a call, and how many arguments stand before it.
local function split_options(allowed, call, count, ...)
  local last = count > 0 and (select(count, ...)) or nil
  if type(last) ~= "table" then
    return {}, count
  end
  local fields = {}
  for name, value in pairs(errors.check_options(last, allowed, call)) do
    fields[name] = value
  end
  return fields, count - 1
end

local function read_parameters(definition, ...)
  local call = definition.name .. "()"
  local fields, count = split_options(definition.allowed, call, select("#", ...), ...)
  local parameters = definition.parameters
  if count > #parameters then
    errors.raise("ArgumentError", "%s takes %s, got %d arguments", call,
      #parameters == 0 and "no arguments" or table.concat(parameters, ", "), count)
  end
  for position = 1, count do
    fields[parameters[position]] = (select(position, ...))
    check_number((select(position, ...)), parameters[position], call)
  end
  for name, value in pairs(fields) do
    check_field(definition, name, value, call)
  end
  return fields
end

function metatable.__call(self, ...)
  local definition = self.definition
  if self ~= definition.bare then
    errors.raise("ArgumentError", "%s is a type already and cannot be called again", tostring(self))
  end
  return make(definition, (definition.read or read_parameters)(definition, ...))
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do
    set[name] = true
  end
  return set
end

local function define(name, definition)
  definition.name = name
  definition.parameters = definition.parameters or {}
  definition.allowed = set_of(definition.parameters)
  for _, option in ipairs(definition.options or {}) do
    definition.allowed[option] = true
  end
  if definition.as then
    definition.as_names, definition.as = definition.as, set_of(definition.as)
  end
  definition.bare = make(definition, {})
  types[name] = definition.bare
end

-- ---- what every type does ----

--- The value as the database stores it; nil and orm.null give orm.null. Raises where it does not fit.
---@param value any
---@return any
function Type:to_db(value)
  if value == nil or value == null then
    return null
  elseif self.bind then
    value = self:bind(value)
  end
  return core.take(self.handle, value)
end

--- The type of values that are as the database has them already: this one without its functions.
---@return orrery.Type
function Type:as_stored()
  if not self.bind then
    return self
  elseif not self.stored then
    local stored = {}
    for field, value in pairs(self) do
      stored[field] = value
    end
    stored.bind, stored.result, stored.mutable, stored.variants, stored.base = nil, nil, nil, nil, nil
    set_key(stored, self.key .. ",as stored")
    self.stored = setmetatable(stored, metatable)
  end
  return self.stored
end

--- The Lua value that a stored value reads as; NULL reads as nil.
---@param stored any
---@return any
function Type:from_db(stored)
  if stored == nil or stored == null then
    return nil
  end
  local value = core.show(self.handle, stored)
  if self.result then
    return self:result(value)
  end
  return value
end

-- Values are converted when they are assigned, before any engine is known: as in the database that drivers exist for.
local RUNNING = "sqlite"

--- What stands for the type in a dialect (SQLite by default): a variant, or the type itself.
---@param dialect? table
---@return orrery.Type
function Type:for_dialect(dialect)
  if not self.variants then
    return self
  end
  return self.variants[dialect and dialect.name or RUNNING] or self.base
end

--- The type's name in DDL: the dialect's own where it has one, else SQLite's.
---@param dialect? table
---@return string
function Type:ddl(dialect)
  local kind = self:for_dialect(dialect)
  kind = kind.impl or kind
  if kind ~= self then
    return kind:ddl(dialect)
  end
  local own = dialect and dialect.types and dialect.types[self.definition.name]
  local name = own or self.definition.ddl
  return type(name) == "function" and name(self, dialect) or name
end

--- SQL that makes a value of the type.
---@param dialect table
---@param operand string
---@return string
function Type:cast(dialect, operand)
  local kind = self:for_dialect(dialect)
  kind = kind.impl or kind
  if kind ~= self then
    return kind:cast(dialect, operand)
  end
  local template = dialect.casts[self.definition.name]
  return template and template:format(operand) or ("CAST(%s AS %s)"):format(operand, self:ddl(dialect))
end

--- Names of dialects, by name; dialects put themselves here.
types.dialects = {}

local function check_variant(self, other, count, ...)
  if other == self or count == 0 then
    errors.raise("ArgumentError", "with_variant(type, \"postgresql\", ...): another type and names of dialects expected")
  end
  for position = 1, count do
    local name = (select(position, ...))
    if not types.dialects[name] then
      errors.raise("ArgumentError", "with_variant(): there is no dialect %s%s", errors.show(name),
        errors.hint(name, errors.sorted_keys(types.dialects)))
    elseif self.variants and self.variants[name] then
      errors.raise("ArgumentError", "with_variant(): %s has a variant for '%s' already", tostring(self), name)
    end
  end
end

local function variants_key(variants)
  local parts = {}
  for _, name in ipairs(errors.sorted_keys(variants)) do
    parts[#parts + 1] = name .. "=" .. variants[name].key
  end
  return table.concat(parts, ",")
end

--- The same type with another one in its place in some dialects: JSON:with_variant(Text, "sqlite").
---@param other orrery.Type
---@param ... string names of dialects
---@return orrery.Type
function Type:with_variant(other, ...)
  if not is_type(self) then
    errors.raise("ArgumentError", "type:with_variant was called with '.'; use ':'")
  end
  other = types.coerce(other, "with_variant()")
  check_variant(self, other, select("#", ...), ...)
  local variants, copy = {}, {}
  for name, variant in pairs(self.variants or {}) do
    variants[name] = variant
  end
  for position = 1, select("#", ...) do
    variants[(select(position, ...))] = other
  end
  for field, value in pairs(variants[RUNNING] or self.base or self) do
    copy[field] = value
  end
  copy.variants, copy.base = variants, self.base or self
  set_key(copy, ("%s,variants %s"):format(copy.base.key, variants_key(variants)))
  return setmetatable(copy, metatable)
end

function metatable.__tostring(self)
  if self.base then
    return tostring(self.base)
  end
  local arguments = {}
  for _, name in ipairs(self.definition.parameters) do
    arguments[#arguments + 1] = self[name]
  end
  if self.as then
    arguments[#arguments + 1] = ("{ as = %q }"):format(self.as)
  end
  return #arguments == 0 and self.name or ("%s(%s)"):format(self.name, table.concat(arguments, ", "))
end

--- The type that `value` names; raises with advice where it is none.
---@param value any
---@param where string what needs the type: "Column 'name'"
---@return orrery.Type
function types.coerce(value, where)
  if is_type(value) then
    if value == types.Enum then
      errors.raise("ArgumentError", "%s: Enum needs its values: Enum(\"draft\", \"sent\")", where)
    end
    return value
  elseif type(value) == "string" then
    errors.raise("ArgumentError", "%s: types are objects such as orm.String(30), got the string %s%s", where,
      errors.show(value), errors.hint(value, types.names))
  end
  errors.raise("ArgumentError", "%s: a type such as orm.Integer expected, got %s", where,
    value == nil and "nil (is the type's name misspelt?)" or type(value))
end

-- ---- numbers ----

local function integer(name, ddl)
  define(name, { kind = kinds.INTEGER, ddl = ddl, options = { "as" }, as = { "string" } })
end
integer("Integer", "INTEGER")
integer("SmallInteger", "SMALLINT")
integer("BigInteger", "BIGINT")

local function float_ddl(self)
  return self.precision and ("FLOAT(%d)"):format(self.precision) or "FLOAT"
end

define("Float", { kind = kinds.FLOAT, ddl = float_ddl, parameters = { "precision" } })
define("Double", { kind = kinds.FLOAT, ddl = "DOUBLE" })

-- SQLite would turn digits in a NUMERIC column into a double; a name with TEXT in it has them kept as they are.
local function numeric_ddl(self, dialect)
  local name = self.as == "string" and not (dialect and dialect.exact_numeric) and "DECIMAL_TEXT" or "NUMERIC"
  if not self.precision then
    return name
  end
  return self.scale and ("%s(%d, %d)"):format(name, self.precision, self.scale)
    or ("%s(%d)"):format(name, self.precision)
end

define("Numeric", {
  kind = kinds.NUMERIC,
  ddl = numeric_ddl,
  parameters = { "precision", "scale" },
  options = { "as" },
  as = { "string" },
})

--- Whether values are exact decimals, kept digit by digit.
---@param kind orrery.Type
---@return boolean
function types.is_exact(kind)
  return kind.kind == kinds.NUMERIC and kind.as == "string"
end

types.Exact = types.Numeric{ as = "string" }

-- ---- text and bytes ----

define("String", {
  kind = kinds.TEXT,
  parameters = { "length" },
  ddl = function(self)
    return self.length and ("VARCHAR(%d)"):format(self.length) or "VARCHAR"
  end,
})

define("Text", { kind = kinds.TEXT, ddl = "TEXT", parameters = { "length" } })
define("Boolean", { kind = kinds.BOOLEAN, ddl = "BOOLEAN" })
define("LargeBinary", { kind = kinds.BLOB, ddl = "BLOB", parameters = { "length" } })

--- What a value without a column is bound and read as: whatever Lua says that it is.
define("NullType", { kind = kinds.ANY, ddl = "NULL" })

-- ---- dates ----

local DATETIME = core.type(kinds.DATETIME)

-- Zones are allowed only where timezone = true, and are moved to UTC; the core refuses them elsewhere.
local function without_zone(value)
  local plain, offset = moment.split_zone(value)
  if not plain then
    return value
  end
  local utc = moment.to_utc(core.take(DATETIME, plain), offset)
  return utc or value
end

local function text_of_epoch(self, seconds)
  local text = seconds == seconds and moment.from_epoch(seconds)
  if not text then
    errors.raise("ArgumentError", "%s as = \"epoch\": %s is outside the years 1 to 9999", self.name, tostring(seconds))
  elseif self.kind ~= kinds.DATE then
    return text
  elseif seconds % 86400 ~= 0 then
    errors.raise("ArgumentError", "Date as = \"epoch\": %s is not the beginning of a day", tostring(seconds))
  end
  return text:sub(1, 10)
end

local function bind_moment(self, value)
  if type(value) == "number" and self.as == "epoch" then
    return text_of_epoch(self, value)
  elseif type(value) == "string" and self.timezone then
    return without_zone(value)
  end
  return value
end

-- Stored text that is no date reads as it is stored.
local function read_moment(self, stored)
  if type(stored) ~= "string" then
    return stored
  elseif self.as == "table" then
    return moment.to_table(stored) or stored
  elseif self.as == "epoch" then
    return moment.to_epoch(stored) or stored
  end
  return self.timezone and moment.to_table(stored) and stored .. "Z" or stored
end

local function moment_type(name, kind, ddl, as, options)
  define(name, {
    kind = kind,
    ddl = ddl,
    options = options,
    as = as,
    setup = function(self)
      self.bind = (self.as == "epoch" or self.timezone) and bind_moment or nil
      self.result = (self.as or self.timezone) and read_moment or nil
    end,
  })
end
moment_type("Date", kinds.DATE, "DATE", { "table", "epoch" }, { "as" })
moment_type("Time", kinds.TIME, "TIME", { "table" }, { "as" })
moment_type("DateTime", kinds.DATETIME, "DATETIME", { "table", "epoch" }, { "as", "timezone" })

-- ---- lengths of time ----

-- Kept as a whole number of microseconds, so that the database can add and compare them. Up to here, 136 years, seconds
-- in a double tell each of them from the next.
local MAX_MICROSECONDS = 2 ^ 32 * 1000000
local UNITS = { weeks = 604800, days = 86400, hours = 3600, minutes = 60, seconds = 1, milliseconds = 1e-3,
  microseconds = 1e-6 }

-- Whole units are added as microseconds, which are exact.
local function microseconds_of(value)
  if type(value) ~= "table" then
    return value * 1e6
  end
  local sum = 0
  for _, unit in ipairs(errors.sorted_keys(errors.check_options(value, UNITS, "Interval"))) do
    if type(value[unit]) ~= "number" then
      errors.raise("ArgumentError", "Interval: %s must be a number, got %s", unit, errors.show(value[unit]))
    end
    sum = sum + value[unit] * (UNITS[unit] * 1e6)
  end
  return sum
end

define("Interval", {
  kind = kinds.INTEGER,
  ddl = "INTERVAL",
  bind = function(_, value)
    if type(value) ~= "number" and (type(value) ~= "table" or next(value) == nil) then
      errors.raise("ArgumentError", "a number of seconds, or a table such as { hours = 1, minutes = 30 }, expected, got %s",
        errors.show(value))
    end
    local whole = math.floor(microseconds_of(value) + 0.5)
    if not (whole > -MAX_MICROSECONDS and whole < MAX_MICROSECONDS) then
      errors.raise("ArgumentError", "Interval: %s is longer than 136 years, or no number", errors.show(value))
    end
    return whole
  end,
  result = function(_, stored)
    if type(stored) == "string" then
      return moment.to_epoch(stored) or stored -- as a moment after 1970: how SQLAlchemy keeps it in SQLite
    elseif type(stored) ~= "number" then
      return stored
    end
    local whole = math.floor(stored + 0.5)
    return whole % 1000000 == 0 and math.floor(whole / 1000000) or whole / 1e6
  end,
})

-- ---- JSON ----

-- The JSON document `null`, which is not the absence of a document (NULL, nil).
local JSON_NULL = setmetatable({}, { __tostring = function() return "JSON.NULL" end, __newindex = function() end })

-- The NUMERIC affinity of a column named JSON makes an integer of a bare number, which not every Lua can read back.
local function check_bare(value)
  if type(value) == "number" and not core.int64 and value % 1 == 0 and math.abs(value) > 2 ^ 53 - 1
    and math.abs(value) < 2 ^ 63 then
    errors.raise("ArgumentError", "a number that this Lua holds exactly expected, got %s", errors.show(value))
  end
end

define("JSON", {
  kind = kinds.TEXT,
  ddl = "JSON",
  mutable = true,
  bind = function(_, value)
    check_bare(value)
    return json.encode(value == JSON_NULL and null or value)
  end,
  result = function(_, stored)
    if type(stored) ~= "string" then
      return stored -- a bare number: the NUMERIC affinity of a column named JSON made it one
    end
    local value = json.decode(stored)
    return value == null and JSON_NULL or value
  end,
})
types.JSON.NULL = JSON_NULL

-- ---- checked text ----

local function enum_values(list)
  local set, longest = {}, 0
  for position, value in ipairs(list) do
    if type(value) ~= "string" or set[value] then
      errors.raise("ArgumentError", "Enum(): value %d must be a string of its own, got %s", position,
        errors.show(value))
    end
    set[value], longest = true, math.max(longest, #value)
  end
  if #list == 0 then
    errors.raise("ArgumentError", "Enum() needs its values: Enum(\"draft\", \"sent\")")
  end
  return set, longest
end

-- Enum("a", "b", options) or Enum({ "a", "b" }, options).
local function read_enum(definition, ...)
  local given = { ... }
  local count = select("#", ...)
  if type(given[1]) == "table" and given[1][1] ~= nil then
    local fields = split_options(definition.allowed, "Enum()", count - 1, select(2, ...))
    fields.enum_name, fields.name = fields.name, nil
    fields.values = { unpack(given[1]) }
    return fields
  end
  local fields, values = split_options(definition.allowed, "Enum()", count, ...)
  fields.enum_name, fields.name = fields.name, nil
  fields.values = { unpack(given, 1, values) }
  return fields
end

define("Enum", {
  kind = kinds.TEXT,
  options = { "name", "create_constraint" },
  ddl = function(self)
    return ("VARCHAR(%d)"):format(self.longest)
  end,
  read = read_enum,
  setup = function(self)
    self.set, self.longest = {}, 0
    if self.values then
      self.set, self.longest = enum_values(self.values)
      self.key = self.key .. "," .. table.concat(self.values, "\0")
    end
  end,
  bind = function(self, value)
    if not self.set[value] then
      errors.raise("ArgumentError", "one of %s expected, got %s%s", table.concat(self.values, ", "), errors.show(value),
        type(value) == "string" and errors.nearest(value, self.values)
          and ("; did you mean '%s'?"):format(errors.nearest(value, self.values)) or "")
    end
    return value
  end,
})

-- Stored as 32 digits, which is how SQLAlchemy stores it where the database has no such type.
define("Uuid", {
  kind = kinds.TEXT,
  ddl = "CHAR(32)",
  bind = function(_, value)
    local digits = type(value) == "string" and value:lower():gsub("^(%x+)%-(%x%x%x%x)%-(%x%x%x%x)%-(%x%x%x%x)%-(%x+)$",
      "%1%2%3%4%5")
    if not digits or #digits ~= 32 or digits:find("%X") or (#value ~= 36 and #value ~= 32) then
      errors.raise("ArgumentError", "a UUID such as 'f47ac10b-58cc-4372-a567-0e02b2c3d479' expected, got %s",
        errors.show(value))
    end
    return digits
  end,
  result = function(_, stored)
    if type(stored) ~= "string" or #stored ~= 32 or stored:find("%X") then
      return stored
    end
    local text = ("%s-%s-%s-%s-%s"):format(stored:sub(1, 8), stored:sub(9, 12), stored:sub(13, 16), stored:sub(17, 20),
      stored:sub(21))
    return text:lower()
  end,
})

-- ---- types of a script's own ----

local function wrap_bind(impl, process)
  if not process then
    return impl.bind and function(_, value) return impl:bind(value) end
  end
  return function(self, value)
    value = process(self, value)
    if value == nil or value == null or not impl.bind then
      return value
    end
    return impl:bind(value)
  end
end

local function wrap_result(impl, process)
  local inner = impl.result and function(_, stored) return impl:result(stored) end
  if not process then
    return inner
  end
  return function(self, stored)
    if inner then
      stored = inner(self, stored)
    end
    return process(self, stored)
  end
end

local DECORATOR_OPTIONS = { impl = 1, process_bind_param = 1, process_result_value = 1, mutable = 1 }
local decorators = 0

--- A type of the script's own: stored as `impl`, with functions around it. They see no NULL.
---@param name string
---@param options table impl, process_bind_param(self, value), process_result_value(self, stored), mutable
---@return orrery.Type
function types.TypeDecorator(name, options)
  if type(name) ~= "string" then
    errors.raise("ArgumentError", "TypeDecorator(name, { impl = type, ... }): a name expected, got %s", type(name))
  end
  options = errors.check_options(options, DECORATOR_OPTIONS, "TypeDecorator()")
  local impl = types.coerce(options.impl, ("TypeDecorator '%s': impl"):format(name))
  local self = {}
  for field, value in pairs(impl) do
    self[field] = value
  end
  decorators = decorators + 1
  self.name, self.impl, self.variants, self.base = name, impl, nil, nil
  set_key(self, ("%s,decorator %d"):format(name, decorators))
  self.bind = wrap_bind(impl, options.process_bind_param)
  self.result = wrap_result(impl, options.process_result_value)
  self.mutable = options.mutable == nil and impl.mutable or options.mutable or nil
  return setmetatable(self, metatable)
end

--- Mapped(Optional(T)): the column may be NULL.
---@param inner orrery.Type
---@return { optional: true, type: orrery.Type }
function types.Optional(inner)
  local mark = getmetatable(inner)
  if type(mark) == "table" and mark.__name == "orrery.ForeignKey" then
    errors.raise("ArgumentError", "Optional() takes a type; the foreign key stands behind it: Mapped(Optional(Integer), %s)",
      tostring(inner))
  end
  return { optional = true, type = types.coerce(inner, "Optional()") }
end

-- ---- lists of values as one value ----

local LIST = { name = "List", kind = kinds.TEXT, ddl = "JSON", parameters = {},
  bind = function(self, list)
    return packing.array(packing.values(list, #self.elements), self.elements)
  end,
}
local PACKED = { name = "Packed", kind = kinds.TEXT, ddl = "JSON", parameters = {} }
local lists = setmetatable({}, { __mode = "v" })

local function list_type(definition, elements)
  local keys = { definition.name }
  for position, element in ipairs(elements) do
    keys[position + 1] = element.key
  end
  local key = table.concat(keys, ",")
  local known = lists[key]
  if not known then
    known = make(definition, { elements = elements })
    set_key(known, key)
    lists[key] = known
  end
  return known
end

--- The type of a parameter that takes a whole list of values, or, of several types, of rows.
---@param elements orrery.Type[]
---@return orrery.Type
function types.list_of(elements)
  return list_type(LIST, elements)
end

--- The same for a list that core.pack() has made of stored values.
---@param elements orrery.Type[]
---@return orrery.Type
function types.packed_of(elements)
  return list_type(PACKED, elements)
end

-- ---- types of values that have no column ----

local math_type = rawget(math, "type")
local NATURAL = { string = types.Text, boolean = types.Boolean }

--- The type of a Lua value by itself.
---@param value any
---@return orrery.Type
function types.of_value(value)
  if type(value) == "number" then
    if math_type then
      return math_type(value) == "integer" and types.Integer or types.Float
    end
    return value % 1 == 0 and types.Integer or types.Float
  end
  return NATURAL[type(value)] or types.NullType
end

-- Numbers may be compared with any number, and text with text of any length: a question that no row fits is still
-- a question, while the same value assigned would be a mistake.
local NUMERIC = { [kinds.INTEGER] = true, [kinds.FLOAT] = true, [kinds.NUMERIC] = true }

local function bound_as(other, kind)
  if kind == "number" and NUMERIC[other.kind] and not other.as and not other.bind then
    return types.NullType
  elseif kind == "string" and other.kind == kinds.TEXT and not other.bind then
    return types.Text
  end
  return other
end

--- The type that a value is bound as where it meets something of type `other`.
---@param other orrery.Type
---@param kind string what type() says of the value
---@return orrery.Type
function types.compared(other, kind)
  local known = other.compares or {}
  known[kind] = known[kind] or bound_as(other, kind)
  other.compares = known
  return known[kind]
end

types.names = {}
for name, value in pairs(types) do
  if is_type(value) and name ~= "Exact" then
    types.names[#types.names + 1] = name
  end
end
table.sort(types.names)

return types
