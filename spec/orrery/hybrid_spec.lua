local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

local Integer, String, func, select = orm.Integer, orm.String, orm.func, orm.select
local Point = orm.value_class("Point", { "x", "y" })

local function open()
  local Base = orm.declarative_base()
  local Mark = Base:model("Mark", {
    __tablename__ = "mark",
    id = orm.Mapped(Integer, { primary_key = true }),
    first = orm.Mapped(String(20)),
    last = orm.Mapped(String(20)),
    x = orm.mapped_column(Integer),
    y = orm.mapped_column(Integer),
    point = orm.composite(Point, "x", "y"),
    surname = orm.synonym("last"),
    fullname = orm.hybrid_property(function(self) return self.first .. " " .. self.last end, {
      setter = function(self, value) self.first, self.last = value:match("(%S+) (%S+)") end,
      update_expression = function(_, value)
        local first, last = value:match("(%S+) (%S+)")
        return { first = first, last = last }
      end,
    }),
    folded = orm.hybrid_property(function(self) return self.last:lower() end, {
      expression = function(class) return func.lower(class.last) end,
      comparator = { eq = function(node, value) return node:eq(value:lower()) end },
    }),
    beyond = orm.hybrid_method(function(self, limit) return self.x > limit end, {
      expression = function(class, limit) return class.x:gt(limit) end,
    }),
  })
  local session = orm.Session(database.create(Base))
  session:add_all { Mark { first = "Ann", last = "Lee", point = Point(1, 2) },
    Mark { fullname = "Bob Ray", point = Point(1, 1) }, Mark { first = "Cid", surname = "Lee", x = 5, y = 0 } }
  session:commit()
  return Mark, session
end

local function firsts(session, query)
  local names = {}
  for mark in session:scalars(query) do
    names[#names + 1] = mark.first
  end
  return table.concat(names, " ")
end

describe("hybrid_property", function()
  it("works on objects, in queries and by its name", function()
    local Mark, session = open()
    assert.equal("Bob", session:scalars(select(Mark):where(Mark.fullname:eq("Bob Ray"))):one().first)
    assert.equal("Bob", session:scalars(select(Mark):filter_by { fullname = "Bob Ray" }):one().first)
    assert.equal("Cid Lee", session:execute(select(Mark.fullname):order_by(Mark.fullname:desc())):first().fullname)
    local Other = orm.aliased(Mark)
    assert.equal("Ann Lee", session:execute(select(Other.fullname):where(Other.fullname:like("A%"))):one().fullname)
  end)

  it("is set on objects, and by update statements as its update_expression says", function()
    local Mark, session = open()
    local mark = session:get(Mark, 1)
    mark.fullname = "Dan Moe"
    assert.same({ "Dan", "Moe" }, { mark.first, mark.last })
    session:execute(orm.update(Mark):where(Mark.id:eq(1)):values { fullname = "Eve Poe", x = 9 })
    assert.same({ "Eve", "Poe", 9 }, { mark.first, mark.last, mark.x })
    raises("ArgumentError", "update_expression", function() orm.update(Mark):values { folded = "x" } end)
  end)

  it("compares as its comparator says", function()
    local Mark, session = open()
    assert.equal("Ann Cid", firsts(session, select(Mark):where(Mark.folded:eq("LEE")):order_by(Mark.id)))
    assert.equal("lee", session:get(Mark, 1).folded)
    raises("ArgumentError", "comparator is a table", function() orm.hybrid_property(print, { comparator = 1 }) end)
  end)
end)

describe("hybrid_method", function()
  it("gives a value on objects and a condition on the class, aliased or not", function()
    local Mark, session = open()
    assert.is_true(session:get(Mark, 3):beyond(4))
    assert.equal("Cid", firsts(session, select(Mark):where(Mark:beyond(4))))
    local Other = orm.aliased(Mark)
    assert.equal("Cid", firsts(session, select(Other):where(Other:beyond(4))))
    raises("ArgumentError", "is a method", function() session:get(Mark, 1).beyond = 1 end)
  end)
end)

describe("synonym", function()
  it("is another name everywhere", function()
    local Mark, session = open()
    local mark = session:scalars(select(Mark):filter_by { surname = "Ray" }):one()
    mark.surname = "Zed"
    assert.equal("Zed", mark.last)
    assert.equal("Bob", firsts(session, select(Mark):where(Mark.surname:eq("Zed")):order_by(Mark.surname)))
    session:execute(orm.update(Mark):where(Mark.id:eq(2)):values { surname = "Y" })
    assert.equal("Y", mark.surname)
    local Other = orm.aliased(Mark)
    assert.equal("Bob", firsts(session, select(Other):where(Other.surname:eq("Y"))))
    raises("ArgumentError", "synonym()", function() orm.synonym() end)
  end)
end)

describe("composite", function()
  it("is compared, sorted by and updated as all its columns", function()
    local Mark, session = open()
    assert.equal("Bob", firsts(session, select(Mark):where(Mark.point:eq(Point(1, 1)))))
    assert.equal("Bob", firsts(session, select(Mark):filter_by { point = Point(1, 1) }))
    assert.equal("Bob Ann Cid", firsts(session, select(Mark):order_by(Mark.point)))
    assert.equal("Cid Ann Bob", firsts(session, select(Mark):order_by(Mark.point:desc())))
    session:execute(orm.update(Mark):where(Mark.id:eq(1)):values { point = Point(7, 8) })
    assert.equal(Point(7, 8), session:get(Mark, 1).point)
    raises("ArgumentError", "takes a Point", function() orm.update(Mark):values { point = 3 } end)
  end)
end)
