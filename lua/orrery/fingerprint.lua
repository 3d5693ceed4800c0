--- fingerprint: a string that is equal for two statements exactly when their SQL is, and the bound values found on the
-- way. The walk is the core's (shapelib.c); here are the short texts of what stays the same between statements. Makes no
-- SQL.
local import = ...
local core = import "core"
local expression = import "expression"
local Integer = import("types").Integer

local PARTS = expression.PARTS
local concat, setmetatable = table.concat, setmetatable

-- ---- things that stay: tables, classes, columns ----

-- `tokens` has the texts that the walk takes without asking: a column's, and of a table or class { text, number of
-- columns }, which holds while that is the number.
-- Short texts for what stays the same between statements: by object, and by what they stand for. They are never given
-- twice, so dropping all of them when there are too many costs no more than statements compiled anew.
local MAX_SHORT = 10000
local WEAK_KEYS = { __mode = "k" }
local ids, tokens, sourced = setmetatable({}, WEAK_KEYS), setmetatable({}, WEAK_KEYS), setmetatable({}, WEAK_KEYS)
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
  if not known or known[2] ~= columns then
    known = { id_of(selectable) .. "/" .. columns, columns }
    tokens[selectable] = known
  end
  return known[1]
end

local function column_text(column, owner)
  local key = column.key or column.name
  return ("%s.%d:%s%d:%s%s"):format(owner, #column.name, column.name, #key, key, column.type and column.type.key or "-")
end

-- ---- what the walk asks for ----

local helpers = { column_text = function(node) return column_text(node, "") end, table = table_token, count = Integer,
  places = expression.PLACES }

-- The short text of a table's column; nil for columns of anything else, which are named after that. What is read for
-- some columns has to be told as well: the walk asks for these each time.
function helpers.column(node)
  local owner, known = node.table, node.from and sourced or tokens
  if owner and owner.visit ~= "table" then
    return nil
  end
  known[node] = known[node] or shortened(column_text(node, owner and id_of(owner) or ""))
  return known[node]
end

-- Which of the columns that are left out must not be loaded later: the SQL is the same, what is made of the rows is not.
local function refused_text(node)
  return node.refused and node.refused[1] and "!" .. concat(node.refused, "!") or ""
end

local function entity_text(node)
  local parts = { "E" .. id_of(node.class or node), table_token(node.table), #node.columns, (node.generation or 1)
    .. refused_text(node) }
  for _, attribute in ipairs(node.columns) do
    parts[#parts + 1] = column_text(attribute, "")
  end
  return concat(parts, ";")
end

-- A class's entity is the same for every statement; that of an alias is new each time: nil.
function helpers.entity(node)
  if not (node.table.visit == "table" or node.table.lasting) or node.has_expressions then
    return nil
  end
  local known = tokens[node]
  if not known or known[2] ~= #node.columns then
    known = { shortened(entity_text(node)), #node.columns }
    tokens[node] = known
  end
  return known[1]
end

-- The short text of a join that is a class's own.
function helpers.lasting(node)
  return node.lasting and table_token(node) or nil
end

function helpers.alias(node)
  return "A" .. id_of(node.class or node) .. (node.generation or "") .. refused_text(node)
end

local function list_length(node, expands)
  if not node.packed or expands then
    return "L" .. node.count
  end
  return node.packed == "hex" and "L#" or "L*"
end

-- `expands`: lists are written as single markers always.
function helpers.list(node, expands)
  local parts = { list_length(node, expands), node.type.key }
  for _, kind in ipairs(node.types or {}) do
    parts[#parts + 1] = kind.key
  end
  return concat(parts, ";")
end

local fingerprint = {}

--- What is known of statements whose SQL is the same in a dialect, and the values bound in this one in a fixed order (those
--- of lists are nil). Where nothing is known: nil, the values, the number to know it by, its string, which stands in the
--- field `text` of what is known, and the values' nodes where these are wanted.
---@type fun(statement: table, dialect: orrery.Dialect, known: table<number, { text: string }>, wants_nodes?: boolean): table?,
--- any[], number?, string?, table[]?
fingerprint.find, fingerprint.run = core.shaper(PARTS, tokens, helpers)

return fingerprint
