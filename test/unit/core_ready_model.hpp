// A naive ready index, with a table behind it, that drives the real one and says where they differ.
//
// It keeps everything in ordered maps and looks at all of them after every step, so it is obviously right and slow.  The
// steps come from a source of numbers: random ones in the unit tests, a fuzzer's bytes in test/fuzz.  What the real one
// may choose (when memory is full) is taken from it after a check that it may.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/lane.hpp"
#include "core/ready_index.hpp"

namespace sluice::test {

/// A block of memory as the index wants it.
class BlockMemory {
public:
    explicit BlockMemory(std::size_t bytes)
        : memory_(std::aligned_alloc(64, (bytes + 63) / 64 * 64), &std::free)
    {
    }
    void *get() const { return memory_.get(); }

private:
    std::unique_ptr<void, decltype(&std::free)> memory_;
};

class ReadyModel {
public:
    /// below(n) gives a number from 0 to n - 1.
    using Numbers = std::function<int(int)>;

    ReadyModel(std::size_t bytes, Numbers below)
        : memory_(bytes), index_(core::ReadyIndex::create(memory_.get(), bytes, 7)), below_(std::move(below)),
          queue_(index_.make_queue(5))
    {
        key_lanes_ = 2 + below_(below_(2) == 0 ? 8 : 200);
        set_limits();
    }

    void step()
    {
        switch (below_(24)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
        case 6:
            push();
            break;
        case 7:
        case 8:
        case 9:
        case 10:
            pop();
            break;
        case 11:
        case 12:
            finish();
            break;
        case 13:
            put_back();
            break;
        case 14:
            park();
            break;
        case 15:
            unpark();
            break;
        case 16:
        case 17:
        case 18:
        case 19:
        case 20:
            go_on_refilling();
            break;
        case 21:
            below_(4) == 0 ? set_limits() : take_slot();
            break;
        case 22:
            below_(8) == 0 ? forget_limits() : lower_horizon();
            break;
        default:
            if (below_(60) == 0)
                clear();
            else
                flip_credit();
        }
        check();
    }

    /// Whatever has happened, every run that is left comes out once, in the order of its lane.
    void drain()
    {
        now_ = INT64_MAX - 1;
        index_.unpark(queue_, now_);
        unpark_model();
        while (!refills_.empty())
            end_one_refill();
        apply_limits({});
        while (!executing_.empty())
            finish();
        credits_.clear();
        for (bool idle = false; !idle;) {
            const std::size_t before = executing_.size();
            pop(0x1f);
            while (!refills_.empty())
                go_on_refilling();
            check();
            idle = executing_.size() == before && !result_.needs_refill;
            while (!executing_.empty() && below_(4) != 0)
                finish();
        }
        for (const auto &[key, rows] : table_)
            must(rows.empty(), "a run was lost");
    }

    void check_all()
    {
        std::multiset<std::tuple<std::int64_t, int, core::Place>> real;
        std::multiset<std::tuple<std::int64_t, int, core::Place>> wanted;
        index_.each_ready(
            queue_,
            [](void *context, const core::Ready &ready) {
                static_cast<decltype(real) *>(context)->insert(
                    {ready.lane, static_cast<int>(ready.executor), ready.place});
            },
            &real);
        for (const auto &[key, shelf] : shelves_)
            for (const core::Place &place : shelf.known)
                wanted.insert({key.first, key.second, place});
        for (const Parked &parked : parked_)
            wanted.insert({parked.run.lane, static_cast<int>(parked.run.executor), parked.run.place});
        must(real == wanted, "other runs are in memory");

        std::map<std::pair<std::int64_t, int>, core::Place> horizons;
        index_.each_horizon(
            queue_,
            [](void *context, std::int64_t lane, core::Executor executor, const core::Place &horizon) {
                (*static_cast<decltype(horizons) *>(context))[{lane, static_cast<int>(executor)}] = horizon;
            },
            &horizons);
        for (const auto &[key, shelf] : shelves_) {
            const auto found = horizons.find(key);
            must((found == horizons.end() ? core::no_place : found->second) == shelf.horizon,
                 "another horizon");
        }
        must(std::all_of(horizons.begin(), horizons.end(),
                         [&](const auto &h) { return shelves_.contains(h.first); }),
             "a horizon that nobody has set");

        std::map<std::int64_t, std::int32_t> held;
        index_.each_lane(
            queue_,
            [](void *context, std::int64_t lane, std::int32_t slots) {
                (*static_cast<decltype(held) *>(context))[lane] = slots;
            },
            &held);
        must(held == held_, "other slots are held");
    }

