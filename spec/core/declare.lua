-- A schema handle from lines of text:
--   "book: id pk, isbn unique, author_id -> author.id, unique(author_id isbn), (a b) -> other(c d), x -> x.id later"
-- Returns the handle and a table of what has a number: tables by name, "book.author_id" by { table, position }.
local core = require "spec.support.core"

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do
    list[#list + 1] = word
  end
  return list
end

local function positions(numbers, name, columns)
  local list = {}
  for i, column in ipairs(words(columns)) do
    list[i] = assert(numbers[name .. "." .. column], column)[2]
  end
  return list
end

local function add_column(schema, numbers, name, text, keys)
  local column, rest = text:match "^(%S+)%s*(.*)$"
  local position = schema:add_column(numbers[name], column, not rest:find "pk")
  numbers[name .. "." .. column] = { numbers[name], position }
  if rest:find "pk" then
    keys[#keys + 1] = position
  end
  if rest:find "unique" then
    schema:add_unique(numbers[name], { position })
  end
  local target, target_column = rest:match "%->%s*(%S+)%.(%S+)"
  if target then
    numbers[#numbers + 1] = schema:add_foreign_key(numbers[name], { position }, target, { target_column },
      rest:find "later$" ~= nil)
  end
end

local function add_line(schema, numbers, line)
  local name, rest = line:match "^(.-):%s*(.*)$"
  local keys = {}
  numbers[name] = schema:add_table(name)
  for text in (rest .. ","):gmatch "%s*(.-)%s*," do
    local columns, target, target_columns = text:match "^%((.-)%)%s*%->%s*(%S-)%((.-)%)$"
    local unique = text:match "^unique%((.-)%)$"
    if columns then
      numbers[#numbers + 1] = schema:add_foreign_key(numbers[name], positions(numbers, name, columns), target,
        words(target_columns))
    elseif unique then
      schema:add_unique(numbers[name], positions(numbers, name, unique))
    elseif text ~= "" then
      add_column(schema, numbers, name, text, keys)
    end
  end
  schema:set_primary_key(numbers[name], keys)
end

return function(lines)
  local schema, numbers = core.schema(), {}
  for _, line in ipairs(lines) do
    add_line(schema, numbers, line)
  end
  return schema, numbers
end
