-- Types that Lua functions make: documents, checked text, dates in other forms, a script's own; and what types are
-- called in DDL. The checks of plain values are in spec/core/types_spec.lua.
local orm = require "orrery"
local raises = require "spec.support.raises"

local function refused(column_type, value, words)
  return raises("ArgumentError", words, column_type.to_db, column_type, value)
end

local function round_trip(column_type, value)
  return column_type:from_db(column_type:to_db(value))
end

describe("a type", function()
  local NAMES = {
    { orm.Integer, "INTEGER" }, { orm.SmallInteger, "SMALLINT" }, { orm.BigInteger, "BIGINT" },
    { orm.Float, "FLOAT" }, { orm.Float(24), "FLOAT(24)" },
    { orm.Double, "DOUBLE" }, { orm.Numeric, "NUMERIC" }, { orm.Numeric(10), "NUMERIC(10)" },
    { orm.Numeric(10, 2), "NUMERIC(10, 2)" }, { orm.String, "VARCHAR" }, { orm.String(30), "VARCHAR(30)" },
    { orm.Text, "TEXT" }, { orm.Boolean, "BOOLEAN" }, { orm.Date, "DATE" }, { orm.Time, "TIME" },
    { orm.DateTime, "DATETIME" }, { orm.LargeBinary, "BLOB" }, { orm.JSON, "JSON" }, { orm.Uuid, "CHAR(32)" },
    { orm.Enum("draft", "published"), "VARCHAR(9)" }, { orm.BigInteger{ as = "string" }, "BIGINT" },
  }
  for _, case in ipairs(NAMES) do
    it("has a name in DDL: " .. case[2], function()
      assert.equal(case[2], case[1]:ddl(orm.dialects.sqlite))
    end)
  end

  it("keeps exact decimals in a column that SQLite leaves alone", function()
    assert.truthy(orm.Numeric(10, 2, { as = "string" }):ddl(orm.dialects.sqlite):find("TEXT", 1, true))
  end)

  it("prints as it is written", function()
    assert.equal("String(30)", tostring(orm.String(30)))
    assert.equal("Numeric(10, 2)", tostring(orm.Numeric(10, 2)))
    assert.equal("Integer", tostring(orm.Integer))
  end)

  it("is the same with and without parentheses", function()
    assert.equal(5, orm.Integer():to_db(5))
    assert.equal(orm.Integer:ddl(), orm.Integer():ddl())
  end)

  it("says what its arguments may be", function()
    raises("ArgumentError", "String(): length must be a whole number", orm.String, "30")
    raises("ArgumentError", "String(): length", orm.String, -1)
    raises("ArgumentError", "String() takes length, got 2 arguments", orm.String, 1, 2)
    raises("ArgumentError", "Integer(): unknown option 'ass'; did you mean 'as'?", orm.Integer, { ass = "string" })
    raises("ArgumentError", "as must be table or epoch", orm.DateTime, { as = "iso" })
    raises("ArgumentError", "is a type already", orm.String(30), 20)
  end)
end)

