// The leases of one upstream key: who has it for how long. One record of the store for each
// upstream key that is leased (kind lease_book_kind, the upstream key's id), changed by its
// revision, so that all processes together never lease a key more often than they may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::pool {

inline constexpr std::string_view lease_book_kind = "lease_book";

struct lease {
    std::string id;      // "ls_…", see lease_id()
    std::string holder;  // id of the access key that took it
    std::string
        access_key;  // id of the access key that was handed out; "": the upstream's own text
    wall_time since{};
    wall_time until{};
    bool released = false;  // before its time
    friend bool operator==(const lease&, const lease&) = default;
};

// A lease's id names its upstream key, so that its book is found by the id alone.
[[nodiscard]] std::string make_lease_id(std::string_view unique, std::string_view upstream_key);
// "" where it is no such id.
[[nodiscard]] std::string_view upstream_key_of(std::string_view lease_id) noexcept;

// A plain value. A lease that is over stays for a while, so that giving it back a second time is
// known from giving back what never was.
class lease_book {
  public:
    static constexpr std::chrono::seconds remembered{60};
    static constexpr std::size_t max_remembered = 200;

    [[nodiscard]] static result<lease_book> from_json(std::string_view json);
    [[nodiscard]] std::string to_json() const;

    [[nodiscard]] std::size_t running(wall_time now) const noexcept;
    [[nodiscard]] const std::vector<lease>& all() const noexcept { return leases_; }
    [[nodiscard]] const lease* find(std::string_view id) const noexcept;
    [[nodiscard]] static bool runs(const lease& l, wall_time now) noexcept {
        return !l.released && l.until > now;
    }

    // False: `most` run already.
    [[nodiscard]] bool add(lease l, std::size_t most, wall_time now);
    // Ends a lease; one that is over stays as it is. False: no such lease.
    bool release(std::string_view id, wall_time now);
    // Takes out what need not be remembered any more, and returns that.
    std::vector<lease> tidy(wall_time now);
    // When tidy() will have something to do; the end of time for an empty book.
    [[nodiscard]] wall_time due() const noexcept;

  private:
    std::vector<lease> leases_;  // in the order in which they were given
};

}  // namespace kw::pool
