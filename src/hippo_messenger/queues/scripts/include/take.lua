-- Takes up to a number of jobs: promotes what is due, honours pause, global concurrency and rate limit, locks each job
-- with one token, and reads what a worker needs. As BullMQ's moveToActive, for many jobs at once.

local FIELDS = 6 -- of each job in what `take` returns

-- Moves due jobs from delayed to wait or prioritized.
local function promote_delayed(queue, meta, now)
  if is_plain[queue.base] then return end
  local due = rcall('ZRANGEBYSCORE', queue.delayed, 0, (now + 1) * 0x1000 - 1, 'LIMIT', 0, SLICE)
  if #due == 0 then return end
  rcall('ZREM', queue.delayed, unpack(due))
  for _, id in ipairs(due) do
    local key = queue.base .. id
    local found = rpcall('HMGET', key, 'priority', 'name')
    local priority = priority_in(found[1])
    if priority == 0 then rcall('LPUSH', queue.wait, id) else add_prioritized(queue, id, priority) end
    emit(queue, meta, 'waiting', 'jobId', id, 'prev', 'delayed')
    if found[2] then rcall('HSET', key, 'delay', 0) end
  end
  mark_available(queue, meta)
end

-- Whether nothing more is to be read: the number, the bytes or the rate limit is reached, or too many were no jobs.
local function is_full(batch)
  return batch.count >= batch.room or batch.left <= 0 or #batch.broken >= SLICE
    or batch.count > 0 and batch.bytes >= batch.max_bytes
end

-- What a worker needs of a job's hash; a job that was never tried has no more than the first four. One that is retried may
-- have any of the others without the rest.
local function read_fields(key)
  return rpcall('HMGET', key, 'name', 'data', 'opts', 'timestamp', 'atm', 'ats', 'defa', 'stacktrace')
end

-- What a job has beside its first four fields: attempts made, attempts started, why it is to fail, scheduler, traces;
-- or false for one that has none of them. Only a scheduler's jobs have one, and such ids.
local function history(key, id, fields)
  local made, started, deferred, traces = fields[5], fields[6], fields[7], fields[8]
  local scheduler = string.find(id, 'repeat:', 1, true) == 1 and rcall('HGET', key, 'rjk')
  return (made or started or deferred or traces or scheduler) and {made, started, deferred, scheduler, traces} or false
end

