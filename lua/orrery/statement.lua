--- statement: select, and unions of selects, as immutable objects: every method returns a changed copy. Says what is
-- asked for; insert, update and delete are in change.lua, and SQL is the compiler's.
local import = ...
local errors = import "errors"
local core = import "core"
local types = import "types"
local expression = import "expression"
local functions = import "functions"
local joining = import "joining"
local selectable = import "selectable"
local settings = import "settings"

local statement = {}
local PARTS, new = expression.PARTS, expression.new
local expect, expect_operand = expression.expect, expression.expect_operand
local unpack, tointeger = rawget(table, "unpack") or unpack, rawget(math, "tointeger")
local getmetatable, setmetatable, type, select = getmetatable, setmetatable, type, select

PARTS.select = {
  atoms = { "unique", "lock", "lock_wait" },
  nodes = { "limited", "skipped" },
  lists = { "items", "roots", "joins", "wheres", "groups", "havings", "orders", "correlated", "inner", "distinct_on",
    "lock_of", "heads", "criteria" },
}
PARTS.compound = {
  atoms = { "operator" },
  nodes = { "limited", "skipped" },
  lists = { "members", "orders", "heads", "criteria" },
}
PARTS.criterion = { atoms = { "include_aliases" }, nodes = { "table", "condition" } }
PARTS.join_step = { atoms = { "kind" }, nodes = { "target", "on" } }

-- Selects and unions are arrays of what most of them have, false where one lacks it, with a table of everything else at
-- the end: a copy is one small allocation. By their names they are read and written all the same. `limited` and `skipped`
-- may be plain numbers, and a list its only node: their nodes, and lists, are made when somebody asks for them. Where that
-- is simple, the core makes the copies (nodelib.c).
local ITEMS, WHERES, ORDERS, LIMITED, SKIPPED, REST = 1, 2, 3, 4, 5, 6
local PLACES = expression.PLACES
statement.ITEMS, statement.REST = ITEMS, REST -- where a select has what is asked for, and options among all else

-- The places of a kind's fields by their names, 0 of what belongs to the rest.
local function places_of(visit, places)
  for _, names in pairs(PARTS[visit]) do
    for _, name in ipairs(names) do
      places[name] = places[name] or 0
    end
  end
  places.sources, places.loader_options, places.execution, places.rest = 0, 0, 0, REST
  PLACES[visit] = places
end
places_of("select", { items = ITEMS, wheres = WHERES, orders = ORDERS, limited = LIMITED, skipped = SKIPPED })
places_of("compound", { members = ITEMS, orders = ORDERS, limited = LIMITED, skipped = SKIPPED })

-- ---- what all statements share ----

local common = { is_statement = true }
statement.common = common

local copy_of = expression.copy_of
statement.copy_of = copy_of

statement.metatables = {}

local WHAT = { compound = "a union", insert = "an insert", update = "an update", delete = "a delete" }

local OF_RESULTS = { all = true, first = true, one = true, one_or_none = true, scalar = true, scalars = true, scalar_one = true,
  scalar_one_or_none = true, count = true, get = true, execute = true, mappings = true, fetchall = true }

-- Names that parts of a statement have elsewhere.
local HABITS = {
  set = "write :values{ name = value }", filter = "write :where(condition)", orderby = "write :order_by(...)",
  groupby = "write :group_by(...)", paginate = "write :limit(count):offset(start), or :slice(from, to)",
  on_duplicate_key_update = "write :on_conflict_do_update{ index_elements = { ... }, set = { ... } }",
  left_join = "write :outerjoin(...)", leftjoin = "write :outerjoin(...)", inner_join = "write :join(...)",
  from = "write :select_from(...)", skip = "write :offset(count)", take = "write :limit(count)", top = "write :limit(count)",
}

-- A statement only says what is wanted.
local function results_advice(key)
  return HABITS[key] or OF_RESULTS[key] and "a statement is run by a session or a connection, which gives results: "
    .. "session:scalars(stmt):all(), session:execute(stmt):first()" or nil
end

-- Lets the array `self` be read and written by names.
local function name_fields(metatable, methods, places)
  metatable.__index = core.field_reader(methods, places, REST, expression.literal, ORDERS)

  function metatable.__newindex(self, name, value)
    local place = places[name] or 0
    if place > 0 then
      self[place] = value or false
      return
    end
    local rest = {}
    for other, old in next, self[REST] or rest do
      rest[other] = old
    end
    rest[name] = value
    self[REST] = rest
  end
end

