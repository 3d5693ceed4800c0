-- Attributes that are not columns: hybrids, composites and association proxies.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows

local function people()
  local base = orm.declarative_base()
  local Point = orm.value_class("Point", { "x", "y" })
  function Point:length() return (self.x * self.x + self.y * self.y) ^ 0.5 end
  local User = base:model("User", {
    __tablename__ = "user",
    id = orm.Column(orm.Integer, { primary_key = true }),
    first = orm.Column(orm.Text), last = orm.Column(orm.Text), x1 = orm.Column(orm.Integer), y1 = orm.Column(orm.Integer),
    at = orm.composite(Point, "x1", "y1"),
    fullname = orm.hybrid_property(function(self) return self.first .. " " .. self.last end, {
      setter = function(self, value) self.first, self.last = value:match("^(%S+) (%S+)$") end }),
  })
  User.shout = orm.hybrid_property(function(self) return self.first:upper() end,
    { expression = function(class) return orm.func.upper(class.first) end })
  local engine = database.create(base)
  local session = orm.Session(engine)
  session:add_all { User { first = "Ann", last = "Lee", at = Point(3, 4) }, User { fullname = "Bob Ray" } }
  session:commit()
  return { User = User, Point = Point, session = session, engine = engine }
end

describe("a hybrid", function()
  it("gives a value on objects and an expression on the class", function()
    local place = people()
    local User = place.User
    local found = place.session:scalars(orm.select(User):where(User.fullname:eq("Ann Lee"))):one()
    assert.equal("Ann Lee", found.fullname)
    assert.equal("ANN", found.shout)
    assert.equal(1, place.session:scalars(orm.select(User):where(User.shout:eq("BOB"))):one().id - 1)
    assert.equal("Bob Ray", place.session:scalars(orm.select(User.fullname):order_by(User.fullname:desc())):first())
  end)

  it("can be set where it has a setter", function()
    local place = people()
    local user = place.session:get(place.User, 1)
    user.fullname = "Cy Fox"
    place.session:commit()
    assert.same({ "Cy|Fox" }, rows(place.engine, 'SELECT first, last FROM "user" WHERE id = 1'))
    raises("ArgumentError", { "shout", "setter" }, function() user.shout = "x" end)
    raises("ArgumentError", "function", orm.hybrid_property, 5)
  end)
end)