-- Reads jobs in the order given until the batch is full; how many it read.
-- A job whose hash is gone or is no whole job is put aside: it must not hold up the others.
local function read_jobs(queue, ids, batch)
  local base, list, taken, keys = queue.base, batch.list, batch.ids, batch.keys
  for read = 1, #ids do
    if is_full(batch) then return read - 1 end
    local id = ids[read]
    local key = base .. id
    local fields = read_fields(key)
    local name, data = fields[1], fields[2]
    local reserved = queue[id] and id ~= 'base' -- its hash would be a key of the queue itself
    if reserved or fields.err or not name or not data then
      batch.broken[#batch.broken + 1] = id
      if not reserved and (name or data) then batch.torn[#batch.torn + 1] = id end
    else
      local count = batch.count + 1
      local last = FIELDS * count
      batch.count, batch.bytes = count, batch.bytes + #data
      if not fields[7] then batch.left = batch.left - 1 end
      taken[count], keys[count] = id, key
      list[last - 5], list[last - 4], list[last - 3] = id, name, data
      list[last - 2], list[last - 1], list[last] = fields[3], fields[4], history(key, id, fields)
    end
  end
  return #ids
end

-- Takes from `wait`, whose tail is the head of the line. Result: whether all of it was not enough.
local function take_waiting(queue, batch)
  while not is_full(batch) do
    local wanted = math.min(batch.room - batch.count, SLICE)
    local tail = rcall('LRANGE', queue.wait, whole(-wanted), '-1')
    local line, length = {}, #tail
    for at = 1, length do line[at] = tail[length + 1 - at] end
    local read = read_jobs(queue, line, batch)
    if read > 0 then rcall('RPOP', queue.wait, whole(read)) end
    if read == length and length < wanted then return true end
  end
  return false
end

local function take_prioritized(queue, batch)
  while not is_full(batch) do
    local line = rcall('ZRANGE', queue.prioritized, 0, math.min(batch.room - batch.count, SLICE) - 1)
    if #line == 0 then return true end
    local read = read_jobs(queue, line, batch)
    if read > 0 then rcall('ZREMRANGEBYRANK', queue.prioritized, 0, read - 1) end
  end
  return false
end

-- Shows what is left of a job among the failed ones, where somebody can mend it.
local function fail_torn(queue, meta, now, id, previous)
  local reason = 'its hash has lost its name or its data'
  rcall('HSET', queue.base .. id, 'failedReason', reason, 'finishedOn', now)
  rcall('ZADD', queue.failed, now, id)
  emit(queue, meta, 'failed', 'jobId', id, 'failedReason', reason, 'prev', previous)
end

-- Jobs that this token holds already: what an earlier try of this call took before its reply was lost.
local function held_by(queue, token, batch)
  local active = rcall('LRANGE', queue.active, 0, -1)
  for at = #active, 1, -1 do
    if rpcall('GET', queue.base .. active[at] .. ':lock') == token then
      batch.room = batch.room + 1
      read_jobs(queue, {active[at]}, batch)
    end
  end
  batch.broken, batch.torn = {}, {} -- these are left to the check for jobs of the dead, as all that nobody renews
end

-- How many jobs the rate limit leaves, and how long (ms) it lasts when that is none.
local function limit_left(queue, meta)
  if not meta.limit then return math.huge, 0 end
  -- BullMQ lets one job through where the limit is 0; to let none through would wake workers for ever.
  local limit = math.max(meta.limit, 1)
  local left = limit - (tonumber(rcall('GET', queue.limiter)) or 0)
  if left > 0 then return left, 0 end
  local ttl = rcall('PTTL', queue.limiter)
  if ttl == 0 then rcall('DEL', queue.limiter) end
  if ttl > 0 then return 0, ttl end
  return limit, 0
end

-- As `emit`, for all at once.
local function emit_active(queue, ids)
  local events = queue.events
  copy_to(REPLICAS)
  for at = 1, #ids do rpcall('XADD', events, '*', 'event', 'active', 'jobId', ids[at], 'prev', 'waiting') end
  copy_to(EVERYWHERE)
end

local function start_jobs(queue, meta, now, order, batch)
  if batch.count == 0 then return end
  local token, worker, keys, list = order.token, order.worker, batch.keys, batch.list
  local time, limited = whole(now), 0
  local locked_until = whole(now + order.lock) -- what Redis would make of a time to live, one by one
  for at = 1, #batch.ids do
    local key, earlier, started = keys[at], list[FIELDS * at], '1'
    if earlier then
      started = whole((counted(earlier[2]) or 0) + 1)
      earlier[2] = started
    end
    rcall('SET', key .. ':lock', token, 'PXAT', locked_until)
    if worker ~= '' then
      rcall('HSET', key, 'processedOn', time, 'ats', started, 'pb', worker)
    else
      rcall('HSET', key, 'processedOn', time, 'ats', started)
    end
    if not (earlier and earlier[3]) then limited = limited + 1 end
  end
  if meta.stream then emit_active(queue, batch.ids) end
  in_slices(batch.ids, function(...) rcall('LPUSH', queue.active, ...) end)
  if meta.limit and limited > 0 and rcall('INCRBY', queue.limiter, limited) == limited then
    rcall('PEXPIRE', queue.limiter, meta.limit_duration or 1000)
  end
end

-- order: token, lock (ms), count, max_bytes, worker (its name or ''), again (true: a repeat of a call without reply)
-- Result: {for each job: id, name, data, options, timestamp and `history`; broken ids; ms until the next delayed job or
-- -1; ms until the rate limit ends; 1 if more wait}
local function take(queue, meta, now, order)
  local batch = {room = 0, left = math.huge, max_bytes = order.max_bytes, count = 0, bytes = 0, ids = {},
    keys = {}, list = {}, broken = {}, torn = {}}
  local limited_for, more = 0, 0
  if order.again then held_by(queue, order.token, batch) end
  if batch.count == 0 and order.count > 0 then
    promote_delayed(queue, meta, now)
    batch.left, limited_for = limit_left(queue, meta)
    if not meta.paused then
      batch.room = batch.left > 0 and order.count or 0
      if meta.concurrency then batch.room = math.min(batch.room, meta.concurrency - rcall('LLEN', queue.active)) end
      if batch.room > 0 then
        meta.none_wait = take_waiting(queue, batch)
        if meta.none_wait and not is_plain[queue.base] then
          meta.none_wait = take_prioritized(queue, batch)
          if meta.none_wait then rcall('DEL', queue.pc) end
        end
        for _, id in ipairs(batch.torn) do fail_torn(queue, meta, now, id, 'waiting') end
        start_jobs(queue, meta, now, order, batch)
      end
      if not meta.none_wait and some_wait(queue) then
        more = 1
        meta.maxed = meta.concurrency ~= nil and rcall('LLEN', queue.active) >= meta.concurrency
        if limited_for == 0 then mark_available(queue, meta) end
      end
    end
  end
  local due = next_delayed(queue)
  return {batch.list, batch.broken, due and math.max(due - now, 0) or -1, limited_for, more}
end
