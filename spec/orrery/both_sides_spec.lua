-- The two sides of relationships in step where one of them is not loaded, only looked at, deleted or listened to.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local statements = require "spec.support.statements"
local rows = database.rows
local Integer, String, Mapped, Optional, relationship = orm.Integer, orm.String, orm.Mapped, orm.Optional, orm.relationship

local function key()
  return Mapped(Integer, { primary_key = true })
end

-- A person has one passport, which has one person.
local function one_to_one(options)
  local base = orm.declarative_base()
  local place = {}
  options = options or {}
  place.Person = base:model("Person", { __tablename__ = "person", id = key(),
    passport = relationship("Passport", { back_populates = "person", uselist = false, cascade = options.cascade }) })
  place.Passport = base:model("Passport", { __tablename__ = "passport", id = key(),
    person_id = Mapped(Optional(Integer), orm.ForeignKey("person.id")),
    person = relationship("Person", { back_populates = "passport", single_parent = options.single }) })
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  return place
end

local PASSPORTS = "SELECT id, person_id FROM passport ORDER BY id"

describe("one and one", function()
  it("change partners from either side", function()
    for _, loaded in ipairs { true, false } do
      local place = one_to_one()
      local session, a, b = place.session, place.Person {}, place.Person {}
      local p, q = place.Passport { person = a }, place.Passport {}
      b.passport = q
      session:add_all { a, b }
      session:commit()
      assert.same({ "1|1", "2|2" }, rows(place.engine, PASSPORTS))
      local _ = loaded and { a.passport, b.passport, p.person, q.person }
      a.passport = q
      assert.same({ a, nil }, { q.person, b.passport })
      assert.is_nil(loaded and p.person or nil)
      session:commit()
      assert.same({ "1|NULL", "2|1" }, rows(place.engine, PASSPORTS))
      _ = loaded and { a.passport, b.passport, p.person, q.person }
      p.person = a
      assert.equal(p, a.passport)
      q.person = b
      session:commit()
      assert.same({ "1|1", "2|2" }, rows(place.engine, PASSPORTS))
      a.passport, q.person = orm.null, orm.null
      assert.is_nil(b.passport)
      session:commit()
      assert.same({ "1|NULL", "2|NULL" }, rows(place.engine, PASSPORTS))
      a.passport, a.passport = nil, nil
      p.person = p.person
      assert.same({}, session.dirty)
    end
  end)

  it("lose what is replaced where it is an orphan then, stored or new", function()
    local place = one_to_one { cascade = "all, delete-orphan" }
    local session, a = place.session, place.Person { passport = place.Passport {} }
    session:add(a)
    local first = a.passport
    a.passport = place.Passport {}
    assert.is_nil(first.person)
    session:commit()
    assert.same({ "1" }, rows(place.engine, "SELECT count(*) FROM passport"))
    a.passport = place.Passport {}
    session:commit()
    assert.same({ "1" }, rows(place.engine, "SELECT count(*) FROM passport"))
    a.passport = nil
    session:commit()
    assert.same({ "0" }, rows(place.engine, "SELECT count(*) FROM passport"))
  end)
end)