describe("JSON", function()
  local documents = {
    { name = "an object", value = { a = 1, b = "x" }, text = '{"a":1,"b":"x"}' },
    { name = "a list", value = { 1, 2, "x" }, text = '[1,2,"x"]' },
    { name = "an empty list that is marked", value = orm.array{}, text = "[]" },
    { name = "an empty table, which is an object", value = {}, text = "{}" },
    { name = "null inside", value = { a = orm.null, b = { orm.null } }, text = '{"a":null,"b":[null]}' },
    { name = "truth", value = { true, false }, text = "[true,false]" },
    { name = "text of any kind", value = { "a\"b\\\n", "\195\164" }, text = '["a\\"b\\\\\\n","\195\164"]' },
    { name = "a string alone", value = "x", text = '"x"' },
    { name = "false alone", value = false, text = "false" },
    { name = "names in order", value = { z = 1, a = 2, m = 3 }, text = '{"a":2,"m":3,"z":1}' },
  }
  for _, case in ipairs(documents) do
    it("writes and reads " .. case.name, function()
      assert.equal(case.text, orm.JSON:to_db(case.value))
      assert.same(case.value, round_trip(orm.JSON, case.value))
    end)
  end

  it("keeps numbers exactly", function()
    for _, number in ipairs{ 0.1, 1 / 3, 1e300, 5e-324, -123456789.123456789, 9007199254740991, 2 ^ 40 } do
      assert.equal(number, round_trip(orm.JSON, { number })[1])
    end
  end)

  it("knows an empty list again", function()
    local list = round_trip(orm.JSON, { tags = orm.array{} })
    assert.equal('{"tags":[]}', orm.JSON:to_db(list))
  end)

  it("tells the document null from no document", function()
    assert.equal(orm.null, orm.JSON:to_db(orm.null))
    assert.equal("null", orm.JSON:to_db(orm.JSON.NULL))
    assert.equal(orm.JSON.NULL, orm.JSON:from_db("null"))
    assert.is_nil(orm.JSON:from_db(orm.null))
  end)

  it("names the place of what it cannot hold", function()
    refused(orm.JSON, { a = { 1, { b = 0 / 0 } } }, "at $.a[2].b")
    refused(orm.JSON, { a = 1 / 0 }, "there is no number inf")
    refused(orm.JSON, { f = print }, "a function is no JSON at $.f")
    refused(orm.JSON, { 1, nil, 3 }, "a list with a hole (write orm.null for null) at $")
    refused(orm.JSON, { 1, x = 2 }, "a table with both positions and names (such as 'x')")
    refused(orm.JSON, { [1.5] = 1 }, "a key must be a string or a position")
    refused(orm.JSON, { [true] = 1 }, "a key must be a string or a position")
    local circle = {}
    circle.next = { circle }
    refused(orm.JSON, circle, "a table that contains itself at $.next[1]")
  end)

  it("takes the same table twice side by side", function()
    local part = { 1 }
    assert.equal('{"a":[1],"b":[1]}', orm.JSON:to_db({ a = part, b = part }))
  end)

  it("refuses documents that are too deep", function()
    local deep = {}
    for _ = 1, 1000 do
      deep = { deep }
    end
    refused(orm.JSON, deep, "nested deeper")
  end)

  it("says so where the stored text is no JSON", function()
    raises("DataError", "the stored text '[1,2' is not JSON", orm.JSON.from_db, orm.JSON, "[1,2")
    raises("DataError", "text after the end", orm.JSON.from_db, orm.JSON, "1 2")
    raises("DataError", "is not JSON", orm.JSON.from_db, orm.JSON, "")
  end)

  it("reads numbers that the column's affinity made of documents", function()
    assert.equal(12, orm.JSON:from_db(12))
  end)
end)

describe("the JSON library", function()
  after_each(function()
    orm.json.use_json(nil)
  end)

  it("can be another one", function()
    orm.json.use_json{
      encode = function(value) return "<" .. value.a .. ">" end,
      decode = function(text) return { text } end,
    }
    assert.equal("<x>", orm.JSON:to_db{ a = "x" })
    assert.equal("<x>", orm.JSON:from_db("<x>")[1])
  end)

  it("must be whole", function()
    raises("ArgumentError", "needs both functions", orm.json.use_json, { encode = print })
    raises("ArgumentError", "unknown option 'encoder'", orm.json.use_json, { encoder = print })
  end)
end)

describe("Enum", function()
  local status = orm.Enum("draft", "sent")

  it("takes its values and no others", function()
    assert.equal("sent", round_trip(status, "sent"))
    refused(status, "snet", "one of draft, sent expected, got 'snet'; did you mean 'sent'?")
    refused(status, 1, "one of draft, sent expected, got 1")
  end)

  it("reads what somebody else has stored", function()
    assert.equal("old", status:from_db("old"))
  end)

  it("can be given a list, and a name", function()
    local named = orm.Enum({ "a", "b" }, { name = "letter" })
    assert.equal("b", named:to_db("b"))
    refused(named, "c", "one of a, b")
  end)

  it("needs values that differ", function()
    raises("ArgumentError", "needs its values", orm.Enum)
    raises("ArgumentError", "value 2 must be a string of its own", orm.Enum, "a", "a")
    raises("ArgumentError", "value 1 must be a string", orm.Enum, 5)
    raises("ArgumentError", "Enum needs its values", orm.Column, "status", orm.Enum)
  end)
end)

describe("Uuid", function()
  local uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

  it("reads in lower case with hyphens, however it was written", function()
    assert.equal("f47ac10b58cc4372a5670e02b2c3d479", orm.Uuid:to_db(uuid))
    assert.equal(uuid, round_trip(orm.Uuid, uuid:upper()))
    assert.equal(uuid, round_trip(orm.Uuid, (uuid:gsub("-", ""))))
  end)

  it("refuses what is none", function()
    refused(orm.Uuid, "f47ac10b", "a UUID such as")
    refused(orm.Uuid, uuid .. "0", "a UUID such as")
    refused(orm.Uuid, (uuid:gsub("f", "g")), "a UUID such as")
    refused(orm.Uuid, "f47a-c10b58cc-4372-a567-0e02b2c3d479", "a UUID such as")
    refused(orm.Uuid, 5, "a UUID such as")
  end)
end)

