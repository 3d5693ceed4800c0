-- @lua 5.4 @bare @slow  A sample of what `make fault` does: allocations, calls of the file system and the power fail, and
-- nothing is lost, left or half done. spec/fault/fault.h says how.

local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read("a")
  return text, (pipe:close())
end

describe("under faults", function()
  local program = os.tmpname()

  setup(function()
    local text, built = output("cc -std=gnu11 -O1 -Isrc -I/usr/include/lua5.4 -o " .. program .. " spec/fault/*.c "
      .. "build/5.4/liborrery.a -Wl,--wrap=getpid,--wrap=madvise,--wrap=mmap,--wrap=munmap -llua5.4 -lsqlite3 -lm")
    assert(built, text)
  end)
  teardown(function() os.remove(program) end)

  local function holds(arguments)
    local text, fine = output(program .. " " .. arguments)
    assert.is_true(fine, text)
  end

  it("of memory, a session loses and leaves nothing", function()
    holds("memory --stride 149 --offset 7 --at-least 100 graph flush many-to-many constraint")
  end)

  it("of memory without a protected call, the state is good for lua_close", function()
    holds("host --stride 397 --at-least 20 graph merge")
  end)

  it("of the file system, a unit of work is done or not", function()
    holds("disk --stride 17 --at-least 20 graph flush ddl")
    holds("disk --journal wal --stride 17 --at-least 10 graph flush")
  end)

  it("of the power, what was acknowledged stays", function()
    holds("power --images 4 --at-least 100 graph nested")
    holds("power --journal wal --images 4 --at-least 50 graph nested")
  end)

  it("of the process, what was acknowledged stays", function()
    local folder = os.tmpname()
    os.remove(folder)
    output("mkdir " .. folder)
    holds("kill " .. folder .. " 4")
    output("rm -r " .. folder)
  end)

  it("that are too few, fails", function()
    local _, fine = output(program .. " power --images 1 --at-least 100000 nested")
    assert.is_nil(fine)
  end)
end)
