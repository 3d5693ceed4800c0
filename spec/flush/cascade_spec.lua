-- What a delete takes along where it is not loaded: found level by level, for all deleted objects together.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local Integer, ForeignKey, relationship = orm.Integer, orm.ForeignKey, orm.relationship
local rows = database.rows

local function id()
  return orm.Mapped(Integer, { primary_key = true })
end

-- Three levels: shelves of books, books of notes, and labels of books by a link table.
local function setup(count)
  local base = orm.declarative_base()
  local links = orm.Table("book_label", base.metadata,
    orm.Column("book_id", ForeignKey("book.id"), { primary_key = true }),
    orm.Column("label_id", ForeignKey("label.id"), { primary_key = true }))
  local all = { cascade = "all, delete-orphan" }
  local Shelf = base:model("Shelf", { __tablename__ = "shelf", id = id(), books = relationship("Book", all) })
  local Label = base:model("Label", { __tablename__ = "label", id = id() })
  local Book = base:model("Book", { __tablename__ = "book", id = id(),
    shelf_id = orm.Mapped(orm.Optional(Integer), ForeignKey("shelf.id")),
    notes = relationship("Note", all),
    labels = relationship("Label", { secondary = links }) })
  local Note = base:model("Note", { __tablename__ = "note", id = id(),
    book_id = orm.Mapped(orm.Optional(Integer), ForeignKey("book.id")) })
  local engine = database.create(base)
  local session = orm.Session(engine)
  local label = Label {}
  for _ = 1, count do
    session:add(Shelf { books = { Book { notes = { Note {}, Note {} }, labels = { label } }, Book {} } })
  end
  session:commit()
  return { engine = engine, session = orm.Session(engine), Shelf = Shelf, Book = Book }
end

local function counts(engine)
  return rows(engine, "SELECT (SELECT count(*) FROM shelf), (SELECT count(*) FROM book), (SELECT count(*) FROM note), "
    .. "(SELECT count(*) FROM book_label), (SELECT count(*) FROM label)")
end

