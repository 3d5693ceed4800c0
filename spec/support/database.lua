-- database: a SQLite database for a spec, and what stands in it, asked by plain SQL.
local orm = require "orrery"

local database = {}

--- An engine on a memory database that has the tables of a declarative base (or MetaData).
function database.create(base, options)
  local engine = orm.create_engine("sqlite://", options)
  local metadata = base.metadata or base
  metadata:create_all(engine)
  return engine
end

--- A path for a database file, and a function that removes it with what SQLite puts beside it.
function database.file()
  local path = os.tmpname()
  return path, function()
    for _, ending in ipairs { "", "-wal", "-shm", "-journal" } do
      os.remove(path .. ending)
    end
  end
end

local function show(value)
  if value == nil then
    return "NULL"
  elseif type(value) == "number" then
    return ("%.14g"):format(value)
  end
  return tostring(value)
end

local function lines_of(outcome)
  local width, lines = #outcome:keys(), {}
  for row in outcome do
    local parts = {}
    for position = 1, width do
      parts[position] = show(row[position])
    end
    lines[#lines + 1] = table.concat(parts, "|")
  end
  return lines
end

-- A session's own connection, so that what it has not committed counts, and without a flush.
local function with_connection(target, mode, fn)
  if target.engine then
    return fn(target:connection())
  end
  return target:begin(fn, { mode = mode })
end

--- The rows of a query on an engine or session, each as one string: { "1|ann|NULL" }.
function database.rows(target, sql)
  return with_connection(target, "read", function(conn)
    return lines_of(conn:execute(orm.text(sql)))
  end)
end

--- Runs statements behind the back of any session.
function database.run(target, ...)
  local statements = { ... }
  with_connection(target, "write", function(conn)
    for _, sql in ipairs(statements) do
      conn:execute(orm.text(sql))
    end
  end)
end

return database
