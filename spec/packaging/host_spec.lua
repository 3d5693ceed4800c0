-- @lua 5.4 @bare  What orrery.h offers a C program beside opening the library: engines over its own database handles,
-- and stopping a statement from another thread.

local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read("a")
  return text, (pipe:close())
end

describe("a C program", function()
  it("lends or gives its SQLite handle, and interrupts a statement from another thread", function()
    local program = os.tmpname()
    local built, fine = output("cc -Isrc -I/usr/include/lua5.4 -o " .. program .. " spec/packaging/host.c "
      .. "build/5.4/liborrery.a -llua5.4 -lsqlite3 -lm -lpthread")
    assert.is_true(fine, built)
    local text, ran = output(program)
    os.remove(program)
    assert.is_true(ran, text)
    assert.equal(table.concat({
      "rows\t3",
      "busy timeout\t1234",
      "session\t3",
      "ResourceClosedError",
      "the host still counts 3",
      "closed: yes",
      "own\t2",
      "another copy is refused",
      "no connection: none",
      "OperationalError\tinterrupted",
      "",
    }, "\n"), text)
  end)
end)
