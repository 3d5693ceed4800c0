--- fingerprint: a string that is equal for two statements exactly when their SQL is, and the bound values found on the
-- way. Walks a statement as a graph: what may stand in it twice is written out once and named by its number after
-- that, so that equal strings mean equal shapes, shared parts included. Reads PARTS only; makes no SQL.
local import = ...
local errors = import "errors"
local expression = import "expression"

local PARTS = expression.PARTS
local concat, type, setmetatable = table.concat, type, setmetatable

-- The walk in progress. It never calls a script's code, so one set of buffers is enough; those that hold a
-- statement's parts are emptied at the end of each walk.
local out, length = {}, 0  -- the parts of the string
local nodes, count = {}, 0 -- bound values, in the order of the walk
local places = {}          -- where in it each of them stands
local values               -- what they hold
local seen, shared_count   -- numbers of other things that were written out
local expands              -- whether lists are written as single markers always

local function emit(part)
  length = length + 1
  out[length] = part
end

local function emit_atom(value)
  local kind = type(value)
  if kind == "table" then
    emit(value.token)
  elseif kind == "string" then
    emit(#value .. ":" .. value)
  else
    emit(tostring(value))
  end
end

-- ---- things that stay: tables, classes, columns ----

-- Short texts for what stays the same between statements: by object, and by what they stand for. They are never given
-- twice, so dropping all of them when there are too many costs no more than statements compiled anew.
local MAX_SHORT = 10000
local ids, tokens = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })
local short, shorts, last_id = {}, 0, 0

local function new_id()
  last_id = last_id + 1
  return "#" .. last_id
end

local function id_of(object)
  local id = ids[object] or new_id()
  ids[object] = id
  return id
end

local function shortened(text)
  local id = short[text]
  if not id then
    if shorts >= MAX_SHORT then
      short, shorts = {}, 0
    end
    id, shorts = new_id(), shorts + 1
    short[text] = id
  end
  return id
end

-- Columns may be added to a table until it is used, and after that by reflection.
local function table_token(selectable)
  local known, columns = tokens[selectable], #selectable.columns
  if not known or known.columns ~= columns then
    known = { columns = columns, text = id_of(selectable) .. "/" .. columns }
    tokens[selectable] = known
  end
  return known.text
end

local walk

