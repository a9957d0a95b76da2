// Sluice through node-postgres, as a worker in Node would use it: what differs from load.cpp is the client alone.
import { clients, end } from './postgres.mjs';

const PAUSE_AFTER_A_MISS = 50; // milliseconds; Sluice asks for it

const text = (payload) => JSON.stringify(payload);

/** Extension, queue and task are made by systems.py, as for the client in C++. */
export async function setup() {}

export async function producer(amount) {
  const made = await clients(amount);
  return {
    one: (client, payload) => made[client].query({
      name: 'one', text: "select sluice.enqueue('bench', $1::jsonb)", values: [text(payload)] }),
    many: (client, payloads) => made[client].query({
      name: 'many', text: "select count(*) from sluice.enqueue_many('bench', $1::jsonb[])", values: [payloads.map(text)] }),
    later: (client, payloads, runAt) => made[client].query({
      name: 'later', text: `select count(*) from sluice.enqueue_many('bench', $1::jsonb[],
        array[jsonb_build_object('run_at', $2::timestamptz)])`, values: [payloads.map(text), runAt] }),
    close: () => end(made),
  };
}

async function work(client, waiting, name, onJob, capacity, state) {
  let outcomes = [], reply = 0;
  const exchange = async (room) => {
    const { rows } = await client.query({
      name: 'exchange',
      text: `select kind, token, answer, payload, reply from sluice.exchange(
               worker => $1::text, outcomes => $2::jsonb, capacity => $3::int, seen_reply => $4::bigint)`,
      values: [name, JSON.stringify(outcomes), room, reply],
    });
    outcomes = [];
    for (const row of rows) {
      if (row.kind === 'reply') {
        reply = row.reply;
      } else if (row.kind === 'claimed') {
        onJob(row.payload);
        outcomes.push({ token: row.token, outcome: 'completed' });
      } else if (row.kind !== 'ended' || row.answer !== 'done') {
        throw new Error(`a completion was answered ${row.kind} ${row.answer}`);
      }
    }
    return outcomes.length;
  };

  let toldOfWork = false;
  while (!state.stopped) {
    if (await exchange(capacity)) {
      toldOfWork = false;
      continue;
    }
    if (toldOfWork) await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_A_MISS));
    const { rows } = await waiting.query({
      name: 'wait', text: "call sluice.wait_for_work('{bench}', '200 ms', '{external}', $1::text, null)", values: [name] });
    toldOfWork = rows[0].reason === 'work';
  }
  if (outcomes.length) await exchange(0);
}

export async function consumer(onJob, { connections, batch, test }) {
  // One worker for latency, as load.cpp has.
  const amount = test === 'latency' ? 1 : connections;
  const [working, waiting] = [await clients(amount), await clients(amount)];
  const state = { stopped: false };
  const loops = working.map(async (client, n) => {
    const name = `peers:${process.pid}:${n}`;
    await client.query("select sluice.register_worker($1::text, '{}')", [name]);
    await work(client, waiting[n], name, onJob, batch, state);
  });
  return {
    async stop() {
      state.stopped = true;
      await Promise.all(loops);
      await end([...working, ...waiting]);
    },
  };
}