describe("dates in other forms", function()
  it("come as tables", function()
    local stamp = orm.DateTime{ as = "table" }
    assert.same({ year = 2024, month = 2, day = 29, hour = 12, min = 30, sec = 5 },
      round_trip(stamp, "2024-02-29T12:30:05"))
    assert.equal(250000, round_trip(stamp, "2024-02-29T12:30:05.25").usec)
    assert.same({ year = 2024, month = 2, day = 29 }, round_trip(orm.Date{ as = "table" }, "2024-02-29"))
    assert.same({ hour = 12, min = 30, sec = 0 }, round_trip(orm.Time{ as = "table" }, "12:30"))
  end)

  it("come as seconds since 1970, in UTC", function()
    local stamp = orm.DateTime{ as = "epoch" }
    for _, seconds in ipairs{ 0, 1, -1, 951782400, 1000000000, 253402300799, -62135596800 } do
      assert.equal(seconds, round_trip(stamp, seconds))
    end
    assert.equal("2001-09-09 01:46:40", stamp:to_db(1000000000))
    assert.equal("1969-12-31 23:59:59.500000", stamp:to_db(-0.5))
    assert.equal(0.25, round_trip(stamp, 0.25))
    assert.equal(0, round_trip(stamp, "1970-01-01T00:00:00"))
  end)

  it("stay within the calendar", function()
    local stamp = orm.DateTime{ as = "epoch" }
    refused(stamp, 253402300800, "outside the years 1 to 9999")
    refused(stamp, 0 / 0, "outside the years")
    refused(stamp, 1 / 0, "outside the years")
    refused(orm.Date{ as = "epoch" }, 1, "not the beginning of a day")
    refused(orm.DateTime, 1000000000, "a date and time like")
  end)

  it("are moved to UTC where the column keeps zones", function()
    local stamp = orm.DateTime{ timezone = true }
    assert.equal("2024-06-01 06:30:00", stamp:to_db("2024-06-01T12:00:00+05:30"))
    assert.equal("2024-06-02 01:15:00.500000", stamp:to_db("2024-06-01 20:15:00.5-05"))
    assert.equal("2024-06-01T12:00:00Z", round_trip(stamp, "2024-06-01T12:00:00Z"))
    assert.equal("2024-06-01T12:00:00Z", round_trip(stamp, "2024-06-01T12:00:00"))
    refused(stamp, "2024-02-30T12:00:00Z", "a date and time like")
    refused(orm.DateTime, "2024-06-01T12:00:00Z", "without a zone")
  end)

  it("read as they are stored where they are no dates", function()
    assert.equal("soon", orm.DateTime{ as = "epoch" }:from_db("soon"))
    assert.equal("soon", orm.DateTime{ as = "table" }:from_db("soon"))
    assert.equal(5, orm.DateTime{ as = "epoch" }:from_db(5))
  end)
end)

describe("TypeDecorator", function()
  local money = orm.TypeDecorator("Money", {
    impl = orm.Integer,
    process_bind_param = function(_, value) return math.floor(value * 100 + 0.5) end,
    process_result_value = function(_, stored) return stored / 100 end,
  })

  it("puts functions around another type", function()
    assert.equal(150, money:to_db(1.5))
    assert.equal(1.5, money:from_db(150))
    assert.equal("INTEGER", money:ddl())
    assert.equal("Money", tostring(money))
  end)

  it("shows the functions no NULL", function()
    assert.equal(orm.null, money:to_db(nil))
    assert.is_nil(money:from_db(orm.null))
  end)

  it("still checks what comes out", function()
    local broken = orm.TypeDecorator("Broken", { impl = orm.Integer, process_bind_param = function() return "x" end })
    refused(broken, 1, "an integer expected, got 'x'")
  end)

  it("goes on top of types that have functions themselves", function()
    local tags = orm.TypeDecorator("Tags", {
      impl = orm.JSON,
      process_bind_param = function(_, value) return { tags = value } end,
      process_result_value = function(_, stored) return stored.tags end,
    })
    assert.equal('{"tags":[1]}', tags:to_db{ 1 })
    assert.equal(1, tags:from_db('{"tags":[1]}')[1])
  end)
end)
