-- The Chinook database, a music store in 11 tables: all of them mapped with all of their relationships, questions
-- answered, and a customer with an invoice and its lines saved by one add, which plain SQL then finds.
--
--     lua5.4 examples/chinook.lua path/to/chinook.sqlite [genre]     by default "Jazz"
--
-- The file is only read: all work is done on a copy in a temporary file, which is removed at the end.
local orm = require "orrery"
local Integer, String, Numeric, DateTime = orm.Integer, orm.String, orm.Numeric, orm.DateTime
local Mapped, Optional, ForeignKey, relationship = orm.Mapped, orm.Optional, orm.ForeignKey, orm.relationship
local select, func, text = orm.select, orm.func, orm.text

local path, genre_name = arg[1], arg[2] or "Jazz"
if not path then
  io.stderr:write("usage: lua5.4 examples/chinook.lua path/to/chinook.sqlite [genre]\n")
  os.exit(2)
end

-- ---- the models: columns are named as in the database, relationships in lower case ----

local Base = orm.declarative_base()

local Artist = Base:model("Artist", {
  __tablename__ = "Artist",
  ArtistId = Mapped(Integer, { primary_key = true }),
  Name     = Mapped(Optional(String(120))),
  albums   = relationship("Album", { back_populates = "artist", order_by = "AlbumId" }),
})

local Album = Base:model("Album", {
  __tablename__ = "Album",
  AlbumId  = Mapped(Integer, { primary_key = true }),
  Title    = Mapped(String(160)),
  ArtistId = Mapped(Integer, ForeignKey("Artist.ArtistId")),
  artist   = relationship("Artist", { back_populates = "albums" }),
  tracks   = relationship("Track", { back_populates = "album", order_by = "TrackId" }),
})

local Genre = Base:model("Genre", {
  __tablename__ = "Genre",
  GenreId = Mapped(Integer, { primary_key = true }),
  Name    = Mapped(Optional(String(120))),
  tracks  = relationship("Track", { back_populates = "genre", order_by = "TrackId" }),
})

local MediaType = Base:model("MediaType", {
  __tablename__ = "MediaType",
  MediaTypeId = Mapped(Integer, { primary_key = true }),
  Name        = Mapped(Optional(String(120))),
  tracks      = relationship("Track", { back_populates = "media_type", order_by = "TrackId" }),
})

local PlaylistTrack = orm.Table("PlaylistTrack", Base.metadata,
  orm.Column("PlaylistId", ForeignKey("Playlist.PlaylistId"), { primary_key = true }),
  orm.Column("TrackId", ForeignKey("Track.TrackId"), { primary_key = true }))

local Playlist = Base:model("Playlist", {
  __tablename__ = "Playlist",
  PlaylistId = Mapped(Integer, { primary_key = true }),
  Name       = Mapped(Optional(String(120))),
  tracks     = relationship("Track", { secondary = PlaylistTrack, back_populates = "playlists", order_by = "TrackId" }),
})

local Track = Base:model("Track", {
  __tablename__ = "Track",
  TrackId       = Mapped(Integer, { primary_key = true }),
  Name          = Mapped(String(200)),
  AlbumId       = Mapped(Optional(Integer), ForeignKey("Album.AlbumId")),
  MediaTypeId   = Mapped(Integer, ForeignKey("MediaType.MediaTypeId")),
  GenreId       = Mapped(Optional(Integer), ForeignKey("Genre.GenreId")),
  Composer      = Mapped(Optional(String(220))),
  Milliseconds  = Mapped(Integer),
  Bytes         = Mapped(Optional(Integer)),
  UnitPrice     = Mapped(Numeric(10, 2)),
  album         = relationship("Album", { back_populates = "tracks" }),
  media_type    = relationship("MediaType", { back_populates = "tracks" }),
  genre         = relationship("Genre", { back_populates = "tracks" }),
  playlists     = relationship("Playlist", { secondary = PlaylistTrack, back_populates = "tracks",
    order_by = "PlaylistId" }),
  invoice_lines = relationship("InvoiceLine", { back_populates = "track", order_by = "InvoiceLineId" }),
})

-- Both ends are in one table: remote_side says which column belongs to the far one, the manager.
local Employee = Base:model("Employee", {
  __tablename__ = "Employee",
  EmployeeId = Mapped(Integer, { primary_key = true }),
  LastName   = Mapped(String(20)),
  FirstName  = Mapped(String(20)),
  Title      = Mapped(Optional(String(30))),
  ReportsTo  = Mapped(Optional(Integer), ForeignKey("Employee.EmployeeId")),
  BirthDate  = Mapped(Optional(DateTime)),
  HireDate   = Mapped(Optional(DateTime)),
  Address    = Mapped(Optional(String(70))),
  City       = Mapped(Optional(String(40))),
  State      = Mapped(Optional(String(40))),
  Country    = Mapped(Optional(String(40))),
  PostalCode = Mapped(Optional(String(10))),
  Phone      = Mapped(Optional(String(24))),
  Fax        = Mapped(Optional(String(24))),
  Email      = Mapped(Optional(String(60))),
  manager    = relationship("Employee", { back_populates = "reports", remote_side = "EmployeeId" }),
  reports    = relationship("Employee", { back_populates = "manager", order_by = "EmployeeId" }),
  customers  = relationship("Customer", { back_populates = "support_rep", order_by = "CustomerId" }),
})

