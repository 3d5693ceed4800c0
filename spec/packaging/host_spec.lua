-- @lua 5.4 @bare  What orrery.h offers a C program beside opening the library: engines over its own database handles,
-- reading objects, and stopping a statement from another thread. ORRERY_LIBRARY: another build, with what it is linked with.

local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read("a")
  return text, (pipe:close())
end

describe("a C program", function()
  it("lends or gives its SQLite handle, reads objects, and interrupts statements from another thread", function()
    local program = os.tmpname()
    local built, fine = output("cc -Isrc -I/usr/include/lua5.4 -o " .. program .. " spec/packaging/host.c "
      .. (os.getenv("ORRERY_LIBRARY") or "build/5.4/liborrery.a") .. " -llua5.4 -lsqlite3 -lm -lpthread")
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
      -- a new object
      "id: null", "name: text of 3, 'ann'", "photo: bytes of 3, 'a\0b'", "size: number 1.5", "paid: integer 1",
      "born: text of 10, '2024-02-29'", "note: null",
      -- stored and changed
      "id: integer 1", "name: text of 3, 'bea'", "photo: null", "size: number 1.5", "paid: integer 1",
      "born: text of 10, '2024-02-29'", "note: null",
      -- expired by the commit, and read again
      "name: unloaded",
      "id: integer 1", "name: text of 3, 'bea'", "photo: null", "size: number 1.5", "paid: integer 1",
      "born: text of 10, '2024-02-29'", "note: null",
      -- detached; a relationship, an unknown name, a class, a session, a function, nil
      "name: text of 3, 'bea'",
      "boss: nothing", "nmae: nothing", "name: nothing", "name: nothing", "name: nothing", "name: nothing",
      "by the class: the same number",
      "stack: 1",
      "no connection: none",
      "OperationalError\tinterrupted",
      "OperationalError\tinterrupted\t1",
      "0 libraries: orrery: Lua's library 'base' is not open in this sta",
      "1 libraries: orrery: Lua's library 'string' is not open in this s",
      "2 libraries: orrery: Lua's library 'table' is not open in this st",
      "3 libraries: orrery: Lua's library 'math' is not open in this sta",
      "4 libraries: orrery: Lua's library 'coroutine' is not open in thi",
      "5 libraries: open",
      "",
    }, "\n"), text)
  end)
end)
