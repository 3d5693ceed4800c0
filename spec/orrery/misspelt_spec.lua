-- Names that an object does not have: the error says which is near, where Lua's own would say "a nil value".
local orm = require "orrery"
local raises = require "spec.support.raises"

local Base = orm.declarative_base()
local User = Base:model("User", {
  __tablename__ = "user",
  id = orm.Mapped(orm.Integer, { primary_key = true }),
  name = orm.Mapped(orm.Text),
  posts = orm.relationship("Post", { back_populates = "user" }),
})
Base:model("Post", {
  __tablename__ = "post",
  id = orm.Mapped(orm.Integer, { primary_key = true }),
  user_id = orm.Mapped(orm.Integer, orm.ForeignKey("user.id")),
  user = orm.relationship("User", { back_populates = "posts" }),
})
local users = User.__table__
local engine = orm.create_engine("sqlite://")
Base.metadata:create_all(engine)
local select = orm.select
local some = select(users)

-- What is misspelt on what, and what the error says of it.
local CASES = {
  { some, "oder_by", "a select has no 'oder_by'; did you mean 'order_by'?" },
  { some:union(some), "oder_by", "a union has no 'oder_by'; did you mean 'order_by'?" },
  { orm.insert(users), "valeus", "an insert has no 'valeus'; did you mean 'values'?" },
  { orm.update(users), "valeus", "an update has no 'valeus'; did you mean 'values'?" },
  { orm.delete(users), "were", "a delete has no 'were'; did you mean 'where'?" },
  { orm.text("SELECT 1"), "bindparam", "an expression has no 'bindparam'; did you mean 'bindparams'?" },
  { users.c.name, "liek", "an expression has no 'liek'; did you mean 'like'?" },
  { users.c.name, "defualt", "an expression has no 'defualt'; did you mean 'default'?" },
  { User.name, "startwith", "an expression has no 'startwith'; did you mean 'startswith'?" },
  { orm.aliased(User).name, "liek", "did you mean 'like'?" },
  { orm.func.count(), "ovr", "did you mean 'over'?" },
  { orm.case_(), "whn", "did you mean 'when'?" },
  { User.posts, "anny", "a relationship has no 'anny'; did you mean 'any'?" },
  { users, "jion", "a Table has no 'jion'; did you mean 'join'? (columns are under .c" },
  { users, "email", "a Table has no 'email'; columns are under .c, as in table.c.email" },
  { users:alias("u"), "email", "columns are under .c" },
  { some:subquery(), "jion", "did you mean 'join'?" },
  { Base.metadata, "create_al", "a MetaData has no 'create_al'; did you mean 'create_all'?" },
  { engine, "conect", "an engine has no 'conect'; did you mean 'connect'?" },
  { engine, "execute", "an engine has no 'execute'; statements run on a connection: engine:begin(" },
  { engine.pool, "staus", "a pool has no 'staus'; did you mean 'status'?" },
  { engine.url, "databse", "a URL has no 'databse'; did you mean 'database'?" },
  { orm.inspector(engine), "get_colums", "an inspector has no 'get_colums'; did you mean 'get_columns'?" },
  { orm.sessionmaker(engine), "begn", "a sessionmaker has no 'begn'; did you mean 'begin'?" },
  { orm.selectinload(User.posts), "joinedlaod", "a loader option has no 'joinedlaod'; did you mean 'joinedload'?" },
  { orm.DDL("SELECT 1"), "compil", "DDL has no 'compil'; did you mean 'compile'?" },
}

describe("a name that is misspelt", function()
  for _, case in ipairs(CASES) do
    local object, name, words = case[1], case[2], case[3]
    it("is told for " .. tostring(object) .. ": " .. name, function()
      local err = raises("ArgumentError", words, function()
        object[name](object)
      end)
      assert.truthy(tostring(err):find("misspelt_spec.lua:%d+: "), tostring(err))
    end)
  end

  it("is told of connections, transactions, savepoints and queries", function()
    local conn = engine:connect()
    raises("ArgumentError", "a connection has no 'excute'; did you mean 'execute'?", function() conn:excute(some) end)
    local transaction = conn:begin()
    raises("ArgumentError", "a transaction has no 'comit'; did you mean 'commit'?", function() transaction:comit() end)
    conn:close()
    orm.with(orm.Session(engine), function(session)
      raises("ArgumentError", "a query has no 'fitler'; did you mean 'filter'?", function() session:query(User):fitler() end)
      local savepoint = session:begin_nested()
      raises("ArgumentError", "a savepoint has no 'rolback'; did you mean 'rollback'?", function() savepoint:rolback() end)
    end)
  end)

  it("is no matter of names that may be absent, of positions and of other libraries' marks", function()
    local bare = orm.Column("bare", orm.Integer)
    for _, name in ipairs{ "default", "server_default", "onupdate", "comment", "table", "computed", "collation" } do
      assert.is_nil(bare[name])
    end
    assert.is_nil(users.schema)
    assert.is_nil(users.comment)
    assert.is_nil(orm.Text.length)
    assert.is_nil(engine.url.password)
    assert.is_nil(engine.engine)
    for _, object in ipairs{ some, users, users.c.name, engine, orm.Text } do
      assert.is_nil(object[0])
      assert.is_nil(object.__index)
      assert.is_nil(object._mine)
    end
  end)
end)
