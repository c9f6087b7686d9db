// Upstream keys among replicas: what is told and what is read.
#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "core/log.hpp"
#include "store/redis/redis_store.hpp"

namespace kw::store::redis {
namespace {

constexpr std::string_view number_kept = "86400";  // seconds

std::string text_of(std::int64_t n) {
    return std::to_string(n);
}

error strange() {
    return error(errc::internal, "Redis: an unexpected answer about upstream keys",
                 error_source::store);
}

void add_words(std::vector<std::string>& to, const key_news& k) {
    to.push_back(k.id);
    for (const auto n : {k.add.uses, k.add.successes, k.add.failures, k.add.tokens, k.day,
                         k.start_uses, k.start_tokens, std::int64_t{k.success_ppm}})
        to.push_back(text_of(n));
    const auto finding = k.finding.value_or(key_finding{});
    // Its field ends with a bar.
    auto& text = to.emplace_back(finding.text);
    std::ranges::replace(text, '|', ' ');
    to.push_back(finding.rest ? text_of(finding.rest->count()) : "");
    to.push_back(std::to_string(finding.knew));
    to.push_back(text_of(finding.weight));
    to.emplace_back(finding.firm ? "1" : "0");
    to.push_back(k.headers ? text_of(k.headers->left) : "");
    to.push_back(k.headers ? text_of(k.headers->holds.count()) : "0");
    to.emplace_back(k.gone ? "1" : "0");
}

// The line of a key; see key_scripts.hpp.
bool read_line(std::string_view line, std::int64_t now, key_standing& k) {
    constexpr std::size_t fields = 17;
    std::array<std::string_view, fields> f;
    for (auto& field : f) {
        const auto end = line.find('|');
        if (end == std::string_view::npos) return false;
        field = line.substr(0, end);
        line.remove_prefix(end + 1);
    }
    const auto number = [&](std::size_t i) {
        std::int64_t n = 0;
        std::from_chars(f[i].data(), f[i].data() + f[i].size(), n);
        return n;
    };
    k.sums = {number(0), number(1), number(2), number(3)};
    k.day = number(4);
    k.day_uses = number(5);
    k.day_tokens = number(6);
    k.success_ppm = static_cast<std::int32_t>(number(7));
    k.found = static_cast<std::uint64_t>(number(8));
    k.found_by = f[9];
    k.finding = f[10];
    if (!f[11].empty()) k.rest = std::chrono::milliseconds(number(11) - now);
    k.headers_until = number(15);
    k.headers_by = f[16];
    if (k.headers_until > now)
        k.headers = {number(14), std::chrono::milliseconds(k.headers_until - now)};
    return line.empty();
}

}  // namespace

result<void> redis_store::tell(const key_batch& news) {
    const std::array keys{global("keys"), global("keys:feed"), global("keys:told:", news.replica)};
    std::vector<std::string> words{news.replica, std::to_string(news.number),
                                   std::string(number_kept)};
    words.reserve(3 + 17 * news.items.size());
    for (const auto& k : news.items)
        add_words(words, k);
    pipeline ask;
    keys_.add_script(ask, script::tell_keys, keys, words);
    const auto answers = keys_.call(ask);
    if (!answers) return answers.error();
    if (answers->front().is_error())
        return error(errc::internal, "Redis: " + answers->front().text, error_source::store);
    return {};
}

result<key_standings> redis_store::standings_since(key_position at, std::size_t limit) {
    const std::array keys{global("keys"), global("keys:feed")};
    const std::array arguments{std::to_string(at.origin), std::to_string(at.sequence),
                               std::to_string(limit + 1)};
    pipeline ask;
    keys_.add_script(ask, script::read_keys, keys, arguments);
    const auto answers = keys_.call(ask);
    if (!answers) return answers.error();
    const auto& told = answers->front().items;
    if (told.size() != 6 || told[4].items.size() != 2 * told[5].items.size()) return strange();
    key_standings out;
    out.at = {static_cast<std::uint64_t>(told[0].as_number()),
              static_cast<std::uint64_t>(told[1].as_number())};
    out.reset = told[3].text == "1";
    const auto now = told[2].as_number();
    const auto& lines = told[5].items;
    out.more = lines.size() > limit;
    const auto count = std::min(lines.size(), limit);
    for (std::size_t i = 0; i < count; ++i) {
        key_standing k;
        k.id = told[4].items[2 * i].text;
        k.sequence = static_cast<std::uint64_t>(told[4].items[2 * i + 1].as_number());
        if (out.more && i + 1 == count) out.at.sequence = k.sequence;
        if (read_line(lines[i].text, now, k)) {
            out.items.push_back(std::move(k));
        } else if (!odd_line_told_.exchange(true)) {
            log::event(log::level::warn, "keys.line_not_understood", {{"id", k.id}});
        }
    }
    return out;
}

}  // namespace kw::store::redis
