// The admin secret's check.
#include "auth/admin_guard.hpp"

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
    if (const auto wait = guesses_.wait(source, now); wait.count() > 0)
        return {admin_verdict::wait, wait};
    if (same_secret(presented_secret, secret_.reveal())) {
        guesses_.right(source);
        return {admin_verdict::allowed, {}};
    }
    return {admin_verdict::wrong, guesses_.wrong(source, now)};
}

}  // namespace kw::auth
