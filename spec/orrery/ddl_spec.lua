-- lua/orrery/ddl.lua: the SQL that makes tables, and that a database takes it.
local orm = require "orrery"
local Integer, String, Text, Table, Column = orm.Integer, orm.String, orm.Text, orm.Table, orm.Column
local ForeignKey, func = orm.ForeignKey, orm.func

local function key()
  return Column("id", Integer, { primary_key = true })
end

-- "CREATE TABLE t (a b, c d)" on one line.
local function flat(ddl)
  return (tostring(ddl):gsub("%(\n\t", "("):gsub(",\n\t", ", "):gsub("\n%)", ")"))
end

local function scalars(engine, sql)
  local values
  engine:begin(function(conn)
    values = conn:exec_driver_sql(sql):scalars():all()
  end)
  return values
end

describe("CREATE TABLE", function()
  it("has one column on a line and the primary key below", function()
    local t = Table("user_account", orm.MetaData(), key(), Column("name", String(30), { nullable = false }),
      Column("fullname", String))
    assert.same("CREATE TABLE user_account (\n\tid INTEGER NOT NULL,\n\tname VARCHAR(30) NOT NULL,\n"
      .. "\tfullname VARCHAR,\n\tPRIMARY KEY (id)\n)", tostring(orm.CreateTable(t)))
  end)

  -- what it is about, the table's columns and constraints, what stands in the parentheses
  local cases = {
    { "types", { Column("a", orm.BigInteger), Column("b", orm.Numeric(10, 2)), Column("c", orm.Boolean),
      Column("d", orm.DateTime), Column("e", orm.LargeBinary), Column("f", orm.Float), Column("g", orm.JSON) },
      "a BIGINT, b NUMERIC(10, 2), c BOOLEAN, d DATETIME, e BLOB, f FLOAT, g JSON" },
    { "words and names that need quotes",
      { Column("select", Integer), Column("a\"b", Integer), Column("Name", Integer) },
      '"select" INTEGER, "a""b" INTEGER, "Name" INTEGER' },
    { "a primary key of two columns", { Column("a", Integer, { primary_key = true }),
      Column("b", Integer, { primary_key = true }) }, "a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b)" },
    { "a primary key with a name", { Column("a", Integer), Column("b", Integer),
      orm.PrimaryKeyConstraint("b", "a", { name = "pk" }) },
      "a INTEGER NOT NULL, b INTEGER NOT NULL, CONSTRAINT pk PRIMARY KEY (b, a)" },
    { "unique columns", { Column("a", Integer, { unique = true }), Column("b", Integer),
      orm.UniqueConstraint("a", "b", { name = "uq" }) },
      "a INTEGER, b INTEGER, UNIQUE (a), CONSTRAINT uq UNIQUE (a, b)" },
    { "server defaults that are values", { Column("a", Text, { server_default = "it's" }),
      Column("b", Integer, { server_default = -5 }), Column("c", orm.Boolean, { server_default = true }),
      Column("d", orm.Float, { server_default = 0.5, nullable = false }),
      Column("e", Integer, { server_default = "7" }) },
      "a TEXT DEFAULT 'it''s', b INTEGER DEFAULT -5, c BOOLEAN DEFAULT 1, d FLOAT DEFAULT 0.5 NOT NULL, "
      .. "e INTEGER DEFAULT '7'" },
    { "server defaults that are SQL", { Column("a", orm.DateTime, { server_default = orm.text("CURRENT_TIMESTAMP") }),
      Column("b", orm.DateTime, { server_default = func.now() }),
      Column("c", Integer, { server_default = func.abs(orm.literal(-1)) }) },
      "a DATETIME DEFAULT CURRENT_TIMESTAMP, b DATETIME DEFAULT (CURRENT_TIMESTAMP), c INTEGER DEFAULT (abs(-1))" },
    { "checks that are SQL", { Column("a", Integer, orm.CheckConstraint("a > 0")),
      orm.CheckConstraint("a < 10", { name = "small" }) },
      "a INTEGER, CHECK (a > 0), CONSTRAINT small CHECK (a < 10)" },
    { "a check of names that need quotes", { Column("order", Integer), orm.CheckConstraint(
      orm.text('"order" > 1')) }, '"order" INTEGER, CHECK ("order" > 1)' },
    { "values that an Enum checks", { Column("a", orm.Enum("x", "it's", { create_constraint = true, name = "ab" })) },
      "a VARCHAR(4), CONSTRAINT ab CHECK (a IN ('x', 'it''s'))" },
    { "a key that is never used again", { key(), { sqlite_autoincrement = true } },
      "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" },
  }
  for _, case in ipairs(cases) do
    it("writes " .. case[1], function()
      local t = Table("t", orm.MetaData(), (table.unpack or unpack)(case[2]))
      assert.same("CREATE TABLE t (" .. case[3] .. ")", flat(orm.CreateTable(t)))
      t:create(orm.create_engine "sqlite://")
    end)
  end

  it("writes foreign keys with what they do", function()
    local metadata = orm.MetaData()
    Table("orders", metadata, Column("shop", Integer, { primary_key = true }),
      Column("nr", Integer, { primary_key = true }))
    Table("author", metadata, key())
    local t = Table("t", metadata, Column("a", ForeignKey("author.id", { ondelete = "set null", onupdate = "CASCADE",
      name = "fk_a" })), Column("b", ForeignKey("author.id", { deferrable = true, initially = "deferred" })),
      Column("shop"), Column("nr"), orm.ForeignKeyConstraint({ "shop", "nr" }, { "orders.shop", "orders.nr" }))
    assert.same("CREATE TABLE t (a INTEGER, b INTEGER, shop INTEGER, nr INTEGER, "
      .. "CONSTRAINT fk_a FOREIGN KEY(a) REFERENCES author (id) ON DELETE SET NULL ON UPDATE CASCADE, "
      .. "FOREIGN KEY(b) REFERENCES author (id) DEFERRABLE INITIALLY DEFERRED, "
      .. "FOREIGN KEY(shop, nr) REFERENCES orders (shop, nr))", flat(orm.CreateTable(t)))
    metadata:create_all(orm.create_engine "sqlite://")
  end)

  it("writes the options of the table", function()
    local t = Table("t", orm.MetaData(), key(), { sqlite_with_rowid = false, sqlite_strict = true })
    assert.same("CREATE TABLE t (id INTEGER NOT NULL, PRIMARY KEY (id)) WITHOUT ROWID, STRICT",
      flat(orm.CreateTable(t)))
  end)

  it("refuses a table without columns", function()
    local ok, err = pcall(tostring, orm.CreateTable(Table("t", orm.MetaData())))
    assert.same({ false, "table 't' has no columns" }, { ok, err.message })
  end)

  it("holds any identifier, and what is inside is no SQL", function()
    local engine = orm.create_engine "sqlite://"
    local name = 'a"b; DROP TABLE t; --\n'
    local metadata = orm.MetaData()
    Table(name, metadata, Column(name, Integer, { primary_key = true, index = true }))
    metadata:create_all(engine)
    assert.same({ name }, scalars(engine, "SELECT name FROM sqlite_master WHERE type = 'table'"))
    metadata:drop_all(engine)
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_master"))
  end)

  it("holds 2,000 columns", function()
    local columns = { key() }
    for i = 2, 2000 do
      columns[i] = Column("c" .. i, Integer)
    end
    local metadata = orm.MetaData()
    Table("wide", metadata, (table.unpack or unpack)(columns))
    local engine = orm.create_engine "sqlite://"
    metadata:create_all(engine)
    assert.same({ 2000 }, scalars(engine, "SELECT count(*) FROM pragma_table_info('wide')"))
  end)
end)

