// pg-boss with large batches, several loops in one process, and no pause after a full batch.
import { PgBoss } from 'pg-boss';
import { ask, clients, end } from './postgres.mjs';

const QUEUE = 'bench';

async function started(options) {
  const boss = new PgBoss({
    host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER, database: process.env.PGDATABASE,
    schedule: false, ...options });
  boss.on('error', (error) => { throw error; });
  await boss.start();
  return boss;
}

export async function setup(queue = {}) {
  const boss = await started({});
  await boss.createQueue(QUEUE, queue);
  await boss.stop({ graceful: false });
}

export async function producer(amount) {
  const boss = await started({ max: amount, supervise: false, migrate: false });
  return {
    one: (_, payload) => boss.send(QUEUE, payload),
    many: (_, payloads) => boss.insert(QUEUE, payloads.map((data) => ({ data }))),
    close: () => boss.stop({ graceful: false }),
  };
}

export async function consumer(onJob, _, options = {}, work = { batchSize: 500, localConcurrency: 3 }) {
  const boss = await started({ max: 8, ...options });
  const asking = await clients(1);
  // Half a second is the least that it accepts.
  await boss.work(QUEUE, { pollingIntervalSeconds: 0.5, burstWhenBatchFull: true, ...work }, async (jobs) => {
    for (const job of jobs) onJob(job.data);
  });
  return {
    isBehind: () => ask(asking[0], "exists (select from pgboss.job where state <> 'completed')"),
    async stop() {
      await boss.stop({ graceful: true, timeout: 10_000 });
      await end(asking);
    },
  };
}
