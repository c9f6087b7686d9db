// The leases of an upstream key as a small JSON document.
#include "pool/lease_book.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "core/json_writer.hpp"

namespace kw::pool {
namespace {

namespace json = boost::json;

constexpr std::string_view prefix = "ls_";
constexpr char between = '.';

error malformed() {
    return error(errc::invalid_argument, "lease book: malformed");
}

bool read(const json::object& o, std::string_view name, std::string& out) {
    const auto* v = o.if_contains(name);
    if (v == nullptr || !v->is_string()) return false;
    out = std::string_view(v->get_string());
    return true;
}

bool read(const json::object& o, std::string_view name, wall_time& out) {
    const auto* v = o.if_contains(name);
    constexpr std::int64_t last = std::int64_t{1} << 43;  // beyond the year 2200
    if (v == nullptr || !v->is_int64() || v->get_int64() < 0 || v->get_int64() > last) return false;
    out = wall_time(std::chrono::milliseconds(v->get_int64()));
    return true;
}

}  // namespace

std::string make_lease_id(std::string_view unique, std::string_view upstream_key) {
    return std::string(prefix).append(unique).append(1, between).append(upstream_key);
}

std::string_view upstream_key_of(std::string_view lease_id) noexcept {
    const auto at = lease_id.find(between);
    if (!lease_id.starts_with(prefix) || at == std::string_view::npos) return {};
    return lease_id.substr(at + 1);
}

result<lease_book> lease_book::from_json(std::string_view text) {
    boost::system::error_code ec;
    const json::value parsed = json::parse(text, ec);
    if (ec || !parsed.is_object()) return malformed();
    const auto* list = parsed.get_object().if_contains("leases");
    if (list == nullptr || !list->is_array()) return malformed();
    lease_book out;
    for (const auto& item : list->get_array()) {
        if (!item.is_object()) return malformed();
        const json::object& o = item.get_object();
        lease& l = out.leases_.emplace_back();
        const bool read_all = read(o, "id", l.id) && read(o, "holder", l.holder) &&
                              read(o, "access_key", l.access_key) && read(o, "since_ms", l.since) &&
                              read(o, "until_ms", l.until);
        if (!read_all) return malformed();
        l.released = o.contains("released");
    }
    return out;
}

std::string lease_book::to_json() const {
    std::string out;
    json_writer w(out);
    w.begin_object().key("leases").begin_array();
    for (const lease& l : leases_) {
        w.begin_object()
            .field("id", l.id)
            .field("holder", l.holder)
            .field("access_key", l.access_key)
            .field("since_ms", unix_ms(l.since))
            .field("until_ms", unix_ms(l.until));
        if (l.released) w.field("released", true);
        w.end_object();
    }
    w.end_array().end_object();
    return out;
}

std::size_t lease_book::running(wall_time now) const noexcept {
    return static_cast<std::size_t>(
        std::ranges::count_if(leases_, [&](const lease& l) { return runs(l, now); }));
}

const lease* lease_book::find(std::string_view id) const noexcept {
    const auto at = std::ranges::find(leases_, id, &lease::id);
    return at == leases_.end() ? nullptr : &*at;
}

bool lease_book::add(lease l, std::size_t most, wall_time now) {
    if (running(now) >= most) return false;
    leases_.push_back(std::move(l));
    return true;
}

bool lease_book::release(std::string_view id, wall_time now) {
    const auto at = std::ranges::find(leases_, id, &lease::id);
    if (at == leases_.end()) return false;
    if (!runs(*at, now)) return true;
    at->released = true;
    at->until = now;
    return true;
}

std::vector<lease> lease_book::tidy(wall_time now) {
    std::vector<lease> out;
    const auto take = [&](auto&& gone) {
        for (auto at = leases_.begin(); at != leases_.end();) {
            if (!gone(*at)) {
                ++at;
                continue;
            }
            out.push_back(std::move(*at));
            at = leases_.erase(at);
        }
    };
    take([&](const lease& l) { return l.until + remembered <= now; });
    // Given back faster than forgotten: the oldest of these go.
    std::size_t over = leases_.size() - running(now);
    take([&](const lease& l) {
        if (over <= max_remembered || runs(l, now)) return false;
        --over;
        return true;
    });
    return out;
}

wall_time lease_book::due() const noexcept {
    wall_time first = wall_time::max();
    for (const lease& l : leases_)
        first = std::min(first, l.until + remembered);
    return first;
}

}  // namespace kw::pool
