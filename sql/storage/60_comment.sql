-- comments: what \d+ says of every column, and of what has no other page to be described on.
--
-- Said anew by every setup(), where it differs: so storage that was migrated reads like new storage, and no migration
-- has to repeat a comment.  Tables, views and indexes that carry a thought have theirs beside their definition.  The
-- columns of views are described in docs/views.md in these very words, which a test compares.  Units are in the type or
-- in the sentence; what null means is said wherever null can be.

create function sluice._comments() returns table (relation text, of_column text, comment text)
language sql immutable parallel safe
begin atomic
    values
    -- Views
    ('runs', 'run_id', 'Time-ordered 64-bit id.'),
    ('runs', 'task', 'Name of its task.'),
    ('runs', 'queue', 'Queue that it waits in, or waited in.'),
    ('runs', 'status', 'Of a live run delayed, queued, executing or retrying; final and never changing: completed, failed, crashed, system_failure, timed_out, expired, canceled.'),
    ('runs', 'attempt', 'Number of the current or last attempt, 0 before the first.'),
    ('runs', 'max_attempts', 'How many attempts it may have.'),
    ('runs', 'concurrency_key', 'Whose share of the queue''s key_concurrency it takes; null for none.'),
    ('runs', 'priority', 'Head start in seconds over other runs of its lane.'),
    ('runs', 'worker', 'Who executes it now; null unless it is executing.'),
    ('runs', 'created_at', 'When it was enqueued.'),
    ('runs', 'ready_at', 'May start from then on; in the future for delayed and retrying.'),
    ('runs', 'started_at', 'When its first attempt was claimed; null before.'),
    ('runs', 'finished_at', 'When it became final; null before.'),
    ('runs', 'payload', 'What its task is given; null for nothing.'),
    ('runs', 'output', 'What it gave back; null for nothing, and unless it completed.'),
    ('runs', 'error', 'Why it ended, an object with code and message; of a live run, why its last attempt did; null if nothing went wrong.'),
    ('runs', 'tags', 'Words to find it by; null for none.'),
    ('runs', 'metadata', 'Whatever else was noted at enqueue, or by its attempts; null for nothing.'),
    ('runs', 'expires_at', 'Expires then unless it has started; null if it may wait for ever, and once it has started.'),
    ('runs', 'max_duration', 'How long an attempt of it may take; null for no limit.'),
    ('runs', 'schedule', 'Name of the schedule that made it, which may be gone; null if none did.'),
    ('runs', 'external_id', 'Which instance of that schedule; null if none, or the one without.'),
    ('runs', 'machine', 'The machine that its next attempt, or its last one, runs on; null where programs are not its task''s matter.'),
    ('runs', 'traceparent', 'The trace that it continues, as whoever enqueued it said; null where nobody has.'),

    ('attempts', 'run_id', 'The run that it was a try at.'),
    ('attempts', 'attempt', 'Its number, from 1.'),
    ('attempts', 'outcome', 'How it ended: completed, failed, crashed, oom, timed_out, lost (its worker died or fell silent), canceled.'),
    ('attempts', 'worker', 'Who executed it.'),
    ('attempts', 'started_at', 'When it was claimed.'),
    ('attempts', 'ended_at', 'When its outcome was written.'),
    ('attempts', 'duration', 'From claim to outcome.'),
    ('attempts', 'error', 'What went wrong, an object with code and message; null if nothing did.'),

    ('queues', 'queue', 'Its name.'),
    ('queues', 'depth', 'Runs that could start now.'),
    ('queues', 'delayed', 'Runs whose time has not come, retries included.'),
    ('queues', 'executing', 'Slots taken, those of canceled attempts whose worker has not stopped yet included.'),
    ('queues', 'concurrency', 'Limit of the queue; null for none, 0 starts nothing.'),
    ('queues', 'key_concurrency', 'Limit of each concurrency key; null for none.'),
    ('queues', 'oldest', 'How long the oldest run has been ready; null if none is.'),
    ('queues', 'paused_at', 'When it was paused; null unless it is.'),
    ('queues', 'pause_reason', 'Why, if whoever paused it said so; else null.'),
    ('queues', 'granted_to', 'Roles that it was granted to; null for none.'),

    ('lanes', 'queue', 'Name of the queue.'),
    ('lanes', 'concurrency_key', 'The key; null for the lane of runs without one.'),
    ('lanes', 'depth', 'Runs that could start now, if limits allow.'),
    ('lanes', 'delayed', 'Runs whose time has not come, retries included.'),
    ('lanes', 'executing', 'Slots taken, those of canceled attempts whose worker has not stopped yet included.'),
    ('lanes', 'concurrency', 'Limit of this lane; null for none.'),
    ('lanes', 'oldest', 'How long its oldest run has been ready; null if none is.'),

    ('workers', 'worker', 'Its name.'),
    ('workers', 'executing', 'Slots that it holds.'),
    ('workers', 'capacity', 'How many attempts it takes at once; null if it did not say.'),
    ('workers', 'executors', 'What it runs, such as sql, process; null if it did not say.'),
    ('workers', 'queues', 'Queues that it serves, or all; null without a session.'),
    ('workers', 'leader', 'True for the one that does what must be done once.'),
    ('workers', 'host', 'Machine that it runs on; null if it did not say.'),
    ('workers', 'process', 'Its process id on that host; null if it did not say.'),
    ('workers', 'version', 'Its version; null if it did not say.'),
    ('workers', 'backend_pid', 'Process id of its session in Postgres; null without a session.'),
    ('workers', 'registered_at', 'When its session was registered; null without a session.'),
    ('workers', 'seen_at', 'When it called last; null without a session.'),
    ('workers', 'memory', 'Bytes that its attempts may use together, by their machines; null if it did not say.'),

    ('tasks', 'task', 'Its name.'),
    ('tasks', 'executor', 'What runs it: sql, process, python, http or external.'),
    ('tasks', 'target', 'What runs: of an sql task the function or statement, of a python task the script, function or code, of an http task the URL; null for others.'),
    ('tasks', 'queue', 'Where its runs wait unless enqueue names another queue.'),
    ('tasks', 'max_attempts', 'How many attempts its runs have.'),
    ('tasks', 'lease', 'How long a worker may be silent; null for sluice.default_lease.'),
    ('tasks', 'max_duration', 'How long an attempt may take; null for no limit.'),
    ('tasks', 'role', 'Role that an sql task runs as; null for others.'),
    ('tasks', 'options', 'What the executor was told, such as argv of a process task.'),
    ('tasks', 'retry', 'The retry policy with its defaults filled in.'),
    ('tasks', 'updated_at', 'When it was defined as it is now.'),
    ('tasks', 'owner', 'Role whose members may define it anew, drop and grant it; null for any producer.'),
    ('tasks', 'granted_to', 'Roles that it was granted to; null for none.'),
    ('tasks', 'ttl', 'How long its runs may wait for their first attempt; null for ever.'),
    ('tasks', 'machine', 'The machine that its runs run on unless they say otherwise; null where programs are not its matter.'),

    ('resources', 'run_id', 'The run.'),
    ('resources', 'attempt', 'Number of the attempt.'),
    ('resources', 'task', 'Name of its task.'),
    ('resources', 'machine', 'The machine that it ran on.'),
    ('resources', 'enforced_by', 'What held it to that: cgroup, or rlimit.'),
    ('resources', 'memory_limit', 'Bytes of memory that it might use.'),
    ('resources', 'peak_memory', 'The most bytes that it used at once: with cgroup of all its processes and their caches of files, with rlimit of its largest process; in a warm interpreter an approximation.'),
    ('resources', 'cpu_user', 'Time that CPUs spent in its own code.'),
    ('resources', 'cpu_system', 'Time that CPUs spent in the kernel on its behalf.'),
    ('resources', 'wall', 'How long its program ran.'),
    ('resources', 'read_bytes', 'Bytes that it read from disks.'),
    ('resources', 'written_bytes', 'Bytes that it wrote to disks.'),
    ('tasks', 'retention', 'For how long its final runs are kept; null for as long as all others.'),
    ('tasks', 'heartbeat', 'How often a worker is to say that it lives; null for a quarter of the lease, at most 15 seconds.'),
    ('tasks', 'on_lost', 'What becomes of a run whose worker was lost: retry, or fail.'),

    ('schedules', 'schedule', 'Its name.'),
    ('schedules', 'external_id', 'Which instance of that name it is, such as a customer; null for the one without.'),
    ('schedules', 'task', 'Task of the runs that it makes.'),
    ('schedules', 'cron', 'When it ticks, as it was written.'),
    ('schedules', 'timezone', 'By the clocks of which time zone.'),
    ('schedules', 'description', 'When it ticks, in words.'),
    ('schedules', 'active', 'False while it does not tick.'),
    ('schedules', 'next_tick', 'Its next tick; null while it is inactive.'),
    ('schedules', 'last_tick', 'The last tick that made a run; null if none has.'),
    ('schedules', 'last_run_id', 'The run that it made; null if none.'),
    ('schedules', 'last_status', 'The status of that run; null if there is none, or no more.'),
    ('schedules', 'skipped', 'How many ticks made no run: missed, or held back by overlap or a problem.'),
    ('schedules', 'problem', 'Why its last tick could make no run; null if it could.'),
    ('schedules', 'catch_up', 'What is done for ticks that were missed: skip, one or all.'),
    ('schedules', 'overlap', 'What a tick does while the run before is not final: allow, skip or cancel_previous.'),
    ('schedules', 'spread', 'Window behind a tick in which its run is made.'),
    ('schedules', 'payload', 'What its runs are given beside the tick; null for nothing.'),
    ('schedules', 'options', 'What its runs are enqueued with, such as priority; null for nothing.'),
    ('schedules', 'owner', 'Role in whose name it enqueues, and whose members may change it.'),
    ('schedules', 'created_at', 'When it was defined for the first time.'),
    ('schedules', 'updated_at', 'When it was defined, activated or deactivated last.'),

    ('watches', 'table_name', 'The table that is watched.'),
    ('watches', 'watch', 'Name of the watch.'),
    ('watches', 'events', 'What it looks at: insert, update, delete.'),
    ('watches', 'task', 'Task of the runs that it makes.'),
    ('watches', 'columns', 'Columns that the payload has; null for all.'),
    ('watches', 'condition', 'Rows for which it is not true are left out; null for none.'),
    ('watches', 'concurrency_key', 'Expression that gives the concurrency key; null for none.'),
    ('watches', 'priority', 'Expression that gives the priority; null for 0.'),
    ('watches', 'only_when_changed', 'An update counts only if one of these columns is another than before; null if each one counts.'),
    ('watches', 'rows_per_run', 'How many rows one run has at most.'),
    ('watches', 'enabled', 'False if one of its triggers is disabled.'),
    ('watches', 'unwatched_partitions', 'Statements that name these are not seen: call watch again.'),

    ('weeks', 'week', 'Its Monday, in UTC.'),
    ('weeks', 'runs', 'How many runs it has, as vacuum or analyze found last; null before the first of them.'),
    ('weeks', 'bytes', 'What its tables and their indexes take.'),
    ('weeks', 'goes_at', 'From then on it is removed; null if it is kept for ever.'),
    ('weeks', 'blocked_by', 'What it waits for although its time has come; null for nothing.'),

    -- Definitions
    ('meta', 'only_row', 'Always true: there is one row.'),
    ('meta', 'schema_version', 'Version of the storage, raised by sluice.setup().'),
    ('meta', 'home', 'System identifier and database oid; changed only by sluice.adopt().'),
    ('meta', 'set_up_at', 'When the storage was made.'),
    ('meta', 'retention', 'For how long final runs are kept, unless their task says otherwise; null for ever.'),
    ('meta_pkey', null, 'Allows one row.'),

    ('queue', 'queue_id', 'Number by which runs refer to it.'),
    ('queue', 'queue', 'Its name.'),
    ('queue', 'concurrency', 'Slots of the whole queue; null is unlimited, 0 starts nothing.'),
    ('queue', 'key_concurrency', 'Slots of each lane, that is of each concurrency key; null is unlimited.'),
    ('queue', 'paused_at', 'When it was paused; null while it hands out runs.'),
    ('queue', 'pause_reason', 'Why it was paused, in words of whoever did; null if none were given.'),
    ('queue', 'created_at', 'When it was made for the first time.'),
    ('queue', 'dropped_at', 'Set: refuses new runs; the name can be created again.'),
    ('queue_pkey', null, 'Finds a queue by its number.'),
    ('queue_name_is_unique', null, 'Finds a queue by its name.'),
    ('queue_queue_id_seq', null, 'Numbers of queues.'),

    ('task', 'task_id', 'Number by which runs refer to it.'),
    ('task', 'task', 'Its name.'),
    ('task', 'executor', 'What runs it: sql, process, python, http, or external for any client that claims it.'),
    ('task', 'target', 'Function or statement of an sql task, script, function or code of a python task, URL of an http task; null for others.'),
    ('task', 'is_function', 'The target of an sql task names a function; otherwise it is a statement.'),
    ('task', 'queue_id', 'Queue of its runs unless enqueue names another.'),
    ('task', 'max_attempts', 'How many attempts its runs have.'),
    ('task', 'factor', 'Growth of the delay between attempts; see min_delay and max_delay.'),
    ('task', 'min_delay', 'Delay after the first attempt that failed.'),
    ('task', 'max_delay', 'The delay grows no further than this.'),
    ('task', 'randomize', 'The delay is multiplied by a random number from 1 to 2.'),
    ('task', 'lease', 'How long a worker owns an attempt without a heartbeat; null is sluice.default_lease.'),
    ('task', 'max_duration', 'An attempt that runs longer is stopped and the run is timed_out; null is no limit.'),
    ('task', 'options', 'What its executor is told, such as argv of a process task.'),
    ('task', 'role', 'The role that an sql task runs as; a name, since roles are not part of a dump.'),
    ('task', 'search_path', 'The search_path of whoever created an sql task; its target is read under it.'),
    ('task', 'created_at', 'When it was defined for the first time.'),
    ('task', 'updated_at', 'When it was defined as it is now.'),
    ('task', 'dropped_at', 'Set: refuses new runs; its owner can define the name again.'),
    ('task', 'owner', 'Name of the role that it belongs to, which an sql task runs as; null if it was defined before tasks had owners.'),
    ('task', 'owner_id', 'Oid of that role in the cluster that meta.home names; null if there it had none of that name.'),
    ('task', 'ttl', 'How long its runs may wait for their first attempt unless enqueue says otherwise; null is for ever.'),
    ('task', 'machine', 'The machine that its runs run on unless they say otherwise; null where programs are not its matter.'),
    ('task', 'oom_machine', 'The larger machine on which a run that ran out of memory is tried again; null for none.'),
    ('task', 'retention', 'For how long its final runs are kept; null as long as all others, meta.retention.'),
    ('task', 'heartbeat', 'How often its worker is to say that it lives; null is a quarter of the lease, at most 15 seconds.'),
    ('task', 'on_lost', 'What becomes of a run whose worker was lost: retry while attempts are left, or fail, which ends it as system_failure.'),
    ('task_pkey', null, 'Finds a task by its number.'),
    ('task_name_is_unique', null, 'Finds a task by its name.'),
    ('task_task_id_seq', null, 'Numbers of tasks.'),
    ('task_grant', 'task_id', 'The task that may be used.'),
    ('task_grant', 'role', 'Name of the role that may use it.'),
    ('task_grant', 'role_id', 'Oid of that role in the cluster that meta.home names.'),
    ('task_grant', 'granted_by', 'Who called sluice.grant_task().'),
    ('task_grant', 'granted_at', 'When that was.'),
    ('task_grant_pkey', null, 'Finds the roles that a task was granted to.'),
    ('queue_grant', 'queue_id', 'The queue that may be used.'),
    ('queue_grant', 'role', 'Name of the role that may use it.'),
    ('queue_grant', 'role_id', 'Oid of that role in the cluster that meta.home names.'),
    ('queue_grant', 'granted_by', 'Who called sluice.grant_queue().'),
    ('queue_grant', 'granted_at', 'When that was.'),
    ('queue_grant_pkey', null, 'Finds the roles that a queue was granted to.'),

    -- Runs
    ('run', 'run_id', 'Time-ordered: 41 bits of milliseconds since 2025, 22 bits of a sequence.'),
    ('run', 'lane', 'Hash of the concurrency key, 0 without one.'),
    ('run', 'ready_at', 'Not before this time; delays and retries are a ready_at to come.'),
    ('run', 'claim_key', 'ready_at minus the priority in seconds: the order inside a class.'),
    ('run', 'due_at', 'ready_at if it was in the future when it was written; else null.'),
    ('run', 'started_at', 'When its first attempt was claimed; null before.'),
    ('run', 'claimed_at', 'When its current or last attempt was claimed; null before the first.'),
    ('run', 'finished_at', 'When it became final; null while it is live.'),
    ('run', 'token', 'The lease of its current attempt, or of the one that ended it; null while queued.'),
    ('run', 'worker', 'The worker of its current or last attempt; null before the first.'),
    ('run', 'task_id', 'Its task.'),
    ('run', 'queue_id', 'The queue that it waits in, or waited in.'),
    ('run', 'priority', 'Head start in seconds over other runs of its lane.'),
    ('run', 'class', '0 resumed, 1 retried, 2 fresh: lower is handed out first.'),
    ('run', 'attempt', 'Number of its current or last attempt; 0 before the first.'),
    ('run', 'max_attempts', 'How many attempts it may have.'),
    ('run', 'releases', 'How often in a row it was given back unstarted; more than 64 end it.'),
    ('run', 'status', 'queued, executing or final; delayed and retrying are queued with a ready_at to come.'),
    ('run', 'concurrency_key', 'Whose share of the queue''s key_concurrency it takes; null for none.'),
    ('run_pkey', null, 'Finds a run by its id.'),

    ('payload', 'run_id', 'The run that was given it.'),
    ('payload', 'payload', 'What the task gets to work on; null for nothing.'),
    ('payload', 'metadata', 'What the caller and attempts noted about the run; null for nothing.'),
    ('payload', 'tags', 'Words to find the run by; null for none.'),
    ('payload', 'options', 'What holds for this run instead of what its task says, an object: max_duration in seconds, machine, traceparent, and the schedule and external_id that it comes from; null for nothing.'),
    ('payload_pkey', null, 'Finds what a run was given.'),

    ('output', 'run_id', 'The run that gave it back.'),
    ('output', 'output', 'What it completed with; null for nothing.'),
    ('output', 'error', 'Why it did not complete: an object with code and message; null otherwise.'),
    ('output_pkey', null, 'Finds what came of a run.'),

    ('attempt', 'run_id', 'The run that it was a try at.'),
    ('attempt', 'attempt', 'Its number, from 1.'),
    ('attempt', 'outcome', 'How it ended.'),
    ('attempt', 'token', 'The lease that it had: a report that is repeated is known by it.'),
    ('attempt', 'worker', 'Who executed it.'),
    ('attempt', 'started_at', 'When it was claimed.'),
    ('attempt', 'ended_at', 'When its outcome was written.'),
    ('attempt', 'error', 'What went wrong: an object with code and message; null if it was canceled.'),
    ('attempt_pkey', null, 'Finds the attempts of a run.'),

    ('log', 'run_id', 'The run whose attempt wrote the line.'),
    ('log', 'attempt', 'Number of the attempt.'),
    ('log', 'seq', 'Place of the line among all of the attempt, from 0.'),
    ('log', 'at', 'When it was written, by the clock of the database.'),
    ('log', 'total', 'Bytes of the attempt''s lines, each with its newline, up to this one; the last line has those of all, and more than there can be if no further line is kept.'),
    ('log', 'stream', 'stdout, stderr, or sluice for a remark of ours.'),
    ('log', 'line', 'The line without its end.'),
    ('log_pkey', null, 'Finds the lines of an attempt, in order.'),

    ('resource', 'run_id', 'The run.'),
    ('resource', 'memory_limit', 'Bytes of memory that it might use.'),
    ('resource', 'peak_memory', 'The most bytes that it used at once.'),
    ('resource', 'read_bytes', 'Bytes that it read from disks.'),
    ('resource', 'written_bytes', 'Bytes that it wrote to disks.'),
    ('resource', 'wall', 'Seconds that its program ran.'),
    ('resource', 'cpu_user', 'Seconds of CPU time in its own code.'),
    ('resource', 'cpu_system', 'Seconds of CPU time in the kernel on its behalf.'),
    ('resource', 'attempt', 'Number of the attempt.'),
    ('resource', 'machine', 'The machine that it ran on.'),
    ('resource', 'enforced_by', 'What held it to that: cgroup, or rlimit.'),
    ('resource_pkey', null, 'Finds what an attempt used.'),

    ('idempotency_key', 'task_id', 'The task that the key belongs to.'),
    ('idempotency_key', 'key', 'The key that the caller gave.'),
    ('idempotency_key', 'run_id', 'The run that it stands for.'),
    ('idempotency_key', 'expires_at', 'From then on the key makes a new run.'),
    ('expiry', 'run_id', 'The run.'),
    ('expiry', 'expires_at', 'Expires then unless it has started: its ready_at and ttl together.'),
    ('expiry', 'ttl', 'How long it may wait from when it is due.'),
    ('expiry_pkey', null, 'Finds the time to live of a run.'),
    ('debounce_key', 'task_id', 'The task that the key belongs to.'),
    ('debounce_key', 'key', 'The key that the caller gave.'),
    ('debounce_key', 'run_id', 'The run that it stands for until that has started.'),
    ('debounce_key', 'since', 'When that run was enqueued: max_delay counts from then.'),
    ('debounce_key', 'look_at', 'When the leader looks whether the key stands for anything still.'),
    ('debounce_key_pkey', null, 'Finds the run of a task''s key.'),
    ('idempotency_key_pkey', null, 'Finds the run of a task''s key.'),

    -- Schedules
    ('schedule', 'schedule_id', 'Its number.'),
    ('schedule', 'next_tick', 'The next tick; null while it is inactive, and when there is none to come.'),
    ('schedule', 'fire_at', 'When that is to be fired: spread_by behind it; null while it is inactive.'),
    ('schedule', 'last_tick', 'The last tick that made a run; null if none has.'),
    ('schedule', 'last_run_id', 'The run that it made, which may be gone; null if none.'),
    ('schedule', 'skipped', 'How many ticks made no run.'),
    ('schedule', 'task_id', 'Task of the runs that it makes.'),
    ('schedule', 'active', 'Whether it ticks.'),
    ('schedule', 'schedule', 'Its name.'),
    ('schedule', 'external_id', 'Which instance of that name it is; null for the one without.'),
    ('schedule', 'cron', 'When it ticks, as it was written.'),
    ('schedule', 'timezone', 'By the clocks of which time zone, as the IANA data base spells it.'),
    ('schedule', 'description', 'When it ticks, in words.'),
    ('schedule', 'spread', 'Window behind a tick in which its run is made.'),
    ('schedule', 'spread_by', 'Its place in that window: a hash of its name.'),
    ('schedule', 'catch_up', 'What is done for ticks that were missed: skip, one or all.'),
    ('schedule', 'overlap', 'What a tick does while the run before is not final.'),
    ('schedule', 'payload', 'What its runs are given beside the tick; null for nothing.'),
    ('schedule', 'options', 'What its runs are enqueued with, named as the arguments of enqueue; null for nothing.'),
    ('schedule', 'owner', 'Name of the role in whose name it enqueues.'),
    ('schedule', 'owner_id', 'Oid of that role in the cluster that meta.home names; null if there it had none of that name.'),
    ('schedule', 'problem', 'Why its last tick could make no run; null if it could.'),
    ('schedule', 'created_at', 'When it was defined for the first time.'),
    ('schedule', 'updated_at', 'When it was defined, activated or deactivated last.'),
    ('schedule_pkey', null, 'Finds a schedule by its number.'),
    ('schedule_instance_is_unique', null, 'Finds a schedule by its name and external_id.'),
    ('schedule_schedule_id_seq', null, 'Numbers of schedules.'),

    -- Who holds what
    ('slot', 'token', 'The token of the attempt that takes the place.'),
    ('slot', 'run_id', 'The run of that attempt.'),
    ('slot', 'lane', 'The lane whose limit it counts for; 0 is that of runs without a key.'),
    ('slot', 'claimed_at', 'When the attempt was claimed.'),
    ('slot', 'reply', 'The number of the exchange that handed it out; null for a client without a session.'),
    ('slot', 'lease_seconds', 'By how much a heartbeat moves the deadline.'),
    ('slot', 'queue_id', 'The queue whose limit it counts for.'),
    ('slot', 'attempt', 'Number of the attempt.'),
    ('slot', 'told', 'The worker has been told that the token is dead.'),
    ('slot', 'worker', 'Who holds it.'),
    ('slot', 'revoked', 'Why the token is dead although the place is still held; null while the lease stands.'),
    ('slot_pkey', null, 'Finds the place of a token.'),

    ('lease', 'token', 'The token that is good until then.'),
    ('lease', 'until', 'The deadline, moved by heartbeats.'),
    ('lease_pkey', null, 'Finds the deadline of a token.'),

    ('worker', 'worker', 'Its name, by which it owns leases.'),
    ('worker', 'pid', 'Process id of its session here; with session_start it names the session.'),
    ('worker', 'session_start', 'Start of that session: process ids are used again.'),
    ('worker', 'registered_at', 'When it registered.'),
    ('worker', 'seen_at', 'When it called last.'),
    ('worker', 'reply', 'The number of the last exchange.'),
    ('worker', 'host', 'Machine that it runs on; null if it did not say.'),
    ('worker', 'process', 'Its process id on its host; null if it did not say.'),
    ('worker', 'version', 'Its version; null if it did not say.'),
    ('worker', 'executors', 'What it runs; null if it did not say.'),
    ('worker', 'queues', 'Queues that it serves; null for all.'),
    ('worker', 'capacity', 'How many attempts it takes at once; null if it did not say.'),
    ('worker', 'memory', 'Bytes that its attempts may use together; null if it did not say.'),
    ('worker', 'problems', 'Tasks that it has found it cannot run, an object of their names and codes of errors; null for none.'),
    ('worker', 'server_start', 'Which start of the server the session is of.'),
    ('worker_pkey', null, 'Finds a worker by its name.'),

    ('leader', 'only_row', 'Always true: there is one row at most.'),
    ('leader', 'worker', 'Who took the lead last.'),
    ('leader', 'since', 'When.'),
    ('leader', 'announced_at', 'Runs that fell due up to then were announced.'),
    ('leader', 'clock_anchor', 'Which start of the server clock_offset is of; null before the first look.'),
    ('leader', 'clock_offset', 'By how much the wall clock had been set since then when somebody looked; null before.'),
    ('leader_pkey', null, 'Allows one row.'),

    ('retention_pass', 'week', 'End of the names of its partitions.'),
    ('retention_pass', 'whole', 'Its time is over: it shall go as a whole.'),
    ('retention_pass', 'deleting', 'What goes is deleted while looking, since the week cannot go as a whole.'),
    ('retention_pass', 'up_to', 'Runs up to this one were looked at; the upper bound of the week when it can go.'),
    ('retention_pass', 'stays', 'Runs that are to be moved when it goes as a whole; null for too many.'),
    ('retention_pass', 'soonest', 'When the first of the runs that stay may go; null for none.'),
    ('retention_pass', 'next_at', 'Is not looked at before.'),
    ('retention_pass', 'blocked_since', 'Since when it could go but for blocked_by; null if nothing blocks it.'),
    ('retention_pass', 'blocked_by', 'Who has used its tables for too long; null if nothing blocks it.'),
    ('retention_pass_pkey', null, 'Finds a week by its name.'),

    ('rotation', 'queue_id', 'The queue.'),
    ('rotation', 'lane', 'Its lane that was looked at last.'),
    ('rotation_pkey', null, 'Finds the cursor of a queue.');
