--[[ Pauses a queue that holds too many failed jobs, as BullMQ's pause does.

  KEYS  block of the queue
  ARGV  1 again  2 events stream  3 how many failed jobs are too many
  Result  {'ok', 1 if it was paused just now, else 0} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm.
]]
--@include queue

local queue = queue_at(1)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
if meta.paused or rcall('ZCARD', queue.failed) < tonumber(ARGV[3]) then return {'ok', 0} end
rcall('HSET', queue.meta, 'paused', 1)
rcall('DEL', queue.marker)
emit(queue, meta, 'paused')
return {'ok', 1}
