-- The library itself runs on every Lua from 5.1 on and inside hosts that open few libraries: what it may name is
-- the part that all versions share, without the package and file loaders. `import` comes with each file.
std = "min"
max_line_length = 130
self = false -- methods may ignore their object
files["lua"] = {
  read_globals = { "unpack", "loadstring", "setfenv", "getfenv", table = { fields = { "unpack", "pack", "move" } } },
  not_globals = { "require", "package", "module", "dofile", "loadfile" },
}
files["spec"] = { std = "max+busted" }
files["examples"] = { std = "max" }
files["bench"] = { std = "max" }
