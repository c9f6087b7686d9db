// What can go wrong in normal running: one error type from the socket up to the answer.
//
// Low layers return result<T>; proxy/error_response.cpp is the only place that turns an error into
// an HTTP status and a JSON body. Exceptions are for start-up and programming errors only.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kw {

// Each enumerator's name is the `code` that a client sees.
enum class errc : std::uint8_t {
    ok = 0,
    // downstream: what the client sent
    malformed_request,
    header_too_large,
    header_timeout,
    body_too_large,
    body_timeout,
    invalid_json,
    misdirected_host,
    unsupported_expectation,
    client_closed,
    // auth
    missing_api_key,
    invalid_api_key,
    key_disabled,
    key_expired,
    model_not_allowed,
    endpoint_not_allowed,
    client_not_allowed,          // by its User-Agent
    ip_not_allowed,              // by its address
    rate_limit_exceeded,         // a window of the access key
    insufficient_quota,          // a budget of the access key
    concurrency_limit_exceeded,  // of the access key
    // pool
    no_upstream_key,
    upstream_keys_rate_limited,
    model_not_served,
    bound_key_unavailable,
    upstream_key_unavailable,  // the only account that has the object
    object_not_found,
    accounts_differ,  // of the objects that one request names
    // upstream
    upstream_dns_error,
    upstream_connect_error,
    upstream_connect_timeout,
    upstream_tls_error,
    upstream_tls_timeout,
    upstream_first_byte_timeout,
    upstream_first_token_timeout,
    upstream_idle_timeout,
    upstream_total_timeout,
    upstream_reset,
    upstream_malformed,
    upstream_stream_cut,
    egress_proxy_error,
    // store
    store_unavailable,
    store_conflict,
    store_not_found,
    journal_unavailable,
    // internal
    invalid_argument,
    overloaded,
    shutting_down,
    timed_out,
    internal,
};

enum class error_source : std::uint8_t { downstream, upstream, store, internal };

// Whether the same exchange may be tried again, as far as the place that failed can tell.
enum class retry_class : std::uint8_t {
    never,
    other_key,             // another upstream key may do better
    same_key_later,        // the same key may do better after a wait
    if_reused_connection,  // the kept-alive connection was stale: once more on a fresh one
};

// The enumerator's name, e.g. "invalid_api_key". Never null.
[[nodiscard]] std::string_view to_string(errc code) noexcept;
[[nodiscard]] std::string_view to_string(error_source source) noexcept;

struct error {
    errc code = errc::internal;
    error_source source = error_source::internal;
    retry_class retry = retry_class::never;
    // For a person: what, where and what to do. Never holds a secret or upstream text.
    std::string context;

    error() = default;
    explicit error(errc c, std::string ctx = {}, error_source s = error_source::internal,
                   retry_class r = retry_class::never)
        : code(c), source(s), retry(r), context(std::move(ctx)) {}
};

// Called by result<T>::value() on a programming error (value of a failed result).
[[noreturn]] void throw_exception_from_error(const error& e, const boost::source_location& loc);

template <class T>
using result = boost::system::result<T, error>;

}  // namespace kw
