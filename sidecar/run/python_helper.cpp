// A directory that only we can read and write.
#include "run/python_helper.hpp"

#include "run/python_files.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace sluice::sidecar {

namespace {

/// Where TMPDIR says, or in /tmp: TMPDIR may be that of whoever started us.
std::string private_directory()
{
    std::error_code ignored;
    for (const std::filesystem::path &parent :
         {std::filesystem::temp_directory_path(ignored), std::filesystem::path{"/tmp"}}) {
        std::string name = (parent / "sluice-python-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr)
            return name;
    }
    throw std::system_error{errno, std::generic_category(), "could not make a directory for Python tasks"};
}

} // namespace

PythonHelper::~PythonHelper()
{
    std::error_code ignored;
    if (!directory_.empty())
        std::filesystem::remove_all(directory_, ignored);
}

const std::string &PythonHelper::directory()
{
    std::error_code ignored;
    const bool      complete = !directory_.empty() &&
                          std::filesystem::exists(directory_ + "/sluice.py", ignored) &&
                          std::filesystem::exists(directory_ + "/sluice_runner.py", ignored) &&
                          std::filesystem::exists(directory_ + "/sluice_main.py", ignored);
    if (complete)
        return directory_;

    if (directory_.empty() || !std::filesystem::exists(directory_, ignored))
        directory_ = private_directory();
    for (const PythonFile &file : python_files) {
        std::ofstream out{directory_ + "/" + file.name};
        out << file.text;
        if (!out.flush())
            throw std::system_error{errno, std::generic_category(),
                                    "could not write the module for Python tasks"};
    }
    return directory_;
}

} // namespace sluice::sidecar
