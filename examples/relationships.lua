-- Every kind of relationship, each declared in three ways: on both sides with back_populates, on one side with backref
-- (which declares the other), and on one side alone. For each, objects are linked, saved by one add, and read back.
--
--     lua5.4 examples/relationships.lua [database file or URL]     by default a database in memory
--
-- The tables team, player, account, profile, person, passport, article, tag and article_tag are dropped and made anew.
local orm = require "orrery"
local Integer, String, Mapped, Optional = orm.Integer, orm.String, orm.Mapped, orm.Optional
local ForeignKey, relationship, backref = orm.ForeignKey, orm.relationship, orm.backref

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end
local engine = orm.create_engine(url)

-- ---- printing ----

local function title(text)
  print("\n" .. text)
end

local function names(collection)
  local list = {}
  for position, object in collection do
    list[position] = object.name
  end
  table.sort(list)
  return "[" .. table.concat(list, ", ") .. "]"
end

-- What an object shows through an attribute: other objects, another object, or nothing.
local function seen(object, attribute)
  local value = object[attribute]
  local shown = value == nil and "nothing" or type(value.name) == "string" and value.name
  return ("%s.%s = %s"):format(object.name, attribute, shown)
end

local function list(object, attribute)
  return ("%s.%s = %s"):format(object.name, attribute, names(object[attribute]))
end

-- Makes the tables, saves what `build` returns, and prints what `read` finds in a session of its own.
local function try(way, Base, build, read)
  Base.metadata:drop_all(engine)
  Base.metadata:create_all(engine)
  orm.with(orm.Session(engine), function(session)
    session:add(build())
    session:commit()
  end)
  orm.with(orm.Session(engine), function(session)
    print(("  %-32s %s"):format(way, read(session)))
  end)
  Base.metadata:drop_all(engine)
end

local function only(session, class)
  return session:scalars(orm.select(class)):one()
end

-- ---- one-to-many and many-to-one ----

-- The foreign key stands with the many: a team has many players, a player has one team.
local function team_and_player(team_side, player_side)
  local Base = orm.declarative_base()
  local Team = Base:model("Team", {
    __tablename__ = "team",
    id      = Mapped(Integer, { primary_key = true }),
    name    = Mapped(String(30)),
    players = team_side,
  })
  local Player = Base:model("Player", {
    __tablename__ = "player",
    id      = Mapped(Integer, { primary_key = true }),
    name    = Mapped(String(30)),
    team_id = Mapped(Optional(Integer), ForeignKey("team.id")),
    team    = player_side,
  })
  return Base, Team, Player
end

title("One-to-many: Team.players")
do
  local Base, Team, Player = team_and_player(
    relationship("Player", { back_populates = "team" }),
    relationship("Team", { back_populates = "players" }))
  try("back_populates on both sides", Base, function()
    return Team{ name = "Tigers", players = { Player{ name = "Ann" }, Player{ name = "Bob" } } }
  end, function(session)
    local team = only(session, Team)
    return list(team, "players") .. ", " .. seen(team.players[1], "team")
  end)
end
do
  local Base, Team, Player = team_and_player(relationship("Player", { backref = "team" }))
  try("backref = \"team\"", Base, function()
    return Team{ name = "Tigers", players = { Player{ name = "Ann" }, Player{ name = "Bob" } } }
  end, function(session)
    local team = only(session, Team)
    return list(team, "players") .. ", " .. seen(team.players[1], "team")
  end)
end
do
  local Base, Team, Player = team_and_player(relationship("Player"))
  try("one side", Base, function()
    return Team{ name = "Tigers", players = { Player{ name = "Ann" }, Player{ name = "Bob" } } }
  end, function(session)
    return list(only(session, Team), "players")
  end)
end

title("Many-to-one: Player.team")
do
  local Base, Team, Player = team_and_player(
    relationship("Player", { back_populates = "team" }),
    relationship("Team", { back_populates = "players" }))
  try("back_populates on both sides", Base, function()
    return Player{ name = "Ann", team = Team{ name = "Tigers" } }
  end, function(session)
    local player = only(session, Player)
    return seen(player, "team") .. ", " .. list(player.team, "players")
  end)
end
do
  local Base, Team, Player = team_and_player(nil, relationship("Team", { backref = "players" }))
  try("backref = \"players\"", Base, function()
    return Player{ name = "Ann", team = Team{ name = "Tigers" } }
  end, function(session)
    local player = only(session, Player)
    return seen(player, "team") .. ", " .. list(player.team, "players")
  end)
end
do
  local Base, Team, Player = team_and_player(nil, relationship("Team"))
  try("one side", Base, function()
    return Player{ name = "Ann", team = Team{ name = "Tigers" } }
  end, function(session)
    return seen(only(session, Player), "team")
  end)
end

-- ---- one-to-one by a unique foreign key ----

-- The foreign key is unique, so no two profiles share an account; uselist = false makes the other side a single object.
local function account_and_profile(account_side, profile_side)
  local Base = orm.declarative_base()
  local Account = Base:model("Account", {
    __tablename__ = "account",
    id      = Mapped(Integer, { primary_key = true }),
    name    = Mapped(String(30)),
    profile = account_side,
  })
  local Profile = Base:model("Profile", {
    __tablename__ = "profile",
    id         = Mapped(Integer, { primary_key = true }),
    name       = Mapped(String(30)),
    account_id = Mapped(Optional(Integer), ForeignKey("account.id"), { unique = true }),
    account    = profile_side,
  })
  return Base, Account, Profile
end

