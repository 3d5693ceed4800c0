-- What require "orrery" reads at once, and what a script's first question for it.
local function printed_by(script, before)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(before or "", ' local orm = require "orrery"\n', script)
  file:close()
  local pipe = assert(io.popen(("%s %s 2>&1"):format(os.getenv("LUA_PROGRAM") or "lua5.4", path)))
  local printed = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return printed
end

describe("a script", function()
  it("that knows no classes reads nothing of them", function()
    assert.equal("1\tnil\n", printed_by[[
      local conn = orm.create_engine("sqlite://"):connect()
      print(conn:scalar(orm.text("SELECT 1")), rawget(orm, "Session"))
    ]])
  end)

  it("reads them with the first name of theirs, in a coroutine and without Lua's globals as well", function()
    assert.equal("true\ttrue\tfunction\n", printed_by[[
      local print, rawget, type = print, rawget, type
      local resume = coroutine.wrap(function()
        setmetatable, pairs, ipairs, error = nil, nil, nil, nil
        return orm.relationship ~= nil, rawget(orm, "Session") == orm.Session
      end)
      local first, second = resume()
      print(first, second, type(orm.relationship))
    ]])
  end)

  it("reads the library from its text where another Lua's name, or none, is on the state", function()
    for _, named in ipairs { '_VERSION = "Lua 9.9"', "_VERSION = nil", "_VERSION = 5", 'jit = { version = "LuaJIT 9" }',
      "jit = {}", "jit = 5 _VERSION = {}" } do
      assert.equal("7\tnote\n", printed_by(([[
        local Base = orm.declarative_base()
        local Note = Base:model("Note", { __tablename__ = "note", id = orm.mapped_column(orm.Integer, { primary_key = true }) })
        local session = orm.Session(orm.create_engine("sqlite://"))
        Base.metadata:create_all(session:connection())
        session:add(Note { id = 7 })
        session:commit()
        print(session:scalars(orm.select(Note)):one().id, Note.__table__.name)
      ]]), named))
    end
  end)

  it("is told which name it means, of those that are not read yet as well", function()
    assert.truthy(printed_by[[print(orm.try(function() return orm.declarative_bas end))]]:find(
      "orrery has no 'declarative_bas'; did you mean 'declarative_base'?", 1, true))
  end)

  it("finds all names once it has asked for one of them", function()
    assert.equal("nil\tfunction\n", printed_by[[
      local before = rawget(orm, "selectinload")
      local _ = orm.Session
      print(before, type(rawget(orm, "selectinload")))
    ]])
  end)

  it("finds all names where it walks over them, from Lua 5.2 on", function()
    local _, missing = printed_by[[
      local found = {}
      for name in pairs(orm) do found[name] = true end
      print(found.create_engine, found.Session)
    ]]:gsub("nil", "")
    assert.equal(_VERSION == "Lua 5.1" and 1 or 0, missing)
  end)

  -- Each in a process of its own, where it is the first that needs the file.
  local FIRST = {
    ["metadata:create_all()"] = [[metadata:create_all(engine) return orm.inspector(engine):get_table_names()[1] ]],
    ["table:create()"] = [[tbl:create(engine) return orm.inspector(engine):has_table("t")]],
    ["table:insert()"] = [[return tostring(tbl:insert())]],
    ["table:select()"] = [[return tostring(tbl:select())]],
    ["table:to_metadata()"] = [[return tbl:to_metadata(orm.MetaData()).name]],
    ["index:create()"] = [[tbl:create(engine) orm.Index("i", tbl.c.name):create(engine)
      return orm.inspector(engine):get_indexes("t")[1].name]],
    ["metadata:reflect()"] = [[engine:connect():exec_driver_sql("CREATE TABLE u (id INTEGER)")
      metadata:reflect(engine) return metadata.tables.u.c.id.name]],
    ["autoload_with"] = [[engine:connect():exec_driver_sql("CREATE TABLE u (id INTEGER)")
      return orm.Table("u", metadata, { autoload_with = engine }).c.id.name]],
    ["a listener to DDL"] = [[local heard
      orm.event.listen(tbl, "before_create", function(target) heard = target.name end)
      tbl:create(engine) return heard]],
    ["connection:explain()"] = [[return #engine:connect():explain(orm.text("SELECT 1"))]],
    ["func.name():table_valued()"] = [[return tostring(orm.select(orm.func.json_each("[1]"):table_valued("value").c.value))]],
    ["a CTE of VALUES"] = [[
      return tostring(orm.select(orm.values(orm.column("id"), { name = "v" }):data{ { 1 } }:cte("w").c.id))]],
    ["an update"] = [[return tostring(orm.update(tbl):where(tbl.c.id:eq(1)):values{ name = "x" })]],
    ["JSON"] = [[return orm.json.encode(orm.array{ 1 })]],
    ["a moment"] = [[return orm.select(orm.literal("2024-01-02 03:04:05", orm.DateTime)) ~= nil]],
    ["orm.database()"] = [[local db = orm.database("sqlite://") return db.CreateTable ~= nil and db.insert == orm.insert]],
  }
  for what, script in pairs(FIRST) do
    it("may begin with " .. what, function()
      local printed = printed_by([[
        local metadata, engine = orm.MetaData(), orm.create_engine("sqlite://")
        local tbl = orm.Table("t", metadata, orm.Column("id", orm.Integer, { primary_key = true }), orm.Column("name", orm.Text))
        print("found", (function() ]] .. script .. [[ end)())
      ]])
      assert.truthy(printed:find("^found\t") and not printed:find("^found\t[nf]"), printed)
    end)
  end

  local FIRST_OF_CLASSES = {
    ["a flush"] = [[session:add(Author{ name = "x" }) session:flush() return session:get(Author, 2).name]],
    ["a change"] = [[ann.name = "x" session:commit() return ann.name]],
    ["an expression as value"] = [[ann.name = Author.name .. "x" session:commit() return ann.name]],
    ["a cascade"] = [[session:delete(ann) session:commit() return session:get(Book, 1) == nil]],
    ["an orphan"] = [[ann.books:remove(ann.books[1]) session:commit() return session:get(Book, 1) == nil]],
    ["a lazy list"] = [[return ann.books[1].title]],
    ["selectinload()"] = [[
      return session:scalars(orm.select(Author):options(orm.selectinload(Author.books))):one().books[1].title]],
    ["joinedload()"] = [[
      return session:scalars(orm.select(Author):options(orm.joinedload(Author.books))):unique():one().books[1].title]],
    ["a comparison with an object"] = [[return session:scalars(orm.select(Book):where(Book.author:eq(ann))):one().title]],
    ["with_parent()"] = [[return session:scalars(orm.select(Book):where(orm.with_parent(ann, Author.books))):one().title]],
    ["any()"] = [[return session:scalars(orm.select(Author):where(Author.books:any())):one().name]],
    ["aliased()"] = [[local other = orm.aliased(Author) return session:scalars(orm.select(other)):one().name]],
    ["session:query()"] = [[return session:query(Author):first().name]],
    ["session:watch()"] = [[return session:watch(function() session:get(Author, 2) end).statements]],
    ["merge()"] = [[return session:merge(Author{ id = 1, name = "y" }).name]],
    ["an update of classes"] = [[
      session:execute(orm.update(Author):where(Author.id:eq(1)):values{ name = "z" }) return ann.name]],
    ["a Bundle"] = [[return session:execute(orm.select(orm.Bundle("b", Author.id, Author.name))):one().b.name]],
    ["yield_per"] = [[for author in session:scalars(orm.select(Author), {}, { yield_per = 1 }) do return author.name end]],
    ["from_statement()"] = [[
      return session:scalars(orm.select(Author):from_statement(orm.text("SELECT * FROM author"))):one().name]],
    ["inspect()"] = [[return orm.inspect(ann).persistent]],
    ["the metadata"] = [[return Base.metadata.tables.author:select() ~= nil]],
    ["reflection"] = [[local other = orm.MetaData() other:reflect(engine) return other.tables.book.c.title.name]],
    ["automap()"] = [[return orm.automap(engine).Author ~= nil]],
    ["sandbox()"] = [[return orm.sandbox{ engine = engine, tables = { author = { "select" } } }:run("return 1")]],
  }
  for what, script in pairs(FIRST_OF_CLASSES) do
    it("may begin, when it has classes, with " .. what, function()
      local path = os.tmpname()
      local function with(body)
        return printed_by(([[
          local Base = orm.declarative_base()
          local Author = Base:model("Author", { __tablename__ = "author",
            id = orm.Mapped(orm.Integer, { primary_key = true }), name = orm.Mapped(orm.Text),
            books = orm.relationship("Book", { back_populates = "author", cascade = "all, delete-orphan" }) })
          local Book = Base:model("Book", { __tablename__ = "book",
            id = orm.Mapped(orm.Integer, { primary_key = true }), title = orm.Mapped(orm.Text),
            author_id = orm.Mapped(orm.Integer, orm.ForeignKey("author.id")),
            author = orm.relationship("Author", { back_populates = "books" }) })
          local engine = orm.create_engine("sqlite:///%s")
          local session = orm.Session(engine)
        ]]):format(path) .. body)
      end
      with[[Base.metadata:create_all(engine)
        session:add(Author{ name = "Ann", books = { Book{ title = "One" } } }) session:commit()]]
      local printed = with([[local ann = session:get(Author, 1) print("found", (function() ]] .. script .. [[ end)())]])
      os.remove(path)
      assert.truthy(printed:find("^found\t") and not printed:find("^found\t[nf]"), printed)
    end)
  end

  it("keeps what it has put under a name that is not read yet", function()
    assert.equal("mine\tmine\n", printed_by[[
      rawset(orm, "Table", "mine")
      local _ = orm.Session
      print(orm.Table, orm.try(function() return orm.nothing end) == nil and orm.Table)
    ]])
  end)

  it("finds every function that stands for one of a file in that file", function()
    assert.equal("", printed_by[[
      local core = require "orrery.core"
      for name in io.lines("lua/orrery/ORDER") do core.read(name) end
      local schema, left = core.read "schema", {}
      local tables = { expression = core.read("expression").methods, selectable = core.read("selectable").methods,
        connection = core.read("connection").methods, table = schema.table_methods, constraint = schema.constraint_methods,
        metadata = schema.metadata_methods, session = core.read("session").methods,
        relationship = core.read("relationship").Attribute, visit = core.read("render").VISIT }
      for what, methods in pairs(tables) do
        for name, fn in pairs(methods) do
          if type(fn) == "function" and debug.getinfo(fn, "S").short_src:find("reading.lua", 1, true) then
            print(what, name)
          end
        end
      end
      for _, name in ipairs{ "orphaned", "undeletable", "assign_expression", "link_defaults", "uniques", "not_in_session",
        "stale", "delete_missed", "stale_link", "stale_links", "write_only" } do
        if debug.getinfo(core.hook(name), "S").short_src:find("reading.lua", 1, true) then print(name) end
      end
    ]])
  end)
end)
