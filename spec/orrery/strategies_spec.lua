-- When relationships are loaded: every strategy as an option, as the word of a relationship, and as a session's default.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"

local function authors_of(lib, ...)
  return lib.session:scalars(orm.select(lib.Author):order_by(lib.Author.id):options(...)):unique():all()
end

local function titles(list)
  local names = {}
  for _, book in list do
    names[#names + 1] = book.title
  end
  return table.concat(names, " ")
end

local READ = "SELECT author.id, author.name FROM author ORDER BY author.id"

-- A tree of nodes: 1 has 2 and 3, 2 has 4, 4 has 5, 5 has 6.
local function tree(children)
  local base = orm.declarative_base()
  local options = { back_populates = "parent", order_by = "Node.id" }
  for name, value in pairs(children or {}) do
    options[name] = value
  end
  local Node = base:model("Node", {
    __tablename__ = "node",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    parent_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
    children = orm.relationship("Node", options),
    parent = orm.relationship("Node", { back_populates = "children", remote_side = "Node.id" }),
  })
  local engine = database.create(base)
  database.run(engine, "INSERT INTO node (id, parent_id) VALUES (1, NULL), (2, 1), (3, 1), (4, 2), (5, 4), (6, 5)")
  return { Node = Node, engine = engine, session = orm.Session(engine), record = statements.record(engine) }
end

describe("batchload", function()
  it("loads the attribute of all objects of a result with the first read of one", function()
    local lib = library.open()
    lib.record:take()
    local authors = authors_of(lib, orm.batchload(lib.Author.books))
    assert.same({ READ }, lib.record:take())
    assert.equal("b1 b2", titles(authors[1].books))
    assert.same({ "SELECT book.id, book.author_id, book.title, book.year FROM book WHERE book.author_id IN (?, ?) "
      .. "ORDER BY book.id [1, 2]" }, lib.record:take())
    assert.equal("b3 b4", titles(authors[2].books))
    assert.same({}, lib.record:take())
  end)

  it("goes on level by level: what came in one batch are siblings again", function()
    local lib = library.open()
    local authors = authors_of(lib, orm.batchload("*"))
    lib.record:take()
    local tags = 0
    for _, author in ipairs(authors) do
      for _, book in author.books do
        tags = tags + #book.tags
        assert.equal(author, book.author)
      end
    end
    assert.equal(3, tags)
    assert.same({ "SELECT book", "SELECT tag" }, lib.record:headlines())
  end)

  it("loads many-to-one targets that are not in the session, each once", function()
    local lib = library.open()
    local books = lib.session:scalars(orm.select(lib.Book):order_by("id"):options(orm.batchload(lib.Book.author))):all()
    lib.record:take()
    assert.equal("a2", books[4].author.name)
    assert.same({ "SELECT author.id, author.name FROM author WHERE author.id IN (?, ?) [2, 1]" }, lib.record:take())
    assert.equal("a1", books[1].author.name)
    assert.equal(books[1].author, books[2].author)
    assert.same({}, lib.record:take())
  end)

  it("can be the word of a relationship, of a session and of an engine", function()
    local lib = library.open { books = { lazy = "batch" } }
    local authors = authors_of(lib)
    lib.record:take()
    assert.equal(4, #authors[1].books + #authors[2].books)
    assert.same({ "SELECT book" }, lib.record:headlines())
    lib = library.open({}, { lazy = "batch" })
    authors = authors_of(lib)
    lib.record:take()
    assert.equal(4, #authors[1].books + #authors[2].books)
    assert.same({ "SELECT book" }, lib.record:headlines())
    local classes = library.declare()
    local engine = database.create(classes.base, { lazy = "batch" })
    database.run(engine, "INSERT INTO author (id, name) VALUES (1, 'a'), (2, 'b')")
    local record, session = statements.record(engine), orm.Session(engine)
    for _, author in ipairs(session:scalars(orm.select(classes.Author)):all()) do
      assert.equal(0, #author.books)
    end
    assert.same({ "SELECT author", "SELECT book" }, record:headlines())
    assert.equal("select", getmetatable(classes.Author).__mapper.relationships_by_key.books.lazy)
    local alone = orm.Session(engine, { lazy = "select" })
    for _, author in ipairs(alone:scalars(orm.select(classes.Author)):all()) do
      assert.equal(0, #author.books)
    end
    assert.same({ "SELECT author", "SELECT book", "SELECT book" }, record:headlines())
    raises("ArgumentError", { "lazy = 'joined'", "batch" }, orm.Session, engine, { lazy = "joined" })
    raises("ArgumentError", { "create_engine()", "lazy" }, orm.create_engine, "sqlite://", { lazy = "btach" })
  end)

  it("leaves out what was changed, what is expired and what has the attribute already", function()
    local lib = library.open()
    lib.session:add_all { lib.Author { id = 3, name = "a3" }, lib.Author { id = 4, name = "a4" } }
    lib.session:commit()
    local authors = authors_of(lib, orm.batchload(lib.Author.books))
    authors[2].name = "changed"
    lib.session:expire(authors[3])
    lib.session:no_autoflush(function()
      lib.record:take()
      assert.equal(2, #authors[1].books)
    end)
    assert.equal("[1, 4]", lib.record:take()[1]:match("%[.-%]$"))
    assert.equal(2, #authors[2].books)
    assert.equal("[2]", lib.record:take()[2]:match("%[.-%]$"))
  end)

  it("holds nobody alive, and remembers no more than is alive", function()
    local lib = library.open()
    local authors = authors_of(lib, orm.batchload(lib.Author.books))
    authors[2] = nil
    collectgarbage()
    collectgarbage()
    lib.record:take()
    assert.equal(2, #authors[1].books)
    assert.equal("[1]", lib.record:take()[1]:match("%[.-%]$"))
    local function used()
      for _ = 1, 1000 do
        authors_of(lib, orm.batchload(lib.Author.books))
        lib.record:take()
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = used()
    assert.is_true(used() - before < 100) -- a thousand trees, and their objects, would be 700
  end)

  it("reads 500 objects with one statement, those behind the one that was read first", function()
    local lib = library.empty()
    for number = 1, 1200 do
      lib.session:add(lib.Author { name = "a" .. number })
    end
    lib.session:commit()
    local authors = authors_of(lib, orm.batchload(lib.Author.books))
    lib.record:take()
    for position = 1, 500 do
      assert.equal(0, #authors[position].books)
    end
    assert.equal(1, #lib.record:take())
    for position = 1200, 501, -1 do
      assert.equal(0, #authors[position].books)
    end
    assert.equal(2, #lib.record:take())
  end)
end)

describe("raiseload", function()
  it("does not reach what was loaded and found missing, criteria or not", function()
    local place = tree()
    local Node = place.Node
    for _, load in ipairs { orm.selectinload, orm.subqueryload, orm.joinedload } do
      for _, criteria in ipairs { orm.with_loader_criteria(Node, Node.id:lt(9)), orm.noload(Node.children) } do
        place.session:expunge_all()
        local query = orm.select(Node):options(load(Node.parent), criteria):where(Node.id:eq(1))
        local root = place.session:scalars(query):one()
        place.session:scalars(query:options(orm.raiseload("*"))):one()
        place.record:take()
        assert.same({ "children" }, orm.inspect(root).unloaded)
        assert.is_nil(root.parent)
        assert.same({}, place.record:take())
      end
    end
  end)

  it("refuses to load later, by option, word or session, naming what to write", function()
    local lib = library.open()
    local authors = authors_of(lib, orm.raiseload(lib.Author.books))
    raises("InvalidRequestError", { "Author.books", "selectinload(Author.books)" }, function() return authors[1].books end)
    lib = library.open({}, { lazy = "raise" })
    raises("InvalidRequestError", "Author.books", function() return authors_of(lib)[1].books end)
  end)

  it("refuses what the identity map has, too, unless only SQL is forbidden", function()
    local lib = library.open()
    local held = lib.session:get(lib.Author, 1)
    local book = lib.session:scalars(orm.select(lib.Book):where(lib.Book.id:eq(1)):options(orm.raiseload(lib.Book.author))):one()
    raises("InvalidRequestError", "Book.author", function() return book.author end)
    lib.session:expunge(book)
    book = lib.session:scalars(orm.select(lib.Book):where(lib.Book.id:eq(1))
      :options(orm.raiseload(lib.Book.author, { sql_only = true }), orm.raiseload(lib.Book.tags))):one()
    assert.equal(held, book.author)
    lib = library.open { author = { lazy = "raise_on_sql" } }
    raises("InvalidRequestError", "Book.author", function() return lib.session:get(lib.Book, 1).author end)
    held = lib.session:get(lib.Author, 1)
    assert.equal(held, lib.session:get(lib.Book, 1).author)
  end)

  it("does not keep the library from what a flush needs", function()
    local lib = library.open { books = { lazy = "raise", cascade = "all, delete-orphan" } }
    lib.session:delete(lib.session:get(lib.Author, 1))
    lib.session:commit()
    assert.same({ "3", "4" }, database.rows(lib.engine, "SELECT id FROM book ORDER BY id"))
    local author = lib.session:get(lib.Author, 2)
    author.books = {}
    lib.session:commit()
    assert.same({}, database.rows(lib.engine, "SELECT id FROM book"))
  end)

  it("stands for all relationships that no option names, at one place or in the whole statement", function()
    local lib = library.open()
    local authors = authors_of(lib, orm.joinedload(lib.Author.books):raiseload("*"))
    assert.equal("b1 b2", titles(authors[1].books))
    raises("InvalidRequestError", "Book.tags", function() return authors[1].books[1].tags end)
    raises("InvalidRequestError", "Book.author", function() return authors[1].books[1].author end)
    lib.session:expunge_all()
    authors = authors_of(lib, orm.selectinload(lib.Author.books), orm.raiseload("*"))
    raises("InvalidRequestError", "Book.tags", function() return authors[1].books[1].tags end)
    lib.session:expunge_all()
    authors = authors_of(lib, orm.raiseload("*"))
    raises("InvalidRequestError", "Author.books", function() return authors[1].books end)
  end)
end)

describe("noload", function()
  it("reads as empty and sends nothing", function()
    local lib = library.open()
    local author = authors_of(lib, orm.noload(lib.Author.books))[1]
    lib.record:take()
    assert.equal(0, #author.books)
    assert.same({}, lib.record:take())
  end)
end)

describe("subqueryload", function()
  it("loads by the query itself, as a subquery, on every level", function()
    local lib = library.open()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):where(lib.Author.name:like("a%")):order_by(lib.Author.id)
      :options(orm.subqueryload(lib.Author.books):subqueryload(lib.Book.tags))):all()
    local books = "SELECT book.id FROM book WHERE book.author_id IN (SELECT author.id FROM author WHERE author.name LIKE ?)"
    local sent = lib.record:take()
    assert.equal("SELECT book.id, book.author_id, book.title, book.year FROM book WHERE book.author_id IN "
      .. "(SELECT author.id FROM author WHERE author.name LIKE ?) ORDER BY book.id [a%]", sent[2])
    assert.is_truthy(sent[3]:find("book_tag.book_id IN (" .. books .. ")", 1, true))
    assert.equal(3, #sent)
    assert.equal("b1 b2", titles(authors[1].books))
    assert.equal(2, #authors[1].books[1].tags)
    assert.equal(0, #authors[2].books[1].tags)
    assert.same({}, lib.record:take())
  end)

  it("keeps order and limit of the query, and its parameters", function()
    local lib = library.open()
    lib.record:take()
    local query = orm.select(lib.Book):where(lib.Book.year:eq(orm.bindparam("year"))):order_by(lib.Book.id:desc()):limit(1)
    local book = lib.session:scalars(query:options(orm.subqueryload(lib.Book.author)), { year = 2000 }):one()
    assert.equal("SELECT author.id, author.name FROM author WHERE author.id IN (SELECT book.author_id FROM book "
      .. "WHERE book.year = ? ORDER BY book.id DESC LIMIT ?) [2000, 1]", lib.record:take()[2])
    assert.equal("a2", book.author.name)
    assert.same({}, lib.record:take())
  end)

  it("loads by keys where there is no such query: read in parts, got by key, or behind a lazy load", function()
    local lib = library.open { books = { lazy = "subquery" } }
    lib.record:take()
    assert.equal(2, #lib.session:get(lib.Author, 1).books)
    assert.equal(2, #lib.record:take())
    lib.session:expunge_all()
    for author in lib.session:scalars(orm.select(lib.Author), nil, { yield_per = 1 }) do
      assert.equal(2, #author.books)
    end
    for _, sql in ipairs(lib.record:take()) do
      assert.is_nil(sql:find("(SELECT", 1, true))
    end
  end)
end)

describe("immediateload", function()
  it("loads one object after the other, the rest of the path behind", function()
    local lib = library.open()
    lib.record:take()
    local authors = authors_of(lib, orm.immediateload(lib.Author.books):selectinload(lib.Book.tags))
    assert.same({ "SELECT author", "SELECT book", "SELECT book", "SELECT tag" }, lib.record:headlines())
    assert.equal(2, #authors[1].books[1].tags)
    assert.same({}, lib.record:take())
  end)
end)

describe("lazyload", function()
  it("takes a default back, and what stands behind it holds when it loads", function()
    local lib = library.open { books = { lazy = "selectin" }, tags = { lazy = "joined" } }
    lib.record:take()
    local authors = authors_of(lib, orm.lazyload(lib.Author.books):lazyload(lib.Book.tags))
    assert.same({ "SELECT author" }, lib.record:headlines())
    assert.equal(2, #authors[1].books)
    assert.same({ "SELECT book.id, book.author_id, book.title, book.year FROM book WHERE book.author_id = ? "
      .. "ORDER BY book.id [1]" }, lib.record:take())
    lib.session:expunge_all()
    authors = authors_of(lib, orm.lazyload("*"))
    lib.record:take()
    assert.equal(2, #authors[1].books)
    assert.same({ "SELECT book" }, lib.record:headlines())
  end)

  it("brings along what the target's class loads by default", function()
    local lib = library.open { tags = { lazy = "joined" } }
    local author = lib.session:get(lib.Author, 1)
    lib.record:take()
    assert.equal(2, #author.books[1].tags)
    assert.equal(2, #author.books)
    assert.equal(1, #lib.record:take())
  end)
end)

describe("joinedload", function()
  it("joins inner where innerjoin says so, and outer again behind an outer join", function()
    local lib = library.open()
    lib.record:take()
    local query = orm.select(lib.Book):order_by(lib.Book.id)
    assert.equal(4, #lib.session:scalars(query:options(orm.joinedload(lib.Book.author, { innerjoin = true }))):all())
    assert.same({ "SELECT book.id, book.author_id, book.title, book.year, author_1.id, author_1.name FROM book "
      .. "JOIN author AS author_1 ON book.author_id = author_1.id ORDER BY book.id" }, lib.record:take())
    authors_of(lib, orm.joinedload(lib.Author.books):joinedload(lib.Book.author, { innerjoin = true }))
    assert.is_truthy(lib.record:take()[1]:find("LEFT OUTER JOIN author AS author_1", 1, true))
    lib = library.open { author = { lazy = "joined", innerjoin = true } }
    lib.record:take()
    lib.session:get(lib.Book, 1)
    assert.is_truthy(lib.record:take()[1]:find("book JOIN author AS", 1, true))
  end)

  it("joins in a select of several items, each class with what is its own", function()
    local lib = library.open()
    lib.record:take()
    local rows = lib.session:execute(orm.select(lib.Author, lib.Book.title, lib.Book):join(lib.Author.books)
      :order_by(lib.Book.id):options(orm.joinedload(lib.Book.tags), orm.joinedload(lib.Author.books))):unique():all()
    assert.equal(1, #lib.record:take())
    assert.equal(4, #rows)
    assert.equal("b2", rows[2].title)
    assert.equal("t1", rows[2].Book.tags[1].name)
    assert.equal("b1 b2", titles(rows[1].Author.books))
    assert.equal(rows[1][1], rows[2][1])
    assert.same({}, lib.record:take())
  end)

  it("limits rows of several items, not what is joined to them", function()
    local lib = library.open()
    lib.record:take()
    local rows = lib.session:execute(orm.select(lib.Author, lib.Book.title):join(lib.Author.books):order_by(lib.Book.id:desc())
      :limit(3):options(orm.joinedload(lib.Author.books))):unique():all()
    assert.equal(1, #lib.record:take())
    assert.equal(3, #rows)
    assert.same({ "b4", "b3", "b2" }, { rows[1].title, rows[2].title, rows[3].title })
    assert.equal("b1 b2", titles(rows[3].Author.books))
  end)

  it("keeps rows that repeat an object where no collection is joined", function()
    local lib = library.open()
    local books = lib.session:scalars(orm.select(lib.Book):join(lib.Book.tags):order_by(lib.Book.id)
      :options(orm.joinedload(lib.Book.author))):all()
    assert.equal(3, #books)
    assert.equal(books[1], books[2])
  end)

  it("joins to an alias", function()
    local lib = library.open()
    local Other = orm.aliased(lib.Author)
    lib.record:take()
    local author = lib.session:scalars(orm.select(Other):where(Other.id:eq(1)):options(orm.joinedload(Other.books)))
      :unique():one()
    assert.equal("b1 b2", titles(author.books))
    assert.equal(1, #lib.record:take())
  end)

  it("stands behind selectinload, and selectinload behind it", function()
    local lib = library.open()
    lib.record:take()
    local authors = authors_of(lib, orm.selectinload(lib.Author.books):joinedload(lib.Book.tags))
    assert.equal(2, #lib.record:take())
    assert.equal("b1 b2", titles(authors[1].books))
    assert.equal(2, #authors[1].books[1].tags)
    lib.session:expunge_all()
    lib.record:take()
    authors = authors_of(lib, orm.joinedload(lib.Author.books):selectinload(lib.Book.tags))
    assert.equal(2, #lib.record:take())
    assert.equal(2, #authors[1].books[1].tags)
    assert.same({}, lib.record:take())
  end)

  it("loads by keys what cannot be joined: in a union", function()
    local lib = library.open()
    lib.record:take()
    local one, two = orm.select(lib.Author):where(lib.Author.id:eq(1)), orm.select(lib.Author):where(lib.Author.id:eq(2))
    local Both = orm.aliased(lib.Author, orm.union_all(one, two):subquery())
    local authors = lib.session:scalars(orm.select(Both):order_by(Both.id):options(orm.selectinload(Both.books))):all()
    assert.equal(2, #lib.record:take())
    assert.equal("b3 b4", titles(authors[2].books))
  end)
end)

describe("a relationship of a class to itself", function()
  it("loads as many levels as recursion_depth says, -1 all", function()
    local place = tree()
    for depth, count in pairs { [1] = 2, [2] = 3, [3] = 4, [-1] = 6 } do
      place.session:expunge_all()
      place.record:take()
      place.session:scalars(orm.select(place.Node):where(place.Node.id:eq(1))
        :options(orm.selectinload(place.Node.children, { recursion_depth = depth }))):one()
      assert.equal(count, #place.record:take())
    end
  end)

  it("ends where rows go round in a circle", function()
    local place = tree()
    database.run(place.engine, "UPDATE node SET parent_id = 6 WHERE id = 1")
    local root = place.session:scalars(orm.select(place.Node):where(place.Node.id:eq(1))
      :options(orm.selectinload(place.Node.children, { recursion_depth = -1 }))):one()
    place.record:take()
    assert.equal(root, root.children[1].children[1].children[1].children[1].children[1])
    assert.same({}, place.record:take())
  end)

  it("stops default loading at the class itself, or at join_depth", function()
    for _, word in ipairs { "joined", "selectin", "immediate" } do
      local place = tree { lazy = word }
      place.record:take()
      local root = place.session:scalars(orm.select(place.Node):where(place.Node.id:eq(1))):unique():one()
      assert.equal(1, #place.record:take())
      assert.equal(2, #root.children)
      assert.equal(1, #place.record:take())
    end
    local place = tree { lazy = "joined", join_depth = 2 }
    place.record:take()
    local root = place.session:scalars(orm.select(place.Node):where(place.Node.id:eq(1))):unique():one()
    assert.equal(4, root.children[1].children[1].id)
    assert.equal(1, #place.record:take())
    assert.equal(1, #root.children[1].children[1].children)
    assert.equal(1, #place.record:take())
  end)

  it("does not go round between two classes either", function()
    local lib = library.open { books = { lazy = "selectin" }, author = { lazy = "selectin" } }
    lib.record:take()
    local authors = authors_of(lib)
    assert.same({ "SELECT author", "SELECT book" }, lib.record:headlines())
    assert.equal(authors[1], authors[1].books[1].author)
  end)
end)

describe("a relationship by values that several objects share", function()
  local function towns()
    local base = orm.declarative_base()
    local Person = base:model("Person", {
      __tablename__ = "person",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      town = orm.mapped_column(orm.String(20)),
      shops = orm.relationship("Shop", { viewonly = true, order_by = "Shop.id",
        primaryjoin = function(person, shop) return person.town:eq(orm.foreign(shop.town)) end }),
    })
    base:model("Shop", {
      __tablename__ = "shop",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      town = orm.mapped_column(orm.String(20)),
    })
    local engine = database.create(base)
    database.run(engine, "INSERT INTO person (id, town) VALUES (1, 'a'), (2, 'a'), (3, 'b')",
      "INSERT INTO shop (id, town) VALUES (1, 'a'), (2, 'a'), (3, 'b')")
    return Person, orm.Session(engine)
  end

  for _, name in ipairs { "selectinload", "batchload", "subqueryload", "joinedload", "immediateload" } do
    it("gives each of them what is theirs: " .. name, function()
      local Person, session = towns()
      local people = session:scalars(orm.select(Person):order_by(Person.id):options(orm[name](Person.shops))):unique():all()
      assert.same({ 2, 2, 1 }, { #people[1].shops, #people[2].shops, #people[3].shops })
    end)
  end
end)

describe("loader options", function()
  it("branch, and say what they are", function()
    local lib = library.open()
    lib.record:take()
    local option = orm.selectinload(lib.Author.books):options(orm.selectinload(lib.Book.tags), orm.raiseload(lib.Book.author))
    local authors = authors_of(lib, option)
    assert.equal(3, #lib.record:take())
    assert.equal(2, #authors[1].books[1].tags)
    raises("InvalidRequestError", "Book.author", function() return authors[1].books[1].author end)
    assert.equal("selectinload(Author.books):joinedload(Book.tags)",
      tostring(orm.selectinload(lib.Author.books):joinedload(lib.Book.tags)))
  end)

  it("of several classes find their own in one select", function()
    local lib = library.open()
    lib.record:take()
    local row = lib.session:execute(orm.select(lib.Author, lib.Tag):join(lib.Tag, orm.true_())
      :where(lib.Author.id:eq(1), lib.Tag.id:eq(1))
      :options(orm.selectinload(lib.Author.books), orm.selectinload(lib.Tag.books))):one()
    assert.equal(3, #lib.record:take())
    assert.equal(2, #row.Author.books)
    assert.equal(2, #row.Tag.books)
    assert.same({}, lib.record:take())
  end)

  it("speak of one class of the statement behind Load", function()
    local lib = library.open()
    local Author, Book, Tag, Load = lib.Author, lib.Book, lib.Tag, orm.Load
    local Other = orm.aliased(Book)
    local query = orm.select(Author, Book, Other):join(Author.books):join(Other, Other.id:eq(4)):where(Book.id:eq(1))
    local function row(...)
      lib.session:expunge_all()
      return lib.session:execute(query:options(...)):one()
    end
    local found = row(Load(Book):raiseload("*"), Load(Author):selectinload(Author.books))
    assert.equal(2, #found.Author.books)
    raises("InvalidRequestError", "Book.tags", function() return found[2].tags end)
    assert.equal(0, #found[3].tags)
    found = row(Load(Other):load_only(Other.title):raiseload(Other.author), Load(Book):defer("*"):options(
      orm.selectinload(Book.tags):load_only(Tag.id)))
    assert.is_false(orm.inspect(found[2]).unloaded[1] == nil)
    assert.same({ "author_id", "title", "year", "author" }, orm.inspect(found[2]).unloaded)
    assert.same({ "author_id", "year", "author", "tags" }, orm.inspect(found[3]).unloaded)
    raises("InvalidRequestError", "Book.author", function() return found[3].author end)
    raises("ArgumentError", { "Load(Tag)", "'Tag'" }, row, Load(Tag):raiseload("*"))
    raises("ArgumentError", { "selectinload()", "'Author', of Author.books", "Load(Book)" }, function()
      return Load(Book):selectinload(Author.books)
    end)
    raises("ArgumentError", { "Load()", "a class" }, Load, Author.books)
  end)

  it("that fit nothing are errors", function()
    local lib = library.open()
    raises("ArgumentError", { "selectinload(Book.tags)", "'Book'", "'Author'" }, authors_of, lib, orm.selectinload(lib.Book.tags))
    raises("ArgumentError", { "\"*\" ends a path" }, function()
      return orm.lazyload("*"):selectinload(lib.Book.tags)
    end)
    raises("ArgumentError", { "selectinload()", "recursion_depht", "recursion_depth" }, orm.selectinload, lib.Author.books,
      { recursion_depht = 1 })
    local Other = orm.aliased(lib.Author)
    raises("ArgumentError", "alias", function()
      lib.session:scalars(orm.select(Other):options(orm.selectinload(lib.Author.books)))
    end)
    raises("ArgumentError", { "lazy = 'selectni'", "selectin" }, function()
      return library.open({ books = { lazy = "selectni" } }).Author {}
    end)
  end)

  it("hold for what an object loads again when it was expired", function()
    local lib = library.open()
    local author = authors_of(lib, orm.selectinload(lib.Author.books):raiseload(lib.Book.tags))[1]
    lib.session:expire_all()
    raises("InvalidRequestError", "Book.tags", function() return author.books[1].tags end)
  end)

  it("of a later query take the place of those of an earlier one", function()
    local lib = library.open()
    local author = authors_of(lib, orm.raiseload(lib.Author.books))[1]
    authors_of(lib)
    raises("InvalidRequestError", "Author.books", function() return author.books end)
    authors_of(lib, orm.lazyload(lib.Author.books))
    assert.equal(2, #author.books)
  end)

  it("can be given to get()", function()
    local lib = library.open()
    lib.record:take()
    local author = lib.session:get(lib.Author, 1, { options = { orm.selectinload(lib.Author.books) } })
    assert.equal(2, #lib.record:take())
    assert.equal(2, #author.books)
    assert.same({}, lib.record:take())
  end)
end)

describe("defaultload", function()
  it("leaves a relationship as it is, and is for what stands behind it", function()
    local lib = library.open()
    local Author, Book = lib.Author, lib.Book
    local found = lib.session:scalars(orm.select(Author):options(orm.defaultload(Author.books):load_only(Book.title))):all()
    assert.equal("b1", found[1].books[1].title)
    assert.same({ "SELECT author.id, author.name FROM author",
      "SELECT book.id, book.title FROM book WHERE book.author_id = ? ORDER BY book.id [1]" }, lib.record:take())
    raises("ArgumentError", "defaultload()", orm.defaultload, "*")
  end)

  it("goes on from another option for the same relationship, in whichever order, and from the class's own way", function()
    for _, first in ipairs { true, false } do
      local lib = library.open()
      local Author, Book = lib.Author, lib.Book
      local one, two = orm.selectinload(Author.books), orm.defaultload(Author.books):selectinload(Book.tags)
      lib.session:scalars(orm.select(Author):options(first and one or two, first and two or one)):all()
      assert.same({ "SELECT author", "SELECT book", "SELECT tag" }, lib.record:headlines())
    end
    local lib = library.open { books = { lazy = "joined" } }
    local query = orm.select(lib.Author):options(orm.defaultload(lib.Author.books):selectinload(lib.Book.tags))
    assert.equal(2, #lib.session:scalars(query):unique():first().books[1].tags)
    assert.same({ "SELECT author", "SELECT tag" }, lib.record:headlines())
  end)
end)
