// Stock BullMQ by the names of its own methods: told on stdin, one JSON object a line, it says on stdout what they give.
import { createInterface } from 'node:readline';
import IORedis from 'ioredis';

const [, , url, prefix, version = 'bullmq'] = process.argv;
const { Queue, QueueEvents, Worker } = await import(version);
const connect = () => new IORedis(url, { maxRetriesPerRequest: null });
const connection = connect();
const queues = new Map();
const listeners = new Map();
const workers = [];

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

const EVENTS = [
  'active', 'added', 'cleaned', 'completed', 'deduplicated', 'delayed', 'drained', 'duplicated', 'failed', 'paused',
  'progress', 'removed', 'resumed', 'retries-exhausted', 'stalled', 'waiting', 'waiting-children',
];

function queueOf(name) {
  if (!queues.has(name)) queues.set(name, new Queue(name, { connection, prefix }));
  return queues.get(name);
}

async function jobOf(name, id) {
  const job = await queueOf(name).getJob(id);
  if (!job) throw new Error(`no job ${id} in ${name}`);
  return job;
}

const actions = {
  async queue({ name, method, args }) {
    return await queueOf(name)[method](...args);
  },
  async job({ name, id, method, args }) {
    const job = await jobOf(name, id);
    return method ? await job[method](...args) : { ...job.toJSON(), state: await job.getState() };
  },
  async listen({ name }) {
    // From the beginning: it is ready before its first read, and would miss what comes in between.
    const events = new QueueEvents(name, { connection: connect(), prefix, lastEventId: '0-0' });
    listeners.set(name, events);
    for (const event of EVENTS) events.on(event, (words) => say({ event, queue: name, ...words }));
    await events.waitUntilReady();
  },
  async finish({ name, id }) {
    const job = await jobOf(name, id);
    job.waitUntilFinished(listeners.get(name), 20_000).then(
      (value) => say({ finished: id, value }),
      (error) => say({ finished: id, reason: error.message }),
    );
  },
  // Works as it is told by job id: the plan says what each attempt does, in turn.
  async work({ name, plan, options }) {
    const attempt = async (job) => {
      const step = plan[job.id][job.attemptsMade];
      if (step.log) await job.log(step.log);
      if (step.progress !== undefined) await job.updateProgress(step.progress);
      if (step.raises) throw new Error(step.raises);
      return step.returns;
    };
    const worker = new Worker(name, attempt, { connection: connect(), prefix, ...options });
    workers.push(worker);
    await worker.waitUntilReady();
  },
};

say({ did: 'start' });
for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, ...words } = JSON.parse(line);
  try {
    say({ did: action, result: (await actions[action](words)) ?? null });
  } catch (error) {
    say({ did: action, error: error.message });
  }
}
for (const one of [...workers, ...listeners.values(), ...queues.values()]) await one.close();
process.exit(0);
