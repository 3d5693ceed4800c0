-- library: the classes that most specs are about: authors with books, books with tags.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"

local library = {}

local function merged(defaults, options)
  for name, value in pairs(options or {}) do
    defaults[name] = value
  end
  return defaults
end

--- Author.books <-> Book.author, Book.tags <-> Tag.books; `options.books`, `.author`, `.tags` add to the
-- relationships' options, `options.author_id` to the foreign key's.
function library.declare(options)
  options = options or {}
  local base = orm.declarative_base()
  local classes = { base = base, metadata = base.metadata }
  classes.Author = base:model("Author", {
    __tablename__ = "author",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    name = orm.mapped_column(orm.String(50)),
    books = orm.relationship("Book", merged({ back_populates = "author", order_by = "Book.id" }, options.books)),
  })
  classes.Book = base:model("Book", {
    __tablename__ = "book",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    author_id = orm.mapped_column(orm.Integer, orm.ForeignKey("author.id"), options.author_id or {}),
    title = orm.mapped_column(orm.String(50)),
    year = orm.mapped_column(orm.Integer),
    author = orm.relationship("Author", merged({ back_populates = "books" }, options.author)),
    tags = orm.relationship("Tag", merged({ secondary = "book_tag", back_populates = "books", order_by = "Tag.id" },
      options.tags)),
  })
  classes.Tag = base:model("Tag", {
    __tablename__ = "tag",
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    name = orm.mapped_column(orm.String(50)),
    books = orm.relationship("Book", { secondary = "book_tag", back_populates = "tags", order_by = "Book.id" }),
  })
  orm.Table("book_tag", base.metadata,
    orm.Column("book_id", orm.Integer, orm.ForeignKey("book.id"), { primary_key = true }),
    orm.Column("tag_id", orm.Integer, orm.ForeignKey("tag.id"), { primary_key = true }))
  return classes
end

local ROWS = {
  "INSERT INTO author (id, name) VALUES (1, 'a1'), (2, 'a2')",
  "INSERT INTO book (id, author_id, title, year) VALUES (1, 1, 'b1', 2000), (2, 1, 'b2', 2000), (3, 2, 'b3', 2000), "
    .. "(4, 2, 'b4', 2000)",
  "INSERT INTO tag (id, name) VALUES (1, 't1'), (2, 't2')",
  "INSERT INTO book_tag (book_id, tag_id) VALUES (1, 1), (1, 2), (2, 1)",
}

--- The classes with a memory database of two authors, four books and two tags; `.engine`, `.session`, `.record`.
function library.open(options, session_options)
  local lib = library.declare(options)
  lib.engine = database.create(lib.base)
  database.run(lib.engine, (table.unpack or unpack)(ROWS))
  lib.session = orm.Session(lib.engine, session_options)
  lib.record = statements.record(lib.engine)
  return lib
end

--- The same without rows.
function library.empty(options, session_options)
  local lib = library.declare(options)
  lib.engine = database.create(lib.base)
  lib.session = orm.Session(lib.engine, session_options)
  lib.record = statements.record(lib.engine)
  return lib
end

return library
