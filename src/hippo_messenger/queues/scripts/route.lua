--[[ Routes a batch of events: finishes each job of the broker and adds its copies to the service queues, and takes the next.

  KEYS  block of the broker queue; registry version; base of the duplicate window; block of each service queue
  ARGV  1 again  2 events stream  3 token  4 lock (ms)  5 how many to take  6 how many bytes  7 worker name or ''  8 minutes of metrics
        9 registry version that the routes were made from  10 window (ms)  11, 12 age (s or '') and count of completed jobs to keep
        13 number of services; for each: its name, the options of its copies (JSON)
        then how many sets of routes; for each: number of routes, their places in the list of services, return value (JSON)
        then runs of events: place of their set of routes, token, members to add to the copies' options (JSON without the
        opening brace, or ''), how many; for each: id, event id ('' where it is the same), digest of source and event id
        ('' is not checked: it is a parked copy that was redriven)
  Result  {'ok', what include/take.lua returns, for each event: 'routed', 'duplicate', 'lost' or 'gone', parked copies: service, event id, reason}
          or {'stale', version} or a refusal (include/queue.lua)
  Atomic  each event: all its copies and the end of its job, or none of it. A service queue that can't be written
          gets its copies parked as failed jobs of the broker that name it; it harms no other. What stands is
          not written over, but for a copy that has completed longer ago than the window.
  Repeat  does no harm: an event that the lost call routed is no longer held by its token.
]]
--@include queue
--@include add
--@include take
--@include unique
--@include family
--@include remove
--@include finish
--@include metrics
--@include window
--@include known

local BLOCK = 14
local broker, version_key, window_base = queue_at(1), KEYS[BLOCK + 1], KEYS[BLOCK + 2]
local keep = {age = tonumber(ARGV[11]), count = tonumber(ARGV[12])}
local stream, now = ARGV[2] == '1', clock()
local before = now - tonumber(ARGV[10])

local cursor = 12
local function argument()
  cursor = cursor + 1
  return ARGV[cursor]
end

local services = {}
for place = 1, tonumber(argument()) do
  services[place] = {name = argument(), opts = argument(), queue = queue_at(BLOCK + 3 + (place - 1) * BLOCK), misfit = false,
    meta = false, added = 0, touched = false}
end

