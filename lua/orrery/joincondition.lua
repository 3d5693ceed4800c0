--- joincondition: by which condition a relationship joins: the pairs of columns that are equal, and whatever else a
-- primaryjoin or secondaryjoin says. Finds out which column stands on which side and which one is the foreign key; puts
-- aliases, or an object's values, in the place of columns. What follows from it is relationship.lua's.
local import = ...
local errors = import "errors"
local expression = import "expression"
local hierarchy = import "hierarchy"
local joining = import "joining"

local joincondition = {}
local PARTS = expression.PARTS

-- ---- walking and copying expressions ----

--- The table's column that a column of a class, alias or subquery stands for.
---@param node table
---@return table
local function base(node)
  while node.origin or node.visit == "label" do
    node = node.origin or node.element
  end
  return node
end
joincondition.base = base

local map

-- The copy of a node with other parts; nil where they all stay.
local function map_fields(node, parts, fn)
  local copy
  for _, field in ipairs(parts.nodes or {}) do
    local child = node[field] and map(node[field], fn)
    if child ~= node[field] then
      copy = copy or expression.copy_of(node)
      copy[field] = child
    end
  end
  for _, field in ipairs(parts.lists or {}) do
    local list, changed = {}, false
    for position, child in ipairs(node[field] or {}) do
      list[position] = map(child, fn)
      changed = changed or list[position] ~= child
    end
    if changed then
      copy = copy or expression.copy_of(node)
      copy[field] = list
    end
  end
  return copy
end

--- An expression with other columns: fn(column) gives what stands in its place, or nil to leave it. Selects within it
--- stay as they are.
---@param node table
---@param fn fun(column: table): table?
---@return table
function map(node, fn)
  if node.visit == "column" then
    return fn(node) or node
  elseif node.is_statement or not PARTS[node.visit] then
    return node
  end
  return map_fields(node, PARTS[node.visit], fn) or node
end
joincondition.map = map
hierarchy.map_columns = map

local function each_column(node, fn)
  map(node, function(column) fn(column) end)
end

-- Calls fn for every comparison of two sides, wherever it stands.
local function each_binary(node, fn)
  if node.visit == "binary" then
    fn(node)
  end
  local parts = not node.is_statement and PARTS[node.visit] or {}
  for _, field in ipairs(parts.nodes or {}) do
    if node[field] then
      each_binary(node[field], fn)
    end
  end
  for _, field in ipairs(parts.lists or {}) do
    for _, child in ipairs(node[field] or {}) do
      each_binary(child, fn)
    end
  end
end

-- The conditions that must all hold.
local function conjuncts(node)
  return node.visit == "junction" and node.operator.text == "AND" and node.clauses or { node }
end

-- ---- foreign() and remote() ----

local function has_mark(node, mark)
  local found = false
  each_column(node, function(column) found = found or column[mark] == true end)
  return found
end

local function with_marks(column, foreign, remote)
  return expression.new{ visit = "column", name = column.name, key = column.key, type = column.type, table = column.table,
    origin = base(column), owner = column.owner, class = column.class, foreign = foreign, remote = remote }
end

local function annotated(value, mark, call)
  return map(expression.expect(value, call, 1), function(column)
    return with_marks(column, mark == "foreign" or column.foreign, mark == "remote" or column.remote)
  end)
end

--- Marks a column of a primaryjoin or secondaryjoin as the foreign key, where no ForeignKey says so.
---@param column table
---@return table
function joincondition.foreign(column)
  return annotated(column, "foreign", "foreign()")
end

--- Marks a column of a primaryjoin as one of the far side; for a class that is related to itself.
---@param column table
---@return table
function joincondition.remote(column)
  return annotated(column, "remote", "remote()")
end

--- The same condition for the relationship that leads back: what was remote is near, and the other way round.
---@param node table
---@return table
function joincondition.reversed(node)
  if not has_mark(node, "remote") then
    return node
  end
  return map(node, function(column) return with_marks(column, column.foreign, not column.remote) end)
