-- A fault while classes were configured left some of them done, and every later use failed on these.
local orm = require "orrery"

describe("configuring classes", function()
  it("can be tried again where it failed at the very end", function()
    local Base = orm.declarative_base()
    local Author = Base:model("Author", { __tablename__ = "author", id = orm.Mapped(orm.Integer, { primary_key = true }),
      books = orm.relationship("Book") })
    Base:model("Book", { __tablename__ = "book", id = orm.Mapped(orm.Integer, { primary_key = true }),
      author_id = orm.Mapped(orm.Integer, orm.ForeignKey("author.id")), author = orm.relationship("Author") })
    local failed = false
    local former = orm.on_warning(function()
      if not failed then
        failed = true
        error("no", 0)
      end
    end)
    local ok = pcall(Author, {})
    orm.on_warning(former)
    assert.same({ false, true }, { ok, failed })
    Base.registry:configure()
    assert.equal(0, #Author{}.books)
  end)
end)
