--- orm_execute: what a listener to a session's event do_orm_execute is given: the statement that is about to run, which it may
-- replace or run itself.
local import = ...
local errors = import "errors"
local event = import "event"
local settings = import "settings"

local orm_execute = {}

---@class orrery.OrmExecute
---@field session orrery.Session
---@field statement table what runs; may be assigned
---@field parameters? table may be assigned
---@field execution_options table
---@field is_select boolean
---@field is_insert boolean
---@field is_update boolean
---@field is_delete boolean
---@field is_orm_statement boolean whether it is about mapped classes
---@field is_relationship_load boolean whether objects of a relationship are loaded, when it is read or behind a query
---@field is_column_load boolean
---@field all_mappers string[] names of the classes that it selects, or changes
local State = {}
local MARK = { __name = "orrery.OrmExecute" }
local ASSIGNABLE = { statement = true, parameters = true }

local function mapper_names(stmt)
  local names = {}
  local items = type(stmt) == "table" and stmt.visit ~= "text" and stmt.is_statement and stmt:result_items() or {}
  for _, item in ipairs(items) do
    names[#names + 1] = item.visit == "entity" and item.mapper.name or nil
  end
  if rawget(stmt, "of") and stmt.of.visit == "entity" then
    names[1] = stmt.of.mapper.name
  end
  return names
end

local READ = {
  is_select = function(self) return self.statement.visit == "select" or self.statement.visit == "compound" end,
  is_insert = function(self) return self.statement.visit == "insert" end,
  is_update = function(self) return self.statement.visit == "update" end,
  is_delete = function(self) return self.statement.visit == "delete" end,
  is_orm_statement = function(self) return mapper_names(self.statement)[1] ~= nil end,
  all_mappers = function(self) return mapper_names(self.statement) end,
  is_column_load = function() return false end,
}

local metatable = { __metatable = MARK, __name = MARK.__name }

function metatable.__index(self, name)
  if State[name] or ASSIGNABLE[name] then
    return State[name]
  elseif READ[name] then
    return READ[name](self)
  end
  local known = errors.sorted_keys(READ)
  for _, more in ipairs({ "session", "statement", "parameters", "execution_options", "is_relationship_load" }) do
    known[#known + 1] = more
  end
  errors.raise("ArgumentError", "do_orm_execute: its state has no '%s'%s", tostring(name), errors.hint(tostring(name), known))
end

function metatable.__newindex(self, name, value)
  if not ASSIGNABLE[name] then
    errors.raise("ArgumentError", "do_orm_execute: '%s' cannot be assigned; statement and parameters can", tostring(name))
  end
  rawset(self, name, value)
end

--- Runs the statement and gives its result, which the listener then returns in its place.
---@param stmt? table another one
---@return table result
function State:invoke_statement(stmt)
  local invoke = rawget(self, "invoke")
  if not invoke then
    errors.raise("InvalidRequestError", "do_orm_execute: what a relationship loads cannot be run by a listener; change its "
      .. "statement instead")
  end
  return invoke(stmt or self.statement, self.parameters, self.execution_options)
end

--- Adds execution options.
---@param options table
function State:update_execution_options(options)
  rawset(self, "execution_options", settings.of_statement(self.execution_options, options))
end

--- Tells a session's listeners of a statement that is about to run.
---@param session table
---@param fields table statement, parameters, execution_options, is_relationship_load, invoke
---@return orrery.OrmExecute state
---@return table? result what a listener has returned
function orm_execute.tell(session, fields)
  fields.session, fields.is_relationship_load = session, fields.is_relationship_load or false
  local state = setmetatable(fields, metatable)
  return state, event.ask(session.dispatch, "do_orm_execute", state)
end

return orm_execute
