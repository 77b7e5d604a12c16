-- Ends a worker's hold on a job, as BullMQ's removeLock, moveToFinished, moveToDelayed, retryJob and
-- moveJobFromActiveToWait do.

-- Lets go of a job. Result: nil, or why it is not this worker's: 'lost' (the lock is), 'gone' (the job's hash is).
local function release(queue, id, token)
  local key = queue.base .. id
  if rpcall('GET', key .. ':lock') ~= token then return 'lost' end
  rcall('DEL', key .. ':lock')
  rcall('SREM', queue.stalled, id)
  if rcall('LREM', queue.active, -1, id) == 0 then return 'lost' end
  if rcall('TYPE', key).ok ~= 'hash' then return 'gone' end
  return nil
end

local function count_attempt(queue, id)
  local key = queue.base .. id
  local made = (tonumber(rcall('HGET', key, 'atm')) or 0) + 1
  rcall('HSET', key, 'atm', made)
  return made
end

local function remove_job(queue, id)
  local key = queue.base .. id
  rcall('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
    key .. ':unsuccessful')
end

-- Removes finished jobs beyond their age and number, oldest first. keep: age (s or nil), count (or nil)
local function trim_finished(queue, set, keep, now)
  if keep.age then
    local before = now - keep.age * 1000
    local old = rcall('ZREVRANGEBYSCORE', set, before, '-inf', 'LIMIT', 0, SLICE)
    for _, id in ipairs(old) do remove_job(queue, id) end
    if #old > 0 then rcall('ZREM', set, unpack(old)) end
  end
  if keep.count and keep.count > 0 then
    local excess = rcall('ZCARD', set) - keep.count
    while excess > 0 do
      local oldest = rcall('ZRANGE', set, 0, math.min(excess, SLICE) - 1)
      for _, id in ipairs(oldest) do remove_job(queue, id) end
      rcall('ZREM', set, unpack(oldest))
      excess = excess - #oldest
    end
  end
end

-- Finishes a job that `release` has let go of. set: 'completed' or 'failed'; field: 'returnvalue' or 'failedReason'
local function finish(queue, meta, now, job)
  local key = queue.base .. job.id
  local made = count_attempt(queue, job.id)
  if job.keep.count == 0 then
    remove_job(queue, job.id)
  else
    rcall('ZADD', queue[job.set], now, job.id)
    rcall('HSET', key, job.field, job.value, 'finishedOn', now)
    if job.set == 'failed' then
      if job.stacktrace ~= '' then rcall('HSET', key, 'stacktrace', job.stacktrace) end
      rcall('HDEL', key, 'defa')
    end
  end
  emit(queue, meta, job.set, 'jobId', job.id, job.field, job.value, 'prev', 'active')
  if job.set == 'failed' and made >= job.attempts then
    emit(queue, meta, 'retries-exhausted', 'jobId', job.id, 'attemptsMade', made)
  end
end

-- Says that nothing is left, as BullMQ does when the last job of a queue is finished.
local function emit_if_drained(queue, meta)
  if rcall('LLEN', queue.wait) == 0 and rcall('LLEN', queue.active) == 0 and rcall('ZCARD', queue.prioritized) == 0 then
    emit(queue, meta, 'drained')
  end
end
