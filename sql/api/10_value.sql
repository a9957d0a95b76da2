-- Values and facts from the library: ids, tokens, lanes, durations, sessions.  Private; written in C++ (extension/id.cpp,
-- extension/session.cpp).

create function sluice._caller() returns oid
language c stable strict as 'MODULE_PATHNAME', 'sluice_caller';
comment on function sluice._caller() is 'The role that called the public function at work; 0 outside of one.';

create function sluice._caller_search_path() returns text
language c stable strict as 'MODULE_PATHNAME', 'sluice_caller_search_path';
comment on function sluice._caller_search_path() is 'The search_path in force where the public function was called.';

create function sluice._new_run_id(sequence regclass) returns bigint
language c volatile strict as 'MODULE_PATHNAME', 'sluice_new_run_id';
comment on function sluice._new_run_id(regclass) is 'A new run id: this instant and the next value of the sequence.';

create function sluice._run_time(run_id bigint) returns timestamptz
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_run_time';
comment on function sluice._run_time(bigint) is 'When a run was created: the instant inside its id.';

create function sluice._run_id_at(at timestamptz) returns bigint
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_run_id_at';
comment on function sluice._run_id_at(timestamptz) is 'The smallest run id of an instant: a bound of partitions.';

create function sluice._new_token(run_id bigint) returns uuid
language c volatile strict as 'MODULE_PATHNAME', 'sluice_new_token';
comment on function sluice._new_token(bigint) is 'A new lease token of a run: the run id and 59 random bits.';

create function sluice._token_run(token uuid) returns bigint
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_token_run';
comment on function sluice._token_run(uuid) is 'The run that a token belongs to; -1 for a UUID that is no token.';

create function sluice._is_among(token uuid, tokens uuid[]) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_is_among';
comment on function sluice._is_among(uuid, uuid[]) is 'Whether a token is one of many that are in order, without nulls.';

create function sluice._lane(concurrency_key text) returns bigint
language c immutable parallel safe as 'MODULE_PATHNAME', 'sluice_lane';
comment on function sluice._lane(text) is 'The lane of a concurrency key: a 64-bit hash, 0 for null.';

create function sluice._duration(duration text) returns interval
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_duration';
comment on function sluice._duration(text) is 'Reads a duration such as 1h30m (weeks, days, hours, minutes, seconds).';

create function sluice._backoff(attempt integer, factor double precision, min_delay interval, max_delay interval,
                                spread double precision) returns interval
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_backoff';
comment on function sluice._backoff(integer, double precision, interval, interval, double precision) is
    'The delay after a failed attempt: min(max_delay, spread * min_delay * factor^(attempt - 1)).';

create function sluice._size(value jsonb) returns bigint
language c immutable parallel safe as 'MODULE_PATHNAME', 'sluice_size';
comment on function sluice._size(jsonb) is 'Bytes of a value before compression; 0 for null.';

create function sluice._session_start() returns timestamptz
language c stable strict as 'MODULE_PATHNAME', 'sluice_session_start';
comment on function sluice._session_start() is 'When this backend started; with its pid it names the session.';

create function sluice._session_alive(pid integer, started timestamptz) returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_session_alive';
comment on function sluice._session_alive(integer, timestamptz) is 'Whether a session, named by pid and start, still exists.';

create function sluice._open_transactions() returns table (pid integer, role oid, started_at timestamptz, oldest xid)
language c volatile strict as 'MODULE_PATHNAME', 'sluice_open_transactions';
comment on function sluice._open_transactions() is
    'Transactions of other sessions in this database, and the oldest transaction whose rows they keep from vacuum; null for none.';

create function sluice._standbys() returns table (pid integer, role oid, oldest xid)
language c volatile strict as 'MODULE_PATHNAME', 'sluice_standbys';
comment on function sluice._standbys() is
    'Sessions that replicate to a standby, without a slot, whose queries keep rows from vacuum.';

create function sluice._home() returns text
language c stable strict as 'MODULE_PATHNAME', 'sluice_home';
comment on function sluice._home() is 'This cluster''s system identifier and this database''s oid.';

