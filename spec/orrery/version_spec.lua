-- Version counters: an update or delete of a row that another has changed meanwhile does not go unnoticed.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows, run = database.rows, database.run

local function open(arguments, kind)
  local base = orm.declarative_base()
  local place = { T = base:model("T", { __tablename__ = "t", __mapper_args__ = arguments or { version_id_col = "v" },
    id = orm.Column(orm.Integer, { primary_key = true }), x = orm.Column(orm.Integer),
    v = orm.Column(kind or orm.Integer, { nullable = false }) }) }
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  place.record = statements.record(place.engine)
  return place
end

describe("a version", function()
  it("stands in the condition and in the values", function()
    local place = open()
    local object = place.T { x = 1 }
    place.session:add(object)
    place.session:flush()
    object.x = 2
    place.record:take()
    place.session:flush()
    assert.same({ "UPDATE t SET x = ?, v = ? WHERE id = ? AND v = ? [2, 2, 1, 1]" }, place.record:take())
    place.session:delete(object)
    place.session:flush()
    assert.same({ "DELETE FROM t WHERE id = ? AND v = ? [1, 2]" }, place.record:take())
  end)

  it("is checked for each row of many, and nothing is written when one is stale", function()
    local place = open()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1)")
    local objects = place.session:scalars(orm.select(place.T):order_by(place.T.id)):all()
    run(place.session, "UPDATE t SET v = 9 WHERE id = 2")
    for _, object in ipairs(objects) do
      object.x = 5
    end
    raises("StaleDataError", "t", place.session.flush, place.session)
    assert.same({ "1|1|1", "2|1|9", "3|1|1" }, rows(place.session, "SELECT * FROM t ORDER BY id"))
    assert.same({ 1, 5 }, { objects[1].v, objects[1].x })
    place.session:no_autoflush(function() place.session:refresh(objects[2], { "v" }) end)
    place.session:flush()
    assert.same({ "1|5|2", "2|5|10", "3|5|2" }, rows(place.session, "SELECT * FROM t ORDER BY id"))
    run(place.session, "UPDATE t SET v = 9 WHERE id = 3")
    for _, object in ipairs(objects) do
      place.session:delete(object)
    end
    raises("StaleDataError", "DELETE", place.session.flush, place.session)
    assert.same({ "3" }, rows(place.session, "SELECT count(*) FROM t"))
  end)

  it("of an expired object is read before it is used", function()
    local place = open()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 7)")
    local object = place.session:get(place.T, 1)
    place.session:expire(object)
    object.x = 3
    place.session:commit()
    assert.same({ "1|3|8" }, rows(place.engine, "SELECT * FROM t"))
    object.x = 4
    place.session:commit()
    assert.same({ "1|4|9" }, rows(place.engine, "SELECT * FROM t"))
  end)

  it("goes back with the transaction", function()
    local place = open()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 1)")
    local object = place.session:get(place.T, 1)
    object.x = 2
    place.session:flush()
    assert.equal(2, object.v)
    place.session:rollback()
    assert.equal(1, object.v)
    object.x = 3
    place.session:commit()
    assert.same({ "1|3|2" }, rows(place.engine, "SELECT * FROM t"))
  end)

  it("is made by the script where it says how", function()
    local count = 0
    local place = open({ version_id_col = "v", version_id_generator = function(current)
      count = count + 1
      return (current or "") .. "." .. count
    end }, orm.String(10))
    local object = place.T { x = 1 }
    place.session:add(object)
    place.session:flush()
    object.x = 2
    place.session:commit()
    assert.same({ "1|2|.1.2" }, rows(place.engine, "SELECT * FROM t"))
  end)

  it("is checked by merge", function()
    local place = open()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 4)")
    raises("StaleDataError", "version", place.session.merge, place.session, place.T { id = 1, x = 2, v = 3 })
    place.session:merge(place.T { id = 1, x = 2, v = 4 })
    place.session:commit()
    assert.same({ "1|2|5" }, rows(place.engine, "SELECT * FROM t"))
  end)

  it("names a column that there is", function()
    local base = orm.declarative_base()
    local T = base:model("T", { __tablename__ = "t", __mapper_args__ = { version_id_col = "w" },
      id = orm.Column(orm.Integer, { primary_key = true }), v = orm.Column(orm.Integer) })
    raises("ArgumentError", "version_id_col", orm.inspect, T)
    raises("ArgumentError", "version_id_col", base.model, base, "U", { __tablename__ = "u",
      __mapper_args__ = { version_id = "v" }, id = orm.Column(orm.Integer, { primary_key = true }) })
  end)
