-- Types with another one in their place in some databases.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local select = orm.select

local Document = orm.JSON:with_variant(orm.Text, "sqlite")
local Name = orm.String(5):with_variant(orm.Text, "postgresql")

describe("a type with variants", function()
  it("has the variant's name in the DDL of its database only", function()
    local metadata = orm.MetaData()
    local tbl = orm.Table("t", metadata, orm.Column("document", Document), orm.Column("name", Name))
    assert.equal("CREATE TABLE t (\n\tdocument TEXT, \n\tname VARCHAR(5)\n)",
      (orm.CreateTable(tbl):compile("sqlite"):gsub(",\n", ", \n")))
    assert.equal("CREATE TABLE t (\n\tdocument JSON, \n\tname TEXT\n)",
      (orm.CreateTable(tbl):compile{ dialect = "postgresql" }:gsub(",\n", ", \n")))
    assert.equal("CAST(t.name AS TEXT)", tbl.c.name:cast(Name):compile("postgresql").sql)
    assert.equal("CAST(t.name AS VARCHAR(5))", tbl.c.name:cast(Name):compile().sql)
  end)

  it("takes and gives values as the variant of the database that runs", function()
    local Base = orm.declarative_base()
    local Note = Base:model("Note", {
      __tablename__ = "note",
      id   = orm.Mapped(orm.Integer, { primary_key = true }),
      body = orm.Mapped(Document),
      name = orm.Mapped(Name),
    })
    local engine = database.create(Base)
    local session = orm.Session(engine)
    session:add(Note{ body = "{not JSON", name = "abcde" })
    session:commit()
    assert.same({ "1|{not JSON|abcde" }, database.rows(engine, "SELECT * FROM note"))
    assert.equal("{not JSON", session:scalars(select(Note):where(Note.body:eq("{not JSON"))):one().body)
    raises("ArgumentError", "Note.name: a string of at most 5 characters", Note, { name = "abcdef" })
    raises("ArgumentError", "Note.body: a string expected", Note, { body = {} })
  end)

  it("writes literals of each database", function()
    local value = orm.literal("2024-01-01", orm.Text:with_variant(orm.Date, "sqlite"))
    assert.equal("'2024-01-01'", value:compile{ literal_binds = true }.sql)
    raises("ArgumentError", "a date like", function()
      return orm.literal("yesterday", orm.Text:with_variant(orm.Date, "sqlite")):compile{ literal_binds = true }
    end)
    assert.equal("'yesterday'", orm.literal("yesterday", orm.Text:with_variant(orm.Date, "sqlite"))
      :compile{ dialect = "postgresql", literal_binds = true }.sql)
  end)

  it("may have several, for several databases, and prints as what it is elsewhere", function()
    local kind = orm.Integer:with_variant(orm.BigInteger, "postgresql"):with_variant(orm.Text, "sqlite")
    assert.equal("BIGINT", kind:ddl(orm.dialects.postgresql))
    assert.equal("TEXT", kind:ddl(orm.dialects.sqlite))
    assert.equal("x", kind:to_db("x"))
    assert.equal("Integer", tostring(kind))
    local both = orm.Integer:with_variant(orm.BigInteger, "postgresql", "sqlite")
    assert.equal("BIGINT", both:ddl(orm.dialects.sqlite))
  end)

  it("may be one of the script's own, or be wrapped by it", function()
    local Upper = orm.TypeDecorator("Upper", { impl = Name, process_bind_param = function(_, value)
      return value:upper()
    end })
    assert.equal("ABC", Upper:to_db("abc"))
    assert.equal("TEXT", Upper:ddl(orm.dialects.postgresql))
    assert.equal("VARCHAR(5)", Upper:ddl(orm.dialects.sqlite))
    local varied = orm.Text:with_variant(Upper, "sqlite")
    assert.equal("ABC", varied:to_db("abc"))
    assert.equal("TEXT", varied:ddl(orm.dialects.postgresql))
  end)

  it("wraps what a type of a database is, whatever the wrapper's name", function()
    local Bytes = orm.TypeDecorator("Uuid", { impl = orm.LargeBinary })
    assert.equal("BYTEA", Bytes:ddl(orm.dialects.postgresql))
  end)

  it("says what is wrong with its names", function()
    raises("ArgumentError", "there is no dialect 'postgres'; did you mean 'postgresql'?", orm.Text.with_variant, orm.Text,
      orm.JSON, "postgres")
    raises("ArgumentError", "String(5) has a variant for 'postgresql' already", Name.with_variant, Name, orm.JSON,
      "postgresql")
    raises("ArgumentError", "names of dialects expected", orm.Text.with_variant, orm.Text, orm.JSON)
    raises("ArgumentError", "with_variant(): a type such as orm.Integer expected", orm.Text.with_variant, orm.Text, nil,
      "sqlite")
  end)
end)
