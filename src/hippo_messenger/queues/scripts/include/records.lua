-- Records of rejected events stand among the failed jobs of a queue, and in a sorted set of their own.

-- How many do. BullMQ's own tools take a job out of `failed` alone, so that what is in the set may not stand there any more.
local function count_records(queue, rejected)
  return #rcall('ZINTER', 2, queue.failed, rejected)
end
