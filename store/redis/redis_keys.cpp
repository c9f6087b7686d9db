// Upstream keys among replicas: what is told and what is read.
#include <algorithm>
#include <array>

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
    to.push_back(finding.text);
    to.push_back(finding.rest ? text_of(finding.rest->count()) : "");
    to.push_back(std::to_string(finding.knew));
    to.push_back(text_of(finding.weight));
    to.emplace_back(finding.firm ? "1" : "0");
    to.push_back(k.headers ? text_of(k.headers->left) : "");
    to.push_back(k.headers ? text_of(k.headers->holds.count()) : "0");
    to.emplace_back(k.gone ? "1" : "0");
}

bool read_standing(const reply& r, std::int64_t now, key_standing& k) {
    if (r.items.size() != 3 || r.items[2].items.size() != 15) return false;
    const auto& f = r.items[2].items;
    k.id = r.items[0].text;
    k.sequence = static_cast<std::uint64_t>(r.items[1].as_number());
    k.sums = {f[0].as_number(), f[1].as_number(), f[2].as_number(), f[3].as_number()};
    k.day = f[4].as_number();
    k.day_uses = f[5].as_number();
    k.day_tokens = f[6].as_number();
    k.success_ppm = static_cast<std::int32_t>(f[7].as_number());
    k.found = static_cast<std::uint64_t>(f[8].as_number());
    k.found_by = f[9].text;
    k.finding = f[10].text;
    if (!f[11].text.empty()) k.rest = std::chrono::milliseconds(f[11].as_number() - now);
    k.headers_until = f[13].as_number();
    k.headers_by = f[14].text;
    if (k.headers_until > now)
        k.headers = {f[12].as_number(), std::chrono::milliseconds(k.headers_until - now)};
    return true;
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
    if (told.size() < 4) return strange();
    key_standings out;
    out.at = {static_cast<std::uint64_t>(told[0].as_number()),
              static_cast<std::uint64_t>(told[1].as_number())};
    out.reset = told[3].text == "1";
    const auto now = told[2].as_number();
    out.more = told.size() - 4 > limit;
    const auto count = std::min(told.size() - 4, limit);
    for (std::size_t i = 0; i < count; ++i)
        if (!read_standing(told[4 + i], now, out.items.emplace_back())) return strange();
    if (out.more) out.at.sequence = out.items.back().sequence;
    return out;
}

}  // namespace kw::store::redis
