-- Interval: lengths of time, as seconds in Lua and as microseconds in the database; and what dates and lengths of time
-- give when they are added.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local func, select = orm.func, orm.select

local Base = orm.declarative_base()
local Visit = Base:model("Visit", {
  __tablename__ = "visit",
  id    = orm.Mapped(orm.Integer, { primary_key = true }),
  stay  = orm.Mapped(orm.Optional(orm.Interval)),
  comes = orm.Mapped(orm.Optional(orm.DateTime)),
  goes  = orm.Mapped(orm.Optional(orm.DateTime)),
  day   = orm.Mapped(orm.Optional(orm.Date)),
  at    = orm.Mapped(orm.Optional(orm.Time)),
})

local function session_with(...)
  local engine = database.create(Base)
  local session = orm.Session(engine)
  for _, fields in ipairs{ ... } do
    session:add(Visit(fields))
  end
  session:commit()
  return session, engine
end

local function value(session, expression)
  return session:scalar(select(expression))
end

describe("a length of time", function()
  it("is seconds in Lua and microseconds in the database", function()
    local session, engine = session_with({ stay = 90 }, { stay = 0.1 + 0.2 }, { stay = -1e-6 }, { stay = orm.null })
    assert.same({ "90000000|integer", "300000|integer", "-1|integer", "NULL|null" },
      database.rows(engine, "SELECT stay, typeof(stay) FROM visit ORDER BY id"))
    assert.same({ 90, 0.3, -0.000001, orm.null }, session:scalars(select(Visit.stay):order_by(Visit.id)):all())
  end)

  it("is exact to the microsecond in every length", function()
    for _, seconds in ipairs{ 0, 1, 0.000001, 0.999999, 86399.999999, 31557600.123456, 4294967295.999999, -4294967294.999997,
      1234567890.123457, -12345.678901 } do
      assert.equal(seconds, orm.Interval:from_db(orm.Interval:to_db(seconds)))
    end
    assert.equal(1.5, orm.Interval:from_db(orm.Interval:to_db(1.4999999)))
  end)

  it("may be written as a table of units", function()
    local visit = Visit{ stay = { weeks = 1, days = 1, hours = 1, minutes = 1, seconds = 1, milliseconds = 1,
      microseconds = 1 } }
    assert.equal(694861.001001, visit.stay)
    visit.stay = { hours = 1.5 }
    assert.equal(5400, visit.stay)
  end)

  it("is checked when it is assigned", function()
    local visit = Visit{}
    local function assign(stay)
      visit.stay = stay
    end
    raises("ArgumentError", "Visit.stay: a number of seconds, or a table such as { hours = 1, minutes = 30 }, expected, "
      .. "got '1 hour'", assign, "1 hour")
    raises("ArgumentError", "unknown option 'hour'; did you mean 'hours'?", assign, { hour = 1 })
    raises("ArgumentError", "hours must be a number, got '1'", assign, { hours = "1" })
    raises("ArgumentError", "a number of seconds", assign, {})
    raises("ArgumentError", "longer than 136 years", assign, 1e10)
    raises("ArgumentError", "or no number", assign, 0 / 0)
    raises("ArgumentError", "longer than 136 years", assign, math.huge)
  end)

  it("is compared, summed and averaged by the database", function()
    local session = session_with({ stay = 90 }, { stay = 30.5 }, { stay = 0.25 })
    assert.same({ 90, 30.5 }, session:scalars(select(Visit.stay):where(Visit.stay:gt(30)):order_by(Visit.id)):all())
    assert.same({ 0.25 }, session:scalars(select(Visit.stay):where(Visit.stay:in_{ 0.25, { minutes = 2 } })):all())
    assert.equal(120.75, value(session, func.sum(Visit.stay)))
    assert.equal(40.25, value(session, func.avg(Visit.stay)))
    assert.equal(90, value(session, func.max(Visit.stay)))
  end)

  it("is added, scaled and divided", function()
    local session = session_with{ stay = 90 }
    local CASES = { { Visit.stay + 30, 120 }, { 30 + Visit.stay, 120 }, { Visit.stay - 0.5, 89.5 }, { Visit.stay * 2, 180 },
      { 2 * Visit.stay, 180 }, { Visit.stay / 4, 22.5 }, { -Visit.stay, -90 }, { Visit.stay + Visit.stay, 180 } }
    for _, case in ipairs(CASES) do
      assert.equal(case[2], value(session, case[1]), tostring(case[1]))
    end
    assert.equal(3.0, value(session, Visit.stay / orm.literal(30, orm.Interval)))
  end)

  it("reads what SQLAlchemy writes, a moment after 1970", function()
    local session, engine = session_with{ stay = 1 }
    database.run(engine, "UPDATE visit SET stay = '1970-01-01 00:01:30.500000'")
    assert.equal(90.5, value(session, Visit.stay))
  end)

  it("is found again in an existing database", function()
    local _, engine = session_with{ stay = 1 }
    local reflected = orm.Table("visit", orm.MetaData(), { autoload_with = engine })
    assert.equal("Interval", tostring(reflected.c.stay.type))
  end)
end)

describe("dates", function()
  it("give a length of time when one is taken from another", function()
    local session = session_with{ comes = "2024-02-28 23:59:59.999999", goes = "2024-03-01 00:00:00.5",
      day = "2024-03-02" }
    assert.equal(59999999, value(session, orm.extract("microseconds", Visit.comes)))
    assert.equal(59999, value(session, orm.extract("milliseconds", Visit.comes)))
    assert.equal(59, value(session, orm.extract("second", Visit.comes)))
    assert.equal(28, value(session, orm.extract("day", Visit.comes)))
    assert.equal(1250000, value(session, orm.extract("microseconds", orm.literal("00:00:01.25", orm.Time))))
    assert.equal(86400.500001, value(session, Visit.goes - Visit.comes))
    assert.equal(-86400.500001, value(session, Visit.comes - Visit.goes))
    assert.equal(172800, value(session, Visit.day - "2024-02-29"))
    assert.equal(86399.5, value(session, Visit.day - Visit.goes))
    assert.equal(1, session:scalar(select(func.count()):select_from(Visit):where(
      (Visit.goes - Visit.comes):gt{ days = 1 })))
    session:scalars(select(Visit)):one().goes = orm.null
    assert.is_nil(value(session, Visit.goes - Visit.comes))
  end)

  it("are not moved where the database cannot, which is said", function()
    for _, expression in ipairs{ Visit.comes + 90, Visit.comes - 90, Visit.at - Visit.at, 90 + Visit.comes } do
      raises("CompileError", "sqlite cannot compute this with dates", function()
        return select(expression):compile()
      end)
    end
    assert.equal("visit.comes + %(comes_1)s", (Visit.comes + 90):compile("postgresql").sql)
    assert.equal("visit.comes + make_interval(secs => 90)",
      (Visit.comes + 90):compile{ dialect = "postgresql", literal_binds = true }.sql)
  end)
end)
