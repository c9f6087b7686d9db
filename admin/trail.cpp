// Entries of the audit trail, made from acts and changes.
#include "admin/trail.hpp"

#include "admin/record_diff.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_seen = 20'000;
// Of one act: records whose earlier version is read only to be told. Beyond it, as in the deletion
// of a hundred thousand keys, entries tell the new version alone.
constexpr std::size_t max_looked_up = 2'000;

constexpr std::string_view kind_words[] = {"nobody", "admin_key", "admin", "token"};

std::string_view operation_of(const kw::store::change& c) noexcept {
    if (c.erased) return "delete";
    return c.after.revision == 0 ? "create" : "update";
}

}  // namespace

trail::scope::scope(trail& of, const act& what, std::string_view event)
    : of_(of), before_(of.act_), event_before_(of.event_) {
    of.act_ = &what;
    of.event_ = event;
    of.entries_ = 0;
    of.looked_up_ = 0;
    of.seen_.clear();
}

trail::scope::~scope() {
    of_.act_ = before_;
    of_.event_ = event_before_;
    of_.seen_.clear();
}

store::audit_entry trail::entry(const act& what, std::string_view event,
                                const std::function<void(json_writer&)>& details) {
    kw::store::audit_entry out;
    // Entries of one moment keep their order.
    out.at = std::max(clock_.wall(), last_ + std::chrono::microseconds(1));
    last_ = out.at;
    out.id = make_id("aud_", out.at, random_);
    json_writer w(out.json);
    w.begin_object().field("event", event);
    w.key("actor").begin_object();
    w.field("kind", kind_words[static_cast<std::size_t>(what.who.kind)]);
    w.field("id", what.who.id).field("name", what.who.name).end_object();
    if (what.who.kind != caller_kind::nobody) w.field("role", to_string(what.who.is));
    w.field("method", what.method).field("route", what.route);
    if (details) details(w);
    w.field("source", what.source).field("request_id", what.request_id).end_object();
    ++entries_;
    return out;
}

result<void> trail::note(const act& what, std::string_view event,
                         const std::function<void(json_writer&)>& details) {
    const auto made = entry(what, event, [&](json_writer& w) {
        if (!what.subject.empty())
            w.key("subject").begin_object().field("id", what.subject).end_object();
        if (details) details(w);
    });
    return under_.append_audit({&made, 1});
}

std::optional<std::string> trail::before(const kw::store::change& c) {
    const auto known = seen_.find(std::pair(c.after.kind, c.after.id));
    if (known != seen_.end() &&
        (known->second.revision == c.after.revision || (c.erased && c.after.revision == 0)))
        return known->second.json;
    if (++looked_up_ > max_looked_up) return std::nullopt;
    auto r = under_.get(c.after.kind, c.after.id);
    return r ? std::optional(std::move(r->json)) : std::nullopt;
}

std::vector<result<std::uint64_t>> trail::write_all(std::span<const kw::store::change> writes) {
    act none;
    none.who.name = "keywheel";
    const act& what = act_ == nullptr ? none : *act_;
    std::vector<kw::store::change> traced(writes.begin(), writes.end());
    for (auto& c : traced) {
        const auto operation = operation_of(c);
        const auto was = operation == "create" ? std::string() : before(c);
        c.trail = entry(what, event_, [&](json_writer& w) {
            w.key("subject").begin_object().field("kind", c.after.kind).field("id", c.after.id);
            w.end_object().field("operation", operation);
            w.key("changes");
            if (was)
                write_record_diff(w, c.after.kind, *was, c.erased ? "" : c.after.json);
            else
                w.null();
        });
    }
    return under_.write_all(traced);
}

result<std::uint64_t> trail::put(const kw::store::record& r, std::uint64_t* current) {
    const kw::store::change one{r, false};
    auto done = std::move(write_all({&one, 1}).front());
    if (!done && done.error().code == errc::store_conflict && current != nullptr) {
        const auto now = under_.get(r.kind, r.id);
        *current = now ? now->revision : 0;
    }
    return done;
}

result<void> trail::erase(std::string_view kind, std::string_view id, std::uint64_t revision) {
    const kw::store::change one{{std::string(kind), std::string(id), revision, {}}, true};
    const auto done = std::move(write_all({&one, 1}).front());
    if (!done) return done.error();
    return {};
}

result<kw::store::record> trail::get(std::string_view kind, std::string_view id) {
    auto r = under_.get(kind, id);
    if (r && act_ != nullptr && seen_.size() < max_seen)
        seen_.insert_or_assign(std::pair(r->kind, r->id), *r);
    return r;
}

}  // namespace kw::admin
