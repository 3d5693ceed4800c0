-- src/core/relation.c: what a relationship between two tables is, and whether two of them are one.
local declare = require "spec.core.declare"

local CLASS = { author = "Author", book = "Book", node = "Node", student = "Student", course = "Course",
  person = "Person", line = "Line", orders = "Order", hen = "Hen", egg = "Egg", passport = "Passport" }

local function columns(numbers, list)
  local found = list and {}
  for i, name in ipairs(list or {}) do
    found[i] = assert(numbers[name], name)
  end
  return found
end

-- "author.books book": the relationship `books` of the class of table author, which leads to book's
local function relate(schema, numbers, text, options)
  local parent, attribute, target = text:match "^(%S+)%.(%S+) (%S+)$"
  return schema:relate {
    parent = numbers[parent], target = numbers[target], class = CLASS[parent], attribute = attribute,
    target_class = CLASS[target], uselist = options.uselist, secondary = numbers[options.secondary],
    foreign_keys = columns(numbers, options.foreign_keys), remote_side = columns(numbers, options.remote_side),
  }
end

local function show_pairs(pairs_)
  local parts = {}
  for i, pair in ipairs(pairs_ or {}) do
    parts[i] = pair[1] .. "=" .. pair[2]
  end
  return table.concat(parts, " ")
end

-- "onetomany list 1=2", "manytomany list 1=1 | 1=2"
local function show(r)
  local text = r.direction .. (r.uselist and " list " or " one ")
  if r.pairs then
    return text .. show_pairs(r.pairs)
  end
  return text .. show_pairs(r.secondary_pairs) .. " | " .. show_pairs(r.target_pairs)
end

local AUTHOR, BOOK = "author: id pk, name", "book: id pk, author_id -> author.id"
local BOOK_BY_TWO = "book: id pk, author_id -> author.id, editor_id -> author.id"
local NODE = "node: id pk, parent_id -> node.id"
local ORDERS = "orders: shop pk, no pk"
local LINE = "line: no, shop, (shop no) -> orders(shop no)"
local STUDENT, COURSE = "student: id pk", "course: id pk"
local ENROLMENT = "enrolment: course_id -> course.id, student_id -> student.id"
local FOLLOW = "follow: follower_id -> person.id, followed_id -> person.id"

