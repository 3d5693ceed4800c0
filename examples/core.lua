-- The core under the ORM: an engine, SQL as text with named parameters, results, transactions, and tables with select,
-- insert, update and delete. No class is mapped here.
--
--     lua5.4 examples/core.lua [database file or URL]     by default a database in memory
--
-- The tables some_table, user_account and address are dropped and made anew.
local orm = require "orrery"
local Integer, String, Column, ForeignKey = orm.Integer, orm.String, orm.Column, orm.ForeignKey
local text, func = orm.text, orm.func

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local engine = orm.create_engine(url)

local function title(words)
  print("\n" .. words)
end

-- ---- text ----

title("SQL as text, in a transaction that commits at its end:")
engine:begin(function(conn)
  conn:execute(text("DROP TABLE IF EXISTS some_table"))
  conn:execute(text("CREATE TABLE some_table (x INTEGER, y INTEGER)"))
  local result = conn:execute(text("INSERT INTO some_table (x, y) VALUES (:x, :y)"),
    { { x = 1, y = 1 }, { x = 2, y = 4 }, { x = 3, y = 9 } })
  print(("  one statement, three sets of parameters: %d rows"):format(result.rowcount))
end)

title("A result is iterated once; rows have names, positions, and all values at once:")
local conn = engine:connect()
for row in conn:execute(text("SELECT x, y FROM some_table WHERE y > :y ORDER BY x"), { y = 1 }) do
  local x, y = row()
  print(("  x = %d, y = %d, also %d and %d, also %d and %d"):format(row.x, row.y, row[1], row[2], x, y))
end

title("Or taken as a whole:")
local squares = text("SELECT x, y FROM some_table ORDER BY x")
print("  :all()      " .. #conn:execute(squares):all() .. " rows")
print("  :first()    " .. tostring(conn:execute(squares):first()))
print("  :keys()     " .. table.concat(conn:execute(squares):keys(), ", "))
print("  :scalars()  " .. table.concat(conn:execute(squares):scalars("y"):all(), ", "))
for mapping in conn:execute(squares):mappings() do
  print("  :mappings() { x = " .. mapping.x .. ", y = " .. mapping.y .. " }")
end
print("  :scalar()   " .. conn:scalar(text("SELECT sum(y) FROM some_table")))

-- ---- transactions ----

local function count()
  return conn:scalar(text("SELECT count(*) FROM some_table"))
end

title("Commit as you go:")
conn:execute(text("INSERT INTO some_table VALUES (4, 16)"))
conn:commit()
conn:execute(text("DELETE FROM some_table"))
print(("  all deleted, %d rows left"):format(count()))
conn:rollback()
print(("  rolled back, %d rows left"):format(count()))

title("A savepoint takes back a part:")
conn:execute(text("INSERT INTO some_table VALUES (5, 25)"))
local savepoint = conn:begin_nested()
conn:execute(text("INSERT INTO some_table VALUES (6, 35)"))
savepoint:rollback()
conn:commit()
print(("  %d rows, the last is %s"):format(count(), tostring(conn:execute(
  text("SELECT * FROM some_table ORDER BY x DESC")):first())))
conn:close()

title("An error rolls back what its block has done, and comes through:")
local ok, err = pcall(engine.begin, engine, function(inner)
  inner:execute(text("DELETE FROM some_table"))
  inner:execute(text("SELECT * FROM no_such_table"))
end)
assert(not ok)
print("  " .. err.kind .. ": " .. err.message)
print("  in the statement: " .. err.statement)
conn = engine:connect()
print(("  still %d rows"):format(count()))
conn:close()

-- ---- tables ----

title("Tables without classes:")
local metadata = orm.MetaData()
local users = orm.Table("user_account", metadata,
  Column("id", Integer, { primary_key = true }),
  Column("name", String(30), { nullable = false }),
  Column("fullname", String))
local addresses = orm.Table("address", metadata,
  Column("id", Integer, { primary_key = true }),
  Column("user_id", ForeignKey("user_account.id"), { nullable = false }),
  Column("email_address", String, { nullable = false }))
metadata:drop_all(engine)
metadata:create_all(engine)

engine:begin(function(inner)
  local result = inner:execute(orm.insert(users):values{ name = "sandy", fullname = "Sandy Cheeks" })
  local sandy = result.inserted_primary_key[1]
  print("  sandy has the key " .. sandy)
  inner:execute(orm.insert(users), { { name = "patrick" }, { name = "eugene" } })
  inner:execute(orm.insert(addresses), {
    { user_id = sandy, email_address = "sandy@example.org" },
    { user_id = sandy, email_address = "cheeks@example.org" },
  })
end)

local busy = orm.select(users.c.name, func.count(addresses.c.id):label("n"))
  :outerjoin(addresses):group_by(users.c.id):order_by(func.count(addresses.c.id):desc(), users.c.name)
print("  a statement shows its SQL:\n    " .. tostring(busy))
orm.with(engine:connect(), function(inner)
  for row in inner:execute(busy) do
    print(("  %-8s %d addresses"):format(row.name, row.n))
  end
end)

engine:begin(function(inner)
  local changed = inner:execute(orm.update(users):where(users.c.name:eq("patrick")):values{ fullname = "Patrick Star" })
  local deleted = inner:execute(orm.delete(users):where(users.c.fullname:is_(orm.null)))
  print(("  %d updated, %d deleted"):format(changed.rowcount, deleted.rowcount))
  local wanted = orm.and_(users.c.name:like("%a%"), users.c.id:in_{ 1, 2, 3 })
  for row in inner:execute(orm.select(users):where(wanted):order_by(users.c.id)) do
    print("  " .. tostring(row))
  end
end)
engine:dispose()
