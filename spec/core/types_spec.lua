-- Values through column types: exact both ways, or a clear error.
local orm = require "orrery"

local function refused(column_type, value, words)
  local ok, err = pcall(column_type.to_db, column_type, value)
  assert.is_false(ok)
  assert.is_true(orm.is_error(err, "ArgumentError"))
  assert.is_nil(err.code)
  assert.truthy(err.message:find(words, 1, true), err.message)
end

local function kept(column_type, value, stored, shown)
  assert.equal(stored, column_type:to_db(value))
  if shown ~= nil then
    assert.equal(shown, column_type:from_db(stored))
  end
end

-- Lua versions without 64-bit integers.
local DOUBLES = 2 ^ 53 == 2 ^ 53 + 1 and not (math.type and math.type(1) == "integer")

describe("every type", function()
  it("takes nil and null as NULL, and reads NULL as nil", function()
    for _, name in ipairs{ "Integer", "Float", "Numeric", "String", "Boolean", "Date", "DateTime", "LargeBinary" } do
      assert.equal(orm.null, orm[name]:to_db(nil))
      assert.equal(orm.null, orm[name]:to_db(orm.null))
      assert.is_nil(orm[name]:from_db(orm.null))
    end
  end)

  it("shows in errors what it got, without control bytes and not at full length", function()
    refused(orm.Integer, "a\nb\0'c", "an integer expected, got 'a\\010b\\000\\'c'")
    refused(orm.Integer, ("x"):rep(1000), ("x"):rep(60) .. "...'")
    refused(orm.Integer, {}, "got a table")
    refused(orm.Integer, print, "got a function")
  end)

  it("shows bytes that are no text as numbers, and text as it is", function()
    refused(orm.Integer, "\255\127\\", "got '\\255\\127\\\\'")
    refused(orm.Integer, "\195\164", "got '\195\164'")
    refused(orm.Integer, ("\128"):rep(70), "got '\\128")
    refused(orm.Integer, ("x"):rep(60), ("x"):rep(60) .. "'")
    refused(orm.Integer, ("x"):rep(61), ("x"):rep(60) .. "...'")
    refused(orm.Boolean, 1e300, "got 1e+300")
  end)

  it("cuts what it shows between characters", function()
    local _, err = pcall(orm.Integer.to_db, orm.Integer, ("x"):rep(59) .. "\195\164\195\164")
    assert.truthy(err.message:find(("x"):rep(59) .. "...'", 1, true))
  end)
end)

describe("Integer", function()
  it("keeps whole numbers, however Lua writes them", function()
    kept(orm.Integer, 0, 0, 0)
    kept(orm.Integer, -5, -5, -5)
    kept(orm.Integer, 127.0, 127, 127)
    kept(orm.Integer, 4294967296, 4294967296, 4294967296)
    kept(orm.Integer, 9007199254740991, 9007199254740991, 9007199254740991)
    kept(orm.Integer, -9007199254740991, -9007199254740991, -9007199254740991)
  end)

  it("refuses fractions, infinities, NaN and what is out of range", function()
    refused(orm.Integer, 1.5, "an integer expected, got 1.5")
    refused(orm.Integer, 1 / 0, "an integer")
    refused(orm.Integer, 0 / 0, "an integer")
    refused(orm.Integer, 1e300, "an integer within 64 bits")
  end)

  it("refuses strings and booleans", function()
    refused(orm.Integer, "7", "got '7'")
    refused(orm.Integer, "0x10", "got '0x10'")
    refused(orm.Integer, true, "got true")
  end)

  it("is exact beyond 2^53, or refuses where numbers are doubles", function()
    if DOUBLES then
      refused(orm.BigInteger, 2 ^ 53, "that this Lua holds exactly")
      refused(orm.BigInteger, -2 ^ 63, "that this Lua holds exactly")
    else
      local largest, smallest = math.maxinteger, math.mininteger
      kept(orm.BigInteger, largest, largest, largest)
      kept(orm.BigInteger, smallest, smallest, smallest)
      kept(orm.BigInteger, 2.0 ^ 53 + 1, 9007199254740992)
      refused(orm.BigInteger, 2.0 ^ 63, "within 64 bits")
    end
  end)

  it("reads a value that does not fit as it is stored", function()
    assert.equal("seven", orm.Integer:from_db("seven"))
    assert.equal(1.5, orm.Integer:from_db(1.5))
  end)

  it("as = \"string\" takes and gives decimal digits on every Lua", function()
    local big = orm.BigInteger{ as = "string" }
    assert.equal("9223372036854775807", big:from_db(big:to_db("9223372036854775807")))
    assert.equal("-9223372036854775808", big:from_db(big:to_db("-9223372036854775808")))
    assert.equal("7", big:from_db(big:to_db(7)))
    assert.equal("0", big:from_db(big:to_db("0")))
    assert.equal("-1", big:from_db(big:to_db("-1")))
    assert.equal("seven", big:from_db("seven"))
    assert.is_nil(big:from_db(orm.null))
    refused(big, 1.5, "an integer")
    refused(big, true, "an integer")
    for _, text in ipairs{ "9223372036854775808", "-9223372036854775809", "007", "+1", "-0", "1.0", "12x", "", "-", "1/",
      "99999999999999999999" } do
      refused(big, text, "an integer in decimal digits")
    end
  end)
end)

