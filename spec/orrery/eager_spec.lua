local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

local function titles(list)
  local names = {}
  for _, book in list do
    names[#names + 1] = book.title
  end
  return table.concat(names, " ")
end

describe("selectinload", function()
  it("fills the collections of all objects with one statement more", function()
    local lib = library.open()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by("id"):options(orm.selectinload(lib.Author.books))):all()
    assert.equal(2, #lib.record:take())
    assert.equal("b1 b2", titles(authors[1].books))
    assert.equal("b3 b4", titles(authors[2].books))
    assert.equal(authors[2], authors[2].books[1].author)
    assert.equal(0, #lib.record:take())
  end)

  it("gives an empty collection where there is nothing", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "without" })
    lib.session:commit()
    lib.record:take()
    local author = lib.session:scalars(orm.select(lib.Author):where(lib.Author.name:eq("without"))
      :options(orm.selectinload(lib.Author.books))):one()
    assert.equal(2, #lib.record:take())
    assert.equal(0, #author.books)
    assert.equal(0, #lib.record:take())
  end)

  it("goes on along a path, many-to-many included", function()
    local lib = library.open()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by("id"):options(
      orm.selectinload(lib.Author.books):selectinload(lib.Book.tags))):all()
    assert.equal(3, #lib.record:take())
    assert.equal(2, #authors[1].books[1].tags)
    assert.equal("t1", authors[1].books[2].tags[1].name)
    assert.equal(0, #authors[2].books[2].tags)
    assert.equal(0, #lib.record:take())
  end)

  it("answers many-to-one from the identity map where it can", function()
    local lib = library.open()
    local held = lib.session:get(lib.Author, 1)
    lib.record:take()
    local books = lib.session:scalars(orm.select(lib.Book):options(orm.selectinload(lib.Book.author))):all()
    assert.equal(2, #lib.record:take())
    assert.equal(held, books[1].author)
    assert.equal("a2", books[4].author.name)
    assert.equal(0, #lib.record:take())
  end)

  it("finds what belongs to many objects by whatever keys they have", function()
    local base = orm.declarative_base()
    local Shelf = base:model("Shelf", { __tablename__ = "shelf",
      name = orm.mapped_column(orm.String, { primary_key = true }),
      floor = orm.mapped_column(orm.Float, { primary_key = true }),
      items = orm.relationship("Item"),
    })
    local Item = base:model("Item", { __tablename__ = "item",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      shelf_name = orm.mapped_column(orm.String), shelf_floor = orm.mapped_column(orm.Float),
      __table_args__ = { orm.ForeignKeyConstraint({ "shelf_name", "shelf_floor" }, { "shelf.name", "shelf.floor" }) },
    })
    local session = orm.Session(database.create(base))
    local odd = { 'a "quoted" one', "back\\slash", "line\nend", "tab\t", "\1\31", "\127", "z\195\188rich", "" }
    local function count_found(extra)
      for i = 1, 40 do
        session:add(Shelf{ name = (odd[i] or "shelf " .. i) .. extra, floor = i + i / 3, items = { Item{}, Item{} } })
      end
      session:commit()
      session:expunge_all()
      local found = 0
      for _, shelf in ipairs(session:scalars(orm.select(Shelf):options(orm.selectinload(Shelf.items))):all()) do
        found = found + #shelf.items
      end
      return found
    end
    assert.equal(80, count_found(""))
    assert.equal(160, count_found("\0")) -- for which JSON has no place
  end)

  it("leaves a relationship as it was where the statement fails in the midst of its rows", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:execute(orm.text("UPDATE book SET title = 'last' WHERE title = 'b2'"))
    -- abs() has no answer for the smallest integer, which the second book makes of its title
    local fails = orm.func.abs(orm.case_():when(lib.Book.title:eq("last"), orm.literal_column("-9223372036854775808"))
      :else_(lib.Book.id)):ge(0)
    for _, stmt in ipairs{
      orm.select(lib.Author):options(orm.selectinload(lib.Author.books:and_(fails))),
      orm.select(lib.Author):join(lib.Author.books):options(orm.contains_eager(lib.Author.books)):where(fails),
    } do
      raises("OperationalError", "overflow", function()
        lib.session:scalars(stmt):unique():all()
      end)
    end
    assert.equal("b1 last", titles(author.books))
  end)

  it("leaves what is loaded, and was changed, alone", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:no_autoflush(function(session)
      author.books:append(lib.Book { title = "new" })
      session:scalars(orm.select(lib.Author):options(orm.selectinload(lib.Author.books))):all()
      assert.equal("b1 b2 new", titles(author.books))
    end)
  end)

  it("keeps what the other side has changed and not flushed", function()
    for _, option in ipairs { orm.selectinload, orm.joinedload } do
      local lib = library.open()
      lib.session:no_autoflush(function(session)
        local author, book = session:get(lib.Author, 1), session:get(lib.Book, 3)
        book.author = author
        session:scalars(orm.select(lib.Author):options(option(lib.Author.books))):unique():all()
        assert.equal("b1 b2 b3", titles(author.books))
      end)
    end
  end)

  it("finds rows of composite keys, and of more keys than one statement takes", function()
    local base = orm.declarative_base()
    local Part = base:model("Part", {
      __tablename__ = "part",
      a = orm.mapped_column(orm.Integer, { primary_key = true }),
      b = orm.mapped_column(orm.String(5), { primary_key = true }),
      screws = orm.relationship("Screw", { back_populates = "part" }),
    })
    base:model("Screw", {
      __tablename__ = "screw",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      part_a = orm.mapped_column(orm.Integer),
      part_b = orm.mapped_column(orm.String(5)),
      part = orm.relationship("Part", { back_populates = "screws" }),
      __table_args__ = { orm.ForeignKeyConstraint({ "part_a", "part_b" }, { "part.a", "part.b" }) },
    })
    local engine = orm.create_engine("sqlite://")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    for number = 1, 1100 do
      local part = Part { a = number, b = "x" .. number % 3 }
      part.screws:append(base.registry.classes.Screw.class {})
      session:add(part)
    end
    session:commit()
    session:expunge_all()
    local count = 0
    for _, part in ipairs(session:scalars(orm.select(Part):options(orm.selectinload(Part.screws))):all()) do
      count = count + #part.screws
    end
    assert.equal(1100, count)
  end)

  it("can be the default of a relationship", function()
    local lib = library.open { books = { lazy = "selectin" } }
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author)):all()
    assert.equal(2, #lib.record:take())
    assert.equal(2, #authors[1].books)
    lib.session:expunge_all()
    lib.session:scalars(orm.select(lib.Author):options(orm.lazyload(lib.Author.books))):all()
    assert.equal(1, #lib.record:take())
  end)

  it("refuses what is no relationship, and paths that do not meet", function()
    local lib = library.open()
    raises("ArgumentError", { "selectinload()", "relationship" }, orm.selectinload, lib.Author.name)
    raises("ArgumentError", { "Book.tags", "Author.books", "'Tag'" }, function()
      return orm.selectinload(lib.Book.tags):selectinload(lib.Author.books)
    end)
    raises("ArgumentError", "loader option", function()
      lib.session:scalars(orm.select(lib.Author):options(lib.Author.books))
    end)
  end)
end)

describe("joinedload", function()
  it("brings collections along in one statement, each object once", function()
    local lib = library.open()
    lib.session:add(lib.Author { name = "without" })
    lib.session:commit()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by("id"):options(orm.joinedload(lib.Author.books)))
      :unique():all()
    assert.same({ "SELECT author.id, author.name, book_1.id, book_1.author_id, book_1.title, book_1.year FROM author "
      .. "LEFT OUTER JOIN book AS book_1 ON author.id = book_1.author_id ORDER BY author.id, book_1.id" }, lib.record:take())
    assert.equal(3, #authors)
    assert.equal("b1 b2", titles(authors[1].books))
    assert.equal("b3 b4", titles(authors[2].books))
    assert.equal(0, #authors[3].books)
    assert.equal(0, #lib.record:take())
  end)

  it("asks for unique() where rows were multiplied, and not elsewhere", function()
    local lib = library.open()
    raises("InvalidRequestError", "unique()", function()
      lib.session:scalars(orm.select(lib.Author):options(orm.joinedload(lib.Author.books))):all()
    end)
    assert.equal(4, #lib.session:scalars(orm.select(lib.Book):options(orm.joinedload(lib.Book.author))):all())
  end)

  it("limits objects, not rows", function()
    local lib = library.open()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by(lib.Author.id:desc()):limit(1)
      :options(orm.joinedload(lib.Author.books))):unique():all()
    assert.equal(1, #lib.record:take())
    assert.equal(1, #authors)
    assert.equal("b3 b4", titles(authors[1].books))
  end)

  it("goes on along a path, over link tables and back to many-to-one", function()
    local lib = library.open()
    lib.record:take()
    local authors = lib.session:scalars(orm.select(lib.Author):order_by("id"):options(
      orm.joinedload(lib.Author.books):joinedload(lib.Book.tags))):unique():all()
    assert.equal(1, #lib.record:take())
    assert.equal(2, #authors[1].books)
    assert.equal(2, #authors[1].books[1].tags)
    assert.equal(1, #authors[1].books[2].tags)
    assert.equal(0, #lib.record:take())
  end)

  it("leaves a loaded collection alone, unless existing objects are populated", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    lib.session:no_autoflush(function(session)
      author.books:append(lib.Book { title = "new" })
      local query = orm.select(lib.Author):options(orm.joinedload(lib.Author.books))
      session:scalars(query):unique():all()
      assert.equal("b1 b2 new", titles(author.books))
      session:scalars(query:execution_options { populate_existing = true }):unique():all()
      assert.equal("b1 b2", titles(author.books))
    end)
  end)

  it("can be the default of a relationship, and rows of one class can be had too", function()
    local lib = library.open { author = { lazy = "joined" } }
    lib.record:take()
    local row = lib.session:execute(orm.select(lib.Book):order_by("id")):first()
    assert.equal(1, #lib.record:take())
    assert.equal("a1", row.Book.author.name)
    assert.equal(0, #lib.record:take())
  end)

  it("works in the legacy style, where first() takes one object", function()
    local lib = library.open()
    local author = lib.session:query(lib.Author):options(orm.joinedload(lib.Author.books)):order_by("id"):first()
    assert.equal("b1 b2", titles(author.books))
  end)
end)

describe("a condition on a relationship", function()
  it("any() asks for an item of a collection, has() for a single object", function()
    local lib = library.open()
    local function count(class, condition)
      return #lib.session:scalars(orm.select(class):where(condition)):all()
    end
    assert.equal(1, count(lib.Author, lib.Author.books:any(lib.Book.title:eq("b3"))))
    assert.equal(2, count(lib.Author, lib.Author.books:any()))
    assert.equal(2, count(lib.Book, lib.Book.author:has(lib.Author.name:eq("a1"))))
    assert.equal(2, count(lib.Book, lib.Book.tags:any()))
    assert.equal(1, count(lib.Book, lib.Book.tags:any(lib.Tag.name:eq("t2"))))
    assert.equal(2, count(lib.Book, orm.not_(lib.Book.tags:any())))
    raises("InvalidRequestError", "has()", function() return lib.Book.author:any() end)
    raises("InvalidRequestError", "any()", function() return lib.Author.books:has() end)
  end)
end)

describe("aliased", function()
  it("lets a class stand in a statement twice", function()
    local lib = library.open()
    local Other = orm.aliased(lib.Book)
    local rows = lib.session:execute(orm.select(lib.Book.title, Other.title):join(Other,
      orm.and_(Other.author_id:eq(lib.Book.author_id), Other.id:gt(lib.Book.id))):order_by(lib.Book.id)):all()
    assert.equal("b1", rows[1][1])
    assert.equal("b2", rows[1][2])
    assert.equal(2, #rows)
  end)

  it("gives objects of the class, and follows its relationships", function()
    local lib = library.open()
    local Other = orm.aliased(lib.Book)
    local pair = lib.session:execute(orm.select(lib.Author, Other):join(Other, Other.author_id:eq(lib.Author.id))
      :where(Other.title:eq("b3"))):one()
    assert.equal(lib.session:get(lib.Book, 3), pair[2])
    assert.equal("a2", pair[1].name)
    local names = lib.session:execute(orm.select(lib.Author.name):join(Other.author):where(Other.title:eq("b4"))):all()
    assert.equal("a2", names[1].name)
    raises("ArgumentError", { "Book", "titel", "title" }, function() return Other.titel end)
  end)
end)

it("lists joined to objects that several parents share hold each object once", function()
  local lib = library.open()
  local select = orm.select(lib.Book):order_by(lib.Book.id)
  local books = lib.session:scalars(select:options(orm.selectinload(lib.Book.tags):joinedload(lib.Tag.books))):all()
  assert.equal(2, #books[1].tags[1].books)
  assert.equal(books[2], books[1].tags[1].books[2])
end)