    core::ReadyIndex &index() { return index_; }

private:
    using Key = std::pair<std::int64_t, int>; ///< lane and executor

    struct Shelf {
        std::set<core::Place> known;
        core::Place           horizon = core::no_place;
        core::Place           beyond  = core::no_place;
        std::uint32_t         refill  = 0;
        int                   parked  = 0;
        bool                  in_ring = false;
        bool                  keeps   = false; ///< its turn
        std::uint64_t         turn    = 0;     ///< several may have joined at once
        bool                  passed  = false;

        core::Place head() const { return known.empty() ? core::no_place : *known.begin(); }
        core::Place lowest() const { return std::min(head(), horizon); }
    };
    struct Parked {
        std::int64_t until;
        core::Ready  run;
    };
    struct OpenRefill {
        core::Refill             refill;
        std::vector<core::Place> rows; ///< as the table was when it began
        std::size_t              next     = 0;
        int                      accepted = 0;
        int                      most     = 0;
        bool                     live     = true; ///< not cleared meanwhile
    };

    static void must(bool holds, const char *what)
    {
        if (!holds)
            throw std::logic_error(what);
    }

    static Key  key_of(const core::Ready &run) { return {run.lane, static_cast<int>(run.executor)}; }
    static bool is_in(int executor, core::ExecutorMask mask) { return (mask >> executor & 1) != 0; }

    bool is_full() const { return index_.entries_used() == index_.entries_room(); }

    // --- Steps

    void push()
    {
        // Mostly ascending, with ties in the key, sometimes far ahead.
        clock_ += below_(3);
        const std::int64_t ahead = below_(4) == 0 ? below_(60) : 0;
        const core::Ready  run{
            below_(key_lanes_) - 1, // lane 0 is the keyless one
            {static_cast<std::int16_t>(below_(8) == 0 ? below_(3) : 2), clock_ - ahead, ++last_id_},
            below_(3) == 0 ? core::Executor::external : core::Executor::sql};
        const bool was_full = is_full();
        accept(run, index_.push(queue_, run), was_full);
    }

    /// The answer to something that stores a run.
    void accept(const core::Ready &run, core::Pushed pushed, bool was_full)
    {
        const Key key = key_of(run);
        if (pushed == core::Pushed::no_room) {
            must(!shelves_.contains(key), "no room for a shelf that is there");
            table_[key].erase(run.place); // as if it had never been: a real caller begins anew
            refresh();
            return;
        }
        Shelf &shelf = shelves_[key];
        table_[key].insert(run.place);
        if (pushed == core::Pushed::stored) {
            must(run.place < shelf.horizon, "stored beyond the horizon");
            shelf.known.insert(run.place);
        } else {
            send_beyond(shelf, run.place, was_full);
        }
        refresh();
    }

    void send_beyond(Shelf &shelf, const core::Place &place, bool may_spill)
    {
        must(may_spill || !(place < shelf.horizon), "spilled without need");
        shelf.horizon = std::min(shelf.horizon, place);
        if (shelf.refill != 0)
            shelf.beyond = std::min(shelf.beyond, place);
    }