end;
comment on function sluice._comments() is 'What setup() says of columns (and of the relation itself where of_column is null).';

create function sluice._role_comments() returns table (role name, comment text)
language sql immutable parallel safe
begin atomic
    values
    ('sluice_owner', 'Owns the storage of Sluice; its functions work as this role.  Not to be granted.'),
    ('sluice_caller', 'Sluice, for applications with few rights: enqueue and control the tasks that grant_task() gives it.'),
    ('sluice_producer', 'Sluice, for applications: define tasks and queues, enqueue, control, read results.'),
    ('sluice_claimer', 'Sluice, for workers with few rights: claim from the queues that grant_queue() gives it, and finish.'),
    ('sluice_worker', 'Sluice, for sluiced and other workers: claim and finish runs, lead.'),
    ('sluice_reader', 'Sluice, for monitoring and people: how runs, queues and workers fare, and nothing of what runs are about.'),
    ('sluice_payload_reader', 'Sluice, for people: what sluice_reader sees, and payloads, outputs, errors, metadata, logs.'),
    ('sluice_admin', 'Sluice, for operators: all of the other roles, process tasks, adopt().');
end;
comment on function sluice._role_comments() is 'What setup() says of its roles, unless something is said of them.';

create function sluice._storage_comment() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
declare
    entry record;
