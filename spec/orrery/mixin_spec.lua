-- What classes get from mixins and abstract bases: copies of columns, methods, tables' arguments, and declared_attr.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, Mapped, mapped_column, ForeignKey = orm.Integer, orm.String, orm.Mapped, orm.mapped_column, orm.ForeignKey

local function key()
  return Mapped(Integer, { primary_key = true })
end

local function ddl(class)
  return tostring(orm.CreateTable(class.__table__))
end

describe("a mixin", function()
  it("gives each class a copy of its columns, with what they say of loading", function()
    local base = orm.declarative_base()
    local Stamped = { created = mapped_column(String, { default = "now" }), note = mapped_column(String, { deferred = true }) }
    local function declare(name)
      return base:model(name, { __tablename__ = name:lower(), __mixins__ = { Stamped }, id = key() })
    end
    local A, B = declare "A", declare "B"
    assert.are_not.equal(A.__table__.c.created, B.__table__.c.created)
    local session = orm.Session(database.create(base))
    session:add_all { A { note = "x" }, B {} }
    session:commit()
    session:close()
    local a = session:get(A, 1)
    assert.equal("now", a.created)
    assert.same({ "note" }, orm.inspect(a).unloaded)
    assert.equal("x", a.note)
  end)

  it("gives methods, metamethods, hybrids, relationships and __init__; the first mixin that has a name wins", function()
    local base = orm.declarative_base()
    local Loud = { shout = function(self) return self.name:upper() end,
      __tostring = function(self) return "<" .. self.name .. ">" end,
      short = orm.hybrid_property(function(self) return self.name .. "." end) }
    local Quiet = { shout = function() return "..." end, __init__ = function(self, fields)
      orm.assign(self, fields)
      self._quiet = true
    end }
    local A = base:model("A", { __tablename__ = "a", __mixins__ = { Loud, Quiet }, id = key(), name = mapped_column(String) })
    local a = A { name = "x" }
    assert.same({ "X", "<x>", "x.", true }, { a:shout(), tostring(a), a.short, a._quiet })
  end)

  it("gives way to the class, and a base gives way to it", function()
    local base = orm.declarative_base()
    local Common = base:model("Common", { __abstract__ = true, id = key(), size = mapped_column(Integer),
      who = function() return "base" end })
    local Mixin = { size = mapped_column(String), who = function() return "mixin" end, what = function() return "mixin" end }
    local A = Common:model("A", { __tablename__ = "a", __mixins__ = { Mixin }, what = function() return "class" end })
    assert.same({ "String", "mixin", "class" }, { tostring(A.size.type), A {}:who(), A {}:what() })
  end)

  it("is refused where another one declares the same column", function()
    local base = orm.declarative_base()
    raises("ArgumentError", "two of its mixins declare 'size'", base.model, base, "A", { __tablename__ = "a", id = key(),
      __mixins__ = { { size = mapped_column(Integer) }, { size = mapped_column(String) } } })
    local A = base:model("A", { __tablename__ = "a", id = key(), size = mapped_column(Integer),
      __mixins__ = { { size = mapped_column(String) }, { other = mapped_column(String) } } })
    assert.equal("Integer", tostring(A.size.type))
  end)

  it("is a table of names, and mixins stand in an array", function()
    local base = orm.declarative_base()
    raises("ArgumentError", "array of bodies", base.model, base, "A", { __tablename__ = "a", __mixins__ = { x = 1 } })
    raises("ArgumentError", "__mixins__[1]", base.model, base, "A", { __tablename__ = "a", __mixins__ = { "Stamped" } })
    raises("ArgumentError", "did you mean '__tablename__'", base.model, base, "A", { __tablename__ = "a",
      __mixins__ = { { __tablenam__ = "b" } } })
  end)

  it("has arguments for the table, each class with constraints of its own", function()
    local base = orm.declarative_base()
    local Coded = { code = mapped_column(String), __table_args__ = orm.declared_attr(function(cls)
      return { orm.UniqueConstraint("code", { name = "uq_" .. cls.__tablename__ }), sqlite_strict = true }
    end) }
    local A = base:model("A", { __tablename__ = "a", __mixins__ = { Coded }, id = key() })
    local B = base:model("B", { __tablename__ = "b", __mixins__ = { Coded }, id = key() })
    assert.truthy(ddl(A):find("uq_a", 1, true) and ddl(A):find("STRICT", 1, true))
    assert.truthy(ddl(B):find("uq_b", 1, true) and ddl(B):find("STRICT", 1, true))
  end)

  it("is not taken a second time by a subclass", function()
    local base = orm.declarative_base()
    local Stamped = { created = mapped_column(String) }
    local A = base:model("A", { __tablename__ = "a", __mixins__ = { Stamped }, id = key(), kind = Mapped(String),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "a" } })
    local B = base:model("B", { __inherits__ = A, __mixins__ = { Stamped, { size = mapped_column(Integer) } },
      __mapper_args__ = { polymorphic_identity = "b" } })
    local session = orm.Session(database.create(base))
    session:add(B { created = "c", size = 1 })
    session:commit()
    assert.same({ "1|b|c|1" }, rows(session, "SELECT id, kind, created, size FROM a"))
  end)
