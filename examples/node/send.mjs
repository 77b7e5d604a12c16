// Sends one event from a Node service to whoever listens.
import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import IORedis from 'ioredis';

const url = process.env.HIPPO_REDIS_URL || process.env.REDIS_URL || 'redis://localhost:6379';
const connection = new IORedis(url, { maxRetriesPerRequest: null });
const prefix = process.env.HIPPO_PREFIX ?? '{hippo}';

const broker = new Queue('broker', { connection, prefix });
const event = {
  specversion: '1.0',
  id: randomUUID(),
  source: 'billing', // the sending service; the event never comes back to it
  type: 'PAYMENT_SUCCEEDED',
  time: new Date().toISOString(),
  datacontenttype: 'application/json',
  data: { paymentId: 'P-1', orderId: 'A-1', amount: '12.30' }, // money as a string; no nulls, left out instead
};
await broker.add(event.type, event, { jobId: event.id, attempts: 1 });
console.log(`sent ${event.id}`);
await broker.close();
await connection.quit();
