local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"

local Integer, String, func, select = orm.Integer, orm.String, orm.func, orm.select

local function open()
  local Base = orm.declarative_base()
  local lib = { base = Base }
  local User = Base:model("User", {
    __tablename__ = "user",
    id = orm.Mapped(Integer, { primary_key = true }),
    name = orm.Mapped(String(20)),
    loud = orm.column_property(function(class) return class.name .. "!" end),
    score = orm.query_expression(),
    posts = orm.relationship("Post", { back_populates = "user", order_by = "id" }),
  })
  local Post = Base:model("Post", {
    __tablename__ = "post",
    id = orm.Mapped(Integer, { primary_key = true }),
    user_id = orm.Mapped(Integer, orm.ForeignKey("user.id")),
    stars = orm.Mapped(Integer),
    user = orm.relationship("User", { back_populates = "posts" }),
  })
  User.count = orm.column_property(select(func.count(Post.id)):where(Post.user_id:eq(User.id)):scalar_subquery())
  User.best = orm.column_property(select(func.max(Post.stars)):where(Post.user_id:eq(User.id), Post.stars:gt(0))
    :scalar_subquery(), { deferred = true })
  lib.User, lib.Post = User, Post
  lib.engine = database.create(Base)
  database.run(lib.engine, "INSERT INTO user VALUES (1, 'ann'), (2, 'bob')", "INSERT INTO post VALUES (1, 1, 3), (2, 1, 5)")
  lib.session = orm.Session(lib.engine)
  lib.record = statements.record(lib.engine)
  return lib
end

local COUNT = "(SELECT count(post.id) AS count_1 FROM post WHERE post.user_id = %s.id)"

