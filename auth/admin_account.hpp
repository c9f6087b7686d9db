// Who administers: people with a password and their sessions, and tokens for programs. Records of
// the store; a password, a session and a token are kept as hashes alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/role.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view admin_kind = "admin";
inline constexpr std::string_view admin_token_kind = "admin_token";

struct admin_session {
    std::string id;
    std::string hash;  // of the session's text
    wall_time created{};
    wall_time expires{};
    std::string source;  // the address it was opened from
};

// Sessions are a part of the account: what ends the account or changes its password ends them in
// the same write.
struct admin_account {
    static constexpr std::size_t max_sessions = 20;  // above that the oldest ends

    std::string id;    // follows from the name, so that a name cannot be taken twice
    std::string name;  // what one logs in with; stays for ever
    std::string email;
    role is = role::viewer;
    bool disabled = false;
    std::string password;  // hash_password()'s text
    wall_time created{};
    wall_time password_changed{};
    std::vector<admin_session> sessions;  // oldest first
    std::uint64_t revision = 0;
};

// 1 to 64 letters, digits and . _ - @
[[nodiscard]] bool valid_admin_name(std::string_view name) noexcept;
[[nodiscard]] std::string admin_id(std::string_view name);
[[nodiscard]] store::record to_record(const admin_account& a);
[[nodiscard]] result<admin_account> admin_from(const store::record& r);
// Drops sessions that ended and, for a new one, the oldest above the limit.
void add_session(admin_account& to, admin_session s, wall_time now);

struct admin_token {
    std::string id;
    std::string name;
    role is = role::viewer;
    std::vector<std::string> routes;  // prefixes of paths; empty: all
    std::string hash;                 // of the token's text
    std::string masked;
    std::string made_by;
    wall_time created{};
    std::optional<wall_time> expires;
    std::uint64_t revision = 0;
};
[[nodiscard]] store::record to_record(const admin_token& t);
[[nodiscard]] result<admin_token> admin_token_from(const store::record& r);
// Whether the path lies under one of the prefixes, by whole segments.
[[nodiscard]] bool within(const std::vector<std::string>& routes, std::string_view path) noexcept;

// The texts that admins and programs present: "kws-<account id>-<43 secret>" of a session,
// "kwt-<token id>-<43 secret>" of a token. The secret has 256 bits.
enum class admin_text : std::uint8_t { none, session, token };
struct admin_credential {
    admin_text is = admin_text::none;  // none: not a text that we make
    std::string_view id;
};
[[nodiscard]] secret make_admin_text(admin_text is, std::string_view id);
[[nodiscard]] admin_credential read_admin_text(std::string_view text) noexcept;
// As it is kept: under the key that hashes access keys.
[[nodiscard]] std::string hash_admin_text(const secret& text, const secret& pepper);
// What a page of ours has to send with a change when a cookie vouches for it. Follows from the
// session's text, which pages cannot read.
[[nodiscard]] std::string csrf_text(const secret& session, const secret& pepper);

}  // namespace kw::auth
