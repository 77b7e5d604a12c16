--[[ Lists dead letters, the oldest first, from the time on at which one failed; or looks for some by their ids.

  KEYS  block of the queue; the sorted set of its rejected events
  ARGV  1 again  2 the lowest score  3 the highest score  4 how many  then ids, where only these are wanted
  Result  {'ok', now (ms), flat list of id, score and 1 for a rejected event} or a refusal (include/queue.lua)
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue
--@include letter

local queue, rejected = queue_at(1), KEYS[15]
local refused = refusal(misfit(queue.failed, 'zset') or misfit(rejected, 'zset'))
if refused then return refused end
local ids, flat = {unpack(ARGV, 5)}, {}
if #ids == 0 then ids = rcall('ZRANGEBYSCORE', queue.failed, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4]) end
for _, id in ipairs(ids) do
  local score = rcall('ZSCORE', queue.failed, id)
  if score then
    flat[#flat + 1] = id
    flat[#flat + 1] = score
    flat[#flat + 1] = rcall('ZSCORE', rejected, id) and 1 or 0
  end
end
return {'ok', clock(), flat}
