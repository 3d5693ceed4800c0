-- Student and Course: many-to-many. The rows of the link table are made and removed by changing collections, from
-- whichever side; no class stands for them.
--
--     lua5.4 examples/school.lua [database file or URL]     by default a database in memory
--
-- The tables student, course and enrolment are dropped and made anew.
local orm = require "orrery"
local Integer, String, Mapped, ForeignKey, Column = orm.Integer, orm.String, orm.Mapped, orm.ForeignKey, orm.Column
local select, func = orm.select, orm.func

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local Base = orm.declarative_base()

-- The types follow from the keys that these refer to.
local enrolment = orm.Table("enrolment", Base.metadata,
  Column("student_id", ForeignKey("student.id"), { primary_key = true }),
  Column("course_id", ForeignKey("course.id"), { primary_key = true }))

local Student = Base:model("Student", {
  __tablename__ = "student",
  id      = Mapped(Integer, { primary_key = true }),
  name    = Mapped(String(40)),
  courses = orm.relationship("Course", { secondary = enrolment, back_populates = "students", order_by = "title" }),
})

local Course = Base:model("Course", {
  __tablename__ = "course",
  id       = Mapped(Integer, { primary_key = true }),
  title    = Mapped(String(60)),
  students = orm.relationship("Student", { secondary = enrolment, back_populates = "courses", order_by = "name" }),
})

function Student:__tostring()
  return self.name
end

function Course:__tostring()
  return self.title
end

local engine = orm.create_engine(url)
Base.metadata:drop_all(engine)
Base.metadata:create_all(engine)
local session = orm.Session(engine)

local function names(collection)
  local list = {}
  for position, object in collection do
    list[position] = tostring(object)
  end
  return #list > 0 and table.concat(list, ", ") or "nobody"
end

local function show(when)
  print(when)
  for course in session:scalars(select(Course):order_by(Course.title)) do
    print(("  %-10s %s"):format(course.title, names(course.students)))
  end
  print(("  %-10s %d"):format("links", session:scalar(select(func.count()):select_from(enrolment))))
end

local ann, bob, eve = Student{ name = "Ann" }, Student{ name = "Bob" }, Student{ name = "Eve" }
local algebra, botany = Course{ title = "Algebra" }, Course{ title = "Botany" }
local chemistry = Course{ title = "Chemistry" }

ann.courses = { algebra, botany }              -- from the side of the student
chemistry.students:extend{ ann, bob }          -- from the side of the course
algebra.students:append(eve)
session:add_all{ ann, chemistry }              -- the others follow along the links
session:commit()
show("At the beginning of term:")
print("Ann takes " .. names(ann.courses) .. ".")

ann.courses:remove(botany)                     -- one link row goes, Botany stays
bob.courses:append(algebra)
eve.courses = { chemistry }                    -- one goes, one comes
session:commit()
show("After a week:")

local popular = select(Course.title, func.count():label("n")):join(Course.students):group_by(Course.id)
  :order_by(func.count():desc(), Course.title)
for row in session:execute(popular) do
  print(("%s has %d students."):format(row.title, row.n))
end
local of_bob = select(Course):join(Course.students):where(Student.name:eq("Bob")):order_by(Course.title)
for course in session:scalars(of_bob) do
  print("Bob takes " .. course.title .. ".")
end

session:delete(chemistry)                      -- its link rows go with it, the students stay
session:commit()
show("Chemistry was cancelled:")
print(("There are still %d students."):format(session:scalar(select(func.count(Student.id)))))
session:close()
engine:dispose()