begin
    if obj_description('sluice'::regnamespace, 'pg_namespace') is null then
        comment on schema sluice is 'Sluice: functions to enqueue, control and execute runs, and views of them.';
    end if;

    -- What the owner of the storage has dropped or made something else of is passed over.
    for entry in
        select s.relation::text as name, s.of_column, s.comment, c.relkind
        from (select to_regclass(format('sluice.%I', e.relation)) as relation, e.of_column, e.comment from sluice._comments() as e) as s
        join pg_class as c on c.oid = s.relation
        left join pg_attribute as a on a.attrelid = s.relation and a.attname = s.of_column and not a.attisdropped
        where case when s.of_column is null then c.relkind in ('i', 'I', 'S') else a.attnum > 0 end
          and s.comment is distinct from case when s.of_column is null then obj_description(s.relation, 'pg_class')
                                              else col_description(s.relation, a.attnum) end
    loop
        if entry.of_column is not null then
            execute format('comment on column %s.%I is %L', entry.name, entry.of_column, entry.comment);
        else
            execute format('comment on %s %s is %L', case entry.relkind when 'S' then 'sequence' else 'index' end, entry.name, entry.comment);
        end if;
    end loop;

    -- Roles belong to the cluster: what somebody else says of them stays, and it may be for somebody else to say.
    for entry in
        select r.role, r.comment
        from sluice._role_comments() as r
        join pg_roles as g on g.rolname = r.role
        where shobj_description(g.oid, 'pg_authid') is null
    loop
        begin
            execute format('comment on role %I is %L', entry.role, entry.comment);
        exception when insufficient_privilege then
            null;
        end;
    end loop;
end
$storage$;
comment on function sluice._storage_comment() is 'Step of setup(), each time: says in the catalog what things are, where it does not say so yet.';
