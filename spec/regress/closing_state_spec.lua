-- A finalizer of the script's may run after lua_close has ended classes, sessions and connections.
local SCRIPT = [[
local keep = setmetatable({}, { __gc = function(self)
  local calls = {
    function() return self.object.name end,
    function() self.object.name = "x" end,
    function() return tostring(self.object) end,
    function() return #self.object.books end,
    function() self.object.books:append(self.book) end,
    function() self.session:add(self.object) end,
    function() self.session:commit() end,
    function() self.session:close() end,
  }
  for position = 1, #calls do
    pcall(calls[position])
  end
  io.write("survived\n")
end })
local orm = require "orrery"
local Base = orm.declarative_base()
local Author = Base:model("Author", { __tablename__ = "author", id = orm.Mapped(orm.Integer, { primary_key = true }),
  name = orm.Mapped(orm.String), books = orm.relationship("Book", { back_populates = "author" }) })
local Book = Base:model("Book", { __tablename__ = "book", id = orm.Mapped(orm.Integer, { primary_key = true }),
  author_id = orm.Mapped(orm.Integer, orm.ForeignKey("author.id")),
  author = orm.relationship("Author", { back_populates = "books" }) })
local engine = orm.create_engine("sqlite://")
Base.metadata:create_all(engine)
keep.session = orm.Session(engine)
keep.object, keep.book = Author{ name = "n", books = { Book{} } }, Book{}
keep.session:add(keep.object)
keep.session:flush()
]]

describe("closing a state", function()
  it("leaves finalizers that come late with errors, not with a crash", function()
    local interpreter = os.getenv("LUA_PROGRAM")
    if not interpreter or _VERSION == "Lua 5.1" then
      return -- tables have no __gc there
    end
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(SCRIPT)
    file:close()
    local pipe = assert(io.popen(interpreter .. " " .. path .. " 2>&1; echo status $?"))
    local output = pipe:read("*a")
    pipe:close()
    os.remove(path)
    assert.equal("survived\nstatus 0\n", output)
  end)
end)
