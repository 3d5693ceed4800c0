-- A deleted object and a new one of another class of its hierarchy, under one primary key, in one flush.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows

-- `joined`: managers and engineers have tables of their own. Every employee may have a chief, and has badges.
local function firm(joined, cascades)
  local base = orm.declarative_base()
  local function class(name, body)
    body.id = joined and orm.Column(orm.Integer, orm.ForeignKey("employee.id", { ondelete = cascades and "CASCADE" or nil }),
      { primary_key = true }) or nil
    body.__tablename__ = joined and name:lower() or nil
    body.__inherits__, body.__mapper_args__ = base.Employee, { polymorphic_identity = name:lower() }
    return base:model(name, body)
  end
  local place = {}
  base.Employee = base:model("Employee", { __tablename__ = "employee", id = orm.Column(orm.Integer, { primary_key = true }),
    kind = orm.Column(orm.Text), name = orm.Column(orm.Text), chief_id = orm.Column(orm.ForeignKey("employee.id")),
    chief = orm.relationship("Employee", { remote_side = "Employee.id" }),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "employee" } })
  place.Employee = base.Employee
  place.Manager = class("Manager", { budget = orm.Column(orm.Integer) })
  place.Engineer = class("Engineer", { language = orm.Column(orm.Text) })
  place.Badge = base:model("Badge", { __tablename__ = "badge", id = orm.Column(orm.Integer, { primary_key = true }),
    employee_id = orm.Column(orm.ForeignKey("employee.id"), { nullable = false }) })
  place.engine = database.create(base)
  place.session, place.record = orm.Session(place.engine), statements.record(place.engine)
  return place
end

for _, joined in ipairs { true, false } do
  describe(joined and "joined tables:" or "one table:", function()
    it("the row of a manager becomes that of an engineer", function()
      local place = firm(joined)
      place.session:add_all { place.Manager { id = 1, name = "ann", budget = 5 }, place.Manager { id = 2, name = "bob" } }
      place.session:commit()
      local former = place.session:get(place.Employee, 1)
      place.session:delete(former)
      local new = place.Engineer { id = 1, name = "cid", language = "C" }
      place.session:add(new)
      place.session:commit()
      assert.same({ "1|engineer|cid", "2|manager|bob" }, rows(place.engine, "SELECT id, kind, name FROM employee ORDER BY id"))
      assert.same({ "1|C" }, rows(place.engine, joined and "SELECT id, language FROM engineer"
        or "SELECT id, language FROM employee WHERE id = 1 AND budget IS NULL"))
      if joined then
        assert.same({ "2" }, rows(place.engine, "SELECT id FROM manager"))
      end
      assert.equal(new, place.session:get(place.Employee, 1))
      assert.equal("detached", orm.inspect(former).state)
    end)

    it("to the class above and back", function()
      local place = firm(joined)
      local one = place.Manager { id = 1, name = "ann" }
      place.session:add(one)
      place.session:flush()
      for _, class in ipairs { "Employee", "Engineer", "Employee", "Manager" } do
        local next_one = place[class] { id = 1, name = class }
        place.session:delete(one)
        place.session:add(next_one)
        place.session:flush()
        assert.same({ ("1|%s|%s"):format(class:lower(), class) }, rows(place.session, "SELECT id, kind, name FROM employee"))
        one = next_one
      end
    end)

    it("what refers to the row stays", function()
      local place = firm(joined)
      local chief = place.Manager { id = 1, name = "ann" }
      place.session:add_all { chief, place.Engineer { id = 2, name = "bob", chief = chief } }
      place.session:flush()
      place.session:add(place.Badge { id = 1, employee_id = 1 })
      place.session:commit()
      place.session:delete(place.session:get(place.Employee, 1))
      place.session:add(place.Engineer { id = 1, name = "cid", language = "C" })
      place.session:commit()
      assert.same({ "1|NULL", "2|1" }, rows(place.engine, "SELECT id, chief_id FROM employee ORDER BY id"))
      assert.same({ "1|1" }, rows(place.engine, "SELECT id, employee_id FROM badge"))
      assert.same({}, rows(place.engine, "PRAGMA foreign_key_check"))
    end)

    it("a rollback gives the former object back", function()
      local place = firm(joined)
      local former, new = place.Manager { id = 1, name = "ann", budget = 5 }, place.Engineer { id = 1, name = "cid" }
      place.session:add(former)
      place.session:commit()
      place.session:delete(former)
      place.session:add(new)
      place.session:flush()
      place.session:rollback()
      assert.equal(former, place.session:get(place.Employee, 1))
      assert.equal(5, former.budget)
      assert.equal("transient", orm.inspect(new).state)
    end)
  end)
end

it("where the database deletes the rows below itself, they go with the one above", function()
  local place = firm(true, true)
  local former = place.Manager { id = 1, name = "ann", budget = 5 }
  place.session:add(former)
  place.session:commit()
  place.session:delete(former)
  place.session:add(place.Engineer { id = 1, name = "cid", language = "C" })
  place.session:commit()
  assert.same({ "1|engineer" }, rows(place.engine, "SELECT id, kind FROM employee"))
  assert.same({}, rows(place.engine, "SELECT id FROM manager"))
end)

