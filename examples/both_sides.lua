-- Both sides agree at once: whatever is done to a collection, or to the attribute on the other side, the other one
-- follows in memory, before anything is flushed. After each step every album is compared with every track.
--
--     lua5.4 examples/both_sides.lua [database file or URL]     by default a database in memory
--
-- The tables album and track are dropped and made anew.
local orm = require "orrery"
local Integer, String = orm.Integer, orm.String
local Mapped, Optional, ForeignKey, relationship = orm.Mapped, orm.Optional, orm.ForeignKey, orm.relationship

local url = arg[1] or "sqlite:///:memory:"
if not url:find("://", 1, true) then
  url = "sqlite:///" .. url
end

local Base = orm.declarative_base()

local Album = Base:model("Album", {
  __tablename__ = "album",
  id     = Mapped(Integer, { primary_key = true }),
  title  = Mapped(String(60)),
  tracks = relationship("Track", { back_populates = "album", order_by = "id" }),
})

local Track = Base:model("Track", {
  __tablename__ = "track",
  id       = Mapped(Integer, { primary_key = true }),
  title    = Mapped(String(60)),
  album_id = Mapped(Optional(Integer), ForeignKey("album.id")),
  album    = relationship("Album", { back_populates = "tracks" }),
})

local kind, spain = Album{ title = "Kind of Blue" }, Album{ title = "Sketches of Spain" }
local so, green, blues, solea = Track{ title = "So What" }, Track{ title = "Blue in Green" },
  Track{ title = "All Blues" }, Track{ title = "Solea" }
local albums, tracks = { kind, spain }, { so, green, blues, solea }

local function titles(album)
  local list = {}
  for position, track in album.tracks do
    list[position] = track.title
  end
  return table.concat(list, ", ")
end

-- A track's album holds it once, and no other album does.
local function check()
  for _, track in ipairs(tracks) do
    for _, album in ipairs(albums) do
      local held = 0
      for _, one in album.tracks do
        held = held + (one == track and 1 or 0)
      end
      assert(held == (track.album == album and 1 or 0), track.title .. " and " .. album.title .. " disagree")
    end
  end
end

local function step(code)
  check()
  print(("%-40s Kind of Blue = [%s]"):format(code, titles(kind)))
  if #spain.tracks > 0 then
    print(("%-40s Sketches of Spain = [%s]"):format("", titles(spain)))
  end
end

so.album = kind
step("so.album = kind")

so.album = nil
step("so.album = nil")

kind.tracks:append(so)
step("kind.tracks:append(so)")

kind.tracks:insert(1, green)
step("kind.tracks:insert(1, green)")

kind.tracks:remove(so)
step("kind.tracks:remove(so)")

kind.tracks:extend{ so, blues }
step("kind.tracks:extend{ so, blues }")

kind.tracks[1] = solea
step("kind.tracks[1] = solea")

kind.tracks[#kind.tracks + 1] = green
step("kind.tracks[#kind.tracks + 1] = green")

spain.tracks:append(solea)
step("spain.tracks:append(solea)")

assert(kind.tracks:pop() == green)
step("kind.tracks:pop()")

assert(kind.tracks:pop(1) == so)
step("kind.tracks:pop(1)")

kind.tracks = { so, green }
step("kind.tracks = { so, green }")

kind.tracks = { green, so, blues }
step("kind.tracks = { green, so, blues }")

spain.tracks:clear()
step("spain.tracks:clear()")

-- What does not belong is refused on the spot, and nothing has changed.
local ok, err = pcall(function() kind.tracks:append(spain) end)
check()
print("kind.tracks:append(spain) is refused: " .. tostring(not ok and err.kind))

local engine = orm.create_engine(url)
Base.metadata:drop_all(engine)
Base.metadata:create_all(engine)
orm.with(orm.Session(engine), function(session)
  session:add(kind)
  session:commit()
  check()
  print("Saved. Rows of track with this album: " .. session:scalar(
    orm.select(orm.func.count(Track.id)):where(Track.album_id:eq(kind.id))))

  -- The same holds for objects that came from the database.
  kind.tracks:remove(blues)
  green.album = nil
  check()
  session:commit()
  print("Two taken off, and saved. The album is now [" .. titles(kind) .. "]")
end)
engine:dispose()
