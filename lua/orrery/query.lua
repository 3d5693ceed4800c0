--- query: the legacy style, session:query(User):filter(...):all(). A query is a select and the session it runs on; every
-- method gives a changed copy.
local import = ...
local errors = import "errors"
local change = import "change"
local expression = import "expression"
local functions = import "functions"
local adapting = import "adapting"
local aliased = import "aliased"
local joining = import "joining"
local statement = import "statement"
local session_module = import "session"

local query = {}
local unpack = table.unpack or unpack

---@class orrery.Query
local Query = {}
-- As a list of values, in_(query), it is its select.
local MARK = { __name = "orrery.Query", __clause = function(self) return self.select end }
local metatable = { __index = errors.guard(Query, "a query"), __metatable = MARK, __name = "orrery.Query" }

local function check(self, call)
  errors.check_self(self, getmetatable(self) == MARK, "query:" .. call)
end

-- `moved`: where a union stands for the class, what its columns are read from.
local function new(session, select, moved)
  return setmetatable({ session = session, select = select, statement = select, moved = moved }, metatable)
end

-- After a union the class's columns mean those of the union.
local function placed(self, ...)
  local arguments, count = { ... }, select("#", ...)
  for position = 1, self.moved and count or 0 do
    if expression.is_element(arguments[position]) then
      arguments[position] = adapting.moved(arguments[position], self.moved.from, self.moved.to)
    end
  end
  return unpack(arguments, 1, count)
end

-- filter() is the older name of where(); everything else keeps its name.
local FORWARDED = {
  filter = "where", where = "where", filter_by = "filter_by", join = "join", outerjoin = "outerjoin", order_by = "order_by",
  group_by = "group_by", having = "having", limit = "limit", offset = "offset", distinct = "distinct", options = "options",
  select_from = "select_from", add_columns = "add_columns", add_entity = "add_columns", with_entities = "with_only_columns",
  execution_options = "execution_options", correlate = "correlate", from_statement = "from_statement",
  with_for_update = "with_for_update",
}
for name, method in pairs(FORWARDED) do
  Query[name] = function(self, ...)
    check(self, name)
    return new(self.session, self.select[method](self.select, placed(self, ...)), self.moved)
  end
end

local function with_execution(name, value_of)
  Query[name] = function(self, ...)
    check(self, name)
    return new(self.session, self.select:execution_options(value_of(...)), self.moved)
  end
end
with_execution("populate_existing", function() return { populate_existing = true } end)
with_execution("yield_per", function(rows) return { yield_per = rows } end)
with_execution("autoflush", function(on) return { autoflush = on } end)

-- As parts of other statements: what they give is no query.
for _, name in ipairs({ "subquery", "cte", "scalar_subquery", "lateral" }) do
  Query[name] = function(self, ...)
    check(self, name)
    return self.select[name](self.select, ...)
  end
end

--- Whether the query has a row, as a condition: session:query(q:exists()):scalar().
function Query:exists()
  check(self, "exists")
  local select = self.select:with_only_columns(functions.literal_column("1"))
  for _, item in ipairs(self.select:result_items()) do
    for _, source in ipairs(joining.tables_of(item)) do
      select = select:select_from(source)
    end
  end
  return functions.exists(select)
end

--- The rows from position `first` to before `last`, counted from 0 as SQLAlchemy does.
---@param first? integer
---@param last? integer
function Query:slice(first, last)
  check(self, "slice")
  local select = self.select
  if last ~= nil then
    select = select:limit(math.max(0, last - (first or 0)))
  end
  return new(self.session, first and first > 0 and select:offset(first) or select, self.moved)
end

-- ---- unions ----

local function class_of(self, call)
  local items = self.select:result_items()
  local item = #items == 1 and items[1]
  if not item or item.visit ~= "entity" or item.table ~= item.mapper.table then
    errors.raise("InvalidRequestError", "query:%s(): the query must be of one class", call)
  end
  return item.mapper
end

-- The queries' rows together, as objects of the one class that they are of.
for _, name in ipairs({ "union", "union_all", "intersect", "intersect_all", "except_", "except_all" }) do
  Query[name] = function(self, ...)
    check(self, name)
    local mapper, others = class_of(self, name), {}
    for position = 1, select("#", ...) do
      local other = (select(position, ...))
      if getmetatable(other) ~= MARK then
        errors.raise("ArgumentError", "query:%s(): argument %d must be a query, got %s", name, position, errors.show(other))
      elseif class_of(other, name) ~= mapper then
        errors.raise("ArgumentError", "query:%s(): argument %d is of another class than '%s'", name, position, mapper.name)
      end
      others[position] = other.select
    end
    local source = self.select[name](self.select, unpack(others)):subquery()
    return new(self.session, statement.select(aliased.aliased(mapper.class, source)), { from = mapper.table, to = source })
  end
end

-- ---- running ----

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
  return run(self.select.limited and self or self:limit(1)):first()
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

--- The object with a primary key; NoResultFound where there is none.
---@param key any
function Query:get_one(key)
  check(self, "get_one")
  return self.session:get_one(class_of(self, "get_one").class, key)
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
  local select = statement.select(functions.func.count()):select_from(self.select:subquery("counted"))
  select.loader_options = self.select.loader_options
  return self.session:scalar(select)
end


local CHANGE_OPTIONS = { synchronize_session = true }

-- An update or delete with the conditions of the query, which must be of one class and nothing else.
local function changing(self, make, call, options)
  options = errors.check_options(options, CHANGE_OPTIONS, "query:" .. call .. "()")
  local mapper = class_of(self, call)
  for _, part in ipairs({ "joins", "limited", "skipped", "groups", "orders" }) do
    if self.select[part] then
      errors.raise("InvalidRequestError", "query:%s(): the query must be of one class, with conditions only", call)
    end
  end
  local stmt = make(mapper.class):where(expression.all)
  for _, condition in ipairs(self.select.wheres or {}) do
    stmt = stmt:where(condition)
  end
  stmt.loader_options = self.select.loader_options -- with_loader_criteria() among them holds here, too
  return options.synchronize_session ~= nil and stmt:execution_options(options) or stmt
end

--- Changes the rows that the query finds; how many they were.
---@param values table<string, any>
---@param options? { synchronize_session: string|false }
---@return integer
function Query:update(values, options)
  check(self, "update")
  return self.session:execute(changing(self, change.update, "update", options):values(values)).rowcount
end

--- Deletes the rows that the query finds, without cascades; how many they were.
---@param options? { synchronize_session: string|false }
---@return integer
function Query:delete(options)
  check(self, "delete")
  return self.session:execute(changing(self, change.delete, "delete", options)).rowcount
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
