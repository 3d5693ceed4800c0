--- change: insert, update and delete as immutable objects. Columns are always in the order of their table, whatever
-- order a script's tables have. What runs them, and with which parameters, is the engine's.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local schema = import "schema"
local statement = import "statement"

local change = {}
local PARTS, new = expression.PARTS, expression.new
local null = core.null
local unpack = rawget(table, "unpack") or unpack
local copy_of = statement.copy_of

PARTS.insert = { atoms = { "prefix" }, nodes = { "target", "source", "conflict" },
  lists = { "columns", "rows", "items", "heads" } }
PARTS.row = { lists = { "values" } }
PARTS.conflict = { atoms = { "constraint" }, lists = { "elements", "columns", "values", "wheres", "index_wheres" } }
PARTS.update = { atoms = { "everything", "prefix" }, nodes = { "target" },
  lists = { "columns", "values_", "wheres", "items", "heads", "picked" } }
PARTS.delete = { atoms = { "everything" }, nodes = { "target" }, lists = { "wheres", "items", "heads", "picked" } }
PARTS.excluded = {}

-- ---- columns and values ----

-- The columns of what is changed as { column (of the table), key (the script's name), position }, by key.
local function columns_by_key(source)
  local columns = {}
  for position, column in ipairs(source.columns) do
    if column.visit == "column" then
      local key = column.key or column.name
      columns[key] = { column = column, key = key, position = position }
    end
  end
  return columns
end

-- A column of a class whose rows spread over several tables, of which another one has it.
local function refuse_elsewhere(self, key, call)
  local attribute = self.of.spread and self.of.mapper.attributes[key]
  local tbl = attribute and (attribute.origin or attribute).table
  if tbl then
    errors.raise("ArgumentError", "%s: '%s' stands in '%s', and this statement is about '%s', the class's own table; write it to "
      .. "the class whose table that is", call, key, tbl.name, self.target.name)
  end
end

-- The names in a table of values as entries in the order of the columns.
-- The columns that hybrids, synonyms and composites among the names stand for, in their place.
local function spelled_out(self, values, known)
  local mapper, changed = self.of.mapper, nil
  for name, value in pairs(values) do
    local member = mapper and not known[name] and type(name) == "string" and mapper.methods[name]
    if type(member) == "table" and member.assignments then
      if not changed then
        changed = {}
        for other, one in pairs(values) do
          changed[other] = one
        end
      end
      changed[name] = nil
      for column, one in pairs(member:assignments(mapper, name, value)) do
        changed[column] = one
      end
    end
  end
  return changed or values
end

local function order_names(self, given, call)
  local known, entries = columns_by_key(self.of), {}
  local values = spelled_out(self, given, known)
  for name in pairs(values) do
    local node = expression.clause(name)
    local key = node and node.visit == "column" and (node.key or node.name) or name
    if not known[key] then
      refuse_elsewhere(self, key, call)
      errors.raise("ArgumentError", "%s: '%s' has no column '%s'%s", call, self.target.name or self.target.visit,
        tostring(key), errors.hint(key, errors.sorted_keys(known)))
    end
    local entry = known[key]
    entries[#entries + 1] = { column = entry.column, key = key, position = entry.position, value = values[name] }
  end
  table.sort(entries, function(a, b) return a.position < b.position end)
  return entries
end

-- A value as it is written to a column; nodes stay what they are.
local function value_node(entry)
  local value = entry.value
  local node = value ~= null and expression.clause(value)
  if node then
    return expression.expect_operand(node, "values()", 1)
  end
  return new{ visit = "bind", key = entry.key, value = value, type = entry.column.type }
end

local function pick(entries, field)
  local list = {}
  for position, entry in ipairs(entries) do
    list[position] = entry[field]
  end
  return list
end

local function value_nodes(entries)
  local nodes = {}
  for position, entry in ipairs(entries) do
    nodes[position] = value_node(entry)
  end
  return nodes
end

-- ---- what the three share ----

-- A class whose rows spread over several tables stands for its own: `writes` says which that is, and with which columns.
local function target_of(value, call)
  local node = expression.expect(value, call, 1)
  local target = node.visit == "entity" and node.table or node
  if node.writes then
    return node.writes.table, node.writes
  end
  if target.visit ~= "table" then
    errors.raise("ArgumentError", "%s: a mapped class or a table expected, got a %s", call, target.visit or "value")
  end
  return target, node
end

local returning = {}

function returning:result_items()
  return self.items or {}
end

--- Returns columns of the changed rows: columns, expressions, or the class itself.
function returning:returning(...)
  statement.check(self, self.visit .. ":returning")
  local copy = copy_of(self)
  copy.items = statement.read_items("returning()", ...)
  for _, item in ipairs(copy.items) do
    if item.writes then
      errors.raise("ArgumentError", "returning(): the rows of '%s' spread over several tables; name columns of '%s'", item.name,
        copy.target.name)
    end
  end
  return copy
end

local prefixed = {}
local PREFIXES = { "OR REPLACE", "OR IGNORE", "OR ABORT", "OR FAIL", "OR ROLLBACK" }

--- What SQLite does where a row breaks a constraint: insert(user):prefix_with("OR REPLACE").
---@param words string OR REPLACE, IGNORE, ABORT, FAIL or ROLLBACK
function prefixed:prefix_with(words)
  statement.check(self, self.visit .. ":prefix_with")
  local copy = copy_of(self)
  for _, prefix in ipairs(PREFIXES) do
    copy.prefix = type(words) == "string" and words:upper() == prefix and prefix or copy.prefix
  end
  return copy.prefix and copy or errors.raise("ArgumentError", "prefix_with(): %s is not known%s", errors.show(words),
    errors.hint(tostring(words), PREFIXES))
end

local filtered = {}

--- Only rows for which all conditions hold; orm.all says every row.
function filtered:where(...)
  local call = self.visit .. ":where"
  statement.check(self, call)
  local copy = copy_of(self)
  copy.wheres = statement.with_conditions(self.wheres, "where()", ...)
  for position, where in ipairs(self.of.localize and copy.wheres or {}) do
    copy.wheres[position] = self.of.localize(where)
  end
  for position = 1, select("#", ...) do
    copy.everything = copy.everything or (select(position, ...)) == expression.all
  end
  return copy
end
filtered.filter = filtered.where

--- where() with equality.
function filtered:filter_by(...)
  statement.check(self, self.visit .. ":filter_by")
  return self:where(unpack(statement.equalities(self.of, ...)))
end

local function define(visit, methods, ...)
  for _, mixin in ipairs({ ... }) do
    for name, method in pairs(mixin) do
      methods[name] = method
    end
  end
  return statement.define(visit, methods)
end

-- ---- insert ----

---@class orrery.Insert
local Insert = {}

local function check_values(values, call)
  if type(values) ~= "table" or expression.clause(values) then
    errors.raise("ArgumentError", "%s: { name = value } or a list of such tables expected, got %s", call,
      values == nil and "nil" or errors.show(values))
  end
end

local function same_columns(entries, columns, row)
  for position, column in ipairs(columns) do
    if not entries[position] or entries[position].column ~= column then
      return false
    end
  end
  return #entries == #columns or errors.raise("ArgumentError", "values(): row %d names other columns than row 1", row)
end

local function read_rows(self, list)
  local columns, rows
  for position, values in ipairs(list) do
    check_values(values, ("values(): row %d"):format(position))
    local entries = order_names(self, values, "values()")
    columns = columns or pick(entries, "column")
    if not same_columns(entries, columns, position) then
      errors.raise("ArgumentError", "values(): row %d names other columns than row 1 (NULL is orm.null)", position)
    end
    for _, entry in ipairs(entries) do
      entry.key = #list == 1 and entry.key or nil
    end
    rows = rows or {}
    rows[position] = new{ visit = "row", values = value_nodes(entries) }
  end
  return columns, rows
end

-- Rows of a class that is told from others by a column say so.
local function with_identity(of, list)
  local identity, result = of.identity, {}
  for position, values in ipairs(list) do
    check_values(values, ("values(): row %d"):format(position))
    local copy = { [identity.key] = identity.value }
    for name, value in pairs(values) do
      local node = expression.clause(name)
      copy[node and node.visit == "column" and (node.key or node.name) or name] = value
    end
    result[position] = copy
  end
  return result
end

-- Columns with their values, together with those of an earlier values(), where they are not given again; in the order
-- of the table.
local function merge_columns(self, columns, nodes, old_columns, old_nodes)
  local given, merged, place = {}, {}, {}
  for position, column in ipairs(self.of.columns) do
    place[column] = position
  end
  for position, column in ipairs(columns) do
    given[column] = true
    merged[position] = { column = column, node = nodes[position] }
  end
  for position, column in ipairs(old_columns) do
    if not given[column] then
      merged[#merged + 1] = { column = column, node = old_nodes[position] }
    end
  end
  table.sort(merged, function(a, b) return place[a.column] < place[b.column] end)
  return pick(merged, "column"), pick(merged, "node")
end

local function merge_row(self, copy)
  local columns, nodes = merge_columns(self, copy.columns, copy.rows[1].values, self.columns, self.rows[1].values)
  copy.columns, copy.rows = columns, { new{ visit = "row", values = nodes } }
end

local function append_rows(self, copy)
  for position, column in ipairs(self.columns) do
    if copy.columns[position] ~= column or #copy.columns ~= #self.columns then
      errors.raise("ArgumentError", "values(): these rows name other columns than those that were given before")
    end
  end
  local rows = { unpack(self.rows) }
  for _, row in ipairs(copy.rows) do
    rows[#rows + 1] = row
  end
  copy.rows = rows
end

--- The values of a row, or a list of rows, which must name the same columns. Called again, it adds columns to the row,
--- or rows to the list.
---@param values table<string, any>|table[]
function Insert:values(values)
  statement.check(self, "insert:values")
  check_values(values, "values()")
  local list = values[1] ~= nil and values or { values }
  list = self.of.identity and not self.rows and with_identity(self.of, list) or list
  local copy = copy_of(self)
  copy.columns, copy.rows = read_rows(self, list)
  copy.source, copy.many = nil, values[1] ~= nil
  if self.rows and copy.many ~= self.many then
    errors.raise("ArgumentError", "values(): one row { name = value } and a list of rows cannot be mixed")
  elseif self.rows then
    (copy.many and append_rows or merge_row)(self, copy)
  end
  return copy
end

--- The rows of a select, for columns named in order.
---@param names string[]
---@param source table
function Insert:from_select(names, source)
  statement.check(self, "insert:from_select")
  local node = expression.expect(source, "from_select()", 2)
  local known, columns = columns_by_key(self.of), {}
  for position, name in ipairs(type(names) == "table" and names or {}) do
    local entry = known[name] or statement.attribute(self.of, name, "from_select()")
    columns[position] = entry.column
  end
  if #columns == 0 or not node.is_statement then
    errors.raise("ArgumentError", "from_select({ names }, select) expected")
  end
  local copy = copy_of(self)
  copy.columns, copy.rows, copy.source = columns, nil, node
  return copy
end

local TARGET_OPTIONS = { index_elements = 1, index_where = 1, constraint = 1 }
local CONFLICT_OPTIONS = { index_elements = 1, index_where = 1, constraint = 1, set = 1, where = 1 }

--- Raises unless index_elements is a list, or not given.
---@param given any
---@param call string
function change.check_elements(given, call)
  if given ~= nil and (type(given) ~= "table" or getmetatable(given)) then
    errors.raise("ArgumentError", "%s: index_elements is a list of columns or their names, { \"id\" }, got %s", call,
      errors.show(given))
  end
end

local function elements_of(self, options, call)
  local known, elements, given = columns_by_key(self.of), {}, options.index_elements
  change.check_elements(given, call)
  for position, name in ipairs(given or {}) do
    local node = expression.clause(name)
    local key = node and (node.key or node.name) or name
    elements[position] = (known[key] or { column = statement.attribute(self.of, key, call) }).column
  end
  return elements
end

local function constraint_name(constraint, call)
  local name = type(constraint) == "table" and rawget(constraint, "name") or constraint
  if name ~= nil and type(name) ~= "string" then
    errors.raise("ArgumentError", "%s: constraint is a name or a constraint that has one, got %s", call, errors.show(name))
  end
  return name
end

local function conditions(given, call)
  return given ~= nil and statement.with_conditions(nil, call, given) or nil
end

-- The unique key that a conflict is about: its columns, with the condition of a partial index, or a constraint's name.
local function conflict_on(self, options, call)
  local elements = elements_of(self, options, call)
  if options.index_where ~= nil and #elements == 0 then
    errors.raise("ArgumentError", "%s: index_where is a partial index's condition and needs index_elements", call)
  end
  return { visit = "conflict", elements = elements, constraint = constraint_name(options.constraint, call),
    index_wheres = options.index_where ~= nil
      and conditions(expression.written(expression.expect_operand(options.index_where, call .. ": index_where", 1)), call)
      or nil }
end

local function with_conflict(self, conflict)
  local copy = copy_of(self)
  copy.conflict = new(conflict)
  return copy
end

--- Rows that would break a unique key are left out; of the given columns, or of any key.
---@param options? { index_elements?: string[], index_where?: table, constraint?: string }
function Insert:on_conflict_do_nothing(options)
  statement.check(self, "insert:on_conflict_do_nothing")
  options = errors.check_options(options, TARGET_OPTIONS, "on_conflict_do_nothing()")
  return with_conflict(self, conflict_on(self, options, "on_conflict_do_nothing()"))
end

--- Rows that would break a unique key change the row that is there: { index_elements, set, where }. What was to be
--- inserted is insert.excluded.
---@param options { index_elements: string[], index_where?: table, set: table<string, any>, where?: table }
function Insert:on_conflict_do_update(options)
  statement.check(self, "insert:on_conflict_do_update")
  options = errors.check_options(options, CONFLICT_OPTIONS, "on_conflict_do_update()")
  check_values(options.set, "on_conflict_do_update(): set")
  local entries = order_names(self, options.set, "on_conflict_do_update()")
  local conflict = conflict_on(self, options, "on_conflict_do_update()")
  if #entries == 0 or (#conflict.elements == 0 and not conflict.constraint) then
    errors.raise("ArgumentError", "on_conflict_do_update{ index_elements = {...}, set = {...} } needs both")
  end
  for _, entry in ipairs(entries) do
    entry.key = nil
  end
  conflict.columns, conflict.values = pick(entries, "column"), value_nodes(entries)
  conflict.wheres = conditions(options.where, "on_conflict_do_update(): where")
  return with_conflict(self, conflict)
end

local insert_metatable = define("insert", Insert, returning, prefixed)

-- insert.excluded.name: the value that was to be inserted.
local function excluded_of(self)
  local excluded = { visit = "excluded", name = "excluded" }
  return setmetatable({}, {
    __index = function(_, name)
      local column = statement.attribute(self.of, name, "excluded")
      return new{ visit = "column", name = column.name, key = column.key, type = column.type, table = excluded }
    end,
  })
end

local insert_methods = insert_metatable.__index
function insert_metatable.__index(self, key)
  if key == "excluded" then
    return excluded_of(self)
  end
  return insert_methods[key]
end

--- New rows of a mapped class or a table.
---@return orrery.Insert
function change.insert(target)
  local found, of = target_of(target, "insert()")
  if of.spread then
    errors.raise("ArgumentError", "insert(): the rows of '%s' spread over several tables; make objects and session:add() them, "
      .. "or insert into the tables one by one, such as insert(%s.__table__)", of.name, of.name)
  end
  return setmetatable({ visit = "insert", target = found, of = of }, insert_metatable)
end

-- ---- update ----

-- The condition by which a class's rows are picked out of a table that it shares.
local function picked_by(of)
  local criterion = of.criterion and of.criterion()
  return criterion and { criterion } or nil
end

---@class orrery.Update
local Update = {}

--- The new values of columns; expressions may use the old ones. Called again, it adds columns.
---@param values table<string, any>
function Update:values(values)
  statement.check(self, "update:values")
  check_values(values, "values()")
  local entries = order_names(self, values, "values()")
  local copy = copy_of(self)
  copy.columns, copy.values_ = merge_columns(self, pick(entries, "column"), value_nodes(entries), self.columns or {},
    self.values_ or {})
  return copy
end

local update_metatable = define("update", Update, returning, prefixed, filtered)

--- Changes rows of a mapped class or a table.
---@return orrery.Update
function change.update(target)
  local found, of = target_of(target, "update()")
  return setmetatable({ visit = "update", target = found, of = of, picked = picked_by(of) }, update_metatable)
end

-- ---- delete ----

local delete_metatable = define("delete", {}, returning, filtered)

--- Deletes rows of a mapped class or a table.
function change.delete(target)
  local found, of = target_of(target, "delete()")
  if of.spread then
    errors.raise("ArgumentError", "delete(): the rows of '%s' spread over several tables; session:delete() the objects, or "
      .. "delete from '%s' where the foreign keys of the others have ondelete = \"CASCADE\"", of.name, of.base)
  end
  return setmetatable({ visit = "delete", target = found, of = of, picked = picked_by(of) }, delete_metatable)
end

-- ---- as methods of tables ----

local methods = schema.table_methods

--- insert(table), select(table), update(table) and delete(table).
function methods:insert()
  return change.insert(self)
end

function methods:select()
  return statement.select(self)
end

function methods:update()
  return change.update(self)
end

function methods:delete()
  return change.delete(self)
end

-- ---- values given at execution ----

-- Names of bindparam() in conditions and in values are parameters, not columns. A plain value goes by its column's name, and
-- gives way to a parameter.
local function own_parameters(self)
  local names = {}
  local function note(bind)
    if bind.key then
      names[bind.key] = true
    end
  end
  for _, where in ipairs(self.wheres or {}) do
    expression.each_bind(where, note)
  end
  for position, value in ipairs(self.values_ or self.rows and self.rows[1].values or {}) do
    local column = self.columns[position]
    if value.visit ~= "bind" or value.key ~= (column.key or column.name) then
      expression.each_bind(value, note)
    end
  end
  if self.conflict then
    expression.each_bind(self.conflict, note)
  end
  return names
end

local function parameter_entries(self, params)
  local taken, values = own_parameters(self), {}
  for name in pairs(params) do
    if not taken[name] then
      values[name] = false
    end
  end
  return order_names(self, values, self.visit .. "()")
end

-- The columns that a statement has and those of the parameters, in the order of the table.
local function add_parameters(self, entries)
  local nodes = {}
  for position, entry in ipairs(entries) do
    nodes[position] = new{ visit = "bind", key = entry.key, type = entry.column.type }
  end
  return merge_columns(self, pick(entries, "column"), nodes, self.columns or {},
    self.values_ or self.rows and self.rows[1].values or {})
end

--- An insert or update whose further columns are the names of `params`, with values to come by those names. Other
--- statements are given back as they are.
---@param self table
---@param params table<string, any>
---@return table
function change.for_parameters(self, params)
  if (self.visit ~= "insert" and self.visit ~= "update") or self.source or (self.rows and #self.rows > 1) then
    return self
  end
  self = self.of.identity and self.visit == "insert" and not self.rows and self:values({}) or self
  local entries = parameter_entries(self, params)
  if #entries == 0 then
    return self
  end
  local copy, columns, nodes = copy_of(self), add_parameters(self, entries)
  copy.columns = columns
  copy.values_ = self.visit == "update" and nodes or nil
  copy.rows = self.visit == "insert" and { new{ visit = "row", values = nodes } } or nil
  return copy
end

return change
