// Books long-lived work (background responses, batches, training, videos) once it has told what it
// cost, to the access key that ordered it: once, whoever saw it, on whichever replica.
//
// The store gives the debt to one claimant at a time. Who has it writes the record, then marks the
// debt as paid. Who dies in between is followed by another, and since the record's id is the same,
// the books count it once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/clock.hpp"
#include "jobs/kept_debts.hpp"
#include "store/objects.hpp"
#include "store/types.hpp"
#include "usage/late_work.hpp"

namespace kw::jobs {

// On one thread, to which `home` brings work from any other. What it is made with outlives it.
class late_biller {
  public:
    struct surroundings {
        store::object_desk& objects;
        const clock_source& clock;
        std::string claimant;  // no other process has it
        std::function<void(std::function<void()>)> home;
        std::function<std::shared_ptr<const usage::price_table>()> prices;
        // Writes the record down; `done` is called on any thread, false if that failed.
        std::function<void(const store::ledger_record&, std::function<void(bool)> done)> book;
        // Counts it for the access key's limits, in the place of what its order had reserved.
        std::function<void(const store::ledger_record&, const std::string& exchange_id)> count;
        std::function<std::chrono::seconds()> keep;  // how long it is known that it was paid
        std::shared_ptr<kept_debts> kept = {};  // what the store is still to be told of; or null
    };
    static constexpr std::size_t max_under_way = 10'000;
    static constexpr std::chrono::seconds claim_length{10};

    explicit late_biller(surroundings with) : with_(std::move(with)) {}

    // An answer has told that it has ended.
    void seen(usage::late_state state);
    // The upstream has it no more: what its note says is booked.
    void lost(const std::string& id, usage::late_kind kind);
    // Every second or so: what could not be booked, again.
    void run_due();

    // While the store is there: tells it of what was ordered without it.
    void tell_kept();

    // Debts that nobody has asked for, to be looked after by the caller; each again after `again`.
    void look_for_debts(std::chrono::seconds again);
    struct debt {
        std::string id;
        usage::late_note note;
    };
    [[nodiscard]] std::optional<debt> take_debt();

  private:
    struct item {
        usage::late_state state;
        bool lost = false;
        mono_time again = mono_time::max();  // max: being worked on
    };
    void add(usage::late_state state, bool lost);
    void claim(const std::string& id);
    void claimed(const std::string& id, const result<store::debt_claim>& got);
    void booked(const std::string& id, bool done);
    void finish(const std::string& id);

    const surroundings with_;
    std::map<std::string, item> under_way_;
    // Settled lately, so that the store need not be asked again; two generations.
    std::set<std::string> young_, old_;
    std::deque<debt> debts_;
};

}  // namespace kw::jobs
