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
          most_debts_(std::to_string(most)),
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

    result<void> owe(const object_debt& debt, std::chrono::seconds look) override {
        if (debt.id.size() > max_object_id || debt.note.size() > max_debt_note) return {};
        const auto done =
            debts({"owe", debt.id, number(debt.keep), number(look), debt.note, most_debts_});
        if (!done) return done.error();
        return {};
    }

    result<debt_claim> claim(const std::string& id, const std::string& claimant,
                             std::chrono::seconds length) override {
        using enum debt_claim::outcome;
        auto got = debts({"claim", id, number(length), claimant});
        if (!got) return got.error();
        debt_claim out;
        if (got->items.empty()) return out;
        const std::string& word = got->items.front().text;
        out.is = word == "paid" ? paid : word == "yours" ? yours : anothers;
        if (out.is == yours && got->items.size() > 1) out.note = std::move(got->items[1].text);
        return out;
    }

    result<void> pay(const std::string& id, std::chrono::seconds keep) override {
        const auto done = debts({"pay", id, number(keep)});
        if (!done) return done.error();
        return {};
    }

    result<std::vector<object_debt>> due(std::chrono::seconds again, std::size_t most) override {
        // Which are due is decided at once; their notes lie under keys of their own.
        const auto ids = debts({"due", "", number(again), std::to_string(most)});
        if (!ids) return ids.error();
        std::vector<object_debt> out;
        if (ids->items.empty()) return out;
        redis::pipeline to;
        for (const auto& id : ids->items)
            to.add({"GET", debt_of(id.text)});
        const auto notes = channel_.call(to);
        if (!notes) return notes.error();
        redis::pipeline gone;
        for (std::size_t i = 0; i < ids->items.size() && i < notes->size(); ++i) {
            const std::string& text = (*notes)[i].text;
            const auto line = text.find('\n');
            if (line == std::string::npos)
                gone.add({"ZREM", debts_by_look(), ids->items[i].text});
            else
                out.push_back({ids->items[i].text, text.substr(line + 1), {}});
        }
        if (gone.size() > 0)
            if (const auto done = channel_.call(gone); !done) return done.error();
        return out;
    }

  private:
    static std::string number(std::chrono::seconds s) {
        return std::to_string(std::max<std::int64_t>(s.count(), 1));
    }
    [[nodiscard]] std::string debt_of(std::string_view id) const {
        return options_.prefix + "{o}:debt:" + std::string(id);
    }
    [[nodiscard]] std::string debts_by_look() const { return options_.prefix + "{o}:debts"; }

    // words: what is to be done, the id, and what that takes.
    result<redis::reply> debts(std::vector<std::string> words) {
        const std::string keys[] = {debt_of(words[1]), debts_by_look()};
        words.insert(words.begin(), std::to_string(seconds()));
        redis::pipeline to;
        channel_.add_script(to, redis::script::debts, keys, words);
        auto answers = channel_.call(to);
        if (!answers) return answers.error();
        if (answers->front().is_error()) return strange(answers->front());
        return std::move(answers->front());
    }

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
    const std::string most_debts_;
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
