-- Statements as objects: they never change, names in them are looked up, and mistakes are found where they are made.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local func, select = orm.func, orm.select
local unpack = table.unpack or unpack

local metadata = orm.MetaData()
local users = orm.Table("users", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("name", orm.String(30)),
  orm.Column("age", orm.Integer))
local posts = orm.Table("posts", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("title", orm.Text),
  orm.Column("user_id", orm.Integer, orm.ForeignKey("users.id")))
local comments = orm.Table("comments", metadata,
  orm.Column("id", orm.Integer, { primary_key = true }),
  orm.Column("author_id", orm.Integer, orm.ForeignKey("users.id")),
  orm.Column("editor_id", orm.Integer, orm.ForeignKey("users.id")),
  orm.Column("post_id", orm.Integer, orm.ForeignKey("posts.id")))
local islands = orm.Table("islands", metadata, orm.Column("id", orm.Integer, { primary_key = true }))
local links = orm.Table("links", metadata,
  orm.Column("a", orm.Integer),
  orm.Column("b", orm.Integer),
  orm.ForeignKeyConstraint({ "a", "b" }, { "spots.x", "spots.y" }))
local spots = orm.Table("spots", metadata,
  orm.Column("x", orm.Integer, { primary_key = true }),
  orm.Column("y", orm.Integer, { primary_key = true }))
local u = users.c

describe("a statement", function()
  it("never changes: each method gives a copy", function()
    local base = select(u.id)
    local before = tostring(base)
    local methods = {
      where = { u.id:eq(1) }, filter = { u.id:eq(1) }, filter_by = { { id = 1 } }, order_by = { u.id },
        group_by = { u.id },
      having = { u.id:gt(1) }, limit = { 1 }, offset = { 1 }, distinct = {}, join = { posts }, outerjoin = { posts },
      join_from = { users, posts }, select_from = { posts }, add_columns = { u.name }, with_only_columns = { u.name },
      with_for_update = {}, execution_options = { { yield_per = 5 } }, options = { {} }, correlate = { users },
    }
    for name, arguments in pairs(methods) do
      local changed = base[name](base, unpack(arguments))
      assert.are_not.equal(base, changed)
      assert.equal(before, tostring(base))
    end
  end)

  it("can be the start of several others", function()
    local base = select(u.id):where(u.age:gt(1))
    local first, second = base:where(u.id:eq(1)), base:where(u.name:eq("x"))
    assert.equal("SELECT users.id FROM users WHERE users.age > ? AND users.id = ?", tostring(first))
    assert.equal("SELECT users.id FROM users WHERE users.age > ? AND users.name = ?", tostring(second))
  end)

  it("keeps no list of the script's", function()
    local list, row = { 1, 2 }, { id = 1 }
    local statement = select(u.id):where(u.id:in_(list))
    local insert = orm.insert(users):values(row)
    list[1], row.id, row.name = 9, 9, "x"
    assert.same({ 1, 2 }, statement:compile().params)
    assert.same({ 1 }, insert:compile().params)
  end)

  it("prints as its SQL, or why it has none", function()
    assert.equal("SELECT users.id FROM users", tostring(select(u.id)))
    assert.truthy(tostring(orm.delete(users)):find("every row", 1, true))
  end)

  it("merges execution options, and keeps loader options in order", function()
    local one, two = {}, {}
    local statement = select(u.id):execution_options{ timeout = 1 }:execution_options{ yield_per = 2 }:options(one):options(two)
    assert.same({ timeout = 1, yield_per = 2 }, statement.execution)
    assert.equal(one, statement.loader_options[1])
    assert.equal(two, statement.loader_options[2])
    raises("ArgumentError", "options(): argument 1 must be a loader option", statement.options, statement, nil)
    raises("ArgumentError", "a table expected", statement.execution_options, statement, 5)
  end)

  it("must be called with ':'", function()
    raises("ArgumentError", "use ':'", select(u.id).where, u.id:eq(1))
    raises("ArgumentError", "use ':'", select(u.id).limit, 5)
  end)
end)

