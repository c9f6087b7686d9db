// The list of strategies.
#include <map>
#include <mutex>

#include "pool/strategies/all.hpp"
#include "pool/strategy.hpp"

namespace kw::pool::strategies {
namespace {

struct registry {
    std::mutex mutex;
    std::map<std::string, factory, std::less<>> by_name{
        {"least-token-used", make_least_token_used}, {"least-used", make_least_used},
        {"max-remaining", make_max_remaining},       {"random", make_random},
        {"round-robin", make_round_robin},           {"weighted-score", make_weighted_score},
    };
};

registry& the_registry() {
    static registry r;
    return r;
}

}  // namespace

void add(std::string name, factory make) {
    auto& r = the_registry();
    const std::lock_guard lock(r.mutex);
    r.by_name.insert_or_assign(std::move(name), std::move(make));
}

bool known(std::string_view name) {
    auto& r = the_registry();
    const std::lock_guard lock(r.mutex);
    return r.by_name.contains(name);
}

std::unique_ptr<strategy> make(std::string_view name, const strategy_settings& s) {
    auto& r = the_registry();
    const std::lock_guard lock(r.mutex);
    const auto at = r.by_name.find(name);
    return at == r.by_name.end() ? nullptr : at->second(s);
}

std::vector<std::string> names() {
    auto& r = the_registry();
    const std::lock_guard lock(r.mutex);
    std::vector<std::string> out;
    for (const auto& [name, f] : r.by_name)
        out.push_back(name);
    return out;
}

}  // namespace kw::pool::strategies
