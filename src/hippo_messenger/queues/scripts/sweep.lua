--[[ Removes the jobs of a service that is not registered any more, some at a time, and with the last of them its queue.

  KEYS  block of the queue; stalled-check; the sorted set of its rejected events; metrics of completed, and their data;
        metrics of failed, and their data; how its last redrive went; what was discarded of it; registry
  ARGV  1 again  2 events stream  3 service  4 'drained' (only once nothing waits, runs or has failed) or 'all'
        5 how many jobs at most
  Result  {'ok', what it came to, jobs to be done that were removed, waiting, active, failed} or a refusal
          (include/queue.lua)
            'gone'        nothing is left
            'more'        there is more to remove: call again
            'left'        what the counts say is still there; of 'all' these are jobs in a worker's hand
            'registered'  the service is: nothing was done
  Atomic  the whole. Records of rejected events count neither as failed nor as jobs to be done.
  Repeat  does no harm: it goes on, and counts what it removes itself.
]]
--@include queue
--@include add
--@include unique
--@include family
--@include remove
--@include finish
--@include records

local queue = queue_at(1)
local extras, rejected, registry = {unpack(KEYS, 15, 22)}, KEYS[16], KEYS[23]
local service, is_all, room = ARGV[3], ARGV[4] == 'all', tonumber(ARGV[5])
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset') or misfit(registry, 'hash'))
if refused then return refused end
if rcall('HEXISTS', registry, service) == 1 then return {'ok', 'registered', 0, 0, 0, 0} end

local function counts()
  local waiting = rcall('LLEN', queue.wait) + rcall('ZCARD', queue.prioritized) + rcall('ZCARD', queue.delayed)
  return waiting, rcall('LLEN', queue.active), rcall('ZCARD', queue.failed) - count_records(queue, rejected)
end

local waiting, active, failed = counts()
if not is_all and waiting + active + failed > 0 then return {'ok', 'left', 0, waiting, active, failed} end

local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'

local function remove(ids)
  for _, id in ipairs(ids) do
    local unique = rpcall('HGET', queue.base .. id, 'deid')
    if type(unique) == 'string' then free_unique(queue, id, unique) end
  end
  drop_finished(queue, meta, 'failed', ids)
  room = room - #ids
end

local function remove_set(set)
  while room > 0 do
    local ids = rcall('ZRANGE', set, 0, math.min(room, SLICE) - 1)
    if #ids == 0 then return end
    remove(ids)
    in_slices(ids, function(...) rcall('ZREM', set, ...) end)
    if set == queue.failed then in_slices(ids, function(...) rcall('ZREM', rejected, ...) end) end
  end
end

while room > 0 do
  local ids = rcall('LRANGE', queue.wait, 0, math.min(room, SLICE) - 1)
  if #ids == 0 then break end
  remove(ids)
  rcall('LTRIM', queue.wait, #ids, -1)
end
for _, set in ipairs({queue.prioritized, queue.delayed, queue.failed, queue.completed}) do remove_set(set) end

local waiting_left, active_left, failed_left = counts()
local removed = waiting + failed - waiting_left - failed_left
if room <= 0 then return {'ok', 'more', removed, waiting_left, active_left, failed_left} end
if active_left > 0 then return {'ok', 'left', removed, waiting_left, active_left, failed_left} end
for _, name in ipairs(QUEUE_KEYS) do rcall('DEL', queue[name]) end
rcall('DEL', unpack(extras))
return {'ok', 'gone', removed, 0, 0, 0}
