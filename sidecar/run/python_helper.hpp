// The Python files that come with sluiced: they are part of the program, and are written into a private directory when
// the first Python task needs them.
#pragma once

#include <string>

namespace sluice::sidecar {

/// Removes the directories of sidecars that are gone and could not do it themselves.
void sweep_python_directories();

class PythonHelper {
public:
    PythonHelper(); ///< sweeps first
    ~PythonHelper();

    PythonHelper(const PythonHelper &)            = delete;
    PythonHelper &operator=(const PythonHelper &) = delete;

    /// The directory with the files in it, also if somebody has cleaned up meanwhile.  Throws std::system_error.
    const std::string &directory();

private:
    std::string directory_;
};

} // namespace sluice::sidecar
