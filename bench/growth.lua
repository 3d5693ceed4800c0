-- Growth: what an object costs in a session of `N` of them; the cost must not depend on N.
-- usage: LUA growth.lua DATABASE N; makes the database, prints one JSON line of nanoseconds for each object: load, flush
-- (of the one in a hundred that changed), commit, lazy (an N+1 over one in ten), and idle (a flush with nothing to
-- write, as each statement begins with one).
local path, count = arg[1], tonumber(arg[2])
local orm = require "orrery"
local Integer, Text, Column, ForeignKey, relationship = orm.Integer, orm.Text, orm.Column, orm.ForeignKey, orm.relationship

os.remove(path)
local Base = orm.declarative_base()
local Group = Base:model("Group", {
  __tablename__ = "groups",
  id = Column(Integer, { primary_key = true }),
  name = Column(Text),
  items = relationship("Item", { back_populates = "group" }),
})
local Item = Base:model("Item", {
  __tablename__ = "item",
  id = Column(Integer, { primary_key = true }),
  group_id = Column(ForeignKey("groups.id"), { index = true }),
  name = Column(Text),
  size = Column(Integer),
  group = relationship("Group", { back_populates = "items" }),
})
local engine = orm.create_engine("sqlite:////" .. path:gsub("^/", ""))
Base.metadata:create_all(engine)

-- The rows, by plain SQL: ten items in a group.
engine:begin(function(connection)
  connection:execute(orm.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) "
    .. "INSERT INTO groups(id, name) SELECT i, 'group ' || i FROM n"), { most = math.ceil(count / 10) })
  connection:execute(orm.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) "
    .. "INSERT INTO item(id, group_id, name, size) SELECT i, (i - 1) / 10 + 1, 'item ' || i, i FROM n"), { most = count })
end)

local session = orm.Session(engine, { expire_on_commit = false })
session:execute(orm.select(Item):limit(1)):all() -- compiled before the clock runs
session:expunge_all()

local function nanoseconds(objects, fn)
  collectgarbage()
  local from = os.clock()
  fn()
  return (os.clock() - from) * 1e9 / objects
end

local items
local took = {}
took.load = nanoseconds(count, function()
  items = session:scalars(orm.select(Item)):all()
end)
local changed = math.max(math.floor(count / 100), 1)
took.flush = nanoseconds(changed, function()
  for i = 1, changed do
    items[i * 100 <= count and i * 100 or 1].size = -i
  end
  session:flush()
end)
local idle = 1000
took.idle = nanoseconds(idle, function()
  for _ = 1, idle do
    session:flush()
  end
end)
took.commit = nanoseconds(changed, function()
  for i = 1, changed do
    items[i * 100 <= count and i * 100 or 1].size = i
  end
  session:commit()
end)
local groups = session:scalars(orm.select(Group):limit(math.ceil(count / 100))):all()
took.lazy = nanoseconds(#groups * 10, function()
  for _, group in ipairs(groups) do
    assert(#group.items == 10)
  end
end)

local fields = {}
for _, name in ipairs({ "load", "flush", "commit", "lazy", "idle" }) do
  fields[#fields + 1] = ('"%s":%.1f'):format(name, took[name])
end
io.write(('{"n":%d,%s}\n'):format(count, table.concat(fields, ",")))
io.stdout:flush()
os.exit(0)
