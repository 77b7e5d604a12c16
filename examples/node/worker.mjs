// Works for a Node service: takes its copies of the events it listens to, beside its Python workers if it has some.
import { Worker, UnrecoverableError } from 'bullmq';
import IORedis from 'ioredis';

const url = process.env.HIPPO_REDIS_URL || process.env.REDIS_URL || 'redis://localhost:6379';
const connection = new IORedis(url, { maxRetriesPerRequest: null });
const prefix = process.env.HIPPO_PREFIX ?? '{hippo}';

const worker = new Worker(
  'billing', // the service's name is the name of its queue
  async (job) => {
    const { id, source, type, data, expirytime } = job.data;
    if (Date.parse(expirytime) <= Date.now()) return { expired: expirytime }; // without one that is never so
    if (type !== 'ORDER_SUCCESS') throw new UnrecoverableError(`no processor for ${type}`);
    console.log(`billing ${data.orderId} for ${data.total}, said ${source} in ${id}`);
    return { invoice: `I-${data.orderId}` };
  },
  { connection, prefix, concurrency: 10 },
);
await worker.waitUntilReady();
console.log('working');
process.once('SIGTERM', async () => {
  await worker.close();
  await connection.quit();
});
