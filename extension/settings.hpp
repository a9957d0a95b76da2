// settings: the `sluice.*` configuration parameters.  docs/settings.md describes each; a test compares the two.
#pragma once

namespace sluice {

/// Called once, when the library is loaded.
void define_settings();

} // namespace sluice
