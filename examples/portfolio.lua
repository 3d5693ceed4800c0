-- Portfolio and Investment: one portfolio has many investments, and both sides know each other. The objects are linked
-- from either side, only the portfolio is added to the session, and all of them are saved and read back. Statements are
-- shown as they run, behind "|".
--
--     lua5.4 examples/portfolio.lua [database file or URL]     by default a database in memory
--
-- The tables portfolio and investments are dropped and made anew.
local orm = require "orrery"
local Integer, String, Text, Numeric = orm.Integer, orm.String, orm.Text, orm.Numeric
local Mapped, Optional, ForeignKey, relationship = orm.Mapped, orm.Optional, orm.ForeignKey, orm.relationship

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local Base = orm.declarative_base()

local Portfolio = Base:model("Portfolio", {
  __tablename__ = "portfolio",
  id          = Mapped(Integer, { primary_key = true }),
  name        = Mapped(String(256)),
  description = Mapped(Optional(Text)),
  investments = relationship("Investment", { back_populates = "portfolio" }),
})

local Investment = Base:model("Investment", {
  __tablename__ = "investments",
  id           = Mapped(Integer, { primary_key = true }),
  coin         = Mapped(String(32)),
  currency     = Mapped(String(3)),
  amount       = Mapped(Numeric(5, 2)),
  portfolio_id = Mapped(Optional(Integer), ForeignKey("portfolio.id")),
  portfolio    = relationship("Portfolio", { back_populates = "investments" }),
})

function Investment:worth(rate)
  return self.amount * rate
end

function Investment:__tostring()
  return ("%s, %.2f %s"):format(self.coin, self.amount, self.currency)
end

function Portfolio:__tostring()
  return ("%s (%s)"):format(self.name, self.description)
end

local function title(text)
  print("\n" .. text)
end

local function show(portfolio)
  print("  " .. tostring(portfolio))
  for position, investment in portfolio.investments do
    print(("    %d. %s"):format(position, tostring(investment)))
  end
end

-- `echo = true` would write statements to stderr; a function gets them instead.
local engine = orm.create_engine(url, {
  echo = function(statement)
    print("  | " .. statement:gsub("\n", "\n  | "))
  end,
})

title("The tables are made anew in " .. url)
Base.metadata:drop_all(engine)
Base.metadata:create_all(engine)

title("Objects, linked in memory; nothing is sent to the database yet:")
local portfolio = Portfolio{ name = "My Portfolio", description = "My Description" }
local bitcoin   = Investment{ coin = "bitcoin",  currency = "USD", amount = 1.0 }
local ethereum  = Investment{ coin = "ethereum", currency = "GBP", amount = 10.0 }
local dogecoin  = Investment{ coin = "dogecoin", currency = "EUR", amount = 100.0 }

bitcoin.portfolio = portfolio                          -- also appears in portfolio.investments
portfolio.investments:extend{ ethereum, dogecoin }     -- also sets ethereum.portfolio
assert(#portfolio.investments == 3 and ethereum.portfolio == portfolio)
show(portfolio)

title("Adding the portfolio, and nothing else, saves all four:")
local session = orm.Session(engine)
session:add(portfolio)
session:commit()
session:close()

title("Another session reads them back:")
session = orm.Session(engine)
show(session:scalars(orm.select(Portfolio)):one())

title("A query, and a method of the model:")
local large = orm.select(Investment):where(Investment.amount:ge(10)):order_by(Investment.amount:desc())
for investment in session:scalars(large) do
  print(("  %s belongs to %s; at a rate of 0.5 it is worth %.2f"):format(investment.coin, investment.portfolio.name,
    investment:worth(0.5)))
end
session:close()
engine:dispose()
