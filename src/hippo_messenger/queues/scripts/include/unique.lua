-- BullMQ's deduplication, as far as the end of a job goes: it frees its id, and what was added meanwhile under that id
-- (`keepLastIfActive`) becomes a job. As BullMQ's removeDeduplicationKeyIfNeededOnFinalization and requeueDeduplicatedJob.

local function free_unique(queue, id, unique)
  local key = queue.base .. 'de:' .. unique
  local ttl = rcall('PTTL', key)
  if ttl == 0 or ttl == -1 and rpcall('GET', key) == id then rcall('DEL', key) end
end

-- What was added meanwhile, as a job for `add_job`, or nil; what can't be read or written stays where it is.
local function read_follower(queue, following)
  local found = rpcall('HMGET', following, 'name', 'data', 'opts', 'pk', 'pd', 'pdk', 'rjk', 'jid')
  if found.err or not found[1] or not found[2] then return nil end
  local fine, opts = pcall(cjson.decode, found[3] or '')
  if not fine or type(opts) ~= 'table' or type(opts.de) ~= 'table' then return nil end
  if found[6] and misfit(found[6], 'set') then return nil end
  local job = {id = found[8], name = found[1], data = found[2], opts = found[3], dependencies = found[6], more = {},
    delay = counted(tostring(opts.delay)) or 0, priority = priority_in(tostring(opts.priority)),
    push = opts.lifo and 'RPUSH' or 'LPUSH', ttl = not opts.de.keepLastIfActive and counted(tostring(opts.de.ttl)) or 0}
  local members = {parentKey = found[4], parent = found[5], rjk = found[7], deid = tostring(opts.de.id)}
  for field, value in pairs(members) do
    if value then
      job.more[#job.more + 1] = field
      job.more[#job.more + 1] = value
    end
  end
  return job
end

local function add_follower(queue, meta, now, unique)
  local following = queue.base .. 'dn:' .. unique
  local job = read_follower(queue, following)
  if not job then return end
  local number = rcall('INCR', queue.id)
  job.id = job.id or whole(number)
  local key = queue.base .. job.id
  job.key = key
  if misfit(key, 'hash') then return end
  local holder = queue.base .. 'de:' .. unique
  rcall('SET', holder, job.id)
  if job.ttl > 0 then rcall('PEXPIRE', holder, job.ttl) end
  add_job(queue, meta, now, job)
  if job.dependencies then rcall('SADD', job.dependencies, key) end
  rcall('DEL', following)
end
