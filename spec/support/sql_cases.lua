-- sql_cases: statements with their SQL and their values, one of each kind, and the tables that they are about.
local orm = require "orrery"
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
  "CREATE UNIQUE INDEX grown ON users (name) WHERE age > 17 AND name != 'x'",
  "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, user_id INTEGER, doc TEXT)",
  "CREATE TABLE comments (id INTEGER PRIMARY KEY, post_id INTEGER, author_id INTEGER, kind TEXT, made TEXT)",
  "CREATE TABLE nodes (id INTEGER PRIMARY KEY, parent_id INTEGER)",
  'CREATE TABLE "Odd ""table""" ("order" INTEGER PRIMARY KEY, "a""b; --" TEXT, "Mixed" TEXT)',
  "CREATE TABLE pair (a INTEGER, b INTEGER, PRIMARY KEY (a, b))",
}

local u, p, c, n = users.c, posts.c, comments.c, nodes.c
local second_id = u.age:label("id")
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
  { "a label that a subquery names otherwise",
    select(select(u.id, second_id):order_by(second_id:desc()):subquery().c.id_1),
    "SELECT anon_1.id_1 FROM (SELECT users.id, users.age AS id_1 FROM users ORDER BY id_1 DESC) AS anon_1", {} },
  { "columns of a subquery that differ in case only",
    select(select(u.id:label("a"), u.age:label("A")):subquery().c.A),
    "SELECT anon_1.\"A_1\" FROM (SELECT users.id AS a, users.age AS \"A_1\" FROM users) AS anon_1", {} },
  { "an alias whose made name the script has given", select(users:alias("users_1").c.id, users:alias().c.id),
    "SELECT users_1.id, users_2.id FROM users AS users_1, users AS users_2", {} },
  { "a subquery whose made name is a table's", select(select(u.id):subquery().c.id, posts:alias("ANON_1").c.id),
    "SELECT anon_2.id, \"ANON_1\".id FROM (SELECT users.id FROM users) AS anon_2, posts AS \"ANON_1\"", {} },
  { "an insert that replaces", orm.insert(users):prefix_with("OR REPLACE"):values{ id = 1 },
    "INSERT OR REPLACE INTO users (id) VALUES (?)", { 1 } },
  { "an update that ignores", users:update():prefix_with("OR IGNORE"):values{ id = 1 }:where(u.id:eq(2)),
    "UPDATE OR IGNORE users SET id = ? WHERE users.id = ?", { 1, 2 } },
  { "the methods of a table", users:select():where(u.id:in_(users:select():with_only_columns(u.age))),
    "SELECT users.id, users.name, users.age FROM users WHERE users.id IN (SELECT users.age FROM users)", {} },
  { "groups by labels", select((u.age % 2):label("name"), u.id:label("age")):group_by("name", "age"),
    "SELECT users.age % ? AS name, users.id AS age FROM users GROUP BY 1, users.id", { 2 } },
  { "order by a label whose name something else has", select((u.age + 1):label("Name"), u.name):order_by("Name"),
    "SELECT users.age + ? AS \"Name\", users.name FROM users ORDER BY users.age + ?", { 1, 1 } },
  { "distinct", select(u.name):distinct(), "SELECT DISTINCT users.name FROM users", {} },
  { "names of expressions", select(func.max(u.id), func.max(u.age), u.age + 1, u.id:cast(orm.Text)),
    "SELECT max(users.id) AS max_1, max(users.age) AS max_2, users.age + ? AS anon_1, CAST(users.id AS TEXT) AS id "
      .. "FROM users", { 1 } },
  { "a part of a document", select(p.doc:path("a")):where(p.doc:path("b"):eq(1)),
    "SELECT posts.doc -> ? AS anon_1 FROM posts WHERE json_extract(posts.doc, ?) = ?",
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
    "SELECT users.id FROM users JOIN posts ON users.id = posts.user_id JOIN comments ON posts.id = comments.post_id",
      {} },
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
  { "a select as a value", select(u.name,
    select(func.count(p.id)):where(p.user_id:eq(u.id)):scalar_subquery():label("n")),
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
    "WITH old AS (SELECT users.id, users.name FROM users WHERE users.age > ?) "
      .. "SELECT old.name FROM old WHERE old.id < ?",
    { 60, 5 } },
  { "a cte behind a value, and twice", (function()
      local old = select(u.id):where(u.age:gt(60)):cte()
      return select(orm.literal("x"):label("x"), p.id):where(p.user_id:in_(select(old.c.id)),
        p.id:in_(select(old.c.id)))
    end)(),
    "WITH anon_1 AS (SELECT users.id FROM users WHERE users.age > ?) SELECT ? AS x, posts.id FROM posts WHERE "
      .. "posts.user_id IN (SELECT anon_1.id FROM anon_1) AND posts.id IN (SELECT anon_1.id FROM anon_1)", { 60,
        "x" } },
  { "union", orm.union(select(u.id):where(u.id:eq(1)), select(p.id)):order_by("id"):limit(3),
    "SELECT users.id FROM users WHERE users.id = ? UNION SELECT posts.id FROM posts ORDER BY id LIMIT ?", { 1, 3 } },
  { "unions of what is limited, and of unions",
    select(u.id):limit(1):union_all(select(p.id)):except_(select(c.id):order_by(c.id):limit(2)),
    "SELECT * FROM (SELECT * FROM (SELECT users.id FROM users LIMIT ?) UNION ALL SELECT posts.id FROM posts) EXCEPT "
      .. "SELECT * FROM (SELECT comments.id FROM comments ORDER BY comments.id LIMIT ?)", { 1, 2 } },
  { "intersect", select(u.id):intersect(select(p.user_id)),
    "SELECT users.id FROM users INTERSECT SELECT posts.user_id FROM posts", {} },
  { "correlate_except", select(u.id):where(select(p.id, u.id):where(p.user_id:eq(u.id)):correlate_except(posts):exists()),
    "SELECT users.id FROM users WHERE EXISTS (SELECT posts.id, users.id FROM posts WHERE posts.user_id = users.id)",
    {} },
  { "exists that is narrowed", select(u.id):where(orm.exists(posts):where(p.user_id:eq(u.id))),
    "SELECT users.id FROM users WHERE EXISTS (SELECT " .. POSTS .. " FROM posts WHERE posts.user_id = users.id)", {} },
  { "exists of nothing named", select(u.id):where(orm.exists():where(p.user_id:eq(u.id))),
    "SELECT users.id FROM users WHERE EXISTS (SELECT 1 AS anon_1 FROM posts WHERE posts.user_id = users.id)", {} },
  { "text as a subquery", (function()
      local made = orm.text("SELECT id, age AS years FROM users WHERE age > :least"):bindparams{ least = 5 }
        :columns{ id = orm.Integer, years = orm.Integer }:subquery("made")
      return select(made.c.years):where(made.c.id:eq(3))
    end)(),
    "SELECT made.years FROM (SELECT id, age AS years FROM users WHERE age > ?) AS made WHERE made.id = ?", { 5, 3 } },
  { "text as a cte", (function()
      local made = orm.text("SELECT id, name FROM users"):columns(u.id, u.name):cte("made")
      return select(made.c.name)
    end)(),
    "WITH made AS (SELECT id, name FROM users) SELECT made.name FROM made", {} },
  { "a cte that nothing reads", select(u.id):add_cte(select(p.id):where(p.id:eq(1)):cte("extra")):where(u.id:eq(2)),
    "WITH extra AS (SELECT posts.id FROM posts WHERE posts.id = ?) SELECT users.id FROM users WHERE users.id = ?",
    { 1, 2 } },
  { "rows of values that a tuple is in", select(u.id):where(orm.tuple_(u.id, u.name):in_{ { 1, "a" }, { 2, null } }),
    "SELECT users.id FROM users WHERE (users.id, users.name) IN (VALUES (?, ?), (?, ?))", { 1, "a", 2, null } },
  { "rows with expressions that a tuple is in", select(u.id):where(orm.tuple_(u.id, u.name):in_{ { u.age, "a" } }),
    "SELECT users.id FROM users WHERE (users.id, users.name) IN (VALUES (users.age, ?))", { "a" } },
  { "rows of a select that a tuple is in", select(u.id):where(orm.tuple_(u.id, u.age):in_(select(p.id, p.user_id))),
    "SELECT users.id FROM users WHERE (users.id, users.age) IN (SELECT posts.id, posts.user_id FROM posts)", {} },
  { "a tuple beside another", select(u.id):where(orm.tuple_(u.id, u.name):gt{ 1, "a" }),
    "SELECT users.id FROM users WHERE (users.id, users.name) > (?, ?)", { 1, "a" } },
  { "text without wildcards", select(u.id):where(u.name:icontains("50%"), u.name:istartswith("a"), u.name:iendswith("b")),
    "SELECT users.id FROM users WHERE lower(users.name) LIKE lower(?) ESCAPE '/' AND lower(users.name) LIKE lower(?) "
      .. "ESCAPE '/' AND lower(users.name) LIKE lower(?) ESCAPE '/'", { "%50/%%", "a%", "%b" } },
  { "bits", select(u.id:bitwise_and(1):bitwise_or(2), u.id:bitwise_xor(3), u.id:bitwise_not(), u.id:bitwise_lshift(1),
      u.id:bitwise_rshift(1)),
    "SELECT (users.id & ?) | ? AS anon_1, ((users.id | ?) - (users.id & ?)) AS anon_2, ~users.id AS anon_3, "
      .. "users.id << ? AS anon_4, users.id >> ? AS anon_5 FROM users", { 1, 2, 3, 3, 1, 1 } },
  { "an operator whose result is a condition", select(u.id):where(u.name:bool_op("GLOB")("a*"), u.age:eq(1)),
    "SELECT users.id FROM users WHERE (users.name GLOB ?) AND users.age = ?", { "a*", 1 } },
  { "concat", select(u.name:concat("!"):concat(u.name)), "SELECT users.name || ? || users.name AS anon_1 FROM users",
    { "!" } },
  { "desc as a function", select(u.id):order_by(orm.desc(u.name), orm.nulls_last(orm.asc(u.age))),
    "SELECT users.id FROM users ORDER BY users.name DESC, users.age ASC NULLS LAST", {} },
  { "an order that is taken back", select(u.id):order_by(u.name):order_by(null):order_by(u.age),
    "SELECT users.id FROM users ORDER BY users.age", {} },
  { "a slice", select(u.id):order_by(u.id):slice(10, 15), "SELECT users.id FROM users ORDER BY users.id LIMIT ? OFFSET ?",
    { 5, 10 } },
  { "a part of a moment", select(orm.extract("microseconds", orm.literal("12:00:01.5", orm.Time))),
    "SELECT (CAST(strftime('%S', substr(?, 1, 19)) AS INTEGER) * 1000000 + CAST(substr(substr(?, instr(? || '.', '.') + "
      .. "1) || '000000', 1, 6) AS INTEGER)) AS anon_1", { "12:00:01.5", "12:00:01.5", "12:00:01.5" } },
  { "a window with a frame of groups",
    select(func.sum(u.age):filter(u.age:gt(1)):over{ partition_by = u.name, order_by = { u.age:desc(), u.id },
      groups = { "unbounded", 1 } }),
    "SELECT sum(users.age) FILTER (WHERE users.age > ?) OVER (PARTITION BY users.name ORDER BY users.age DESC, users.id "
      .. "GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS anon_1 FROM users", { 1 } },
  -- changes
  { "insert", orm.insert(users):values{ name = "a", id = 5 }, "INSERT INTO users (id, name) VALUES (?, ?)", { 5,
    "a" } },
  { "insert of rows", orm.insert(users):values{ { id = 6, name = "a" }, { name = null, id = 7 } },
    "INSERT INTO users (id, name) VALUES (?, ?), (?, ?)", { 6, "a", 7, null } },
  { "insert of nothing", orm.insert(users), "INSERT INTO users DEFAULT VALUES", {} },
  { "insert with defaults", orm.insert(comments):values{ post_id = 1 },
    "INSERT INTO comments (post_id, kind, made) VALUES (?, ?, upper(?))", { 1, "plain", "now" } },
  { "insert of an expression", orm.insert(users):values{ age = orm.literal(1) + 2 },
    "INSERT INTO users (age) VALUES (? + ?)", { 1, 2 } },
  { "insert of a select as a value", orm.insert(users):values{ age = select(func.max(u.age)) },
    "INSERT INTO users (age) VALUES ((SELECT max(users.age) AS max_1 FROM users))", {} },
  { "insert from a select", orm.insert(posts):from_select({ "user_id", "title" }, select(u.id,
    u.name):where(u.id:gt(3))),
    "INSERT INTO posts (user_id, title) SELECT users.id, users.name FROM users WHERE users.id > ?", { 3 } },
  { "insert from a select, with defaults", orm.insert(comments):from_select({ "post_id" },
      select(p.id):where(p.id:gt(3)):add_cte(select(u.id):cte("x"))),
    "WITH x AS (SELECT users.id FROM users) INSERT INTO comments (post_id, kind, made) SELECT posts.id, ?, upper(?) FROM "
      .. "posts WHERE posts.id > ?", { "plain", "now", 3 } },
  { "insert from a union, with defaults", orm.insert(comments):from_select({ "post_id", "made" },
      select(p.id, p.title):union(select(u.id, u.name))),
    "INSERT INTO comments (post_id, made, kind) SELECT *, ? FROM (SELECT posts.id, "
      .. "posts.title FROM posts UNION SELECT users.id, users.name FROM users) AS anon_1", { "plain" } },
  { "values in two calls", orm.insert(users):values{ name = "a", id = 9 }:values{ age = 1, id = 78 },
    "INSERT INTO users (id, name, age) VALUES (?, ?, ?)", { 78, "a", 1 } },
  { "rows in two calls", orm.insert(users):values{ { id = 79 }, { id = 80 } }:values{ { id = 81 } },
    "INSERT INTO users (id) VALUES (?), (?), (?)", { 79, 80, 81 } },
  { "new values in two calls", orm.update(users):where(u.id:eq(4)):values{ name = "a", age = 1 }:values{ age = u.age + 1 },
    "UPDATE users SET name = ?, age = users.age + ? WHERE users.id = ?", { "a", 1, 4 } },
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
  { "upsert on a partial index", (function()
      local insert = orm.insert(users):values{ id = 77 }
      return insert:on_conflict_do_update{ index_elements = { u.name }, index_where = orm.and_(u.age:gt(17),
        u.name:ne("x")), set = { age = 1 } }
    end)(),
    "INSERT INTO users (id) VALUES (?) ON CONFLICT (name) WHERE age > 17 AND name != 'x' DO UPDATE SET age = ?",
    { 77, 1 } },
  { "insert from a cte", (function()
      local old = select(u.id, u.name):where(u.age:gt(60)):cte("old")
      return orm.insert(posts):from_select({ "user_id", "title" }, select(old.c.id, old.c.name))
    end)(),
    "WITH old AS (SELECT users.id, users.name FROM users WHERE users.age > ?) INSERT INTO posts (user_id, title) SELECT "
      .. "old.id, old.name FROM old", { 60 } },
  { "update by a cte", (function()
      local old = select(u.id):where(u.age:gt(60)):cte("old")
      return orm.update(posts):values{ title = "old" }:where(p.user_id:in_(select(old.c.id)))
    end)(),
    "WITH old AS (SELECT users.id FROM users WHERE users.age > ?) UPDATE posts SET title = ? WHERE posts.user_id IN "
      .. "(SELECT old.id FROM old)", { 60, "old" } },
  { "delete by a cte", (function()
      local old = select(u.id):where(u.age:gt(60)):cte("old")
      return orm.delete(posts):where(p.user_id:in_(select(old.c.id)))
    end)(),
    "WITH old AS (SELECT users.id FROM users WHERE users.age > ?) DELETE FROM posts WHERE posts.user_id IN (SELECT "
      .. "old.id FROM old)", { 60 } },
  { "update", orm.update(users):where(u.id:eq(4)):values{ name = "b", age = u.age + 1 },
    "UPDATE users SET name = ?, age = users.age + ? WHERE users.id = ?", { "b", 1, 4 } },
  { "update of every row", orm.update(users):where(orm.all):values{ age = null }, "UPDATE users SET age = ?",
    { null } },
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

