-- The cache of compiled statements: statements of one shape share an entry, and statements that differ in anything
-- but their values never do.
local orm = require "orrery"
local internals = require "spec.support.internals"
local raises = require "spec.support.raises"
local sql_cases = require "spec.support.sql_cases"
local func, null, select = orm.func, orm.null, orm.select
local users, posts, comments = sql_cases.users, sql_cases.posts, sql_cases.comments
local odd, pair = sql_cases.odd, sql_cases.pair
local u, p, c = users.c, posts.c, sql_cases.comments.c

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
      sql_cases.each(function(name, statement, sql, values)
        local compiled, found = compiler.cached(statement, sqlite, cache)
        assert.equal(sql, compiled.sql, name)
        assert.same(values, found, name)
      end)
    end
  end)

  it("tells apart which of many values stands in a statement twice", function()
    local cache, engine = compiler.new_cache(), orm.create_engine("sqlite://")
    local conn = engine:connect()
    for round = 1, 2 do
      for twice = 1, 40 do
        local columns, expected = {}, {}
        for i = 1, 40 do
          columns[i], expected[i] = orm.literal(100 * round + i), 100 * round + i
        end
        columns[41], expected[41] = columns[twice]:label("again"), expected[twice]
        for i = 1, 40 do
          columns[i] = columns[i]:label("c" .. i)
        end
        local statement = select((table.unpack or unpack)(columns))
        local compiled, values = compiler.cached(statement, sqlite, cache)
        assert.equal(41, #values)
        assert.same(expected, values)
        assert.equal(expected[41], conn:execute(statement):one().again)
        assert.is_string(compiled.sql)
      end
    end
    conn:close()
  end)

  it("goes through thousands of conditions of every kind", function()
    local cache, list = compiler.new_cache(), {}
    for i = 1, 2000 do
      list[3 * i - 2] = u.name:like("x%" .. i, { escape = "/" })
      list[3 * i - 1] = u.id:op("%")(i)
      list[3 * i] = u.name:collate("NOCASE"):ne("y" .. i)
    end
    local statement = select(u.id):where(orm.or_((table.unpack or unpack)(list, 1, 3000)))
    local compiled, values = compiler.cached(statement, sqlite, cache)
    assert.equal(statement:compile().sql, compiled.sql)
    assert.equal(3000, #values)
    assert.equal(compiled, (compiler.cached(statement, sqlite, cache)))
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

  it("gives each statement its own values about the size up to which it is told apart by what it is made of", function()
    local conn = orm.create_engine("sqlite://"):connect()
    conn:exec_driver_sql("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
    conn:exec_driver_sql("INSERT INTO users (id, name, age) VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)")
    local unpack = table.unpack or unpack
    local function build(columns, conditions, id)
      local list, where = {}, {}
      for i = 1, columns do
        list[i] = i % 2 == 1 and u.id or u.age
      end
      for i = 1, conditions do
        where[i] = u.id:ne(i == conditions and id or -i)
      end
      local statement = select(unpack(list)):order_by(u.id:desc()):limit(1)
      return conditions > 0 and statement:where(unpack(where)) or statement
    end
    for columns = 1, 17 do -- each counts twice
      for conditions = math.max(0, 24 - 2 * columns), math.max(2, 32 - 2 * columns) do
        for id = 2, 3 do
          local rows = conn:execute(build(columns, conditions, id)):all()
          local expected = (conditions > 0 and id == 3) and 2 or 3
          assert.same({ 1, expected }, { #rows, rows[1][1] })
          assert.equal(columns % 2 == 1 and expected or 10 * expected, rows[1][columns])
        end
      end
    end
    conn:close()
  end)

  it("knows a table anew when it has got a column since", function()
    local engine = orm.create_engine("sqlite://")
    local conn = engine:connect()
    conn:exec_driver_sql("CREATE TABLE grown (id INTEGER PRIMARY KEY, name TEXT)")
    conn:exec_driver_sql("INSERT INTO grown (id, name) VALUES (1, 'x')")
    local grown = orm.Table("grown", orm.MetaData(), orm.Column("id", orm.Integer, { primary_key = true }))
    for _ = 1, 3 do
      assert.same({ 1 }, { conn:execute(select(grown):order_by(grown.c.id)):one()() })
    end
    grown:append_column(orm.Column("name", orm.String))
    for _ = 1, 3 do
      assert.same({ 1, "x" }, { conn:execute(select(grown):order_by(grown.c.id)):one()() })
    end
    conn:close()
  end)

  it("does not take a value for another one's when a script gives it a name or another type", function()
    local cache = compiler.new_cache()
    local function build(field, given)
      local condition = u.id:eq(1)
      rawset(condition.right, field, given)
      return select(u.name):where(condition)
    end
    local plain = compiler.cached(select(u.name):where(u.id:eq(1)), sqlite, cache)
    for _ = 1, 2 do
      local named, values = compiler.cached(build("key", "p"), sqlite, cache)
      assert.same({ plain.sql, 1 }, { named.sql, values[1] })
      assert.are_not.equal(plain, named)
      local typed, others = compiler.cached(build("type", orm.Text), sqlite, cache)
      assert.same({ plain.sql, 1 }, { typed.sql, others[1] })
      assert.are_not.equal(plain, typed)
      assert.are_not.equal(named, typed)
      assert.equal(plain, (compiler.cached(build("unknown", 1), sqlite, cache)))
    end
  end)

  it("keeps a comparison of a column that was copied apart from those of the column", function()
    local core = require "spec.support.core"
    local first = u.name:eq("x")
    local copy = core.copy(u.name)
    copy.name = "other"
    assert.equal("users.other = ?", tostring(copy:eq("x")))
    assert.equal("users.name = ?", tostring(first))
    assert.equal("users.name = ?", tostring(u.name:eq("y")))
    assert.same({ copy, u.name }, { copy:eq("x").left, u.name:eq("x").left })
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
    local apart = select(u.id):where(u.id:eq(orm.literal(6)), u.age:eq(orm.literal(7)))
    for _ = 1, 2 do
      local _, values = compiler.cached(shared, sqlite, cache)
      assert.same({ 5, 5 }, values)
      _, values = compiler.cached(apart, sqlite, cache)
      assert.same({ 6, 7 }, values)
    end
  end)

  it("finds a value of a condition, or a limit, that stands in two places", function()
    local cache = compiler.new_cache()
    local function both(one, other)
      return select(u.id):where(orm.or_(one, orm.and_(other, u.age:gt(1))))
    end
    local function limited(one, other)
      return select(u.id):where(u.id:in_(one), u.age:in_(other))
    end
    local function values_of(statement)
      local _, values = compiler.cached(statement, sqlite, cache)
      return values
    end
    local condition, few = u.id:eq(5), select(p.user_id):limit(5)
    for _ = 1, 2 do
      assert.same({ 5, 5, 1 }, values_of(both(condition, condition)))
      assert.same({ 6, 7, 1 }, values_of(both(u.id:eq(6), u.id:eq(7))))
      assert.same({ 5, 5, 1 }, values_of(both(condition, u.id:eq(condition.right))))
      assert.same({ 5, 5 }, values_of(limited(few, few)))
      assert.same({ 6, 7 }, values_of(limited(select(p.user_id):limit(6), select(p.user_id):limit(7))))
    end
  end)

  it("takes a statement whose values were looked at for the same as one whose were not", function()
    local cache = compiler.new_cache()
    local function build(number)
      return select(u.id):where(u.id:ge(number)):limit(number + 1):offset(number + 2)
    end
    local shown = build(10)
    assert.equal("SELECT users.id FROM users WHERE users.id >= ? LIMIT ? OFFSET ?", tostring(shown))
    local first, values = compiler.cached(build(1), sqlite, cache)
    local second, others = compiler.cached(shown, sqlite, cache)
    assert.equal(first, second)
    assert.same({ { 1, 2, 3 }, { 10, 11, 12 } }, { values, others })
    local narrowed, more = compiler.cached(shown:where(u.age:eq(5)):limit(6), sqlite, cache)
    assert.not_equal(first, narrowed)
    assert.same({ 10, 5, 6, 12 }, more)
  end)

  it("tells what stands in two places of a plain select from what stands there twice", function()
    local count = orm.literal(3)
    local function same_condition(number)
      local condition = u.id:eq(number)
      return select(u.id):where(condition, condition)
    end
    local function same_count()
      return select(u.id):limit(count):offset(count)
    end
    local function two_conditions(one, other)
      return select(u.id):where(u.id:eq(one), u.id:eq(other))
    end
    local function two_counts(one, other)
      return select(u.id):limit(one):offset(other)
    end
    for _, same_first in ipairs{ true, false } do
      local cache = compiler.new_cache()
      local function check(statement, expected)
        local _, values = compiler.cached(statement, sqlite, cache)
        assert.same(expected, values)
      end
      for _ = 1, 2 do
        if same_first then
          check(same_condition(5), { 5, 5 })
          check(same_count(), { 3, 3 })
        end
        check(two_conditions(6, 7), { 6, 7 })
        check(two_counts(6, 7), { 6, 7 })
        check(two_counts(orm.literal(8), 9), { 8, 9 })
        check(same_condition(5), { 5, 5 })
        check(same_count(), { 3, 3 })
      end
    end
  end)

  it("tells a column's comparisons from those of its copies", function()
    local cache, alias = compiler.new_cache(), users:alias("other")
    local function sql_of(column, other)
      return compiler.cached(select(column):where(column:ge(1), other:ge(2)):order_by(column), sqlite, cache).sql
    end
    for _ = 1, 2 do
      assert.matches("users.id >= ? AND users.age >= ?", sql_of(u.id, u.age), 1, true)
      assert.not_matches("users.id >= ?", sql_of(alias.c.id, alias.c.age), 1, true)
      assert.matches("users.age >= ? AND users.id >= ?", sql_of(u.age, u.id), 1, true)
    end
    local compiled, values = compiler.cached(select(u.id):where(u.id:ge("x"), u.id:ge(1), u.id:le(2)), sqlite, cache)
    assert.matches(">= ? AND users.id >= ? AND users.id <= ?", compiled.sql, 1, true)
    assert.same({ "x", 1, 2 }, values)
  end)

  it("does not mistake a column that came into the place of one that is gone", function()
    local cache = compiler.new_cache()
    for number = 1, 200 do
      local gone = orm.Table("gone_" .. number, orm.MetaData(), orm.Column("id", orm.Integer, { primary_key = true }))
      local statement = select(gone.c.id):where(gone.c.id:eq(number)):order_by(gone.c.id)
      assert.matches("gone_" .. number .. ".id = ?", compiler.cached(statement, sqlite, cache).sql, 1, true)
      if number % 20 == 0 then
        collectgarbage()
      end
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
    raises("ArgumentError", "'users' has no column 'nmae'; did you mean 'name'?", compiler.cached, orm.insert(users),
      sqlite,
      cache, { nmae = 1 })
  end)
end)

-- { 1, 2, ... } or { { 1, 2 }, { 2, 3 }, ... }
local function many_rows(count, width)
  local list = {}
  for number = 1, count do
    list[number] = number
    if width then
      list[number] = {}
      for column = 1, width do
        list[number][column] = number + column
      end
    end
  end
  return list
end

local function many_words(count, prefix)
  local list = {}
  for number = 1, count do
    list[number] = prefix .. number
  end
  return list
end

local times = orm.Table("times", orm.MetaData(), orm.Column("span", orm.Interval), orm.Column("moment", orm.DateTime),
  orm.Column("exact", orm.Numeric(9, 2, { as = "string" })), orm.Column("rough", orm.Numeric(9, 2)))
local span, moment, exact, rough = times.c.span, times.c.moment, times.c.exact, times.c.rough

-- Each line has statements that differ from each other in one thing.
local function variants()
  local id, age, name = u.id, u.age, u.name
  local base = select(id)
  local a, b = orm.alias(users, "a"), orm.alias(users, "b")
  local anonymous, other = orm.alias(users), orm.alias(users)
  local one = select(id):subquery("s")
  local value = orm.literal(1)
  local label, twin = (age + 1):label("x"), (age + 1):label("x")
  return {
    { base:where(id:eq(1)), base:where(id:ne(1)), base:where(id:lt(1)), base:where(id:le(1)), base:where(id:gt(1)),
      base:where(id:ge(1)), base:where(age:eq(1)), base:where(id:eq(null)), base:where(id:eq(age)),
        base:having(id:eq(1)),
      base:where(id:is_(1)), base:where(id:is_distinct_from(1)) },
    { base, base:distinct(), base:limit(1), base:offset(1), base:limit(1):offset(1), base:order_by(id),
      base:group_by(id),
      base:order_by(id:desc()), base:order_by(id:asc()), base:order_by(id:desc():nulls_last()),
      base:order_by(id:desc():nulls_first()), base:order_by(id, age), base:order_by(age, id), select(id, age),
        select(age, id),
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
      select(anonymous.c.id, anonymous.c.age), select(id, anonymous.c.id), select(a.c.id, b.c.id), select(a.c.id,
        a.c.age) },
    { select(anonymous.c.id, anonymous.c.id), select(anonymous.c.id, other.c.id) },
    { select(label):order_by(label), select(label):order_by(twin), select(label, twin):order_by(label) },
    { select(one.c.id), select(select(id):subquery("t").c.id), select(select(id):subquery().c.id),
      select(select(age:label("id")):subquery("s").c.id), select(select(id):where(id:eq(1)):subquery("s").c.id),
      select(select(id):cte("s").c.id) },
    { select(id:cast(orm.String(5))), select(id:cast(orm.String(6))), select(id:cast(orm.Text)),
      select(orm.type_coerce(id, orm.Text)), select(id:cast(orm.Numeric(5, 2))), select(id:cast(orm.Numeric(5, 3))) },
    { select(orm.literal(1)), select(orm.literal("x")), select(orm.literal(1, orm.Float)),
      select(orm.bindparam("a", { value = 1 })), select(orm.bindparam("b", { value = 1 })) },
    { base:where(id:eq(value), age:eq(value)), base:where(id:eq(orm.literal(1)), age:eq(orm.literal(2))) },
    { select(id + 1), select(id - 1), select(id * 1), select(id / 1), select(id % 1), select(1 + id), select(-id),
      select(id:op("&")(1)), select(id:op("|")(1)), select(id:op("&", { return_type = orm.Text })(1)),
        select(id .. "x") },
    { select(func.sum(id):over()), select(func.sum(id):over{ order_by = id }),
      select(func.sum(id):over{ partition_by = id }),
      select(func.sum(id):over{ order_by = id, rows = { 0, 1 } }), select(func.sum(id):over{ order_by = id,
        rows = { 0, 2 } }),
      select(func.sum(id):filter(id:gt(1))) },
    { select(orm.case_():when(id:eq(1), 2)), select(orm.case_():when(id:eq(1), 2):else_(3)),
      select(orm.case_(id):when(1, 2)),
      select(orm.case_():when(id:eq(1), 2):when(id:eq(3), 4)) },
    { select(p.doc:path("a")), select(p.doc), select(orm.extract("year", p.title)), select(orm.extract("month",
      p.title)),
      select(name:collate("NOCASE")), select(name:collate("BINARY")) },
    { orm.text("SELECT 1"), orm.text("SELECT 2"), orm.text("SELECT :a"), orm.text("SELECT :b"), select(orm.text("1")),
      select(orm.literal_column("1")), orm.text("SELECT 1"):columns{ a = orm.Text },
      orm.text("SELECT 1"):columns{ a = orm.Date } },
    { base:union(select(p.id)), base:union_all(select(p.id)), base:intersect(select(p.id)), base:except_(select(p.id)),
      base:union(select(p.id), select(c.id)), base:union(select(p.user_id)), base:union(select(p.id)):limit(1) },
    { orm.insert(users):values{ id = 1 }, orm.insert(users):values{ age = 1 }, orm.insert(users):values{ id = 1,
      age = 1 },
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
    { select(pair), select(pair.c.a, pair.c.b), select(odd) },
    { base:distinct(), base:distinct(name), base:distinct(age), base:distinct(name, age), base },
    { base:with_for_update(), base:with_for_update{ read = true }, base:with_for_update{ nowait = true },
      base:with_for_update{ skip_locked = true }, base:with_for_update{ key_share = true },
      base:with_for_update{ of = users }, base:with_for_update{ of = posts }, base:with_for_update{ of = { users, posts } } },
    { select(select(p.title):where(p.user_id:eq(id)):subquery("l").c.title),
      select(select(p.title):where(p.user_id:eq(id)):lateral("l").c.title) },
    { base:add_cte(select(p.id):cte("x")), base:add_cte(select(p.user_id):cte("x")), base:add_cte(select(p.id):cte("y")),
      base:add_cte(orm.delete(posts):where(p.id:eq(1)):cte("x")), base,
      base:add_cte(orm.delete(posts):where(p.id:eq(1)):returning(p.id):cte("x")),
      base:add_cte(orm.update(posts):where(p.id:eq(1)):values{ title = "x" }:cte("x")),
      base:add_cte(orm.insert(posts):values{ id = 1 }:cte("x")) },
    { select(orm.delete(posts):where(p.id:eq(1)):returning(p.id):cte("x").c.id),
      select(orm.delete(posts):where(p.id:eq(1)):returning(p.id, p.title):cte("x").c.id), select(select(p.id):cte("x").c.id) },
    { orm.insert(comments):from_select({ "post_id" }, select(p.id)),
      orm.insert(comments):from_select({ "post_id", "kind" }, select(p.id, p.title)),
      orm.insert(comments):from_select({ "post_id", "made" }, select(p.id, p.title)),
      orm.insert(comments):from_select({ "post_id" }, select(p.id):union(select(id))) },
    { orm.delete(posts):where(p.id:eq(1)), orm.delete(posts):where(p.id:eq(1), p.user_id:eq(id)),
      orm.delete(posts):where(p.id:eq(1)):add_cte(select(id):cte("x")) },
    { orm.update(posts):where(p.id:eq(1)):values{ title = "x" },
      orm.update(posts):where(p.id:eq(1)):values{ title = "x" }:add_cte(select(id):cte("x")) },
    { base:where(orm.tuple_(id, age):in_{ { 1, 2 } }), base:where(orm.tuple_(id, age):in_{ { 1, 2 }, { 3, 4 } }),
      base:where(orm.tuple_(id, name):in_{ { 1, "x" } }), base:where(orm.tuple_(id, age, name):in_{ { 1, 2, "x" } }),
      base:where(orm.tuple_(age, id):in_{ { 1, 2 } }), base:where(orm.tuple_(id, age):not_in{ { 1, 2 } }),
      base:where(orm.tuple_(id, age):in_{ { 1, age } }), base:where(orm.tuple_(id, age):eq{ 1, 2 }),
      base:where(orm.tuple_(id, age):in_(many_rows(20, 2))), base:where(orm.tuple_(id, age):in_(many_rows(30, 2))),
      base:where(orm.tuple_(id, age, p.id):in_(many_rows(20, 3))) },
    { base:where(id:in_(many_rows(40))), base:where(age:in_(many_rows(40))), base:where(id:not_in(many_rows(40))),
      base:where(name:in_(many_words(40, ""))), base:where(name:in_(many_words(40, "\0"))),
      base:where(name:in_(many_words(40, "\0"))), base:where(id:in_{ 1, 2 }) },
    { base:where(id:in_(orm.bindparam("a"))), base:where(id:in_(orm.bindparam("b"))), base:where(id:eq(orm.bindparam("a"))),
      base:where(id:not_in(orm.bindparam("a"))), base:where(name:in_(orm.bindparam("a"))),
      base:where(orm.tuple_(id, age):in_(orm.bindparam("a"))), base:where(orm.tuple_(id, name):in_(orm.bindparam("a"))),
      base:where(id:in_(orm.bindparam("a", { value = { 1 } }))), base:where(id:in_{ 1 }) },
    { orm.text("SELECT :a"), orm.text("SELECT :a"):bindparams(orm.bindparam("a", { expanding = true })),
      orm.text("SELECT :a"):bindparams{ a = 1 }, orm.text("SELECT :a"):bindparams{ a = "x" } },
    { select(orm.text("SELECT id FROM users"):columns(id):subquery("s").c.id),
      select(orm.text("SELECT id FROM users"):columns{ id = orm.Text }:subquery("s").c.id),
      select(orm.text("SELECT id FROM posts"):columns(id):subquery("s").c.id),
      select(orm.text("SELECT id FROM users"):columns(id):cte("s").c.id) },
    { base:where(name:contains("x")), base:where(name:icontains("x")), base:where(name:startswith("x")),
      base:where(name:match("x")), base:where(name:regexp_match("x")), base:where(orm.not_(name:regexp_match("x"))),
      base:where(name:bool_op("GLOB")("x")), base:where(name:bool_op("REGEXP")("x")) },
    { select(id:bitwise_and(1)), select(id:bitwise_or(1)), select(id:bitwise_xor(1)), select(id:bitwise_lshift(1)),
      select(id:bitwise_rshift(1)), select(id:bitwise_not()), select(-id), select(name:concat("x")), select(name .. name) },
    { base:where(orm.exists(posts)), base:where(orm.exists()), base:where(orm.exists(p.id)),
      base:where(orm.exists(p.id):where(p.user_id:eq(id))),
      base:where(orm.exists(p.id, age):where(p.user_id:eq(id)):correlate(users)),
      base:where(orm.exists(p.id, age):where(p.user_id:eq(id)):correlate_except(posts)),
      base:where(orm.exists(p.id, age):where(p.user_id:eq(id)):correlate_except(posts, users)) },
    (function()
      local insert = orm.insert(users):values{ id = 1 }
      local function on(options)
        options.set = { age = 1 }
        return insert:on_conflict_do_update(options)
      end
      return { on{ index_elements = { "id" } }, on{ index_elements = { "name" } }, on{ constraint = "a" },
        on{ constraint = "b" }, on{ index_elements = { "id" }, index_where = age:gt(1) },
        on{ index_elements = { "id" }, index_where = age:gt(2) }, on{ index_elements = { "id" }, index_where = age:lt(1) },
        on{ index_elements = { "id" }, index_where = name:eq("1") }, on{ index_elements = { "id" }, where = age:gt(1) },
        insert:on_conflict_do_nothing{ constraint = "a" },
        insert:on_conflict_do_nothing{ index_elements = { "id" }, index_where = age:gt(1) } }
    end)(),
    { select(span), select(span + 1), select(span * 2), select(moment), select(moment - "2024-01-01"),
      select(moment - moment), select(orm.literal(1, orm.Interval)), select(orm.literal(1)), select(span / span),
      select(orm.extract("second", moment)), select(orm.extract("microseconds", moment)) },
    { select(exact), select(exact + 1), select(exact - 1), select(exact * 1), select(-exact), select(rough), select(rough + 1),
      select(func.sum(exact)), select(func.sum(rough)), select(func.max(exact)), select(func.max(rough)),
      select(exact):order_by(exact), select(rough):order_by(rough), select(exact):where(exact:gt(1)),
      select(rough):where(rough:gt(1)), select(exact):where(exact:between(1, 2)), select(exact):where(exact:eq(1)),
      select(exact):where(exact:eq(func.max(exact))) },
    { select(orm.literal("x", orm.Text)), select(orm.literal("x", orm.Text:with_variant(orm.String(3), "postgresql"))),
      select(orm.literal("x", orm.Text:with_variant(orm.String(4), "postgresql"))),
      select(orm.literal("x", orm.Text:with_variant(orm.String(3), "sqlite"))),
      select(id:cast(orm.Text:with_variant(orm.String(3), "postgresql"))),
      select(id:cast(orm.Text:with_variant(orm.String(4), "postgresql"))) },
    (function()
      local function rows(fn, ...)
        return select(fn:table_valued(...))
      end
      local document = func.json_each(p.doc)
      local first, second = document:table_valued("value"), document:table_valued("value")
      return { rows(document, "value"), rows(document, "key"), rows(document, "key", "value"),
        rows(document, orm.column("value", orm.Integer)), rows(document, orm.column("value", orm.Date)),
        rows(document, "value", { name = "x" }), rows(document, "value", { name = "y" }), rows(func.json_tree(p.doc), "value"),
        rows(func.json_each(p.title), "value"), rows(func.json_each(p.doc, "$.a"), "value"), rows(func.json_each(1), "value"),
        rows(func.json_each("1"), "value"), select(first.c.value, first.c.value), select(first.c.value, second.c.value),
        select(document:column_valued()), select(document:column_valued("value")), select(document:column_valued("x")),
        select(func.json_each(p.doc, { type_ = orm.Date }):column_valued()), select(document),
        select(id, first.c.value), select(id):join(first, orm.true_()), select(id):where(orm.exists(first)) }
    end)(),
    (function()
      local function values(...)
        return orm.values(orm.column("a", orm.Integer), orm.column("b", orm.Text), ...)
      end
      local first, named = values():data{ { 1, "x" } }, values({ name = "v" }):data{ { 1, "x" } }
      local second = values():data{ { 1, "x" } }
      return { select(first), select(named), select(named:alias("w")), select(named:cte("w")), select(first:data{ { 2, "y" } }),
        select(values():data{ { 1, null } }), select(values():data{ { null, "x" } }),
        select(values():data{ { orm.literal(1) + 1, "x" } }),
        select(orm.values("a", "b"):data{ { 1, "x" } }), select(orm.values("b", "a"):data{ { 1, "x" } }),
        select(orm.values("a", "b"):data{ { 1, 2 } }), select(first.c.a, first.c.b), select(first.c.b, first.c.a),
        select(first.c.a, second.c.b), select(first.c.a):where(first.c.b:eq("x")), base:where(id:in_(select(first.c.a))) }
    end)(),
    { select(orm.column("id")), select(orm.column("age")), select(orm.column("id", orm.Integer)), select(id),
      select(orm.column("id", orm.Date)), select(orm.column("id")):select_from(users),
      select(orm.table("users", orm.column("id")).c.id), select(orm.table("posts", orm.column("id")).c.id),
      select(orm.table("users", orm.column("id", orm.Date)).c.id) },
  }
end

-- A dialect that runs all of it, without a way to read arrays.
local function other_dialects()
  local plain = {}
  for field, value in pairs(sqlite) do
    plain[field] = value
  end
  plain.name, plain.array_in = "plain", false
  return { sqlite, orm.dialects.postgresql, plain }
end

-- What a dialect has to say of a statement: its SQL, or that it has none.
local function fresh_of(statement, dialect)
  local ok, compiled = pcall(statement.compile, statement, dialect)
  return ok and compiled or nil
end

local function check_pair(first, second, dialect)
  local fresh = fresh_of(second, dialect)
  if not (fresh and fresh_of(first, dialect)) then
    return
  end
  local cache = compiler.new_cache()
  compiler.cached(first, dialect, cache)
  local compiled, values = compiler.cached(second, dialect, cache)
  assert.equal(fresh.sql, compiled.sql)
  assert.same(fresh.params, values)
  assert.equal(fresh.readonly, compiled.readonly)
  for position, column in ipairs(fresh.columns) do
    assert.equal(column.name, compiled.columns[position].name)
    assert.equal(column.type.key, compiled.columns[position].type.key)
  end
  for position, bind in ipairs(fresh.binds) do
    assert.equal(bind.type.key, compiled.binds[position].type.key)
    assert.equal(bind.key, compiled.binds[position].key)
    assert.equal(bind.name, compiled.binds[position].name)
  end
end

describe("statements that differ", function()
  for line, group in ipairs(variants()) do
    it(("never share an entry (group %d)"):format(line), function()
      for _, dialect in ipairs(other_dialects()) do
        for _, first in ipairs(group) do
          for _, second in ipairs(group) do
            check_pair(first, second, dialect)
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
local EXTRA = { column = { origin = true }, bind = { value = true }, list = { values = true },
  insert = { target = true }, update = { target = true },
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

-- As the library reads them: a script that asks for a field which is not there gets an error.
local function field(node, name)
  local ok, value = pcall(function() return node[name] end)
  return ok and value or nil
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
      local value = field(node, name)
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
    elseif field(value, "visit") == nil then
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
  sql_cases.each(function(name, statement, sql)
    it("has all that is read for " .. name, function()
      local wrapped = strict()(statement)
      assert.equal(sql, compiler.compile(wrapped, sqlite).sql)
    end)
  end)
end)