    void pop() { pop(static_cast<core::ExecutorMask>(below_(4) != 0 ? 0x1f : below_(2) == 0 ? 1 : 0x10)); }

    void pop(core::ExecutorMask mask)
    {
        const int                 wanted = below_(3) == 0 ? 1 + below_(30) : 1 + below_(4);
        std::vector<core::Credit> credits;
        std::int64_t              credit = 0;
        for (const auto &[lane, slots] : credits_) {
            credits.push_back({lane, slots});
            credit += slots;
        }
        taken_.assign(static_cast<std::size_t>(wanted), {});
        result_ = index_.pop(queue_, mask, wanted, {credits.data(), static_cast<int>(credits.size())},
                             taken_.data());
        taken_.resize(static_cast<std::size_t>(result_.taken));
        seen_ = 0;
        busy_ = refill_ = loose_ = false;

        if (known_ && !limits_.paused)
            follow(mask, std::min<std::int64_t>(wanted, queue_room() + credit), credits);
        must(seen_ == taken_.size(), "more was taken than there was");
        must(result_.needs_refill == refill_, "needs a refill or not");
        must(result_.busy == (busy_ && !refill_), "busy or not");
        refresh();
    }

    /// Takes the turns again, and compares.
    void follow(core::ExecutorMask mask, std::int64_t most, const std::vector<core::Credit> &credits)
    {
        for (auto &[key, shelf] : shelves_)
            shelf.passed = false;
        std::int64_t turns = 0;
        std::int64_t share = 0;
        while (left(most) > 0 && !refill_) {
            const std::optional<std::int64_t> lane = next_lane(mask);
            if (!lane)
                break;
            if (turns == 0) {
                for (const auto &[key, shelf] : shelves_)
                    turns += shelf.in_ring && is_in(key.second, mask) ? 1 : 0;
                share = std::max<std::int64_t>(1, left(most) / turns);
            }
            --turns;
            std::int64_t fit = std::min({share, left(most), lane_room(*lane)});
            if (loose_) { // the order of busy lanes that joined at once is not known, so the rounds are not
                turns = 1;
                fit   = 1;
                while (seen_ + static_cast<std::size_t>(fit) < taken_.size() &&
                       taken_[seen_ + static_cast<std::size_t>(fit)].lane == *lane)
                    ++fit;
            }
            if (!follow_turn(*lane, mask, fit))
                for (auto &[key, shelf] : shelves_)
                    shelf.passed = shelf.passed || (key.first == *lane && is_in(key.second, mask));
        }
        for (const core::Credit &credit : credits)
            if (!refill_ && left(most) > 0)
                follow_turn(credit.lane, mask, std::min(left(most), lane_room(credit.lane) + credit.slots));
        for (const auto &[key, shelf] : shelves_)
            if (shelf.refill != 0 && is_in(key.second, mask) && lane_room(key.first) > 0)
                busy_ = true;
        busy_ = busy_ && left(most) > 0;
    }

    std::int64_t left(std::int64_t most) const { return most - static_cast<std::int64_t>(seen_); }

    /// Whose turn it is.  Of several that joined at once, the one that was really served.
    std::optional<std::int64_t> next_lane(core::ExecutorMask mask)
    {
        std::uint64_t          least = UINT64_MAX;
        std::set<std::int64_t> lanes;
        for (const auto &[key, shelf] : shelves_) {
            if (!shelf.in_ring || shelf.passed || !is_in(key.second, mask) || shelf.turn > least)
                continue;
            if (shelf.turn < least)
                lanes.clear();
            least = shelf.turn;
            lanes.insert(key.first);
        }
        if (lanes.empty())
            return std::nullopt;
        if (lanes.size() == 1)
            return *lanes.begin();
        for (const std::int64_t lane : lanes)
            if (is_busy(lane, mask)) {
                loose_ = true;
                return lane;
            }
        if (seen_ < taken_.size() && lanes.contains(taken_[seen_].lane))
            return taken_[seen_].lane;
        if (seen_ == taken_.size() && result_.needs_refill && lanes.contains(result_.refill.lane))
            return result_.refill.lane;
        must(false, "a lane was passed over");
        return std::nullopt;
    }

