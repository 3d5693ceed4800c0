-- Relationships that join by conditions of the script's own: what they load, lazily, by selectin and joined; what they
-- write; how they stand in queries; what is said of a condition that cannot work.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, ForeignKey, relationship = orm.Integer, orm.String, orm.ForeignKey, orm.relationship
local Column, Mapped, Optional, select = orm.Column, orm.Mapped, orm.Optional, orm.select

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function open(base)
  local engine = database.create(base)
  return orm.Session(engine), engine
end

local function keys(list)
  local found = {}
  for _, object in list do
    found[#found + 1] = tostring(orm.inspect(object).identity[1])
  end
  return table.concat(found, " ")
end

-- What a collection shows for each object of a class, loaded in one of the three ways, by key.
local LOADERS = {
  lazily = function(class) return select(class) end,
  selectin = function(class, attribute) return select(class):options(orm.selectinload(attribute)) end,
  joined = function(class, attribute) return select(class):options(orm.joinedload(attribute)) end,
}

local function shown(session, class, name, way)
  session:close()
  local found = {}
  for object in session:scalars(LOADERS[way](class, class[name])):unique() do
    found[tostring(orm.inspect(object).identity[1])] = keys(object[name])
  end
  return found
end

local function each_way(fn)
  for _, way in ipairs { "lazily", "selectin", "joined" } do
    fn(way)
  end
end

local function town(options)
  local base = orm.declarative_base()
  local User = base:model("User", { __tablename__ = "user", id = id(), name = Mapped(String),
    places = relationship("Address", options) })
  local Address = base:model("Address", { __tablename__ = "address", id = id(), city = Mapped(String),
    user_id = Mapped(Optional(Integer), ForeignKey("user.id")) })
  local session, engine = open(base)
  session:add_all { User { id = 1, name = "boston" }, User { id = 2, name = "york" } }
  session:flush()
  for number, one in ipairs { { 1, "Boston" }, { 1, "York" }, { 2, "York" }, { 2, "Boston" }, { 2, "York" } } do
    session:add(Address { id = number, user_id = one[1], city = one[2] })
  end
  session:commit()
  return User, Address, session, engine
end

describe("a primaryjoin", function()
  for name, join in pairs {
    ["as a string"] = "User.id == Address.user_id",
    ["as a function that is given both classes"] = function(User, Address) return User.id:eq(Address.user_id) end,
  } do
    it(name .. " loads what the foreign key would", function()
      local User, _, session = town { primaryjoin = join, order_by = "id" }
      each_way(function(way)
        assert.same({ ["1"] = "1 2", ["2"] = "3 4 5" }, shown(session, User, "places", way))
      end)
    end)
  end

  it("that asks more of the target than its key keeps that wherever the relationship goes", function()
    local User, Address, session = town { primaryjoin = function(User, Address)
      return orm.and_(User.id:eq(Address.user_id), Address.city:eq("York"))
    end, order_by = "id" }
    each_way(function(way)
      assert.same({ ["1"] = "2", ["2"] = "3 5" }, shown(session, User, "places", way))
    end)
    assert.same({ 2, 3, 5 }, session:scalars(select(Address.id):select_from(User):join(User.places):order_by(Address.id)):all())
    assert.same({ 2 }, session:scalars(select(User.id):where(User.places:any(Address.id:gt(4)))):all())
  end)

  it("that asks more of the target still writes its key", function()
    local User, Address, session, engine = town { primaryjoin = function(User, Address)
      return orm.and_(User.id:eq(Address.user_id), Address.city:eq("York"))
    end, order_by = "id" }
    local user = session:get(User, 1)
    user.places:append(Address { city = "York" })
    user.places:append(Address { city = "Leeds" })
    session:commit()
    assert.same({ "6|York|1", "7|Leeds|1" }, rows(engine, "SELECT id, city, user_id FROM address WHERE id > 5 ORDER BY id"))
    assert.equal("2 6", keys(user.places))
    user.places:clear()
    session:commit()
    assert.same({ "1", "7" }, rows(engine, "SELECT id FROM address WHERE user_id = 1 ORDER BY id"))
  end)

  it("that asks more of the parent than its key is loaded through the parent", function()
    local User, _, session, engine = town { viewonly = true, order_by = "id", primaryjoin = function(User, Address)
      return orm.and_(User.id:eq(Address.user_id), orm.func.lower(Address.city):eq(User.name))
    end }
    each_way(function(way)
      assert.same({ ["1"] = "1", ["2"] = "3 5" }, shown(session, User, "places", way))
    end)
    local record = statements.record(engine)
    shown(session, User, "places", "selectin")
    assert.equal(2, #record:take())
  end)

  it("of a many-to-one with a criterion is not answered from the session by the key alone", function()
    local base = orm.declarative_base()
    local Author = base:model("Author", { __tablename__ = "author", id = id(), alive = Mapped(Integer) })
    local Book = base:model("Book", { __tablename__ = "book", id = id(),
      author_id = Mapped(Integer, ForeignKey("author.id")), author = relationship("Author"),
      living = relationship("Author", { viewonly = true, primaryjoin = function(Book, Writer)
        return orm.and_(Book.author_id:eq(Writer.id), Writer.alive:eq(1))
      end }) })
    local session = open(base)
    session:add_all { Book { author = Author { alive = 1 } }, Book { author = Author { alive = 0 } } }
    session:commit()
    assert.is_truthy(session:get(Author, 2))
    for _, way in ipairs { "lazyload", "selectinload", "joinedload" } do
      session:expunge_all()
      local held = session:scalars(select(Author)):all()
      local books = session:scalars(select(Book):options(orm[way](Book.living)):order_by(Book.id)):all()
      assert.equal(held[1], books[1].living)
      assert.is_nil(books[2].living)
    end
    assert.same({ 1 }, session:scalars(select(Book.id):where(Book.living:has())):all())
  end)

  it("without a foreign key in the tables goes by foreign()", function()
    local base = orm.declarative_base()
    local Place = base:model("Place", { __tablename__ = "place", id = id(), code = Mapped(String),
      visits = relationship("Visit", { back_populates = "place", order_by = "id",
        primaryjoin = function(Place, Visit) return Place.code:eq(orm.foreign(Visit.code)) end }) })
    local Visit = base:model("Visit", { __tablename__ = "visit", id = id(), code = Mapped(Optional(String)),
      place = relationship("Place", { back_populates = "visits", foreign_keys = "Visit.code",
        primaryjoin = "Place.code == Visit.code" }) })
    local session, engine = open(base)
    local place = Place { code = "X", visits = { Visit {}, Visit {} } }
    assert.equal(place, place.visits[1].place)
    session:add(place)
    session:commit()
    assert.same({ "1|X", "2|X" }, rows(engine, "SELECT id, code FROM visit ORDER BY id"))
    each_way(function(way)
      assert.same({ ["1"] = "1 2" }, shown(session, Place, "visits", way))
    end)
    assert.equal("X", session:get(Visit, 1).place.code)
  end)

  it("tells one-to-one by a unique key, as the foreign key alone does", function()
    local base = orm.declarative_base()
    local User = base:model("User", { __tablename__ = "user", id = id(),
      card = relationship("Card", { primaryjoin = "User.id == Card.user_id" }) })
    base:model("Card", { __tablename__ = "card", id = id(),
      user_id = Mapped(Integer, ForeignKey("user.id"), { unique = true }) })
    assert.is_false(orm.inspect(User).relationships[1].uselist)
  end)
end)

describe("a class that is related to itself by a primaryjoin", function()
  it("has its descendants by a path", function()
    local base = orm.declarative_base()
    local Element = base:model("Element", { __tablename__ = "element", path = Mapped(String, { primary_key = true }),
      descendants = relationship("Element", { viewonly = true, order_by = "path", primaryjoin = function(Element)
        return orm.remote(orm.foreign(Element.path)):like(Element.path .. "/%")
      end }) })
    local session = open(base)
    for _, path in ipairs { "a", "a/b", "a/b/c", "d" } do
      session:add(Element { path = path })
    end
    session:commit()
    each_way(function(way)
      assert.same({ a = "a/b a/b/c", ["a/b"] = "a/b/c", ["a/b/c"] = "", d = "" }, shown(session, Element, "descendants", way))
    end)
    assert.same({ "a", "a/b" }, session:scalars(select(Element.path):where(Element.descendants:any())
      :order_by(Element.path)):all())
    assert.same({ "a" }, session:scalars(select(Element.path):where(Element.descendants:any(Element.path:eq("a/b")))):all())
  end)

  it("has both ends by remote()", function()
    local base = orm.declarative_base()
    local Node = base:model("Node", { __tablename__ = "node", id = id(),
      parent_id = Mapped(Optional(Integer), ForeignKey("node.id")),
      parent = relationship("Node", { backref = "children",
        primaryjoin = function(Node) return Node.parent_id:eq(orm.remote(Node.id)) end }) })
    local session, engine = open(base)
    local root = Node { children = { Node {}, Node {} } }
    assert.equal(root, root.children[2].parent)
    session:add(root)
    session:commit()
    assert.same({ "1|NULL", "2|1", "3|1" }, rows(engine, "SELECT id, parent_id FROM node ORDER BY id"))
  end)
end)

describe("a backref", function()
  it("goes by the conditions and columns of its side, whichever class is looked at first", function()
    for _, options in ipairs {
      { primaryjoin = function(Author, Book) return Author.id:eq(Book.author_id) end },
      { foreign_keys = function(_, Book) return Book.author_id end },
      { foreign_keys = "Book.author_id" },
    } do
      local base = orm.declarative_base()
      options.backref = "author"
      local Book = base:model("Book", { __tablename__ = "book", id = id(),
        author_id = Mapped(Optional(Integer), ForeignKey("author.id")),
        editor_id = Mapped(Optional(Integer), ForeignKey("author.id")) })
      local Author = base:model("Author", { __tablename__ = "author", id = id(), books = relationship("Book", options) })
      local session, engine = open(base)
      local book = Book { author = Author {} }
      assert.equal(book, book.author.books[1])
      session:add(book)
      session:commit()
      assert.same({ "1|1|NULL" }, rows(engine, "SELECT id, author_id, editor_id FROM book"))
    end
  end)
end)

describe("a secondaryjoin", function()
  for name, options in pairs {
    backref = { backref = "left" },
    ["backref with options"] = { backref = orm.backref("left", { order_by = "id" }) },
  } do
    it("leads from a class to itself, both ways, by " .. name, function()
      local base = orm.declarative_base()
      options.secondary, options.order_by = "edge", "id"
      options.primaryjoin, options.secondaryjoin = "Node.id == edge.left_id", "Node.id == edge.right_id"
      local Node = base:model("Node", { __tablename__ = "node", id = id(), right = relationship("Node", options) })
      orm.Table("edge", base.metadata, Column("left_id", Integer, ForeignKey("node.id"), { primary_key = true }),
        Column("right_id", Integer, ForeignKey("node.id"), { primary_key = true }))
      local session, engine = open(base)
      local one, two, three = Node {}, Node {}, Node {}
      one.right = { two, three }
      assert.equal(one, three.left[1])
      session:add(one)
      session:commit()
      assert.same({ "1|2", "1|3" }, rows(engine, "SELECT left_id, right_id FROM edge ORDER BY right_id"))
      each_way(function(way)
        assert.same({ ["1"] = "2 3", ["2"] = "", ["3"] = "" }, shown(session, Node, "right", way))
        assert.same({ ["1"] = "", ["2"] = "1", ["3"] = "1" }, shown(session, Node, "left", way))
      end)
    end)
  end

  it("may ask more of link and target", function()
    local base = orm.declarative_base()
    local Student = base:model("Student", { __tablename__ = "student", id = id(),
      passed = relationship("Course", { secondary = "mark", viewonly = true, order_by = "id",
        primaryjoin = function(Student, _, mark) return orm.and_(Student.id:eq(mark.c.student_id), mark.c.grade:ge(5)) end,
        secondaryjoin = function(_, Course, mark) return orm.and_(Course.id:eq(mark.c.course_id), Course.hard:eq(1)) end }) })
    local Course = base:model("Course", { __tablename__ = "course", id = id(), hard = Mapped(Integer) })
    orm.Table("mark", base.metadata, Column("student_id", Integer, ForeignKey("student.id"), { primary_key = true }),
      Column("course_id", Integer, ForeignKey("course.id"), { primary_key = true }), Column("grade", Integer))
    local session = open(base)
    session:add_all { Student { id = 1 }, Student { id = 2 }, Course { id = 1, hard = 1 }, Course { id = 2, hard = 0 } }
    session:flush()
    database.run(session, "INSERT INTO mark VALUES (1, 1, 6), (1, 2, 9), (2, 1, 3)")
    session:commit()
    each_way(function(way)
      assert.same({ ["1"] = "1", ["2"] = "" }, shown(session, Student, "passed", way))
    end)
    assert.same({ 1 }, session:scalars(select(Student.id):where(Student.passed:any())):all())
  end)
end)

describe("a viewonly relationship through a join", function()
  it("reads what lies behind several tables", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = id(), b_id = Mapped(Integer, ForeignKey("b.id")),
      ds = relationship("D", { viewonly = true, order_by = "id",
        secondary = function() return orm.join(base.metadata.tables.b, base.metadata.tables.c) end,
        primaryjoin = "A.b_id == b.id", secondaryjoin = "D.c_id == c.id" }) })
    local B = base:model("B", { __tablename__ = "b", id = id() })
    local C = base:model("C", { __tablename__ = "c", id = id(), b_id = Mapped(Integer, ForeignKey("b.id")) })
    local D = base:model("D", { __tablename__ = "d", id = id(), c_id = Mapped(Integer, ForeignKey("c.id")) })
    local session = open(base)
    session:add_all { B { id = 1 }, B { id = 2 }, C { id = 1, b_id = 1 }, C { id = 2, b_id = 1 }, C { id = 3, b_id = 2 } }
    session:flush()
    session:add_all { D { id = 1, c_id = 1 }, D { id = 2, c_id = 2 }, D { id = 3, c_id = 3 }, A { id = 1, b_id = 1 },
      A { id = 2, b_id = 2 } }
    session:commit()
    each_way(function(way)
      assert.same({ ["1"] = "1 2", ["2"] = "3" }, shown(session, A, "ds", way))
    end)
    assert.same({ 2 }, session:scalars(select(A.id):join(A.ds):where(D.id:eq(3))):all())
  end)
end)

