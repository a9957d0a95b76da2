// effects: what this transaction does to the ready index, undone with it and made good at its commit.
//
// Everything is logged with its nesting level (core/effect_log.hpp).  Pushes, ends, revocations and changes of
// definitions take effect at commit, when the rows can be seen by others.  What was taken (a popped run and its slot) is
// taken at once, so that nobody else can have it, and given back at abort.
//
// Effects name leases by token and runs by their place, so each of them may meet an index that was rebuilt meanwhile:
// ending a lease that is not there does nothing, and a run that is there twice is handed out once.
#pragma once

#include "core/ready_index.hpp"

#include "pg/postgres.hpp"

#include "index/segment.hpp"

namespace sluice::index {

/// Room for `count` more; may fail, so it comes before anything that cannot be undone.
void reserve(std::size_t count);

/// A run that is queued by this transaction, to start at `ready_at`.
void push(int32 queue_id, const core::Ready &run, TimestampTz ready_at);

/// A queued run that this transaction takes from its place: if it aborts, the run is pushed there again, since a feed or
/// refill of this transaction does not see it.
void moved(int32 queue_id, const core::Ready &run, TimestampTz ready_at);

/// Shows the index what this transaction has queued, so that it can claim that itself.  Others who meet it cannot see the
/// row and drop the hint; at commit it is pushed again.
void push_early(TimestampTz now);

/// The attempt of a token ends: its slot is free at commit, and this transaction's to use before.
void end(const core::Token &token);

/// Decides that the lease of a token, if its time is over, is being ended: no beat is accepted from here on.
bool end_if_late(const core::Token &token);

/// The worker of a token is told that it is dead, and need not be woken for it, unless this transaction aborts.
void tell(const core::Token &token);

/// The token dies at commit, its slot stays held.
void revoke(const core::Token &token, core::Lease::State why);

/// Limits of a queue, or whether it is paused, change at commit.
void change_limits(int32 queue_id);

/// Has this transaction changed them?  Then it sees what others must not go by yet.
bool changes_limits(core::QueueRef queue) noexcept;

/// What the index cannot follow changes at commit: the next claim builds it anew.
void change_storage();

/// Wakes those who wait at commit, in table mode.
void wake();

/// The mode changes at commit, with this lock held.
void change_mode(ClaimMode mode, Reason reason);
bool changes_mode() noexcept;

/// Due runs are being read; at abort they are still to be read.  `from`: fed_until before.
void begin_feed(TimestampTz from);
void end_feed();

/// A shelf is being refilled; at abort it is given free.
void begin_refill(core::QueueRef queue, const core::Refill &refill);
void end_refill();

/// A popped run.  Reserve first: it cannot fail.  Returns its number for the next two.
std::size_t taken(core::QueueRef queue, const core::Ready &run) noexcept;
void        leased(std::size_t number, core::LeaseRef lease, const core::Token &token) noexcept;
void        not_taken(std::size_t number) noexcept; ///< it was given back, or dropped

/// This transaction holds the mode lock.
void note_claim();

/// Has it claimed or ended anything, or changed definitions, so that its own view of the tables is not what others will see if it aborts?
bool must_not_build() noexcept;

/// Does its log belong to a segment that was replaced since?  Then it cannot log what it would claim.
bool logged_elsewhere() noexcept;

/// Makes a copy of a lease what it is for this transaction; false if that has ended it, or cannot see it yet.
bool seen_from_here(core::Lease &lease) noexcept;

/// Slots of a queue that this transaction has freed and may use: in `lanes`, of which there is room for all_ends().
int credits(core::QueueRef queue, core::Credit *lanes) noexcept;
int all_ends() noexcept;

} // namespace sluice::index