describe("Float", function()
  it("keeps numbers, infinities too", function()
    kept(orm.Float, 1.5, 1.5, 1.5)
    kept(orm.Float, 1, 1, 1)
    kept(orm.Float, 1.7976931348623157e308, 1.7976931348623157e308, 1.7976931348623157e308)
    kept(orm.Float, 2.2250738585072014e-308, 2.2250738585072014e-308)
    kept(orm.Float, 1 / 0, 1 / 0, 1 / 0)
    kept(orm.Float, -1 / 0, -1 / 0, -1 / 0)
  end)

  it("refuses NaN and strings", function()
    refused(orm.Float, 0 / 0, "not NaN")
    refused(orm.Float, "1.5", "a number expected")
  end)

  it("refuses an integer that a double does not hold", function()
    if not DOUBLES then
      refused(orm.Float, math.maxinteger, "that a double holds exactly")
      refused(orm.Float, 9007199254740993, "that a double holds exactly")
      refused(orm.Float, math.maxinteger, "that a double holds exactly")
      kept(orm.Float, math.mininteger, -2 ^ 63)
      kept(orm.Float, 2 ^ 53, 2 ^ 53)
    end
  end)

  it("reads integers and whatever else is stored", function()
    assert.equal(2 ^ 52, orm.Float:from_db(2 ^ 52))
    assert.equal("x", orm.Float:from_db("x"))
    assert.is_nil(orm.Float:from_db(orm.null))
    if not DOUBLES then
      assert.equal("float", math.type(orm.Float:from_db(-9007199254740991)))
      assert.equal("integer", math.type(orm.Float:from_db(math.maxinteger)))
      assert.equal("integer", math.type(orm.Float:from_db(math.mininteger)))
    end
  end)
end)

