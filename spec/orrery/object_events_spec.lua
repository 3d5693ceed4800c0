-- What classes tell of their objects as they are made, loaded and expired; what listeners of attributes may decide; and
-- changes that come from the other side of a relationship.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local listen = orm.event.listen

describe("a class tells", function()
  it("of objects that a script makes, before they are given anything", function()
    local lib, seen = library.open(), {}
    listen(lib.Author, "init", function(author, fields)
      seen[#seen + 1] = { author.name or "nothing", fields and fields.name or "none" }
      if fields then
        fields.name = fields.name .. "!"
      end
    end)
    assert.equal("ann!", lib.Author { name = "ann" }.name)
    lib.Author()
    lib.session:get(lib.Author, 1)
    assert.same({ { "nothing", "ann" }, { "nothing", "none" } }, seen)
    raises("ArgumentError", "nmae", lib.Author, { nmae = "x", name = "y" })
  end)

  it("of them where the class has an __init__, too", function()
    local lib, seen = library.empty(), {}
    function lib.Author:__init__(fields)
      seen[#seen + 1] = "__init__"
      orm.assign(self, fields)
    end
    listen(lib.Author, "init", function() seen[#seen + 1] = "init" end)
    assert.equal("ann", lib.Author { name = "ann" }.name)
    assert.same({ "init", "__init__" }, seen)
  end)

  it("of objects that are loaded, once each, when their columns are there", function()
    local lib, seen = library.open(), {}
    listen(lib.Book, "load", function(book, session)
      assert.equal(lib.session, session)
      seen[#seen + 1] = book.title
    end)
    lib.session:get(lib.Author, 1)
    local books = lib.session:scalars(orm.select(lib.Book):order_by(lib.Book.id):limit(2)):all()
    assert.same({ "b1", "b2" }, seen)
    lib.session:scalars(orm.select(lib.Book)):all()
    assert.same({ "b1", "b2", "b3", "b4" }, seen)
    assert.equal(2, #books)
    lib.session:close()
    seen = {}
    lib.session:scalars(orm.select(lib.Author):options(orm.joinedload(lib.Author.books))):unique():all()
    assert.equal(4, #seen)
    lib.session:close()
    seen = {}
    lib.session:scalars(orm.select(lib.Author):options(orm.selectinload(lib.Author.books))):all()
    assert.equal(4, #seen)
  end)

  it("of a load, and a listener may use the session", function()
    local lib, seen = library.open(), {}
    listen(lib.Book, "load", function(book) seen[#seen + 1] = book.author.name end)
    lib.session:get(lib.Book, 1)
    assert.same({ "a1" }, seen)
  end)

  it("of objects that are read again, and of those that are expired", function()
    local lib, seen = library.open(), {}
    listen(lib.Book, "refresh", function(book) seen[#seen + 1] = "refresh " .. book.id end)
    listen(lib.Book, "expire", function(book, names)
      seen[#seen + 1] = ("expire %d %s"):format(orm.inspect(book).identity[1], names and table.concat(names, ",") or "all")
    end)
    local book = lib.session:get(lib.Book, 1)
    lib.session:expire(book)
    assert.equal("b1", book.title)
    lib.session:expire(book, { "title" })
    assert.equal("b1", book.title)
    lib.session:refresh(book)
    assert.same({ "expire 1 all", "refresh 1", "expire 1 title", "refresh 1", "expire 1 all", "refresh 1" }, seen)
    seen = {}
    lib.session:commit()
    assert.same({ "expire 1 all" }, seen)
    assert.equal("b1", book.title)
    lib.session:rollback()
    lib.session:expire_all()
    assert.same({ "expire 1 all", "refresh 1", "expire 1 all", "expire 1 all" }, seen)
  end)

  it("nothing any more to those who stopped listening", function()
    local lib, seen = library.open(), 0
    local listener = listen(lib.Book, "load", function() seen = seen + 1 end)
    lib.session:get(lib.Book, 1)
    orm.event.remove(lib.Book, "load", listener)
    lib.session:get(lib.Book, 2)
    assert.equal(1, seen)
  end)

  it("those who listen to the class that it inherits from", function()
    local base, seen = orm.declarative_base(), {}
    local Animal = base:model("Animal", { __tablename__ = "animal", id = orm.Column(orm.Integer, { primary_key = true }),
      kind = orm.Column(orm.Text), __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" } })
    local Dog = base:model("Dog", { __inherits__ = Animal, __mapper_args__ = { polymorphic_identity = "dog" } })
    for _, name in ipairs { "init", "load", "before_insert" } do
      listen(Animal, name, function() seen[#seen + 1] = name end)
    end
    local engine = orm.create_engine("sqlite://")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    session:add(Dog {})
    session:commit()
    session:close()
    session:scalars(orm.select(Animal)):all()
    assert.same({ "init", "before_insert", "load" }, seen)
  end)
end)

describe("an attribute's listener with retval", function()
  it("decides the value", function()
    local lib = library.open()
    listen(lib.Book.title, "set", function(_, value) return value and value:upper() end, { retval = true })
    listen(lib.Book.title, "set", function() return "ignored" end)
    local book = lib.session:get(lib.Book, 1)
    book.title = "new"
    assert.equal("NEW", book.title)
    assert.equal("MADE", lib.Book { title = "made" }.title)
  end)

  it("decides what comes into a list", function()
    local lib = library.open()
    local other = lib.Book { title = "other" }
    listen(lib.Author.books, "append", function(_, book) return book.title == "bad" and other or book end, { retval = true })
    local author = lib.Author { books = { lib.Book { title = "bad" }, lib.Book { title = "good" } } }
    assert.same({ "other", "good" }, { author.books[1].title, author.books[2].title })
  end)

  it("is for events that bring a value", function()
    local lib = library.declare()
    raises("ArgumentError", "retval", listen, lib.Author.books, "remove", print, { retval = true })
    raises("ArgumentError", "retval", listen, lib.Author, "load", print, { retval = true })
  end)
end)

it("bulk_replace tells of all that a list is to hold, before it does, and may change that", function()
  local lib, seen = library.open(), {}
  local author = lib.session:get(lib.Author, 1)
  local one, two, three = author.books[1], author.books[2], lib.session:get(lib.Book, 3)
  listen(lib.Author.books, "bulk_replace", function(owner, books)
    assert.equal(author, owner)
    seen[#seen + 1] = #books
    table.remove(books, 1)
  end)
  listen(lib.Author.books, "append", function(_, book) seen[#seen + 1] = book.title end)
  local given = { one, two, three }
  author.books = given
  assert.same({ 3, "b2", "b3" }, seen)
  assert.equal(3, #given)
  assert.same({ "b2", "b3" }, { author.books[1].title, author.books[2].title })
end)

describe("a change from the other side of a relationship", function()
  it("is told on this side, before it is made", function()
    local lib, seen = library.open(), {}
    local one, two = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book = one.books[1]
    for _, name in ipairs { "append", "remove" } do
      listen(lib.Author.books, name, function(author, item)
        seen[#seen + 1] = ("%s %s %s"):format(author.name, name, item.title)
      end)
    end
    listen(lib.Book.author, "set", function(item, author) seen[#seen + 1] = ("%s set %s"):format(item.title,
      author and author.name or "nil") end)
    book.author = two
    assert.same({ "b1 set a2", "a1 remove b1", "a2 append b1" }, seen)
    seen = {}
    one.books:append(book)
    assert.same({ "a1 append b1", "a2 remove b1", "b1 set a1" }, seen)
    seen = {}
    one.books:remove(book)
    assert.same({ "a1 remove b1", "b1 set nil" }, seen)
  end)

  it("is validated, unless the validator does not want it; what leaves on wish", function()
    local lib, seen = library.open(), {}
    orm.validates(lib.Author, "books", function(author, key, book, removed)
      assert.equal("books", key)
      seen[#seen + 1] = ("%s %s %s"):format(author.name, removed and "without" or "with", book.title)
      assert(book.title ~= "b4", "not that one")
      return book
    end, { include_removes = true })
    orm.validates(lib.Author, "books", function(_, _, book)
      seen[#seen + 1] = "own"
      return book
    end, { include_backrefs = false })
    local one = lib.session:get(lib.Author, 1)
    local first = one.books[1]
    lib.session:get(lib.Book, 3).author = one
    assert.same({ "a1 with b3" }, seen)
    seen = {}
    one.books:remove(first)
    one.books:append(first)
    assert.same({ "a1 without b1", "a1 with b1", "own" }, seen)
    local fourth = lib.session:get(lib.Book, 4)
    local ok = pcall(function() fourth.author = one end)
    assert.is_false(ok)
    assert.equal("a2", fourth.author.name)
    assert.equal(3, #one.books)
  end)

  it("cannot become another object", function()
    local lib = library.open()
    orm.validates(lib.Author, "books", function() return lib.Book {} end)
    local book = lib.session:get(lib.Book, 3)
    raises("InvalidRequestError", "Author.books", function() book.author = lib.session:get(lib.Author, 1) end)
    assert.equal("a2", book.author.name)
  end)

  it("of many to many, too", function()
    local lib, seen = library.open(), {}
    local book, tag = lib.session:get(lib.Book, 3), lib.session:get(lib.Tag, 2)
    listen(lib.Book.tags, "append", function(owner, item) seen[#seen + 1] = owner.title .. " + " .. item.name end)
    listen(lib.Book.tags, "remove", function(owner, item) seen[#seen + 1] = owner.title .. " - " .. item.name end)
    tag.books:append(book)
    tag.books:remove(book)
    assert.same({ "b3 + t2", "b3 - t2" }, seen)
  end)
end)

it("a validator of a relationship has its say in constructors", function()
  local lib = library.open()
  local two = lib.session:get(lib.Author, 2)
  orm.validates(lib.Book, "author", function() return two end)
  assert.equal(two, lib.Book { author = lib.session:get(lib.Author, 1) }.author)
end)

it("listeners of a relationship of one to one hear of what moves, from whichever side it is moved", function()
  for _, side in ipairs { "user", "profile" } do
    local base, seen = orm.declarative_base(), {}
    local function key()
      return orm.Mapped(orm.Integer, { primary_key = true })
    end
    local User = base:model("User", { __tablename__ = "user", id = key(),
      profile = orm.relationship("Profile", { back_populates = "user", uselist = false }) })
    local Profile = base:model("Profile", { __tablename__ = "profile", id = key(),
      user_id = orm.Mapped(orm.Optional(orm.Integer), orm.ForeignKey("user.id")),
      user = orm.relationship("User", { back_populates = "profile" }) })
    local engine = orm.create_engine("sqlite://")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    local profile, second = Profile {}, User { id = 2 }
    local first = User { id = 1, profile = profile }
    session:add_all { first, second }
    session:commit()
    assert.same({ profile, first }, { first.profile, profile.user })
    assert.is_nil(second.profile)
    for name, attribute in pairs { user = User.profile, profile = Profile.user } do
      listen(attribute, "set", function(object, value, old) seen[name] = { object.id, value and value.id, old and old.id } end)
    end
    if side == "user" then
      second.profile = profile
    else
      profile.user = second
    end
    assert.same({ user = { 2, 1 }, profile = { 1, 2, 1 } }, seen)
    assert.is_nil(first.profile)
    session:commit()
    assert.same({ 2, second, profile }, { profile.user_id, profile.user, second.profile })
    assert.is_nil(first.profile)
  end
end)

it("a listener that takes other objects out of the collection while one is removed is answered with an error", function()
  local lib = library.open()
  local author = lib.session:get(lib.Author, 1)
  local one, two = author.books[1], author.books[2]
  listen(lib.Author.books, "remove", function(owner, book)
    if book == two then
      owner.books:remove(one)
    end
  end)
  raises("InvalidRequestError", { "Author.books", "a listener has moved" }, function() author.books:remove(two) end)
  assert.same({ two }, author.books:to_table())
  lib.session:commit()
  assert.same({ two }, author.books:to_table())
  assert.is_nil(one.author_id)
end)
