-- @slow @bare (make fuzz runs the same under the sanitizers)
-- Sequences of making, using, closing, collecting, yielding, throwing and entering again: an error of ours or success.
local life = require "spec.random.life"

local SEQUENCES, LENGTH = 2000, 120 -- bytes

local function bytes_of(seed)
  local state, left = seed * 7919 + 13, LENGTH
  return function()
    state, left = (state * 16807) % 2147483647, left - 1
    return left > 0 and math.floor(state / 1024) % 256 or nil
  end
end

describe("the life of objects", function()
  for first = 1, SEQUENCES, 100 do
    it(("goes by typed errors or success, sequences %d to %d"):format(first, first + 99), function()
      for seed = first, first + 99 do
        assert.is_nil(life(bytes_of(seed)), "sequence " .. seed)
      end
      collectgarbage()
    end)
  end
end)