describe("Numeric", function()
  local money = orm.Numeric(5, 2)

  it("keeps what fits its digits and decimals", function()
    for _, value in ipairs{ 0, 1, 1.25, 100, 999.99, -999.99, 0.1, -0.01, 123.45 } do
      kept(money, value, value, value)
    end
  end)

  it("refuses more decimals or more digits", function()
    refused(money, 1.255, "a number of at most 5 digits, 2 of them decimals, expected, got 1.255")
    refused(money, 0.1 + 0.2, "got 0.30000000000000004")
    refused(money, 1000, "at most 5 digits")
    refused(money, 999.995, "2 of them decimals")
  end)

  it("refuses what is not finite, and strings", function()
    refused(money, 1 / 0, "a finite number")
    refused(money, 0 / 0, "a finite number")
    refused(money, "7", "a number expected")
  end)

  it("without arguments keeps any finite number", function()
    kept(orm.Numeric, 0.1, 0.1, 0.1)
    kept(orm.Numeric, 1e300, 1e300, 1e300)
  end)

  it("holds many decimals when the double is their nearest", function()
    local fine = orm.Numeric(30, 25)
    kept(fine, 0.1, 0.1)
    refused(fine, 1e-26, "25 of them decimals")
    refused(orm.Numeric(20, 10), 12345678901, "at most 20 digits")
  end)

  it("may bound the decimals alone", function()
    local cents = orm.Numeric{ scale = 2 }
    kept(cents, 123456789.25, 123456789.25)
    kept(cents, 1234567890, 1234567890)
    kept(cents, 1e15, 1e15)
    refused(cents, 0.125, "at most 2 decimals expected, got 0.125")
    local fine = orm.Numeric{ scale = 25 }
    kept(fine, 0.1, 0.1)
    refused(fine, 1e-26, "at most 25 decimals")
    local exact = orm.Numeric({ scale = 2, as = "string" })
    kept(exact, "12345678901234567890.5", "12345678901234567890.50")
    refused(exact, "0.125", "at most 2 decimals")
  end)

  it("bounds digits before the point, however many stand behind it", function()
    local wide = orm.Numeric(16, 2)
    kept(wide, 12345678901234.5, 12345678901234.5)
    refused(wide, 123456789012345, "at most 16 digits")
    refused(orm.Numeric(30, 25), 123456.5, "at most 30 digits")
    kept(orm.Numeric(30, 25), 99999.5, 99999.5)
    kept(orm.Numeric(30, 25), 0.5, 0.5)
    refused(orm.Numeric(10, 2), 2 ^ 52 + 0.5, "at most 10 digits")
    refused(orm.Numeric(10, 2), 2 ^ 70, "at most 10 digits")
    refused(orm.Numeric(2000, 1500), 0.1, "at most 2000 digits")
    kept(orm.Numeric, 5, 5)
    kept(orm.Numeric(3), -999, -999)
    refused(orm.Numeric(3), -1000, "at most 3 digits")
    refused(orm.Numeric(3, 1, { as = "string" }), "123.4", "at most 3 digits")
    refused(orm.Numeric{ as = "string" }, ("9"):rep(46), "a decimal of at most 45 digits")
    kept(orm.Numeric{ as = "string" }, ("9"):rep(45), ("9"):rep(45))
  end)

  it("as = \"string\" keeps every digit, in one form", function()
    local exact = orm.Numeric(30, 4, { as = "string" })
    kept(exact, "12345678901234567890.1234", "12345678901234567890.1234", "12345678901234567890.1234")
    kept(exact, "1.25", "1.2500", "1.2500")
    kept(exact, "007", "7.0000")
    kept(exact, "-0.0", "0.0000")
    kept(exact, 7, "7.0000")
    refused(exact, 1.5, "a decimal as a string")
    refused(exact, "1.23456", "4 of them decimals")
    for _, text in ipairs{ "1e5", "+1", ".5", "5.", "0x10", "1,5", "", "-", "1/", "1:", "--1", "1.2.3", "1.2/" } do
      refused(exact, text, "a decimal like")
    end
  end)

  it("as = \"string\" reads what others have stored as numbers", function()
    local exact = orm.Numeric(10, 2, { as = "string" })
    assert.equal("12.50", exact:from_db(12.5))
    assert.equal("3.00", exact:from_db(3))
    assert.equal(0.001, exact:from_db(0.001))
    assert.equal("x", exact:from_db("x"))
    assert.equal(1e300, exact:from_db(1e300))
    assert.equal(1 / 0, exact:from_db(1 / 0))
    assert.equal("123456789", exact:from_db(123456789)) -- too long for its shape
    local any = orm.Numeric{ as = "string" }
    assert.equal("0.1", any:from_db(0.1))
    assert.equal("3", any:from_db(3))
    assert.equal(0.1 + 0.2, any:from_db(0.1 + 0.2))
    assert.equal(1e20, any:from_db(1e20))
    assert.equal("12.50", exact:from_db("12.50"))
  end)
end)

describe("String", function()
  it("counts characters, not bytes", function()
    local short = orm.String(3)
    kept(short, "abc", "abc", "abc")
    kept(short, "\195\164\195\182\195\188", "\195\164\195\182\195\188")
    refused(short, "abcd", "at most 3 characters")
  end)

  it("keeps NUL and long text", function()
    kept(orm.Text, "a\0b", "a\0b", "a\0b")
    local long = ("\195\164x"):rep(100000)
    kept(orm.Text, long, long, long)
  end)

  it("takes well-formed UTF-8 only", function()
    kept(orm.Text, "\244\143\191\191", "\244\143\191\191") -- U+10FFFF
    for _, bytes in ipairs{ "\255", "\128", "\195", "\192\128", "\237\160\128", "\224\159\191", "\240\143\191\191",
      "\244\144\128\128", "12345678\255", "\226\130" } do
      refused(orm.Text, bytes, "LargeBinary")
    end
  end)

  it("refuses numbers", function()
    refused(orm.Text, 5, "a string expected, got 5")
  end)

  it("reads bytes that are no text as they are", function()
    assert.equal("\255", orm.Text:from_db("\255"))
  end)
end)

describe("Boolean", function()
  it("is true or false, stored as 1 and 0", function()
    kept(orm.Boolean, true, 1, true)
    kept(orm.Boolean, false, 0, false)
  end)

  it("refuses everything else", function()
    refused(orm.Boolean, 1, "true or false expected")
    refused(orm.Boolean, "true", "true or false expected")
  end)

  it("reads other stored values as they are", function()
    assert.equal(2, orm.Boolean:from_db(2))
    assert.equal("yes", orm.Boolean:from_db("yes"))
    assert.is_nil(orm.Boolean:from_db(orm.null))
  end)
end)

