-- What stands where an event is to go. An event is known by its id for as long as the duplicate window says: a job that has
-- completed before may still be kept for looking at, and makes room.

-- Who sent the event in this envelope, or nil.
local function source_of(data)
  local read, envelope = pcall(cjson.decode, data or '')
  return read and type(envelope) == 'table' and envelope.source or nil
end

-- Whether the job under this key is of the same sender: ids are unique for one sender, not over all.
local function is_of_same_sender(key, data)
  return source_of(rcall('HGET', key, 'data')) == source_of(data)
end

-- nil where nothing stands, or 'known' (the same event), 'past' (the same, completed before a time), 'taken' (another
-- service's), or what is wrong.
local function standing(queue, id, key, data, before)
  local held = rcall('TYPE', key).ok
  if held == 'none' then return nil end
  if held ~= 'hash' then return key .. ' holds a ' .. held .. ', expected a hash' end
  if not is_of_same_sender(key, data) then return 'taken' end
  local ended = tonumber(rcall('ZSCORE', queue.completed, id) or nil)
  return ended and ended <= before and 'past' or 'known'
end

-- Removes a job that is past, as a trim would.
local function forget(queue, id)
  rcall('ZREM', queue.completed, id)
  remove_jobs(queue, {id}, 'completed')
end