    Shelf *lowest_of(std::int64_t lane, core::ExecutorMask mask, int &executor)
    {
        Shelf *lowest = nullptr;
        for (int e = 0; e < core::executor_kinds; ++e)
            if (const auto found = shelves_.find({lane, e}); found != shelves_.end() && is_in(e, mask))
                if (found->second.lowest() < (lowest == nullptr ? core::no_place : lowest->lowest())) {
                    lowest   = &found->second;
                    executor = e;
                }
        return lowest;
    }

    bool is_busy(std::int64_t lane, core::ExecutorMask mask)
    {
        int          executor = 0;
        const Shelf *shelf    = lowest_of(lane, mask, executor);
        return shelf != nullptr && shelf->refill != 0;
    }

    /// False if the lane had to be passed over.
    bool follow_turn(std::int64_t lane, core::ExecutorMask mask, std::int64_t fit)
    {
        int served = 0;
        for (; fit > 0; --fit) {
            int    executor = 0;
            Shelf *shelf    = lowest_of(lane, mask, executor);
            if (shelf == nullptr)
                break;
            if (shelf->refill != 0) {
                busy_ = true;
                break;
            }
            if (!(shelf->head() < shelf->horizon)) {
                if (served > 0)
                    break;
                begin_refill(lane, executor, *shelf);
                return true;
            }
            must(seen_ < taken_.size(), "less was taken than there was");
            const core::Ready &run = taken_[seen_++];
            must(run.lane == lane && static_cast<int>(run.executor) == executor && run.place == shelf->head(),
                 "another run was taken");
            must(table_[{lane, executor}].erase(run.place) == 1, "a run was taken twice");
            shelf->known.erase(run.place);
            ++held_[lane];
            ++all_held_;
            executing_.push_back(run);
            ++served;
        }
        if (served == 0)
            return false;
        // To the end, all of them at once, whichever are eligible still.
        for (auto &[key, shelf] : shelves_)
            if (key.first == lane && is_in(key.second, mask))
                shelf.in_ring = false;
        refresh();
        return true;
    }

    void begin_refill(std::int64_t lane, int executor, Shelf &shelf)
    {
        refill_ = true;
        must(result_.needs_refill, "a refill was not asked for");
        const core::Refill &refill = result_.refill;
        must(refill.lane == lane && static_cast<int>(refill.executor) == executor &&
                 refill.from == shelf.horizon,
             "another refill");
        must(refill.number != 0, "a refill without a number");
        shelf.known.clear();
        std::erase_if(parked_, [&](const Parked &parked) {
            if (key_of(parked.run) != Key{lane, executor} || parked.run.place < shelf.horizon)
                return false;
            --shelf.parked;
            return true;
        });
        shelf.keeps  = shelf.in_ring;
        shelf.refill = refill.number;
        shelf.beyond = core::no_place;

        OpenRefill                   open{refill, {}, 0, 0, 1 + below_(below_(3) == 0 ? 40 : 4)};
        const std::set<core::Place> &rows = table_[{lane, executor}];
        open.rows.assign(rows.lower_bound(refill.from), rows.end());
        refills_.push_back(std::move(open));
    }

    void go_on_refilling()
    {
        if (refills_.empty())
            return;
        OpenRefill &open = refills_[static_cast<std::size_t>(below_(static_cast<int>(refills_.size())))];
        if (&open != &refills_.back())
            std::swap(open, refills_.back());
        if (below_(3) == 0)
            feed_one();
        else
            end_one_refill();
    }

