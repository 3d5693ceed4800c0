-- Statements as SQL: each case is a statement, its SQL and its values, and every one of them runs on SQLite. Then the
-- cache: statements of one shape share an entry, and statements that differ in anything never do.
local orm = require "orrery"
local internals = require "spec.support.internals"
local raises = require "spec.support.raises"
local func, null, select = orm.func, orm.null, orm.select

local metadata = orm.MetaData()
local users = orm.Table("users", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("name", orm.String(30)),
  orm.Column("age", orm.Integer))
local posts = orm.Table("posts", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("title", orm.Text),
  orm.Column("user_id", orm.Integer, orm.ForeignKey("users.id")),
  orm.Column("doc", orm.JSON))
local comments = orm.Table("comments", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("post_id", orm.Integer, orm.ForeignKey("posts.id")),
  orm.Column("author_id", orm.Integer, orm.ForeignKey("users.id")),
  orm.Column("kind", orm.String(9), { default = "plain", onupdate = "edited" }),
  orm.Column("made", orm.Text, { default = func.upper("now") }))
local nodes = orm.Table("nodes", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("parent_id", orm.Integer, orm.ForeignKey("nodes.id")))
local odd = orm.Table('Odd "table"', metadata,
  orm.Column("order", orm.Integer, { primary_key = true }),
  orm.Column('a"b; --', orm.Text),
  orm.Column("Mixed", orm.Text))
local pairs_table = orm.Table("pair", metadata,
  orm.Column("a", orm.Integer, { primary_key = true }),
  orm.Column("b", orm.Integer, { primary_key = true }))

local SCHEMA = {
  "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)",
  "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, user_id INTEGER, doc TEXT)",
  "CREATE TABLE comments (id INTEGER PRIMARY KEY, post_id INTEGER, author_id INTEGER, kind TEXT, made TEXT)",
  "CREATE TABLE nodes (id INTEGER PRIMARY KEY, parent_id INTEGER)",
  'CREATE TABLE "Odd ""table""" ("order" INTEGER PRIMARY KEY, "a""b; --" TEXT, "Mixed" TEXT)',
  "CREATE TABLE pair (a INTEGER, b INTEGER, PRIMARY KEY (a, b))",
}

local u, p, c, n = users.c, posts.c, comments.c, nodes.c
local ALL = "users.id, users.name, users.age"
local POSTS = "posts.id, posts.title, posts.user_id, posts.doc"

local function tree()
  local base = select(n.id, n.parent_id):where(n.id:eq(1)):cte("tree", { recursive = true })
  return base:union_all(select(n.id, n.parent_id):join(base, n.parent_id:eq(base.c.id)))
end

local function counts()
  return select(p.user_id, func.count():label("n")):where(p.id:gt(10)):group_by(p.user_id):subquery("counts")
end

local manager = orm.alias(nodes, "manager")
local twin = orm.alias(users)

-- { 'n"1', 'n"2', ... }
local function numbered_words(count)
  local list = {}
  for number = 1, count do
    list[number] = 'n"' .. number
  end
  return list
end

