-- Primary keys that a script changes: what the children's rows and objects hold then, by the database's ON UPDATE CASCADE or by
-- statements of the session; what a rollback brings back; what before_flush and its like add meanwhile.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, Mapped, Optional, relationship = orm.Integer, orm.String, orm.Mapped, orm.Optional, orm.relationship

local LONG = ("land"):rep(30)

-- Country.code is a key of text; a City has it in its own key, a Person does not.
local function open(passive)
  local base = orm.declarative_base()
  local place = {}
  local cascade = { onupdate = passive and "CASCADE" or nil, deferrable = true, initially = "DEFERRED" }
  place.Country = base:model("Country", { __tablename__ = "country", code = Mapped(String, { primary_key = true }),
    name = Mapped(Optional(String)),
    cities = relationship("City", { back_populates = "country", passive_updates = passive }),
    people = relationship("Person", { back_populates = "country", passive_updates = passive }) })
  place.City = base:model("City", { __tablename__ = "city",
    country_code = Mapped(String, orm.ForeignKey("country.code", cascade), { primary_key = true }),
    name = Mapped(String, { primary_key = true }), country = relationship("Country", { back_populates = "cities" }) })
  place.Person = base:model("Person", { __tablename__ = "person", id = Mapped(Integer, { primary_key = true }),
    country_code = Mapped(Optional(String), orm.ForeignKey("country.code", cascade)),
    country = relationship("Country", { back_populates = "people" }) })
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  local session = place.session
  place.country = place.Country { code = "a", cities = { place.City { name = "x" }, place.City { name = "y" } },
    people = { place.Person {}, place.Person {} } }
  session:add_all { place.country, place.Country { code = "other" } }
  session:commit()
  return place
end

for _, passive in ipairs { true, false } do
  describe(passive and "with ON UPDATE CASCADE" or "with passive_updates = false", function()
    it("loaded children follow, under their own new keys", function()
      for _, code in ipairs { "b", LONG, LONG .. "2" } do
        local place = open(passive)
        local country, session = place.country, place.session
        local x, y = country.cities[1], country.cities[2]
        local person = country.people[1]
        country.code = code
        session:flush()
        assert.same({ code, code, code }, { x.country_code, y.country_code, person.country_code })
        assert.equal(x, session:get(place.City, { code, "x" }))
        assert.is_nil(session:get(place.City, { "a", "x" }))
        assert.equal(country, session:get(place.Country, code))
        session:commit()
        assert.same({ code .. "|x", code .. "|y" }, rows(place.engine, "SELECT * FROM city ORDER BY name"))
        assert.same({ "1|" .. code, "2|" .. code }, rows(place.engine, "SELECT * FROM person ORDER BY id"))
        assert.equal(x, session:get(place.City, { code, "x" }))
      end
    end)

    it("a rollback puts all of them back where they were", function()
      local place = open(passive)
      local country, session = place.country, place.session
      local x, person = country.cities[1], country.people[1]
      for _, code in ipairs { "b", "c", LONG } do
        country.code = code
        session:flush()
      end
      session:rollback()
      assert.same({ "a", "a", "a" }, { country.code, x.country_code, person.country_code })
      assert.equal(x, session:get(place.City, { "a", "x" }))
      assert.equal(country, session:get(place.Country, "a"))
      local nested = session:begin_nested()
      country.code = "d"
      session:flush()
      nested:rollback()
      assert.equal("a", country.code)
      assert.equal(x, session:get(place.City, { "a", "x" }))
    end)

    it("children that were expired, moved, expunged or not loaded are as their rows are", function()
      local place = open(passive)
      local country, session = place.country, place.session
      local x, y = country.cities[1], country.cities[2]
      local one, two = country.people[1], country.people[2]
      session:no_autoflush(function()
        session:expire(x)
        one.country_code = "other"
        if passive then
          session:expunge(two)
        end
        country.code = "b"
        session:commit()
      end)
      assert.equal(passive and "a" or "b", two.country_code)
      assert.equal("b", y.country_code)
      assert.equal(passive and "other" or "b", one.country_code) -- what stands in the list follows
      assert.same({ "b|x", "b|y" }, rows(place.engine, "SELECT * FROM city ORDER BY name"))
    end)
  end)
end

