// waiters: who sleeps in wait_for_work, and how a commit wakes them.
//
// A small list in shared memory, in the slop that every server has, so no preload and no restart is needed.  Where it
// cannot be had, or is full, waiting works too, by looking more often.
//
// The protocol: a waiter enters the list, then again and again forgets earlier wakes, looks for work, and sleeps
// unless it was woken since.  A transaction that made work, freed a slot or revoked a token wakes everybody at its
// commit, when its rows are visible.  So whoever looked too early has been woken, and no wake-up is lost.  Wakes are
// hints: a lost one (commit of a prepared transaction, a crash) is made good by the next look.
#pragma once

namespace sluice::waiters {

/// Finds or makes the list.  A server without 1 kB of spare shared memory has none.
void attach();

/// Enters this backend into the list.  False: no room, nobody will wake us.  Leave with leave(), whatever happens.
bool enter();
void leave() noexcept;

/// Forgets earlier wakes; do it before looking.
void forget_wakes() noexcept;

/// Has somebody woken this backend since forget_wakes()?
bool woken() noexcept;

/// Wakes all waiters of this database.  For callbacks: attach() was called before, or nobody is woken.
void wake() noexcept;

} // namespace sluice::waiters
