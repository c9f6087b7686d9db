// The part of an exchange about the client's session: its name, and the key that serves it, where
// the upstream has cached how its prompts begin.
#include <algorithm>

#include "proxy/exchange.hpp"
#include "proxy/worker.hpp"
#include "usage/session_fields.hpp"

namespace kw::proxy {
namespace {

using pool::session_policy;

// A state that one upstream gives and only it understands.
constexpr std::string_view turn_state = "x-codex-turn-state";

// What a name was taken from; the same text elsewhere is another session.
enum class source : std::uint8_t { owner = 1, turn, header, cache_key, metadata, user, prompt };

std::uint64_t hash_of(std::uint64_t seed, source from, std::string_view text) noexcept {
    return pool::session_hash(seed + static_cast<std::uint64_t>(from), text.data(), text.size());
}

}  // namespace

void exchange::name_session() {
    const std::uint64_t owner =
        hash_of(0, source::owner, access_ ? std::string_view(access_->id) : std::string_view());
    if (const auto state = head_.find(turn_state); !state.empty()) {
        turn_ = hash_of(owner, source::turn, state);
        session_kind_ = session_policy::named;
    }
    const auto name = [&](source from, std::string_view text) {
        if (text.empty()) return false;
        session_ = hash_of(owner, from, text);
        session_kind_ = session_policy::named;
        return true;
    };
    const auto named = [&](const std::string& header) {
        return name(source::header, head_.find(std::string_view(header)));
    };
    if (std::ranges::any_of(snap_.settings->sessions.headers, named) || !json_read_) return;
    if (name(source::cache_key, fields_.prompt_cache_key) ||
        name(source::metadata, usage::session_in_metadata(body_.text(), fields_)) ||
        name(source::user, fields_.user))
        return;
    if (turn_ != 0) return;
    const auto [before, begin] = usage::prompt_beginning(body_.text(), fields_);
    if (begin.empty()) return;
    session_ = hash_of(hash_of(owner, source::prompt, before), source::prompt, begin);
    session_kind_ = session_policy::prefix;
}

// Another model has another cache, and perhaps other keys.
std::uint64_t exchange::session_of_model() const noexcept {
    return session_ ^ pool::session_hash(1, route_.model.data(), route_.model.size());
}

void exchange::prefer_session_key(pool::pick_request& r) const {
    if (r.restricted || !r.bound_key.empty()) return;
    const std::int64_t now = pool::mono_ns(r.now);
    const auto& sessions = w_.shared().sessions;
    r.session = session_kind_;
    r.sessions = static_cast<session_policy>(snap_.settings->pool.sessions);
    if (turn_ != 0) r.session_slot = sessions.find(turn_, now);
    if (r.session_slot == pool::slot_id::none && session_ != 0)
        r.session_slot = sessions.find(session_of_model(), now);
}

void exchange::bind_session(std::uint64_t session, const pool::picked& picked) {
    const auto& settings = *snap_.settings;
    const std::int64_t now = pool::mono_ns(w_.mono());
    const auto length = picked.of->session_lifetime.value_or(settings.pool.session_lifetime);
    w_.shared().sessions.bind(session, picked.slot.index, now, now + length.count(),
                              settings.sessions.max_entries);
}

void exchange::keep_session(const pool::picked& picked, std::uint32_t preferred) {
    const auto policy =
        picked.of->sessions.value_or(static_cast<session_policy>(snap_.settings->pool.sessions));
    if (policy < session_kind_ || (objects_ && objects_->pinned)) return;
    auto& m = w_.metrics();
    (preferred == picked.slot.index     ? m.sessions_kept
     : preferred == pool::slot_id::none ? m.sessions_new
                                        : m.sessions_moved)
        .add();
    if (session_ != 0) bind_session(session_of_model(), picked);
    if (turn_ != 0) bind_session(turn_, picked);
}

void exchange::learn_turn(const pool::picked& picked) {
    const auto policy =
        picked.of->sessions.value_or(static_cast<session_policy>(snap_.settings->pool.sessions));
    const std::string_view state = call_.head().find(turn_state);
    if (state.empty() || policy == session_policy::off) return;
    const std::uint64_t owner =
        hash_of(0, source::owner, access_ ? std::string_view(access_->id) : std::string_view());
    bind_session(hash_of(owner, source::turn, state), picked);
}

}  // namespace kw::proxy
