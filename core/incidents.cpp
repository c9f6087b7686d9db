// Counting by subject.
#include "core/incidents.hpp"

namespace kw {

void incidents::note(what is, std::string_view subject) {
    std::pair key(is, std::string(subject.substr(0, max_subject)));
    const std::lock_guard lock(mutex_);
    if (const auto at = seen_.find(key); at != seen_.end()) {
        ++at->second;
    } else if (auto& known = subjects_[static_cast<std::size_t>(is)]; known < max_subjects) {
        ++known;
        seen_.emplace(std::move(key), 1);
    }
}

std::vector<incidents::item> incidents::take() {
    decltype(seen_) taken;
    {
        const std::lock_guard lock(mutex_);
        taken.swap(seen_);
        subjects_ = {};
    }
    std::vector<item> out;
    out.reserve(taken.size());
    for (auto& [key, count] : taken)
        out.push_back({key.first, key.second, count});
    return out;
}

}  // namespace kw
