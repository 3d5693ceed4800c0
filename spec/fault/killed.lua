-- killed: a program that commits for ever, made to be killed. Called with (open, ack); returns the function of a path and
-- the first unit's number that does it.
local open, ack = ...
local orm = open()
local Base = orm.declarative_base()

local Account = Base:model("Account", { __tablename__ = "account", id = orm.Mapped(orm.Integer, { primary_key = true }),
  total = orm.Mapped(orm.Integer) })
local Unit = Base:model("Unit", { __tablename__ = "unit", id = orm.Mapped(orm.Integer, { primary_key = true }),
  lines = orm.relationship("Line", { back_populates = "unit" }) })
local Line = Base:model("Line", { __tablename__ = "line", id = orm.Mapped(orm.Integer, { primary_key = true }),
  unit_id = orm.Mapped(orm.Integer, orm.ForeignKey("unit.id")), unit = orm.relationship("Unit", { back_populates = "lines" }) })
orm.configure_mappers()

return function(path, first)
  local session = orm.Session(orm.create_engine("sqlite:///" .. path))
  for number = first, math.huge do
    local account, unit = session:get(Account, 1), Unit{ id = number }
    for _ = 1, 5 do
      unit.lines:append(Line{})
    end
    session:add(unit)
    account.total = account.total + 1
    session:commit()
    ack(number)
  end
end