it("a new row of the same class is still an update", function()
  local place = firm(true)
  place.session:add(place.Manager { id = 1, name = "ann", budget = 5 })
  place.session:commit()
  local former = place.session:get(place.Employee, 1)
  place.record:take()
  place.session:delete(former)
  place.session:add(place.Manager { id = 1, name = "dot" })
  place.session:flush()
  for _, line in ipairs(place.record:headlines()) do
    assert.is_nil(line:match("^DELETE") or line:match("^INSERT"))
  end
  assert.same({ "1|dot" }, rows(place.session, "SELECT id, name FROM employee"))
  assert.same({ "1|5" }, rows(place.session, "SELECT id, budget FROM manager"))
end)

it("a row that is taken over keeps what the new object was not given, defaults and unique values among it", function()
  local base = orm.declarative_base()
  local Seat = base:model("Seat", { __tablename__ = "seat", id = orm.Column(orm.Integer, { primary_key = true }),
    guest = orm.Column(orm.Text, { unique = true }), class = orm.Column(orm.Integer, { default = 2 }),
    row = orm.Column(orm.Integer) })
  local engine = database.create(base)
  local session = orm.Session(engine)
  session:add_all { Seat { id = 1, guest = "ann", class = 1, row = 7 }, Seat { id = 2, guest = "bob" } }
  session:commit()
  local new = Seat { id = 1, row = 8 }
  session:delete(session:get(Seat, 1))
  session:add(new)
  session:get(Seat, 2).row = 9
  session:flush()
  assert.same({ "ann", 1, 8 }, { new.guest, new.class, new.row })
  assert.same({ "1|ann|1|8", "2|bob|2|9" }, rows(session, "SELECT id, guest, class, row FROM seat ORDER BY id"))
  session:delete(new)
  local next_one = Seat { id = 1 }
  next_one.guest = nil
  session:add(next_one)
  session:get(Seat, 2).guest = "ann"
  session:commit()
  assert.same({ "1|NULL|1|8", "2|ann|2|9" }, rows(engine, "SELECT id, guest, class, row FROM seat ORDER BY id"))
end)

describe("a new association object whose key follows from its parents", function()
  local function shop()
    local base = orm.declarative_base()
    local place = {}
    place.Order = base:model("Order", { __tablename__ = "orders", id = orm.Column(orm.Integer, { primary_key = true }),
      lines = orm.relationship("Line", { back_populates = "order", cascade = "all, delete-orphan" }) })
    place.Line = base:model("Line", { __tablename__ = "line",
      order_id = orm.Column(orm.ForeignKey("orders.id"), { primary_key = true }),
      item_id = orm.Column(orm.ForeignKey("item.id"), { primary_key = true }),
      count = orm.Column(orm.Integer, { default = 1 }), note = orm.Column(orm.Text),
      order = orm.relationship("Order", { back_populates = "lines" }), item = orm.relationship("Item") })
    place.Item = base:model("Item", { __tablename__ = "item", id = orm.Column(orm.Integer, { primary_key = true }) })
    place.engine = database.create(base)
    place.session, place.record = orm.Session(place.engine), statements.record(place.engine)
    place.item, place.order = place.Item { id = 1 }, place.Order { id = 1 }
    place.order.lines = { place.Line { item = place.item, count = 5, note = "old" } }
    place.session:add(place.order)
    place.session:commit()
    place.record:take()
    return place
  end

  it("takes over the row of one that is left out of the list", function()
    local place = shop()
    place.order.lines = { place.Line { item = place.item, count = 9 } }
    place.session:commit()
    assert.same({ "SELECT line", "UPDATE line SET count" }, place.record:headlines())
    assert.same({ "1|1|9|old" }, rows(place.engine, "SELECT order_id, item_id, count, note FROM line"))
  end)

  it("takes it over where a parent takes over the row of a deleted one as well", function()
    local place = shop()
    place.session:delete(place.order)
    place.session:add(place.Order { id = 1, lines = { place.Line { item = place.item, note = "new" } } })
    place.session:commit()
    assert.same({ "SELECT line", "UPDATE line SET note" }, place.record:headlines())
    assert.same({ "1|1|5|new" }, rows(place.engine, "SELECT order_id, item_id, count, note FROM line"))
  end)

  it("is inserted beside it under another key", function()
    local place = shop()
    place.order.lines = { place.Line { item = place.Item { id = 2 } } }
    place.session:commit()
    assert.same({ "SELECT line", "INSERT item", "INSERT line", "DELETE line" }, place.record:headlines())
    assert.same({ "1|2|1|NULL" }, rows(place.engine, "SELECT order_id, item_id, count, note FROM line"))
  end)
end)

describe("a new object under the key of one that stays", function()
  it("is refused by the database, beside deletes, whether that one has changed or not", function()
    for _, changed in ipairs { false, true } do
      local place = firm(false)
      local session = orm.Session(place.engine)
      session:add_all { place.Manager { id = 11, name = "stays" }, place.Manager { id = 12, name = "goes" } }
      session:commit()
      local stays, goes = session:get(place.Manager, 11), session:get(place.Manager, 12)
      local _ = goes.name
      if changed then
        stays.name = "changed"
      end
      session:delete(goes)
      local rival = place.Manager { id = 11, name = "rival" }
      session:add(rival)
      raises("IntegrityError", "employee.id", session.flush, session)
      session:rollback()
      assert.same({ "11|stays", "12|goes" }, rows(session, "SELECT id, name FROM employee WHERE id > 10 ORDER BY id"))
      assert.same({ "stays", "goes", "transient" }, { stays.name, goes.name, orm.inspect(rival).state })
    end
  end)
end)
