-- What somebody does who comes from another library, or has not read the manual: nothing is left out unseen, and the error
-- says what to write instead.
local orm = require "orrery"
local raises = require "spec.support.raises"
local database = require "spec.support.database"
local Mapped, Optional, Integer, String, select_ = orm.Mapped, orm.Optional, orm.Integer, orm.String, orm.select

local Base = orm.declarative_base()
local Author = Base:model("Author", {
  __tablename__ = "author",
  id    = Mapped(Integer, { primary_key = true }),
  name  = Mapped(String(20)),
  books = orm.relationship("Book", { back_populates = "author" }),
})
local Book = Base:model("Book", {
  __tablename__ = "book",
  id        = Mapped(Integer, { primary_key = true }),
  title     = Mapped(Optional(String(20))),
  author_id = Mapped(Optional(Integer), orm.ForeignKey("author.id")),
  author    = orm.relationship("Author", { back_populates = "books" }),
})
local Row = Base:model("Row", { __tablename__ = "row", id = Mapped(Integer, { primary_key = true }) })

local engine, session, author
before_each(function()
  engine = orm.create_engine("sqlite://")
  Base.metadata:create_all(engine)
  session = orm.Session(engine)
  author = Author{ id = 1, name = "ann", books = { Book{ id = 1, title = "one" }, Book{ id = 2, title = "two" } } }
  session:add(author)
  session:commit()
end)
after_each(function() session:close() end)

local function count(class)
  return session:scalar(select_(orm.func.count(class.id)))
end

local function refused(words, fn, kind)
  return raises(kind or "ArgumentError", words, fn)
end

