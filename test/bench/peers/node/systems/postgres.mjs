// Connections to the server of PGHOST, PGPORT, PGUSER and PGDATABASE, which node-postgres reads by itself.
import pg from 'pg';

export async function clients(amount) {
  const made = Array.from({ length: amount }, () => new pg.Client());
  await Promise.all(made.map((client) => client.connect()));
  return made;
}

export const end = (made) => Promise.all(made.map((client) => client.end()));

export function pool(size) {
  const made = new pg.Pool({ max: size, min: size });
  made.on('error', (error) => { throw error; });
  return made;
}

/** Asks the server a question that is answered by yes or no. */
export async function ask(client, question) {
  const { rows } = await client.query(`select (${question}) as answer`);
  return rows[0].answer;
}