end)

describe("a version that the database makes", function()
  local function by_trigger()
    local base = orm.declarative_base()
    local place = { T = base:model("T", { __tablename__ = "t", id = orm.Column(orm.Integer, { primary_key = true }),
      x = orm.Column(orm.Integer), v = orm.Column(orm.Integer, { nullable = false, server_default = "1" }),
      __mapper_args__ = { version_id_col = "v", version_id_generator = false } }) }
    place.engine = database.create(base)
    run(place.engine, "CREATE TRIGGER count_on AFTER UPDATE OF x ON t BEGIN UPDATE t SET v = old.v + 10 WHERE id = old.id; END")
    place.session = orm.Session(place.engine)
    place.record = statements.record(place.engine)
    return place
  end

  it("is read with the insert, and again after each update", function()
    local place = by_trigger()
    local object = place.T { x = 1 }
    place.session:add(object)
    place.session:flush()
    assert.equal(1, object.v)
    place.record:take()
    object.x = 2
    place.session:flush()
    assert.same({ "UPDATE t SET x = ? WHERE id = ? AND v = ? [2, 1, 1]" }, place.record:take())
    assert.equal(11, object.v)
    object.x = 3
    place.session:flush()
    object.x = 4
    place.session:commit()
    assert.same({ "1|4|31" }, rows(place.engine, "SELECT * FROM t"))
  end)

  it("is checked as any other", function()
    local place = by_trigger()
    run(place.engine, "INSERT INTO t VALUES (1, 1, 1)")
    local object = place.session:get(place.T, 1)
    run(place.session, "UPDATE t SET x = 7")
    object.x = 2
    raises("StaleDataError", { "UPDATE", "T with the key 1", "version" }, place.session.flush, place.session)
    place.session:rollback()
    object.x = 2
    place.session:commit()
    place.session:delete(place.session:get(place.T, 1))
    place.session:commit()
    assert.same({}, rows(place.engine, "SELECT * FROM t"))
  end)

  it("may be assigned by the script", function()
    local place = open { version_id_col = "v", version_id_generator = false }
    local object = place.T { x = 1, v = 5 }
    place.session:add(object)
    place.session:commit()
    object.x, object.v = 2, 6
    place.record:take()
    place.session:flush()
    assert.equal("UPDATE t SET x = ?, v = ? WHERE id = ? AND v = ? [2, 6, 1, 5]", place.record:take()[2])
    assert.equal(6, object.v)
  end)
end)

it("an error of a stale row names class and key, and has the object", function()
  local base = orm.declarative_base()
  local T = base:model("Thing", { __tablename__ = "t", a = orm.Column(orm.Integer, { primary_key = true }),
    b = orm.Column(orm.Text, { primary_key = true }), x = orm.Column(orm.Integer), v = orm.Column(orm.Integer),
    __mapper_args__ = { version_id_col = "v" } })
  local engine = database.create(base)
  run(engine, "INSERT INTO t VALUES (1, 'x', 1, 1), (2, 'y', 1, 1)")
  for _, change in ipairs { function(object) object.x = 5 end, function(object) orm.object_session(object):delete(object) end } do
    local session = orm.Session(engine)
    local one, two = session:get(T, { 1, "x" }), session:get(T, { 2, "y" })
    run(session, "UPDATE t SET v = 2 WHERE a = 2")
    change(one)
    change(two)
    local err = raises("StaleDataError", { "'t'", "Thing with the key 2, 'y'", "found 0" }, session.flush, session)
    assert.equal(two, err.object)
    session:close()
  end
end)