create function sluice._is_leader() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_is_leader';
comment on function sluice._is_leader() is 'Whether this session holds the leader''s lock.';

create function sluice._wake() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_wake';
comment on function sluice._wake() is 'Wakes waiting workers when this transaction commits: there is work, a free slot or a dead token.';

create function sluice._say_farewell() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_say_farewell';
comment on function sluice._say_farewell() is 'This session is one whose end the leader is to notice.';

create function sluice._may_have_ended() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_may_have_ended';
comment on function sluice._may_have_ended() is 'Whether the leader''s session has to look for sessions that ended: one has just now, or it has not looked for 10 seconds.';

create function sluice._keep_looking() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_keep_looking';
comment on function sluice._keep_looking() is 'The leader''s session has not done with one that ended.';

create function sluice._has_time_to_live() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_has_time_to_live';
comment on function sluice._has_time_to_live() is 'The leader is to look for times to live: this transaction has made one, or moved it.';

create function sluice._may_expire() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_may_expire';
comment on function sluice._may_expire() is 'Whether the leader''s session has to look for times to live that are over: there are new ones, the next is over, or it has not looked for 10 seconds.';

create function sluice._expires_next(next_in interval) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_expires_next';
comment on function sluice._expires_next(interval) is 'The leader''s session knows when the next time to live is over.';

create function sluice._lease_news() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_lease_news';
comment on function sluice._lease_news() is 'Leases may end sooner than the leader thinks: a task was defined, say.';

create function sluice._may_be_late() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_may_be_late';
comment on function sluice._may_be_late() is 'Where leases are in tables: whether the leader''s session has to look for some that are over.';

create function sluice._late_next(next_in interval) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_late_next';
comment on function sluice._late_next(interval) is 'The leader''s session knows that no lease is over before.';

create function sluice._may_be_due() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_may_be_due';
comment on function sluice._may_be_due() is 'Whether the leader''s session has to look for runs that fell due: delayed ones were committed, the next is due, or it has not looked for 10 seconds.';

create function sluice._due_next(due_at timestamptz) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_due_next';
comment on function sluice._due_next(timestamptz) is 'The leader''s session knows when the next run is due.';

create function sluice._next_due() returns timestamptz
language c volatile strict as 'MODULE_PATHNAME', 'sluice_next_due';
comment on function sluice._next_due() is 'When the next run is due that the leader''s session has seen.';

create function sluice._steady_now() returns timestamptz
language c volatile strict as 'MODULE_PATHNAME', 'sluice_steady_now';
comment on function sluice._steady_now() is 'The time of the clock that nobody sets, by which deadlines of leases are measured.';

create function sluice._clock_offset() returns interval
language c volatile strict as 'MODULE_PATHNAME', 'sluice_clock_offset';
comment on function sluice._clock_offset() is 'By how much the wall clock was set since the server started: wall clock less steady clock.';

create function sluice._clock_anchor() returns timestamptz
language c volatile strict as 'MODULE_PATHNAME', 'sluice_clock_anchor';
comment on function sluice._clock_anchor() is 'When both clocks were the same, which names a start of the server; null where there is no shared memory for a steady clock.';

create function sluice._clock_was_followed("offset" interval) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_clock_was_followed';
comment on function sluice._clock_was_followed(interval) is 'This session leads, and has seen that offset of the clock in the leader''s row; null forgets it.';

create function sluice._clock_is_followed() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_clock_is_followed';
comment on function sluice._clock_is_followed() is 'Whether the clock is what this session has seen in the leader''s row, so that nobody has to read it.';

create function sluice._clock_unseen_for() returns interval
language c volatile strict as 'MODULE_PATHNAME', 'sluice_clock_unseen_for';
comment on function sluice._clock_unseen_for() is 'How long ago this session saw for the last time that the clock had not been set; null if it never has.';

create function sluice._is_own_transaction(transaction xid) returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_is_own_transaction';
comment on function sluice._is_own_transaction(xid) is 'Whether a transaction is the current one or a subtransaction of it.';