describe("relation", function()
  -- what it shows, tables, relationship, options, result
  local cases = {
    { "a foreign key on the target is one-to-many", { AUTHOR, BOOK }, "author.books book", {}, "onetomany list 1=2" },
    { "a foreign key on the parent is many-to-one", { AUTHOR, BOOK }, "book.author author", {}, "manytoone one 2=1" },
    { "uselist = false makes one-to-one", { AUTHOR, BOOK }, "author.book book", { uselist = false },
      "onetomany one 1=2" },
    { "so does a unique foreign key", { "person: id pk", "passport: id pk, person_id unique -> person.id" },
      "person.passport passport", {}, "onetomany one 1=2" },
    { "so does one that is the whole primary key", { "person: id pk", "passport: id pk, (id) -> person(id)" },
      "person.passport passport", {}, "onetomany one 1=1" },
    { "uselist = true wins over a unique foreign key",
      { "person: id pk", "passport: id pk, person_id, unique(person_id), (person_id) -> person(id)" },
      "person.passports passport", { uselist = true }, "onetomany list 1=2" },
    { "a foreign key that is part of the primary key stays a list",
      { "person: id pk", "passport: person_id pk, no pk, (person_id) -> person(id)" }, "person.passports passport", {},
      "onetomany list 1=1" },
    { "a foreign key of two columns joins both", { ORDERS, LINE }, "orders.lines line", {}, "onetomany list 1=2 2=1" },
    { "and so backwards", { ORDERS, LINE }, "line.order orders", {}, "manytoone one 2=1 1=2" },
    { "a self-reference is one-to-many", { NODE }, "node.children node", {}, "onetomany list 1=2" },
    { "remote_side = primary key makes it many-to-one", { NODE }, "node.parent node", { remote_side = { "node.id" } },
      "manytoone one 2=1" },
    { "remote_side = foreign key says what is so already", { NODE }, "node.children node",
      { remote_side = { "node.parent_id" } }, "onetomany list 1=2" },
    { "a self-reference of two columns may share one of them",
      { "node: account pk, id pk, parent_id, (account parent_id) -> node(account id)" }, "node.parent node",
      { remote_side = { "node.account", "node.id" } }, "manytoone one 1=1 3=2" },
    { "foreign_keys chooses among several", { AUTHOR, BOOK_BY_TWO }, "author.edited book",
      { foreign_keys = { "book.editor_id" } }, "onetomany list 1=3" },
    { "so does it backwards", { AUTHOR, BOOK_BY_TWO }, "book.editor author", { foreign_keys = { "book.editor_id" } },
      "manytoone one 3=1" },
    { "between tables that refer to each other foreign_keys gives the direction",
      { "hen: id pk, egg_id -> egg.id", "egg: id pk, hen_id -> hen.id" }, "hen.eggs egg",
      { foreign_keys = { "egg.hen_id" } }, "onetomany list 1=2" },
    { "so does remote_side", { "hen: id pk, egg_id -> egg.id", "egg: id pk, hen_id -> hen.id" }, "hen.egg egg",
      { remote_side = { "egg.id" } }, "manytoone one 2=1" },
    { "a foreign key that is declared twice counts once",
      { AUTHOR, "book: id pk, author_id -> author.id, (author_id) -> author(id)" }, "author.books book", {},
      "onetomany list 1=2" },
    { "a link table makes many-to-many", { STUDENT, COURSE, ENROLMENT }, "student.courses course",
      { secondary = "enrolment" }, "manytomany list 1=2 | 1=1" },
    { "with uselist = false it holds one", { STUDENT, COURSE, ENROLMENT }, "student.course course",
      { secondary = "enrolment", uselist = false }, "manytomany one 1=2 | 1=1" },
    { "a link table with composite keys", { ORDERS, COURSE,
      "enrolment: shop, no, course_id -> course.id, (shop no) -> orders(shop no)" }, "orders.courses course",
      { secondary = "enrolment" }, "manytomany list 1=1 2=2 | 1=3" },
    { "a link table to one table twice is told by foreign_keys", { "person: id pk", FOLLOW }, "person.follows person",
      { secondary = "follow", foreign_keys = { "follow.follower_id" } }, "manytomany list 1=1 | 1=2" },
    { "whose first stands for this side", { "person: id pk", FOLLOW }, "person.followers person",
      { secondary = "follow", foreign_keys = { "follow.followed_id", "follow.follower_id" } },
      "manytomany list 1=2 | 1=1" },
    { "a link table with more foreign keys than two is told by foreign_keys too", { STUDENT, COURSE,
      "enrolment: student_id -> student.id, tutor_id -> student.id, course_id -> course.id" }, "student.tutored course",
      { secondary = "enrolment", foreign_keys = { "enrolment.tutor_id" } }, "manytomany list 1=2 | 1=3" },
  }
  for _, case in ipairs(cases) do
    it("finds that " .. case[1], function()
      local schema, numbers = declare(case[2])
      assert.same(case[5], show(relate(schema, numbers, case[3], case[4])))
    end)
  end

  -- what it is about, tables, relationship, options, kind, message
  local mistakes = {
    { "no foreign key", { AUTHOR, "book: id pk" }, "author.books book", {}, "NoForeignKeysError",
      "Author.books: no foreign key links 'author' and 'book'; if one Author has many Book, give 'book' a column with "
      .. "ForeignKey('author.id'); if many Author share one Book, give 'author' a column with ForeignKey('book.id'); "
      .. "for a many-to-many declare a link table with both and give it as secondary" },
    { "no foreign key to itself", { "node: key pk" }, "node.children node", {}, "NoForeignKeysError",
      "Node.children: no foreign key of 'node' refers to 'node' itself; give it a column with ForeignKey('node.key')" },
    { "a forgotten secondary", { STUDENT, COURSE, ENROLMENT }, "student.courses course", {}, "NoForeignKeysError",
      "Student.courses: no foreign key links 'student' and 'course' directly, but 'enrolment' refers to both; for a "
      .. "many-to-many give secondary = 'enrolment'" },
    { "several foreign keys", { AUTHOR, BOOK_BY_TWO }, "author.books book", {}, "AmbiguousForeignKeysError",
      "Author.books: several foreign keys link 'author' and 'book': book.author_id -> author.id, book.editor_id -> "
      .. "author.id; say which one, for example foreign_keys = 'Book.author_id'" },
    { "tables that refer to each other", { "hen: id pk, egg_id -> egg.id", "egg: id pk, hen_id -> hen.id" },
      "hen.eggs egg", {}, "AmbiguousForeignKeysError",
      "Hen.eggs: several foreign keys link 'hen' and 'egg': egg.hen_id -> hen.id, hen.egg_id -> egg.id; say which one, "
      .. "for example foreign_keys = 'Egg.hen_id'" },
    { "several foreign keys of two columns", { ORDERS,
      "line: a, b, c, (a b) -> orders(shop no), (a c) -> orders(shop no)" }, "orders.lines line", {},
      "AmbiguousForeignKeysError",
      "Order.lines: several foreign keys link 'orders' and 'line': line(a, b) -> orders(shop, no), line(a, c) -> "
      .. "orders(shop, no); say which one, for example foreign_keys = { 'Line.a', 'Line.b' }" },
    { "several self-references", { "node: id pk, a -> node.id, b -> node.id" }, "node.children node", {},
      "AmbiguousForeignKeysError", "Node.children: several foreign keys link 'node' and 'node': node.a -> node.id, "
      .. "node.b -> node.id; say which one, for example foreign_keys = 'Node.a'" },
    { "foreign_keys that is none", { AUTHOR, BOOK }, "author.books book", { foreign_keys = { "book.id" } },
      "ArgumentError", "Author.books: foreign_keys (book.id) is not a foreign key between 'author' and 'book'; there "
      .. "is book.author_id -> author.id" },
    { "remote_side on the near side", { AUTHOR, BOOK }, "author.books book", { remote_side = { "author.id" } },
      "ArgumentError", "Author.books: remote_side (author.id) is not the far end of a foreign key between 'author' and "
      .. "'book'; there is book.author_id -> author.id" },
    { "a list on the side of the foreign key", { AUTHOR, BOOK }, "book.authors author", { uselist = true },
      "ArgumentError", "Book.authors: uselist = true on a many-to-one: the foreign key 'book.author_id' stands on "
      .. "'book', so one Book has one Author; for a list put the foreign key on 'author' (a column with "
      .. "ForeignKey('book.id'))" },
    { "a list with remote_side", { NODE }, "node.parents node", { uselist = true, remote_side = { "node.id" } },
      "ArgumentError", "Node.parents: uselist = true on a many-to-one: with this remote_side one Node has one Node; "
      .. "for the list leave remote_side out" },
    { "a link table that lacks this side", { STUDENT, COURSE, "enrolment: course_id -> course.id" },
      "student.courses course", { secondary = "enrolment" }, "NoForeignKeysError",
      "Student.courses: the secondary table 'enrolment' has no foreign key to 'student'; give it a column with "
      .. "ForeignKey('student.id')" },
    { "a link table that lacks the other side", { STUDENT, COURSE, "enrolment: student_id -> student.id" },
      "student.courses course", { secondary = "enrolment" }, "NoForeignKeysError",
      "Student.courses: the secondary table 'enrolment' has no foreign key to 'course'; give it a column with "
      .. "ForeignKey('course.id')" },
    { "a link table that refers to one table once", { "person: id pk", "follow: person_id -> person.id" },
      "person.follows person", { secondary = "follow" }, "NoForeignKeysError",
      "Person.follows: the secondary table 'follow' has no second foreign key to 'person'; give it a column with "
      .. "ForeignKey('person.id')" },
    { "a link table to one table twice", { "person: id pk", FOLLOW }, "person.follows person",
      { secondary = "follow" }, "AmbiguousForeignKeysError",
      "Person.follows: the secondary table 'follow' refers to 'person' several times: follow.follower_id -> person.id, "
      .. "follow.followed_id -> person.id; say which one stands for this side, for example "
      .. "foreign_keys = 'follow.follower_id'" },
    { "a foreign key to nowhere", { AUTHOR, "book: id pk, author_id -> autor.id" }, "author.books book", {},
      "NoReferencedTableError",
      "Foreign key 'book.author_id' refers to table 'autor', which is not declared; did you mean 'author'?" },
  }
  for _, case in ipairs(mistakes) do
    it("explains " .. case[1], function()
      local schema, numbers = declare(case[2])
      local ok, err = pcall(relate, schema, numbers, case[3], case[4])
      assert.is_false(ok)
      assert.same({ case[5], case[6] }, { err.kind, err.message })
    end)
  end

  -- what it is about, tables, relationship, options, kind, words of the message
  local hints = {
    { "two keys of which one has more columns", { "author: id pk, x", "book: a, b, (a) -> author(id), (a b) -> author(id x)" },
      "author.books book", {}, "AmbiguousForeignKeysError", "book.a -> author.id, book(a, b) -> author(id, x)" },
    { "two keys of one column to different ones", { "author: id pk, x", "book: a, (a) -> author(id), (a) -> author(x)" },
      "author.books book", {}, "AmbiguousForeignKeysError", "book.a -> author.id, book.a -> author.x" },
    { "several keys on the side that asks", { AUTHOR, BOOK_BY_TWO }, "book.author author", {}, "AmbiguousForeignKeysError",
      "foreign_keys = 'Book.author_id'" },
    { "tables without a key, and others that refer to one of them", { "author: name", "book: title", "note: a -> author.name",
      "shelf: b -> book.title", "page: n" }, "author.books book", {}, "NoForeignKeysError", "ForeignKey('author.id')" },
    { "foreign_keys with a column too many", { AUTHOR, BOOK }, "author.books book", { foreign_keys = { "book.author_id",
      "book.id" } },
      "ArgumentError", "foreign_keys (book.author_id, book.id) is not a foreign key" },
    { "foreign_keys with a column too few", { ORDERS, LINE }, "orders.lines line", { foreign_keys = { "line.shop" } },
      "ArgumentError", "foreign_keys (line.shop) is not a foreign key" },
    { "foreign_keys and remote_side that contradict each other", { AUTHOR, BOOK }, "author.books book",
      { foreign_keys = { "book.author_id" }, remote_side = { "author.id" } }, "ArgumentError", "remote_side (author.id)" },
    { "a foreign key of the target to nowhere", { "author: id pk, x -> nowhere.id", BOOK }, "book.author author", {},
      "NoReferencedTableError", "author.x" },
    { "a foreign key of the link table to nowhere", { STUDENT, COURSE, "enrolment: course_id -> course.id, x -> nowhere.id" },
      "student.courses course", { secondary = "enrolment" }, "NoReferencedTableError", "enrolment.x" },
    { "a link table with several keys to either side", { STUDENT, COURSE, "enrolment: a -> student.id, b -> student.id, "
      .. "c -> course.id, d -> course.id" }, "student.courses course", { secondary = "enrolment",
        foreign_keys = { "enrolment.b" } },
      "AmbiguousForeignKeysError", "refers to 'course' several times" },
  }
  for _, case in ipairs(hints) do
    it("explains " .. case[1], function()
      local schema, numbers = declare(case[2])
      local ok, err = pcall(relate, schema, numbers, case[3], case[4])
      assert.is_false(ok)
      assert.equal(case[5], err.kind)
      assert.truthy(err.message:find(case[6], 1, true), err.message)
    end)
  end

  it("does not offer a link table that was removed", function()
    local schema, numbers = declare { STUDENT, COURSE, ENROLMENT }
    schema:remove_table(numbers.enrolment)
    local _, err = pcall(relate, schema, numbers, "student.courses course", {})
    assert.is_nil(err.message:find("secondary = 'enrolment'", 1, true))
  end)

  it("tells the keys of a link table apart by both sides' columns", function()
    local schema, numbers = declare { STUDENT, COURSE,
      "enrolment: a -> student.id, b -> student.id, c -> course.id, d -> course.id" }
    assert.equal("manytomany list 1=2 | 1=4", show(relate(schema, numbers, "student.courses course",
      { secondary = "enrolment", foreign_keys = { "enrolment.b", "enrolment.d" } })))
    schema, numbers = declare { "person: id pk", "follow: x -> other.id, follower_id -> person.id, followed_id -> person.id",
      "other: id pk" }
    assert.equal("manytomany list 1=3 | 1=2", show(relate(schema, numbers, "person.follows person",
      { secondary = "follow", foreign_keys = { "follow.followed_id" } })))
  end)

  it("does not mind foreign keys to nowhere on other tables", function()
    local schema, numbers = declare { AUTHOR, BOOK, "other: x -> nowhere.id" }
    assert.same("onetomany list 1=2", show(relate(schema, numbers, "author.books book", {})))
  end)
end)

