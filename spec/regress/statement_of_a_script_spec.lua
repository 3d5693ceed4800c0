-- A table that looked like a statement, with a metatable that spoke of a billion places, was copied place by place.
local orm = require "orrery"
local library = require "spec.support.library"
local raises = require "spec.support.raises"

it("a select's methods take no table for a select that only says how many places it has", function()
  local lib = library.empty()
  local query = orm.select(lib.Author)
  for _, places in ipairs { 2 ^ 31 - 1, -5, 2 ^ 53, 0.5 } do
    local fake = setmetatable({}, { places })
    raises("ArgumentError", "select:where was called", query.where, fake, lib.Author.name:eq("x"))
    raises("ArgumentError", "select:limit was called", query.limit, fake, 3)
  end
end)
