-- subqueryload repeats the query within the one that loads the related rows. Where the query read the related table, too, it
-- was taken for that one's, and rows were missing.
local orm = require "orrery"
local library = require "spec.support.library"
local select = orm.select

local lib = library.open()
local session, Author, Book, Tag = lib.session, lib.Author, lib.Book, lib.Tag

-- The books of the one author that a query gives, and their tags.
local function books_of(query)
  session:expunge_all()
  local author = session:scalars(query:options(orm.subqueryload(Author.books):subqueryload(Book.tags))):unique():one()
  local lines = {}
  for _, book in author.books do
    lines[#lines + 1] = book.title .. "/" .. #book.tags
  end
  return lines
end

describe("subqueryload", function()
  it("loads all related rows where the query names some of them", function()
    assert.same({ "b3/0", "b4/0" }, books_of(select(Author):where(Book.author_id:eq(Author.id), Book.id:eq(3))))
    assert.same({ "b1/2", "b2/1" }, books_of(select(Author):where(Book.author_id:eq(Author.id), Book.id:eq(1))))
  end)

  it("does so where a subquery of the query names them", function()
    local tagged = orm.exists(select(Book.id):where(Book.author_id:eq(Author.id), Book.title:eq("b1"), Tag.id:eq(1),
      Book.tags:any(Tag.name:eq("t2"))))
    assert.same({ "b1/2", "b2/1" }, books_of(select(Author):where(tagged)))
  end)
  teardown(function() session:close() end)
end)
