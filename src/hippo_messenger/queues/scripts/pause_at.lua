--[[ Pauses a queue that holds too many dead letters, as BullMQ's pause does.

  KEYS  block of the queue; the sorted set of its rejected events
  ARGV  1 again  2 events stream  3 how many dead letters are too many
  Result  {'ok', 1 if it was paused just now, else 0} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm.
]]
--@include queue
--@include records

local queue, rejected = queue_at(1), KEYS[15]
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset'))
if refused then return refused end
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
local limit = tonumber(ARGV[3])
local failed = rcall('ZCARD', queue.failed)
if meta.paused or failed < limit or failed - count_records(queue, rejected) < limit then return {'ok', 0} end
rcall('HSET', queue.meta, 'paused', 1)
rcall('DEL', queue.marker)
emit(queue, meta, 'paused')
return {'ok', 1}