local Customer = Base:model("Customer", {
  __tablename__ = "Customer",
  CustomerId   = Mapped(Integer, { primary_key = true }),
  FirstName    = Mapped(String(40)),
  LastName     = Mapped(String(20)),
  Company      = Mapped(Optional(String(80))),
  Address      = Mapped(Optional(String(70))),
  City         = Mapped(Optional(String(40))),
  State        = Mapped(Optional(String(40))),
  Country      = Mapped(Optional(String(40))),
  PostalCode   = Mapped(Optional(String(10))),
  Phone        = Mapped(Optional(String(24))),
  Fax          = Mapped(Optional(String(24))),
  Email        = Mapped(String(60)),
  SupportRepId = Mapped(Optional(Integer), ForeignKey("Employee.EmployeeId")),
  support_rep  = relationship("Employee", { back_populates = "customers" }),
  invoices     = relationship("Invoice", { back_populates = "customer", order_by = "InvoiceId" }),
})

local Invoice = Base:model("Invoice", {
  __tablename__ = "Invoice",
  InvoiceId         = Mapped(Integer, { primary_key = true }),
  CustomerId        = Mapped(Integer, ForeignKey("Customer.CustomerId")),
  InvoiceDate       = Mapped(DateTime),
  BillingAddress    = Mapped(Optional(String(70))),
  BillingCity       = Mapped(Optional(String(40))),
  BillingState      = Mapped(Optional(String(40))),
  BillingCountry    = Mapped(Optional(String(40))),
  BillingPostalCode = Mapped(Optional(String(10))),
  Total             = Mapped(Numeric(10, 2)),
  customer          = relationship("Customer", { back_populates = "invoices" }),
  lines             = relationship("InvoiceLine", { back_populates = "invoice", order_by = "InvoiceLineId" }),
})

local InvoiceLine = Base:model("InvoiceLine", {
  __tablename__ = "InvoiceLine",
  InvoiceLineId = Mapped(Integer, { primary_key = true }),
  InvoiceId     = Mapped(Integer, ForeignKey("Invoice.InvoiceId")),
  TrackId       = Mapped(Integer, ForeignKey("Track.TrackId")),
  UnitPrice     = Mapped(Numeric(10, 2)),
  Quantity      = Mapped(Integer),
  invoice       = relationship("Invoice", { back_populates = "lines" }),
  track         = relationship("Track", { back_populates = "invoice_lines" }),
})

function Employee:__tostring()
  return ("%s %s (%s)"):format(self.FirstName, self.LastName, self.Title or "no title")
end

function Customer:__tostring()
  return self.FirstName .. " " .. self.LastName
end

function Track:__tostring()
  local artist = self.album and self.album.artist
  return ("%q by %s"):format(self.Name, artist and artist.Name or "somebody")
end

-- ---- printing ----

local function title(words)
  print("\n" .. words)
end

local function duration(milliseconds)
  local minutes = math.floor(milliseconds / 60000)
  return ("%d h %d min"):format(math.floor(minutes / 60), minutes % 60)
end

-- ---- questions ----

local function count_rows(session)
  title("Rows:")
  for _, source in ipairs{ Artist, Album, Genre, MediaType, Track, Playlist, PlaylistTrack, Employee, Customer, Invoice,
    InvoiceLine } do
    local tbl = source == PlaylistTrack and source or source.__table__
    print(("  %-14s %d"):format(tbl.name, session:scalar(select(func.count()):select_from(source))))
  end
end

local function sales_by_country(session)
  title("Sales by country, the first ten:")
  local total = func.sum(Invoice.Total)
  local sales = select(Invoice.BillingCountry, func.count(Invoice.InvoiceId):label("invoices"), total:label("total"))
    :group_by(Invoice.BillingCountry):order_by(total:desc(), Invoice.BillingCountry):limit(10)
  for row in session:execute(sales) do
    print(("  %-16s %10.2f in %d invoices"):format(row.BillingCountry or "nowhere", row.total, row.invoices))
  end
end

