-- Savepoints of a session: rows and objects go back together.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local function state(object)
  return orm.inspect(object).state
end

describe("begin_nested", function()
  it("flushes first, and keeps what was done when it commits", function()
    local lib = library.empty()
    lib.session:add(lib.Author { name = "outer" })
    local nested = lib.session:begin_nested()
    assert.same({ "1|outer" }, rows(lib.session, "SELECT * FROM author"))
    lib.session:add(lib.Author { name = "inner" })
    nested:commit()
    assert.is_false(nested.is_active)
    lib.session:commit()
    assert.same({ "1|outer", "2|inner" }, rows(lib.engine, "SELECT * FROM author ORDER BY id"))
  end)

  it("takes back rows and objects", function()
    local lib = library.open()
    local session = lib.session
    local before, flushed, pending = lib.Author { name = "before" }, lib.Author { name = "flushed" }, lib.Author { name = "p" }
    local changed, deleted = session:get(lib.Book, 1), session:get(lib.Book, 3)
    session:add(before)
    local nested = session:begin_nested()
    session:add(flushed)
    changed.title = "changed"
    session:delete(deleted)
    session:flush()
    session:add(pending)
    changed.year = 1
    nested:rollback()
    assert.same({ "persistent", "transient", "transient", "persistent", "persistent" },
      { state(before), state(flushed), state(pending), state(changed), state(deleted) })
    assert.equal("b1 2000", changed.title .. " " .. changed.year)
    assert.equal("before", before.name)
    assert.equal(deleted, session:get(lib.Book, 3))
    assert.same({}, session.dirty)
    session:commit()
    assert.same({ "3" }, rows(lib.engine, "SELECT count(*) FROM author"))
    assert.same({ "4" }, rows(lib.engine, "SELECT count(*) FROM book"))
  end)

  it("nests: an inner one that is kept goes with the outer one", function()
    local lib = library.empty()
    local session = lib.session
    local one, two = lib.Author { name = "1" }, lib.Author { name = "2" }
    local outer = session:begin_nested()
    session:add(one)
    local inner = session:begin_nested()
    session:add(two)
    inner:commit()
    assert.same({ "persistent", "persistent" }, { state(one), state(two) })
    outer:rollback()
    assert.same({ "transient", "transient" }, { state(one), state(two) })
    assert.same({}, rows(session, "SELECT * FROM author"))
  end)

  it("ends with the transaction around it", function()
    local lib = library.empty()
    local outer = lib.session:begin_nested()
    local inner = lib.session:begin_nested()
    outer:rollback()
    assert.is_false(inner.is_active)
    inner:rollback()
    raises("InvalidRequestError", "ended already", inner.commit, inner)
    local nested = lib.session:begin_nested()
    lib.session:commit()
    assert.is_false(nested.is_active)
    nested = lib.session:begin_nested()
    lib.session:rollback()
    assert.is_false(nested.is_active)
  end)

  it("with a function returns what it returns, or rolls back and raises the same error", function()
    local lib = library.empty()
    local session = lib.session
    local kept, lost = lib.Author { name = "kept" }, lib.Author { name = "lost" }
    assert.same({ 1, 2 }, { session:begin_nested(function(own)
      assert.equal(session, own)
      own:add(kept)
      return 1, 2
    end) })
    local problem = {}
    local ok, err = pcall(session.begin_nested, session, function()
      session:add(lost)
      session:flush()
      error(problem)
    end)
    assert.is_false(ok)
    assert.equal(problem, err)
    session:commit()
    assert.same({ "1|kept" }, rows(lib.engine, "SELECT * FROM author"))
    assert.equal("transient", state(lost))
    raises("ArgumentError", "a function", session.begin_nested, session, nil)
  end)

  it("puts changed keys back", function()
    local lib = library.open()
    local session = lib.session
    run(lib.engine, "DELETE FROM book_tag")
    local book = session:get(lib.Book, 3)
    book.id = 30
    local nested = session:begin_nested()
    book.id = 31
    session:flush()
    assert.equal(book, session:get(lib.Book, 31))
    nested:rollback()
    assert.equal(30, book.id)
    assert.equal(book, session:get(lib.Book, 30))
    assert.is_nil(session:get(lib.Book, 31))
    session:rollback()
    assert.equal(3, book.id)
    assert.equal(book, session:get(lib.Book, 3))
    assert.equal("b3", book.title)
  end)

  it("lets what it has deleted be deleted again", function()
    local lib = library.open()
    local tag = lib.session:get(lib.Tag, 2)
    local nested = lib.session:begin_nested()
    lib.session:delete(tag)
    lib.session:flush()
    assert.equal("deleted", state(tag))
    nested:rollback()
    lib.session:delete(tag)
    lib.session:commit()
    assert.equal("detached", state(tag))
    assert.same({ "1|t1" }, rows(lib.engine, "SELECT * FROM tag"))
  end)
end)

