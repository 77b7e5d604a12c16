// Adds so many jobs like the one that it is told on stdin to a queue of stock BullMQ, each with an id of its own.
import { randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { Queue } from 'bullmq';
import IORedis from 'ioredis';

const [, , url, prefix, name] = process.argv;
const path = url.startsWith('unix://') ? url.slice('unix://'.length) : url;
const told = JSON.parse(await text(process.stdin));
const connection = new IORedis(path, { maxRetriesPerRequest: null });
const queue = new Queue(name, { connection, prefix });

const job = () => {
  const id = randomUUID();
  const data = JSON.parse(told.data.replace(told.id, id));
  return { name: told.name, data, opts: { ...told.options, jobId: id } };
};

for (let first = 0; first < told.count; first += 200) {
  await queue.addBulk(Array.from({ length: Math.min(200, told.count - first) }, job));
}
await queue.close();
await connection.quit();
