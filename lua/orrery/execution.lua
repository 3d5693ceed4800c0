--- execution: what running a compiled statement takes and gives: parameters become values in the order of its markers,
-- rows become Lua values. Runs nothing itself.
local import = ...
local core = import "core"
local errors = import "errors"
local result = import "result"

local null = core.null

local execution = {}

-- ---- what a compiled statement needs to run ----

-- Positions and types whose values go through a Lua function, or nil.
local function with_function(list, name)
  local found
  for position, entry in ipairs(list) do
    if entry.type and entry.type[name] then
      found = found or {}
      found[#found + 1] = { position = position, type = entry.type }
    end
  end
  return found
end

local function handles_of(list)
  local handles = {}
  for position, entry in ipairs(list) do
    handles[position] = entry.type and entry.type.handle or false
  end
  return handles
end

local function names_of(list, field)
  local names = {}
  for position, entry in ipairs(list) do
    names[position] = entry[field] or false
  end
  return names
end

--- What is known of a compiled statement; found out once and kept in it.
---@param compiled table
---@return table
local function facts_of(compiled)
  local facts = compiled.facts
  if not facts then
    local names = names_of(compiled.binds, "key")
    facts = {
      count = #compiled.binds,
      order = core.order(compiled.sql, #compiled.binds, handles_of(compiled.binds), names),
      bind_names = names,
      bind_functions = with_function(compiled.binds, "bind"),
    }
    compiled.facts = facts
  end
  return facts
end
execution.facts = facts_of

local function set_columns(facts, columns, names)
  local nodes = {}
  for position, column in ipairs(columns) do
    nodes[position] = column.node or false
    names[position] = column.name or names[position]
  end
  facts.handles = handles_of(columns)
  facts.result_functions = with_function(columns, "result")
  facts.row_metatable = result.row_metatable(names, nodes)
  facts.names = names -- last: it says that the others are there
end

-- The database's columns of a text(), with the types that were given for them by name.
local function typed_columns(compiled, names)
  local given, columns = {}, {}
  for _, column in ipairs(compiled.columns or {}) do
    given[column.name] = column
  end
  for position, name in ipairs(names) do
    columns[position] = given[name] or {}
  end
  return columns
end

--- Fills in the columns: those in `compiled` where the statement names them, else the database's, whose names a stepped
-- statement has. These are looked at every time: the tables behind a "SELECT *" change.
---@param facts table
---@param compiled table
---@param stmt userdata
function execution.describe(facts, compiled, stmt)
  if compiled.kind ~= "text" and facts.names then
    return
  end
  local names = stmt:columns(facts.names)
  if names == facts.names then
    return
  end
  set_columns(facts, compiled.kind == "text" and typed_columns(compiled, names) or compiled.columns, names)
end

--- The values as the core takes them: through the Lua functions of their types.
---@param facts table
---@param values table
---@return table
function execution.convert(facts, values)
  local functions = facts.bind_functions
  if not functions then
    return values
  end
  local copy = {}
  for position = 1, facts.count do
    copy[position] = values[position]
  end
  for _, entry in ipairs(functions) do
    local value = values[entry.position]
    if value ~= nil and (value ~= null or entry.type.elements) then
      facts.converting = entry.position -- left there by a function that raises
      copy[entry.position] = entry.type:bind(value)
    end
  end
  facts.converting = false
  return copy
end

--- The parameter whose value a type's function has refused, as an error names it: "parameter 'name': ".
---@param facts table
---@return string?
function execution.refused(facts)
  local position = facts.converting
  facts.converting = false
  return position and "parameter " .. (facts.bind_names[position] and errors.show(facts.bind_names[position])
    or tostring(position)) .. ": " or nil
end

-- ---- parameters ----

local function known_names(compiled)
  local facts = execution.facts(compiled)
  if not facts.known then
    local known = {}
    for _, bind in ipairs(compiled.binds) do
      if bind.key then
        known[bind.key] = true
      end
    end
    facts.known = known
  end
  return facts.known
end

local function check_names(compiled, params)
  local known = known_names(compiled)
  for name in pairs(params) do
    if not known[name] then
      errors.raise("ArgumentError", "execute(): the statement has no parameter %s%s", errors.show(name),
        errors.hint(name, errors.sorted_keys(known)))
    end
  end
end

local function raise_missing(bind, position)
  errors.raise("ArgumentError", "execute(): a value is missing for the parameter '%s' (orm.null says NULL)",
    tostring(bind.key or position))
end

local function check_given(binds, values)
  for position = 1, #binds do
    if values[position] == nil then
      raise_missing(binds[position], position)
    end
  end
  return values
end

-- The value of one marker: given by name, or the statement's own; `again` where a function that gives defaults has been
-- called for another row already.
local function value_for(bind, own, set, again)
  local value
  if bind.key then
    value = set[bind.key]
  end
  if value ~= nil then
    return value
  elseif again and bind.callable then
    value = bind.callable()
    return value == nil and null or value
  end
  return own
end

local function fill_markers(binds, own, set, again)
  local values = {}
  for position = 1, #binds do
    local value = value_for(binds[position], own[position], set, again)
    if value == nil then
      raise_missing(binds[position], position)
    end
    values[position] = value
  end
  return values
end

local function count_names(set)
  local count = 0
  for _ in pairs(set) do
    count = count + 1
  end
  return count
end

local function same_keys(set, first, count)
  for name in pairs(first) do
    if set[name] == nil then
      return false
    end
  end
  return count_names(set) == count
end

-- Sets of one call must name the same parameters: what one of them leaves out is a mistake, not NULL.
local function check_sets(sets)
  local first, count = sets[1], count_names(sets[1])
  for index = 2, #sets do
    local set = sets[index]
    if type(set) ~= "table" then
      errors.raise("ArgumentError", "execute(): parameter set %d must be a table, got %s", index, errors.show(set))
    elseif not same_keys(set, first, count) then
      errors.raise("ArgumentError", "execute(): parameter set %d has the names (%s), the first has (%s); all sets of a call "
        .. "have the same names, with orm.null for NULL", index,
        table.concat(errors.sorted_keys(set), ", "), table.concat(errors.sorted_keys(first), ", "))
    end
  end
end

-- An empty list of rows, and an empty row, are the same table in Lua: an insert of the one would write a row of defaults.
local function check_not_empty(params, statement)
  if next(params) == nil and statement and statement.visit == "insert" and not statement.rows and not statement.source then
    errors.raise("ArgumentError", "execute(): there are no rows to insert, the table of them is empty; leave the call out "
      .. "then, or write insert(...):values{} for one row of defaults")
  end
end

--- What execute() was given: one set of parameters (of a list: the first), and the list.
---@param params any
---@param statement? table
---@return table? set
---@return table? sets
function execution.read_params(params, statement)
  if params == nil then
    return nil, nil
  elseif type(params) ~= "table" then
    errors.raise("ArgumentError", "execute(): parameters are a table of names or a list of such tables, got %s",
      errors.show(params))
  elseif params[1] == nil then
    check_not_empty(params, statement)
    return params, nil
  elseif type(params[1]) ~= "table" then
    errors.raise("ArgumentError",
      "execute(): parameters have names, { x = 1 }; exec_driver_sql() takes them by position")
  end
  check_sets(params)
  return params[1], params
end

--- The values of all markers of a statement.
---@param compiled table
---@param own table the statement's own values
---@param set? table values by name
---@return table
function execution.fill(compiled, own, set)
  if not set then
    return compiled.named and check_given(compiled.binds, own) or own
  end
  check_names(compiled, set)
  return fill_markers(compiled.binds, own, set)
end

--- The same for a list of sets, which have the same names.
---@param compiled table
---@param own table
---@param sets table[]
---@return table[]
function execution.fill_sets(compiled, own, sets)
  local value_sets = {}
  check_names(compiled, sets[1])
  for index, set in ipairs(sets) do
    value_sets[index] = fill_markers(compiled.binds, own, set, index > 1)
  end
  return value_sets
end

-- ---- rows ----

local function apply_functions(rows, functions)
  for _, entry in ipairs(functions) do
    local position, column_type = entry.position, entry.type
    for index = 1, #rows do
      local row = rows[index]
      local value = rawget(row, position)
      if value ~= nil then
        rawset(row, position, column_type:result(value))
      end
    end
  end
  return rows
end

--- The next rows of a statement, at most `max`, and whether they were the last.
---@param stmt userdata
---@param facts table
---@param max? integer
---@return table rows
---@return boolean done
function execution.fetch(stmt, facts, max)
  local rows, done = stmt:fetch(facts.handles, facts.row_metatable, max)
  if facts.result_functions then
    apply_functions(rows, facts.result_functions)
  end
  return rows, done
end

return execution
