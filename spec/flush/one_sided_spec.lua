-- Relationships that only one side knows, of objects that are not always saved along: what is written, and what is said.
local orm = require "orrery"
local database = require "spec.support.database"
local rows = database.rows
local Integer, String, Mapped, Optional, relationship = orm.Integer, orm.String, orm.Mapped, orm.Optional, orm.relationship

local function key()
  return Mapped(Integer, { primary_key = true })
end

-- Team.players (a list), Player.coach (one), Team.fans (links); `cascade` of all of them.
local function open(cascade)
  local base = orm.declarative_base()
  local place = {}
  place.Team = base:model("Team", { __tablename__ = "team", id = key(), name = Mapped(Optional(String)),
    players = relationship("Player", { cascade = cascade, order_by = "Player.id" }),
    fans = relationship("Fan", { secondary = "support", cascade = cascade, order_by = "Fan.id" }) })
  place.Player = base:model("Player", { __tablename__ = "player", id = key(), name = Mapped(Optional(String)),
    team_id = Mapped(Optional(Integer), orm.ForeignKey("team.id")),
    coach_id = Mapped(Optional(Integer), orm.ForeignKey("coach.id")), coach = relationship("Coach", { cascade = cascade }) })
  place.Coach = base:model("Coach", { __tablename__ = "coach", id = key() })
  place.Fan = base:model("Fan", { __tablename__ = "fan", id = key() })
  orm.Table("support", base.metadata, orm.Column("team_id", Integer, orm.ForeignKey("team.id"), { primary_key = true }),
    orm.Column("fan_id", Integer, orm.ForeignKey("fan.id"), { primary_key = true }))
  place.engine = database.create(base)
  place.session = orm.Session(place.engine)
  return place
end

local PLAYERS = "SELECT id, team_id FROM player ORDER BY id"
local SUPPORT = "SELECT team_id, fan_id FROM support ORDER BY team_id, fan_id"

