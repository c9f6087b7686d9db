// The part of an exchange about work that costs something later than it was ordered (background
// responses, batches, training, videos): what is ordered is noted in the store before the client
// has its id, and an answer that tells what it cost is handed to whoever books it.
#include <array>

#include "proxy/book_fields.hpp"
#include "proxy/exchange.hpp"
#include "proxy/worker.hpp"
#include "usage/estimate.hpp"

namespace kw::proxy {
namespace {

using usage::late_kind;

// By late_kind.
constexpr std::array<std::string_view, 5> collections = {"", "/responses/", "/batches/",
                                                         "/fine_tuning/jobs/", "/videos/"};

}  // namespace

// Before the answer's body is read.
void exchange::read_late_work() {
    const late_kind kind = objects_->route.late;
    if (kind == late_kind::none || !w_.shared().late_seen) return;
    // Of responses that are made now only those in the background.
    if (kind == late_kind::response && objects_->route.creates && !fields_.background) return;
    objects_->late = std::make_unique<usage::late_reader>(kind);
    objects_->reader.share_with(objects_->late.get());
}

// What was ordered, once the answer has told its id.
std::optional<store::object_debt> exchange::take_debt() {
    if (!objects_->late || objects_->noted || !objects_->route.creates) return std::nullopt;
    const usage::late_state state = objects_->late->state();
    if (!state.late || !is_object_id(state.id)) return std::nullopt;
    objects_->noted = true;
    usage::late_note note;
    note.kind = state.kind;
    note.exchange_id = record_.id;
    copy_parties(record_, note);
    note.model_asked = record_.model_asked;
    note.model = route_.model;
    note.service_tier = fields_.service_tier;
    note.account = objects_->told.empty() ? objects_->account : objects_->told;
    note.place = std::string(collections[static_cast<std::size_t>(state.kind)]) + state.id;
    note.rates = rates();
    const auto& settings = *snap_.settings;
    if (state.kind == late_kind::response) {
        note.input_tokens = usage::estimate_tokens(record_.bytes_in);
        note.output_tokens =
            fields_.max_tokens > 0 ? fields_.max_tokens : settings.limits.default_output_tokens;
    }
    const bool brief = state.kind == late_kind::response || state.kind == late_kind::video;
    const auto keep = brief ? settings.objects.response_lifetime : settings.objects.lifetime;
    return store::object_debt{state.id, usage::write_note(note),
                              std::chrono::ceil<std::chrono::seconds>(keep)};
}

void exchange::note_debt(store::object_debt debt, store::object_desk::bound done) {
    const auto look =
        std::chrono::ceil<std::chrono::seconds>(snap_.settings->objects.collect_interval);
    w_.shared().objects->owe(std::move(debt), look, std::move(done));
}

// Before the record is written: what it will have cost is booked when it is told.
void exchange::leave_to_late_work() {
    if (!objects_ || !objects_->late || !objects_->route.creates || record_.status >= 300) return;
    const usage::late_state state = objects_->late->state();
    if (!state.late) return;
    record_.tokens = {};
    record_.outcome = store::usage_outcome::none;
    record_.cost = record_.rated_cost = std::nullopt;
    if (!objects_->unnoted || state.kind != late_kind::response) return;
    // Nobody will know of it later: an estimate now.
    record_.tokens.input = usage::estimate_tokens(record_.bytes_in);
    record_.tokens.output =
        fields_.max_tokens > 0 ? fields_.max_tokens : snap_.settings->limits.default_output_tokens;
    record_.outcome = store::usage_outcome::estimated;
    usage::quantities q;
    q.tokens = record_.tokens;
    price(record_, route_.model, q, fields_.service_tier, rates());
}

// whole: the answer was read to its end; of a stream, each event is.
void exchange::tell_late_work(bool whole) {
    if (!objects_ || !objects_->late || record_.status >= 300) return;
    if (!whole && !call_.head().is_event_stream()) return;
    if (auto debt = take_debt()) note_debt(std::move(*debt), [](bool) {});
    usage::late_state state = objects_->late->state();
    if (state.late && state.ended && !state.id.empty() && !objects_->unnoted)
        w_.shared().late_seen(std::move(state));
}

}  // namespace kw::proxy
