-- Factories of sessions, scopes, and what a session carries.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local listen = orm.event.listen

describe("a sessionmaker", function()
  it("makes sessions of its options; those of the call go first", function()
    local lib = library.empty()
    local make = orm.sessionmaker(lib.engine, { expire_on_commit = false, info = { app = "shop", user = "none" } })
    local one, two = make(), make { expire_on_commit = true, info = { user = "ann" } }
    assert.is_false(one.expire_on_commit)
    assert.is_true(two.expire_on_commit)
    assert.same({ app = "shop", user = "none" }, one.info)
    assert.same({ app = "shop", user = "ann" }, two.info)
    one.info.user = "bob"
    assert.equal("none", make().info.user)
  end)

  it("may be given its engine later", function()
    local lib = library.empty()
    local make = orm.sessionmaker { autoflush = false }
    raises("ArgumentError", "an engine", make)
    local other = make { bind = lib.engine }
    assert.equal(lib.engine, other.engine)
    make:configure { bind = lib.engine }
    assert.equal(lib.engine, make().engine)
    assert.is_false(make().autoflush)
  end)

  it("runs a function in a session and a transaction of its own", function()
    local lib = library.empty()
    local make, used = orm.sessionmaker(lib.engine), nil
    assert.equal("done", make:begin(function(session)
      used = session
      session:add(lib.Author { name = "x" })
      return "done"
    end))
    assert.same({ "1|x" }, rows(lib.engine, "SELECT * FROM author"))
    assert.is_false(used:in_transaction())
    local author
    local ok, err = pcall(make.begin, make, function(session)
      author = lib.Author { name = "y" }
      session:add(author)
      session:flush()
      error("no", 0)
    end)
    assert.same({ false, "no" }, { ok, err })
    assert.same({ "1|x" }, rows(lib.engine, "SELECT * FROM author"))
    assert.is_nil(orm.object_session(author))
  end)

  it("refuses what it does not know", function()
    local lib = library.empty()
    raises("ArgumentError", "did you mean 'autoflush'", orm.sessionmaker, lib.engine, { autoflsh = true })
    raises("ArgumentError", "did you mean 'autoflush'", orm.sessionmaker(lib.engine), { autoflsh = true })
    raises("ArgumentError", "given twice", orm.sessionmaker, lib.engine, { bind = lib.engine })
    raises("ArgumentError", "an engine", orm.sessionmaker, 5)
    local make = orm.sessionmaker(lib.engine)
    raises("ArgumentError", "use ':'", make.configure, { autoflush = true })
  end)

  it("is listened to for all of its sessions", function()
    local lib, seen = library.empty(), {}
    local make = orm.sessionmaker(lib.engine)
    local before = make()
    local common = listen(make, "before_commit", function() seen[#seen + 1] = "common" end)
    local after = make()
    listen(after, "before_commit", function() seen[#seen + 1] = "own" end)
    before:commit()
    after:commit()
    assert.same({ "common", "common", "own" }, seen)
    orm.event.remove(after, "before_commit", common)
    after:commit()
    lib.session:commit()
    assert.same({ "common", "common", "own", "own" }, seen)
  end)
end)

it("a session may be given its engine by name", function()
  local lib = library.empty()
  assert.equal(lib.engine, orm.Session({ bind = lib.engine }).engine)
  assert.equal(lib.engine, lib.session:get_bind())
  local conn = lib.engine:connect()
  assert.equal(conn, orm.Session(conn):get_bind())
  conn:close()
end)

it("a session's info is the script's own", function()
  local lib = library.empty()
  local given = { user = 5 }
  local session = orm.Session(lib.engine, { info = given })
  assert.same({ user = 5 }, session.info)
  session.info.user = 6
  assert.same({ user = 5 }, given)
  assert.same({}, lib.session.info)
end)

describe("a scoped session", function()
  it("is one session for each scope", function()
    local lib, scope = library.empty(), "a"
    local scoped = orm.scoped_session(orm.sessionmaker(lib.engine), function() return scope end)
    local author = lib.Author { name = "x" }
    scoped:add(author)
    assert.equal(scoped(), orm.object_session(author))
    assert.equal(1, #scoped.new)
    scope = "b"
    assert.equal(0, #scoped.new)
    assert.is_false(scoped:contains(author))
    scope = "a"
    scoped:commit()
    assert.equal(author, scoped:get(lib.Author, 1))
    scoped:remove()
    assert.equal("detached", orm.inspect(author).state)
    assert.equal(0, #scoped.new)
    assert.are_not.equal(author, scoped:get(lib.Author, 1))
  end)

  it("has the whole program for its scope where none is given, and takes any function that makes sessions", function()
    local lib = library.empty()
    local scoped = orm.scoped_session(function() return orm.Session(lib.engine) end)
    assert.equal(scoped(), scoped())
    local inside
    coroutine.wrap(function() inside = scoped() end)()
    assert.equal(scoped(), inside)
  end)

  it("says what it cannot do", function()
    local lib = library.empty()
    raises("ArgumentError", "sessionmaker", orm.scoped_session, lib.engine)
    local scoped = orm.scoped_session(orm.sessionmaker(lib.engine), function() end)
    raises("InvalidRequestError", "no session outside a scope", function() return scoped.new end)
    scoped = orm.scoped_session(orm.sessionmaker(lib.engine))
    raises("ArgumentError", "did you mean 'commit'", function() return scoped.comit end)
    raises("ArgumentError", "use ':'", scoped.add, lib.Author {})
  end)
end)

describe("a session tells", function()
  it("when it takes a connection", function()
    local lib, seen = library.open(), {}
    listen(lib.session, "after_begin", function(session, connection)
      assert.equal(lib.session, session)
      seen[#seen + 1] = connection:execute(orm.text("SELECT count(*) FROM tag")):scalar()
    end)
    lib.session:get(lib.Author, 1)
    lib.session:get(lib.Author, 2)
    assert.same({ 2 }, seen)
    lib.session:commit()
    lib.session:get(lib.Author, 1)
    assert.same({ 2, 2 }, seen)
  end)

  it("after a flush is over, when objects are what they are", function()
    local lib, seen = library.empty(), {}
    local author = lib.Author { name = "x" }
    listen(lib.session, "after_flush", function(session) seen[#seen + 1] = #session.new end)
    listen(lib.session, "after_flush_postexec", function(session)
      seen[#seen + 1] = #session.new
      seen[#seen + 1] = orm.inspect(author).state
      author.name = "y"
    end, { once = true })
    lib.session:add(author)
    lib.session:commit()
    assert.same({ 1, 0, "persistent", 0 }, seen)
    assert.same({ "1|y" }, rows(lib.engine, "SELECT * FROM author"))
  end)

  it("when a flush has written and before its objects agree: what was new is new still", function()
    local lib, seen = library.open(), {}
    local author = lib.Author { name = "x" }
    listen(lib.session, "after_flush", function(session)
      seen = { #session.new, #session.deleted, author.id, orm.inspect(author).state,
        orm.inspect(lib.session:get(lib.Tag, 1)).attrs.name.history.deleted[1] }
    end)
    lib.session:add(author)
    lib.session:get(lib.Tag, 1).name = "changed"
    lib.session:delete(lib.session:get(lib.Tag, 2))
    lib.session:flush()
    assert.same({ 1, 1, 3, "pending", "t1" }, seen)
  end)

  it("and takes the flush back where a listener fails at its end", function()
    local lib = library.empty()
    listen(lib.session, "after_flush", function() error("no", 0) end, { once = true })
    local author = lib.Author { name = "x" }
    lib.session:add(author)
    assert.same({ false, "no" }, { pcall(lib.session.flush, lib.session) })
    assert.same({ "pending" }, { orm.inspect(author).state, author.id })
    lib.session:commit()
    assert.same({ "1|x" }, rows(lib.engine, "SELECT * FROM author"))
  end)

  it("of rollbacks, those to savepoints too", function()
    local lib, seen = library.open(), {}
    listen(lib.session, "after_soft_rollback", function(session, nested)
      seen[#seen + 1] = (nested and "savepoint" or "all") .. tostring(session:in_transaction())
    end)
    listen(lib.session, "after_rollback", function() seen[#seen + 1] = "rollback" end)
    lib.session:begin_nested():rollback()
    lib.session:rollback()
    assert.same({ "savepointtrue", "rollback", "allfalse" }, seen)
  end)

  it("of what comes in, by whatever way", function()
    local lib, seen = library.open(), {}
    for _, name in ipairs { "before_attach", "after_attach", "transient_to_pending", "detached_to_persistent" } do
      listen(lib.session, name, function(session, object)
        assert.equal(lib.session, session)
        seen[#seen + 1] = ("%s %s %s"):format(name, tostring(object):match("'(%w+)'"), orm.inspect(object).state)
      end)
    end
    local author = lib.session:get(lib.Author, 1)
    author.books:append(lib.Book { title = "cascaded" })
    assert.same({ "before_attach cascaded transient", "after_attach cascaded pending", "transient_to_pending cascaded pending" },
      seen)
    seen = {}
    lib.session:expunge(author)
    lib.session:add(author)
    assert.same({ "before_attach a1 detached", "after_attach a1 persistent", "detached_to_persistent a1 persistent" }, seen)
  end)

  it("before something comes in, which a listener may refuse, or do itself", function()
    local lib = library.empty()
    local refuse = listen(lib.session, "before_attach", function() error("no", 0) end)
    local author = lib.Author {}
    assert.same({ false, "no" }, { pcall(lib.session.add, lib.session, author) })
    assert.equal("transient", orm.inspect(author).state)
    orm.event.remove(lib.session, "before_attach", refuse)
    listen(lib.session, "before_attach", function(session, object) session:add(object) end, { once = true })
    lib.session:add(author)
    assert.equal(1, #lib.session.new)
    lib.session:commit()
    assert.same({ "1|NULL" }, rows(lib.engine, "SELECT * FROM author"))
  end)
end)