describe("a second object where one is taken", function()
  it("is refused by add, delete and expunge, which would leave it out", function()
    refused("add_all{ ... }", function() session:add(Book{}, Book{}) end)
    refused("takes one object", function() session:delete(author.books[1], author.books[2]) end)
    refused("takes one object", function() session:expunge(author.books[1], author.books[2]) end)
    assert.equal(0, #session.new)
    assert.equal(2, count(Book))
  end)

  it("is refused by append and remove", function()
    refused("extend{ ... }", function() author.books:append(Book{}, Book{}) end)
    refused("take one object", function() author.books:remove(author.books[1], author.books[2]) end)
    assert.equal(2, #author.books)
  end)

  it("does not stand in the way of calls whose results end with something else", function()
    local function make() return Book{ title = "three" }, "made" end
    session:add(make())
    author.books:append(make())
    session:commit()
    assert.equal(4, count(Book))
  end)
end)

describe("a collection's method", function()
  it("says what it takes", function()
    refused("an object is missing", function() author.books:append() end)
    refused("pop(position)", function() author.books:remove(1) end)
    refused("':'", function() author.books.append(Book{}) end)
  end)
end)

describe("a block that was closed from inside", function()
  it("of a connection is an error, since its work is gone", function()
    refused("closed inside begin(fn)", function()
      engine:begin(function(conn)
        conn:execute(orm.insert(Author):values{ name = "bob" })
        conn:close()
      end)
    end, "InvalidRequestError")
    assert.equal(1, count(Author))
  end)

  it("of a session, too", function()
    refused("closed inside begin(fn)", function()
      session:begin(function(own)
        own:add(Author{ name = "bob" })
        own:close()
      end)
    end, "InvalidRequestError")
    assert.equal(1, count(Author))
    session:commit()
    session:begin(function(own) own:add(Author{ name = "bob" }) end)
    assert.equal(2, count(Author))
  end)

  it("may be closed where it raises anyway", function()
    refused("own error", function()
      engine:begin(function(conn)
        conn:close()
        orm.event.listen(engine, "own error", print)
      end)
    end)
  end)
end)

describe("an insert of an empty list", function()
  it("is refused: it would write a row of defaults", function()
    local rows = {}
    refused("no rows to insert", function() session:execute(orm.insert(Row), rows) end)
    refused("no rows to insert", function() session:connection():execute(orm.insert(Row.__table__), rows) end)
    assert.equal(0, count(Row))
  end)

  it("writes a row of defaults where that is said", function()
    session:execute(orm.insert(Row):values{})
    session:execute(orm.insert(Row))
    session:execute(orm.insert(Row):values{ id = 7 }, {})
    assert.equal(3, count(Row))
  end)
end)

describe("a name from another library", function()
  local cases = {
    { "session:get(Author, key)", function() return Author:find(1) end },
    { "session:query(Author)", function() return Author:all() end },
    { "Author{ name = value }", function() return Author:create{} end },
    { "session:add(object)", function() author:save() end },
    { "session:delete(object)", function() author:delete() end },
    { "orm.to_table(object)", function() return author:to_dict() end },
    { "is_(orm.null)", function() return Author.name:is_null() end },
    { "not_in{ ... }", function() return Author.name:notin{ "x" } end },
    { ":values{", function() return orm.update(Author):set{ name = "x" } end },
    { ":outerjoin(", function() return select_(Author):left_join(Author.books) end },
    { "Base.metadata:create_all(engine)", function() Base:create_all(engine) end },
    { "session:connection()", function() Base.metadata:create_all(session) end },
    { "has(User.name:eq(...))", function() return Book.author.name:eq("ann") end },
    { "row.Author.name", function() return session:execute(select_(Author)):first().name end, "NoSuchColumnError" },
    { "result:one()", function() return session:execute(select_(Author.name)).name end },
  }
  for _, case in ipairs(cases) do
    it(("is answered with '%s'"):format(case[1]), function() refused(case[1], case[2], case[3]) end)
  end

  it("that has little in common with one of ours is not taken for that", function()
    local err = refused("has no attribute 'gone'", function() return author.gone end)
    assert.falsy(err.message:find("did you mean", 1, true))
  end)
end)

describe("what is no condition or column", function()
  local cases = {
    { "filter_by{ name = value }", function() return select_(Author):where{ name = "ann" } end },
    { "the relationship Author.books", function() return select_(Author):where(Author.books) end },
    { "the relationship Author.books", function() return select_(Author.books) end },
    { "is a method not called?", function() return select_(Author):order_by(Author.name.desc) end },
    { 'orm.desc("name")', function() return select_(Author):order_by("name desc") end },
    { 'orm.desc("name")', function() return select_(Author):order_by("-name") end },
    { "Author.name .. nil", function() return Author.name .. nil end },
    { "write Author{ ... }", function() return Book{ author = { name = "x" } } end },
    { "have the same names", function() session:execute(orm.insert(Book), { { id = 5 }, { id = 6, title = "x" } }) end },
    { "listen to its class", function() orm.event.listen(author, "load", print) end },
    { "autoflush is true or false", function() orm.Session(engine, { autoflush = "no" }) end },
  }
  for _, case in ipairs(cases) do
    it(("is told '%s'"):format(case[1]), function() refused(case[1], case[2]) end)
  end

  it("is told in the script's line, not by a fault of the library", function()
    local mistakes = {
      { "takes a function to run", function() session:no_autoflush() end },
      { "include is a list of relationships", function() orm.to_table(author, { include = "books" }) end },
      { "a function of the message expected", function() orm.on_warning(5) end },
      { "update is a list", function() session:upsert(Author, { { id = 1, name = "x" } }, { update = "name" }) end },
      { "index_elements is a list", function()
        session:upsert(Author, { { id = 1, name = "x" } }, { index_elements = "id" })
      end },
      { "write select(...) of it", function() local _ = select_(Author.id):union(Author) end },
      { "name one of its columns", function() local _ = orm.func.count(Author) end },
    }
    for _, case in ipairs(mistakes) do
      assert.truthy(refused(case[1], case[2]).where:find("newcomer_spec", 1, true))
    end
    author.name = "anna"
    session:flush()
    refused("the first statement begins one", function() session:begin(print) end, "InvalidRequestError")
    refused("the first statement begins one", function() session:begin() end, "InvalidRequestError")
  end)

  it("is told so for the order of a relationship", function()
    local Other = orm.declarative_base()
    Other:model("P", { __tablename__ = "p", id = Mapped(Integer, { primary_key = true }),
      list = orm.relationship("C", { order_by = "C.id desc" }) })
    Other:model("C", { __tablename__ = "c", id = Mapped(Integer, { primary_key = true }),
      p_id = Mapped(Integer, orm.ForeignKey("p.id")) })
    refused('orm.desc("id")', function() Other.registry:configure() end)
  end)
end)

describe("what the database refuses", function()
  local function hint(words, kind, fn)
    local err = raises(kind, {}, fn)
    assert.truthy(err.hint and err.hint:find(words, 1, true), tostring(err.hint))
  end

  it("names the foreign keys that may be meant", function()
    hint("book refers to does not exist (author_id -> author)", "IntegrityError", function()
      session:execute(orm.insert(Book):values{ author_id = 99 })
    end)
    hint("rows of book (author_id) refer to the row", "IntegrityError", function()
      session:execute(orm.delete(Author):where(Author.id:eq(1)))
    end)
  end)

  it("names the relationship that was to unlink a row whose foreign key takes no NULL", function()
    local Own = orm.declarative_base()
    local Team = Own:model("Team", { __tablename__ = "team", id = Mapped(Integer, { primary_key = true }),
      members = orm.relationship("Member", { back_populates = "team" }) })
    local Member = Own:model("Member", { __tablename__ = "member", id = Mapped(Integer, { primary_key = true }),
      team_id = Mapped(Integer, orm.ForeignKey("team.id")), team = orm.relationship("Team", { back_populates = "members" }) })
    Own.metadata:create_all(engine)
    local team = Team{ members = { Member{} } }
    session:add(team)
    session:commit()
    session:delete(team)
    hint("Team.members sets member.team_id NULL", "IntegrityError", function() session:flush() end)
    session:rollback()
    session:add(Member{})
    hint("takes no NULL", "IntegrityError", function() session:flush() end)
  end)

  it("says that create_all() leaves tables as they are", function()
    local old = orm.create_engine("sqlite://")
    database.run(old, "CREATE TABLE author (id INTEGER PRIMARY KEY)")
    hint("ALTER TABLE", "OperationalError", function() orm.Session(old):scalars(select_(Author)):all() end)
  end)

  it("says where VACUUM runs, and what a key takes", function()
    hint("AUTOCOMMIT", "OperationalError", function()
      engine:begin(function(conn) conn:execute(orm.text("VACUUM")) end)
    end)
    hint("no NULL", "IntegrityError", function()
      author.books[1].id = nil
      session:flush()
    end)
  end)

  it("says that a commit waits for readers", function()
    local path, remove = database.file()
    local file = orm.create_engine("sqlite:///" .. path, { timeout = 0 })
    database.run(file, "CREATE TABLE t (a INTEGER)")
    local reader, writer = file:connect(), file:connect()
    reader:execute(orm.text("SELECT * FROM t"))
    writer:execute(orm.text("INSERT INTO t VALUES (1)"))
    hint("waits for all who read", "OperationalError", function() writer:commit() end)
    reader:close()
    writer:commit()
    writer:close()
    file:dispose()
    remove()
  end)

  it("says that a file is no database before anything is asked", function()
    local path, remove = database.file()
    local file = assert(io.open(path, "wb"))
    file:write(("no database "):rep(200))
    file:close()
    hint("another kind of file", "DatabaseError", function() orm.create_engine("sqlite:///" .. path):connect() end)
    remove()
  end)
end)
