-- Objects whose rows stand in two tables, in a circle of tables: a firm has a head, who is an employee of a firm.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, Mapped, Optional, relationship = orm.Integer, orm.String, orm.Mapped, orm.Optional, orm.relationship

local function open(options)
  options = options or {}
  local base = orm.declarative_base()
  local place = {}
  place.Firm = base:model("Firm", { __tablename__ = "firm", id = Mapped(Integer, { primary_key = true }),
    name = Mapped(Optional(String)),
    head_id = Mapped(Optional(Integer), orm.ForeignKey("head.id", { use_alter = true, name = "firm_head" })),
    head = relationship("Head", { foreign_keys = "Firm.head_id", post_update = options.post_update, uselist = false }),
    people = relationship("Person", { back_populates = "firm", foreign_keys = "Person.firm_id",
      cascade = options.cascade }) })
  place.Person = base:model("Person", { __tablename__ = "person", id = Mapped(Integer, { primary_key = true }),
    kind = Mapped(String),
    firm_id = Mapped(Optional(Integer), orm.ForeignKey("firm.id")),
    boss_id = Mapped(Optional(Integer), orm.ForeignKey("person.id")),
    firm = relationship("Firm", { back_populates = "people", foreign_keys = "Person.firm_id" }),
    boss = relationship("Person", { remote_side = "Person.id", back_populates = "reports" }),
    reports = relationship("Person", { back_populates = "boss" }),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "person" } })
  place.Head = base:model("Head", { __tablename__ = "head", __inherits__ = place.Person,
    id = Mapped(Integer, orm.ForeignKey("person.id"), { primary_key = true }), car = Mapped(Optional(String)),
    __mapper_args__ = { polymorphic_identity = "head" } })
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  return place
end

local ALL = "SELECT f.id, f.head_id, p.id, p.kind, p.firm_id, p.boss_id, h.car FROM firm f "
  .. "LEFT JOIN person p ON p.firm_id = f.id "
  .. "LEFT JOIN head h ON h.id = p.id ORDER BY f.id, p.id"

describe("firms and their heads", function()
  it("are inserted where the foreign keys leave an order, and deleted again", function()
    local place = open()
    local first, second = place.Person {}, place.Person {}
    local head = place.Head { car = "red", reports = { first, second } }
    local firm = place.Firm { people = { first, second } }
    local other = place.Firm { head = head }
    place.session:add_all { firm, other }
    place.session:commit()
    assert.same({ "2" }, rows(place.engine,
      "SELECT count(*) FROM person WHERE boss_id = (SELECT id FROM head) AND firm_id IS NOT NULL"))
    assert.same({ "1" }, rows(place.engine, "SELECT count(*) FROM firm WHERE head_id = (SELECT id FROM head)"))
    for _, object in ipairs { head, first, second, firm, other } do
      place.session:delete(object)
    end
    place.session:commit()
    assert.same({ "0|0|0" }, rows(place.engine, "SELECT (SELECT count(*) FROM firm), (SELECT count(*) FROM person), "
      .. "(SELECT count(*) FROM head)"))
  end)

  it("that need each other are refused, or written with a further statement", function()
    local place = open()
    local head = place.Head { car = "red" }
    place.session:add(place.Firm { head = head, people = { head } })
    raises("CircularDependencyError", "post_update", place.session.flush, place.session)
    place = open { post_update = true }
    head = place.Head { car = "red" }
    local firm = place.Firm { head = head, people = { head } }
    place.session:add(firm)
    place.session:commit()
    assert.same({ "1|1|1|head|1|NULL|red" }, rows(place.engine, ALL))
    local heir = place.Head { car = "blue" }
    firm.people:append(heir)
    heir.boss, firm.head = head, heir
    place.session:commit()
    assert.same({ "1|2|1|head|1|NULL|red", "1|2|2|head|1|1|blue" }, rows(place.engine, ALL))
    place.session:delete(firm)
    place.session:delete(heir)
    place.session:delete(head)
    place.session:commit()
    assert.same({ "0" }, rows(place.engine, "SELECT count(*) FROM person"))
  end)

  it("go together where they belong together, a boss after those who report", function()
    local place = open { post_update = true, cascade = "all, delete-orphan" }
    local head = place.Head { car = "red" }
    local firm = place.Firm { head = head, people = { head, place.Person { boss = head }, place.Head { boss = head } } }
    place.session:add(firm)
    place.session:commit()
    place.session:delete(firm)
    place.session:commit()
    assert.same({}, rows(place.engine, ALL))
    assert.same({ "0" }, rows(place.engine, "SELECT count(*) FROM head"))
  end)

  it("take the row of one that goes, of the same class or another", function()
    local place = open { post_update = true }
    local head, person = place.Head { id = 1, car = "red" }, place.Person { id = 2 }
    local firm = place.Firm { id = 1, head = head, people = { head, person } }
    place.session:add(firm)
    place.session:commit()
    place.session:delete(head)
    local heir = place.Head { id = 1, car = "blue", firm = firm }
    firm.head = heir
    place.session:add(heir)
    place.session:commit()
    assert.same({ "1|1|1|head|1|NULL|blue", "1|1|2|person|1|NULL|NULL" }, rows(place.engine, ALL))
    place.session:delete(person)
    place.session:add(place.Head { id = 2, car = "green", firm = firm, boss = heir })
    place.session:commit()
    assert.same({ "1|1|1|head|1|NULL|blue", "1|1|2|head|1|1|green" }, rows(place.engine, ALL))
  end)

  it("do not take the row of one that stays", function()
    local place = open { post_update = true }
    local head = place.Head { id = 1, car = "red" }
    place.session:add(head)
    place.session:commit()
    head.car = "black"
    place.session:add(place.Head { id = 1, car = "blue" })
    assert.is_false((pcall(place.session.flush, place.session)))
    place.session:rollback()
    assert.equal("red", head.car)
  end)
end)
