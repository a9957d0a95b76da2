// The twin of load.cpp for queues that are Node libraries: the same options, the same loads, the same line of JSON.
// Jobs are taken in the main thread and sent from a thread of their own, so that neither waits for the other's
// JavaScript; they share numbers and marks.  --test setup makes what a system keeps its jobs in.
import { parseArgs } from 'node:util';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import * as bullmq from './systems/bullmq.mjs';
import * as graphile from './systems/graphile.mjs';
import * as pgboss from './systems/pgboss.mjs';
import * as pgbossNotify from './systems/pgboss_notify.mjs';
import * as sluice from './systems/sluice.mjs';

const systems = { bullmq, graphile, pgboss, pgboss_notify: pgbossNotify, sluice_node: sluice };
const NEXT = 0, SENT = 1, DONE = 2, TWICE = 3, STOP = 4;
const MOST_JOBS = 50_000_000; // further ones are not looked at for being handed out twice
const PADDING = 'x'.repeat(64);

const now = () => Number(process.hrtime.bigint() / 1000n); // microseconds, the same in all threads
const seconds = (from) => (now() - from) / 1e6;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const payload = (id) => ({ id, sent: now(), padding: PADDING });

function options() {
  const names = ['system', 'test', 'connections', 'batch', 'jobs', 'seconds', 'window', 'producers', 'bulk', 'bound', 'rate', 'patience', 'lead'];
  const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
  const { system, test, ...numbers } = values;
  return {
    system, test, connections: 4, batch: 100, jobs: 0, seconds: 4, window: 10, producers: 2, bulk: 100, bound: 10_000,
    rate: 100, patience: 10, lead: 20,
    ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)])),
  };
}

// --- Sending ---

async function send(producer, client, amount, numbers) {
  const first = Atomics.add(numbers, NEXT, amount);
  if (amount === 1) await producer.one(client, payload(first));
  else await producer.many(client, Array.from({ length: amount }, (_, n) => payload(first + n)));
  Atomics.add(numbers, SENT, amount);
}

const each = (amount, work) => Promise.all(Array.from({ length: amount }, (_, client) => work(client)));

const senders = {
  async enqueue(producer, o, numbers) {
    const end = now() + o.seconds * 1e6;
    await each(o.connections, async (client) => {
      while (now() < end) await send(producer, client, o.batch, numbers);
    });
  },
  async fill(producer, o, numbers) {
    let claimed = 0;
    await each(o.connections, async (client) => {
      for (let first; (first = claimed) < o.jobs;) {
        claimed += o.batch;
        await send(producer, client, Math.min(o.batch, o.jobs - first), numbers);
      }
    });
  },
  async steady(producer, o, numbers) {
    const end = now() + o.seconds * 1e6;
    await each(o.producers, async (client) => {
      while (now() < end) {
        if (Atomics.load(numbers, SENT) - Atomics.load(numbers, DONE) > o.bound) await pause(1);
        else await send(producer, client, o.bulk, numbers);
      }
    });
  },
  async latency(producer, o, numbers) {
    const start = now();
    await each(4, async (client) => {
      for (let n = client; n < o.rate * o.seconds; n += 4) {
        const at = start + (n / o.rate) * 1e6;
        while (now() < at) await pause(Math.max(0, (at - now()) / 1000 - 0.3));
        await send(producer, client, 1, numbers);
      }
    });
  },
};

/** Sends jobs that all fall due at one instant, `lead` seconds from now; `sent` is that instant. */
async function sendDelayed(producer, o, numbers) {
  const due = now() + o.lead * 1e6, runAt = new Date(Date.now() + o.lead * 1000);
  let claimed = 0;
  await each(o.connections, async (client) => {
    for (let first; (first = claimed) < o.jobs;) {
      const amount = Math.min(o.batch, o.jobs - first);
      claimed += amount;
      const number = Atomics.add(numbers, NEXT, amount);
      await producer.later(client, Array.from({ length: amount }, (_, n) => ({ id: number + n, sent: due, padding: PADDING })), runAt);
      Atomics.add(numbers, SENT, amount);
    }
  });
  return seconds(due) < 0;
}

/** Sends in this thread; answers with the seconds that it took, connections not counted. */
async function sendAll(o, numbers, ready) {
  const clients = { steady: o.producers, latency: 4 }[o.test] ?? o.connections;
  const producer = await systems[o.system].producer(clients);
  await ready();
  const start = now();
  await senders[o.test](producer, o, numbers);
  const took = seconds(start);
  await producer.close();
  return took;
}

/** Sends in a thread of its own, which waits for go(). */
function sendBeside(o, numbers) {
  const thread = new Worker(new URL(import.meta.url), { workerData: { o, numbers } });
  let isReady, isDone, failed;
  const ready = new Promise((resolve, reject) => { isReady = resolve; failed = reject; });
  const done = new Promise((resolve, reject) => { isDone = resolve; thread.on('error', reject); });
  thread.on('error', failed);
  thread.on('message', (what) => (what === 'ready' ? isReady() : isDone()));
  return { ready, done, go: () => thread.postMessage('go') };
}

