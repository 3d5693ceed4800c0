-- session:get() of what the session does not hold: the same whether somebody hears of statements or nobody does, which takes a
-- shorter way.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local Integer, String = orm.Integer, orm.String

local ROWS = { "INSERT INTO author (id, name) VALUES (1, 'a1'), (2, 'a2')",
  "INSERT INTO book (id, author_id, title) VALUES (1, 1, 'b1'), (2, 1, 'b2')" }

for who, heard in pairs { somebody = true, nobody = false } do
  describe("with " .. who .. " hearing of statements, session:get()", function()
    local count

    local function open(base, rows, options)
      local engine = database.create(base)
      for _, sql in ipairs(rows) do
        database.run(engine, sql)
      end
      count = 0
      if heard then
        orm.event.listen(engine, "before_cursor_execute", function() count = count + 1 end)
      end
      local session = orm.Session(engine, options)
      session:connection():ensure_begun()
      return session
    end

    it("gives the object of a row once, and nil where there is none", function()
      local lib = library.declare()
      local session = open(lib.base, ROWS)
      local author = session:get(lib.Author, 1)
      assert.equal("a1", author.name)
      assert.equal(author, session:get(lib.Author, 1))
      assert.is_nil(session:get(lib.Author, 99))
      assert.is_nil(session:get(lib.Author, 99))
      assert.equal(heard and 3 or 0, count)
      assert.equal(author, session:get(lib.Author, { 1 }))
      assert.equal(author, session:get(lib.Author, { id = 1 }))
      assert.equal(2, #author.books)
    end)

    it("reads an expired object again, and knows what is deleted", function()
      local lib = library.declare()
      local session = open(lib.base, ROWS)
      local author, book = session:get(lib.Author, 1), session:get(lib.Book, 2)
      session:execute(orm.text("UPDATE author SET name = 'new' WHERE id = 1"))
      session:expire(author)
      assert.equal("new", session:get(lib.Author, 1).name)
      session:delete(book)
      assert.is_nil(session:get(lib.Book, 2))
      session:commit()
      assert.is_nil(session:get(lib.Book, 2))
      assert.equal(author, session:get(lib.Author, 1))
    end)

    it("refuses what is no key, and says what failed", function()
      local lib = library.declare()
      local session = open(lib.base, ROWS)
      raises("ArgumentError", "integer", session.get, session, lib.Author, "x")
      raises("ArgumentError", "nil", session.get, session, lib.Author, nil)
      raises("ArgumentError", "nil", session.get, session, lib.Author, orm.null)
      session:execute(orm.text("ALTER TABLE author RENAME TO writer"))
      local err = raises("OperationalError", "no such table: author", session.get, session, lib.Author, 2)
      assert.same({ 2 }, err.params)
      assert.truthy(err.statement:find("^SELECT"))
      session:execute(orm.text("ALTER TABLE writer RENAME TO author"))
      assert.equal("a2", session:get(lib.Author, 2).name)
    end)

    it("brings along what its class wants", function()
      for lazy, statements in pairs { selectin = 2, joined = 1, batch = 2 } do
        local lib = library.declare { books = { lazy = lazy } }
        local session = open(lib.base, ROWS)
        local author = session:get(lib.Author, 1)
        assert.equal(2, #author.books)
        assert.equal(heard and statements or 0, count)
      end
    end)

    it("gives objects of their own class, and none of another", function()
      local base = orm.declarative_base()
      local Person = base:model("Person", { __tablename__ = "person", id = orm.mapped_column(Integer, { primary_key = true }),
        kind = orm.mapped_column(String), __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "person" } })
      local Chief = base:model("Chief", { __inherits__ = Person, title = orm.mapped_column(String),
        __mapper_args__ = { polymorphic_identity = "chief" } })
      local session = open(base, { "INSERT INTO person (id, kind, title) VALUES (1, 'person', NULL), (2, 'chief', 't')" })
      assert.is_nil(session:get(Chief, 1))
      assert.equal("t", session:get(Person, 2).title)
      assert.is_nil(session:get(Chief, 1))
      assert.is_true(orm.isinstance(session:get(Chief, 2), Chief))
      local Boss = base:model("Boss", { __inherits__ = Person, __mapper_args__ = { polymorphic_identity = "boss" } })
      session:execute(orm.text("INSERT INTO person (id, kind) VALUES (3, 'boss')"))
      assert.is_true(orm.isinstance(session:get(Person, 3), Boss))
    end)

    it("leaves deferred columns out, and takes keys of text, dates and bytes", function()
      local base = orm.declarative_base()
      for name, case in pairs { text = { String, "x'y" }, bytes = { orm.LargeBinary, "\0\1" }, real = { orm.Float, 1.5 } } do
        local Thing = base:model("T" .. name, { __tablename__ = name, id = orm.mapped_column(case[1], { primary_key = true }),
          note = orm.mapped_column(String, { deferred = true }) })
        local session = open(base, {})
        session:add(Thing { id = case[2], note = "n" })
        session:commit()
        session:close()
        session:connection():ensure_begun()
        local thing = session:get(Thing, case[2])
        assert.equal(case[2], thing.id)
        assert.same({ "note" }, orm.inspect(thing).unloaded)
        assert.equal("n", thing.note)
        session:close()
      end
    end)
  end)
end
