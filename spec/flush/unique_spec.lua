-- Unique values that go from one row to another within one flush: swapped, rotated, passed on, taken over.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

-- T(id, code unique, a + b unique), K refers to T.
local function open(options)
  options = options or {}
  local base = orm.declarative_base()
  local place = {}
  place.T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
    code = orm.Column(options.type or orm.Text, { unique = true, nullable = options.nullable or false }),
    a = orm.Column(orm.Integer), b = orm.Column(orm.Integer), __table_args__ = { orm.UniqueConstraint("a", "b") },
    kids = not options.alone and orm.relationship("K", { back_populates = "t", order_by = "K.id" }) or nil })
  if not options.alone then
    place.K = base:model("K", { __tablename__ = "k", id = orm.Column(orm.Integer, { primary_key = true }),
      t_id = orm.Column(orm.ForeignKey("t.id", options.foreign_key)), t = orm.relationship("T", { back_populates = "kids" }) })
  end
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  run(place.engine, "INSERT INTO t VALUES (1, 'A', 1, 1), (2, 'B', 1, 2), (3, 'C', 1, 3)")
  if not options.alone then
    run(place.engine, "INSERT INTO k VALUES (1, 1), (2, 1)")
  end
  place.record = statements.record(place.engine)
  function place.all()
    local list = place.session:scalars(orm.select(place.T):order_by(place.T.id)):all()
    place.record:take()
    return (table.unpack or unpack)(list)
  end
  function place.codes()
    return rows(place.session, "SELECT id || code FROM t ORDER BY id")
  end
  return place
end

