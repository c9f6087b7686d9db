// The names of headers: which are known, and how a name in any case is found among them.
#include <array>
#include <cstring>

#include "net/http_head.hpp"

namespace kw::net {

namespace {

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

struct known_name {
    std::string_view name;
    header_id id;
};

constexpr known_name known_names[] = {
    {"accept", header_id::accept},
    {"accept-encoding", header_id::accept_encoding},
    {"anthropic-version", header_id::anthropic_version},
    {"api-key", header_id::api_key},
    {"authorization", header_id::authorization},
    {"cache-control", header_id::cache_control},
    {"connection", header_id::connection},
    {"content-encoding", header_id::content_encoding},
    {"content-length", header_id::content_length},
    {"content-type", header_id::content_type},
    {"cookie", header_id::cookie},
    {"date", header_id::date},
    {"expect", header_id::expect},
    {"forwarded", header_id::forwarded},
    {"host", header_id::host},
    {"idempotency-key", header_id::idempotency_key},
    {"keep-alive", header_id::keep_alive},
    {"location", header_id::location},
    {"openai-organization", header_id::openai_organization},
    {"openai-project", header_id::openai_project},
    {"origin", header_id::origin},
    {"proxy-authenticate", header_id::proxy_authenticate},
    {"proxy-authorization", header_id::proxy_authorization},
    {"proxy-connection", header_id::proxy_connection},
    {"retry-after", header_id::retry_after},
    {"retry-after-ms", header_id::retry_after_ms},
    {"server", header_id::server},
    {"set-cookie", header_id::set_cookie},
    {"te", header_id::te},
    {"traceparent", header_id::traceparent},
    {"trailer", header_id::trailer},
    {"transfer-encoding", header_id::transfer_encoding},
    {"upgrade", header_id::upgrade},
    {"user-agent", header_id::user_agent},
    {"via", header_id::via},
    {"x-accel-buffering", header_id::x_accel_buffering},
    {"x-admin-key", header_id::x_admin_key},
    {"x-api-key", header_id::x_api_key},
    {"x-forwarded-for", header_id::x_forwarded_for},
    {"x-forwarded-host", header_id::x_forwarded_host},
    {"x-forwarded-proto", header_id::x_forwarded_proto},
    {"x-goog-api-key", header_id::x_goog_api_key},
    {"x-real-ip", header_id::x_real_ip},
    {"x-request-id", header_id::x_request_id},
    {"x-should-retry", header_id::x_should_retry},
};
static_assert(std::size(known_names) + 1 == static_cast<std::size_t>(header_id::count_));

constexpr std::size_t longest_known = 19;

// A perfect hash over length, first, middle and last character, found at compile time.
constexpr std::size_t name_slots = 256;
constexpr std::size_t name_hash(std::size_t size, char first, char middle, char last,
                                std::uint32_t seed) {
    const auto u = [](char c) { return static_cast<std::uint32_t>(static_cast<unsigned char>(c)); };
    const std::uint32_t mixed =
        (static_cast<std::uint32_t>(size) | (u(first) << 8) | (u(middle) << 16) | (u(last) << 24)) *
        seed;
    return mixed >> 24;
}
constexpr std::size_t name_hash(std::string_view lower_name, std::uint32_t seed) {
    return name_hash(lower_name.size(), lower_name.front(), lower_name[lower_name.size() / 2],
                     lower_name.back(), seed);
}
constexpr bool separates(std::uint32_t seed) {
    std::array<bool, name_slots> used{};
    for (const known_name& k : known_names) {
        bool& slot = used[name_hash(k.name, seed)];
        if (slot) return false;
        slot = true;
    }
    return true;
}
constexpr std::uint32_t name_seed = [] {
    std::uint32_t seed = 0x9E3779B1;
    while (!separates(seed))
        seed = seed * 1664525U + 1013904223U;
    return seed;
}();
constexpr auto name_table = [] {
    std::array<std::uint8_t, name_slots> table{};  // index in known_names + 1
    std::uint8_t i = 0;
    for (const known_name& k : known_names)
        table[name_hash(k.name, name_seed)] = ++i;
    return table;
}();

// Whether name is the known one, which is of small letters and hyphens, but for capitals: they
// differ in one bit, and it is set where the known name has a letter.
bool is_known(std::string_view known, std::string_view name) noexcept {
    if (known.size() != name.size()) return false;
    constexpr std::uint64_t letter = 0x4040'4040'4040'4040;
    std::size_t i = 0;
    for (; i + 8 <= name.size(); i += 8) {
        std::uint64_t a;
        std::uint64_t b;
        std::memcpy(&a, known.data() + i, 8);
        std::memcpy(&b, name.data() + i, 8);
        if (a != (b | (a & letter) >> 1U)) return false;
    }
    for (; i < name.size(); ++i)
        if (known[i] != lower(name[i])) return false;
    return true;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    if (a == b) return true;  // nearly all names come in small letters
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

header_id find_header_id(std::string_view name) noexcept {
    if (name.empty() || name.size() > longest_known) return header_id::other;
    const std::uint8_t at =
        name_table[name_hash(name.size(), lower(name.front()), lower(name[name.size() / 2]),
                             lower(name.back()), name_seed)];
    if (at == 0 || !is_known(known_names[at - 1].name, name)) return header_id::other;
    return known_names[at - 1].id;
}

bool is_hop_by_hop(header_id id) noexcept {
    switch (id) {
        case header_id::connection:
        case header_id::keep_alive:
        case header_id::proxy_authenticate:
        case header_id::proxy_authorization:
        case header_id::proxy_connection:
        case header_id::te:
        case header_id::trailer:
        case header_id::transfer_encoding:
        case header_id::upgrade:
            return true;
        default:
            return false;
    }
}

}  // namespace kw::net