    /// False when it is time to end.
    bool feed_one()
    {
        OpenRefill &open = refills_.back();
        if (open.next == open.rows.size() || open.accepted == open.most)
            return false;
        const core::Place &found    = open.rows[open.next];
        const bool         was_full = is_full();
        if (!index_.refill(queue_, open.refill, found)) {
            if (open.live) {
                const bool refused = !(found < shelves_.at(key_of(open.refill)).beyond);
                must(refused || (was_full && open.accepted > 0), "a refill found no room");
            }
            return false;
        }
        must(open.live, "a refill went on that nobody awaited");
        shelves_.at(key_of(open.refill)).known.insert(found);
        ++open.next;
        ++open.accepted;
        return true;
    }

    static Key key_of(const core::Refill &refill) { return {refill.lane, static_cast<int>(refill.executor)}; }

    void end_one_refill()
    {
        if (below_(12) == 0) {
            const OpenRefill open = std::move(refills_.back());
            refills_.pop_back();
            index_.cancel_refill(queue_, open.refill);
            if (open.live) {
                Shelf &shelf = shelves_.at(key_of(open.refill));
                shelf.refill = 0;
                shelf.keeps  = false;
            }
            refresh();
            return;
        }
        while (feed_one())
            continue;
        const OpenRefill open = std::move(refills_.back());
        refills_.pop_back();
        const core::Place next = open.next == open.rows.size() ? core::no_place : open.rows[open.next];
        index_.end_refill(queue_, open.refill, next);
        if (open.live) {
            Shelf &shelf  = shelves_.at(key_of(open.refill));
            shelf.horizon = std::min(next, shelf.beyond);
            shelf.refill  = 0;
            if (shelf.keeps && shelf.head() < shelf.horizon)
                shelf.in_ring = true; // with the turn that it had
            shelf.keeps = false;
        }
        refresh();
    }

    core::Ready take_executing()
    {
        const auto        at  = static_cast<std::size_t>(below_(static_cast<int>(executing_.size())));
        const core::Ready run = executing_[at];
        executing_[at]        = executing_.back();
        executing_.pop_back();
        return run;
    }

    void free_slot(std::int64_t lane)
    {
        if (--held_[lane] == 0)
            held_.erase(lane);
        --all_held_;
        if (const auto credit = credits_.find(lane); credit != credits_.end())
            if (credit->second > (held_.contains(lane) ? held_[lane] : 0))
                credits_.erase(credit); // there are never more than are held
    }

    void finish()
    {
        if (executing_.empty())
            return;
        const bool        before   = queue_room() > 0;
        const std::size_t eligible = count_eligible();
        const core::Ready run      = take_executing();
        const bool        useful   = index_.give_slot(queue_, run.lane);
        free_slot(run.lane);
        refresh();
        must(useful == (count_eligible() > eligible || (!before && queue_room() > 0 && eligible > 0)),
             "a slot that was given back woke somebody or did not");
    }

    void put_back()
    {
        if (executing_.empty())
            return;
        const bool        was_full = is_full();
        const core::Ready run      = take_executing();
        free_slot(run.lane);
        accept(run, index_.put_back(queue_, run), was_full);
    }

    void park()
    {
        if (executing_.empty())
            return;
        const bool         was_full = index_.entries_used() >= index_.entries_room() - 1;
        const core::Ready  run      = take_executing();
        const std::int64_t until    = now_ + below_(20);
        const core::Pushed pushed   = index_.park(queue_, run, until);
        free_slot(run.lane);
        if (pushed != core::Pushed::stored) {
            accept(run, pushed, was_full);
            return;
        }
        Shelf &shelf = shelves_[key_of(run)];
        must(run.place < shelf.horizon, "parked beyond the horizon");
        table_[key_of(run)].insert(run.place);
        ++shelf.parked;
        parked_.push_back({until, run});
        refresh();
    }

