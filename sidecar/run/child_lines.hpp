// What a child says on stdout and stderr: lines of its attempt's log, and its last words.
#pragma once

#include "run/attempt_log.hpp"
#include "run/line_splitter.hpp"
#include "run/verdict.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::sidecar {

class ChildLines {
public:
    /// `also_out` gets the lines of stdout as well.
    ChildLines(AttemptLog &log, std::size_t longest, LineSplitter::Sink also_out = {})
        : log_{log}, also_out_{std::move(also_out)}, out_{longest,
                                                          [this](std::string_view     line,
                                                                 LineSplitter::Extent extent) {
                                                              log_.add("stdout", line, BootClock::now());
                                                              if (also_out_)
                                                                  also_out_(line, extent);
                                                          }},
          err_{longest, [this](std::string_view line, LineSplitter::Extent) {
                   log_.add("stderr", line, BootClock::now());
                   last_words_.add(line);
               }}
    {
    }

    ChildLines(const ChildLines &)            = delete;
    ChildLines &operator=(const ChildLines &) = delete;

    void out(std::string_view bytes) { out_.feed(bytes); }
    void err(std::string_view bytes) { err_.feed(bytes); }

    void finish()
    {
        out_.finish();
        err_.finish();
        log_.close(BootClock::now());
    }

    const std::string &last_words() const { return last_words_.text(); }

private:
    AttemptLog        &log_;
    LineSplitter::Sink also_out_;
    LastWords          last_words_;
    LineSplitter       out_;
    LineSplitter       err_;
};

} // namespace sluice::sidecar
