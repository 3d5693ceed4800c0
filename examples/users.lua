-- User and Address: an engine, models with methods and __tostring, their tables, and the ways of a session: adding,
-- finding, changing, deleting and rolling back.
--
--     lua5.4 examples/users.lua [database file or URL]     by default a database in memory
--
-- The tables user_account and address are dropped and made anew.
local orm = require "orrery"
local Integer, String = orm.Integer, orm.String
local Mapped, Optional, ForeignKey, relationship = orm.Mapped, orm.Optional, orm.ForeignKey, orm.relationship
local select = orm.select

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local Base = orm.declarative_base()

local User = Base:model("User", {
  __tablename__ = "user_account",
  id        = Mapped(Integer, { primary_key = true }),
  name      = Mapped(String(30)),
  fullname  = Mapped(Optional(String)),
  addresses = relationship("Address", { back_populates = "user", cascade = "all, delete-orphan", order_by = "id" }),
})

local Address = Base:model("Address", {
  __tablename__ = "address",
  id            = Mapped(Integer, { primary_key = true }),
  email_address = Mapped(String(80)),
  user_id       = Mapped(Integer, ForeignKey("user_account.id")),
  user          = relationship("User", { back_populates = "addresses" }),
})

function User:greeting()
  return "Hello, " .. (self.fullname or self.name) .. "!"
end

-- Methods build on each other; self is the object, as in every Lua class.
function User:shout()
  return self:greeting():upper()
end

function User:__tostring()
  return ("User(%s, %d addresses)"):format(self.name, #self.addresses)
end

function Address:__tostring()
  return "<" .. self.email_address .. ">"
end

local engine = orm.create_engine(url)
Base.metadata:drop_all(engine)
Base.metadata:create_all(engine)
print("tables: " .. User.__table__.name .. ", " .. Address.__table__.name)

local session = orm.Session(engine)

-- Adding: keys are given by the database, defaults and foreign keys are filled in.
local sandy = User{ name = "sandy", fullname = "Sandy Cheeks", addresses = {
  Address{ email_address = "sandy@example.org" },
  Address{ email_address = "cheeks@example.org" },
} }
local patrick = User{ name = "patrick", fullname = "Patrick Star" }
local squid = User{ name = "squidward" }
session:add_all{ sandy, patrick, squid }
print(("before the flush: %d new objects, sandy.id is %s"):format(#session.new, tostring(sandy.id)))
session:commit()
print(("after the commit: sandy.id is %d, and so is her address's user_id: %d"):format(sandy.id,
  sandy.addresses[1].user_id))

-- Methods, and what tostring makes of objects.
print(sandy:greeting())
print(squid:shout())
print(sandy, sandy.addresses[1], sandy.addresses[2])

-- Finding: one row is one object in a session.
local by_key = session:get(User, patrick.id)
local by_name = session:scalars(select(User):where(User.name:eq("patrick"))):one()
print("patrick by key and by name is one object:", by_key == by_name and by_name == patrick)
for user in session:scalars(select(User):where(User.fullname:is_not(orm.null)):order_by(User.fullname:desc())) do
  print("has a full name:", user.fullname)
end
for row in session:execute(select(User.name, Address.email_address):join(User.addresses):order_by(Address.id)) do
  print("can be written to:", row.name, row.email_address)
end

-- Changing: a flush writes what differs, in the order that foreign keys ask for.
patrick.fullname = "Patrick P. Star"
patrick.addresses:append(Address{ email_address = "patrick@example.org" })
sandy.addresses:remove(sandy.addresses[2])
print(("to be written: %d changed, %d new"):format(#session.dirty, #session.new))
session:commit()
print(patrick, sandy)

-- Rolling back: objects follow the database.
patrick.name = "somebody else"
session:flush()
session:rollback()
print("after the rollback he is still " .. patrick.name)

-- Deleting: addresses go with their user, since the relationship's cascade says so.
session:delete(sandy)
session:commit()
local function count(class)
  return session:scalar(select(orm.func.count(class.id)))
end
print(("left: %d users, %d address"):format(count(User), count(Address)))
session:close()
engine:dispose()
