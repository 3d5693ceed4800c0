-- Relationships that hold one object, loaded for many: where more than the key decides, and through a link table.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"

-- A member has a room of their own floor only, and one desk through a table of seats.
local function house(options)
  local base = orm.declarative_base()
  local id = function() return orm.Column(orm.Integer, { primary_key = true }) end
  orm.Table("seat", base.metadata, orm.Column("member_id", orm.ForeignKey("member.id")),
    orm.Column("desk_id", orm.ForeignKey("desk.id")))
  local place = {}
  place.Member = base:model("Member", { __tablename__ = "member", id = id(), floor = orm.Column(orm.Integer),
    room_id = orm.Column(orm.ForeignKey("room.id")),
    room = orm.relationship("Room", { lazy = options and options.lazy or nil, primaryjoin = function(Member, Room)
      return orm.and_(Member.room_id:eq(Room.id), Member.floor:eq(Room.floor))
    end }),
    desk = orm.relationship("Desk", { lazy = options and options.lazy or nil, secondary = "seat", uselist = false }) })
  place.Room = base:model("Room", { __tablename__ = "room", id = id(), floor = orm.Column(orm.Integer) })
  place.Desk = base:model("Desk", { __tablename__ = "desk", id = id(),
    lamps = orm.relationship("Lamp", { order_by = "id" }) })
  place.Lamp = base:model("Lamp", { __tablename__ = "lamp", id = id(), desk_id = orm.Column(orm.ForeignKey("desk.id")) })
  place.engine = database.create(base)
  database.run(place.engine, "INSERT INTO room VALUES (1, 1), (2, 2)", "INSERT INTO desk VALUES (1), (2)",
    "INSERT INTO lamp VALUES (1, 1), (2, 1), (3, 2)",
    "INSERT INTO member VALUES (1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 1, NULL)",
    "INSERT INTO seat VALUES (1, 1), (2, 2), (3, 1)")
  place.session, place.record = orm.Session(place.engine), statements.record(place.engine)
  return place
end

local function read(place, key, ...)
  local found = {}
  local list = place.session:scalars(orm.select(place.Member):order_by(place.Member.id):options(...)):all()
  place.kept = list
  for position, member in ipairs(list) do
    found[position] = member[key] and member[key].id or 0
  end
  return found
end