-- { what is meant, statement, SQL, values }
local CASES = {
  { "a table", select(users), "SELECT " .. ALL .. " FROM users", {} },
  { "columns", select(u.id, u.name), "SELECT users.id, users.name FROM users", {} },
  { "no table", select(orm.literal(1):label("one")), "SELECT ? AS one", { 1 } },
  { "names that need quotes", select(odd):where(odd.c["a\"b; --"]:eq("x")):order_by(odd.c.order),
    'SELECT "Odd ""table"""."order", "Odd ""table"""."a""b; --", "Odd ""table"""."Mixed" FROM "Odd ""table""" '
      .. 'WHERE "Odd ""table"""."a""b; --" = ? ORDER BY "Odd ""table"""."order"', { "x" } },
  { "conditions", select(u.id):where(u.age:gt(1), u.name:eq("x")):where(u.id:lt(9)),
    "SELECT users.id FROM users WHERE users.age > ? AND users.name = ? AND users.id < ?", { 1, "x", 9 } },
  { "an alternative among conditions", select(u.id):where(orm.or_(u.age:gt(1), u.age:is_(null)), u.id:eq(2)),
    "SELECT users.id FROM users WHERE (users.age > ? OR users.age IS NULL) AND users.id = ?", { 1, 2 } },
  { "orm.all as a condition", select(u.id):where(orm.all), "SELECT users.id FROM users", {} },
  { "filter_by", select(users):filter_by{ name = "x", age = 3 },
    "SELECT " .. ALL .. " FROM users WHERE users.age = ? AND users.name = ?", { 3, "x" } },
  { "filter_by with NULL", select(u.id):filter_by{ name = null }, "SELECT users.id FROM users WHERE users.name IS NULL",
    {} },
  { "filter_by of what was joined last", select(u.id):join(posts):filter_by("title", "x"),
    "SELECT users.id FROM users JOIN posts ON users.id = posts.user_id WHERE posts.title = ?", { "x" } },
  { "order, limit and offset", select(u.id):order_by(u.name:desc(), u.id):limit(10):offset(20),
    "SELECT users.id FROM users ORDER BY users.name DESC, users.id LIMIT ? OFFSET ?", { 10, 20 } },
  { "an offset alone", select(u.id):offset(5), "SELECT users.id FROM users LIMIT -1 OFFSET ?", { 5 } },
  { "order by names", select(u.id, (u.age + 1):label("next")):order_by("next", "id"),
    "SELECT users.id, users.age + ? AS next FROM users ORDER BY next, users.id", { 1 } },
  { "order by a label that is not selected", select(u.id):order_by((u.age + 1):label("x"):desc()),
    "SELECT users.id FROM users ORDER BY users.age + ? DESC", { 1 } },
  { "groups", select(u.name, func.count():label("n")):group_by("name"):having(func.count():gt(1)):order_by("n"),
    "SELECT users.name, count(*) AS n FROM users GROUP BY users.name HAVING count(*) > ? ORDER BY n", { 1 } },
  { "distinct", select(u.name):distinct(), "SELECT DISTINCT users.name FROM users", {} },
  { "names of expressions", select(func.max(u.id), func.max(u.age), u.age + 1, u.id:cast(orm.Text)),
    "SELECT max(users.id) AS max_1, max(users.age) AS max_2, users.age + ? AS anon_1, CAST(users.id AS TEXT) AS id "
      .. "FROM users", { 1 } },
  { "a part of a document", select(p.doc:path("a")):where(p.doc:path("b"):eq(1)),
    "SELECT json_quote(json_extract(posts.doc, ?)) AS anon_1 FROM posts WHERE json_extract(posts.doc, ?) = ?",
    { '$."a"', '$."b"', 1 } },
  { "a lock that SQLite has not", select(u.id):with_for_update{ nowait = true }, "SELECT users.id FROM users", {} },
  { "a long list", select(u.id):where(u.name:in_(numbered_words(40))),
    "SELECT users.id FROM users WHERE users.name IN (SELECT value FROM json_each(?))",
    { '["n\\"' .. table.concat(numbered_words(40), '","'):gsub('n"', 'n\\"'):sub(4) .. '"]' } },
  -- joins
  { "two tables", select(u.id, p.id):where(p.user_id:eq(u.id)),
    "SELECT users.id, posts.id FROM users, posts WHERE posts.user_id = users.id", {} },
  { "a table of a condition only", select(u.id):where(p.user_id:eq(u.id)),
    "SELECT users.id FROM users, posts WHERE posts.user_id = users.id", {} },
  { "a join by foreign key", select(posts):join(users), "SELECT " .. POSTS .. " FROM posts JOIN users ON "
    .. "posts.user_id = users.id", {} },
  { "a join against the foreign key", select(users):join(posts), "SELECT " .. ALL .. " FROM users JOIN posts ON "
    .. "users.id = posts.user_id", {} },
  { "joins to what was joined last", select(u.id):join(posts):join(comments),
    "SELECT users.id FROM users JOIN posts ON users.id = posts.user_id JOIN comments ON posts.id = comments.post_id", {} },
  { "an outer join on a condition", select(u.id):outerjoin(comments, c.author_id:eq(u.id)),
    "SELECT users.id FROM users LEFT OUTER JOIN comments ON comments.author_id = users.id", {} },
  { "join options", select(u.id):join(posts, { isouter = true }),
    "SELECT users.id FROM users LEFT OUTER JOIN posts ON users.id = posts.user_id", {} },
  { "a join that selects both", select(users, p.title):join(posts),
    "SELECT " .. ALL .. ", posts.title FROM users JOIN posts ON users.id = posts.user_id", {} },
  { "a join with the left side named", select(func.count()):join_from(users, posts),
    "SELECT count(*) AS count_1 FROM users JOIN posts ON users.id = posts.user_id", {} },
  { "select_from", select(func.count()):select_from(users), "SELECT count(*) AS count_1 FROM users", {} },
  { "an explicit join", select(u.id):select_from(users:join(posts):outerjoin(comments)),
    "SELECT users.id FROM users JOIN posts ON users.id = posts.user_id LEFT OUTER JOIN comments ON "
      .. "posts.id = comments.post_id", {} },
  { "a table twice", select(n.id, manager.c.id):join(manager, n.parent_id:eq(manager.c.id)),
    "SELECT nodes.id, manager.id FROM nodes JOIN nodes AS manager ON nodes.parent_id = manager.id", {} },
  { "an alias without a name", select(u.id):join(twin, twin.c.age:gt(u.age)):where(twin.c.name:eq("x")),
    "SELECT users.id FROM users JOIN users AS users_1 ON users_1.age > users.age WHERE users_1.name = ?", { "x" } },
  -- selects within selects
  { "in_ of a select", select(u.id):where(u.id:in_(select(p.user_id):where(p.title:eq("x"))), u.age:eq(2)),
    "SELECT users.id FROM users WHERE users.id IN (SELECT posts.user_id FROM posts WHERE posts.title = ?) AND "
      .. "users.age = ?", { "x", 2 } },
  { "a select as a value", select(u.name, select(func.count(p.id)):where(p.user_id:eq(u.id)):scalar_subquery():label("n")),
    "SELECT users.name, (SELECT count(posts.id) AS count_1 FROM posts WHERE posts.user_id = users.id) AS n FROM users",
    {} },
  { "a comparison with a select", select(u.id):where(u.age:gt(select(func.avg(twin.c.age)))),
    "SELECT users.id FROM users WHERE users.age > (SELECT avg(users_1.age) AS avg_1 FROM users AS users_1)", {} },
  { "exists", select(u.id):where(select(p.id):where(p.user_id:eq(u.id)):exists()),
    "SELECT users.id FROM users WHERE EXISTS (SELECT posts.id FROM posts WHERE posts.user_id = users.id)", {} },
  { "not exists", select(u.id):where(orm.not_(orm.exists(select(p.id):where(p.user_id:eq(u.id))))),
    "SELECT users.id FROM users WHERE NOT EXISTS (SELECT posts.id FROM posts WHERE posts.user_id = users.id)", {} },
  { "correlate", select(u.id):where(select(p.id, u.id):where(p.user_id:eq(u.id)):correlate(users):exists()),
    "SELECT users.id FROM users WHERE EXISTS (SELECT posts.id, users.id FROM posts WHERE posts.user_id = users.id)",
    {} },
  { "columns of one name in a subquery", (function()
      local both = select(u.id, p.id):join(posts):subquery("both")
      return select(both.c.id, both.c.id_1)
    end)(),
    "SELECT both.id, both.id_1 FROM (SELECT users.id, posts.id AS id_1 FROM users JOIN posts ON "
      .. "users.id = posts.user_id) AS both", {} },
  { "a cte", (function()
      local old = select(u.id, u.name):where(u.age:gt(60)):cte("old")
      return select(old.c.name):where(old.c.id:lt(5))
    end)(),
    "WITH old AS (SELECT users.id, users.name FROM users WHERE users.age > ?) SELECT old.name FROM old WHERE old.id < ?",
    { 60, 5 } },
  { "a cte behind a value, and twice", (function()
      local old = select(u.id):where(u.age:gt(60)):cte()
      return select(orm.literal("x"):label("x"), p.id):where(p.user_id:in_(select(old.c.id)), p.id:in_(select(old.c.id)))
    end)(),
    "WITH anon_1 AS (SELECT users.id FROM users WHERE users.age > ?) SELECT ? AS x, posts.id FROM posts WHERE "
      .. "posts.user_id IN (SELECT anon_1.id FROM anon_1) AND posts.id IN (SELECT anon_1.id FROM anon_1)", { 60, "x" } },
  { "union", orm.union(select(u.id):where(u.id:eq(1)), select(p.id)):order_by("id"):limit(3),
    "SELECT users.id FROM users WHERE users.id = ? UNION SELECT posts.id FROM posts ORDER BY id LIMIT ?", { 1, 3 } },
  { "unions of what is limited, and of unions",
    select(u.id):limit(1):union_all(select(p.id)):except_(select(c.id):order_by(c.id):limit(2)),
    "SELECT * FROM (SELECT * FROM (SELECT users.id FROM users LIMIT ?) UNION ALL SELECT posts.id FROM posts) EXCEPT "
      .. "SELECT * FROM (SELECT comments.id FROM comments ORDER BY comments.id LIMIT ?)", { 1, 2 } },
  { "intersect", select(u.id):intersect(select(p.user_id)),
    "SELECT users.id FROM users INTERSECT SELECT posts.user_id FROM posts", {} },
  -- changes
  { "insert", orm.insert(users):values{ name = "a", id = 5 }, "INSERT INTO users (id, name) VALUES (?, ?)", { 5, "a" } },
  { "insert of rows", orm.insert(users):values{ { id = 6, name = "a" }, { name = null, id = 7 } },
    "INSERT INTO users (id, name) VALUES (?, ?), (?, ?)", { 6, "a", 7, null } },
  { "insert of nothing", orm.insert(users), "INSERT INTO users DEFAULT VALUES", {} },
  { "insert with defaults", orm.insert(comments):values{ post_id = 1 },
    "INSERT INTO comments (post_id, kind, made) VALUES (?, ?, upper(?))", { 1, "plain", "now" } },
  { "insert of an expression", orm.insert(users):values{ age = orm.literal(1) + 2 },
    "INSERT INTO users (age) VALUES (? + ?)", { 1, 2 } },
  { "insert of a select as a value", orm.insert(users):values{ age = select(func.max(u.age)) },
    "INSERT INTO users (age) VALUES ((SELECT max(users.age) AS max_1 FROM users))", {} },
  { "insert from a select", orm.insert(posts):from_select({ "user_id", "title" }, select(u.id, u.name):where(u.id:gt(3))),
    "INSERT INTO posts (user_id, title) SELECT users.id, users.name FROM users WHERE users.id > ?", { 3 } },
  { "insert or nothing", orm.insert(users):values{ id = 8 }:on_conflict_do_nothing(),
    "INSERT INTO users (id) VALUES (?) ON CONFLICT DO NOTHING", { 8 } },
  { "insert or nothing from a select", orm.insert(users):from_select({ "id" }, select(p.id)):on_conflict_do_nothing(),
    "INSERT INTO users (id) SELECT posts.id FROM posts WHERE 1 ON CONFLICT DO NOTHING", {} },
  { "upsert", (function()
      local insert = orm.insert(users):values{ id = 8, name = "a" }
      return insert:on_conflict_do_update{ index_elements = { "id" },
        set = { name = insert.excluded.name, age = u.age + 1 }, where = u.age:gt(3) }
    end)(),
    "INSERT INTO users (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
      .. "age = users.age + ? WHERE users.age > ?", { 8, "a", 1, 3 } },
  { "update", orm.update(users):where(u.id:eq(4)):values{ name = "b", age = u.age + 1 },
    "UPDATE users SET name = ?, age = users.age + ? WHERE users.id = ?", { "b", 1, 4 } },
  { "update of every row", orm.update(users):where(orm.all):values{ age = null }, "UPDATE users SET age = ?", { null } },
  { "update with what changes by itself", orm.update(comments):where(c.id:eq(1)):values{ post_id = 2 },
    "UPDATE comments SET post_id = ?, kind = ? WHERE comments.id = ?", { 2, "edited", 1 } },
  { "update from another table", orm.update(posts):values{ title = u.name }:where(p.user_id:eq(u.id)),
    "UPDATE posts SET title = users.name FROM users WHERE posts.user_id = users.id", {} },
  { "update by a select", orm.update(posts):where(orm.all)
      :values{ title = select(u.name):where(u.id:eq(p.user_id)):scalar_subquery() },
    "UPDATE posts SET title = (SELECT users.name FROM users WHERE users.id = posts.user_id)", {} },
  { "delete", orm.delete(users):where(u.id:eq(4)), "DELETE FROM users WHERE users.id = ?", { 4 } },
  { "delete by a select", orm.delete(posts):where(select(u.id):where(u.id:eq(p.user_id)):exists()),
    "DELETE FROM posts WHERE EXISTS (SELECT users.id FROM users WHERE users.id = posts.user_id)", {} },
  { "delete of every row", orm.delete(nodes):where(orm.all), "DELETE FROM nodes", {} },
  { "returning", orm.insert(users):values{ id = 100 }:returning(u.id, (u.id + 1):label("next")),
    "INSERT INTO users (id) VALUES (?) RETURNING users.id, users.id + ? AS next", { 100, 1 } },
  { "returning from update", orm.update(users):where(u.id:eq(1)):values{ age = 2 }:returning(users),
    "UPDATE users SET age = ? WHERE users.id = ? RETURNING " .. ALL, { 2, 1 } },
  { "text", orm.text("SELECT id FROM users WHERE id = :id AND name != ':x'"):bindparams{ id = 5 },
    "SELECT id FROM users WHERE id = ? AND name != ':x'", { 5 } },
}

