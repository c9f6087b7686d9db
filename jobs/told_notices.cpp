// A record for each.
#include "jobs/told_notices.hpp"

#include <boost/json.hpp>

#include "core/crypto.hpp"
#include "core/json_writer.hpp"

namespace kw::jobs {
namespace {

using config::notice_kind;

constexpr std::size_t page_size = 500;
constexpr std::size_t max_restored = 10'000;
constexpr std::size_t max_waiting = 10'000;
constexpr std::size_t max_writes = 32;  // in a round: each asks the store
constexpr auto told_life = std::chrono::days(1);
constexpr auto budget_life = std::chrono::days(32);

struct told {
    crossed what;
    std::string host;  // "": all replicas'
    wall_time at{};
};

std::optional<told> read_told(const store::record& r) {
    boost::system::error_code failed;
    const auto v = boost::json::parse(r.json, failed);
    if (failed || !v.is_object()) return std::nullopt;
    const auto text = [&](const char* name) {
        const auto* found = v.get_object().if_contains(name);
        return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                      : std::string();
    };
    const auto kind = config::parse_notice_kind(text("kind"));
    const auto* at = v.get_object().if_contains("at_ms");
    if (!kind || at == nullptr || !at->is_int64()) return std::nullopt;
    told out{{*kind, text("subject"), false}, text("host"), {}};
    out.what.shared = out.host.empty();
    out.at = wall_time(std::chrono::milliseconds(at->get_int64()));
    return out;
}

}  // namespace

std::string told_notices::id_of(const crossed& what) const {
    const auto digest = crypto::sha256(std::string(config::to_string(what.kind)) + '\n' +
                                       what.subject + '\n' + (what.shared ? "" : host_));
    return crypto::to_hex({digest.data(), 16});
}

void told_notices::restore(watcher& into) {
    if (restored_) return;
    std::string cursor;
    std::size_t seen = 0;
    do {
        const auto page = store_.list(told_record, {.limit = page_size, .cursor = cursor});
        if (!page) return;
        for (const auto& r : page->items) {
            ++seen;
            auto t = read_told(r);
            const auto age = t ? clock_.wall() - t->at : wall_time::duration();
            const auto life = t && t->what.kind == notice_kind::budget_warning
                                  ? std::chrono::nanoseconds(budget_life)
                                  : std::chrono::nanoseconds(told_life);
            // From ahead: a clock was wrong.
            if (!t || age > life || -age > life)
                static_cast<void>(store_.erase(r.kind, r.id, r.revision));
            else if (t->what.shared || t->host == host_)
                into.restore(std::move(t->what));
        }
        cursor = page->next;
    } while (!cursor.empty() && seen < max_restored);
    restored_ = true;
}

bool told_notices::write_one(const crossing& c) {
    const auto id = id_of(c.what);
    const auto held = store_.get(told_record, id);
    if (!held && held.error().code != errc::store_not_found) return false;
    if (!c.now) {
        if (!held) return true;
        const auto erased = store_.erase(told_record, id, held->revision);
        return erased || erased.error().code != errc::store_unavailable;
    }
    store::record r{std::string(told_record), id, held ? held->revision : 0, {}};
    json_writer w(r.json);
    w.begin_object().field("kind", config::to_string(c.what.kind));
    w.field("subject", c.what.subject).field("at_ms", unix_ms(clock_.wall()));
    if (!c.what.shared) w.field("host", host_);
    w.end_object();
    // Another replica's word is as good.
    const auto put = store_.put(r);
    return put || put.error().code != errc::store_unavailable;
}

void told_notices::write(std::vector<crossing> news, std::chrono::nanoseconds delay) {
    const auto now = clock_.mono();
    for (auto& c : news) {
        if (!c.now)
            std::erase_if(waiting_,
                          [&](const pending& p) { return p.what.now && p.what.what == c.what; });
        if (waiting_.size() >= max_waiting) continue;
        const auto due = c.now ? now + std::chrono::duration_cast<mono_time::duration>(delay) : now;
        waiting_.push_back({std::move(c), due});
    }
    std::size_t written = 0;
    for (auto at = waiting_.begin(); at != waiting_.end() && written < max_writes;) {
        if (at->due > now) {
            ++at;
            continue;
        }
        if (!write_one(at->what)) return;  // the store is away
        at = waiting_.erase(at);
        ++written;
    }
}

void told_notices::write_rest() {
    while (!waiting_.empty() && write_one(waiting_.front().what))
        waiting_.pop_front();
}

}  // namespace kw::jobs
