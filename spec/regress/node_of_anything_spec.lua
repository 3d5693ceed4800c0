-- A script may put anything into the arrays that comparisons and selects are, a hostile one in a sandbox too: the walk over a
-- statement read fields of what was no table, and crashed.
local orm = require "orrery"
local library = require "spec.support.library"

describe("a node into which a script has put anything", function()
  it("is refused, or taken for what it is now", function()
    local lib = library.open()
    local things = { 7, "text", true, {}, orm.null, io.stdout, print, lib.Author, lib.Author.id, lib.Author.id:eq(1) }
    for place = 0, 20 do
      for _, thing in ipairs(things) do
        local select, comparison = orm.select(lib.Author):where(lib.Author.id:eq(1)):limit(1), lib.Author.id:eq(1)
        rawset(select, place, thing)
        rawset(comparison, place, thing)
        for _, statement in ipairs { select, orm.select(lib.Author):where(comparison) } do
          pcall(function() return lib.session:scalars(statement):all() end)
          pcall(function() return lib.session:execute(statement):all() end)
        end
      end
    end
    for _, thing in ipairs(things) do
      if type(thing) ~= "table" then
        local comparison = lib.Author.id:eq(1)
        rawset(comparison, 1, thing)
        assert.is_false(pcall(lib.session.scalars, lib.session, orm.select(lib.Author):where(comparison)))
      end
    end
    for _, thing in ipairs(things) do
      local selected = orm.select(lib.Author)
      local items = selected[1]
      rawset(selected, 1, thing)
      pcall(orm.select, lib.Author)
      rawset(selected, 1, items)
    end
    assert.equal("a1", lib.session:get(lib.Author, 1).name)
  end)

  it("is refused in a list of them, too", function()
    local lib = library.open()
    for _, place in ipairs { 1, 2 } do
      for _, thing in ipairs { 7, "text", true, print } do
        local select = orm.select(lib.Author.id, lib.Author.name):where(lib.Author.id:eq(1), lib.Author.name:eq("a1"))
        rawget(select, place)[2] = thing
        assert.is_false((pcall(lib.session.execute, lib.session, select)))
        if place == 2 then
          local ok, err = pcall(lib.session.execute, lib.session, select)
          assert.is_false(ok)
          assert.equal(("a %s cannot be part of a statement"):format(type(thing)), err.message)
        end
      end
    end
    assert.equal("a1", lib.session:scalar(orm.select(lib.Author.name):where(lib.Author.id:eq(1), lib.Author.name:eq("a1"))))
  end)
end)
