-- A blog: users write posts, posts get comments, and comments have their authors. Objects are built as they hang
-- together, saved at once, and asked for in the legacy style, session:query(...), with joins.
--
--     lua5.4 examples/blog.lua [database file or URL]     by default a database in memory
--
-- The tables users, posts and comments are dropped and made anew.
local orm = require "orrery"
local Integer, String, Text, Date, DateTime = orm.Integer, orm.String, orm.Text, orm.Date, orm.DateTime
local Mapped, ForeignKey, relationship = orm.Mapped, orm.ForeignKey, orm.relationship

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local Base = orm.declarative_base()

local User = Base:model("User", {
  __tablename__ = "users",
  id       = Mapped(Integer, { primary_key = true }),
  name     = Mapped(String(40), { unique = true }),
  posts    = relationship("Post", { back_populates = "author", order_by = "written" }),
  comments = relationship("Comment", { back_populates = "author", order_by = "posted" }),
})

local Post = Base:model("Post", {
  __tablename__ = "posts",
  id       = Mapped(Integer, { primary_key = true }),
  title    = Mapped(String(100)),
  body     = Mapped(Text),
  written  = Mapped(Date),
  user_id  = Mapped(orm.Optional(Integer), ForeignKey("users.id")),
  author   = relationship("User", { back_populates = "posts" }),
  comments = relationship("Comment", { back_populates = "post", cascade = "all, delete-orphan", order_by = "posted" }),
})

local Comment = Base:model("Comment", {
  __tablename__ = "comments",
  id      = Mapped(Integer, { primary_key = true }),
  body    = Mapped(Text),
  posted  = Mapped(DateTime),
  post_id = Mapped(Integer, ForeignKey("posts.id")),
  user_id = Mapped(Integer, ForeignKey("users.id")),
  post    = relationship("Post", { back_populates = "comments" }),
  author  = relationship("User", { back_populates = "comments" }),
})

function Comment:__tostring()
  return ("%s: %s"):format(self.author.name, self.body)
end

local engine = orm.create_engine(url)
Base.metadata:drop_all(engine)
Base.metadata:create_all(engine)

-- ---- writing ----

local session = orm.Session(engine)
local prince, wendy = User{ name = "Prince" }, User{ name = "Wendy" }
local rain = Post{ title = "On rain", body = "It was purple.", written = "2026-03-01", author = prince }
local doves = Post{ title = "On doves", body = "They cry.", written = "2026-03-04", author = prince }
local guitars = Post{ title = "On guitars", body = "Two are better.", written = "2026-03-02", author = wendy }
local draft = Post{ title = "A draft", body = "Nobody signed this.", written = "2026-03-03" }

rain.comments = {
  Comment{ body = "I was there.", posted = "2026-03-01 20:15:00", author = wendy },
  Comment{ body = "So was I.", posted = "2026-03-01 20:16:00", author = prince },
}
doves.comments:append(Comment{ body = "Do they?", posted = "2026-03-05 09:00:00", author = wendy })
session:add_all{ prince, wendy, draft }
session:commit()
print(("saved: %d users, %d posts, %d comments"):format(session:query(User):count(), session:query(Post):count(),
  session:query(Comment):count()))

-- ---- reading along the relationships ----

for _, post in prince.posts do
  print(("%q by %s"):format(post.title, post.author.name))
  for _, comment in post.comments do
    print("    " .. tostring(comment))
  end
end
print("Wendy commented on: " .. wendy.comments[1].post.title .. ", " .. wendy.comments[2].post.title)

-- ---- asking ----

local function titles(posts)
  local list = {}
  for position, post in ipairs(posts) do
    list[position] = post.title
  end
  return table.concat(list, ", ")
end

print("posts by Prince: "
  .. titles(session:query(Post):join(User):filter(User.name:eq("Prince")):order_by(Post.written):all()))
print("posts that Wendy commented on: "
  .. titles(session:query(Post):join(Post.comments):filter_by{ user_id = wendy.id }:order_by(Post.written):all()))

print("all posts, signed or not:")
for _, row in ipairs(session:query(Post.title, User.name):outerjoin(Post.author):order_by(Post.written):all()) do
  print(("  %-11s %s"):format(row.title, row.name or "nobody"))
end

print("comments by post:")
local counted = session:query(Post.title, orm.func.count(Comment.id):label("n"))
  :outerjoin(Post.comments):group_by(Post.id):order_by(Post.written)
for _, row in ipairs(counted:all()) do
  print(("  %-11s %d"):format(row.title, row.n))
end

local first = session:query(User):filter(orm.or_(User.name:like("P%"), User.name:like("Q%"))):first()
print("the first user with P or Q: " .. first.name)

-- ---- deleting ----

-- Comments belong to their post and go with it; posts outlive their author.
session:delete(rain)
session:delete(draft)
guitars.author = nil
session:commit()
print(("left: %d posts, %d comment, and %q by nobody"):format(session:query(Post):count(),
  session:query(Comment):count(), guitars.title))
session:close()
engine:dispose()
