// The admin secret's check and the memory of wrong guesses.
#include "auth/admin_guard.hpp"

#include <algorithm>

#include "core/crypto.hpp"

namespace kw::auth {

namespace {

// Hashed first, so that the time does not even tell the secret's length.
bool same_secret(std::string_view a, std::string_view b) noexcept {
    const crypto::digest x = crypto::sha256(a);
    const crypto::digest y = crypto::sha256(b);
    return equal_constant_time({reinterpret_cast<const char*>(x.data()), x.size()},
                               {reinterpret_cast<const char*>(y.data()), y.size()});
}

// 1 s after the last free guess, then twice as long each time.
std::chrono::milliseconds delay_after(std::uint32_t guesses) noexcept {
    if (guesses < admin_guard::free_guesses) return {};
    const std::uint32_t doublings = std::min(guesses - admin_guard::free_guesses, 16U);
    return std::min<std::chrono::milliseconds>(std::chrono::seconds(1U << doublings),
                                               admin_guard::longest_delay);
}

}  // namespace

result<admin_guard> admin_guard::make(secret admin_secret, bool loopback_only) {
    if (!admin_secret.empty() && !loopback_only && admin_secret.size() < min_secret)
        return error(errc::invalid_argument,
                     "The admin secret has fewer than 16 characters, which is allowed only where "
                     "the listener is on a loopback address.");
    return admin_guard(std::move(admin_secret));
}

admin_guard::answer admin_guard::check(std::string_view presented_secret, std::string_view source,
                                       mono_time now) {
    if (!enabled()) return {admin_verdict::disabled, {}};
    if (presented_secret.empty()) return {admin_verdict::missing, {}};
    auto known = failures_.find(std::string(source));
    if (known != failures_.end() && now - known->second.last >= forget_after) {
        failures_.erase(known);
        known = failures_.end();
    }
    if (known != failures_.end() && now < known->second.blocked_until) {
        return {admin_verdict::wait,
                std::chrono::ceil<std::chrono::milliseconds>(known->second.blocked_until - now)};
    }
    if (same_secret(presented_secret, secret_.reveal())) {
        if (known != failures_.end()) failures_.erase(known);
        return {admin_verdict::allowed, {}};
    }
    if (known == failures_.end()) {
        make_room(now);
        known = failures_.try_emplace(std::string(source)).first;
    }
    failure& f = known->second;
    f.count += f.count < 1'000'000 ? 1U : 0U;
    f.last = now;
    const auto delay = delay_after(f.count);
    f.blocked_until = now + delay;
    return {admin_verdict::wrong, delay};
}

void admin_guard::make_room(mono_time now) {
    if (failures_.size() < max_sources) return;
    std::erase_if(failures_, [&](const auto& f) { return now - f.second.last >= forget_after; });
    if (failures_.size() < max_sources) return;
    failures_.erase(
        std::ranges::min_element(failures_, {}, [](const auto& f) { return f.second.last; }));
}

}  // namespace kw::auth