describe("a pair of relationships", function()
  -- tables, both relationships with options, message or nil
  local cases = {
    { "that are each other's sides", { AUTHOR, BOOK }, "author.books book", {}, "book.author author", {} },
    { "of several columns", { ORDERS, LINE }, "orders.lines line", {}, "line.order orders", {} },
    { "of a tree", { NODE }, "node.children node", {}, "node.parent node", { remote_side = { "node.id" } } },
    { "through one link table", { STUDENT, COURSE, ENROLMENT }, "student.courses course", { secondary = "enrolment" },
      "course.students student", { secondary = "enrolment" } },
    { "through a link table to one table", { "person: id pk", FOLLOW }, "person.follows person",
      { secondary = "follow", foreign_keys = { "follow.follower_id" } }, "person.followers person",
      { secondary = "follow", foreign_keys = { "follow.followed_id" } } },
    { "of which one leads elsewhere", { AUTHOR, "book: id pk, author_id -> author.id, person_id -> person.id",
      "person: id pk" }, "author.books book", {}, "book.owner person", {},
      "Author.books has back_populates = 'owner', but Book.owner leads to 'person', not back to 'author'" },
    { "both one-to-many on a tree", { NODE }, "node.children node", {}, "node.parent node", {},
      "Node.children and Node.parent name each other, but both are one-to-many: the foreign key 'node.parent_id' "
      .. "stands on the table that it refers to; give the one that holds a single object remote_side = 'Node.id'" },
    { "both many-to-one on a tree", { NODE }, "node.children node", { remote_side = { "node.id" } }, "node.parent node",
      { remote_side = { "node.id" } },
      "Node.children and Node.parent name each other, but both are many-to-one: the foreign key 'node.parent_id' "
      .. "stands on the table that it refers to; give the one that holds a single object remote_side = 'Node.id'" },
    { "both many-to-one by their own foreign keys", { "hen: id pk, egg_id -> egg.id", "egg: id pk, hen_id -> hen.id" },
      "hen.egg egg", { foreign_keys = { "hen.egg_id" } }, "egg.hen hen", { foreign_keys = { "egg.hen_id" } },
      "Hen.egg and Egg.hen name each other, but both are many-to-one: one goes by the foreign key 'hen.egg_id', the "
      .. "other by 'egg.hen_id'; give both the same one as foreign_keys" },
    { "by different foreign keys", { AUTHOR, BOOK_BY_TWO }, "author.books book",
      { foreign_keys = { "book.author_id" } },
      "book.editor author", { foreign_keys = { "book.editor_id" } },
      "Author.books and Book.editor name each other, but the first goes by the foreign key 'book.author_id' and the "
      .. "second by 'book.editor_id'; give both the same one as foreign_keys" },
    { "of which one has a link table", { AUTHOR, BOOK, "credit: a -> author.id, b -> book.id" }, "author.books book",
      { secondary = "credit" }, "book.author author", {},
      "Author.books and Book.author name each other, but only the first is many-to-many; give both secondary = "
      .. "'credit'" },
    { "through different link tables", { AUTHOR, BOOK, "credit: a -> author.id, b -> book.id",
      "loan: a -> author.id, b -> book.id" }, "author.books book", { secondary = "credit" }, "book.author author",
      { secondary = "loan" }, "Author.books and Book.author name each other, but the first goes through 'credit' and "
      .. "the second through 'loan'; give both the same secondary" },
    { "that read a link table in the same direction", { "person: id pk", FOLLOW }, "person.follows person",
      { secondary = "follow", foreign_keys = { "follow.follower_id" } }, "person.followers person",
      { secondary = "follow", foreign_keys = { "follow.follower_id" } },
      "Person.follows and Person.followers name each other, but 'follow.follower_id' stands for this side in the first "
      .. "and 'follow.followed_id' for the other side in the second; give them foreign_keys in opposite order" },
  }
  -- tables, both relationships with options, words of the message
  local others = {
    { { AUTHOR, BOOK, "credit: a -> author.id, b -> book.id" }, "author.books book", {}, "book.author author",
      { secondary = "credit" }, "only the first is many-to-many; give both secondary = 'credit'" },
    { { AUTHOR, BOOK, "passport: id pk, author_id -> author.id" }, "author.books book", {}, "passport.author author", {},
      "leads to 'book', not back to 'passport'" },
    { { ORDERS, "line: no, shop, other, (shop no) -> orders(shop no), (other) -> orders(no)" }, "orders.lines line",
      { foreign_keys = { "line.shop", "line.no" } }, "line.order orders", { foreign_keys = { "line.other" } },
      "give both the same one as foreign_keys" },
    { { STUDENT, COURSE, "enrolment: a -> student.id, b -> student.id, c -> course.id" }, "student.courses course",
      { secondary = "enrolment", foreign_keys = { "enrolment.a" } }, "course.students student",
      { secondary = "enrolment", foreign_keys = { "enrolment.b" } }, "give them foreign_keys in opposite order" },
    { { STUDENT, COURSE, "enrolment: a -> student.id, c -> course.id, d -> course.id" }, "student.courses course",
      { secondary = "enrolment", foreign_keys = { "enrolment.c" } }, "course.students student",
      { secondary = "enrolment", foreign_keys = { "enrolment.d" } }, "give them foreign_keys in opposite order" },
  }
  for _, case in ipairs(others) do
    it("refuses two where " .. case[6], function()
      local schema, numbers = declare(case[1])
      local a, b = relate(schema, numbers, case[2], case[3]), relate(schema, numbers, case[4], case[5])
      local ok, err = pcall(schema.pair, schema, a, b)
      assert.is_false(ok)
      assert.truthy(err.message:find(case[6], 1, true), err.message)
    end)
  end

  it("is of what relate() gave", function()
    local schema, numbers = declare { AUTHOR, BOOK }
    local a, b = relate(schema, numbers, "author.books book", {}), relate(schema, numbers, "book.author author", {})
    for field, wrong in pairs { direction = "sideways", pairs = { { 9, 9 } }, parent = 9, class = false } do
      local broken = {}
      for name, value in pairs(a) do
        broken[name] = value
      end
      broken[field] = wrong
      local ok, err = pcall(schema.pair, schema, broken, b)
      assert.is_true(ok and field == "class" or not ok and err.kind == "ArgumentError", field)
    end
    a.direction = nil
    assert.is_false((pcall(schema.pair, schema, a, b)))
  end)

  for _, case in ipairs(cases) do
    it((case[7] and "refuses two " or "accepts two ") .. case[1], function()
      local schema, numbers = declare(case[2])
      local a, b = relate(schema, numbers, case[3], case[4]), relate(schema, numbers, case[5], case[6])
      local ok, err = pcall(schema.pair, schema, a, b)
      assert.same(case[7], err and err.message)
      assert.same(case[7] == nil, ok)
    end)
  end
end)
