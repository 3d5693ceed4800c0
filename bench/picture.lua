-- picture: bars and curves as SVG, on logarithmic scales. Knows nothing of what is measured.
local picture = {}

local COLOURS = { "#2a6f97", "#61a5c2", "#c9a227", "#9b2226", "#588157" }
local FONT = 'font-family="sans-serif" font-size="12"'

local function escaped(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function text(x, y, anchor, content)
  return ('<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>'):format(x, y, anchor, FONT, escaped(content))
end

local function line(x1, y1, x2, y2, colour)
  return ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>'):format(x1, y1, x2, y2, colour)
end

local function document(width, height, title, parts)
  return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">\n'
    .. '<rect width="100%%" height="100%%" fill="white"/>\n%s\n%s\n</svg>\n'):format(width, height, width, height,
    text(width / 2, 22, "middle", title), table.concat(parts, "\n"))
end

local function legend(parts, names, x, y)
  for number, name in ipairs(names) do
    parts[#parts + 1] = ('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>'):format(x, y - 10, COLOURS[number])
    parts[#parts + 1] = text(x + 18, y, "start", name)
    x = x + 40 + 7 * #name
  end
end

local function short(value)
  return value >= 10000 and ("%gk"):format(value / 1000) or ("%.3g"):format(value)
end

--- Groups of horizontal bars.
---@param title string
---@param groups { name: string, title: string, bars: { [1]: string, [2]: number }[] }[]
---@return string
function picture.bars(title, groups)
  local left, width, bar = 210, 900, 11
  local most, names, seen = 1, {}, {}
  for _, group in ipairs(groups) do
    for _, one in ipairs(group.bars) do
      most = math.max(most, one[2])
      if not seen[one[1]] then
        names[#names + 1], seen[one[1]] = one[1], #names + 1
      end
    end
  end
  local scale = (width - left - 70) / (math.log(most, 10) + 1)
  local function x_of(value) -- the axis begins at a tenth
    return left + math.max(math.log(value, 10) + 1, 0) * scale
  end
  local parts, y = {}, 62
  legend(parts, names, left, 44)
  for _, group in ipairs(groups) do
    parts[#parts + 1] = text(left - 8, y + bar * #group.bars / 2 + 4, "end", group.name .. "  " .. group.title)
    for _, one in ipairs(group.bars) do
      parts[#parts + 1] = ('<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>'):format(left, y, x_of(one[2]) - left,
        bar - 1, COLOURS[seen[one[1]]])
      parts[#parts + 1] = ('<text x="%.1f" y="%.1f" font-family="sans-serif" font-size="9">%s</text>'):format(x_of(one[2]) + 3,
        y + bar - 2, short(one[2]))
      y = y + bar
    end
    y = y + 8
  end
  for power = -1, math.ceil(math.log(most, 10)) do
    local x = x_of(10 ^ power)
    if x <= width then
      parts[#parts + 1] = line(x, 54, x, y, power == 0 and "#000" or "#ddd")
      parts[#parts + 1] = text(x, y + 14, "middle", short(10 ^ power) .. "x")
    end
  end
  return document(width, y + 24, title, parts)
end

--- Curves over powers of ten.
---@param title string
---@param names string[]
---@param curves table<string, { [1]: number, [2]: number }[]>
---@return string
function picture.curves(title, names, curves)
  local left, top, width, height = 70, 60, 760, 420
  local least_x, most_x, most_y = math.huge, 0, 1
  for _, name in ipairs(names) do
    for _, point in ipairs(curves[name]) do
      least_x, most_x, most_y = math.min(least_x, point[1]), math.max(most_x, point[1]), math.max(most_y, point[2])
    end
  end
  local top_power = math.ceil(math.log(most_y, 10))
  local function x_of(value)
    return left + (math.log(value / least_x, 10)) / math.log(most_x / least_x, 10) * (width - left - 30)
  end
  local function y_of(value)
    return top + (1 - math.log(math.max(value, 10), 10) / top_power) * (height - top - 40)
  end
  local parts = {}
  legend(parts, names, left, 44)
  for power = 1, top_power do
    local y = y_of(10 ^ power)
    parts[#parts + 1] = line(left, y, width - 30, y, "#ddd")
    parts[#parts + 1] = text(left - 6, y + 4, "end", short(10 ^ power))
  end
  for number, name in ipairs(names) do
    local points = {}
    for _, point in ipairs(curves[name]) do
      points[#points + 1] = ("%.1f,%.1f"):format(x_of(point[1]), y_of(point[2]))
      if number == 1 then
        parts[#parts + 1] = text(x_of(point[1]), height - 20, "middle", ("%d"):format(point[1]))
      end
    end
    parts[#parts + 1] = ('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>'):format(table.concat(points, " "),
      COLOURS[number])
  end
  return document(width, height, title, parts)
end

return picture
