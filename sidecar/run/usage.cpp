// Usage as JSON.
#include "run/usage.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace sluice::sidecar {

std::string usage_json(const Usage &usage)
{
    return boost::json::serialize(boost::json::object{{"machine", usage.machine},
                                                      {"enforced_by", usage.enforced_by},
                                                      {"wall", usage.wall},
                                                      {"cpu_user", usage.cpu_user},
                                                      {"cpu_system", usage.cpu_system},
                                                      {"memory_limit", usage.memory_limit},
                                                      {"peak_memory", usage.peak_memory},
                                                      {"read_bytes", usage.read_bytes},
                                                      {"written_bytes", usage.written_bytes}});
}

} // namespace sluice::sidecar
