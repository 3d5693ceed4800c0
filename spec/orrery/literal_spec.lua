-- Values that stand in the SQL: compile{ literal_binds = true }, for reading. What it prints runs and means the same.
local orm = require "orrery"
local raises = require "spec.support.raises"
local sql_cases = require "spec.support.sql_cases"
local select, null = orm.select, orm.null
local users, posts = sql_cases.users, sql_cases.posts
local u, p = users.c, posts.c

local function written(value, value_type, dialect)
  return orm.literal(value, value_type):compile{ dialect = dialect, literal_binds = true }.sql
end

describe("a statement with literals", function()
  it("has its values in the SQL, and no parameters", function()
    local statement = select(u.id):where(u.name:eq("it's"), u.age:in_{ 1, 2 }, u.id:gt(-1.5)):limit(3)
    local compiled = statement:compile{ literal_binds = true }
    assert.equal("SELECT users.id FROM users WHERE users.name = 'it''s' AND users.age IN (1, 2) AND users.id > -1.5 "
      .. "LIMIT 3", compiled.sql)
    assert.same({}, compiled.params)
  end)

  it("tells signs from comments, and values that are sorted or grouped by from positions", function()
    local one, minus = orm.literal(1), orm.literal(-1)
    assert.equal("SELECT -(-1) AS anon_1, 1 - -1 AS anon_2 FROM users",
      select(-minus, one - minus):select_from(users):compile{ literal_binds = true }.sql)
    assert.equal("SELECT users.id FROM users GROUP BY 1 + 0 ORDER BY -1 + 0, -(-1) + 0, 1 + 0 DESC",
      select(u.id):group_by(one):order_by(minus, -minus, one:label("x"):desc()):compile{ literal_binds = true }.sql)
    assert.equal("SELECT users.id FROM users ORDER BY 1",
      select(u.id):order_by(orm.literal_column("1")):compile{ literal_binds = true }.sql)
  end)

  it("writes long lists out", function()
    local list = {}
    for number = 1, 40 do
      list[number] = number
    end
    assert.equal("SELECT users.id FROM users WHERE users.id IN (" .. table.concat(list, ", ") .. ")",
      select(u.id):where(u.id:in_(list)):compile{ literal_binds = true }.sql)
  end)

  it("writes lists of parameters that have one", function()
    assert.equal("users.id IN (1, 2)",
      u.id:in_(orm.bindparam("ids", { value = { 1, 2 } })):compile{ literal_binds = true }.sql)
    assert.equal("(users.id, users.name) IN (VALUES (1, 'a'), (2, NULL))",
      orm.tuple_(u.id, u.name):in_{ { 1, "a" }, { 2, null } }:compile{ literal_binds = true }.sql)
  end)

  it("writes each type as the database reads it", function()
    local CASES = {
      { 5, orm.Integer, "5" }, { 0.1, orm.Float, "0.1" }, { 1e300, orm.Float, "1e+300" }, { 1 / 3, orm.Float },
      { true, orm.Boolean, "1", "true" }, { "a'b\n", orm.Text, "'a''b\n'" }, { "\0\255'", orm.LargeBinary, "X'00FF27'",
        "'\\x00FF27'" },
      { "2024-02-29", orm.Date, "'2024-02-29'" }, { 86400, orm.DateTime{ as = "epoch" }, "'1970-01-02 00:00:00'" },
      { 90.5, orm.Interval, "90500000", "make_interval(secs => 90.5)" }, { 4294967295.999999, orm.Interval, "4294967295999999",
        "make_interval(secs => 4294967295.999999)" }, { 100, orm.Interval, "100000000", "make_interval(secs => 100)" },
      { { a = 1 }, orm.JSON, "'{\"a\":1}'" },
      { "F47AC10B58CC4372A5670E02B2C3D479", orm.Uuid, "'f47ac10b58cc4372a5670e02b2c3d479'",
        "'f47ac10b-58cc-4372-a567-0e02b2c3d479'" },
      { "1.50", orm.Numeric(5, 2, { as = "string" }), "'1.50'" }, { null, orm.Text, "NULL" },
    }
    for _, case in ipairs(CASES) do
      assert.equal(case[3] or ("%.16g"):format(1 / 3), written(case[1], case[2]))
      assert.equal(case[4] or case[3] or ("%.16g"):format(1 / 3), written(case[1], case[2], "postgresql"))
    end
  end)

  it("runs, and gives what the statement gives", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      for _, sql in ipairs(sql_cases.schema) do
        conn:execute(orm.text(sql))
      end
      conn:execute(orm.insert(users), { { id = 1, name = "n\"3", age = 70 }, { id = 2, name = "b", age = 20 } })
      conn:execute(orm.insert(posts), { { id = 1, user_id = 1, title = "x", doc = { a = 1, b = 1 } } })
      local function rows(outcome)
        local list = {}
        for row in outcome do
          list[#list + 1] = { row() }
        end
        return list
      end
      sql_cases.each(function(name, statement)
        local compiled = statement:compile{ literal_binds = true }
        if compiled.kind == "select" then
          local plain = rows(conn:exec_driver_sql(compiled.sql))
          assert.equal(#rows(conn:execute(statement)), #plain, name)
        elseif #compiled.params == 0 then
          conn:exec_driver_sql("EXPLAIN " .. compiled.sql):close()
        end
      end)
    end)
  end)

  it("writes a per cent sign once, since there is nothing to fill in", function()
    assert.equal("users.name LIKE 'a%'", u.name:like("a%"):compile{ dialect = "postgresql", literal_binds = true }.sql)
    assert.equal("users.age % 2", (u.age % 2):compile{ dialect = "postgresql", literal_binds = true }.sql)
  end)

  it("needs its values", function()
    local statement = select(u.id):where(u.id:eq(orm.bindparam("which")))
    raises("CompileError", "the parameter 'which' has no value", statement.compile, statement, { literal_binds = true })
    raises("CompileError", "NUL byte", written, "a\0b", orm.Text)
  end)

  it("leaves the values of a default to the execution", function()
    local counted = orm.Table("counted", orm.MetaData(), orm.Column("n", orm.Integer, { default = function() return 1 end }))
    assert.equal("INSERT INTO counted (n) VALUES (?)", orm.insert(counted):compile{ literal_binds = true }.sql)
    assert.equal("INSERT INTO comments (post_id, kind, made) VALUES (1, 'plain', upper('now'))",
      orm.insert(sql_cases.comments):values{ post_id = 1 }:compile{ literal_binds = true }.sql)
  end)

  it("is not what the database gets", function()
    local statement = select(u.id):where(p.title:eq("x"), p.user_id:eq(u.id))
    statement:compile{ literal_binds = true }
    assert.equal("SELECT users.id FROM users, posts WHERE posts.title = ? AND posts.user_id = users.id",
      statement:compile().sql)
  end)
end)
