-- Statements and tables as PostgreSQL's SQL, which is printed and not run: another dialect is data. Markers are those
-- that SQLAlchemy prints.
local orm = require "orrery"
local raises = require "spec.support.raises"
local func, select, null = orm.func, orm.select, orm.null

local metadata = orm.MetaData()
local users = orm.Table("users", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("name", orm.String(30)),
  orm.Column("age", orm.Integer),
  orm.Column("doc", orm.JSON),
  orm.Column("born", orm.DateTime))
local posts = orm.Table("posts", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("user_id", orm.ForeignKey("users.id")),
  orm.Column("title", orm.Text))
local u, p = users.c, posts.c

local gone = orm.delete(posts):where(p.id:eq(1)):returning(p.id):cte("gone")
local latest = select(p.title):where(p.user_id:eq(u.id)):limit(1):lateral("latest")
local items = func.jsonb_array_elements(u.doc):table_valued("value", { name = "items" })
local pairs_ = orm.values(orm.column("id", orm.Integer), orm.column("name", orm.Text), { name = "pairs" })
  :data{ { 1, "x" }, { 2, null } }
local insert = orm.insert(users):values{ id = 1, name = "x" }

-- { what, statement or expression, SQL, parameters }
local CASES = {
  { "markers named after the columns they are compared with",
    select(u.id):where(u.age:gt(5), (u.age + 1):lt(7), u.name:in_{ "a", "b" }, u.age:between(1, 2)):limit(3),
    "SELECT users.id FROM users WHERE users.age > %(age_1)s AND users.age + %(age_2)s < %(param_1)s AND users.name IN "
      .. "(%(name_1)s, %(name_2)s) AND users.age BETWEEN %(age_3)s AND %(age_4)s LIMIT %(param_2)s",
    { 5, 1, 7, "a", "b", 1, 2, 3 } },
  { "markers with names of the script's own",
    orm.update(users):values{ name = orm.bindparam("n") }:where(u.id:eq(orm.bindparam("i", { value = 4 }))),
    "UPDATE users SET name = %(n)s WHERE users.id = %(i)s", { nil, 4 } },
  { "insert", orm.insert(users):values{ name = "x" }, "INSERT INTO users (name) VALUES (%(name)s)", { "x" } },
  { "insert of rows", orm.insert(users):values{ { name = "x" }, { name = "y" } },
    "INSERT INTO users (name) VALUES (%(name_1)s), (%(name_2)s)", { "x", "y" } },
  { "a per cent sign, which is written twice", select((u.age % 2):label("odd"), orm.text("'5%'")),
    "SELECT users.age %% %(age_1)s AS odd, '5%%' AS anon_1 FROM users", { 2 } },
  { "constants", select(u.id):where(orm.true_()), "SELECT users.id FROM users WHERE true", {} },
  { "an offset alone", select(u.id):offset(5), "SELECT users.id FROM users OFFSET %(param_1)s", { 5 } },
  { "ilike, regular expressions and search",
    select(u.id):where(u.name:ilike("x"), u.name:regexp_match("y"), orm.not_(u.name:regexp_match("z")), u.name:match("w")),
    "SELECT users.id FROM users WHERE users.name ILIKE %(name_1)s AND users.name ~ %(name_2)s AND users.name !~ "
      .. "%(name_3)s AND users.name @@ plainto_tsquery(%(name_4)s)", { "x", "y", "z", "w" } },
  { "is distinct from", select(u.id):where(u.age:is_distinct_from(1)),
    "SELECT users.id FROM users WHERE users.age IS DISTINCT FROM %(age_1)s", { 1 } },
  { "division and bits", select((u.age / 2):label("half"), u.age:bitwise_xor(3):label("bits")),
    "SELECT users.age / CAST(%(age_1)s AS NUMERIC) AS half, users.age # %(age_2)s AS bits FROM users", { 2, 3 } },
  { "distinct on", select(u.id):distinct(u.name):order_by(u.name, u.id),
    "SELECT DISTINCT ON (users.name) users.id FROM users ORDER BY users.name, users.id", {} },
  { "a lateral join", select(u.id, latest.c.title):join(latest, orm.true_()),
    "SELECT users.id, latest.title FROM users JOIN LATERAL (SELECT posts.title FROM posts WHERE posts.user_id = users.id "
      .. "LIMIT %(param_1)s) AS latest ON true", { 1 } },
  { "a lock", select(u.id):with_for_update(), "SELECT users.id FROM users FOR UPDATE", {} },
  { "a lock of some tables", select(u.id):join(posts):with_for_update{ of = { users, posts }, nowait = true },
    "SELECT users.id FROM users JOIN posts ON users.id = posts.user_id FOR UPDATE OF users, posts NOWAIT", {} },
  { "a weak lock", select(u.id):with_for_update{ read = true, key_share = true, of = users, skip_locked = true },
    "SELECT users.id FROM users FOR KEY SHARE OF users SKIP LOCKED", {} },
  { "a change in WITH", select(gone.c.id),
    "WITH gone AS (DELETE FROM posts WHERE posts.id = %(id_1)s RETURNING posts.id) SELECT gone.id FROM gone", { 1 } },
  { "a change in WITH that nothing reads", select(u.id):where(u.id:eq(2)):add_cte(gone),
    "WITH gone AS (DELETE FROM posts WHERE posts.id = %(id_1)s RETURNING posts.id) SELECT users.id FROM users WHERE "
      .. "users.id = %(id_2)s", { 1, 2 } },
  { "delete using", orm.delete(posts):where(p.user_id:eq(u.id), u.age:lt(3)),
    "DELETE FROM posts USING users WHERE posts.user_id = users.id AND users.age < %(age_1)s", { 3 } },
  { "update from", orm.update(posts):values{ title = u.name }:where(p.user_id:eq(u.id)),
    "UPDATE posts SET title = users.name FROM users WHERE posts.user_id = users.id", {} },
  { "a conflict with a constraint", insert:on_conflict_do_nothing{ constraint = "uq_name" },
    "INSERT INTO users (id, name) VALUES (%(id)s, %(name)s) ON CONFLICT ON CONSTRAINT uq_name DO NOTHING", { 1, "x" } },
  { "a conflict with a partial index", insert:on_conflict_do_update{ index_elements = { "name" },
      index_where = u.age:gt(17), set = { age = 3 } },
    "INSERT INTO users (id, name) VALUES (%(id)s, %(name)s) ON CONFLICT (name) WHERE age > 17 DO UPDATE SET age = "
      .. "%(age_1)s", { 1, "x", 3 } },
  { "rows that a tuple is in", select(u.id):where(orm.tuple_(u.id, u.age):in_{ { 1, 2 }, { 3, 4 } }),
    "SELECT users.id FROM users WHERE (users.id, users.age) IN ((%(param_1)s, %(param_2)s), (%(param_3)s, %(param_4)s))",
    { 1, 2, 3, 4 } },
  { "a list to come", select(u.id):where(u.id:in_(orm.bindparam("ids"))),
    "SELECT users.id FROM users WHERE users.id IN (__[POSTCOMPILE_ids])", {} },
  { "a part of a document", select(u.doc:path("a", 1):label("part")),
    "SELECT jsonb_path_query_first(CAST(users.doc AS JSONB), CAST(%(param_1)s AS JSONPATH)) AS part FROM users",
    { '$."a"[0]' } },
  { "times", select(func.now(), func.current_timestamp(), orm.extract("year", u.born), u.born + 60),
    "SELECT now() AS now_1, CURRENT_TIMESTAMP AS current_timestamp_1, EXTRACT(year FROM users.born) AS anon_1, "
      .. "users.born + %(born_1)s AS anon_2 FROM users", { 60 } },
  { "unions that keep equal rows", select(u.id):intersect_all(select(p.id)):except_all(select(p.user_id)),
    "(SELECT users.id FROM users INTERSECT ALL SELECT posts.id FROM posts) EXCEPT ALL SELECT posts.user_id FROM posts",
    {} },
  { "a reserved word that SQLite has not", select(u.id:label("user"), u.id:label("pragma")),
    'SELECT users.id AS "user", users.id AS pragma FROM users', {} },
  { "a function as a table, behind the table that it reads", select(items.c.value, u.id),
    "SELECT items.value, users.id FROM users, jsonb_array_elements(users.doc) AS items", {} },
  { "a join to a function", select(u.id):outerjoin(items, orm.true_()),
    "SELECT users.id FROM users LEFT OUTER JOIN jsonb_array_elements(users.doc) AS items ON true", {} },
  { "the values of a function", select(func.generate_series(1, 3):column_valued("n")),
    "SELECT n AS n FROM generate_series(%(generate_series_1)s, %(param_1)s) AS n", { 1, 3 } },
  { "VALUES", select(u.id):join(pairs_, pairs_.c.id:eq(u.id)),
    "SELECT users.id FROM users JOIN (VALUES (%(param_1)s, %(param_2)s), (%(param_3)s, NULL)) AS pairs (id, name) ON "
      .. "pairs.id = users.id", { 1, "x", 2 } },
  { "VALUES in WITH", select(pairs_:cte("c").c.id), "WITH c(id, name) AS (VALUES (%(param_1)s, %(param_2)s), "
    .. "(%(param_3)s, NULL)) SELECT c.id FROM c", { 1, "x", 2 } },
  { "an expression by itself", orm.and_(u.age:gt(5), u.name:is_(null)), "users.age > %(age_1)s AND users.name IS NULL",
    { 5 } },
}

