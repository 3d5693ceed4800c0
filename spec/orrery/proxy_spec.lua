-- Association proxies: over lists, sets and collections by key, over association objects, over other proxies; and in
-- queries. Relationships compared with objects in queries.
local orm = require "orrery"
local database = require "spec.support.database"
local library = require "spec.support.library"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, ForeignKey, relationship = orm.Integer, orm.String, orm.ForeignKey, orm.relationship
local Mapped, Optional, select = orm.Mapped, orm.Optional, orm.select

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function open(base)
  local engine = database.create(base)
  return orm.Session(engine), engine
end

-- User -> UserKeyword (with a note of its own) -> Keyword
local function keywords(form)
  local base = orm.declarative_base()
  local k = { base = base }
  k.User = base:model("User", { __tablename__ = "user", id = id(), name = Mapped(Optional(String)),
    user_keywords = relationship("UserKeyword", { back_populates = "user", cascade = "all, delete-orphan",
      collection_class = form }),
    keywords = orm.association_proxy("user_keywords", "keyword", { creator = function(keyword, other)
      return k.UserKeyword { keyword = other or keyword, special_key = other and keyword }
    end }),
    words = orm.association_proxy("user_keywords", "word"),
  })
  k.UserKeyword = base:model("UserKeyword", { __tablename__ = "user_keyword",
    user_id = Mapped(Integer, ForeignKey("user.id"), { primary_key = true }),
    keyword_id = Mapped(Integer, ForeignKey("keyword.id"), { primary_key = true }),
    special_key = Mapped(Optional(String)),
    user = relationship("User", { back_populates = "user_keywords" }),
    keyword = relationship("Keyword"),
    word = orm.association_proxy("keyword", "word", { creator = function(word) return k.Keyword { word = word } end }),
  })
  k.Keyword = base:model("Keyword", { __tablename__ = "keyword", id = id(), word = Mapped(String) })
  k.session, k.engine = open(base)
  return k
end

