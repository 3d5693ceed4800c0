-- src/lua/packlib.c: lists of stored values as JSON text, as a database reads it back.
local orm = require "orrery"
local core = require "spec.support.core"

local conn = orm.create_engine("sqlite://"):connect()

local function read(text, path)
  local found = {}
  for position, row in ipairs(conn:exec_driver_sql("SELECT value FROM json_each(?, ?)", { text, path or "$" }):all()) do
    found[position] = row[1] == nil and orm.null or row[1]
  end
  return found
end

describe("a packed list", function()
  it("gives its values back", function()
    local everything = {}
    for byte = 1, 127 do
      everything[byte] = string.char(byte)
    end
    local values = { 0, 1, -1, 9, 10, -10, 2147483648, -2147483648, 9007199254740991, -9007199254740991, 1.5, -0.1, 1e300, 5e-324,
      0.1 + 0.2, 3.0, orm.null, "", "a", "it's \"quoted\" \\ and more", table.concat(everything), "\195\164\240\159\152\128",
      ("x"):rep(10000) }
    if math.type then
      values[#values + 1], values[#values + 2] = math.maxinteger, math.mininteger
    end
    assert.same(values, read(core.pack(values, 1)))
    assert.same({}, read(core.pack({}, 1)))
    assert.equal("[]", core.pack({}, 2))
    assert.equal("[-7,8,-9]", core.pack({ -7, 8, -9 }, 1))
  end)

  it("may consist of rows", function()
    local text = core.pack({ 1, "a", -2, orm.null, 3, "c" }, 2)
    assert.equal('[[1,"a"],[-2,null],[3,"c"]]', text)
    assert.same({ -2, orm.null }, read(text, "$[1]"))
  end)

  it("says which value has no place in it", function()
    for position, value in ipairs { "a\0b", 0 / 0, 1 / 0, -1 / 0, true, {}, print } do
      local list = {}
      for i = 1, position do
        list[i] = i == position and value or i
      end
      assert.same({ n = 2, nil, position }, { n = 2, core.pack(list, 1) })
    end
    assert.is_false((pcall(core.pack, 1, 1)))
    assert.is_false((pcall(core.pack, {}, "x")))
  end)

  it("finds rows by as many keys as there are, negative ones, texts and pairs of them", function()
    conn:exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    local t = orm.Table("t", orm.MetaData(), orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("name", orm.Text))
    local ids, names, pairs_ = {}, {}, {}
    for i = 1, 500 do
      ids[i], names[i] = 250 - i, ("n'\"\\%d"):format(i)
      pairs_[i] = { ids[i], names[i] }
      conn:exec_driver_sql("INSERT INTO t VALUES (?, ?)", { ids[i], names[i] })
    end
    local function count(condition)
      return conn:execute(orm.select(orm.func.count()):select_from(t):where(condition)):scalar()
    end
    assert.equal(500, count(t.c.id:in_(ids)))
    assert.equal(500, count(t.c.name:in_(names)))
    assert.equal(500, count(orm.tuple_(t.c.id, t.c.name):in_(pairs_)))
    ids[1], names[1] = 1000, "none"
    assert.equal(499, count(t.c.id:in_(ids)))
    assert.equal(1, count(t.c.name:not_in(names)))
  end)
end)