title("One-to-one, unique foreign key: Account.profile")
do
  local Base, Account, Profile = account_and_profile(
    relationship("Profile", { uselist = false, back_populates = "account" }),
    relationship("Account", { back_populates = "profile" }))
  try("back_populates on both sides", Base, function()
    return Account{ name = "ann", profile = Profile{ name = "Ann's page" } }
  end, function(session)
    local account = only(session, Account)
    return seen(account, "profile") .. ", " .. seen(account.profile, "account")
  end)
end
do
  local Base, Account, Profile = account_and_profile(nil,
    relationship("Account", { backref = backref("profile", { uselist = false }) }))
  try("backref(\"profile\", { uselist })", Base, function()
    return Profile{ name = "Ann's page", account = Account{ name = "ann" } }
  end, function(session)
    local account = only(session, Account)
    return seen(account, "profile") .. ", " .. seen(account.profile, "account")
  end)
end
do
  local Base, Account, Profile = account_and_profile(relationship("Profile", { uselist = false }))
  try("one side", Base, function()
    return Account{ name = "ann", profile = Profile{ name = "Ann's page" } }
  end, function(session)
    return seen(only(session, Account), "profile")
  end)
end

-- ---- one-to-one by a shared primary key ----

-- The passport's primary key is the person's: without a person there is no passport. That says one-to-one by itself.
local function person_and_passport(person_side, passport_side)
  local Base = orm.declarative_base()
  local Person = Base:model("Person", {
    __tablename__ = "person",
    id       = Mapped(Integer, { primary_key = true }),
    name     = Mapped(String(30)),
    passport = person_side,
  })
  local Passport = Base:model("Passport", {
    __tablename__ = "passport",
    person_id = Mapped(Integer, ForeignKey("person.id"), { primary_key = true }),
    name      = Mapped(String(30)),
    person    = passport_side,
  })
  return Base, Person, Passport
end

title("One-to-one, shared primary key: Person.passport")
do
  local Base, Person, Passport = person_and_passport(
    relationship("Passport", { back_populates = "person" }),
    relationship("Person", { back_populates = "passport" }))
  try("back_populates on both sides", Base, function()
    return Person{ name = "Ann", passport = Passport{ name = "C01X00T47" } }
  end, function(session)
    local person = only(session, Person)
    assert(person.passport.person_id == person.id)
    return seen(person, "passport") .. ", " .. seen(person.passport, "person")
  end)
end
do
  local Base, Person, Passport = person_and_passport(relationship("Passport", { backref = "person" }))
  try("backref = \"person\"", Base, function()
    return Person{ name = "Ann", passport = Passport{ name = "C01X00T47" } }
  end, function(session)
    local person = only(session, Person)
    return seen(person, "passport") .. ", " .. seen(person.passport, "person")
  end)
end
do
  local Base, Person, Passport = person_and_passport(nil, relationship("Person"))
  try("one side", Base, function()
    return Passport{ name = "C01X00T47", person = Person{ name = "Ann" } }
  end, function(session)
    return seen(only(session, Passport), "person")
  end)
end

-- ---- many-to-many ----

-- A link table between the two holds a row for each pair.
local function article_and_tag(article_options, tag_options)
  local Base = orm.declarative_base()
  orm.Table("article_tag", Base.metadata,
    orm.Column("article_id", ForeignKey("article.id"), { primary_key = true }),
    orm.Column("tag_id", ForeignKey("tag.id"), { primary_key = true }))
  local Article = Base:model("Article", {
    __tablename__ = "article",
    id   = Mapped(Integer, { primary_key = true }),
    name = Mapped(String(30)),
    tags = article_options and relationship("Tag", article_options),
  })
  local Tag = Base:model("Tag", {
    __tablename__ = "tag",
    id       = Mapped(Integer, { primary_key = true }),
    name     = Mapped(String(30)),
    articles = tag_options and relationship("Article", tag_options),
  })
  return Base, Article, Tag
end

title("Many-to-many: Article.tags")
do
  local Base, Article, Tag = article_and_tag(
    { secondary = "article_tag", back_populates = "articles" },
    { secondary = "article_tag", back_populates = "tags" })
  try("back_populates on both sides", Base, function()
    local article = Article{ name = "On Lua", tags = { Tag{ name = "lua" }, Tag{ name = "moon" } } }
    article.tags[2].articles:append(Article{ name = "On tides" })
    return article
  end, function(session)
    local moon = session:scalars(orm.select(Tag):where(Tag.name:eq("moon"))):one()
    local article = session:scalars(orm.select(Article):where(Article.name:eq("On Lua"))):one()
    return list(article, "tags") .. ", " .. list(moon, "articles")
  end)
end
do
  local Base, Article, Tag = article_and_tag({ secondary = "article_tag", backref = "articles" })
  try("backref = \"articles\"", Base, function()
    local article = Article{ name = "On Lua", tags = { Tag{ name = "lua" }, Tag{ name = "moon" } } }
    article.tags[2].articles:append(Article{ name = "On tides" })
    return article
  end, function(session)
    local moon = session:scalars(orm.select(Tag):where(Tag.name:eq("moon"))):one()
    local article = session:scalars(orm.select(Article):where(Article.name:eq("On Lua"))):one()
    return list(article, "tags") .. ", " .. list(moon, "articles")
  end)
end
do
  local Base, Article, Tag = article_and_tag({ secondary = "article_tag" })
  try("one side", Base, function()
    return Article{ name = "On Lua", tags = { Tag{ name = "lua" }, Tag{ name = "moon" } } }
  end, function(session)
    return list(only(session, Article), "tags")
  end)
end
engine:dispose()