describe("a proxy over association objects", function()
  it("shows the objects behind them, and makes them", function()
    local k = keywords()
    local user = k.User { name = "ann", keywords = { k.Keyword { word = "a" } } }
    local b = k.Keyword { word = "b" }
    user.keywords:append(b)
    assert.equal(2, #user.keywords)
    assert.equal("a", user.keywords[1].word)
    assert.equal(user, user.user_keywords[2].user)
    assert.is_true(user.keywords:contains(b))
    k.session:add(user)
    k.session:commit()
    assert.same({ "1|1", "1|2" }, rows(k.engine, "SELECT user_id, keyword_id FROM user_keyword ORDER BY keyword_id"))
    user.keywords:remove(b)
    k.session:commit()
    assert.same({ "1|1" }, rows(k.engine, "SELECT user_id, keyword_id FROM user_keyword"))
    assert.same({ "2" }, rows(k.engine, "SELECT count(*) FROM keyword"))
  end)

  it("may show what another proxy shows", function()
    local k = keywords()
    local user = k.User { words = { "a", "b" } }
    assert.equal("b", user.user_keywords[2].keyword.word)
    user.words[1] = "c"
    k.session:add(user)
    k.session:commit()
    assert.same({ "c", "b" }, user.words:to_table())
    assert.same({ "c", "b" }, rows(k.engine, "SELECT word FROM keyword ORDER BY id"))
  end)

  it("over a collection by key is read and written by key", function()
    local k = keywords(orm.attribute_keyed_dict("special_key"))
    local user = k.User { keywords = { sk1 = k.Keyword { word = "a" } } }
    user.keywords.sk2 = k.Keyword { word = "b" }
    assert.equal("b", user.keywords.sk2.word)
    assert.is_nil(user.keywords.sk3)
    user.words.sk2 = "c"
    assert.same({ sk1 = "a", sk2 = "c" }, user.words:to_table())
    assert.same({ "sk1", "sk2" }, user.words:keys())
    local seen = {}
    for key, word in user.words do
      seen[#seen + 1] = key .. "=" .. word
    end
    assert.same({ "sk1=a", "sk2=c" }, seen)
    k.session:add(user)
    k.session:commit()
    assert.same({ "sk1|a", "sk2|c" }, rows(k.engine,
      "SELECT special_key, word FROM user_keyword JOIN keyword ON keyword_id = keyword.id ORDER BY 1"))
    user.words.sk1 = nil
    assert.equal("c", user.words:pop("sk2"))
    assert.equal(0, #user.words)
  end)
end)

describe("a proxy over a collection by key", function()
  local function notes()
    local base = orm.declarative_base()
    local Item = base:model("Item", { __tablename__ = "item", id = id(),
      notes = relationship("Note", { collection_class = orm.attribute_keyed_dict("topic"), cascade = "all, delete-orphan" }),
      texts = orm.association_proxy("notes", "text") })
    base:model("Note", { __tablename__ = "note", id = id(), topic = Mapped(String), text = Mapped(String),
      item_id = Mapped(Integer, ForeignKey("item.id")) })
    return Item, open(base)
  end

  it("makes objects of key and value without a creator", function()
    local Item, session, engine = notes()
    local item = Item { texts = { color = "red", size = "9" } }
    item.texts.shape = "round"
    item.texts.color = "blue"
    session:add(item)
    session:commit()
    assert.same({ "color|blue", "shape|round", "size|9" }, rows(engine, "SELECT topic, text FROM note ORDER BY topic"))
  end)

  it("is replaced as a whole, keeping the objects of keys that stay", function()
    local Item, session, engine = notes()
    local item = Item { texts = { a = "1", b = "2" } }
    session:add(item)
    session:commit()
    item.texts = { b = "3", c = "4" }
    session:commit()
    assert.same({ "2|b|3", "3|c|4" }, rows(engine, "SELECT id, topic, text FROM note ORDER BY id"))
    assert.same({ "4", "3" }, (function()
      local values = item.texts:values()
      table.sort(values, function(a, b) return a > b end)
      return values
    end)())
  end)

  it("keeps names of methods for the methods", function()
    local Item = notes()
    local item = Item {}
    raises("ArgumentError", "use :set(key, value)", function() item.texts.get = "x" end)
    item.texts:set("get", "x")
    assert.equal("x", item.texts:get("get"))
  end)
end)

describe("a proxy over a list or set", function()
  local function tags(form)
    local base = orm.declarative_base()
    local Post = base:model("Post", { __tablename__ = "post", id = id(),
      tags = relationship("Tag", { collection_class = form, cascade = "all, delete-orphan" }),
      names = orm.association_proxy("tags", "name") })
    base:model("Tag", { __tablename__ = "tag", id = id(), name = Mapped(String),
      post_id = Mapped(Optional(Integer), ForeignKey("post.id")) })
    return Post, open(base)
  end

  it("has the list's own methods", function()
    local Post = tags()
    local post = Post { names = { "b" } }
    post.names:insert(1, "a")
    post.names[3] = "c"
    post.names:extend { "d", "e" }
    assert.equal("e", post.names:pop())
    assert.equal("a", post.names:pop(1))
    assert.equal(2, post.names:index("c"))
    assert.is_nil(post.names:index("x"))
    post.names[2] = "z"
    assert.same({ "b", "z", "d" }, post.names:to_table())
    assert.equal(3, #post.names)
    assert.equal("[b, z, d]", tostring(post.names))
    local seen = {}
    post.names:each(function(name, position) seen[position] = name end)
    assert.same({ "b", "z", "d" }, seen)
    post.names:clear()
    assert.equal(0, post.names:count())
    raises("ArgumentError", { "name of Post.tags", "no object has 'name' = 'x'" }, function() post.names:remove("x") end)
    raises("ArgumentError", "takes an array of values", function() post.names = "abc" end)
    raises("ArgumentError", "takes an array of values", function() post.names:extend("abc") end)
  end)

  it("keeps the places of values that are NULL", function()
    local lib = library.open()
    lib.Author.titles = orm.association_proxy("books", "title", { creator = function(title)
      return lib.Book { title = title }
    end })
    local author, other = lib.session:get(lib.Author, 1), lib.Author {}
    local first = author.books[1]
    first.title = nil
    assert.same({ orm.null, "b2" }, author.titles:to_table())
    assert.equal("[nil, b2]", tostring(author.titles))
    assert.is_true(author.titles:contains(orm.null))
    other.titles = author.titles
    assert.equal(2, #other.books)
    assert.same({ orm.null, "b2" }, other.titles:to_table())
    author.titles = { "b2", orm.null }
    assert.equal(first, author.books[2])
  end)

  it("has each value once over a set", function()
    local Post, session, engine = tags(orm.set)
    local post = Post { names = { "a", "b", "a" } }
    post.names:add("b")
    post.names:append("c")
    assert.same({ "a", "b", "c" }, post.names:to_table())
    assert.is_true(post.names:discard("a"))
    assert.is_false(post.names:discard("a"))
    raises("ArgumentError", "is a set", function() post.names[1] = "x" end)
    post.names = { "c", "d" }
    session:add(post)
    session:commit()
    assert.same({ "c", "d" }, rows(engine, "SELECT name FROM tag ORDER BY name"))
  end)

  it("stays right when its object is expired or its list replaced", function()
    local Post, session = tags()
    local post = Post { names = { "a" } }
    local names = post.names
    session:add(post)
    session:commit()
    post.tags = {}
    names:append("b")
    session:commit()
    assert.same({ "b" }, names:to_table())
  end)

  it("takes what another proxy shows", function()
    local Post = tags()
    local one, two = Post { names = { "a", "b" } }, Post { names = { "c" } }
    two.names:extend(one.names)
    one.names = two.names
    assert.same({ "c", "a", "b" }, one.names:to_table())
    assert.equal(3, #two.tags)
  end)
end)

it("a proxy over a collection by key works for the objects of subclasses", function()
  local base = orm.declarative_base()
  local Thing = base:model("Thing", { __tablename__ = "thing", id = id(), kind = Mapped(String),
    __mapper_args__ = { polymorphic_on = "kind", polymorphic_identity = "thing" },
    tags = relationship("Tag", { collection_class = orm.attribute_keyed_dict("name"), back_populates = "thing" }),
    words = orm.association_proxy("tags", "text") })
  local Special = base:model("Special", { __inherits__ = Thing, extra = Mapped(Optional(String)),
    __mapper_args__ = { polymorphic_identity = "special" } })
  base:model("Tag", { __tablename__ = "tag", id = id(), name = Mapped(String), text = Mapped(String),
    thing_id = Mapped(Integer, ForeignKey("thing.id")), thing = relationship("Thing", { back_populates = "tags" }) })
  local session = open(base)
  session:add(Special { extra = "x", words = { k = "v" } })
  session:commit()
  for _, name in ipairs { "lazyload", "selectinload", "joinedload" } do
    session:expunge_all()
    local found = session:scalars(select(Thing):where(Special.words:contains("v")):options(orm[name](Thing.tags))):unique():one()
    assert.same({ "v", found }, { found.words.k, found.tags.k.thing })
  end
end)

describe("a proxy in a query", function()
  local function stored()
    local k = keywords()
    k.session:add_all { k.User { name = "ann", words = { "red", "blue" } }, k.User { name = "bea", words = { "green" } },
      k.User { name = "cleo" } }
    k.session:commit()
    return k, function(condition)
      return k.session:scalars(select(k.User.name):where(condition):order_by(k.User.name)):all()
    end
  end

  it("asks for values by contains, eq, any and the attribute's comparisons", function()
    local k, names = stored()
    assert.same({ "ann" }, names(k.User.words:contains("red")))
    assert.same({ "bea" }, names(k.User.words:eq("green")))
    assert.same({ "ann", "bea" }, names(k.User.words:any()))
    assert.same({ "ann" }, names(k.User.words:any(k.Keyword.word:like("b%"))))
    assert.same({ "cleo" }, names(orm.not_(k.User.words:any())))
  end)

  it("asks for objects by contains and any", function()
    local k, names = stored()
    local green = k.session:scalars(select(k.Keyword):where(k.Keyword.word:eq("green"))):one()
    assert.same({ "bea" }, names(k.User.keywords:contains(green)))
    assert.same({ "ann" }, names(k.User.keywords:any(k.Keyword.word:eq("blue"))))
  end)

  it("compares a single value, with NULL for none at all", function()
    local base = orm.declarative_base()
    local Author = base:model("Author", { __tablename__ = "author", id = id(), name = Mapped(Optional(String)) })
    local Book = base:model("Book", { __tablename__ = "book", id = id(),
      author_id = Mapped(Optional(Integer), ForeignKey("author.id")), author = relationship("Author"),
      by = orm.association_proxy("author", "name") })
    local session = open(base)
    session:add_all { Book { author = Author { name = "Le Guin" } }, Book { author = Author {} }, Book {} }
    session:commit()
    local function ids(condition)
      return session:scalars(select(Book.id):where(condition):order_by(Book.id)):all()
    end
    assert.same({ 1 }, ids(Book.by:eq("Le Guin")))
    assert.same({ 1 }, ids(Book.by:contains("Gu")))
    assert.same({ 1 }, ids(Book.by:in_ { "Le Guin", "x" }))
    assert.same({ 2, 3 }, ids(Book.by:eq(orm.null)))
    assert.same({ 1, 2 }, ids(Book.by:has()))
    local other = orm.aliased(Book)
    assert.same({ 1 }, session:scalars(select(other.id):where(other.by:eq("Le Guin"))):all())
    raises("InvalidRequestError", { "Book.by:any()", "use has()" }, function() Book.by:any() end)
    raises("ArgumentError", "Book.by has no 'foo'", function() return Book.by.foo end)
  end)
end)

describe("a relationship in a query", function()
  local function shelf()
    local base = orm.declarative_base()
    local l = {}
    l.Author = base:model("Author", { __tablename__ = "author", id = id(),
      books = relationship("Book", { back_populates = "author" }) })
    l.Book = base:model("Book", { __tablename__ = "book", id = id(),
      author_id = Mapped(Optional(Integer), ForeignKey("author.id")),
      author = relationship("Author", { back_populates = "books" }),
      cover = relationship("Cover", { uselist = false }) })
    l.Cover = base:model("Cover", { __tablename__ = "cover", id = id(),
      book_id = Mapped(Optional(Integer), ForeignKey("book.id"), { unique = true }) })
    l.session, l.engine = open(base)
    l.session:add_all { l.Author { books = { l.Book {}, l.Book { cover = l.Cover {} } } }, l.Author {}, l.Book {} }
    l.session:commit()
    function l.ids(class, condition)
      return l.session:scalars(select(class.id):where(condition):order_by(class.id)):all()
    end
    return l
  end

  it("is compared with an object by the foreign key", function()
    local l = shelf()
    local ann = l.session:get(l.Author, 1)
    assert.same({ 1, 2 }, l.ids(l.Book, l.Book.author:eq(ann)))
    assert.same({ 3 }, l.ids(l.Book, l.Book.author:ne(ann)))
    assert.same({ 3 }, l.ids(l.Book, l.Book.author:is_(orm.null)))
    assert.same({ 1, 2 }, l.ids(l.Book, l.Book.author:is_not(orm.null)))
    assert.falsy(tostring(select(l.Book):where(l.Book.author:eq(ann))):find("EXISTS", 1, true))
  end)

  it("is compared with an object where the key is on the other side", function()
    local l = shelf()
    local cover = l.session:get(l.Cover, 1)
    assert.same({ 2 }, l.ids(l.Book, l.Book.cover:eq(cover)))
    assert.same({ 1, 3 }, l.ids(l.Book, l.Book.cover:eq(orm.null)))
    assert.same({ 1, 3 }, l.ids(l.Book, l.Book.cover:ne(cover)))
  end)

  it("is asked whether a collection has an object", function()
    local l = shelf()
    assert.same({ 1 }, l.ids(l.Author, l.Author.books:contains(l.session:get(l.Book, 2))))
    assert.same({}, l.ids(l.Author, l.Author.books:contains(l.session:get(l.Book, 3))))
  end)

  it("picks what belongs to an object, by with_parent", function()
    local l = shelf()
    local ann = l.session:get(l.Author, 1)
    assert.same({ 1, 2 }, l.ids(l.Book, orm.with_parent(ann, l.Author.books)))
    assert.same({ 1 }, l.ids(l.Author, orm.with_parent(l.session:get(l.Book, 2), l.Book.author)))
    assert.same({}, l.ids(l.Author, orm.with_parent(l.session:get(l.Book, 3), l.Book.author)))
    assert.same({}, l.ids(l.Book, orm.with_parent(l.Author {}, l.Author.books)))
    raises("ArgumentError", { "Book.author is no relationship of 'Author'" }, orm.with_parent, ann, l.Book.author)
    raises("ArgumentError", { "with_parent(): an object and a relationship" }, orm.with_parent, l.Author, l.Author.books)
  end)

  it("says what it takes", function()
    local l = shelf()
    raises("ArgumentError", { "Book.author:eq() takes an object of class 'Author'", "'ann'" }, function()
      l.Book.author:eq("ann")
    end)
    raises("ArgumentError", { "got nil" }, function() l.Book.author:eq(nil) end)
    raises("ArgumentError", { "use has()" }, function() l.Book.author:eq(l.Author.id:eq(1)) end)
    raises("InvalidRequestError", { "Author.books:eq()", "contains(object)" }, function() l.Author.books:eq(l.Book {}) end)
    raises("InvalidRequestError", { "Book.author:contains()", "eq(object)" }, function() l.Book.author:contains(l.Author {}) end)
    raises("InvalidRequestError", { "has no 'id' yet; flush it first" }, function() l.Book.author:eq(l.Author {}) end)
    raises("InvalidRequestError", { "in_()" }, function() l.Book.author:in_ {} end)
  end)
end)
