-- orm.diagram(): tables and their foreign keys as text for Mermaid and Graphviz.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local Integer, Table, Column = orm.Integer, orm.Table, orm.Column

local function people()
  local metadata = orm.MetaData()
  Table("person", metadata, Column("id", Integer, { primary_key = true }),
    Column("name", orm.String(30), { unique = true, nullable = false }), Column("boss_id", orm.ForeignKey("person.id")))
  Table("passport", metadata, Column("nr", orm.Numeric(10, 2), { primary_key = true }),
    Column("person_id", orm.ForeignKey("person.id"), { unique = true, nullable = false }))
  return metadata
end

describe("diagram()", function()
  it("draws tables, columns, keys and how many rows meet, for Mermaid", function()
    assert.equal(table.concat({
      "erDiagram",
      "    person {",
      "        INTEGER id PK",
      "        VARCHAR(30) name UK",
      "        INTEGER boss_id FK",
      "    }",
      "    passport {",
      "        NUMERIC nr PK",
      "        INTEGER person_id FK, UK",
      "    }",
      '    person |o--o{ person : "boss_id"',
      '    person ||--o| passport : "person_id"',
    }, "\n"), orm.diagram(people()))
  end)

  it("draws the same for Graphviz", function()
    local text = orm.diagram(people(), { format = "dot" })
    assert.truthy(text:find('^digraph tables {\n'))
    assert.truthy(text:find('\n  "person" [label=<<TABLE', 1, true))
    assert.truthy(text:find('PORT="c2">name <FONT COLOR="#666666">VARCHAR(30)</FONT> <B>UK</B>', 1, true))
    assert.truthy(text:find('\n  "person":c3 -> "person":c1 [arrowtail=crowodot, arrowhead=teeodot, tooltip="boss_id"];',
      1, true))
    assert.truthy(text:find('\n  "passport":c2 -> "person":c1 [arrowtail=teeodot, arrowhead=teetee, ', 1, true))
    assert.truthy(text:find('\n}$'))
  end)

  it("leaves columns out, and takes some tables only", function()
    assert.equal('erDiagram\n    person\n    person |o--o{ person : "boss_id"',
      orm.diagram(people(), { columns = false, tables = { "person" } }))
    assert.equal('erDiagram\n    passport', orm.diagram(people(), { columns = false, tables = { "passport" } }))
    assert.truthy(orm.diagram(people(), { columns = false, format = "dot" }):find('"passport" -> "person" [', 1, true))
  end)

  it("takes a declarative base and the models of automap", function()
    local lib = library.open()
    local text = orm.diagram(lib.base, { columns = false })
    assert.truthy(text:find('author |o--o{ book : "author_id"', 1, true))
    assert.truthy(text:find('book ||--o{ book_tag : "book_id"', 1, true))
    assert.equal(text, orm.diagram(orm.automap(lib.engine), { columns = false }))
  end)

  it("keeps names inside their quotes, whatever they are", function()
    local metadata = orm.MetaData()
    Table('a "b"\n%x', metadata, Column("id", Integer, { primary_key = true }), Column("1 <x>&\"\\", orm.Text))
    Table("class", metadata, Column("é", Integer, orm.ForeignKey('a "b"\n%x.id'), { primary_key = true }))
    assert.equal(table.concat({
      "erDiagram",
      "    \"a 'b'__x\" {",
      "        INTEGER id PK",
      "        TEXT _1__x____",
      "    }",
      '    "class" {',
      "        INTEGER é PK, FK",
      "    }",
      "    \"a 'b'__x\" ||--o| \"class\" : \"é\"",
    }, "\n"), orm.diagram(metadata))
    local dot = orm.diagram(metadata, { format = "dot" })
    assert.truthy(dot:find('\n  "a \\"b\\" %x" [label=', 1, true))
    assert.truthy(dot:find("1 &lt;x&gt;&amp;&quot;\\ <FONT", 1, true))
  end)

  it("refuses what it does not know", function()
    raises("ArgumentError", "a MetaData, a declarative base", orm.diagram, {})
    raises("ArgumentError", "a MetaData, a declarative base", orm.diagram, "x")
    raises("ArgumentError", "did you mean 'mermaid'", orm.diagram, people(), { format = "mermaids" })
    raises("ArgumentError", "did you mean 'person'", orm.diagram, people(), { tables = { "persn" } })
    raises("ArgumentError", "columns must be true or false", orm.diagram, people(), { columns = 1 })
    raises("ArgumentError", "unknown option 'formt'", orm.diagram, people(), { formt = "dot" })
  end)
end)
