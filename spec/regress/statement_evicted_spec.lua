-- A function of the script's that a flush asks for a value may run statements, so many that the one that is about to be
-- written leaves the connection's cache.
local orm = require "orrery"
local database = require "spec.support.database"
local Integer, ForeignKey = orm.Integer, orm.ForeignKey
local rows = database.rows

local function id()
  return orm.Mapped(Integer, { primary_key = true })
end

-- More statements than a connection keeps.
local function run_many(session)
  for number = 1, 200 do
    session:connection():execute(orm.text("SELECT " .. number)):all()
  end
end

describe("a flush", function()
  it("goes on where the default of a link row has run many statements", function()
    local base, session = orm.declarative_base(), nil
    orm.Table("ab", base.metadata, orm.Column("a_id", ForeignKey("a.id"), { primary_key = true }),
      orm.Column("b_id", ForeignKey("b.id"), { primary_key = true }), orm.Column("note", orm.Text, { default = function()
        run_many(session)
        return "made"
      end }))
    local A = base:model("A", { __tablename__ = "a", id = id(), bs = orm.relationship("B", { secondary = "ab" }) })
    local B = base:model("B", { __tablename__ = "b", id = id() })
    session = orm.Session(database.create(base))
    local bs = {}
    for number = 1, 70 do
      bs[number] = B {}
    end
    session:add(A { bs = bs })
    session:flush()
    assert.same({ "70" }, rows(session, "SELECT count(*) FROM ab WHERE note = 'made'"))
  end)

  it("goes on where what makes a version has run many statements", function()
    local base, session = orm.declarative_base(), nil
    local A = base:model("A", { __tablename__ = "a", id = id(), name = orm.Mapped(orm.Optional(orm.Text)),
      v = orm.Mapped(Integer), __mapper_args__ = { version_id_col = "v", version_id_generator = function(current)
        run_many(session)
        return (current or 0) + 1
      end } })
    session = orm.Session(database.create(base))
    local all = {}
    for number = 1, 40 do
      all[number] = A { name = number % 2 == 0 and "even" or nil }
    end
    session:add_all(all)
    session:flush()
    for number, one in ipairs(all) do
      one.name = number % 3 == 0 and orm.null or "changed"
    end
    session:flush()
    assert.same({ "2|33", "1|7" }, rows(session, "SELECT v, count(*) FROM a GROUP BY v ORDER BY 1 DESC"))
  end)

  it("goes on where what listens has run many statements", function()
    local base, busy = orm.declarative_base(), false
    local ab = orm.Table("ab", base.metadata, orm.Column("a_id", ForeignKey("a.id"), { primary_key = true }),
      orm.Column("b_id", ForeignKey("b.id"), { primary_key = true }))
    local A = base:model("A", { __tablename__ = "a", id = id(), name = orm.Mapped(orm.Optional(orm.Text)),
      bs = orm.relationship("B", { secondary = ab }) })
    local B = base:model("B", { __tablename__ = "b", id = id() })
    local engine = database.create(base)
    local session = orm.Session(engine)
    orm.event.listen(engine, "before_cursor_execute", function()
      if not busy then
        busy = true
        run_many(session)
        busy = false
      end
    end)
    local first, second = A { bs = { B {}, B {} } }, A { bs = { B {} } }
    session:add_all { first, second }
    session:flush()
    first.name, second.name = "x", "y"
    second.bs:clear()
    session:flush()
    assert.same({ "1|x|2", "2|y|0" }, rows(session,
      "SELECT id, name, (SELECT count(*) FROM ab WHERE a_id = a.id) FROM a ORDER BY id"))
    session:delete(first)
    session:delete(second)
    session:flush()
    assert.same({ "0" }, rows(session, "SELECT count(*) FROM a"))
    session:close()
  end)
end)