-- Those whose parts must be named before they are used.
local function add_case(name, statement, sql, values)
  CASES[#CASES + 1] = { name, statement, sql, values }
end

local sub = counts()
add_case("a subquery", select(u.name, sub.c.n):join(sub, sub.c.user_id:eq(u.id)):where(sub.c.n:gt(2)),
  "SELECT users.name, counts.n FROM users JOIN (SELECT posts.user_id, count(*) AS n FROM posts WHERE posts.id > ? "
    .. "GROUP BY posts.user_id) AS counts ON counts.user_id = users.id WHERE counts.n > ?", { 10, 2 })
add_case("a join to a subquery by foreign key", select(u.name):join(sub),
  "SELECT users.name FROM users JOIN (SELECT posts.user_id, count(*) AS n FROM posts WHERE posts.id > ? GROUP BY "
    .. "posts.user_id) AS counts ON users.id = counts.user_id", { 10 })

local recursive = tree()
add_case("a recursive cte", select(recursive.c.id):where(recursive.c.id:gt(7)),
  "WITH RECURSIVE tree(id, parent_id) AS (SELECT nodes.id, nodes.parent_id FROM nodes WHERE nodes.id = ? UNION ALL "
    .. "SELECT nodes.id, nodes.parent_id FROM nodes JOIN tree ON nodes.parent_id = tree.id) SELECT tree.id FROM tree "
    .. "WHERE tree.id > ?", { 1, 7 })

local function each_case(fn)
  for _, case in ipairs(CASES) do
    fn(case[1], case[2], case[3], case[4])
  end
end

describe("the compiler", function()
  each_case(function(name, statement, sql, values)
    it("renders " .. name, function()
      local compiled = statement:compile()
      assert.equal(sql, compiled.sql)
      assert.same(values, compiled.params)
      assert.equal(sql, tostring(statement))
    end)
  end)

  it("makes only SQL that SQLite runs", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      for _, sql in ipairs(SCHEMA) do
        conn:execute(orm.text(sql))
      end
      conn:execute(orm.insert(users), { { id = 1, name = "n\"3", age = 70 }, { id = 2, name = "b", age = 20 } })
      each_case(function(name, statement)
        local ok, err = pcall(function() return conn:execute(statement):close() end)
        assert(ok, name .. ": " .. tostring(err))
      end)
    end)
    engine:dispose()
  end)

  it("says what a statement gives", function()
    local compiled = select(users, p.title:label("t"), func.count()):join(posts):compile()
    local names, kinds = {}, {}
    for position, column in ipairs(compiled.columns) do
      names[position], kinds[position] = column.name, column.type.name
    end
    assert.same({ "id", "name", "age", "t", "count_1" }, names)
    assert.same({ "Integer", "String", "Integer", "Text", "Integer" }, kinds)
    assert.equal("select", compiled.kind)
    assert.is_true(compiled.readonly)
    assert.is_false(orm.delete(users):where(u.id:eq(1)):compile().readonly)
  end)
end)