-- The metatable of a kind of statement with its methods. A statement counts as a value where one is expected.
local function define(visit, methods)
  local mark = {
    __name = "orrery.statement",
    __clause = function(self) return self end,
    __operand = methods.scalar_subquery,
    __statement = true,
  }
  for name, method in pairs(common) do
    methods[name] = methods[name] or method
  end
  methods.visit = visit
  errors.guard(methods, WHAT[visit] or "a select", nil, results_advice, (visit == "insert" or PLACES[visit]) and 2 or 1)
  local metatable = { __index = methods, __metatable = mark }
  if PLACES[visit] then
    name_fields(metatable, methods, PLACES[visit])
    metatable[1] = REST -- how many places there are, for the core
  end
  metatable.__tostring = expression.tostring
  statement.metatables[visit] = metatable
  return metatable
end
statement.define = define

local function check_statement(self, call)
  local mark = getmetatable(self)
  if type(mark) ~= "table" or not mark.__statement then
    errors.check_self(self, false, call)
  end
end
statement.check = check_statement

-- A list with more behind it.
local function extended(list, more)
  if not list then
    return more
  end
  local copy, count = {}, #list
  for position = 1, count do
    copy[position] = list[position]
  end
  for position = 1, #more do
    copy[count + position] = more[position]
  end
  return copy
end

-- `list` with the conditions in the arguments of `call` behind; orm.all adds none.
local function with_conditions(list, call, ...)
  local given, nodes, count = select("#", ...), { ... }, 0
  if given == 0 then
    errors.raise("ArgumentError", "%s needs a condition", call)
  end
  for position = 1, given do
    local node = expect_operand(nodes[position], call, position)
    nodes[position] = nil
    if node ~= expression.all then
      count = count + 1
      nodes[count] = node
    end
  end
  return extended(list, nodes)
end
statement.with_conditions = with_conditions

--- The SQL of a dialect (SQLite by default) with what belongs to it: { sql, params, columns }; as a string, the SQL.
--- With literal_binds its values stand in it: to be read, not to be run.
---@param options? { dialect?: string|orrery.Dialect, literal_binds?: boolean }
---@return table
function common:compile(options)
  check_statement(self, "statement:compile")
  return expression.compile(self, options)
end

--- Puts common table expressions into WITH that nothing else in the statement names, such as a delete():cte().
---@param ... table
function common:add_cte(...)
  check_statement(self, self.visit .. ":add_cte")
  local heads = expression.expect_all("add_cte()", ...)
  for position, head in ipairs(heads) do
    if head.visit ~= "cte" then
      errors.raise("ArgumentError", "add_cte(): argument %d must be a cte, got a %s", position, head.visit)
    end
  end
  local copy = copy_of(self)
  copy.heads = extended(self.heads, heads)
  return copy
end