local function warnings_of(fn)
  local warnings = {}
  local former = orm.on_warning(function(message) warnings[#warnings + 1] = message end)
  local ok, err = pcall(fn)
  orm.on_warning(former)
  assert(ok, err)
  return warnings
end

-- A stored team of three players and three fans.
local function stored()
  local place = open()
  local Player, Fan = place.Player, place.Fan
  place.players, place.fans = { Player {}, Player {}, Player {} }, { Fan {}, Fan {}, Fan {} }
  place.team = place.Team { players = place.players, fans = place.fans }
  place.session:add(place.team)
  place.session:commit()
  return place
end

describe("a list that its items do not know", function()
  it("gives and takes foreign keys", function()
    local place = stored()
    place.team.players:remove(place.players[2])
    place.session:commit()
    assert.same({ "1|1", "2|NULL", "3|1" }, rows(place.engine, PLAYERS))
    place.team.players = { place.players[2], place.Player {} }
    place.session:commit()
    assert.same({ "1|NULL", "2|1", "3|NULL", "4|1" }, rows(place.engine, PLAYERS))
  end)

  it("leaves alone what was removed and deleted, expunged, or has another key by now", function()
    local place = stored()
    local other = place.Team { name = "other" }
    place.session:add(other)
    place.session:flush()
    local one, two, three = place.players[1], place.players[2], place.players[3]
    place.team.players = {}
    place.session:delete(one)
    two.team_id = other.id
    place.session:expunge(three)
    place.session:commit()
    assert.same({ "2|2", "3|1" }, rows(place.engine, PLAYERS))
    assert.same({}, warnings_of(function() place.session:commit() end))
  end)

  it("takes back what was removed, though its own key is not known any more", function()
    local place = stored()
    local one = place.players[1]
    assert.equal(3, #place.team.players)
    place.session:expire(one)
    place.team.players:remove(one)
    place.session:flush()
    assert.same({ "1|NULL", "2|1", "3|1" }, rows(place.session, PLAYERS))
  end)

  it("moves an item to another list of its kind", function()
    local place = stored()
    assert.equal(3, #place.team.players)
    local other = place.Team { name = "other", players = { place.players[3] } }
    place.team.players:remove(place.players[3])
    place.session:add(other)
    place.session:commit()
    assert.same({ "1|1", "2|1", "3|2" }, rows(place.engine, PLAYERS))
  end)

  it("of many items, some of them twice, writes each once", function()
    local place = open()
    local list, fans = {}, {}
    for i = 1, 60 do
      list[i], fans[i] = place.Player { id = i }, place.Fan { id = i }
    end
    for i = 61, 70 do
      list[i], fans[i] = list[i - 60], fans[i - 60]
    end
    place.session:add(place.Team { players = list, fans = fans })
    place.session:commit()
    assert.same({ "60" }, rows(place.engine, "SELECT count(*) FROM player WHERE team_id = 1"))
    assert.same({ "60" }, rows(place.engine, "SELECT count(*) FROM support"))
    local team = place.session:get(place.Team, 1)
    local half = {}
    for i = 1, 30 do
      half[i] = place.session:get(place.Fan, 2 * i)
    end
    half[31], half[32] = half[1], place.Fan { id = 100 }
    team.fans = half
    place.session:commit()
    assert.same({ "31" }, rows(place.engine, "SELECT count(*) FROM support"))
  end)

  it("goes with what it belongs to", function()
    local place = stored()
    place.session:delete(place.players[1])
    place.session:expunge(place.players[2])
    place.session:delete(place.team)
    place.session:commit()
    assert.same({ "2|NULL", "3|NULL" }, rows(place.engine, PLAYERS))
    assert.same({}, rows(place.engine, SUPPORT))
  end)
end)

describe("a flush that fails", function()
  it("leaves foreign keys of text as they were, however long", function()
    for _, code in ipairs { "b", ("b"):rep(100) } do
      local base = orm.declarative_base()
      local Country = base:model("Country", { __tablename__ = "country", code = Mapped(String, { primary_key = true }),
        people = relationship("Person") })
      local Person = base:model("Person", { __tablename__ = "person", id = key(), name = Mapped(Optional(String)),
        country_code = Mapped(Optional(String), orm.ForeignKey("country.code")) })
      local engine = database.create(base)
      local session = orm.Session(engine)
      local first, second = Country { code = ("a"):rep(#code), people = { Person {}, Person {} } }, Country { code = code }
      session:add_all { first, second, Person { id = 9 } }
      session:commit()
      local moved, given = first.people[1], first.people[2]
      assert.same({ first.code, first.code }, { moved.country_code, given.country_code })
      given.country_code = ("z"):rep(#code)
      given.country_code = first.code
      second.people = { moved, given }
      session:add(Person { id = 9 })
      assert.is_false((pcall(session.flush, session)))
      assert.same({ first.code, first.code }, { moved.country_code, given.country_code })
      session:expunge(session.new[1])
      session:commit()
      assert.same({ "2" }, rows(engine, ("SELECT count(*) FROM person WHERE country_code = '%s'"):format(code)))
    end
  end)
end)

describe("what is not saved along", function()
  it("is named in a warning, and not referred to", function()
    local place = open("merge")
    local team, player, fan, coach = place.Team {}, place.Player {}, place.Fan {}, place.Coach {}
    team.players:append(player)
    team.fans:append(fan)
    place.session:add(team)
    local warnings = warnings_of(function() place.session:commit() end)
    assert.equal(2, #warnings)
    assert.truthy(table.concat(warnings):find("Team.players", 1, true))
    assert.truthy(table.concat(warnings):find("Team.fans", 1, true))
    player.coach = coach
    place.session:add(player)
    warnings = warnings_of(function() place.session:commit() end)
    assert.truthy(warnings[1]:find("Player.coach", 1, true))
    assert.same({ "1|NULL" }, rows(place.engine, PLAYERS))
    assert.same({}, rows(place.engine, SUPPORT))
  end)

  it("is taken out again without a word", function()
    local place = open("merge")
    local team = place.Team {}
    place.session:add(team)
    place.session:commit()
    local fan, player = place.Fan {}, place.Player {}
    team.fans:append(fan)
    team.fans:remove(fan)
    team.players:append(player)
    team.players:remove(player)
    assert.same({}, warnings_of(function() place.session:commit() end))
  end)
end)

describe("what is deleted in the same flush", function()
  it("is not referred to", function()
    local place = stored()
    local coach = place.Coach {}
    place.session:add(coach)
    place.session:commit()
    place.players[2].coach = coach
    place.session:delete(coach)
    place.session:commit()
    assert.same({ "2|NULL" }, rows(place.engine, "SELECT id, coach_id FROM player WHERE id = 2"))
    local fan, new = place.Fan {}, place.Team { name = "new" }
    place.session:add_all { fan, new }
    place.session:flush()
    new.fans = { fan, place.fans[1] }
    place.session:delete(fan)
    place.session:commit()
    assert.same({ "1|1", "1|2", "1|3", "2|1" }, rows(place.engine, SUPPORT))
  end)

  it("takes its links along once, from whichever side", function()
    local place = stored()
    place.team.fans:remove(place.fans[1])
    place.team.fans:remove(place.fans[2])
    place.session:delete(place.fans[1])
    place.session:delete(place.fans[2])
    place.session:commit()
    assert.same({ "1|3" }, rows(place.engine, SUPPORT))
  end)
end)
