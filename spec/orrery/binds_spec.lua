-- Sessions that work on several databases: which class is in which, and what one flush and one commit are then.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows
local Mapped, Integer, String = orm.Mapped, orm.Integer, orm.String

-- Users with posts in one database, entries of a log in the other.
local function open(how)
  local People, Logs = orm.declarative_base(), orm.declarative_base()
  local place = { People = People, Logs = Logs }
  place.User = People:model("User", { __tablename__ = "users",
    id = Mapped(Integer, { primary_key = true }), name = Mapped(String),
    posts = orm.relationship("Post", { back_populates = "user", cascade = "all, delete-orphan" }) })
  place.Post = People:model("Post", { __tablename__ = "post",
    id = Mapped(Integer, { primary_key = true }), user_id = Mapped(Integer, orm.ForeignKey("users.id")),
    user = orm.relationship("User", { back_populates = "posts" }) })
  place.Entry = Logs:model("Entry", { __tablename__ = "entry",
    id = Mapped(Integer, { primary_key = true }), line = Mapped(String, { unique = true }) })
  place.people, place.logs = database.create(People), database.create(Logs)
  place.session = orm.Session(how(place))
  place.of_people, place.of_logs = statements.record(place.people), statements.record(place.logs)
  return place
end

local function by_base(place)
  return nil, { binds = { [place.People] = place.people, [place.Logs] = place.logs } }
end

local function by_class(place)
  return place.people, { binds = { [place.Entry] = place.logs } }
end