for _, strategy in ipairs { "selectinload", "batchload", "subqueryload" } do
  describe(strategy, function()
    it("loads a many-to-one with a condition on its parent in one statement", function()
      local place = house()
      assert.same({ 1, 0, 2, 2, 0 }, read(place, "room", orm[strategy](place.Member.room)))
      assert.equal(2, #place.record:take())
    end)

    it("loads one object through a link table in one statement", function()
      local place = house()
      assert.same({ 1, 2, 1, 0, 0 }, read(place, "desk", orm[strategy](place.Member.desk)))
      assert.equal(2, #place.record:take())
    end)
  end)
end

it("what such a load finds leads on, each object once", function()
  local place = house()
  assert.same({ 1, 2, 1, 0, 0 }, read(place, "desk", orm.selectinload(place.Member.desk):selectinload(place.Desk.lamps)))
  assert.equal(2, #place.session:get(place.Desk, 1).lamps)
  assert.equal(3, #place.record:take())
end)

it("lists joined to what it finds do not repeat it", function()
  local place = house()
  assert.same({ 1, 2, 1, 0, 0 }, read(place, "desk", orm.selectinload(place.Member.desk):joinedload(place.Desk.lamps)))
  assert.equal(2, #place.session:get(place.Desk, 1).lamps)
  assert.equal(1, #place.session:get(place.Desk, 2).lamps)
  assert.equal(2, #place.record:take())
end)

it("lazy = \"selectin\" does the same without an option", function()
  local place = house { lazy = "selectin" }
  assert.same({ 1, 0, 2, 2, 0 }, read(place, "room"))
  assert.equal(3, #place.record:take())
end)

it("the read of one object gives what the read of many gives", function()
  local place = house()
  assert.same({ 1, 0, 2, 2, 0 }, read(place, "room"))
  assert.same({ 1, 2, 1, 0, 0 }, read(place, "desk"))
end)

it("more objects than fit into one statement take one for each chunk", function()
  local place = house()
  for number = 6, 605 do
    place.session:execute(orm.text("INSERT INTO member VALUES (:id, 1, 1)"), { id = number })
  end
  place.record:take()
  local rooms = read(place, "room", orm.selectinload(place.Member.room))
  assert.equal(605, #rooms)
  assert.equal(1, rooms[605])
  assert.equal(3, #place.record:take())
end)

-- Cities of countries, whose key the cities may have as a float; 3 has none, and the country of 4 is gone.
local function atlas(kind, rows)
  local base = orm.declarative_base()
  local id = function() return orm.Column(orm.Integer, { primary_key = true }) end
  local Country = base:model("Country", { __tablename__ = "country", id = id(), name = orm.Column(orm.String),
    anthems = orm.relationship("Anthem", { order_by = "id" }) })
  base:model("Anthem", { __tablename__ = "anthem", id = id(), country_id = orm.Column(orm.ForeignKey("country.id")) })
  local City = base:model("City", { __tablename__ = "city", id = id(), country_id = orm.Column(kind),
    country = orm.relationship("Country", { primaryjoin = function(city, country)
      return orm.foreign(city.country_id):eq(country.id)
    end }) })
  local engine = database.create(base)
  database.run(engine, "INSERT INTO country VALUES (1, 'a'), (2, 'b')", "INSERT INTO anthem VALUES (1, 1), (2, 1)", rows)
  return { City = City, Country = Country, session = orm.Session(engine), record = statements.record(engine) }
end

for _, strategy in ipairs { "selectinload", "batchload", "subqueryload" } do
  describe(strategy .. " of a many-to-one", function()
    local rows = "INSERT INTO city VALUES (1, 1), (2, 2), (3, NULL), (4, 9), (5, 1)"

    local function names(lib, option)
      local list, found = lib.session:scalars(orm.select(lib.City):order_by("id"):options(option)):all(), {}
      for position, city in ipairs(list) do
        found[position] = city.country and city.country.name or "-"
      end
      return table.concat(found, " "), list
    end

    it("finds the objects by their key, whether it is written as they have it or not", function()
      for _, kind in ipairs { orm.Integer, orm.Float } do
        local lib = atlas(kind, rows)
        local found, list = names(lib, orm[strategy](lib.City.country))
        assert.equal("a b - - a", found)
        assert.equal(list[1].country, list[5].country)
        lib.record:take()
        assert.equal("a b - - a", (names(lib, orm[strategy](lib.City.country))))
      end
    end)

    it("goes on from each object once", function()
      local lib = atlas(orm.Integer, rows)
      local _, list = names(lib, orm[strategy](lib.City.country):selectinload(lib.Country.anthems))
      lib.record:take()
      assert.equal(2, #list[1].country.anthems)
      assert.equal(0, #list[2].country.anthems)
      assert.same({}, lib.record:take())
    end)

    it("knows of conditions, and of what populate_existing overwrites", function()
      local lib = atlas(orm.Integer, rows)
      local kept = { lib.session:get(lib.Country, 1), lib.session:get(lib.Country, 2) }
      assert.equal("a - - - a", (names(lib, orm[strategy](lib.City.country:and_(lib.Country.name:eq("a"))))))
      lib.session:expunge_all()
      kept[1] = lib.session:get(lib.Country, 1)
      database.run(lib.session, "UPDATE country SET name = 'new' WHERE id = 1")
      local list = lib.session:scalars(orm.select(lib.City):order_by("id"):options(orm[strategy](lib.City.country)), nil,
        { populate_existing = true }):all()
      assert.equal(kept[1], list[1].country)
    end)

    it("reads keys by the hundred", function()
      local values = {}
      for number = 1, 1300 do
        values[number] = ("(%d, %d)"):format(number, number + 100)
      end
      local lib = atlas(orm.Integer, "INSERT INTO city VALUES " .. table.concat(values, ", "))
      values = {}
      for number = 1, 1300 do
        values[number] = ("(%d, 'c%d')"):format(number + 100, number)
      end
      database.run(lib.session, "INSERT INTO country VALUES " .. table.concat(values, ", "))
      local list = lib.session:scalars(orm.select(lib.City):order_by("id"):options(orm[strategy](lib.City.country))):all()
      lib.record:take()
      for number, city in ipairs(list) do
        assert.equal("c" .. number, city.country.name)
      end
      assert.is_true(#lib.record:take() <= 3)
    end)
  end)
end
