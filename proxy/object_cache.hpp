// The objects that a worker has met lately, with the account of each: for them the store need not
// be asked. Bounded; one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <boost/unordered/unordered_flat_map.hpp>

#include "core/clock.hpp"
#include "store/objects.hpp"

namespace kw::proxy {

// Two generations: what is not met while one of them fills up is forgotten.
class object_cache {
  public:
    void set_limit(std::size_t entries) noexcept { half_ = entries / 2 + 1; }

    // Null: not known. known is false for one that was looked for in vain. Good until the next put.
    [[nodiscard]] const store::object_place* find(std::string_view id, mono_time now) {
        if (const auto at = young_.find(id); at != young_.end())
            return at->second.until > now ? &at->second.place : nullptr;
        const auto old = old_.find(id);
        if (old == old_.end() || old->second.until <= now) return nullptr;
        entry e = std::move(old->second);
        old_.erase(old);
        return &add(std::string(id), std::move(e)).place;
    }

    void put(std::string id, store::object_place place, mono_time until) {
        old_.erase(id);
        young_.erase(id);
        add(std::move(id), {std::move(place), until});
    }

    [[nodiscard]] std::size_t size() const noexcept { return young_.size() + old_.size(); }

  private:
    struct entry {
        store::object_place place;
        mono_time until;
    };
    struct text_hash {
        using is_transparent = void;
        using is_avalanching = void;
        std::size_t operator()(std::string_view s) const noexcept {
            return boost::hash<std::string_view>{}(s);
        }
    };
    using map = boost::unordered_flat_map<std::string, entry, text_hash, std::equal_to<>>;

    entry& add(std::string id, entry e) {
        if (young_.size() >= half_) {
            old_ = std::move(young_);
            young_ = {};
        }
        return young_.emplace(std::move(id), std::move(e)).first->second;
    }

    std::size_t half_ = 1;
    map young_;
    map old_;
};

}  // namespace kw::proxy