describe("CREATE INDEX", function()
  local t = Table("t", orm.MetaData(), key(), Column("name", Text), Column("order", Integer))
  local cases = {
    { orm.Index("ix_name", t.c.name), "CREATE INDEX ix_name ON t (name)" },
    { orm.Index("ix_two", t.c.name, t.c.order:desc(), { unique = true }),
      'CREATE UNIQUE INDEX ix_two ON t (name, "order" DESC)' },
    { orm.Index("ix_lower", func.lower(t.c.name)), "CREATE INDEX ix_lower ON t (lower(name))" },
    { orm.Index("ix_part", t.c.name, { where = orm.and_(t.c.order:gt(5), t.c.name:ne("it's")) }),
      "CREATE INDEX ix_part ON t (name) WHERE \"order\" > 5 AND name != 'it''s'" },
    { orm.Index("ix_list", t.c.name, { where = t.c.order:in_{ 1, 2 } }),
      'CREATE INDEX ix_list ON t (name) WHERE "order" IN (1, 2)' },
    { orm.Index("ix_text", t.c.name, { where = orm.text("name IS NOT NULL") }),
      "CREATE INDEX ix_text ON t (name) WHERE name IS NOT NULL" },
  }
  for _, case in ipairs(cases) do
    it("writes " .. case[2], function()
      assert.same(case[2], tostring(orm.CreateIndex(case[1])))
    end)
  end

  it("is taken by the database", function()
    local engine = orm.create_engine "sqlite://"
    t.metadata:create_all(engine)
    assert.same({ 6 }, scalars(engine, "SELECT count(*) FROM sqlite_master WHERE type = 'index'"))
  end)
end)

