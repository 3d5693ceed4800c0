-- strings: texts that have broken something before: quotes, SQL, comments, markers, formats, control bytes, broken
-- UTF-8, words with a meaning, and length.
local shared = require "spec.hostile.shared"

local strings = {}

local OWN = {
  -- quotes
  "'", "''", '"', '""', 'a"b', "`", "``", "[", "]", "a]b", "\\", "\\'", "\\\\'", "\\\"", "'\"`[]",
  -- SQL
  "'); DELETE FROM canary; --", "\"; DROP TABLE canary; --", "' OR '1'='1", "1 OR 1=1", "1; DELETE FROM canary",
  "x' UNION SELECT v FROM canary --", "id, (SELECT v FROM canary)", "name COLLATE NOCASE", "' || (SELECT v FROM canary) || '",
  "PRAGMA writable_schema=1", "load_extension('x')", "zeroblob(1000000000)", "oid", "rowid", "1", "1,2", "NULL", "TRUE",
  "CURRENT_TIMESTAMP", "1 -- ", "*", "a.b", "main.canary", "(", ")", ",",
  -- comments
  "--", "-- ", "/*", "*/", "/**/", "/*!*/", "a/*b", ";", ";;",
  -- markers and formats
  "?", "?1", ":name", ":1", "@name", "$name", "$1", "::", "\\:x", "a:b", "12:30:45", "%s", "%d", "%", "%%", "%n%n%n%n",
  "%1", "%0", "#{name}", "${name}", "{}",
  -- wildcards
  "_", "__", "100%", "%%%", "a_b", "/", "/%", "[a-z]", "^x",
  -- control bytes
  "\0", "a\0b", "a\0'; DROP TABLE canary;--", "\n", "\r\n", "\t", "\27]0;title\7", "\127", "\26", "\1\2\3",
  -- broken UTF-8: stray, cut, overlong, surrogates, too large
  "\255", "\254\255", "\128", "\195", "\195(", "\226\130", "\192\175", "\224\128\175", "\240\128\128\128",
  "\237\160\128", "\244\144\128\128", "\248\136\128\128\128", "good\255",
  -- Unicode that looks like something else
  "\226\129\166x\226\129\169", "\239\172\129", "\202\188 OR 1=1", "\226\128\153", "\239\191\191", "\244\143\191\191",
  ("\204\136"):rep(30), "\227\128\128", "\226\128\139", "\239\187\191x", "e\204\129", "\195\169", "\196\176", "\240\159\152\128",
  -- blanks
  "", " ", "  lead", "trail  ", "a b",
  -- words
  "__index", "__gc", "__mode", "__newindex", "__metatable", "metadata", "registry", "query", "session", "select", "table",
  "group", "order", "references", "values", "temp", "main", "sqlite_x", "SQLITE_MASTER", "nil", "end", "function", "self",
  "0", "1abc", "a-b", "Name", "constructor",
  -- length
  ("a"):rep(255), ('"'):rep(300), ("'"):rep(3000), ("\240\159\152\128"):rep(5000),
}

local function is_utf8(text)
  local position = 1
  while position <= #text do
    local lead = text:byte(position)
    local size = lead < 128 and 1 or lead >= 194 and lead < 224 and 2 or lead >= 224 and lead < 240 and 3
      or lead >= 240 and lead < 245 and 4
    if not size or position + size - 1 > #text then
      return false
    end
    for offset = 1, size - 1 do
      local byte = text:byte(position + offset)
      if byte < 128 or byte > 191 then
        return false
      end
    end
    local second = text:byte(position + 1)
    if (lead == 224 and second < 160) or (lead == 237 and second > 159) or (lead == 240 and second < 144)
      or (lead == 244 and second > 143) then
      return false
    end
    position = position + size
  end
  return true
end
strings.is_utf8 = is_utf8

--- Whether a text can be the name of a table, column or label at all.
function strings.is_name(text)
  return text ~= "" and #text <= 4096 and not text:find("\0", 1, true) and is_utf8(text)
end

--- All of them, with those that may lie beside the checkout.
function strings.all()
  local list, seen = {}, {}
  local function add(text)
    if not seen[text] then
      seen[text], list[#list + 1] = true, text
    end
  end
  for _, text in ipairs(OWN) do
    add(text)
  end
  for _, entry in ipairs(shared.list("strings", "strings")) do
    add(shared.bytes(entry))
  end
  return list
end

--- A text as a message of a spec shows it.
function strings.show(text)
  return (("%q"):format(text:sub(1, 60)):gsub("[%c\128-\255]", function(byte) return ("\\x%02X"):format(byte:byte()) end))
end

return strings