local tags = func.json_each(p.doc, "$.tags"):table_valued("key", orm.column("value", orm.Text), { name = "tags" })
add_case("a function as a table", select(p.id, tags.c.value):where(tags.c.key:gt(0)),
  'SELECT posts.id, tags.value FROM posts, json_each(posts.doc, ?) AS tags WHERE tags."key" > ?', { "$.tags", 0 })
add_case("a function before the table that it reads", select(tags, p.id):limit(1),
  'SELECT tags."key", tags.value, posts.id FROM posts, json_each(posts.doc, ?) AS tags LIMIT ?', { "$.tags", 1 })
add_case("functions of what functions give", (function()
  local outer = func.json_each(p.doc):table_valued("value")
  local inner = func.json_each(outer.c.value):table_valued("value")
  return select(inner.c.value, outer.c.value, p.id)
end)(), "SELECT anon_1.value, anon_2.value, posts.id FROM posts, json_each(posts.doc) AS anon_2, json_each(anon_2.value) AS "
  .. "anon_1", {})
add_case("joins to functions", select(p.id):join(tags, orm.true_()):outerjoin(tags:alias("more"), orm.true_()),
  "SELECT posts.id FROM posts JOIN json_each(posts.doc, ?) AS tags ON 1 LEFT OUTER JOIN json_each(posts.doc, ?) AS more ON 1",
  { "$.tags", "$.tags" })
