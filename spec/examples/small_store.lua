-- SQL for a music store of Chinook's shape with a few rows, written for the specs: a track without album and genre, a
-- genre without name, a customer whom nobody helps, and an invoice to no country. Gives the statements in order.
local SQL = [[
CREATE TABLE Artist (ArtistId INTEGER NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE Album (AlbumId INTEGER NOT NULL PRIMARY KEY, Title NVARCHAR(160) NOT NULL,
  ArtistId INTEGER NOT NULL REFERENCES Artist);
CREATE TABLE Genre (GenreId INTEGER NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE MediaType (MediaTypeId INTEGER NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE Playlist (PlaylistId INTEGER NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE Track (TrackId INTEGER NOT NULL PRIMARY KEY, Name NVARCHAR(200) NOT NULL,
  AlbumId INTEGER REFERENCES Album, MediaTypeId INTEGER NOT NULL REFERENCES MediaType,
  GenreId INTEGER REFERENCES Genre, Composer NVARCHAR(220), Milliseconds INTEGER NOT NULL, Bytes INTEGER,
  UnitPrice NUMERIC(10,2) NOT NULL);
CREATE TABLE PlaylistTrack (PlaylistId INTEGER NOT NULL REFERENCES Playlist,
  TrackId INTEGER NOT NULL REFERENCES Track, PRIMARY KEY (PlaylistId, TrackId));
CREATE TABLE Employee (EmployeeId INTEGER NOT NULL PRIMARY KEY, LastName NVARCHAR(20) NOT NULL,
  FirstName NVARCHAR(20) NOT NULL, Title NVARCHAR(30), ReportsTo INTEGER REFERENCES Employee,
  BirthDate DATETIME, HireDate DATETIME, Address TEXT, City TEXT, State TEXT, Country TEXT, PostalCode TEXT,
  Phone TEXT, Fax TEXT, Email NVARCHAR(60));
CREATE TABLE Customer (CustomerId INTEGER NOT NULL PRIMARY KEY, FirstName NVARCHAR(40) NOT NULL,
  LastName NVARCHAR(20) NOT NULL, Company NVARCHAR(80), Address TEXT, City TEXT, State TEXT, Country TEXT,
  PostalCode TEXT, Phone TEXT, Fax TEXT, Email NVARCHAR(60) NOT NULL, SupportRepId INTEGER REFERENCES Employee);
CREATE TABLE Invoice (InvoiceId INTEGER NOT NULL PRIMARY KEY, CustomerId INTEGER NOT NULL REFERENCES Customer,
  InvoiceDate DATETIME NOT NULL, BillingAddress TEXT, BillingCity TEXT, BillingState TEXT, BillingCountry TEXT,
  BillingPostalCode TEXT, Total NUMERIC(10,2) NOT NULL);
CREATE TABLE InvoiceLine (InvoiceLineId INTEGER NOT NULL PRIMARY KEY,
  InvoiceId INTEGER NOT NULL REFERENCES Invoice, TrackId INTEGER NOT NULL REFERENCES Track,
  UnitPrice NUMERIC(10,2) NOT NULL, Quantity INTEGER NOT NULL);

INSERT INTO Artist VALUES (1, 'The Clefs'), (2, 'Döner & Söhne');
INSERT INTO Album VALUES (1, 'Treble', 1), (2, 'Bass', 2);
INSERT INTO Genre VALUES (1, 'Jazz'), (2, 'Polka'), (3, NULL);
INSERT INTO MediaType VALUES (1, 'Shellac');
INSERT INTO Playlist VALUES (1, 'Short'), (2, 'Long'), (3, 'Silence');
INSERT INTO Track VALUES
  (1, 'One', 1, 1, 1, NULL, 60000, NULL, 0.99), (2, 'Two', 1, 1, 1, 'C. Lef', 120000, 7, 0.99),
  (3, 'Three', 2, 1, 2, NULL, 3600000, NULL, 1.99), (4, 'Stray', NULL, 1, NULL, NULL, 1000, NULL, 1.99);
INSERT INTO PlaylistTrack VALUES (1, 1), (1, 2), (1, 4), (2, 3), (2, 2);
INSERT INTO Employee (EmployeeId, FirstName, LastName, Title, ReportsTo, HireDate) VALUES
  (1, 'Ann', 'Arch', 'Boss', NULL, '2001-01-01 00:00:00'), (2, 'Bob', 'Beam', 'Manager', 1, '2002-01-01 00:00:00'),
  (3, 'Cid', 'Cone', 'Clerk', 2, '2004-01-01 00:00:00'), (4, 'Dot', 'Dome', 'Clerk', 2, '2003-01-01 00:00:00');
INSERT INTO Customer (CustomerId, FirstName, LastName, Country, Email, SupportRepId) VALUES
  (1, 'Eve', 'Zorn', 'Norway', 'eve@example.org', 3), (2, 'Fay', 'Abel', 'Chile', 'fay@example.org', NULL),
  (3, 'Gus', 'Berg', 'Chile', 'gus@example.org', 4);
INSERT INTO Invoice (InvoiceId, CustomerId, InvoiceDate, BillingCountry, Total) VALUES
  (1, 1, '2020-01-01 00:00:00', 'Norway', 1.98), (2, 2, '2020-01-02 00:00:00', 'Chile', 2.98),
  (3, 3, '2020-01-03 00:00:00', 'Chile', 1.99), (4, 2, '2020-01-04 00:00:00', NULL, 0.99);
INSERT INTO InvoiceLine VALUES (1, 1, 1, 0.99, 1), (2, 1, 2, 0.99, 1), (3, 2, 1, 0.99, 1), (4, 2, 3, 1.99, 1),
  (5, 3, 3, 1.99, 1), (6, 4, 2, 0.99, 1);
]]

local statements = {}
for sql in SQL:gmatch("%s*([^;]+);") do
  statements[#statements + 1] = sql
end
return statements