--- Options of the ORM's loading; kept for those who execute the statement.
function common:options(...)
  check_statement(self, "select:options")
  local copy, list = copy_of(self), {}
  for position, option in ipairs(self.loader_options or {}) do
    list[position] = option
  end
  for position = 1, select("#", ...) do
    local option = (select(position, ...))
    if type(option) ~= "table" and type(option) ~= "userdata" then
      errors.raise("ArgumentError", "options(): argument %d must be a loader option such as selectinload(...), got %s",
        position, type(option))
    end
    list[#list + 1] = option
  end
  copy.loader_options = list
  return copy
end

--- Options of the execution, which go before those of the connection.
---@param options { timeout: number, yield_per: integer, populate_existing: boolean }
function common:execution_options(options)
  check_statement(self, "select:execution_options")
  local copy = copy_of(self)
  copy.execution = settings.of_statement(self.execution, options)
  return copy
end

-- ---- names of columns ----

local NAMED_WITHIN = { cast = true, coerced = true, collation = true }

-- The name that a column of the result has, and whether SQL must say it (AS).
local function name_of(node, counters)
  if node.visit == "column" then
    return node.name, false, node.key or node.name
  elseif node.visit == "label" then
    return node.name, true
  elseif NAMED_WITHIN[node.visit] and node.element.visit == "column" then
    return name_of(node.element, counters), true
  end
  local stem = node.visit == "function" and node.name or "anon"
  counters[stem] = (counters[stem] or 0) + 1
  return ("%s_%d"):format(stem, counters[stem]), true
end

-- A part of a document is selected as the document that it is.
local function type_of(node)
  local element = node.visit == "label" and node.element or node
  return element.visit == "json_path" and types.JSON or node.type
end

local function add_entry(entries, node, counters, entity, index)
  local name, said, key = name_of(node, counters)
  entries[#entries + 1] = { node = node, type = type_of(node), name = name, key = key or name, said = said,
    entity = entity, index = index }
end

--- The columns of a result, in order: { node, type, name (in SQL), key (in rows), said (whether SQL needs AS), entity,
--- index (in the entity) }, and the items they belong to.
---@param items table[]
---@return table[] entries
---@return table[] raw
function statement.entries(items)
  local entries, raw, counters = {}, {}, {}
  for position, item in ipairs(items) do
    local first = #entries + 1
    if joining.has_columns(item) then
      local entity = item.visit == "entity" and item or nil
      for index, column in ipairs(item.columns) do
        add_entry(entries, column, counters, entity, index)
      end
      raw[position] = { entity = entity, table = not entity and item or nil, first = first,
        count = #entries - first + 1 }
    else
      for _, element in ipairs(item.visit == "bundle" and item.elements or { item }) do
        add_entry(entries, element, counters)
      end
      raw[position] = { column = first, name = entries[first].key, type = entries[first].type }
    end
  end
  return entries, raw
end

local function free_name(name, taken, fold)
  local free, number = name, 0
  while taken[fold(free)] do
    number = number + 1
    free = ("%s_%d"):format(name, number)
  end
  taken[fold(free)] = true
  return free
end

local function same(name)
  return name
end

--- The columns as a subquery shows them: no name twice, in small or large letters, which some databases do not tell apart.
---@return table[] entries as of statement.entries
function common:exported()
  local entries, taken, keys = statement.entries(self:result_items()), {}, {}
  for _, entry in ipairs(entries) do
    local name = free_name(entry.name, taken, string.lower)
    entry.said = entry.said or name ~= entry.name
    entry.name, entry.key = name, free_name(entry.key, keys, same)
  end
  return entries
end

-- ---- ordering and limits, of selects and unions ----

local function check_count(value, call)
  local number = type(value) == "number" and value
  if number and number % 1 == 0 and number >= 0 and number < 2 ^ 53 then
    return tointeger and tointeger(number) or number
  end
  local node = expression.clause(value)
  if not node or node.visit == "column" then
    errors.raise("ArgumentError", "%s: a whole number from 0 expected, got %s", call,
      value == nil and "nil" or errors.show(value))
  end
  return node
end

local ordered = {}

--- At most `count` rows.
---@param count integer
function ordered:limit(count)
  check_statement(self, "select:limit")
  local copy = copy_of(self)
  copy[LIMITED] = check_count(count, "limit()")
  return copy
end
ordered.limit = core.count_setter(ordered.limit, LIMITED)

--- Without the first `count` rows.
---@param count integer
function ordered:offset(count)
  check_statement(self, "select:offset")
  local copy = copy_of(self)
  copy[SKIPPED] = check_count(count, "offset()")
  return copy
end
ordered.offset = core.count_setter(ordered.offset, SKIPPED)

--- Rows `from` + 1 to `to`: slice(10, 20) skips ten and gives ten.
---@param from integer
---@param to integer
function ordered:slice(from, to)
  check_statement(self, "select:slice")
  if type(from) ~= "number" or type(to) ~= "number" or to < from then
    errors.raise("ArgumentError", "slice(from, to): two whole numbers expected, got %s and %s", errors.show(from),
      errors.show(to))
  end
  return self:offset(from):limit(to - from)
end

-- The column that a name in order_by() or group_by() means: a label, or a mapped name.
local function find_name(self, name, call)
  local found, names, seen = nil, {}, {}
  for _, entry in ipairs(statement.entries(self:named_items())) do
    names[#names + 1] = entry.key
    if entry.key == name and not seen[entry.node] then
      seen[entry.node] = true
      if found then
        errors.raise("AmbiguousColumnError", "%s: '%s' is a column of both %s and %s; give the column itself", call,
          name, expression.describe(found), expression.describe(entry.node))
      end
      found = entry.node
    end
  end
  if not found then
    local column, direction = expression.split_direction(name)
    errors.raise("ArgumentError", "%s: '%s' is no column or label of this statement%s (SQL is written text(...))", call, name,
      direction and ("; write orm.%s(\"%s\")"):format(direction, column) or errors.hint(name, names))
  end
  return found
end

-- desc("total") with the column that the name means.
local function named_ordering(self, node, call)
  if node.visit ~= "ordering" or node.element.visit ~= "name" then
    return node
  end
  local element = find_name(self, node.element.name, call)
  return new{ visit = "ordering", element = element, direction = node.direction, nulls = node.nulls, type = element.type }
end

local function read_columns(self, call, ...)
  local given, nodes = select("#", ...), { ... }
  if given == 0 then
    errors.raise("ArgumentError", "%s needs a column", call)
  end
  for position = 1, given do
    local value = nodes[position]
    nodes[position] = type(value) == "string" and find_name(self, value, call)
      or named_ordering(self, expect_operand(value, call, position), call)
  end
  return nodes
end

-- `list` with the columns in the arguments of `call` behind; false where orm.null stands alone.
local function with_columns(self, list, call, ...)
  if (...) == core.null and select("#", ...) == 1 then
    return false
  end
  return extended(list, read_columns(self, call, ...))
end

--- Sorted by columns or expressions, or by names of columns and labels; orm.null takes back what was asked before.
function ordered:order_by(...)
  check_statement(self, "select:order_by")
  local copy = copy_of(self)
  copy[ORDERS] = with_columns(self, self.orders, "order_by()", ...)
  return copy
end
ordered.order_by = core.node_adder(ordered.order_by, ORDERS, expression.all)

-- ---- selects as parts of other statements ----

--- As a table in FROM.
---@param name? string
function ordered:subquery(name)
  check_statement(self, "select:subquery")
  return selectable.subquery(self, name)
end
ordered.alias = ordered.subquery

--- As a table in FROM that sees the tables before it, where the database has LATERAL.
---@param name? string
function ordered:lateral(name)
  check_statement(self, "select:lateral")
  return selectable.subquery(self, name, true)
end

local CTE_OPTIONS = { recursive = true }

--- As a named part in WITH: cte("tree", { recursive = true }) can be extended by union_all.
---@param name? string
---@param options? { recursive?: boolean }
function common:cte(name, options)
  check_statement(self, self.visit .. ":cte")
  return selectable.cte(self, name, errors.check_options(options, CTE_OPTIONS, "cte()").recursive)
end

--- As a value: its one column in its one row.
function ordered:scalar_subquery()
  check_statement(self, "select:scalar_subquery")
  local entries = statement.entries(self:result_items())
  if #entries ~= 1 then
    errors.raise("ArgumentError", "a select used as a value has one column, this one has %d", #entries)
  end
  return functions.scalar(self, entries[1].type)
end

--- Whether it has a row.
function ordered:exists()
  return functions.exists(self)
end

--- Whether a select has a row: of a select, of columns or a class, or of what where() will name.
---@param ... any
function statement.exists(...)
  local first = select("#", ...) == 1 and expression.expect(..., "exists()", 1)
  if first and first.is_statement then
    return functions.exists(first)
  elseif select("#", ...) == 0 then
    return functions.exists(statement.select(functions.literal_column("1")))
  end
  return functions.exists(statement.select(...))
end

-- ---- text with columns as a table ----

local function check_typed(text, call)
  if not text.column_types then
    errors.raise("ArgumentError", "text():%s(): its columns are not known; write text(...):columns{ name = Type }", call)
  end
end

function functions.text_methods:exported()
  local entries = {}
  for position, name in ipairs(errors.sorted_keys(self.column_types)) do
    local node = new{ visit = "column", name = name, key = name, type = self.column_types[name] }
    entries[position] = { node = node, type = node.type, name = name, key = name }
  end
  return entries
end

--- As a table in FROM; needs columns().
---@param name? string
function functions.text_methods:subquery(name)
  check_typed(self, "subquery")
  return selectable.subquery(self, name)
end

--- As a named part in WITH; needs columns().
---@param name? string
function functions.text_methods:cte(name)
  check_typed(self, "cte")
  return selectable.cte(self, name)
end

-- ---- unions ----

local compound = {}
for name, method in pairs(ordered) do
  compound[name] = method
end

function compound:result_items()
  return self.members[1]:result_items()
end
compound.named_items = compound.result_items

define("compound", compound)

local function combine(operator, call, first, ...)
  local members = { first }
  for position = 1, select("#", ...) do
    local member = expression.expect((select(position, ...)), call, position)
    if member.visit ~= "select" and member.visit ~= "compound" then
      errors.raise("ArgumentError", "%s: argument %d must be a select, got %s", call, position,
        member.visit == "entity" and "a class; write select(...) of it" or "a " .. member.visit)
    end
    members[#members + 1] = member
  end
  if #members < 2 then
    errors.raise("ArgumentError", "%s needs another select", call)
  end
  return setmetatable({ members, false, false, false, false, { operator = operator } }, statement.metatables.compound)
end

local COMPOUNDS = { union = "UNION", union_all = "UNION ALL", intersect = "INTERSECT", intersect_all = "INTERSECT ALL",
  except_ = "EXCEPT", except_all = "EXCEPT ALL" }
for name, words in pairs(COMPOUNDS) do
  ordered[name] = function(self, ...)
    check_statement(self, "select:" .. name)
    return combine(words, name .. "()", self, ...)
  end
  compound[name] = ordered[name]
  statement[name] = function(first, ...)
    local node = expression.expect(first, name .. "()", 1)
    check_statement(node, name)
    return ordered[name](node, ...)
  end
end
ordered.except, compound.except, statement.except = ordered.except_, ordered.except_, statement.except_

-- ---- select ----

---@class orrery.Select
local Select = {}
for name, method in pairs(ordered) do
  Select[name] = method
end
local select_metatable = define("select", Select)
statement.SELECT = select_metatable.__metatable -- what getmetatable gives for a select

function Select:result_items()
  return self.items
end

-- Names may be labels and columns of what is selected, and of what is joined.
function Select:named_items()
  local items = {}
  for _, list in ipairs({ self.items, self.sources or {} }) do
    for _, item in ipairs(list) do
      items[#items + 1] = item
    end
  end
  return items
end

local function read_items(call, ...)
  local count, items = select("#", ...), { ... }
  if count == 0 then
    errors.raise("ArgumentError", "%s needs something to select: a class, columns or expressions", call)
  end
  for position = 1, count do
    local item = items[position]
    local mark = getmetatable(item)
    local node = type(mark) == "table" and mark.__selected and mark.__selected(item)
      or type(item) == "number" and expression.literal(item) or expect(item, call, position)
    items[position] = node.is_statement and node:scalar_subquery() or node
  end
  return items
end
statement.read_items = read_items

-- [1]: whether some class shares a table with the class that it inherits from, so that its rows have to be picked out.
local picky = { false }

--- Has selects look for conditions that classes bring along (mapper.lua does, when there is the first one).
function statement.expect_criteria()
  picky[1] = true
end

-- That of a class that is joined stands in the join's condition.
local function add_criterion(node, found)
  local criterion = node.criterion and not found.joined[node.from and node.from() or node.table] and node.criterion()
  if criterion and not found[criterion] then
    found[criterion], found[#found + 1] = true, criterion
  end
end

-- The conditions that pick the rows of the classes which an expression selects.
local function add_criteria(node, found)
  if node.visit == "column" or node.visit == "entity" then
    return add_criterion(node, found)
  elseif node.is_statement or joining.has_columns(node) then
    return
  end
  local parts = PARTS[node.visit] or {}
  for _, field in ipairs(parts.nodes or {}) do
    if node[field] then
      add_criteria(node[field], found)
    end
  end
  for _, field in ipairs(parts.lists or {}) do
    for _, child in ipairs(node[field] or {}) do
      add_criteria(child, found)
    end
  end
end

-- Adds to a fresh select what is not among its conditions yet.
local function with_criteria(self, nodes)
  if not picky[1] then
    return self
  end
  local found, wheres = { joined = {} }, {}
  for _, step in ipairs(self.joins or {}) do
    found.joined[step.target] = true
  end
  for position, one in ipairs(self.wheres or {}) do
    wheres[position], found[one] = one, true
  end
  for _, node in ipairs(nodes) do
    add_criteria(node, found)
  end
  for _, criterion in ipairs(found) do
    wheres[#wheres + 1] = criterion
  end
  self.wheres = wheres[1] and wheres or nil
  return self
end

--- A query: of mapped classes, columns, tables, expressions.
---@return orrery.Select
function statement.select(...)
  local self = setmetatable({ read_items("select()", ...), false, false, false, false, false }, select_metatable)
  return with_criteria(self, self.items)
end
statement.select = core.selector(statement.select, select_metatable, picky)

--- Only rows for which all of the conditions hold.
function Select:where(...)
  check_statement(self, "select:where")
  local copy = copy_of(self)
  copy[WHERES] = with_conditions(self.wheres, "where()", ...)
  return copy
end
Select.where = core.node_adder(Select.where, WHERES, expression.all)
Select.filter = Select.where

--- Only groups for which all of the conditions hold.
function Select:having(...)
  check_statement(self, "select:having")
  local havings = with_conditions(self.havings, "having()", ...)
  local copy = copy_of(self)
  copy.havings = havings
  return copy
end

--- One row for each group of equal values.
function Select:group_by(...)
  check_statement(self, "select:group_by")
  local copy = copy_of(self)
  copy.groups = with_columns(self, self.groups, "group_by()", ...) or nil
  return copy
end

--- No row twice; with columns, one row for each value of them (DISTINCT ON), where the database has that.
function Select:distinct(...)
  check_statement(self, "select:distinct")
  local copy = copy_of(self)
  copy.unique = true
  if select("#", ...) > 0 then
    copy.distinct_on = with_columns(self, self.distinct_on, "distinct()", ...) or nil
  end
  return copy
end

--- Selects these too.
function Select:add_columns(...)
  check_statement(self, "select:add_columns")
  local copy = copy_of(self)
  copy.items = {}
  for _, list in ipairs({ self.items, read_items("add_columns()", ...) }) do
    for _, item in ipairs(list) do
      copy.items[#copy.items + 1] = item
    end
  end
  return with_criteria(copy, copy.items)
end

--- Selects these instead; what was selected before no longer counts as a table to read.
function Select:with_only_columns(...)
  check_statement(self, "select:with_only_columns")
  local copy = copy_of(self)
  copy.items = read_items("with_only_columns()", ...)
  return with_criteria(copy, copy.items)
end

local LOCK_OPTIONS = { nowait = true, skip_locked = true, read = true, key_share = true, of = true }

local function lock_words(options)
  if options.key_share then
    return options.read and "FOR KEY SHARE" or "FOR NO KEY UPDATE"
  end
  return options.read and "FOR SHARE" or "FOR UPDATE"
end

-- A class or table, or a list of them.
local function tables_to_lock(of)
  local list = {}
  for position, value in ipairs(expression.clause(of) and { of } or type(of) == "table" and of or { false }) do
    list[position] = selectable.expect(value, "with_for_update{ of = ... }", position)
  end
  return list
end

--- Locks the rows, where the database can.
---@param options? { nowait?: boolean, skip_locked?: boolean, read?: boolean, key_share?: boolean, of?: table }
function Select:with_for_update(options)
  check_statement(self, "select:with_for_update")
  options = errors.check_options(options, LOCK_OPTIONS, "with_for_update()")
  local copy = copy_of(self)
  copy.lock = lock_words(options)
  copy.lock_wait = (options.nowait and " NOWAIT" or "") .. (options.skip_locked and " SKIP LOCKED" or "")
  copy.lock_of = options.of ~= nil and tables_to_lock(options.of) or nil
  return copy
end

-- ---- FROM ----

local function add_root(copy, source, value)
  local roots, sources = {}, {}
  for position, root in ipairs(copy.roots or {}) do
    roots[position] = root
  end
  for position, old in ipairs(copy.sources or {}) do
    sources[position] = old
  end
  roots[#roots + 1], sources[#sources + 1] = source, expression.clause(value)
  copy.roots, copy.sources = roots, sources
end

--- What to read from, where the selected columns do not say it or in another order.
function Select:select_from(...)
  check_statement(self, "select:select_from")
  local copy = copy_of(self)
  for position = 1, select("#", ...) do
    local value = (select(position, ...))
    add_root(copy, selectable.expect(value, "select_from()", position), value)
  end
  return with_criteria(copy, copy.sources or {})
end

-- A class that is not in use yet stays so: it may wait for this very select, as a column_property() of it.
local function correlated_table(value, call, position)
  local mark = getmetatable(value)
  local mapper = type(mark) == "table" and mark.__mapper
  if mapper and not mapper.configured and not mapper.inherits and mapper.table then
    return mapper.table
  end
  return selectable.expect(value, call, position)
end

--- The tables of the enclosing statement that this one refers to, and does not read itself; none without arguments.
function Select:correlate(...)
  check_statement(self, "select:correlate")
  local copy = copy_of(self)
  copy.correlated = {}
  for position = 1, select("#", ...) do
    copy.correlated[position] = correlated_table((select(position, ...)), "correlate()", position)
  end
  return copy
end

--- All tables of the enclosing statement but these are referred to, and not read.
function Select:correlate_except(...)
  check_statement(self, "select:correlate_except")
  local copy = copy_of(self)
  copy.inner = {}
  for position = 1, select("#", ...) do
    copy.inner[position] = correlated_table((select(position, ...)), "correlate_except()", position)
  end
  return copy
end

local function relationship_mark(value)
  local mark = getmetatable(value)
  return type(mark) == "table" and mark.__relationship and mark or nil
end

local function refuse_self_join(self, target, on)
  local tables = joining.tables_of(on)
  if #tables ~= 1 or tables[1] ~= target then
    return
  end
  local itself, others = false, self.roots ~= nil or self.joins ~= nil
  for _, item in ipairs(self.items) do
    local is_target = (item.table or item) == target
    itself, others = itself or is_target, others or not is_target
  end
  if itself and not others then
    errors.raise("InvalidRequestError", "join(): '%s' cannot be joined with itself under one name; use "
      .. "orm.aliased(...)", joining.describe(target))
  end
end

-- The steps of a join: along a relationship, on a condition, or by a foreign key.
local function read_join(self, target, condition, kind)
  local relationship = relationship_mark(target) and target or relationship_mark(condition) and condition
  if relationship then
    local alias = relationship == condition and expression.expect(target, "join()", 1) or nil
    local steps = relationship_mark(relationship).__join(relationship, alias)
    local last = steps[#steps]
    for position, step in ipairs(steps) do
      steps[position] = { visit = "join_step", kind = kind, target = step.table, on = step.on }
    end
    return steps, alias or last.entity or last.table
  end
  local right = selectable.expect(target, "join()", 1)
  local on = condition == nil and joining.infer(self, right) or expression.expect_operand(condition, "join()", 2)
  local picked = picky[1] and with_criteria({ wheres = { on } }, { expression.clause(target) }).wheres
  on = picked and picked[2] and expression.and_(unpack(picked)) or on
  return { { visit = "join_step", kind = kind, target = right, on = on } }, target
end

-- A class that was selected before it is joined.
local function without_criterion(copy, source)
  local criterion, wheres = source.criterion and source.criterion(), {}
  for _, where in ipairs(criterion and copy.wheres or {}) do
    wheres[#wheres + 1] = where ~= criterion and where or nil
  end
  if criterion then
    copy.wheres = wheres[1] and wheres or nil
  end
  return copy
end

local function add_steps(self, steps, source)
  local copy, joins = copy_of(self), {}
  for position, step in ipairs(self.joins or {}) do
    joins[position] = step
  end
  for _, step in ipairs(steps) do
    for _, joined in ipairs(joins) do
      if joined.target == step.target then
        errors.raise("InvalidRequestError", "join(): '%s' is joined already; use orm.aliased(...) to join it twice",
          joining.describe(step.target))
      end
    end
    refuse_self_join(self, step.target, step.on)
    joins[#joins + 1] = step
  end
  copy.joins, copy.sources = joins, {}
  for position, old in ipairs(self.sources or {}) do
    copy.sources[position] = old
  end
  copy.sources[#copy.sources + 1] = source
  return picky[1] and without_criterion(copy, source) or copy
end

-- join(target), join(target, condition), join(target, options), join(target, condition, options)
local function split_join(condition, options)
  if options == nil and type(condition) == "table" and not getmetatable(condition) then
    return nil, condition
  elseif type(condition) == "boolean" then
    expression.expect(condition, "join()", 2)
  end
  return condition, options
end

local function check_target(target)
  if target == nil or type(target) == "string" then
    errors.raise("ArgumentError", "join(): a relationship (User.posts), a class or a table expected, got %s",
      target == nil and "nil" or "the string " .. errors.show(target))
  end
end

local function do_join(self, target, condition, options)
  check_target(target)
  condition, options = split_join(condition, options)
  local steps, source = read_join(self, target, condition, selectable.join_kind(options, "join()"))
  local node = expression.clause(source)
  return add_steps(self, steps, node and joining.has_columns(node) and node or steps[#steps].target)
end

--- Joins along a relationship (join(User.posts)), to a class or table by the foreign key between them, or on a
--- condition (join(Post, Post.user_id:eq(User.id))). `options`: isouter, full.
function Select:join(target, condition, options)
  check_statement(self, "select:join")
  return do_join(self, target, condition, options)
end

--- The same, keeping rows that have no partner.
function Select:outerjoin(target, condition, options)
  check_statement(self, "select:outerjoin")
  condition, options = split_join(condition, options)
  options = options or {}
  return do_join(self, target, condition, { isouter = true, full = options.full })
end

--- The same with the left side named.
function Select:join_from(left, target, condition, options)
  check_statement(self, "select:join_from")
  local root = selectable.expect(left, "join_from()", 1)
  local copy = copy_of(self)
  add_root(copy, root, left)
  condition, options = split_join(condition, options)
  if condition == nil and not relationship_mark(target) then
    condition = joining.condition(root, selectable.expect(target, "join_from()", 2))
  end
  return do_join(copy, target, condition, options)
end

-- ---- rows from elsewhere ----

local From = {}

function From:result_items()
  return self.items
end
From.named_items = From.result_items

PARTS.from_statement = { nodes = { "inner" }, lists = { "items" } }
local from_metatable = define("from_statement", From)

--- The classes and columns of this select made of the rows of another statement, whose columns are found by their names:
--- select(User):from_statement(text("SELECT * FROM user_account WHERE name = :name")).
---@param inner table text, a select, a union
---@return table
function Select:from_statement(inner)
  check_statement(self, "select:from_statement")
  local node = expression.expect(inner, "from_statement()", 1)
  if node.visit ~= "text" and not node.is_statement then
    errors.raise("ArgumentError", "from_statement(): text or a statement expected, got a %s", node.visit)
  end
  return setmetatable({ visit = "from_statement", items = self.items, inner = node, loader_options = self.loader_options,
    execution = self.execution }, from_metatable)
end

-- ---- filter_by ----

-- What names in filter_by() belong to: what was joined last, or what is selected first.
local function named_source(self)
  local sources = self.sources
  if sources and #sources > 0 then
    return sources[#sources]
  end
  local first = self.items[1]
  if joining.has_columns(first) then
    return first
  end
  return joining.tables_of(first)[1] or errors.raise("InvalidRequestError",
    "filter_by(): nothing is selected that has columns; use where()")
end

-- What a class has besides columns: a hybrid, a synonym, a composite.
local function member_of(source, name)
  local mapper = source.visit == "entity" and source.mapper
  local member = mapper and (source.table == mapper.table or source.table.lasting) and mapper.methods[name]
  local mark = type(member) == "table" and getmetatable(member)
  return mark and mark.__descriptor and member:of_class(mapper, name) or nil
end

--- The column or relationship of an entity or table by its name in a script.
---@param source table
---@param name string
---@param call string
---@return table
function statement.attribute(source, name, call)
  local names = {}
  for position, column in ipairs(source.columns) do
    local key = column.key or column.name
    names[position] = key
    if key == name then
      return column
    end
  end
  local aliases = source.mapper and source.mapper.aliases
  local found = aliases and aliases[name] and source.mapper:attribute(name) or source.attribute and source:attribute(name)
    or member_of(source, name)
  if not found then
    errors.raise("ArgumentError", "%s: '%s' has no attribute '%s'%s", call, source.name or joining.describe(
      source.table or source), tostring(name), errors.hint(name, names))
  end
  return found
end

local function pairs_form(...)
  local count, list = select("#", ...), {}
  if count % 2 ~= 0 then
    errors.raise("ArgumentError", "filter_by(name, value): '%s' has no value (NULL is orm.null)",
      tostring((select(count, ...))))
  end
  for position = 1, count, 2 do
    local name, value = select(position, ...)
    if type(name) ~= "string" or value == nil then
      errors.raise("ArgumentError", "filter_by(): the value of '%s' is nil; NULL is orm.null", tostring(name))
    end
    list[#list + 1] = { name, value }
  end
  return list
end

local function table_form(values)
  local list = {}
  for _, name in ipairs(errors.sorted_keys(values)) do
    list[#list + 1] = { name, values[name] }
  end
  return list
end

local function read_filters(count, ...)
  local first = ...
  if count == 0 or (type(first) == "table" and next(first) == nil) then
    errors.raise("ArgumentError", "filter_by{} has no condition (a value that is nil leaves none); leave it out to "
      .. "take every row")
  elseif type(first) == "string" then
    return pairs_form(...)
  elseif type(first) ~= "table" or count > 1 or getmetatable(first) then
    errors.raise("ArgumentError", "filter_by{ name = value } or filter_by(name, value) expected, got %s", type(first))
  end
  return table_form(first)
end

--- The equality conditions that filter_by's arguments stand for, for attributes of `source`.
---@param source table
---@return table[]
function statement.equalities(source, ...)
  local conditions = {}
  for position, pair in ipairs(read_filters(select("#", ...), ...)) do
    conditions[position] = statement.attribute(source, pair[1], "filter_by()"):eq(pair[2])
  end
  return conditions
end

--- where() with equality: filter_by{ name = "sandy" }, or filter_by("name", value), which refuses nil.
function Select:filter_by(...)
  check_statement(self, "select:filter_by")
  local conditions = statement.equalities(named_source(self), ...)
  return self:where(unpack(conditions))
end

return statement
