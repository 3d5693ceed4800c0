-- Results and rows.
local orm = require "orrery"
local text = orm.text

local conn = orm.create_engine("sqlite://"):connect()
conn:execute(text("CREATE TABLE t (x INTEGER, y INTEGER, z TEXT)"))
conn:execute(text("INSERT INTO t VALUES (:x, :y, :z)"), {
  { x = 1, y = 1, z = "a" }, { x = 2, y = 4, z = "b" }, { x = 3, y = orm.null, z = "a" },
})

local function select(columns, rest)
  return conn:execute(text("SELECT " .. columns .. " FROM t " .. (rest or "ORDER BY x")))
end

local function raises(kind, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal(kind, err.kind)
  return err
end

local NUMBERS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :to) SELECT i FROM n")

describe("a row", function()
  it("reads by name and by position", function()
    local row = select("x, y"):first()
    assert.equal(1, row.x)
    assert.equal(1, row[1])
    assert.equal(1, row.y)
    assert.is_nil(row[3])
  end)

  it("has nil for NULL, and gives exactly its values when called", function()
    local row = select("x, y, z, y", "WHERE x = 3"):one()
    assert.is_nil(row[2])
    assert.equal(4, (_G.select("#", row())))
    local x, y, z = row()
    assert.same({ 3, "a" }, { x, z })
    assert.is_nil(y)
  end)

  it("names the nearest column for one that is not there", function()
    local row = select("x AS amount, y"):first()
    local err = raises("NoSuchColumnError", function() return row.amuont end)
    assert.truthy(err.message:find("did you mean 'amount'", 1, true))
  end)

  it("raises for a name that several columns have, and keeps both by position", function()
    local row = select("x, y AS x", "WHERE x = 2"):first()
    raises("AmbiguousColumnError", function() return row.x end)
    assert.equal(2, row[1])
    assert.equal(4, row[2])
  end)

  it("cannot be written", function()
    local row = select("x, y", "WHERE x = 3"):first()
    raises("InvalidRequestError", function() row.other = 1 end)
    raises("InvalidRequestError", function() row.y = 1 end)
  end)

  it("is equal to a row with the same values", function()
    local one, two, three = select("x, y"):first(), select("x, y"):first(), select("x, y"):all()[2]
    assert.is_true(one == two)
    assert.is_false(one == three)
    assert.is_false(one == select("x, y, z"):first())
  end)

  it("sorts as a database would: by its first value that differs, NULL first", function()
    local rows = select("z, y, x"):all()
    table.sort(rows, function(a, b) return a < b end)
    assert.equal("(('a', NULL, 3)) (('a', 1, 1)) (('b', 4, 2))", ("(%s) (%s) (%s)"):format(tostring(rows[1]),
      tostring(rows[2]), tostring(rows[3])))
    assert.is_true(rows[1] <= rows[1])
    assert.is_true(rows[3] > rows[2])
    assert.is_false((pcall(function() return rows[1] < 5 end)))
  end)

  it("prints its values", function()
    assert.equal("(3, NULL, 'a')", tostring(select("x, y, z", "WHERE x = 3"):first()))
  end)

  it("hides its metatable, which other rows share", function()
    local row = select("x"):first()
    assert.is_nil(getmetatable(row).__index)
    assert.is_false((pcall(setmetatable, row, {})))
  end)

  it("can have columns called like methods", function()
    local row = select("x AS first, y AS keys"):first()
    assert.equal(1, row.first)
    assert.equal(1, row.keys)
  end)
end)

