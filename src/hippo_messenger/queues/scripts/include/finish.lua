-- Ends a worker's hold on a job, as BullMQ's removeLock, moveToFinished, moveToDelayed, retryJob and
-- moveJobFromActiveToWait do.

-- Whether a job stands in a list or set other than `active`.
local function stands_elsewhere(queue, id)
  for _, set in ipairs({'delayed', 'failed', 'completed', 'prioritized'}) do
    if rcall('ZSCORE', queue[set], id) then return true end
  end
  return rcall('LPOS', queue.wait, id) ~= false
end

-- Lets go of a job. Result: nil, or why it is not this worker's: 'lost' (the lock is, or the job was moved meanwhile, as
-- BullMQ's moveToFailed does without a lock), 'gone' (the job's hash is).
-- The lock says whose the job is: where somebody has emptied `active`, the job ends as if it stood there.
local function release(queue, id, token)
  local key = queue.base .. id
  if rpcall('GET', key .. ':lock') ~= token then return 'lost' end
  rcall('DEL', key .. ':lock')
  rcall('SREM', queue.stalled, id)
  if rcall('LREM', queue.active, -1, id) == 0 and stands_elsewhere(queue, id) then return 'lost' end
  if rcall('TYPE', key).ok ~= 'hash' then return 'gone' end
  return nil
end

local function count_attempt(queue, id)
  local key = queue.base .. id
  local made = (counted(rcall('HGET', key, 'atm')) or 0) + 1
  rcall('HSET', key, 'atm', made)
  return made
end

local function remove_job(queue, id)
  local key = queue.base .. id
  rcall('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
    key .. ':unsuccessful')
end

local function drop_finished(queue, meta, id)
  local key = queue.base .. id
  local parent_key = rpcall('HGET', key, 'parentKey')
  local parent = type(parent_key) == 'string' and parent_of(parent_key)
  if parent and not parent_misfit(parent) then forget_child(parent, key, meta.stream) end
  remove_job(queue, id)
end

-- Removes finished jobs beyond their age and number, oldest first. keep: age (s or nil), count (or nil)
local function trim_finished(queue, meta, set, keep, now)
  if keep.age then
    local before = now - keep.age * 1000
    local old = rcall('ZREVRANGEBYSCORE', set, before, '-inf', 'LIMIT', 0, SLICE)
    for _, id in ipairs(old) do drop_finished(queue, meta, id) end
    if #old > 0 then rcall('ZREM', set, unpack(old)) end
  end
  if keep.count and keep.count > 0 then
    local excess = rcall('ZCARD', set) - keep.count
    while excess > 0 do
      local oldest = rcall('ZRANGE', set, 0, math.min(excess, SLICE) - 1)
      for _, id in ipairs(oldest) do drop_finished(queue, meta, id) end
      rcall('ZREM', set, unpack(oldest))
      excess = excess - #oldest
    end
  end
end

local function fail_instead(job, reason)
  job.set, job.field, job.value, job.stacktrace = 'failed', 'failedReason', reason, ''
  job.attempts, job.keep = math.huge, {}
end

-- Tells a job's parent how it ended. Where the parent can't be told the job fails, so that it can be told on a redrive.
local function tell_parent(queue, meta, now, job, parent)
  local key = queue.base .. job.id
  local reason = parent_misfit(parent)
  parent.untold = reason ~= nil
  if reason then
    if job.set == 'completed' then
      fail_instead(job, 'done, but its parent ' .. parent.key .. ' could not be told: ' .. reason)
    end
  elseif job.set == 'completed' then
    tell_parent_completed(parent, key, job.value, meta.stream, now)
  else
    tell_parent_failed(parent, key, job.value, meta.stream, now)
  end
end

-- Finishes a job that `release` has let go of. set: 'completed' or 'failed'; field: 'returnvalue' or 'failedReason'
local function finish(queue, meta, now, job)
  local key = queue.base .. job.id
  local reason = job.set == 'completed' and unfinished(key, job.id)
  if reason then fail_instead(job, reason) end
  local found = rcall('HMGET', key, 'atm', 'parentKey', 'parent', 'deid')
  if found[4] then
    free_unique(queue, job.id, found[4])
    add_follower(queue, meta, now, found[4])
  end
  local parent = parent_of(found[2], found[3])
  if parent then tell_parent(queue, meta, now, job, parent) end
  local made = (counted(found[1]) or 0) + 1
  if job.keep.count == 0 then
    remove_job(queue, job.id)
    if parent and not parent.untold then forget_child(parent, key, meta.stream) end
  else
    rcall('ZADD', queue[job.set], now, job.id)
    rcall('HSET', key, 'atm', made, job.field, job.value, 'finishedOn', now)
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

-- Says that nothing is left, as BullMQ does when the last job of a queue is finished and no next one was to be taken,
-- or none was there. order and taken: what `take` was given and what it returned
local function emit_if_drained(queue, meta, order, taken)
  local _, _, due_in, limited_for = unpack(taken)
  if #taken[1] > 0 then return end
  if order.count > 0 and (meta.paused or meta.maxed or limited_for > 0 or due_in >= 0) then return end
  if rcall('LLEN', queue.wait) == 0 and rcall('LLEN', queue.active) == 0 and rcall('ZCARD', queue.prioritized) == 0 then
    emit(queue, meta, 'drained')
  end
end