describe("PostgreSQL's SQL", function()
  for _, case in ipairs(CASES) do
    it("has " .. case[1], function()
      local compiled = case[2]:compile("postgresql")
      assert.equal(case[3], compiled.sql)
      assert.same(case[4], compiled.params)
    end)
  end

  it("names its markers in the binds", function()
    local compiled = select(u.id):where(u.age:gt(5), u.age:lt(9)):compile{ dialect = "postgresql" }
    assert.equal("age_1", compiled.binds[1].name)
    assert.equal("age_2", compiled.binds[2].name)
  end)

  it("says which statements only read", function()
    assert.is_true(select(u.id):compile("postgresql").readonly)
    assert.is_false(select(gone.c.id):compile("postgresql").readonly)
  end)

  it("makes tables with its types", function()
    local tbl = orm.Table("kinds", orm.MetaData(),
      orm.Column("id", orm.BigInteger, { primary_key = true }),
      orm.Column("a", orm.Double), orm.Column("b", orm.LargeBinary), orm.Column("c", orm.DateTime{ timezone = true }),
      orm.Column("d", orm.DateTime), orm.Column("e", orm.Time), orm.Column("f", orm.Uuid), orm.Column("g", orm.Interval),
      orm.Column("h", orm.Numeric(8, 2, { as = "string" })), orm.Column("i", orm.Boolean, { server_default = true }))
    assert.equal("CREATE TABLE kinds (\n\t" .. table.concat({ "id BIGSERIAL NOT NULL", "a DOUBLE PRECISION", "b BYTEA",
      "c TIMESTAMP WITH TIME ZONE", "d TIMESTAMP WITHOUT TIME ZONE", "e TIME WITHOUT TIME ZONE", "f UUID", "g INTERVAL",
      "h NUMERIC(8, 2)", "i BOOLEAN DEFAULT true", "PRIMARY KEY (id)" }, ",\n\t") .. "\n)",
      orm.CreateTable(tbl):compile("postgresql"))
  end)

  it("gives numbers to no key that the script gives, or that refers", function()
    local given = orm.Table("given", orm.MetaData(), orm.Column("id", orm.Integer, { primary_key = true,
      autoincrement = false }))
    assert.truthy(orm.CreateTable(given):compile("postgresql"):find("id INTEGER NOT NULL", 1, true))
    local refers = orm.Table("refers", metadata, orm.Column("id", orm.ForeignKey("users.id"), { primary_key = true }))
    assert.truthy(orm.CreateTable(refers):compile("postgresql"):find("id INTEGER NOT NULL", 1, true))
  end)

  it("has identities with their options, and stores what is computed", function()
    local made = orm.Table("made", orm.MetaData(),
      orm.Column("id", orm.Integer, orm.Identity{ start = 5, increment = 2, cycle = true }, { primary_key = true }),
      orm.Column("n", orm.BigInteger, orm.Identity{ always = true }),
      orm.Column("twice", orm.Integer, orm.Computed("id * 2")))
    assert.equal("CREATE TABLE made (\n\t" .. table.concat({
      "id INTEGER GENERATED BY DEFAULT AS IDENTITY (START WITH 5 INCREMENT BY 2 CYCLE) NOT NULL",
      "n BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL", "twice INTEGER GENERATED ALWAYS AS (id * 2) STORED",
      "PRIMARY KEY (id)" }, ",\n\t") .. "\n)", (orm.CreateTable(made):compile("postgresql"):gsub("%s+$", "")))
  end)
end)

