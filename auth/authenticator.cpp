// The order of the checks: what costs nothing first, and nothing that tells strangers more than no.
#include "auth/authenticator.hpp"

#include "auth/key_text.hpp"

namespace kw::auth {

namespace {

error refused(errc code, const char* why) {
    return error(code, why, error_source::downstream);
}

}  // namespace

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
        const auto hash = hash_(credential);
        key = table.find(hash);
        if (key == nullptr) {
            key = table.find_earlier(hash);
            if (key != nullptr && key->options->earlier_until <= now) key = nullptr;
        }
    }
    if (key == nullptr || key->deleted)
        return refused(errc::invalid_api_key, "This access key is not known here.");
    if (key->disabled) return refused(errc::key_disabled, "This access key is disabled.");
    if (expired(*key, now)) return refused(errc::key_expired, "This access key has expired.");
    return key;
}

}  // namespace kw::auth