it("a new object with the key of a deleted one counts its version on", function()
  local place = open()
  run(place.engine, "INSERT INTO t VALUES (1, 1, 7)")
  local former, new = place.session:get(place.T, 1), place.T { id = 1, x = 2 }
  place.session:delete(former)
  place.session:add(new)
  place.record:take()
  place.session:flush()
  assert.same({ "UPDATE t SET x = ?, v = ? WHERE id = ? AND v = ? [2, 8, 1, 7]" }, place.record:take())
  assert.equal(8, new.v)
  place.session:rollback()
  assert.same({ "persistent", 7 }, { orm.inspect(former).state, former.v })
  run(place.session, "UPDATE t SET v = 9")
  place.session:delete(former)
  place.session:add(place.T { id = 1, x = 3 })
  raises("StaleDataError", "T with the key 1", place.session.flush, place.session)
end)

it("is not written where the generator gives what the column cannot hold", function()
  local answer = 1
  local place = open { version_id_col = "v", version_id_generator = function() return answer end }
  local object = place.T { x = 1 }
  place.session:add(object)
  place.session:commit()
  for _, wrong in ipairs { {}, "x", 1.5, print } do
    answer, object.x = wrong, 2
    raises("ArgumentError", "T.v", place.session.flush, place.session)
    place.session:rollback()
    assert.same({ "1|1|1" }, rows(place.session, "SELECT id, x, v FROM t"))
  end
end)

it("a version of several tables counts only what has changed, in whichever of them", function()
  local base = orm.declarative_base()
  local key = { primary_key = true }
  local A = base:model("A", { __tablename__ = "a", id = orm.Column(orm.Integer, key), kind = orm.Column(orm.Text),
    v = orm.Column(orm.Integer), x = orm.Column(orm.Integer),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "a", version_id_col = "v" } })
  local B = base:model("B", { __tablename__ = "b", __inherits__ = A, __mapper_args__ = { polymorphic_identity = "b" },
    id = orm.Column(orm.Integer, orm.ForeignKey("a.id"), key), y = orm.Column(orm.Integer), z = orm.Column(orm.Integer) })
  local session = orm.Session(database.create(base))
  local b = B { x = 1, y = 1, z = 1 }
  session:add(b)
  session:commit()
  local function stored()
    session:flush()
    return rows(session, "SELECT a.v, a.x, b.y, b.z FROM a JOIN b ON a.id = b.id")[1]
  end
  assert.equal("1|1|1|1", stored())
  assert.equal(1, b.y)
  b.y = 5
  b.y = 1
  assert.equal("1|1|1|1", stored())
  b.y, b.z = 2, 2
  assert.equal("2|1|2|2", stored())
  b.x, b.z = 3, 4
  b.x = 1
  assert.equal("3|1|2|4", stored())
  assert.equal(3, b.v)
end)

it("a version that a new object is given is the one it starts with", function()
  local place = open()
  local given, usual = place.T { x = 1, v = 5 }, place.T { x = 1 }
  place.session:add_all { given, usual }
  place.session:commit()
  assert.same({ 5, 1 }, { given.v, usual.v })
  given.x, usual.x = 2, 2
  place.session:commit()
  assert.same({ "1|2|6", "2|2|2" }, rows(place.engine, "SELECT id, x, v FROM t ORDER BY id"))
end)

it("a version that is assigned to an expired object still finds the row by what the database has", function()
  local place = open()
  local object = place.T { x = 1 }
  place.session:add(object)
  place.session:commit()
  object.v, object.x = 7, 2
  place.record:take()
  place.session:flush()
  local sent = place.record:take()
  assert.equal("UPDATE t SET x = ?, v = ? WHERE id = ? AND v = ?", sent[#sent]:match("^[^%[]*%f[ %[]"):gsub("%s+$", ""))
  assert.truthy(sent[#sent]:find(", 1, 1]", 1, true), sent[#sent])
end)
