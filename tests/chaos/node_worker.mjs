// A stock Node worker that writes down what it sees, in the form of log.py. It lives in tests/interop's node_modules.
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const require = createRequire(fileURLToPath(new URL('../interop/package.json', import.meta.url)));
const { Worker } = require('bullmq');
const IORedis = require('ioredis');

const [, , url, prefix, queue, path, options] = process.argv;
const log = openSync(path, 'a', 0o600);
const note = (what, id, more = '') => writeSync(log, `${(Date.now() / 1000).toFixed(6)} ${what} ${id} ${more}\n`);

const connection = new IORedis(url, { maxRetriesPerRequest: null });
connection.on('error', () => {});

const worker = new Worker(
  queue,
  async (job) => {
    note('began', job.id, `${job.attemptsStarted} ${job.timestamp}`);
    await pause(job.id.charCodeAt(job.id.length - 1) % 20);
    note('done', job.id);
  },
  { connection, prefix, ...JSON.parse(options) },
);
worker.on('error', (error) => {
  const job = /for job (\S+?)[.,]?(?:\s|$)/.exec(error.message);
  note(job ? 'lost' : 'trouble', job ? job[1] : '-', error.message.slice(0, 120).replaceAll('\n', ' '));
});
worker.on('failed', (job, error) => note('lost', job?.id ?? '-', error.message.slice(0, 120).replaceAll('\n', ' ')));
worker.on('lockRenewalFailed', (ids) => ids.forEach((id) => note('lost', id)));
worker.on('stalled', (id) => note('recovered', id));
process.once('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
await worker.waitUntilReady();
process.stdout.write('ready\n');
