// The table itself: names to prices.
#include "usage/prices.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/crypto.hpp"
#include "usage/price_table.hpp"

namespace kw::usage {
namespace {

constexpr std::size_t max_name = 384;

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// "name-2024-08-06", "name-20250514", "name@20250514", "name-latest" without what follows name.
std::string_view without_date(std::string_view name) noexcept {
    const auto digits = [&](std::size_t from_end, std::size_t n) {
        const std::string_view part = name.substr(name.size() - from_end, n);
        return std::all_of(part.begin(), part.end(), is_digit);
    };
    const auto ends_at = [&](std::size_t from_end, std::string_view marks) {
        return marks.find(name[name.size() - from_end]) != std::string_view::npos;
    };
    if (name.size() > 11 && ends_at(11, "-") && ends_at(6, "-") && ends_at(3, "-") &&
        digits(10, 4) && digits(5, 2) && digits(2, 2))
        return name.substr(0, name.size() - 11);
    if (name.size() > 9 && ends_at(9, "-@") && digits(8, 8)) return name.substr(0, name.size() - 9);
    constexpr std::string_view latest = "-latest";
    if (name.size() > latest.size() && name.ends_with(latest))
        return name.substr(0, name.size() - latest.size());
    return name;
}

std::string_view without_owner(std::string_view provider, std::string_view name) noexcept {
    constexpr std::array owners{std::string_view("models/"), std::string_view("openai/"),
                                std::string_view("anthropic/"), std::string_view("google/"),
                                std::string_view("gemini/")};
    for (const std::string_view owner : owners)
        if (name.starts_with(owner)) return name.substr(owner.size());
    if (!provider.empty() && name.size() > provider.size() + 1 && name.starts_with(provider) &&
        name[provider.size()] == '/')
        return name.substr(provider.size() + 1);
    return name;
}

}  // namespace

price_table::price_table(std::unique_ptr<impl> state) : impl_(std::move(state)) {}
price_table::~price_table() = default;

std::shared_ptr<const price_table> price_table::builtin() {
    static const std::shared_ptr<const price_table> table = [] {
        price_table_builder b;
        b.add_builtin();
        return b.build();
    }();
    return table;
}

const model_price* price_table::find(std::string_view provider,
                                     std::string_view model) const noexcept {
    const auto named = [&](std::string_view name) -> const model_price* {
        std::array<char, max_name> full;
        if (!provider.empty() && provider.size() + 1 + name.size() <= full.size()) {
            std::memcpy(full.data(), provider.data(), provider.size());
            full[provider.size()] = '/';
            std::memcpy(full.data() + provider.size() + 1, name.data(), name.size());
            const auto hit = impl_->by_name.find(
                std::string_view(full.data(), provider.size() + 1 + name.size()));
            if (hit != impl_->by_name.end()) return &impl_->prices[hit->second];
        }
        const auto hit = impl_->by_name.find(name);
        return hit != impl_->by_name.end() ? &impl_->prices[hit->second] : nullptr;
    };
    if (model.empty()) return nullptr;
    if (const model_price* p = named(model)) return p;
    const std::string_view bare = without_owner(provider, model);
    if (bare.size() != model.size())
        if (const model_price* p = named(bare)) return p;
    const std::string_view undated = without_date(bare);
    if (undated.size() != bare.size())
        if (const model_price* p = named(undated)) return p;
    return impl_->fallback ? &*impl_->fallback : nullptr;
}

charge price_table::cost(std::string_view provider, std::string_view model_served,
                         std::string_view model_asked, const quantities& q,
                         std::string_view service_tier, const multipliers& m) const noexcept {
    const model_price* const fallback = impl_->fallback ? &*impl_->fallback : nullptr;
    const model_price* p = find(provider, model_served);
    if ((p == nullptr || p == fallback) && model_asked != model_served)
        p = find(provider, model_asked);
    if (p == nullptr) p = fallback;
    if (p == nullptr) return {};
    return price_of(*p, q, service_tier, m);
}

const std::string& price_table::version() const noexcept {
    return impl_->version;
}
std::size_t price_table::size() const noexcept {
    return impl_->by_name.size();
}

std::vector<std::pair<std::string_view, const model_price*>> price_table::list() const {
    std::vector<std::pair<std::string_view, const model_price*>> all;
    all.reserve(impl_->by_name.size());
    for (const auto& [name, at] : impl_->by_name)
        all.emplace_back(name, &impl_->prices[at]);
    std::sort(all.begin(), all.end());
    return all;
}

price_table_builder::price_table_builder() : impl_(std::make_unique<price_table::impl>()) {}
price_table_builder::price_table_builder(price_table_builder&&) noexcept = default;
price_table_builder& price_table_builder::operator=(price_table_builder&&) noexcept = default;
price_table_builder::~price_table_builder() = default;

namespace {

result<std::size_t> take(price_table::impl& into, std::string_view json,
                         result<imported_prices> found) {
    if (!found) return found.error();
    std::size_t taken = 0;
    for (imported_prices::entry& e : found->models) {
        for (std::string& name : e.names)
            into.by_name.insert_or_assign(std::move(name), into.prices.size());
        into.prices.push_back(std::move(e.price));
        ++taken;
    }
    if (found->fallback) into.fallback = std::move(found->fallback);
    into.sources += crypto::to_hex(crypto::sha256(json));
    return taken;
}

}  // namespace

void price_table_builder::add_builtin() {
    add_own(builtin_prices_json()).value();
}

result<std::size_t> price_table_builder::add_own(std::string_view json) {
    return take(*impl_, json, import_own(json));
}

result<std::size_t> price_table_builder::add_litellm(std::string_view json) {
    return take(*impl_, json, import_litellm(json));
}

result<std::size_t> price_table_builder::add(std::string_view json) {
    // Our own format names itself at its head.
    if (json.substr(0, 4096).find("\"keywheel-prices-1\"") != std::string_view::npos)
        return add_own(json);
    return add_litellm(json);
}

void price_table_builder::set_default(const model_price& price) {
    impl_->fallback = price;
    const rates& r = price.base;
    impl_->sources += "default " + std::to_string(r.input) + ' ' + std::to_string(r.output) + ' ' +
                      std::to_string(r.cached_read);
}

std::shared_ptr<const price_table> price_table_builder::build() {
    impl_->version = crypto::to_hex(crypto::sha256(impl_->sources)).substr(0, 12);
    impl_->sources.clear();
    std::shared_ptr<const price_table> table(new price_table(std::move(impl_)));
    impl_ = std::make_unique<price_table::impl>();
    return table;
}

}  // namespace kw::usage
