-- What the options of relationships do that are about writing and about mistakes: passive_deletes, sync_backref,
-- active_history, overlaps, and what cannot go together.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, ForeignKey, relationship = orm.Integer, orm.String, orm.ForeignKey, orm.relationship
local Column, Mapped, Optional = orm.Column, orm.Mapped, orm.Optional

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function family(options, other, ondelete)
  local base = orm.declarative_base()
  local Parent = base:model("Parent", { __tablename__ = "parent", id = id(),
    children = options and relationship("Child", options) })
  local Child = base:model("Child", { __tablename__ = "child", id = id(), name = Mapped(Optional(String)),
    parent_id = Mapped(Optional(Integer), ForeignKey("parent.id", { ondelete = ondelete })),
    parent = other and relationship("Parent", other) })
  return Parent, Child, base
end

local function open(base)
  local engine = database.create(base)
  return orm.Session(engine), engine
end

local function warnings_of(fn)
  local list = {}
  local former = orm.on_warning(function(message) list[#list + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(former)
  assert(ok, err)
  return list
end

describe("passive_deletes", function()
  it("= true does not load the list; what is loaded loses its key all the same", function()
    local Parent, Child, base = family({ passive_deletes = true }, nil, "SET NULL")
    local session, engine = open(base)
    session:add_all { Parent { children = { Child {} } }, Parent { children = { Child {} } } }
    session:commit()
    local second = session:get(Parent, 2)
    assert.equal(1, #second.children)
    local first = session:get(Parent, 1)
    local record = statements.record(engine)
    session:delete(first)
    session:delete(second)
    session:flush()
    assert.same({ "UPDATE child SET parent_id", "DELETE parent" }, record:headlines())
    assert.same({ "NULL", "NULL" }, rows(session, "SELECT parent_id FROM child"))
  end)

  it("= \"all\" leaves even what is loaded to the database", function()
    local Parent, Child, base = family({ passive_deletes = "all" }, nil, "CASCADE")
    local session, engine = open(base)
    session:add(Parent { children = { Child {}, Child {} } })
    session:commit()
    local parent = session:get(Parent, 1)
    assert.equal(2, #parent.children)
    local record = statements.record(engine)
    session:delete(parent)
    session:flush()
    assert.same({ "DELETE parent" }, record:headlines())
    assert.same({ "0" }, rows(session, "SELECT count(*) FROM child"))
  end)
end)

describe("active_history", function()
  it("has the former object of a many-to-one loaded before it is replaced", function()
    local Parent, Child, base = family(nil, { active_history = true })
    local session = open(base)
    session:add(Child { parent = Parent {} })
    session:commit()
    session:expunge_all()
    local child = session:get(Child, 1)
    child.parent = Parent {}
    assert.equal(1, orm.inspect(child).attrs.parent.history.deleted[1].id)
  end)
end)

describe("a relationship whose other side is viewonly", function()
  it("is written, and does not change the list that is only read", function()
    local Parent, Child, base = family({ viewonly = true, back_populates = "parent" }, { back_populates = "children" })
    local session, engine = open(base)
    local parent = Parent {}
    session:add(Child { parent = parent })
    assert.equal(0, #parent.children)
    session:commit()
    assert.equal(1, #parent.children)
    assert.same({ "1|1" }, rows(engine, "SELECT id, parent_id FROM child"))
  end)

  it("is written through a link table too, whichever was declared first", function()
    for _, viewonly in ipairs { "left", "right" } do
      local base = orm.declarative_base()
      local Left = base:model("Left", { __tablename__ = "lefts", id = id(),
        rights = relationship("Right", { secondary = "link", back_populates = "lefts", viewonly = viewonly == "left" }) })
      local Right = base:model("Right", { __tablename__ = "rights", id = id(),
        lefts = relationship("Left", { secondary = "link", back_populates = "rights", viewonly = viewonly == "right" }) })
      orm.Table("link", base.metadata, Column("l", Integer, ForeignKey("lefts.id"), { primary_key = true }),
        Column("r", Integer, ForeignKey("rights.id"), { primary_key = true }))
      local session, engine = open(base)
      local left, right = Left {}, Right {}
      if viewonly == "left" then
        right.lefts:append(left)
      else
        left.rights:append(right)
      end
      session:add_all { left, right }
      session:commit()
      assert.same({ "1|1" }, rows(engine, "SELECT l, r FROM link"))
      assert.equal(right, left.rights[1])
      assert.equal(left, right.lefts[1])
    end
  end)
end)

describe("sync_backref = false", function()
  it("leaves the other side to the next load", function()
    local Parent, Child, base = family({ back_populates = "parent" }, { back_populates = "children", sync_backref = false })
    local session, engine = open(base)
    local parent, one, two = Parent {}, Child {}, Child {}
    one.parent = parent
    assert.equal(0, #parent.children)
    parent.children:append(two)
    assert.equal(parent, two.parent)
    session:add_all { parent, one }
    session:commit()
    assert.same({ "2" }, rows(engine, "SELECT count(*) FROM child WHERE parent_id = 1"))
  end)
end)

describe("relationships that write the same column", function()
  local function two(options, more)
    local base = orm.declarative_base()
    base:model("Parent", { __tablename__ = "parent", id = id(), children = relationship("Child", options),
      heirs = relationship("Child", more) })
    base:model("Child", { __tablename__ = "child", id = id(), parent_id = Mapped(Optional(Integer), ForeignKey("parent.id")) })
    return warnings_of(function() base.registry:configure() end)
  end

  it("are warned of, with both names and what to write", function()
    local list = two({}, {})
    assert.equal(1, #list)
    for _, part in ipairs { "Parent.children and Parent.heirs", "'child.parent_id'", "viewonly = true",
      'overlaps = "children" on Parent.heirs' } do
      assert.truthy(list[1]:find(part, 1, true), list[1])
    end
  end)

  it("are not when one of them says so, or is viewonly", function()
    assert.same({}, two({}, { overlaps = "children" }))
    assert.same({}, two({ overlaps = "others, heirs" }, {}))
    assert.same({}, two({}, { viewonly = true }))
  end)

  it("are warned of from two sides, with the back_populates to write", function()
    local list = warnings_of(function()
      local _, _, base = family({}, {})
      base.registry:configure()
    end)
    assert.equal(1, #list)
    assert.truthy(list[1]:find('link them with back_populates = "parent" and back_populates = "children"', 1, true), list[1])
  end)

  it("are warned of through a link table", function()
    local base = orm.declarative_base()
    base:model("Left", { __tablename__ = "lefts", id = id(), rights = relationship("Right", { secondary = "link" }) })
    base:model("Right", { __tablename__ = "rights", id = id(), lefts = relationship("Left", { secondary = "link" }) })
    orm.Table("link", base.metadata, Column("l", Integer, ForeignKey("lefts.id"), { primary_key = true }),
      Column("r", Integer, ForeignKey("rights.id"), { primary_key = true }))
    local list = warnings_of(function() base.registry:configure() end)
    assert.equal(1, #list)
    assert.truthy(list[1]:find("Left.rights and Right.lefts", 1, true), list[1])
  end)
end)

describe("options that cannot be are explained:", function()
  it("in the call itself", function()
    raises("ArgumentError", { "relationship(): unknown option 'back_popluates'", "did you mean 'back_populates'?" }, function()
      relationship("Child", { back_popluates = "x" })
    end)
    raises("ArgumentError", { "relationship(): viewonly is true or false", "'yes'" }, relationship, "Child", { viewonly = "yes" })
    raises("ArgumentError", { "passive_deletes is true or false or \"all\"" }, relationship, "Child", { passive_deletes = "al" })
    raises("ArgumentError", { "cascade is a string" }, relationship, "Child", { cascade = true })
    raises("ArgumentError", { "backref(): uselist is true or false" }, orm.backref, "x", { uselist = 1 })
  end)

  it("viewonly together with what is about writing", function()
    raises("ArgumentError", { "passive_deletes is about writing" }, relationship, "C",
      { viewonly = true, passive_deletes = true })
    raises("ArgumentError", { "cascade = 'all'" }, relationship, "C", { viewonly = true, cascade = "all" })
    raises("ArgumentError", { "sync_backref = true with viewonly" }, relationship, "C", { viewonly = true, sync_backref = true })
  end)

  it("passive_deletes = \"all\" together with a cascade that deletes", function()
    local _, _, base = family({ passive_deletes = "all", cascade = "all" })
    raises("ArgumentError", { "Parent.children", 'passive_deletes = "all"', "cascade = 'all'" }, function()
      base.registry:configure()
    end)
  end)

  it("delete-orphan without delete is warned of", function()
    local _, _, base = family({ cascade = "save-update, delete-orphan" })
    local list = warnings_of(function() base.registry:configure() end)
    assert.truthy(list[1]:find("'delete-orphan' without 'delete'", 1, true))
  end)
end)

describe("a list where one object is held, and the other way round, is explained", function()
  local function two(options, column)
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = id(), b = relationship("B", options) })
    local B = base:model("B", { __tablename__ = "b", id = id(), a_id = Mapped(Integer, ForeignKey("a.id"), column or {}) })
    return A, B
  end

  it("by the reason for it", function()
    local A = two({ uselist = false })
    raises("ArgumentError", { "A.b takes an object of class 'B', got a list", "uselist = false" }, A, { b = {} })
    A = two({}, { unique = true })
    raises("ArgumentError", "the foreign key in 'b' is unique", A, { b = {} })
    local _, Child = family(nil, {})
    raises("ArgumentError", "the foreign key stands in 'child'", Child, { parent = {} })
  end)

  it("by what to write", function()
    local A, B = two({})
    raises("ArgumentError", { "A.b", "write { object }" }, function() A { b = B {} } end)
    A, B = two({ collection_class = orm.attribute_keyed_dict("id") })
    raises("ArgumentError", { "A.b", "write { [key] = object }" }, function() A { b = B { id = 1 } } end)
  end)
end)
