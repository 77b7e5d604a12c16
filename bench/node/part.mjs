// One part of a bus of stock BullMQ: `sender`, `router` or `service`. Told by its arguments and one line on stdin.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import IORedis from 'ioredis';
import { z } from 'zod';

const [, , role, url, prefix, concurrency, events, rate, listeners, name] = process.argv;
const path = url.startsWith('unix://') ? url.slice('unix://'.length) : url;
const connect = () => new IORedis(path, { maxRetriesPerRequest: null });
const services = listeners.split(',');
const keep = { removeOnComplete: { age: 3600, count: 1000 } };
const total = Number(events);

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
const told = async () => {
  for await (const line of createInterface({ input: process.stdin })) return JSON.parse(line);
};

const roles = {
  async sender() {
    const queue = new Queue('broker', { connection: connect(), prefix });
    await queue.waitUntilReady();
    say({ ready: true });
    const { data: fixed, live, slowEvery, slowMs } = await told();
    const job = (number) => {
      const id = randomUUID();
      const slow = slowEvery && number % slowEvery === 0 ? { sleepMs: slowMs } : {};
      const data = { ...fixed, sentAt: Date.now(), ...slow };
      const event = { specversion: '1.0', id, source: 'order', type: 'ORDER_SUCCESS', time: new Date().toISOString(), data };
      return { name: 'ORDER_SUCCESS', data: event, opts: { jobId: id, attempts: 1, ...keep } };
    };
    const send = (number) => {
      const { name, data, opts } = job(number);
      return queue.add(name, data, opts);
    };
    if (Number(rate)) {
      const start = Date.now();
      const sends = [];
      for (let number = 0; number < total; number++) {
        const early = start + (number * 1000) / rate - Date.now();
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
    const latencies = [];
    let processed = 0;
    const worker = new Worker(
      name,
      async (job) => {
        const event = Event.parse(job.data);
        if (event.data.sleepMs) await sleep(event.data.sleepMs);
        else latencies.push(Date.now() - event.data.sentAt);
        if (++processed === total) say({ done: total, latencies });
      },
      { connection: connect(), prefix, concurrency: Number(concurrency) },
    );
    await worker.waitUntilReady();
    say({ ready: true });
  },
};

process.on('SIGTERM', () => process.exit(0));
await roles[role]();
