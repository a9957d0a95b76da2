// sluice:      exchange, as the sidecar works: the outcomes of the last batch and the claim of the next in one call.
// table:       the queue that people write themselves; a job is deleted when it is handed out, so at most once.
// table_lease: the same with a lease: handing out moves run_at into the future, the end deletes.
// pgq:         the batch log PgQ, whose ticker pgqd runs beside it; one consumer reads all, and no job has an owner.

#include "systems.hpp"

#include "../connection.hpp"

#include <charconv>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <unistd.h>

namespace sluice::bench {

namespace {

/// For the systems that have nothing to wait on.
constexpr auto poll_interval = std::chrono::milliseconds(5);

/// Sluice asks for this pause when it was told of work that others then took.
constexpr auto pause_after_a_miss = std::chrono::milliseconds(50);

std::int64_t number_after(std::string_view text, std::string_view key)
{
    auto at = text.find(key);
    if (at == std::string_view::npos)
        throw std::runtime_error("a payload came back without " + std::string(key));
    at += key.size();
    while (at < text.size() && text[at] == ' ')
        ++at;
    std::int64_t number = 0;
    std::from_chars(text.data() + at, text.data() + text.size(), number);
    return number;
}

Job job_of(std::string_view payload)
{
    return {number_after(payload, "\"id\":"), number_after(payload, "\"sent\":")};
}

/// About a hundred bytes, as most payloads have, and the same as node/load.mjs sends.
std::string payload_of(Job job)
{
    static const std::string padding(64, 'x');
    return R"({"id":)" + std::to_string(job.id) + R"(,"sent":)" + std::to_string(job.sent) +
           R"(,"padding":")" + padding + R"("})";
}

std::string array_of(const std::vector<Job> &jobs)
{
    std::string text = "{";
    for (const Job job : jobs) {
        text += text.size() > 1 ? ",\"" : "\"";
        for (const char c : payload_of(job)) {
            if (c == '"')
                text += '\\';
            text += c;
        }
        text += '"';
    }
    return text + "}";
}

class SqlProducer : public Producer {
public:
    SqlProducer(const std::string &one, const std::string &many)
    {
        connection_.prepare("one", one);
        connection_.prepare("many", many);
    }

    void one(Job job) override { connection_.run("one", {payload_of(job).c_str()}); }
    void many(const std::vector<Job> &jobs) override { connection_.run("many", {array_of(jobs).c_str()}); }

private:
    Connection connection_;
};

class SluiceConsumer : public Consumer {
public:
    SluiceConsumer(int number, int batch)
        : name_("peers:" + std::to_string(getpid()) + ":" + std::to_string(number)),
          batch_(std::to_string(batch))
    {
        connection_.prepare("register", "select sluice.register_worker($1::text, '{}')");
        connection_.prepare("exchange", "select kind, token, answer, payload, reply from sluice.exchange("
                                        "worker => $1::text, outcomes => $2::jsonb, capacity => $3::int, "
                                        "seen_reply => $4::bigint)");
        connection_.run("register", {name_.c_str()});
        waiting_.prepare("wait",
                         "call sluice.wait_for_work('{bench}', '200 ms', '{external}', $1::text, null)");
    }

    std::vector<Job> take() override
    {
        auto jobs = exchange(batch_);
        if (jobs.empty() && told_of_work_)
            std::this_thread::sleep_for(pause_after_a_miss);
        told_of_work_ = false;
        return jobs;
    }

    void wait() override { told_of_work_ = waiting_.run("wait", {name_.c_str()}).value(0, 0) == "work"; }

