-- What users of SQLAlchemy rely on: states of objects, rows, and the kind and order of statements. Each block is one
-- behaviour; eager loading has specs of its own.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local BOOKS = "SELECT id, author_id, title, year FROM book ORDER BY id"
local OWNED = { books = { cascade = "all, delete-orphan" } }

-- The warnings that fn gives.
local function warnings(fn)
  local list = {}
  local former = orm.on_warning(function(message) list[#list + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(former)
  if not ok then
    error(err, 0)
  end
  return list
end

local function state(object)
  local about = orm.inspect(object)
  for _, name in ipairs { "transient", "pending", "persistent", "deleted", "detached" } do
    if about[name] then
      return name
    end
  end
end

local function ids(list)
  local found = {}
  for _, object in list do
    found[#found + 1] = object.id or "new"
  end
  return table.concat(found, " ")
end

-- A base with the given bodies, its tables, an engine with foreign keys on (or not) and a session.
local function open(declare, options)
  local place = { base = orm.declarative_base() }
  declare(place.base, place)
  place.engine = orm.create_engine("sqlite://")
  if options and options.foreign_keys == false then
    place.engine:dispose()
    place.engine = orm.create_engine("sqlite://", { foreign_keys = false })
  end
  place.base.metadata:create_all(place.engine)
  place.session = orm.Session(place.engine)
  place.record = statements.record(place.engine)
  return place
end

describe("a flush", function()
  it("inserts a parent before the child that brought it", function()
    local lib = library.empty()
    local book, author = lib.Book { title = "b" }, lib.Author { name = "a" }
    book.author = author
    lib.session:add(book)
    lib.session:flush()
    assert.same({ "INSERT author", "INSERT book" }, lib.record:headlines())
    assert.same({ "persistent", "persistent" }, { state(book), state(author) })
    assert.same({ "1|1" }, rows(lib.session, "SELECT id, author_id FROM book"))
  end)

  it("deletes children before their parent, in one statement, whatever was marked first", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local books = author.books:to_table()
    lib.record:take()
    lib.session:delete(author)
    for _, book in ipairs(books) do
      lib.session:delete(book)
    end
    lib.session:flush()
    local sent = lib.record:headlines()
    local kept = {}
    for _, line in ipairs(sent) do
      if not line:find("^SELECT") and line ~= "DELETE book_tag" then
        kept[#kept + 1] = line
      end
    end
    assert.same({ "DELETE book", "DELETE author" }, kept)
  end)

  it("updates in the order of keys; neighbours with the same columns share a statement", function()
    local lib = library.open()
    local books = lib.session:scalars(orm.select(lib.Book):order_by(lib.Book.id)):all()
    lib.record:take()
    books[4].year, books[2].year, books[1].year, books[3].title = 1, 7, 7, "x"
    lib.session:flush()
    assert.same({ "UPDATE book SET year", "UPDATE book SET title", "UPDATE book SET year" }, lib.record:headlines())
  end)

  it("that finds no row to update raises StaleDataError", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    run(lib.session, "DELETE FROM book WHERE id = 3")
    book.title = "x"
    raises("StaleDataError", "1 row", lib.session.flush, lib.session)
  end)

  it("that finds no row to delete warns", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    run(lib.session, "DELETE FROM book WHERE id = 3")
    lib.session:delete(book)
    assert.equal(1, #warnings(function() lib.session:flush() end))
  end)

  it("reads what the database made of a new row with the INSERT itself", function()
    local place = open(function(base, place)
      place.T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
        x = orm.Column(orm.Integer), status = orm.Column(orm.Text, { server_default = "new" }) })
    end)
    local object = place.T { x = 1 }
    place.session:add(object)
    place.session:flush()
    assert.equal("new", object.status)
    assert.same({ "INSERT t" }, place.record:headlines())
  end)

  it("writes an SQL expression, and the value is read when it is asked for", function()
    local place = open(function(base, place)
      place.T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
        x = orm.Column(orm.Integer) })
    end)
    place.session:add(place.T { x = 5 })
    place.session:commit()
    local object = place.session:get(place.T, 1)
    place.record:take()
    object.x = place.T.x + 1
    place.session:flush()
    assert.same({ "UPDATE t SET x" }, place.record:headlines())
    assert.equal(6, object.x)
  end)
end)

describe("deleting a parent", function()
  it("without cascade loads its children and takes their foreign keys away, first", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.record:take()
    lib.session:flush()
    assert.same({ "SELECT book", "UPDATE book SET author_id", "DELETE author" }, lib.record:headlines())
    assert.same({ "1|NULL", "2|NULL" }, rows(lib.session, "SELECT id, author_id FROM book WHERE id < 3 ORDER BY id"))
  end)

  it("whose children may not be without fails, and takes nothing along: the session goes on", function()
    local lib = library.open { author_id = { nullable = false } }
    local author = lib.session:get(lib.Author, 1)
    lib.session:delete(author)
    raises("IntegrityError", "NOT NULL", lib.session.flush, lib.session)
    lib.session:rollback()
    assert.equal(4, lib.session:scalar(orm.select(orm.func.count(lib.Book.id))))
    assert.equal("persistent", state(author))
  end)

  it("with the cascade loads and deletes them", function()
    local lib = library.open(OWNED)
    run(lib.engine, "DELETE FROM book_tag")
    local author = lib.session:get(lib.Author, 1)
    lib.record:take()
    lib.session:delete(author)
    lib.session:flush()
    local kept = {}
    for _, line in ipairs(lib.record:headlines()) do
      if line ~= "DELETE book_tag" then
        kept[#kept + 1] = line
      end
    end
    assert.same({ "SELECT book", "DELETE book", "DELETE author" }, kept)
    assert.same({ "0" }, rows(lib.session, "SELECT count(*) FROM book WHERE author_id = 1"))
  end)
end)

describe("an orphan", function()
  it("that left its list is deleted, without an UPDATE", function()
    local lib = library.open(OWNED)
    run(lib.engine, "DELETE FROM book_tag")
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    local _ = book.tags
    author.books:remove(book)
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book" }, lib.record:headlines())
    assert.equal("deleted", state(book))
  end)

  it("is none when it moved to another parent", function()
    local lib = library.open(OWNED)
    local one, two = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book, _ = one.books[1], #two.books
    lib.record:take()
    one.books:remove(book)
    two.books:append(book)
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id" }, lib.record:headlines())
    assert.same({ "1|2|b1|2000" }, rows(lib.session, BOOKS:gsub("ORDER", "WHERE id = 1 ORDER")))
  end)

  it("is none when it never had a parent: the database decides", function()
    local lib = library.empty(OWNED)
    lib.session:add(lib.Book { title = "x" })
    lib.session:flush()
    assert.same({ "1|NULL|x|NULL" }, rows(lib.session, BOOKS))
    local strict = library.empty { books = OWNED.books, author_id = { nullable = false } }
    strict.session:add(strict.Book { title = "x" })
    raises("IntegrityError", "NOT NULL", strict.session.flush, strict.session)
  end)

  it("on a many-to-one asks for single_parent", function()
    local lib = library.declare { author = { cascade = "all, delete-orphan" } }
    raises("ArgumentError", "single_parent", orm.inspect, lib.Book)
  end)
end)

describe("the cascade into the session", function()
  it("does not follow the other side: a warning, and no row", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local book = lib.Book { title = "x" }
    book.author = author
    lib.record:take()
    assert.equal(1, #warnings(function() lib.session:flush() end))
    assert.equal("transient", state(book))
    assert.same({}, lib.record:headlines())
    lib.session:no_autoflush(function() assert.is_true(author.books:contains(book)) end)
  end)

  it("takes a graph at once, and what is appended later", function()
    local lib = library.empty()
    local first, second, late = lib.Book {}, lib.Book {}, lib.Book {}
    local author = lib.Author { books = { first, second } }
    lib.session:add(author)
    author.books:append(late)
    for _, object in ipairs { author, first, second, late } do
      assert.equal("pending", state(object))
    end
  end)
end)

describe("both sides of a relationship", function()
  it("agree on a move before any statement", function()
    local lib = library.open()
    local one, two = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book, _ = one.books[1], #two.books
    lib.record:take()
    two.books:append(book)
    assert.equal(two, book.author)
    assert.same({ "2", "3 4 1" }, { ids(one.books), ids(two.books) })
    assert.same({}, lib.record:take())
  end)

  it("agree on a whole new list", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local former, kept, fresh = author.books[1], author.books[2], lib.Book { title = "new" }
    author.books = { kept, fresh }
    assert.is_nil(former.author)
    assert.equal(author, kept.author)
    assert.equal(author, fresh.author)
    assert.equal("pending", state(fresh))
  end)

  it("agree when a one-to-one is replaced: the old row lets go before the new one comes", function()
    local lib = library.open { books = { uselist = false } }
    run(lib.engine, "UPDATE book SET author_id = NULL WHERE id <> 1")
    local author = lib.session:get(lib.Author, 1)
    local former = author.books
    author.books = lib.Book { title = "new" }
    assert.is_nil(former.author)
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET author_id", "INSERT book" }, lib.record:headlines())
    assert.same({ "1|NULL", "5|1" }, rows(lib.session, "SELECT id, author_id FROM book WHERE id IN (1, 5) ORDER BY id"))
  end)

  it("that do not know of each other agree after the commit, and configuring warns", function()
    local lib = library.declare { books = { back_populates = false }, author = { back_populates = false } }
    assert.equal(1, #warnings(function() orm.inspect(lib.Author) end))
    local engine = database.create(lib.base)
    local session = orm.Session(engine)
    local author, book = lib.Author {}, lib.Book {}
    author.books:append(book)
    session:add(author)
    assert.is_nil(book.author)
    session:commit()
    assert.equal(author, book.author)
  end)

  it("do not follow a foreign key that was assigned, until expired", function()
    local lib = library.open()
    local two, book = lib.session:get(lib.Author, 2), lib.session:get(lib.Book, 1)
    local seen = { book.author.id }
    book.author_id = 2
    seen[2] = book.author.id
    lib.session:flush()
    seen[3] = book.author.id
    lib.session:commit()
    seen[4] = book.author.id
    assert.same({ 1, 1, 1, 2 }, seen)
    assert.equal(two, book.author)
  end)
end)

it("a tree is inserted level by level", function()
  local place = open(function(base, place)
    place.Node = base:model("Node", { __tablename__ = "node", id = orm.Column(orm.Integer, { primary_key = true }),
      parent_id = orm.Column(orm.ForeignKey("node.id")), name = orm.Column(orm.Text),
      children = orm.relationship("Node", { back_populates = "parent" }),
      parent = orm.relationship("Node", { back_populates = "children", remote_side = "id" }) })
  end)
  local Node = place.Node
  place.session:add(Node { name = "root",
    children = { Node { name = "c1", children = { Node { name = "g1" } } }, Node { name = "c2" } } })
  place.session:flush()
  assert.same({ "root|NULL", "c1|root", "c2|root", "g1|c1" }, rows(place.session,
    "SELECT n.name, p.name FROM node n LEFT JOIN node p ON p.id = n.parent_id ORDER BY n.id"))
end)

describe("many to many", function()
  it("writes one row though both sides saw the change", function()
    local lib = library.empty()
    local book, tag = lib.Book {}, lib.Tag {}
    book.tags:append(tag)
    assert.is_true(tag.books:contains(book))
    lib.session:add(book)
    lib.session:flush()
    assert.same({ "1|1" }, rows(lib.session, "SELECT * FROM book_tag"))
  end)

  it("removes the link and keeps the row behind it", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags:remove(book.tags[1])
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book_tag" }, lib.record:headlines())
    assert.same({ "1|2", "2|1" }, rows(lib.session, "SELECT * FROM book_tag ORDER BY 1, 2"))
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
  end)

  it("deletes the links of what is deleted first, which need not be loaded for it", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Book, 1))
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book_tag", "DELETE book" }, lib.record:headlines())
    assert.same({ "2|1" }, rows(lib.session, "SELECT * FROM book_tag"))
  end)

  it("notices a link that is gone already", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags:remove(book.tags[1])
    run(lib.session, "DELETE FROM book_tag WHERE tag_id = 1")
    raises("StaleDataError", "book_tag", lib.session.flush, lib.session)
  end)

  it("takes the same object twice in memory only", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags:append(book.tags[1])
    assert.equal(3, #book.tags)
    lib.record:take()
    lib.session:flush()
    assert.same({}, lib.record:headlines())
    lib.session:expire(book)
    assert.equal(2, #book.tags)
  end)
end)

describe("lazy loading", function()
  it("sends one statement per list, none the second time, and none for the way back", function()
    local lib = library.open()
    run(lib.engine, "INSERT INTO author (id, name) VALUES (3, 'a3')")
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by(lib.Author.id)):all()
    for _, author in ipairs(authors) do
      local _ = #author.books
    end
    assert.equal(4, #lib.record:take())
    for _, author in ipairs(authors) do
      for _, book in author.books do
        assert.equal(author, book.author)
      end
    end
    assert.same({}, lib.record:take())
  end)
end)

describe("joined loading", function()
  it("sends one statement under a limit, which counts authors and not rows; the rows must be made unique", function()
    local lib = library.open()
    run(lib.engine, "INSERT INTO author (id, name) VALUES (3, 'a3')")
    local first_two = orm.select(lib.Author):order_by(lib.Author.id):limit(2):options(orm.joinedload(lib.Author.books))
    lib.record:take()
    local seen = {}
    for position, author in ipairs(lib.session:scalars(first_two):unique():all()) do
      seen[position] = { author.books[1].id, author.books[2].id, author.books[3] }
    end
    assert.same({ { 1, 2 }, { 3, 4 } }, seen)
    assert.equal(1, #lib.record:take())
    raises("InvalidRequestError", "unique()", function() return lib.session:scalars(first_two):all() end)
  end)

  it("leaves a list alone that is loaded, unless it is told to overwrite", function()
    local lib = library.open(nil, { autoflush = false })
    local author = lib.session:get(lib.Author, 1)
    author.books:append(lib.Book { title = "pending" })
    local with_books = orm.select(lib.Author):where(lib.Author.id:eq(1)):options(orm.joinedload(lib.Author.books))
    lib.session:scalars(with_books):unique():all()
    assert.equal(3, #author.books)
    lib.session:scalars(with_books:execution_options { populate_existing = true }):unique():all()
    assert.equal(2, #author.books)
  end)
end)

describe("the identity map", function()
  it("gives one object per row, and leaves unflushed changes alone", function()
    local lib = library.open(nil, { autoflush = false })
    local session, by_title = lib.session, orm.select(lib.Book):where(lib.Book.id:eq(1))
    local book = session:scalars(by_title):one()
    assert.equal(book, session:scalars(by_title):one())
    assert.equal(book, session:get(lib.Author, 1).books[1])
    book.title = "local"
    assert.equal("local", session:scalars(by_title):one().title)
  end)

  it("lets go of what nobody holds, unless it is changed", function()
    local lib = library.open()
    local held = setmetatable({}, { __mode = "v" })
    held[1] = lib.session:get(lib.Book, 1)
    held[2] = lib.session:get(lib.Book, 2)
    held[2].title = "changed"
    collectgarbage()
    collectgarbage()
    assert.is_nil(held[1])
    assert.equal("changed", held[2].title)
  end)
end)

describe("expiry", function()
  it("at the commit costs one statement for all columns, none where it is off", function()
    for expected, expire in pairs { [1] = true, [0] = false } do
      local lib = library.open(nil, { expire_on_commit = expire })
      local book = lib.session:get(lib.Book, 1)
      lib.session:commit()
      run(lib.engine, "UPDATE book SET year = 2000")
      lib.record:take()
      assert.equal("b1", book.title)
      assert.equal(2000, book.year)
      assert.equal(expected, #lib.record:take())
    end
  end)

  it("of a row that is gone raises ObjectDeletedError, refreshing it InvalidRequestError", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    lib.session:expire(book)
    run(lib.session, "DELETE FROM book WHERE id = 3")
    raises("ObjectDeletedError", "Book", function() return book.title end)
    raises("InvalidRequestError", "Book", lib.session.refresh, lib.session, book)
  end)

  it("leaves a detached object with what it had loaded", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:close()
    assert.equal("a1", author.name)
    raises("DetachedInstanceError", "Author.books", function() return author.books end)
    author = lib.session:get(lib.Author, 1)
    lib.session:commit()
    lib.session:close()
    raises("DetachedInstanceError", "Author.name", function() return author.name end)
    assert.equal("detached", state(author))
  end)

  it("by refresh drops unflushed changes", function()
    local lib = library.open(nil, { autoflush = false })
    local book = lib.session:get(lib.Book, 1)
    run(lib.session, "UPDATE book SET title = 'db' WHERE id = 1")
    book.title = "mine"
    lib.record:take()
    lib.session:refresh(book)
    lib.session:flush()
    assert.equal("db", book.title)
    assert.same({ "SELECT book" }, lib.record:headlines())
    raises("InvalidRequestError", "Book", lib.session.refresh, lib.session, lib.Book {})
  end)
end)

describe("merge", function()
  it("gives the session's own object what the given one has, and no more", function()
    local lib = library.open()
    local given = lib.Book { id = 1, title = "m" }
    local merged = lib.session:merge(given)
    lib.session:flush()
    assert.same({ "SELECT book", "UPDATE book SET title" }, lib.record:headlines())
    assert.are_not.equal(given, merged)
    assert.same({ "transient", "persistent" }, { state(given), state(merged) })
    assert.equal(2000, merged.year)
  end)

  it("leaves lists alone that were never touched, and replaces those that were", function()
    local lib = library.open(OWNED)
    run(lib.engine, "DELETE FROM book_tag")
    lib.session:merge(lib.Author { id = 1, name = "z" })
    lib.session:flush()
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM book WHERE author_id = 1"))
    lib.session:merge(lib.Author { id = 1, books = { lib.Book { id = 2, title = "q" } } })
    lib.session:flush()
    assert.same({ "2|1|q|2000" }, rows(lib.session, "SELECT * FROM book WHERE id < 3"))
  end)

  it("with load = false sends nothing, and takes no transient object", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    lib.session:expunge(book)
    local other = orm.Session(lib.engine)
    lib.record:take()
    local copy = other:merge(book, { load = false })
    other:flush()
    assert.same({}, lib.record:take())
    assert.equal("persistent", state(copy))
    assert.equal(0, #other.dirty)
    raises("InvalidRequestError", "load = false", other.merge, other, lib.Book { id = 9 }, { load = false })
  end)
end)

describe("a transaction", function()
  it("rolled back makes new objects transient; they keep their values and can be added again", function()
    local lib = library.empty()
    local book = lib.Book { title = "x" }
    lib.session:add(book)
    lib.session:flush()
    lib.session:rollback()
    assert.same({ "transient", 1 }, { state(book), book.id })
    assert.same({}, rows(lib.engine, BOOKS))
    lib.session:add(book)
    lib.session:commit()
    assert.same({ "1|NULL|x|NULL" }, rows(lib.engine, BOOKS))
  end)

  it("rolled back brings changed and deleted objects back", function()
    local lib = library.open()
    local one, three = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 3)
    one.title = "x"
    lib.session:flush()
    lib.session:delete(three)
    lib.session:flush()
    assert.equal("deleted", state(three))
    lib.session:rollback()
    lib.record:take()
    assert.equal("b1", one.title)
    assert.same({ "SELECT book" }, lib.record:headlines())
    assert.equal("persistent", state(three))
  end)

  it("committed detaches what was deleted", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    lib.session:delete(book)
    lib.session:commit()
    assert.equal("detached", state(book))
    raises("InvalidRequestError", "no row", lib.session.delete, lib.session, lib.Book {})
  end)

  it("survives savepoints that fail", function()
    local place = open(function(base, place)
      place.T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
        code = orm.Column(orm.Text, { unique = true }) })
    end)
    local session, failed = place.session, 0
    run(place.engine, "INSERT INTO t VALUES (1, 'A'), (2, 'B')")
    for _, code in ipairs { "C", "A", "D" } do
      local ok, err = pcall(session.begin_nested, session, function() session:add(place.T { code = code }) end)
      failed = failed + (ok and 0 or 1)
      assert(ok or orm.is_error(err, "IntegrityError"), tostring(err))
    end
    session:commit()
    assert.equal(1, failed)
    assert.same({ "A", "B", "C", "D" }, rows(place.engine, "SELECT code FROM t ORDER BY code"))
  end)
end)

it("one, one_or_none and first tell none from several", function()
  local lib = library.open()
  local function found(id)
    return lib.session:scalars(orm.select(lib.Book):where(lib.Book.author_id:eq(id)))
  end
  raises("NoResultFound", "", function() found(9):one() end)
  raises("MultipleResultsFound", "", function() found(1):one() end)
  assert.is_nil(found(9):one_or_none())
  raises("MultipleResultsFound", "", function() found(1):one_or_none() end)
  assert.is_nil(found(9):first())
end)

describe("a version counter", function()
  local function versioned()
    return open(function(base, place)
      place.T = base:model("T", { __tablename__ = "t", __mapper_args__ = { version_id_col = "v" },
        id = orm.Column(orm.Integer, { primary_key = true }), x = orm.Column(orm.Integer),
        v = orm.Column(orm.Integer, { nullable = false }), kids = orm.relationship("K") })
      place.K = base:model("K", { __tablename__ = "k", id = orm.Column(orm.Integer, { primary_key = true }),
        t_id = orm.Column(orm.ForeignKey("t.id")) })
    end)
  end

  it("counts writes of the row itself", function()
    local place = versioned()
    local object, seen = place.T { x = 1 }, {}
    place.session:add(object)
    for _, change in ipairs { function() end, function() object.x = 2 end, function() object.x = 2 end,
      function() object.kids:append(place.K {}) end } do
      change()
      place.session:flush()
      seen[#seen + 1] = object.v
    end
    assert.same({ 1, 2, 2, 2 }, seen)
  end)

  it("finds out what another has changed, for update and delete", function()
    local place = versioned()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 1)")
    local object = place.session:get(place.T, 1)
    run(place.session, "UPDATE t SET v = 2")
    place.session:connection():commit()
    object.x = 9
    raises("StaleDataError", "t", place.session.flush, place.session)
    place.session:rollback()
    object = place.session:get(place.T, 1)
    local _ = object.x
    run(place.session, "UPDATE t SET v = 3")
    place.session:delete(object)
    raises("StaleDataError", "t", place.session.flush, place.session)
    assert.same({ "1|1|3" }, rows(place.session, "SELECT * FROM t"))
  end)
end)

describe("a primary key", function()
  it("that changes moves the object in the session", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 3)
    book.id = 50
    lib.record:take()
    lib.session:flush()
    assert.same({ "UPDATE book SET id" }, lib.record:headlines())
    assert.equal(book, lib.session:get(lib.Book, 50))
    assert.same({}, lib.record:take())
    assert.is_nil(lib.session:get(lib.Book, 3))
  end)

  local function people(passive)
    return open(function(base, place)
      place.U = base:model("U", { __tablename__ = "u", name = orm.Column(orm.Text, { primary_key = true }),
        items = orm.relationship("I", { back_populates = "user", passive_updates = passive, order_by = "I.id" }) })
      place.I = base:model("I", { __tablename__ = "i", id = orm.Column(orm.Integer, { primary_key = true }),
        uname = orm.Column(orm.ForeignKey("u.name", { onupdate = passive and "CASCADE" or nil })),
        user = orm.relationship("U", { back_populates = "items", passive_updates = passive }) })
    end)
  end

  it("carries along the foreign keys of its children where the database does not", function()
    local place = people(false)
    place.session:connection():exec_driver_sql("PRAGMA foreign_keys = OFF")
    run(place.session, "INSERT INTO u VALUES ('jack')", "INSERT INTO i VALUES (1, 'jack'), (2, 'jack')")
    local user = place.session:get(place.U, "jack")
    user.name = "ed"
    place.record:take()
    place.session:flush()
    assert.same({ "SELECT i", "UPDATE u SET name", "UPDATE i SET uname" }, place.record:headlines())
    assert.same({ "1|ed", "2|ed" }, rows(place.session, "SELECT * FROM i ORDER BY id"))
  end)

  it("leaves them to the database where that cascades, and knows the outcome", function()
    local place = people(true)
    run(place.session, "INSERT INTO u VALUES ('jack')", "INSERT INTO i VALUES (1, 'jack'), (2, 'jack')")
    local user = place.session:get(place.U, "jack")
    local item = user.items[1]
    user.name = "ed"
    place.record:take()
    place.session:flush()
    assert.same({ "UPDATE u SET name" }, place.record:headlines())
    assert.equal("ed", item.uname)
    assert.same({}, place.record:take())
    place.session:commit()
    assert.same({ "1|ed", "2|ed" }, rows(place.engine, "SELECT * FROM i ORDER BY id"))
  end)
end)

it("a relationship that is viewonly writes nothing", function()
  local place = open(function(base, place)
    place.A = base:model("A", { __tablename__ = "a", id = orm.Column(orm.Integer, { primary_key = true }),
      view = orm.relationship("B", { viewonly = true }) })
    place.B = base:model("B", { __tablename__ = "b", id = orm.Column(orm.Integer, { primary_key = true }),
      a_id = orm.Column(orm.ForeignKey("a.id")) })
  end)
  local a, b = place.A {}, place.B {}
  place.session:add(a)
  place.session:flush()
  a.view:append(b)
  place.record:take()
  place.session:flush()
  assert.equal("transient", state(b))
  assert.same({}, place.record:take())
end)
