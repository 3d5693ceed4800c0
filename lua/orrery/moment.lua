--- moment: ISO-8601 texts as seconds since 1970, as os.date("*t") tables, and moved to UTC. Works on text that the
-- core has checked ("YYYY-MM-DD", "YYYY-MM-DD HH:MM:SS[.ffffff]"); knows no clock and no table of zones.
local moment = {}

local DAY = 86400
local tointeger = rawget(math, "tointeger")

-- Days from 1970-01-01 in the proleptic Gregorian calendar; the year begins in March so that a leap day is its last.
local function days_of(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leaps + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

local function date_of(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local of_era = days - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day
end

-- A whole number as the integer it is on Lua 5.3 and later.
local function whole(number)
  return tointeger and tointeger(number) or number
end

--- The parts of a date, a time or both as an os.date("*t") table, with usec where there are microseconds; nil where
--- the text is none of these.
---@param text string
---@return table?
function moment.to_table(text)
  local parts = {}
  local year, month, day, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)[T ]?(.*)$")
  if year then
    parts.year, parts.month, parts.day = whole(tonumber(year)), whole(tonumber(month)), whole(tonumber(day))
  end
  local hour, min, sec, fraction = (rest or text):match("^(%d%d):(%d%d):(%d%d)%.?(%d*)$")
  if hour then
    parts.hour, parts.min, parts.sec = whole(tonumber(hour)), whole(tonumber(min)), whole(tonumber(sec))
    parts.usec = fraction ~= "" and whole(tonumber((fraction .. "00000"):sub(1, 6))) or nil
  elseif not year or rest ~= "" then
    return nil
  end
  return parts
end

--- Seconds since 1970 of a UTC date and time; a fraction only where there are microseconds. nil for other text.
---@param text string
---@return number?
function moment.to_epoch(text)
  local parts = moment.to_table(text)
  if not parts or not parts.year then
    return nil
  end
  local seconds = days_of(parts.year, parts.month, parts.day) * DAY + (parts.hour or 0) * 3600
    + (parts.min or 0) * 60 + (parts.sec or 0)
  return parts.usec and seconds + parts.usec / 1e6 or whole(seconds)
end

--- The UTC date and time of seconds since 1970, to the microsecond; nil outside the years 1 to 9999.
---@param seconds number
---@return string?
function moment.from_epoch(seconds)
  local full = math.floor(seconds)
  local micro = math.floor((seconds - full) * 1e6 + 0.5)
  if micro == 1000000 then
    full, micro = full + 1, 0
  end
  local days = math.floor(full / DAY)
  if not (days >= -719162 and days <= 2932896) then
    return nil
  end
  local year, month, day = date_of(days)
  local time = full - days * DAY
  local text = ("%04d-%02d-%02d %02d:%02d:%02d"):format(year, month, day, math.floor(time / 3600),
    math.floor(time / 60) % 60, time % 60)
  return micro == 0 and text or ("%s.%06d"):format(text, micro)
end

--- Splits a trailing zone off a date and time: the text without it and its offset in minutes east of UTC; nil
--- where no zone is written.
---@param text string
---@return string?, integer?
function moment.split_zone(text)
  local plain = text:match("^(.*:%d%d.*)[Zz]$")
  if plain then
    return plain, 0
  end
  local before, sign, hours, minutes = text:match("^(.*:%d%d%.?%d*)([+-])(%d%d):?(%d?%d?)$")
  if not before or (#minutes == 1) or tonumber(hours) > 23 or (tonumber(minutes) or 0) > 59 then
    return nil
  end
  return before, (sign == "-" and -1 or 1) * (tonumber(hours) * 60 + (tonumber(minutes) or 0))
end

--- A checked date and time moved back by `offset` minutes: what a zone's clock shows, in UTC. nil outside the years
--- 1 to 9999.
---@param text string
---@param offset integer
---@return string?
function moment.to_utc(text, offset)
  local fraction = text:match("%.%d+$") or ""
  local shifted = moment.from_epoch(moment.to_epoch((text:gsub("%.%d+$", ""))) - offset * 60)
  return shifted and shifted .. fraction
end

return moment
