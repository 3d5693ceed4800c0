-- lua/orrery/inspector.lua, sqlite_catalog.lua, sqlite_text.lua: what a database says of itself.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

local function made(...)
  local engine = orm.create_engine "sqlite://"
  database.run(engine, ...)
  return engine, orm.inspector(engine)
end

local function fields(list, ...)
  local found = {}
  for position, one in ipairs(list) do
    local parts = {}
    for _, name in ipairs{ ... } do
      parts[#parts + 1] = tostring(one[name])
    end
    found[position] = table.concat(parts, "|")
  end
  return found
end

describe("an inspector", function()
  it("names tables, views and schemas", function()
    local engine = orm.create_engine "sqlite://"
    local conn = engine:connect()
    conn:exec_driver_sql("ATTACH ':memory:' AS \"my \"\"other\"")
    for _, sql in ipairs{ "CREATE TABLE b (x)", "CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT)",
      "CREATE VIEW v AS SELECT 1", "CREATE TABLE \"my \"\"other\".c (x)", "CREATE TEMP TABLE t (x)",
      "CREATE TEMP VIEW tv AS SELECT 1" } do
      conn:exec_driver_sql(sql)
    end
    local inspector, other = orm.inspector(conn), { schema = 'my "other' }
    assert.same({ { "a", "b" }, { "v" }, { "main", 'my "other' }, { "c" }, {}, { "t" }, { "tv" } },
      { inspector:get_table_names(), inspector:get_view_names(), inspector:get_schema_names(),
        inspector:get_table_names(other), inspector:get_view_names(other), inspector:get_temp_table_names(),
        inspector:get_temp_view_names() })
    assert.same({ true, true, true, false, true, true }, { inspector:has_table("A"), inspector:has_table("v"),
      inspector:has_table("t"), inspector:has_table("c"), inspector:has_table("c", other),
      inspector:has_table(orm.Table("c", orm.MetaData{ schema = 'my "other' }, orm.Column("x", orm.Text))) })
    assert.same({ "x" }, fields(inspector:get_columns("c", other), "name"))
    assert.same("main", inspector.default_schema_name)
    conn:close()
  end)

  it("tells about columns", function()
    local _, inspector = made([[CREATE TABLE t (
      id INTEGER NOT NULL PRIMARY KEY, -- the key, isn't it
      "a ""b""" VARCHAR(30) DEFAULT 'it''s' COLLATE NOCASE, [cd] NUMERIC(10,2) DEFAULT (1 + 1 /* ) */),
      e DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, `f` DEFAULT -.5e-3,
      g INT GENERATED ALWAYS AS (id * (2 + 1) -- three
      ) STORED, h AS ("a ""b""" || ')'))]])
    assert.same({ "id|Integer|false|nil|1|INTEGER|nil", 'a "b"|String(30)|true|\'it\'\'s\'|0|VARCHAR(30)|NOCASE',
      "cd|Numeric(10, 2)|true|1 + 1|0|NUMERIC(10,2)|nil", "e|DateTime|false|CURRENT_TIMESTAMP|0|DATETIME|nil",
      "f|NullType|true|-.5e-3|0||nil", "g|Integer|true|nil|0|INT|nil", "h|NullType|true|nil|0||nil" },
      fields(inspector:get_columns("t"), "name", "type", "nullable", "default", "primary_key", "declared_type",
        "collation"))
    local columns = inspector:get_columns("t")
    assert.same({ { sqltext = "id * (2 + 1)", persisted = true }, { sqltext = '"a ""b""" || \')\'', persisted = false } },
      { columns[6].computed, columns[7].computed })
  end)

  -- declared type, type
  local types = {
    { "BIGINT", "BigInteger" }, { "nvarchar(120)", "String(120)" }, { "DOUBLE PRECISION", "Double" },
    { "TIMESTAMP", "DateTime" }, { "BOOL", "Boolean" }, { "DECIMAL(8)", "Numeric(8)" }, { "JSON", "JSON" },
    { "DECIMAL_TEXT(10, 2)", 'Numeric(10, 2, { as = "string" })' }, { "UNSIGNED BIG INT", "Integer" },
    { "MEDIUMINT(8)", "Integer" }, { "NATIVE CHARACTER(70)", "Text(70)" }, { "CLOB", "Text" }, { "", "NullType" },
    { "LONGBLOB", "LargeBinary" }, { "FLOAT8", "Float" }, { "FLOATING POINT", "Integer" }, { "BANANA", "Numeric" },
    { "INTEGER_OR_TEXT", "NullType" },
    { "VARCHAR(99999999999)", "String" }, { "\"it's; DROP\"", "Numeric" }, { "\"x(1, 2)\"", "Numeric" },
  }
  for _, case in ipairs(types) do
    it("reads the type " .. case[1] .. " as " .. case[2], function()
      local _, inspector = made("CREATE TABLE t (x " .. case[1] .. ")")
      assert.same(case[2], tostring(inspector:get_columns("t")[1].type))
    end)
  end

  it("knows which keys SQLite makes itself", function()
    local _, inspector = made("CREATE TABLE a (id INTEGER PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)",
      "CREATE TABLE c (id INTEGER PRIMARY KEY DESC)", "CREATE TABLE d (id INTEGER PRIMARY KEY) WITHOUT ROWID",
      "CREATE TABLE e (x INTEGER, y INTEGER, PRIMARY KEY (y, x))")
    local found = {}
    for _, name in ipairs{ "a", "b", "c", "d", "e" } do
      found[#found + 1] = tostring(inspector:get_columns(name)[1].autoincrement)
    end
    assert.same({ "auto", "false", "false", "false", "false" }, found)
    assert.same({ "y", "x" }, inspector:get_pk_constraint("e").constrained_columns)
  end)

  it("tells about keys and checks, with their names", function()
    local _, inspector = made("CREATE TABLE p (a INT, b INT, c TEXT, CONSTRAINT \"the key\" PRIMARY KEY (b, A), UNIQUE (c))",
      [[CREATE TABLE t (x INT CONSTRAINT "x>0" CHECK (x > 0) CONSTRAINT fk1 REFERENCES p (c) ON DELETE SET NULL
          DEFERRABLE INITIALLY DEFERRED NOT NULL, y INT UNIQUE ON CONFLICT IGNORE, z,
        CONSTRAINT u UNIQUE (x, Y) CHECK (z <> ')' AND y IN (1, 2)), -- no comma is needed
        CONSTRAINT fk2 FOREIGN KEY (X, y) REFERENCES P ON UPDATE CASCADE ON DELETE NO ACTION NOT DEFERRABLE)]])
    assert.same({ constrained_columns = { "b", "a" }, name = "the key" }, inspector:get_pk_constraint("p"))
    assert.same({ constrained_columns = {} }, inspector:get_pk_constraint("t"))
    assert.same({
      { name = "fk1", constrained_columns = { "x" }, referred_table = "p", referred_columns = { "c" },
        options = { ondelete = "SET NULL", deferrable = true, initially = "DEFERRED" } },
      { name = "fk2", constrained_columns = { "x", "y" }, referred_table = "P", referred_columns = { "b", "a" },
        options = { onupdate = "CASCADE", deferrable = false } },
    }, inspector:get_foreign_keys("t"))
    assert.same({ { column_names = { "y" }, on_conflict = "IGNORE" }, { name = "u", column_names = { "x", "y" } } },
      inspector:get_unique_constraints("t"))
    assert.same({ { name = "x>0", sqltext = "x > 0" }, { sqltext = "z <> ')' AND y IN (1, 2)" } },
      inspector:get_check_constraints("t"))
  end)

  it("tells about indexes", function()
    local _, inspector = made("CREATE TABLE t (a TEXT COLLATE NOCASE, b INT, c)", "CREATE INDEX i1 ON t (a, b DESC)",
      "CREATE UNIQUE INDEX i2 ON t (lower(a), b + (1) DESC, c COLLATE RTRIM) WHERE b > 0 AND c <> 'WHERE' -- so",
      "CREATE INDEX \"i 3\" ON t (c)")
    assert.same({
      { name = "i 3", unique = false, column_names = { "c" } },
      { name = "i1", unique = false, column_names = { "a", "b" }, column_sorting = { b = "desc" } },
      { name = "i2", unique = true, column_names = { false, false, "c" }, where = "b > 0 AND c <> 'WHERE'",
        expressions = { "lower(a)", "b + (1)", "c COLLATE RTRIM" } },
    }, inspector:get_indexes("t"))
  end)

  it("tells about views and triggers", function()
    local _, inspector = made("CREATE TABLE t (a)", "CREATE TABLE u (a)", "CREATE VIEW v AS SELECT a FROM t",
      "CREATE TRIGGER tr AFTER INSERT ON t BEGIN DELETE FROM t; END",
      "CREATE TRIGGER tr2 AFTER INSERT ON u BEGIN DELETE FROM t; END")
    assert.same("CREATE VIEW v AS SELECT a FROM t", inspector:get_view_definition("v"))
    assert.same({ "a" }, fields(inspector:get_columns("v"), "name"))
    assert.same({ "tr|t", "tr2|u" }, fields(inspector:get_triggers(), "name", "table"))
    assert.same({ "tr|t" }, fields(inspector:get_triggers("T"), "name", "table"))
    assert.truthy(inspector:get_triggers("t")[1].sql:find("^CREATE TRIGGER tr AFTER"))
    raises("NoSuchTableError", "'t' is a table, not a view", inspector.get_view_definition, inspector, "t")
  end)

  it("tells about options of tables", function()
    local _, inspector = made("CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT)",
      "CREATE TABLE b (x INT PRIMARY KEY) STRICT, WITHOUT ROWID", "CREATE TABLE c (\"WITHOUT\", \"AUTOINCREMENT\")")
    assert.same({ { sqlite_autoincrement = true }, { sqlite_strict = true, sqlite_with_rowid = false }, {} },
      { inspector:get_table_options("a"), inspector:get_table_options("b"), inspector:get_table_options("c") })
  end)

  it("tells what CREATE TABLE AS and virtual tables have", function()
    local _, inspector = made("CREATE TABLE a AS SELECT 1 AS x, 'b' AS y", "CREATE VIRTUAL TABLE f USING fts5(body)")
    assert.same({ "x", "y" }, fields(inspector:get_columns("a"), "name"))
    assert.same({ "body" }, fields(inspector:get_columns("f"), "name"))
    assert.same({ "a", "f" }, inspector:get_table_names()) -- without those that f keeps its data in
    assert.same({}, inspector:get_check_constraints("f"))
  end)

  it("is also what inspect() gives of an engine or a connection", function()
    local engine = made("CREATE TABLE t (a)")
    assert.same({ "t" }, orm.inspect(engine):get_table_names())
    orm.with(engine:connect(), function(conn)
      assert.same({ "t" }, orm.inspect(conn):get_table_names())
    end)
  end)

  it("tells how things are now", function()
    local engine, inspector = made("CREATE TABLE t (a)")
    database.run(engine, "ALTER TABLE t ADD COLUMN b INT REFERENCES t (a) CHECK (b > 1)", "ALTER TABLE t RENAME TO \"u \"\"v\"")
    assert.same({ 'u "v' }, inspector:get_table_names())
    assert.same({ "a", "b" }, fields(inspector:get_columns('u "v'), "name"))
    assert.same({ "b > 1" }, fields(inspector:get_check_constraints('u "v'), "sqltext"))
  end)

  it("says which table is missing, and what comments are worth", function()
    local engine, inspector = made("CREATE TABLE album (a)")
    raises("NoSuchTableError", "the database has no table 'albmu'; did you mean 'album'?", inspector.get_columns,
      inspector, "albmu")
    raises("InvalidRequestError", "the database has no schema 'x'; there is main", inspector.get_columns, inspector, "album",
      { schema = "x" })
    raises("ArgumentError", "use ':'", inspector.get_columns, "album")
    raises("ArgumentError", "the name of a table expected, got 5", inspector.get_columns, inspector, 5)
    raises("ArgumentError", "unknown option 'shema'", inspector.get_columns, inspector, "album", { shema = "x" })
    raises("NotSupportedError", "sqlite stores no comments", inspector.get_table_comment, inspector, "album")
    raises("ArgumentError", "an engine or a connection expected", orm.inspector, {})
    assert.truthy(tostring(inspector):find("^Inspector"))
    engine:dispose()
  end)

  it("is not fooled by text that looks like SQL", function()
    local deep = ("("):rep(60) .. "1" .. (")"):rep(60)
    local _, inspector = made([[CREATE TABLE "CREATE TABLE t (x CHECK (1))" (
        "CHECK" TEXT DEFAULT 'CHECK (a)' /* CHECK (b) */, [CONSTRAINT] DEFAULT "REFERENCES x", -- UNIQUE (c),
        "a,b)(" DEFAULT (')'), 'str' TEXT, CHECK ("CHECK" <> ', UNIQUE (' OR "a,b)(" = ]] .. deep .. "))")
    local name = "CREATE TABLE t (x CHECK (1))"
    assert.same({ "CHECK", "CONSTRAINT", "a,b)(", "str" }, fields(inspector:get_columns(name), "name"))
    assert.same(1, #inspector:get_check_constraints(name))
    assert.same({}, inspector:get_unique_constraints(name))
    assert.same({}, inspector:get_foreign_keys(name))
  end)

  it("reads long texts in time that grows with their length", function()
    local columns = {}
    for i = 1, 1500 do
      columns[i] = ("c%d TEXT /* %s */ CHECK (c%d <> '%s')"):format(i, ("*("):rep(50), i, ("''"):rep(50))
    end
    local _, inspector = made("CREATE TABLE wide (" .. table.concat(columns, ", ") .. ")")
    local before = os.clock()
    assert.same(1500, #inspector:get_check_constraints("wide"))
    assert.is_true(os.clock() - before < 5)
  end)
end)