describe("an engine", function()
  it("is not made for a database without a driver", function()
    raises("ArgumentError", "there is no driver for 'postgresql', whose SQL can be printed only", orm.create_engine,
      "postgresql://host/db")
  end)
end)

describe("SQLite", function()
  local LACKS = {
    { "DISTINCT ON", select(u.id):distinct(u.name), { "sqlite has no DISTINCT ON", "func.row_number():over" } },
    { "LATERAL", select(u.id, latest.c.title):join(latest, orm.true_()), { "sqlite has no LATERAL", "scalar_subquery()" } },
    { "changes in WITH", select(gone.c.id), { "sqlite takes only selects in WITH", "execute the delete by itself" } },
    { "changes in WITH that nothing reads", orm.delete(posts):where(orm.all):add_cte(gone), "only selects in WITH" },
    { "INTERSECT ALL", select(u.id):intersect_all(select(p.id)), "sqlite has no INTERSECT ALL" },
    { "names of constraints in ON CONFLICT", insert:on_conflict_do_nothing{ constraint = "x" }, "index_elements" },
    { "DELETE USING", orm.delete(posts):where(p.user_id:eq(u.id)), { "delete from 'posts' reads 'users' too", "exists()" } },
  }
  for _, case in ipairs(LACKS) do
    it("says that it has no " .. case[1], function()
      raises("CompileError", case[3], case[2].compile, case[2])
    end)
  end
end)

describe("compile()", function()
  local statement = select(u.id):where(u.age:gt(5))

  it("takes a dialect, its name, or options", function()
    local sql = "SELECT users.id FROM users WHERE users.age > %(age_1)s"
    assert.equal(sql, statement:compile(orm.dialects.postgresql).sql)
    assert.equal(sql, statement:compile("postgresql").sql)
    assert.equal(sql, tostring(statement:compile{ dialect = "postgresql" }))
    assert.equal(sql, statement:compile{ dialect = orm.dialects.postgresql }.sql)
    assert.equal("SELECT users.id FROM users WHERE users.age > ?", statement:compile{}.sql)
  end)

  it("refuses others", function()
    raises("ArgumentError", "there is no dialect 'postgres'; did you mean 'postgresql'?", statement.compile, statement,
      "postgres")
    raises("ArgumentError", "unknown option 'literals'", statement.compile, statement, { literals = true })
    raises("ArgumentError", "there is no dialect true", statement.compile, statement, true)
  end)
end)
