-- Patterns of relationships that take more than one of the plain four: association objects, link tables with more to
-- them, keys of several columns that overlap, foreign keys to whatever a column says.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, ForeignKey, relationship = orm.Integer, orm.String, orm.ForeignKey, orm.relationship
local Column, Mapped, Optional, select = orm.Column, orm.Mapped, orm.Optional, orm.select

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function open(base)
  local engine = database.create(base)
  return orm.Session(engine), engine
end

local function silent(fn)
  local warnings = {}
  local former = orm.on_warning(function(message) warnings[#warnings + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(former)
  assert(ok, err)
  assert.same({}, warnings)
end

describe("an association object", function()
  local function course()
    local base = orm.declarative_base()
    local c = {}
    c.Student = base:model("Student", { __tablename__ = "student", id = id(),
      enrolments = relationship("Enrolment", { back_populates = "student", cascade = "all, delete-orphan" }),
      courses = relationship("Course", { secondary = "enrolment", viewonly = true, order_by = "id" }) })
    c.Course = base:model("Course", { __tablename__ = "course", id = id(), title = Mapped(String),
      enrolments = relationship("Enrolment", { back_populates = "course", cascade = "all, delete-orphan" }) })
    c.Enrolment = base:model("Enrolment", { __tablename__ = "enrolment",
      student_id = Mapped(Integer, ForeignKey("student.id"), { primary_key = true }),
      course_id = Mapped(Integer, ForeignKey("course.id"), { primary_key = true }),
      grade = Mapped(Optional(Integer)),
      student = relationship("Student", { back_populates = "enrolments" }),
      course = relationship("Course", { back_populates = "enrolments" }) })
    silent(function() base.registry:configure() end)
    c.session, c.engine = open(base)
    return c
  end

  it("carries columns of the link, and gets its key from both sides", function()
    local c = course()
    local student = c.Student {}
    c.Enrolment { student = student, course = c.Course { title = "a" }, grade = 5 }
    student.enrolments:append(c.Enrolment { course = c.Course { title = "b" } })
    c.session:add(student)
    c.session:commit()
    assert.same({ "1|1|5", "1|2|NULL" }, rows(c.engine, "SELECT student_id, course_id, grade FROM enrolment ORDER BY course_id"))
    student.enrolments[2].grade = 4
    student.enrolments:remove(student.enrolments[1])
    c.session:commit()
    assert.same({ "1|2|4" }, rows(c.engine, "SELECT student_id, course_id, grade FROM enrolment"))
    assert.same({ "2" }, rows(c.engine, "SELECT count(*) FROM course"))
  end)

  it("can be looked over by a many-to-many that is only read", function()
    local c = course()
    local student = c.Student { enrolments = { c.Enrolment { course = c.Course { title = "a" } } } }
    c.session:add(student)
    c.session:commit()
    assert.equal("a", student.courses[1].title)
    assert.same({ 1 }, c.session:scalars(select(c.Student.id):where(c.Student.courses:any(c.Course.title:eq("a")))):all())
    c.session:delete(student)
    c.session:commit()
    assert.same({ "0" }, rows(c.engine, "SELECT count(*) FROM enrolment"))
  end)
end)

describe("a link table", function()
  local function linked(...)
    local base = orm.declarative_base()
    local Left = base:model("Left", { __tablename__ = "lefts", id = id(),
      rights = relationship("Right", { secondary = "link", back_populates = "lefts" }) })
    local Right = base:model("Right", { __tablename__ = "rights", id = id(),
      lefts = relationship("Left", { secondary = "link", back_populates = "rights" }) })
    orm.Table("link", base.metadata, ...)
    return Left, Right, base, open(base)
  end

  it("with a key of its own loses rows by that key", function()
    local Left, Right, _, session, engine = linked(Column("id", Integer, { primary_key = true }),
      Column("l", Integer, ForeignKey("lefts.id")), Column("r", Integer, ForeignKey("rights.id")),
      Column("at", String, { default = "now" }))
    local left, one, two = Left {}, Right {}, Right {}
    left.rights = { one, two }
    session:add(left)
    session:commit()
    assert.same({ "1|1|1|now", "2|1|2|now" }, rows(engine, "SELECT * FROM link ORDER BY id"))
    left.rights:remove(one)
    session:commit()
    assert.same({ "2|1|2|now" }, rows(engine, "SELECT * FROM link"))
  end)

  it("that is unique on one side is a one-to-many", function()
    local base = orm.declarative_base()
    local Box = base:model("Box", { __tablename__ = "box", id = id(),
      things = relationship("Thing", { secondary = "box_thing", back_populates = "box" }) })
    local Thing = base:model("Thing", { __tablename__ = "thing", id = id(),
      box = relationship("Box", { secondary = "box_thing", back_populates = "things", uselist = false }) })
    orm.Table("box_thing", base.metadata, Column("box_id", Integer, ForeignKey("box.id")),
      Column("thing_id", Integer, ForeignKey("thing.id"), { primary_key = true }))
    local session, engine = open(base)
    local first, second, thing = Box {}, Box {}, Thing {}
    first.things:append(thing)
    assert.equal(first, thing.box)
    session:add_all { first, second }
    session:commit()
    thing.box = second
    assert.equal(0, #first.things)
    session:commit()
    assert.same({ "2|1" }, rows(engine, "SELECT box_id, thing_id FROM box_thing"))
    session:expunge_all()
    assert.equal(2, session:get(Thing, 1).box.id)
  end)
end)

describe("keys of several columns", function()
  it("that overlap keep the shared column, and may be looked at with foreign()", function()
    local base = orm.declarative_base()
    local Tenant = base:model("Tenant", { __tablename__ = "tenant", id = id() })
    local Customer = base:model("Customer", { __tablename__ = "customer",
      tenant_id = Mapped(Integer, ForeignKey("tenant.id"), { primary_key = true }),
      no = Mapped(Integer, { primary_key = true }), tenant = relationship("Tenant") })
    local Invoice = base:model("Invoice", { __tablename__ = "invoice",
      __table_args__ = { orm.ForeignKeyConstraint({ "tenant_id", "customer_no" }, { "customer.tenant_id", "customer.no" }) },
      tenant_id = Mapped(Integer, ForeignKey("tenant.id"), { primary_key = true }),
      no = Mapped(Integer, { primary_key = true }), customer_no = Mapped(Optional(Integer)),
      tenant = relationship("Tenant"),
      customer = relationship("Customer", { primaryjoin = function(Own, Buyer)
        return orm.and_(Own.tenant_id:eq(Buyer.tenant_id), orm.foreign(Own.customer_no):eq(Buyer.no))
      end }) })
    silent(function() base.registry:configure() end)
    local session, engine = open(base)
    local tenant = Tenant {}
    local customer = Customer { tenant = tenant, no = 7 }
    local invoice = Invoice { tenant = tenant, no = 1, customer = customer }
    session:add_all { customer, invoice }
    session:commit()
    assert.same({ "1|1|7" }, rows(engine, "SELECT tenant_id, no, customer_no FROM invoice"))
    assert.equal(customer, invoice.customer)
    invoice.customer = nil
    session:commit()
    assert.same({ "1|1|NULL" }, rows(engine, "SELECT tenant_id, no, customer_no FROM invoice"))
    assert.is_nil(invoice.customer)
  end)

  it("of a tree within an account join on all of them, in both directions", function()
    local base = orm.declarative_base()
    local Folder = base:model("Folder", { __tablename__ = "folder",
      __table_args__ = { orm.ForeignKeyConstraint({ "account", "parent_no" }, { "folder.account", "folder.no" }) },
      account = Mapped(Integer, { primary_key = true }), no = Mapped(Integer, { primary_key = true }),
      parent_no = Mapped(Optional(Integer)),
      parent = relationship("Folder", { back_populates = "children", remote_side = { "account", "no" } }),
      children = relationship("Folder", { back_populates = "parent", order_by = "no" }) })
    local session, engine = open(base)
    session:add(Folder { account = 1, no = 1, children = { Folder { account = 1, no = 2 }, Folder { account = 1, no = 3 } } })
    session:add(Folder { account = 2, no = 1, children = { Folder { account = 2, no = 2 } } })
    session:commit()
    assert.same({ "1|1|NULL", "1|2|1", "1|3|1", "2|1|NULL", "2|2|1" },
      rows(engine, "SELECT account, no, parent_no FROM folder ORDER BY account, no"))
    session:expunge_all()
    for _, name in ipairs { "lazyload", "selectinload", "joinedload" } do
      local found = session:scalars(select(Folder):where(Folder.no:eq(1)):order_by(Folder.account)
        :options(orm[name](Folder.children))):unique():all()
      assert.same({ 2, 1 }, { #found[1].children, #found[2].children })
      assert.equal(found[2], found[2].children[1].parent)
      session:expunge_all()
    end
  end)
end)

describe("a foreign key whose table a column names", function()
  it("is read by one relationship for each, and written by hand", function()
    local base = orm.declarative_base()
    local Comment = base:model("Comment", { __tablename__ = "comment", id = id(), words = Mapped(String),
      kind = Mapped(String), about_id = Mapped(Integer) })
    local function comments_of(kind)
      return relationship("Comment", { viewonly = true, order_by = "id", primaryjoin = function(Class, Other)
        return orm.and_(Class.id:eq(orm.foreign(Other.about_id)), Other.kind:eq(kind))
      end })
    end
    local Photo = base:model("Photo", { __tablename__ = "photo", id = id(), comments = comments_of("photo") })
    local Song = base:model("Song", { __tablename__ = "song", id = id(), comments = comments_of("song") })
    local session = open(base)
    session:add_all { Photo { id = 1 }, Song { id = 1 }, Comment { kind = "photo", about_id = 1, words = "nice" },
      Comment { kind = "song", about_id = 1, words = "loud" } }
    session:commit()
    for _, name in ipairs { "lazyload", "selectinload", "joinedload" } do
      session:expunge_all()
      local photo = session:scalars(select(Photo):options(orm[name](Photo.comments))):unique():one()
      local song = session:scalars(select(Song):options(orm[name](Song.comments))):unique():one()
      assert.same({ 1, "nice", 1, "loud" }, { #photo.comments, photo.comments[1].words, #song.comments, song.comments[1].words })
    end
    assert.same({ 1 }, session:scalars(select(Song.id):where(Song.comments:any(Comment.words:eq("loud")))):all())
    assert.same({}, session:scalars(select(Song.id):where(Song.comments:any(Comment.words:eq("nice")))):all())
  end)
end)

describe("several foreign keys between two tables", function()
  it("go their own ways, both ways", function()
    local base = orm.declarative_base()
    local Person = base:model("Person", { __tablename__ = "person", id = id(),
      sent = relationship("Letter", { back_populates = "sender", foreign_keys = "Letter.sender_id" }),
      received = relationship("Letter", { back_populates = "receiver", foreign_keys = "Letter.receiver_id" }) })
    local Letter = base:model("Letter", { __tablename__ = "letter", id = id(),
      sender_id = Mapped(Integer, ForeignKey("person.id")), receiver_id = Mapped(Integer, ForeignKey("person.id")),
      sender = relationship("Person", { back_populates = "sent", foreign_keys = "sender_id" }),
      receiver = relationship("Person", { back_populates = "received", foreign_keys = "receiver_id" }) })
    local session, engine = open(base)
    local ann, bob = Person {}, Person {}
    session:add(Letter { sender = ann, receiver = bob })
    ann.received:append(Letter { sender = bob })
    assert.same({ 1, 1, 1, 1 }, { #ann.sent, #ann.received, #bob.sent, #bob.received })
    session:commit()
    assert.same({ "1|1|2", "2|2|1" }, rows(engine, "SELECT id, sender_id, receiver_id FROM letter ORDER BY id"))
  end)

  it("that are not told apart are listed in the error, with what to write", function()
    local base = orm.declarative_base()
    base:model("Person", { __tablename__ = "person", id = id(), letters = relationship("Letter") })
    base:model("Letter", { __tablename__ = "letter", id = id(),
      sender_id = Mapped(Integer, ForeignKey("person.id")), receiver_id = Mapped(Integer, ForeignKey("person.id")) })
    raises("AmbiguousForeignKeysError", { "Person.letters", "letter.sender_id -> person.id", "letter.receiver_id -> person.id",
      "foreign_keys = 'Letter.sender_id'" }, function() base.registry:configure() end)
  end)
end)

describe("a relationship to a column that may be NULL", function()
  it("finds nothing while it is, one object at a time or together", function()
    local base = orm.declarative_base()
    local Shop = base:model("Shop", { __tablename__ = "shop", id = id(), code = Mapped(Optional(String), { unique = true }),
      goods = relationship("Good", { back_populates = "shop", order_by = "Good.id" }) })
    local Good = base:model("Good", { __tablename__ = "good", id = id(), code = Mapped(Optional(String), ForeignKey("shop.code")),
      shop = relationship("Shop", { back_populates = "goods" }) })
    local session = open(base)
    session:add_all { Shop { code = "a", goods = { Good {}, Good {} } }, Shop {}, Good {} }
    session:commit()
    for _, strategy in ipairs { orm.lazyload, orm.selectinload, orm.batchload, orm.subqueryload, orm.joinedload } do
      session:expunge_all()
      local shops = session:scalars(select(Shop):order_by(Shop.id):options(strategy(Shop.goods))):unique():all()
      assert.same({ 2, 0 }, { #shops[1].goods, #shops[2].goods })
      local goods = session:scalars(select(Good):order_by(Good.id):options(strategy(Good.shop))):unique():all()
      assert.equal(shops[1], goods[2].shop)
      assert.is_nil(goods[3].shop)
    end
  end)
end)