describe("a relationship to an aliased class", function()
  it("reads the first rows of each group", function()
    local base = orm.declarative_base()
    local Item
    local List = base:model("List", { __tablename__ = "list", id = id(),
      top = relationship(function()
        local numbered = select(Item, orm.func.row_number():over { partition_by = Item.list_id, order_by = Item.rank:desc() }
          :label("place")):subquery()
        return orm.aliased(Item, numbered)
      end, { viewonly = true, order_by = function(_, Top) return Top.rank:desc() end,
        primaryjoin = function(List, Top) return orm.and_(List.id:eq(Top.list_id), Top.place:le(2)) end }) })
    Item = base:model("Item", { __tablename__ = "item", id = id(), rank = Mapped(Integer),
      list_id = Mapped(Integer, ForeignKey("list.id")) })
    local session = open(base)
    session:add_all { List { id = 1 }, List { id = 2 } }
    session:flush()
    for number, rank in ipairs { 5, 9, 7, 1 } do
      session:add(Item { id = number, list_id = number == 4 and 2 or 1, rank = rank })
    end
    session:commit()
    each_way(function(way)
      assert.same({ ["1"] = "2 3", ["2"] = "4" }, shown(session, List, "top", way))
    end)
    assert.equal(session:get(Item, 2), session:get(List, 1).top[1])
  end)
end)

