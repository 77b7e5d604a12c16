// Registers a Node service with the message broker: which event types it wants, and how its copies are handled.
import { Queue } from 'bullmq';
import IORedis from 'ioredis';

const url = process.env.HIPPO_REDIS_URL || process.env.REDIS_URL || 'redis://localhost:6379';
const connection = new IORedis(url, { maxRetriesPerRequest: null });
const prefix = process.env.HIPPO_PREFIX ?? '{hippo}';

const broker = new Queue('broker', { connection, prefix });
const job = await broker.add(
  'hippo.register',
  {
    serviceName: 'billing',
    listensTo: ['ORDER_SUCCESS', 'ORDER_REFUNDED'],
    jobOptions: { attempts: 3, backoff: { type: 'exponential', delay: 1000, jitter: 1 } }, // may be left out
  },
  { lifo: true, attempts: 1 }, // no job id: BullMQ's counter says which registration is newer
);
console.log(`registration ${job.id} is queued`);
await broker.close();
await connection.quit();
