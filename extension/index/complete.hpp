// complete: ends attempts as completed, many in one pass.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::index {

/// What a worker says it has completed.  Outputs may be fewer than tokens, or none.
struct Completions {
    const Datum *tokens; ///< uuids, none of them null
    int          count;
    const Datum *outputs;
    const bool  *no_output;
    int          outputs_count;
};

/// Completes the attempts of the tokens that still own them.  Sets done[i] for those; returns how many attempts these are.
/// With an SPI connection, as the storage's owner.
int complete_many(const Completions &completions, bool *done);

} // namespace sluice::index
