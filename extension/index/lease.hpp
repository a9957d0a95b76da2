// lease: what exchange and waiting ask of the leases in the index.
#pragma once

#include "core/token.hpp"

#include "index/segment.hpp"

namespace sluice::index {

/// Has a token of this worker died without its being told?
bool has_dead_token(const Attached &index, uint64 worker);

/// The slots of attempts (uuids) are free at commit.  True if one of them may have a row in the table of slots too.
/// Those that have completed are counted; of others whoever ends them says how.
enum class Ended { completed, otherwise };
bool end_leases(const Datum *tokens, int count, Ended how);

/// Moves the deadlines of the leases that stand, and are the worker's (nullptr: anybody's): until[i] is the new one, 0 for
/// a token that does not stand.
void beat(const Attached &index, const uint64 *worker, const Datum *tokens, int count, TimestampTz *until);

/// How many leases a worker has.
int leases_of(const Attached &index, uint64 worker);

/// Tokens of the leases of a worker that were handed out by an exchange up to `reply` and that nobody is ending, up to
/// `room` of them; returns how many.
int unseen_leases(const Attached &index, uint64 worker, int64 reply, core::Token *tokens, int room);

} // namespace sluice::index
