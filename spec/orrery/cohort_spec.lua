-- Objects that came with one result and are asked for a relationship one by one: batchload reads it for all of them at once,
-- whatever has become of some of them meanwhile.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local staff = require "spec.support.staff"
local statements = require "spec.support.statements"
local select = orm.select

-- A library of `count` authors with a book each, and nothing in its session.
local function authors(count)
  local lib = library.empty()
  for id = 1, count do
    database.run(lib.engine, ("INSERT INTO author (id, name) VALUES (%d, 'a%d')"):format(id, id),
      ("INSERT INTO book (id, author_id, title) VALUES (%d, %d, 'b%d')"):format(id, id, id))
  end
  lib.record:take()
  return lib
end

local function load(lib, ...)
  local list = lib.session:scalars(select(lib.Author):order_by(lib.Author.id):options(orm.batchload(lib.Author.books), ...)):all()
  lib.record:take()
  return list
end

-- `statement_count`: at most.
local function check(lib, list, statement_count)
  for _, author in ipairs(list) do
    assert.equal("b" .. author.id, author.books[1].title)
    assert.equal(1, #author.books)
  end
  assert.is_true(#lib.record:take() <= statement_count)
end

describe("what came together", function()
  it("is asked for together, wherever it is begun", function()
    local lib = authors(6)
    local list = load(lib)
    assert.equal("b4", list[4].books[1].title)
    check(lib, list, 1)
  end)

  it("leaves out what is no longer there, was changed, deleted or loaded already", function()
    local lib = authors(8)
    local list = load(lib)
    lib.session:no_autoflush(function()
      lib.session:expunge(list[2])
      lib.session:delete(list[3])
      list[4].name = "changed"
      lib.session:expire(list[5])
      list[6] = false
      collectgarbage()
      collectgarbage()
      assert.equal("b1", list[1].books[1].title)
      assert.equal("b7", list[7].books[1].title)
      assert.equal(1, #lib.record:take())
      assert.equal("b4", list[4].books[1].title)
      assert.equal("b5", list[5].books[1].title)
    end)
  end)

  it("still loads where the object has left its session and come again", function()
    local lib = authors(4)
    local list = load(lib)
    lib.session:expunge(list[2])
    lib.session:add(list[2])
    assert.equal("b2", list[2].books[1].title)
    check(lib, list, 2)
    list = load(lib)
    lib.session:close()
    lib.session:add_all(list)
    for _, author in ipairs(list) do
      lib.session:expire(author, { "books" })
    end
    check(lib, list, 4 + 4)
  end)

  it("still loads after so many other results that it is forgotten who came together", function()
    local lib = authors(5)
    local list = load(lib)
    for _ = 1, 600 do
      lib.session:scalars(select(lib.Author):where(lib.Author.id:eq(5)):options(orm.batchload(lib.Author.books))):first()
    end
    lib.record:take()
    check(lib, list, 2)
    for round = 1, 3 do
      local kept = {}
      for id = 1, 300 do
        kept[id] = lib.session:scalars(select(lib.Author):where(lib.Author.id:eq(id % 5 + 1))
          :options(orm.batchload(lib.Author.books))):first()
      end
      assert.equal(5, kept[4].id, round)
      lib.session:expunge_all()
    end
  end)

  it("is what one result holds, also while others are read in between", function()
    local lib = authors(40)
    local seen = 0
    for author in lib.session:scalars(select(lib.Author):order_by(lib.Author.id):options(orm.batchload(lib.Author.books))
      :execution_options { yield_per = 5 }) do
      seen = seen + 1
      for _ = 1, 20 do
        lib.session:scalars(select(lib.Book):where(lib.Book.id:eq(seen)):options(orm.batchload(lib.Book.author))):first()
      end
      if seen % 4 == 0 then
        collectgarbage()
      end
      assert.equal("b" .. seen, author.books[1].title)
    end
    assert.equal(40, seen)
  end)

  it("goes by the last result that said how to load", function()
    local lib = authors(4)
    local list = load(lib)
    lib.session:scalars(select(lib.Author):where(lib.Author.id:le(2))):all()
    lib.record:take()
    check(lib, list, 1)
    lib.session:expire_all()
    list = load(lib)
    local some = lib.session:scalars(select(lib.Author):where(lib.Author.id:le(2)):options(orm.batchload(lib.Author.books))):all()
    lib.record:take()
    check(lib, some, 1)
    check(lib, list, 1)
  end)

  it("may be of several classes of one hierarchy", function()
    for _, joined in ipairs { false, true } do
      local lib = staff.declare { joined = joined }
      lib.engine = database.create(lib.base)
      lib.session = orm.Session(lib.engine)
      lib.session:add(lib.Company { name = "c", employees = { lib.Manager { name = "m", budget = 1 }, lib.Engineer { name = "e" },
        lib.Employee { name = "x" } } })
      lib.session:add(lib.Company { name = "d", employees = { lib.Manager { name = "n", budget = 2 } } })
      lib.session:commit()
      lib.session:expunge_all()
      local record = statements.record(lib.engine)
      local list = lib.session:scalars(select(lib.Employee):order_by(lib.Employee.id)
        :options(orm.batchload(lib.Employee.company))):all()
      record:take()
      local names = {}
      for position, employee in ipairs(list) do
        names[position] = employee.company.name
      end
      assert.same({ "c", "c", "c", "d" }, names)
      assert.equal(1, #record:take())
    end
  end)

  it("is asked for a relationship that only some of its classes have", function()
    local base = orm.declarative_base()
    local function key()
      return orm.Mapped(orm.Integer, { primary_key = true })
    end
    local Animal = base:model("Animal", { __tablename__ = "animal", id = key(), kind = orm.Mapped(orm.Text),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "animal" } })
    local function subclass(name, relation, target)
      return base:model(name, { __inherits__ = Animal, [relation] = orm.relationship(target),
        __mapper_args__ = { polymorphic_identity = name } })
    end
    local Dog, Cat = subclass("Dog", "bones", "Bone"), subclass("Cat", "mice", "Mouse")
    local Bone = base:model("Bone", { __tablename__ = "bone", id = key(), owner = orm.Mapped(orm.Integer,
      orm.ForeignKey("animal.id")) })
    local Mouse = base:model("Mouse", { __tablename__ = "mouse", id = key(), owner = orm.Mapped(orm.Integer,
      orm.ForeignKey("animal.id")) })
    local session = orm.Session(database.create(base))
    session:add_all { Dog { bones = { Bone {} } }, Animal {}, Cat { mice = { Mouse {}, Mouse {} } },
      Dog { bones = { Bone {}, Bone {} } }, Cat {} }
    session:commit()
    session:expunge_all()
    local list = session:scalars(select(Animal):order_by(Animal.id)
      :options(orm.batchload(Dog.bones), orm.batchload(Cat.mice))):all()
    local record = statements.record(session:get_bind())
    assert.same({ 1, 2, 2, 0 }, { #list[1].bones, #list[4].bones, #list[3].mice, #list[5].mice })
    assert.equal(2, #record:take())
  end)

  it("is told apart where two classes came in one row, and some of it was expired since", function()
    local lib = library.open()
    local session = lib.session
    local rows = session:execute(select(lib.Author, lib.Book):join(lib.Author.books):order_by(lib.Book.id)
      :options(orm.batchload(lib.Author.books), orm.batchload(lib.Book.tags))):all()
    lib.record:take()
    local counts = {}
    for position, row in ipairs(rows) do
      counts[position] = #row.Book.tags .. #row.Author.books
    end
    assert.same({ "22", "12", "02", "02" }, counts)
    assert.equal(2, #lib.record:take())
    session:expunge_all()
    local books = session:scalars(select(lib.Book):order_by(lib.Book.id):options(orm.batchload(lib.Book.author))):all()
    session:expire_all()
    for position, name in ipairs { "a1", "a1", "a2", "a2" } do
      assert.equal("b" .. position .. name, books[position].title .. books[position].author.name)
    end
  end)

  it("is told apart where its classes have tables of their own", function()
    local mapped, Integer, base = orm.mapped_column, orm.Integer, orm.declarative_base()
    local function body(own)
      own.id, own.text = mapped(Integer, { primary_key = true }), mapped(orm.String)
      own.maker_id, own.maker = mapped(Integer, orm.ForeignKey("maker.id")), orm.relationship("Maker", { lazy = "batch" })
      return own
    end
    local Maker = base:model("Maker", { __tablename__ = "maker", id = mapped(Integer, { primary_key = true }),
      name = mapped(orm.String) })
    local Sign = base:model("Sign", body { __tablename__ = "sign" })
    local Arrow = base:model("Arrow", body { __inherits__ = Sign, __tablename__ = "arrow", angle = mapped(Integer),
      __mapper_args__ = { concrete = true, polymorphic_identity = "arrow" } })
    local engine = database.create(base)
    local session = orm.Session(engine)
    for i = 1, 3 do
      session:add_all { Sign { text = "s" .. i, maker = Maker { name = "ms" .. i } },
        Arrow { text = "a" .. i, angle = i, maker = Maker { name = "ma" .. i } } }
    end
    session:commit()
    session:expunge_all()
    local poly, found = orm.with_polymorphic(Sign, "*"), {}
    for position, sign in ipairs(session:scalars(select(poly):order_by(poly.id, poly.text)):all()) do
      assert.equal(sign.text:find("a", 1, true) ~= nil, orm.isinstance(sign, Arrow))
      found[position] = sign.text .. sign.maker.name
    end
    assert.same({ "a1ma1", "s1ms1", "a2ma2", "s2ms2", "a3ma3", "s3ms3" }, found)
  end)

  it("keeps what the script has said of it where it is read again without a word", function()
    local lib = library.open { books = { lazy = "batch" } }
    local session, Author = lib.session, lib.Author
    local query = select(Author):order_by(Author.id)
    local list = session:scalars(query:options(orm.raiseload(Author.books))):all()
    for _, populate in ipairs { false, true } do
      session:expire_all()
      assert.equal(list[2], session:scalars(query, nil, { populate_existing = populate }):all()[2])
      local loaded, err = pcall(function() return list[1].books end)
      assert.is_false(loaded)
      assert.truthy(err.message:find("raiseload(), forbids to load it now", 1, true))
    end
    session:expunge_all()
    lib.record:take()
    list = session:scalars(query):all()
    assert.same({ 2, 2 }, { #list[1].books, #list[2].books })
    assert.equal(2, #lib.record:take())
  end)

  it("is asked for what only some of its classes have", function()
    local Integer, base = orm.Integer, orm.declarative_base()
    local function key() return orm.mapped_column(Integer, { primary_key = true }) end
    local Animal = base:model("Animal", { __tablename__ = "animal", id = key(), type = orm.mapped_column(orm.String),
      __mapper_args__ = { polymorphic_on = "type", polymorphic_identity = "animal" } })
    local Dog = base:model("Dog", { __inherits__ = Animal, bones = orm.relationship("Bone"),
      __mapper_args__ = { polymorphic_identity = "dog" } })
    local Bone = base:model("Bone", { __tablename__ = "bone", id = key(),
      dog_id = orm.mapped_column(Integer, orm.ForeignKey("animal.id")) })
    local session = orm.Session(database.create(base))
    session:add_all { Animal {}, Dog { bones = { Bone {} } }, Animal {}, Dog {} }
    session:commit()
    session:expunge_all()
    local list = session:scalars(select(Animal):order_by(Animal.id):options(orm.batchload(Dog.bones))):all()
    local record = statements.record(session:get_bind())
    assert.same({ 1, 0 }, { #list[2].bones, #list[4].bones })
    assert.equal(1, #record:take())
    assert.is_nil(orm.try(function() return list[1].bones end))
  end)

  it("is looked for among so many objects only where it has expired", function()
    local lib = authors(2)
    database.run(lib.engine, "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) "
      .. "INSERT INTO book (id, author_id, title) SELECT i, 1, 'b' || i FROM n")
    local first = lib.session:get(lib.Author, 1)
    local books = lib.session:scalars(select(lib.Book):order_by(lib.Book.id)):all()
    local last = lib.session:get(lib.Author, 2)
    lib.session:expire_all()
    lib.record:take()
    assert.equal("b1", books[1].title)
    assert.same({ "a1", "a2" }, { first.name, last.name })
    assert.same({ 2500, "b2500" }, { #books, books[2500].title })
    assert.is_true(#lib.record:take() <= 4)
  end)

  it("is read again without what was changed or deleted since it expired, and what is of other classes", function()
    local lib = authors(8)
    local list = load(lib)
    local book = lib.session:get(lib.Book, 1)
    lib.session:expire_all()
    lib.session:no_autoflush(function()
      list[3].name = "changed"
      lib.session:delete(list[4])
      for position = 1, 8 do
        assert.equal(position == 3 and "changed" or "a" .. position, list[position].name)
      end
      assert.equal("b1", book.title)
    end)
    lib.session:expire_all()
    assert.equal("a3", list[3].name)
  end)
end)
