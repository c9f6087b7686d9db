// The order of the checks: what costs nothing first, and nothing that tells strangers more than no.
#include "auth/authenticator.hpp"

#include <algorithm>

#include "auth/key_text.hpp"

namespace kw::auth {

namespace {

error refused(errc code, const char* why) {
    return error(code, why, error_source::downstream);
}

// The key whose text has this hash, or had it a short time ago.
const access_key* find(const crypto::digest& hash, wall_time now, const key_table& table) {
    const access_key* key = table.find(hash);
    if (key != nullptr) return key;
    key = table.find_earlier(hash);
    return key != nullptr && key->options->earlier_until > now ? key : nullptr;
}

result<const access_key*> judge(const access_key* key, wall_time now) {
    if (key == nullptr || key->deleted)
        return refused(errc::invalid_api_key, "This access key is not known here.");
    if (key->disabled) return refused(errc::key_disabled, "This access key is disabled.");
    if (expired(*key, now)) return refused(errc::key_expired, "This access key has expired.");
    return key;
}

}  // namespace

authenticator::authenticator(const secret& pepper, std::span<const secret> more) {
    hashes_.reserve(1 + more.size());
    hashes_.emplace_back(pepper);
    for (const secret& other : more)
        hashes_.emplace_back(other);
}

crypto::digest hash_key_text(const secret& text, const secret& pepper) {
    return crypto::hmac_sha256(pepper)(text.reveal());
}

result<const access_key*> authenticator::identify(std::string_view credential, wall_time now,
                                                  const key_table& table) {
    if (credential.empty())
        return refused(
            errc::missing_api_key,
            "No access key was sent. Put it into the header \"Authorization: Bearer …\".");
    const access_key* key = nullptr;
    if (credential.size() <= max_credential_size && shape_of(credential) != key_shape::mistyped) {
        for (auto at = hashes_.begin(); key == nullptr && at != hashes_.end(); ++at)
            key = find((*at)(credential), now, table);
    }
    return judge(key, now);
}

bool authenticator::knows(std::string_view credential, const key_table& table) {
    return std::ranges::any_of(hashes_, [&](crypto::hmac_sha256& under) {
        const auto hash = under(credential);
        return table.find(hash) != nullptr || table.find_earlier(hash) != nullptr;
    });
}

result<const access_key*> authenticator::holder_of(const access_key& leased, wall_time now,
                                                   const key_table& table) {
    const access_key* holder = find(*leased.options->holder, now, table);
    if (holder != nullptr && is_leased(*holder)) holder = nullptr;
    return judge(holder, now);
}

}  // namespace kw::auth
