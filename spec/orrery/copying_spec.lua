-- table:to_metadata(): the same table in another MetaData.
local orm = require "orrery"
local raises = require "spec.support.raises"
local Integer, String, Table, Column, ForeignKey = orm.Integer, orm.String, orm.Table, orm.Column, orm.ForeignKey

local function shop()
  local metadata = orm.MetaData()
  local customer = Table("customer", metadata,
    Column("id", Integer, { primary_key = true }),
    Column("name", String(30), { nullable = false, unique = true, key = "title", index = true }),
    Column("parent_id", ForeignKey("customer.id", { ondelete = "SET NULL" })),
    Column("area", Integer, orm.Computed("id * 2"), { comment = "twice" }),
    orm.CheckConstraint("name <> ''", { name = "ck_name" }))
  orm.Index("ix_lower", orm.func.lower(customer.c.title), customer.c.parent_id:desc(), { unique = true,
    where = customer.c.parent_id:gt(3) })
  local order = Table("orders", metadata,
    Column("shop", Integer), Column("nr", Integer), Column("customer_id", Integer),
    orm.PrimaryKeyConstraint("shop", "nr", { name = "pk_orders" }),
    orm.UniqueConstraint("nr", "customer_id", { sqlite_on_conflict = "IGNORE", name = "uq" }),
    orm.ForeignKeyConstraint({ "customer_id" }, { "customer.id" }, { name = "fk", deferrable = true, initially = "DEFERRED" }),
    { sqlite_with_rowid = false, info = { a = 1 } })
  return metadata, customer, order
end

local function texts(tbl)
  local list = { tostring(orm.CreateTable(tbl)) }
  for _, index in ipairs(tbl.indexes) do
    list[#list + 1] = tostring(orm.CreateIndex(index))
  end
  return list
end

describe("table:to_metadata()", function()
  it("gives a table with the same SQL", function()
    local _, customer, order = shop()
    local other = orm.MetaData()
    local copies = { customer:to_metadata(other), order:to_metadata(other) }
    assert.same(texts(customer), texts(copies[1]))
    assert.same(texts(order), texts(copies[2]))
    assert.equal(other.tables.orders, copies[2])
    assert.equal(1, copies[2].info.a)
    assert.equal("twice", copies[1].c.area.comment)
    other:create_all(orm.create_engine("sqlite://"))
  end)

  it("shares no column with the table that it was made of", function()
    local _, customer, order = shop()
    local other = orm.MetaData()
    local copy, orders = customer:to_metadata(other), order:to_metadata(other)
    assert.equal(copy, copy.c.title.table)
    assert.equal(copy.c.title, copy.indexes[1].columns[1])
    assert.equal(copy, (copy.foreign_key_constraints[1]:target()))
    assert.equal(copy, (orders.foreign_key_constraints[1]:target()))
    copy:append_column(Column("more", Integer))
    assert.equal(4, #customer.columns)
  end)

  it("takes another name, which foreign keys to itself follow", function()
    local _, customer = shop()
    local copy = customer:to_metadata(orm.MetaData(), { name = "client" })
    assert.truthy(tostring(orm.CreateTable(copy)):find("REFERENCES client (id)", 1, true))
  end)

  it("takes another schema, in which foreign keys stay", function()
    local _, customer, order = shop()
    local other = orm.MetaData()
    local copy = order:to_metadata(other, { schema = "archive" })
    assert.equal("archive.orders", copy.fullname)
    customer:to_metadata(other, { schema = "archive" })
    assert.equal("archive.customer", copy.foreign_key_constraints[1]:target().fullname)
    local back = copy:to_metadata(orm.MetaData(), { schema = orm.null })
    assert.equal("orders", back.fullname)
  end)

  it("keeps a foreign key to a table that is not declared yet", function()
    local metadata, other = orm.MetaData(), orm.MetaData()
    local book = Table("book", metadata, Column("id", Integer, { primary_key = true }),
      Column("author_id", Integer, ForeignKey("author.id")))
    local copy = book:to_metadata(other)
    local author = Table("author", other, Column("id", Integer, { primary_key = true }))
    assert.equal(author.c.id, copy.c.author_id.foreign_keys[1].column)
  end)

  it("makes conventional names by the other MetaData's convention", function()
    local first = orm.MetaData{ naming_convention = { uq = "uq_%(table_name)s_%(column_0_name)s" } }
    local t = Table("t", first, Column("a", Integer), orm.UniqueConstraint("a"))
    local second = orm.MetaData{ naming_convention = { uq = "u_%(column_0_name)s" } }
    assert.equal("u_a", t:to_metadata(second).constraints[1].name)
    assert.is_nil(t:to_metadata(orm.MetaData()).constraints[1].name)
  end)

  it("gives the table that is there already, with a warning", function()
    local said = {}
    local before = orm.on_warning(function(message) said[#said + 1] = message end)
    local metadata, customer = shop()
    local found = customer:to_metadata(metadata)
    orm.on_warning(before)
    assert.equal(customer, found)
    assert.truthy(said[1]:find("table 'customer' is in that MetaData already", 1, true))
  end)

  it("refuses what is no MetaData and no name", function()
    local _, customer = shop()
    raises("ArgumentError", "to_metadata(): a MetaData expected", customer.to_metadata, customer, {})
    raises("ArgumentError", "a name is a string", customer.to_metadata, customer, orm.MetaData(), { name = "" })
    raises("ArgumentError", "did you mean 'schema'", customer.to_metadata, customer, orm.MetaData(), { shema = "x" })
  end)
end)
