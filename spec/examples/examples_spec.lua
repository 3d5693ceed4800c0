-- Every script of examples/ runs, in memory and twice on one file, and prints what it should.
local support = require "spec.examples.support"
local check_lines = support.check_lines

-- Lines that the output must have, in this order, with others between them.
local STORIES = {
  portfolio = {
    "  | CREATE TABLE portfolio (",
    "Objects, linked in memory; nothing is sent to the database yet:",
    "  My Portfolio (My Description)",
    "    1. bitcoin, 1.00 USD",
    "    2. ethereum, 10.00 GBP",
    "    3. dogecoin, 100.00 EUR",
    "Adding the portfolio, and nothing else, saves all four:",
    "  | COMMIT",
    "Another session reads them back:",
    "  My Portfolio (My Description)",
    "    1. bitcoin, 1.00 USD",
    "    2. ethereum, 10.00 GBP",
    "    3. dogecoin, 100.00 EUR",
    "  dogecoin belongs to My Portfolio; at a rate of 0.5 it is worth 50.00",
    "  ethereum belongs to My Portfolio; at a rate of 0.5 it is worth 5.00",
  },
  users = {
    "tables: user_account, address",
    "before the flush: 5 new objects, sandy.id is nil",
    "after the commit: sandy.id is 1, and so is her address's user_id: 1",
    "Hello, Sandy Cheeks!",
    "HELLO, SQUIDWARD!",
    "User(sandy, 2 addresses)\t<sandy@example.org>\t<cheeks@example.org>",
    "patrick by key and by name is one object:\ttrue",
    "has a full name:\tSandy Cheeks",
    "has a full name:\tPatrick Star",
    "can be written to:\tsandy\tsandy@example.org",
    "can be written to:\tsandy\tcheeks@example.org",
    "to be written: 3 changed, 1 new",
    "User(patrick, 1 addresses)\tUser(sandy, 1 addresses)",
    "after the rollback he is still patrick",
    "left: 2 users, 1 address",
  },
  relationships = {
    "One-to-many: Team.players",
    "  back_populates on both sides     Tigers.players = [Ann, Bob], Ann.team = Tigers",
    "  backref = \"team\"                 Tigers.players = [Ann, Bob], Ann.team = Tigers",
    "  one side                         Tigers.players = [Ann, Bob]",
    "Many-to-one: Player.team",
    "  back_populates on both sides     Ann.team = Tigers, Tigers.players = [Ann]",
    "  backref = \"players\"              Ann.team = Tigers, Tigers.players = [Ann]",
    "  one side                         Ann.team = Tigers",
    "One-to-one, unique foreign key: Account.profile",
    "  back_populates on both sides     ann.profile = Ann's page, Ann's page.account = ann",
    "  backref(\"profile\", { uselist })  ann.profile = Ann's page, Ann's page.account = ann",
    "  one side                         ann.profile = Ann's page",
    "One-to-one, shared primary key: Person.passport",
    "  back_populates on both sides     Ann.passport = C01X00T47, C01X00T47.person = Ann",
    "  backref = \"person\"               Ann.passport = C01X00T47, C01X00T47.person = Ann",
    "  one side                         C01X00T47.person = Ann",
    "Many-to-many: Article.tags",
    "  back_populates on both sides     On Lua.tags = [lua, moon], moon.articles = [On Lua, On tides]",
    "  backref = \"articles\"             On Lua.tags = [lua, moon], moon.articles = [On Lua, On tides]",
    "  one side                         On Lua.tags = [lua, moon]",
  },
  blog = {
    "saved: 2 users, 4 posts, 3 comments",
    "\"On rain\" by Prince",
    "    Wendy: I was there.",
    "    Prince: So was I.",
    "\"On doves\" by Prince",
    "    Wendy: Do they?",
    "Wendy commented on: On rain, On doves",
    "posts by Prince: On rain, On doves",
    "posts that Wendy commented on: On rain, On doves",
    "all posts, signed or not:",
    "  On rain     Prince",
    "  On guitars  Wendy",
    "  A draft     nobody",
    "  On doves    Prince",
    "comments by post:",
    "  On rain     2",
    "  On guitars  0",
    "  A draft     0",
    "  On doves    1",
    "the first user with P or Q: Prince",
    "left: 2 posts, 1 comment, and \"On guitars\" by nobody",
  },
  school = {
    "At the beginning of term:",
    "  Algebra    Ann, Eve",
    "  Botany     Ann",
    "  Chemistry  Ann, Bob",
    "  links      5",
    "Ann takes Algebra, Botany, Chemistry.",
    "After a week:",
    "  Algebra    Ann, Bob",
    "  Botany     nobody",
    "  Chemistry  Ann, Bob, Eve",
    "  links      5",
    "Chemistry has 3 students.",
    "Algebra has 2 students.",
    "Bob takes Algebra.",
    "Bob takes Chemistry.",
    "Chemistry was cancelled:",
    "  Algebra    Ann, Bob",
    "  Botany     nobody",
    "  links      2",
    "There are still 3 students.",
  },
  store = {
    "Corner Shop has 3 items",
    "  chair for 15.99 at Corner Shop",
    "  table for 79.50 at Corner Shop",
    "  nail for 1.00 at Corner Shop",
    "Empty Shop has 0 items",
    "moved: chair for 15.99 at Empty Shop, where there is 1 item now",
    "a second Corner Shop:\tIntegrityError",
    "stores: 2",
  },
  both_sides = {
    "so.album = kind                          Kind of Blue = [So What]",
    "so.album = nil                           Kind of Blue = []",
    "kind.tracks:append(so)                   Kind of Blue = [So What]",
    "kind.tracks:insert(1, green)             Kind of Blue = [Blue in Green, So What]",
    "kind.tracks:remove(so)                   Kind of Blue = [Blue in Green]",
    "kind.tracks:extend{ so, blues }          Kind of Blue = [Blue in Green, So What, All Blues]",
    "kind.tracks[1] = solea                   Kind of Blue = [Solea, So What, All Blues]",
    "kind.tracks[#kind.tracks + 1] = green    Kind of Blue = [Solea, So What, All Blues, Blue in Green]",
    "spain.tracks:append(solea)               Kind of Blue = [So What, All Blues, Blue in Green]",
    "                                         Sketches of Spain = [Solea]",
    "kind.tracks:pop()                        Kind of Blue = [So What, All Blues]",
    "kind.tracks:pop(1)                       Kind of Blue = [All Blues]",
    "kind.tracks = { so, green }              Kind of Blue = [So What, Blue in Green]",
    "kind.tracks = { green, so, blues }       Kind of Blue = [Blue in Green, So What, All Blues]",
    "spain.tracks:clear()                     Kind of Blue = [Blue in Green, So What, All Blues]",
    "kind.tracks:append(spain) is refused: ArgumentError",
    "Saved. Rows of track with this album: 3",
    "Two taken off, and saved. The album is now [So What]",
  },
  core = {
    "  one statement, three sets of parameters: 3 rows",
    "  x = 2, y = 4, also 2 and 4, also 2 and 4",
    "  x = 3, y = 9, also 3 and 9, also 3 and 9",
    "  :all()      3 rows",
    "  :first()    (1, 1)",
    "  :keys()     x, y",
    "  :scalars()  1, 4, 9",
    "  :mappings() { x = 1, y = 1 }",
    "  :scalar()   14",
    "  all deleted, 0 rows left",
    "  rolled back, 4 rows left",
    "  5 rows, the last is (5, 25)",
    "  OperationalError: no such table: no_such_table",
    "  in the statement: SELECT * FROM no_such_table",
    "  still 5 rows",
    "  sandy has the key 1",
    "    SELECT user_account.name, count(address.id) AS n FROM user_account LEFT OUTER JOIN address "
      .. "ON user_account.id = address.user_id GROUP BY user_account.id "
      .. "ORDER BY count(address.id) DESC, user_account.name",
    "  sandy    2 addresses",
    "  eugene   0 addresses",
    "  patrick  0 addresses",
    "  1 updated, 1 deleted",
    "  (1, 'sandy', 'Sandy Cheeks')",
    "  (2, 'patrick', 'Patrick Star')",
  },
}

local function names_of_examples()
  local names = {}
  local pipe = assert(io.popen("ls examples/*.lua"))
  for path in pipe:lines() do
    names[#names + 1] = path:match("([^/]+)%.lua$")
  end
  pipe:close()
  return names
end

local function output_of(name, ...)
  local output, status = support.run("examples/" .. name .. ".lua", ...)
  assert.equal(0, status, output)
  return output
end

describe("the example", function()
  for _, name in ipairs(names_of_examples()) do
    it(name .. ".lua says what it shows and how to run it", function()
      local text = support.bytes_of("examples/" .. name .. ".lua")
      assert.matches("^%-%- %u", text)
      assert.truthy(text:find("--     lua5.4 examples/" .. name .. ".lua ", 1, true))
    end)

    if name ~= "chinook" then
      it(name .. ".lua tells its story", function()
        check_lines(assert(STORIES[name], "no expected lines for this example"), output_of(name))
      end)

      it(name .. ".lua tells it again on the same file", function()
        local path = os.tmpname()
        local first, second = output_of(name, path), output_of(name, path)
        os.remove(path)
        check_lines(STORIES[name], first)
        check_lines(STORIES[name], second)
      end)
    end
  end
end)
