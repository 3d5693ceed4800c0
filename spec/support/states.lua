-- states: where an object stands towards a session, as the session itself says.
local states = {}

local function holds(list, object)
  for _, one in ipairs(list) do
    if one == object then
      return true
    end
  end
  return false
end

--- "new" (waits for its INSERT), "deleted" (waits for its DELETE), "dirty", "clean", or "outside" the session.
function states.of(session, object)
  if holds(session.new, object) then
    return "new"
  elseif holds(session.deleted, object) then
    return "deleted"
  elseif not session:contains(object) then
    return "outside"
  end
  return holds(session.dirty, object) and "dirty" or "clean"
end

--- The states of several objects as one string: "new clean".
function states.list(session, ...)
  local words = {}
  for position, object in ipairs { ... } do
    words[position] = states.of(session, object)
  end
  return table.concat(words, " ")
end

return states
