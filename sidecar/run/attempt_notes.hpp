// Metadata and tags that an attempt has added to its run and that the database does not have yet.  Of a name the last value
// counts, so a task that notes its progress a thousand times a second costs no more than one that does it once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

class AttemptNotes {
public:
    static constexpr std::size_t longest = 1 << 20; ///< of a message, and of all that is unsent

    /// A name and its value, both as JSON.  Says what is wrong with it; empty: nothing.
    std::string set_metadata(std::string_view text);
    /// An array of strings.
    std::string add_tags(std::string_view text);

    bool has_unsent() const { return !metadata_.empty() || !tags_.empty(); }

    std::string              metadata_json() const; ///< the object for set_metadata; empty: none
    std::vector<std::string> tags() const { return {tags_.begin(), tags_.end()}; }

    /// What it was when this was asked has been sent; anything that came later goes with the next message, the rest again
    /// with it, which changes nothing.
    std::uint64_t version() const { return version_; }
    void          forget(std::uint64_t sent);

private:
    std::map<std::string, std::string> metadata_; ///< names to JSON
    std::set<std::string>              tags_;
    std::size_t                        bytes_   = 0;
    std::uint64_t                      version_ = 0;
};

} // namespace sluice::sidecar
