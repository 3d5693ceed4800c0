-- post_update: rows that refer to each other in a circle are written first, and told of each other afterwards.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows

-- Widget.entries one-to-many, Widget.favorite many-to-one to one of them.
local function widgets(options)
  local base = orm.declarative_base()
  local place = {}
  place.Widget = base:model("Widget", { __tablename__ = "widget", id = orm.Column(orm.Integer, { primary_key = true }),
    name = orm.Column(orm.Text), favorite_id = orm.Column(orm.Integer, orm.ForeignKey("entry.id", { name = "fk_favorite" })),
    v = options.version and orm.Column(orm.Integer) or nil,
    __mapper_args__ = options.version and { version_id_col = "v" } or nil,
    entries = orm.relationship("Entry", { back_populates = "widget", foreign_keys = "Entry.widget_id", order_by = "Entry.id",
      cascade = "all" }),
    favorite = orm.relationship("Entry", { foreign_keys = "favorite_id", post_update = options.post_update }) })
  place.Entry = base:model("Entry", { __tablename__ = "entry", id = orm.Column(orm.Integer, { primary_key = true }),
    widget_id = orm.Column(orm.Integer, orm.ForeignKey("widget.id")), name = orm.Column(orm.Text),
    widget = orm.relationship("Widget", { back_populates = "entries", foreign_keys = "widget_id" }) })
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  place.record = statements.record(place.engine)
  return place
end

local function new(place)
  local best = place.Entry { name = "best" }
  local widget = place.Widget { name = "w", favorite = best, entries = { place.Entry { name = "other" }, best } }
  place.session:add(widget)
  return widget, best
end