-- Asks by few commands what `queue_misfit` would ask for each service.
local function look_ahead()
  local texts, rare, some = {LAYOUT_KEY, version_key, window_clock_key(window_base), broker.id}, {}, 0
  for place = 1, #services do
    local queue, last = services[place].queue, 6 * place
    texts[#texts + 1] = queue.id
    rare[last - 5], rare[last - 4], rare[last - 3], rare[last - 2], rare[last - 1], rare[last] = rare_keys(queue)
  end
  in_slices(texts, read_texts, READ_SLICE)
  in_slices(rare, function(...)
    local found = rpcall('EXISTS', ...)
    some = some + (type(found) == 'number' and found or 1)
  end, READ_SLICE)
  for place = 1, some == 0 and #services or 0 do is_plain[services[place].queue.base] = true end
end
look_ahead()
local window, wrong = window_at(window_base, tonumber(ARGV[10]), now)
local refused = refusal(queue_misfit(broker) or wrong or text_misfit(version_key))
if refused then return refused end
local meta = read_meta(broker)
meta.stream = stream
for place = 1, #services do
  local service = services[place]
  service.misfit = queue_misfit(service.queue)
  if not service.misfit then
    service.meta = read_meta(service.queue)
    service.meta.stream = stream
  end
end

local sets = {}
for place = 1, tonumber(argument()) do
  local set = {routes = {}}
  for at = 1, tonumber(argument()) do set.routes[at] = services[tonumber(argument())] end
  set.returned = argument()
  sets[place] = set
end

-- First everything is read: what is ours, and what it says. Nothing is written yet. Each event has room from the start for
-- what is found out about it, since Lua makes a table anew when it grows.
local function read_run(events)
  local set, token, extra, number = sets[tonumber(argument())], argument(), argument(), tonumber(argument())
  local run, base = {set = set, token = token, extra = extra}, broker.base
  for at = cursor + 1, cursor + 3 * number, 3 do
    local id, event_id = ARGV[at], ARGV[at + 1]
    events[#events + 1] = {id = id, key = base .. id, event_id = event_id == '' and id or event_id, digest = ARGV[at + 2],
      run = run, status = 'lost', found = false, was_active = false, torn = false, keys = false, ending = false,
      duplicate = false}
  end
  cursor = cursor + 3 * number
end

local events = {}
while cursor < #ARGV do read_run(events) end
local held, by_id, locks = held_jobs(events)
local NAME, DATA, PRIORITY = 4, 5, 6 -- in what is found of an event; before them stands what `finish` needs
for at = 1, #held do
  local event = held[at]
  local found = rpcall('HMGET', event.key, 'atm', 'parentKey', 'deid', 'name', 'data', 'priority')
  if found[NAME] and found[DATA] then event.found = found else event.torn = {stands = found[NAME] or found[DATA]} end
end

-- A repeat whose events are all done hands out what the lost reply held, wherever the registry has moved meanwhile.
local version, all_lost = version_at(version_key), ARGV[1] == '1' and #events > 0 and #held == 0
if version ~= tonumber(ARGV[9]) and not all_lost then return {'stale', version} end

local digests, checked = {}, {}
for at = 1, #held do
  local event = held[at]
  if not event.torn and event.digest ~= '' then
    digests[#digests + 1] = event.digest
    checked[#checked + 1] = event
  end
end
local fresh, broken = first_seen(window, digests)
if broken then return refusal(broken) end
local new_digests = {}
for at = 1, #checked do
  checked[at].duplicate = not fresh[at]
  if fresh[at] then new_digests[#new_digests + 1] = digests[at] end
end

local parked = {}

local function note_parked(event, service, reason)
  parked[#parked + 1] = service.name
  parked[#parked + 1] = event.event_id
  parked[#parked + 1] = reason
end

local function reason_to_park(service, reason)
  return 'not delivered to ' .. service.name .. ': ' .. reason .. '; mend it, then redrive this job'
end

-- An id for a parked copy under which nothing stands: another event's copy may, or one that is being redriven.
local function free_id(service, event)
  local first = 'parked-' .. service.name .. '-' .. event.event_id
  local id, number = first, rcall('INCR', broker.id)
  while rcall('EXISTS', broker.base .. id) == 1 do
    id = first .. '-' .. whole(number)
    number = rcall('INCR', broker.id)
  end
  return id
end

-- A failed job of the broker that holds one copy for one service, and delivers to it alone when redriven.
local function park(event, service, reason)
  local id = free_id(service, event)
  rcall('HSET', broker.base .. id, 'name', event.found[NAME], 'data', event.found[DATA],
    'opts', cjson.encode({attempts = 1, deliverTo = {service.name}}), 'timestamp', now, 'delay', 0,
    'priority', priority_in(event.found[PRIORITY]), 'processedOn', now, 'finishedOn', now, 'ats', 1, 'atm', 1,
    'failedReason', reason_to_park(service, reason), 'stacktrace', '[]')
  rcall('ZADD', broker.failed, now, id)
  emit(broker, meta, 'failed', 'jobId', id, 'failedReason', reason, 'prev', 'active')
  note_parked(event, service, reason)
end

-- The keys of an event's copies, in the order of its routes; false where the service can't be written.
local function keys_of_copies(event)
  local keys, id, routes = {}, event.event_id, event.run.set.routes
  for at = 1, #routes do keys[at] = not routes[at].misfit and routes[at].queue.base .. id end
  return keys
end

-- Whether nothing stands where copies are to go; asked once for all, since it is nearly always so.
local function is_all_new()
  local keys, ids = {}, {}
  for at = 1, #held do
    local event = held[at]
    if not event.torn and not event.duplicate then
      if ids[event.event_id] then return false end
      ids[event.event_id] = true
      event.keys = keys_of_copies(event)
      for place = 1, #event.keys do
        local key = event.keys[place]
        if key then keys[#keys + 1] = key end
      end
    end
  end
  return not some_exist(keys)
end
local all_are_new = is_all_new()

-- Why this copy can't be written, or nil; 'known' and 'past' are no faults.
local function obstacle(service, key, event)
  if service.misfit then return service.misfit end
  if all_are_new then return nil end
  local found = standing(service.queue, event.event_id, key, event.found[DATA], before)
  return found == 'taken' and key .. ' holds an event of another service with the same id' or found
end

local function with_members(opts, extra)
  return extra == '' and opts or string.sub(opts, 1, -2) .. ',' .. extra .. '}'
end

-- What the event's job returns where some of its copies are parked.
local function parked_for(held_up, routes)
  local value = {parkedFor = held_up}
  local is_held_up = {}
  for _, name in ipairs(held_up) do is_held_up[name] = true end
  for _, service in ipairs(routes) do
    if not is_held_up[service.name] then
      value.deliveredTo = value.deliveredTo or {}
      table.insert(value.deliveredTo, service.name)
    end
  end
  return cjson.encode(value)
end

-- The ending of what completes with this value; jobs that end alike share one.
local endings = {}
local function completed(value)
  local ending = endings[value]
  if not ending then
    ending = {set = 'completed', field = 'returnvalue', value = value, keep = keep}
    endings[value] = ending
  end
  return ending
end

-- Writes an event's copies, or parks them. Result: how its job is to end. A parked copy that was redriven and can't be
-- written yet is not parked anew: it fails again, and stays what it is.
local function deliver(event)
  local run, found, held_up = event.run, event.found, false
  local routes, extra = run.set.routes, run.extra
  local is_parked = event.digest == '' and #routes == 1
  local copy = {id = event.event_id, name = found[NAME], data = found[DATA], delay = 0,
    priority = priority_in(found[PRIORITY]), push = 'LPUSH', key = false, opts = false, like = false}
  local keys = event.keys or keys_of_copies(event)
  for at = 1, #routes do
    local service, key = routes[at], keys[at]
    local reason = obstacle(service, key, event)
    service.touched = true
    if reason == 'past' then
      forget(service.queue, event.event_id)
      reason = nil
    end
    if not reason then
      service.added = service.added + 1
      local opts = with_members(service.opts, extra)
      copy.like = copy.opts == opts and copy.key
      copy.key, copy.opts = key, opts
      add_job(service.queue, service.meta, now, copy)
    elseif reason == 'known' then
      emit(service.queue, service.meta, 'duplicated', 'jobId', event.event_id)
    elseif is_parked then
      note_parked(event, service, reason)
      return failure(reason_to_park(service, reason))
    else
      park(event, service, reason)
      held_up = held_up or {}
      held_up[#held_up + 1] = service.name
    end
  end
  return completed(held_up and parked_for(held_up, routes) or run.set.returned)
end

-- All copies are written before any source is finished.
trim_events(broker, meta)
for at = 1, #held do
  local event = held[at]
  event.ending = event.duplicate and completed('{"duplicate":true}') or not event.torn and deliver(event)
end
for _, service in ipairs(services) do
  if service.touched and service.meta then
    if service.added > 0 then rcall('INCRBY', service.queue.id, whole(service.added)) end
    mark_added(service.queue, service.meta)
    trim_events(service.queue, service.meta)
  end
end

remember(window, new_digests) -- not before: an event that is known and has no copies would be lost
release(broker, held, by_id, locks, ARGV[7])
meta.some_have_children = some_have_children(events)
local statuses, ended = {}, {completed = 0, failed = 0}
for at = 1, #events do
  local event = events[at]
  local status = event.status
  if not status and event.torn then
    if event.torn.stands then fail_torn(broker, meta, now, event.id, 'active') end
    status = 'gone'
  elseif not status then
    local set = finish(broker, meta, now, event, event.ending)
    ended[set] = ended[set] + 1
    status = event.duplicate and 'duplicate' or 'routed'
  end
  statuses[at] = status
end
add_finished(broker, meta, now)
trim_finished(broker, meta, 'completed', keep, now)
for set, number in pairs(ended) do count_finished(broker, set, number, tonumber(ARGV[8]), now) end
meta.maxed = meta.concurrency ~= nil and rcall('LLEN', broker.active) >= meta.concurrency
mark_added(broker, meta)

local order = {token = ARGV[3], lock = ARGV[4], count = tonumber(ARGV[5]), max_bytes = tonumber(ARGV[6]),
  worker = ARGV[7], again = ARGV[1] == '1'}
local taken = take(broker, meta, now, order)
if ended.completed + ended.failed > 0 then emit_if_drained(broker, meta, order, taken) end
return {'ok', taken, statuses, parked}
