-- Ends a worker's hold on a job, as BullMQ's removeLock, moveToFinished, moveToDelayed, retryJob and
-- moveJobFromActiveToWait do.

-- Whether a job stands in a list or set other than `active`.
local function stands_elsewhere(queue, id)
  for _, set in ipairs({'delayed', 'failed', 'completed', 'prioritized'}) do
    if rcall('ZSCORE', queue[set], id) then return true end
  end
  return rcall('LPOS', queue.wait, id) ~= false
end

-- Takes held jobs off `active`, and notes of each whether it stood there. by_id: the same jobs
-- Many are taken off by writing the list anew, which costs less than looking for each.
local function leave_active(queue, held, by_id)
  if #held < 8 or rcall('LLEN', queue.active) > 4 * #held then
    for _, job in ipairs(held) do job.was_active = rcall('LREM', queue.active, '-1', job.id) > 0 end
    return
  end
  local staying, active = {}, rcall('LRANGE', queue.active, '0', '-1')
  for at = #active, 1, -1 do
    local id = active[at]
    local job = by_id[id]
    if job and not job.was_active then job.was_active = true else staying[#staying + 1] = id end
  end
  rcall('DEL', queue.active)
  in_slices(staying, function(...) rcall('LPUSH', queue.active, ...) end)
end

-- The jobs whose locks are their run's token's, each once, however often it is named; the same by their ids; and their
-- locks. The status of the others becomes 'lost'. The lock says whose a job is: where somebody has emptied `active`, the
-- job ends as if it stood there. jobs: id, key, run, and room for status, found and was_active
local function held_jobs(jobs)
  local locks, held, by_id, held_locks, checked = {}, {}, {}, {}, 0
  for at = 1, #jobs do locks[at] = jobs[at].key .. ':lock' end
  in_slices(locks, function(...)
    local holders = rcall('MGET', ...)
    for at = 1, #holders do
      checked = checked + 1
      local job = jobs[checked]
      if holders[at] == job.run.token and not by_id[job.id] then
        by_id[job.id], job.status = job, false
        held[#held + 1], held_locks[#held + 1] = job, locks[checked]
      end
    end
  end, READ_SLICE)
  return held, by_id, held_locks
end

local PLAIN = {false, false, false, true}

-- What is needed of a job's hash to end it, or nil where that is gone: attempts made, key of the parent, deduplication id.
-- plain: how many fields the hash has if it has no others than those of every job and those that `take` wrote; nearly
-- always so, and to count them costs less than to read them
local function read_ending(key, plain)
  if rpcall('HLEN', key) == plain then return PLAIN end
  local found = rpcall('HMGET', key, 'atm', 'parentKey', 'deid', 'name')
  if found.err or not found[4] and rcall('TYPE', key).ok ~= 'hash' then return nil end
  return found
end

-- Lets go of held jobs, as `held_jobs` returns them. Sets each one's `found`, for `finish`, unless it is there already, or
-- its status: 'lost' (it was moved meanwhile, as BullMQ's moveToFailed does without a lock) or 'gone' (its hash is).
-- worker: the name under which `take` took them, or ''
local function release(queue, held, by_id, locks, worker)
  local plain = worker == '' and 8 or 9
  in_slices(locks, function(...) rcall('DEL', ...) end)
  if not is_plain[queue.base] and rcall('SCARD', queue.stalled) > 0 then
    local ids = {}
    for at = 1, #held do ids[at] = held[at].id end
    in_slices(ids, function(...) rcall('SREM', queue.stalled, ...) end)
  end
  leave_active(queue, held, by_id)
  for at = 1, #held do
    local job = held[at]
    if job.was_active or not stands_elsewhere(queue, job.id) then
      job.found = job.found or read_ending(job.key, plain)
      job.status = not job.found and 'gone'
    else
      job.status = 'lost'
    end
  end
end

local function count_attempt(job)
  rcall('HSET', job.key, 'atm', (counted(job.found[1]) or 0) + 1)
end

-- Drops finished jobs. A completed one is no child any more, since its parent was told; a failed one may be.
local function drop_finished(queue, meta, set, ids)
  for _, id in ipairs(set == 'failed' and ids or {}) do
    local parent_key = rpcall('HGET', queue.base .. id, 'parentKey')
    local parent = type(parent_key) == 'string' and parent_of(parent_key)
    if parent and not parent_misfit(parent) then forget_child(parent, queue.base .. id, meta.stream) end
  end
  remove_jobs(queue, ids, set)
end

-- Notes in `completed` and `failed` what `finish` has finished since the last time.
local function add_finished(queue, meta, now)
  for set, ids in pairs(meta.finished or {}) do
    local scored, time = {}, whole(now)
    for at = 1, #ids do
      local id = ids[at]
      scored[2 * at - 1], scored[2 * at] = time, id
    end
    in_slices(scored, function(...) rcall('ZADD', queue[set], ...) end)
  end
  meta.finished = false
end

-- Removes finished jobs beyond their age and number, oldest first. outcome: 'completed' or 'failed'; keep: age (s or nil),
-- count (or nil)
local function trim_finished(queue, meta, outcome, keep, now)
  local set = queue[outcome]
  if keep.age then
    local before = whole(now - keep.age * 1000)
    local old = rcall('ZREVRANGEBYSCORE', set, before, '-inf', 'LIMIT', '0', whole(SLICE))
    if #old > 0 then rcall('ZREM', set, unpack(old)) end
    drop_finished(queue, meta, outcome, old)
  end
  if keep.count and keep.count > 0 then
    local excess = rcall('ZCARD', set) - keep.count
    while excess > 0 do
      local last = whole(math.min(excess, SLICE) - 1)
      local oldest = rcall('ZRANGE', set, '0', last)
      rcall('ZREMRANGEBYRANK', set, '0', last)
      drop_finished(queue, meta, outcome, oldest)
      excess = excess - #oldest
    end
  end
end

-- The ending of a job that can't be completed. Its traces are none, but stand in its hash, which is so never plain again.
local function failure(reason)
  return {set = 'failed', field = 'failedReason', value = reason, stacktrace = '[]', attempts = math.huge, keep = {}}
end

-- Tells a job's parent how it ended. Where the parent can't be told the job fails, so that it can be told on a redrive.
-- Result: the ending that stands.
local function tell_parent(meta, now, job, ending, parent)
  local reason = parent_misfit(parent)
  parent.untold = reason ~= nil
  if reason and ending.set == 'completed' then
    return failure('done, but its parent ' .. parent.key .. ' could not be told: ' .. reason)
  end
  if reason then return ending end
  if ending.set == 'completed' then
    tell_parent_completed(parent, job.key, ending.value, meta.stream, now)
  else
    tell_parent_failed(parent, job.key, ending.value, meta.stream, now)
  end
  return ending
end

-- Whether one of some jobs may have children that are waiting or have failed; asked once for all, since that is rare. A
-- child that has failed has left something in its parent's hash too, so that this isn't plain any more.
local function some_have_children(jobs)
  local keys = {}
  for at = 1, #jobs do
    local job = jobs[at]
    if job.found and not job.status then
      keys[#keys + 1] = job.key .. ':dependencies'
      if job.found ~= PLAIN then keys[#keys + 1] = job.key .. ':unsuccessful' end
    end
  end
  return some_exist(keys)
end

-- Finishes a job that `release` has let go of; `add_finished` has to follow. Result: the set in which it ended.
-- ending: set ('completed' or 'failed'), field ('returnvalue' or 'failedReason'), value, keep and, for a failure,
-- stacktrace and attempts (allowed); jobs that end alike share one
local function finish(queue, meta, now, job, ending)
  local id, key, found = job.id, job.key, job.found
  local reason = meta.some_have_children and ending.set == 'completed' and unfinished(key, id)
  if reason then ending = failure(reason) end
  if found[3] then
    free_unique(queue, id, found[3])
    add_follower(queue, meta, now, found[3])
    meta.some_have_children = true -- for all one knows
  end
  local parent = found[2] and parent_of(found[2], rcall('HGET', key, 'parent'))
  if parent then
    add_finished(queue, meta, now)
    ending = tell_parent(meta, now, job, ending, parent)
  end
  local set, field, value = ending.set, ending.field, ending.value
  local made = (counted(found[1]) or 0) + 1
  if ending.keep.count == 0 then
    remove_jobs(queue, {id})
    if parent and not parent.untold then forget_child(parent, key, meta.stream) end
  else
    meta.finished = meta.finished or {completed = {}, failed = {}}
    local finished = meta.finished[set]
    finished[#finished + 1] = id
    rcall('HSET', key, 'atm', whole(made), field, value, 'finishedOn', whole(now))
    if set == 'failed' then
      if ending.stacktrace ~= '' then rcall('HSET', key, 'stacktrace', ending.stacktrace) end
      rcall('HDEL', key, 'defa')
    end
  end
  emit(queue, meta, set, 'jobId', id, field, value, 'prev', 'active')
  if set == 'failed' and made >= ending.attempts then
    emit(queue, meta, 'retries-exhausted', 'jobId', id, 'attemptsMade', made)
  end
  return set
end

-- Says that nothing is left, as BullMQ does when the last job of a queue is finished and no next one was to be taken,
-- or none was there. order and taken: what `take` was given and what it returned
local function emit_if_drained(queue, meta, order, taken)
  local _, _, due_in, limited_for = unpack(taken)
  if #taken[1] > 0 then return end
  if order.count > 0 and (meta.paused or meta.maxed or limited_for > 0 or due_in >= 0) then return end
  if (meta.none_wait or not some_wait(queue)) and rcall('LLEN', queue.active) == 0 then emit(queue, meta, 'drained') end
end
