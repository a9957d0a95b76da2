// pg-boss for few jobs that shall start soon: woken by NOTIFY, in small batches.
import * as pgboss from './pgboss.mjs';

export const setup = () => pgboss.setup({ notify: true });
export const producer = pgboss.producer;
export const consumer = (onJob, options) =>
  pgboss.consumer(onJob, options, { useListenNotify: true }, { batchSize: 10, localConcurrency: 2 });
