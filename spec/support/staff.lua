-- staff: a company and its employees, some of them managers or engineers, whose rows stand in one table or in several.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"

local staff = {}
local Integer, String, Mapped, mapped_column, ForeignKey = orm.Integer, orm.String, orm.Mapped, orm.mapped_column, orm.ForeignKey

local function key()
  return Mapped(Integer, { primary_key = true })
end

local function own_table(body, name, joined)
  if joined then
    body.__tablename__ = name
    body.id = mapped_column(ForeignKey("employee.id"), { primary_key = true })
  end
  return body
end

local function arguments(identity, more)
  local result = { polymorphic_identity = identity }
  for name, value in pairs(more or {}) do
    result[name] = value
  end
  return result
end

--- Company, Employee, Manager, Engineer and Senior, an engineer without a table of his own. `options.joined`: managers
--- and engineers have their own tables; `options.manager`, `.employee`: further __mapper_args__.
function staff.declare(options)
  options = options or {}
  local base = orm.declarative_base()
  local lib = { base = base }
  lib.Company = base:model("Company", {
    __tablename__ = "company",
    id = key(),
    name = mapped_column(String),
    employees = orm.relationship("Employee", { back_populates = "company", cascade = "all, delete-orphan",
      order_by = "Employee.id" }),
  })
  lib.Employee = base:model("Employee", {
    __tablename__ = "employee",
    id = key(),
    name = Mapped(String),
    type = Mapped(String),
    company_id = mapped_column(ForeignKey("company.id")),
    company = orm.relationship("Company", { back_populates = "employees" }),
    __mapper_args__ = arguments("employee", { polymorphic_on = "type", with_polymorphic = options.with_polymorphic }),
  })
  lib.Manager = base:model("Manager", own_table({
    __inherits__ = lib.Employee,
    budget = Mapped(Integer),
    __mapper_args__ = arguments("manager", options.manager),
  }, "manager", options.joined))
  lib.Engineer = base:model("Engineer", own_table({
    __inherits__ = lib.Employee,
    language = mapped_column(String),
    __mapper_args__ = arguments("engineer"),
  }, "engineer", options.joined))
  lib.Senior = base:model("Senior", {
    __inherits__ = lib.Engineer,
    stars = Mapped(Integer),
    __mapper_args__ = arguments("senior"),
  })
  return lib
end

--- The classes with an empty database.
function staff.empty(options)
  local lib = staff.declare(options)
  lib.engine = database.create(lib.base)
  lib.session = orm.Session(lib.engine)
  lib.record = statements.record(lib.engine)
  return lib
end

--- The same with a company of mia (manager), eve (engineer), sam (senior) and ed, who is nothing special.
function staff.open(options)
  local lib = staff.empty(options)
  local company = lib.Company { name = "acme" }
  company.employees:extend { lib.Manager { name = "mia", budget = 10 }, lib.Engineer { name = "eve", language = "lua" },
    lib.Senior { name = "sam", language = "c", stars = 3 }, lib.Employee { name = "ed" } }
  lib.session:add(company)
  lib.session:commit()
  lib.session:close()
  lib.record:take()
  return lib
end

return staff