// --- Taking ---

async function waitFor(jobs, numbers, patience) {
  for (let seen = -1, last = now(); numbers[DONE] < jobs() && now() - last < patience * 1e6; await pause(1)) {
    const done = Atomics.load(numbers, DONE);
    if (done !== seen) [seen, last] = [done, now()];
  }
}

async function take(o, numbers, seen, latencies, atEach = () => {}) {
  return systems[o.system].consumer((job) => {
    atEach();
    if (job.id < seen.length && seen[job.id]++ > 0) Atomics.add(numbers, TWICE, 1);
    if (latencies) latencies.push((now() - job.sent) / 1000);
    Atomics.add(numbers, DONE, 1);
  }, o);
}

const outcome = (numbers, seen, jobs) => ({
  done: numbers[DONE], lost: seen.subarray(0, jobs).reduce((lost, times) => lost + (times === 0), 0), twice: numbers[TWICE],
});

const tests = {
  async setup(o) {
    await systems[o.system].setup();
    return {};
  },
  async enqueue(o, numbers) {
    const took = await sendAll(o, numbers, async () => {});
    return { jobs: numbers[SENT], per_s: Math.round(numbers[SENT] / took) };
  },
  fill: (o, numbers) => tests.enqueue(o, numbers),
  async drain(o, numbers, seen) {
    // From the first job on: what a library does at its start is not the drain.
    let start;
    const consumer = await take(o, numbers, seen, undefined, () => { start ??= now(); });
    await waitFor(() => o.jobs, numbers, o.patience);
    // Some let the next job begin before the end of the last is written.
    while (numbers[DONE] >= o.jobs && await consumer.isBehind?.()) await pause(5);
    const took = seconds(start ?? now());
    await consumer.stop();
    return { ...outcome(numbers, seen, o.jobs), per_s: Math.round(numbers[DONE] / took) };
  },
  async steady(o, numbers, seen) {
    const sender = sendBeside(o, numbers);
    await sender.ready;
    const consumer = await take(o, numbers, seen);
    const windows = [];
    sender.go();
    const start = now();
    let counted = 0;
    for (let n = 1; n * o.window <= o.seconds; n++) {
      await pause(n * o.window * 1000 - (now() - start) / 1000);
      const done = Atomics.load(numbers, DONE);
      windows.push(Math.floor((done - counted) / o.window));
      counted = done;
    }
    await sender.done;
    await waitFor(() => numbers[SENT], numbers, o.patience);
    await consumer.stop();
    return { ...outcome(numbers, seen, numbers[SENT]), per_s: Math.round(counted / (windows.length * o.window)), windows };
  },
  async delayed(o, numbers, seen) {
    const latencies = [];
    const producer = await systems[o.system].producer(o.connections);
    const consumer = await take(o, numbers, seen, latencies);
    const inTime = await sendDelayed(producer, o, numbers);
    await producer.close();
    if (!inTime) throw new Error(`${o.jobs} jobs could not be sent in ${o.lead} s`);
    await waitFor(() => o.jobs, numbers, o.lead + o.patience);
    await consumer.stop();
    latencies.sort((a, b) => a - b);
    const quantile = (share) => Math.round(latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ?? 0);
    return {
      ...outcome(numbers, seen, o.jobs),
      first_ms: quantile(0), p50_ms: quantile(0.5), p95_ms: quantile(0.95), p99_ms: quantile(0.99), max_ms: quantile(1),
    };
  },
  async latency(o, numbers, seen) {
    const sender = sendBeside(o, numbers);
    await sender.ready;
    const latencies = [];
    const consumer = await take(o, numbers, seen, latencies);
    sender.go();
    await sender.done;
    await waitFor(() => numbers[SENT], numbers, o.patience);
    await consumer.stop();
    latencies.sort((a, b) => a - b);
    const quantile = (share) => Number((latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ?? 0).toFixed(2));
    return {
      ...outcome(numbers, seen, numbers[SENT]),
      p50_ms: quantile(0.5), p95_ms: quantile(0.95), p99_ms: quantile(0.99), max_ms: quantile(1),
    };
  },
};

if (isMainThread) {
  const o = options();
  const numbers = new Int32Array(new SharedArrayBuffer(4 * 8));
  const needsMarks = !['setup', 'enqueue', 'fill'].includes(o.test);
  const result = await tests[o.test](o, numbers, needsMarks ? new Uint8Array(MOST_JOBS) : undefined);
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
} else {
  const { o, numbers } = workerData;
  await sendAll(o, numbers, () => new Promise((resolve) => {
    parentPort.once('message', resolve);
    parentPort.postMessage('ready');
  }));
  parentPort.postMessage('done');
  parentPort.close();
}
