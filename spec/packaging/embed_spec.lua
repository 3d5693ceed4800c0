-- @lua 5.4 @bare  The C host program of examples/embed: built, run, and what it printed.

local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read("a")
  return text, (pipe:close())
end

describe("a C program with Orrery inside", function()
  it("declares, saves and reads back without a Lua file on disk", function()
    local built, fine = output("make --no-print-directory embed-example")
    assert.is_true(fine, built)
    local text, ran = output("cd / && '" .. io.popen("pwd"):read("l") .. "/build/embed'")
    assert.is_true(ran, text)
    assert.equal(table.concat({
      "My Portfolio: 3 investments",
      "  bitcoin        1.00 USD",
      "  ethereum      10.00 GBP",
      "  dogecoin     100.00 EUR",
      "",
    }, "\n"), text)
  end)

  it("shows an error of the script and fails", function()
    local text, ran = output("build/embed sqlite:////nowhere/at/all.db")
    assert.is_falsy(ran)
    assert.matches("^embed: ", text)
  end)
end)

describe("make install", function()
  it("puts the module, the static library and the header under PREFIX", function()
    local folder = output("mktemp -d"):gsub("%s+$", "")
    local text, fine = output("make --no-print-directory install PREFIX='" .. folder .. "'")
    assert.is_true(fine, text)
    local listing = output("cd '" .. folder .. "' && find . -type f | LC_ALL=C sort")
    assert.equal("./include/orrery.h\n./lib/liborrery.a\n./lib/lua/5.4/orrery.so\n./share/orrery/orrery.lua\n", listing)
    os.execute("rm -rf '" .. folder .. "'")
  end)
end)