local function selects(record)
  local list = {}
  for _, sql in ipairs(record:take()) do
    list[#list + 1] = sql:match("^SELECT .- FROM ([%w_, ]-) WHERE")
  end
  return list
end

describe("a delete cascade over what is not loaded", function()
  it("takes one statement a relationship and level, however many objects are deleted", function()
    local lib = setup(20)
    local session, record = lib.session, statements.record(lib.engine)
    local shelves = session:scalars(orm.select(lib.Shelf)):all()
    record:take()
    for _, shelf in ipairs(shelves) do
      session:delete(shelf)
    end
    assert.same({}, record:take())
    session:flush()
    assert.same({ "book", "note" }, selects(record))
    session:commit()
    assert.same({ "0|0|0|0|1" }, counts(lib.engine))
  end)

  it("is complete in session.deleted, for a before_flush listener too", function()
    local lib = setup(1)
    local session, seen = lib.session, nil
    session:delete(session:get(lib.Shelf, 1))
    assert.equal(5, #session.deleted)
    orm.event.listen(session, "before_flush", function() seen = #session.deleted end)
    session:commit()
    assert.equal(5, seen)
    assert.same({ "0|0|0|0|1" }, counts(lib.engine))
  end)

  it("spares a child that another parent took before the flush", function()
    local lib = setup(2)
    local session = lib.session
    local first, second = session:get(lib.Shelf, 1), session:get(lib.Shelf, 2)
    local book = session:get(lib.Book, 1)
    assert.equal(2, #second.books)
    session:delete(first)
    second.books:append(book)
    session:commit()
    assert.same({ "1|3|4|2|1" }, counts(lib.engine))
  end)

  it("marks at once what is loaded", function()
    local lib = setup(1)
    local session = lib.session
    local shelf = session:get(lib.Shelf, 1)
    assert.equal(2, #shelf.books)
    local record = statements.record(lib.engine)
    session:delete(shelf)
    session:expunge(shelf.books[2])
    assert.same({}, record:take())
    session:rollback()
    assert.same({ "1|2|2|1|1" }, counts(lib.engine))
  end)
end)

describe("an object that is to be deleted, and is put with a parent that stays,", function()
  local function cases(cascade)
    local lib = library.open { books = { cascade = cascade } }
    local one, other = lib.session:get(lib.Author, 1), lib.session:get(lib.Author, 2)
    local book = one.books[1]
    assert.equal(2, #other.books) -- loaded now, since loading it later would flush
    return lib, one, other, book
  end
  local ways = {
    ["by its list"] = function(other, book) other.books:append(book) end,
    ["by the other side"] = function(other, book) book.author = other end,
  }

  for how, move in pairs(ways) do
    it("is kept: " .. how, function()
      local lib, _, other, book = cases("save-update, merge")
      lib.session:delete(book)
      move(other, book)
      assert.same({}, lib.session.deleted)
      lib.session:commit()
      assert.same({ "1|2" }, rows(lib.engine, "SELECT id, author_id FROM book WHERE id = 1"))
    end)

    it("is kept where its former parent takes along what it has: " .. how, function()
      local lib, one, other, book = cases("all, delete-orphan")
      lib.session:delete(one)
      move(other, book)
      lib.session:commit()
      assert.same({ "1|2", "3|2", "4|2" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
      assert.equal("persistent", orm.inspect(book).state)
    end)

    it("is deleted where that is said after the move, or where the new parent goes, too: " .. how, function()
      local lib, _, other, book = cases("all, delete-orphan")
      move(other, book)
      lib.session:delete(book)
      lib.session:flush()
      assert.equal("deleted", orm.inspect(book).state)
      lib.session:rollback()
      lib.session:delete(other)
      lib.session:delete(book)
      move(other, book)
      lib.session:commit()
      assert.same({ "2|1" }, rows(lib.engine, "SELECT id, author_id FROM book ORDER BY id"))
    end)
  end
end)

describe("a delete cascade over what is loaded", function()
  local function family(options)
    local base = orm.declarative_base()
    local House = base:model("House", { __tablename__ = "house", id = id(),
      rooms = relationship("Room", { cascade = "all, delete-orphan", collection_class = options.collection_class }),
      door = relationship("Door", { cascade = "all", uselist = false }) })
    local Room = base:model("Room", { __tablename__ = "room", id = id(),
      name = orm.Mapped(orm.Optional(orm.Text)), house_id = orm.Mapped(orm.Optional(Integer), ForeignKey("house.id")) })
    local Door = base:model("Door", { __tablename__ = "door", id = id(),
      house_id = orm.Mapped(orm.Optional(Integer), ForeignKey("house.id")) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local house = House { door = Door {} }
    house.rooms:extend { Room { name = "a" }, Room { name = "b" } }
    session:add(house)
    session:commit()
    local _ = { house.door, #house.rooms }
    return session, house, Room, statements.record(engine)
  end

  for name, class in pairs { list = orm.list, set = orm.set, dictionary = orm.attribute_keyed_dict("name") } do
    it("marks the items of a " .. name .. " and a single object at once, without a statement", function()
      local session, house, _, record = family { collection_class = class }
      session:delete(house)
      assert.equal(4, #session.deleted)
      assert.same({}, record:take())
      session:flush()
      assert.same({ "DELETE door", "DELETE room", "DELETE house" }, record:headlines())
    end)
  end

  it("brings back children that were expunged", function()
    local session, house = family {}
    local room = house.rooms[1]
    session:expunge(room)
    session:delete(house)
    session:commit()
    assert.is_true(orm.was_deleted(room))
    assert.same({ "0" }, rows(session, "SELECT count(*) FROM room"))
  end)

  it("lets new children out of the session", function()
    local session, house, Room = family {}
    local room = Room { name = "new" }
    house.rooms:append(room)
    session:delete(house)
    assert.is_false(session:contains(room))
    session:commit()
    assert.same({ "0" }, rows(session, "SELECT count(*) FROM room"))
  end)

  it("leaves out an object that was added again, and goes past it", function()
    local session, house = family {}
    local room = house.rooms[1]
    session:delete(house)
    session:add(house)
    assert.same(3, #session.deleted)
    session:delete(house)
    assert.equal(4, #session.deleted)
    session:delete(room)
    assert.equal(4, #session.deleted)
  end)
end)