describe("select", function()
  it("takes numbers as they are", function()
    local conn = orm.create_engine("sqlite://"):connect()
    assert.same({ 1, 2.5 }, { conn:execute(select(1, 2.5)):one()() })
    assert.equal("SELECT 7 AS anon_1", select(7):compile({ literal_binds = true }).sql)
    assert.is_true(conn:scalar(select(orm.exists(select(1)))))
  end)

  it("needs something to select", function()
    raises("ArgumentError", "select() needs something to select", select)
    raises("ArgumentError", { "where(): argument 1 is a number", "literal(...)" }, function() select(u.id):where(1) end)
    raises("ArgumentError", { "select(): argument 2 is nil", "misspelt" }, select, u.id, nil)
    raises("ArgumentError", "argument 1 is the string 'id'", select, "id")
    raises("ArgumentError", "unpack it", select, { u.id })
  end)

  it("finds conditions that Lua has swallowed", function()
    local base = select(users)
    raises("ArgumentError", { "where(): argument 1 is false", "write User.id:eq(5)" }, base.where, base, u.id == 5)
    raises("ArgumentError", "where(): argument 2 is nil", base.where, base, u.id:eq(1), nil)
    raises("ArgumentError", "argument 1 is true", base.where, base, u.id ~= 5)
    raises("ArgumentError", "where() needs a condition", base.where, base)
    raises("ArgumentError", "argument 1 is the string 'id = 1'", base.where, base, "id = 1")
    raises("ArgumentError", "having(): argument 1 is nil", base.having, base, nil)
  end)

  it("takes whole numbers as limits", function()
    local base = select(u.id)
    for _, wrong in ipairs{ "5", 1.5, -1, 0 / 0, true } do
      raises("ArgumentError", "a whole number from 0 expected", base.limit, base, wrong)
      raises("ArgumentError", "a whole number from 0 expected", base.offset, base, wrong)
    end
    raises("ArgumentError", "got nil", base.limit, base, nil)
    assert.same({ 0 }, base:limit(0):compile().params)
    assert.same({ 5 }, base:limit(5.0):compile().params)
    assert.equal("n", base:limit(orm.bindparam("n")):compile().binds[1].key)
  end)
end)

