// A directory that only we can read and write, named after us, so that whoever comes later knows whose it was.
#include "run/python_helper.hpp"

#include "run/process_name.hpp"
#include "run/python_files.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace sluice::sidecar {

namespace {

constexpr std::string_view prefix = "sluice-python-";

/// Where TMPDIR says, or in /tmp: TMPDIR may be that of whoever started us.
std::vector<std::filesystem::path> parents()
{
    std::error_code ignored;
    return {std::filesystem::temp_directory_path(ignored), "/tmp"};
}

std::string private_directory()
{
    for (const std::filesystem::path &parent : parents()) {
        std::string name = (parent / (std::string{prefix} + process_name() + ".XXXXXX")).string();
        if (::mkdtemp(name.data()) != nullptr)
            return name;
    }
    throw std::system_error{errno, std::generic_category(), "could not make a directory for Python tasks"};
}

/// Others may write into /tmp too: what is not ours, or is a link, stays.
bool is_left_by_one_that_is_gone(const std::filesystem::path &path)
{
    const std::string name = path.filename().string();
    const auto        end  = name.rfind('.');
    if (!name.starts_with(prefix) || end == std::string::npos || end < prefix.size() ||
        !is_gone(std::string_view{name}.substr(prefix.size(), end - prefix.size())))
        return false;
    struct stat entry {};
    return ::lstat(path.c_str(), &entry) == 0 && S_ISDIR(entry.st_mode) && entry.st_uid == ::geteuid();
}

/// Whatever cleans up behind us may have taken it away, and somebody else made one of its name.
bool is_ours(const std::string &directory)
{
    struct stat entry {};
    return ::lstat(directory.c_str(), &entry) == 0 && S_ISDIR(entry.st_mode) && entry.st_uid == ::geteuid() &&
           (entry.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

} // namespace

void sweep_python_directories()
{
    std::vector<std::filesystem::path> left;
    for (const std::filesystem::path &parent : parents()) {
        std::error_code error;
        for (std::filesystem::directory_iterator entry{parent, error}, end; !error && entry != end;
             entry.increment(error))
            if (is_left_by_one_that_is_gone(entry->path()))
                left.push_back(entry->path());
    }
    for (const std::filesystem::path &path : left) {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
}

PythonHelper::PythonHelper()
{
    sweep_python_directories();
}

PythonHelper::~PythonHelper()
{
    std::error_code ignored;
    if (!directory_.empty())
        std::filesystem::remove_all(directory_, ignored);
}

const std::string &PythonHelper::directory()
{
    std::error_code ignored;
    const bool      complete = !directory_.empty() && is_ours(directory_) &&
                          std::filesystem::exists(directory_ + "/sluice.py", ignored) &&
                          std::filesystem::exists(directory_ + "/sluice_runner.py", ignored) &&
                          std::filesystem::exists(directory_ + "/sluice_main.py", ignored);
    if (complete)
        return directory_;

    if (directory_.empty() || !is_ours(directory_))
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