describe("two tables that refer to each other", function()
  it("cannot be written without: the error says what helps", function()
    local place = widgets {}
    new(place)
    raises("CircularDependencyError", "post_update", place.session.flush, place.session)
  end)

  it("are told of each other only while their rows are there", function()
    local place = widgets { post_update = true }
    local widget, best = new(place)
    place.session:commit()
    assert.equal(best, widget.favorite)
    widget.favorite = widget.entries[1]
    place.session:no_autoflush(function()
      place.session:execute(orm.text("UPDATE widget SET favorite_id = NULL"))
      place.session:execute(orm.text("UPDATE entry SET widget_id = NULL"))
      place.session:execute(orm.text("DELETE FROM widget"))
    end)
    raises("StaleDataError", "Widget", place.session.flush, place.session)
    place.session:rollback()
    assert.same({ "1|2" }, rows(place.session, "SELECT id, favorite_id FROM widget"))
  end)

  it("are written, and then told of each other", function()
    local place = widgets { post_update = true }
    local widget, best = new(place)
    place.session:flush()
    assert.same({ "INSERT INTO widget (name, favorite_id) VALUES (?, ?) [w, NULL]",
      "INSERT INTO entry (widget_id, name) VALUES (?, ?), (?, ?) [1, other, 1, best]",
      "UPDATE widget SET favorite_id = ? WHERE id = ? [2, 1]" }, place.record:take())
    assert.equal(best.id, widget.favorite_id)
    place.session:commit()
    assert.same({ "1|w|2" }, rows(place.engine, "SELECT * FROM widget"))
    assert.equal(best, widget.favorite)
  end)

  it("are deleted after one has let go of the other", function()
    local place = widgets { post_update = true }
    local widget = new(place)
    place.session:commit()
    place.session:delete(widget)
    place.record:take()
    place.session:flush()
    local lines = place.record:headlines()
    assert.same({ "UPDATE widget SET favorite_id", "DELETE entry", "DELETE widget" },
      { lines[#lines - 2], lines[#lines - 1], lines[#lines] })
    place.session:rollback()
    assert.same({ "1|w|2" }, rows(place.session, "SELECT * FROM widget"))
    assert.equal("best", widget.favorite.name)
    place.session:delete(widget)
    place.session:commit()
    assert.same({ "0", "0" }, { rows(place.engine, "SELECT count(*) FROM widget")[1],
      rows(place.engine, "SELECT count(*) FROM entry")[1] })
  end)

  it("need no further statement where the other is there already", function()
    local place = widgets { post_update = true }
    local widget, best = new(place)
    place.session:commit()
    widget.favorite = widget.entries[1]
    place.record:take()
    place.session:flush()
    assert.same({ "UPDATE widget SET favorite_id" }, place.record:headlines())
    widget.favorite = nil
    place.session:flush()
    assert.same({ "UPDATE widget SET favorite_id = ? WHERE id = ? [NULL, 1]" }, place.record:take())
    widget.favorite = place.Entry { name = "new", widget = widget }
    place.session:flush()
    assert.same({ "INSERT entry", "UPDATE widget SET favorite_id" }, place.record:headlines())
    place.session:delete(best)
    place.session:commit()
    assert.same({ "1|w|3" }, rows(place.engine, "SELECT * FROM widget"))
  end)

  it("are as they were after a flush that fails", function()
    local place = widgets { post_update = true }
    local widget, best = new(place)
    local listener = orm.event.listen(place.engine, "before_cursor_execute", function(_, sql)
      if sql:find("^UPDATE") then
        error("no", 0)
      end
    end)
    assert.is_false((pcall(place.session.flush, place.session)))
    assert.same({ "pending", "pending" }, { orm.inspect(widget).state, orm.inspect(best).state, widget.favorite_id, best.id })
    orm.event.remove(place.engine, "before_cursor_execute", listener)
    place.session:commit()
    assert.same({ "1|w|2" }, rows(place.engine, "SELECT * FROM widget"))
  end)

  it("may have versions", function()
    local place = widgets { post_update = true, version = true }
    local widget = new(place)
    place.session:commit()
    widget.name = "changed"
    widget.favorite = place.Entry { name = "new", widget = widget }
    place.session:commit()
    assert.same({ "1|changed|3|2" }, rows(place.engine, "SELECT * FROM widget"))
    place.session:delete(widget)
    place.session:commit()
    assert.same({}, rows(place.engine, "SELECT * FROM widget"))
  end)
end)

describe("rows of one table that refer to each other", function()
  local function people()
    local base = orm.declarative_base()
    local Person = base:model("Person", { __tablename__ = "person", id = orm.Column(orm.Integer, { primary_key = true }),
      name = orm.Column(orm.Text), partner_id = orm.Column(orm.Integer, orm.ForeignKey("person.id")),
      partner = orm.relationship("Person", { remote_side = "id", post_update = true }) })
    local engine = database.create(base)
    return Person, engine, orm.Session(engine), statements.record(engine)
  end

  it("are inserted together, and deleted together", function()
    local Person, engine, session, record = people()
    local ann, bob = Person { name = "ann" }, Person { name = "bob" }
    ann.partner, bob.partner = bob, ann
    session:add(ann)
    session:flush()
    assert.same({ "INSERT person", "UPDATE person SET partner_id", "UPDATE person SET partner_id" }, record:headlines())
    session:commit()
    assert.same({ "ann|2", "bob|1" }, rows(engine, "SELECT name, partner_id FROM person ORDER BY name"))
    session:delete(ann)
    session:delete(bob)
    session:commit()
    assert.same({}, rows(engine, "SELECT * FROM person"))
  end)

  it("and one that refers to itself", function()
    local Person, engine, session = people()
    local ann = Person { name = "ann" }
    ann.partner = ann
    session:add(ann)
    session:commit()
    assert.same({ "1|ann|1" }, rows(engine, "SELECT * FROM person"))
    session:delete(ann)
    session:commit()
    assert.same({}, rows(engine, "SELECT * FROM person"))
  end)
end)

it("post_update on the side of the list does the same", function()
  local base = orm.declarative_base()
  local Node = base:model("Node", { __tablename__ = "node", id = orm.Column(orm.Integer, { primary_key = true }),
    next_id = orm.Column(orm.Integer, orm.ForeignKey("node.id")), name = orm.Column(orm.Text),
    former = orm.relationship("Node", { back_populates = "next", uselist = false, post_update = true }),
    next = orm.relationship("Node", { back_populates = "former", remote_side = "id" }) })
  local engine = database.create(base)
  local session = orm.Session(engine)
  local ring = {}
  for i = 1, 5 do
    ring[i] = Node { name = "n" .. i }
  end
  for i = 1, 5 do
    ring[i].next = ring[i % 5 + 1]
  end
  session:add(ring[1])
  session:commit()
  assert.same({ "1n2", "2n3", "3n4", "4n5", "5n1" }, (function()
    return rows(engine, "SELECT substr(a.name, 2) || b.name FROM node a JOIN node b ON b.id = a.next_id ORDER BY a.name")
  end)())
  for _, node in ipairs(ring) do
    session:delete(node)
  end
  session:commit()
  assert.same({}, rows(engine, "SELECT * FROM node"))
end)

it("lets go of deleted rows from the side that holds several, where the other side has no relationship", function()
  local base = orm.declarative_base()
  local function key()
    return orm.Column(orm.Integer, { primary_key = true })
  end
  local P = base:model("P", { __tablename__ = "p", id = key(), q_id = orm.Column(orm.ForeignKey("q.id")),
    owned = orm.relationship("Q", { foreign_keys = "Q.p_id", post_update = true, order_by = "Q.id" }),
    best = orm.relationship("Q", { foreign_keys = "q_id" }) })
  local Q = base:model("Q", { __tablename__ = "q", id = key(), p_id = orm.Column(orm.ForeignKey("p.id")) })
  local session = orm.Session(database.create(base))
  local gone, left = Q {}, Q {}
  local owner = P { owned = { gone, left }, best = gone }
  session:add(owner)
  session:commit()
  assert.equal(2, #owner.owned)
  session:delete(owner)
  session:delete(gone)
  session:commit()
  assert.same({}, rows(session, "SELECT * FROM p"))
  assert.same({ left.id .. "|NULL" }, rows(session, "SELECT id, p_id FROM q"))
end)

it("a row that is gone when post_update comes to it is missed", function()
  local base = orm.declarative_base()
  local Node = base:model("Node", { __tablename__ = "node", id = orm.mapped_column(orm.Integer, { primary_key = true }),
    first_id = orm.mapped_column(orm.Integer, orm.ForeignKey("node.id")),
    first = orm.relationship("Node", { remote_side = "Node.id", post_update = true }) })
  local session = orm.Session(database.create(base))
  local one = Node { id = 1 }
  session:add_all { one, Node { id = 2 } }
  session:commit()
  assert.is_nil(one.first)
  one.first = Node { id = 3 }
  database.run(session, "DELETE FROM node WHERE id = 1")
  raises("StaleDataError", "Node", session.flush, session)
  session:rollback()
  assert.same({ "1|NULL", "2|NULL" }, database.rows(session, "SELECT id, first_id FROM node ORDER BY id"))
  assert.is_nil(one.first)
end)
