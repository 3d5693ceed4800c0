-- The one-object style: engine, session, base and everything else on one table.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows

local function stores(options)
  local db = orm.database("sqlite://", options)
  local Store = db.Model("Store", { __tablename__ = "stores", id = db.Column(db.Integer, { primary_key = true }),
    name = db.Column(db.String(30)), items = db.relationship("Item", { back_populates = "store" }) })
  local Item = db.Model("Item", { __tablename__ = "items", id = db.Column(db.Integer, { primary_key = true }),
    store_id = db.Column(db.Integer, db.ForeignKey("stores.id")),
    tags = db.relationship("Tag", { secondary = "item_tags" }),
    store = db.relationship("Store", { back_populates = "items" }) })
  local Tag = db.Model("Tag", { __tablename__ = "tags", id = db.Column(db.Integer, { primary_key = true }) })
  db.Table("item_tags", db.Column("item_id", db.ForeignKey("items.id"), { primary_key = true }),
    db.Column("tag_id", db.ForeignKey("tags.id"), { primary_key = true }))
  db:create_all()
  return db, Store, Item, Tag
end

describe("a database", function()
  it("declares, stores and reads without anything else", function()
    local db, Store, Item, Tag = stores()
    db.session:add(Store { name = "x", items = { Item { tags = { Tag {} } }, Item {} } })
    db.session:commit()
    assert.equal(2, db.session:query(Item):filter_by { store_id = 1 }:count())
    assert.equal("x", db.session:scalars(db.select(Store):options(db.selectinload(Store.items))):one().name)
    assert.equal(2, db.session:scalar(db.select(db.func.count(Item.id))))
    assert.equal("x", db.session:get(Store, 1).name)
    assert.same({ "1|1" }, rows(db.engine, "SELECT * FROM item_tags"))
    db:drop_all()
    assert.same({}, rows(db.engine, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"))
    db:close()
  end)

  it("has one session for the program, or one for each scope", function()
    local db, Store = stores()
    local store = Store { name = "x" }
    db.session:add(store)
    assert.equal(db.session(), orm.object_session(store))
    db.session:remove()
    assert.is_nil(orm.object_session(store))
    local scope = "one"
    db, Store = stores { scope = function() return scope end, session_options = { expire_on_commit = false } }
    db.session:add(Store { name = "y" })
    assert.is_false(db.session.expire_on_commit)
    scope = "two"
    assert.equal(0, #db.session.new)
    scope = "one"
    assert.equal(1, #db.session.new)
  end)

  it("lets its session be listened to, whichever scope it is of", function()
    local db, Store = stores()
    local seen = 0
    orm.event.listen(db.session, "before_flush", function(session) seen = seen + #session.new end)
    db.session:add(Store {})
    db.session:commit()
    db.session:remove()
    db.session:add(Store {})
    db.session:commit()
    assert.equal(2, seen)
  end)

  it("runs a block in a transaction", function()
    local db, Store = stores()
    db.session:begin(function(session) session:add(Store { name = "x" }) end)
    assert.is_false((pcall(db.session.begin, db.session, function(session)
      session:add(Store { name = "y" })
      error("no", 0)
    end)))
    assert.same({ "1|x" }, rows(db.engine, "SELECT * FROM stores"))
  end)

  it("says what it does not have", function()
    local db = stores()
    raises("ArgumentError", "did you mean 'Integer'", function() return db.Integr end)
    raises("ArgumentError", "did you mean 'create_all'", function() return db.crate_all end)
    raises("ArgumentError", "ehco", orm.database, "sqlite://", { ehco = true })
    raises("ArgumentError", "autoflsh", orm.database, "sqlite://", { session_options = { autoflsh = true } })
  end)
end)
