-- lua/orrery/automap.lua: models of databases that were there before.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

local function made(...)
  local engine = orm.create_engine "sqlite://"
  database.run(engine, ...)
  return engine
end

local function keys(map)
  local list = {}
  for key in pairs(map) do
    list[#list + 1] = key
  end
  table.sort(list)
  return table.concat(list, " ")
end

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close() ~= nil
end

describe("automap", function()
  local AUTHORS = {
    "CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE book_title (id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL REFERENCES author, title TEXT)",
    "CREATE TABLE tag (id INTEGER PRIMARY KEY, word TEXT)",
    "CREATE TABLE book_tag (book_id INTEGER REFERENCES book_title, tag_id INTEGER REFERENCES tag, "
      .. "PRIMARY KEY (book_id, tag_id))",
    "INSERT INTO author VALUES (1, 'ann')",
    "INSERT INTO book_title VALUES (1, 1, 'b1'), (2, 1, 'b2')",
    "INSERT INTO tag VALUES (1, 'new')",
    "INSERT INTO book_tag VALUES (2, 1)",
  }

  it("gives models with relationships, both ways and through link tables", function()
    local engine = made((table.unpack or unpack)(AUTHORS))
    local models = orm.automap(engine)
    assert.same("Author Base BookTitle Tag", keys(models))
    local session = orm.Session(engine)
    local ann = session:get(models.Author, 1)
    assert.same({ "b1", "b2" }, { ann.book_title_collection[1].title, ann.book_title_collection[2].title })
    assert.equal(ann, ann.book_title_collection[1].author)
    local tag = ann.book_title_collection[2].tag_collection[1]
    assert.same({ "new", "b2" }, { tag.word, tag.book_title_collection[1].title })
  end)

  it("gives models that write", function()
    local engine = made((table.unpack or unpack)(AUTHORS))
    local models = orm.automap(engine)
    local session = orm.Session(engine)
    local bob = models.Author{ name = "bob", book_title_collection = { models.BookTitle{ title = "b3" } } }
    bob.book_title_collection[1].tag_collection:append(models.Tag{ word = "good" })
    session:add(bob)
    session:add(models.BookTitle{ title = "b4", author_id = 1 })
    session:commit()
    assert.same({ "b3|bob|good", "b4|ann|NULL" }, database.rows(engine, "SELECT title, name, word FROM book_title b "
      .. "JOIN author a ON a.id = author_id LEFT JOIN book_tag ON book_id = b.id LEFT JOIN tag t ON t.id = tag_id "
      .. "WHERE b.id > 2 ORDER BY b.id"))
    session:delete(bob)
    session:commit()
    assert.same({ "b1", "b2", "b4" }, database.rows(engine, "SELECT title FROM book_title ORDER BY id"))
  end)

  it("names several foreign keys to one table after their columns", function()
    local models = orm.automap(made("CREATE TABLE address (id INTEGER PRIMARY KEY, code INT, UNIQUE (id, code))",
      "CREATE TABLE orders (id INTEGER PRIMARY KEY, billing_address_id INTEGER REFERENCES address, "
        .. "shipToId INTEGER REFERENCES address, other INTEGER REFERENCES address, last_id INT, last_code INT, "
        .. "FOREIGN KEY (last_id, last_code) REFERENCES address (id, code))"))
    orm.configure_mappers()
    for _, name in ipairs{ "billing_address", "shipto", "other_address", "last" } do
      assert.truthy(models.Orders[name], name)
      assert.truthy(models.Address["orders_" .. name .. "_collection"], name)
    end
  end)

  it("names no two things alike", function()
    local models = orm.automap(made("CREATE TABLE base (id INTEGER PRIMARY KEY, parent INTEGER, parent_collection INT)",
      "CREATE TABLE \"user account\" (id INTEGER PRIMARY KEY)", "CREATE TABLE user_account (id INTEGER PRIMARY KEY)",
      "CREATE TABLE UserAccount (id INTEGER PRIMARY KEY)", "CREATE TABLE UserAccount2 (id INTEGER PRIMARY KEY)",
      "CREATE TABLE \"2nd\" (id INTEGER PRIMARY KEY)", "CREATE TABLE \"!\" (id INTEGER PRIMARY KEY)",
      "CREATE TABLE parent (id INTEGER PRIMARY KEY, base TEXT, base_collection TEXT)",
      "CREATE TABLE child (id INTEGER PRIMARY KEY, parent TEXT, parent_id INTEGER REFERENCES parent)",
      "CREATE TABLE nephew (id INTEGER PRIMARY KEY, parent TEXT, parent_parent TEXT, "
        .. "x INTEGER, FOREIGN KEY (x) REFERENCES parent)"))
    assert.same("Base Base2 Child Nephew Parent Table Table2nd UserAccount UserAccount2 UserAccount3 UserAccount4",
      keys(models))
    assert.same({ "UserAccount", "UserAccount2", "user account" }, { models.UserAccount.__table__.name,
      models.UserAccount2.__table__.name, models.UserAccount3.__table__.name })
    assert.truthy(models.Child.parent_2 and models.Nephew.x_parent)
  end)

  it("says why a table has no class, or which", function()
    local models = orm.automap(made("CREATE TABLE a_b (id INTEGER PRIMARY KEY)", "CREATE TABLE c (id INTEGER PRIMARY KEY)",
      "CREATE TABLE loose (n INTEGER)",
      "CREATE TABLE tie (a INTEGER REFERENCES a_b, c INTEGER REFERENCES c, PRIMARY KEY (a, c))"))
    for name, words in pairs{ loose = "'loose' has no primary key", Loose = "'loose' has no primary key",
      Tie = "'tie' is a link between two others", a_b = "'a_b' is models.AB", Cc = "did you mean 'C'?" } do
      raises("ArgumentError", words, function() return models[name] end)
    end
  end)

  it("maps columns and tables of any name", function()
    for _, name in ipairs{ "__index", "__gc", "__metatable", "__tablename__", "__init__", "metadata", "end", "_x", "select",
      'a"b', "a.b", ";--", "%s", "\n", "日本", "1", " ", "sqlite", "nil", "Base", "class" } do
      local metadata = orm.MetaData()
      orm.Table(name, metadata, orm.Column(name, orm.Integer, { primary_key = true }), orm.Column("x" .. name, orm.Text))
      orm.Table("y" .. name, metadata, orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("r", orm.Integer),
        orm.ForeignKeyConstraint({ "r" }, { metadata.tables[name].c[name] }))
      local engine = database.create(metadata)
      local models, session, found = orm.automap(engine), orm.Session(engine), 0
      for _, class in pairs(models) do
        if class ~= models.Base and class.__table__.name == name then
          session:add(class{ [name] = 5, ["x" .. name] = "v" })
          session:commit()
          local object = session:get(class, 5)
          assert.same({ 5, "v" }, { object[name], object["x" .. name] })
          found = found + 1
        end
      end
      assert.same(1, found)
    end
  end)

  it("tells the two ends of a self-reference apart", function()
    local engine = made("CREATE TABLE node (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES node)",
      "INSERT INTO node VALUES (1, NULL), (2, 1)",
      "CREATE TABLE friend (a INTEGER REFERENCES node, b INTEGER REFERENCES node, PRIMARY KEY (a, b))",
      "INSERT INTO friend VALUES (1, 2)")
    local models = orm.automap(engine)
    local session = orm.Session(engine)
    local one = session:get(models.Node, 1)
    assert.same({ 2, 1 }, { one.node_collection[1].id, one.node_collection[1].node.id })
    assert.same({ 1, 0 }, { #one.friend_b_node_collection, #one.friend_a_node_collection })
  end)

  it("gives one object for a unique foreign key", function()
    local engine = made("CREATE TABLE person (id INTEGER PRIMARY KEY)",
      "CREATE TABLE passport (id INTEGER PRIMARY KEY, person_id INTEGER UNIQUE REFERENCES person)",
      "INSERT INTO person VALUES (1)", "INSERT INTO passport VALUES (7, 1)")
    local models = orm.automap(engine)
    assert.same(7, orm.Session(engine):get(models.Person, 1).passport.id)
  end)

  it("maps link tables that have more to say, or are referred to", function()
    local models = orm.automap(made("CREATE TABLE a (id INTEGER PRIMARY KEY)", "CREATE TABLE b (id INTEGER PRIMARY KEY)",
      "CREATE TABLE plain (a INT REFERENCES a, b INT REFERENCES b)",
      "CREATE TABLE dated (a INT REFERENCES a, b INT REFERENCES b, since DATE, PRIMARY KEY (a, b))",
      "CREATE TABLE keyed (a INT REFERENCES a, b INT REFERENCES b, PRIMARY KEY (a, b))",
      "CREATE TABLE note (id INTEGER PRIMARY KEY, a INT, b INT, FOREIGN KEY (a, b) REFERENCES keyed)"))
    assert.same("A B Base Dated Keyed Note", keys(models))
    assert.truthy(models.A.b_collection)
  end)

  it("keeps tables without a key as tables", function()
    local models = orm.automap(made("CREATE TABLE log (line TEXT)", "CREATE VIEW v AS SELECT 1 AS x"))
    assert.same("Base", keys(models))
    assert.same("line", models.Base.metadata.tables.log.columns[1].name)
    raises("ArgumentError", "the database gives no model 'Log'", function() return models.Log end)
  end)

  it("renames and filters", function()
    local engine = made((table.unpack or unpack)(AUTHORS))
    assert.same("Base Tag", keys(orm.automap(engine, { only = { "tag" } })))
    assert.same("Author Base Tag", keys(orm.automap(engine, { only = function(name) return not name:find("book") end })))
    assert.same("Author Base Book Tag", keys(orm.automap(engine, { rename = { book_title = "Book" } })))
    local models = orm.automap(engine, {
      rename = function(name) return name == "tag" and "Keyword" or nil end,
      name_for_scalar_relationship = function(_, other) return "the_" .. other:lower() end,
      name_for_collection_relationship = function(_, other) return other:lower() .. "s" end,
    })
    orm.configure_mappers()
    assert.truthy(models.Keyword.booktitles and models.BookTitle.keywords and models.BookTitle.the_author
      and models.Author.booktitles)
  end)

  it("takes classes that are declared on the base, which get the relationships", function()
    local engine = made((table.unpack or unpack)(AUTHORS))
    local base = orm.declarative_base()
    local Writer = base:model("Writer", { __tablename__ = "author", id = orm.Column(orm.Integer, { primary_key = true }),
      pen_name = orm.Column("name", orm.Text) })
    function Writer:shout() return self.pen_name:upper() end
    local models = orm.automap(engine, { base = base })
    assert.same("Base BookTitle Tag Writer", keys(models))
    assert.equal(Writer, models.Writer)
    local session = orm.Session(engine)
    local ann = session:get(Writer, 1)
    assert.same({ "ANN", 2, ann }, { ann:shout(), #ann.book_title_collection, ann.book_title_collection[1].author })
    raises("ArgumentError", "base must be a declarative_base", orm.automap, engine, { base = {} })
  end)

  it("says what is wrong with its options", function()
    local engine = made((table.unpack or unpack)(AUTHORS))
    raises("ArgumentError", "unknown option 'onyl'; did you mean 'only'?", orm.automap, engine, { onyl = {} })
    raises("InvalidRequestError", "only names 'tga', which the database does not have; did you mean 'tag'?", orm.automap,
      engine, { only = { "tga" } })
    raises("ArgumentError", "rename names the table 'tga'", orm.automap, engine, { rename = { tga = "Tag" } })
    raises("ArgumentError", "rename must give a name, got 5", orm.automap, engine, { rename = function() return 5 end })
    raises("ArgumentError", "rename must be a table of names or a function", orm.automap, engine, { rename = "x" })
    raises("ArgumentError", "an engine or a connection expected", orm.automap, "sqlite://")
    raises("ArgumentError", "name_for_scalar_relationship must be a function", orm.automap, engine,
      { name_for_scalar_relationship = "x" })
  end)

  local CHINOOK, PROJ = "../shared/data/chinook.sqlite", "/usr/share/proj/proj.db"

  if exists(CHINOOK) then
    it("opens Chinook in three lines", function()
      local engine = orm.create_engine("sqlite:///" .. CHINOOK .. "?mode=ro")
      local models = orm.automap(engine)
      local session = orm.Session(engine)
      local album = session:get(models.Album, 1)
      assert.same({ "AC/DC", 10, "MPEG audio file" },
        { album.artist.Name, #album.track_collection, album.track_collection[1].mediatype.Name })
    end)
  end

  if exists(PROJ) then
    it("opens PROJ, with its composite keys and odd types", function()
      local engine = orm.create_engine("sqlite:///" .. PROJ .. "?mode=ro")
      local models = orm.automap(engine)
      orm.configure_mappers()
      local session = orm.Session(engine)
      local wgs84 = session:get(models.GeodeticCrs, { "EPSG", 4326 })
      assert.same({ "WGS 84", "WGS 84", 2 },
        { wgs84.name, wgs84.geodetic_datum.ellipsoid.name, #wgs84.coordinate_system.axis_collection })
      assert.truthy(models.HelmertTransformationTable.source_crs)
    end)
  end
end)
