// Claim, record, payment.
#include "jobs/late_biller.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;
using outcome = store::debt_claim::outcome;

constexpr auto retry_after = 3s;
constexpr std::size_t remembered = 20'000;
constexpr std::size_t debts_at_once = 100;

}  // namespace

void late_biller::seen(usage::late_state state) {
    if (state.late && state.ended && !state.id.empty()) add(std::move(state), false);
}

void late_biller::lost(const std::string& id, usage::late_kind kind) {
    usage::late_state state;
    state.id = id;
    state.kind = kind;
    add(std::move(state), true);
}

void late_biller::add(usage::late_state state, bool lost) {
    const std::string id = state.id;
    // What does not fit is seen again, or looked after.
    if (under_way_.size() >= max_under_way || young_.contains(id) || old_.contains(id)) return;
    if (under_way_.try_emplace(id, item{std::move(state), lost}).second) claim(id);
}

void late_biller::claim(const std::string& id) {
    const bool untold = with_.kept && with_.kept->holds(id);
    const bool asked = !untold && with_.objects.ask([this, id](store::object_board& board) {
        auto got = board.claim(id, with_.claimant, claim_length);
        with_.home([this, id, got = std::move(got)] { claimed(id, got); });
    });
    if (!asked) under_way_[id].again = with_.clock.mono() + retry_after;
}

void late_biller::claimed(const std::string& id, const result<store::debt_claim>& got) {
    const auto at = under_way_.find(id);
    if (at == under_way_.end()) return;
    if (!got || got->is == outcome::anothers) {
        at->second.again = with_.clock.mono() + retry_after;
        return;
    }
    // What was not ordered through here, or is in the books.
    if (got->is != outcome::yours) return finish(id);
    const auto note = usage::read_note(got->note);
    if (!note) {
        log::event(log::level::error, "late_work.unreadable", {{"id", id}});
        return finish(id);
    }
    const auto prices = with_.prices();
    const wall_time now = with_.clock.wall();
    const store::ledger_record record =
        at->second.lost ? usage::lost_record(*note, *prices, now)
                        : usage::late_record(*note, at->second.state, *prices, now);
    with_.book(record, [this, id, record, exchange = note->exchange_id](bool done) {
        with_.home([this, id, record, exchange, done] {
            if (done) {
                with_.count(record, exchange);
                log::event(log::level::info, "late_work.booked",
                           {{"request_id", record.id},
                            {"object", id},
                            {"endpoint", record.endpoint},
                            {"client_id", record.access_key_id},
                            {"model_served", record.model_served},
                            {"input_tokens", record.tokens.input},
                            {"output_tokens", record.tokens.output}});
            }
            booked(id, done);
        });
    });
}

void late_biller::booked(const std::string& id, bool done) {
    const auto at = under_way_.find(id);
    if (at == under_way_.end()) return;
    if (!done) {
        at->second.again = with_.clock.mono() + retry_after;
        return;
    }
    const auto keep = with_.keep();
    // Should this fail, it is claimed and written once more some day, and counts once.
    with_.objects.ask(
        [id, keep](store::object_board& board) { static_cast<void>(board.pay(id, keep)); });
    finish(id);
}

void late_biller::finish(const std::string& id) {
    under_way_.erase(id);
    if (young_.size() >= remembered) old_ = std::exchange(young_, {});
    young_.insert(id);
}

void late_biller::run_due() {
    const mono_time now = with_.clock.mono();
    for (auto& [id, it] : under_way_) {
        if (it.again > now) continue;
        it.again = mono_time::max();
        claim(id);
    }
}

void late_biller::tell_kept() {
    if (with_.kept) with_.kept->tell(with_.objects, retry_after);
}

void late_biller::look_for_debts(std::chrono::seconds again) {
    if (!debts_.empty()) return;
    with_.objects.ask([this, again](store::object_board& board) {
        auto got = board.due(again, debts_at_once);
        if (!got || got->empty()) return;
        with_.home([this, all = std::move(*got)] {
            for (const auto& d : all) {
                auto note = usage::read_note(d.note);
                if (!note) continue;
                // It is unpaid, whatever was found out before it was noted.
                young_.erase(d.id);
                old_.erase(d.id);
                debts_.push_back({d.id, std::move(*note)});
            }
        });
    });
}

std::optional<late_biller::debt> late_biller::take_debt() {
    if (debts_.empty()) return std::nullopt;
    debt out = std::move(debts_.front());
    debts_.pop_front();
    return out;
}

}  // namespace kw::jobs
