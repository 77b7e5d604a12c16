-- The duplicate window: digests of events in sets that each cover half a window, so that looking at three of them
-- covers at least one whole window. A set goes by itself when its time is over.

-- The sets that cover the window, the one in use first, and how long (ms) each is in use.
local function window_sets(base, window, now)
  local span = math.max(math.floor(window / 2), 1)
  local sets = {}
  for back = 0, 2 do sets[back + 1] = base .. ':' .. string.format('%.0f', math.floor(now / span) - back) end
  return sets, span
end

-- What is wrong with the sets, or nil. After this `first_seen` can't raise.
local function window_misfit(base, window, now)
  for _, key in ipairs((window_sets(base, window, now))) do
    local found = misfit(key, 'set')
    if found then return found end
  end
  return nil
end

-- Remembers digests. Result: for each, true if it was not known.
local function first_seen(base, window, now, digests)
  local sets, span = window_sets(base, window, now)
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
  for at, digest in ipairs(digests) do
    if within[digest] then fresh[at] = false end
    within[digest] = true
    if fresh[at] then new[#new + 1] = digest end
  end
  if #new > 0 then
    in_slices(new, function(...) rcall('SADD', sets[1], ...) end)
    rcall('PEXPIRE', sets[1], 3 * span)
  end
  return fresh
end