describe("a new object under the key of one that is deleted", function()
  it("takes over its row by an UPDATE", function()
    local lib = library.open()
    local former, new = lib.session:get(lib.Book, 3), lib.Book { id = 3, title = "new", author_id = 1 }
    lib.session:delete(former)
    lib.session:add(new)
    lib.record:take()
    lib.session:flush()
    local sent = lib.record:headlines()
    assert.same({ "UPDATE book SET author_id, title", "DELETE book_tag" }, sent)
    assert.same({ "deleted", "persistent" }, { state(former), state(new) })
    assert.same({ "3|1|new|2000" }, rows(lib.session, "SELECT * FROM book WHERE id = 3"))
    assert.equal(2000, new.year)
    assert.equal(new, lib.session:get(lib.Book, 3))
    lib.session:rollback()
    assert.same({ "persistent", "transient" }, { state(former), state(new) })
    assert.equal(former, lib.session:get(lib.Book, 3))
    assert.equal("b3", former.title)
  end)

  it("gets links of its own", function()
    local lib = library.open()
    local former, tag = lib.session:get(lib.Book, 1), lib.session:get(lib.Tag, 2)
    lib.session:delete(former)
    lib.session:add(lib.Book { id = 1, title = "new", tags = { tag } })
    lib.session:commit()
    assert.same({ "1|2", "2|1" }, rows(lib.engine, "SELECT * FROM book_tag ORDER BY 1, 2"))
    assert.same({ "1|1|new|2000" }, rows(lib.engine, "SELECT * FROM book WHERE id = 1"))
  end)
end)

