-- A child that was flushed while its parent was not in the session, with a warning, did not get its foreign key when the
-- parent came in: the parent left it to the child, and the child counted as written.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local rows = database.rows

-- Flushes without the warning that something is not saved along.
local function flush(session)
  local previous = orm.on_warning(function() end)
  session:flush()
  orm.on_warning(previous)
end

describe("a parent that comes into the session after its child was written", function()
  it("gets it, whichever side has put them together", function()
    local lib = library.open()
    local author, new, old, other = lib.Author { name = "late" }, lib.Book { title = "new" }, lib.session:get(lib.Book, 1),
      lib.session:get(lib.Author, 2)
    lib.session:add(new)
    author.books:append(new)
    author.books:append(old)
    flush(lib.session)
    lib.session:add(author)
    lib.session:flush()
    assert.same({ "1|3", "5|3" }, rows(lib.session, "SELECT id, author_id FROM book WHERE id IN (1, 5) ORDER BY id"))
    lib.session:commit()
    assert.equal(author, new.author)
    other.name = "changed"
    lib.session:commit()
    assert.equal(2, #author.books)
  end)

  it("does not take back one that went to another parent, or none, meanwhile", function()
    local lib = library.open()
    local author = lib.Author { name = "late" }
    local first, second, third = lib.session:get(lib.Book, 1), lib.session:get(lib.Book, 2), lib.session:get(lib.Book, 3)
    for _, book in ipairs { first, second, third } do
      author.books:append(book)
    end
    flush(lib.session)
    first.author = lib.session:get(lib.Author, 2)
    second.author = nil
    lib.session:flush()
    lib.session:add(author)
    lib.session:commit()
    assert.same({ "1|2", "2|NULL", "3|3" }, rows(lib.session, "SELECT id, author_id FROM book WHERE id < 4 ORDER BY id"))
  end)

  it("gets it in a one-to-one relationship", function()
    local base = orm.declarative_base()
    local key = { primary_key = true }
    local Person = base:model("Person", { __tablename__ = "person", id = orm.mapped_column(orm.Integer, key),
      pass = orm.relationship("Pass", { back_populates = "person", uselist = false }) })
    local Pass = base:model("Pass", { __tablename__ = "pass", id = orm.mapped_column(orm.Integer, key),
      person_id = orm.mapped_column(orm.ForeignKey("person.id")),
      person = orm.relationship("Person", { back_populates = "pass" }) })
    local session = orm.Session(database.create(base))
    local person, pass = Person {}, Pass {}
    session:add(pass)
    person.pass = pass
    flush(session)
    session:add(person)
    session:commit()
    assert.same({ "1|1" }, rows(session, "SELECT id, person_id FROM pass"))
  end)
end)

it("an expired object is added again without what it held before", function()
  local lib = library.open()
  local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 1)
  assert.is_true(author.books:contains(book))
  lib.session:execute(orm.text("DELETE FROM book_tag"))
  lib.session:delete(book)
  lib.session:commit()
  lib.session:add(author)
  assert.equal(1, #author.books)
end)
