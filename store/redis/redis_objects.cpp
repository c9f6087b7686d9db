// The board of objects on Redis: ids in 16,384 small hashes, which Redis keeps packed.
#include <algorithm>
#include <charconv>

#include "core/crc32c.hpp"
#include "store/objects.hpp"
#include "store/redis/channel.hpp"

namespace kw::store {
namespace {

constexpr std::size_t parts = 16'384;
constexpr std::string_view most_accounts = "64";

class redis_objects final : public object_board {
  public:
    redis_objects(redis::target to, const redis_options& options, std::size_t most,
                  const clock_source& clock)
        : to_(std::move(to)),
          options_(options),
          // Twice the mean, for parts are not equally full.
          most_(std::to_string(std::max<std::size_t>(2 * most / parts, 8))),
          clock_(clock),
          board_(clock, to_.name(), true),
          channel_(to_, options_, board_) {}

    result<void> bind(std::span<const object_binding> all) override {
        redis::pipeline to;
        const std::string now = std::to_string(seconds());
        for (const auto& b : all) {
            if (b.id.empty() || b.id.size() > max_object_id) continue;
            const std::string keys[] = {part_of(b.id), used_by(b.owner)};
            const std::string words[] = {now,
                                         most_,
                                         b.id,
                                         b.account,
                                         b.owner,
                                         std::to_string(std::max<std::int64_t>(b.keep.count(), 1)),
                                         b.claim ? "1" : "0",
                                         std::string(most_accounts)};
            channel_.add_script(to, redis::script::bind_object, keys, words);
        }
        if (to.size() == 0) return {};
        const auto answers = channel_.call(to);
        if (!answers) return answers.error();
        for (const auto& a : *answers)
            if (a.is_error()) return strange(a);
        return {};
    }

    result<std::vector<object_place>> find(std::span<const std::string> ids) override {
        std::vector<object_place> out(ids.size());
        if (ids.empty()) return out;
        redis::pipeline to;
        for (const auto& id : ids)
            to.add({"HGET", part_of(id), id});
        const auto answers = channel_.call(to);
        if (!answers) return answers.error();
        for (std::size_t i = 0; i < out.size() && i < answers->size(); ++i) {
            if ((*answers)[i].is_error()) return strange((*answers)[i]);
            out[i] = read((*answers)[i].text, seconds());
        }
        return out;
    }

    result<std::vector<std::string>> accounts_of(const std::string& owner) override {
        redis::pipeline to;
        to.add({"HGETALL", used_by(owner)});
        const auto answers = channel_.call(to);
        if (!answers) return answers.error();
        const auto& items = answers->front().items;
        if (answers->front().is_error()) return strange(answers->front());
        std::vector<std::pair<std::int64_t, std::string>> found;
        for (std::size_t i = 0; i + 1 < items.size(); i += 2)
            found.emplace_back(-items[i + 1].as_number(), items[i].text);
        std::ranges::sort(found);
        std::vector<std::string> out;
        for (auto& [at, account] : found)
            out.push_back(std::move(account));
        return out;
    }

  private:
    [[nodiscard]] std::int64_t seconds() const noexcept { return unix_ms(clock_.wall()) / 1000; }
    [[nodiscard]] std::string part_of(std::string_view id) const {
        return options_.prefix + "{o}:" + std::to_string(crc32c(id) % parts);
    }
    [[nodiscard]] std::string used_by(const std::string& owner) const {
        return options_.prefix + "{o}:of:" + owner;
    }

    static object_place read(std::string_view text, std::int64_t now) {
        std::int64_t ends = 0;
        const auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), ends);
        if (ec != std::errc() || ends <= now) return {};
        text.remove_prefix(static_cast<std::size_t>(at - text.data()));
        const auto line = text.find('\n');
        if (line == std::string_view::npos || line == 0) return {};
        return {true, std::string(text.substr(1, line - 1)), std::string(text.substr(line + 1))};
    }

    static error strange(const redis::reply& r) {
        return error(errc::store_unavailable, "Redis: " + r.text, error_source::store);
    }

    const redis::target to_;
    const redis_options options_;
    const std::string most_;
    const clock_source& clock_;
    redis::health_board board_;
    redis::channel channel_;
};

}  // namespace

result<std::unique_ptr<object_board>> open_redis_objects(const redis_options& options,
                                                         std::size_t max_bound,
                                                         const clock_source& clock) {
    auto to = redis::parse_target(options);
    if (!to) return to.error();
    return std::unique_ptr<object_board>(
        std::make_unique<redis_objects>(std::move(*to), options, max_bound, clock));
}

}  // namespace kw::store
