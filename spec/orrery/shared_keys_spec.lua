-- Loading lists for many parents at once where several of them have one key, or none, or have lost it meanwhile; and where rows
-- repeat themselves because further lists are joined.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local Integer, String, Mapped, Optional = orm.Integer, orm.String, orm.Mapped, orm.Optional
local select = orm.select

-- People and the shops of their town, which is no key of anything.
local function towns()
  local base = orm.declarative_base()
  local place = {}
  place.Person = base:model("Person", { __tablename__ = "person", id = Mapped(Integer, { primary_key = true }),
    town = Mapped(Optional(String), { deferred = false }), street = Mapped(Optional(String)),
    shops = orm.relationship("Shop", { viewonly = true, order_by = "Shop.id", primaryjoin = function(Person, Shop)
      return orm.and_(Person.town:eq(orm.foreign(Shop.town)), Person.street:eq(orm.foreign(Shop.street)))
    end }) })
  place.Shop = base:model("Shop", { __tablename__ = "shop", id = Mapped(Integer, { primary_key = true }),
    town = Mapped(Optional(String)), street = Mapped(Optional(String)),
    goods = orm.relationship("Good", { order_by = "Good.id" }) })
  place.Good = base:model("Good", { __tablename__ = "good", id = Mapped(Integer, { primary_key = true }),
    shop_id = Mapped(Optional(Integer), orm.ForeignKey("shop.id")) })
  place.engine = database.create(base)
  database.run(place.engine,
    "INSERT INTO person VALUES (1, 'a', 'x'), (2, 'a', 'x'), (3, 'b', 'x'), (4, NULL, 'x'), (5, 'a', NULL), "
    .. "(6, 'a', 'x')", "INSERT INTO shop VALUES (1, 'a', 'x'), (2, 'a', 'x'), (3, 'b', 'x'), (4, NULL, NULL), (5, 'a', 'y')",
    "INSERT INTO good VALUES (1, 1), (2, 1), (3, 3), (4, 5)")
  place.session = orm.Session(place.engine)
  return place
end

local function ids(list)
  local found = {}
  for position = 1, #list do
    found[position] = list[position].id
  end
  return table.concat(found, " ")
end

for _, strategy in ipairs { "lazyload", "selectinload", "subqueryload", "joinedload", "batchload", "immediateload" } do
  it(strategy .. " gives each parent its list, though several have one key and some have none", function()
    local place = towns()
    local option = orm[strategy](place.Person.shops)
    local people = place.session:scalars(select(place.Person):order_by(place.Person.id)
      :options(option[strategy](option, place.Shop.goods))):unique():all()
    local found = {}
    for position, person in ipairs(people) do
      found[position] = ids(person.shops)
    end
    assert.same({ "1 2", "1 2", "3", "", "", "1 2" }, found)
    assert.equal("1 2", ids(people[1].shops[1].goods))
    assert.equal("3", ids(people[3].shops[1].goods))
  end)
end

describe("a list that is loaded for many", function()
  it("finds the parents' keys where they were not loaded, expired or changed", function()
    local place = towns()
    local Person = place.Person
    local people = place.session:scalars(select(Person):order_by(Person.id):options(orm.defer(Person.town),
      orm.selectinload(Person.shops))):all()
    assert.equal("1 2", ids(people[2].shops))
    place.session:expunge_all()
    people = place.session:scalars(select(Person):order_by(Person.id)):all()
    people[3].town = "a"
    place.session:expire(people[2])
    place.session:no_autoflush(function()
      place.session:scalars(select(Person):options(orm.selectinload(Person.shops))):all()
    end)
    assert.equal("1 2", ids(people[2].shops))
  end)

  it("refuses to load what it was told not to", function()
    local place = towns()
    local person = place.session:scalars(select(place.Person):where(place.Person.id:eq(1))
      :options(orm.raiseload(place.Person.shops))):one()
    raises("InvalidRequestError", "shops", function() return person.shops end)
  end)

  it("takes no object twice where rows repeat, and none that has another owner by now", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local moved = lib.session:get(Book, 1)
    assert.equal(1, moved.author.id)
    local found
    lib.session:no_autoflush(function()
      moved.author = lib.session:get(Author, 2)
      found = lib.session:scalars(select(Author):order_by(Author.id)
        :options(orm.selectinload(Author.books):joinedload(Book.tags))):unique():all()
    end)
    assert.same({ "2", 3 }, { ids(found[1].books), #found[2].books })
    assert.equal("1 2", ids(moved.tags))
    lib.session:rollback()
    lib.session:expunge_all()
    found = lib.session:scalars(select(Author):order_by(Author.id)
      :options(orm.joinedload(Author.books):joinedload(Book.tags))):unique():all()
    assert.same({ "1 2", "3 4", "1 2", "1" }, { ids(found[1].books), ids(found[2].books), ids(found[1].books[1].tags),
      ids(found[1].books[2].tags) })
    found = lib.session:execute(select(Author, Book):join(Author.books):order_by(Book.id)
      :options(orm.joinedload(Book.tags), orm.selectinload(Author.books))):unique():all()
    assert.equal(4, #found)
    assert.equal("1 2", ids(found[1][2].tags))
  end)

  it("is not asked for again where it is there", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    assert.equal(2, #author.books)
    lib.record:take()
    lib.session:scalars(select(lib.Author):where(lib.Author.id:eq(1)):options(orm.selectinload(lib.Author.books))):all()
    assert.same({ "SELECT author" }, lib.record:headlines())
    lib.session:scalars(select(lib.Book):where(lib.Book.author_id:eq(1)):options(orm.selectinload(lib.Book.author))):all()
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("keeps what was changed before it came", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    lib.session:no_autoflush(function()
      local author, three = lib.session:get(Author, 1), lib.session:get(Book, 3)
      three.author = author
      for _, strategy in ipairs { "selectinload", "joinedload", "subqueryload" } do
        lib.session:scalars(select(Author):options(orm[strategy](Author.books))):unique():all()
      end
      assert.equal(3, #author.books)
      lib.session:scalars(select(Author):options(orm.selectinload(Author.books))):all()
      assert.equal(3, #author.books)
    end)
    lib.session:commit()
    assert.same({ "3" }, database.rows(lib.engine, "SELECT count(*) FROM book WHERE author_id = 1"))
  end)

  it("of outer rows without an object is empty", function()
    local lib = library.open()
    database.run(lib.engine, "INSERT INTO author VALUES (3, 'a3')", "INSERT INTO book (id, title) VALUES (9, 'lonely')")
    local found = lib.session:execute(select(lib.Author, lib.Book):outerjoin(lib.Author.books):order_by(lib.Author.id,
      lib.Book.id)
      :options(orm.selectinload(lib.Author.books), orm.joinedload(lib.Book.author), orm.joinedload(lib.Book.tags))):unique():all()
    assert.equal(5, #found)
    assert.is_nil(found[5][2])
    assert.equal(0, #found[5][1].books)
    local lonely = lib.session:scalars(select(lib.Book):where(lib.Book.id:eq(9))
      :options(orm.joinedload(lib.Book.author), orm.selectinload(lib.Book.tags))):unique():one()
    assert.is_nil(lonely.author)
    assert.equal(0, #lonely.tags)
  end)
end)