end

-- ---- which column is the foreign key ----

local function refers(column, other)
  for _, key in ipairs(column.foreign_keys or {}) do
    if key.column == other then
      return true
    end
  end
  return false
end

-- In a comparison of two columns, the one that refers to the other; a link table's column refers to what it is compared with.
local function referring(left, right, in_secondary)
  if refers(base(left), base(right)) then
    return left
  elseif refers(base(right), base(left)) then
    return right
  elseif in_secondary(left) ~= in_secondary(right) then
    return in_secondary(left) and left or right
  end
end

--- The set of the columns in a condition that hold a foreign key: as the script marks them, else as it lists them, else by the
-- tables' foreign keys.
local function foreign_columns(node, listed, in_secondary)
  local set = {}
  if has_mark(node, "foreign") then
    each_column(node, function(column) set[column] = column.foreign end)
  elseif listed then
    each_column(node, function(column) set[column] = listed[base(column)] end)
  else
    each_binary(node, function(binary)
      if binary.left.visit == "column" and binary.right.visit == "column" then
        local found = referring(binary.left, binary.right, in_secondary)
        if found then
          set[found] = true
        end
      end
    end)
  end
  return set
end

-- ---- which column stands on which side ----

-- Whether a column is one of those that a class is read from.
local function belongs(column, mapper, source)
  if source ~= hierarchy.selectable(mapper) then
    return column.table == source
  end
  local own = base(column)
  return column.table == own.table and (mapper:number_of_column(own) ~= nil or own.table == source)
end

local function outside(question, option, column)
  errors.raise("ArgumentError", "%s: its %s uses '%s', which belongs neither to '%s' nor to '%s'", question.name, option,
    expression.describe(column), question.parent.name, question.target.name)
end

-- Of a condition through a link table, which has the columns of one class and of the link.
local function link_sides(question, option, node, sides)
  local first = option == "primaryjoin" and "parent" or "target"
  local mapper = question[first]
  each_column(node, function(column)
    if belongs(column, mapper, first == "target" and question.source or hierarchy.selectable(mapper)) then
      sides[column] = first
    elseif column.table == question.secondary then
      sides[column] = "secondary"
    elseif belongs(column, question.parent, hierarchy.selectable(question.parent)) then
      sides[column] = "parent"
    elseif belongs(column, question.target, question.source) then
      sides[column] = "target"
    else
      outside(question, option, column)
    end
  end)
end

-- Of a class that is related to itself, the far side is what is marked, listed as remote_side, or else holds the key.
local function own_sides(question, node, foreign, sides)
  local marked, listed = has_mark(node, "remote"), question.remote_side
  each_column(node, function(column)
    local far
    if marked then
      far = column.remote
    elseif listed then
      far = listed[base(column)]
    else
      far = foreign[column]
    end
    sides[column] = far and "target" or "parent"
  end)
end

local function direct_sides(question, node, foreign, sides)
  local parent, target = question.parent, question.target
  if question.source == hierarchy.selectable(parent) or has_mark(node, "remote") then
    return own_sides(question, node, foreign, sides)
  end
  each_column(node, function(column)
    local near, far = belongs(column, parent, hierarchy.selectable(parent)), belongs(column, target, question.source)
    if not near and not far then
      outside(question, "primaryjoin", column)
    end
    sides[column] = far and not near and "target" or near and not far and "parent"
      or question.remote_side and question.remote_side[base(column)] and "target" or foreign[column] and "target" or "parent"
  end)
end

-- ---- pairs, and what is left ----

