// Writing ends of access keys, by their revision: an edit in between wins and is then added to.
#include "jobs/first_uses.hpp"

#include <algorithm>

#include "core/log.hpp"

namespace kw::jobs {

void first_uses::note(const std::string& access_key_id, wall_time at) {
    const auto [known, added] = noted_.try_emplace(access_key_id, at);
    if (!added) known->second = std::min(known->second, at);
}

void first_uses::write(const catalog& known) {
    for (auto at = noted_.begin(); at != noted_.end();) {
        const auth::access_key* found = known.access_keys().find(at->first);
        if (found == nullptr || !auth::starts_at_first_use(*found)) {
            at = noted_.erase(at);  // gone, or another replica was first
            continue;
        }
        auth::access_key key = *found;
        key.expires_at = at->second + key.options->expires_after;
        const auto put = store_.put(auth::to_record(key));
        if (!put && put.error().code == errc::store_unavailable) return;
        if (put) log::event(log::level::info, "access_key.first_used", {{"id", key.id}});
        // It goes when the catalog shows the end, so that a conflict is tried again.
        ++at;
    }
}

}  // namespace kw::jobs
