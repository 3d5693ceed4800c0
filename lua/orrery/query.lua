--- query: the legacy style, session:query(User):filter(...):all(). A query is a select and the session it runs on; every
-- method gives a changed copy.
local import = ...
local errors = import "errors"
local change = import "change"
local expression = import "expression"
local functions = import "functions"
local statement = import "statement"
local session_module = import "session"

local query = {}

---@class orrery.Query
local Query = {}
local MARK = { __name = "orrery.Query" }
local metatable = { __index = Query, __metatable = MARK, __name = "orrery.Query" }

local function check(self, call)
  errors.check_self(self, getmetatable(self) == MARK, "query:" .. call)
end

local function new(session, select)
  return setmetatable({ session = session, select = select }, metatable)
end

-- filter() is the older name of where(); everything else keeps its name.
local FORWARDED = {
  filter = "where", where = "where", filter_by = "filter_by", join = "join", outerjoin = "outerjoin", order_by = "order_by",
  group_by = "group_by", having = "having", limit = "limit", offset = "offset", distinct = "distinct", options = "options",
  select_from = "select_from", add_columns = "add_columns", execution_options = "execution_options",
}
for name, method in pairs(FORWARDED) do
  Query[name] = function(self, ...)
    check(self, name)
    return new(self.session, self.select[method](self.select, ...))
  end
end

-- Objects where one class is queried, rows otherwise; an object that several rows give is given once.
local function run(self)
  local result, single = session_module.objects_or_rows(self.session, self.select)
  return single and result:unique() or result
end

--- All objects (or rows).
---@return table
function Query:all()
  check(self, "all")
  return run(self):all()
end

--- The first object (or row), or nil.
function Query:first()
  check(self, "first")
  return run(new(self.session, self.select:limit(1))):first()
end

--- The only object (or row); NoResultFound or MultipleResultsFound otherwise.
function Query:one()
  check(self, "one")
  return run(self):one()
end

--- The only object (or row), or nil; MultipleResultsFound where there are more.
function Query:one_or_none()
  check(self, "one_or_none")
  return run(self):one_or_none()
end

--- The first column of the only row, or nil.
function Query:scalar()
  check(self, "scalar")
  return self.session:execute(self.select):scalar_one_or_none()
end

--- The object with a primary key, or nil.
---@param key any
function Query:get(key)
  check(self, "get")
  local items = self.select:result_items()
  local class = #items == 1 and items[1].visit == "entity" and items[1].class
  if not class then
    errors.raise("InvalidRequestError", "query:get(): the query must be of one class")
  end
  return self.session:get(class, key)
end

--- How many rows the query has.
---@return integer
function Query:count()
  check(self, "count")
  local counted = self.select:subquery("counted")
  return self.session:scalar(statement.select(functions.func.count()):select_from(counted))
end


-- An update or delete with the conditions of the query, which must be of one class and nothing else.
local function changing(self, make, call)
  local items = self.select:result_items()
  local class = #items == 1 and items[1].visit == "entity" and items[1].class
  for _, part in ipairs({ "joins", "limited", "skipped", "groups", "orders" }) do
    if not class or self.select[part] ~= nil then
      errors.raise("InvalidRequestError", "query:%s(): the query must be of one class, with conditions only", call)
    end
  end
  local stmt = make(class):where(expression.all)
  for _, condition in ipairs(self.select.wheres or {}) do
    stmt = stmt:where(condition)
  end
  return stmt
end

--- Changes the rows that the query finds; how many they were.
---@param values table<string, any>
---@return integer
function Query:update(values)
  check(self, "update")
  return self.session:execute(changing(self, change.update, "update"):values(values)).rowcount
end

--- Deletes the rows that the query finds, without cascades; how many they were.
---@return integer
function Query:delete()
  check(self, "delete")
  return self.session:execute(changing(self, change.delete, "delete")).rowcount
end

-- A query is its own iterator: for user in session:query(User) do
metatable.__call = function(self, _, control)
  if control == nil then
    rawset(self, "running", run(self))
  end
  return self.running()
end

function metatable.__tostring(self)
  return tostring(self.select)
end

--- A query of classes or columns on this session, in the legacy style.
---@param ... any classes, columns, expressions
---@return orrery.Query
function session_module.methods:query(...)
  return new(self, statement.select(...))
end

return query