    void close() override
    {
        if (!outcomes_.empty())
            exchange("0");
    }

private:
    std::vector<Job> exchange(const std::string &capacity)
    {
        const std::string outcomes = "[" + outcomes_ + "]";
        const Result      rows =
            connection_.run("exchange", {name_.c_str(), outcomes.c_str(), capacity.c_str(), reply_.c_str()});
        outcomes_.clear();

        std::vector<Job> jobs;
        for (int row = 0; row < rows.rows(); ++row) {
            const std::string_view kind = rows.value(row, 0);
            if (kind == "reply") {
                reply_ = rows.value(row, 4);
            } else if (kind == "claimed") {
                jobs.push_back(job_of(rows.value(row, 3)));
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
        return jobs;
    }

    Connection  connection_;
    Connection  waiting_;
    std::string name_;
    std::string batch_;
    std::string outcomes_; ///< of what this worker holds, as elements of a JSON array
    std::string reply_        = "0";
    bool        told_of_work_ = false;
};

/// The ids of the next jobs.  The number stands in the text: with a parameter the generic plan does not know how few
/// rows it gets.
std::string next_jobs(int batch)
{
    return "array(select job_id from peer.job where run_at <= now() order by run_at, job_id limit " +
           std::to_string(batch) + " for update skip locked)";
}

class TableConsumer : public Consumer {
public:
    explicit TableConsumer(int batch)
    {
        connection_.prepare("take", "delete from peer.job where job_id = any (" + next_jobs(batch) +
                                        ") returning payload");
    }

    std::vector<Job> take() override
    {
        const Result     rows = connection_.run("take", {});
        std::vector<Job> jobs;
        for (int row = 0; row < rows.rows(); ++row)
            jobs.push_back(job_of(rows.value(row, 0)));
        return jobs;
    }

    void wait() override { std::this_thread::sleep_for(poll_interval); }

private:
    Connection connection_;
};

class LeasedTableConsumer : public Consumer {
public:
    explicit LeasedTableConsumer(int batch)
    {
        connection_.prepare("take",
                            "update peer.job set run_at = now() + interval '1 minute' where job_id = any (" +
                                next_jobs(batch) + ") returning job_id, payload");
        connection_.prepare("finish", "delete from peer.job where job_id = any ($1::bigint[])");
    }

    std::vector<Job> take() override
    {
        const Result     rows = connection_.run("take", {});
        std::vector<Job> jobs;
        held_ = "{";
        for (int row = 0; row < rows.rows(); ++row) {
            if (row > 0)
                held_ += ',';
            held_ += rows.value(row, 0);
            jobs.push_back(job_of(rows.value(row, 1)));
        }
        held_ += '}';
        return jobs;
    }

    void finish() override { connection_.run("finish", {held_.c_str()}); }
    void wait() override { std::this_thread::sleep_for(poll_interval); }

private:
    Connection  connection_;
    std::string held_;
};

class PgqConsumer : public Consumer {
public:
    PgqConsumer()
    {
        connection_.prepare("next", "select coalesce(pgq.next_batch('bench', 'peers')::text, '')");
        connection_.prepare("events", "select ev_data from pgq.get_batch_events($1::bigint)");
        connection_.prepare("finish", "select pgq.finish_batch($1::bigint)");
    }

    std::vector<Job> take() override
    {
        batch_ = connection_.run("next", {}).value(0, 0);
        std::vector<Job> jobs;
        if (batch_.empty())
            return jobs;
        const Result rows = connection_.run("events", {batch_.c_str()});
        for (int row = 0; row < rows.rows(); ++row)
            jobs.push_back(job_of(rows.value(row, 0)));
        if (jobs.empty())
            finish(); // a batch between two ticks in which nothing happened
        return jobs;
    }

    void finish() override
    {
        connection_.run("finish", {batch_.c_str()});
        batch_.clear();
    }

    void wait() override { std::this_thread::sleep_for(poll_interval); }

private:
    Connection  connection_;
    std::string batch_;
};

struct System {
    std::string one;
    std::string many;
    int         most_consumers;
    std::unique_ptr<Consumer> (*consumer)(int number, int batch);
};

const std::string insert_one  = "insert into peer.job (payload) values ($1::jsonb)";
const std::string insert_many = "insert into peer.job (payload) select unnest($1::jsonb[])";

const std::map<std::string, System> known = {
    {"sluice",
     {"select sluice.enqueue('bench', $1::jsonb)",
      "select count(*) from sluice.enqueue_many('bench', $1::jsonb[])", 64,
      [](int number, int batch) -> std::unique_ptr<Consumer> {
          return std::make_unique<SluiceConsumer>(number, batch);
      }}},
    {"table",
     {insert_one, insert_many, 64,
      [](int, int batch) -> std::unique_ptr<Consumer> { return std::make_unique<TableConsumer>(batch); }}},
    {"table_lease",
     {insert_one, insert_many, 64,
      [](int, int batch) -> std::unique_ptr<Consumer> {
          return std::make_unique<LeasedTableConsumer>(batch);
      }}},
    {"pgq",
     {"select pgq.insert_event('bench', 'job', $1::text)",
      "select count(pgq.insert_event('bench', 'job', payload)) from unnest($1::text[]) as payload", 1,
      [](int, int) -> std::unique_ptr<Consumer> { return std::make_unique<PgqConsumer>(); }}},
};

} // namespace

std::vector<std::string> systems()
{
    std::vector<std::string> names;
    for (const auto &[name, system] : known)
        names.push_back(name);
    return names;
}

int most_consumers(const std::string &system)
{
    return known.at(system).most_consumers;
}

std::unique_ptr<Producer> make_producer(const std::string &system)
{
    return std::make_unique<SqlProducer>(known.at(system).one, known.at(system).many);
}

std::unique_ptr<Consumer> make_consumer(const std::string &system, int number, int batch)
{
    return known.at(system).consumer(number, batch);
}

} // namespace sluice::bench
