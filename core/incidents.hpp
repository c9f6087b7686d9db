// What the data path and the doorman notice and an operator may want to be told of: counted by
// subject, taken by the control thread. Bounded, whatever a client makes up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kw {

class incidents {
  public:
    enum class what : std::uint8_t {
        unknown_model,       // subject: the model
        refused_credential,  // subject: the address
        budget_near_end,     // subject: the access key's id
    };
    struct item {
        what is;
        std::string subject;
        std::uint64_t count;
    };

    // Any thread. A new subject beyond the bound of its kind is left out until the next take():
    // what a client makes up of one kind takes no place from another.
    void note(what is, std::string_view subject);
    // Everything since the last time.
    [[nodiscard]] std::vector<item> take();

  private:
    static constexpr std::size_t kinds = 3;
    static constexpr std::size_t max_subjects = 128;  // of each kind
    static constexpr std::size_t max_subject = 128;

    std::mutex mutex_;
    std::map<std::pair<what, std::string>, std::uint64_t> seen_;
    std::array<std::size_t, kinds> subjects_{};
};

}  // namespace kw
