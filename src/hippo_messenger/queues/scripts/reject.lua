--[[ Records an event that was turned away at `send` as a failed job, and drops the oldest such records beyond a number.

  KEYS  block of the queue; the sorted set of its rejected events
  ARGV  1 again  2 events stream  3 how many to keep  4 id  5 name  6 data  7 reason
  Result  {'ok'} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: the id is the record's own.
]]
--@include queue
--@include add
--@include unique
--@include family
--@include remove
--@include finish

local queue, rejected = queue_at(1), KEYS[15]
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset'))
if refused then return refused end
local id, reason = ARGV[4], ARGV[7]
if rcall('EXISTS', queue.base .. id) == 1 then return {'ok'} end

local now = clock()
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
rcall('INCR', queue.id) -- first, for a full Redis refuses it
rcall('HSET', queue.base .. id, 'name', ARGV[5], 'data', ARGV[6], 'opts', '{"attempts":1,"rejected":true}',
  'timestamp', now, 'delay', 0, 'priority', 0, 'finishedOn', now, 'failedReason', reason, 'stacktrace', '[]')
rcall('ZADD', queue.failed, now, id)
rcall('ZADD', rejected, now, id)
emit(queue, meta, 'failed', 'jobId', id, 'failedReason', reason)
local excess = rcall('ZCARD', rejected) - tonumber(ARGV[3])
if excess > 0 then
  for _, old in ipairs(rcall('ZRANGE', rejected, 0, excess - 1)) do
    rcall('ZREM', rejected, old)
    if rcall('ZREM', queue.failed, old) == 1 then remove_jobs(queue, {old}) end
  end
end
return {'ok'}
