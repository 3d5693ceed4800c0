local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"

local Integer, select = orm.Integer, orm.select

-- Users and posts, each with a flag that says whether it is gone: of the posts 1 2 3 of user 1 the second is, and user 2.
local function open()
  local Base = orm.declarative_base()
  local Soft = { gone = orm.mapped_column(Integer, { default = 0 }) }
  local lib = { Soft = Soft }
  lib.User = Base:model("User", { __tablename__ = "user", __mixins__ = { Soft },
    id = orm.Mapped(Integer, { primary_key = true }),
    posts = orm.relationship("Post", { back_populates = "user", order_by = "id" }),
  })
  lib.Post = Base:model("Post", { __tablename__ = "post", __mixins__ = { Soft },
    id = orm.Mapped(Integer, { primary_key = true }),
    user_id = orm.Mapped(Integer, orm.ForeignKey("user.id")),
    user = orm.relationship("User", { back_populates = "posts" }),
  })
  lib.engine = database.create(Base)
  database.run(lib.engine, "INSERT INTO user (id, gone) VALUES (1, 0), (2, 1)",
    "INSERT INTO post (id, user_id, gone) VALUES (1, 1, 0), (2, 1, 1), (3, 1, 0), (4, 2, 0)")
  lib.session = orm.Session(lib.engine)
  lib.record = statements.record(lib.engine)
  lib.alive = orm.with_loader_criteria(Soft, function(class) return class.gone:eq(0) end)
  return lib
end

local function ids(list)
  local numbers = {}
  for position = 1, #list do
    numbers[position] = list[position].id
  end
  return table.concat(numbers, " ")
end

