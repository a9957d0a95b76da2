// Reading what the task says, and writing what the database is told.
#include "run/attempt_notes.hpp"

#include "json_text.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/stream_parser.hpp>

namespace sluice::sidecar {

namespace json = boost::json;

std::string AttemptNotes::set_metadata(std::string_view text)
{
    json::stream_parser       name;
    boost::system::error_code error;
    const std::size_t         end = name.write_some(text, error);
    if (error || !name.done())
        return "it has no name";
    const json::value key = name.release();
    if (!key.is_string())
        return "its name is no string";
    // The value stays text: a number in C++ would lose digits that jsonb keeps.
    auto value = json_for_database(text.substr(end));
    if (!value)
        return "it is not JSON that a database keeps";

    std::string key_text = json_quote(key.get_string());
    const auto  held     = metadata_.find(key_text);
    std::size_t bytes    = bytes_ + value->size();
    if (held == metadata_.end())
        bytes += key_text.size();
    else
        bytes -= held->second.size();
    if (bytes > longest)
        return "there is too much of it at once";
    bytes_ = bytes;
    metadata_.insert_or_assign(std::move(key_text), std::move(*value));
    ++version_;
    return {};
}

std::string AttemptNotes::add_tags(std::string_view text)
{
    boost::system::error_code error;
    const json::value         value = json::parse(text, error);
    const json::array        *names = error ? nullptr : value.if_array();
    if (names == nullptr)
        return "they are no list";
    for (const json::value &name : *names) {
        if (!name.is_string())
            return "one of them is no string";
        std::string tag = clean_text(name.get_string());
        if (bytes_ + tag.size() > longest)
            return "there are too many at once";
        bytes_ += tag.size();
        tags_.insert(std::move(tag));
    }
    ++version_;
    return {};
}

std::string AttemptNotes::metadata_json() const
{
    if (metadata_.empty())
        return {};
    std::string json = "{";
    for (const auto &[name, value] : metadata_)
        json += (json.size() > 1 ? "," : "") + name + ":" + value;
    return json + "}";
}

void AttemptNotes::forget(std::uint64_t sent)
{
    if (version_ != sent)
        return;
    metadata_.clear();
    tags_.clear();
    bytes_ = 0;
}

} // namespace sluice::sidecar
