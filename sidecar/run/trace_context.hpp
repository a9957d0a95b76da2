// W3C trace context: by which a child, or a receiver of a request, joins its spans to those of the run.
#pragma once

#include "run/executor.hpp"

#include <string>

namespace sluice::sidecar {

/// The value of `traceparent`.  All attempts of a run are in one trace, that of whoever enqueued it if he said which, and
/// each is a span of its own; else both are derived from what is random already, so that nothing needs to be remembered.
std::string traceparent(const Job &job);

/// OTEL_RESOURCE_ATTRIBUTES: which run, attempt and task spans and logs belong to.
std::string resource_attributes(const Job &job);

} // namespace sluice::sidecar
