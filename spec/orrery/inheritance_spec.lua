-- Classes that inherit: what they have from their parent, where their rows stand, and what queries of a family read.
local orm = require "orrery"
local staff = require "spec.support.staff"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, Mapped, mapped_column, ForeignKey = orm.Integer, orm.String, orm.Mapped, orm.mapped_column, orm.ForeignKey

local function key()
  return Mapped(Integer, { primary_key = true })
end

local function as(identity)
  return { polymorphic_identity = identity }
end

local function shown(objects)
  local list = {}
  for position, object in ipairs(objects) do
    list[position] = tostring(object)
  end
  return list
end

local function names(objects)
  local list = {}
  for position, object in ipairs(objects) do
    list[position] = object.name
  end
  return table.concat(list, " ")
end

local function warnings_of(fn)
  local list = {}
  local former = orm.on_warning(function(message) list[#list + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(former)
  assert(ok, err)
  return list
end

-- A parent with a discriminator, for one class or two below it.
local function parent(more)
  local base = orm.declarative_base()
  local body = { __tablename__ = "a", id = key(), kind = Mapped(String), name = mapped_column(String),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "a" } }
  for name, value in pairs(more or {}) do
    body[name] = value
  end
  return base, base:model("A", body)
end

local function below(body)
  body.id = mapped_column(ForeignKey("a.id"), { primary_key = true })
  return body
end

local function session_on(base)
  local engine = database.create(base)
  return orm.Session(engine), statements.record(engine), engine
end

describe("a class that inherits", function()
  it("has the parent's columns, relationships, methods and metamethods, whenever they were given", function()
    local base, A = parent { hello = function(self) return "hello " .. self.name end }
    local B = base:model("B", { __inherits__ = A, extra = mapped_column(String), __mapper_args__ = as "b" })
    function A:late() return "late " .. self.name end
    A.late_column = mapped_column(Integer)
    function A:__tostring() return "A " .. self.name end
    local b = B { name = "x", extra = "e", late_column = 5 }
    assert.same({ "hello x", "late x", "A x", 5 }, { b:hello(), b:late(), tostring(b), b.late_column })
    function B:hello() return "B " .. A.hello(self) end
    assert.equal("B hello x", b:hello())
    assert.equal("hello y", A { name = "y" }:hello())
    assert.same({ "id", "kind", "name", "late_column", "extra" }, orm.inspect(B).attributes)
  end)

  it("runs the parent's __init__, its validators, hybrids and listeners", function()
    local seen = {}
    local base, A = parent { __init__ = function(self, fields)
      orm.assign(self, fields)
      self._made = true
    end }
    local B = base:model("B", { __inherits__ = A, __mapper_args__ = as "b" })
    A.shout = orm.hybrid_property(function(self) return self.name .. "!" end)
    orm.validates(A, "name", function(_, _, value) return value:upper() end)
    orm.event.listen(A, "before_insert", function(_, _, target) seen[#seen + 1] = "insert " .. target.name end)
    orm.event.listen(A.name, "set", function(_, value) seen[#seen + 1] = "set " .. value end)
    local session, _, engine = session_on(base)
    local b = B { name = "x" }
    assert.is_true(b._made)
    assert.equal("X!", b.shout)
    session:add(b)
    session:commit()
    assert.same({ "set X", "insert X" }, seen)
    assert.equal(b, session:scalars(orm.select(B):where(B.shout:eq("X!"))):one())
    assert.same({ "1|b|X" }, rows(engine, "SELECT id, kind, name FROM a"))
  end)

  it("walks its columns parent first", function()
    local lib = staff.open { joined = true }
    local mia = lib.session:get(lib.Manager, 1)
    local seen = {}
    for name in orm.pairs(mia) do
      seen[#seen + 1] = name
    end
    assert.same({ "id", "name", "type", "company_id", "budget" }, seen)
    assert.same({ id = 1, name = "mia", type = "manager", company_id = 1, budget = 10 }, orm.to_table(mia))
    assert.equal("Manager(id=1, name='mia', type='manager', company_id=1, budget=10)", tostring(mia))
  end)

  it("is known to isinstance and inspect", function()
    local lib = staff.declare()
    local senior = lib.Senior {}
    assert.same({ true, true, true, false, false }, { orm.isinstance(senior, lib.Senior), orm.isinstance(senior, lib.Engineer),
      orm.isinstance(senior, lib.Employee), orm.isinstance(senior, lib.Manager), orm.isinstance("text", lib.Manager) })
    local about = orm.inspect(lib.Senior)
    assert.same({ "senior", lib.Engineer, lib.Employee }, { about.polymorphic_identity, about.inherits, about.base_mapper })
    assert.equal(lib.Manager, about.polymorphic_map.manager)
    assert.is_nil(orm.inspect(lib.Employee).inherits)
    assert.same({ lib.Engineer, lib.Senior }, orm.inspect(lib.Engineer).subclasses)
  end)

  it("says its identity in new objects at once, and warns where a script says another", function()
    local lib = staff.open()
    assert.equal("manager", lib.Manager {}.type)
    local mia = lib.session:get(lib.Manager, 1)
    mia.type = "engineer"
    local warnings = warnings_of(function() lib.session:flush() end)
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("'engineer'", 1, true) and warnings[1]:find("'manager'", 1, true))
    lib.session:get(lib.Engineer, 2).type = "senior" -- one of its own subclasses, in the same table
    assert.same({}, warnings_of(function() lib.session:flush() end))
  end)

  it("may be abstract: without objects of its own, or without a class", function()
    local base, A = parent { __mapper_args__ = { polymorphic_on = "kind", polymorphic_abstract = true } }
    local Middle = base:model("Middle", { __abstract__ = true, __inherits__ = A, size = mapped_column(Integer),
      twice = function(self) return self.size * 2 end })
    local B = Middle:model("B", { __mapper_args__ = as "b" })
    local C = base:model("C", { __inherits__ = A, __mapper_args__ = as "c" })
    local session = session_on(base)
    raises("InvalidRequestError", "polymorphic_abstract", A, {})
    session:add_all { B { size = 4 }, C {} }
    session:commit()
    assert.same({ 2, 8 }, { #session:scalars(orm.select(A)):all(), session:get(B, 1):twice() })
    raises("ArgumentError", "size", function() return C {}.size end)
  end)

  it("may have no identity of its own: its objects say themselves what they are", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = key(), kind = mapped_column(String),
      __mapper_args__ = { polymorphic_on = "kind" } })
    local B = base:model("B", { __inherits__ = A, __mapper_args__ = as "b" })
    local session = orm.Session(database.create(base))
    session:add_all { A {}, B {}, B { kind = "b" }, A { kind = "b" } }
    session:commit()
    assert.same({ "1|NULL", "2|b", "3|b", "4|b" }, rows(session, "SELECT id, kind FROM a ORDER BY id"))
  end)
end)

describe("single-table inheritance", function()
  it("adds columns to the parent's table, which may be NULL", function()
    local lib = staff.declare()
    local ddl = tostring(orm.CreateTable(lib.Employee.__table__))
    assert.truthy(ddl:find("budget INTEGER,", 1, true) and ddl:find("name VARCHAR NOT NULL", 1, true))
    assert.equal(lib.Employee.__table__, lib.Senior.__table__)
  end)

  it("writes to each row the columns of its class", function()
    local lib = staff.empty()
    lib.session:add_all { lib.Manager { name = "m", budget = 1 }, lib.Manager { name = "n", budget = 2 }, lib.Senior { name = "s",
      stars = 5 } }
    lib.session:commit()
    assert.same({ "INSERT INTO employee (name, type, company_id, budget) VALUES (?, ?, ?, ?), (?, ?, ?, ?) "
      .. "[m, manager, NULL, 1, n, manager, NULL, 2]",
      "INSERT INTO employee (name, type, company_id, language, stars) VALUES (?, ?, ?, ?, ?) [s, senior, NULL, NULL, 5]" },
      lib.record:take())
    assert.same({ "1|manager|1|NULL", "2|manager|2|NULL", "3|senior|NULL|5" },
      rows(lib.engine, "SELECT id, type, budget, stars FROM employee"))
  end)

  it("loads each row as what it is, with all columns, by one statement", function()
    local lib = staff.open()
    local all = lib.session:scalars(orm.select(lib.Employee):order_by(lib.Employee.id)):all()
    assert.same({ "Manager(id=1, name='mia', type='manager', company_id=1, budget=10)",
      "Engineer(id=2, name='eve', type='engineer', company_id=1, language='lua')",
      "Senior(id=3, name='sam', type='senior', company_id=1, language='c', stars=3)",
      "Employee(id=4, name='ed', type='employee', company_id=1)" }, shown(all))
    assert.same({ "SELECT employee.id, employee.name, employee.type, employee.company_id, employee.budget, employee.language, "
      .. "employee.stars FROM employee ORDER BY employee.id" }, lib.record:take())
  end)

  it("picks the rows of a class, with those of its subclasses", function()
    local lib = staff.open()
    local session, select = lib.session, orm.select
    assert.equal("eve sam", names(session:scalars(select(lib.Engineer):order_by(lib.Engineer.id)):all()))
    assert.equal("sam", names(session:scalars(select(lib.Senior)):all()))
    assert.same({ "eve", "sam" }, session:scalars(select(lib.Engineer.name):order_by("name")):all())
    assert.equal(2, session:scalar(select(orm.func.count(lib.Engineer.id))))
    assert.equal(1, session:scalar(select(orm.func.count()):select_from(lib.Senior)))
    assert.same({ "WHERE employee.type IN (?, ?) ORDER BY employee.id [engineer, senior]" },
      { (lib.record:take()[1]:gsub("^.*FROM employee ", "")) })
  end)

  it("come with eager loads of a relationship that names them", function()
    local lib = staff.open { joined = true }
    for _, option in ipairs { orm.selectinload, orm.joinedload, orm.subqueryload } do
      for _, flat in ipairs { true, false } do
        lib.session:expunge_all()
        local both = orm.with_polymorphic(lib.Employee, { lib.Manager, lib.Engineer }, { flat = flat })
        local query = orm.select(lib.Company):options(option(lib.Company.employees:of_type(both)))
        local found = lib.session:scalars(query):unique():one().employees
        lib.record:take()
        assert.same({ 4, 10, "lua" }, { #found, found[1].budget, found[2].language })
        assert.same({}, lib.record:take())
      end
    end
  end)

  it("picks them in joins, outer ones too, and under another name", function()
    local lib = staff.open()
    lib.session:add(lib.Company { name = "empty" })
    lib.session:flush()
    lib.record:take()
    local Boss = orm.aliased(lib.Manager)
    local found = lib.session:execute(orm.select(lib.Company.name, Boss.name):outerjoin(lib.Company.employees:of_type(Boss))
      :order_by(lib.Company.id)):all()
    assert.same({ "acme", "mia", "empty" }, { found[1][1], found[1][2], found[2][1] })
    assert.is_nil(found[2][2])
    assert.same({ "SELECT company.name, employee_1.name FROM company LEFT OUTER JOIN employee AS employee_1 ON company.id = "
      .. "employee_1.company_id AND employee_1.type = ? ORDER BY company.id [manager]" }, lib.record:take())
  end)

  it("lets classes share a column that they declare alike", function()
    local base, A = parent()
    local function dated(identity)
      return { __inherits__ = A, start = Mapped(String, { use_existing_column = true }),
        __mapper_args__ = { polymorphic_identity = identity } }
    end
    local B, C = base:model("B", dated "b"), base:model("C", dated "c")
    local session, _, engine = session_on(base)
    session:add_all { B { start = "1" }, C { start = "2" } }
    session:commit()
    assert.same({ "b|1", "c|2" }, rows(engine, "SELECT kind, start FROM a"))
    session:close()
    assert.same({ "B(id=1, kind='b', name=nil, start='1')", "C(id=2, kind='c', name=nil, start='2')" },
      shown(session:scalars(orm.select(A):order_by(A.id)):all()))
  end)

  it("takes identities of any type, and expressions that tell them", function()
    local base = orm.declarative_base()
    local size = mapped_column(Integer)
    local A = base:model("A", { __tablename__ = "a", id = key(), size = size, __mapper_args__ = {
      polymorphic_on = orm.case_():when(size:gt(10), 2):else_(1), polymorphic_identity = 1 } })
    local B = base:model("B", { __inherits__ = A, __mapper_args__ = { polymorphic_identity = 2 } })
    local session = session_on(base)
    session:add_all { A { size = 1 }, B { size = 20 } }
    session:commit()
    session:close()
    local found = session:scalars(orm.select(A):order_by(A.id)):all()
    assert.same({ false, true }, { orm.isinstance(found[1], B), orm.isinstance(found[2], B) })
    assert.equal(found[2], session:scalars(orm.select(B)):one())
  end)

  it("takes identities of other types, and rows without any as the class that is asked for", function()
    for _, case in ipairs { { orm.Enum("x", "y"), "x", "y" }, { orm.Boolean, false, true }, { Integer, 0, 1 } } do
      local base = orm.declarative_base()
      local A = base:model("A", { __tablename__ = "a", id = key(), kind = mapped_column(case[1]),
        __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = case[2] } })
      local B = base:model("B", { __inherits__ = A, __mapper_args__ = { polymorphic_identity = case[3] } })
      local session, _, engine = session_on(base)
      session:add_all { A {}, B {} }
      session:commit()
      database.run(engine, "INSERT INTO a (kind) VALUES (NULL)")
      session:close()
      local all = session:scalars(orm.select(A):order_by(A.id)):all()
      assert.same({ false, true, false }, { orm.isinstance(all[1], B), orm.isinstance(all[2], B), orm.isinstance(all[3], B) })
      assert.equal(case[3], all[2].kind)
    end
  end)

  it("updates and deletes rows of the class only, and inserts them as such", function()
    local lib = staff.open()
    local session = lib.session
    assert.equal(1, session:execute(orm.update(lib.Manager):values { budget = 7 }:where(orm.all)).rowcount)
    session:execute(orm.insert(lib.Engineer):values { name = "new" })
    session:execute(orm.insert(lib.Senior), { { name = "n1" }, { name = "n2" } })
    assert.equal(3, session:execute(orm.delete(lib.Senior):where(lib.Senior.name:like("%"))).rowcount)
    assert.same({ "mia|manager|7", "eve|engineer|NULL", "ed|employee|NULL", "new|engineer|NULL" },
      rows(session, "SELECT name, type, budget FROM employee ORDER BY id"))
    raises("InvalidRequestError", "without a condition", session.execute, session, orm.delete(lib.Senior))
  end)

  it("knows the rows that upsert and returning give", function()
    local lib = staff.open()
    local made = lib.session:scalars(orm.insert(lib.Manager):values { name = "n", budget = 3 }:returning(lib.Manager)):one()
    assert.same({ 5, "manager", 3 }, { made.id, made.type, made.budget })
    local found = lib.session:upsert(lib.Employee, { { id = 1, name = "up" }, { id = 6, name = "six" } })
    assert.same({ true, "up", "employee" }, { orm.isinstance(found[1], lib.Manager), found[1].name, found[2].type })
  end)
end)

describe("joined-table inheritance", function()
  it("writes a row to each table, the parent's first, many at once", function()
    local lib = staff.empty { joined = true }
    lib.session:add_all { lib.Manager { name = "m", budget = 1 }, lib.Employee { name = "e" },
      lib.Senior { name = "s", stars = 5 }, lib.Manager { name = "n", budget = 2 } }
    lib.session:commit()
    assert.same({ "INSERT INTO employee (name, type, company_id) VALUES (?, ?, ?), (?, ?, ?), (?, ?, ?), (?, ?, ?) "
      .. "[m, manager, NULL, e, employee, NULL, s, senior, NULL, n, manager, NULL]",
      "INSERT INTO manager (id, budget) VALUES (?, ?), (?, ?) [1, 1, 4, 2]",
      "INSERT INTO engineer (id, language, stars) VALUES (?, ?, ?) [3, NULL, 5]" }, lib.record:take())
    assert.same({ "1|1", "4|2" }, rows(lib.engine, "SELECT id, budget FROM manager"))
  end)

  it("updates the tables that something changed in, and no other", function()
    local lib = staff.open { joined = true }
    local mia, sam = lib.session:get(lib.Manager, 1), lib.session:get(lib.Employee, 3)
    local _ = sam.stars
    lib.record:take()
    mia.budget = 11
    lib.session:flush()
    assert.same({ "UPDATE manager SET budget = ? WHERE id = ? [11, 1]" }, lib.record:take())
    mia.name, sam.name, sam.stars = "mimi", "sammy", 4
    lib.session:commit()
    assert.same({ "UPDATE employee SET name = ? WHERE id = ? [[mimi, 1], [sammy, 3]]",
      "UPDATE engineer SET stars = ? WHERE id = ? [4, 3]" }, lib.record:take())
  end)

  it("deletes the row of the child first", function()
    local lib = staff.open { joined = true }
    lib.session:delete(lib.session:get(lib.Manager, 1))
    lib.session:delete(lib.session:get(lib.Senior, 3))
    lib.record:take()
    lib.session:commit()
    assert.same({ "DELETE FROM engineer WHERE id = ? [3]", "DELETE FROM manager WHERE id = ? [1]",
      "DELETE FROM employee WHERE id IN (?, ?) [1, 3]" }, lib.record:take())
    assert.same({ "2", "4" }, rows(lib.engine, "SELECT id FROM employee"))
  end)

  it("loads what the child's table has on first touch, by one statement", function()
    local lib = staff.open { joined = true }
    local all = lib.session:scalars(orm.select(lib.Employee):order_by(lib.Employee.id)):all()
    assert.same({ true, true, false }, { orm.isinstance(all[1], lib.Manager), orm.isinstance(all[3], lib.Senior),
      orm.isinstance(all[4], lib.Manager) })
    assert.equal(1, #lib.record:take())
    assert.same({ 3, "c" }, { all[3].stars, all[3].language })
    assert.same({ "SELECT employee.id, employee.name, employee.type, employee.company_id, engineer.language, engineer.stars FROM "
      .. "employee JOIN engineer ON employee.id = engineer.id WHERE employee.type = ? AND employee.id = ? [senior, 3]" },
      lib.record:take())
  end)

  it("reads a class from all its tables, and columns of it too", function()
    local lib = staff.open { joined = true }
    local Manager = lib.Manager
    assert.equal("mia", names(lib.session:scalars(orm.select(Manager):where(Manager.budget:gt(1), Manager.name:eq("mia"))):all()))
    assert.same({ "eve", "sam" }, lib.session:scalars(orm.select(lib.Engineer.name):order_by(lib.Engineer.id)):all())
    assert.same({ "SELECT employee.id, employee.name, employee.type, employee.company_id, manager.budget FROM employee JOIN "
      .. "manager ON employee.id = manager.id WHERE manager.budget > ? AND employee.name = ? [1, mia]",
      "SELECT employee.name FROM employee JOIN engineer ON employee.id = engineer.id ORDER BY employee.id" }, lib.record:take())
  end)

  it("is one object for one row, whichever class asked for it", function()
    local lib = staff.open { joined = true }
    local session = lib.session
    local mia = session:get(lib.Employee, 1)
    assert.is_true(orm.isinstance(mia, lib.Manager))
    assert.equal(mia, session:get(lib.Manager, 1))
    assert.equal(mia, session:scalars(orm.select(lib.Manager)):one())
    assert.is_nil(session:get(lib.Manager, 2))
    assert.is_nil(session:get(lib.Engineer, 1))
    session:expire_all()
    assert.is_nil(session:get(lib.Engineer, 1))
    assert.equal(mia, session:get(lib.Manager, 1))
  end)

  it("calls the key by both names where the child's column has another", function()
    local base, A = parent()
    local B = base:model("B", { __inherits__ = A, __tablename__ = "b", b_id = mapped_column(ForeignKey("a.id"),
      { primary_key = true }), extra = mapped_column(String), __mapper_args__ = as "b" })
    local session, record = session_on(base)
    local b = B { extra = "x" }
    session:add(b)
    session:flush()
    assert.same({ 1, 1 }, { b.id, b.b_id })
    assert.equal(b, session:scalars(orm.select(B):where(B.b_id:eq(1))):one())
    assert.equal("INSERT INTO b (b_id, extra) VALUES (?, ?) [1, x]", record:take()[2])
    b.extra = "y"
    session:commit()
    assert.same({ "UPDATE b SET extra = ? WHERE b_id = ? [y, 1]" }, record:take())
  end)

  it("goes on for several levels, each with a name for the key", function()
    local base, A = parent()
    local B = base:model("B", { __inherits__ = A, __tablename__ = "b",
      b_id = mapped_column(ForeignKey("a.id"), { primary_key = true }), __mapper_args__ = as "b" })
    local C = base:model("C", { __inherits__ = B, __tablename__ = "c", c_id = mapped_column(ForeignKey("b.b_id"),
      { primary_key = true }), extra = mapped_column(String), __mapper_args__ = as "c" })
    local session, record, engine = session_on(base)
    session:add_all { B { b_id = 5 }, C { id = 6, extra = "e" } }
    session:commit()
    assert.same({ "INSERT a", "INSERT b", "INSERT c" }, record:headlines())
    assert.same({ "5", "6" }, rows(engine, "SELECT b_id FROM b"))
    local c = session:get(A, 6)
    assert.same({ 6, 6, "e" }, { c.b_id, c.c_id, c.extra })
    assert.equal(c, session:scalars(orm.select(C):filter_by { b_id = 6 }):one())
    assert.equal(5, orm.inspect(session:get(B, 5)).attrs.b_id.value)
    session:delete(c)
    record:take()
    session:commit()
    assert.same({ "DELETE c", "DELETE b", "DELETE a" }, record:headlines())
  end)

  it("joins keys of several columns", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", x = key(), y = key(), kind = Mapped(String),
      __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "a" } })
    local B = base:model("B", { __inherits__ = A, __tablename__ = "b", x = key(), y = key(), extra = mapped_column(String),
      __table_args__ = { orm.ForeignKeyConstraint({ "x", "y" }, { "a.x", "a.y" }) },
      __mapper_args__ = as "b" })
    local session, record, engine = session_on(base)
    session:add(B { x = 1, y = 2, extra = "e" })
    session:commit()
    session:close()
    local b = session:get(A, { 1, 2 })
    assert.equal("e", b.extra)
    b.extra = "f"
    session:commit()
    assert.same({ "1|2|f" }, rows(engine, "SELECT x, y, extra FROM b"))
    session:delete(b)
    record:take()
    session:commit()
    assert.same({ "DELETE FROM b WHERE x = ? AND y = ? [1, 2]", "DELETE FROM a WHERE x = ? AND y = ? [1, 2]" }, record:take())
  end)

  it("counts one version for all rows of an object", function()
    local base, A = parent { v = mapped_column(Integer), __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "a",
      version_id_col = "v" } }
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", extra = mapped_column(String),
      __mapper_args__ = as "b" })
    local session, record, engine = session_on(base)
    local b = B { extra = "x" }
    session:add(b)
    session:commit()
    local _ = b.extra
    record:take()
    b.extra = "y"
    session:commit()
    assert.same({ "UPDATE a SET v = ? WHERE id = ? AND v = ? [2, 1, 1]", "UPDATE b SET extra = ? WHERE id = ? [y, 1]" },
      record:take())
    local _ = b.v
    database.run(engine, "UPDATE a SET v = 9")
    b.extra = "z"
    raises("StaleDataError", "'a'", session.flush, session)
    assert.same({ "y" }, rows(engine, "SELECT extra FROM b"))
  end)

  it("leaves the child's row to the database where passive_deletes says so, and a changed key always", function()
    local base, A = parent()
    local reference = ForeignKey("a.id", { ondelete = "CASCADE", onupdate = "CASCADE" })
    local B = base:model("B", { __inherits__ = A, __tablename__ = "b",
      id = mapped_column(reference, { primary_key = true }), extra = mapped_column(String),
      __mapper_args__ = { polymorphic_identity = "b", passive_deletes = true } })
    local session, record, engine = session_on(base)
    local b = B { extra = "1" }
    session:add(b)
    session:commit()
    local _ = b.extra
    record:take()
    b.id, b.extra = 5, "2"
    session:commit()
    assert.same({ "UPDATE a SET id = ? WHERE id = ? [5, 1]", "UPDATE b SET extra = ? WHERE id = ? [2, 5]" }, record:take())
    assert.equal(b, session:get(A, 5))
    session:delete(b)
    record:take()
    session:commit()
    assert.same({ "DELETE FROM a WHERE id = ? [5]" }, record:take())
    assert.same({}, rows(engine, "SELECT id FROM b"))
  end)

  it("reads what the database makes in each table", function()
    local base, A = parent { stamp = mapped_column(Integer, { server_default = "3" }) }
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b",
      extra = mapped_column(Integer, { server_default = "7" }), __mapper_args__ = as "b" })
    local session = session_on(base)
    local b = B {}
    session:add(b)
    session:flush()
    assert.same({ 1, 3, 7 }, { b.id, b.stamp, b.extra })
  end)

  it("takes all back when a flush fails at the child's table", function()
    local base, A = parent()
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", code = mapped_column(String, { unique = true }),
      __mapper_args__ = as "b" })
    local session, _, engine = session_on(base)
    session:add(B { code = "x" })
    session:commit()
    local second = B { code = "x" }
    session:add(second)
    raises("IntegrityError", "b.code", session.flush, session)
    assert.is_nil(second.id)
    second.code = "y"
    session:commit()
    assert.same({ "1|x", "2|y" }, rows(engine, "SELECT a.id, code FROM a JOIN b ON a.id = b.id"))
  end)

  it("mixes: a table below a class that has none", function()
    local base, A = parent()
    local B = base:model("B", { __inherits__ = A, size = mapped_column(Integer), __mapper_args__ = as "b" })
    local C = base:model("C", below { __inherits__ = B, __tablename__ = "c", extra = mapped_column(String),
      __mapper_args__ = as "c" })
    local session, record = session_on(base)
    session:add_all { C { size = 1, extra = "e" }, B { size = 2 } }
    session:commit()
    assert.same({ "INSERT INTO a (kind, name, size) VALUES (?, ?, ?), (?, ?, ?) [c, NULL, 1, b, NULL, 2]",
      "INSERT INTO c (id, extra) VALUES (?, ?) [1, e]" }, record:take())
    session:close()
    assert.same({ "C(id=1, kind='c', name=nil, size=1)", "B(id=2, kind='b', name=nil, size=2)" },
      shown(session:scalars(orm.select(B):order_by(B.id)):all()))
    assert.equal("e", session:get(C, 1).extra)
  end)

  it("works without a discriminator, as long as nobody asks for one row as two classes", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = key(), name = mapped_column(String) })
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", extra = mapped_column(String) })
    local session = session_on(base)
    session:add(B { name = "n", extra = "e" })
    session:commit()
    session:close()
    assert.equal("e", session:get(B, 1).extra)
    session:close()
    local a = session:get(A, 1)
    assert.is_nil(session:get(B, 1))
    raises("InvalidRequestError", "polymorphic_on", function() session:scalars(orm.select(B)):all() end)
    assert.equal("n", a.name)
  end)

  it("refuses statements that would write to several tables", function()
    local lib = staff.open { joined = true }
    local Manager = lib.Manager
    raises("ArgumentError", "several tables", orm.insert, Manager)
    raises("ArgumentError", "several tables", orm.delete, Manager)
    raises("ArgumentError", "'name' stands in 'employee'", function() orm.update(Manager):values { name = "x" } end)
    local update = orm.update(Manager):values { budget = 1 }
    raises("InvalidRequestError", "'employee'", lib.session.execute, lib.session, update:where(Manager.name:eq("mia")))
    lib.session:execute(update:where(Manager.budget:eq(10)))
    lib.session:execute(orm.update(Manager):values { budget = Manager.budget + 1 }
      :where(Manager.id:in_(orm.select(lib.Employee.id):where(lib.Employee.name:eq("mia")))))
    assert.same({ "2" }, rows(lib.session, "SELECT budget FROM manager"))
  end)