describe("unique values", function()
  it("go along a chain in the order that lets them, whatever the keys' order", function()
    local place = open()
    local one, two, three = place.all()
    one.code, two.code, three.code = "B", "C", "D"
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [[D, 3], [C, 2], [B, 1]]" }, place.record:take())
    one.code, two.code, three.code = "A", "B", "C"
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [[A, 1], [B, 2], [C, 3]]" }, place.record:take())
    assert.same({ "1A", "2B", "3C" }, place.codes())
  end)

  it("that nobody else has or had are updated in the order of keys, as ever", function()
    local place = open()
    local one, two, three = place.all()
    three.code, one.code, two.code = "X", "Y", "Z"
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [[Y, 1], [Z, 2], [X, 3]]" }, place.record:take())
  end)

  it("that are fractions and never NULL are swapped by way of numbers that nobody has", function()
    local place = open { type = orm.Float, alone = true }
    run(place.engine, "UPDATE t SET code = id + 0.5")
    local one, two, three = place.all()
    one.code, two.code, three.code = 2.5, 3.5, 1.5
    place.session:commit()
    assert.same({ "12.5", "23.5", "31.5" }, place.codes())
  end)

  it("that were NULL were nobody's: who takes one waits for nobody", function()
    local place = open { nullable = true, alone = true }
    run(place.engine, "UPDATE t SET code = NULL WHERE id < 3")
    local one, two, three = place.all()
    place.session:delete(two)
    one.code, three.code = "C", "X"
    place.session:add(place.T { id = 4, a = 2, b = 2 })
    place.session:commit()
    assert.same({ "1|C", "3|X", "4|NULL" }, rows(place.engine, "SELECT id, code FROM t ORDER BY id"))
  end)

  it("are swapped only between rows that are there still", function()
    local place = open()
    local one, two = place.all()
    place.session:execute(orm.text("DELETE FROM k"))
    place.session:execute(orm.text("DELETE FROM t WHERE id = 1"))
    one.code, two.code = "B", "A"
    raises("StaleDataError", "T", place.session.flush, place.session)
    place.session:rollback()
    assert.same({ "1A", "2B", "3C" }, place.codes())
  end)

  it("are swapped, by NULL where the column takes it", function()
    local place = open { nullable = true }
    local one, two = place.all()
    one.code, two.code = two.code, one.code
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [NULL, 1]", "UPDATE t SET code = ? WHERE id = ? [[A, 2], [B, 1]]" },
      place.record:take())
    assert.same({ "1B", "2A", "3C" }, place.codes())
    assert.same({ "B", "A" }, { one.code, two.code })
    place.session:rollback()
    assert.same({ "1A", "2B", "3C" }, place.codes())
    assert.same({ "A", "B" }, { one.code, two.code })
  end)

  it("are swapped, by a value that no row has where NULL is not taken", function()
    for _, kind in ipairs { orm.Text, orm.String(1), orm.LargeBinary } do
      local place = open { type = kind }
      if kind == orm.LargeBinary then
        run(place.engine, "UPDATE t SET code = CAST(code AS BLOB)")
      end
      local one, two = place.all()
      one.code, two.code = two.code, one.code
      place.session:flush()
      assert.same({ "UPDATE t SET code", "UPDATE t SET code" }, place.record:headlines())
      assert.same({ "1B", "2A", "3C" }, place.codes())
    end
    local place = open { type = orm.Integer }
    run(place.engine, "UPDATE t SET code = id * 10")
    local one, two = place.all()
    one.code, two.code = two.code, one.code
    place.session:commit()
    assert.same({ "120", "210", "330" }, place.codes())
  end)

  it("are rotated, with one value set aside", function()
    local place = open { nullable = true }
    local one, two, three = place.all()
    one.code, two.code, three.code = "B", "C", "A"
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [NULL, 1]",
      "UPDATE t SET code = ? WHERE id = ? [[A, 3], [C, 2], [B, 1]]" }, place.record:take())
    assert.same({ "1B", "2C", "3A" }, place.codes())
  end)

  it("of several columns together are swapped too", function()
    local place = open()
    local one, two, three = place.all()
    one.b, two.b, three.b = 3, 1, 2
    place.session:flush()
    assert.same({ "1|1|3", "2|1|1", "3|1|2" }, rows(place.session, "SELECT id, a, b FROM t ORDER BY id"))
  end)

  it("of several constraints at once are swapped", function()
    local place = open()
    local one, two, three = place.all()
    one.code, two.code, three.code = "C", "A", "B"
    one.b, two.b, three.b = 2, 3, 1
    place.session:commit()
    assert.same({ "1|C|2", "2|A|3", "3|B|1" }, rows(place.engine, "SELECT id, code, b FROM t ORDER BY id"))
  end)

  it("that are NULL are in nobody's way", function()
    local place = open { nullable = true }
    local one, two = place.all()
    one.code, two.code = nil, nil
    place.session:flush()
    assert.same({ "UPDATE t SET code = ? WHERE id = ? [[NULL, 1], [NULL, 2]]" }, place.record:take())
  end)

  it("that an update gives up go to a new row", function()
    local place = open()
    local one = place.all()
    place.session:add(place.T { code = "A" })
    one.code = "Z"
    place.session:flush()
    assert.same({ "UPDATE t SET code", "INSERT t" }, place.record:headlines())
  end)

  it("that two rows want are the error that they are", function()
    local place = open()
    local one, two = place.all()
    one.code, two.code = "C", "C"
    raises("IntegrityError", "UNIQUE", place.session.flush, place.session)
    assert.same({ "1A", "2B", "3C" }, rows(place.engine, "SELECT id || code FROM t ORDER BY id"))
    assert.same({ "C", "C" }, { one.code, two.code })
    place.session:rollback()
    assert.equal("A", one.code)
  end)

  it("of many rows are shuffled in one flush", function()
    local place = open { alone = true }
    for i = 4, 60 do
      run(place.session, ("INSERT INTO t (id, code) VALUES (%d, 'c%d')"):format(i, i))
    end
    local list = { place.all() }
    local codes = {}
    for i, object in ipairs(list) do
      codes[i] = object.code
    end
    for i, object in ipairs(list) do
      object.code = codes[(i * 37) % 60 + 1]
    end
    place.session:commit()
    local want = {}
    for i = 1, 60 do
      want[i] = i .. codes[(i * 37) % 60 + 1]
    end
    assert.same(want, place.codes())
  end)

  it("are known of objects that were expired, when it matters", function()
    local place = open()
    local one, two = place.all()
    place.session:commit()
    one.code, two.code = "B", "A"
    place.session:commit()
    assert.same({ "1B", "2A", "3C" }, place.codes())
    place.session:commit()
    place.session:delete(one)
    place.session:add(place.T { code = "B" })
    place.session:commit()
    assert.same({ "2A", "3C", "4B" }, place.codes())
  end)
end)

