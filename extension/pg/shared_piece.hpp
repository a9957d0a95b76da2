// shared_piece: a few bytes of shared memory that any server can spare, without preload and restart.
#pragma once

#include <cstddef>

namespace sluice::pg {

/// Finds the piece of that name, or makes it with `init`; nullptr where there is no room, which is no error.  The name
/// carries the layout, so that two libraries never share a piece that they read in different ways.
void *shared_piece(const char *name, std::size_t size, void (*init)(void *piece));

} // namespace sluice::pg
