// The board of all replicas on one Redis: one script, one round trip an ask.
#include "store/caps.hpp"
#include "store/redis/channel.hpp"

namespace kw::store {
namespace {

class redis_caps final : public cap_board {
  public:
    redis_caps(redis::target to, const redis_options& options, const clock_source& clock)
        : to_(std::move(to)),
          options_(options),
          board_(clock, to_.name(), true),
          channel_(to_, options_, board_) {}

    result<cap_answers> ask(const std::string& replica, std::chrono::milliseconds lease,
                            const std::vector<cap_ask>& asks) override {
        std::vector<std::string> keys{name("caps:replicas"), name("caps:contested")};
        std::vector<std::string> words{replica, std::to_string(lease.count())};
        for (const auto& a : asks) {
            const auto what = std::to_string(static_cast<int>(a.unit)) + a.key;
            keys.push_back(name("cap:" + what));
            words.push_back(what);
            for (const auto n :
                 {a.cap, a.used, a.want, a.in_use, std::int64_t{a.short_of ? 1 : 0}, a.day_start})
                words.push_back(std::to_string(n));
        }
        redis::pipeline to;
        channel_.add_script(to, redis::script::ask_caps, keys, words);
        const auto answers = channel_.call(to);
        if (!answers) return answers.error();
        return read(answers->front(), replica, asks.size());
    }

    void leave(const std::string& replica) override {
        redis::pipeline to;
        to.add({"ZREM", name("caps:replicas"), replica});
        static_cast<void>(channel_.call(to));  // else its lease ends
    }

  private:
    [[nodiscard]] std::string name(std::string_view rest) const {
        return options_.prefix + "{m}:" + std::string(rest);
    }

    static result<cap_answers> read(const redis::reply& r, const std::string& replica,
                                    std::size_t asked) {
        if (r.items.size() != 4 + 2 * asked)
            return error(errc::internal, "Redis: " + (r.is_error() ? r.text : "a strange answer"),
                         error_source::store);
        cap_answers out;
        out.replicas = static_cast<std::uint32_t>(r.items[0].as_number());
        out.rank = static_cast<std::uint32_t>(r.items[1].as_number());
        out.joined = r.items[2].text == "1";
        for (const auto& c : r.items[3].items) {
            const auto space = c.text.find(' ');
            if (space == std::string::npos || space + 1 >= c.text.size() ||
                std::string_view(c.text).substr(0, space) == replica)
                continue;
            const auto unit = static_cast<std::size_t>(c.text[space + 1] - '0');
            if (unit < cap_units)
                out.contested.emplace_back(c.text.substr(space + 2), static_cast<cap_unit>(unit));
        }
        for (std::size_t i = 0; i < asked; ++i)
            out.items.push_back({r.items[4 + 2 * i].as_number(), r.items[5 + 2 * i].as_number()});
        return out;
    }

    const redis::target to_;
    const redis_options options_;
    redis::health_board board_;
    redis::channel channel_;
};

}  // namespace

result<std::unique_ptr<cap_board>> open_redis_caps(const redis_options& options,
                                                   const clock_source& clock) {
    auto to = redis::parse_target(options);
    if (!to) return to.error();
    return std::unique_ptr<cap_board>(std::make_unique<redis_caps>(std::move(*to), options, clock));
}

}  // namespace kw::store
