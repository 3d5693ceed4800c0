-- A script that forgot `local` before `select = orm.select` had the library call its own function.
local SCRIPT = [[
orm = require "orrery"
local base = orm.declarative_base()
local print, assert = print, assert
select, type, pairs, ipairs, next, setmetatable, error = orm.select, nil, nil, nil, nil, nil, nil
Thing = base:model("Thing", { __tablename__ = "thing", id = orm.Mapped(orm.Integer, { primary_key = true }) })
engine = orm.create_engine("sqlite://")
base.metadata:create_all(engine)
session = orm.Session(engine)
session:add(Thing {})
session:commit()
print(session:scalars(select(Thing):where(Thing.id:eq(1))):one())
]]

it("the library works on where a script has replaced Lua's globals", function()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(SCRIPT)
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA_PROGRAM") or "lua5.4", path)))
  local printed = pipe:read("*a")
  pipe:close()
  os.remove(path)
  assert.equal("Thing(id=1)\n", printed)
end)
