-- Puts a job at the tail of the line; `mark_added` has to follow.
local function line_up(meta, id)
  meta.lined_up = meta.lined_up or {}
  table.insert(meta.lined_up, id)
end

-- Adds one job as BullMQ's addStandardJob, addDelayedJob and addPrioritizedJob do; `mark_added` does the rest.
-- job: id, name, data, opts (JSON), delay (ms), priority, push ('LPUSH' to the tail of the line, 'RPUSH' to its head),
-- more (a flat list of further fields and values, or nil)
local function add_job(queue, meta, now, job)
  rcall('HSET', queue.base .. job.id, 'name', job.name, 'data', job.data, 'opts', job.opts, 'timestamp', whole(now),
    'delay', whole(job.delay), 'priority', whole(job.priority))
  if job.more and #job.more > 0 then rcall('HSET', queue.base .. job.id, unpack(job.more)) end
  emit(queue, meta, 'added', 'jobId', job.id, 'name', job.name)
  if job.delay > 0 then
    add_delayed(queue, meta, job.id, now + job.delay)
    meta.added_delayed = true
    return
  end
  if job.priority > 0 then
    add_prioritized(queue, job.id, job.priority)
  elseif job.push == 'LPUSH' then
    line_up(meta, job.id)
  else
    rcall(job.push, queue.wait, job.id)
  end
  emit(queue, meta, 'waiting', 'jobId', job.id)
  meta.added_waiting = true
end

-- Puts the jobs added since `meta` was read into line, and wakes who should know of them. Has to follow `add_job`.
local function mark_added(queue, meta)
  in_slices(meta.lined_up or {}, function(...) rcall('LPUSH', queue.wait, ...) end)
  meta.lined_up = nil
  if meta.added_waiting then mark_available(queue, meta) end
  if meta.added_delayed then mark_delayed(queue) end
end

-- Whether anything stands under some keys; asked once for all, since that is rare.
local function some_exist(keys)
  local some = 0
  in_slices(keys, function(...) some = some + rcall('EXISTS', ...) end)
  return some > 0
end

-- Who sent the event in this envelope, or nil.
local function source_of(data)
  local read, envelope = pcall(cjson.decode, data or '')
  return read and type(envelope) == 'table' and envelope.source or nil
end

-- Whether the job under this key is the same event: ids are unique for one sender, not over all.
local function is_same_event(key, data)
  return source_of(rcall('HGET', key, 'data')) == source_of(data)
end
