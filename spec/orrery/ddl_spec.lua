-- lua/orrery/ddl.lua: the SQL that makes tables, and that a database takes it.
local orm = require "orrery"
local Integer, String, Text, Table, Column = orm.Integer, orm.String, orm.Text, orm.Table, orm.Column
local ForeignKey, func = orm.ForeignKey, orm.func
local raises = require "spec.support.raises"

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
    { "computed columns", { Column("a", Integer), Column("b", Integer, orm.Computed("a + 1")),
      Column("c", Integer, orm.Computed(orm.literal_column("a") * 2, { persisted = true })),
      Column("d", Integer, orm.Computed(orm.text("a"), { persisted = false }), { nullable = false }) },
      "a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1), c INTEGER GENERATED ALWAYS AS (a * 2) STORED, "
      .. "d INTEGER NOT NULL GENERATED ALWAYS AS (a) VIRTUAL" },
    { "an identity, which is SQLite's own way", { Column("id", Integer, orm.Identity{ start = 1, always = true },
      { primary_key = true }) }, "id INTEGER NOT NULL, PRIMARY KEY (id)" },
    { "collations", { Column("a", Text, { collation = "NOCASE", server_default = "x" }) },
      "a TEXT COLLATE NOCASE DEFAULT 'x'" },
    { "types that a STRICT table knows", { Column("a", orm.String(3)), Column("b", orm.DateTime), Column("c", orm.Float),
      Column("d", orm.Boolean), Column("e", orm.Numeric(9, 2)), Column("f", orm.LargeBinary), Column("g", orm.BigInteger),
      Column("h", orm.Numeric(9, 2, { as = "string" })), Column("i", orm.JSON), { sqlite_strict = true } },
      "a TEXT, b TEXT, c REAL, d INTEGER, e REAL, f BLOB, g INTEGER, h TEXT, i TEXT", " STRICT" },
    { "what happens on conflict", { Column("a", Integer, { nullable = false, unique = true, primary_key = true,
      sqlite_on_conflict_not_null = "fail", sqlite_on_conflict_unique = "IGNORE",
      sqlite_on_conflict_primary_key = "REPLACE" }), orm.CheckConstraint("a > 1", { sqlite_on_conflict = "ABORT" }) },
      "a INTEGER NOT NULL ON CONFLICT FAIL, PRIMARY KEY (a) ON CONFLICT REPLACE, UNIQUE (a) ON CONFLICT IGNORE, "
      .. "CHECK (a > 1) ON CONFLICT ABORT" },
    { "a name for a key that is never used again", { Column("id", Integer), orm.PrimaryKeyConstraint("id",
      { name = "pk" }), { sqlite_autoincrement = true } },
      "id INTEGER NOT NULL CONSTRAINT pk PRIMARY KEY AUTOINCREMENT" },
    { "a key that is never used again", { key(), { sqlite_autoincrement = true } },
      "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" },
  }
  for _, case in ipairs(cases) do
    it("writes " .. case[1], function()
      local t = Table("t", orm.MetaData(), (table.unpack or unpack)(case[2]))
      assert.same("CREATE TABLE t (" .. case[3] .. ")" .. (case[4] or ""), flat(orm.CreateTable(t)))
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

  it("refuses an identity where the database has none", function()
    for _, column in ipairs{ Column("n", Integer, orm.Identity()), Column("n", orm.BigInteger, orm.Identity(),
      { primary_key = true }) } do
      raises("CompileError", "Identity() cannot stand here", tostring, setmetatable({}, { __tostring = function()
        return tostring(orm.CreateTable(Table("t", orm.MetaData(), column)):compile())
      end }))
    end
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

  it("holds words of SQL as names, which read and write", function()
    local metadata, engine = orm.MetaData(), orm.create_engine "sqlite://"
    local t = Table("select", metadata, Column("from", Integer, { primary_key = true }), Column("where", Text),
      Column("order", Integer, { index = true }), Column("group", Text, { unique = true }))
    metadata:create_all(engine)
    engine:begin(function(conn)
      conn:execute(orm.insert(t), { { from = 1, where = "here", order = 2, group = "a" } })
      conn:execute(orm.update(t):where(t.c.order:eq(2)):values{ group = "b" })
      assert.same({ 1, "here", 2, "b" }, { conn:execute(orm.select(t):order_by(t.c.where)):first()() })
      conn:execute(orm.delete(t):where(t.c.from:eq(1)))
    end)
    assert.same({ 0 }, scalars(engine, 'SELECT count(*) FROM "select"'))
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
    metadata.tables.wide:append_column(Column("one_more", Integer))
    raises("OperationalError", "too many columns", metadata.create_all, metadata, orm.create_engine "sqlite://")
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

  it("refuses what cannot be written before it touches the database", function()
    local seen = 0
    orm.event.listen(engine, "before_cursor_execute", function(_, sql) seen = seen + (sql:find("CREATE") and 1 or 0) end)
    Table("a", metadata, key())
    Table("SQLite_x", metadata, key())
    raises("CompileError", "names that begin with 'sqlite_' belong to the database itself", metadata.create_all, metadata,
      engine)
    assert.same(0, seen)
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

describe("a naming convention", function()
  local function convention(fields)
    return orm.MetaData{ naming_convention = fields }
  end

  -- key, template, name of what it is for
  local cases = {
    { "uq", "uq_%(table_name)s_%(column_0_name)s", "uq_t_a" },
    { "uq", "uq_%(column_0_label)s__%(column_1_key)s", "uq_t_a__bee" },
    { "uq", "%(column_0N_name)s|%(column_0_N_name)s|%(column_0_N_key)s", "ab|a_b|a_bee" },
    { "uq", "100%% %(column_0N_label)s", "100% t_at_b" },
    { "pk", "pk_%(table_name)s", "pk_t" },
    { "fk", "fk_%(column_0_name)s_%(referred_table_name)s_%(referred_column_0_name)s", "fk_a_other_x" },
    { "fk", "%(referred_column_0N_name)s_%(referred_column_0_N_name)s", "xy_x_y" },
    { "ck", "ck_%(table_name)s_%(constraint_name)s", "ck_t_small" },
    { "ix", "ix_%(column_0_label)s", "ix_t_c" },
  }
  for _, case in ipairs(cases) do
    it(("makes %s of %s"):format(case[3], case[2]), function()
      local metadata = convention{ [case[1]] = case[2] }
      Table("other", metadata, Column("x", Integer, { primary_key = true }), Column("y", Integer, { primary_key = true }))
      local t = Table("t", metadata, Column("a", Integer, { primary_key = true }), Column("b", Integer, { key = "bee" }),
        Column("c", Integer, { index = true }), orm.UniqueConstraint("a", "bee"), orm.CheckConstraint("a < 5",
          { name = "small" }), orm.ForeignKeyConstraint({ "a", "bee" }, { "other.x", "other.y" }))
      local text = tostring(orm.CreateTable(t)) .. tostring(orm.CreateIndex(t.indexes[1]))
      assert.truthy(text:find(case[3], 1, true), text)
      metadata:create_all(orm.create_engine "sqlite://")
    end)
  end

  it("has tokens of the script's own", function()
    local metadata = convention{ uq = "uq_%(short)s", short = function(part, tbl) return #part.columns .. tbl.name end }
    local t = Table("t", metadata, key(), Column("a", Integer, { unique = true }))
    assert.same("uq_1t", t.constraints[1].name)
  end)

  it("leaves names alone that are given or final, and Enum checks without a name", function()
    local metadata = convention{ uq = "uq_%(column_0_name)s", ck = "ck_%(constraint_name)s" }
    local t = Table("t", metadata, Column("a", Integer), orm.UniqueConstraint("a", { name = "own" }),
      orm.CheckConstraint("a > 1", { name = orm.conv("final") }), Column("b", orm.Enum("x", { create_constraint = true })),
      Column("c", orm.Enum("y", { create_constraint = true, name = "c" })))
    assert.same({ "own", "final" }, { t.constraints[1].name, t.constraints[2].name })
    local text = flat(orm.CreateTable(t))
    assert.truthy(text:find("CONSTRAINT final CHECK (a > 1), CHECK (b IN ('x')), CONSTRAINT ck_c CHECK", 1, true), text)
  end)

  it("names a foreign key to a column object, which may get its table later", function()
    local metadata = convention{ fk = "fk_%(table_name)s_%(referred_table_name)s" }
    local id = key()
    local child = Table("child", metadata, Column("p", ForeignKey(id)))
    Table("parent", metadata, id)
    assert.same("fk_child_parent", child.foreign_key_constraints[1].name)
  end)

  it("says what is wrong", function()
    local metadata = convention{ ck = "ck_%(constraint_name)s", uq = "uq_%(colum_0_name)s" }
    raises("InvalidRequestError", "%(constraint_name)s needs a name, and a CheckConstraint() of table 't' has none", Table,
      "t", metadata, Column("a", Integer), orm.CheckConstraint("a > 1"))
    raises("ArgumentError", "%(colum_0_name)s says nothing", Table, "t", metadata, Column("a", Integer, { unique = true }))
    raises("ArgumentError", "naming_convention must be a table", convention, "x")
    raises("ArgumentError", "naming_convention.unique must be a function", convention, { unique = "uq" })
    raises("ArgumentError", "conv(): a name expected", orm.conv, 5)
  end)
end)

describe("foreign keys to columns that have other keys", function()
  it("name the key, or the name", function()
    for _, target in ipairs{ "p.identity", "p.id" } do
      local metadata = orm.MetaData()
      local p = Table("p", metadata, Column("id", Integer, { primary_key = true, key = "identity" }))
      local c = Table("c", metadata, Column("p_id", ForeignKey(target)))
      assert.equal(p.c.identity, c.c.p_id.foreign_keys[1].column)
      assert.truthy(flat(orm.CreateTable(c)):find("REFERENCES p (id)", 1, true))
    end
  end)

  it("name the name alone with link_to_name", function()
    local metadata = orm.MetaData()
    local p = Table("p", metadata, Column("a", Integer, { primary_key = true, key = "b" }),
      Column("b", Integer, { key = "a", unique = true }))
    local c = Table("c", metadata, Column("x", ForeignKey("p.a")), Column("y", ForeignKey("p.a", { link_to_name = true })),
      Column("z", ForeignKey(p.c.b)))
    assert.same({ "b", "a", "a" }, { c.c.x.foreign_keys[1].column.name, c.c.y.foreign_keys[1].column.name,
      c.c.z.foreign_keys[1].column.name })
  end)
end)

describe("DDL events", function()
  local engine, metadata, heard

  before_each(function()
    engine, metadata, heard = orm.create_engine "sqlite://", orm.MetaData(), {}
  end)

  local function listen(target, name)
    orm.event.listen(target, name, function(what, conn, details)
      assert.equal(target, what)
      heard[#heard + 1] = ("%s %s %d %d"):format(name, what == metadata and "all" or what.name,
        conn:scalar(orm.text("SELECT count(*) FROM sqlite_master")), #details.tables)
    end)
  end

  it("come before and after tables are created and dropped", function()
    local t = Table("t", metadata, key(), Column("a", Integer, { index = true }))
    for _, target in ipairs{ t, metadata } do
      for _, name in ipairs{ "before_create", "after_create", "before_drop", "after_drop" } do
        listen(target, name)
      end
    end
    metadata:create_all(engine)
    assert.same({ "before_create all 0 1", "before_create t 0 1", "after_create t 2 1", "after_create all 2 1" }, heard)
    heard = {}
    metadata:create_all(engine)
    assert.same({ "before_create all 2 0", "after_create all 2 0" }, heard)
    heard = {}
    metadata:drop_all(engine)
    assert.same({ "before_drop all 2 1", "before_drop t 2 1", "after_drop t 0 1", "after_drop all 0 1" }, heard)
    heard = {}
    t:create(engine)
    t:drop(engine)
    assert.same({ "before_create t 0 1", "after_create t 2 1", "before_drop t 2 1", "after_drop t 0 1" }, heard)
  end)

  it("make views and fill tables, in the same transaction", function()
    local t = Table("t", metadata, key())
    orm.event.listen(t, "after_create", function(_, conn)
      conn:execute(orm.DDL("CREATE VIEW v AS SELECT id AS \"a:b\" FROM t WHERE id > 1"))
      conn:execute(orm.insert(t), { { id = 1 }, { id = 2 } })
    end)
    orm.event.listen(metadata, "before_drop", function(_, conn) conn:execute(orm.DDL("DROP VIEW IF EXISTS v")) end)
    metadata:create_all(engine)
    assert.same({ 2 }, scalars(engine, "SELECT * FROM v"))
    metadata:drop_all(engine)
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_master"))
    raises("ArgumentError", "DDL(): SQL text expected", orm.DDL, "")
  end)

  it("undo everything when they raise", function()
    Table("a", metadata, key())
    orm.event.listen(Table("b", metadata, key()), "after_create", function() error("no") end)
    assert.is_false(pcall(metadata.create_all, metadata, engine))
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_master"))
  end)

  it("are known by name", function()
    raises("ArgumentError", "there is no event 'after_creat' of an object with DDL (a Table or MetaData); did you mean",
      orm.event.listen, metadata, "after_creat", print)
  end)
end)

describe("DDL statements", function()
  it("say IF EXISTS and IF NOT EXISTS where that is asked for", function()
    local t = Table("t", orm.MetaData(), key(), Column("a", Integer, { index = true }))
    local texts = {}
    for position, statement in ipairs{ orm.CreateTable(t, { if_not_exists = true }),
      orm.CreateIndex(t.indexes[1], { if_not_exists = true }), orm.DropIndex(t.indexes[1], { if_exists = true }),
      orm.DropTable(t, { if_exists = true }) } do
      texts[position] = flat(statement)
    end
    assert.same({ "CREATE TABLE IF NOT EXISTS t (id INTEGER NOT NULL, a INTEGER, PRIMARY KEY (id))",
      "CREATE INDEX IF NOT EXISTS ix_t_a ON t (a)", "DROP INDEX IF EXISTS ix_t_a", "DROP TABLE IF EXISTS t" }, texts)
    raises("ArgumentError", "DropTable(): unknown option 'if_not_exists'; did you mean 'if_exists'?", orm.DropTable, t,
      { if_not_exists = true })
  end)
end)

describe("indexes", function()
  it("are created and dropped by themselves", function()
    local engine, metadata = orm.create_engine "sqlite://", orm.MetaData()
    local t = Table("t", metadata, key(), Column("a", Integer))
    metadata:create_all(engine)
    local index = orm.Index("ix_a", t.c.a)
    index:create(engine)
    assert.same({ "t", "ix_a" }, scalars(engine, "SELECT name FROM sqlite_master ORDER BY rowid"))
    index:drop(engine)
    assert.same("DROP INDEX ix_a", tostring(orm.DropIndex(index)))
    assert.same({ "t" }, scalars(engine, "SELECT name FROM sqlite_master"))
    raises("InvalidRequestError", "an Index that belongs to a table expected", orm.Index("ix", "a").create,
      orm.Index("ix", "a"), engine)
  end)
end)

describe("a table of an attached database", function()
  it("needs the database", function()
    local metadata = orm.MetaData{ schema = "side" }
    Table("t", metadata, key())
    for _, method in ipairs{ "create_all", "drop_all" } do
      raises("InvalidRequestError", "the database has no schema 'side'; there is main (ATTACH makes one)", metadata[method],
        metadata, orm.create_engine "sqlite://")
    end
  end)


  it("is created, used and dropped there", function()
    local engine, metadata = orm.create_engine "sqlite://", orm.MetaData{ schema = "side" }
    local conn = engine:connect()
    conn:exec_driver_sql("ATTACH ':memory:' AS side")
    Table("p", metadata, key())
    local t = Table("t", metadata, key(), Column("p_id", ForeignKey("p.id"), { index = true }))
    metadata:create_all(conn)
    metadata:create_all(conn)
    assert.same({ "p", "t", "ix_side_t_p_id" }, conn:exec_driver_sql("SELECT name FROM side.sqlite_master ORDER BY rowid")
      :scalars():all())
    conn:execute(orm.insert(metadata.tables["side.p"]):values{ id = 1 })
    conn:execute(orm.insert(t):values{ p_id = 1 })
    assert.same(1, conn:scalar(orm.select(t.c.p_id)))
    metadata:drop_all(conn)
    assert.same({}, conn:exec_driver_sql("SELECT name FROM side.sqlite_master"):scalars():all())
    conn:rollback()
    conn:close()
  end)
end)

describe("columns that the database fills", function()
  it("are read back by objects", function()
    local Base = orm.declarative_base()
    local Box = Base:model("Box", { __tablename__ = "box", id = Column(Integer, { primary_key = true }),
      width = Column(Integer), area = Column(Integer, orm.Computed("width * width")),
      colour = Column(Text, { server_default = "red" }) })
    local engine = orm.create_engine "sqlite://"
    Base.metadata:create_all(engine)
    local session = orm.Session(engine)
    local box = Box{ width = 3 }
    session:add(box)
    session:flush()
    assert.same({ 9, "red" }, { box.area, box.colour })
    box.width = 4
    session:commit()
    assert.same(16, box.area)
  end)
end)

describe("a temporary table", function()
  it("belongs to the connection that makes it, and is looked for there", function()
    local metadata = orm.MetaData()
    Table("scratch", metadata, key(), Column("x", Integer, { index = true }), { prefixes = { "TEMPORARY" } })
    local engine = orm.create_engine("sqlite://")
    metadata:create_all(engine)
    metadata:create_all(engine)
    assert.same({ "scratch" }, scalars(engine, "SELECT name FROM sqlite_temp_master WHERE type = 'table'"))
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_master"))
    metadata:drop_all(engine)
    metadata:drop_all(engine)
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_temp_master"))
  end)

  it("is read as one", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn) conn:exec_driver_sql("CREATE TEMP TABLE s (a INTEGER)") end)
    local found = Table("s", orm.MetaData(), { autoload_with = engine })
    assert.equal("CREATE TEMPORARY TABLE s (a INTEGER)", flat(orm.CreateTable(found)))
  end)

  it("takes no other words", function()
    raises("ArgumentError", "prefixes = { 'VIRTUAL' } is not known", Table, "t", orm.MetaData(), key(),
      { prefixes = { "VIRTUAL" } })
    raises("ArgumentError", "prefixes must be a list of words", Table, "t", orm.MetaData(), key(), { prefixes = "TEMP" })
  end)
end)

describe("an index without a name", function()
  it("gets one by the naming convention", function()
    local t = Table("t", orm.MetaData{ naming_convention = { ix = "i_%(column_0_N_name)s" } }, key(),
      Column("a", Integer), orm.Index(orm.null, "a", "id", { unique = true }))
    orm.Index(orm.null, t.c.a:desc())
    assert.equal("CREATE UNIQUE INDEX i_a_id ON t (a, id)", tostring(orm.CreateIndex(t.indexes[1])))
    assert.equal("CREATE INDEX i_a ON t (a DESC)", tostring(orm.CreateIndex(t.indexes[2])))
  end)

  it("says so with orm.null, since nil may be a misspelt variable", function()
    raises("ArgumentError", "orm.null leaves the name to the naming convention", orm.Index, nil, "a")
  end)

  it("needs a column to be named after", function()
    raises("InvalidRequestError", "has no column for %(column_0_label)s", Table, "t", orm.MetaData(), key(),
      orm.Index(orm.null, func.lower(orm.text("a"))))
  end)
end)

describe("a view", function()
  local function sky()
    local metadata = orm.MetaData()
    local star = Table("star", metadata, key(), Column("name", Text), Column("seen", orm.Date))
    local bright = orm.CreateView(orm.select(star.c.id, func.upper(star.c.name):label("big"), star.c.seen)
      :where(star.c.name:like("it's?%"), star.c.id:in_{ 1, 2 }), "bright", { metadata = metadata })
    return metadata, star, bright
  end

  it("is a select with its values written out", function()
    local _, _, bright = sky()
    assert.equal("CREATE VIEW bright AS SELECT star.id, upper(star.name) AS big, star.seen FROM star "
      .. "WHERE star.name LIKE 'it''s?%' AND star.id IN (1, 2)", tostring(bright))
    assert.equal("DROP VIEW IF EXISTS bright", tostring(orm.DropView(bright, { if_exists = true })))
    assert.equal("DROP VIEW bright", tostring(orm.DropView(bright.table)))
  end)

  it("is made after the tables and dropped before them, and read as a table", function()
    local metadata, star, bright = sky()
    local second = orm.CreateView(orm.select(bright.table.c.big), "second", { metadata = metadata, temporary = true })
    local engine = orm.create_engine("sqlite://")
    metadata:create_all(engine)
    metadata:create_all(engine)
    engine:begin(function(conn)
      conn:execute(orm.insert(star), { { name = "it's?1", seen = "2024-02-29" }, { name = "it", seen = orm.null } })
      local row = conn:execute(orm.select(bright.table)):one()
      assert.same({ 1, "IT'S?1", "2024-02-29" }, { row() })
      assert.equal("IT'S?1", conn:scalar(orm.select(second.table)))
    end)
    assert.same({ "bright" }, orm.inspect(engine):get_view_names())
    assert.same({ "second" }, orm.inspect(engine):get_temp_view_names())
    metadata:drop_all(engine)
    assert.same({}, scalars(engine, "SELECT name FROM sqlite_master UNION SELECT name FROM sqlite_temp_master"))
  end)

  it("without a MetaData is a statement to execute", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      conn:execute(orm.CreateView(orm.select(orm.literal(1):label("one")), "v"))
      conn:execute(orm.CreateView(orm.select(orm.literal(2):label("one")), "v", { if_not_exists = true }))
      assert.equal(1, conn:scalar(orm.text("SELECT one FROM v")))
      conn:execute(orm.DropView(Table("v", orm.MetaData(), { autoload_with = engine })))
    end)
    assert.same({}, orm.inspect(engine):get_view_names())
  end)

  it("goes with the table that stands for it", function()
    local metadata, _, bright = sky()
    metadata:remove(bright.table)
    local engine = orm.create_engine("sqlite://")
    metadata:create_all(engine)
    assert.same({}, orm.inspect(engine):get_view_names())
  end)

  it("refuses what has no value and what is no select", function()
    local metadata, star = sky()
    raises("ArgumentError", "argument 1 must be a select", orm.CreateView, star, "v")
    raises("ArgumentError", "a view expected", orm.DropView, star)
    raises("InvalidRequestError", "declared in this MetaData already", orm.CreateView, orm.select(star), "star",
      { metadata = metadata })
    local view = orm.CreateView(orm.select(star):where(star.c.id:eq(orm.bindparam("n"))), "v")
    raises("CompileError", "the parameter 'n' has no value", view.compile, view)
  end)
end)