describe("a dialect with numbered markers", function()
  local numbered = {}
  for name, value in pairs(orm.dialects.sqlite) do
    numbered[name] = value
  end
  numbered.name, numbered.marker, numbered.array_in, numbered.row_locks = "numbered", "$%d", false, true

  it("needs no other code", function()
    local old = select(u.id):where(u.age:gt(60)):cte("old")
    local compiled = select(orm.literal("x"):label("x")):where(old.c.id:eq(5)):with_for_update():compile(numbered)
    assert.equal("WITH old AS (SELECT users.id FROM users WHERE users.age > $2) SELECT $1 AS x FROM old WHERE "
      .. "old.id = $3 FOR UPDATE", compiled.sql)
    assert.same({ "x", 60, 5 }, compiled.params)
  end)

  it("gets lists item by item where it reads no arrays", function()
    local list = {}
    for number = 1, 100 do
      list[number] = number
    end
    assert.equal(100, #select(u.id):where(u.id:in_(list)):compile(numbered).params)
  end)
end)

describe("a list of 40,000 items", function()
  local function rows(column, list)
    local engine = orm.create_engine("sqlite://")
    return engine:begin(function(conn)
      conn:execute(orm.text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"))
      conn:execute(orm.insert(users), { { id = 1, name = "a'\"\\\n1" }, { id = 39999, name = "b" }, { id = 50000, name = "1" } })
      return conn:execute(select(u.id):where(column:in_(list)):order_by(u.id)):scalars():all()
    end)
  end

  it("is found in", function()
    local numbers, words = {}, {}
    for number = 1, 40000 do
      numbers[number], words[number] = number, "a'\"\\\n" .. number
    end
    assert.same({ 1, 39999 }, rows(u.id, numbers))
    assert.same({ 1 }, rows(u.name, words))
  end)

  it("is refused where the values must be bound one by one", function()
    local bytes = {}
    for number = 1, 40000 do
      bytes[number] = "\0" .. number
    end
    raises("CompileError", { "40000 values", "sqlite takes 32766" }, function()
      select(u.id):where(u.name:in_(bytes)):compile()
    end)
  end)

  it("is checked item by item", function()
    local list = {}
    for number = 1, 100 do
      list[number] = number == 77 and "x" or number
    end
    raises("ArgumentError", "an integer expected, got 'x'", function()
      select(u.id):where(u.id:in_(list)):compile()
    end)
  end)
end)

describe("names in SQL", function()
  local quote = orm.dialects.sqlite.quote

  it("are quoted where they must be", function()
    assert.equal("portfolio", quote("portfolio"))
    assert.equal("_a1", quote("_a1"))
    assert.equal('"Portfolio"', quote("Portfolio"))
    assert.equal('"order"', quote("order"))
    assert.equal('"1a"', quote("1a"))
    assert.equal('"a b"', quote("a b"))
    assert.equal('"a""b"', quote('a"b'))
    assert.equal('"a; DROP TABLE x"', quote("a; DROP TABLE x"))
    assert.equal('"\195\164"', quote("\195\164"))
  end)

  it("have no NUL byte and are not empty", function()
    raises("CompileError", "no NUL byte", quote, "a\0b")
    raises("CompileError", "not empty", quote, "")
    raises("CompileError", "cannot be the name", quote, 5)
  end)
end)

describe("what changes every row", function()
  it("must be asked for", function()
    raises("InvalidRequestError", { "update of 'users'", ":where(orm.all)" }, function()
      orm.update(users):values{ age = 1 }:compile()
    end)
    raises("InvalidRequestError", "delete of 'users'", function() orm.delete(users):compile() end)
  end)

  it("is not what a list without items says", function()
    assert.equal("DELETE FROM users WHERE 0", orm.delete(users):where(u.id:in_{}):compile().sql)
  end)
end)

-- ---- the cache ----

local compiler = internals("new_cache", "function")
local sqlite = orm.dialects.sqlite

describe("the statement cache", function()
  it("compiles a shape once, and gives each statement its own values", function()
    local cache = compiler.new_cache()
    local function build(id, age)
      return select(users):where(u.id:ge(id), u.age:gt(age)):order_by(u.id):limit(1):offset(0)
    end
    local first, values = compiler.cached(build(1, 2), sqlite, cache)
    assert.same({ 1, 2, 1, 0 }, values)
    local second, others = compiler.cached(build(3, 4), sqlite, cache)
    assert.equal(first, second)
    assert.same({ 3, 4, 1, 0 }, others)
  end)

  it("agrees with the compiler in every case", function()
    local cache = compiler.new_cache()
    for _ = 1, 2 do
      each_case(function(name, statement, sql, values)
        local compiled, found = compiler.cached(statement, sqlite, cache)
        assert.equal(sql, compiled.sql, name)
        assert.same(values, found, name)
      end)
    end
  end)

  it("keeps no values", function()
    local secret = setmetatable({}, { __mode = "v" })
    local cache = compiler.new_cache()
    local function run(value)
      secret[1] = value
      local case = orm.case_():when(p.doc:eq(value), 1):else_(2)
      compiler.cached(select(case, p.doc:eq(value):label("same")):where(p.doc:in_{ value, value }), sqlite, cache)
    end
    run{ "secret" }
    run{ "another" }
    collectgarbage()
    collectgarbage()
    assert.is_nil(secret[1])
  end)

  it("is bounded", function()
    local cache = compiler.new_cache(10)
    local hot = select(u.id):where(u.age:eq(1))
    local first = compiler.cached(hot, sqlite, cache)
    for number = 1, 100 do
      compiler.cached(select(u.id:label("x" .. number)), sqlite, cache)
      assert.equal(first, (compiler.cached(hot, sqlite, cache)))
    end
    local kept = 0
    for _, generation in ipairs{ cache.young, cache.old } do
      for _ in pairs(generation) do
        kept = kept + 1
      end
    end
    assert.is_true(kept <= 10)
  end)

  it("can be switched off", function()
    local cache = compiler.new_cache(0)
    compiler.cached(select(u.id), sqlite, cache)
    assert.is_nil(next(cache.young))
    assert.is_nil(next(cache.old))
  end)

  it("finds a value that stands in two places", function()
    local cache = compiler.new_cache()
    local value = orm.literal(5)
    local shared = select(u.id):where(u.id:eq(value), u.age:eq(value))
    local apart = select(u.id):where(u.id:eq(6), u.age:eq(7))
    for _ = 1, 2 do
      local _, values = compiler.cached(shared, sqlite, cache)
      assert.same({ 5, 5 }, values)
      _, values = compiler.cached(apart, sqlite, cache)
      assert.same({ 6, 7 }, values)
    end
  end)

  it("asks for a default each time", function()
    local count = 0
    local counted = orm.Table("counted", orm.MetaData(),
      orm.Column("id", orm.Integer, { primary_key = true }),
      orm.Column("n", orm.Integer, { default = function()
        count = count + 1
        return count
      end }))
    local cache = compiler.new_cache()
    for number = 1, 3 do
      local compiled, values = compiler.cached(orm.insert(counted):values{ id = 9 }, sqlite, cache)
      assert.equal("INSERT INTO counted (id, n) VALUES (?, ?)", compiled.sql)
      assert.same({ 9, number }, values)
    end
  end)

  it("takes names of parameters as columns of an insert or update", function()
    local cache = compiler.new_cache()
    local insert, values = compiler.cached(orm.insert(users):values{ age = 5 }, sqlite, cache, { name = "x", id = 1 })
    assert.equal("INSERT INTO users (id, name, age) VALUES (?, ?, ?)", insert.sql)
    assert.equal("id", insert.binds[1].key)
    assert.equal("name", insert.binds[2].key)
    assert.equal(5, values[3])
    local update = compiler.cached(orm.update(users):where(u.id:eq(orm.bindparam("which"))), sqlite, cache,
      { which = 1, name = "x" })
    assert.equal("UPDATE users SET name = ? WHERE users.id = ?", update.sql)
    raises("ArgumentError", "'users' has no column 'nmae'; did you mean 'name'?", compiler.cached, orm.insert(users), sqlite,
      cache, { nmae = 1 })
  end)
end)

-- Each line has statements that differ from each other in one thing.
local function variants()
  local id, age, name = u.id, u.age, u.name
  local base = select(id)
  local a, b = orm.alias(users, "a"), orm.alias(users, "b")
  local anonymous, other = orm.alias(users), orm.alias(users)
  local one = select(id):subquery("s")
  local value = orm.literal(1)
  return {
    { base:where(id:eq(1)), base:where(id:ne(1)), base:where(id:lt(1)), base:where(id:le(1)), base:where(id:gt(1)),
      base:where(id:ge(1)), base:where(age:eq(1)), base:where(id:eq(null)), base:where(id:eq(age)), base:having(id:eq(1)),
      base:where(id:is_(1)), base:where(id:is_distinct_from(1)) },
    { base, base:distinct(), base:limit(1), base:offset(1), base:limit(1):offset(1), base:order_by(id), base:group_by(id),
      base:order_by(id:desc()), base:order_by(id:asc()), base:order_by(id:desc():nulls_last()),
      base:order_by(id:desc():nulls_first()), base:order_by(id, age), base:order_by(age, id), select(id, age), select(age, id),
      select(users), select(id:label("x")), select(id:label("y")), select(func.max(id)), select(func.min(id)),
      select(func.max(id, age)), base:select_from(posts), base:with_for_update() },
    { base:where(id:in_{ 1 }), base:where(id:in_{ 1, 2 }), base:where(id:not_in{ 1 }), base:where(id:in_{}),
      base:where(id:not_in{}), base:where(id:in_{ age }), base:where(id:in_(select(p.id))),
      base:where(id:in_(select(p.user_id))) },
    { base:where(name:like("x")), base:where(name:not_like("x")), base:where(name:ilike("x")),
      base:where(name:like("x", { escape = "/" })), base:where(name:like("x", { escape = "!" })),
      base:where(name:eq("x")) },
    { base:where(orm.and_(id:eq(1), age:eq(2)), name:eq("x")), base:where(orm.or_(id:eq(1), age:eq(2)), name:eq("x")),
      base:where(id:eq(1), orm.or_(age:eq(2), name:eq("x"))), base:where(orm.or_(id:eq(1), age:eq(2), name:eq("x"))),
      base:where(orm.not_(orm.and_(id:eq(1), age:eq(2))), name:eq("x")) },
    { base:where(id:between(1, 2)), base:where(id:not_between(1, 2)), base:where(id:ge(1), id:le(2)) },
    { base:join(posts), base:outerjoin(posts), base:join(posts, p.user_id:eq(id)), base:join(posts, p.id:eq(id)),
      base:join(comments, c.author_id:eq(id)), base:join(posts, { full = true }) },
    { select(a.c.id), select(b.c.id), select(anonymous.c.id), select(anonymous.c.id, other.c.id),
      select(anonymous.c.id, anonymous.c.age), select(id, anonymous.c.id), select(a.c.id, b.c.id), select(a.c.id, a.c.age) },
    { select(one.c.id), select(select(id):subquery("t").c.id), select(select(id):subquery().c.id),
      select(select(age:label("id")):subquery("s").c.id), select(select(id):where(id:eq(1)):subquery("s").c.id),
      select(select(id):cte("s").c.id) },
    { select(id:cast(orm.String(5))), select(id:cast(orm.String(6))), select(id:cast(orm.Text)),
      select(orm.type_coerce(id, orm.Text)), select(id:cast(orm.Numeric(5, 2))), select(id:cast(orm.Numeric(5, 3))) },
    { select(orm.literal(1)), select(orm.literal("x")), select(orm.literal(1, orm.Float)),
      select(orm.bindparam("a", { value = 1 })), select(orm.bindparam("b", { value = 1 })) },
    { base:where(id:eq(value), age:eq(value)), base:where(id:eq(1), age:eq(1)) },
    { select(id + 1), select(id - 1), select(id * 1), select(id / 1), select(id % 1), select(1 + id), select(-id),
      select(id:op("&")(1)), select(id:op("|")(1)), select(id:op("&", { return_type = orm.Text })(1)), select(id .. "x") },
    { select(func.sum(id):over()), select(func.sum(id):over{ order_by = id }), select(func.sum(id):over{ partition_by = id }),
      select(func.sum(id):over{ order_by = id, rows = { 0, 1 } }), select(func.sum(id):over{ order_by = id, rows = { 0, 2 } }),
      select(func.sum(id):filter(id:gt(1))) },
    { select(orm.case_():when(id:eq(1), 2)), select(orm.case_():when(id:eq(1), 2):else_(3)), select(orm.case_(id):when(1, 2)),
      select(orm.case_():when(id:eq(1), 2):when(id:eq(3), 4)) },
    { select(p.doc:path("a")), select(p.doc), select(orm.extract("year", p.title)), select(orm.extract("month", p.title)),
      select(name:collate("NOCASE")), select(name:collate("BINARY")) },
    { orm.text("SELECT 1"), orm.text("SELECT 2"), orm.text("SELECT :a"), orm.text("SELECT :b"), select(orm.text("1")),
      select(orm.literal_column("1")), orm.text("SELECT 1"):columns{ a = orm.Text },
      orm.text("SELECT 1"):columns{ a = orm.Date } },
    { base:union(select(p.id)), base:union_all(select(p.id)), base:intersect(select(p.id)), base:except_(select(p.id)),
      base:union(select(p.id), select(c.id)), base:union(select(p.user_id)), base:union(select(p.id)):limit(1) },
    { orm.insert(users):values{ id = 1 }, orm.insert(users):values{ age = 1 }, orm.insert(users):values{ id = 1, age = 1 },
      orm.insert(users):values{ { id = 1 }, { id = 2 } }, orm.insert(users), orm.insert(posts):values{ id = 1 },
      orm.insert(users):values{ id = 1 }:returning(id), orm.insert(users):values{ id = 1 }:returning(age),
      orm.insert(users):values{ id = 1 }:on_conflict_do_nothing(),
      orm.insert(users):values{ id = 1 }:on_conflict_do_nothing{ index_elements = { "id" } },
      orm.insert(users):values{ id = id + 1 }, orm.insert(users):from_select({ "id" }, select(p.id)),
      orm.insert(users):from_select({ "age" }, select(p.id)) },
    { orm.update(users):where(id:eq(1)):values{ age = 2 }, orm.update(users):where(age:eq(1)):values{ age = 2 },
      orm.update(users):where(id:eq(1)):values{ name = "x" }, orm.update(users):where(orm.all):values{ age = 2 },
      orm.update(users):where(id:eq(1)):values{ age = age }, orm.delete(users):where(id:eq(1)), base:where(id:eq(1)) },
    { base:where(orm.exists(select(p.id))), base:where(orm.not_(orm.exists(select(p.id)))),
      base:where(orm.exists(select(p.id):where(p.user_id:eq(id)))),
      base:where(orm.exists(select(p.id):where(p.user_id:eq(id)):correlate(users))) },
    { select(pairs_table), select(pairs_table.c.a, pairs_table.c.b), select(odd) },
  }
end

describe("statements that differ", function()
  for line, group in ipairs(variants()) do
    it(("never share an entry (group %d)"):format(line), function()
      for _, first in ipairs(group) do
        for _, second in ipairs(group) do
          local cache = compiler.new_cache()
          compiler.cached(first, sqlite, cache)
          local compiled, values = compiler.cached(second, sqlite, cache)
          local fresh = second:compile()
          assert.equal(fresh.sql, compiled.sql)
          assert.same(fresh.params, values)
          for position, column in ipairs(fresh.columns) do
            assert.equal(column.name, compiled.columns[position].name)
            assert.equal(column.type.name, compiled.columns[position].type.name)
          end
          for position, bind in ipairs(fresh.binds) do
            assert.equal(bind.type.name, compiled.binds[position].type.name)
          end
        end
      end
    end)
  end

  it("share one where they differ in values only", function()
    local cache = compiler.new_cache()
    local seen
    for number = 1, 5 do
      local twin_ = orm.alias(users)
      local sub_ = select(p.user_id):where(p.id:gt(number)):subquery()
      local statement = select(twin_.c.id, sub_.c.user_id, func.coalesce(twin_.c.name, tostring(number)))
        :where(twin_.c.id:eq(sub_.c.user_id), twin_.c.age:between(number, number + 1))
        :where(twin_.c.name:startswith(tostring(number)))
      local compiled = compiler.cached(statement, sqlite, cache)
      assert.equal(seen or compiled, compiled)
      seen = compiled
    end
  end)
end)

-- ---- what the key is made of ----

-- A statement whose nodes show a renderer nothing but what the cache's key is made of.
local PARTS = internals("PARTS", "table").PARTS
local ALWAYS = { visit = true, type = true, is_statement = true, table = true, columns = true, name = true, key = true,
  schema = true, visible = true }
local WHOLE = { table = true, entity = true, excluded = true }
local EXTRA = { column = { origin = true }, bind = { value = true }, list = { values = true }, insert = { target = true }, update = { target = true },
  text = { column_types = true } }

local function allowed_fields(visit)
  local set = {}
  for _, group in pairs(PARTS[visit] or {}) do
    for _, field in ipairs(group) do
      set[field] = true
    end
  end
  for field in pairs(EXTRA[visit] or {}) do
    set[field] = true
  end
  return set
end

local function strict()
  local known = {}
  local wrap
  local function wrap_list(list)
    local copy = {}
    for position, item in ipairs(list) do
      copy[position] = wrap(item)
    end
    return copy
  end
  local function proxy_of(node)
    local fields = allowed_fields(node.visit)
    local mark = getmetatable(node)
    return setmetatable({}, { __metatable = mark, __index = function(_, name)
      local value = node[name]
      if name == "table" then
        return wrap(value)
      elseif value == nil or type(value) == "function" or ALWAYS[name] then
        return value
      end
      assert(fields[name], ("'%s' of %s is read, but is no part of the key"):format(name, node.visit))
      return wrap(value)
    end })
  end
  function wrap(value)
    if type(value) ~= "table" or getmetatable(value) == nil and value.visit == nil and value[1] == nil then
      return value
    elseif value.visit == nil then
      return getmetatable(value) == nil and wrap_list(value) or value
    elseif WHOLE[value.visit] or value.visit == "column" and (not value.table or WHOLE[value.table.visit]) then
      return value
    end
    known[value] = known[value] or proxy_of(value)
    return known[value]
  end
  return wrap
end

describe("the key of a statement", function()
  each_case(function(name, statement, sql)
    it("has all that is read for " .. name, function()
      local wrapped = strict()(statement)
      assert.equal(sql, compiler.compile(wrapped, sqlite).sql)
    end)
  end)
end)
