-- The benchmark workloads, written as a user would write them: default options, public calls only.
-- usage: LUA workloads.lua DATABASE WORKLOAD; prints one JSON line { w, wall, cpu, check, ... }.
-- W1 makes the database, the others read the one that W1 made: 10,000 authors, 100,000 books, 200 tags.
local path, workload = arg[1], arg[2]
local orm = require "orrery"
local Integer, Text, Float = orm.Integer, orm.Text, orm.Float
local Column, ForeignKey, relationship, select = orm.Column, orm.ForeignKey, orm.relationship, orm.select

local AUTHORS, BOOKS, TAGS = 10000, 100000, 200

if workload == "W1" then
  os.remove(path)
end

local Base = orm.declarative_base()

local book_tag = orm.Table("book_tag", Base.metadata,
  Column("book_id", ForeignKey("book.id"), { primary_key = true }),
  Column("tag_id", ForeignKey("tag.id"), { primary_key = true }))

local Author = Base:model("Author", {
  __tablename__ = "author",
  id = Column(Integer, { primary_key = true }),
  name = Column(Text),
  email = Column(Text),
  born = Column(Integer),
  rating = Column(Float),
  books = relationship("Book", { back_populates = "author", cascade = "all, delete-orphan" }),
})

local Book = Base:model("Book", {
  __tablename__ = "book",
  id = Column(Integer, { primary_key = true }),
  author_id = Column(ForeignKey("author.id"), { index = true }),
  title = Column(Text),
  year = Column(Integer),
  price = Column(Float),
  author = relationship("Author", { back_populates = "books" }),
  tags = relationship("Tag", { secondary = book_tag }),
})

local Tag = Base:model("Tag", {
  __tablename__ = "tag",
  id = Column(Integer, { primary_key = true }),
  name = Column(Text),
})

local engine = orm.create_engine("sqlite:////" .. path:gsub("^/", ""))
if workload == "W1" then
  Base.metadata:create_all(engine)
end
orm.configure_mappers()
local session = orm.Session(engine)
session:connection():ensure_begun(workload == "W1" or workload == "W7" or workload:sub(1, 2) == "W8")

-- ---- measuring ----

local function resident_bytes()
  local file = assert(io.open("/proc/self/statm"))
  local pages = tonumber(file:read("*a"):match("^%d+ (%d+)"))
  file:close()
  return pages * 4096
end

local function peak_bytes()
  local file = assert(io.open("/proc/self/status"))
  local kilobytes = tonumber(file:read("*a"):match("VmHWM:%s*(%d+)"))
  file:close()
  return kilobytes * 1024
end

-- os.clock is CPU time; Lua has no finer wall clock than os.time, so `wall` repeats it.
local started
local function start()
  collectgarbage()
  started = os.clock()
end

local function stop(check, extra)
  local cpu = os.clock() - started
  local fields = { ('"w":"%s","wall":%.6f,"cpu":%.6f,"check":%.2f'):format(workload, cpu, cpu, check) }
  for _, name in ipairs({ "rss_before", "rss_after", "maxrss" }) do
    if extra and extra[name] then
      fields[#fields + 1] = ('"%s":%d'):format(name, extra[name])
    end
  end
  io.write("{", table.concat(fields, ","), "}\n")
  io.stdout:flush()
  os.exit(0)
end

-- ---- workloads ----

local W = {}

function W.W1()
  start()
  local tags = {}
  for i = 1, TAGS do
    tags[i] = Tag{ name = "tag" .. i }
  end
  session:add_all(tags)
  for i = 1, AUTHORS do
    local author = Author{ name = "Author " .. i, email = "author" .. i .. "@example.com", born = 1900 + i % 100,
      rating = (i % 50) / 10 }
    session:add(author)
    for j = (i - 1) * 10 + 1, i * 10 do
      local book = Book{ title = "Book " .. j, year = 1950 + j % 70, price = (j % 1000) / 10 + .5 }
      book.tags:append(tags[(j * 7) % TAGS + 1])
      book.tags:append(tags[(j * 7 + 3) % TAGS + 1])
      author.books:append(book)
    end
  end
  session:commit()
  stop(BOOKS * (BOOKS + 1) / 2)
end

function W.W2()
  start()
  local total, read = 0, 0
  for _, book in ipairs(session:scalars(select(Book)):all()) do
    local title, year = book.title, book.year
    total, read = total + book.price, read + #title + year
  end
  stop(total)
end

function W.W3()
  start()
  local total = 0
  for _, author in ipairs(session:scalars(select(Author):options(orm.selectinload(Author.books))):all()) do
    for _, book in author.books do
      total = total + book.price
    end
  end
  stop(total)
end

function W.W4()
  start()
  local total = 0
  for _, author in ipairs(session:scalars(select(Author):options(orm.joinedload(Author.books))):unique():all()) do
    for _, book in author.books do
      total = total + book.price
    end
  end
  stop(total)
end

function W.W5()
  start()
  local total = 0
  for _, author in ipairs(session:scalars(select(Author):where(Author.id:le(2000))):all()) do
    for _, book in author.books do
      total = total + book.price
    end
  end
  stop(total)
end

-- The same with batch loading: the first collection that is read brings those of the other authors along.
function W.W5b()
  start()
  local total = 0
  for _, author in ipairs(session:scalars(select(Author):where(Author.id:le(2000)):options(orm.batchload(Author.books))):all()) do
    for _, book in author.books do
      total = total + book.price
    end
  end
  stop(total)
end

function W.W6()
  local hold = session:scalars(select(Book)):all()
  start()
  local total = 0
  for j = 1, BOOKS do
    total = total + session:get(Book, j).price
  end
  stop(total, { hold = hold })
end

function W.W7()
  local hold = session:scalars(select(Book)):all()
  start()
  for _, book in ipairs(hold) do
    book.price = book.price + 1
  end
  session:commit()
  stop(BOOKS)
end

function W.W8()
  local authors = session:scalars(select(Author):options(orm.selectinload(Author.books):selectinload(Book.tags))):all()
  start()
  for _, author in ipairs(authors) do
    session:delete(author)
  end
  session:commit()
  stop(AUTHORS + BOOKS + 2 * BOOKS)
end

function W.W8n()
  start()
  for _, author in ipairs(session:scalars(select(Author):where(Author.id:le(1000))):all()) do
    session:delete(author)
  end
  session:commit()
  stop(31000)
end

function W.W9()
  start()
  local total = 0
  for j = 1, 20000 do
    local statement = select(Book):where(Book.id:ge(j * 4), Book.year:gt(1949)):order_by(Book.id):limit(1):offset(0)
    total = total + session:scalars(statement):first().price
  end
  stop(total)
end

W.W9p = W.W9

function W.W10()
  start()
  local total = 0
  for _, book in ipairs(session:scalars(select(Book):where(Book.id:le(20000)):options(orm.selectinload(Book.tags))):all()) do
    for _, tag in book.tags do
      total = total + tag.id
    end
  end
  stop(total)
end

function W.W11()
  session:scalars(select(Book):limit(1)):all()
  session:expunge_all()
  collectgarbage()
  local before = resident_bytes()
  start()
  local total, read = 0, 0
  local books = session:scalars(select(Book)):all()
  for _, book in ipairs(books) do
    local title, year = book.title, book.year
    total, read = total + book.price, read + #title + year
  end
  stop(total, { rss_before = before, rss_after = resident_bytes(), maxrss = peak_bytes() })
end

assert(W[workload], "unknown workload " .. tostring(workload))()
