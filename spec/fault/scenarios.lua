-- scenarios: what is done while everything fails around it. Each is a unit of work, or a few, that a program could
-- contain. Called with (open, fault): open() loads the library; fault.mark() says that a commit was acknowledged,
-- fault.pause() and fault.resume() stand around what must not fail, fault.wrong(text) reports.
--
-- run(env) may be called again after rollback: it begins with what is in the database, and makes all its objects itself.
-- It returns a text that is always the same.
local open, fault = ...

local scenarios, names = {}, {}

local function scenario(name, body)
  body.name = name
  scenarios[name] = body
  names[#names + 1] = name
end

-- ---- classes and rows that most work on ----

local function declare(orm)
  local Base = orm.declarative_base()
  local classes = { Base = Base }
  classes.Author = Base:model("Author", {
    __tablename__ = "author",
    id = orm.Mapped(orm.Integer, { primary_key = true }),
    name = orm.Mapped(orm.String(50), { unique = true }),
    books = orm.relationship("Book", { back_populates = "author", order_by = "Book.id", cascade = "all, delete-orphan" }),
  })
  classes.Book = Base:model("Book", {
    __tablename__ = "book",
    id = orm.Mapped(orm.Integer, { primary_key = true }),
    title = orm.Mapped(orm.String(50)),
    year = orm.Mapped(orm.Optional(orm.Integer)),
    version = orm.Mapped(orm.Integer),
    author_id = orm.Mapped(orm.Integer, orm.ForeignKey("author.id")),
    author = orm.relationship("Author", { back_populates = "books" }),
    tags = orm.relationship("Tag", { secondary = "book_tag", back_populates = "books", order_by = "Tag.id" }),
    __mapper_args__ = { version_id_col = "version" },
  })
  classes.Tag = Base:model("Tag", {
    __tablename__ = "tag",
    id = orm.Mapped(orm.Integer, { primary_key = true }),
    name = orm.Mapped(orm.String(50)),
    books = orm.relationship("Book", { secondary = "book_tag", back_populates = "tags", order_by = "Book.id" }),
  })
  orm.Table("book_tag", Base.metadata,
    orm.Column("book_id", orm.Integer, orm.ForeignKey("book.id"), { primary_key = true }),
    orm.Column("tag_id", orm.Integer, orm.ForeignKey("tag.id"), { primary_key = true }))
  return classes
end

local TABLES = [[
  CREATE TABLE author (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE);
  CREATE TABLE book (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR(50) NOT NULL, year INTEGER, version INTEGER NOT NULL,
    author_id INTEGER NOT NULL REFERENCES author (id));
  CREATE TABLE tag (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL);
  CREATE TABLE book_tag (book_id INTEGER NOT NULL REFERENCES book (id), tag_id INTEGER NOT NULL REFERENCES tag (id),
    PRIMARY KEY (book_id, tag_id));
  INSERT INTO author VALUES (1, 'ann'), (2, 'ben'), (3, 'cy');
  INSERT INTO book VALUES (1, 'b1', 2001, 1, 1), (2, 'b2', 2002, 1, 1), (3, 'b3', NULL, 1, 2), (4, 'b4', 2004, 1, 2),
    (5, 'b5', 2005, 1, 3);
  INSERT INTO tag VALUES (1, 't1'), (2, 't2'), (3, 't3');
  INSERT INTO book_tag VALUES (1, 1), (1, 2), (2, 1), (4, 3);
]]

local function join(list, field)
  local parts = {}
  for _, object in ipairs(list) do
    parts[#parts + 1] = tostring(object[field])
  end
  return table.concat(parts, " ")
end

local function titles(books)
  local parts = {}
  for _, book in books do
    parts[#parts + 1] = book.title
  end
  return table.concat(parts, " ")
end

-- ---- a flush that fails leaves everything as it was ----

local function history(orm, object, key)
  local ok, change = pcall(function() return orm.inspect(object).attrs[key].history end)
  if not ok then
    return "?"
  end
  local parts = {}
  for _, part in ipairs{ "added", "unchanged", "deleted" } do
    for _, value in ipairs(change[part] or {}) do
      parts[#parts + 1] = part .. "=" .. (type(value) == "userdata" and "object" or tostring(value))
    end
  end
  return table.concat(parts, ",")
end

-- What a program can see of these objects and of the session, without loading anything.
local function describe(env, objects, keys)
  local orm, lines = env.orm, {}
  local number = {}
  for position, object in ipairs(objects) do
    number[object] = position
    local parts = { orm.inspect(object).state }
    for _, key in ipairs(keys[position] or keys) do
      parts[#parts + 1] = key .. ":" .. history(orm, object, key)
    end
    lines[#lines + 1] = position .. " " .. table.concat(parts, " ")
  end
  for _, list in ipairs{ "new", "dirty", "deleted" } do
    local parts = {}
    for _, object in ipairs(env.session[list]) do
      parts[#parts + 1] = number[object] or "another"
    end
    table.sort(parts, function(a, b) return tostring(a) < tostring(b) end)
    lines[#lines + 1] = list .. " " .. table.concat(parts, " ")
  end
  return table.concat(lines, "\n")
end

-- What the session's own transaction sees.
local function rows(env, sql)
  local parts = {}
  for row in env.session:connection():execute(env.orm.text(sql)) do
    local values = {}
    for position = 1, 4 do
      local fine, value = pcall(function() return row[position] end)
      values[position] = tostring(fine and value or nil)
    end
    parts[#parts + 1] = table.concat(values, "|")
  end
  return table.concat(parts, "\n")
end

local LOOK = "SELECT 'a' || id, name, 0, 0 FROM author UNION ALL SELECT 'b' || id, title, year, author_id FROM book "
  .. "UNION ALL SELECT 't' || book_id, tag_id, 0, 0 FROM book_tag ORDER BY 1, 2"

-- Flushes; where that fails, objects and rows must be as before, and the same flush must go through at once where
-- nothing fails any more.
local function flush(env, objects, keys)
  fault.pause()
  local before, rows_before = describe(env, objects, keys), rows(env, LOOK)
  fault.resume()
  local ok, err = pcall(env.session.flush, env.session)
  if ok then
    return
  end
  fault.pause()
  local after = describe(env, objects, keys)
  if after ~= before then
    fault.wrong("objects after a failed flush (" .. tostring(err) .. "):\n" .. after .. "\nand before it:\n" .. before)
  end
  if env.session.is_active then
    local rows_after = rows(env, LOOK)
    if rows_after ~= rows_before then
      fault.wrong("rows after a failed flush (" .. tostring(err) .. "):\n" .. rows_after .. "\nand before it:\n" .. rows_before)
    end
    if not fault.lasts() then
      env.session:flush()
      fault.resume()
      return
    end
  end
  fault.resume()
  error(err, 0)
end

-- ---- the scenarios ----

scenario("load", {
  bare = true,
  run = function()
    local orm = open()
    local engine = orm.create_engine("sqlite:///fault.db")
    local conn = engine:connect()
    local number = conn:scalar(orm.text("SELECT count(*) FROM author"))
    conn:close()
    engine:dispose()
    assert(orm.Session, "the second part is read when a script asks for it")
    return tostring(number)
  end,
})

scenario("declare", {
  run = function(env)
    local orm = env.orm
    local classes = declare(orm)
    classes.Base.registry:configure()
    local session = orm.Session(env.engine)
    env.session = session
    session:add(classes.Author{ name = "dee", books = { classes.Book{ title = "b6" } } })
    session:commit()
    fault.mark()
    return session:scalar(orm.select(orm.func.count(classes.Book.id))) .. ""
  end,
})

scenario("graph", {
  run = function(env)
    local Author, Book, Tag, session = env.Author, env.Book, env.Tag, env.session
    local tag = Tag{ name = "new" }
    local author = Author{ name = "dee", books = { Book{ title = "b6", tags = { tag } }, Book{ title = "b7", year = 7 } } }
    author.books:append(Book{ title = "b8", tags = { tag, session:get(Tag, 1) } })
    session:add(author)
    session:commit()
    fault.mark()
    local other = Author{ name = "eve" }
    session:add(other)
    author.books[1].author = other
    session:commit()
    fault.mark()
    return titles(author.books) .. " / " .. titles(other.books) .. " / " .. titles(tag.books)
  end,
})

scenario("cascade", {
  run = function(env)
    local session = env.session
    local ann, ben = session:get(env.Author, 1), session:get(env.Author, 2)
    session:delete(ann)
    ben.books:remove(ben.books[2])
    session:commit()
    fault.mark()
    return titles(ben.books) .. " / " .. join(session:scalars(env.orm.select(env.Tag):order_by("id")):all(), "name")
  end,
})

scenario("many-to-many", {
  run = function(env)
    local session, Tag, Book = env.session, env.Tag, env.Book
    local b1, b5 = session:get(Book, 1), session:get(Book, 5)
    b1.tags:remove(session:get(Tag, 1))
    b1.tags:append(session:get(Tag, 3))
    b5.tags = { session:get(Tag, 1), Tag{ name = "t4" } }
    session:commit()
    fault.mark()
    session:get(Tag, 3).books:clear()
    session:commit()
    fault.mark()
    return join(b1.tags:to_table(), "name") .. " / " .. join(b5.tags:to_table(), "name")
  end,
})

scenario("nested", {
  run = function(env)
    local session, Author, Book = env.session, env.Author, env.Book
    session:add(Author{ name = "dee" })
    local inner = session:begin_nested()
    session:add(Author{ name = "lost", books = { Book{ title = "lost" } } })
    session:get(Book, 1).title = "lost"
    session:flush()
    inner:rollback()
    session:begin_nested(function()
      session:get(Book, 2).title = "kept"
      session:begin_nested(function() session:add(Author{ name = "eve" }) end)
    end)
    session:commit()
    fault.mark()
    return session:get(Book, 1).title .. session:get(Book, 2).title
  end,
})

scenario("lazy", {
  run = function(env)
    local session, parts = env.session, {}
    for _, author in ipairs(session:scalars(env.orm.select(env.Author):order_by("id")):all()) do
      for _, book in author.books do
        parts[#parts + 1] = author.name .. ":" .. book.title .. ":" .. join(book.tags:to_table(), "name")
      end
    end
    session:commit()
    fault.mark()
    local book = session:get(env.Book, 3)
    session:expire(book, { "title" })
    parts[#parts + 1] = book.title .. book.author.name
    session:refresh(book)
    session:expire_all()
    return table.concat(parts, " ") .. " " .. book.author.books[2].title
  end,
})

scenario("eager", {
  run = function(env)
    local orm, session, Author, Book = env.orm, env.session, env.Author, env.Book
    local parts = {}
    local select = orm.select(Author):order_by("id")
    for _, option in ipairs{ orm.selectinload(Author.books):selectinload(Book.tags), orm.joinedload(Author.books),
      orm.immediateload(Author.books) } do
      for _, author in ipairs(session:scalars(select:options(option)):unique():all()) do
        parts[#parts + 1] = titles(author.books)
      end
      session:expunge_all()
    end
    local rows_ = session:execute(orm.select(Book, Author.name):join(Book.author):where(Author.name:ne("cy")):order_by(Book.id))
    for row in rows_ do
      parts[#parts + 1] = row[1].title .. row[2]
    end
    return table.concat(parts, " ")
  end,
})

scenario("reflect", {
  run = function(env)
    local orm = env.orm
    local inspector = orm.inspector(env.engine)
    local parts = inspector:get_table_names()
    for _, column in ipairs(inspector:get_columns("book")) do
      parts[#parts + 1] = column.name
    end
    local models = orm.automap(env.engine)
    local session = orm.Session(env.engine)
    env.session = session
    local author = session:get(models.Author, 1)
    author.name = "reflected"
    session:commit()
    fault.mark()
    local metadata = orm.MetaData()
    metadata:reflect(env.engine)
    parts[#parts + 1] = #metadata.tables.book_tag.columns
    return table.concat(parts, " ")
  end,
})

scenario("hooks", {
  run = function(env)
    local orm, session, Author, Book = env.orm, env.session, env.Author, env.Book
    local heard = {}
    env.refuse = true
    if not env.listening then
      fault.pause()
      env.listening = true
      orm.event.listen(Author, "before_insert", function(_, _, target)
        if env.refuse and target.name == "bad" then
          error("refused", 0)
        end
      end)
      orm.event.listen(Book, "before_insert", function(_, connection, target)
        target.year = connection:scalar(orm.text("SELECT max(year) FROM book"))
      end)
      orm.validates(Book, "title", function(_, _, value)
        if value == "bad" then
          error("title refused", 0)
        end
        return value
      end)
      fault.resume()
    end
    local function listener(_, context)
      heard[#heard + 1] = type(context)
    end
    orm.event.listen(session, "before_flush", listener)
    session:add(Author{ name = "dee", books = { Book{ title = "b6" } } })
    session:add(Author{ name = "bad" })
    local refused, reason = pcall(session.flush, session)
    local title, why = pcall(function() session:get(Book, 1).title = "bad" end)
    orm.event.remove(session, "before_flush", listener)
    if tostring(reason):find("memory") or tostring(why):find("memory") or not tostring(reason):find("refused")
      or not tostring(why):find("refused") then
      error(tostring(reason):find("refused") and why or reason, 0)
    end
    env.refuse = false
    session:commit()
    fault.mark()
    return tostring(refused) .. tostring(title) .. session:get(Book, 6).year
  end,
})

scenario("constraint", {
  run = function(env)
    local session, Author, Book = env.session, env.Author, env.Book
    session:get(Book, 1).title = "kept"
    session:flush()
    local twin = Author{ name = "ann" }
    session:add(twin)
    local ok, err = pcall(session.flush, session)
    if not ok and not env.orm.is_error(err, "IntegrityError") then
      error(err, 0)
    end
    twin.name = "dee"
    session:commit()
    fault.mark()
    return tostring(ok) .. err.constraint .. session:get(Book, 1).title
  end,
})

scenario("flush", {
  run = function(env)
    local session, Author, Book, Tag = env.session, env.Author, env.Book, env.Tag
    session:get(Author, 3).name = "first"
    session:flush()
    local ann, b1, b3, t1 = session:get(Author, 1), session:get(Book, 1), session:get(Book, 3), session:get(Tag, 1)
    local b2, b6, dee = ann.books[2], Book{ title = "b6", tags = { t1 } }, Author{ name = "dee" }
    local objects = { ann, b1, b2, b3, t1, b6, dee }
    local book = { "id", "title", "year", "version", "author_id" }
    local keys = { { "id", "name" }, book, book, book, { "id", "name" }, book, { "id", "name" } }
    b1.title, b1.year = "changed", nil
    ann.name = "anna"
    b3.author = dee
    dee.books:append(b6)
    b1.tags:remove(t1)
    session:add(dee)
    session:delete(b2)
    flush(env, objects, keys)
    session:commit()
    fault.mark()
    return titles(ann.books) .. titles(dee.books) .. b1.title .. tostring(b1.year)
  end,
})

scenario("merge", {
  run = function(env)
    local session, Author, Book, Tag = env.session, env.Author, env.Book, env.Tag
    local tag = Tag{ id = 1, name = "T" }
    local merged = session:merge(Author{ id = 1, name = "anna",
      books = { Book{ id = 1, title = "B", tags = { tag } }, Book{ title = "new", tags = { tag } } } })
    session:commit()
    fault.mark()
    return merged.name .. titles(merged.books) .. titles(session:get(Tag, 1).books)
  end,
})

scenario("stream", {
  run = function(env)
    local orm, conn, sum = env.orm, env.engine:connect(), 0
    env.conn = conn
    local numbers = orm.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last) SELECT i FROM n")
    local first = conn:execute(numbers, { last = 60 }, { yield_per = 7 })
    for row in first do
      sum = sum + row.i
      if sum > 100 then
        break
      end
    end
    first:close()
    for part in conn:execute(numbers, { last = 40 }, { yield_per = 10 }):partitions() do
      sum = sum + #part
    end
    sum = sum + #conn:execute(orm.text("SELECT id, title FROM book")):mappings():all()
    sum = sum + conn:execute(orm.select(orm.func.sum(env.Book.year))):scalar_one()
    conn:close()
    env.conn = nil
    return tostring(sum)
  end,
})

scenario("pool", {
  run = function(env)
    local orm = env.orm
    local engine = orm.create_engine("sqlite:///fault.db", { pool_size = 2, max_overflow = 1 })
    local held = { engine:connect(), engine:connect() }
    env.held = held
    local sum = 0
    for round = 1, 3 do
      for _, conn in ipairs(held) do
        sum = sum + conn:scalar(orm.text("SELECT count(*) FROM book WHERE year > :y"), { y = 2000 + round })
        conn:rollback()
      end
      held[1]:close()
      held[1] = engine:connect()
    end
    for _, conn in ipairs(held) do
      conn:close()
    end
    engine:begin(function(conn)
      conn:execute(orm.text("UPDATE book SET title = 'pool' WHERE id = 1"))
    end)
    fault.mark()
    engine:dispose()
    env.held = nil
    return tostring(sum)
  end,
})

scenario("ddl", {
  run = function(env)
    local orm = env.orm
    local metadata = orm.MetaData()
    local parent = orm.Table("parent", metadata, orm.Column("id", orm.Integer, { primary_key = true }),
      orm.Column("code", orm.String(8), { index = true, nullable = false }), orm.UniqueConstraint("id", "code"))
    orm.Table("child", metadata, orm.Column("id", orm.Integer, { primary_key = true }),
      orm.Column("parent_id", orm.Integer, orm.ForeignKey("parent.id")), orm.Column("n", orm.Numeric(8, 2)))
    metadata:create_all(env.engine)
    fault.mark()
    env.engine:begin(function(conn)
      conn:execute(orm.insert(parent), { { code = "a" }, { code = "b" } })
    end)
    fault.mark()
    local count = env.session:scalar(orm.select(orm.func.count(parent.c.id)))
    env.session:rollback()
    metadata:drop_all(env.engine)
    fault.mark()
    return tostring(count)
  end,
})

scenario("types", {
  tables = [[CREATE TABLE thing (id INTEGER NOT NULL PRIMARY KEY, doc JSON, price NUMERIC(10, 2), day DATE, at DATETIME,
    flag BOOLEAN, raw BLOB, colour VARCHAR(5), uid CHAR(32), big BIGINT)]],
  declare = function(orm)
    local Base = orm.declarative_base()
    return { Thing = Base:model("Thing", {
      __tablename__ = "thing",
      id = orm.mapped_column(orm.Integer, { primary_key = true }),
      doc = orm.mapped_column(orm.JSON),
      price = orm.mapped_column(orm.Numeric(10, 2)),
      day = orm.mapped_column(orm.Date),
      at = orm.mapped_column(orm.DateTime{ as = "table" }),
      flag = orm.mapped_column(orm.Boolean),
      raw = orm.mapped_column(orm.LargeBinary),
      colour = orm.mapped_column(orm.Enum("red", "green")),
      uid = orm.mapped_column(orm.Uuid),
      big = orm.mapped_column(orm.BigInteger{ as = "string" }),
    }) }
  end,
  run = function(env)
    local session, Thing = env.session, env.Thing
    local long = ("x"):rep(5000)
    local thing = Thing{ doc = { list = env.orm.array{ 1, 2, { deep = true } }, text = long }, price = 12.5, day = "2024-02-29",
      at = "2024-02-29 12:30:00", flag = true, raw = "a\0b" .. long, colour = "red",
      uid = "12345678-1234-5678-1234-567812345678", big = "9007199254740993" }
    session:add(thing)
    session:commit()
    fault.mark()
    thing.doc.list[3].deep = false
    thing.doc.more = { 1.5, "s" }
    thing.price = 0.25
    session:commit()
    fault.mark()
    session:expunge_all()
    thing = session:scalars(env.orm.select(Thing)):one()
    return ("%s %d %s %s %s %d %s %s %s"):format(tostring(thing.doc.list[3].deep), #thing.doc.text, tostring(thing.price),
      thing.day, tostring(thing.at.hour), #thing.raw, thing.colour, thing.uid, thing.big)
  end,
})

scenario("keys", {
  tables = [[
    CREATE TABLE item (code VARCHAR(20) NOT NULL PRIMARY KEY, n INTEGER);
    CREATE TABLE part (item_code VARCHAR(20) NOT NULL REFERENCES item (code) ON UPDATE CASCADE, place INTEGER NOT NULL,
      PRIMARY KEY (item_code, place));
    INSERT INTO item VALUES ('a', 1), ('b', 2), ('c', 3);
    INSERT INTO part VALUES ('a', 1), ('c', 1), ('c', 2);
  ]],
  declare = function(orm)
    local Base = orm.declarative_base()
    return {
      Item = Base:model("Item", {
        __tablename__ = "item",
        code = orm.mapped_column(orm.String(20), { primary_key = true }),
        n = orm.mapped_column(orm.Integer),
        parts = orm.relationship("Part", { back_populates = "item", order_by = "Part.place", cascade = "all, delete-orphan" }),
      }),
      Part = Base:model("Part", {
        __tablename__ = "part",
        item_code = orm.mapped_column(orm.String(20), orm.ForeignKey("item.code", { onupdate = "CASCADE" }),
          { primary_key = true }),
        place = orm.mapped_column(orm.Integer, { primary_key = true }),
        item = orm.relationship("Item", { back_populates = "parts" }),
      }),
    }
  end,
  run = function(env)
    local session, Item, Part = env.session, env.Item, env.Part
    local a, c = session:get(Item, "a"), session:get(Item, "c")
    local held = { a.parts[1], c.parts[1], c.parts[2] }
    a.code = "first"
    session:add(Item{ code = "new", n = 4, parts = { Part{ place = 7 } } })
    session:delete(session:get(Item, "b"))
    session:flush()
    local nested = session:begin_nested()
    c.code = "lost"
    session:delete(held[3])
    session:add(Item{ code = "b", n = 5 })
    session:flush()
    nested:rollback()
    session:commit()
    fault.mark()
    c.code = "lost too"
    session:delete(a)
    session:flush()
    session:rollback()
    return a.code .. c.code .. #c.parts .. session:get(Part, { "first", 1 }).item.code
  end,
})

scenario("bulk", {
  run = function(env)
    local orm, session, Author, Book = env.orm, env.session, env.Author, env.Book
    local authors, plain = {}, {}
    for number = 1, 40 do
      authors[number] = Author{ name = "author" .. number, books = { Book{ title = "t" .. number } } }
      plain[number] = { name = "plain" .. number }
    end
    session:add_all(authors)
    session:flush()
    session:execute(orm.insert(Author), plain)
    session:commit()
    fault.mark()
    session:execute(orm.update(Book):where(Book.id:gt(5)):values{ year = 1999 })
    for _, author in ipairs(authors) do
      author.name = author.name .. "!"
    end
    session:delete(authors[7])
    session:commit()
    fault.mark()
    return authors[40].name .. session:scalar(orm.select(orm.func.sum(Book.year)))
  end,
})

scenario("upsert", {
  run = function(env)
    local orm, session, Tag = env.orm, env.session, env.Tag
    local known = session:get(Tag, 1)
    local tags = session:upsert(Tag, { { id = 1, name = "one" }, { id = 9, name = "nine" } })
    session:commit()
    fault.mark()
    local insert = orm.insert(Tag):values{ id = 2, name = "two" }
    session:execute(insert:on_conflict_do_update{ index_elements = { "id" }, set = { name = insert.excluded.name } })
    session:execute(orm.insert(Tag):values{ id = 3, name = "x" }:on_conflict_do_nothing())
    session:commit()
    fault.mark()
    return known.name .. join(tags, "name") .. session:get(Tag, 2).name
  end,
})

scenario("query", {
  run = function(env)
    local orm, session, Author, Book = env.orm, env.session, env.Author, env.Book
    local counts = orm.select(Book.author_id, orm.func.count(Book.id):label("n")):group_by(Book.author_id):subquery("counts")
    local first = session:execute(orm.select(Author.name, counts.c.n):join(counts, counts.c.author_id:eq(Author.id))
      :order_by(Author.name)):all()
    local both = orm.union(orm.select(Author.name), orm.select(Book.title))
    local old = session:query(Book):join(Book.author):filter(Author.name:like("b%")):order_by(Book.id):all()
    local case = session:scalars(orm.select(orm.case_():when(Book.year:is_(orm.null), "none"):else_("some"))
      :order_by(Book.id)):all()
    local fresh = ""
    for id = 1, 4 do -- from the second one on the core knows how
      fresh = fresh .. session:scalars(orm.select(Book):where(Book.id:ge(id)):order_by(Book.id):limit(1)):first().title
    end
    local changed = session:query(Book):filter(Book.year:between(2001, 2004)):update{ year = 1 }
    session:commit()
    fault.mark()
    return fresh .. first[1].name .. first[1].n .. #session:execute(both):all() .. join(old, "title") .. case[3] .. changed
  end,
})

scenario("two-sessions", {
  run = function(env)
    local orm, Book = env.orm, env.Book
    local one, two = env.session, orm.Session(env.engine)
    env.other = two
    local mine, theirs = one:get(Book, 1), two:get(Book, 1)
    one:rollback()
    theirs.title = "theirs"
    two:commit()
    fault.mark()
    local title = mine.title
    one:rollback()
    one:begin(function() mine.title = title .. " and mine" end)
    fault.mark()
    two:close()
    env.other = nil
    return title
  end,
})

-- ---- what the harness calls ----

local function merge(env, classes)
  for name, class in pairs(classes) do
    env[name] = class
  end
end

local function prepare(name, settings)
  local one = scenarios[name]
  local env = { scenario = one }
  pcall(require, "dkjson") -- a file that is being read is no place to fork at
  assert(#("x"):rep(5000) == 5000) -- Lua 5.4 makes the metatable of its long buffers once, or by half for ever
  fault.sql(settings)
  fault.sql(TABLES)
  if one.tables then
    fault.sql(one.tables)
  end
  if one.bare then
    return env
  end
  env.orm = open()
  env.orm.on_warning(function() end)
  merge(env, (one.declare or declare)(env.orm))
  env.engine = env.orm.create_engine("sqlite:///fault.db")
  env.session = env.orm.Session(env.engine)
  return env
end

-- Takes back whatever is open, as a program does after an error.
local function give_up(env)
  for _, conn in ipairs(env.held or {}) do
    conn:close()
  end
  if env.conn then
    env.conn:close()
  end
  if env.other then
    env.other:rollback()
  end
  if env.session then
    env.session:rollback()
  end
end

local function reset(env)
  if env.other then
    env.other:close()
  end
  if env.session then
    env.session:close()
  end
  env.held, env.conn, env.other = nil, nil, nil
end

return {
  names = names,
  prepare = prepare,
  run = function(env) return env.scenario.run(env) end,
  give_up = give_up,
  reset = reset,
}