describe("column_property", function()
  it("is loaded with the row, deferred ones when they are read", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    assert.equal("ann!", user.loud)
    assert.equal(2, user.count)
    assert.same({ "SELECT user.id, user.name, user.name || ? AS loud, " .. COUNT:format("user") .. " AS count "
      .. "FROM user WHERE user.id = ? [!, 1]" }, lib.record:take())
    assert.equal(5, user.best)
    assert.same({ "SELECT user.id, (SELECT max(post.stars) AS max_1 FROM post WHERE post.user_id = user.id AND post.stars > ?) "
      .. "AS best FROM user WHERE user.id = ? [0, 1]" }, lib.record:take())
  end)

  it("stands in conditions and orders, and moves to an alias", function()
    local lib = open()
    local User = lib.User
    local users = lib.session:scalars(select(User):where(User.count:ge(0)):order_by(User.count, User.loud)):all()
    assert.equal("bob", users[1].name)
    local Other = orm.aliased(User, "other")
    lib.record:take()
    local row = lib.session:execute(select(Other.name, Other.count):where(Other.count:gt(1))):one()
    assert.same({ "ann", 2 }, { row() })
    assert.same({ "SELECT other.name, " .. COUNT:format("other") .. " AS count FROM user AS other WHERE "
      .. COUNT:format("other") .. " > ? [1]" }, lib.record:take())
    assert.equal("SELECT " .. COUNT:format("user") .. " AS count FROM user", (tostring(select(User.count)):gsub('"', "")))
  end)

  it("is read again after a flush that wrote the object, without the rest of the row", function()
    local lib = open()
    local user = lib.User { name = "new", posts = { lib.Post { stars = 1 } } }
    lib.session:add(user)
    lib.session:flush()
    assert.equal(1, user.count)
    user.name = "newer"
    lib.session:flush()
    lib.record:take()
    assert.equal("newer!", user.loud)
    assert.same({ "SELECT user.id, user.name || ? AS loud, " .. COUNT:format("user") .. " AS count FROM user "
      .. "WHERE user.id = ? [!, 3]" }, lib.record:take())
    assert.same({ "score", "best" }, orm.inspect(user).unloaded)
  end)

  it("is read again after a flush that wrote a change of the object's collection", function()
    local lib = open()
    local user = lib.session:scalars(select(lib.User):order_by(lib.User.id)):first()
    local before = user.count
    user.posts:append(lib.Post { stars = 1 })
    assert.equal(before, user.count)
    lib.session:flush()
    assert.equal(before + 1, user.count)
  end)

  it("comes along eager loads, whose tables are not the subquery's", function()
    local lib = open()
    for _, option in ipairs { orm.joinedload, orm.selectinload } do
      lib.session:expunge_all()
      local post = lib.session:scalars(select(lib.Post):options(option(lib.Post.user):undefer(lib.User.best))):first()
      lib.record:take()
      assert.equal(2, post.user.count)
      assert.equal(5, post.user.best)
      assert.same({}, lib.record:take())
    end
    local user = lib.session:scalars(select(lib.User):order_by(lib.User.count:desc()):limit(1)
      :options(orm.joinedload(lib.User.posts))):unique():one()
    assert.equal(2, #user.posts)
  end)

  it("is never written", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    raises("ArgumentError", "User.loud: it is an SQL expression", function() user.loud = "x" end)
    raises("ArgumentError", "User.loud: it is an SQL expression", function() return lib.User { loud = "x" } end)
    raises("ArgumentError", "'user' has no column 'loud'", function() orm.update(lib.User):values { loud = "x" } end)
    local other = orm.Session(lib.engine)
    assert.equal("ann!", other:merge(user).loud)
    assert.equal("ann!", orm.to_table(user).loud)
    other:close()
  end)

  it("takes a column, too, and refuses other things", function()
    local column = orm.column_property(orm.mapped_column(String), { deferred = true })
    assert.is_true(column.deferred)
    raises("ArgumentError", "an expression", function() orm.column_property("SELECT 1") end)
  end)

  it("comes to classes from a mixin, each with its own", function()
    local Base = orm.declarative_base()
    local Named = { name = orm.mapped_column(String(20)),
      loud = orm.column_property(function(class) return func.upper(class.name) end) }
    local function declare(name)
      return Base:model(name, { __tablename__ = name:lower(), __mixins__ = { Named },
        id = orm.mapped_column(Integer, { primary_key = true }) })
    end
    local A, B = declare("A"), declare("B")
    assert.equal("SELECT upper(a.name) AS loud FROM a", tostring(select(A.loud)))
    assert.equal("SELECT upper(b.name) AS loud FROM b", tostring(select(B.loud)))
  end)
end)

describe("query_expression", function()
  it("has what with_expression gives, and is nil otherwise", function()
    local lib = open()
    local User = lib.User
    assert.is_nil(lib.session:get(User, 1).score)
    lib.session:expunge_all()
    lib.record:take()
    local query = select(User):order_by(User.id):options(orm.load_only(User.name),
      orm.with_expression(User.score, User.count * 10))
    local users = lib.session:scalars(query):all()
    assert.equal(20, users[1].score)
    assert.equal(0, users[2].score)
    assert.same({ "SELECT user.id, user.name, " .. COUNT:format("user") .. " * ? AS score FROM user ORDER BY user.id [10]" },
      lib.record:take())
    lib.session:commit()
    assert.is_nil(users[1].score)
  end)

  it("is for query_expression() attributes only", function()
    local lib = open()
    raises("ArgumentError", "User.name is no query_expression()", function()
      orm.with_expression(lib.User.name, lib.User.id + 1)
    end)
  end)

  it("takes a default", function()
    local Base = orm.declarative_base()
    local A = Base:model("A", { __tablename__ = "a", id = orm.mapped_column(Integer, { primary_key = true }),
      n = orm.query_expression(orm.literal(7)) })
    local session = orm.Session(database.create(Base))
    session:add(A{})
    session:commit()
    session:expunge_all()
    assert.equal(7, session:get(A, 1).n)
    session:close()
  end)
end)

describe("correlate_except", function()
  it("reads the named tables itself and means the others of the statement around it", function()
    local lib = open()
    local User, Post = lib.User, lib.Post
    local counted = select(func.count(Post.id)):where(Post.user_id:eq(User.id)):correlate_except(Post):scalar_subquery()
    assert.equal("SELECT user.id, post.id, " .. COUNT:format("user") .. " AS n FROM user JOIN post ON user.id = post.user_id",
      (tostring(select(User.id, Post.id, counted:label("n")):join(User.posts)):gsub('"', "")))
  end)

  it("takes a class that is not in use yet, whose property the select becomes", function()
    local base = orm.declarative_base()
    local function id() return orm.Mapped(Integer, { primary_key = true }) end
    local User = base:model("User", { __tablename__ = "user", id = id(), posts = orm.relationship("Post") })
    local Post = base:model("Post", { __tablename__ = "post", id = id(), user_id = orm.Mapped(orm.ForeignKey("user.id")) })
    local counted = select(func.count(Post.id)):where(Post.user_id:eq(User.id))
    User.one = orm.column_property(counted:correlate_except(Post):scalar_subquery())
    User.two = orm.column_property(counted:correlate(User):scalar_subquery())
    local session = orm.Session(database.create(base))
    session:add(User { posts = { Post {}, Post {} } })
    session:commit()
    local user = session:scalars(select(User)):one()
    assert.same({ 2, 2 }, { user.one, user.two })
    session:close()
  end)
end)
