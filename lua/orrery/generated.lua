--- generated: what the database makes of a column by itself: Computed() values and Identity() keys, as arguments of
-- Column(). Their SQL is ddl.lua's.
local import = ...
local errors = import "errors"
local expression = import "expression"
local functions = import "functions"

local generated = {}

local MARK = { __name = "orrery.generated" }
local metatable = { __metatable = MARK, __tostring = function(self) return self.call end }

--- Whether `value` is what Computed() or Identity() makes.
---@param value any
---@return boolean
function generated.is_generated(value)
  return type(value) == "table" and getmetatable(value) == MARK
end

local function check_flags(options, names, call)
  for _, name in ipairs(names) do
    if options[name] ~= nil and type(options[name]) ~= "boolean" then
      errors.raise("ArgumentError", "%s: %s must be true or false, got %s", call, name, errors.show(options[name]))
    end
  end
end

local COMPUTED_OPTIONS = { persisted = 1 }

--- A value that the database computes from other columns of the row: Column("area", Integer, Computed("width * height")).
---@param sql string|orrery.Element SQL (taken as it stands: never what a user wrote) or an expression
---@param options? { persisted?: boolean } true: stored with the row; false: computed when read; the database's choice
function generated.Computed(sql, options)
  local call = "Computed()"
  options = errors.check_options(options, COMPUTED_OPTIONS, call)
  check_flags(options, { "persisted" }, call)
  if type(sql) == "string" then
    sql = functions.literal_column(sql)
  end
  return setmetatable({ kind = "computed", call = call, sqltext = expression.expect_operand(sql, call, 1),
    persisted = options.persisted }, metatable)
end

local NUMBERS = { "start", "increment", "minvalue", "maxvalue", "cache" }
local FLAGS = { "always", "on_null", "nominvalue", "nomaxvalue", "cycle", "order" }
local IDENTITY_OPTIONS = {}
for _, names in ipairs{ NUMBERS, FLAGS } do
  for _, name in ipairs(names) do
    IDENTITY_OPTIONS[name] = 1
  end
end

--- A number that the database gives to each new row. SQLite does so for a single INTEGER primary key only, from 1, and
--- takes no further options.
---@param options? table start, increment, always, ...
function generated.Identity(options)
  local call = "Identity()"
  options = errors.check_options(options, IDENTITY_OPTIONS, call)
  check_flags(options, FLAGS, call)
  for _, name in ipairs(NUMBERS) do
    local value = options[name]
    if value ~= nil and (type(value) ~= "number" or value % 1 ~= 0) then
      errors.raise("ArgumentError", "%s: %s must be a whole number, got %s", call, name, errors.show(value))
    end
  end
  return setmetatable({ kind = "identity", call = call, options = options }, metatable)
end

return generated
