// Names that were told of a moment ago, so that telling costs the other threads next to nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_set>

#include "core/clock.hpp"

namespace kw::proxy {

// One thread's. Bounded: of more names within a span of time nothing is told until the next.
class recent_names {
  public:
    static constexpr std::chrono::seconds span{1};
    static constexpr std::size_t most = 1024;

    // True for a name's first time in this span.
    [[nodiscard]] bool insert(const std::string& name, mono_time now) {
        if (now >= until_) {
            names_.clear();
            until_ = now + span;
        }
        return names_.size() < most && names_.insert(name).second;
    }

  private:
    std::unordered_set<std::string> names_;
    mono_time until_{};
};

}  // namespace kw::proxy