describe("LargeBinary", function()
  it("keeps any bytes", function()
    local bytes = {}
    for byte = 0, 255 do
      bytes[#bytes + 1] = string.char(byte)
    end
    bytes = table.concat(bytes)
    kept(orm.LargeBinary, bytes, bytes, bytes)
    kept(orm.LargeBinary, "", "", "")
  end)
end)

describe("Date, Time and DateTime", function()
  it("keep ISO-8601 as SQLite's own functions write it, and read ISO-8601", function()
    kept(orm.DateTime, "2024-02-29T12:00:00", "2024-02-29 12:00:00", "2024-02-29T12:00:00")
    kept(orm.DateTime, "2024-02-29 12:00", "2024-02-29 12:00:00", "2024-02-29T12:00:00")
    kept(orm.DateTime, "2024-02-29", "2024-02-29 00:00:00", "2024-02-29T00:00:00")
    kept(orm.DateTime, "2024-02-29T12:00:00.5", "2024-02-29 12:00:00.500000", "2024-02-29T12:00:00.500000")
    kept(orm.DateTime, "2024-02-29T12:00:00.000000", "2024-02-29 12:00:00", "2024-02-29T12:00:00")
    kept(orm.Date, "2024-02-29", "2024-02-29", "2024-02-29")
    kept(orm.Time, "12:30", "12:30:00", "12:30:00")
    kept(orm.Time, "23:59:59.000001", "23:59:59.000001", "23:59:59.000001")
  end)

  it("refuse days that no calendar has", function()
    for _, text in ipairs{ "2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "2024-00-01", "2024-01-00",
      "0000-01-01", "10000-01-01", "2024-1-1", "24-01-01", "20240101", "2024-", "2024-0", "2024-01", "2024-01-", "2024-01x01",
      "202x-01-01", "2024-0x-01", "2024-01-0x", "2024-01-001", "2024-01-32", "2024-06-31", "2024-02-30", "" } do
      refused(orm.Date, text, "a date like '2024-02-29'")
    end
    kept(orm.Date, "2000-02-29", "2000-02-29")
  end)

  it("refuse times that no clock shows", function()
    for _, text in ipairs{ "24:00", "12:60", "12:00:60", "1:00", "12", "12:00:00.", "12:00:00.1234567", "1x:00", "12x00", "12:",
      "12:x0", "12:00:", "12:00:x0", "12:00:00.x", "12:00:00x", "12:00Z", "12:00+01", "2024-01-01", "2024-01-01 12:00" } do
      refused(orm.Time, text, "a time like '12:30:00'")
    end
  end)

  it("refuse everything that is not quite a date and time", function()
    for _, text in ipairs{ "1e9", "'; DROP TABLE canary;--", "2024-01-01T", "2024-01-01  12:00", "12:00",
      "2024-01-01T12:00:00x", " 2024-01-01", "2024-01-01\0" } do
      refused(orm.DateTime, text, "a date and time like")
    end
    refused(orm.DateTime, 1e9, "a date and time like")
    refused(orm.Date, "2024-01-01T12:00", "a date like")
  end)

  it("refuse a zone, which the column would lose", function()
    for _, zone in ipairs{ "Z", "z", "+05:30", "-0800", "+01", "+23:59", "-00:00" } do
      refused(orm.DateTime, "2024-06-01T12:00:00" .. zone, "without a zone")
    end
    for _, zone in ipairs{ "x", "+", "+1", "+x1", "+01:", "+01:x0", "+24:00", "+05:60", "+01:000", "Zx", "+010", "+-1" } do
      refused(orm.DateTime, "2024-06-01T12:00:00" .. zone, "a date and time like")
    end
  end)

  it("is not made of a table that names no hour", function()
    refused(orm.Time, {}, "a time like")
    refused(orm.Time, { 1, 2 }, "a time like")
    refused(orm.Time, { min = 5 }, "a time like")
    kept(orm.Time, { hour = 5 }, "05:00:00")
    kept(orm.DateTime, { year = 2024, month = 2, day = 29 }, "2024-02-29 00:00:00")
  end)

  it("take tables as os.date makes them", function()
    local moment = { year = 2024, month = 2, day = 29, hour = 12, min = 30, sec = 5 }
    kept(orm.DateTime, moment, "2024-02-29 12:30:05")
    kept(orm.Date, moment, "2024-02-29")
    kept(orm.Time, moment, "12:30:05")
    kept(orm.DateTime, { year = 2024, month = 1, day = 1 }, "2024-01-01 00:00:00")
    kept(orm.DateTime, { year = 2024, month = 1, day = 1, usec = 250000 }, "2024-01-01 00:00:00.250000")
    kept(orm.DateTime, os.date("!*t", 0), "1970-01-01 00:00:00")
    refused(orm.Date, { year = 2023, month = 2, day = 29 }, "a date like")
    refused(orm.Date, { year = 2024, month = 2 }, "a date like")
    refused(orm.Date, { year = 2024, day = 2 }, "a date like")
    refused(orm.Date, { month = 2, day = 2 }, "a date like")
    for _, field in ipairs{ "hour", "min", "sec", "usec" } do
      for _, value in ipairs{ -1, 1.5, 1e6, "x", true } do
        refused(orm.Time, { hour = field == "hour" and value or 1, [field] = value }, "a time like")
      end
    end
    refused(orm.Time, { hour = 1, min = 60 }, "a time like")
    refused(orm.Time, { hour = 1, sec = 60 }, "a time like")
    kept(orm.Time, { hour = 0, usec = 999999 }, "00:00:00.999999")
    refused(orm.Date, { year = 10000, month = 1, day = 1 }, "a date like")
    refused(orm.Date, { year = 0, month = 1, day = 1 }, "a date like")
    refused(orm.Date, { year = 2024, month = 0, day = 1 }, "a date like")
    refused(orm.Date, { year = 2024, month = 13, day = 1 }, "a date like")
    refused(orm.DateTime, { year = 2024, month = 2, day = 1.5 }, "a date and time like")
  end)

  it("read a date without a time as midnight, and what is no date as it is stored", function()
    assert.equal("2024-01-01T00:00:00", orm.DateTime:from_db("2024-01-01"))
    assert.equal("2024-01-01T10:00:00", orm.DateTime:from_db("2024-01-01T10:00"))
    assert.equal("2024-01-01 10:00:00+02:00", orm.DateTime:from_db("2024-01-01 10:00:00+02:00"))
    assert.equal("soon", orm.DateTime:from_db("soon"))
    assert.equal("12:00:00", orm.DateTime:from_db("12:00:00"))
    assert.equal("2024-01-01 12:00:00", orm.Time:from_db("2024-01-01 12:00:00"))
    assert.equal("12:30:00", orm.Time:from_db("12:30"))
    assert.is_nil(orm.Time:from_db(orm.null))
    assert.equal(1700000000, orm.DateTime:from_db(1700000000))
    assert.equal("2024-01-01 10:00:00", orm.Date:from_db("2024-01-01 10:00:00"))
  end)
end)

describe("a value without a type", function()
  local conn = orm.create_engine("sqlite://"):connect()

  local function stored(value)
    return conn:execute(orm.text("SELECT typeof(:v), :v"), { v = value }):one()()
  end

  it("is what Lua says", function()
    assert.same({ "integer", 1 }, { stored(1) })
    assert.same({ "real", 1.5 }, { stored(1.5) })
    assert.same({ "text", "x" }, { stored("x") })
    assert.same({ "integer", 1 }, { stored(true) })
    assert.same({ "null" }, { stored(orm.null) })
  end)

  it("is exact, or refused where this Lua holds it only nearly", function()
    assert.same({ "real", 1 / 0 }, { stored(1 / 0) })
    assert.same({ "real", 1e300 }, { stored(1e300) })
    if DOUBLES then
      assert.is_false(pcall(stored, 2 ^ 53))
      assert.is_false(pcall(stored, -2 ^ 53))
      assert.is_false(pcall(stored, 2 ^ 63))
      assert.same({ "real", 2 ^ 64 }, { stored(2 ^ 64) })
    else
      assert.same({ "real", 2.0 ^ 53 }, { stored(2.0 ^ 53) })
      assert.same({ "integer", math.maxinteger }, { stored(math.maxinteger) })
    end
  end)

  it("is not a table, NaN, or bytes that are no text", function()
    local wrong = { ["a number, string, boolean or null"] = {}, ["LargeBinary"] = "\255", ["not NaN"] = 0 / 0 }
    for words, value in pairs(wrong) do
      local ok, err = pcall(stored, value)
      assert.is_false(ok)
      assert.equal("ArgumentError", err.kind)
      assert.truthy(err.message:find("parameter 'v': ", 1, true))
      assert.truthy(err.message:find(words, 1, true))
    end
  end)
end)
