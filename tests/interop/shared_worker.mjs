// A stock worker in a shared queue: writes down what it begins and how that ends, and fails as the order's name says.
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'bullmq';
import IORedis from 'ioredis';

const [, , url, prefix, queue, who, log, options] = process.argv;
const connection = new IORedis(url, { maxRetriesPerRequest: null });

const worker = new Worker(
  queue,
  async (job) => {
    const attempt = job.attemptsMade + 1;
    const note = (what) => appendFileSync(log, JSON.stringify({ who, id: job.id, attempt, what }) + '\n');
    const [number, failures] = job.data.data.orderId.split('/').map(Number);
    note('began');
    await pause(number % 7);
    if (attempt <= failures) {
      note('failed');
      throw new Error(`attempt ${attempt}`);
    }
    note('done');
    return { by: who };
  },
  { connection, prefix, ...JSON.parse(options) },
);
await worker.waitUntilReady();
process.stdout.write('ready\n');
process.once('SIGTERM', async () => {
  await worker.close();
  await connection.quit();
});
