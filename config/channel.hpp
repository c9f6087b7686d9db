// Receivers of notifications: what a sound one looks like, and its record in the store, whose
// secrets are one sealed text. Declared ones and stored ones are the same type.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/settings.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"

namespace kw::config {

inline constexpr std::string_view channel_record = "notification_channel";

// As they are written: "key_banned", "webhook".
[[nodiscard]] std::string_view to_string(notice_kind kind) noexcept;
[[nodiscard]] std::string_view to_string(channel_type type) noexcept;
[[nodiscard]] std::optional<notice_kind> parse_notice_kind(std::string_view word) noexcept;
[[nodiscard]] std::optional<channel_type> parse_channel_type(std::string_view word) noexcept;
// Those that can be subscribed to: all but `test`.
inline constexpr unsigned notice_kinds = static_cast<unsigned>(notice_kind::test);

// A mail server, from its URL.
struct mail_server {
    enum class security : std::uint8_t { starttls, tls, none };
    security by = security::starttls;
    std::string host;
    std::uint16_t port = 587;
};
[[nodiscard]] std::optional<mail_server> parse_mail_server(std::string_view url);

struct channel_fault {
    std::string_view field;
    std::string_view reason;
};
// None: it can be used.
[[nodiscard]] std::optional<channel_fault> fault_of(const channel_settings& c,
                                                    bool allow_link_local);

// `sealed`: the record's secrets as they were sealed, kept where they are the same.
[[nodiscard]] std::string channel_to_json(const channel_settings& c, const crypto::sealer& sealer,
                                          std::string_view sealed = {});
// errc::invalid_argument: not such a record, or its secrets do not open.
[[nodiscard]] result<channel_settings> channel_from_json(std::string_view json, std::string_view id,
                                                         const crypto::sealer& sealer);
// The secrets of a record; "": it has none.
[[nodiscard]] std::string sealed_secrets(std::string_view json);

// Scheme and host of a URL; what follows may be a token.
[[nodiscard]] std::string without_token(const secret& url);

}  // namespace kw::config
