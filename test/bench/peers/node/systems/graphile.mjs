// graphile-worker with what its page on performance advises: a local queue, and completions in batches.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { ask, pool } from './postgres.mjs';

const logger = new Logger(() => () => {});

export async function setup() {
  const connections = pool(1);
  const utils = await makeWorkerUtils({ pgPool: connections, logger });
  await utils.migrate();
  await utils.release();
  await connections.end();
}

export async function producer(amount) {
  const connections = pool(amount);
  const utils = await makeWorkerUtils({ pgPool: connections, logger });
  return {
    one: (_, payload) => utils.addJob('bench', payload),
    many: (_, payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: 'bench', payload }))),
    later: (_, payloads, runAt) => utils.addJobs(payloads.map((payload) => ({ identifier: 'bench', payload, runAt }))),
    async close() {
      await utils.release();
      await connections.end();
    },
  };
}

export async function consumer(onJob) {
  const connections = pool(12);
  const runner = await run({
    pgPool: connections, logger, noHandleSignals: true,
    preset: { worker: { concurrentJobs: 24, maxPoolSize: 12, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    taskList: { bench: async (payload) => onJob(payload) },
  });
  return {
    isBehind: () => ask(connections, 'exists (select from graphile_worker._private_jobs)'),
    async stop() {
      await runner.stop();
      await connections.end();
    },
  };
}
