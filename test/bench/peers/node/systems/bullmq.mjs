// BullMQ on the Redis behind the socket REDIS_SOCKET; finished jobs are removed, a hundred run at a time.
import { Queue, Worker } from 'bullmq';

const QUEUE = 'bench';
const connection = { path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null };

export async function setup() {}

export async function producer(amount) {
  const queues = Array.from({ length: amount }, () =>
    new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } }));
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));
  return {
    one: (client, data) => queues[client].add('job', data),
    many: (client, payloads) => queues[client].addBulk(payloads.map((data) => ({ name: 'job', data }))),
    later: (client, payloads, runAt) => queues[client].addBulk(
      payloads.map((data) => ({ name: 'job', data, opts: { delay: Math.max(0, runAt - Date.now()) } }))),
    close: () => Promise.all(queues.map((queue) => queue.close())),
  };
}

export async function consumer(onJob) {
  const worker = new Worker(QUEUE, async (job) => onJob(job.data), { connection, concurrency: 100, removeOnComplete: { count: 0 } });
  worker.on('error', (error) => { throw error; });
  await worker.waitUntilReady();
  const queue = new Queue(QUEUE, { connection });
  await queue.waitUntilReady();
  return {
    isBehind: async () => (await queue.getJobCountByTypes('waiting', 'active')) > 0,
    async stop() {
      await worker.close();
      await queue.close();
    },
  };
}
