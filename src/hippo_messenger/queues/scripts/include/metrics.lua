-- Counts what has finished by the minute, as BullMQ's collectMetrics does; getMetrics and bull-board read it.

-- Counts so many jobs that finished now. set: 'completed' or 'failed'; minutes: how many are kept, 0 for none
-- Counting must harm nobody: where a key holds something else, this is left out.
local function count_finished(queue, set, number, minutes, now)
  if minutes < 1 or number < 1 then return end
  local key = queue.base .. 'metrics:' .. set
  local data = key .. ':data'
  local total = rpcall('HINCRBY', key, 'count', whole(number))
  if type(total) ~= 'number' then return end
  local before = total - number
  local found = rcall('HMGET', key, 'prevTS', 'prevCount')
  local since, counted_then = counted(found[1]), counted(found[2])
  if not since or not counted_then then
    rcall('HSET', key, 'prevTS', now, 'prevCount', 0)
    return
  end
  local passed = math.min(math.floor(now / 60000) - math.floor(since / 60000), minutes)
  if passed < 1 or misfit(data, 'list') then return end
  local points = {before - counted_then}
  for at = 2, passed do points[at] = 0 end
  in_slices(points, function(...) rcall('LPUSH', data, ...) end)
  rcall('LTRIM', data, 0, minutes - 1)
  rcall('HSET', key, 'prevCount', before, 'prevTS', now)
end