add_case("a function of a table around", select(p.id):where(orm.exists(tags):where(tags.c.value:eq("x"))),
  'SELECT posts.id FROM posts WHERE EXISTS (SELECT tags."key", tags.value FROM json_each(posts.doc, ?) AS tags WHERE '
    .. "tags.value = ?)", { "$.tags", "x" })
add_case("the values of a function", (function()
  local number = func.json_each("[1, 2]"):column_valued("number")
  return select(number, func.json_each("[3]"):column_valued()):where(number:gt(1)):order_by(number:desc())
end)(), "SELECT number.value AS number, anon_1.value AS anon_1 FROM json_each(?) AS number, json_each(?) AS anon_1 WHERE "
  .. "number.value > ? ORDER BY number DESC", { "[1, 2]", "[3]", 1 })
local given = orm.values(orm.column("id", orm.Integer), orm.column("name", orm.Text), { name = "given" })
  :data{ { 1, "a" }, { orm.literal(1) + 1, null } }
add_case("VALUES", select(u.id, given.c.name):join(given, given.c.id:eq(u.id)):where(u.age:gt(7)),
  "SELECT users.id, given.name FROM users JOIN (WITH given(id, name) AS (VALUES (?, ?), (? + ?, NULL)) SELECT * FROM given) "
    .. "AS given ON given.id = users.id WHERE users.age > ?", { 1, "a", 1, 1, 7 })
add_case("VALUES in WITH", select(given:cte("rows").c.name), "WITH \"rows\"(id, name) AS (VALUES (?, ?), (? + ?, NULL)) SELECT "
  .. "\"rows\".name FROM \"rows\"", { 1, "a", 1, 1 })
add_case("an update from VALUES", orm.update(users):values{ name = given.c.name }:where(u.id:eq(given.c.id)),
  "UPDATE users SET name = given.name FROM (WITH given(id, name) AS (VALUES (?, ?), (? + ?, NULL)) SELECT * FROM given) AS "
    .. "given WHERE users.id = given.id", { 1, "a", 1, 1 })
add_case("columns without a table", select(orm.column("id", orm.Integer)):select_from(orm.table("users")):where(
  orm.column("age"):gt(3)), "SELECT id FROM users WHERE age > ?", { 3 })

--- Tables by name, the SQL that makes them, and a function that calls another with (name, statement, SQL, values) of
-- every case.
return {
  users = users, posts = posts, nodes = nodes, comments = comments, odd = odd, pair = pairs_table,
  schema = SCHEMA,
  each = function(fn)
    for _, case in ipairs(CASES) do
      fn(case[1], case[2], case[3], case[4])
    end
  end,
}
