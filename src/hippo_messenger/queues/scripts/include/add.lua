-- Puts a job at the tail of the line; `mark_added` has to follow.
local function line_up(meta, id)
  local line = meta.lined_up
  if not line then
    line = {}
    meta.lined_up = line
  end
  line[#line + 1] = id
end

-- Adds one job as BullMQ's addStandardJob, addDelayedJob and addPrioritizedJob do; `mark_added` does the rest.
-- job: id, key, name, data, opts (JSON), delay (ms), priority, push ('LPUSH' to the tail of the line, 'RPUSH' to its head),
-- more (a flat list of further fields and values, or nil), like (the key of a job that this call has added and that has the
-- same fields, or nil: to copy it spares Lua, the append-only file and replicas another time the data)
local function add_job(queue, meta, now, job)
  local id, delay, priority = job.id, job.delay, job.priority
  if job.like then
    rcall('COPY', job.like, job.key)
  else
    rcall('HSET', job.key, 'name', job.name, 'data', job.data, 'opts', job.opts, 'timestamp', whole(now),
      'delay', whole(delay), 'priority', whole(priority))
  end
  if job.more and #job.more > 0 then rcall('HSET', job.key, unpack(job.more)) end
  if delay > 0 then
    emit(queue, meta, 'added', 'jobId', id, 'name', job.name)
    add_delayed(queue, meta, id, now + delay)
    meta.added_delayed = true
    return
  end
  if priority > 0 then
    add_prioritized(queue, id, priority)
  elseif job.push == 'LPUSH' then
    line_up(meta, id)
  else
    rcall(job.push, queue.wait, id)
  end
  if meta.stream then -- as `emit`
    local events = queue.events
    meta.emitted = meta.emitted + 2
    copy_to(REPLICAS)
    rpcall('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', job.name)
    rpcall('XADD', events, '*', 'event', 'waiting', 'jobId', id)
    copy_to(EVERYWHERE)
  end
  meta.added_waiting = true
end

-- Puts the jobs added since `meta` was read into line, and wakes who should know of them. Has to follow `add_job`.
local function mark_added(queue, meta)
  if meta.lined_up then in_slices(meta.lined_up, function(...) rcall('LPUSH', queue.wait, ...) end) end
  meta.lined_up = false
  if meta.added_waiting then mark_available(queue, meta) end
  if meta.added_delayed then mark_delayed(queue) end
end
