-- lua/orrery/schema.lua, column.lua, constraint.lua: tables as a script declares them.
local orm = require "orrery"
local Integer, String, Text, Table, Column = orm.Integer, orm.String, orm.Text, orm.Table, orm.Column
local ForeignKey, ForeignKeyConstraint = orm.ForeignKey, orm.ForeignKeyConstraint

local function fails(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.same(message, err.message)
  return err.kind
end

local function names(list)
  local found = {}
  for position, one in ipairs(list) do
    found[position] = one.name
  end
  return table.concat(found, " ")
end

local function key()
  return Column("id", Integer, { primary_key = true })
end

describe("Table", function()
  local metadata

  before_each(function()
    metadata = orm.MetaData()
  end)

  it("has its columns by name and in order", function()
    local t = Table("t", metadata, key(), Column("b", Text), Column("a", Text))
    assert.same("id b a", names(t.columns))
    assert.equal(t.columns[3], t.c.a)
    assert.same({ 3, "t", t }, { t.c.a.position, t.name, t.c.a.table })
    assert.equal(t, metadata.tables.t)
    assert.same("Table 't'", tostring(t))
  end)

  it("says which column is missing, and which one was meant", function()
    local t = Table("user", metadata, key(), Column("email", Text))
    assert.same("NoSuchColumnError", fails("table 'user' has no column 'emial'; did you mean 'email'?", function()
      return t.c.emial
    end))
  end)

  it("has columns under other keys", function()
    local t = Table("t", metadata, Column("user_name", Text, { key = "name" }), orm.UniqueConstraint("name"))
    assert.same("user_name", t.c.name.name)
    assert.equal(t.c.name, t.constraints[1].columns[1])
  end)

  it("takes columns and constraints later, until it is in use", function()
    local t = Table("t", metadata, key())
    t:append_column(Column("a", Text))
    t:append_constraint(orm.UniqueConstraint("a"))
    assert.same({ 2, 1 }, { t.c.a.position, #t.constraints })
    t:_freeze()
    local text = "table 't' is in use already: columns and keys are added before the first use"
    fails(text, t.append_column, t, Column("b", Text))
    fails(text, Table, "t", metadata, Column("b", Text), { extend_existing = true })
  end)

  it("does not let columns be assigned", function()
    local t = Table("t", metadata, key())
    fails("table 't': column 'x' cannot be assigned; use append_column()", function()
      t.c.x = Column("x", Text)
    end)
    fails("Table 't': 'x' cannot be assigned; columns and constraints are arguments of Table(), or are added with "
      .. "append_column() and append_constraint()", function()
      t.x = 1
    end)
  end)

  it("is given by its name alone once it is declared", function()
    local t = Table("t", metadata, key())
    assert.equal(t, Table("t", metadata))
    assert.equal(t, Table("t", metadata, Column("x", Text), { keep_existing = true }))
  end)

  it("is declared once", function()
    Table("t", metadata, key())
    assert.same("InvalidRequestError", fails("Table 't' is declared in this MetaData already; "
      .. "{ extend_existing = true } adds to it, another name makes another table", Table, "t", metadata, key()))
  end)

  it("is extended where that is asked for, the columns given taking the place of those there", function()
    local t = Table("t", metadata, key(), Column("a", Text, { unique = true }), Column("b", Text))
    local other = Table("other", metadata, Column("t_id", ForeignKey("t.id")))
    assert.equal(t, Table("t", metadata, Column("a", Integer), Column("c", Text), { extend_existing = true }))
    assert.same({ "id a b c", "Integer", 0 }, { names(t.columns), t.c.a.type.name, #t.constraints })
    assert.equal(t.c.id, other.c.t_id.foreign_keys[1].column)
  end)

  it("stands under its schema's name", function()
    local t = Table("t", metadata, key(), { schema = "archive" })
    local plain = Table("t", metadata, key())
    local other = Table("u", metadata, Column("t_id", ForeignKey("archive.t.id")))
    assert.same({ t, plain, "archive.t" }, { metadata.tables["archive.t"], metadata.tables.t, t.fullname })
    assert.equal(t.c.id, other.c.t_id.foreign_keys[1].column)
  end)

  it("takes the schema of its MetaData, as foreign keys do", function()
    local own = orm.MetaData{ schema = "main" }
    local t = Table("t", own, key())
    local u = Table("u", own, Column("t_id", ForeignKey("t.id")))
    assert.same({ "main.t", t }, { t.fullname, u.c.t_id.foreign_keys[1].column.table })
  end)

  it("may have any name that is a string", function()
    local t = Table('a "b"; c\n', metadata, Column("select", Integer, { primary_key = true }))
    assert.equal(t, metadata.tables['a "b"; c\n'])
    fails("Table(): a name is a string that is not empty and has no NUL byte, got 5", Table, 5, metadata)
    fails("Table(): a name is a string that is not empty and has no NUL byte, got ''", Table, "", metadata)
    fails("Table(): a name is a string that is not empty and has no NUL byte, got 'a\\0b'", Table, "a\0b", metadata)
    fails("Table(): a name is text in UTF-8, got 'a\\255'", Table, "a\255", metadata)
  end)

  it("refuses what is no column", function()
    local call = "Table 't': argument 3 must be a Column, a constraint or an Index, got "
    fails("Table 't': argument 2 must be a MetaData, got nil", Table, "t")
    fails("Table 't': argument 2 must be a MetaData, got " .. tostring(Text), Table, "t", Text)
    fails(call .. "'id'", Table, "t", metadata, "id")
    fails(call .. "Integer", Table, "t", metadata, Integer)
    fails(call .. "ForeignKey('a.b'); a ForeignKey stands in its Column", Table, "t", metadata, ForeignKey "a.b")
    fails("Table 't': argument 1 is nil (is a name misspelt?)", Table, "t", metadata, nil, key())
    fails("Table 't': argument 3 is a column without a name", Table, "t", metadata, Column(Integer))
    fails("Table 't': unknown option 'schemas'; did you mean 'schema'?", Table, "t", metadata, key(), { schemas = "x" })
    assert.is_nil(metadata.tables.t)
  end)

  it("points from a class's base to its metadata", function()
    fails("Table 't': argument 2 must be a MetaData, got X; pass its .metadata", Table, "t",
      setmetatable({ metadata = metadata }, { __tostring = function() return "X" end }))
  end)

  it("is forgotten", function()
    local t = Table("t", metadata, key())
    Table("u", metadata, Column("t_id", ForeignKey("t.id")))
    metadata:remove(t)
    assert.is_nil(metadata.tables.t)
    assert.same("NoReferencedTableError", fails("Foreign key 'u.t_id' refers to table 't', which is not declared",
      function() return metadata.sorted_tables end))
    metadata:clear()
    assert.same({}, metadata.sorted_tables)
  end)

  it("joins another by their foreign key", function()
    local author = Table("author", metadata, key())
    local book = Table("book", metadata, key(), Column("author_id", ForeignKey("author.id")))
    assert.truthy(tostring(orm.select(author:join(book))):find("FROM author JOIN book ON author.id = book.author_id", 1,
      true))
    assert.same("x", author:alias("x").name)
  end)
end)

describe("Column", function()
  it("has defaults for everything that is not said", function()
    local c = Column("c", Integer)
    assert.same({ true, false, false, false, "auto" },
      { c.nullable, c.primary_key, c.unique, c.index, c.autoincrement })
    assert.is_false(Column("id", Integer, { primary_key = true }).nullable)
  end)

  it("counts in the order of the text", function()
    local a, b = Column(Integer), Column(Text)
    assert.is_true(a.order < b.order)
  end)

  it("gets its name and table later", function()
    local c = Column(Integer, { primary_key = true })
    assert.is_nil(c.name)
    local t = Table("t", orm.MetaData())
    c:_attach(t, "id")
    assert.same({ "id", "id", 1, t }, { c.name, c.key, c.position, c.table })
    assert.equal(c, t.primary_key[1])
  end)

  it("is renamed by a string first, or by the option", function()
    assert.same({ "end", "other" }, { Column("end", Text).name, Column(Text, { name = "other" }).name })
  end)

  it("takes its type from the column that it refers to, at the end of a chain", function()
    local metadata = orm.MetaData()
    local c = Table("c", metadata, Column("id", ForeignKey("b.id"))).c.id
    fails("Foreign key 'c.id' refers to table 'b', which is not declared", function() return c.type end)
    Table("b", metadata, Column("id", ForeignKey("a.id"), { primary_key = true }))
    local a = Table("a", metadata, Column("id", String(7), { primary_key = true }))
    assert.equal(a.c.id.type, c.type)
    assert.same(7, c.type.length)
  end)

  it("has no type when its chain of foreign keys bites its tail", function()
    local t = Table("t", orm.MetaData(), Column("a", ForeignKey("t.b")), Column("b", ForeignKey("t.a")))
    fails("Column 't.a' has no type; give it one such as orm.Integer, or a ForeignKey to a column that has one",
      function() return t.c.a.type end)
  end)

  it("refers to column objects, declared before or after", function()
    local metadata = orm.MetaData()
    local id = Column("id", Integer, { primary_key = true })
    local child = Table("child", metadata, Column("parent_id", ForeignKey(id)))
    local parent = Table("parent", metadata, id)
    assert.equal(id, child.c.parent_id.foreign_keys[1].column)
    assert.same({ "parent", "child" }, { metadata.sorted_tables[1].name, metadata.sorted_tables[2].name })
    assert.is_true(child.c.parent_id:references(parent))
    fails("foreign key 'x.y': 'parent.id' belongs to another MetaData", Table, "x", orm.MetaData(),
      Column("y", ForeignKey(parent.c.id)))
  end)

  it("is copied for another table, foreign keys included", function()
    local metadata = orm.MetaData()
    Table("a", metadata, key())
    local first = Table("x", metadata, Column("a_id", Integer, ForeignKey("a.id"), { index = true, nullable = false }))
    local copy = first.c.a_id:copy()
    local second = Table("y", metadata, copy)
    assert.same({ "y", false, "ix_y_a_id" }, { copy.table.name, copy.nullable, second.indexes[1].name })
    assert.equal(metadata.tables.a.c.id, copy.foreign_keys[1].column)
    fails("Column 'a_id' of table 'x' cannot be in table 'z' too; use column:copy()", Table, "z", metadata,
      first.c.a_id)
  end)

  -- arguments of Column(), message
  local mistakes = {
    { { "c", "Strng" }, "Column 'c': types are objects such as orm.String(30), got the string 'Strng'; did you mean "
      .. "'String'?" },
    { { "c", 5 }, "Column 'c': a type such as orm.Integer expected, got number" },
    { { "c", nil, {} }, "Column 'c': argument 2 is nil (is a name misspelt?)" },
    { { "c", Integer, String }, "Column 'c' has two types, Integer and String" },
    { { "c", Integer, { primarykey = true } }, "Column 'c': unknown option 'primarykey'; did you mean 'primary_key'?" },
    { { "c", Integer, { primary_key = "yes" } }, "Column 'c': primary_key must be true or false, got 'yes'" },
    { { "c", Integer, { primary_key = true, nullable = true } },
      "Column 'c': a primary key column cannot be nullable" },
    { { "c", Integer, { autoincrement = 1 } }, "Column 'c': autoincrement must be true, false or \"auto\", got 1" },
    { { "c", Integer, { default = "x" } }, "Column 'c': default: an integer expected, got 'x'" },
    { { "c", Integer, { server_default = print } }, "Column 'c': server_default must be a string, number, boolean or "
      .. "expression such as text(\"CURRENT_TIMESTAMP\"), got a function" },
    { { "c", Integer, orm.UniqueConstraint("c") }, "Column 'c': UniqueConstraint() is an argument of Table() (or of "
      .. "__table_args__), not of a column" },
    { { Integer, orm.Computed("a"), { default = 1 } }, "Column(): Computed() leaves no room for default" },
    { { Integer, orm.Identity(), { server_default = "1" } }, "Column(): Identity() leaves no room for "
      .. "server_default" },
    { { "c", orm.Identity(), orm.Computed("a") }, "Column 'c': Computed() and Identity() exclude each other" },
    { { "c", orm.Computed("a"), orm.Computed("b") }, "Column 'c' has Computed() twice" },
    { { "c", orm.Boolean, { server_default = -1.5 } }, "Column 'c': server_default: true or false expected, got -1.5" },
    { { "c", Text, { collation = 5 } }, "Column 'c': collation: a name is a string that is not empty and has no NUL "
      .. "byte, got 5" },
    { { Integer, { name = "" } }, "Column(): a name is a string that is not empty and has no NUL byte, got ''" },
  }
  for _, case in ipairs(mistakes) do
    it("refuses: " .. case[2], function()
      fails(case[2], Column, (table.unpack or unpack)(case[1], 1, 3 - (case[1][3] == nil and 1 or 0)))
    end)
  end

  it("needs a type or a foreign key, also one of the table", function()
    fails("Column 't.c' has no type; give it one such as orm.Integer, or a ForeignKey to a column that has one", Table,
      "t", orm.MetaData(), Column("c"))
    local t = Table("t", orm.MetaData(), Column("id", Text), Column("c"), ForeignKeyConstraint({ "c" }, { "t.id" }))
    assert.same("Text", t.c.c.type.name)
  end)

  it("is declared once on a table", function()
    fails("Column 'id' is declared twice on table 't'", Table, "t", orm.MetaData(), key(), key())
  end)
end)

describe("keys", function()
  local metadata

  before_each(function()
    metadata = orm.MetaData()
  end)

  it("of several columns are in the order of the columns, or as the constraint says", function()
    local t = Table("t", metadata, Column("a", Integer, { primary_key = true }), Column("x", Integer),
      Column("b", Integer, { primary_key = true }))
    assert.same("a b", names(t.primary_key))
    t = Table("u", metadata, Column("a", Integer), Column("b", Integer), orm.PrimaryKeyConstraint("b", "a"))
    assert.same({ "b a", true, false }, { names(t.primary_key), t.c.a.primary_key, t.c.a.nullable })
    fails("table 'v': column 'a' says primary_key = true, but the PrimaryKeyConstraint leaves it out", Table, "v",
      metadata, Column("a", Integer, { primary_key = true }), Column("b", Integer), orm.PrimaryKeyConstraint("b"))
  end)

  it("make an index and a unique constraint of the options", function()
    local t = Table("t", metadata, Column("a", Integer, { unique = true }), Column("b", Integer, { index = true }),
      Column("c", Integer, { index = true, unique = true }))
    assert.same({ 1, "unique", "ix_t_b ix_t_c", false, true },
      { #t.constraints, t.constraints[1].kind, names(t.indexes), t.indexes[1].unique, t.indexes[2].unique })
  end)

  it("of columns that do not exist say which", function()
    fails("UniqueConstraint(): table 't' has no column 'nmae'; did you mean 'name'?", Table, "t", metadata, key(),
      Column("name", Text), orm.UniqueConstraint("nmae"))
    fails("Index() 'ix': table 'u' has no column 'nmae'; there is id", Table, "u", metadata, key(),
      orm.Index("ix", "nmae"))
  end)

  it("are checked for what they consist of", function()
    fails("UniqueConstraint() needs at least one column", orm.UniqueConstraint)
    fails("UniqueConstraint(): argument 1 must be a column or its name, got 5", orm.UniqueConstraint, 5)
    fails("UniqueConstraint(): argument 2 is nil (is a name misspelt?)", orm.UniqueConstraint, "a", nil)
    fails("Index('ix') needs at least one column", orm.Index, "ix")
    fails("Index(): argument 1 is nil (is a name misspelt?); orm.null leaves the name to the naming convention", orm.Index)
  end)

  it("stand on tables that exist: an index of columns is its table's at once", function()
    local t = Table("t", metadata, key(), Column("name", Text))
    local index = orm.Index("ix_name", orm.func.lower(t.c.name))
    assert.equal(index, t.indexes[1])
    fails("Index() 'ix_name' belongs to table 't' already", t.append_constraint, t, index)
  end)
end)

describe("ForeignKey", function()
  it("refers to \"table.column\" or a column", function()
    for _, target in ipairs{ "author", 5, "" } do
      fails(("ForeignKey(): a foreign key refers to \"table.column\" or a column, got %s"):format(
        type(target) == "number" and "5" or "'" .. target .. "'"), ForeignKey, target)
    end
    fails("ForeignKey(): a foreign key refers to \"table.column\" or a column, got nil (is a name misspelt?)",
      ForeignKey)
  end)

  it("knows the words that reach SQL", function()
    fails("ForeignKey(): ondelete = 'CASCADES' is not known; did you mean 'CASCADE'?", ForeignKey, "a.b",
      { ondelete = "CASCADES" })
    fails("ForeignKey(): unknown option 'on_delete'; did you mean 'ondelete'?", ForeignKey, "a.b", { on_delete = "x" })
  end)

  it("of several columns refers to one table, column by column", function()
    local metadata = orm.MetaData()
    local orders = Table("orders", metadata, Column("shop", Integer, { primary_key = true }),
      Column("no", Integer, { primary_key = true }))
    local line = Table("line", metadata, Column("no"), Column("shop"),
      ForeignKeyConstraint({ "shop", "no" }, { "orders.shop", "orders.no" }))
    assert.equal(orders.c.no, line.c.no.foreign_keys[1].column)
    assert.equal(line.c.no.foreign_keys[1].constraint, line.c.shop.foreign_keys[1].constraint)
    fails("ForeignKeyConstraint() on 'x': all columns must refer to one table, got 'orders' and 'line'", Table, "x",
      metadata, Column("a"), Column("b"), ForeignKeyConstraint({ "a", "b" }, { "orders.shop", "line.no" }))
    fails("ForeignKeyConstraint(): 1 columns cannot refer to 2", ForeignKeyConstraint, { "a" }, { "b.c", "b.d" })
    fails("ForeignKeyConstraint(): two lists expected, { columns }, { \"table.column\", ... }", ForeignKeyConstraint,
      "a", "b.c")
  end)

  it("is looked up when it is read, naming both ends where there is nothing", function()
    local metadata = orm.MetaData()
    Table("author", metadata, key())
    local book = Table("book", metadata, Column("a", Integer, ForeignKey("author.idd")),
      Column("b", Integer, ForeignKey("auhtor.id")))
    assert.same("NoReferencedColumnError", fails("Foreign key 'book.a' refers to column 'idd' of table 'author', which "
      .. "has no such column; did you mean 'id'?", function() return book.c.a.foreign_keys[1].column end))
    assert.same("NoReferencedTableError", fails("Foreign key 'book.b' refers to table 'auhtor', which is not declared; "
      .. "did you mean 'author'?", function() return book.c.b.foreign_keys[1].column end))
  end)
end)

describe("what the database makes", function()
  it("is checked where it is declared", function()
    fails("Computed(): persisted must be true or false, got 'yes'", orm.Computed, "a", { persisted = "yes" })
    fails("Computed(): unknown option 'stored'; there is persisted", orm.Computed, "a", { stored = true })
    fails("Identity(): start must be a whole number, got 1.5", orm.Identity, { start = 1.5 })
    fails("Identity(): always must be true or false, got 1", orm.Identity, { always = 1 })
    assert.is_false(pcall(orm.Computed))
  end)

  it("is copied with its column", function()
    local t = Table("t", orm.MetaData(), key(), Column("a", Integer, orm.Computed("id + 1")))
    assert.equal(t.c.a.computed, t.c.a:copy().computed)
  end)
end)

describe("MetaData", function()
  it("sorts tables by what they refer to", function()
    local metadata = orm.MetaData()
    Table("line", metadata, Column("o", ForeignKey("orders.id")))
    Table("orders", metadata, key(), Column("c", ForeignKey("customer.id")))
    Table("other", metadata, key())
    Table("customer", metadata, key())
    assert.same("other customer orders line", names(metadata.sorted_tables))
  end)
end)
