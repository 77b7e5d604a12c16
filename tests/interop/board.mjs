// bull-board over the queues that are named, on a free port, which it says on stdout; it ends with its stdin.
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { Queue } from 'bullmq';
import express from 'express';
import IORedis from 'ioredis';

const [, , url, prefix, ...names] = process.argv;
const connection = new IORedis(url, { maxRetriesPerRequest: null });
const queues = names.map((name) => new Queue(name, { connection, prefix }));
const serverAdapter = new ExpressAdapter();
createBullBoard({ queues: queues.map((queue) => new BullMQAdapter(queue)), serverAdapter });

const app = express();
app.use(serverAdapter.getRouter());
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(JSON.stringify({ did: 'start', port: server.address().port }) + '\n');
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
