-- @slow
-- Sessions against a plain model: what objects show and what rows hold after random steps (links from either side,
-- flushes that fail, rollbacks, deletes, expiry, collections of garbage) must be what the model says.
local history = require "spec.random.history"
local exchange = require "spec.random.exchange"

describe("a random history", function()
  for seed = 1, 30 do
    it("agrees with the model, seed " .. seed, function()
      assert.is_nil(history(seed, 120))
    end)
  end
end)

describe("a random exchange of unique values", function()
  for seed = 1, 30 do
    it("agrees with the model, seed " .. seed, function()
      assert.is_nil(exchange(seed, 120))
    end)
  end
end)
