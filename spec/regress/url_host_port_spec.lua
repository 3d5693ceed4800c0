-- Fuzzing found "[r]444...": the digits behind a bracket were taken for a port without a colon, and for a number of any size.
local orm = require "orrery"
local raises = require "spec.support.raises"

describe("host and port of a URL", function()
  it("stand apart by a colon, behind brackets too", function()
    local url = orm.make_url("postgresql://[::1]:5432/shop")
    assert.same({ "[::1]", 5432 }, { url.host, url.port })
    assert.equal("postgresql://[::1]:5432/shop", url:render_as_string())
    raises("ArgumentError", { "is not a database URL" }, orm.make_url, "postgresql://[::1]5432/shop")
    raises("ArgumentError", { "is not a database URL" }, orm.make_url, "postgresql://host]/shop")
  end)

  it("take a port that a network knows", function()
    assert.equal(65535, orm.make_url("postgresql://host:65535/shop").port)
    raises("ArgumentError", { "is not a database URL" }, orm.make_url, "postgresql://host:65536/shop")
    raises("ArgumentError", { "is not a database URL" }, orm.make_url, "postgresql://host:" .. ("4"):rep(120) .. "/shop")
    raises("ArgumentError", { "is not a database URL" }, orm.make_url, "postgresql://host:12x/shop")
  end)
end)