end)

describe("declared_attr", function()
  it("makes columns and relationships anew for each class, and may ask for what there is", function()
    local base = orm.declarative_base()
    local User = base:model("User", { __tablename__ = "user", id = key(), name = mapped_column(String) })
    local Owned = {
      owner_id = orm.declared_attr(function() return mapped_column(ForeignKey("user.id")) end),
      owner = orm.declared_attr(function(cls)
        return orm.relationship("User", { foreign_keys = cls.owner_id, backref = cls.__tablename__ .. "s" })
      end),
    }
    local Doc = base:model("Doc", { __tablename__ = "doc", __mixins__ = { Owned }, id = key() })
    local Song = base:model("Song", { __tablename__ = "song", __mixins__ = { Owned }, id = key() })
    local session = orm.Session(database.create(base))
    local user = User { name = "u", docs = { Doc {} }, songs = { Song {}, Song {} } }
    session:add(user)
    session:commit()
    assert.same({ "1|1" }, rows(session, "SELECT id, owner_id FROM doc"))
    assert.equal(user, session:get(Song, 2).owner)
  end)

  it("gives special names, also to subclasses", function()
    local base = orm.declarative_base()
    local Auto = base:model("Auto", { __abstract__ = true, __tablename__ = orm.declared_attr(function(cls)
      return not orm.has_inherited_table(cls) and cls.__name__:lower() or nil
    end), __mapper_args__ = orm.declared_attr(function(cls)
      return { polymorphic_identity = cls.__name__, polymorphic_on = not orm.has_inherited_table(cls) and "kind" or nil }
    end), id = key() })
    local Animal = Auto:model("Animal", { kind = Mapped(String) })
    local Cat = base:model("Cat", { __inherits__ = Animal, lives = mapped_column(Integer) })
    assert.same({ "animal", "animal", "Cat" }, { Animal.__tablename__, Cat.__tablename__, orm.inspect(Cat).polymorphic_identity })
  end)

  it("runs for every subclass where it is cascading", function()
    local base = orm.declarative_base()
    local Keyed = { id = orm.declared_attr.cascading(function(cls)
      return orm.has_inherited_table(cls) and mapped_column(ForeignKey("animal.id"), { primary_key = true }) or key()
    end) }
    local Animal = base:model("Animal", { __tablename__ = "animal", __mixins__ = { Keyed }, kind = Mapped(String),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" } })
    local Cat = base:model("Cat", { __inherits__ = Animal, __tablename__ = "cat", lives = mapped_column(Integer),
      __mapper_args__ = { polymorphic_identity = "cat" } })
    local session = orm.Session(database.create(base))
    session:add(Cat { lives = 9 })
    session:commit()
    assert.same({ "1|9" }, rows(session, "SELECT id, lives FROM cat"))
    assert.truthy(ddl(Cat):find("FOREIGN KEY(id) REFERENCES animal (id)", 1, true))
  end)

  it("may leave a class without, and takes a function only", function()
    local base = orm.declarative_base()
    local Maybe = { size = orm.declared_attr(function(cls) return cls.__name__ == "A" and mapped_column(Integer) or nil end) }
    local A = base:model("A", { __tablename__ = "a", __mixins__ = { Maybe }, id = key() })
    local B = base:model("B", { __tablename__ = "b", __mixins__ = { Maybe }, id = key() })
    assert.same({ "size", "id" }, orm.inspect(A).attributes)
    assert.same({ "id" }, orm.inspect(B).attributes)
    raises("ArgumentError", "a function", orm.declared_attr, mapped_column(Integer))
    raises("ArgumentError", "cascading", orm.declared_attr, function() end, { cascade = true })
  end)
end)
