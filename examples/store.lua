-- Store and Item in the one-object style: engine, session, types and the base of the models are all found on `db`, as
-- users of Flask-SQLAlchemy know it.
--
--     lua5.4 examples/store.lua [database file or URL]     by default a database in memory
--
-- The tables stores and items are dropped and made anew.
local orm = require "orrery"

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local db = orm.database(url)

local Store = db.Model("Store", {
  __tablename__ = "stores",
  id    = db.Column(db.Integer, { primary_key = true }),
  name  = db.Column(db.String(80), { unique = true, nullable = false }),
  items = db.relationship("Item", { back_populates = "store", order_by = "id" }),
})

local Item = db.Model("Item", {
  __tablename__ = "items",
  id       = db.Column(db.Integer, { primary_key = true }),
  name     = db.Column(db.String(80), { nullable = false }),
  price    = db.Column(db.Numeric(8, 2), { default = 1 }),
  store_id = db.Column(db.Integer, db.ForeignKey("stores.id")),
  store    = db.relationship("Store", { back_populates = "items" }),
})

function Item:__tostring()
  return ("%s for %.2f at %s"):format(self.name, self.price, self.store and self.store.name or "no store")
end

db:drop_all()
db:create_all()

db.session:add(Store{ name = "Corner Shop", items = {
  Item{ name = "chair", price = 15.99 },
  Item{ name = "table", price = 79.5 },
  Item{ name = "nail" },                        -- for the default price
} })
db.session:add(Store{ name = "Empty Shop" })
db.session:commit()

for store in db.session:scalars(orm.select(Store):order_by(Store.name)) do
  print(("%s has %d items"):format(store.name, #store.items))
  for _, item in store.items do
    print("  " .. tostring(item))
  end
end

-- A chair moves to the other shop: an assignment on either side is enough.
local chair = db.session:scalars(orm.select(Item):filter_by{ name = "chair" }):one()
local other = db.session:scalars(orm.select(Store):filter_by{ name = "Empty Shop" }):one()
chair.store = other
db.session:commit()
print("moved: " .. tostring(chair) .. ", where there is " .. #other.items .. " item now")

-- What the database refuses leaves rows and session as they were.
local ok, err = pcall(function()
  db.session:add(Store{ name = "Corner Shop" })
  db.session:commit()
end)
db.session:rollback()
print("a second Corner Shop:", ok and "was accepted" or err.kind)
print("stores: " .. db.session:scalar(orm.select(orm.func.count(Store.id))))
db:close()
