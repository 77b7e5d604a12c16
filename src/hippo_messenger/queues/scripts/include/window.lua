-- The duplicate window: digests of events in sets that each cover half a window, so that looking at three of them
-- covers at least one whole window. A set goes by itself when its time is over.

local function window_clock_key(base) return base .. ':clock' end

-- The window at a time, or nil and what is wrong with its clock. base: of its keys; length: ms
-- sets: that cover it, the one in use first; span: how long (ms) each is in use
-- Its own clock goes as Redis' for as long as that goes forward. Where that was set back this one goes on from where it
-- stood, or no set of before would be looked at. ahead: how far (ms) it is ahead
local function window_at(base, length, now)
  local clock_key = window_clock_key(base)
  local wrong = text_misfit(clock_key)
  if wrong then return nil, wrong end
  local last, ahead = string.match(text_at(clock_key) or '', '^(%d+) (%d+)$')
  last, ahead = counted(last), counted(ahead)
  ahead = last and ahead and ahead + math.max(last - now, 0) or 0
  local window = {clock_key = clock_key, now = now, ahead = ahead, span = math.max(math.floor(length / 2), 1), sets = {}}
  local place = math.floor((now + ahead) / window.span)
  for back = 0, 2 do window.sets[back + 1] = base .. ':' .. whole(place - back) end
  return window
end

-- Whether each digest is known by now; or nil and what is wrong with a set. After this nothing written to them can raise.
local function known_in(window, digests)
  local known = {}
  for at = 1, #digests do known[at] = false end
  for _, key in ipairs(window.sets) do
    for first = 1, #digests, SLICE do
      local last = math.min(first + SLICE - 1, #digests)
      local found = rpcall('SMISMEMBER', key, unpack(digests, first, last))
      if found.err then return nil, misfit(key, 'set') or found.err end
      for at = first, last do known[at] = known[at] or found[at - first + 1] == 1 end
    end
  end
  return known
end

-- Which of some digests come for the first time: for each whether it does, or nil and what is wrong with a set. Nothing is
-- written: that is for `remember`, once what they stand for is written.
local function first_seen(window, digests)
  local known, wrong = known_in(window, digests)
  if wrong then return nil, wrong end
  local fresh, within = {}, {}
  for at = 1, #digests do
    local digest = digests[at]
    fresh[at] = not (known[at] or within[digest])
    within[digest] = true
  end
  return fresh
end

local function remember(window, digests)
  if #digests == 0 then return end
  local kept = whole(3 * window.span)
  in_slices(digests, function(...) rcall('SADD', window.sets[1], ...) end)
  rcall('PEXPIRE', window.sets[1], kept)
  rcall('SET', window.clock_key, whole(window.now) .. ' ' .. whole(window.ahead), 'PX', kept)
end