describe("a condition that cannot work is explained:", function()
  local function mistake(options, kind, ...)
    local base = orm.declarative_base()
    base:model("User", { __tablename__ = "user", id = id(), name = Mapped(String), places = relationship("Address", options) })
    base:model("Address", { __tablename__ = "address", id = id(), city = Mapped(String),
      user_id = Mapped(Integer, ForeignKey("user.id")) })
    base:model("Other", { __tablename__ = "other", id = id() })
    raises(kind, { ... }, function() base.registry:configure() end)
  end

  it("no foreign key in it", function()
    mistake({ primaryjoin = "User.name == Address.city" }, "ArgumentError", "User.places", "is known to be the foreign key",
      "orm.foreign(column)")
  end)
  it("no equality, and not viewonly", function()
    mistake({ primaryjoin = function(User, Address) return User.id:lt(orm.foreign(Address.user_id)) end }, "ArgumentError",
      "User.places", "viewonly = true")
  end)
  it("a column of a third table", function()
    mistake({ primaryjoin = "User.id == Other.id", foreign_keys = "Other.id" }, "ArgumentError",
      "'other.id', which belongs neither")
  end)
  it("a string that is more than names", function()
    mistake({ primaryjoin = "User.id == 5" }, "ArgumentError", "User.places: primaryjoin = 'User.id == 5'", "a function")
  end)
  it("a misspelt name in a string", function()
    mistake({ primaryjoin = "User.id == Address.usr_id" }, "ArgumentError", "did you mean 'user_id'?")
  end)
  it("a function that returns no condition", function()
    mistake({ primaryjoin = function(User, Address) return User.id == Address.user_id end }, "ArgumentError",
      "must be a condition such as", "false")
  end)
  it("a secondaryjoin without secondary", function()
    mistake({ secondaryjoin = "User.id == Address.user_id" }, "ArgumentError", "give secondary")
  end)
  it("a join as secondary that should be written", function()
    mistake({ secondary = function(User, Address) return orm.join(User, Address) end }, "ArgumentError", "viewonly = true")
  end)
  it("a list wished for where the condition gives one object", function()
    local base = orm.declarative_base()
    base:model("User", { __tablename__ = "user", id = id() })
    base:model("Address", { __tablename__ = "address", id = id(), user_id = Mapped(Integer, ForeignKey("user.id")),
      users = relationship("User", { uselist = true, primaryjoin = "User.id == Address.user_id" }) })
    raises("ArgumentError", "uselist = true on a many-to-one", function() base.registry:configure() end)
  end)
end)
