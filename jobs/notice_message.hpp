// A notification as it is sent: the request for each kind of receiver, the mail, and what its
// answer means. Pure: nothing is sent here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/channel.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "net/http_client.hpp"

namespace kw::jobs {

struct notice_message {
    std::string id;  // the same in every try
    config::notice_kind kind = config::notice_kind::test;
    std::string subject;  // what it is about: a key, a group, a model, …
    std::string text;     // for a person
    std::uint64_t count = 1;
    wall_time first{};
    wall_time last{};
    std::string source;  // the process that tells
};

// "info", "warning", "critical"
[[nodiscard]] std::string_view severity_of(config::notice_kind kind) noexcept;

// One line: "[warning] pool_low main: 1 of 8 keys … (3 times) — host".
[[nodiscard]] std::string line_of(const notice_message& m);

// For every type but email; without deadline and TLS. Signatures are as of `now`.
[[nodiscard]] net::http_request compose_request(const config::channel_settings& to,
                                                const notice_message& m, wall_time now);
// RFC 5322, lines ended by CRLF; not dot-stuffed.
[[nodiscard]] std::string compose_mail(const config::channel_settings& to, const notice_message& m,
                                       wall_time now);

// errc::invalid_argument: the receiver will not take it, however often it is tried; others: it may
// later. No word of the receiver's is repeated.
[[nodiscard]] result<void> judge_answer(config::channel_type type, const net::http_response& r);

// {{event}}, {{severity}}, {{subject}}, {{text}}, {{line}}, {{count}}, {{first}}, {{last}},
// {{source}} and {{id}}, encoded for the type: inside a JSON text, for a form, for XML and HTML, or
// as they are. What is not known stays.
[[nodiscard]] std::string fill_template(std::string_view body, std::string_view content_type,
                                        const notice_message& m);

// HMAC-SHA-256 over "timestamp.body" in hexadecimal: what follows "v1=" in x-keywheel-signature.
[[nodiscard]] std::string sign(const secret& key, std::string_view timestamp,
                               std::string_view body);

}  // namespace kw::jobs
