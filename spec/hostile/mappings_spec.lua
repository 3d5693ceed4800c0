-- Mappings that ask for trouble: each works as declared, or fails where it is declared with an error that names class and
-- attribute, and nothing is sent to the database.
local orm = require "orrery"
local raises = require "spec.support.raises"
local Integer, Text, Mapped, Optional, ForeignKey, relationship = orm.Integer, orm.Text, orm.Mapped, orm.Optional,
  orm.ForeignKey, orm.relationship

local base

before_each(function()
  base = orm.declarative_base()
end)

local function key(kind)
  return Mapped(kind or Integer, { primary_key = true })
end

local function open()
  local engine = orm.create_engine("sqlite://")
  base.metadata:create_all(engine)
  return orm.Session(engine), engine
end

-- Declares a class, configures it and makes its tables.
local function declare(name, body)
  base:model(name, body)
  base.registry:configure()
  open()
end

local function warnings(fn)
  local said = {}
  local before = orm.on_warning(function(message) said[#said + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(before)
  assert(ok, tostring(err))
  return table.concat(said, "\n")
end

describe("keys", function()
  it("that are texts differ byte for byte", function()
    local A = base:model("A", { __tablename__ = "a", p = key(Text) })
    local session = open()
    for _, text in ipairs{ "", "\0", "a", "A", "a\0b", "a\0c", "a ", "e\204\129", "\195\169" } do
      session:add(A{ p = text })
    end
    session:commit()
    for _, text in ipairs{ "", "\0", "a", "A", "a\0b", "a\0c", "a ", "e\204\129", "\195\169" } do
      assert.equal(text, session:get(A, text).p)
    end
    assert.not_equal(session:get(A, "a\0b"), session:get(A, "a\0c"))
  end)

  it("that are floats and integers do not meet those of other classes", function()
    local A = base:model("A", { __tablename__ = "a", p = key(orm.Float) })
    local B = base:model("B", { __tablename__ = "b", p = key() })
    local session = open()
    session:add_all{ A{ p = 1.0 }, B{ p = 1 } }
    session:commit()
    assert.not_equal(session:get(A, 1), session:get(B, 1))
    assert.equal(session:get(A, 1.0), session:get(A, 1))
  end)

  it("are never NULL, whatever the class body says", function()
    local A = base:model("A", { __tablename__ = "a", p = key(), q = Mapped(Optional(Integer), { primary_key = true }) })
    local session = open()
    session:add(A{ p = 1 })
    raises("FlushError", "A.q: the primary key has no value", session.flush, session)
  end)
end)

describe("foreign keys", function()
  it("to what is not declared are found before any SQL", function()
    raises("NoReferencedTableError", { "a.n", "nowhere" }, declare, "A", { __tablename__ = "a", id = key(),
      n = Mapped(Integer, ForeignKey("nowhere.id")) })
    base = orm.declarative_base()
    base:model("B", { __tablename__ = "b", id = key() })
    raises("NoReferencedColumnError", { "a.n", "'nr' of table 'b'" }, declare, "A", { __tablename__ = "a", id = key(),
      n = Mapped(Integer, ForeignKey("b.nr")) })
  end)

  it("that a database will refuse are warned of", function()
    base:model("B", { __tablename__ = "b", id = key(), nr = Mapped(Integer) })
    local said = warnings(function()
      declare("A", { __tablename__ = "a", id = key(), n = Mapped(Integer, ForeignKey("b.nr")),
        t = Mapped(Text, ForeignKey("b.id")) })
    end)
    assert.truthy(said:find("'a.n' refers to 'b.nr', which is neither a primary key nor unique", 1, true))
    assert.truthy(said:find("'a.t' is Text, but 'b.id', to which it refers, is Integer", 1, true))
  end)

  it("may lead 5,000 rows deep", function()
    local Node = base:model("Node", { __tablename__ = "node", id = key(),
      up_id = Mapped(Optional(Integer), ForeignKey("node.id")),
      up = relationship("Node", { back_populates = "below", remote_side = "id" }),
      below = relationship("Node", { back_populates = "up", cascade = "all, delete-orphan" }) })
    local session = open()
    local top = Node{}
    local node = top
    for _ = 1, 5000 do
      local one = Node{}
      one.up = node
      node = one
    end
    session:add(top)
    session:commit()
    assert.equal(5001, session:query(Node):count())
    session:delete(top)
    session:commit()
    assert.equal(0, session:query(Node):count())
  end)

  it("in a circle of new objects need post_update, and say so", function()
    local function pair(options)
      base = orm.declarative_base()
      options.remote_side = "id"
      local A = base:model("A", { __tablename__ = "a", id = key(), b_id = Mapped(Optional(Integer), ForeignKey("a.id")),
        b = relationship("A", options) })
      local session, one, two = open(), A{}, A{}
      one.b, two.b = two, one
      session:add_all{ one, two }
      return session, one, two
    end
    local session = pair{}
    raises("CircularDependencyError", "post_update = true", session.flush, session)
    local one, two
    session, one, two = pair{ post_update = true }
    session:flush()
    session:delete(one)
    session:delete(two)
    session:commit()
    assert.equal(0, session:scalar(orm.text("SELECT count(*) FROM a")))
  end)
end)

describe("names", function()
  it("of a table and its columns may be SQL's own words", function()
    local A = base:model("A", { __tablename__ = "select", id = key(), from = Mapped(Text), where = Mapped(Text),
      order = Mapped(Text), group = Mapped(Text) })
    local session = open()
    session:add(A{ from = "1", where = "2", order = "3", group = "4" })
    session:commit()
    assert.equal("2", session:query(A):filter_by{ group = "4" }:order_by("from"):one().where)
  end)

  it("of a table may hold a quote, a semicolon and a line's end", function()
    local A = base:model("A", { __tablename__ = 'a";\nb', id = key() })
    local session, engine = open()
    session:add(A{})
    session:commit()
    assert.equal(1, orm.Session(engine):query(orm.automap(engine).AB):count())
  end)

  it("of columns may be those of metamethods, and stay data", function()
    local engine = orm.create_engine("sqlite://")
    engine:begin(function(conn)
      conn:exec_driver_sql('CREATE TABLE t (id INTEGER PRIMARY KEY, "__index" TEXT, "__newindex" TEXT, "__gc" TEXT, '
        .. '"__metatable" TEXT, metadata TEXT, query TEXT)')
      conn:exec_driver_sql("INSERT INTO t VALUES (1, 'i', 'n', 'g', 'm', 'd', 'q')")
    end)
    local session, T = orm.Session(engine), orm.automap(engine).T
    local one = session:get(T, 1)
    assert.same({ "i", "n", "g", "m", "d", "q" },
      { one.__index, one.__newindex, one.__gc, one.__metatable, one.metadata, one.query })
    one.__gc = "other"
    session:commit()
    assert.equal("other", one.__gc)
    session:close()
  end)

  it("of a class, a column and a method are taken once", function()
    base:model("A", { __tablename__ = "a", id = key() })
    raises("ArgumentError", "class 'A' is declared twice", base.model, base, "A", { __tablename__ = "b", id = key() })
    raises("ArgumentError", { "'x'", "declared twice" }, base.model, base, "C", { __tablename__ = "c", id = key(),
      x = orm.mapped_column("x", Text), y = orm.mapped_column("x", Text) })
    local D = base:model("D", { __tablename__ = "d", id = key(), save = Mapped(Text) })
    raises("ArgumentError", "D.save is a mapped attribute", function() D.save = print end)
  end)

  it("that the session has may be columns and relationships", function()
    local A = base:model("A", { __tablename__ = "a", id = key(), delete = Mapped(Text), save = relationship("B") })
    local B = base:model("B", { __tablename__ = "b", id = key(), a_id = Mapped(ForeignKey("a.id")) })
    local session = open()
    local one = A{ delete = "x", save = { B{} } }
    session:add(one)
    session:commit()
    assert.same({ "x", 1 }, { one.delete, #one.save })
  end)
end)

describe("relationships", function()
  it("that point back to nothing name both sides", function()
    base:model("B", { __tablename__ = "b", id = key(), a_id = Mapped(ForeignKey("a.id")) })
    raises("InvalidRequestError", { "A.bs", "'B.aa'" }, declare, "A", { __tablename__ = "a", id = key(),
      bs = relationship("B", { back_populates = "aa" }) })
  end)

  it("to a class of another base name the foreign key that leads out", function()
    local B = orm.declarative_base():model("B", { __tablename__ = "b", id = key() })
    raises("NoReferencedTableError", "'a.b_id' refers to table 'b'", declare, "A", { __tablename__ = "a", id = key(),
      b_id = Mapped(Integer, ForeignKey("b.id")), b = relationship(B) })
  end)
end)

describe("tables", function()
  it("may have 2,000 columns, and one more is the database's error", function()
    local function wide(count)
      base = orm.declarative_base()
      local body = { __tablename__ = "wide", id = key() }
      for number = 2, count do
        body["c" .. number] = orm.mapped_column(Integer)
      end
      return base:model("Wide", body)
    end
    local Wide = wide(2000)
    local session = open()
    local one = Wide{ c7 = 1 }
    session:add(one)
    session:commit()
    one.c2000 = 2
    session:commit()
    assert.equal(2, session:query(Wide):one().c2000)
    wide(2001)
    raises("OperationalError", "too many columns on wide", open)
  end)

  it("take no columns any more once their class is in use", function()
    local A = base:model("A", { __tablename__ = "a", id = key() })
    open():add(A{})
    raises("InvalidRequestError", "table 'a' is in use already", A.__table__.append_column, A.__table__, orm.Column("x", Integer))
    raises("InvalidRequestError", { "A", "'x' comes too late" }, function() A.x = orm.mapped_column(Integer) end)
  end)
end)

describe("a version", function()
  it("that does not count, or is the key, is refused", function()
    raises("ArgumentError", { "A.v", "is Text, which does not count" }, declare, "A", { __tablename__ = "a", id = key(),
      v = Mapped(Text), __mapper_args__ = { version_id_col = "v" } })
    base = orm.declarative_base()
    raises("ArgumentError", { "B.id", "part of the primary key" }, declare, "B", { __tablename__ = "b", id = key(),
      __mapper_args__ = { version_id_col = "id" } })
  end)
end)

describe("functions of a script", function()
  it("that fail undo what was not committed, and no more", function()
    for _, case in ipairs{ { "before_flush", 0 }, { "after_flush", 0 }, { "after_commit", 1 } } do
      base = orm.declarative_base()
      local A = base:model("A", { __tablename__ = "a", id = key() })
      local session, engine = open()
      orm.event.listen(session, case[1], function() error("the hook failed") end, { once = true })
      session:add(A{})
      local ok, err = pcall(session.commit, session)
      assert.is_false(ok)
      assert.truthy(tostring(err):find("the hook failed", 1, true))
      session:rollback()
      assert.equal(case[2], orm.Session(engine):query(A):count())
      session:add(A{})
      session:commit()
    end
  end)

  it("of types that return what does not fit are errors that name the attribute", function()
    for _, value in ipairs{ {}, print, 0 / 0, true, "x" } do
      base = orm.declarative_base()
      local kind = orm.TypeDecorator("Odd", { impl = orm.Float, process_bind_param = function() return value end })
      local A = base:model("A", { __tablename__ = "a", id = key(), v = orm.mapped_column(kind) })
      local session = open()
      local ok, err = pcall(function()
        session:add(A{ v = 1 })
        session:flush()
      end)
      assert.is_false(ok)
      assert.truthy(tostring(err):find("A.v", 1, true), tostring(err))
    end
  end)
end)