end)

describe("a query of a family", function()
  it("brings columns of subclasses along: with_polymorphic", function()
    local lib = staff.open { joined = true }
    local all = orm.with_polymorphic(lib.Employee, { lib.Manager, lib.Engineer })
    local found = lib.session:scalars(orm.select(all):where(orm.or_(all.Manager.budget:gt(1), all.Engineer.language:eq("c")))
      :order_by(all.id)):all()
    assert.same({ "Manager(id=1, name='mia', type='manager', company_id=1, budget=10)",
      "Senior(id=3, name='sam', type='senior', company_id=1, language='c', stars=3)" }, shown(found))
    assert.same({ "SELECT employee.id, employee.name, employee.type, employee.company_id, manager.budget, engineer.language, "
      .. "engineer.stars FROM employee LEFT OUTER JOIN manager ON employee.id = manager.id LEFT OUTER JOIN engineer ON "
      .. "employee.id = engineer.id WHERE manager.budget > ? OR engineer.language = ? ORDER BY employee.id [1, c]" },
      lib.record:take())
  end)

  it("does so under other names, for all subclasses, or always", function()
    local lib = staff.open { joined = true }
    local all = orm.with_polymorphic(lib.Employee, "*", { flat = true })
    assert.equal("mia", names(lib.session:scalars(orm.select(all):where(all.Manager.budget:eq(10))):all()))
    assert.truthy(lib.record:take()[1]:find("FROM employee AS employee_1 LEFT OUTER JOIN manager AS manager_1", 1, true))
    local always = staff.open { joined = true, with_polymorphic = "*" }
    assert.equal(3, always.session:get(always.Employee, 3).stars)
    assert.equal(1, #always.record:take())
    always.session:close()
    assert.equal("mia", names(always.session:scalars(orm.select(always.Employee):where(always.Manager.budget:eq(10))):all()))
  end)

  it("loads what subclasses have by a statement for each: selectin_polymorphic, polymorphic_load", function()
    local wanted = "SELECT employee.id, employee.type, manager.budget FROM employee JOIN manager ON employee.id = manager.id "
      .. "WHERE employee.id IN (?) [1]"
    local lib = staff.open { joined = true }
    local all = lib.session:scalars(orm.select(lib.Employee):options(orm.selectin_polymorphic(lib.Employee, { lib.Manager,
      lib.Engineer })):order_by(lib.Employee.id)):all()
    local taken = lib.record:take()
    assert.same({ 3, wanted }, { #taken, taken[2] })
    assert.same({ 10, "lua", 3 }, { all[1].budget, all[2].language, all[3].stars })
    assert.same({}, lib.record:take())
    lib = staff.open { joined = true, manager = { polymorphic_load = "selectin" } }
    lib.session:scalars(orm.select(lib.Employee)):all()
    assert.equal(wanted, lib.record:take()[2])
    lib = staff.open { joined = true, manager = { polymorphic_load = "inline" } }
    assert.equal(10, lib.session:get(lib.Employee, 1).budget)
    assert.equal(1, #lib.record:take())
  end)

  it("names the row, the value and the classes where none fits", function()
    local lib = staff.open()
    database.run(lib.engine, "INSERT INTO employee (name, type) VALUES ('zed', 'robot')")
    local err = raises("InvalidRequestError", "'employee.type' = 'robot'", function()
      lib.session:scalars(orm.select(lib.Employee)):all()
    end)
    assert.truthy(err.message:find("'manager' for Manager", 1, true))
    assert.equal(3, #lib.session:scalars(orm.select(lib.Employee):where(lib.Employee.id:lt(4))):all())
  end)

  it("says what to write where a condition is about a subclass", function()
    local lib = staff.open { joined = true }
    raises("InvalidRequestError", "with_polymorphic", function()
      lib.session:scalars(orm.select(lib.Employee):where(lib.Manager.budget:gt(1))):all()
    end)
  end)

  it("says what to write where two classes begin in one table", function()
    local lib = staff.open { joined = true }
    local Employee, Manager, Engineer = lib.Employee, lib.Manager, lib.Engineer
    local same = Manager.company_id:eq(Engineer.company_id)
    for _, stmt in ipairs { orm.select(Engineer):join(Manager, same), orm.select(Engineer, Manager):where(same),
      orm.select(Employee):outerjoin(Manager, Employee.name:eq(Manager.name)),
      orm.select(Employee.id):where(orm.exists(orm.select(Engineer.id, Manager.id):where(same))) } do
      raises("InvalidRequestError", { "reads 'employee' twice", "'employee JOIN manager'", "orm.aliased" }, function()
        lib.session:execute(stmt)
      end)
    end
    local Other = orm.aliased(Manager)
    local row = lib.session:execute(orm.select(Engineer, Other):join(Other, Other.company_id:eq(Engineer.company_id))
      :order_by(Engineer.id)):first()
    assert.same({ "eve", "mia" }, { row[1].name, row[2].name })
    raises("OperationalError", { "no such column: manager.budget", "'manager' has it", "with_polymorphic" }, function()
      lib.session:execute(orm.select(Employee):order_by(Manager.budget))
    end)
  end)

  it("learns of classes that are declared later", function()
    local base, A = parent()
    local session, _, engine = session_on(base)
    session:add(A { name = "first" })
    session:commit()
    assert.equal(1, #session:scalars(orm.select(A)):all())
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", extra = mapped_column(String),
      __mapper_args__ = as "b" })
    base.metadata:create_all(engine)
    session:add(B { extra = "e" })
    session:commit()
    session:close()
    assert.equal("e", session:scalars(orm.select(A):order_by(A.id)):all()[2].extra)
    assert.is_true(orm.isinstance(session:get(A, 2), B))
    raises("InvalidRequestError", "too late", base.model, base, "C", { __inherits__ = A, more = mapped_column(String) })
  end)

  it("is read without the columns that the query leaves out, each object of its class", function()
    for _, joined in ipairs { false, true } do
      local lib = staff.declare { joined = joined }
      local session = orm.Session(database.create(lib.base))
      session:add_all { lib.Manager { name = "m", budget = 1 }, lib.Engineer { name = "e", language = "Lua" } }
      session:commit()
      session:expunge_all()
      local record = statements.record(session:get_bind())
      local all = session:scalars(orm.select(lib.Employee):order_by(lib.Employee.id)
        :options(orm.load_only(lib.Employee.id))):all()
      assert.is_nil(record:take()[1]:find("name", 1, true))
      assert.same({ "m", 1, "e", "Lua" }, { all[1].name, all[1].budget, all[2].name, all[2].language })
    end
  end)
end)

describe("relationships of a family", function()
  it("hold objects of all its classes, of several levels, and no others", function()
    for _, joined in ipairs { false, true } do
      local lib = staff.open { joined = joined }
      local company = lib.session:get(lib.Company, 1)
      assert.equal("mia eve sam ed", names(company.employees:to_table()))
      local newcomer = lib.Senior { name = "new", stars = 1 }
      company.employees:append(newcomer)
      assert.equal(company, newcomer.company)
      raises("ArgumentError", "Company", function() company.employees:append(lib.Company {}) end)
      lib.session:commit()
      assert.same({ "new|senior|1" }, rows(lib.engine, "SELECT name, type, company_id FROM employee WHERE id = 5"))
      lib.session:delete(company)
      lib.session:commit()
      assert.same({ "0" }, rows(lib.engine, "SELECT count(*) FROM employee"))
      assert.same({ "0" }, rows(lib.engine, "SELECT count(*) FROM " .. (joined and "engineer" or "employee")))
    end
  end)

  it("load by selectin and by join, at the subclass too", function()
    local lib = staff.open { joined = true }
    local Company, Employee, Manager = lib.Company, lib.Employee, lib.Manager
    for _, option in ipairs { orm.selectinload, orm.joinedload } do
      local company = lib.session:scalars(orm.select(Company):options(option(Company.employees))):unique():one()
      assert.equal("mia eve sam ed", names(company.employees:to_table()))
      lib.session:close()
      local mia = lib.session:scalars(orm.select(Manager):options(option(Manager.company))):one()
      lib.record:take()
      assert.equal("acme", mia.company.name)
      assert.same({}, lib.record:take())
      lib.session:close()
      local all = lib.session:scalars(orm.select(Employee):options(option(Employee.company))):all()
      lib.record:take()
      assert.equal("acme", all[3].company.name)
      assert.same({}, lib.record:take())
      lib.session:close()
    end
  end)

  it("load by joins, under a limit, what refers to the key of a subclass's own table", function()
    local base = orm.declarative_base()
    local Worker = base:model("Worker", { __tablename__ = "worker", id = key(), type = orm.Column(orm.String),
      __mapper_args__ = { polymorphic_on = "type", polymorphic_identity = "worker" } })
    local Chief = base:model("Chief", { __inherits__ = Worker, __tablename__ = "chief",
      id = orm.Column(orm.ForeignKey("worker.id"), { primary_key = true }), cars = orm.relationship("Car"),
      __mapper_args__ = { polymorphic_identity = "chief" } })
    local Car = base:model("Car", { __tablename__ = "car", id = key(), chief_id = orm.Column(orm.ForeignKey("chief.id")) })
    local session, record = session_on(base)
    session:add_all { Chief { cars = { Car {}, Car {} } }, Chief { cars = { Car {} } } }
    session:commit()
    session:expunge_all()
    local query = orm.select(Chief):options(orm.joinedload(Chief.cars)):order_by(Chief.id):limit(1)
    local found = session:scalars(query):unique():all()
    record:take()
    assert.same({ 1, 2 }, { #found, #found[1].cars })
    assert.same({}, record:take())
  end)

  it("load by subqueries what a subclass of the related class refers to", function()
    local base = orm.declarative_base()
    local Team = base:model("Team", { __tablename__ = "team", id = key(), members = orm.relationship("Member") })
    local Member = base:model("Member", { __tablename__ = "member", id = key(), type = orm.Column(orm.String),
      team_id = orm.Column(orm.ForeignKey("team.id")),
      __mapper_args__ = { polymorphic_on = "type", polymorphic_identity = "member" } })
    local Coder = base:model("Coder", { __inherits__ = Member, __tablename__ = "coder",
      id = orm.Column(orm.ForeignKey("member.id"), { primary_key = true }),
      office_id = orm.Column(orm.ForeignKey("office.id")), office = orm.relationship("Office"),
      __mapper_args__ = { polymorphic_identity = "coder" } })
    local Office = base:model("Office", { __tablename__ = "office", id = key(), name = orm.Column(orm.String) })
    local session, record = session_on(base)
    session:add(Team { members = { Member {}, Coder { office = Office { name = "north" } } } })
    session:commit()
    session:expunge_all()
    local team = session:scalars(orm.select(Team):options(orm.subqueryload(Team.members:of_type(Coder))
      :subqueryload(Coder.office))):one()
    record:take()
    assert.equal("north", team.members[2].office.name)
    assert.same({}, record:take())
  end)

  it("load by subqueries and from a query's own joins", function()
    for _, joined in ipairs { false, true } do
      local lib = staff.open { joined = joined }
      local Company, Manager = lib.Company, lib.Manager
      local mia = lib.session:scalars(orm.select(Manager):options(orm.subqueryload(Manager.company))):one()
      assert.truthy(lib.record:take()[2]:find(joined and "JOIN manager" or "employee.type = ?", 1, true))
      assert.equal("acme", mia.company.name)
      assert.same({}, lib.record:take())
      lib.session:close()
      local all = orm.with_polymorphic(lib.Employee, "*", { flat = true })
      local path = Company.employees:of_type(all)
      local company = lib.session:scalars(orm.select(Company):join(path):options(orm.contains_eager(path))):unique():one()
      lib.record:take()
      assert.same({ 4, 10, 3 }, { #company.employees, company.employees[1].budget, company.employees[3].stars })
      assert.same({}, lib.record:take())
    end
  end)

  it("are narrowed by of_type in joins, any() and loader options", function()
    local lib = staff.open { joined = true }
    local Company, Manager = lib.Company, lib.Manager
    local managed = Company.employees:of_type(Manager)
    assert.equal("acme", lib.session:scalar(orm.select(Company.name):join(managed):where(Manager.budget:eq(10))))
    assert.equal("acme", lib.session:scalar(orm.select(Company.name):where(managed:any(Manager.budget:eq(10)))))
    assert.is_nil(lib.session:scalar(orm.select(Company.name):where(managed:any(Manager.budget:eq(11)))))
    assert.same({ "SELECT company.name FROM company JOIN (employee JOIN manager ON employee.id = manager.id) ON company.id = "
      .. "employee.company_id WHERE manager.budget = ? [10]" }, { lib.record:take()[1] })
    local company = lib.session:scalars(orm.select(Company):options(orm.selectinload(managed))):one()
    assert.equal(3, #lib.record:take())
    assert.same({ 4, 10 }, { #company.employees, company.employees[1].budget })
    assert.same({}, lib.record:take())
  end)

  it("stand on subclasses, whose own tables have the foreign keys, also in a circle", function()
    local base, A = parent { boss_id = mapped_column(ForeignKey("b.id")),
      boss = orm.relationship("B", { back_populates = "team" }) }
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", title = mapped_column(String),
      team = orm.relationship("A", { back_populates = "boss", order_by = "A.id" }), __mapper_args__ = as "b" })
    local session, record, engine = session_on(base)
    local top = B { name = "top", title = "T" }
    local mid = B { name = "mid", boss = top }
    local low = A { name = "low", boss = mid }
    session:add(low)
    session:commit()
    assert.same({ "INSERT a", "INSERT b", "INSERT a", "INSERT b", "INSERT a" }, record:headlines())
    assert.same({ "1|NULL", "2|1", "3|2" }, rows(engine, "SELECT id, boss_id FROM a"))
    assert.same({ mid, top, 1 }, { low.boss, mid.boss, #top.team })
    assert.equal("low", session:scalar(orm.select(A.name):where(A.boss:has(B.name:eq("mid")))))
    assert.equal("mid", session:scalar(orm.select(B.name):where(B.team:any(A.name:eq("low")))))
    raises("ArgumentError", "class 'B'", function() low.boss = A {} end)
    for _, object in ipairs { low, mid, top } do
      session:delete(object)
    end
    session:commit()
    assert.same({ "0" }, rows(engine, "SELECT count(*) FROM a"))
  end)

  it("load for those objects that have them, where a subclass adds them", function()
    local base, A = parent()
    local B = base:model("B", { __inherits__ = A, notes = orm.relationship("Note"), __mapper_args__ = as "b" })
    local Note = base:model("Note", { __tablename__ = "note", id = key(), a_id = mapped_column(ForeignKey("a.id")) })
    local session, record = session_on(base)
    session:add_all { A {}, B { notes = { Note {}, Note {} } }, B {} }
    session:commit()
    for _, option in ipairs { orm.selectinload, orm.joinedload } do
      session:close()
      record:take()
      local all = session:scalars(orm.select(A):options(option(B.notes)):order_by(A.id)):all()
      assert.equal(2, #record:take())
      assert.same({ 2, 0 }, { #all[2].notes, #all[3].notes })
      assert.same({}, record:take())
    end
  end)

  it("go through link tables from classes of several tables", function()
    local base, A = parent()
    local B = base:model("B", below { __inherits__ = A, __tablename__ = "b", extra = mapped_column(String),
      tags = orm.relationship("Tag", { secondary = "b_tag", back_populates = "owners" }),
      __mapper_args__ = as "b" })
    local Tag = base:model("Tag", { __tablename__ = "tag", id = key(),
      owners = orm.relationship("B", { secondary = "b_tag", back_populates = "tags" }) })
    orm.Table("b_tag", base.metadata, orm.Column("b_id", Integer, ForeignKey("b.id"), { primary_key = true }),
      orm.Column("tag_id", Integer, ForeignKey("tag.id"), { primary_key = true }))
    local session, _, engine = session_on(base)
    local tag = Tag {}
    session:add_all { A {}, B { tags = { tag } }, B { tags = { tag } } }
    session:commit()
    assert.same({ "2|1", "3|1" }, rows(engine, "SELECT * FROM b_tag"))
    session:close()
    tag = session:scalars(orm.select(Tag):options(orm.selectinload(Tag.owners))):one()
    assert.same({ 2, 3 }, { tag.owners[1].id, tag.owners[2].id })
    tag.owners:remove(tag.owners[1])
    session:commit()
    assert.same({ "3|1" }, rows(engine, "SELECT * FROM b_tag"))
  end)
end)

describe("an object of a family", function()
  it("is merged, refreshed and expired with all its rows", function()
    for _, joined in ipairs { false, true } do
      local lib = staff.open { joined = joined }
      local session = lib.session
      session:merge(lib.Senior { id = 3, name = "sammy", stars = 9 })
      session:commit()
      assert.same({ "sammy" }, rows(lib.engine, "SELECT name FROM employee WHERE id = 3"))
      local sam = session:get(lib.Employee, 3)
      assert.same({ 9, "c" }, { sam.stars, sam.language })
      session:expire(sam, { "stars" })
      database.run(session, ("UPDATE %s SET stars = 1 WHERE id = 3"):format(joined and "engineer" or "employee"))
      assert.equal(1, sam.stars)
      database.run(session, "UPDATE employee SET name = 's' WHERE id = 3")
      session:refresh(sam)
      assert.equal("s", sam.name)
    end
  end)

  it("takes over the rows of one that is deleted in the same flush, and comes back with a rollback", function()
    local lib = staff.open { joined = true }
    local session = lib.session
    local mia = session:get(lib.Manager, 1)
    session:delete(mia)
    session:add(lib.Manager { id = 1, name = "new", budget = 4 })
    session:flush()
    assert.same({ "new|4" }, rows(session, "SELECT name, budget FROM employee JOIN manager USING (id)"))
    session:rollback()
    assert.same({ "mia", 10 }, { mia.name, mia.budget })
  end)
end)

describe("concrete inheritance", function()
  it("has only what is not columns from the parent, and rows of its own", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = key(), name = mapped_column(String),
      hello = function(self) return "hello " .. self.name end })
    local B = base:model("B", { __inherits__ = A, __tablename__ = "b", id = key(), name = mapped_column(String),
      __mapper_args__ = { concrete = true } })
    local session = session_on(base)
    session:add_all { A { name = "a" }, B { name = "b" } }
    session:commit()
    assert.same({ "a" }, rows(session, "SELECT name FROM a"))
    assert.same({ "b" }, rows(session, "SELECT name FROM b"))
    local a, b = session:get(A, 1), session:get(B, 1)
    assert.is_true(a ~= b and orm.isinstance(b, A) and b:hello() == "hello b")
    assert.same({ a }, session:scalars(orm.select(A)):all())
  end)

  local function signs()
    local base = orm.declarative_base()
    local Maker = base:model("Maker", { __tablename__ = "maker", id = key(), name = mapped_column(String) })
    local function maker()
      return mapped_column(Integer, orm.ForeignKey("maker.id")), orm.relationship("Maker", { lazy = "selectin" })
    end
    local function body(own)
      own.id, own.text = key(), mapped_column(String)
      own.maker_id, own.maker = maker()
      return own
    end
    local Sign = base:model("Sign", body { __tablename__ = "sign" })
    local Arrow = base:model("Arrow", body { __inherits__ = Sign, __tablename__ = "arrow", angle = mapped_column(Integer),
      depth = mapped_column("deep", Integer), __mapper_args__ = { concrete = true, polymorphic_identity = "arrow" } })
    local Lamp = base:model("Lamp", body { __inherits__ = Sign, __tablename__ = "lamp", watts = mapped_column(Integer),
      __mapper_args__ = { concrete = true } })
    local session = session_on(base)
    local tom = Maker { name = "tom" }
    session:add_all { Sign { text = "stop", maker = tom }, Arrow { text = "exit", angle = 90, depth = 3, maker = tom },
      Lamp { text = "bar", watts = 5, maker = tom } }
    session:commit()
    session:expunge_all()
    return { Sign = Sign, Arrow = Arrow, Lamp = Lamp, session = session }
  end

  it("classes are read together by with_polymorphic(), each row as an object of its own class", function()
    local lib = signs()
    local poly = orm.with_polymorphic(lib.Sign, "*")
    local bar, exit, stop = (table.unpack or unpack)(lib.session:scalars(orm.select(poly):order_by(poly.text)):all())
    assert.same({ 1, 1, 1 }, { bar.id, exit.id, stop.id })
    assert.same({ 5, 90, 3, "stop" }, { bar.watts, exit.angle, exit.depth, stop.text })
    assert.same({ "tom", "tom", "tom" }, { bar.maker.name, exit.maker.name, stop.maker.name })
    assert.is_true(orm.isinstance(exit, lib.Arrow) and not orm.isinstance(stop, lib.Arrow))
    assert.equal(exit, lib.session:get(lib.Arrow, 1))
    assert.equal(stop, lib.session:get(lib.Sign, 1))
    exit.angle = 45
    lib.session:commit()
    assert.same({ "45" }, rows(lib.session, "SELECT angle FROM arrow"))
    assert.equal(exit, lib.session:scalars(orm.select(poly):where(poly.Arrow.angle:eq(45))):one())
    assert.equal(45, exit.angle)
  end)

  it("classes are read together as columns, in parts, with a limit, and counted", function()
    local lib = signs()
    local poly = orm.with_polymorphic(lib.Sign, { lib.Lamp })
    local found = {}
    for row in lib.session:execute(orm.select(poly.text, poly.Lamp.watts):order_by(poly.text)) do
      found[#found + 1] = row.text .. tostring(row.watts)
    end
    assert.same({ "bar5", "stopnil" }, found)
    assert.equal(2, lib.session:scalar(orm.select(orm.func.count()):select_from(poly)))
    assert.equal(2, #lib.session:scalars(orm.select(poly), nil, { yield_per = 1 }):all())
    assert.equal("bar", lib.session:scalars(orm.select(poly):order_by(poly.text):limit(1)):one().text)
  end)

  it("a union of the script's own serves, too, and as rows", function()
    local lib = signs()
    local union = orm.polymorphic_union({ arrow = lib.Arrow, Sign = lib.Sign.__table__ }, "type", "pjoin")
    local found = {}
    for row in lib.session:execute(orm.select(union.c.type, union.c.text, union.c.deep):order_by(union.c.type)) do
      found[#found + 1] = ("%s %s %s"):format(row.type, row.text, tostring(row.deep))
    end
    assert.same({ "Sign stop nil", "arrow exit 3" }, found)
    local poly = orm.with_polymorphic(lib.Sign, { lib.Arrow }, { selectable = union, polymorphic_on = "type" })
    local exit, stop = (table.unpack or unpack)(lib.session:scalars(orm.select(poly):order_by(poly.text)):all())
    assert.same({ lib.session:get(lib.Arrow, 1), lib.session:get(lib.Sign, 1) }, { exit, stop })
  end)

  it("says what such a union has not", function()
    local lib = signs()
    local poly = orm.with_polymorphic(lib.Sign, "*")
    raises("ArgumentError", "did you mean 'text'", function() return poly.txt end)
    raises("ArgumentError", "did you mean 'angle'", function() return poly.Arrow.angel end)
    raises("InvalidRequestError", "each class's own matter", function() return poly.maker end)
    raises("ArgumentError", "tables by name", orm.polymorphic_union, {})
    raises("ArgumentError", "polymorphic_on is a column", orm.with_polymorphic, lib.Sign, "*",
      { selectable = orm.polymorphic_union({ Sign = lib.Sign }, "type"), polymorphic_on = "typ" })
  end)
end)

describe("a mistake in a class that inherits", function()
  -- What cannot be configured must not be there when another spec configures all classes.
  after_each(function()
    collectgarbage()
    collectgarbage()
  end)

  local function declaring(body, more)
    return function()
      local base, A = parent(more)
      local copy = { __inherits__ = A }
      for name, value in pairs(body) do
        copy[name] = value
      end
      base:model("B", copy)
      base.registry:configure()
    end
  end

  local cases = {
    { "a table without a key", { __tablename__ = "b", x = mapped_column(String) }, "ForeignKey(\"a.id\")" },
    { "a key that refers to nothing", { __tablename__ = "b", id = key(), __mapper_args__ = as "b" },
      "must be a foreign key" },
    { "an identity that is taken", { __mapper_args__ = as "a" }, "that of 'A' already" },
    { "an identity of another type", { __mapper_args__ = { polymorphic_identity = 5 } }, "B: polymorphic_identity" },
    { "a column of the parent's again", { name = mapped_column(String) }, "attribute of 'A' already" },
    { "polymorphic_on at the wrong class", { __mapper_args__ = { polymorphic_on = "kind" } }, "topmost class" },
    { "a misspelt option", { __mapper_args__ = { polymorphic_identify = "b" } }, "did you mean 'polymorphic_identity'" },
    { "a misspelt parent", { __inherits__ = "AA" }, "did you mean 'A'" },
    { "arguments for a table that is the parent's", { __table_args__ = { orm.UniqueConstraint("name") } }, "put them on 'A'" },
    { "a key in the parent's table", { other = key() }, "shares the table" },
    { "a method named as a column", { name = function() end }, "mapped attribute" },
    { "passive_deletes without a table below another",
      { __mapper_args__ = { polymorphic_identity = "b", passive_deletes = true } }, "rows are deleted with those" },
    { "an unknown polymorphic_load", { __mapper_args__ = { polymorphic_load = "now" } }, "\"inline\" or \"selectin\"" },
  }
  for _, case in ipairs(cases) do
    it("is named: " .. case[1], function()
      raises("ArgumentError", case[3], declaring(case[2]))
    end)
  end

  it("is named: something else as a parent", function()
    raises("UnmappedClassError", "B: __inherits__", declaring { __inherits__ = {} })
  end)

  it("is named: nothing tells the rows apart", function()
    raises("ArgumentError", "polymorphic_on", declaring({}, { __mapper_args__ = {} }))
    raises("ArgumentError", "did you mean 'kind'", declaring({}, { __mapper_args__ = { polymorphic_on = "kin" } }))
  end)

  it("warns of a class without an identity", function()
    local warnings = warnings_of(declaring {})
    assert.equal(1, #warnings)
    assert.truthy(warnings[1]:find("B has no polymorphic_identity", 1, true))
  end)

  it("leaves nothing behind: the class can be declared again, right", function()
    local base, A = parent()
    raises("ArgumentError", "already", base.model, base, "B", { __inherits__ = A, name = mapped_column(String) })
    local B = base:model("B", { __inherits__ = A, __mapper_args__ = as "b" })
    assert.equal("b", B {}.kind)
    assert.same({ A, B }, orm.inspect(A).subclasses)
  end)
end)

it("a reference to one class of a family leads to no object of another one, though the session holds that", function()
  local base, A = parent()
  local B = base:model("B", { __inherits__ = A, __mapper_args__ = as "b" })
  local C = base:model("C", { __inherits__ = A, __mapper_args__ = as "c" })
  local Note = base:model("Note", { __tablename__ = "note", id = key(), about_id = Mapped(Integer, ForeignKey("a.id")),
    about = orm.relationship("B") })
  local session = orm.Session(database.create(base))
  local b, c = B { id = 1, name = "b" }, C { id = 2, name = "c" }
  session:add_all { b, c, Note { id = 1, about_id = 1 }, Note { id = 2, about_id = 2 } }
  session:commit()
  assert.equal("b c", names { b, c })
  local first, second = session:get(Note, 1), session:get(Note, 2)
  assert.equal(b, first.about)
  assert.is_nil(second.about)
  session:expire_all()
  local loaded = session:scalars(orm.select(Note):order_by(Note.id):options(orm.selectinload(Note.about))):all()
  assert.same({ first, second }, loaded)
  assert.equal(b, first.about)
  assert.is_nil(second.about)
  assert.equal(2, second.about_id)
end)
