-- What functions of the script put into the session while a flush collected its rows was taken for written with it: it left
-- the list of new objects, and never got a row.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"

describe("a flush that asks the script for values", function()
  it("leaves the objects that it adds there to the next flush", function()
    local base, session = orm.declarative_base(), nil
    local Log = base:model("Log", {
      __tablename__ = "log",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      what = orm.mapped_column(orm.String),
    })
    local function logged(what)
      return function()
        session:add(Log { what = what })
        return what
      end
    end
    local Page = base:model("Page", {
      __tablename__ = "page",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      text = orm.mapped_column(orm.String),
      state = orm.mapped_column(orm.String, { default = logged "made", onupdate = logged "changed" }),
    })
    local engine = database.create(base)
    session = orm.Session(engine)
    local page = Page { text = "a" }
    session:add(page)
    session:flush()
    assert.equal(1, #session.new)
    session:commit()
    assert.same({ "made" }, database.rows(engine, "SELECT what FROM log"))
    page.text = "b"
    session:commit()
    assert.same({ "made", "changed" }, database.rows(engine, "SELECT what FROM log ORDER BY id"))
    assert.equal(0, #session.new)
  end)

  it("leaves the objects that it changes or deletes there to the next flush", function()
    local lib = library.open({ tags = { cascade = "merge" } })
    local other, gone = lib.session:get(lib.Author, 2), lib.session:get(lib.Tag, 2)
    local book = lib.session:get(lib.Book, 4)
    book.tags:append(lib.Tag {})
    local previous = orm.on_warning(function()
      other.name = "changed"
      lib.session:delete(gone)
    end)
    lib.session:commit()
    orm.on_warning(previous)
    assert.same({ "changed" }, database.rows(lib.engine, "SELECT name FROM author WHERE id = 2"))
    assert.same({ "1" }, database.rows(lib.engine, "SELECT id FROM tag"))
  end)

  it("deletes with the next flush what it updates when a hook deletes it, with what goes along", function()
    local lib = library.open({ tags = { cascade = "merge" }, books = { cascade = "all, delete-orphan" } })
    local author, book = lib.session:get(lib.Author, 1), lib.session:get(lib.Book, 4)
    author.name = "changed"
    author.books[1].title = "changed"
    book.tags:append(lib.Tag {})
    local previous = orm.on_warning(function() lib.session:delete(author) end)
    lib.session:flush()
    orm.on_warning(previous)
    assert.equal(3, #lib.session.deleted)
    assert.same({ "changed" }, database.rows(lib.session, "SELECT name FROM author WHERE id = 1"))
    lib.session:commit()
    assert.same({ "2" }, database.rows(lib.engine, "SELECT id FROM author"))
    assert.same({ "3", "4" }, database.rows(lib.engine, "SELECT id FROM book"))
  end)
end)