describe("a changed key", function()
  it("that comes back before the flush is none", function()
    local place = open(true)
    place.country.code = "b"
    place.country.code = "a"
    place.session:commit()
    assert.equal(place.country, place.session:get(place.Country, "a"))
  end)

  it("that another object has is refused, and everything is as before", function()
    local place = open(true)
    assert.equal(2, #place.country.cities)
    place.country.code = "other"
    raises("IntegrityError", "country", place.session.flush, place.session)
    place.session:rollback()
    assert.equal("a", place.country.code)
    assert.equal(2, #place.country.cities)
  end)

  it("cannot be taken from a child that is known by it", function()
    local place = open(true)
    raises("FlushError", "part of the primary key", function()
      place.country.cities:remove(place.country.cities[1])
      place.session:flush()
    end)
    place.session:rollback()
    place.session:delete(place.country.cities[1])
    place.session:commit()
    assert.same({ "1" }, rows(place.engine, "SELECT count(*) FROM city"))
  end)
end)

-- Line.order_id is a part of its key, and no cascade deletes lines; `mirrored`: Line has the way back.
local function lines_of_orders(mirrored)
  local base = orm.declarative_base()
  local Order = base:model("Order", { __tablename__ = "orders", id = Mapped(Integer, { primary_key = true }),
    lines = relationship("Line", { back_populates = mirrored and "order" or nil }) })
  local Line = base:model("Line", { __tablename__ = "line",
    order_id = Mapped(Integer, orm.ForeignKey("orders.id"), { primary_key = true }),
    number = Mapped(Integer, { primary_key = true }),
    order = mirrored and relationship("Order", { back_populates = "lines" }) or nil })
  local engine = database.create(base)
  local session = orm.Session(engine)
  local first, second = Order { id = 1, lines = { Line { number = 7 } } }, Order { id = 2 }
  session:add_all { first, second }
  session:commit()
  return session, engine, Order, first, second
end

for _, mirrored in ipairs { true, false } do
  describe("a child known by its parent's key " .. (mirrored and "that has" or "without") .. " the way back", function()
    it("goes to another parent while the former one is deleted", function()
      local session, engine, _, first, second = lines_of_orders(mirrored)
      local line = first.lines[1]
      assert.equal(0, #second.lines)
      first.lines:remove(line)
      second.lines:append(line)
      session:delete(first)
      session:commit()
      assert.same({ "2|7" }, rows(engine, "SELECT order_id, number FROM line"))
      assert.same({ "2" }, rows(engine, "SELECT id FROM orders"))
      assert.equal(line, second.lines[1])
    end)

    it("goes to a new parent while the former one is deleted", function()
      local session, engine, Order, first = lines_of_orders(mirrored)
      local line = first.lines[1]
      first.lines:remove(line)
      session:add(Order { id = 3, lines = { line } })
      session:delete(first)
      session:commit()
      assert.same({ "3|7" }, rows(engine, "SELECT order_id, number FROM line"))
      assert.same({ "2", "3" }, rows(engine, "SELECT id FROM orders ORDER BY id"))
    end)

    it("does not lose its only parent", function()
      local session, engine, _, first = lines_of_orders(mirrored)
      session:delete(first)
      raises("FlushError", "Line.order_id", session.flush, session)
      session:rollback()
      assert.same({ "1|7" }, rows(engine, "SELECT order_id, number FROM line"))
    end)
  end)
end

describe("objects that listeners add while a flush runs", function()
  it("wait for the next one, or are written with this one", function()
    local place = open(true)
    local session = place.session
    local before, after = 0, 0
    orm.event.listen(session, "before_flush", function()
      before = before + 1
      if before == 1 then
        session:add(place.Person {})
        place.country.name = "before"
      end
    end)
    orm.event.listen(session, "after_flush", function()
      after = after + 1
      if after == 1 then
        session:add(place.Person { country = place.country })
        session:delete(place.country.people[1])
      end
    end)
    place.country.people:append(place.Person {})
    session:flush()
    assert.same({ "4|before" }, rows(session, "SELECT (SELECT count(*) FROM person), name FROM country WHERE code = 'a'"))
    session:commit()
    assert.same({ "4|before" }, rows(place.engine, "SELECT (SELECT count(*) FROM person), name FROM country WHERE code = 'a'"))
  end)
end)

it("children that are expired, and those that are new, follow a key that the database carries to them", function()
  local place = open(true)
  local country, session = place.country, place.session
  local x, first = country.cities[1], country.people[1]
  assert.same({ 2, 2, "x" }, { #country.cities, #country.people, x.name })
  session:expire(first)
  session:expire(x)
  country.people:append(place.Person { id = 9 })
  country.code = "b"
  session:commit()
  assert.same({ "1|b", "2|b", "9|b" }, rows(session, "SELECT id, country_code FROM person ORDER BY id"))
  assert.same({ "b|x", "b|y" }, rows(session, "SELECT country_code, name FROM city ORDER BY name"))
  assert.same({ "b", "b" }, { first.country_code, country.cities[1].country_code })
end)

it("children follow a key of several columns that they have in their own", function()
  local base = orm.declarative_base()
  local key = { primary_key = true }
  local Shelf = base:model("Shelf", { __tablename__ = "shelf", room = Mapped(String, key), place = Mapped(String, key),
    books = relationship("Book", { order_by = "Book.title" }) })
  local Book = base:model("Book", { __tablename__ = "book", room = Mapped(String, key), place = Mapped(String, key),
    title = Mapped(String, key), __table_args__ = { orm.ForeignKeyConstraint({ "room", "place" },
      { "shelf.room", "shelf.place" }, { onupdate = "CASCADE" }) } })
  local session = orm.Session(database.create(base))
  local shelf = Shelf { room = "r", place = "p", books = { Book { title = "t1" }, Book { title = "t2" } } }
  session:add(shelf)
  session:commit()
  local one = shelf.books[1]
  assert.same({ 2, "t1" }, { #shelf.books, one.title })
  shelf.room, shelf.place = "r2", "p2"
  session:flush()
  assert.same({ "r2|p2|t1", "r2|p2|t2" }, rows(session, "SELECT room, place, title FROM book ORDER BY title"))
  assert.same({ "r2", "p2" }, { one.room, one.place })
  assert.equal(one, session:get(Book, { "r2", "p2", "t1" }))
  session:rollback()
  assert.same({ "r", "p" }, { one.room, one.place })
  assert.equal(one, session:get(Book, { "r", "p", "t1" }))
end)
