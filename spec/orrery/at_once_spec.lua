-- A select of one class that was run before, in a session with nothing else to do, takes a short way: what comes of it is
-- the same, and whatever else there is to do meanwhile is done.
local orm = require "orrery"
local raises = require "spec.support.raises"
local select = orm.select

local function shop()
  local Base = orm.declarative_base()
  local Item = Base:model("Item", {
    __tablename__ = "item",
    id = orm.Column(orm.Integer, { primary_key = true }),
    name = orm.Column(orm.String(10)),
    price = orm.Column(orm.Float),
  })
  local engine = orm.create_engine("sqlite://")
  Base.metadata:create_all(engine)
  local session = orm.Session(engine)
  for number = 1, 5 do
    session:add(Item { id = number, name = "n" .. number, price = number + 0.5 })
  end
  session:commit()
  local function fetch(least, how)
    return session[how or "scalars"](session, select(Item):where(Item.id:ge(least), Item.price:lt(100))
      :order_by(Item.id):limit(2):offset(0))
  end
  fetch(1):all()
  fetch(1):all()
  return { Base = Base, Item = Item, engine = engine, session = session, fetch = fetch }
end

local function names(result)
  local list = {}
  for item in result do
    list[#list + 1] = item.name
  end
  return table.concat(list, " ")
end

describe("a select that was run before", function()
  it("finds the objects of its own values", function()
    local s = shop()
    assert.equal("n1 n2", names(s.fetch(1)))
    assert.equal("n3 n4", names(s.fetch(3)))
    assert.equal("n5", names(s.fetch(5)))
    assert.is_nil(s.fetch(6):first())
    assert.same({}, s.fetch(6):all())
    assert.equal(s.session:get(s.Item, 3), s.fetch(3):first())
    local row = s.fetch(4, "execute"):first()
    assert.equal("n4", row.Item.name)
    assert.equal(row[1], row.Item)
    assert.same({ "Item" }, s.fetch(4, "execute"):keys())
    assert.same({ "Item" }, s.fetch(4):keys())
    for number = 1, 3 do
      assert.equal("n" .. number, s.session:query(s.Item):filter(s.Item.id:eq(number)):one().name)
    end
  end)

  it("sees what was flushed before it, and what others have written", function()
    local s = shop()
    s.session:get(s.Item, 3).name = "new"
    s.session:add(s.Item { id = 4000, name = "far" })
    assert.equal("new n4", names(s.fetch(3)))
    s.session:execute(orm.update(s.Item):where(s.Item.id:eq(4)):values { name = "four" })
    s.session:expire_all()
    assert.equal("new four", names(s.fetch(3)))
    s.session:commit()
    assert.equal("new four", names(s.fetch(3)))
    s.session:rollback()
    assert.equal("n5", names(s.fetch(5)))
  end)

  it("is heard by whoever has begun to listen", function()
    local s = shop()
    local heard = {}
    local function note(what)
      return function() heard[#heard + 1] = what end
    end
    s.session:expunge_all()
    orm.event.listen(s.session, "do_orm_execute", note("execute"))
    s.fetch(1):all()
    orm.event.listen(s.engine, "before_cursor_execute", note("cursor"))
    s.fetch(1):all()
    assert.same({ "execute", "execute", "cursor" }, heard)
    local other = shop()
    heard = {}
    other.session:expunge_all()
    orm.event.listen(other.Item, "load", note("load"))
    assert.equal("n1 n2", names(other.fetch(1)))
    assert.same({ "load", "load" }, heard)
  end)

  it("brings classes along that have come since, and rows of theirs", function()
    local Base = orm.declarative_base()
    local Animal = Base:model("Animal", {
      __tablename__ = "animal",
      id = orm.Column(orm.Integer, { primary_key = true }),
      kind = orm.Column(orm.String(10)),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" },
    })
    local engine = orm.create_engine("sqlite://")
    Base.metadata:create_all(engine)
    local session = orm.Session(engine)
    session:execute(orm.insert(Animal.__table__):values { id = 1, kind = "animal" })
    local function first()
      return session:scalars(select(Animal):where(Animal.id:eq(1))):first()
    end
    first()
    assert.equal(Animal, orm.inspect(first()).class)
    local Dog = Base:model("Dog", { __inherits__ = Animal, __mapper_args__ = { polymorphic_identity = "dog" } })
    orm.configure_mappers()
    session:execute(orm.insert(Animal.__table__):values { id = 2, kind = "dog" })
    local found = session:scalars(select(Animal):where(Animal.id:eq(2))):first()
    assert.equal(Dog, orm.inspect(found).class)
  end)

  it("says which statement and which values have failed", function()
    local s = shop()
    local function named(name)
      return s.session:scalars(select(s.Item):where(s.Item.name:eq(name))):first()
    end
    assert.equal("n2", named("n2").name)
    assert.equal("n3", named("n3").name)
    local err = raises("ArgumentError", { "parameter 1: ", "UTF-8" }, named, "\255")
    assert.matches("name = ?", err.statement, 1, true)
    assert.same({ "\255" }, err.params)
    assert.equal("n4", named("n4").name)
    s.session:execute(orm.text("DROP TABLE item"))
    err = raises("OperationalError", "no such table: item", s.fetch, 3)
    assert.same({ 3, 100, 2, 0 }, err.params)
  end)

  it("is refused what is no session, and begins a transaction where none is open", function()
    local s = shop()
    local statement = select(s.Item):where(s.Item.id:ge(1))
    raises("ArgumentError", "':'", s.session.scalars, statement)
    s.session:commit()
    assert.is_false(s.session:in_transaction())
    assert.equal("n1 n2", names(s.fetch(1)))
    assert.is_true(s.session:in_transaction())
    s.session:close()
    assert.equal("n1 n2", names(s.fetch(1)))
  end)

  it("may be run while its rows are being gone through, and from a finalizer", function()
    local s = shop()
    local seen = {}
    for item in s.fetch(1) do
      seen[#seen + 1] = item.id .. ":" .. names(s.fetch(item.id + 1))
    end
    assert.same({ "1:n2 n3", "2:n3 n4" }, seen)
  end)
end)