describe("a unique value of a row that is deleted", function()
  it("goes to a new one: the row goes first where nothing refers to it", function()
    local place = open { alone = true }
    local one = place.all()
    place.session:delete(one)
    place.session:add(place.T { code = "A" })
    place.session:flush()
    assert.same({ "DELETE FROM t WHERE id = ? [1]", "INSERT INTO t (code, a, b) VALUES (?, ?, ?) [A, NULL, NULL]" },
      place.record:take())
    assert.same({ "2B", "3C", "4A" }, place.codes())
  end)

  it("is set aside where others refer to it, so that they can be moved first", function()
    for _, what in ipairs { "CASCADE", "SET NULL", "RESTRICT", "NO ACTION" } do
      local place = open { foreign_key = { ondelete = what } }
      local one, new = place.all(), place.T { code = "A" }
      local kid = one.kids[1]
      place.session:add(new)
      new.kids:append(kid)
      place.session:delete(one)
      place.session:commit()
      assert.same({ "2B", "3C", "4A" }, place.codes())
      assert.same({ "1|4", "2|NULL" }, rows(place.engine, "SELECT * FROM k ORDER BY id"))
      assert.same({}, rows(place.engine, "PRAGMA foreign_key_check"))
    end
  end)

  it("goes to one that is updated", function()
    for _, options in ipairs { { alone = true }, {} } do
      local place = open(options)
      local one, two, three = place.all()
      place.session:delete(two)
      three.code, one.code = "B", "C"
      place.session:commit()
      assert.same({ "1C", "3B" }, place.codes())
    end
  end)

  it("may be several at once", function()
    local place = open { alone = true }
    local one, two, three = place.all()
    for _, object in ipairs { one, two, three } do
      place.session:delete(object)
      place.session:add(place.T { code = object.code, a = object.a, b = object.b })
    end
    place.session:flush()
    assert.same({ "DELETE FROM t WHERE id IN (?, ?, ?) [1, 2, 3]", "INSERT t" },
      (function(list) list[2] = list[2]:match("^INSERT") .. " t" return list end)(place.record:take()))
    assert.equal(3, #place.codes())
  end)

  it("that stays deleted beside new ones costs nothing", function()
    local place = open()
    local one = place.all()
    one.kids = {}
    place.session:flush()
    place.record:take()
    place.session:delete(one)
    place.session:add(place.T { code = "other" })
    place.session:flush()
    assert.same({ "INSERT t", "DELETE t" }, place.record:headlines())
  end)
end)

describe("a primary key", function()
  it("is exchanged, and children follow by the database's cascade", function()
    local place = open { foreign_key = { onupdate = "CASCADE" } }
    local one, two, three = place.all()
    one.id, two.id, three.id = 2, 3, 1
    place.session:commit()
    assert.same({ "1C", "2A", "3B" }, place.codes())
    assert.same({ "1|2", "2|2" }, rows(place.session, "SELECT * FROM k"))
    assert.equal(one, place.session:get(place.T, 2))
    assert.equal(three, place.session:get(place.T, 1))
  end)

  it("is exchanged where children must be updated themselves", function()
    local base = orm.declarative_base()
    local T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Text, { primary_key = true }),
      kids = orm.relationship("K", { back_populates = "t", passive_updates = false, order_by = "K.id" }) })
    base:model("K", { __tablename__ = "k", id = orm.Column(orm.Integer, { primary_key = true }),
      t_id = orm.Column(orm.ForeignKey("t.id")), t = orm.relationship("T", { back_populates = "kids" }) })
    local engine = database.create(base)
    run(engine, "INSERT INTO t VALUES ('a'), ('b')", "INSERT INTO k VALUES (1, 'a'), (2, 'b'), (3, 'b')")
    local session = orm.Session(engine)
    local a, b = session:get(T, "a"), session:get(T, "b")
    a.id, b.id = "b", "a"
    session:commit()
    assert.same({ "1|b", "2|a", "3|a" }, rows(engine, "SELECT * FROM k ORDER BY id"))
    assert.equal(a, session:get(T, "b"))
    assert.equal(2, #b.kids)
    assert.same({}, rows(engine, "PRAGMA foreign_key_check"))
  end)

  it("passes along a chain", function()
    local place = open { alone = true }
    local one, two, three = place.all()
    one.id, two.id, three.id = 2, 3, 4
    place.session:flush()
    assert.same({ "UPDATE t SET id = ? WHERE id = ? [[4, 3], [3, 2], [2, 1]]" }, place.record:take())
    assert.same({ "2A", "3B", "4C" }, place.codes())
  end)

  it("of a deleted row goes to one that is updated", function()
    for _, options in ipairs { { alone = true }, {} } do
      local place = open(options)
      local one, two = place.all()
      place.session:delete(one)
      two.id = 1
      place.session:commit()
      assert.same({ "1B", "3C" }, place.codes())
      assert.equal(two, place.session:get(place.T, 1))
      assert.equal("detached", orm.inspect(one).state)
    end
  end)