describe("a result", function()
  it("iterates, once", function()
    local seen = {}
    local result = select("x")
    for row in result do
      seen[#seen + 1] = row.x
    end
    assert.same({ 1, 2, 3 }, seen)
    assert.same({}, result:all())
    assert.is_nil(result:fetchone())
  end)

  it("gives all that is left", function()
    local result = select("x")
    result:fetchone()
    assert.equal(2, #result:all())
  end)

  it("gives the first and ends", function()
    local result = select("x")
    assert.equal(1, result:first().x)
    raises("ResourceClosedError", result.all, result)
    assert.is_nil(select("x", "WHERE 0"):first())
  end)

  it("gives the only one, and says when it is not", function()
    assert.equal(1, select("x", "WHERE x = 1"):one().x)
    raises("NoResultFound", function() select("x", "WHERE 0"):one() end)
    raises("MultipleResultsFound", function() select("x"):one() end)
    assert.is_nil(select("x", "WHERE 0"):one_or_none())
    raises("MultipleResultsFound", function() select("x"):one_or_none() end)
  end)

  it("gives scalars", function()
    assert.equal(1, select("x"):scalar())
    assert.is_nil(select("x", "WHERE 0"):scalar())
    assert.is_nil(select("y", "WHERE x = 3"):scalar())
    assert.equal(4, select("y", "WHERE x = 2"):scalar_one())
    assert.is_nil(select("y", "WHERE x = 3"):scalar_one())
    raises("NoResultFound", function() select("y", "WHERE 0"):scalar_one() end)
    assert.is_nil(select("y", "WHERE 0"):scalar_one_or_none())
  end)

  it("has null among scalars, so that they neither end nor shorten", function()
    assert.same({ 1, 4, orm.null }, select("y"):scalars():all())
    local count = 0
    for _ in select("y"):scalars() do
      count = count + 1
    end
    assert.equal(3, count)
    assert.is_nil(select("y", "WHERE x = 3"):scalars():first())
  end)

  it("gives the scalars of any column", function()
    assert.same({ 1, 4, orm.null }, select("x, y"):scalars(2):all())
    assert.same({ 1, 4, orm.null }, select("x, y"):scalars("y"):all())
    raises("NoSuchColumnError", function() select("x"):scalars("q") end)
  end)

  it("gives plain tables as mappings", function()
    assert.same({ { x = 1, y = 1 }, { x = 2, y = 4 }, { x = 3 } }, select("x, y"):mappings():all())
    raises("AmbiguousColumnError", function() select("x, y AS x"):mappings() end)
  end)

  it("gives some of its columns", function()
    local result = select("x, y, z"):columns("z", 1)
    assert.same({ "z", "x" }, result:keys())
    local row = result:first()
    assert.equal("a", row.z)
    assert.equal(1, row[2])
  end)

  it("leaves out what it gave before", function()
    assert.equal(2, #select("z"):unique():all())
    assert.same({ "a", "b" }, select("z"):scalars():unique():all())
    assert.same({ "a", "b" }, select("z"):unique():scalars():all())
    assert.equal(3, #select("z, x"):unique():all())
    assert.equal(2, #select("x, z"):unique(function(row) return row.z end):all())
    assert.equal(2, #select("y IS NULL, NULL"):unique():all())
  end)

  it("gives parts", function()
    local sizes = {}
    for part in select("x"):partitions(2) do
      sizes[#sizes + 1] = #part
    end
    assert.same({ 2, 1 }, sizes)
    local result = select("x")
    assert.equal(2, #result:fetchmany(2))
    assert.equal(1, #result:fetchmany(2))
    assert.same({}, result:fetchmany(2))
    raises("ArgumentError", function() result:fetchmany(0) end)
  end)

  it("knows its column names", function()
    assert.same({ "x", "y", "x" }, select("x, y, x"):keys())
  end)

  it("streams what is long, in order and complete", function()
    local result, sum = conn:execute(NUMBERS, { to = 1050 }, { yield_per = 10 }), 0
    for row in result do
      sum = sum + row.i
    end
    assert.equal(1050 * 1051 / 2, sum)
  end)

  it("can be closed at any moment, and twice", function()
    local result = conn:execute(NUMBERS, { to = 1000 })
    result:fetchone()
    assert.is_false(result.closed)
    result:close()
    result:close()
    assert.is_true(result.closed)
    raises("ResourceClosedError", result.fetchone, result)
  end)

  it("reads its columns by the types given", function()
    local row = conn:execute(text("SELECT '{\"a\":[1]}' AS doc, '2024-01-01' AS at, 1 AS flag, NULL AS none")
      :columns{ doc = orm.JSON, at = orm.DateTime, flag = orm.Boolean, none = orm.JSON }):one()
    assert.equal(1, row.doc.a[1])
    assert.equal("2024-01-01T00:00:00", row.at)
    assert.is_true(row.flag)
    assert.is_nil(row.none)
  end)

  it("of a statement without rows says so", function()
    local result = conn:execute(text("UPDATE t SET z = z WHERE x > 1"))
    assert.equal(2, result.rowcount)
    assert.is_false(result.returns_rows)
    assert.same({}, result:keys())
    raises("ResourceClosedError", result.all, result)
  end)

  it("of an insert has the key that the database made", function()
    conn:execute(text("CREATE TABLE IF NOT EXISTS keyed (id INTEGER PRIMARY KEY, a)"))
    assert.equal(1, conn:execute(text("INSERT INTO keyed (a) VALUES (1)")).lastrowid)
    assert.equal(2, conn:execute(text("INSERT INTO keyed (a) VALUES (1)")).lastrowid)
  end)

  it("answers a misspelt name with the nearest", function()
    local err = raises("ArgumentError", function() return select("x"):frist() end)
    assert.truthy(err.message:find("did you mean 'first'", 1, true))
  end)

  it("has no positions, and from Lua 5.2 on no length: all() gives an array", function()
    assert.truthy(raises("ArgumentError", function() return select("x")[1] end).message:find("result:all() is an array", 1, true))
    if _VERSION ~= "Lua 5.1" then
      assert.truthy(raises("ArgumentError", function() return #select("x") end).message:find("#result:all()", 1, true))
    end
  end)

  it("says when a method was called with a dot", function()
    local result = select("x")
    assert.truthy(raises("ArgumentError", function() result.all() end).message:find("use ':'", 1, true))
  end)
end)

describe("rows of tables and classes", function()
  local Base = orm.declarative_base()
  local User = Base:model("User", { __tablename__ = "user_account",
    id = orm.mapped_column(orm.Integer, { primary_key = true }), name = orm.mapped_column(orm.String(30)),
    manager_id = orm.mapped_column(orm.Integer) })
  local users = User.__table__
  local engine = orm.create_engine("sqlite://")
  Base.metadata:create_all(engine)
  engine:begin(function(own)
    own:execute(orm.insert(users), { { name = "ann", manager_id = 2 }, { name = "bob", manager_id = orm.null } })
  end)

  it("read by column object, attribute and class", function()
    orm.with(engine:connect(), function(own)
      local row = own:execute(orm.select(users):order_by(users.c.id)):first()
      assert.equal("ann", row[users.c.name])
      assert.equal("ann", row[User.name])
      assert.equal(2, row[User.manager_id])
    end)
    local session = orm.Session(engine)
    local row = session:execute(orm.select(User, User.name):order_by(User.id)):first()
    assert.equal("ann", row.User.name)
    assert.equal(row.User, row[User])
    assert.equal(row.User, row[1])
    assert.equal("ann", row[User.name])
    assert.equal("ann", row[users.c.name])
    raises("NoSuchColumnError", function() return row[User.manager_id] end)
    session:close()
  end)

  it("tell columns of the same name apart by their object", function()
    orm.with(engine:connect(), function(own)
      local boss = users:alias("boss")
      local row = own:execute(orm.select(users.c.name, boss.c.name):select_from(users:join(boss,
        boss.c.id:eq(users.c.manager_id)))):one()
      assert.equal("ann", row[users.c.name])
      assert.equal("bob", row[boss.c.name])
      assert.same({ "ann", "bob" }, { row() })
    end)
  end)

  it("come from RETURNING, of one set of values or of many", function()
    orm.with(engine:connect(), function(own)
      local insert = orm.insert(users):returning(users.c.id, users.c.name)
      local result = own:execute(insert, { name = "cid" })
      assert.equal(1, result.rowcount)
      assert.equal("cid", result:one()[users.c.name])
      result = own:execute(insert, { { name = "dan" }, { name = "eve" }, { name = "fay" } })
      assert.equal(3, result.rowcount)
      assert.same({ "dan", "eve", "fay" }, result:scalars("name"):all())
      local changed = own:execute(orm.update(users):where(users.c.id:gt(3)):values{ manager_id = 1 }:returning(users.c.id))
      assert.equal(3, changed.rowcount)
      assert.same({ 4, 5, 6 }, changed:scalars():all())
      assert.equal(3, #own:execute(orm.delete(users):where(users.c.id:gt(3)):returning(users.c.id)):all())
      own:rollback()
    end)
  end)

  it("say what key was inserted, as far as it is known", function()
    local metadata = orm.MetaData()
    local code = orm.Table("code", metadata, orm.Column("code", orm.String(5), { primary_key = true }))
    local pair = orm.Table("pair", metadata, orm.Column("a", orm.Integer, { primary_key = true }),
      orm.Column("b", orm.Integer, { primary_key = true }))
    metadata:create_all(engine)
    orm.with(engine:connect(), function(own)
      assert.same({ 3 }, own:execute(orm.insert(users):values{ name = "gus" }).inserted_primary_key)
      assert.same({ 77 }, own:execute(orm.insert(users):values{ id = 77, name = "gus" }).inserted_primary_key)
      assert.same({ "x" }, own:execute(orm.insert(code):values{ code = "x" }).inserted_primary_key)
      assert.same({ 4, 5 }, own:execute(orm.insert(pair), { a = 4, b = 5 }).inserted_primary_key)
      assert.is_nil(own:execute(orm.insert(code), { { code = "y" }, { code = "z" } }).inserted_primary_key)
      local upsert = orm.insert(users):values{ id = 77, name = "ida" }
      for _, statement in ipairs{ upsert:on_conflict_do_nothing(), upsert:prefix_with("OR IGNORE"),
        upsert:on_conflict_do_update{ index_elements = { "id" }, set = { name = "ida" } } } do
        local outcome = own:execute(statement)
        assert.is_nil(outcome.lastrowid)
        assert.is_nil(outcome.inserted_primary_key)
      end
      assert.is_nil(own:execute(orm.text("UPDATE user_account SET name = 'ida' WHERE id = 77")).lastrowid)
      assert.equal(77, own:execute(orm.text("REPLACE INTO user_account (id, name) VALUES (77, 'joe')")).lastrowid)
      assert.equal(77, own:execute(upsert:prefix_with("or replace")).lastrowid)
    end)
  end)
end)

describe("a long result", function()
  local TO = 200000

  it("streams in constant memory", function()
    local result, highest = conn:execute(NUMBERS, { to = TO }, { yield_per = 100 }), 0
    collectgarbage()
    collectgarbage()
    local before, count = collectgarbage("count"), 0
    for _ in result do
      count = count + 1
      if count % 20000 == 0 then
        collectgarbage()
        highest = math.max(highest, collectgarbage("count") - before)
      end
    end
    assert.equal(TO, count)
    assert.is_true(highest < 200, ("%d kB more"):format(highest))
  end)

  it("comes in parts of yield_per rows where no size is given", function()
    local sizes = {}
    for part in conn:execute(NUMBERS, { to = 250 }):yield_per(120):partitions() do
      sizes[#sizes + 1] = #part
    end
    assert.same({ 120, 120, 10 }, sizes)
    assert.equal(30, #conn:execute(NUMBERS, { to = 250 }, { yield_per = 30 }):fetchmany())
    raises("ArgumentError", function() select("x"):partitions("many") end)
    raises("ArgumentError", conn.execute, conn, NUMBERS, { to = 1 }, { yield_per = 0 })
  end)

  it("may stand open beside others, and beside its own statement", function()
    local one, two = conn:execute(NUMBERS, { to = 300 }), conn:execute(NUMBERS, { to = 400 })
    local count = 0
    for row in one do
      count = count + 1
      assert.equal(row.i, two:fetchone().i)
    end
    assert.equal(300, count)
    assert.equal(100, #two:all())
  end)

  it("that was ended leaves alone what runs on its statement since", function()
    local ended = conn:execute(NUMBERS, { to = 300 })
    ended:fetchone()
    conn:rollback()
    local result = conn:execute(NUMBERS, { to = 300 })
    result:fetchone()
    ended:close()
    assert.equal(299, #result:all())
  end)

  it("is let go when nobody holds it any more", function()
    for _ = 1, 300 do
      conn:execute(NUMBERS, { to = 1000 }):fetchone()
    end
    collectgarbage()
    collectgarbage()
    conn:rollback()
    conn:execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER, y INTEGER, z TEXT)"))
    conn:execute(text("DROP TABLE t"))
    conn:rollback()
  end)

  it("raises where it is read when the database fails on the way", function()
    local result, seen = conn:execute(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
      .. "SELECT CASE WHEN i = 300 THEN abs(-9223372036854775807 - 1) ELSE i END AS i FROM n")), 0
    local err = raises("OperationalError", function()
      for _ in result do
        seen = seen + 1
      end
    end)
    assert.truthy(err.message:find("overflow", 1, true))
    assert.equal(200, seen)
  end)
end)

describe("a result of the outer side of a join", function()
  it("has null where no row stands, or nothing in a row of several", function()
    local lib = require("spec.support.library").open()
    local query = orm.select(lib.Tag):select_from(lib.Book):outerjoin(lib.Book.tags):order_by(lib.Book.id, lib.Tag.id)
    local seen = {}
    for position, tag in ipairs(lib.session:scalars(query):all()) do
      seen[position] = tag == orm.null and "null" or tag.name
    end
    assert.same({ "t1", "t2", "t1", "null", "null" }, seen)
    for position, row in ipairs(lib.session:execute(query:add_columns(lib.Book.id)):all()) do
      seen[position] = row[2] .. (row[1] and row[1].name or "-")
    end
    assert.same({ "1t1", "1t2", "2t1", "3-", "4-" }, seen)
  end)
end)