    void unpark()
    {
        now_ += below_(10);
        const std::int64_t next = index_.unpark(queue_, now_);
        unpark_model();
        for (const Parked &parked : parked_)
            must(next <= parked.until, "the time of a parked run would be missed");
        must(next > now_, "a parked run was left behind");
    }

    void unpark_model()
    {
        std::erase_if(parked_, [&](const Parked &parked) {
            if (parked.until > now_)
                return false;
            Shelf &shelf = shelves_.at(key_of(parked.run));
            --shelf.parked;
            if (parked.run.place < shelf.horizon)
                shelf.known.insert(parked.run.place);
            else
                send_beyond(shelf, parked.run.place, false);
            return true;
        });
        refresh();
    }

    void take_slot()
    {
        const std::int64_t lane = below_(key_lanes_) - 1;
        if (!index_.take_slot(queue_, lane)) {
            must(!held_.contains(lane), "no room for a lane that is there");
            return;
        }
        ++held_[lane];
        ++all_held_;
        executing_.push_back({lane, {2, clock_, ++last_id_}, core::Executor::sql});
        refresh();
    }

    /// A slot that is held is, or is no longer, about to be given back by the one who pops.
    void flip_credit()
    {
        if (executing_.empty())
            return;
        const std::int64_t lane =
            executing_[static_cast<std::size_t>(below_(static_cast<int>(executing_.size())))].lane;
        if (credits_.erase(lane) == 0)
            credits_[lane] = 1 + below_(std::min(held_.at(lane), 3));
    }

    void set_limits()
    {
        core::Limits limits;
        if (below_(3) != 0)
            limits.concurrency = below_(below_(4) == 0 ? 3 : 60);
        if (below_(3) != 0)
            limits.key_concurrency = below_(4);
        limits.paused = below_(8) == 0;
        apply_limits(limits);
    }

    void apply_limits(const core::Limits &limits)
    {
        index_.set_limits(queue_, limits);
        must(index_.is_known(queue_) && index_.limits(queue_).concurrency == limits.concurrency,
             "other limits");
        limits_ = limits;
        known_  = true;
        refresh();
    }

    void forget_limits()
    {
        const std::uint32_t before = index_.limits_version(queue_);
        index_.forget_limits(queue_);
        must(!index_.is_known(queue_) && index_.limits_version(queue_) == before + 1,
             "limits are remembered");
        known_ = false;
    }

    void lower_horizon()
    {
        const std::int64_t lane     = below_(key_lanes_) - 1;
        const int          executor = below_(2) == 0 ? 0 : 4;
        const core::Place  from{2, clock_ - below_(40), 0};
        const core::Pushed pushed =
            index_.lower_horizon(queue_, lane, static_cast<core::Executor>(executor), from);
        if (pushed == core::Pushed::no_room) {
            must(!shelves_.contains({lane, executor}), "no room for a shelf that is there");
            return;
        }
        send_beyond(shelves_[{lane, executor}], from, true);
        refresh();
    }

    /// As a rebuild does: everything is forgotten, then said to be in the table.
    void clear()
    {
        index_.clear(queue_);
        shelves_.clear();
        parked_.clear();
        for (OpenRefill &open : refills_)
            open.live = false;
        for (auto &[key, rows] : table_) {
            if (rows.empty())
                continue;
            if (index_.lower_horizon(queue_, key.first, static_cast<core::Executor>(key.second),
                                     core::first_place) == core::Pushed::no_room) {
                rows.clear();
                continue;
            }
            shelves_[key].horizon = core::first_place;
            refresh();
        }
        refresh();
    }

    // --- What follows from everything

    std::int64_t lane_room(std::int64_t lane) const
    {
        if (lane == core::keyless_lane || limits_.key_concurrency == core::unlimited)
            return INT32_MAX;
        const auto held = held_.find(lane);
        return std::int64_t{limits_.key_concurrency} - (held == held_.end() ? 0 : held->second);
    }

