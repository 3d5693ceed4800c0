-- A URL with an empty user name was written without it: what was read again was another URL.
local orm = require "orrery"

describe("a URL with an empty user name", function()
  it("is written as it was read", function()
    for _, text in ipairs { "postgresql://@host/db", "postgresql://:secret@host/db" } do
      local url = orm.make_url(text)
      assert.equal("", url.username)
      assert.equal(text, url:render_as_string { hide_password = false })
    end
  end)
end)