describe("with_loader_criteria", function()
  it("holds for the class wherever the statement reads it", function()
    local lib = open()
    local User, Post, session = lib.User, lib.Post, lib.session
    local function all(query) return ids(session:scalars(query:options(lib.alive)):all()) end
    assert.equal("1", all(select(User)))
    assert.equal("1 3", all(select(Post):join(Post.user):order_by(Post.id)))
    assert.equal("1 3 4", all(select(Post):outerjoin(Post.user):order_by(Post.id)))
    assert.equal("", all(select(User):where(User.posts:any(Post.id:eq(2)))))
    assert.equal("1", all(select(User):where(User.id:in_(select(Post.user_id)))))
    assert.equal("1 3", all(select(Post):where(Post.id:lt(4)):union(select(Post):where(Post.id:eq(2)))))
    assert.equal(3, #session:execute(select(Post.id):options(lib.alive)):all())
    assert.equal(3, session:query(Post):options(lib.alive):count())
    assert.equal(4, session:query(Post):count())
  end)

  it("reaches every load of a relationship, those that come later too", function()
    local lib = open()
    local User = lib.User
    for name, statements_sent in pairs { lazyload = 2, selectinload = 2, joinedload = 1, immediateload = 2, batchload = 2 } do
      lib.session:expunge_all()
      lib.record:take()
      local user = lib.session:scalars(select(User):options(lib.alive, orm[name](User.posts))):unique():one()
      assert.equal("1 3", ids(user.posts), name)
      assert.equal(statements_sent, #lib.record:take(), name)
    end
  end)

  it("hides single objects, also those that the session holds", function()
    local lib = open()
    local gone = lib.session:get(lib.User, 2)
    local post = lib.session:scalars(select(lib.Post):where(lib.Post.id:eq(4)):options(lib.alive)):one()
    assert.is_nil(post.user)
    assert.equal(2, gone.id)
  end)

  it("is about the statement alone with propagate_to_loaders = false", function()
    local lib = open()
    local option = orm.with_loader_criteria(lib.Soft, function(class) return class.gone:eq(0) end,
      { propagate_to_loaders = false })
    assert.equal("1 2 3", ids(lib.session:scalars(select(lib.User):options(option)):one().posts))
  end)

  it("means aliases where it says so", function()
    local lib = open()
    local Other = orm.aliased(lib.User)
    local function count(options)
      return #lib.session:scalars(select(Other):options(orm.with_loader_criteria(lib.User, lib.User.gone:eq(0), options))):all()
    end
    assert.equal(2, count(nil))
    assert.equal(1, count { include_aliases = true })
  end)

  it("holds for updates and deletes, which still need a condition of their own", function()
    local lib = open()
    local Post = lib.Post
    assert.equal(2, lib.session:execute(orm.update(Post):where(Post.user_id:eq(1)):values { gone = 2 }:options(lib.alive))
      .rowcount)
    assert.equal(1, lib.session:execute(orm.delete(Post):where(orm.all):options(lib.alive)).rowcount)
    raises("InvalidRequestError", "without a condition", function()
      lib.session:execute(orm.delete(Post):options(lib.alive))
    end)
  end)

  it("may be different values of one shape, and ask for its own table", function()
    local lib = open()
    local User, Post = lib.User, lib.Post
    for number = 1, 3 do
      local late = Post.id:in_(select(Post.id):where(Post.id:gt(3)))
      local option = orm.with_loader_criteria(Post, orm.or_(Post.id:eq(number), late))
      assert.equal(number .. " 4", ids(lib.session:scalars(select(Post):order_by(Post.id):options(option)):all()))
    end
    assert.equal("1", ids(lib.session:scalars(select(User):where(User.id:eq(1)):options(lib.alive)):all()))
  end)

  it("holds for the update and delete of a query", function()
    local lib = open()
    local posts = lib.session:query(lib.Post):filter(lib.Post.user_id:eq(1)):options(lib.alive)
    assert.equal(2, posts:update { user_id = 2 })
    assert.same({ "2|1" }, database.rows(lib.session, "SELECT id, user_id FROM post WHERE user_id = 1"))
    assert.equal(3, lib.session:query(lib.Post):options(lib.alive):delete())
    assert.same({ "2" }, database.rows(lib.session, "SELECT id FROM post"))
  end)

  it("holds where session:get() has it among its options", function()
    local lib = open()
    assert.is_nil(lib.session:get(lib.User, 2, { options = { lib.alive } }))
    assert.equal("1 3", ids(lib.session:get(lib.User, 1, { options = { lib.alive } }).posts))
  end)

  it("holds for what selectin_polymorphic loads", function()
    local Base = orm.declarative_base()
    local Pet = Base:model("Pet", { __tablename__ = "pet", id = orm.Mapped(Integer, { primary_key = true }),
      kind = orm.Mapped(orm.Text), __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "pet" } })
    local Cat = Base:model("Cat", { __tablename__ = "cat", __inherits__ = Pet,
      id = orm.Mapped(Integer, orm.ForeignKey("pet.id"), { primary_key = true }), lives = orm.Mapped(Integer),
      __mapper_args__ = { polymorphic_identity = "cat" } })
    local engine = database.create(Base)
    database.run(engine, "INSERT INTO pet VALUES (1, 'cat'), (2, 'cat')", "INSERT INTO cat VALUES (1, 9), (2, 0)")
    local session, record = orm.Session(engine), statements.record(engine)
    local pets = session:scalars(select(Pet):order_by(Pet.id):options(orm.selectin_polymorphic(Pet, { Cat }),
      orm.with_loader_criteria(Cat, Cat.lives:gt(0)))):all()
    assert.equal(2, #record:take())
    assert.equal(9, pets[1].lives)
    assert.same({}, record:take())
    assert.equal(0, pets[2].lives)
    assert.equal(1, #record:take())
  end)

  it("says what is wrong", function()
    local lib = open()
    raises("ArgumentError", "function(class)", function() orm.with_loader_criteria(lib.Soft, lib.User.gone:eq(0)) end)
    raises("ArgumentError", "a mapped class", function() orm.with_loader_criteria("User", lib.User.gone:eq(0)) end)
    raises("ArgumentError", "no class has this mixin", function()
      lib.session:scalars(select(lib.User):options(orm.with_loader_criteria({}, function(class) return class.gone:eq(0) end)))
    end)
  end)
end)

describe("do_orm_execute", function()
  it("changes the statements of a session, whose objects follow", function()
    local lib = open()
    orm.event.listen(lib.session, "do_orm_execute", function(state)
      if state.is_select and not state.is_relationship_load then
        state.statement = state.statement:options(lib.alive)
      end
    end)
    local users = lib.session:scalars(select(lib.User)):all()
    assert.equal("1", ids(users))
    assert.equal("1 3", ids(users[1].posts))
    assert.is_nil(lib.session:get(lib.User, 2))
    assert.equal(3, lib.session:query(lib.Post):count())
    assert.is_nil(lib.session:query(lib.Post):filter(lib.Post.id:eq(2)):first())
  end)

  it("is told what runs, relationship loads among it", function()
    local lib = open()
    local seen = {}
    orm.event.listen(lib.session, "do_orm_execute", function(state)
      local kind = state.is_select and "select" or state.is_update and "update" or state.is_delete and "delete" or "insert"
      seen[#seen + 1] = ("%s %s %s"):format(kind, table.concat(state.all_mappers, " "), tostring(state.is_relationship_load))
      assert.equal(lib.session, state.session)
    end)
    local user = lib.session:scalars(select(lib.User):where(lib.User.id:eq(1))):one()
    local _ = #user.posts
    lib.session:execute(orm.update(lib.Post):where(orm.all):values { gone = 0 })
    assert.same({ "select User false", "select Post true", "update Post false" }, seen)
  end)

  it("may run the statement itself, with other options, and give another result", function()
    local lib = open()
    local user, calls = lib.session:get(lib.User, 1), 0
    orm.event.listen(lib.session, "do_orm_execute", function(state)
      calls = calls + 1
      state:update_execution_options { populate_existing = true }
      return state:invoke_statement(state.statement:where(lib.User.id:eq(1)))
    end)
    database.run(lib.session, "UPDATE user SET gone = 5")
    assert.equal(user, lib.session:scalars(select(lib.User)):one())
    assert.equal(5, user.gone)
    assert.equal(1, calls)
  end)

  it("changes what a relationship loads", function()
    local lib = open()
    orm.event.listen(lib.session, "do_orm_execute", function(state)
      if state.is_relationship_load then
        state.statement = state.statement:where(lib.Post.id:gt(1))
        raises("InvalidRequestError", "cannot be run by a listener", function() state:invoke_statement() end)
        raises("ArgumentError", "is_selct", function() return state.is_selct end)
      end
    end)
    assert.equal("2 3", ids(lib.session:get(lib.User, 1).posts))
    lib.session:expunge_all()
    local users = lib.session:scalars(select(lib.User):order_by(lib.User.id):options(orm.selectinload(lib.User.posts))):all()
    assert.equal("2 3", ids(users[1].posts))
  end)
end)

describe("a listener that hides rows", function()
  it("is told by options of the script's own which statement may see them", function()
    local own = orm.declarative_base()
    local Note = own:model("Note", {
      __tablename__ = "note",
      id   = orm.Mapped(orm.Integer, { primary_key = true }),
      gone = orm.Mapped(orm.Boolean, { default = false }),
    })
    local db = orm.create_engine("sqlite://")
    own.metadata:create_all(db)
    local session = orm.Session(db)
    session:add_all{ Note{}, Note{ gone = true } }
    session:commit()
    orm.event.listen(session, "do_orm_execute", function(state)
      if state.is_select and not state.execution_options._all then
        state.statement = state.statement:options(orm.with_loader_criteria(Note, Note.gone:eq(false)))
      end
    end)
    local query = orm.select(Note)
    assert.equal(1, #session:scalars(query):all())
    assert.equal(2, #session:scalars(query, nil, { _all = true }):all())
    assert.equal(2, #session:scalars(query:execution_options{ _all = true }):all())
    assert.equal(2, #session:scalars(query, nil, { execution_options = { _all = true } }):all())
    session:expunge_all()
    assert.is_nil(session:get(Note, 2))
    assert.equal(2, session:get(Note, 2, { execution_options = { _all = true } }).id)
    assert.falsy(pcall(session.scalars, session, query, nil, { all = true }))
    session:close()
  end)
end)