end)

it("one-to-one partners change places: a unique foreign key is set aside", function()
  for _, nullable in ipairs { true, false } do
    local base = orm.declarative_base()
    local P = base:model("P", { __tablename__ = "p", id = orm.Column(orm.Integer, { primary_key = true }),
      c = orm.relationship("C", { back_populates = "p", uselist = false }) })
    base:model("C", { __tablename__ = "c", id = orm.Column(orm.Integer, { primary_key = true }),
      p_id = orm.Column(orm.ForeignKey("p.id"), { unique = true, nullable = nullable }),
      p = orm.relationship("P", { back_populates = "c" }) })
    local engine = database.create(base)
    run(engine, "INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)")
    local session = orm.Session(engine)
    local one, two = session:get(P, 1), session:get(P, 2)
    local first, second = one.c, two.c
    one.c, two.c = second, first
    session:commit()
    assert.same({ "1|2", "2|1" }, rows(engine, "SELECT * FROM c ORDER BY id"))
    assert.same({}, rows(engine, "PRAGMA foreign_key_check"))
  end
end)

it("unique values of a tree's nodes change places", function()
  local base = orm.declarative_base()
  local Node = base:model("Node", { __tablename__ = "node", id = orm.Column(orm.Integer, { primary_key = true }),
    name = orm.Column(orm.Text, { unique = true, nullable = false }), parent_id = orm.Column(orm.ForeignKey("node.id")),
    children = orm.relationship("Node", { back_populates = "parent" }),
    parent = orm.relationship("Node", { back_populates = "children", remote_side = "id" }) })
  local engine = database.create(base)
  run(engine, "INSERT INTO node VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', 2)")
  local session = orm.Session(engine)
  local list = session:scalars(orm.select(Node):order_by(Node.id)):all()
  list[1].name, list[2].name, list[3].name = "c", "a", "b"
  session:flush()
  list[3].name = "z"
  list[3].parent = Node { name = "b", parent = list[1] }
  session:commit()
  assert.same({ "1|c|NULL", "2|a|1", "3|z|4", "4|b|1" }, rows(engine, "SELECT * FROM node ORDER BY id"))
end)

it("a unique index counts, a partial one too, and one on an expression is left to the database", function()
  local base = orm.declarative_base()
  local T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }), a = orm.Column(orm.Text),
    b = orm.Column(orm.Text) })
  orm.Index("one", T.__table__.c.a:desc(), { unique = true, where = T.__table__.c.a:ne("x") })
  orm.Index("two", orm.func.lower(T.__table__.c.b), { unique = true })
  local engine = database.create(base)
  run(engine, "INSERT INTO t VALUES (1, 'a', 'c'), (2, 'b', 'd')")
  local session = orm.Session(engine)
  local one, two = session:get(T, 1), session:get(T, 2)
  one.a, two.a = "b", "a"
  session:commit()
  assert.same({ "1|b|c", "2|a|d" }, rows(engine, "SELECT * FROM t ORDER BY id"))
  one.b, two.b = two.b, one.b
  raises("IntegrityError", "UNIQUE", session.flush, session)
end)

it("versions count once when unique values are swapped", function()
  local base = orm.declarative_base()
  local T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
    code = orm.Column(orm.Text, { unique = true }), v = orm.Column(orm.Integer, { nullable = false }),
    __mapper_args__ = { version_id_col = "v" } })
  local engine = database.create(base)
  run(engine, "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 5)")
  local session = orm.Session(engine)
  local one, two = session:get(T, 1), session:get(T, 2)
  one.code, two.code = two.code, one.code
  session:commit()
  assert.same({ "1|b|2", "2|a|6" }, rows(engine, "SELECT * FROM t ORDER BY id"))
end)