describe("a composite", function()
  it("reads and writes several columns as one value", function()
    local place = people()
    local user = place.session:get(place.User, 1)
    assert.equal(place.Point(3, 4), user.at)
    assert.same({ 3, 4, 5 }, { user.at.x, user.at.y, user.at:length() })
    assert.is_nil(place.session:get(place.User, 2).at)
    user.at = place.Point { x = 1, y = 2 }
    assert.same({ 1, 2 }, { user.x1, user.y1 })
    user.at = nil
    place.session:commit()
    assert.same({ "NULL|NULL" }, rows(place.engine, 'SELECT x1, y1 FROM "user" WHERE id = 1'))
  end)

  it("compares in queries", function()
    local place = people()
    local User, Point = place.User, place.Point
    assert.equal(1, place.session:scalars(orm.select(User):where(User.at:eq(Point(3, 4)))):one().id)
    assert.equal(2, place.session:scalars(orm.select(User):where(User.at:eq(nil))):one().id)
    assert.same({}, place.session:scalars(orm.select(User):where(User.at:ne(Point(3, 4)))):all())
  end)

  it("is a value of the row where it is selected, nil where all of its columns are NULL", function()
    local place = people()
    local User, Point, session = place.User, place.Point, place.session
    local query = orm.select(User.id, User.at):order_by(User.id)
    local found = session:execute(query):all()
    assert.same({ 1, 2 }, { found[1].id, found[2].id })
    assert.equal(Point(3, 4), found[1].at)
    assert.same({ 5, false }, { found[1].at:length(), found[2].at ~= nil })
    assert.equal(Point(3, 4), session:scalar(orm.select(User.at)))
    assert.equal(Point(3, 4), session:query(User.at, User):first().at)
    local streamed = session:execute(query, nil, { yield_per = 1 }):all()
    assert.same({ 2, Point(3, 4).x }, { #streamed, streamed[1].at.x })
  end)

  it("of an aliased class is about the alias", function()
    local place = people()
    local Other = orm.aliased(place.User, "other")
    local query = orm.select(Other.at):where(Other.at:eq(place.Point(3, 4))):order_by(Other.at)
    assert.equal("SELECT other.x1, other.y1 FROM user AS other WHERE other.x1 = ? AND other.y1 = ? ORDER BY other.x1, other.y1",
      tostring(query))
    assert.equal(place.Point(3, 4), place.session:scalars(query):one())
  end)

  it("takes values of its class only", function()
    local place = people()
    local user, Other = place.session:get(place.User, 1), orm.value_class("Other", { "x", "y" })
    raises("ArgumentError", "Point", function() user.at = { 1, 2 } end)
    raises("ArgumentError", "Point", function() user.at = Other(1, 2) end)
    raises("ArgumentError", "2 attribute name", orm.composite, place.Point, "x1")
    raises("ArgumentError", "value class", orm.composite, {}, "x1")
  end)
end)

describe("a value class", function()
  it("makes frozen values that are equal by value", function()
    local Point = orm.value_class("Point", { "x", "y" })
    local one = Point(1, 2)
    assert.is_true(one == Point { x = 1, y = 2 })
    assert.is_false(one == Point(1, 3))
    assert.equal("Point(x=1, y=2)", tostring(one))
    raises("ArgumentError", "frozen", function() one.x = 2 end)
    raises("ArgumentError", "no field 'z'", function() return one.z end)
    raises("ArgumentError", "unknown field", Point, { z = 1 })
    raises("ArgumentError", "2 field", Point, 1, 2, 3)
  end)
end)

describe("an association proxy", function()
  local function open()
    local lib = library.declare()
    lib.Book.tag_names = orm.association_proxy("tags", "name")
    lib.Book.author_name = orm.association_proxy("author", "name")
    lib.engine = database.create(lib.base)
    lib.session = orm.Session(lib.engine)
    return lib
  end

  it("shows the values of a list and takes values", function()
    local lib = open()
    local book = lib.Book { tag_names = { "a", "b" } }
    lib.session:add(book)
    book.tag_names:append("c")
    book.tag_names:remove("a")
    lib.session:commit()
    assert.same({ "b", "c" }, book.tag_names:to_table())
    assert.same({ 2, "b", "c" }, { book.tag_names:count(), book.tag_names[1], book.tag_names[2] })
    assert.is_true(book.tag_names:contains("c"))
    local seen = {}
    for position, name in book.tag_names do
      seen[position] = name
    end
    assert.same({ "b", "c" }, seen)
    book.tag_names = { "c", "d" }
    lib.session:commit()
    assert.same({ "1" }, rows(lib.engine, "SELECT count(*) FROM tag WHERE name = 'c'"))
    assert.same({ "c", "d" }, rows(lib.engine, "SELECT name FROM tag JOIN book_tag ON tag_id = tag.id ORDER BY tag.id"))
  end)

  it("shows the one value of a scalar side", function()
    local lib = open()
    local book = lib.Book {}
    assert.is_nil(book.author_name)
    book.author_name = "ann"
    lib.session:add(book)
    lib.session:commit()
    book.author_name = "bea"
    lib.session:commit()
    assert.same({ "1|bea" }, rows(lib.engine, "SELECT * FROM author"))
    book.author_name = nil
    assert.is_nil(book.author)
  end)

  it("explains itself", function()
    local lib = open()
    lib.Book.wrong, lib.Book.worse = orm.association_proxy("tgas", "name"), orm.association_proxy("tags", "nmae")
    raises("ArgumentError", { "Book.wrong", "did you mean 'tags'?" }, function() return lib.Book {}.wrong end)
    raises("ArgumentError", { "Book.worse", "did you mean 'name'?" }, function() return lib.Book.worse end)
    raises("ArgumentError", "has no 'apend'", function() return lib.Book {}.tag_names.apend end)
    raises("ArgumentError", "names", orm.association_proxy, "tags")
  end)
end)
