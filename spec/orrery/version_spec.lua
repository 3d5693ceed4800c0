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