local function longest_playlist(session)
  title("The longest playlist:")
  local length = func.sum(Track.Milliseconds)
  local row = session:execute(select(Playlist, length:label("length"))
    :join(Playlist.tracks):group_by(Playlist.PlaylistId):order_by(length:desc(), Playlist.PlaylistId):limit(1)):one()
  local playlist = row[1]
  print(("  %s, with %d tracks, takes %s"):format(playlist.Name, #playlist.tracks, duration(row.length)))
  print(("  it begins with %s, which is %s"):format(tostring(playlist.tracks[1]), playlist.tracks[1].media_type.Name))
end

local function show_team(employee, indent)
  print(indent .. tostring(employee))
  for _, report in employee.reports do
    show_team(report, indent .. "  ")
  end
end

local function reporting_line(session)
  title("Whom the last one hired reports to:")
  local latest = select(Employee):order_by(Employee.HireDate:desc(), Employee.EmployeeId:desc()):limit(1)
  local employee = session:scalars(latest):first()
  local line = {}
  while employee do
    line[#line + 1] = tostring(employee)
    employee = employee.manager
  end
  print("  " .. table.concat(line, " -> "))
  title("And the whole company:")
  for boss in session:scalars(select(Employee):where(Employee.ReportsTo:is_(orm.null)):order_by(Employee.EmployeeId)) do
    show_team(boss, "  ")
  end
end

local function customers_who_bought(session)
  title("Customers who bought " .. genre_name .. ":")
  local bought = select(Customer):join(Customer.invoices):join(Invoice.lines):join(InvoiceLine.track):join(Track.genre)
    :where(Genre.Name:eq(genre_name)):distinct():order_by(Customer.LastName, Customer.FirstName)
  local customers = session:scalars(bought):all()
  for position = 1, math.min(5, #customers) do
    local customer = customers[position]
    print(("  %s, %s, helped by %s"):format(tostring(customer), customer.Country or "nowhere",
      customer.support_rep and customer.support_rep.FirstName or "nobody"))
  end
  print(#customers > 5 and ("  and %d more"):format(#customers - 5) or ("  %d in all"):format(#customers))
end

-- ---- a sale ----

-- Customer, invoice and lines hang together, so adding the customer saves them all.
local function sell(session)
  local support = session:scalars(select(Employee):order_by(Employee.EmployeeId:desc())):first()
  local lines, cents = {}, 0
  for track in session:scalars(select(Track):order_by(Track.TrackId):limit(3)) do
    lines[#lines + 1] = InvoiceLine{ track = track, UnitPrice = track.UnitPrice, Quantity = #lines + 1 }
    cents = cents + math.floor(track.UnitPrice * 100 + 0.5) * #lines
  end
  local customer = Customer{
    FirstName = "Ada", LastName = "Lovelace", Email = "ada@example.org", City = "London", Country = "United Kingdom",
    support_rep = support,
    invoices = {
      Invoice{ InvoiceDate = "2026-01-31 12:00:00", BillingCity = "London", BillingCountry = "United Kingdom",
        Total = cents / 100, lines = lines },
    },
  }
  session:add(customer)
  session:commit()
  return customer.CustomerId
end

-- Another connection, and no models.
local function prove(engine, id)
  title("What plain SQL finds of the new customer:")
  orm.with(engine:connect(), function(conn)
    local found = conn:execute(text [[
      SELECT c.FirstName, c.LastName, e.FirstName AS Helper, i.Total, t.Name, l.UnitPrice, l.Quantity
      FROM Customer c
      JOIN Employee e ON e.EmployeeId = c.SupportRepId
      JOIN Invoice i ON i.CustomerId = c.CustomerId
      JOIN InvoiceLine l ON l.InvoiceId = i.InvoiceId
      JOIN Track t ON t.TrackId = l.TrackId
      WHERE c.CustomerId = :id
      ORDER BY l.InvoiceLineId]], { id = id })
    for row in found do
      print(("  %s %s (helped by %s): %d x %q at %.2f, of %.2f in all"):format(row.FirstName, row.LastName, row.Helper,
        row.Quantity, row.Name, row.UnitPrice, row.Total))
    end
  end)
end

local function tell(url)
  local engine = orm.create_engine(url)
  local id = orm.with(orm.Session(engine), function(session)
    count_rows(session)
    sales_by_country(session)
    longest_playlist(session)
    reporting_line(session)
    customers_who_bought(session)
    return sell(session)
  end)
  engine:dispose()
  local reader = orm.create_engine(url .. "?mode=ro")
  prove(reader, id)
  reader:dispose()
end

-- ---- the copy ----

local source = assert(io.open(path, "rb"))
local copy = os.tmpname()
local target = assert(io.open(copy, "wb"))
target:write((source:read("*a")))
source:close()
target:close()

local ok, err = pcall(tell, "sqlite:///" .. copy)
os.remove(copy)
if not ok then
  error(tostring(err), 0)
end
print("\n" .. path .. " is as it was: the sale went into a copy, which is gone.")