    std::int64_t queue_room() const
    {
        return limits_.concurrency == core::unlimited ? INT32_MAX : limits_.concurrency - all_held_;
    }

    std::size_t count_eligible() const
    {
        return static_cast<std::size_t>(std::count_if(
            shelves_.begin(), shelves_.end(), [](const auto &shelf) { return shelf.second.in_ring; }));
    }

    /// Drops what is empty, and lets those that became eligible join at the end.
    void refresh()
    {
        std::erase_if(shelves_, [](const auto &item) {
            const Shelf &shelf = item.second;
            return shelf.known.empty() && shelf.horizon == core::no_place && shelf.refill == 0 &&
                   shelf.parked == 0;
        });
        ++turns_;
        for (auto &[key, shelf] : shelves_) {
            const bool room     = lane_room(key.first) > 0;
            const bool eligible = room && shelf.refill == 0 && shelf.lowest() < core::no_place;
            if (eligible && !shelf.in_ring)
                shelf.turn = turns_;
            shelf.in_ring = eligible;
            shelf.keeps   = shelf.keeps && room;
        }
    }

    void check()
    {
        std::set<std::int64_t> lanes;
        std::int64_t           entries = 0;
        std::int64_t           beyond  = 0;
        for (const auto &[key, shelf] : shelves_) {
            lanes.insert(key.first);
            entries += static_cast<std::int64_t>(shelf.known.size());
            beyond += shelf.horizon == core::no_place ? 0 : 1;
        }
        for (const auto &[lane, held] : held_)
            lanes.insert(lane);
        const core::QueueStats stats = index_.stats(queue_);
        must(stats.queue_id == 5 && stats.held == all_held_, "held");
        must(stats.entries == entries, "entries");
        must(stats.parked == static_cast<std::int64_t>(parked_.size()), "parked");
        must(stats.lanes == static_cast<std::int64_t>(lanes.size()) && index_.lanes_used() == stats.lanes,
             "lanes");
        must(stats.shelves_beyond == beyond, "shelves beyond");
        must(index_.shelves_used() == static_cast<std::int64_t>(shelves_.size()), "shelves");
        for (const int mask : {0x1, 0x10, 0x1f})
            check_work(static_cast<core::ExecutorMask>(mask));
        if (++checks_ % 64 == 0)
            check_all();
    }

    void check_work(core::ExecutorMask mask)
    {
        bool work = !known_;
        if (known_ && !limits_.paused && queue_room() > 0)
            for (const auto &[key, shelf] : shelves_)
                work = work || (shelf.in_ring && is_in(key.second, mask) && !is_busy(key.first, mask));
        must(index_.has_work(queue_, mask) == work, "work or none");
        must(!work || index_.may_have_work(queue_, mask), "work is not seen without the lock");
    }

    BlockMemory      memory_;
    core::ReadyIndex index_;
    Numbers          below_;
    core::QueueRef   queue_;
    int              key_lanes_ = 0;

    std::map<Key, std::set<core::Place>> table_; ///< queued runs
    std::map<Key, Shelf>                 shelves_;
    std::vector<Parked>                  parked_;
    std::vector<OpenRefill>              refills_;
    std::vector<core::Ready>             executing_;
    std::map<std::int64_t, std::int32_t> held_;
    std::map<std::int64_t, std::int32_t> credits_;
    std::int64_t                         all_held_ = 0;
    core::Limits                         limits_;
    bool                                 known_   = false;
    std::int64_t                         clock_   = 0;
    std::int64_t                         now_     = 0;
    std::int64_t                         last_id_ = 0;
    std::uint64_t                        turns_   = 0;
    std::uint64_t                        checks_  = 0;

    // Of the pop that is being followed.
    std::vector<core::Ready> taken_;
    core::PopResult          result_{};
    std::size_t              seen_   = 0;
    bool                     busy_   = false;
    bool                     refill_ = false;
    bool                     loose_  = false;
};

} // namespace sluice::test