describe("a side that is not loaded", function()
  it("takes, gives and forgets what the other side says", function()
    local lib = library.open()
    local session = lib.session
    local one, two = session:get(lib.Author, 1), session:get(lib.Author, 2)
    local b1, b3, new = session:get(lib.Book, 1), session:get(lib.Book, 3), lib.Book { title = "new" }
    session:no_autoflush(function()
      b1.author = two
      b3.author = one
      new.author = one
      new.author = two
      new.author = nil
      b3.author = nil
      b3.author = one
    end)
    assert.equal(2, #one.books)
    assert.same({ 1, 4 }, { two.books[1].id, two.books[2].id })
    session:commit()
    assert.same({ "1|2", "2|1", "3|1", "4|2" }, rows(lib.engine,
      "SELECT id, author_id FROM book WHERE author_id > 0 ORDER BY id"))
  end)

  it("of a deleted object takes nothing along into the session", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 2)
    lib.session:delete(author)
    lib.session:flush()
    author.books = { lib.Book { title = "late" } }
    lib.session:commit()
    assert.same({ "0" }, rows(lib.engine, "SELECT count(*) FROM book WHERE title = 'late'"))
  end)

  it("that only looks is not told", function()
    local lib = library.open { books = { viewonly = true, back_populates = false }, author = { back_populates = false } }
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 3)
    assert.equal(2, #author.books)
    book.author = author
    assert.equal(2, #author.books)
    lib.session:commit()
    assert.equal(3, #author.books)
    assert.same({ "3|1" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id = 3"))
  end)
end)

describe("listeners", function()
  it("hear both sides of every change, and may refuse or replace", function()
    local lib = library.open()
    local heard = {}
    local function note(word)
      return function(object, value)
        heard[#heard + 1] = word .. " " .. tostring(object.id or "-") .. " " .. tostring(value and value.id or "-")
      end
    end
    orm.event.listen(lib.Author.books, "append", note("append"))
    orm.event.listen(lib.Author.books, "remove", note("remove"))
    orm.event.listen(lib.Book.author, "set", note("set"))
    local one, two = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book = lib.session:get(lib.Book, 1)
    assert.same({ 2, 2 }, { #one.books, #two.books })
    two.books:append(book)
    table.sort(heard)
    assert.same({ "append 2 1", "remove 1 1", "set 1 2" }, heard)
    heard = {}
    book.author = nil
    table.sort(heard)
    assert.same({ "remove 2 1", "set 1 -" }, heard)
    heard = {}
    one.books = { book }
    table.sort(heard)
    assert.same({ "append 1 1", "remove 1 2", "set 1 1", "set 2 -" }, heard)
    heard = {}
    one.books:clear()
    table.sort(heard)
    assert.same({ "remove 1 1", "set 1 -" }, heard)
  end)
end)

describe("a foreign key to columns that are not the primary key", function()
  it("is followed by a statement each, and kept in step", function()
    local base = orm.declarative_base()
    local Place = base:model("Place", { __tablename__ = "place", id = key(), country = Mapped(String), code = Mapped(String),
      __table_args__ = { orm.UniqueConstraint("country", "code") },
      visits = relationship("Visit", { back_populates = "place" }) })
    local Visit = base:model("Visit", { __tablename__ = "visit", id = key(), country = Mapped(Optional(String)),
      code = Mapped(Optional(String)),
      __table_args__ = { orm.ForeignKeyConstraint({ "country", "code" }, { "place.country", "place.code" }) },
      place = relationship("Place", { back_populates = "visits" }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local here = Place { country = "c", code = "1", visits = { Visit {}, Visit {} } }
    session:add_all { here, Place { country = "c", code = "2" } }
    session:commit()
    local record = statements.record(engine)
    local visit = session:get(Visit, 1)
    assert.equal(here, visit.place)
    assert.is_true(#record:take() >= 2)
    visit.place = session:get(Place, 2)
    session:commit()
    assert.same({ "c|2", "c|1" }, rows(engine, "SELECT country, code FROM visit ORDER BY id"))
    visit.country = nil
    session:commit()
    assert.is_nil(visit.place)
  end)

  it("keep a deleted child deleted that is put with a parent which goes too, or has gone", function()
    for _, flushed in ipairs { false, true } do
      local lib = library.open()
      local session = lib.session
      local author, book = session:get(lib.Author, 2), session:get(lib.Author, 1).books[1]
      assert.equal(2, #author.books)
      session:no_autoflush(function()
        session:delete(author)
        if flushed then
          session:flush()
        end
        session:delete(book)
        author.books:append(book)
      end)
      session:commit()
      assert.same({ "2|1", "3|NULL", "4|NULL" }, database.rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
      assert.same({ "1" }, database.rows(lib.engine, "SELECT id FROM author"))
    end
  end)
end)

it("what another list took in the database stays there when a list that was read before lets go of it", function()
  local lib = library.open()
  local session = lib.session
  local one, two, book = session:get(lib.Author, 1), session:get(lib.Author, 2), session:get(lib.Book, 1)
  assert.is_true(one.books:contains(book))
  database.run(session, "UPDATE book SET author_id = 2 WHERE id = 1")
  session:expire(book)
  assert.equal(two, book.author)
  one.books:remove(book)
  assert.equal(two, book.author)
  session:commit()
  assert.same({ "1|2" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id = 1"))
  assert.is_true(two.books:contains(book))
end)

it("of one to one the side that is not loaded knows of what was taken from it", function()
  local base = orm.declarative_base()
  local User = base:model("User", { __tablename__ = "user", id = key(),
    profile = relationship("Profile", { back_populates = "user", uselist = false }) })
  local Profile = base:model("Profile", { __tablename__ = "profile", id = key(),
    user_id = Mapped(Optional(Integer), orm.ForeignKey("user.id")),
    user = relationship("User", { back_populates = "profile" }) })
  local session = orm.Session(database.create(base))
  session:add_all { User { id = 1, profile = Profile { id = 1 } }, User { id = 2 } }
  session:commit()
  session:close()
  local profile, second = session:get(Profile, 1), session:get(User, 2)
  local first = profile.user
  assert.equal(1, first.id)
  session:no_autoflush(function()
    profile.user = second
    assert.equal(profile, second.profile)
  end)
  session:commit()
  assert.same({ "1|2" }, rows(session, "SELECT id, user_id FROM profile"))
  assert.is_nil(first.profile)
  assert.equal(profile, second.profile)
end)