describe("create_all", function()
  local engine, metadata

  before_each(function()
    engine, metadata = orm.create_engine "sqlite://", orm.MetaData()
  end)

  local function tables()
    return table.concat(scalars(engine, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"), " ")
  end

  it("makes what others refer to first, and drop_all the other way round", function()
    Table("line", metadata, key(), Column("o", ForeignKey("orders.id")))
    Table("orders", metadata, key(), Column("c", ForeignKey("customer.id")))
    Table("customer", metadata, key())
    metadata:create_all(engine)
    assert.same("customer orders line", tables())
    engine:begin(function(conn)
      conn:exec_driver_sql("INSERT INTO customer VALUES (1)")
      conn:exec_driver_sql("INSERT INTO orders VALUES (1, 1)")
    end)
    metadata:drop_all(engine)
    assert.same("", tables())
  end)

  it("leaves alone what is there, in any case of letters, unless it is told not to look", function()
    Table("t", metadata, key())
    engine:begin(function(conn) conn:exec_driver_sql("CREATE TABLE T (other)") end)
    metadata:create_all(engine)
    assert.same({ "other" }, scalars(engine, "SELECT name FROM pragma_table_info('t')"))
    local ok, err = pcall(metadata.create_all, metadata, engine, { checkfirst = false })
    assert.same({ false, "OperationalError" }, { ok, err.kind })
  end)

  it("takes some tables only", function()
    local a = Table("a", metadata, key())
    Table("b", metadata, key())
    metadata:create_all(engine, { tables = { a } })
    assert.same("a", tables())
    metadata:create_all(engine)
    metadata:drop_all(engine, { tables = { a } })
    assert.same("b", tables())
    local ok, err = pcall(metadata.create_all, metadata, engine, { tables = { Table("c", orm.MetaData(), key()) } })
    assert.same({ false, "metadata:create_all(): tables: item 1 is no table of this MetaData" }, { ok, err.message })
  end)

  it("makes and drops tables that refer to each other, with rows in them", function()
    Table("hen", metadata, key(), Column("egg_id", ForeignKey("egg.id")))
    Table("egg", metadata, key(), Column("hen_id", ForeignKey("hen.id"), { nullable = false }))
    metadata:create_all(engine)
    engine:begin(function(conn)
      conn:exec_driver_sql("INSERT INTO hen VALUES (1, NULL)")
      conn:exec_driver_sql("INSERT INTO egg VALUES (1, 1)")
      conn:exec_driver_sql("UPDATE hen SET egg_id = 1")
    end)
    metadata:drop_all(engine)
    assert.same("", tables())
  end)

  it("runs on a connection, whose owner commits", function()
    local conn = engine:connect()
    Table("t", metadata, key())
    metadata:create_all(conn)
    conn:rollback()
    metadata:create_all(conn)
    conn:commit()
    conn:close()
    assert.same("t", tables())
  end)

  it("makes nothing when one table cannot be made", function()
    Table("a", metadata, key())
    Table("b", metadata, key(), orm.CheckConstraint("no SQL at all"))
    assert.is_false(pcall(metadata.create_all, metadata, engine))
    assert.same("", tables())
  end)

  it("refuses foreign keys to nothing before it touches the database", function()
    Table("book", metadata, key(), Column("author_id", Integer, ForeignKey("author.id")))
    local ok, err = pcall(metadata.create_all, metadata, engine)
    assert.same({ false, "NoReferencedTableError",
      "Foreign key 'book.author_id' refers to table 'author', which is not declared" }, { ok, err.kind, err.message })
    assert.same("", tables())
  end)

  it("warns of foreign keys that cannot work", function()
    local heard = {}
    local before = orm.on_warning(function(message) heard[#heard + 1] = message:match(": (.*)$") end)
    Table("a", metadata, key(), Column("name", Text))
    Table("b", metadata, Column("x", Text, ForeignKey("a.name")), Column("y", Text, ForeignKey("a.id")))
    metadata:create_all(engine)
    orm.on_warning(before)
    assert.same({
      "foreign key 'b.x' refers to 'a.name', which is neither a primary key nor unique; databases refuse that when "
      .. "rows are written",
      "foreign key 'b.y' is Text, but 'a.id', to which it refers, is Integer",
    }, heard)
  end)

  it("needs an engine or a connection", function()
    local ok, err = pcall(metadata.create_all, metadata, 5)
    assert.same({ false, "metadata:create_all(): an engine or a connection expected, got 5" }, { ok, err.message })
    ok, err = pcall(metadata.create_all)
    assert.is_false(ok)
    assert.truthy(err.message:find("use ':'", 1, true))
  end)

  it("has single tables and DDL statements beside it", function()
    local t = Table("t", metadata, key(), Column("name", Text, { index = true }))
    t:create(engine)
    t:create(engine, { checkfirst = true })
    assert.same("t", tables())
    t:drop(engine)
    t:drop(engine, { checkfirst = true })
    engine:begin(function(conn)
      conn:execute(orm.CreateTable(t))
      conn:execute(orm.CreateIndex(t.indexes[1]))
    end)
    assert.same({ "t", "ix_t_name" }, scalars(engine, "SELECT name FROM sqlite_master ORDER BY rowid"))
    engine:begin(function(conn) conn:execute(orm.DropTable(t)) end)
    assert.same("", tables())
  end)
end)
