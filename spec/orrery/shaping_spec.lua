local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"

local Integer, String, Text = orm.Integer, orm.String, orm.Text

local function open()
  local Base = orm.declarative_base()
  local lib = { base = Base }
  lib.User = Base:model("User", {
    __tablename__ = "user",
    id = orm.Mapped(Integer, { primary_key = true }),
    name = orm.Mapped(String(20)),
    bio = orm.mapped_column(Text, { deferred = true }),
    cv = orm.deferred(orm.mapped_column(Text), { group = "long" }),
    photo = orm.Mapped(orm.Optional(Text), { deferred_group = "long" }),
    secret = orm.mapped_column(Text, { deferred_raiseload = true }),
    posts = orm.relationship("Post", { back_populates = "user", order_by = "id" }),
  })
  lib.Post = Base:model("Post", {
    __tablename__ = "post",
    id = orm.Mapped(Integer, { primary_key = true }),
    user_id = orm.Mapped(Integer, orm.ForeignKey("user.id")),
    title = orm.Mapped(String(20)),
    body = orm.mapped_column(Text),
    user = orm.relationship("User", { back_populates = "posts" }),
  })
  lib.engine = database.create(Base)
  database.run(lib.engine, "INSERT INTO user VALUES (1, 'ann', 'a bio', 'a cv', 'a photo', 'a secret')",
    "INSERT INTO post VALUES (1, 1, 'one', 'body one'), (2, 1, 'two', 'body two')")
  lib.session = orm.Session(lib.engine)
  lib.record = statements.record(lib.engine)
  return lib
end

local function unloaded(object)
  return table.concat(orm.inspect(object).unloaded, " ")
end

-- The objects of a select with options, and the statements that it took.
local function load(lib, class, ...)
  lib.record:take()
  return lib.session:scalars(orm.select(class):order_by(class.id):options(...)):unique():all(), lib.record:take()
end

describe("a deferred column", function()
  it("is left out until it is read, then loaded alone or with its group", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    assert.equal("bio cv photo secret posts", unloaded(user))
    assert.equal("a bio", user.bio)
    assert.equal("a photo", user.photo)
    assert.equal("a cv", user.cv)
    assert.same({ "SELECT user.id, user.name FROM user WHERE user.id = ? [1]",
      "SELECT user.id, user.bio FROM user WHERE user.id = ? [1]",
      "SELECT user.id, user.cv, user.photo FROM user WHERE user.id = ? [1]" }, lib.record:take())
  end)

  it("is an error to read with raiseload", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    raises("InvalidRequestError", "User.secret is not loaded, and raiseload forbids", function() return user.secret end)
    lib.session:expire(user)
    raises("InvalidRequestError", "undefer(User.secret)", function() return user.secret end)
    lib.session:expunge_all()
    user = load(lib, lib.User, orm.undefer(lib.User.secret))[1]
    assert.equal("a secret", user.secret)
  end)

  it("comes back with the others after expiry where it had been loaded", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    local _ = user.bio
    lib.session:commit()
    lib.record:take()
    assert.equal("ann", user.name)
    assert.equal("a bio", user.bio)
    assert.same({ "SELECT user.id, user.name, user.bio FROM user WHERE user.id = ? [1]" }, lib.record:take())
    assert.equal("cv photo secret posts", unloaded(user))
  end)

  it("is read along with what has expired", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    lib.session:commit()
    lib.record:take()
    assert.equal("a bio", user.bio)
    assert.equal("ann", user.name)
    assert.same({ "SELECT user.id, user.name, user.bio FROM user WHERE user.id = ? [1]" }, lib.record:take())
  end)

  it("can be assigned and written without being loaded", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    user.bio = "new"
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE user SET bio = ? WHERE id = ? [new, 1]" }, lib.record:take())
    assert.equal("new", user.bio)
    assert.same({ "a cv|new" }, database.rows(lib.session, "SELECT cv, bio FROM user"))
  end)

  it("is loaded of a new object, and copied by merge only where it is", function()
    local lib = open()
    local other = orm.Session(lib.engine)
    local copy = lib.session:merge(other:get(lib.User, 1))
    other:close()
    assert.equal("bio cv photo secret posts", unloaded(copy))
    local user = lib.User { name = "new", bio = "b" }
    lib.session:add(user)
    lib.session:flush()
    lib.record:take()
    assert.equal("b", user.bio)
    assert.is_nil(user.cv)
    assert.same({}, lib.record:take())
  end)

  it("cannot be loaded by a detached object", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    lib.session:close()
    raises("DetachedInstanceError", "User.bio", function() return user.bio end)
  end)

  it("stays out of what a relationship loads lazily", function()
    local lib = open()
    local post = lib.session:get(lib.Post, 1)
    lib.record:take()
    assert.equal("bio cv photo secret posts", unloaded(post.user))
    assert.same({ "SELECT user.id, user.name FROM user WHERE user.id = ? [1]" }, lib.record:take())
  end)
end)

