-- Relationships that load when they are read: the same whether somebody hears of statements or nobody does, which takes a
-- shorter way.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local Integer, String = orm.Integer, orm.String

local function names_of(list, attribute)
  local names = {}
  for _, item in list do
    names[#names + 1] = item[attribute]
  end
  return table.concat(names, " ")
end

local BOOKS = { "INSERT INTO author (id, name) VALUES (1, 'a1'), (2, 'a2'), (3, 'a3')",
  "INSERT INTO book (id, author_id, title) VALUES (1, 1, 'b1'), (2, 1, 'b2'), (3, 2, 'b3')",
  "INSERT INTO tag (id, name) VALUES (1, 't1'), (2, 't2')",
  "INSERT INTO book_tag (book_id, tag_id) VALUES (1, 1), (1, 2), (2, 1)" }

for who, heard in pairs { somebody = true, nobody = false } do
  local count -- of statements, where somebody hears

  local function listen(engine)
    count = 0
    if heard then
      orm.event.listen(engine, "before_cursor_execute", function() count = count + 1 end)
    end
    return engine
  end

  local function open(lib, rows, options)
    local engine = database.create(lib.base)
    for _, sql in ipairs(rows) do
      database.run(engine, sql)
    end
    return orm.Session(listen(engine), options)
  end

  describe("with " .. who .. " hearing of statements, a list that is read", function()
    it("has the objects of its rows, in order, and each object once in the session", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local authors = session:scalars(orm.select(lib.Author):order_by("id")):all()
      assert.equal("b1 b2", names_of(authors[1].books, "title"))
      assert.equal("b3", names_of(authors[2].books, "title"))
      assert.equal(0, #authors[3].books)
      assert.equal(session:get(lib.Book, 3), authors[2].books[1])
      assert.equal("t1 t2", names_of(authors[1].books[1].tags, "name"))
      assert.equal(authors[1].books[1], authors[1].books[2].tags[1].books[1])
      assert.equal(authors[1], authors[1].books[2].author)
      assert.equal(heard and 7 or 0, count)
    end)

    it("is loaded before it is changed, and keeps what its items' side has done before", function()
      local lib = library.declare()
      local session = open(lib, BOOKS, { autoflush = false })
      local author, other = session:get(lib.Author, 1), session:get(lib.Author, 2)
      session:get(lib.Book, 1).author = other
      assert.equal("b2", names_of(author.books, "title"))
      assert.equal("b3 b1", names_of(other.books, "title"))
      session:commit()
      assert.equal("b1 b3", names_of(other.books, "title"))
      other.books:append(lib.Book { title = "new" })
      session:commit()
      assert.equal("b1 b3 new", names_of(other.books, "title"))
    end)

    it("shows what waited to be flushed", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local author = session:get(lib.Author, 3)
      session:add(lib.Book { title = "mine", author_id = 3 })
      assert.equal("mine", names_of(author.books, "title"))
    end)

    it("is loaded anew when it expired, and after a rollback", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local author = session:get(lib.Author, 1)
      assert.equal(2, #author.books)
      session:execute(orm.text("INSERT INTO book (id, author_id, title) VALUES (9, 1, 'b9')"))
      session:expire(author)
      assert.equal("b1 b2 b9", names_of(author.books, "title"))
      session:rollback()
      assert.equal("b1 b2", names_of(author.books, "title"))
    end)

    it("fails with its statement and its parameter, and loads later", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local author, faults = session:get(lib.Author, 1), {}
      orm.event.listen(session:get_bind(), "handle_error", function(context) faults[#faults + 1] = context.statement end)
      session:execute(orm.text("ALTER TABLE book RENAME TO volume"))
      local err = raises("OperationalError", "no such table: book", function() return author.books end)
      assert.truthy(err.statement:find("^SELECT.*book"))
      assert.same({ 1 }, err.params)
      assert.same({ err.statement }, faults)
      session:execute(orm.text("ALTER TABLE volume RENAME TO book"))
      assert.equal("b1 b2", names_of(author.books, "title"))
    end)

    it("is found by keys of several parts, and of text", function()
      local base = orm.declarative_base()
      local Place = base:model("Place", { __tablename__ = "place",
        code = orm.mapped_column(String, { primary_key = true }), number = orm.mapped_column(Integer, { primary_key = true }),
        visits = orm.relationship("Visit", { order_by = "Visit.id" }) })
      base:model("Visit", { __tablename__ = "visit", id = orm.mapped_column(Integer, { primary_key = true }),
        place_code = orm.mapped_column(String), place_number = orm.mapped_column(Integer),
        __table_args__ = { orm.ForeignKeyConstraint({ "place_code", "place_number" }, { "place.code", "place.number" }) } })
      local session = open({ base = base }, {
        "INSERT INTO place (code, number) VALUES ('x', 1), ('x', 2), ('longer than it was', 1)",
        "INSERT INTO visit (id, place_code, place_number) VALUES (1, 'x', 2), (2, 'longer than it was', 1), (3, 'x', 2)" })
      assert.equal("1 3", names_of(session:get(Place, { "x", 2 }).visits, "id"))
      assert.equal("2", names_of(session:get(Place, { "longer than it was", 1 }).visits, "id"))
      assert.equal("", names_of(session:get(Place, { "x", 1 }).visits, "id"))
    end)

    it("is found by a column that is NULL, deferred or changed", function()
      local base = orm.declarative_base()
      local Shelf = base:model("Shelf", { __tablename__ = "shelf", id = orm.mapped_column(Integer, { primary_key = true }),
        kind = orm.mapped_column(String, { deferred = true }),
        items = orm.relationship("Item", { primaryjoin = function(Shelf, Item)
          return Shelf.kind:eq(orm.foreign(Item.kind)) end, order_by = "Item.id" }) })
      base:model("Item", { __tablename__ = "item", id = orm.mapped_column(Integer, { primary_key = true }),
        kind = orm.mapped_column(String) })
      local session = open({ base = base }, { "INSERT INTO shelf (id, kind) VALUES (1, 'a'), (2, NULL), (3, 'b')",
        "INSERT INTO item (id, kind) VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'a')" }, { autoflush = false })
      local shelves = session:scalars(orm.select(Shelf):order_by("id")):all()
      assert.equal("1 4", names_of(shelves[1].items, "id"))
      assert.equal("", names_of(shelves[2].items, "id"))
      assert.equal("2", names_of(shelves[3].items, "id"))
    end)

    it("is a set or keyed where the relationship says so", function()
      for form, check in pairs {
        set = function(list) assert.equal(2, #list) end,
        keyed = function(list) assert.equal("b2", list:get("b2").title) end,
      } do
        local class = form == "set" and orm.set or orm.attribute_keyed_dict("title")
        local lib = library.declare { books = { collection_class = class } }
        local session = open(lib, BOOKS)
        check(session:get(lib.Author, 1).books)
      end
    end)

    it("belongs to objects of subclasses, too", function()
      local base = orm.declarative_base()
      local Person = base:model("Person", { __tablename__ = "person", id = orm.mapped_column(Integer, { primary_key = true }),
        kind = orm.mapped_column(String), __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "person" },
        pets = orm.relationship("Pet", { order_by = "Pet.id" }) })
      local Chief = base:model("Chief", { __inherits__ = Person, title = orm.mapped_column(String),
        __mapper_args__ = { polymorphic_identity = "chief" } })
      base:model("Pet", { __tablename__ = "pet", id = orm.mapped_column(Integer, { primary_key = true }),
        person_id = orm.mapped_column(Integer, orm.ForeignKey("person.id")) })
      local session = open({ base = base }, { "INSERT INTO person (id, kind) VALUES (1, 'person'), (2, 'chief')",
        "INSERT INTO pet (id, person_id) VALUES (1, 1), (2, 2), (3, 2)" })
      local people = session:scalars(orm.select(Person):order_by("id")):all()
      assert.equal("1", names_of(people[1].pets, "id"))
      assert.equal("2 3", names_of(people[2].pets, "id"))
      session:expire_all()
      assert.equal("2 3", names_of(session:scalars(orm.select(Chief)):first().pets, "id"))
    end)
  end)

  describe("with " .. who .. " hearing of statements, a single object that is read", function()
    it("is loaded once, and is nil where there is none", function()
      local lib = library.declare { author_id = { nullable = true } }
      local session = open(lib, { BOOKS[1],
        "INSERT INTO book (id, author_id, title) VALUES (1, 1, 'b1'), (2, 1, 'b2'), (3, NULL, 'b3')" })
      local books = session:scalars(orm.select(lib.Book):order_by("id")):all()
      local author = books[1].author
      assert.equal("a1", author.name)
      assert.equal(author, books[2].author)
      assert.is_nil(books[3].author)
      assert.equal(heard and 2 or 0, count)
      session:commit()
      assert.equal(author, books[2].author)
      assert.equal("a1", author.name)
    end)

    it("is nil where its row is gone", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      database.run(session, "PRAGMA defer_foreign_keys = ON", "DELETE FROM author WHERE id = 1")
      local book = session:get(lib.Book, 1)
      assert.is_nil(book.author)
      assert.is_nil(book.author)
      assert.equal(heard and 4 or 0, count)
      session:rollback()
      assert.equal("a1", book.author.name)
    end)

    it("fails with its statement and its parameter, and loads later", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local book = session:get(lib.Book, 3)
      database.run(session, "PRAGMA legacy_alter_table = ON", "ALTER TABLE author RENAME TO writer")
      assert.equal(2, book.author_id)
      local err = raises("OperationalError", "no such table: author", function() return book.author end)
      assert.same({ 2 }, err.params)
      database.run(session, "ALTER TABLE writer RENAME TO author", "PRAGMA legacy_alter_table = OFF")
      assert.equal("a2", book.author.name)
    end)

    it("is the first of several where the relationship says there is one, with a warning", function()
      local base = orm.declarative_base()
      local Person = base:model("Person", { __tablename__ = "person", id = orm.mapped_column(Integer, { primary_key = true }),
        passport = orm.relationship("Passport", { uselist = false, order_by = "Passport.id" }) })
      base:model("Passport", { __tablename__ = "passport", id = orm.mapped_column(Integer, { primary_key = true }),
        person_id = orm.mapped_column(Integer, orm.ForeignKey("person.id")) })
      local session = open({ base = base }, { "INSERT INTO person (id) VALUES (1), (2), (3)",
        "INSERT INTO passport (id, person_id) VALUES (5, 1), (6, 2), (7, 2)" })
      local people, warned = session:scalars(orm.select(Person):order_by("id")):all(), {}
      local former = orm.on_warning(function(message) warned[#warned + 1] = message end)
      local second = people[2].passport
      orm.on_warning(former)
      assert.equal(6, second.id)
      assert.equal(1, #warned)
      assert.truthy(warned[1]:find("Person.passport", 1, true))
      assert.equal(5, people[1].passport.id)
      assert.is_nil(people[3].passport)
    end)

    it("is found by a key that is not the primary one, and by conditions", function()
      local base = orm.declarative_base()
      local Country = base:model("Country", { __tablename__ = "country", id = orm.mapped_column(Integer, { primary_key = true }),
        code = orm.mapped_column(String, { unique = true }), old = orm.mapped_column(Integer) })
      local City = base:model("City", { __tablename__ = "city", id = orm.mapped_column(Integer, { primary_key = true }),
        code = orm.mapped_column(String, orm.ForeignKey("country.code")),
        country = orm.relationship("Country", { foreign_keys = "City.code" }),
        current = orm.relationship("Country", { viewonly = true, primaryjoin = function(city, country)
          return orm.and_(orm.foreign(city.code):eq(country.code), country.old:eq(0)) end }) })
      local session = open({ base = base }, { "INSERT INTO country (id, code, old) VALUES (1, 'a', 0), (2, 'b', 1)",
        "INSERT INTO city (id, code) VALUES (1, 'a'), (2, 'b'), (3, NULL)" })
      local cities = session:scalars(orm.select(City):order_by("id")):all()
      assert.equal(1, cities[1].country.id)
      assert.equal(2, cities[2].country.id)
      assert.is_nil(cities[3].country)
      assert.equal(session:get(Country, 1), cities[1].current)
      assert.is_nil(cities[2].current)
    end)

    it("follows what was assigned and not flushed", function()
      local lib = library.declare()
      local session = open(lib, BOOKS)
      local book = session:get(lib.Book, 1)
      book.author_id = 3
      assert.equal("a3", book.author.name)
      session:commit()
      book.author_id = nil
      assert.is_nil(book.author)
    end)
  end)
end
