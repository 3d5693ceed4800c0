local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

local select = orm.select

local function titles(author)
  local names = {}
  for _, book in author.books do
    names[#names + 1] = book.title
  end
  return author.name .. ": " .. table.concat(names, " ")
end

-- What authors hold after a select, and how many statements it took.
local function load(lib, query)
  lib.session:expunge_all()
  lib.record:take()
  local lines = {}
  for author in lib.session:scalars(query:order_by(lib.Author.id)):unique() do
    lines[#lines + 1] = titles(author)
  end
  return lines, #lib.record:take()
end

describe("contains_eager", function()
  it("fills collections from the rows of the query's own join", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local lines, sent = load(lib, select(Author):join(Author.books):where(Book.id:ne(2))
      :options(orm.contains_eager(Author.books)))
    assert.same({ "a1: b1", "a2: b3 b4" }, lines)
    assert.equal(1, sent)
  end)

  it("reads an alias, and columns as options behind it say", function()
    local lib = library.open()
    local Author, Other = lib.Author, orm.aliased(lib.Book, "other")
    local query = select(Author):join(Author.books:of_type(Other)):where(Other.title:in_ { "b1", "b4" })
    for _, option in ipairs { orm.contains_eager(Author.books, { alias = Other }):load_only(lib.Book.title),
      orm.contains_eager(Author.books:of_type(Other)) } do
      assert.same({ "a1: b1", "a2: b4" }, (load(lib, query:options(option))))
    end
    raises("ArgumentError", "must be an alias of 'Book'", function()
      orm.contains_eager(Author.books, { alias = orm.aliased(Author) })
    end)
  end)

  it("goes on along a path, beside other strategies", function()
    local lib = library.open()
    local Book, Tag = lib.Book, lib.Tag
    local query = select(Book):join(Book.author):outerjoin(Book.tags):order_by(Book.id, Tag.id):options(
      orm.contains_eager(Book.author):selectinload(lib.Author.books), orm.contains_eager(Book.tags))
    lib.record:take()
    local books = lib.session:scalars(query):unique():all()
    assert.equal(4, #books)
    assert.same({ "a1", 2, 1, 0 }, { books[1].author.name, #books[1].tags, #books[2].tags, #books[4].tags })
    assert.equal(books[2], books[1].author.books[2])
    assert.equal(2, #lib.record:take())
  end)

  it("leaves a loaded collection alone unless populate_existing says otherwise", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local author = lib.session:get(Author, 1)
    assert.equal("a1: b1 b2", titles(author))
    local query = select(Author):join(Author.books):where(Book.id:eq(1)):options(orm.contains_eager(Author.books))
    lib.session:scalars(query):unique():all()
    assert.equal("a1: b1 b2", titles(author))
    lib.session:scalars(query:execution_options { populate_existing = true }):unique():all()
    assert.equal("a1: b1", titles(author))
  end)

  it("wants unique() for collections, and a select that joins", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    raises("InvalidRequestError", "call unique()", function()
      lib.session:scalars(select(Author):join(Author.books):options(orm.contains_eager(Author.books))):all()
    end)
    raises("ArgumentError", "cannot stand behind selectinload()", function()
      orm.selectinload(Author.books):contains_eager(Book.tags)
    end)
    raises("InvalidRequestError", "use selectinload()", function()
      lib.session:scalars(select(Book):join(Book.author):limit(1):options(orm.contains_eager(Book.author),
        orm.joinedload(Book.tags)))
    end)
  end)
end)

describe("and_() of a relationship", function()
  it("narrows what every strategy loads", function()
    local lib = library.open()
    local Author, Book, Tag = lib.Author, lib.Book, lib.Tag
    local few = Author.books:and_(Book.id:gt(1), Book.tags:any(Tag.name:eq("t1")))
    for name, statements in pairs { selectinload = 2, joinedload = 1, lazyload = 3, immediateload = 3, batchload = 2 } do
      local lines, sent = load(lib, select(Author):options(orm[name](few)))
      assert.same({ "a1: b2", "a2: " }, lines, name)
      assert.equal(statements, sent, name)
    end
    local lines = load(lib, select(Author):outerjoin(Author.books):options(orm.contains_eager(few)))
    assert.same({ "a1: b2", "a2: " }, lines)
  end)

  it("hides a single object that does not fit, also from the identity map", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local held = lib.session:get(Author, 1)
    for _, option in ipairs { orm.selectinload, orm.joinedload, orm.lazyload } do
      local book = lib.session:scalars(select(Book):where(Book.id:eq(1)):options(option(Book.author:and_(Author.name:eq("no")))))
        :one()
      assert.is_nil(book.author)
      lib.session:expunge(book)
    end
    assert.equal("a1", held.name)
  end)

  it("stands in joins and in any(), on the alias that is joined", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local Other = orm.aliased(Book, "other")
    local few = Author.books:and_(Book.title:eq("b1"))
    assert.equal("SELECT author.id FROM author JOIN book ON author.id = book.author_id AND book.title = ?",
      tostring(select(Author.id):join(few)))
    assert.equal("SELECT author.id FROM author JOIN book AS other ON author.id = other.author_id AND other.title = ?",
      tostring(select(Author.id):join(few:of_type(Other))))
    assert.equal("a1", lib.session:scalars(select(Author):where(few:any())):one().name)
    raises("ArgumentError", "needs a condition", function() Author.books:and_() end)
  end)
end)

describe("orm.join", function()
  it("goes along relationships, of aliases and through link tables", function()
    local lib = library.open()
    local Author, Book, Tag = lib.Author, lib.Book, lib.Tag
    local Other = orm.aliased(Author, "other")
    assert.equal("SELECT other.id FROM author AS other JOIN book ON other.id = book.author_id",
      tostring(select(Other.id):select_from(orm.join(Other, Book, Other.books))))
    local through = orm.join(Book, Tag, Book.tags, { isouter = true })
    assert.equal(5, #lib.session:execute(select(Book.id, Tag.id):select_from(through)):all())
    assert.equal(3, #lib.session:execute(select(Book.id, Tag.id):select_from(orm.join(Book, Tag, Book.tags))):all())
  end)
end)
