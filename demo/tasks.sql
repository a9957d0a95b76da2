-- Tasks that are programs and Python functions.  Only a member of sluice_admin may define these, and only a sidecar whose own file allows the
-- directory runs them.  Run as superuser, with :tasks the directory of the programs.

-- One queue for all conversions: as many at once as there are workers for, but one of each customer.
select sluice.create_queue('media', key_concurrency => 1);

select sluice.create_task('transcode', executor => 'python', target => 'transcode:convert', queue => 'media',
                          options => jsonb_build_object('path', jsonb_build_array(:'tasks')),
                          retry => '{"max_attempts": 2, "min_delay": "500 ms", "randomize": false}');
select sluice.create_task('film', executor => 'process', max_duration => '1 minute',
                          options => jsonb_build_object('argv', jsonb_build_array(:'tasks' || '/film.sh')));
select sluice.create_task('pack', executor => 'process',
                          options => jsonb_build_object('argv', jsonb_build_array(:'tasks' || '/pack.sh')));
select sluice.create_task('charge', executor => 'process',
                          options => jsonb_build_object('argv', jsonb_build_array(:'tasks' || '/charge.sh')),
                          retry => '{"max_attempts": 3, "min_delay": "1 second", "randomize": false}');
-- Most posters fit a small machine; one that does not is tried again on a larger one.
select sluice.create_task('poster', executor => 'python', target => 'poster:make', machine => 'micro',
                          options => jsonb_build_object('path', jsonb_build_array(:'tasks')),
                          retry => '{"max_attempts": 2, "out_of_memory": {"machine": "small-2x"}}');
-- Nobody here makes calls, and one that was not begun in time is not wanted any more.
select sluice.create_task('call', executor => 'external', ttl => '5s');
select sluice.create_queue('task/pack', concurrency => 2);
