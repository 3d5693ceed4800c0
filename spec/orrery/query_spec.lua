-- The legacy style: session:query(...).
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local func = orm.func

local function titles(books)
  local list = {}
  for position, book in ipairs(books) do
    list[position] = book.title
  end
  return table.concat(list, " ")
end

describe("session:query", function()
  it("filters, joins, sorts and cuts", function()
    local lib = library.open()
    local Author, Book, query = lib.Author, lib.Book, lib.session:query(lib.Book)
    assert.equal("b2 b1", titles(query:join(Book.author):filter(Author.name:eq("a1")):order_by(Book.id:desc()):all()))
    assert.equal("b2 b3", titles(query:order_by(Book.id):slice(1, 3):all()))
    assert.equal("b3 b4", titles(query:order_by("id"):offset(2):limit(10):all()))
    assert.equal("b4", query:filter_by { author_id = 2 }:order_by(Book.id:desc()):first().title)
    assert.equal("b1", query:limit(1):first().title)
    assert.equal("b3", query:get(3).title)
    assert.equal("b3", query:filter(Book.id:eq(3)):one().title)
    assert.is_nil(query:filter(Book.id:eq(9)):one_or_none())
    assert.is_nil(query:filter(Book.id:eq(9)):first())
    raises("NoResultFound", "", function() query:filter(Book.id:eq(9)):one() end)
    raises("MultipleResultsFound", "", function() query:one() end)
    raises("NoResultFound", "", function() query:get_one(9) end)
  end)

  it("gives rows of columns, groups and counts", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local rows = lib.session:query(Author.name, func.count(Book.id):label("n")):outerjoin(Author.books):group_by(Author.id)
      :having(func.count(Book.id):gt(1)):order_by(Author.name):all()
    assert.same({ "a1", 2, "a2", 2 }, { rows[1].name, rows[1].n, rows[2][1], rows[2][2] })
    assert.equal(4, lib.session:query(Book):count())
    assert.equal(1, lib.session:query(Book.year):distinct():count())
    assert.equal(2, lib.session:query(Book):limit(2):count())
    assert.equal("a1", lib.session:query(Author.name):filter(Author.id:eq(1)):scalar())
    local pair = lib.session:query(Book):add_entity(Author):join(Book.author):order_by(Book.id):first()
    assert.same({ "b1", "a1" }, { pair[1].title, pair[2].name })
    assert.equal("a1", lib.session:query(Book):join(Book.author):with_entities(Author.name):order_by(Book.id):first().name)
  end)

  it("stands in other statements", function()
    local lib = library.open()
    local Author, Book, session = lib.Author, lib.Book, lib.session
    assert.is_true(session:query(session:query(Book):filter(Book.id:eq(1)):exists()):scalar())
    assert.is_false(session:query(session:query(Book):filter(Book.id:eq(9)):exists()):scalar())
    local has_books = session:query(Book):filter(Book.author_id:eq(Author.id), Book.id:lt(3)):exists()
    assert.equal("a1", session:query(Author):filter(has_books):one().name)
    local sub = session:query(Book.author_id, func.count():label("n")):group_by(Book.author_id):subquery()
    assert.equal(2, session:query(Author, sub.c.n):join(sub, sub.c.author_id:eq(Author.id)):first()[2])
    assert.equal(2, session:query(Author):filter(Author.id:in_(session:query(Book.author_id).statement)):count())
    local newest = session:query(func.max(Book.id)):scalar_subquery()
    assert.equal("b4", session:query(Book):filter(Book.id:eq(newest)):one().title)
  end)

  it("unites queries of one class, whose columns then mean the union", function()
    local lib = library.open()
    local Book, query = lib.Book, lib.session:query(lib.Book)
    local united = query:filter(Book.id:eq(1)):union(query:filter(Book.id:ge(3)))
    assert.equal("b4 b3", titles(united:filter(Book.id:gt(1)):order_by(Book.id:desc()):all()))
    assert.equal(3, united:count())
    assert.equal(lib.session:get(Book, 1), united:order_by(Book.id):first())
    assert.equal("b2", titles(query:except_(query:filter(Book.id:ne(2))):all()))
    raises("ArgumentError", "another class", function() query:union(lib.session:query(lib.Author)) end)
  end)

  it("updates and deletes, and the objects follow", function()
    local lib = library.open()
    local Book = lib.Book
    local book = lib.session:get(Book, 1)
    assert.equal(2, lib.session:query(Book):filter(Book.author_id:eq(1)):update { year = 7 })
    assert.equal(7, book.year)
    lib.session:query(Book):filter(Book.id:eq(1)):update({ year = 8 }, { synchronize_session = false })
    assert.equal(7, book.year)
    assert.equal(8, lib.session:query(Book):populate_existing():get(1) and lib.session:query(Book):populate_existing()
      :filter(Book.id:eq(1)):one().year)
  end)

  it("is its own iterator, and loads as its options say", function()
    local lib = library.open()
    local names = {}
    for author in lib.session:query(lib.Author):options(orm.joinedload(lib.Author.books)):order_by(lib.Author.id) do
      names[#names + 1] = author.name .. #author.books
    end
    assert.same({ "a12", "a22" }, names)
    assert.equal(4, #lib.session:query(lib.Book):yield_per(2):all())
  end)
end)

it("a query is a list of values for in_()", function()
  local lib = library.open()
  local session, Author, Book = lib.session, lib.Author, lib.Book
  local authors = session:query(Author.id):filter(Author.name:eq("a1"))
  assert.equal(2, session:query(Book):filter(Book.author_id:in_(authors)):count())
  assert.equal(2, session:scalar(orm.select(orm.func.count(Book.id)):where(Book.author_id:not_in(authors))))
end)
