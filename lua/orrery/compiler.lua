--- compiler: statements become SQL with a marker for every value, and a description of their columns. A cache keyed by
-- the statement's shape (fingerprint.lua) spares the work for statements that were built afresh. Executes nothing.
local import = ...
local reading = import "reading"
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local types = import "types"
local statement = import "statement"
local change = reading.later "change"
local dialects = import "dialect"
local fingerprint = import "fingerprint"
local rendering = import "render"
import "postgresql"
import "render_select"

reading.methods(rendering.VISIT, "render_change", "insert", "update", "delete")

local compiler = { dialects = dialects.named }
local concat, find, NONE = table.concat, fingerprint.find, {}
local CHANGES = { insert = true, update = true, delete = true }

-- ---- the whole statement ----

local function with_heads(text, state)
  if #state.heads == 0 then
    return text, state.markers
  end
  local texts, markers, recursive = {}, {}, false
  for position, head in ipairs(state.heads) do
    texts[position], recursive = head.text, recursive or head.recursive
    for _, source in ipairs(head.markers) do
      markers[#markers + 1] = source
    end
  end
  for _, source in ipairs(state.markers) do
    markers[#markers + 1] = source
  end
  return (recursive and "WITH RECURSIVE " or "WITH ") .. concat(texts, ", ") .. " " .. text, markers
end

local function source_type(source)
  return source.pack and types.Text or source.type or source.node.type
end

-- What is known of each marker's value, and whether one of them has a name, under which execution may give it.
local function binds_of(markers, dialect)
  local binds, named = {}, false
  for position, source in ipairs(markers) do
    local node = source.node or {}
    binds[position] = { key = source.key or node.key, type = source_type(source):for_dialect(dialect),
      callable = source.callable, name = source.name }
    named = named or binds[position].key ~= nil
  end
  return binds, named
end

local function text_columns(node)
  local columns = {}
  for position, name in ipairs(errors.sorted_keys(node.column_types or {})) do
    columns[position] = { name = name, type = node.column_types[name] }
  end
  return columns
end

local function result_columns(node)
  local columns, raw = statement.entries(node:result_items())
  for _, entry in ipairs(columns) do
    entry.name = entry.key
    entry.node = entry.node.visit == "column" and entry.node or nil -- others may hold values
  end
  return columns, raw
end

local function statement_text(node, state)
  local visit = node.visit
  if node.is_statement or visit == "text" then
    local kind = visit == "from_statement" and node.inner.visit or visit
    return rendering.render(node, state), kind == "compound" and "select" or kind
  end
  errors.raise("ArgumentError", "a statement expected (select, insert, update, delete, text), got %s",
    node.visit and "an expression; select(...) it" or "something else")
end

local function check_size(markers, dialect)
  if #markers > dialect.max_binds then
    errors.raise("CompileError", "the statement has %d values, and %s takes %d; split the list, or insert with "
      .. "conn:execute(insert(table), rows)", #markers, dialect.name, dialect.max_binds)
  end
end

-- Markers with numbers may stand anywhere, so their values come in the order of the numbers.
local function order_markers(markers, dialect)
  if dialect.marker ~= "?" then
    table.sort(markers, function(a, b) return a.number < b.number end)
  end
end

local function compile(node, dialect, state)
  state = state or rendering.new_state(dialect)
  state.criteria = node.criteria
  local text, kind = statement_text(node, state)
  local again = rendering.without_clash(state)
  if again then
    state = again
    text, kind = statement_text(node, state)
  end
  local sql, markers = with_heads(text, state)
  order_markers(markers, dialect)
  check_size(markers, dialect)
  local compiled = { sql = sql, kind = kind, readonly = kind == "select" and not state.writes,
    table = CHANGES[kind] and node.target or nil,
    upsert = kind == "insert" and node.conflict ~= nil and node.conflict.columns ~= nil }
  compiled.binds, compiled.named = binds_of(markers, dialect)
  if kind == "text" then
    compiled.readonly = nil
  end
  if node.visit == "text" then
    compiled.columns, compiled.raw = text_columns(node), {}
  else
    compiled.columns, compiled.raw = result_columns(node)
  end
  return compiled, markers
end

-- ---- values ----

local function value_of(source, node)
  if source.callable then
    local value = source.callable()
    return value == nil and core.null or value
  elseif source.index then
    return node.values[source.index]
  elseif source.pack then
    return rendering.pack_list(node)
  end
  return node.value
end

-- For each marker the place of its value's node in the order of the fingerprint: that is how the values of another
-- statement of the same shape are found. `direct` says that all markers are plain values in that order.
local function locate(markers, nodes)
  local places, direct = {}, #markers == #nodes
  for place, node in ipairs(nodes) do
    places[node] = place
  end
  for position, source in ipairs(markers) do
    source.place = not source.own and places[source.node] or nil
    if source.node and not source.own and not source.place then
      errors.raise("InternalError", "a bound value is missing in the statement's fingerprint")
    end
    direct = direct and source.place == position and not source.index and not source.pack
  end
  return direct
end

local function collect(sources, nodes)
  local values = {}
  for position, source in ipairs(sources) do
    values[position] = value_of(source, source.place and nodes[source.place] or source.node)
  end
  return values
end

local compiled_metatable = {
  __tostring = function(compiled)
    return compiled.sql
  end,
}

local COMPILE_OPTIONS = { dialect = 1, literal_binds = 1 }

--- What stands in compile(...): nothing, a dialect or its name, or { dialect =, literal_binds = }.
---@param given any
---@return orrery.Dialect
---@return boolean as_literals
function compiler.options(given)
  if type(given) ~= "table" or given.quote then
    return dialects.of(given, "compile()"), false
  end
  local options = errors.check_options(given, COMPILE_OPTIONS, "compile()")
  return dialects.of(options.dialect, "compile{ dialect = ... }"), options.literal_binds or false
end

-- An expression by itself has no columns and no kind.
local function compile_expression(node, dialect, state)
  local text = rendering.render(node, state)
  order_markers(state.markers, dialect)
  return { sql = text, binds = binds_of(state.markers, dialect), columns = {}, raw = {} }, state.markers
end

--- Compiles a statement or an expression. The binds have the statement's values (none where execution gives them), and
--- params has them as a list. With literal_binds the values stand in the SQL, which is for reading only.
---@param node table
---@param options? orrery.Dialect|string|{ dialect?: string|orrery.Dialect, literal_binds?: boolean }
---@return table compiled { sql, binds, params, columns, raw, kind, readonly, table }
function compiler.compile(node, options)
  local found = expression.clause(node) or node
  local dialect, as_literals = compiler.options(options)
  local whole = found.is_statement or found.visit == "text"
  local compiled, markers = (whole and compile or compile_expression)(found, dialect,
    rendering.new_state(dialect, as_literals))
  compiled.params = {}
  for position, source in ipairs(markers) do
    if not source.callable then
      compiled.binds[position].value = value_of(source, source.node)
      compiled.params[position] = compiled.binds[position].value
    end
  end
  return setmetatable(compiled, compiled_metatable)
end
expression.compile = compiler.compile

-- ---- the cache ----

local DEFAULT_SIZE = 500

--- An empty cache of at most `size` compiled statements.
---@param size? integer 500 by default; 0 keeps none
---@param linking? boolean whether new shapes are searched for tables that nothing links
---@return table
function compiler.new_cache(size, linking)
  return { young = {}, old = {}, count = 0, half = math.ceil((size or DEFAULT_SIZE) / 2), linking = linking or false }
end

-- Two generations: when the young one is full it becomes the old one, whose unused entries are dropped with the next
-- turn. An entry that is used moves back to the young one.
local function keep(cache, hash, compiled)
  if cache.count >= cache.half then
    cache.young, cache.old, cache.count = {}, cache.young, 0
  end
  if cache.half > 0 then
    cache.young[hash], cache.count = compiled, cache.count + 1
  end
  return compiled
end

-- Nothing of a statement's values may stay in what is kept for others.
local function forget_values(markers)
  for position, source in ipairs(markers) do
    markers[position] = { place = source.place, index = source.index, pack = source.pack, callable = source.callable,
      node = source.own and source.node or nil }
  end
  return markers
end

local function compile_shape(node, dialect, nodes, cache)
  local state = rendering.new_state(dialect)
  state.linking = cache.linking
  local compiled, markers = compile(node, dialect, state)
  compiled.direct = locate(markers, nodes)
  compiled.sources = not compiled.direct and forget_values(markers) or nil
  return compiled
end

--- The compiled form of a statement, from the cache where one of the same shape is there, and this statement's values
--- in the order of the markers (nil where a parameter has none).
---@param node table
---@param dialect orrery.Dialect
---@param cache table of new_cache()
---@param params? table<string, any> names that become columns of an insert or update
---@return table compiled
---@return table values
function compiler.cached(node, dialect, cache, params)
  if not node[1] and not node.visit then -- selects are arrays
    node = expression.clause(node) or node
  end
  if params then
    node = change.for_parameters(node, params)
  end
  local compiled, values, hash, text, things = find(node, dialect, cache.young)
  if compiled and compiled.direct then
    return compiled, values
  end
  local _, _, _, _, nodes = find(node, dialect, NONE, true)
  if not compiled then
    compiled = cache.old[hash]
    if not compiled or compiled.text ~= text then
      compiled = compile_shape(node, dialect, nodes, cache)
      compiled.text, compiled.things = text, things
    end
    keep(cache, hash, compiled)
  end
  return compiled, compiled.direct and values or collect(compiled.sources, nodes)
end

-- ---- SQL for others ----

--- A table's name as it stands in SQL.
---@param selectable table
---@param dialect orrery.Dialect
---@return string
function compiler.table_name(selectable, dialect)
  return rendering.table_name(selectable, rendering.new_state(dialect))
end

local function quoted_names(columns, dialect)
  local names = {}
  for position, column in ipairs(columns) do
    names[position] = dialect.quote(column.name)
  end
  return names
end

local function markers_from(dialect)
  local number = 0
  return function()
    number = number + 1
    return dialect.marker == "?" and "?" or dialect.marker:format(number)
  end
end

local function repeated(count, separator, fn)
  local parts = {}
  for position = 1, count do
    parts[position] = fn(position)
  end
  return concat(parts, separator)
end

--- INSERT of `rows` rows with a value for each column; without columns, one row of defaults.
---@param target table
---@param columns table[]
---@param rows integer
---@param dialect orrery.Dialect
---@param returning? table[] columns whose values come back as a row
---@return string
function compiler.insert_sql(target, columns, rows, dialect, returning)
  local into = "INSERT INTO " .. compiler.table_name(target, dialect)
  local tail = returning and #returning > 0 and " RETURNING " .. concat(quoted_names(returning, dialect), ", ") or ""
  if #columns == 0 then
    return into .. " DEFAULT VALUES" .. tail
  end
  local next_marker = markers_from(dialect)
  local groups = repeated(rows, ", ", function()
    return "(" .. repeated(#columns, ", ", next_marker) .. ")"
  end)
  return ("%s (%s) VALUES %s%s"):format(into, concat(quoted_names(columns, dialect), ", "), groups, tail)
end

local function equalities(columns, separator, dialect, next_marker)
  local names = quoted_names(columns, dialect)
  return repeated(#columns, separator, function(position)
    return names[position] .. " = " .. next_marker()
  end)
end

-- The condition by which `count` rows are found.
local function found_by(columns, count, dialect, next_marker)
  if count == 1 then
    return equalities(columns, " AND ", dialect, next_marker)
  elseif #columns == 1 then
    return ("%s IN (%s)"):format(dialect.quote(columns[1].name), repeated(count, ", ", next_marker))
  end
  return repeated(count, " OR ", function()
    return "(" .. equalities(columns, " AND ", dialect, next_marker) .. ")"
  end)
end

--- The same UPDATE of `count` rows: values of the columns to set come first, then those of the keys.
---@param target table
---@param set_columns table[]
---@param where_columns table[]
---@param count integer
---@param dialect orrery.Dialect
---@return string
function compiler.update_sql(target, set_columns, where_columns, count, dialect)
  local next_marker = markers_from(dialect)
  local set = equalities(set_columns, ", ", dialect, next_marker)
  return ("UPDATE %s SET %s WHERE %s"):format(compiler.table_name(target, dialect), set,
    found_by(where_columns, count, dialect, next_marker))
end

--- One UPDATE of `count` rows that get different values of one column: key and value of each come first, then the keys.
---@param target table
---@param column table
---@param key table
---@param count integer
---@param dialect orrery.Dialect
---@return string
function compiler.update_apart_sql(target, column, key, count, dialect)
  local next_marker = markers_from(dialect)
  local cases = repeated(count, " ", function()
    return ("WHEN %s THEN %s"):format(next_marker(), next_marker())
  end)
  return ("UPDATE %s SET %s = CASE %s %s END WHERE %s"):format(compiler.table_name(target, dialect),
    dialect.quote(column.name), dialect.quote(key.name), cases, found_by({ key }, count, dialect, next_marker))
end

--- DELETE of `count` rows by key.
---@param target table
---@param where_columns table[]
---@param count integer
---@param dialect orrery.Dialect
---@return string
function compiler.delete_sql(target, where_columns, count, dialect)
  return ("DELETE FROM %s WHERE %s"):format(compiler.table_name(target, dialect),
    found_by(where_columns, count, dialect, markers_from(dialect)))
end

--- The SQL of one expression, for DDL: columns stand without their tables, and values are written out.
---@param node table
---@param dialect orrery.Dialect
---@return string
function compiler.expression_sql(node, dialect)
  local state = rendering.new_state(dialect, true)
  state.bare = true
  return rendering.render(expression.clause(node), state)
end

-- ---- printing ----

local function print_node(node)
  if node.is_statement or node.visit == "text" then
    return compile(node, dialects.sqlite).sql
  end
  return rendering.render(node, rendering.new_state(dialects.sqlite))
end

expression.set_renderer(function(node)
  local ok, text = pcall(print_node, node)
  return ok and text or ("orrery.%s (%s)"):format(tostring(node.visit), tostring(text))
end)

return compiler

