-- BullMQ's flows, as far as the end of a child goes: it tells its parent, and the last one lets the parent go on.
-- As the parts of BullMQ's moveToFinished that deal with parents. The parent may stand in another queue, whose keys
-- nobody can declare: all of them are looked at before anything is written.

local function queue_named(base)
  local queue = {base = base}
  for _, name in ipairs(QUEUE_KEYS) do queue[name] = base .. name end
  queue.waiting_children = base .. 'waiting-children'
  return queue
end

-- The parent of the job under a key, or nil. key: of the parent; id, queue; fpof, cpof, idof, rdof: what a child's
-- failure does to it (BullMQ's failParentOnFailure, continue-, ignore-, removeDependencyOnFailure)
local function parent_of(parent_key, parent)
  if not parent_key or parent_key == '' then return nil end
  local fine, found = pcall(cjson.decode, parent or '')
  if not fine or type(found) ~= 'table' or type(found.id) ~= 'string' or type(found.queueKey) ~= 'string' then
    local base, id = string.match(parent_key, '^(.*:)([^:]*)$')
    if not base then return nil end
    return {key = parent_key, id = id, queue = queue_named(base)}
  end
  return {key = parent_key, id = found.id, queue = queue_named(found.queueKey .. ':'), fpof = found.fpof,
    cpof = found.cpof, idof = found.idof, rdof = found.rdof}
end

-- Why a parent can't be told, or nil. After this nothing that is done to it can raise.
local function parent_misfit(parent)
  return misfit(parent.key, 'hash') or misfit(parent.key .. ':dependencies', 'set')
    or misfit(parent.key .. ':processed', 'hash') or misfit(parent.key .. ':failed', 'hash')
    or misfit(parent.key .. ':unsuccessful', 'zset') or misfit(parent.queue.waiting_children, 'zset')
    or queue_misfit(parent.queue)
end

local function let_parent_go(parent, stream, now)
  local queue = parent.queue
  local meta = read_meta(queue)
  meta.stream = stream
  local found = rcall('HMGET', parent.key, 'priority', 'delay')
  local priority, delay = priority_in(found[1]), counted(found[2]) or 0
  if delay > 0 then
    add_delayed(queue, meta, parent.id, now + delay)
    mark_delayed(queue)
    return
  end
  if priority > 0 then add_prioritized(queue, parent.id, priority) else rcall('RPUSH', queue.wait, parent.id) end
  mark_available(queue, meta)
  emit(queue, meta, 'waiting', 'jobId', parent.id, 'prev', 'waiting-children')
end

local function let_waiting_parent_go(parent, stream, now)
  if rcall('EXISTS', parent.key) == 1 and rcall('ZREM', parent.queue.waiting_children, parent.id) == 1 then
    let_parent_go(parent, stream, now)
  end
end

local function let_childless_parent_go(parent, stream, now)
  if rcall('SCARD', parent.key .. ':dependencies') == 0 then let_waiting_parent_go(parent, stream, now) end
end

local function fail_parent(parent, child, stream, now)
  if rcall('EXISTS', parent.key) == 0 then return end
  local waits = rcall('ZREM', parent.queue.waiting_children, parent.id) == 1
  if not waits and rcall('ZREM', parent.queue.delayed, parent.id) == 1 then
    rcall('HSET', parent.key, 'delay', 0)
    waits = true
  end
  if waits or not rcall('ZSCORE', parent.queue.failed, parent.id) then
    rcall('HSET', parent.key, 'defa', 'child ' .. child .. ' failed')
  end
  if waits then let_parent_go(parent, stream, now) end
end

local function tell_parent_completed(parent, child, value, stream, now)
  if rcall('SREM', parent.key .. ':dependencies', child) == 0 then return end
  rcall('HSET', parent.key .. ':processed', child, value)
  let_childless_parent_go(parent, stream, now)
end

local function tell_parent_failed(parent, child, reason, stream, now)
  if not (parent.fpof or parent.cpof or parent.idof or parent.rdof) then return end
  if rcall('SREM', parent.key .. ':dependencies', child) == 0 then return end
  if parent.fpof then
    rcall('ZADD', parent.key .. ':unsuccessful', now, child)
    return fail_parent(parent, child, stream, now)
  end
  if parent.cpof or parent.idof then rcall('HSET', parent.key .. ':failed', child, reason) end
  if parent.cpof then let_waiting_parent_go(parent, stream, now) else let_childless_parent_go(parent, stream, now) end
end

-- A child is removed: its parent waits for it no longer, and goes to the head of the line whatever its priority.
local function forget_child(parent, child, stream)
  if rcall('SREM', parent.key .. ':dependencies', child) == 0 then return end
  if rcall('SCARD', parent.key .. ':dependencies') > 0 then return end
  if rcall('ZREM', parent.queue.waiting_children, parent.id) == 0 then return end
  local meta = read_meta(parent.queue)
  meta.stream = stream
  rcall('RPUSH', parent.queue.wait, parent.id)
  mark_available(parent.queue, meta)
  emit(parent.queue, meta, 'waiting', 'jobId', parent.id, 'prev', 'waiting-children')
end

-- Why a job can't be completed, or nil.
local function unfinished(key, id)
  local pending, failed = key .. ':dependencies', key .. ':unsuccessful'
  if rcall('EXISTS', pending, failed) == 0 then return nil end
  local is_pending = rcall('EXISTS', pending) == 1
  return 'Job ' .. id .. (is_pending and ' has pending dependencies' or ' has at least one failed child')
end
