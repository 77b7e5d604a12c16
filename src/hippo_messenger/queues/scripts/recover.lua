--[[ Puts jobs whose worker died back to the head of the line, as BullMQ's moveStalledJobsToWait: a job counts as such when
  it stood in `active` at the last check and has no lock at this one. One that stalls too often is marked to fail.

  KEYS  block of the queue; stalled-check; repeat (the schedulers)
  ARGV  1 again  2 events stream  3 stalls allowed  4 how long (ms) this check stays fresh
  Result  {'ok', ids put back, ms for which the last check is fresh} or a refusal (include/queue.lua); nothing is put back
          while an earlier check is fresh
  Atomic  the whole.
  Repeat  does nothing, since the check of the lost call is fresh.
]]
--@include queue

local BLOCK = 14
local queue = queue_at(1)
local check, schedulers = KEYS[BLOCK + 1], KEYS[BLOCK + 2]
local refused = refusal(queue_misfit(queue) or misfit(check, 'string') or misfit(schedulers, 'zset'))
if refused then return refused end
local now = clock()
-- A check from the future was made before the clock was set back, and would look fresh for as long as that.
local checked = rcall('GET', check)
if checked and (counted(checked) or 0) < now + 60000 then return {'ok', {}, rcall('PTTL', check)} end

rcall('SET', check, now, 'PX', ARGV[4])
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
trim_events(queue, meta)

-- A scheduler's job is never given up for stalling: its next one is only scheduled when it is taken.
local function is_scheduled(key)
  local scheduler = rcall('HGET', key, 'rjk')
  if not scheduler then return false end
  return rcall('EXISTS', schedulers .. ':' .. scheduler) == 1 or rcall('ZSCORE', schedulers, scheduler) ~= false
end

local function count_stall(id)
  local key = queue.base .. id
  local stalls = (counted(rcall('HGET', key, 'stc')) or 0) + 1
  rcall('HSET', key, 'stc', stalls)
  if stalls > tonumber(ARGV[3]) and not is_scheduled(key) then
    rcall('HSET', key, 'defa', 'job stalled more than allowable limit')
  end
end

local recovered = {}
local stalled = rcall('SMEMBERS', queue.stalled)
rcall('DEL', queue.stalled)
for _, id in ipairs(stalled) do
  local key = queue.base .. id
  if rcall('EXISTS', key .. ':lock') == 0 and rcall('LREM', queue.active, 1, id) > 0 then
    if rcall('TYPE', key).ok == 'hash' then
      count_stall(id)
      rcall('RPUSH', queue.wait, id)
      emit(queue, meta, 'waiting', 'jobId', id, 'prev', 'active')
      emit(queue, meta, 'stalled', 'jobId', id)
    end
    recovered[#recovered + 1] = id
  end
end
if #recovered > 0 then
  meta.maxed = meta.concurrency ~= nil and rcall('LLEN', queue.active) >= meta.concurrency
  mark_available(queue, meta)
end
in_slices(rcall('LRANGE', queue.active, 0, -1), function(...) rcall('SADD', queue.stalled, ...) end)
return {'ok', recovered, tonumber(ARGV[4])}
