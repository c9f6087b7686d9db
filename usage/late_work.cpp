// Objects of long-lived work, notes of their orders, and their prices.
#include "usage/late_work.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "store/ledger_batch.hpp"
#include "usage/estimate.hpp"

namespace kw::usage {
namespace {

using k = key;

constexpr std::array<std::string_view, 8> ends = {"completed", "incomplete", "failed",  "cancelled",
                                                  "expired",   "succeeded",  "deleted", "canceled"};

std::int64_t number_in(std::string_view text) noexcept {
    std::int64_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return std::clamp<std::int64_t>(n, 0, 1'000'000'000'000);
}

// The note as lines; what a client chose must not make one more.
std::string one_line(std::string_view text) {
    std::string out(text.substr(0, 256));
    std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < ' '; }, '?');
    return out;
}

constexpr std::string_view format = "late-1";

template <class Note, class Each>
void each_text(Note& n, Each&& each) {
    for (auto* text :
         {&n.exchange_id, &n.access_key_id, &n.upstream_key_id, &n.group_id, &n.provider,
          &n.endpoint, &n.model_asked, &n.model, &n.service_tier, &n.place, &n.account})
        each(*text);
}

template <class Note, class Each>
void each_number(Note& n, Each&& each) {
    for (auto* number :
         {&n.rates.group_ppm, &n.rates.access_key_ppm, &n.input_tokens, &n.output_tokens})
        each(*number);
}

store::ledger_record record_of(const late_note& note, wall_time now) {
    store::ledger_record r;
    r.id = store::late_id(note.exchange_id);
    r.started = now;
    r.access_key_id = note.access_key_id;
    r.upstream_key_id = note.upstream_key_id;
    r.group_id = note.group_id;
    r.provider = note.provider;
    r.endpoint = note.endpoint;
    r.model_asked = note.model_asked;
    r.model_served = note.model;
    r.service_tier = note.service_tier;
    r.status = 200;
    return r;
}

}  // namespace

late_reader::late_reader(late_kind kind) {
    out_.kind = kind;
    out_.late = kind != late_kind::response;
    usage_.configure("application/json", {});
}

void late_reader::feed(std::string_view piece) {
    walker_.feed(piece, *this);
    usage_.feed(piece);
}

void late_reader::on_event(std::string_view data) {
    // Only those with the whole response tell what it is.
    if (data.find("\"response\"") == std::string_view::npos) return;
    walker_.reset();
    usage_.configure("application/json", {});
    feed(data);
}

void late_reader::on_value(const json_value& v) {
    switch (v.path) {
        case path_of(k::id):
            if (v.what == json_value::kind::string) out_.id = v.text;
            break;
        case path_of(k::status):
            status_ = v.text;
            break;
        case path_of(k::background):
            if (out_.kind == late_kind::response) out_.late = v.text == "true";
            break;
        case path_of(k::trained_tokens):
            trained_ = number_in(v.text);
            break;
        case path_of(k::seconds):  // a text or a number
            out_.duration_ms = number_in(v.text) * 1000;
            break;
        case path_of(k::size):
            out_.size = v.text;
            break;
        default:
            break;
    }
}

late_state late_reader::state() {
    late_state s = out_;
    s.ended = std::ranges::find(ends, status_) != ends.end();
    usage_.finish(true);
    const scan_result r = usage_.result();
    s.model = r.model;
    s.service_tier = r.service_tier;
    s.searches = r.searches;
    s.generated = r.output_chars;
    if (s.kind == late_kind::fine_tuning) {
        s.tokens.input = trained_;
        s.told = trained_ > 0;
    } else if (r.found) {
        s.tokens = r.tokens;
        s.told = true;
    }
    if (s.kind == late_kind::video) s.told = status_ == "completed";
    return s;
}

std::string write_note(const late_note& note) {
    std::string out(format);
    out += '\n';
    out += static_cast<char>('0' + static_cast<int>(note.kind));
    each_number(note, [&](std::int64_t n) { out += '\n' + std::to_string(n); });
    each_text(note, [&](const std::string& text) { out += '\n' + one_line(text); });
    return out;
}

std::optional<late_note> read_note(std::string_view text) {
    bool good = true;
    const auto line = [&] {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string_view first = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        return first;
    };
    if (line() != format) return std::nullopt;
    late_note n;
    const std::string_view kind = line();
    if (kind.size() != 1 || kind[0] < '1' || kind[0] > '4') return std::nullopt;
    n.kind = static_cast<late_kind>(kind[0] - '0');
    each_number(n, [&](std::int64_t& number) {
        const std::string_view digits = line();
        const auto [at, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        good = good && ec == std::errc() && at == digits.data() + digits.size() && number >= 0;
    });
    each_text(n, [&](std::string& to) { to = line(); });
    if (!good || n.exchange_id.empty()) return std::nullopt;
    return n;
}

store::ledger_record late_record(const late_note& note, const late_state& state,
                                 const price_table& prices, wall_time now) {
    store::ledger_record r = record_of(note, now);
    r.tokens = state.tokens;
    r.outcome = state.told ? store::usage_outcome::exact : store::usage_outcome::none;
    if (!state.model.empty()) r.model_served = state.model;
    if (!state.service_tier.empty()) r.service_tier = state.service_tier;
    if (note.kind == late_kind::batch) r.service_tier = "batch";
    if (!state.told) {
        // A server that never tells: what can be seen of it.
        if (note.kind != late_kind::response || state.generated == 0) return r;
        r.outcome = store::usage_outcome::estimated;
        r.tokens.input = note.input_tokens;
        r.tokens.output = estimate_tokens(state.generated);
    }
    quantities q;
    q.searches = state.searches;
    std::string_view model = r.model_served;
    std::string_view other = note.model;
    std::string sized;
    if (note.kind == late_kind::fine_tuning) {
        model = note.model;  // not the new one
        q.trained_tokens = state.tokens.input;
    } else {
        q.tokens = r.tokens;
    }
    if (note.kind == late_kind::video) {
        q.duration_ms = state.duration_ms;
        // Larger pictures may have a price of their own.
        if (!state.size.empty()) {
            sized = r.model_served + "@" + state.size;
            // Not the price of all that has none.
            const model_price* own = prices.find(note.provider, sized);
            if (own != nullptr && own->per_second > 0) model = other = sized;
        }
    }
    const charge c = prices.cost(note.provider, model, other, q, r.service_tier, note.rates);
    r.cost = c.cost;
    r.rated_cost = c.rated;
    return r;
}

store::ledger_record lost_record(const late_note& note, const price_table& prices, wall_time now) {
    store::ledger_record r = record_of(note, now);
    r.end = store::exchange_end::failed;
    r.error_code = "usage_not_told";
    r.tokens.input = note.input_tokens;
    r.tokens.output = note.output_tokens;
    if (r.tokens.total() == 0) return r;
    r.outcome = store::usage_outcome::estimated;
    quantities q;
    q.tokens = r.tokens;
    const charge c =
        prices.cost(note.provider, note.model, note.model, q, r.service_tier, note.rates);
    r.cost = c.cost;
    r.rated_cost = c.rated;
    return r;
}

}  // namespace kw::usage
