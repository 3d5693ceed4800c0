--- session_change: insert, update and delete statements run by a session: objects that they return, lists of rows, and
-- how the session's objects keep up with the database.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local change = import "change"
local result = import "result"
local loading = import "loading"
local criteria = import "criteria"
local loader_option = import "loader_option"
local synchronizing = reading.later "synchronizing"

local session_change = {}

-- ---- what nobody knows the objects of ----

-- Changes that wait (autoflush is off) outlive the statement: only the other objects are read again.
local function expire_unchanged(self)
  local changed = {}
  for _, name in ipairs({ "dirty", "deleted" }) do
    for _, object in ipairs(core.list(self[1], name)) do
      changed[object] = true
    end
  end
  for _, object in ipairs(core.objects(self[1])) do
    if not changed[object] then
      core.forget(object)
    end
  end
end

-- After a change of a table, or by text, any object may hold what is no longer so.
local function expire_all(self)
  if core.is_settled(self[1]) then
    core.expire_all(self[1])
  else
    expire_unchanged(self)
  end
end

-- ---- statements that return objects ----

local function run_returning(self, stmt, params, scalars)
  local compiled, values = self:connection(stmt):compile(stmt, params)
  if not loading.has_entities(compiled) then
    return nil
  end
  local plan = loading.plan_of(compiled)
  local single = scalars and plan.single
  return loading.run(self, compiled, values, { rows = not single, populated = {} }), plan, single
end

local function result_of(out, plan, single)
  return result.from_array(out, single and plan.names or plan.row_metatable)
end

local ROWS = 1000

-- As many rows as one statement has markers for.
local function chunks_of(self, rows)
  local columns, chunks = 0, {}
  for _ in pairs(rows[1]) do
    columns = columns + 1
  end
  local most = math.max(1, math.min(ROWS, math.floor(self.engine.dialect.max_binds / math.max(1, columns)) - 1))
  for position, row in ipairs(rows) do
    if (position - 1) % most == 0 then
      chunks[#chunks + 1] = {}
    end
    table.insert(chunks[#chunks], row)
  end
  return chunks
end

-- insert(Class):returning(Class) of a list of rows: their objects, in the order of the rows.
local function insert_rows(self, stmt, rows, scalars)
  local all, plan, single = {}, nil, nil
  for _, chunk in ipairs(chunks_of(self, rows)) do
    local out
    out, plan, single = run_returning(self, stmt:values(chunk), nil, scalars)
    if not out then
      return nil
    end
    for _, row in ipairs(out) do
      all[#all + 1] = row
    end
  end
  return result_of(all, plan, single)
end

-- ---- update by primary key ----

local function one_update(stmt, mapper, row, position)
  local update, values = stmt, {}
  for name, value in pairs(row) do
    values[name] = value
  end
  for _, number in ipairs(mapper:key_numbers()) do
    local key = mapper.column_keys[number]
    if values[key] == nil or values[key] == core.null then
      errors.raise("InvalidRequestError", "update(%s) with a list of rows finds each by its primary key, and row %d has no '%s'",
        mapper.name, position, key)
    end
    update, values[key] = update:where(mapper:attribute(key):eq(values[key])), nil
  end
  return next(values) and update:values(values) or nil
end

-- session:execute(update(Class), { { id = 1, name = "x" }, ... })
local function update_rows(self, stmt, rows, mode)
  if stmt.wheres then
    errors.raise("InvalidRequestError", "update(%s) with a list of rows finds them by their primary keys and takes no where()",
      stmt.of.name)
  end
  local mapper, changed = stmt.of.mapper, 0
  for position, row in ipairs(rows) do
    local update = one_update(stmt, mapper, row, position)
    if update then
      local finish = synchronizing.begin(self, update, mode)
      local matched = self:connection(stmt):execute(update).rowcount
      if matched ~= 1 then
        errors.raise("StaleDataError", "update(%s): row %d was to change 1 row and found %d; there is none with its primary key",
          mapper.name, position, matched)
      end
      finish()
      changed = changed + 1
    end
  end
  return result.without_rows({ rowcount = changed })
end

-- ---- the way in ----

-- with_loader_criteria() among its options. A statement without a condition of its own is refused as ever.
local function with_criteria(stmt)
  for _, condition in ipairs(stmt.wheres and criteria.of_table(loader_option.criteria(stmt.loader_options), stmt.target) or {}) do
    stmt = stmt:where(condition)
  end
  return stmt
end

local function run_change(self, stmt, params, execution, options, scalars)
  local mode = synchronizing.mode(execution.synchronize_session)
  stmt = with_criteria(stmt)
  if params and params[1] ~= nil and stmt.visit == "update" then
    return update_rows(self, stmt, params, mode)
  end
  local finish = synchronizing.begin(self, stmt, mode, params)
  local out, plan, single
  if stmt.items then
    out, plan, single = run_returning(self, stmt, params, scalars)
  end
  local made = out and result_of(out, plan, single) or self:connection(stmt):execute(stmt, params, options)
  finish(params and change.for_parameters(stmt, params))
  return made
end

local function is_list(params)
  return type(params) == "table" and params[1] ~= nil
end

--- Runs what is no select.
---@param self table session
---@param stmt any
---@param params? table
---@param execution table options of the statement and of the call
---@param options? table those that the connection is told
---@param scalars boolean objects instead of rows, where the statement returns one class
---@return table result
function session_change.execute(self, stmt, params, execution, options, scalars)
  local visit = type(stmt) == "table" and rawget(stmt, "visit")
  local changes = visit == "update" or visit == "delete"
  if changes and stmt.of.visit == "entity" then
    return run_change(self, stmt, params, execution, options, scalars)
  elseif visit == "insert" and stmt.items then
    local found
    if is_list(params) then
      found = insert_rows(self, stmt, params, scalars)
    else
      local out, plan, single = run_returning(self, stmt, params, scalars)
      found = out and result_of(out, plan, single)
    end
    if found then
      return found
    end
  end
  local outcome = self:connection(stmt):execute(stmt, params, options)
  if changes or (visit == "text" and not outcome.returns_rows) then
    expire_all(self)
  end
  return outcome
end

return session_change
