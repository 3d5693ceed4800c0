-- A table, alias or subquery that is selected beside a class gives its columns as values of the rows: such a query failed
-- within the library.
local orm = require "orrery"
local library = require "spec.support.library"
local count_of = select
local func, select = orm.func, orm.select

-- What rows hold, objects by their names.
local function shown(result)
  local lines = {}
  for row in result do
    local parts = {}
    for position = 1, (count_of("#", row())) do
      local value = row[position]
      parts[position] = type(value) == "userdata" and value.name or tostring(value)
    end
    lines[#lines + 1] = table.concat(parts, " ")
  end
  return lines
end

describe("a table beside a class", function()
  local lib = library.open()
  local session, Author, Book = lib.session, lib.Author, lib.Book
  local book = Book.__table__

  local function gives(expected, statement)
    session:expunge_all()
    assert.same(expected, shown(session:execute(statement)))
  end

  it("gives values before and behind the object", function()
    local newest = select(Book.author_id, func.max(Book.id):label("newest")):group_by(Book.author_id):subquery()
    local query = select(newest, Author, newest):join(newest, newest.c.author_id:eq(Author.id)):order_by(Author.id)
    gives({ "1 2 a1 1 2", "2 4 a2 2 4" }, query)
    local row = session:execute(query):first()
    assert.same({ 2, "a1" }, { row[2], row[3].name })
  end)

  it("may be an alias, a join, or in the members of a union", function()
    local twin = orm.alias(book, "twin")
    gives({ "a1 1 1 b1 2000" }, select(Author, twin):where(twin.c.author_id:eq(Author.id), twin.c.id:eq(1)))
    local following = orm.alias(book, "following")
    gives({ "3 2 b3 2000 4 2 b4 2000 a2" }, select(orm.join(book, following, following.c.author_id:eq(book.c.author_id)), Author)
      :where(book.c.author_id:eq(Author.id), book.c.id:eq(3), following.c.id:gt(book.c.id)))
    gives({ "1 1 b1 2000 a1", "3 2 b3 2000 a2" }, select(book, Author):where(book.c.author_id:eq(Author.id), book.c.id:eq(1))
      :union_all(select(book, Author):where(book.c.author_id:eq(Author.id), book.c.id:eq(3))))
  end)

  it("leaves what loads with the object in its place", function()
    for _, option in ipairs{ orm.joinedload(Author.books), orm.selectinload(Author.books), orm.subqueryload(Author.books) } do
      session:expunge_all()
      local query = select(book, Author):where(book.c.author_id:eq(Author.id), book.c.id:eq(3)):options(option)
      local row = session:execute(query):unique():one()
      assert.same({ 3, "b3", "a2", 2 }, { row.id, row.title, row[5].name, #row[5].books })
    end
  end)

  it("is found by its columns' names in the rows of a text", function()
    gives({ "2 1 b2 2000 a1" }, select(book, Author):from_statement(orm.text(
      "SELECT a.name, b.title, b.year, b.author_id, b.id, a.id AS aid FROM book b JOIN author a ON a.id = b.author_id "
        .. "WHERE b.id = 2")))
  end)
  teardown(function() session:close() end)
end)
