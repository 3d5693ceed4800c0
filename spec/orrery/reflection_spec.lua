-- lua/orrery/reflection.lua: tables made of what a database has, and databases made of such tables.
local orm = require "orrery"
local json = orm.json
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local Integer, Text, Column, Table = orm.Integer, orm.Text, orm.Column, orm.Table

local function made(...)
  local engine = orm.create_engine "sqlite://"
  database.run(engine, ...)
  return engine
end

local function names(list)
  local found = {}
  for position, one in ipairs(list) do
    found[position] = one.name
  end
  return table.concat(found, " ")
end

local function schema_of(engine)
  return database.rows(engine, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name")
end

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close() ~= nil
end

-- What was created, reflected, and created elsewhere.
local function again(engine)
  local metadata, other = orm.MetaData(), orm.create_engine "sqlite://"
  metadata:reflect(engine)
  metadata:create_all(other)
  return other, metadata
end

local function warnings(fn)
  local heard = {}
  local before = orm.on_warning(function(message) heard[#heard + 1] = message:match(": (.*)$") or message end)
  local ok, err = pcall(fn)
  orm.on_warning(before)
  assert(ok, err)
  return heard
end

describe("reflecting what create_all made, and creating it again", function()
  local function check(metadata)
    local engine = orm.create_engine "sqlite://"
    metadata:create_all(engine)
    local other = again(engine)
    assert.same(schema_of(engine), schema_of(other))
  end

  it("gives the same schema for every type", function()
    local metadata = orm.MetaData()
    local columns = { Column("id", Integer, { primary_key = true }) }
    for position, kind in ipairs{ orm.SmallInteger, orm.BigInteger, orm.Float, orm.Double, orm.Numeric, orm.Numeric(10),
      orm.Numeric(10, 2), orm.Numeric(10, 2, { as = "string" }), orm.String, orm.String(30), Text, orm.Boolean, orm.Date,
      orm.Time, orm.DateTime, orm.LargeBinary, orm.JSON, orm.Uuid, orm.Enum("a", "it's") } do
      columns[position + 1] = Column("c" .. position, kind)
    end
    Table("t", metadata, (table.unpack or unpack)(columns))
    check(metadata)
    local engine = orm.create_engine "sqlite://"
    metadata:create_all(engine)
    local reflected = Table("t", orm.MetaData(), { autoload_with = engine })
    local found = {}
    for position, column in ipairs(reflected.columns) do
      found[position] = tostring(column.type)
    end
    assert.same("Integer SmallInteger BigInteger Float Double Numeric Numeric(10) Numeric(10, 2) "
      .. 'Numeric(10, 2, { as = "string" }) String String(30) Text Boolean Date Time DateTime LargeBinary JSON String(32) '
      .. "String(4)", table.concat(found, " "))
  end)

  it("gives the same schema for every constraint", function()
    local metadata = orm.MetaData()
    Table("orders", metadata, Column("shop", Integer), Column("nr", Integer),
      orm.PrimaryKeyConstraint("shop", "nr", { name = "pk" }))
    Table("select", metadata, Column("from", Integer, { primary_key = true }), Column("a.b", Text, { unique = true }))
    Table("t", metadata, Column("id", Integer, { primary_key = true }),
      Column("a", orm.ForeignKey("select.from", { ondelete = "SET NULL", onupdate = "CASCADE", name = "fk a" })),
      Column("b", Integer, orm.ForeignKey(metadata.tables.select.c.from, { deferrable = true, initially = "DEFERRED" }),
        orm.CheckConstraint("b > 0", { name = "b)0" }), { index = true, unique = true }),
      Column("c", Text, { collation = "NOCASE", nullable = false, unique = true }),
      Column("d", orm.DateTime, { server_default = orm.func.now() }),
      Column("e", Text, { server_default = "it's" }), Column("f", Integer, { server_default = orm.text("-1") }),
      Column("g", Integer, orm.Computed("id * 2", { persisted = true })), Column("h", Integer, orm.Computed("id * 2")),
      Column("i", Integer, orm.Computed("id * 2", { persisted = false })),
      orm.ForeignKeyConstraint({ "a", "b" }, { "orders.shop", "orders.nr" }),
      orm.UniqueConstraint("a", "b", { name = "u" }), orm.CheckConstraint("a <> b /* or so */ OR 1"),
      orm.Index("i1", "a", { where = orm.text("a > 5") }), orm.Index("i2", orm.func.lower(orm.literal_column("c")), "b"))
    local t = metadata.tables.t
    orm.Index("i3", t.c.a:desc(), t.c.c:collate("BINARY"), { unique = true })
    check(metadata)
  end)

  it("gives the same schema for every kind of table", function()
    local metadata = orm.MetaData()
    Table("counted", metadata, Column("id", Integer), orm.PrimaryKeyConstraint("id", { name = "pk" }),
      { sqlite_autoincrement = true })
    Table("strict", metadata, Column("id", Integer, { primary_key = true }), Column("name", orm.String(30)),
      Column("price", orm.Numeric(8, 2)), Column("at", orm.DateTime), Column("data", orm.LargeBinary),
      { sqlite_strict = true, sqlite_with_rowid = false })
    Table("hen", metadata, Column("id", Integer, { primary_key = true }), Column("egg_id", orm.ForeignKey("egg.id")))
    Table("egg", metadata, Column("id", Integer, { primary_key = true }), Column("hen_id", orm.ForeignKey("hen.id")))
    Table("keyless", metadata, Column("a", Integer))
    Table("lenient", metadata, Column("a", Integer), Column("b", Integer, { nullable = false, unique = true,
      sqlite_on_conflict_not_null = "IGNORE", sqlite_on_conflict_unique = "FAIL" }),
      orm.PrimaryKeyConstraint("a", { sqlite_on_conflict = "REPLACE" }),
      orm.CheckConstraint("b > 1", { name = "c", sqlite_on_conflict = "ROLLBACK" }))
    Table("counted_lenient", metadata, Column("a", Integer, { primary_key = true,
      sqlite_on_conflict_primary_key = "REPLACE" }), { sqlite_autoincrement = true })
    check(metadata)
  end)

  it("gives the same schema for constraints that a convention named", function()
    local metadata = orm.MetaData{ naming_convention = { ix = "ix_%(column_0_label)s", uq = "uq_%(table_name)s_%(column_0_name)s",
      ck = "ck_%(table_name)s_%(constraint_name)s", pk = "pk_%(table_name)s",
      fk = "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s" } }
    Table("a", metadata, Column("id", Integer, { primary_key = true }))
    Table("b", metadata, Column("a_id", orm.ForeignKey("a.id"), { unique = true }), Column("x", Integer, { index = true }),
      orm.CheckConstraint("x > 1", { name = "big" }))
    check(metadata)
    local engine = orm.create_engine "sqlite://"
    metadata:create_all(engine)
    local own = orm.MetaData{ naming_convention = { uq = "other_%(column_0_name)s", ck = "other_%(constraint_name)s" } }
    own:reflect(engine)
    assert.same({ "uq_b_a_id", "ck_b_big" }, { own.tables.b.constraints[2].name, own.tables.b.constraints[3].name })
  end)

  it("keeps hostile names byte for byte", function()
    local path = "../shared/hostile/strings.json"
    local texts = { 'a"b', "`", "[", "a]b", "'", "a.b", ";--", "/*", "*/", " ", "\n", "%s", "%d", "?", ":x", "\\", "select",
      "日本", "\239\191\189", "a\r\nb", ("x"):rep(300), "sqlite", "\1\2", "__index", "ROWID" }
    if exists(path) then
      local file = assert(io.open(path, "rb"))
      for _, entry in ipairs(json.decode(file:read("*a")).strings) do
        if entry.hex and entry.as_identifier == "works-quoted" then
          texts[#texts + 1] = entry.hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
        end
      end
      file:close()
    end
    for _, text in ipairs(texts) do
      local metadata, other = orm.MetaData(), "x" .. text
      Table(text, metadata, Column(text, Integer, { primary_key = true }), Column(other, Integer, { index = true }),
        orm.UniqueConstraint(text, other, { name = text }), orm.CheckConstraint(orm.literal_column("1"), { name = other }))
      Table(other, metadata, Column(other, Integer), orm.Index(text .. text, other),
        orm.ForeignKeyConstraint({ other }, { metadata.tables[text].c[text] }, { name = text }))
      check(metadata)
      local engine = orm.create_engine "sqlite://"
      metadata:create_all(engine)
      local found = orm.MetaData()
      found:reflect(engine)
      local referred = found.tables[other].foreign_key_constraints[1]
      assert.same({ text, other, text, text, text }, { found.tables[text].c[text].name, found.tables[text].columns[2].name,
        found.tables[text].constraints[2].name, referred.name, referred.elements[1].column.name })
    end
  end)
end)

describe("Table with autoload_with", function()
  local engine

  before_each(function()
    engine = made("CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x')",
      "CREATE TABLE book (id INTEGER PRIMARY KEY, author_id INTEGER REFERENCES Author (ID), title VARCHAR(5))",
      "CREATE INDEX ix_title ON book (title)", "INSERT INTO author VALUES (1, 'ann')")
  end)

  it("has the database's columns, keys and indexes, and what it refers to", function()
    local metadata = orm.MetaData()
    local book = Table("book", metadata, { autoload_with = engine })
    assert.same({ "id author_id title", "String(5)", "id", "ix_title", "author" }, { names(book.columns),
      tostring(book.c.title.type), names(book.primary_key), names(book.indexes),
      book.c.author_id.foreign_keys[1].column.table.name })
    assert.same({ false, true }, { book.c.id.nullable, book.c.title.nullable })
    assert.equal(metadata.tables.author, book.c.author_id.foreign_keys[1].column.table)
    engine:begin(function(conn)
      assert.same("ann", conn:scalar(orm.select(metadata.tables.author.c.name)))
      conn:execute(orm.insert(book):values{ title = "b", author_id = 1 })
      assert.same(1, conn:scalar(orm.select(book.c.id):where(book.c.title:eq("b"))))
    end)
  end)

  it("takes what is given before what is found", function()
    local metadata = orm.MetaData()
    local book = Table("book", metadata, Column("title", orm.LargeBinary, { key = "heading" }), Column("extra", Text),
      Column("author_id", { key = "writer" }), { autoload_with = engine, resolve_fks = false })
    assert.same({ "id author_id title extra", "LargeBinary", "Integer" }, { names(book.columns),
      book.c.heading.type.name, book.c.writer.type.name })
    assert.same({ "book" }, { next(metadata.tables), nil })
    assert.same("title", book.indexes[1].columns[1].name)
  end)

  it("takes a foreign key or a primary key that is given", function()
    local metadata = orm.MetaData()
    Table("person", metadata, Column("id", Integer, { primary_key = true }))
    local book = Table("book", metadata, Column("author_id", Integer, orm.ForeignKey("person.id")),
      { autoload_with = engine })
    assert.same({ 1, "person" }, { #book.foreign_keys, book.foreign_keys[1].column.table.name })
    database.run(engine, "CREATE VIEW v AS SELECT * FROM book")
    local view = Table("v", metadata, Column("id", Integer, { primary_key = true }), { autoload_with = engine })
    assert.same({ "id", "id author_id title", true }, { names(view.primary_key), names(view.columns), view.is_view })
  end)

  it("is the table that is declared already, or adds to it", function()
    local metadata = orm.MetaData()
    local book = Table("book", metadata, Column("title", Integer), Column("own", Text))
    assert.equal(book, Table("book", metadata, { autoload_with = engine }))
    assert.same("title own", names(book.columns))
    assert.equal(book, Table("book", metadata, { autoload_with = engine, extend_existing = true }))
    assert.same({ "id author_id title own", "String" }, { names(book.columns), book.c.title.type.name })
    book:_freeze()
    raises("InvalidRequestError", "in use already", Table, "book", metadata, { autoload_with = engine,
      extend_existing = true })
  end)

  it("says which table is missing", function()
    local metadata = orm.MetaData()
    raises("NoSuchTableError", "the database has no table 'boook'; did you mean 'book'?", Table, "boook", metadata,
      { autoload_with = engine })
    assert.same({}, metadata.tables)
    raises("ArgumentError", "an engine or a connection expected", Table, "book", metadata, { autoload_with = 5 })
  end)

  it("maps a class", function()
    local Base = orm.declarative_base()
    local Author = Base:model("Author", { __table__ = Table("author", Base.metadata, { autoload_with = engine }) })
    local session = orm.Session(engine)
    session:add(Author{})
    session:commit()
    assert.same("x", session:get(Author, 2).name)
  end)

  it("takes foreign keys to nothing for none, and says so", function()
    local broken = made("CREATE TABLE a (x INT REFERENCES nowhere, y INT REFERENCES b (z), z INT REFERENCES b, "
      .. "v INT REFERENCES vw (x))", "CREATE TABLE b (p INT, q INT, PRIMARY KEY (p, q))",
      "CREATE VIEW vw AS SELECT 1 AS x")
    local metadata = orm.MetaData()
    assert.same({ "table 'a': its foreign key on x is left out: the database has no table 'nowhere'",
      "table 'a': its foreign key on y is left out: table 'b' has no column 'z'",
      "table 'a': its foreign key on z is left out: the primary key of 'b' has 2 columns",
      "table 'a': its foreign key on v is left out: the database has no table 'vw'" },
      warnings(function() metadata:reflect(broken) end))
    assert.same({ 0, 2 }, { #metadata.tables.a.foreign_keys, #metadata.sorted_tables })
  end)

  it("follows chains and circles of foreign keys, however long", function()
    local statements = { "CREATE TABLE t0 (id INTEGER PRIMARY KEY, next INTEGER REFERENCES t299)" }
    for i = 1, 299 do
      statements[i + 1] = ("CREATE TABLE t%d (id INTEGER PRIMARY KEY, next INTEGER REFERENCES t%d)"):format(i, i - 1)
    end
    local metadata = orm.MetaData()
    Table("t150", metadata, { autoload_with = made((table.unpack or unpack)(statements)) })
    assert.same(300, #metadata.sorted_tables)
  end)
end)

describe("metadata:reflect", function()
  local engine

  before_each(function()
    engine = made("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)", "CREATE TABLE b (a_id INTEGER REFERENCES a)",
      "CREATE TABLE c (x)", "CREATE VIEW v AS SELECT id FROM a", "INSERT INTO a VALUES (1)", "ANALYZE")
  end)

  local function tables(metadata)
    return names(metadata.sorted_tables)
  end

  it("leaves out what is SQLite's own, and views", function()
    local metadata = orm.MetaData()
    metadata:reflect(engine)
    assert.same("a b c", tables(metadata))
  end)

  it("takes views where that is asked for, and creates none of them", function()
    local metadata = orm.MetaData()
    metadata:reflect(engine, { views = true })
    assert.same("a b c v", tables(metadata))
    engine:begin(function(conn)
      assert.same({ 1 }, conn:scalars(orm.select(metadata.tables.v.c.id)):all())
    end)
    local other = orm.create_engine "sqlite://"
    metadata:create_all(other)
    assert.same({ "a", "b", "c" }, orm.inspector(other):get_table_names())
    metadata:drop_all(engine)
    assert.same({ "v" }, orm.inspector(engine):get_view_names())
  end)

  it("takes some tables, by name or by a function, with those that they refer to", function()
    local metadata = orm.MetaData()
    metadata:reflect(engine, { only = { "b" }, resolve_fks = false })
    assert.same("b", next(metadata.tables))
    metadata = orm.MetaData()
    metadata:reflect(engine, { only = function(name) return name == "b" end })
    assert.same("a b", tables(metadata))
    raises("InvalidRequestError", "metadata:reflect(): only names 'bb', which the database does not have; did you mean",
      metadata.reflect, metadata, engine, { only = { "bb" } })
    raises("ArgumentError", "only must be a list of names", metadata.reflect, metadata, engine, { only = "b" })
  end)

  it("leaves declared tables alone, unless they are to be extended", function()
    local metadata = orm.MetaData()
    local c = Table("c", metadata, Column("y", Integer))
    metadata:reflect(engine)
    assert.same("y", names(c.columns))
    metadata:reflect(engine, { extend_existing = true })
    assert.same("x y", names(c.columns))
  end)

  it("reads attached databases, whose tables are written with their schema", function()
    local conn = engine:connect()
    conn:exec_driver_sql("ATTACH ':memory:' AS \"odd \"\"one\"")
    conn:exec_driver_sql("CREATE TABLE \"odd \"\"one\".p (id INTEGER PRIMARY KEY)")
    conn:exec_driver_sql("CREATE TABLE \"odd \"\"one\".q (p_id INTEGER REFERENCES p ON DELETE CASCADE, x)")
    conn:exec_driver_sql("CREATE INDEX \"odd \"\"one\".ix ON q (x)")
    local metadata = orm.MetaData()
    metadata:reflect(conn, { schema = 'odd "one' })
    local q = metadata.tables['odd "one.q']
    assert.same({ 'odd "one.p', "ix" }, { q.foreign_keys[1].column.table.fullname, q.indexes[1].name })
    metadata:drop_all(conn)
    assert.same({}, orm.inspector(conn):get_table_names{ schema = 'odd "one' })
    metadata:create_all(conn)
    assert.same({ "p", "q" }, orm.inspector(conn):get_table_names{ schema = 'odd "one' })
    assert.same("ix", orm.inspector(conn):get_indexes("q", { schema = 'odd "one' })[1].name)
    conn:execute(orm.insert(q):values{ x = "1" })
    assert.same("1", conn:scalar(orm.select(q.c.x)))
    raises("InvalidRequestError", "no schema 'nope'", metadata.reflect, metadata, conn, { schema = "nope" })
    conn:rollback()
    conn:close()
  end)

  -- Everything that SQLite tells of the tables, in one string a table.
  local function facts(of)
    local inspector, list = orm.inspector(of), {}
    local function add(value)
      list[#list + 1] = type(value) == "table" and not value.handle and "" or tostring(value)
      if type(value) == "table" and not value.handle then
        local keys = {}
        for key in pairs(value) do
          keys[#keys + 1] = key
        end
        table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
        for _, key in ipairs(keys) do
          list[#list + 1] = tostring(key)
          add(value[key])
        end
      end
    end
    for _, name in ipairs(inspector:get_table_names()) do
      local columns = inspector:get_columns(name)
      for _, column in ipairs(columns) do
        column.nullable = column.nullable and column.primary_key == 0
      end
      add(columns)
      for _, method in ipairs{ "get_pk_constraint", "get_foreign_keys", "get_indexes", "get_unique_constraints",
        "get_check_constraints", "get_table_options" } do
        add(inspector[method](inspector, name))
      end
    end
    return list
  end

  for _, path in ipairs{ "../shared/data/chinook.sqlite", "/usr/share/proj/proj.db" } do
    if exists(path) then
      it("creates " .. path:match("[^/]+$") .. " again as it is, but for keys that may not be NULL any more", function()
        local original = orm.create_engine("sqlite:///" .. path .. "?mode=ro")
        assert.same(facts(original), facts((again(original))))
      end)
    end
  end
end)

describe("column_reflect", function()
  local function album_database()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      conn:exec_driver_sql("CREATE TABLE album (\"AlbumId\" INTEGER PRIMARY KEY, \"Title\" TEXT DEFAULT 'x', made TEXT)")
      conn:exec_driver_sql("INSERT INTO album VALUES (1, 'one', '2024-02-29')")
    end)
    return engine
  end

  it("tells of every column, and takes its key, type, default and comment", function()
    local engine, metadata, seen = album_database(), orm.MetaData(), {}
    orm.event.listen(metadata, "column_reflect", function(inspector, tbl, column)
      seen[#seen + 1] = tbl.fullname .. "." .. column.name
      assert.is_true(inspector:has_table(tbl.name))
      assert.equal(metadata, tbl.metadata)
      column.key = column.name:lower()
      if column.name == "made" then
        column.type, column.comment = orm.Date, "when"
      elseif column.name == "Title" then
        column.default = nil
        column.name = "renamed"
      end
    end)
    local album = orm.Table("album", metadata, { autoload_with = engine })
    assert.same({ "album.AlbumId", "album.Title", "album.made" }, seen)
    assert.equal("AlbumId", album.c.albumid.name)
    assert.equal("Title", album.c.title.name)
    assert.is_nil(album.c.title.server_default)
    assert.equal("when", album.c.made.comment)
    assert.truthy(tostring(orm.CreateTable(album)):find("made DATE", 1, true))
    engine:begin(function(conn)
      assert.equal("one", conn:execute(orm.select(album)):first()[album.c.title])
    end)
  end)

  it("names the attributes of automap", function()
    local base = orm.declarative_base()
    orm.event.listen(base.metadata, "column_reflect", function(_, _, column)
      column.key = column.name:lower()
    end)
    local engine = album_database()
    local models = orm.automap(engine, { base = base })
    assert.equal("one", orm.Session(engine):get(models.Album, 1).title)
  end)
end)

describe("a database that somebody else made", function()
  it("has columns that take any value, where a strict table says ANY", function()
    local engine = made("CREATE TABLE strict_one (id INTEGER PRIMARY KEY, v ANY) STRICT",
      "CREATE TABLE loose (id INTEGER PRIMARY KEY, v ANY)")
    local models = orm.automap(engine)
    local session = orm.Session(engine)
    session:add_all{ models.StrictOne{ v = "007" }, models.StrictOne{ v = 7 } }
    session:commit()
    assert.equal("007", session:get(models.StrictOne, 1).v)
    assert.equal(7, session:get(models.StrictOne, 2).v)
    assert.falsy(pcall(models.Loose, { v = "007" }))
    session:close()
  end)

  it("may have a column without a name, which is left out with a warning", function()
    local told = {}
    local former = orm.on_warning(function(message) told[#told + 1] = message end)
    local engine = made('CREATE TABLE odd (id INTEGER PRIMARY KEY, "" TEXT, a TEXT)', "INSERT INTO odd VALUES (1, 'x', 'y')")
    local models = orm.automap(engine)
    orm.on_warning(former)
    assert.equal("y", orm.Session(engine):get(models.Odd, 1).a)
    assert.equal(1, #told)
    assert.truthy(told[1]:find("table 'odd': its column 2 is left out", 1, true))
  end)

  it("may have a foreign key that nothing can fulfil, of which the error says why", function()
    local engine = made("CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT)",
      "CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT REFERENCES p (code))")
    local models = orm.automap(engine)
    local session = orm.Session(engine)
    session:add(models.C{ code = "x" })
    local err = raises("OperationalError", "foreign key mismatch", session.flush, session)
    assert.truthy(err.hint:find("CREATE UNIQUE INDEX", 1, true))
    session:close()
  end)
end)
