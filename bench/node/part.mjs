// One part of a bus of stock BullMQ: `sender`, `router` or `service`. Told by its arguments and, for each lap, a line on stdin.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import IORedis from 'ioredis';
import { z } from 'zod';

const [, , role, url, prefix, concurrency, events, listeners, name] = process.argv;
const path = url.startsWith('unix://') ? url.slice('unix://'.length) : url;
const connect = () => new IORedis(path, { maxRetriesPerRequest: null });
const services = listeners.split(',');
const keep = { removeOnComplete: { age: 3600, count: 1000 } };
const laps = events.split(',').map(Number);
const now = () => performance.timeOrigin + performance.now(); // Date.now() knows whole milliseconds only

const Event = z.looseObject({
  id: z.string(),
  source: z.string(),
  type: z.literal('ORDER_SUCCESS'),
  data: z.looseObject({
    orderId: z.string(),
    total: z.string().regex(/^-?\d+(\.\d+)?$/),
    email: z.string().optional(),
    items: z.array(z.looseObject({ sku: z.string(), quantity: z.number().int().min(1) })).optional(),
  }),
});

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const lines = () => createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const sendLap = async (queue, total, { data: fixed, rate, live, slowEvery, slowMs }) => {
  const job = (number) => {
    const id = randomUUID();
    const slow = slowEvery && number % slowEvery === 0 ? { sleepMs: slowMs } : {};
    const data = { ...fixed, sentAt: now(), ...slow };
    const event = { specversion: '1.0', id, source: 'order', type: 'ORDER_SUCCESS', time: new Date().toISOString(), data };
    return { name: 'ORDER_SUCCESS', data: event, opts: { jobId: id, attempts: 1, ...keep } };
  };
  const send = (number) => {
    const { name, data, opts } = job(number);
    return queue.add(name, data, opts);
  };
  if (rate) {
    const start = now();
    const sends = [];
    for (let number = 0; number < total; number++) {
      const early = start + (number * 1000) / rate - now();
      if (early > 0) await sleep(early);
      sends.push(send(number));
    }
    await Promise.all(sends);
  } else if (live) {
    const sendInTurn = async (first) => {
      for (let number = first; number < total; number += live) await send(number);
    };
    await Promise.all(Array.from({ length: live }, (_, first) => sendInTurn(first)));
  } else {
    for (let first = 0; first < total; first += 200) {
      const count = Math.min(200, total - first);
      await queue.addBulk(Array.from({ length: count }, (_, at) => job(first + at)));
    }
  }
  say({ done: total });
};

const roles = {
  async sender() {
    const queue = new Queue('broker', { connection: connect(), prefix });
    await queue.waitUntilReady();
    say({ ready: true });
    const told = lines();
    for (const total of laps) await sendLap(queue, total, JSON.parse((await told.next()).value));
  },
  async router() {
    const connection = connect();
    const queues = services.map((service) => new Queue(service, { connection, prefix }));
    const opts = { attempts: 3, backoff: { type: 'exponential', delay: 1000, jitter: 1 }, ...keep };
    const worker = new Worker(
      'broker',
      async (job) => {
        const event = Event.parse(job.data);
        await Promise.all(queues.map((queue) => queue.add(event.type, event, { jobId: event.id, ...opts })));
      },
      { connection: connect(), prefix, concurrency: Number(concurrency) },
    );
    await worker.waitUntilReady();
    say({ ready: true });
  },
  async service() {
    let latencies = [];
    let ended = 0;
    const worker = new Worker(
      name,
      async (job) => {
        const event = Event.parse(job.data);
        if (event.data.sleepMs) await sleep(event.data.sleepMs);
        else latencies.push(now() - event.data.sentAt);
      },
      { connection: connect(), prefix, concurrency: Number(concurrency) },
    );
    worker.on('completed', () => {
      if (++ended < laps[0]) return;
      say({ done: ended, latencies });
      latencies = [];
      ended = 0;
      laps.shift();
    });
    await worker.waitUntilReady();
    say({ ready: true });
  },
};

process.on('SIGTERM', () => process.exit(0));
await roles[role]();