it("savepoints in savepoints give each its own rows and objects back", function()
  local lib = library.open({ books = { cascade = "all, delete-orphan" } })
  local session = lib.session
  local author = session:get(lib.Author, 1)
  local first = session:begin_nested()
  author.name = "one"
  local new = lib.Book { title = "new" }
  author.books:append(new)
  local second = session:begin_nested()
  local gone = author.books[1]
  session:delete(gone)
  author.name = "two"
  local third = session:begin_nested()
  author.id = 50
  author.books:append(lib.Book { title = "third" })
  local waiting = lib.Tag { name = "waits" }
  session:add(waiting)
  third:rollback()
  assert.same({ 1, "two", 2, "persistent", "deleted", "transient" }, { author.id, author.name, #author.books,
    orm.inspect(new).state, orm.inspect(gone).state, orm.inspect(waiting).state })
  second:rollback()
  assert.same({ "one", 3, "persistent", "persistent" }, { author.name, #author.books, orm.inspect(new).state,
    orm.inspect(gone).state })
  first:rollback()
  assert.same({ "a1", 2, "transient", "new" }, { author.name, #author.books, orm.inspect(new).state, new.title })
  session:add(new)
  session:commit()
  assert.same({ "1|b1", "2|b2", "5|new" }, rows(lib.engine, "SELECT id, title FROM book WHERE id NOT IN (3, 4) ORDER BY id"))
end)

it("a key that was changed within a savepoint counts as unchanged afterwards", function()
  local lib = library.open()
  database.run(lib.engine, "DELETE FROM book_tag")
  local tag = lib.session:get(lib.Tag, 2)
  local nested = lib.session:begin_nested()
  tag.id = 50
  lib.session:flush()
  nested:rollback()
  assert.equal("t2", tag.name)
  assert.same({ unchanged = { 2 }, added = {}, deleted = {} }, orm.inspect(tag).attrs.id.history)
  assert.is_false(lib.session:is_modified(tag))
end)

describe("a session on a connection", function()
  it("works in the transaction that is open there, and leaves it to its owner", function()
    local lib = library.empty()
    local conn = lib.engine:connect()
    conn:begin()
    local session = orm.Session(conn)
    assert.equal(conn, session:connection())
    session:add(lib.Author { name = "x" })
    session:commit()
    session:close()
    assert.is_true(conn:in_transaction())
    conn:rollback()
    conn:close()
    assert.same({}, rows(lib.engine, "SELECT * FROM author"))
  end)

  it("rolls back to a savepoint of its own where it is told to", function()
    local lib = library.empty()
    local conn = lib.engine:connect()
    conn:begin()
    conn:execute(orm.text("INSERT INTO author (name) VALUES ('owner')"))
    local session = orm.Session(conn, { join_transaction_mode = "create_savepoint" })
    session:add(lib.Author { name = "gone" })
    session:flush()
    session:rollback()
    session:add(lib.Author { name = "kept" })
    session:commit()
    session:close()
    conn:commit()
    conn:close()
    assert.same({ "owner", "kept" }, rows(lib.engine, "SELECT name FROM author ORDER BY id"))
  end)

  -- What is open on the connection, the mode, how the session ends; then whether a transaction is still open, and rows
  -- in it.
  local ENDS = {
    "begin conditional_savepoint commit: open 1", "begin conditional_savepoint rollback: closed",
    "begin rollback_only commit: open 1", "begin rollback_only rollback: closed",
    "begin control_fully commit: closed 1", "begin control_fully rollback: closed",
    "begin create_savepoint commit: open 1", "begin create_savepoint rollback: open 0",
    "savepoint conditional_savepoint commit: open 1", "savepoint conditional_savepoint rollback: open 0",
    "savepoint rollback_only commit: open 1", "savepoint rollback_only rollback: closed",
    "savepoint control_fully commit: closed 1", "savepoint control_fully rollback: closed",
    "savepoint create_savepoint commit: open 1", "savepoint create_savepoint rollback: open 0",
  }

  it("ends what its mode lets it end, and no more", function()
    local seen = {}
    for position, line in ipairs(ENDS) do
      local outer, mode, ending = line:match("^(%S+) (%S+) (%w+)")
      local lib = library.empty()
      local conn = lib.engine:connect()
      conn:begin()
      if outer == "savepoint" then
        conn:begin_nested()
      end
      local session = orm.Session(conn, { join_transaction_mode = mode })
      session:add(lib.Author { name = "x" })
      session:flush()
      session[ending](session)
      local open = conn:in_transaction()
      local count = conn:execute(orm.text("SELECT count(*) FROM author")):scalar()
      seen[position] = ("%s %s %s: %s%s"):format(outer, mode, ending, open and "open" or "closed",
        (open or count > 0) and " " .. count or "")
      session:close()
      conn:close()
    end
    assert.same(ENDS, seen)
  end)

  it("owns the transaction where none was open", function()
    local lib = library.empty()
    local conn = lib.engine:connect()
    local session = orm.Session(conn)
    session:add(lib.Author { name = "x" })
    session:commit()
    conn:close()
    assert.same({ "1|x" }, rows(lib.engine, "SELECT * FROM author"))
  end)

  it("refuses unknown ways to join", function()
    local lib = library.empty()
    raises("ArgumentError", "'rollback_only'", orm.Session, lib.engine, { join_transaction_mode = "rollback_onyl" })
    raises("ArgumentError", "an engine", orm.Session, 5)
  end)
end)

describe("a unique value", function()
  local function open(options)
    local base = orm.declarative_base()
    local place = { T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
      code = orm.Column(orm.Text, { unique = true }), kids = orm.relationship("K", { back_populates = "t" }) }) }
    place.K = base:model("K", { __tablename__ = "k", id = orm.Column(orm.Integer, { primary_key = true }),
      t_id = orm.Column(orm.ForeignKey("t.id", options)), t = orm.relationship("T", { back_populates = "kids" }) })
    place.engine = database.create(base)
    place.session = orm.Session(place.engine)
    run(place.engine, "INSERT INTO t VALUES (1, 'A'), (2, 'B')", "INSERT INTO k VALUES (1, 1), (2, 1)")
    return place
  end

  it("goes from a deleted object to a new one in one flush, children and all", function()
    local place = open()
    local former, new = place.session:get(place.T, 1), place.T { code = "A" }
    local kid = former.kids[1]
    place.session:add(new)
    new.kids:append(kid)
    place.session:delete(former)
    place.session:commit()
    assert.same({ "2|B", "3|A" }, rows(place.engine, "SELECT * FROM t ORDER BY id"))
    assert.same({ "1|3", "2|NULL" }, rows(place.engine, "SELECT * FROM k ORDER BY id"))
    assert.same({}, rows(place.engine, "PRAGMA foreign_key_check"))
  end)

  it("that nobody gives up is an error, and foreign keys are checked as before", function()
    local place = open()
    place.session:delete(place.session:get(place.T, 1))
    place.session:add(place.T { code = "B" })
    raises("IntegrityError", "UNIQUE", place.session.flush, place.session)
    assert.same({ 1, 1 }, { #place.session.new, #place.session.deleted })
    place.session:no_autoflush(function()
      assert.is_false((pcall(run, place.session, "INSERT INTO k VALUES (9, 99)")))
    end)
    place.session:rollback()
    assert.same({ "1|1", "2|1" }, rows(place.engine, "SELECT * FROM k ORDER BY id"))
  end)
end)
