--[[ Begins, follows, cancels or ends the one redrive that a queue has at a time.

  KEYS  the lock of redriving; its progress
  ARGV  1 again  2 'begin' | 'look' | 'cancel' | 'end'  3 token  4 lease (ms)
        then for begin: fields and values of the progress; for end: the state it ended in
  Result  {'ok', begin: 'begun' or 'busy'; look: ''; cancel: 'cancelled' or 'idle'; end: '', now (ms),
          flat list of the progress, 1 while a redrive is under way} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: a redrive that has begun under this token is not begun anew.
]]
--@include queue

local lock, progress = KEYS[1], KEYS[2]
local refused = refusal(misfit(lock, 'string') or misfit(progress, 'hash'))
if refused then return refused end
local token, lease, now = ARGV[3], ARGV[4], clock()
local acts = {}

function acts.begin()
  local holder = rcall('GET', lock)
  if holder and holder ~= token then return 'busy' end
  if ARGV[1] == '1' and rcall('HGET', progress, 'token') == token then return 'begun' end
  rcall('SET', lock, token, 'PX', lease) -- first, for a full Redis refuses it
  rcall('DEL', progress)
  rcall('HSET', progress, 'token', token, 'state', 'running', 'startedOn', whole(now),
    unpack(ARGV, 5))
  return 'begun'
end

function acts.look() return '' end

function acts.cancel()
  if rcall('EXISTS', lock) == 0 then return 'idle' end
  rcall('HSET', progress, 'cancel', '1')
  return 'cancelled'
end

acts['end'] = function()
  if rcall('GET', lock) == token then rcall('DEL', lock) end
  if rcall('HGET', progress, 'token') == token then
    rcall('HSET', progress, 'state', ARGV[5], 'endedOn', whole(now))
  end
  return ''
end

local answer = acts[ARGV[2]]()
return {'ok', answer, now, rcall('HGETALL', progress), rcall('EXISTS', lock)}
