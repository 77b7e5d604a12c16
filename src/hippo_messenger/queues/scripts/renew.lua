--[[ Renews the locks of many jobs, as BullMQ's extendLocks.

  KEYS  block of the queue
  ARGV  1 again  2 lock (ms)  then for each job: id, token
  Result  {'ok', the places, from 1, of the jobs that are no longer held by their token}: an id may be there twice, under
          the token of a take that lost it and that of a later one
  Repeat  does no harm.
]]
--@include queue

local queue = queue_at(1)
local lost = {}
for at = 3, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local lock = queue.base .. id .. ':lock'
  if rpcall('GET', lock) == token then
    -- Not SET, as BullMQ: a full Redis refuses that, and every job in hand would be taken for stalled.
    rcall('PEXPIRE', lock, ARGV[2])
    rpcall('SREM', queue.stalled, id)
  else
    lost[#lost + 1] = (at - 1) / 2
  end
end
return {'ok', lost}
