--- binding: which database a session asks: one engine for everything, or, by its option `binds`, one for each class, base or
-- table. A seat is what a session has of one of them: the engine, or the connection of the script, and the connection that
-- its transaction runs on. Opens and ends nothing.
local import = ...
local errors = import "errors"
local core = import "core"
local expression = import "expression"
local schema = import "schema"
local registry = import "registry"
local mapper_module = import "mapper"

local binding = {}

---@class orrery.Seat
---@field engine orrery.Engine
---@field bound orrery.Connection|false the connection that the script has given
---@field conn orrery.Connection|false the one that the transaction runs on
---@field joined table|false what the session may end by itself where it has joined a transaction of the script

--- A seat on an engine, or on a connection of the script.
---@param engine orrery.Engine
---@param bound orrery.Connection|false
---@return orrery.Seat
function binding.seat(engine, bound)
  return { engine = engine, bound = bound, conn = false, joined = false }
end

-- ---- what a script gives ----

local function is_key(key)
  local mark = getmetatable(key)
  return schema.is_table(key) or type(mark) == "table" and (mark.__mapper ~= nil or mark.__name == "orrery.base")
end

-- A commit goes through the databases in one order, whatever the table's is.
local function sorted_keys(binds, call)
  local keys, names = {}, {}
  for key in pairs(binds) do
    if not is_key(key) then
      errors.raise("ArgumentError", "%s: the keys are classes, bases and tables, [User] = engine; got %s", call, errors.show(key))
    end
    keys[#keys + 1] = key
    names[key] = schema.is_table(key) and key.fullname or core.is_class(key) and mapper_module.of(key).name or ""
  end
  table.sort(keys, function(one, other) return names[one] < names[other] end)
  return keys
end

--- The seats of a session with `binds`: a list without repetitions, the default one first, and which one each key has.
---@param binds table<any, any>
---@param default orrery.Seat|false
---@param split fun(target: any, call: string): orrery.Engine, orrery.Connection|false
---@return orrery.Seat[]
---@return table<any, orrery.Seat>
function binding.read(binds, default, split)
  local call = "Session(): binds"
  if type(binds) ~= "table" or getmetatable(binds) then
    errors.raise("ArgumentError", "%s is a table from classes, bases or tables to engines, got %s", call, errors.show(binds))
  end
  local seats, by_key, by_target = { default or nil }, {}, {}
  if default then
    by_target[default.bound or default.engine] = default
  end
  for _, key in ipairs(sorted_keys(binds, call)) do
    local target = binds[key]
    local engine, bound = split(target, call)
    if not by_target[target] then
      by_target[target] = binding.seat(engine, bound)
      seats[#seats + 1] = by_target[target]
    end
    by_key[key] = by_target[target]
  end
  return seats, by_key
end

-- ---- which seat ----

-- A base and those that it was derived from, as abstract classes are.
local function of_base(by_key, base)
  while base do
    if by_key[base] then
      return by_key[base]
    end
    base = base.derived_from
  end
end

-- As Python's method resolution order: the class, what it inherits from, the bases; then the table.
local function of_mapper(by_key, mapper)
  local one = mapper
  while one do
    local found = by_key[one.class] or of_base(by_key, one.base)
    if found then
      return found
    end
    one = one.inherits
  end
  return by_key[mapper.table]
end

-- A table is its class's, too, or its base's.
local function of_table(by_key, tbl)
  for _, mapper in ipairs(registry.mappers()) do
    local found = mapper.table == tbl and of_mapper(by_key, mapper)
    if found then
      return found
    end
  end
  for key, seat in pairs(by_key) do
    if getmetatable(key).__name == "orrery.base" and key.metadata == tbl.metadata and not key.derived_from then
      return seat
    end
  end
end

local of_node

local function of_list(by_key, list)
  for _, node in ipairs(list or {}) do
    local found = of_node(by_key, node)
    if found then
      return found
    end
  end
end

local function of_statement(by_key, node)
  return of_list(by_key, { node.of, node.target }) or of_list(by_key, node.items) or of_list(by_key, node.roots)
    or of_list(by_key, node.members) or of_list(by_key, node.wheres) or node.inner and of_node(by_key, node.inner)
end

-- What an expression is made of.
local function of_parts(by_key, node)
  local parts = expression.PARTS[node.visit] or {}
  for _, name in ipairs(parts.nodes or {}) do
    local found = of_node(by_key, node[name])
    if found then
      return found
    end
  end
  for _, name in ipairs(parts.lists or {}) do
    local found = type(node[name]) == "table" and of_list(by_key, node[name])
    if found then
      return found
    end
  end
end

function of_node(by_key, node)
  if type(node) ~= "table" then
    return nil
  elseif node.is_statement then
    return of_statement(by_key, node)
  elseif node.visit == "table" then
    return by_key[node] or of_table(by_key, node)
  elseif node.visit == "alias" then
    return of_node(by_key, node.element)
  elseif node.visit == "subquery" or node.visit == "cte" then
    return of_statement(by_key, node.statement)
  elseif node.visit == "join" then
    return of_list(by_key, { node.left, node.right })
  elseif node.mapper or node.class then
    return of_mapper(by_key, node.mapper or mapper_module.of(node.class))
  end
  return node.table and of_node(by_key, node.table) or of_parts(by_key, node)
end

-- A compiled select names the classes whose objects it makes.
local function of_compiled(by_key, compiled)
  for _, item in ipairs(compiled.raw) do
    local found = item.entity and of_mapper(by_key, item.entity.mapper)
    if found then
      return found
    end
  end
end

local function name_of(subject)
  if subject == nil then
    return "a statement without a class"
  elseif core.is_class(subject) then
    return mapper_module.of(subject).name
  end
  local item = subject.raw and subject.raw[1] or subject.items and subject.items[1]
  return item and item.entity and item.entity.name or item and item.name or subject.name or "a " .. tostring(subject.visit)
end

--- The seat that a class (or its mapper), a table, a statement or a compiled select belongs to.
---@param self orrery.Session
---@param subject any nil: the default one
---@return orrery.Seat
function binding.of(self, subject)
  local by_key, found = self.by_key, nil
  if core.is_class(subject) then
    found = of_mapper(by_key, mapper_module.of(subject))
  elseif type(subject) == "table" then
    found = subject.raw and of_compiled(by_key, subject) or subject.column_keys and of_mapper(by_key, subject)
      or of_node(by_key, expression.clause(subject) or subject)
  end
  return found or self.seat or errors.raise("UnboundExecutionError", "the session has no engine for '%s': its binds name none, "
    .. "and there is no default; write Session(engine, { binds = { ... } }), or add one for it", name_of(subject))
end

return binding
