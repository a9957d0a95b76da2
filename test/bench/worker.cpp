// exchange: outcomes of the last batch and the claim of the next in one call, as the sidecar works.
// verbs:    a claim, then the outcomes in a call of their own; the time of a take is that of the claim alone.
// hold:     claims and never ends anything: what a claim writes, without what an end writes.
// peer:     the queue that people write themselves: one table, delete … for update skip locked.  It hands work out
//           at most once, and knows no lease, limit, retry or history.

#include "worker.hpp"

#include "connection.hpp"

#include <charconv>
#include <map>
#include <stdexcept>
#include <string_view>

#include <unistd.h>

namespace sluice::bench {

namespace {

std::int64_t number_in(std::string_view text)
{
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

enum class Ending { with_the_next_take, after_each_take };

class ExchangeWorker : public Worker {
public:
    ExchangeWorker(int number, int batch, Ending ending)
        : name_("bench:" + std::to_string(getpid()) + ":" + std::to_string(number)),
          batch_(std::to_string(batch)), ending_(ending)
    {
        connection_.prepare("register", "select sluice.register_worker($1::text, '{}')");
        connection_.prepare("exchange", "select kind, token, answer, run_id, reply from sluice.exchange("
                                        "worker => $1::text, outcomes => $2::jsonb, capacity => $3::int, "
                                        "seen_reply => $4::bigint)");
        connection_.run("register", {name_.c_str()});
    }

    std::vector<std::int64_t> take() override { return exchange(batch_); }

    void after_take() override
    {
        if (ending_ == Ending::after_each_take)
            at_the_end();
    }

    void at_the_end() override
    {
        if (!outcomes_.empty())
            exchange("0");
    }

private:
    std::vector<std::int64_t> exchange(const std::string &capacity)
    {
        const std::string outcomes = "[" + outcomes_ + "]";
        const Result      rows =
            connection_.run("exchange", {name_.c_str(), outcomes.c_str(), capacity.c_str(), reply_.c_str()});
        outcomes_.clear();

        std::vector<std::int64_t> taken;
        for (int row = 0; row < rows.rows(); ++row) {
            const std::string_view kind = rows.value(row, 0);
            if (kind == "reply") {
                reply_ = rows.value(row, 4);
            } else if (kind == "claimed") {
                taken.push_back(number_in(rows.value(row, 3)));
                if (!outcomes_.empty())
                    outcomes_ += ',';
                outcomes_ += R"({"token":")";
                outcomes_ += rows.value(row, 1);
                outcomes_ += R"(","outcome":"completed"})";
            } else if (kind != "ended" || rows.value(row, 2) != "done") {
                throw std::runtime_error("a completion was answered " + std::string(kind) + " " +
                                         std::string(rows.value(row, 2)));
            }
        }
        return taken;
    }

    Connection  connection_;
    std::string name_;
    std::string batch_;
    Ending      ending_;
    std::string outcomes_; ///< of what this worker holds, as elements of a JSON array
    std::string reply_ = "0";
};

class HoldWorker : public Worker {
public:
    HoldWorker(int number, int batch)
        : name_("bench:" + std::to_string(getpid()) + ":" + std::to_string(number)),
          batch_(std::to_string(batch))
    {
        connection_.prepare("claim",
                            "select run_id, token, payload from sluice.claim($1::text, null, $2::int)");
    }

    std::vector<std::int64_t> take() override
    {
        const Result              rows = connection_.run("claim", {name_.c_str(), batch_.c_str()});
        std::vector<std::int64_t> taken;
        for (int row = 0; row < rows.rows(); ++row)
            taken.push_back(number_in(rows.value(row, 0)));
        return taken;
    }

private:
    Connection  connection_;
    std::string name_;
    std::string batch_;
};

class PeerWorker : public Worker {
public:
    explicit PeerWorker(int batch)
    {
        // The number stands in the text: with a parameter the generic plan does not know how few rows it gets.
        connection_.prepare(
            "take", "delete from peer.job where job_id = any (array("
                    "select job_id from peer.job where run_at <= now() order by run_at, job_id limit " +
                        std::to_string(batch) + " for update skip locked)) returning job_id, payload");
    }

    std::vector<std::int64_t> take() override
    {
        const Result              rows = connection_.run("take", {});
        std::vector<std::int64_t> taken;
        for (int row = 0; row < rows.rows(); ++row)
            taken.push_back(number_in(rows.value(row, 0)));
        return taken;
    }

private:
    Connection connection_;
};

using Maker = std::unique_ptr<Worker> (*)(int number, int batch);

const std::map<std::string, Maker> makers = {
    {"exchange",
     [](int number, int batch) -> std::unique_ptr<Worker> {
         return std::make_unique<ExchangeWorker>(number, batch, Ending::with_the_next_take);
     }},
    {"verbs",
     [](int number, int batch) -> std::unique_ptr<Worker> {
         return std::make_unique<ExchangeWorker>(number, batch, Ending::after_each_take);
     }},
    {"hold",
     [](int number, int batch) -> std::unique_ptr<Worker> {
         return std::make_unique<HoldWorker>(number, batch);
     }},
    {"peer", [](int, int batch) -> std::unique_ptr<Worker> { return std::make_unique<PeerWorker>(batch); }},
};

} // namespace

std::vector<std::string> ways()
{
    std::vector<std::string> names;
    for (const auto &[name, maker] : makers)
        names.push_back(name);
    return names;
}

std::unique_ptr<Worker> make_worker(const std::string &way, int number, int batch)
{
    return makers.at(way)(number, batch);
}

} // namespace sluice::bench
