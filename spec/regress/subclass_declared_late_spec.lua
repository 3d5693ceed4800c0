-- A class that was declared on another after queries of that one was not among the classes of its rows until somebody used it;
-- its objects were of the class above, or, once another one had been declared late and used, had no room for their columns.
local orm = require "orrery"
local database = require "spec.support.database"

local function family()
  local base = orm.declarative_base()
  local lib = { base = base }
  function lib.declare(name, body)
    body = body or {}
    body.__inherits__, body.__mapper_args__ = lib.Person, { polymorphic_identity = name }
    return base:model(name, body)
  end
  lib.Person = base:model("Person", { __tablename__ = "person", id = orm.mapped_column(orm.Integer, { primary_key = true }),
    kind = orm.mapped_column(orm.String), note = orm.mapped_column(orm.String),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "person" } })
  lib.engine = database.create(base)
  database.run(lib.engine, "INSERT INTO person (id, kind, note) VALUES (1, 'person', 'p'), (2, 'chief', 'c'), (3, 'boss', 'b'), "
    .. "(4, 'boss', 'b')")
  lib.session = orm.Session(lib.engine)
  return lib
end

for _, lazy in ipairs { "select", "selectin", "joined", "batch", "subquery" } do
  it("a relationship leads to classes that are declared after it was used, too: " .. lazy, function()
    local base = orm.declarative_base()
    local mapped = orm.mapped_column
    local Owner = base:model("Owner", { __tablename__ = "owner", id = mapped(orm.Integer, { primary_key = true }),
      pets = orm.relationship("Pet", { order_by = "Pet.id", lazy = lazy }) })
    local Pet = base:model("Pet", { __tablename__ = "pet", id = mapped(orm.Integer, { primary_key = true }),
      owner_id = mapped(orm.Integer, orm.ForeignKey("owner.id")), kind = mapped(orm.String),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "pet" } })
    local engine = database.create(base)
    database.run(engine, "INSERT INTO owner (id) VALUES (1), (2), (3)",
      "INSERT INTO pet (id, owner_id, kind) VALUES (1, 1, 'pet'), (2, 2, 'dog'), (3, 3, 'cat')")
    local session = orm.Session(engine)
    assert.equal("pet", session:get(Owner, 1).pets[1].kind)
    for id, kind in ipairs { false, "dog", "cat" } do
      local class = kind and base:model(kind, { __inherits__ = Pet, __mapper_args__ = { polymorphic_identity = kind } })
      assert.is_true(orm.isinstance(session:get(Owner, id).pets[1], class or Pet))
    end
    session:close()
  end)
end

for how, load in pairs {
  get = function(lib, id) return lib.session:get(lib.Person, id) end,
  select = function(lib, id) return lib.session:scalars(orm.select(lib.Person):where(lib.Person.id:eq(id))):first() end,
} do
  it("a class that is declared after queries of the one above has its rows, by " .. how, function()
    local lib = family()
    assert.equal("p", load(lib, 1).note)
    local Chief = lib.declare("chief")
    assert.is_true(orm.isinstance(load(lib, 2), Chief))
    local Boss = lib.declare("boss")
    for id = 3, 4 do
      local boss = load(lib, id)
      assert.is_true(orm.isinstance(boss, Boss))
      assert.same({ id, "boss", "b" }, { boss.id, boss.kind, boss.note })
    end
    assert.is_true(orm.isinstance(load(lib, 2), Chief))
    lib.session:close()
  end)
end