it("mapper events tell of rows once each, whatever it took to write them", function()
  local place, seen = open(), {}
  local one, two, three = place.all()
  for _, name in ipairs { "before_update", "after_update", "before_delete", "after_delete" } do
    orm.event.listen(place.T, name, function(_, _, target) seen[#seen + 1] = name .. " " .. target.id end)
  end
  one.code, two.code = two.code, one.code
  place.session:delete(three)
  place.session:flush()
  assert.same({ "before_update 2", "before_update 1", "before_delete 3", "after_update 2", "after_update 1", "after_delete 3" },
    seen)
end)

it("a list is replaced by new objects of the same unique values", function()
  local base = orm.declarative_base()
  local Team = base:model("Team", { __tablename__ = "team", id = orm.Column(orm.Integer, { primary_key = true }),
    name = orm.Column(orm.Text, { unique = true, nullable = false }),
    users = orm.relationship("User", { back_populates = "team", cascade = "all, delete-orphan" }) })
  local User = base:model("User", { __tablename__ = "user", id = orm.Column(orm.Integer, { primary_key = true }),
    email = orm.Column(orm.Text, { unique = true, nullable = false }), team_id = orm.Column(orm.ForeignKey("team.id")),
    team = orm.relationship("Team", { back_populates = "users" }) })
  local engine = database.create(base)
  run(engine, "INSERT INTO team VALUES (1, 'red')", "INSERT INTO user VALUES (1, 'a', 1), (2, 'b', 1)")
  local session = orm.Session(engine)
  local team = session:get(Team, 1)
  team.users = { User { email = "b" }, User { email = "c" }, User { email = "a" } }
  session:commit()
  assert.same({ "a", "b", "c" }, rows(engine, "SELECT email FROM user ORDER BY email"))
  session:delete(team)
  session:add(Team { name = "red", users = { User { email = "a" } } })
  session:commit()
  assert.same({ "red|a" }, rows(engine, "SELECT team.name, user.email FROM team JOIN user ON team_id = team.id"))
end)

it("unique values in the tables of a class that inherits change hands, each in its own table", function()
  local base = orm.declarative_base()
  local Animal = base:model("Animal", { __tablename__ = "animal", id = orm.Column(orm.Integer, { primary_key = true }),
    kind = orm.Column(orm.Text), tag = orm.Column(orm.Text, { unique = true, nullable = false }),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" } })
  local Dog = base:model("Dog", { __inherits__ = Animal, __tablename__ = "dog",
    id = orm.Column(orm.Integer, orm.ForeignKey("animal.id"), { primary_key = true }),
    chip = orm.Column(orm.Text, { unique = true, nullable = false }), __mapper_args__ = { polymorphic_identity = "dog" } })
  local engine = database.create(base)
  run(engine, "INSERT INTO animal VALUES (1, 'dog', 'x'), (2, 'dog', 'y'), (3, 'animal', 'z')",
    "INSERT INTO dog VALUES (1, 'c1'), (2, 'c2')")
  local session = orm.Session(engine)
  local one, two, three = (table.unpack or unpack)(session:scalars(orm.select(Animal):order_by(Animal.id)):all())
  one.tag, two.tag, three.tag = two.tag, three.tag, one.tag
  one.chip, two.chip = two.chip, one.chip
  session:commit()
  local all = "SELECT animal.id, tag, chip FROM animal LEFT JOIN dog ON dog.id = animal.id ORDER BY animal.id"
  assert.same({ "1|y|c2", "2|z|c1", "3|x|NULL" }, rows(engine, all))
  session:delete(one)
  session:add(Dog { tag = one.tag, chip = one.chip })
  session:commit()
  assert.same({ "2|z|c1", "3|x|NULL", "4|y|c2" }, rows(engine, all))
  assert.same({}, rows(engine, "PRAGMA foreign_key_check"))
end)

it("a unique foreign key that is taken from an object which goes to a new parent", function()
  local base = orm.declarative_base()
  local Book = base:model("Book", { __tablename__ = "book", id = orm.Column(orm.Integer, { primary_key = true }),
    cover = orm.relationship("Cover", { back_populates = "book", uselist = false }) })
  local Cover = base:model("Cover", { __tablename__ = "cover", id = orm.Column(orm.Integer, { primary_key = true }),
    book_id = orm.Column(orm.ForeignKey("book.id"), { unique = true }),
    book = orm.relationship("Book", { back_populates = "cover" }) })
  local engine = database.create(base)
  local session = orm.Session(engine)
  session:add_all { Book { id = 1, cover = Cover { id = 1 } }, Book { id = 2, cover = Cover { id = 2 } } }
  session:commit()
  local one, two, new = session:get(Book, 1), session:get(Book, 2), Book {}
  local first, second = one.cover, two.cover
  session:add(new)
  two.cover = first
  new.cover = second
  session:commit()
  assert.same({ "1|2", "2|3" }, database.rows(engine, "SELECT id, book_id FROM cover ORDER BY id"))
end)
