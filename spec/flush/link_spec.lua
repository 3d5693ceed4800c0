-- The rows of link tables: each link written once though both sides report it, removed exactly, never guessed.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local raises = require "spec.support.raises"
local statements = require "spec.support.statements"
local rows, run = database.rows, database.run

local LINKS = "SELECT book_id, tag_id FROM book_tag ORDER BY 1, 2"

describe("links", function()
  it("are written once, after both ends", function()
    local lib = library.empty()
    local book, tag = lib.Book { title = "b" }, lib.Tag { name = "t" }
    book.tags:append(tag)
    assert.equal(book, tag.books[1])
    lib.session:add(book)
    lib.session:flush()
    local seen = lib.record:headlines()
    table.sort(seen)
    assert.same({ "INSERT book", "INSERT book_tag", "INSERT tag" }, seen)
    assert.same({ "1|1" }, rows(lib.session, LINKS))
  end)

  it("are written in few statements, in the order of the objects", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 4)
    book.tags = { lib.session:get(lib.Tag, 1), lib.session:get(lib.Tag, 2) }
    lib.record:take()
    lib.session:flush()
    assert.same({ "INSERT INTO book_tag (book_id, tag_id) VALUES (?, ?), (?, ?) [4, 1, 4, 2]" }, lib.record:take())
  end)

  it("are written the same whichever side reports", function()
    for _, side in ipairs { "book", "tag", "both" } do
      local lib = library.open()
      local book, tag = lib.session:get(lib.Book, 4), lib.session:get(lib.Tag, 2)
      local _ = side == "both" and { #book.tags, #tag.books }
      if side ~= "tag" then
        book.tags:append(tag)
      else
        tag.books:append(book)
      end
      lib.record:take()
      lib.session:flush()
      assert.same({ "INSERT INTO book_tag (book_id, tag_id) VALUES (?, ?) [4, 2]" }, lib.record:take())
    end
  end)

  it("are removed one by one, and the objects stay", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags:remove(book.tags[1])
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE FROM book_tag WHERE book_id = ? AND tag_id = ? [1, 1]" }, lib.record:take())
    assert.same({ "1|2", "2|1" }, rows(lib.session, LINKS))
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
  end)

  it("are written and removed once, however many both sides report", function()
    local lib = library.empty()
    local tags, books = {}, {}
    for i = 1, 3 do
      tags[i] = lib.Tag { name = "t" .. i }
    end
    for i = 1, 120 do
      books[i] = lib.Book { title = "b" .. i, tags = { tags[1], tags[2] } }
    end
    for i = 1, 120 do
      tags[3].books:append(books[i])
    end
    lib.session:add_all(tags)
    lib.session:flush()
    assert.same({ "360" }, rows(lib.session, "SELECT count(*) FROM book_tag"))
    for i = 1, 120 do
      books[i].tags = {}
    end
    lib.session:flush()
    assert.same({ "0" }, rows(lib.session, "SELECT count(*) FROM book_tag"))
  end)

  it("are written once where both classes have no other relationship", function()
    local base = orm.declarative_base()
    local function key()
      return orm.mapped_column(orm.Integer, { primary_key = true })
    end
    local Student = base:model("Student", { __tablename__ = "student", id = key(),
      courses = orm.relationship("Course", { secondary = "enrolment", back_populates = "students" }) })
    local Course = base:model("Course", { __tablename__ = "course", id = key(),
      students = orm.relationship("Student", { secondary = "enrolment", back_populates = "courses" }) })
    orm.Table("enrolment", base.metadata,
      orm.Column("student_id", orm.Integer, orm.ForeignKey("student.id"), { primary_key = true }),
      orm.Column("course_id", orm.Integer, orm.ForeignKey("course.id"), { primary_key = true }))
    local session = orm.Session(database.create(base))
    local one, two, students = Course {}, Course {}, {}
    for i = 1, 100 do
      students[i] = Student { courses = { one } }
      two.students:append(students[i])
    end
    session:add_all { one, two }
    session:flush()
    assert.same({ "200" }, rows(session, "SELECT count(*) FROM enrolment"))
  end)

  it("are removed once though both sides report", function()
    local lib = library.open()
    local book, tag = lib.session:get(lib.Book, 1), lib.session:get(lib.Tag, 1)
    local _ = { #book.tags, #tag.books }
    book.tags:remove(tag)
    assert.is_false(tag.books:contains(book))
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE FROM book_tag WHERE book_id = ? AND tag_id = ? [1, 1]" }, lib.record:take())
  end)

  it("that are removed and added again write nothing", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local tag = book.tags[1]
    book.tags:remove(tag)
    book.tags:append(tag)
    book.tags = { book.tags[2], book.tags[1] }
    lib.record:take()
    lib.session:flush()
    assert.same({}, lib.record:take())
  end)

  it("go with an object that is deleted, without having been loaded; the other ends stay", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Book, 1))
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book_tag", "DELETE book" }, lib.record:headlines())
    assert.same({ "2|1" }, rows(lib.session, LINKS))
    assert.same({ "2" }, rows(lib.session, "SELECT count(*) FROM tag"))
  end)

  it("of a deleted object that has expired go by its key, whatever it had before", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    assert.equal(2, #book.tags)
    lib.session:execute(orm.text("DELETE FROM book_tag WHERE book_id = 1 AND tag_id = 1"))
    lib.session:expire(book)
    lib.session:delete(book)
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book_tag", "DELETE book" }, lib.record:headlines())
    assert.same({ "2|1" }, rows(lib.session, LINKS))
  end)

  it("of a deleted object are found by what its row says, where that is not its primary key", function()
    for _, column in ipairs { {}, { deferred = true } } do
      local base = orm.declarative_base()
      local m = orm.mapped_column
      local Box = base:model("Box", { __tablename__ = "box", id = m(orm.Integer, { primary_key = true }),
        code = m(orm.String, { unique = true, deferred = column.deferred }),
        things = orm.relationship("Thing", { secondary = "box_thing" }) })
      base:model("Thing", { __tablename__ = "thing", id = m(orm.Integer, { primary_key = true }) })
      orm.Table("box_thing", base.metadata,
        orm.Column("box_code", orm.String, orm.ForeignKey("box.code"), { primary_key = true }),
        orm.Column("thing_id", orm.Integer, orm.ForeignKey("thing.id"), { primary_key = true }))
      local engine = database.create(base)
      database.run(engine, "INSERT INTO box (id, code) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      database.run(engine, "INSERT INTO thing (id) VALUES (1)")
      database.run(engine, "INSERT INTO box_thing (box_code, thing_id) VALUES ('a', 1), ('b', 1), ('c', 1)")
      local session = orm.Session(engine)
      local first, second = session:get(Box, 1), session:get(Box, 2)
      session:expire(first)
      assert.equal("b", second.code)
      second.code = "z"
      session:delete(first)
      session:delete(second)
      session:commit()
      assert.same({ "c|1" }, rows(engine, "SELECT * FROM box_thing"))
      assert.same({ "3" }, rows(engine, "SELECT id FROM box"))
    end
  end)

  it("of deleted objects go together, found by these alone", function()
    local lib = library.open()
    local first, second = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
    local _ = #first.tags + #second.tags
    lib.session:delete(first)
    lib.session:delete(second)
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE FROM book_tag WHERE book_id IN (?, ?) [1, 2]", "DELETE FROM book WHERE id IN (?, ?) [1, 2]" },
      lib.record:take())
  end)

  it("that a deleted object had are removed with it, though the other end has let go of it before", function()
    local lib = library.open()
    local book, tag = lib.session:get(lib.Book, 1), lib.session:get(lib.Tag, 1)
    tag.books:remove(book)
    lib.session:delete(book)
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE book_tag", "DELETE book" }, lib.record:headlines())
    assert.same({ "2|1" }, rows(lib.session, LINKS))
  end)

  it("of a deleted object that a script has added or removed before count as they stand in the database", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags = { lib.Tag { name = "new" } }
    lib.session:delete(book)
    lib.session:flush()
    assert.same({ "2|1" }, rows(lib.session, LINKS))
  end)

  for _, case in ipairs { { "vanished", "DELETE FROM book_tag WHERE book_id = 1 AND tag_id = 1" },
    { "came", "INSERT INTO book_tag VALUES (2, 2)" } } do
    it("of deleted objects that " .. case[1] .. " behind the session's back are a StaleDataError naming the table", function()
      local lib = library.open()
      local first, second = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2)
      local _ = #first.tags + #second.tags
      run(lib.session, case[2])
      lib.session:delete(first)
      lib.session:delete(second)
      raises("StaleDataError", { "Book.tags", "book_tag" }, lib.session.flush, lib.session)
      assert.same({ "1", "2", "3", "4" }, rows(lib.session, "SELECT id FROM book ORDER BY id"))
      lib.session:rollback()
      assert.same({ "1|1", "1|2", "2|1" }, rows(lib.session, LINKS))
      assert.equal(2, #first.tags)
    end)
  end

  it("of a relationship that shows some of them only are removed one by one", function()
    local base = orm.declarative_base()
    local ab = orm.Table("ab", base.metadata, orm.Column("a_id", orm.ForeignKey("a.id"), { primary_key = true }),
      orm.Column("b_id", orm.ForeignKey("b.id"), { primary_key = true }), orm.Column("kind", orm.Text, { default = "near" }))
    local A = base:model("A", { __tablename__ = "a", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      near = orm.relationship("B", { secondary = ab, primaryjoin = function(own)
        return orm.and_(ab.c.a_id:eq(own.id), ab.c.kind:eq("near"))
      end }) })
    base:model("B", { __tablename__ = "b", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
    local engine = database.create(base)
    run(engine, "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1), (2)",
      "INSERT INTO ab VALUES (1, 1, 'near'), (1, 2, 'far')")
    local session = orm.Session(engine)
    session:delete(session:get(A, 1))
    raises("IntegrityError", {}, session.flush, session)
    session:rollback()
    assert.same({ "1|1|near", "1|2|far" }, rows(session, "SELECT * FROM ab ORDER BY 1, 2"))
  end)

  it("of a deleted object whose key has several parts are found by all of them", function()
    local base = orm.declarative_base()
    orm.Table("ab", base.metadata, orm.Column("x", orm.Integer, { primary_key = true }),
      orm.Column("y", orm.Integer, { primary_key = true }), orm.Column("b_id", orm.ForeignKey("b.id"), { primary_key = true }),
      orm.ForeignKeyConstraint({ "x", "y" }, { "a.x", "a.y" }))
    local A = base:model("A", { __tablename__ = "a", x = orm.mapped_column(orm.Integer, { primary_key = true }),
      y = orm.mapped_column(orm.Integer, { primary_key = true }), bs = orm.relationship("B", { secondary = "ab" }) })
    local B = base:model("B", { __tablename__ = "b", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
    local engine = database.create(base)
    local session, record = orm.Session(engine), statements.record(engine)
    local b = B {}
    session:add_all { A { x = 1, y = 1, bs = { b } }, A { x = 1, y = 2, bs = { b } }, A { x = 2, y = 1, bs = { b } } }
    session:commit()
    local first, second = session:get(A, { 1, 2 }), session:get(A, { 2, 1 })
    local _ = #first.bs + #second.bs
    session:delete(first)
    session:delete(second)
    record:take()
    session:flush()
    assert.equal("DELETE FROM ab WHERE (x = ? AND y = ?) OR (x = ? AND y = ?) [1, 2, 2, 1]", record:take()[1])
    assert.same({ "1|1|1" }, rows(session, "SELECT * FROM ab"))
  end)

  it("between two objects of one class that are both deleted count for either", function()
    local base = orm.declarative_base()
    local pairs_table = orm.Table("friend", base.metadata,
      orm.Column("left_id", orm.ForeignKey("person.id"), { primary_key = true }),
      orm.Column("right_id", orm.ForeignKey("person.id"), { primary_key = true }))
    local Person = base:model("Person", { __tablename__ = "person",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      likes = orm.relationship("Person", { secondary = pairs_table, back_populates = "liked_by",
        foreign_keys = { "friend.left_id", "friend.right_id" }, primaryjoin = function(own)
          return own.id:eq(pairs_table.c.left_id)
        end, secondaryjoin = function(_, other) return other.id:eq(pairs_table.c.right_id) end }),
      liked_by = orm.relationship("Person", { secondary = pairs_table, back_populates = "likes",
        foreign_keys = { "friend.left_id", "friend.right_id" }, primaryjoin = function(own)
          return own.id:eq(pairs_table.c.right_id)
        end, secondaryjoin = function(_, other) return other.id:eq(pairs_table.c.left_id) end }) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local a, b, c = Person {}, Person {}, Person {}
    a.likes:extend { a, b, c }
    b.likes:extend { a, c }
    c.likes:append(a)
    session:add_all { a, b, c }
    session:commit()
    session:delete(a)
    session:delete(b)
    session:commit()
    assert.same({}, rows(engine, "SELECT * FROM friend"))
    assert.same({ "3" }, rows(engine, "SELECT id FROM person"))
    assert.equal(0, #c.likes + #c.liked_by)
  end)

  it("that the other end has let go of go alone where a deleted object leaves its own to the database", function()
    local lib = library.open { tags = { passive_deletes = true } }
    local book, tag = lib.session:get(lib.Book, 2), lib.session:get(lib.Tag, 1)
    tag.books:remove(book)
    lib.session:delete(book)
    lib.record:take()
    lib.session:flush()
    assert.same({ "DELETE FROM book_tag WHERE book_id = ? AND tag_id = ? [2, 1]", "DELETE FROM book WHERE id = ? [2]" },
      lib.record:take())
  end)

  it("of a row that a new object takes over are those of the new one", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Book, 1))
    lib.session:add(lib.Book { id = 1, title = "again", tags = { lib.session:get(lib.Tag, 2) } })
    lib.session:commit()
    assert.same({ "1|2", "2|1" }, rows(lib.engine, LINKS))
  end)

  it("go once when both ends are deleted", function()
    local lib = library.open()
    lib.session:delete(lib.session:get(lib.Book, 1))
    lib.session:delete(lib.session:get(lib.Tag, 1))
    lib.session:commit()
    assert.same({}, rows(lib.engine, LINKS))
    assert.same({ "2" }, rows(lib.engine, "SELECT id FROM tag"))
  end)

  it("that vanished behind the session's back are a StaleDataError naming the table", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local tag = book.tags[1]
    run(lib.session, "DELETE FROM book_tag WHERE book_id = 1 AND tag_id = 1")
    book.tags:remove(tag)
    raises("StaleDataError", { "Book.tags", "book_tag" }, lib.session.flush, lib.session)
    lib.session:rollback()
    assert.equal(2, #book.tags)
  end)

  local function doubled(...)
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      bs = orm.relationship("B", { secondary = "ab" }) })
    base:model("B", { __tablename__ = "b", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
    orm.Table("ab", base.metadata, orm.Column("a_id", orm.Integer, orm.ForeignKey("a.id")),
      orm.Column("b_id", orm.Integer, orm.ForeignKey("b.id")), ...)
    local engine = database.create(base)
    run(engine, "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)", "INSERT INTO ab (a_id, b_id) VALUES (1, 1), (1, 1)")
    local session = orm.Session(engine)
    session:get(A, 1).bs:clear()
    return session, engine
  end

  it("that stand twice in a table without a key cannot be removed alone", function()
    local session, engine = doubled()
    raises("StaleDataError", { "ab" }, session.flush, session)
    session:rollback()
    assert.same({ "2" }, rows(engine, "SELECT count(*) FROM ab"))
  end)

  it("that stand twice in a table with a key of its own go together", function()
    local session, engine = doubled(orm.Column("id", orm.Integer, { primary_key = true }))
    session:commit()
    assert.same({}, rows(engine, "SELECT * FROM ab"))
  end)

  it("may be rows of a class with further columns", function()
    local base = orm.declarative_base()
    local A = base:model("A", { __tablename__ = "a", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      bs = orm.relationship("B", { secondary = "ab", back_populates = "as" }) })
    local B = base:model("B", { __tablename__ = "b", id = orm.mapped_column(orm.Integer, { primary_key = true }),
      as = orm.relationship("A", { secondary = "ab", back_populates = "bs" }) })
    local Link = base:model("Link", { __tablename__ = "ab", note = orm.mapped_column(orm.String, { server_default = "none" }),
      a_id = orm.mapped_column(orm.ForeignKey("a.id"), { primary_key = true }),
      b_id = orm.mapped_column(orm.ForeignKey("b.id"), { primary_key = true }) })
    local session = orm.Session(database.create(base))
    session:add(A { bs = { B {} } })
    session:commit()
    assert.equal("none", session:get(Link, { 1, 1 }).note)
    session:get(B, 1).as:clear()
    session:commit()
    assert.is_nil(session:get(Link, { 1, 1 }))
  end)

  it("of an object that stands twice in the list are written once", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    book.tags:append(book.tags[1])
    assert.equal(3, #book.tags)
    lib.record:take()
    lib.session:flush()
    assert.same({}, lib.record:take())
    lib.session:expire(book)
    assert.equal(2, #book.tags)
  end)

  it("between new and stored objects on both sides come out right in one flush", function()
    local lib = library.open()
    local book, tag = lib.session:get(lib.Book, 3), lib.session:get(lib.Tag, 1)
    local new_book, new_tag = lib.Book { title = "new" }, lib.Tag { name = "new" }
    book.tags:extend { tag, new_tag }
    new_book.tags = { tag, new_tag }
    lib.session:add(new_book)
    lib.session:commit()
    assert.same({ "1|1", "1|2", "2|1", "3|1", "3|3", "5|1", "5|3" }, rows(lib.engine, LINKS))
    lib.session:expire_all()
    assert.equal(2, #new_tag.books)
  end)

  it("of an object that has left the session stay, and those of one that was deleted are gone already", function()
    local lib = library.open()
    local book = lib.session:get(lib.Book, 1)
    local left, gone = book.tags[1], book.tags[2]
    lib.session:expunge(left)
    lib.session:delete(gone)
    lib.session:flush()
    local kept = rows(lib.session, "SELECT * FROM book_tag ORDER BY book_id, tag_id")
    book.tags:remove(left)
    book.tags:remove(gone)
    lib.session:commit()
    assert.same({ "1|1", "2|1" }, kept)
    assert.same(kept, rows(lib.engine, "SELECT * FROM book_tag ORDER BY book_id, tag_id"))
  end)

  it("between the same objects by two tables are written and removed in both", function()
    local base = orm.declarative_base()
    local function people(name)
      orm.Table(name, base.metadata, orm.Column("a", orm.ForeignKey("p.id"), { primary_key = true }),
        orm.Column("b", orm.ForeignKey("p.id"), { primary_key = true }))
      return orm.relationship("P", { secondary = name, primaryjoin = "P.id == " .. name .. ".a",
        secondaryjoin = "P.id == " .. name .. ".b" })
    end
    local P = base:model("P", { __tablename__ = "p", id = orm.Mapped(orm.Integer, { primary_key = true }),
      friends = people "friend", foes = people "foe" })
    local session = orm.Session(database.create(base))
    local one, two = P {}, P {}
    session:add_all { one, two }
    one.friends, one.foes, two.friends = { two }, { two }, { one }
    session:commit()
    assert.same({ "1|2", "2|1" }, rows(session, "SELECT * FROM friend ORDER BY a"))
    assert.same({ "1|2" }, rows(session, "SELECT * FROM foe"))
    one.friends, one.foes = {}, {}
    session:commit()
    assert.same({ "2|1" }, rows(session, "SELECT * FROM friend"))
    assert.same({}, rows(session, "SELECT * FROM foe"))
  end)

  it("of many objects take few statements", function()
    local lib = library.empty()
    local tags = {}
    for number = 1, 50 do
      tags[number] = lib.Tag { name = "t" .. number }
    end
    for _ = 1, 10 do
      lib.session:add(lib.Book { tags = tags })
    end
    lib.session:commit()
    assert.same({ "500" }, rows(lib.engine, "SELECT count(*) FROM book_tag"))
    assert.is_true(#lib.record:take() < 40)
  end)
end)

it("many links in one flush with those of a deleted object", function()
  local lib = library.open()
  local session = lib.session
  local gone, book = session:get(lib.Book, 1), session:get(lib.Book, 3)
  assert.same({ 2, 0 }, { #gone.tags, #book.tags })
  session:delete(gone)
  for number = 1, 200 do
    book.tags:append(lib.Tag { name = "n" .. number })
  end
  session:commit()
  assert.same({ "2|1", "3|200" }, rows(session, "SELECT book_id, count(*) FROM book_tag GROUP BY book_id ORDER BY 1"))
  assert.equal(200, #book.tags)
end)
