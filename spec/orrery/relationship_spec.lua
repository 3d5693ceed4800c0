-- Every pattern of relationship, declared in every way: what the two sides show before a flush, which rows come of it,
-- and what is read back.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run
local Column, Integer, String, ForeignKey, relationship = orm.Column, orm.Integer, orm.String, orm.ForeignKey, orm.relationship

local function key(...)
  return orm.mapped_column(Integer, ..., { primary_key = true })
end

local function id()
  return orm.mapped_column(Integer, { primary_key = true })
end

local function open(base)
  local engine = database.create(base)
  return orm.Session(engine), engine
end

-- ---- the four patterns, each in three ways of declaring ----

-- Options of the two sides for a way of declaring; nil leaves a side out.
local WAYS = {
  back_populates = function(near, far)
    return { back_populates = far }, { back_populates = near }
  end,
  backref = function(_, far)
    return { backref = far }, nil
  end,
  ["backref with options"] = function(_, far)
    return { backref = orm.backref(far, { doc = "the other side" }) }, nil
  end,
}

local function with(options, more)
  if options then
    for name, value in pairs(more or {}) do
      options[name] = value
    end
  end
  return options
end

local function declared(target, options)
  return options and relationship(target, options) or nil
end

describe("one-to-many", function()
  for _, way in ipairs { "back_populates", "backref", "backref with options" } do
    local function family()
      local base = orm.declarative_base()
      local near, far = WAYS[way]("children", "parent")
      local Parent = base:model("Parent", { __tablename__ = "parent", id = id(), children = declared("Child", near) })
      local Child = base:model("Child", { __tablename__ = "child", id = id(),
        parent_id = orm.mapped_column(Integer, ForeignKey("parent.id")), parent = declared("Parent", far) })
      return Parent, Child, open(base)
    end

    it("with " .. way .. " agrees on both sides before anything is written", function()
      local Parent, Child = family()
      local parent, child, other = Parent {}, Child {}, Child {}
      child.parent = parent
      assert.equal(child, parent.children[1])
      parent.children:append(other)
      assert.equal(parent, other.parent)
      local second = Parent { children = { child } }
      assert.equal(second, child.parent)
      assert.same({ other }, parent.children:to_table())
    end)

    it("with " .. way .. " is written and read back from both sides", function()
      local Parent, Child, session, engine = family()
      session:add(Parent { children = { Child {}, Child {} } })
      session:add(Child { parent = Parent {} })
      session:commit()
      assert.same({ "1|1", "2|1", "3|2" }, rows(engine, "SELECT id, parent_id FROM child ORDER BY id"))
      session:close()
      local child = session:get(Child, 2)
      assert.equal(1, child.parent.id)
      assert.equal(2, #child.parent.children)
      assert.is_true(child.parent.children:contains(child))
    end)
  end

  it("declared on the one side alone writes the foreign key", function()
    local base = orm.declarative_base()
    local Child = base:model("Child", { __tablename__ = "child", id = id(),
      parent_id = orm.mapped_column(Integer, ForeignKey("parent.id")) })
    local Parent = base:model("Parent", { __tablename__ = "parent", id = id(), children = relationship(Child) })
    local session, engine = open(base)
    local parent = Parent { children = { Child {}, Child {} } }
    session:add(parent)
    session:commit()
    assert.same({ "1|1", "2|1" }, rows(engine, "SELECT id, parent_id FROM child ORDER BY id"))
    parent.children:remove(session:get(Child, 1))
    session:commit()
    assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, parent_id FROM child ORDER BY id"))
    session:add(Parent { children = { session:get(Child, 1), session:get(Child, 2) } })
    session:commit()
    assert.same({ "1|2", "2|2" }, rows(engine, "SELECT id, parent_id FROM child ORDER BY id"))
  end)

  it("declared on the many side alone writes the foreign key", function()
    local base = orm.declarative_base()
    local Parent = base:model("Parent", { __tablename__ = "parent", id = id() })
    local Child = base:model("Child", { __tablename__ = "child", id = id(),
      parent_id = orm.mapped_column(Integer, ForeignKey("parent.id")),
      parent = relationship(function() return Parent end) })
    local session, engine = open(base)
    local child = Child { parent = Parent {} }
    session:add(child)
    session:commit()
    assert.same({ "1|1" }, rows(engine, "SELECT id, parent_id FROM child"))
    child.parent = Parent {}
    session:commit()
    assert.same({ "1|2" }, rows(engine, "SELECT id, parent_id FROM child"))
    child.parent = nil
    session:commit()
    assert.same({ "1|NULL" }, rows(engine, "SELECT id, parent_id FROM child"))
  end)

  it("declared on both sides without a word of each other warns, and agrees after the commit", function()
    local lib = library.declare { books = { back_populates = false }, author = { back_populates = false } }
    local warnings = {}
    local former = orm.on_warning(function(message) warnings[#warnings + 1] = message end)
    lib.base.registry:configure() -- other specs leave classes behind that cannot be configured
    orm.on_warning(former)
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("Author.books", 1, true) and warnings[1]:find("Book.author", 1, true))
    local session = orm.Session(database.create(lib.base))
    local author, book = lib.Author {}, lib.Book {}
    author.books:append(book)
    session:add(author)
    assert.is_nil(book.author)
    session:commit()
    assert.equal(author, book.author)
  end)

  it("follows order_by, given as name, attribute, descending, or list of them", function()
    for _, case in ipairs {
      { function() return "title" end, "a b c" },
      { function() return "Item.title" end, "a b c" },
      { function(Item) return Item.title:desc() end, "c b a" },
      { function(Item) return function() return { Item.kind, Item.title } end end, "b a c" },
    } do
      local base = orm.declarative_base()
      local Item = base:model("Item", { __tablename__ = "item", id = id(), title = orm.mapped_column(String),
        kind = orm.mapped_column(Integer), list_id = orm.mapped_column(Integer, ForeignKey("list.id")) })
      local List = base:model("List", { __tablename__ = "list", id = id(),
        items = relationship("Item", { order_by = case[1](Item) }) })
      local session = open(base)
      session:add(List { items = { Item { title = "c", kind = 2 }, Item { title = "a", kind = 2 },
        Item { title = "b", kind = 1 } } })
      session:commit()
      local seen = {}
      for position, item in session:get(List, 1).items do
        seen[position] = item.title
      end
      assert.equal(case[2], table.concat(seen, " "))
    end
  end)

  it("tells two foreign keys to one table apart by foreign_keys", function()
    local base = orm.declarative_base()
    local Address = base:model("Address", { __tablename__ = "address", id = id(), street = orm.mapped_column(String) })
    local Customer = base:model("Customer", { __tablename__ = "customer", id = id(),
      billing_id = orm.mapped_column(Integer, ForeignKey("address.id")),
      shipping_id = orm.mapped_column(Integer, ForeignKey("address.id")),
      billing = relationship("Address", { foreign_keys = "billing_id" }),
      shipping = relationship("Address", { foreign_keys = "Customer.shipping_id", backref = "shipped_to" }) })
    local session, engine = open(base)
    local home, work = Address { street = "home" }, Address { street = "work" }
    local customer = Customer { billing = work, shipping = home }
    assert.equal(customer, home.shipped_to[1])
    session:add(customer)
    session:commit()
    assert.same({ "work|home" }, rows(engine, "SELECT b.street, s.street FROM customer c JOIN address b ON b.id = c.billing_id "
      .. "JOIN address s ON s.id = c.shipping_id"))
    assert.equal("work", customer.billing.street)
  end)

  it("joins on all columns of a composite key", function()
    local base = orm.declarative_base()
    local Order = base:model("Order", { __tablename__ = "orders", shop = orm.mapped_column(String, { primary_key = true }),
      number = orm.mapped_column(Integer, { primary_key = true }),
      lines = relationship("Line", { back_populates = "order", order_by = "Line.id" }) })
    local Line = base:model("Line", { __tablename__ = "line", id = id(), shop = orm.mapped_column(String),
      number = orm.mapped_column(Integer), order = relationship("Order", { back_populates = "lines" }),
      __table_args__ = { orm.ForeignKeyConstraint({ "shop", "number" }, { "orders.shop", "orders.number" }) } })
    local session, engine = open(base)
    session:add_all { Order { shop = "n", number = 1, lines = { Line {}, Line {} } }, Order { shop = "s", number = 1,
      lines = { Line {} } } }
    session:commit()
    assert.same({ "1|n|1", "2|n|1", "3|s|1" }, rows(engine, "SELECT id, shop, number FROM line ORDER BY id"))
    session:close()
    local order = session:get(Order, { "n", 1 })
    assert.equal(2, #order.lines)
    assert.equal(order, session:get(Order, { number = 1, shop = "n" }))
    assert.equal("s", session:get(Line, 3).order.shop)
    session:get(Line, 2).order = session:get(Order, { "s", 1 })
    session:get(Line, 1).order = nil
    session:commit()
    assert.same({ "1|NULL|NULL", "2|s|1", "3|s|1" }, rows(engine, "SELECT id, shop, number FROM line ORDER BY id"))
  end)

  it("works over a foreign key that is text", function()
    local base = orm.declarative_base()
    local Country = base:model("Country", { __tablename__ = "country",
      code = orm.mapped_column(String(2), { primary_key = true }),
      cities = relationship("City", { back_populates = "country" }) })
    local City = base:model("City", { __tablename__ = "city", name = orm.mapped_column(String, { primary_key = true }),
      country_code = orm.mapped_column(ForeignKey("country.code")),
      country = relationship("Country", { back_populates = "cities" }) })
    local session, engine = open(base)
    session:add(Country { code = "it", cities = { City { name = "Roma" }, City { name = "Forlì" } } })
    session:commit()
    assert.same({ "Forlì|it", "Roma|it" }, rows(engine, "SELECT name, country_code FROM city ORDER BY name"))
    assert.equal(session:get(Country, "it"), session:get(City, "Roma").country)
  end)
end)

describe("many-to-one", function()
  it("is found in the session without a statement", function()
    local lib = library.open()
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
    lib.record:take()
    assert.equal(author, book.author)
    assert.same({}, lib.record:take())
    assert.equal("a2", lib.session:get(lib.Book, 3).author.name)
    assert.same({ "SELECT book", "SELECT author" }, lib.record:headlines())
  end)

  it("whose foreign key is NULL is nil without a statement", function()
    local lib = library.open()
    run(lib.engine, "UPDATE book SET author_id = NULL")
    local book = lib.session:get(lib.Book, 1)
    lib.record:take()
    assert.is_nil(book.author)
    assert.same({}, lib.record:take())
  end)

  it("takes nil and orm.null", function()
    local lib = library.open()
    for number, nothing in ipairs { { nil }, { orm.null } } do
      local book = lib.session:get(lib.Book, number)
      book.author = nothing[1]
      assert.is_nil(book.author)
    end
    lib.session:commit()
    assert.same({ "1|NULL", "2|NULL" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id < 3"))
  end)

  it("can be given by its foreign key: read after the flush", function()
    local lib = library.open()
    local book = lib.Book { author_id = 2 }
    lib.session:add(book)
    lib.session:flush()
    assert.equal("a2", book.author.name)
  end)

  it("that is loaded stays until the commit when only the foreign key changes", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local seen = { book.author.id }
    book.author_id = 2
    seen[2] = book.author.id
    lib.session:flush()
    seen[3] = book.author.id
    lib.session:commit()
    seen[4] = book.author.id
    assert.same({ 1, 1, 1, 2 }, seen)
  end)

  it("wins over a foreign key that was assigned too", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.author_id = 1
    book.author = lib.session:get(lib.Author, 2)
    lib.session:commit()
    assert.same({ "2" }, rows(lib.engine, "SELECT author_id FROM book WHERE id = 1"))
  end)

  it("refuses objects of another class, lists and values", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    for _, value in ipairs { lib.Tag {}, { lib.Author {} }, "a1", 1, true, lib.Author } do
      raises("ArgumentError", { "Book.author", "Author" }, function()
        book.author = value
      end)
    end
    assert.equal("a1", book.author.name)
    raises("ArgumentError", "Book.author", lib.Book, { author = lib.Tag {} })
  end)
end)

describe("one-to-one", function()
  local PATTERNS = {
    ["by uselist = false"] = { { uselist = false }, {} },
    ["by a unique foreign key"] = { {}, { unique = true } },
    ["by uselist = false and a unique foreign key"] = { { uselist = false }, { unique = true } },
  }
  local function couple(pattern, way)
    local base = orm.declarative_base()
    local near, far = WAYS[way]("passport", "person")
    local Person = base:model("Person", { __tablename__ = "person", id = id(),
      passport = declared("Passport", with(near, PATTERNS[pattern][1])) })
    local Passport = base:model("Passport", { __tablename__ = "passport", id = id(),
      person_id = orm.mapped_column(Integer, ForeignKey("person.id"), with({}, PATTERNS[pattern][2])),
      person = declared("Person", far) })
    return Person, Passport, open(base)
  end

  for _, pattern in ipairs { "by uselist = false", "by a unique foreign key", "by uselist = false and a unique foreign key" } do
    for _, way in ipairs { "back_populates", "backref" } do
      it(pattern .. " with " .. way .. " holds one object on both sides", function()
        local Person, Passport, session, engine = couple(pattern, way)
        local person, passport = Person {}, Passport {}
        assert.is_nil(person.passport)
        person.passport = passport
        assert.equal(person, passport.person)
        local other = Person {}
        passport.person = other
        assert.equal(passport, other.passport)
        assert.is_nil(person.passport)
        session:add_all { person, other }
        session:commit()
        assert.same({ "1|2" }, rows(engine, "SELECT id, person_id FROM passport"))
        session:close()
        assert.equal(2, session:get(Passport, 1).person.id)
        assert.equal(1, session:get(Person, 2).passport.id)
        assert.is_nil(session:get(Person, 1).passport)
      end)

      it(pattern .. " with " .. way .. " frees the former object before the new one is inserted", function()
        local Person, Passport, session, engine = couple(pattern, way)
        local person = Person { passport = Passport {} }
        session:add(person)
        session:commit()
        local former = person.passport
        local record = statements.record(engine)
        person.passport = Passport {}
        assert.is_nil(former.person)
        session:flush()
        assert.same({ "UPDATE passport SET person_id", "INSERT passport" }, record:headlines())
        session:commit()
        assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, person_id FROM passport ORDER BY id"))
        assert.is_nil(former.person)
      end)

      it(pattern .. " with " .. way .. " replaces what is not loaded, from either side", function()
        for _, side in ipairs { "near", "far" } do
          local Person, Passport, session, engine = couple(pattern, way)
          session:add(Person { passport = Passport {} })
          session:commit()
          session:close()
          local person, new = session:get(Person, 1), Passport {}
          session:add(new)
          if side == "near" then
            person.passport = new
          else
            new.person = person
          end
          session:commit()
          assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, person_id FROM passport ORDER BY id"))
          assert.equal(new, person.passport)
        end
      end)
    end
  end

  it("by a shared primary key copies the key", function()
    local base = orm.declarative_base()
    local Person = base:model("Person", { __tablename__ = "person", id = id(),
      profile = relationship("Profile", { back_populates = "person" }) })
    local Profile = base:model("Profile", { __tablename__ = "profile", id = key(ForeignKey("person.id")),
      text = orm.mapped_column(String), person = relationship("Person", { back_populates = "profile" }) })
    local session, engine = open(base)
    session:add(Person {})
    local person = Person { profile = Profile { text = "x" } }
    assert.equal(person, person.profile.person)
    session:add(person)
    session:commit()
    assert.same({ "2|x" }, rows(engine, "SELECT * FROM profile"))
    session:close()
    assert.equal("x", session:get(Person, 2).profile.text)
    assert.equal(2, session:get(Profile, 2).person.id)
    assert.is_nil(session:get(Person, 1).profile)
    local added = Profile { text = "y", person = session:get(Person, 1) }
    session:add(added)
    session:commit()
    assert.equal(1, added.id)
  end)

  it("by a shared primary key with backref, and declared on the child alone", function()
    for _, options in ipairs { { backref = "profile" }, {} } do
      local base = orm.declarative_base()
      local Person = base:model("Person", { __tablename__ = "person", id = id() })
      local Profile = base:model("Profile", { __tablename__ = "profile", id = key(ForeignKey("person.id")),
        person = relationship("Person", options) })
      local session, engine = open(base)
      local person, profile = Person {}, Profile {}
      profile.person = person
      assert.equal(options.backref and profile or nil, options.backref and person.profile)
      session:add_all { Person {}, profile }
      session:commit()
      assert.same({ tostring(person.id) }, rows(engine, "SELECT id FROM profile"))
      assert.equal(person, profile.person)
    end
  end)

  it("declared on the parent alone writes the foreign key, and takes it away", function()
    local base = orm.declarative_base()
    local Passport = base:model("Passport", { __tablename__ = "passport", id = id(),
      person_id = orm.mapped_column(Integer, ForeignKey("person.id"), { unique = true }) })
    local Person = base:model("Person", { __tablename__ = "person", id = id(), passport = relationship(Passport) })
    local session, engine = open(base)
    local person = Person { passport = Passport {} }
    session:add(person)
    session:commit()
    assert.same({ "1|1" }, rows(engine, "SELECT id, person_id FROM passport"))
    person.passport = Passport {}
    session:commit()
    assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, person_id FROM passport ORDER BY id"))
    person.passport = nil
    session:commit()
    assert.same({ "1|NULL", "2|NULL" }, rows(engine, "SELECT id, person_id FROM passport ORDER BY id"))
    assert.is_nil(person.passport)
  end)

  it("is not read from a row whose object has let go of it and is not written yet", function()
    local Person, Passport, session, engine = couple("by uselist = false", "back_populates")
    run(engine, "INSERT INTO person (id) VALUES (1)", "INSERT INTO passport (id, person_id) VALUES (1, 1)")
    local person, passport = session:get(Person, 1), session:get(Passport, 1)
    session:no_autoflush(function()
      session:expire_all()
      passport.person = nil
      assert.is_nil(person.passport)
    end)
    session:commit()
    assert.same({ "1|NULL" }, rows(engine, "SELECT * FROM passport"))
  end)

  it("loses the foreign key when the parent is deleted", function()
    local Person, _, session, engine = couple("by a unique foreign key", "back_populates")
    session:add(Person {})
    session:commit()
    run(engine, "INSERT INTO passport (id, person_id) VALUES (1, 1)")
    session:delete(session:get(Person, 1))
    session:commit()
    assert.same({ "1|NULL" }, rows(engine, "SELECT id, person_id FROM passport"))
  end)

  it("by a shared primary key cannot lose its parent", function()
    local base = orm.declarative_base()
    local Person = base:model("Person", { __tablename__ = "person", id = id(),
      profile = relationship("Profile", { back_populates = "person" }) })
    local Profile = base:model("Profile", { __tablename__ = "profile", id = key(ForeignKey("person.id")),
      person = relationship("Person", { back_populates = "profile" }) })
    local session = open(base)
    local person = Person { profile = Profile {} }
    session:add(person)
    session:commit()
    person.profile = nil
    local ok, err = pcall(session.flush, session)
    assert.is_false(ok)
    assert.truthy(err.message:find("Profile", 1, true))
    session:rollback()
    assert.equal(person, person.profile.person)
    assert.is_not_nil(session:get(Profile, 1))
  end)

  it("reads the first of several rows, and warns", function()
    local Person, _, session, engine = couple("by uselist = false", "back_populates")
    run(engine, "INSERT INTO person (id) VALUES (1)", "INSERT INTO passport (id, person_id) VALUES (1, 1), (2, 1)")
    local warnings = {}
    local former = orm.on_warning(function(message) warnings[#warnings + 1] = message end)
    assert.equal(1, session:get(Person, 1).passport.id)
    orm.on_warning(former)
    assert.truthy(warnings[1] and warnings[1]:find("Person.passport", 1, true))
  end)
end)

describe("many-to-many", function()
  local function school(way, link_key)
    local base = orm.declarative_base()
    local near, far = WAYS[way]("courses", "students")
    local Student = base:model("Student", { __tablename__ = "student", id = id(),
      courses = declared("Course", with(near, { secondary = "enrolment" })) })
    local Course = base:model("Course", { __tablename__ = "course", id = id(),
      students = declared("Student", with(far, { secondary = "enrolment" })) })
    local options = { primary_key = link_key }
    orm.Table("enrolment", base.metadata, Column("student_id", Integer, ForeignKey("student.id"), options),
      Column("course_id", Integer, ForeignKey("course.id"), options))
    return Student, Course, open(base)
  end

  for _, way in ipairs { "back_populates", "backref", "backref with options" } do
    for _, link_key in ipairs { true, false } do
      it("with " .. way .. (link_key and "" or " over a link table without a key") .. " agrees, and writes each link once",
        function()
          local Student, Course, session, engine = school(way, link_key)
          local ann, bob, art, law = Student {}, Student {}, Course {}, Course {}
          ann.courses:append(art)
          assert.equal(ann, art.students[1])
          art.students:append(bob)
          assert.equal(art, bob.courses[1])
          ann.courses = { art, law }
          assert.equal(ann, law.students[1])
          session:add(ann)
          session:commit()
          assert.same({ "3" }, rows(engine, "SELECT count(*) FROM enrolment"))
          local before = rows(engine, "SELECT * FROM enrolment ORDER BY student_id, course_id")
          art.students:remove(ann)
          assert.is_false(ann.courses:contains(art))
          session:commit()
          assert.equal(2, #rows(engine, "SELECT * FROM enrolment"))
          ann.courses:append(art)
          session:commit()
          assert.same(before, rows(engine, "SELECT * FROM enrolment ORDER BY student_id, course_id"))
          local number = ann.id
          session:close()
          assert.equal(2, #session:get(Student, number).courses)
        end)
    end
  end

  it("one-sided writes links and no more", function()
    local base = orm.declarative_base()
    local link = orm.Table("post_tag", base.metadata, Column("post_id", Integer, ForeignKey("post.id")),
      Column("tag_id", Integer, ForeignKey("tag.id")))
    local Tag = base:model("Tag", { __tablename__ = "tag", id = id() })
    local Post = base:model("Post", { __tablename__ = "post", id = id(), tags = relationship(Tag, { secondary = link }) })
    local session, engine = open(base)
    local tag = Tag {}
    session:add_all { Post { tags = { tag } }, Post { tags = { tag, Tag {} } } }
    session:commit()
    assert.same({ "1|1", "2|1", "2|2" }, rows(engine, "SELECT * FROM post_tag ORDER BY 1, 2"))
    session:get(Post, 2).tags:clear()
    session:commit()
    assert.same({ "1|1" }, rows(engine, "SELECT * FROM post_tag"))
    assert.same({ "2" }, rows(engine, "SELECT count(*) FROM tag"))
  end)

  it("of a class with itself", function()
    local base = orm.declarative_base()
    local Person = base:model("Person", { __tablename__ = "person", id = id(), name = orm.mapped_column(String),
      follows = relationship("Person", { secondary = "follow", foreign_keys = "follow.follower_id",
        back_populates = "followers" }),
      followers = relationship("Person", { secondary = "follow", foreign_keys = "follow.followed_id",
        back_populates = "follows" }) })
    orm.Table("follow", base.metadata, Column("follower_id", Integer, ForeignKey("person.id"), { primary_key = true }),
      Column("followed_id", Integer, ForeignKey("person.id"), { primary_key = true }))
    local session, engine = open(base)
    local ann, bob = Person { name = "ann" }, Person { name = "bob" }
    ann.follows:append(bob)
    assert.equal(ann, bob.followers[1])
    assert.equal(0, #ann.followers)
    session:add_all { ann, bob }
    session:commit()
    assert.same({ ann.id .. "|" .. bob.id }, rows(engine, "SELECT follower_id, followed_id FROM follow"))
    session:close()
    assert.equal("bob", session:get(Person, 1).follows[1].name)
    assert.equal("ann", session:get(Person, 2).followers[1].name)
  end)
end)

describe("a relationship to its own class", function()
  local function tree(declare)
    local base = orm.declarative_base()
    local body = declare(base)
    body.__tablename__ = "node"
    local Node = base:model("Node", body)
    return Node, open(base)
  end
  local WAYS_OF_TREES = {
    back_populates = function()
      return { id = id(), name = orm.mapped_column(String), parent_id = orm.mapped_column(Integer, ForeignKey("node.id")),
        children = relationship("Node", { back_populates = "parent", order_by = "Node.id" }),
        parent = relationship("Node", { back_populates = "children", remote_side = "id" }) }
    end,
    backref = function()
      return { id = id(), name = orm.mapped_column(String), parent_id = orm.mapped_column(Integer, ForeignKey("node.id")),
        children = relationship("Node", { backref = "parent", order_by = "Node.id" }) }
    end,
    ["backref with remote_side"] = function()
      return { id = id(), name = orm.mapped_column(String), parent_id = orm.mapped_column(Integer, ForeignKey("node.id")),
        children = relationship("Node", { backref = orm.backref("parent", { remote_side = "Node.id" }), order_by = "Node.id" }) }
    end,
    ["backref from the many side"] = function()
      return { id = id(), name = orm.mapped_column(String), parent_id = orm.mapped_column(Integer, ForeignKey("node.id")),
        parent = relationship("Node", { remote_side = "id", backref = orm.backref("children", { order_by = "Node.id" }) }) }
    end,
  }
  for _, way in ipairs { "back_populates", "backref", "backref with remote_side", "backref from the many side" } do
    it("with " .. way .. " makes a tree", function()
      local Node, session, engine = tree(WAYS_OF_TREES[way])
      local root, branch, leaf = Node { name = "root" }, Node { name = "branch" }, Node { name = "leaf" }
      leaf.parent = branch
      root.children:append(branch)
      assert.equal(root, branch.parent)
      assert.equal(leaf, branch.children[1])
      session:add(root)
      session:commit()
      assert.same({ "root|NULL", "branch|1", "leaf|2" }, rows(engine, "SELECT name, parent_id FROM node ORDER BY id"))
      session:close()
      leaf = session:scalars(orm.select(Node):where(Node.name:eq("leaf"))):one()
      assert.equal("root", leaf.parent.parent.name)
      assert.is_nil(leaf.parent.parent.parent)
      assert.equal(leaf, leaf.parent.children[1])
    end)
  end

  it("lets a node be moved in the tree", function()
    local Node, session, engine = tree(WAYS_OF_TREES.back_populates)
    local leaf = Node { name = "leaf" }
    session:add(Node { name = "root", children = { Node { name = "a", children = { leaf } }, Node { name = "b" } } })
    session:commit()
    local b = leaf.parent.parent.children[2]
    b.children:append(leaf)
    assert.equal(b, leaf.parent)
    session:commit()
    assert.same({ "b" }, rows(engine, "SELECT p.name FROM node n JOIN node p ON p.id = n.parent_id WHERE n.name = 'leaf'"))
  end)

  it("on the wrong side is told by remote_side", function()
    local Node, session = tree(WAYS_OF_TREES.back_populates)
    local node = Node {}
    raises("ArgumentError", "Node.parent", function()
      node.parent = { Node {} }
    end)
    session:close()
  end)
end)

describe("lazy loading", function()
  it("sends one statement per collection, and none the second time", function()
    local lib = library.open()
    local count = 0
    for _ = 1, 2 do
      for author in lib.session:scalars(orm.select(lib.Author)) do
        count = count + #author.books
      end
    end
    assert.equal(8, count)
    local seen = lib.record:headlines()
    local selects = 0
    for _, one in ipairs(seen) do
      selects = selects + (one == "SELECT book" and 1 or 0)
    end
    assert.equal(2, selects)
  end)

  it("of a collection knows the way back", function()
    local lib = library.open()
    local author = lib.session:get(lib.Author, 1)
    local book = author.books[1]
    lib.record:take()
    assert.equal(author, book.author)
    assert.same({}, lib.record:take())
  end)

  it("is an error with lazy = raise, and empty with noload", function()
    local lib = library.open { books = { lazy = "raise" }, tags = { lazy = "noload" } }
    raises("InvalidRequestError", { "Author.books", "raise" }, function()
      return lib.session:get(lib.Author, 1).books
    end)
    assert.equal(0, #lib.session:get(lib.Book, 1).tags)
  end)

  it("gives an empty collection for an object without a row", function()
    local lib = library.open()
    local author = lib.Author { id = 1 }
    assert.equal(0, #author.books)
    lib.session:add(lib.Author {})
    assert.equal(0, #lib.session.new[1].books)
    assert.same({ "INSERT author" }, (function()
      lib.session:flush()
      return lib.record:headlines()
    end)())
  end)
end)

describe("a relationship that is viewonly", function()
  it("is read and never written", function()
    local base = orm.declarative_base()
    local Book = base:model("Book", { __tablename__ = "book", id = id(),
      author_id = orm.mapped_column(Integer, ForeignKey("author.id")) })
    local Author = base:model("Author", { __tablename__ = "author", id = id(),
      books = relationship("Book", { viewonly = true }) })
    local session, engine = open(base)
    run(engine, "INSERT INTO author VALUES (1)", "INSERT INTO book VALUES (1, 1)")
    local author, new = session:get(Author, 1), Book {}
    assert.equal(1, #author.books)
    author.books:append(new)
    author.books:remove(session:get(Book, 1))
    session:commit()
    assert.is_false(session:contains(new))
    assert.same({ "1|1" }, rows(engine, "SELECT * FROM book"))
  end)
end)

describe("a mistake in a relationship is explained:", function()
  local function mistake(kind, words, bodies)
    local base = orm.declarative_base()
    for _, body in ipairs(bodies) do
      base:model(body[1], body[2])
    end
    local err = raises(kind, words, base.registry.configure, base.registry)
    assert.truthy(tostring(err))
    raises(kind, words, base.registry.configure, base.registry)
  end

  local function author(options, target)
    return { "Author", { __tablename__ = "author", id = id(), books = relationship(target or "Book", options) } }
  end
  local function book(with_key, options)
    return { "Book", { __tablename__ = "book", id = id(),
      author_id = with_key and orm.mapped_column(Integer, ForeignKey("author.id")) or orm.mapped_column(Integer),
      author = options and relationship("Author", options) or nil } }
  end

  it("no foreign key between the tables", function()
    mistake("NoForeignKeysError", { "Author.books", "ForeignKey" }, { author(), book(false) })
  end)

  it("several foreign keys", function()
    mistake("AmbiguousForeignKeysError", { "Author.books", "foreign_keys" }, { author(), { "Book", { __tablename__ = "book",
      id = id(), author_id = orm.mapped_column(Integer, ForeignKey("author.id")),
      editor_id = orm.mapped_column(Integer, ForeignKey("author.id")) } } })
  end)

  it("a target that is never declared, with the nearest name", function()
    mistake("InvalidRequestError", { "Author.books", "Boook", "Book" }, { author({}, "Boook"), book(true) })
  end)

  it("back_populates that names nothing, with the nearest name", function()
    mistake("InvalidRequestError", { "Author.books", "auther", "author" },
      { author { back_populates = "auther" }, book(true, { back_populates = "books" }) })
  end)

  it("back_populates that names a column", function()
    mistake("InvalidRequestError", { "Author.books", "author_id" },
      { author { back_populates = "author_id" }, book(true, {}) })
  end)

  it("back_populates that does not point back", function()
    mistake("InvalidRequestError", { "Author.books", "Book.author" },
      { author { back_populates = "author" }, book(true, {}) })
  end)

  it("back_populates whose other side names another", function()
    mistake("InvalidRequestError", { "author" },
      { author { back_populates = "author" }, book(true, { back_populates = "id" }) })
  end)

  it("two sides of one direction", function()
    mistake("ArgumentError", { "Node.children", "Node.parent", "remote_side" }, { { "Node", { __tablename__ = "node", id = id(),
      parent_id = orm.mapped_column(Integer, ForeignKey("node.id")),
      children = relationship("Node", { back_populates = "parent" }),
      parent = relationship("Node", { back_populates = "children" }) } } })
  end)

  it("a many-to-many without a link table", function()
    mistake("NoForeignKeysError", { "Student.courses", "secondary" }, {
      { "Student", { __tablename__ = "student", id = id(), courses = relationship("Course", { back_populates = "students" }) } },
      { "Course", { __tablename__ = "course", id = id(), students = relationship("Student", { back_populates = "courses" }) } } })
  end)

  it("a link table that is not declared, with the nearest name", function()
    local base = orm.declarative_base()
    orm.Table("author_book", base.metadata, Column("a", Integer, ForeignKey("author.id")),
      Column("b", Integer, ForeignKey("book.id")))
    base:model("Author", { __tablename__ = "author", id = id(), books = relationship("Book", { secondary = "autor_book" }) })
    base:model("Book", { __tablename__ = "book", id = id() })
    raises("InvalidRequestError", { "Author.books", "autor_book", "author_book" }, base.registry.configure, base.registry)
  end)

  it("a link table that does not lead to both", function()
    local base = orm.declarative_base()
    orm.Table("author_book", base.metadata, Column("a", Integer, ForeignKey("author.id")), Column("b", Integer))
    base:model("Author", { __tablename__ = "author", id = id(), books = relationship("Book", { secondary = "author_book" }) })
    base:model("Book", { __tablename__ = "book", id = id() })
    raises("NoForeignKeysError", { "Author.books", "author_book", "book" }, base.registry.configure, base.registry)
  end)

  it("uselist = true on a many-to-one", function()
    mistake("ArgumentError", { "Book.author", "uselist" }, { { "Author", { __tablename__ = "author", id = id() } },
      book(true, { uselist = true }) })
  end)

  it("delete-orphan on a many-to-one without single_parent", function()
    mistake("ArgumentError", { "Book.author", "delete-orphan", "single_parent" },
      { { "Author", { __tablename__ = "author", id = id() } }, book(true, { cascade = "all, delete-orphan" }) })
  end)

  it("an unknown cascade", function()
    mistake("ArgumentError", { "Author.books", "delet", "delete" }, { author { cascade = "delet" }, book(true) })
  end)

  it("an unknown lazy", function()
    mistake("ArgumentError", { "Author.books", "selct", "select" }, { author { lazy = "selct" }, book(true) })
  end)

  it("names in late arguments that do not exist", function()
    mistake("ArgumentError", { "Author.books", "autor_id", "author_id" },
      { author { foreign_keys = "Book.autor_id" }, book(true) })
    mistake("ArgumentError", { "Book.author", "remote_side", "ids", "id" },
      { { "Author", { __tablename__ = "author", id = id() } }, book(true, { remote_side = "Author.ids" }) })
  end)

  it("order_by names that do not exist", function()
    mistake("ArgumentError", { "Author.books", "order_by", "titel" }, { author { order_by = "titel" }, book(true) })
  end)

  it("a backref whose name is taken", function()
    mistake("ArgumentError", { "Author.books", "author_id" }, { author { backref = "author_id" }, book(true) })
  end)

  it("classes of two bases", function()
    local one, other = orm.declarative_base(), orm.declarative_base()
    local Book = other:model("Book", { __tablename__ = "book", id = id() })
    one:model("Author", { __tablename__ = "author", id = id(), books = relationship(Book) })
    raises("ArgumentError", { "Author.books", "Book", "base" }, one.registry.configure, one.registry)
  end)

  it("what is said in the call itself", function()
    raises("ArgumentError", { "relationship()", "back_populate", "back_populates" }, relationship, "Book",
      { back_populate = "author" })
    raises("ArgumentError", { "back_populates", "backref" }, relationship, "Book", { back_populates = "a", backref = "b" })
    raises("ArgumentError", { "relationship()", "nil" }, relationship, nil)
    raises("ArgumentError", "relationship()", relationship, { back_populates = "author" })
    raises("ArgumentError", "relationship()", relationship, 5)
    raises("ArgumentError", "backref()", orm.backref, 5)
    raises("ArgumentError", { "backref()", "uslist", "uselist" }, orm.backref, "author", { uslist = false })
  end)
end)

describe("a one-to-one that is loaded in the middle of a change", function()
  it("does not take back what its other side was given meanwhile", function()
    local base = orm.declarative_base()
    local Owner = base:model("Owner", { __tablename__ = "owner", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      pass = orm.relationship("Pass", { back_populates = "owner", uselist = false }) })
    local Pass = base:model("Pass", { __tablename__ = "pass", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      owner_id = orm.mapped_column(orm.Integer, orm.ForeignKey("owner.id"), { unique = true }),
      owner = orm.relationship("Owner", { back_populates = "pass" }) })
    local engine = orm.create_engine("sqlite://")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    local first, second, pass = Owner {}, Owner {}, Pass {}
    first.pass = pass
    session:add_all { first, second }
    session:commit()
    pass.owner = second
    first.pass = pass
    assert.equal(first, pass.owner)
    assert.is_nil(second.pass)
    session:commit()
    assert.equal(first, pass.owner)
    session:close()
  end)
end)

it("any() and has() take names with values, as filter_by() does", function()
  local lib = library.open()
  local function ids(class, condition)
    return lib.session:scalars(orm.select(class.id):where(condition):order_by(class.id)):all()
  end
  assert.same({ 1 }, ids(lib.Author, lib.Author.books:any { title = "b1", year = 2000 }))
  assert.same({ 3, 4 }, ids(lib.Book, lib.Book.author:has { name = "a2" }))
  assert.same({ 1, 2 }, ids(lib.Book, lib.Book.tags:any { name = "t1" }))
  raises("ArgumentError", "did you mean 'name'", function() return lib.Book.author:has { nam = "x" } end)
  raises("ArgumentError", "no condition", function() return lib.Author.books:any {} end)
end)