-- Parts a condition into pairs of equal columns { column of `near`, other column }, of which one is the foreign key, and the
-- rest.
local function part(node, near, sides, foreign)
  local pairs_list, rest = {}, {}
  for _, clause in ipairs(conjuncts(node)) do
    local left, right = clause.left, clause.right
    local equal = clause.visit == "binary" and clause.operator.text == "=" and left.visit == "column" and right.visit == "column"
    if equal and sides[right] == near then
      left, right = right, left
    end
    if equal and sides[left] == near and sides[right] ~= near and (foreign[left] or foreign[right]) then
      pairs_list[#pairs_list + 1] = { base(left), right.table == base(right).table and base(right) or right }
    else
      rest[#rest + 1] = clause
    end
  end
  return pairs_list, rest[1] and expression.and_((table.unpack or unpack)(rest))
end

local function touches(node, sides, side)
  local found = false
  if node then
    each_column(node, function(column) found = found or sides[column] == side end)
  end
  return found
end

-- ---- reading what a script gives ----

local function check_found(question, option, node, foreign, pairs_list)
  if next(foreign) == nil then
    errors.raise("ArgumentError", "%s: no column in its %s (%s) is known to be the foreign key; name it, as in foreign_keys = "
      .. "\"%s.column\", or mark it by orm.foreign(column)", question.name, option, tostring(node), question.target.name)
  elseif #pairs_list == 0 and not question.viewonly then
    errors.raise("ArgumentError", "%s: its %s (%s) does not say that a foreign key is equal to a column of the other side, so "
      .. "there is nothing that could be written; set viewonly = true", question.name, option, tostring(node))
  end
end

local function direction_of(question, node, foreign, sides)
  local near, far = false, false
  for column in pairs(foreign) do
    near, far = near or sides[column] == "parent", far or sides[column] == "target"
  end
  if near == far then
    errors.raise("ArgumentError", "%s: the foreign keys in its primaryjoin (%s) stand on both sides, so that its direction is "
      .. "open; say which ones to go by with foreign_keys, or orm.foreign() and orm.remote()", question.name, tostring(node))
  end
  return near and "manytoone" or "onetomany"
end

local function no_secondary()
  return false
end

local function read_direct(question)
  local node, sides = question.primaryjoin, {}
  local foreign = foreign_columns(node, question.foreign_keys, no_secondary)
  direct_sides(question, node, foreign, sides)
  local pairs_list, rest = part(node, "parent", sides, foreign)
  check_found(question, "primaryjoin", node, foreign, pairs_list)
  return { direction = direction_of(question, node, foreign, sides), pairs = pairs_list, rest = rest, sides = sides }
end

local function given_or_inferred(question, option, mapper)
  if question[option] then
    return question[option]
  end
  local ok, found = pcall(joining.condition, question.secondary, mapper.table)
  if not ok then
    errors.raise(found.kind, "%s: %s; give its %s too", question.name, found.message:gsub("; give the condition.*", ""), option)
  end
  return found
end

local function read_link(question, option, mapper, near, sides)
  local node = given_or_inferred(question, option, mapper)
  local foreign = foreign_columns(node, question.foreign_keys, function(column) return column.table == question.secondary end)
  link_sides(question, option, node, sides)
  local pairs_list, rest = part(node, near, sides, foreign)
  check_found(question, option, node, foreign, pairs_list)
  return pairs_list, rest
end

local function read_through(question)
  local sides = {}
  local pairs_list, rest = read_link(question, "primaryjoin", question.parent, "parent", sides)
  local links, target_rest = read_link(question, "secondaryjoin", question.target, "target", sides)
  return { direction = "manytomany", pairs = pairs_list, links = links, rest = rest, target_rest = target_rest, sides = sides }
end

---@class orrery.JoinCondition
---@field direction string "onetomany", "manytoone" or "manytomany"
---@field pairs table[] { column of the parent's table, column of the target (many-to-many: of the link) }
---@field links table[]? many-to-many: { column of the target's table, column of the link }
---@field rest table? what else must hold
---@field target_rest table? the same of the secondaryjoin
---@field sides table<table, string> "parent", "target" or "secondary" by column node of the rest
---@field keyed boolean the parent's side is known by its columns in `pairs` alone

--- What a primaryjoin, and a secondaryjoin, say.
---@param question table name, parent and target (mappers), source (what the target is read from), secondary, primaryjoin,
---   secondaryjoin, foreign_keys and remote_side (sets of columns), viewonly
---@return orrery.JoinCondition
function joincondition.read(question)
  local found = question.secondary and read_through(question) or read_direct(question)
  found.keyed = #found.pairs > 0 and not touches(found.rest, found.sides, "parent")
    and not touches(found.target_rest, found.sides, "parent")
  return found
end

-- ---- use ----

--- The column of an alias or subquery that stands for a table's column.
---@param source table
---@param column table
---@return table
function joincondition.on(source, column)
  if column.table == source then
    return column
  end
  local wanted = base(column)
  if source.visit == "alias" and source.element == wanted.table then
    return source.columns[wanted.position]
  end
  for _, shown in ipairs(source.columns) do
    if base(shown) == wanted or source.by_name and shown.name == wanted.name then
      return shown
    end
  end
  errors.raise("InvalidRequestError", "'%s' has no column that stands for '%s'", joining.describe(source),
    expression.describe(wanted))
end

local on = joincondition.on

-- left = right for each pair; each side is a table, or what stands for it.
local function equalities(pairs_list, left, right, conditions, own)
  for _, pair in ipairs(pairs_list) do
    conditions[#conditions + 1] = on(left, own and own(pair[1]) or pair[1]):eq(on(right, pair[2]))
  end
end

local function placed(self, node, sources, conditions)
  if node then
    conditions[#conditions + 1] = map(node, function(column)
      local side = self.sides[column]
      local source = sources[side]
      return source ~= column.table and on(source, side == "parent" and sources.own and sources.own(column) or column) or nil
    end)
  end
end

--- The conditions between the parent and the target (many-to-many: the link), and between the link and the target.
---@param self orrery.JoinCondition
---@param sources { parent: table, target: table, secondary: table?, own: function? } tables, or aliases in their place; the
---   column that stands for one of the parent's
---@return table[] first
---@return table[] second
function joincondition.between(self, sources)
  local first, second = {}, {}
  equalities(self.pairs, sources.parent, self.links and sources.secondary or sources.target, first, sources.own)
  placed(self, self.rest, sources, first)
  equalities(self.links or {}, sources.target, sources.secondary, second)
  placed(self, self.target_rest, sources, second)
  return first, second
end

--- The conditions on target (and link) alone for the keys of one parent, or of many, that are compared elsewhere.
---@param self orrery.JoinCondition
---@param sources { target: table, secondary: table? }
---@return table[]
function joincondition.beside_keys(self, sources)
  local conditions = {}
  placed(self, self.rest, sources, conditions)
  equalities(self.links or {}, sources.target, sources.secondary, conditions)
  placed(self, self.target_rest, sources, conditions)
  return conditions
end

--- The conditions by which one object's related objects are found: values in the place of the parent's columns.
---@param self orrery.JoinCondition
---@param sources { target: table, secondary: table? }
---@param bind fun(column: table): table the bound value for a column of the parent's table
---@return table[]
function joincondition.of_object(self, sources, bind)
  local conditions, far = {}, self.links and sources.secondary or sources.target
  for _, pair in ipairs(self.pairs) do
    conditions[#conditions + 1] = on(far, pair[2]):eq(bind(pair[1]))
  end
  local function place(node)
    if node then
      conditions[#conditions + 1] = map(node, function(column)
        local side = self.sides[column]
        return side == "parent" and bind(base(column)) or on(sources[side], column)
      end)
    end
  end
  place(self.rest)
  equalities(self.links or {}, sources.target, sources.secondary, conditions)
  place(self.target_rest)
  return conditions
end

--- Whether values of the parent beyond its keys, or its keys in more than comparisons, decide: then NULL is a value like others.
---@param self orrery.JoinCondition
function joincondition.asks_parent(self)
  return touches(self.rest, self.sides, "parent") or touches(self.target_rest, self.sides, "parent")
end

return joincondition
