-- A statement that fails names its parameters, also where one of them is an integer that this Lua cannot hold: building
-- them raised another error in the place of the database's.
local orm = require "orrery"

describe("the error of a failed flush", function()
  it("stays the database's, with digits for what a double cannot hold", function()
    local base = orm.declarative_base()
    local Account = base:model("Account", {
      __tablename__ = "account",
      id = orm.Mapped(orm.Integer, { primary_key = true }),
      number = orm.Mapped(orm.BigInteger { as = "string" }, { unique = true }),
    })
    local engine = orm.create_engine("sqlite:///:memory:")
    base.metadata:create_all(engine)
    local session = orm.Session(engine)
    session:add(Account { number = "9007199254740993" })
    session:commit()
    session:add(Account { number = "9007199254740993" })
    local ok, err = pcall(session.flush, session)
    assert.is_false(ok)
    assert.equal("IntegrityError", err.kind)
    assert.equal("9007199254740993", ("%s"):format(tostring(err.params[#err.params])))
  end)
end)
