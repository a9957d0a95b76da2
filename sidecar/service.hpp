// What the long-lived parts of sluiced have in common, so that App can start, stop and watch them alike.
#pragma once

#include "async.hpp"

#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

using Stats = std::vector<std::pair<std::string_view, double>>;

/// A long-lived part of the sidecar.  App starts them in order and stops them in reverse.
class Service {
public:
    Service()                           = default;
    Service(const Service &)            = delete;
    Service &operator=(const Service &) = delete;
    virtual ~Service()                  = default;

    virtual std::string_view name() const  = 0; ///< as in logs and metrics
    virtual Task<>           run()         = 0; ///< returns after stop()
    virtual void             stop()        = 0; ///< may be called twice, or before run()
    virtual Stats            stats() const = 0;
};

} // namespace sluice::sidecar
