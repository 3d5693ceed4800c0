--- diagnosis: what a script is told beside the database's own words: the name that was meant, what to do about a violated
-- constraint, and, where values are hidden, no values. Asks the database for its schema, and only after a fault.
local import = ...
local errors = import "errors"

local diagnosis = {}

-- ---- names ----

-- All values of one column of a query; none where the database cannot say.
local function column_of(conn, sql, ...)
  local ok, names = pcall(function(...)
    local stmt = conn.dbc:prepare(sql)
    stmt:bind({ ... }, select("#", ...), {})
    return (stmt:fetch_column(1))
  end, ...)
  return ok and names or {}
end

-- Table names in a statement: the words of it that are tables of the database.
local function tables_in(sql, tables)
  local known, found, seen = {}, {}, {}
  for _, name in ipairs(tables) do
    known[name:lower()] = name
  end
  for word in sql:gmatch("[%w_\128-\255]+") do
    local name = known[word:lower()]
    if name and not seen[name] then
      seen[name] = true
      found[#found + 1] = name
    end
  end
  return found
end

local function columns_of(conn, tables)
  local names = {}
  for _, tbl in ipairs(tables) do
    for _, name in ipairs(column_of(conn, conn.engine.driver.column_names, tbl)) do
      names[#names + 1] = name
    end
  end
  return names
end

-- The table of the database that has the column "table.column", by exactly these names.
local function owner_of(conn, name)
  local tbl, column = name:match("([^.]+)%.([^.]+)$")
  for _, one in ipairs(tbl and column_of(conn, conn.engine.driver.column_names, tbl) or {}) do
    if one == column then
      return tbl
    end
  end
end

local function without_schema(name)
  return name:match("([^.]+)$") or name
end

-- What is behind a column that the program knows and the database does not.
local OLDER = "; where the table is older than its class: create_all() leaves tables as they are, ALTER TABLE ... ADD COLUMN "
  .. "changes them"

-- Each text of a fault that names something unknown, and the names that it may have meant; what to say behind the message,
-- and in the hint, where none is near. SQLite's words; others may add theirs.
local UNKNOWN = {
  { "no such table: (.+)$", function(conn)
    local tables = column_of(conn, conn.engine.driver.table_names)
    if #tables == 0 then
      return {}, "; this database has no tables (metadata:create_all(engine) makes them)"
    end
    return tables
  end },
  { "no such column: (.+)$", function(conn, err)
    local owner = owner_of(conn, err.message:match("no such column: (.+)$"))
    if owner then
      return {}, ("; the table '%s' has it, but that part of the statement does not read it: select from it, too, or join it; of "
        .. "a class that inherits, select that class, or orm.with_polymorphic(Base, { Class })"):format(owner)
    end
    return columns_of(conn, tables_in(err.statement or "", column_of(conn, conn.engine.driver.table_names))), nil, OLDER
  end },
  { "has no column named (.+)$", function(conn, err)
    return columns_of(conn, { err.message:match("^table (.+) has no column named ") }), nil, OLDER
  end },
  { "no such function: (.+)$", function(conn)
    return column_of(conn, conn.engine.driver.function_names)
  end },
}

-- What belongs behind the message, or, where no name is near, only into the hint.
local function name_near(err, conn)
  for _, entry in ipairs(UNKNOWN) do
    local name = err.message:match(entry[1])
    if name then
      local names, else_say, more = entry[2](conn, err)
      local near = errors.nearest(without_schema(name), names)
      return near and ("; did you mean '%s'?"):format(near) or else_say, errors.hint("", names) .. (names[1] and more or "")
    end
  end
end

-- ---- what is not allowed where it stands ----

-- Texts of faults, and what to do. SQLite's words; others may add theirs.
local ADVICE = {
  { "^misuse of aggregate", "where() sees one row at a time; a condition on an aggregate goes into having(), or the "
    .. "aggregate into a subquery" },
  { "^misuse of window function", "where() and having() come before windows; select the window in a subquery, and put the "
    .. "condition on that" },
  { "^ambiguous column name", "several tables of the statement have it; name the table too" },
  { "^attempt to write a readonly database", "the engine or connection is readonly, or the file and its folder are not "
    .. "writable" },
  { "^file is not a database", "it is another kind of file, or an encrypted database" },
  { "^database disk image is malformed", "the file is damaged: put a copy back, or save what the sqlite3 shell's .recover "
    .. "still finds; PRAGMA integrity_check says more" },
  { "^database or disk is full", "nothing of this transaction is kept; free some space, roll back and run it again" },
  { "from within a transaction", "run it on a connection without one: engine:connect():execution_options{ isolation_level = "
    .. "\"AUTOCOMMIT\" }" },
  { "^foreign key mismatch", "what a foreign key refers to must be the primary key of its table or unique there, all of its "
    .. "columns together: CREATE UNIQUE INDEX" },
  { "^cannot modify .+ because it is a view", "write to the tables behind it, or give the view INSTEAD OF triggers" },
  { "^datatype mismatch", "the integer primary key of a table takes integers, and no NULL" },
  { "^HAVING clause on a non%-aggregate", "having() wants group_by(), or an aggregate in the select; a condition on a row "
    .. "goes into where()" },
  { "^table .+ already exists", "create_all() and create(engine, { checkfirst = true }) make only what is missing" },
}

--- What to do about a fault, as far as its text tells.
---@param err table
---@return string?
local function advice_on(err)
  for _, entry in ipairs(ADVICE) do
    if err.message:find(entry[1]) then
      return entry[2]
    end
  end
end

diagnosis.advice_on = advice_on

-- ---- constraints ----

local function place_of(err)
  local columns = err.columns and table.concat(err.columns, ", ")
  return columns and err.table and err.table .. " (" .. columns .. ")" or err.table
end

-- Which foreign keys a statement may have violated: SQLite does not say.
local function references_of(sql, conn)
  local driver = conn.engine.driver
  local target = conn.dbc:is_open() and tables_in(sql, column_of(conn, driver.table_names))[1]
  local is_delete = sql:upper():find("^%s*DELETE") ~= nil
  local names = target and column_of(conn, is_delete and driver.referrers or driver.references, target) or {}
  if names[1] then
    local list = table.concat(names, "; ")
    return is_delete and ("rows of %s refer to the row; delete them first, or have them refer to another"):format(list)
      or ("a row that %s refers to does not exist (%s); write that one first"):format(target, list)
  end
end

local CONSTRAINTS = {
  unique = function(err)
    return ("another row of %s has the same value; change it, or use on_conflict_do_update() or on_conflict_do_nothing()")
      :format(place_of(err) or "the table")
  end,
  ["primary key"] = function(err)
    return ("a row of %s has this primary key already; leave the key out where the database makes it, or update that row")
      :format(place_of(err) or "the table")
  end,
  ["not null"] = function(err)
    return ("%s takes no NULL: give it a value or a default"):format(place_of(err) or "a column")
  end,
  ["foreign key"] = function(err, conn)
    return references_of(err.statement or "", conn) or "a row refers to one that does not exist, or a row was deleted that "
      .. "others refer to; write the referred row first, or delete or change those that refer to it"
  end,
  check = function()
    return "the values do not fulfil a CHECK of the table"
  end,
}

-- ---- locks ----

-- Numbers of SQLite: what this transaction has read is no longer how things are, so that it cannot write; and a statement
-- of the same connection is in the way.
local STALE, OWN = 517, 6

-- Whether a statement wants to write in a transaction that has read: SQLite does not let it wait for another writer, who may
-- be waiting for its reading to end.
local function is_upgrade(err, conn)
  local statement = rawget(err, "statement")
  return statement and not conn.autocommit and not statement:find("^%s*[Ss][Ee][Ll][Ee][Cc][Tt]") and statement ~= "COMMIT"
    and not statement:find("^BEGIN")
end

local function about_lock(err, conn)
  local code = rawget(err, "code")
  if code % 256 == OWN then
    return "a result of this database connection is still being read; read it to the end or close() it first"
  elseif code == STALE then
    return "this transaction began by reading, and another has written since; begin it with begin(fn), which takes the lock "
      .. "before it reads, or roll back and run it again"
  elseif is_upgrade(err, conn) then
    return "this transaction began by reading, and another connection is writing: SQLite lets it not wait then; begin it with "
      .. "begin(fn), which takes the lock before it reads, or roll back and run it again"
  end
  local timeout = conn.engine.target.busy_timeout
  if rawget(err, "statement") == "COMMIT" then
    return "with a rollback journal COMMIT waits for all who read: another connection has an open transaction; end it, also "
      .. "where it has only read (commit, rollback or close), raise the timeout of create_engine(), or keep the database in "
      .. "WAL mode, where readers are in nobody's way"
  end
  return ("another connection is writing and did not end %s; shorten its transactions, raise the timeout of "
    .. "create_engine(), or let begin(fn, { retry = n }) try again"):format(timeout and ("within %g s"):format(timeout)
      or "in time")
end

--- Adds to a fault of the database what is known about its reason: a near name to its message, and a `hint`.
---@param err table
---@param conn table the connection that it happened on
function diagnosis.explain(err, conn)
  if rawget(err, "hint") then
    return
  end
  local advise = CONSTRAINTS[rawget(err, "constraint") or false]
  if advise then
    err.hint = advise(err, conn)
  elseif rawget(err, "retryable") then
    err.hint = about_lock(err, conn)
  elseif advice_on(err) then
    err.hint = advice_on(err)
  elseif conn.engine.driver and conn.dbc:is_open() then
    local near, others = name_near(err, conn)
    local hint = near or others or ""
    if hint ~= "" then
      err.hint = hint:gsub("^; ", "")
      err.message = err.message .. (near or "")
    end
  end
end

--- Takes the values out of an error, for engines with hide_parameters.
---@param err table
function diagnosis.hide_values(err)
  if rawget(err, "params") then
    err.params = nil
  end
  err.message = err.message:gsub("^(parameter .-), got .*$", "%1 (its value is hidden)")
end

return diagnosis