local function column_text(column, owner)
  local key = column.key or column.name
  return ("%s.%d:%s%d:%s%s"):format(owner, #column.name, column.name, #key, key, column.type and column.type.key or "-")
end

local function column(node)
  if node.from then
    emit("F")
    walk(node.from())
  end
  local token = tokens[node]
  if token then
    length = length + 1
    out[length] = token
    return
  end
  local owner = node.table
  if owner and owner.visit ~= "table" then
    emit("C")
    walk(owner)
    return emit(column_text(node, ""))
  end
  token = shortened(column_text(node, owner and id_of(owner) or ""))
  tokens[node] = token
  emit(token)
end

local function entity_text(node)
  local parts = { "E" .. id_of(node.class or node), table_token(node.table), #node.columns, node.generation or 1 }
  for _, attribute in ipairs(node.columns) do
    parts[#parts + 1] = column_text(attribute, "")
  end
  return concat(parts, ";")
end

-- A class's entity is the same for every statement; that of an alias is new each time.
local function entity(node)
  if (node.table.visit == "table" or node.table.lasting) and not node.has_expressions then
    local known = tokens[node]
    if not known or known.columns ~= #node.columns then
      known = { columns = #node.columns, text = shortened(entity_text(node)) }
      tokens[node] = known
    end
    return emit(known.text)
  end
  emit("A" .. id_of(node.class or node) .. (node.generation or ""))
  walk(node.table)
  emit(#node.columns)
  for _, attribute in ipairs(node.columns) do
    if attribute.visit == "column" then
      emit(column_text(attribute, ""))
    else
      walk(attribute)
    end
  end
end

-- ---- values ----

local function bind(node)
  length = length + 1
  local place = places[node]
  if place then
    out[length] = "^" .. place
    return
  end
  count = count + 1
  nodes[count], values[count], places[node] = node, node.value, count
  out[length] = node.type.bind_key
  if node.key then
    emit_atom(node.key)
  end
end

local function list_length(node)
  if not node.packed or expands then
    return "L" .. node.count
  end
  return node.packed == "hex" and "L#" or "L*"
end

local function list(node)
  emit(list_length(node))
  emit(node.type.key)
  local types = node.types
  if types then
    for position = 1, #types do
      emit(types[position].key)
    end
    emit(")")
  end
  count = count + 1
  nodes[count], places[node] = node, count
end

-- ---- everything else ----

-- Fields that a node has are named by their place in its PARTS; those that it has not leave no trace.
local ATOM, NODE, LIST = {}, {}, {}
for position = 1, 16 do
  ATOM[position], NODE[position], LIST[position] = "a" .. position, "n" .. position, "l" .. position
end

local function emit_atoms(node, fields)
  for position = 1, #fields do
    local value = node[fields[position]]
    if value ~= nil then
      emit(ATOM[position])
      emit_atom(value)
    end
  end
end

local function walk_nodes(node, fields)
  for position = 1, #fields do
    local child = node[fields[position]]
    if child then
      emit(NODE[position])
      walk(child)
    end
  end
end

local function walk_lists(node, fields)
  for position = 1, #fields do
    local items = node[fields[position]]
    if items then
      emit(LIST[position])
      emit(#items)
      for index = 1, #items do
        walk(items[index])
      end
    end
  end
end

local NONE = {}

local function generic(node)
  local parts = PARTS[node.visit]
  if not parts then
    errors.raise("CompileError", "%s cannot be part of a statement", tostring(node.visit))
  end
  emit(node.visit)
  if node.type then
    emit(node.type.key)
  end
  emit_atoms(node, parts.atoms or NONE)
  walk_nodes(node, parts.nodes or NONE)
  walk_lists(node, parts.lists or NONE)
  emit(")")
end

local function shared(node)
  if seen and seen[node] then
    return emit("@" .. seen[node])
  end
  seen, shared_count = seen or {}, shared_count + 1
  seen[node] = shared_count
  return generic(node)
end

-- The type of an operation follows from its parts, except where a script says it.
local function binary(node)
  local operator = node.operator
  length = length + 1
  out[length] = operator.token
  if operator.name == "op" then
    emit(node.type.key)
  end
  if node.escape then
    emit("\\" .. node.escape)
  end
  walk(node.left)
  return walk(node.right)
end

local WALKS = {
  column = column, entity = entity, bind = bind, list = list, binary = binary,
  alias = shared, subquery = shared, cte = shared, label = shared,
  table = function(node) return emit(table_token(node)) end,
  -- A class's own join is the same for every statement.
  join = function(node) return node.lasting and emit(table_token(node)) or generic(node) end,
}

function walk(node)
  return (WALKS[node.visit] or generic)(node)
end

-- A walk that an error cut short leaves its buffers as they are.
local function begin(dialect)
  if count > 0 then
    nodes, places = {}, {}
  end
  length, count, values, seen, shared_count, expands = 0, 0, {}, nil, 0, not dialect.array_in
  emit(dialect.name)
end

local fingerprint = {}

--- The string for a statement and a dialect, and the values bound in it in a fixed order (those of lists are nil).
---@param statement table
---@param dialect orrery.Dialect
---@return string
---@return any[] values
---@return integer count
function fingerprint.of(statement, dialect)
  begin(dialect)
  walk(statement)
  return concat(out, ";", 1, length), values, count
end

--- The nodes of the values of the last walk. Must be called after each of(), with whether they are wanted.
---@param wanted boolean
---@return table[]? nodes
function fingerprint.finish(wanted)
  local kept = wanted and {} or nil
  for position = 1, count do
    local node = nodes[position]
    if kept then
      kept[position] = node
    end
    nodes[position], places[node] = nil, nil
  end
  count, values, seen = 0, nil, nil
  return kept
end

return fingerprint
