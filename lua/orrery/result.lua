--- result: rows, and the results that hand them out. Knows no connection: rows come from a source, which is
-- either a fetch function (a cursor) or an array that is complete already.
--
-- A row is a plain array of values whose metatable is made once per statement; NULL is nil. A result reads its
-- source once, forward only. Results made from a result (scalars, mappings, columns, unique) read the same source.
local import = ...
local core = import "core"
local errors = import "errors"
local expression = import "expression"

local unpack = table.unpack or unpack
local null = core.null

local result = {}

-- ---- rows ----

-- What a row's metatable shows of itself, to what is known of it: the metatables stay out of a script's reach.
local shapes = setmetatable({}, { __mode = "k" })

local function shape_of(row)
  return type(row) == "table" and shapes[getmetatable(row)] or nil
end

local AMBIGUOUS = {}

-- Name to position; a name that several columns have leads to AMBIGUOUS.
local function positions_of(names)
  local positions = {}
  for position, name in ipairs(names) do
    positions[name] = positions[name] and AMBIGUOUS or position
  end
  return positions
end

local function raise_ambiguous(name)
  errors.raise("AmbiguousColumnError",
    "several columns of this row are named '%s'; read them by position, or label them", name)
end

-- What a column object stands for in the end: the table's column behind labels, attributes and aliases.
local function origin_of(node)
  while type(node) == "table" and (node.origin or node.visit == "label") do
    node = node.origin or node.element
  end
  return node
end

-- Columns and their origins, to positions.
local function positions_by_node(nodes, count)
  local by_node, by_origin = {}, {}
  for position = 1, nodes and count or 0 do
    local node = nodes[position]
    if node then
      local origin = origin_of(node)
      by_node[node] = by_node[node] and AMBIGUOUS or position
      by_origin[origin] = by_origin[origin] and AMBIGUOUS or position
    end
  end
  return by_node, by_origin
end

-- A class and its attributes come as whatever stands for them in a statement.
local function position_of_node(shape, key)
  local node = (type(key) == "table" or type(key) == "userdata") and expression.clause(key)
  if node then
    return shape.nodes[node] or shape.origins[origin_of(node)]
  end
end

-- The name of the first object in a row, which may have what was asked of the row.
local function object_in(shape)
  local first
  for node, position in pairs(shape.nodes) do
    if node.visit == "entity" and position ~= AMBIGUOUS and (not first or position < first) then
      first = position
    end
  end
  return first and shape.names[first]
end

local function raise_no_column(shape, key)
  local object = object_in(shape)
  errors.raise("NoSuchColumnError", "there is no column %s in this row%s%s",
    type(key) == "string" and "'" .. key .. "'" or errors.show(key), errors.hint(key, shape.names),
    object and (" (an object, which has its own attributes: row.%s.name; scalars() gives objects instead of rows)"):format(object)
    or "")
end

-- The position that a name, a number from 1 or a column object stands for, or an error.
local function find_column(shape, key)
  local position = shape.positions[key] or type(key) ~= "number" and position_of_node(shape, key)
  if position == AMBIGUOUS then
    raise_ambiguous(type(key) == "string" and key or tostring(key))
  elseif not position and type(key) == "number" and key >= 1 and key <= shape.count then
    position = key
  elseif not position then
    raise_no_column(shape, key)
  end
  return position
end

local function row_index(shape)
  local positions = shape.positions
  return function(row, key)
    local position = positions[key]
    if not position or position == AMBIGUOUS then
      if type(key) == "number" then
        return nil
      end
      position = find_column(shape, key)
    end
    return rawget(row, position)
  end
end

local function row_newindex(_, key)
  errors.raise("InvalidRequestError", "rows are read-only: '%s' cannot be assigned", tostring(key))
end

local function row_equal(left, right)
  local a, b = shape_of(left), shape_of(right)
  if not a or not b or a.count ~= b.count then
    return false
  end
  for position = 1, a.count do
    if rawget(left, position) ~= rawget(right, position) then
      return false
    end
  end
  return true
end

-- -1, 0 or 1, by the first values that differ; NULL comes before all others, as SQLite sorts.
local function compare(left, right)
  local a, b = shape_of(left), shape_of(right)
  if not a or not b then
    errors.raise("ArgumentError", "a row can be compared with a row only, not with %s", errors.show(a and right or left))
  end
  for position = 1, math.min(a.count, b.count) do
    local one, two = rawget(left, position), rawget(right, position)
    if one ~= two then
      return (one == nil or (two ~= nil and one < two)) and -1 or 1
    end
  end
  return a.count == b.count and 0 or a.count < b.count and -1 or 1
