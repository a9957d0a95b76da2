// Telling systemd how the service stands: the documented datagram, without its library.
#pragma once

#include <string_view>

namespace sluice::sidecar {

/// e.g. "READY=1".  Does nothing when nobody listens (no $NOTIFY_SOCKET).
void notify_manager(std::string_view state);

} // namespace sluice::sidecar