for words, how in pairs { ["by base"] = by_base, ["by class, over a default"] = by_class } do
  describe("binds " .. words .. ":", function()
    it("a flush writes every row to its own database", function()
      local place = open(how)
      local user = place.User { name = "ann", posts = { place.Post {}, place.Post {} } }
      place.session:add_all { user, place.Entry { line = "hello" } }
      place.session:commit()
      assert.same({ "INSERT users", "INSERT post" }, place.of_people:headlines())
      assert.same({ "INSERT entry" }, place.of_logs:headlines())
      assert.same({ "1|ann" }, rows(place.people, "SELECT * FROM users"))
      assert.same({ "1|hello" }, rows(place.logs, "SELECT * FROM entry"))
    end)

    it("queries, loads and refreshes ask the database of the class", function()
      local place = open(how)
      local User, Entry, session = place.User, place.Entry, place.session
      session:add_all { User { name = "ann", posts = { place.Post {} } }, Entry { line = "hello" } }
      session:commit()
      place.of_people:take()
      place.of_logs:take()
      assert.equal("hello", session:get(Entry, 1).line)
      assert.equal("hello", session:scalar(orm.select(Entry.line)))
      assert.equal("hello", session:scalar(orm.select(Entry.__table__.c.line)))
      assert.equal(1, session:scalar(orm.select(orm.func.count(Entry.id))))
      assert.equal(1, session:query(Entry):count())
      assert.equal(1, session:scalar(orm.select(orm.func.count()):select_from(Entry)))
      assert.equal("hello", session:execute(orm.select(orm.aliased(Entry).line):limit(1):union(orm.select(Entry.line))):scalar())
      assert.same({}, place.of_people:take())
      local user = session:scalars(orm.select(User):options(orm.selectinload(User.posts))):one()
      session:expire(user)
      assert.same({ "ann", 1 }, { user.name, #user.posts })
      assert.equal(7, #place.of_logs:take())
    end)

    it("statements change the rows of their class", function()
      local place = open(how)
      local User, Entry, session = place.User, place.Entry, place.session
      local entry = Entry { line = "a" }
      session:add_all { entry, User { name = "ann" } }
      session:flush()
      session:execute(orm.update(Entry):where(Entry.line:eq("a")):values { line = "b" })
      assert.equal("b", entry.line)
      session:execute(orm.insert(Entry), { { line = "c" }, { line = "d" } })
      session:execute(orm.delete(Entry):where(Entry.line:eq("c")))
      assert.equal("e", session:upsert(Entry, { { id = 1, line = "e" } })[1].line)
      session:commit()
      assert.same({ "e", "d" }, rows(place.logs, "SELECT line FROM entry ORDER BY id"))
    end)

    it("a flush that fails in one database is taken back in both", function()
      local place = open(how)
      place.session:add_all { place.Entry { line = "a" } }
      place.session:commit()
      local user, twin = place.User { name = "ann" }, place.Entry { line = "a" }
      place.session:add_all { user, twin }
      raises("IntegrityError", "UNIQUE", place.session.flush, place.session)
      assert.same({ "pending", "pending" }, { orm.inspect(user).state, orm.inspect(twin).state })
      twin.line = "b"
      place.session:commit()
      assert.same({ "1|ann" }, rows(place.people, "SELECT * FROM users"))
      assert.same({ "a", "b" }, rows(place.logs, "SELECT line FROM entry ORDER BY id"))
    end)

    it("rollback and savepoints hold for both", function()
      local place = open(how)
      local session = place.session
      local function add(name)
        session:add_all { place.User { name = name }, place.Entry { line = name } }
        session:flush()
      end
      add("kept")
      local nested = session:begin_nested()
      add("lost")
      nested:rollback()
      session:begin_nested(function() add("nested") end)
      session:commit()
      add("rolled back")
      session:rollback()
      assert.is_false(session:in_transaction())
      assert.same({ "kept", "nested" }, rows(place.people, "SELECT name FROM users ORDER BY id"))
      assert.same({ "kept", "nested" }, rows(place.logs, "SELECT line FROM entry ORDER BY id"))
    end)

    it("watch() counts the statements of both", function()
      local place = open(how)
      local report = place.session:watch(function(session)
        session:get(place.User, 1)
        session:get(place.Entry, 1)
      end)
      assert.equal(2, report.statements)
    end)
  end)
end

describe("binds", function()
  it("may name tables, abstract bases and parent classes; the nearest one holds", function()
    local base = orm.declarative_base()
    local engines = {}
    for position = 1, 4 do
      engines[position] = orm.create_engine("sqlite://")
    end
    local Filed = base:model("Filed", { __abstract__ = true, id = Mapped(Integer, { primary_key = true }) })
    local Paper = Filed:model("Paper", { __tablename__ = "paper", kind = Mapped(String),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "paper" } })
    local Letter = base:model("Letter", { __inherits__ = Paper, __mapper_args__ = { polymorphic_identity = "letter" } })
    local Other = base:model("Other", { __tablename__ = "other", id = Mapped(Integer, { primary_key = true }) })
    local Plain = orm.Table("plain", base.metadata, orm.Column("id", Integer, { primary_key = true }))
    local session = orm.Session(engines[1], { binds = { [Filed] = engines[2], [Plain] = engines[3] } })
    assert.is_true(engines[2] == session:get_bind(Letter))
    assert.is_true(engines[2] == session:get_bind(Paper.__table__))
    assert.is_true(engines[3] == session:get_bind(Plain))
    assert.is_true(engines[3] == session:get_bind(orm.select(Plain.c.id)))
    assert.is_true(engines[1] == session:get_bind(Other))
    assert.is_true(engines[1] == session:get_bind())
    local nearer = orm.Session(nil, { binds = { [base] = engines[1], [Filed] = engines[2], [Letter] = engines[4] } })
    assert.is_true(engines[4] == nearer:get_bind(Letter))
    assert.is_true(engines[2] == nearer:get_bind(Paper))
    assert.is_true(engines[1] == nearer:get_bind(Other))
  end)

  it("say what they have no engine for, and what they cannot be", function()
    local place = open(by_base)
    local Stray = orm.declarative_base():model("Stray", { __tablename__ = "stray", id = Mapped(Integer, { primary_key = true }) })
    raises("UnboundExecutionError", { "'Stray'", "binds" }, function() place.session:get(Stray, 1) end)
    raises("UnboundExecutionError", { "binds" }, function() place.session:execute(orm.text("SELECT 1")) end)
    raises("ArgumentError", "the keys are classes, bases and tables, [User] = engine; got 'User'", orm.Session, nil,
      { binds = { User = place.people } })
    raises("ArgumentError", "an engine", orm.Session, nil, { binds = { [place.User] = "sqlite://" } })
    raises("ArgumentError", "empty", orm.Session, nil, { binds = {} })
  end)

  it("come from a sessionmaker, too, and may be connections of the script", function()
    local place = open(by_base)
    local connection = place.logs:connect()
    local outer = connection:begin()
    local make = orm.sessionmaker { binds = { [place.People] = place.people, [place.Logs] = connection },
      join_transaction_mode = "create_savepoint" }
    local session = make()
    session:add_all { place.User { name = "ann" }, place.Entry { line = "a" } }
    session:commit()
    session:close()
    outer:rollback()
    assert.same({ "1|ann" }, rows(place.people, "SELECT * FROM users"))
    assert.same({}, rows(place.logs, "SELECT * FROM entry"))
  end)
end)