describe("options about columns", function()
  it("load_only takes the named ones and the key", function()
    local lib = open()
    local users, sent = load(lib, lib.User, orm.load_only(lib.User.bio))
    assert.same({ "SELECT user.id, user.bio FROM user ORDER BY user.id" }, sent)
    assert.equal("ann", users[1].name)
    assert.same({ "SELECT user.id, user.name FROM user WHERE user.id = ? [1]" }, lib.record:take())
  end)

  it("defer, undefer and undefer_group change what the class says", function()
    local lib = open()
    local _, sent = load(lib, lib.User, orm.defer(lib.User.name), orm.undefer(lib.User.bio), orm.undefer_group("long"))
    assert.same({ "SELECT user.id, user.bio, user.cv, user.photo FROM user ORDER BY user.id" }, sent)
    lib.session:expunge_all()
    _, sent = load(lib, lib.User, orm.undefer("*"))
    assert.same({ "SELECT user.id, user.name, user.bio, user.cv, user.photo, user.secret FROM user ORDER BY user.id" }, sent)
    lib.session:expunge_all()
    _, sent = load(lib, lib.User, orm.defer("*"), orm.undefer(lib.User.name))
    assert.same({ "SELECT user.id, user.name FROM user ORDER BY user.id" }, sent)
  end)

  it("mean what they say, whatever a statement of the same SQL has said before", function()
    local lib = open()
    local Post = orm.aliased(lib.Post)
    for _, entity in ipairs { lib.Post, Post } do
      local function post(raiseload)
        local stmt = orm.select(entity):options(orm.defer(entity.body, { raiseload = raiseload }))
        return lib.session:scalars(stmt:execution_options { populate_existing = true }):first()
      end
      for _, raiseload in ipairs { false, true, false, true } do
        local found = post(raiseload)
        if raiseload then
          raises("InvalidRequestError", "Post.body is not loaded", function() return found.body end)
        else
          assert.is_string(found.body)
        end
      end
    end
  end)

  it("raiseload forbids to load the rest later", function()
    local lib = open()
    local post = load(lib, lib.Post, orm.load_only(lib.Post.title, { raiseload = true }))[1]
    raises("InvalidRequestError", "Post.body is not loaded", function() return post.body end)
    post.body = "assigned"
    assert.equal("assigned", post.body)
    lib.session:commit()
    assert.equal("assigned", post.body)
  end)

  it("follow a path, with the columns that link the rows", function()
    local lib = open()
    local User, Post = lib.User, lib.Post
    local users, sent = load(lib, User, orm.selectinload(User.posts):load_only(Post.title))
    assert.equal("SELECT post.id, post.user_id, post.title FROM post WHERE post.user_id IN (?) ORDER BY post.id [1]", sent[2])
    assert.equal("body user", unloaded(users[1].posts[1]))
    lib.session:expunge_all()
    users, sent = load(lib, User, orm.joinedload(User.posts):defer(Post.body))
    assert.same({ "SELECT user.id, user.name, post_1.id, post_1.user_id, post_1.title FROM user LEFT OUTER JOIN post AS post_1 "
      .. "ON user.id = post_1.user_id ORDER BY user.id, post_1.id" }, sent)
    assert.equal("body user", unloaded(users[1].posts[2]))
    lib.session:expunge_all()
    local posts
    posts, sent = load(lib, Post, orm.selectinload(Post.user):undefer(User.bio), orm.load_only(Post.title))
    assert.same({ "SELECT post.id, post.title FROM post ORDER BY post.id",
      "SELECT post.id, post.user_id FROM post WHERE post.id = ? [1]",
      "SELECT post.id, post.user_id FROM post WHERE post.id = ? [2]",
      "SELECT user.id, user.name, user.bio FROM user WHERE user.id IN (?) [1]" }, sent)
    assert.equal(posts[1].user, posts[2].user)
  end)

  it("fill what an object lacks, and with populate_existing give it up", function()
    local lib = open()
    local post = load(lib, lib.Post, orm.defer(lib.Post.body))[1]
    load(lib, lib.Post)
    lib.record:take()
    assert.equal("body one", post.body)
    assert.same({}, lib.record:take())
    lib.session:scalars(orm.select(lib.Post):options(orm.defer(lib.Post.body))
      :execution_options{ populate_existing = true }):all()
    assert.equal("body user", unloaded(post))
  end)

  it("are about the alias whose columns they name", function()
    local lib = open()
    local Other = orm.aliased(lib.User, "other")
    lib.record:take()
    lib.session:execute(orm.select(Other):options(orm.load_only(Other.name, Other.bio))):all()
    assert.same({ "SELECT other.id, other.name, other.bio FROM user AS other" }, lib.record:take())
  end)

  it("refuse what is no column of the class", function()
    local lib = open()
    raises("ArgumentError", "argument 1 must be a column attribute", function() orm.load_only(lib.User.posts) end)
    raises("ArgumentError", "needs an attribute", function() orm.defer() end)
    raises("ArgumentError", "raiseload", function() orm.defer(lib.User.name, { raisload = true }) end)
    raises("ArgumentError", "'User' is not the class where User.posts leads", function()
      orm.selectinload(lib.User.posts):defer(lib.User.name)
    end)
  end)
end)

describe("refresh with names", function()
  it("reads those and no others", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    database.run(lib.session, "UPDATE user SET name = 'new', bio = 'new bio'")
    lib.record:take()
    lib.session:refresh(user, { "bio" })
    assert.same({ "SELECT user.id, user.bio FROM user WHERE user.id = ? [1]" }, lib.record:take())
    assert.equal("ann", user.name)
    assert.equal("new bio", user.bio)
  end)
end)

describe("with_for_update", function()
  it("of get and refresh reads the row now, and keeps the object", function()
    local lib = open()
    local user = lib.session:get(lib.User, 1)
    database.run(lib.session, "UPDATE user SET name = 'new'")
    lib.record:take()
    assert.equal(user, lib.session:get(lib.User, 1, { with_for_update = { nowait = true } }))
    assert.equal("new", user.name)
    lib.session:refresh(user, nil, { with_for_update = true })
    assert.equal(2, #lib.record:take())
    raises("ArgumentError", "with_for_updat", function() lib.session:get(lib.User, 1, { with_for_updat = true }) end)
  end)
end)
