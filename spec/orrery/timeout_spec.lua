-- How long statements may run: said by the engine, a connection, a statement or a call, for rows and for objects.
local orm = require "orrery"
local raises = require "spec.support.raises"

local COUNT = "(SELECT count(*) FROM u a, u b, u c, u d)" -- some minutes of work

local function open()
  local base = orm.declarative_base()
  local User = base:model("User", {
    __tablename__ = "u", id = orm.Mapped(orm.Integer, { primary_key = true }),
    kids = orm.relationship("Kid", { back_populates = "user" }),
  })
  base:model("Kid", {
    __tablename__ = "k", id = orm.Mapped(orm.Integer, { primary_key = true }),
    user_id = orm.Mapped(orm.ForeignKey("u.id")), user = orm.relationship("User", { back_populates = "kids" }),
  })
  local engine = orm.create_engine("sqlite://")
  engine:begin(function(conn)
    base.metadata.tables.u:create(conn)
    conn:exec_driver_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
      .. "INSERT INTO u SELECT i FROM n")
    conn:exec_driver_sql("CREATE VIEW k AS SELECT id, id AS user_id FROM u WHERE " .. COUNT .. " < 0")
  end)
  return engine, User, orm.select(User):where(orm.text(COUNT .. " > 5"))
end

local function is_stopped(fn, ...)
  local err = raises("OperationalError", "it ran longer than its timeout of 0.02 s", fn, ...)
  assert.truthy(err.statement:find("SELECT", 1, true))
  return err
end

describe("a timeout", function()
  it("of a statement holds for objects, rows and scalars", function()
    local engine, User, slow = open()
    local session = orm.Session(engine)
    local limited = slow:execution_options{ timeout = 0.02 }
    is_stopped(session.scalars, session, limited)
    is_stopped(session.execute, session, limited)
    is_stopped(session.scalar, session, limited)
    local query = session:query(User):where(orm.text(COUNT .. " > 5")):execution_options{ timeout = 0.02 }
    is_stopped(query.all, query)
    assert.equal(500, #session:scalars(orm.select(User)):all())
  end)

  it("of a call holds for objects, too", function()
    local engine, _, slow = open()
    local session = orm.Session(engine)
    is_stopped(session.scalars, session, slow, nil, { timeout = 0.02 })
    is_stopped(session.execute, session, slow, nil, { timeout = 0.02 })
    is_stopped(session.scalar, session, slow, nil, { timeout = 0.02 })
  end)

  it("of a statement holds on a plain connection: select, text, insert", function()
    local engine, User, slow = open()
    local conn = engine:connect()
    is_stopped(conn.execute, conn, slow:execution_options{ timeout = 0.02 })
    is_stopped(conn.execute, conn, orm.text("SELECT " .. COUNT):execution_options{ timeout = 0.02 })
    is_stopped(conn.execute, conn, orm.insert(User):values{ id = orm.text(COUNT) }:execution_options{ timeout = 0.02 })
    conn:close()
  end)

  it("of a statement goes before that of the connection, and ends with it", function()
    local engine, _, slow = open()
    local conn = engine:connect():execution_options{ timeout = 1000 }
    is_stopped(conn.execute, conn, slow:execution_options{ timeout = 0.02 })
    assert.equal(1000, conn:get_execution_options().timeout)
    conn:execution_options{ timeout = 0.02 }
    assert.equal(500, conn:scalar(orm.text("SELECT count(*) FROM u"):execution_options{ timeout = 1000 }))
    is_stopped(conn.execute, conn, slow)
    conn:close()
  end)

  it("of an engine holds for lazy loads and for what is loaded along", function()
    local engine, User = open()
    local session = orm.Session(engine:execution_options{ timeout = 0.02 })
    local user = session:get(User, 1)
    is_stopped(function() return #user.kids end)
    is_stopped(session.scalars, session, orm.select(User):options(orm.selectinload(User.kids)))
    assert.equal(2, session:get(User, 2).id)
  end)

  it("of a call holds for what is loaded along", function()
    local engine, User = open()
    local session = orm.Session(engine)
    is_stopped(session.scalars, session, orm.select(User):options(orm.selectinload(User.kids)), nil, { timeout = 0.02 })
  end)
end)

describe("options of the execution", function()
  it("are known ones with values that make sense", function()
    local engine, _, slow = open()
    local session = orm.Session(engine)
    raises("ArgumentError", "did you mean 'timeout'", slow.execution_options, slow, { timeot = 1 })
    raises("ArgumentError", "timeout is a number of seconds", slow.execution_options, slow, { timeout = -1 })
    raises("ArgumentError", "yield_per is a number of rows", slow.execution_options, slow, { yield_per = 0 })
    raises("ArgumentError", "did you mean 'timeout'", session.scalars, session, slow, nil, { timeot = 1 })
    raises("ArgumentError", "did you mean 'yield_per'", session.execute, session, slow, nil, { yeild_per = 1 })
    local text = orm.text("SELECT :a AS a")
    assert.same({ timeout = 3, yield_per = 2 },
      text:execution_options{ timeout = 3 }:bindparams{ a = 1 }:execution_options{ yield_per = 2 }.execution)
  end)
end)
