// A stock BullMQ service that does what it is told on stdin, one JSON object a line, and says on stdout what it sees.
import { createInterface } from 'node:readline';
import { Queue, QueueEvents, UnrecoverableError, Worker } from 'bullmq';
import IORedis from 'ioredis';

const [, , url, prefix] = process.argv;
const connect = () => new IORedis(url, { maxRetriesPerRequest: null });
const connection = connect();
const broker = new Queue('broker', { connection, prefix });
const open = [broker];

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

const actions = {
  async register({ service, listensTo, jobOptions }) {
    const data = { serviceName: service, listensTo, ...(jobOptions && { jobOptions }) };
    const job = await broker.add('hippo.register', data, { lifo: true, attempts: 1 });
    say({ did: 'register', id: job.id });
  },
  async send({ name, id, envelope, options }) {
    await broker.add(name, envelope, { jobId: id, attempts: 1, ...options });
    say({ did: 'send', id });
  },
  async work({ service, concurrency = 5, fails = 0 }) {
    let left = fails;
    const worker = new Worker(
      service,
      async (job) => {
        say({ got: job.data, name: job.name, id: job.id, attempt: job.attemptsMade + 1 });
        if (job.data.data?.unrecoverable) throw new UnrecoverableError('never');
        if (left-- > 0) throw new Error('not yet');
        return { by: 'node', id: job.id };
      },
      { connection: connect(), prefix, concurrency },
    );
    open.unshift(worker);
    await worker.waitUntilReady();
    say({ did: 'work' });
  },
  async listen({ service }) {
    const events = new QueueEvents(service, { connection: connect(), prefix, lastEventId: '0-0' });
    open.unshift(events);
    await events.waitUntilReady();
    events.on('completed', ({ jobId, returnvalue }) => say({ completed: jobId, returnvalue }));
    say({ did: 'listen' });
  },
  async look({ service, id }) {
    const queue = new Queue(service, { connection, prefix });
    const job = id && (await queue.getJob(id));
    say({
      did: 'look',
      workers: (await queue.getWorkers()).length,
      counts: await queue.getJobCounts(),
      job: job && { ...job.toJSON(), state: await job.getState() },
      schedulers: (await queue.getJobSchedulers()).map(({ key, every }) => ({ key, every })),
    });
    await queue.close();
  },
  async retry({ service, id }) {
    const queue = new Queue(service, { connection, prefix });
    await (await queue.getJob(id)).retry();
    await queue.close();
    say({ did: 'retry' });
  },
};

say({ did: 'start' });
for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, ...rest } = JSON.parse(line);
  await actions[action](rest);
}
for (const one of open) await one.close();
process.exit(0);