describe("a name in order_by and group_by", function()
  it("is a label or a mapped name", function()
    assert.equal("SELECT users.id AS x FROM users ORDER BY x", tostring(select(u.id:label("x")):order_by("x")))
    assert.equal("SELECT users.id FROM users JOIN posts ON users.id = posts.user_id ORDER BY posts.title",
      tostring(select(u.id):join(posts):order_by("title")))
  end)

  it("is that of the label, whatever columns are called", function()
    local engine = orm.create_engine("sqlite://")
    metadata:create_all(engine, { tables = { users } })
    engine:begin(function(conn)
      conn:execute(orm.insert(users), { { id = 1, name = "x", age = 3 }, { id = 2, name = "x", age = 1 },
        { id = 3, name = "y", age = 2 } })
      local function read(statement)
        local lines = {}
        for row in conn:execute(statement) do
          lines[#lines + 1] = row[1] .. ":" .. row[2]
        end
        return table.concat(lines, " ")
      end
      local odd, last = (u.age % 2):label("name"), (-u.age):label("Name")
      assert.equal("0:1 1:2", read(select(odd, func.count():label("n")):group_by(odd):order_by(odd)))
      assert.equal("0:1 1:2", read(select(odd, func.count():label("n")):group_by("name"):order_by("name")))
      assert.equal("-3:x -2:y -1:x", read(select(last, u.name):order_by(last)))
      assert.equal("-3:1 -2:2 -1:3", read(select(last, func.row_number():over{ order_by = last }):order_by("Name")))
    end)
    engine:dispose()
  end)

  it("is never SQL", function()
    local base = select(users)
    raises("ArgumentError", "'id desc' is no column or label of this statement", base.order_by, base, "id desc")
    raises("ArgumentError", "did you mean 'name'?", base.order_by, base, "nmae")
    raises("ArgumentError", "text(...)", base.group_by, base, "1; DROP TABLE users")
    raises("ArgumentError", "order_by() needs a column", base.order_by, base)
    raises("ArgumentError", "argument 1 is nil", base.order_by, base, nil)
  end)

  it("must say which of two it means", function()
    local both = select(users, posts)
    raises("AmbiguousColumnError", { "users.id", "posts.id" }, both.order_by, both, "id")
  end)
end)

describe("filter_by", function()
  local base = select(users)

  it("takes a table, or pairs", function()
    assert.same({ 3, "x" }, base:filter_by{ name = "x", age = 3 }:compile().params)
    assert.same({ "x", 3 }, base:filter_by("name", "x", "age", 3):compile().params)
  end)

  it("never widens a query", function()
    raises("ArgumentError", "has no condition", base.filter_by, base, {})
    raises("ArgumentError", "has no condition", base.filter_by, base)
    raises("ArgumentError", "the value of 'name' is nil; NULL is orm.null", base.filter_by, base, "name", nil)
    raises("ArgumentError", "'age' has no value", base.filter_by, base, "name", "x", "age")
    raises("ArgumentError", "got nil", base.filter_by, base, nil)
    raises("ArgumentError", "filter_by{ name = value }", base.filter_by, base, u.id:eq(1))
  end)

  it("knows the names", function()
    raises("ArgumentError", "'users' has no attribute 'nmae'; did you mean 'name'?", base.filter_by, base, { nmae = 1 })
    local joined = base:join(posts)
    raises("ArgumentError", "'posts' has no attribute 'age'", joined.filter_by, joined, { age = 1 })
  end)
end)

describe("join", function()
  it("finds the foreign key in either direction", function()
    assert.truthy(tostring(select(posts):join(users)):find("posts JOIN users ON posts.user_id = users.id", 1, true))
    assert.truthy(tostring(select(users):join(posts)):find("users JOIN posts ON users.id = posts.user_id", 1, true))
  end)

  it("takes all columns of a composite foreign key", function()
    assert.truthy(tostring(select(links.c.a):join(spots)):find("ON links.a = spots.x AND links.b = spots.y", 1, true))
  end)

  it("says where there is none, or more than one", function()
    local base = select(users)
    raises("NoForeignKeysError", "no foreign key links 'users' and 'islands'", base.join, base, islands)
    raises("AmbiguousForeignKeysError", { "'users' and 'comments'", "comments.author_id, comments.editor_id" },
      base.join,
      base, comments)
    raises("AmbiguousForeignKeysError", { "both 'posts' and 'comments'", "join_from" }, function()
      local renamed = orm.Table("tags", metadata, orm.Column("post_id", orm.Integer, orm.ForeignKey("posts.id")),
        orm.Column("comment_id", orm.Integer, orm.ForeignKey("comments.id")))
      select(posts.c.id, comments.c.id):join(renamed)
    end)
  end)

  it("refuses one name for two tables", function()
    local base = select(users)
    raises("InvalidRequestError", "orm.aliased", base.join, base, users, u.id:gt(5))
    raises("InvalidRequestError", "'posts' is joined already", function() base:join(posts):join(posts) end)
  end)

  it("says what it takes", function()
    local base = select(users)
    raises("ArgumentError", "got nil", base.join, base, nil)
    raises("ArgumentError", "got the string 'posts'", base.join, base, "posts")
    raises("ArgumentError", "join(): argument 2 is false", base.join, base, posts, u.id == 5)
    raises("ArgumentError", "unknown option 'outer'; did you mean 'isouter'?", base.join, base, posts, { outer = true })
    raises("ArgumentError", "write select(...):subquery()", base.join, base, select(posts))
  end)
end)

describe("a subquery", function()
  it("has the columns of its select", function()
    local sub = select(u.id, func.count():label("n"), u.age + 1):subquery()
    local names = {}
    for position, column in ipairs(sub.columns) do
      names[position] = column.key
    end
    assert.same({ "id", "n", "anon_1" }, names)
    raises("NoSuchColumnError", { "has no column 'm'", "there is id, n, anon_1" }, function() return sub.c.m end)
  end)

  it("stands by itself where it says that it is correlated with nothing", function()
    local apart = select(u.id):where(posts.c.user_id:eq(u.id), u.age:gt(1)):correlate()
    assert.equal("SELECT posts.id FROM posts WHERE posts.user_id IN (SELECT users.id FROM users, posts WHERE posts.user_id = "
      .. "users.id AND users.age > ?)", tostring(select(posts.c.id):where(posts.c.user_id:in_(apart))))
    assert.equal("SELECT posts.id FROM posts WHERE EXISTS (SELECT users.id FROM users WHERE posts.user_id = users.id AND "
      .. "users.age > ?)", tostring(select(posts.c.id):where(orm.exists(apart:correlate(posts)))))
  end)

  it("has one column where it stands for a value", function()
    raises("ArgumentError", "has one column, this one has 3", function() return u.id:eq(select(users)) end)
  end)
end)

describe("insert, update and delete", function()
  it("know the columns", function()
    local insert = orm.insert(users)
    raises("ArgumentError", "'users' has no column 'nmae'; did you mean 'name'?", insert.values, insert, { nmae = 1 })
    raises("ArgumentError", "got nil", insert.values, insert, nil)
    raises("ArgumentError", "row 2 names other columns than row 1", insert.values, insert, { { id = 1 },
      { name = "x" } })
    raises("ArgumentError", "row 2 names other columns than row 1", insert.values, insert,
      { { id = 1 }, { id = 2, name = "x" } })
    raises("ArgumentError", "'users' has no attribute 'nmae'", insert.from_select, insert, { "nmae" }, select(u.id))
    raises("ArgumentError", "needs both", insert.on_conflict_do_update, insert, { set = { name = "x" } })
    raises("ArgumentError", "a mapped class or a table expected", orm.insert, select(users))
    raises("ArgumentError", "argument 1 is nil", orm.insert, nil)
  end)

  it("write columns in the order of the table", function()
    for _ = 1, 5 do
      assert.equal("INSERT INTO users (id, name, age) VALUES (?, ?, ?)",
        tostring(orm.insert(users):values{ age = 1, name = "x", id = 2 }))
    end
  end)

  it("have one row or a list of rows, also in several calls", function()
    local one, many = orm.insert(users):values{ id = 1 }, orm.insert(users):values{ { id = 1 }, { id = 2 } }
    raises("ArgumentError", "cannot be mixed", one.values, one, { { id = 2 } })
    raises("ArgumentError", "cannot be mixed", many.values, many, { id = 2 })
    raises("ArgumentError", "other columns than those that were given before", many.values, many, { { name = "x" } })
  end)

  it("set something", function()
    raises("CompileError", "sets nothing", function() orm.update(users):where(u.id:eq(1)):compile() end)
  end)

  it("take columns as names", function()
    assert.equal("UPDATE users SET age = ? WHERE users.id = ?",
      tostring(orm.update(users):where(u.id:eq(1)):values{ [u.age] = 2 }))
  end)
end)

describe("a select of a class", function()
  it("stays what it is, whatever its methods and the session make of it", function()
    local lib = library.open()
    local Author, Book, session = lib.Author, lib.Book, lib.session
    local plain = select(Book)
    local shown = tostring(plain)
    local changes = {
      function(stmt) return stmt:where(Book.id:gt(1)):where(Book.id:lt(9), Book.title:ne("x")) end,
      function(stmt) return stmt:order_by(Book.id):order_by(Book.title:desc(), "id"):order_by(orm.null) end,
      function(stmt) return stmt:limit(1):offset(2):limit(3) end,
      function(stmt) return stmt:join(Book.author):where(Author.id:eq(1)):group_by(Book.id):having(Book.id:gt(1)) end,
      function(stmt) return stmt:distinct():with_for_update():add_columns(Book.id):with_only_columns(Book.title) end,
      function(stmt) return stmt:options(orm.selectinload(Book.author)):execution_options{ populate_existing = true } end,
      function(stmt) return stmt:union_all(stmt):order_by("id"):limit(2) end,
      function(stmt) return select(Author):join(stmt:subquery("some"), orm.true_()) end,
      function(stmt) return stmt:select_from(Book):correlate(Author):filter_by{ id = 1 }:slice(0, 1) end,
    }
    for position, change in ipairs(changes) do
      local changed = tostring(change(plain))
      assert.equal(changed, tostring(change(select(Book))), position)
      assert.equal(shown, tostring(plain), position)
    end
    session:scalars(plain):all()
    session:execute(changes[6](plain)):all()
    session:query(Book):filter(Book.id:eq(1)):count()
    assert.equal(shown, tostring(select(Book)))
    assert.equal(shown .. " WHERE book.id > ? AND book.id < ? AND book.title != ?",
      tostring(changes[1](select(Book))))
  end)

  it("is told from what its methods are called with in its place", function()
    local Book = library.declare().Book
    local plain = select(Book)
    for _, method in ipairs { "where", "order_by", "limit", "offset" } do
      local words = ("select:%s was called with '.' or on the wrong object (got %%s)"):format(method)
      for _, value in ipairs { 5, "text", {}, setmetatable({}, {}), setmetatable({}, { 99 }), setmetatable({}, { 0 }) } do
        raises("ArgumentError", words:format(type(value)), plain[method], value, 5)
      end
    end
    raises("ArgumentError", "eq was called with '.'; use ':' as in column:eq(...)", Book.id.eq, 5, 5)
  end)

  it("takes whole numbers for its limit only, as far as every Lua has them exactly", function()
    local lib = library.open()
    local Book, session = lib.Book, lib.session
    local most = math.tointeger and math.tointeger(2 ^ 53) or 2 ^ 53
    for _, count in ipairs { most, -1, 1.5, 1 / 0, 0 / 0, -1 / 0 } do
      raises("ArgumentError", "limit(): a whole number from 0 expected, got ", select(Book).limit, select(Book), count)
    end
    assert.equal(0, #session:scalars(select(Book):limit(0)):all())
    assert.equal(1, #session:scalars(select(Book):limit(1)):all())
    assert.equal(4, #session:scalars(select(Book):limit(most - 1)):all())
  end)

  it("that is written as text holds no NUL byte, which would end it for the database", function()
    raises("ArgumentError", "NUL byte", orm.text, "SELECT 1\0 FROM nothing")
  end)
end)
