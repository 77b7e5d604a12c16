-- The duplicate window: digests of events in sets that each cover half a window, so that looking at three of them
-- covers at least one whole window. A set goes by itself when its time is over.

-- The window's own clock, and how far it is ahead: as Redis' for as long as that goes forward. Where that was set back
-- this one goes on from where it stood, or no set of before would be looked at.
local function window_clock(base, now)
  local last, ahead = string.match(rcall('GET', base .. ':clock') or '', '^(%d+) (%d+)$')
  last, ahead = counted(last), counted(ahead)
  if not last or not ahead then return now, 0 end
  ahead = ahead + math.max(last - now, 0)
  return now + ahead, ahead
end

-- The sets that cover the window, the one in use first, and how long (ms) each is in use.
local function window_sets(base, window, now)
  local span = math.max(math.floor(window / 2), 1)
  local time, ahead = window_clock(base, now)
  local sets = {}
  for back = 0, 2 do sets[back + 1] = base .. ':' .. string.format('%.0f', math.floor(time / span) - back) end
  return sets, span, ahead
end

-- What is wrong with the sets, or nil. After this `first_seen` can't raise.
local function window_misfit(base, window, now)
  local clock_misfit = misfit(base .. ':clock', 'string')
  if clock_misfit then return clock_misfit end
  for _, key in ipairs((window_sets(base, window, now))) do
    local found = misfit(key, 'set')
    if found then return found end
  end
  return nil
end

-- Remembers digests. Result: for each, true if it was not known.
local function first_seen(base, window, now, digests)
  local sets, span, ahead = window_sets(base, window, now)
  local fresh, new = {}, {}
  for at = 1, #digests do fresh[at] = true end
  for _, key in ipairs(sets) do
    for first = 1, #digests, SLICE do
      local last = math.min(first + SLICE - 1, #digests)
      local known = rcall('SMISMEMBER', key, unpack(digests, first, last))
      for at = first, last do
        if known[at - first + 1] == 1 then fresh[at] = false end
      end
    end
  end
  local within = {}
  for at = 1, #digests do
    local digest = digests[at]
    if within[digest] then fresh[at] = false end
    within[digest] = true
    if fresh[at] then new[#new + 1] = digest end
  end
  if #new > 0 then
    in_slices(new, function(...) rcall('SADD', sets[1], ...) end)
    rcall('PEXPIRE', sets[1], 3 * span)
    rcall('SET', base .. ':clock', string.format('%.0f %.0f', now, ahead), 'PX', 3 * span)
  end
  return fresh
end