end

local function row_less(left, right)
  return compare(left, right) < 0
end

local function row_less_or_equal(left, right)
  return compare(left, right) <= 0
end

local function row_tostring(row)
  local parts = {}
  for position = 1, shape_of(row).count do
    local value = rawget(row, position)
    parts[position] = value == nil and "NULL" or errors.show(value)
  end
  return "(" .. table.concat(parts, ", ") .. ")"
end

--- The metatable of rows with these columns: make it once, use it for every row of a statement.
---@param names string[]
---@param nodes? table[] the column objects, by position
---@return table
function result.row_metatable(names, nodes)
  local shape = { names = names, count = #names, positions = positions_of(names) }
  shape.nodes, shape.origins = positions_by_node(nodes, shape.count)
  local count, shown = shape.count, {}
  shapes[shown] = shape
  return {
    __metatable = shown,
    __name = "row",
    __index = row_index(shape),
    __newindex = row_newindex,
    __eq = row_equal,
    __lt = row_less,
    __le = row_less_or_equal,
    __tostring = row_tostring,
    __len = function()
      return count
    end,
    __call = function(row)
      return unpack(row, 1, count)
    end,
    shape = shape,
  }
end

-- ---- sources ----

-- Whatever a result reads is a source: a buffer, of which `position` elements were read (-1: all, and there is nothing
-- more), and perhaps a cursor that fills it again: an object with fetch(max) (elements, and whether they were the last:
-- `complete`), close(), and is_current(), false once its connection has ended it. A source that is closed has the reason in
-- the place of the buffer. A result is its own source, unless it is a view of another one.
local DEFAULT_CHUNK = 100

local function close_source(source, reason)
  if source.closed then
    return
  end
  source.closed, source.buffer = true, reason
  if source.cursor and not source.complete then
    source.cursor:close()
  end
end

local function check_readable(source)
  if source.needs_unique then
    errors.raise("InvalidRequestError", "this query joins collections to its objects (joinedload, contains_eager); call "
      .. "unique() on its result before reading it")
  end
  if not source.closed and source.cursor and not source.cursor:is_current() then
    close_source(source, "this result was ended by the commit, rollback or close of its connection; "
      .. "read it to the end before, with :all()")
  end
  if source.closed then
    errors.raise("ResourceClosedError", source.buffer)
  end
end

local EMPTY = {}

-- The first element that the cursor has behind the buffer, or nil.
local function refill(source)
  source.position, source.buffer = -1, EMPTY
  if source.cursor and not source.complete then
    source.position = 0
    source.buffer, source.complete = source.cursor:fetch(source.chunk or DEFAULT_CHUNK)
    source.position = source.buffer[1] == nil and -1 or 1
  end
  return source.buffer[1]
end

-- The next element, or nil at the end and ever after.
local function next_element(source)
  local position = source.position + 1
  if position == 0 and not source.closed then
    return nil
  end
  check_readable(source)
  local element = source.buffer[position]
  if element == nil then
    return refill(source)
  end
  source.position = position
  return element
end

-- ---- results ----

-- The methods, and what most results have in the place of fields. `guarded`: there is more to it than a buffer.
local Result = { source = false, how = false, cursor = false, guarded = false, needs_unique = false, complete = false,
  chunk = false, returns_rows = true }

-- What a script may ask for beside the methods; absent ones are nil, and everything else is a mistake.
local PROPERTIES = { rowcount = true, lastrowid = true, inserted_primary_key = true }

setmetatable(Result, { __index = function(_, key)
  if PROPERTIES[key] then
    return nil
  elseif type(key) == "number" then
    errors.raise("ArgumentError", "a result has no positions; result:all() is an array, and 'for row in result do' reads one "
      .. "after the other")
  end
  local names = {}
  for _, name in ipairs(errors.sorted_keys(Result)) do
    names[#names + 1] = type(Result[name]) == "function" and name or nil
  end
  for name in pairs(PROPERTIES) do
    names[#names + 1] = name
  end
  local near = errors.nearest(tostring(key), names)
  errors.raise("ArgumentError", "a result has no '%s'%s", tostring(key), near and ("; did you mean '%s'?"):format(near)
    or "; its rows have their columns: result:one() is the only row, 'for row in result do' reads one after the other")
end })

local MARK = { __name = "orrery.result" } -- what getmetatable gives
local metatable = { __name = "result", __index = Result, __metatable = MARK }

-- From Lua 5.2 on; the rows are not counted before they are read.
function metatable.__len()
  errors.raise("ArgumentError", "a result has no length before it is read; #result:all() has")
end

local view_metatable = { __name = "result", __metatable = MARK, __len = metatable.__len, __index = function(self, key)
  if key == "closed" then
    return self.source.closed
  end
  return Result[key]
end }

Result.is_result = MARK

local function check(self, call)
  if getmetatable(self) ~= MARK then
    errors.check_self(self, false, "result:" .. call)
  end
end

local function new_result(buffer, shape)
  return setmetatable({ buffer = buffer, position = 0, closed = false, shape = shape }, metatable)
end

local function convert_of(self)
  return self.how and self.how.convert
end

-- A view of the same source. `how` is false where it hands out what the source has, else it has convert(element), which
-- makes what this view hands out, and, where that is unique, what was `seen` and the `strategy` to tell it apart.
local function new_view(self, shape, how)
  local copy = setmetatable({ source = self.source or self, guarded = true, shape = shape, how = how }, view_metatable)
  copy.rowcount, copy.lastrowid = self.rowcount, self.lastrowid
  copy.inserted_primary_key = self.inserted_primary_key
  copy.returns_rows = self.returns_rows
  return copy
end

-- The same read through `convert` and, where this one is, unique.
local function view(self, shape, convert)
  local how = self.how
  return new_view(self, shape, (how or convert) and { convert = convert or false, seen = how and how.seen and {},
    strategy = how and how.strategy })
end

local NIL = {}

-- Whether an element was not seen before. Rows are told apart by their values, along a tree of tables.
local function is_new(how, element)
  local seen, key = how.seen, element
  if how.strategy then
    key = how.strategy(element)
  end
  local shape, values = shape_of(key), key
  for position = 1, shape and shape.count - 1 or 0 do
    local value = rawget(values, position)
    value = value == nil and NIL or value
    seen[value] = seen[value] or {}
    seen = seen[value]
  end
  if shape then
    key = rawget(values, shape.count)
  end
  key = key == nil and NIL or key
  local new = not seen[key]
  seen[key] = seen[key] or true
  return new
end

-- The next element that this view makes, or nil.
local function next_made(source, how)
  while true do
    local element = next_element(source)
    if element == nil then
      return nil
    end
    if how.convert then
      element = how.convert(element)
    end
    if not how.seen or is_new(how, element) then
      return element
    end
  end
end

local function next_guarded(self)
  if not self.shape then
    errors.raise("ResourceClosedError",
      "this statement returns no rows; .rowcount says how many it changed, and returning() makes it return some")
  elseif self.how then
    return next_made(self.source or self, self.how)
  end
  return next_element(self.source or self)
end

local function next_value(self)
  if self.closed or self.guarded then
    return next_guarded(self)
  end
  local position = self.position + 1
  local element = self.buffer[position]
  self.position = element == nil and self.position or position
  return element
end

metatable.__call, view_metatable.__call = next_value, next_value

--- Closes the result and its cursor; reading on is an error. Fine to call twice.
function Result:close()
  check(self, "close")
  close_source(self.source or self, "this result is closed")
end

function metatable.__tostring(self)
  return ("result of (%s)"):format(table.concat(self.shape and self.shape.names or {}, ", "))
end

metatable.__close, view_metatable.__close = Result.close, Result.close
view_metatable.__tostring = metatable.__tostring

-- nil for a scalar NULL, where no loop or list needs a place for it.
local function plain(self, value)
  if value == null and self.shape.scalar then
    return nil
  end
  return value
end

--- The names of the columns.
---@return string[]
function Result:keys()
  check(self, "keys")
  local names = {}
  for position, name in ipairs(self.shape and self.shape.names or {}) do
    names[position] = name
  end
  return names
end

-- The whole buffer, where nothing was read of it yet and nothing is made of its elements: they need not be copied.
local function take_buffer(self)
  local source = self.source or self
  if self.how or not self.shape or (source.cursor and not source.complete) or source.position ~= 0 then
    return nil
  end
  check_readable(source)
  local buffer = source.buffer
  source.buffer, source.position = EMPTY, -1
  return buffer
end

--- All elements that are left. NULL among scalars is orm.null.
---@return table
function Result:all()
  check(self, "all")
  local whole = take_buffer(self)
  if whole then
    return whole
  end
  local list, count = {}, 0
  for value in next_value, self do
    count = count + 1
    list[count] = value
  end
  return list
end

Result.fetchall = Result.all

--- The next element, or nil.
function Result:fetchone()
  check(self, "fetchone")
  return next_value(self)
end

local function check_size(size, call)
  if type(size) ~= "number" or size < 1 or size ~= size then
    errors.raise("ArgumentError", "result:%s() takes a number of rows from 1, got %s", call, errors.show(size))
  end
  return size
end

--- At most `size` elements (by default as many as are read at a time); an empty array at the end.
---@param size? integer
---@return table
function Result:fetchmany(size)
  check(self, "fetchmany")
  size = check_size(size == nil and ((self.source or self).chunk or DEFAULT_CHUNK) or size, "fetchmany")
  local list = {}
  while #list < size do
    local value = next_value(self)
    if value == nil then
      break
    end
    list[#list + 1] = value
  end
  return list
end

--- Iterates over arrays of `size` elements (by default as many as are read at a time), the last one perhaps shorter.
---@param size? integer
---@return function iterator
function Result:partitions(size)
  check(self, "partitions")
  size = check_size(size == nil and ((self.source or self).chunk or DEFAULT_CHUNK) or size, "partitions")
  return function()
    local list = self:fetchmany(size)
    return list[1] ~= nil and list or nil
  end
end

--- Reads this many rows at a time from the database.
---@param size integer
function Result:yield_per(size)
  check(self, "yield_per")
  local source = self.source or self
  source.chunk = check_size(size, "yield_per")
  return self
end

local FIRST = "this result is closed: first() takes one row and ends it"

--- The first element or nil; closes the result.
function Result:first()
  if not self or self.is_result ~= MARK then
    check(self, "first")
  end
  local value
  if self.closed or self.guarded then
    value = next_guarded(self)
    close_source(self.source or self, FIRST)
  else
    value = self.buffer[self.position + 1]
    self.closed, self.buffer = true, FIRST
  end
  if value == null then
    return plain(self, value)
  end
  return value
end

-- The only element; what its absence means is the caller's.
local function only(self)
  local value = next_value(self)
  local second
  if value ~= nil then
    second = next_value(self)
  end
  close_source(self.source or self, "this result is closed: one() and its kin take one row and end it")
  if second ~= nil then
    errors.raise("MultipleResultsFound", "several rows were found where one was asked for")
  end
  return value
end

local function required(value)
  if value == nil then
    errors.raise("NoResultFound", "no row was found where one was asked for")
  end
  return value
end

--- The only element; NoResultFound or MultipleResultsFound otherwise.
function Result:one()
  check(self, "one")
  return plain(self, required(only(self)))
end

--- The only element, or nil where there is none; MultipleResultsFound otherwise.
function Result:one_or_none()
  check(self, "one_or_none")
  return plain(self, only(self))
end

local function first_column(value)
  if shape_of(value) then
    return rawget(value, 1)
  elseif value == null then
    return nil
  end
  return value
end

--- The first column of the first row, or nil; closes the result.
function Result:scalar()
  check(self, "scalar")
  return first_column(self:first())
end

--- The first column of the only row; NoResultFound or MultipleResultsFound otherwise.
function Result:scalar_one()
  check(self, "scalar_one")
  return first_column(required(only(self)))
end

--- The first column of the only row, or nil where there is none; MultipleResultsFound otherwise.
function Result:scalar_one_or_none()
  check(self, "scalar_one_or_none")
  return first_column(only(self))
end

-- What a row with the columns at `positions` of the one it is made from is called and made by.
local function narrowed(self, positions)
  local names = {}
  for index, position in ipairs(positions) do
    names[index] = self.shape.names[position]
  end
  local row_meta, count = result.row_metatable(names), #positions
  return row_meta.shape, function(row)
    local values = {}
    for index = 1, count do
      values[index] = rawget(row, positions[index])
    end
    return setmetatable(values, row_meta)
  end
end

-- Element conversions run one behind the other.
local function chain(first, second)
  if not first then
    return second
  end
  return function(element)
    return second(first(element))
  end
end

-- What the values of one column are called and taken from rows by; the same for all results of a statement.
local function scalars_of(shape, position)
  local known = shape.scalars or {}
  if not known[position] then
    known[position] = { shape = { names = { shape.names[position] }, count = 1, scalar = true }, convert = function(row)
      local value = rawget(row, position)
      if value == nil then
        return null
      end
      return value
    end }
    shape.scalars = known
  end
  return known[position]
end

--- The values of one column; NULL is orm.null. A result of single values gives itself.
---@param column? string|integer|table its name, position (default 1) or column object
---@return table result
function Result:scalars(column)
  check(self, "scalars")
  if not self.shape or self.shape.scalar then
    return self
  end
  local one = scalars_of(self.shape, find_column(self.shape, column == nil and 1 or column))
  return view(self, one.shape, chain(convert_of(self), one.convert))
end

--- Rows as plain tables from name to value.
---@return table result
function Result:mappings()
  check(self, "mappings")
  local shape = self.shape
  for _, name in ipairs(shape and shape.names or {}) do
    if shape.positions[name] == AMBIGUOUS then
      raise_ambiguous(name)
    end
  end
  return view(self, shape, chain(convert_of(self), function(row)
    local mapping = {}
    for position = 1, shape.count do
      mapping[shape.names[position]] = rawget(row, position)
    end
    return mapping
  end))
end

--- Rows of these columns only, in this order.
---@param ... string|integer|table names, positions or column objects
---@return table result
function Result:columns(...)
  check(self, "columns")
  local positions = {}
  for index = 1, select("#", ...) do
    positions[index] = find_column(self.shape, (select(index, ...)))
  end
  local shape, convert = narrowed(self, positions)
  return view(self, shape, chain(convert_of(self), convert))
end

--- The same without repetitions: rows count as equal when their values are, objects when they are the same.
---@param strategy? function element to the key that tells it apart
---@return table result
function Result:unique(strategy)
  check(self, "unique")
  if strategy ~= nil and type(strategy) ~= "function" then
    errors.raise("ArgumentError", "result:unique() takes a function or nothing, got %s", errors.show(strategy))
  end
  local source = self.source or self
  local waited = source.needs_unique
  source.needs_unique = false
  if waited == "single" and not strategy then
    return self
  end
  return new_view(self, self.shape, { convert = convert_of(self), seen = {}, strategy = strategy or false })
end

-- What is known of results that have names only, by the array of these. A copy is kept, since a value that led to its
-- own weak key would keep it on 5.1 and LuaJIT.
local named = setmetatable({}, { __mode = "k" })

local function shape_of_names(names)
  local shape = named[names]
  if not shape then
    local copy = { unpack(names) }
    shape = { names = copy, count = #copy, positions = positions_of(copy), nodes = {}, origins = {},
      scalar = true }
    named[names] = shape
  end
  return shape
end

--- A result over a cursor, whose first rows are there already.
---@param cursor { fetch: fun(self, max): (table, boolean), close: fun(self), is_current: fun(self): boolean }
---@param columns table a row_metatable(), or an array of names
---@param rows table
---@param complete boolean whether these are all
---@param chunk? integer rows to fetch at a time
---@return table
function result.from_cursor(cursor, columns, rows, complete, chunk)
  local self = new_result(rows, columns.shape or shape_of_names(columns))
  self.cursor, self.guarded, self.complete, self.chunk = cursor, true, complete, chunk
  return self
end

--- A result over an array that is there already: rows made with the metatable given, or single values where names are
--- given (orm.null stands for NULL).
---@param elements table
---@param columns table a row_metatable(), or an array of names
---@return table
function result.from_array(elements, columns)
  return setmetatable({ buffer = elements, position = 0, closed = false,
    shape = columns.shape or named[columns] or shape_of_names(columns) }, metatable)
end

--- A result whose rows are made of another one's.
---@param self table
---@param columns table a row_metatable()
---@param convert fun(row: table): table
---@return table
function result.converted(self, columns, convert)
  return view(self, columns.shape, chain(convert_of(self), convert))
end

--- How many rows a new result has, or has changed, as echo says it: "100+" where not all are known yet.
---@param self table
---@return integer|string
function result.count(self)
  if not self.shape then
    return self.rowcount
  end
  return (self.complete or not self.cursor) and #self.buffer or #self.buffer .. "+"
end

--- Marks a result whose rows were multiplied by the collections joined to them: SQLAlchemy has its callers say unique()
-- before they read it, so that nobody counts rows that were never there.
---@param made table
---@param single boolean its elements are single again here
---@return table
function result.must_be_unique(made, single)
  made.needs_unique, made.guarded = single and "single" or "rows", true
  return made
end

--- The result of a statement without rows.
---@param fields? table rowcount, lastrowid, inserted_primary_key
---@return table
function result.without_rows(fields)
  local self = new_result(EMPTY, false)
  self.returns_rows, self.guarded = false, true
  for name in pairs(PROPERTIES) do
    self[name] = fields and fields[name]
  end
  return self
end

return result
