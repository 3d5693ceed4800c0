-- Rows that refer to rows of their own table: inserted level by level, deleted from the leaves.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows

local NODES = "SELECT n.name, p.name FROM node n LEFT JOIN node p ON p.id = n.parent_id ORDER BY n.id"

local function open(cascade)
  local base = orm.declarative_base()
  local Node = base:model("Node", {
    __tablename__ = "node",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    parent_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
    name = orm.mapped_column(orm.String),
    children = orm.relationship("Node", { back_populates = "parent", order_by = "Node.id", cascade = cascade }),
    parent = orm.relationship("Node", { back_populates = "children", remote_side = "Node.id" }),
  })
  local engine = database.create(base)
  return Node, orm.Session(engine), engine, statements.record(engine)
end

local function family(Node)
  local leaf = Node { name = "g1" }
  local first = Node { name = "c1", children = { leaf } }
  return Node { name = "root", children = { first, Node { name = "c2" } } }, first, leaf
end

describe("a tree", function()
  it("is inserted level by level", function()
    local Node, session, _, record = open()
    session:add((family(Node)))
    session:flush()
    assert.same({
      "INSERT INTO node (parent_id, name) VALUES (?, ?) [NULL, root]",
      "INSERT INTO node (parent_id, name) VALUES (?, ?), (?, ?) [1, c1, 1, c2]",
      "INSERT INTO node (parent_id, name) VALUES (?, ?) [2, g1]",
    }, record:take())
    assert.same({ "root|NULL", "c1|root", "c2|root", "g1|c1" }, rows(session, NODES))
  end)

  it("is inserted level by level from whichever node is added", function()
    local Node, session = open()
    local _, _, leaf = family(Node)
    session:add(leaf)
    session:flush()
    assert.same({ "root|NULL", "c1|root", "c2|root", "g1|c1" }, rows(session, NODES))
  end)

  it("whose root is deleted alone keeps its children without a parent", function()
    local Node, session, engine = open()
    local root = family(Node)
    session:add(root)
    session:commit()
    session:delete(root)
    session:commit()
    assert.same({ "c1|NULL", "c2|NULL", "g1|c1" }, rows(engine, NODES))
  end)

  it("is deleted from the leaves, in whatever order the script asks", function()
    local Node, session, engine, record = open()
    local root, first, leaf = family(Node)
    session:add(root)
    session:commit()
    local second = root.children[2]
    record:take()
    for _, node in ipairs { root, leaf, second, first } do
      session:delete(node)
    end
    session:flush()
    local order = {}
    for _, one in ipairs(record:take()) do
      assert.is_nil(one:find("^UPDATE"), one)
      if one:find("^DELETE") then
        for id in one:match("%[(.*)%]"):gmatch("%d+") do
          order[#order + 1] = tonumber(id)
        end
      end
    end
    local place = {}
    for position, id in ipairs(order) do
      place[id] = position
    end
    assert.equal(4, #order)
    assert.is_true(place[4] < place[2] and place[2] < place[1] and place[3] < place[1])
    session:commit()
    assert.same({}, rows(engine, NODES))
  end)

  it("is deleted as a whole by its cascade", function()
    local Node, session, engine = open("all, delete-orphan")
    session:add((family(Node)))
    session:commit()
    session:close()
    session:delete(session:get(Node, 1))
    session:commit()
    assert.same({}, rows(engine, NODES))
  end)

  it("can have a branch turned round", function()
    local Node, session, engine = open()
    local root, first, leaf = family(Node)
    session:add(root)
    session:commit()
    first.parent, leaf.parent = leaf, root
    session:commit()
    assert.same({ "root|NULL", "c1|g1", "c2|root", "g1|root" }, rows(engine, NODES))
  end)

  it("of new nodes in a circle is an error that names them", function()
    local Node, session, engine = open()
    local a, b = Node { name = "aa" }, Node { name = "bb" }
    a.parent, b.parent = b, a
    session:add(a)
    raises("CircularDependencyError", { "Node", "aa", "bb" }, session.flush, session)
    b.parent = nil
    session:commit()
    assert.same({ "bb|NULL", "aa|bb" }, rows(engine, NODES))
  end)

  it("node that is its own parent can be stored in two steps", function()
    local Node, session, engine = open()
    local node = Node { name = "self" }
    session:add(node)
    session:flush()
    node.parent = node
    session:commit()
    assert.same({ "self|self" }, rows(engine, NODES))
    assert.equal(node, node.parent)
    assert.equal(node, node.children[1])
  end)

  it("of depth 2,000 is inserted and deleted", function()
    local Node, session, engine = open("all")
    local root = Node { name = "root" }
    local node = root
    for depth = 1, 2000 do
      local child = Node { name = "n" .. depth }
      node.children:append(child)
      node = child
    end
    session:add(root)
    session:commit()
    assert.same({ "2001|2000" }, rows(engine, "SELECT count(*), count(parent_id) FROM node"))
    assert.same({ "2000" }, rows(engine, "SELECT count(*) FROM node n JOIN node p ON p.id = n.parent_id AND p.id = n.id - 1"))
    session:delete(root)
    session:commit()
    assert.same({ "0" }, rows(engine, "SELECT count(*) FROM node"))
  end)
end)

describe("tables that refer to each other", function()
  it("are written in an order that the rows allow", function()
    local base = orm.declarative_base()
    local Hen = base:model("Hen", { __tablename__ = "hen", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      egg_id = orm.mapped_column(orm.Integer, orm.ForeignKey("egg.id")),
      from_egg = orm.relationship("Egg", { foreign_keys = "egg_id" }) })
    local Egg = base:model("Egg", { __tablename__ = "egg", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      hen_id = orm.mapped_column(orm.Integer, orm.ForeignKey("hen.id")),
      laid_by = orm.relationship("Hen", { foreign_keys = "hen_id" }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local first = Hen { from_egg = Egg { laid_by = Hen { from_egg = Egg {} } } }
    session:add(first)
    session:commit()
    assert.same({ "1|NULL", "2|1" }, rows(engine, "SELECT id, hen_id FROM egg ORDER BY id"))
    assert.same({ "1|1", "2|2" }, rows(engine, "SELECT id, egg_id FROM hen ORDER BY id"))
    session:delete(first.from_egg)
    session:delete(first)
    session:commit()
    assert.same({ "1|1" }, rows(engine, "SELECT id, egg_id FROM hen"))
  end)
end)

describe("a circle of rows beside other tables", function()
  local function place()
    local base, lib = orm.declarative_base(), {}
    local function id()
      return orm.mapped_column(orm.Integer, { primary_key = true })
    end
    local links = orm.Table("node_link", base.metadata,
      orm.Column("from_id", orm.ForeignKey("node.id"), { primary_key = true }),
      orm.Column("to_id", orm.ForeignKey("node.id"), { primary_key = true }))
    lib.Node = base:model("Node", { __tablename__ = "node", id = id(), name = orm.mapped_column(orm.String),
      parent_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
      first_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
      children = orm.relationship("Node", { back_populates = "parent", order_by = "Node.id", foreign_keys = "Node.parent_id" }),
      parent = orm.relationship("Node", { back_populates = "children", remote_side = "Node.id", foreign_keys = "parent_id" }),
      first = orm.relationship("Node", { remote_side = "Node.id", foreign_keys = "first_id", post_update = true }),
      links = orm.relationship("Node", { secondary = links, primaryjoin = "Node.id == node_link.from_id",
        secondaryjoin = "Node.id == node_link.to_id" }) })
    lib.Leaf = base:model("Leaf", { __tablename__ = "leaf", id = id(), name = orm.mapped_column(orm.String) })
    lib.engine = database.create(base)
    lib.session = orm.Session(lib.engine)
    return lib
  end

  it("is deleted, replaced and linked anew in one flush with rows of those", function()
    local lib = place()
    local session, Node, Leaf = lib.session, lib.Node, lib.Leaf
    local root, one, two = Node { id = 1, name = "root" }, Node { id = 2, name = "one" }, Node { id = 3, name = "two" }
    local free = Node { id = 4, name = "free" }
    root.children, one.children = { one }, { two }
    root.links, two.links, free.links = { two, free }, { one }, { root, free }
    root.first, one.first, two.first = two, free, one
    session:add_all { root, free, Leaf { id = 1, name = "l1" }, Leaf { id = 2, name = "l2" } }
    session:commit()
    assert.same({ "1|3", "2|4", "3|2", "4|NULL" }, rows(session, "SELECT id, first_id FROM node ORDER BY id"))
    local leaf = session:get(Leaf, 1)
    for _, node in ipairs { root, one, two } do
      assert.is_not_nil(node.first)
    end
    local again
    session:no_autoflush(function()
      session:delete(leaf)
      for _, node in ipairs { root, one, two } do
        session:delete(node)
      end
      again = Node { id = 2, name = "again", parent = free, links = { free } }
      free.links = { again }
      session:add(again)
      session:add(Leaf { id = 3, name = "l3" })
    end)
    session:commit()
    assert.same({ "2|again|4", "4|free|NULL" }, rows(session, "SELECT id, name, parent_id FROM node ORDER BY id"))
    assert.same({ "2|4", "4|2" }, rows(session, "SELECT * FROM node_link ORDER BY 1, 2"))
    assert.same({ "2|l2", "3|l3" }, rows(session, "SELECT id, name FROM leaf ORDER BY id"))
    assert.same({ free, { free } }, { again.parent, again.links:to_table() })
  end)
end)
