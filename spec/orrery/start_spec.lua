-- What require "orrery" reads at once, and what a script's first question for it.
local function printed_by(script)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write('local orm = require "orrery"\n', script)
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA_PROGRAM") or "lua5.4", path)))
  local printed = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return printed
end

describe("a script", function()
  it("that knows no classes reads nothing of them", function()
    assert.equal("1\tnil\n", printed_by[[
      local conn = orm.create_engine("sqlite://"):connect()
      print(conn:scalar(orm.text("SELECT 1")), rawget(orm, "Session"))
    ]])
  end)

  it("reads them with the first name of theirs, in a coroutine and without Lua's globals as well", function()
    assert.equal("true\ttrue\tfunction\n", printed_by[[
      local print, rawget, type = print, rawget, type
      local resume = coroutine.wrap(function()
        setmetatable, pairs, ipairs, error = nil, nil, nil, nil
        return orm.relationship ~= nil, rawget(orm, "Session") == orm.Session
      end)
      local first, second = resume()
      print(first, second, type(orm.relationship))
    ]])
  end)

  it("is told which name it means, of those that are not read yet as well", function()
    assert.truthy(printed_by[[print(orm.try(function() return orm.declarative_bas end))]]:find(
      "orrery has no 'declarative_bas'; did you mean 'declarative_base'?", 1, true))
  end)

  it("finds all names once it has asked for one of them", function()
    assert.equal("nil\tfunction\n", printed_by[[
      local before = rawget(orm, "selectinload")
      local _ = orm.Session
      print(before, type(rawget(orm, "selectinload")))
    ]])
  end)

  it("finds all names where it walks over them, from Lua 5.2 on", function()
    local _, missing = printed_by[[
      local found = {}
      for name in pairs(orm) do found[name] = true end
      print(found.create_engine, found.Session)
    ]]:gsub("nil", "")
    assert.equal(_VERSION == "Lua 5.1" and 1 or 0, missing)
  end)

  -- Each in a process of its own, where it is the first that needs the file.
  local FIRST = {
    ["metadata:create_all()"] = [[metadata:create_all(engine) return orm.inspector(engine):get_table_names()[1] ]],
    ["table:create()"] = [[tbl:create(engine) return orm.inspector(engine):has_table("t")]],
    ["table:insert()"] = [[return tostring(tbl:insert())]],
    ["table:select()"] = [[return tostring(tbl:select())]],
    ["table:to_metadata()"] = [[return tbl:to_metadata(orm.MetaData()).name]],
    ["index:create()"] = [[tbl:create(engine) orm.Index("i", tbl.c.name):create(engine)
      return orm.inspector(engine):get_indexes("t")[1].name]],
    ["metadata:reflect()"] = [[engine:connect():exec_driver_sql("CREATE TABLE u (id INTEGER)")
      metadata:reflect(engine) return metadata.tables.u.c.id.name]],
    ["autoload_with"] = [[engine:connect():exec_driver_sql("CREATE TABLE u (id INTEGER)")
      return orm.Table("u", metadata, { autoload_with = engine }).c.id.name]],
    ["a listener to DDL"] = [[local heard
      orm.event.listen(tbl, "before_create", function(target) heard = target.name end)
      tbl:create(engine) return heard]],
    ["connection:explain()"] = [[return #engine:connect():explain(orm.text("SELECT 1"))]],
    ["func.name():table_valued()"] = [[return tostring(orm.select(orm.func.json_each("[1]"):table_valued("value").c.value))]],
    ["a CTE of VALUES"] = [[
      return tostring(orm.select(orm.values(orm.column("id"), { name = "v" }):data{ { 1 } }:cte("w").c.id))]],
    ["an update"] = [[return tostring(orm.update(tbl):where(tbl.c.id:eq(1)):values{ name = "x" })]],
    ["JSON"] = [[return orm.json.encode(orm.array{ 1 })]],
    ["a moment"] = [[return orm.select(orm.literal("2024-01-02 03:04:05", orm.DateTime)) ~= nil]],
    ["orm.database()"] = [[local db = orm.database("sqlite://") return db.CreateTable ~= nil and db.insert == orm.insert]],
  }
  for what, script in pairs(FIRST) do
    it("may begin with " .. what, function()
      local printed = printed_by([[
        local metadata, engine = orm.MetaData(), orm.create_engine("sqlite://")
        local tbl = orm.Table("t", metadata, orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("name", orm.Text))
        print((function() ]] .. script .. [[ end)())
      ]])
      assert.falsy(printed:find("^nil") or printed:find("^false") or printed:find("traceback", 1, true), printed)
    end)
  end

  it("keeps what it has put under a name that is not read yet", function()
    assert.equal("mine\tmine\n", printed_by[[
      rawset(orm, "Table", "mine")
      local _ = orm.Session
      print(orm.Table, orm.try(function() return orm.nothing end) == nil and orm.Table)
    ]])
  end)
end)
